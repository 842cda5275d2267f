/* tests/unit/replication/test_meta_split.c: shards that split and merge, step by step, and what stands against it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/replication/meta_apply.h"

static struct meta_result split(struct cluster_map *map, uint64_t shard)
{
	struct change change = { .kind = CHANGE_SHARD_SPLIT, .shard = shard, .now_us = 6000 };
	return apply(map, &change);
}

static struct meta_result merge(struct cluster_map *map, uint64_t kept, uint64_t gone)
{
	struct change change = { .kind = CHANGE_SHARD_MERGE, .shard = kept, .merged = gone, .now_us = 6000 };
	return apply(map, &change);
}

/* The one shard that has a step of the phase to do has done it; it found so many keys, or, not of FENCE, was stuck. */
static void step(struct cluster_map *map, uint64_t id, enum operation_phase phase, uint64_t keys)
{
	const struct map_operation *operation = map_operation_find(map, id);
	assert_int_equal(operation->phase, phase);
	assert_int_equal(operation->steps, 1);
	struct change change = { .kind = phase == PHASE_FENCE ? CHANGE_FENCE_REPORT : CHANGE_MOVE_REPORT,
		.shard = operation->shards_done[0],
		.operation = id,
		.phase = phase == PHASE_FENCE ? PHASE_NONE : (uint8_t)phase,
		.keys_found = keys,
		.version = 77,
		.now_us = 8000 };
	assert_int_equal(apply(map, &change).status, STATUS_OK);
}

static void steps(struct cluster_map *map, uint64_t id, uint64_t keys)
{
	const struct map_operation *operation = map_operation_find(map, id);
	while (operation->state == OPERATION_RUNNING)
		step(map, id, (enum operation_phase)operation->phase, operation->phase == PHASE_FENCE ? keys : 0);
	assert_int_equal(operation->state, OPERATION_DONE);
}

/* Some key of the policy that has such a hash. */
static struct bytes key_in(char text[16], uint64_t first, uint64_t last)
{
	for (unsigned i = 0;; i++) {
		snprintf(text, 16, "k%u", i);
		if (hash_key(bytes_text(text)) >= first && hash_key(bytes_text(text)) <= last)
			return bytes_text(text);
	}
}

