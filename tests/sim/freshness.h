/* tests/sim/freshness.h: the reads that need not see the newest value, judged: by the age that their answers state, by
 * the bound that they asked for, and by what their session had seen. */
#ifndef DOMICILE_TESTS_SIM_FRESHNESS_H
#define DOMICILE_TESTS_SIM_FRESHNESS_H

#include "tests/sim/world.h"

void freshness_check(struct world *world);

#endif
