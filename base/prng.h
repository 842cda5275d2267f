/* base/prng.h: numbers that follow from a seed: xoshiro256** seeded by splitmix64 (Blackman and Vigna). For
 * simulation, timeouts and load generators; never for secrets (base/random.h). Pure. */
#ifndef DOMICILE_BASE_PRNG_H
#define DOMICILE_BASE_PRNG_H

#include <stdbool.h>
#include <stdint.h>

struct prng {
	uint64_t s[4]; /* never all zero */
};

void prng_seed(struct prng *prng, uint64_t seed);
uint64_t prng_next(struct prng *prng);
uint64_t prng_below(struct prng *prng, uint64_t n); /* 0..n-1, unbiased; n > 0 */
bool prng_chance(struct prng *prng, uint32_t per_million);
double prng_double(struct prng *prng); /* 0 <= x < 1, 53 bits */
/* An independent stream, a function of the parent's state and the label; the parent does not advance. */
struct prng prng_fork(const struct prng *prng, uint64_t label);

#endif
