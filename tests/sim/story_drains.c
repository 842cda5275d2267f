/* tests/sim/story_drains.c: scenarios (tests/sim/scenarios.h): nodes and regions come and go. */
#include "tests/sim/story.h"

#include <stdio.h>
#include <string.h>

#include "policy/change.h"
#include "server/node_internal.h"
#include "server/rtt.h"
#include "tests/sim/drains.h"
#include "tests/sim/faults.h"
#include "tests/sim/found.h"

static void play_drains(struct world *world)
{
	faults_start(world);
}

static void drained_rebinding(struct world_knobs *knobs)
{
	story_drained(knobs);
	knobs->bindings = knobs->levels = true;
}

static void fenced(struct world_knobs *knobs)
{
	story_calm(knobs);
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
	story_wait_ms(world, 3000);
	if (found_change(world, &change, 20 * (uint64_t)WORLD_SECOND) != STATUS_OK) {
		world_fail(world, "region %s is not fenced", change.name);
		return;
	}
	story_wait_ms(world, 15000);
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
			if (story_of_world(map, &map->shards[i]) &&
				map_node_fenced(map, map->shards[i].replicas[r].node))
				world_fail(world, "shard %llx still has a replica in a fenced region",
					(unsigned long long)map->shards[i].id);
		}
	}
	began_ns = world->now_ns;
	story_wait_ms(world, 10000);
	if (world->failure[0] == '\0' && story_succeeded_since(world, began_ns) == 0)
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
	story_wait_ms(world, 6000);
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
	story_wait_ms(world, 3000);
	if (!region_state(world, region, REGION_FENCED))
		world_fail(world, "region %u is not fenced", region);
	for (unsigned i = 0; i < world->node_count; i++) {
		if (i == deaf)
			continue;
		story_cut(world, i, deaf);
		story_cut(world, deaf, i);
	}
	if (!region_state(world, region, REGION_ACTIVE))
		world_fail(world, "region %u is not readmitted", region);
	for (unsigned other = 0; other < world->knobs.regions; other++) { /* its voters go to where none is */
		if (other != region && other != world->nodes[deaf].region &&
			region_state(world, other, REGION_DRAINING))
			break;
	}
	for (unsigned tries = 0; tries < 20 && !led && world->failure[0] == '\0'; tries++) {
		int leader = story_leader_slot_of(world, META_GROUP);

		led = leader >= 0 && world->nodes[leader].region == region;
		if (led || leader < 0) {
			story_wait_ms(world, 500);
			continue;
		}
		story_kill(world, (unsigned)leader, false);
		story_wait_ms(world, 4000);
		story_start(world, (unsigned)leader);
		story_wait_ms(world, 500);
	}
	if (!led)
		world_fail(world, "nobody of region %u gets to lead meta", region);
	story_whole_again(world);
	for (unsigned ms = 0; ms < 15000; ms += 500) { /* as each node does of itself */
		story_wait_ms(world, 500);
		found_maps(world);
	}
}

static void replaced(struct world_knobs *knobs)
{
	story_calm(knobs);
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
		story_wait_ms(world, 1000);
	}
	world_fail(world, "node %llu: change %u is never taken", (unsigned long long)node, kind);
	return false;
}

/* A node is down, and all that it knows are replaced by others, one after the other: it finds back. */
static void play_away(struct world *world)
{
	const unsigned away = (unsigned)(world->seed % world->node_count);

	insist(world, CHANGE_NODE_STATE, world->nodes[away].id, NODE_DRAINING); /* so that nothing waits for it */
	story_wait_ms(world, 5000);
	node_crash(world, away, false);
	for (unsigned i = 0; i < world->node_count && world->failure[0] == '\0'; i++) {
		const struct world_node *node = &world->nodes[i];
		const unsigned lives = node->former_count;

		if (i == away || !insist(world, CHANGE_NODE_STATE, node->id, NODE_DRAINING) ||
			!insist(world, CHANGE_NODE_REMOVE, node->id, 0))
			continue;
		for (unsigned round = 0; (node->former_count == lives || node->id == 0) && round < 60; round++) {
			story_wait_ms(world, 1000);
			drains_replace(world);
			found_joins(world);
		}
		world->stats.faults++;
	}
	node_start(world, away);
	for (unsigned round = 0; round < 20 && world->failure[0] == '\0'; round++) {
		story_wait_ms(world, 1000);
		found_maps(world);
	}
	insist(world, CHANGE_NODE_STATE, world->nodes[away].id, NODE_ACTIVE);
}

