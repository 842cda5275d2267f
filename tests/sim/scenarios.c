/* tests/sim/scenarios.c: see tests/sim/scenarios.h. */
#include "tests/sim/scenarios.h"

#include <string.h>

#include "policy/change.h"
#include "policy/paths.h"
#include "server/group_driver.h"
#include "server/node_internal.h"
#include "tests/sim/disk_model.h"
#include "tests/sim/engine_model.h"
#include "tests/sim/checkers.h"
#include "tests/sim/drains.h"
#include "tests/sim/erased.h"
#include "tests/sim/faults.h"
#include "tests/sim/checkers.h"
#include "tests/sim/found.h"
#include "tests/sim/load.h"

/* --- words ---------------------------------------------------------------------------------------------------------
 */

static void wait_ms(struct world *world, uint64_t ms)
{
	(void)world_run_until(world, world->now_ns + ms * 1000000);
}

static void cut(struct world *world, unsigned from, unsigned to)
{
	world->cut[from][to] = true;
	world->stats.partitions++;
	world->stats.faults++;
}

/* Nodes of these regions (bits) and the others do not hear each other, nor do clients across. */
static void cut_regions(struct world *world, unsigned regions)
{
	for (unsigned i = 0; i < world->node_count; i++) {
		bool in = regions >> world->nodes[i].region & 1;

		for (unsigned j = 0; j < world->node_count; j++) {
			if (in != (regions >> world->nodes[j].region & 1))
				cut(world, i, j);
		}
		world->cut_clients[i] = world->cut_clients[i] || in;
	}
}

static void whole_again(struct world *world)
{
	memset(world->cut, 0, sizeof(world->cut));
	memset(world->cut_clients, 0, sizeof(world->cut_clients));
	for (unsigned i = 0; i < world->node_count; i++) {
		for (unsigned j = 0; j < world->node_count && world->nodes[i].node != NULL; j++) {
			if (i != j && world->nodes[j].id != 0)
				node_peer_connected(
					world->nodes[i].node, world->nodes[j].id, node_now(&world->nodes[i]));
		}
		node_kick(&world->nodes[i]);
	}
}

static void kill(struct world *world, unsigned slot, bool power)
{
	node_crash(world, slot, power);
	world->stats.faults++;
	if (power)
		world->stats.power_cuts++;
	else
		world->stats.crashes++;
}

static void start(struct world *world, unsigned slot)
{
	if (world->nodes[slot].node == NULL)
		node_start(world, slot);
}

static void apply_world(struct world *world, bool eu_only, unsigned copies)
{
	static struct change change;
	static struct policy policy;

	memset(&change, 0, sizeof(change));
	found_policy_world(&policy, eu_only, copies, 0, world->knobs.local_reads);
	policy.follow = world->knobs.follow;
	if (eu_only && world->knobs.witness && world->knobs.erased_in_time)
		found_policy_witnessed(&policy, "us");
	if (world->knobs.erase_within_s > 0)
		policy.erase_within_s = world->knobs.erase_within_s;
	change.kind = CHANGE_APPLY;
	change.policies = &policy;
	change.policy_count = 1;
	found_change_async(world, &change);
	world->stats.moves++;
	world->stats.faults++;
}

static void bind(struct world *world, const char *prefix, const char *policy)
{
	static struct change change;
	struct change_binding binding;

	memset(&change, 0, sizeof(change));
	memset(&binding, 0, sizeof(binding));
	change.kind = CHANGE_BINDING_SET;
	change.bindings = &binding;
	change.binding_count = 1;
	binding.prefix_size = (uint16_t)strlen(prefix);
	memcpy(binding.prefix, prefix, binding.prefix_size);
	strcpy(binding.policy, policy);
	found_change_async(world, &change);
	world->stats.rebinds++;
	world->stats.faults++;
}

/* Operations that succeeded and began in this time. */
static unsigned succeeded_since(const struct world *world, uint64_t since_ns)
{
	size_t count;
	const struct load_record *history = load_history(world, &count);
	unsigned good = 0;

	for (size_t i = 0; i < count; i++)
		good += history[i].invoked_ns >= since_ns && history[i].done && history[i].status == STATUS_OK;
	return good;
}

/* --- stories --------------------------------------------------------------------------------------------------------
 */

static void calm(struct world_knobs *knobs)
{
	knobs->regions = 4;
	knobs->nodes_per_region = 1;
	knobs->copies = 3;
	knobs->loss_ppm = knobs->duplicate_ppm = 0;
	knobs->compactions = knobs->bindings = knobs->witness = false;
	knobs->erase_within_s = 0;
}

static void lossy(struct world_knobs *knobs)
{
	calm(knobs);
	knobs->loss_ppm = 20000;
	knobs->duplicate_ppm = 20000;
	knobs->compactions = true;
}

static void five_regions(struct world_knobs *knobs)
{
	calm(knobs);
	knobs->regions = 5;
}

static void five_quiet(struct world_knobs *knobs)
{
	five_regions(knobs);
	knobs->copies = 5;
}

static void five_copies(struct world_knobs *knobs)
{
	five_quiet(knobs);
	knobs->loss_ppm = 100000; /* so that the last words of who leaves go unheard */
}

static void old_clocks(struct world_knobs *knobs)
{
	calm(knobs);
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
	calm(knobs);
	knobs->levels = true;
	knobs->wide = true;
	knobs->local_reads = knobs->follow = knobs->splits = false;
	knobs->cold = 1;
	knobs->keys = 2;
	knobs->clients_per_region = 2;
	knobs->disk_us = 300;
	knobs->job_late_us = 300000;
}

static void witnessed(struct world_knobs *knobs)
{
	calm(knobs);
	knobs->witness = knobs->compactions = true;
}

static void witnessed_lossy(struct world_knobs *knobs)
{
	lossy(knobs);
	knobs->witness = true;
}

/* As drawn, but with a witness. */
static void witnessed_drawn(struct world_knobs *knobs)
{
	knobs->witness = true;
	knobs->damages = knobs->bit_flips = false;
}

static void with_bindings(struct world_knobs *knobs)
{
	calm(knobs);
	knobs->bindings = true;
	knobs->keys = 4;
}

static void erased_soon(struct world_knobs *knobs)
{
	five_regions(knobs);
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

/* Each region in turn is gone for a while, its power with it: the others go on. */
static void play_region_lost(struct world *world)
{
	for (unsigned region = 0; region < world->knobs.regions && world->failure[0] == '\0'; region++) {
		uint64_t settled_ns;

		wait_ms(world, 3000);
		kill(world, region, region % 2 == 1);
		wait_ms(world, 4 * world->knobs.support_us / 1000 + 2000);
		settled_ns = world->now_ns;
		wait_ms(world, 4000);
		if (world->failure[0] == '\0' && succeeded_since(world, settled_ns) < 5)
			world_fail(world, "with region %u lost, only %u operations succeeded in 4 s", region,
				succeeded_since(world, settled_ns));
		start(world, region);
		wait_ms(world, 3000);
	}
}

/* --- a witness ------------------------------------------------------------------------------------------------------
 */

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

		wait_ms(world, 3000);
		expect_degraded(world, false);
		kill(world, region, round % 2 == 1);
		wait_ms(world, 2 * world->knobs.support_us / 1000 + 2000);
		settled_ns = world->now_ns;
		wait_ms(world, 4000);
		if (world->failure[0] == '\0' && eu_succeeded_since(world, settled_ns) < 2)
			world_fail(world, "with region %u lost, only %u writes of the EU's keys succeeded in 4 s",
				region, eu_succeeded_since(world, settled_ns));
		start(world, region);
		wait_ms(world, 5000);
	}
}

