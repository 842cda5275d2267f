/* storage/engine_snapshot.c: the state as a stream of chunks, out and in. Rows, not files: what a file looks like is
 * RocksDB's and changes with its version and options, rows are ours; and a receiver can check each of them.
 *
 * A chunk is u32 version, u32 rows, then each row as u8 space, u32 key size, key, u32 value size, value; then u64
 * XXH3-64 of all before it, seeded with the chunk's number from 0. The hash of the whole is the chain of these
 * checksums. The applied position is not among the rows: it comes with the snapshot's name and is written last. */
#include "storage/engine_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/pack.h"

enum { SNAPSHOT_VERSION = 1, CHUNK_HEAD = 8, CHUNK_TAIL = 8, ROW_HEAD = 9 };
static const char position_key[] = "mapplied";

/* Where in the stream a chunk stands: its number seeds its checksum, which goes into the hash of the whole. */
struct stream {
	uint64_t chunks, rows, hash;
};

static void stream_advance(struct stream *stream, uint32_t rows, uint64_t check)
{
	stream->chunks++;
	stream->rows += rows;
	stream->hash = hash64_seeded(bytes_of(&check, sizeof(check)), stream->hash);
}

/* --- out ----------------------------------------------------------------------------------------- */

struct engine_snapshot {
	struct engine *engine;
	const rocksdb_snapshot_t *rocks;
	rocksdb_readoptions_t *read;
	rocksdb_iterator_t *iter;
	uint64_t index, term;
	struct stream stream;
};

enum status engine_snapshot_open(struct engine *engine, struct engine_snapshot **out)
{
	*out = NULL;
	struct engine_snapshot *snapshot = calloc(1, sizeof(*snapshot));
	if (!snapshot)
		return STATUS_NO_MEMORY;
	pthread_rwlock_rdlock(&engine->swap);
	enum status status = engine_usable(engine);
	if (status != STATUS_OK) {
		pthread_rwlock_unlock(&engine->swap);
		free(snapshot);
		return status;
	}
	engine->users++;
	snapshot->engine = engine;
	snapshot->rocks = rocksdb_create_snapshot(engine->db);
	snapshot->read = rocksdb_readoptions_create();
	rocksdb_readoptions_set_verify_checksums(snapshot->read, 1);
	rocksdb_readoptions_set_fill_cache(snapshot->read, 0);
	rocksdb_readoptions_set_snapshot(snapshot->read, snapshot->rocks);
	status = engine_position_read(engine, engine->db, snapshot->read, &snapshot->index, &snapshot->term);
	snapshot->iter = rocksdb_create_iterator(engine->db, snapshot->read);
	rocksdb_iter_seek_to_first(snapshot->iter);
	pthread_rwlock_unlock(&engine->swap);
	if (status != STATUS_OK) {
		engine_snapshot_close(snapshot);
		return status;
	}
	*out = snapshot;
	return STATUS_OK;
}

void engine_snapshot_position(const struct engine_snapshot *snapshot, uint64_t *index, uint64_t *term)
{
	*index = snapshot->index;
	*term = snapshot->term;
}

void engine_snapshot_total(const struct engine_snapshot *snapshot, uint64_t *rows, uint64_t *hash)
{
	*rows = snapshot->stream.rows;
	*hash = snapshot->stream.hash;
}

/* The row that the iterator is at; false: there is none. Steps over the applied position. */
static bool row_at(struct engine_snapshot *snapshot, struct bytes *key, struct bytes *value)
{
	while (rocksdb_iter_valid(snapshot->iter)) {
		size_t key_size, value_size;
		const char *key_data = rocksdb_iter_key(snapshot->iter, &key_size);
		*key = bytes_of(key_data, key_size);
		if (!bytes_equal(*key, bytes_text(position_key))) {
			const char *value_data = rocksdb_iter_value(snapshot->iter, &value_size);
			*value = bytes_of(value_data, value_size);
			return true;
		}
		rocksdb_iter_next(snapshot->iter);
	}
	return false;
}

static size_t row_size(struct bytes key, struct bytes value)
{
	return ROW_HEAD + key.size - 1 + value.size; /* the tag is in the head */
}

