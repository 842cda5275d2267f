/* tests/unit/replication/test_meta_rebalance.c: what nodes carry is levelled: how far, by how many moves, within which
 * rules, beside what else goes on, and what becomes of it when it is cancelled. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/replication/meta_apply.h"

static uint64_t id_of(const struct cluster_map *map, const char *node)
{
	return map_node_by_place(map, node)->id;
}

static struct meta_result set_node(struct cluster_map *map, const char *node, uint8_t state)
{
	struct change change = {
		.kind = CHANGE_NODE_STATE, .target_node = id_of(map, node), .state = state, .now_us = 9000
	};
	return apply(map, &change);
}

static struct meta_result rebalance(struct cluster_map *map)
{
	struct change change = { .kind = CHANGE_REBALANCE, .now_us = 9000 };
	struct meta_result result = apply(map, &change);
	assert_int_equal(result.status, STATUS_OK);
	return result;
}

static unsigned carried(const struct cluster_map *map, uint64_t node, bool witnesses)
{
	unsigned count = 0;
	for (uint32_t i = 0; i < map->shard_count; i++)
		for (unsigned j = 0; j < map->shards[i].wanted_count; j++)
			count += map->shards[i].wanted[j].node == node &&
				 (map->shards[i].wanted[j].role == ROLE_WITNESS) == witnesses;
	return count;
}

static unsigned copies_on(const struct cluster_map *map, const char *node)
{
	return carried(map, id_of(map, node), false);
}

/* An administrator may place the shard there: the rules allow it, by a judge that is not the one that levels. */
static bool placeable(struct cluster_map *map, const struct map_shard *shard, unsigned replica, uint64_t node)
{
	struct change change = { .kind = CHANGE_SHARD_PLACE, .dry_run = true, .shard = shard->id };
	for (unsigned i = 0; i < shard->wanted_count; i++)
		if (shard->wanted[i].role == ROLE_VOTER)
			change.replicas[change.replica_count++].node = i == replica ? node : shard->wanted[i].node;
	struct meta_result result;
	meta_apply(map, &change, &result);
	return result.status == STATUS_OK;
}

/* Everything is where it may be, and no copy may go to a node that carries two less. To be asked when all is settled:
 * and of policies whose zones are their regions', or the spread leaves none. */
static void assert_level(struct cluster_map *map)
{
	for (uint32_t i = 0; i < map->shard_count; i++) {
		const struct map_shard *shard = &map->shards[i];
		assert_int_equal(shard->operation, 0);
		assert_true(placeable(map, shard, REPLICAS_MAX, 0));
		for (unsigned j = 0; j < shard->wanted_count; j++) {
			if (shard->wanted[j].role != ROLE_VOTER)
				continue;
			for (uint32_t k = 0; k < map->node_count; k++)
				if (carried(map, shard->wanted[j].node, false) >=
						carried(map, map->nodes[k].id, false) + 2 &&
					placeable(map, shard, j, map->nodes[k].id))
					fail_msg("shard %u may go from node %u to %u", i,
						(unsigned)shard->wanted[j].node, (unsigned)map->nodes[k].id);
		}
	}
}

/* It is left by all, which are settled then, and had back: nothing comes by itself. */
static void empty(struct cluster_map *map, const char *node)
{
	assert_int_equal(set_node(map, node, NODE_DRAINING).status, STATUS_OK);
	settle(map);
	assert_int_equal(set_node(map, node, NODE_ACTIVE).status, STATUS_OK);
	assert_int_equal(copies_on(map, node), 0);
}

static void test_a_node_had_back_gets_its_share(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	empty(map, "n3");
	uint64_t id = rebalance(map).id;
	const struct map_operation *operation = map_operation_find(map, id);
	assert_non_null(operation);
	assert_int_equal(operation->kind, OPERATION_REBALANCE);
	assert_non_null(strstr(operation->text, "so that nodes carry alike"));
	for (uint32_t i = 0; i < map->shard_count; i++) /* who is to go is there until who comes has caught up */
		assert_int_equal(map->shards[i].replica_count, 3);
	settle(map);
	assert_int_equal(map_operation_find(map, id)->state, OPERATION_DONE);
	assert_level(map);
	assert_true(copies_on(map, "n3") + 1 >= copies_on(map, "n4"));
	free(map);
}

