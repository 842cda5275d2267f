/* tests/unit/replication/test_meta_drain.c: nodes and regions that are drained: where their replicas go, who votes in
 * meta instead, what is refused, and what is left of a node that is removed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/replication/meta_apply.h"

static struct change node_state(const struct cluster_map *map, const char *node, uint8_t state)
{
	const struct map_node *there = map_node_by_place(map, node);
	assert_non_null(there);
	return (struct change){ .kind = CHANGE_NODE_STATE, .target_node = there->id, .state = state, .now_us = 9000 };
}

static struct meta_result set_node(struct cluster_map *map, const char *node, uint8_t state)
{
	struct change change = node_state(map, node, state);
	return apply(map, &change);
}

static struct meta_result set_region(struct cluster_map *map, const char *region, uint8_t state)
{
	struct change change = { .kind = CHANGE_REGION_STATE, .state = state, .now_us = 9000 };
	strcpy(change.name, region);
	return apply(map, &change);
}

static struct meta_result remove_node(struct cluster_map *map, const char *node)
{
	const struct map_node *there = map_node_by_place(map, node);
	assert_non_null(there);
	struct change change = { .kind = CHANGE_NODE_REMOVE, .target_node = there->id };
	return apply(map, &change);
}

static uint64_t id_of(const struct cluster_map *map, const char *node)
{
	return map_node_by_place(map, node)->id;
}

static unsigned wanted_on(const struct cluster_map *map, uint64_t node)
{
	unsigned count = 0;
	for (uint32_t i = 0; i < map->shard_count; i++)
		for (unsigned j = 0; j < map->shards[i].wanted_count; j++)
			count += map->shards[i].wanted[j].node == node;
	return count;
}

static bool votes(const struct cluster_map *map, const char *node)
{
	return map_node_by_place(map, node)->meta_voter;
}

static void test_a_drained_node_is_left_by_all(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	uint64_t n3 = id_of(map, "n3"), n4 = id_of(map, "n4");
	unsigned held = wanted_on(map, n3);
	assert_true(held > 0);
	struct meta_result result = set_node(map, "n3", NODE_DRAINING);
	assert_int_equal(result.status, STATUS_OK);
	const struct map_operation *operation = map_operation_find(map, result.id);
	assert_non_null(operation);
	assert_int_equal(operation->kind, OPERATION_DRAIN);
	assert_int_equal(operation->steps, held);
	assert_int_equal(wanted_on(map, n3), 0);
	assert_true(wanted_on(map, n4) >= held); /* `eu` has no other place in that region */
	assert_non_null(map_shard_on(map, n3));
	/* Asked again, it is no other change; nor is what it waits for hurried. */
	uint64_t epoch = map->epoch;
	struct meta_result again = set_node(map, "n3", NODE_DRAINING);
	assert_int_equal(again.epoch, epoch);
	assert_int_equal(again.id, result.id); /* to be waited for */
	settle(map);
	assert_int_equal(set_node(map, "n3", NODE_DRAINING).id, 0);
	assert_int_equal(map_operation_find(map, result.id)->state, OPERATION_DONE);
	assert_null(map_shard_on(map, n3));
	/* Back again, it takes what comes; what left stays where it is. */
	assert_int_equal(set_node(map, "n3", NODE_ACTIVE).status, STATUS_OK);
	assert_int_equal(wanted_on(map, n3), 0);
	assert_true(map_node_takes_leads(map, map_node_find(map, n3)));
	free(map);
}

