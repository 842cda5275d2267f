/* tests/sim/story_ranges.c: see tests/sim/story.h: shards that are split and merged. */
#include "tests/sim/story.h"

#include <string.h>

#include "policy/change.h"
#include "server/node_internal.h"
#include "tests/sim/checkers.h"
#include "tests/sim/drains.h"
#include "tests/sim/faults.h"
#include "tests/sim/found.h"
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
		story_disturb(world, slot, other);
	}
	if (world->failure[0] == '\0' &&
		(ranges_done(world, OPERATION_SPLIT) == 0 || ranges_done(world, OPERATION_MERGE) == 0))
		world_fail(world, "%u shards were split and %u merged: the run does not count",
			ranges_done(world, OPERATION_SPLIT), ranges_done(world, OPERATION_MERGE));
}

static void crowded(struct world_knobs *knobs)
{
	drained_splitting(knobs);
	knobs->disk_full = knobs->power_cuts = knobs->pauses = knobs->one_way = knobs->transfers = true;
	knobs->damages = knobs->bit_flips = false;
	knobs->old_scans = knobs->compactions = true;
	knobs->keys = 12;
	knobs->cold = 1;
	knobs->loss_ppm = knobs->duplicate_ppm = 10000;
}

static void crowded_witnessed(struct world_knobs *knobs)
{
	crowded(knobs);
	knobs->witness = knobs->all_power_cut = true;
}

/* Hardly anything ends before the next begins, and much of it is cancelled. */
static void play_crowded(struct world *world)
{
	faults_start(world);
	for (unsigned round = 0; round < 120 && world->failure[0] == '\0'; round++) {
		ranges_change(world);
		if (round % 3 == 1)
			ranges_change(world);
		if (round % 4 == 2)
			faults_rebind(world);
		story_wait_ms(world, prng_below(&world->faults, 500));
		if (round % 3 == 2)
			drains_cancel(world);
		for (unsigned ms = 0; ms < 200 && round % 7 == 3; ms += 10) {
			story_wait_ms(world, 10);
			story_one_cannot_go(world);
		}
	}
}

static void split_in_calm(struct world_knobs *knobs)
{
	story_calm(knobs);
	knobs->keys = 16;
}

/* Writes are applied whose clients hear nothing of it before the shard has split, or merged: they send them again, to
 * another shard. */
static void play_retried(struct world *world)
{
	for (unsigned round = 0; round < 30 && world->failure[0] == '\0'; round++) {
		world->mute = true;
		story_wait_ms(world, 200);
		ranges_change(world);
		story_wait_ms(world, 100);
		for (unsigned ms = 0; ms < 3000 && !checkers_settled(world); ms += 50)
			story_wait_ms(world, 50);
		world->mute = false;
		story_wait_ms(world, 2000);
	}
}

/* The node's ledger has a replica that was not made yet. */
static bool unborn(const struct node *node)
{
	uint64_t group;

	for (uint32_t at = 0; node != NULL && node_ledger_here(node, &at, &group);) {
		if (node_hosted(node, group) == NULL)
			return true;
	}
	return false;
}

/* A replica is on record, and before it is made the power goes: it is made after the start. */
static void play_unborn(struct world *world)
{
	static struct change change;

	for (unsigned round = 0; round < 8 && world->failure[0] == '\0'; round++) {
		const unsigned slot = round % world->node_count;
		const struct cluster_map *map = node_map(world->nodes[slot].node);

		memset(&change, 0, sizeof(change));
		change.kind = CHANGE_SHARD_SPLIT;
		for (uint32_t i = 0; i < map->shard_count; i++) {
			const struct map_shard *shard = &map->shards[i];

			if (map_replica_on(shard->wanted, shard->wanted_count, world->nodes[slot].id) != NULL)
				change.shard = shard->id;
		}
		found_change_async(world, &change);
		for (unsigned ms = 0; ms < 2000 && !unborn(world->nodes[slot].node); ms++)
			story_wait_ms(world, 1);
		node_pause(world, slot, WORLD_SECOND); /* what is on its way to the disk gets there */
		story_wait_ms(world, 200);
		story_kill(world, slot, true);
		story_wait_ms(world, 200);
		story_start(world, slot);
		story_wait_ms(world, 4000);
	}
}

static const struct scenario scenarios[] = {
	{ "split", "shards are split and merged while nodes crash and do not hear each other", splitting, play_split },
	{ "split-witness", "the same, of shards that have a witness, and keys move to other policies too",
		splitting_witnessed, play_split },
	{ "split-drains", "shards are split and merged while policies move, keys too, and nodes are drained and go",
		drained_splitting, story_rehomed_drains },
	{ "split-crowded", "one split or merge begins before the other has ended, and much is cancelled", crowded,
		play_crowded },
	{ "split-crowded-witness", "the same, of shards that have a witness, and all lose power at once",
		crowded_witnessed, play_crowded },
	{ "split-retried", "writes are sent again when the shard that applied them has split or merged", split_in_calm,
		play_retried },
	{ "split-unborn", "the power goes where the new shard's replica is on record and not made yet", split_in_calm,
		play_unborn },
};
const struct stories stories_ranges = { scenarios, sizeof(scenarios) / sizeof(scenarios[0]) };