/* One copy lost, then the other, then the first is back: whoever answers, answers what was acknowledged. */
static void play_in_turn(struct world *world)
{
	for (unsigned round = 0; round < 6 && world->failure[0] == '\0'; round++) {
		static const unsigned regions[] = { 0, 1, 3 }; /* of the EU */
		unsigned a = regions[round % 3], b = regions[(round + 1) % 3];

		wait_ms(world, 1000);
		kill(world, a, round % 2 == 0);
		wait_ms(world, 2 * world->knobs.support_us / 1000 + 1000 * (round % 3));
		kill(world, b, round % 3 == 0);
		start(world, a);
		wait_ms(world, 4000);
		start(world, b);
		wait_ms(world, 4000);
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
				cut(world, a, regions[i]);
		wait_ms(world, world->knobs.support_us / 3000); /* shorter than it takes to be missed */
		kill(world, a, false);
		whole_again(world);
		wait_ms(world, 2 * world->knobs.support_us / 1000 + 2000);
		settled_ns = world->now_ns;
		wait_ms(world, 4000);
		if (world->failure[0] == '\0' && eu_succeeded_since(world, settled_ns) < 2)
			world_fail(world, "with node %u lost, only %u writes of the EU's keys succeeded in 4 s", a,
				eu_succeeded_since(world, settled_ns));
		start(world, a);
		wait_ms(world, 4000);
	}
}

/* Everybody at once, five times: what was acknowledged was on disk. */
static void play_power_of_all(struct world *world)
{
	for (unsigned round = 0; round < 5 && world->failure[0] == '\0'; round++) {
		wait_ms(world, 5000);
		for (unsigned i = 0; i < world->node_count; i++)
			kill(world, i, true);
		wait_ms(world, 300);
		for (unsigned i = 0; i < world->node_count; i++) {
			start(world, i);
			wait_ms(world, 100 * round);
		}
		wait_ms(world, 4000);
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
					cut(world, i, j);
				if (i != j && way != 2)
					cut(world, j, i);
			}
			wait_ms(world, 5000);
			whole_again(world);
			wait_ms(world, 1500);
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
			wait_ms(world, world->knobs.support_us * (round + 1) / 1000 + 2000);
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
		wait_ms(world, world->knobs.support_us * 2 / 1000 + 700);
	}
}

/* While a read waits for the disk, news comes; also all at once, behind a short stop. */
static void play_cold_ages(struct world *world)
{
	for (unsigned round = 0; round < 100 && world->failure[0] == '\0'; round++) {
		node_pause(world, round % world->node_count, 5 * (uint64_t)1000000);
		world->stats.faults++;
		wait_ms(world, 1000);
	}
}

/* Two halves, neither with a quorum of everything; then the other two. */
static void play_halves(struct world *world)
{
	for (unsigned round = 0; round < 6 && world->failure[0] == '\0'; round++) {
		cut_regions(world, round % 3 == 0 ? 0x3 : round % 3 == 1 ? 0x5 : 0x9);
		wait_ms(world, 6000);
		whole_again(world);
		wait_ms(world, 4000);
	}
}

/* A policy goes back and forth between the EU and everywhere, while regions come and go: places added and left. */
static void play_moves(struct world *world)
{
	for (unsigned round = 0; round < 8 && world->failure[0] == '\0'; round++) {
		apply_world(world, round % 2 == 0, 3);
		wait_ms(world, 300 * round);
		if (round % 3 == 1)
			cut_regions(world, 1U << round % world->knobs.regions);
		if (round % 3 == 2)
			kill(world, round % world->node_count, false);
		wait_ms(world, 4000);
		whole_again(world);
		for (unsigned i = 0; i < world->node_count; i++)
			start(world, i);
		wait_ms(world, 4000);
	}
}

/* Most voters of a shard lie outside what the policy allows from now on: they are led out all the same. */
static void play_tightened(struct world *world)
{
	for (unsigned round = 0; round < 4 && world->failure[0] == '\0'; round++) {
		wait_ms(world, 3000);
		apply_world(world, true, 3);
		wait_ms(world, 10000);
		apply_world(world, false, 3);
		wait_ms(world, 6000);
	}
}

static void quotas(struct world *world, uint64_t free_bytes)
{
	for (unsigned i = 0; i < world->node_count; i++)
		disk_model_quota(world->nodes[i].dir, free_bytes);
}

/* Where a replica should have been made while the disk was full there is one soon after. */
static void play_born_full(struct world *world)
{
	for (unsigned round = 0; round < 4 && world->failure[0] == '\0'; round++) {
		quotas(world, 1 << 20); /* enough for what is small; engines find it full */
		apply_world(world, round % 2 == 0, 3);
		wait_ms(world, 1500);
		quotas(world, UINT64_MAX);
		wait_ms(world, 12000);
		const struct cluster_map *map = node_map(world->nodes[0].node);
		for (uint32_t i = 0; i < map->shard_count; i++) {
			const struct map_shard *shard = &map->shards[i];

			for (unsigned j = 0; j < shard->wanted_count && world->failure[0] == '\0'; j++) {
				struct world_node *at = world_node_by_id(world, shard->wanted[j].node);
				struct hosted *hosted = node_hosted(at->node, shard->id);

				if (hosted == NULL || driver_replica_id(hosted->driver) != shard->wanted[j].replica)
					world_fail(world, "node %u has no replica of shard %llu", at->slot,
						(unsigned long long)shard->id);
			}
		}
	}
}

/* A client that does not say by which rules it judged writes at a node whose replica has no place there any more, while
 * the group goes on without it. True: there was such a follower. */
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

		wait_ms(world, 30000);
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
	wait_ms(world, 2000);
	kill(world, (unsigned)(world->seed % world->node_count), false);
	wait_ms(world, 500);
	start(world, (unsigned)(world->seed % world->node_count));
	wait_ms(world, 14500);
	if (world->failure[0] == '\0')
		all_cleaned(world, 17 * (uint64_t)WORLD_SECOND);
}

static bool write_outside(struct world *world, struct world_node *at, const char *key)
{
	const struct cluster_map *map = node_map(at->node);
	const struct map_binding *binding = map_binding_of(map, bytes_text(key));
	const struct map_shard *shard = binding == NULL ? NULL : map_shard_of(map, binding->policy, bytes_text(key));
	struct hosted *hosted = shard == NULL ? NULL : node_hosted(at->node, shard->id);
	struct message message = { .kind = MESSAGE_REQUEST, .request = UINT64_MAX };
	struct peer_identity who = { .role = PEER_CLIENT, .place = world->nodes[0].who.place };
	uint32_t waiting = at->node->pending_count;

	if (hosted == NULL || hosted->doomed || driver_leads(hosted->driver) ||
		driver_leader_node(hosted->driver) == 0 || residency_hold(at->node, shard->policy, false) ||
		residency_evacuates(at->node, hosted) || !driver_takes_writes(hosted->driver))
		return false;
	message.ask = (struct message_request){ .operation = OPERATION_DELETE,
		.map_epoch = map->epoch,
		.policy = shard->policy,
		.shard = shard->id,
		.client = 1,
		.sequence = world->now_ns,
		.low_water = world->now_ns,
		.key = bytes_text(key) };
	node_requested(at->node, ADMIN_CLIENT + 1, &who, &message, node_now(at));
	if (at->node->pending_count > waiting)
		world_fail(world, "node %u took a write that it may not store, and cannot answer", at->slot);
	node_kick(at);
	return true;
}

