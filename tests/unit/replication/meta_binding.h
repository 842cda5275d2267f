/* tests/unit/replication/meta_binding.h: bindings that change, and the reports of the shards that are asked for keys.
 */
#ifndef DOMICILE_TESTS_UNIT_REPLICATION_META_BINDING_H
#define DOMICILE_TESTS_UNIT_REPLICATION_META_BINDING_H

#include "tests/unit/replication/meta_apply.h"

static inline struct meta_result set_binding(struct cluster_map *map, struct change_binding binding)
{
	struct change change = { .kind = CHANGE_BINDING_SET, .bindings = &binding, .binding_count = 1, .now_us = 6000 };
	return apply(map, &change);
}

static inline struct meta_result unset_binding(struct cluster_map *map, const char *prefix)
{
	struct change_binding binding = binding_of(prefix, "");
	struct change change = { .kind = CHANGE_BINDING_UNSET, .bindings = &binding, .binding_count = 1 };
	return apply(map, &change);
}

static inline struct meta_result report_fence(
	struct cluster_map *map, uint64_t operation, uint64_t shard, uint64_t keys)
{
	struct change change = {
		.kind = CHANGE_FENCE_REPORT, .operation = operation, .shard = shard, .keys_found = keys, .now_us = 7000
	};
	return apply(map, &change);
}

static inline struct meta_result report_move(
	struct cluster_map *map, uint64_t operation, enum operation_phase phase, uint64_t shard, uint64_t stuck)
{
	struct change change = { .kind = CHANGE_MOVE_REPORT,
		.shard = shard,
		.operation = operation,
		.phase = (uint8_t)phase,
		.keys_found = stuck,
		.now_us = 8000 };
	return apply(map, &change);
}

/* Every shard that has a step of the phase to do says that it is done; of the fence, that it holds no keys. */
static inline void finish_phase(struct cluster_map *map, uint64_t id, enum operation_phase phase)
{
	const struct map_operation *operation = map_operation_find(map, id);
	uint64_t shards[SHARDS_PER_POLICY_MAX * OPERATION_POLICIES_MAX];
	uint32_t count = operation->steps;
	assert_int_equal(operation->phase, phase);
	memcpy(shards, operation->shards_done, sizeof(shards));
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(phase == PHASE_FENCE ? report_fence(map, id, shards[i], 0).status
						      : report_move(map, id, phase, shards[i], 0).status,
			STATUS_OK);
}

/* All shards that the operation asked report no keys, and all to which some could come that they know. */
static inline void finish_fence(struct cluster_map *map, uint64_t id)
{
	const struct map_operation *operation = map_operation_find(map, id);
	assert_non_null(operation);
	finish_phase(map, id, PHASE_FENCE);
	while (operation->phase == PHASE_SEAL && operation->state == OPERATION_RUNNING)
		finish_phase(map, id, PHASE_SEAL);
}

#endif
