/* storage/journal_recover.c: what a directory holds, at open.
 *
 * The rule that tells a torn tail from corruption: MARK n is written only after flush n-1 was synced, and ACKED n only
 * after flush n was. So whatever lies before the last of these marks was durable, perhaps acknowledged, and bad bytes
 * there are damage: each lost record is named (by its header, by the MARK's list, or by a gap between its neighbours)
 * and reported. Only the batch behind the last proof may be torn; it is cut at its first bad record. In a segment that
 * is not the newest, the header of the next says where the good bytes end, and all of them were durable.
 *
 * Bytes of a segment's former life never pass, for the checksums know its sequence. What is past the cut is never
 * looked at again, for every open begins a segment whose header records where the one before ends.
 *
 * First the newest segment is read once without effect, to learn where proof ends and which segments are needed at all;
 * then all that are needed are read in order into the index; then what survived is handed out. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "storage/journal_internal.h"

enum { WINDOW_SIZE = 1 << 20, NAME_DIGITS = 16, GAP_MAX = 1 << 20 };

struct found { /* a segment file */
	uint64_t sequence, size;
	struct disk_file *file;
	struct segment_header header;
	bool headed; /* the header is good and says that this segment was begun under this name */
	bool begun;  /* headed, or there is a batch in it */
};

struct window { /* a sliding view of one file */
	struct disk_file *file;
	uint8_t *data;
	size_t capacity, size;
	uint64_t offset;
};

struct recover {
	struct journal *journal;
	struct found *found;
	size_t count, capacity;
	struct window window;
	bool dry;	    /* look, do not touch the index */
	enum status status; /* sticks: IO, NO_MEMORY */
	/* of the walk under way */
	const struct found *at;
	uint64_t records;
	uint64_t flush;	 /* number of the last batch that was walked; 0: none */
	uint64_t needed; /* of the last MARK of a batch that is whole or proven */
	uint64_t end;	 /* behind the last good byte */
	bool cut;
};

/* --- bytes --------------------------------------------------------------------------------------- */

/* The bytes at offset, or NULL when the file ends before offset + size. Valid until the next call. */
static const uint8_t *window_get(struct recover *recover, uint64_t offset, uint64_t size)
{
	struct window *window = &recover->window;
	if (recover->status != STATUS_OK || size > recover->journal->segment_size)
		return NULL;
	if (offset >= window->offset && offset + size <= window->offset + window->size)
		return window->data + (offset - window->offset);
	if (size > window->capacity) {
		uint8_t *data = realloc(window->data, (size_t)size);
		if (!data) {
			recover->status = STATUS_NO_MEMORY;
			return NULL;
		}
		window->data = data;
		window->capacity = (size_t)size;
	}
	window->offset = offset;
	window->size = 0;
	recover->status = disk_read(window->file, offset, window->data, window->capacity, &window->size);
	if (recover->status != STATUS_OK) {
		window->size = 0;
		return NULL;
	}
	return size <= window->size ? window->data : NULL;
}

static void window_turn(struct recover *recover, const struct found *found)
{
	recover->window.file = found->file;
	recover->window.offset = recover->window.size = 0;
	recover->at = found;
}

static uint64_t seed_at(const struct recover *recover, uint64_t offset)
{
	return record_seed(recover->journal->incarnation, recover->at->sequence, offset);
}

static bool header_at(struct recover *recover, uint64_t offset, struct record *record)
{
	const uint8_t *at = window_get(recover, offset, RECORD_HEADER_SIZE);
	return at && record_parse(at, seed_at(recover, offset), record);
}

/* The padded body behind a header; NULL when it is bad. */
static const uint8_t *body_at(struct recover *recover, uint64_t offset, const struct record *record)
{
	uint64_t padded = align_up(record->stored_size, 8);
	const uint8_t *body = window_get(recover, offset + RECORD_HEADER_SIZE, padded);
	return body && record_body_good(body, record, seed_at(recover, offset)) ? body : NULL;
}

static bool is_proof(const struct record *record)
{
	return record->type == RECORD_MARK || record->type == RECORD_ACKED;
}

