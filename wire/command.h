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
};

struct command {
	uint8_t kind; /* enum command_kind */
	bool retry;   /* may be a second copy: without a record of the first, answer unknown outcome */
	bool exact;   /* FENCE: `exact_hash` says which key; else `key` is a prefix */
	uint64_t client, sequence, low_water;
	uint64_t map_epoch; /* of the map by which the proposer judged it */
	uint64_t version;   /* CAS: expected, 0 = absent */
	uint64_t operation; /* FENCE, UNFENCE: id of the operation that wants it */
	uint64_t exact_hash[2];
	struct bytes key, value;
};

/* A body carries the fields of its kind only: client, sequence, low_water, retry and key for writes, value for PUT and
 * CAS, version for CAS, operation for FENCE and UNFENCE, exact with exact_hash or key for FENCE; map_epoch always. */
void command_encode(const struct command *command, struct packer *packer);
enum status command_decode(struct bytes body, struct command *command) MUST; /* CORRUPT, UNSUPPORTED */

#endif
