/* The shard engine on a disk that is full, a small tmpfs: what is flushed, refused, read, and how it goes on when there
 * is room again. Needs root, for the tmpfs (in a mount namespace of its own); skipped otherwise. */
#define _GNU_SOURCE
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/disk.h"
#include "storage/engine.h"

enum { DISK_MIB = 192, VALUE_SIZE = 16 << 10 };

static char dir[128];
static bool private, mounted;
static struct engine_shared *shared;
static struct engine *engine;
static uint64_t applied;

/* Once, and before RocksDB has threads: they are to be in the same namespace. */
static int setup_all(void **state)
{
	(void)state;
	private =
		geteuid() == 0 && unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
	return 0;
}

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/domicile-full-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	mounted = false;
	if (!private)
		return 0;
	char options[32];
	snprintf(options, sizeof(options), "size=%um", DISK_MIB);
	mounted = mount("tmpfs", dir, "tmpfs", 0, options) == 0;
	if (!mounted)
		return 0;
	struct engine_options engine_options = {
		.dir = dir, .cache_size = 1 << 20, .write_buffer_budget = 8 << 20, .write_buffer_size = 1 << 20
	};
	applied = 0;
	return engine_shared_open(&engine_options, &shared) == STATUS_OK &&
			       engine_open(shared, 1, true, &engine) == STATUS_OK
		       ? 0
		       : -1;
}

static int teardown(void **state)
{
	(void)state;
	if (mounted) {
		engine_close(engine);
		engine_shared_close(shared);
		if (umount(dir) != 0)
			return -1;
	}
	return rmdir(dir);
}

/* Everything but `left` bytes is taken. */
static void disk_fill(uint64_t left)
{
	char path[256];
	struct disk_file *file;
	uint64_t bytes, offset = 0;
	static uint8_t zeroes[1 << 16];
	snprintf(path, sizeof(path), "%s/filler", dir);
	assert_int_equal(disk_open(path, DISK_CREATE, &file), STATUS_OK);
	assert_int_equal(disk_size(file, &offset), STATUS_OK);
	struct bytes slice = bytes_of(zeroes, 4096);
	for (;;) {
		assert_int_equal(disk_free_bytes(dir, &bytes), STATUS_OK);
		if (bytes < left + 4096)
			break;
		slice.size = bytes - left > sizeof(zeroes) ? sizeof(zeroes) : 4096;
		assert_int_equal(disk_write(file, offset, &slice, 1), STATUS_OK);
		offset += slice.size;
	}
	disk_close(file);
}

static void disk_clear(void)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/filler", dir);
	assert_int_equal(disk_remove(path), STATUS_OK);
}

static void key_of(uint64_t number, char key[24])
{
	snprintf(key, 24, "%llu", (unsigned long long)number);
}

static enum status put(uint64_t number)
{
	static uint8_t value[VALUE_SIZE];
	uint64_t noise = number * UINT64_C(0x9e3779b97f4a7c15) + 1;
	for (size_t i = 0; i + 8 <= sizeof(value); i += 8) { /* so that it does not compress */
		noise ^= noise << 13, noise ^= noise >> 7, noise ^= noise << 17;
		memcpy(value + i, &noise, 8);
	}
	char key[24];
	key_of(number, key);
	struct engine_batch *batch = engine_batch_new();
	engine_batch_put(batch, ENGINE_SPACE_KEYS, bytes_text(key), bytes_of(value, sizeof(value)));
	enum status status = engine_apply(engine, batch, applied + 1, 1);
	assert_int_equal(engine_batch_size(batch) == 0, status == STATUS_OK);
	engine_batch_free(batch);
	applied += status == STATUS_OK;
	return status;
}

static void check_there(uint64_t number)
{
	char key[24];
	struct buffer *row;
	key_of(number, key);
	assert_int_equal(engine_get(engine, ENGINE_SPACE_KEYS, bytes_text(key), &row), STATUS_OK);
	assert_int_equal(buffer_bytes(row).size, VALUE_SIZE);
	buffer_unref(row);
}

static void check_position(uint64_t expected)
{
	uint64_t index, term;
	engine_applied(engine, &index, &term);
	assert_int_equal(index, expected);
}

static void reopen(uint64_t expected)
{
	engine_close(engine);
	assert_int_equal(engine_open(shared, 1, false, &engine), STATUS_OK);
	check_position(expected);
}

