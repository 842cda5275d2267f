/* server/rtt.h: round trips between regions, as every node knows them without asking: its own row from liveness pings
 * (replication/liveness.h), the others' rows from what their nodes say. Each node tells its row to the others when it
 * has changed by more than a tenth or a millisecond, at most every RTT_TELL_MS, and every RTT_REPEAT_MS whatever it is:
 * a few bytes a region, over the peer connection, nothing of it in meta's log. What was not repeated for RTT_FRESH_MS
 * is forgotten.
 *
 * Regions are known by their position in the map, which another one's removal changes: so a row names the list that it
 * speaks of, and of one by another list nothing is believed.
 *
 * MESSAGE_ADMIN "rtt": u8 version (2), u64 digest of the regions' names in order, u16 count, then u16 region (its
 * position), u32 microseconds each.
 *
 * One thread: the node's. */
#ifndef DOMICILE_SERVER_RTT_H
#define DOMICILE_SERVER_RTT_H

#include "policy/paths.h"

enum { RTT_TELL_MS = 10000, RTT_REPEAT_MS = 30000, RTT_FRESH_MS = 120000, RTT_MATRIX_MS = 1000 };

struct node;

struct rtt_heard {
	uint32_t us;
	uint64_t from, heard_ns; /* node; 0: nothing */
};
struct rtt_rows {
	uint64_t map_epoch, regions; /* the list of regions that all here is by: of that map; its digest */
	uint32_t region_count;
	uint32_t told_us[MAP_REGIONS_MAX]; /* our row as last told; LATENCY_UNKNOWN: not */
	uint64_t told_ns;		   /* 0: never */
	struct rtt_heard heard[MAP_REGIONS_MAX][MAP_REGIONS_MAX];
	struct rtt_matrix matrix;
	uint64_t matrix_ns; /* when it was put together; 0: never */
};

void rtt_tick(struct node *node); /* tells our row if it is time */
void rtt_received(struct node *node, uint64_t from, struct bytes body);
/* What is known now; at most RTT_MATRIX_MS old. Valid until the next call. */
const struct rtt_matrix *rtt_matrix_now(struct node *node);

#endif
