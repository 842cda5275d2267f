/* storage/journal.c: life, appends, reading back and trimming; see storage/journal_internal.h for the whole. */
#include "storage/journal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/journal_internal.h"

enum { RING_MIN = 64, SMALL_MARGIN = 64 << 10, READ_GUESS = 4096 };

void journal_path(const char *dir, uint64_t sequence, char path[DISK_PATH_MAX])
{
	int length = snprintf(path, DISK_PATH_MAX, "%s/%016llx.seg", dir, (unsigned long long)sequence);
	assert(length > 0);
	assert(length < DISK_PATH_MAX);
}

static uint64_t or_default(uint64_t value, uint64_t otherwise)
{
	return value ? value : otherwise;
}

static enum status take_options(struct journal *journal, const struct journal_options *options)
{
	size_t length = options->dir ? strlen(options->dir) : 0;
	if (length == 0)
		return STATUS_INVALID;
	if (length >= sizeof(journal->dir))
		return STATUS_TOO_LARGE;
	memcpy(journal->dir, options->dir, length + 1);
	memcpy(journal->cluster, options->cluster, sizeof(journal->cluster));
	journal->incarnation = options->incarnation;
	journal->segment_size = or_default(options->segment_size, 64 << 20);
	journal->reserve = journal->segment_size / 4 < RESERVE_MAX ? journal->segment_size / 4 : RESERVE_MAX;
	journal->segments_kept = (uint32_t)or_default(options->segments_kept, 4);
	journal->pending_size_max = or_default(options->pending_size_max, 64 << 20);
	journal->index_size_max = or_default(options->index_size_max, 256 << 20);
	journal->flush_size_max = or_default(options->flush_size_max, 8 << 20);
	if (journal->segment_size < JOURNAL_SEGMENT_SIZE_MIN || journal->segment_size > UINT32_MAX)
		return STATUS_INVALID;
	return journal->segment_size % JOURNAL_BLOCK == 0 ? STATUS_OK : STATUS_INVALID;
}

enum status journal_open(
	const struct journal_options *options, const struct journal_recovery *recovery, struct journal **out)
{
	static const struct journal_recovery nobody;
	*out = NULL;
	struct journal *journal = calloc(1, sizeof(*journal));
	if (!journal)
		return STATUS_NO_MEMORY;
	enum status status = take_options(journal, options);
	if (status == STATUS_OK)
		status = index_init(&journal->index);
	if (status == STATUS_OK)
		status = disk_make_dir(journal->dir);
	if (status == STATUS_OK)
		status = journal_recover(journal, recovery ? recovery : &nobody);
	/* A segment of our own from here on: what was cut can never be taken for something again. */
	struct journal_flush *flush;
	uint64_t ticket;
	journal->roll_wanted = true;
	if (status == STATUS_OK && journal_flush_begin(journal, &flush)) {
		status = journal_flush_run(flush);
		status = journal_flush_end(journal, flush, status, &ticket);
		if (status == STATUS_NO_SPACE)
			status = STATUS_OK; /* reads are possible; the next flush does it */
	}
	if (status != STATUS_OK) {
		journal_close(journal);
		return status;
	}
	*out = journal;
	return STATUS_OK;
}

void journal_close(struct journal *journal)
{
	if (!journal)
		return;
	assert(!journal->flush);
	for (uint64_t ticket = journal->durable + 1; ticket <= journal->last; ticket++)
		buffer_unref(pending_at(journal, ticket)->body);
	for (size_t i = 0; i < journal->segment_count; i++)
		disk_close(journal->segments[i].file);
	disk_close(journal->prepared.file);
	index_deinit(&journal->index);
	free(journal->segments);
	free(journal->tombstones);
	free(journal->encode);
	free(journal->ring);
	free(journal);
}

struct segment *journal_segment(const struct journal *journal, uint64_t sequence)
{
	for (size_t i = journal->segment_count; i-- > 0;)
		if (journal->segments[i].sequence == sequence)
			return &journal->segments[i];
	return NULL;
}

enum status journal_segment_push(struct journal *journal, struct segment segment)
{
	if (journal->segment_count == journal->segment_capacity) {
		size_t capacity = journal->segment_capacity ? 2 * journal->segment_capacity : 8;
		struct segment *segments = realloc(journal->segments, capacity * sizeof(*segments));
		if (!segments)
			return STATUS_NO_MEMORY;
		journal->segments = segments;
		journal->segment_capacity = capacity;
	}
	journal->segments[journal->segment_count++] = segment;
	return STATUS_OK;
}

