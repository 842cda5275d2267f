/* replication/meta_rebind.c: an OPERATION_BINDING from its first fence to its end: what the leaders of its shards
 * report takes it from phase to phase. Splits and merges go the same way, with less to decide (meta_split.c).
 *
 *   FENCE --- no keys ---------> SEAL ------ the switch --------------------------------> done
 *     | keys            all copied   |      no copy comes any more   nothing left behind
 *     +----------> COPY ----------> CLOSE ---- the switch ----> PURGE ----------------> done
 *     |   WAIT -----^ |              |                       nothing left where they went
 *     |    ^ inside it+--------------+-----------------> ABORT ------------------------> failed
 *     +----+ another one runs
 *     | cannot move
 *     v
 *   failed
 *
 * While keys move, no binding that could cover one of them changes: so every map in which the operation copies says the
 * same of where each key goes. Of two that meet, the one of the longer prefix, or of one key, goes first, for the other
 * could not tell which keys are its own; it waits, and takes the first one's keys into its count, for that may have
 * brought them behind fences where they were not counted. Reports are of one phase, so a late one changes nothing.
 *
 * CLOSE and SEAL put all versions to come, where the keys may be written then, above those that they had where they
 * were: what a client knows of the one place names nothing else in the other. */
#include "replication/meta_internal.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"

static void phase_begin(
	struct cluster_map *map, struct map_operation *operation, enum operation_phase phase, const uint64_t policies[])
{
	unsigned count = policies == operation->sources ? operation->source_count : operation->target_count;
	bool range = operation_of_range(operation->kind);
	assert(range || count > 0);
	operation->state = OPERATION_RUNNING;
	operation->ended_us = 0;
	operation->phase = (uint8_t)phase;
	operation->phase_epoch = map->epoch + 1;
	operation->steps = operation->steps_done = 0;
	memset(operation->shards_done, 0, sizeof(operation->shards_done));
	if (range)
		meta_operation_add_shard(
			operation, policies == operation->sources ? operation->shard_from : operation->shard_to);
	for (unsigned i = 0; i < count; i++) {
		uint32_t shard_count;
		const struct map_shard *shards = meta_shards_of(map, policies[i], &shard_count);
		for (uint32_t j = 0; j < shard_count; j++)
			meta_operation_add_shard(operation, shards[j].id);
	}
}

void meta_rebind_begin(struct cluster_map *map, struct map_operation *operation, const struct map_binding *binding,
	const uint64_t sources[], unsigned count)
{
	assert(count > 0);
	assert(count <= OPERATION_POLICIES_MAX);
	operation->source_count = (uint8_t)count;
	memcpy(operation->sources, sources, count * sizeof(sources[0]));
	operation->exact = binding->exact;
	operation->hash = binding->hash;
	operation->prefix_size = binding->prefix_size;
	memcpy(operation->prefix, binding->prefix, binding->prefix_size);
	phase_begin(map, operation, PHASE_FENCE, operation->sources);
}

void meta_range_begin(struct cluster_map *map, struct map_operation *operation)
{
	if (operation->kind == OPERATION_SPLIT)
		phase_begin(map, operation, PHASE_BIRTH, operation->targets);
	else
		phase_begin(map, operation, PHASE_FENCE, operation->sources);
	meta_range_say(operation);
}

const struct map_operation *meta_rebind_under_way(const struct cluster_map *map, const struct map_binding *binding)
{
	for (uint32_t i = 0; i < map->operation_count; i++) {
		const struct map_operation *operation = &map->operations[i];
		if (operation->kind == OPERATION_BINDING && operation->state == OPERATION_RUNNING &&
			operation->phase != PHASE_FENCE &&
			map_operation_overlaps(operation, binding->exact, binding->hash,
				bytes_of(binding->prefix, binding->prefix_size)))
			return operation;
	}
	return NULL;
}

/* --- texts ------------------------------------------------------------------------------------------- */

