/* policy/ledger_segment.c: see policy/ledger_segment.h. */
#include "policy/ledger_segment.h"

#include <string.h>

#include "base/hash.h"

enum { SEGMENT_VERSION = 3, HEAD_SIZE = 8 + 4 + 4 + 2 * (8 + SHA256_SIZE) + 8, CHECK_SIZE = 8 };
static const char segment_magic[8] = { 'D', 'O', 'M', 'L', 'E', 'D', 'G', '\n' };
static const char batch_magic[8] = { 'L', 'E', 'D', 'G', 'E', 'R', 'B', '\n' };

static void check_seal(uint8_t *block, size_t size)
{
	struct packer packer;
	pack_init(&packer, block + size - CHECK_SIZE, CHECK_SIZE);
	pack_u64(&packer, hash64(bytes_of(block, size - CHECK_SIZE)));
}

static bool check_holds(const uint8_t *block, size_t size)
{
	struct unpacker unpacker;
	unpack_init(&unpacker, bytes_of(block + size - CHECK_SIZE, CHECK_SIZE));
	return unpack_u64(&unpacker) == hash64(bytes_of(block, size - CHECK_SIZE));
}

static void pack_position(struct packer *packer, const struct ledger_position *position)
{
	pack_u64(packer, position->sequence);
	pack_raw(packer, position->hash, SHA256_SIZE);
}

static void unpack_position(struct unpacker *unpacker, struct ledger_position *position)
{
	position->sequence = unpack_u64(unpacker);
	struct bytes hash = unpack_raw(unpacker, SHA256_SIZE);
	if (hash.size == SHA256_SIZE)
		memcpy(position->hash, hash.data, SHA256_SIZE);
}

static bool positions_equal(const struct ledger_position *a, const struct ledger_position *b)
{
	return a->sequence == b->sequence && memcmp(a->hash, b->hash, SHA256_SIZE) == 0;
}

/* --- header ------------------------------------------------------------------------------------------ */

void ledger_segment_encode(const struct ledger_segment *segment, uint8_t block[LEDGER_BLOCK])
{
	struct packer packer;
	memset(block, 0, LEDGER_BLOCK);
	pack_init(&packer, block, LEDGER_BLOCK - CHECK_SIZE);
	pack_raw(&packer, segment_magic, sizeof(segment_magic));
	pack_u32(&packer, SEGMENT_VERSION);
	pack_u64(&packer, segment->incarnation);
	pack_text(&packer, segment->place.text);
	pack_position(&packer, &segment->before);
	assert(!packer.overflow);
	check_seal(block, LEDGER_BLOCK);
}

enum status ledger_segment_decode(struct bytes file, struct ledger_segment *segment)
{
	struct unpacker unpacker;
	memset(segment, 0, sizeof(*segment));
	unpack_init(&unpacker, file);
	struct bytes magic = unpack_raw(&unpacker, sizeof(segment_magic));
	uint32_t version = unpack_u32(&unpacker);
	if (unpacker.bad || memcmp(magic.data, segment_magic, sizeof(segment_magic)) != 0)
		return STATUS_INVALID;
	if (version != SEGMENT_VERSION && version != 0)
		return STATUS_UNSUPPORTED;
	if (version == 0 || file.size < LEDGER_BLOCK || !check_holds(file.data, LEDGER_BLOCK))
		return STATUS_INVALID;
	char place[PLACE_TEXT_MAX];
	segment->incarnation = unpack_u64(&unpacker);
	unpack_text(&unpacker, place, sizeof(place));
	unpack_position(&unpacker, &segment->before);
	return !unpacker.bad && place_parse(place, &segment->place, NULL) ? STATUS_OK : STATUS_INVALID;
}

/* --- batches ----------------------------------------------------------------------------------------- */

struct head {
	uint32_t count, size;
	struct ledger_position before, behind;
};

size_t ledger_batch_size(size_t records_size)
{
	return (HEAD_SIZE + records_size + LEDGER_BLOCK - 1) / LEDGER_BLOCK * LEDGER_BLOCK;
}

void ledger_batch_encode(const struct ledger_position *before, const struct ledger_position *behind, uint32_t count,
	struct bytes records, uint8_t *out, size_t size)
{
	assert(size == ledger_batch_size(records.size));
	assert(records.size <= LEDGER_BATCH_MAX);
	assert(behind->sequence == before->sequence + count);
	struct packer packer;
	memset(out, 0, size);
	pack_init(&packer, out, size);
	pack_raw(&packer, batch_magic, sizeof(batch_magic));
	pack_u32(&packer, count);
	pack_u32(&packer, (uint32_t)records.size);
	pack_position(&packer, before);
	pack_position(&packer, behind);
	check_seal(out, HEAD_SIZE);
	if (records.size > 0)
		memcpy(out + HEAD_SIZE, records.data, records.size);
}

