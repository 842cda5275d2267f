/* base/hash.h: the hashes. XXH3-64 places keys and names them in logs; SipHash-2-4 with 128 bits of output stands
 * for exact keys where an outsider must not be able to tell which key it is. Pure. Both are part of what is on
 * disk and on the wire: they never change. */
#ifndef DOMICILE_BASE_HASH_H
#define DOMICILE_BASE_HASH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

enum { HASH_SECRET_SIZE = 16 };

struct hash128 {
	uint64_t high, low; /* low: the first eight bytes of the published output, read little-endian */
};

uint64_t hash64(struct bytes bytes);
uint64_t hash64_seeded(struct bytes bytes, uint64_t seed);
uint64_t hash64_two(struct bytes head, struct bytes tail); /* of one after the other, as if they lay together */

/* Where a key lives in its policy's ring: of what lies between the first `{` and the next `}` if there is such a
 * pair and it is not empty, else of the whole key. Keys with the same tag share a shard. */
uint64_t hash_key(struct bytes key);

static inline bool hash_within(uint64_t hash, uint64_t first, uint64_t last) /* both inclusive */
{
	return hash >= first && hash <= last;
}

struct hash128 hash_keyed(struct bytes bytes, const uint8_t secret[HASH_SECRET_SIZE]);

static inline bool hash128_equal(struct hash128 a, struct hash128 b)
{
	return a.high == b.high && a.low == b.low;
}

#endif
