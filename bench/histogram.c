#include "bench/histogram.h"

#include <assert.h>
#include <string.h>

void histogram_init(struct histogram *histogram)
{
	memset(histogram, 0, sizeof(*histogram));
	histogram->min_us = UINT64_MAX;
}

static unsigned bucket_of(uint64_t us)
{
	unsigned top, shift;

	if (us < HISTOGRAM_SUB)
		return (unsigned)us;
	top = 63 - (unsigned)__builtin_clzll(us);
	shift = top - 6; /* keeps 7 bits: 64..127 */
	return (shift + 1) * (HISTOGRAM_SUB / 2) + (unsigned)(us >> shift);
}

static uint64_t bucket_high(unsigned bucket)
{
	unsigned shift;

	if (bucket < HISTOGRAM_SUB)
		return bucket;
	shift = bucket / (HISTOGRAM_SUB / 2) - 2;
	return ((uint64_t)(bucket - (shift + 1) * (HISTOGRAM_SUB / 2) + 1) << shift) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t us)
{
	unsigned bucket = bucket_of(us);

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
