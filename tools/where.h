/* tools/where.h: the replicas of a key's shard as items of KeyPlaces. */
#ifndef DOMICILE_TOOLS_WHERE_H
#define DOMICILE_TOOLS_WHERE_H

#include "tools/form.h"
#include "tools/session.h"

/* Appends one item a replica. */
void where_items(const struct session *session, const struct statuses *statuses, struct bytes key,
	const struct map_shard *shard, enum form form, json_t *items);

#endif
