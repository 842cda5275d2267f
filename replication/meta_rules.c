/* replication/meta_rules.c: policies and bindings: APPLY, BINDING_SET, BINDING_UNSET.
 *
 * A change may hold many of both, and each is judged on the map as it would be after all of them. Policies are looked
 * up in the change before the map (`policy_then`). Bindings are put into the map at once, but marked: a new one with
 * policy 0, all with MARK and their position in the change where a pending operation's id would stand. Refused, or
 * only asked: the marks are taken out again, and the map is what it was. Accepted: each mark becomes in force, or
 * pending under an operation.
 *
 * A pending binding may come or not, so those around it and inside it are judged for both. */
#include "replication/meta_internal.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"

#define MARK ((uint64_t)1 << 63) /* above every id */
enum { FENCED_POLICIES_MAX = OPERATION_POLICIES_MAX };

struct trial {
	struct cluster_map *map;
	const struct change *change;
	struct meta_result *result;
	struct site sites[MAP_REGIONS_MAX];
};

/* --- the map as it would be ---------------------------------------------------------------------------- */

static bool is_marked(const struct map_binding *binding)
{
	return (binding->pending_operation & MARK) != 0;
}

static const struct change_binding *mark_of(const struct trial *trial, const struct map_binding *binding)
{
	uint64_t at = binding->pending_operation & ~MARK;
	assert(is_marked(binding));
	assert(at < trial->change->binding_count);
	return &trial->change->bindings[at];
}

static const struct policy *policy_then_by_name(const struct trial *trial, const char *name)
{
	for (uint32_t i = 0; i < trial->change->policy_count; i++)
		if (strcmp(trial->change->policies[i].name, name) == 0)
			return &trial->change->policies[i];
	return map_policy_by_name(trial->map, name);
}

static const struct policy *policy_then(const struct trial *trial, uint64_t id)
{
	const struct policy *now = map_policy_find(trial->map, id);
	assert(now);
	return policy_then_by_name(trial, now->name);
}

static bool is_of_change(const struct trial *trial, const struct policy *policy)
{
	const struct policy *first = trial->change->policies;
	return trial->change->policy_count > 0 && policy >= first && policy < first + trial->change->policy_count;
}

static struct bytes prefix_of(const struct map_binding *binding)
{
	return bytes_of(binding->prefix, binding->prefix_size);
}

struct homes {
	unsigned count;
	const struct policy *at[2];
	bool sure; /* the binding is there whatever becomes of its operation */
};

/* The policies that the binding may have. */
static struct homes homes_then(const struct trial *trial, const struct map_binding *binding)
{
	struct homes homes = { .sure = true };
	bool unset = trial->change->kind == CHANGE_BINDING_UNSET;
	uint64_t pending = binding->pending_operation;
	if (binding->policy != 0)
		homes.at[homes.count++] = policy_then(trial, binding->policy);
	if (is_marked(binding)) {
		homes.sure = !unset && binding->policy != 0;
		if (!unset)
			homes.at[homes.count++] = policy_then_by_name(trial, mark_of(trial, binding)->policy);
	} else if (pending != 0) {
		const struct map_operation *operation = map_operation_find(trial->map, pending);
		assert(operation);
		bool old = map_binding_in_force(trial->map, binding);
		homes.sure = old && operation->binding_policy != 0;
		if (homes.sure)
			homes.at[homes.count++] = policy_then(trial, operation->binding_policy);
	}
	assert(homes.count > 0);
	return homes;
}

/* --- policies ------------------------------------------------------------------------------------------- */

/* The operation that takes keys of the policy's elsewhere, or brings it some, or takes them from one of its shards to
 * another, or moves one that cannot go elsewhere now; 0: none. */
static uint64_t policy_busy(const struct cluster_map *map, uint64_t policy)
{
	uint32_t count;
	const struct map_shard *shards = meta_shards_of(map, policy, &count);
	for (uint32_t i = 0; i < count; i++)
		if (shards[i].operation != 0 && !meta_shard_turns(&shards[i]))
			return shards[i].operation;
	for (uint32_t i = 0; i < map->operation_count; i++) {
		const struct map_operation *operation = &map->operations[i];
		if (!operation_moves_keys(operation->kind) || operation->state != OPERATION_RUNNING)
			continue;
		bool concerned = operation->policy == policy || operation->binding_policy == policy;
		for (unsigned j = 0; j < operation->source_count; j++)
			concerned |= operation->sources[j] == policy;
		for (unsigned j = 0; j < operation->target_count; j++)
			concerned |= operation->targets[j] == policy;
		if (concerned)
			return operation->id;
	}
	return 0;
}