/* The first MARK, or ACKED, at a block from `from` on. A block at a time, without the window: most are zeroes. */
static uint64_t next_proof(struct recover *recover, uint64_t from, uint64_t limit, struct record *record)
{
	for (uint64_t at = align_up(from, JOURNAL_BLOCK); at + RECORD_HEADER_SIZE <= limit; at += JOURNAL_BLOCK)
		if (header_at(recover, at, record) && is_proof(record))
			return at;
	return UINT64_MAX;
}

/* --- what the records say -------------------------------------------------------------------------- */

static void fail(struct recover *recover, enum status status)
{
	if (recover->status == STATUS_OK)
		recover->status = status;
}

static void damaged(struct recover *recover)
{
	if (!recover->dry)
		recover->journal->stats.damaged++;
}

static void unknown_loss(struct recover *recover)
{
	damaged(recover);
	if (!recover->dry)
		recover->journal->unknown_loss = true;
}

/* An entry, or word of a lost one (offset of its LOST record; 0: there is none, the journal will write one). */
static void apply_entry(struct recover *recover, struct group_log *log, const struct record *record, uint64_t offset)
{
	struct journal_index *index = &recover->journal->index;
	bool lost = record->type == RECORD_LOST;
	if (record->index <= log->base_index)
		return;
	if (record->index <= log->last) {
		uint64_t term = index_term_of(log, record->index);
		const struct run *run = run_find(log, record->index);
		if (term != 0 && term != record->term)
			index_cut(index, log, record->index); /* the log went another way here */
		else if (lost && run && !run->lost)
			return; /* another copy is there */
	}
	fail(recover, index_put(index, log, record->index, record->term, recover->at->sequence, offset, lost));
}

static void apply_state(struct recover *recover, struct group_log *log, const struct record *record)
{
	struct journal_index *index = &recover->journal->index;
	if (record->type == RECORD_RESET)
		index_reset(index, log, record->index, record->key_hash);
	if (record->index > log->base_index)
		index_trim(index, log, record->index);
	log->base_term = record->key_hash;
	log->term = record->term;
	log->vote = record->version;
	index_state_at(index, log, recover->at->sequence);
}

static void apply(struct recover *recover, const struct record *record, uint64_t offset)
{
	struct journal *journal = recover->journal;
	struct group_log *log = NULL;
	if (recover->dry || recover->status != STATUS_OK)
		return;
	recover->records++;
	if (record->group == 0) {
		damaged(recover);
		return;
	}
	if (record->type == RECORD_REMOVE) {
		log = index_find(&journal->index, record->group);
		if (log)
			index_remove(&journal->index, log);
		fail(recover, tombstone_push(journal,
				      (struct tombstone){ .group = record->group, .segment = recover->at->sequence }));
		return;
	}
	fail(recover, index_get(&journal->index, record->group, &log));
	if (recover->status != STATUS_OK)
		return;
	if (record->type == RECORD_ENTRY || record->type == RECORD_LOST)
		apply_entry(recover, log, record, offset);
	else if (record->type == RECORD_STATE || record->type == RECORD_RESET)
		apply_state(recover, log, record);
	else if (record->type == RECORD_CUT && record->index > log->base_index)
		index_cut(&journal->index, log, record->index);
}

/* A record that was durable and is bad, as its header or its MARK names it. All but entries say in their header
 * everything that they say, so only entries are really lost. */
static void lose(struct recover *recover, const struct record *record)
{
	struct record lost = *record;
	damaged(recover);
	if (lost.type == RECORD_ENTRY)
		lost.type = RECORD_LOST;
	apply(recover, &lost, 0);
}

/* --- one batch ----------------------------------------------------------------------------------- */

struct list { /* what a MARK says its batch holds, in order */
	uint8_t *items;
	size_t count, at;
	uint32_t used; /* of the item at `at` */
};

static bool list_peek(const struct list *list, struct record *record)
{
	struct mark_item item;
	if (list->at >= list->count)
		return false;
	mark_item_decode(list->items + list->at * MARK_ITEM_SIZE, &item);
	*record = (struct record){ .type = item.type,
		.group = item.group,
		.index = item.index + list->used,
		.term = item.term,
		.version = item.version,
		.key_hash = item.key_hash };
	return true;
}

static void list_advance(struct list *list)
{
	struct mark_item item;
	mark_item_decode(list->items + list->at * MARK_ITEM_SIZE, &item);
	if (++list->used >= item.count) {
		list->used = 0;
		list->at++;
	}
}

