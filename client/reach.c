/* client/reach.c: how far each node is and whether it answers; and whom to ping so that this stays true.
 *
 * Who matters is known by use: the first candidates of operations. Nodes of our own region are measured beforehand, so
 * that the first operation already goes to the nearest of them; a node of another region is pinged only when an
 * operation may have to go there, one a second at most, each of them seldom. */
#include <assert.h>

#include "client/router_internal.h"
#include "policy/latency.h"

enum {
	RTT_SAME_REGION_US = 1000, /* guesses, until measured */
	RTT_SAME_TOP_US = 30000,
	RTT_ELSEWHERE_US = 150000,
	RTT_SHARED_COMPONENT_US = 800, /* over the greatest depth; a longer shared path breaks ties between guesses */
	SUSPECT_MS_FIRST = 250,
	SUSPECT_DOUBLINGS_MAX = 5, /* 8 s */
	PROBE_NEAR_USED_MS = 1000, /* our own region, in use */
	PROBE_NEAR_IDLE_MS = 10000,
	PROBE_FAR_MS = 10000,
	USED_NEAR_MS = 10000, /* an operation that long ago still counts as use */
	USED_FAR_MS = 30000,
	NEAR_UNUSED_MAX = 4, /* of our own region, measured before anything is sent there */
};
#define MS_NS ((uint64_t)1000000)

void router_learn_rtt(struct router *router, uint64_t node_id, uint32_t rtt_us)
{
	struct router_node *node = router_node_of(router, node_id);
	if (!node)
		return;
	if (rtt_us == 0)
		rtt_us = 1;
	if (node->rtt_us == 0)
		node->rtt_us = rtt_us;
	else
		node->rtt_us = (uint32_t)(((uint64_t)node->rtt_us * 7 + rtt_us + 4) / 8);
	assert(node->rtt_us > 0);
}

/* Leading components that two places share. */
static unsigned shared_depth(const struct place *a, const struct place *b)
{
	unsigned depth = 0;
	for (size_t i = 0;; i++) {
		bool end_a = a->text[i] == '\0' || a->text[i] == '/', end_b = b->text[i] == '\0' || b->text[i] == '/';
		if (end_a && end_b && i > 0)
			depth++;
		if (a->text[i] != b->text[i] || a->text[i] == '\0')
			return depth;
	}
}

/* Light's own time where both regions have coordinates. */
uint32_t router_guess_us(const struct router *router, const struct half *half, const struct map_node *node)
{
	const struct cluster_map *map = half->map;
	const struct map_region *theirs = &map->regions[node->region];
	const struct map_region *ours = half->region < map->region_count ? &map->regions[half->region] : NULL;
	unsigned depth = shared_depth(&router->place, &node->place);
	uint32_t guess = depth > 0 ? RTT_SAME_TOP_US : RTT_ELSEWHERE_US;
	if (ours == theirs)
		return RTT_SAME_REGION_US - depth * RTT_SHARED_COMPONENT_US / PLACE_DEPTH_MAX;
	if (ours) {
		uint32_t fibre_us = latency_fibre(ours->latitude, ours->longitude, theirs->latitude, theirs->longitude);
		if (fibre_us != LATENCY_UNKNOWN)
			guess = fibre_us + RTT_SAME_REGION_US;
	}
	return guess - depth * RTT_SHARED_COMPONENT_US / PLACE_DEPTH_MAX;
}

uint32_t router_rtt_us(const struct router *router, uint64_t node_id, bool *measured)
{
	const struct cluster_map *map = router->in_use.map;
	const struct map_node *node = map_node_find(map, node_id);
	*measured = false;
	if (!node)
		return UINT32_MAX;
	uint32_t own = router->in_use.nodes[node - map->nodes].rtt_us, nearest = 0;
	if (own != 0) {
		*measured = true;
		return own;
	}
	for (uint32_t i = 0; i < map->node_count; i++) {
		uint32_t rtt_us = router->in_use.nodes[i].rtt_us;
		if (map->nodes[i].region == node->region && rtt_us != 0 && (nearest == 0 || rtt_us < nearest))
			nearest = rtt_us;
	}
	return nearest != 0 ? nearest : router->in_use.nodes[node - map->nodes].guess_us;
}