static void describe_binding(struct text *text, const struct map_operation *operation)
{
	struct map_binding binding = {
		.exact = operation->exact, .hash = operation->hash, .prefix_size = operation->prefix_size
	};
	memcpy(binding.prefix, operation->prefix, operation->prefix_size);
	meta_binding_describe(text, &binding);
}

static void say(struct map_operation *operation, const char *const parts[])
{
	struct text text;
	text_init(&text, operation->text, sizeof(operation->text));
	describe_binding(&text, operation);
	meta_join(operation->text + text.size, sizeof(operation->text) - text.size, parts);
}

/* --- to where ---------------------------------------------------------------------------------------- */

/* Of the policies above `above` the least ones, in order. */
static void add_target(struct map_operation *operation, uint64_t policy, uint64_t above, bool *more)
{
	unsigned at = operation->target_count;
	if (policy <= above)
		return;
	while (at > 0 && operation->targets[at - 1] > policy)
		at--;
	if (at > 0 && operation->targets[at - 1] == policy)
		return;
	if (operation->target_count == OPERATION_POLICIES_MAX)
		*more = true;
	else
		operation->target_count++;
	for (unsigned i = operation->target_count; i > at + 1; i--)
		operation->targets[i - 1] = operation->targets[i - 2];
	if (at < OPERATION_POLICIES_MAX)
		operation->targets[at] = policy;
}

/* The next shorter prefix in force. */
static const struct map_binding *around_now(const struct cluster_map *map, const struct map_operation *operation)
{
	for (size_t size = operation->prefix_size; size > 0; size--) {
		const struct map_binding *around = map_binding_by_prefix(map, bytes_of(operation->prefix, size - 1));
		if (around && map_binding_in_force(map, around))
			return around;
	}
	return NULL;
}

/* Without its own binding, an exact key falls to whatever prefix is around it: only who has the key knows. Those above
 * `above`; true: there are more than fit. */
static bool find_targets(const struct cluster_map *map, struct map_operation *operation, uint64_t above)
{
	bool more = false;
	operation->target_count = 0;
	memset(operation->targets, 0, sizeof(operation->targets));
	if (operation->binding_policy != 0) {
		add_target(operation, operation->binding_policy, above, &more);
	} else if (!operation->exact) {
		const struct map_binding *around = around_now(map, operation);
		if (around)
			add_target(operation, around->policy, above, &more);
	} else {
		for (uint32_t i = 0; i < map->binding_count; i++) {
			const struct map_binding *binding = &map->bindings[i];
			if (!binding->exact && binding->policy != operation->policy &&
				map_binding_in_force(map, binding))
				add_target(operation, binding->policy, above, &more);
		}
	}
	return more;
}

static bool binds_prefix(const struct cluster_map *map)
{
	return map->binding_count > 0 && !map->bindings[map->binding_count - 1].exact;
}

/* --- from phase to phase ------------------------------------------------------------------------------- */

static void end(struct map_operation *operation, enum operation_state state, uint64_t now_us)
{
	operation->state = (uint8_t)state;
	operation->ended_us = now_us;
}

static void fail_fenced(
	struct cluster_map *map, struct map_operation *operation, uint64_t now_us, const char *why, const char *cure)
{
	say(operation, TEXTS(" stays as it was: ", meta_number(operation->keys).text, " such keys live there, and ",
			       why, "; ", cure));
	meta_binding_settle(map, operation, true);
	end(operation, OPERATION_FAILED, now_us);
}

static void settle(struct cluster_map *map, struct map_operation *operation, uint64_t now_us)
{
	say(operation, TEXTS(operation->keys == 0 ? " has changed; no key lived there"
						  : " has changed, and its keys stay where they are"));
	meta_binding_settle(map, operation, false);
	operation->steps_done = operation->steps; /* it may have waited: no shard has anything to do any more */
	end(operation, OPERATION_DONE, now_us);
}

