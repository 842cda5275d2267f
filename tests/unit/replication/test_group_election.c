/* Who leads: elections, votes, what wakes whom. */
#include "tests/unit/replication/cluster.h"

static void test_three_elect_one(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct cluster *cluster = cluster_begin("vvv", seed);
		unsigned leader = await_leader(cluster, 5000);
		run_ms(cluster, 50);
		for (unsigned i = 0; i < 3; i++) {
			assert_int_equal(status_of(cluster, i).leader, leader + 1);
			assert_int_equal(status_of(cluster, i).commit, 1);
		}
		cluster_free(cluster);
	}
}

static void test_one_elects_itself_at_once(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("v", 1);
	run_ms(cluster, 2);
	assert_true(leads(cluster, 0));
	assert_int_equal(status_of(cluster, 0).commit, 1);
	propose(cluster, 0, 3);
	run_ms(cluster, 1);
	assert_int_equal(status_of(cluster, 0).commit, 4);
	struct read_record *read = ask_read(cluster, 0);
	assert_true(read->done);
	assert_false(read->refused);
	assert_int_equal(group_deadline(cluster->nodes[0].group), UINT64_MAX);
	cluster_free(cluster);
}

/* B9: nothing to do, no deadline, no message. */
static void test_an_idle_group_is_silent(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv", 3);
	unsigned leader = await_leader(cluster, 5000);
	run_ms(cluster, 1000);
	assert_true(status_of(cluster, leader).quiescent);
	uint64_t sent = cluster->sent;
	run_ms(cluster, 60000);
	assert_int_equal(cluster->sent, sent);
	assert_true(leads(cluster, leader));
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(group_deadline(cluster->nodes[i].group), UINT64_MAX);
	cluster_free(cluster);
}

static void test_a_lost_leader_is_replaced(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct cluster *cluster = cluster_begin("vvv", seed);
		unsigned old = await_leader(cluster, 5000);
		propose(cluster, old, 5);
		run_ms(cluster, 1000);
		node_crash(cluster, old);
		run_ms(cluster, 300); /* the promise still runs */
		assert_int_equal(leader_of(cluster), -1);
		unsigned leader = await_leader(cluster, 5000);
		assert_true(leader != old);
		propose(cluster, leader, 1);
		run_ms(cluster, 50);
		assert_int_equal(status_of(cluster, leader).commit, 8);
		node_restart(cluster, old);
		run_ms(cluster, 1000);
		assert_int_equal(status_of(cluster, old).commit, 8);
		assert_true(leads(cluster, leader));
		cluster_free(cluster);
	}
}

/* A replica that was cut off has a pre-vote refused, not a higher term: it disturbs nobody. */
static void test_a_returning_replica_does_not_disturb(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv", 5);
	unsigned leader = await_leader(cluster, 5000);
	run_ms(cluster, 500);
	uint64_t term = status_of(cluster, leader).term;
	unsigned other = (leader + 1) % 3;
	cut_off(cluster, other, true);
	run_ms(cluster, 20000);
	heal(cluster);
	run_ms(cluster, 5000);
	assert_true(leads(cluster, leader));
	assert_int_equal(status_of(cluster, leader).term, term);
	assert_int_equal(status_of(cluster, other).leader, leader + 1);
	cluster_free(cluster);
}

/* C06: the only possible majority needs a replica of an older term. */
static void test_a_stale_term_can_still_vote_and_be_heard(void **state)
{
	(void)state;
	struct membership membership = membership_of("vvv");
	for (unsigned stale = 0; stale < 2; stale++) {
		struct cluster *cluster = cluster_new(3, &membership, 9 + stale);
		cluster->nodes[stale].disk.term = 3;
		cluster->nodes[1 - stale].disk.term = 9;
		node_start(cluster, 0, true);
		node_start(cluster, 1, true);
		unsigned leader = await_leader(cluster, 5000);
		assert_true(status_of(cluster, leader).term >= 10);
		cluster_free(cluster);
	}
}

static struct message vote_request(
	unsigned from, unsigned to, uint64_t term, bool pre, uint64_t last_index, uint64_t last_term)
{
	struct message message = { .kind = MESSAGE_VOTE, .group = 7, .from = from + 1, .to = to + 1, .term = term };
	message.vote.pre = pre;
	message.vote.last_index = last_index;
	message.vote.last_term = last_term;
	return message;
}

static unsigned votes_granted;
static bool count_grants(struct cluster *cluster, const struct message *message)
{
	(void)cluster;
	votes_granted += message->kind == MESSAGE_VOTE_REPLY && message->vote_reply.granted;
	return true;
}

