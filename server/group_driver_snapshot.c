/* server/group_driver_snapshot.c: snapshots out. The group asks for one when a follower needs what the log no longer
 * has. The engine's state at its applied index goes out in numbered chunks, at most SNAPSHOT_WINDOW unacknowledged; an
 * ack is cumulative, what is not acknowledged in time is sent again, and a transfer without progress is given up: the
 * group then asks anew. One transfer to a follower; a new one replaces it.
 *
 * Whoever takes a chunk takes its sender for the leader of the term that it carries: that is the one in which the
 * transfer began, and transfers end with the lead. */
#include "server/group_driver_internal.h"

#include <assert.h>
#include <stdlib.h>

#include "base/hash.h"
#include "policy/quorum.h"

enum {
	RETRIES_MAX = 20,
	CHUNKS_A_TURN = 2, /* read in one go: other groups wait meanwhile */
};

static struct snapshot_out *out_find(struct driver *driver, uint64_t to)
{
	for (unsigned i = 0; i < SNAPSHOTS_OUT_MAX; i++)
		if (driver->out[i].to == to)
			return &driver->out[i];
	return NULL;
}

static void out_free(struct snapshot_out *out)
{
	for (unsigned i = 0; i < SNAPSHOT_WINDOW; i++)
		buffer_unref(out->chunks[i]);
	if (out->stream)
		engine_snapshot_close(out->stream);
	*out = (struct snapshot_out){ 0 };
}

static void out_end(struct driver *driver, struct snapshot_out *out, bool ok)
{
	uint64_t to = out->to, index = out->index;
	out_free(out);
	group_snapshot_sent(driver->group, to, index, ok);
}

static void send_chunk(struct driver *driver, const struct snapshot_out *out, uint64_t sequence)
{
	assert(sequence >= out->acked);
	assert(sequence < out->read);
	assert(driver->leads);
	bool last = out->whole && sequence + 1 == out->read;
	struct message message = { .kind = MESSAGE_SNAPSHOT_CHUNK,
		.group = driver->options.group,
		.from = driver->options.replica,
		.to = out->to,
		.term = out->sender_term };
	message.chunk.transfer = out->transfer;
	message.chunk.index = out->index;
	message.chunk.term = out->term;
	message.chunk.sequence = sequence;
	message.chunk.last = last;
	message.chunk.count = last ? out->rows : 0;
	message.chunk.hash = last ? out->hash : 0;
	if (sequence == 0)
		message.chunk.membership = out->membership;
	message.chunk.data = buffer_bytes(out->chunks[sequence % SNAPSHOT_WINDOW]);
	driver_send(driver, out->to, &message);
}

/* Reads the next chunk into the window. The end, and with it the totals, is known only behind the last row: the last
 * chunk is an empty one. */
static enum status read_chunk(struct snapshot_out *out)
{
	struct buffer *chunk = NULL;
	enum status status = engine_snapshot_next(out->stream, SNAPSHOT_CHUNK_BYTES, &chunk);
	if (status == STATUS_END) {
		out->whole = true;
		engine_snapshot_total(out->stream, &out->rows, &out->hash);
	} else if (status != STATUS_OK) {
		return status;
	}
	struct buffer **slot = &out->chunks[out->read % SNAPSHOT_WINDOW];
	buffer_unref(*slot);
	*slot = chunk;
	out->read++;
	return STATUS_OK;
}

static bool window_open(const struct snapshot_out *out)
{
	return !out->whole && out->read - out->acked < SNAPSHOT_WINDOW;
}

/* Fills the window, step by step, and sends what is new in it. */
static void out_pump(struct driver *driver, struct snapshot_out *out, struct node_time time)
{
	for (unsigned i = 0; i < CHUNKS_A_TURN && window_open(out); i++) {
		if (read_chunk(out) != STATUS_OK) {
			out_end(driver, out, false);
			return;
		}
		send_chunk(driver, out, out->read - 1);
	}
	out->pumping = window_open(out);
	uint64_t wait_ns = out->pumping ? 1 : 4 * driver->options.retransmit_us * 1000; /* 1: behind what waits now */
	out->deadline_ns = time.now_ns + wait_ns;
}

/* Position, term and membership, in one chunk without rows. */
static void out_bare(struct driver *driver, struct snapshot_out *out, struct node_time time)
{
	out->index = driver->applied;
	out->term = driver->applied_term;
	out->whole = true;
	out->read = 1;
	send_chunk(driver, out, 0);
	out->deadline_ns = time.now_ns + 4 * driver->options.retransmit_us * 1000;
}

