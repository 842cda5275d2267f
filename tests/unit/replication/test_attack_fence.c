/* tests/unit/replication/test_attack_fence.c: when may a shard lift a fence? Its keys may have gone by a new binding,
 * or by the end of one; a leader with an old map would take a write for them, and its client has one too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/replication/meta_map.h"

static struct change change;

static uint64_t apply(struct cluster_map *map)
{
	struct meta_result result;
	meta_apply(map, &change, &result);
	if (result.status != STATUS_OK)
		fail_msg("%s", result.flaw.reason);
	meta_check(map);
	return result.id;
}

static uint64_t bind(struct cluster_map *map, uint8_t kind, struct change_binding binding)
{
	memset(&change, 0, sizeof(change));
	change.kind = kind;
	change.bindings = &binding;
	change.binding_count = 1;
	return apply(map);
}

/* The keys found cannot go anywhere. */
static void finish(struct cluster_map *map, uint64_t id, uint64_t keys_found)
{
	const struct map_operation *operation = map_operation_find(map, id);
	assert_non_null(operation);
	while (operation->state == OPERATION_RUNNING) {
		uint64_t shard = operation->shards_done[operation->steps_done];
		memset(&change, 0, sizeof(change));
		change.kind = operation->phase == PHASE_FENCE ? CHANGE_FENCE_REPORT : CHANGE_MOVE_REPORT;
		change.shard = shard;
		change.operation = id;
		change.phase = operation->phase;
		change.keys_found = operation->phase <= PHASE_COPY ? keys_found : 0;
		apply(map);
	}
}

static struct cluster_map *two_policies(void)
{
	struct cluster_map *map = map_new();
	change_init(&change, "eu/ie/eu-west-1", "eu/ie/eu-west-1/a/n1");
	apply(map);
	struct policy policies[2] = { policy_of("wide", "*", 1, SPREAD_NODE), policy_of("eu", "eu", 1, SPREAD_NODE) };
	struct change_binding bindings[2] = { binding_of("", "wide"), binding_of("pat/", "eu") };
	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_APPLY;
	change.policies = policies;
	change.policy_count = 2;
	change.bindings = bindings;
	change.binding_count = 2;
	apply(map);
	return map;
}

static uint64_t id_of(const struct cluster_map *map, const char *policy)
{
	return map_policy_by_name(map, policy)->id;
}

static bool moved(const struct cluster_map *map, uint64_t operation, const char *policy, const char *prefix)
{
	return map_fence_moved(map, operation, id_of(map, policy), false, (const uint64_t[2]){ 0 }, bytes_text(prefix));
}

static void test_a_binding_that_ends_takes_its_keys_away(void **state)
{
	(void)state;
	struct cluster_map *map = two_policies();
	uint64_t away = bind(map, CHANGE_BINDING_UNSET, binding_of("pat/", ""));
	assert_false(moved(map, away, "eu", "pat/")); /* until all are counted they are where they were */
	finish(map, away, 0);
	assert_null(binding_at(map, "pat/"));
	assert_int_equal(map_binding_of(map, bytes_text("pat/x"))->policy, id_of(map, "wide"));
	assert_true(moved(map, away, "eu", "pat/")); /* no binding of the prefix is left, and yet */
	/* Bound there again they live there: the old fence goes, and another stands where they were meanwhile. */
	uint64_t back = bind(map, CHANGE_BINDING_SET, binding_of("pat/", "eu"));
	assert_true(moved(map, away, "eu", "pat/"));
	finish(map, back, 0);
	assert_false(moved(map, away, "eu", "pat/"));
	assert_true(moved(map, back, "wide", "pat/"));
	free(map);
}

/* A closer binding left some of the keys where they were: the fence may not keep them out of there. */
static void test_keys_that_stayed_behind(void **state)
{
	(void)state;
	struct cluster_map *map = two_policies();
	struct policy other = policy_of("eu2", "eu", 1, SPREAD_NODE);
	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_APPLY;
	change.policies = &other;
	change.policy_count = 1;
	apply(map);
	bind(map, CHANGE_BINDING_SET, binding_of("pat/in/", "eu"));
	uint64_t away = bind(map, CHANGE_BINDING_SET, binding_of("pat/", "eu2"));
	finish(map, away, 0);
	assert_int_equal(map_binding_of(map, bytes_text("pat/x"))->policy, id_of(map, "eu2"));
	assert_int_equal(map_binding_of(map, bytes_text("pat/in/x"))->policy, id_of(map, "eu"));
	assert_false(moved(map, away, "eu", "pat/"));
	assert_true(moved(map, away, "eu", "pat/out/"));
	/* So could any key that is bound by itself. */
	struct change_binding exact = exact_of(5, "eu");
	finish(map, bind(map, CHANGE_BINDING_SET, exact), 0);
	assert_false(moved(map, away, "eu", "pat/out/"));
	free(map);
}

static void test_a_binding_that_failed_moves_nothing(void **state)
{
	(void)state;
	struct cluster_map *map = two_policies();
	uint64_t operation = bind(map, CHANGE_BINDING_SET, binding_of("bill/", "eu"));
	assert_false(moved(map, operation, "wide", "bill/"));
	finish(map, operation, 7);
	assert_false(moved(map, operation, "wide", "bill/"));
	operation = bind(map, CHANGE_BINDING_UNSET, binding_of("pat/", ""));
	finish(map, operation, 7);
	assert_false(moved(map, operation, "eu", "pat/"));
	free(map);
}

static void test_an_exact_key(void **state)
{
	(void)state;
	struct cluster_map *map = two_policies();
	struct change_binding exact = exact_of(5, "eu");
	const uint64_t hash[2] = { exact.hash.high, exact.hash.low };
	uint64_t set = bind(map, CHANGE_BINDING_SET, exact);
	assert_false(map_fence_moved(map, set, id_of(map, "wide"), true, hash, bytes_of(NULL, 0)));
	finish(map, set, 0);
	assert_true(map_fence_moved(map, set, id_of(map, "wide"), true, hash, bytes_of(NULL, 0)));
	uint64_t unset = bind(map, CHANGE_BINDING_UNSET, exact);
	finish(map, unset, 0);
	/* The key may have the prefix that is bound to this very policy: it may not be kept out of there. */
	assert_false(map_fence_moved(map, unset, id_of(map, "eu"), true, hash, bytes_of(NULL, 0)));
	finish(map, bind(map, CHANGE_BINDING_UNSET, binding_of("pat/", "")), 0);
	assert_true(map_fence_moved(map, unset, id_of(map, "eu"), true, hash, bytes_of(NULL, 0)));
	free(map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_binding_that_ends_takes_its_keys_away),
		cmocka_unit_test(test_keys_that_stayed_behind),
		cmocka_unit_test(test_a_binding_that_failed_moves_nothing),
		cmocka_unit_test(test_an_exact_key),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
