/* Two copies, A and B, and a witness W that holds no data (docs/witness.md): what commits, who can be elected, how the
 * rule falls back and comes back. */
#include "tests/unit/replication/cluster.h"

enum { A, B, W };

static struct cluster *begun_with_a(const char *roles, uint64_t seed)
{
	struct cluster *cluster = witnessed_begin(roles, seed);
	unsigned leader = await_leader(cluster, 5000);
	if (leader != A) {
		transfer(cluster, leader, A);
		run_ms(cluster, 1000);
	}
	assert_true(leads(cluster, A));
	return cluster;
}

/* A leads, B and W have all that it has. */
static struct cluster *led_by_a(uint64_t seed)
{
	struct cluster *cluster = begun_with_a("vvw", seed);
	propose(cluster, A, 3);
	run_ms(cluster, 500);
	assert_int_equal(status_of(cluster, W).commit, status_of(cluster, A).last);
	assert_false(status_of(cluster, A).degraded);
	return cluster;
}

static bool commits(struct cluster *cluster, unsigned leader, uint64_t ms)
{
	propose(cluster, leader, 1);
	uint64_t index = status_of(cluster, leader).last;
	run_ms(cluster, ms);
	return cluster->nodes[leader].up && status_of(cluster, leader).commit >= index;
}

static uint64_t match_of(struct cluster *cluster, unsigned leader, unsigned at)
{
	struct group_progress progress;
	assert_true(group_progress(cluster->nodes[leader].group, at + 1, &progress));
	return progress.match;
}

static void test_a_copy_and_the_witness_are_not_two_copies(void **state)
{
	(void)state;
	struct cluster *cluster = led_by_a(1);
	disk_stop(cluster, B); /* its node lives, so nothing degrades */
	assert_false(commits(cluster, A, 1500));
	assert_false(status_of(cluster, A).degraded);
	disk_resume(cluster, B);
	run_ms(cluster, 500);
	assert_int_equal(status_of(cluster, A).commit, status_of(cluster, A).last);
	cluster_free(cluster);
}

static void test_the_witness_is_not_needed_for_two_copies(void **state)
{
	(void)state;
	struct cluster *cluster = led_by_a(2);
	node_crash(cluster, W);
	for (unsigned i = 0; i < 5; i++)
		assert_true(commits(cluster, A, 1000));
	assert_false(status_of(cluster, A).degraded);
	cluster_free(cluster);
}

static void test_a_witness_is_sent_what_is_committed(void **state)
{
	(void)state;
	struct cluster *cluster = led_by_a(3);
	uint64_t before = status_of(cluster, A).last;
	disk_stop(cluster, B);
	propose(cluster, A, 5);
	run_ms(cluster, 300);
	assert_int_equal(status_of(cluster, W).last, before);
	assert_true(status_of(cluster, B).last > before);
	disk_resume(cluster, B);
	run_ms(cluster, 300);
	assert_int_equal(status_of(cluster, W).last, before + 5);
	cluster_free(cluster);
}

/* A leader appends, W hears of it and B does not, A is lost: W would refuse B for ever. */
static void test_a_lost_leader_does_not_lock_the_other_out(void **state)
{
	(void)state;
	struct cluster *cluster = led_by_a(4);
	cluster->cut[A][B] = true;
	propose(cluster, A, 3);
	run_ms(cluster, 100);
	node_crash(cluster, A);
	run_ms(cluster, 5000);
	assert_true(leads(cluster, B));
	assert_true(status_of(cluster, B).degraded);
	assert_true(commits(cluster, B, 300));
	cluster_free(cluster);
}

static void test_a_new_leader_goes_on_without_the_other_copy(void **state)
{
	(void)state;
	struct cluster *cluster = led_by_a(5);
	assert_true(commits(cluster, A, 300));
	node_crash(cluster, A);
	/* The promise to A, an election, and the rule behind the no-op at once. */
	run_ms(cluster, 505 + 1000 + 100);
	assert_true(leads(cluster, B));
	assert_true(commits(cluster, B, 50));
	assert_true(status_of(cluster, B).degraded);
	assert_int_equal(match_of(cluster, B, W), status_of(cluster, B).last);
	cluster_free(cluster);
}

