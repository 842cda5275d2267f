/* The shard engine: rows and their position in one write, what survives a close without a flush, iterators, snapshots
 * out and in with each kind of damage, crashes between the steps of an install, physical removal, the budget. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/prng.h"
#include "storage/disk.h"
#include "storage/engine.h"

static char dir[128], shards[160];
static struct engine_shared *shared;

static void open_shared(void)
{
	struct engine_options options = {
		.dir = dir, .cache_size = 1 << 20, .write_buffer_budget = 2 << 20, .write_buffer_size = 8 << 20
	};
	assert_int_equal(engine_shared_open(&options, &shared), STATUS_OK);
}

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/domicile-engine-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(shards, sizeof(shards), "%s/shards", dir);
	open_shared();
	return 0;
}

static bool remove_engine(void *arg, uint64_t id)
{
	(void)arg;
	return engine_remove(shared, id) == STATUS_OK;
}

static int teardown(void **state)
{
	(void)state;
	if (engine_list(shared, remove_engine, NULL) != STATUS_OK)
		return -1;
	engine_shared_close(shared);
	return rmdir(shards) == 0 && rmdir(dir) == 0 ? 0 : -1;
}

static bool exists(const char *name)
{
	char path[512];
	struct stat st;
	snprintf(path, sizeof(path), "%s/%s", shards, name);
	return stat(path, &st) == 0;
}

static struct engine *open_engine(uint64_t id, bool create)
{
	struct engine *engine;
	assert_int_equal(engine_open(shared, id, create, &engine), STATUS_OK);
	assert_int_equal(engine_id(engine), id);
	return engine;
}

static void put(struct engine *engine, const char *key, const char *value, uint64_t index)
{
	struct engine_batch *batch = engine_batch_new();
	engine_batch_put(batch, ENGINE_SPACE_KEYS, bytes_text(key), bytes_text(value));
	assert_int_equal(engine_apply(engine, batch, index, 1), STATUS_OK);
	assert_int_equal(engine_batch_size(batch), 0);
	engine_batch_free(batch);
}

static void check_value(struct engine *engine, const char *key, const char *value)
{
	struct buffer *row;
	enum status status = engine_get(engine, ENGINE_SPACE_KEYS, bytes_text(key), &row);
	assert_int_equal(status, value ? STATUS_OK : STATUS_NOT_FOUND);
	if (value)
		assert_true(bytes_equal(buffer_bytes(row), bytes_text(value)));
	buffer_unref(row);
}

static void check_applied(struct engine *engine, uint64_t index, uint64_t term)
{
	uint64_t got_index, got_term;
	engine_applied(engine, &got_index, &got_term);
	assert_int_equal(got_index, index);
	assert_int_equal(got_term, term);
}

static bool size_about(struct engine *engine, uint64_t size)
{
	uint64_t got = engine_size(engine);
	return got >= size && got <= size + size / 10;
}

/* What was put and what lies in files: the same before and after a flush, and after a restart. */
static void size_is_of_the_rows(void **state)
{
	(void)state;
	struct engine *engine = open_engine(1, true);
	struct prng prng;
	char value[8001] = { 0 };
	uint64_t flushed, empty = engine_size(engine);
	assert_true(empty < 10000);
	prng_seed(&prng, 7);
	for (uint64_t i = 0; i < 20; i++) {
		char key[2] = { (char)('a' + i), 0 };
		for (unsigned j = 0; j < 8000; j++) /* does not compress */
			value[j] = (char)(1 + prng_below(&prng, 255));
		put(engine, key, value, i + 1);
		if (i == 9)
			assert_int_equal(engine_flush(engine, &flushed), STATUS_OK);
	}
	assert_true(size_about(engine, 20 * 8000)); /* half in a file */
	assert_int_equal(engine_flush(engine, &flushed), STATUS_OK);
	assert_true(size_about(engine, 20 * 8000));
	engine_close(engine);
	engine = open_engine(1, false);
	assert_true(size_about(engine, 20 * 8000));
	engine_close(engine);
}

