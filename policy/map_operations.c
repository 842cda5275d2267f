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

/* Whether one of the shards that the operation fences is of this policy. */
static bool fences_policy(const struct cluster_map *map, const struct map_operation *operation, uint64_t policy)
{
	if (operation->policy != 0)
		return operation->policy == policy;
	for (uint32_t i = 0; i < operation->steps && i < SHARDS_PER_POLICY * 8; i++) {
		const struct map_shard *shard = map_shard_find(map, operation->shards_done[i]);
		if (shard && shard->policy == policy)
			return true;
	}
	return false;
}

bool map_operation_fence(const struct cluster_map *map, const struct map_operation *operation, uint64_t policy,
	bool *exact, uint64_t exact_hash[2], struct bytes *prefix)
{
	if (operation->kind != OPERATION_BINDING || operation->state != OPERATION_RUNNING)
		return false;
	if (!fences_policy(map, operation, policy))
		return false;
	for (uint32_t i = 0; i < map->binding_count; i++) {
		const struct map_binding *binding = &map->bindings[i];
		if (binding->pending_operation != operation->id)
			continue;
		*exact = binding->exact;
		exact_hash[0] = binding->exact ? binding->hash.high : 0;
		exact_hash[1] = binding->exact ? binding->hash.low : 0;
		*prefix = bytes_of(binding->prefix, binding->prefix_size);
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
		/* Which prefix covers the key is not known; that it went is, as long as the operation is. */
		const struct map_operation *done = map_operation_find(map, operation);
		return done && done->state == OPERATION_DONE;
	}
	for (size_t size = prefix.size + 1; size-- > 0;) {
		const struct map_binding *binding = map_binding_by_prefix(map, bytes_of(prefix.data, size));
		if (binding && map_binding_in_force(map, binding))
			return binding->policy != policy;
	}
	return true;
}
