/* storage/journal_index.c: see storage/journal_index.h. */
#include "storage/journal_index.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS_MIN = 64, RUN_CAPACITY_MIN = 4 };

static size_t slot_of(const struct journal_index *index, uint64_t group)
{
	uint64_t mixed = (group ^ (group >> 31)) * 0x9e3779b97f4a7c15u;
	return (size_t)(mixed >> 20) & (index->slot_count - 1);
}

enum status index_init(struct journal_index *index)
{
	*index = (struct journal_index){ .slot_count = SLOTS_MIN };
	index->slots = calloc(SLOTS_MIN, sizeof(*index->slots));
	index->size = SLOTS_MIN * sizeof(*index->slots);
	return index->slots ? STATUS_OK : STATUS_NO_MEMORY;
}

static void run_deinit(struct journal_index *index, struct run *run)
{
	index->size -= run->capacity * sizeof(*run->position);
	free(run->position);
}

static void log_free(struct journal_index *index, struct group_log *log)
{
	for (uint32_t i = 0; i < log->run_count; i++)
		run_deinit(index, &log->runs[i]);
	index->size -= sizeof(*log) + log->run_capacity * sizeof(*log->runs);
	free(log->runs);
	free(log);
}

void index_deinit(struct journal_index *index)
{
	for (size_t i = 0; i < index->slot_count && index->slots; i++)
		if (index->slots[i])
			log_free(index, index->slots[i]);
	free(index->slots);
	free(index->segments);
	*index = (struct journal_index){ 0 };
}

/* --- groups -------------------------------------------------------------------------------------- */

struct group_log *index_find(const struct journal_index *index, uint64_t group)
{
	size_t at = slot_of(index, group);
	while (index->slots[at] && index->slots[at]->group != group)
		at = (at + 1) & (index->slot_count - 1);
	return index->slots[at];
}

static void slot_insert(struct journal_index *index, struct group_log *log)
{
	size_t at = slot_of(index, log->group);
	while (index->slots[at])
		at = (at + 1) & (index->slot_count - 1);
	index->slots[at] = log;
}

static enum status slots_grow(struct journal_index *index)
{
	struct group_log **old = index->slots;
	size_t old_count = index->slot_count;
	struct group_log **slots = calloc(2 * old_count, sizeof(*slots));
	if (!slots)
		return STATUS_NO_MEMORY;
	index->slots = slots;
	index->slot_count = 2 * old_count;
	index->size += old_count * sizeof(*slots);
	for (size_t i = 0; i < old_count; i++)
		if (old[i])
			slot_insert(index, old[i]);
	free(old);
	return STATUS_OK;
}

enum status index_get(struct journal_index *index, uint64_t group, struct group_log **log)
{
	*log = index_find(index, group);
	if (*log)
		return STATUS_OK;
	if (2 * (index->group_count + 1) > index->slot_count && slots_grow(index) != STATUS_OK)
		return STATUS_NO_MEMORY;
	struct group_log *made = calloc(1, sizeof(*made));
	if (!made)
		return STATUS_NO_MEMORY;
	made->group = group;
	slot_insert(index, made);
	index->group_count++;
	index->size += sizeof(*made);
	*log = made;
	return STATUS_OK;
}

static struct segment_live *segment_find(const struct journal_index *index, uint64_t sequence)
{
	size_t low = 0, high = index->segment_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (index->segments[middle].sequence < sequence)
			low = middle + 1;
		else
			high = middle;
	}
	return low < index->segment_count && index->segments[low].sequence == sequence ? &index->segments[low] : NULL;
}

static void live_add(struct journal_index *index, uint64_t segment, uint64_t count)
{
	struct segment_live *at = segment_find(index, segment);
	assert(at);
	at->live += count;
}

static void live_sub(struct journal_index *index, uint64_t segment, uint64_t count)
{
	struct segment_live *at = segment_find(index, segment);
	assert(at);
	assert(at->live >= count);
	at->live -= count;
}

