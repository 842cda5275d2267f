/* base/sha256.h: SHA-256 (FIPS 180-4), for what must be told from a forgery: the residency ledger's chain. For placing
 * keys and for checksums there is base/hash.h, which is faster. Ours, and not OpenSSL's, because pure folders use it.
 * Pure; caller's memory. */
#ifndef DOMICILE_BASE_SHA256_H
#define DOMICILE_BASE_SHA256_H

#include <stdint.h>

#include "base/bytes.h"

enum { SHA256_SIZE = 32, SHA256_BLOCK = 64 };

struct sha256 {
	uint32_t state[8];
	uint64_t size; /* bytes added */
	uint8_t block[SHA256_BLOCK];
};

void sha256_init(struct sha256 *sha256);
void sha256_add(struct sha256 *sha256, struct bytes bytes);
void sha256_end(struct sha256 *sha256, uint8_t digest[SHA256_SIZE]); /* of all that was added; then init again */
void sha256_of(struct bytes bytes, uint8_t digest[SHA256_SIZE]);

#endif
