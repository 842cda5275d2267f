/* tests/unit/replication/test_meta_cancel.c: operations that end before they are done, or elsewhere: moves to nodes
 * that are lost meanwhile, policies that change again, and what an administrator cancels. */
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

static struct meta_result set_region(struct cluster_map *map, const char *region, uint8_t state)
{
	struct change change = { .kind = CHANGE_REGION_STATE, .state = state, .now_us = 9000 };
	strcpy(change.name, region);
	return apply(map, &change);
}

static struct meta_result cancel(struct cluster_map *map, uint64_t operation)
{
	struct change change = { .kind = CHANGE_CANCEL, .operation = operation, .now_us = 9500 };
	return apply(map, &change);
}

static struct meta_result place(
	struct cluster_map *map, const struct map_shard *shard, const char *a, const char *b, const char *c)
{
	struct change change = { .kind = CHANGE_SHARD_PLACE, .shard = shard->id, .replica_count = 3 };
	change.replicas[0].node = id_of(map, a);
	change.replicas[1].node = id_of(map, b);
	change.replicas[2].node = id_of(map, c);
	return apply(map, &change);
}

static bool on(const struct map_replica replicas[], unsigned count, uint64_t node)
{
	return map_replica_on(replicas, count, node) != NULL;
}

static bool is_wanted(const struct map_shard *shard, uint64_t node)
{
	return on(shard->wanted, shard->wanted_count, node);
}

static bool is_named(const struct map_shard *shard, uint64_t node)
{
	return on(shard->replicas, shard->replica_count, node);
}

static const struct map_operation *operation_of(const struct cluster_map *map, uint64_t id)
{
	const struct map_operation *operation = map_operation_find(map, id);
	assert_non_null(operation);
	return operation;
}

/* A shard of `default` that is on n1, n3, n5 and has reported so. */
static const struct map_shard *placed(struct cluster_map *map)
{
	const struct map_shard *shard = shard_of(map, "default", 0);
	if (place(map, shard, "n1", "n3", "n5").id != 0)
		settle_shard(map, shard);
	assert_true(is_named(shard, id_of(map, "n1")) && is_named(shard, id_of(map, "n3")));
	assert_int_equal(shard->operation, 0);
	return shard;
}

/* --- elsewhere on the way ---------------------------------------------------------------------------------- */

/* Who was to come may vote by now: it is named until a report is without it, and none of before counts. */
static void test_a_move_turns_from_a_lost_node(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	const struct map_shard *shard = placed(map);
	uint64_t n7 = id_of(map, "n7"), n5 = id_of(map, "n5");
	uint64_t id = place(map, shard, "n1", "n3", "n7").id, generation = shard->generation, since = map->epoch;
	assert_int_equal(shard->wanted_epoch, since);
	struct change early = report_of(shard, 30); /* n7 votes, and the report is late */
	struct map_replica lost = *map_replica_on(shard->wanted, shard->wanted_count, n7);

	struct meta_result result = set_node(map, "n7", NODE_DRAINING);
	assert_int_equal(result.status, STATUS_OK);
	assert_false(is_wanted(shard, n7));
	assert_int_equal(shard->operation, id); /* the same operation goes on */
	assert_int_equal(operation_of(map, id)->state, OPERATION_RUNNING);
	assert_true(shard->wanted_epoch > since);
	assert_int_equal(shard->generation, generation + 1);
	assert_true(is_named(shard, n7));
	assert_int_equal(shard->member_count, 3);
	assert_int_equal(shard->replicas[3].replica, lost.replica);
	assert_int_equal(shard->replicas[3].role, ROLE_LEARNER);
	assert_non_null(map_shard_on(map, n7));
	struct change remove = { .kind = CHANGE_NODE_REMOVE, .target_node = n7 };
	assert_refused(apply(map, &remove), STATUS_CONFLICT, "still has a replica");

	assert_refused(apply(map, &early), STATUS_CONFLICT, "stale");
	early.generation = shard->generation + 1; /* made anew, it is what is */
	assert_int_equal(apply(map, &early).status, STATUS_OK);
	assert_int_equal(shard->operation, id);
	assert_int_equal(shard->member_count, 3);
	assert_true(is_named(shard, n7));
	assert_false(is_named(shard, n5));

	settle_shard(map, shard);
	assert_false(is_named(shard, n7));
	assert_int_equal(shard->operation, 0);
	assert_int_equal(operation_of(map, id)->state, OPERATION_DONE);
	settle(map);
	assert_null(map_shard_on(map, n7));
	free(map);
}

