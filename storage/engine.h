/* storage/engine.h: the state of a replica: ordered rows in one RocksDB instance a replica, under shards/<id>/ of the
 * data directory. No write-ahead log: the journal is it. The applied index is in the same atomic write as the rows that
 * follow from it, so an engine is always the state at exactly one index.
 *
 * An engine_shared is one cache, one Env, one budget of write buffers for all engines of a node; it must outlive them.
 * Threads: reads (get, iterators, snapshots, digest, verify) and engine_flush_run from any; writes of one engine, its
 * flush, close and install from one thread at a time. A failure inside RocksDB, also in the background, makes every
 * later call of that engine fail with IO or CORRUPT: stop the replica, or (CORRUPT) install another state in its place.
 *
 * A full disk is no failure as long as it is seen in time, so nothing is flushed but by engine_flush*, which look at
 * the free space first and say NO_SPACE: reads and writes go on, in memory, until engine_full says that it is time to
 * refuse more. A compaction that finds the disk full is tried again by RocksDB. Only a flush that does, because the
 * room went while it wrote, is a failure; the next process finds the engine as it was flushed last. */
#ifndef DOMICILE_STORAGE_ENGINE_H
#define DOMICILE_STORAGE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/status.h"

struct engine_shared;
struct engine;
struct engine_batch;
struct engine_iter;
struct engine_snapshot;
struct engine_install;

enum engine_space {
	ENGINE_SPACE_KEYS = 'k',     /* what users wrote */
	ENGINE_SPACE_SESSIONS = 's', /* what was done for which client */
	ENGINE_SPACE_MARKS = 'm', /* small named rows: membership, fences, the applied position ("applied" is ours) */
};
enum { ENGINE_KEY_MAX = 8192, ENGINE_VALUE_MAX = 16 << 20 }; /* of one row; above what a user may write */

/* Zero means the default, where one is named. */
struct engine_options {
	const char *dir;	      /* the data directory; shards/ is made in it */
	uint64_t cache_size;	      /* bytes of blocks, index and filters in memory; default 64 MiB */
	uint64_t write_buffer_budget; /* bytes of all memtables; above it the largest wants a flush; default 64 MiB */
	uint64_t write_buffer_size;   /* of one engine; default 4 MiB */
	uint32_t threads;	      /* for flushes and compactions of all engines; default 2 */
	uint32_t files_max;	      /* table files one engine keeps open; default 64 */
};

struct engine_memory {
	uint64_t cache, memtables; /* bytes in use */
};

/* Deletes what crashes left over of removals and installs. */
enum status engine_shared_open(const struct engine_options *options, struct engine_shared **shared) MUST;
void engine_shared_close(struct engine_shared *shared); /* all engines are closed */
struct engine_memory engine_shared_memory(struct engine_shared *shared);
/* The ids that exist, rising; until the callback says false. The callback may open and remove engines. */
typedef bool engine_list_fn(void *arg, uint64_t id);
enum status engine_list(struct engine_shared *shared, engine_list_fn *fn, void *arg) MUST;
/* Physical: every file is unlinked and the directory synced when it returns. The engine is not open. NOT_FOUND. */
enum status engine_remove(struct engine_shared *shared, uint64_t id) MUST;

/* Everything whose name says that it is of this id, which is not open: removed if it is there, then looked for again.
 * *left: how many names are there still. */
enum status engine_leftovers(struct engine_shared *shared, uint64_t id, uint64_t *left) MUST;

/* create: CONFLICT if it exists. Otherwise NOT_FOUND if it does not. CORRUPT: it can not be opened. */
enum status engine_open(struct engine_shared *shared, uint64_t id, bool create, struct engine **engine) MUST;
/* For one that cannot be opened, or read: a handle at position 0 for which everything says CORRUPT until an install
 * takes its place. Its files stay until then. */
enum status engine_open_damaged(struct engine_shared *shared, uint64_t id, struct engine **engine) MUST;
bool engine_damaged(const struct engine *engine); /* something that was read is not what was written; sticks */
void engine_close(struct engine *engine);	  /* does not flush; its iterators and snapshots are closed */
/* Its state is what was flushed last, its position that of it or a later one up to what was applied: all above is to be
 * applied again, by this thread; until then engine_get says BUSY to others. BUSY: iterators or snapshots are open. */
enum status engine_reopen(struct engine *engine) MUST;
uint64_t engine_id(const struct engine *engine);
enum status engine_health(
	struct engine *engine) MUST; /* asks for background errors too; every second is often enough */

/* A few bytes beside the engine that say what it is, for when it cannot be read any more: replaced as a whole, gone
 * with engine_remove. NOT_FOUND: none was ever written. CORRUPT: it is damaged itself. NO_SPACE: the old one stands. */
enum status engine_label_write(struct engine_shared *shared, uint64_t id, struct bytes label) MUST;
enum status engine_label_read(struct engine_shared *shared, uint64_t id, struct buffer **label) MUST;

/* Rows to be written together. Keys and values are copied. The last word on a key wins. */
struct engine_batch *engine_batch_new(void) MUST; /* NULL: no memory */
void engine_batch_free(struct engine_batch *batch);
void engine_batch_clear(struct engine_batch *batch);
size_t engine_batch_size(const struct engine_batch *batch); /* bytes */
void engine_batch_put(struct engine_batch *batch, enum engine_space space, struct bytes key, struct bytes value);
void engine_batch_put_two(struct engine_batch *batch, enum engine_space space, struct bytes key, struct bytes head,
	struct bytes tail); /* the value is one after the other */
