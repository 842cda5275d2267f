/* tests/unit/server/test_group_driver_adopt.c: rows of another policy's shard come in through the log, and go. */
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

static uint8_t packed[4096];

/* A command with one row. */
static struct command with_row(uint8_t kind, uint64_t map_epoch, uint64_t version, const char *key, const char *value)
{
	struct command_row row = { version, bytes_text(key), bytes_text(value) };
	struct packer packer;
	pack_init(&packer, packed, sizeof(packed));
	assert_true(command_row_add(kind, &packer, &row));
	return (struct command){ .kind = kind,
		.operation = 40,
		.map_epoch = map_epoch,
		.version = kind == COMMAND_ADOPT ? version : 0,
		.value = pack_result(&packer) };
}

static enum status adopt(uint64_t map_epoch, uint64_t version, const char *key, const char *value)
{
	struct command command = with_row(COMMAND_ADOPT, map_epoch, version, key, value);
	return commit(&cluster, &command).status;
}

static enum status purge(uint64_t map_epoch, uint64_t version, const char *key)
{
	struct command command = with_row(COMMAND_PURGE, map_epoch, version, key, "");
	return commit(&cluster, &command).status;
}

static uint64_t version_at(uint64_t id, const char *key)
{
	char value[64];
	return read_at(&cluster, id, key, value, sizeof(value));
}

static void test_rows_keep_their_versions(void **state)
{
	(void)state;
	struct command own = put("own", "1");
	uint64_t high = commit(&cluster, &own).version + ((uint64_t)3600000000 << 12); /* that clock was ahead */
	char value[64];
	assert_int_equal(adopt(7, high, "k", "one"), STATUS_OK);
	assert_int_equal(adopt(7, high, "k", "one"), STATUS_OK); /* sent again */
	assert_int_equal(read_at(&cluster, 2, "k", value, sizeof(value)), high);
	assert_string_equal(value, "one");
	/* What is written from now on, of any key and whoever leads, is above it. */
	own = put("other", "2");
	assert_true(commit(&cluster, &own).version > high);
	struct command cas = put("k", "two");
	cas.kind = COMMAND_CAS;
	cas.version = high;
	uint64_t newer = commit(&cluster, &cas).version;
	assert_true(newer > high);
	/* A late copy does not bring the old one back. */
	assert_int_equal(adopt(7, high, "k", "one"), STATUS_OK);
	assert_int_equal(version_at(1, "k"), newer);
	assert_converged(&cluster, SLOT_SHARD);
}

/* A leader that has not heard how the operation went on. */
static void test_what_an_older_map_says_does_nothing(void **state)
{
	(void)state;
	struct command close = { .kind = COMMAND_CLOSE, .operation = 40, .map_epoch = 9, .retry = true };
	struct command gone = { .kind = COMMAND_DELETE, .key = bytes_text("k") };
	assert_int_equal(adopt(7, 100, "k", "one"), STATUS_OK);
	assert_int_equal(commit(&cluster, &close).status, STATUS_OK);
	assert_int_equal(commit(&cluster, &gone).status, STATUS_OK);
	assert_int_equal(adopt(8, 100, "k", "one"), STATUS_STALE_MAP); /* or a deleted key would come back */
	assert_int_equal(version_at(1, "k"), 0);
	assert_int_equal(adopt(9, 100, "k", "one"), STATUS_OK); /* another operation's, by as new a map */
	assert_int_equal(purge(8, 100, "k"), STATUS_STALE_MAP);
	assert_int_equal(version_at(1, "k"), 100);
	/* Over a restart, and where the state came as a snapshot, it is known as well. */
	node_stop(&cluster.nodes[1], true);
	node_start(&cluster.nodes[1]);
	assert_int_equal(driver_move_epoch(cluster.nodes[1].drivers[SLOT_SHARD]), 9);
	assert_true(driver_closed_at(cluster.nodes[1].drivers[SLOT_SHARD], 9, 0, true));
	assert_false(driver_closed_at(cluster.nodes[1].drivers[SLOT_SHARD], 10, 0, true));
	assert_converged(&cluster, SLOT_SHARD);
}

