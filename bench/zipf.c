/* bench/zipf.c: see bench/zipf.h. */
#include "bench/zipf.h"

#include <assert.h>
#include <math.h>

#include "base/hash.h"

enum { SUMMED_MAX = 1000000 };

/* Beyond the first million terms the sum is its integral, corrected at both ends: the error is below 1e-12. */
static double zeta_of(uint64_t count)
{
	uint64_t summed = count < SUMMED_MAX ? count : SUMMED_MAX;
	double sum = 0, one = 1 - ZIPF_CONSTANT;

	for (uint64_t i = summed; i > 0; i--)
		sum += pow((double)i, -ZIPF_CONSTANT);
	if (count > summed)
		sum += (pow((double)count, one) - pow((double)summed, one)) / one +
		       (pow((double)count, -ZIPF_CONSTANT) - pow((double)summed, -ZIPF_CONSTANT)) / 2;
	return sum;
}

static void set_eta(struct zipf *zipf)
{
	double zeta2 = 1 + pow(0.5, ZIPF_CONSTANT);

	zipf->eta = (1 - pow(2.0 / (double)zipf->count, 1 - ZIPF_CONSTANT)) / (1 - zeta2 / zipf->zeta);
}

void zipf_init(struct zipf *zipf, uint64_t count)
{
	assert(count > 0);
	zipf->count = count;
	zipf->zeta = zeta_of(count);
	set_eta(zipf);
}

void zipf_grow(struct zipf *zipf, uint64_t count)
{
	assert(count >= zipf->count);
	if (count == zipf->count)
		return;
	for (uint64_t i = zipf->count + 1; i <= count; i++)
		zipf->zeta += pow((double)i, -ZIPF_CONSTANT);
	zipf->count = count;
	set_eta(zipf);
}

uint64_t zipf_next(const struct zipf *zipf, struct prng *prng)
{
	double u = prng_double(prng), scaled = u * zipf->zeta;
	uint64_t rank;

	if (scaled < 1 || zipf->count == 1)
		return 0;
	if (scaled < 1 + pow(0.5, ZIPF_CONSTANT) || zipf->count == 2)
		return 1;
	rank = (uint64_t)((double)zipf->count * pow(zipf->eta * u - zipf->eta + 1, 1 / (1 - ZIPF_CONSTANT)));
	return rank < zipf->count ? rank : zipf->count - 1;
}

uint64_t zipf_scrambled(const struct zipf *wide, uint64_t count, struct prng *prng)
{
	uint64_t rank = zipf_next(wide, prng);

	assert(wide->count == ZIPF_WIDE);
	return hash64(bytes_of(&rank, sizeof(rank))) % count;
}
