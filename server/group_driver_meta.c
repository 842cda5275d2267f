/* server/group_driver_meta.c: meta's replica. Its state is the cluster map in memory; its engine holds a checkpoint of
 * it, one row, written every META_CHECKPOINT_ENTRIES applied entries, before a snapshot and at close. Between
 * checkpoints the engine's applied index stays behind, the journal keeps what lies above it, and after a restart the
 * group commits those entries again and they are applied to the checkpoint's map. */
#include "server/group_driver_internal.h"

#include <assert.h>
#include <stdlib.h>

struct meta_memory {
	struct change_scratch scratch;
	struct change change;
	struct meta_result result;
	struct policy policies[MAP_POLICIES_MAX];
	struct change_binding bindings[MAP_BINDINGS_MAX];
};

static enum status memory_of(struct driver *driver)
{
	if (driver->meta)
		return STATUS_OK;
	driver->meta = calloc(1, sizeof(*driver->meta));
	if (!driver->meta)
		return STATUS_NO_MEMORY;
	driver->meta->scratch = (struct change_scratch){ driver->meta->policies, MAP_POLICIES_MAX,
		driver->meta->bindings, MAP_BINDINGS_MAX };
	return STATUS_OK;
}

void meta_forget(struct driver *driver)
{
	free(driver->meta);
	driver->meta = NULL;
}

/* The map as of the engine's applied index. No row: none was ever written, the map is empty. */
enum status meta_load(struct driver *driver)
{
	struct cluster_map *map = driver->options.map;
	enum status status = memory_of(driver);
	if (status != STATUS_OK)
		return status;
	struct buffer *row = NULL;
	status = engine_get(driver->engine, ENGINE_SPACE_KEYS, bytes_text("map"), &row);
	if (status == STATUS_NOT_FOUND)
		return map->epoch == 0 ? STATUS_OK : STATUS_CORRUPT;
	if (status == STATUS_OK)
		status = cluster_map_decode(buffer_bytes(row), map);
	buffer_unref(row);
	if (status == STATUS_OK)
		driver->owner->map_changed(driver->owner->arg, driver);
	return status;
}

struct buffer *map_packed(const struct cluster_map *map)
{
	struct packer packer;
	pack_init(&packer, NULL, 0);
	cluster_map_encode(map, &packer);
	struct buffer *bytes = buffer_new(packer.size);
	if (!bytes)
		return NULL;
	pack_init(&packer, bytes->data, bytes->size);
	cluster_map_encode(map, &packer);
	assert(!packer.overflow);
	return bytes;
}

/* Brings the engine to the applied index. */
enum status meta_checkpoint(struct driver *driver)
{
	assert(driver_is_meta(driver));
	assert(driver->engine_applied <= driver->applied);
	if (driver->engine_applied == driver->applied)
		return STATUS_OK;
	struct buffer *row = map_packed(driver->options.map);
	struct engine_batch *batch = engine_batch_new();
	enum status status = row && batch ? STATUS_OK : STATUS_NO_MEMORY;
	if (status == STATUS_OK) {
		engine_batch_put(batch, ENGINE_SPACE_KEYS, bytes_text("map"), buffer_bytes(row));
		if (driver->membership.count > 0)
			state_put_membership(batch, &driver->membership);
		state_put_mark(driver, batch);
		status = engine_apply(driver->engine, batch, driver->applied, driver->applied_term);
	}
	if (status == STATUS_OK)
		driver->engine_applied = driver->applied;
	if (batch)
		engine_batch_free(batch);
	buffer_unref(row);
	return status;
}

static enum status change_apply(struct driver *driver, const struct entry *entry, struct bytes body)
{
	struct meta_memory *meta = driver->meta;
	struct cluster_map *map = driver->options.map;
	struct driver_outcome outcome = { .index = entry->index, .version = entry->version, .meta = &meta->result };
	enum status status = change_decode(body, &meta->scratch, &meta->change);
	if (status == STATUS_UNSUPPORTED)
		return status;
	uint64_t epoch = map->epoch;
	if (status == STATUS_OK)
		meta_apply(map, &meta->change, &meta->result);
	else
		meta->result = (struct meta_result){ .status = STATUS_INVALID, .epoch = epoch };
	outcome.status = meta->result.status;
	assert(map->epoch >= epoch);
	driver->applied = entry->index; /* what the owner sees from within the callbacks */
	/* A node that comes back must not act on rules that it has seen replaced: the log above the checkpoint is its
	 * own again only when meta's quorum says so. */
	if (map->epoch != epoch && meta->change.kind == CHANGE_APPLY)
		driver->flush_due = true;
	if (map->epoch != epoch)
		driver->owner->map_changed(driver->owner->arg, driver);
	driver_answer(driver, entry->index, entry->term, &outcome);
	return STATUS_OK;
}

static enum status meta_entry(struct driver *driver, const struct entry *entry, struct bytes body)
{
	enum status status = STATUS_OK;
	assert(entry->index == driver->applied + 1);
	if (entry->version > driver->version_max)
		driver->version_max = entry->version;
	if (entry->kind == ENTRY_MEMBERSHIP)
		status = driver_apply_membership(driver, entry, body);
	else if (entry->kind == ENTRY_COMMAND && entry->size > 0)
		status = change_apply(driver, entry, body);
	driver->applied = entry->index;
	driver->applied_term = entry->term;
	driver->applied_size += entry->size;
	driver->applied_count++;
	driver->flush_due = driver->flush_due || entry->kind == ENTRY_MEMBERSHIP;
	return status;
}

void meta_apply_batch(struct driver *driver)
{
	enum status status = STATUS_OK;
	for (unsigned i = 0; i < META_CHECKPOINT_ENTRIES && driver->applied < driver->commit; i++) {
		struct entry entry;
		struct buffer *body = NULL;
		status = driver_log_entry(driver, driver->applied + 1, &entry, &body);
		if (status == STATUS_NOT_FOUND) {
			driver->apply_stalled = true;
			return;
		}
		if (status == STATUS_OK)
			status = meta_entry(driver, &entry, buffer_bytes(body));
		buffer_unref(body);
		if (status != STATUS_OK)
			break;
	}
	if (status == STATUS_OK && driver->applied - driver->engine_applied >= META_CHECKPOINT_ENTRIES)
		status = meta_checkpoint(driver);
	if (status == STATUS_NO_SPACE)
		driver->flush.restore_due = true;
	else if (status != STATUS_OK)
		driver_engine_failed(driver, status, "a committed change of the cluster map could not be applied");
}
