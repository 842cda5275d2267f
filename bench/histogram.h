/* bench/histogram.h: latencies in microseconds in the layout of HdrHistogram with three significant digits: values
 * below 2048 exactly, above that 1024 buckets per power of two, so that the relative error is below 0.1 %. The same
 * array of counts is what bench/hlog.c encodes. Pure, fixed size, no allocation; one thread. */
#ifndef DOMICILE_BENCH_HISTOGRAM_H
#define DOMICILE_BENCH_HISTOGRAM_H

#include <stdint.h>

enum {
	HISTOGRAM_DIGITS = 3,
	HISTOGRAM_HALF_BITS = 10,
	HISTOGRAM_HALF = 1 << HISTOGRAM_HALF_BITS, /* at least 10 to the digits */
	HISTOGRAM_SUB = 2 * HISTOGRAM_HALF,	   /* buckets of the first power; what follows adds HALF each */
	HISTOGRAM_POWERS = 22,			   /* of two, up to HISTOGRAM_US_MAX */
	HISTOGRAM_BUCKETS = (HISTOGRAM_POWERS + 1) * HISTOGRAM_HALF,
};
#define HISTOGRAM_US_MAX UINT64_C(3600000000) /* an hour; above it counts as this */

struct histogram {
	uint64_t count, sum_us, max_us, min_us;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_init(struct histogram *histogram);
void histogram_add(struct histogram *histogram, uint64_t us);
uint64_t histogram_low(unsigned bucket); /* the least value that it counts */
void histogram_merge(struct histogram *into, const struct histogram *from);
/* fraction 0..1; the highest value equivalent to the bucket; 0 when empty. */
uint64_t histogram_quantile(const struct histogram *histogram, double fraction);
double histogram_mean(const struct histogram *histogram);

#endif
