/* storage/journal_record.c: see storage/journal_record.h. */
#include "storage/journal_record.h"

#include <assert.h>
#include <lz4.h>
#include <string.h>

#include "base/hash.h"
#include "base/pack.h"

static const char magic[8] = { 'D', 'O', 'M', 'J', 'R', 'N', 'L', '\n' };

static_assert(RECORD_HEADER_SIZE % 8 == 0, "records stay aligned");
static_assert(JOURNAL_BLOCK % 8 == 0, "batches stay aligned");

uint64_t record_seed(uint64_t incarnation, uint64_t sequence, uint64_t offset)
{
	uint64_t seed = incarnation ^ (sequence * 0x9e3779b97f4a7c15u);
	return (seed ^ (seed >> 29)) * 0xbf58476d1ce4e5b9u ^ offset;
}

void record_seal(uint8_t *at, struct record *record, uint64_t seed)
{
	assert(record->stored_size <= record->body_size);
	struct packer packer;
	record->body_check =
		hash64_seeded(bytes_of(at + RECORD_HEADER_SIZE, (size_t)align_up(record->stored_size, 8)), seed);
	pack_init(&packer, at, RECORD_HEADER_SIZE);
	pack_u64(&packer, 0);
	pack_u64(&packer, record->body_check);
	pack_u32(&packer, record->stored_size);
	pack_u32(&packer, record->body_size);
	pack_u8(&packer, record->type);
	pack_u8(&packer, record->kind);
	pack_u16(&packer, record->origin);
	pack_u32(&packer, record->ordinal);
	pack_u64(&packer, record->group);
	pack_u64(&packer, record->index);
	pack_u64(&packer, record->term);
	pack_u64(&packer, record->version);
	pack_u64(&packer, record->key_hash);
	pack_u64(&packer, record->request);
	assert(packer.size == RECORD_HEADER_SIZE);
	uint64_t check = hash64_seeded(bytes_of(at + 8, RECORD_HEADER_SIZE - 8), seed);
	pack_init(&packer, at, 8);
	pack_u64(&packer, check);
}

bool record_parse(const uint8_t *at, uint64_t seed, struct record *record)
{
	struct unpacker unpacker;
	unpack_init(&unpacker, bytes_of(at, RECORD_HEADER_SIZE));
	uint64_t check = unpack_u64(&unpacker);
	record->type = at[24];
	if (record->type < RECORD_MARK || record->type > RECORD_REMOVE)
		return false; /* cheap, and right for zeroes */
	if (check != hash64_seeded(bytes_of(at + 8, RECORD_HEADER_SIZE - 8), seed))
		return false;
	record->body_check = unpack_u64(&unpacker);
	record->stored_size = unpack_u32(&unpacker);
	record->body_size = unpack_u32(&unpacker);
	record->type = unpack_u8(&unpacker);
	record->kind = unpack_u8(&unpacker);
	record->origin = unpack_u16(&unpacker);
	record->ordinal = unpack_u32(&unpacker);
	record->group = unpack_u64(&unpacker);
	record->index = unpack_u64(&unpacker);
	record->term = unpack_u64(&unpacker);
	record->version = unpack_u64(&unpacker);
	record->key_hash = unpack_u64(&unpacker);
	record->request = unpack_u64(&unpacker);
	return unpack_end(&unpacker) && record->stored_size <= record->body_size;
}

bool record_body_good(const uint8_t *body, const struct record *record, uint64_t seed)
{
	return record->body_check == hash64_seeded(bytes_of(body, (size_t)align_up(record->stored_size, 8)), seed);
}

enum status record_unpack(const uint8_t *body, const struct record *record, uint8_t *out)
{
	assert(record->stored_size <= record->body_size);
	if (record->stored_size == record->body_size) {
		if (record->body_size > 0)
			memcpy(out, body, record->body_size);
		return STATUS_OK;
	}
	if (record->body_size > LZ4_MAX_INPUT_SIZE)
		return STATUS_CORRUPT;
	int size =
		LZ4_decompress_safe((const char *)body, (char *)out, (int)record->stored_size, (int)record->body_size);
	return size >= 0 && (uint32_t)size == record->body_size ? STATUS_OK : STATUS_CORRUPT;
}

uint32_t record_pack(struct bytes body, uint8_t *out)
{
	assert(body.size <= LZ4_MAX_INPUT_SIZE);
	if (body.size > COMPRESS_ABOVE) {
		int size = LZ4_compress_default(body.data, (char *)out, (int)body.size, (int)body.size - 1);
		if (size > 0)
			return (uint32_t)size;
	}
	if (body.size > 0)
		memcpy(out, body.data, body.size);
	return (uint32_t)body.size;
}