static void test_residency_wins_over_a_drain(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	assert_int_equal(set_node(map, "n3", NODE_DRAINING).status, STATUS_OK);
	settle(map);
	/* `eu` wants three regions of the EU: without its last node there, one would be missing. */
	struct meta_result result = set_node(map, "n4", NODE_DRAINING);
	assert_refused(result, STATUS_RESIDENCY_REFUSED, "copies of policy eu have no place");
	assert_non_null(strstr(result.flaw.cure, "leads only"));
	assert_refused(set_region(map, "eu-north-1", REGION_DRAINING), STATUS_RESIDENCY_REFUSED, "policy eu");
	assert_int_equal(set_node(map, "n4", NODE_LEADLESS).status, STATUS_OK);
	assert_true(wanted_on(map, id_of(map, "n4")) > 0);
	free(map);
}

static void test_what_is_drained_takes_nothing(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	assert_int_equal(set_node(map, "n1", NODE_DRAINING).status, STATUS_OK);
	assert_int_equal(set_node(map, "n3", NODE_LEADLESS).status, STATUS_OK);
	settle(map);
	struct policy more[] = { policy_of("more", "*", 3, SPREAD_REGION) };
	assert_int_equal(apply_rules(map, more, 1, NULL, 0).status, STATUS_OK);
	assert_int_equal(wanted_on(map, id_of(map, "n1")), 0);
	struct map_shard *shard = &map->shards[0];
	struct change place = { .kind = CHANGE_SHARD_PLACE, .shard = shard->id, .replica_count = 3 };
	place.replicas[0].node = id_of(map, "n1");
	place.replicas[1].node = id_of(map, "n3");
	place.replicas[2].node = id_of(map, "n5");
	assert_refused(apply(map, &place), STATUS_CONFLICT, "drained");
	place.replicas[0].node = id_of(map, "n2");
	assert_int_equal(apply(map, &place).status, STATUS_OK);
	settle(map);
	struct change lead = { .kind = CHANGE_SHARD_LEAD, .shard = shard->id, .target_node = id_of(map, "n3") };
	assert_refused(apply(map, &lead), STATUS_CONFLICT, "leads nothing");
	lead.target_node = id_of(map, "n2");
	assert_int_equal(apply(map, &lead).status, STATUS_OK);
	free(map);
}

static void test_a_region_is_left_as_one(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	struct policy policies[] = { policy_of("default", "*", 3, SPREAD_REGION) };
	assert_int_equal(apply_rules(map, policies, 1, NULL, 0).status, STATUS_OK);
	struct meta_result result = set_region(map, "eu-central-1", REGION_DRAINING);
	assert_int_equal(result.status, STATUS_OK);
	assert_int_equal(wanted_on(map, id_of(map, "n3")) + wanted_on(map, id_of(map, "n4")), 0);
	/* Not from one of its nodes to the other, and one that comes to it takes nothing either. */
	uint64_t late = add_node(map, "eu/de/eu-central-1/c/n9");
	assert_false(map_node_takes_replicas(map, map_node_find(map, late)));
	assert_refused(set_region(map, "eu-central-9", REGION_DRAINING), STATUS_NOT_FOUND, "no region");
	assert_refused(set_region(map, "eu-central-1", 7), STATUS_INVALID, "does not know");
	settle(map);
	assert_int_equal(set_region(map, "eu-central-1", REGION_ACTIVE).status, STATUS_OK);
	assert_true(map_node_takes_replicas(map, map_node_find(map, late)));
	free(map);
}