void index_remove(struct journal_index *index, struct group_log *log)
{
	size_t at = slot_of(index, log->group);
	while (index->slots[at] != log)
		at = (at + 1) & (index->slot_count - 1);
	index->slots[at] = NULL;
	/* the chain behind it closes up, so that no tombstone is needed */
	for (size_t next = (at + 1) & (index->slot_count - 1); index->slots[next];
		next = (next + 1) & (index->slot_count - 1)) {
		struct group_log *moved = index->slots[next];
		index->slots[next] = NULL;
		slot_insert(index, moved);
	}
	index_state_at(index, log, 0);
	for (uint32_t i = 0; i < log->run_count; i++)
		live_sub(index, log->runs[i].segment, log->runs[i].count);
	index->group_count--;
	log_free(index, log);
}

static int by_group(const void *a, const void *b)
{
	uint64_t x = (*(struct group_log *const *)a)->group, y = (*(struct group_log *const *)b)->group;
	return (x > y) - (x < y);
}

struct group_log **index_sorted(const struct journal_index *index)
{
	struct group_log **all = calloc(index->group_count ? index->group_count : 1, sizeof(struct group_log *));
	size_t count = 0;
	for (size_t i = 0; all && i < index->slot_count; i++)
		if (index->slots[i])
			all[count++] = index->slots[i];
	assert(!all || count == index->group_count);
	if (count > 1)
		qsort(all, count, sizeof(struct group_log *), by_group);
	return all;
}

/* --- runs ---------------------------------------------------------------------------------------- */

