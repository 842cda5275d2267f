/* Promises and what is read by them: the traces that break when a rule is missing, and ReadIndex. */
#include "tests/unit/replication/cluster.h"

static void test_the_leader_reads_alone(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv", 1);
	unsigned leader = await_leader(cluster, 5000);
	run_ms(cluster, 300);
	uint64_t sent = cluster->sent;
	struct read_record *read = ask_read(cluster, leader);
	assert_true(read->done);
	assert_int_equal(read->index, 1);
	assert_int_equal(cluster->sent, sent);
	cluster_free(cluster);
}

static void test_a_follower_asks(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvvl", 2);
	unsigned leader = await_leader(cluster, 5000);
	run_ms(cluster, 300);
	propose(cluster, leader, 3);
	run_ms(cluster, 50);
	for (unsigned i = 0; i < 4; i++) {
		struct read_record *read = ask_read(cluster, i);
		run_ms(cluster, 3);
		assert_true(read->done);
		assert_int_equal(read->index, 4);
	}
	cluster_free(cluster);
}

/* Without node-level support a round of appends confirms the leader (B8). */
static void test_without_a_lease_a_round_confirms(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv", 3);
	unsigned leader = await_leader(cluster, 5000);
	run_ms(cluster, 300);
	/* The leader's clock runs ahead to where its lease is over, before any ping is answered again. */
	cluster->nodes[leader].clock_offset += 600 * MS;
	assert_int_equal(status_of(cluster, leader).lead_until_ns, 0);
	struct read_record *read = ask_read(cluster, leader);
	assert_false(read->done);
	run_ms(cluster, 5);
	assert_true(read->done);
	assert_false(read->refused);
	cluster_free(cluster);
}

static void test_a_leader_cut_off_reads_nothing(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 10; seed++) {
		struct cluster *cluster = cluster_begin("vvv", seed);
		unsigned leader = await_leader(cluster, 5000);
		run_ms(cluster, 300);
		cut_off(cluster, leader, true);
		run_ms(cluster, 550); /* the lease is over, the leader does not know of another */
		assert_true(leads(cluster, leader));
		struct read_record *read = ask_read(cluster, leader);
		run_ms(cluster, 600);
		assert_true(read->done);
		assert_true(read->refused);
		cluster_free(cluster);
	}
}

/* B6, L02: a new leader answers when its no-op is committed, not before. */
static bool stop_entries;
static bool drop_entries(struct cluster *cluster, const struct message *message)
{
	(void)cluster;
	return !(stop_entries && message->kind == MESSAGE_APPEND && message->append.first <= message->append.last);
}

static void test_a_read_before_the_no_op_waits(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv", 5);
	unsigned old = await_leader(cluster, 5000);
	propose(cluster, old, 3);
	run_ms(cluster, 300);
	node_crash(cluster, old);
	stop_entries = true;
	cluster->filter = drop_entries;
	int leader = -1;
	for (unsigned i = 0; i < 4000 && leader < 0; i++) {
		run_ms(cluster, 1);
		leader = leader_of(cluster);
	}
	assert_true(leader >= 0);
	unsigned other = 3 - old - (unsigned)leader;
	struct read_record *own = ask_read(cluster, (unsigned)leader);
	run_ms(cluster, 20);
	assert_false(own->done);
	stop_entries = false;
	run_ms(cluster, 150);
	assert_true(own->done);
	assert_int_equal(own->index, 5);
	struct read_record *far = ask_read(cluster, other);
	run_ms(cluster, 5);
	assert_true(far->done);
	cluster_free(cluster);
}

/* L01: each attempt has a nonce of its own. */
static uint64_t nonces[64];
static unsigned nonce_count;
static bool hold_questions(struct cluster *cluster, const struct message *message)
{
	(void)cluster;
	if (message->kind != MESSAGE_READ_INDEX)
		return true;
	nonces[nonce_count++ % 64] = message->read_index.nonce;
	return false;
}

