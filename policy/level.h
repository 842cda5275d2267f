/* policy/level.h: which replicas to move so that nodes carry alike, as far as the policies let them. A pure function
 * from the map to moves; nothing is weighed but how many replicas are wanted on a node: the map knows no bytes.
 * Deterministic. */
#ifndef DOMICILE_POLICY_LEVEL_H
#define DOMICILE_POLICY_LEVEL_H

#include "policy/map.h"

enum { LEVEL_MOVES_MAX = 256 };

struct level_move {
	uint32_t shard;	   /* position in map->shards */
	uint8_t replica;   /* position in the shard's wanted replicas */
	uint64_t from, to; /* nodes */
};
struct level_plan {
	uint32_t count;
	struct level_move
		moves[LEVEL_MOVES_MAX]; /* each as the ones before it leave the map; a shard may be in several */
	bool complete; /* no further move makes two nodes more alike; else there was no more room, or time, to look */
};

/* One replica after the other, from a node that carries at least two more than the one that it goes to, the widest
 * gaps first (within a quarter). Copies and witnesses are levelled each by themselves. Where placement would put the
 * replica as well (rules, zones, the best rank of lead_in), and nothing else moves it: not of a shard that is moved,
 * split or merged, or that names a node that takes no replica or is away; nor the one that an administrator wants to
 * lead. Of equal moves the shorter way: within a zone, within a region, and rather not who stands first to lead. */
void level_plan(const struct cluster_map *map, struct level_plan *plan);

#endif
