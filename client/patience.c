/* client/patience.c: see client/patience.h. */
#include "client/patience.h"

#include <assert.h>

#include "client/router_internal.h"

enum {
	SILENCE_READ_MS = 500, /* plus four round trips */
	SILENCE_WRITE_MS = 1500,
	UNHOLD_FIFTHS = 6, /* of the round trip between replica and leader */
	UNHOLD_MORE_US = 10000,
	SAME_REGION_MORE_US = 2000, /* the least lead of the first replica over a second one beside it */
	WRITE_MORE_US = 50000,	    /* disks and queues, over twice the round trips */
	SAMPLES_FEW = 8,	    /* the largest of so many is the first estimate */
	SAMPLES_ENOUGH = 32,	    /* from then on it is believed */
	SAMPLE_US_MAX = 60000000,
	HEDGE_EARNED = 50, /* thousandths of a second question per read */
	HEDGE_COST = 1000,
	RETRY_EARNED = 100, /* thousandths of a retry per operation */
	RETRY_COST = 1000,
};

/* --- percentiles -------------------------------------------------------------------------------------------- */

void quantile_learn(struct quantile *quantile, uint64_t sample_us)
{
	uint32_t sample = (uint32_t)(sample_us < SAMPLE_US_MAX ? sample_us : SAMPLE_US_MAX) * 16;
	uint32_t at = quantile->sixteenth_us, up = at / 16 + 1, down = at / 304;
	if (sample > at)
		at = quantile->samples < SAMPLES_FEW ? sample : at + up;
	else if (quantile->samples >= SAMPLES_FEW)
		at -= at - sample < down ? at - sample : down;
	quantile->sixteenth_us = at;
	if (quantile->samples < SAMPLES_ENOUGH)
		quantile->samples++;
}

uint32_t quantile_us(const struct quantile *quantile)
{
	return quantile->samples < SAMPLES_ENOUGH ? 0 : quantile->sixteenth_us / 16 + 1;
}

static struct quantile *quantile_of(const struct router *router, uint64_t node_id, bool write)
{
	struct router_node *node = router_node_of(router, node_id);
	return !node ? NULL : write ? &node->writes : &node->reads;
}

void patience_learn(struct router *router, uint64_t node, bool write, uint64_t elapsed_ns)
{
	struct quantile *quantile = quantile_of(router, node, write);
	if (quantile)
		quantile_learn(quantile, elapsed_ns / 1000);
}

void patience_learn_unanswered(struct router *router, uint64_t node, bool write, uint64_t elapsed_ns)
{
	struct quantile *quantile = quantile_of(router, node, write);
	if (quantile && elapsed_ns / 1000 > quantile->sixteenth_us / 16)
		quantile_learn(quantile, elapsed_ns / 1000);
}

/* --- how long ------------------------------------------------------------------------------------------------ */

static uint64_t rtt_of(const struct router *router, uint64_t node)
{
	bool measured;
	return router_rtt_us(router, node, &measured);
}

uint64_t patience_silence_ns(const struct router *router, uint64_t node, bool write)
{
	uint64_t silence_ms = write ? SILENCE_WRITE_MS : SILENCE_READ_MS;
	return silence_ms * 1000000 + rtt_of(router, node) * 4000;
}

static bool same_region(const struct router *router, uint64_t a, uint64_t b)
{
	const struct map_node *one = map_node_find(router->in_use.map, a), *two = map_node_find(router->in_use.map, b);
	return one && two && one->region == two->region;
}

/* At most: the way from one to the other may lead over us. The nearer one of them is to us, the truer that is. */
static uint64_t between_us(const struct router *router, uint64_t a, uint64_t b)
{
	if (a == b)
		return 0;
	uint64_t rtt_a = rtt_of(router, a), rtt_b = rtt_of(router, b);
	if (same_region(router, a, b))
		return rtt_a < rtt_b ? rtt_a : rtt_b; /* no farther from each other than from us, as a rule */
	return rtt_a + rtt_b;
}