static void test_every_attempt_has_its_nonce(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv", 6);
	unsigned leader = await_leader(cluster, 5000), other = (leader + 1) % 3;
	run_ms(cluster, 300);
	nonce_count = 0;
	cluster->filter = hold_questions;
	struct read_record *read = ask_read(cluster, other);
	run_ms(cluster, 220);
	assert_int_equal(nonce_count, 5);
	for (unsigned i = 1; i < nonce_count; i++)
		assert_int_equal(nonces[i], nonces[0] + i);
	/* An answer to an attempt that was given up answers nothing. */
	struct message late = {
		.kind = MESSAGE_READ_INDEX_REPLY, .group = 7, .from = leader + 1, .to = other + 1, .term = 1
	};
	late.read_index_reply.nonce = nonces[0];
	struct group_event event = { .kind = GROUP_RECEIVED };
	event.received.message = &late;
	step(cluster, other, &event);
	assert_false(read->done);
	run_ms(cluster, 400);
	assert_true(read->refused);
	assert_int_equal(read->status, STATUS_QUORUM_UNAVAILABLE);
	cluster_free(cluster);
}

static void test_reads_are_bounded(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv", 7);
	unsigned leader = await_leader(cluster, 5000), other = (leader + 1) % 3;
	run_ms(cluster, 300);
	for (unsigned i = 0; i < GROUP_READS_MAX; i++)
		assert_false(ask_read(cluster, other)->done);
	struct read_record *read = ask_read(cluster, other);
	assert_true(read->refused);
	assert_int_equal(read->status, STATUS_BUSY);
	run_ms(cluster, 10);
	assert_false(ask_read(cluster, other)->refused);
	cluster_free(cluster);
}

/* B2: while the promise runs nobody votes, whoever asks, and the request's term is not taken up. */
static unsigned replies;
static bool count_vote_replies(struct cluster *cluster, const struct message *message)
{
	(void)cluster;
	replies += message->kind == MESSAGE_VOTE_REPLY;
	return true;
}

static void test_a_promise_keeps_out_of_elections(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv", 8);
	unsigned leader = await_leader(cluster, 5000), voter = (leader + 1) % 3, other = (leader + 2) % 3;
	run_ms(cluster, 300);
	replies = 0;
	cluster->filter = count_vote_replies;
	uint64_t term = status_of(cluster, voter).term;
	for (unsigned pre = 0; pre < 2; pre++) {
		for (unsigned at = 0; at < 2; at++) { /* the leader too keeps its promise to itself */
			struct message message = { .kind = MESSAGE_VOTE,
				.group = 7,
				.from = other + 1,
				.to = (at ? leader : voter) + 1,
				.term = term + 5 };
			message.vote.pre = pre;
			message.vote.last_index = 99;
			message.vote.last_term = term + 4;
			struct group_event event = { .kind = GROUP_RECEIVED };
			event.received.message = &message;
			step(cluster, (unsigned)message.to - 1, &event);
		}
	}
	assert_int_equal(replies, 0);
	assert_int_equal(status_of(cluster, voter).term, term);
	assert_true(leads(cluster, leader));
	cluster_free(cluster);
}

/* The promise is as long as the lease: no other leader while the old one may still read, whatever is cut. */
static void test_leases_never_overlap(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 30; seed++) {
		struct cluster *cluster = cluster_begin(seed % 2 ? "vvv" : "vvvvv", seed);
		await_leader(cluster, 5000);
		for (unsigned i = 0; i < 4000; i++) {
			if (prng_chance(&cluster->prng, 4000))
				cut_off(cluster, (unsigned)prng_below(&cluster->prng, cluster->count), true);
			if (prng_chance(&cluster->prng, 2000))
				cluster->cut[prng_below(&cluster->prng, cluster->count)]
					    [prng_below(&cluster->prng, cluster->count)] = true;
			if (prng_chance(&cluster->prng, 3000))
				heal(cluster);
			run_ms(cluster, 5);
			unsigned reading = 0;
			for (unsigned n = 0; n < cluster->count; n++)
				reading += status_of(cluster, n).lead_until_ns > 0;
			assert_true(reading <= 1);
		}
		cluster_free(cluster);
	}
}

