/* storage/engine.c: one engine. Reads may come from any thread, beside one writer; the swap lock keeps them off only
 * while an install replaces the instance.
 *
 * What is durable: the write-ahead log is off, so the disk has what was flushed (engine_flush.c), and a flush writes
 * whole memtables in order. The applied position is a row in the same batch as the rows that follow from it, so the
 * position that a reopened engine shows is the truth.
 */
#include "storage/engine_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/pack.h"

enum { POSITION_SIZE = 16 };
static const char position_key[] = "mapplied";

bool engine_space_known(uint8_t space)
{
	return space == ENGINE_SPACE_KEYS || space == ENGINE_SPACE_SESSIONS || space == ENGINE_SPACE_MARKS;
}

/* --- batches ------------------------------------------------------------------------------------- */

struct engine_batch *engine_batch_new(void)
{
	struct engine_batch *batch = calloc(1, sizeof(*batch));
	if (batch)
		batch->batch = rocksdb_writebatch_create();
	return batch;
}

void engine_batch_free(struct engine_batch *batch)
{
	if (!batch)
		return;
	rocksdb_writebatch_destroy(batch->batch);
	free(batch);
}

void engine_batch_clear(struct engine_batch *batch)
{
	rocksdb_writebatch_clear(batch->batch);
	batch->size = 0;
}

size_t engine_batch_size(const struct engine_batch *batch)
{
	return batch->size;
}

static const char *text_of(struct bytes bytes)
{
	return bytes.size ? bytes.data : "";
}

void engine_batch_put(struct engine_batch *batch, enum engine_space space, struct bytes key, struct bytes value)
{
	engine_batch_put_two(batch, space, key, value, bytes_of(NULL, 0));
}

void engine_batch_put_two(
	struct engine_batch *batch, enum engine_space space, struct bytes key, struct bytes head, struct bytes tail)
{
	assert(engine_space_known((uint8_t)space));
	assert(key.size <= ENGINE_KEY_MAX);
	char tag = (char)space;
	const char *keys[2] = { &tag, text_of(key) }, *values[2] = { text_of(head), text_of(tail) };
	const size_t key_sizes[2] = { 1, key.size }, value_sizes[2] = { head.size, tail.size };
	rocksdb_writebatch_putv(batch->batch, 2, keys, key_sizes, 2, values, value_sizes);
	batch->size += 1 + key.size + head.size + tail.size;
}

void engine_batch_delete(struct engine_batch *batch, enum engine_space space, struct bytes key)
{
	assert(engine_space_known((uint8_t)space));
	assert(key.size <= ENGINE_KEY_MAX);
	char tag = (char)space;
	const char *keys[2] = { &tag, text_of(key) };
	const size_t key_sizes[2] = { 1, key.size };
	rocksdb_writebatch_deletev(batch->batch, 2, keys, key_sizes);
	batch->size += 1 + key.size;
}

/* --- the applied position ------------------------------------------------------------------------ */

void engine_position_put(rocksdb_writebatch_t *batch, uint64_t index, uint64_t term)
{
	uint8_t row[POSITION_SIZE];
	struct packer packer;
	pack_init(&packer, row, sizeof(row));
	pack_u64(&packer, index);
	pack_u64(&packer, term);
	rocksdb_writebatch_put(batch, position_key, sizeof(position_key) - 1, (const char *)row, sizeof(row));
}

enum status engine_position_read(
	struct engine *engine, rocksdb_t *db, const rocksdb_readoptions_t *read, uint64_t *index, uint64_t *term)
{
	char *message = NULL;
	size_t size;
	*index = *term = 0;
	char *row = rocksdb_get(db, read, position_key, sizeof(position_key) - 1, &size, &message);
	if (message)
		return engine_failed(engine, message);
	if (!row)
		return STATUS_OK;
	struct unpacker unpacker;
	unpack_init(&unpacker, bytes_of(row, size));
	*index = unpack_u64(&unpacker);
	*term = unpack_u64(&unpacker);
	rocksdb_free(row);
	return unpack_end(&unpacker) ? STATUS_OK : STATUS_CORRUPT;
}

/* --- life ---------------------------------------------------------------------------------------- */