enum status engine_snapshot_next(struct engine_snapshot *snapshot, size_t size_max, struct buffer **chunk)
{
	struct bytes key, value;
	char *message = NULL;
	*chunk = NULL;
	if (!row_at(snapshot, &key, &value)) {
		rocksdb_iter_get_error(snapshot->iter, &message);
		return message ? engine_failed(snapshot->engine, message) : STATUS_END;
	}
	size_t capacity = CHUNK_HEAD + CHUNK_TAIL + row_size(key, value);
	capacity = capacity < size_max ? size_max : capacity;
	struct buffer *buffer = buffer_new(capacity);
	if (!buffer)
		return STATUS_NO_MEMORY;
	struct packer packer;
	uint32_t rows = 0;
	pack_init(&packer, buffer->data, capacity);
	pack_u32(&packer, SNAPSHOT_VERSION);
	pack_u32(&packer, 0);
	do {
		if (rows > 0 && packer.size + row_size(key, value) + CHUNK_TAIL > capacity)
			break;
		assert(key.size >= 1);
		pack_u8(&packer, *(const uint8_t *)key.data);
		pack_bytes(&packer, bytes_of((const uint8_t *)key.data + 1, key.size - 1));
		pack_bytes(&packer, value);
		rows++;
		rocksdb_iter_next(snapshot->iter);
	} while (row_at(snapshot, &key, &value));
	struct packer head;
	pack_init(&head, buffer->data + 4, 4);
	pack_u32(&head, rows);
	uint64_t check = hash64_seeded(bytes_of(buffer->data, packer.size), snapshot->stream.chunks);
	pack_u64(&packer, check);
	assert(!packer.overflow);
	buffer->size = packer.size;
	stream_advance(&snapshot->stream, rows, check);
	*chunk = buffer;
	return STATUS_OK;
}

void engine_snapshot_close(struct engine_snapshot *snapshot)
{
	if (!snapshot)
		return;
	rocksdb_iter_destroy(snapshot->iter);
	rocksdb_readoptions_destroy(snapshot->read);
	rocksdb_release_snapshot(snapshot->engine->db, snapshot->rocks);
	snapshot->engine->users--;
	free(snapshot);
}

/* --- in ------------------------------------------------------------------------------------------ */

struct engine_install {
	struct engine_shared *shared;
	uint64_t id;
	rocksdb_t *db;
	struct stream stream;
	enum status failure; /* of a chunk: nothing can follow it */
};

enum status engine_install_begin(struct engine_shared *shared, uint64_t id, struct engine_install **out)
{
	char path[ENGINE_PATH_MAX];
	*out = NULL;
	engine_path(shared, id, ".incoming", path);
	struct engine_install *install = calloc(1, sizeof(*install));
	if (!install)
		return STATUS_NO_MEMORY;
	install->shared = shared;
	install->id = id;
	enum status status = engine_erase_dir(shared, path);
	if (status == STATUS_OK)
		status = engine_db_open(shared, path, ENGINE_INSTALLS, &install->db);
	if (status != STATUS_OK) {
		free(install);
		return status;
	}
	*out = install;
	return STATUS_OK;
}

static enum status rows_take(struct unpacker *unpacker, uint32_t rows, rocksdb_writebatch_t *batch)
{
	for (uint32_t i = 0; i < rows && !unpacker->bad; i++) {
		char space = (char)unpack_u8(unpacker);
		struct bytes key = unpack_bytes(unpacker, ENGINE_KEY_MAX);
		struct bytes value = unpack_bytes(unpacker, ENGINE_VALUE_MAX);
		if (unpacker->bad || !engine_space_known((uint8_t)space))
			return STATUS_CORRUPT;
		if (space == position_key[0] && bytes_equal(key, bytes_text(position_key + 1)))
			return STATUS_CORRUPT; /* ours to write */
		const char *keys[2] = { &space, key.size ? key.data : "" };
		const char *values[1] = { value.size ? value.data : "" };
		const size_t key_sizes[2] = { 1, key.size }, value_sizes[1] = { value.size };
		rocksdb_writebatch_putv(batch, 2, keys, key_sizes, 1, values, value_sizes);
	}
	return unpack_end(unpacker) ? STATUS_OK : STATUS_CORRUPT;
}

static enum status chunk_take(struct engine_install *install, struct bytes chunk)
{
	if (chunk.size < CHUNK_HEAD + CHUNK_TAIL)
		return STATUS_CORRUPT;
	if (engine_disk_short(install->shared, 2 * install->shared->write_buffer_size + chunk.size))
		return STATUS_NO_SPACE; /* what serves comes first */
	struct unpacker unpacker;
	size_t size = chunk.size - CHUNK_TAIL;
	unpack_init(&unpacker, bytes_of((const uint8_t *)chunk.data + size, CHUNK_TAIL));
	uint64_t check = unpack_u64(&unpacker);
	if (check != hash64_seeded(bytes_of(chunk.data, size), install->stream.chunks))
		return STATUS_CORRUPT;
	unpack_init(&unpacker, bytes_of(chunk.data, size));
	if (unpack_u32(&unpacker) != SNAPSHOT_VERSION)
		return STATUS_UNSUPPORTED;
	uint32_t rows = unpack_u32(&unpacker);
	char *message = NULL;
	rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
	enum status status = rows_take(&unpacker, rows, batch);
	if (status == STATUS_OK)
		rocksdb_write(install->db, install->shared->write, batch, &message);
	rocksdb_writebatch_destroy(batch);
	if (message)
		status = engine_failed(NULL, message);
	if (status == STATUS_OK)
		stream_advance(&install->stream, rows, check);
	return status;
}

