/* tests/unit/storage/test_search.c: what is on a disk is found, in every file and name, in slices of any size; random
 * rows in an engine and a journal among it, compressed as they are, and what a slice leaves the next one finds. */
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
#include "storage/journal.h"
#include "storage/search.h"

enum { SECRETS = 32, WHOLE = 1 << 30 };

static char dir[128];
static struct prng prng;
static struct needles needles;
static uint8_t secrets[SECRETS][NEEDLE_SECRET_SIZE];
static struct search_slice slice;

static int setup(void **state)
{
	uint8_t salt[NEEDLE_SALT_SIZE] = { 1 };
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/domicile-search-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	prng_seed(&prng, 11);
	needles_init(&needles, salt, prng_next(&prng));
	for (uint16_t i = 0; i < SECRETS; i++) {
		for (unsigned b = 0; b < NEEDLE_SECRET_SIZE; b++)
			secrets[i][b] = (uint8_t)prng_next(&prng);
		needles_add(&needles, i, secrets[i]);
	}
	needles_seal(&needles);
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

static void make(const char *name, size_t at, const uint8_t *secret, size_t size)
{
	char path[512];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	for (size_t i = 0; i < size; i++) {
		bool inside = secret && i >= at && i < at + NEEDLE_SECRET_SIZE;
		fputc(inside ? secret[i - at] : (int)(uint8_t)prng_next(&prng), file);
	}
	assert_int_equal(fclose(file), 0);
}

/* A secret's digits, so that no half of it is whole where a piece ends in its middle. */
static void make_digits(const char *name, size_t at, const uint8_t *secret, size_t size)
{
	char path[512];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	for (size_t i = 0; i < size; i++) {
		char digits[3] = "..";
		if (i >= at && i < at + NEEDLE_SECRET_SIZE)
			snprintf(digits, sizeof(digits), "%02x", secret[i - at]);
		assert_true(fputs(digits, file) >= 0);
	}
	assert_int_equal(fclose(file), 0);
}

static void make_dir(const char *name)
{
	char path[512];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(mkdir(path, 0700), 0);
}

struct total {
	unsigned hits, slices, unread;
	uint64_t size;
	bool of[SECRETS][SEARCH_LAYERS];
};

static struct total search(uint64_t budget, const char *log)
{
	struct search_place from = { 0 };
	struct total total = { 0 };
	do {
		assert_int_equal(search_files(dir, log, &from, &needles, budget, &slice), STATUS_OK);
		for (uint32_t i = 0; i < slice.count; i++) {
			assert_true(slice.at[i].of < SECRETS);
			total.hits++;
			total.of[slice.at[i].of][slice.at[i].layer] = true;
		}
		total.unread += slice.unread;
		total.size += slice.size;
		from = slice.next;
		assert_true(++total.slices < 100000);
	} while (from.stage != SEARCH_ENDED);
	return total;
}

static void test_every_file_in_slices(void **state)
{
	static const char *const names[] = { "ERASURES", "IDENTITY", "core.77", "journal/0000000000000001.seg",
		"ledger/0000000000000001.led", "shards/0000000000000004.label", "shards/0000000000000004/000012.sst",
		"shards/0000000000000004/LOG", "shards/0000000000000004/MANIFEST-000005", "zz/deep/er/note" };
	enum { NAMES = sizeof(names) / sizeof(names[0]) };
	uint64_t size = 0;
	(void)state;
	make_dir("journal");
	make_dir("ledger");
	make_dir("shards");
	make_dir("shards/0000000000000004");
	make_dir("zz");
	make_dir("zz/deep");
	make_dir("zz/deep/er");
	make_dir("empty");
	for (unsigned i = 0; i < NAMES; i++) {
		if (i % 2 == 0)
			make(names[i], 300000 - 20 * i, secrets[i], 400000);
		else
			make_digits(names[i], 131072 - 11 - i, secrets[i], 200000); /* across two pieces of 256 KiB */
		size += 400000;
	}
	make("nothing", 0, NULL, 0);
	for (uint64_t budget = 1; budget < 5000000; budget = 3 * budget + 7) {
		struct total total = search(budget, NULL);
		assert_int_equal(total.hits, NAMES);
		assert_int_equal(total.size, size);
		assert_int_equal(total.unread, 0);
		for (unsigned i = 0; i < NAMES; i++)
			assert_true(total.of[i][search_layer_of(names[i])]);
	}
	assert_int_equal(search(WHOLE, NULL).slices, 1);
	assert_false(slice.own_log);
}

static void test_names_and_the_log(void **state)
{
	char hex[2 * NEEDLE_SECRET_SIZE + 1], path[512], log[512];
	(void)state;
	for (unsigned i = 0; i < NEEDLE_SECRET_SIZE; i++)
		snprintf(hex + 2 * i, 3, "%02x", secrets[0][i]);
	snprintf(path, sizeof(path), "%s/%s", dir, hex);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/x", hex);
	make(path, 10, secrets[1], 100);
	snprintf(log, sizeof(log), "%s.log", dir);
	snprintf(path, sizeof(path), "../%s.log", strrchr(dir, '/') + 1);
	make(path, 5000, secrets[2], 9000);
	for (uint64_t budget = 1; budget < 100000; budget *= 10) {
		struct total total = search(budget, log);
		assert_true(total.of[0][SEARCH_FILE_NAME]);
		assert_true(total.of[1][SEARCH_OTHER]);
		assert_true(total.of[2][SEARCH_LOG]);
		assert_true(slice.own_log);
	}
	assert_int_equal(disk_remove(log), STATUS_OK);
}

/* What is no file is not opened: that may never return. */
static void test_what_cannot_be_read_is_told(void **state)
{
	char path[512];
	(void)state;
	snprintf(path, sizeof(path), "%s/pipe", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	make("there", 0, secrets[0], 100);
	struct total total = search(WHOLE, NULL);
	assert_int_equal(total.unread, 1);
	assert_string_equal(slice.unread_path, "pipe");
	assert_true(total.of[0][SEARCH_OTHER]);
	assert_int_equal(search(WHOLE, "/nowhere/at/all").unread, 1); /* NOT_FOUND of the log is gone, not unread */
}

/* More than fits into one answer. */
static void test_many_hits(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		char name[32], path[512];
		snprintf(name, sizeof(name), "%03u", i);
		snprintf(path, sizeof(path), "%s/%s", dir, name);
		FILE *file = fopen(path, "w");
		assert_non_null(file);
		for (unsigned s = 0; s < SECRETS; s++)
			assert_int_equal(fwrite(secrets[s], NEEDLE_SECRET_SIZE, 1, file), 1);
		assert_int_equal(fclose(file), 0);
	}
	struct total total = search(WHOLE, NULL);
	assert_int_equal(total.hits, 100 * SECRETS);
	assert_true(total.slices > 3);
}

/* Rows as a replica has them, beside rows that compress well and begin alike: compression leaves random bytes as they
 * are, and takes at most a few at their ends. */
static void test_rows_of_an_engine(void **state)
{
	struct engine_options options = { .dir = dir };
	struct engine_shared *shared;
	struct engine *engine;
	uint64_t flushed;
	(void)state;
	assert_int_equal(engine_shared_open(&options, &shared), STATUS_OK);
	assert_int_equal(engine_open(shared, 4, true, &engine), STATUS_OK);
	struct engine_batch *batch = engine_batch_new();
	assert_non_null(batch);
	char value[2000];
	memset(value, 'v', sizeof(value));
	for (unsigned i = 0; i < SECRETS / 2; i++) {
		uint8_t key[64] = "pat/eu/domicile-canary/",
			stored[9 + NEEDLE_SECRET_SIZE] = { 0, 0, 0, 0, 0, 0, 0, 1, 1 };
		size_t word = strlen((char *)key);
		memcpy(key + word, secrets[2 * i], NEEDLE_SECRET_SIZE);
		memcpy(stored + 9, secrets[2 * i + 1], NEEDLE_SECRET_SIZE);
		engine_batch_put(batch, ENGINE_SPACE_KEYS, bytes_of(key, word + NEEDLE_SECRET_SIZE),
			bytes_of(stored, sizeof(stored)));
		for (unsigned j = 0; j < 20; j++) {
			for (unsigned b = 3; b < NEEDLE_SECRET_SIZE; b++) /* begins as its neighbour does */
				key[word + b] = (uint8_t)prng_next(&prng);
			engine_batch_put(batch, ENGINE_SPACE_KEYS, bytes_of(key, word + NEEDLE_SECRET_SIZE),
				bytes_of(value, sizeof(value)));
		}
	}
	assert_int_equal(engine_apply(engine, batch, 1, 1), STATUS_OK);
	assert_int_equal(engine_flush(engine, &flushed), STATUS_OK);
	struct total total = search(WHOLE, NULL);
	for (unsigned i = 0; i < SECRETS; i++)
		assert_true(total.of[i][SEARCH_TABLES]);
	for (unsigned i = 0; i < SECRETS; i++)
		assert_false(total.of[i][SEARCH_ENGINE_LOG]);
	engine_batch_free(batch);
	engine_close(engine);
	engine_shared_close(shared);
}

/* Large bodies are compressed, with the secrets in the middle of what repeats. */
static void test_bodies_of_a_journal(void **state)
{
	char path[160];
	struct journal_options options = { .dir = path, .incarnation = 7, .segment_size = JOURNAL_SEGMENT_SIZE_MIN };
	struct journal_recovery recovery = { .arg = NULL };
	struct journal *journal;
	struct journal_flush *flush;
	uint64_t durable;
	(void)state;
	snprintf(path, sizeof(path), "%s/journal", dir);
	assert_int_equal(journal_open(&options, &recovery, &journal), STATUS_OK);
	assert_int_equal(journal_append_state(journal, 9, 1, 0), STATUS_OK);
	for (unsigned i = 0; i < SECRETS; i++) {
		struct buffer *body = buffer_new(6000 + i);
		assert_non_null(body);
		for (size_t b = 0; b < body->size; b++)
			body->data[b] = (uint8_t)(b % 16);
		memcpy(body->data + 3000 + i, secrets[i], NEEDLE_SECRET_SIZE);
		body->data[3000 + i + NEEDLE_SECRET_SIZE] = secrets[i][NEEDLE_SECRET_SIZE - 1];
		struct journal_entry entry = { .group = 9, .index = i + 1, .term = 1, .kind = 2 };
		assert_int_equal(journal_append_entry(journal, &entry, body), STATUS_OK);
		buffer_unref(body);
	}
	assert_true(journal_flush_begin(journal, &flush));
	assert_int_equal(journal_flush_end(journal, flush, journal_flush_run(flush), &durable), STATUS_OK);
	struct total total = search(WHOLE, NULL);
	for (unsigned i = 0; i < SECRETS; i++)
		assert_true(total.of[i][SEARCH_JOURNAL]);
	journal_close(journal);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_every_file_in_slices, setup, teardown),
		cmocka_unit_test_setup_teardown(test_names_and_the_log, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_cannot_be_read_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_hits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rows_of_an_engine, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bodies_of_a_journal, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