/* Followers outside are asked to write while they are led out. A note would tell them that the write is committed, for
 * notes carry no data; but it never comes to them, so they leave it to the leader. */
static void play_outside(struct world *world)
{
	static const char *const keys[] = { "w/out0", "w/out1", "w/out2", "w/out3" };
	unsigned asked = 0;

	for (unsigned tick = 0; tick < 2400 && world->failure[0] == '\0'; tick++) {
		if (tick % 200 == 0)
			apply_world(world, tick % 400 == 0, tick % 400 == 0 ? 3 : 5);
		wait_ms(world, 10);
		for (unsigned i = 0; i < world->node_count && world->failure[0] == '\0'; i++)
			asked += world->nodes[i].node != NULL && write_outside(world, &world->nodes[i], keys[tick % 4]);
	}
	world_log(world, "%u times a replica outside was asked", asked);
	if (world->failure[0] == '\0' && asked == 0)
		world_fail(world, "no replica outside was ever asked: the run does not count");
}

/* Five copies, three, five: leaders are voted out, their replicas removed. */
static void play_copies(struct world *world)
{
	for (unsigned round = 0; round < 8 && world->failure[0] == '\0'; round++) {
		wait_ms(world, 2000);
		apply_world(world, false, round % 2 == 0 ? 3 : 5);
		wait_ms(world, 6000);
	}
}

/* Replicas come and go, keys are deleted and overwritten, processes end and power fails in the middle of it: what is no
 * copy any more is gone in time, to the last byte. */
static void play_erased(struct world *world)
{
	const uint64_t within_ns = (uint64_t)world->knobs.erase_within_s * WORLD_SECOND;

	erased_begin(within_ns + WORLD_SECOND / 2);
	wait_ms(world, 3000);
	for (unsigned round = 0; round < 6 && world->failure[0] == '\0'; round++) {
		erased_mark(world);
		for (uint64_t ms = 0; ms < within_ns / 1000000 + 500 && world->failure[0] == '\0'; ms += 100) {
			if (ms == 6000) /* a newcomer's own time goes on for longer than that of what it is given */
				apply_world(world, round % 2 == 0, 3);
			if (ms == 1000 + 700 * round)
				kill(world, round % world->node_count, round % 3 == 2);
			if (ms == 1300 + 700 * round)
				start(world, round % world->node_count);
			wait_ms(world, 100);
			erased_look(world);
		}
		erased_judge(world);
	}
	world_log(world, "%u replicas were judged, and %u purges", erased_judged(), erased_purges());
	if (world->failure[0] == '\0' && (erased_judged() < 10 || erased_purges() < 10))
		world_fail(world, "only %u replicas and %u purges were judged: the run does not count", erased_judged(),
			erased_purges());
}

/* Slot of the node that leads a group; -1: none does. */
static int leader_slot_of(const struct world *world, uint64_t id)
{
	uint64_t term = 0;
	int slot = -1;

	for (unsigned i = 0; i < world->node_count; i++) {
		const struct group *group = world->nodes[i].node == NULL ? NULL : node_group(world->nodes[i].node, id);
		struct group_status status;

		if (group == NULL)
			continue;
		status = group_status(group, world->nodes[i].last_local_ns);
		if (status.role == GROUP_LEADER && status.term > term) {
			term = status.term;
			slot = (int)i;
		}
	}
	return slot;
}

/* Fences in force at the shards that this node leads. */
static unsigned fences_led(const struct node *node)
{
	unsigned count = 0;
	struct command fence;

	for (size_t i = 0; node != NULL && i < node->table_size; i++) {
		if (node->table[i] != NULL && driver_leads(node->table[i]->driver))
			for (uint32_t at = 0; driver_fence_at(node->table[i]->driver, at, &fence); at++)
				count++;
	}
	return count;
}

/* The first node, not meta's leader, that puts a fence up at a shard it leads hears nothing more of meta's. */
static void deafen_who_fences(struct world *world, int meta)
{
	unsigned before[WORLD_NODES_MAX];

	for (unsigned i = 0; i < world->node_count; i++)
		before[i] = fences_led(world->nodes[i].node);
	for (unsigned ms = 0; ms < 300; ms++) {
		wait_ms(world, 1);
		for (unsigned i = 0; i < world->node_count; i++) {
			if (meta < 0 || i == (unsigned)meta || fences_led(world->nodes[i].node) <= before[i])
				continue;
			cut(world, (unsigned)meta, i);
			return;
		}
	}
}

/* A key is bound to one policy, then to another, whenever it happens to be absent. Clients have old maps, and so has
 * the node that put up the fence: it does not hear that the key lives elsewhere by now, and is written there. */
static void play_rebound(struct world *world)
{
	static const char *const prefixes[] = { "w/k0", "w/k1", "w/k2", "w/k3" };

	for (unsigned round = 0; round < 40 && world->failure[0] == '\0'; round++) {
		int meta = leader_slot_of(world, META_GROUP);

		bind(world, prefixes[round % 4], round / 4 % 2 == 0 ? "other" : "world");
		deafen_who_fences(world, meta);
		wait_ms(world, 900);
		whole_again(world);
		wait_ms(world, 400);
	}
}

static void compacting(struct world_knobs *knobs)
{
	calm(knobs);
	knobs->compactions = true;
}

static void name_leader(struct world *world, uint64_t shard, uint64_t node)
{
	struct change change;

	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_SHARD_LEAD;
	change.shard = shard;
	change.target_node = node;
	found_change_async(world, &change);
	world->stats.transfers++;
	world->stats.faults++;
}

static uint64_t term_of(const struct world *world, uint64_t shard)
{
	uint64_t term = 0;

	for (unsigned i = 0; i < world->node_count; i++) {
		const struct group *group = node_group(world->nodes[i].node, shard);
		uint64_t own = group == NULL ? 0 : group_status(group, world->nodes[i].last_local_ns).term;

		term = own > term ? own : term;
	}
	return term;
}

/* An engine of the node that is named to lead everything is damaged: the lead goes elsewhere, and is offered back only
 * when it is mended. */
static void play_named_damaged(struct world *world)
{
	const struct cluster_map *map = node_map(world->nodes[0].node);
	static uint64_t before[MAP_SHARDS_MAX];
	unsigned found = 0;

	for (uint32_t i = 0; i < map->shard_count; i++) {
		name_leader(world, map->shards[i].id, world->nodes[0].id);
		wait_ms(world, 100);
	}
	for (unsigned round = 0; round < 10 && world->failure[0] == '\0'; round++) {
		wait_ms(world, 10000);
		for (uint32_t i = 0; i < map->shard_count; i++)
			before[i] = term_of(world, map->shards[i].id);
		found += engine_model_damage(world->nodes[0].dir, &world->faults);
		world->stats.damages++;
		wait_ms(world, 20000);
		for (uint32_t i = 0; i < map->shard_count && world->failure[0] == '\0'; i++) {
			uint64_t more = term_of(world, map->shards[i].id) - before[i];

			if (more > 2)
				world_fail(world, "shard %llx was led in %llu more terms, for one damaged engine",
					(unsigned long long)map->shards[i].id, (unsigned long long)more);
		}
	}
	if (world->failure[0] == '\0' && found == 0)
		world_fail(world, "no engine could be damaged");
}

static void rebinding(struct world_knobs *knobs)
{
	lossy(knobs);
	knobs->bindings = true;
	knobs->keys = knobs->keys % 2 == 0 ? 3 : 12; /* so many that one is inside another */
	knobs->levels = true;
	knobs->cold = 1;
}

