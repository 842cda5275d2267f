/* base/pack.c: see base/pack.h. Bytes move one by one through shifts, so host order and alignment do not matter;
 * compilers turn that into plain loads and stores. */
#include "base/pack.h"

#include <assert.h>

void pack_init(struct packer *packer, void *data, size_t capacity)
{
	assert(data || capacity == 0);
	*packer = (struct packer){ .data = data, .capacity = capacity };
}

/* Where to write `size` bytes; NULL when there is no room or nothing to write to. */
static uint8_t *reserve(struct packer *packer, size_t size)
{
	size_t at = packer->size;
	if (size > SIZE_MAX - at) {
		packer->size = SIZE_MAX;
		packer->overflow = true;
		return NULL;
	}
	packer->size = at + size;
	if (!packer->data)
		return NULL;
	if (packer->size > packer->capacity)
		packer->overflow = true;
	return packer->overflow ? NULL : packer->data + at;
}

static void pack_integer(struct packer *packer, uint64_t value, unsigned width)
{
	uint8_t *to = reserve(packer, width);
	for (unsigned i = 0; to && i < width; i++)
		to[i] = (uint8_t)(value >> (8 * i));
}

void pack_u8(struct packer *packer, uint8_t value)
{
	pack_integer(packer, value, 1);
}

void pack_u16(struct packer *packer, uint16_t value)
{
	pack_integer(packer, value, 2);
}

void pack_u32(struct packer *packer, uint32_t value)
{
	pack_integer(packer, value, 4);
}

void pack_u64(struct packer *packer, uint64_t value)
{
	pack_integer(packer, value, 8);
}

void pack_raw(struct packer *packer, const void *data, size_t size)
{
	assert(data || size == 0);
	uint8_t *to = reserve(packer, size);
	if (to && size > 0)
		memcpy(to, data, size);
}

void pack_bytes(struct packer *packer, struct bytes bytes)
{
	if (bytes.size > UINT32_MAX)
		packer->overflow = true;
	pack_u32(packer, (uint32_t)bytes.size);
	pack_raw(packer, bytes.data, bytes.size);
}

void pack_text(struct packer *packer, const char *text)
{
	pack_bytes(packer, bytes_text(text));
}

struct bytes pack_result(const struct packer *packer)
{
	if (packer->overflow || !packer->data)
		return bytes_of(NULL, 0);
	assert(packer->size <= packer->capacity);
	return bytes_of(packer->data, packer->size);
}

void unpack_init(struct unpacker *unpacker, struct bytes bytes)
{
	assert(bytes.data || bytes.size == 0);
	*unpacker = (struct unpacker){ .data = bytes.data, .size = bytes.size };
}

struct bytes unpack_raw(struct unpacker *unpacker, size_t size)
{
	assert(unpacker->at <= unpacker->size);
	if (size > unpacker->size - unpacker->at)
		unpacker->bad = true;
	if (unpacker->bad || size == 0)
		return bytes_of(NULL, 0);
	const uint8_t *from = unpacker->data + unpacker->at;
	unpacker->at += size;
	return bytes_of(from, size);
}

static uint64_t unpack_integer(struct unpacker *unpacker, unsigned width)
{
	struct bytes from = unpack_raw(unpacker, width);
	const uint8_t *data = from.data;
	uint64_t value = 0;
	for (unsigned i = 0; i < from.size; i++)
		value |= (uint64_t)data[i] << (8 * i);
	return value;
}

uint8_t unpack_u8(struct unpacker *unpacker)
{
	return (uint8_t)unpack_integer(unpacker, 1);
}

uint16_t unpack_u16(struct unpacker *unpacker)
{
	return (uint16_t)unpack_integer(unpacker, 2);
}

uint32_t unpack_u32(struct unpacker *unpacker)
{
	return (uint32_t)unpack_integer(unpacker, 4);
}

uint64_t unpack_u64(struct unpacker *unpacker)
{
	return unpack_integer(unpacker, 8);
}

struct bytes unpack_bytes(struct unpacker *unpacker, size_t max)
{
	size_t size = unpack_u32(unpacker);
	if (size > max)
		unpacker->bad = true;
	return unpack_raw(unpacker, size);
}

void unpack_text(struct unpacker *unpacker, char *out, size_t capacity)
{
	assert(out);
	assert(capacity > 0);
	struct bytes text = unpack_bytes(unpacker, capacity - 1);
	if (text.size > 0 && memchr(text.data, 0, text.size)) {
		unpacker->bad = true;
		text.size = 0;
	}
	if (text.size > 0)
		memcpy(out, text.data, text.size);
	out[text.size] = 0;
}

bool unpack_end(const struct unpacker *unpacker)
{
	return !unpacker->bad && unpacker->at == unpacker->size;
}
