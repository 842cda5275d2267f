/* server/group_driver_flush.c: what is applied goes to the disk. A flush waits for the disk, so it is a job of the
 * owner's (driver_owner.block): begun here, run elsewhere, and what it made durable is known when it has ended. The
 * index that counts is the one applied when it began. Until it ends the engine is written and read as ever, and no
 * install replaces it.
 *
 * A full disk. Found before the flush: it is tried again in a while; memory holds what is applied, and when the engine
 * calls itself full no proposal and no append is taken. Found by the flush: the engine can only be read. It is reopened
 * with what it had flushed, and the journal, which is never trimmed above that, has the rest: it is applied again, in
 * one go, and nobody notices. Meta's state is in memory and is only written again. */
#include "server/group_driver_internal.h"

#include <assert.h>

#include "base/log.h"

enum { FLUSH_RETRY_MS = 500 };

static void flush_run(void *arg)
{
	struct driver *driver = arg;
	driver->flush.ran = engine_flush_run(driver->engine);
	if (driver->flush.ran == STATUS_OK && driver->flush.label)
		driver->flush.label_ran = engine_label_write(
			driver->options.engines, driver->options.replica, buffer_bytes(driver->flush.label));
}

static void flush_ended(void *arg)
{
	struct driver *driver = arg;
	assert(driver->flush.running);
	driver->flush.ended = true;
}

static bool flush_out(const struct driver *driver)
{
	return driver->flush.running && !driver->flush.ended;
}

bool driver_blocked(const struct driver *driver)
{
	return flush_out(driver) || (driver->erase.running && !driver->erase.ended);
}

/* A label goes with the flush when a membership was applied since the last one; meta's, which holds the map, always. */
static void label_take(struct driver *driver)
{
	driver->flush.label = driver->label_due || driver_is_meta(driver) ? label_of(driver) : NULL;
	driver->flush.label_ran = STATUS_CANCELLED;
	driver->label_due = driver->label_due && !driver->flush.label;
}

static void label_settle(struct driver *driver)
{
	if (driver->flush.label && driver->flush.label_ran != STATUS_OK)
		driver->label_due = true;
	buffer_unref(driver->flush.label);
	driver->flush.label = NULL;
}

static void no_space(struct driver *driver, struct node_time time)
{
	driver->flush.retry_ns = time.now_ns + (uint64_t)FLUSH_RETRY_MS * 1000000;
	if (!driver->flush.no_space)
		log_warn("a replica's disk is full", LOG_H("group", driver->options.group),
			LOG_S("effect", "reads go on; writes do until its memory is full"));
	driver->flush.no_space = true;
}

static void flushed_again(struct driver *driver)
{
	driver->flush.retry_ns = 0;
	if (driver->flush.no_space)
		log_info("a replica's disk has room again", LOG_H("group", driver->options.group));
	driver->flush.no_space = false;
}

static void restore(struct driver *driver, struct node_time time)
{
	assert(!driver->flush.running);
	uint64_t applied = driver->applied, term;
	driver_snapshots_drop(driver, true);
	enum status status = engine_reopen(driver->engine);
	if (status == STATUS_BUSY) {
		no_space(driver, time);
		return;
	}
	if (status == STATUS_OK && driver_is_meta(driver)) {
		engine_applied(driver->engine, &driver->engine_applied, &term);
		status = meta_checkpoint(driver);
	} else if (status == STATUS_OK) {
		status = state_load(driver);
		if (status == STATUS_OK)
			status = driver_apply_again(driver, applied);
	}
	if (status != STATUS_OK) {
		driver_engine_failed(driver, status, "the engine could not be brought back after its disk was full");
		return;
	}
	assert(driver->applied == applied);
	driver->flush.restore_due = false;
}

void driver_flush_settle(struct driver *driver, struct node_time time)
{
	struct flushing *flush = &driver->flush;
	if (flush_out(driver) || driver->failed)
		return;
	if (flush->running) {
		uint64_t flushed;
		enum status status = engine_flush_end(driver->engine, flush->ran, &flushed);
		flush->running = flush->ended = false;
		label_settle(driver);
		if (status == STATUS_OK) {
			flushed_again(driver);
		} else if (status == STATUS_NO_SPACE) {
			flush->restore_due = true;
			no_space(driver, time);
		} else {
			driver_engine_failed(driver, status, "the engine could not be flushed");
			return;
		}
	}
	if (flush->restore_due && !driver->reseed.running)
		restore(driver, time);
}