/* Back where it was wanted before: as the same replica, for it may have a vote and a log to remember. */
static void test_who_is_wanted_again_is_who_it_was(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	const struct map_shard *shard = placed(map);
	uint64_t n7 = id_of(map, "n7"), n5 = id_of(map, "n5");
	uint64_t replica = map_replica_on(shard->replicas, shard->replica_count, n5)->replica;
	uint64_t id = place(map, shard, "n1", "n3", "n7").id;
	assert_int_equal(cancel(map, id).status, STATUS_OK);
	assert_true(is_wanted(shard, n5));
	assert_int_equal(map_replica_on(shard->wanted, shard->wanted_count, n5)->replica, replica);
	/* A membership that never changed is reported as one made since. */
	struct change report = report_of(shard, shard->membership_index + 1);
	assert_int_equal(apply(map, &report).status, STATUS_OK);
	assert_false(is_named(shard, n7));
	free(map);
}

/* Those that a group is born with stay what they are, whatever is wanted before its first report. */
static void test_a_shard_that_turns_is_born_as_ever(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	const struct map_shard *shard = shard_of(map, "default", 1);
	struct membership early, late;
	assert_int_equal(shard->membership_index, 0);
	assert_true(placement_birth(map, shard, &early));
	const char *const nodes[] = { "n1", "n3", "n5", "n7" };
	const char *to[3];
	unsigned count = 0, out = 0;
	for (unsigned i = 0; i < 4; i++)
		out = is_wanted(shard, id_of(map, nodes[i])) ? i : out;
	for (unsigned i = 0; i < 4; i++)
		if (i != out && count < 3)
			to[count++] = nodes[i];
	assert_int_equal(place(map, shard, to[0], to[1], to[2]).status, STATUS_OK);
	assert_int_equal(shard->generation, 0);
	for (unsigned i = 0; i < 3; i++)
		if (!is_named(shard, id_of(map, to[i]))) {
			assert_int_equal(set_node(map, to[i], NODE_DRAINING).status, STATUS_OK);
			break;
		}
	assert_true(shard->replica_count > shard->member_count);
	assert_true(placement_birth(map, shard, &late));
	assert_int_equal(early.count, late.count);
	for (unsigned i = 0; i < early.count; i++)
		assert_memory_equal(&early.at[i], &late.at[i], sizeof(early.at[i]));
	free(map);
}

/* A region that is declared lost while shards are on the way there. */
static void test_a_move_turns_from_a_lost_region(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	const struct map_shard *shard = placed(map);
	uint64_t n7 = id_of(map, "n7"), id = place(map, shard, "n1", "n3", "n7").id;
	struct change voting = { .kind = CHANGE_META_REPORT, .replica_count = 3 };
	const char *const voters[] = { "n1", "n3", "n5" };
	for (unsigned i = 0; i < 3; i++)
		voting.replicas[i] = (struct map_replica){ .node = id_of(map, voters[i]),
			.replica = map_node_by_place(map, voters[i])->meta_replica,
			.role = ROLE_VOTER };
	assert_int_equal(apply(map, &voting).status, STATUS_OK);
	assert_int_equal(set_region(map, "us-east-1", REGION_FENCED).status, STATUS_OK);
	assert_false(is_wanted(shard, n7));
	assert_true(is_named(shard, n7));
	assert_int_equal(shard->operation, id);
	settle(map);
	assert_int_equal(operation_of(map, id)->state, OPERATION_DONE);
	free(map);
}

