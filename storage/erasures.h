/* storage/erasures.h: which replicas left this data directory and may still have bytes in it, and up to when what was
 * deleted is known to be gone from those that stayed: one small file, ERASURES, replaced as a whole, so that a promise
 * to erase outlives the process that gave it. Times are the wall clock's, since they must mean something after a
 * restart; nothing but a deadline and a warning hangs on them. Through storage/disk.h; one thread. */
#ifndef DOMICILE_STORAGE_ERASURES_H
#define DOMICILE_STORAGE_ERASURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { ERASURES_MAX = 65536 };

struct erasure {
	uint64_t replica, group, policy;
	uint64_t since_us; /* left: when it was removed; else: all that was deleted before is gone from its files */
	uint32_t within_s; /* the policy's erase_within then */
	bool left;	   /* it is no replica here any more */
	/* of one that left; the caller's, not stored */
	bool removed, late; /* its engine is; it was said that its time is over */
	uint64_t mark;	    /* journal_erase's */
};

struct erasures {
	struct erasure *at; /* by rising replica */
	uint32_t count, capacity;
};

/* No file: none. CORRUPT, UNSUPPORTED (a newer version's): *erasures is empty. */
enum status erasures_load(const char *dir, struct erasures *erasures) MUST;
enum status erasures_store(const char *dir, const struct erasures *erasures) MUST; /* durable when it returns */
void erasures_deinit(struct erasures *erasures);

struct erasure *erasures_find(const struct erasures *erasures, uint64_t replica); /* NULL */
/* In memory: the one of this replica, or a new one, all zero but for its replica. BUSY: ERASURES_MAX. NO_MEMORY. */
enum status erasures_get(struct erasures *erasures, uint64_t replica, struct erasure **erasure) MUST;
void erasures_drop(struct erasures *erasures, uint64_t replica);

#endif