/* NULL: none runs. */
static const struct map_operation *inside(const struct cluster_map *map, const struct map_operation *operation)
{
	for (uint32_t i = 0; i < map->operation_count; i++) {
		const struct map_operation *other = &map->operations[i];
		if (other->kind == OPERATION_BINDING && other->state == OPERATION_RUNNING &&
			map_operation_inside(other, operation))
			return other;
	}
	return NULL;
}

static void copy_begin(struct cluster_map *map, struct map_operation *operation, uint64_t now_us)
{
	assert(!inside(map, operation));
	if (find_targets(map, operation, 0)) {
		fail_fenced(map, operation, now_us, "they may belong to any of more than 8 policies then",
			"bind the key to the policy that it should have");
	} else if (operation->target_count == 0 && operation->keys == 0) {
		settle(map, operation, now_us);
	} else if (operation->target_count == 0 && operation->exact && binds_prefix(map)) {
		/* It stays if one of those prefixes, all of its policy, is around it. Who has the key looks. */
		phase_begin(map, operation, PHASE_COPY, operation->sources);
		say(operation, TEXTS(" changes: who has the key is asked what is around it"));
	} else if (operation->target_count == 0) {
		fail_fenced(map, operation, now_us, "no binding would cover them",
			"delete them, or bind a prefix around them first");
	} else {
		phase_begin(map, operation, PHASE_COPY, operation->sources);
		say(operation, TEXTS(" changes: ", meta_number(operation->keys).text,
				       " keys are copied to where they will live"));
	}
}

/* There is nothing to copy. Of targets above `above`: eight policies at a time. */
static void seal_begin(struct cluster_map *map, struct map_operation *operation, uint64_t above, uint64_t now_us)
{
	find_targets(map, operation, above);
	if (operation->target_count == 0)
		settle(map, operation, now_us);
	else
		phase_begin(map, operation, PHASE_SEAL, operation->targets);
}

static void fenced(struct cluster_map *map, struct map_operation *operation, uint64_t now_us)
{
	const struct map_operation *first = inside(map, operation);
	if (first) {
		phase_begin(map, operation, PHASE_WAIT, operation->sources);
		say(operation, TEXTS(" changes when operation ", meta_number(first->id).text,
				       " is done, which decides on some of its keys"));
	} else if (operation->keys > 0) {
		copy_begin(map, operation, now_us);
	} else {
		seal_begin(map, operation, 0, now_us);
	}
}