void router_node_lost(struct router *router, uint64_t node_id, uint64_t now_ns)
{
	struct router_node *node = router_node_of(router, node_id);
	if (!node || (now_ns < node->suspect_until_ns && !node->on_trial))
		return; /* many requests that fail together are one failure */
	node->on_trial = false;
	uint32_t doublings = node->losses < SUSPECT_DOUBLINGS_MAX ? node->losses : SUSPECT_DOUBLINGS_MAX;
	node->suspect_until_ns = now_ns + ((uint64_t)SUSPECT_MS_FIRST << doublings) * 1000000;
	if (node->losses < SUSPECT_DOUBLINGS_MAX)
		node->losses++;
}

void router_node_tried(struct router *router, uint64_t node_id, uint64_t now_ns)
{
	struct router_node *node = router_node_of(router, node_id);
	if (!node || node->losses == 0 || now_ns < node->suspect_until_ns)
		return;
	uint32_t doublings = node->losses - 1;
	node->suspect_until_ns = now_ns + ((uint64_t)SUSPECT_MS_FIRST << doublings) * 1000000;
	node->on_trial = true;
}

void router_node_answered(struct router *router, uint64_t node_id)
{
	struct router_node *node = router_node_of(router, node_id);
	if (!node)
		return;
	node->losses = 0;
	node->on_trial = false;
	node->suspect_until_ns = 0;
}

bool router_is_suspect(const struct router *router, uint64_t node_id, uint64_t now_ns)
{
	const struct router_node *node = router_node_of(router, node_id);
	return !node || now_ns < node->suspect_until_ns;
}

/* --- whom to ping ------------------------------------------------------------------------------------------ */

void router_want(struct router *router, const uint64_t nodes[], unsigned count, uint64_t now_ns)
{
	for (unsigned i = 0; i < count; i++) {
		struct router_node *node = router_node_of(router, nodes[i]);
		if (node)
			node->wanted_ns = now_ns == 0 ? 1 : now_ns;
	}
}

bool router_is_near(const struct router *router, uint64_t node_id)
{
	const struct map_node *node = map_node_find(router->in_use.map, node_id);
	return node && node->region == router->in_use.region;
}

static bool used_within(const struct router_node *node, uint64_t now_ns, unsigned ms)
{
	return node->wanted_ns != 0 && now_ns - node->wanted_ns < ms * MS_NS;
}

static bool probe_due(const struct router_node *node, uint64_t now_ns, unsigned every_ms)
{
	return node->probed_ns == 0 || now_ns - node->probed_ns >= every_ms * MS_NS;
}

unsigned router_probes(struct router *router, uint64_t now_ns, uint64_t nodes[], unsigned max)
{
	const struct cluster_map *map = router->in_use.map;
	struct router_node *far = NULL;
	unsigned count = 0, unused = 0;
	for (uint32_t i = 0; i < map->node_count && count < max; i++) {
		struct router_node *node = &router->in_use.nodes[i];
		bool near = map->nodes[i].region == router->in_use.region;
		bool used = used_within(node, now_ns, near ? USED_NEAR_MS : USED_FAR_MS);
		if (!near) {
			if (used && probe_due(node, now_ns, PROBE_FAR_MS) && (!far || node->probed_ns < far->probed_ns))
				far = node;
			continue;
		}
		if (!used && unused++ >= NEAR_UNUSED_MAX)
			continue;
		if (!probe_due(node, now_ns, used ? PROBE_NEAR_USED_MS : PROBE_NEAR_IDLE_MS))
			continue;
		node->probed_ns = now_ns == 0 ? 1 : now_ns;
		nodes[count++] = map->nodes[i].id;
	}
	if (far && count < max) {
		far->probed_ns = now_ns == 0 ? 1 : now_ns;
		nodes[count++] = map->nodes[far - router->in_use.nodes].id;
	}
	return count;
}

unsigned router_nodes(const struct router *router, uint64_t nodes[], unsigned max)
{
	const struct cluster_map *map = router->in_use.map;
	struct candidate candidates[MAP_NODES_MAX];
	unsigned count = 0;
	for (uint32_t i = 0; i < map->node_count && count < MAP_NODES_MAX; i++) {
		bool measured;
		uint32_t rtt_us = router_rtt_us(router, map->nodes[i].id, &measured);
		candidates_insert(
			candidates, count++, (struct candidate){ .node = map->nodes[i].id, .rtt_us = rtt_us });
	}
	count = count < max ? count : max;
	for (unsigned i = 0; i < count; i++)
		nodes[i] = candidates[i].node;
	return count;
}