static void deliver(struct cluster *cluster, const struct message *message)
{
	struct group_event event = { .kind = GROUP_RECEIVED };
	event.received.message = message;
	step(cluster, (unsigned)message->to - 1, &event);
}

/* C05: one vote a term, over a crash; and no word of it before it is durable. */
static void test_one_durable_vote_a_term(void **state)
{
	(void)state;
	struct membership membership = membership_of("vvv");
	struct cluster *cluster = cluster_new(3, &membership, 2);
	votes_granted = 0;
	cluster->filter = count_grants;
	node_start(cluster, 0, true);
	disk_stop(cluster, 0);
	struct message first = vote_request(1, 0, 4, false, 0, 0), second = vote_request(2, 0, 4, false, 0, 0);
	deliver(cluster, &first);
	run_ms(cluster, 10);
	assert_int_equal(votes_granted, 0);
	disk_resume(cluster, 0);
	run_ms(cluster, 10);
	assert_int_equal(votes_granted, 1);
	deliver(cluster, &second);
	run_ms(cluster, 10);
	assert_int_equal(votes_granted, 1);
	node_crash(cluster, 0);
	node_restart(cluster, 0);
	run_ms(cluster, 600); /* the wait after a start */
	deliver(cluster, &second);
	run_ms(cluster, 10);
	assert_int_equal(votes_granted, 1);
	deliver(cluster, &first); /* asked again, granted again */
	run_ms(cluster, 10);
	assert_int_equal(votes_granted, 2);
	cluster_free(cluster);
}

/* C17: a pre-vote changes neither term nor vote, and no number of them keeps anybody from standing. */
static void test_a_pre_vote_changes_nothing(void **state)
{
	(void)state;
	struct membership membership = membership_of("vvv");
	struct cluster *cluster = cluster_new(3, &membership, 2);
	votes_granted = 0;
	cluster->filter = count_grants;
	node_start(cluster, 0, true);
	struct message grantable = vote_request(1, 0, 4, true, 0, 0);
	deliver(cluster, &grantable); /* the first is yielded to: our own turn comes later */
	assert_int_equal(votes_granted, 1);
	uint64_t before = group_digest(cluster->nodes[0].group), deadline = group_deadline(cluster->nodes[0].group);
	deliver(cluster, &grantable);
	assert_int_equal(votes_granted, 2);
	assert_int_equal(group_digest(cluster->nodes[0].group), before);
	assert_int_equal(group_deadline(cluster->nodes[0].group), deadline); /* once: nobody is kept from standing */
	assert_int_equal(status_of(cluster, 0).term, 0);
	cluster_free(cluster);
}

/* B4: a node that was restarted takes no part until what it may have promised is over. */
static void test_a_restarted_node_waits(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv", 4);
	await_leader(cluster, 5000);
	run_ms(cluster, 500);
	for (unsigned i = 0; i < 3; i++)
		node_crash(cluster, i);
	votes_granted = 0;
	cluster->filter = count_grants;
	for (unsigned i = 0; i < 3; i++)
		node_restart(cluster, i);
	run_ms(cluster, 504);
	assert_int_equal(votes_granted, 0);
	assert_int_equal(leader_of(cluster), -1);
	await_leader(cluster, 5000);
	cluster_free(cluster);
}

/* C12/C22: who lacks a committed entry does not win. */
static void test_the_log_decides(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct cluster *cluster = cluster_begin("vvv", seed);
		unsigned leader = await_leader(cluster, 5000);
		unsigned behind = (leader + 1) % 3, current = (leader + 2) % 3;
		run_ms(cluster, 300);
		cut_off(cluster, behind, true);
		propose(cluster, leader, 3);
		run_ms(cluster, 20);
		assert_int_equal(status_of(cluster, leader).commit, 4);
		node_crash(cluster, leader);
		heal(cluster);
		assert_int_equal(await_leader(cluster, 10000), current);
		cluster_free(cluster);
	}
}

/* C03, C04: nothing that might be lost is advertised; a candidate waits for its disk. */
static unsigned votes_asked;
static bool count_asked(struct cluster *cluster, const struct message *message)
{
	(void)cluster;
	votes_asked += message->kind == MESSAGE_VOTE;
	return true;
}