static void region_gone(struct world_knobs *knobs)
{
	story_calm(knobs);
	knobs->regions = 5;
	knobs->nodes_per_region = 2;
	knobs->drains = true;
	knobs->disk_full = false;
	knobs->follow = true;
}

static bool region_change(struct world *world, uint8_t kind, unsigned region, uint8_t state, enum status wanted)
{
	static struct change change;
	enum status status = STATUS_OK;

	for (unsigned i = 0; i < 60 && world->failure[0] == '\0'; i++) {
		memset(&change, 0, sizeof(change));
		change.kind = kind;
		change.state = state;
		snprintf(change.name, sizeof(change.name), "%s", world_region_names[region]);
		if (kind == CHANGE_REGION_ADD)
			found_region(&change.region, region);
		status = found_change(world, &change, 10 * (uint64_t)WORLD_SECOND);
		if (status == wanted)
			return true;
		if (wanted != STATUS_OK)
			break;
		story_wait_ms(world, 1000);
	}
	world_fail(world, "region %s: change %u: %s, wanted %s", world_region_names[region], kind, status_name(status),
		status_name(wanted));
	return false;
}

static uint32_t rtt_by_name(struct node *node, unsigned one, unsigned other)
{
	const struct cluster_map *map = node_map(node);
	const struct map_region *a = map_region_find(map, world_region_names[one]),
				*b = map_region_find(map, world_region_names[other]);

	return a == NULL || b == NULL ? LATENCY_UNKNOWN : rtt_matrix_now(node)->us[a - map->regions][b - map->regions];
}

/* What nodes know of how far the regions are apart is of those regions still. */
static void check_distances(struct world *world, const uint32_t before_us[WORLD_REGIONS_MAX][WORLD_REGIONS_MAX])
{
	unsigned compared = 0;

	for (unsigned n = 0; n < world->node_count; n++) {
		for (unsigned i = 0; i < WORLD_REGIONS_MAX && world->nodes[n].node != NULL; i++) {
			for (unsigned j = 0; j < i; j++) {
				uint32_t us = rtt_by_name(world->nodes[n].node, i, j), was = before_us[i][j];

				if (us == LATENCY_UNKNOWN || was == LATENCY_UNKNOWN)
					continue;
				compared++;
				if (us > was + was / 4 + 5000 || was > us + us / 4 + 5000)
					world_fail(world, "node %u has %s and %s %u us apart, and before %u", n,
						world_region_names[i], world_region_names[j], us, was);
			}
		}
	}
	if (compared == 0)
		world_fail(world, "nobody knows how far regions are apart");
}

/* A region is emptied and removed from the middle of the list, while all goes on; and comes again. */
static void play_region_gone(struct world *world)
{
	const unsigned region = world->seed % 2 == 0 ? 2 : 4; /* not all of eu */
	uint32_t before_us[WORLD_REGIONS_MAX][WORLD_REGIONS_MAX];
	uint64_t began_ns;

	story_wait_ms(world, 45000); /* every node has told how far it is from the others */
	for (unsigned i = 0; i < WORLD_REGIONS_MAX; i++)
		for (unsigned j = 0; j < WORLD_REGIONS_MAX; j++)
			before_us[i][j] = rtt_by_name(world->nodes[0].node, i, j);
	region_change(world, CHANGE_REGION_REMOVE, region, 0, STATUS_CONFLICT); /* nodes are there */
	region_change(world, CHANGE_REGION_STATE, region, REGION_DRAINING, STATUS_OK);
	world->silent = 1U << region; /* who is there is nobody's client soon */
	for (unsigned i = 0; i < world->node_count && world->failure[0] == '\0'; i++) {
		if (world->nodes[i].region == region)
			insist(world, CHANGE_NODE_REMOVE, world->nodes[i].id, 0);
	}
	if (!region_change(world, CHANGE_REGION_REMOVE, region, 0, STATUS_OK) ||
		!region_change(world, CHANGE_REGION_REMOVE, region, 0, STATUS_NOT_FOUND))
		return;
	world->stats.faults++;
	world->stats.removals++;
	began_ns = world->now_ns;
	story_wait_ms(world, 45000);
	if (world->failure[0] == '\0' && story_succeeded_since(world, began_ns) == 0)
		world_fail(world, "nothing succeeds without a region");
	if (world->failure[0] == '\0')
		check_distances(world, before_us);
	region_change(world, CHANGE_REGION_ADD, region, 0, STATUS_OK);
	for (unsigned round = 0; round < 30 && world->failure[0] == '\0'; round++) {
		story_wait_ms(world, 1000);
		drains_replace(world);
		found_joins(world);
	}
	story_wait_ms(world, 45000);
	if (world->failure[0] == '\0')
		check_distances(world, before_us);
	world->silent = 0;
}

