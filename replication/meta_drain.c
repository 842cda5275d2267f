/* replication/meta_drain.c: nodes and regions that are drained: their state, the replicas that have to leave them, and
 * meta's own voters, which leave too.
 *
 * A state is tried before it is taken: it is set, the policies of all that would have to move are placed on the nodes
 * that are left, and it is set back when one of them has no place there, or when it was only asked.
 *
 * A shard that an operation moves already goes elsewhere within that operation: so a move to a node that is lost ends,
 * once the node is drained. */
#include "replication/meta_internal.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"

enum { META_VOTERS_MAX = 5 };

/* --- meta's voters -------------------------------------------------------------------------------------------- */

static unsigned voters_in(const struct cluster_map *map, uint32_t region)
{
	unsigned count = 0;
	for (uint32_t i = 0; i < map->node_count; i++)
		count += map->nodes[i].region == region && map->nodes[i].meta_voter;
	return count;
}

/* The first node that may become a voter, of the region that has the fewest; *there is how many. NULL: none. */
static struct map_node *next_voter(struct cluster_map *map, unsigned *there)
{
	struct map_node *next = NULL;
	for (uint32_t i = 0; i < map->node_count; i++) {
		struct map_node *node = &map->nodes[i];
		if (node->meta_voter || !map_node_takes_replicas(map, node))
			continue;
		unsigned voters = voters_in(map, node->region);
		bool region_first = next && voters == *there && node->region < next->region;
		if (next && voters >= *there && !region_first)
			continue;
		next = node;
		*there = voters;
	}
	return next;
}

/* The younger of two voters in one region; NULL: every voter has its own. */
static struct map_node *second_voter(struct cluster_map *map)
{
	for (uint32_t i = map->node_count; i > 0; i--)
		for (uint32_t j = 0; j + 1 < i; j++)
			if (map->nodes[i - 1].meta_voter && map->nodes[j].meta_voter &&
				map->nodes[i - 1].region == map->nodes[j].region)
				return &map->nodes[i - 1];
	return NULL;
}

/* Odd, at most five, on nodes that take replicas; one a region before a region gets its second. Their number grows by
 * two when two more regions have a node, and shrinks by two only when too few nodes are left. */
void meta_voters_choose(struct cluster_map *map)
{
	unsigned wanted = 0, voters = 0;
	for (uint32_t i = 0; i < map->node_count; i++) {
		struct map_node *node = &map->nodes[i];
		wanted += node->meta_voter;
		node->meta_voter = node->meta_voter && map_node_takes_replicas(map, node);
		voters += node->meta_voter;
	}
	assert(wanted % 2 == 1);
	assert(wanted <= META_VOTERS_MAX);
	struct map_node *one, *two;
	unsigned there;
	for (; voters < wanted && (one = next_voter(map, &there)); voters++)
		one->meta_voter = true;
	while ((two = second_voter(map)) && (one = next_voter(map, &there)) && there == 0) {
		two->meta_voter = false;
		one->meta_voter = true;
	}
	while (voters + 2 <= META_VOTERS_MAX && (one = next_voter(map, &there)) && there == 0) {
		one->meta_voter = true;
		two = next_voter(map, &there);
		one->meta_voter = two && there == 0;
		if (!one->meta_voter)
			break;
		two->meta_voter = true;
		voters += 2;
	}
	if (voters % 2 == 0) {
		one = second_voter(map);
		for (uint32_t i = map->node_count; !one && i > 0; i--)
			one = map->nodes[i - 1].meta_voter ? &map->nodes[i - 1] : NULL;
		assert(one);
		one->meta_voter = false;
		voters--;
	}
	assert(voters > 0);
}

/* --- what has to move ------------------------------------------------------------------------------------------- */

/* A replica of it is wanted on a node that takes none: on one that is only lost, since its region is fenced, or on one
 * that is drained, be it in a fenced region too: then nobody has to ask again before the region can be had back. */
