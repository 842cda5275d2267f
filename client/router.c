/* client/router.c: see client/router.h.
 *
 * What is the same for every operation on a shard is computed once per map: which replicas' places the policy allows,
 * and what the policy says of our own place. An operation then costs a few bisections. */
#include "client/router.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"
#include "policy/latency.h"

enum {
	RTT_SAME_REGION_US = 1000, /* guesses, until measured */
	RTT_SAME_TOP_US = 30000,
	RTT_ELSEWHERE_US = 150000,
	RTT_SHARED_COMPONENT_US = 800, /* over the greatest depth; a longer shared path breaks ties between guesses */
	SUSPECT_MS_FIRST = 250,
	SUSPECT_DOUBLINGS_MAX = 5, /* 8 s */
	RETRY_EARNED = 100,	   /* thousandths of a retry per operation */
	RETRY_COST = 1000,
	RETRY_MAX = 100 * RETRY_COST,
};

struct route {		    /* beside the shard of the same position */
	uint64_t leader;    /* node; 0: unknown */
	uint16_t compliant; /* bit i: the place of replicas[i]'s node may hold the shard's keys */
};
struct access {		  /* beside the policy of the same position */
	bool read, write; /* from our place */
};
struct router_node {	 /* beside the node of the same position */
	uint32_t rtt_us; /* 0: not measured */
	uint32_t losses; /* in a row */
	uint64_t suspect_until_ns;
};
struct half { /* a map and what was computed from it */
	struct cluster_map *map;
	struct route *routes;
	struct access *access;
	struct router_node *nodes;
};
struct router {
	struct place place; /* "": none */
	struct half in_use, spare;
	uint32_t retries; /* thousandths */
};

static size_t aligned(size_t size)
{
	return (size + 63) & ~(size_t)63;
}

static size_t half_size(const struct map_limits *limits)
{
	return aligned(cluster_map_size(limits)) + aligned(limits->shards * sizeof(struct route)) +
	       aligned(limits->policies * sizeof(struct access)) + aligned(limits->nodes * sizeof(struct router_node));
}

size_t router_size(const struct map_limits *limits)
{
	return aligned(sizeof(struct router)) + 2 * half_size(limits);
}

static uint8_t *half_init(struct half *half, uint8_t *at, const struct map_limits *limits)
{
	half->map = cluster_map_init(at, limits);
	at += aligned(cluster_map_size(limits));
	half->routes = (struct route *)(void *)at;
	at += aligned(limits->shards * sizeof(struct route));
	half->access = (struct access *)(void *)at;
	at += aligned(limits->policies * sizeof(struct access));
	half->nodes = (struct router_node *)(void *)at;
	return at + aligned(limits->nodes * sizeof(struct router_node));
}

struct router *router_init(void *memory, const struct map_limits *limits, const char *place)
{
	assert(memory);
	assert((uintptr_t)memory % 8 == 0);
	assert(strlen(place) < PLACE_TEXT_MAX);
	struct router *router = memory;
	*router = (struct router){ .retries = RETRY_MAX };
	memcpy(router->place.text, place, strlen(place) + 1);
	uint8_t *at = (uint8_t *)memory + aligned(sizeof(*router));
	at = half_init(&router->in_use, at, limits);
	at = half_init(&router->spare, at, limits);
	assert((size_t)(at - (uint8_t *)memory) == router_size(limits));
	return router;
}

const struct cluster_map *router_map(const struct router *router)
{
	return router->in_use.map;
}

uint64_t router_epoch(const struct router *router)
{
	return router->in_use.map->epoch;
}

/* --- a new map ------------------------------------------------------------------------------------- */

static bool node_may_store(const struct cluster_map *map, const struct policy *policy, uint64_t node_id)
{
	const struct map_node *node = map_node_find(map, node_id);
	struct site site;
	return node && map_site(map, &node->place, &site) && policy_may_store(policy, &site);
}

static void compute_access(const struct router *router, struct half *half)
{
	struct site site;
	bool known = router->place.text[0] != '\0' && map_site(half->map, &router->place, &site);
	for (uint32_t i = 0; i < half->map->policy_count; i++) {
		const struct policy *policy = &half->map->policies[i];
		half->access[i].read = known && policy_may_read(policy, &site);
		half->access[i].write = known && policy_may_write(policy, &site);
	}
}

