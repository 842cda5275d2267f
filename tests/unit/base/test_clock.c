/* tests/unit/base/test_clock.c: the clocks read what they are named after, and random bytes are not constant. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/random.h"

/* In the C library's place: which clock was asked last. */
static clockid_t asked;
int clock_gettime(clockid_t id, struct timespec *at)
{
	asked = id;
	return (int)syscall(SYS_clock_gettime, id, at);
}

/* CLOCK_MONOTONIC, which runs just like it, stands still while a machine sleeps: leases would outlive a suspend. */
static void test_boot_time_counts_sleep(void **state)
{
	(void)state;
	asked = CLOCK_REALTIME;
	assert_true(clock_boot_ns() > 0);
	assert_int_equal(asked, CLOCK_BOOTTIME);
}

static void test_boot_never_goes_back(void **state)
{
	(void)state;
	struct timespec before, after;
	assert_int_equal(clock_gettime(CLOCK_BOOTTIME, &before), 0);
	uint64_t last = (uint64_t)before.tv_sec * 1000000000 + (uint64_t)before.tv_nsec;
	for (unsigned i = 0; i < 100000; i++) {
		uint64_t now = clock_boot_ns();
		assert_true(now >= last);
		last = now;
	}
	assert_int_equal(clock_gettime(CLOCK_BOOTTIME, &after), 0);
	assert_true(last <= (uint64_t)after.tv_sec * 1000000000 + (uint64_t)after.tv_nsec);
}

static void test_wall_is_wall(void **state)
{
	(void)state;
	time_t before = time(NULL);
	uint64_t now = clock_wall_us();
	time_t after = time(NULL);
	/* time(2) may lag the precise clock by a tick, hence the second on either side */
	assert_in_range(now / 1000000, (uint64_t)before - 1, (uint64_t)after + 1);
}

static void test_random(void **state)
{
	(void)state;
	uint8_t a[4096], b[4096], untouched[3] = { 1, 2, 3 };
	memset(a, 0, sizeof(a));
	memset(b, 0, sizeof(b));
	assert_int_equal(random_bytes(a, sizeof(a)), STATUS_OK);
	assert_int_equal(random_bytes(b, sizeof(b)), STATUS_OK);
	assert_memory_not_equal(a, b, sizeof(a));
	unsigned ones = 0;
	for (size_t i = 0; i < sizeof(a); i++)
		ones += (unsigned)__builtin_popcount(a[i]);
	assert_in_range(ones, 15500, 17268); /* 16384 expected, nine deviations wide */
	assert_int_equal(random_bytes(untouched, 0), STATUS_OK);
	assert_int_equal(untouched[0], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_boot_time_counts_sleep),
		cmocka_unit_test(test_boot_never_goes_back),
		cmocka_unit_test(test_wall_is_wall),
		cmocka_unit_test(test_random),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