static void rows_and_position(void **state)
{
	(void)state;
	struct engine *engine = open_engine(1, true), *other;
	check_applied(engine, 0, 0);
	put(engine, "a", "1", 3);
	uint64_t flushed;
	assert_int_equal(engine_flush(engine, &flushed), STATUS_OK);
	assert_int_equal(flushed, 3);
	struct engine_batch *batch = engine_batch_new();
	engine_batch_put_two(batch, ENGINE_SPACE_KEYS, bytes_text("b"), bytes_text("he"), bytes_text("ad"));
	engine_batch_put(batch, ENGINE_SPACE_SESSIONS, bytes_text("b"), bytes_text("session"));
	engine_batch_put(batch, ENGINE_SPACE_KEYS, bytes_text("empty"), bytes_of(NULL, 0));
	engine_batch_delete(batch, ENGINE_SPACE_KEYS, bytes_text("a"));
	assert_int_equal(engine_apply(engine, batch, 5, 2), STATUS_OK);
	engine_batch_free(batch);
	check_value(engine, "a", NULL);
	check_value(engine, "b", "head");
	check_value(engine, "empty", "");
	check_applied(engine, 5, 2);
	assert_int_equal(engine_flushed(engine), 3);
	assert_int_equal(engine_health(engine), STATUS_OK);
	engine_close(engine); /* without a flush: as a crash would */
	assert_int_equal(engine_open(shared, 1, true, &other), STATUS_CONFLICT);
	assert_int_equal(engine_open(shared, 2, false, &other), STATUS_NOT_FOUND);
	engine = open_engine(1, false);
	uint64_t index, term;
	engine_applied(engine, &index, &term);
	assert_true((index == 3 && term == 1) || (index == 5 && term == 2));
	check_value(engine, "a", index == 3 ? "1" : NULL); /* rows and position agree */
	check_value(engine, "b", index == 3 ? NULL : "head");
	engine_close(engine);
}

static bool count_row(void *arg, struct bytes key, struct bytes value)
{
	unsigned *count = arg;
	assert_true(key.size > 0);
	assert_true(value.size > 0);
	return ++*count < 100;
}

static void iterators(void **state)
{
	(void)state;
	struct engine *engine = open_engine(1, true);
	static const char *const keys[] = { "a", "ab", "abc", "abd", "b", "\xff", "\xff\xff" };
	for (unsigned i = 0; i < 7; i++)
		put(engine, keys[i], keys[i], i + 1);
	struct engine_iter *iter;
	struct bytes key, value;
	assert_int_equal(
		engine_iter_open(engine, ENGINE_SPACE_KEYS, bytes_text("ab"), bytes_text("ab"), &iter), STATUS_OK);
	put(engine, "abb", "later", 8); /* not in the iterator's moment */
	assert_int_equal(engine_iter_next(iter, &key, &value), STATUS_OK);
	assert_true(bytes_equal(key, bytes_text("abc")));
	assert_int_equal(engine_iter_next(iter, &key, &value), STATUS_OK);
	assert_true(bytes_equal(key, bytes_text("abd")));
	assert_true(bytes_equal(value, bytes_text("abd")));
	assert_int_equal(engine_iter_next(iter, &key, &value), STATUS_END);
	engine_iter_close(iter);
	unsigned count = 0;
	bool more;
	assert_int_equal(engine_scan(engine, ENGINE_SPACE_KEYS, bytes_of(NULL, 0), bytes_of(NULL, 0), 0, 0, count_row,
				 &count, &more),
		STATUS_OK);
	assert_int_equal(count, 8);
	assert_false(more);
	count = 0;
	assert_int_equal(engine_scan(engine, ENGINE_SPACE_KEYS, bytes_text("\xff"), bytes_of(NULL, 0), 1, 0, count_row,
				 &count, &more),
		STATUS_OK);
	assert_int_equal(count, 1);
	assert_true(more);
	count = 0;
	assert_int_equal(engine_scan(engine, ENGINE_SPACE_KEYS, bytes_of(NULL, 0), bytes_text("abd"), 0, 0, count_row,
				 &count, &more),
		STATUS_OK);
	assert_int_equal(count, 3);
	count = 0; /* other spaces are other rows */
	assert_int_equal(engine_scan(engine, ENGINE_SPACE_SESSIONS, bytes_of(NULL, 0), bytes_of(NULL, 0), 0, 0,
				 count_row, &count, &more),
		STATUS_OK);
	assert_int_equal(count, 0);
	engine_close(engine);
}

