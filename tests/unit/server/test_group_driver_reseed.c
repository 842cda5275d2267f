/* Engines whose files are damaged, found at a start and while they are in use: replaced by the leader's state, the
 * journal untouched; never another value. */
#include "tests/unit/server/driver_cluster.h"

static struct cluster cluster;

static int setup(void **state)
{
	(void)state;
	cluster_open(&cluster);
	cluster_of_three(&cluster, SLOT_SHARD);
	cluster_of_three(&cluster, SLOT_META);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	cluster_close(&cluster);
	return 0;
}

static void write_some(const char *prefix, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		char key[32], value[400];
		snprintf(key, sizeof(key), "%s%u", prefix, i);
		memset(value, 'a' + (int)(i % 26), sizeof(value) - 1);
		value[sizeof(value) - 1] = 0;
		struct command command = put(key, value);
		assert_int_equal(commit(&cluster, &command).status, STATUS_OK);
	}
}

static void assert_there(uint64_t node, const char *prefix, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		char key[32], value[400];
		snprintf(key, sizeof(key), "%s%u", prefix, i);
		assert_true(read_at(&cluster, node, key, value, sizeof(value)) > 0);
		assert_int_equal(strlen(value), 399);
		assert_int_equal(value[200], 'a' + (int)(i % 26));
	}
}

/* Every byte but the last two hundred, so that a table can be opened. */
static void damage(const struct test_node *node, uint64_t replica, const char *files)
{
	char command[900];
	snprintf(command, sizeof(command),
		"for f in %s/shards/%016llx/%s; do s=$(stat -c %%s $f); [ $s -gt 300 ] && s=$((s - 200)); "
		"tr '\\000-\\377' '\\001-\\377\\000' <$f | head -c $s | dd of=$f conv=notrunc 2>/dev/null; done",
		node->dir, (unsigned long long)replica, files);
	assert_int_equal(system(command), 0);
}

static void flush_shard(struct test_node *node, uint64_t keep)
{
	assert_int_equal(driver_flush(node->drivers[SLOT_SHARD], keep, cluster.time), STATUS_OK);
}

static struct group_status status_of(uint64_t node)
{
	return group_status(driver_group(cluster.nodes[node].drivers[SLOT_SHARD]), cluster.time.now_ns);
}

static void at_start(const char *files, bool trimmed)
{
	write_some("x", 60);
	cluster_run(&cluster, 1000);
	uint64_t leader = cluster_leader(&cluster, SLOT_SHARD), other = leader % 3 + 1;
	struct test_node *node = &cluster.nodes[other];
	flush_shard(node, trimmed ? 0 : 1000);
	write_some("y", 20);
	cluster_run(&cluster, 200);
	struct group_status before = status_of(other);
	node_stop(node, false);
	damage(node, replica_of(other, SLOT_SHARD), files);
	uint64_t chunks = cluster.chunks_sent;
	node_start(node);
	struct group_status after = status_of(other);
	assert_int_equal(after.term, before.term);
	assert_int_equal(after.last, before.last); /* no shorter than what it said */
	write_some("z", 20);
	assert_converged(&cluster, SLOT_SHARD);
	assert_true(cluster.chunks_sent > chunks);
	assert_there(other, "x", 60);
	assert_there(other, "z", 20);
	/* Whole again by itself, and it may lead. */
	node_stop(node, false);
	chunks = cluster.chunks_sent;
	node_start(node);
	assert_converged(&cluster, SLOT_SHARD);
	assert_int_equal(cluster.chunks_sent, chunks);
	node_stop(&cluster.nodes[leader], false);
	write_some("w", 5);
	node_start(&cluster.nodes[leader]);
	assert_converged(&cluster, SLOT_SHARD);
}

static void test_a_manifest_at_the_start(void **state)
{
	(void)state;
	at_start("MANIFEST-*", true);
}

