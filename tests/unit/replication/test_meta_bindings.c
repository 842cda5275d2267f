/* tests/unit/replication/test_meta_bindings.c: what a changed binding does to the map, from its fence to its end, with
 * keys and without, and what it is refused for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/replication/meta_binding.h"

static void test_binding_where_nothing_is_bound(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	struct policy policy = policy_of("p", "eu", 3, SPREAD_REGION);
	apply_rules(map, &policy, 1, NULL, 0);
	struct meta_result result = set_binding(map, binding_of("a/", "p"));
	assert_int_equal(result.status, STATUS_OK);
	assert_int_equal(result.id, 0);
	assert_int_equal(binding_at(map, "a/")->pending_operation, 0);
	assert_refused(set_binding(map, binding_of("b/", "q")), STATUS_NOT_FOUND, "q");
	/* Inside one of the same policy no key moves. */
	assert_int_equal(set_binding(map, binding_of("a/b/", "p")).id, 0);
	assert_int_equal(binding_at(map, "a/b/")->pending_operation, 0);
	assert_int_equal(unset_binding(map, "a/b/").id, 0);
	assert_null(binding_at(map, "a/b/"));
	assert_refused(unset_binding(map, "a/b/"), STATUS_NOT_FOUND, "a/b/");
	free(map);
}

static void test_binding_waits_for_the_fence(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	struct meta_result result = set_binding(map, binding_of("pat/", "eu"));
	assert_int_equal(result.status, STATUS_OK);
	const struct map_operation *operation = map_operation_find(map, result.id);
	assert_non_null(operation);
	assert_int_equal(operation->steps, 8);
	assert_int_equal(operation->policy, map_policy_by_name(map, "default")->id);
	assert_int_equal(binding_at(map, "pat/")->pending_operation, result.id);
	/* Until then its keys are where they were. */
	assert_string_equal(map_policy_find(map, map_binding_of(map, bytes_text("pat/x"))->policy)->name, "default");
	assert_non_null(map_binding_pending_of(map, bytes_text("pat/x")));
	bool exact = true;
	uint64_t hash[2];
	struct bytes prefix;
	assert_true(map_operation_fence(operation, operation->policy, &exact, hash, &prefix));
	assert_false(exact);
	assert_true(bytes_equal(prefix, bytes_text("pat/")));
	assert_false(map_operation_fence(operation, map_policy_by_name(map, "eu")->id, &exact, hash, &prefix));
	/* The same again is under way; another policy has to wait. */
	assert_int_equal(set_binding(map, binding_of("pat/", "eu")).id, result.id);
	assert_refused(set_binding(map, binding_of("pat/", "default")), STATUS_CONFLICT, "not decided");
	assert_refused(set_binding(map, binding_of("pat/x/", "default")), STATUS_CONFLICT, "not decided");
	assert_refused(unset_binding(map, "pat/"), STATUS_CONFLICT, "not decided");
	/* A repeated report counts once. */
	uint64_t shard = operation->shards_done[3], other = shard_of(map, "eu", 0)->id;
	assert_int_equal(report_fence(map, result.id, shard, 0).status, STATUS_OK);
	uint64_t epoch = map->epoch;
	assert_int_equal(report_fence(map, result.id, shard, 0).epoch, epoch);
	assert_int_equal(operation->steps_done, 1);
	assert_refused(report_fence(map, result.id, other, 0), STATUS_INVALID, "no such step");
	assert_refused(report_fence(map, 1000000, shard, 0), STATUS_NOT_FOUND, "no operation");
	finish_phase(map, result.id, PHASE_FENCE);
	/* Nothing moves; but what is written there from now on must have higher versions than what was here had. */
	assert_int_equal(operation->phase, PHASE_SEAL);
	assert_int_equal(operation->state, OPERATION_RUNNING);
	assert_non_null(map_binding_pending_of(map, bytes_text("pat/x")));
	assert_true(map_operation_awaits(operation, other));
	uint64_t switches = map_switches(map);
	finish_phase(map, result.id, PHASE_SEAL);
	assert_true(map_switches(map) != switches); /* there may be rows there of a copy that was given up */
	assert_int_equal(operation->state, OPERATION_DONE);
	assert_int_equal(operation->ended_us, 8000);
	assert_int_equal(binding_at(map, "pat/")->pending_operation, 0);
	assert_string_equal(map_policy_find(map, map_binding_of(map, bytes_text("pat/x"))->policy)->name, "eu");
	epoch = map->epoch;
	assert_int_equal(report_fence(map, result.id, shard, 5).epoch, epoch); /* over */
	assert_int_equal(operation->state, OPERATION_DONE);
	free(map);
}