static void test_a_shard_is_split(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	const struct map_shard parent = *shard_of(map, "default", 2), *to;
	const uint64_t middle = parent.hash_first + (parent.hash_last - parent.hash_first) / 2 + 1;
	char low[16], high[16];
	struct bytes below = key_in(low, parent.hash_first, middle - 1), above = key_in(high, middle, parent.hash_last);
	uint64_t id = split(map, parent.id).id, count = map->shard_count;
	const struct map_operation *operation = map_operation_find(map, id);
	assert_int_equal(operation->kind, OPERATION_SPLIT);
	/* A shard of no hash behind the others, wanted where the parent is, by replicas of its own. */
	const struct map_shard *child = shard_of(map, "default", 8);
	const uint64_t child_id = child->id;
	assert_int_equal(child_id, operation->shard_to);
	assert_true(map_shard_empty(child));
	assert_int_equal(child->generation, 0);
	assert_int_equal(child->replica_count, parent.wanted_count);
	for (unsigned i = 0; i < child->replica_count; i++) {
		assert_int_equal(child->replicas[i].node, parent.wanted[i].node);
		assert_int_not_equal(child->replicas[i].replica, parent.wanted[i].replica);
	}
	/* Until it is there nobody waits. */
	assert_false(map_operation_fences_range(operation, parent.id));
	step(map, id, PHASE_BIRTH, 0);
	assert_true(map_operation_fences_range(operation, parent.id));
	assert_false(map_operation_fences_range(operation, child_id));
	assert_int_equal(operation->hash_first, middle);
	assert_int_equal(operation->hash_last, parent.hash_last);
	step(map, id, PHASE_FENCE, 9);
	/* Just the upper half goes, to the last hash, and from no other shard. */
	const struct map_shard *from = map_shard_find(map, parent.id);
	assert_int_equal(map_operation_moves_from(map, operation, from, above, &to), MOVE_GOES);
	assert_int_equal(to->id, child_id);
	assert_int_equal(map_operation_moves_from(map, operation, from, below, &to), MOVE_STAYS);
	assert_int_equal(map_operation_moves_from(map, operation, to ? to : shard_of(map, "default", 0), above, &to),
		MOVE_STAYS);
	step(map, id, PHASE_COPY, 0);
	assert_int_equal(operation->version, 77);
	assert_ptr_equal(map_shard_of(map, parent.policy, above), from);
	assert_true(map_moves_under(map, from, bytes_text("anything")));
	assert_false(map_moves_under(map, shard_of(map, "default", 0), bytes_text("anything")));
	uint64_t switches = map_switches(map), epoch = map->epoch;
	step(map, id, PHASE_CLOSE, 0);
	/* The switch. */
	from = map_shard_find(map, parent.id);
	to = map_shard_find(map, child_id);
	assert_ptr_equal(to, from + 1);
	assert_int_equal(from->hash_first, parent.hash_first);
	assert_int_equal(from->hash_last, middle - 1);
	assert_int_equal(to->hash_first, middle);
	assert_int_equal(to->hash_last, parent.hash_last);
	assert_int_equal(from->range_epoch, epoch + 1);
	assert_int_equal(to->range_epoch, epoch + 1);
	assert_ptr_equal(map_shard_of(map, parent.policy, above), to);
	assert_ptr_equal(map_shard_of(map, parent.policy, below), from);
	assert_true(map_lives_in(map, to, above));
	assert_false(map_lives_in(map, from, above));
	assert_true(map_switches(map) != switches);
	assert_true(map_range_moved(from, middle, parent.hash_last));
	assert_false(map_range_moved(from, middle - 1, parent.hash_last));
	assert_false(map_range_moved(to, middle, middle));
	assert_int_equal(map->shard_count, count);
	step(map, id, PHASE_PURGE, 0);
	assert_int_equal(operation->state, OPERATION_DONE);
	assert_true(map_moves_under(map, from, bytes_text("anything"))); /* where a replica lags */
	assert_true(map_moves_under(map, to, bytes_text("anything")));
	free(map);
}

/* The first hash goes, and so does the last. */
static void test_the_bounds_are_inside(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	const struct map_shard *from = shard_of(map, "default", 0), *other = shard_of(map, "default", 1), *to;
	const uint64_t hash = hash_key(bytes_text("k"));
	struct map_operation operation = { .kind = OPERATION_SPLIT,
		.state = OPERATION_RUNNING,
		.phase = PHASE_COPY,
		.shard_from = from->id,
		.shard_to = other->id };
	struct map_shard one = *from;
	for (unsigned i = 0; i < 4; i++) {
		const bool in = i < 2;
		operation.hash_first = i == 3 ? hash + 1 : i == 1 ? 0 : i == 2 ? 0 : hash;
		operation.hash_last = i == 2 ? hash - 1 : i == 0 || i == 3 ? UINT64_MAX : hash;
		assert_int_equal(map_operation_moves_from(map, &operation, from, bytes_text("k"), &to),
			in ? MOVE_GOES : MOVE_STAYS);
		assert_true(to == (in ? other : NULL));
		one.hash_first = operation.hash_first;
		one.hash_last = operation.hash_last;
		assert_int_equal(map_lives_in(map, &one, bytes_text("k")), in);
		assert_int_equal(map_range_moved(&one, hash, hash), !in);
	}
	free(map);
}

