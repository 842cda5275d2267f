/* storage/journal_flush.c: one flush. journal_flush_begin decides, on the journal's thread, what goes where;
 * journal_flush_run encodes, writes and syncs, on any thread, touching only what the flush owns; journal_flush_end, on
 * the journal's thread again, takes the outcome into the index.
 *
 * A batch lies in one segment, so one sync makes it durable. When the next record does not fit, the batch begins a new
 * segment: an old one by renaming it, or a fresh file. Any failure but a full disk is final.
 *
 * A full disk. Space is taken by writing zeroes ahead of need, and always so much that a reserve lies behind the batch,
 * in the same segment. So a full disk shows before anything of the batch is written, and while there is still room for
 * it: what is pending then, and small records (votes) after it, go into the reserve, and journal_full tells the caller
 * to bring no more. When the reserve too is used up the flush says NO_SPACE and can be tried again, for nothing that
 * was durable has been touched. A probe is a flush that only takes space.
 *
 * After the sync the run writes an ACKED record behind the batch, without a sync: the next batch overwrites it, and if
 * none comes it soon tells a restart that this batch was durable. Then it removes the segments that the batch's MARK
 * has just declared free and that nobody wants back. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "storage/journal_internal.h"

enum { ALLOCATE_STEP_MAX = 4 << 20, ALLOCATE_STEP_MIN = 256 << 10 };

struct flush_record {
	struct record record;
	struct buffer *body; /* a reference */
	uint64_t offset;     /* out */
};

struct copy {			/* a record of the oldest segment, to be written again */
	struct disk_file *file; /* borrowed: the segment cannot go while the flush is under way */
	uint64_t group, index, segment, offset;
	uint64_t offset_new; /* out; 0: not taken */
	bool bad;	     /* out: it failed its checksum */
	struct record record;
	uint8_t *stored; /* padded */
};

struct journal_flush {
	const char *dir;
	uint64_t incarnation, segment_size, reserve;
	struct flush_record *records;
	size_t record_count;
	struct copy *copies;
	size_t copy_count;
	uint64_t number, needed;

	bool roll;
	struct segment_header header; /* with roll */
	uint64_t spare;		      /* with roll: this segment is renamed; 0: a fresh file */
	struct segment target;	      /* in and out; file NULL: to be opened */
	struct disk_file *spare_file;
	uint64_t spare_allocated;
	struct segment active; /* with roll: where the batch goes when there is no room for another segment; file NULL:
				  nowhere */
	struct segment unused; /* out: what there was of that other segment, if the batch went there */
	bool fell_back, full;  /* out; full: no room for more than the reserve */
	bool probe;	       /* nothing to write */

	uint64_t *removals; /* sequences that go once the MARK is durable */
	size_t removal_count, removal_done;
	uint8_t *encode;
	size_t encode_capacity;
	uint64_t written;
};

