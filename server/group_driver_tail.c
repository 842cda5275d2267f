/* server/group_driver_tail.c: see server/group_driver_tail.h. */
#include "server/group_driver_tail.h"

#include <assert.h>
#include <stdlib.h>

enum { TAIL_CAPACITY_MIN = 16 };

static struct tail_entry *slot(const struct tail *tail, uint64_t index)
{
	assert(tail->capacity > 0);
	return &tail->at[index & (tail->capacity - 1)];
}

static void shrink(struct tail *tail)
{
	if (!tail_empty(tail))
		return;
	assert(tail->size == 0);
	free(tail->at);
	tail->at = NULL;
	tail->capacity = 0;
}

static void drop(struct tail *tail, uint64_t index)
{
	struct tail_entry *at = slot(tail, index);
	if (at->body) {
		assert(tail->size >= at->body->size);
		tail->size -= at->body->size;
	}
	buffer_unref(at->body);
	at->body = NULL;
}

void tail_init(struct tail *tail)
{
	*tail = (struct tail){ .first = 1, .last = 0 };
}

void tail_deinit(struct tail *tail)
{
	tail_reset(tail, 0);
}

void tail_reset(struct tail *tail, uint64_t last)
{
	while (!tail_empty(tail))
		drop(tail, tail->first++);
	shrink(tail);
	tail->first = last + 1;
	tail->last = last;
}

static bool grow(struct tail *tail)
{
	size_t capacity = tail->capacity ? 2 * tail->capacity : TAIL_CAPACITY_MIN;
	struct tail_entry *at = calloc(capacity, sizeof(*at));
	if (!at)
		return false;
	for (uint64_t index = tail->first; index <= tail->last; index++)
		at[index & (capacity - 1)] = *slot(tail, index);
	free(tail->at);
	tail->at = at;
	tail->capacity = capacity;
	return true;
}

enum status tail_append(struct tail *tail, const struct entry *entry, struct buffer *body)
{
	assert(entry->index == tail->last + 1);
	assert(entry->size == (body ? body->size : 0));
	size_t count = (size_t)(tail->last + 1 - tail->first);
	if (count == tail->capacity && !grow(tail))
		return STATUS_NO_MEMORY;
	tail->last++;
	struct tail_entry *at = slot(tail, tail->last);
	at->entry = *entry;
	at->body = body ? buffer_ref(body) : NULL;
	tail->size += entry->size;
	return STATUS_OK;
}

void tail_cut(struct tail *tail, uint64_t from)
{
	assert(from > 0);
	if (from < tail->first) {
		tail_reset(tail, from - 1);
		return;
	}
	while (!tail_empty(tail) && tail->last >= from)
		drop(tail, tail->last--);
	shrink(tail);
}

void tail_release(struct tail *tail, uint64_t upto)
{
	while (!tail_empty(tail) && tail->first <= upto)
		drop(tail, tail->first++);
	shrink(tail);
}

const struct tail_entry *tail_find(const struct tail *tail, uint64_t index)
{
	if (index < tail->first || index > tail->last)
		return NULL;
	const struct tail_entry *at = slot(tail, index);
	assert(at->entry.index == index);
	return at;
}

void tail_check(const struct tail *tail)
{
	assert(tail->first >= 1);
	assert(tail->last + 1 >= tail->first);
	uint64_t size = 0;
	for (uint64_t index = tail->first; index <= tail->last; index++) {
		const struct tail_entry *at = tail_find(tail, index);
		assert(at);
		assert(at->entry.size == (at->body ? at->body->size : 0));
		size += at->entry.size;
	}
	assert(size == tail->size);
	if (tail_empty(tail))
		assert(!tail->at);
}
