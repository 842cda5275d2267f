/* tests/sim/drains.h: what operators do to nodes in the midst of faults: drain them and their regions, have them back,
 * decommission them, and start another on the machine of one that is gone. */
#ifndef DOMICILE_TESTS_SIM_DRAINS_H
#define DOMICILE_TESTS_SIM_DRAINS_H

#include "tests/sim/world.h"

void drains_start(struct world *world);
void drains_all_back(struct world *world);		 /* nodes and regions that are drained */
void drains_cancel(struct world *world);		 /* of the operations that run, one */
void drains_level(struct world *world);			 /* what nodes carry */
void drains_send_to(struct world *world, unsigned slot); /* something moves to that node */
void drains_stop(struct world *world);
/* Machines whose node the newest map does not name any more get an empty disk and another node. */
void drains_replace(struct world *world);
void drains_readmit(struct world *world); /* the region that was fenced, if any */
/* Nothing is on its way from a drained node, no drained node holds a replica, and none leads where another may. */
void drains_describe(struct world *world); /* what runs still */
bool drains_done(const struct world *world);

#endif