/* Some of the keys behind a fence stayed here, so it was lifted. */
static void test_a_write_by_a_map_of_before_the_fence_was_lifted(void **state)
{
	(void)state;
	struct command fence = { .kind = COMMAND_FENCE, .operation = 40, .map_epoch = 7, .key = bytes_text("k") };
	struct command lifted = { .kind = COMMAND_UNFENCE, .operation = 40, .map_epoch = 9 };
	struct command old = put("k", "lost"), fresh = put("k", "kept"), other = put("x", "lost");
	old.map_epoch = other.map_epoch = 8;
	fresh.map_epoch = 9;
	assert_int_equal(commit(&cluster, &fence).status, STATUS_OK);
	assert_int_equal(commit(&cluster, &fresh).status, STATUS_STALE_MAP);
	assert_int_equal(commit(&cluster, &lifted).status, STATUS_OK);
	assert_int_equal(commit(&cluster, &old).status, STATUS_STALE_MAP);
	assert_int_equal(commit(&cluster, &other).status, STATUS_STALE_MAP);
	assert_int_equal(commit(&cluster, &fresh).status, STATUS_OK);
	node_stop(&cluster.nodes[1], true);
	node_start(&cluster.nodes[1]);
	assert_int_equal(driver_write_epoch(cluster.nodes[1].drivers[SLOT_SHARD]), 9);
	assert_converged(&cluster, SLOT_SHARD);
}

/* A binding that changes over no key: what a client knows of a key in the one shard names nothing in the other. */
static void test_versions_begin_above_those_of_before(void **state)
{
	(void)state;
	struct command own = put("k", "1");
	uint64_t high = commit(&cluster, &own).version + ((uint64_t)3600000000 << 12);
	struct command seal = { .kind = COMMAND_CLOSE, .operation = 40, .map_epoch = 9, .version = high };
	struct command first = by(put("k", "x"), 99, 4, true), cas = put("k", "y");
	assert_false(driver_closed_at(cluster.nodes[1].drivers[SLOT_SHARD], 9, high, false));
	assert_int_equal(commit(&cluster, &seal).status, STATUS_OK);
	assert_converged(&cluster, SLOT_SHARD);
	assert_true(driver_closed_at(cluster.nodes[1].drivers[SLOT_SHARD], 9, high, false));
	assert_false(driver_closed_at(cluster.nodes[1].drivers[SLOT_SHARD], 9, high, true));
	/* No key came, so a retry may be of a write that was lost: it is applied. */
	assert_int_equal(commit(&cluster, &first).status, STATUS_OK);
	assert_true(version_at(1, "k") > high);
	cas.kind = COMMAND_CAS;
	cas.version = high;
	assert_int_equal(commit(&cluster, &cas).status, STATUS_CONFLICT);
	/* The newer map of another operation is not enough. */
	assert_false(driver_closed_at(cluster.nodes[1].drivers[SLOT_SHARD], 8, UINT64_MAX, false));
	assert_converged(&cluster, SLOT_SHARD);
}

static void test_a_purge_is_of_one_version(void **state)
{
	(void)state;
	struct command write = put("k", "new");
	assert_int_equal(adopt(7, 100, "k", "old"), STATUS_OK);
	assert_int_equal(adopt(7, 101, "left", "old"), STATUS_OK);
	assert_int_equal(commit(&cluster, &write).status, STATUS_OK);
	assert_int_equal(purge(8, 100, "k"), STATUS_OK);
	assert_true(version_at(3, "k") > 100);
	assert_int_equal(purge(8, 101, "left"), STATUS_OK);
	assert_int_equal(version_at(3, "left"), 0);
	assert_int_equal(purge(8, 101, "left"), STATUS_OK); /* again */
	assert_converged(&cluster, SLOT_SHARD);
}

/* A write was applied where the key was, its answer lost; the key has come here, and the write is sent again. */
static void test_a_retry_where_the_key_has_come_is_unknown(void **state)
{
	(void)state;
	struct command close = { .kind = COMMAND_CLOSE, .operation = 40, .map_epoch = 9, .retry = true };
	struct command first = by(put("k", "x"), 99, 4, true), known = by(put("own", "y"), 98, 1, false);
	assert_int_equal(commit(&cluster, &known).status, STATUS_OK);
	assert_int_equal(commit(&cluster, &close).status, STATUS_OK);
	/* Not even the key need have come: it may have been deleted since. */
	assert_int_equal(commit(&cluster, &first).status, STATUS_UNKNOWN_OUTCOME);
	assert_int_equal(version_at(1, "k"), 0);
	/* What has a record here is answered by it, and what was never sent before is applied. */
	known.retry = true;
	assert_true(commit(&cluster, &known).duplicate);
	struct command fresh = by(put("k", "z"), 99, 5, false);
	assert_int_equal(commit(&cluster, &fresh).status, STATUS_OK);
	assert_converged(&cluster, SLOT_SHARD);
}

static struct command inherited(uint64_t map_epoch, struct command_record record, bool evicted)
{
	struct packer packer;
	pack_init(&packer, packed, sizeof(packed));
	assert_true(command_record_add(&packer, &record));
	return (struct command){ .kind = COMMAND_INHERIT,
		.operation = 40,
		.map_epoch = map_epoch,
		.retry = evicted,
		.value = pack_result(&packer) };
}

