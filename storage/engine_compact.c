/* storage/engine_compact.c: what was deleted leaves the disk. A deletion is a row like any other until a compaction
 * meets it together with what it deletes, and in RocksDB that may be never: files that nobody writes to are not looked
 * at, and neither its periodic compaction (a level a period) nor its ttl promises a time. So every file is written
 * anew. The list of tables (MANIFEST) names the first and last key of each: it is begun anew when the tables have been.
 *
 * That it is so is not believed but looked at: none of the names that were in the directory at the begin may be there.
 */
#include "storage/engine_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	NAME_SIZE = 40, /* "MANIFEST-000012", "000012.sst" */
	ID_DIGITS = 16,
	ROOM_MAX = 512 << 20, /* bytes that one step of a compaction may write before it deletes */
	FORCE_OPTIMIZED = 3,  /* BottommostLevelCompaction: the last level too, but nothing twice */
};

struct names {
	char (*at)[NAME_SIZE];
	size_t count, capacity, left; /* left: found again */
	enum status status;
};

static bool holds_rows(const char *name)
{
	size_t size = strlen(name);
	return size < NAME_SIZE &&
	       (strncmp(name, "MANIFEST-", 9) == 0 || (size > 4 && strcmp(name + size - 4, ".sst") == 0));
}

static bool name_take(void *arg, const char *name)
{
	struct names *names = arg;
	if (!holds_rows(name))
		return true;
	if (names->count == names->capacity) {
		size_t capacity = names->capacity ? 2 * names->capacity : 64;
		char(*at)[NAME_SIZE] = realloc(names->at, capacity * sizeof(*at));
		if (!at) {
			names->status = STATUS_NO_MEMORY;
			return false;
		}
		names->at = at;
		names->capacity = capacity;
	}
	snprintf(names->at[names->count++], NAME_SIZE, "%s", name);
	return true;
}

static bool name_again(void *arg, const char *name)
{
	struct names *names = arg;
	for (size_t i = 0; i < names->count; i++)
		names->left += strcmp(names->at[i], name) == 0;
	return true;
}

static enum status begin_list_anew(struct engine *engine)
{
	static const char *const keys[] = { "disable_auto_compactions" }, *const values[] = { "false" };
	char *message = NULL;
	rocksdb_set_options(engine->db, 1, keys, values, &message); /* as it is: but the change is listed */
	if (!message)
		rocksdb_enable_file_deletions(engine->db, 1, &message); /* they are: but it looks for what may go */
	return message ? engine_failed(engine, message) : engine_health(engine);
}

static bool pinned(struct engine *engine)
{
	uint64_t snapshots = 0;
	return rocksdb_property_int(engine->db, "rocksdb.num-snapshots", &snapshots) != 0 || snapshots > 0;
}

static bool room(struct engine *engine)
{
	uint64_t tables = 0, memtable = 0;
	if (rocksdb_property_int(engine->db, "rocksdb.total-sst-files-size", &tables) != 0 ||
		rocksdb_property_int(engine->db, "rocksdb.cur-size-all-mem-tables", &memtable) != 0)
		return false;
	return !engine_disk_short(engine->shared, (tables < ROOM_MAX ? tables : ROOM_MAX) + 2 * memtable);
}

enum status engine_compact_begin(struct engine *engine)
{
	enum status status = engine_writable(engine);
	if (status != STATUS_OK)
		return status;
	if (engine->compacting)
		return STATUS_BUSY;
	engine->users++; /* no install takes the instance away */
	engine->compacting = true;
	return STATUS_OK;
}

static void compact(struct engine *engine)
{
	rocksdb_compactoptions_t *options = rocksdb_compactoptions_create();
	rocksdb_compactoptions_set_exclusive_manual_compaction(options, 0);
	rocksdb_compactoptions_set_bottommost_level_compaction(options, FORCE_OPTIMIZED);
	rocksdb_compact_range_opt(engine->db, options, NULL, 0, NULL, 0); /* how it went is seen by what is there */
	rocksdb_compactoptions_destroy(options);
}

enum status engine_compact_run(struct engine *engine)
{
	struct names names = { .status = STATUS_OK };
	char path[ENGINE_PATH_MAX];
	assert(engine->compacting);
	if (!room(engine))
		return STATUS_NO_SPACE;
	if (pinned(engine))
		return STATUS_BUSY;
	engine_path(engine->shared, engine->id, "", path);
	enum status status = disk_list(path, name_take, &names);
	if (status == STATUS_OK)
		status = names.status;
	if (status == STATUS_OK) {
		compact(engine);
		status = begin_list_anew(engine);
	}
	if (status == STATUS_OK)
		status = disk_list(path, name_again, &names);
	free(names.at);
	if (status == STATUS_OK && (names.left > 0 || pinned(engine)))
		status = STATUS_BUSY;
	return status;
}

void engine_compact_end(struct engine *engine)
{
	assert(engine->compacting);
	assert(engine->users > 0);
	engine->compacting = false;
	engine->users--;
}

void engine_compact_cancel(struct engine *engine)
{
	if (engine->db)
		rocksdb_disable_manual_compaction(engine->db);
}

/* --- what is left of an engine that was removed -------------------------------------------------- */

struct leftovers {
	struct engine_shared *shared;
	char digits[ID_DIGITS + 1];
	bool remove;
	uint64_t count;
	enum status status;
};

static bool leftover(void *arg, const char *name)
{
	struct leftovers *leftovers = arg;
	char path[ENGINE_PATH_MAX];
	if (strncmp(name, leftovers->digits, ID_DIGITS) != 0)
		return true;
	leftovers->count++;
	if (!leftovers->remove)
		return true;
	int length = snprintf(path, sizeof(path), "%s/%s", leftovers->shared->dir, name);
	if (length < 0 || (size_t)length >= sizeof(path))
		leftovers->status = STATUS_TOO_LARGE;
	else if (strstr(name, ".label"))
		leftovers->status = disk_remove(path);
	else
		leftovers->status = engine_erase_dir(leftovers->shared, path);
	return leftovers->status == STATUS_OK;
}

enum status engine_leftovers(struct engine_shared *shared, uint64_t id, uint64_t *left)
{
	struct leftovers leftovers = { .shared = shared, .remove = true, .status = STATUS_OK };
	assert(!engine_find(shared, id));
	snprintf(leftovers.digits, sizeof(leftovers.digits), "%016llx", (unsigned long long)id);
	enum status status = disk_list(shared->dir, leftover, &leftovers);
	if (status == STATUS_OK)
		status = leftovers.status;
	if (status == STATUS_OK && leftovers.count > 0)
		status = disk_sync_dir(shared->dir);
	leftovers.remove = false;
	leftovers.count = 0;
	if (status == STATUS_OK)
		status = disk_list(shared->dir, leftover, &leftovers);
	*left = leftovers.count;
	return status;
}
