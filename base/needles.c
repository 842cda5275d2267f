/* base/needles.c: see base/needles.h. The hash of a window b[0..n) is the sum of b[i] * multiplier^(n-1-i), modulo
 * 2^64; only its top bits count, since the low ones see the low bits of the bytes alone. */
#include "base/needles.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"

enum { WIDTHS = 2, TEXT_MAX = 72 };
static const size_t widths[WIDTHS] = { NEEDLE_RAW_SIZE, NEEDLE_TEXT_SIZE };

static_assert(NEEDLE_OVERLAP == NEEDLE_TEXT_SIZE - 1, "a window never lies in the overlap alone and in what follows");

/* --- making --------------------------------------------------------------------------------------- */

void needles_init(struct needles *needles, const uint8_t salt[NEEDLE_SALT_SIZE], uint64_t multiplier)
{
	memcpy(needles->salt, salt, NEEDLE_SALT_SIZE);
	needles->multiplier = multiplier | 1;
	needles->count = needles->mark_count = 0;
}

static void digest_of(const struct needles *needles, struct bytes window, uint8_t digest[SHA256_SIZE])
{
	struct sha256 sha256;
	sha256_init(&sha256);
	sha256_add(&sha256, bytes_of(needles->salt, NEEDLE_SALT_SIZE));
	sha256_add(&sha256, window);
	sha256_end(&sha256, digest);
}

static uint32_t mark_of(uint64_t hash)
{
	return (uint32_t)(hash >> (64 - NEEDLE_MARK_BITS));
}

/* The first needle whose digest is not below. */
static uint32_t position_of(const struct needles *needles, const uint8_t digest[SHA256_SIZE])
{
	uint32_t first = 0, behind = needles->count;
	while (first < behind) {
		uint32_t middle = first + (behind - first) / 2;
		if (memcmp(needles->at[middle].digest, digest, SHA256_SIZE) < 0)
			first = middle + 1;
		else
			behind = middle;
	}
	return first;
}

static void add_mark(struct needles *needles, uint32_t mark)
{
	uint32_t at = needles->mark_count;
	while (at > 0 && needles->marks[at - 1] >= mark)
		at--;
	if (at < needles->mark_count && needles->marks[at] == mark)
		return;
	memmove(needles->marks + at + 1, needles->marks + at, (needles->mark_count - at) * sizeof(needles->marks[0]));
	needles->marks[at] = mark;
	needles->mark_count++;
}

static void add(struct needles *needles, uint16_t of, enum needle_form form, struct bytes window)
{
	struct needle needle = { .of = of, .form = (uint8_t)form };
	const uint8_t *data = window.data;
	uint64_t hash = 0;
	digest_of(needles, window, needle.digest);
	uint32_t at = position_of(needles, needle.digest);
	if (at < needles->count && memcmp(needles->at[at].digest, needle.digest, SHA256_SIZE) == 0)
		return; /* digits without a letter are the same in capitals */
	assert(needles->count < NEEDLES_MAX);
	memmove(needles->at + at + 1, needles->at + at, (needles->count - at) * sizeof(needles->at[0]));
	needles->at[at] = needle;
	needles->count++;
	for (size_t i = 0; i < window.size; i++)
		hash = hash * needles->multiplier + data[i];
	add_mark(needles, mark_of(hash));
}

static void add_text(struct needles *needles, uint16_t of, enum needle_form form, const char *text, size_t skip)
{
	assert(skip + NEEDLE_TEXT_SIZE <= strlen(text));
	add(needles, of, form, bytes_of(text + skip, NEEDLE_TEXT_SIZE));
}

void needles_add(struct needles *needles, uint16_t of, const uint8_t secret[NEEDLE_SECRET_SIZE])
{
	uint8_t shifted[2 + NEEDLE_SECRET_SIZE] = { 0 };
	char text[TEXT_MAX];
	for (size_t at = 0; at + NEEDLE_RAW_SIZE <= NEEDLE_SECRET_SIZE; at += NEEDLE_RAW_SIZE / 2)
		add(needles, of, NEEDLE_RAW, bytes_of(secret + at, NEEDLE_RAW_SIZE));
	size_t size = hex_encode(text, sizeof(text), bytes_of(secret, NEEDLE_SECRET_SIZE));
	assert(size == 2 * NEEDLE_SECRET_SIZE);
	add_text(needles, of, NEEDLE_HEX, text, (size - NEEDLE_TEXT_SIZE) / 2);
	for (size_t i = 0; i < size; i++)
		if (text[i] >= 'a')
			text[i] = (char)(text[i] - 'a' + 'A');
	add_text(needles, of, NEEDLE_HEX_CAPITAL, text, (size - NEEDLE_TEXT_SIZE) / 2);
	memcpy(shifted + 2, secret, NEEDLE_SECRET_SIZE);
	for (size_t before = 0; before < 3; before++) { /* bytes of the same group of three that stand before it */
		size = base64_encode(text, sizeof(text), bytes_of(shifted + 2 - before, NEEDLE_SECRET_SIZE + before));
		assert(size > 0);
		add_text(needles, of, NEEDLE_BASE64, text, 4 + 4 * (before > 0)); /* the first group has others' bits */
	}
}

