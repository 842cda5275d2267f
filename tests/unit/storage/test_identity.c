/* The identity of a data directory: kept, renamed, copied, damaged, locked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/disk.h"
#include "storage/identity.h"

static char dir[128];

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/domicile-identity-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static void remove_in(const char *where)
{
	static const char *const names[] = { "IDENTITY", "IDENTITY.new", "LOCK" };
	char path[256];
	for (unsigned i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s", where, names[i]);
		unlink(path);
	}
	rmdir(where);
}

static int teardown(void **state)
{
	(void)state;
	remove_in(dir);
	return 0;
}

static const struct identity given = { .cluster = { 1, 2, 3, 4 },
	.name = "prod",
	.place = "eu/ie/eu-west-1/a/n1",
	.node = 5,
	.incarnation = 6,
	.support_max_us = 7,
	.boot = 8,
	.map_epoch = 9 };

static void kept(void **state)
{
	(void)state;
	struct identity identity;
	assert_int_equal(identity_load(dir, &identity), STATUS_NOT_FOUND);
	assert_int_equal(identity_store(dir, &given), STATUS_OK);
	assert_int_equal(identity_load(dir, &identity), STATUS_OK);
	assert_memory_equal(&identity, &given, sizeof(given));
	struct identity changed = given;
	changed.node = 50;
	assert_int_equal(identity_store(dir, &changed), STATUS_OK);
	assert_int_equal(identity_load(dir, &identity), STATUS_OK);
	assert_int_equal(identity.node, 50);
}

static void copy_file(const char *from, const char *to)
{
	uint8_t data[4096];
	size_t got;
	struct disk_file *file;
	assert_int_equal(disk_open(from, DISK_READ_ONLY, &file), STATUS_OK);
	assert_int_equal(disk_read(file, 0, data, sizeof(data), &got), STATUS_OK);
	disk_close(file);
	struct bytes slice = bytes_of(data, got);
	assert_int_equal(disk_open(to, DISK_CREATE, &file), STATUS_OK);
	assert_int_equal(disk_write(file, 0, &slice, 1), STATUS_OK);
	disk_close(file);
}

static void moved_and_copied(void **state)
{
	(void)state;
	struct identity identity;
	char other[160], from[256], to[256];
	assert_int_equal(identity_store(dir, &given), STATUS_OK);
	snprintf(other, sizeof(other), "%s.moved", dir);
	assert_int_equal(disk_rename(dir, other), STATUS_OK);
	assert_int_equal(identity_load(other, &identity), STATUS_OK);
	assert_int_equal(disk_make_dir(dir), STATUS_OK);
	snprintf(from, sizeof(from), "%s/IDENTITY", other);
	snprintf(to, sizeof(to), "%s/IDENTITY", dir);
	copy_file(from, to);
	assert_int_equal(identity_load(dir, &identity), STATUS_CONFLICT);
	assert_int_equal(identity_load(other, &identity), STATUS_OK);
	remove_in(other);
}

static void every_byte_counts(void **state)
{
	(void)state;
	char path[256];
	struct disk_file *file;
	struct identity identity;
	uint64_t size;
	assert_int_equal(identity_store(dir, &given), STATUS_OK);
	snprintf(path, sizeof(path), "%s/IDENTITY", dir);
	assert_int_equal(disk_open(path, 0, &file), STATUS_OK);
	assert_int_equal(disk_size(file, &size), STATUS_OK);
	for (uint64_t at = 0; at < size; at++) {
		uint8_t byte;
		size_t got;
		struct bytes slice = bytes_of(&byte, 1);
		assert_int_equal(disk_read(file, at, &byte, 1, &got), STATUS_OK);
		byte ^= 0x10;
		assert_int_equal(disk_write(file, at, &slice, 1), STATUS_OK);
		enum status status = identity_load(dir, &identity);
		if (at >= 8 && at < 12)
			assert_int_equal(status, STATUS_UNSUPPORTED); /* the version */
		else
			assert_int_equal(status, STATUS_CORRUPT);
		byte ^= 0x10;
		assert_int_equal(disk_write(file, at, &slice, 1), STATUS_OK);
	}
	assert_int_equal(identity_load(dir, &identity), STATUS_OK);
	disk_close(file);
}

static void one_process(void **state)
{
	(void)state;
	struct identity_lock *lock, *second;
	assert_int_equal(identity_lock(dir, &lock), STATUS_OK);
	assert_int_equal(
		identity_lock(dir, &second), STATUS_CONFLICT); /* flock holds between open files, so here too */
	identity_unlock(lock);
	assert_int_equal(identity_lock(dir, &second), STATUS_OK);
	identity_unlock(second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(kept, setup, teardown),
		cmocka_unit_test_setup_teardown(moved_and_copied, setup, teardown),
		cmocka_unit_test_setup_teardown(every_byte_counts, setup, teardown),
		cmocka_unit_test_setup_teardown(one_process, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
