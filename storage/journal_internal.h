/* storage/journal_internal.h: the journal's parts, by duty:
 *
 *   journal.c          appends, tickets, reading back, trimming
 *   journal_erase.c    what must leave the disk, and a look whether it did
 *   journal_flush.c    a flush: begun and ended on the journal's thread, run on any
 *   journal_recover.c  what a directory holds at open
 *   journal_index.c    where what is still needed stands;  journal_record.c  bytes
 *
 * Life of a record: ring (pending, numbered by its ticket) -> batch of a flush -> position in the index.
 * Life of a segment: active -> full -> free (nothing needed is in it, and a durable MARK says so) -> renamed to be
 * active again, or removed. Segments go free in the order of their sequence only, so that what is on disk is always the
 * journal's end and no record outlives a later one that takes its meaning away.
 *
 * The index is ahead of the disk where something went (cut, trim, remove) and behind it where something came. So a
 * segment is declared free only in a batch that takes along everything that was pending. */
#ifndef DOMICILE_STORAGE_JOURNAL_INTERNAL_H
#define DOMICILE_STORAGE_JOURNAL_INTERNAL_H

#include "storage/disk.h"
#include "storage/journal.h"
#include "storage/journal_index.h"
#include "storage/journal_record.h"

enum {
	COPY_SIZE_MAX = 1 << 20, /* bytes moved out of the oldest segment by one flush */
	COPY_COUNT_MAX = 4096,
	RESERVE_MAX = 4 << 20,	  /* behind the last batch, allocated: for what must be written when the disk is full */
	SEGMENTS_BEFORE_COPY = 3, /* so many hold what is needed: the oldest, if it holds little, is emptied */
};

struct pending {
	struct record record;
	struct buffer *body; /* NULL: empty */
	uint64_t previous;   /* ticket of the record of the same group before it; 0: none */
	bool dead;	     /* something pending behind it took its meaning away */
};

struct segment {
	uint64_t sequence;
	struct disk_file *file;
	uint64_t allocated; /* bytes of the file */
	uint64_t end;	    /* where the next batch goes; of a full one: behind its last good byte */
	uint64_t records;   /* written to it, needed or not */
};

struct tombstone { /* a removed group, as long as a segment may hold bytes of it; group 0: journal_erase's */
	uint64_t group, ticket;
	uint64_t segment; /* the last that may have bytes of it; 0: not known yet, what is pending may have some */
};

struct journal {
	char dir[DISK_PATH_MAX - 32];
	uint8_t cluster[JOURNAL_CLUSTER_SIZE];
	uint64_t incarnation, segment_size, reserve, pending_size_max, index_size_max, flush_size_max;
	uint32_t segments_kept;

	struct journal_index index;
	struct pending *ring; /* slot = ticket & (capacity - 1) */
	size_t ring_capacity;
	uint64_t durable, last; /* tickets */
	uint64_t pending_size;

	struct segment *segments; /* by rising sequence; the last is active if `active` */
	size_t segment_count, segment_capacity;
	bool active;
	uint64_t sequence_next;			  /* above every name in the directory */
	uint64_t needed;			  /* segments below it are free, and a durable MARK says so */
	uint64_t flush_next;			  /* number of the next MARK */
	uint64_t previous_sequence, previous_end; /* what the next segment's header says of the one before */
	struct segment prepared;		  /* named and perhaps allocated for the next roll; file NULL: none */
	bool roll_wanted, unknown_loss;

	struct tombstone *tombstones;
	size_t tombstone_count, tombstone_capacity;
	uint64_t erased; /* see journal_erased_segment */

	struct journal_flush *flush; /* under way; NULL: none */
	uint8_t *encode;	     /* lent to the flush */
	size_t encode_capacity;
	bool failed, full, probe_wanted; /* full: what was written last is in the reserve, or was not */
	struct journal_stats stats;
};

static inline struct pending *pending_at(const struct journal *journal, uint64_t ticket)
{
	return &journal->ring[ticket & (journal->ring_capacity - 1)];
}

/* "<dir>/<sequence as 16 hex digits>.seg" */
void journal_path(const char *dir, uint64_t sequence, char path[DISK_PATH_MAX]);
/* A record of ours, or checked. Takes over the reference. The group's log, if it has one, gets it into its chain. */
enum status journal_push(
	struct journal *journal, struct group_log *log, const struct record *record, struct buffer *body) MUST;
enum status journal_push_state(struct journal *journal, struct group_log *log, uint8_t type) MUST;
enum status journal_segment_push(struct journal *journal, struct segment segment) MUST;
struct segment *journal_segment(const struct journal *journal, uint64_t sequence); /* NULL */
enum status tombstone_push(struct journal *journal, struct tombstone tombstone) MUST;
/* The record at offset, with a reference to its unpacked body (NULL: empty). CORRUPT. */
enum status journal_read_record(const struct journal *journal, struct disk_file *file, uint64_t sequence,
	uint64_t offset, struct record *record, struct buffer **body) MUST;
/* What was pending up to journal->durable is in the active segment now. */
void journal_bury(struct journal *journal);
enum status journal_recover(struct journal *journal, const struct journal_recovery *recovery) MUST;

#endif
