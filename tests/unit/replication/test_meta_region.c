/* tests/unit/replication/test_meta_region.c: regions that go: what keeps them, and that all others stay who they are.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/replication/meta_apply.h"

static struct meta_result remove_region(struct cluster_map *map, const char *region)
{
	struct change change = { .kind = CHANGE_REGION_REMOVE, .now_us = 9000 };
	snprintf(change.name, sizeof(change.name), "%s", region);
	return apply(map, &change);
}

static void report_meta_without(struct cluster_map *map, const char *region)
{
	struct change report = { .kind = CHANGE_META_REPORT };
	for (uint32_t i = 0; i < map->node_count; i++) {
		const struct map_node *node = &map->nodes[i];
		if (strcmp(map->regions[node->region].name, region) != 0)
			report.replicas[report.replica_count++] = (struct map_replica){ .node = node->id,
				.replica = node->meta_replica,
				.role = node->meta_voter ? ROLE_VOTER : ROLE_LEARNER };
	}
	assert_int_equal(apply(map, &report).status, STATUS_OK);
}

/* Drained and decommissioned, all of its nodes; out of the map when meta is without them. */
static void empty(struct cluster_map *map, const char *region)
{
	struct change change = { .kind = CHANGE_REGION_STATE, .state = REGION_DRAINING };
	snprintf(change.name, sizeof(change.name), "%s", region);
	assert_int_equal(apply(map, &change).status, STATUS_OK);
	for (uint32_t i = 0; i < map->shard_count; i++) {
		if (map->shards[i].operation == 0)
			continue;
		struct change report = report_of(&map->shards[i], map->shards[i].membership_index + 5);
		assert_int_equal(apply(map, &report).status, STATUS_OK);
	}
	assert_refused(remove_region(map, region), STATUS_CONFLICT, "belongs to region");
	for (uint32_t i = 0; i < map->node_count; i++) {
		if (strcmp(map->regions[map->nodes[i].region].name, region) != 0)
			continue;
		struct change gone = { .kind = CHANGE_NODE_REMOVE, .target_node = map->nodes[i].id };
		assert_int_equal(apply(map, &gone).status, STATUS_OK);
	}
	assert_refused(remove_region(map, region), STATUS_CONFLICT, "not out of meta yet");
	report_meta_without(map, region);
}

static void test_without_nodes_it_goes(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	assert_refused(remove_region(map, "mars-1"), STATUS_NOT_FOUND, "no region mars-1");
	assert_refused(remove_region(map, "eu-central-1"), STATUS_CONFLICT, "eu/de/eu-central-1/a/n3 belongs");
	empty(map, "eu-central-1");
	uint64_t epoch = map->epoch;
	assert_int_equal(remove_region(map, "eu/de/eu-central-1").status, STATUS_OK); /* by its place */
	assert_int_equal(map->epoch, epoch + 1);
	assert_int_equal(map->region_count, 3);
	assert_null(map_region_find(map, "eu-central-1"));
	/* Those behind it have moved up, and every node is where it was. */
	static const char *const where[][2] = { { "n1", "eu-west-1" }, { "n2", "eu-west-1" }, { "n5", "eu-north-1" },
		{ "n6", "eu-north-1" }, { "n7", "us-east-1" }, { "n8", "us-east-1" } };
	assert_int_equal(map->node_count, 6);
	for (unsigned i = 0; i < 6; i++) {
		const struct map_node *node = map_node_by_place(map, where[i][0]);
		assert_non_null(node);
		assert_string_equal(map->regions[node->region].name, where[i][1]);
	}
	assert_string_equal(map->regions[map_node_by_place(map, "n8")->region].site.tags[0], "cloud=aws");
	assert_int_equal(map->former_count, 2);
	struct site site;
	assert_false(map_site(map, &map->formers[0].place, &site)); /* nobody there is anybody */
	/* Its place is free, with other tags too, and so is what was around it. */
	assert_int_equal(add_region(map, "eu/de", "cloud=own").status, STATUS_OK);
	assert_int_equal(remove_region(map, "de").status, STATUS_OK);
	assert_int_equal(add_region(map, "eu/de/eu-central-1", NULL).status, STATUS_OK);
	add_node(map, "eu/de/eu-central-1/a/n3");
	free(map);
}