static void test_a_standing_leader_goes_on_without_the_other_copy(void **state)
{
	(void)state;
	for (unsigned reads = 0; reads < 2; reads++) {
		struct membership membership = witnessed_of("vvw");
		membership.local_reads = reads == 1;
		struct cluster *cluster = cluster_new(3, &membership, 6);
		cluster_start(cluster);
		unsigned leader = await_leader(cluster, 5000), other = leader == A ? B : A;
		run_ms(cluster, 1000);
		assert_int_equal(may_read(cluster, other), reads);
		assert_false(may_read(cluster, W)); /* never */
		propose(cluster, leader, 2);
		run_ms(cluster, 100);
		node_crash(cluster, other);
		propose(cluster, leader, 1);
		run_ms(cluster, 1500);
		assert_true(leads(cluster, leader));
		assert_true(status_of(cluster, leader).degraded);
		assert_int_equal(status_of(cluster, leader).commit, status_of(cluster, leader).last);
		assert_true(may_read(cluster, leader));
		cluster_free(cluster);
	}
}

static void test_a_copy_that_returns_makes_two_again(void **state)
{
	(void)state;
	struct cluster *cluster = led_by_a(7);
	node_crash(cluster, B);
	run_ms(cluster, 1500);
	for (unsigned i = 0; i < 20; i++)
		assert_true(commits(cluster, A, 20));
	node_restart(cluster, B);
	run_ms(cluster, 1000);
	assert_false(status_of(cluster, A).degraded);
	assert_true(commits(cluster, A, 100));
	assert_int_equal(match_of(cluster, A, B), status_of(cluster, A).last);
	disk_stop(cluster, B);
	assert_false(commits(cluster, A, 300));
	cluster_free(cluster);
}

/* Under load a copy never has the very last entry. */
static void test_two_copies_again_under_load(void **state)
{
	(void)state;
	struct cluster *cluster = led_by_a(8);
	node_crash(cluster, B);
	run_ms(cluster, 1500);
	node_restart(cluster, B);
	unsigned ms = 0;
	for (; ms < 3000 && (ms < 300 || status_of(cluster, A).degraded); ms++) {
		propose(cluster, A, 1);
		run_ms(cluster, 1);
	}
	assert_true(ms < 3000);
	cluster_free(cluster);
}

/* It is heard, and has nothing yet: nothing may be said to be on two copies. */
static void test_a_copy_that_lags_is_no_copy_yet(void **state)
{
	(void)state;
	struct cluster *cluster = led_by_a(9);
	node_crash(cluster, B);
	run_ms(cluster, 1500);
	assert_true(commits(cluster, A, 20));
	node_restart(cluster, B);
	disk_stop(cluster, B);
	for (unsigned i = 0; i < 20; i++)
		assert_true(commits(cluster, A, 100));
	assert_true(status_of(cluster, A).degraded);
	disk_resume(cluster, B);
	run_ms(cluster, 1000);
	assert_false(status_of(cluster, A).degraded);
	cluster_free(cluster);
}

/* The rule that comes back is in force from its own entry on: a copy and the witness do not commit it. */
static void test_two_copies_bring_two_copies_back(void **state)
{
	(void)state;
	struct cluster *cluster = led_by_a(10);
	node_crash(cluster, B);
	run_ms(cluster, 1500);
	assert_true(commits(cluster, A, 20));
	uint64_t before = status_of(cluster, A).last;
	cluster->entries_upto = before; /* B gets all but what comes now */
	node_restart(cluster, B);
	run_ms(cluster, 1000);
	assert_false(status_of(cluster, A).degraded);
	assert_int_equal(status_of(cluster, A).commit, before);
	cluster->entries_upto = 0;
	run_ms(cluster, 1000);
	assert_int_equal(status_of(cluster, A).commit, before + 1);
	cluster_free(cluster);
}