/* How many replicas of the world's policies are wanted on the node. */
static unsigned carried(const struct cluster_map *map, uint64_t node)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < map->shard_count; i++)
		count += map_replica_on(map->shards[i].wanted, map->shards[i].wanted_count, node) != NULL;
	return count;
}

/* Nodes are emptied, one a region at most, and had back; while what they carry is levelled, one of them loses power and
 * another operator cancels it or asks for it again. In the end nobody is left without. */
static void play_levelled(struct world *world)
{
	const unsigned regions = world->knobs.regions, crashes = (unsigned)(world->seed % regions);
	const struct cluster_map *map;

	world->stats.faults++;
	story_wait_ms(world, 3000);
	for (unsigned i = 0; i < regions && world->failure[0] == '\0'; i++) {
		insist(world, CHANGE_NODE_STATE, world->nodes[i].id, NODE_DRAINING);
		story_wait_ms(world, 8000);
		insist(world, CHANGE_NODE_STATE, world->nodes[i].id, NODE_ACTIVE);
	}
	story_wait_ms(world, 3000);
	drains_level(world);
	story_wait_ms(world, 100 + world->seed % 7 * 100);
	node_crash(world, crashes, world->seed % 2 == 0);
	if (world->seed % 3 == 0)
		drains_cancel(world);
	else
		drains_level(world);
	story_wait_ms(world, 4000);
	node_start(world, crashes);
	story_wait_ms(world, 20000);
	insist(world, CHANGE_REBALANCE, 0, 0);
	story_wait_ms(world, 20000);
	insist(world, CHANGE_REBALANCE, 0, 0); /* what was on its way when it was asked for before */
	for (unsigned i = 0; i < world->node_count && world->failure[0] == '\0'; i++) {
		map = node_map(world->nodes[i].node);
		for (unsigned j = 0; j < regions; j++)
			if (carried(map, world->nodes[j].id) == 0)
				world_fail(world, "node %u was levelled and carries nothing", j);
	}
}

static void levelled(struct world_knobs *knobs)
{
	story_calm(knobs);
	knobs->nodes_per_region = 2;
	knobs->drains = true;
	knobs->disk_full = false;
}

static const struct scenario scenarios[] = {
	{ "drains", "nodes are drained, had back, decommissioned and replaced in the midst of faults", story_drained,
		play_drains },
	{ "rehomed-drains", "bindings take keys along while policies move and nodes are drained and go",
		drained_rebinding, story_rehomed_drains },
	{ "levelled",
		"what nodes carry is levelled under load, one of them loses power, and somebody cancels it or not",
		levelled, play_levelled },
	{ "away", "all others are replaced while a node is down", replaced, play_away },
	{ "region-gone", "a region is emptied, removed from the map and registered again, under load", region_gone,
		play_region_gone },
	{ "fenced", "a region that lives is declared lost, and readmitted", fenced, play_fence },
	{ "readmitted", "a region that was lost leads meta, and somebody has not heard that it is back", fenced,
		play_readmitted },
};
const struct stories stories_drains = { scenarios, sizeof(scenarios) / sizeof(scenarios[0]) };
