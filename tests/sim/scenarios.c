/* tests/sim/scenarios.c: see tests/sim/scenarios.h. */
#include "tests/sim/scenarios.h"

#include <string.h>

#include "tests/sim/story.h"

static const struct stories *const themes[] = { &stories_faults, &stories_witness, &stories_moves, &stories_leads,
	&stories_drains, &stories_bindings, &stories_ranges, &stories_erasure };

const struct scenario *scenario_at(unsigned index)
{
	for (unsigned i = 0; i < sizeof(themes) / sizeof(themes[0]); i++) {
		if (index < themes[i]->count)
			return &themes[i]->at[index];
		index -= themes[i]->count;
	}
	return NULL;
}

const struct scenario *scenario_find(const char *name)
{
	const struct scenario *scenario;

	for (unsigned i = 0; (scenario = scenario_at(i)) != NULL; i++) {
		if (strcmp(scenario->name, name) == 0)
			return scenario;
	}
	return NULL;
}
