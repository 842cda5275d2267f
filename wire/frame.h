/* wire/frame.h: the frame around every message on a connection.
 *
 *   offset size
 *        0    2  magic "dm"
 *        2    1  version (1)
 *        3    1  flags: bit 0 = payload is LZ4
 *        4    4  size of the payload on the wire, bytes
 *        8    4  size of the payload as decoded (equal when not compressed)
 *       12    4  low 32 bits of XXH3-64 over bytes 0..11 and the payload on the wire
 *       16    -  payload
 *
 * TLS already protects the bytes; the checksum is for our own mistakes and for memory. Payloads above 4 KiB
 * are compressed when that pays and when the sender asks for it (between regions). A claimed size is checked
 * against the limit before anything is allocated, and LZ4 must yield exactly the claimed size. */
#ifndef DOMICILE_WIRE_FRAME_H
#define DOMICILE_WIRE_FRAME_H

#include "base/bytes.h"
#include "base/status.h"

enum {
	FRAME_HEADER_SIZE = 16,
	FRAME_COMPRESS_ABOVE = 4096,
	FRAME_SIZE_MAX_GREETING = 16 << 10, /* before hello is accepted */
	FRAME_SIZE_MAX_CLIENT = 4 << 20,
	FRAME_SIZE_MAX_PEER = 17 << 20,
};

struct frame_header {
	uint32_t wire_size, size;
	uint32_t checksum;
	bool compressed;
};

/* Reads 16 bytes. INVALID: not ours or malformed; UNSUPPORTED: a newer version; TOO_LARGE: above size_max. */
enum status frame_header_decode(
	const uint8_t data[FRAME_HEADER_SIZE], uint32_t size_max, struct frame_header *header) MUST;
/* Checks the payload and, when compressed, expands it into out (header->size bytes; may be NULL when it is not).
 * *payload then views either. INVALID: the checksum or the LZ4 block is wrong. */
enum status frame_payload_decode(const uint8_t raw_header[FRAME_HEADER_SIZE], const struct frame_header *header,
	const uint8_t *wire, uint8_t *out, struct bytes *payload) MUST;
/* What bytes 12..15 must be, from bytes 0..11 and the payload on the wire. */
uint32_t frame_checksum(const uint8_t header[FRAME_HEADER_SIZE], const uint8_t *wire, size_t wire_size);
/* Bytes that frame_encode may write for a payload of this size. */
size_t frame_size_bound(size_t payload_size);
/* Writes header and payload; returns the frame's size. The payload is not empty and at most FRAME_SIZE_MAX_PEER. It may
 * already stand at out + FRAME_HEADER_SIZE when it is not to be compressed; else it does not overlap out. */
size_t frame_encode(struct bytes payload, bool compress, uint8_t *out, size_t capacity);

#endif
