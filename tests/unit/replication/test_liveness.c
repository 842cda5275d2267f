/* Support between two nodes, each on a clock of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"
#include "replication/liveness.h"

enum { MS = 1000000, A = 1, B = 2 };

struct pair {
	struct liveness *at[3]; /* by node */
	struct liveness_effects out[3];
	uint64_t now, offset[3];
	int64_t drift_ppm[3]; /* of the node's clock */
	bool cut[3];	      /* messages towards the node are lost */
	bool held[3];	      /* messages towards the node wait, as on a connection that a partition did not end */
	unsigned up[3], down[3], restarted[3], pings[3];
	struct {
		uint64_t at;
		unsigned to;
		struct message message;
	} wire[256];
	unsigned wire_count;
	uint64_t latency, boot;
};

static uint64_t clock_of(const struct pair *pair, unsigned node)
{
	int64_t drift = (int64_t)pair->now / 1000000 * pair->drift_ppm[node];
	return pair->now + pair->offset[node] + (uint64_t)drift;
}

static void start(struct pair *pair, unsigned node, bool fresh)
{
	struct liveness_config config = { .node = node,
		.boot = ++pair->boot * 1000,
		.seed = pair->boot,
		.started_ns = clock_of(pair, node),
		.heartbeat_us = 100000,
		.support_us = 500000,
		.support_max_us = 800000,
		.drift_ppm = 10000,
		.fresh = fresh };
	memset(pair->at[node], 0x5a, liveness_size());
	liveness_init(pair->at[node], &config);
	assert_true(liveness_watch(pair->at[node], 3 - node, clock_of(pair, node)));
}

static struct pair *pair_new(void)
{
	struct pair *pair = calloc(1, sizeof(*pair));
	pair->now = 1000 * MS;
	pair->offset[B] = 777777 * (uint64_t)MS;
	pair->latency = 2 * MS;
	for (unsigned node = A; node <= B; node++) {
		pair->at[node] = malloc(liveness_size());
		start(pair, node, true);
	}
	return pair;
}

static void pair_free(struct pair *pair)
{
	free(pair->at[A]);
	free(pair->at[B]);
	free(pair);
}

static void carry_out(struct pair *pair, unsigned node)
{
	for (uint32_t i = 0; i < pair->out[node].count; i++) {
		const struct liveness_effect *effect = &pair->out[node].at[i];
		if (effect->kind == LIVENESS_SEND) {
			pair->pings[node] += effect->message.kind == MESSAGE_PING;
			if (pair->cut[3 - node])
				continue;
			assert_true(pair->wire_count < 256);
			pair->wire[pair->wire_count].at = pair->now + pair->latency;
			pair->wire[pair->wire_count].to = 3 - node;
			pair->wire[pair->wire_count++].message = effect->message;
			continue;
		}
		pair->up[node] += effect->change == LIVENESS_UP;
		pair->down[node] += effect->change == LIVENESS_DOWN;
		pair->restarted[node] += effect->change == LIVENESS_RESTARTED;
	}
	pair->out[node].count = 0;
	liveness_check(pair->at[node]);
}

/* A holder's count of support never outlives what the grantor promised, in real time. */
static void check_promise(const struct pair *pair, unsigned holder)
{
	unsigned grantor = 3 - holder;
	uint64_t epoch = liveness_supported_epoch(pair->at[holder], grantor);
	uint64_t until = liveness_supported_until_ns(pair->at[holder], grantor, epoch);
	if (epoch == 0 || until <= clock_of(pair, holder))
		return;
	if (liveness_elections_from_ns(pair->at[grantor]) > clock_of(pair, grantor))
		return; /* what it forgot when it was restarted, it waits out */
	assert_true(liveness_promised_until_ns(pair->at[grantor], holder) > clock_of(pair, grantor));
	assert_int_equal(liveness_granted_epoch(pair->at[grantor], holder), epoch);
}