static void test_a_candidate_waits_for_its_disk(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv", 6);
	unsigned leader = await_leader(cluster, 5000);
	unsigned slow = (leader + 1) % 3, other = (leader + 2) % 3;
	run_ms(cluster, 300);
	disk_stop(cluster, slow);
	propose(cluster, leader, 1);
	run_ms(cluster, 10);
	assert_int_equal(status_of(cluster, slow).last, 2);
	assert_int_equal(status_of(cluster, slow).durable, 1);
	node_crash(cluster, leader);
	node_crash(cluster, other);
	votes_asked = 0;
	cluster->filter = count_asked;
	run_ms(cluster, 5000);
	assert_int_equal(votes_asked, 0);
	disk_resume(cluster, slow);
	run_ms(cluster, 5000);
	assert_true(votes_asked > 0);
	cluster_free(cluster);
}

/* M08: a learner that was promoted and does not know it yet still answers. */
static void test_a_promoted_learner_votes(void **state)
{
	(void)state;
	struct membership membership = membership_of("vl");
	struct cluster *cluster = cluster_new(2, &membership, 3);
	votes_granted = 0;
	cluster->filter = count_grants;
	node_start(cluster, 1, true);
	struct message message = vote_request(0, 1, 2, false, 5, 1);
	deliver(cluster, &message);
	run_ms(cluster, 5);
	assert_int_equal(votes_granted, 1);
	cluster_free(cluster);
}

/* M02: a learner neither campaigns nor counts. */
static void test_learners_do_not_count(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvll", 3);
	unsigned leader = await_leader(cluster, 5000);
	assert_true(leader < 2);
	run_ms(cluster, 300);
	node_crash(cluster, 1 - leader);
	propose(cluster, leader, 1);
	run_ms(cluster, 300);
	assert_int_equal(status_of(cluster, 2).last, 2); /* both learners have it */
	assert_int_equal(status_of(cluster, leader).commit, 1);
	run_ms(cluster, 10000);
	assert_int_equal(status_of(cluster, leader).commit, 1);
	node_crash(cluster, leader);
	run_ms(cluster, 10000);
	assert_int_equal(leader_of(cluster), -1);
	cluster_free(cluster);
}

/* The leader is reached by nobody's answers, but all hear it, its node is supported: it resigns and says so. */
static void test_a_deaf_leader_resigns(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct cluster *cluster = cluster_begin("vvv", seed);
		unsigned leader = await_leader(cluster, 5000);
		run_ms(cluster, 300);
		for (unsigned i = 0; i < 3; i++)
			if (i != leader)
				cluster->cut[i][leader] = true;
		run_ms(cluster, 8000);
		int other = leader_of(cluster);
		assert_true(other >= 0);
		assert_true((unsigned)other != leader);
		heal(cluster);
		run_ms(cluster, 2000);
		assert_int_equal(leader_of(cluster), other);
		assert_int_equal(status_of(cluster, leader).leader, other + 1);
		cluster_free(cluster);
	}
}

/* ... and one whom nobody hears, is replaced when the promises are over. */
static void test_a_mute_leader_is_replaced(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct cluster *cluster = cluster_begin("vvv", seed);
		unsigned leader = await_leader(cluster, 5000);
		run_ms(cluster, 300);
		for (unsigned i = 0; i < 3; i++)
			if (i != leader)
				cluster->cut[leader][i] = true;
		run_ms(cluster, 5000);
		int other = leader_of(cluster);
		assert_true(other >= 0);
		assert_true((unsigned)other != leader);
		assert_false(leads(cluster, leader));
		heal(cluster);
		run_ms(cluster, 2000);
		assert_int_equal(leader_of(cluster), other);
		cluster_free(cluster);
	}
}

/* C14, C16: A and B do not see each other, C sees both: no endless elections. */
static void test_a_chain_keeps_a_leader(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct cluster *cluster = cluster_begin("vvv", seed);
		unsigned leader = await_leader(cluster, 5000);
		unsigned hub = (leader + 1) % 3, end = (leader + 2) % 3;
		(void)hub;
		run_ms(cluster, 300);
		uint64_t term = status_of(cluster, leader).term;
		cluster->cut[leader][end] = cluster->cut[end][leader] = true;
		run_ms(cluster, 30000);
		assert_true(leads(cluster, leader));
		assert_int_equal(status_of(cluster, leader).term, term);
		propose(cluster, leader, 1);
		run_ms(cluster, 50);
		assert_int_equal(status_of(cluster, leader).commit, status_of(cluster, leader).last);
		cluster_free(cluster);
	}
}