/* Who does not answer is not where a drained replica goes, if there is anybody else. */
static void test_a_drain_avoids_who_is_away(void **state)
{
	(void)state;
	for (unsigned others = 0; others < 2; others++) {
		struct cluster_map *map = cluster();
		struct policy policy = policy_of("default", "*", 3, SPREAD_NODE);
		assert_int_equal(apply_rules(map, &policy, 1, NULL, 0).status, STATUS_OK);
		const char *const away[] = { "n4", "n6", "n7", "n8", "n1", "n2", "n5" };
		unsigned before[7] = { 0 }, after[7] = { 0 };
		struct change drain = {
			.kind = CHANGE_NODE_STATE, .target_node = id_of(map, "n3"), .state = NODE_DRAINING
		};
		for (unsigned i = 0; i < (others ? 7 : 3); i++)
			drain.away[drain.away_count++] = id_of(map, away[i]);
		for (uint32_t i = 0; i < map->shard_count; i++)
			for (unsigned j = 0; j < 7; j++)
				before[j] += is_wanted(&map->shards[i], id_of(map, away[j]));
		assert_int_equal(apply(map, &drain).status, STATUS_OK);
		unsigned came = 0;
		for (uint32_t i = 0; i < map->shard_count; i++)
			for (unsigned j = 0; j < 7; j++)
				after[j] += is_wanted(&map->shards[i], id_of(map, away[j]));
		for (unsigned j = 0; j < 7; j++) {
			assert_true(after[j] >= before[j]); /* what is there stays */
			came += after[j] - before[j];
			if (!others && j < 3)
				assert_int_equal(after[j], before[j]);
		}
		assert_true(came > 0); /* if all are away, it goes all the same */
		for (uint32_t i = 0; i < map->node_count; i++)
			assert_false(map->nodes[i].away);
		free(map);
	}
}

/* The last word on a policy counts: what moved by an earlier one moves on by this. */
static void test_a_policy_changes_while_its_shards_move(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	struct policy wide = policy_of("p", "*", 3, SPREAD_ZONE), narrow = policy_of("p", "eu", 3, SPREAD_ZONE);
	assert_int_equal(apply_rules(map, &wide, 1, NULL, 0).status, STATUS_OK);
	uint64_t wide_epoch = map->epoch, first = apply_rules(map, &narrow, 1, NULL, 0).id;
	uint32_t steps = operation_of(map, first)->steps;
	assert_true(steps > 1);
	struct meta_result refused = cancel(map, first);
	assert_refused(refused, STATUS_CONFLICT, "is in force");
	char cure[64];
	snprintf(cure, sizeof(cure), "domctl policy rollback p --to %u", (unsigned)wide_epoch);
	assert_non_null(strstr(refused.flaw.cure, cure));
	uint64_t second = apply_rules(map, &wide, 1, NULL, 0).id;
	assert_true(second > first);
	assert_int_equal(operation_of(map, first)->state, OPERATION_FAILED);
	assert_non_null(strstr(operation_of(map, first)->text, "overtaken"));
	assert_int_equal(operation_of(map, second)->state, OPERATION_RUNNING);
	assert_int_equal(operation_of(map, second)->steps, steps);
	for (uint32_t i = 0; i < map->shard_count; i++)
		for (unsigned j = 0; j < 3; j++) /* back where they were: nobody moves without need */
			if (map->shards[i].operation != 0)
				assert_true(is_wanted(&map->shards[i], map->shards[i].replicas[j].node));
	settle(map);
	assert_int_equal(operation_of(map, second)->state, OPERATION_DONE);
	free(map);
}

/* What is drained stays drained by a policy that changes meanwhile. */
static void test_a_drain_goes_on_by_another_policy(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	struct policy policy = policy_of("p", "*", 3, SPREAD_ZONE);
	assert_int_equal(apply_rules(map, &policy, 1, NULL, 0).status, STATUS_OK);
	uint64_t id = set_node(map, "n3", NODE_DRAINING).id;
	policy = policy_of("p", "*", 4, SPREAD_ZONE);
	assert_int_equal(apply_rules(map, &policy, 1, NULL, 0).status, STATUS_OK);
	assert_int_equal(operation_of(map, id)->state, OPERATION_RUNNING);
	settle(map);
	assert_int_equal(operation_of(map, id)->state, OPERATION_DONE);
	assert_null(map_shard_on(map, id_of(map, "n3")));
	free(map);
}

/* --- cancelled ------------------------------------------------------------------------------------------------ */