/* Round trips from here to the shard's voters, ascending; the count. */
static unsigned voters_us(const struct router *router, uint64_t shard_id, uint64_t rtts_us[REPLICAS_MAX])
{
	const struct map_shard *shard = map_shard_find(router->in_use.map, shard_id);
	unsigned count = 0;
	for (unsigned i = 0; shard && i < shard->replica_count; i++) {
		uint64_t rtt_us = rtt_of(router, shard->replicas[i].node);
		unsigned at = count;
		if (shard->replicas[i].role == ROLE_LEARNER || rtt_us == UINT32_MAX)
			continue;
		for (; at > 0 && rtts_us[at - 1] > rtt_us; at--)
			rtts_us[at] = rtts_us[at - 1];
		rtts_us[at] = rtt_us;
		count++;
	}
	return count;
}

static bool reads_are_local(const struct router *router, uint64_t shard_id)
{
	const struct map_shard *shard = map_shard_find(router->in_use.map, shard_id);
	const struct policy *policy = shard ? map_policy_find(router->in_use.map, shard->policy) : NULL;
	return policy && policy->reads == READS_LOCAL;
}

uint64_t patience_read_ns(const struct router *router, uint64_t shard, uint64_t node, uint64_t other, bool scan)
{
	uint64_t leader = router_leader_guess(router, shard), own_us = rtt_of(router, node);
	uint64_t rtts_us[REPLICAS_MAX], leader_us;
	struct quantile *reads = quantile_of(router, node, false);
	uint64_t usual_us = reads && !scan ? quantile_us(reads) : 0;
	if (leader != 0 && leader != node) {
		leader_us = between_us(router, node, leader);
	} else { /* the leader itself waits for its voters; and who leads may be any of them */
		unsigned count = voters_us(router, shard, rtts_us);
		leader_us = count == 0 ? own_us : own_us + rtts_us[count - 1];
	}
	uint64_t unhold_us = own_us + leader_us * UNHOLD_FIFTHS / 5 + UNHOLD_MORE_US;
	uint64_t beside_us = own_us + SAME_REGION_MORE_US;
	if (usual_us != 0 && same_region(router, node, other))
		return (usual_us > beside_us ? usual_us : beside_us) * 1000;
	return (usual_us > unhold_us ? usual_us : unhold_us) * 1000;
}

uint64_t patience_write_ns(const struct router *router, uint64_t shard, uint64_t origin, uint64_t leader)
{
	uint64_t rtts_us[REPLICAS_MAX], path_us = between_us(router, origin, leader);
	struct quantile *writes = quantile_of(router, origin, true);
	uint64_t usual_us = writes ? quantile_us(writes) : 0;
	unsigned count = voters_us(router, shard, rtts_us);
	/* Where every copy answers reads alone, every copy must have a write before it is told. */
	unsigned needed = reads_are_local(router, shard) && count > 0 ? count - 1 : count / 2;
	uint64_t needed_us = count == 0 ? 0 : rtts_us[needed];
	path_us = path_us > needed_us ? path_us : needed_us;
	uint64_t expected_us = rtt_of(router, origin) + path_us;
	expected_us = expected_us > usual_us ? expected_us : usual_us;
	return (2 * expected_us + WRITE_MORE_US) * 1000;
}

/* --- budget -------------------------------------------------------------------------------------------------- */

void patience_earn_hedge(struct router *router)
{
	assert(router->hedges <= HEDGE_MAX);
	router->hedges += HEDGE_EARNED;
	if (router->hedges > HEDGE_MAX)
		router->hedges = HEDGE_MAX;
}

bool patience_spend_hedge(struct router *router)
{
	if (router->hedges < HEDGE_COST)
		return false;
	router->hedges -= HEDGE_COST;
	return true;
}

/* --- retries --------------------------------------------------------------------------------------------------- */

void router_earn_retry(struct router *router)
{
	assert(router->retries <= RETRY_MAX);
	router->retries += RETRY_EARNED;
	if (router->retries > RETRY_MAX)
		router->retries = RETRY_MAX;
}

bool router_spend_retry(struct router *router)
{
	if (router->retries < RETRY_COST)
		return false;
	router->retries -= RETRY_COST;
	return true;
}