enum { ROWS = 3000, CHUNKS_MAX = 64 };
static struct buffer *chunks[CHUNKS_MAX];
static size_t chunk_count;
static uint64_t total_rows, total_hash, snapshot_index, snapshot_term, source_digest;

static void take_snapshot(struct engine *engine)
{
	struct engine_snapshot *snapshot;
	assert_int_equal(engine_snapshot_open(engine, &snapshot), STATUS_OK);
	assert_int_equal(engine_digest(engine, &source_digest), STATUS_OK);
	put(engine, "after the snapshot", "x", 1000000);
	engine_snapshot_position(snapshot, &snapshot_index, &snapshot_term);
	enum status status;
	for (chunk_count = 0; chunk_count < CHUNKS_MAX; chunk_count++) {
		status = engine_snapshot_next(snapshot, 8192, &chunks[chunk_count]);
		if (status == STATUS_END)
			break;
		assert_int_equal(status, STATUS_OK);
		assert_true(chunks[chunk_count]->size <= 8192);
	}
	assert_int_equal(status, STATUS_END);
	engine_snapshot_total(snapshot, &total_rows, &total_hash);
	engine_snapshot_close(snapshot);
}

static void free_chunks(void)
{
	for (size_t i = 0; i < chunk_count; i++)
		buffer_unref(chunks[i]);
	chunk_count = 0;
}

static struct engine *filled_engine(uint64_t id)
{
	struct engine *engine = open_engine(id, true);
	for (unsigned i = 0; i < ROWS; i++) {
		char key[32], value[64];
		snprintf(key, sizeof(key), "key-%06u", i * 7919 % ROWS);
		snprintf(value, sizeof(value), "value-%u-%u", i, i * i);
		put(engine, key, value, i + 1);
	}
	return engine;
}

static enum status install_all(uint64_t id)
{
	struct engine_install *install;
	assert_int_equal(engine_install_begin(shared, id, &install), STATUS_OK);
	for (size_t i = 0; i < chunk_count; i++) {
		enum status status = engine_install_chunk(install, buffer_bytes(chunks[i]));
		if (status != STATUS_OK) {
			engine_install_abort(install);
			return status;
		}
	}
	return engine_install_finish(install, snapshot_index, snapshot_term, total_rows, total_hash);
}

static void snapshot_round_trip(void **state)
{
	(void)state;
	struct engine *engine = filled_engine(1), *copy = open_engine(2, true);
	uint64_t digest;
	take_snapshot(engine);
	assert_int_equal(snapshot_index, ROWS);
	assert_int_equal(total_rows, ROWS);
	assert_true(chunk_count > 5);
	put(copy, "old", "state", 7);
	assert_int_equal(install_all(2), STATUS_OK); /* into an open one: the handle stays */
	check_value(copy, "old", NULL);
	check_value(copy, "after the snapshot", NULL);
	check_applied(copy, ROWS, 1);
	assert_int_equal(engine_flushed(copy), ROWS);
	assert_int_equal(engine_digest(copy, &digest), STATUS_OK);
	assert_int_equal(digest, source_digest);
	put(copy, "more", "rows", ROWS + 1);
	engine_close(copy);
	assert_int_equal(install_all(3), STATUS_OK); /* where there was none */
	copy = open_engine(3, false);
	check_applied(copy, ROWS, 1);
	assert_int_equal(engine_digest(copy, &digest), STATUS_OK);
	assert_int_equal(digest, source_digest);
	assert_int_equal(engine_verify(copy), STATUS_OK);
	engine_close(copy);
	engine_close(engine);
	assert_false(exists("0000000000000002.incoming"));
	assert_false(exists("0000000000000002.removing"));
	free_chunks();
}

