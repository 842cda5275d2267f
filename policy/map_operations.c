/* policy/map_operations.c: see policy/map.h: operations under way, and what the pending ones mean for bindings. */
#include "policy/map.h"

#include <assert.h>

const struct map_operation *map_operation_find(const struct cluster_map *map, uint64_t id)
{
	assert(map->operation_count <= map->operation_max);
	for (uint32_t i = map->operation_count; i > 0; i--)
		if (map->operations[i - 1].id == id)
			return &map->operations[i - 1];
	return NULL;
}

bool map_binding_in_force(const struct cluster_map *map, const struct map_binding *binding)
{
	if (binding->pending_operation == 0)
		return true;
	const struct map_operation *operation = map_operation_find(map, binding->pending_operation);
	return operation && operation->policy == binding->policy;
}

static bool names(const uint64_t policies[], unsigned count, uint64_t policy)
{
	assert(count <= OPERATION_POLICIES_MAX);
	for (unsigned i = 0; i < count; i++)
		if (policies[i] == policy)
			return true;
	return false;
}

static bool runs(const struct map_operation *operation)
{
	return operation->kind == OPERATION_BINDING && operation->state == OPERATION_RUNNING;
}

bool map_operation_has(const struct cluster_map *map, const struct map_operation *operation, struct bytes key)
{
	assert(operation_moves_keys(operation->kind));
	if (operation_of_range(operation->kind))
		return hash_within(hash_key(key), operation->hash_first, operation->hash_last);
	if (operation->exact)
		return hash128_equal(hash_keyed(key, map->hash_secret), operation->hash);
	return bytes_starts_with(key, bytes_of(operation->prefix, operation->prefix_size));
}

bool map_operation_fences(const struct map_operation *operation)
{
	return operation_moves_keys(operation->kind) && operation->state == OPERATION_RUNNING &&
	       operation->phase != PHASE_ABORT;
}

bool map_operation_awaits(const struct map_operation *operation, uint64_t shard)
{
	if (operation->state != OPERATION_RUNNING || !operation_lists_shards(operation->kind))
		return false;
	for (uint32_t i = operation->steps_done; i < operation->steps; i++)
		if (operation->shards_done[i] == shard)
			return true;
	return false;
}

bool map_operation_fence(const struct map_operation *operation, uint64_t policy, bool *exact, uint64_t exact_hash[2],
	struct bytes *prefix)
{
	if (!runs(operation) || operation->phase != PHASE_FENCE ||
		!names(operation->sources, operation->source_count, policy))
		return false;
	*exact = operation->exact;
	exact_hash[0] = operation->exact ? operation->hash.high : 0;
	exact_hash[1] = operation->exact ? operation->hash.low : 0;
	*prefix = bytes_of(operation->prefix, operation->prefix_size);
	return true;
}

bool map_operation_fences_range(const struct map_operation *operation, uint64_t shard)
{
	return operation_of_range(operation->kind) && operation->state == OPERATION_RUNNING &&
	       operation->phase == PHASE_FENCE && operation->shard_from == shard;
}

bool map_range_moved(const struct map_shard *shard, uint64_t hash_first, uint64_t hash_last)
{
	assert(hash_first <= hash_last);
	if (!shard || map_shard_empty(shard))
		return true;
	return hash_last < shard->hash_first || hash_first > shard->hash_last;
}

/* Of this operation. */
static const struct map_binding *closest_binding(
	const struct cluster_map *map, const struct map_operation *operation, struct bytes key)
{
	const struct map_binding *binding = map_binding_pending_of(map, key);
	return binding && binding->pending_operation == operation->id ? binding : NULL;
}

enum map_move map_operation_moves(const struct cluster_map *map, const struct map_operation *operation, uint64_t policy,
	struct bytes key, uint64_t *target)
{
	const struct map_binding *binding = closest_binding(map, operation, key);
	*target = 0;
	if (!binding)
		return MOVE_STAYS;
	*target = operation->binding_policy;
	/* It goes away: the next shorter one takes the key. One of those may be decided on too: it waits for this one.
	 */
	size_t size = binding->exact ? key.size + 1 : binding->prefix_size;
	for (; *target == 0 && size > 0; size--) {
		const struct map_binding *around = map_binding_by_prefix(map, bytes_of(key.data, size - 1));
		if (around && map_binding_in_force(map, around))
			*target = around->policy;
	}
	if (*target == 0)
		return MOVE_NOWHERE;
	return *target == policy ? MOVE_STAYS : MOVE_GOES;
}

