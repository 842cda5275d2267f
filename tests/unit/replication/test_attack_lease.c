/* tests/unit/replication/test_attack_lease.c: ways to make a leader read while another commits. Each story leaves the
 * old leader deaf to its group while the nodes still hear each other's pings: node-level support then goes on, and only
 * the withdrawal of every voter that went over to somebody else can end the old leader's lease. */
#include "tests/unit/replication/cluster.h"

static void deliver(struct cluster *cluster, const struct message *message)
{
	struct group_event event = { .kind = GROUP_RECEIVED };
	event.received.message = message;
	step(cluster, (unsigned)message->to - 1, &event);
}

static void settle_quiescent(struct cluster *cluster, unsigned leader)
{
	propose(cluster, leader, 3);
	run_ms(cluster, 400);
	assert_true(status_of(cluster, leader).quiescent);
}

/* A refusal of a higher term, an answer to a pre-vote of before the followers had a leader, comes late. It must not end
 * what they are bound to: they would elect without taking their support back. */
static void test_a_late_refusal_unbinds_nobody(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvvvv", 21);
	unsigned leader = await_leader(cluster, 5000), away = (leader + 1) % 5;
	settle_quiescent(cluster, leader);
	cut_off(cluster, away, true);
	cluster->deaf_to_groups[leader] = true;
	uint64_t term = status_of(cluster, leader).term;
	for (unsigned i = 0; i < 5; i++) {
		struct message late = {
			.kind = MESSAGE_VOTE_REPLY, .group = 7, .from = away + 1, .to = i + 1, .term = term + 1
		};
		late.vote_reply.pre = true;
		if (i != leader && i != away)
			deliver(cluster, &late);
	}
	for (unsigned i = 0; i < 3000; i++) {
		run_ms(cluster, 1);
		int other = leader_of(cluster);
		if (other >= 0 && (unsigned)other != leader)
			propose(cluster, (unsigned)other, 1);
		if (leads(cluster, leader))
			ask_read(cluster, leader); /* the cluster asserts that it is not stale */
	}
	assert_true(leads(cluster, leader));
	assert_int_equal(status_of(cluster, (leader + 2) % 5).leader, leader + 1);
	cluster_free(cluster);
}

static struct message ping_of(struct cluster *cluster, unsigned from, uint64_t boot)
{
	struct message ping = { .kind = MESSAGE_PING };
	ping.ping.sent_ns = clock_of(cluster, from);
	ping.ping.boot = boot;
	return ping;
}

static void deliver_ping(struct cluster *cluster, unsigned from, unsigned to, uint64_t boot)
{
	struct message ping = ping_of(cluster, from, boot);
	liveness_received(cluster->nodes[to].liveness, NODE_BASE + from + 1, &ping, clock_of(cluster, to), 1,
		&cluster->liveness_effects);
	liveness_carry_out(cluster, to);
}

/* What a group bound itself to under a leader's process of before does not count for its next: news of the restart end
 * the epoch, so that no binding is given up and still counted. */
static void test_another_process_is_supported_under_another_epoch(void **state)
{
	(void)state;
	enum { BOOT_BEFORE = 12345 };
	struct cluster *cluster = cluster_begin("vv", 22);
	cut_off(cluster, 0, true); /* but for what is delivered here */
	struct liveness *liveness = cluster->nodes[1].liveness;
	deliver_ping(cluster, 0, 1, BOOT_BEFORE);
	uint64_t epoch = liveness_granted_epoch(liveness, NODE_BASE + 1);
	uint64_t until = liveness_promised_until_ns(liveness, NODE_BASE + 1);
	assert_int_not_equal(epoch, 0);
	deliver_ping(cluster, 0, 1, cluster->nodes[0].boot); /* late, for all that is known: not believed */
	assert_int_equal(liveness_granted_epoch(liveness, NODE_BASE + 1), epoch);
	run_ms(cluster, 1);
	struct message pong = { .kind = MESSAGE_PONG };
	pong.pong.echo_ns = clock_of(cluster, 1); /* answers what was asked since */
	pong.pong.echo_boot = cluster->nodes[1].boot;
	pong.pong.boot = cluster->nodes[0].boot;
	liveness_received(liveness, NODE_BASE + 1, &pong, clock_of(cluster, 1), 1, &cluster->liveness_effects);
	liveness_carry_out(cluster, 1);
	deliver_ping(cluster, 0, 1, cluster->nodes[0].boot);
	assert_int_not_equal(liveness_granted_epoch(liveness, NODE_BASE + 1), 0);
	assert_int_not_equal(liveness_granted_epoch(liveness, NODE_BASE + 1), epoch);
	assert_true(liveness_promised_until_ns(liveness, NODE_BASE + 1) >= until); /* ends by time only */
	cluster_free(cluster);
}

/* A follower that for whatever reason does not count the leader its own any more, while the leader's lease runs and it
 * lacks nothing, asks for votes that nobody gives. The leader calls it back. */
static bool forget_appends;
static bool drop_appends(struct cluster *cluster, const struct message *message)
{
	(void)cluster;
	return !(forget_appends && message->kind == MESSAGE_APPEND);
}

static void test_a_precandidate_in_the_leaders_term_is_called_back(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv", 23);
	unsigned leader = await_leader(cluster, 5000), lost = (leader + 1) % 3;
	settle_quiescent(cluster, leader);
	uint64_t term = status_of(cluster, leader).term;
	/* It believes, wrongly, that the leader gave up. */
	struct message news = {
		.kind = MESSAGE_VOTE, .group = 7, .from = leader + 1, .to = lost + 1, .term = term + 1
	};
	news.vote.pre = true;
	news.vote.last_index = 1;
	news.vote.last_term = 1;
	cluster->filter = drop_appends;
	forget_appends = true;
	deliver(cluster, &news);
	assert_int_equal(status_of(cluster, lost).leader, 0);
	for (unsigned i = 0; i < 100 && status_of(cluster, lost).role != GROUP_PRECANDIDATE; i++)
		run_ms(cluster, 20);
	assert_int_equal(status_of(cluster, lost).role, GROUP_PRECANDIDATE);
	assert_int_equal(status_of(cluster, lost).term, term);
	forget_appends = false;
	run_ms(cluster, 1500);
	assert_int_equal(status_of(cluster, lost).leader, leader + 1);
	assert_int_equal(status_of(cluster, leader).term, term);
	assert_true(status_of(cluster, leader).quiescent);
	struct read_record *read = ask_read(cluster, lost);
	run_ms(cluster, 10);
	assert_true(read->done);
	assert_false(read->refused);
	cluster_free(cluster);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_late_refusal_unbinds_nobody),
		cmocka_unit_test(test_another_process_is_supported_under_another_epoch),
		cmocka_unit_test(test_a_precandidate_in_the_leaders_term_is_called_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