/* Too much of the journal, or of memory, hangs on it. */
static bool due(struct driver *driver)
{
	uint64_t flushed = engine_flushed(driver->engine);
	assert(flushed <= driver->applied);
	uint64_t behind = driver->applied - flushed;
	uint64_t mean = driver->applied_count > 0 ? driver->applied_size / driver->applied_count + 1 : 1;
	if (behind == 0)
		driver->flush_due = false;
	return driver->flush_due || behind >= FLUSH_ENTRIES || behind > FLUSH_BYTES / mean ||
	       engine_flush_wanted(driver->engine);
}

static void begin(struct driver *driver, struct node_time time)
{
	struct flushing *flush = &driver->flush;
	const struct driver_owner *owner = driver->owner;
	enum status status = STATUS_OK;
	if (driver_is_meta(driver))
		status = meta_checkpoint(driver);
	if (status == STATUS_NO_SPACE) /* not the disk's word now, but a flush's before */
		flush->restore_due = true;
	if (status == STATUS_OK)
		status = engine_flush_begin(driver->engine);
	if (status == STATUS_NO_SPACE) {
		no_space(driver, time);
		return;
	}
	if (status != STATUS_OK) {
		driver_engine_failed(driver, status, "the engine could not be flushed");
		return;
	}
	driver->flush_due = false;
	*flush = (struct flushing){ .running = true, .ran = STATUS_CANCELLED, .no_space = flush->no_space };
	label_take(driver);
	if (owner->block) {
		owner->block(owner->arg, driver, flush_run, flush_ended, driver);
		return;
	}
	flush_run(driver);
	flush_ended(driver);
}

void driver_flush_when_due(struct driver *driver, struct node_time time)
{
	struct flushing *flush = &driver->flush;
	driver_flush_settle(driver, time);
	if (driver->failed || flush->running || driver->reseed.running)
		return;
	if (!flush->restore_due && !due(driver)) {
		flush->retry_ns = 0;
		return;
	}
	if (flush->retry_ns > time.now_ns)
		return;
	if (!flush->restore_due)
		begin(driver, time);
	driver_flush_settle(driver, time);
}

uint64_t driver_flush_deadline(const struct driver *driver)
{
	const struct flushing *flush = &driver->flush;
	if (flush->running)
		return flush->ended ? driver->now_ns : UINT64_MAX;
	return flush->retry_ns && !driver->reseed.running ? flush->retry_ns : UINT64_MAX;
}

enum status driver_flush(struct driver *driver, uint64_t keep, struct node_time time)
{
	if (driver->failed || !driver->started)
		return STATUS_CLOSED;
	driver_flush_settle(driver, time);
	if (driver->flush.running || driver->reseed.running)
		return STATUS_BUSY;
	enum status status = driver->flush.restore_due ? STATUS_NO_SPACE : STATUS_OK;
	uint64_t flushed = 0;
	if (status == STATUS_OK && driver_is_meta(driver))
		status = meta_checkpoint(driver);
	if (status == STATUS_OK)
		status = engine_flush_begin(driver->engine);
	if (status == STATUS_NO_SPACE)
		return status;
	if (status == STATUS_OK) {
		driver->flush.running = driver->flush.ended = true;
		label_take(driver);
		flush_run(driver);
		status = driver->flush.ran;
		driver_flush_settle(driver, time);
	}
	if (status == STATUS_OK)
		flushed = engine_flushed(driver->engine);
	else if (status != STATUS_NO_SPACE)
		driver_engine_failed(driver, status, "the engine could not be flushed");
	if (status != STATUS_OK)
		return status;
	driver_log_trim_to(driver, flushed, keep, time);
	return driver->failed ? STATUS_IO : STATUS_OK;
}

void driver_flush_drop(struct driver *driver)
{
	assert(!driver_blocked(driver));
	if (!driver->flush.running)
		return;
	uint64_t flushed;
	enum status status = engine_flush_end(driver->engine, driver->flush.ran, &flushed);
	(void)status; /* the journal has what is missing */
	driver->flush.running = false;
	label_settle(driver);
}
