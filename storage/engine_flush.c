/* storage/engine_flush.c: when and how memtables go to the disk. RocksDB never flushes by itself, for it does not look
 * at the free space first: here the sizes are kept, a flush is asked for when one memtable or the sum of all is above
 * its limit, and carried out by whoever owns the engine, on a thread that may wait.
 *
 * While the disk is short, flushes say NO_SPACE and memtables grow; engine_full says when that must end. Without a
 * write-ahead log RocksDB does not come back from a flush that found the disk full: hence the look before, and a
 * reserve; and if something else took the room meanwhile, engine_reopen.
 *
 * Sizes are under shared->lock. A memtable's is measured every MEASURE_BYTES, or MEASURE_APPLIES writes. */
#include "storage/engine_internal.h"

#include <assert.h>

enum {
	MEASURE_APPLIES = 16,
	MEASURE_BYTES = 256 << 10,
	DISK_RESERVE = 8 << 20,
	FULL_BUFFERS = 8,	   /* memtables of one engine, in units of their limit */
	MEMTABLE_LEAST = 16 << 10, /* not worth a file to come below the budget */
};

bool engine_disk_short(const struct engine_shared *shared, uint64_t size)
{
	uint64_t bytes;
	if (disk_free_bytes(shared->dir, &bytes) != STATUS_OK)
		return false; /* the write itself will tell */
	return bytes < size + DISK_RESERVE;
}

/* --- sizes --------------------------------------------------------------------------------------- */

static void unwant(struct engine *engine)
{
	if (!engine->flush_wanted)
		return;
	assert(engine->shared->wanted >= engine->memtable_wanted);
	engine->shared->wanted -= engine->memtable_wanted;
	engine->flush_wanted = false;
}

static void want(struct engine *engine)
{
	if (engine->flush_wanted)
		return;
	engine->memtable_wanted = engine->memtable;
	engine->shared->wanted += engine->memtable_wanted;
	engine->flush_wanted = true;
}

static void resize(struct engine *engine, uint64_t size)
{
	engine->shared->memtables += size - engine->memtable;
	engine->memtable = size;
}

void engine_memtable_gone(struct engine *engine)
{
	unwant(engine);
	resize(engine, 0);
	engine->unflushed = 0;
}

static void measure(struct engine *engine)
{
	uint64_t size = 0;
	if (rocksdb_property_int(engine->db, "rocksdb.cur-size-all-mem-tables", &size) == 0)
		resize(engine, size);
}

/* What is wanted already brings the sum down; for what is above the budget then, the largest of the others. */
static void want_largest(struct engine *writer)
{
	struct engine_shared *shared = writer->shared;
	struct engine *largest = NULL;
	LIST_EACH_SAFE(link, &shared->engines)
	{
		struct engine *other = LIST_ENTRY(link, struct engine, link);
		bool free_to_ask = other->memtable > MEMTABLE_LEAST && !other->flush_wanted && !other->flushing;
		if (free_to_ask && (!largest || other->memtable > largest->memtable))
			largest = other;
	}
	if (!largest)
		return;
	want(largest);
	if (largest != writer)
		shared->asked = true;
}

void engine_grown(struct engine *engine, size_t size)
{
	struct engine_shared *shared = engine->shared;
	engine->grown += size;
	engine->unflushed += size;
	if (engine->applies++ % MEASURE_APPLIES != 0 && engine->grown < MEASURE_BYTES)
		return;
	engine->grown = 0;
	pthread_mutex_lock(&shared->lock);
	measure(engine);
	if (engine->memtable >= shared->write_buffer_size && !engine->flushing)
		want(engine);
	if (shared->memtables > shared->write_buffer_budget + shared->wanted)
		want_largest(engine);
	pthread_mutex_unlock(&shared->lock);
}

bool engine_flush_wanted(const struct engine *engine)
{
	return engine->flush_wanted;
}

bool engine_shared_flush_wanted(struct engine_shared *shared)
{
	return shared->asked && atomic_exchange(&shared->asked, false);
}

bool engine_full(const struct engine *engine)
{
	struct engine_shared *shared = engine->shared;
	if (shared->memtables > 2 * shared->write_buffer_budget)
		return true;
	if (!engine->flush_wanted && !engine->flushing)
		return false;
	pthread_mutex_lock(&shared->lock);
	bool full = engine->memtable > FULL_BUFFERS * shared->write_buffer_size;
	pthread_mutex_unlock(&shared->lock);
	return full;
}

/* --- flushes ------------------------------------------------------------------------------------- */

enum status engine_flush_begin(struct engine *engine)
{
	enum status status = engine_writable(engine);
	if (status != STATUS_OK)
		return status;
	if (engine->flushing)
		return STATUS_BUSY;
	pthread_mutex_lock(&engine->shared->lock);
	measure(engine);
	uint64_t size = engine->memtable;
	pthread_mutex_unlock(&engine->shared->lock);
	if (engine_disk_short(engine->shared, 2 * size))
		return STATUS_NO_SPACE;
	engine->users++; /* no install takes the instance away */
	engine->flush_index = engine->applied_index;
	engine->flushing_bytes = engine->unflushed;
	engine->flushing = true;
	return STATUS_OK;
}

enum status engine_flush_run(struct engine *engine)
{
	char *message = NULL;
	assert(engine->flushing);
	rocksdb_flush(engine->db, engine->shared->flush, &message);
	return message ? engine_failed(engine, message) : engine_health(engine);
}

enum status engine_flush_end(struct engine *engine, enum status ran, uint64_t *flushed)
{
	assert(engine->flushing);
	assert(engine->flush_index >= engine->flushed);
	pthread_mutex_lock(&engine->shared->lock);
	measure(engine);
	if (ran == STATUS_OK)
		unwant(engine);
	engine->flushing = false;
	if (engine->memtable >= engine->shared->write_buffer_size)
		want(engine);
	pthread_mutex_unlock(&engine->shared->lock);
	assert(engine->users > 0);
	engine->users--;
	if (ran == STATUS_OK) {
		engine->flushed = engine->flush_index;
		engine->unflushed -= engine->flushing_bytes;
	}
	*flushed = engine->flushed;
	return ran;
}

enum status engine_flush(struct engine *engine, uint64_t *flushed)
{
	*flushed = engine->flushed;
	enum status status = engine_flush_begin(engine);
	if (status != STATUS_OK)
		return status;
	status = engine_flush_run(engine);
	return engine_flush_end(engine, status, flushed);
}

uint64_t engine_flushed(const struct engine *engine)
{
	return engine->flushed;
}
