/* base/bytes.h: a borrowed view of bytes: keys, values, frames, text. Never owns; the holder says until when it
 * lasts. An empty view may have a NULL pointer, so nothing here hands a NULL to mem*. Pure. */
#ifndef DOMICILE_BASE_BYTES_H
#define DOMICILE_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
	const void *data;
	size_t size;
};

static inline struct bytes bytes_of(const void *data, size_t size)
{
	return (struct bytes){ data, size };
}

/* The view of a C string without its NUL; NULL is the empty view. */
static inline struct bytes bytes_text(const char *text)
{
	return (struct bytes){ text, text ? strlen(text) : 0 };
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
	return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Bytewise, a prefix before what it begins: the order of keys in scans and in storage. */
static inline int bytes_compare(struct bytes a, struct bytes b)
{
	size_t common = a.size < b.size ? a.size : b.size;
	int order = common ? memcmp(a.data, b.data, common) : 0;
	if (order != 0)
		return order < 0 ? -1 : 1;
	return (a.size > b.size) - (a.size < b.size);
}

static inline bool bytes_starts_with(struct bytes bytes, struct bytes prefix)
{
	return prefix.size <= bytes.size && bytes_equal(bytes_of(bytes.data, prefix.size), prefix);
}

#endif
