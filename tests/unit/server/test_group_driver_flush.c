/* A replica's flushes: on another thread's time, and on a disk that is full (a small tmpfs under the leader's engines;
 * needs root, skipped otherwise). */
#define _GNU_SOURCE
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include "tests/unit/server/driver_cluster.h"

#include "base/prng.h"
#include "storage/disk.h"

enum { VALUE_SIZE = 64 << 10, DISK_MIB = 128 };

static struct cluster cluster;
static char value[VALUE_SIZE + 1], read_back[VALUE_SIZE + 1];
static uint64_t leader;
static bool private;

/* Once, and before RocksDB has threads: they are to be in the same namespace. */
static int setup_all(void **state)
{
	(void)state;
	struct prng prng;
	prng_seed(&prng, 1);
	for (size_t i = 0; i < VALUE_SIZE; i++) /* does not compress */
		value[i] = (char)(1 + prng_below(&prng, 255));
	private =
		geteuid() == 0 && unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
	return 0;
}

static void shards_of(uint64_t node, const char *name, char path[400])
{
	snprintf(path, 400, "%s/shards%s", cluster.nodes[node].dir, name);
}

static int setup(void **state)
{
	char path[400], options[32];
	(void)state;
	cluster_open(&cluster);
	snprintf(options, sizeof(options), "size=%um", DISK_MIB);
	for (uint64_t id = 1; private && id <= 3; id++) {
		shards_of(id, "", path);
		if (mount("tmpfs", path, "tmpfs", 0, options) != 0)
			return -1;
	}
	cluster_of_three(&cluster, SLOT_SHARD);
	leader = cluster_leader(&cluster, SLOT_SHARD);
	return 0;
}

static int teardown(void **state)
{
	char path[400];
	(void)state;
	for (uint64_t id = 1; id <= 3; id++)
		node_stop(&cluster.nodes[id], true);
	for (uint64_t id = 1; private && id <= 3; id++) {
		shards_of(id, "", path);
		if (umount(path) != 0)
			return -1;
	}
	for (uint64_t id = 1; id <= 3; id++)
		node_start(&cluster.nodes[id]);
	cluster_close(&cluster);
	return 0;
}

static void disk_fill(uint64_t left)
{
	char path[400], filler[400];
	static const uint8_t zeroes[4096];
	struct disk_file *file;
	uint64_t bytes, offset = 0;
	shards_of(leader, "", path);
	shards_of(leader, "/filler", filler);
	assert_int_equal(disk_open(filler, DISK_CREATE, &file), STATUS_OK);
	const struct bytes slice = bytes_of(zeroes, sizeof(zeroes));
	while (disk_free_bytes(path, &bytes) == STATUS_OK && bytes >= left + sizeof(zeroes)) {
		assert_int_equal(disk_write(file, offset, &slice, 1), STATUS_OK);
		offset += sizeof(zeroes);
	}
	disk_close(file);
}

static void disk_clear(void)
{
	char filler[400];
	shards_of(leader, "/filler", filler);
	assert_int_equal(disk_remove(filler), STATUS_OK);
}

static struct driver *driver_of(uint64_t node)
{
	return cluster.nodes[node].drivers[SLOT_SHARD];
}

static enum status put_large(unsigned number)
{
	char key[24];
	snprintf(key, sizeof(key), "large-%u", number);
	struct command command = put(key, value);
	return await(&cluster, propose(&cluster, leader, &command))->outcome.status;
}

static void check_there(unsigned number)
{
	char key[24];
	snprintf(key, sizeof(key), "large-%u", number);
	assert_true(read_at(&cluster, leader, key, read_back, sizeof(read_back)) > 0);
	assert_memory_equal(read_back, value, VALUE_SIZE);
}

/* The one job that is out, until it is let go. */
static struct {
	void (*job)(void *), (*done)(void *);
	void *arg;
	unsigned taken;
} held;

static void hold(void *arg, struct driver *driver, void (*job)(void *), void (*done)(void *), void *job_arg)
{
	(void)arg;
	assert_true(driver_blocked(driver));
	assert_null(held.job);
	held.job = job;
	held.done = done;
	held.arg = job_arg;
	held.taken++;
}

static void let_go(void)
{
	void (*job)(void *) = held.job, (*done)(void *) = held.done;
	held.job = NULL;
	job(held.arg);
	done(held.arg);
}