static uint64_t begin_copy(struct cluster_map *map, uint64_t id)
{
	uint64_t shard = map_operation_find(map, id)->shards_done[5];
	assert_int_equal(report_fence(map, id, shard, 42).status, STATUS_OK);
	assert_int_equal(map_operation_find(map, id)->phase, PHASE_FENCE);
	finish_fence(map, id);
	return id;
}

static const char *home_of(const struct cluster_map *map, const char *key)
{
	return map_policy_find(map, map_binding_of(map, bytes_text(key))->policy)->name;
}

static void test_keys_go_along_with_the_binding(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	uint64_t id = begin_copy(map, set_binding(map, binding_of("pat/", "eu")).id), target;
	const struct map_operation *operation = map_operation_find(map, id);
	const uint64_t usual = map_policy_by_name(map, "default")->id, eu = map_policy_by_name(map, "eu")->id;
	bool exact;
	uint64_t hash[2];
	struct bytes prefix;
	assert_int_equal(operation->phase, PHASE_COPY);
	assert_int_equal(operation->keys, 42);
	assert_int_equal(operation->phase_epoch, map->epoch);
	assert_true(map_operation_fences(operation));
	assert_false(map_operation_fence(operation, usual, &exact, hash, &prefix)); /* they are there */
	assert_int_equal(map_operation_moves(map, operation, usual, bytes_text("pat/x"), &target), MOVE_GOES);
	assert_int_equal(target, eu);
	assert_int_equal(map_operation_moves(map, operation, usual, bytes_text("par/x"), &target), MOVE_STAYS);
	assert_int_equal(map_operation_moves(map, operation, eu, bytes_text("pat/x"), &target), MOVE_STAYS);
	/* Nothing that could cover one of the keys changes meanwhile, whatever else does. */
	assert_refused(set_binding(map, binding_of("pat/x/", "eu")), STATUS_CONFLICT, "not decided");
	assert_refused(set_binding(map, binding_of("p", "eu")), STATUS_CONFLICT, "moves keys");
	assert_refused(set_binding(map, exact_of(5, "eu")), STATUS_CONFLICT, "moves keys");
	assert_int_equal(set_binding(map, binding_of("q", "eu")).status, STATUS_OK);
	/* Only steps of the phase count, once, of the shards asked. */
	uint64_t shard = operation->shards_done[2], epoch = map->epoch;
	assert_int_equal(report_move(map, id, PHASE_CLOSE, shard, 0).epoch, epoch);
	assert_int_equal(report_fence(map, id, shard, 0).epoch, epoch);
	assert_refused(report_move(map, id, PHASE_COPY, shard_of(map, "eu", 0)->id, 0), STATUS_INVALID, "no such step");
	assert_refused(report_move(map, id, PHASE_FENCE, shard, 0), STATUS_INVALID, "no step");
	finish_phase(map, id, PHASE_COPY);
	assert_string_equal(home_of(map, "pat/x"), "default");
	assert_true(map_operation_awaits(operation, shard_of(map, "eu", 0)->id));
	assert_false(map_operation_awaits(operation, shard));
	uint64_t switches = map_switches(map);
	finish_phase(map, id, PHASE_CLOSE);
	/* The switch. */
	assert_string_equal(home_of(map, "pat/x"), "eu");
	assert_int_equal(binding_at(map, "pat/")->pending_operation, 0);
	assert_true(map_switches(map) != switches);
	assert_true(map_moves_under(map, map->shards, bytes_text("pa")));
	assert_true(map_moves_under(map, map->shards, bytes_text("pat/x/")));
	assert_false(map_moves_under(map, map->shards, bytes_text("pb")));
	assert_true(map_fence_moved(map, id, usual, false, (uint64_t[2]){ 0 }, bytes_text("pat/")));
	assert_refused(unset_binding(map, "pat/"), STATUS_CONFLICT, "moves keys");
	finish_phase(map, id, PHASE_PURGE);
	assert_int_equal(operation->state, OPERATION_DONE);
	assert_int_equal(operation->ended_us, 8000);
	assert_non_null(strstr(operation->text, "42 keys were moved"));
	assert_true(
		map_moves_under(map, map->shards, bytes_text("pat/"))); /* a copy that lags may have the rows still */
	/* Back again, whence they came. */
	id = begin_copy(map, unset_binding(map, "pat/").id);
	operation = map_operation_find(map, id);
	assert_int_equal(map_operation_moves(map, operation, eu, bytes_text("pat/x"), &target), MOVE_GOES);
	assert_int_equal(target, usual);
	finish_phase(map, id, PHASE_COPY);
	finish_phase(map, id, PHASE_CLOSE);
	finish_phase(map, id, PHASE_PURGE);
	assert_string_equal(home_of(map, "pat/x"), "default");
	free(map);
}