static bool list_open(struct recover *recover, uint64_t offset, const struct record *mark, struct list *list)
{
	*list = (struct list){ 0 };
	const uint8_t *body = body_at(recover, offset, mark);
	if (!body || mark->stored_size % MARK_ITEM_SIZE != 0)
		return false;
	list->items = malloc(mark->stored_size ? mark->stored_size : 1);
	if (!list->items) {
		fail(recover, STATUS_NO_MEMORY);
		return false;
	}
	if (mark->stored_size > 0)
		memcpy(list->items, body, mark->stored_size);
	list->count = mark->stored_size / MARK_ITEM_SIZE;
	return true;
}

/* The next place in at..end with the header of a record of ordinal `least` or more. UINT64_MAX: none. */
static uint64_t next_record(struct recover *recover, uint64_t at, uint64_t end, uint32_t least, struct record *record)
{
	for (; at + RECORD_HEADER_SIZE <= end; at += 8) {
		if (!header_at(recover, at, record) || is_proof(record))
			continue;
		if (record->ordinal >= least && at + record_size(record->stored_size) <= end)
			return at;
	}
	return UINT64_MAX;
}

/* Records first..last of the batch are gone. */
static void lose_some(struct recover *recover, struct list *list, bool listed, uint64_t count)
{
	struct record record;
	for (uint64_t i = 0; i < count; i++) {
		if (!listed || !list_peek(list, &record)) {
			unknown_loss(recover);
			return;
		}
		lose(recover, &record);
		list_advance(list);
	}
}

/* Gives whether the batch was whole; if not, and it is not proven, recover->end is where it is cut. */
static bool walk_batch(
	struct recover *recover, uint64_t offset, const struct record *mark, uint64_t end, bool proven, bool truncated)
{
	struct list list;
	bool listed = list_open(recover, offset, mark, &list), whole = true;
	uint64_t at = offset + record_size(mark->stored_size);
	if (!listed) {
		if (!proven) {
			recover->end = offset;
			return false;
		}
		damaged(recover);
	}
	for (uint32_t ordinal = 1; ordinal <= mark->version && recover->status == STATUS_OK; ordinal++) {
		struct record record;
		bool there = at + RECORD_HEADER_SIZE <= end && header_at(recover, at, &record) &&
			     record.ordinal == ordinal && at + record_size(record.stored_size) <= end;
		bool good = there && body_at(recover, at, &record);
		if (!good && !proven) {
			recover->end = at;
			whole = false;
			break;
		}
		if (!there) {
			if (truncated && at >= end)
				break; /* an earlier open cut it here: never acknowledged */
			uint64_t next = next_record(recover, at + 8, end, ordinal + 1, &record);
			uint64_t upto = next == UINT64_MAX ? mark->version + 1 : record.ordinal;
			lose_some(recover, &list, listed, upto - ordinal);
			whole = false;
			if (next == UINT64_MAX || upto > mark->version)
				break;
			at = next;
			ordinal = record.ordinal;
			good = body_at(recover, at, &record) != NULL;
		}
		if (good)
			apply(recover, &record, at);
		else
			lose(recover, &record);
		if (listed && list.at < list.count)
			list_advance(&list);
		at += record_size(record.stored_size);
	}
	free(list.items);
	return whole;
}

/* Between two proofs, without a MARK of its own: what still has a good header counts; was there more? */
static void walk_headless(struct recover *recover, uint64_t offset, uint64_t end, bool one_batch)
{
	struct record record;
	uint32_t ordinal = 0;
	uint64_t at = offset, expected = UINT64_MAX;
	bool whole = one_batch;
	damaged(recover);
	while (recover->status == STATUS_OK) {
		at = next_record(recover, at, end, 1, &record);
		if (at == UINT64_MAX)
			break;
		whole = whole && record.ordinal == ordinal + 1 && (expected == UINT64_MAX || at == expected);
		ordinal = record.ordinal;
		if (body_at(recover, at, &record))
			apply(recover, &record, at);
		else
			lose(recover, &record);
		at += record_size(record.stored_size);
		expected = at;
	}
	if (!whole || expected == UINT64_MAX || align_up(expected, JOURNAL_BLOCK) != align_up(end, JOURNAL_BLOCK))
		unknown_loss(recover);
}

/* --- one segment --------------------------------------------------------------------------------- */

