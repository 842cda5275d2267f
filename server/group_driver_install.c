/* server/group_driver_install.c: snapshots in. Chunks are written beside the engine as they come, in order; when the
 * last is there the group is asked (MESSAGE_SNAPSHOT), and if it wants the snapshot (GROUP_INSTALL) the engine checks
 * the whole against its sender's totals and takes it in the place of its state; then the journal's log of this group is
 * reset.
 *
 * Order, for a crash at any point. The engine's replacement is durable before the journal's RESET(index, term) is even
 * appended. So what a restart can find is
 *   - old engine, old log: nothing happened; the leader sends again;
 *   - new engine, old log: the log ends below the engine's index, or has another term at it, or (not asked for by the
 *     group, but harmless) agrees with it. In the first two cases driver_started writes the RESET that was cut off; in
 *     the third the log goes on above the engine's index as after any flush;
 *   - new engine, RESET: done.
 * A journal reset above what the engine holds is none of these. It means that engine files were lost: what was in them
 * comes from a peer again (group_driver_reseed.c). */
#include "server/group_driver_internal.h"

#include <assert.h>

static void in_free(struct snapshot_in *in)
{
	if (in->install)
		engine_install_abort(in->install);
	*in = (struct snapshot_in){ 0 };
}

void driver_install_drop(struct driver *driver)
{
	in_free(&driver->in);
}

static void ack(
	struct driver *driver, const struct message *chunk, uint64_t sequence, enum status status, bool installed)
{
	struct message message = { .kind = MESSAGE_SNAPSHOT_ACK,
		.group = driver->options.group,
		.from = driver->options.replica,
		.to = chunk->from,
		.term = group_status(driver->group, driver->now_ns).term };
	message.snapshot_ack.transfer = chunk->chunk.transfer;
	message.snapshot_ack.sequence = sequence;
	message.snapshot_ack.status = (uint32_t)status;
	message.snapshot_ack.installed = installed;
	driver_send(driver, chunk->from, &message);
}

/* A new transfer replaces an old one, unless it comes from a sender of an older term. */
static enum status in_begin(struct driver *driver, const struct message *message)
{
	struct snapshot_in *in = &driver->in;
	if (in->transfer != 0 && message->term < in->sender_term)
		return STATUS_BUSY;
	in_free(in);
	enum status status = STATUS_OK;
	if (!driver->options.witness)
		status = engine_install_begin(driver->options.engines, driver->options.replica, &in->install);
	if (status != STATUS_OK)
		return status;
	in->transfer = message->chunk.transfer;
	in->from = message->from;
	in->sender_term = message->term;
	in->index = message->chunk.index;
	in->term = message->chunk.term;
	in->membership = message->chunk.membership;
	return STATUS_OK;
}

static enum status in_take(struct driver *driver, const struct message *message)
{
	struct snapshot_in *in = &driver->in;
	enum status status = STATUS_OK;
	const bool bare = message->chunk.last && message->chunk.count == 0; /* that of a witness, and no other's */
	if (bare != driver->options.witness || (bare && message->chunk.data.size > 0))
		return STATUS_RESIDENCY_REFUSED;
	if (message->chunk.data.size > 0)
		status = engine_install_chunk(in->install, message->chunk.data);
	if (status != STATUS_OK)
		return status;
	in->rows = message->chunk.count;
	in->hash = message->chunk.hash;
	in->next++;
	return STATUS_OK;
}

/* A witness has no state to be replaced: the position and the membership of the snapshot are written as if applied, and
 * are on the disk before the journal hears of them. BUSY, the sender tries again: the disk is full. */
static enum status replace_position(struct driver *driver, uint64_t index, uint64_t term)
{
	uint64_t flushed = 0;
	assert(index > driver->applied);
	if (engine_flush(driver->engine, &flushed) != STATUS_OK)
		return STATUS_BUSY;
	struct engine_batch *batch = engine_batch_new();
	if (!batch)
		return STATUS_BUSY;
	state_put_membership(batch, &driver->in.membership);
	enum status status = engine_apply(driver->engine, batch, index, term);
	engine_batch_free(batch);
	if (status == STATUS_OK)
		status = engine_flush(driver->engine, &flushed);
	if (status == STATUS_OK)
		status = state_load(driver);
	if (status != STATUS_OK) {
		driver_fail(driver, status, "a snapshot could not be put in place");
		return status;
	}
	label_write(driver);
	return STATUS_OK;
}

/* The received snapshot becomes the engine's state; `term` is that of its index. CORRUPT or BUSY: not the whole of one,
 * or the engine is being read: the old state stands, nothing else has changed. Any other failure has stopped the
 * driver. */
static enum status replace_engine(struct driver *driver, uint64_t index, uint64_t term)
{
	struct snapshot_in *in = &driver->in;
	assert(in->whole);
	assert(index > driver->applied || (driver->reseed.running && index == driver->applied));
	if (driver->options.witness)
		return replace_position(driver, index, term);
	driver_snapshots_drop(driver, true);
	struct engine_install *install = in->install;
	in->install = NULL;
	enum status status = engine_install_finish(install, index, term, in->rows, in->hash);
	if (status == STATUS_CORRUPT || status == STATUS_BUSY)
		return status;
	if (status == STATUS_OK)
		status = state_load(driver);
	if (status == STATUS_OK && (driver->applied != index || driver->applied_term != term))
		status = STATUS_IO;
	if (status != STATUS_OK) {
		driver_fail(driver, status, "a snapshot could not be put in place");
		return status;
	}
	driver->installed = true;
	label_write(driver);
	reseed_ended(driver);
	return STATUS_OK;
}