static void test_keys_that_cannot_go_keep_the_binding(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	/* A key that cannot go is found while they are copied: what was copied is removed, then it has failed. */
	uint64_t id = begin_copy(map, set_binding(map, binding_of("pat/", "eu")).id);
	const struct map_operation *operation = map_operation_find(map, id);
	report_move(map, id, PHASE_COPY, operation->shards_done[0], 0);
	report_move(map, id, PHASE_COPY, operation->shards_done[1], 1);
	assert_int_equal(operation->phase, PHASE_ABORT);
	assert_int_equal(operation->state, OPERATION_RUNNING);
	assert_false(map_operation_fences(operation));
	assert_null(binding_at(map, "pat/"));
	assert_string_equal(home_of(map, "pat/x"), "default");
	assert_true(map_moves_under(map, map->shards, bytes_text("pat/")));
	assert_refused(set_binding(map, binding_of("pat/", "eu")), STATUS_CONFLICT, "moves keys");
	finish_phase(map, id, PHASE_ABORT);
	assert_int_equal(operation->state, OPERATION_FAILED);
	/* Nothing would cover them. */
	struct cluster_map *bare = cluster();
	struct policy eu = policy_of("eu", "eu", 3, SPREAD_ZONE);
	struct change_binding binding = binding_of("pat/", "eu");
	assert_int_equal(apply_rules(bare, &eu, 1, &binding, 1).status, STATUS_OK);
	id = begin_copy(bare, unset_binding(bare, "pat/").id);
	assert_int_equal(map_operation_find(bare, id)->state, OPERATION_FAILED);
	assert_non_null(strstr(map_operation_find(bare, id)->text, "no binding would cover"));
	assert_string_equal(home_of(bare, "pat/x"), "eu");
	free(bare);
	free(map);
}

/* Keys go from leader to leader, whoever that is: so shards may move meanwhile. Rules by which keys are judged on their
 * way may not change. */
static void test_what_may_change_while_keys_move(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	struct policy tighter = policy_of("eu", "eu/ie", 1, SPREAD_ZONE),
		      open = policy_of("default", "*", 3, SPREAD_ZONE), new = policy_of("new", "eu", 3, SPREAD_REGION);
	uint64_t id = begin_copy(map, set_binding(map, binding_of("pat/", "eu")).id);
	const struct map_operation *operation = map_operation_find(map, id);
	struct change drain = { .kind = CHANGE_NODE_STATE, .state = NODE_DRAINING, .now_us = 9000 };
	drain.target_node = shard_of(map, "eu", 0)->wanted[0].node;
	uint64_t drained = apply(map, &drain).id;
	assert_true(drained != 0);
	assert_int_equal(map_operation_find(map, drained)->kind, OPERATION_DRAIN);
	assert_refused(
		report_move(map, drained, PHASE_COPY, shard_of(map, "eu", 0)->id, 0), STATUS_INVALID, "no such step");
	assert_refused(apply_rules(map, &tighter, 1, NULL, 0), STATUS_CONFLICT, "");
	assert_refused(apply_rules(map, &open, 1, NULL, 0), STATUS_CONFLICT, "");
	assert_int_equal(apply_rules(map, &new, 1, NULL, 0).status, STATUS_OK);
	for (enum operation_phase phase = PHASE_COPY; phase <= PHASE_PURGE; phase++)
		if (phase != PHASE_SEAL)
			finish_phase(map, id, phase);
	assert_int_equal(operation->state, OPERATION_DONE);
	for (uint32_t i = 0; i < map->shard_count; i++) {
		struct change report = report_of(&map->shards[i], 50);
		if (map->shards[i].operation == drained)
			assert_int_equal(apply(map, &report).status, STATUS_OK);
	}
	assert_int_equal(map_operation_find(map, drained)->state, OPERATION_DONE);
	assert_int_equal(apply_rules(map, &open, 1, NULL, 0).status, STATUS_OK);
	free(map);
}

