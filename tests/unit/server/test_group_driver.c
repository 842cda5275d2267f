/* tests/unit/server/test_group_driver.c: the life of a shard's replicas: writes, retries, fences, restarts, lost
 * entries. */
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

static void test_put_get_cas_delete(void **state)
{
	(void)state;
	struct driver_outcome first =
		commit(&cluster, &(struct command){ .kind = COMMAND_DELETE, .key = bytes_text("a") });
	assert_int_equal(first.status, STATUS_NOT_FOUND);
	struct command command = put("a", "one");
	struct driver_outcome outcome = commit(&cluster, &command);
	assert_int_equal(outcome.status, STATUS_OK);
	assert_true(outcome.version > 0);
	assert_true(outcome.index > first.index);
	char value[64];
	for (uint64_t id = 1; id <= 3; id++) {
		assert_int_equal(read_at(&cluster, id, "a", value, sizeof(value)), outcome.version);
		assert_string_equal(value, "one");
	}
	command = put("a", "two");
	command.kind = COMMAND_CAS;
	command.version = outcome.version + 1;
	struct driver_outcome conflict = commit(&cluster, &command);
	assert_int_equal(conflict.status, STATUS_CONFLICT);
	assert_int_equal(conflict.version, outcome.version);
	command.version = outcome.version;
	struct driver_outcome swapped = commit(&cluster, &command);
	assert_int_equal(swapped.status, STATUS_OK);
	assert_true(swapped.version > outcome.version);
	command.version = 0;
	assert_int_equal(commit(&cluster, &command).status, STATUS_CONFLICT);
	command.key = bytes_text("b");
	assert_int_equal(commit(&cluster, &command).status, STATUS_OK);
	command.key = bytes_text("absent");
	command.version = 5;
	conflict = commit(&cluster, &command);
	assert_int_equal(conflict.status, STATUS_CONFLICT);
	assert_int_equal(conflict.version, 0);
	struct command gone = { .kind = COMMAND_DELETE, .key = bytes_text("a") };
	assert_int_equal(commit(&cluster, &gone).status, STATUS_OK);
	assert_int_equal(commit(&cluster, &gone).status, STATUS_NOT_FOUND);
	assert_int_equal(read_at(&cluster, 2, "a", value, sizeof(value)), 0);
	command = put("empty", "");
	assert_int_equal(commit(&cluster, &command).status, STATUS_OK);
	assert_true(read_at(&cluster, 3, "empty", value, sizeof(value)) > 0);
	assert_string_equal(value, "");
	assert_converged(&cluster, SLOT_SHARD);
}

/* All in one turn, so that they are one batch: each sees what those before it did. */
static void test_one_batch_sees_itself(void **state)
{
	(void)state;
	uint64_t leader = cluster_leader(&cluster, SLOT_SHARD);
	struct command write = put("k", "1"), cas = put("k", "2"),
		       gone = { .kind = COMMAND_DELETE, .key = bytes_text("k") };
	cas.kind = COMMAND_CAS;
	uint64_t tokens[6];
	tokens[0] = propose(&cluster, leader, &gone);
	tokens[1] = propose(&cluster, leader, &cas);
	tokens[2] = propose(&cluster, leader, &cas);
	tokens[3] = propose(&cluster, leader, &gone);
	tokens[4] = propose(&cluster, leader, &write);
	tokens[5] = propose(&cluster, leader, &cas);
	static const enum status expected[6] = { STATUS_NOT_FOUND, STATUS_OK, STATUS_CONFLICT, STATUS_OK, STATUS_OK,
		STATUS_CONFLICT };
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(await(&cluster, tokens[i])->outcome.status, expected[i]);
	assert_int_equal(cluster.answers[tokens[2]].outcome.version, cluster.answers[tokens[1]].outcome.version);
	assert_int_equal(cluster.answers[tokens[5]].outcome.version, cluster.answers[tokens[4]].outcome.version);
	for (unsigned i = 1; i < 6; i++)
		assert_int_equal(
			cluster.answers[tokens[i]].outcome.index, cluster.answers[tokens[i - 1]].outcome.index + 1);
	assert_converged(&cluster, SLOT_SHARD);
}

