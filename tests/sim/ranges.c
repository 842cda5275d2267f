#include "tests/sim/ranges.h"

#include <string.h>

#include "policy/change.h"
#include "server/node_internal.h"
#include "tests/sim/found.h"
#include "tests/sim/load.h"

enum { SHARDS_MANY = 14 }; /* of one policy: then rather merge */

static bool running;

static bool alike(const struct map_shard *a, const struct map_shard *b)
{
	if (a->policy != b->policy || map_shard_empty(a) || map_shard_empty(b) || a->wanted_count != b->wanted_count)
		return false;
	for (unsigned i = 0; i < a->wanted_count; i++) {
		if (map_replica_on(b->wanted, b->wanted_count, a->wanted[i].node) == NULL)
			return false;
	}
	return true;
}

/* The next shard or the one before, rather one on the same nodes; the other one is refused. */
static const struct map_shard *neighbour_of(const struct cluster_map *map, const struct map_shard *shard, bool before)
{
	uint32_t at = (uint32_t)(shard - map->shards);
	const struct map_shard *next = at + 1 < map->shard_count ? shard + 1 : NULL;
	const struct map_shard *last = at > 0 ? shard - 1 : NULL;

	if (next != NULL && !alike(shard, next) && last != NULL && alike(shard, last))
		return last;
	if (last != NULL && !alike(shard, last) && next != NULL && alike(shard, next))
		return next;
	return before ? last : next;
}

void ranges_change(struct world *world)
{
	struct change change = { .kind = CHANGE_SHARD_SPLIT };
	const struct cluster_map *map = world_newest_map(world);
	const struct map_binding *binding;
	const struct map_shard *shard, *other;
	unsigned count = 0;
	char text[64];

	load_key_text(world, (unsigned)prng_below(&world->ranges, 2 * world->knobs.keys), text);
	binding = map == NULL ? NULL : map_binding_of(map, bytes_text(text));
	shard = binding == NULL ? NULL : map_shard_of(map, binding->policy, bytes_text(text));
	if (shard == NULL)
		return;
	for (uint32_t i = 0; i < map->shard_count; i++)
		count += map->shards[i].policy == shard->policy;
	change.shard = shard->id;
	if (prng_below(&world->ranges, 10) < (count > SHARDS_MANY ? 8 : count > SHARDS_PER_POLICY ? 5 : 2)) {
		other = neighbour_of(map, shard, prng_below(&world->ranges, 2) == 0);
		if (other == NULL)
			return;
		change.kind = CHANGE_SHARD_MERGE;
		change.merged = other->id;
		if (prng_below(&world->ranges, 2) == 0) {
			change.shard = other->id;
			change.merged = shard->id;
		}
	}
	found_change_async(world, &change);
	if (change.kind == CHANGE_SHARD_SPLIT)
		world_log(world, "shard %llx is to be split", (unsigned long long)change.shard);
	else
		world_log(world, "shard %llx is to go into %llx", (unsigned long long)change.merged,
			(unsigned long long)change.shard);
	world->stats.ranges++;
	world->stats.faults++;
}

static void on_change(struct world *world, void *arg, uint64_t value, struct buffer *bytes)
{
	(void)arg;
	(void)value;
	(void)bytes;
	if (!running)
		return;
	ranges_change(world);
	world_at(world, world->now_ns + WORLD_SECOND / 4 + prng_below(&world->ranges, 4 * (uint64_t)WORLD_SECOND),
		on_change, NULL, 0, NULL);
}

void ranges_start(struct world *world)
{
	running = true;
	world_at(world, world->now_ns + WORLD_SECOND, on_change, NULL, 0, NULL);
}

void ranges_stop(struct world *world)
{
	(void)world;
	running = false;
}

unsigned ranges_done(const struct world *world, uint8_t kind)
{
	const struct cluster_map *map = world_newest_map(world);
	unsigned count = 0;

	for (uint32_t i = 0; map != NULL && i < map->operation_count; i++)
		count += map->operations[i].kind == kind && map->operations[i].state == OPERATION_DONE;
	return count;
}