static void bad_snapshots_leave_the_old_state(void **state)
{
	(void)state;
	struct engine *engine = filled_engine(1), *old = open_engine(2, true);
	struct engine_install *install;
	put(old, "old", "state", 7);
	take_snapshot(engine);
	struct buffer *victim = chunks[2];
	for (size_t at = 0; at < victim->size; at += 97) { /* a flipped byte anywhere */
		victim->data[at] ^= 4;
		assert_int_equal(install_all(2), STATUS_CORRUPT);
		victim->data[at] ^= 4;
	}
	struct buffer *swapped = chunks[1]; /* chunks out of order */
	chunks[1] = chunks[2];
	chunks[2] = swapped;
	assert_int_equal(install_all(2), STATUS_CORRUPT);
	chunks[2] = chunks[1];
	chunks[1] = swapped;
	chunk_count--; /* one too few */
	assert_int_equal(install_all(2), STATUS_CORRUPT);
	chunk_count++;
	total_hash ^= 1;
	assert_int_equal(install_all(2), STATUS_CORRUPT);
	total_hash ^= 1;
	assert_int_equal(engine_install_begin(shared, 2, &install), STATUS_OK);
	assert_int_equal(engine_install_chunk(install, bytes_text("short")), STATUS_CORRUPT);
	assert_int_equal(engine_install_chunk(install, buffer_bytes(chunks[0])), STATUS_CORRUPT); /* sticks */
	engine_install_abort(install);
	struct engine_iter *iter;
	assert_int_equal(
		engine_iter_open(old, ENGINE_SPACE_KEYS, bytes_of(NULL, 0), bytes_of(NULL, 0), &iter), STATUS_OK);
	assert_int_equal(install_all(2), STATUS_BUSY);
	engine_iter_close(iter);
	check_value(old, "old", "state");
	check_applied(old, 7, 1);
	assert_false(exists("0000000000000002.incoming"));
	assert_int_equal(install_all(2), STATUS_OK);
	check_value(old, "old", NULL);
	engine_close(old);
	engine_close(engine);
	free_chunks();
}

static void move(const char *from, const char *to)
{
	char a[512], b[512];
	snprintf(a, sizeof(a), "%s/%s", shards, from);
	snprintf(b, sizeof(b), "%s/%s", shards, to);
	assert_int_equal(disk_rename(a, b), STATUS_OK);
}

/* What a crash after each step of an install or a removal leaves, and what the next start makes of it. */
static void leftovers(void **state)
{
	(void)state;
	struct engine *one = open_engine(1, true), *two = open_engine(2, true);
	uint64_t flushed;
	put(one, "which", "one", 1);
	put(two, "which", "two", 2);
	assert_int_equal(engine_flush(one, &flushed), STATUS_OK);
	assert_int_equal(engine_flush(two, &flushed), STATUS_OK);
	engine_close(one);
	engine_close(two);
	engine_shared_close(shared);
	move("0000000000000002", "0000000000000001.ready"); /* decided, nothing moved yet */
	open_shared();
	one = open_engine(1, false);
	check_value(one, "which", "two");
	engine_close(one);
	engine_shared_close(shared);
	move("0000000000000001", "0000000000000001.ready"); /* the old one is out of the way already */
	open_shared();
	one = open_engine(1, false);
	check_value(one, "which", "two");
	engine_close(one);
	two = open_engine(2, true);
	engine_close(two);
	engine_shared_close(shared);
	move("0000000000000002", "0000000000000001.incoming"); /* not decided */
	open_shared();
	assert_false(exists("0000000000000001.incoming"));
	one = open_engine(1, false);
	check_value(one, "which", "two");
	engine_close(one);
	engine_shared_close(shared);
	move("0000000000000001", "0000000000000001.removing");
	open_shared();
	assert_false(exists("0000000000000001.removing"));
	assert_false(exists("0000000000000001"));
	assert_int_equal(engine_remove(shared, 1), STATUS_NOT_FOUND);
}

/* What counts as durable is what was applied when the flush began, whatever came while it ran. */
static void flush_in_steps(void **state)
{
	(void)state;
	struct engine *engine = open_engine(1, true);
	uint64_t flushed = 99;
	put(engine, "a", "1", 1);
	assert_int_equal(engine_flush_begin(engine), STATUS_OK);
	assert_int_equal(engine_flush_begin(engine), STATUS_BUSY);
	assert_int_equal(engine_flush_run(engine), STATUS_OK);
	put(engine, "b", "2", 2);
	assert_int_equal(engine_flush_end(engine, STATUS_OK, &flushed), STATUS_OK);
	assert_int_equal(flushed, 1);
	assert_int_equal(engine_flushed(engine), 1);
	assert_int_equal(engine_flush_begin(engine), STATUS_OK);
	assert_int_equal(engine_flush_end(engine, STATUS_CANCELLED, &flushed), STATUS_CANCELLED);
	assert_int_equal(flushed, 1);
	engine_close(engine); /* does not flush */
	engine = open_engine(1, false);
	check_applied(engine, 1, 1);
	check_value(engine, "a", "1");
	check_value(engine, "b", NULL);
	engine_close(engine);
}