static void test_not_leader_and_busy(void **state)
{
	(void)state;
	uint64_t leader = cluster_leader(&cluster, SLOT_SHARD);
	uint64_t other = leader % 3 + 1;
	cluster_run(&cluster, 500);
	struct command command = put("a", "1");
	uint64_t token = propose(&cluster, other, &command);
	assert_false(cluster.answers[token].done); /* never from within */
	struct answer *answer = await(&cluster, token);
	assert_int_equal(answer->outcome.status, STATUS_NOT_LEADER);
	assert_int_equal(answer->outcome.leader, replica_of(leader, SLOT_SHARD));
	assert_int_equal(driver_leader_node(cluster.nodes[other].drivers[SLOT_SHARD]), leader);
	uint64_t first = cluster.token + 1, taken = 0, busy = 0;
	for (unsigned i = 0; i < 1100; i++)
		propose(&cluster, leader, &command);
	for (; first <= cluster.token; first++) {
		enum status status = await(&cluster, first)->outcome.status;
		taken += status == STATUS_OK;
		busy += status == STATUS_BUSY;
	}
	assert_int_equal(taken, 1024);
	assert_int_equal(busy, 76);
	assert_converged(&cluster, SLOT_SHARD);
}

static void test_retry_is_applied_once(void **state)
{
	(void)state;
	struct command command = put("a", "first");
	command.kind = COMMAND_CAS;
	command = by(command, 99, 1, false);
	struct driver_outcome first = commit(&cluster, &command);
	assert_int_equal(first.status, STATUS_OK);
	command.retry = true;
	struct driver_outcome again = commit(&cluster, &command);
	assert_int_equal(again.status, STATUS_OK);
	assert_true(again.duplicate);
	assert_int_equal(again.version, first.version);
	assert_int_equal(again.index, first.index);
	/* Both copies in one batch. */
	uint64_t leader = cluster_leader(&cluster, SLOT_SHARD);
	command = by(put("a", "second"), 99, 2, false);
	uint64_t one = propose(&cluster, leader, &command);
	command.retry = true;
	uint64_t two = propose(&cluster, leader, &command);
	assert_false(await(&cluster, one)->outcome.duplicate);
	assert_true(await(&cluster, two)->outcome.duplicate);
	assert_int_equal(cluster.answers[one].outcome.version, cluster.answers[two].outcome.version);
	/* A refusal is a result too. */
	command = by((struct command){ .kind = COMMAND_DELETE, .key = bytes_text("nothing") }, 99, 3, false);
	assert_int_equal(commit(&cluster, &command).status, STATUS_NOT_FOUND);
	struct command now = put("nothing", "something");
	assert_int_equal(commit(&cluster, &now).status, STATUS_OK);
	command.retry = true;
	again = commit(&cluster, &command);
	assert_int_equal(again.status, STATUS_NOT_FOUND);
	assert_true(again.duplicate);
	assert_converged(&cluster, SLOT_SHARD);
}

static void test_fence(void **state)
{
	(void)state;
	struct command in = by(put("eu/1", "x"), 5, 1, false), out = put("us/1", "x");
	struct command fence = { .kind = COMMAND_FENCE, .operation = 40, .map_epoch = 3, .key = bytes_text("eu/") };
	const uint8_t secret[16] = { 1, 2, 3, 4, 5 };
	struct hash128 hash = hash_keyed(bytes_text("us/2"), secret);
	struct command exact = {
		.kind = COMMAND_FENCE, .operation = 39, .exact = true, .exact_hash = { hash.high, hash.low }
	};
	assert_int_equal(commit(&cluster, &fence).status, STATUS_OK);
	assert_int_equal(commit(&cluster, &exact).status, STATUS_OK);
	assert_int_equal(commit(&cluster, &in).status, STATUS_STALE_MAP);
	assert_int_equal(commit(&cluster, &out).status, STATUS_OK);
	out = put("us/2", "x");
	assert_int_equal(commit(&cluster, &out).status, STATUS_STALE_MAP);
	assert_converged(&cluster, SLOT_SHARD);
	for (uint64_t id = 1; id <= 3; id++) {
		struct driver *driver = cluster.nodes[id].drivers[SLOT_SHARD];
		struct command found;
		assert_true(driver_fenced(driver, bytes_text("eu/anything"), NULL));
		assert_false(driver_fenced(driver, bytes_text("us/2"), NULL));
		assert_true(driver_fenced(driver, bytes_text("us/2"), (uint64_t[]){ hash.high, hash.low }));
		assert_int_equal(cluster.nodes[id].fences_seen, 2);
		assert_true(driver_fence_at(driver, 0, &found));
		assert_int_equal(found.operation, 39);
		assert_true(driver_fence_at(driver, 1, &found));
		assert_true(bytes_equal(found.key, bytes_text("eu/")));
		assert_false(driver_fence_at(driver, 2, &found));
	}
	/* Over a restart, with what was flushed and without. */
	node_stop(&cluster.nodes[1], true);
	node_start(&cluster.nodes[1]);
	assert_true(driver_fenced(cluster.nodes[1].drivers[SLOT_SHARD], bytes_text("eu/2"), NULL));
	struct command unfence = { .kind = COMMAND_UNFENCE, .operation = 40 };
	assert_int_equal(commit(&cluster, &unfence).status, STATUS_OK);
	in.retry = true; /* refused by the fence it was applied nowhere, and is not remembered as done */
	struct driver_outcome outcome = commit(&cluster, &in);
	assert_int_equal(outcome.status, STATUS_OK);
	assert_false(outcome.duplicate);
	assert_converged(&cluster, SLOT_SHARD);
	assert_false(driver_fenced(cluster.nodes[1].drivers[SLOT_SHARD], bytes_text("eu/2"), NULL));
}

