/* client/lanes.c: see client/lanes.h. */
#include "client/lanes.h"

#include <assert.h>

void lanes_init(struct lanes *lanes, struct lane *memory, uint32_t capacity, uint64_t seed)
{
	assert(memory);
	assert(capacity > 0);
	*lanes = (struct lanes){ .at = memory, .capacity = capacity };
	prng_seed(&lanes->prng, seed);
}

static bool lane_full(const struct lane *lane)
{
	return lane->next - lane->low_water >= LANE_OPEN_MAX;
}

bool lanes_take(struct lanes *lanes, struct lane_ticket *ticket)
{
	while (lanes->first_free < lanes->count && lane_full(&lanes->at[lanes->first_free]))
		lanes->first_free++;
	struct lane *lane = &lanes->at[lanes->first_free];
	if (lanes->first_free == lanes->count) {
		if (lanes->count == lanes->capacity)
			return false;
		uint64_t client = prng_next(&lanes->prng);
		*lane = (struct lane){ .client = client == 0 ? 1 : client, .next = 1, .low_water = 1 };
		lanes->count++;
	}
	uint64_t offset = lane->next - lane->low_water;
	assert(offset < LANE_OPEN_MAX);
	assert((lane->open >> offset) == 0);
	lane->open |= (uint64_t)1 << offset;
	*ticket = (struct lane_ticket){ .client = lane->client, .sequence = lane->next++, .lane = lanes->first_free };
	return true;
}

void lanes_return(struct lanes *lanes, const struct lane_ticket *ticket)
{
	assert(ticket->lane < lanes->count);
	struct lane *lane = &lanes->at[ticket->lane];
	assert(lane->client == ticket->client);
	assert(ticket->sequence >= lane->low_water);
	uint64_t offset = ticket->sequence - lane->low_water;
	assert(offset < LANE_OPEN_MAX);
	assert(lane->open >> offset & 1);
	lane->open &= ~((uint64_t)1 << offset);
	if (lane->open == 0) {
		lane->low_water = lane->next;
	} else {
		unsigned done = (unsigned)__builtin_ctzll(lane->open);
		lane->low_water += done;
		lane->open >>= done;
	}
	if (ticket->lane < lanes->first_free && !lane_full(lane))
		lanes->first_free = ticket->lane;
}

uint64_t lanes_low_water(const struct lanes *lanes, const struct lane_ticket *ticket)
{
	assert(ticket->lane < lanes->count);
	const struct lane *lane = &lanes->at[ticket->lane];
	assert(lane->client == ticket->client);
	assert(lane->low_water <= ticket->sequence);
	return lane->low_water;
}

void lanes_check(const struct lanes *lanes)
{
	assert(lanes->count <= lanes->capacity);
	assert(lanes->first_free <= lanes->count);
	for (uint32_t i = 0; i < lanes->count; i++) {
		const struct lane *lane = &lanes->at[i];
		assert(lane->client != 0);
		assert(lane->low_water <= lane->next);
		assert(lane->next - lane->low_water <= LANE_OPEN_MAX);
		if (lane->low_water == lane->next)
			assert(lane->open == 0);
		else
			assert(lane->open & 1);
		if (lane->next - lane->low_water < LANE_OPEN_MAX)
			assert(lane->open >> (lane->next - lane->low_water) == 0);
		if (i < lanes->first_free)
			assert(lane_full(lane));
	}
}
