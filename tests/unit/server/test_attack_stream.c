/* tests/unit/server/test_attack_stream.c: a leader that is deposed in the middle of a snapshot stream. Whoever takes
 * its chunks takes their sender for the leader of the term that they carry. */
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

static struct group_status status_of(uint64_t node)
{
	return group_status(driver_group(shard_of(node)), cluster.time.now_ns);
}

/* Node 4 joins, its first answer makes the leader begin a stream, and it hears nothing of it. Gives the leader. */
static uint64_t begin_stream(void)
{
	for (unsigned i = 0; i < 30; i++) {
		struct command command = put("k", "v");
		assert_int_equal(commit(&cluster, &command).status, STATUS_OK);
	}
	cluster_run(&cluster, 500);
	for (uint64_t node = 1; node <= 3; node++)
		assert_int_equal(driver_flush(shard_of(node), 0, cluster.time), STATUS_OK);
	node_create(&cluster.nodes[4], SLOT_SHARD, NULL);
	uint64_t leader = cluster_leader(&cluster, SLOT_SHARD);
	struct membership membership = membership_of(SLOT_SHARD, (const uint64_t[]){ 1, 2, 3, 4 }, 4);
	membership.at[3].role_new = ROLE_LEARNER;
	assert_int_equal(driver_change_membership(shard_of(leader), &membership, cluster.time), STATUS_OK);
	for (unsigned i = 0; i < 100000 && cluster.chunks_sent == 0; i++)
		cluster_step(&cluster);
	assert_true(cluster.chunks_sent > 0);
	cluster.nodes[4].cut = true;
	packets_drop(&cluster);
	return leader;
}

static void send_but_to_the_fourth(void *arg, struct driver *driver, uint64_t to, const struct message *message)
{
	if (to != 4)
		on_send(arg, driver, to, message);
}

static void test_a_deposed_leader_streams_no_more(void **state)
{
	(void)state;
	uint64_t old = begin_stream(), next = old % 3 + 1;
	for (unsigned tries = 0; tries < 20 && cluster_leader(&cluster, SLOT_SHARD) != next; tries++) {
		uint64_t leader = cluster_leader(&cluster, SLOT_SHARD);
		driver_transfer(shard_of(leader), replica_of(next, SLOT_SHARD), cluster.time);
		cluster_run(&cluster, 200);
	}
	assert_int_equal(cluster_leader(&cluster, SLOT_SHARD), next);
	uint64_t term = status_of(next).term;
	cluster.owners[next].send = send_but_to_the_fourth;
	cluster.nodes[4].cut = false;
	uint64_t until = cluster.time.now_ns + 3000000000;
	while (cluster.time.now_ns < until && cluster_step(&cluster)) {
		uint64_t leader = status_of(4).leader;
		assert_true(status_of(4).term < term || leader == 0 || leader == replica_of(next, SLOT_SHARD));
	}
	cluster.owners[next].send = on_send;
	assert_int_equal(cluster_leader(&cluster, SLOT_SHARD), next);
	assert_converged(&cluster, SLOT_SHARD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_deposed_leader_streams_no_more, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