static void test_a_placement_is_cancelled(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	const struct map_shard *shard = placed(map);
	uint64_t n7 = id_of(map, "n7"), id = place(map, shard, "n1", "n3", "n7").id;
	struct meta_result result = cancel(map, id);
	assert_int_equal(result.status, STATUS_OK);
	assert_int_equal(result.id, id);
	assert_false(is_wanted(shard, n7));
	assert_true(is_wanted(shard, id_of(map, "n5")));
	assert_true(is_named(shard, n7));
	/* Not over before the shard's leader says that it is so; asked again, nothing changes. */
	assert_int_equal(operation_of(map, id)->state, OPERATION_RUNNING);
	assert_true(operation_of(map, id)->cancelled);
	uint64_t epoch = map->epoch;
	assert_int_equal(cancel(map, id).epoch, epoch);
	settle_shard(map, shard);
	assert_int_equal(operation_of(map, id)->state, OPERATION_FAILED);
	assert_non_null(strstr(operation_of(map, id)->text, "cancelled"));
	assert_int_equal(operation_of(map, id)->ended_us, 8000);
	assert_int_equal(shard->operation, 0);
	epoch = map->epoch;
	assert_int_equal(cancel(map, id).epoch, epoch);
	free(map);
}

static void test_what_has_ended_or_never_was_is_not_cancelled(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	const struct map_shard *shard = placed(map);
	uint64_t id = place(map, shard, "n1", "n3", "n7").id;
	settle_shard(map, shard);
	assert_refused(cancel(map, id), STATUS_CONFLICT, "is done already");
	assert_refused(cancel(map, map->id_next), STATUS_NOT_FOUND, "no operation");
	assert_refused(cancel(map, shard->id), STATUS_NOT_FOUND, "no operation");
	free(map);
}

/* Where it was it may not be any more. */
static void test_a_placement_may_have_no_way_back(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	const struct map_shard *shard = placed(map);
	uint64_t id = place(map, shard, "n1", "n3", "n7").id;
	assert_int_equal(set_node(map, "n5", NODE_DRAINING).status, STATUS_OK);
	assert_refused(cancel(map, id), STATUS_CONFLICT, "may not be where it was");
	assert_false(operation_of(map, id)->cancelled);
	assert_int_equal(set_node(map, "n5", NODE_ACTIVE).status, STATUS_OK);
	assert_int_equal(cancel(map, id).status, STATUS_OK);
	free(map);
}

static void test_a_drain_is_cancelled(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	uint64_t n3 = id_of(map, "n3"), id = set_node(map, "n3", NODE_DRAINING).id, first = 0;
	uint32_t steps = operation_of(map, id)->steps;
	assert_true(steps > 2);
	for (uint32_t i = 0; i < map->shard_count && first == 0; i++)
		if (map->shards[i].operation == id) {
			settle_shard(map, &map->shards[i]); /* it has left */
			first = map->shards[i].id;
		}
	assert_int_equal(cancel(map, id).status, STATUS_OK);
	assert_int_equal(map_node_find(map, n3)->state, NODE_ACTIVE);
	assert_true(map_node_by_place(map, "n3")->meta_voter || map_node_by_place(map, "n4")->meta_voter);
	unsigned wanted = 0;
	for (uint32_t i = 0; i < map->shard_count; i++) {
		const struct map_shard *shard = &map->shards[i];
		wanted += is_wanted(shard, n3);
		if (shard->id == first)
			assert_false(is_wanted(shard, n3));
		if (shard->operation == id)
			assert_true(is_wanted(shard, n3));
	}
	assert_int_equal(wanted, steps - 1);
	settle(map);
	assert_int_equal(operation_of(map, id)->state, OPERATION_FAILED);
	assert_true(operation_of(map, id)->cancelled);
	free(map);
}

/* Of a region: it is had back as a whole, but not what is drained in it by itself. */
static void test_a_drained_region_is_cancelled(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	struct policy policy = policy_of("default", "*", 3, SPREAD_REGION);
	assert_int_equal(apply_rules(map, &policy, 1, NULL, 0).status, STATUS_OK);
	assert_int_equal(set_node(map, "n3", NODE_DRAINING).status, STATUS_OK);
	settle(map);
	uint64_t id = set_region(map, "eu-central-1", REGION_DRAINING).id;
	assert_int_equal(cancel(map, id).status, STATUS_OK);
	assert_int_equal(map_region_find(map, "eu-central-1")->state, REGION_ACTIVE);
	assert_int_equal(map_node_by_place(map, "n3")->state, NODE_DRAINING);
	settle(map);
	assert_true(operation_of(map, id)->state == OPERATION_FAILED);
	free(map);
}