enum status engine_install_chunk(struct engine_install *install, struct bytes chunk)
{
	if (install->failure == STATUS_OK)
		install->failure = chunk_take(install, chunk);
	return install->failure;
}

/* The position, everything to disk, and closed. */
static enum status seal(struct engine_install *install, uint64_t index, uint64_t term)
{
	char path[ENGINE_PATH_MAX];
	char *message = NULL;
	rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
	engine_position_put(batch, index, term);
	rocksdb_write(install->db, install->shared->write, batch, &message);
	rocksdb_writebatch_destroy(batch);
	if (!message)
		rocksdb_flush(install->db, install->shared->flush, &message);
	if (message)
		return engine_failed(NULL, message);
	rocksdb_close(install->db);
	install->db = NULL;
	engine_path(install->shared, install->id, ".incoming", path);
	return disk_sync_dir(path);
}

/* The decision: with .ready durable, a crash leaves the new state; before it, the old one. */
static enum status decide(const struct engine_install *install)
{
	char incoming[ENGINE_PATH_MAX], ready[ENGINE_PATH_MAX];
	engine_path(install->shared, install->id, ".incoming", incoming);
	engine_path(install->shared, install->id, ".ready", ready);
	enum status status = disk_rename(incoming, ready);
	return status == STATUS_OK ? disk_sync_dir(install->shared->dir) : status;
}

static enum status reopen(struct engine *engine, uint64_t index, uint64_t term)
{
	char path[ENGINE_PATH_MAX];
	struct engine_shared *shared = engine->shared;
	rocksdb_t *db;
	engine_path(shared, engine->id, "", path);
	enum status status = engine_db_open(shared, path, ENGINE_EXISTS, &db);
	if (status != STATUS_OK)
		return status;
	pthread_mutex_lock(&shared->lock);
	engine_memtable_gone(engine);
	engine->errors_seen = 0;
	engine->db = db;
	pthread_mutex_unlock(&shared->lock);
	engine->applied_index = engine->flushed = index;
	engine->applied_term = term;
	engine->behind = 0;
	engine->failure = STATUS_OK; /* the old instance's troubles are gone with it */
	return STATUS_OK;
}

static enum status put_in_place(struct engine_install *install, struct engine *engine, uint64_t index, uint64_t term)
{
	struct engine_shared *shared = install->shared;
	if (!engine) {
		enum status decided = decide(install);
		return decided == STATUS_OK ? engine_dir_replace(shared, install->id) : decided;
	}
	pthread_rwlock_wrlock(&engine->swap);
	enum status status = engine->users > 0 ? STATUS_BUSY : decide(install);
	if (status == STATUS_OK) {
		pthread_mutex_lock(&shared->lock);
		rocksdb_t *old = engine->db;
		engine->db = NULL; /* until it is reopened; for ever if that fails */
		pthread_mutex_unlock(&shared->lock);
		if (old) {
			rocksdb_cancel_all_background_work(old, 1);
			rocksdb_close(old);
		}
		status = engine_dir_replace(shared, install->id);
		if (status == STATUS_OK)
			status = reopen(engine, index, term);
	}
	pthread_rwlock_unlock(&engine->swap);
	return status;
}

enum status engine_install_finish(
	struct engine_install *install, uint64_t index, uint64_t term, uint64_t rows, uint64_t hash)
{
	enum status status = install->failure;
	if (status == STATUS_OK && (rows != install->stream.rows || hash != install->stream.hash))
		status = STATUS_CORRUPT;
	if (status == STATUS_OK)
		status = seal(install, index, term);
	if (status == STATUS_OK)
		status = put_in_place(install, engine_find(install->shared, install->id), index, term);
	engine_install_abort(install);
	return status;
}

void engine_install_abort(struct engine_install *install)
{
	char path[ENGINE_PATH_MAX];
	if (!install)
		return;
	if (install->db)
		rocksdb_close(install->db);
	engine_path(install->shared, install->id, ".incoming", path);
	enum status status = engine_erase_dir(install->shared, path);
	(void)status; /* what is left goes at the next start */
	free(install);
}
