/* base/clock.c: see base/clock.h. */
#include "base/clock.h"

#include <assert.h>
#include <time.h>

uint64_t clock_boot_ns(void)
{
	struct timespec now;
	int failed = clock_gettime(CLOCK_BOOTTIME, &now);
	assert(!failed); /* Linux has had this clock since 2.6.39 */
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* A clock set before 1970 reads as 0. */
uint64_t clock_wall_us(void)
{
	struct timespec now;
	int failed = clock_gettime(CLOCK_REALTIME, &now);
	assert(!failed);
	return now.tv_sec < 0 ? 0 : (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}
