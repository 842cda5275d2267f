/* bench/floor.c: see bench/floor.h. A majority whose slowest member is fastest holds the fastest members: so the
 * minimum over majorities is the majority-th smallest cost of a member. */
#include "bench/floor.h"

#include <assert.h>
#include <stdlib.h>

static int compare(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

static uint32_t voters_of(const struct floors *floors)
{
	uint32_t voters = 0;

	for (uint32_t i = 0; i < floors->count; i++)
		voters += floors->voter[i];
	return voters;
}

/* cost_us[i]: until region i's copy counts; UNKNOWN where it has none. */
static uint64_t when_so_many(const struct floors *floors, uint64_t cost_us[FLOOR_REGIONS_MAX], uint32_t wanted)
{
	assert(floors->count <= FLOOR_REGIONS_MAX);
	if (wanted == 0 || wanted > floors->count)
		return FLOOR_UNKNOWN;
	qsort(cost_us, floors->count, sizeof(cost_us[0]), compare);
	return cost_us[wanted - 1];
}

static uint64_t from(const struct floors *floors, uint32_t place, uint32_t wanted)
{
	uint64_t cost_us[FLOOR_REGIONS_MAX];

	for (uint32_t i = 0; i < floors->count; i++)
		cost_us[i] = floors->voter[i] ? floors->rtt_us[place][i] : FLOOR_UNKNOWN;
	return when_so_many(floors, cost_us, wanted);
}

uint64_t floor_read(const struct floors *floors, uint32_t client)
{
	return from(floors, client, 1);
}

uint64_t floor_quorum(const struct floors *floors, uint32_t client)
{
	return from(floors, client, voters_of(floors) / 2 + 1);
}

uint64_t floor_via_leader(const struct floors *floors, uint32_t client, uint32_t leader)
{
	uint64_t commit_us = from(floors, leader, voters_of(floors) / 2 + 1), there_us = floors->rtt_us[client][leader];

	return commit_us == FLOOR_UNKNOWN || there_us == FLOOR_UNKNOWN ? FLOOR_UNKNOWN : there_us + commit_us;
}

/* By the copy of region s: the entry c -> L -> s, its ack s -> c. Within a region nothing is far: the client's own copy
 * and the leader's cost the way to them only. */
static uint64_t by_acks(const struct floors *floors, uint32_t client, uint32_t leader, uint32_t wanted)
{
	uint64_t cost_us[FLOOR_REGIONS_MAX];

	for (uint32_t s = 0; s < floors->count; s++) {
		uint64_t to = floors->rtt_us[client][leader], on = s == leader ? 0 : floors->rtt_us[leader][s],
			 back = s == client ? 0 : floors->rtt_us[s][client];

		cost_us[s] = FLOOR_UNKNOWN;
		if (floors->voter[s] && to != FLOOR_UNKNOWN && on != FLOOR_UNKNOWN && back != FLOOR_UNKNOWN)
			cost_us[s] = (to + on + back) / 2;
	}
	return when_so_many(floors, cost_us, wanted);
}

uint64_t floor_origin_acks(const struct floors *floors, uint32_t client, uint32_t leader)
{
	return by_acks(floors, client, leader, voters_of(floors) / 2 + 1);
}

uint64_t floor_all_acks(const struct floors *floors, uint32_t client, uint32_t leader)
{
	return by_acks(floors, client, leader, voters_of(floors));
}

uint32_t floor_best_leader(const struct floors *floors, floor_formula *formula)
{
	uint64_t best = FLOOR_UNKNOWN;
	uint32_t leader = 0;

	for (uint32_t candidate = 0; candidate < floors->count; candidate++) {
		uint64_t sum = 0;

		if (!floors->voter[candidate])
			continue;
		for (uint32_t client = 0; client < floors->count; client++) {
			uint64_t us = formula(floors, client, candidate);

			sum = us == FLOOR_UNKNOWN || sum == FLOOR_UNKNOWN ? FLOOR_UNKNOWN : sum + us;
		}
		if (sum < best) {
			best = sum;
			leader = candidate;
		}
	}
	return leader;
}
