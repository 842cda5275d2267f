/* base/prng.c: see base/prng.h. */
#include "base/prng.h"

#include <assert.h>

static uint64_t rotate(uint64_t x, unsigned bits)
{
	return (x << bits) | (x >> (64 - bits));
}

static uint64_t splitmix(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

void prng_seed(struct prng *prng, uint64_t seed)
{
	for (unsigned i = 0; i < 4; i++)
		prng->s[i] = splitmix(&seed);
	/* splitmix is a bijection of a counter: four outputs in a row cannot all be zero */
	assert(prng->s[0] | prng->s[1] | prng->s[2] | prng->s[3]);
}

uint64_t prng_next(struct prng *prng)
{
	uint64_t *s = prng->s;
	const uint64_t result = rotate(s[1] * 5, 7) * 9;
	const uint64_t t = s[1] << 17;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate(s[3], 45);
	return result;
}

/* Rejects the first 2^64 mod n values, so that every remainder has as many left. */
uint64_t prng_below(struct prng *prng, uint64_t n)
{
	assert(n > 0);
	const uint64_t reject_below = (0 - n) % n;
	uint64_t value = prng_next(prng);
	while (value < reject_below)
		value = prng_next(prng);
	return value % n;
}

bool prng_chance(struct prng *prng, uint32_t per_million)
{
	return prng_below(prng, 1000000) < per_million;
}

double prng_double(struct prng *prng)
{
	return (double)(prng_next(prng) >> 11) * 0x1.0p-53;
}

struct prng prng_fork(const struct prng *prng, uint64_t label)
{
	uint64_t seed = label;
	for (unsigned i = 0; i < 4; i++) {
		seed ^= prng->s[i];
		seed = splitmix(&seed);
	}
	struct prng fork;
	prng_seed(&fork, seed);
	return fork;
}
