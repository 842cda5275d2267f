/* replication/meta_shards.c: operations; shards placed and led as an administrator says; what the leaders of shards
 * report. */
#include "replication/meta_internal.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

#include "base/text.h"

/* --- operations ------------------------------------------------------------------------------------------- */

bool meta_refuse_running(struct meta_result *result, uint64_t operation, uint32_t line, const char *const reason[])
{
	return meta_refuse(result, STATUS_CONFLICT, line, reason,
		TEXTS("wait until it is done: domctl operation wait ", meta_number(operation).text,
			"; or end it: domctl operation cancel ", meta_number(operation).text));
}

uint32_t meta_operations_free(const struct cluster_map *map)
{
	uint32_t running = 0;
	for (uint32_t i = 0; i < map->operation_count; i++)
		running += map->operations[i].state == OPERATION_RUNNING;
	return map->operation_max - running;
}

struct map_operation *meta_operation_begin(
	struct cluster_map *map, enum operation_kind kind, uint64_t policy, uint64_t binding_policy, uint64_t now_us)
{
	if (map->operation_count == map->operation_max) {
		uint32_t at = 0;
		while (at < map->operation_count && map->operations[at].state == OPERATION_RUNNING)
			at++;
		assert(at < map->operation_count);
		memmove(&map->operations[at], &map->operations[at + 1],
			(map->operation_count - at - 1) * sizeof(*map->operations));
		map->operation_count--;
	}
	struct map_operation *operation = &map->operations[map->operation_count++];
	memset(operation, 0, sizeof(*operation));
	operation->id = map->id_next++;
	operation->kind = (uint8_t)kind;
	operation->state = OPERATION_RUNNING;
	operation->policy = policy;
	operation->binding_policy = binding_policy;
	operation->started_us = now_us;
	return operation;
}

void meta_operation_add_shard(struct map_operation *operation, uint64_t shard)
{
	assert(operation->steps_done == 0);
	if (operation_lists_shards(operation->kind)) {
		assert(operation->steps < OPERATION_SHARDS_MAX);
		operation->shards_done[operation->steps] = shard;
	}
	operation->steps++;
}

static void operation_step_done(struct map_operation *operation, uint64_t now_us)
{
	operation->steps_done++;
	if (operation->steps_done < operation->steps)
		return;
	operation->state = OPERATION_DONE;
	operation->ended_us = now_us;
}

enum operation_step meta_operation_step(struct map_operation *operation, uint64_t shard, uint64_t now_us)
{
	assert(operation->state == OPERATION_RUNNING);
	assert(operation->steps_done < operation->steps);
	if (!operation_lists_shards(
		    operation->kind)) { /* who calls knows that it moves this one, and takes it off it */
		operation_step_done(operation, now_us);
		return STEP_TAKEN;
	}
	for (uint32_t i = 0; i < operation->steps; i++) {
		if (operation->shards_done[i] != shard)
			continue;
		if (i < operation->steps_done)
			return STEP_REPEATED;
		operation->shards_done[i] = operation->shards_done[operation->steps_done];
		operation->shards_done[operation->steps_done] = shard;
		operation_step_done(operation, now_us);
		return STEP_TAKEN;
	}
	return STEP_UNKNOWN;
}

void meta_operation_moved(struct map_operation *operation, uint64_t shard, uint64_t now_us)
{
	enum operation_step step = meta_operation_step(operation, shard, now_us);
	assert(!operation_moves_keys(operation->kind));
	assert(step == STEP_TAKEN);
	if (operation->cancelled && operation->state == OPERATION_DONE)
		operation->state = OPERATION_FAILED;
}

struct map_operation *meta_operation(struct cluster_map *map, uint64_t id)
{
	for (uint32_t i = 0; i < map->operation_count; i++)
		if (map->operations[i].id == id)
			return &map->operations[i];
	return NULL;
}

/* --- shards -------------------------------------------------------------------------------------------------- */

