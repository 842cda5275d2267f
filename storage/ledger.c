/* storage/ledger.c: see storage/ledger.h. Files are ledger/<first sequence, 16 hex digits>.led; a new one is made
 * beside, synced and renamed, so that whatever has such a name has a whole header.
 *
 * At the open everything is read and judged. The end of the newest file may be torn: it is filled with zeroes before
 * anything is written there, so that behind the end there is never anything but a seal. */
#include "storage/ledger.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/disk.h"

enum { SEGMENTS_STEP = 64, NAME_SIZE = 16 + 4 };

struct file_of {
	uint64_t first; /* sequence of its first record */
	uint64_t size;	/* durable bytes, the seal included */
};

struct ledger {
	char dir[DISK_PATH_MAX];
	uint64_t incarnation, segment_size;
	struct place place;
	struct file_of *files; /* rising */
	size_t file_count, file_capacity;
	struct disk_file *file; /* the newest; a running flush's */
	struct ledger_position appended, durable;
	uint64_t end; /* where in the newest file the next batch goes */
	uint8_t *pending;
	size_t pending_size, pending_capacity;
	bool flushing, failed;
};

struct ledger_flush { /* everything that run touches */
	struct ledger *ledger;
	struct disk_file *file; /* the newest afterwards */
	struct ledger_position before, behind;
	uint64_t end, first_new; /* first_new: the file that it began; 0: none */
	size_t taken;		 /* bytes of pending */
	size_t size;
	uint8_t data[];
};

static enum status path_of(const struct ledger *ledger, uint64_t first, const char *suffix, char path[DISK_PATH_MAX])
{
	int length = snprintf(path, DISK_PATH_MAX, "%s/%016llx%s", ledger->dir, (unsigned long long)first, suffix);
	return length > 0 && length < DISK_PATH_MAX ? STATUS_OK : STATUS_TOO_LARGE;
}

/* --- writing ----------------------------------------------------------------------------------------- */

/* A file that begins behind `before`: whole, or not there. */
static enum status file_make(const struct ledger *ledger, const struct ledger_position *before, struct disk_file **file)
{
	char path[DISK_PATH_MAX], fresh[DISK_PATH_MAX];
	uint8_t block[LEDGER_BLOCK];
	struct ledger_segment segment = {
		.incarnation = ledger->incarnation, .place = ledger->place, .before = *before
	};
	*file = NULL;
	enum status status = path_of(ledger, before->sequence + 1, ".led", path);
	if (status == STATUS_OK)
		status = path_of(ledger, before->sequence + 1, ".new", fresh);
	if (status != STATUS_OK)
		return status;
	status = disk_remove(fresh); /* of an attempt that was cut off */
	if (status != STATUS_OK && status != STATUS_NOT_FOUND)
		return status;
	status = disk_open(fresh, DISK_CREATE | DISK_EXCLUSIVE, file);
	if (status != STATUS_OK)
		return status;
	ledger_segment_encode(&segment, block);
	struct bytes slice = bytes_of(block, sizeof(block));
	status = disk_allocate(*file, 2 * LEDGER_BLOCK);
	if (status == STATUS_OK)
		status = disk_write(*file, 0, &slice, 1);
	if (status == STATUS_OK)
		status = disk_sync(*file);
	if (status == STATUS_OK)
		status = disk_rename(fresh, path);
	if (status == STATUS_OK)
		status = disk_sync_dir(ledger->dir);
	if (status != STATUS_OK) {
		disk_close(*file);
		*file = NULL;
	}
	return status;
}

enum status ledger_append(struct ledger *ledger, struct ledger_record *record)
{
	uint8_t digest[SHA256_SIZE];
	struct packer packer;
	if (ledger->failed)
		return STATUS_IO;
	record->sequence = ledger->appended.sequence + 1;
	pack_init(&packer, NULL, 0);
	ledger_record_encode(record, &packer);
	size_t size = packer.size, needed = ledger->pending_size + 4 + size;
	assert(size <= LEDGER_RECORD_MAX);
	if (needed > LEDGER_PENDING_MAX)
		return STATUS_BUSY;
	if (needed > ledger->pending_capacity) {
		size_t capacity = needed < 4096 ? 4096 : 2 * needed;
		uint8_t *grown = realloc(ledger->pending, capacity);
		if (!grown)
			return STATUS_NO_MEMORY;
		ledger->pending = grown;
		ledger->pending_capacity = capacity;
	}
	pack_init(&packer, ledger->pending + ledger->pending_size, 4 + size);
	pack_u32(&packer, (uint32_t)size);
	ledger_record_encode(record, &packer);
	assert(!packer.overflow);
	sha256_of(bytes_of(ledger->pending + ledger->pending_size + 4, size), digest);
	ledger_advance(&ledger->appended, digest);
	ledger->pending_size = needed;
	return STATUS_OK;
}