static void test_nothing_to_copy(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	const uint64_t first = shard_of(map, "eu", 0)->id;
	uint64_t id = split(map, first).id;
	step(map, id, PHASE_BIRTH, 0);
	step(map, id, PHASE_FENCE, 0);
	step(map, id, PHASE_COPY, 0); /* of what was answered to clients */
	step(map, id, PHASE_CLOSE, 0);
	step(map, id, PHASE_PURGE, 0);
	assert_int_equal(map_operation_find(map, id)->state, OPERATION_DONE);
	const uint64_t second = shard_of(map, "eu", 1)->id;
	assert_int_equal(map_operation_find(map, id)->shard_to, second);
	/* And back: the shard leaves the map. */
	id = merge(map, first, second).id;
	step(map, id, PHASE_FENCE, 0);
	step(map, id, PHASE_COPY, 0);
	step(map, id, PHASE_CLOSE, 0);
	assert_int_equal(map_operation_find(map, id)->state, OPERATION_DONE);
	assert_null(map_shard_find(map, second));
	assert_int_equal(map_shard_find(map, first)->hash_last, UINT64_MAX / 8);
	assert_true(map_range_moved(map_shard_find(map, second), 0, UINT64_MAX));
	free(map);
}

static void test_neighbours_merge(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	/* As all are placed alike in an even cluster, or are moved first. */
	uint64_t id = split(map, shard_of(map, "default", 3)->id).id;
	steps(map, id, 5);
	const struct map_shard low = *shard_of(map, "default", 3), high = *shard_of(map, "default", 4);
	assert_int_equal(high.id, map_operation_find(map, id)->shard_to);
	/* The lower one's keys go to the upper one. */
	id = merge(map, high.id, low.id).id;
	const struct map_operation *operation = map_operation_find(map, id);
	char text[16];
	const struct map_shard *to;
	struct bytes key = key_in(text, low.hash_first, low.hash_last);
	step(map, id, PHASE_FENCE, 3);
	assert_int_equal(map_operation_moves_from(map, operation, map_shard_find(map, low.id), key, &to), MOVE_GOES);
	assert_int_equal(to->id, high.id);
	step(map, id, PHASE_COPY, 0);
	uint64_t switches = map_switches(map);
	step(map, id, PHASE_CLOSE, 0);
	assert_int_equal(operation->state, OPERATION_DONE);
	assert_int_equal(operation->ended_us, 8000);
	assert_true(map_switches(map) != switches);
	assert_null(map_shard_find(map, low.id));
	to = map_shard_find(map, high.id);
	assert_int_equal(to->hash_first, low.hash_first);
	assert_int_equal(to->hash_last, high.hash_last);
	assert_int_equal(to->range_epoch, map->epoch);
	assert_ptr_equal(map_shard_of(map, low.policy, key), to);
	free(map);
}

static void test_who_gives_up(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	const struct map_shard parent = *shard_of(map, "eu", 1);
	uint64_t id = split(map, parent.id).id, child = map_operation_find(map, id)->shard_to;
	step(map, id, PHASE_BIRTH, 0);
	step(map, id, PHASE_FENCE, 2);
	step(map, id, PHASE_COPY, 1);
	/* The new shard goes, with what was copied; the parent's fence is of no use any more. */
	assert_int_equal(map_operation_find(map, id)->state, OPERATION_FAILED);
	assert_null(map_shard_find(map, child));
	assert_false(map_operation_fences(map_operation_find(map, id)));
	assert_int_equal(map_shard_find(map, parent.id)->hash_last, parent.hash_last);
	assert_false(map_range_moved(map_shard_find(map, parent.id), parent.hash_last, parent.hash_last));
	steps(map, split(map, parent.id).id, 2);
	/* What came to a neighbour is removed there first. */
	child = shard_of(map, "eu", 2)->id;
	id = merge(map, parent.id, child).id;
	step(map, id, PHASE_FENCE, 2);
	step(map, id, PHASE_COPY, 0);
	step(map, id, PHASE_CLOSE, 1);
	assert_int_equal(map_operation_find(map, id)->state, OPERATION_RUNNING);
	assert_int_equal(map_operation_find(map, id)->shards_done[0], parent.id);
	step(map, id, PHASE_ABORT, 0);
	assert_int_equal(map_operation_find(map, id)->state, OPERATION_FAILED);
	assert_non_null(map_shard_find(map, child));
	free(map);
}