static void test_metas_voters_go_elsewhere(void **state)
{
	(void)state;
	struct cluster_map *map = cluster(); /* n1, n3, n5 vote */
	assert_true(votes(map, "n1") && votes(map, "n3") && votes(map, "n5"));
	assert_int_equal(set_node(map, "n3", NODE_DRAINING).status, STATUS_OK);
	assert_true(votes(map, "n4") && !votes(map, "n3"));
	assert_int_equal(set_node(map, "n4", NODE_DRAINING).status, STATUS_OK);
	assert_true(votes(map, "n7"));
	/* Two regions left: one of them has two voters, and gives one back as soon as a third can. */
	assert_int_equal(set_region(map, "us-east-1", REGION_DRAINING).status, STATUS_OK);
	assert_int_equal(votes(map, "n1") + votes(map, "n2") + votes(map, "n5") + votes(map, "n6"), 3);
	assert_int_equal(set_node(map, "n4", NODE_ACTIVE).status, STATUS_OK);
	assert_int_equal(votes(map, "n1") + votes(map, "n4") + votes(map, "n5"), 3);
	/* Down to one node, and not below. */
	assert_int_equal(set_node(map, "n4", NODE_DRAINING).status, STATUS_OK);
	assert_int_equal(set_region(map, "eu-north-1", REGION_DRAINING).status, STATUS_OK);
	assert_int_equal(votes(map, "n1") + votes(map, "n2"), 1);
	assert_int_equal(set_node(map, "n1", NODE_DRAINING).status, STATUS_OK);
	assert_true(votes(map, "n2"));
	assert_refused(set_node(map, "n2", NODE_DRAINING), STATUS_CONFLICT, "no node that carries meta");
	free(map);
}

static void test_a_node_goes_for_ever(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	uint64_t n3 = id_of(map, "n3");
	assert_refused(remove_node(map, "n3"), STATUS_CONFLICT, "not drained");
	struct change voting = { .kind = CHANGE_META_REPORT, .replica_count = 1 };
	voting.replicas[0] =
		(struct map_replica){ .node = n3, .replica = map_node_find(map, n3)->meta_replica, .role = ROLE_VOTER };
	assert_int_equal(apply(map, &voting).status, STATUS_OK);
	assert_int_equal(set_node(map, "n3", NODE_DRAINING).status, STATUS_OK);
	assert_refused(remove_node(map, "n3"), STATUS_CONFLICT, "still has a replica");
	settle(map);
	assert_refused(remove_node(map, "n3"), STATUS_CONFLICT, "still votes in meta");
	voting.replicas[0].role = ROLE_LEARNER;
	assert_int_equal(apply(map, &voting).status, STATUS_OK);
	struct change head = { .kind = CHANGE_LEDGER_HEAD };
	head.node.id = n3;
	head.node.ledger = (struct ledger_head){ .at = { .sequence = 40, .hash = { 7 } }, .signature_size = 1 };
	assert_int_equal(apply(map, &head).status, STATUS_OK);
	struct meta_result result = remove_node(map, "n3");
	assert_int_equal(result.status, STATUS_OK);
	assert_int_equal(result.id, n3);
	/* It is told through meta's log, and leaves the map when it is no member of meta any more. */
	assert_int_equal(map_node_find(map, n3)->state, NODE_GONE);
	uint64_t epoch = map->epoch;
	assert_int_equal(remove_node(map, "n3").epoch, epoch);
	assert_refused(set_node(map, "n3", NODE_ACTIVE), STATUS_CONFLICT, "was decommissioned");
	assert_int_equal(apply(map, &voting).epoch, epoch);
	voting.replicas[0] = (struct map_replica){
		.node = id_of(map, "n1"), .replica = map_node_by_place(map, "n1")->meta_replica, .role = ROLE_VOTER
	};
	assert_int_equal(map->former_count, 0);
	voting.now_us = 77;
	assert_int_equal(apply(map, &voting).status, STATUS_OK);
	assert_null(map_node_find(map, n3));
	/* How far its ledger went is kept. */
	assert_int_equal(map->former_count, 1);
	assert_int_equal(map->formers[0].id, n3);
	assert_int_equal(map->formers[0].ledger.at.sequence, 40);
	assert_int_equal(map->formers[0].gone_us, 77);
	struct membership membership;
	meta_membership_wanted(map, &membership);
	assert_int_equal(membership.count, 7);
	struct change gone = { .kind = CHANGE_NODE_REMOVE, .target_node = n3 };
	assert_refused(apply(map, &gone), STATUS_NOT_FOUND, "no node");
	/* Its place is free for another incarnation, which is another node. */
	struct change again;
	change_node(&again, "eu/de/eu-central-1/a/n3", 2);
	result = apply(map, &again);
	assert_int_equal(result.status, STATUS_OK);
	assert_true(result.id > n3);
	free(map);
}