static unsigned put_until_held(void)
{
	unsigned count = 0;
	memset(&held, 0, sizeof(held));
	cluster.owners[leader].block = hold;
	while (!held.job) {
		assert_true(count < 200);
		assert_int_equal(put_large(count++), STATUS_OK);
	}
	return count;
}

static void flush_beside_writes(void **state)
{
	(void)state;
	uint64_t before = engine_flushed(driver_engine(driver_of(leader)));
	unsigned count = put_until_held();
	uint64_t begun = driver_applied(driver_of(leader));
	assert_true(driver_blocked(driver_of(leader)));
	for (unsigned i = 0; i < 80; i++)
		assert_int_equal(put_large(count++), STATUS_OK);
	assert_int_equal(held.taken, 1); /* one at a time */
	assert_int_equal(driver_flush(driver_of(leader), 0, cluster.time), STATUS_BUSY);
	assert_int_equal(engine_flushed(driver_engine(driver_of(leader))), before);
	check_there(0);
	let_go();
	assert_false(driver_blocked(driver_of(leader)));
	assert_true(driver_deadline(driver_of(leader)) <= cluster.time.now_ns);
	cluster_step(&cluster);
	cluster_step(&cluster);
	uint64_t flushed = engine_flushed(driver_engine(driver_of(leader)));
	assert_true(flushed > before);
	assert_true(flushed <= begun);
	cluster.owners[leader].block = NULL;
	if (held.job)
		let_go();
	for (unsigned i = 0; i < count; i++)
		check_there(i);
	assert_converged(&cluster, SLOT_SHARD);
}

/* Seen before a flush: memory fills to its bound, writes are refused, reads go on; and it ends by itself. */
static void full_disk(void **state)
{
	(void)state;
	enum status status = STATUS_OK;
	unsigned count = 0;
	if (!private)
		skip();
	disk_fill(4 << 20);
	while (count < 1000 && (status = put_large(count)) == STATUS_OK)
		count++;
	assert_int_equal(status, STATUS_BUSY);
	assert_true(count > 300);
	struct engine_memory memory = engine_shared_memory(cluster.nodes[leader].engines);
	assert_true(memory.memtables < (40 << 20));
	for (unsigned i = 0; i < count; i += 7)
		check_there(i);
	cluster_run(&cluster, 2000);
	assert_int_equal(put_large(count), STATUS_BUSY);
	disk_clear();
	cluster_run(&cluster, 1000); /* with no request that could set it going */
	assert_int_equal(put_large(count), STATUS_OK);
	assert_true(engine_flushed(driver_engine(driver_of(leader))) > count);
	for (unsigned i = 0; i <= count; i += 7)
		check_there(i);
	assert_int_equal(cluster.nodes[leader].fatal, STATUS_OK);
	assert_converged(&cluster, SLOT_SHARD);
}

/* Seen by the flush: the engine comes back with what it had flushed, and what was applied since is applied again. */
static void full_in_a_flush(void **state)
{
	(void)state;
	if (!private)
		skip();
	struct command once = by(put("once", "1"), 9, 1, false);
	struct driver_outcome first = commit(&cluster, &once);
	unsigned count = put_until_held();
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(put_large(count++), STATUS_OK);
	uint64_t applied = driver_applied(driver_of(leader));
	disk_fill(64 << 10);
	let_go();
	cluster.owners[leader].block = NULL;
	struct command next = put("next", "2");
	assert_int_equal(commit(&cluster, &next).status, STATUS_OK);
	assert_true(driver_applied(driver_of(leader)) > applied);
	assert_int_equal(engine_health(driver_engine(driver_of(leader))), STATUS_OK);
	assert_true(engine_flushed(driver_engine(driver_of(leader))) < applied);
	for (unsigned i = 0; i < count; i++)
		check_there(i);
	once.retry = true;
	struct driver_outcome again = commit(&cluster, &once);
	assert_true(again.duplicate);
	assert_int_equal(again.version, first.version);
	disk_clear();
	cluster_run(&cluster, 1000);
	assert_true(engine_flushed(driver_engine(driver_of(leader))) >= applied);
	assert_int_equal(cluster.nodes[leader].fatal, STATUS_OK);
	assert_converged(&cluster, SLOT_SHARD);
}