/* Found in time: nothing is flushed, memory is bounded by the word of engine_full, and nothing ever fails. */
static void short_of_room(void **state)
{
	(void)state;
	uint64_t flushed = 99;
	if (!mounted)
		skip();
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(put(i), STATUS_OK);
	assert_int_equal(engine_flush(engine, &flushed), STATUS_OK);
	assert_int_equal(flushed, 10);
	assert_int_equal(put(10), STATUS_OK);
	disk_fill(4 << 20);
	assert_int_equal(engine_flush(engine, &flushed), STATUS_NO_SPACE);
	assert_int_equal(flushed, 10);
	uint64_t number = 11;
	while (!engine_full(engine)) {
		assert_true(number < 4000);
		assert_int_equal(put(number++), STATUS_OK);
	}
	struct engine_memory memory = engine_shared_memory(shared);
	assert_true(memory.memtables > (4 << 20)); /* above its limit, for lack of room */
	assert_true(memory.memtables < (20 << 20));
	assert_true(engine_flush_wanted(engine));
	for (uint64_t i = 0; i < number; i++)
		check_there(i);
	struct engine *other;
	assert_int_equal(engine_open(shared, 2, true, &other), STATUS_NO_SPACE);
	disk_clear();
	assert_int_equal(engine_flush(engine, &flushed), STATUS_OK);
	assert_int_equal(flushed, applied);
	assert_false(engine_full(engine));
	assert_false(engine_flush_wanted(engine));
	assert_int_equal(put(number), STATUS_OK);
	check_there(0);
	reopen(flushed);
	for (uint64_t i = 0; i < number; i++)
		check_there(i);
}

/* Found too late: the room goes between the look and the write. The engine says so, and is as it was flushed last when
 * it is opened again. */
static void full_in_a_flush(void **state)
{
	(void)state;
	uint64_t flushed;
	if (!mounted)
		skip();
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(put(i), STATUS_OK);
	assert_int_equal(engine_flush(engine, &flushed), STATUS_OK);
	for (unsigned i = 10; i < 300; i++)
		assert_int_equal(put(i), STATUS_OK);
	assert_int_equal(engine_flush_begin(engine), STATUS_OK);
	assert_int_equal(engine_flush_begin(engine), STATUS_BUSY);
	disk_fill(1 << 20);
	enum status ran = engine_flush_run(engine);
	assert_int_equal(ran, STATUS_NO_SPACE);
	assert_int_equal(engine_flush_end(engine, ran, &flushed), STATUS_NO_SPACE);
	assert_int_equal(flushed, 10);
	assert_int_equal(put(300), STATUS_NO_SPACE);
	assert_int_equal(engine_flush(engine, &flushed), STATUS_NO_SPACE);
	for (unsigned i = 0; i < 300; i++)
		check_there(i);
	assert_int_equal(engine_reopen(engine), STATUS_OK); /* also with the disk full */
	check_position(10);
	for (unsigned i = 0; i < 10; i++)
		check_there(i);
	applied = 10;
	for (unsigned i = 10; i < 300; i++) /* as from the journal */
		assert_int_equal(put(i), STATUS_OK);
	assert_int_equal(put(300), STATUS_OK);
	assert_int_equal(engine_flush(engine, &flushed), STATUS_NO_SPACE);
	disk_clear();
	assert_int_equal(engine_flush(engine, &flushed), STATUS_OK);
	reopen(301);
	for (unsigned i = 0; i <= 300; i++)
		check_there(i);
	assert_int_equal(engine_verify(engine), STATUS_OK);
}

/* What it takes to go on after NO_SPACE from a flush that found room when it looked. */
static void mend(uint64_t numbers[], size_t *count)
{
	uint64_t index, term, last = applied;
	if (put(0) == STATUS_OK) {
		numbers[*count] = 0;
		++*count;
		return;
	}
	assert_int_equal(engine_reopen(engine), STATUS_OK);
	engine_applied(engine, &index, &term);
	for (applied = index; applied < last;)
		assert_int_equal(put(numbers[applied]), STATUS_OK);
}

/* Flushes have room, the compaction of what they and all before wrote has not, and may take the room of a flush too. */
static void full_in_a_compaction(void **state)
{
	(void)state;
	uint64_t flushed;
	static uint64_t numbers[8192];
	size_t count = 0;
	unsigned refused = 0;
	if (!mounted)
		skip();
	for (unsigned round = 0; round < 40 && !engine_full(engine); round++) {
		for (unsigned i = 0; i < 128; i++) {
			numbers[count] = round < 16 ? round * 128 + i : i * 16 + round % 16;
			assert_int_equal(put(numbers[count++]), STATUS_OK);
		}
		enum status status = engine_flush(engine, &flushed);
		if (status == STATUS_NO_SPACE)
			mend(numbers, &count);
		else
			assert_int_equal(status, STATUS_OK);
		refused += status == STATUS_NO_SPACE;
		if (round == 15)
			disk_fill(24 << 20);
	}
	assert_true(refused > 0);
	assert_int_equal(applied, count);
	for (unsigned i = 0; i < 2048; i++)
		check_there(i);
	disk_clear();
	enum status status = engine_flush(engine, &flushed); /* may be told of the compaction's failure */
	if (status == STATUS_NO_SPACE) {
		mend(numbers, &count);
		status = engine_flush(engine, &flushed);
	}
	assert_int_equal(status, STATUS_OK);
	assert_int_equal(flushed, applied);
	reopen(applied);
	for (unsigned i = 0; i < 2048; i++)
		check_there(i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(short_of_room, setup, teardown),
		cmocka_unit_test_setup_teardown(full_in_a_flush, setup, teardown),
		cmocka_unit_test_setup_teardown(full_in_a_compaction, setup, teardown),
	};
	return cmocka_run_group_tests(tests, setup_all, NULL);
}
