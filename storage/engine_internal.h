/* storage/engine_internal.h: the engine's parts, by duty:
 *
 *   engine_shared.c    the cache, Env and budget of all engines; their directories: list, remove, leftovers
 *   engine.c           one engine: open, apply, get, health
 *   engine_flush.c     when and how memtables go to the disk, and what happens when it is full
 *   engine_compact.c   what was deleted leaves the disk, and what is left of an engine that was removed
 *   engine_iter.c      iterators, scan, digest, verify
 *   engine_label.c     what an engine is, outside of it
 *   engine_snapshot.c  the state as a stream of chunks, out and in
 *
 * RocksDB's types and messages go no further than these files; engine_failed is the one place where a message becomes a
 * status. */
#ifndef DOMICILE_STORAGE_ENGINE_INTERNAL_H
#define DOMICILE_STORAGE_ENGINE_INTERNAL_H

#include <pthread.h>
#include <rocksdb/c.h>
#include <stdatomic.h>

#include "base/list.h"
#include "storage/disk.h"
#include "storage/engine.h"

struct engine_shared {
	char dir[DISK_PATH_MAX - 64]; /* .../shards */
	uint64_t write_buffer_budget, write_buffer_size;
	rocksdb_env_t *env;
	rocksdb_cache_t *cache;
	rocksdb_options_t *options; /* of every engine */
	rocksdb_block_based_table_options_t *table;
	rocksdb_readoptions_t *read;
	rocksdb_readoptions_t *read_cached; /* never touches the disk */
	rocksdb_writeoptions_t *write;
	rocksdb_flushoptions_t *flush;
	pthread_mutex_t lock; /* engines, and what the fields below and in each engine name */
	struct list engines;
	_Atomic uint64_t memtables; /* sum of engine->memtable; written under the lock */
	uint64_t wanted;	    /* sum of engine->memtable_wanted, under the lock */
	_Atomic bool asked;	    /* an engine other than the one being written was asked to be flushed */
};

struct engine {
	struct engine_shared *shared;
	uint64_t id;
	struct list link;      /* shared->engines */
	pthread_rwlock_t swap; /* held for writing while an install puts another instance in */
	rocksdb_t *db;	       /* NULL: an install failed between the two */
	_Atomic uint64_t applied_index, applied_term;
	_Atomic uint64_t flushed;
	_Atomic uint32_t users;	      /* iterators and snapshots open */
	_Atomic int failure;	      /* enum status; OK: none; sticks */
	uint64_t memtable;	      /* bytes not flushed, about; under shared->lock */
	uint64_t memtable_wanted;     /* of it, as of when the flush was wanted; under shared->lock */
	_Atomic bool flush_wanted;    /* written under shared->lock */
	_Atomic bool flushing;	      /* from flush_begin to flush_end */
	_Atomic bool compacting;      /* from compact_begin to compact_end */
	uint64_t flush_index;	      /* applied when the flush began; the writer's */
	_Atomic uint64_t errors_seen; /* RocksDB's background errors that were found bearable */
	_Atomic uint64_t behind; /* reopened, and not readable by others until this is applied again; 0: readable */
	pthread_t behind_by;
	_Atomic uint64_t unflushed; /* bytes put since what the last flush took; flushing_bytes: those it takes */
	uint64_t flushing_bytes;
	uint64_t grown;	  /* bytes since the memtable was measured; the writer's */
	uint32_t applies; /* likewise */
};

struct engine_batch {
	rocksdb_writebatch_t *batch;
	size_t size;
};

enum { ENGINE_PATH_MAX = DISK_PATH_MAX };
/* "<dir>/<id as 16 hex digits><suffix>" */
void engine_path(const struct engine_shared *shared, uint64_t id, const char *suffix, char path[ENGINE_PATH_MAX]);
/* Frees the message. With an engine, it sticks. */
enum status engine_failed(struct engine *engine, char *message) MUST;
enum engine_use { ENGINE_NEW, ENGINE_EXISTS, ENGINE_INSTALLS }; /* the last flushes by itself: it is not in service */
enum status engine_db_open(struct engine_shared *shared, const char *path, enum engine_use use, rocksdb_t **db) MUST;
/* `size` bytes were written: keeps memtables near their limits by asking for flushes. */
void engine_grown(struct engine *engine, size_t size);
/* The engine begins anew with an empty memtable. Under shared->lock. */
void engine_memtable_gone(struct engine *engine);
/* There is no room for `size` bytes and a reserve. */
bool engine_disk_short(const struct engine_shared *shared, uint64_t size);
/* Reads the applied position of an instance; 0, 0 when it has none. */
enum status engine_position_read(
	struct engine *engine, rocksdb_t *db, const rocksdb_readoptions_t *read, uint64_t *index, uint64_t *term) MUST;
void engine_position_put(rocksdb_writebatch_t *batch, uint64_t index, uint64_t term);
/* Every file in it, then itself; its parent is synced. */
enum status engine_erase_dir(struct engine_shared *shared, const char *path) MUST;
/* <id>.ready takes the place of <id>; the old one is unlinked. Neither is open. */
enum status engine_dir_replace(struct engine_shared *shared, uint64_t id) MUST;
enum status engine_label_remove(struct engine_shared *shared, uint64_t id) MUST;
struct engine *engine_find(struct engine_shared *shared, uint64_t id); /* NULL: not open */
enum status engine_usable(const struct engine *engine) MUST;	       /* to read */
enum status engine_writable(const struct engine *engine) MUST;	       /* NO_SPACE: until it is reopened */
bool engine_space_known(uint8_t space);

#endif
