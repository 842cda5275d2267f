#include "tests/sim/drains.h"

#include <stdio.h>
#include <string.h>

#include "policy/change.h"
#include "server/node_internal.h"
#include "tests/sim/checkers.h"
#include "tests/sim/found.h"

static bool running;

/* The newest map of those that are up; NULL: nobody is. */
void drains_replace(struct world *world)
{
	for (unsigned i = 0; i < world->node_count; i++) {
		const struct cluster_map *map = world_newest_map(world);
		struct world_node *node = &world->nodes[i];

		if (map == NULL || node->id == 0 || node->ruined || node->paused_until_ns > world->now_ns ||
			node->id >= map->id_next || map_node_find(map, node->id) != NULL)
			continue;
		world_log(world, "node %u was decommissioned: another is started there", i);
		world->stats.decommissions++;
		node_replace(world, i);
	}
}

/* One region may be declared lost, the same one all the time: two are more than the policies survive, and so is one
 * when a node's disk has forgotten what it held, or its engine has, for who is being mended does not lead. */
static unsigned may_be_lost(const struct world *world)
{
	return world->knobs.bit_flips || world->knobs.damages || world->knobs.loses
		       ? WORLD_REGIONS_MAX
		       : (unsigned)(world->seed % world->knobs.regions);
}

static void change_state(struct world *world)
{
	static struct change change;
	unsigned slot = (unsigned)prng_below(&world->drains, world->node_count);

	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_NODE_STATE;
	change.target_node = world->nodes[slot].id;
	change.state = (uint8_t)(prng_below(&world->drains, 3) == 0 ? NODE_LEADLESS : NODE_DRAINING);
	if (prng_below(&world->drains, 4) == 0) {
		change.kind = CHANGE_REGION_STATE;
		strcpy(change.name, world_region_names[world->nodes[slot].region]);
		change.state = REGION_DRAINING;
		if (world->nodes[slot].region == may_be_lost(world) && prng_below(&world->drains, 2) == 0)
			change.state = REGION_FENCED;
	}
	if (prng_below(&world->drains, 3) == 0)
		change.state = NODE_ACTIVE; /* which is a region's too */
	found_change_async(world, &change);
	world_log(world, "%s of node %u: state %u", change.kind == CHANGE_REGION_STATE ? "region" : "the state", slot,
		change.state);
	world->stats.drains++;
}

/* Somebody has everything back, so that the end of it is no cluster of which nothing is left. */
void drains_all_back(struct world *world)
{
	const struct cluster_map *map = world_newest_map(world);
	static struct change change;

	world_log(world, "all that is drained is had back");
	for (uint32_t i = 0; map != NULL && i < map->node_count; i++) {
		memset(&change, 0, sizeof(change));
		change.kind = CHANGE_NODE_STATE;
		change.target_node = map->nodes[i].id;
		found_change_async(world, &change);
	}
	for (unsigned i = 0; i < world->knobs.regions; i++) {
		memset(&change, 0, sizeof(change));
		change.kind = CHANGE_REGION_STATE;
		strcpy(change.name, world_region_names[i]);
		found_change_async(world, &change);
	}
}

static void decommission(struct world *world)
{
	const struct cluster_map *map = world_newest_map(world);
	static struct change change;

	for (uint32_t i = 0; map != NULL && i < map->node_count; i++) {
		if (map_node_takes_replicas(map, &map->nodes[i]))
			continue;
		memset(&change, 0, sizeof(change));
		change.kind = CHANGE_NODE_REMOVE;
		change.target_node = map->nodes[i].id;
		found_change_async(world, &change);
	}
}

void drains_cancel(struct world *world)
{
	const struct cluster_map *map = world_newest_map(world);
	static struct change change;

	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_CANCEL;
	for (uint32_t i = 0, seen = 0; map != NULL && i < map->operation_count; i++) {
		if (map->operations[i].state == OPERATION_RUNNING && prng_below(&world->drains, ++seen) == 0)
			change.operation = map->operations[i].id;
	}
	if (change.operation == 0)
		return;
	found_change_async(world, &change);
	world_log(world, "operation %llu is cancelled", (unsigned long long)change.operation);
	world->stats.cancels++;
}

