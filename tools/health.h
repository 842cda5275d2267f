/* tools/health.h: how a cluster is, from its map and what its nodes say: for status, cluster wait and the demo. */
#ifndef DOMICILE_TOOLS_HEALTH_H
#define DOMICILE_TOOLS_HEALTH_H

#include "tools/session.h"

enum verdict { VERDICT_WELL = 0, VERDICT_DEGRADED = 1, VERDICT_UNAVAILABLE = 2 };
struct region_health {
	uint32_t nodes, alive, shards, leaders, under_copied;
};
struct health {
	enum verdict verdict;
	uint32_t nodes, alive, shards, led, under_copied, operations;
	uint32_t meta_voters, meta_voters_alive, meta_voters_wanted;
	uint64_t meta_leader; /* node; 0: none says so */
	uint64_t refused_total, violation_total;
	uint64_t purges_pending, purges_total, erasures_late, erasures_late_total;
	struct region_health regions[MAP_REGIONS_MAX];
	char problem[400]; /* the worst one; "" when well */
};
void health_of(const struct cluster_map *map, const struct statuses *statuses, struct health *health);
json_t *health_item(const struct session *session, const struct statuses *statuses, const struct health *health);
const char *verdict_word(enum verdict verdict); /* "well" */
int verdict_exit(enum verdict verdict);

#endif