/* Both maps have their shards sorted by (policy, hash): one walk carries the leader hints over. */
static void compute_routes(const struct half *old, struct half *new)
{
	uint32_t from = 0;
	for (uint32_t i = 0; i < new->map->shard_count; i++) {
		const struct map_shard *shard = &new->map->shards[i];
		const struct policy *policy = map_policy_find(new->map, shard->policy);
		struct route *route = &new->routes[i];
		*route = (struct route){ 0 };
		assert(shard->replica_count <= REPLICAS_MAX);
		for (unsigned j = 0; policy && j < shard->replica_count; j++)
			if (node_may_store(new->map, policy, shard->replicas[j].node))
				route->compliant |= (uint16_t)(1u << j);
		while (from < old->map->shard_count &&
			(old->map->shards[from].policy < shard->policy ||
				(old->map->shards[from].policy == shard->policy &&
					old->map->shards[from].hash_first < shard->hash_first)))
			from++;
		if (from < old->map->shard_count && old->map->shards[from].id == shard->id)
			route->leader = old->routes[from].leader;
	}
}

static void carry_nodes(const struct half *old, struct half *new)
{
	for (uint32_t i = 0; i < new->map->node_count; i++) {
		const struct map_node *node = map_node_find(old->map, new->map->nodes[i].id);
		new->nodes[i] = node ? old->nodes[node - old->map->nodes] : (struct router_node){ 0 };
	}
}

enum status router_learn_map(struct router *router, struct bytes encoded)
{
	struct half *spare = &router->spare;
	enum status status = cluster_map_decode(encoded, spare->map);
	if (status != STATUS_OK)
		return status == STATUS_UNSUPPORTED ? status : STATUS_INVALID;
	if (spare->map->epoch <= router_epoch(router))
		return STATUS_OK;
	if (router_epoch(router) != 0 && memcmp(spare->map->cluster, router->in_use.map->cluster, 16) != 0)
		return STATUS_DENIED;
	compute_access(router, spare);
	compute_routes(&router->in_use, spare);
	carry_nodes(&router->in_use, spare);
	struct half used = router->in_use;
	router->in_use = *spare;
	*spare = used;
	assert(router_epoch(router) > router->spare.map->epoch);
	return STATUS_OK;
}

/* --- who may ---------------------------------------------------------------------------------------- */

static void say(char why[ROUTER_WHY_MAX], const char *const parts[])
{
	struct text text;
	text_init(&text, why, ROUTER_WHY_MAX);
	for (; *parts; parts++)
		text_add(&text, *parts);
}

enum status router_may_access(const struct router *router, uint64_t policy_id, bool write, char why[ROUTER_WHY_MAX])
{
	const struct cluster_map *map = router->in_use.map;
	const struct policy *policy = map_policy_find(map, policy_id);
	if (!policy) {
		say(why, (const char *[]){ "the policy is not in the map", NULL });
		return STATUS_RESIDENCY_REFUSED;
	}
	const struct access *access = &router->in_use.access[policy - map->policies];
	if (write ? access->write : access->read)
		return STATUS_OK;
	say(why, (const char *[]){ "policy ", policy->name, write ? " is not written from " : " is not read from ",
			 router->place.text[0] != '\0' ? router->place.text : "an identity without a place",
			 write ? "; use a client of a place in write_from" : "; use a client of a place in read_from",
			 NULL });
	return STATUS_RESIDENCY_REFUSED;
}

