/* tools/shards.h: a shard as an item of ShardList, and the columns that show it. */
#ifndef DOMICILE_TOOLS_SHARDS_H
#define DOMICILE_TOOLS_SHARDS_H

#include "tools/output.h"
#include "tools/session.h"

extern const struct column shard_columns[];
/* statuses may be empty: the leader is then unknown. */
json_t *shard_item(const struct session *session, const struct statuses *statuses, const struct map_shard *shard);

#endif