static void test_a_lost_region_is_left_where_it_can_be(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	struct meta_result result = set_region(map, "eu-central-1", REGION_FENCED);
	assert_int_equal(result.status, STATUS_OK);
	uint64_t n3 = id_of(map, "n3"), n4 = id_of(map, "n4");
	assert_true(map_node_fenced(map, n3) && map_node_fenced(map, n4));
	assert_false(map_node_fenced(map, id_of(map, "n1")));
	assert_false(votes(map, "n3") || votes(map, "n4"));
	for (uint32_t i = 0; i < map->shard_count; i++) {
		const struct map_shard *shard = &map->shards[i];
		bool there = false, eu = strcmp(map_policy_find(map, shard->policy)->name, "eu") == 0;
		for (unsigned j = 0; j < shard->wanted_count; j++)
			there |= map_node_fenced(map, shard->wanted[j].node);
		assert_int_equal(there, eu); /* which has no fourth region to go to */
	}
	settle(map);
	/* What cannot be replaced stands in nobody's way: not in another drain's, which it would only fail. */
	assert_int_equal(set_node(map, "n7", NODE_DRAINING).status, STATUS_OK);
	settle(map);
	assert_int_equal(set_node(map, "n7", NODE_ACTIVE).status, STATUS_OK);
	/* Once there is a place, the same word moves it. */
	assert_int_equal(add_region(map, "eu/fr/eu-west-3", NULL).status, STATUS_OK);
	add_node(map, "eu/fr/eu-west-3/a/n10");
	uint64_t epoch = map->epoch;
	result = set_region(map, "eu-central-1", REGION_FENCED);
	assert_int_equal(result.epoch, epoch + 1);
	assert_int_equal(map_operation_find(map, result.id)->kind, OPERATION_DRAIN);
	assert_int_equal(wanted_on(map, n3) + wanted_on(map, n4), 0);
	settle(map);
	assert_int_equal(set_region(map, "eu-central-1", REGION_FENCED).epoch, map->epoch);
	assert_int_equal(set_region(map, "eu-central-1", REGION_ACTIVE).status, STATUS_OK);
	assert_true(map_node_takes_leads(map, map_node_find(map, n3)));
	free(map);
}

/* Meta is where these nodes are, as its leader reports. */
static void meta_is_on(struct cluster_map *map, const char *const nodes[], unsigned count)
{
	struct change report = { .kind = CHANGE_META_REPORT, .replica_count = (uint8_t)count };
	for (unsigned i = 0; i < count; i++) {
		const struct map_node *node = map_node_by_place(map, nodes[i]);
		report.replicas[i] =
			(struct map_replica){ .node = node->id, .replica = node->meta_replica, .role = ROLE_VOTER };
	}
	assert_int_equal(apply(map, &report).status, STATUS_OK);
}

/* Nobody listens to a fenced region: were most of meta's voters there, nobody could have it back. */
static void test_metas_majority_is_not_fenced(void **state)
{
	(void)state;
	struct cluster_map *map = cluster(); /* n1, n3, n5 are to vote; as yet n1 alone does */
	assert_refused(set_region(map, "eu-west-1", REGION_FENCED), STATUS_CONFLICT, "majority of meta's voters");
	meta_is_on(map, (const char *const[]){ "n1", "n3", "n5" }, 3);
	assert_int_equal(set_region(map, "eu-west-1", REGION_FENCED).status, STATUS_OK); /* n7 is to vote for n1 */
	/* Not moved yet, n1 votes still, and nobody hears it. */
	assert_refused(set_region(map, "eu-north-1", REGION_FENCED), STATUS_CONFLICT, "majority of meta's voters");
	/* Nor may most of those be lost that it may be on the way to. */
	assert_int_equal(set_node(map, "n3", NODE_DRAINING).status, STATUS_OK);
	assert_int_equal(set_node(map, "n4", NODE_DRAINING).status, STATUS_OK); /* n5, n6 and n7 are to vote */
	meta_is_on(map, (const char *const[]){ "n3", "n4", "n7" }, 3);
	assert_refused(set_region(map, "eu-north-1", REGION_FENCED), STATUS_CONFLICT, "majority of meta's voters");
	meta_is_on(map, (const char *const[]){ "n5", "n6", "n7" }, 3);
	assert_int_equal(set_region(map, "us-east-1", REGION_FENCED).status, STATUS_OK);
	/* What is fenced already stays so. */
	assert_int_equal(set_region(map, "us-east-1", REGION_FENCED).status, STATUS_OK);
	free(map);
}