struct map_shard *meta_shards_of(const struct cluster_map *map, uint64_t policy, uint32_t *count)
{
	uint32_t first = 0;
	while (first < map->shard_count && map->shards[first].policy < policy)
		first++;
	*count = 0;
	while (first + *count < map->shard_count && map->shards[first + *count].policy == policy)
		(*count)++;
	return *count > 0 ? &map->shards[first] : NULL;
}

/* The same replicas in the same roles, in any order. */
static bool replicas_equal(
	const struct map_replica a[], unsigned a_count, const struct map_replica b[], unsigned b_count)
{
	if (a_count != b_count)
		return false;
	for (unsigned i = 0; i < a_count; i++) {
		const struct map_replica *other = map_replica_on(b, b_count, a[i].node);
		if (!other || other->replica != a[i].replica || other->role != a[i].role)
			return false;
	}
	return true;
}

/* Who is wanted and is no replica as far as is known. */
static unsigned newcomers(const struct map_shard *shard)
{
	unsigned count = 0;
	for (unsigned i = 0; i < shard->wanted_count; i++)
		count += map_replica_on(shard->replicas, shard->replica_count, shard->wanted[i].node) == NULL;
	return count;
}

bool meta_shard_turns(const struct map_shard *shard)
{
	return shard->replica_count + newcomers(shard) <= REPLICAS_MAX;
}

/* It goes elsewhere before it has come to where it was wanted. Who was to come may be there, vote, and hold what was
 * acknowledged: it is named until a report is without it, and no report counts that was made before. */
static void turn(struct map_shard *shard)
{
	assert(meta_shard_turns(shard));
	for (unsigned i = 0; i < shard->wanted_count; i++) {
		struct map_replica replica = shard->wanted[i];
		const struct map_replica *here = map_replica_on(shard->replicas, shard->replica_count, replica.node);
		if (here) {
			assert(here->replica == replica.replica);
			continue;
		}
		replica.role = replica.role == ROLE_WITNESS ? ROLE_WITNESS : ROLE_LEARNER;
		shard->replicas[shard->replica_count++] = replica;
	}
	shard->generation++;
}

/* The replica that the node has of the shard, or is to have. A replica keeps its role for life: what a copy holds, a
 * witness never may. */
static const struct map_replica *replica_there(const struct map_shard *shard, const struct map_replica *wanted)
{
	const struct map_replica *there = map_replica_on(shard->wanted, shard->wanted_count, wanted->node);
	if (!there)
		there = map_replica_on(shard->replicas, shard->replica_count, wanted->node);
	return there && (there->role == ROLE_WITNESS) == (wanted->role == ROLE_WITNESS) ? there : NULL;
}

bool meta_shard_want(struct cluster_map *map, struct map_shard *shard, const struct placement *placement)
{
	assert(placement->count > 0);
	assert(placement->count <= COPIES_MAX);
	struct map_replica wanted[REPLICAS_MAX];
	const uint8_t count = placement_replicas(placement, wanted);
	bool differs = count != shard->wanted_count, leads = false;
	for (unsigned i = 0; i < count; i++) {
		const struct map_replica *there = replica_there(shard, &wanted[i]);
		differs |= !there || !map_replica_on(shard->wanted, shard->wanted_count, there->node);
		wanted[i].replica = there ? there->replica : map->id_next++;
		leads |= wanted[i].role == ROLE_VOTER && wanted[i].node == shard->lead_wanted;
	}
	if (!leads)
		shard->lead_wanted = 0;
	if (differs && shard->operation != 0)
		turn(shard);
	if (differs)
		shard->wanted_epoch = map->epoch + 1;
	memcpy(shard->wanted, wanted, sizeof(shard->wanted));
	shard->wanted_count = count;
	return differs;
}

static struct map_shard *find_shard(struct cluster_map *map, uint64_t id)
{
	for (uint32_t i = 0; i < map->shard_count; i++)
		if (map->shards[i].id == id)
			return &map->shards[i];
	return NULL;
}

static bool refuse_shard(struct meta_result *result, uint64_t shard)
{
	return meta_refuse(result, STATUS_NOT_FOUND, 0, TEXTS("there is no shard ", meta_number(shard).text),
		TEXTS("domctl shard list shows those there are"));
}

