/* base/text.h: building and reading text without stdio: messages, describe functions, hex, base64, suggestions.
 * A struct text writes into the caller's memory, is always ended with a NUL, and cuts what does not fit. Pure. */
#ifndef DOMICILE_BASE_TEXT_H
#define DOMICILE_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

enum { TEXT_WORD_MAX = 64 }; /* the longest word that text_distance compares */

struct text {
	char *data;	       /* data[size] is NUL */
	size_t size, capacity; /* size < capacity */
};

void text_init(struct text *text, char *data, size_t capacity); /* capacity > 0 */
void text_add(struct text *text, const char *string);
void text_add_bytes(struct text *text, struct bytes bytes); /* as they are */
void text_add_u64(struct text *text, uint64_t value);
void text_add_i64(struct text *text, int64_t value);
void text_add_hex64(struct text *text, uint64_t value); /* 16 digits, no prefix */
void text_add_ms(struct text *text, int64_t us);	/* microseconds as milliseconds: "12.34" */
static inline bool text_full(const struct text *text)	/* the next byte would be cut, or was */
{
	return text->size + 1 >= text->capacity;
}

/* These give the length written without the NUL; out is always ended with one. Encoders write nothing, and give 0,
 * when the whole does not fit; text_escape writes as many whole characters as fit. capacity > 0. */
size_t text_escape(char *out, size_t capacity, struct bytes bytes); /* \xNN for all but printable ASCII; \\ for \ */
size_t hex_encode(char *out, size_t capacity, struct bytes bytes);
size_t base64_encode(char *out, size_t capacity, struct bytes bytes);

/* False when malformed (base64 is strict: padded, no spaces, no stray bits) or when it does not fit. */
bool hex_decode(void *out, size_t capacity, struct bytes text, size_t *size);
bool base64_decode(void *out, size_t capacity, struct bytes text, size_t *size);

/* Edits from a to b: insert, delete, replace, swap neighbours. SIZE_MAX when either is longer than TEXT_WORD_MAX. */
size_t text_distance(const char *a, const char *b);
/* The candidate that was probably meant, the first of equals; NULL when none is near. NULL candidates are skipped. */
const char *text_nearest(const char *word, const char *const candidates[], size_t count);

#endif