/* B10: an append refused by a higher term deposes the leader, and the group goes on. */
static void test_a_higher_term_deposes(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv", 8);
	unsigned leader = await_leader(cluster, 5000);
	unsigned other = (leader + 1) % 3;
	run_ms(cluster, 300);
	node_crash(cluster, other);
	cluster->nodes[other].disk.term = 50;
	cluster->nodes[other].disk.vote = 0;
	node_restart(cluster, other);
	run_ms(cluster, 8000);
	leader = await_leader(cluster, 5000);
	assert_true(status_of(cluster, leader).term > 50);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(status_of(cluster, i).leader, leader + 1);
	cluster_free(cluster);
}

/* C10: a leader whose disk stands still, heard by all, gives up the lead; and goes on saying so. */
static bool lose_votes;
static bool drop_votes_once(struct cluster *cluster, const struct message *message)
{
	(void)cluster;
	return !(lose_votes && message->kind == MESSAGE_VOTE);
}

static void test_a_stalled_disk_does_not_lead(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv", 4);
	unsigned leader = await_leader(cluster, 5000);
	run_ms(cluster, 300);
	disk_stop(cluster, leader);
	propose(cluster, leader, 1);
	cluster->filter = drop_votes_once;
	lose_votes = true; /* the first announcement is lost */
	run_ms(cluster, 2100);
	assert_false(leads(cluster, leader));
	lose_votes = false;
	run_ms(cluster, 5000);
	int other = leader_of(cluster);
	assert_true(other >= 0);
	assert_int_not_equal(other, leader);
	propose(cluster, (unsigned)other, 1);
	run_ms(cluster, 100);
	assert_int_equal(status_of(cluster, (unsigned)other).commit, status_of(cluster, (unsigned)other).last);
	disk_resume(cluster, leader);
	run_ms(cluster, 1000);
	assert_int_equal(status_of(cluster, leader).commit, status_of(cluster, (unsigned)other).last);
	cluster_free(cluster);
}

static void test_a_corrupt_replica_does_not_campaign(void **state)
{
	(void)state;
	struct membership membership = membership_of("v");
	struct cluster *cluster = cluster_new(1, &membership, 8);
	struct node *node = &cluster->nodes[0];
	cluster_start(cluster);
	run_ms(cluster, 5);
	assert_true(leads(cluster, 0));
	propose(cluster, 0, 3);
	run_ms(cluster, 5);
	node_crash(cluster, 0);
	node_restart(cluster, 0);
	struct group_config config = { .group = 7,
		.replica = 1,
		.node = NODE_BASE + 1,
		.seed = 1,
		.liveness = node->liveness,
		.inflight_max = 8,
		.append_entries_max = 8,
		.append_window = 2,
		.election_us = 500000,
		.retransmit_us = 50000 };
	node->group = group_init(node->memory, &config);
	struct entry entries[4];
	for (unsigned i = 0; i < 4; i++)
		entries[i] = node->disk.log[i + 1].entry;
	struct group_event event = { .kind = GROUP_RESTORED };
	event.restored.term = node->disk.term;
	event.restored.vote = node->disk.vote;
	event.restored.membership = membership;
	event.restored.entries = entries;
	event.restored.count = 4;
	event.restored.corrupt_below = 2;
	node->committed = 0;
	step(cluster, 0, &event);
	run_ms(cluster, 20000);
	assert_int_equal(status_of(cluster, 0).role, GROUP_FOLLOWER);
	group_repaired(node->group);
	run_ms(cluster, 2000);
	assert_true(leads(cluster, 0));
	cluster_free(cluster);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_three_elect_one),
		cmocka_unit_test(test_one_elects_itself_at_once),
		cmocka_unit_test(test_an_idle_group_is_silent),
		cmocka_unit_test(test_a_lost_leader_is_replaced),
		cmocka_unit_test(test_a_returning_replica_does_not_disturb),
		cmocka_unit_test(test_a_stale_term_can_still_vote_and_be_heard),
		cmocka_unit_test(test_one_durable_vote_a_term),
		cmocka_unit_test(test_a_pre_vote_changes_nothing),
		cmocka_unit_test(test_a_restarted_node_waits),
		cmocka_unit_test(test_the_log_decides),
		cmocka_unit_test(test_a_candidate_waits_for_its_disk),
		cmocka_unit_test(test_a_promoted_learner_votes),
		cmocka_unit_test(test_learners_do_not_count),
		cmocka_unit_test(test_a_deaf_leader_resigns),
		cmocka_unit_test(test_a_mute_leader_is_replaced),
		cmocka_unit_test(test_a_chain_keeps_a_leader),
		cmocka_unit_test(test_a_higher_term_deposes),
		cmocka_unit_test(test_a_stalled_disk_does_not_lead),
		cmocka_unit_test(test_a_corrupt_replica_does_not_campaign),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