static struct meta_result cancel(struct cluster_map *map, uint64_t operation)
{
	struct change change = { .kind = CHANGE_CANCEL, .operation = operation, .now_us = 9000 };
	return apply(map, &change);
}

static void test_until_the_switch_it_is_cancelled(void **state)
{
	(void)state;
	static const enum operation_phase phases[] = { PHASE_BIRTH, PHASE_FENCE, PHASE_COPY, PHASE_CLOSE };
	struct cluster_map *map = ruled();
	const struct map_shard parent = *shard_of(map, "eu", 1);
	for (unsigned at = 0; at < 4; at++) {
		uint64_t id = split(map, parent.id).id, child = map_operation_find(map, id)->shard_to;
		for (unsigned i = 0; i < at; i++)
			step(map, id, phases[i], 0);
		assert_int_equal(map_operation_find(map, id)->phase, phases[at]);
		assert_int_equal(cancel(map, id).status, STATUS_OK);
		assert_int_equal(map_operation_find(map, id)->state, OPERATION_FAILED);
		assert_true(map_operation_find(map, id)->cancelled);
		assert_non_null(strstr(map_operation_find(map, id)->text, "not so: it was cancelled"));
		assert_null(map_shard_find(map, child));
		assert_int_equal(map_shard_find(map, parent.id)->hash_last, parent.hash_last);
	}
	steps(map, split(map, parent.id).id, 0);
	const struct map_shard next = *shard_of(map, "eu", 2);
	for (unsigned at = 1; at < 4; at++) {
		uint64_t id = merge(map, parent.id, next.id).id;
		for (unsigned i = 1; i < at; i++)
			step(map, id, phases[i], 0);
		assert_int_equal(cancel(map, id).status, STATUS_OK);
		assert_false(map_operation_fences(map_operation_find(map, id))); /* writes go on at once */
		step(map, id, PHASE_ABORT, 0);
		assert_int_equal(map_operation_find(map, id)->state, OPERATION_FAILED);
		assert_int_equal(map_shard_find(map, next.id)->hash_first, next.hash_first);
	}
	uint64_t id = split(map, parent.id).id;
	for (unsigned i = 0; i < 4; i++)
		step(map, id, phases[i], 0);
	assert_refused(cancel(map, id), STATUS_CONFLICT, "only goes forward");
	free(map);
}

/* A drain of a node that holds a replica of each. */
static void test_a_shard_goes_while_it_moves(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	const struct map_shard parent = *shard_of(map, "eu", 1);
	uint64_t id = split(map, parent.id).id;
	struct change drain = {
		.kind = CHANGE_NODE_STATE, .target_node = parent.wanted[0].node, .state = NODE_DRAINING
	};
	uint64_t drains = apply(map, &drain).id;
	const uint32_t moved = map_operation_find(map, drains)->steps;
	assert_int_equal(map_shard_find(map, map_operation_find(map, id)->shard_to)->operation, drains);
	step(map, id, PHASE_BIRTH, 0);
	step(map, id, PHASE_FENCE, 2);
	step(map, id, PHASE_COPY, 1);
	assert_int_equal(map_operation_find(map, drains)->steps, moved);
	assert_int_equal(map_operation_find(map, drains)->steps_done, 1);
	assert_refused(split(map, parent.id), STATUS_CONFLICT, "moves shard");
	free(map);
}