static bool wanted_on(const struct cluster_map *map, const struct map_shard *shard, bool lost)
{
	for (unsigned i = 0; i < shard->wanted_count; i++) {
		const struct map_node *node = map_node_find(map, shard->wanted[i].node);
		bool only_lost = map_node_fenced(map, node->id) && node->state < NODE_DRAINING;
		if (!map_node_takes_replicas(map, node) && only_lost == lost)
			return true;
	}
	return false;
}

static bool has_witness(const struct map_replica replicas[], unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (replicas[i].role == ROLE_WITNESS)
			return true;
	return false;
}

/* A copy does not become a witness, nor the other way round: so with witnesses each shard is asked, as it is now. */
static bool placeable(const struct cluster_map *map, const struct policy *policy, const struct map_shard *shard,
	struct meta_result *result)
{
	struct placement placement;
	return (policy->witness_in.count == 0 && !has_witness(shard->replicas, shard->replica_count) &&
		       !has_witness(shard->wanted, shard->wanted_count)) ||
	       placement_choose(map, policy, shard, &placement, &result->flaw);
}

/* What has to leave leaves. What was on lost nodes is placed anew where that is possible: where it is not, or not yet,
 * it counts as down. */
static bool moves(const struct cluster_map *map, const struct map_shard *shard, uint32_t operations_free)
{
	const struct policy *policy = map_policy_find(map, shard->policy);
	struct meta_result judged = { 0 };
	if (wanted_on(map, shard, false))
		return true;
	return wanted_on(map, shard, true) && (shard->operation == 0 ? operations_free > 0 : meta_shard_turns(shard)) &&
	       meta_policy_placeable(map, policy, &judged) && placeable(map, policy, shard, &judged);
}

/* The policy's own reason, in a sentence about what was asked. */
static bool refuse_placeless(struct meta_result *result, const char *what, const struct policy *policy)
{
	struct flaw flaw = result->flaw;
	return meta_refuse(result, STATUS_RESIDENCY_REFUSED, 0,
		TEXTS("without ", what, " the copies of policy ", policy->name, " have no place: ", flaw.reason),
		TEXTS(flaw.cure, "; or drain it of leads only"));
}

/* Meta can be had back from a region that nobody listens to only by those of its voters that are elsewhere. They are
 * asked by where they were reported and by where they go: between two reports meta is in one of them, or in both. */
static bool judge_meta(const struct cluster_map *map, const char *what, struct meta_result *result)
{
	unsigned voters[2] = { 0 }, heard[2] = { 0 };
	for (uint32_t i = 0; i < map->node_count; i++) {
		const struct map_node *node = &map->nodes[i];
		const bool counts = !map_node_fenced(map, node->id), in[2] = { node->meta_voting, node->meta_voter };
		for (unsigned j = 0; j < 2; j++) {
			voters[j] += in[j];
			heard[j] += in[j] && counts;
		}
	}
	if (2 * heard[0] > voters[0] && 2 * heard[1] > voters[1])
		return true;
	return meta_refuse(result, STATUS_CONFLICT, 0,
		TEXTS("with ", what,
			" fenced, nobody would listen to a majority of meta's voters, and nothing could be "
			"changed ever again"),
		TEXTS("drain it instead, or wait until meta's voters are elsewhere: domctl node list"));
}

/* On the map as it would be. */
static bool judge_moves(const struct cluster_map *map, const char *what, struct meta_result *result)
{
	bool anybody = false;
	for (uint32_t i = 0; i < map->node_count; i++)
		anybody |= map_node_takes_replicas(map, &map->nodes[i]);
	if (!anybody)
		return meta_refuse(result, STATUS_CONFLICT, 0,
			TEXTS("without ", what, " there is no node that carries meta"),
			TEXTS("start another node first"));
	const struct policy *judged = NULL;
	for (uint32_t i = 0; i < map->shard_count; i++) {
		const struct map_shard *shard = &map->shards[i];
		if (!wanted_on(map, shard, false))
			continue;
		if (shard->operation != 0 && !meta_shard_turns(shard))
			return meta_refuse_running(result, shard->operation, 0,
				TEXTS("operation ", meta_number(shard->operation).text, " moves shard ",
					meta_number(shard->id).text,
					" of it, and too many of its replicas come and go already"));
		if (shard->operation == 0 && meta_operations_free(map) == 0)
			return meta_refuse(result, STATUS_CONFLICT, 0, TEXTS("too many operations are running"),
				TEXTS("wait until some are done: domctl operation list"));
		const struct policy *policy = map_policy_find(map, shard->policy);
		assert(policy);
		if (policy != judged && !meta_policy_placeable(map, policy, result))
			return refuse_placeless(result, what, policy);
		judged = policy;
		if (!placeable(map, policy, shard, result))
			return refuse_placeless(result, what, policy);
	}
	return true;
}

