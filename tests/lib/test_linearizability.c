/* tests/lib/test_linearizability.c: the checkers of histories, checked: known good and bad histories, then random small
 * ones against all permutations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"
#include "tests/lib/linearizability.h"

/* Short forms; key 1. The version of value v is 10 * v unless a test says otherwise. */
#define OP(k, o, ...)	 ((struct history_operation){ .key = 1, .kind = HISTORY_##k, .outcome = HISTORY_##o, __VA_ARGS__ })
#define W(v, from, to)	 OP(WRITE, DONE, .value = (v), .version = 10 * (v), .invoked = (from), .returned = (to))
#define R(v, from, to)	 OP(READ, DONE, .seen = (v), .version = 10 * (v), .invoked = (from), .returned = (to))
#define D(ver, from, to) OP(DELETE, DONE, .version = (ver), .invoked = (from), .returned = (to))
#define GONE(from, to)	 OP(DELETE, REFUSED, .invoked = (from), .returned = (to))
#define C(e, v, from, to)                                                                                              \
	OP(CAS, DONE, .expected = (e), .value = (v), .version = 10 * (v), .invoked = (from), .returned = (to))
#define REFUSED(e, v, s, from, to)                                                                                     \
	OP(CAS, REFUSED, .expected = (e), .value = (v), .seen = (s), .version = 10 * (s), .invoked = (from),           \
		.returned = (to))
#define LOST(v, from) OP(WRITE, UNKNOWN, .value = (v), .invoked = (from))

static struct history_report search_report, version_report;

static void check_both(const struct history_operation *operations, size_t count, enum history_verdict wanted)
{
	assert_int_equal(history_check_search(operations, count, 40000000, &search_report), wanted);
	assert_int_equal(history_check_versions(operations, count, &version_report), wanted);
	if (wanted != HISTORY_VIOLATION)
		return;
	assert_int_equal(search_report.key, 1);
	assert_int_equal(version_report.key, 1);
	assert_true(search_report.operation < count);
	assert_true(version_report.operation < count);
	assert_int_not_equal(version_report.why[0], 0);
}
#define GOOD(...)                                                                                                      \
	do {                                                                                                           \
		const struct history_operation ops_[] = { __VA_ARGS__ };                                               \
		check_both(ops_, sizeof(ops_) / sizeof(ops_[0]), HISTORY_LINEARIZABLE);                                \
	} while (0)
#define BAD(...)                                                                                                       \
	do {                                                                                                           \
		const struct history_operation ops_[] = { __VA_ARGS__ };                                               \
		check_both(ops_, sizeof(ops_) / sizeof(ops_[0]), HISTORY_VIOLATION);                                   \
	} while (0)

static void test_good_histories(void **state)
{
	(void)state;
	check_both(NULL, 0, HISTORY_LINEARIZABLE);
	GOOD(R(0, 1, 2));
	GOOD(W(1, 1, 2), R(1, 3, 4));
	GOOD(W(1, 1, 10), R(0, 2, 3), R(1, 4, 5)); /* while it runs, before and after its point */
	GOOD(W(1, 1, 2), W(2, 3, 10), R(1, 4, 5), R(2, 6, 7));
	GOOD(W(2, 1, 10), W(1, 1, 10), R(1, 2, 3), R(2, 4, 5)); /* the order of the list says nothing */
	GOOD(W(1, 1, 2), D(15, 3, 4), R(0, 5, 6), GONE(7, 8), W(2, 9, 10), R(2, 11, 12));
	GOOD(W(1, 1, 2), C(1, 2, 3, 4), REFUSED(1, 9, 2, 5, 6), R(2, 7, 8));
	GOOD(C(0, 1, 1, 2), REFUSED(0, 9, 1, 3, 4), D(15, 5, 6), C(0, 2, 7, 8));
	GOOD(W(1, 1, 5), R(1, 5, 6)); /* equal times overlap */
	GOOD(W(1, 5, 5), R(0, 5, 5), R(1, 5, 5));
}

