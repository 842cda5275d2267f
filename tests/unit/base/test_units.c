/* tests/unit/base/test_units.c: what is accepted, what is refused, and that what is printed reads back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/prng.h"
#include "base/units.h"

#define MANY(rows) (sizeof(rows) / sizeof((rows)[0]))

struct row {
	const char *text;
	uint64_t value;
};

static void test_numbers(void **state)
{
	(void)state;
	static const struct row good[] = { { "0", 0 }, { "007", 7 }, { "18446744073709551615", UINT64_MAX } };
	static const char *const bad[] = { "", " 1", "1 ", "+1", "-1", "0x10", "1.0", "1e3", "18446744073709551616",
		"99999999999999999999", "a", "1_000" };
	uint64_t value = 0;
	for (size_t i = 0; i < MANY(good); i++) {
		assert_true(parse_u64(good[i].text, &value));
		assert_int_equal(value, good[i].value);
	}
	value = 77;
	for (size_t i = 0; i < MANY(bad); i++) {
		assert_false(parse_u64(bad[i], &value));
		assert_int_equal(value, 77);
	}
}

static void test_sizes(void **state)
{
	(void)state;
	static const struct row good[] = {
		{ "0", 0 },
		{ "4096", 4096 },
		{ "7B", 7 },
		{ "64KiB", 65536 },
		{ "64MiB", 67108864 },
		{ "2GiB", UINT64_C(2) << 30 },
		{ "3TiB", UINT64_C(3) << 40 },
		{ "5KB", 5000 },
		{ "5kB", 5000 },
		{ "5MB", 5000000 },
		{ "5GB", UINT64_C(5000000000) },
		{ "1TB", UINT64_C(1000000000000) },
		{ "16777215TiB", UINT64_C(16777215) << 40 },
	};
	static const char *const bad[] = { "", "MiB", "64mib", "64 MiB", "64MiB ", "1.5GiB", "-1B", "64M", "64K",
		"16777216TiB", "18446744073709551616B", "64MiBB", "64s" };
	uint64_t value = 0;
	for (size_t i = 0; i < MANY(good); i++) {
		assert_true(parse_size(good[i].text, &value));
		assert_int_equal(value, good[i].value);
	}
	value = 77;
	for (size_t i = 0; i < MANY(bad); i++) {
		assert_false(parse_size(bad[i], &value));
		assert_int_equal(value, 77);
	}
}

static void test_durations(void **state)
{
	(void)state;
	static const struct row good[] = {
		{ "0", 0 },
		{ "0s", 0 },
		{ "10us", 10 },
		{ "250ms", 250000 },
		{ "30s", 30000000 },
		{ "5m", 300000000 },
		{ "24h", UINT64_C(86400000000) },
		{ "2d", UINT64_C(172800000000) },
	};
	/* a bare number has no unit to be right about */
	static const char *const bad[] = { "", "30", "00", "s", "1.5s", "30 s", "30S", "-1s", "1h30m", "30sec",
		"99999999999999d", "18446744073709551616us", "64B" };
	uint64_t value = 0;
	for (size_t i = 0; i < MANY(good); i++) {
		assert_true(parse_duration_us(good[i].text, &value));
		assert_int_equal(value, good[i].value);
	}
	value = 77;
	for (size_t i = 0; i < MANY(bad); i++) {
		assert_false(parse_duration_us(bad[i], &value));
		assert_int_equal(value, 77);
	}
}

static void test_formats(void **state)
{
	(void)state;
	char out[UNITS_TEXT_MAX];
	assert_string_equal(format_size(out, sizeof(out), 0), "0B");
	assert_string_equal(format_size(out, sizeof(out), 1000), "1000B");
	assert_string_equal(format_size(out, sizeof(out), 65536), "64KiB");
	assert_string_equal(format_size(out, sizeof(out), 256 << 20), "256MiB");
	assert_string_equal(format_duration(out, sizeof(out), 0), "0s");
	assert_string_equal(format_duration(out, sizeof(out), 250000), "250ms");
	assert_string_equal(format_duration(out, sizeof(out), 90000000), "90s");
	assert_string_equal(format_duration(out, sizeof(out), UINT64_C(86400000000)), "1d");
	assert_string_equal(format_duration(out, 3, 250000), "25");
}

static void test_formats_read_back(void **state)
{
	(void)state;
	struct prng prng;
	prng_seed(&prng, 31);
	for (unsigned round = 0; round < 5000; round++) {
		uint64_t value = round == 0 ? UINT64_MAX : prng_next(&prng) >> prng_below(&prng, 64);
		if (round % 2 && value < UINT64_MAX / 86400000000)
			value *= prng_chance(&prng, 500000) ? 86400000000 : 1 << 20;
		char out[UNITS_TEXT_MAX];
		uint64_t back = 0;
		assert_true(parse_size(format_size(out, sizeof(out), value), &back));
		assert_int_equal(back, value);
		assert_true(parse_duration_us(format_duration(out, sizeof(out), value), &back));
		assert_int_equal(back, value);
	}
}

static void days_are_whole_and_turn_negative_at_the_end(void **state)
{
	(void)state;
	assert_int_equal(days_until(1000 + 86400, 1000), 1);
	assert_int_equal(days_until(1000 + 86399, 1000), 0);
	assert_int_equal(days_until(1000, 1000), 0);
	assert_int_equal(days_until(999, 1000), -1);
	assert_int_equal(days_until(1000, 1000 + 86401), -2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_formats),
		cmocka_unit_test(test_formats_read_back),
		cmocka_unit_test(days_are_whole_and_turn_negative_at_the_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
