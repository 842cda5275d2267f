/* tests/unit/server/test_group_driver_move.c: replicas that come and go, snapshots, what crashes around them leave, and
 * meta's replicas. */
#include "replication/meta.h"
#include "tests/unit/server/driver_cluster.h"

static struct cluster cluster;

static int setup(void **state)
{
	*state = &cluster;
	cluster_open(&cluster);
	return 0;
}

static int setup_shard(void **state)
{
	setup(state);
	cluster_of_three(&cluster, SLOT_SHARD);
	return 0;
}

static int setup_meta(void **state)
{
	setup(state);
	cluster_of_three(&cluster, SLOT_META);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	cluster_close(&cluster);
	return 0;
}

static void write_some(const char *prefix, unsigned count, size_t size)
{
	char *value = calloc(1, size + 1);
	memset(value, 'v', size);
	for (unsigned i = 0; i < count; i++) {
		char key[64];
		snprintf(key, sizeof(key), "%s%06u", prefix, i);
		struct command command = {
			.kind = COMMAND_PUT, .key = bytes_text(key), .value = bytes_of(value, size)
		};
		assert_int_equal(commit(&cluster, &command).status, STATUS_OK);
	}
	free(value);
}

/* The leader's log forgets all that its engine has, so that whoever is behind needs a snapshot. */
static void flush_leader(unsigned slot)
{
	uint64_t leader = cluster_leader(&cluster, slot);
	cluster_run(&cluster, 500);
	assert_int_equal(driver_flush(cluster.nodes[leader].drivers[slot], 0, cluster.time), STATUS_OK);
}

static void change_to(unsigned slot, const struct membership *wanted)
{
	for (unsigned tries = 0; tries < 100; tries++) {
		uint64_t leader = cluster_leader(&cluster, slot);
		struct driver *driver = cluster.nodes[leader].drivers[slot];
		struct group_status status = group_status(driver_group(driver), cluster.time.now_ns);
		const struct membership *now = group_membership(driver_group(driver));
		bool same = now->count == wanted->count && !now->joint && !status.changing;
		for (unsigned i = 0; same && i < wanted->count; i++) {
			int at = membership_find(now, wanted->at[i].replica);
			same = at >= 0 && now->at[at].role_new == wanted->at[i].role_new;
		}
		if (same)
			return;
		if (!status.changing) {
			enum status started = driver_change_membership(driver, wanted, cluster.time);
			assert_true(started == STATUS_OK || started == STATUS_BUSY || started == STATUS_NOT_LEADER);
		}
		cluster_run(&cluster, 100);
	}
	fail_msg("the membership never came");
}

static struct membership with_learner(unsigned slot)
{
	struct membership membership = membership_of(slot, (const uint64_t[]){ 1, 2, 3, 4 }, 4);
	membership.at[3].role_new = ROLE_LEARNER;
	return membership;
}

