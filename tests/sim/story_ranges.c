/* tests/sim/story_ranges.c: see tests/sim/story.h: shards that are split and merged. */
#include "tests/sim/story.h"

#include "policy/change.h"
#include "tests/sim/faults.h"
#include "tests/sim/ranges.h"

static void splitting(struct world_knobs *knobs)
{
	story_lossy(knobs);
	knobs->ranges = knobs->levels = true;
	knobs->keys = 16;
	knobs->cold = 1;
}

static void splitting_witnessed(struct world_knobs *knobs)
{
	splitting(knobs);
	knobs->witness = knobs->bindings = true;
}

static void drained_splitting(struct world_knobs *knobs)
{
	story_drained(knobs);
	knobs->bindings = knobs->levels = knobs->ranges = true;
}

/* Shards are split and merged, now and then while keys move to another policy or one of them cannot go, and somebody
 * crashes, loses the power, or cannot be heard by another. */
static void play_split(struct world *world)
{
	for (unsigned round = 0; round < 60 && world->failure[0] == '\0'; round++) {
		unsigned slot = (unsigned)prng_below(&world->faults, world->node_count);
		unsigned other = (unsigned)prng_below(&world->faults, world->node_count);

		if (round == 10)
			world->knobs.job_wait_us = 600000;
		ranges_change(world);
		if (round % 4 == 1)
			ranges_change(world);
		if (round % 5 == 4 && world->knobs.bindings)
			faults_rebind(world);
		for (unsigned ms = 0; ms < 500 && round % 4 == 0; ms += 10) {
			story_wait_ms(world, 10);
			story_one_cannot_go(world);
		}
		story_wait_ms(world, prng_below(&world->faults, 700));
		switch (prng_below(&world->faults, 4)) {
		case 0:
			story_kill(world, slot, false);
			break;
		case 1:
			story_kill(world, slot, true);
			break;
		case 2:
			story_cut(world, slot, other);
			break;
		default:
			break; /* undisturbed */
		}
		story_wait_ms(world, prng_below(&world->faults, 1500));
		story_start(world, slot);
		story_whole_again(world);
		story_wait_ms(world, prng_below(&world->faults, 2000));
	}
	if (world->failure[0] == '\0' &&
		(ranges_done(world, OPERATION_SPLIT) == 0 || ranges_done(world, OPERATION_MERGE) == 0))
		world_fail(world, "%u shards were split and %u merged: the run does not count",
			ranges_done(world, OPERATION_SPLIT), ranges_done(world, OPERATION_MERGE));
}

static const struct scenario scenarios[] = {
	{ "split", "shards are split and merged while nodes crash and do not hear each other", splitting, play_split },
	{ "split-witness", "the same, of shards that have a witness, and keys move to other policies too",
		splitting_witnessed, play_split },
	{ "split-drains", "shards are split and merged while policies move, keys too, and nodes are drained and go",
		drained_splitting, story_rehomed_drains },
};
const struct stories stories_ranges = { scenarios, sizeof(scenarios) / sizeof(scenarios[0]) };
