/* tests/unit/policy/test_plan.c: a plan's id is another one when what decides on its outcome is, and the same
 * otherwise; who is expected to lead; what is survived. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "policy/plan.h"
#include "tests/unit/policy/policies.h"

static struct cluster_map *map;
static struct policy wanted;
static struct change change;

static struct policy policy_of(const char *name, const char *store_in)
{
	struct policy policy = policy_named(name, store_in);
	policy.copies = 3;
	policy.spread = SPREAD_REGION;
	policy_complete(&policy, FIELD_STORE_IN | FIELD_COPIES | FIELD_SPREAD);
	return policy;
}

static void add_policy(const char *name)
{
	struct policy policy = policy_of(name, "eu us ap");
	policy.id = map->id_next++;
	policy.epoch = 1;
	map->policies[map->policy_count++] = policy;
	struct map_shard *shard = &map->shards[map->shard_count++];
	*shard = (struct map_shard){ .policy = policy.id, .hash_last = UINT64_MAX, .id = map->id_next++ };
	shard->replica_count = shard->wanted_count = 3;
	for (unsigned i = 0; i < 3; i++)
		shard->replicas[i] = shard->wanted[i] =
			(struct map_replica){ .replica = map->id_next++, .node = map->nodes[i].id, .role = ROLE_VOTER };
}

/* Three regions, a node in each and a second one in the first; a policy that the change names, and another. */
static int set_up(void **state)
{
	(void)state;
	map = map_new();
	add_region(map, "eu/ie/eu-west-1", "cloud=a");
	add_region(map, "us/us-east-1", "cloud=b");
	add_region(map, "ap/sg/ap-southeast-1", "");
	add_node(map, "eu/ie/eu-west-1/a/n1");
	add_node(map, "us/us-east-1/a/n1");
	add_node(map, "ap/sg/ap-southeast-1/a/n1");
	add_node(map, "eu/ie/eu-west-1/b/n2");
	add_policy("named");
	add_policy("other");
	bind_prefix(map, "a/", map->policies[0].id);
	wanted = policy_of("named", "eu us");
	static struct change_binding binding = { .prefix_size = 2, .prefix = "b/", .policy = "named" };
	change = (struct change){
		.kind = CHANGE_APPLY, .policies = &wanted, .policy_count = 1, .bindings = &binding, .binding_count = 1
	};
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	free(map);
	return 0;
}

#define assert_other_id(id, statement)                                                                                 \
	do {                                                                                                           \
		statement;                                                                                             \
		uint64_t now_ = plan_id(map, &change);                                                                 \
		assert_int_not_equal(now_, id);                                                                        \
		(id) = now_;                                                                                           \
	} while (0)

static void test_what_decides_makes_another_id(void **state)
{
	(void)state;
	uint64_t id = plan_id(map, &change);
	assert_int_not_equal(id, 0);
	/* the file */
	assert_other_id(id, wanted.copies = 5);
	assert_other_id(id, wanted.read_from = selectors("*"));
	assert_other_id(id, change.bindings[0].prefix[0] = 'c');
	assert_other_id(id, change.bindings[0].policy[0] = 'm');
	assert_other_id(id, change.binding_count = 0);
	/* the world */
	assert_other_id(id, add_node(map, "us/us-east-1/b/n2"));
	assert_other_id(id, map->regions[0].site.tags[0][6] = 'c');
	assert_other_id(id, map->policies[1].copies = 2);
	assert_other_id(id, bind_prefix(map, "c/", map->policies[1].id));
	assert_other_id(id, map->bindings[0].pending_operation = 77);
	assert_other_id(id, map->shards[1].wanted[0].node = map->nodes[3].id); /* of another policy: nodes fill up */
	assert_other_id(id, map->shards[0].replicas[0].node = map->nodes[3].id);
	assert_other_id(id, map->shards[0].operation = 78);
}

