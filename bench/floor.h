/* bench/floor.h: what an operation must take, from the round trips between regions with one copy in each voter's
 * region: the judge beside the product's own estimates, so it shares nothing with them. Pure. Microseconds of round
 * trip; a one-way delay is half of one. c: the client's region, L: the leader's.
 *
 *   nearest quorum    any protocol: the majority-th nearest copy as seen from c (its own region's copy is the nearest)
 *   via leader        RTT(c, L) and then the leader's own majority
 *   origin acks       min over majorities Q of max over s in Q of d(c, L) + d(L, s) + d(s, c)
 *   all acks          the same with every copy in Q: where reads are local everywhere, a write waits for all */
#ifndef DOMICILE_BENCH_FLOOR_H
#define DOMICILE_BENCH_FLOOR_H

#include <stdbool.h>
#include <stdint.h>

enum { FLOOR_REGIONS_MAX = 16 };
#define FLOOR_UNKNOWN UINT64_MAX

struct floors {
	uint32_t count;					       /* of regions */
	bool voter[FLOOR_REGIONS_MAX];			       /* has a copy that votes */
	uint64_t rtt_us[FLOOR_REGIONS_MAX][FLOOR_REGIONS_MAX]; /* the diagonal: inside the region */
};

uint64_t floor_read(const struct floors *floors, uint32_t client); /* the nearest copy */
uint64_t floor_quorum(const struct floors *floors, uint32_t client);
uint64_t floor_via_leader(const struct floors *floors, uint32_t client, uint32_t leader);
uint64_t floor_origin_acks(const struct floors *floors, uint32_t client, uint32_t leader);
uint64_t floor_all_acks(const struct floors *floors, uint32_t client, uint32_t leader);
/* The voter that as leader makes the mean over all regions least. */
typedef uint64_t floor_formula(const struct floors *floors, uint32_t client, uint32_t leader);
uint32_t floor_best_leader(const struct floors *floors, floor_formula *formula);

#endif