/* The first run that ends at or behind `at`. */
static uint32_t run_at(const struct group_log *log, uint64_t at)
{
	uint32_t low = 0, high = log->run_count;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct run *run = &log->runs[middle];
		if (run->first + run->count <= at)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct run *run_find(const struct group_log *log, uint64_t at)
{
	uint32_t i = run_at(log, at);
	return i < log->run_count && log->runs[i].first <= at ? &log->runs[i] : NULL;
}

uint64_t index_term_of(const struct group_log *log, uint64_t at)
{
	if (at == log->base_index)
		return log->base_term;
	const struct run *run = run_find(log, at);
	return run ? run->term : 0;
}

void index_terms_around(const struct group_log *log, uint64_t at, uint64_t *before, uint64_t *after)
{
	uint32_t i = run_at(log, at);
	*before = i > 0 ? log->runs[i - 1].term : log->base_term;
	*after = i < log->run_count ? log->runs[i].term : 0;
}

static enum status run_reserve(struct journal_index *index, struct run *run, uint32_t count)
{
	if (count <= run->capacity)
		return STATUS_OK;
	uint32_t capacity = run->capacity ? run->capacity : RUN_CAPACITY_MIN;
	while (capacity < count)
		capacity *= 2;
	uint32_t *position = realloc(run->position, capacity * sizeof(*position));
	if (!position)
		return STATUS_NO_MEMORY;
	index->size += (capacity - run->capacity) * sizeof(*position);
	run->position = position;
	run->capacity = capacity;
	return STATUS_OK;
}

/* An empty run at slot i. */
static enum status run_insert(struct journal_index *index, struct group_log *log, uint32_t i, struct run run)
{
	if (log->run_count == log->run_capacity) {
		uint32_t capacity = log->run_capacity ? 2 * log->run_capacity : 2;
		struct run *runs = realloc(log->runs, capacity * sizeof(*runs));
		if (!runs)
			return STATUS_NO_MEMORY;
		index->size += (capacity - log->run_capacity) * sizeof(*runs);
		log->runs = runs;
		log->run_capacity = capacity;
	}
	memmove(&log->runs[i + 1], &log->runs[i], (log->run_count - i) * sizeof(run));
	log->runs[i] = run;
	log->run_count++;
	return STATUS_OK;
}

static void run_delete(struct journal_index *index, struct group_log *log, uint32_t i)
{
	run_deinit(index, &log->runs[i]);
	log->run_count--;
	memmove(&log->runs[i], &log->runs[i + 1], (log->run_count - i) * sizeof(log->runs[i]));
}

/* Divides run i so that a run begins at `at`, which lies inside it. */
static enum status run_split(struct journal_index *index, struct group_log *log, uint32_t i, uint64_t at)
{
	struct run tail = log->runs[i];
	uint32_t head = (uint32_t)(at - tail.first);
	assert(head > 0);
	assert(head < tail.count);
	tail.first = at;
	tail.count -= head;
	tail.capacity = 0;
	tail.position = NULL;
	enum status status = run_reserve(index, &tail, tail.count);
	if (status == STATUS_OK)
		status = run_insert(index, log, i + 1, tail);
	if (status != STATUS_OK) {
		run_deinit(index, &tail);
		return status;
	}
	memcpy(tail.position, log->runs[i].position + head, tail.count * sizeof(*tail.position));
	log->runs[i].count = head;
	return STATUS_OK;
}

/* After it, no run holds `at`. */
static enum status make_hole(struct journal_index *index, struct group_log *log, uint64_t at)
{
	uint32_t i = run_at(log, at);
	if (i == log->run_count || log->runs[i].first > at)
		return STATUS_OK;
	struct run *run = &log->runs[i];
	if (run->first < at && at + 1 < run->first + run->count) {
		enum status status = run_split(index, log, i, at + 1);
		if (status != STATUS_OK)
			return status;
		run = &log->runs[i];
	}
	live_sub(index, run->segment, 1);
	if (run->first == at) {
		run->first++;
		run->count--;
		memmove(run->position, run->position + 1, run->count * sizeof(*run->position));
	} else {
		assert(at + 1 == run->first + run->count);
		run->count--;
	}
	if (run->count == 0)
		run_delete(index, log, i);
	return STATUS_OK;
}

static bool run_takes(const struct run *run, uint64_t term, uint64_t segment, bool lost)
{
	return run->term == term && run->segment == segment && run->lost == lost && run->count < UINT32_MAX / 2;
}

enum status index_put(struct journal_index *index, struct group_log *log, uint64_t at, uint64_t term, uint64_t segment,
	uint64_t offset, bool lost)
{
	assert(at > log->base_index);
	assert(offset % 8 == 0);
	uint32_t position = (uint32_t)(offset / 8);
	enum status status = at <= log->last ? make_hole(index, log, at) : STATUS_OK;
	if (status != STATUS_OK)
		return status;
	uint32_t i = run_at(log, at);
	struct run *before = i > 0 ? &log->runs[i - 1] : NULL;
	if (before && before->first + before->count == at && run_takes(before, term, segment, lost)) {
		status = run_reserve(index, before, before->count + 1);
		if (status != STATUS_OK)
			return status;
		before->position[before->count++] = position;
	} else {
		struct run run = { .first = at, .term = term, .segment = segment, .count = 1, .lost = lost };
		status = run_reserve(index, &run, 1);
		if (status == STATUS_OK)
			status = run_insert(index, log, i, run);
		if (status != STATUS_OK) {
			run_deinit(index, &run);
			return status;
		}
		run.position[0] = position;
	}
	live_add(index, segment, 1);
	if (at > log->last)
		log->last = at;
	return STATUS_OK;
}

void index_drop(struct journal_index *index, struct group_log *log, uint64_t at)
{
	if (make_hole(index, log, at) == STATUS_OK)
		return;
	/* no memory to divide the run: what stands there still fails its checksum at each read */
}

void index_cut(struct journal_index *index, struct group_log *log, uint64_t from)
{
	assert(from > log->base_index);
	while (log->run_count > 0) {
		struct run *run = &log->runs[log->run_count - 1];
		if (run->first + run->count <= from)
			break;
		uint32_t keep = run->first < from ? (uint32_t)(from - run->first) : 0;
		live_sub(index, run->segment, run->count - keep);
		run->count = keep;
		if (keep == 0)
			run_delete(index, log, log->run_count - 1);
	}
	if (log->last >= from)
		log->last = from - 1;
}

void index_trim(struct journal_index *index, struct group_log *log, uint64_t upto)
{
	assert(upto >= log->base_index);
	uint32_t gone = 0;
	for (; gone < log->run_count; gone++) {
		struct run *run = &log->runs[gone];
		if (run->first > upto)
			break;
		uint64_t drop = upto - run->first + 1;
		if (drop >= run->count) {
			live_sub(index, run->segment, run->count);
			run_deinit(index, run);
			continue;
		}
		live_sub(index, run->segment, drop);
		run->first += drop;
		run->count -= (uint32_t)drop;
		memmove(run->position, run->position + drop, run->count * sizeof(*run->position));
		break;
	}
	log->run_count -= gone;
	if (gone > 0)
		memmove(log->runs, log->runs + gone, log->run_count * sizeof(*log->runs));
	log->base_index = upto;
	if (log->last < upto)
		log->last = upto;
}

void index_reset(struct journal_index *index, struct group_log *log, uint64_t base_index, uint64_t base_term)
{
	if (log->run_count > 0)
		index_cut(index, log, log->base_index + 1);
	assert(log->run_count == 0);
	log->base_index = log->last = base_index;
	log->base_term = base_term;
}

void index_state_at(struct journal_index *index, struct group_log *log, uint64_t segment)
{
	if (log->state_segment != 0)
		live_sub(index, log->state_segment, 1);
	log->state_segment = segment;
	if (segment != 0)
		live_add(index, segment, 1);
}

/* --- segments ------------------------------------------------------------------------------------ */

enum status index_segment_add(struct journal_index *index, uint64_t sequence)
{
	assert(sequence != 0);
	assert(index->segment_count == 0 || index->segments[index->segment_count - 1].sequence < sequence);
	if (index->segment_count == index->segment_capacity) {
		size_t capacity = index->segment_capacity ? 2 * index->segment_capacity : 8;
		struct segment_live *segments = realloc(index->segments, capacity * sizeof(*segments));
		if (!segments)
			return STATUS_NO_MEMORY;
		index->size += (capacity - index->segment_capacity) * sizeof(*segments);
		index->segments = segments;
		index->segment_capacity = capacity;
	}
	index->segments[index->segment_count++] = (struct segment_live){ sequence, 0 };
	return STATUS_OK;
}

void index_segment_forget(struct journal_index *index, uint64_t sequence)
{
	struct segment_live *at = segment_find(index, sequence);
	assert(at);
	assert(at->live == 0);
	size_t i = (size_t)(at - index->segments);
	index->segment_count--;
	memmove(at, at + 1, (index->segment_count - i) * sizeof(*at));
}

uint64_t index_segment_live(const struct journal_index *index, uint64_t sequence)
{
	const struct segment_live *at = segment_find(index, sequence);
	return at ? at->live : 0;
}

uint64_t index_oldest_live(const struct journal_index *index)
{
	for (size_t i = 0; i < index->segment_count; i++)
		if (index->segments[i].live > 0)
			return index->segments[i].sequence;
	return UINT64_MAX;
}

static void log_check(const struct journal_index *index, const struct group_log *log, uint64_t *live)
{
	uint64_t at = log->base_index;
	assert(log->last >= log->base_index);
	for (uint32_t i = 0; i < log->run_count; i++) {
		const struct run *run = &log->runs[i];
		assert(run->first > at);
		assert(run->count > 0);
		assert(run->count <= run->capacity);
		assert(segment_find(index, run->segment));
		at = run->first + run->count - 1;
		*live += run->count;
	}
	assert(at <= log->last);
	*live += log->state_segment != 0;
}

void index_check(const struct journal_index *index)
{
	uint64_t live = 0, counted = 0;
	size_t groups = 0;
	for (size_t i = 0; i < index->slot_count; i++) {
		if (!index->slots[i])
			continue;
		groups++;
		log_check(index, index->slots[i], &live);
	}
	assert(groups == index->group_count);
	for (size_t i = 0; i < index->segment_count; i++) {
		counted += index->segments[i].live;
		assert(i == 0 || index->segments[i - 1].sequence < index->segments[i].sequence);
	}
	assert(live == counted);
}