/* Two of the nodes stand too close for the policy's spread; *a and *b then say which. */
static bool too_close(const struct policy *policy, const struct map_node *const nodes[], unsigned count,
	const struct map_node **a, const struct map_node **b)
{
	for (unsigned i = 0; i < count; i++) {
		for (unsigned j = 0; j < i; j++) {
			struct place zone = place_prefix(&nodes[i]->place, place_depth(&nodes[i]->place) - 1);
			bool close = (policy->spread == SPREAD_ZONE && place_within(&nodes[j]->place, zone.text)) ||
				     (policy->spread == SPREAD_REGION && nodes[i]->region == nodes[j]->region);
			*a = nodes[i];
			*b = nodes[j];
			if (close)
				return true;
		}
	}
	return false;
}

static bool judge_place_counts(const struct policy *policy, const struct map_node *const nodes[],
	const struct site sites[], unsigned count, struct meta_result *result)
{
	if (count != policy->copies)
		return meta_refuse(result, STATUS_INVALID, 0,
			TEXTS("policy ", policy->name, " has copies: ", meta_number(policy->copies).text,
				"; nodes named: ", meta_number(count).text),
			TEXTS("name as many nodes as the policy has copies"));
	const struct map_node *a, *b;
	if (too_close(policy, nodes, count, &a, &b))
		return meta_refuse(result, STATUS_INVALID, 0,
			TEXTS(a->place.text, " and ", b->place.text, " are in one ",
				policy->spread == SPREAD_ZONE ? "zone" : "region", ", which spread of policy ",
				policy->name, " forbids"),
			TEXTS("name nodes further apart"));
	for (unsigned i = 0; i < policy->copy_in_count; i++) {
		const struct copy_rule *rule = &policy->copy_in[i];
		unsigned inside = 0;
		for (unsigned j = 0; j < count; j++)
			inside += selector_matches(&rule->in, &sites[j].place, sites[j].tags, sites[j].tag_count);
		if (inside < rule->copies)
			return meta_refuse(result, STATUS_INVALID, 0,
				TEXTS("copy_in of policy ", policy->name, " wants ", meta_number(rule->copies).text,
					" in ", rule->in.text, ", and ", meta_number(inside).text,
					" of the nodes are there"),
				TEXTS("name more nodes in ", rule->in.text));
	}
	return true;
}

/* The node of the shard's witness; 0: it has none. An administrator places copies; the witness stays where it is. */
static uint64_t witness_of(const struct map_shard *shard)
{
	for (unsigned i = 0; i < shard->wanted_count; i++)
		if (shard->wanted[i].role == ROLE_WITNESS)
			return shard->wanted[i].node;
	return 0;
}

static bool judge_witness(const struct cluster_map *map, const struct map_shard *shard, const struct change *change,
	struct meta_result *result)
{
	const struct map_node *witness = map_node_find(map, witness_of(shard));
	for (unsigned i = 0; witness && i < change->replica_count; i++) {
		const struct map_node *node = map_node_find(map, change->replicas[i].node);
		if (node->region == witness->region)
			return meta_refuse(result, STATUS_INVALID, 0,
				TEXTS("the shard's witness is on ", witness->place.text, ", in the region of ",
					node->place.text, ": both would be lost at once"),
				TEXTS("name nodes in other regions"));
	}
	return true;
}