void needles_seal(struct needles *needles)
{
	memset(needles->filter, 0, sizeof(needles->filter));
	for (uint32_t i = 0; i < needles->mark_count; i++)
		needles->filter[needles->marks[i] / 64] |= (uint64_t)1 << needles->marks[i] % 64;
}

bool needles_valid(const struct needles *needles)
{
	if (needles->count > NEEDLES_MAX || needles->mark_count > needles->count || needles->multiplier % 2 == 0)
		return false;
	for (uint32_t i = 0; i < needles->mark_count; i++)
		if (needles->marks[i] >> NEEDLE_MARK_BITS != 0 || (i > 0 && needles->marks[i] <= needles->marks[i - 1]))
			return false;
	for (uint32_t i = 0; i < needles->count; i++) {
		const struct needle *needle = &needles->at[i];
		if (needle->of >= NEEDLE_SECRETS_MAX || needle->form < NEEDLE_RAW || needle->form > NEEDLE_BASE64)
			return false;
		if (i > 0 && memcmp(needles->at[i - 1].digest, needle->digest, SHA256_SIZE) >= 0)
			return false;
	}
	return true;
}

/* --- searching ------------------------------------------------------------------------------------ */

struct roll { /* of windows of one width */
	size_t width;
	uint64_t hash;
	uint64_t leaving[256]; /* what a byte adds to the hash of the window behind it */
	uint64_t refused;      /* the last hash that was marked and no needle's: runs of equal bytes cost one digest */
	bool refused_any;
};

struct hunt {
	const struct needles *needles;
	const uint8_t *data;
	needle_fn *fn;
	void *arg;
};

static void roll_init(struct roll *roll, size_t width, uint64_t multiplier)
{
	uint64_t power = 1;
	memset(roll, 0, sizeof(*roll));
	roll->width = width;
	for (size_t i = 0; i < width; i++)
		power *= multiplier;
	for (unsigned byte = 0; byte < 256; byte++)
		roll->leaving[byte] = byte * power;
}

static bool marked(const struct needles *needles, uint64_t hash)
{
	uint32_t mark = mark_of(hash);
	return needles->filter[mark / 64] >> mark % 64 & 1;
}

/* The window that ends with this byte is marked. */
static void look(const struct hunt *hunt, struct roll *roll, uint64_t hash, size_t end)
{
	const struct needles *needles = hunt->needles;
	uint8_t digest[SHA256_SIZE];
	size_t at = end + 1 - roll->width;
	if (roll->refused_any && roll->refused == hash)
		return;
	digest_of(needles, bytes_of(hunt->data + at, roll->width), digest);
	uint32_t position = position_of(needles, digest);
	if (position < needles->count && memcmp(needles->at[position].digest, digest, SHA256_SIZE) == 0) {
		hunt->fn(hunt->arg, &needles->at[position], at);
		return;
	}
	roll->refused = hash;
	roll->refused_any = true;
}

void needles_search(
	const struct needles *needles, const uint8_t *data, size_t size, size_t skip, needle_fn *fn, void *arg)
{
	const struct hunt hunt = { needles, data, fn, arg };
	const uint64_t multiplier = needles->multiplier;
	struct roll rolls[WIDTHS];
	size_t end = 0;
	for (unsigned w = 0; w < WIDTHS; w++)
		roll_init(&rolls[w], widths[w], multiplier);
	for (; end < size && end < NEEDLE_TEXT_SIZE; end++) {
		for (unsigned w = 0; w < WIDTHS; w++) {
			struct roll *roll = &rolls[w];
			roll->hash = roll->hash * multiplier + data[end];
			if (end >= roll->width)
				roll->hash -= roll->leaving[data[end - roll->width]];
			if (end + 1 >= roll->width && end >= skip && marked(needles, roll->hash))
				look(&hunt, roll, roll->hash, end);
		}
	}
	/* The same without its conditions: this is where the time goes. */
	uint64_t raw = rolls[0].hash, text = rolls[1].hash;
	assert(end >= skip || end == size);
	for (; end < size; end++) {
		raw = raw * multiplier + data[end] - rolls[0].leaving[data[end - NEEDLE_RAW_SIZE]];
		text = text * multiplier + data[end] - rolls[1].leaving[data[end - NEEDLE_TEXT_SIZE]];
		if (marked(needles, raw))
			look(&hunt, &rolls[0], raw, end);
		if (marked(needles, text))
			look(&hunt, &rolls[1], text, end);
	}
}