enum status router_resolve(const struct router *router, struct bytes key, bool write, const char *guard,
	struct router_target *target, char why[ROUTER_WHY_MAX])
{
	const struct cluster_map *map = router->in_use.map;
	if (map->epoch == 0) {
		say(why, (const char *[]){ "no cluster map is known yet", NULL });
		return STATUS_QUORUM_UNAVAILABLE;
	}
	const struct map_binding *binding = map_binding_of(map, key);
	const struct policy *policy = binding ? map_policy_find(map, binding->policy) : NULL;
	if (!policy) {
		say(why, (const char *[]){ "no binding covers this key; bind its prefix to a policy", NULL });
		return STATUS_RESIDENCY_REFUSED;
	}
	if (guard && strcmp(guard, policy->name) != 0) {
		say(why, (const char *[]){ "the key is bound to policy ", policy->name, ", not to ", guard, NULL });
		return STATUS_POLICY_MISMATCH;
	}
	enum status status = router_may_access(router, policy->id, write, why);
	if (status != STATUS_OK)
		return status;
	const struct map_shard *shard = map_shard_of(map, policy->id, key);
	if (!shard) {
		say(why, (const char *[]){ "policy ", policy->name, " has no shards yet", NULL });
		return STATUS_QUORUM_UNAVAILABLE;
	}
	*target = (struct router_target){ .map_epoch = map->epoch, .policy = policy->id, .shard = shard->id };
	return STATUS_OK;
}

bool router_may_send(const struct router *router, uint64_t policy_id, uint64_t node)
{
	const struct policy *policy = map_policy_find(router->in_use.map, policy_id);
	return policy && node_may_store(router->in_use.map, policy, node);
}

/* The longest text of a prefix binding with which the bytes begin: every node has the bindings, so it tells nothing. */
static struct bytes public_part(const struct cluster_map *map, struct bytes bytes)
{
	struct bytes best = bytes_of(bytes.data, 0);
	for (uint32_t i = 0; i < map->binding_count; i++) {
		const struct map_binding *binding = &map->bindings[i];
		struct bytes prefix = bytes_of(binding->prefix, binding->prefix_size);
		if (binding->exact)
			continue;
		if (bytes_starts_with(prefix, bytes))
			return bytes; /* all of it stands at the beginning of a binding */
		if (prefix.size > best.size && bytes_starts_with(bytes, prefix))
			best.size = prefix.size;
	}
	return best;
}

uint64_t router_policy_epoch(const struct router *router, uint64_t policy_id)
{
	const struct policy *policy = map_policy_find(router->in_use.map, policy_id);
	return policy ? policy->epoch : 0;
}

struct bytes router_sendable(const struct router *router, struct bytes bytes, uint64_t node)
{
	const struct cluster_map *map = router->in_use.map;
	if (bytes.size == 0)
		return bytes;
	const struct map_binding *binding = map_binding_of(map, bytes);
	if (binding && router_may_send(router, binding->policy, node))
		return bytes;
	return public_part(map, bytes);
}

/* --- in which order ----------------------------------------------------------------------------------- */

struct candidate {
	uint64_t node;
	bool suspect, leads;
	uint32_t rtt_us;
};

static bool before(const struct candidate *a, const struct candidate *b)
{
	if (a->suspect != b->suspect)
		return b->suspect;
	if (a->leads != b->leads)
		return a->leads;
	if (a->rtt_us != b->rtt_us)
		return a->rtt_us < b->rtt_us;
	return a->node < b->node; /* the same on every run */
}

static void insert_sorted(struct candidate at[], unsigned count, struct candidate new)
{
	unsigned i = count;
	for (; i > 0 && before(&new, &at[i - 1]); i--)
		at[i] = at[i - 1];
	at[i] = new;
}

static struct router_node *node_state(const struct router *router, uint64_t id)
{
	const struct map_node *node = map_node_find(router->in_use.map, id);
	return node ? &router->in_use.nodes[node - router->in_use.map->nodes] : NULL;
}

static struct route *route_of(const struct router *router, uint64_t shard_id)
{
	const struct map_shard *shard = map_shard_find(router->in_use.map, shard_id);
	return shard ? &router->in_use.routes[shard - router->in_use.map->shards] : NULL;
}

unsigned router_candidates(const struct router *router, uint64_t shard_id, uint8_t operation, uint8_t level,
	uint64_t now_ns, uint64_t nodes[REPLICAS_MAX])
{
	(void)level; /* every level that exists is served by any replica with data */
	const struct map_shard *shard = map_shard_find(router->in_use.map, shard_id);
	if (!shard)
		return 0;
	const struct route *route = route_of(router, shard_id);
	bool read = operation == OPERATION_GET || operation == OPERATION_SCAN;
	uint64_t leader = route->leader != 0 ? route->leader : shard->lead_wanted;
	struct candidate candidates[REPLICAS_MAX];
	unsigned count = 0;
	for (unsigned i = 0; i < shard->replica_count; i++) {
		const struct map_replica *replica = &shard->replicas[i];
		if (!(route->compliant >> i & 1))
			continue;
		if (replica->role != ROLE_VOTER && !(read && replica->role == ROLE_LEARNER))
			continue;
		const struct router_node *node = node_state(router, replica->node);
		assert(node);
		bool measured;
		insert_sorted(candidates, count++,
			(struct candidate){ .node = replica->node,
				.suspect = now_ns < node->suspect_until_ns,
				.leads = !read && replica->node == leader,
				.rtt_us = router_rtt_us(router, replica->node, &measured) });
	}
	for (unsigned i = 0; i < count; i++)
		nodes[i] = candidates[i].node;
	return count;
}

