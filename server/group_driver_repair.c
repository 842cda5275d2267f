/* server/group_driver_repair.c: entries that the journal acknowledged and the disk lost. Their (index, term) are known,
 * so the log check still holds; their bodies are asked of the leader, or of the members in turn while none is known.
 * What comes back is believed only under the same index and term, by which it is the same entry. Until the last of them
 * is back, or cut off by a leader, the replica does not campaign (the group) and does not apply past the first (the
 * driver). A membership among them stops the node once it is on disk: the group learns of memberships in the log's
 * order only, and a start from a whole journal is that. */
#include "server/group_driver_internal.h"

#include <assert.h>
#include <stdlib.h>

#include "policy/quorum.h"

enum status repair_add(struct driver *driver, uint64_t index, uint64_t term)
{
	struct missing *missing = realloc(driver->missing, (driver->missing_count + 1) * sizeof(*missing));
	if (!missing)
		return STATUS_NO_MEMORY;
	driver->missing = missing;
	uint32_t at = driver->missing_count;
	for (; at > 0 && missing[at - 1].index > index; at--)
		missing[at] = missing[at - 1];
	if (at > 0 && missing[at - 1].index == index) { /* reported twice */
		for (; at < driver->missing_count; at++)
			missing[at] = missing[at + 1];
		return STATUS_OK;
	}
	missing[at] = (struct missing){ index, term };
	driver->missing_count++;
	return STATUS_OK;
}

static uint32_t missing_find(const struct driver *driver, uint64_t index)
{
	uint32_t at = 0;
	while (at < driver->missing_count && driver->missing[at].index != index)
		at++;
	return at;
}

bool repair_awaits(const struct driver *driver, uint64_t index)
{
	return driver->missing_count > 0 && missing_find(driver, index) < driver->missing_count;
}

/* Something at or below the index is missing. */
bool repair_awaits_upto(const struct driver *driver, uint64_t index)
{
	return driver->missing_count > 0 && driver->missing[0].index <= index;
}

static void missing_remove(struct driver *driver, uint32_t at)
{
	assert(at < driver->missing_count);
	for (uint32_t i = at; i + 1 < driver->missing_count; i++)
		driver->missing[i] = driver->missing[i + 1];
	driver->missing_count--;
	driver->apply_stalled = false; /* looked at again */
	if (driver->missing_count > 0)
		return;
	free(driver->missing);
	driver->missing = NULL;
	driver->repair_deadline_ns = UINT64_MAX;
}

/* Entries from `from` on are gone from the log; so is what was missing of them. */
void repair_cut(struct driver *driver, uint64_t from)
{
	while (driver->missing_count > 0 && driver->missing[driver->missing_count - 1].index >= from)
		missing_remove(driver, driver->missing_count - 1);
}

/* What is applied, or below the log's start, is not needed any more. */
void repair_release(struct driver *driver, uint64_t upto)
{
	while (driver->missing_count > 0 && driver->missing[0].index <= upto)
		missing_remove(driver, 0);
}

/* After anything that may have ended it. Not from within a step. */
void repair_settle(struct driver *driver)
{
	assert(!driver->stepping);
	if (!driver->repairing || driver->missing_count > 0 || driver->failed)
		return;
	driver->repairing = false;
	group_repaired(driver->group);
}

static uint64_t whom_to_ask(struct driver *driver)
{
	uint64_t leader = driver->leader;
	if (leader != 0 && leader != driver->options.replica && driver->repair_tries % 2 == 0)
		return leader;
	const struct membership *membership = group_membership(driver->group);
	for (unsigned i = 0; i < membership->count; i++) {
		const struct member *member = &membership->at[(driver->repair_tries / 2 + i) % membership->count];
		if (member->replica != driver->options.replica && !member_is_witness(member))
			return member->replica;
	}
	return 0;
}

static void ask(struct driver *driver, struct node_time time)
{
	assert(driver->missing_count > 0);
	driver->repair_deadline_ns = time.now_ns + driver->options.retransmit_us * 1000;
	uint64_t to = whom_to_ask(driver);
	driver->repair_tries++;
	if (to == 0)
		return;
	uint32_t last = 0;
	while (last + 1 < driver->missing_count && driver->missing[last + 1].index == driver->missing[last].index + 1 &&
		last + 1 < APPEND_ENTRIES_MAX)
		last++;
	struct message message = { .kind = MESSAGE_REPAIR,
		.group = driver->options.group,
		.from = driver->options.replica,
		.to = to,
		.term = group_status(driver->group, time.now_ns).term };
	message.repair.first = driver->missing[0].index;
	message.repair.last = driver->missing[last].index;
	driver_send(driver, to, &message);
}

void driver_repair_expired(struct driver *driver, struct node_time time)
{
	if (!driver->failed && driver->missing_count > 0 && driver->repair_deadline_ns <= time.now_ns)
		ask(driver, time);
}

void driver_repair_asked(struct driver *driver, const struct message *message, struct node_time time)
{
	const struct message_repair *repair = &message->repair;
	if (membership_find(group_membership(driver->group), message->from) < 0)
		return;
	if (repair->first == 0 && repair->last == 0)
		driver_reseed_asked(driver, message->from, time);
	if (repair->first == 0 || repair->last < repair->first || repair->last - repair->first >= APPEND_ENTRIES_MAX)
		return;
	struct message reply = { .kind = MESSAGE_REPAIR_REPLY,
		.group = driver->options.group,
		.from = driver->options.replica,
		.to = message->from,
		.term = group_status(driver->group, driver->now_ns).term };
	reply.repair_reply.first = repair->first;
	reply.repair_reply.last = repair->last;
	driver_log_send_entries(driver, &reply, &reply.repair_reply);
}

static enum status take(struct driver *driver, const struct entry *entry, struct bytes body)
{
	uint32_t at = missing_find(driver, entry->index);
	if (at == driver->missing_count || driver->missing[at].term != entry->term || entry->size != body.size)
		return STATUS_OK;
	enum status status = driver_log_repair(driver, entry, body);
	if (status == STATUS_OK)
		missing_remove(driver, at);
	return status;
}

void driver_repair_received(struct driver *driver, const struct message *message, struct node_time time)
{
	const struct message_append *reply = &message->repair_reply;
	uint32_t before = driver->missing_count;
	for (uint64_t index = reply->first; reply->entries && index <= reply->last && !driver->failed; index++) {
		size_t at = (size_t)(index - reply->first);
		if (at >= APPEND_ENTRIES_MAX || reply->entries[at].index != index)
			return;
		bool membership = reply->entries[at].kind == ENTRY_MEMBERSHIP && repair_awaits(driver, index);
		enum status status = take(driver, &reply->entries[at], reply->bodies[at]);
		if (status != STATUS_OK)
			driver_fail(driver, status, "a repaired entry could not be written");
		driver->repaired_membership = driver->repaired_membership || membership;
	}
	if (driver->failed)
		return;
	if (driver->missing_count > 0 && driver->missing_count < before)
		ask(driver, time); /* without progress only at the deadline */
	else if (driver->missing_count == 0 && driver->repaired_membership)
		driver_fail(driver, STATUS_CORRUPT, "a membership was repaired in the journal: start again");
	repair_settle(driver);
}