/* A fourth replica learns everything by a snapshot, becomes a voter, and another leaves. */
static void test_membership(void **state)
{
	(void)state;
	struct command once = by(put("once", "1"), 77, 1, false);
	struct driver_outcome first = commit(&cluster, &once);
	write_some("x", 60, 200);
	flush_leader(SLOT_SHARD);
	node_create(&cluster.nodes[4], SLOT_SHARD, NULL);
	struct membership membership = with_learner(SLOT_SHARD);
	change_to(SLOT_SHARD, &membership);
	assert_converged(&cluster, SLOT_SHARD);
	assert_true(cluster.chunks_sent > 0);
	membership.at[3].role_new = ROLE_VOTER;
	change_to(SLOT_SHARD, &membership);
	assert_converged(&cluster, SLOT_SHARD);
	/* The new member leads, remembers what was done before it came, and the first of the old ones goes. */
	for (unsigned tries = 0; tries < 20 && cluster_leader(&cluster, SLOT_SHARD) != 4; tries++) {
		uint64_t leader = cluster_leader(&cluster, SLOT_SHARD);
		driver_transfer(cluster.nodes[leader].drivers[SLOT_SHARD], replica_of(4, SLOT_SHARD), cluster.time);
		cluster_run(&cluster, 300);
	}
	assert_int_equal(cluster_leader(&cluster, SLOT_SHARD), 4);
	once.retry = true;
	struct driver_outcome again = commit(&cluster, &once);
	assert_true(again.duplicate);
	assert_int_equal(again.version, first.version);
	membership = membership_of(SLOT_SHARD, (const uint64_t[]){ 2, 3, 4 }, 3);
	change_to(SLOT_SHARD, &membership);
	assert_int_equal(driver_destroy(cluster.nodes[1].drivers[SLOT_SHARD]), STATUS_OK);
	cluster.nodes[1].drivers[SLOT_SHARD] = NULL;
	write_some("y", 10, 200);
	assert_converged(&cluster, SLOT_SHARD);
	/* The node that left comes back with another replica; the journal still had the old one's log. */
	node_create_as(&cluster.nodes[1], SLOT_SHARD, 91, NULL);
	membership = membership_of(SLOT_SHARD, (const uint64_t[]){ 2, 3, 4, 1 }, 4);
	membership.at[3].replica = 91;
	membership.at[3].role_new = ROLE_LEARNER;
	change_to(SLOT_SHARD, &membership);
	assert_converged(&cluster, SLOT_SHARD);
	/* And all of it over restarts, without a flush. */
	for (uint64_t id = 1; id <= 4; id++)
		node_stop(&cluster.nodes[id], false);
	packets_drop(&cluster);
	for (uint64_t id = 1; id <= 4; id++)
		node_start(&cluster.nodes[id]);
	assert_int_equal(driver_replica_id(cluster.nodes[1].drivers[SLOT_SHARD]), 91);
	write_some("z", 10, 200);
	assert_converged(&cluster, SLOT_SHARD);
	again = commit(&cluster, &once);
	assert_true(again.duplicate);
	assert_int_equal(again.version, first.version);
}

/* A replica that was away for longer than the log reaches back: more chunks than the window, and one restart of the
 * receiver in the middle. */
static void test_snapshot_over_restarts(void **state)
{
	(void)state;
	cluster_leader(&cluster, SLOT_SHARD);
	write_some("a", 5, 100);
	node_stop(&cluster.nodes[3], false);
	write_some("x", 40, 100000);
	flush_leader(SLOT_SHARD);
	node_start(&cluster.nodes[3]);
	uint64_t before = cluster.chunks_sent;
	for (unsigned steps = 0; steps < STEPS_MAX && cluster.chunks_sent < before + 10; steps++)
		cluster_step(&cluster);
	assert_true(cluster.chunks_sent >= before + 10);
	node_stop(&cluster.nodes[3], false);
	node_start(&cluster.nodes[3]);
	assert_converged(&cluster, SLOT_SHARD);
	write_some("y", 5, 100);
	node_stop(&cluster.nodes[3], false);
	node_start(&cluster.nodes[3]);
	assert_converged(&cluster, SLOT_SHARD);
}

/* Puts the state of `from` in place of that of `to`, as the end of a transfer does, and not one byte more. */
static void install_by_hand(struct test_node *from, struct test_node *to)
{
	struct engine_options options = { .dir = to->dir };
	struct engine_shared *engines = NULL;
	assert_int_equal(engine_shared_open(&options, &engines), STATUS_OK);
	struct engine_snapshot *snapshot = NULL;
	struct engine_install *install = NULL;
	assert_int_equal(engine_snapshot_open(driver_engine(from->drivers[SLOT_SHARD]), &snapshot), STATUS_OK);
	assert_int_equal(engine_install_begin(engines, replica_of(to->id, SLOT_SHARD), &install), STATUS_OK);
	struct buffer *chunk = NULL;
	while (engine_snapshot_next(snapshot, 1 << 16, &chunk) == STATUS_OK) {
		assert_int_equal(engine_install_chunk(install, buffer_bytes(chunk)), STATUS_OK);
		buffer_unref(chunk);
		chunk = NULL;
	}
	uint64_t index = 0, term = 0, rows = 0, hash = 0;
	engine_snapshot_position(snapshot, &index, &term);
	engine_snapshot_total(snapshot, &rows, &hash);
	assert_int_equal(engine_install_finish(install, index, term, rows, hash), STATUS_OK);
	engine_snapshot_close(snapshot);
	engine_shared_close(engines);
}