static void late_reads(struct world_knobs *knobs)
{
	calm(knobs);
	knobs->bindings = true;
	knobs->keys = 3;
	knobs->clients_per_region = 3;
	knobs->local_reads = knobs->follow = knobs->splits = false;
	knobs->cold = 1;
	knobs->disk_us = 300;
}

static void rebinding_witnessed(struct world_knobs *knobs)
{
	rebinding(knobs);
	knobs->witness = true;
}

static void scanning(struct world_knobs *knobs)
{
	rebinding(knobs);
	knobs->old_scans = true;
}

/* Somebody who holds keys that are being copied says that one of them cannot go. */
static void one_cannot_go(struct world *world)
{
	for (unsigned i = 0; i < world->node_count; i++) {
		struct node *node = world->nodes[i].node;
		const struct cluster_map *map = node == NULL ? NULL : node_map(node);

		for (uint32_t j = 0; map != NULL && j < map->operation_count; j++) {
			const struct map_operation *operation = &map->operations[j];
			struct change change = { .kind = CHANGE_MOVE_REPORT,
				.operation = operation->id,
				.phase = PHASE_COPY,
				.keys_found = 1 };

			if (operation->state != OPERATION_RUNNING || operation->phase != PHASE_COPY)
				continue;
			change.shard = operation->shards_done[operation->steps_done];
			if (node_hosted(node, change.shard) == NULL)
				continue;
			mover_send_change(node, &change);
			node_kick(&world->nodes[i]);
			return;
		}
	}
}

/* Reads wait for the disk for longer than it takes their keys to go to another policy and be removed. */
static void play_late_reads(struct world *world)
{
	world->knobs.job_wait_us = 700000;
	for (unsigned round = 0; round < 60 && world->failure[0] == '\0'; round++) {
		unsigned slot = (unsigned)prng_below(&world->faults, world->node_count);

		faults_rebind(world);
		wait_ms(world, 1000);
		if (round % 20 != 9)
			continue;
		kill(world, slot, false);
		wait_ms(world, 500);
		start(world, slot);
		whole_again(world);
	}
}

/* Bindings take keys from one policy to another and back, or are given up on the way; at every moment of that somebody
 * crashes, loses the power, or cannot be heard by another. */
static void play_rehomed(struct world *world)
{
	for (unsigned round = 0; round < 60 && world->failure[0] == '\0'; round++) {
		unsigned slot = (unsigned)prng_below(&world->faults, world->node_count);
		unsigned other = (unsigned)prng_below(&world->faults, world->node_count);

		if (round == 10)
			world->knobs.job_wait_us = 600000; /* a read waits for the disk while its key goes */
		faults_rebind(world);
		for (unsigned ms = 0; ms < 300 && round % 3 == 0; ms += 10) {
			wait_ms(world, 10);
			one_cannot_go(world);
		}
		wait_ms(world, prng_below(&world->faults, 700));
		switch (prng_below(&world->faults, 4)) {
		case 0:
			kill(world, slot, false);
			break;
		case 1:
			kill(world, slot, true);
			break;
		case 2:
			cut(world, slot, other);
			break;
		default:
			break; /* undisturbed */
		}
		wait_ms(world, prng_below(&world->faults, 1500));
		start(world, slot);
		whole_again(world);
		wait_ms(world, prng_below(&world->faults, 2000));
	}
}

static bool bindings_settled(struct world *world, unsigned seconds)
{
	for (unsigned tenth = 0; tenth < 10 * seconds && world->failure[0] == '\0'; tenth++) {
		wait_ms(world, 100);
		if (checkers_settled(world))
			return true;
	}
	return false;
}

static void behind(struct world_knobs *knobs)
{
	five_regions(knobs);
	knobs->bindings = true;
	knobs->keys = 13; /* w/k12 is inside w/k1 */
	knobs->clients_per_region = 1;
	knobs->disk_full = knobs->bit_flips = knobs->damages = false;
	knobs->wide = true;
	knobs->support_us = 1200000; /* more than the longest round trip */
	knobs->heartbeat_us = 120000;
}

static const struct map_operation *operation_of(const struct cluster_map *map, const char *prefix)
{
	for (uint32_t i = map->operation_count; i > 0; i--) {
		const struct map_operation *operation = &map->operations[i - 1];

		if (operation->kind == OPERATION_BINDING && operation->state == OPERATION_RUNNING &&
			bytes_equal(bytes_of(operation->prefix, operation->prefix_size), bytes_text(prefix)))
			return operation;
	}
	return NULL;
}

/* The shard of the policy that the key would be in. */
static uint64_t shard_of_key(const struct cluster_map *map, const char *policy, const char *key)
{
	const struct map_shard *shard = map_shard_of(map, map_policy_by_name(map, policy)->id, bytes_text(key));

	return shard == NULL ? 0 : shard->id;
}

static void set_or_unset(struct world *world, uint8_t kind, const char *prefix, const char *policy)
{
	static struct change change;
	struct change_binding binding;

	memset(&change, 0, sizeof(change));
	memset(&binding, 0, sizeof(binding));
	change.kind = kind;
	change.bindings = &binding;
	change.binding_count = 1;
	binding.prefix_size = (uint16_t)strlen(prefix);
	memcpy(binding.prefix, prefix, binding.prefix_size);
	strcpy(binding.policy, policy);
	found_change_async(world, &change);
	world->stats.rebinds++;
	world->stats.faults++;
}

/* Copies of the shard that have the fence, and not yet the key that comes behind it, have that on their disks. */
static void flush_before(struct world *world, uint64_t shard, uint64_t operation, const char *key)
{
	for (unsigned i = 0; i < world->node_count; i++) {
		struct world_node *node = &world->nodes[i];
		struct hosted *hosted = node->node == NULL ? NULL : node_hosted(node->node, shard);
		struct buffer *row = NULL;

		if (hosted == NULL || !driver_fence_of(hosted->driver, operation))
			continue;
		if (engine_get(driver_engine(hosted->driver), ENGINE_SPACE_KEYS, bytes_text(key), &row) ==
				STATUS_NOT_FOUND &&
			driver_flush(hosted->driver, 1000, node_now(node)) == STATUS_OK)
			node_kick(node);
		buffer_unref(row);
	}
}

/* Keys come behind a fence while its operation waits. When it goes on, all copies of their shard are lost, and all but
 * its leader's come back at once, without what they had not flushed: who leads next has the fence, and does not know
 * yet of what came behind it. */
