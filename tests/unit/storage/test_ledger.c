/* The ledger's files: kept, cut where a crash tore them, and every change of what was durable found: each byte
 * flipped, records dropped, added, put into another order. */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/ledger.h"

static char dir[128];
static const uint64_t incarnation = 77;

struct found {
	uint64_t count, last_shard;
	struct ledger_position at;
};

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/domicile-ledger-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static void files_of(char names[16][64], unsigned *count)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/ledger", dir);
	DIR *open = opendir(path);
	*count = 0;
	for (struct dirent *entry; open && (entry = readdir(open));) {
		if (entry->d_name[0] == '.')
			continue;
		assert_true(*count < 16);
		snprintf(names[*count], 64, "%.63s", entry->d_name);
		for (unsigned i = (*count)++; i > 0 && strcmp(names[i], names[i - 1]) < 0; i--) {
			char swap[64];
			memcpy(swap, names[i], 64);
			memcpy(names[i], names[i - 1], 64);
			memcpy(names[i - 1], swap, 64);
		}
	}
	if (open)
		closedir(open);
}

static void path_of(char path[256], const char *name)
{
	snprintf(path, 256, "%.127s/ledger/%.63s", dir, name);
}

static int teardown(void **state)
{
	(void)state;
	char names[16][64], path[256];
	unsigned count;
	files_of(names, &count);
	for (unsigned i = 0; i < count; i++) {
		path_of(path, names[i]);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/ledger", dir);
	rmdir(path);
	rmdir(dir);
	return 0;
}

static bool count_record(
	void *arg, const struct ledger_record *record, struct bytes encoded, const struct ledger_position *behind)
{
	struct found *found = arg;
	(void)encoded;
	assert_int_equal(record->sequence, found->count + 1);
	found->count++;
	found->last_shard = record->shard;
	found->at = *behind;
	return true;
}

static uint64_t segment_size = 4 * LEDGER_BLOCK;

static enum status open_one(struct ledger **ledger, struct found *found, const char **why)
{
	struct ledger_options options = { .dir = dir, .incarnation = incarnation, .segment_size = segment_size };
	assert_true(place_parse("eu/ie/eu-west-1/a/n1", &options.place, NULL));
	*found = (struct found){ 0 };
	return ledger_open(&options, count_record, found, ledger, why);
}

static struct ledger *open_well(struct found *found)
{
	struct ledger *ledger;
	const char *why = NULL;
	assert_int_equal(open_one(&ledger, found, &why), STATUS_OK);
	return ledger;
}

static void append(struct ledger *ledger, uint64_t shard)
{
	struct ledger_record record = { .kind = LEDGER_CREATED,
		.time_us = 1000 + shard,
		.map_epoch = 5,
		.shard = shard,
		.replica = 100 + shard,
		.policy = 9,
		.policy_epoch = 4 };
	assert_int_equal(ledger_append(ledger, &record), STATUS_OK);
}

static void flush(struct ledger *ledger)
{
	struct ledger_flush *begun;
	assert_true(ledger_flush_begin(ledger, &begun));
	assert_int_equal(ledger_flush_end(ledger, begun, ledger_flush_run(begun)), STATUS_OK);
}

/* `count` records, two a batch. */
static void write_some(unsigned count)
{
	struct found found;
	struct ledger *ledger = open_well(&found);
	for (unsigned i = 1; i <= count; i++) {
		append(ledger, found.count + i);
		if (i % 2 == 0 || i == count)
			flush(ledger);
	}
	ledger_close(ledger);
}

static uint8_t *load(const char *name, size_t *size)
{
	char path[256];
	path_of(path, name);
	int fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	uint8_t *bytes = malloc(LEDGER_FILE_MAX);
	assert_non_null(bytes);
	ssize_t got = read(fd, bytes, LEDGER_FILE_MAX);
	assert_true(got > 0);
	*size = (size_t)got;
	close(fd);
	return bytes;
}

static void store(const char *name, const uint8_t *bytes, size_t size)
{
	char path[256];
	path_of(path, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, size), size);
	close(fd);
}

static void kept(void **state)
{
	(void)state;
	struct found found;
	struct ledger *ledger = open_well(&found);
	struct ledger_flush *begun;
	assert_int_equal(found.count, 0);
	assert_false(ledger_flush_begin(ledger, &begun));
	append(ledger, 1);
	assert_int_equal(ledger_durable(ledger).sequence, 0);
	assert_int_equal(ledger_appended(ledger), 1);
	assert_true(ledger_flush_begin(ledger, &begun));
	append(ledger, 2); /* while it runs: for the next one */
	assert_false(ledger_flush_begin(ledger, &(struct ledger_flush *){ NULL }));
	assert_int_equal(ledger_flush_end(ledger, begun, ledger_flush_run(begun)), STATUS_OK);
	assert_int_equal(ledger_durable(ledger).sequence, 1);
	ledger_close(ledger);
	ledger = open_well(&found);
	assert_int_equal(found.count, 1); /* the second was never written */
	append(ledger, 3);
	flush(ledger);
	struct ledger_position at = ledger_durable(ledger);
	ledger_close(ledger);
	ledger_close(open_well(&found));
	assert_int_equal(found.count, 2);
	assert_int_equal(found.last_shard, 3);
	assert_memory_equal(&found.at, &at, sizeof(at));
}