/* Of nodes in the same region, so that it is known how many have to. */
static void test_as_few_as_needed_move(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	struct policy policy = policy_of("one", "eu/de", 1, SPREAD_NODE);
	assert_int_equal(apply_rules(map, &policy, 1, NULL, 0).status, STATUS_OK);
	assert_int_equal(copies_on(map, "n3"), 4);
	assert_int_equal(copies_on(map, "n4"), 4);
	assert_int_equal(rebalance(map).id, 0);
	add_node(map, "eu/de/eu-central-1/a/n9");
	const struct map_operation *operation = map_operation_find(map, rebalance(map).id);
	assert_int_equal(operation->steps, 2);
	assert_int_equal(copies_on(map, "n9"), 2);
	settle(map);
	add_node(map, "eu/de/eu-central-1/a/m1");
	assert_int_equal(map_operation_find(map, rebalance(map).id)->steps, 2); /* 3, 3, 2, 0: 2, 2, 2, 2 */
	settle(map);
	assert_level(map);
	free(map);
}

static void test_again_it_does_nothing(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	empty(map, "n3");
	empty(map, "n5");
	struct meta_result first = rebalance(map);
	assert_int_not_equal(first.id, 0);
	struct meta_result again = rebalance(map); /* who asks again is told which to wait for */
	assert_int_equal(again.id, first.id);
	assert_int_equal(again.epoch, first.epoch);
	settle(map);
	assert_level(map);
	again = rebalance(map);
	assert_int_equal(again.id, 0);
	assert_int_equal(again.epoch, map->epoch);
	free(map);
}

/* All shards of the policy are on the first nodes that may carry them; then the others are had back. */
static struct cluster_map *crowded(struct policy *policy, const char *const away[])
{
	struct cluster_map *map = cluster();
	for (unsigned i = 0; away[i]; i++)
		assert_int_equal(set_node(map, away[i], NODE_DRAINING).status, STATUS_OK);
	struct meta_result result = apply_rules(map, policy, 1, NULL, 0);
	if (result.status != STATUS_OK)
		fail_msg("%s", result.flaw.reason);
	for (unsigned i = 0; away[i]; i++)
		assert_int_equal(set_node(map, away[i], NODE_ACTIVE).status, STATUS_OK);
	return map;
}

static void copy_in(struct policy *policy, const char *where, uint8_t copies)
{
	assert_true(selector_parse(where, &policy->copy_in[policy->copy_in_count].in, NULL));
	policy->copy_in[policy->copy_in_count++].copies = copies;
}

static void test_rules_bound_it(void **state)
{
	(void)state;
	const char *const ones[] = { "n2", "n4", "n6", "n8", NULL };
	/* Never in the US, and two copies in one region: they level within it. */
	struct policy policy = policy_of("ruled", "*", 3, SPREAD_NODE);
	assert_true(selectors_add(&policy.never_in, "us"));
	copy_in(&policy, "eu/de", 1);
	copy_in(&policy, "eu/ie", 1);
	struct cluster_map *map = crowded(&policy, ones);
	assert_int_not_equal(rebalance(map).id, 0);
	settle(map);
	assert_int_equal(copies_on(map, "n7") + copies_on(map, "n8"), 0);
	for (uint32_t i = 0; i < map->shard_count; i++)
		assert_true(placeable(map, &map->shards[i], REPLICAS_MAX, 0));
	for (const char *const *node = (const char *const[]){ "n1", "n2", "n3", "n4", "n5", "n6", NULL }; *node; node++)
		assert_int_equal(copies_on(map, *node), 4);
	free(map);
	/* One copy a region, of four: any, but no two together. */
	struct policy spread = policy_of("spread", "*", 3, SPREAD_REGION);
	spread.survive = SURVIVE_REGION;
	map = crowded(&spread, ones);
	assert_int_not_equal(rebalance(map).id, 0);
	settle(map);
	assert_level(map);
	for (uint32_t i = 0; i < map->node_count; i++)
		assert_int_equal(carried(map, map->nodes[i].id, false), 3);
	free(map);
}

