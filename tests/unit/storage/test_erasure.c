/* What was removed or deleted leaves the disk: engines' tables and lists of tables, the journal's segments, those too
 * that were written again under another name, leftovers of every kind; and the file that remembers what has to go. */
#define _GNU_SOURCE /* memmem */
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
#include "storage/erasures.h"
#include "storage/journal.h"

#define CANARY "canary-5f2c9a7710bd"
enum { GROUP = 0x1234567, OTHER = 9, INCARNATION = 77 };

static char dir[128], shards[160], segments[160];

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/domicile-erasure-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(shards, sizeof(shards), "%s/shards", dir);
	snprintf(segments, sizeof(segments), "%s/journal", dir);
	return 0;
}

static bool wipe_name(void *arg, const char *name)
{
	char path[512];
	snprintf(path, sizeof(path), "%s/%s", (const char *)arg, name);
	if (disk_remove(path) == STATUS_OK)
		return true;
	return disk_list(path, wipe_name, path) == STATUS_OK && rmdir(path) == 0;
}

static int teardown(void **state)
{
	(void)state;
	return disk_list(dir, wipe_name, dir) == STATUS_OK && rmdir(dir) == 0 ? 0 : -1;
}

struct needle {
	const char *dir;
	unsigned files; /* that have it */
};

static bool search_name(void *arg, const char *name)
{
	struct needle *needle = arg;
	char path[512];
	struct disk_file *file;
	struct stat st;
	size_t got;
	snprintf(path, sizeof(path), "%s/%s", needle->dir, name);
	if (stat(path, &st) != 0)
		return false;
	if (S_ISDIR(st.st_mode)) {
		struct needle below = { path, 0 };
		assert_int_equal(disk_list(path, search_name, &below), STATUS_OK);
		needle->files += below.files;
		return true;
	}
	uint8_t *data = malloc((size_t)st.st_size + 1);
	assert_int_equal(disk_open(path, DISK_READ_ONLY, &file), STATUS_OK);
	assert_int_equal(disk_read(file, 0, data, (size_t)st.st_size, &got), STATUS_OK);
	disk_close(file);
	needle->files += memmem(data, got, CANARY, strlen(CANARY)) != NULL;
	free(data);
	return true;
}

static unsigned files_with_canary(void)
{
	struct needle needle = { dir, 0 };
	assert_int_equal(disk_list(dir, search_name, &needle), STATUS_OK);
	return needle.files;
}

/* --- engines ------------------------------------------------------------------------------------- */

static struct engine_shared *open_shared(void)
{
	struct engine_options options = { .dir = dir, .cache_size = 1 << 20 };
	struct engine_shared *shared;
	assert_int_equal(engine_shared_open(&options, &shared), STATUS_OK);
	return shared;
}

static void write_row(struct engine *engine, const char *key, const char *value, uint64_t index)
{
	struct engine_batch *batch = engine_batch_new();
	uint64_t flushed;
	if (value)
		engine_batch_put(batch, ENGINE_SPACE_KEYS, bytes_text(key), bytes_text(value));
	else
		engine_batch_delete(batch, ENGINE_SPACE_KEYS, bytes_text(key));
	assert_int_equal(engine_apply(engine, batch, index, 1), STATUS_OK);
	engine_batch_free(batch);
	assert_int_equal(engine_flush(engine, &flushed), STATUS_OK);
}

static enum status compact(struct engine *engine)
{
	assert_int_equal(engine_compact_begin(engine), STATUS_OK);
	enum status status = engine_compact_run(engine);
	engine_compact_end(engine);
	return status;
}

