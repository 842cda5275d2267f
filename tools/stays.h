/* tools/stays.h: how long which replica was on a node, as its ledger says. */
#ifndef DOMICILE_TOOLS_STAYS_H
#define DOMICILE_TOOLS_STAYS_H

#include "policy/ledger_record.h"

struct stay {
	uint64_t shard, replica, policy;
	uint64_t created_us, removed_us, purged_us; /* 0: not yet */
	bool witness;				    /* without a byte of data */
};
struct stays {
	size_t count, capacity;
	struct stay *at; /* in the order of their creation */
};
void stays_take(struct stays *stays, const struct ledger_record *record);
/* Of this replica; NULL: none. */
struct stay *stays_find(const struct stays *stays, uint64_t shard, uint64_t replica);
void stays_free(struct stays *stays);

#endif
