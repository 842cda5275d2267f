/* tests/sim/story_leads.c: scenarios (tests/sim/scenarios.h): who leads, and where. */
#include "tests/sim/story.h"

#include <string.h>

#include "policy/paths.h"
#include "server/group_driver.h"
#include "server/node_internal.h"
#include "tests/sim/engine_model.h"
#include "tests/sim/load.h"

static void compacting(struct world_knobs *knobs)
{
	story_calm(knobs);
	knobs->compactions = true;
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
		story_name_leader(world, map->shards[i].id, world->nodes[0].id);
		story_wait_ms(world, 100);
	}
	for (unsigned round = 0; round < 10 && world->failure[0] == '\0'; round++) {
		story_wait_ms(world, 10000);
		for (uint32_t i = 0; i < map->shard_count; i++)
			before[i] = term_of(world, map->shards[i].id);
		found += engine_model_damage(world->nodes[0].dir, &world->faults);
		world->stats.damages++;
		story_wait_ms(world, 20000);
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

static void play_transfers(struct world *world)
{
	for (unsigned round = 0; round < 60 && world->failure[0] == '\0'; round++) {
		const struct cluster_map *map = world->nodes[round % world->node_count].node == NULL
							? NULL
							: node_map(world->nodes[round % world->node_count].node);

		if (map == NULL || map->shard_count == 0)
			continue;
		story_name_leader(world, map->shards[round % map->shard_count].id,
			world->nodes[(round / 3) % world->node_count].id);
		story_wait_ms(world, 900);
		if (round % 7 == 6) {
			story_kill(world, round % world->node_count, false);
			story_wait_ms(world, 200);
			story_start(world, round % world->node_count);
		}
	}
}

static void followed(struct world_knobs *knobs)
{
	story_five_regions(knobs);
	knobs->follow = knobs->wide = true;
	knobs->keys = 4;
	knobs->clients_per_region = 1;
	knobs->jitter_percent = 2;
	knobs->support_us = 1500000;
	knobs->heartbeat_us = 150000;
}

/* Plays on for so long and counts how often leaders of the world's shards changed. */
static unsigned leaders_changed(struct world *world, unsigned seconds)
{
	static int before[MAP_SHARDS_MAX];
	const struct cluster_map *map = node_map(world->nodes[0].node);
	unsigned moves = 0;

	for (uint32_t i = 0; i < map->shard_count; i++)
		before[i] = story_leader_slot_of(world, map->shards[i].id);
	for (unsigned tenth = 0; tenth < 10 * seconds && world->failure[0] == '\0'; tenth++) {
		story_wait_ms(world, 100);
		for (uint32_t i = 0; i < map->shard_count; i++) {
			int now = story_of_world(map, &map->shards[i]) ? story_leader_slot_of(world, map->shards[i].id)
								       : -1;

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
		int slot = story_of_world(map, &map->shards[i]) ? story_leader_slot_of(world, map->shards[i].id) : -1;
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

static const struct scenario scenarios[] = {
	{ "named-damaged", "an engine is damaged where a shard is to be led", compacting, play_named_damaged },
	{ "transfers", "leaders are asked to hand over, and crash", story_lossy, play_transfers },
	{ "follow", "leaders follow writers who move, and not those who come and go", followed, play_follow },
};
const struct stories stories_leads = { scenarios, sizeof(scenarios) / sizeof(scenarios[0]) };