/* Whether the policy can be met by the nodes there are, whatever they carry already. */
static bool place_anywhere(
	const struct cluster_map *map, const struct policy *policy, struct placement *placement, struct flaw *flaw)
{
	struct cluster_map empty = *map;
	empty.shard_count = 0;
	return placement_choose(&empty, policy, NULL, placement, flaw);
}

/* A node that holds a copy of a shard does not become its witness, nor the other way round: where the nodes that
 * there are leave no other way, it is told before anything is changed. */
static bool judge_witnesses(const struct trial *trial, const struct policy *policy)
{
	const struct policy *now = map_policy_by_name(trial->map, policy->name);
	struct meta_result *result = trial->result;
	struct placement placement;
	uint32_t count = 0;
	const struct map_shard *shards = now ? meta_shards_of(trial->map, now->id, &count) : NULL;
	if (policy->witness_in.count == 0 && (!now || now->witness_in.count == 0))
		return true;
	for (uint32_t i = 0; i < count; i++)
		if (!placement_choose(trial->map, policy, &shards[i], &placement, &result->flaw))
			return meta_refuse_flaw(result, STATUS_RESIDENCY_REFUSED, policy->line);
	return true;
}

bool meta_policy_placeable(const struct cluster_map *map, const struct policy *policy, struct meta_result *result)
{
	struct placement placement;
	if (!place_anywhere(map, policy, &placement, &result->flaw))
		return meta_refuse_flaw(result, STATUS_RESIDENCY_REFUSED, policy->line);
	struct map_replica replicas[REPLICAS_MAX];
	struct membership membership;
	const uint8_t count = placement_replicas(&placement, replicas);
	for (unsigned i = 0; i < count; i++)
		replicas[i].replica = i + 1u;
	bool formed = placement_membership(map, policy, replicas, count, &membership);
	assert(formed);
	struct quorum_flaw flaw;
	if (!quorum_check(&membership, (enum survive)policy->survive, &flaw))
		return meta_refuse(result, STATUS_INVALID, policy->line,
			TEXTS("the quorums of ", policy->name,
				" do not survive what it promises on any nodes there are"),
			TEXTS("lower survive or change ack, or start nodes in more regions"));
	return true;
}

static bool judge_policy(const struct trial *trial, uint32_t at, uint32_t *fresh, uint32_t *moving)
{
	const struct change *change = trial->change;
	const struct policy *policy = &change->policies[at];
	struct meta_result *result = trial->result;
	if (!policy_check(policy, &result->flaw))
		return meta_refuse_flaw(result, STATUS_INVALID, policy->line);
	for (uint32_t i = 0; i < at; i++)
		if (strcmp(change->policies[i].name, policy->name) == 0)
			return meta_refuse(result, STATUS_INVALID, policy->line,
				TEXTS("policy ", policy->name, " is defined twice"), TEXTS("rename or delete one"));
	const struct policy *now = map_policy_by_name(trial->map, policy->name);
	if (now && policy_equal(now, policy))
		return true;
	if (!meta_policy_placeable(trial->map, policy, result) || !judge_witnesses(trial, policy))
		return false;
	const uint64_t busy = now ? policy_busy(trial->map, now->id) : 0;
	if (busy != 0)
		return meta_refuse_running(result, busy, policy->line,
			TEXTS("operation ", meta_number(busy).text, " on policy ", policy->name, " is still running"));
	*fresh += now == NULL;
	*moving += now != NULL;
	return true;
}

static bool judge_policies(const struct trial *trial, uint32_t *moving)
{
	uint32_t fresh = 0;
	const struct cluster_map *map = trial->map;
	for (uint32_t i = 0; i < trial->change->policy_count; i++)
		if (!judge_policy(trial, i, &fresh, moving))
			return false;
	if (fresh > map->policy_max - map->policy_count ||
		fresh > (map->shard_max - map->shard_count) / SHARDS_PER_POLICY)
		return meta_refuse(trial->result, STATUS_INVALID, 0,
			TEXTS("there would be ", meta_number(map->policy_count + fresh).text,
				" policies, more than the cluster takes"),
			TEXTS("bind more prefixes to fewer policies"));
	return true;
}

