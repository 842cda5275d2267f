/* server/group_driver_tail.h: the end of a replica's log in memory: entries with their bodies, in a ring by index.
 * What left it at the front is read back from the journal. A body is shared with whoever else holds it.
 *
 * Invariants: indexes are consecutive, first..last (last == first - 1: empty); size is the sum of the bodies held. An
 * empty tail holds no memory but this struct, so that an idle replica costs nothing. One thread. */
#ifndef DOMICILE_SERVER_GROUP_DRIVER_TAIL_H
#define DOMICILE_SERVER_GROUP_DRIVER_TAIL_H

#include "base/buffer.h"
#include "wire/message.h"

struct tail_entry {
	struct entry entry;
	struct buffer *body; /* a reference; NULL: an empty body */
};

struct tail {
	struct tail_entry *at; /* slot = index & (capacity - 1) */
	size_t capacity;       /* 0 or a power of two */
	uint64_t first, last;  /* indexes held; first >= 1 */
	uint64_t size;	       /* bytes of bodies */
};

void tail_init(struct tail *tail);
void tail_deinit(struct tail *tail);
void tail_reset(struct tail *tail, uint64_t last); /* forgets everything; the next entry is last + 1 */
/* At last + 1. Takes its own reference to body. NO_MEMORY: nothing changed. */
enum status tail_append(struct tail *tail, const struct entry *entry, struct buffer *body) MUST;
void tail_cut(struct tail *tail, uint64_t from);     /* entries from `from` on are gone */
void tail_release(struct tail *tail, uint64_t upto); /* entries up to `upto` need not be held any more */
const struct tail_entry *tail_find(const struct tail *tail, uint64_t index); /* NULL: not held */
void tail_check(const struct tail *tail);

static inline bool tail_empty(const struct tail *tail)
{
	return tail->last < tail->first;
}

#endif