bool record_follows(const struct mark_item *item, const struct record *record)
{
	if (item->type != record->type || (record->type != RECORD_ENTRY && record->type != RECORD_LOST))
		return false;
	if (item->group != record->group || item->term != record->term)
		return false;
	return item->count < UINT32_MAX && item->index + item->count == record->index;
}

struct mark_item mark_item_of(const struct record *record)
{
	bool entry = record->type == RECORD_ENTRY;
	return (struct mark_item){ .type = record->type,
		.count = 1,
		.group = record->group,
		.index = record->index,
		.term = record->term,
		.version = entry ? 0 : record->version,
		.key_hash = entry ? 0 : record->key_hash };
}

void mark_item_encode(uint8_t *at, const struct mark_item *item)
{
	struct packer packer;
	pack_init(&packer, at, MARK_ITEM_SIZE);
	pack_u32(&packer, item->type);
	pack_u32(&packer, item->count);
	pack_u64(&packer, item->group);
	pack_u64(&packer, item->index);
	pack_u64(&packer, item->term);
	pack_u64(&packer, item->version);
	pack_u64(&packer, item->key_hash);
	assert(packer.size == MARK_ITEM_SIZE);
}

void mark_item_decode(const uint8_t *at, struct mark_item *item)
{
	struct unpacker unpacker;
	unpack_init(&unpacker, bytes_of(at, MARK_ITEM_SIZE));
	item->type = (uint8_t)unpack_u32(&unpacker);
	item->count = unpack_u32(&unpacker);
	item->group = unpack_u64(&unpacker);
	item->index = unpack_u64(&unpacker);
	item->term = unpack_u64(&unpacker);
	item->version = unpack_u64(&unpacker);
	item->key_hash = unpack_u64(&unpacker);
	assert(unpack_end(&unpacker));
}

/* A checksum of the whole block, seeded with which copy it is. */
static uint64_t block_check(const uint8_t *block, unsigned copy)
{
	return hash64_seeded(bytes_of(block, JOURNAL_BLOCK - 8), copy);
}

void segment_header_encode(uint8_t *blocks, const struct segment_header *header)
{
	struct packer packer;
	memset(blocks, 0, JOURNAL_DATA_BEGIN);
	for (unsigned copy = 0; copy < 2; copy++) {
		uint8_t *block = blocks + copy * JOURNAL_BLOCK;
		pack_init(&packer, block, JOURNAL_BLOCK - 8);
		pack_raw(&packer, magic, sizeof(magic));
		pack_u32(&packer, JOURNAL_VERSION);
		pack_u32(&packer, header->unknown_loss);
		pack_raw(&packer, header->cluster, sizeof(header->cluster));
		pack_u64(&packer, header->incarnation);
		pack_u64(&packer, header->sequence);
		pack_u64(&packer, header->segment_size);
		pack_u64(&packer, header->previous_sequence);
		pack_u64(&packer, header->previous_end);
		pack_u64(&packer, header->first_flush);
		pack_u64(&packer, header->needed);
		assert(!packer.overflow);
		uint64_t check = block_check(block, copy);
		pack_init(&packer, block + JOURNAL_BLOCK - 8, 8);
		pack_u64(&packer, check);
	}
}

enum status segment_header_decode(const uint8_t *block, unsigned copy, struct segment_header *header)
{
	assert(copy < 2);
	struct unpacker unpacker;
	if (memcmp(block, magic, sizeof(magic)) != 0)
		return STATUS_CORRUPT;
	unpack_init(&unpacker, bytes_of(block + JOURNAL_BLOCK - 8, 8));
	bool good = unpack_u64(&unpacker) == block_check(block, copy);
	unpack_init(&unpacker, bytes_of(block + sizeof(magic), JOURNAL_BLOCK - 8 - sizeof(magic)));
	uint32_t version = unpack_u32(&unpacker);
	if (version > JOURNAL_VERSION) /* how a newer one checks itself is not known */
		return STATUS_UNSUPPORTED;
	if (!good)
		return STATUS_CORRUPT;
	header->unknown_loss = unpack_u32(&unpacker) != 0;
	memcpy(header->cluster, unpack_raw(&unpacker, sizeof(header->cluster)).data, sizeof(header->cluster));
	header->incarnation = unpack_u64(&unpacker);
	header->sequence = unpack_u64(&unpacker);
	header->segment_size = unpack_u64(&unpacker);
	header->previous_sequence = unpack_u64(&unpacker);
	header->previous_end = unpack_u64(&unpacker);
	header->first_flush = unpack_u64(&unpacker);
	header->needed = unpack_u64(&unpacker);
	return STATUS_OK;
}
