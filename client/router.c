/* client/router.c: see client/router.h.
 *
 * What is the same for every operation on a shard is computed once per map: which replicas' places the policy allows,
 * and what the policy says of our own place. An operation then costs a few bisections. */
#include <assert.h>
#include <string.h>

#include "base/text.h"
#include "client/router_internal.h"

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
	*router = (struct router){ .retries = RETRY_MAX, .hedges = HEDGE_MAX };
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
			route->leader = old->routes[from].leader,
			route->direct_until_ns = old->routes[from].direct_until_ns;
	}
}

static void compute_nodes(const struct router *router, const struct half *old, struct half *new)
{
	const struct map_region *ours = map_region_of(new->map, &router->place);
	new->region = ours ? (uint32_t)(ours - new->map->regions) : new->map->region_count;
	for (uint32_t i = 0; i < new->map->node_count; i++) {
		const struct map_node *node = map_node_find(old->map, new->map->nodes[i].id);
		new->nodes[i] = node ? old->nodes[node - old->map->nodes] : (struct router_node){ 0 };
		new->nodes[i].guess_us = router_guess_us(router, new, &new->map->nodes[i]);
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
	compute_nodes(router, &router->in_use, spare);
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

enum {
	LEADER_ADVANTAGE_US = 1000,
	DIRECT_MS = 2000, /* then a near replica may show again that it forwards */
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

void candidates_insert(struct candidate at[], unsigned count, struct candidate new)
{
	unsigned i = count;
	for (; i > 0 && before(&new, &at[i - 1]); i--)
		at[i] = at[i - 1];
	at[i] = new;
}

struct router_node *router_node_of(const struct router *router, uint64_t id)
{
	const struct map_node *node = map_node_find(router->in_use.map, id);
	return node ? &router->in_use.nodes[node - router->in_use.map->nodes] : NULL;
}

struct route *router_route_of(const struct router *router, uint64_t shard_id)
{
	const struct map_shard *shard = map_shard_find(router->in_use.map, shard_id);
	return shard ? &router->in_use.routes[shard - router->in_use.map->shards] : NULL;
}

uint64_t router_leader_guess(const struct router *router, uint64_t shard_id)
{
	const struct map_shard *shard = map_shard_find(router->in_use.map, shard_id);
	const struct route *route = router_route_of(router, shard_id);
	if (!shard)
		return 0;
	return route->leader != 0 ? route->leader : shard->lead_wanted;
}

unsigned router_candidates(const struct router *router, uint64_t shard_id, uint8_t operation, bool leader_first,
	uint64_t now_ns, uint64_t nodes[REPLICAS_MAX])
{
	const struct map_shard *shard = map_shard_find(router->in_use.map, shard_id);
	if (!shard)
		return 0;
	const struct route *route = router_route_of(router, shard_id);
	bool write = operation != OPERATION_GET && operation != OPERATION_SCAN;
	uint64_t leader = write ? router_leader_guess(router, shard_id) : 0;
	struct candidate candidates[REPLICAS_MAX];
	unsigned count = 0;
	leader_first |= now_ns < route->direct_until_ns;
	for (unsigned i = 0; i < shard->replica_count; i++) {
		const struct map_replica *replica = &shard->replicas[i];
		if (!(route->compliant >> i & 1) || (replica->role != ROLE_VOTER && replica->role != ROLE_LEARNER))
			continue;
		const struct router_node *node = router_node_of(router, replica->node);
		bool measured, leads = leader != 0 && replica->node == leader;
		uint32_t rtt_us = router_rtt_us(router, replica->node, &measured);
		assert(node);
		if (leads) /* as near as any that is not much nearer: there is nothing to forward */
			rtt_us -= rtt_us < LEADER_ADVANTAGE_US ? rtt_us : LEADER_ADVANTAGE_US;
		candidates_insert(candidates, count++,
			(struct candidate){ .node = replica->node,
				.suspect = now_ns < node->suspect_until_ns,
				.leads = leads && leader_first,
				.rtt_us = rtt_us });
	}
	for (unsigned i = 0; i < count; i++)
		nodes[i] = candidates[i].node;
	return count;
}

void router_refused_origin(struct router *router, uint64_t shard, uint64_t now_ns)
{
	struct route *route = router_route_of(router, shard);
	if (route)
		route->direct_until_ns = now_ns + (uint64_t)DIRECT_MS * 1000000;
}

void router_learn_leader(struct router *router, uint64_t shard, uint64_t node)
{
	struct route *route = router_route_of(router, shard);
	if (route && map_node_find(router->in_use.map, node))
		route->leader = node;
}

void router_forget_leader(struct router *router, uint64_t shard, uint64_t node)
{
	struct route *route = router_route_of(router, shard);
	if (route && route->leader == node)
		route->leader = 0;
}

uint64_t router_leader(const struct router *router, uint64_t shard)
{
	const struct route *route = router_route_of(router, shard);
	return route ? route->leader : 0;
}
