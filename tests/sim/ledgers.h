/* tests/sim/ledgers.h: the nodes' ledgers, held against what the world saw: every replica that there ever was is
 * recorded on its node before it is there, every removal afterwards, and an audit finds nothing. */
#ifndef DOMICILE_TESTS_SIM_LEDGERS_H
#define DOMICILE_TESTS_SIM_LEDGERS_H

#include "tests/sim/world.h"

struct ledgers *ledgers_new(void);
void ledgers_free(struct ledgers *ledgers);
void ledgers_observe(struct world *world, struct ledgers *ledgers, struct world_node *node);
/* A replica is there that was not when one last looked. */
void ledgers_came(
	struct world *world, struct ledgers *ledgers, const struct world_node *node, uint64_t group, uint64_t replica);
/* Keys that leave for another policy's shard, or were taken, are recorded before. */
void ledgers_sent(struct world *world, const struct world_node *from, const struct message *message);
void ledgers_check(struct world *world, struct ledgers *ledgers); /* when all is quiet */

#endif
