/* replication/session.h: exactly once. Per shard, the recent results of each client: a write carries (client,
 * sequence), and whether it was applied before is decided when it is APPLIED, in the order of the log, never when
 * proposed (both copies of a retry may be in the log). Pure; memory from the caller; a function of the log alone.
 *
 * Per client a ring of results by sequence modulo SESSION_RESULTS: a client keeps at most that many writes between its
 * low-water mark and its newest. Clients are evicted in order of last use in the log. The driver stores each record in
 * the same write batch as the data (so snapshots carry it) under the key that session_record names, and feeds them back
 * with session_restore at open.
 *
 * A retry without a record is applied while no client was ever evicted here and the slot holds nothing newer: it was
 * then certainly not applied before. Else the answer is unknown outcome, and nothing is applied. That the client is in
 * the table proves nothing once there were evictions: it may have been evicted, with the record, and have come back,
 * even by an older write that was long under way. */
#ifndef DOMICILE_REPLICATION_SESSION_H
#define DOMICILE_REPLICATION_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { SESSION_CLIENTS_DEFAULT = 1024, SESSION_RESULTS = 64 };

struct session_result {
	uint64_t client, sequence;
	uint64_t version, index; /* of the first application */
	uint32_t status;	 /* enum status */
};
enum session_verdict {
	SESSION_NEW = 1, /* apply it */
	SESSION_REPEAT,	 /* applied before: *result is the answer */
	SESSION_UNKNOWN, /* cannot be told: answer unknown outcome, apply nothing */
};

struct session_table;
size_t session_table_size(uint32_t clients_max);
struct session_table *session_table_init(
	void *memory, uint32_t clients_max); /* memory zeroed: untouched pages stay untouched */
enum session_verdict session_check(const struct session_table *table, uint64_t client, uint64_t sequence,
	uint64_t low_water, bool retry, struct session_result *result);
/* After applying. *evicted: a client whose records must be deleted from the engine with this batch; 0: none.
 * *slot: the record's slot, so that the engine key is (client, slot). */
void session_record(
	struct session_table *table, const struct session_result *result, uint32_t *slot, uint64_t *evicted);
/* In any order, each record once, before anything else is recorded. False: not records that session_record left (more
 * clients than fit, or two in one slot); the table is then not to be used. */
bool session_restore(struct session_table *table, const struct session_result *result);
bool session_evicted_ever(const struct session_table *table);
void session_set_evicted_ever(struct session_table *table); /* stored by the driver beside the records */
uint64_t session_digest(const struct session_table *table);

#endif