static void play_behind(struct world *world)
{
	unsigned lost = 0;

	for (unsigned round = 0; round < 12 && world->failure[0] == '\0'; round++) {
		const struct map_operation *outer;

		set_or_unset(world, CHANGE_BINDING_SET, "w/k12", "other");
		wait_ms(world, 1000);
		if (!bindings_settled(world, 30))
			break;
		set_or_unset(world, CHANGE_BINDING_UNSET, "w/k1", "");
		wait_ms(world, 1000);
		if (!bindings_settled(world, 30))
			break;
		wait_ms(world, 2000);
		set_or_unset(world, CHANGE_BINDING_UNSET, "w/k12", "");
		set_or_unset(world, CHANGE_BINDING_SET, "w/k1", "other");
		for (unsigned ms = 0; ms < 8000 && world->failure[0] == '\0'; ms++) {
			int meta = leader_slot_of(world, META_GROUP), leader;
			const struct cluster_map *map = meta < 0 ? NULL : node_map(world->nodes[meta].node);
			uint64_t shard = map == NULL ? 0 : shard_of_key(map, "world", "w/k12");

			wait_ms(world, 1);
			meta = leader_slot_of(world, META_GROUP);
			if (meta < 0 || shard == 0)
				continue;
			map = node_map(world->nodes[meta].node);
			outer = operation_of(map, "w/k1");
			leader = leader_slot_of(world, shard);
			if (outer == NULL || leader < 0)
				continue;
			flush_before(world, shard, outer->id, "w/k12");
			if (outer->phase != PHASE_COPY)
				continue;
			if (node_hosted(world->nodes[meta].node, shard) != NULL)
				break; /* meta is to go on */
			for (unsigned i = 0; i < world->node_count; i++) {
				if (world->nodes[i].node == NULL || node_hosted(world->nodes[i].node, shard) == NULL)
					continue;
				kill(world, i, false);
				if ((int)i != leader)
					start(world, i);
			}
			wait_ms(world, 8000);
			start(world, (unsigned)leader);
			lost++;
			break;
		}
		if (!bindings_settled(world, 30))
			break;
		wait_ms(world, 1000);
	}
	world_log(world, "%u leaders were lost", lost);
}

/* Somebody who was not asked says that the keys which are out have arrived. */
static void answer_for_others(struct world *world)
{
	for (unsigned i = 0; i < world->node_count; i++) {
		struct world_node *to = &world->nodes[i], *from = &world->nodes[(i + 1) % world->node_count];

		for (size_t t = 0; to->node != NULL && t < to->node->table_size; t++) {
			const struct hosted *hosted = to->node->table[t];
			struct message message = { .kind = MESSAGE_ADOPT_REPLY };

			if (hosted == NULL || hosted->rebind.number == 0 || hosted->rebind.asked == from->id ||
				to->paused_until_ns > world->now_ns)
				continue;
			message.adopt_reply.source = hosted->group;
			message.adopt_reply.number = hosted->rebind.number;
			message.adopt_reply.status = STATUS_OK;
			node_received(to->node, from->id, &from->who, &message, node_now(to));
			node_kick(to);
			world->stats.faults++;
		}
	}
}

/* A witness, which has no keys, says of a shard that its step is done, and that no key was there. */
static void report_as_witness(struct world *world)
{
	for (unsigned i = 0; i < world->node_count; i++) {
		struct node *node = world->nodes[i].node;
		const struct cluster_map *map = node == NULL ? NULL : node_map(node);

		for (uint32_t j = 0; map != NULL && j < map->operation_count; j++) {
			const struct map_operation *operation = &map->operations[j];
			struct change change = { .kind = CHANGE_MOVE_REPORT, .operation = operation->id };

			for (uint32_t n = operation->steps_done;
				operation->kind == OPERATION_BINDING && operation->state == OPERATION_RUNNING &&
				n < operation->steps;
				n++) {
				const struct hosted *hosted = node_hosted(node, operation->shards_done[n]);

				if (hosted == NULL || !driver_is_witness(hosted->driver))
					continue;
				change.shard = hosted->group;
				change.phase = operation->phase == PHASE_FENCE ? 0 : operation->phase;
				if (operation->phase == PHASE_FENCE)
					change.kind = CHANGE_FENCE_REPORT;
				mover_send_change(node, &change);
				node_kick(&world->nodes[i]);
				world->stats.faults++;
			}
		}
	}
}

static void play_forged(struct world *world)
{
	for (unsigned round = 0; round < 30 && world->failure[0] == '\0'; round++) {
		faults_rebind(world);
		for (unsigned ms = 0; ms < 1500; ms += 5) {
			wait_ms(world, 5);
			if (world->knobs.witness && ms % 50 == 0)
				report_as_witness(world);
			else
				answer_for_others(world);
		}
	}
}

static void play_transfers(struct world *world)
{
	for (unsigned round = 0; round < 60 && world->failure[0] == '\0'; round++) {
		const struct cluster_map *map = world->nodes[round % world->node_count].node == NULL
							? NULL
							: node_map(world->nodes[round % world->node_count].node);

		if (map == NULL || map->shard_count == 0)
			continue;
		name_leader(world, map->shards[round % map->shard_count].id,
			world->nodes[(round / 3) % world->node_count].id);
		wait_ms(world, 900);
		if (round % 7 == 6) {
			kill(world, round % world->node_count, false);
			wait_ms(world, 200);
			start(world, round % world->node_count);
		}
	}
}

/* --- leaders that follow ------------------------------------------------------------------------------------------
 */

static void followed(struct world_knobs *knobs)
{
	five_regions(knobs);
	knobs->follow = knobs->wide = true;
	knobs->keys = 4;
	knobs->clients_per_region = 1;
	knobs->jitter_percent = 2;
	knobs->support_us = 1500000;
	knobs->heartbeat_us = 150000;
}

static bool of_world(const struct cluster_map *map, const struct map_shard *shard)
{
	const struct policy *policy = map_policy_find(map, shard->policy);

	return policy != NULL && strcmp(policy->name, "world") == 0;
}

/* Plays on for so long and counts how often leaders of the world's shards changed. */
static unsigned leaders_changed(struct world *world, unsigned seconds)
{
	static int before[MAP_SHARDS_MAX];
	const struct cluster_map *map = node_map(world->nodes[0].node);
	unsigned moves = 0;

	for (uint32_t i = 0; i < map->shard_count; i++)
		before[i] = leader_slot_of(world, map->shards[i].id);
	for (unsigned tenth = 0; tenth < 10 * seconds && world->failure[0] == '\0'; tenth++) {
		wait_ms(world, 100);
		for (uint32_t i = 0; i < map->shard_count; i++) {
			int now = of_world(map, &map->shards[i]) ? leader_slot_of(world, map->shards[i].id) : -1;

			if (now < 0 || now == before[i])
				continue;
			moves += before[i] >= 0;
			before[i] = now;
		}
	}
	world->stats.transfers += moves;
	world->stats.faults += moves;
	return moves;
}

/* By the distances as they are, not as nodes measured them. */
static void true_matrix(const struct world *world, const struct cluster_map *map, struct rtt_matrix *matrix)
{
	rtt_matrix_init(matrix, map->region_count);
	for (unsigned a = 0; a < world->knobs.regions; a++) {
		for (unsigned b = 0; b < world->knobs.regions; b++) {
			const struct map_region *from = map_region_find(map, world_region_names[a]);
			const struct map_region *to = map_region_find(map, world_region_names[b]);

			if (from != NULL && to != NULL)
				rtt_matrix_add(matrix, (uint32_t)(from - map->regions), (uint32_t)(to - map->regions),
					(uint32_t)(2 * world->delay_ns[a][b] / 1000));
		}
	}
}