void router_learn_leader(struct router *router, uint64_t shard, uint64_t node)
{
	struct route *route = route_of(router, shard);
	if (route && map_node_find(router->in_use.map, node))
		route->leader = node;
}

void router_forget_leader(struct router *router, uint64_t shard, uint64_t node)
{
	struct route *route = route_of(router, shard);
	if (route && route->leader == node)
		route->leader = 0;
}

uint64_t router_leader(const struct router *router, uint64_t shard)
{
	const struct route *route = route_of(router, shard);
	return route ? route->leader : 0;
}

/* --- round trips --------------------------------------------------------------------------------------- */

void router_learn_rtt(struct router *router, uint64_t node_id, uint32_t rtt_us)
{
	struct router_node *node = node_state(router, node_id);
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
static uint32_t guess_rtt_us(const struct router *router, const struct map_node *node)
{
	const struct map_region *theirs = map_region_of(router->in_use.map, &node->place);
	const struct map_region *ours = map_region_of(router->in_use.map, &router->place);
	unsigned depth = shared_depth(&router->place, &node->place);
	uint32_t guess = depth > 0 ? RTT_SAME_TOP_US : RTT_ELSEWHERE_US;
	if (ours && ours == theirs)
		return RTT_SAME_REGION_US - depth * RTT_SHARED_COMPONENT_US / PLACE_DEPTH_MAX;
	if (ours && theirs) {
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
	return nearest != 0 ? nearest : guess_rtt_us(router, node);
}

void router_node_lost(struct router *router, uint64_t node_id, uint64_t now_ns)
{
	struct router_node *node = node_state(router, node_id);
	if (!node || now_ns < node->suspect_until_ns)
		return; /* many requests that fail together are one failure */
	uint32_t doublings = node->losses < SUSPECT_DOUBLINGS_MAX ? node->losses : SUSPECT_DOUBLINGS_MAX;
	node->suspect_until_ns = now_ns + ((uint64_t)SUSPECT_MS_FIRST << doublings) * 1000000;
	if (node->losses < SUSPECT_DOUBLINGS_MAX)
		node->losses++;
}

void router_node_answered(struct router *router, uint64_t node_id)
{
	struct router_node *node = node_state(router, node_id);
	if (!node)
		return;
	node->losses = 0;
	node->suspect_until_ns = 0;
}

unsigned router_nodes(const struct router *router, uint64_t nodes[], unsigned max)
{
	const struct cluster_map *map = router->in_use.map;
	struct candidate candidates[MAP_NODES_MAX];
	unsigned count = 0;
	for (uint32_t i = 0; i < map->node_count && count < MAP_NODES_MAX; i++) {
		bool measured;
		uint32_t rtt_us = router_rtt_us(router, map->nodes[i].id, &measured);
		insert_sorted(candidates, count++,
			(struct candidate){ .node = map->nodes[i].id, .suspect = measured, .rtt_us = rtt_us });
	}
	count = count < max ? count : max;
	for (unsigned i = 0; i < count; i++)
		nodes[i] = candidates[i].node;
	return count;
}

/* --- retry budget ---------------------------------------------------------------------------------------- */

void router_earn_retry(struct router *router)
{
	assert(router->retries <= RETRY_MAX);
	router->retries += RETRY_EARNED;
	if (router->retries > RETRY_MAX)
		router->retries = RETRY_MAX;
}

bool router_spend_retry(struct router *router)
{
	if (router->retries < RETRY_COST)
		return false;
	router->retries -= RETRY_COST;
	return true;
}