static void deleted_rows_go(void **state)
{
	(void)state;
	struct engine_shared *shared = open_shared();
	struct engine *engine;
	struct buffer *row;
	assert_int_equal(engine_open(shared, 1, true, &engine), STATUS_OK);
	write_row(engine, "a", "first", 1);
	write_row(engine, "key-" CANARY, "value", 2); /* a key in the list of tables too: it is a table's only one */
	write_row(engine, "b", "value-" CANARY, 3);
	write_row(engine, "z", "last", 4);
	write_row(engine, "key-" CANARY, NULL, 5);
	write_row(engine, "b", "overwritten", 6);
	assert_true(files_with_canary() >= 3);
	assert_int_equal(compact(engine), STATUS_OK);
	assert_int_equal(files_with_canary(), 0);
	assert_int_equal(engine_get(engine, ENGINE_SPACE_KEYS, bytes_text("b"), &row), STATUS_OK);
	assert_true(bytes_equal(buffer_bytes(row), bytes_text("overwritten")));
	buffer_unref(row);
	assert_int_equal(compact(engine), STATUS_OK); /* with nothing to do */
	engine_close(engine);
	assert_int_equal(engine_open(shared, 1, false, &engine), STATUS_OK);
	assert_int_equal(engine_get(engine, ENGINE_SPACE_KEYS, bytes_text("z"), &row), STATUS_OK);
	buffer_unref(row);
	engine_close(engine);
	engine_shared_close(shared);
}

/* Who reads an old state keeps it on the disk: that is said, not passed over. */
static void readers_keep_it(void **state)
{
	(void)state;
	struct engine_shared *shared = open_shared();
	struct engine *engine;
	struct engine_snapshot *snapshot;
	struct engine_iter *iter;
	assert_int_equal(engine_open(shared, 1, true, &engine), STATUS_OK);
	write_row(engine, "a", CANARY, 1);
	assert_int_equal(engine_snapshot_open(engine, &snapshot), STATUS_OK);
	write_row(engine, "a", NULL, 2);
	assert_int_equal(compact(engine), STATUS_BUSY);
	assert_true(files_with_canary() > 0);
	engine_snapshot_close(snapshot);
	assert_int_equal(compact(engine), STATUS_OK);
	assert_int_equal(files_with_canary(), 0);
	write_row(engine, "a", CANARY, 3);
	assert_int_equal(
		engine_iter_open(engine, ENGINE_SPACE_KEYS, bytes_of(NULL, 0), bytes_of(NULL, 0), &iter), STATUS_OK);
	write_row(engine, "a", NULL, 4);
	assert_int_equal(compact(engine), STATUS_BUSY);
	assert_true(files_with_canary() > 0);
	engine_iter_close(iter);
	assert_int_equal(compact(engine), STATUS_OK);
	assert_int_equal(files_with_canary(), 0);
	engine_compact_cancel(engine);
	write_row(engine, "a", CANARY, 5);
	assert_int_equal(compact(engine), STATUS_BUSY);
	engine_close(engine);
	engine_shared_close(shared);
}

static void make_file(const char *path)
{
	struct disk_file *file;
	struct bytes canary = bytes_text(CANARY);
	assert_int_equal(disk_open(path, DISK_CREATE, &file), STATUS_OK);
	assert_int_equal(disk_write(file, 0, &canary, 1), STATUS_OK);
	disk_close(file);
}

static void leftovers_go(void **state)
{
	(void)state;
	static const char *const files[] = { "0000000000000007.label", "0000000000000007.label.new" };
	static const char *const dirs[] = { "0000000000000007", "0000000000000007.removing",
		"0000000000000007.incoming", "0000000000000007.ready" };
	struct engine_shared *shared = open_shared();
	struct engine *engine;
	uint64_t left;
	char path[512];
	assert_int_equal(engine_open(shared, 8, true, &engine), STATUS_OK);
	for (unsigned i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s/%s", shards, dirs[i]);
		assert_int_equal(disk_make_dir(path), STATUS_OK);
		snprintf(path, sizeof(path), "%s/%s/000012.sst", shards, dirs[i]);
		make_file(path);
	}
	for (unsigned i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", shards, files[i]);
		make_file(path);
	}
	assert_int_equal(files_with_canary(), 6);
	assert_int_equal(engine_leftovers(shared, 7, &left), STATUS_OK);
	assert_int_equal(left, 0);
	assert_int_equal(files_with_canary(), 0);
	write_row(engine, "a", "others stay", 1);
	engine_close(engine);
	engine_shared_close(shared);
}

