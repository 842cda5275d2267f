/* replication/meta_split.c: shards that split and merge. Both are a range of hashes that goes from one shard of a
 * policy to another, by the phases of meta_rebind.c: the upper half of a shard to one that is made for it, with a
 * replica on each of the same nodes; all of a shard to its neighbour.
 *
 *   split: BIRTH --> FENCE --> COPY --> CLOSE --- the switch ---> PURGE --> done
 *   merge:           FENCE --> COPY --> CLOSE --- the switch, and the shard is gone: done
 *
 * In every map the shards of a policy cover all hashes once: up to the switch the new shard covers none, from there on
 * the merged one is not in the map, and its replicas are removed like any that the map does not name. While a range
 * goes, nothing else moves keys of its policy's shards, and the policy keeps its rules; replicas may move. */
#include "replication/meta_internal.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"

static struct map_shard *shard_in(struct cluster_map *map, uint64_t id)
{
	const struct map_shard *shard = map_shard_find(map, id);
	return shard ? &map->shards[shard - map->shards] : NULL;
}

static struct map_shard *insert_shard(struct cluster_map *map, uint32_t at, const struct map_shard *shard)
{
	struct map_shard copy = *shard;
	assert(map->shard_count < map->shard_max);
	assert(at <= map->shard_count);
	memmove(&map->shards[at + 1], &map->shards[at], (map->shard_count - at) * sizeof(*map->shards));
	map->shards[at] = copy;
	map->shard_count++;
	return &map->shards[at];
}

static void take_out(struct cluster_map *map, uint32_t at)
{
	assert(at < map->shard_count);
	map->shard_count--;
	memmove(&map->shards[at], &map->shards[at + 1], (map->shard_count - at) * sizeof(*map->shards));
	memset(&map->shards[map->shard_count], 0, sizeof(*map->shards));
}

/* For ever. Whatever moved its replicas has one less to move. */
static void remove_shard(struct cluster_map *map, uint64_t id, uint64_t now_us)
{
	const struct map_shard *shard = map_shard_find(map, id);
	assert(shard);
	for (uint32_t i = 0; shard->operation != 0 && i < map->operation_count; i++) {
		if (map->operations[i].id == shard->operation)
			meta_operation_moved(&map->operations[i], id, now_us);
	}
	take_out(map, (uint32_t)(shard - map->shards));
}

/* --- what stands against it ------------------------------------------------------------------------------- */

const struct map_operation *meta_range_under_way(const struct cluster_map *map, uint64_t policy)
{
	for (uint32_t i = 0; i < map->operation_count; i++) {
		const struct map_operation *operation = &map->operations[i];
		if (operation_of_range(operation->kind) && operation->state == OPERATION_RUNNING &&
			(policy == 0 || operation->policy == policy))
			return operation;
	}
	return NULL;
}

/* Keys come to shards of the policy, or leave them, or may: of an unset binding it is not known yet where they go. */
static bool rebinds(const struct map_operation *operation, uint64_t policy)
{
	bool named = operation->binding_policy == policy || operation->binding_policy == 0;
	for (unsigned i = 0; i < operation->source_count; i++)
		named |= operation->sources[i] == policy;
	for (unsigned i = 0; i < operation->target_count; i++)
		named |= operation->targets[i] == policy;
	return operation->kind == OPERATION_BINDING && operation->state == OPERATION_RUNNING && named;
}

static const struct map_operation *holder_of(const struct cluster_map *map, const struct map_shard *shard)
{
	if (shard->operation != 0)
		return map_operation_find(map, shard->operation);
	for (uint32_t i = 0; i < map->operation_count; i++) {
		const struct map_operation *operation = &map->operations[i];
		bool ends = operation->shard_from == shard->id || operation->shard_to == shard->id;
		if (operation->state == OPERATION_RUNNING && operation_of_range(operation->kind) && ends)
			return operation;
		if (rebinds(operation, shard->policy))
			return operation;
	}
	return NULL;
}

/* The shard is there, and nothing holds it. */
static bool judge_shard(
	const struct cluster_map *map, uint64_t id, const struct map_shard *shard, struct meta_result *result)
{
	if (!shard)
		return meta_refuse(result, STATUS_NOT_FOUND, 0, TEXTS("there is no shard ", meta_number(id).text),
			TEXTS("domctl shard list shows those there are"));
	const struct map_operation *holder = holder_of(map, shard);
	if (holder)
		return meta_refuse(result, STATUS_CONFLICT, 0,
			TEXTS("operation ", meta_number(holder->id).text, " moves shard ", meta_number(id).text,
				" or keys of it"),
			TEXTS("wait until it is done: domctl operation wait ", meta_number(holder->id).text));
	assert(!map_shard_empty(shard)); /* else an operation makes it */
	if (meta_operations_free(map) == 0)
		return meta_refuse(result, STATUS_CONFLICT, 0, TEXTS("too many operations are running"),
			TEXTS("wait until some are done: domctl operation list"));
	return true;
}

