#include "tests/sim/faults.h"

#include <stdio.h>
#include <string.h>

#include "policy/change.h"
#include "server/group_driver.h"
#include "server/node_internal.h"
#include "tests/sim/disk_model.h"
#include "tests/sim/drains.h"
#include "tests/sim/engine_model.h"
#include "tests/sim/found.h"
#include "tests/sim/load.h"
#include "tests/sim/ranges.h"

static bool running, flipped;

static uint64_t ms(uint64_t count)
{
	return count * 1000000;
}

static void on_restart(struct world *world, void *arg, uint64_t slot, struct buffer *bytes)
{
	(void)arg;
	(void)bytes;
	if (world->nodes[slot].node == NULL && !world->nodes[slot].ruined)
		node_start(world, (unsigned)slot);
}

static void on_reconnect(struct world *world, void *arg, uint64_t value, struct buffer *bytes)
{
	(void)arg;
	(void)value;
	(void)bytes;
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
	world_log(world, "the network is whole again");
}

static void on_relief(struct world *world, void *arg, uint64_t value, struct buffer *bytes)
{
	(void)arg;
	(void)value;
	(void)bytes;
	world->congested = 0;
}

static void on_disk_well(struct world *world, void *arg, uint64_t slot, struct buffer *bytes)
{
	(void)arg;
	(void)bytes;
	world->nodes[slot].slow_disk = false;
	disk_model_quota(world->nodes[slot].dir, UINT64_MAX);
}

static void crash_region(struct world *world, unsigned region, bool power)
{
	uint64_t down_ns = ms(50 + prng_below(&world->faults, 6000));

	for (unsigned i = 0; i < world->node_count; i++) {
		if (world->nodes[i].region != region ||
			(i >= world->knobs.regions && prng_below(&world->faults, 2) == 0))
			continue;
		node_crash(world, i, power);
		if (power && !flipped && world->knobs.bit_flips &&
			disk_model_flip(world->nodes[i].dir, "journal", &world->faults)) {
			flipped = true;
			world->nodes[i].flipped = true;
			world_log(world, "a bit of node %u's journal flips", i);
		}
		world_at(world, world->now_ns + down_ns, on_restart, NULL, i, NULL);
	}
	if (power)
		world->stats.power_cuts++;
	else
		world->stats.crashes++;
}

static void cut_region(struct world *world, unsigned region, bool one_way)
{
	unsigned direction = (unsigned)prng_below(&world->faults, 2);

	world_log(world, "region %s is cut off%s", world_region_names[region],
		!one_way	 ? ""
		: direction == 0 ? ", outwards"
				 : ", inwards");
	for (unsigned i = 0; i < world->node_count; i++) {
		for (unsigned j = 0; j < world->node_count; j++) {
			bool out = world->nodes[i].region == region && world->nodes[j].region != region;
			bool in = world->nodes[j].region == region && world->nodes[i].region != region;

			world->cut[i][j] = one_way ? (direction == 0 ? out : in) : out || in;
		}
		if (!one_way)
			world->cut_clients[i] = world->nodes[i].region == region;
	}
	world->stats.partitions++;
	world_at(world, world->now_ns + ms(200 + prng_below(&world->faults, 8000)), on_reconnect, NULL, 0, NULL);
}

/* Some nodes do not hear some others, whatever their regions: two halves, or one pair, one way or both. */
static void split(struct world *world)
{
	unsigned a = (unsigned)prng_below(&world->faults, world->node_count);
	unsigned b = (unsigned)prng_below(&world->faults, world->node_count);
	uint64_t half = prng_next(&world->faults);
	bool pair = prng_below(&world->faults, 2) == 0, one_way = prng_below(&world->faults, 2) == 0;

	for (unsigned i = 0; i < world->node_count; i++) {
		for (unsigned j = 0; j < world->node_count; j++) {
			bool forth = pair ? i == a && j == b : (half >> i & 1) && !(half >> j & 1);
			bool back = pair ? i == b && j == a : (half >> j & 1) && !(half >> i & 1);

			world->cut[i][j] = world->cut[i][j] || (i != j && (forth || (back && !one_way)));
		}
	}
	if (pair)
		world_log(world, "nodes %u and %u do not hear each other%s", a, b, one_way ? ", one way" : "");
	else
		world_log(world, "the network splits%s", one_way ? ", one way" : "");
	world->stats.partitions++;
	world_at(world, world->now_ns + ms(200 + prng_below(&world->faults, 8000)), on_reconnect, NULL, 0, NULL);
}