/* The crash came between the engine's replacement and the journal's reset; the log ends below the snapshot. */
static void test_crash_short_log(void **state)
{
	(void)state;
	write_some("a", 5, 100);
	uint64_t leader = cluster_leader(&cluster, SLOT_SHARD);
	struct test_node *node = &cluster.nodes[leader % 3 + 1];
	node_stop(node, false);
	write_some("x", 20, 100);
	cluster_run(&cluster, 500);
	install_by_hand(&cluster.nodes[leader], node);
	uint64_t applied = driver_applied(cluster.nodes[leader].drivers[SLOT_SHARD]);
	for (unsigned round = 0; round < 2; round++) { /* the second time the reset is there */
		node_start(node);
		assert_int_equal(driver_applied(node->drivers[SLOT_SHARD]), applied);
		assert_int_equal(
			group_status(driver_group(node->drivers[SLOT_SHARD]), cluster.time.now_ns).snapshot_index,
			applied);
		while (node_flush_journal(node))
			;
		node_stop(node, false);
	}
	node_start(node);
	write_some("y", 5, 100);
	assert_converged(&cluster, SLOT_SHARD);
}

/* The same, and the log goes on past the snapshot with entries of a term that lost. */
static void test_crash_other_log(void **state)
{
	(void)state;
	write_some("a", 5, 100);
	uint64_t old = cluster_leader(&cluster, SLOT_SHARD);
	struct test_node *node = &cluster.nodes[old];
	node->cut = true;
	struct command command = put("lost", "1");
	for (unsigned i = 0; i < 40; i++)
		propose(&cluster, old, &command);
	cluster_run(&cluster, 3000);
	uint64_t leader = cluster_leader(&cluster, SLOT_SHARD);
	write_some("x", 10, 100);
	cluster_run(&cluster, 500);
	uint64_t applied = driver_applied(cluster.nodes[leader].drivers[SLOT_SHARD]);
	assert_true(applied < group_status(driver_group(node->drivers[SLOT_SHARD]), cluster.time.now_ns).last);
	node_stop(node, false);
	node->cut = false;
	install_by_hand(&cluster.nodes[leader], node);
	node_start(node);
	assert_int_equal(group_status(driver_group(node->drivers[SLOT_SHARD]), cluster.time.now_ns).last, applied);
	write_some("y", 5, 100);
	assert_converged(&cluster, SLOT_SHARD);
}

/* The log agrees with the snapshot and reaches past it: nothing of it is dropped. */
static void test_crash_log_covers(void **state)
{
	(void)state;
	write_some("a", 5, 100);
	uint64_t leader = cluster_leader(&cluster, SLOT_SHARD);
	cluster_run(&cluster, 500);
	struct test_node *node = &cluster.nodes[leader % 3 + 1], *third = &cluster.nodes[(leader + 1) % 3 + 1];
	node_stop(third, true);
	write_some("b", 5, 100);
	cluster_run(&cluster, 500);
	uint64_t last = group_status(driver_group(node->drivers[SLOT_SHARD]), cluster.time.now_ns).last;
	node_start(third); /* its engine is at an older index, and that is the snapshot */
	uint64_t older = driver_applied(third->drivers[SLOT_SHARD]);
	assert_true(older < last);
	node_stop(node, false);
	install_by_hand(third, node);
	node_start(node);
	assert_int_equal(driver_applied(node->drivers[SLOT_SHARD]), older);
	assert_int_equal(group_status(driver_group(node->drivers[SLOT_SHARD]), cluster.time.now_ns).last, last);
	assert_converged(&cluster, SLOT_SHARD);
}

/* --- meta ----------------------------------------------------------------------------------------- */

static struct change change; /* large */

static struct answer *submit(void)
{
	for (unsigned tries = 0; tries < 50; tries++) {
		uint64_t token = token_next(&cluster), leader = cluster_leader(&cluster, SLOT_META);
		driver_propose_change(cluster.nodes[leader].drivers[SLOT_META], &change, token, cluster.time);
		struct answer *answer = await(&cluster, token);
		if (answer->outcome.status != STATUS_NOT_LEADER && answer->outcome.status != STATUS_BUSY)
			return answer;
		cluster_run(&cluster, 50);
	}
	fail_msg("never taken");
	return NULL;
}

static void region_of(unsigned number)
{
	memset(&change.region, 0, sizeof(change.region));
	snprintf(change.region.site.place.text, sizeof(change.region.site.place.text), "eu/r%u", number);
	snprintf(change.region.name, sizeof(change.region.name), "r%u", number);
	change.region.ca_size = 100;
	memset(change.region.ca_der, (int)number, 100);
	change.region.spki_sha256[0] = (uint8_t)number;
}

