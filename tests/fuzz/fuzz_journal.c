/* Fuzzes the journal's reader: the input is a segment file, in a directory in memory, and the journal is opened on it.
 * The input is used twice: as it is, and, so that the fuzzer gets past the checksums, with every checksum that stands
 * where a header or a record could begin set right. Whatever the bytes, opening ends with a status, an open journal
 * holds its own invariants, and a second open finds what the first one left.
 *
 * clang -fsanitize=fuzzer,address,undefined over this file, storage/journal*.c, storage/disk.c and base/; -llz4
 * -lxxhash. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/pack.h"
#include "storage/disk.h"
#include "storage/journal.h"
#include "storage/journal_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INCARNATION = 7, SEQUENCE = 1, INPUT_MAX = 256 << 10 };
static char dir[64];

static bool remove_name(void *arg, const char *name)
{
	char path[512];
	(void)arg;
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	unlink(path);
	return true;
}

static void empty_dir(void)
{
	enum status status = disk_list(dir, remove_name, NULL);
	if (status != STATUS_OK)
		abort();
}

static void remove_dir(void)
{
	empty_dir();
	rmdir(dir);
}

static void make_dir(void)
{
	if (dir[0])
		return;
	snprintf(dir, sizeof(dir), "/dev/shm/fuzz-journal-XXXXXX");
	if (!mkdtemp(dir) || atexit(remove_dir) != 0)
		abort();
}

static void put_u64(uint8_t *at, uint64_t value)
{
	struct packer packer;
	pack_init(&packer, at, 8);
	pack_u64(&packer, value);
}

/* Sets right what a writer of these bytes would have computed. */
static void mend(uint8_t *data, size_t size)
{
	for (unsigned copy = 0; copy < 2 && (copy + 1) * JOURNAL_BLOCK <= size; copy++) {
		uint8_t *block = data + copy * JOURNAL_BLOCK;
		put_u64(block + JOURNAL_BLOCK - 8, hash64_seeded(bytes_of(block, JOURNAL_BLOCK - 8), copy));
	}
	for (size_t at = JOURNAL_DATA_BEGIN; at + RECORD_HEADER_SIZE <= size; at += 8) {
		if (data[at + 24] < RECORD_MARK || data[at + 24] > RECORD_REMOVE)
			continue;
		uint64_t seed = record_seed(INCARNATION, SEQUENCE, at);
		struct unpacker unpacker;
		unpack_init(&unpacker, bytes_of(data + at + 16, 4));
		uint64_t padded = align_up(unpack_u32(&unpacker), 8);
		if (padded <= size - at - RECORD_HEADER_SIZE)
			put_u64(data + at + 8, hash64_seeded(bytes_of(data + at + RECORD_HEADER_SIZE, padded), seed));
		put_u64(data + at, hash64_seeded(bytes_of(data + at + 8, RECORD_HEADER_SIZE - 8), seed));
		if (padded <= size - at - RECORD_HEADER_SIZE)
			at += RECORD_HEADER_SIZE + padded - 8;
	}
}

/* Each eight bytes are a record with good checksums and odd contents; the top bit of the first begins a block. */
static size_t build(const uint8_t *script, size_t count, uint8_t *out, size_t capacity)
{
	size_t at = JOURNAL_DATA_BEGIN;
	for (; count >= 8; script += 8, count -= 8) {
		struct record record = { .type = (uint8_t)(script[0] % 8 + 1),
			.ordinal = script[1],
			.group = script[2] % 4,
			.index = script[3],
			.term = script[4] % 4,
			.key_hash = script[5] * 16u,
			.version = script[6],
			.body_size = script[7],
			.stored_size = script[7] };
		if (script[0] & 0x80)
			at = align_up(at, JOURNAL_BLOCK);
		if (script[5] & 1)
			record.body_size += 5000; /* said to be compressed */
		if (at + record_size(record.stored_size) > capacity)
			break;
		for (size_t i = 0; i < record.stored_size; i++)
			out[at + RECORD_HEADER_SIZE + i] = i % 8 < 2 ? script[i % 8] : 0;
		record_seal(out + at, &record, record_seed(INCARNATION, SEQUENCE, at));
		at += record_size(record.stored_size);
	}
	return at;
}

struct totals {
	uint64_t entries, hash;
};

static void on_entry(void *arg, const struct journal_entry *entry)
{
	struct totals *totals = arg;
	totals->entries++;
	totals->hash ^= hash64_seeded(entry->body, entry->group ^ entry->index << 20 ^ entry->term << 40);
}

/* Gives whether it could be opened. */
static bool open_and_check(struct totals *totals)
{
	struct journal_options options = {
		.dir = dir, .incarnation = INCARNATION, .segment_size = JOURNAL_SEGMENT_SIZE_MIN
	};
	struct journal_recovery recovery = { .arg = totals, .entry = on_entry };
	struct journal *journal;
	*totals = (struct totals){ 0 };
	if (journal_open(&options, &recovery, &journal) != STATUS_OK)
		return false;
	journal_check(journal);
	journal_close(journal);
	return true;
}

static void try_bytes(const uint8_t *data, size_t size)
{
	char path[128];
	struct disk_file *file;
	struct bytes slice = bytes_of(data, size);
	struct totals first, second;
	empty_dir();
	snprintf(path, sizeof(path), "%s/%016x.seg", dir, SEQUENCE);
	if (disk_open(path, DISK_CREATE, &file) != STATUS_OK || disk_write(file, 0, &slice, 1) != STATUS_OK)
		abort();
	disk_close(file);
	if (!open_and_check(&first))
		return;
	bool again = open_and_check(&second);
	assert(again);
	assert(first.entries == second.entries);
	assert(first.hash == second.hash);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	make_dir();
	if (size > INPUT_MAX)
		return 0;
	try_bytes(data, size);
	uint8_t *mended = malloc(JOURNAL_DATA_BEGIN + size);
	if (!mended)
		return 0;
	struct segment_header header = { .incarnation = INCARNATION,
		.sequence = SEQUENCE,
		.segment_size = JOURNAL_SEGMENT_SIZE_MIN,
		.first_flush = 1,
		.needed = 1 };
	segment_header_encode(mended, &header);
	if (size > 0)
		memcpy(mended + JOURNAL_DATA_BEGIN, data, size);
	mend(mended, JOURNAL_DATA_BEGIN + size);
	try_bytes(mended, JOURNAL_DATA_BEGIN + size);
	free(mended);
	static uint8_t built[JOURNAL_SEGMENT_SIZE_MIN];
	memset(built, 0, sizeof(built));
	segment_header_encode(built, &header);
	try_bytes(built, build(data, size, built, sizeof(built)));
	return 0;
}