static void test_unknown_outcomes(void **state)
{
	(void)state;
	GOOD(W(1, 1, 2), LOST(2, 3), R(1, 10, 11));		  /* never */
	GOOD(W(1, 1, 2), LOST(2, 3), R(2, 10, 11), R(2, 12, 13)); /* or long after */
	GOOD(W(1, 1, 2), LOST(2, 3), R(1, 10, 11), R(2, 12, 13));
	BAD(W(1, 1, 2), LOST(2, 3), R(2, 10, 11), R(1, 12, 13)); /* not to and fro */
	BAD(LOST(2, 5), R(2, 1, 2));				 /* nor before it began */
	GOOD(W(1, 1, 2), OP(DELETE, UNKNOWN, .invoked = 3), R(1, 4, 5), R(0, 6, 7));
	GOOD(OP(READ, UNKNOWN, .invoked = 1, .seen = 77), W(1, 2, 3));
	GOOD(W(1, 1, 2), OP(CAS, UNKNOWN, .expected = 1, .value = 2, .invoked = 3), R(2, 4, 5));
	BAD(W(1, 1, 2), OP(CAS, UNKNOWN, .expected = 9, .value = 2, .invoked = 3), R(2, 4, 5));
}

static void test_bad_histories(void **state)
{
	(void)state;
	BAD(W(1, 1, 2), R(0, 3, 4));			      /* lost */
	BAD(W(1, 1, 2), W(2, 3, 4), R(1, 5, 6));	      /* stale */
	BAD(R(1, 1, 2));				      /* out of nothing */
	BAD(R(1, 1, 2), W(1, 3, 4));			      /* from the future */
	BAD(W(1, 1, 2), W(2, 3, 20), R(2, 4, 5), R(1, 6, 7)); /* not monotonic */
	BAD(W(1, 1, 2), W(2, 3, 20), R(2, 4, 5), R(1, 6, 7), R(2, 8, 9));
	BAD(W(1, 1, 2), OP(WRITE, FAILED, .value = 2, .invoked = 3, .returned = 4), R(2, 5, 6));
	BAD(W(1, 1, 2), C(1, 2, 3, 4), C(1, 3, 5, 6));	     /* both replaced one value: a lost update */
	BAD(W(1, 1, 2), REFUSED(1, 2, 1, 3, 4));	     /* refused by what it expected */
	BAD(W(1, 1, 2), W(2, 3, 4), REFUSED(9, 3, 1, 5, 6)); /* refused by what was gone */
	BAD(C(0, 1, 1, 2), C(0, 2, 3, 4));		     /* made twice */
	BAD(W(1, 1, 2), D(15, 3, 4), R(1, 5, 6));	     /* back from the dead */
	BAD(W(1, 1, 2), GONE(3, 4));
	BAD(D(5, 1, 2));
	BAD(W(1, 1, 2), D(15, 3, 4), D(25, 5, 6)); /* twice */
	BAD(W(1, 1, 2), D(15, 5, 20), R(0, 3, 4)); /* gone before the delete began */
	BAD(W(1, 1, 2), D(15, 5, 20), R(0, 6, 7), R(1, 8, 9));
}

/* What only versions can show, since the values alone would allow it. */
static void test_versions_against_time(void **state)
{
	(void)state;
	const struct history_operation ordered[] = {
		OP(WRITE, DONE, .value = 1, .version = 20, .invoked = 1, .returned = 2),
		OP(WRITE, DONE, .value = 2, .version = 10, .invoked = 3, .returned = 4),
	};
	assert_int_equal(history_check_search(ordered, 2, 1000, &search_report), HISTORY_LINEARIZABLE);
	assert_int_equal(history_check_versions(ordered, 2, &version_report), HISTORY_VIOLATION);
	assert_int_equal(version_report.operation, 1);
	assert_int_equal(version_report.before, 0);
	const struct history_operation twice[] = {
		OP(WRITE, DONE, .value = 1, .version = 10, .invoked = 1, .returned = 2),
		OP(WRITE, DONE, .value = 2, .version = 10, .invoked = 3, .returned = 4),
	};
	assert_int_equal(history_check_versions(twice, 2, &version_report), HISTORY_VIOLATION);
	const struct history_operation renamed[] = { W(1, 1, 2),
		OP(READ, DONE, .seen = 1, .version = 11, .invoked = 3, .returned = 4) };
	assert_int_equal(history_check_versions(renamed, 2, &version_report), HISTORY_VIOLATION);
}

