/* storage/engine_shared.c: what all engines of a node share, and their directories. A directory's name says what it is:
 * <id> is an engine, <id>.incoming one that is being received, <id>.ready one that was received whole and is to take
 * the place of <id>, <id>.removing one that is being unlinked. The last three are what a crash can leave: at the next
 * start ready is put in its place, the others are unlinked. A file <id>.label says what <id> is (engine_label.c). */
#include "storage/engine_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ID_DIGITS = 16, MEMTABLE_ARENA_MIN = 64 << 10 };
static const uint64_t MEMTABLE_NEVER_FULL = UINT64_C(32) << 30; /* RocksDB flushes when it is asked to, and only then */

void engine_path(const struct engine_shared *shared, uint64_t id, const char *suffix, char path[ENGINE_PATH_MAX])
{
	int length = snprintf(path, ENGINE_PATH_MAX, "%s/%016llx%s", shared->dir, (unsigned long long)id, suffix);
	assert(length > 0);
	assert(length < ENGINE_PATH_MAX);
}

/* RocksDB's answers begin with their kind. Busy and TryAgain have no place in how it is used here. */
enum status engine_failed(struct engine *engine, char *message)
{
	assert(message);
	enum status status = STATUS_IO;
	if (strncmp(message, "Corruption", 10) == 0 || strstr(message, "Corruption:"))
		status = STATUS_CORRUPT;
	else if (strstr(message, "No space left"))
		status = STATUS_NO_SPACE;
	rocksdb_free(message);
	int none = STATUS_OK;
	if (engine)
		__atomic_compare_exchange_n(
			(int *)&engine->failure, &none, (int)status, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	return status;
}

/* What has no function in the C API. Without it a close would flush, whatever room the disk has. */
static enum status set_options_by_name(struct engine_shared *shared)
{
	char *message = NULL;
	rocksdb_options_t *options = rocksdb_options_create();
	rocksdb_get_options_from_string(shared->options, "avoid_flush_during_shutdown=true", options, &message);
	if (message) {
		rocksdb_options_destroy(options);
		return engine_failed(NULL, message);
	}
	rocksdb_options_destroy(shared->options);
	shared->options = options;
	return STATUS_OK;
}

static void set_options(struct engine_shared *shared, const struct engine_options *from)
{
	rocksdb_options_t *options = shared->options;
	rocksdb_options_set_env(options, shared->env);
	rocksdb_options_set_paranoid_checks(options, 1);
	rocksdb_options_set_write_buffer_size(options, (size_t)MEMTABLE_NEVER_FULL);
	rocksdb_options_set_arena_block_size(options, MEMTABLE_ARENA_MIN);
	rocksdb_options_set_max_write_buffer_number(options, 3);
	rocksdb_options_set_max_open_files(options, (int)(from->files_max ? from->files_max : 64));
	rocksdb_options_set_max_file_opening_threads(options, 1);
	rocksdb_options_set_skip_stats_update_on_db_open(options, 1);
	rocksdb_options_set_stats_dump_period_sec(options, 0);
	rocksdb_options_set_stats_persist_period_sec(options, 0);
	rocksdb_options_set_keep_log_file_num(options, 1);
	rocksdb_options_set_max_log_file_size(options, 64 << 10);
	rocksdb_options_set_info_log_level(options, 4); /* only what is fatal: its log may quote keys */
	rocksdb_options_set_recycle_log_file_num(options, 0);
	/* Anew with each change of the list of tables: it names keys, and those of tables that are gone go with it. */
	rocksdb_options_set_max_manifest_file_size(options, 0);
	rocksdb_options_set_compression(options, rocksdb_lz4_compression);
	rocksdb_options_set_target_file_size_base(options, 16 << 20);
	rocksdb_options_set_max_bytes_for_level_base(options, 64 << 20);
	rocksdb_options_set_level_compaction_dynamic_level_bytes(options, 1);

	rocksdb_block_based_options_set_block_cache(shared->table, shared->cache);
	rocksdb_block_based_options_set_cache_index_and_filter_blocks(shared->table, 1);
	rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(shared->table, 0);
	rocksdb_block_based_options_set_filter_policy(shared->table, rocksdb_filterpolicy_create_bloom_full(10));
	rocksdb_block_based_options_set_format_version(shared->table, 5);
	rocksdb_options_set_block_based_table_factory(options, shared->table);

	rocksdb_readoptions_set_verify_checksums(shared->read, 1);
	rocksdb_readoptions_set_verify_checksums(shared->read_cached, 1);
	rocksdb_readoptions_set_read_tier(shared->read_cached, 1); /* kBlockCacheTier */
	rocksdb_writeoptions_disable_WAL(shared->write, 1);
	rocksdb_flushoptions_set_wait(shared->flush, 1);
}

static bool name_parse(const char *name, uint64_t *id, const char **suffix)
{
	char digits[ID_DIGITS + 1], *end;
	if (strlen(name) < ID_DIGITS || strspn(name, "0123456789abcdef") < ID_DIGITS)
		return false;
	memcpy(digits, name, ID_DIGITS);
	digits[ID_DIGITS] = '\0';
	*id = strtoull(digits, &end, 16);
	*suffix = name + ID_DIGITS;
	return *end == '\0';
}

struct unlinking {
	const char *dir;
	enum status status;
};

static bool unlink_name(void *arg, const char *name)
{
	struct unlinking *unlinking = arg;
	char path[ENGINE_PATH_MAX];
	int length = snprintf(path, sizeof(path), "%s/%s", unlinking->dir, name);
	unlinking->status = length > 0 && (size_t)length < sizeof(path) ? disk_remove(path) : STATUS_TOO_LARGE;
	return unlinking->status == STATUS_OK;
}

enum status engine_erase_dir(struct engine_shared *shared, const char *path)
{
	struct unlinking unlinking = { path, STATUS_OK };
	enum status status = disk_list(path, unlink_name, &unlinking);
	if (status == STATUS_NOT_FOUND)
		return STATUS_OK;
	if (status == STATUS_OK)
		status = unlinking.status;
	if (status == STATUS_OK)
		status = disk_sync_dir(path);
	if (status == STATUS_OK && rmdir(path) != 0)
		status = STATUS_IO;
	return status == STATUS_OK ? disk_sync_dir(shared->dir) : status;
}

struct listing {
	const char *suffix; /* only names that end so */
	uint64_t *ids;
	size_t count, capacity;
	enum status status;
};

static bool list_name(void *arg, const char *name)
{
	struct listing *listing = arg;
	uint64_t id;
	const char *suffix;
	if (!name_parse(name, &id, &suffix) || strcmp(suffix, listing->suffix) != 0)
		return true;
	if (listing->count == listing->capacity) {
		size_t capacity = listing->capacity ? 2 * listing->capacity : 64;
		uint64_t *ids = realloc(listing->ids, capacity * sizeof(*ids));
		if (!ids) {
			listing->status = STATUS_NO_MEMORY;
			return false;
		}
		listing->ids = ids;
		listing->capacity = capacity;
	}
	listing->ids[listing->count++] = id;
	return true;
}

static int by_id(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

/* The caller frees listing->ids, also after a failure. */
static enum status list_ids(const struct engine_shared *shared, const char *suffix, struct listing *listing)
{
	*listing = (struct listing){ .suffix = suffix, .status = STATUS_OK };
	enum status status = disk_list(shared->dir, list_name, listing);
	if (listing->count > 1)
		qsort(listing->ids, listing->count, sizeof(*listing->ids), by_id);
	return status == STATUS_OK ? listing->status : status;
}

enum status engine_list(struct engine_shared *shared, engine_list_fn *fn, void *arg)
{
	struct listing listing;
	enum status status = list_ids(shared, "", &listing);
	for (size_t i = 0; i < listing.count && status == STATUS_OK; i++)
		if (!fn(arg, listing.ids[i]))
			break;
	free(listing.ids);
	return status;
}

enum status engine_dir_replace(struct engine_shared *shared, uint64_t id)
{
	char path[ENGINE_PATH_MAX], ready[ENGINE_PATH_MAX], removing[ENGINE_PATH_MAX];
	engine_path(shared, id, "", path);
	engine_path(shared, id, ".ready", ready);
	engine_path(shared, id, ".removing", removing);
	enum status status = engine_erase_dir(shared, removing);
	if (status == STATUS_OK) {
		status = disk_rename(path, removing);
		if (status == STATUS_NOT_FOUND)
			status = STATUS_OK; /* there was none, or a crash came between the two */
	}
	if (status == STATUS_OK)
		status = disk_rename(ready, path);
	if (status == STATUS_OK)
		status = disk_sync_dir(shared->dir);
	return status == STATUS_OK ? engine_erase_dir(shared, removing) : status;
}

/* Labels whose engine is gone. */
static enum status tidy_labels(struct engine_shared *shared)
{
	struct listing labels, engines;
	enum status status = list_ids(shared, ".label", &labels);
	enum status listed = list_ids(shared, "", &engines);
	if (status == STATUS_OK)
		status = listed;
	for (size_t i = 0, at = 0; i < labels.count && status == STATUS_OK; i++) {
		while (at < engines.count && engines.ids[at] < labels.ids[i])
			at++;
		if (at == engines.count || engines.ids[at] != labels.ids[i])
			status = engine_label_remove(shared, labels.ids[i]);
	}
	free(labels.ids);
	free(engines.ids);
	return status;
}

/* What crashes left: an install that was decided is completed, all else goes. */
static enum status tidy(struct engine_shared *shared)
{
	static const char *const leftovers[] = { ".ready", ".incoming", ".removing" };
	enum status status = STATUS_OK;
	for (unsigned kind = 0; kind < 3 && status == STATUS_OK; kind++) {
		struct listing listing;
		status = list_ids(shared, leftovers[kind], &listing);
		for (size_t i = 0; i < listing.count && status == STATUS_OK; i++) {
			char path[ENGINE_PATH_MAX];
			engine_path(shared, listing.ids[i], leftovers[kind], path);
			status =
				kind == 0 ? engine_dir_replace(shared, listing.ids[i]) : engine_erase_dir(shared, path);
		}
		free(listing.ids);
	}
	return status == STATUS_OK ? tidy_labels(shared) : status;
}

enum status engine_shared_open(const struct engine_options *options, struct engine_shared **out)
{
	*out = NULL;
	struct engine_shared *shared = calloc(1, sizeof(*shared));
	if (!shared)
		return STATUS_NO_MEMORY;
	int length = snprintf(shared->dir, sizeof(shared->dir), "%s/shards", options->dir);
	enum status status =
		length > 0 && (size_t)length < sizeof(shared->dir) ? disk_make_dir(shared->dir) : STATUS_TOO_LARGE;
	if (status == STATUS_OK)
		status = disk_sync_dir(options->dir);
	if (status == STATUS_OK)
		status = tidy(shared);
	if (status != STATUS_OK) {
		free(shared);
		return status;
	}
	list_init(&shared->engines);
	pthread_mutex_init(&shared->lock, NULL);
	shared->write_buffer_budget = options->write_buffer_budget ? options->write_buffer_budget : 64 << 20;
	shared->write_buffer_size = options->write_buffer_size ? options->write_buffer_size : 4 << 20;
	shared->env = rocksdb_create_default_env();
	shared->cache = rocksdb_cache_create_lru((size_t)(options->cache_size ? options->cache_size : 64 << 20));
	shared->options = rocksdb_options_create();
	shared->table = rocksdb_block_based_options_create();
	shared->read = rocksdb_readoptions_create();
	shared->read_cached = rocksdb_readoptions_create();
	shared->write = rocksdb_writeoptions_create();
	shared->flush = rocksdb_flushoptions_create();
	int threads = (int)(options->threads ? options->threads : 2);
	rocksdb_env_set_background_threads(shared->env, threads);
	rocksdb_env_set_high_priority_background_threads(shared->env, threads);
	rocksdb_options_set_max_background_jobs(shared->options, 2 * threads);
	set_options(shared, options);
	status = set_options_by_name(shared);
	if (status != STATUS_OK) {
		engine_shared_close(shared);
		return status;
	}
	*out = shared;
	return STATUS_OK;
}

void engine_shared_close(struct engine_shared *shared)
{
	if (!shared)
		return;
	assert(list_empty(&shared->engines));
	rocksdb_flushoptions_destroy(shared->flush);
	rocksdb_writeoptions_destroy(shared->write);
	rocksdb_readoptions_destroy(shared->read);
	rocksdb_readoptions_destroy(shared->read_cached);
	rocksdb_options_destroy(shared->options);
	rocksdb_block_based_options_destroy(shared->table);
	rocksdb_cache_destroy(shared->cache);
	rocksdb_env_destroy(shared->env);
	pthread_mutex_destroy(&shared->lock);
	free(shared);
}

struct engine *engine_find(struct engine_shared *shared, uint64_t id)
{
	struct engine *found = NULL;
	pthread_mutex_lock(&shared->lock);
	LIST_EACH_SAFE(link, &shared->engines)
	{
		struct engine *engine = LIST_ENTRY(link, struct engine, link);
		if (engine->id == id)
			found = engine;
	}
	pthread_mutex_unlock(&shared->lock);
	return found;
}

struct engine_memory engine_shared_memory(struct engine_shared *shared)
{
	pthread_mutex_lock(&shared->lock);
	struct engine_memory memory = { .cache = rocksdb_cache_get_usage(shared->cache),
		.memtables = shared->memtables };
	pthread_mutex_unlock(&shared->lock);
	return memory;
}

enum status engine_remove(struct engine_shared *shared, uint64_t id)
{
	char path[ENGINE_PATH_MAX], removing[ENGINE_PATH_MAX];
	assert(!engine_find(shared, id));
	engine_path(shared, id, "", path);
	engine_path(shared, id, ".removing", removing);
	enum status status = engine_erase_dir(shared, removing); /* of a removal that failed half way */
	if (status == STATUS_OK)
		status = disk_rename(path, removing);
	if (status == STATUS_OK)
		status = engine_label_remove(shared, id);
	if (status == STATUS_OK)
		status = disk_sync_dir(shared->dir);
	return status == STATUS_OK ? engine_erase_dir(shared, removing) : status;
}