enum status tombstone_push(struct journal *journal, struct tombstone tombstone)
{
	if (journal->tombstone_count == journal->tombstone_capacity) {
		size_t capacity = journal->tombstone_capacity ? 2 * journal->tombstone_capacity : 8;
		struct tombstone *tombstones = realloc(journal->tombstones, capacity * sizeof(*tombstones));
		if (!tombstones)
			return STATUS_NO_MEMORY;
		journal->tombstones = tombstones;
		journal->tombstone_capacity = capacity;
	}
	journal->tombstones[journal->tombstone_count++] = tombstone;
	return STATUS_OK;
}

/* --- appends ------------------------------------------------------------------------------------- */

static enum status ring_reserve(struct journal *journal)
{
	if (journal->last - journal->durable < journal->ring_capacity)
		return STATUS_OK;
	size_t capacity = journal->ring_capacity ? 2 * journal->ring_capacity : RING_MIN;
	struct pending *ring = calloc(capacity, sizeof(*ring));
	if (!ring)
		return STATUS_NO_MEMORY;
	for (uint64_t ticket = journal->durable + 1; ticket <= journal->last; ticket++)
		ring[ticket & (capacity - 1)] = *pending_at(journal, ticket);
	free(journal->ring);
	journal->ring = ring;
	journal->ring_capacity = capacity;
	return STATUS_OK;
}

static uint64_t weight(const struct record *record)
{
	return record_size(record->body_size) + MARK_ITEM_SIZE;
}

/* May a record of this weight wait too? Small ones, which say what became of others, get a margin. */
static enum status admit(const struct journal *journal, const struct record *record)
{
	if (journal->failed)
		return STATUS_IO;
	uint64_t max = journal->pending_size_max, size = weight(record);
	bool entry = record->type == RECORD_ENTRY;
	if (size > journal->segment_size - JOURNAL_DATA_BEGIN - JOURNAL_BLOCK - RECORD_HEADER_SIZE)
		return STATUS_TOO_LARGE;
	if (!entry)
		max += max / 4 + SMALL_MARGIN;
	if (journal->pending_size > 0 && journal->pending_size + size > max)
		return STATUS_BUSY;
	return entry && journal->index.size > journal->index_size_max ? STATUS_BUSY : STATUS_OK;
}

enum status journal_push(
	struct journal *journal, struct group_log *log, const struct record *record, struct buffer *body)
{
	enum status status = ring_reserve(journal);
	if (status != STATUS_OK)
		return status;
	struct pending *pending = pending_at(journal, ++journal->last);
	*pending = (struct pending){ .record = *record, .body = body };
	journal->pending_size += weight(record);
	if (log) {
		assert(log->group == record->group);
		pending->previous = log->pending_newest > journal->durable ? log->pending_newest : 0;
		log->pending_newest = journal->last;
	}
	return STATUS_OK;
}

enum status journal_push_state(struct journal *journal, struct group_log *log, uint8_t type)
{
	struct record record = { .type = type,
		.group = log->group,
		.index = log->base_index,
		.key_hash = log->base_term,
		.term = log->term,
		.version = log->vote };
	enum status status = journal_push(journal, log, &record, NULL);
	if (status == STATUS_OK)
		log->state_ticket = journal->last;
	return status;
}

/* The group's pending entries from..upto mean nothing any more. */
static void kill_pending(struct journal *journal, const struct group_log *log, uint64_t from, uint64_t upto)
{
	for (uint64_t ticket = log->pending_newest; ticket > journal->durable;) {
		struct pending *pending = pending_at(journal, ticket);
		bool entry = pending->record.type == RECORD_ENTRY || pending->record.type == RECORD_LOST;
		if (entry && pending->record.index >= from && pending->record.index <= upto)
			pending->dead = true;
		ticket = pending->previous;
	}
}

