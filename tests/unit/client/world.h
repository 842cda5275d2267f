/* tests/unit/client/world.h: a small cluster map for the tests of client/: three regions, five nodes, four policies of
 * two shards each, and routers over it. */
#ifndef DOMICILE_TESTS_CLIENT_WORLD_H
#define DOMICILE_TESTS_CLIENT_WORLD_H

#include "client/router.h"
#include "tests/unit/policy/policies.h"

enum { IE1 = 2, IE2, DE1, US1, US2 };				  /* nodes */
enum { EVERYWHERE = 20, EU_ONLY = 21, EU_OPEN = 22, TIGHT = 23 }; /* policies; shards are 10 * policy + 0 or 1 */
static const struct map_limits world_limits = { 8, 16, 8, 32, 32, 4, 2, 2 };

static inline void world_policy(struct cluster_map *map, uint64_t id, const char *name, const char *store_in,
	const char *from, const uint64_t nodes[3])
{
	struct policy *policy = &map->policies[map->policy_count++];
	*policy = policy_named(name, store_in);
	policy->id = id;
	policy->epoch = 1;
	policy->copies = 3;
	policy->read_from = policy->write_from = selectors(from);
	policy_complete(policy, FIELD_STORE_IN | FIELD_COPIES | FIELD_READ_FROM | FIELD_WRITE_FROM);
	for (unsigned half = 0; half < 2; half++) {
		struct map_shard *shard = &map->shards[map->shard_count++];
		*shard = (struct map_shard){ .id = id * 10 + half,
			.policy = id,
			.hash_first = half == 0 ? 0 : (uint64_t)1 << 63,
			.hash_last = half == 0 ? ((uint64_t)1 << 63) - 1 : UINT64_MAX,
			.replica_count = 3 };
		for (unsigned i = 0; i < 3; i++)
			shard->replicas[i] = (struct map_replica){
				.replica = shard->id * 10 + i, .node = nodes[i], .role = ROLE_VOTER
			};
	}
}

static inline struct cluster_map *world_map(void)
{
	struct cluster_map *map = calloc(1, cluster_map_size(&world_limits));
	assert_non_null(map);
	map = cluster_map_init(map, &world_limits);
	map->epoch = 7;
	map->id_next = IE1;
	map->cluster[0] = 0xac;
	memcpy(map->name, "acme", 5);
	add_region(map, "eu/ie/eu-west-1", "");
	add_region(map, "eu/de/eu-central-1", "");
	add_region(map, "us/us-east-1", "");
	add_node(map, "eu/ie/eu-west-1/a/n1");
	add_node(map, "eu/ie/eu-west-1/b/n1");
	add_node(map, "eu/de/eu-central-1/a/n1");
	add_node(map, "us/us-east-1/a/n1");
	add_node(map, "us/us-east-1/b/n1");
	world_policy(map, EVERYWHERE, "everywhere", "*", "*", (const uint64_t[]){ IE1, DE1, US1 });
	world_policy(map, EU_ONLY, "eu-only", "eu", "eu", (const uint64_t[]){ IE1, IE2, DE1 });
	world_policy(map, EU_OPEN, "eu-open", "eu", "*", (const uint64_t[]){ IE1, IE2, DE1 });
	/* Being moved out of us: one replica still lies where the policy no longer allows. */
	world_policy(map, TIGHT, "tight", "eu", "*", (const uint64_t[]){ IE1, DE1, US1 });
	bind_prefix(map, "", EVERYWHERE);
	bind_prefix(map, "eu/", EU_ONLY);
	bind_prefix(map, "open/", EU_OPEN);
	bind_prefix(map, "tight/", TIGHT);
	bind_key(map, "a-single-key", EU_ONLY);
	map->id_next = 10000;
	return map;
}

static inline struct buffer_of_map {
	void *data;
	size_t size;
} world_encode(const struct cluster_map *map)
{
	struct packer packer;
	pack_init(&packer, NULL, 0);
	cluster_map_encode(map, &packer);
	struct buffer_of_map out = { malloc(packer.size), packer.size };
	assert_non_null(out.data);
	pack_init(&packer, out.data, out.size);
	cluster_map_encode(map, &packer);
	assert_false(packer.overflow);
	return out;
}

static inline enum status world_learn(struct router *router, const struct cluster_map *map)
{
	struct buffer_of_map bytes = world_encode(map);
	enum status status = router_learn_map(router, bytes_of(bytes.data, bytes.size));
	free(bytes.data);
	return status;
}

static inline struct router *router_blank(const char *place)
{
	void *memory = calloc(1, router_size(&world_limits));
	assert_non_null(memory);
	return router_init(memory, &world_limits, place);
}

static inline struct router *router_at(const char *place)
{
	struct router *router = router_blank(place);
	struct cluster_map *map = world_map();
	assert_int_equal(world_learn(router, map), STATUS_OK);
	free(map);
	return router;
}

#endif