static bool head_decode(struct bytes file, size_t at, struct head *head)
{
	struct unpacker unpacker;
	if (at > file.size || file.size - at < HEAD_SIZE)
		return false;
	const uint8_t *from = (const uint8_t *)file.data + at;
	if (memcmp(from, batch_magic, sizeof(batch_magic)) != 0 || !check_holds(from, HEAD_SIZE))
		return false;
	unpack_init(&unpacker, bytes_of(from + sizeof(batch_magic), HEAD_SIZE - sizeof(batch_magic)));
	head->count = unpack_u32(&unpacker);
	head->size = unpack_u32(&unpacker);
	unpack_position(&unpacker, &head->before);
	unpack_position(&unpacker, &head->behind);
	return head->size <= LEDGER_BATCH_MAX && head->behind.sequence == head->before.sequence + head->count;
}

static bool zeroes(struct bytes file, size_t from, size_t to)
{
	const uint8_t *at = file.data;
	for (size_t i = from; i < to && i < file.size; i++)
		if (at[i] != 0)
			return false;
	return true;
}

/* Calls fn for each record of a batch, or with fn NULL only judges: a batch counts as a whole or not at all. */
static enum status batch_records(struct bytes records, const struct head *head, ledger_record_fn *fn, void *arg)
{
	struct ledger_position position = head->before;
	struct unpacker unpacker;
	unpack_init(&unpacker, records);
	for (uint32_t i = 0; i < head->count; i++) {
		struct ledger_record record;
		uint8_t digest[SHA256_SIZE];
		struct bytes encoded = unpack_bytes(&unpacker, LEDGER_RECORD_MAX);
		if (unpacker.bad)
			return STATUS_INVALID;
		enum status status = ledger_record_decode(encoded, &record);
		if (status != STATUS_OK)
			return status;
		if (record.sequence != position.sequence + 1)
			return STATUS_INVALID;
		sha256_of(encoded, digest);
		ledger_advance(&position, digest);
		if (fn && !fn(arg, &record, encoded, &position))
			return STATUS_CANCELLED;
	}
	return unpack_end(&unpacker) && positions_equal(&position, &head->behind) ? STATUS_OK : STATUS_INVALID;
}

/* Something behind `at` was written after what should stand there was synced. */
static bool proof_behind(struct bytes file, size_t at, const struct ledger_position *position)
{
	struct head head;
	for (size_t block = at; block < file.size; block += LEDGER_BLOCK)
		if (head_decode(file, block, &head) && head.before.sequence > position->sequence)
			return true;
	return false;
}

static enum status damaged(struct ledger_scan *scan, size_t at, const char *what)
{
	scan->damage_at = at;
	scan->damage = what;
	return STATUS_INVALID;
}

/* Where a batch should begin and none does, or a bad one: the end, torn or not, or damage. */
static enum status scan_end(struct bytes file, bool newest, bool sealed, struct ledger_scan *scan)
{
	size_t behind = scan->end + (sealed ? HEAD_SIZE : 0);
	scan->sealed = sealed;
	if (zeroes(file, behind, file.size))
		return STATUS_OK;
	if (!newest)
		return damaged(scan, scan->end, "a batch is not what was written");
	if (proof_behind(file, scan->end, &scan->at))
		return damaged(scan, scan->end, "a batch that was durable is not what was written");
	scan->torn = true;
	return STATUS_OK;
}

enum status ledger_segment_scan(
	struct bytes file, bool newest, ledger_record_fn *fn, void *arg, struct ledger_scan *scan)
{
	struct ledger_segment segment;
	memset(scan, 0, sizeof(*scan));
	enum status status = ledger_segment_decode(file, &segment);
	if (status != STATUS_OK) {
		(void)damaged(scan, 0,
			status == STATUS_UNSUPPORTED ? "another version wrote it"
						     : "the header is not what was written");
		return status;
	}
	scan->at = segment.before;
	scan->end = LEDGER_BLOCK;
	for (;;) {
		struct head head;
		if (!head_decode(file, scan->end, &head) || !positions_equal(&head.before, &scan->at))
			return scan_end(file, newest, false, scan);
		if (head.count == 0)
			return scan_end(file, newest, head.size == 0 && positions_equal(&head.behind, &scan->at), scan);
		size_t records = scan->end + HEAD_SIZE, next = scan->end + ledger_batch_size(head.size);
		if (next > file.size || !zeroes(file, records + head.size, next))
			return scan_end(file, newest, false, scan);
		struct bytes bytes = bytes_of((const uint8_t *)file.data + records, head.size);
		status = batch_records(bytes, &head, NULL, NULL);
		if (status == STATUS_UNSUPPORTED) {
			(void)damaged(scan, scan->end, "a newer version wrote a record");
			return status;
		}
		if (status != STATUS_OK)
			return scan_end(file, newest, false, scan);
		if (fn && batch_records(bytes, &head, fn, arg) != STATUS_OK)
			return STATUS_CANCELLED;
		scan->at = head.behind;
		scan->end = next;
	}
}
