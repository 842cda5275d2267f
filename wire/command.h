/* wire/command.h: the body of a shard's ENTRY_COMMAND: what every replica applies, in the log's order.
 * Pure encoder and decoder; a decoded command borrows from the body. The first byte is a format version. */
#ifndef DOMICILE_WIRE_COMMAND_H
#define DOMICILE_WIRE_COMMAND_H

#include "base/bytes.h"
#include "base/status.h"
#include "base/pack.h"

enum command_kind {
	COMMAND_PUT = 1,
	COMMAND_DELETE = 2,
	COMMAND_CAS = 3,
	COMMAND_FENCE = 4, /* from here on this shard refuses keys of `key` (a prefix), `exact` or `range` */
	COMMAND_UNFENCE = 5,
	/* Keys that go to another shard. What was judged by an older map than the newest such command before it does
	 * nothing (STALE_MAP): it comes from a leader that has not heard how the operation went on. */
	COMMAND_ADOPT = 6,   /* rows of another shard, whose keys may come to live here */
	COMMAND_CLOSE = 7,   /* all are here; `retry`: one without a record may be of a write that was applied there */
	COMMAND_PURGE = 8,   /* rows that do not live here, as long as they have the versions named */
	COMMAND_INHERIT = 9, /* what was answered to clients by the shard that an ADOPT's rows are of */
};

/* What an ADOPT and a PURGE carry in `value`. */
struct command_row {
	uint64_t version;
	struct bytes key, value; /* value: ADOPT */
};
enum {
	COMMAND_ROWS_MAX = 256,				/* rows in one command */
	COMMAND_ROWS_BYTES = 256 << 10,			/* packed; one row may exceed it alone */
	COMMAND_ROWS_BYTES_MAX = (1 << 20) + 4096 + 64, /* ... which then is this large at most */
};

struct command {
	uint8_t kind; /* enum command_kind */
	bool retry;   /* may be a second copy: without a record of the first, answer unknown outcome. ADOPT, CLOSE,
		       * INHERIT:   from here on no record proves nothing */
	bool exact;   /* FENCE: `exact_hash` says which key; else `key` is a prefix, unless */
	bool range;   /* FENCE: it is the keys of hash_first..hash_last */
	uint64_t client, sequence, low_water;
	uint64_t map_epoch; /* of the map by which the proposer judged it */
	uint64_t version;   /* CAS: expected, 0 = absent. ADOPT, CLOSE: no version there is above it */
	uint64_t operation; /* from FENCE on: id of the operation that wants it */
	uint64_t exact_hash[2];
	uint64_t hash_first, hash_last;
	struct bytes key, value; /* ADOPT, PURGE: value is the rows; INHERIT: the records */
};

/* Rows of a kind, one after the other. False: no room (nothing was packed), or one of the bounds above is reached. */
bool command_row_add(uint8_t kind, struct packer *packer, const struct command_row *row);
/* False: no more, or malformed (the unpacker says which). */
bool command_row_next(uint8_t kind, struct unpacker *rows, struct command_row *row);
/* A record of a session: a write that was applied, and what was answered. */
struct command_record {
	uint64_t client, sequence, version;
	uint32_t status;
};
/* As many as COMMAND_ROWS_BYTES hold. False: no room; no more, or malformed. */
bool command_record_add(struct packer *packer, const struct command_record *record);
bool command_record_next(struct unpacker *records, struct command_record *record);
/* How many keys a body writes at most. */
uint32_t command_rows(struct bytes body);

/* A body carries the fields of its kind only: client, sequence, low_water, retry and key for writes, value for PUT and
 * CAS, version for CAS, operation for FENCE and UNFENCE, exact with exact_hash, range or key for FENCE; operation, rows
 * and, in an ADOPT, version for what moves keys; map_epoch always. */
void command_encode(const struct command *command, struct packer *packer);
enum status command_decode(struct bytes body, struct command *command) MUST; /* CORRUPT, UNSUPPORTED */

#endif