/* Every shard that these clients write to is led where that takes them least, or not much more. Returns how many. */
static unsigned led_near(struct world *world, unsigned region)
{
	static struct rtt_matrix matrix;
	const struct cluster_map *map = node_map(world->nodes[0].node);
	const struct map_region *from = map_region_find(map, world_region_names[region]);
	unsigned judged = 0;

	true_matrix(world, map, &matrix);
	for (uint32_t i = 0; i < map->shard_count && world->failure[0] == '\0'; i++) {
		int slot = of_world(map, &map->shards[i]) ? leader_slot_of(world, map->shards[i].id) : -1;
		struct hosted *hosted = slot < 0 ? NULL : node_hosted(world->nodes[slot].node, map->shards[i].id);
		uint32_t best_us = LATENCY_UNKNOWN, now_us = LATENCY_UNKNOWN;
		const struct membership *membership;
		struct latency_group group;
		uint64_t weight = 0;

		for (unsigned r = 0; hosted != NULL && r < hosted->leading.count; r++)
			weight += hosted->leading.regions[r].weight;
		if (weight < (uint64_t)LEADING_WRITES_MIN * 1024)
			continue;
		membership = group_membership(driver_group(hosted->driver));
		paths_group(map, &matrix, membership, (member_set)~0U,
			map_policy_find(map, map->shards[i].policy)->reads == READS_LOCAL, &group);
		for (unsigned m = 0; m < membership->count; m++) {
			struct latency_estimate estimate;

			paths_from(map, &matrix, &group, (uint32_t)(from - map->regions), m, &estimate);
			best_us = estimate.write_us < best_us ? estimate.write_us : best_us;
			if (membership->at[m].node == world->nodes[slot].id)
				now_us = estimate.write_us;
		}
		judged++;
		if (now_us > best_us + best_us / 5 + 4000)
			world_fail(world, "shard %llx is led by node %d: a write from %s takes %u us there, %u at best",
				(unsigned long long)map->shards[i].id, slot, world_region_names[region], now_us,
				best_us);
	}
	return judged;
}

/* Writers stay in one region for minutes, then in another: the leaders are where they are, and nobody's write failed on
 * the way. Then they change every five seconds, and the leaders stay. */
static void play_follow(struct world *world)
{
	static const unsigned regions[] = { 2, 4, 1 };
	uint64_t began_ns = world->now_ns;
	unsigned judged = 0, moves = 0, most = 0;

	for (unsigned i = 0; i < sizeof(regions) / sizeof(regions[0]) && world->failure[0] == '\0'; i++) {
		world->writers = 1U << regions[i];
		world->stats.faults++;
		moves += leaders_changed(world, 200);
		judged += led_near(world, regions[i]);
		most += 2 * SHARDS_PER_POLICY; /* once through a place between */
	}
	world_log(world, "%u leaders changed, %u shards judged", moves, judged);
	if (world->failure[0] == '\0' && (judged == 0 || moves > most))
		world_fail(world, "leaders changed %u times, %u shards were judged", moves, judged);
	moves = 0;
	for (unsigned i = 0; i < 24 && world->failure[0] == '\0'; i++) {
		world->writers = i % 2 == 0 ? 1U << 2 : 1U << 4;
		moves += leaders_changed(world, 5);
	}
	if (world->failure[0] == '\0' && moves > 2 * SHARDS_PER_POLICY)
		world_fail(world, "leaders changed %u times under writers who change every 5 s", moves);
	world->writers = 0;
	if (world->failure[0] == '\0' && load_failed_since(world, began_ns) > load_open(world))
		world_fail(world, "%u operations failed while leaders moved", load_failed_since(world, began_ns));
}

/* As a draw, with what matters to who comes and goes. */
static void drained(struct world_knobs *knobs)
{
	knobs->nodes_per_region = 2;
	knobs->disk_full = false;
	knobs->drains = knobs->crashes = knobs->partitions = knobs->splits = knobs->moves = knobs->overlap = true;
}

static void play_drains(struct world *world)
{
	faults_start(world);
}

static void drained_rebinding(struct world_knobs *knobs)
{
	drained(knobs);
	knobs->bindings = knobs->levels = true;
}

/* Policies move, nodes are drained and go, all while bindings take keys along. */
static void play_rehomed_drains(struct world *world)
{
	faults_start(world);
	for (unsigned round = 0; round < 40 && world->failure[0] == '\0'; round++) {
		faults_rebind(world);
		wait_ms(world, 300 + prng_below(&world->faults, 2500));
	}
}

static void fenced(struct world_knobs *knobs)
{
	calm(knobs);
	knobs->nodes_per_region = 2;
	knobs->drains = true;
	knobs->bit_flips = knobs->damages = false;
}

/* A region is declared lost, and lives: nobody outside counts on it any more, what has another place is there, and all
 * goes on without it. In the end it is listened to again. */
static void play_fence(struct world *world)
{
	unsigned region = (unsigned)(world->seed % world->knobs.regions), outside = region == 0 ? 1 : 0;
	uint64_t began_ns;
	static struct change change;
	const struct cluster_map *map;

	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_REGION_STATE;
	change.state = REGION_FENCED;
	strcpy(change.name, world_region_names[region]);
	world->stats.faults++;
	wait_ms(world, 3000);
	if (found_change(world, &change, 20 * (uint64_t)WORLD_SECOND) != STATUS_OK) {
		world_fail(world, "region %s is not fenced", change.name);
		return;
	}
	wait_ms(world, 15000);
	if (world->failure[0] != '\0')
		return;
	map = node_map(world->nodes[outside].node);
	for (unsigned i = 0; i < world->node_count; i++) {
		for (unsigned j = 0; j < world->node_count; j++) {
			if (world->nodes[i].region != region && world->nodes[j].region == region &&
				liveness_alive(world->nodes[i].node->liveness, world->nodes[j].id,
					node_now(&world->nodes[i]).now_ns))
				world_fail(world, "node %u counts on node %u, which is of a fenced region", i, j);
		}
	}
	for (uint32_t i = 0; i < map->shard_count; i++) {
		for (unsigned r = 0; r < map->shards[i].replica_count; r++) {
			if (of_world(map, &map->shards[i]) && map_node_fenced(map, map->shards[i].replicas[r].node))
				world_fail(world, "shard %llx still has a replica in a fenced region",
					(unsigned long long)map->shards[i].id);
		}
	}
	began_ns = world->now_ns;
	wait_ms(world, 10000);
	if (world->failure[0] == '\0' && succeeded_since(world, began_ns) == 0)
		world_fail(world, "nothing succeeds beside a fenced region");
}

static bool region_state(struct world *world, unsigned region, enum region_state state)
{
	static struct change change;

	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_REGION_STATE;
	change.state = (uint8_t)state;
	strcpy(change.name, world_region_names[region]);
	if (found_change(world, &change, 20 * (uint64_t)WORLD_SECOND) != STATUS_OK)
		return false;
	wait_ms(world, 6000);
	return true;
}

/* A node hears nobody while a region that is lost by its map is had back and comes to lead meta. */
static void play_readmitted(struct world *world)
{
	unsigned region = (unsigned)(world->seed % 2), deaf = 0;
	bool led = false;

	while (world->nodes[deaf].region == region)
		deaf++;
	world->stats.faults++;
	wait_ms(world, 3000);
	if (!region_state(world, region, REGION_FENCED))
		world_fail(world, "region %u is not fenced", region);
	for (unsigned i = 0; i < world->node_count; i++) {
		if (i == deaf)
			continue;
		cut(world, i, deaf);
		cut(world, deaf, i);
	}
	if (!region_state(world, region, REGION_ACTIVE))
		world_fail(world, "region %u is not readmitted", region);
	for (unsigned other = 0; other < world->knobs.regions; other++) { /* its voters go to where none is */
		if (other != region && other != world->nodes[deaf].region &&
			region_state(world, other, REGION_DRAINING))
			break;
	}
	for (unsigned tries = 0; tries < 20 && !led && world->failure[0] == '\0'; tries++) {
		int leader = leader_slot_of(world, META_GROUP);

		led = leader >= 0 && world->nodes[leader].region == region;
		if (led || leader < 0) {
			wait_ms(world, 500);
			continue;
		}
		kill(world, (unsigned)leader, false);
		wait_ms(world, 4000);
		start(world, (unsigned)leader);
		wait_ms(world, 500);
	}
	if (!led)
		world_fail(world, "nobody of region %u gets to lead meta", region);
	whole_again(world);
	for (unsigned ms = 0; ms < 15000; ms += 500) { /* as each node does of itself */
		wait_ms(world, 500);
		found_maps(world);
	}
}