/* Of bindings inside one another the closest goes first, whoever is fenced first. */
static void test_the_closer_binding_goes_first(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	struct change_binding bindings[] = { binding_of("pat/", "eu"), binding_of("pat/x/", "eu"),
		binding_of("", "default"), binding_of("eu/", "eu") };
	struct policy policies[] = { policy_of("default", "*", 3, SPREAD_REGION),
		policy_of("eu", "eu", 3, SPREAD_REGION) };
	uint64_t target;
	assert_int_equal(apply_rules(map, policies, 2, bindings, 4).status, STATUS_OK);
	uint64_t inner = binding_at(map, "pat/x/")->pending_operation,
		 outer = binding_at(map, "pat/")->pending_operation;
	uint64_t usual = map_policy_by_name(map, "default")->id;
	begin_copy(map, outer);
	const struct map_operation *waiting = map_operation_find(map, outer);
	assert_int_equal(waiting->phase, PHASE_WAIT);
	assert_true(map_operation_fences(waiting));
	assert_non_null(strstr(waiting->text, "when operation"));
	/* No shard has anything to say of that, and nobody else comes in between. */
	assert_refused(report_move(map, outer, PHASE_WAIT, waiting->shards_done[0], 0), STATUS_INVALID, "no step");
	assert_refused(set_binding(map, exact_of(5, "eu")), STATUS_CONFLICT, "moves keys");
	finish_fence(map, inner);
	assert_int_equal(map_operation_find(map, inner)->state, OPERATION_DONE);
	/* What was counted is of before: the other one copies whatever there is. */
	assert_int_equal(waiting->phase, PHASE_COPY);
	assert_int_equal(map_operation_moves(map, waiting, usual, bytes_text("pat/x/1"), &target), MOVE_STAYS);
	assert_int_equal(map_operation_moves(map, waiting, usual, bytes_text("pat/y/1"), &target), MOVE_GOES);
	finish_phase(map, outer, PHASE_COPY);
	finish_phase(map, outer, PHASE_CLOSE);
	finish_phase(map, outer, PHASE_PURGE);
	assert_int_equal(waiting->state, OPERATION_DONE);
	/* An exact key is closer than any prefix. */
	inner = set_binding(map, exact_of(9, "eu")).id;
	outer = set_binding(map, binding_of("q/", "eu")).id;
	finish_phase(map, outer, PHASE_FENCE);
	assert_int_equal(map_operation_find(map, outer)->phase, PHASE_WAIT);
	begin_copy(map, inner);
	finish_phase(map, inner, PHASE_COPY);
	finish_phase(map, inner, PHASE_CLOSE);
	assert_int_equal(map_operation_find(map, outer)->phase, PHASE_WAIT);
	finish_phase(map, inner, PHASE_PURGE);
	assert_int_equal(map_operation_find(map, outer)->phase, PHASE_COPY);
	free(map);
}

/* Keys come behind a fence that was counted before, since the binding that held them goes away. */
static void test_keys_that_came_after_the_count(void **state)
{
	(void)state;
	/* The outer fence is not complete when the inner operation is done: the one that counted first says none. */
	struct cluster_map *map = ruled();
	assert_int_equal(set_binding(map, binding_of("pat/", "default")).id, 0);
	finish_fence(map, set_binding(map, binding_of("pat/in/", "eu")).id);
	uint64_t outer = set_binding(map, binding_of("pat/", "eu")).id, inner = unset_binding(map, "pat/in/").id;
	const struct map_operation *operation = map_operation_find(map, outer);
	for (unsigned i = 0; i + 1 < SHARDS_PER_POLICY; i++)
		report_fence(map, outer, shard_of(map, "default", i)->id, 0);
	struct change highest = {
		.kind = CHANGE_FENCE_REPORT, .operation = inner, .shard = shard_of(map, "eu", 0)->id, .version = 900
	};
	assert_int_equal(apply(map, &highest).status, STATUS_OK);
	begin_copy(map, inner);
	for (enum operation_phase phase = PHASE_COPY; phase <= PHASE_PURGE; phase++)
		if (phase != PHASE_SEAL)
			finish_phase(map, inner, phase);
	assert_int_equal(map_operation_find(map, inner)->state, OPERATION_DONE);
	assert_string_equal(home_of(map, "pat/in/x"), "default");
	report_fence(map, outer, shard_of(map, "default", SHARDS_PER_POLICY - 1)->id, 0);
	assert_int_equal(operation->phase, PHASE_COPY);
	assert_int_equal(operation->version, 900);
	free(map);
	/* It waits, and no binding would cover what came: it goes nowhere. */
	map = cluster();
	struct policy policies[] = { policy_of("a", "eu", 3, SPREAD_REGION), policy_of("b", "eu", 3, SPREAD_REGION) };
	struct change_binding bindings[] = { binding_of("x/", "a"), binding_of("x/y/", "b"), binding_of("x/z/", "b") };
	assert_int_equal(apply_rules(map, policies, 2, bindings, 3).status, STATUS_OK);
	outer = unset_binding(map, "x/").id;
	inner = unset_binding(map, "x/y/").id;
	finish_phase(map, outer, PHASE_FENCE);
	operation = map_operation_find(map, outer);
	assert_int_equal(operation->phase, PHASE_WAIT);
	begin_copy(map, inner);
	for (enum operation_phase phase = PHASE_COPY; phase <= PHASE_PURGE; phase++)
		if (phase != PHASE_SEAL)
			finish_phase(map, inner, phase);
	assert_int_equal(operation->state, OPERATION_FAILED);
	assert_string_equal(home_of(map, "x/y/1"), "a");
	/* What another one inside it brings nothing of does not keep it. */
	outer = unset_binding(map, "x/").id;
	struct change_binding closer = binding_of("x/z/", "a");
	inner = set_binding(map, closer).id;
	finish_phase(map, outer, PHASE_FENCE);
	operation = map_operation_find(map, outer);
	assert_int_equal(operation->phase, PHASE_WAIT);
	finish_phase(map, inner, PHASE_FENCE);
	finish_phase(map, inner, PHASE_SEAL);
	assert_int_equal(operation->state, OPERATION_DONE);
	assert_null(binding_at(map, "x/"));
	free(map);
}

