/* The judge of a run's records: histories that stand, and the same with one lie in each. */
#include "bench/geo_check.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/lib/linearizability.c"

static struct record rows[16];
static struct records history = { rows, 0, 16 };

static struct record *add(uint8_t class, uint64_t sent_ms, uint64_t done_ms, uint64_t value, uint64_t version)
{
	struct record *row = &rows[history.count++];

	*row = (struct record){ .class = class, .key = 7, .value = value, .version = version };
	row->planned_ns = row->sent_ns = sent_ms * 1000000;
	row->done_ns = done_ms * 1000000;
	return row;
}

static struct geo_verdict judge(void)
{
	struct geo_verdict verdict;

	geo_check(&history, 100, &verdict);
	history.count = 0;
	return verdict;
}

static void test_strong(void **state)
{
	struct geo_verdict verdict;

	(void)state;
	add(GEO_PUT, 0, 10, 1, 100);
	add(GEO_PUT, 20, 30, 2, 200);
	add(GEO_STRONG, 25, 26, 1, 100); /* while the second write is under way both will do */
	add(GEO_STRONG, 40, 41, 2, 200);
	verdict = judge();
	assert_true(verdict.linearizable);
	assert_int_equal(verdict.operations, 4);
	assert_int_equal(verdict.keys, 1);
	add(GEO_PUT, 0, 10, 1, 100);
	add(GEO_PUT, 20, 30, 2, 200);
	add(GEO_STRONG, 40, 41, 1, 100); /* old after the new one was acknowledged */
	verdict = judge();
	assert_false(verdict.linearizable);
	assert_true(verdict.why[0] != '\0');
}

static void test_nothing_is_no_proof(void **state)
{
	(void)state;
	assert_false(judge().linearizable);
}

/* A write that timed out may have been applied: both readings stand. */
static void test_unknown_writes(void **state)
{
	(void)state;
	add(GEO_PUT, 0, 10, 1, 100);
	add(GEO_PUT, 20, 30, 2, 0)->status = DOM_UNKNOWN_OUTCOME;
	add(GEO_STRONG, 40, 41, 2, 200);
	assert_true(judge().linearizable);
	add(GEO_PUT, 0, 10, 1, 100);
	add(GEO_PUT, 20, 30, 2, 0)->status = DOM_TIMED_OUT;
	add(GEO_STRONG, 40, 41, 1, 100);
	assert_true(judge().linearizable);
}

static void test_sessions(void **state)
{
	struct geo_verdict verdict;

	(void)state;
	for (unsigned lie = 0; lie < 2; lie++) {
		add(GEO_PUT, 0, 10, 1, 100)->session = 3;
		add(GEO_PUT, 20, 30, 2, 200)->session = 3;
		add(GEO_SESSION, 25, 26, 1, 100)->session = 3; /* the second write had no answer yet */
		add(GEO_SESSION, 40, 41, 1, 100)->session = 4; /* another session owes nothing */
		add(GEO_ROAMED, 40, 41, lie == 0 ? 2 : 1, lie == 0 ? 200 : 100)->session = 3;
		verdict = judge();
		assert_int_equal(verdict.session_reads, 3);
		assert_int_equal(verdict.session_violations, lie);
		assert_true(verdict.linearizable); /* sessions are not judged as strong */
	}
}

static void test_staleness(void **state)
{
	struct geo_verdict verdict;

	(void)state;
	for (uint32_t told = 0; told <= 60; told += 10) {
		add(GEO_PUT, 0, 10, 1, 100);
		add(GEO_PUT, 20, 30, 2, 200);
		add(GEO_BOUNDED, 80, 81, 1, 100)->staleness_ms = told; /* overwritten for 50 ms */
		add(GEO_BOUNDED, 80, 81, 2, 200)->staleness_ms = 0;
		verdict = judge();
		assert_int_equal(verdict.stale_reads, 2);
		assert_int_equal(verdict.stale_violations, told < 49);
		assert_int_equal(verdict.staleness_max_ms, told);
	}
	add(GEO_PUT, 0, 10, 1, 100);
	add(GEO_BOUNDED, 300, 301, 1, 100)->staleness_ms = 101; /* true, and more than was allowed */
	assert_int_equal(judge().stale_violations, 1);
	add(GEO_PUT, 0, 10, 1, 100);
	add(GEO_NEAREST, 300, 301, 0, 0)->staleness_ms = 5; /* nothing there, though written long ago */
	assert_int_equal(judge().stale_violations, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_strong),
		cmocka_unit_test(test_nothing_is_no_proof),
		cmocka_unit_test(test_unknown_writes),
		cmocka_unit_test(test_sessions),
		cmocka_unit_test(test_staleness),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