void driver_snapshot_start(struct driver *driver, uint64_t to, struct node_time time)
{
	assert(to != 0);
	if (!driver->leads)
		return; /* not any more */
	const struct membership *membership = group_membership(driver->group);
	int member = membership_find(membership, to);
	if (member < 0) {
		group_snapshot_sent(driver->group, to, driver->applied, false);
		return;
	}
	const bool witness = member_is_witness(&membership->at[member]);
	struct snapshot_out *out = out_find(driver, to);
	if (out)
		out_free(out);
	else
		out = out_find(driver, 0);
	enum status status = out && !driver->flush.restore_due && !driver->reseed.running ? STATUS_OK : STATUS_BUSY;
	if (status == STATUS_OK && driver_is_meta(driver))
		status = meta_checkpoint(driver);
	if (status == STATUS_OK && !witness)
		status = engine_snapshot_open(driver->engine, &out->stream);
	if (status != STATUS_OK) {
		if (out)
			*out = (struct snapshot_out){ 0 };
		group_snapshot_sent(driver->group, to, driver->applied, false);
		if (status == STATUS_IO || status == STATUS_CORRUPT)
			driver_engine_failed(driver, status, "a snapshot could not be taken");
		return;
	}
	assert(driver->engine_applied == driver->applied);
	driver->transfers++;
	out->to = to;
	out->sender_term = group_status(driver->group, time.now_ns).term;
	out->transfer = hash64_seeded(bytes_of(&driver->transfers, sizeof(driver->transfers)),
		driver->options.seed ^ driver->options.replica ^ time.now_ns);
	out->membership = driver->membership;
	if (witness) {
		out_bare(driver, out, time);
		return;
	}
	engine_snapshot_position(out->stream, &out->index, &out->term);
	assert(out->index == driver->applied);
	assert(out->term == driver->applied_term);
	out_pump(driver, out, time);
}

void driver_snapshot_acked(struct driver *driver, const struct message *message, struct node_time time)
{
	const struct message_snapshot_ack *ack = &message->snapshot_ack;
	struct snapshot_out *out = message->from ? out_find(driver, message->from) : NULL;
	if (!out || ack->transfer != out->transfer || ack->sequence >= out->read)
		return;
	if (ack->status != STATUS_OK) {
		out_end(driver, out, false);
		return;
	}
	if (ack->sequence + 1 > out->acked) {
		out->acked = ack->sequence + 1;
		out->retries = 0;
	}
	if (out->whole && out->acked == out->read) {
		if (ack->installed)
			out_end(driver, out, true);
		return;
	}
	out_pump(driver, out, time);
}

void driver_snapshot_expired(struct driver *driver, struct node_time time)
{
	for (unsigned i = 0; i < SNAPSHOTS_OUT_MAX; i++) {
		struct snapshot_out *out = &driver->out[i];
		if (out->to == 0 || out->deadline_ns > time.now_ns)
			continue;
		if (out->pumping) {
			out_pump(driver, out, time);
			continue;
		}
		if (++out->retries > RETRIES_MAX) {
			out_end(driver, out, false);
			continue;
		}
		uint64_t from = out->acked < out->read ? out->acked : out->read - 1;
		if (out->acked == out->read)
			out->acked = from; /* taken, and its installation unheard of: asked again */
		for (uint64_t sequence = from; sequence < out->read; sequence++)
			send_chunk(driver, out, sequence);
		out->deadline_ns = time.now_ns + 4 * driver->options.retransmit_us * 1000;
	}
}

uint64_t driver_snapshot_deadline(const struct driver *driver)
{
	uint64_t deadline = UINT64_MAX;
	for (unsigned i = 0; i < SNAPSHOTS_OUT_MAX; i++)
		if (driver->out[i].to != 0 && driver->out[i].deadline_ns < deadline)
			deadline = driver->out[i].deadline_ns;
	return deadline;
}

void driver_snapshot_peer_restarted(struct driver *driver, uint64_t node)
{
	for (unsigned i = 0; i < SNAPSHOTS_OUT_MAX; i++)
		if (driver->out[i].to != 0 && driver_node_of(driver, driver->out[i].to) == node)
			out_end(driver, &driver->out[i], false);
}

bool driver_snapshot_runs(const struct driver *driver, uint64_t to)
{
	for (unsigned i = 0; i < SNAPSHOTS_OUT_MAX; i++)
		if (driver->out[i].to == to)
			return true;
	return false;
}

/* tell: the group, which asked for them, still leads. */
void driver_snapshots_drop(struct driver *driver, bool tell)
{
	for (unsigned i = 0; i < SNAPSHOTS_OUT_MAX; i++) {
		if (driver->out[i].to == 0)
			continue;
		if (tell)
			out_end(driver, &driver->out[i], false);
		else
			out_free(&driver->out[i]);
	}
}
