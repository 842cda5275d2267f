/* server/group_driver_queue.c: see server/group_driver_queue.h. */
#include "server/group_driver_queue.h"

#include <assert.h>
#include <stdlib.h>

enum { QUEUE_CAPACITY_MIN = 16 };

static size_t capacity_after(size_t capacity)
{
	return capacity ? 2 * capacity : QUEUE_CAPACITY_MIN;
}

/* Moves what is queued to the front when that makes room for as much again; else the caller grows. */
static bool worth_moving(size_t begin, size_t end)
{
	return begin > 0 && begin >= end - begin;
}

static enum status proposals_room(struct proposals *proposals)
{
	if (proposals->end < proposals->capacity)
		return STATUS_OK;
	size_t count = proposals_count(proposals);
	if (worth_moving(proposals->begin, proposals->end)) {
		memmove(proposals->entries, proposals->entries + proposals->begin, count * sizeof(struct entry));
		memmove(proposals->about, proposals->about + proposals->begin, count * sizeof(struct proposal));
		proposals->begin = 0;
		proposals->end = count;
		return STATUS_OK;
	}
	size_t capacity = capacity_after(proposals->capacity);
	struct entry *entries = realloc(proposals->entries, capacity * sizeof(*entries));
	if (!entries)
		return STATUS_NO_MEMORY;
	proposals->entries = entries;
	struct proposal *about = realloc(proposals->about, capacity * sizeof(*about));
	if (!about)
		return STATUS_NO_MEMORY;
	proposals->about = about;
	proposals->capacity = capacity;
	return STATUS_OK;
}

enum status proposals_push(struct proposals *proposals, const struct entry *entry, const struct proposal *proposal)
{
	assert(entry->size == proposal->body->size);
	if (proposals_room(proposals) != STATUS_OK)
		return STATUS_NO_MEMORY;
	proposals->entries[proposals->end] = *entry;
	proposals->about[proposals->end] = *proposal;
	proposals->end++;
	proposals->size += entry->size;
	return STATUS_OK;
}

void proposals_pop(struct proposals *proposals, size_t count)
{
	assert(count <= proposals_count(proposals));
	for (size_t i = 0; i < count; i++) {
		struct buffer *body = proposals->about[proposals->begin].body;
		proposals->size -= body->size;
		buffer_unref(body);
		proposals->begin++;
	}
	if (proposals->begin == proposals->end) {
		assert(proposals->size == 0);
		proposals_deinit(proposals);
	}
}

void proposals_deinit(struct proposals *proposals)
{
	for (size_t i = proposals->begin; i < proposals->end; i++)
		buffer_unref(proposals->about[i].body);
	free(proposals->entries);
	free(proposals->about);
	*proposals = (struct proposals){ 0 };
}

enum status waiters_push(struct waiters *waiters, struct waiter waiter)
{
	if (waiters_count(waiters) > 0)
		assert(waiters_last(waiters)->index < waiter.index);
	if (waiters->end == waiters->capacity && worth_moving(waiters->begin, waiters->end)) {
		size_t count = waiters_count(waiters);
		memmove(waiters->at, waiters->at + waiters->begin, count * sizeof(struct waiter));
		waiters->begin = 0;
		waiters->end = count;
	} else if (waiters->end == waiters->capacity) {
		size_t capacity = capacity_after(waiters->capacity);
		struct waiter *at = realloc(waiters->at, capacity * sizeof(*at));
		if (!at)
			return STATUS_NO_MEMORY;
		waiters->at = at;
		waiters->capacity = capacity;
	}
	waiters->at[waiters->end++] = waiter;
	return STATUS_OK;
}

static void waiters_shrink(struct waiters *waiters)
{
	if (waiters->begin == waiters->end)
		waiters_deinit(waiters);
}

void waiters_pop_first(struct waiters *waiters)
{
	assert(waiters_count(waiters) > 0);
	waiters->begin++;
	waiters_shrink(waiters);
}

void waiters_pop_last(struct waiters *waiters)
{
	assert(waiters_count(waiters) > 0);
	waiters->end--;
	waiters_shrink(waiters);
}

void waiters_deinit(struct waiters *waiters)
{
	free(waiters->at);
	*waiters = (struct waiters){ 0 };
}

