/* tests/unit/base/test_prng.c: the published streams, and that the helpers are fair and repeat. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/prng.h"

/* From a state of 1, 2, 3, 4: the first numbers of the reference xoshiro256**. */
static void test_xoshiro_vectors(void **state)
{
	(void)state;
	static const uint64_t expected[] = {
		11520,
		0,
		1509978240,
		1215971899390074240,
		1216172134540287360,
		607988272756665600,
	};
	struct prng prng = { .s = { 1, 2, 3, 4 } };
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		assert_int_equal(prng_next(&prng), expected[i]);
}

/* The first numbers of splitmix64 from seed 1234567 become the state. */
static void test_splitmix_vectors(void **state)
{
	(void)state;
	struct prng prng;
	prng_seed(&prng, 1234567);
	assert_int_equal(prng.s[0], UINT64_C(6457827717110365317));
	assert_int_equal(prng.s[1], UINT64_C(3203168211198807973));
	assert_int_equal(prng.s[2], UINT64_C(9817491932198370423));
	assert_int_equal(prng.s[3], UINT64_C(4593380528125082431));
}

static void test_below_is_fair(void **state)
{
	(void)state;
	struct prng prng;
	prng_seed(&prng, 3);
	enum { SIDES = 7, THROWS = 70000 };
	unsigned seen[SIDES] = { 0 };
	for (unsigned i = 0; i < THROWS; i++)
		seen[prng_below(&prng, SIDES)]++;
	/* chi squared over six degrees of freedom stays below 30 but once in 25,000 */
	double chi = 0;
	for (unsigned i = 0; i < SIDES; i++) {
		double off = (double)seen[i] - (double)THROWS / SIDES;
		chi += off * off / ((double)THROWS / SIDES);
	}
	assert_true(chi < 30);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(prng_below(&prng, 1), 0);
	/* three quarters of the range: plain remainders would hit the lowest third twice as often */
	unsigned low = 0;
	for (unsigned i = 0; i < 30000; i++)
		low += prng_below(&prng, UINT64_C(3) << 62) < UINT64_C(1) << 62;
	assert_in_range(low, 9500, 10500);
}

static void test_chance_and_double(void **state)
{
	(void)state;
	struct prng prng;
	prng_seed(&prng, 4);
	unsigned hits = 0;
	double sum = 0;
	for (unsigned i = 0; i < 100000; i++) {
		hits += prng_chance(&prng, 250000);
		double x = prng_double(&prng);
		assert_true(x >= 0);
		assert_true(x < 1);
		sum += x;
		assert_false(prng_chance(&prng, 0));
		assert_true(prng_chance(&prng, 1000000));
	}
	assert_in_range(hits, 24400, 25600);
	assert_in_range((unsigned)sum, 49400, 50600);
}

static void test_forks_are_streams_of_their_own(void **state)
{
	(void)state;
	struct prng parent, copy;
	prng_seed(&parent, 5);
	copy = parent;
	struct prng a = prng_fork(&parent, 1), again = prng_fork(&parent, 1), b = prng_fork(&parent, 2);
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t from_a = prng_next(&a), from_parent = prng_next(&parent);
		assert_int_equal(from_a, prng_next(&again));
		assert_int_equal(from_parent, prng_next(&copy)); /* forking did not advance the parent */
		assert_true(from_a != prng_next(&b));
		assert_true(from_a != from_parent);
	}
	/* every part of the parent's state counts */
	for (unsigned i = 0; i < 4; i++) {
		struct prng other = parent;
		other.s[i] ^= 1;
		assert_true(prng_fork(&other, 1).s[0] != prng_fork(&parent, 1).s[0]);
	}
	struct prng later = prng_fork(&parent, 1);
	assert_true(later.s[0] != prng_fork(&parent, 2).s[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_xoshiro_vectors),
		cmocka_unit_test(test_splitmix_vectors),
		cmocka_unit_test(test_below_is_fair),
		cmocka_unit_test(test_chance_and_double),
		cmocka_unit_test(test_forks_are_streams_of_their_own),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
