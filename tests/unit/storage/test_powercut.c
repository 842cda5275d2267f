/* Journal and engine under a power cut (tests/lib/powercut.c): this program runs itself as a worker under the shim. The
 * worker says on its output what it was told is durable; after the cut all of that must be there, and what was never
 * synced must not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/disk.h"
#include "storage/engine.h"
#include "storage/journal.h"

/* A sanitizer's runtime wants to be loaded before any other. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNDER_SANITIZER 1
#else
#define UNDER_SANITIZER 0
#endif

static char dir[128], self[256], shim[300];

static void path_in(char *out, size_t size, const char *name)
{
	snprintf(out, size, "%s/%s", dir, name);
}

/* --- the worker -------------------------------------------------------------------------------------- */

static void last_entry(void *arg, const struct journal_entry *entry)
{
	*(uint64_t *)arg = entry->index;
}

static enum status open_journal(uint64_t *last, struct journal **journal)
{
	char path[256];
	path_in(path, sizeof(path), "journal");
	struct journal_options options = { .dir = path, .incarnation = 1, .segment_size = JOURNAL_SEGMENT_SIZE_MIN };
	struct journal_recovery recovery = { .arg = last, .entry = last_entry };
	*last = 0;
	return journal_open(&options, &recovery, journal);
}

static enum status apply(struct engine *engine, uint64_t index)
{
	struct engine_batch *batch = engine_batch_new();
	char key[32];
	snprintf(key, sizeof(key), "%llu", (unsigned long long)index);
	engine_batch_put(batch, ENGINE_SPACE_KEYS, bytes_text(key), bytes_text("value"));
	enum status status = engine_apply(engine, batch, index, 1);
	engine_batch_free(batch);
	return status;
}

/* with_flushes: the engine is flushed now and then, and the journal trimmed behind it. */
static int work(bool with_flushes)
{
	char unsynced[256];
	uint64_t last, ticket, flushed;
	struct journal *journal;
	struct engine_shared *shared;
	struct engine *engine;
	struct disk_file *file;
	struct engine_options options = { .dir = dir };
	struct bytes junk = bytes_text("never synced");
	bool reserve = false;
	path_in(unsynced, sizeof(unsynced), "unsynced");
	enum status status = open_journal(&last, &journal);
	if (status == STATUS_OK)
		status = engine_shared_open(&options, &shared);
	if (status == STATUS_OK)
		status = engine_open(shared, 1, true, &engine);
	if (status == STATUS_OK)
		status = disk_open(unsynced, DISK_CREATE, &file);
	if (status != STATUS_OK)
		return (int)status;
	for (uint64_t index = last + 1; index < 100000; index++) {
		static char body[700];
		struct journal_flush *flush;
		struct journal_entry entry = {
			.group = 1, .index = index, .term = 1, .body = bytes_of(body, sizeof(body))
		};
		status = journal_append_entry(journal, &entry, NULL);
		if (status != STATUS_OK || !journal_flush_begin(journal, &flush))
			return (int)status;
		status = journal_flush_end(journal, flush, journal_flush_run(flush), &ticket);
		if (status == STATUS_NO_SPACE) { /* the records wait; say so, and go on when told */
			printf("full %llu\n", (unsigned long long)index);
			fflush(stdout);
			if (getchar() == EOF)
				return (int)status;
			continue;
		}
		if (status == STATUS_OK && journal_full(journal) != reserve) {
			reserve = !reserve;
			printf("%s %llu\n", reserve ? "reserve" : "room", (unsigned long long)index);
		}
		if (status == STATUS_OK)
			status = apply(engine, index);
		if (status == STATUS_OK && with_flushes && index % 50 == 0)
			status = engine_flush(engine, &flushed);
		if (status == STATUS_OK && with_flushes && index % 50 == 0) {
			printf("flushed %llu\n", (unsigned long long)flushed);
			status = journal_trim(journal, 1, flushed - 40);
		}
		if (status == STATUS_OK)
			status = disk_write(file, index * 16, &junk, 1);
		if (status == STATUS_NO_SPACE)
			status = STATUS_OK; /* not the journal's, and not missed */
		if (status != STATUS_OK)
			return (int)status;
		printf("durable %llu\n", (unsigned long long)index);
		fflush(stdout);
	}
	return 0;
}

/* --- its parent -------------------------------------------------------------------------------------- */

static FILE *from_worker, *to_worker;
static pid_t worker;
static uint64_t durable, flushed_index, reserve_index, room_index;

static void start(const char *mode, const char *fail_sync)
{
	int out[2], in[2];
	assert_int_equal(pipe(out), 0);
	assert_int_equal(pipe(in), 0);
	worker = fork();
	assert_true(worker >= 0);
	if (worker == 0) {
		dup2(out[1], 1);
		dup2(in[0], 0);
		close(out[0]);
		close(in[1]);
		setenv("LD_PRELOAD", shim, 1);
		setenv("POWERCUT_DIR", dir, 1);
		if (fail_sync)
			setenv("POWERCUT_FAIL_SYNC", fail_sync, 1);
		execl(self, self, mode, dir, (char *)NULL);
		_exit(127);
	}
	close(out[1]);
	close(in[0]);
	from_worker = fdopen(out[0], "r");
	to_worker = fdopen(in[1], "w");
	durable = flushed_index = reserve_index = room_index = 0;
}

