/* server/group_driver_apply.c: committed entries become state. What one turn committed goes into one engine batch (up
 * to a bound) together with the applied index, the marks and the session records, so that a crash leaves the state of
 * exactly one index. Outcomes are reported after the batch is in.
 *
 * What an entry does depends on the log before it and on nothing else: a compare-and-set and a delete read the version
 * from the batch's own overlay first, then from the engine; a blind put reads nothing. A write under a fence is not
 * recorded in its session: it happened nowhere, and its client sends it again elsewhere. */
#include "server/group_driver_internal.h"

#include <assert.h>
#include <stdlib.h>

#include "server/group_driver_overlay.h"

enum { VERSION_SIZE = 8 };

struct applying {
	struct entry entry;
	struct buffer *body; /* a reference; the overlay's keys lie in it */
	struct command command;
	struct driver_outcome outcome;
};
struct apply {
	struct applying *at;
	uint32_t count;
	uint64_t first;
	struct engine_batch *batch;
	struct overlay overlay;
};

enum status stored_value_decode(struct bytes row, struct stored_value *value)
{
	*value = (struct stored_value){ 0 };
	if (row.size < VERSION_SIZE)
		return STATUS_CORRUPT;
	struct unpacker unpacker;
	unpack_init(&unpacker, row);
	value->version = unpack_u64(&unpacker);
	value->value = unpack_raw(&unpacker, row.size - VERSION_SIZE);
	return STATUS_OK;
}

/* --- one command ------------------------------------------------------------------------------------ */

/* The version that the key has at this point of the batch; 0: absent. */
static enum status version_of(struct driver *driver, struct apply *apply, struct bytes key, uint64_t *version)
{
	if (overlay_find(&apply->overlay, key, version))
		return STATUS_OK;
	*version = 0;
	struct buffer *row = NULL;
	enum status status = engine_get(driver->engine, ENGINE_SPACE_KEYS, key, &row);
	if (status == STATUS_NOT_FOUND)
		return STATUS_OK;
	struct stored_value value;
	if (status == STATUS_OK)
		status = stored_value_decode(buffer_bytes(row), &value);
	if (status == STATUS_OK)
		*version = value.version;
	buffer_unref(row);
	return status;
}

static void write_value(struct apply *apply, struct bytes key, struct bytes value, uint64_t version)
{
	uint8_t head[VERSION_SIZE];
	struct packer packer;
	pack_init(&packer, head, sizeof(head));
	pack_u64(&packer, version);
	engine_batch_put_two(apply->batch, ENGINE_SPACE_KEYS, key, pack_result(&packer), value);
	overlay_set(&apply->overlay, key, version);
}

static void write_absence(struct apply *apply, struct bytes key)
{
	engine_batch_delete(apply->batch, ENGINE_SPACE_KEYS, key);
	overlay_set(&apply->overlay, key, 0);
}

/* Puts, deletes or compares; the outcome says which. An error is the engine's. */
static enum status write_apply(struct driver *driver, struct apply *apply, struct applying *at)
{
	const struct command *command = &at->command;
	uint64_t current = 0;
	if (command->kind != COMMAND_PUT) {
		enum status status = version_of(driver, apply, command->key, &current);
		if (status != STATUS_OK)
			return status;
	}
	at->outcome.version = at->entry.version;
	if (command->kind == COMMAND_CAS && current != command->version) {
		at->outcome.status = STATUS_CONFLICT;
		at->outcome.version = current;
	} else if (command->kind == COMMAND_DELETE && current == 0) {
		at->outcome.status = STATUS_NOT_FOUND;
	} else if (command->kind == COMMAND_DELETE) {
		write_absence(apply, command->key);
	} else {
		write_value(apply, command->key, command->value, at->entry.version);
	}
	return STATUS_OK;
}

/* --- keys that go to other shards ------------------------------------------------------------------------ */

/* What that shard answered is answered here too. To who asks how far this log was then: by now, it was. */
static void inherit(struct driver *driver, struct apply *apply, const struct applying *at)
{
	struct unpacker records;
	struct command_record record;
	struct session_result known;
	unpack_init(&records, at->command.value);
	while (command_record_next(&records, &record)) {
		struct session_result result = { .client = record.client,
			.sequence = record.sequence,
			.version = record.version,
			.index = at->entry.index,
			.status = record.status };
		if (session_check(driver->sessions, record.client, record.sequence, 0, false, &known) == SESSION_NEW)
			state_record(driver, apply->batch, &result);
	}
}

/* A leader that has not heard how an operation went on may propose what was right once. Its map says so: whatever
 * moves keys here, or ends that, was judged by a map at least as new as all before it. */