static void transfer(struct world *world)
{
	struct change change;
	const struct cluster_map *map = NULL;

	for (unsigned i = 0; i < world->node_count && map == NULL; i++) {
		if (world->nodes[i].node != NULL)
			map = node_map(world->nodes[i].node);
	}
	if (map == NULL || map->shard_count == 0)
		return;
	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_SHARD_LEAD;
	change.shard = map->shards[prng_below(&world->faults, map->shard_count)].id;
	change.target_node =
		prng_below(&world->faults, 4) == 0 ? 0 : world->nodes[prng_below(&world->faults, world->node_count)].id;
	found_change_async(world, &change);
	world->stats.transfers++;
}

static void move(struct world *world)
{
	static struct change change;
	static struct policy policy;
	bool eu_only = prng_below(&world->faults, 2) == 0;

	memset(&change, 0, sizeof(change));
	found_policy_world(&policy, eu_only,
		!eu_only && world->knobs.regions == 5 && prng_below(&world->faults, 2) == 0 ? 5 : 3,
		(unsigned)prng_below(&world->faults, 3),
		prng_below(&world->faults, 3) == 0 ? !world->knobs.local_reads : world->knobs.local_reads);
	if (world->knobs.witness && prng_below(&world->faults, 2) == 0)
		found_policy_witnessed(&policy, world->knobs.regions == 5 ? "ap" : "us");
	if (world->knobs.erase_within_s > 0 && prng_below(&world->faults, 2) == 0)
		policy.erase_within_s = world->knobs.erase_within_s;
	policy.follow = world->knobs.follow;
	change.kind = CHANGE_APPLY;
	change.policies = &policy;
	change.policy_count = 1;
	found_change_async(world, &change);
	world_log(world, "policy `world` changes: store_in %s%s, reads %s", policy.store_in.at[0].text,
		policy.witness_in.count > 0 ? " with a witness" : "", policy.reads == READS_LOCAL ? "local" : "leader");
	world->stats.moves++;
}

/* Keys of `world` go to another policy and back, one or several at a time (w/k1 and w/k12); so does one of `eu-only`,
 * by its hash. New changes come while others run. */
void faults_rebind(struct world *world)
{
	static struct change change;
	struct change_binding binding;
	unsigned key = (unsigned)prng_below(&world->faults, world->knobs.keys);
	bool eu = prng_below(&world->faults, 3) == 0, back = prng_below(&world->faults, 3) == 0;
	char text[64];

	memset(&change, 0, sizeof(change));
	memset(&binding, 0, sizeof(binding));
	change.kind = prng_below(&world->faults, 4) == 0 ? CHANGE_BINDING_UNSET : CHANGE_BINDING_SET;
	change.bindings = &binding;
	change.binding_count = 1;
	load_key_text(world, eu ? key + world->knobs.keys : key, text);
	if (eu) {
		const struct world_node *node = &world->nodes[0];

		for (unsigned i = 0; i < world->node_count; i++)
			node = world->nodes[i].node != NULL ? &world->nodes[i] : node;
		if (node->node == NULL)
			return;
		binding.exact = true;
		binding.hash = hash_keyed(bytes_text(text), node_map(node->node)->hash_secret);
	} else {
		binding.prefix_size = (uint16_t)strlen(text);
		memcpy(binding.prefix, text, binding.prefix_size);
	}
	strcpy(binding.policy, eu ? back ? "eu-only" : "eu-other" : back ? "world" : "other");
	found_change_async(world, &change);
	world_log(world, "binding of %s: %s", text, change.kind == CHANGE_BINDING_UNSET ? "unset" : binding.policy);
	world->stats.rebinds++;
}

/* Logs become short: who was away needs snapshots. */
static void on_compaction(struct world *world, void *arg, uint64_t value, struct buffer *bytes)
{
	struct world_node *node = &world->nodes[prng_below(&world->faults, world->node_count)];
	uint64_t keep = prng_below(&world->faults, 30);

	(void)arg;
	(void)value;
	(void)bytes;
	if (!running)
		return;
	for (size_t i = 0; node->node != NULL && node->paused_until_ns <= world->now_ns && i < node->node->table_size;
		i++) {
		if (node->node->table[i] == NULL || node->failed)
			continue;
		if (driver_flush(node->node->table[i]->driver, keep, node_now(node)) == STATUS_OK)
			world->stats.compactions++;
	}
	node_kick(node);
	world_at(world, world->now_ns + ms(100 + prng_below(&world->faults, 1500)), on_compaction, NULL, 0, NULL);
}