/* What is no fault of the files: an open that says something else has not found what was written. */
static bool environment_failed(const char *message)
{
	static const char *const reasons[] = { "Too many open files", "Input/output error", "Permission denied",
		"Cannot allocate memory", "Resource temporarily unavailable", "lock " };
	for (unsigned i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (strstr(message, reasons[i]))
			return true;
	return false;
}

enum status engine_db_open(struct engine_shared *shared, const char *path, enum engine_use use, rocksdb_t **db)
{
	char *message = NULL;
	bool create = use != ENGINE_EXISTS;
	rocksdb_options_t *options = rocksdb_options_create_copy(shared->options);
	if (use == ENGINE_INSTALLS)
		rocksdb_options_set_write_buffer_size(options, (size_t)shared->write_buffer_size);
	rocksdb_options_set_create_if_missing(options, create);
	rocksdb_options_set_error_if_exists(options, create);
	*db = rocksdb_open(options, path, &message);
	rocksdb_options_destroy(options);
	if (!message)
		return STATUS_OK;
	bool lost = use == ENGINE_EXISTS && !environment_failed(message);
	enum status status = engine_failed(NULL, message);
	return status == STATUS_IO && lost ? STATUS_CORRUPT : status;
}

static bool dir_exists(const char *path)
{
	struct disk_file *file;
	if (disk_open(path, DISK_READ_ONLY, &file) != STATUS_OK)
		return false;
	disk_close(file);
	return true;
}

static void join_shared(struct engine *engine)
{
	struct engine_shared *shared = engine->shared;
	pthread_rwlock_init(&engine->swap, NULL);
	pthread_mutex_lock(&shared->lock);
	list_push_back(&shared->engines, &engine->link);
	pthread_mutex_unlock(&shared->lock);
}

static enum status db_of(struct engine *engine, bool create)
{
	char path[ENGINE_PATH_MAX];
	engine_path(engine->shared, engine->id, "", path);
	bool there = dir_exists(path);
	if (there == create)
		return create ? STATUS_CONFLICT : STATUS_NOT_FOUND;
	enum status status = engine_db_open(engine->shared, path, create ? ENGINE_NEW : ENGINE_EXISTS, &engine->db);
	if (status != STATUS_OK)
		return status;
	uint64_t index, term;
	status = create ? disk_sync_dir(engine->shared->dir) : STATUS_OK;
	if (status == STATUS_OK)
		status = engine_position_read(engine, engine->db, engine->shared->read, &index, &term);
	if (status != STATUS_OK) {
		rocksdb_close(engine->db);
		return status;
	}
	engine->applied_index = engine->flushed = index;
	engine->applied_term = term;
	return STATUS_OK;
}

enum status engine_open(struct engine_shared *shared, uint64_t id, bool create, struct engine **out)
{
	*out = NULL;
	assert(!engine_find(shared, id));
	struct engine *engine = calloc(1, sizeof(*engine));
	if (!engine)
		return STATUS_NO_MEMORY;
	engine->shared = shared;
	engine->id = id;
	enum status status = create && engine_disk_short(shared, 0) ? STATUS_NO_SPACE : db_of(engine, create);
	if (status != STATUS_OK) {
		free(engine);
		return status;
	}
	join_shared(engine);
	*out = engine;
	return STATUS_OK;
}

enum status engine_open_damaged(struct engine_shared *shared, uint64_t id, struct engine **out)
{
	assert(!engine_find(shared, id));
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return STATUS_NO_MEMORY;
	(*out)->shared = shared;
	(*out)->id = id;
	(*out)->failure = STATUS_CORRUPT;
	join_shared(*out);
	return STATUS_OK;
}

bool engine_damaged(const struct engine *engine)
{
	return engine->failure == STATUS_CORRUPT;
}

void engine_close(struct engine *engine)
{
	if (!engine)
		return;
	assert(engine->users == 0);
	pthread_mutex_lock(&engine->shared->lock);
	list_remove(&engine->link);
	engine->shared->memtables -= engine->memtable;
	if (engine->flush_wanted)
		engine->shared->wanted -= engine->memtable_wanted;
	pthread_mutex_unlock(&engine->shared->lock);
	if (engine->db) {
		rocksdb_cancel_all_background_work(engine->db, 1);
		rocksdb_close(engine->db);
	}
	pthread_rwlock_destroy(&engine->swap);
	free(engine);
}

/* The position is what the files say; the state from there on is the caller's to write again. */
static enum status reopen(struct engine *engine)
{
	struct engine_shared *shared = engine->shared;
	char path[ENGINE_PATH_MAX];
	rocksdb_t *db;
	uint64_t index, term, before = engine->applied_index;
	engine_path(shared, engine->id, "", path);
	pthread_mutex_lock(&shared->lock);
	rocksdb_t *old = engine->db;
	engine_memtable_gone(engine);
	engine->db = NULL; /* for ever if the other does not open */
	pthread_mutex_unlock(&shared->lock);
	rocksdb_cancel_all_background_work(old, 1);
	rocksdb_close(old);
	enum status status = engine_db_open(shared, path, ENGINE_EXISTS, &db);
	if (status == STATUS_CORRUPT)
		engine->failure = STATUS_CORRUPT;
	if (status != STATUS_OK)
		return status;
	engine->failure = STATUS_OK;
	engine->errors_seen = 0;
	pthread_mutex_lock(&shared->lock);
	engine->db = db;
	pthread_mutex_unlock(&shared->lock);
	status = engine_position_read(engine, db, shared->read, &index, &term);
	if (status != STATUS_OK)
		return status;
	assert(index >= engine->flushed);
	assert(index <= before);
	engine->applied_index = engine->flushed = index;
	engine->applied_term = term;
	engine->behind = index < before ? before : 0;
	engine->behind_by = pthread_self();
	return STATUS_OK;
}

enum status engine_reopen(struct engine *engine)
{
	assert(!engine->flushing);
	pthread_rwlock_wrlock(&engine->swap);
	enum status status = engine->users > 0 ? STATUS_BUSY : engine_usable(engine);
	if (status == STATUS_OK)
		status = reopen(engine);
	pthread_rwlock_unlock(&engine->swap);
	return status;
}

uint64_t engine_id(const struct engine *engine)
{
	return engine->id;
}

enum status engine_usable(const struct engine *engine)
{
	if (engine->failure == STATUS_CORRUPT)
		return STATUS_CORRUPT;
	if (engine->failure != STATUS_OK && engine->failure != STATUS_NO_SPACE)
		return STATUS_IO;
	return engine->db ? STATUS_OK : STATUS_IO;
}

enum status engine_writable(const struct engine *engine)
{
	return engine->failure == STATUS_NO_SPACE ? STATUS_NO_SPACE : engine_usable(engine);
}

/* RocksDB counts failures of its background work and names them to the next write, if they stop it. A compaction that
 * found the disk full does not: it is tried again when there is room. So a new failure is judged by an empty write. */
enum status engine_health(struct engine *engine)
{
	uint64_t errors = 0;
	char *message = NULL;
	enum status status = engine_writable(engine);
	if (status != STATUS_OK)
		return status;
	if (rocksdb_property_int(engine->db, "rocksdb.background-errors", &errors) != 0 ||
		errors == engine->errors_seen)
		return STATUS_OK;
	rocksdb_writebatch_t *nothing = rocksdb_writebatch_create();
	rocksdb_write(engine->db, engine->shared->write, nothing, &message);
	rocksdb_writebatch_destroy(nothing);
	if (message)
		return engine_failed(engine, message);
	engine->errors_seen = errors;
	return STATUS_OK;
}

/* --- writes -------------------------------------------------------------------------------------- */

enum status engine_apply(struct engine *engine, struct engine_batch *batch, uint64_t index, uint64_t term)
{
	char *message = NULL;
	enum status status = engine_writable(engine);
	if (status != STATUS_OK)
		return status;
	assert(index >= engine->applied_index);
	assert(term >= engine->applied_term);
	engine_position_put(batch->batch, index, term);
	rocksdb_write(engine->db, engine->shared->write, batch->batch, &message);
	if (message)
		return engine_failed(engine, message);
	engine->applied_index = index;
	engine->applied_term = term;
	if (index >= engine->behind)
		engine->behind = 0;
	size_t size = batch->size;
	engine_batch_clear(batch);
	engine_grown(engine, size);
	return STATUS_OK;
}

void engine_applied(const struct engine *engine, uint64_t *index, uint64_t *term)
{
	*index = engine->applied_index;
	*term = engine->applied_term;
}

/* --- reads --------------------------------------------------------------------------------------- */

static enum status get(struct engine *engine, const rocksdb_readoptions_t *how, enum engine_space space,
	struct bytes key, struct buffer **row)
{
	char tagged[1 + ENGINE_KEY_MAX];
	char *message = NULL;
	*row = NULL;
	assert(engine_space_known((uint8_t)space));
	if (key.size > ENGINE_KEY_MAX)
		return STATUS_NOT_FOUND;
	tagged[0] = (char)space;
	if (key.size > 0)
		memcpy(tagged + 1, key.data, key.size);
	pthread_rwlock_rdlock(&engine->swap);
	enum status status = engine_usable(engine);
	if (engine->behind > 0 && !pthread_equal(engine->behind_by, pthread_self()))
		status = STATUS_BUSY;
	rocksdb_pinnableslice_t *slice = NULL;
	if (status == STATUS_OK)
		slice = rocksdb_get_pinned(engine->db, how, tagged, key.size + 1, &message);
	if (message && strncmp(message, "Result incomplete", strlen("Result incomplete")) == 0) {
		rocksdb_free(message);
		status = STATUS_BUSY;
	} else if (message) {
		status = engine_failed(engine, message);
	} else if (status == STATUS_OK && !slice) {
		status = STATUS_NOT_FOUND;
	}
	if (slice) {
		size_t size = 0;
		const char *value = rocksdb_pinnableslice_value(slice, &size);
		*row = buffer_copy(bytes_of(value, size));
		rocksdb_pinnableslice_destroy(slice);
		status = *row ? STATUS_OK : STATUS_NO_MEMORY;
	}
	pthread_rwlock_unlock(&engine->swap);
	return status;
}

enum status engine_get(struct engine *engine, enum engine_space space, struct bytes key, struct buffer **row)
{
	return get(engine, engine->shared->read, space, key, row);
}

/* A memtable's own account goes in steps of its blocks, which is too coarse for a small shard. */
uint64_t engine_size(struct engine *engine)
{
	uint64_t files = 0;
	pthread_rwlock_rdlock(&engine->swap);
	if (engine->db && rocksdb_property_int(engine->db, "rocksdb.live-sst-files-size", &files) != 0)
		files = 0;
	pthread_rwlock_unlock(&engine->swap);
	return files + engine->unflushed;
}

enum status engine_get_cached(struct engine *engine, enum engine_space space, struct bytes key, struct buffer **row)
{
	return get(engine, engine->shared->read_cached, space, key, row);
}