static uint64_t lower(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* --- begin --------------------------------------------------------------------------------------- */

static bool erasing(const struct journal *journal)
{
	for (size_t i = 0; i < journal->tombstone_count; i++)
		if (journal->tombstones[i].segment != 0)
			return true;
	return false;
}

static uint64_t erase_upto(const struct journal *journal)
{
	uint64_t upto = 0;
	for (size_t i = 0; i < journal->tombstone_count; i++)
		if (journal->tombstones[i].segment > upto)
			upto = journal->tombstones[i].segment;
	return upto;
}

static struct segment *active_of(const struct journal *journal)
{
	return journal->active ? &journal->segments[journal->segment_count - 1] : NULL;
}

/* The oldest segment that is needed and holds so little, or holds so what must be erased, that it is to be emptied;
 * NULL: none. */
static const struct segment *segment_to_empty(const struct journal *journal)
{
	size_t needed = 0;
	const struct segment *oldest = NULL, *active = active_of(journal);
	for (size_t i = 0; i < journal->segment_count; i++) {
		if (index_segment_live(&journal->index, journal->segments[i].sequence) == 0)
			continue;
		needed++;
		if (!oldest)
			oldest = &journal->segments[i];
	}
	if (!oldest || (oldest == active && !journal->roll_wanted))
		return NULL;
	if (oldest->sequence <= erase_upto(journal))
		return oldest;
	uint64_t live = index_segment_live(&journal->index, oldest->sequence);
	return needed > SEGMENTS_BEFORE_COPY && 4 * live <= oldest->records ? oldest : NULL;
}

/* What the segment still holds is pushed (states) or listed (entries). */
static enum status empty_segment(struct journal *journal, const struct segment *segment, struct journal_flush *flush)
{
	uint64_t sequence = segment->sequence;
	struct group_log **logs = index_sorted(&journal->index);
	flush->copies = calloc(COPY_COUNT_MAX, sizeof(*flush->copies));
	enum status status = logs && flush->copies ? STATUS_OK : STATUS_NO_MEMORY;
	for (size_t i = 0; i < journal->index.group_count && status == STATUS_OK; i++) {
		struct group_log *log = logs[i];
		if (log->state_segment == sequence && log->state_ticket <= journal->durable) {
			status = journal_push_state(journal, log, RECORD_STATE);
			journal->stats.copied++;
		}
		for (uint32_t r = 0; r < log->run_count && status == STATUS_OK; r++) {
			const struct run *run = &log->runs[r];
			for (uint32_t k = 0; run->segment == sequence && k < run->count; k++) {
				if (flush->copy_count == COPY_COUNT_MAX)
					break;
				flush->copies[flush->copy_count++] = (struct copy){ .file = segment->file,
					.group = log->group,
					.index = run->first + k,
					.segment = sequence,
					.offset = (uint64_t)run->position[k] * 8 };
			}
		}
	}
	free(logs);
	return status;
}

/* How many of the pending records fit into `room`, all at their uncompressed size. */
static size_t records_that_fit(const struct journal *journal, uint64_t room)
{
	uint64_t size = RECORD_HEADER_SIZE;
	size_t count = 0;
	for (uint64_t ticket = journal->durable + 1; ticket <= journal->last; ticket++, count++) {
		const struct record *record = &pending_at(journal, ticket)->record;
		size += record_size(record->body_size) + MARK_ITEM_SIZE;
		if (size > room)
			break;
	}
	return count;
}

static uint64_t room_in(const struct journal *journal, uint64_t end)
{
	uint64_t behind = align_up(end, JOURNAL_BLOCK) + JOURNAL_BLOCK; /* the last block is for ACKED */
	uint64_t room = behind < journal->segment_size ? journal->segment_size - behind : 0;
	return room;
}

/* The same without the reserve. */
static uint64_t room_before_reserve(const struct journal *journal, uint64_t end)
{
	uint64_t room = room_in(journal, end);
	return room > journal->reserve ? room - journal->reserve : 0;
}

/* What can be written to the segment without asking the disk for more. */
static uint64_t room_allocated(const struct journal *journal, const struct segment *segment)
{
	uint64_t room = room_in(journal, segment->end);
	uint64_t behind = align_up(segment->end, JOURNAL_BLOCK) + JOURNAL_BLOCK;
	return lower(room, segment->allocated > behind ? segment->allocated - behind : 0);
}

static void plan_roll(struct journal *journal, struct journal_flush *flush)
{
	flush->roll = true;
	flush->target = journal->prepared;
	if (!flush->target.file) {
		uint64_t erase = erase_upto(journal);
		const struct segment *first = journal->segment_count > 0 ? &journal->segments[0] : NULL;
		flush->target = (struct segment){ .sequence = journal->sequence_next++ };
		if (first && first->sequence < journal->needed && first->sequence > erase) {
			flush->spare = first->sequence;
			flush->spare_file = first->file;
			flush->spare_allocated = first->allocated;
		}
	}
	flush->target.end = JOURNAL_DATA_BEGIN;
	flush->header = (struct segment_header){ .incarnation = journal->incarnation,
		.sequence = flush->target.sequence,
		.segment_size = journal->segment_size,
		.previous_sequence = journal->previous_sequence,
		.previous_end = journal->previous_end,
		.first_flush = journal->flush_next,
		.needed = journal->needed,
		.unknown_loss = journal->unknown_loss };
	memcpy(flush->header.cluster, journal->cluster, sizeof(flush->header.cluster));
}

/* Segments that the MARK of this flush declares free, or that were free before, less those that are kept. */
static enum status plan_removals(const struct journal *journal, struct journal_flush *flush)
{
	uint64_t erase = erase_upto(journal);
	size_t free_count = 0;
	for (size_t i = 0; i < journal->segment_count; i++)
		free_count +=
			journal->segments[i].sequence < flush->needed && journal->segments[i].sequence != flush->spare;
	if (free_count == 0)
		return STATUS_OK;
	flush->removals = calloc(free_count, sizeof(*flush->removals));
	if (!flush->removals)
		return STATUS_NO_MEMORY;
	for (size_t i = 0; i < journal->segment_count && free_count > 0; i++) {
		uint64_t sequence = journal->segments[i].sequence;
		if (sequence == flush->spare)
			continue;
		if (free_count <= journal->segments_kept && sequence > erase)
			break;
		flush->removals[flush->removal_count++] = sequence;
		free_count--;
	}
	return STATUS_OK;
}

static enum status take_records(struct journal *journal, struct journal_flush *flush, size_t count)
{
	flush->records = calloc(count ? count : 1, sizeof(*flush->records));
	if (!flush->records)
		return STATUS_NO_MEMORY;
	for (size_t i = 0; i < count; i++) {
		const struct pending *pending = pending_at(journal, journal->durable + 1 + i);
		flush->records[i].record = pending->record;
		flush->records[i].body = pending->body ? buffer_ref(pending->body) : NULL;
	}
	flush->record_count = count;
	return STATUS_OK;
}

static enum status plan(struct journal *journal, struct journal_flush *flush)
{
	const struct segment *active = active_of(journal);
	const struct segment *oldest = journal->full ? NULL : segment_to_empty(journal);
	enum status status = oldest ? empty_segment(journal, oldest, flush) : STATUS_OK;
	if (status != STATUS_OK)
		return status;
	uint64_t pending = journal->last - journal->durable;
	uint64_t room = active ? lower(room_before_reserve(journal, active->end), journal->flush_size_max) : 0;
	size_t count = records_that_fit(journal, room);
	uint64_t least = flush->probe ? lower(journal->reserve, journal->flush_size_max) : RECORD_HEADER_SIZE;
	if (!active || journal->roll_wanted || (pending > 0 && count == 0) || room < least) {
		plan_roll(journal, flush);
		room = room_before_reserve(journal, JOURNAL_DATA_BEGIN);
		count = records_that_fit(journal, lower(room, journal->flush_size_max));
		if (count == 0 && pending > 0)
			count = 1; /* a large one: the next goes into another segment */
		assert(pending == 0 || records_that_fit(journal, room_in(journal, JOURNAL_DATA_BEGIN)) > 0);
		if (active)
			flush->active = *active;
	} else {
		flush->target = *active;
	}
	if (journal->full && active) {
		size_t sure = records_that_fit(journal, room_allocated(journal, active));
		count = sure > 0 && sure < count ? sure : count;
	}
	flush->number = journal->flush_next;
	flush->needed = journal->needed;
	if (count == pending)
		flush->needed = lower(index_oldest_live(&journal->index), flush->target.sequence);
	assert(flush->needed >= journal->needed);
	status = take_records(journal, flush, count);
	return status == STATUS_OK ? plan_removals(journal, flush) : status;
}

static void flush_free(struct journal_flush *flush)
{
	for (size_t i = 0; i < flush->record_count; i++)
		buffer_unref(flush->records[i].body);
	for (size_t i = 0; i < flush->copy_count; i++)
		free(flush->copies[i].stored);
	free(flush->copies);
	free(flush->records);
	free(flush->removals);
	free(flush);
}

bool journal_flush_begin(struct journal *journal, struct journal_flush **out)
{
	*out = NULL;
	if (journal->failed || journal->flush)
		return false;
	bool erase = erasing(journal), pending = journal->last > journal->durable;
	if (journal->full && !pending && !journal->probe_wanted)
		return false; /* what else there is to do takes room */
	if (erase && journal->active && erase_upto(journal) >= active_of(journal)->sequence)
		journal->roll_wanted = true;
	if (!journal->full && !pending && !journal->roll_wanted && !erase)
		return false;
	struct journal_flush *flush = calloc(1, sizeof(*flush));
	if (!flush)
		return false; /* what is pending waits */
	flush->dir = journal->dir;
	flush->incarnation = journal->incarnation;
	flush->segment_size = journal->segment_size;
	flush->reserve = journal->reserve;
	flush->probe = journal->full && !pending;
	if (plan(journal, flush) != STATUS_OK) {
		flush_free(flush);
		return false;
	}
	flush->encode = journal->encode;
	flush->encode_capacity = journal->encode_capacity;
	journal->flush = flush;
	journal->probe_wanted = false;
	*out = flush;
	return true;
}

/* --- run: nothing below here looks at the journal -------------------------------------------------- */

/* Reads what is to be copied, until `room` is used up. */
static enum status copies_read(struct journal_flush *flush, uint64_t room)
{
	uint64_t size = 0;
	for (size_t i = 0; i < flush->copy_count; i++) {
		struct copy *copy = &flush->copies[i];
		uint8_t head[RECORD_HEADER_SIZE];
		size_t got;
		uint64_t seed = record_seed(flush->incarnation, copy->segment, copy->offset);
		enum status status = disk_read(copy->file, copy->offset, head, sizeof(head), &got);
		if (status != STATUS_OK)
			return status;
		copy->bad = got < sizeof(head) || !record_parse(head, seed, &copy->record) ||
			    record_size(copy->record.stored_size) > flush->segment_size;
		if (copy->bad)
			continue;
		size += record_size(copy->record.stored_size) + MARK_ITEM_SIZE;
		if (size > room)
			break;
		size_t padded = (size_t)align_up(copy->record.stored_size, 8);
		copy->stored = malloc(padded ? padded : 1);
		if (!copy->stored)
			break;
		status = disk_read(copy->file, copy->offset + RECORD_HEADER_SIZE, copy->stored, padded, &got);
		if (status != STATUS_OK)
			return status;
		copy->bad = got < padded || !record_body_good(copy->stored, &copy->record, seed) ||
			    copy->record.group != copy->group || copy->record.index != copy->index;
		if (copy->bad) {
			free(copy->stored);
			copy->stored = NULL;
		}
	}
	return STATUS_OK;
}

static void item_add(uint8_t *items, size_t *count, struct mark_item *last, const struct record *record)
{
	if (*count > 0 && record_follows(last, record)) {
		last->count++;
	} else {
		*last = mark_item_of(record);
		(*count)++;
	}
	if (items)
		mark_item_encode(items + (*count - 1) * MARK_ITEM_SIZE, last);
}

/* The items that name every record; with items NULL only their number. */
static size_t items_list(const struct journal_flush *flush, uint8_t *items)
{
	struct mark_item last = { 0 };
	size_t count = 0;
	for (size_t i = 0; i < flush->record_count; i++)
		item_add(items, &count, &last, &flush->records[i].record);
	for (size_t i = 0; i < flush->copy_count; i++)
		if (flush->copies[i].stored)
			item_add(items, &count, &last, &flush->copies[i].record);
	return count;
}

static uint64_t encoded_size_max(const struct journal_flush *flush, size_t items)
{
	uint64_t size = RECORD_HEADER_SIZE + items * MARK_ITEM_SIZE;
	for (size_t i = 0; i < flush->record_count; i++)
		size += record_size(flush->records[i].record.body_size);
	for (size_t i = 0; i < flush->copy_count; i++)
		if (flush->copies[i].stored)
			size += record_size(flush->copies[i].record.stored_size);
	return size;
}

static enum status encode_reserve(struct journal_flush *flush, uint64_t size)
{
	if (size <= flush->encode_capacity)
		return STATUS_OK;
	uint8_t *encode = realloc(flush->encode, (size_t)size);
	if (!encode)
		return STATUS_NO_MEMORY;
	flush->encode = encode;
	flush->encode_capacity = (size_t)size;
	return STATUS_OK;
}

/* Puts the record at `at` of the batch; its stored body stands there already, unpadded. Gives what follows. */
static uint64_t seal_at(const struct journal_flush *flush, uint64_t at, struct record *record, uint32_t ordinal)
{
	uint8_t *to = flush->encode + at;
	uint64_t padded = align_up(record->stored_size, 8);
	memset(to + RECORD_HEADER_SIZE + record->stored_size, 0, (size_t)(padded - record->stored_size));
	record->ordinal = ordinal;
	record_seal(to, record, record_seed(flush->incarnation, flush->target.sequence, flush->target.end + at));
	return at + RECORD_HEADER_SIZE + padded;
}

/* The whole batch, for its place behind target.end. */
static enum status encode(struct journal_flush *flush, uint64_t *size)
{
	size_t items = items_list(flush, NULL);
	uint64_t begin = record_size(items * MARK_ITEM_SIZE), at = begin;
	uint32_t ordinal = 0;
	assert(flush->target.end % JOURNAL_BLOCK == 0);
	enum status status = encode_reserve(flush, encoded_size_max(flush, items));
	if (status != STATUS_OK)
		return status;
	for (size_t i = 0; i < flush->record_count; i++) {
		struct flush_record *from = &flush->records[i];
		from->record.stored_size =
			record_pack(buffer_bytes(from->body), flush->encode + at + RECORD_HEADER_SIZE);
		from->offset = flush->target.end + at;
		at = seal_at(flush, at, &from->record, ++ordinal);
	}
	for (size_t i = 0; i < flush->copy_count; i++) {
		struct copy *copy = &flush->copies[i];
		if (!copy->stored)
			continue;
		memcpy(flush->encode + at + RECORD_HEADER_SIZE, copy->stored, copy->record.stored_size);
		copy->offset_new = flush->target.end + at;
		at = seal_at(flush, at, &copy->record, ++ordinal);
	}
	size_t listed = items_list(flush, flush->encode + RECORD_HEADER_SIZE);
	assert(listed == items);
	struct record mark = { .type = RECORD_MARK,
		.index = flush->number,
		.term = flush->needed,
		.version = ordinal,
		.key_hash = at,
		.stored_size = (uint32_t)(listed * MARK_ITEM_SIZE),
		.body_size = (uint32_t)(listed * MARK_ITEM_SIZE) };
	uint64_t behind = seal_at(flush, 0, &mark, 0);
	assert(behind == begin);
	*size = at;
	return STATUS_OK;
}

/* The file of the new segment: named before anything is in it; until its header is, it counts for nothing. */
static enum status roll_open(struct journal_flush *flush)
{
	char path[DISK_PATH_MAX], spare[DISK_PATH_MAX];
	if (flush->target.file)
		return STATUS_OK;
	journal_path(flush->dir, flush->target.sequence, path);
	if (flush->spare == 0)
		return disk_open(path, DISK_CREATE | DISK_EXCLUSIVE, &flush->target.file);
	journal_path(flush->dir, flush->spare, spare);
	enum status status = disk_rename(spare, path);
	if (status != STATUS_OK)
		return status;
	flush->target.file = flush->spare_file;
	flush->target.allocated = flush->spare_allocated;
	return STATUS_OK;
}

/* Zeroes ahead of need, in steps, so that a young segment does not cost its whole size at once. Without the reserve
 * there is room only for what is at hand. */
static enum status allocate(struct journal_flush *flush, uint64_t end)
{
	uint64_t least = lower(end + flush->reserve, flush->segment_size);
	if (least <= flush->target.allocated)
		return STATUS_OK;
	uint64_t step = flush->segment_size / 16;
	step = step > ALLOCATE_STEP_MAX ? ALLOCATE_STEP_MAX : step < ALLOCATE_STEP_MIN ? ALLOCATE_STEP_MIN : step;
	uint64_t size = align_up(least + step, JOURNAL_BLOCK);
	size = size > flush->segment_size ? flush->segment_size : size;
	enum status status = disk_allocate(flush->target.file, size);
	if (status == STATUS_OK)
		flush->target.allocated = size;
	flush->full = status == STATUS_NO_SPACE;
	return flush->full && end <= flush->target.allocated ? STATUS_OK : status;
}

/* Room for `size` bytes at the target: in another segment if that was the plan, else behind the last batch. */
static enum status reach(struct journal_flush *flush, uint64_t size)
{
	enum status status = flush->roll ? roll_open(flush) : STATUS_OK;
	if (status == STATUS_OK)
		status = allocate(flush, align_up(flush->target.end + size, JOURNAL_BLOCK) + JOURNAL_BLOCK);
	flush->full = flush->full || status == STATUS_NO_SPACE;
	return status;
}

/* There was no room for another segment: into the reserve of the one before it, if it is large enough. */
static enum status fall_back(struct journal_flush *flush, uint64_t *size)
{
	if (!flush->roll || !flush->active.file || flush->probe)
		return STATUS_NO_SPACE;
	if (align_up(flush->active.end + *size, JOURNAL_BLOCK) + JOURNAL_BLOCK > flush->active.allocated)
		return STATUS_NO_SPACE;
	flush->unused = flush->target;
	flush->target = flush->active;
	flush->fell_back = true;
	flush->needed = lower(flush->needed, flush->target.sequence);
	while (flush->removal_count > 0 && flush->removals[flush->removal_count - 1] >= flush->needed)
		flush->removal_count--;
	uint64_t planned = *size;
	enum status status = encode(flush, size);
	assert(status != STATUS_OK || *size == planned);
	return status;
}

static enum status write_at(const struct journal_flush *flush, uint64_t offset, const void *data, uint64_t size)
{
	struct bytes slice = bytes_of(data, (size_t)size);
	return disk_write(flush->target.file, offset, &slice, 1);
}

/* In the variant nofsync this does nothing: the power-cut tests must notice. */
static enum status sync_batch(struct disk_file *file)
{
#ifdef DOMICILE_TEST_NO_FDATASYNC
	return file ? STATUS_OK : STATUS_IO;
#else
	return disk_sync(file);
#endif
}

static void write_acked(const struct journal_flush *flush, uint64_t end)
{
	uint8_t acked[RECORD_HEADER_SIZE];
	struct record record = { .type = RECORD_ACKED, .index = flush->number };
	if (end + sizeof(acked) > flush->target.allocated)
		return;
	record_seal(acked, &record, record_seed(flush->incarnation, flush->target.sequence, end));
	/* Only a hint: if it fails, the next flush will hear of the disk's state. */
	enum status status = write_at(flush, end, acked, sizeof(acked));
	(void)status;
}

static enum status remove_free(struct journal_flush *flush)
{
	char path[DISK_PATH_MAX];
	for (; flush->removal_done < flush->removal_count; flush->removal_done++) {
		journal_path(flush->dir, flush->removals[flush->removal_done], path);
		enum status status = disk_remove(path);
		if (status != STATUS_OK && status != STATUS_NOT_FOUND)
			return status;
	}
	return flush->removal_count > 0 ? disk_sync_dir(flush->dir) : STATUS_OK;
}

enum status journal_flush_run(struct journal_flush *flush)
{
	uint64_t size = 0;
	uint8_t header[JOURNAL_DATA_BEGIN];
	uint64_t room = flush->segment_size - JOURNAL_BLOCK - flush->target.end;
	uint64_t used = encoded_size_max(flush, flush->record_count) + flush->reserve;
	room = room > used ? room - used : 0;
	enum status status = copies_read(flush, room < COPY_SIZE_MAX ? room : COPY_SIZE_MAX);
	if (flush->probe)
		return reach(flush, 0);
	if (status == STATUS_OK)
		status = encode(flush, &size);
	if (status == STATUS_OK)
		status = reach(flush, size);
	if (status == STATUS_NO_SPACE)
		status = fall_back(flush, &size);
	uint64_t end = align_up(flush->target.end + size, JOURNAL_BLOCK);
	assert(end + JOURNAL_BLOCK <= flush->segment_size || status != STATUS_OK);
	bool roll = flush->roll && !flush->fell_back;
	if (status == STATUS_OK && roll) {
		segment_header_encode(header, &flush->header);
		status = write_at(flush, 0, header, sizeof(header));
	}
	if (status == STATUS_OK)
		status = write_at(flush, flush->target.end, flush->encode, size);
	if (status != STATUS_OK)
		return status;

	status = sync_batch(flush->target.file);
	if (status == STATUS_OK && roll)
		status = disk_sync_dir(flush->dir);
	if (status == STATUS_OK) {
		flush->target.end = end;
		flush->written = size;
		write_acked(flush, end);
		status = remove_free(flush);
	}
	return status == STATUS_NO_SPACE ? STATUS_IO : status; /* a sync was tried: there is no second time */
}

/* --- end ----------------------------------------------------------------------------------------- */

static void drop_segment(struct journal *journal, uint64_t sequence, bool keep_file)
{
	struct segment *segment = journal_segment(journal, sequence);
	assert(segment);
	if (!keep_file)
		disk_close(segment->file);
	size_t i = (size_t)(segment - journal->segments);
	journal->segment_count--;
	memmove(segment, segment + 1, (journal->segment_count - i) * sizeof(*segment));
}

/* A segment that was renamed or made stays so, whatever became of the batch. */
static void take_name(struct journal *journal, const struct journal_flush *flush)
{
	if (!flush->roll)
		return;
	const struct segment *named = flush->fell_back ? &flush->unused : &flush->target;
	if (flush->spare != 0 && named->file)
		drop_segment(journal, flush->spare, true);
	journal->prepared = named->file ? *named : (struct segment){ 0 };
}

/* As far as the sequence counter goes, a name that was not used is lost; nothing minds gaps. */
static enum status take_target(struct journal *journal, const struct journal_flush *flush)
{
	struct segment target = flush->target;
	if (flush->roll && !flush->fell_back) {
		struct segment segment = target;
		segment.records = 0;
		enum status status = journal_segment_push(journal, segment);
		if (status == STATUS_OK)
			status = index_segment_add(&journal->index, target.sequence);
		if (status != STATUS_OK)
			return status;
		journal->prepared = (struct segment){ 0 };
		journal->active = true;
		journal->roll_wanted = false;
	}
	struct segment *active = active_of(journal);
	assert(active->sequence == target.sequence);
	active->end = target.end;
	active->allocated = target.allocated;
	active->records += flush->record_count;
	journal->previous_sequence = active->sequence;
	journal->previous_end = active->end;
	return STATUS_OK;
}

static enum status take_record(
	struct journal *journal, uint64_t ticket, const struct flush_record *from, uint64_t segment)
{
	struct pending *pending = pending_at(journal, ticket);
	const struct record *record = &from->record;
	struct group_log *log = pending->dead ? NULL : index_find(&journal->index, record->group);
	enum status status = STATUS_OK;
	switch (record->type) {
	case RECORD_ENTRY:
	case RECORD_LOST:
		if (log && record->index > log->base_index)
			status = index_put(&journal->index, log, record->index, record->term, segment, from->offset,
				record->type == RECORD_LOST);
		break;
	case RECORD_STATE:
	case RECORD_RESET:
		if (log)
			index_state_at(&journal->index, log, segment);
		break;
	case RECORD_REMOVE: /* journal_bury */
		break;
	default:
		assert(record->type == RECORD_CUT);
	}
	journal->pending_size -= record_size(pending->record.body_size) + MARK_ITEM_SIZE;
	buffer_unref(pending->body);
	*pending = (struct pending){ 0 };
	return status;
}

/* A record of the oldest segment has a new place, if it still is what the index names. */
static enum status take_copy(struct journal *journal, const struct copy *copy, uint64_t segment)
{
	struct group_log *log = index_find(&journal->index, copy->group);
	const struct run *run = log ? run_find(log, copy->index) : NULL;
	if (!run || run->segment != copy->segment || run_offset(run, copy->index) != copy->offset)
		return STATUS_OK;
	if (!copy->bad) {
		if (copy->offset_new == 0)
			return STATUS_OK;
		journal->stats.copied++;
		return index_put(&journal->index, log, copy->index, run->term, segment, copy->offset_new, run->lost);
	}
	/* The bytes are gone: what is moved is the knowledge of that. */
	struct record record = { .type = RECORD_LOST, .group = copy->group, .index = copy->index, .term = run->term };
	journal->stats.damaged++;
	index_drop(&journal->index, log, copy->index);
	return journal_push(journal, log, &record, NULL);
}

static void forget_free(struct journal *journal, const struct journal_flush *flush)
{
	journal->needed = flush->needed;
	for (size_t i = 0; i < journal->segment_count; i++) {
		uint64_t sequence = journal->segments[i].sequence;
		bool known = false;
		for (size_t k = 0; k < journal->index.segment_count; k++)
			known = known || journal->index.segments[k].sequence == sequence;
		if (known && sequence < journal->needed)
			index_segment_forget(&journal->index, sequence);
	}
	for (size_t i = 0; i < flush->removal_done; i++)
		drop_segment(journal, flush->removals[i], false);
	uint64_t lowest = journal->segment_count > 0 ? journal->segments[0].sequence : UINT64_MAX;
	size_t kept = 0;
	for (size_t i = 0; i < journal->tombstone_count; i++) {
		const struct tombstone *tombstone = &journal->tombstones[i];
		if (tombstone->segment == 0 || tombstone->segment >= lowest)
			journal->tombstones[kept++] = *tombstone;
		else if (tombstone->segment > journal->erased)
			journal->erased = tombstone->segment;
	}
	journal->tombstone_count = kept;
}

static enum status take_batch(struct journal *journal, const struct journal_flush *flush)
{
	uint64_t segment = flush->target.sequence;
	enum status status = take_target(journal, flush);
	for (size_t i = 0; i < flush->record_count && status == STATUS_OK; i++)
		status = take_record(journal, journal->durable + 1 + i, &flush->records[i], segment);
	if (status != STATUS_OK)
		return status;
	journal->durable += flush->record_count;
	journal_bury(journal);
	for (size_t i = 0; i < flush->copy_count && status == STATUS_OK; i++)
		status = take_copy(journal, &flush->copies[i], segment);
	journal->flush_next = flush->number + 1;
	journal->stats.flushes++;
	journal->stats.records += flush->record_count;
	journal->stats.bytes_written += flush->written;
	forget_free(journal, flush);
	return status;
}

enum status journal_flush_end(
	struct journal *journal, struct journal_flush *flush, enum status status, uint64_t *durable_ticket)
{
	assert(journal->flush == flush);
	assert(flush);
	journal->flush = NULL;
	journal->encode = flush->encode;
	journal->encode_capacity = flush->encode_capacity;
	*durable_ticket = journal->durable;
	take_name(journal, flush);
	if (status == STATUS_OK && flush->probe && !flush->roll)
		active_of(journal)->allocated = flush->target.allocated;
	else if (status == STATUS_OK && !flush->probe)
		status = take_batch(journal, flush);
	journal->full = status == STATUS_NO_SPACE || (status == STATUS_OK && flush->full);
	if (status != STATUS_OK && status != STATUS_NO_SPACE) {
		journal->failed = true;
		status = STATUS_IO;
	}
	if (status == STATUS_OK)
		*durable_ticket = journal->durable;
	flush_free(flush);
	return status;
}