/* What is left, for who cancels it. */
static void drain_of(const struct cluster_map *map, const struct change *change, struct map_operation *operation)
{
	const struct map_region *region =
		change->kind == CHANGE_REGION_STATE ? map_region_find(map, change->name) : NULL;
	operation->node = region ? 0 : change->target_node;
	operation->region = region ? (uint16_t)(region - map->regions) : 0;
}

/* All that moves, in one operation, but for what another one moves. Its id; 0: there is none. *turned: that other one
 * goes elsewhere. */
static uint64_t begin_moves(struct cluster_map *map, const char *what, const struct change *change, bool *turned)
{
	struct map_operation *operation = NULL;
	uint32_t operations_free = meta_operations_free(map);
	for (uint32_t i = 0; i < map->shard_count; i++) {
		struct map_shard *shard = &map->shards[i];
		if (!moves(map, shard, operations_free))
			continue;
		const struct policy *policy = map_policy_find(map, shard->policy);
		struct placement placement = meta_shard_placement(map, policy, shard);
		bool differs = meta_shard_want(map, shard, &placement);
		assert(differs);
		*turned |= shard->operation != 0;
		if (shard->operation != 0)
			continue;
		if (!operation) {
			operation = meta_operation_begin(map, OPERATION_DRAIN, 0, 0, change->now_us);
			drain_of(map, change, operation);
		}
		meta_operation_add_shard(operation, shard->id);
		shard->operation = operation->id;
	}
	if (!operation)
		return 0;
	meta_join(operation->text, sizeof(operation->text),
		TEXTS(meta_number(operation->steps).text, operation->steps == 1 ? " shard leaves " : " shards leave ",
			what));
	return operation->id;
}

/* --- changes ------------------------------------------------------------------------------------------------------ */

/* For whoever asks again, or did not hear the answer, and wants to wait: an operation that moves a shard off a node
 * that is meant. 0: none does. */
static uint64_t still_moving(const struct cluster_map *map, const struct change *change)
{
	const struct map_region *region =
		change->kind == CHANGE_REGION_STATE ? map_region_find(map, change->name) : NULL;
	for (uint32_t i = 0; i < map->shard_count; i++) {
		const struct map_shard *shard = &map->shards[i];
		for (unsigned j = 0; shard->operation != 0 && j < shard->replica_count; j++) {
			const struct map_node *node = map_node_find(map, shard->replicas[j].node);
			bool meant = region ? &map->regions[node->region] == region : node->id == change->target_node;
			if (meant && !map_node_takes_replicas(map, node))
				return shard->operation;
		}
	}
	return 0;
}

/* The state at `state` becomes the wanted one, with all that follows, or stays. The same again moves what could not
 * move before. */
static bool take_state(struct cluster_map *map, const struct change *change, uint8_t *state, const char *what,
	struct meta_result *result, bool *changed)
{
	uint8_t before = *state;
	*changed = before != change->state;
	*state = change->state;
	bool fences = *changed && change->kind == CHANGE_REGION_STATE && change->state == REGION_FENCED;
	bool good = judge_moves(map, what, result) && (!fences || judge_meta(map, what, result));
	if (!good || change->dry_run) {
		*state = before;
		return good;
	}
	bool turned = false;
	const uint64_t begun = begin_moves(map, what, change, &turned);
	if (*changed)
		meta_voters_choose(map);
	*changed |= begun != 0 || turned;
	result->id = begun != 0 ? begun : still_moving(map, change);
	return true;
}