static void test_what_has_no_say_leaves_the_id(void **state)
{
	(void)state;
	uint64_t id = plan_id(map, &change);
	map->epoch += 5;
	map->id_next += 5;
	map->nodes[0].meta_voter = map->nodes[1].meta_voting = true;
	snprintf(map->nodes[0].addresses.at[0].address, sizeof(map->nodes[0].addresses.at[0].address), "127.0.0.1:1");
	map->nodes[0].addresses.count = 1;
	map->shards[0].lead_wanted = map->nodes[1].id;
	map->shards[0].generation++;
	map->shards[1].replicas[0].node = map->nodes[3].id; /* a move of another policy goes on */
	map->shards[1].operation = 79;
	wanted.line = 12;
	change.bindings[0].line = 13;
	change.now_us = 99;
	change.plan = 1234;
	change.dry_run = true;
	assert_int_equal(plan_id(map, &change), id);
}

static void test_who_is_to_lead(void **state)
{
	(void)state;
	struct map_shard shard = map->shards[0];
	uint64_t eu = map->nodes[0].id, us = map->nodes[1].id, ap = map->nodes[2].id;
	struct policy policy = policy_of("named", "eu us ap");
	assert_int_equal(plan_leader(map, &policy, &shard, 0), eu);  /* the first */
	assert_int_equal(plan_leader(map, &policy, &shard, ap), ap); /* stays */
	policy.lead_in = selectors("us eu");
	assert_int_equal(plan_leader(map, &policy, &shard, ap), us);
	assert_int_equal(plan_leader(map, &policy, &shard, eu), us);
	policy.follow = true; /* the order means nothing then */
	assert_int_equal(plan_leader(map, &policy, &shard, eu), eu);
	assert_int_equal(plan_leader(map, &policy, &shard, ap), eu);
	shard.lead_wanted = ap;
	assert_int_equal(plan_leader(map, &policy, &shard, eu), ap);
	shard.lead_wanted = 0;
	shard.wanted_count = 0;
	assert_int_equal(plan_leader(map, &policy, &shard, eu), 0);
}

static void test_what_is_survived(void **state)
{
	(void)state;
	struct map_shard *shard = &map->shards[0];
	struct policy policy = policy_of("named", "eu us ap");
	bool sound = false;
	assert_int_equal(plan_survives(map, &policy, shard->replicas, 3, &sound), SURVIVE_REGION);
	assert_true(sound);
	shard->replicas[1].node = map->nodes[3].id; /* two in one region, in two zones */
	assert_int_equal(plan_survives(map, &policy, shard->replicas, 3, &sound), SURVIVE_ZONE);
	assert_int_equal(plan_survives(map, &policy, shard->replicas, 2, &sound), SURVIVE_NONE);
	assert_true(sound);
	assert_int_equal(plan_survives(map, &policy, shard->replicas, 0, &sound), SURVIVE_NONE);
	assert_false(sound);
	shard->replicas[0].node = 12345; /* not on the map */
	assert_int_equal(plan_survives(map, &policy, shard->replicas, 3, &sound), SURVIVE_NONE);
	assert_false(sound);
}

static void test_a_copy_of_the_map_is_the_map(void **state)
{
	(void)state;
	static uint8_t a[64 * 1024], b[64 * 1024];
	struct cluster_map *copy = map_new();
	struct packer packer, other;
	assert_true(cluster_map_copy(map, copy));
	pack_init(&packer, a, sizeof(a));
	cluster_map_encode(map, &packer);
	pack_init(&other, b, sizeof(b));
	cluster_map_encode(copy, &other);
	assert_false(packer.overflow);
	assert_int_equal(packer.size, other.size);
	assert_memory_equal(a, b, packer.size);
	/* Its own: what happens to it leaves the map alone. */
	copy->nodes[0].id = 999;
	copy->shards[0].wanted_count = 0;
	assert_int_not_equal(map->nodes[0].id, 999);
	assert_int_equal(map->shards[0].wanted_count, 3);
	free(copy);
	struct map_limits limits = map_limits_default;
	limits.nodes = 3;
	void *memory = calloc(1, cluster_map_size(&limits));
	assert_non_null(memory);
	copy = cluster_map_init(memory, &limits);
	assert_false(cluster_map_copy(map, copy));
	assert_int_equal(copy->epoch, 0);
	assert_int_equal(copy->node_count, 0);
	assert_int_equal(copy->node_max, 3);
	free(memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_decides_makes_another_id, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_has_no_say_leaves_the_id, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_who_is_to_lead, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_is_survived, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_copy_of_the_map_is_the_map, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
