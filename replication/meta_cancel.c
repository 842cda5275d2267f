/* replication/meta_cancel.c: operations that an administrator ends before they are done.
 *
 * What a move has not brought to where it was wanted goes back to where it was, if the rules in force and the nodes
 * there allow it: as what is drained, or placed, only the other way, so it takes its time too. What may not go back
 * goes on. So it is with what was levelled. A drain that is cancelled is none any more: its node, or region, is had
 * back. When the last shard is in its place, the operation has failed, and is marked as cancelled.
 *
 * A policy that has changed is in force at once, and copies follow it: they do not go back while it says otherwise. A
 * binding, or a shard, is as before at once, until the switch; from there on it only goes forward. */
#include "replication/meta_internal.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"

/* --- moves ------------------------------------------------------------------------------------------------ */

/* Where the shard was before it was to move: its voters and its witness, as last reported. False: they may not all stay
 * there, by the policy as it is now, or since a node there takes no replicas any more. */
static bool placement_before(const struct cluster_map *map, const struct map_shard *shard, struct placement *placement)
{
	const struct policy *policy = map_policy_find(map, shard->policy);
	struct map_shard before = *shard;
	struct flaw flaw;
	before.replica_count = 0;
	for (unsigned i = 0; i < shard->member_count; i++)
		if (shard->replicas[i].role != ROLE_LEARNER)
			before.replicas[before.replica_count++] = shard->replicas[i];
	before.wanted_count = before.replica_count;
	memcpy(before.wanted, before.replicas, sizeof(before.wanted));
	assert(policy);
	if (!placement_choose(map, policy, &before, placement, &flaw))
		return false;
	/* It moves nobody without need. */
	struct map_replica chosen[REPLICAS_MAX];
	const uint8_t count = placement_replicas(placement, chosen);
	for (unsigned i = 0; i < count; i++)
		if (!map_replica_on(before.replicas, before.replica_count, chosen[i].node))
			return false;
	return count == before.replica_count;
}

/* It can be there again, and what it was on the way to can be remembered. */
static bool returns(const struct cluster_map *map, const struct map_shard *shard, struct placement *placement)
{
	return meta_shard_turns(shard) && placement_before(map, shard, placement);
}

static void go_back(struct cluster_map *map, struct map_operation *operation)
{
	struct placement placement;
	unsigned back = 0, on = 0;
	for (uint32_t i = 0; i < map->shard_count; i++) {
		struct map_shard *shard = &map->shards[i];
		if (shard->operation != operation->id)
			continue;
		const bool may = returns(map, shard, &placement);
		if (may)
			meta_shard_want(map, shard, &placement);
		back += may;
		on += !may;
	}
	operation->cancelled = true;
	struct text text;
	const size_t said = strlen(operation->text);
	text_init(&text, operation->text + said, sizeof(operation->text) - said);
	text_add(&text, "; cancelled: ");
	text_add_u64(&text, back);
	text_add(&text, " of those that had not come to where they were to be go back");
	if (on > 0) {
		text_add(&text, ", ");
		text_add_u64(&text, on);
		text_add(&text, " may not and go on");
	}
}

static bool cancel_place(
	struct cluster_map *map, struct map_operation *operation, bool dry_run, struct meta_result *result)
{
	struct placement placement;
	for (uint32_t i = 0; i < map->shard_count; i++)
		if (map->shards[i].operation == operation->id && !returns(map, &map->shards[i], &placement))
			return meta_refuse(result, STATUS_CONFLICT, 0,
				TEXTS("shard ", meta_number(map->shards[i].id).text,
					" may not be where it was any more, by its policy or since a node there "
					"takes no replicas"),
				TEXTS("let it go on: domctl operation wait ", meta_number(operation->id).text,
					"; or drain the node that it shall not go to"));
	if (!dry_run)
		go_back(map, operation);
	return true;
}