static void run_ms(struct pair *pair, unsigned ms)
{
	for (unsigned i = 0; i < ms; i++) {
		pair->now += MS;
		for (unsigned n = 0; n < pair->wire_count;) {
			if (pair->wire[n].at > pair->now || pair->held[pair->wire[n].to]) {
				n++;
				continue;
			}
			unsigned to = pair->wire[n].to;
			struct message message = pair->wire[n].message;
			pair->wire[n] = pair->wire[--pair->wire_count];
			liveness_received(pair->at[to], 3 - to, &message, clock_of(pair, to), 1, &pair->out[to]);
			carry_out(pair, to);
		}
		for (unsigned node = A; node <= B; node++) {
			if (liveness_deadline(pair->at[node]) <= clock_of(pair, node)) {
				liveness_expired(pair->at[node], clock_of(pair, node), 1, &pair->out[node]);
				carry_out(pair, node);
			}
			assert_true(liveness_deadline(pair->at[node]) > clock_of(pair, node)); /* no spinning */
			check_promise(pair, node);
		}
	}
}

static void test_support_flows(void **state)
{
	(void)state;
	struct pair *pair = pair_new();
	run_ms(pair, 1000);
	for (unsigned node = A; node <= B; node++) {
		uint64_t epoch = liveness_supported_epoch(pair->at[node], 3 - node);
		assert_true(epoch != 0);
		assert_true(
			liveness_supported_until_ns(pair->at[node], 3 - node, epoch) > clock_of(pair, node) + 300 * MS);
		assert_int_equal(liveness_supported_until_ns(pair->at[node], 3 - node, epoch + 1), 0);
		assert_true(liveness_alive(pair->at[node], 3 - node, clock_of(pair, node)));
		assert_true(liveness_rtt_us(pair->at[node], 3 - node) >= 4000);
		assert_true(liveness_rtt_us(pair->at[node], 3 - node) <= 6000);
		assert_in_range(pair->pings[node], 10, 14); /* at the heartbeat, a little earlier */
		assert_true(pair->up[node] >= 1);
		assert_int_equal(pair->down[node], 0);
	}
	pair_free(pair);
}

static void test_lapsed_support_has_another_epoch(void **state)
{
	(void)state;
	struct pair *pair = pair_new();
	run_ms(pair, 1000);
	uint64_t epoch = liveness_supported_epoch(pair->at[A], B);
	pair->cut[A] = pair->cut[B] = true;
	run_ms(pair, 700);
	assert_int_equal(liveness_supported_epoch(pair->at[A], B), 0);
	assert_int_equal(liveness_granted_epoch(pair->at[B], A), 0);
	assert_false(liveness_alive(pair->at[A], B, clock_of(pair, A)));
	assert_true(pair->down[A] >= 1);
	unsigned up = pair->up[A], pings = pair->pings[A];
	run_ms(pair, 20000);
	assert_in_range(pair->pings[A] - pings, 15, 35); /* backed off to about one a second */
	pair->cut[A] = pair->cut[B] = false;
	run_ms(pair, 1500);
	assert_true(liveness_supported_epoch(pair->at[A], B) > epoch);
	assert_int_equal(liveness_supported_until_ns(pair->at[A], B, epoch), 0);
	assert_true(pair->up[A] > up);
	pair_free(pair);
}

/* Within the drift bound the holder's end comes first, whichever clock is the faster, through any outage. */
static void test_drifting_clocks(void **state)
{
	(void)state;
	for (int sign = -1; sign <= 1; sign += 2) {
		struct pair *pair = pair_new();
		pair->drift_ppm[A] = sign * 4900;
		pair->drift_ppm[B] = -sign * 4900;
		struct prng prng;
		prng_seed(&prng, 5);
		for (unsigned i = 0; i < 300; i++) {
			pair->cut[A] = prng_chance(&prng, 300000);
			pair->cut[B] = prng_chance(&prng, 300000);
			pair->latency = prng_below(&prng, 120) * MS;
			run_ms(pair, (unsigned)prng_below(&prng, 400)); /* check_promise all along */
		}
		pair_free(pair);
	}
}

