/* tests/unit/replication/meta_apply.h: changes applied, and judged before, with all that must hold then; and a cluster
 * of four regions with the usual rules. For the tests of meta, which include cmocka.h before. */
#ifndef DOMICILE_TESTS_REPLICATION_META_APPLY_H
#define DOMICILE_TESTS_REPLICATION_META_APPLY_H

#include "tests/unit/replication/meta_map.h"

/* A refused or judged change leaves every byte; an accepted one holds the invariants. */
static inline struct meta_result apply(struct cluster_map *map, const struct change *change)
{
	struct meta_result result;
	uint64_t digest = meta_digest(map), epoch = map->epoch;
	struct change judged = *change;
	judged.dry_run = true;
	meta_apply(map, &judged, &result);
	assert_int_equal(meta_digest(map), digest);
	enum status status = result.status;
	meta_apply(map, change, &result);
	assert_int_equal(result.status, status);
	assert_int_equal(result.epoch, map->epoch);
	meta_check(map);
	if (result.status == STATUS_OK) {
		assert_int_equal(result.flaw.reason[0], 0);
		assert_true(map->epoch == epoch + 1 || (map->epoch == epoch && (change->kind == CHANGE_LEDGER_HEAD ||
										       meta_digest(map) == digest)));
	} else {
		assert_int_equal(meta_digest(map), digest);
		assert_int_not_equal(result.flaw.reason[0], 0);
		assert_int_not_equal(result.flaw.cure[0], 0);
		assert_int_equal(result.id, 0);
	}
	return result;
}

#define assert_refused(result, why, word)                                                                              \
	do {                                                                                                           \
		struct meta_result refused_ = (result);                                                                \
		assert_int_equal(refused_.status, why);                                                                \
		if (!strstr(refused_.flaw.reason, word))                                                               \
			fail_msg("%s", refused_.flaw.reason);                                                          \
	} while (0)

static inline struct meta_result add_region(struct cluster_map *map, const char *place, const char *tag)
{
	struct change change;
	change_region(&change, place, tag);
	return apply(map, &change);
}

static inline uint64_t add_node(struct cluster_map *map, const char *place)
{
	struct change change;
	change_node(&change, place, 1);
	struct meta_result result = apply(map, &change);
	assert_int_equal(result.status, STATUS_OK);
	return result.id;
}

/* Three regions of the EU, one of the US; two nodes each in two zones. */
static inline struct cluster_map *cluster(void)
{
	struct cluster_map *map = map_new();
	struct change change;
	change_init(&change, "eu/ie/eu-west-1", "eu/ie/eu-west-1/a/n1");
	assert_int_equal(apply(map, &change).status, STATUS_OK);
	assert_int_equal(add_region(map, "eu/de/eu-central-1", NULL).status, STATUS_OK);
	assert_int_equal(add_region(map, "eu/se/eu-north-1", NULL).status, STATUS_OK);
	assert_int_equal(add_region(map, "us/us-east-1", "cloud=aws").status, STATUS_OK);
	add_node(map, "eu/ie/eu-west-1/b/n2");
	add_node(map, "eu/de/eu-central-1/a/n3");
	add_node(map, "eu/de/eu-central-1/b/n4");
	add_node(map, "eu/se/eu-north-1/a/n5");
	add_node(map, "eu/se/eu-north-1/b/n6");
	add_node(map, "us/us-east-1/a/n7");
	add_node(map, "us/us-east-1/b/n8");
	return map;
}

static inline struct meta_result apply_rules(struct cluster_map *map, struct policy *policies, uint32_t policy_count,
	struct change_binding *bindings, uint32_t binding_count)
{
	struct change change = { .kind = CHANGE_APPLY,
		.policies = policies,
		.policy_count = policy_count,
		.bindings = bindings,
		.binding_count = binding_count,
		.now_us = 5000 };
	return apply(map, &change);
}

static inline const struct map_shard *shard_of(const struct cluster_map *map, const char *policy, unsigned at)
{
	uint64_t id = map_policy_by_name(map, policy)->id;
	for (uint32_t i = 0; i < map->shard_count; i++)
		if (map->shards[i].policy == id && at-- == 0)
			return &map->shards[i];
	fail();
	return NULL;
}

static inline struct change report_of(const struct map_shard *shard, uint64_t index)
{
	struct change change = { .kind = CHANGE_SHARD_REPORT,
		.shard = shard->id,
		.operation = shard->operation,
		.generation = shard->generation + 1,
		.membership_index = index,
		.replica_count = shard->wanted_count,
		.now_us = 8000 };
	memcpy(change.replicas, shard->wanted, sizeof(change.replicas));
	return change;
}

/* The shard's membership is what is wanted. */
static inline void settle_shard(struct cluster_map *map, const struct map_shard *shard)
{
	struct change report = report_of(shard, shard->membership_index + 5);
	assert_int_equal(apply(map, &report).status, STATUS_OK);
}

/* ... of every one that moves. */
static inline void settle(struct cluster_map *map)
{
	for (uint32_t i = 0; i < map->shard_count; i++)
		if (map->shards[i].operation != 0)
			settle_shard(map, &map->shards[i]);
}

/* The usual rules: everything for all, a part for the EU. */
static inline struct cluster_map *ruled(void)
{
	struct cluster_map *map = cluster();
	struct policy policies[] = { policy_of("default", "*", 3, SPREAD_REGION),
		policy_of("eu", "eu", 3, SPREAD_REGION) };
	struct change_binding bindings[] = { binding_of("", "default"), binding_of("eu/", "eu") };
	struct meta_result result = apply_rules(map, policies, 2, bindings, 2);
	assert_int_equal(result.status, STATUS_OK);
	return map;
}

static inline struct cluster_map *reopened(struct cluster_map *map)
{
	struct packer packer;
	pack_init(&packer, NULL, 0);
	cluster_map_encode(map, &packer);
	uint8_t *bytes = malloc(packer.size);
	pack_init(&packer, bytes, packer.size);
	cluster_map_encode(map, &packer);
	struct cluster_map *copy = map_new();
	assert_int_equal(cluster_map_decode(pack_result(&packer), copy), STATUS_OK);
	assert_int_equal(meta_digest(copy), meta_digest(map));
	free(bytes);
	free(map);
	return copy;
}

#endif