/* The next line; false at the worker's end. */
static bool hear(bool *full)
{
	char line[64];
	unsigned long long index;
	if (!fgets(line, sizeof(line), from_worker))
		return false;
	*full = sscanf(line, "full %llu", &index) == 1;
	if (sscanf(line, "durable %llu", &index) == 1)
		durable = index;
	if (sscanf(line, "flushed %llu", &index) == 1)
		flushed_index = index;
	if (sscanf(line, "reserve %llu", &index) == 1)
		reserve_index = index;
	if (sscanf(line, "room %llu", &index) == 1)
		room_index = index;
	return true;
}

static int ended(void)
{
	int code;
	bool full;
	while (hear(&full)) {
	}
	fclose(from_worker);
	fclose(to_worker);
	assert_int_equal(waitpid(worker, &code, 0), worker);
	assert_true(WIFEXITED(code));
	return WEXITSTATUS(code);
}

static void control(const char *name, bool on)
{
	char path[256];
	struct disk_file *file;
	path_in(path, sizeof(path), name);
	if (!on) {
		assert_int_equal(disk_remove(path), STATUS_OK);
		return;
	}
	assert_int_equal(disk_open(path, DISK_CREATE, &file), STATUS_OK);
	disk_close(file);
}

static void check_engine(void)
{
	struct engine_options options = { .dir = dir };
	struct engine_shared *shared;
	struct engine *engine;
	uint64_t index, term;
	struct buffer *row;
	assert_int_equal(engine_shared_open(&options, &shared), STATUS_OK);
	enum status status = engine_open(shared, 1, false, &engine);
	if (flushed_index > 0 || status == STATUS_OK) {
		assert_int_equal(status, STATUS_OK);
		engine_applied(engine, &index, &term);
		assert_true(index >= flushed_index);
		for (uint64_t i = 1; i <= index; i++) {
			char key[32];
			snprintf(key, sizeof(key), "%llu", (unsigned long long)i);
			assert_int_equal(engine_get(engine, ENGINE_SPACE_KEYS, bytes_text(key), &row), STATUS_OK);
			buffer_unref(row);
		}
		engine_close(engine);
	}
	engine_shared_close(shared);
}

static void check_after_cut(void)
{
	uint64_t last;
	struct journal *journal;
	char path[256];
	struct stat st;
	assert_int_equal(open_journal(&last, &journal), STATUS_OK);
	assert_true(last >= durable);
	journal_close(journal);
	check_engine();
	path_in(path, sizeof(path), "unsynced");
	assert_true(stat(path, &st) != 0 || st.st_size == 0); /* the shim did drop what was not synced */
}

static void build_shim(void)
{
	char command[1200];
	const char *cc = getenv("CC");
	snprintf(command, sizeof(command), "%s -std=gnu11 -O1 -shared -fPIC -o %s tests/lib/powercut.c -ldl -lpthread",
		cc ? cc : "cc", shim);
	assert_int_equal(system(command), 0);
}

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/domicile-powercut-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	char command[200];
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static void cut_after(unsigned lines)
{
	bool full;
	start("flushes", NULL);
	for (unsigned i = 0; i < lines; i++)
		assert_true(hear(&full));
	control(".cut", true);
	assert_int_equal(ended(), 137);
	control(".cut", false);
	check_after_cut();
}

static void acknowledged_survives(void **state)
{
	(void)state;
	if (UNDER_SANITIZER)
		skip();
	static const unsigned lines[] = { 1, 2, 30, 333, 1777 };
	for (unsigned i = 0; i < 5; i++) {
		cut_after(lines[i]);
		assert_int_equal(teardown(NULL), 0);
		assert_int_equal(setup(NULL), 0);
	}
}

static void failed_sync_is_final(void **state)
{
	(void)state;
	if (UNDER_SANITIZER)
		skip();
	start("flushes", "60");
	assert_int_equal(ended(), STATUS_IO);
	assert_true(durable > 0);
	check_engine();
}

static void full_disk_and_freed(void **state)
{
	(void)state;
	if (UNDER_SANITIZER)
		skip();
	bool full = false;
	start("journal", NULL);
	assert_true(hear(&full));
	control(".full", true);
	for (unsigned i = 0; i < 100000 && !full; i++)
		assert_true(hear(&full));
	assert_true(full); /* at an allocation, ahead of need; what was at hand, and more, went into the reserve */
	assert_true(reserve_index > 0);
	assert_true(durable > reserve_index + 20);
	control(".full", false);
	uint64_t before = durable;
	fputs("\n", to_worker);
	fflush(to_worker);
	while (durable < before + 20)
		assert_true(hear(&full));
	assert_true(room_index > before);
	control(".cut", true);
	assert_int_equal(ended(), 137);
	control(".cut", false);
	check_after_cut();
}

/* Without the shim, in this process: what the worker relies on. */
static void plain_life(void **state)
{
	(void)state;
	uint64_t last;
	struct journal *journal;
	assert_int_equal(open_journal(&last, &journal), STATUS_OK);
	assert_int_equal(last, 0);
	journal_close(journal);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(plain_life, setup, teardown),
		cmocka_unit_test_setup_teardown(acknowledged_survives, setup, teardown),
		cmocka_unit_test_setup_teardown(failed_sync_is_final, setup, teardown),
		cmocka_unit_test_setup_teardown(full_disk_and_freed, setup, teardown),
	};
	if (argc == 3) {
		snprintf(dir, sizeof(dir), "%s", argv[2]);
		return work(strcmp(argv[1], "flushes") == 0);
	}
	ssize_t size = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (size <= 0)
		return 1;
	self[size] = '\0';
	snprintf(shim, sizeof(shim), "%s.shim.so", self);
	if (!UNDER_SANITIZER)
		build_shim();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
