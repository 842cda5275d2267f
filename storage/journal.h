/* storage/journal.h: the log of all groups of one node, on disk. One journal a node, so that one fdatasync makes
 * durable what every group wrote while the last one ran.
 *
 * Sans-thread: appends go to memory and get a ticket; a flush is a job that the caller begins and ends on the journal's
 * thread and runs on any other. One flush at a time. The journal's own calls all belong to one thread. It reaches the
 * world through storage/disk.h only, has no clock and no randomness: same calls, same bytes.
 *
 * What it keeps of a group: term and vote, the position (index, term) behind which its log begins, and entries with
 * consecutive indexes. It knows nothing of consensus; kinds, versions and bodies are opaque. */
#ifndef DOMICILE_STORAGE_JOURNAL_H
#define DOMICILE_STORAGE_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/status.h"

enum { JOURNAL_CLUSTER_SIZE = 16, JOURNAL_SEGMENT_SIZE_MIN = 1 << 20 };

struct journal;
struct journal_flush;

struct journal_entry {
	uint64_t group, index, term; /* index from 1 */
	uint64_t version, key_hash, request;
	uint32_t size; /* of the body; set by the journal when it hands an entry out */
	uint16_t origin;
	uint8_t kind;
	struct bytes body; /* borrowed for the call */
};

struct journal_state {
	uint64_t group, term, vote;
	uint64_t base_index, base_term; /* the log begins behind it */
	uint64_t last;			/* the last index, lost ones included; base_index: empty */
};

/* Zero means the default, where one is named. */
struct journal_options {
	const char *dir; /* made when it is not there; its parent must be */
	uint8_t cluster[JOURNAL_CLUSTER_SIZE];
	uint64_t incarnation;	   /* of the node: another one's journal is refused */
	uint64_t segment_size;	   /* bytes; default 64 MiB */
	uint32_t segments_kept;	   /* empty ones kept to be written again; default 4 */
	uint64_t pending_size_max; /* bytes appended and not yet durable; default 64 MiB */
	uint64_t index_size_max;   /* bytes of the index of positions in memory; default 256 MiB */
	uint64_t flush_size_max;   /* bytes written by one flush; default 8 MiB, at least one record */
};

/* What journal_open found, group by group in rising order of their ids, each group as it ended: removed, if a REMOVE of
 * it is still there; reset, if its log begins behind a position; state; then its entries above that position in rising
 * order, with corrupt in the place of each that was durable and is lost (term 0: not known); then cut(last + 1).
 * corrupt with group 0 comes first of all and means that something durable was lost and even its name with it: no group
 * of this node may trust its last index or its vote. What no reader can do anything about (a damaged copy of what is
 * there twice) is only counted. Entries are borrowed for the call. */
struct journal_recovery {
	void *arg;
	void (*state)(void *arg, uint64_t group, uint64_t term, uint64_t vote);
	void (*entry)(void *arg, const struct journal_entry *entry);
	void (*cut)(void *arg, uint64_t group, uint64_t from);
	void (*reset)(void *arg, uint64_t group, uint64_t index, uint64_t term);
	void (*removed)(void *arg, uint64_t group);
	void (*corrupt)(void *arg, uint64_t group, uint64_t index, uint64_t term);
}; /* NULL: not wanted */

/* CONFLICT: another cluster's or node's directory. UNSUPPORTED: written by a newer version. INVALID: options. What is
 * torn at the end and was never acknowledged is cut; what was acknowledged and is bad is reported, never cut. */
enum status journal_open(
	const struct journal_options *options, const struct journal_recovery *recovery, struct journal **journal) MUST;
/* What was not flushed is lost. No flush may be under way. */
void journal_close(struct journal *journal);

/* Appends. BUSY: too much is pending, or the index is full (small records still pass for a while above the limit that
 * stops entries). TOO_LARGE: no segment holds it. INVALID: an index that does not follow, or a group that is not there.
 * NO_MEMORY. In all these cases nothing changed. IO: a flush has failed, for ever. */
enum status journal_append_state(struct journal *journal, uint64_t group, uint64_t term, uint64_t vote) MUST;
/* At last + 1 (1 in a new group). With a body buffer the journal takes a reference and entry->body is not looked at;
 * without one the bytes of entry->body are copied. */
