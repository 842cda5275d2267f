/* bench/histogram.h: latencies in microseconds with a relative error below 1 %: buckets of 128 per power of two, after
 * the layout of HdrHistogram. Pure, fixed size, no allocation; one thread. */
#ifndef DOMICILE_BENCH_HISTOGRAM_H
#define DOMICILE_BENCH_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_SUB = 128, HISTOGRAM_BUCKETS = 64 * HISTOGRAM_SUB };

struct histogram {
	uint64_t count, sum_us, max_us, min_us;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_init(struct histogram *histogram);
void histogram_add(struct histogram *histogram, uint64_t us);
void histogram_merge(struct histogram *into, const struct histogram *from);
/* fraction 0..1; the highest value equivalent to the bucket; 0 when empty. */
uint64_t histogram_quantile(const struct histogram *histogram, double fraction);
double histogram_mean(const struct histogram *histogram);

#endif
