/* Who was on a node, by its ledger: copies, and witnesses, which are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tools/stays.c"

static void take(struct stays *stays, uint8_t kind, uint8_t flags, uint64_t replica, uint64_t time_us)
{
	struct ledger_record record = { .kind = kind,
		.flags = flags,
		.shard = 7,
		.replica = replica,
		.policy = kind == LEDGER_CREATED ? 3 : 0,
		.time_us = time_us };
	stays_take(stays, &record);
}

static void test_a_copy_comes_and_goes(void **state)
{
	(void)state;
	struct stays stays = { 0 };
	take(&stays, LEDGER_CREATED, 0, 20, 100);
	take(&stays, LEDGER_REMOVED, 0, 20, 200);
	take(&stays, LEDGER_PURGED, 0, 20, 300);
	take(&stays, LEDGER_CREATED, 0, 21, 400);
	const struct stay *first = stays_find(&stays, 7, 20), *second = stays_find(&stays, 7, 21);
	assert_non_null(first);
	assert_non_null(second);
	assert_int_equal(first->removed_us, 200);
	assert_int_equal(first->purged_us, 300);
	assert_int_equal(second->created_us, 400);
	assert_int_equal(second->removed_us, 0);
	assert_null(stays_find(&stays, 7, 22));
	assert_null(stays_find(&stays, 8, 20));
	stays_free(&stays);
}

/* Its end is of its policy too, though it never was a copy. */
static void test_a_witness_is_known_and_no_copy(void **state)
{
	(void)state;
	struct stays stays = { 0 };
	take(&stays, LEDGER_CREATED, LEDGER_WITNESS, 20, 100);
	take(&stays, LEDGER_REMOVED, 0, 20, 200);
	const struct stay *witness = stays_find(&stays, 7, 20);
	assert_non_null(witness);
	assert_true(witness->witness);
	assert_int_equal(witness->policy, 3);
	assert_int_equal(witness->removed_us, 200);
	stays_free(&stays);
}

static void test_of_two_of_one_name_the_later(void **state)
{
	(void)state;
	struct stays stays = { 0 };
	for (uint64_t i = 0; i < 1000; i++) /* more than is made room for at first */
		take(&stays, LEDGER_CREATED, 0, 20 + i % 500, 100 + i);
	assert_int_equal(stays.count, 1000);
	take(&stays, LEDGER_REMOVED, 0, 20, 5000);
	assert_int_equal(stays_find(&stays, 7, 20)->created_us, 600);
	assert_int_equal(stays_find(&stays, 7, 20)->removed_us, 5000);
	assert_int_equal(stays.at[0].removed_us, 0);
	stays_free(&stays);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_copy_comes_and_goes),
		cmocka_unit_test(test_a_witness_is_known_and_no_copy),
		cmocka_unit_test(test_of_two_of_one_name_the_later),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
