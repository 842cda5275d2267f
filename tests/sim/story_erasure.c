/* tests/sim/story_erasure.c: scenarios (tests/sim/scenarios.h): what is no copy any more leaves the disk. */
#include "tests/sim/story.h"

#include <string.h>

#include "policy/change.h"
#include "server/node_internal.h"
#include "tests/sim/erased.h"
#include "tests/sim/found.h"

static void erased_soon(struct world_knobs *knobs)
{
	story_five_regions(knobs);
	/* A quarter of it is what a node has when its log is applied; the leader that tells it so may be down just
	 * then: 300 ms, and an election after its lease, of up to 1.5 s, is over. */
	knobs->erase_within_s = 16;
	knobs->erased_in_time = true;
}

static void erased_later(struct world_knobs *knobs)
{
	erased_soon(knobs);
	knobs->erase_within_s = 0;
}

static void erased_witnessed(struct world_knobs *knobs)
{
	erased_soon(knobs);
	knobs->witness = true;
	knobs->nodes_per_region = 2; /* whoever has a copy cannot become the witness */
}

/* Every replica of the world's is clean as of not longer ago than its policy says. */
static void all_cleaned(struct world *world, uint64_t within_ns)
{
	for (unsigned i = 0; i < world->node_count; i++) {
		struct node *node = world->nodes[i].node;

		for (size_t t = 0; node != NULL && t < node->table_size; t++) {
			const struct hosted *hosted = node->table[t];
			const struct policy *policy =
				hosted == NULL ? NULL : map_policy_find(node_map(node), hosted->policy);

			if (policy == NULL || strcmp(policy->name, "world") != 0)
				continue;
			if (!hosted->clean.known ||
				(int64_t)node->time.now_ns - hosted->clean.since_ns > (int64_t)within_ns)
				world_fail(world,
					"node %u has kept what was deleted in shard %llx for %lld ms (within %u s)", i,
					(unsigned long long)hosted->group,
					((long long)node->time.now_ns - (long long)hosted->clean.since_ns) / 1000000,
					policy->erase_within_s);
		}
	}
}

/* A policy promises what it had not: what was deleted before is not late at once, and is gone when the new time is
 * over. A process that stops meanwhile knows since when it is owed, and by which rules. */
static void play_shortened(struct world *world)
{
	static const uint32_t within_s[] = { 3600, 16 };
	static struct change change;
	static struct policy policies[2];

	for (unsigned i = 0; i < 2 && world->failure[0] == '\0'; i++) {
		const struct cluster_map *map;

		story_wait_ms(world, 30000);
		map = node_map(world->nodes[0].node);
		policies[0] = *map_policy_by_name(map, "world"); /* what is inside it may not have longer */
		policies[1] = *map_policy_by_name(map, "eu-only");
		policies[0].erase_within_s = policies[1].erase_within_s = within_s[i];
		memset(&change, 0, sizeof(change));
		change.kind = CHANGE_APPLY;
		change.policies = policies;
		change.policy_count = 2;
		if (found_change(world, &change, 10 * (uint64_t)WORLD_SECOND) != STATUS_OK)
			world_fail(world, "the policies are not taken");
		world->stats.faults++;
	}
	story_wait_ms(world, 2000);
	story_kill(world, (unsigned)(world->seed % world->node_count), false);
	story_wait_ms(world, 500);
	story_start(world, (unsigned)(world->seed % world->node_count));
	story_wait_ms(world, 14500);
	if (world->failure[0] == '\0')
		all_cleaned(world, 17 * (uint64_t)WORLD_SECOND);
}

/* Replicas come and go, keys are deleted and overwritten, processes end and power fails in the middle of it: what is no
 * copy any more is gone in time, to the last byte. */
static void play_erased(struct world *world)
{
	const uint64_t within_ns = (uint64_t)world->knobs.erase_within_s * WORLD_SECOND;

	erased_begin(within_ns + WORLD_SECOND / 2);
	story_wait_ms(world, 3000);
	for (unsigned round = 0; round < 6 && world->failure[0] == '\0'; round++) {
		erased_mark(world);
		for (uint64_t ms = 0; ms < within_ns / 1000000 + 500 && world->failure[0] == '\0'; ms += 100) {
			if (ms == 6000) /* a newcomer's own time goes on for longer than that of what it is given */
				story_apply_world(world, round % 2 == 0, 3);
			if (ms == 1000 + 700 * round)
				story_kill(world, round % world->node_count, round % 3 == 2);
			if (ms == 1300 + 700 * round)
				story_start(world, round % world->node_count);
			story_wait_ms(world, 100);
			erased_look(world);
		}
		erased_judge(world);
	}
	world_log(world, "%u replicas were judged, and %u purges", erased_judged(), erased_purges());
	if (world->failure[0] == '\0' && (erased_judged() < 10 || erased_purges() < 10))
		world_fail(world, "only %u replicas and %u purges were judged: the run does not count", erased_judged(),
			erased_purges());
}

static const struct scenario scenarios[] = {
	{ "erased", "what is no copy any more is gone from every disk in time", erased_soon, play_erased },
	{ "erased-witness", "the same beside two copies and a witness, who has nothing", erased_witnessed,
		play_erased },
	{ "shortened", "a policy shortens the time that what was deleted may stay", erased_later, play_shortened },
};
const struct stories stories_erasure = { scenarios, sizeof(scenarios) / sizeof(scenarios[0]) };
