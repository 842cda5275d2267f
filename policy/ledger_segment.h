/* policy/ledger_segment.h: a file of a ledger, as bytes: one block of header, then batches of records. Blocks are of
 * 4096 bytes; a batch begins with a block of its own, so that what is durable is never written again:
 *
 *   | header | batch 1 .......... | batch 2 ... | seal |
 *
 * A batch is a head (count, size, the chain before and behind it, a checksum), the records, and zeroes up to the next
 * block. A seal is a head with no records: written behind a batch after its sync, without one of its own, and
 * overwritten by the next batch. It, or a later batch, is the proof that what stands before it was durable: what is bad
 * before such a proof is damage, what is bad behind the last one was torn by a crash. Pure. */
#ifndef DOMICILE_POLICY_LEDGER_SEGMENT_H
#define DOMICILE_POLICY_LEDGER_SEGMENT_H

#include <assert.h>

#include "policy/ledger_record.h"

enum {
	LEDGER_BLOCK = 4096,
	LEDGER_BATCH_MAX = 256 << 10, /* bytes of a batch's records */
	LEDGER_SEGMENT_MAX = 1 << 20, /* a batch that would begin behind it begins the next segment */
	LEDGER_FILE_MAX = LEDGER_SEGMENT_MAX + LEDGER_BATCH_MAX + 2 * LEDGER_BLOCK,
};
static_assert((int)LEDGER_BATCH_MAX > (int)LEDGER_RECORD_MAX, "every record fits into a batch");

struct ledger_segment {
	uint64_t incarnation;
	struct place place;
	struct ledger_position before; /* the chain where this segment begins */
};
void ledger_segment_encode(const struct ledger_segment *segment, uint8_t block[LEDGER_BLOCK]);
/* INVALID: damaged; UNSUPPORTED: another version's, whose records have other kinds. */
enum status ledger_segment_decode(struct bytes file, struct ledger_segment *segment) MUST;

/* The next batch, or with count 0 the seal behind the last one: whole blocks. `records`: each a packed byte string. */
void ledger_batch_encode(const struct ledger_position *before, const struct ledger_position *behind, uint32_t count,
	struct bytes records, uint8_t *out, size_t size);
size_t ledger_batch_size(size_t records_size); /* bytes of the whole, a multiple of a block */

struct ledger_scan {
	struct ledger_position at; /* behind the last whole batch */
	size_t end;		   /* where in the file the next batch goes */
	bool sealed;		   /* a seal stands there */
	bool torn;		   /* behind it is something that never was durable, as far as one can tell */
	size_t damage_at;	   /* with INVALID: the block of the first thing that is wrong */
	const char *damage;	   /* and what it is */
};
typedef bool ledger_record_fn(void *arg, const struct ledger_record *record, struct bytes encoded,
	const struct ledger_position *behind); /* false: stop, CANCELLED */
/* All of one file, record by record, the chain from segment.before on. newest: nothing was written behind this file, so
 * its end may be torn. INVALID: something in it is not what was written. */
enum status ledger_segment_scan(
	struct bytes file, bool newest, ledger_record_fn *fn, void *arg, struct ledger_scan *scan) MUST;

#endif
