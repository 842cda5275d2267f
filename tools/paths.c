/* tools/paths.c: see tools/paths.h. */
#include "tools/paths.h"

#include <assert.h>
#include <string.h>

#include "policy/placement.h"

/* Inside a region that has one node nobody measured anything: nothing is far there. */
static uint32_t between(const struct rtt_matrix *matrix, uint32_t a, uint32_t b)
{
	uint32_t us = matrix->us[a][b];

	assert(a < MAP_REGIONS_MAX);
	assert(b < MAP_REGIONS_MAX);
	return a == b && us == LATENCY_UNKNOWN ? 0 : us;
}

/* From a place in `region` to each member. `self`: the member that is that place; -1: none. */
static void row_of(const struct cluster_map *map, const struct rtt_matrix *matrix, const struct map_shard *shard,
	uint32_t region, int self, uint32_t rtt_us[REPLICAS_MAX])
{
	for (unsigned i = 0; i < shard->replica_count; i++) {
		const struct map_node *node = map_node_find(map, shard->replicas[i].node);

		rtt_us[i] = node == NULL ? LATENCY_UNKNOWN : between(matrix, region, node->region);
		if ((int)i == self)
			rtt_us[i] = 0;
	}
}

static int nearest_of(const struct map_shard *shard, const uint32_t rtt_us[REPLICAS_MAX])
{
	int best = -1;

	for (unsigned i = 0; i < shard->replica_count; i++) {
		if (shard->replicas[i].role == ROLE_WITNESS || rtt_us[i] == LATENCY_UNKNOWN)
			continue;
		if (best < 0 || rtt_us[i] < rtt_us[best])
			best = (int)i;
	}
	return best;
}

void path_of(const struct cluster_map *map, const struct rtt_matrix *matrix, const struct map_shard *shard,
	uint32_t region, uint64_t leader, struct path *path)
{
	const struct policy *policy = map_policy_find(map, shard->policy);
	const struct map_node *leading = map_node_find(map, leader), *near;
	struct membership membership;
	uint32_t rtt_us[REPLICAS_MAX], from_leader_us[REPLICAS_MAX];
	int nearest, position = -1;

	memset(path, 0xff, sizeof(*path));
	path->nearest = 0;
	if (policy == NULL || shard->replica_count == 0 ||
		!placement_membership(map, policy, shard->replicas, shard->replica_count, &membership))
		return;
	row_of(map, matrix, shard, region, -1, rtt_us);
	nearest = nearest_of(shard, rtt_us);
	if (nearest < 0)
		return;
	path->nearest = shard->replicas[nearest].node;
	near = map_node_find(map, path->nearest);
	path->read_floor_us = rtt_us[nearest];
	for (unsigned i = 0; i < shard->replica_count; i++) {
		if (shard->replicas[i].node == leader)
			position = (int)i;
	}
	/* A write begins at the client's own replica, where it has one: that copy costs it nothing. */
	row_of(map, matrix, shard, region, near != NULL && near->region == region ? nearest : -1, rtt_us);
	path->write_floor_us = latency_commit(&membership, rtt_us);
	if (leading == NULL || near == NULL || position < 0)
		return;
	path->to_leader_us = between(matrix, region, leading->region);
	row_of(map, matrix, shard, leading->region, position, from_leader_us);
	path->commit_us = latency_commit(&membership, from_leader_us);
	path->write_us = latency_write_via_leader(&membership, path->to_leader_us, (unsigned)position, from_leader_us);
	/* Of several equally near replicas the client may meet the leader or another: the dearer is expected. */
	path->read_us = latency_read_index(&membership, path->read_floor_us,
		near->region == leading->region && shard->replica_count == 1
			? 0
			: between(matrix, near->region, leading->region));
}
