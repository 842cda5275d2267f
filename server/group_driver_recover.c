/* server/group_driver_recover.c: the start of a replica. The journal's recovery feeds what it holds of this group, in
 * order; the engine says what index its state is; driver_started joins the two into GROUP_RESTORED.
 *
 * The log given to the group begins behind S, an index whose term is known, that the engine has applied, and at or
 * above the membership that the engine holds (so that this one is right for S). Entries up to the engine's applied
 * index A stay in the log for slow followers; those above are applied when the group commits them. What can be found:
 *   - the log reaches A with the term that the engine has for it: the common case;
 *   - the log ends below A, or has another term at A: a snapshot was put in place and the crash came before the
 * journal's reset: the reset is written now, and the log is empty behind A;
 *   - the log begins above A + 1, or was reset above A: engine files were lost: as with a damaged one, its state comes
 *     from a peer (group_driver_reseed.c), and the log given to the group begins where the journal's does. */
#include "server/group_driver_internal.h"

#include <assert.h>
#include <stdlib.h>

#include "policy/quorum.h"

static uint64_t recovered_last(const struct recovered *recovered)
{
	return recovered->first + recovered->count - 1;
}

static void recovered_cut(struct recovered *recovered, uint64_t from)
{
	if (from < recovered->first)
		recovered->count = 0;
	else if (from <= recovered_last(recovered))
		recovered->count = (size_t)(from - recovered->first);
	while (recovered->membership_count > 0 && recovered->memberships[recovered->membership_count - 1].index >= from)
		recovered->membership_count--;
}

static void recovered_push(struct driver *driver, const struct entry *entry)
{
	struct recovered *recovered = driver->recovered;
	bool next = recovered->count > 0 && entry->index == recovered_last(recovered) + 1;
	if (recovered->count > 0 && !next && entry->index <= recovered_last(recovered)) {
		recovered_cut(recovered, entry->index);
		repair_cut(driver, entry->index);
		next = recovered->count > 0;
	}
	if (!next) { /* the first, or behind a gap: what lies below it is not a log any more */
		recovered->first = entry->index;
		recovered->count = 0;
		recovered->membership_count = 0;
		repair_cut(driver, 1);
	}
	if (recovered->count == recovered->capacity) {
		size_t capacity = recovered->capacity ? 2 * recovered->capacity : 64;
		struct entry *entries = realloc(recovered->entries, capacity * sizeof(*entries));
		if (!entries) {
			recovered->status = STATUS_NO_MEMORY;
			return;
		}
		recovered->entries = entries;
		recovered->capacity = capacity;
	}
	recovered->entries[recovered->count++] = *entry;
}

void driver_recovered_state(struct driver *driver, uint64_t term, uint64_t vote)
{
	assert(driver->recovered);
	driver->recovered->term = term;
	driver->recovered->vote = vote;
}

static enum status recovered_membership(struct recovered *recovered, uint64_t index, struct bytes body)
{
	struct unpacker unpacker;
	unpack_init(&unpacker, body);
	struct membership *memberships =
		realloc(recovered->memberships, (recovered->membership_count + 1) * sizeof(*memberships));
	if (!memberships)
		return STATUS_NO_MEMORY;
	recovered->memberships = memberships;
	struct membership *membership = &memberships[recovered->membership_count];
	enum status status = membership_decode(&unpacker, membership);
	if (status != STATUS_OK || !unpack_end(&unpacker))
		return STATUS_CORRUPT;
	membership->index = index;
	recovered->membership_count++;
	return STATUS_OK;
}

void driver_recovered_entry(struct driver *driver, const struct journal_entry *given)
{
	struct recovered *recovered = driver->recovered;
	assert(recovered);
	struct entry entry = { .index = given->index,
		.term = given->term,
		.version = given->version,
		.key_hash = given->key_hash,
		.size = given->size,
		.origin = given->origin,
		.kind = given->kind };
	recovered_push(driver, &entry);
	if (recovered->status == STATUS_OK && entry.kind == ENTRY_MEMBERSHIP)
		recovered->status = recovered_membership(recovered, entry.index, given->body);
}

void driver_recovered_cut(struct driver *driver, uint64_t from)
{
	assert(driver->recovered);
	recovered_cut(driver->recovered, from);
	repair_cut(driver, from);
}

void driver_recovered_reset(struct driver *driver, uint64_t index, uint64_t term)
{
	struct recovered *recovered = driver->recovered;
	assert(recovered);
	recovered_cut(recovered, 1);
	repair_cut(driver, 1);
	recovered->base_index = index;
	recovered->base_term = term;
	recovered->first = index + 1;
}