/* --- bindings: marks --------------------------------------------------------------------------------------- */

uint32_t meta_binding_position(const struct cluster_map *map, const struct map_binding *wanted, bool *found)
{
	uint32_t first = 0;
	*found = false;
	for (uint32_t end = map->binding_count; first < end;) {
		uint32_t middle = first + (end - first) / 2;
		int order = map_binding_compare(&map->bindings[middle], wanted);
		*found |= order == 0;
		if (order < 0)
			first = middle + 1;
		else
			end = middle;
	}
	return first;
}

void meta_binding_remove(struct cluster_map *map, uint32_t at)
{
	assert(at < map->binding_count);
	map->binding_count--;
	memmove(&map->bindings[at], &map->bindings[at + 1], (map->binding_count - at) * sizeof(*map->bindings));
	memset(&map->bindings[map->binding_count], 0, sizeof(*map->bindings));
}

static void binding_insert(struct cluster_map *map, uint32_t at, const struct map_binding *binding)
{
	assert(map->binding_count < map->binding_max);
	assert(at <= map->binding_count);
	memmove(&map->bindings[at + 1], &map->bindings[at], (map->binding_count - at) * sizeof(*map->bindings));
	map->bindings[at] = *binding;
	map->binding_count++;
}

struct map_binding *meta_binding_around(const struct cluster_map *map, struct bytes prefix)
{
	for (size_t size = prefix.size; size-- > 0;) {
		const struct map_binding *binding = map_binding_by_prefix(map, bytes_of(prefix.data, size));
		if (binding)
			return &map->bindings[binding - map->bindings];
	}
	return NULL;
}

/* That covers the prefix before the change; not one that the change brings. */
static const struct map_binding *cover_now(const struct cluster_map *map, struct bytes prefix)
{
	const struct map_binding *binding = meta_binding_around(map, prefix);
	while (binding && binding->policy == 0)
		binding = meta_binding_around(map, prefix_of(binding));
	return binding;
}

void meta_binding_describe(struct text *text, const struct map_binding *binding)
{
	if (binding->exact) {
		text_add(text, "the binding of an exact key");
		return;
	}
	char prefix[80];
	text_escape(prefix, sizeof(prefix), prefix_of(binding));
	text_add(text, "binding \"");
	text_add(text, prefix);
	text_add(text, "\"");
}

struct binding_name {
	char text[112];
};

static struct binding_name name_of(const struct map_binding *binding)
{
	struct binding_name name;
	struct text text;
	text_init(&text, name.text, sizeof(name.text));
	meta_binding_describe(&text, binding);
	return name;
}

static bool refuse_pending(const struct trial *trial, const struct map_binding *binding, uint32_t line)
{
	return meta_refuse(trial->result, STATUS_CONFLICT, line,
		TEXTS("operation ", meta_number(binding->pending_operation).text, " has not decided yet on ",
			name_of(binding).text),
		TEXTS("wait until it is done: domctl operation wait"));
}

/* The binding is there. *mark: it is to change. */
static bool judge_existing(
	const struct trial *trial, const struct change_binding *from, const struct map_binding *binding, bool *mark)
{
	bool unset = trial->change->kind == CHANGE_BINDING_UNSET;
	*mark = false;
	if (is_marked(binding))
		return meta_refuse(trial->result, STATUS_INVALID, from->line,
			TEXTS(name_of(binding).text, " is set twice"), TEXTS("keep one of them"));
	const struct policy *target = map_policy_by_name(trial->map, from->policy);
	if (binding->pending_operation != 0) {
		const struct map_operation *operation = map_operation_find(trial->map, binding->pending_operation);
		assert(operation);
		uint64_t comes =
			map_binding_in_force(trial->map, binding) ? operation->binding_policy : binding->policy;
		bool under_way = unset ? comes == 0 : target && target->id == comes;
		if (!under_way)
			return refuse_pending(trial, binding, from->line);
		trial->result->id = operation->id;
		return true;
	}
	*mark = unset || !target || target->id != binding->policy;
	return true;
}