/* node_unbound_low: B leads term 2 with C's vote; A never heard of term 2 but its node supports B's. That support must
 * not count: A is not bound, may vote for C, and B would read old. */
static void test_support_of_a_voter_never_bound_does_not_count(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv", 10);
	unsigned leader = await_leader(cluster, 8000);
	unsigned deaf = (leader + 1) % 3, other = (leader + 2) % 3;
	run_ms(cluster, 300);
	node_crash(cluster, deaf);
	node_restart(cluster, deaf); /* its binding is gone; group messages to it are lost, pings are not */
	cluster->deaf_to_groups[deaf] = true;
	run_ms(cluster, 700);
	assert_true(liveness_supported_epoch(cluster->nodes[leader].liveness, NODE_BASE + deaf + 1) != 0);
	/* Now the one bound voter falls silent: node-level support of the other is not enough. */
	node_crash(cluster, other);
	run_ms(cluster, 600);
	assert_int_equal(status_of(cluster, leader).lead_until_ns, 0);
	cluster_free(cluster);
}

/* node_unbound_high: C bound itself to A, its support lapsed, C moved on; contact returns, support is renewed under
 * another epoch: in A's old term it does not count. */
static void test_support_that_lapsed_never_counts_again(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv", 11);
	unsigned a = await_leader(cluster, 5000), b = (a + 1) % 3, c = (a + 2) % 3;
	run_ms(cluster, 300);
	uint64_t epoch = liveness_supported_epoch(cluster->nodes[a].liveness, NODE_BASE + c + 1);
	assert_true(epoch != 0);
	cut_off(cluster, a, true);
	run_ms(cluster, 3000);
	unsigned leader = await_leader(cluster, 5000);
	assert_true(leader == b || leader == c);
	/* Pings flow again, the group's messages do not: A does not learn of the new leader. */
	cluster->deaf_to_groups[a] = true;
	heal(cluster);
	run_ms(cluster, 1500);
	uint64_t renewed = liveness_supported_epoch(cluster->nodes[a].liveness, NODE_BASE + c + 1);
	assert_true(renewed != 0);
	assert_true(renewed != epoch);
	assert_int_equal(liveness_supported_until_ns(cluster->nodes[a].liveness, NODE_BASE + c + 1, epoch), 0);
	assert_int_equal(status_of(cluster, a).lead_until_ns, 0);
	propose(cluster, leader, 1);
	run_ms(cluster, 20);
	struct read_record *read = ask_read(cluster, a);
	run_ms(cluster, 1000);
	assert_true(read->refused);
	cluster_free(cluster);
}

/* A blip: support lapses and returns under another epoch; an append binds the voter anew, in the same term. */
static void test_a_blip_is_survived(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv", 12);
	unsigned leader = await_leader(cluster, 5000);
	run_ms(cluster, 300);
	uint64_t term = status_of(cluster, leader).term;
	cut_off(cluster, leader, true);
	run_ms(cluster, 540);
	heal(cluster);
	run_ms(cluster, 3000);
	leader = await_leader(cluster, 5000);
	assert_true(status_of(cluster, leader).term <= term + 1);
	assert_true(status_of(cluster, leader).quiescent);
	cluster_free(cluster);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_leader_reads_alone),
		cmocka_unit_test(test_a_follower_asks),
		cmocka_unit_test(test_without_a_lease_a_round_confirms),
		cmocka_unit_test(test_a_leader_cut_off_reads_nothing),
		cmocka_unit_test(test_a_read_before_the_no_op_waits),
		cmocka_unit_test(test_every_attempt_has_its_nonce),
		cmocka_unit_test(test_reads_are_bounded),
		cmocka_unit_test(test_a_promise_keeps_out_of_elections),
		cmocka_unit_test(test_leases_never_overlap),
		cmocka_unit_test(test_support_of_a_voter_never_bound_does_not_count),
		cmocka_unit_test(test_support_that_lapsed_never_counts_again),
		cmocka_unit_test(test_a_blip_is_survived),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
