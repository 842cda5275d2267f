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
	COMMAND_FENCE = 4, /* from here on this shard refuses keys of `key` (a prefix) or `exact` */
	COMMAND_UNFENCE = 5,
	/* Keys whose binding changed. What was judged by an older map than the newest such command before it does
	 * nothing (STALE_MAP): it comes from a leader that has not heard how the operation went on. */
	COMMAND_ADOPT = 6, /* rows of another policy's shard, whose policy this one's may become */
	COMMAND_CLOSE = 7, /* all are here; `retry`: one without a record may be of a write that was applied there */
	COMMAND_PURGE = 8, /* rows that do not live here, as long as they have the versions named */
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
	bool retry;   /* may be a second copy: without a record of the first, answer unknown outcome */
	bool exact;   /* FENCE: `exact_hash` says which key; else `key` is a prefix */
	uint64_t client, sequence, low_water;
	uint64_t map_epoch; /* of the map by which the proposer judged it */
	uint64_t version;   /* CAS: expected, 0 = absent. ADOPT, CLOSE: no version there is above it */
	uint64_t operation; /* from FENCE on: id of the operation that wants it */
	uint64_t exact_hash[2];
	struct bytes key, value; /* ADOPT, PURGE: value is the rows */
};

/* Rows of a kind, one after the other. False: no room (nothing was packed), or one of the bounds above is reached. */
bool command_row_add(uint8_t kind, struct packer *packer, const struct command_row *row);
/* False: no more, or malformed (the unpacker says which). */
bool command_row_next(uint8_t kind, struct unpacker *rows, struct command_row *row);
/* How many keys a body writes at most. */
uint32_t command_rows(struct bytes body);

/* A body carries the fields of its kind only: client, sequence, low_water, retry and key for writes, value for PUT and
 * CAS, version for CAS, operation for FENCE and UNFENCE, exact with exact_hash or key for FENCE; operation, rows
 * and, in an ADOPT, version for what moves keys; map_epoch always. */
void command_encode(const struct command *command, struct packer *packer);
enum status command_decode(struct bytes body, struct command *command) MUST; /* CORRUPT, UNSUPPORTED */

#endif