static bool refuse_state(struct meta_result *result)
{
	return meta_refuse(result, STATUS_INVALID, 0, TEXTS("a state that this version does not know"),
		TEXTS("upgrade this node"));
}

bool meta_apply_node_state(
	struct cluster_map *map, const struct change *change, struct meta_result *result, bool *changed)
{
	struct map_node *node = meta_node(map, change->target_node);
	if (!node)
		return meta_refuse_node(result, change->target_node);
	if (change->state > NODE_DRAINING)
		return refuse_state(result);
	if (node->state == NODE_GONE)
		return meta_refuse(result, STATUS_CONFLICT, 0, TEXTS(node->place.text, " was decommissioned"),
			TEXTS("start a node with an empty data directory there"));
	return take_state(map, change, &node->state, node->place.text, result, changed);
}

bool meta_apply_region_state(
	struct cluster_map *map, const struct change *change, struct meta_result *result, bool *changed)
{
	const struct map_region *found = map_region_find(map, change->name);
	if (!found)
		return meta_refuse(result, STATUS_NOT_FOUND, 0, TEXTS("there is no region ", change->name),
			TEXTS("domctl region list shows those there are"));
	if (change->state > REGION_FENCED)
		return refuse_state(result);
	struct map_region *region = &map->regions[found - map->regions];
	return take_state(map, change, &region->state, region->site.place.text, result, changed);
}

/* Its id is never given again, so what it says later is said by nobody. It is in the map until meta's membership is
 * without it: else nobody could tell it. */
bool meta_apply_node_remove(
	struct cluster_map *map, const struct change *change, struct meta_result *result, bool *changed)
{
	struct map_node *node = meta_node(map, change->target_node);
	if (!node)
		return meta_refuse_node(result, change->target_node);
	const char *place = node->place.text;
	if (map_node_takes_replicas(map, node))
		return meta_refuse(result, STATUS_CONFLICT, 0, TEXTS(place, " is not drained"),
			TEXTS("drain it first: domctl node drain ", place));
	const struct map_shard *shard = map_shard_on(map, node->id);
	if (shard)
		return meta_refuse(result, STATUS_CONFLICT, 0,
			TEXTS("shard ", meta_number(shard->id).text, " still has a replica on ", place),
			TEXTS("wait until it is drained: domctl operation list"));
	assert(!node->meta_voter); /* drained */
	if (node->meta_voting)
		return meta_refuse(result, STATUS_CONFLICT, 0, TEXTS(place, " still votes in meta"),
			TEXTS("wait until another node votes for it: domctl node list"));
	result->id = node->id;
	*changed = node->state != NODE_GONE;
	if (!change->dry_run)
		node->state = NODE_GONE;
	return true;
}

static void keep_former(struct cluster_map *map, const struct map_node *node, uint64_t now_us)
{
	if (map->former_max == 0)
		return;
	if (map->former_count == map->former_max)
		memmove(&map->formers[0], &map->formers[1], --map->former_count * sizeof(*map->formers));
	map->formers[map->former_count++] = (struct map_former){ .id = node->id,
		.incarnation = node->incarnation,
		.place = node->place,
		.ledger = node->ledger,
		.gone_us = now_us };
}

bool meta_forget_gone(struct cluster_map *map, const struct change *report)
{
	uint32_t kept = 0, count = map->node_count;
	for (uint32_t i = 0; i < count; i++) {
		const struct map_node *node = &map->nodes[i];
		bool member = false;
		for (unsigned j = 0; j < report->replica_count; j++)
			member |= report->replicas[j].node == node->id;
		if (node->state == NODE_GONE && !member) {
			if (!report->dry_run)
				keep_former(map, node, report->now_us);
			continue;
		}
		if (kept != i && !report->dry_run)
			map->nodes[kept] = *node;
		kept++;
	}
	if (!report->dry_run) {
		memset(&map->nodes[kept], 0, (count - kept) * sizeof(*map->nodes));
		map->node_count = kept;
	}
	return kept < count;
}