static void test_tables_at_the_start(void **state)
{
	(void)state;
	at_start("*.sst", true);
}

static void test_tables_with_the_whole_journal(void **state)
{
	(void)state;
	at_start("*.sst", false);
}

/* What a lost write of the manifest leaves: an engine of some time ago, every byte of it whole. */
static void test_an_engine_of_some_time_ago(void **state)
{
	(void)state;
	write_some("x", 30);
	cluster_run(&cluster, 1000);
	uint64_t other = cluster_leader(&cluster, SLOT_SHARD) % 3 + 1;
	struct test_node *node = &cluster.nodes[other];
	char command[700];
	snprintf(command, sizeof(command), "cp -a %s/shards/%016llx %s/older", node->dir,
		(unsigned long long)replica_of(other, SLOT_SHARD), node->dir);
	flush_shard(node, 0);
	assert_int_equal(system(command), 0);
	write_some("y", 30);
	cluster_run(&cluster, 1000);
	flush_shard(node, 0);
	node_stop(node, false);
	snprintf(command, sizeof(command), "cd %s && rm -r shards/%016llx && mv older shards/%016llx", node->dir,
		(unsigned long long)replica_of(other, SLOT_SHARD), (unsigned long long)replica_of(other, SLOT_SHARD));
	assert_int_equal(system(command), 0);
	node_start(node);
	assert_converged(&cluster, SLOT_SHARD);
	assert_there(other, "x", 30);
	assert_there(other, "y", 30);
}

static void read_all(uint64_t node)
{
	uint64_t digest = driver_digest(cluster.nodes[node].drivers[SLOT_SHARD]);
	assert_int_equal(digest, 0);
}

static void while_running(bool leads)
{
	write_some("x", 60);
	cluster_run(&cluster, 1000);
	uint64_t leader = cluster_leader(&cluster, SLOT_SHARD), bad = leads ? leader : leader % 3 + 1;
	struct test_node *node = &cluster.nodes[bad];
	flush_shard(node, 0);
	write_some("y", 10);
	damage(node, replica_of(bad, SLOT_SHARD), "*.sst");
	read_all(bad);
	write_some("z", 40);
	assert_converged(&cluster, SLOT_SHARD);
	if (leads)
		assert_int_not_equal(cluster_leader(&cluster, SLOT_SHARD), bad);
	assert_there(bad, "x", 60);
	assert_there(bad, "y", 10);
	assert_there(bad, "z", 40);
}

static void test_a_follower_in_use(void **state)
{
	(void)state;
	while_running(false);
}

static void test_a_leader_in_use(void **state)
{
	(void)state;
	while_running(true);
}

/* What is asked meanwhile is sent elsewhere, and it does not campaign: nobody is left who could. */
static void test_it_neither_reads_nor_leads(void **state)
{
	(void)state;
	write_some("x", 60);
	cluster_run(&cluster, 1000);
	uint64_t leader = cluster_leader(&cluster, SLOT_SHARD), bad = leader % 3 + 1;
	struct test_node *node = &cluster.nodes[bad];
	flush_shard(node, 0);
	write_some("y", 1);
	for (uint64_t id = 1; id <= 3; id++)
		cluster.nodes[id].cut = id != bad;
	damage(node, replica_of(bad, SLOT_SHARD), "*.sst");
	read_all(bad);
	uint64_t term = status_of(bad).term;
	cluster_run(&cluster, 5000);
	assert_int_equal(status_of(bad).term, term);
	uint64_t token = token_next(&cluster);
	driver_read(node->drivers[SLOT_SHARD], token, cluster.time);
	assert_int_equal(await(&cluster, token)->outcome.status, STATUS_NOT_LEADER);
	assert_int_equal(node->fatal, STATUS_OK); /* others are away, not damaged */
	for (uint64_t id = 1; id <= 3; id++)
		cluster.nodes[id].cut = false;
	assert_converged(&cluster, SLOT_SHARD);
	assert_there(bad, "x", 60);
}