static void test_a_restart_is_told_and_waits(void **state)
{
	(void)state;
	struct pair *pair = pair_new();
	assert_int_equal(liveness_elections_from_ns(pair->at[B]), clock_of(pair, B)); /* brand new: free at once */
	run_ms(pair, 1000);
	uint64_t promised = liveness_promised_until_ns(pair->at[B], A);
	start(pair, B, false);
	assert_true(liveness_elections_from_ns(pair->at[B]) >= clock_of(pair, B) + 808 * MS);
	assert_true(liveness_elections_from_ns(pair->at[B]) > promised);
	run_ms(pair, 500);
	assert_int_equal(pair->restarted[A], 1);
	assert_true(liveness_supported_epoch(pair->at[A], B) != 0);
	pair_free(pair);
}

static void test_a_withdrawal_is_for_ever_and_told(void **state)
{
	(void)state;
	struct pair *pair = pair_new();
	run_ms(pair, 1000);
	uint64_t epoch = liveness_granted_epoch(pair->at[B], A);
	pair->cut[B] = true;
	while (liveness_promised_until_ns(pair->at[B], A) > clock_of(pair, B) + MS)
		run_ms(pair, 1);
	pair->now += MS; /* over, and nobody has noticed yet */
	unsigned down = pair->down[B];
	assert_int_equal(liveness_granted_epoch(pair->at[B], A), epoch);
	liveness_withdraw(pair->at[B], A, clock_of(pair, B));
	assert_int_equal(liveness_granted_epoch(pair->at[B], A), 0);
	run_ms(pair, 1);
	assert_int_equal(pair->down[B], down + 1);
	pair->cut[B] = false;
	run_ms(pair, 1500);
	assert_true(liveness_granted_epoch(pair->at[B], A) > epoch);
	pair_free(pair);
}

/* Forgotten only when nobody watches and the promise is over; then met again under a new epoch. */
static void test_watches_count_and_promises_stay(void **state)
{
	(void)state;
	struct pair *pair = pair_new();
	run_ms(pair, 1000);
	uint64_t epoch = liveness_granted_epoch(pair->at[B], A);
	assert_true(liveness_watch(pair->at[B], A, clock_of(pair, B)));
	liveness_unwatch(pair->at[B], A);
	unsigned pings = pair->pings[B];
	run_ms(pair, 300);
	assert_true(pair->pings[B] > pings); /* still watched once */
	liveness_unwatch(pair->at[B], A);
	pings = pair->pings[B];
	run_ms(pair, 300);
	assert_int_equal(pair->pings[B], pings);
	assert_int_equal(liveness_granted_epoch(pair->at[B], A), epoch); /* A still asks, and is answered */
	/* All slots taken: the one more is refused, what was promised is kept. */
	unsigned added = 0;
	for (uint64_t node = 10; node < 10 + 2 * LIVENESS_PEERS_MAX; node++)
		added += liveness_watch(pair->at[B], node, clock_of(pair, B));
	assert_int_equal(added, LIVENESS_PEERS_MAX - 1);
	assert_true(liveness_promised_until_ns(pair->at[B], A) > clock_of(pair, B));
	pair_free(pair);
}

/* Late words of the processes before make each take the other, which has been restarted too, for a stranger. */
static void test_two_strangers_come_to_terms(void **state)
{
	(void)state;
	struct pair *pair = pair_new();
	run_ms(pair, 1000);
	pair->held[A] = pair->held[B] = true;
	run_ms(pair, 150);
	assert_true(pair->wire_count > 0);
	start(pair, A, false);
	start(pair, B, false);
	unsigned pings = pair->pings[A];
	pair->held[A] = pair->held[B] = false;
	run_ms(pair, 1000);
	for (unsigned node = A; node <= B; node++)
		assert_true(liveness_supported_epoch(pair->at[node], 3 - node) != 0);
	assert_in_range(pair->pings[A] - pings, 8, 20);
	pair_free(pair);
}