enum status tokens_push(struct tokens *tokens, uint64_t token)
{
	if (tokens->count == tokens->capacity) {
		size_t capacity = capacity_after(tokens->capacity);
		uint64_t *at = realloc(tokens->at, capacity * sizeof(*at));
		if (!at)
			return STATUS_NO_MEMORY;
		tokens->at = at;
		tokens->capacity = capacity;
	}
	tokens->at[tokens->count++] = token;
	return STATUS_OK;
}

void tokens_deinit(struct tokens *tokens)
{
	free(tokens->at);
	*tokens = (struct tokens){ 0 };
}

enum status refusals_push(struct refusals *refusals, struct refusal refusal)
{
	if (refusals->count == refusals->capacity) {
		size_t capacity = capacity_after(refusals->capacity);
		struct refusal *at = realloc(refusals->at, capacity * sizeof(*at));
		if (!at)
			return STATUS_NO_MEMORY;
		refusals->at = at;
		refusals->capacity = capacity;
	}
	refusals->at[refusals->count++] = refusal;
	return STATUS_OK;
}

void refusals_deinit(struct refusals *refusals)
{
	free(refusals->at);
	*refusals = (struct refusals){ 0 };
}

static enum status forwards_room(struct forwards *forwards)
{
	if (forwards->end < forwards->capacity)
		return STATUS_OK;
	size_t count = forwards_count(forwards);
	if (worth_moving(forwards->begin, forwards->end)) {
		memmove(forwards->at, forwards->at + forwards->begin, count * sizeof(*forwards->at));
		forwards->begin = 0;
		forwards->end = count;
		return STATUS_OK;
	}
	size_t capacity = capacity_after(forwards->capacity);
	struct forward *at = realloc(forwards->at, capacity * sizeof(*at));
	if (!at)
		return STATUS_NO_MEMORY;
	forwards->at = at;
	forwards->capacity = capacity;
	return STATUS_OK;
}

enum status forwards_push(struct forwards *forwards, const struct forward *forward)
{
	if (forwards_room(forwards) != STATUS_OK)
		return STATUS_NO_MEMORY;
	if (forwards_count(forwards) > 0)
		assert(forwards->at[forwards->end - 1].number < forward->number);
	forwards->at[forwards->end++] = *forward;
	forwards->size += forward->proposal.body->size;
	return STATUS_OK;
}

static void forwards_remove(struct forwards *forwards, size_t i, struct forward *forward)
{
	*forward = forwards->at[i];
	forwards->size -= forward->proposal.body->size;
	/* Nearly always the first. */
	memmove(forwards->at + forwards->begin + 1, forwards->at + forwards->begin,
		(i - forwards->begin) * sizeof(*forwards->at));
	forwards->begin++;
	if (forwards_count(forwards) == 0)
		forwards_deinit(forwards);
}

bool forwards_take(struct forwards *forwards, uint64_t client, uint64_t sequence, struct forward *forward)
{
	for (size_t i = forwards->begin; i < forwards->end; i++) {
		if (forwards->at[i].client != client || forwards->at[i].sequence != sequence)
			continue;
		forwards_remove(forwards, i, forward);
		return true;
	}
	return false;
}

bool forwards_take_number(struct forwards *forwards, uint64_t number, struct forward *forward)
{
	for (size_t i = forwards->begin; i < forwards->end && forwards->at[i].number <= number; i++) {
		if (forwards->at[i].number != number)
			continue;
		forwards_remove(forwards, i, forward);
		return true;
	}
	return false;
}

void forwards_deinit(struct forwards *forwards)
{
	for (size_t i = forwards->begin; i < forwards->end; i++)
		buffer_unref(forwards->at[i].proposal.body);
	free(forwards->at);
	*forwards = (struct forwards){ 0 };
}

enum status held_push(struct held_reads *held, struct held read)
{
	if (held->count == held->capacity) {
		size_t capacity = capacity_after(held->capacity);
		struct held *at = realloc(held->at, capacity * sizeof(*at));
		if (!at)
			return STATUS_NO_MEMORY;
		held->at = at;
		held->capacity = capacity;
	}
	held->at[held->count++] = read;
	return STATUS_OK;
}

void held_deinit(struct held_reads *held)
{
	free(held->at);
	*held = (struct held_reads){ 0 };
}