/* Two of three are damaged at once: the third has it all. */
static void test_two_of_three(void **state)
{
	(void)state;
	write_some("x", 60);
	cluster_run(&cluster, 1000);
	for (uint64_t id = 1; id <= 2; id++) {
		flush_shard(&cluster.nodes[id], 0);
		node_stop(&cluster.nodes[id], false);
		damage(&cluster.nodes[id], replica_of(id, SLOT_SHARD), "*.sst");
	}
	node_start(&cluster.nodes[1]);
	node_start(&cluster.nodes[2]);
	assert_converged(&cluster, SLOT_SHARD);
	assert_there(1, "x", 60);
	assert_there(2, "x", 60);
}

static void test_every_copy(void **state)
{
	(void)state;
	write_some("x", 60);
	cluster_run(&cluster, 1000);
	for (uint64_t id = 1; id <= 3; id++) {
		flush_shard(&cluster.nodes[id], 0);
		node_stop(&cluster.nodes[id], false);
		damage(&cluster.nodes[id], replica_of(id, SLOT_SHARD), "*.sst");
	}
	for (uint64_t id = 1; id <= 3; id++)
		node_start(&cluster.nodes[id]);
	cluster_run(&cluster, 20000);
	unsigned stopped = 0;
	for (uint64_t id = 1; id <= 3; id++)
		stopped += cluster.nodes[id].fatal == STATUS_CORRUPT;
	assert_true(stopped > 0);
}

/* Gives the leader. */
static uint64_t submit_init(void)
{
	static struct change change; /* large */
	change.kind = CHANGE_INIT;
	strcpy(change.name, "acme");
	change.cluster[0] = 1;
	strcpy(change.region.site.place.text, "eu/r0");
	strcpy(change.region.name, "r0");
	change.region.ca_size = 100;
	change.region.spki_sha256[0] = 1;
	strcpy(change.node.place.text, "eu/r0/a/n1");
	change.node.incarnation = 11;
	change.node.addresses.count = 1;
	strcpy(change.node.addresses.at[0].address, "127.0.0.1:1");
	uint64_t token = token_next(&cluster), leader = cluster_leader(&cluster, SLOT_META);
	driver_propose_change(cluster.nodes[leader].drivers[SLOT_META], &change, token, cluster.time);
	assert_int_equal(await(&cluster, token)->outcome.status, STATUS_OK);
	return leader;
}

/* Meta's copy: the map comes from the label, so that peers can be found, then from the leader. */
static void test_meta(void **state)
{
	(void)state;
	uint64_t leader = submit_init(), other = leader % 3 + 1;
	cluster_run(&cluster, 1000);
	struct test_node *node = &cluster.nodes[other];
	assert_int_equal(driver_flush(node->drivers[SLOT_META], 0, cluster.time), STATUS_OK);
	node_stop(node, false);
	damage(node, replica_of(other, SLOT_META), "MANIFEST-*");
	node_start(node);
	assert_int_equal(node->map->epoch, 1);
	uint64_t chunks = cluster.chunks_sent;
	assert_converged(&cluster, SLOT_META);
	cluster_run(&cluster, 2000);
	assert_true(cluster.chunks_sent > chunks);
	assert_int_equal(meta_digest(node->map), meta_digest(cluster.nodes[leader].map));
	assert_int_equal(driver_flush(node->drivers[SLOT_META], 0, cluster.time), STATUS_OK);
	assert_converged(&cluster, SLOT_SHARD);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_manifest_at_the_start),
		TEST(test_tables_at_the_start),
		TEST(test_tables_with_the_whole_journal),
		TEST(test_an_engine_of_some_time_ago),
		TEST(test_a_follower_in_use),
		TEST(test_a_leader_in_use),
		TEST(test_it_neither_reads_nor_leads),
		TEST(test_two_of_three),
		TEST(test_every_copy),
		TEST(test_meta),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