/* Index 0: something durable was lost and even its name with it; no promise of this replica can be told. */
void driver_recovered_corrupt(struct driver *driver, uint64_t index, uint64_t term)
{
	assert(driver->recovered);
	if (index == 0) {
		driver->recovered->status = STATUS_CORRUPT;
		return;
	}
	struct entry entry = { .index = index, .term = term, .kind = ENTRY_COMMAND };
	recovered_push(driver, &entry);
	if (driver->recovered->status == STATUS_OK)
		driver->recovered->status = repair_add(driver, index, term);
}

/* A lost record's term may be lost with it. It lies between its neighbours' (the last entry's lies below the group's
 * own term): when these agree it is theirs. False: it cannot be told, and it is needed. */
static bool missing_terms(struct driver *driver)
{
	struct recovered *recovered = driver->recovered;
	for (uint32_t i = 0; i < driver->missing_count; i++) {
		struct missing *missing = &driver->missing[i];
		uint64_t at = missing->index - recovered->first;
		uint64_t before = at > 0 ? recovered->entries[at - 1].term : recovered->base_term;
		uint64_t after = recovered->term;
		for (uint64_t next = at + 1; next < recovered->count; next++) {
			if (recovered->entries[next].term == 0)
				continue;
			after = recovered->entries[next].term;
			break;
		}
		if (missing->term == 0 && before != 0 && before == after)
			missing->term = recovered->entries[at].term = before;
		if (missing->term == 0 && missing->index > driver->applied)
			return false;
	}
	return true;
}

/* --- joining journal and engine ------------------------------------------------------------------- */

/* Where the log begins, for the group. */
struct log_start {
	uint64_t index, term;
	bool reset; /* the journal's log ends here and is to be told so */
};

static uint64_t recovered_term(const struct recovered *recovered, uint64_t index)
{
	if (index == recovered->base_index)
		return recovered->base_term;
	assert(index >= recovered->first);
	assert(index <= recovered_last(recovered));
	return recovered->entries[index - recovered->first].term;
}

static uint64_t highest_missing_upto(const struct driver *driver, uint64_t index)
{
	uint64_t highest = 0;
	for (uint32_t i = 0; i < driver->missing_count && driver->missing[i].index <= index; i++)
		highest = driver->missing[i].index;
	return highest;
}

/* The engine is damaged: the state will come from a peer, and the log begins where the journal's does. */
static enum status log_start_alone(const struct driver *driver, struct log_start *start)
{
	const struct recovered *recovered = driver->recovered;
	uint64_t last = recovered->count > 0 ? recovered_last(recovered) : recovered->base_index;
	uint64_t index = recovered->count > 0 ? recovered->first - 1 : recovered->base_index;
	if (recovered->count > 0 && (index != recovered->base_index || (index > 0 && recovered->base_term == 0)))
		index = recovered->first;
	if (index < driver->membership.index)
		index = driver->membership.index;
	if (index > last) /* the label is of a state that the journal has never heard of */
		return STATUS_CORRUPT;
	*start = (struct log_start){ .index = index, .term = recovered_term(recovered, index) };
	return index == 0 || start->term != 0 ? STATUS_OK : STATUS_CORRUPT;
}

/* CORRUPT: the engine lacks what the journal was cut for. */
static enum status log_start_joined(const struct driver *driver, struct log_start *start)
{
	const struct recovered *recovered = driver->recovered;
	uint64_t applied = driver->applied;
	*start = (struct log_start){ .index = applied, .term = driver->applied_term };
	if (recovered->base_index > applied)
		return STATUS_CORRUPT;
	if (recovered->count == 0) {
		start->reset = applied > 0 && recovered->base_index != applied;
		return STATUS_OK;
	}
	if (recovered->first > applied + 1)
		return STATUS_CORRUPT;
	if (recovered->first == applied + 1)
		return STATUS_OK;
	uint64_t term = recovered_last(recovered) < applied ? 0 : recovered_term(recovered, applied);
	if (term != driver->applied_term && !(term == 0 && recovered_last(recovered) >= applied)) {
		start->reset = true;
		return STATUS_OK;
	}
	uint64_t index = recovered->first - 1; /* 0, or where the journal was reset; else its term is not known */
	if (index != recovered->base_index || (index > 0 && recovered->base_term == 0))
		index = recovered->first;
	if (index < driver->membership.index)
		index = driver->membership.index;
	uint64_t missing = highest_missing_upto(driver, applied);
	if (index <= missing) /* applied, so not needed here; but it cannot be sent to anybody */
		index = missing + 1;
	if (index >= applied)
		return STATUS_OK;
	start->index = index;
	start->term = recovered_term(recovered, index);
	return STATUS_OK;
}