static bool collect(void *arg, uint64_t id)
{
	uint64_t *ids = arg;
	ids[++ids[0]] = id;
	return true;
}

static void list_and_remove(void **state)
{
	(void)state;
	uint64_t ids[8] = { 0 };
	static const uint64_t made[] = { 0xabcdef0123456789, 3, 12 };
	for (unsigned i = 0; i < 3; i++)
		engine_close(open_engine(made[i], true));
	assert_int_equal(engine_list(shared, collect, ids), STATUS_OK);
	assert_int_equal(ids[0], 3);
	assert_int_equal(ids[1], 3);
	assert_int_equal(ids[2], 12);
	assert_true(ids[3] == 0xabcdef0123456789);
	assert_int_equal(engine_remove(shared, 12), STATUS_OK);
	assert_false(exists("000000000000000c"));
	ids[0] = 0;
	assert_int_equal(engine_list(shared, collect, ids), STATUS_OK);
	assert_int_equal(ids[0], 2);
}

/* Many engines that each hold less than their own buffer: the sum stays near the budget. */
static void budget(void **state)
{
	(void)state;
	struct engine *engines[4];
	static char value[4096];
	memset(value, 'v', sizeof(value) - 1);
	for (unsigned i = 0; i < 4; i++)
		engines[i] = open_engine(i + 1, true);
	uint64_t most = 0;
	for (unsigned i = 0; i < 4000; i++) {
		char key[16];
		snprintf(key, sizeof(key), "%u", i);
		put(engines[i % 4], key, value, i + 1);
		bool others = engine_shared_flush_wanted(shared);
		for (unsigned at = 0; at < 4; at++) {
			uint64_t flushed;
			if ((others || at == i % 4) && engine_flush_wanted(engines[at]))
				assert_int_equal(engine_flush(engines[at], &flushed), STATUS_OK);
		}
		struct engine_memory memory = engine_shared_memory(shared);
		most = memory.memtables > most ? memory.memtables : most;
	}
	assert_true(most > (1 << 20)); /* 16 MiB went through */
	assert_true(most < (4 << 20));
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(engine_health(engines[i]), STATUS_OK);
		engine_close(engines[i]);
	}
}

/* A flipped byte in a table file is found, and never served. */
static bool damage_table(void *arg, const char *name)
{
	char path[700];
	size_t length = strlen(name);
	if (length < 4 || strcmp(name + length - 4, ".sst") != 0)
		return true;
	struct disk_file *file;
	uint8_t byte;
	size_t got;
	snprintf(path, sizeof(path), "%s/0000000000000001/%s", shards, name);
	assert_int_equal(disk_open(path, 0, &file), STATUS_OK);
	assert_int_equal(disk_read(file, 100, &byte, 1, &got), STATUS_OK);
	byte ^= 1;
	struct bytes slice = bytes_of(&byte, 1);
	assert_int_equal(disk_write(file, 100, &slice, 1), STATUS_OK);
	disk_close(file);
	++*(unsigned *)arg;
	return true;
}

static void corruption_is_found(void **state)
{
	(void)state;
	struct engine *engine = filled_engine(1);
	uint64_t flushed;
	unsigned damaged = 0;
	char path[512];
	assert_int_equal(engine_flush(engine, &flushed), STATUS_OK);
	assert_int_equal(engine_verify(engine), STATUS_OK);
	engine_close(engine);
	snprintf(path, sizeof(path), "%s/0000000000000001", shards);
	assert_int_equal(disk_list(path, damage_table, &damaged), STATUS_OK);
	assert_true(damaged > 0);
	engine = open_engine(1, false);
	struct buffer *row;
	assert_int_equal(engine_verify(engine), STATUS_CORRUPT);
	assert_int_equal(
		engine_get(engine, ENGINE_SPACE_KEYS, bytes_text("key-000000"), &row), STATUS_CORRUPT); /* for ever */
	assert_true(engine_damaged(engine));
	/* Until another state takes its place. */
	struct engine *whole = filled_engine(2);
	take_snapshot(whole);
	assert_int_equal(install_all(1), STATUS_OK);
	assert_false(engine_damaged(engine));
	assert_int_equal(engine_get(engine, ENGINE_SPACE_KEYS, bytes_text("key-000000"), &row), STATUS_OK);
	buffer_unref(row);
	engine_close(whole);
	engine_close(engine);
	free_chunks();
}

