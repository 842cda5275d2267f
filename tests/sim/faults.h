/* tests/sim/faults.h: what goes wrong, and when: one fault at a time within what the policies' `survive` names (one
 * region), so that everything acknowledged must outlive it; plus power cuts of everybody, which lose nothing that was
 * synced. */
#ifndef DOMICILE_TESTS_SIM_FAULTS_H
#define DOMICILE_TESTS_SIM_FAULTS_H

#include "tests/sim/world.h"

void faults_start(struct world *world);
void faults_start_compactions(struct world *world); /* those alone: a scenario makes its own faults */
void faults_rebind(struct world *world);	    /* one change of a binding */
void faults_stop(struct world *world);

#endif
