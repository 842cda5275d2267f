/* policy/plan.h: what a change of rules would come to, for who wants to see it before: the name of a plan, by which
 * `policy apply --plan` is refused when the world has moved on, and what is expected of shards where they would be.
 * What would be moved is no arithmetic of its own: meta applies the change to a copy of the map (server/plan.c). Pure.
 */
#ifndef DOMICILE_POLICY_PLAN_H
#define DOMICILE_POLICY_PLAN_H

#include "policy/change.h"

/* Names the outcome of a change of rules: a digest of what it says (policies in their order and bindings, not their
 * lines in a file) and of all in the map that decides on where copies go: the places, tags and states of regions, the
 * nodes and theirs, all policies and bindings, where each shard is wanted, and where the copies of the policies that
 * the change names are. The same id is the same outcome. Never 0. What has no say does not count: addresses, leaders,
 * the epoch, meta's own voters, moves of other policies. Meta's replicas decide by it alike: what goes into it changes
 * with the format of a change. */
uint64_t plan_id(const struct cluster_map *map, const struct change *change);

/* The node that is to lead the shard when its copies are where it is wanted: an administrator's choice, else the best
 * place of lead_in, and of equals `leader`, who leads now (0: nobody known). Where the leader follows the writers, it
 * is `leader` as long as it may. */
uint64_t plan_leader(
	const struct cluster_map *map, const struct policy *policy, const struct map_shard *shard, uint64_t leader);

/* The widest loss that these replicas survive under the policy; *sound: each set that elects meets each that commits.
 */
enum survive plan_survives(const struct cluster_map *map, const struct policy *policy,
	const struct map_replica replicas[], uint8_t count, bool *sound);

#endif