/* --- the journal --------------------------------------------------------------------------------- */

static struct journal *open_journal(void)
{
	struct journal_options options = {
		.dir = segments, .cluster = { 1 }, .incarnation = INCARNATION, .segment_size = JOURNAL_SEGMENT_SIZE_MIN
	};
	struct journal_recovery recovery = { 0 };
	struct journal *journal;
	assert_int_equal(journal_open(&options, &recovery, &journal), STATUS_OK);
	return journal;
}

static bool flush(struct journal *journal)
{
	struct journal_flush *job;
	uint64_t ticket;
	if (!journal_flush_begin(journal, &job))
		return false;
	assert_int_equal(journal_flush_end(journal, job, journal_flush_run(job), &ticket), STATUS_OK);
	journal_check(journal);
	return true;
}

static void flush_all(struct journal *journal)
{
	unsigned flushes = 0;
	while (flush(journal))
		assert_true(++flushes < 1000);
}

static void append(struct journal *journal, uint64_t group, uint64_t index, const char *text, size_t padding)
{
	static char body[128 << 10];
	size_t size = strlen(text);
	struct prng prng;
	assert_true(padding + size <= sizeof(body));
	prng_seed(&prng, index);
	for (size_t i = 0; i < padding; i++)
		body[i] = (char)prng_next(&prng); /* does not compress */
	memcpy(body + padding, text, size);
	struct journal_entry entry = {
		.group = group, .index = index, .term = 1, .body = bytes_of(body, padding + size)
	};
	assert_int_equal(journal_append_entry(journal, &entry, NULL), STATUS_OK);
}

static uint64_t headers_upto(uint64_t group, uint64_t upto)
{
	struct journal_trace traces[3] = { { 1, upto, 0 }, { group, upto, 0 }, { group + 1, upto, 0 } };
	assert_int_equal(journal_search(segments, INCARNATION, traces, 3), STATUS_OK);
	assert_int_equal(traces[0].found + traces[2].found, 0);
	return traces[1].found;
}

static uint64_t headers_of(uint64_t group)
{
	return headers_upto(group, UINT64_MAX);
}

/* A live group's: trimmed, cut and reset entries are there until they are to be erased. */
static void trimmed_entries_go(void **state)
{
	(void)state;
	struct journal *journal = open_journal();
	uint64_t mark;
	append(journal, GROUP, 1, CANARY, 0);
	append(journal, GROUP, 2, "kept", 0);
	append(journal, GROUP, 3, CANARY, 0);
	append(journal, OTHER, 1, "kept", 0);
	flush_all(journal);
	assert_int_equal(journal_trim(journal, GROUP, 1), STATUS_OK);
	assert_int_equal(journal_append_cut(journal, GROUP, 3), STATUS_OK);
	flush_all(journal);
	assert_true(files_with_canary() > 0);
	assert_int_equal(journal_erase(journal, &mark), STATUS_OK);
	assert_false(journal_erased(journal, mark));
	flush_all(journal);
	assert_true(journal_erased(journal, mark));
	assert_int_equal(files_with_canary(), 0);
	struct journal_entry entry;
	struct buffer *body;
	assert_int_equal(journal_read_entry(journal, GROUP, 2, &entry, &body), STATUS_OK);
	buffer_unref(body);
	assert_int_equal(journal_read_entry(journal, OTHER, 1, &entry, &body), STATUS_OK);
	buffer_unref(body);
	journal_close(journal);
}