enum status journal_append_state(struct journal *journal, uint64_t group, uint64_t term, uint64_t vote)
{
	struct record probe = { .type = RECORD_STATE };
	struct group_log *log;
	enum status status = admit(journal, &probe);
	if (status == STATUS_OK)
		status = group != 0 ? index_get(&journal->index, group, &log) : STATUS_INVALID;
	if (status != STATUS_OK)
		return status;
	uint64_t old_term = log->term, old_vote = log->vote;
	log->term = term;
	log->vote = vote;
	status = journal_push_state(journal, log, RECORD_STATE);
	if (status != STATUS_OK) {
		log->term = old_term;
		log->vote = old_vote;
	}
	return status;
}

static enum status push_entry(
	struct journal *journal, struct group_log *log, const struct journal_entry *entry, struct buffer *body)
{
	struct bytes bytes = body ? buffer_bytes(body) : entry->body;
	if (bytes.size > UINT32_MAX / 2)
		return STATUS_TOO_LARGE;
	struct record record = { .type = RECORD_ENTRY,
		.group = entry->group,
		.index = entry->index,
		.term = entry->term,
		.version = entry->version,
		.key_hash = entry->key_hash,
		.request = entry->request,
		.origin = entry->origin,
		.kind = entry->kind,
		.body_size = (uint32_t)bytes.size,
		.stored_size = (uint32_t)bytes.size };
	enum status status = admit(journal, &record);
	if (status != STATUS_OK)
		return status;
	struct buffer *own = NULL;
	if (bytes.size > 0) {
		own = body ? buffer_ref(body) : buffer_copy(bytes);
		if (!own)
			return STATUS_NO_MEMORY;
	}
	status = journal_push(journal, log, &record, own);
	if (status != STATUS_OK)
		buffer_unref(own);
	return status;
}

enum status journal_append_entry(struct journal *journal, const struct journal_entry *entry, struct buffer *body)
{
	struct group_log *log;
	if (journal->failed)
		return STATUS_IO;
	if (entry->group == 0)
		return STATUS_INVALID;
	log = index_find(&journal->index, entry->group);
	if (entry->index != (log ? log->last : 0) + 1)
		return STATUS_INVALID;
	enum status status = index_get(&journal->index, entry->group, &log);
	if (status == STATUS_OK)
		status = push_entry(journal, log, entry, body);
	if (status == STATUS_OK)
		log->last = entry->index;
	return status;
}

enum status journal_repair_entry(struct journal *journal, const struct journal_entry *entry, struct buffer *body)
{
	if (journal->failed)
		return STATUS_IO;
	struct group_log *log = index_find(&journal->index, entry->group);
	if (!log || entry->index <= log->base_index || entry->index > log->last)
		return STATUS_INVALID;
	enum status status = push_entry(journal, log, entry, body);
	if (status != STATUS_OK)
		return status;
	/* an older copy that is pending still is the same entry, but this one is the newest and wins */
	return STATUS_OK;
}

enum status journal_append_cut(struct journal *journal, uint64_t group, uint64_t from)
{
	struct record record = { .type = RECORD_CUT, .group = group, .index = from };
	struct group_log *log = index_find(&journal->index, group);
	enum status status = admit(journal, &record);
	if (status != STATUS_OK)
		return status;
	if (!log || from <= log->base_index)
		return STATUS_INVALID;
	if (from > log->last)
		return STATUS_OK;
	status = journal_push(journal, log, &record, NULL);
	if (status != STATUS_OK)
		return status;
	kill_pending(journal, log, from, UINT64_MAX);
	index_cut(&journal->index, log, from);
	return STATUS_OK;
}

enum status journal_append_reset(struct journal *journal, uint64_t group, uint64_t index, uint64_t term)
{
	struct record probe = { .type = RECORD_RESET };
	struct group_log *log;
	enum status status = admit(journal, &probe);
	if (status == STATUS_OK)
		status = group != 0 ? index_get(&journal->index, group, &log) : STATUS_INVALID;
	if (status == STATUS_OK)
		status = ring_reserve(journal);
	if (status != STATUS_OK)
		return status;
	kill_pending(journal, log, 0, UINT64_MAX);
	index_reset(&journal->index, log, index, term);
	status = journal_push_state(journal, log, RECORD_RESET);
	assert(status == STATUS_OK); /* the room was made above */
	return status;
}

