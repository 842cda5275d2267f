/* base/pack.h: integers and byte strings to bytes and back, little-endian, bounded; for the wire, journal bodies and
 * the map. A packer over NULL only counts: a first pass gives the size that a second one fills. Errors stick, so a
 * caller writes or reads everything and asks once at the end. Pure; caller's memory. */
#ifndef DOMICILE_BASE_PACK_H
#define DOMICILE_BASE_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct packer {
	uint8_t *data;	       /* NULL: count only */
	size_t size, capacity; /* size advances past capacity too: it is always what the whole would need */
	bool overflow;	       /* it did not fit (never for want of room when counting) */
};

void pack_init(struct packer *packer, void *data, size_t capacity);
void pack_u8(struct packer *packer, uint8_t value);
void pack_u16(struct packer *packer, uint16_t value);
void pack_u32(struct packer *packer, uint32_t value);
void pack_u64(struct packer *packer, uint64_t value);
void pack_raw(struct packer *packer, const void *data, size_t size); /* no length */
void pack_bytes(struct packer *packer, struct bytes bytes);	     /* u32 length, then the bytes */
void pack_text(struct packer *packer, const char *text);	     /* like pack_bytes, without the NUL */
struct bytes pack_result(const struct packer *packer);		     /* empty after overflow or when counting */

struct unpacker {
	const uint8_t *data;
	size_t size, at; /* at <= size */
	bool bad;	 /* malformed; everything read from here on is 0 or empty */
};

void unpack_init(struct unpacker *unpacker, struct bytes bytes);
uint8_t unpack_u8(struct unpacker *unpacker);
uint16_t unpack_u16(struct unpacker *unpacker);
uint32_t unpack_u32(struct unpacker *unpacker);
uint64_t unpack_u64(struct unpacker *unpacker);
struct bytes unpack_raw(struct unpacker *unpacker, size_t size);  /* borrowed */
struct bytes unpack_bytes(struct unpacker *unpacker, size_t max); /* borrowed; bad when longer than max */
/* Copies a packed text and ends it with a NUL; bad, and empty, when it does not fit or holds a NUL. */
void unpack_text(struct unpacker *unpacker, char *out, size_t capacity);
bool unpack_end(const struct unpacker *unpacker); /* not bad and nothing left */

#endif
