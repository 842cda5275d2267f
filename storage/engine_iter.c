/* storage/engine_iter.c: rows in order, as of one moment: for scans, digests and verification. */
#include "storage/engine_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

struct engine_iter {
	struct engine *engine;
	rocksdb_iterator_t *rocks;
	bool started;
	size_t prefix_size;
	uint8_t prefix[]; /* with the space's tag */
};

enum status engine_iter_open(struct engine *engine, enum engine_space space, struct bytes prefix, struct bytes after,
	struct engine_iter **out)
{
	*out = NULL;
	assert(engine_space_known((uint8_t)space));
	if (prefix.size > ENGINE_KEY_MAX || after.size > ENGINE_KEY_MAX)
		return STATUS_TOO_LARGE;
	struct engine_iter *iter = malloc(sizeof(*iter) + 1 + prefix.size);
	if (!iter)
		return STATUS_NO_MEMORY;
	*iter = (struct engine_iter){ .engine = engine, .prefix_size = 1 + prefix.size };
	iter->prefix[0] = (uint8_t)space;
	if (prefix.size > 0)
		memcpy(iter->prefix + 1, prefix.data, prefix.size);
	pthread_rwlock_rdlock(&engine->swap);
	enum status status = engine_usable(engine);
	if (status != STATUS_OK) {
		pthread_rwlock_unlock(&engine->swap);
		free(iter);
		return status;
	}
	engine->users++;
	iter->rocks = rocksdb_create_iterator(engine->db, engine->shared->read);
	pthread_rwlock_unlock(&engine->swap);
	if (after.size > 0 && bytes_compare(after, prefix) >= 0) {
		uint8_t from[2 + ENGINE_KEY_MAX]; /* the smallest key behind `after` is it and a NUL */
		from[0] = (uint8_t)space;
		memcpy(from + 1, after.data, after.size);
		from[1 + after.size] = 0;
		rocksdb_iter_seek(iter->rocks, (const char *)from, after.size + 2);
	} else {
		rocksdb_iter_seek(iter->rocks, (const char *)iter->prefix, iter->prefix_size);
	}
	*out = iter;
	return STATUS_OK;
}

static enum status iter_ended(struct engine_iter *iter)
{
	char *message = NULL;
	rocksdb_iter_get_error(iter->rocks, &message);
	return message ? engine_failed(iter->engine, message) : STATUS_END;
}

enum status engine_iter_next(struct engine_iter *iter, struct bytes *key, struct bytes *value)
{
	if (iter->started && rocksdb_iter_valid(iter->rocks))
		rocksdb_iter_next(iter->rocks);
	iter->started = true;
	if (!rocksdb_iter_valid(iter->rocks))
		return iter_ended(iter);
	size_t key_size, value_size;
	const char *key_data = rocksdb_iter_key(iter->rocks, &key_size);
	if (!bytes_starts_with(bytes_of(key_data, key_size), bytes_of(iter->prefix, iter->prefix_size)))
		return STATUS_END;
	const char *value_data = rocksdb_iter_value(iter->rocks, &value_size);
	*key = bytes_of(key_data + 1, key_size - 1);
	*value = bytes_of(value_data, value_size);
	return STATUS_OK;
}

void engine_iter_close(struct engine_iter *iter)
{
	if (!iter)
		return;
	rocksdb_iter_destroy(iter->rocks);
	iter->engine->users--;
	free(iter);
}

enum status engine_scan(struct engine *engine, enum engine_space space, struct bytes prefix, struct bytes after,
	uint32_t limit, size_t size_max, engine_scan_fn *fn, void *arg, bool *more)
{
	struct engine_iter *iter;
	struct bytes key, value;
	uint32_t rows = 0;
	size_t size = 0;
	*more = false;
	enum status status = engine_iter_open(engine, space, prefix, after, &iter);
	if (status != STATUS_OK)
		return status;
	while ((status = engine_iter_next(iter, &key, &value)) == STATUS_OK) {
		if ((limit != 0 && rows == limit) || (size_max != 0 && size > size_max)) {
			*more = true;
			break;
		}
		rows++;
		size += key.size + value.size;
		if (!fn(arg, key, value)) {
			*more = true;
			break;
		}
	}
	engine_iter_close(iter);
	return status == STATUS_END ? STATUS_OK : status;
}

static enum status digest_space(struct engine *engine, enum engine_space space, uint64_t *digest)
{
	struct engine_iter *iter;
	struct bytes key, value;
	enum status status = engine_iter_open(engine, space, bytes_of(NULL, 0), bytes_of(NULL, 0), &iter);
	if (status != STATUS_OK)
		return status;
	while ((status = engine_iter_next(iter, &key, &value)) == STATUS_OK) {
		*digest = hash64_seeded(key, *digest ^ (uint64_t)space);
		*digest = hash64_seeded(value, *digest);
	}
	engine_iter_close(iter);
	return status == STATUS_END ? STATUS_OK : status;
}

enum status engine_digest(struct engine *engine, uint64_t *digest)
{
	*digest = 0;
	enum status status = digest_space(engine, ENGINE_SPACE_KEYS, digest);
	return status == STATUS_OK ? digest_space(engine, ENGINE_SPACE_SESSIONS, digest) : status;
}

/* Through a handle of its own without a cache, so that every block of every table file comes from the disk. All files
 * are opened at once: compactions may unlink them meanwhile. */
enum status engine_verify(struct engine *engine)
{
	char path[ENGINE_PATH_MAX];
	char *message = NULL;
	engine_path(engine->shared, engine->id, "", path);
	pthread_rwlock_rdlock(&engine->swap);
	enum status status = engine_usable(engine);
	rocksdb_options_t *options = rocksdb_options_create_copy(engine->shared->options);
	rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
	rocksdb_readoptions_t *read = rocksdb_readoptions_create();
	rocksdb_block_based_options_set_no_block_cache(table, 1);
	rocksdb_options_set_block_based_table_factory(options, table);
	rocksdb_options_set_max_open_files(options, -1);
	rocksdb_readoptions_set_verify_checksums(read, 1);
	rocksdb_t *db = status == STATUS_OK ? rocksdb_open_for_read_only(options, path, 0, &message) : NULL;
	if (db && !message) {
		rocksdb_iterator_t *rocks = rocksdb_create_iterator(db, read);
		for (rocksdb_iter_seek_to_first(rocks); rocksdb_iter_valid(rocks);)
			rocksdb_iter_next(rocks);
		rocksdb_iter_get_error(rocks, &message);
		rocksdb_iter_destroy(rocks);
	}
	if (db)
		rocksdb_close(db);
	rocksdb_readoptions_destroy(read);
	rocksdb_block_based_options_destroy(table);
	rocksdb_options_destroy(options);
	if (message)
		status = engine_failed(engine, message);
	pthread_rwlock_unlock(&engine->swap);
	return status == STATUS_OK ? engine_health(engine) : status;
}