/* What is pending when the order is given means nothing either, once it has been written. */
static void pending_entries_go(void **state)
{
	(void)state;
	struct journal *journal = open_journal();
	struct journal_flush *job;
	uint64_t mark, ticket;
	append(journal, OTHER, 1, "kept", 0);
	flush_all(journal);
	append(journal, GROUP, 1, CANARY, 0);
	assert_true(journal_flush_begin(journal, &job)); /* it is on its way to the disk */
	append(journal, GROUP, 2, CANARY, 0);
	assert_int_equal(journal_append_reset(journal, GROUP, 7, 1), STATUS_OK);
	assert_int_equal(journal_erase(journal, &mark), STATUS_OK);
	assert_int_equal(journal_flush_end(journal, job, journal_flush_run(job), &ticket), STATUS_OK);
	assert_false(journal_erased(journal, mark));
	flush_all(journal);
	assert_true(journal_erased(journal, mark));
	assert_int_equal(files_with_canary(), 0);
	journal_close(journal);
}

/* Segments that were free, and one of them written again since: the bytes of its former life lie behind its end. */
static void recycled_segments_go(void **state)
{
	(void)state;
	struct journal *journal = open_journal();
	struct journal_stats stats;
	uint64_t mark;
	for (uint64_t i = 1; i <= 40; i++) {
		append(journal, GROUP, i, CANARY, 100 << 10);
		flush(journal);
	}
	assert_int_equal(journal_trim(journal, GROUP, 40), STATUS_OK);
	flush_all(journal);
	for (uint64_t i = 1; i <= 12; i++) { /* into the next file, and a little of the one behind it */
		append(journal, OTHER, i, "other", 100 << 10);
		flush(journal);
	}
	journal_stats(journal, &stats);
	assert_true(stats.segments_free > 0);
	assert_true(headers_of(GROUP) > 1);
	assert_int_equal(journal_append_remove(journal, GROUP), STATUS_OK);
	assert_int_equal(journal_erase(journal, &mark), STATUS_OK);
	flush_all(journal);
	assert_true(journal_erased(journal, mark));
	assert_int_equal(headers_of(GROUP), 0);
	assert_int_equal(headers_of(OTHER), 12);
	assert_int_equal(files_with_canary(), 0);
	journal_close(journal);
}

/* Nobody remembers the order after a restart; who gives it again gets the same. */
static void again_after_a_restart(void **state)
{
	(void)state;
	struct journal *journal = open_journal();
	uint64_t mark;
	append(journal, GROUP, 1, CANARY, 0);
	append(journal, OTHER, 1, "kept", 0);
	flush_all(journal);
	assert_int_equal(journal_append_remove(journal, GROUP), STATUS_OK);
	assert_true(flush(journal));
	journal_close(journal);
	assert_true(headers_of(GROUP) > 0);
	journal = open_journal();
	assert_int_equal(journal_erase(journal, &mark), STATUS_OK);
	assert_false(journal_erased(journal, mark));
	flush_all(journal);
	assert_true(journal_erased(journal, mark));
	assert_int_equal(headers_of(GROUP), 0);
	assert_int_equal(files_with_canary(), 0);
	journal_close(journal);
}

/* A replica left and another one of its group has come: what there is of the first can be told from the second's. */
static void told_from_those_who_came_after(void **state)
{
	(void)state;
	struct journal *journal = open_journal();
	uint64_t mark;
	for (uint64_t i = 1; i <= 24; i++) {
		append(journal, GROUP, i, CANARY, 100 << 10);
		flush(journal);
	}
	assert_int_equal(journal_erased_segment(journal), 0);
	assert_true(headers_of(GROUP) > 20);
	assert_true(headers_upto(GROUP, 1) > 0);
	assert_true(headers_upto(GROUP, 1) < headers_of(GROUP));
	assert_int_equal(journal_append_remove(journal, GROUP), STATUS_OK);
	assert_int_equal(journal_append_state(journal, GROUP, 9, 2), STATUS_OK);
	append(journal, GROUP, 1, "kept", 0);
	assert_true(flush(journal));
	assert_int_equal(journal_erase(journal, &mark), STATUS_OK);
	append(journal, GROUP, 2, "kept", 0);
	assert_false(journal_erased(journal, mark));
	flush_all(journal);
	assert_true(journal_erased(journal, mark));
	assert_true(journal_erased_segment(journal) > 0);
	assert_int_equal(headers_upto(GROUP, journal_erased_segment(journal)), 0);
	assert_true(headers_of(GROUP) >= 2);
	assert_int_equal(files_with_canary(), 0);
	journal_close(journal);
}