void drains_level(struct world *world)
{
	static struct change change;

	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_REBALANCE;
	found_change_async(world, &change);
	world_log(world, "what nodes carry is levelled");
	world->stats.levellings++;
}

void drains_send_to(struct world *world, unsigned slot)
{
	const struct cluster_map *map = world_newest_map(world);
	const struct world_node *node = &world->nodes[slot];
	static struct change change;
	const struct map_shard *shard;

	memset(&change, 0, sizeof(change));
	if (map == NULL || map->shard_count == 0 || map_node_find(map, node->id) == NULL)
		return;
	if (prng_below(&world->drains, 3) == 0) {
		unsigned mate = (slot + world->knobs.regions) % world->node_count;

		change.kind = CHANGE_NODE_STATE;
		change.target_node = world->nodes[mate].id;
		change.state = NODE_DRAINING;
		found_change_async(world, &change);
		return;
	}
	shard = &map->shards[prng_below(&world->drains, map->shard_count)];
	change.kind = CHANGE_SHARD_PLACE;
	change.shard = shard->id;
	for (unsigned i = 0; i < shard->wanted_count; i++) {
		const struct map_node *there = map_node_find(map, shard->wanted[i].node);
		bool mate = there->region == map_node_find(map, node->id)->region;

		if (shard->wanted[i].role == ROLE_VOTER)
			change.replicas[change.replica_count++].node = mate ? node->id : there->id;
	}
	found_change_async(world, &change);
}

/* A region that has no node just now is removed; one that is not there is registered again. */
static void change_regions(struct world *world)
{
	const struct cluster_map *map = world_newest_map(world);
	static struct change change;

	for (unsigned i = 0; map != NULL && i < world->knobs.regions; i++) {
		const struct map_region *region = map_region_find(map, world_region_names[i]);
		bool empty = region != NULL;

		for (uint32_t n = 0; n < map->node_count && empty; n++)
			empty = &map->regions[map->nodes[n].region] != region;
		if ((region != NULL && !empty) || prng_below(&world->drains, 2) == 0)
			continue;
		memset(&change, 0, sizeof(change));
		change.kind = empty ? CHANGE_REGION_REMOVE : CHANGE_REGION_ADD;
		snprintf(change.name, sizeof(change.name), "%s", world_region_names[i]);
		found_region(&change.region, i);
		world->removed |= 1U << i;
		world->stats.removals += empty;
		world_log(world, "region %s: %s", change.name, empty ? "removed" : "registered again");
		found_change_async(world, &change);
	}
}

static void on_drain(struct world *world, void *arg, uint64_t value, struct buffer *bytes)
{
	(void)arg;
	(void)value;
	(void)bytes;
	if (!running) {
		found_maps(world);
		world_at(world, world->now_ns + WORLD_SECOND, on_drain, NULL, 0, NULL);
		return;
	}
	change_regions(world);
	drains_replace(world);
	found_joins(world);
	switch (prng_below(&world->drains, 10)) {
	case 0:
		drains_all_back(world);
		break;
	case 1:
	case 2:
		decommission(world);
		break;
	case 3:
		drains_cancel(world);
		break;
	case 4:
		drains_level(world);
		break;
	default:
		change_state(world);
		break;
	}
	world_at(world, world->now_ns + WORLD_SECOND / 4 + prng_below(&world->drains, 4 * (uint64_t)WORLD_SECOND),
		on_drain, NULL, 0, NULL);
}

void drains_start(struct world *world)
{
	running = true;
	world_at(world, world->now_ns + WORLD_SECOND, on_drain, NULL, 0, NULL);
}

void drains_stop(struct world *world)
{
	(void)world;
	running = false;
}

/* It leads, on a node that takes no leads, and another voter's node does. */
static bool should_yield(const struct cluster_map *map, const struct hosted *hosted, const struct map_node *own)
{
	const struct membership *membership = group_membership(driver_group(hosted->driver));

	if (!driver_leads(hosted->driver) || map_node_takes_leads(map, own))
		return false;
	for (unsigned i = 0; i < membership->count; i++) {
		const struct map_node *there = map_node_find(map, membership->at[i].node);

		if (membership->at[i].role_new == ROLE_VOTER && there != NULL && map_node_takes_leads(map, there))
			return true;
	}
	return false;
}