static void test_keys_stand_alone(void **state)
{
	(void)state;
	struct history_operation operations[] = { W(1, 1, 2), W(2, 3, 4), R(1, 5, 6), R(0, 5, 6) };
	operations[0].key = operations[2].key = 7;
	operations[1].key = 8;
	operations[3].key = 9;
	check_both(operations, 4, HISTORY_LINEARIZABLE);
	operations[3].key = 8;
	assert_int_equal(history_check_search(operations, 4, 1000, &search_report), HISTORY_VIOLATION);
	assert_int_equal(search_report.key, 8);
	assert_int_equal(search_report.operation, 3);
	assert_int_equal(history_check_versions(operations, 4, &version_report), HISTORY_VIOLATION);
	assert_int_equal(version_report.key, 8);
	assert_int_equal(version_report.operation, 3);
}

static void test_search_gives_up(void **state)
{
	(void)state;
	enum { MANY = 24 };
	struct history_operation operations[MANY + 1];
	for (unsigned i = 0; i < MANY; i++)
		operations[i] = W(i + 1, 1, 100);
	operations[MANY] = R(99, 101, 102);
	assert_int_equal(history_check_search(operations, MANY + 1, 20000, &search_report), HISTORY_UNDECIDED);
	assert_int_equal(search_report.key, 1);
}

/* --- random histories against all permutations ------------------------------------------------------------------ */

enum { SMALL_MAX = 7 };
struct brute {
	const struct history_operation *operations;
	unsigned count;
	bool by_versions; /* writes come in the order of their versions, and what is seen is seen under its version */
};

static uint64_t end_of(const struct history_operation *operation)
{
	return operation->outcome == HISTORY_UNKNOWN ? UINT64_MAX : operation->returned;
}

/* A plain register, written apart from the checkers. */
static bool take(const struct history_operation *operation, uint64_t *value, uint64_t *version, uint64_t *highest)
{
	uint64_t before = *value, under = *version;
	bool writes = operation->kind == HISTORY_WRITE;
	if (operation->kind == HISTORY_READ) {
		if (operation->outcome == HISTORY_DONE && operation->seen != before)
			return false;
		return before == 0 || under == 0 || operation->version == under || *highest == UINT64_MAX;
	}
	if (operation->kind == HISTORY_CAS) {
		writes = before == operation->expected;
		if (operation->outcome != HISTORY_UNKNOWN && writes != (operation->outcome == HISTORY_DONE))
			return false;
		if (operation->outcome == HISTORY_REFUSED && operation->seen != before)
			return false;
	}
	if (operation->kind == HISTORY_DELETE) {
		writes = before != 0;
		if (operation->outcome != HISTORY_UNKNOWN && writes != (operation->outcome == HISTORY_DONE))
			return false;
	}
	if (!writes)
		return true;
	*value = operation->kind == HISTORY_DELETE ? 0 : operation->value;
	*version = operation->version;
	if (*highest != UINT64_MAX) {
		if (operation->version <= *highest)
			return false;
		*highest = operation->version;
	}
	return true;
}

static bool brute(const struct brute *all, unsigned taken, uint64_t value, uint64_t version, uint64_t highest)
{
	bool complete = true;
	uint64_t limit = UINT64_MAX; /* whoever is next must not begin after one that is left has ended */
	for (unsigned i = 0; i < all->count; i++) {
		const struct history_operation *operation = &all->operations[i];
		if (taken & 1u << i || operation->outcome == HISTORY_FAILED)
			continue;
		complete &= operation->outcome == HISTORY_UNKNOWN;
		limit = end_of(operation) < limit ? end_of(operation) : limit;
	}
	if (complete)
		return true;
	for (unsigned i = 0; i < all->count; i++) {
		const struct history_operation *operation = &all->operations[i];
		uint64_t v = value, u = version, h = highest;
		if (taken & 1u << i || operation->outcome == HISTORY_FAILED || operation->invoked > limit)
			continue;
		if (take(operation, &v, &u, &h) && brute(all, taken | 1u << i, v, u, h))
			return true;
	}
	return false;
}

