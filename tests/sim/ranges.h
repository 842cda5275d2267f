/* tests/sim/ranges.h: shards that are split, and merged with their neighbours, at moments of their own. */
#ifndef DOMICILE_TESTS_SIM_RANGES_H
#define DOMICILE_TESTS_SIM_RANGES_H

#include "tests/sim/world.h"

void ranges_start(struct world *world);
void ranges_stop(struct world *world);
void ranges_change(struct world *world); /* one shard, of a key that clients use */
/* How many are done, by the newest map. */
unsigned ranges_done(const struct world *world, uint8_t kind);

#endif