static bool cancel_drain(
	struct cluster_map *map, struct map_operation *operation, bool dry_run, struct meta_result *result)
{
	struct map_node *node = meta_node(map, operation->node);
	struct map_region *region = operation->node == 0 ? &map->regions[operation->region] : NULL;
	if (region && region->state == REGION_FENCED)
		return meta_refuse(result, STATUS_CONFLICT, 0,
			TEXTS("region ", region->site.place.text, " is declared lost, and what was there is replaced"),
			TEXTS("if it lives, have it back first: domctl region readmit ", region->name));
	if (dry_run)
		return true;
	const bool changes = region ? region->state == REGION_DRAINING : node && node->state == NODE_DRAINING;
	if (changes && region)
		region->state = REGION_ACTIVE;
	else if (changes)
		node->state = NODE_ACTIVE;
	if (changes)
		meta_voters_choose(map);
	go_back(map, operation);
	return true;
}

/* --- all kinds ---------------------------------------------------------------------------------------------- */

static bool refuse_policy(
	const struct cluster_map *map, const struct map_operation *operation, struct meta_result *result)
{
	const struct policy *policy = map_policy_find(map, operation->policy);
	uint64_t before = 0; /* the rules that were in force last */
	for (uint32_t i = 0; i < map->version_count; i++)
		if (map->versions[i].rules.id == operation->policy)
			before = map->versions[i].rules.epoch;
	assert(policy);
	return meta_refuse(result, STATUS_CONFLICT, 0,
		TEXTS("policy ", policy->name, " as it was changed is in force, and its copies go where it wants them"),
		TEXTS("take the change back, while they move or later: domctl policy rollback ", policy->name, " --to ",
			before != 0 ? meta_number(before).text : "EPOCH"));
}

static bool cancel_keys(struct cluster_map *map, struct map_operation *operation, const struct change *change,
	struct meta_result *result)
{
	if (operation->phase == PHASE_ABORT)
		return meta_refuse(result, STATUS_CONFLICT, 0,
			TEXTS("it is given up already, and what was copied is being removed"),
			TEXTS("wait until it is: domctl operation wait ", meta_number(operation->id).text));
	if (operation->phase >= PHASE_PURGE)
		return meta_refuse(result, STATUS_CONFLICT, 0,
			TEXTS("its keys live where they were to go, and it only goes forward"),
			TEXTS("wait until it is done, then move them back: domctl operation wait ",
				meta_number(operation->id).text));
	if (change->dry_run)
		return true;
	operation->cancelled = true;
	bool cancelled = meta_rebind_cancel(map, operation, change->now_us);
	assert(cancelled);
	return true;
}

bool meta_apply_cancel(struct cluster_map *map, const struct change *change, struct meta_result *result, bool *changed)
{
	struct map_operation *operation = meta_operation(map, change->operation);
	if (!operation)
		return meta_refuse(result, STATUS_NOT_FOUND, 0,
			TEXTS("there is no operation ", meta_number(change->operation).text),
			TEXTS("domctl operation list shows those there are"));
	result->id = operation->id;
	*changed = !operation->cancelled;
	if (operation->cancelled)
		return true;
	if (operation->state != OPERATION_RUNNING)
		return meta_refuse(result, STATUS_CONFLICT, 0,
			TEXTS("operation ", meta_number(operation->id).text,
				operation->state == OPERATION_DONE ? " is done" : " has failed", " already"),
			TEXTS("domctl operation show ", meta_number(operation->id).text, " says what it did"));
	switch ((enum operation_kind)operation->kind) {
	case OPERATION_POLICY:
		return refuse_policy(map, operation, result);
	case OPERATION_BINDING:
	case OPERATION_SPLIT:
	case OPERATION_MERGE:
		return cancel_keys(map, operation, change, result);
	case OPERATION_PLACE:
		return cancel_place(map, operation, change->dry_run, result);
	case OPERATION_REBALANCE: /* what may not go back goes on: nobody asked for a place */
		if (!change->dry_run)
			go_back(map, operation);
		return true;
	case OPERATION_DRAIN:
		return cancel_drain(map, operation, change->dry_run, result);
	}
	assert(false); /* the map has no other */
	return false;
}