static enum status move_apply(struct driver *driver, struct apply *apply, struct applying *at)
{
	const struct command *command = &at->command;
	struct unpacker rows;
	struct command_row row;
	enum status status = STATUS_OK;
	if (command->map_epoch < driver->move_epoch) {
		at->outcome.status = STATUS_STALE_MAP;
		return STATUS_OK;
	}
	driver->move_epoch = command->map_epoch;
	state_put_move(driver, apply->batch);
	/* Writes of those keys were applied by a shard that has the records of them, or has forgotten them. */
	if (command->retry)
		session_set_evicted_ever(driver->sessions);
	if (command->kind == COMMAND_INHERIT)
		inherit(driver, apply, at);
	unpack_init(&rows, command->value);
	while (status == STATUS_OK && command->kind != COMMAND_INHERIT &&
		command_row_next(command->kind, &rows, &row)) {
		uint64_t current = 0;
		status = version_of(driver, apply, row.key, &current);
		if (status == STATUS_OK && command->kind == COMMAND_ADOPT && current < row.version)
			write_value(apply, row.key, row.value, row.version);
		else if (status == STATUS_OK && command->kind == COMMAND_PURGE && current == row.version)
			write_absence(apply, row.key);
	}
	return status;
}

/* Exactly once: true when the session decides the outcome and nothing is to be applied. */
static bool session_decides(struct driver *driver, struct applying *at)
{
	const struct command *command = &at->command;
	if (command->client == 0)
		return false;
	struct session_result result;
	switch (session_check(
		driver->sessions, command->client, command->sequence, command->low_water, command->retry, &result)) {
	case SESSION_NEW:
		return false;
	case SESSION_REPEAT:
		at->outcome.status = (enum status)result.status;
		at->outcome.version = result.version;
		at->outcome.index = result.index;
		at->outcome.duplicate = true;
		return true;
	case SESSION_UNKNOWN:
		break;
	}
	at->outcome.status = STATUS_UNKNOWN_OUTCOME;
	return true;
}

static enum status command_apply(struct driver *driver, struct apply *apply, struct applying *at)
{
	struct command *command = &at->command;
	enum status status = command_decode(buffer_bytes(at->body), command);
	if (status != STATUS_OK) {
		command->kind = 0;
		at->outcome.status = STATUS_INVALID; /* on every replica alike: the body is under a checksum */
		return status == STATUS_UNSUPPORTED ? status : STATUS_OK;
	}
	if (command->kind == COMMAND_FENCE) {
		at->outcome.status = state_fence(driver, apply->batch, command, buffer_bytes(at->body));
		return driver->failed ? at->outcome.status : STATUS_OK;
	}
	if (command->kind == COMMAND_UNFENCE) {
		/* Whoever has not heard of what became of its keys could take them for keys that live here. */
		if (command->map_epoch > driver->write_epoch)
			driver->write_epoch = command->map_epoch;
		state_put_move(driver, apply->batch);
		state_unfence(driver, apply->batch, command->operation);
		return STATUS_OK;
	}
	if (command->kind >= COMMAND_ADOPT)
		return move_apply(driver, apply, at);
	if (session_decides(driver, at))
		return STATUS_OK;
	if (command->map_epoch < driver->write_epoch || state_key_fenced(driver, command->key)) {
		at->outcome.status = STATUS_STALE_MAP;
		return STATUS_OK;
	}
	status = write_apply(driver, apply, at);
	if (status == STATUS_OK && command->client != 0) {
		struct session_result result = { .client = command->client,
			.sequence = command->sequence,
			.version = at->outcome.version,
			.index = at->entry.index,
			.status = at->outcome.status };
		state_record(driver, apply->batch, &result);
	}
	return status;
}

enum status driver_apply_membership(struct driver *driver, const struct entry *entry, struct bytes body)
{
	struct unpacker unpacker;
	unpack_init(&unpacker, body);
	struct membership membership;
	enum status status = membership_decode(&unpacker, &membership);
	if (status != STATUS_OK)
		return status;
	membership.index = entry->index;
	driver->membership = membership;
	return STATUS_OK;
}

static enum status entry_apply(struct driver *driver, struct apply *apply, struct applying *at)
{
	assert(at->entry.index == driver->applied + 1 + (uint64_t)(at - apply->at));
	at->outcome = (struct driver_outcome){
		.status = STATUS_OK, .index = at->entry.index, .degraded = at->entry.index <= driver->degraded
	};
	if (at->entry.version > driver->version_max)
		driver->version_max = at->entry.version;
	driver->applied_size += at->entry.size;
	driver->applied_count++;
	enum status status = STATUS_OK;
	if (at->entry.kind == ENTRY_MEMBERSHIP) {
		status = driver_apply_membership(driver, &at->entry, buffer_bytes(at->body));
		if (status == STATUS_OK)
			state_put_membership(apply->batch, &driver->membership);
		driver->flush_due = driver->label_due = true;
	} else if (at->entry.kind == ENTRY_COMMAND && at->entry.size > 0) { /* a witness has no bodies */
		status = command_apply(driver, apply, at);
	}
	return status;
}

/* --- one batch -------------------------------------------------------------------------------------- */

/* Committed entries from `applied` on, as many as go together, with their bodies. None: the next one is awaited from a
 * peer, or could not be read (the driver has failed). */
