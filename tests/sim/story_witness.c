/* tests/sim/story_witness.c: scenarios (tests/sim/scenarios.h): two copies and a witness. */
#include "tests/sim/story.h"

#include <string.h>

#include "server/group_driver.h"
#include "server/node_internal.h"
#include "tests/sim/faults.h"
#include "tests/sim/load.h"

static void witnessed(struct world_knobs *knobs)
{
	story_calm(knobs);
	knobs->witness = knobs->compactions = true;
}

static void witnessed_lossy(struct world_knobs *knobs)
{
	story_lossy(knobs);
	knobs->witness = true;
}

/* As drawn, but with a witness. */
static void witnessed_drawn(struct world_knobs *knobs)
{
	knobs->witness = true;
	knobs->damages = knobs->bit_flips = false;
}

/* The shards of this policy that have a witness; those of them that are degraded. */
static unsigned witnessed_shards(const struct world *world, unsigned *degraded)
{
	unsigned count = 0;

	*degraded = 0;
	for (unsigned i = 0; i < world->node_count; i++) {
		for (size_t at = 0; world->nodes[i].node != NULL && at < world->nodes[i].node->table_size; at++) {
			const struct hosted *hosted = world->nodes[i].node->table[at];
			struct group_status status;

			if (hosted == NULL || !driver_leads(hosted->driver) ||
				group_membership(driver_group(hosted->driver))->rule_new.degrade == DEGRADE_NEVER)
				continue;
			status = group_status(driver_group(hosted->driver), world->nodes[i].last_local_ns);
			count++;
			*degraded += status.degraded;
		}
	}
	return count;
}

static void expect_degraded(struct world *world, bool some)
{
	unsigned degraded, count = witnessed_shards(world, &degraded);

	if (world->failure[0] == '\0' && (count == 0 || (degraded > 0) != some))
		world_fail(world, "of %u shards with a witness that are led, %u are degraded", count, degraded);
}

/* Operations on the EU's keys that succeeded and began in this time. */
static unsigned eu_succeeded_since(const struct world *world, uint64_t since_ns)
{
	size_t count;
	const struct load_record *history = load_history(world, &count);
	unsigned good = 0;

	for (size_t i = 0; i < count; i++)
		good += history[i].invoked_ns >= since_ns && history[i].done && history[i].status == STATUS_OK &&
			history[i].key >= world->knobs.keys && history[i].operation != OPERATION_GET &&
			history[i].operation != OPERATION_SCAN;
	return good;
}

/* Each region with copies in turn, then the one with the witness: within a lease and two seconds writes go on; back,
 * and there are two copies again. */
static void play_witness(struct world *world)
{
	for (unsigned round = 0; round < 8 && world->failure[0] == '\0'; round++) {
		unsigned region = round % 4;
		uint64_t settled_ns;

		story_wait_ms(world, 3000);
		expect_degraded(world, false);
		story_kill(world, region, round % 2 == 1);
		story_wait_ms(world, 2 * world->knobs.support_us / 1000 + 2000);
		settled_ns = world->now_ns;
		story_wait_ms(world, 4000);
		if (world->failure[0] == '\0' && eu_succeeded_since(world, settled_ns) < 2)
			world_fail(world, "with region %u lost, only %u writes of the EU's keys succeeded in 4 s",
				region, eu_succeeded_since(world, settled_ns));
		story_start(world, region);
		story_wait_ms(world, 5000);
	}
}

/* One copy lost, then the other, then the first is back: whoever answers, answers what was acknowledged. */
static void play_in_turn(struct world *world)
{
	for (unsigned round = 0; round < 6 && world->failure[0] == '\0'; round++) {
		static const unsigned regions[] = { 0, 1, 3 }; /* of the EU */
		unsigned a = regions[round % 3], b = regions[(round + 1) % 3];

		story_wait_ms(world, 1000);
		story_kill(world, a, round % 2 == 0);
		story_wait_ms(world, 2 * world->knobs.support_us / 1000 + 1000 * (round % 3));
		story_kill(world, b, round % 3 == 0);
		story_start(world, a);
		story_wait_ms(world, 4000);
		story_start(world, b);
		story_wait_ms(world, 4000);
	}
}

/* A copy does not hear the leader, the witness does; then the leader is gone. */
static void play_lock_out(struct world *world)
{
	for (unsigned round = 0; round < 9 && world->failure[0] == '\0'; round++) {
		static const unsigned regions[] = { 0, 1, 3 };
		unsigned a = regions[round % 3];
		uint64_t settled_ns;

		for (unsigned i = 0; i < 3; i++)
			if (regions[i] != a)
				story_cut(world, a, regions[i]);
		story_wait_ms(world, world->knobs.support_us / 3000); /* shorter than it takes to be missed */
		story_kill(world, a, false);
		story_whole_again(world);
		story_wait_ms(world, 2 * world->knobs.support_us / 1000 + 2000);
		settled_ns = world->now_ns;
		story_wait_ms(world, 4000);
		if (world->failure[0] == '\0' && eu_succeeded_since(world, settled_ns) < 2)
			world_fail(world, "with node %u lost, only %u writes of the EU's keys succeeded in 4 s", a,
				eu_succeeded_since(world, settled_ns));
		story_start(world, a);
		story_wait_ms(world, 4000);
	}
}

static const struct scenario scenarios[] = {
	{ "witness", "each region of two copies and a witness is lost in turn", witnessed, play_witness },
	{ "in-turn", "both copies are lost in turn, with a witness", witnessed_lossy, play_in_turn },
	{ "witness-drawn", "a random run, always with a witness", witnessed_drawn, faults_start },
	{ "lock-out", "a leader is lost of whose last entries the other copy did not hear", witnessed, play_lock_out },
};
const struct stories stories_witness = { scenarios, sizeof(scenarios) / sizeof(scenarios[0]) };
