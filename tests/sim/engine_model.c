/* tests/sim/engine_model.c: storage/engine.h for the simulator. Tables are immutable once shared and copied on write,
 * so that flushed states, snapshots and iterators are references. */
#include "tests/sim/engine_model.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/list.h"
#include "base/pack.h"
#include "storage/disk.h"
#include "storage/engine.h"

struct row {
	uint32_t refs;
	uint32_t key_size, value_size;
	uint8_t data[]; /* space tag and key, then value */
};

struct table {
	uint32_t refs;
	uint64_t index, term;
	size_t count, capacity;
	struct row **rows; /* by key */
};

/* What is on the modelled disk under one id. */
struct stored {
	struct list link;
	uint64_t id;
	struct table *flushed;		  /* survives a crash; NULL: was created and never flushed */
	struct row **stale;		  /* rows of tables before it: on the disk until a compaction */
	size_t stale_count, stale_marked; /* the first so many */
	struct buffer *label;
	struct engine *open;
	bool damaged; /* until another state is installed */
};

struct shelf { /* one data directory */
	struct list link;
	char dir[256];
	struct list engines;
	uint64_t generation; /* +1 with each crash: handles of before are dead */
	int failing;
};

struct engine_shared {
	struct shelf *shelf;
	uint64_t generation, write_buffer_size;
};

struct engine {
	struct engine_shared *shared;
	uint64_t id;
	struct table *table;
	uint64_t flushed, dirty; /* dirty: bytes applied since */
	bool flushing, stuck;	 /* stuck: a flush found the disk full */
	bool compacting;
	bool damaged; /* something has met the damage */
	uint64_t calls;
	struct table *begun; /* the state when the flush began */
	uint64_t begun_dirty;
};

struct operation {
	bool deletes;
	struct row *row;
};
struct engine_batch {
	struct operation *operations;
	size_t count, capacity, size;
};

struct engine_iter {
	struct table *table;
	size_t at;
	uint8_t prefix[ENGINE_KEY_MAX + 1];
	size_t prefix_size;
};
struct engine_snapshot {
	struct table *table;
	size_t at;
	uint64_t rows, hash;
};
struct engine_install {
	struct engine_shared *shared;
	uint64_t id;
	struct table *table;
	uint64_t rows, hash;
};

enum { WRITE_BUFFER_SIZE = 4 << 10, DISK_UNLIMITED = 1 << 30, STALE_MAX = 4096 };

static struct list shelves;
static unsigned cold, reads; /* one in `cold` of these misses the cache */

static void *must(void *memory)
{
	if (memory == NULL)
		abort();
	return memory;
}

/* --- rows and tables ------------------------------------------------------------------------------------------------
 */

static struct row *row_new(enum engine_space space, struct bytes key, struct bytes head, struct bytes tail)
{
	struct row *row = must(malloc(sizeof(*row) + 1 + key.size + head.size + tail.size));

	row->refs = 1;
	row->key_size = (uint32_t)key.size + 1;
	row->value_size = (uint32_t)(head.size + tail.size);
	row->data[0] = (uint8_t)space;
	if (key.size > 0)
		memcpy(row->data + 1, key.data, key.size);
	if (head.size > 0)
		memcpy(row->data + row->key_size, head.data, head.size);
	if (tail.size > 0)
		memcpy(row->data + row->key_size + head.size, tail.data, tail.size);
	return row;
}

static void row_unref(struct row *row)
{
	if (--row->refs == 0)
		free(row);
}

static struct bytes row_key(const struct row *row)
{
	return bytes_of(row->data, row->key_size);
}

static struct bytes row_value(const struct row *row)
{
	return bytes_of(row->data + row->key_size, row->value_size);
}

static struct table *table_new(void)
{
	struct table *table = must(calloc(1, sizeof(*table)));

	table->refs = 1;
	return table;
}

static struct table *table_ref(struct table *table)
{
	table->refs++;
	return table;
}

static void table_unref(struct table *table)
{
	if (table == NULL || --table->refs > 0)
		return;
	for (size_t i = 0; i < table->count; i++)
		row_unref(table->rows[i]);
	free(table->rows);
	free(table);
}