static bool judge_place(const struct cluster_map *map, const struct change *change, const struct map_shard *shard,
	const struct policy *policy, struct meta_result *result)
{
	const struct map_node *nodes[REPLICAS_MAX];
	struct site sites[REPLICAS_MAX];
	for (unsigned i = 0; i < change->replica_count; i++) {
		const struct map_replica *replica = &change->replicas[i];
		nodes[i] = map_node_find(map, replica->node);
		if (!nodes[i])
			return meta_refuse_node(result, replica->node);
		if (map_replica_on(change->replicas, i, replica->node) || replica->role == ROLE_LEARNER ||
			replica->role == ROLE_WITNESS)
			return meta_refuse(result, STATUS_INVALID, 0,
				TEXTS("node ", nodes[i]->place.text, " is named twice, or not as a voter"),
				TEXTS("name each node once"));
		bool known = map_site(map, &nodes[i]->place, &sites[i]);
		assert(known);
		if (!map_node_takes_replicas(map, nodes[i]))
			return meta_refuse(result, STATUS_CONFLICT, 0,
				TEXTS(nodes[i]->place.text, " is drained and takes no replica"),
				TEXTS("name another node, or have it back first: domctl node undrain"));
		if (!policy_may_store(policy, &sites[i]))
			return meta_refuse(result, STATUS_RESIDENCY_REFUSED, 0,
				TEXTS("policy ", policy->name, " allows no copy on ", nodes[i]->place.text),
				TEXTS("name nodes inside store_in and outside never_in"));
	}
	if (!judge_place_counts(policy, nodes, sites, change->replica_count, result))
		return false;
	bool leads = policy->lead_in.count == 0;
	for (unsigned i = 0; i < change->replica_count; i++)
		leads |= policy_lead_rank(policy, &sites[i]) != UINT_MAX;
	if (!leads)
		return meta_refuse(result, STATUS_INVALID, 0,
			TEXTS("lead_in of policy ", policy->name, " lets none of these nodes lead"),
			TEXTS("name at least one node inside lead_in"));
	if (!judge_witness(map, shard, change, result))
		return false;
	struct membership membership;
	struct quorum_flaw flaw;
	bool formed = placement_membership(map, policy, change->replicas, change->replica_count, &membership);
	assert(formed);
	for (unsigned i = 0; i < membership.count; i++)
		membership.at[i].replica = i + 1u;
	if (witness_of(shard) != 0)
		membership_add_witness(&membership, membership.count + 1u, witness_of(shard));
	if (!quorum_check(&membership, (enum survive)policy->survive, &flaw))
		return meta_refuse(result, STATUS_INVALID, 0,
			TEXTS("on these nodes shard ", meta_number(change->shard).text,
				" would not survive what policy ", policy->name, " promises"),
			TEXTS("spread the nodes over more zones or regions"));
	return true;
}

bool meta_apply_shard_place(struct cluster_map *map, const struct change *change, struct meta_result *result)
{
	struct map_shard *shard = find_shard(map, change->shard);
	if (!shard)
		return refuse_shard(result, change->shard);
	const struct policy *policy = map_policy_find(map, shard->policy);
	assert(policy);
	if (!judge_place(map, change, shard, policy, result))
		return false;
	if (shard->operation != 0)
		return meta_refuse_running(result, shard->operation, 0,
			TEXTS("operation ", meta_number(shard->operation).text, " moves this shard already"));
	if (meta_operations_free(map) == 0)
		return meta_refuse(result, STATUS_CONFLICT, 0, TEXTS("too many operations are running"),
			TEXTS("wait until some are done: domctl operation list"));
	if (change->dry_run)
		return true;
	struct placement placement = { .count = change->replica_count, .witness = witness_of(shard) };
	for (unsigned i = 0; i < change->replica_count; i++)
		placement.nodes[i] = change->replicas[i].node;
	if (!meta_shard_want(map, shard, &placement))
		return true;
	struct map_operation *operation = meta_operation_begin(map, OPERATION_PLACE, shard->policy, 0, change->now_us);
	meta_operation_add_shard(operation, shard->id);
	meta_join(operation->text, sizeof(operation->text),
		TEXTS("shard ", meta_number(shard->id).text, " of ", policy->name,
			" moves to where an administrator placed it"));
	shard->operation = operation->id;
	result->id = operation->id;
	return true;
}