static bool mark_binding(const struct trial *trial, uint32_t at)
{
	struct cluster_map *map = trial->map;
	const struct change_binding *from = &trial->change->bindings[at];
	bool unset = trial->change->kind == CHANGE_BINDING_UNSET, found, mark = true;
	struct map_binding binding;
	memset(&binding, 0, sizeof(binding));
	if (from->prefix_size > BINDING_PREFIX_MAX)
		return meta_refuse(trial->result, STATUS_INVALID, from->line,
			TEXTS("the prefix is longer than 256 bytes"), TEXTS("bind a shorter one"));
	binding.exact = from->exact;
	binding.pending_operation = MARK | at;
	if (from->exact) {
		binding.hash = from->hash;
	} else {
		binding.prefix_size = from->prefix_size;
		memcpy(binding.prefix, from->prefix, from->prefix_size);
	}
	if (!unset && !policy_then_by_name(trial, from->policy))
		return meta_refuse(trial->result, STATUS_NOT_FOUND, from->line,
			TEXTS(name_of(&binding).text, " names policy ", from->policy, ", which there is not"),
			TEXTS("define the policy in the same file, or apply it first"));
	uint32_t position = meta_binding_position(map, &binding, &found);
	if (found) {
		if (!judge_existing(trial, from, &map->bindings[position], &mark))
			return false;
		if (mark)
			map->bindings[position].pending_operation = MARK | at;
		return true;
	}
	if (unset)
		return meta_refuse(trial->result, STATUS_NOT_FOUND, from->line,
			TEXTS("there is no ", name_of(&binding).text),
			TEXTS("domctl binding list shows those there are"));
	if (map->binding_count == map->binding_max)
		return meta_refuse(trial->result, STATUS_INVALID, from->line,
			TEXTS("the cluster has ", meta_number(map->binding_count).text, " bindings, the most it takes"),
			TEXTS("bind shorter prefixes"));
	const struct map_binding *cover = from->exact ? NULL : cover_now(map, prefix_of(&binding));
	if (cover && cover->pending_operation != 0 && !is_marked(cover))
		return refuse_pending(trial, cover, from->line);
	binding_insert(map, position, &binding);
	return true;
}

static void unmark(struct cluster_map *map)
{
	uint32_t kept = 0, count = map->binding_count;
	for (uint32_t i = 0; i < count; i++) {
		struct map_binding *binding = &map->bindings[i];
		if (is_marked(binding) && binding->policy == 0)
			continue;
		if (is_marked(binding))
			binding->pending_operation = 0;
		if (kept != i)
			map->bindings[kept] = *binding;
		kept++;
	}
	memset(&map->bindings[kept], 0, (count - kept) * sizeof(*map->bindings));
	map->binding_count = kept;
}

/* --- bindings: tighten only ---------------------------------------------------------------------------------- */

static uint32_t line_of(const struct trial *trial, const struct map_binding *a, const struct map_binding *b)
{
	if (is_marked(a) && mark_of(trial, a)->line != 0)
		return mark_of(trial, a)->line;
	return is_marked(b) ? mark_of(trial, b)->line : 0;
}

/* Every policy that the one may have, inside every policy that the other may have. */
static bool judge_pair(
	const struct trial *trial, const struct map_binding *inner, const struct map_binding *outer, bool marked)
{
	struct homes inside = homes_then(trial, inner), around = homes_then(trial, outer);
	for (unsigned i = 0; i < inside.count; i++) {
		for (unsigned j = 0; j < around.count; j++) {
			const struct policy *a = inside.at[i], *b = around.at[j];
			if (a == b || (!marked && !is_of_change(trial, a) && !is_of_change(trial, b)))
				continue; /* as it was */
			if (policy_tightens(a, b, trial->sites, trial->map->region_count, &trial->result->flaw))
				continue;
			/* The policy's line says where the rule is, unless only the binding is new. */
			uint32_t line = is_of_change(trial, a) ? a->line : line_of(trial, inner, outer);
			trial->result->flaw.line = 0;
			return meta_refuse_flaw(trial->result, STATUS_RESIDENCY_REFUSED, line);
		}
	}
	return true;
}