static void test_nothing_degrades_without_the_witness(void **state)
{
	(void)state;
	struct cluster *cluster = led_by_a(11);
	node_crash(cluster, B);
	node_crash(cluster, W);
	propose(cluster, A, 1);
	uint64_t before = status_of(cluster, A).commit;
	run_ms(cluster, 5000);
	assert_int_equal(status_of(cluster, A).commit, before);
	assert_int_equal(cluster->committed, before);
	node_restart(cluster, W);
	run_ms(cluster, 5000);
	assert_true(leads(cluster, A));
	assert_int_equal(status_of(cluster, A).commit, status_of(cluster, A).last);
	cluster_free(cluster);
}

static void test_a_rule_that_may_not_degrade_stops(void **state)
{
	(void)state;
	struct membership membership = witnessed_of("vvw");
	membership.rule_new.degrade = DEGRADE_NEVER;
	struct cluster *cluster = cluster_new(3, &membership, 12);
	cluster_start(cluster);
	unsigned leader = await_leader(cluster, 5000), other = leader == A ? B : A;
	run_ms(cluster, 500);
	assert_true(commits(cluster, leader, 100));
	node_crash(cluster, other);
	assert_false(commits(cluster, leader, 5000));
	assert_false(status_of(cluster, leader).degraded);
	node_restart(cluster, other);
	run_ms(cluster, 2000);
	assert_int_equal(status_of(cluster, leader).commit, status_of(cluster, leader).last);
	cluster_free(cluster);
}

/* Who lacks what a copy and the witness committed is not elected; nothing is until the copy is back. */
static void test_a_copy_that_lacks_something_is_not_elected(void **state)
{
	(void)state;
	struct cluster *cluster = led_by_a(13);
	node_crash(cluster, B);
	run_ms(cluster, 1500);
	assert_true(commits(cluster, A, 20));
	uint64_t committed = cluster->committed;
	node_crash(cluster, A);
	node_restart(cluster, B);
	run_ms(cluster, 20000);
	assert_false(leads(cluster, B));
	node_restart(cluster, A);
	run_ms(cluster, 5000);
	unsigned leader = await_leader(cluster, 5000);
	assert_true(status_of(cluster, leader).commit > committed);
	assert_false(status_of(cluster, leader).degraded);
	cluster_free(cluster);
}

/* A lost; B and W go on; B lost, A back: unavailable until B is, and never wrong. */
static void test_copies_lost_in_turn(void **state)
{
	(void)state;
	struct cluster *cluster = led_by_a(14);
	node_crash(cluster, A);
	run_ms(cluster, 3000);
	assert_true(commits(cluster, B, 100));
	uint64_t committed = cluster->committed;
	node_crash(cluster, B);
	node_restart(cluster, A);
	run_ms(cluster, 20000);
	assert_int_equal(leader_of(cluster), -1);
	node_restart(cluster, B);
	run_ms(cluster, 5000);
	unsigned leader = await_leader(cluster, 5000);
	assert_true(status_of(cluster, leader).commit > committed);
	cluster_free(cluster);
}

static void test_a_witness_never_leads(void **state)
{
	(void)state;
	struct cluster *cluster = led_by_a(15);
	uint64_t term = status_of(cluster, W).term;
	node_crash(cluster, A);
	node_crash(cluster, B);
	run_ms(cluster, 20000);
	assert_int_equal(status_of(cluster, W).role, GROUP_FOLLOWER);
	assert_int_equal(status_of(cluster, W).term, term);
	cluster_free(cluster);
}

/* From one leader's degraded rule to the other's, without two copies between. */
static void test_the_lead_moves_while_degraded(void **state)
{
	(void)state;
	struct cluster *cluster = led_by_a(16);
	node_crash(cluster, B);
	run_ms(cluster, 1500);
	assert_true(commits(cluster, A, 20));
	cluster->filter = NULL;
	node_restart(cluster, B);
	run_ms(cluster, 40); /* it has caught up, or nearly */
	node_crash(cluster, A);
	run_ms(cluster, 300);
	node_restart(cluster, A);
	run_ms(cluster, 8000);
	unsigned leader = await_leader(cluster, 5000);
	assert_false(status_of(cluster, leader).degraded);
	assert_true(commits(cluster, leader, 100));
	cluster_free(cluster);
}