bool meta_apply_shard_lead(struct cluster_map *map, const struct change *change, struct meta_result *result)
{
	struct map_shard *shard = find_shard(map, change->shard);
	if (!shard)
		return refuse_shard(result, change->shard);
	if (change->target_node != 0) {
		const struct map_node *node = map_node_find(map, change->target_node);
		if (!node)
			return meta_refuse_node(result, change->target_node);
		const struct map_replica *there = map_replica_on(shard->wanted, shard->wanted_count, node->id);
		if (!there || there->role != ROLE_VOTER)
			return meta_refuse(result, STATUS_INVALID, 0,
				TEXTS(node->place.text, " holds no copy of shard ", meta_number(shard->id).text),
				TEXTS("name one of the shard's nodes, or move the shard there first"));
		if (!map_node_takes_leads(map, node))
			return meta_refuse(result, STATUS_CONFLICT, 0,
				TEXTS(node->place.text, " is drained and leads nothing"),
				TEXTS("name another node, or have it back first: domctl node undrain"));
		const struct policy *policy = map_policy_find(map, shard->policy);
		struct site site;
		bool known = map_site(map, &node->place, &site);
		assert(policy);
		assert(known);
		if (policy_lead_rank(policy, &site) == UINT_MAX)
			return meta_refuse(result, STATUS_INVALID, 0,
				TEXTS("lead_in of policy ", policy->name, " lets nobody lead on ", node->place.text),
				TEXTS("name a node inside lead_in, or change the policy"));
	}
	if (!change->dry_run)
		shard->lead_wanted = change->target_node;
	return true;
}

/* --- reports --------------------------------------------------------------------------------------------------- */

static bool same_replica(const struct map_replica *named, const struct map_replica *reported)
{
	return named && named->replica == reported->replica &&
	       (named->role == ROLE_WITNESS) == (reported->role == ROLE_WITNESS);
}

/* Every replica that is reported must be one that meta named, once, on its node, and a witness for life, or never. */
static bool judge_reported(const struct map_shard *shard, const struct change *change)
{
	bool voter = false;
	for (unsigned i = 0; i < change->replica_count; i++) {
		const struct map_replica *replica = &change->replicas[i];
		const struct map_replica *here = map_replica_on(shard->replicas, shard->replica_count, replica->node);
		const struct map_replica *wanted = map_replica_on(shard->wanted, shard->wanted_count, replica->node);
		bool named = same_replica(here, replica) || same_replica(wanted, replica);
		if (!named || map_replica_on(change->replicas, i, replica->node))
			return false;
		if (replica->role == ROLE_NONE || replica->role > ROLE_WITNESS)
			return false;
		voter |= replica->role == ROLE_VOTER;
	}
	return voter;
}

bool meta_apply_shard_report(
	struct cluster_map *map, const struct change *change, struct meta_result *result, bool *changed)
{
	struct map_shard *shard = find_shard(map, change->shard);
	if (!shard)
		return refuse_shard(result, change->shard);
	bool same = change->membership_index == shard->membership_index &&
		    replicas_equal(change->replicas, change->replica_count, shard->replicas, shard->replica_count);
	if (change->generation == shard->generation && same) {
		*changed = false;
		return true;
	}
	if (change->generation != shard->generation + 1 || change->membership_index < shard->membership_index)
		return meta_refuse(result, STATUS_CONFLICT, 0, TEXTS("the report is stale"),
			TEXTS("report again from the newest map"));
	if (!judge_reported(shard, change))
		return meta_refuse(result, STATUS_INVALID, 0,
			TEXTS("the report names replicas that shard ", meta_number(shard->id).text, " never had"),
			TEXTS("report the membership as it was committed"));
	if (change->dry_run)
		return true;
	shard->generation = change->generation;
	shard->membership_index = change->membership_index;
	shard->replica_count = shard->member_count = change->replica_count;
	memset(shard->replicas, 0, sizeof(shard->replicas));
	memcpy(shard->replicas, change->replicas, change->replica_count * sizeof(change->replicas[0]));
	bool settled = replicas_equal(shard->replicas, shard->replica_count, shard->wanted, shard->wanted_count);
	if (settled && shard->operation != 0) {
		struct map_operation *operation = meta_operation(map, shard->operation);
		assert(operation);
		meta_operation_moved(operation, shard->id, change->now_us);
		shard->operation = 0;
	}
	return true;
}