/* What is around an exact key only its owner knows, since its hash says nothing. It must at least fit somewhere. */
static bool judge_exact(const struct trial *trial, const struct map_binding *binding)
{
	if (trial->change->kind == CHANGE_BINDING_UNSET)
		return true;
	const struct policy *policy = policy_then_by_name(trial, mark_of(trial, binding)->policy);
	bool around = false;
	for (uint32_t i = trial->map->binding_count; i > 0; i--) {
		const struct map_binding *prefix = &trial->map->bindings[i - 1];
		if (prefix->exact)
			break;
		struct homes homes = homes_then(trial, prefix);
		bool fits = true;
		for (unsigned j = 0; j < homes.count; j++)
			fits &= policy == homes.at[j] || policy_tightens(policy, homes.at[j], trial->sites,
								 trial->map->region_count, &trial->result->flaw);
		if (fits)
			return true;
		around = true;
	}
	if (!around)
		return true; /* no prefix is bound: nothing is around it */
	return meta_refuse(trial->result, STATUS_RESIDENCY_REFUSED, mark_of(trial, binding)->line,
		TEXTS("policy ", policy->name,
			" for an exact key loosens every policy that a prefix is bound to, so "
			"also the one around the key"),
		TEXTS("bind the key to a policy that allows nothing more than the one around it"));
}

static bool judge_tighten(struct trial *trial)
{
	const struct cluster_map *map = trial->map;
	assert(map->region_count <= MAP_REGIONS_MAX);
	for (uint32_t i = 0; i < map->region_count; i++)
		trial->sites[i] = map->regions[i].site;
	for (uint32_t i = 0; i < map->binding_count; i++) {
		const struct map_binding *inner = &map->bindings[i];
		if (inner->exact) {
			if (is_marked(inner) && !judge_exact(trial, inner))
				return false;
			continue;
		}
		/* Outwards, past those that may not be there in the end, to the first that is. */
		bool marked = is_marked(inner);
		for (const struct map_binding *outer = meta_binding_around(map, prefix_of(inner)); outer;
			outer = meta_binding_around(map, prefix_of(outer))) {
			marked |= is_marked(outer);
			if (!judge_pair(trial, inner, outer, marked))
				return false;
			if (homes_then(trial, outer).sure)
				break;
		}
	}
	memset(&trial->result->flaw, 0, sizeof(trial->result->flaw));
	return true;
}

/* --- bindings: where keys may live now ---------------------------------------------------------------------------- */

struct fenced {
	unsigned count;
	uint64_t policies[FENCED_POLICIES_MAX];
	bool too_many;
};

static void fence(struct fenced *fenced, uint64_t policy)
{
	for (unsigned i = 0; i < fenced->count; i++)
		if (fenced->policies[i] == policy)
			return;
	fenced->too_many |= fenced->count == FENCED_POLICIES_MAX;
	if (fenced->count < FENCED_POLICIES_MAX)
		fenced->policies[fenced->count++] = policy;
}

/* Nobody but its owner knows which prefix is around an exact key, so it may live under any. */
static void fence_all_prefixes(const struct cluster_map *map, uint64_t target, struct fenced *fenced)
{
	for (uint32_t i = 0; i < map->binding_count; i++) {
		const struct map_binding *binding = &map->bindings[i];
		if (binding->exact || binding->policy == 0)
			continue;
		if (binding->policy != target)
			fence(fenced, binding->policy);
		const struct map_operation *operation =
			is_marked(binding) ? NULL : map_operation_find(map, binding->pending_operation);
		uint64_t comes = operation ? operation->binding_policy : 0;
		if (comes != 0 && comes != target)
			fence(fenced, comes);
	}
}

/* The policies whose shards may hold keys that the marked binding takes elsewhere. Called for one after the other in
 * the order of the array, so that those around it are still marked. */
static struct fenced fenced_by(const struct trial *trial, const struct map_binding *binding)
{
	struct fenced fenced = { 0 };
	bool unset = trial->change->kind == CHANGE_BINDING_UNSET;
	const struct policy *named = unset ? NULL : map_policy_by_name(trial->map, mark_of(trial, binding)->policy);
	uint64_t target = named ? named->id : 0; /* 0 too for one that the change brings: nothing lives there */
	const struct map_binding *cover = binding->exact ? NULL : cover_now(trial->map, prefix_of(binding));
	if (binding->policy != 0) {
		bool stays = unset && cover && cover->pending_operation == 0 && cover->policy == binding->policy;
		if (!stays)
			fence(&fenced, binding->policy);
	} else if (binding->exact) {
		fence_all_prefixes(trial->map, target, &fenced);
	} else if (cover && cover->policy != target) {
		fence(&fenced, cover->policy);
	}
	return fenced;
}