enum status journal_append_remove(struct journal *journal, uint64_t group)
{
	struct record record = { .type = RECORD_REMOVE, .group = group };
	struct group_log *log = index_find(&journal->index, group);
	enum status status = admit(journal, &record);
	if (status != STATUS_OK || !log)
		return status;
	status = ring_reserve(journal);
	if (status == STATUS_OK)
		status = tombstone_push(journal, (struct tombstone){ .group = group, .ticket = journal->last + 1 });
	if (status != STATUS_OK)
		return status;
	for (uint64_t ticket = log->pending_newest; ticket > journal->durable;) {
		struct pending *pending = pending_at(journal, ticket);
		pending->dead = true;
		ticket = pending->previous;
	}
	status = journal_push(journal, NULL, &record, NULL);
	assert(status == STATUS_OK);
	index_remove(&journal->index, log);
	return status;
}

enum status journal_trim(struct journal *journal, uint64_t group, uint64_t index)
{
	struct record probe = { .type = RECORD_STATE };
	struct group_log *log = index_find(&journal->index, group);
	enum status status = admit(journal, &probe);
	if (status != STATUS_OK || !log)
		return status;
	if (index > log->last)
		index = log->last;
	if (index <= log->base_index)
		return STATUS_OK;
	status = ring_reserve(journal);
	if (status != STATUS_OK)
		return status;
	uint64_t term = index_term_of(log, index);
	for (uint64_t ticket = log->pending_newest; ticket > journal->durable && term == 0;) {
		const struct pending *pending = pending_at(journal, ticket);
		bool entry = pending->record.type == RECORD_ENTRY || pending->record.type == RECORD_LOST;
		if (entry && !pending->dead && pending->record.index == index)
			term = pending->record.term;
		ticket = pending->previous;
	}
	kill_pending(journal, log, 0, index);
	index_trim(&journal->index, log, index);
	log->base_term = term;
	status = journal_push_state(journal, log, RECORD_STATE);
	assert(status == STATUS_OK);
	return status;
}

/* --- reading ------------------------------------------------------------------------------------- */

uint64_t journal_ticket(const struct journal *journal)
{
	return journal->last;
}

uint64_t journal_durable(const struct journal *journal)
{
	return journal->durable;
}

bool journal_full(const struct journal *journal)
{
	return journal->full;
}

uint64_t journal_room(const struct journal *journal)
{
	if (!journal->full)
		return UINT64_MAX;
	const struct segment *active = journal->active ? &journal->segments[journal->segment_count - 1] : NULL;
	uint64_t used = journal->pending_size + JOURNAL_BLOCK;
	uint64_t left = active && active->allocated > active->end ? active->allocated - active->end : 0;
	return left > used ? left - used : 0;
}

void journal_probe(struct journal *journal)
{
	journal->probe_wanted = journal->full;
}

static void entry_of(const struct record *record, struct buffer *body, struct journal_entry *entry)
{
	*entry = (struct journal_entry){ .group = record->group,
		.index = record->index,
		.term = record->term,
		.version = record->version,
		.key_hash = record->key_hash,
		.request = record->request,
		.size = record->body_size,
		.origin = record->origin,
		.kind = record->kind,
		.body = buffer_bytes(body) };
}

enum status journal_read_record(const struct journal *journal, struct disk_file *file, uint64_t sequence,
	uint64_t offset, struct record *record, struct buffer **body)
{
	uint8_t head[READ_GUESS];
	size_t got;
	uint64_t seed = record_seed(journal->incarnation, sequence, offset);
	*body = NULL;
	enum status status = disk_read(file, offset, head, sizeof(head), &got);
	if (status != STATUS_OK)
		return status;
	if (got < RECORD_HEADER_SIZE || !record_parse(head, seed, record))
		return STATUS_CORRUPT;
	if (record_size(record->stored_size) > journal->segment_size || record->body_size > journal->segment_size)
		return STATUS_CORRUPT;
	size_t size = (size_t)align_up(record->stored_size, 8);
	struct buffer *stored = buffer_new(size), *unpacked = buffer_new(record->body_size);
	if (!stored || !unpacked) {
		buffer_unref(stored);
		buffer_unref(unpacked);
		return STATUS_NO_MEMORY;
	}
	size_t have = got - RECORD_HEADER_SIZE < size ? got - RECORD_HEADER_SIZE : size;
	memcpy(stored->data, head + RECORD_HEADER_SIZE, have);
	if (have < size) {
		status = disk_read(file, offset + RECORD_HEADER_SIZE + have, stored->data + have, size - have, &got);
		if (status == STATUS_OK && got < size - have)
			status = STATUS_CORRUPT;
	}
	if (status == STATUS_OK && !record_body_good(stored->data, record, seed))
		status = STATUS_CORRUPT;
	if (status == STATUS_OK)
		status = record_unpack(stored->data, record, unpacked->data);
	buffer_unref(stored);
	if (status != STATUS_OK || record->body_size == 0) {
		buffer_unref(unpacked);
		return status;
	}
	*body = unpacked;
	return STATUS_OK;
}