static bool linearizable(const struct history_operation *operations, unsigned count, bool by_versions)
{
	struct brute all = { operations, count, by_versions };
	return brute(&all, 0, 0, 0, by_versions ? 0 : UINT64_MAX);
}

/* What a register would do at random instants, each inside its operation's time; then, mostly, one answer is bent. */
static unsigned random_history(struct prng *prng, bool unknown, struct history_operation operations[SMALL_MAX])
{
	unsigned count = 1 + (unsigned)prng_below(prng, SMALL_MAX);
	uint64_t now = 10, value = 0, version = 0, next_version = 0;
	for (unsigned i = 0; i < count; i++) {
		struct history_operation *operation = &operations[i];
		now += prng_below(prng, 3);
		uint64_t reach = prng_below(prng, 8), spare = prng_below(prng, 8);
		*operation = (struct history_operation){ .key = 1,
			.outcome = HISTORY_DONE,
			.value = i + 1,
			.kind = (uint8_t)(HISTORY_READ + prng_below(prng, 4)),
			.invoked = now - (reach < 6 ? reach : 0),
			.returned = now + spare };
		bool effect = true;
		if (unknown && prng_chance(prng, 250000)) {
			operation->outcome = prng_chance(prng, 200000) ? HISTORY_FAILED : HISTORY_UNKNOWN;
			effect = operation->outcome == HISTORY_UNKNOWN && prng_chance(prng, 500000);
		}
		bool answered = operation->outcome == HISTORY_DONE;
		operation->expected = prng_chance(prng, 500000) ? value : prng_below(prng, 4);
		bool writes = operation->kind == HISTORY_WRITE;
		writes |= operation->kind == HISTORY_CAS && value == operation->expected;
		writes |= operation->kind == HISTORY_DELETE && value != 0;
		if (operation->kind == HISTORY_READ || !writes) {
			operation->seen = value;
			operation->version = version;
			if (answered && operation->kind != HISTORY_READ)
				operation->outcome = HISTORY_REFUSED;
		} else if (effect) {
			next_version += 1 + prng_below(prng, 2);
			value = operation->kind == HISTORY_DELETE ? 0 : operation->value;
			version = value ? next_version : 0;
			operation->version = answered ? next_version : 0;
		}
	}
	return count;
}

static void bend(struct prng *prng, struct history_operation operations[], unsigned count)
{
	struct history_operation *operation = &operations[prng_below(prng, count)];
	const struct history_operation *other = &operations[prng_below(prng, count)];
	switch (prng_below(prng, 4)) {
	case 0: /* it saw something else that was written, under that one's version */
		operation->seen = other->kind == HISTORY_WRITE && other->outcome == HISTORY_DONE ? other->value : 0;
		if (operation->kind == HISTORY_READ || operation->outcome == HISTORY_REFUSED)
			operation->version = operation->seen ? other->version : 0;
		break;
	case 1: /* it ran later */
		operation->invoked += prng_below(prng, 10);
		operation->returned = operation->invoked + prng_below(prng, 4);
		break;
	case 2: /* or earlier */
		operation->returned = operation->invoked;
		break;
	default:
		if (operation->kind == HISTORY_CAS)
			operation->expected = other->value;
	}
}

static void test_search_against_permutations(void **state)
{
	(void)state;
	struct prng prng;
	struct history_operation operations[SMALL_MAX];
	unsigned good = 0, bad = 0;
	prng_seed(&prng, 21);
	for (unsigned i = 0; i < 60000; i++) {
		unsigned count = random_history(&prng, true, operations);
		bool bent = prng_chance(&prng, 800000);
		if (bent)
			bend(&prng, operations, count);
		bool wanted = linearizable(operations, count, false);
		assert_true(wanted || bent);
		enum history_verdict verdict = history_check_search(operations, count, 1000000, &search_report);
		assert_int_equal(verdict, wanted ? HISTORY_LINEARIZABLE : HISTORY_VIOLATION);
		good += wanted;
		bad += !wanted;
	}
	assert_true(good > 5000);
	if (bad <= 3000)
		fail_msg("%u good, %u bad", good, bad);
}