/* What was to move it ends as if it had: a drain that was cancelled has failed. */
static void test_a_shard_goes_while_it_is_to_come_back(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	const struct map_shard parent = *shard_of(map, "eu", 1);
	uint64_t id = split(map, parent.id).id;
	struct change drain = {
		.kind = CHANGE_NODE_STATE, .target_node = parent.wanted[0].node, .state = NODE_DRAINING
	};
	uint64_t drains = apply(map, &drain).id, child = map_operation_find(map, id)->shard_to;
	assert_int_equal(cancel(map, drains).status, STATUS_OK);
	for (uint32_t i = 0; i < map->shard_count; i++) {
		struct change report = report_of(&map->shards[i], 5);
		if (map->shards[i].operation == drains && map->shards[i].id != child)
			assert_int_equal(apply(map, &report).status, STATUS_OK);
	}
	const struct map_operation *operation = map_operation_find(map, drains);
	assert_int_equal(operation->steps_done, operation->steps - 1);
	assert_int_equal(cancel(map, id).status, STATUS_OK);
	assert_null(map_shard_find(map, child));
	assert_int_equal(map_operation_find(map, drains)->state, OPERATION_FAILED);
	free(map);
}

static void test_what_stands_against_it(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	const uint64_t a = shard_of(map, "eu", 0)->id, c = shard_of(map, "eu", 2)->id,
		       other = shard_of(map, "default", 0)->id;
	assert_refused(split(map, 4242), STATUS_NOT_FOUND, "4242");
	assert_refused(merge(map, a, 4242), STATUS_NOT_FOUND, "4242");
	assert_refused(merge(map, a, c), STATUS_INVALID, "no neighbours");
	assert_refused(merge(map, a, a), STATUS_INVALID, "no neighbours");
	assert_refused(merge(map, a, other), STATUS_INVALID, "no neighbours");
	uint64_t id = split(map, a).id, child = map_operation_find(map, id)->shard_to;
	assert_refused(split(map, a), STATUS_CONFLICT, "moves shard");
	assert_refused(split(map, child), STATUS_CONFLICT, "moves shard");
	assert_refused(merge(map, a, child), STATUS_CONFLICT, "moves shard");
	/* Keys neither come to the policy nor leave it meanwhile, nor do its rules change; another policy's may. */
	struct change_binding binding = binding_of("pat/", "eu");
	struct change change = { .kind = CHANGE_BINDING_SET, .bindings = &binding, .binding_count = 1 };
	assert_refused(apply(map, &change), STATUS_CONFLICT, "splits or merges");
	binding = binding_of("eu/x/", "default");
	change.kind = CHANGE_BINDING_UNSET;
	binding = binding_of("eu/", "");
	assert_refused(apply(map, &change), STATUS_CONFLICT, "splits or merges");
	struct policy rules = policy_of("eu", "eu", 2, SPREAD_REGION);
	assert_refused(apply_rules(map, &rules, 1, NULL, 0), STATUS_CONFLICT, "still running");
	assert_int_equal(split(map, c).status, STATUS_OK); /* beside it */
	steps(map, id, 0);
	steps(map, split(map, other).id, 0);
	for (uint32_t i = 0; i < map->operation_count; i++)
		if (map->operations[i].state == OPERATION_RUNNING)
			steps(map, map->operations[i].id, 0);
	/* And the other way round. */
	change.kind = CHANGE_BINDING_SET;
	binding = binding_of("pat/", "eu");
	assert_int_equal(apply(map, &change).status, STATUS_OK);
	assert_refused(split(map, a), STATUS_CONFLICT, "keys of it");
	assert_refused(split(map, other), STATUS_CONFLICT, "keys of it");
	free(map);
}

