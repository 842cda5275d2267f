/* server/group_driver_erase.c: what was deleted or overwritten up to an index leaves this replica's files:
 *
 *   flush what was applied up to it -> every file of the engine is written anew (a job of the owner's) -> the log is
 * cut up to it, whoever lacks it: who does gets a snapshot -> the segments go by the owner's journal_erase.
 *
 * A snapshot that was coming in when it was wanted, and still is, is given up: it may have been taken before the
 * deletion. Whatever cannot be done yet (a full disk, a reader, a flush) is tried again. */
#include "server/group_driver_internal.h"

#include <assert.h>

enum { ERASE_RETRY_MS = 250 };

static void erase_job(void *arg)
{
	struct driver *driver = arg;
	driver->erase.ran = engine_compact_run(driver->engine);
}

static void erase_job_ended(void *arg)
{
	struct driver *driver = arg;
	assert(driver->erase.running);
	driver->erase.ended = true;
}

void driver_erase(struct driver *driver, uint64_t index)
{
	assert(index <= driver->applied);
	assert(!driver->erase.running);
	driver->erase = (struct erasing){ .index = index, .transfer = driver->in.transfer, .retry_ns = driver->now_ns };
}

bool driver_erased(const struct driver *driver)
{
	return driver->erase.index == 0;
}

bool driver_installed(const struct driver *driver)
{
	return driver->installed;
}

void driver_erase_cancel(struct driver *driver)
{
	engine_compact_cancel(driver->engine);
}

static void job_begin(struct driver *driver)
{
	const struct driver_owner *owner = driver->owner;
	enum status status = engine_compact_begin(driver->engine);
	if (status == STATUS_NO_SPACE || status == STATUS_BUSY)
		return;
	if (status != STATUS_OK) {
		driver_engine_failed(driver, status, "the engine could not be compacted");
		return;
	}
	driver->erase.running = true;
	driver->erase.ended = false;
	driver->erase.ran = STATUS_CANCELLED;
	if (owner->block) {
		owner->block(owner->arg, driver, erase_job, erase_job_ended, driver);
		return;
	}
	erase_job(driver);
	erase_job_ended(driver);
}

static void job_settle(struct driver *driver)
{
	struct erasing *erase = &driver->erase;
	if (!erase->running || !erase->ended)
		return;
	engine_compact_end(driver->engine);
	erase->running = erase->ended = false;
	erase->compacted = erase->ran == STATUS_OK;
	if (erase->compacted)
		erase->retry_ns = driver->now_ns; /* the log is left */
	if (erase->ran == STATUS_NO_SPACE && engine_health(driver->engine) == STATUS_NO_SPACE)
		driver->flush.restore_due = true; /* it was not the look before: the engine takes no writes now */
	else if (erase->ran != STATUS_OK && erase->ran != STATUS_BUSY && erase->ran != STATUS_NO_SPACE &&
		 erase->ran != STATUS_NO_MEMORY)
		driver_engine_failed(driver, erase->ran, "the engine could not be compacted");
}

static void cut(struct driver *driver, struct node_time time)
{
	struct erasing *erase = &driver->erase;
	uint64_t flushed = engine_flushed(driver->engine);
	if (erase->transfer != 0 && driver->in.transfer == erase->transfer && !driver->in.whole)
		driver_install_drop(driver);
	driver_log_trim_to(driver, flushed, flushed - erase->index, time);
	if (driver->failed || driver->trimmed < erase->index)
		return;
	/* After a start the log begins where the engine says; the journal may have more. */
	enum status status = journal_trim(driver->options.journal, driver->options.group, erase->index);
	if (status == STATUS_OK)
		*erase = (struct erasing){ 0 };
	else if (status != STATUS_BUSY)
		driver_fail(driver, status, "the journal could not be trimmed");
}

void driver_erase_settle(struct driver *driver, struct node_time time)
{
	struct erasing *erase = &driver->erase;
	job_settle(driver);
	if (erase->flush_awaited && engine_flushed(driver->engine) >= erase->index) {
		erase->flush_awaited = false;
		erase->retry_ns = time.now_ns;
	}
	if (erase->index == 0 || erase->running || driver->failed || erase->retry_ns > time.now_ns)
		return;
	erase->retry_ns = time.now_ns + (uint64_t)ERASE_RETRY_MS * 1000000;
	if (driver->reseed.running || driver->flush.running || driver->flush.restore_due)
		return;
	if (engine_flushed(driver->engine) < erase->index) {
		driver->flush_due = erase->flush_awaited = true;
		driver_flush_when_due(driver, time);
		return;
	}
	if (!erase->compacted)
		job_begin(driver);
	job_settle(driver); /* it may have run here */
	if (erase->compacted && !erase->running && !driver->failed)
		cut(driver, time);
}

uint64_t driver_erase_deadline(const struct driver *driver)
{
	const struct erasing *erase = &driver->erase;
	if (erase->running)
		return erase->ended ? driver->now_ns : UINT64_MAX;
	return erase->index != 0 ? erase->retry_ns : UINT64_MAX;
}

void driver_erase_drop(struct driver *driver)
{
	assert(!driver->erase.running || driver->erase.ended);
	if (driver->erase.running)
		engine_compact_end(driver->engine);
	driver->erase = (struct erasing){ 0 };
}