/* One that cannot be opened has a handle all the same, and is replaced through it. */
static void opened_though_damaged(void **state)
{
	(void)state;
	struct engine *engine = filled_engine(1), *damaged;
	struct buffer *row;
	uint64_t flushed;
	char command[400];
	take_snapshot(engine);
	assert_int_equal(engine_flush(engine, &flushed), STATUS_OK);
	engine_close(engine);
	snprintf(
		command, sizeof(command), "for f in %s/0000000000000001/MANIFEST-*; do echo nothing >$f; done", shards);
	assert_int_equal(system(command), 0);
	assert_int_equal(engine_open(shared, 1, false, &engine), STATUS_CORRUPT);
	assert_int_equal(engine_open_damaged(shared, 1, &damaged), STATUS_OK);
	check_applied(damaged, 0, 0);
	assert_int_equal(engine_get(damaged, ENGINE_SPACE_KEYS, bytes_text("key-000000"), &row), STATUS_CORRUPT);
	assert_int_equal(engine_flush(damaged, &flushed), STATUS_CORRUPT);
	assert_int_equal(engine_health(damaged), STATUS_CORRUPT);
	assert_int_equal(install_all(1), STATUS_OK);
	check_applied(damaged, ROWS, 1);
	engine_close(damaged);
	engine = open_engine(1, false);
	check_applied(engine, ROWS, 1);
	engine_close(engine);
	free_chunks();
}

static void check_label(uint64_t id, const char *text)
{
	struct buffer *label;
	assert_int_equal(engine_label_read(shared, id, &label), STATUS_OK);
	assert_true(bytes_equal(buffer_bytes(label), bytes_text(text)));
	buffer_unref(label);
}

static void labels(void **state)
{
	(void)state;
	struct engine *engine = open_engine(1, true);
	struct buffer *label;
	struct disk_file *file;
	struct bytes slice = bytes_text("x");
	char path[512];
	engine_close(engine);
	assert_int_equal(engine_label_read(shared, 1, &label), STATUS_NOT_FOUND);
	assert_int_equal(engine_label_write(shared, 1, bytes_text("first")), STATUS_OK);
	check_label(1, "first");
	assert_int_equal(engine_label_write(shared, 1, bytes_text("the second")), STATUS_OK);
	check_label(1, "the second");
	snprintf(path, sizeof(path), "%s/0000000000000001.label", shards);
	assert_int_equal(disk_open(path, 0, &file), STATUS_OK);
	assert_int_equal(disk_write(file, 10, &slice, 1), STATUS_OK);
	disk_close(file);
	assert_int_equal(engine_label_read(shared, 1, &label), STATUS_CORRUPT);
	assert_int_equal(engine_label_write(shared, 1, bytes_text("third")), STATUS_OK);
	check_label(1, "third");
	/* It goes with its engine, and at the next start if a crash came between. */
	assert_int_equal(engine_remove(shared, 1), STATUS_OK);
	assert_false(exists("0000000000000001.label"));
	assert_int_equal(engine_label_write(shared, 1, bytes_text("left over")), STATUS_OK);
	engine_shared_close(shared);
	open_shared();
	assert_false(exists("0000000000000001.label"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(size_is_of_the_rows, setup, teardown),
		cmocka_unit_test_setup_teardown(rows_and_position, setup, teardown),
		cmocka_unit_test_setup_teardown(iterators, setup, teardown),
		cmocka_unit_test_setup_teardown(snapshot_round_trip, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_snapshots_leave_the_old_state, setup, teardown),
		cmocka_unit_test_setup_teardown(leftovers, setup, teardown),
		cmocka_unit_test_setup_teardown(list_and_remove, setup, teardown),
		cmocka_unit_test_setup_teardown(flush_in_steps, setup, teardown),
		cmocka_unit_test_setup_teardown(budget, setup, teardown),
		cmocka_unit_test_setup_teardown(corruption_is_found, setup, teardown),
		cmocka_unit_test_setup_teardown(opened_though_damaged, setup, teardown),
		cmocka_unit_test_setup_teardown(labels, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
