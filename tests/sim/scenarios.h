/* tests/sim/scenarios.h: faults that are told, not drawn: each scenario is the story of a bug, or of what operators do,
 * under the same load, checks and healing as a random run. The seed still chooses delays, clocks and load. */
#ifndef DOMICILE_TESTS_SIM_SCENARIOS_H
#define DOMICILE_TESTS_SIM_SCENARIOS_H

#include "tests/sim/world.h"

struct scenario {
	const char *name, *what;
	void (*knobs)(struct world_knobs *knobs);
	void (*play)(struct world *world); /* under load; afterwards all is healed and checked */
};

const struct scenario *scenario_at(unsigned index); /* NULL: no more */
const struct scenario *scenario_find(const char *name);

#endif
