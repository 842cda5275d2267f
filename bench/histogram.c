/* bench/histogram.c: see bench/histogram.h. */
#include "bench/histogram.h"

#include <assert.h>
#include <string.h>

void histogram_init(struct histogram *histogram)
{
	memset(histogram, 0, sizeof(*histogram));
	histogram->min_us = UINT64_MAX;
}

/* The power of two above 2048 that the value needs, and its top 11 bits within it. */
static unsigned bucket_of(uint64_t us)
{
	unsigned power = 63 - (unsigned)__builtin_clzll(us | (HISTOGRAM_SUB - 1)) - HISTOGRAM_HALF_BITS;

	return power * HISTOGRAM_HALF + (unsigned)(us >> power);
}

static uint64_t bucket_high(unsigned bucket)
{
	unsigned power = bucket < HISTOGRAM_SUB ? 0 : bucket / HISTOGRAM_HALF - 1;

	return ((uint64_t)(bucket - power * HISTOGRAM_HALF + 1) << power) - 1;
}

uint64_t histogram_low(unsigned bucket)
{
	assert(bucket < HISTOGRAM_BUCKETS);
	return bucket == 0 ? 0 : bucket_high(bucket - 1) + 1;
}

void histogram_add(struct histogram *histogram, uint64_t us)
{
	unsigned bucket;

	if (us > HISTOGRAM_US_MAX)
		us = HISTOGRAM_US_MAX;
	bucket = bucket_of(us);
	assert(bucket < HISTOGRAM_BUCKETS);
	histogram->buckets[bucket]++;
	histogram->count++;
	histogram->sum_us += us;
	if (us > histogram->max_us)
		histogram->max_us = us;
	if (us < histogram->min_us)
		histogram->min_us = us;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		into->buckets[i] += from->buckets[i];
	into->count += from->count;
	into->sum_us += from->sum_us;
	if (from->max_us > into->max_us)
		into->max_us = from->max_us;
	if (from->min_us < into->min_us)
		into->min_us = from->min_us;
}

uint64_t histogram_quantile(const struct histogram *histogram, double fraction)
{
	uint64_t wanted = (uint64_t)((double)histogram->count * fraction + 0.5), seen = 0;

	assert(fraction >= 0);
	assert(fraction <= 1);
	if (histogram->count == 0)
		return 0;
	if (wanted == 0)
		wanted = 1;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += histogram->buckets[i];
		if (seen >= wanted) {
			uint64_t high = bucket_high(i);

			return high > histogram->max_us ? histogram->max_us : high;
		}
	}
	return histogram->max_us;
}

double histogram_mean(const struct histogram *histogram)
{
	return histogram->count == 0 ? 0 : (double)histogram->sum_us / (double)histogram->count;
}