/* A shard was split: a write that was applied in the one is sent again to the other. */
static void test_what_was_answered_there_is_answered_here(void **state)
{
	(void)state;
	struct command own = by(put("own", "1"), 98, 70, false);
	struct command applied = by(put("k", "x"), 99, 4, true), lost = by(put("k", "y"), 99, 5, true);
	struct command old = by(put("own", "0"), 98, 6, true);
	assert_int_equal(commit(&cluster, &own).status, STATUS_OK);
	struct command records = inherited(7, (struct command_record){ 99, 4, 1234, STATUS_OK }, false);
	uint64_t index = commit(&cluster, &records).index;
	struct driver_outcome answer = commit(&cluster, &applied);
	assert_true(answer.duplicate);
	assert_int_equal(answer.version, 1234);
	assert_int_equal(answer.index, index); /* of this log, or a session would wait for it here */
	assert_int_equal(version_at(1, "k"), 0);
	/* What has no record there was applied nowhere. */
	assert_int_equal(commit(&cluster, &lost).status, STATUS_OK);
	/* Records of our own are newer, or as good. */
	records = inherited(7, (struct command_record){ 98, 6, 55, STATUS_OK }, false);
	assert_int_equal(commit(&cluster, &records).status, STATUS_OK);
	assert_int_equal(commit(&cluster, &old).status, STATUS_UNKNOWN_OUTCOME);
	records = inherited(7, (struct command_record){ 99, 4, 77, STATUS_OK }, false); /* sent again */
	assert_int_equal(commit(&cluster, &records).status, STATUS_OK);
	assert_int_equal(commit(&cluster, &applied).version, 1234);
	/* By an older map nothing comes. */
	records = inherited(6, (struct command_record){ 99, 8, 66, STATUS_OK }, true);
	assert_int_equal(commit(&cluster, &records).status, STATUS_STALE_MAP);
	lost.sequence = 8;
	assert_int_equal(commit(&cluster, &lost).status, STATUS_OK);
	assert_converged(&cluster, SLOT_SHARD);
	node_stop(&cluster.nodes[1], true);
	node_start(&cluster.nodes[1]);
	assert_converged(&cluster, SLOT_SHARD);
	/* The other shard had forgotten some: then having no record proves nothing. */
	records = inherited(7, (struct command_record){ 99, 9, 88, STATUS_NOT_FOUND }, true);
	assert_int_equal(commit(&cluster, &records).status, STATUS_OK);
	lost.sequence = 10;
	assert_int_equal(commit(&cluster, &lost).status, STATUS_UNKNOWN_OUTCOME);
	assert_converged(&cluster, SLOT_SHARD);
}

/* Of a range, to its last hash. */
static void test_a_fence_of_a_range(void **state)
{
	(void)state;
	uint64_t hash = hash_key(bytes_text("k"));
	struct command fence = { .kind = COMMAND_FENCE,
		.operation = 40,
		.map_epoch = 7,
		.range = true,
		.hash_first = hash,
		.hash_last = hash };
	struct command in = put("k", "1"), lifted = { .kind = COMMAND_UNFENCE, .operation = 40, .map_epoch = 9 };
	assert_int_equal(commit(&cluster, &fence).status, STATUS_OK);
	assert_int_equal(commit(&cluster, &in).status, STATUS_STALE_MAP);
	for (unsigned i = 0; i < 20; i++) { /* the others go on */
		char key[8];
		snprintf(key, sizeof(key), "x%u", i);
		struct command out = put(key, "1");
		assert_int_equal(commit(&cluster, &out).status, STATUS_OK);
	}
	node_stop(&cluster.nodes[1], true);
	node_start(&cluster.nodes[1]);
	assert_true(driver_fenced(cluster.nodes[1].drivers[SLOT_SHARD], bytes_text("k"), NULL));
	assert_int_equal(commit(&cluster, &lifted).status, STATUS_OK);
	in.map_epoch = 9;
	assert_int_equal(commit(&cluster, &in).status, STATUS_OK);
	fence.hash_first++;
	fence.hash_last = UINT64_MAX;
	assert_int_equal(commit(&cluster, &fence).status, STATUS_OK);
	assert_int_equal(commit(&cluster, &in).status, STATUS_OK);
	fence.operation++;
	fence.hash_first = 0;
	fence.hash_last = hash - 1;
	assert_int_equal(commit(&cluster, &fence).status, STATUS_OK);
	assert_int_equal(commit(&cluster, &in).status, STATUS_OK);
	assert_converged(&cluster, SLOT_SHARD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_rows_keep_their_versions, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_an_older_map_says_does_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_write_by_a_map_of_before_the_fence_was_lifted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_versions_begin_above_those_of_before, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_purge_is_of_one_version, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_retry_where_the_key_has_come_is_unknown, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_was_answered_there_is_answered_here, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_fence_of_a_range, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