static bool judge_room(const struct trial *trial, uint32_t moving)
{
	const struct cluster_map *map = trial->map;
	uint32_t needed = moving;
	for (uint32_t i = 0; i < map->binding_count; i++) {
		if (!is_marked(&map->bindings[i]))
			continue;
		struct fenced fenced = fenced_by(trial, &map->bindings[i]);
		if (fenced.too_many)
			return meta_refuse(trial->result, STATUS_INVALID, mark_of(trial, &map->bindings[i])->line,
				TEXTS("the exact key may live under any of more than 8 policies, and all would have to "
				      "be "
				      "asked"),
				TEXTS("bind a prefix instead: what is around it is known"));
		needed += fenced.count > 0;
	}
	if (needed > meta_operations_free(map))
		return meta_refuse(trial->result, STATUS_CONFLICT, 0,
			TEXTS("the change would start ", meta_number(needed).text,
				" operations, and there is room for ", meta_number(meta_operations_free(map)).text),
			TEXTS("wait until running ones are done, or change fewer bindings at a time"));
	return true;
}

/* --- committing
 * ------------------------------------------------------------------------------------------------------- */

struct placement meta_shard_placement(
	const struct cluster_map *map, const struct policy *policy, const struct map_shard *current)
{
	struct placement placement;
	struct flaw flaw;
	if (placement_choose(map, policy, current, &placement, &flaw))
		return placement;
	/* The search is bounded, and what nodes carry steers it; without that it was seen to succeed. */
	bool placed = place_anywhere(map, policy, &placement, &flaw);
	assert(placed);
	return placement;
}

void meta_shard_birth(const struct cluster_map *map, const struct policy *policy, struct map_shard *shard)
{
	struct membership membership;
	bool formed = placement_membership(map, policy, shard->replicas, shard->replica_count, &membership);
	assert(formed);
	shard->birth_rule = membership.rule_new;
	for (unsigned i = 0; i < membership.count; i++)
		shard->birth_areas[i] = membership.at[i].areas;
}

static void shards_create(struct cluster_map *map, const struct policy *policy)
{
	uint64_t width = UINT64_MAX / SHARDS_PER_POLICY + 1;
	for (unsigned i = 0; i < SHARDS_PER_POLICY; i++) {
		assert(map->shard_count < map->shard_max);
		struct placement placement = meta_shard_placement(map, policy, NULL);
		struct map_shard *shard = &map->shards[map->shard_count];
		memset(shard, 0, sizeof(*shard));
		shard->id = map->id_next++;
		shard->policy = policy->id;
		shard->hash_first = i * width;
		shard->hash_last = i * width + (width - 1);
		shard->range_epoch = map->epoch + 1;
		meta_shard_want(map, shard, &placement);
		memcpy(shard->replicas, shard->wanted, sizeof(shard->replicas));
		shard->replica_count = shard->member_count = shard->wanted_count;
		meta_shard_birth(map, policy, shard);
		assert(map->shard_count == 0 || map->shards[map->shard_count - 1].policy <= policy->id);
		map->shard_count++;
	}
}

/* What was asked of the policy's shards before does not hold any more: they go where it says now. */
static void operation_overtaken(struct cluster_map *map, uint64_t id, uint64_t by, uint64_t now_us)
{
	struct map_operation *operation = meta_operation(map, id);
	assert(operation);
	if (operation->state != OPERATION_RUNNING)
		return; /* with another of its shards */
	operation->state = OPERATION_FAILED;
	operation->ended_us = now_us;
	struct text text;
	text_init(&text, operation->text, sizeof(operation->text));
	text_add(&text, "overtaken: the policy has changed since, and operation ");
	text_add_u64(&text, by);
	text_add(&text, " moves what this one moved");
}