/* What waited while a partition lasted is answered when it heals, all of it; elections must not wait by that. */
static void test_an_outage_is_no_round_trip(void **state)
{
	(void)state;
	struct pair *pair = pair_new();
	for (unsigned deaf = A; deaf <= B; deaf++) {
		run_ms(pair, 1000);
		pair->held[deaf] = true;
		run_ms(pair, 10000);
		assert_false(liveness_alive(pair->at[deaf], 3 - deaf, clock_of(pair, deaf)));
		pair->held[deaf] = false;
		run_ms(pair, 200);
		for (unsigned node = A; node <= B; node++) {
			assert_true(liveness_alive(pair->at[node], 3 - node, clock_of(pair, node)));
			assert_in_range(liveness_rtt_us(pair->at[node], 3 - node), 4000, 6000);
		}
	}
	pair_free(pair);
}

/* A way that has become longer is believed in once nothing shorter has been seen for eight rounds. */
static void test_a_longer_way_is_learnt(void **state)
{
	(void)state;
	struct pair *pair = pair_new();
	run_ms(pair, 1500);
	pair->latency = 20 * MS;
	run_ms(pair, 300);
	assert_in_range(liveness_rtt_us(pair->at[A], B), 4000, 6000);
	run_ms(pair, 1200);
	assert_in_range(liveness_rtt_us(pair->at[A], B), 40000, 42000);
	pair_free(pair);
}

static void test_forged_and_late_answers(void **state)
{
	(void)state;
	struct pair *pair = pair_new();
	run_ms(pair, 1000);
	uint64_t epoch = liveness_supported_epoch(pair->at[A], B);
	uint64_t until = liveness_supported_until_ns(pair->at[A], B, epoch);
	struct message pong = { .kind = MESSAGE_PONG };
	pong.pong.boot = 2000;
	pong.pong.echo_boot = 1000;
	pong.pong.support_epoch = epoch;
	pong.pong.support_us = UINT64_MAX / 4;
	pong.pong.echo_ns = clock_of(pair, A) + 1; /* of a ping not yet sent */
	liveness_received(pair->at[A], B, &pong, clock_of(pair, A), 1, &pair->out[A]);
	assert_int_equal(liveness_supported_until_ns(pair->at[A], B, epoch), until);
	pong.pong.echo_ns = clock_of(pair, A) - 5 * MS;
	pong.pong.echo_boot = 999; /* to a process before us */
	liveness_received(pair->at[A], B, &pong, clock_of(pair, A), 1, &pair->out[A]);
	assert_int_equal(liveness_supported_until_ns(pair->at[A], B, epoch), until);
	pong.pong.echo_boot = 1000;
	pong.pong.support_epoch = epoch - 1; /* overtaken */
	liveness_received(pair->at[A], B, &pong, clock_of(pair, A), 1, &pair->out[A]);
	assert_int_equal(liveness_supported_epoch(pair->at[A], B), epoch);
	pong.pong.support_epoch = epoch; /* longer than anybody may promise */
	liveness_received(pair->at[A], B, &pong, clock_of(pair, A), 1, &pair->out[A]);
	assert_true(liveness_supported_until_ns(pair->at[A], B, epoch) <= clock_of(pair, A) + 800 * MS);
	pair_free(pair);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_support_flows),
		cmocka_unit_test(test_lapsed_support_has_another_epoch),
		cmocka_unit_test(test_drifting_clocks),
		cmocka_unit_test(test_a_restart_is_told_and_waits),
		cmocka_unit_test(test_a_withdrawal_is_for_ever_and_told),
		cmocka_unit_test(test_watches_count_and_promises_stay),
		cmocka_unit_test(test_two_strangers_come_to_terms),
		cmocka_unit_test(test_an_outage_is_no_round_trip),
		cmocka_unit_test(test_a_longer_way_is_learnt),
		cmocka_unit_test(test_forged_and_late_answers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
