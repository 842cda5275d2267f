/* Other members, another leader. */
#include "tests/unit/replication/cluster.h"

static void change_to(struct cluster *cluster, unsigned leader, const char *roles, uint64_t request)
{
	struct membership wanted = membership_of(roles);
	change(cluster, leader, &wanted, request);
}

static void test_a_learner_joins_in_one_step(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv-", 1);
	unsigned leader = await_leader(cluster, 5000);
	propose(cluster, leader, 10);
	run_ms(cluster, 100);
	uint64_t last = status_of(cluster, leader).last;
	change_to(cluster, leader, "vvvl", 5);
	run_ms(cluster, 500);
	assert_int_equal(cluster->nodes[leader].changed_count, 1);
	assert_int_equal(cluster->nodes[leader].changed_request, 5);
	assert_int_equal(status_of(cluster, leader).last, last + 1);
	assert_int_equal(status_of(cluster, 3).commit, last + 1);
	struct group_progress progress;
	assert_true(group_progress(cluster->nodes[leader].group, 4, &progress));
	assert_int_equal(progress.match, last + 1);
	cluster_free(cluster);
}

static void test_voters_change_jointly(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 10; seed++) {
		struct cluster *cluster = cluster_begin("vvv---", seed);
		unsigned leader = await_leader(cluster, 5000);
		propose(cluster, leader, 5);
		run_ms(cluster, 100);
		change_to(cluster, leader, "---vvv", 6); /* all of them, and the leader leaves too */
		run_ms(cluster, 100);
		assert_int_equal(cluster->nodes[leader].changed, STATUS_OK);
		assert_int_equal(cluster->nodes[leader].changed_count, 1);
		run_ms(cluster, 3000);
		unsigned other = await_leader(cluster, 5000);
		assert_true(other >= 3);
		const struct membership *membership = group_membership(cluster->nodes[other].group);
		assert_int_equal(membership->count, 3);
		assert_false(membership->joint);
		propose(cluster, other, 1);
		run_ms(cluster, 50);
		for (unsigned i = 3; i < 6; i++)
			assert_int_equal(status_of(cluster, i).commit, status_of(cluster, other).last);
		assert_false(leads(cluster, leader));
		cluster_free(cluster);
	}
}

/* Both configurations must agree while joint (M05). */
static void test_joint_needs_both(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv--", 3);
	unsigned leader = await_leader(cluster, 5000);
	run_ms(cluster, 300);
	cut_off(cluster, 3, true);
	cut_off(cluster, 4, true);
	char roles[6] = "---vv";
	roles[leader] = 'v';
	change_to(cluster, leader, roles, 1);
	run_ms(cluster, 300);
	assert_true(
		status_of(cluster, leader).commit < status_of(cluster, leader).last); /* all of the old is not enough */
	assert_true(status_of(cluster, leader).changing);
	heal(cluster);
	run_ms(cluster, 8000);
	leader = await_leader(cluster, 5000);
	assert_false(status_of(cluster, leader).changing);
	assert_int_equal(group_membership(cluster->nodes[leader].group)->count, 3);
	cluster_free(cluster);
}

/* M01, M06: none before the no-op is committed, one at a time. */
static void test_one_change_at_a_time(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv--", 4);
	unsigned leader = await_leader(cluster, 5000);
	run_ms(cluster, 100);
	change_to(cluster, leader, "vvvl-", 1);
	change_to(cluster, leader, "vvv-l", 2);
	assert_int_equal(cluster->nodes[leader].refused, STATUS_BUSY);
	assert_int_equal(cluster->nodes[leader].refused_request, 2);
	change_to(cluster, (leader + 1) % 3, "vvv-l", 3);
	assert_int_equal(cluster->nodes[(leader + 1) % 3].refused, STATUS_NOT_LEADER);
	run_ms(cluster, 100);
	struct membership none = { 0 };
	change(cluster, leader, &none, 4);
	assert_int_equal(cluster->nodes[leader].refused, STATUS_INVALID);
	change_to(cluster, leader, "vvvll", 5);
	run_ms(cluster, 100);
	assert_int_equal(cluster->nodes[leader].changed_request, 5);
	cluster_free(cluster);
}

static bool drop_appends(struct cluster *cluster, const struct message *message)
{
	(void)cluster;
	return message->kind != MESSAGE_APPEND;
}

static void test_no_change_before_the_no_op(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv", 5);
	cluster->filter = drop_appends;
	int leader = -1;
	for (unsigned i = 0; i < 3000 && leader < 0; i++) {
		run_ms(cluster, 1);
		leader = leader_of(cluster);
	}
	assert_true(leader >= 0);
	change_to(cluster, (unsigned)leader, "vv", 1);
	assert_int_equal(cluster->nodes[leader].refused, STATUS_BUSY);
	cluster_free(cluster);
}

/* M03: a membership that is truncated is no longer in force. */
static void test_a_truncated_membership_is_rolled_back(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 10; seed++) {
		struct cluster *cluster = cluster_begin("vvv--", seed);
		unsigned old = await_leader(cluster, 5000);
		run_ms(cluster, 300);
		cut_off(cluster, old, true);
		change_to(cluster, old, "vvvvv", 1);
		assert_true(group_membership(cluster->nodes[old].group)->joint);
		run_ms(cluster, 4000);
		unsigned leader = await_leader(cluster, 5000);
		assert_int_not_equal(leader, old);
		assert_int_equal(cluster->nodes[old].changed, STATUS_UNKNOWN_OUTCOME);
		propose(cluster, leader, 1);
		heal(cluster);
		run_ms(cluster, 3000);
		assert_int_equal(cluster->nodes[old].truncated, 1);
		assert_false(group_membership(cluster->nodes[old].group)->joint);
		assert_int_equal(group_membership(cluster->nodes[old].group)->count, 3);
		cluster_free(cluster);
	}
}

