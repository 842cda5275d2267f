/* base/sha256.c: see base/sha256.h. By the letter of FIPS 180-4; the ledger hashes a few records a minute, so it is
 * short rather than fast. */
#include "base/sha256.h"

#include <assert.h>

/* The first 32 bits of the fractional parts of the cube roots of the first 64 primes (4.2.2). */
static const uint32_t constants[64] = { 0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
	0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7,
	0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
	0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
	0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c,
	0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
	0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2 };

static uint32_t rotate(uint32_t word, unsigned by)
{
	return word >> by | word << (32 - by);
}

static uint32_t load(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* 6.2.2, for one block. */
static void compress(uint32_t state[8], const uint8_t *block)
{
	uint32_t schedule[64], v[8];
	for (unsigned t = 0; t < 16; t++)
		schedule[t] = load(block + 4 * t);
	for (unsigned t = 16; t < 64; t++) {
		uint32_t a = schedule[t - 15], b = schedule[t - 2];
		schedule[t] = schedule[t - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + schedule[t - 7] +
			      (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
	}
	memcpy(v, state, sizeof(v));
	for (unsigned t = 0; t < 64; t++) {
		uint32_t a = v[0], e = v[4];
		uint32_t one = v[7] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & v[5]) ^ (~e & v[6])) +
			       constants[t] + schedule[t];
		uint32_t two =
			(rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
		memmove(v + 1, v, 7 * sizeof(v[0]));
		v[4] += one;
		v[0] = one + two;
	}
	for (unsigned i = 0; i < 8; i++)
		state[i] += v[i];
}

void sha256_init(struct sha256 *sha256)
{
	static const uint32_t initial[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c,
		0x1f83d9ab, 0x5be0cd19 };
	memcpy(sha256->state, initial, sizeof(initial));
	sha256->size = 0;
}

void sha256_add(struct sha256 *sha256, struct bytes bytes)
{
	const uint8_t *from = bytes.data;
	size_t left = bytes.size;
	while (left > 0) {
		size_t at = (size_t)(sha256->size % SHA256_BLOCK), take = SHA256_BLOCK - at;
		if (take > left)
			take = left;
		memcpy(sha256->block + at, from, take);
		sha256->size += take;
		from += take;
		left -= take;
		if (sha256->size % SHA256_BLOCK == 0)
			compress(sha256->state, sha256->block);
	}
}

void sha256_end(struct sha256 *sha256, uint8_t digest[SHA256_SIZE])
{
	static const uint8_t padding[SHA256_BLOCK] = { 0x80 };
	uint64_t bits = sha256->size * 8;
	uint8_t length[8];
	size_t at = (size_t)(sha256->size % SHA256_BLOCK);
	for (unsigned i = 0; i < 8; i++)
		length[i] = (uint8_t)(bits >> (56 - 8 * i));
	sha256_add(sha256, bytes_of(padding, (at < 56 ? 56 : 120) - at));
	sha256_add(sha256, bytes_of(length, sizeof(length)));
	assert(sha256->size % SHA256_BLOCK == 0);
	for (unsigned i = 0; i < SHA256_SIZE; i++)
		digest[i] = (uint8_t)(sha256->state[i / 4] >> (24 - 8 * (i % 4)));
}

void sha256_of(struct bytes bytes, uint8_t digest[SHA256_SIZE])
{
	struct sha256 sha256;
	sha256_init(&sha256);
	sha256_add(&sha256, bytes);
	sha256_end(&sha256, digest);
}