/* As many of the pending records as one batch takes; the chain behind them. */
static uint32_t batch_take(const struct ledger *ledger, size_t *size, struct ledger_position *behind)
{
	struct unpacker unpacker;
	uint32_t count = 0;
	*size = 0;
	*behind = ledger->durable;
	unpack_init(&unpacker, bytes_of(ledger->pending, ledger->pending_size));
	while (unpacker.at < unpacker.size) {
		uint8_t digest[SHA256_SIZE];
		struct bytes record = unpack_bytes(&unpacker, LEDGER_RECORD_MAX);
		assert(!unpacker.bad);
		if (unpacker.at > LEDGER_BATCH_MAX)
			break;
		sha256_of(record, digest);
		ledger_advance(behind, digest);
		*size = unpacker.at;
		count++;
	}
	assert(count > 0);
	return count;
}

bool ledger_flush_begin(struct ledger *ledger, struct ledger_flush **out)
{
	struct ledger_position behind;
	size_t records;
	*out = NULL;
	if (ledger->flushing || ledger->failed || ledger->pending_size == 0)
		return false;
	uint32_t count = batch_take(ledger, &records, &behind);
	size_t size = ledger_batch_size(records);
	struct ledger_flush *flush = calloc(1, sizeof(*flush) + size);
	if (!flush)
		return false;
	flush->ledger = ledger;
	flush->file = ledger->file;
	flush->before = ledger->durable;
	flush->behind = behind;
	flush->end = ledger->end;
	flush->taken = records;
	flush->size = size;
	ledger_batch_encode(
		&flush->before, &behind, count, bytes_of(ledger->pending, records), flush->data, flush->size);
	ledger->flushing = true;
	*out = flush;
	return true;
}

/* Not synced: it only has to be there before anybody else looks, and after a crash it is worth something or nothing. */
static enum status seal_write(struct disk_file *file, uint64_t at, const struct ledger_position *position)
{
	uint8_t block[LEDGER_BLOCK];
	ledger_batch_encode(position, position, 0, bytes_of(NULL, 0), block, sizeof(block));
	struct bytes slice = bytes_of(block, sizeof(block));
	return disk_write(file, at, &slice, 1);
}

enum status ledger_flush_run(struct ledger_flush *flush)
{
	struct ledger *ledger = flush->ledger;
	enum status status = STATUS_OK;
	if (!flush->file || flush->end >= ledger->segment_size) {
		struct disk_file *file;
		status = file_make(ledger, &flush->before, &file);
		if (status != STATUS_OK)
			return status;
		flush->file = file;
		flush->first_new = flush->before.sequence + 1;
		flush->end = LEDGER_BLOCK;
	}
	/* With the seal's block: from here on the disk cannot be full. */
	status = disk_allocate(flush->file, flush->end + flush->size + LEDGER_BLOCK);
	if (status != STATUS_OK)
		return status;
	struct bytes slice = bytes_of(flush->data, flush->size);
	status = disk_write(flush->file, flush->end, &slice, 1);
	if (status == STATUS_OK)
		status = disk_sync(flush->file);
	if (status != STATUS_OK)
		return status == STATUS_NO_SPACE ? STATUS_IO : status;
	status = seal_write(flush->file, flush->end + flush->size, &flush->behind);
	return status == STATUS_NO_SPACE ? STATUS_IO : status;
}

static enum status files_add(struct ledger *ledger, uint64_t first, uint64_t size)
{
	if (ledger->file_count == ledger->file_capacity) {
		size_t capacity = ledger->file_capacity + SEGMENTS_STEP;
		struct file_of *grown = realloc(ledger->files, capacity * sizeof(*grown));
		if (!grown)
			return STATUS_NO_MEMORY;
		ledger->files = grown;
		ledger->file_capacity = capacity;
	}
	ledger->files[ledger->file_count++] = (struct file_of){ first, size };
	return STATUS_OK;
}