/* M09: a leader lost at any step of a change: the joint membership ends all the same. */
static void test_a_change_outlives_its_leader(void **state)
{
	(void)state;
	for (uint64_t us = 100; us < 9000; us += 300) {
		struct cluster *cluster = cluster_begin("vvv--", us);
		unsigned old = await_leader(cluster, 5000);
		run_ms(cluster, 300);
		char roles[6] = "vvvvv";
		roles[(old + 1) % 3] = '-';
		change_to(cluster, old, roles, 1);
		uint64_t until = cluster->now + us * 1000;
		while (run_one(cluster, until))
			;
		node_crash(cluster, old);
		run_ms(cluster, 3000);
		node_restart(cluster, old);
		run_ms(cluster, 3000);
		unsigned leader = await_leader(cluster, 5000);
		assert_false(status_of(cluster, leader).changing);
		assert_false(group_membership(cluster->nodes[leader].group)->joint);
		cluster_free(cluster);
	}
}

/* --- transfer --- */

static void test_a_transfer_is_quick_and_loses_nothing(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 10; seed++) {
		struct cluster *cluster = cluster_begin("vvv", seed);
		unsigned old = await_leader(cluster, 5000), to = (old + 1) % 3;
		run_ms(cluster, 300);
		propose(cluster, old, 20);
		transfer(cluster, old, to);
		propose(cluster, old, 1);
		assert_int_equal(cluster->nodes[old].refused, STATUS_BUSY);
		run_ms(cluster, 15); /* far less than an election or a promise */
		assert_true(leads(cluster, to));
		assert_false(leads(cluster, old));
		run_ms(cluster, 20);
		assert_int_equal(status_of(cluster, to).commit, 22);
		assert_true(ask_read(cluster, to)->done);
		cluster_free(cluster);
	}
}

static bool drop_votes(struct cluster *cluster, const struct message *message)
{
	(void)cluster;
	return message->kind != MESSAGE_VOTE;
}

/* B5: whoever sent TIMEOUT_NOW reads no more in that term, though the transfer fails; it steps down. */
static void test_after_timeout_now_no_reads(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv", 2);
	unsigned old = await_leader(cluster, 5000), to = (old + 1) % 3;
	run_ms(cluster, 300);
	uint64_t term = status_of(cluster, old).term;
	cluster->filter = drop_votes;
	transfer(cluster, old, to);
	run_ms(cluster, 5);
	assert_int_equal(cluster->nodes[old].timeout_now, 1);
	assert_true(leads(cluster, old));
	assert_int_equal(status_of(cluster, old).lead_until_ns, 0);
	struct read_record *read = ask_read(cluster, old);
	assert_true(read->refused);
	run_ms(cluster, 600);
	assert_false(leads(cluster, old) && status_of(cluster, old).term == term);
	cluster->filter = NULL;
	run_ms(cluster, 3000);
	await_leader(cluster, 5000);
	cluster_free(cluster);
}

/* A target that does not catch up in time: nothing was given away, the leader goes on. */
static void test_a_transfer_that_times_out(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv", 3);
	unsigned old = await_leader(cluster, 5000), to = (old + 1) % 3;
	run_ms(cluster, 300);
	disk_stop(cluster, to);
	propose(cluster, old, 1);
	transfer(cluster, old, to);
	run_ms(cluster, 300);
	assert_true(status_of(cluster, old).transferring);
	run_ms(cluster, 400);
	assert_true(leads(cluster, old));
	assert_false(status_of(cluster, old).transferring);
	assert_true(ask_read(cluster, old)->done);
	propose(cluster, old, 1);
	run_ms(cluster, 20);
	assert_int_equal(status_of(cluster, old).commit, 3);
	transfer(cluster, old, old);
	assert_int_equal(cluster->nodes[old].refused, STATUS_INVALID);
	cluster_free(cluster);
}

/* C04: TIMEOUT_NOW at a replica whose disk is busy: it campaigns when all is durable. */
static void test_timeout_now_waits_for_the_disk(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv", 4);
	unsigned old = await_leader(cluster, 5000), to = (old + 1) % 3;
	run_ms(cluster, 300);
	disk_stop(cluster, to);
	propose(cluster, old, 1);
	run_ms(cluster, 10);
	uint64_t term = status_of(cluster, old).term;
	struct message message = {
		.kind = MESSAGE_TIMEOUT_NOW, .group = 7, .from = old + 1, .to = to + 1, .term = term
	};
	struct group_event event = { .kind = GROUP_RECEIVED };
	event.received.message = &message;
	step(cluster, to, &event);
	run_ms(cluster, 10);
	assert_int_equal(status_of(cluster, to).term, term);
	disk_resume(cluster, to);
	run_ms(cluster, 2);
	assert_int_equal(status_of(cluster, to).term, term + 1);
	cluster_free(cluster);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_learner_joins_in_one_step),
		cmocka_unit_test(test_voters_change_jointly),
		cmocka_unit_test(test_joint_needs_both),
		cmocka_unit_test(test_one_change_at_a_time),
		cmocka_unit_test(test_no_change_before_the_no_op),
		cmocka_unit_test(test_a_truncated_membership_is_rolled_back),
		cmocka_unit_test(test_a_change_outlives_its_leader),
		cmocka_unit_test(test_a_transfer_is_quick_and_loses_nothing),
		cmocka_unit_test(test_after_timeout_now_no_reads),
		cmocka_unit_test(test_a_transfer_that_times_out),
		cmocka_unit_test(test_timeout_now_waits_for_the_disk),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