/* A copy that is lost for good is replaced while the witness stands in for it. */
static void test_a_lost_copy_is_replaced(void **state)
{
	(void)state;
	struct membership membership = witnessed_of("vvw"), wanted = witnessed_of("v-wv");
	struct cluster *cluster = cluster_new(4, &membership, 17);
	cluster_start(cluster);
	unsigned leader = await_leader(cluster, 5000);
	if (leader != A) {
		transfer(cluster, leader, A);
		run_ms(cluster, 1000);
	}
	node_crash(cluster, B);
	run_ms(cluster, 1500);
	assert_true(commits(cluster, A, 50));
	change(cluster, A, &wanted, 9);
	run_ms(cluster, 1000);
	assert_int_equal(cluster->nodes[A].changed_count, 1);
	assert_int_equal(cluster->nodes[A].changed, STATUS_OK);
	assert_false(status_of(cluster, A).degraded);
	assert_true(commits(cluster, A, 50));
	assert_int_equal(match_of(cluster, A, 3), status_of(cluster, A).last);
	cluster_free(cluster);
}

/* B is lost while C is to take its place: both configurations fall back. */
static void test_a_copy_is_lost_while_members_change(void **state)
{
	(void)state;
	struct membership membership = witnessed_of("vvw"), wanted = witnessed_of("v-wv");
	struct cluster *cluster = cluster_new(4, &membership, 18);
	cluster_start(cluster);
	unsigned leader = await_leader(cluster, 5000);
	if (leader != A) {
		transfer(cluster, leader, A);
		run_ms(cluster, 1000);
	}
	propose(cluster, A, 1);
	run_ms(cluster, 300);
	disk_stop(cluster, B);
	change(cluster, A, &wanted, 9);
	run_ms(cluster, 100);
	assert_true(group_membership(cluster->nodes[A].group)->joint);
	node_crash(cluster, B);
	run_ms(cluster, 3000);
	assert_int_equal(cluster->nodes[A].changed_count, 1);
	assert_false(group_membership(cluster->nodes[A].group)->joint);
	assert_false(status_of(cluster, A).degraded);
	assert_true(commits(cluster, A, 50));
	cluster_free(cluster);
}

/* A copy came and went, all was committed and is on both copies. Then everything goes down, and one region does not
 * come back. What a node knows as committed is only what its engine has flushed. */
static void test_a_region_does_not_come_back_after_everything_went_down(void **state)
{
	(void)state;
	struct cluster *cluster = led_by_a(1);
	for (unsigned i = 0; i < 3; i++) {
		node_crash(cluster, B);
		run_ms(cluster, 1500);
		assert_true(status_of(cluster, A).degraded);
		node_restart(cluster, B);
		run_ms(cluster, 1000);
		assert_false(status_of(cluster, A).degraded);
	}
	propose(cluster, A, 1);
	run_ms(cluster, 500);
	assert_int_equal(status_of(cluster, W).commit, status_of(cluster, A).last);
	uint64_t committed = cluster->committed;
	for (unsigned i = A; i <= W; i++)
		node_crash(cluster, i);
	node_restart(cluster, B);
	node_restart(cluster, W);
	run_ms(cluster, 5000);
	assert_true(leads(cluster, B));
	assert_true(status_of(cluster, B).degraded);
	assert_true(status_of(cluster, B).commit > committed);
	cluster_free(cluster);
}

static bool to_the_learner;

static bool learner_hears(struct cluster *cluster, const struct message *message)
{
	(void)cluster;
	return to_the_learner || message->to != 4;
}

/* A learner takes its clients' writes too. It hears that an entry is committed before it hears of the rule by which. */
static void test_a_learner_that_is_behind_does_not_know_the_rule(void **state)
{
	(void)state;
	struct membership with_learner = witnessed_of("vvwl");
	struct cluster *cluster = begun_with_a("vvw-", 3);
	change(cluster, A, &with_learner, 1);
	run_ms(cluster, 500);
	assert_int_equal(cluster->nodes[A].changed_count, 1);
	to_the_learner = false;
	cluster->filter = learner_hears;
	cluster->short_appends = 1;
	node_crash(cluster, B);
	propose_of(cluster, A, 1, 3);
	uint64_t index = status_of(cluster, A).last;
	run_ms(cluster, 1500);
	assert_true(status_of(cluster, A).degraded);
	assert_true(status_of(cluster, A).commit >= index);
	to_the_learner = true;
	run_ms(cluster, 500);
	assert_true(status_of(cluster, 3).commit >= index);
	cluster_free(cluster);
}

