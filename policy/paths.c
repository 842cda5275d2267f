/* policy/paths.c: see policy/paths.h. */
#include "policy/paths.h"

#include <assert.h>
#include <string.h>

#include "policy/placement.h"

/* Whether nodes judge and answer writes at their origin, or leave it to the leader. */
static const bool origin_acks = true;

void rtt_matrix_init(struct rtt_matrix *matrix, uint32_t count)
{
	assert(count <= MAP_REGIONS_MAX);
	memset(matrix, 0xff, sizeof(*matrix));
	matrix->count = count;
	static_assert(LATENCY_UNKNOWN == 0xffffffff, "all bits set is not known");
}

void rtt_matrix_add(struct rtt_matrix *matrix, uint32_t from, uint32_t to, uint32_t rtt_us)
{
	assert(from < MAP_REGIONS_MAX);
	assert(to < MAP_REGIONS_MAX);
	if (rtt_us < matrix->us[from][to])
		matrix->us[from][to] = matrix->us[to][from] = rtt_us;
}

uint32_t rtt_matrix_between(const struct rtt_matrix *matrix, uint32_t a, uint32_t b)
{
	assert(a < MAP_REGIONS_MAX);
	assert(b < MAP_REGIONS_MAX);
	uint32_t us = matrix->us[a][b];
	return a == b && us == LATENCY_UNKNOWN ? 0 : us;
}

/* Region of each member; MAP_REGIONS_MAX: not on the map, or not there. */
static uint32_t region_of(const struct cluster_map *map, const struct member *member)
{
	const struct map_node *node = map_node_find(map, member->node);
	return node ? node->region : (uint32_t)MAP_REGIONS_MAX;
}

void paths_group(const struct cluster_map *map, const struct rtt_matrix *matrix, const struct membership *membership,
	member_set there, bool reads_local, struct latency_group *group)
{
	uint32_t region[REPLICAS_MAX];
	assert(membership->count <= REPLICAS_MAX);
	memset(group, 0xff, sizeof(*group)); /* no round trip is known */
	group->membership = membership;
	group->responders = 0;
	group->origin_acks = origin_acks;
	for (unsigned i = 0; i < membership->count; i++) {
		region[i] = there >> i & 1 ? region_of(map, &membership->at[i]) : (uint32_t)MAP_REGIONS_MAX;
		if (region[i] == MAP_REGIONS_MAX)
			continue;
		group->rtt_us[i][i] = 0;
		for (unsigned j = 0; j < i; j++)
			if (region[j] < MAP_REGIONS_MAX)
				group->rtt_us[i][j] = group->rtt_us[j][i] =
					rtt_matrix_between(matrix, region[i], region[j]);
		if (reads_local && membership->at[i].role_new == ROLE_VOTER)
			group->responders |= (member_set)1 << i;
	}
}

void paths_from(const struct cluster_map *map, const struct rtt_matrix *matrix, const struct latency_group *group,
	uint32_t region, unsigned leader, struct latency_estimate *estimate)
{
	const struct membership *membership = group->membership;
	uint32_t rtt_us[REPLICAS_MAX];
	for (unsigned i = 0; i < membership->count; i++) {
		const bool there = group->rtt_us[i][i] == 0;
		rtt_us[i] = there ? rtt_matrix_between(matrix, region, region_of(map, &membership->at[i]))
				  : (uint32_t)LATENCY_UNKNOWN;
	}
	latency_from(group, leader, rtt_us, estimate);
	/* A protocol without a leader begins at the client's own copy, where there is one: that costs it nothing. */
	const unsigned near = estimate->nearest;
	if (near < REPLICAS_MAX && region_of(map, &membership->at[near]) == region) {
		struct latency_estimate own;
		rtt_us[near] = 0;
		latency_from(group, REPLICAS_MAX, rtt_us, &own);
		estimate->write_floor_us = own.write_floor_us;
	}
}

void path_of(const struct cluster_map *map, const struct rtt_matrix *matrix, const struct map_shard *shard,
	uint32_t region, uint64_t leader, struct path *path)
{
	const struct policy *policy = map_policy_find(map, shard->policy);
	struct membership membership;
	struct latency_group group;
	unsigned position = REPLICAS_MAX;
	memset(path, 0xff, sizeof(*path));
	path->nearest = 0;
	if (!policy || shard->replica_count == 0 ||
		!placement_membership(map, policy, shard->replicas, shard->replica_count, &membership))
		return;
	for (unsigned i = 0; i < membership.count; i++)
		if (membership.at[i].node == leader)
			position = i;
	paths_group(map, matrix, &membership, (member_set)~0u, policy->reads == READS_LOCAL, &group);
	paths_from(map, matrix, &group, region, position, &path->estimate);
	if (path->estimate.nearest < REPLICAS_MAX)
		path->nearest = membership.at[path->estimate.nearest].node;
}