enum map_move map_operation_moves_from(const struct cluster_map *map, const struct map_operation *operation,
	const struct map_shard *from, struct bytes key, const struct map_shard **to)
{
	uint64_t target;
	assert(operation_moves_keys(operation->kind));
	*to = NULL;
	if (operation_of_range(operation->kind)) {
		if (from->id != operation->shard_from || !map_operation_has(map, operation, key))
			return MOVE_STAYS;
		*to = map_shard_find(map, operation->shard_to);
		return MOVE_GOES;
	}
	enum map_move move = map_operation_moves(map, operation, from->policy, key, &target);
	if (move == MOVE_GOES)
		*to = map_shard_of(map, target, key);
	return move;
}

bool map_lives_in(const struct cluster_map *map, const struct map_shard *shard, struct bytes key)
{
	const struct map_binding *binding = map_binding_of(map, key);
	return binding && binding->policy == shard->policy && map_shard_has(shard, hash_key(key));
}

bool map_operation_overlaps(const struct map_operation *operation, bool exact, struct hash128 hash, struct bytes prefix)
{
	if (operation->exact && exact)
		return operation->hash.high == hash.high && operation->hash.low == hash.low;
	if (operation->exact || exact)
		return true;
	struct bytes own = bytes_of(operation->prefix, operation->prefix_size);
	return bytes_starts_with(own, prefix) || bytes_starts_with(prefix, own);
}

bool map_operation_inside(const struct map_operation *inner, const struct map_operation *outer)
{
	struct bytes prefix = bytes_of(inner->prefix, inner->prefix_size);
	if (outer->exact || !map_operation_overlaps(outer, inner->exact, inner->hash, prefix))
		return false;
	return inner->exact || inner->prefix_size > outer->prefix_size;
}

bool map_moves_under(const struct cluster_map *map, const struct map_shard *shard, struct bytes prefix)
{
	for (uint32_t i = 0; i < map->operation_count; i++) {
		const struct map_operation *operation = &map->operations[i];
		/* Also of one that has ended: a replica that lags has not removed them yet. */
		if (operation_of_range(operation->kind) && operation->phase >= PHASE_COPY &&
			(operation->shard_from == shard->id || operation->shard_to == shard->id))
			return true;
		bool rows = operation->phase == PHASE_PURGE || operation->phase == PHASE_ABORT;
		if ((rows || (runs(operation) && operation->phase >= PHASE_COPY)) &&
			map_operation_overlaps(operation, false, (struct hash128){ 0 }, prefix))
			return true;
	}
	return false;
}

uint64_t map_switches(const struct cluster_map *map)
{
	uint64_t sum = 0; /* of ids, which are never given twice */
	for (uint32_t i = 0; i < map->operation_count; i++) {
		const struct map_operation *operation = &map->operations[i];
		if (operation->phase == PHASE_PURGE ||
			(operation->phase == PHASE_SEAL && operation->state == OPERATION_DONE))
			sum += operation->id;
	}
	return sum;
}

/* Keys of some prefix live by the policy. */
static bool binds_prefix(const struct cluster_map *map, uint64_t policy)
{
	for (uint32_t i = map->binding_count; i > 0 && !map->bindings[i - 1].exact; i--)
		if (map->bindings[i - 1].policy == policy && map_binding_in_force(map, &map->bindings[i - 1]))
			return true;
	return false;
}

/* Some key with the prefix may live by the policy all the same, by a closer binding. */
static bool binds_inside(const struct cluster_map *map, uint64_t policy, struct bytes prefix)
{
	for (uint32_t i = 0; i < map->binding_count; i++) {
		const struct map_binding *binding = &map->bindings[i];
		if (binding->policy == policy && map_binding_in_force(map, binding) &&
			(binding->exact || bytes_starts_with(bytes_of(binding->prefix, binding->prefix_size), prefix)))
			return true;
	}
	return false;
}

bool map_fence_moved(const struct cluster_map *map, uint64_t operation, uint64_t policy, bool exact,
	const uint64_t exact_hash[2], struct bytes prefix)
{
	if (exact) {
		struct hash128 hash = { .high = exact_hash[0], .low = exact_hash[1] };
		const struct map_binding *binding = map_binding_by_hash(map, hash);
		if (binding && map_binding_in_force(map, binding))
			return binding->policy != policy;
		/* Which prefix covers the key is not known; that it went is, as long as the operation is, unless the
		 * prefix may be one of this very policy. */
		const struct map_operation *done = map_operation_find(map, operation);
		bool switched = done && (done->state == OPERATION_DONE || done->phase == PHASE_PURGE);
		return switched && !binds_prefix(map, policy);
	}
	for (size_t size = prefix.size + 1; size-- > 0;) {
		const struct map_binding *binding = map_binding_by_prefix(map, bytes_of(prefix.data, size));
		if (binding && map_binding_in_force(map, binding))
			return binding->policy != policy && !binds_inside(map, policy, prefix);
	}
	return !binds_inside(map, policy, prefix);
}