/* The group's log covers the snapshot, but bodies below it are lost here and with the leader compacted, or the engine
 * is damaged: the snapshot stands in for them. The log keeps its positions, so nothing of it is dropped and nobody's
 * promise changes. */
static bool adopt(struct driver *driver, struct node_time time)
{
	uint64_t index = driver->in.index;
	if (driver->reseed.running && index < driver->applied)
		return false; /* its sender leads since a moment ago, and has yet to apply what this replica had */
	if (index > driver->commit || (index <= driver->applied && !driver->reseed.running))
		return index <= driver->applied;
	if (replace_engine(driver, index, driver->in.term) != STATUS_OK)
		return false;
	for (struct waiter *first; (first = waiters_first(&driver->waiters)) && first->index <= index;) {
		struct driver_outcome outcome = { .status = STATUS_UNKNOWN_OUTCOME, .index = first->index };
		driver_answer(driver, first->index, first->term, &outcome);
	}
	repair_release(driver, index);
	struct group_event event = { .kind = GROUP_APPLIED };
	event.applied.index = index;
	driver_step(driver, &event, time);
	driver_rounds_applied(driver);
	return !driver->failed;
}

/* All chunks are here. Whether the group installs them or finds its log past them, the sender learns what is true. */
static void in_whole(struct driver *driver, const struct message *chunk, struct node_time time)
{
	struct message message = { .kind = MESSAGE_SNAPSHOT,
		.group = driver->options.group,
		.from = chunk->from,
		.to = driver->options.replica,
		.term = chunk->term };
	message.snapshot.index = driver->in.index;
	message.snapshot.term = driver->in.term;
	message.snapshot.membership = driver->in.membership;
	driver->in.whole = true;
	struct group_event event = { .kind = GROUP_RECEIVED };
	event.received.message = &message;
	driver_step(driver, &event, time);
	if (driver->failed)
		return;
	bool there = group_status(driver->group, time.now_ns).commit >= message.snapshot.index;
	if (there && (driver->reseed.running || repair_awaits_upto(driver, message.snapshot.index)))
		there = adopt(driver, time);
	if (driver->failed)
		return;
	in_free(&driver->in);
	driver->in_ended = (struct snapshot_ended){ chunk->chunk.transfer, chunk->chunk.sequence, there };
	ack(driver, chunk, chunk->chunk.sequence, there ? STATUS_OK : STATUS_CONFLICT, there);
}

void driver_install_received(struct driver *driver, const struct message *message, struct node_time time)
{
	const struct message_snapshot_chunk *chunk = &message->chunk;
	struct snapshot_in *in = &driver->in;
	if (chunk->transfer == 0 || chunk->index == 0)
		return;
	driver_flush_settle(driver, time);
	if (driver->failed ||
		(chunk->last && (driver->flush.running || driver->erase.running || driver->flush.restore_due)))
		return; /* the engine cannot be replaced now; the sender sends again */
	if (chunk->transfer == driver->in_ended.transfer) {
		if (chunk->sequence == driver->in_ended.last) /* the answer was lost */
			ack(driver, message, chunk->sequence, driver->in_ended.there ? STATUS_OK : STATUS_CONFLICT,
				driver->in_ended.there);
		return;
	}
	if (message->term < group_status(driver->group, time.now_ns).term)
		return; /* a deposed leader's; the one in force sends its own */
	enum status status = STATUS_OK;
	if (in->transfer != chunk->transfer && chunk->sequence == 0)
		status = in_begin(driver, message);
	else if (in->transfer != chunk->transfer)
		status = STATUS_CANCELLED; /* its beginning was lost with a restart, or another replaced it */
	if (status == STATUS_OK && chunk->sequence > in->next)
		return; /* a gap: the sender sends again */
	if (status == STATUS_OK && chunk->sequence == in->next)
		status = in_take(driver, message);
	if (status != STATUS_OK) {
		if (in->transfer == chunk->transfer)
			in_free(in);
		ack(driver, message, chunk->sequence, status, false);
		return;
	}
	if (chunk->last && chunk->sequence + 1 == in->next)
		in_whole(driver, message, time);
	else
		ack(driver, message, in->next - 1, STATUS_OK, false);
}

/* GROUP_INSTALL: fills in the event that says how it went. */
void driver_install(struct driver *driver, struct group_event *installed)
{
	struct snapshot_in *in = &driver->in;
	uint64_t index = driver->install_index, term = driver->install_term;
	installed->installed.index = index;
	installed->installed.term = term;
	installed->installed.failed = true;
	if (!in->whole || in->index != index || in->term != term || replace_engine(driver, index, term) != STATUS_OK)
		return;
	installed->installed.failed = false;
	installed->installed.version_max = driver->version_max;
	installed->installed.membership = driver->membership;
	driver->commit = index;
	driver_waiters_lost(driver, 0);
	driver_log_reset(driver, index, term);
	driver_rounds_applied(driver);
}