static uint64_t sum(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static bool names(const uint64_t policies[], unsigned count, uint64_t policy)
{
	for (unsigned i = 0; i < count; i++)
		if (policies[i] == policy)
			return true;
	return false;
}

/* It is done, and its keys may have come behind fences of those around it whose shards had counted before. Too many are
 * none too few: what is not there is not copied. Versions that its keys had count there too. */
static void pass_on(struct cluster_map *map, const struct map_operation *inner)
{
	for (uint32_t i = 0; i < map->operation_count; i++) {
		struct map_operation *outer = &map->operations[i];
		bool brought = false;
		if (outer->kind != OPERATION_BINDING || outer->state != OPERATION_RUNNING ||
			!map_operation_inside(inner, outer))
			continue;
		assert(outer->phase <= PHASE_WAIT);
		for (unsigned j = 0; j < inner->target_count; j++)
			brought |= names(outer->sources, outer->source_count, inner->targets[j]);
		if (brought)
			outer->keys = sum(outer->keys, inner->keys);
		if (inner->version > outer->version)
			outer->version = inner->version;
	}
}

/* An operation has ended: those that waited for it go on. */
static void wake(struct cluster_map *map, uint64_t now_us)
{
	for (uint32_t i = 0; i < map->operation_count; i++) {
		struct map_operation *operation = &map->operations[i];
		if (operation->state != OPERATION_RUNNING || operation->phase != PHASE_WAIT || inside(map, operation))
			continue;
		copy_begin(map, operation, now_us);
		if (operation->state != OPERATION_RUNNING)
			i = UINT32_MAX; /* once more: another may have waited for this one */
	}
}

/* The old binding is in force at once. */
static void give_up(struct cluster_map *map, struct map_operation *operation, const char *why, uint64_t now_us)
{
	assert(operation->phase >= PHASE_COPY || operation_of_range(operation->kind));
	assert(operation->phase < PHASE_PURGE);
	if (operation_of_range(operation->kind)) {
		phase_begin(map, operation, PHASE_ABORT, operation->targets);
		meta_range_stays(operation, why);
		if (operation->kind == OPERATION_SPLIT) { /* what was copied goes with the new shard */
			end(operation, OPERATION_FAILED, now_us);
			meta_range_drop_child(map, operation);
		}
		return;
	}
	meta_binding_settle(map, operation, true);
	say(operation, TEXTS(" stays as it was: ", why));
	if (operation->target_count == 0) { /* nothing was to go anywhere */
		end(operation, OPERATION_FAILED, now_us);
		wake(map, now_us);
		return;
	}
	phase_begin(map, operation, PHASE_ABORT, operation->targets);
}

bool meta_rebind_cancel(struct cluster_map *map, struct map_operation *operation, uint64_t now_us)
{
	assert(operation_moves_keys(operation->kind));
	assert(operation->state == OPERATION_RUNNING);
	if (operation->phase == PHASE_PURGE || operation->phase == PHASE_ABORT)
		return false;
	if (operation_of_range(operation->kind) || operation->phase == PHASE_COPY || operation->phase == PHASE_CLOSE) {
		give_up(map, operation, "it was cancelled", now_us);
	} else { /* nothing was copied */
		meta_binding_settle(map, operation, true);
		say(operation, TEXTS(" stays as it was: it was cancelled"));
		end(operation, OPERATION_FAILED, now_us);
		wake(map, now_us);
	}
	return true;
}

/* A split or a merge has nobody to wait for, and one shard on each side. */
static void range_phase_end(struct cluster_map *map, struct map_operation *operation, uint64_t now_us)
{
	switch ((enum operation_phase)operation->phase) {
	case PHASE_BIRTH:
		phase_begin(map, operation, PHASE_FENCE, operation->sources);
		break;
	case PHASE_FENCE: /* keys or not: the records of sessions go too */
		phase_begin(map, operation, PHASE_COPY, operation->sources);
		break;
	case PHASE_COPY:
		phase_begin(map, operation, PHASE_CLOSE, operation->targets);
		break;
	case PHASE_CLOSE:
		meta_range_switch(map, operation, now_us);
		phase_begin(map, operation, PHASE_PURGE, operation->sources);
		if (operation->kind == OPERATION_MERGE) { /* what it had goes with its replicas */
			operation->steps_done = operation->steps;
			end(operation, OPERATION_DONE, now_us);
		}
		break;
	case PHASE_PURGE:
		end(operation, OPERATION_DONE, now_us);
		break;
	case PHASE_ABORT:
		end(operation, OPERATION_FAILED, now_us);
		break;
	case PHASE_WAIT:
	case PHASE_SEAL:
	case PHASE_NONE:
		assert(false); /* of bindings only */
	}
	if (operation->phase != PHASE_ABORT)
		meta_range_say(operation);
}

static void phase_end(struct cluster_map *map, struct map_operation *operation, uint64_t now_us)
{
	if (operation_of_range(operation->kind)) {
		range_phase_end(map, operation, now_us);
		return;
	}
	switch ((enum operation_phase)operation->phase) {
	case PHASE_FENCE:
		fenced(map, operation, now_us);
		return;
	case PHASE_COPY:
		if (operation->target_count == 0)
			settle(map, operation, now_us);
		else
			phase_begin(map, operation, PHASE_CLOSE, operation->targets);
		return;
	case PHASE_CLOSE:
		meta_binding_settle(map, operation, false);
		phase_begin(map, operation, PHASE_PURGE, operation->sources);
		say(operation, TEXTS(" has changed: ", meta_number(operation->keys).text,
				       " keys live where it says, and are removed from where they were"));
		return;
	case PHASE_SEAL:
		seal_begin(map, operation, operation->targets[operation->target_count - 1], now_us);
		return;
	case PHASE_PURGE:
		say(operation, TEXTS(" has changed, and ", meta_number(operation->keys).text, " keys were moved"));
		end(operation, OPERATION_DONE, now_us);
		return;
	case PHASE_ABORT:
		end(operation, OPERATION_FAILED, now_us);
		return;
	case PHASE_WAIT:
	case PHASE_BIRTH:
	case PHASE_NONE:
		break;
	}
	assert(false); /* no shard has a step of it */
}

/* --- reports ------------------------------------------------------------------------------------------- */

/* The operation whose step is reported as done; NULL: known already, over, or (*good false) refused. */
static struct map_operation *reported(struct cluster_map *map, const struct change *change, enum operation_phase phase,
	struct meta_result *result, bool *good)
{
	struct map_operation *operation = NULL;
	for (uint32_t i = 0; i < map->operation_count; i++)
		if (map->operations[i].id == change->operation)
			operation = &map->operations[i];
	result->id = change->operation;
	*good = true;
	if (!operation && (change->operation == 0 || change->operation >= map->id_next)) {
		*good = meta_refuse(result, STATUS_NOT_FOUND, 0,
			TEXTS("there is no operation ", meta_number(change->operation).text),
			TEXTS("fetch the newest map"));
		return NULL;
	}
	if (!operation || operation->state != OPERATION_RUNNING)
		return NULL; /* over, and maybe forgotten */
	bool asked = false;
	for (uint32_t i = 0; operation_moves_keys(operation->kind) && i < operation->steps; i++)
		asked |= operation->shards_done[i] == change->shard;
	if (operation_moves_keys(operation->kind) && operation->phase != phase)
		return NULL; /* late */
	if (!asked) {
		*good = meta_refuse(result, STATUS_INVALID, 0,
			TEXTS("operation ", meta_number(change->operation).text, " asked shard ",
				meta_number(change->shard).text, " for no such step"),
			TEXTS("fetch the newest map"));
		return NULL;
	}
	return map_operation_awaits(operation, change->shard) ? operation : NULL;
}

static void step(struct cluster_map *map, struct map_operation *operation, const struct change *change)
{
	enum operation_step taken = meta_operation_step(operation, change->shard, change->now_us);
	assert(taken == STEP_TAKEN);
	if (operation->state == OPERATION_DONE)
		phase_end(map, operation, change->now_us);
	if (operation->state == OPERATION_DONE)
		pass_on(map, operation);
	if (operation->state != OPERATION_RUNNING)
		wake(map, change->now_us);
}

bool meta_apply_fence_report(
	struct cluster_map *map, const struct change *change, struct meta_result *result, bool *changed)
{
	bool good;
	struct map_operation *operation = reported(map, change, PHASE_FENCE, result, &good);
	*changed = operation != NULL;
	if (!operation || change->dry_run)
		return good;
	operation->keys = sum(operation->keys, change->keys_found);
	if (change->version > operation->version)
		operation->version = change->version;
	step(map, operation, change);
	return true;
}

bool meta_apply_move_report(
	struct cluster_map *map, const struct change *change, struct meta_result *result, bool *changed)
{
	bool good;
	struct map_operation *operation = NULL;
	if (change->phase < PHASE_COPY && change->phase != PHASE_BIRTH)
		return meta_refuse(result, STATUS_INVALID, 0, TEXTS("no step of moving keys is reported that way"),
			TEXTS("report the phase that the operation is in"));
	operation = reported(map, change, (enum operation_phase)change->phase, result, &good);
	*changed = operation != NULL;
	if (!operation || change->dry_run)
		return good;
	if (change->phase < PHASE_PURGE && change->keys_found > 0)
		give_up(map, operation,
			operation_of_range(operation->kind) ? "a key of it was refused where it goes"
							    : "a key of it would be covered by no binding, or by a "
							      "policy that allows more than the "
							      "one around it, or was refused where it goes",
			change->now_us);
	else
		step(map, operation, change);
	return true;
}