static void write_some(const char *prefix, unsigned count, size_t size)
{
	uint64_t leader = cluster_leader(&cluster, SLOT_SHARD);
	char *value = calloc(1, size + 1);
	memset(value, 'v', size);
	uint64_t first = cluster.token + 1;
	for (unsigned i = 0; i < count; i++) {
		char key[64];
		snprintf(key, sizeof(key), "%s%06u", prefix, i);
		struct command command = {
			.kind = COMMAND_PUT, .key = bytes_text(key), .value = bytes_of(value, size)
		};
		propose(&cluster, leader, &command);
		if (i % 64 == 63)
			cluster_step(&cluster);
	}
	for (; first <= cluster.token; first++)
		assert_int_equal(await(&cluster, first)->outcome.status, STATUS_OK);
	free(value);
}

static void restart_all(bool flush)
{
	for (uint64_t id = 1; id <= 3; id++)
		node_stop(&cluster.nodes[id], flush);
	packets_drop(&cluster); /* what was under way is lost */
	for (uint64_t id = 1; id <= 3; id++)
		node_start(&cluster.nodes[id]);
}

static void test_restart(void **state)
{
	(void)state;
	struct command command = by(put("a", "1"), 7, 1, false);
	struct driver_outcome first = commit(&cluster, &command);
	write_some("x", 3000, 100); /* more than a turn applies */
	for (unsigned flush = 0; flush < 2; flush++) {
		cluster_run(&cluster, 1000);
		uint64_t applied = driver_applied(cluster.nodes[1].drivers[SLOT_SHARD]);
		restart_all(flush == 1);
		if (flush)
			assert_int_equal(driver_applied(cluster.nodes[1].drivers[SLOT_SHARD]), applied);
		else
			assert_true(driver_applied(cluster.nodes[1].drivers[SLOT_SHARD]) < applied);
		char value[64];
		assert_int_equal(read_at(&cluster, 1, "a", value, sizeof(value)), first.version);
		command.retry = true;
		struct driver_outcome again = commit(&cluster, &command);
		assert_true(again.duplicate);
		assert_int_equal(again.version, first.version);
		struct command next = put("b", "later");
		struct driver_outcome later = commit(&cluster, &next);
		assert_true(later.version > first.version);
		assert_converged(&cluster, SLOT_SHARD);
	}
}

/* One replica at a time, under writes, flushed or not. */
static void test_rolling_restarts(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 6; round++) {
		char prefix[8];
		snprintf(prefix, sizeof(prefix), "r%u-", round);
		uint64_t id = round % 3 + 1;
		node_stop(&cluster.nodes[id], round % 2 == 0);
		write_some(prefix, 50, 1000);
		node_start(&cluster.nodes[id]);
		assert_converged(&cluster, SLOT_SHARD);
	}
	char value[2000];
	for (uint64_t id = 1; id <= 3; id++)
		assert_true(read_at(&cluster, id, "r0-000049", value, sizeof(value)) > 0);
}

