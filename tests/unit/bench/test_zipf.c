/* The ranks against Zipf's law itself: the sum of the series, the share of the first ranks, growth. */
#include "bench/zipf.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { DRAWS = 1000000 };

static double share_of(uint64_t rank, const struct zipf *zipf)
{
	return pow((double)(rank + 1), -ZIPF_CONSTANT) / zipf->zeta;
}

static void test_the_sum_is_the_series(void **state)
{
	double sum = 0;
	struct zipf zipf;

	(void)state;
	for (uint64_t i = 1; i <= 3 * SUMMED_MAX; i++)
		sum += pow((double)i, -ZIPF_CONSTANT);
	zipf_init(&zipf, 3 * SUMMED_MAX);
	assert_true(fabs(zipf.zeta - sum) < 1e-8);
	zipf_init(&zipf, ZIPF_WIDE);
	assert_true(fabs(zipf.zeta - 26.46902820178302) < 1e-8); /* as YCSB has it */
}

/* Each of the first ranks, and the mass of the first hundredth, within five standard deviations or the method's own
 * error (it interpolates beyond the second rank). */
static void test_ranks_follow_the_law(void **state)
{
	enum { COUNT = 100000 };
	static uint64_t drawn[COUNT];
	struct prng prng;
	struct zipf zipf;
	double head = 0, head_share = 0;

	(void)state;
	prng_seed(&prng, 3);
	zipf_init(&zipf, COUNT);
	for (unsigned i = 0; i < DRAWS; i++) {
		uint64_t rank = zipf_next(&zipf, &prng);

		assert_true(rank < COUNT);
		drawn[rank]++;
	}
	for (uint64_t rank = 0; rank < 2; rank++) {
		double share = share_of(rank, &zipf), got = (double)drawn[rank] / DRAWS;

		assert_true(fabs(got - share) < 5 * sqrt(share / DRAWS));
	}
	for (uint64_t rank = 0; rank < COUNT / 100; rank++) {
		head += (double)drawn[rank] / DRAWS;
		head_share += share_of(rank, &zipf);
	}
	assert_true(fabs(head - head_share) < 0.01);
}

static void test_growing_is_like_beginning_larger(void **state)
{
	struct zipf grown, whole;

	(void)state;
	zipf_init(&grown, 10);
	for (uint64_t count = 10; count <= 5000; count += 7)
		zipf_grow(&grown, count);
	zipf_init(&whole, grown.count);
	assert_true(fabs(grown.zeta - whole.zeta) < 1e-9);
	assert_true(fabs(grown.eta - whole.eta) < 1e-9);
}

/* The most popular of 10^10 ranks has about 1/26.5 of all draws, wherever the hash puts it. */
static void test_scrambled_spreads_and_keeps_its_peak(void **state)
{
	enum { COUNT = 1000 };
	static uint64_t drawn[COUNT];
	struct prng prng;
	struct zipf wide;
	uint64_t most = 0, never = 0;

	(void)state;
	prng_seed(&prng, 5);
	zipf_init(&wide, ZIPF_WIDE);
	for (unsigned i = 0; i < DRAWS; i++)
		drawn[zipf_scrambled(&wide, COUNT, &prng)]++;
	for (unsigned i = 0; i < COUNT; i++) {
		most = drawn[i] > most ? drawn[i] : most;
		never += drawn[i] == 0;
	}
	assert_true(most > DRAWS / 30);
	assert_true(most < DRAWS / 20);
	assert_int_equal(never, 0);
}

static void test_few_ranks(void **state)
{
	struct prng prng;
	struct zipf zipf;

	(void)state;
	prng_seed(&prng, 9);
	for (uint64_t count = 1; count <= 3; count++) {
		zipf_init(&zipf, count);
		for (unsigned i = 0; i < 1000; i++)
			assert_true(zipf_next(&zipf, &prng) < count);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_sum_is_the_series),
		cmocka_unit_test(test_ranks_follow_the_law),
		cmocka_unit_test(test_growing_is_like_beginning_larger),
		cmocka_unit_test(test_scrambled_spreads_and_keeps_its_peak),
		cmocka_unit_test(test_few_ranks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