/* Those that were removed, when nothing is on its way any more that removes one. */
static void register_regions(struct world *world)
{
	static struct change change;
	const struct cluster_map *map;
	enum status status;

	if (world->removed == 0 || !world_run_until(world, world->now_ns + 5 * (uint64_t)WORLD_SECOND))
		return;
	for (unsigned i = 0; i < world->knobs.regions && (map = world_newest_map(world)) != NULL; i++) {
		if (map_region_find(map, world_region_names[i]) != NULL)
			continue;
		memset(&change, 0, sizeof(change));
		change.kind = CHANGE_REGION_ADD;
		found_region(&change.region, i);
		status = found_change(world, &change, 20 * (uint64_t)WORLD_SECOND);
		if (status != STATUS_OK && status != STATUS_CONFLICT) /* somebody else had it registered */
			world_fail(world, "region %s is not registered again: %s", world_region_names[i],
				status_name(status));
	}
}

void drains_readmit(struct world *world)
{
	static struct change change;
	unsigned region = may_be_lost(world);
	enum status status;

	register_regions(world);
	if (!world->knobs.drains || region == WORLD_REGIONS_MAX)
		return;
	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_REGION_STATE;
	strcpy(change.name, world_region_names[region]);
	status = found_change(world, &change, 20 * (uint64_t)WORLD_SECOND);
	if (status != STATUS_OK) {
		checkers_describe(world);
		world_fail(world, "region %s is not readmitted: %s", change.name, status_name(status));
	}
}

static void describe(struct world *world, const char *what, const struct map_replica replicas[], unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const struct world_node *node = world_node_by_id(world, replicas[i].node);

		world_log(world, "        %s %llu role %u on node %llu, slot %d%s", what,
			(unsigned long long)replicas[i].replica, replicas[i].role, (unsigned long long)replicas[i].node,
			node == NULL ? -1 : (int)node->slot, node == NULL || node->node == NULL ? ", down" : "");
	}
}

void drains_describe(struct world *world)
{
	const struct cluster_map *map = world_newest_map(world);

	for (uint32_t i = 0; map != NULL && i < map->operation_count; i++) {
		const struct map_operation *operation = &map->operations[i];

		if (operation->state != OPERATION_RUNNING)
			continue;
		world_log(world, "operation %llu: %u of %u, phase %u%s: %s", (unsigned long long)operation->id,
			operation->steps_done, operation->steps, operation->phase,
			operation->cancelled ? ", cancelled" : "", operation->text);
		for (uint32_t j = 0; j < map->shard_count; j++) {
			const struct map_shard *shard = &map->shards[j];

			if (shard->operation != operation->id)
				continue;
			world_log(world, "    shard %llx generation %llu", (unsigned long long)shard->id,
				(unsigned long long)shard->generation);
			describe(world, "replica", shard->replicas, shard->replica_count);
			describe(world, "wanted", shard->wanted, shard->wanted_count);
		}
	}
	for (uint32_t i = 0; map != NULL && i < map->node_count; i++) {
		if (map->nodes[i].state != NODE_ACTIVE || map->regions[map->nodes[i].region].state != REGION_ACTIVE)
			world_log(world, "node %llu %s: state %u, of its region %u",
				(unsigned long long)map->nodes[i].id, map->nodes[i].place.text, map->nodes[i].state,
				map->regions[map->nodes[i].region].state);
	}
}

bool drains_done(const struct world *world)
{
	const struct cluster_map *map = world_newest_map(world);

	for (uint32_t i = 0; map != NULL && !world->ruined && i < map->operation_count; i++) {
		if (map->operations[i].state == OPERATION_RUNNING)
			return false;
	}
	for (unsigned i = 0; map != NULL && !world->ruined && i < world->node_count; i++) {
		const struct map_node *there = map_node_find(map, world->nodes[i].id);
		struct node *node = world->nodes[i].node;

		for (size_t h = 0; node != NULL && there != NULL && h < node->table_size; h++) {
			if (node->table[h] == NULL)
				continue;
			if (node->table[h]->group != META_GROUP && !map_node_takes_replicas(map, there))
				return false;
			if (should_yield(map, node->table[h], there))
				return false;
		}
	}
	return true;
}
