/* server/group_driver_read.c: strong reads without asking anybody (docs/leases.md, G4, L7), and how old the state is.
 *
 * Who may read by its own lease, as responder or as leader, serves what is applied, once nothing above it writes the
 * key. Which entries do is kept as a table of the last index for each of a few hundred hashes: two keys that share a
 * slot make a read wait a little longer, never too short. What came into the log before the table was made, or is not
 * in memory, holds every read.
 *
 * The other reads go by rounds of ReadIndex (group_driver_propose.c). Each says since when the applied state is known
 * to have been whole: that instant is what bounded reads count from. */
#include "server/group_driver_internal.h"

#include <assert.h>
#include <stdlib.h>

enum { HOLD_SLOTS = 512 };

/* --- what is pending ---------------------------------------------------------------------------------- */

void driver_pending_note(struct driver *driver, const struct entry *entry)
{
	if (entry->kind != ENTRY_COMMAND)
		return;
	if (entry->key_hash == 0 || driver->hold_slots == NULL) {
		driver->hold_all = entry->index;
		return;
	}
	driver->hold_slots[entry->key_hash % HOLD_SLOTS] = entry->index;
}

void driver_pending_unknown(struct driver *driver, uint64_t upto)
{
	if (upto > driver->hold_all)
		driver->hold_all = upto;
}

static bool slots_make(struct driver *driver)
{
	if (driver->hold_slots)
		return true;
	driver->hold_slots = calloc(HOLD_SLOTS, sizeof(*driver->hold_slots));
	return driver->hold_slots != NULL;
}

static uint64_t hold_for_key(struct driver *driver, uint64_t key_hash)
{
	uint64_t index = driver->hold_all;
	if (slots_make(driver) && driver->hold_slots[key_hash % HOLD_SLOTS] > index)
		index = driver->hold_slots[key_hash % HOLD_SLOTS];
	return index;
}

/* The last entry above `applied` that writes a key with that prefix. */
static uint64_t hold_for_prefix(const struct driver *driver, struct bytes prefix)
{
	for (uint64_t index = driver->tail.last; index > driver->applied; index--) {
		const struct tail_entry *at = tail_find(&driver->tail, index);
		if (!at)
			return index;
		if (at->entry.kind != ENTRY_COMMAND)
			continue;
		struct command command;
		if (command_decode(buffer_bytes(at->body), &command) != STATUS_OK || command.kind > COMMAND_CAS)
			return index;
		if (bytes_starts_with(command.key, prefix))
			return index;
	}
	return 0;
}

/* What the read must wait for; at most `applied`: nothing. An index that was cut off stands for the log's end. */
static uint64_t hold_index(struct driver *driver, const struct driver_read_of *of)
{
	uint64_t index = of->scan ? hold_for_prefix(driver, of->prefix) : hold_for_key(driver, of->key_hash);
	return index < driver->tail.last ? index : driver->tail.last;
}

/* --- by lease ----------------------------------------------------------------------------------------- */

bool driver_may_read(const struct driver *driver, uint64_t now_ns)
{
	if (!driver_rows_whole(driver) || driver->apply_stalled)
		return false;
	return group_may_read(driver->group, now_ns);
}

enum driver_read_now driver_read_by_lease(
	struct driver *driver, uint64_t token, const struct driver_read_of *of, uint64_t now_ns)
{
	if (!driver_may_read(driver, now_ns))
		return DRIVER_READ_ASK;
	uint64_t index = hold_index(driver, of);
	if (index <= driver->applied)
		return DRIVER_READ_SERVE;
	struct held held = { .index = index, .token = token };
	if (held_push(&driver->held, held) != STATUS_OK)
		return DRIVER_READ_ASK;
	return DRIVER_READ_HELD;
}

static void held_release(struct driver *driver, uint64_t upto, enum status status)
{
	struct held_reads ready = { 0 };
	size_t left = 0;
	for (size_t i = 0; i < driver->held.count; i++) {
		struct held held = driver->held.at[i];
		if (held.index > upto || held_push(&ready, held) != STATUS_OK)
			driver->held.at[left++] = held;
	}
	driver->held.count = left;
	for (size_t i = 0; i < ready.count; i++)
		driver->owner->readable(driver->owner->arg, driver, ready.at[i].token, status, 0);
	held_deinit(&ready);
	if (driver->held.count == 0)
		held_deinit(&driver->held);
}

void driver_held_applied(struct driver *driver)
{
	if (driver->held.count > 0)
		held_release(driver, driver->applied, STATUS_OK);
}

/* Another leader or term, or the log was cut: each looks again for itself. */
void driver_held_look_again(struct driver *driver)
{
	if (driver->held.count > 0)
		held_release(driver, UINT64_MAX, STATUS_CANCELLED);
}

void driver_read_end(struct driver *driver)
{
	struct held_reads held = driver->held;
	driver->held = (struct held_reads){ 0 };
	for (size_t i = 0; i < held.count; i++)
		driver->owner->readable(driver->owner->arg, driver, held.at[i].token, STATUS_NOT_LEADER, 0);
	held_deinit(&held);
	free(driver->hold_slots);
	driver->hold_slots = NULL;
}

/* --- how old ------------------------------------------------------------------------------------------- */

void driver_fresh(struct driver *driver, uint64_t asked_ns)
{
	if (asked_ns > driver->fresh_ns)
		driver->fresh_ns = asked_ns;
}

uint64_t driver_fresh_ns(const struct driver *driver)
{
	return driver->flush.restore_due || driver->reseed.running ? 0 : driver->fresh_ns;
}

void driver_refresh(struct driver *driver)
{
	driver->refresh_due = true;
}