/* Whatever was asked of its nodes meanwhile: a region that lives again is listened to again. */
static void test_a_fenced_region_can_be_had_back(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	assert_int_equal(set_node(map, "n4", NODE_DRAINING).status, STATUS_OK); /* all of `eu` there is on n3 */
	settle(map);
	assert_int_equal(set_region(map, "eu-central-1", REGION_FENCED).status, STATUS_OK);
	/* A drain is a drain there too: `eu` has no other place. */
	assert_refused(set_node(map, "n3", NODE_DRAINING), STATUS_RESIDENCY_REFUSED, "policy eu");
	assert_int_equal(set_node(map, "n4", NODE_LEADLESS).status, STATUS_OK);
	assert_int_equal(set_node(map, "n4", NODE_DRAINING).status, STATUS_OK);
	/* Nor does a move that waits for the region stand in its way. */
	assert_int_equal(set_region(map, "eu-central-1", REGION_ACTIVE).status, STATUS_OK);
	assert_int_equal(set_node(map, "n4", NODE_ACTIVE).status, STATUS_OK);
	assert_int_equal(set_node(map, "n3", NODE_DRAINING).status, STATUS_OK);
	assert_int_equal(set_region(map, "eu-central-1", REGION_FENCED).status, STATUS_OK);
	assert_refused(set_node(map, "n4", NODE_DRAINING), STATUS_RESIDENCY_REFUSED, "policy eu");
	assert_int_equal(set_region(map, "eu-central-1", REGION_ACTIVE).status, STATUS_OK);
	free(map);
}

/* Too few are left for as many voters as before: a region's second one goes before another's only one. */
static void test_second_voters_go_first(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	assert_int_equal(add_region(map, "ap/ap-1", NULL).status, STATUS_OK);
	add_node(map, "ap/ap-1/a/n9"); /* five voters */
	assert_int_equal(set_region(map, "us-east-1", REGION_DRAINING).status, STATUS_OK);
	assert_int_equal(set_region(map, "eu-north-1", REGION_DRAINING).status, STATUS_OK);
	assert_int_equal(set_node(map, "n4", NODE_DRAINING).status, STATUS_OK);
	/* n1, n2, n3, n9 are left */
	assert_true(votes(map, "n1") && votes(map, "n3") && votes(map, "n9"));
	assert_false(votes(map, "n2"));
	free(map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_drained_node_is_left_by_all),
		cmocka_unit_test(test_residency_wins_over_a_drain),
		cmocka_unit_test(test_what_is_drained_takes_nothing),
		cmocka_unit_test(test_a_region_is_left_as_one),
		cmocka_unit_test(test_metas_voters_go_elsewhere),
		cmocka_unit_test(test_second_voters_go_first),
		cmocka_unit_test(test_a_fenced_region_can_be_had_back),
		cmocka_unit_test(test_metas_majority_is_not_fenced),
		cmocka_unit_test(test_a_node_goes_for_ever),
		cmocka_unit_test(test_a_lost_region_is_left_where_it_can_be),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