/* What is declared lost is not had back by the way. */
static void test_a_fence_is_not_cancelled(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	struct policy policy = policy_of("default", "*", 3, SPREAD_REGION);
	assert_int_equal(apply_rules(map, &policy, 1, NULL, 0).status, STATUS_OK);
	uint64_t id = set_region(map, "us-east-1", REGION_FENCED).id;
	assert_int_not_equal(id, 0);
	struct meta_result result = cancel(map, id);
	assert_refused(result, STATUS_CONFLICT, "declared lost");
	assert_non_null(strstr(result.flaw.cure, "region readmit us-east-1"));
	assert_int_equal(set_region(map, "us-east-1", REGION_ACTIVE).status, STATUS_OK);
	assert_int_equal(cancel(map, id).status, STATUS_OK);
	settle(map);
	assert_int_equal(operation_of(map, id)->state, OPERATION_FAILED);
	free(map);
}

/* What may not go back goes on. */
static void test_what_may_not_go_back_goes_on(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	struct policy policy = policy_of("default", "*", 3, SPREAD_NODE);
	assert_int_equal(apply_rules(map, &policy, 1, NULL, 0).status, STATUS_OK);
	uint64_t id = set_node(map, "n3", NODE_DRAINING).id;
	assert_int_equal(set_node(map, "n5", NODE_DRAINING).status, STATUS_OK);
	assert_int_equal(cancel(map, id).status, STATUS_OK);
	unsigned back = 0, on_with_it = 0;
	for (uint32_t i = 0; i < map->shard_count; i++) {
		const struct map_shard *shard = &map->shards[i];
		if (shard->operation != id)
			continue;
		bool was_on_n5 = is_named(shard, id_of(map, "n5")) && shard->replicas[0].replica != 0;
		assert_false(is_wanted(shard, id_of(map, "n5")));
		back += is_wanted(shard, id_of(map, "n3"));
		on_with_it += !is_wanted(shard, id_of(map, "n3"));
		if (!is_wanted(shard, id_of(map, "n3")))
			assert_true(was_on_n5);
	}
	assert_true(back > 0);
	assert_int_equal(back + on_with_it, operation_of(map, id)->steps);
	settle(map);
	assert_int_equal(operation_of(map, id)->state, OPERATION_FAILED);
	free(map);
}

/* --- bindings ------------------------------------------------------------------------------------------------- */

static uint64_t bind(struct cluster_map *map, const char *prefix, const char *policy)
{
	struct change_binding binding = binding_of(prefix, policy);
	struct change change = { .kind = CHANGE_BINDING_SET, .bindings = &binding, .binding_count = 1 };
	struct meta_result result = apply(map, &change);
	assert_int_equal(result.status, STATUS_OK);
	assert_int_not_equal(result.id, 0);
	return result.id;
}

/* All shards of the phase report; so many keys each. */
static void finish_phase(struct cluster_map *map, uint64_t id, uint64_t keys)
{
	const struct map_operation *operation = operation_of(map, id);
	uint8_t phase = operation->phase;
	for (unsigned i = 0; operation->state == OPERATION_RUNNING && operation->phase == phase && i < 64; i++) {
		struct change report = { .kind = phase == PHASE_FENCE ? CHANGE_FENCE_REPORT : CHANGE_MOVE_REPORT,
			.operation = id,
			.shard = operation->shards_done[operation->steps_done],
			.phase = phase == PHASE_FENCE ? PHASE_NONE : phase,
			.keys_found = keys,
			.now_us = 8000 };
		assert_int_equal(apply(map, &report).status, STATUS_OK);
	}
}

static const char *home_of(const struct cluster_map *map, const char *key)
{
	return map_policy_find(map, map_binding_of(map, bytes_text(key))->policy)->name;
}