static enum status log_start(struct driver *driver, struct log_start *start)
{
	if (!driver->reseed.running) {
		enum status status = log_start_joined(driver, start);
		if (status == STATUS_CORRUPT)
			status = reseed_open(driver, true);
		if (status != STATUS_OK || !driver->reseed.running)
			return status;
	}
	enum status status = log_start_alone(driver, start);
	if (status != STATUS_OK)
		return status;
	driver->applied = driver->engine_applied = start->index;
	driver->applied_term = start->term;
	return STATUS_OK;
}

/* What was applied was committed in its term, whatever the journal had made durable of it before the crash. */
static void raise_term(struct recovered *recovered, uint64_t term)
{
	if (term <= recovered->term)
		return;
	recovered->term = term;
	recovered->vote = 0;
}

static enum status restore(struct driver *driver, const struct log_start *start, struct node_time time)
{
	struct recovered *recovered = driver->recovered;
	raise_term(recovered, driver->applied_term);
	if (start->reset) {
		recovered->count = 0;
		recovered->membership_count = 0;
		repair_cut(driver, 1);
		enum status status = journal_append_state(
			driver->options.journal, driver->options.group, recovered->term, recovered->vote);
		if (status == STATUS_OK)
			status = journal_append_reset(
				driver->options.journal, driver->options.group, start->index, start->term);
		if (status != STATUS_OK)
			return status;
		driver->owner->flush_wanted(driver->owner->arg);
	}
	repair_release(driver, driver->applied);
	uint64_t last = recovered->count > 0 ? recovered_last(recovered) : start->index;
	uint64_t skip = recovered->count > 0 ? start->index + 1 - recovered->first : 0;
	uint32_t membership_skip = 0;
	while (membership_skip < recovered->membership_count &&
		recovered->memberships[membership_skip].index <= start->index)
		membership_skip++;
	struct group_event event = { .kind = GROUP_RESTORED };
	event.restored.term = recovered->term;
	event.restored.vote = recovered->vote;
	event.restored.snapshot_index = start->index;
	event.restored.snapshot_term = start->term;
	event.restored.applied = driver->applied;
	event.restored.version_max = driver->version_max;
	event.restored.membership = driver->membership;
	event.restored.entries = recovered->entries ? recovered->entries + skip : NULL;
	event.restored.count = (uint32_t)(last - start->index);
	event.restored.memberships = recovered->memberships ? recovered->memberships + membership_skip : NULL;
	event.restored.membership_count = recovered->membership_count - membership_skip;
	event.restored.corrupt_below = driver->missing_count > 0 ? driver->missing[driver->missing_count - 1].index : 0;
	driver->repairing = driver->missing_count > 0;
	if (driver->repairing)
		driver->repair_deadline_ns = time.now_ns;
	if (driver->reseed.running) {
		driver->reseed.ask_ns = time.now_ns;
		group_set_damaged(driver->group, true);
	}
	tail_reset(&driver->tail, last);
	driver_pending_unknown(driver, last);
	driver->commit = driver->applied;
	driver->trimmed = start->index;
	driver->started = true;
	driver_step(driver, &event, time);
	return driver->failed ? STATUS_CORRUPT : STATUS_OK;
}

static void recovered_free(struct driver *driver)
{
	if (!driver->recovered)
		return;
	free(driver->recovered->entries);
	free(driver->recovered->memberships);
	free(driver->recovered);
	driver->recovered = NULL;
}

void driver_recovery_drop(struct driver *driver)
{
	recovered_free(driver);
}

enum status driver_started(struct driver *driver, struct node_time time)
{
	assert(!driver->started);
	assert(driver->recovered);
	assert(driver->options.journal);
	enum status status = driver->recovered->status;
	struct log_start start;
	if (status == STATUS_OK && !missing_terms(driver))
		status = STATUS_CORRUPT;
	if (status == STATUS_OK)
		status = log_start(driver, &start);
	if (status == STATUS_OK)
		status = restore(driver, &start, time);
	recovered_free(driver);
	if (status == STATUS_OK)
		driver_members_watch(driver);
	return status;
}
