/* tests/sim/history.h: the whole history of a run, judged: per key linearizable, versions rising, nothing read that was
 * never written. */
#ifndef DOMICILE_TESTS_SIM_HISTORY_H
#define DOMICILE_TESTS_SIM_HISTORY_H

#include "tests/sim/world.h"

void history_check(struct world *world);

#endif
