/* storage/ledger.h: a node's ledger on its disk: files of records chained by SHA-256 (policy/ledger_segment.h), under
 * ledger/ in the data directory. Records are gathered in memory and written as one batch with one sync; nothing of a
 * read or a write waits for it. Nothing is ever deleted.
 *
 * Sans-thread, like the journal: append, begin and end are the owner's thread, run is any thread's. After a failed
 * write or sync everything says IO, for ever: a node whose ledger cannot be written stops. A full disk is no failure:
 * the records stay in memory, NO_SPACE, and are written when there is room. Through storage/disk.h. */
#ifndef DOMICILE_STORAGE_LEDGER_H
#define DOMICILE_STORAGE_LEDGER_H

#include "base/status.h"
#include "policy/ledger_segment.h"

struct ledger;
struct ledger_flush;

enum { LEDGER_PENDING_MAX = 4 << 20 }; /* bytes of records in memory that wait for the disk */

struct ledger_options {
	const char *dir;      /* the data directory; ledger/ is made in it */
	uint64_t incarnation; /* the identity's: a ledger belongs to one */
	struct place place;
	uint64_t segment_size; /* 0: LEDGER_SEGMENT_MAX; smaller only for tests */
};
/* found: every record that is there, in order. CONFLICT: another node's ledger. CORRUPT: it was changed, or records
 * that were durable are gone; *why says what. What a crash tore off is cut. */
enum status ledger_open(const struct ledger_options *options, ledger_record_fn *found, void *arg,
	struct ledger **ledger, const char **why) MUST;
void ledger_close(struct ledger *ledger); /* what is pending is lost; no flush runs */

/* Gives the record its sequence. BUSY: too much waits for the disk; nothing was taken. */
enum status ledger_append(struct ledger *ledger, struct ledger_record *record) MUST;
/* False: nothing waits, or a flush is under way. */
bool ledger_flush_begin(struct ledger *ledger, struct ledger_flush **flush);
enum status ledger_flush_run(struct ledger_flush *flush) MUST;
/* ran: what run said, or CANCELLED if it did not run. After NO_SPACE and CANCELLED the records still wait. */
enum status ledger_flush_end(struct ledger *ledger, struct ledger_flush *flush, enum status ran) MUST;
struct ledger_position ledger_durable(const struct ledger *ledger);
uint64_t ledger_appended(const struct ledger *ledger); /* sequence of the last record taken */

/* Bytes of the file that holds record `sequence` (1 for the first file), from offset: what is durable. *next: the
 * first record of the file behind it, 0: none. NOT_FOUND: no such record. Blocks. */
struct ledger_part {
	uint64_t first, next; /* sequence of the first record of this file and of the next */
	uint64_t size;	      /* of the file, as far as it is durable */
	size_t got;
};
enum status ledger_read(struct ledger *ledger, uint64_t sequence, uint64_t offset, void *out, size_t size,
	struct ledger_part *part) MUST;

#endif