static void replaced(struct world_knobs *knobs)
{
	calm(knobs);
	knobs->nodes_per_region = 3; /* without the one that is down, and without the next, there is a place */
	knobs->drains = true;
	knobs->disk_full = false;
}

/* Until it is taken, or for long enough: what it asks for may have to wait for what was asked before. */
static bool insist(struct world *world, uint8_t kind, uint64_t node, uint8_t state)
{
	static struct change change;

	for (unsigned i = 0; i < 60 && world->failure[0] == '\0'; i++) {
		memset(&change, 0, sizeof(change));
		change.kind = kind;
		change.target_node = node;
		change.state = state;
		if (found_change(world, &change, 10 * (uint64_t)WORLD_SECOND) == STATUS_OK)
			return true;
		wait_ms(world, 1000);
	}
	world_fail(world, "node %llu: change %u is never taken", (unsigned long long)node, kind);
	return false;
}

/* A node is down, and all that it knows are replaced by others, one after the other: it finds back. */
static void play_away(struct world *world)
{
	const unsigned away = (unsigned)(world->seed % world->node_count);

	insist(world, CHANGE_NODE_STATE, world->nodes[away].id, NODE_DRAINING); /* so that nothing waits for it */
	wait_ms(world, 5000);
	node_crash(world, away, false);
	for (unsigned i = 0; i < world->node_count && world->failure[0] == '\0'; i++) {
		const struct world_node *node = &world->nodes[i];
		const unsigned lives = node->former_count;

		if (i == away || !insist(world, CHANGE_NODE_STATE, node->id, NODE_DRAINING) ||
			!insist(world, CHANGE_NODE_REMOVE, node->id, 0))
			continue;
		for (unsigned round = 0; (node->former_count == lives || node->id == 0) && round < 60; round++) {
			wait_ms(world, 1000);
			drains_replace(world);
			found_joins(world);
		}
		world->stats.faults++;
	}
	node_start(world, away);
	for (unsigned round = 0; round < 20 && world->failure[0] == '\0'; round++) {
		wait_ms(world, 1000);
		found_maps(world);
	}
	insist(world, CHANGE_NODE_STATE, world->nodes[away].id, NODE_ACTIVE);
}

static void losing(struct world_knobs *knobs)
{
	drained(knobs);
	knobs->loses = knobs->bindings = knobs->transfers = true;
	knobs->bit_flips = knobs->damages = knobs->witness = false;
}

/* Drained and decommissioned, though whatever moves it may be undone, and it may be had back, meanwhile. A policy that
 * was tightened so far that its shards need the lost copy to get out of where they may not be any more is taken back.
 */
/* The answer to a change may be the one to another that was under way. */
static bool gone(const struct world *world, uint64_t id)
{
	const struct cluster_map *map = NULL;
	const struct map_node *node;

	for (unsigned i = 0; i < world->node_count; i++) {
		const struct cluster_map *own = world->nodes[i].node == NULL ? NULL : node_map(world->nodes[i].node);

		if (own != NULL && (map == NULL || own->epoch > map->epoch))
			map = own;
	}
	node = map == NULL ? NULL : map_node_find(map, id);
	return map != NULL && (node == NULL || node->state == NODE_GONE);
}

static bool bury(struct world *world, unsigned slot)
{
	static struct change change;
	const uint64_t id = world->nodes[slot].id;

	for (unsigned i = 0; i < 60 && world->failure[0] == '\0'; i++) {
		enum status status = STATUS_OK;

		for (unsigned removes = 0; removes < 2 && status == STATUS_OK; removes++) {
			memset(&change, 0, sizeof(change));
			change.kind = removes ? CHANGE_NODE_REMOVE : CHANGE_NODE_STATE;
			change.target_node = id;
			change.state = removes ? 0 : NODE_DRAINING;
			status = found_change(world, &change, 10 * (uint64_t)WORLD_SECOND);
		}
		if ((status == STATUS_OK || status == STATUS_NOT_FOUND) && gone(world, id))
			return true;
		world_log(world, "node %u is not rid of yet: change %u: %s: %s", slot, change.kind, status_name(status),
			found_detail());
		if (i % 10 == 9)
			apply_world(world, false, world->knobs.copies);
		wait_ms(world, 1000);
		drains_replace(world);
		found_joins(world); /* there may be no other place until another has come */
	}
	if (world->failure[0] == '\0') {
		checkers_describe(world);
		drains_describe(world);
	}
	world_fail(world, "node %u is lost, and is never rid of", slot);
	return false;
}

/* Nodes are lost for ever while shards are on the way to them, policies and bindings change, and whatever runs may be
 * cancelled. */
static void play_cancelled(struct world *world)
{
	faults_start(world);
	for (unsigned round = 0; round < 4 && world->failure[0] == '\0'; round++) {
		unsigned slot = (unsigned)prng_below(&world->drains, world->node_count);
		struct world_node *node = &world->nodes[slot];
		const unsigned lives = node->former_count;

		if (node->id == 0 || lives + 2 >= WORLD_FORMER_MAX)
			continue;
		faults_rebind(world);
		for (unsigned i = 0; i < 3; i++)
			drains_send_to(world, slot);
		wait_ms(world, prng_below(&world->drains, 800));
		world_log(world, "node %u is lost for ever", slot);
		node_crash(world, slot, false);
		node->lost = true;
		world->stats.faults++;
		wait_ms(world, prng_below(&world->drains, 3000));
		drains_cancel(world);
		if (!bury(world, slot))
			return;
		for (unsigned i = 0; (node->former_count == lives || node->id == 0) && i < 60; i++) {
			wait_ms(world, 1000);
			drains_replace(world);
			found_joins(world);
		}
	}
}

static void overtaking(struct world_knobs *knobs)
{
	calm(knobs);
	knobs->nodes_per_region = 2;
	knobs->follow = false;
}

static void cut_pair(struct world *world, unsigned a, unsigned b)
{
	cut(world, a, b);
	cut(world, b, a);
}

static void join_pair(struct world *world, unsigned a, unsigned b)
{
	world->cut[a][b] = world->cut[b][a] = false;
	node_peer_connected(world->nodes[a].node, world->nodes[b].id, node_now(&world->nodes[a]));
	node_peer_connected(world->nodes[b].node, world->nodes[a].id, node_now(&world->nodes[b]));
	node_kick(&world->nodes[a]);
	node_kick(&world->nodes[b]);
}

static void place_on(struct world *world, uint64_t shard, unsigned a, unsigned b, unsigned c)
{
	static struct change change;

	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_SHARD_PLACE;
	change.shard = shard;
	change.replica_count = 3;
	change.replicas[0].node = world->nodes[a].id;
	change.replicas[1].node = world->nodes[b].id;
	change.replicas[2].node = world->nodes[c].id;
	if (found_change(world, &change, 20 * (uint64_t)WORLD_SECOND) != STATUS_OK)
		world_fail(world, "shard %llx is not placed: %s", (unsigned long long)shard, found_detail());
}

/* What a step of play_overtaken waits for. */
struct overtaken {
	uint64_t shard;
	unsigned meta;
	unsigned leader; /* slot of who is to lead */
	unsigned host;	 /* ... to host it */
};

