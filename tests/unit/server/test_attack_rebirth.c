/* tests/unit/server/test_attack_rebirth.c: a node that held a replica of a group gets another one of the same group.
 * Both share the group's place in the journal, and a crash may come at any point between the removal and the birth. */
#include "tests/unit/server/driver_cluster.h"

static struct cluster cluster;

static int setup(void **state)
{
	*state = &cluster;
	cluster_open(&cluster);
	cluster_of_three(&cluster, SLOT_SHARD);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	cluster_close(&cluster);
	return 0;
}

static struct driver *shard_of(uint64_t node)
{
	return cluster.nodes[node].drivers[SLOT_SHARD];
}

/* Node 1 out of the membership, its replica's files and its place in the journal given up, nothing of that flushed. */
static void remove_the_first(void)
{
	for (unsigned i = 0; i < 30; i++) {
		struct command command = put("k", "v");
		assert_int_equal(commit(&cluster, &command).status, STATUS_OK);
	}
	cluster_run(&cluster, 500);
	for (uint64_t node = 1; node <= 3; node++) /* its log begins far above 1 */
		assert_int_equal(driver_flush(shard_of(node), 0, cluster.time), STATUS_OK);
	cluster_run(&cluster, 500);
	struct membership two = membership_of(SLOT_SHARD, (const uint64_t[]){ 2, 3 }, 2);
	for (unsigned tries = 0; tries < 100; tries++) {
		uint64_t leader = cluster_leader(&cluster, SLOT_SHARD);
		const struct membership *now = group_membership(driver_group(shard_of(leader)));
		if (leader != 1 && now->count == 2 && !now->joint)
			break;
		enum status started = driver_change_membership(shard_of(leader), &two, cluster.time);
		assert_true(started != STATUS_INVALID);
		cluster_run(&cluster, 100);
	}
	cluster_run(&cluster, 500);
	assert_int_equal(driver_destroy(shard_of(1)), STATUS_OK);
	cluster.nodes[1].drivers[SLOT_SHARD] = NULL;
}

static enum status create(uint64_t replica)
{
	struct test_node *node = &cluster.nodes[1];
	struct driver_options options = node_options_of(node, SHARD_GROUP, replica);
	return driver_create(&options, NULL, cluster.time, &node->drivers[SLOT_SHARD]);
}

static void crash_the_first(void)
{
	node_stop(&cluster.nodes[1], false);
	packets_drop(&cluster);
	node_start(&cluster.nodes[1]); /* asserts that every replica comes back */
}

/* The crash takes the journal's removal of the old log with it, and leaves the new engine. */
static void test_a_crash_just_after_the_birth(void **state)
{
	(void)state;
	remove_the_first();
	enum status status = create(91);
	if (status == STATUS_OK)
		crash_the_first();
	assert_int_equal(status, STATUS_BUSY);
	assert_null(shard_of(1));
	cluster_run(&cluster, 50);
	assert_int_equal(create(91), STATUS_OK);
	crash_the_first(); /* what it wrote of itself is lost; it is there all the same, and knows nothing */
	assert_int_equal(driver_replica_id(shard_of(1)), 91);
	struct group_status born = group_status(driver_group(shard_of(1)), cluster.time.now_ns);
	assert_int_equal(born.term, 0);
	assert_int_equal(born.last, 0);
	assert_int_equal(group_membership(driver_group(shard_of(1)))->count, 0);
}

/* The crash comes first: what the journal recovers is nobody's, and is removed at the start (as the node does). */
static void test_a_crash_between_removal_and_birth(void **state)
{
	(void)state;
	remove_the_first();
	crash_the_first();
	assert_null(shard_of(1));
	assert_int_equal(create(92), STATUS_BUSY); /* the log is there again; its removal is ordered */
	assert_int_equal(create(92), STATUS_BUSY);
	cluster_run(&cluster, 50);
	assert_int_equal(create(92), STATUS_OK);
	crash_the_first();
	assert_int_equal(group_status(driver_group(shard_of(1)), cluster.time.now_ns).last, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_crash_just_after_the_birth, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_crash_between_removal_and_birth, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
