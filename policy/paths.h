/* policy/paths.h: what operations on a shard take from a region, by the round trips measured between regions: the map's
 * names put to policy/latency.h's arithmetic. Used by domctl, the demo and leader placement. Pure. */
#ifndef DOMICILE_POLICY_PATHS_H
#define DOMICILE_POLICY_PATHS_H

#include "policy/latency.h"
#include "policy/map.h"

/* Round trips between regions, by position in the map's regions[]; [r][r]: between two nodes of one region. */
struct rtt_matrix {
	uint32_t count;
	uint32_t us[MAP_REGIONS_MAX][MAP_REGIONS_MAX]; /* symmetric; LATENCY_UNKNOWN: not measured */
};
void rtt_matrix_init(struct rtt_matrix *matrix, uint32_t count); /* nothing is known */
/* The least of what is measured counts, in either direction. */
void rtt_matrix_add(struct rtt_matrix *matrix, uint32_t from, uint32_t to, uint32_t rtt_us);
/* Inside a region that has one node nobody measures anything: nothing is far there. */
uint32_t rtt_matrix_between(const struct rtt_matrix *matrix, uint32_t a, uint32_t b);

/* The round trips between members; `there`: those that can be reached, the others never count. `group` borrows the
 * membership. Reads of policy: who answers strong reads alone. */
void paths_group(const struct cluster_map *map, const struct rtt_matrix *matrix, const struct membership *membership,
	member_set there, bool reads_local, struct latency_group *group);
/* From a client in `region`; leader: position in the membership, REPLICAS_MAX: not known. */
void paths_from(const struct cluster_map *map, const struct rtt_matrix *matrix, const struct latency_group *group,
	uint32_t region, unsigned leader, struct latency_estimate *estimate);

/* The same for a shard of the map as it is; leader: node, 0: not known. */
struct path {
	struct latency_estimate estimate;
	uint64_t nearest; /* node; 0: none */
};
void path_of(const struct cluster_map *map, const struct rtt_matrix *matrix, const struct map_shard *shard,
	uint32_t region, uint64_t leader, struct path *path);

#endif
