/* wire/frame.c: see wire/frame.h. The checksum is compared before anything in the payload is looked at, so LZ4 only
 * ever sees bytes that a sender of ours wrote or that were forged on purpose; its safe decoder is bounded by both
 * sizes, which the header check has bounded before. */
#include "wire/frame.h"

#include <assert.h>
#include <lz4.h>
#include <string.h>

#include "base/hash.h"

enum { FRAME_VERSION = 1, FRAME_FLAG_LZ4 = 1 << 0, CHECKSUM_AT = 12 };
enum { LZ4_RATIO_MAX = 255 }; /* no LZ4 block expands further; a claim beyond it is a lie */

static_assert(FRAME_SIZE_MAX_PEER <= LZ4_MAX_INPUT_SIZE, "sizes fit LZ4's int");

static uint32_t load32(const uint8_t *from)
{
	return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

static void store32(uint8_t *to, uint32_t value)
{
	for (unsigned i = 0; i < 4; i++)
		to[i] = (uint8_t)(value >> (8 * i));
}

uint32_t frame_checksum(const uint8_t header[FRAME_HEADER_SIZE], const uint8_t *wire, size_t wire_size)
{
	return (uint32_t)hash64_two(bytes_of(header, CHECKSUM_AT), bytes_of(wire, wire_size));
}

static bool sizes_plausible(const struct frame_header *header)
{
	if (header->wire_size == 0 || header->size == 0)
		return false;
	if (!header->compressed)
		return header->wire_size == header->size;
	return header->wire_size < header->size && header->size / LZ4_RATIO_MAX <= header->wire_size;
}

enum status frame_header_decode(const uint8_t data[FRAME_HEADER_SIZE], uint32_t size_max, struct frame_header *header)
{
	assert(size_max <= FRAME_SIZE_MAX_PEER);
	memset(header, 0, sizeof(*header));
	if (data[0] != 'd' || data[1] != 'm' || data[2] == 0)
		return STATUS_INVALID;
	if (data[2] > FRAME_VERSION)
		return STATUS_UNSUPPORTED;
	if (data[3] & ~FRAME_FLAG_LZ4)
		return STATUS_INVALID;
	struct frame_header read = {
		.compressed = data[3] & FRAME_FLAG_LZ4,
		.wire_size = load32(data + 4),
		.size = load32(data + 8),
		.checksum = load32(data + CHECKSUM_AT),
	};
	if (read.wire_size > size_max || read.size > size_max)
		return STATUS_TOO_LARGE;
	if (!sizes_plausible(&read))
		return STATUS_INVALID;
	*header = read;
	return STATUS_OK;
}

enum status frame_payload_decode(const uint8_t raw_header[FRAME_HEADER_SIZE], const struct frame_header *header,
	const uint8_t *wire, uint8_t *out, struct bytes *payload)
{
	assert(sizes_plausible(header)); /* it came out of frame_header_decode */
	*payload = bytes_of(NULL, 0);
	if (frame_checksum(raw_header, wire, header->wire_size) != header->checksum)
		return STATUS_INVALID;
	if (!header->compressed) {
		*payload = bytes_of(wire, header->size);
		return STATUS_OK;
	}
	assert(out);
	int size = LZ4_decompress_safe((const char *)wire, (char *)out, (int)header->wire_size, (int)header->size);
	if (size < 0 || (uint32_t)size != header->size)
		return STATUS_INVALID;
	*payload = bytes_of(out, header->size);
	return STATUS_OK;
}

size_t frame_size_bound(size_t payload_size)
{
	assert(payload_size <= FRAME_SIZE_MAX_PEER);
	return FRAME_HEADER_SIZE + payload_size;
}

/* The size of the block when it saves at least an eighth, else 0: the receiver's time is not free either. */
static size_t compress_into(struct bytes payload, uint8_t *out)
{
	int room = (int)(payload.size - payload.size / 8);
	int size = LZ4_compress_default(payload.data, (char *)out, (int)payload.size, room);
	assert(size <= room);
	return size > 0 && payload.size / LZ4_RATIO_MAX <= (size_t)size ? (size_t)size : 0;
}

size_t frame_encode(struct bytes payload, bool compress, uint8_t *out, size_t capacity)
{
	assert(payload.size > 0);
	assert(payload.size <= FRAME_SIZE_MAX_PEER);
	assert(capacity >= frame_size_bound(payload.size));
	uint8_t *wire = out + FRAME_HEADER_SIZE;
	size_t wire_size = 0;
	assert(!compress || payload.data != wire);
	if (compress && payload.size > FRAME_COMPRESS_ABOVE)
		wire_size = compress_into(payload, wire);
	bool compressed = wire_size > 0;
	if (!compressed) {
		if (payload.data != wire)
			memcpy(wire, payload.data, payload.size);
		wire_size = payload.size;
	}
	out[0] = 'd';
	out[1] = 'm';
	out[2] = FRAME_VERSION;
	out[3] = compressed ? FRAME_FLAG_LZ4 : 0;
	store32(out + 4, (uint32_t)wire_size);
	store32(out + 8, (uint32_t)payload.size);
	store32(out + CHECKSUM_AT, frame_checksum(out, wire, wire_size));
	return FRAME_HEADER_SIZE + wire_size;
}