/* Files of an engine rot. One at a time: until it is mended there is one copy less. */
static void on_damage(struct world *world, void *arg, uint64_t value, struct buffer *bytes)
{
	unsigned slot = (unsigned)prng_below(&world->faults, world->node_count);

	(void)arg;
	(void)value;
	(void)bytes;
	if (!running || world->ruined)
		return;
	if (!engine_model_damaged() && engine_model_damage(world->nodes[slot].dir, &world->faults)) {
		world_log(world, "an engine of node %u is damaged", slot);
		world->stats.damages++;
		world->stats.faults++;
	}
	world_at(world, world->now_ns + ms(500 + prng_below(&world->faults, 8000)), on_damage, NULL, 0, NULL);
}

static void one_fault(struct world *world)
{
	const struct world_knobs *knobs = &world->knobs;
	unsigned region = (unsigned)prng_below(&world->faults, knobs->regions);
	unsigned slot = (unsigned)prng_below(&world->faults, world->node_count);

	switch (prng_below(&world->faults, 13)) {
	case 0:
		if (knobs->crashes)
			crash_region(world, region, false);
		break;
	case 1:
		if (knobs->power_cuts)
			crash_region(world, region, true);
		break;
	case 2:
		if (knobs->partitions)
			cut_region(world, region, false);
		break;
	case 3:
		if (knobs->one_way)
			cut_region(world, region, true);
		break;
	case 4:
		if (knobs->pauses)
			node_pause(world, slot, ms(prng_below(&world->faults, knobs->support_us * 3 / 1000)));
		break;
	case 5:
		if (knobs->clock_jumps)
			world->nodes[slot].wall_error_us =
				(int64_t)prng_below(&world->faults, UINT64_C(7200000000)) - INT64_C(3600000000);
		break;
	case 6:
		if (knobs->disk_slow)
			world->nodes[slot].slow_disk = true;
		if (knobs->disk_full && prng_below(&world->faults, 2) == 0)
			disk_model_quota(world->nodes[slot].dir, prng_below(&world->faults, 4096));
		world_at(world, world->now_ns + ms(prng_below(&world->faults, 5000)), on_disk_well, NULL, slot, NULL);
		break;
	case 7:
		if (knobs->transfers)
			transfer(world);
		break;
	case 8:
		if (knobs->moves)
			move(world);
		break;
	case 9:
		if (knobs->splits)
			split(world);
		break;
	case 10:
		if (knobs->bindings)
			faults_rebind(world);
		break;
	case 11:
		if (knobs->congestion) {
			world->congested = 1 + (unsigned)prng_below(&world->faults, 12);
			world_at(world, world->now_ns + ms(prng_below(&world->faults, 5000)), on_relief, NULL, 0, NULL);
		}
		break;
	default:
		if (!knobs->all_power_cut || prng_below(&world->faults, 3) != 0)
			break;
		world_log(world, "everybody loses power");
		for (unsigned i = 0; i < world->node_count; i++) {
			node_crash(world, i, true);
			world_at(world, world->now_ns + ms(100 + prng_below(&world->faults, 2000)), on_restart, NULL, i,
				NULL);
		}
		world->stats.power_cuts++;
		break;
	}
}

static bool all_well(const struct world *world)
{
	for (unsigned i = 0; i < world->node_count; i++) {
		if (world->nodes[i].lost)
			continue;
		if (world->nodes[i].node == NULL || world->nodes[i].paused_until_ns > world->now_ns ||
			world->cut_clients[i])
			return false;
		for (unsigned j = 0; j < world->node_count; j++) {
			if (world->cut[i][j])
				return false;
		}
	}
	return true;
}

static void on_fault(struct world *world, void *arg, uint64_t value, struct buffer *bytes)
{
	(void)arg;
	(void)value;
	(void)bytes;
	if (!running || world->ruined)
		return;
	if (all_well(world) || (world->knobs.overlap && prng_below(&world->faults, 2) == 0)) {
		one_fault(world);
		world->stats.faults++;
	}
	world_at(world, world->now_ns + ms(100 + prng_below(&world->faults, world->knobs.fault_gap_ms)), on_fault, NULL,
		0, NULL);
}

void faults_start_compactions(struct world *world)
{
	running = true;
	if (world->knobs.compactions)
		world_at(world, world->now_ns + ms(500), on_compaction, NULL, 0, NULL);
}

void faults_start(struct world *world)
{
	running = true;
	flipped = false;
	world_at(world, world->now_ns + ms(500), on_fault, NULL, 0, NULL);
	if (world->knobs.damages)
		world_at(world, world->now_ns + ms(4000), on_damage, NULL, 0, NULL);
	if (world->knobs.drains)
		drains_start(world);
	if (world->knobs.ranges)
		ranges_start(world);
	faults_start_compactions(world);
}

void faults_stop(struct world *world)
{
	drains_stop(world);
	ranges_stop(world);
	running = false;
}