static void shards_move(struct trial *trial, const struct policy *policy)
{
	struct cluster_map *map = trial->map;
	struct map_operation *operation = NULL;
	uint32_t count;
	struct map_shard *shards = meta_shards_of(map, policy->id, &count);
	for (uint32_t i = 0; i < count; i++) {
		struct placement placement = meta_shard_placement(map, policy, &shards[i]);
		const uint64_t before = shards[i].operation;
		const bool differs = meta_shard_want(map, &shards[i], &placement);
		if (before == 0 ? !differs : !operation_lists_shards(meta_operation(map, before)->kind))
			continue; /* it stays, or what it leaves it still leaves */
		if (!operation)
			operation = meta_operation_begin(map, OPERATION_POLICY, policy->id, 0, trial->change->now_us);
		if (before != 0)
			operation_overtaken(map, before, operation->id, trial->change->now_us);
		meta_operation_add_shard(operation, shards[i].id);
		shards[i].operation = operation->id;
	}
	if (!operation)
		return;
	struct text text;
	text_init(&text, operation->text, sizeof(operation->text));
	text_add_u64(&text, operation->steps);
	text_add(&text, operation->steps == 1 ? " shard of " : " shards of ");
	text_add(&text, policy->name);
	text_add(&text, " move to where the changed policy wants them");
	if (trial->result->id == 0)
		trial->result->id = operation->id;
}

static void version_forget(struct cluster_map *map, uint32_t at)
{
	map->version_count--;
	memmove(&map->versions[at], &map->versions[at + 1], (map->version_count - at) * sizeof(*map->versions));
}

/* What the policy said until now, for who asks later or wants it back. */
static void version_keep(struct trial *trial, const struct policy *now)
{
	struct cluster_map *map = trial->map;
	uint32_t of_it = 0, oldest = 0;
	if (map->version_max == 0)
		return;
	for (uint32_t i = map->version_count; i > 0; i--) {
		if (map->versions[i - 1].rules.id != now->id)
			continue;
		of_it++;
		oldest = i - 1;
	}
	if (of_it == POLICY_VERSIONS_MAX)
		version_forget(map, oldest);
	else if (map->version_count == map->version_max)
		version_forget(map, 0);
	map->versions[map->version_count++] = (struct policy_version){ .rules = *now,
		.since_us = now->changed_us,
		.until_epoch = map->epoch + 1,
		.until_us = trial->change->now_us };
}

static void commit_policies(struct trial *trial)
{
	struct cluster_map *map = trial->map;
	for (uint32_t i = 0; i < trial->change->policy_count; i++) {
		const struct policy *from = &trial->change->policies[i];
		const struct policy *now = map_policy_by_name(map, from->name);
		if (now && policy_equal(now, from))
			continue;
		struct policy *policy = now ? &map->policies[now - map->policies] : &map->policies[map->policy_count++];
		uint64_t id = now ? now->id : map->id_next++;
		assert(map->policy_count <= map->policy_max);
		if (now)
			version_keep(trial, now);
		*policy = *from;
		policy->id = id;
		policy->epoch = map->epoch + 1;
		policy->changed_us = trial->change->now_us;
		policy->line = 0;
		if (now)
			shards_move(trial, policy);
		else
			shards_create(map, policy);
	}
}

static void operation_describe(struct map_operation *operation, const struct map_binding *binding, const char *policy)
{
	struct text text;
	text_init(&text, operation->text, sizeof(operation->text));
	meta_binding_describe(&text, binding);
	text_add(&text, policy ? " goes to policy " : " goes away");
	if (policy)
		text_add(&text, policy);
	text_add(&text, ": ");
	text_add_u64(&text, operation->steps);
	text_add(&text, " shards are asked for the keys that live there");
}

static void commit_binding(struct trial *trial, struct map_binding *binding, const struct fenced *fenced)
{
	struct cluster_map *map = trial->map;
	const struct change_binding *from = mark_of(trial, binding);
	bool unset = trial->change->kind == CHANGE_BINDING_UNSET;
	const struct policy *target = unset ? NULL : map_policy_by_name(map, from->policy);
	assert(unset || target);
	if (fenced->count == 0) {
		if (unset) {
			meta_binding_remove(map, (uint32_t)(binding - map->bindings));
			return;
		}
		binding->policy = target->id;
		binding->pending_operation = 0;
		return;
	}
	struct map_operation *operation = meta_operation_begin(map, OPERATION_BINDING,
		fenced->count == 1 ? fenced->policies[0] : 0, unset ? 0 : target->id, trial->change->now_us);
	meta_rebind_begin(map, operation, binding, fenced->policies, fenced->count);
	operation_describe(operation, binding, unset ? NULL : target->name);
	binding->pending_operation = operation->id;
	if (binding->policy == 0)
		binding->policy = target->id;
	if (trial->result->id == 0)
		trial->result->id = operation->id;
}

