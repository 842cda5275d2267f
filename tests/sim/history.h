/* tests/sim/history.h: the whole history of a run, judged: per key linearizable, versions rising, nothing read that was
 * never written. */
#ifndef DOMICILE_TESTS_SIM_HISTORY_H
#define DOMICILE_TESTS_SIM_HISTORY_H

#include "tests/sim/world.h"

void history_check(struct world *world);
/* --verbose: all that clients asked of this key, by what it is judged. */
void history_print(struct world *world, uint64_t key);

#endif
