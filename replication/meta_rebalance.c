/* replication/meta_rebalance.c: what nodes carry is levelled, when an administrator says so. Which replicas move is
 * policy/level.h's answer; here it becomes one operation, which goes on as a drain does: who comes catches up, before
 * who goes leaves. */
#include "replication/meta_internal.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"
#include "policy/level.h"

/* Is a shard of one of the moves before. */
static bool moved_before(const struct level_plan *plan, uint32_t at)
{
	for (uint32_t i = 0; i < at; i++)
		if (plan->moves[i].shard == plan->moves[at].shard)
			return true;
	return false;
}

/* Where the shard is when all of its moves are made. The same nodes as before: they have only gone round. */
static bool placement_after(
	const struct cluster_map *map, const struct level_plan *plan, uint32_t at, struct placement *placement)
{
	const struct map_shard *shard = &map->shards[plan->moves[at].shard];
	uint64_t nodes[REPLICAS_MAX];
	bool differs = false;
	for (unsigned i = 0; i < shard->wanted_count; i++)
		nodes[i] = shard->wanted[i].node;
	for (uint32_t i = at; i < plan->count; i++) {
		const struct level_move *move = &plan->moves[i];
		if (move->shard != plan->moves[at].shard)
			continue;
		assert(nodes[move->replica] == move->from);
		nodes[move->replica] = move->to;
	}
	*placement = (struct placement){ 0 };
	for (unsigned i = 0; i < shard->wanted_count; i++) {
		differs |= !map_replica_on(shard->wanted, shard->wanted_count, nodes[i]);
		if (shard->wanted[i].role == ROLE_WITNESS)
			placement->witness = nodes[i];
		else
			placement->nodes[placement->count++] = nodes[i];
	}
	return differs;
}

static unsigned newcomers(const struct map_shard *shard, const struct placement *placement)
{
	struct map_replica wanted[REPLICAS_MAX];
	const uint8_t count = placement_replicas(placement, wanted);
	unsigned come = 0;
	for (unsigned i = 0; i < count; i++)
		come += map_replica_on(shard->wanted, shard->wanted_count, wanted[i].node) == NULL;
	return come;
}

/* For whoever asks again, or did not hear the answer, and wants to wait. 0: none runs. */
static uint64_t still_levelling(const struct cluster_map *map)
{
	for (uint32_t i = map->operation_count; i > 0; i--)
		if (map->operations[i - 1].kind == OPERATION_REBALANCE &&
			map->operations[i - 1].state == OPERATION_RUNNING)
			return map->operations[i - 1].id;
	return 0;
}

static void say(struct map_operation *operation, uint32_t replicas, bool complete)
{
	struct text text;
	text_init(&text, operation->text, sizeof(operation->text));
	text_add_u64(&text, replicas);
	text_add(&text, replicas == 1 ? " replica of " : " replicas of ");
	text_add_u64(&text, operation->steps);
	text_add(&text, operation->steps == 1 ? " shard" : " shards");
	text_add(&text, replicas == 1 ? " moves" : " move");
	text_add(&text, " so that nodes carry alike");
	if (!complete)
		text_add(&text, "; more may have to: rebalance again when this is done");
}

bool meta_apply_rebalance(
	struct cluster_map *map, const struct change *change, struct meta_result *result, bool *changed)
{
	struct level_plan plan;
	struct placement placement;
	struct map_operation *operation = NULL;
	uint32_t replicas = 0;
	level_plan(map, &plan);
	*changed = plan.count > 0;
	if (plan.count > 0 && meta_operations_free(map) == 0)
		return meta_refuse(result, STATUS_CONFLICT, 0, TEXTS("too many operations are running"),
			TEXTS("wait until some are done: domctl operation list"));
	if (plan.count == 0)
		result->id = still_levelling(map);
	if (change->dry_run)
		return true;
	/* Positions in map->shards stay: only where shards are wanted changes. */
	for (uint32_t i = 0; i < plan.count; i++) {
		struct map_shard *shard = &map->shards[plan.moves[i].shard];
		if (moved_before(&plan, i) || !placement_after(map, &plan, i, &placement))
			continue;
		assert(shard->operation == 0);
		replicas += newcomers(shard, &placement);
		if (!operation)
			operation = meta_operation_begin(map, OPERATION_REBALANCE, 0, 0, change->now_us);
		meta_shard_want(map, shard, &placement);
		meta_operation_add_shard(operation, shard->id);
		shard->operation = operation->id;
	}
	*changed = operation != NULL;
	if (!operation)
		return true;
	say(operation, replicas, plan.complete);
	result->id = operation->id;
	return true;
}