/* Everything up to this flush number is proven durable by what stands in the segment. */
static uint64_t proven_upto(struct recover *recover, uint64_t limit)
{
	struct record record;
	uint64_t proven = 0;
	for (uint64_t at = JOURNAL_DATA_BEGIN; (at = next_proof(recover, at, limit, &record)) != UINT64_MAX;
		at += JOURNAL_BLOCK) {
		uint64_t says = record.type == RECORD_MARK ? record.index - 1 : record.index;
		if (record.index > 0 && says > proven)
			proven = says;
	}
	return proven;
}

/* A batch with a good MARK at `offset`. Gives where the next begins; with recover->cut, where the tail was cut. */
static uint64_t take_batch(
	struct recover *recover, uint64_t offset, const struct record *mark, uint64_t limit, uint64_t proven)
{
	uint64_t size = mark->key_hash, end = offset + size;
	bool sound = size >= RECORD_HEADER_SIZE && size <= recover->journal->segment_size;
	bool truncated = !sound || end > limit;
	if (truncated)
		end = limit;
	bool certain = mark->index <= proven;
	bool whole = walk_batch(recover, offset, mark, end, certain, truncated);
	if (!whole && !certain) {
		recover->flush = recover->end > offset ? mark->index : mark->index - 1;
		recover->cut = true;
		return recover->end;
	}
	recover->flush = mark->index;
	if (mark->term <= recover->at->sequence) /* always, unless somebody forged it */
		recover->needed = mark->term;
	recover->end = truncated ? limit : align_up(end, JOURNAL_BLOCK);
	return recover->end;
}

/* Reads a segment. tail: the newest, whose end is not known; else limit is. first: number of its first flush, 0: not
 * known. */
static void walk_segment(struct recover *recover, uint64_t limit, bool tail, uint64_t first)
{
	uint64_t proven = tail ? proven_upto(recover, limit) : UINT64_MAX;
	uint64_t offset = JOURNAL_DATA_BEGIN, expected = first;
	recover->end = offset;
	recover->cut = false;
	while (!recover->cut && offset + RECORD_HEADER_SIZE <= limit && recover->status == STATUS_OK) {
		struct record record;
		bool good = header_at(recover, offset, &record) && is_proof(&record);
		if (good && record.type == RECORD_ACKED && (tail || record.index + 1 == expected))
			return; /* nothing was written behind it, or what was, counts for nothing */
		if (good && record.type == RECORD_MARK && record.index >= expected) {
			if (expected != 0 && record.index > expected)
				unknown_loss(recover);
			offset = take_batch(recover, offset, &record, limit, proven);
			expected = recover->flush + 1;
			continue;
		}
		uint64_t next = next_proof(recover, offset + 1, limit, &record);
		if (next == UINT64_MAX && tail)
			return; /* torn before its MARK was whole */
		uint64_t end = next == UINT64_MAX ? limit : next;
		uint64_t upto = next == UINT64_MAX	      ? expected + 1
				: record.type == RECORD_ACKED ? record.index + 1
							      : record.index;
		walk_headless(recover, offset, end, upto == expected + 1);
		expected = upto;
		recover->flush = upto > 0 ? upto - 1 : recover->flush;
		recover->end = offset = end;
	}
}

/* --- the directory ------------------------------------------------------------------------------- */

