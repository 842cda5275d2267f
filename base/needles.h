/* base/needles.h: looking for secret bytes without being told them. Who knows a secret (32 random bytes) makes needles
 * of windows of it; who has them finds the windows in whatever it searches, and learns nothing of the secret.
 *
 * A needle is the SHA-256 of salt and window. To hash every window of a disk like that would take days, so there are
 * marks beside them: the top 20 bits of a polynomial hash that rolls over the bytes, of all needles together, in rising
 * order. A mark does not say whose it is, so of each needle it tells 20 bits less log2 of how many there are: what is
 * left of a window of 16 random bytes, after all needles in which they are, is 80 bits and more to be guessed.
 *
 * Windows: of the secret as it is the first, middle and last 16 bytes; of its digits in base 16 and base 64 (wherever
 * it stands in a longer text) 32 from the middle. So half a secret is found too, and a secret whose ends a compressor
 * has taken for a repetition of something.
 *
 * Pure; caller's memory, which is large: not for the stack. */
#ifndef DOMICILE_BASE_NEEDLES_H
#define DOMICILE_BASE_NEEDLES_H

#include "base/bytes.h"
#include "base/sha256.h"
#include "base/status.h"

enum {
	NEEDLE_SECRET_SIZE = 32,
	NEEDLE_SALT_SIZE = 16,
	NEEDLE_RAW_SIZE = 16,  /* of a window of the secret itself */
	NEEDLE_TEXT_SIZE = 32, /* of one of its digits */
	NEEDLE_OVERLAP = 31,   /* bytes of the piece before that a search of the next one begins with */
	NEEDLE_MARK_BITS = 20,
	NEEDLES_PER_SECRET = 8,
	NEEDLE_SECRETS_MAX = 512,
	NEEDLES_MAX = NEEDLES_PER_SECRET * NEEDLE_SECRETS_MAX,
};

enum needle_form { NEEDLE_RAW = 1, NEEDLE_HEX, NEEDLE_HEX_CAPITAL, NEEDLE_BASE64 };

struct needle {
	uint8_t digest[SHA256_SIZE];
	uint16_t of;  /* number of the secret */
	uint8_t form; /* enum needle_form */
};
struct needles {
	uint8_t salt[NEEDLE_SALT_SIZE];
	uint64_t multiplier; /* of the rolling hash; odd, random */
	uint32_t count, mark_count;
	struct needle at[NEEDLES_MAX];				 /* by rising digest, no two equal */
	uint32_t marks[NEEDLES_MAX];				 /* rising, no two equal */
	uint64_t filter[((uint64_t)1 << NEEDLE_MARK_BITS) / 64]; /* a bit for each mark; made by needles_seal */
};

void needles_init(struct needles *needles, const uint8_t salt[NEEDLE_SALT_SIZE], uint64_t multiplier);
void needles_add(struct needles *needles, uint16_t of, const uint8_t secret[NEEDLE_SECRET_SIZE]);
void needles_seal(struct needles *needles); /* after the last was added, or all were decoded: ready to search */
/* As they came from elsewhere: in order, within bounds. */
bool needles_valid(const struct needles *needles) MUST;

/* Every needle that ends behind the first `skip` bytes (at most NEEDLE_OVERLAP), by rising end; `at` is where it
 * begins. A search of pieces gives the last NEEDLE_OVERLAP bytes of each again in front of the next one, and skips
 * them. */
typedef void needle_fn(void *arg, const struct needle *needle, size_t at);
void needles_search(
	const struct needles *needles, const uint8_t *data, size_t size, size_t skip, needle_fn *fn, void *arg);

#endif