/* --- what is remembered -------------------------------------------------------------------------- */

static void remembered(void **state)
{
	(void)state;
	struct erasures erasures, again;
	struct erasure *erasure;
	char path[512];
	struct disk_file *file;
	assert_int_equal(erasures_load(dir, &erasures), STATUS_OK);
	assert_int_equal(erasures.count, 0);
	for (uint64_t i = 50; i > 0; i--) {
		assert_int_equal(erasures_get(&erasures, i * 3, &erasure), STATUS_OK);
		erasure->group = i;
		erasure->policy = 2 * i;
		erasure->since_us = i << 40;
		erasure->within_s = (uint32_t)i;
		erasure->left = i % 2;
	}
	erasures_drop(&erasures, 9);
	erasures_drop(&erasures, 10);
	assert_int_equal(erasures.count, 49);
	assert_int_equal(erasures_store(dir, &erasures), STATUS_OK);
	assert_int_equal(erasures_load(dir, &again), STATUS_OK);
	assert_int_equal(again.count, 49);
	for (uint32_t i = 0; i < again.count; i++)
		assert_memory_equal(&again.at[i], erasures_find(&erasures, again.at[i].replica), sizeof(*erasure));
	assert_null(erasures_find(&again, 9));
	erasures_deinit(&again);
	assert_int_equal(erasures_store(dir, &erasures), STATUS_OK); /* in the place of the old one */
	erasures_deinit(&erasures);
	/* a flipped bit anywhere, a newer version */
	snprintf(path, sizeof(path), "%s/ERASURES", dir);
	assert_int_equal(disk_open(path, 0, &file), STATUS_OK);
	uint64_t size;
	assert_int_equal(disk_size(file, &size), STATUS_OK);
	for (uint64_t at = 0; at < size; at += 13) {
		uint8_t byte;
		size_t got;
		struct bytes slice = bytes_of(&byte, 1);
		assert_int_equal(disk_read(file, at, &byte, 1, &got), STATUS_OK);
		byte ^= 4;
		assert_int_equal(disk_write(file, at, &slice, 1), STATUS_OK);
		assert_int_not_equal(erasures_load(dir, &again), STATUS_OK);
		assert_int_equal(again.count, 0);
		byte ^= 4;
		assert_int_equal(disk_write(file, at, &slice, 1), STATUS_OK);
	}
	uint8_t version = 9;
	struct bytes newer = bytes_of(&version, 1);
	assert_int_equal(disk_write(file, 8, &newer, 1), STATUS_OK);
	assert_int_equal(erasures_load(dir, &again), STATUS_UNSUPPORTED);
	disk_close(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(deleted_rows_go, setup, teardown),
		cmocka_unit_test_setup_teardown(readers_keep_it, setup, teardown),
		cmocka_unit_test_setup_teardown(leftovers_go, setup, teardown),
		cmocka_unit_test_setup_teardown(trimmed_entries_go, setup, teardown),
		cmocka_unit_test_setup_teardown(pending_entries_go, setup, teardown),
		cmocka_unit_test_setup_teardown(recycled_segments_go, setup, teardown),
		cmocka_unit_test_setup_teardown(again_after_a_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(told_from_those_who_came_after, setup, teardown),
		cmocka_unit_test_setup_teardown(remembered, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
