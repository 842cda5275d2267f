/* The histogram against sorted samples: every quantile within 0.1 %, rising, bounded by the maximum. */
#include "bench/histogram.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/prng.h"

static int compare(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

static void test_buckets_hold_their_values(void **state)
{
	(void)state;
	for (uint64_t us = 0; us < 1 << 22; us++) {
		unsigned bucket = bucket_of(us);

		assert_true(bucket_high(bucket) >= us);
		assert_true(bucket_high(bucket) - us <= us / 1024);
		assert_true(us == 0 || bucket_of(us - 1) <= bucket);
	}
}

static void test_quantiles_are_those_of_the_samples(void **state)
{
	enum { SAMPLES = 20000 };
	static struct histogram histogram;
	static uint64_t samples[SAMPLES];
	struct prng prng;

	(void)state;
	prng_seed(&prng, 7);
	histogram_init(&histogram);
	for (unsigned i = 0; i < SAMPLES; i++) {
		samples[i] = prng_below(&prng, UINT64_C(1) << (1 + prng_below(&prng, 30)));
		histogram_add(&histogram, samples[i]);
	}
	qsort(samples, SAMPLES, sizeof(samples[0]), compare);
	for (unsigned permille = 1; permille <= 1000; permille++) {
		uint64_t exact = samples[(size_t)SAMPLES * permille / 1000 - 1],
			 got = histogram_quantile(&histogram, permille / 1000.0);

		assert_true(got >= exact);
		assert_true(got - exact <= exact / 1024);
	}
	assert_int_equal(histogram_quantile(&histogram, 1), samples[SAMPLES - 1]);
}

static void test_what_is_too_long_counts_as_an_hour(void **state)
{
	static struct histogram histogram;

	(void)state;
	histogram_init(&histogram);
	histogram_add(&histogram, UINT64_MAX);
	assert_int_equal(histogram.max_us, HISTOGRAM_US_MAX);
	assert_int_equal(histogram_quantile(&histogram, 0.5), HISTOGRAM_US_MAX);
}

static void test_nothing_is_zero(void **state)
{
	static struct histogram histogram;

	(void)state;
	histogram_init(&histogram);
	assert_int_equal(histogram_quantile(&histogram, 0.99), 0);
	assert_true(histogram_mean(&histogram) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buckets_hold_their_values),
		cmocka_unit_test(test_quantiles_are_those_of_the_samples),
		cmocka_unit_test(test_what_is_too_long_counts_as_an_hour),
		cmocka_unit_test(test_nothing_is_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
