/* policy/leading.c: see policy/leading.h. */
#include "policy/leading.h"

#include <assert.h>
#include <limits.h>

#include "policy/latency.h"

enum { WRITE_UNIT = 1024, SECONDS_FORGOTTEN = 1800 };
#define DECAY_SECOND 64039u /* 65536 * 2^(-1/30): one second of a half-life of thirty */
#define MS	     UINT64_C(1000000)

static bool within(uint64_t since_ns, uint64_t ms, uint64_t now_ns)
{
	return since_ns != 0 && now_ns - since_ns < ms * MS;
}

/* --- who writes ------------------------------------------------------------------------------------------ */

void leading_wrote(struct leading *leading, uint32_t region)
{
	struct leading_region *least = &leading->regions[0];
	assert(leading->count <= LEADING_REGIONS_MAX);
	for (unsigned i = 0; i < leading->count; i++) {
		if (leading->regions[i].region == region) {
			leading->regions[i].weight += WRITE_UNIT;
			return;
		}
		if (leading->regions[i].weight < least->weight)
			least = &leading->regions[i];
	}
	if (leading->count < LEADING_REGIONS_MAX)
		leading->regions[leading->count++] = (struct leading_region){ region, WRITE_UNIT };
	else
		*least = (struct leading_region){ region, least->weight + WRITE_UNIT }; /* may have been it all along */
}

void leading_decay(struct leading *leading, uint64_t now_ns)
{
	static_assert(LEADING_HALF_LIFE_MS == 30000, "DECAY_SECOND is made for it");
	if (leading->decayed_ns == 0)
		leading->decayed_ns = now_ns;
	uint64_t seconds = (now_ns - leading->decayed_ns) / (1000 * MS);
	leading->decayed_ns += seconds * 1000 * MS;
	if (seconds > SECONDS_FORGOTTEN)
		leading->count = 0;
	for (uint64_t s = 0; leading->count > 0 && s < seconds; s++)
		for (unsigned i = 0; i < leading->count; i++)
			leading->regions[i].weight = leading->regions[i].weight * DECAY_SECOND >> 16;
	for (unsigned i = 0; i < leading->count;) {
		if (leading->regions[i].weight < WRITE_UNIT / 16)
			leading->regions[i] = leading->regions[--leading->count];
		else
			i++;
	}
}

/* --- who leads -------------------------------------------------------------------------------------------- */

void leading_tried(struct leading *leading, bool follow, uint64_t now_ns)
{
	leading->tried_ns = now_ns;
	leading->tried_follow = follow;
}

static void gave_away(struct leading *leading, uint64_t now_ns)
{
	const bool again =
		leading->pause_ms != 0 && within(leading->moved_ns, (uint64_t)LEADING_CALM * leading->pause_ms, now_ns);
	if (!again)
		leading->pause_ms = leading->tried_follow ? LEADING_PAUSE_MS : LEADING_PAUSE_RANK_MS;
	else
		leading->pause_ms *= 2;
	if (leading->pause_ms > LEADING_PAUSE_MAX_MS)
		leading->pause_ms = LEADING_PAUSE_MAX_MS;
	leading->moved_ns = now_ns;
}

void leading_role(struct leading *leading, bool leads, uint64_t now_ns)
{
	if (leads == (leading->led_since_ns != 0))
		return;
	if (!leads && within(leading->tried_ns, LEADING_TRIED_MS, now_ns))
		gave_away(leading, now_ns);
	leading->led_since_ns = leads ? now_ns : 0;
	leading->wanted = 0;
}

/* --- the choice ------------------------------------------------------------------------------------------- */

/* Means over the writes, in us (2^32 us of 2^28 writes from each of 16 regions fit); LATENCY_UNKNOWN: not known for a
 * region of which `own` knows it. */
struct cost {
	uint64_t write_us, to_leader_us;
};

