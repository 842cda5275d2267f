/* base/hash.c: XXH3 compiled in (XXH_INLINE_ALL), so that the object calls nothing outside, and SipHash from the
 * paper (Aumasson and Bernstein, "SipHash: a fast short-input PRF", with the 128-bit output of its reference). */
#include "base/hash.h"

#include <assert.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t hash64(struct bytes bytes)
{
	assert(bytes.data || bytes.size == 0);
	return XXH3_64bits(bytes.data, bytes.size);
}

uint64_t hash64_seeded(struct bytes bytes, uint64_t seed)
{
	assert(bytes.data || bytes.size == 0);
	return XXH3_64bits_withSeed(bytes.data, bytes.size, seed);
}

uint64_t hash64_two(struct bytes head, struct bytes tail)
{
	assert(head.data || head.size == 0);
	assert(tail.data || tail.size == 0);
	XXH3_state_t state;
	XXH3_64bits_reset(&state);
	XXH3_64bits_update(&state, head.data, head.size);
	XXH3_64bits_update(&state, tail.data, tail.size);
	return XXH3_64bits_digest(&state);
}

uint64_t hash_key(struct bytes key)
{
	const char *data = key.data;
	const char *open = key.size ? memchr(data, '{', key.size) : NULL;
	if (!open)
		return hash64(key);
	const char *tag = open + 1;
	size_t rest = key.size - (size_t)(tag - data);
	const char *close = rest ? memchr(tag, '}', rest) : NULL;
	if (!close || close == tag)
		return hash64(key);
	return hash64(bytes_of(tag, (size_t)(close - tag)));
}

static uint64_t rotate(uint64_t x, unsigned bits)
{
	return (x << bits) | (x >> (64 - bits));
}

static uint64_t load64(const uint8_t *at)
{
	uint64_t value = 0;
	for (unsigned i = 0; i < 8; i++)
		value |= (uint64_t)at[i] << (8 * i);
	return value;
}

static void sip_rounds(uint64_t v[4], unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] = rotate(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[2] = rotate(v[2], 32);
	}
}

static void sip_absorb(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	sip_rounds(v, 2);
	v[0] ^= word;
}

struct hash128 hash_keyed(struct bytes bytes, const uint8_t secret[HASH_SECRET_SIZE])
{
	assert(bytes.data || bytes.size == 0);
	const uint64_t k0 = load64(secret), k1 = load64(secret + 8);
	uint64_t v[4] = { k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d ^ 0xee, /* 0xee: 128 bits of output */
		k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573 };
	const uint8_t *at = bytes.data;
	size_t left = bytes.size;
	for (; left >= 8; at += 8, left -= 8)
		sip_absorb(v, load64(at));
	uint64_t last = (uint64_t)bytes.size << 56; /* its low byte on top, the tail below */
	for (size_t i = 0; i < left; i++)
		last |= (uint64_t)at[i] << (8 * i);
	sip_absorb(v, last);

	struct hash128 hash;
	v[2] ^= 0xee;
	sip_rounds(v, 4);
	hash.low = v[0] ^ v[1] ^ v[2] ^ v[3];
	v[1] ^= 0xdd;
	sip_rounds(v, 4);
	hash.high = v[0] ^ v[1] ^ v[2] ^ v[3];
	return hash;
}