static void submit_init(void)
{
	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_INIT;
	strcpy(change.name, "acme");
	change.cluster[0] = 1;
	region_of(0);
	strcpy(change.node.place.text, "eu/r0/a/n1");
	change.node.incarnation = 11;
	change.node.addresses.count = 1;
	strcpy(change.node.addresses.at[0].address, "127.0.0.1:1");
	struct answer *answer = submit();
	assert_int_equal(answer->outcome.status, STATUS_OK);
	assert_int_equal(answer->meta.epoch, 1);
}

static void submit_addresses(unsigned number)
{
	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_NODE_ADDRESSES;
	change.node.id = 2;
	change.node.addresses.count = 1;
	snprintf(change.node.addresses.at[0].address, ADDRESS_TEXT_MAX, "127.0.0.1:%u", number);
	assert_int_equal(submit()->outcome.status, STATUS_OK);
}

static void assert_maps_equal(void)
{
	assert_converged(&cluster, SLOT_META);
	uint64_t digest = meta_digest(cluster.nodes[1].map), epoch = cluster.nodes[1].map->epoch;
	for (uint64_t id = 2; id <= NODES; id++) {
		if (!cluster.nodes[id].drivers[SLOT_META])
			continue;
		assert_int_equal(cluster.nodes[id].map->epoch, epoch);
		assert_int_equal(meta_digest(cluster.nodes[id].map), digest);
	}
}

static void test_meta(void **state)
{
	(void)state;
	submit_init();
	assert_maps_equal();
	assert_int_equal(submit()->outcome.status, STATUS_CONFLICT); /* a second init */
	for (unsigned i = 1; i < 6; i++) {
		memset(&change, 0, sizeof(change));
		change.kind = CHANGE_REGION_ADD;
		region_of(i);
		assert_int_equal(submit()->outcome.status, STATUS_OK);
	}
	struct answer *answer = submit();
	assert_int_equal(answer->outcome.status, STATUS_CONFLICT);
	assert_true(answer->meta.flaw.reason[0] != 0);
	assert_int_equal(cluster.nodes[1].map->region_count, 6);
	assert_maps_equal();
	for (unsigned flush = 0; flush < 2; flush++) {
		for (unsigned i = 0; i < 70; i++) /* past a checkpoint */
			submit_addresses(1000 * (flush + 1) + i);
		assert_maps_equal();
		uint64_t epoch = cluster.nodes[1].map->epoch;
		for (uint64_t id = 1; id <= 3; id++)
			node_stop(&cluster.nodes[id], flush == 1);
		packets_drop(&cluster);
		for (uint64_t id = 1; id <= 3; id++)
			node_start(&cluster.nodes[id]);
		if (flush)
			assert_int_equal(cluster.nodes[2].map->epoch, epoch);
		assert_maps_equal();
		assert_int_equal(cluster.nodes[1].map->epoch, epoch);
		assert_int_equal(cluster.nodes[1].map->region_count, 6);
	}
}

/* A learner of meta gets the map by a snapshot, between checkpoints. */
static void test_meta_snapshot(void **state)
{
	(void)state;
	submit_init();
	for (unsigned i = 0; i < 10; i++)
		submit_addresses(i + 1);
	flush_leader(SLOT_META);
	for (unsigned i = 0; i < 5; i++)
		submit_addresses(i + 100);
	node_create(&cluster.nodes[4], SLOT_META, NULL);
	struct membership membership = with_learner(SLOT_META);
	change_to(SLOT_META, &membership);
	assert_maps_equal();
	assert_true(cluster.chunks_sent > 0);
	assert_true(cluster.nodes[4].maps_seen > 0);
	assert_string_equal(cluster.nodes[4].map->nodes[0].addresses.at[0].address, "127.0.0.1:104");
	node_stop(&cluster.nodes[4], false);
	node_start(&cluster.nodes[4]);
	submit_addresses(7);
	assert_maps_equal();
}

#define SHARD(name) cmocka_unit_test_setup_teardown(name, setup_shard, teardown)
#define META(name)  cmocka_unit_test_setup_teardown(name, setup_meta, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SHARD(test_membership),
		SHARD(test_snapshot_over_restarts),
		SHARD(test_crash_short_log),
		SHARD(test_crash_other_log),
		SHARD(test_crash_log_covers),
		META(test_meta),
		META(test_meta_snapshot),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
