/* tests/unit/replication/test_hlc.c: versions grow whatever the wall clock does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/prng.h"
#include "replication/hlc.h"

static void test_follows_the_wall_clock(void **state)
{
	(void)state;
	uint64_t version = hlc_next(0, 1700000000000000);
	assert_int_equal(version, (uint64_t)1700000000000000 << HLC_COUNTER_BITS);
	assert_int_equal(hlc_wall_us(version), 1700000000000000);
	assert_int_equal(hlc_wall_us(hlc_next(version, 1700000000000001)), 1700000000000001);
}

static void test_counts_within_one_microsecond(void **state)
{
	(void)state;
	uint64_t version = hlc_next(0, 1000);
	for (uint64_t i = 1; i < 1 << HLC_COUNTER_BITS; i++) {
		version = hlc_next(version, 1000);
		assert_int_equal(version, ((uint64_t)1000 << HLC_COUNTER_BITS) + i);
		assert_int_equal(hlc_wall_us(version), 1000);
	}
	/* A full counter runs into the next microsecond, ahead of the clock. */
	version = hlc_next(version, 1000);
	assert_int_equal(hlc_wall_us(version), 1001);
}

static void test_grows_while_the_clock_jumps(void **state)
{
	(void)state;
	struct prng prng;
	prng_seed(&prng, 11);
	uint64_t version = 0, wall_us = 1700000000000000;
	for (unsigned i = 0; i < 100000; i++) {
		uint64_t step = prng_below(&prng, 5000000);
		wall_us = prng_chance(&prng, 500000) ? wall_us + step : wall_us - step;
		uint64_t next = hlc_next(version, wall_us);
		assert_true(next > version);
		assert_true(hlc_wall_us(next) >= wall_us);
		if (wall_us > hlc_wall_us(version))
			assert_int_equal(hlc_wall_us(next), wall_us);
		version = next;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_follows_the_wall_clock),
		cmocka_unit_test(test_counts_within_one_microsecond),
		cmocka_unit_test(test_grows_while_the_clock_jumps),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