/* No shard's count can undo another's. */
static void test_counts_add_up(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	uint64_t id = set_binding(map, binding_of("pat/", "eu")).id;
	const struct map_operation *operation = map_operation_find(map, id);
	for (unsigned i = 0; i < SHARDS_PER_POLICY; i++)
		report_fence(map, id, shard_of(map, "default", i)->id, i == 0 ? 1 : i == 1 ? UINT64_MAX : 0);
	assert_int_equal(operation->phase, PHASE_COPY);
	free(map);
}

/* The fence's highest version goes to where the keys will be, and a key may fall to more policies than are asked at
 * once. */
static void test_versions_go_along(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	struct policy policies[12];
	struct change_binding bindings[12];
	for (unsigned i = 0; i < 12; i++) {
		char name[] = "a", prefix[] = "a";
		name[0] = prefix[0] = (char)('a' + (int)i);
		policies[i] = policy_of(name, "eu", 3, SPREAD_REGION);
		bindings[i] = binding_of(prefix, name);
	}
	assert_int_equal(apply_rules(map, policies, 3, bindings, 3).status, STATUS_OK);
	struct change_binding exact = exact_of(5, "a");
	uint64_t id = set_binding(map, exact).id;
	const struct map_operation *operation = map_operation_find(map, id);
	for (uint64_t version = 100; operation->phase == PHASE_FENCE; version--) {
		struct change change = { .kind = CHANGE_FENCE_REPORT,
			.operation = id,
			.shard = operation->shards_done[operation->steps_done],
			.version = version };
		assert_int_equal(apply(map, &change).status, STATUS_OK);
	}
	assert_int_equal(operation->phase, PHASE_SEAL);
	assert_int_equal(operation->version, 100);
	assert_int_equal(operation->steps, SHARDS_PER_POLICY);
	/* A version that nobody can take over (far in the future) gives the change up. */
	assert_int_equal(report_move(map, id, PHASE_SEAL, operation->shards_done[3], 1).status, STATUS_OK);
	assert_int_equal(operation->phase, PHASE_ABORT);
	finish_phase(map, id, PHASE_ABORT);
	assert_int_equal(operation->state, OPERATION_FAILED);
	id = set_binding(map, exact).id;
	finish_fence(map, id);
	for (unsigned i = 3; i < 12; i++) /* 256 operations are kept, 12 policies are more than eight */
		assert_int_equal(apply_rules(map, &policies[i], 1, &bindings[i], 1).status, STATUS_OK);
	struct change unset = { .kind = CHANGE_BINDING_UNSET, .bindings = &exact, .binding_count = 1 };
	id = apply(map, &unset).id;
	operation = map_operation_find(map, id);
	finish_phase(map, id, PHASE_FENCE);
	assert_int_equal(operation->target_count, OPERATION_POLICIES_MAX);
	finish_phase(map, id, PHASE_SEAL);
	assert_int_equal(operation->phase, PHASE_SEAL);
	assert_int_equal(operation->target_count, 3); /* twelve without its own */
	assert_non_null(map_binding_by_hash(map, exact.hash));
	finish_phase(map, id, PHASE_SEAL);
	assert_int_equal(operation->state, OPERATION_DONE);
	assert_null(map_binding_by_hash(map, exact.hash));
	free(map);
}