static void in_segments(void **state)
{
	(void)state;
	char names[16][64];
	unsigned count;
	struct found found;
	write_some(20);
	files_of(names, &count);
	assert_true(count >= 3);
	struct ledger *ledger = open_well(&found);
	assert_int_equal(found.count, 20);
	uint8_t bytes[LEDGER_BLOCK];
	struct ledger_part part = { .next = 1 };
	for (uint64_t files = 0; part.next != 0; files++) {
		assert_int_equal(ledger_read(ledger, part.next, 0, bytes, sizeof(bytes), &part), STATUS_OK);
		struct ledger_segment segment;
		assert_int_equal(ledger_segment_decode(bytes_of(bytes, part.got), &segment), STATUS_OK);
		assert_int_equal(segment.before.sequence + 1, part.first);
		if (part.next == 0)
			assert_int_equal(files + 1, count);
	}
	assert_int_equal(ledger_read(ledger, 21, 0, bytes, sizeof(bytes), &part), STATUS_NOT_FOUND);
	ledger_close(ledger);
}

/* A batch that was not synced is cut at every length that a crash may leave, and written again. */
static void torn(void **state)
{
	(void)state;
	struct found found;
	size_t before, behind;
	write_some(2);
	free(load("0000000000000001.led", &before));
	write_some(1);
	uint8_t *whole = load("0000000000000001.led", &behind);
	size_t batch = before - LEDGER_BLOCK; /* where the second one stands, in the seal's place */
	uint8_t *bytes = malloc(behind);
	assert_non_null(bytes);
	for (size_t cut = 1; cut < 700; cut += 3) {
		memcpy(bytes, whole, behind);
		memset(bytes + batch + cut, 0, behind - batch - cut);
		bool complete = memcmp(bytes, whole, batch + LEDGER_BLOCK) == 0;
		store("0000000000000001.led", bytes, batch + LEDGER_BLOCK);
		struct ledger *ledger = open_well(&found);
		assert_int_equal(found.count, complete ? 3 : 2);
		append(ledger, 9);
		flush(ledger);
		ledger_close(ledger);
		ledger_close(open_well(&found));
		assert_int_equal(found.count, complete ? 4 : 3);
		assert_int_equal(found.last_shard, 9);
	}
	free(bytes);
	free(whole);
}

/* No byte of any file may change, padding included, without a complaint of this process or of who reads it later. */
static void every_byte(void **state)
{
	(void)state;
	char names[16][64];
	unsigned count;
	write_some(10);
	files_of(names, &count);
	assert_true(count >= 2);
	for (unsigned i = 0; i < count; i++) {
		size_t size;
		uint8_t *bytes = load(names[i], &size);
		for (size_t at = 0; at < size; at += at % LEDGER_BLOCK < 700 ? 1 : 97) {
			bytes[at] ^= (uint8_t)(1 << at % 8);
			struct ledger_scan scan;
			enum status status =
				ledger_segment_scan(bytes_of(bytes, size), i + 1 == count, NULL, NULL, &scan);
			if (status == STATUS_OK) {
				/* What was never proven durable may be a crash's: told, too. */
				assert_true(i + 1 == count);
				assert_true(scan.torn);
				assert_true(at >= scan.end);
			}
			bytes[at] ^= (uint8_t)(1 << at % 8);
		}
		struct ledger_scan scan;
		assert_int_equal(
			ledger_segment_scan(bytes_of(bytes, size), i + 1 == count, NULL, NULL, &scan), STATUS_OK);
		assert_false(scan.torn);
		assert_true(scan.sealed || i + 1 < count);
		free(bytes);
	}
}

