/* base/pack.c: see base/pack.h. Alignment does not matter to memcpy, which compilers turn into plain loads and stores.
 */
#include "base/pack.h"

#include <assert.h>
#include <endian.h>

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

/* Of a size that the compiler knows: one store. */
static inline void put(struct packer *packer, const void *little, size_t size)
{
	uint8_t *to = reserve(packer, size);
	if (to)
		memcpy(to, little, size);
}

void pack_u8(struct packer *packer, uint8_t value)
{
	put(packer, &value, sizeof(value));
}

void pack_u16(struct packer *packer, uint16_t value)
{
	uint16_t little = htole16(value);
	put(packer, &little, sizeof(little));
}

void pack_u32(struct packer *packer, uint32_t value)
{
	uint32_t little = htole32(value);
	put(packer, &little, sizeof(little));
}

void pack_u64(struct packer *packer, uint64_t value)
{
	uint64_t little = htole64(value);
	put(packer, &little, sizeof(little));
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

static inline void get(struct unpacker *unpacker, void *little, size_t size)
{
	struct bytes from = unpack_raw(unpacker, size);
	if (from.data)
		memcpy(little, from.data, size);
}

uint8_t unpack_u8(struct unpacker *unpacker)
{
	uint8_t little = 0;
	get(unpacker, &little, sizeof(little));
	return little;
}

uint16_t unpack_u16(struct unpacker *unpacker)
{
	uint16_t little = 0;
	get(unpacker, &little, sizeof(little));
	return le16toh(little);
}

uint32_t unpack_u32(struct unpacker *unpacker)
{
	uint32_t little = 0;
	get(unpacker, &little, sizeof(little));
	return le32toh(little);
}

uint64_t unpack_u64(struct unpacker *unpacker)
{
	uint64_t little = 0;
	get(unpacker, &little, sizeof(little));
	return le64toh(little);
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