static void test_binding_anew_and_away(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	struct policy policy = policy_of("de", "eu/de", 2, SPREAD_ZONE);
	assert_int_equal(apply_rules(map, &policy, 1, NULL, 0).status, STATUS_OK);
	uint64_t eu = map_policy_by_name(map, "eu")->id, de = map_policy_by_name(map, "de")->id;
	uint64_t id = set_binding(map, binding_of("eu/", "de")).id;
	assert_int_equal(map_operation_find(map, id)->policy, eu);
	/* The old one stays in force for reads. */
	assert_int_equal(map_binding_of(map, bytes_text("eu/x"))->policy, eu);
	assert_non_null(map_binding_pending_of(map, bytes_text("eu/x")));
	begin_copy(map, id);
	assert_int_equal(map_binding_of(map, bytes_text("eu/x"))->policy, eu);
	report_move(map, id, PHASE_COPY, map_operation_find(map, id)->shards_done[0], 1);
	assert_int_equal(binding_at(map, "eu/")->policy, eu);
	assert_int_equal(binding_at(map, "eu/")->pending_operation, 0);
	finish_phase(map, id, PHASE_ABORT);
	id = set_binding(map, binding_of("eu/", "de")).id;
	finish_fence(map, id);
	assert_int_equal(map_binding_of(map, bytes_text("eu/x"))->policy, de);
	/* Away: it fences its own policy. */
	id = unset_binding(map, "eu/").id;
	assert_int_equal(map_operation_find(map, id)->policy, de);
	assert_int_equal(unset_binding(map, "eu/").id, id);
	assert_int_equal(map_binding_of(map, bytes_text("eu/x"))->policy, de);
	begin_copy(map, id);
	finish_phase(map, id, PHASE_COPY);
	assert_non_null(binding_at(map, "eu/"));
	finish_phase(map, id, PHASE_CLOSE);
	assert_null(binding_at(map, "eu/"));
	finish_phase(map, id, PHASE_PURGE);
	free(map);
}

static void test_exact_keys(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	struct policy policies[] = { policy_of("de", "eu/de", 2, SPREAD_ZONE), policy_of("us", "us", 2, SPREAD_ZONE) };
	assert_int_equal(apply_rules(map, policies, 2, NULL, 0).status, STATUS_OK);
	/* It may live under any prefix: all are asked. */
	uint64_t id = set_binding(map, exact_of(5, "de")).id;
	const struct map_operation *operation = map_operation_find(map, id);
	assert_int_equal(operation->steps, 16);
	bool exact;
	uint64_t hash[2];
	struct bytes prefix;
	assert_true(map_operation_fence(operation, map_policy_by_name(map, "eu")->id, &exact, hash, &prefix));
	assert_true(exact);
	assert_int_equal(hash[0], 5);
	assert_true(map_operation_fence(operation, map_policy_by_name(map, "default")->id, &exact, hash, &prefix));
	assert_false(map_operation_fence(operation, map_policy_by_name(map, "us")->id, &exact, hash, &prefix));
	finish_fence(map, id);
	assert_int_equal(map_binding_by_hash(map, (struct hash128){ 5, ~5ULL })->pending_operation, 0);
	/* A second one stays sorted before all prefixes; failing, it goes. */
	id = set_binding(map, exact_of(3, "de")).id;
	assert_true(map->bindings[0].exact);
	assert_int_equal(map->bindings[0].hash.high, 3);
	begin_copy(map, id);
	report_move(map, id, PHASE_COPY, shard_of(map, "eu", 2)->id, 1);
	assert_null(map_binding_by_hash(map, (struct hash128){ 3, ~3ULL }));
	finish_phase(map, id, PHASE_ABORT);
	/* Away again: whatever is around the key takes it, if that is of another policy. */
	struct change_binding away = exact_of(5, "de");
	struct change unset = { .kind = CHANGE_BINDING_UNSET, .bindings = &away, .binding_count = 1 };
	id = begin_copy(map, apply(map, &unset).id);
	assert_int_equal(map_operation_find(map, id)->target_count, 2);
	finish_phase(map, id, PHASE_COPY);
	finish_phase(map, id, PHASE_CLOSE);
	finish_phase(map, id, PHASE_PURGE);
	assert_null(map_binding_by_hash(map, (struct hash128){ 5, ~5ULL }));
	/* Looser than everything around it. */
	struct cluster_map *narrow = cluster();
	struct change_binding bindings[] = { binding_of("", "de") };
	assert_int_equal(apply_rules(narrow, policies, 2, bindings, 1).status, STATUS_OK);
	assert_refused(set_binding(narrow, exact_of(5, "us")), STATUS_RESIDENCY_REFUSED, "loosens every");
	free(narrow);
	free(map);
}