enum status ledger_flush_end(struct ledger *ledger, struct ledger_flush *flush, enum status ran)
{
	enum status status = ran;
	assert(ledger->flushing);
	ledger->flushing = false;
	if (flush->first_new != 0) {
		/* A file that was begun is there, whether its first batch could be written or not. */
		disk_close(ledger->file);
		ledger->file = flush->file;
		ledger->end = LEDGER_BLOCK;
		enum status added = files_add(ledger, flush->first_new, LEDGER_BLOCK);
		if (added != STATUS_OK)
			status = added;
	}
	if (status == STATUS_OK) {
		ledger->durable = flush->behind;
		ledger->end = flush->end + flush->size;
		ledger->files[ledger->file_count - 1].size = ledger->end + LEDGER_BLOCK;
		ledger->pending_size -= flush->taken;
		memmove(ledger->pending, ledger->pending + flush->taken, ledger->pending_size);
	} else if (status != STATUS_NO_SPACE && status != STATUS_CANCELLED) {
		ledger->failed = true;
	}
	free(flush);
	return status;
}

/* --- opening ----------------------------------------------------------------------------------------- */

struct listing {
	struct ledger *ledger;
	enum status status;
};

static bool listed(void *arg, const char *name)
{
	struct listing *listing = arg;
	uint64_t first = 0;
	if (strlen(name) != NAME_SIZE)
		return true;
	for (unsigned i = 0; i < 16; i++) {
		const char *digits = "0123456789abcdef", *digit = strchr(digits, name[i]);
		if (!digit || !name[i])
			return true;
		first = first << 4 | (uint64_t)(digit - digits);
	}
	if (strcmp(name + 16, ".led") == 0)
		listing->status = files_add(listing->ledger, first, 0);
	return listing->status == STATUS_OK;
}

static int by_first(const void *a, const void *b)
{
	uint64_t left = ((const struct file_of *)a)->first, right = ((const struct file_of *)b)->first;
	return left < right ? -1 : left > right;
}

static enum status file_load(const struct ledger *ledger, uint64_t first, uint8_t *out, size_t *size)
{
	char path[DISK_PATH_MAX];
	struct disk_file *file;
	enum status status = path_of(ledger, first, ".led", path);
	if (status == STATUS_OK)
		status = disk_open(path, DISK_READ_ONLY, &file);
	if (status != STATUS_OK)
		return status;
	uint64_t whole = 0;
	status = disk_size(file, &whole);
	if (status == STATUS_OK && whole > LEDGER_FILE_MAX)
		status = STATUS_CORRUPT; /* none is written so large */
	if (status == STATUS_OK)
		status = disk_read(file, 0, out, LEDGER_FILE_MAX, size);
	disk_close(file);
	return status;
}

/* Whatever is there behind the last whole batch goes. The seal too: nothing is lost with it, what it proves was read.
 */
static enum status tail_clear(struct ledger *ledger, const struct ledger_scan *scan, uint64_t size)
{
	static const uint8_t zeroes[LEDGER_BLOCK];
	for (uint64_t at = scan->end; scan->torn && at < size; at += LEDGER_BLOCK) {
		struct bytes slice = bytes_of(zeroes, (size_t)(size - at < LEDGER_BLOCK ? size - at : LEDGER_BLOCK));
		enum status status = disk_write(ledger->file, at, &slice, 1);
		if (status != STATUS_OK)
			return status;
	}
	return scan->torn ? disk_sync(ledger->file) : STATUS_OK;
}

static enum status file_judge(struct ledger *ledger, size_t at, struct bytes file, ledger_record_fn *found, void *arg,
	struct ledger_scan *scan, const char **why)
{
	struct ledger_segment segment;
	enum status status = ledger_segment_decode(file, &segment);
	if (status == STATUS_OK &&
		(segment.incarnation != ledger->incarnation || !place_equal(&segment.place, &ledger->place))) {
		*why = "the ledger is another node's";
		return STATUS_CONFLICT;
	}
	if (status == STATUS_OK && (segment.before.sequence + 1 != ledger->files[at].first ||
					   segment.before.sequence != ledger->durable.sequence ||
					   memcmp(segment.before.hash, ledger->durable.hash, SHA256_SIZE) != 0)) {
		*why = "files of the ledger are missing or out of order";
		return STATUS_CORRUPT;
	}
	status = ledger_segment_scan(file, at + 1 == ledger->file_count, found, arg, scan);
	if (status == STATUS_INVALID || status == STATUS_UNSUPPORTED)
		*why = scan->damage;
	return status == STATUS_INVALID ? STATUS_CORRUPT : status;
}