/* Where copies may be anywhere, those who may lead first stay in its place; and the leader that was asked for stays. */
static void test_who_leads_stays_where_it_should(void **state)
{
	(void)state;
	const char *const all_but[] = { "n2", "n3", "n4", "n5", "n6", "n7", "n8", NULL };
	struct policy policy = policy_of("led", "*", 1, SPREAD_NODE);
	assert_true(selectors_add(&policy.lead_in, "eu/ie"));
	assert_true(selectors_add(&policy.lead_in, "us"));
	struct cluster_map *map = crowded(&policy, all_but);
	assert_int_equal(copies_on(map, "n1"), SHARDS_PER_POLICY);
	for (unsigned i = 0; i < 5; i++) {
		struct change lead = {
			.kind = CHANGE_SHARD_LEAD, .shard = map->shards[i].id, .target_node = id_of(map, "n1")
		};
		assert_int_equal(apply(map, &lead).status, STATUS_OK);
	}
	assert_int_equal(map_operation_find(map, rebalance(map).id)->steps, 3);
	assert_int_equal(copies_on(map, "n1"), 5);
	assert_int_equal(copies_on(map, "n2"), 3);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(map->shards[i].lead_wanted, id_of(map, "n1"));
	free(map);
}

static void test_zones_are_kept_apart(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	add_node(map, "eu/de/eu-central-1/a/n9");
	struct policy policy = policy_of("zoned", "eu/de", 2, SPREAD_NODE);
	assert_int_equal(apply_rules(map, &policy, 1, NULL, 0).status, STATUS_OK);
	assert_int_equal(copies_on(map, "n4"), SHARDS_PER_POLICY); /* alone in its zone */
	assert_int_equal(rebalance(map).id, 0);
	free(map);
}

static void test_witnesses_by_themselves(void **state)
{
	(void)state;
	const char *const ones[] = { "n2", "n4", "n8", NULL };
	struct policy policy = policy_of("seen", "*", 2, SPREAD_REGION);
	policy.store_in.count = 0;
	assert_true(selectors_add(&policy.store_in, "eu/ie"));
	assert_true(selectors_add(&policy.store_in, "eu/de"));
	assert_true(selectors_add(&policy.witness_in, "us"));
	assert_true(selectors_add(&policy.witness_in, "eu/de"));
	struct cluster_map *map = crowded(&policy, ones);
	assert_int_equal(carried(map, id_of(map, "n7"), true), SHARDS_PER_POLICY);
	assert_int_not_equal(rebalance(map).id, 0);
	settle(map);
	assert_int_equal(carried(map, id_of(map, "n7"), true), SHARDS_PER_POLICY / 2);
	assert_int_equal(carried(map, id_of(map, "n8"), true), SHARDS_PER_POLICY / 2);
	for (const char *const *node = (const char *const[]){ "n1", "n2", "n3", "n4", NULL }; *node; node++)
		assert_int_equal(copies_on(map, *node), SHARDS_PER_POLICY / 2);
	for (uint32_t i = 0; i < map->shard_count; i++)
		assert_true(placeable(map, &map->shards[i], REPLICAS_MAX, 0));
	assert_int_equal(rebalance(map).id, 0);
	free(map);
}

/* A copy does not come to the region of the witness, and the witness not to that of a copy. */
static void test_a_witness_stays_apart(void **state)
{
	(void)state;
	const char *const ones[] = { "n3", "n7", "n8", NULL };
	struct policy policy = policy_of("seen", "*", 2, SPREAD_REGION);
	assert_true(selectors_add(&policy.witness_in, "eu"));
	struct cluster_map *map = crowded(&policy, ones);
	assert_int_not_equal(rebalance(map).id, 0);
	settle(map);
	for (uint32_t i = 0; i < map->shard_count; i++)
		assert_true(placeable(map, &map->shards[i], REPLICAS_MAX, 0));
	assert_true(copies_on(map, "n3") + copies_on(map, "n7") > 0);
	assert_level(map);
	free(map);
}

static void test_what_moves_is_left_alone(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	struct policy policy = policy_of("one", "eu/de", 1, SPREAD_NODE);
	assert_int_equal(apply_rules(map, &policy, 1, NULL, 0).status, STATUS_OK);
	empty(map, "n4");
	struct change place = { .kind = CHANGE_SHARD_PLACE, .shard = map->shards[0].id, .replica_count = 1 };
	place.replicas[0].node = id_of(map, "n4");
	uint64_t placed = apply(map, &place).id, shard = map->shards[0].id;
	struct change split = { .kind = CHANGE_SHARD_SPLIT, .shard = map->shards[1].id };
	uint64_t halves = apply(map, &split).id;
	assert_int_not_equal(halves, 0);
	uint64_t from = map_operation_find(map, halves)->shard_from, to = map_operation_find(map, halves)->shard_to;
	/* 8 on n3 with the one that is being split off, 1 on n4: 3 go. */
	uint64_t id = rebalance(map).id;
	assert_int_equal(map_operation_find(map, id)->steps, 3);
	assert_int_equal(map_shard_find(map, shard)->operation, placed);
	assert_int_equal(map_shard_find(map, from)->operation, 0);
	assert_int_equal(map_shard_find(map, to)->operation, 0);
	/* A drain that comes meanwhile turns it, and it ends. */
	assert_int_equal(set_node(map, "n4", NODE_DRAINING).status, STATUS_OK);
	settle(map);
	assert_int_equal(map_operation_find(map, id)->state, OPERATION_DONE);
	assert_int_equal(copies_on(map, "n4"), 0);
	free(map);
}