/* The node itself refuses to begin with a ledger in which something durable is not what was written. */
static void damage_stops(void **state)
{
	(void)state;
	char names[16][64];
	unsigned count;
	write_some(10);
	files_of(names, &count);
	struct found found;
	struct ledger *ledger;
	for (unsigned i = 0; i < count; i++) {
		size_t size;
		uint8_t *bytes = load(names[i], &size);
		for (size_t at = 0; at + LEDGER_BLOCK < size; at += 37) {
			const char *why = NULL;
			bytes[at] ^= 0x10;
			store(names[i], bytes, size);
			bool version = at >= 8 && at < 12;
			enum status status = open_one(&ledger, &found, &why);
			assert_true(status == STATUS_CORRUPT || (version && status == STATUS_UNSUPPORTED));
			assert_non_null(why);
			bytes[at] ^= 0x10;
		}
		store(names[i], bytes, size);
		free(bytes);
	}
	ledger_close(open_well(&found));
	assert_int_equal(found.count, 10);
	char path[256];
	const char *why = NULL;
	path_of(path, names[0]);
	unlink(path);
	assert_int_equal(open_one(&ledger, &found, &why), STATUS_CORRUPT);
}

/* Whole batches taken out, doubled, or exchanged: the chain does not close. */
static void other_order(void **state)
{
	(void)state;
	size_t size;
	write_some(6); /* three batches of one block each, behind the header; then the seal */
	uint8_t *whole = load("0000000000000001.led", &size), *bytes = malloc(2 * size);
	assert_non_null(bytes);
	assert_int_equal(size, 5 * LEDGER_BLOCK);
	static const unsigned orders[][6] = { { 0, 2, 3, 4 }, { 0, 1, 3, 4 }, { 0, 1, 2, 4 }, { 0, 2, 1, 3, 4 },
		{ 0, 1, 1, 2, 3, 4 }, { 0, 1, 2, 2, 3, 4 }, { 0, 1, 3, 2, 4 } };
	static const unsigned lengths[] = { 4, 4, 4, 5, 6, 6, 5 };
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct ledger_scan scan;
		for (unsigned block = 0; block < lengths[i]; block++)
			memcpy(bytes + block * LEDGER_BLOCK, whole + orders[i][block] * LEDGER_BLOCK, LEDGER_BLOCK);
		assert_int_equal(
			ledger_segment_scan(bytes_of(bytes, lengths[i] * LEDGER_BLOCK), true, NULL, NULL, &scan),
			STATUS_INVALID);
		assert_non_null(scan.damage);
	}
	free(bytes);
	free(whole);
}

/* The seal alone proves the last batch: bad bytes in it are damage, not a crash's. */
static void sealed(void **state)
{
	(void)state;
	size_t size;
	struct ledger_scan scan;
	write_some(2);
	uint8_t *bytes = load("0000000000000001.led", &size);
	bytes[LEDGER_BLOCK + 200] ^= 1;
	assert_int_equal(ledger_segment_scan(bytes_of(bytes, size), true, NULL, NULL, &scan), STATUS_INVALID);
	memset(bytes + 2 * LEDGER_BLOCK, 0, LEDGER_BLOCK);
	assert_int_equal(ledger_segment_scan(bytes_of(bytes, size), true, NULL, NULL, &scan), STATUS_OK);
	assert_true(scan.torn);
	assert_int_equal(scan.at.sequence, 0);
	free(bytes);
}

static void bounded(void **state)
{
	(void)state;
	struct found found;
	segment_size = 0;
	struct ledger *ledger = open_well(&found);
	static uint8_t body[LEDGER_BODY_MAX];
	struct ledger_record record = { .kind = LEDGER_CERTIFICATE, .body = bytes_of(body, sizeof(body)) };
	enum status status = STATUS_OK;
	uint64_t taken = 0;
	for (; status == STATUS_OK; taken += status == STATUS_OK)
		status = ledger_append(ledger, &record);
	assert_int_equal(status, STATUS_BUSY);
	assert_true(taken * LEDGER_BODY_MAX <= LEDGER_PENDING_MAX);
	while (ledger_durable(ledger).sequence < taken)
		flush(ledger);
	ledger_close(ledger);
	ledger_close(open_well(&found));
	assert_int_equal(found.count, taken);
	segment_size = 4 * LEDGER_BLOCK;
}

/* Another node's files, brought here whole. */
static void of_another(void **state)
{
	(void)state;
	write_some(2);
	struct ledger_options options = { .dir = dir, .incarnation = incarnation + 1 };
	struct ledger *ledger;
	struct found found = { 0 };
	const char *why = NULL;
	assert_true(place_parse("eu/ie/eu-west-1/a/n1", &options.place, NULL));
	assert_int_equal(ledger_open(&options, count_record, &found, &ledger, &why), STATUS_CONFLICT);
	options.incarnation = incarnation;
	assert_true(place_parse("eu/ie/eu-west-1/a/n2", &options.place, NULL));
	assert_int_equal(ledger_open(&options, count_record, &found, &ledger, &why), STATUS_CONFLICT);
	assert_int_equal(found.count, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(kept), TEST(in_segments), TEST(torn), TEST(every_byte),
		TEST(damage_stops), TEST(other_order), TEST(sealed), TEST(bounded), TEST(of_another) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
