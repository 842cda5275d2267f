/* tests/sim/checkers.h: what must always hold, looked at from outside after every event of a node: one leader a term,
 * committed entries never change, a new leader has them all, no byte of a policy outside its places. Each failure ends
 * the run. */
#ifndef DOMICILE_TESTS_SIM_CHECKERS_H
#define DOMICILE_TESTS_SIM_CHECKERS_H

#include "tests/sim/world.h"

/* In every key and value of the EU policy; searched for wherever it may not be. */
#define CANARY_EU "EU-CANARY-7f3a91"

struct checkers *checkers_new(struct world *world);
void checkers_free(struct checkers *checkers);
void checkers_started(struct world *world, struct world_node *node);
void checkers_crashed(struct world *world, struct world_node *node);
void checkers_observe(struct world *world, struct world_node *node);
void checkers_sent(
	struct world *world, const struct world_node *from, const struct world_node *to, const struct message *message);
/* Disks and engines of every node that may hold none of it. */
void checkers_search(struct world *world);
/* Ledgers say what happened; for when no replica is on its way any more. */
void checkers_ledgers(struct world *world);
/* All replicas of each group have applied the same and are equal. False: not (yet). */
bool checkers_converged(struct world *world);
/* No keys move, by the map of any node, and none has a replica of a shard that is gone. */
bool checkers_settled(const struct world *world);
/* Then: every row of every replica lives there by the map; counts what was moved. */
void checkers_homes(struct world *world);
void checkers_describe(struct world *world);		/* verbose: every replica's state */
uint64_t checkers_committed(const struct world *world); /* entries seen committed */

#endif
