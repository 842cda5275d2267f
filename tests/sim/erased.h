/* tests/sim/erased.h: what `erase_within` promises, looked at from outside, by bytes: the modelled disks know every
 * byte that was written, those too that lie behind the end of a file that was written again. It knows nothing of the
 * product's own lists and searches. One at a time. */
#ifndef DOMICILE_TESTS_SIM_ERASED_H
#define DOMICILE_TESTS_SIM_ERASED_H

#include "tests/sim/world.h"

void erased_begin(uint64_t within_ns);
/* Who hosts what; often. A node that hosted a replica longer than the bound ago has no record of its group in any file
 * and no row of its engine. */
void erased_look(struct world *world);
/* What is deleted, overwritten or cut by now... */
void erased_mark(struct world *world);
/* ...is gone, a bound later, from every node that hosted the replica all the time, and from those to which one came
 * since: the log that it was given goes back to before the mark. */
void erased_judge(struct world *world);
/* The node's ledger says that this replica was purged. */
void erased_purged(struct world *world, const struct world_node *node, uint64_t group, uint64_t replica);
unsigned erased_purges(void); /* that ledgers told of */
unsigned erased_judged(void); /* replicas that left and were looked for, or stayed and were judged */

#endif