static bool nothing_moves(const struct world *world, const struct overtaken *at)
{
	return map_shard_find(node_map(world->nodes[at->meta].node), at->shard)->operation == 0;
}

static bool leads_it(const struct world *world, const struct overtaken *at)
{
	return leader_slot_of(world, at->shard) == (int)at->leader;
}

static bool hosts_it(const struct world *world, const struct overtaken *at)
{
	return node_group(world->nodes[at->host].node, at->shard) != NULL;
}

static bool is_led(const struct world *world, const struct overtaken *at)
{
	return leader_slot_of(world, at->shard) >= 0;
}

static void await(struct world *world, const struct overtaken *at, const char *what,
	bool (*holds)(const struct world *world, const struct overtaken *at))
{
	for (unsigned i = 0; i < 6000 && world->failure[0] == '\0' && !holds(world, at); i++)
		wait_ms(world, 5);
	if (world->failure[0] == '\0' && !holds(world, at))
		world_fail(world, "shard %llx: %s", (unsigned long long)at->shard, what);
}

/* A move is cancelled before its shard's leader has heard of it; who leads next, and who was to come, have heard of the
 * move and not of its end. The newcomer must not come to vote: when it hears, it removes what it has. */
static void play_overtaken(struct world *world)
{
	unsigned slots[4], a, b, c, d;
	struct overtaken at = { 0 };
	static struct change change;
	const struct cluster_map *map;

	wait_ms(world, 3000);
	at.meta = (unsigned)leader_slot_of(world, META_GROUP);
	map = node_map(world->nodes[at.meta].node);
	for (unsigned i = 0; i < 4; i++) /* one of each region, and none votes in meta */
		slots[i] = map_node_find(map, world->nodes[i].id)->meta_voter ? i + 4 : i;
	a = slots[0];
	at.leader = b = slots[1];
	c = slots[2];
	at.host = d = slots[3];
	for (uint32_t i = 0; i < map->shard_count && at.shard == 0; i++)
		at.shard = of_world(map, &map->shards[i]) ? map->shards[i].id : 0;
	place_on(world, at.shard, a, b, c);
	await(world, &at, "it does not come to where it was placed", nothing_moves);
	name_leader(world, at.shard, world->nodes[b].id);
	await(world, &at, "who is named does not lead", leads_it);
	if (world->failure[0] != '\0')
		return;

	cut_pair(world, at.meta, b);
	place_on(world, at.shard, a, b, d);
	await(world, &at, "who is to come does not host it", hosts_it);
	cut_pair(world, at.meta, a);
	cut_pair(world, at.meta, d);
	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_CANCEL;
	change.operation = map_shard_find(node_map(world->nodes[at.meta].node), at.shard)->operation;
	if (found_change(world, &change, 20 * (uint64_t)WORLD_SECOND) != STATUS_OK)
		world_fail(world, "the move is not cancelled: %s", found_detail());
	join_pair(world, at.meta, b);
	await(world, &at, "what is cancelled never ends", nothing_moves);

	at.leader = a;
	name_leader(world, at.shard, world->nodes[a].id);
	await(world, &at, "who is named does not lead, after the move", leads_it);
	kill(world, b, false);
	wait_ms(world, 5000);
	if (world->failure[0] != '\0')
		return;
	join_pair(world, at.meta, d);
	wait_ms(world, 3000);
	kill(world, a, false);
	start(world, b);
	await(world, &at, "one of its copies is down, and nobody leads", is_led);
	start(world, a);
	whole_again(world);
}

static const struct scenario scenarios[] = {
	{ "region-lost", "each region loses its power in turn; the others go on", calm, play_region_lost },
	{ "witness", "each region of two copies and a witness is lost in turn", witnessed, play_witness },
	{ "in-turn", "both copies are lost in turn, with a witness", witnessed_lossy, play_in_turn },
	{ "witness-drawn", "a random run, always with a witness", witnessed_drawn, faults_start },
	{ "lock-out", "a leader is lost of whose last entries the other copy did not hear", witnessed, play_lock_out },
	{ "power-of-all", "everybody loses power at once, five times", calm, play_power_of_all },
	{ "cut-off", "each node in turn is cut off, then deaf, then mute", calm, play_cut_off },
	{ "paused", "processes stop for longer than their leases", calm, play_paused },
	{ "old-clock", "what a paused process was asked it takes up with the clock of before", old_clocks,
		play_old_clock },
	{ "cold-ages", "reads that may be old wait for the disk, and news comes meanwhile", cold_ages, play_cold_ages },
	{ "halves", "the regions fall into two halves, three ways", lossy, play_halves },
	{ "moves", "a policy moves its shards while regions come and go", lossy, play_moves },
	{ "tightened", "most voters of a shard lie outside its tightened policy", five_regions, play_tightened },
	{ "born-full", "replicas are to be made while disks are full", five_regions, play_born_full },
	{ "outside", "replicas that have no place any more are asked to write", five_quiet, play_outside },
	{ "copies", "five copies, three, five: leaders are voted out", five_copies, play_copies },
	{ "erased", "what is no copy any more is gone from every disk in time", erased_soon, play_erased },
	{ "shortened", "a policy shortens the time that what was deleted may stay", erased_later, play_shortened },
	{ "erased-witness", "the same beside two copies and a witness, who has nothing", erased_witnessed,
		play_erased },
	{ "rebound", "keys are bound to one policy and another while clients have old maps", with_bindings,
		play_rebound },
	{ "named-damaged", "an engine is damaged where a shard is to be led", compacting, play_named_damaged },
	{ "rehomed", "bindings take their keys along while nodes crash and do not hear each other", rebinding,
		play_rehomed },
	{ "late-reads", "keys go to another policy while reads of them wait for the disk", late_reads,
		play_late_reads },
	{ "behind", "keys come behind a fence, and the leader is lost that knows of them", behind, play_behind },
	{ "forged", "who was not asked says that keys have arrived", rebinding, play_forged },
	{ "forged-witness", "and a witness says that all is done", rebinding_witnessed, play_forged },
	{ "rehomed-scans", "the same, and what is scanned may be old", scanning, play_rehomed },
	{ "rehomed-witness", "the same, of shards that have a witness", rebinding_witnessed, play_rehomed },
	{ "transfers", "leaders are asked to hand over, and crash", lossy, play_transfers },
	{ "drains", "nodes are drained, had back, decommissioned and replaced in the midst of faults", drained,
		play_drains },
	{ "away", "all others are replaced while a node is down", replaced, play_away },
	{ "rehomed-drains", "bindings take keys along while policies move and nodes are drained and go",
		drained_rebinding, play_rehomed_drains },
	{ "cancelled", "nodes are lost for ever while shards move there, and operations are cancelled", losing,
		play_cancelled },
	{ "overtaken", "a move is cancelled, and who leads the shard then has heard of the move only", overtaking,
		play_overtaken },
	{ "readmitted", "a region that was lost leads meta, and somebody has not heard that it is back", fenced,
		play_readmitted },
	{ "fenced", "a region that lives is declared lost, and readmitted", fenced, play_fence },
	{ "follow", "leaders follow writers who move, and not those who come and go", followed, play_follow },
};

const struct scenario *scenario_at(unsigned index)
{
	return index < sizeof(scenarios) / sizeof(scenarios[0]) ? &scenarios[index] : NULL;
}

const struct scenario *scenario_find(const char *name)
{
	for (unsigned i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
		if (strcmp(scenarios[i].name, name) == 0)
			return &scenarios[i];
	}
	return NULL;
}
