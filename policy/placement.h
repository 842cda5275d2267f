/* policy/placement.h: a pure function from the map to a wanted replica set. It refuses what residency forbids and
 * never weakens a rule to find room: when durability and residency collide, residency wins. Deterministic. */
#ifndef DOMICILE_POLICY_PLACEMENT_H
#define DOMICILE_POLICY_PLACEMENT_H

#include "policy/map.h"

struct placement {
	uint8_t count;
	uint64_t nodes[REPLICAS_MAX]; /* voters; the first is in the best lead_in rank */
	uint64_t witness;	      /* a node in a region without a copy; 0: the policy has none */
};
/* The nodes for one more shard of this policy. Keeps as many of `current` as the policy allows (fewest moves), then
 * meets copy_in, spread and survive, then levels replica counts over nodes (by what the map holds). Nodes that are
 * being drained are not there for it; those that are away get nothing new that has another place. Exhaustive
 * within bounds, so that a satisfiable policy is never refused. With lead_in, one copy at least may lead; where the
 * spread leaves it open, zones are kept apart.
 * False: the flaw says which rule cannot be met, with what is there and what to change. */
bool placement_choose(const struct cluster_map *map, const struct policy *policy, const struct map_shard *current,
	struct placement *placement, struct flaw *flaw);

/* As members of a shard: the voters, then the witness. Returns how many; replica ids are left 0. */
uint8_t placement_replicas(const struct placement *placement, struct map_replica replicas[REPLICAS_MAX]);

/* A plain membership for these nodes under the policy: region and zone numbers, areas, rule. Replica ids are taken
 * from `replicas` (same order as nodes) when given, else 0. */
bool placement_membership(const struct cluster_map *map, const struct policy *policy,
	const struct map_replica *replicas, uint8_t count, struct membership *membership);

/* What each first member of a shard of generation 0 is born with: the same by every map that holds the shard, whatever
 * its policy has become since. */
bool placement_birth(const struct cluster_map *map, const struct map_shard *shard, struct membership *membership);

/* policy_tightens over the registered regions. */
bool placement_tightens(
	const struct cluster_map *map, const struct policy *inner, const struct policy *outer, struct flaw *flaw);

/* All checks that `policy apply` makes for one policy against this map: policy_check, placement, quorum_check of what
 * placement chose, tighten-only against the prefix bindings around and inside its own. An exact binding is
 * not seen here: the map does not know its key, so who makes it asks placement_tightens. */
bool policy_satisfiable(const struct cluster_map *map, const struct policy *policy, struct flaw *flaw);

#endif