enum status journal_append_entry(struct journal *journal, const struct journal_entry *entry, struct buffer *body) MUST;
enum status journal_append_cut(struct journal *journal, uint64_t group, uint64_t from) MUST; /* from > base */
/* A snapshot took the log's place: all entries of the group are gone, the next is index + 1. */
enum status journal_append_reset(struct journal *journal, uint64_t group, uint64_t index, uint64_t term) MUST;
/* Its bytes go with the flushes that follow; journal_erase's mark says when they have. */
enum status journal_append_remove(struct journal *journal, uint64_t group) MUST;
/* An entry that was lost, fetched again: base < index <= last; takes the place of whatever was there. */
enum status journal_repair_entry(struct journal *journal, const struct journal_entry *entry, struct buffer *body) MUST;
/* Entries up to index are not needed any more (the engine has flushed them). Beyond last: up to last. */
enum status journal_trim(struct journal *journal, uint64_t group, uint64_t index) MUST;

uint64_t journal_ticket(const struct journal *journal);	 /* covers all appended so far; 0: nothing ever */
uint64_t journal_durable(const struct journal *journal); /* the last ticket that is on disk */
/* The last flush found the disk full. What it wrote, and what follows while there is journal_room, goes into a reserve
 * that is allocated ahead: term and vote must be written then too. */
bool journal_full(const struct journal *journal);
uint64_t journal_room(const struct journal *journal); /* bytes of records that can be written for sure; not full: any */
void journal_probe(struct journal *journal); /* the next flush looks whether it still is, even with nothing to write */

/* False: nothing to write, a flush is under way, or the journal has failed. It may have something to write of its own
 * accord: what is still needed of old segments, so that they can go. */
bool journal_flush_begin(struct journal *journal, struct journal_flush **flush);
enum status journal_flush_run(struct journal_flush *flush) MUST; /* any thread; blocks */
/* With what journal_flush_run gave. NO_SPACE: nothing was lost, the records wait for the next flush (only when the
 * reserve is used up; a flush that had to go into it says OK, and journal_full). Any other failure is final: the disk's
 * state is unknown, so nothing may be acknowledged any more. */
enum status journal_flush_end(
	struct journal *journal, struct journal_flush *flush, enum status status, uint64_t *durable_ticket) MUST;

/* The entry, durable or pending, with its body in *body (a reference; NULL: empty), which entry->body views. NOT_FOUND:
 * not in the log. CORRUPT: in the log and lost. May block for a read. */
enum status journal_read_entry(struct journal *journal, uint64_t group, uint64_t index, struct journal_entry *entry,
	struct buffer **body) MUST;
enum status journal_read_state(const struct journal *journal, uint64_t group, struct journal_state *state) MUST;
/* After journal_append_remove: it is not durable yet, so a restart may find the group's log again. */
bool journal_removing(const struct journal *journal, uint64_t group);

/* What means nothing any more at this call (entries trimmed, cut, reset, overwritten, of groups removed) is to leave
 * the disk: the flushes that follow write again what is still needed of every segment that may have bytes of it, and
 * unlink those segments; none is written again. *mark is for journal_erased. NO_MEMORY. */
enum status journal_erase(struct journal *journal, uint64_t *mark) MUST;
bool journal_erased(const struct journal *journal, uint64_t mark);
/* All segments up to this one were emptied and unlinked since the open, and none of their files lives on under another
 * name: when journal_erased says true, all that meant nothing at the mark was in these. 0: none yet. */
uint64_t journal_erased_segment(const struct journal *journal);
/* Looks itself, at the files and at nothing in memory: how many headers of records of each group (rising) lie in the
 * directory's segments, written under their names of now or in a former life of the file, and into segments up to
 * `upto` (UINT64_MAX: into any). Reads every byte. Any thread. */
struct journal_trace {
	uint64_t group, upto, found;
};
enum status journal_search(const char *dir, uint64_t incarnation, struct journal_trace *traces, size_t count) MUST;

struct journal_stats {
	uint64_t flushes, records, bytes_written; /* since open; records / flushes is the width of a group commit */
	uint64_t segments, segments_free;	  /* on disk; of them waiting to be written again */
	uint64_t pending_size, index_size;	  /* bytes in memory */
	uint64_t copied;			  /* records written again so that old segments could go */
	uint64_t damaged;			  /* checksums that failed, at open and since */
	uint64_t cut_size;			  /* bytes of the torn tail cut at open */
};
void journal_stats(const struct journal *journal, struct journal_stats *stats);
void journal_check(const struct journal *journal); /* asserts every invariant */

#endif