static void test_versions_against_permutations(void **state)
{
	(void)state;
	struct prng prng;
	struct history_operation operations[SMALL_MAX];
	unsigned good = 0, bad = 0;
	prng_seed(&prng, 22);
	for (unsigned i = 0; i < 60000; i++) {
		unsigned count = random_history(&prng, false, operations);
		bool bent = prng_chance(&prng, 800000);
		if (bent)
			bend(&prng, operations, count);
		bool wanted = linearizable(operations, count, true);
		assert_true(wanted || bent);
		enum history_verdict verdict = history_check_versions(operations, count, &version_report);
		assert_int_equal(verdict, wanted ? HISTORY_LINEARIZABLE : HISTORY_VIOLATION);
		good += wanted;
		bad += !wanted;
	}
	assert_true(good > 5000);
	if (bad <= 3000)
		fail_msg("%u good, %u bad", good, bad);
}

/* With unknown outcomes the versions say less: what truly happened is never called wrong. */
static void test_versions_with_unknown_outcomes(void **state)
{
	(void)state;
	struct prng prng;
	struct history_operation operations[SMALL_MAX];
	prng_seed(&prng, 23);
	for (unsigned i = 0; i < 60000; i++) {
		unsigned count = random_history(&prng, true, operations);
		if (history_check_versions(operations, count, &version_report) != HISTORY_LINEARIZABLE)
			fail_msg("history %u: operation %zu: %s", i, version_report.operation, version_report.why);
		bend(&prng, operations, count);
		bool complained = history_check_versions(operations, count, &version_report) == HISTORY_VIOLATION;
		if (complained && version_report.why[0] == 0)
			fail();
	}
}

/* Long histories of eight clients at a key: both checkers in a blink, and each finds the one read that is bent. */
static void test_long_histories(void **state)
{
	(void)state;
	enum { LENGTH = 4000 };
	static struct history_operation operations[LENGTH];
	struct prng prng;
	prng_seed(&prng, 24);
	uint64_t free_at[HISTORY_CLIENTS_MAX] = { 0 }, now = 100, value = 0, version = 0;
	for (unsigned i = 0; i < LENGTH; i++) {
		uint32_t client = i % HISTORY_CLIENTS_MAX;
		now += 1 + prng_below(&prng, 5);
		uint64_t from = free_at[client] + 1 > now - 30 ? free_at[client] + 1 : now - prng_below(&prng, 30);
		now = now < from ? from : now;
		free_at[client] = now + prng_below(&prng, 10);
		operations[i] = (struct history_operation){ .key = 1,
			.client = client,
			.outcome = HISTORY_DONE,
			.kind = prng_chance(&prng, 500000) ? HISTORY_READ : HISTORY_WRITE,
			.invoked = from,
			.returned = free_at[client] };
		if (operations[i].kind == HISTORY_WRITE) {
			value = operations[i].value = i + 1;
			version++;
		}
		operations[i].seen = operations[i].kind == HISTORY_READ ? value : 0;
		operations[i].version = version;
	}
	check_both(operations, LENGTH, HISTORY_LINEARIZABLE);
	unsigned at = LENGTH - 1;
	while (operations[at].kind != HISTORY_READ)
		at--;
	for (unsigned i = 0; i < LENGTH / 2; i++) {
		if (operations[i].kind != HISTORY_WRITE)
			continue;
		operations[at].seen = operations[i].value;
		operations[at].version = operations[i].version;
	}
	check_both(operations, LENGTH, HISTORY_VIOLATION);
	assert_int_equal(version_report.operation, at);
	assert_int_equal(search_report.operation, at);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_histories),
		cmocka_unit_test(test_unknown_outcomes),
		cmocka_unit_test(test_bad_histories),
		cmocka_unit_test(test_versions_against_time),
		cmocka_unit_test(test_keys_stand_alone),
		cmocka_unit_test(test_search_gives_up),
		cmocka_unit_test(test_search_against_permutations),
		cmocka_unit_test(test_versions_against_permutations),
		cmocka_unit_test(test_versions_with_unknown_outcomes),
		cmocka_unit_test(test_long_histories),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
