/* tools/paths.h: what an operation on a shard should take from a region: the expected path and the floor beside it, by
 * the round trips measured between regions. Arithmetic only; the rules are policy/latency.h's. */
#ifndef DOMICILE_TOOLS_PATHS_H
#define DOMICILE_TOOLS_PATHS_H

#include "policy/latency.h"
#include "tools/session.h"

struct path {				   /* microseconds; LATENCY_UNKNOWN: not known */
	uint32_t write_us, write_floor_us; /* through the leader; the nearest set that commits, any protocol */
	uint32_t read_us, read_floor_us;   /* nearest replica and a read index; that replica alone */
	uint32_t to_leader_us;
	uint32_t commit_us; /* from the leader */
	uint64_t nearest;   /* node */
};
/* leader: node; 0: not known. */
void path_of(const struct cluster_map *map, const struct rtt_matrix *matrix, const struct map_shard *shard,
	uint32_t region, uint64_t leader, struct path *path);

#endif