static struct cost cost_of(
	const struct leading *leading, const struct leading_candidate *candidate, const struct leading_candidate *own)
{
	struct cost sum = { 0, 0 };
	uint64_t weights = 0;
	for (unsigned i = 0; i < leading->count; i++) {
		const uint64_t weight = leading->regions[i].weight;
		if (own->write_us[i] == LATENCY_UNKNOWN)
			continue;
		if (candidate->write_us[i] == LATENCY_UNKNOWN || candidate->to_leader_us[i] == LATENCY_UNKNOWN)
			return (struct cost){ LATENCY_UNKNOWN, LATENCY_UNKNOWN };
		sum.write_us += candidate->write_us[i] * (weight / WRITE_UNIT + 1);
		sum.to_leader_us += candidate->to_leader_us[i] * (weight / WRITE_UNIT + 1);
		weights += weight / WRITE_UNIT + 1;
	}
	if (weights == 0)
		return (struct cost){ LATENCY_UNKNOWN, LATENCY_UNKNOWN };
	return (struct cost){ sum.write_us / weights, sum.to_leader_us / weights };
}

static bool enough_writes(const struct leading *leading)
{
	uint64_t weights = 0;
	for (unsigned i = 0; i < leading->count; i++)
		weights += leading->regions[i].weight;
	return weights >= (uint64_t)LEADING_WRITES_MIN * WRITE_UNIT;
}

static bool cheaper(const struct cost *a, const struct cost *b)
{
	if (a->write_us != b->write_us)
		return a->write_us < b->write_us;
	return a->to_leader_us < b->to_leader_us;
}

/* At which writes are answered soonest, if that is worth a move. Of equal ones, where the leader is nearest to the
 * writers: strong reads and whatever waits for the leader go there. */
static unsigned by_latency(
	const struct leading *leading, const struct leading_candidate candidates[], unsigned count, unsigned own)
{
	const struct cost now = cost_of(leading, &candidates[own], &candidates[own]);
	struct cost least = now;
	unsigned best = own;
	if (!enough_writes(leading) || now.write_us == LATENCY_UNKNOWN)
		return own;
	for (unsigned i = 0; i < count; i++) {
		if (i == own || !candidates[i].able || candidates[i].rank == UINT_MAX)
			continue;
		const struct cost cost = cost_of(leading, &candidates[i], &candidates[own]);
		if (cost.write_us != LATENCY_UNKNOWN && cheaper(&cost, &least)) {
			least = cost;
			best = i;
		}
	}
	const uint64_t gain = now.write_us - least.write_us;
	return gain > now.write_us * LEADING_GAIN_PERCENT / 100 && gain > LEADING_GAIN_US ? best : own;
}

unsigned leading_best_rank(const struct leading_candidate candidates[], unsigned count, unsigned own)
{
	unsigned best = own;
	for (unsigned i = 0; i < count; i++)
		if (candidates[i].able && candidates[i].rank < candidates[best].rank)
			best = i;
	return best;
}

struct leading_choice leading_choose(struct leading *leading, const struct leading_candidate candidates[],
	unsigned count, unsigned own, bool follow, uint64_t now_ns)
{
	assert(own < count);
	assert(leading->led_since_ns != 0);
	const bool latency = follow && candidates[own].rank != UINT_MAX;
	leading_decay(leading, now_ns);
	const unsigned best =
		latency ? by_latency(leading, candidates, count, own) : leading_best_rank(candidates, count, own);
	if (best == own) {
		leading->wanted = 0;
		return (struct leading_choice){ 0, false };
	}
	if (leading->wanted == 0)
		leading->wanted_since_ns = now_ns;
	leading->wanted = candidates[best].replica; /* of two that are about as good, now one, now the other */
	const uint64_t pause_ms = leading->pause_ms != 0 ? leading->pause_ms : LEADING_PAUSE_MS;
	bool waits = candidates[own].rank != UINT_MAX && within(leading->moved_ns, leading->pause_ms, now_ns);
	if (latency)
		waits = waits || within(leading->wanted_since_ns, LEADING_HOLD_MS, now_ns) ||
			within(leading->led_since_ns, pause_ms, now_ns);
	return (struct leading_choice){ waits ? 0 : leading->wanted, waits };
}