/* Of an exact key all prefixes that are left are of its policy, and none may be around it. */
static void test_an_exact_key_that_nothing_is_around(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	struct policy policies[] = { policy_of("eu", "eu", 3, SPREAD_REGION),
		policy_of("de", "eu/de", 2, SPREAD_ZONE) };
	struct change_binding bindings[] = { binding_of("a", "de"), binding_of("c", "eu"), exact_of(5, "de") };
	assert_int_equal(apply_rules(map, policies, 2, bindings, 3).status, STATUS_OK);
	finish_fence(map, unset_binding(map, "c").id);
	struct change unset = { .kind = CHANGE_BINDING_UNSET, .bindings = &bindings[2], .binding_count = 1 };
	uint64_t id = begin_copy(map, apply(map, &unset).id);
	const struct map_operation *operation = map_operation_find(map, id);
	assert_int_equal(operation->target_count, 0);
	assert_non_null(map_binding_by_hash(map, bindings[2].hash));
	/* None is: it keeps its binding, or nobody would find it any more. */
	assert_int_equal(report_move(map, id, PHASE_COPY, shard_of(map, "de", 2)->id, 1).status, STATUS_OK);
	assert_int_equal(operation->state, OPERATION_FAILED);
	assert_int_equal(map_binding_by_hash(map, bindings[2].hash)->pending_operation, 0);
	/* One is. */
	id = begin_copy(map, apply(map, &unset).id);
	finish_phase(map, id, PHASE_COPY);
	assert_int_equal(map_operation_find(map, id)->state, OPERATION_DONE);
	assert_null(map_binding_by_hash(map, bindings[2].hash));
	free(map);
}

static void test_nested_bindings_only_tighten(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	struct policy us = policy_of("us", "us", 2, SPREAD_ZONE);
	assert_int_equal(apply_rules(map, &us, 1, NULL, 0).status, STATUS_OK);
	struct change_binding inner = binding_of("eu/us/", "us");
	inner.line = 31;
	struct meta_result result = set_binding(map, inner);
	assert_refused(result, STATUS_RESIDENCY_REFUSED, "store_in");
	assert_int_equal(result.flaw.line, 31);
	/* The outer one tightened away from what is inside it. */
	assert_refused(set_binding(map, binding_of("", "us")), STATUS_RESIDENCY_REFUSED, "store_in");
	/* The policy of the inner one loosened beyond the outer. */
	struct policy policies[] = { policy_of("eu", "*", 3, SPREAD_REGION),
		policy_of("default", "eu", 3, SPREAD_REGION) };
	policies[0].line = 4;
	result = apply_rules(map, policies, 2, NULL, 0);
	assert_refused(result, STATUS_RESIDENCY_REFUSED, "store_in");
	assert_int_equal(result.flaw.line, 4);
	/* Both at once, consistent after the change though not on the way. */
	struct policy both[] = { policy_of("default", "eu", 3, SPREAD_REGION),
		policy_of("eu", "eu/de", 2, SPREAD_ZONE) };
	assert_int_equal(apply_rules(map, both, 2, NULL, 0).status, STATUS_OK);
	free(map);
}

/* One file brings a prefix and one inside it: nobody wrote under the outer one before, so nothing is fenced. */
static void test_one_file_fences_only_what_was_there(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	struct policy policies[] = { policy_of("a", "eu", 3, SPREAD_REGION), policy_of("b", "eu/de", 2, SPREAD_ZONE) };
	struct change_binding bindings[] = { binding_of("x/", "a"), binding_of("x/y/", "b"), binding_of("eu/z/", "b") };
	struct meta_result result = apply_rules(map, policies, 2, bindings, 3);
	assert_int_equal(result.status, STATUS_OK);
	/* "" was there: x/ and x/y/ take keys from it, eu/z/ from eu/. */
	assert_int_equal(map->operation_count, 3);
	uint64_t usual = map_policy_by_name(map, "default")->id, eu = map_policy_by_name(map, "eu")->id;
	const struct map_binding *at = binding_at(map, "x/y/");
	assert_int_equal(map_operation_find(map, at->pending_operation)->policy, usual);
	assert_int_equal(map_operation_find(map, binding_at(map, "eu/z/")->pending_operation)->policy, eu);
	struct cluster_map *fresh = cluster();
	bindings[2] = binding_of("x", "a");
	assert_int_equal(apply_rules(fresh, policies, 2, bindings, 3).status, STATUS_OK);
	assert_int_equal(fresh->operation_count, 0);
	free(fresh);
	free(map);
}

