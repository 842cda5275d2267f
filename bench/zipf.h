/* bench/zipf.h: ranks by Zipf's law with YCSB's constant, 0.99: the first is the most popular. The method is that of
 * Gray et al., "Quickly Generating Billion-Record Synthetic Databases" (1994). Pure. */
#ifndef DOMICILE_BENCH_ZIPF_H
#define DOMICILE_BENCH_ZIPF_H

#include <stdint.h>

#include "base/prng.h"

#define ZIPF_CONSTANT 0.99

struct zipf {
	uint64_t count; /* of ranks */
	double zeta;	/* sum of 1 / i^0.99 over all ranks */
	double eta;
};

void zipf_init(struct zipf *zipf, uint64_t count); /* count > 0 */
void zipf_grow(struct zipf *zipf, uint64_t count); /* not below what it was */
uint64_t zipf_next(const struct zipf *zipf, struct prng *prng);

/* YCSB's scrambled choice: a rank among 10^10, spread over `count` items by a hash, so that the popular ones lie
 * anywhere. `wide` has ZIPF_WIDE ranks. */
#define ZIPF_WIDE UINT64_C(10000000000)
uint64_t zipf_scrambled(const struct zipf *wide, uint64_t count, struct prng *prng);

#endif