static bool sequence_of(const char *name, uint64_t *sequence)
{
	*sequence = 0;
	for (size_t i = 0; i < NAME_DIGITS; i++) {
		char c = name[i];
		if (c >= '0' && c <= '9')
			*sequence = *sequence * 16 + (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			*sequence = *sequence * 16 + (uint64_t)(c - 'a') + 10;
		else
			return false;
	}
	return *sequence != 0 && strcmp(name + NAME_DIGITS, ".seg") == 0;
}

static bool name_found(void *arg, const char *name)
{
	struct recover *recover = arg;
	uint64_t sequence;
	if (!sequence_of(name, &sequence))
		return true;
	if (recover->count == recover->capacity) {
		size_t capacity = recover->capacity ? 2 * recover->capacity : 16;
		struct found *found = realloc(recover->found, capacity * sizeof(*found));
		if (!found) {
			recover->status = STATUS_NO_MEMORY;
			return false;
		}
		recover->found = found;
		recover->capacity = capacity;
	}
	recover->found[recover->count++] = (struct found){ .sequence = sequence };
	return true;
}

static int by_sequence(const void *a, const void *b)
{
	uint64_t x = ((const struct found *)a)->sequence, y = ((const struct found *)b)->sequence;
	return (x > y) - (x < y);
}

static enum status judge_header(struct recover *recover, struct found *found)
{
	const struct journal *journal = recover->journal;
	uint8_t block[JOURNAL_BLOCK];
	bool newer = false;
	for (unsigned copy = 0; copy < 2; copy++) {
		size_t got;
		struct segment_header header;
		enum status status = disk_read(found->file, copy * JOURNAL_BLOCK, block, sizeof(block), &got);
		if (status != STATUS_OK)
			return status;
		status = got == sizeof(block) ? segment_header_decode(block, copy, &header) : STATUS_CORRUPT;
		newer = newer || status == STATUS_UNSUPPORTED;
		if (status != STATUS_OK)
			continue;
		if (memcmp(header.cluster, journal->cluster, sizeof(header.cluster)) != 0)
			return STATUS_CONFLICT;
		if (header.incarnation != journal->incarnation)
			return STATUS_CONFLICT;
		if (!found->headed) {
			found->header = header;
			found->headed = header.sequence == found->sequence;
		}
		newer = false;
		if (copy == 0) /* the second is for when the first is bad */
			return STATUS_OK;
	}
	return newer ? STATUS_UNSUPPORTED : STATUS_OK;
}

/* Without a header: was a batch in it acknowledged? The header is synced with the first one, so one MARK alone says
 * that the crash came before that. */
static bool acted_upon(struct recover *recover, uint64_t size)
{
	struct record record;
	uint64_t at = next_proof(recover, JOURNAL_DATA_BEGIN, size, &record);
	return at != UINT64_MAX && next_proof(recover, at + JOURNAL_BLOCK, size, &record) != UINT64_MAX;
}

static enum status open_found(struct recover *recover, struct found *found)
{
	char path[DISK_PATH_MAX];
	journal_path(recover->journal->dir, found->sequence, path);
	enum status status = disk_open(path, 0, &found->file);
	if (status == STATUS_OK)
		status = disk_size(found->file, &found->size);
	if (status == STATUS_OK)
		status = judge_header(recover, found);
	if (status != STATUS_OK)
		return status;
	window_turn(recover, found);
	found->begun = found->headed || acted_upon(recover, found->size);
	return recover->status;
}

static struct found *find(const struct recover *recover, uint64_t sequence)
{
	for (size_t i = 0; i < recover->count; i++)
		if (recover->found[i].sequence == sequence && recover->found[i].begun)
			return &recover->found[i];
	return NULL;
}

static struct found *newest(const struct recover *recover)
{
	for (size_t i = recover->count; i-- > 0;)
		if (recover->found[i].begun)
			return &recover->found[i];
	return NULL;
}

/* The one that came before: as the header says, or, when that is lost, the next lower. */
static struct found *predecessor(struct recover *recover, const struct found *found)
{
	if (found->headed) {
		struct found *named = find(recover, found->header.previous_sequence);
		uint64_t previous = found->header.previous_sequence;
		if (!named && previous != 0 && previous >= recover->journal->needed)
			unknown_loss(recover); /* a whole segment is gone */
		return named;
	}
	damaged(recover);
	for (const struct found *at = found; at-- > recover->found;)
		if (at->begun)
			return find(recover, at->sequence);
	return NULL;
}

/* Segments that are needed, newest first, into chain; gives how many. */
static size_t chain_of(struct recover *recover, struct found **chain)
{
	size_t count = 0;
	for (struct found *at = newest(recover); at && at->sequence >= recover->journal->needed;) {
		chain[count++] = at;
		if (at->sequence == recover->journal->needed)
			break; /* nothing before it is needed */
		struct found *before = predecessor(recover, at);
		if (before && before->sequence >= at->sequence)
			break; /* no good header says so */
		at = before;
	}
	return count;
}

static void walk_chain(struct recover *recover, struct found **chain, size_t count)
{
	struct journal *journal = recover->journal;
	for (size_t i = count; i-- > 0 && recover->status == STATUS_OK;) {
		struct found *found = chain[i], *next = i > 0 ? chain[i - 1] : NULL;
		bool known = next && next->headed;
		uint64_t limit = known ? next->header.previous_end : found->size;
		if (limit > found->size) {
			unknown_loss(recover); /* shorter than it was */
			limit = found->size;
		}
		fail(recover, index_segment_add(&journal->index, found->sequence));
		recover->records = 0;
		window_turn(recover, found);
		journal->unknown_loss = journal->unknown_loss || (found->headed && found->header.unknown_loss);
		walk_segment(recover, limit, !known, found->headed ? found->header.first_flush : 0);
		if (next && (!known || recover->flush + 1 != next->header.first_flush))
			unknown_loss(recover);
		fail(recover, journal_segment_push(journal, (struct segment){ .sequence = found->sequence,
								    .file = found->file,
								    .allocated = found->size,
								    .end = recover->end,
								    .records = recover->records }));
		if (recover->status == STATUS_OK)
			found->file = NULL; /* the journal's now */
	}
}

/* Learns from the newest segment which ones are needed, and where proof ends. */
static void look_at_newest(struct recover *recover)
{
	struct found *last = newest(recover);
	struct journal *journal = recover->journal;
	if (!last)
		return;
	recover->dry = true;
	recover->needed = last->headed ? last->header.needed : recover->found[0].sequence;
	recover->flush = last->headed && last->header.first_flush > 0 ? last->header.first_flush - 1 : 0;
	window_turn(recover, last);
	walk_segment(recover, last->size, true, last->headed ? last->header.first_flush : 0);
	recover->dry = false;
	journal->needed = recover->needed <= last->sequence ? recover->needed : last->sequence;
	journal->flush_next = recover->flush + 1;
	journal->previous_sequence = last->sequence;
	journal->previous_end = recover->end;
	if (recover->cut && last->size > recover->end)
		journal->stats.cut_size = last->size - recover->end;
	/* What is kept may be in the page cache only, of a process that was killed: it will be acted upon. */
	fail(recover, disk_sync(last->file));
	recover->flush = 0;
}

/* Files that are not needed wait to be used again; those that no header claims have no name to keep. */
static void keep_free(struct recover *recover)
{
	struct journal *journal = recover->journal;
	size_t needed = journal->segment_count;
	for (size_t i = 0; i < recover->count && recover->status == STATUS_OK; i++) {
		struct found *found = &recover->found[i];
		char path[DISK_PATH_MAX];
		if (found->file && (found->sequence < journal->needed)) {
			struct segment segment = {
				.sequence = found->sequence, .file = found->file, .allocated = found->size
			};
			fail(recover, journal_segment_push(journal, segment));
			if (recover->status == STATUS_OK)
				found->file = NULL;
		} else if (found->file && !found->begun) { /* named for a batch that never came */
			journal_path(journal->dir, found->sequence, path);
			fail(recover, disk_remove(path));
		}
	}
	/* free ones come first: rotate them there */
	for (size_t i = needed; i < journal->segment_count; i++) {
		struct segment segment = journal->segments[i];
		size_t at = i - needed;
		memmove(&journal->segments[at + 1], &journal->segments[at], (i - at) * sizeof(segment));
		journal->segments[at] = segment;
	}
}

/* --- handing out --------------------------------------------------------------------------------- */

/* A gap has no record: its term is that of its neighbours when they agree. */
static uint64_t term_of_lost(const struct group_log *log, uint64_t index)
{
	const struct run *run = run_find(log, index);
	if (run)
		return run->term;
	uint64_t before, after;
	index_terms_around(log, index, &before, &after);
	return before == after ? before : 0;
}

/* So that the loss outlives the segment that shows it. */
static void note_lost(struct recover *recover, struct group_log *log, uint64_t index, uint64_t term)
{
	struct record record = { .type = RECORD_LOST, .group = log->group, .index = index, .term = term };
	const struct run *run = run_find(log, index);
	if (!run || run_offset(run, index) == 0 || !run->lost)
		fail(recover, journal_push(recover->journal, log, &record, NULL));
}

static void hand_out_entry(
	struct recover *recover, const struct journal_recovery *to, struct group_log *log, uint64_t index)
{
	struct journal *journal = recover->journal;
	const struct run *run = run_find(log, index);
	struct record record;
	struct buffer *body = NULL;
	enum status status = STATUS_CORRUPT;
	if (run && !run->lost) {
		const struct segment *segment = journal_segment(journal, run->segment);
		assert(segment);
		status = journal_read_record(
			journal, segment->file, run->segment, run_offset(run, index), &record, &body);
	}
	if (status == STATUS_OK && to->entry) {
		struct journal_entry entry = { .group = log->group,
			.index = index,
			.term = record.term,
			.version = record.version,
			.key_hash = record.key_hash,
			.request = record.request,
			.size = record.body_size,
			.origin = record.origin,
			.kind = record.kind,
			.body = buffer_bytes(body) };
		to->entry(to->arg, &entry);
	}
	buffer_unref(body);
	if (status == STATUS_OK)
		return;
	if (status != STATUS_CORRUPT) {
		fail(recover, status);
		return;
	}
	uint64_t term = term_of_lost(log, index);
	note_lost(recover, log, index, term);
	if (to->corrupt)
		to->corrupt(to->arg, log->group, index, term);
}

/* A log whose beginning is far away has lost the record that says where it begins. */
static void bound_gap(struct recover *recover, struct group_log *log)
{
	if (log->run_count == 0 || log->runs[0].first - log->base_index <= GAP_MAX)
		return;
	unknown_loss(recover);
	index_trim(&recover->journal->index, log, log->runs[0].first - 1);
	log->base_term = 0;
}

static void hand_out(struct recover *recover, const struct journal_recovery *to)
{
	struct journal *journal = recover->journal;
	struct group_log **logs = index_sorted(&journal->index);
	if (!logs) {
		fail(recover, STATUS_NO_MEMORY);
		return;
	}
	for (size_t i = 0; i < journal->index.group_count; i++)
		bound_gap(recover, logs[i]);
	if (journal->unknown_loss && to->corrupt)
		to->corrupt(to->arg, 0, 0, 0);
	for (size_t i = 0; i < journal->tombstone_count && to->removed; i++)
		if (!index_find(&journal->index, journal->tombstones[i].group))
			to->removed(to->arg, journal->tombstones[i].group);
	for (size_t i = 0; i < journal->index.group_count && recover->status == STATUS_OK; i++) {
		struct group_log *log = logs[i];
		if (log->base_index > 0 && to->reset)
			to->reset(to->arg, log->group, log->base_index, log->base_term);
		if (to->state)
			to->state(to->arg, log->group, log->term, log->vote);
		for (uint64_t at = log->base_index + 1; at <= log->last && recover->status == STATUS_OK; at++)
			hand_out_entry(recover, to, log, at);
		if (to->cut)
			to->cut(to->arg, log->group, log->last + 1);
	}
	free(logs);
}

static void recover_all(struct recover *recover, const struct journal_recovery *to)
{
	struct journal *journal = recover->journal;
	for (size_t i = 0; i < recover->count && recover->status == STATUS_OK; i++)
		fail(recover, open_found(recover, &recover->found[i]));
	if (recover->count > 0)
		journal->sequence_next = recover->found[recover->count - 1].sequence + 1;
	if (recover->status == STATUS_OK)
		look_at_newest(recover);
	if (recover->status != STATUS_OK)
		return;
	struct found **chain = calloc(recover->count + 1, sizeof(struct found *));
	if (!chain) {
		fail(recover, STATUS_NO_MEMORY);
		return;
	}
	walk_chain(recover, chain, chain_of(recover, chain));
	free(chain);
	keep_free(recover);
	if (recover->status == STATUS_OK)
		hand_out(recover, to);
}

enum status journal_recover(struct journal *journal, const struct journal_recovery *to)
{
	struct recover recover = { .journal = journal, .status = STATUS_OK };
	journal->sequence_next = 1;
	journal->flush_next = 1;
	recover.window.data = malloc(WINDOW_SIZE);
	recover.window.capacity = WINDOW_SIZE;
	if (!recover.window.data)
		return STATUS_NO_MEMORY;
	enum status status = disk_list(journal->dir, name_found, &recover);
	fail(&recover, status);
	if (recover.count > 1)
		qsort(recover.found, recover.count, sizeof(*recover.found), by_sequence);
	if (recover.status == STATUS_OK)
		recover_all(&recover, to);
	for (size_t i = 0; i < recover.count; i++)
		disk_close(recover.found[i].file);
	free(recover.found);
	free(recover.window.data);
	return recover.status;
}