static enum status read_durable(struct journal *journal, const struct run *run, uint64_t group, uint64_t index,
	struct journal_entry *entry, struct buffer **body)
{
	struct record record;
	struct segment *segment = journal_segment(journal, run->segment);
	assert(segment);
	enum status status =
		journal_read_record(journal, segment->file, run->segment, run_offset(run, index), &record, body);
	if (status == STATUS_OK && (record.type != RECORD_ENTRY || record.group != group || record.index != index)) {
		buffer_unref(*body);
		*body = NULL;
		status = STATUS_CORRUPT;
	}
	if (status == STATUS_CORRUPT)
		journal->stats.damaged++;
	if (status == STATUS_OK)
		entry_of(&record, *body, entry);
	return status;
}

enum status journal_read_entry(
	struct journal *journal, uint64_t group, uint64_t index, struct journal_entry *entry, struct buffer **body)
{
	*body = NULL;
	if (journal->failed)
		return STATUS_IO;
	const struct group_log *log = index_find(&journal->index, group);
	if (!log || index <= log->base_index || index > log->last)
		return STATUS_NOT_FOUND;
	for (uint64_t ticket = log->pending_newest; ticket > journal->durable;) {
		const struct pending *pending = pending_at(journal, ticket);
		if (pending->record.type == RECORD_ENTRY && pending->record.index == index && !pending->dead) {
			*body = pending->body ? buffer_ref(pending->body) : NULL;
			entry_of(&pending->record, *body, entry);
			return STATUS_OK;
		}
		ticket = pending->previous;
	}
	const struct run *run = run_find(log, index);
	if (!run || run->lost)
		return STATUS_CORRUPT;
	return read_durable(journal, run, group, index, entry, body);
}

enum status journal_read_state(const struct journal *journal, uint64_t group, struct journal_state *state)
{
	const struct group_log *log = index_find(&journal->index, group);
	if (!log)
		return STATUS_NOT_FOUND;
	*state = (struct journal_state){ .group = group,
		.term = log->term,
		.vote = log->vote,
		.base_index = log->base_index,
		.base_term = log->base_term,
		.last = log->last };
	return STATUS_OK;
}

bool journal_removing(const struct journal *journal, uint64_t group)
{
	for (size_t i = 0; i < journal->tombstone_count; i++)
		if (journal->tombstones[i].group == group && journal->tombstones[i].ticket > journal->durable)
			return true;
	return false;
}

void journal_stats(const struct journal *journal, struct journal_stats *stats)
{
	*stats = journal->stats;
	stats->segments = journal->segment_count;
	for (size_t i = 0; i < journal->segment_count; i++)
		stats->segments_free += journal->segments[i].sequence < journal->needed;
	stats->pending_size = journal->pending_size;
	stats->index_size = journal->index.size;
}

void journal_check(const struct journal *journal)
{
	uint64_t size = 0;
	assert(journal->durable <= journal->last);
	assert(journal->last - journal->durable <= journal->ring_capacity);
	for (uint64_t ticket = journal->durable + 1; ticket <= journal->last; ticket++) {
		const struct pending *pending = pending_at(journal, ticket);
		size += weight(&pending->record);
		assert(pending->previous < ticket);
		assert(buffer_bytes(pending->body).size == pending->record.body_size);
	}
	assert(size == journal->pending_size);
	for (size_t i = 0; i < journal->segment_count; i++) {
		const struct segment *segment = &journal->segments[i];
		assert(segment->file);
		assert(i == 0 || journal->segments[i - 1].sequence < segment->sequence);
		if (segment->sequence < journal->needed)
			assert(index_segment_live(&journal->index, segment->sequence) == 0);
	}
	index_check(&journal->index);
}