static void test_nothing_comes_to_who_is_away(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	empty(map, "n3");
	struct change change = { .kind = CHANGE_REBALANCE, .away_count = 1 };
	change.away[0] = id_of(map, "n3");
	assert_int_equal(apply(map, &change).status, STATUS_OK);
	assert_int_equal(copies_on(map, "n3"), 0);
	settle(map);
	assert_int_equal(set_node(map, "n5", NODE_DRAINING).status, STATUS_OK);
	settle(map);
	rebalance(map);
	assert_int_equal(copies_on(map, "n5"), 0);
	free(map);
}

static void test_cancelled_it_goes_back(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	struct policy policy = policy_of("one", "eu/de", 1, SPREAD_NODE);
	assert_int_equal(apply_rules(map, &policy, 1, NULL, 0).status, STATUS_OK);
	empty(map, "n4");
	uint64_t id = rebalance(map).id;
	assert_int_equal(copies_on(map, "n4"), 4);
	for (uint32_t i = 0; i < map->shard_count; i++)
		if (map->shards[i].operation == id) {
			settle_shard(map, &map->shards[i]); /* one has come */
			break;
		}
	struct change cancel = { .kind = CHANGE_CANCEL, .operation = id, .now_us = 9500 };
	assert_int_equal(apply(map, &cancel).status, STATUS_OK);
	assert_int_equal(copies_on(map, "n4"), 1);
	assert_int_equal(map_operation_find(map, id)->state, OPERATION_RUNNING);
	assert_non_null(strstr(map_operation_find(map, id)->text, "cancelled: 3 "));
	const struct map_operation *anew = map_operation_find(map, rebalance(map).id);
	assert_int_not_equal(anew->id, id); /* of those that did not move: what goes back is left alone */
	assert_int_equal(anew->steps, 3);
	settle(map);
	assert_int_equal(anew->state, OPERATION_DONE);
	assert_int_equal(map_operation_find(map, id)->state, OPERATION_FAILED);
	assert_true(map_operation_find(map, id)->cancelled);
	free(map);
}

/* The policy that changes meanwhile has its way, and who leaves a place for it is part of the levelling still. */
static void test_a_policy_changes_meanwhile(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	struct policy policy = policy_of("one", "eu/de", 1, SPREAD_NODE);
	assert_int_equal(apply_rules(map, &policy, 1, NULL, 0).status, STATUS_OK);
	empty(map, "n4");
	uint64_t id = rebalance(map).id;
	struct policy elsewhere = policy_of("one", "us", 1, SPREAD_NODE);
	uint64_t changed = apply_rules(map, &elsewhere, 1, NULL, 0).id;
	assert_int_equal(map_operation_find(map, changed)->kind, OPERATION_POLICY);
	settle(map);
	assert_int_equal(map_operation_find(map, id)->state, OPERATION_DONE);
	assert_int_equal(copies_on(map, "n3") + copies_on(map, "n4"), 0);
	assert_int_equal(rebalance(map).id, 0);
	free(map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_node_had_back_gets_its_share),
		cmocka_unit_test(test_as_few_as_needed_move),
		cmocka_unit_test(test_again_it_does_nothing),
		cmocka_unit_test(test_rules_bound_it),
		cmocka_unit_test(test_who_leads_stays_where_it_should),
		cmocka_unit_test(test_zones_are_kept_apart),
		cmocka_unit_test(test_witnesses_by_themselves),
		cmocka_unit_test(test_a_witness_stays_apart),
		cmocka_unit_test(test_what_moves_is_left_alone),
		cmocka_unit_test(test_nothing_comes_to_who_is_away),
		cmocka_unit_test(test_cancelled_it_goes_back),
		cmocka_unit_test(test_a_policy_changes_meanwhile),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