static bool judge_room(const struct cluster_map *map, const struct map_shard *shard, struct meta_result *result)
{
	const struct policy *policy = map_policy_find(map, shard->policy);
	uint32_t count;
	assert(policy);
	meta_shards_of(map, shard->policy, &count);
	if (shard->hash_last - shard->hash_first < 2 * SHARD_WIDTH_MIN - 1)
		return meta_refuse(result, STATUS_INVALID, 0,
			TEXTS("shard ", meta_number(shard->id).text, " is as narrow as a shard may be"),
			TEXTS("split another one: domctl shard list --policy ", policy->name));
	if (count >= SHARDS_PER_POLICY_MAX)
		return meta_refuse(result, STATUS_INVALID, 0,
			TEXTS("policy ", policy->name, " has ", meta_number(count).text,
				" shards, the most it may have"),
			TEXTS("merge some that hold little: domctl shard merge"));
	if (map->shard_count == map->shard_max)
		return meta_refuse(result, STATUS_INVALID, 0,
			TEXTS("the cluster has ", meta_number(map->shard_count).text, " shards, the most it takes"),
			TEXTS("merge some that hold little: domctl shard merge"));
	return true;
}

static bool wanted_alike(const struct map_shard *a, const struct map_shard *b)
{
	if (a->wanted_count != b->wanted_count)
		return false;
	for (unsigned i = 0; i < a->wanted_count; i++) {
		const struct map_replica *other = map_replica_on(b->wanted, b->wanted_count, a->wanted[i].node);
		if (!other || other->role != a->wanted[i].role)
			return false;
	}
	return true;
}

static bool judge_pair(const struct map_shard *kept, const struct map_shard *gone, struct meta_result *result)
{
	bool above = kept->hash_last != UINT64_MAX && kept->hash_last + 1 == gone->hash_first;
	bool below = gone->hash_last != UINT64_MAX && gone->hash_last + 1 == kept->hash_first;
	if (kept->policy != gone->policy || (!above && !below))
		return meta_refuse(result, STATUS_INVALID, 0,
			TEXTS("shards ", meta_number(kept->id).text, " and ", meta_number(gone->id).text,
				" are no neighbours of one policy"),
			TEXTS("name two whose hashes follow each other: domctl shard list -o wide"));
	if (!wanted_alike(kept, gone))
		return meta_refuse(result, STATUS_CONFLICT, 0,
			TEXTS("shards ", meta_number(kept->id).text, " and ", meta_number(gone->id).text,
				" are not on the same nodes"),
			TEXTS("move one of them first: domctl shard place ", meta_number(gone->id).text));
	return true;
}

/* --- texts ------------------------------------------------------------------------------------------------- */

static void say(struct map_operation *operation, const char *const parts[])
{
	struct text text;
	text_init(&text, operation->text, sizeof(operation->text));
	text_add(&text, "shard ");
	text_add_u64(&text, operation->shard_from);
	if (operation->kind == OPERATION_SPLIT) {
		text_add(&text, " is split: ");
	} else {
		text_add(&text, " goes into shard ");
		text_add_u64(&text, operation->shard_to);
		text_add(&text, ": ");
	}
	meta_join(operation->text + text.size, sizeof(operation->text) - text.size, parts);
}

void meta_range_say(struct map_operation *operation)
{
	const struct number keys = meta_number(operation->keys), to = meta_number(operation->shard_to);
	switch ((enum operation_phase)operation->phase) {
	case PHASE_BIRTH:
		say(operation, TEXTS("the new shard, ", to.text, ", is awaited"));
		return;
	case PHASE_FENCE:
		say(operation, TEXTS("it is asked for the keys that live there"));
		return;
	case PHASE_COPY:
		say(operation, TEXTS(keys.text, " keys are copied to shard ", to.text));
		return;
	case PHASE_PURGE:
		say(operation, TEXTS(keys.text, " keys live in shard ", to.text));
		return;
	case PHASE_ABORT:
	case PHASE_CLOSE:
	case PHASE_SEAL:
	case PHASE_WAIT:
	case PHASE_NONE:
		return;
	}
}

void meta_range_stays(struct map_operation *operation, const char *why)
{
	say(operation, TEXTS("not so: ", why));
}

/* --- the beginning ----------------------------------------------------------------------------------------- */