/* From the longest prefix to the shortest: what a binding takes keys from is around it, hence still marked. */
static void commit_bindings(struct trial *trial)
{
	for (uint32_t i = 0; i < trial->map->binding_count; i++) {
		struct map_binding *binding = &trial->map->bindings[i];
		if (!is_marked(binding))
			continue;
		struct fenced fenced = fenced_by(trial, binding);
		assert(!fenced.too_many);
		uint32_t count = trial->map->binding_count;
		commit_binding(trial, binding, &fenced);
		if (trial->map->binding_count < count)
			break; /* the one that a change may unset is gone */
	}
}

/* While keys move, every node must find the same of where each goes. */
static bool judge_moves(const struct trial *trial)
{
	for (uint32_t i = 0; i < trial->map->binding_count; i++) {
		const struct map_binding *binding = &trial->map->bindings[i];
		const struct map_operation *operation =
			is_marked(binding) ? meta_rebind_under_way(trial->map, binding) : NULL;
		if (operation)
			return meta_refuse(trial->result, STATUS_CONFLICT, mark_of(trial, binding)->line,
				TEXTS("operation ", meta_number(operation->id).text, " moves keys that ",
					name_of(binding).text, " may cover"),
				TEXTS("wait until it is done: domctl operation wait"));
	}
	return true;
}

/* While hashes go from one shard to another, no key comes to the policy's shards, or leaves them. */
static bool judge_ranges(const struct trial *trial)
{
	for (uint32_t i = 0; i < trial->map->binding_count; i++) {
		const struct map_binding *binding = &trial->map->bindings[i];
		if (!is_marked(binding))
			continue;
		bool unset = trial->change->kind == CHANGE_BINDING_UNSET;
		const struct policy *to =
			unset ? NULL : map_policy_by_name(trial->map, mark_of(trial, binding)->policy);
		struct fenced fenced = fenced_by(trial, binding);
		const struct map_operation *operation = NULL;
		if (fenced.count > 0 && (unset || to)) /* unset: to any policy */
			operation = meta_range_under_way(trial->map, unset ? 0 : to->id);
		for (unsigned j = 0; !operation && j < fenced.count; j++)
			operation = meta_range_under_way(trial->map, fenced.policies[j]);
		if (operation)
			return meta_refuse(trial->result, STATUS_CONFLICT, mark_of(trial, binding)->line,
				TEXTS("operation ", meta_number(operation->id).text,
					" splits or merges a shard that keys of ", name_of(binding).text, " may be in"),
				TEXTS("wait until it is done: domctl operation wait ",
					meta_number(operation->id).text));
	}
	return true;
}

static bool judge_counts(const struct change *change, struct meta_result *result)
{
	bool one = change->kind == CHANGE_BINDING_SET || change->kind == CHANGE_BINDING_UNSET;
	if (one && (change->binding_count != 1 || change->policy_count != 0))
		return meta_refuse(result, STATUS_INVALID, 0, TEXTS("the change names no binding, or more than one"),
			TEXTS("send one at a time, or apply a file"));
	return true;
}

bool meta_apply_rules(struct cluster_map *map, const struct change *change, struct meta_result *result)
{
	struct trial trial = { .map = map, .change = change, .result = result };
	uint32_t moving = 0;
	if (!judge_counts(change, result) || !judge_policies(&trial, &moving))
		return false;
	bool good = true;
	for (uint32_t i = 0; good && i < change->binding_count; i++)
		good = mark_binding(&trial, i);
	good = good && judge_moves(&trial) && judge_ranges(&trial) && judge_tighten(&trial) &&
	       judge_room(&trial, moving);
	if (!good || change->dry_run) {
		unmark(map);
		return good;
	}
	/* A target that is new in this change has an id from here on, and still holds no key. */
	commit_policies(&trial);
	commit_bindings(&trial);
	return true;
}

void meta_binding_settle(struct cluster_map *map, const struct map_operation *operation, bool failed)
{
	for (uint32_t i = 0; i < map->binding_count; i++) {
		struct map_binding *binding = &map->bindings[i];
		if (binding->pending_operation != operation->id)
			continue;
		bool old = operation->policy == binding->policy;
		bool stays = old ? failed || operation->binding_policy != 0 : !failed;
		binding->pending_operation = 0;
		if (!stays)
			meta_binding_remove(map, i);
		else if (old && !failed)
			binding->policy = operation->binding_policy;
		return;
	}
	assert(false); /* a running operation has its binding */
}