/* Both outcomes of a pending binding are judged. */
static void test_pending_bindings_count_both_ways(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	struct policy policies[] = { policy_of("de", "eu/de", 2, SPREAD_ZONE),
		policy_of("se", "eu/se", 2, SPREAD_ZONE) };
	assert_int_equal(apply_rules(map, policies, 2, NULL, 0).status, STATUS_OK);
	uint64_t id = set_binding(map, binding_of("eu/", "de")).id;
	assert_int_not_equal(id, 0);
	/* Policies of a running operation stay as they are. */
	struct policy wider = policy_of("de", "*", 2, SPREAD_ZONE);
	assert_refused(apply_rules(map, &wider, 1, NULL, 0), STATUS_CONFLICT, "still running");
	assert_refused(set_binding(map, binding_of("eu/se/", "se")), STATUS_CONFLICT, "not decided");
	/* `` -> se would be inside nothing, but around eu/ in both its forms. */
	assert_refused(set_binding(map, binding_of("", "de")), STATUS_RESIDENCY_REFUSED, "loosens");
	finish_fence(map, id);
	assert_int_equal(set_binding(map, binding_of("", "de")).status, STATUS_OK);
	free(map);
}

static void test_region_that_would_loosen(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	/* Inside eu, with a tag that so far only sites of the us bear. */
	struct policy policies[] = { policy_of("outer", "us", 2, SPREAD_ZONE),
		policy_of("inner", "cloud=aws", 2, SPREAD_ZONE) };
	struct change_binding bindings[] = { binding_of("a", "outer"), binding_of("ab", "inner") };
	assert_int_equal(apply_rules(map, policies, 2, bindings, 2).status, STATUS_OK);
	assert_refused(add_region(map, "ap/ap-1", "cloud=aws"), STATUS_RESIDENCY_REFUSED, "inner");
	assert_int_equal(add_region(map, "ap/ap-1", "cloud=other").status, STATUS_OK);
	assert_int_equal(add_region(map, "us/us-west-2", "cloud=aws").status, STATUS_OK);
	free(map);
}

static void test_operations_make_room(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	char prefix[3] = "p0";
	uint64_t first = 0;
	for (unsigned i = 0; i < test_limits.operations; i++) {
		prefix[1] = (char)('0' + i);
		uint64_t id = set_binding(map, binding_of(prefix, "eu")).id;
		first = i == 0 ? id : first;
		assert_int_not_equal(id, 0);
	}
	assert_refused(set_binding(map, binding_of("q", "eu")), STATUS_CONFLICT, "room");
	finish_fence(map, first + 1);
	assert_int_equal(set_binding(map, binding_of("q", "eu")).status, STATUS_OK);
	assert_null(map_operation_find(map, first + 1)); /* the oldest ended one made room */
	assert_non_null(map_operation_find(map, first));
	/* A report for it is for something that is over. */
	uint64_t epoch = map->epoch;
	struct meta_result result = report_fence(map, first + 1, 1, 1);
	assert_int_equal(result.status, STATUS_OK);
	assert_int_equal(result.epoch, epoch);
	free(map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_binding_where_nothing_is_bound),
		cmocka_unit_test(test_binding_waits_for_the_fence),
		cmocka_unit_test(test_keys_go_along_with_the_binding),
		cmocka_unit_test(test_keys_that_cannot_go_keep_the_binding),
		cmocka_unit_test(test_what_may_change_while_keys_move),
		cmocka_unit_test(test_the_closer_binding_goes_first),
		cmocka_unit_test(test_keys_that_came_after_the_count),
		cmocka_unit_test(test_counts_add_up),
		cmocka_unit_test(test_versions_go_along),
		cmocka_unit_test(test_binding_anew_and_away),
		cmocka_unit_test(test_exact_keys),
		cmocka_unit_test(test_an_exact_key_that_nothing_is_around),
		cmocka_unit_test(test_nested_bindings_only_tighten),
		cmocka_unit_test(test_one_file_fences_only_what_was_there),
		cmocka_unit_test(test_pending_bindings_count_both_ways),
		cmocka_unit_test(test_region_that_would_loosen),
		cmocka_unit_test(test_operations_make_room),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