static void test_a_binding_is_cancelled_while_it_is_fenced(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	uint64_t inner = bind(map, "pat/", "eu"), outer = bind(map, "p", "eu");
	finish_phase(map, outer, 1);
	assert_int_equal(operation_of(map, outer)->phase, PHASE_WAIT);
	assert_int_equal(cancel(map, inner).status, STATUS_OK);
	assert_int_equal(operation_of(map, inner)->state, OPERATION_FAILED);
	assert_non_null(strstr(operation_of(map, inner)->text, "cancelled"));
	assert_false(map_operation_fences(operation_of(map, inner)));
	assert_int_equal(operation_of(map, outer)->phase, PHASE_COPY); /* it waited for that one */
	assert_int_equal(cancel(map, outer).status, STATUS_OK);
	assert_null(map_binding_pending_of(map, bytes_text("pat/x")));
	assert_string_equal(home_of(map, "pat/x"), "default");
	free(map);
}

static void test_a_binding_is_cancelled_while_keys_are_copied(void **state)
{
	(void)state;
	for (unsigned closes = 0; closes < 2; closes++) {
		struct cluster_map *map = ruled();
		uint64_t id = bind(map, "pat/", "eu");
		finish_phase(map, id, 3);
		assert_int_equal(operation_of(map, id)->phase, PHASE_COPY);
		if (closes)
			finish_phase(map, id, 0);
		assert_int_equal(cancel(map, id).status, STATUS_OK);
		/* All is as before at once, and it is over when what was copied is removed. */
		assert_string_equal(home_of(map, "pat/x"), "default");
		assert_null(map_binding_pending_of(map, bytes_text("pat/x")));
		assert_int_equal(operation_of(map, id)->phase, PHASE_ABORT);
		assert_int_equal(operation_of(map, id)->state, OPERATION_RUNNING);
		finish_phase(map, id, 0);
		assert_int_equal(operation_of(map, id)->state, OPERATION_FAILED);
		assert_true(operation_of(map, id)->cancelled);
		free(map);
	}
}

static void test_a_binding_that_no_key_follows_is_cancelled(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	uint64_t id = bind(map, "pat/", "eu");
	finish_phase(map, id, 0);
	assert_int_equal(operation_of(map, id)->phase, PHASE_SEAL);
	assert_int_equal(cancel(map, id).status, STATUS_OK);
	assert_int_equal(operation_of(map, id)->state, OPERATION_FAILED);
	assert_string_equal(home_of(map, "pat/x"), "default");
	free(map);
}

static void test_a_binding_goes_only_forward_from_the_switch_on(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	uint64_t id = bind(map, "pat/", "eu");
	finish_phase(map, id, 3);
	finish_phase(map, id, 0);
	finish_phase(map, id, 0);
	assert_int_equal(operation_of(map, id)->phase, PHASE_PURGE);
	assert_refused(cancel(map, id), STATUS_CONFLICT, "only goes forward");
	assert_string_equal(home_of(map, "pat/x"), "eu");
	finish_phase(map, id, 0);
	assert_int_equal(operation_of(map, id)->state, OPERATION_DONE);
	free(map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_move_turns_from_a_lost_node),
		cmocka_unit_test(test_who_is_wanted_again_is_who_it_was),
		cmocka_unit_test(test_a_shard_that_turns_is_born_as_ever),
		cmocka_unit_test(test_a_move_turns_from_a_lost_region),
		cmocka_unit_test(test_a_drain_avoids_who_is_away),
		cmocka_unit_test(test_a_policy_changes_while_its_shards_move),
		cmocka_unit_test(test_a_drain_goes_on_by_another_policy),
		cmocka_unit_test(test_a_placement_is_cancelled),
		cmocka_unit_test(test_what_has_ended_or_never_was_is_not_cancelled),
		cmocka_unit_test(test_a_placement_may_have_no_way_back),
		cmocka_unit_test(test_a_drain_is_cancelled),
		cmocka_unit_test(test_a_drained_region_is_cancelled),
		cmocka_unit_test(test_a_fence_is_not_cancelled),
		cmocka_unit_test(test_what_may_not_go_back_goes_on),
		cmocka_unit_test(test_a_binding_is_cancelled_while_it_is_fenced),
		cmocka_unit_test(test_a_binding_is_cancelled_while_keys_are_copied),
		cmocka_unit_test(test_a_binding_that_no_key_follows_is_cancelled),
		cmocka_unit_test(test_a_binding_goes_only_forward_from_the_switch_on),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