void engine_batch_delete(struct engine_batch *batch, enum engine_space space, struct bytes key);

/* One atomic write of the rows and of the applied position, which never falls. The batch is left cleared if OK. */
enum status engine_apply(struct engine *engine, struct engine_batch *batch, uint64_t index, uint64_t term) MUST;
void engine_applied(const struct engine *engine, uint64_t *index, uint64_t *term); /* 0, 0: nothing yet */
/* The newest memtable to disk, synced; *flushed: the applied index that is durable now. NO_SPACE: nothing was flushed,
 * what was durable is. BUSY: one is under way. */
enum status engine_flush(struct engine *engine, uint64_t *flushed) MUST;
/* The same in three steps, so that the writer goes on while the disk is waited for: begin and end are the writer's, run
 * is any thread's. An engine is not closed between begin and end; `ran` is what run said, or CANCELLED if it did not
 * run. *flushed as above: what was applied when it began. */
enum status engine_flush_begin(struct engine *engine) MUST;
enum status engine_flush_run(struct engine *engine) MUST;
enum status engine_flush_end(struct engine *engine, enum status ran, uint64_t *flushed) MUST;
/* The memtable, or the sum of all and this one is the largest, has reached its limit. */
bool engine_flush_wanted(const struct engine *engine);
/* True once after a flush was wanted of an engine because another one was written: look at all of them. */
bool engine_shared_flush_wanted(struct engine_shared *shared);
/* So much is waiting for a flush that nothing more should be taken on. */
bool engine_full(const struct engine *engine);
/* What was deleted or overwritten before the last flush leaves the disk: every file that the engine has is written
 * anew, and the old ones are gone when run says OK. BUSY: not all are yet (a snapshot, an iterator), ask again later;
 * NO_SPACE likewise. It costs one write of the engine's whole size. Steps as with a flush; begin is BUSY while one is
 * under way. cancel: from any thread; a run under way ends soon, with BUSY, and so does every later one. */
enum status engine_compact_begin(struct engine *engine) MUST;
enum status engine_compact_run(struct engine *engine) MUST;
void engine_compact_end(struct engine *engine);
void engine_compact_cancel(struct engine *engine);
uint64_t engine_flushed(const struct engine *engine); /* known to be durable: as of the last flush that ended OK */

/* Bytes of the rows, about: of its files, and what was put since the last flush. What a copy of it would take, as far
 * as nothing was written over since files were last merged. */
uint64_t engine_size(struct engine *engine);

/* NOT_FOUND. The row is the caller's reference. */
enum status engine_get(struct engine *engine, enum engine_space space, struct bytes key, struct buffer **row) MUST;
/* The same without blocking: BUSY when it would have to read the disk. */
enum status engine_get_cached(
	struct engine *engine, enum engine_space space, struct bytes key, struct buffer **row) MUST;

/* Rows whose key begins with prefix, in bytewise order, behind `after` (empty: from the first), as of the call. On
 * failure *iter is NULL. */
enum status engine_iter_open(struct engine *engine, enum engine_space space, struct bytes prefix, struct bytes after,
	struct engine_iter **iter) MUST;
/* END: no more. Views last until the next call. */
enum status engine_iter_next(struct engine_iter *iter, struct bytes *key, struct bytes *value) MUST;
void engine_iter_close(struct engine_iter *iter);
/* Rows one by one until `limit` rows or more than `size_max` bytes of keys and values were given (0: no such bound).
 * *more: there are others. A callback that says false ends it. */
typedef bool engine_scan_fn(void *arg, struct bytes key, struct bytes value);
enum status engine_scan(struct engine *engine, enum engine_space space, struct bytes prefix, struct bytes after,
	uint32_t limit, size_t size_max, engine_scan_fn *fn, void *arg, bool *more) MUST;

/* The whole state at one applied position, as chunks of rows that any later version can read. */
enum status engine_snapshot_open(struct engine *engine, struct engine_snapshot **snapshot) MUST;
void engine_snapshot_position(const struct engine_snapshot *snapshot, uint64_t *index, uint64_t *term);
/* At least one row, whatever its size; otherwise at most size_max bytes. END: there is no more, and the totals are
 * known. */
enum status engine_snapshot_next(struct engine_snapshot *snapshot, size_t size_max, struct buffer **chunk) MUST;
void engine_snapshot_total(const struct engine_snapshot *snapshot, uint64_t *rows, uint64_t *hash);
void engine_snapshot_close(struct engine_snapshot *snapshot);

/* A snapshot comes in beside the engine of that id, in shards/<id>.incoming/, and takes its place at once in finish, or
 * not at all: a crash leaves the old or the new. An open engine keeps its handle and has the new state afterwards; its
 * iterators and snapshots must be closed (else BUSY). Without one, the engine exists afterwards and is not open.
 * CORRUPT: the bytes are not a snapshot's, or not the whole of this one; the old state stands. finish and abort free
 * the install, also when they fail. */
enum status engine_install_begin(struct engine_shared *shared, uint64_t id, struct engine_install **install) MUST;
enum status engine_install_chunk(struct engine_install *install, struct bytes chunk) MUST;
enum status engine_install_finish(
	struct engine_install *install, uint64_t index, uint64_t term, uint64_t rows, uint64_t hash) MUST;
void engine_install_abort(struct engine_install *install);

enum status engine_verify(struct engine *engine) MUST; /* reads everything against its checksums: OK or CORRUPT or IO */
/* Of keys and sessions, in order: equal on replicas that applied the same. */
enum status engine_digest(struct engine *engine, uint64_t *digest) MUST;

#endif