/* What is applied when the flush has failed, and nobody has looked yet: the fence is known, the row before it is not
 * there. Whoever counts what is behind it must wait. */
static void a_fence_ahead_of_its_rows(void **state)
{
	(void)state;
	if (!private)
		skip();
	put_until_held();
	struct driver *driver = driver_of(leader);
	assert_true(driver_rows_whole(driver));
	disk_fill(64 << 10);
	held.job(held.arg);
	struct command write = put("behind", "1");
	struct command fence = { .kind = COMMAND_FENCE, .operation = 40, .map_epoch = 7, .key = bytes_text("be") };
	uint64_t written = propose(&cluster, leader, &write), fenced = propose(&cluster, leader, &fence);
	for (unsigned i = 0; i < 1000 && !driver_fence_of(driver, 40); i++)
		cluster_step(&cluster);
	bool ahead = driver_fence_of(driver, 40), whole = driver_rows_whole(driver);
	struct buffer *row = NULL;
	enum status status = engine_get(driver_engine(driver), ENGINE_SPACE_KEYS, bytes_text("behind"), &row);
	held.done(held.arg);
	cluster.owners[leader].block = NULL;
	assert_true(ahead);
	assert_int_equal(status, STATUS_NOT_FOUND);
	assert_false(whole);
	assert_int_equal(await(&cluster, written)->outcome.status, STATUS_OK);
	assert_int_equal(await(&cluster, fenced)->outcome.status, STATUS_OK);
	assert_true(driver_fence_of(driver, 40));
	assert_true(driver_rows_whole(driver));
	assert_true(read_at(&cluster, leader, "behind", read_back, sizeof(read_back)) > 0);
	disk_clear();
	cluster_run(&cluster, 1000);
	assert_converged(&cluster, SLOT_SHARD);
}

/* The flush that waits for room waits for the engine to be mended too, without asking all the time. */
static void full_and_damaged(void **state)
{
	char command[900];
	(void)state;
	if (!private)
		skip();
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(put_large(i), STATUS_OK);
	assert_int_equal(driver_flush(driver_of(leader), 0, cluster.time), STATUS_OK);
	disk_fill(4 << 20);
	unsigned count = 20;
	while (count < 1000 && put_large(count) == STATUS_OK)
		count++;
	cluster_run(&cluster, 1000);
	for (uint64_t id = 1; id <= 3; id++)
		cluster.nodes[id].cut = id != leader;
	snprintf(command, sizeof(command),
		"for f in %s/shards/%016llx/*.sst; do head -c 500000 /dev/zero | dd of=$f conv=notrunc 2>/dev/null; "
		"done",
		cluster.nodes[leader].dir, (unsigned long long)replica_of(leader, SLOT_SHARD));
	assert_int_equal(system(command), 0);
	assert_int_equal(driver_digest(driver_of(leader)), 0);
	cluster_run(&cluster, 5000); /* in so many steps, or fails */
	for (uint64_t id = 1; id <= 3; id++)
		cluster.nodes[id].cut = false;
	disk_clear();
	assert_converged(&cluster, SLOT_SHARD);
	leader = cluster_leader(&cluster, SLOT_SHARD);
	for (unsigned i = 0; i < count; i += 7)
		check_there(i);
}

/* A driver that ends with a flush behind it that it has not heard of. */
static void ends_unsettled(void **state)
{
	(void)state;
	unsigned count = put_until_held();
	let_go();
	cluster.owners[leader].block = NULL;
	node_stop(&cluster.nodes[leader], true);
	node_start(&cluster.nodes[leader]);
	cluster_run(&cluster, 2000);
	leader = cluster_leader(&cluster, SLOT_SHARD);
	for (unsigned i = 0; i < count; i++)
		check_there(i);
	assert_converged(&cluster, SLOT_SHARD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(flush_beside_writes, setup, teardown),
		cmocka_unit_test_setup_teardown(full_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(full_in_a_flush, setup, teardown),
		cmocka_unit_test_setup_teardown(a_fence_ahead_of_its_rows, setup, teardown),
		cmocka_unit_test_setup_teardown(full_and_damaged, setup, teardown),
		cmocka_unit_test_setup_teardown(ends_unsettled, setup, teardown),
	};
	return cmocka_run_group_tests(tests, setup_all, NULL);
}
