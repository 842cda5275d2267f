/* tests/sim/story_faults.c: scenarios (tests/sim/scenarios.h): processes, power, wires and clocks fail. */
#include "tests/sim/story.h"

#include <string.h>

static void old_clocks(struct world_knobs *knobs)
{
	story_calm(knobs);
	knobs->old_clock = knobs->local_reads = true;
	knobs->cold = 2;
	knobs->keys = knobs->clients_per_region = 2;
	knobs->wide = knobs->levels = knobs->follow = knobs->splits = false;
	knobs->support_us = 300000;
	knobs->heartbeat_us = 30000;
	knobs->disk_us = 300;
}

static void cold_ages(struct world_knobs *knobs)
{
	story_calm(knobs);
	knobs->levels = true;
	knobs->wide = true;
	knobs->local_reads = knobs->follow = knobs->splits = false;
	knobs->cold = 1;
	knobs->keys = 2;
	knobs->clients_per_region = 2;
	knobs->disk_us = 300;
	knobs->job_late_us = 300000;
}

/* Each region in turn is gone for a while, its power with it: the others go on. */
static void play_region_lost(struct world *world)
{
	for (unsigned region = 0; region < world->knobs.regions && world->failure[0] == '\0'; region++) {
		uint64_t settled_ns;

		story_wait_ms(world, 3000);
		story_kill(world, region, region % 2 == 1);
		story_wait_ms(world, 4 * world->knobs.support_us / 1000 + 2000);
		settled_ns = world->now_ns;
		story_wait_ms(world, 4000);
		if (world->failure[0] == '\0' && story_succeeded_since(world, settled_ns) < 5)
			world_fail(world, "with region %u lost, only %u operations succeeded in 4 s", region,
				story_succeeded_since(world, settled_ns));
		story_start(world, region);
		story_wait_ms(world, 3000);
	}
}

/* Everybody at once, five times: what was acknowledged was on disk. */
static void play_power_of_all(struct world *world)
{
	for (unsigned round = 0; round < 5 && world->failure[0] == '\0'; round++) {
		story_wait_ms(world, 5000);
		for (unsigned i = 0; i < world->node_count; i++)
			story_kill(world, i, true);
		story_wait_ms(world, 300);
		for (unsigned i = 0; i < world->node_count; i++) {
			story_start(world, i);
			story_wait_ms(world, 100 * round);
		}
		story_wait_ms(world, 4000);
	}
}

/* Each node in turn is cut off: wholly, then deaf, then mute. What it leads is led elsewhere, and it reads nothing old.
 */
static void play_cut_off(struct world *world)
{
	for (unsigned way = 0; way < 3; way++) {
		for (unsigned i = 0; i < world->node_count && world->failure[0] == '\0'; i++) {
			for (unsigned j = 0; j < world->node_count; j++) {
				if (i != j && way != 1)
					story_cut(world, i, j);
				if (i != j && way != 2)
					story_cut(world, j, i);
			}
			story_wait_ms(world, 5000);
			story_whole_again(world);
			story_wait_ms(world, 1500);
		}
	}
}

/* A process stops for longer than its leases, and goes on as if nothing had been. */
static void play_paused(struct world *world)
{
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < world->node_count && world->failure[0] == '\0'; i++) {
			node_pause(world, i, world->knobs.support_us * 1000 * (round + 1));
			world->stats.faults++;
			story_wait_ms(world, world->knobs.support_us * (round + 1) / 1000 + 2000);
		}
	}
}

/* It takes up what it was asked meanwhile with the clock of before, by which its leases still run. What it says was
 * overtaken by others' writes; so whoever reads by a lease looks at it again, with a clock read after the value. */
static void play_old_clock(struct world *world)
{
	for (unsigned round = 0; round < 100 && world->failure[0] == '\0'; round++) {
		node_pause(world, round % world->node_count, world->knobs.support_us * 1000 * 2);
		world->stats.faults++;
		story_wait_ms(world, world->knobs.support_us * 2 / 1000 + 700);
	}
}

/* While a read waits for the disk, news comes; also all at once, behind a short stop. */
static void play_cold_ages(struct world *world)
{
	for (unsigned round = 0; round < 100 && world->failure[0] == '\0'; round++) {
		node_pause(world, round % world->node_count, 5 * (uint64_t)1000000);
		world->stats.faults++;
		story_wait_ms(world, 1000);
	}
}

/* Two halves, neither with a quorum of everything; then the other two. */
static void play_halves(struct world *world)
{
	for (unsigned round = 0; round < 6 && world->failure[0] == '\0'; round++) {
		story_cut_regions(world, round % 3 == 0 ? 0x3 : round % 3 == 1 ? 0x5 : 0x9);
		story_wait_ms(world, 6000);
		story_whole_again(world);
		story_wait_ms(world, 4000);
	}
}

static const struct scenario scenarios[] = {
	{ "region-lost", "each region loses its power in turn; the others go on", story_calm, play_region_lost },
	{ "power-of-all", "everybody loses power at once, five times", story_calm, play_power_of_all },
	{ "cut-off", "each node in turn is cut off, then deaf, then mute", story_calm, play_cut_off },
	{ "paused", "processes stop for longer than their leases", story_calm, play_paused },
	{ "old-clock", "what a paused process was asked it takes up with the clock of before", old_clocks,
		play_old_clock },
	{ "cold-ages", "reads that may be old wait for the disk, and news comes meanwhile", cold_ages, play_cold_ages },
	{ "halves", "the regions fall into two halves, three ways", story_lossy, play_halves },
};
const struct stories stories_faults = { scenarios, sizeof(scenarios) / sizeof(scenarios[0]) };
