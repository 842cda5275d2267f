/* storage/journal_index.h: where every record that is still needed stands: group -> state, and runs of entries. A run
 * is of consecutive indexes, one term, one segment; it costs four bytes an entry. Indexes in base+1..last that no run
 * has are lost or, above what is durable, pending.
 *
 * It also counts, for each segment, how much of it is still needed: a segment with nothing needed may go. Invariants:
 * runs are sorted, disjoint, within base+1..last, not empty; terms do not fall along them; a segment's `live` is the
 * number of run entries and states in it. One thread. */
#ifndef DOMICILE_STORAGE_JOURNAL_INDEX_H
#define DOMICILE_STORAGE_JOURNAL_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct run {
	uint64_t first, term, segment;
	uint32_t count, capacity;
	bool lost;	    /* what stands there is a LOST record */
	uint32_t *position; /* offset / 8, of each */
};

struct group_log {
	uint64_t group, term, vote;
	uint64_t base_index, base_term; /* the log begins behind it */
	uint64_t last;			/* >= base_index */
	uint64_t state_segment;		/* of the newest durable STATE or RESET; 0: none */
	/* the journal's own, above what is durable (tickets) */
	uint64_t pending_newest; /* the newest record of this group; 0: none */
	uint64_t state_ticket;	 /* of the newest STATE or RESET; 0: none */
	struct run *runs;
	uint32_t run_count, run_capacity;
};

struct segment_live {
	uint64_t sequence, live;
};

struct journal_index {
	struct group_log **slots; /* open addressing; a power of two */
	size_t slot_count, group_count;
	struct segment_live *segments; /* sorted by sequence */
	size_t segment_count, segment_capacity;
	uint64_t size; /* bytes of all of it */
};

enum status index_init(struct journal_index *index) MUST;
void index_deinit(struct journal_index *index);
struct group_log *index_find(const struct journal_index *index, uint64_t group);		 /* NULL */
enum status index_get(struct journal_index *index, uint64_t group, struct group_log **log) MUST; /* makes it */
void index_remove(struct journal_index *index, struct group_log *log);
/* All groups, by rising id; the caller frees the array. NULL: no memory (or no group). */
struct group_log **index_sorted(const struct journal_index *index);

enum status index_put(struct journal_index *index, struct group_log *log, uint64_t at, uint64_t term, uint64_t segment,
	uint64_t offset, bool lost) MUST; /* base < at; last becomes at least `at` */
void index_drop(struct journal_index *index, struct group_log *log, uint64_t at);   /* forgets where it stands */
void index_cut(struct journal_index *index, struct group_log *log, uint64_t from);  /* last = from - 1 */
void index_trim(struct journal_index *index, struct group_log *log, uint64_t upto); /* base_index = upto */
void index_reset(struct journal_index *index, struct group_log *log, uint64_t base_index, uint64_t base_term);
void index_state_at(struct journal_index *index, struct group_log *log, uint64_t segment);

const struct run *run_find(const struct group_log *log, uint64_t at); /* the run that holds it; NULL */
uint64_t index_term_of(const struct group_log *log, uint64_t at);     /* 0: not known */
/* Of the entries next to `at`, which no run holds. */
void index_terms_around(const struct group_log *log, uint64_t at, uint64_t *before, uint64_t *after);
static inline uint64_t run_offset(const struct run *run, uint64_t at)
{
	return (uint64_t)run->position[at - run->first] * 8;
}

enum status index_segment_add(struct journal_index *index, uint64_t sequence) MUST;
void index_segment_forget(struct journal_index *index, uint64_t sequence); /* nothing live is in it */
uint64_t index_segment_live(const struct journal_index *index, uint64_t sequence);
uint64_t index_oldest_live(const struct journal_index *index); /* sequence; UINT64_MAX: nothing is live */
void index_check(const struct journal_index *index);

#endif
