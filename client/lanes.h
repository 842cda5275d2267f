/* client/lanes.h: names for writes, so that a shard can tell a retry from a new write. A shard keeps LANE_OPEN_MAX
 * results per client id, by sequence modulo that number; so between the oldest open write of an id and its newest there
 * may never be more. One client instance may have more writes open than that: it has lanes, each with a client id of
 * its own.
 *
 * Invariants, per lane: next - low_water <= LANE_OPEN_MAX; bit i of `open` is the write low_water + i; all below
 * low_water are answered for and never asked again; bit 0 is set unless the lane is idle (low_water == next). A
 * sequence is given once. Caller's memory, no clock; one thread. */
#ifndef DOMICILE_CLIENT_LANES_H
#define DOMICILE_CLIENT_LANES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/prng.h"

enum { LANE_OPEN_MAX = 64 }; /* what a shard's table keeps per client id */

struct lane {
	uint64_t client; /* random, not 0 */
	uint64_t next;	 /* sequence to give next, from 1 */
	uint64_t low_water;
	uint64_t open;
};
struct lanes {
	struct lane *at;
	uint32_t count, capacity; /* lanes in use; a new one begins only when all are full */
	uint32_t first_free;	  /* no lane below it has room */
	struct prng prng;
};
struct lane_ticket { /* of one write, from its start to its end */
	uint64_t client, sequence;
	uint32_t lane;
};

/* `seed` must be unguessably different in each client instance: client ids follow from it. */
void lanes_init(struct lanes *lanes, struct lane *memory, uint32_t capacity, uint64_t seed);
/* False: every lane is full. */
bool lanes_take(struct lanes *lanes, struct lane_ticket *ticket);
/* The write is answered for: its sequence will never be sent again. */
void lanes_return(struct lanes *lanes, const struct lane_ticket *ticket);
uint64_t lanes_low_water(const struct lanes *lanes, const struct lane_ticket *ticket);
void lanes_check(const struct lanes *lanes); /* asserts every invariant */

#endif