static uint64_t entries_to_c;

static bool c_hears_so_far(struct cluster *cluster, const struct message *message)
{
	(void)cluster;
	return message->kind != MESSAGE_APPEND || message->to != 4 || message->append.last <= entries_to_c;
}

/* A makes room for C, and B is lost before that is known: under A, C and the witness commit. What C then has is on no
 * other copy that stays. */
static void test_a_leader_that_leaves_is_no_second_copy(void **state)
{
	(void)state;
	struct membership wanted = witnessed_of("-vwv");
	struct cluster *cluster = begun_with_a("vvw-", 5);
	cluster->filter = c_hears_so_far;
	cluster->short_appends = 1;
	entries_to_c = UINT64_MAX;
	change(cluster, A, &wanted, 9);
	while (group_membership(cluster->nodes[A].group)->joint ||
		group_membership(cluster->nodes[A].group)->index == 0)
		run_ms(cluster, 1);
	entries_to_c = status_of(cluster, A).last;
	node_crash(cluster, B);
	propose_of(cluster, A, 1, 3);
	run_ms(cluster, 700);
	entries_to_c = UINT64_MAX;
	run_ms(cluster, 3000);
	assert_true(leads(cluster, 3));
	assert_true(status_of(cluster, 3).degraded);
	cluster_free(cluster);
}

/* C is to take B's place, had everything, and is lost: A and the witness alone would let B go. */
static void test_a_healthy_copy_does_not_make_room_for_a_lost_one(void **state)
{
	(void)state;
	struct membership wanted = witnessed_of("v-wv");
	struct cluster *cluster = begun_with_a("vvw-", 4);
	node_crash(cluster, 3);
	run_ms(cluster, 1500);
	change(cluster, A, &wanted, 9);
	assert_int_equal(cluster->nodes[A].refused_count, 1);
	assert_int_equal(cluster->nodes[A].refused, STATUS_BUSY);
	run_ms(cluster, 3000);
	assert_false(status_of(cluster, A).degraded);
	node_restart(cluster, 3);
	run_ms(cluster, 1000);
	change(cluster, A, &wanted, 10);
	run_ms(cluster, 1000);
	assert_int_equal(cluster->nodes[A].changed_count, 1);
	assert_false(status_of(cluster, A).degraded);
	cluster_free(cluster);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_copy_and_the_witness_are_not_two_copies),
		cmocka_unit_test(test_the_witness_is_not_needed_for_two_copies),
		cmocka_unit_test(test_a_witness_is_sent_what_is_committed),
		cmocka_unit_test(test_a_lost_leader_does_not_lock_the_other_out),
		cmocka_unit_test(test_a_new_leader_goes_on_without_the_other_copy),
		cmocka_unit_test(test_a_standing_leader_goes_on_without_the_other_copy),
		cmocka_unit_test(test_a_copy_that_returns_makes_two_again),
		cmocka_unit_test(test_two_copies_again_under_load),
		cmocka_unit_test(test_a_copy_that_lags_is_no_copy_yet),
		cmocka_unit_test(test_two_copies_bring_two_copies_back),
		cmocka_unit_test(test_nothing_degrades_without_the_witness),
		cmocka_unit_test(test_a_rule_that_may_not_degrade_stops),
		cmocka_unit_test(test_a_copy_that_lacks_something_is_not_elected),
		cmocka_unit_test(test_copies_lost_in_turn),
		cmocka_unit_test(test_a_witness_never_leads),
		cmocka_unit_test(test_the_lead_moves_while_degraded),
		cmocka_unit_test(test_a_lost_copy_is_replaced),
		cmocka_unit_test(test_a_copy_is_lost_while_members_change),
		cmocka_unit_test(test_a_region_does_not_come_back_after_everything_went_down),
		cmocka_unit_test(test_a_learner_that_is_behind_does_not_know_the_rule),
		cmocka_unit_test(test_a_leader_that_leaves_is_no_second_copy),
		cmocka_unit_test(test_a_healthy_copy_does_not_make_room_for_a_lost_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
