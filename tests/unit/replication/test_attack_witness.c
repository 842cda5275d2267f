/* Attacks on the protocol of witnesses (docs/witness.md). */
#include "tests/unit/replication/cluster.h"

enum { A, B, W };

static struct cluster *led_by_a(uint64_t seed)
{
	struct membership membership = witnessed_of("vvw");
	struct cluster *cluster = cluster_new(3, &membership, seed);
	cluster->trace = getenv("TRACE") != NULL;
	cluster_start(cluster);
	unsigned leader = await_leader(cluster, 5000);
	if (leader != A) {
		transfer(cluster, leader, A);
		run_ms(cluster, 1000);
	}
	assert_true(leads(cluster, A));
	propose(cluster, A, 3);
	run_ms(cluster, 500);
	return cluster;
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
	struct membership membership = witnessed_of("vvw-");
	struct membership with_learner = witnessed_of("vvwl");
	struct cluster *cluster = cluster_new(4, &membership, 3);
	cluster->trace = getenv("TRACE") != NULL;
	cluster_start(cluster);
	unsigned leader = await_leader(cluster, 5000);
	if (leader != A) {
		transfer(cluster, leader, A);
		run_ms(cluster, 1000);
	}
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
	struct membership membership = witnessed_of("vvw-"), wanted = witnessed_of("-vwv");
	struct cluster *cluster = cluster_new(4, &membership, 5);
	cluster->trace = getenv("TRACE") != NULL;
	cluster_start(cluster);
	unsigned leader = await_leader(cluster, 5000);
	if (leader != A) {
		transfer(cluster, leader, A);
		run_ms(cluster, 1000);
	}
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
	struct membership membership = witnessed_of("vvw-"), wanted = witnessed_of("v-wv");
	struct cluster *cluster = cluster_new(4, &membership, 4);
	cluster->trace = getenv("TRACE") != NULL;
	cluster_start(cluster);
	unsigned leader = await_leader(cluster, 5000);
	if (leader != A) {
		transfer(cluster, leader, A);
		run_ms(cluster, 1000);
	}
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
		cmocka_unit_test(test_a_region_does_not_come_back_after_everything_went_down),
		cmocka_unit_test(test_a_learner_that_is_behind_does_not_know_the_rule),
		cmocka_unit_test(test_a_leader_that_leaves_is_no_second_copy),
		cmocka_unit_test(test_a_healthy_copy_does_not_make_room_for_a_lost_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