static void test_not_on_the_same_nodes(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	steps(map, split(map, shard_of(map, "eu", 0)->id).id, 0);
	const struct map_shard *a = shard_of(map, "eu", 0), *b = shard_of(map, "eu", 1);
	struct change place = { .kind = CHANGE_SHARD_PLACE, .shard = b->id, .replica_count = a->wanted_count };
	for (unsigned i = 0; i < place.replica_count; i++)
		place.replicas[i].node = a->wanted[i].node;
	const char *away = map_node_find(map, a->wanted[0].node)->place.text;
	place.replicas[0].node = 0;
	for (uint32_t i = 0; i < map->node_count; i++)
		if (map->nodes[i].region == map_node_find(map, a->wanted[0].node)->region &&
			map->nodes[i].id != a->wanted[0].node)
			place.replicas[0].node = map->nodes[i].id;
	assert_int_not_equal(place.replicas[0].node, 0);
	assert_non_null(away);
	assert_int_equal(apply(map, &place).status, STATUS_OK);
	struct change report = report_of(map_shard_find(map, place.shard), 5);
	assert_refused(merge(map, a->id, b->id), STATUS_CONFLICT, "moves shard");
	assert_int_equal(apply(map, &report).status, STATUS_OK);
	assert_refused(merge(map, a->id, b->id), STATUS_CONFLICT, "same nodes");
	place.replicas[0].node = a->wanted[0].node;
	assert_int_equal(apply(map, &place).status, STATUS_OK);
	report = report_of(map_shard_find(map, place.shard), 6);
	assert_int_equal(apply(map, &report).status, STATUS_OK);
	assert_int_equal(merge(map, a->id, b->id).status, STATUS_OK);
	free(map);
}

static void test_there_is_an_end_to_it(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	struct meta_result result;
	uint64_t id = shard_of(map, "default", 0)->id;
	/* One shard, halved again and again. */
	while ((result = split(map, id)).status == STATUS_OK)
		steps(map, result.id, 1);
	assert_int_equal(result.status, STATUS_INVALID);
	assert_non_null(strstr(result.flaw.reason, "narrow"));
	assert_int_equal(map_shard_find(map, id)->hash_last, SHARD_WIDTH_MIN - 1);
	/* And the widest of them, until there are too many. */
	for (;;) {
		const struct map_shard *widest = shard_of(map, "default", 0);
		for (const struct map_shard *at = widest; at->policy == widest->policy; at++)
			if (at->hash_last - at->hash_first > widest->hash_last - widest->hash_first)
				widest = at;
		result = split(map, widest->id);
		if (result.status != STATUS_OK)
			break;
		steps(map, result.id, 0);
	}
	assert_int_equal(map->shard_count, SHARDS_PER_POLICY_MAX + SHARDS_PER_POLICY);
	assert_refused(result, STATUS_INVALID, "64 shards");
	/* Down to one. */
	id = shard_of(map, "default", 0)->id;
	while (map->shard_count > SHARDS_PER_POLICY + 1) {
		result = merge(map, id, shard_of(map, "default", 1)->id);
		if (result.status == STATUS_CONFLICT) { /* elsewhere: moved first */
			const struct map_shard *first = shard_of(map, "default", 0), *next = first + 1;
			struct change place = {
				.kind = CHANGE_SHARD_PLACE, .shard = next->id, .replica_count = first->wanted_count
			};
			memcpy(place.replicas, first->wanted, sizeof(place.replicas));
			assert_int_equal(apply(map, &place).status, STATUS_OK);
			struct change report = report_of(map_shard_find(map, place.shard), 5 + map->epoch);
			assert_int_equal(apply(map, &report).status, STATUS_OK);
			continue;
		}
		assert_int_equal(result.status, STATUS_OK);
		steps(map, result.id, 1);
	}
	assert_int_equal(shard_of(map, "default", 0)->hash_last, UINT64_MAX);
	free(map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_shard_is_split),
		cmocka_unit_test(test_the_bounds_are_inside),
		cmocka_unit_test(test_nothing_to_copy),
		cmocka_unit_test(test_neighbours_merge),
		cmocka_unit_test(test_who_gives_up),
		cmocka_unit_test(test_until_the_switch_it_is_cancelled),
		cmocka_unit_test(test_a_shard_goes_while_it_moves),
		cmocka_unit_test(test_a_shard_goes_while_it_is_to_come_back),
		cmocka_unit_test(test_what_stands_against_it),
		cmocka_unit_test(test_not_on_the_same_nodes),
		cmocka_unit_test(test_there_is_an_end_to_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