static struct meta_result with_rule(const char *stored, struct selectors *(*of)(struct policy *), const char *rule)
{
	struct cluster_map *map = cluster();
	struct policy policy = policy_of("p", stored, 1, SPREAD_NODE);
	if (of) {
		of(&policy)->count = 0;
		if (&policy.never_in != of(&policy))
			selectors_add(of(&policy), "eu");
		selectors_add(of(&policy), rule);
	}
	empty(map, "us-east-1");
	assert_int_equal(apply_rules(map, &policy, 1, NULL, 0).status, STATUS_OK);
	struct meta_result result = remove_region(map, "us-east-1");
	free(map);
	return result;
}

static struct selectors *store_in(struct policy *policy)
{
	return &policy->store_in;
}

static struct selectors *never_in(struct policy *policy)
{
	return &policy->never_in;
}

static struct selectors *read_from(struct policy *policy)
{
	return &policy->read_from;
}

static struct selectors *write_from(struct policy *policy)
{
	return &policy->write_from;
}

static struct selectors *lead_in(struct policy *policy)
{
	return &policy->lead_in;
}

static void test_what_rules_name_stays(void **state)
{
	(void)state;
	assert_int_equal(with_rule("*", NULL, "").status, STATUS_OK);
	assert_int_equal(with_rule("eu", NULL, "").status, STATUS_OK);
	struct meta_result refused = with_rule("eu", store_in, "us");
	assert_refused(refused, STATUS_CONFLICT, "policy p names us in store_in");
	assert_non_null(strstr(refused.flaw.cure, "policy apply"));
	assert_refused(with_rule("eu", read_from, "cloud=aws"), STATUS_CONFLICT, "names cloud=aws in read_from");
	assert_refused(with_rule("eu", write_from, "us/us-east-1"), STATUS_CONFLICT, "in write_from");
	assert_refused(with_rule("*", lead_in, "us/us-east-1/a"), STATUS_CONFLICT, "in lead_in"); /* inside of it */
	/* What is of no region at all was so before; and what is forbidden stays so. */
	assert_int_equal(with_rule("eu", read_from, "uk").status, STATUS_OK);
	assert_int_equal(with_rule("eu", read_from, "usa").status, STATUS_OK);
	assert_int_equal(with_rule("*", never_in, "us").status, STATUS_OK);
}

/* Two regions that a rule names: either may go, not both. */
static void test_the_last_of_those_it_names(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	struct policy policy = policy_of("p", "eu", 1, SPREAD_NODE);
	policy.read_from.count = 0;
	selectors_add(&policy.read_from, "ap");
	assert_int_equal(add_region(map, "ap/sg/ap-southeast-1", NULL).status, STATUS_OK);
	assert_int_equal(add_region(map, "ap/jp/ap-northeast-1", NULL).status, STATUS_OK);
	assert_int_equal(apply_rules(map, &policy, 1, NULL, 0).status, STATUS_OK);
	assert_int_equal(remove_region(map, "ap-southeast-1").status, STATUS_OK);
	assert_refused(remove_region(map, "ap-northeast-1"), STATUS_CONFLICT, "names ap in read_from");
	free(map);
}

static uint64_t running_drain(const struct cluster_map *map)
{
	for (uint32_t i = 0; i < map->operation_count; i++)
		if (map->operations[i].kind == OPERATION_DRAIN && map->operations[i].state == OPERATION_RUNNING)
			return map->operations[i].id;
	return 0;
}

static void test_drains_of_others_stay_theirs(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	struct policy policy = policy_of("p", "*", 3, SPREAD_NODE);
	assert_int_equal(apply_rules(map, &policy, 1, NULL, 0).status, STATUS_OK);
	empty(map, "eu-central-1");
	struct change drain = { .kind = CHANGE_REGION_STATE, .state = REGION_DRAINING };
	snprintf(drain.name, sizeof(drain.name), "eu-north-1");
	assert_int_equal(apply(map, &drain).status, STATUS_OK);
	uint64_t id = running_drain(map);
	assert_int_not_equal(id, 0);
	assert_int_equal(remove_region(map, "eu-central-1").status, STATUS_OK);
	assert_int_equal(map_region_find(map, "eu-north-1")->state, REGION_DRAINING);
	struct change cancel = { .kind = CHANGE_CANCEL, .operation = id, .now_us = 9000 };
	assert_int_equal(apply(map, &cancel).status, STATUS_OK);
	assert_int_equal(map_region_find(map, "eu-north-1")->state, REGION_ACTIVE);
	free(map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_nodes_it_goes),
		cmocka_unit_test(test_what_rules_name_stays),
		cmocka_unit_test(test_the_last_of_those_it_names),
		cmocka_unit_test(test_drains_of_others_stay_theirs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