/* What waits in a log that is overwritten has an unknown outcome; what was not is applied by the next leader. */
static void test_lost_leader(void **state)
{
	(void)state;
	uint64_t old = cluster_leader(&cluster, SLOT_SHARD);
	cluster.nodes[old].cut = true;
	struct command command = put("lost", "1");
	uint64_t token = propose(&cluster, old, &command);
	cluster_run(&cluster, 3000);
	uint64_t leader = cluster_leader(&cluster, SLOT_SHARD);
	assert_int_not_equal(leader, old);
	command = put("kept", "1");
	assert_int_equal(commit(&cluster, &command).status, STATUS_OK);
	cluster.nodes[old].cut = false;
	assert_int_equal(await(&cluster, token)->outcome.status, STATUS_UNKNOWN_OUTCOME);
	assert_converged(&cluster, SLOT_SHARD);
	char value[64];
	assert_int_equal(read_at(&cluster, old, "lost", value, sizeof(value)), 0);
	assert_true(read_at(&cluster, old, "kept", value, sizeof(value)) > 0);
}

static void lose_and_repair(bool term_known)
{
	write_some("x", 40, 300);
	cluster_run(&cluster, 1000);
	uint64_t leader = cluster_leader(&cluster, SLOT_SHARD);
	struct test_node *node = &cluster.nodes[leader % 3 + 1];
	uint64_t lost = driver_applied(node->drivers[SLOT_SHARD]) - 10;
	node_stop(node, false);
	node->corrupt_index = lost;
	node->corrupt_term_known = term_known;
	uint64_t before = cluster.repairs_sent;
	node_start(node);
	node->corrupt_index = 0;
	write_some("y", 40, 300);
	assert_converged(&cluster, SLOT_SHARD);
	assert_true(cluster.repairs_sent > before);
	/* It is whole again by itself. */
	node_stop(node, false);
	before = cluster.repairs_sent;
	node_start(node);
	assert_converged(&cluster, SLOT_SHARD);
	assert_int_equal(cluster.repairs_sent, before);
}

static void test_repair(void **state)
{
	(void)state;
	lose_and_repair(true);
	lose_and_repair(false);
}

/* More than fits in one append, and more than the tail holds. */
static void test_large_values(void **state)
{
	(void)state;
	uint64_t leader = cluster_leader(&cluster, SLOT_SHARD);
	uint64_t other = leader % 3 + 1;
	node_stop(&cluster.nodes[other], false);
	for (unsigned i = 0; i < 12; i++) {
		char prefix[8];
		snprintf(prefix, sizeof(prefix), "l%u-", i);
		write_some(prefix, 1, 1 << 20);
	}
	assert_true(driver_memory(cluster.nodes[leader].drivers[SLOT_SHARD]) <= 8 << 20);
	node_start(&cluster.nodes[other]);
	assert_converged(&cluster, SLOT_SHARD);
	cluster_run(&cluster, 1000);
	assert_int_equal(driver_memory(cluster.nodes[leader].drivers[SLOT_SHARD]), 0);
}

static void test_destroy(void **state)
{
	(void)state;
	write_some("x", 10, 100);
	struct test_node *node = &cluster.nodes[cluster_leader(&cluster, SLOT_SHARD)];
	struct command command = put("a", "1");
	uint64_t token = propose(&cluster, node->id, &command);
	driver_turn(node->drivers[SLOT_SHARD], cluster.time);
	assert_int_equal(driver_destroy(node->drivers[SLOT_SHARD]), STATUS_OK);
	node->drivers[SLOT_SHARD] = NULL;
	assert_true(cluster.answers[token].done);
	assert_int_equal(cluster.answers[token].outcome.status, STATUS_UNKNOWN_OUTCOME);
	node_stop(node, true);
	node_start(node);
	assert_null(node->drivers[SLOT_SHARD]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_put_get_cas_delete),
		TEST(test_one_batch_sees_itself),
		TEST(test_not_leader_and_busy),
		TEST(test_retry_is_applied_once),
		TEST(test_fence),
		TEST(test_restart),
		TEST(test_rolling_restarts),
		TEST(test_lost_leader),
		TEST(test_repair),
		TEST(test_large_values),
		TEST(test_destroy),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