static enum status apply_gather(struct driver *driver, struct apply *apply, uint64_t upto)
{
	assert(upto <= driver->commit);
	uint64_t count_max = upto - driver->applied;
	if (count_max > APPLY_ENTRIES_MAX)
		count_max = APPLY_ENTRIES_MAX;
	apply->first = driver->applied + 1;
	apply->at = calloc((size_t)count_max, sizeof(*apply->at));
	if (!apply->at)
		return STATUS_NO_MEMORY;
	uint64_t size = 0;
	while (apply->count < count_max && size < APPLY_BYTES_MAX) {
		struct applying *at = &apply->at[apply->count];
		enum status status = driver_log_entry(driver, apply->first + apply->count, &at->entry, &at->body);
		if (status == STATUS_NOT_FOUND) { /* lost by the disk, and awaited */
			driver->apply_stalled = true;
			break;
		}
		if (status != STATUS_OK)
			return status;
		size += at->entry.size;
		apply->count++;
	}
	return STATUS_OK;
}

static void apply_release(struct apply *apply)
{
	for (uint32_t i = 0; i < apply->count; i++)
		buffer_unref(apply->at[i].body);
	free(apply->at);
	overlay_deinit(&apply->overlay);
	if (apply->batch)
		engine_batch_free(apply->batch);
}

static enum status apply_write(struct driver *driver, struct apply *apply)
{
	size_t keys = 0;
	for (uint32_t i = 0; i < apply->count; i++)
		keys += apply->at[i].entry.kind == ENTRY_COMMAND ? command_rows(buffer_bytes(apply->at[i].body)) : 0;
	enum status status = overlay_init(&apply->overlay, keys);
	if (status != STATUS_OK)
		return status;
	apply->batch = engine_batch_new();
	if (!apply->batch)
		return STATUS_NO_MEMORY;
	for (uint32_t i = 0; i < apply->count; i++) {
		status = entry_apply(driver, apply, &apply->at[i]);
		if (status != STATUS_OK)
			return status;
	}
	const struct entry *last = &apply->at[apply->count - 1].entry;
	state_put_mark(driver, apply->batch);
	status = engine_apply(driver->engine, apply->batch, last->index, last->term);
	if (status != STATUS_OK)
		return status;
	driver->applied_term = last->term;
	driver->applied = driver->engine_applied = last->index;
	return STATUS_OK;
}

void driver_answer(struct driver *driver, uint64_t index, uint64_t term, const struct driver_outcome *outcome)
{
	struct waiter *waiter = waiters_first(&driver->waiters);
	if (!waiter || waiter->index != index)
		return;
	assert(waiter->term == term);
	uint64_t token = waiter->token;
	struct driver_outcome told = *outcome;
	/* A fence says that this copy happened nowhere; another one may come when the fence is gone. */
	if (waiter->doubtful && told.status == STATUS_STALE_MAP)
		told.status = STATUS_UNKNOWN_OUTCOME;
	waiters_pop_first(&driver->waiters);
	driver->owner->proposed(driver->owner->arg, driver, token, &told);
}

static void apply_report(struct driver *driver, struct apply *apply)
{
	for (uint32_t i = 0; i < apply->count; i++) {
		struct applying *at = &apply->at[i];
		bool fence = at->command.kind >= COMMAND_FENCE;
		if (fence && at->outcome.status == STATUS_OK)
			driver->owner->fenced(driver->owner->arg, driver, &at->command);
		driver_answer(driver, at->entry.index, at->entry.term, &at->outcome);
	}
}

static void apply_batch(struct driver *driver)
{
	struct apply apply = { 0 };
	enum status status = apply_gather(driver, &apply, driver->commit);
	if (status == STATUS_OK && apply.count > 0)
		status = apply_write(driver, &apply);
	if (status == STATUS_OK)
		apply_report(driver, &apply);
	else if (status == STATUS_NO_SPACE) /* of a flush: what this batch has touched here is loaded again */
		driver->flush.restore_due = true;
	else
		driver_engine_failed(driver, status, "a committed entry could not be applied");
	apply_release(&apply);
}

bool driver_applicable(const struct driver *driver)
{
	return driver->applied < driver->commit && !driver->apply_stalled && !driver->flush.restore_due &&
	       !driver->reseed.running;
}

enum status driver_apply_again(struct driver *driver, uint64_t upto)
{
	enum status status = STATUS_OK;
	while (status == STATUS_OK && driver->applied < upto) {
		struct apply apply = { 0 };
		status = apply_gather(driver, &apply, upto);
		if (status == STATUS_OK && apply.count == 0)
			status = STATUS_CORRUPT; /* it was here once, and the journal has lost it */
		if (status == STATUS_OK)
			status = apply_write(driver, &apply);
		apply_release(&apply);
	}
	return status;
}

void driver_apply(struct driver *driver, struct node_time time)
{
	uint64_t before = driver->applied;
	if (!driver_applicable(driver))
		return;
	if (driver_is_meta(driver))
		meta_apply_batch(driver);
	else
		apply_batch(driver); /* the rest in the next turn */
	if (driver->failed || driver->applied == before)
		return;
	struct group_event event = { .kind = GROUP_APPLIED };
	event.applied.index = driver->applied;
	driver_step(driver, &event, time);
	driver_rounds_applied(driver);
	driver_held_applied(driver);
}
