/* tools/stays.c: see tools/stays.h. */
#include "tools/stays.h"

#include <stdlib.h>

struct stay *stays_find(const struct stays *stays, uint64_t shard, uint64_t replica)
{
	for (size_t i = stays->count; i > 0; i--) {
		if (stays->at[i - 1].shard == shard && stays->at[i - 1].replica == replica)
			return &stays->at[i - 1];
	}
	return NULL;
}

void stays_take(struct stays *stays, const struct ledger_record *record)
{
	struct stay *stay;

	if (record->kind == LEDGER_REMOVED || record->kind == LEDGER_PURGED) {
		stay = stays_find(stays, record->shard, record->replica);
		if (stay != NULL && record->kind == LEDGER_REMOVED)
			stay->removed_us = record->time_us;
		else if (stay != NULL)
			stay->purged_us = record->time_us;
		return;
	}
	if (record->kind != LEDGER_CREATED)
		return;
	if (stays->count == stays->capacity) {
		size_t capacity = stays->capacity == 0 ? 256 : 2 * stays->capacity;
		struct stay *grown = realloc(stays->at, capacity * sizeof(*grown));

		if (grown == NULL)
			abort();
		stays->at = grown;
		stays->capacity = capacity;
	}
	stays->at[stays->count++] = (struct stay){ .shard = record->shard,
		.replica = record->replica,
		.policy = record->policy,
		.created_us = record->time_us,
		.witness = (record->flags & LEDGER_WITNESS) != 0 };
}

void stays_free(struct stays *stays)
{
	free(stays->at);
	*stays = (struct stays){ 0 };
}