static struct map_operation *begin(struct cluster_map *map, enum operation_kind kind, const struct map_shard *from,
	uint64_t to, uint64_t hash_first, uint64_t now_us)
{
	struct map_operation *operation = meta_operation_begin(map, kind, from->policy, 0, now_us);
	operation->shard_from = from->id;
	operation->shard_to = to;
	operation->hash_first = hash_first;
	operation->hash_last = from->hash_last;
	return operation;
}

/* On the nodes where the parent is wanted; of no hash. */
static uint64_t make_child(struct cluster_map *map, const struct map_shard *parent)
{
	struct map_shard child = { .id = map->id_next++, .policy = parent->policy, .hash_first = UINT64_MAX };
	uint32_t count;
	const struct map_shard *first = meta_shards_of(map, parent->policy, &count);
	child.wanted_count = child.replica_count = child.member_count = parent->wanted_count;
	child.wanted_epoch = map->epoch + 1;
	for (unsigned i = 0; i < parent->wanted_count; i++) {
		child.wanted[i] = parent->wanted[i];
		child.wanted[i].replica = map->id_next++;
	}
	memcpy(child.replicas, child.wanted, sizeof(child.replicas));
	meta_shard_birth(map, map_policy_find(map, parent->policy), &child);
	assert(map_shard_empty(&child));
	insert_shard(map, (uint32_t)(first - map->shards) + count, &child);
	return child.id;
}

bool meta_apply_shard_split(struct cluster_map *map, const struct change *change, struct meta_result *result)
{
	const struct map_shard *found = map_shard_find(map, change->shard);
	if (!judge_shard(map, change->shard, found, result) || !judge_room(map, found, result))
		return false;
	if (change->dry_run)
		return true;
	struct map_shard parent = *found;
	uint64_t child = make_child(map, &parent);
	uint64_t middle = parent.hash_first + (parent.hash_last - parent.hash_first) / 2 + 1;
	struct map_operation *operation = begin(map, OPERATION_SPLIT, &parent, child, middle, change->now_us);
	meta_range_begin(map, operation);
	result->id = operation->id;
	return true;
}

bool meta_apply_shard_merge(struct cluster_map *map, const struct change *change, struct meta_result *result)
{
	const struct map_shard *kept = map_shard_find(map, change->shard), *gone = map_shard_find(map, change->merged);
	if (!judge_shard(map, change->shard, kept, result) || !judge_shard(map, change->merged, gone, result) ||
		!judge_pair(kept, gone, result))
		return false;
	if (change->dry_run)
		return true;
	struct map_operation *operation = begin(map, OPERATION_MERGE, gone, kept->id, gone->hash_first, change->now_us);
	meta_range_begin(map, operation);
	result->id = operation->id;
	return true;
}

/* --- the switch -------------------------------------------------------------------------------------------- */

static void switch_split(struct cluster_map *map, const struct map_operation *operation)
{
	struct map_shard *parent = shard_in(map, operation->shard_from);
	const struct map_shard *there = map_shard_find(map, operation->shard_to);
	assert(there);
	struct map_shard child = *there;
	assert(parent);
	assert(map_shard_empty(&child));
	assert(parent->hash_last == operation->hash_last);
	assert(parent->hash_first < operation->hash_first);
	parent->hash_last = operation->hash_first - 1;
	child.hash_first = operation->hash_first;
	child.hash_last = operation->hash_last;
	parent->range_epoch = child.range_epoch = map->epoch + 1;
	take_out(map, (uint32_t)(there - map->shards)); /* from behind the parent */
	insert_shard(map, (uint32_t)(parent - map->shards) + 1, &child);
}

static void switch_merge(struct cluster_map *map, const struct map_operation *operation, uint64_t now_us)
{
	struct map_shard *kept = shard_in(map, operation->shard_to);
	const struct map_shard *gone = map_shard_find(map, operation->shard_from);
	assert(kept);
	assert(gone);
	assert(gone->hash_first == operation->hash_first);
	assert(gone->hash_last == operation->hash_last);
	if (kept->hash_first > gone->hash_last)
		kept->hash_first = gone->hash_first;
	else
		kept->hash_last = gone->hash_last;
	kept->range_epoch = map->epoch + 1;
	remove_shard(map, gone->id, now_us);
}

void meta_range_switch(struct cluster_map *map, const struct map_operation *operation, uint64_t now_us)
{
	if (operation->kind == OPERATION_SPLIT)
		switch_split(map, operation);
	else
		switch_merge(map, operation, now_us);
}

void meta_range_drop_child(struct cluster_map *map, const struct map_operation *operation)
{
	const struct map_shard *child = map_shard_find(map, operation->shard_to);
	assert(operation->kind == OPERATION_SPLIT);
	assert(child);
	assert(map_shard_empty(child));
	remove_shard(map, child->id, operation->ended_us);
}