/* First row whose key is not less. */
static size_t table_find(const struct table *table, struct bytes key, bool *found)
{
	size_t low = 0, high = table->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (bytes_compare(row_key(table->rows[middle]), key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*found = low < table->count && bytes_equal(row_key(table->rows[low]), key);
	return low;
}

static void table_own(struct table **table)
{
	struct table *copy;

	if ((*table)->refs == 1)
		return;
	copy = table_new();
	copy->index = (*table)->index;
	copy->term = (*table)->term;
	copy->count = (*table)->count;
	copy->capacity = copy->count + 16;
	copy->rows = must(malloc(copy->capacity * sizeof(struct row *)));
	for (size_t i = 0; i < copy->count; i++) {
		copy->rows[i] = (*table)->rows[i];
		copy->rows[i]->refs++;
	}
	table_unref(*table);
	*table = copy;
}

static void table_put(struct table *table, struct row *row)
{
	bool found;
	size_t at = table_find(table, row_key(row), &found);

	row->refs++;
	if (found) {
		row_unref(table->rows[at]);
		table->rows[at] = row;
		return;
	}
	if (table->count == table->capacity) {
		table->capacity = table->capacity * 2 + 16;
		table->rows = must(realloc(table->rows, table->capacity * sizeof(struct row *)));
	}
	memmove(table->rows + at + 1, table->rows + at, (table->count - at) * sizeof(struct row *));
	table->rows[at] = row;
	table->count++;
}

static void table_delete(struct table *table, struct bytes key)
{
	bool found;
	size_t at = table_find(table, key, &found);

	if (!found)
		return;
	row_unref(table->rows[at]);
	table->count--;
	memmove(table->rows + at, table->rows + at + 1, (table->count - at) * sizeof(struct row *));
}

/* --- shelves --------------------------------------------------------------------------------------------------------
 */

static struct shelf *shelf_of(const char *dir)
{
	struct shelf *shelf;

	if (shelves.next == NULL)
		list_init(&shelves);
	for (struct list *at = shelves.next; at != &shelves; at = at->next) {
		shelf = LIST_ENTRY(at, struct shelf, link);
		if (strcmp(shelf->dir, dir) == 0)
			return shelf;
	}
	shelf = must(calloc(1, sizeof(*shelf)));
	assert(strlen(dir) < sizeof(shelf->dir));
	strcpy(shelf->dir, dir);
	list_init(&shelf->engines);
	list_push_back(&shelves, &shelf->link);
	return shelf;
}

static struct stored *stored_find(const struct shelf *shelf, uint64_t id)
{
	for (struct list *at = shelf->engines.next; at != &shelf->engines; at = at->next) {
		struct stored *stored = LIST_ENTRY(at, struct stored, link);

		if (stored->id == id)
			return stored;
	}
	return NULL;
}

static struct stored *stored_add(struct shelf *shelf, uint64_t id)
{
	struct stored *stored = must(calloc(1, sizeof(*stored)));
	struct list *at = shelf->engines.next;

	stored->id = id;
	while (at != &shelf->engines && LIST_ENTRY(at, struct stored, link)->id < id)
		at = at->next;
	list_push_back(at, &stored->link); /* before `at`: rising ids */
	return stored;
}

static void stale_forget(struct stored *stored)
{
	for (size_t i = 0; i < stored->stale_count; i++)
		row_unref(stored->stale[i]);
	free(stored->stale);
	stored->stale = NULL;
	stored->stale_count = stored->stale_marked = 0;
}

/* Another table takes the place of what was flushed. What it has no more, or otherwise, stays on the disk. */
static void stored_flush(struct stored *stored, struct table *table)
{
	struct table *old = stored->flushed;

	if (stored->stale_count > STALE_MAX)
		stale_forget(stored); /* it compacts by itself too, sooner or later */
	if (old != NULL && old->count > 0)
		stored->stale = must(realloc(stored->stale, (stored->stale_count + old->count) * sizeof(struct row *)));
	for (size_t i = 0; old != NULL && i < old->count; i++) {
		bool found;
		size_t at = table_find(table, row_key(old->rows[i]), &found);

		if (found && table->rows[at] == old->rows[i])
			continue;
		old->rows[i]->refs++;
		stored->stale[stored->stale_count++] = old->rows[i];
	}
	stored->flushed = table_ref(table);
	table_unref(old);
}

static void stored_free(struct stored *stored)
{
	list_remove(&stored->link);
	stale_forget(stored);
	table_unref(stored->flushed);
	buffer_unref(stored->label);
	free(stored);
}

static bool dead(const struct engine_shared *shared)
{
	return shared->generation != shared->shelf->generation;
}

void engine_model_crash(const char *dir)
{
	struct shelf *shelf = shelf_of(dir);

	shelf->generation++;
	for (struct list *at = shelf->engines.next, *next; at != &shelf->engines; at = next) {
		struct stored *stored = LIST_ENTRY(at, struct stored, link);

		next = at->next;
		stored->open = NULL;
		if (stored->flushed == NULL)
			stored->flushed = table_new(); /* RocksDB made an empty instance */
	}
}

void engine_model_rows(const char *dir, engine_model_row_fn *fn, void *arg)
{
	struct shelf *shelf = shelf_of(dir);

	for (struct list *at = shelf->engines.next; at != &shelf->engines; at = at->next) {
		struct stored *stored = LIST_ENTRY(at, struct stored, link);
		struct table *tables[2] = { stored->flushed, stored->open == NULL ? NULL : stored->open->table };

		for (unsigned t = 0; t < 2; t++) {
			for (size_t i = 0; tables[t] != NULL && i < tables[t]->count; i++)
				fn(arg, stored->id, row_key(tables[t]->rows[i]), row_value(tables[t]->rows[i]));
		}
		for (size_t i = 0; i < stored->stale_count; i++)
			fn(arg, stored->id, row_key(stored->stale[i]), row_value(stored->stale[i]));
	}
}

size_t engine_model_stale(const char *dir, uint64_t id, bool mark)
{
	struct stored *stored = stored_find(shelf_of(dir), id);

	if (stored != NULL && mark)
		stored->stale_marked = stored->stale_count;
	return stored == NULL ? 0 : stored->stale_marked;
}

void engine_model_fail(const char *dir, int status)
{
	shelf_of(dir)->failing = status;
}

bool engine_model_damage(const char *dir, struct prng *prng)
{
	struct shelf *shelf = shelf_of(dir);
	struct stored *candidates[64];
	unsigned count = 0;

	for (struct list *at = shelf->engines.next; at != &shelf->engines && count < 64; at = at->next) {
		struct stored *stored = LIST_ENTRY(at, struct stored, link);

		if (stored->flushed != NULL && stored->flushed->count > 0 && stored->label != NULL)
			candidates[count++] = stored;
	}
	if (count == 0)
		return false;
	candidates[prng_below(prng, count)]->damaged = true;
	return true;
}

bool engine_model_damaged(void)
{
	for (struct list *at = shelves.next; at != &shelves; at = at->next) {
		struct shelf *shelf = LIST_ENTRY(at, struct shelf, link);

		for (struct list *in = shelf->engines.next; in != &shelf->engines; in = in->next) {
			if (LIST_ENTRY(in, struct stored, link)->damaged)
				return true;
		}
	}
	return false;
}

/* What was flushed is read now and then, as the number of rows wills: so the damage is met by any kind of call. */
static bool met(struct engine *engine)
{
	struct stored *stored = dead(engine->shared) ? NULL : stored_find(engine->shared->shelf, engine->id);

	if (stored != NULL && stored->damaged && (engine->table->index + engine->calls++) % 8 == 0)
		engine->damaged = true;
	return engine->damaged;
}

void engine_model_cold(unsigned one_in)
{
	cold = one_in;
	reads = 0;
}

void engine_model_reset(void)
{
	if (shelves.next == NULL)
		return;
	while (!list_empty(&shelves)) {
		struct shelf *shelf = LIST_ENTRY(list_first(&shelves), struct shelf, link);

		while (!list_empty(&shelf->engines))
			stored_free(LIST_ENTRY(list_first(&shelf->engines), struct stored, link));
		list_remove(&shelf->link);
		free(shelf);
	}
}

/* --- storage/engine.h -----------------------------------------------------------------------------------------------
 */

enum status engine_shared_open(const struct engine_options *options, struct engine_shared **out)
{
	struct engine_shared *shared = must(calloc(1, sizeof(*shared)));

	shared->shelf = shelf_of(options->dir);
	shared->generation = shared->shelf->generation;
	shared->write_buffer_size = WRITE_BUFFER_SIZE; /* small, as the load is: so that flushes are many */
	*out = shared;
	return STATUS_OK;
}

void engine_shared_close(struct engine_shared *shared)
{
	free(shared);
}

struct engine_memory engine_shared_memory(struct engine_shared *shared)
{
	(void)shared;
	return (struct engine_memory){ 0 };
}

enum status engine_list(struct engine_shared *shared, engine_list_fn *fn, void *arg)
{
	uint64_t ids[4096];
	size_t count = 0;

	for (struct list *at = shared->shelf->engines.next; at != &shared->shelf->engines && count < 4096;
		at = at->next)
		ids[count++] = LIST_ENTRY(at, struct stored, link)->id;
	for (size_t i = 0; i < count; i++) {
		if (!fn(arg, ids[i]))
			break;
	}
	return STATUS_OK;
}

enum status engine_remove(struct engine_shared *shared, uint64_t id)
{
	struct stored *stored;

	if (dead(shared))
		return STATUS_OK;
	stored = stored_find(shared->shelf, id);
	if (stored == NULL)
		return STATUS_NOT_FOUND;
	assert(stored->open == NULL);
	stored_free(stored);
	return STATUS_OK;
}

enum status engine_leftovers(struct engine_shared *shared, uint64_t id, uint64_t *left)
{
	*left = !dead(shared) && stored_find(shared->shelf, id) != NULL;
	return STATUS_OK;
}

enum status engine_open(struct engine_shared *shared, uint64_t id, bool create, struct engine **out)
{
	struct stored *stored = stored_find(shared->shelf, id);
	struct engine *engine;

	assert(!dead(shared));
	if (create && stored != NULL)
		return STATUS_CONFLICT;
	if (!create && stored == NULL)
		return STATUS_NOT_FOUND;
	if (stored == NULL)
		stored = stored_add(shared->shelf, id);
	assert(stored->open == NULL);
	if (stored->damaged && id % 2 == 0) /* the others open, and the damage is met later */
		return STATUS_CORRUPT;
	engine = must(calloc(1, sizeof(*engine)));
	engine->shared = shared;
	engine->id = id;
	engine->table = stored->flushed == NULL ? table_new() : table_ref(stored->flushed);
	engine->flushed = engine->table->index;
	stored->open = engine;
	*out = engine;
	return STATUS_OK;
}

enum status engine_open_damaged(struct engine_shared *shared, uint64_t id, struct engine **out)
{
	struct stored *stored = stored_find(shared->shelf, id);
	struct engine *engine = must(calloc(1, sizeof(*engine)));

	assert(stored != NULL);
	assert(stored->open == NULL);
	stored->damaged = true;
	engine->shared = shared;
	engine->id = id;
	engine->table = table_new();
	engine->damaged = true;
	stored->open = engine;
	*out = engine;
	return STATUS_OK;
}

bool engine_damaged(const struct engine *engine)
{
	return engine->damaged;
}

enum status engine_label_write(struct engine_shared *shared, uint64_t id, struct bytes label)
{
	struct stored *stored = dead(shared) ? NULL : stored_find(shared->shelf, id);

	if (stored == NULL)
		return STATUS_OK;
	buffer_unref(stored->label);
	stored->label = must(buffer_copy(label));
	return STATUS_OK;
}

enum status engine_label_read(struct engine_shared *shared, uint64_t id, struct buffer **label)
{
	struct stored *stored = stored_find(shared->shelf, id);

	*label = NULL;
	if (stored == NULL || stored->label == NULL)
		return STATUS_NOT_FOUND;
	*label = buffer_ref(stored->label);
	return STATUS_OK;
}

void engine_close(struct engine *engine)
{
	if (!dead(engine->shared)) {
		struct stored *stored = stored_find(engine->shared->shelf, engine->id);

		assert(stored != NULL);
		stored->open = NULL;
		if (stored->flushed == NULL)
			stored->flushed = table_new();
	}
	assert(!engine->flushing);
	table_unref(engine->table);
	free(engine);
}

uint64_t engine_id(const struct engine *engine)
{
	return engine->id;
}

enum status engine_health(struct engine *engine)
{
	return engine->shared->shelf->failing == STATUS_IO ? STATUS_IO : STATUS_OK;
}

struct engine_batch *engine_batch_new(void)
{
	return must(calloc(1, sizeof(struct engine_batch)));
}

void engine_batch_clear(struct engine_batch *batch)
{
	for (size_t i = 0; i < batch->count; i++)
		row_unref(batch->operations[i].row);
	batch->count = 0;
	batch->size = 0;
}

void engine_batch_free(struct engine_batch *batch)
{
	if (batch == NULL)
		return;
	engine_batch_clear(batch);
	free(batch->operations);
	free(batch);
}

size_t engine_batch_size(const struct engine_batch *batch)
{
	return batch->size;
}

static void batch_add(struct engine_batch *batch, bool deletes, struct row *row)
{
	if (batch->count == batch->capacity) {
		batch->capacity = batch->capacity * 2 + 16;
		batch->operations = must(realloc(batch->operations, batch->capacity * sizeof(struct operation)));
	}
	batch->operations[batch->count++] = (struct operation){ deletes, row };
	batch->size += row->key_size + row->value_size;
}

void engine_batch_put(struct engine_batch *batch, enum engine_space space, struct bytes key, struct bytes value)
{
	batch_add(batch, false, row_new(space, key, value, bytes_of(NULL, 0)));
}

void engine_batch_put_two(
	struct engine_batch *batch, enum engine_space space, struct bytes key, struct bytes head, struct bytes tail)
{
	batch_add(batch, false, row_new(space, key, head, tail));
}

void engine_batch_delete(struct engine_batch *batch, enum engine_space space, struct bytes key)
{
	batch_add(batch, true, row_new(space, key, bytes_of(NULL, 0), bytes_of(NULL, 0)));
}

enum status engine_apply(struct engine *engine, struct engine_batch *batch, uint64_t index, uint64_t term)
{
	if (dead(engine->shared)) {
		engine_batch_clear(batch);
		return STATUS_OK;
	}
	if (engine->shared->shelf->failing != 0)
		return (enum status)engine->shared->shelf->failing;
	if (met(engine))
		return STATUS_CORRUPT;
	if (engine->stuck)
		return STATUS_NO_SPACE;
	assert(index >= engine->table->index);
	table_own(&engine->table);
	for (size_t i = 0; i < batch->count; i++) {
		if (batch->operations[i].deletes)
			table_delete(engine->table, row_key(batch->operations[i].row));
		else
			table_put(engine->table, batch->operations[i].row);
	}
	engine->table->index = index;
	engine->table->term = term;
	engine->dirty += batch->size;
	engine_batch_clear(batch);
	return STATUS_OK;
}

void engine_applied(const struct engine *engine, uint64_t *index, uint64_t *term)
{
	*index = engine->table->index;
	*term = engine->table->term;
}

/* Another process may take the room, or give it, between the look and the write: so on a disk that is about full the
 * two say different things now and then, as the index wills. */
static bool disk_short(const struct engine *engine, uint64_t except)
{
	uint64_t bytes;

	return disk_free_bytes(engine->shared->shelf->dir, &bytes) == STATUS_OK && bytes < DISK_UNLIMITED &&
	       engine->table->index % 4 != except;
}

enum status engine_flush_begin(struct engine *engine)
{
	if (engine->flushing)
		return STATUS_BUSY;
	if (!dead(engine->shared)) {
		if (engine->shared->shelf->failing != 0)
			return (enum status)engine->shared->shelf->failing;
		if (met(engine))
			return STATUS_CORRUPT;
		if (engine->stuck || disk_short(engine, 0))
			return STATUS_NO_SPACE;
	}
	engine->flushing = true;
	engine->begun = table_ref(engine->table);
	engine->begun_dirty = engine->dirty;
	return STATUS_OK;
}

enum status engine_flush_run(struct engine *engine)
{
	struct stored *stored;

	assert(engine->flushing);
	if (dead(engine->shared))
		return STATUS_OK;
	if (engine->shared->shelf->failing != 0)
		return (enum status)engine->shared->shelf->failing;
	if (met(engine))
		return STATUS_CORRUPT;
	if (disk_short(engine, 1)) {
		engine->stuck = true;
		return STATUS_NO_SPACE;
	}
	stored = stored_find(engine->shared->shelf, engine->id);
	assert(stored != NULL);
	/* What was applied since it began may be in it, or not. */
	stored_flush(stored, engine->table->index % 2 == 0 ? engine->table : engine->begun);
	return STATUS_OK;
}

enum status engine_flush_end(struct engine *engine, enum status ran, uint64_t *flushed)
{
	assert(engine->flushing);
	engine->flushing = false;
	if (ran == STATUS_OK) {
		engine->flushed = engine->begun->index;
		engine->dirty -= engine->begun_dirty;
	}
	table_unref(engine->begun);
	engine->begun = NULL;
	*flushed = engine->flushed;
	return ran;
}

enum status engine_flush(struct engine *engine, uint64_t *flushed)
{
	enum status status = engine_flush_begin(engine);

	*flushed = engine->flushed;
	return status == STATUS_OK ? engine_flush_end(engine, engine_flush_run(engine), flushed) : status;
}

enum status engine_compact_begin(struct engine *engine)
{
	if (engine->compacting)
		return STATUS_BUSY;
	if (!dead(engine->shared) && met(engine))
		return STATUS_CORRUPT;
	engine->compacting = true;
	return STATUS_OK;
}

enum status engine_compact_run(struct engine *engine)
{
	struct stored *stored;

	assert(engine->compacting);
	if (dead(engine->shared))
		return STATUS_OK;
	if (engine->shared->shelf->failing != 0)
		return (enum status)engine->shared->shelf->failing;
	if (met(engine))
		return STATUS_CORRUPT;
	if (disk_short(engine, 2))
		return STATUS_NO_SPACE;
	if (engine->calls++ % 4 == 1)
		return STATUS_BUSY; /* somebody reads */
	stored = stored_find(engine->shared->shelf, engine->id);
	assert(stored != NULL);
	stale_forget(stored);
	return STATUS_OK;
}

void engine_compact_end(struct engine *engine)
{
	assert(engine->compacting);
	engine->compacting = false;
}

void engine_compact_cancel(struct engine *engine)
{
	(void)engine;
}

bool engine_flush_wanted(const struct engine *engine)
{
	return engine->dirty > engine->shared->write_buffer_size;
}

bool engine_shared_flush_wanted(struct engine_shared *shared)
{
	(void)shared;
	return false; /* no budget for all: each engine's own limit is so small */
}

bool engine_full(const struct engine *engine)
{
	return engine->dirty > 8 * engine->shared->write_buffer_size;
}

enum status engine_reopen(struct engine *engine)
{
	const struct stored *stored;

	assert(!engine->flushing);
	if (dead(engine->shared))
		return STATUS_OK;
	stored = stored_find(engine->shared->shelf, engine->id);
	assert(stored != NULL);
	table_unref(engine->table);
	engine->table = stored->flushed == NULL ? table_new() : table_ref(stored->flushed);
	assert(engine->table->index >= engine->flushed);
	engine->flushed = engine->table->index;
	engine->dirty = 0;
	engine->stuck = false;
	return STATUS_OK;
}

uint64_t engine_flushed(const struct engine *engine)
{
	return engine->flushed;
}

uint64_t engine_size(struct engine *engine)
{
	uint64_t size = 0;

	for (size_t i = 0; i < engine->table->count; i++)
		size += row_key(engine->table->rows[i]).size + row_value(engine->table->rows[i]).size;
	return size;
}

static size_t tagged(uint8_t out[ENGINE_KEY_MAX + 1], enum engine_space space, struct bytes key)
{
	assert(key.size <= ENGINE_KEY_MAX);
	out[0] = (uint8_t)space;
	if (key.size > 0)
		memcpy(out + 1, key.data, key.size);
	return key.size + 1;
}

enum status engine_get(struct engine *engine, enum engine_space space, struct bytes key, struct buffer **row)
{
	uint8_t full[ENGINE_KEY_MAX + 1];
	size_t size = tagged(full, space, key);
	bool found;
	size_t at = table_find(engine->table, bytes_of(full, size), &found);

	*row = NULL;
	if (met(engine))
		return STATUS_CORRUPT;
	if (!found)
		return STATUS_NOT_FOUND;
	*row = buffer_copy(row_value(engine->table->rows[at]));
	return *row == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

enum status engine_get_cached(struct engine *engine, enum engine_space space, struct bytes key, struct buffer **row)
{
	*row = NULL;
	if (cold != 0 && ++reads % cold == 0)
		return STATUS_BUSY;
	return engine_get(engine, space, key, row);
}

enum status engine_iter_open(struct engine *engine, enum engine_space space, struct bytes prefix, struct bytes after,
	struct engine_iter **out)
{
	struct engine_iter *iter = must(calloc(1, sizeof(*iter)));
	uint8_t behind[ENGINE_KEY_MAX + 1];
	bool found;

	*out = NULL;
	if (met(engine)) {
		free(iter);
		return STATUS_CORRUPT;
	}
	iter->table = table_ref(engine->table);
	iter->prefix_size = tagged(iter->prefix, space, prefix);
	iter->at = table_find(iter->table, bytes_of(iter->prefix, iter->prefix_size), &found);
	if (after.size > 0) {
		size_t size = tagged(behind, space, after);
		size_t at = table_find(iter->table, bytes_of(behind, size), &found);

		if (found)
			at++;
		if (at > iter->at)
			iter->at = at;
	}
	*out = iter;
	return STATUS_OK;
}

enum status engine_iter_next(struct engine_iter *iter, struct bytes *key, struct bytes *value)
{
	const struct row *row;

	if (iter->at == iter->table->count)
		return STATUS_END;
	row = iter->table->rows[iter->at];
	if (!bytes_starts_with(row_key(row), bytes_of(iter->prefix, iter->prefix_size)))
		return STATUS_END;
	iter->at++;
	*key = bytes_of(row->data + 1, row->key_size - 1);
	*value = row_value(row);
	return STATUS_OK;
}

void engine_iter_close(struct engine_iter *iter)
{
	table_unref(iter->table);
	free(iter);
}

enum status engine_scan(struct engine *engine, enum engine_space space, struct bytes prefix, struct bytes after,
	uint32_t limit, size_t size_max, engine_scan_fn *fn, void *arg, bool *more)
{
	struct engine_iter *iter;
	struct bytes key, value;
	uint32_t count = 0;
	size_t total = 0;
	enum status status = engine_iter_open(engine, space, prefix, after, &iter);

	*more = false;
	while (status == STATUS_OK && (status = engine_iter_next(iter, &key, &value)) == STATUS_OK) {
		if ((limit != 0 && count == limit) || (size_max != 0 && total > size_max)) {
			*more = true;
			break;
		}
		count++;
		total += key.size + value.size;
		if (!fn(arg, key, value))
			break;
	}
	if (iter != NULL)
		engine_iter_close(iter);
	return status == STATUS_END ? STATUS_OK : status;
}

/* --- snapshots ------------------------------------------------------------------------------------------------------
 */

enum status engine_snapshot_open(struct engine *engine, struct engine_snapshot **out)
{
	struct engine_snapshot *snapshot;

	*out = NULL;
	if (met(engine))
		return STATUS_CORRUPT;
	snapshot = must(calloc(1, sizeof(*snapshot)));
	snapshot->table = table_ref(engine->table);
	*out = snapshot;
	return STATUS_OK;
}

void engine_snapshot_position(const struct engine_snapshot *snapshot, uint64_t *index, uint64_t *term)
{
	*index = snapshot->table->index;
	*term = snapshot->table->term;
}

static uint64_t row_hash(const struct row *row)
{
	return hash64_seeded(row_value(row), hash64(row_key(row)));
}

enum status engine_snapshot_next(struct engine_snapshot *snapshot, size_t size_max, struct buffer **chunk)
{
	size_t size = 8, end = snapshot->at;
	struct packer packer;

	if (snapshot->at == snapshot->table->count)
		return STATUS_END;
	while (end < snapshot->table->count && (end == snapshot->at || size < size_max)) {
		size += 8 + snapshot->table->rows[end]->key_size + snapshot->table->rows[end]->value_size;
		end++;
	}
	*chunk = must(buffer_new(size));
	packer = (struct packer){ .data = (*chunk)->data, .capacity = size };
	pack_u64(&packer, 0);
	for (; snapshot->at < end; snapshot->at++) {
		const struct row *row = snapshot->table->rows[snapshot->at];

		pack_bytes(&packer, row_key(row));
		pack_bytes(&packer, row_value(row));
		snapshot->rows++;
		snapshot->hash += row_hash(row);
	}
	assert(!packer.overflow);
	assert(packer.size == size);
	packer = (struct packer){ .data = (*chunk)->data, .capacity = 8 };
	pack_u64(&packer, hash64(bytes_of((*chunk)->data + 8, size - 8)));
	return STATUS_OK;
}

void engine_snapshot_total(const struct engine_snapshot *snapshot, uint64_t *rows, uint64_t *hash)
{
	*rows = snapshot->rows;
	*hash = snapshot->hash;
}

void engine_snapshot_close(struct engine_snapshot *snapshot)
{
	table_unref(snapshot->table);
	free(snapshot);
}

enum status engine_install_begin(struct engine_shared *shared, uint64_t id, struct engine_install **out)
{
	struct engine_install *install = must(calloc(1, sizeof(*install)));

	install->shared = shared;
	install->id = id;
	install->table = table_new();
	*out = install;
	return STATUS_OK;
}

enum status engine_install_chunk(struct engine_install *install, struct bytes chunk)
{
	struct unpacker unpacker;

	unpack_init(&unpacker, chunk);
	if (chunk.size < 8 ||
		unpack_u64(&unpacker) != hash64(bytes_of((const uint8_t *)chunk.data + 8, chunk.size - 8)))
		return STATUS_CORRUPT;
	while (!unpacker.bad && unpacker.at < unpacker.size) {
		struct bytes key = unpack_bytes(&unpacker, ENGINE_KEY_MAX + 1),
			     value = unpack_bytes(&unpacker, ENGINE_VALUE_MAX);
		struct row *row;

		if (unpacker.bad || key.size == 0)
			return STATUS_CORRUPT;
		row = row_new(((const uint8_t *)key.data)[0], bytes_of((const uint8_t *)key.data + 1, key.size - 1),
			value, bytes_of(NULL, 0));
		install->rows++;
		install->hash += row_hash(row);
		table_put(install->table, row);
		row_unref(row);
	}
	return unpack_end(&unpacker) ? STATUS_OK : STATUS_CORRUPT;
}

void engine_install_abort(struct engine_install *install)
{
	table_unref(install->table);
	free(install);
}

enum status engine_install_finish(
	struct engine_install *install, uint64_t index, uint64_t term, uint64_t rows, uint64_t hash)
{
	struct engine_shared *shared = install->shared;
	struct stored *stored;

	if (install->rows != rows || install->hash != hash) {
		engine_install_abort(install);
		return STATUS_CORRUPT;
	}
	if (!dead(shared)) {
		stored = stored_find(shared->shelf, install->id);
		if (stored != NULL && stored->open != NULL && (stored->open->flushing || stored->open->compacting)) {
			engine_install_abort(install);
			return STATUS_BUSY;
		}
		if (stored == NULL)
			stored = stored_add(shared->shelf, install->id);
		install->table->index = index;
		install->table->term = term;
		table_unref(stored->flushed);
		stored->flushed = table_ref(install->table);
		stale_forget(stored); /* the old directory is unlinked */
		stored->damaged = false;
		if (stored->open != NULL) {
			table_unref(stored->open->table);
			stored->open->table = table_ref(install->table);
			stored->open->flushed = index;
			stored->open->dirty = 0;
			stored->open->damaged = stored->open->stuck = false;
		}
	}
	engine_install_abort(install);
	return STATUS_OK;
}

enum status engine_verify(struct engine *engine)
{
	(void)engine;
	return STATUS_OK;
}

enum status engine_digest(struct engine *engine, uint64_t *digest)
{
	uint64_t sum = 0;

	if (engine->damaged)
		return STATUS_CORRUPT;
	for (size_t i = 0; i < engine->table->count; i++) {
		const struct row *row = engine->table->rows[i];

		if (row->data[0] == ENGINE_SPACE_MARKS)
			continue;
		sum = hash64_seeded(row_value(row), hash64_seeded(row_key(row), sum));
	}
	*digest = sum;
	return STATUS_OK;
}
