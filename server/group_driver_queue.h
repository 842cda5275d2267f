/* server/group_driver_queue.h: who waits for what in a replica: proposals gathered in this turn, proposals that have an
 * index and wait to be applied, reads that wait for an index. Plain growing queues; they hold no memory when empty.
 * Their owners bound them. One thread. */
#ifndef DOMICILE_SERVER_GROUP_DRIVER_QUEUE_H
#define DOMICILE_SERVER_GROUP_DRIVER_QUEUE_H

#include "base/buffer.h"
#include "wire/message.h"

struct proposal {
	struct buffer *body; /* a reference */
	uint64_t token;
	unsigned forwarded; /* so many times before, to leaders that lead no more */
	bool doubtful;	    /* one of them may have put it into its log */
};

/* Gathered, not yet given to the group. Two arrays in step, because the group wants the entries consecutive. */
struct proposals {
	struct entry *entries;
	struct proposal *about;
	size_t begin, end, capacity;
	uint64_t size; /* bytes of bodies */
};
/* Takes over the reference to the body, unless it fails. */
enum status proposals_push(
	struct proposals *proposals, const struct entry *entry, const struct proposal *proposal) MUST;
void proposals_pop(struct proposals *proposals, size_t count); /* from the front; drops the bodies */
void proposals_deinit(struct proposals *proposals);
static inline size_t proposals_count(const struct proposals *proposals)
{
	return proposals->end - proposals->begin;
}

/* In the log under (index, term); indexes rise. */
struct waiter {
	uint64_t index, term, token;
	bool doubtful; /* another copy of the entry may come later */
};
struct waiters {
	struct waiter *at;
	size_t begin, end, capacity;
};
enum status waiters_push(struct waiters *waiters, struct waiter waiter) MUST;
void waiters_deinit(struct waiters *waiters);
static inline size_t waiters_count(const struct waiters *waiters)
{
	return waiters->end - waiters->begin;
}
static inline struct waiter *waiters_first(struct waiters *waiters)
{
	return waiters->begin < waiters->end ? &waiters->at[waiters->begin] : NULL;
}
static inline struct waiter *waiters_last(struct waiters *waiters)
{
	return waiters->begin < waiters->end ? &waiters->at[waiters->end - 1] : NULL;
}
void waiters_pop_first(struct waiters *waiters);
void waiters_pop_last(struct waiters *waiters);

/* Sent to the leader, not yet seen in the own log; numbers rise. */
struct forward {
	uint64_t number, client, sequence, until_ns;
	struct entry entry;
	struct proposal proposal;
};
struct forwards {
	struct forward *at;
	size_t begin, end, capacity;
	uint64_t size; /* bytes of bodies */
};
/* Takes over the reference to the body, unless it fails. */
enum status forwards_push(struct forwards *forwards, const struct forward *forward) MUST;
/* The first with that client and sequence, or with that number, which leaves, and its body with it. False: there is
 * none. */
bool forwards_take(struct forwards *forwards, uint64_t client, uint64_t sequence, struct forward *forward);
bool forwards_take_number(struct forwards *forwards, uint64_t number, struct forward *forward);
void forwards_deinit(struct forwards *forwards);
static inline size_t forwards_count(const struct forwards *forwards)
{
	return forwards->end - forwards->begin;
}

/* Reads by lease that wait until an index is applied. */
struct held {
	uint64_t index, token;
};
struct held_reads {
	struct held *at;
	size_t count, capacity;
};
enum status held_push(struct held_reads *held, struct held read) MUST;
void held_deinit(struct held_reads *held);

/* A list of tokens: the reads of one turn, which share one round. */
struct tokens {
	uint64_t *at;
	size_t count, capacity;
};
enum status tokens_push(struct tokens *tokens, uint64_t token) MUST;
void tokens_deinit(struct tokens *tokens);

/* Proposals refused before they were gathered: answered at the next turn. */
struct refusal {
	uint64_t token;
	enum status status;
};
struct refusals {
	struct refusal *at;
	size_t count, capacity;
};
enum status refusals_push(struct refusals *refusals, struct refusal refusal) MUST;
void refusals_deinit(struct refusals *refusals);

#endif