static enum status read_all(struct ledger *ledger, ledger_record_fn *found, void *arg, const char **why)
{
	uint8_t *file = malloc(LEDGER_FILE_MAX);
	enum status status = file ? STATUS_OK : STATUS_NO_MEMORY;
	struct ledger_scan scan = { .end = 0 };
	size_t size = 0;
	for (size_t i = 0; i < ledger->file_count && status == STATUS_OK; i++) {
		status = file_load(ledger, ledger->files[i].first, file, &size);
		if (status == STATUS_OK)
			status = file_judge(ledger, i, bytes_of(file, size), found, arg, &scan, why);
		ledger->durable = ledger->appended = scan.at;
		ledger->end = scan.end;
		ledger->files[i].size = size;
	}
	free(file);
	if (status != STATUS_OK || ledger->file_count == 0)
		return status;
	char path[DISK_PATH_MAX];
	status = path_of(ledger, ledger->files[ledger->file_count - 1].first, ".led", path);
	if (status == STATUS_OK)
		status = disk_open(path, 0, &ledger->file);
	if (status == STATUS_OK)
		status = tail_clear(ledger, &scan, size);
	/* What was read may stand in the page cache only: a process that died before its sync. */
	if (status == STATUS_OK)
		status = disk_sync(ledger->file);
	if (status == STATUS_OK && size >= scan.end + LEDGER_BLOCK)
		status = seal_write(ledger->file, scan.end, &scan.at);
	return status;
}

enum status ledger_open(
	const struct ledger_options *options, ledger_record_fn *found, void *arg, struct ledger **out, const char **why)
{
	*out = NULL;
	*why = "the ledger could not be opened";
	struct ledger *ledger = calloc(1, sizeof(*ledger));
	if (!ledger)
		return STATUS_NO_MEMORY;
	ledger->incarnation = options->incarnation;
	ledger->place = options->place;
	ledger->segment_size = options->segment_size ? options->segment_size : LEDGER_SEGMENT_MAX;
	assert(ledger->segment_size > LEDGER_BLOCK);
	assert(ledger->segment_size <= LEDGER_SEGMENT_MAX);
	ledger->durable = ledger->appended = ledger_origin(options->incarnation, &options->place);
	struct listing listing = { .ledger = ledger, .status = STATUS_OK };
	int length = snprintf(ledger->dir, sizeof(ledger->dir), "%s/ledger", options->dir);
	enum status status =
		length > 0 && (size_t)length < sizeof(ledger->dir) ? disk_make_dir(ledger->dir) : STATUS_TOO_LARGE;
	if (status == STATUS_OK)
		status = disk_sync_dir(options->dir);
	if (status == STATUS_OK)
		status = disk_list(ledger->dir, listed, &listing);
	if (status == STATUS_OK)
		status = listing.status;
	if (status == STATUS_OK && ledger->file_count > 1)
		qsort(ledger->files, ledger->file_count, sizeof(*ledger->files), by_first);
	if (status == STATUS_OK)
		status = read_all(ledger, found, arg, why);
	if (status != STATUS_OK) {
		ledger_close(ledger);
		return status;
	}
	*out = ledger;
	return STATUS_OK;
}

void ledger_close(struct ledger *ledger)
{
	if (!ledger)
		return;
	assert(!ledger->flushing);
	disk_close(ledger->file);
	free(ledger->files);
	free(ledger->pending);
	free(ledger);
}

struct ledger_position ledger_durable(const struct ledger *ledger)
{
	return ledger->durable;
}

uint64_t ledger_appended(const struct ledger *ledger)
{
	return ledger->appended.sequence;
}

/* --- reading ----------------------------------------------------------------------------------------- */

enum status ledger_read(
	struct ledger *ledger, uint64_t sequence, uint64_t offset, void *out, size_t size, struct ledger_part *part)
{
	size_t at = ledger->file_count;
	*part = (struct ledger_part){ 0 };
	while (at > 0 && ledger->files[at - 1].first > sequence)
		at--;
	if (at == 0 || sequence > ledger->durable.sequence)
		return STATUS_NOT_FOUND;
	at--;
	part->first = ledger->files[at].first;
	part->next = at + 1 < ledger->file_count ? ledger->files[at + 1].first : 0;
	part->size = ledger->files[at].size;
	if (offset >= part->size)
		return STATUS_OK;
	char path[DISK_PATH_MAX];
	struct disk_file *file;
	enum status status = path_of(ledger, part->first, ".led", path);
	if (status == STATUS_OK)
		status = disk_open(path, DISK_READ_ONLY, &file);
	if (status != STATUS_OK)
		return status;
	status = disk_read(
		file, offset, out, size < part->size - offset ? size : (size_t)(part->size - offset), &part->got);
	disk_close(file);
	return status;
}
