/* replication/group_follower.c: what a follower does with an append or a snapshot of its leader.
 *
 * An answer says "my log is yours up to `match`, and durable": it waits for the write that it rests on, the one of the
 * term included. While it waits, later appends may come; one answer then speaks for all. */
#include "replication/group_internal.h"

#include <assert.h>

void follower_acknowledge(struct group *group, struct group_effects *out)
{
	assert(group->role == GROUP_FOLLOWER);
	assert(group->leader != 0);
	if (!state_durable(group)) {
		group->ack_due = true;
		return;
	}
	uint64_t match = min_u64(group->durable, group->verified);
	group->ack_due = match < group->verified;
	if (group->corrupt_below != 0)
		match = min_u64(match, group->corrupt_match);
	struct message *reply = message_new(group, out, MESSAGE_APPEND_REPLY, group->leader);
	reply->append_reply.match = match;
	reply->append_reply.commit = group->commit;
	reply->append_reply.probe = group->probe_seen;
	reply->append_reply.incarnation = group->incarnation;
	if (lease_bound(group) && group->bound.leader == group->leader && group->bound.term == group->term)
		reply->append_reply.support_epoch = group->bound.epoch;
	notes_send(group, match, out);
}

static void reject(struct group *group, const struct message *message, uint64_t hint, struct group_effects *out)
{
	struct message *reply = message_new(group, out, MESSAGE_APPEND_REPLY, message->from);
	reply->append_reply.rejected = true;
	reply->append_reply.match = hint;
	reply->append_reply.commit = group->commit;
	reply->append_reply.probe = message->append.probe;
	reply->append_reply.incarnation = group->incarnation;
}

/* What no honest leader sends, whatever it knows. */
static bool append_possible(const struct group *group, const struct message *message)
{
	const struct message_append *append = &message->append;
	if ((append->prev_index == 0) != (append->prev_term == 0) || append->prev_term > message->term)
		return false;
	if (message->term == group->term && group->leader != 0 && group->leader != message->from)
		return false;
	if (message->term == group->term && group->role == GROUP_LEADER)
		return false;
	if (append->last < append->first)
		return true;
	if (append->first != append->prev_index + 1 || append->last - append->first >= APPEND_ENTRIES_MAX)
		return false;
	uint64_t term = append->prev_term;
	for (uint64_t index = append->first; index <= append->last; index++) {
		const struct entry *entry = &append->entries[index - append->first];
		if (entry->index != index || entry->term == 0 || entry->term < term || entry->term > message->term)
			return false;
		term = entry->term;
	}
	return true;
}

/* The sender leads message->term. False: it does not, or no more. */
static bool follow(struct group *group, const struct message *message, struct group_effects *out)
{
	if (message->term < group->term)
		return false;
	if (message->term > group->term || group->role != GROUP_FOLLOWER || group->leader != message->from)
		become_follower(group, message->term, message->from, out);
	assert(group->role == GROUP_FOLLOWER);
	assert(group->leader == message->from);
	if (group->campaign == CAMPAIGN_NORMAL)
		group->campaign = CAMPAIGN_NONE;
	group->abdicated = false;
	group->heard_ns = group->now_ns;
	lease_bind(group, message->from);
	election_arm(group, false); /* stands only while not bound: group_settle */
	return true;
}

/* True: the logs meet at prev. Else it was answered, or dropped as impossible. */
static bool meets(struct group *group, const struct message *message, struct group_effects *out)
{
	uint64_t prev = message->append.prev_index;
	if (prev > group->last) {
		reject(group, message, group->last, out);
		return false;
	}
	if (prev < group->base_index) /* committed here, so the leader's too; or forgotten, then it cannot be told */
		return group->commit >= group->base_index;
	if (group_term_of(group, prev) == message->append.prev_term)
		return true;
	if (prev <= group->commit)
		return false;
	/* The whole run differs, or its begin does not and the next probe finds it. */
	reject(group, message, max_u64(log_run_first(group, prev) - 1, group->commit), out);
	return false;
}

/* The first entry that is not in the log yet; append->last + 1 if all are. 0: it contradicts what is committed. */
static uint64_t first_new(const struct group *group, const struct message_append *append)
{
	for (uint64_t index = append->first; index <= append->last; index++) {
		if (index < group->base_index)
			continue;
		/* At the base the term is known too: what meets us there goes on with terms that can follow ours. */
		if (index > group->last)
			return index;
		if (group_term_of(group, index) != append->entries[index - append->first].term)
			return index <= max_u64(group->commit, group->base_index) ? 0 : index;
	}
	return append->last + 1;
}

/* Bodies of memberships come beside the entries, in order. */
static const struct membership *membership_of(const struct group_event *event, uint64_t index)
{
	const struct message_append *append = &event->received.message->append;
	uint32_t nth = 0;
	for (uint64_t i = append->first; i < index; i++)
		nth += append->entries[i - append->first].kind == ENTRY_MEMBERSHIP;
	return nth < event->received.membership_count ? &event->received.memberships[nth] : NULL;
}

/* False: something in it cannot be. */
static bool memberships_possible(const struct group_event *event)
{
	const struct message_append *append = &event->received.message->append;
	for (uint64_t index = append->first; index <= append->last; index++) {
		if (append->entries[index - append->first].kind != ENTRY_MEMBERSHIP)
			continue;
		const struct membership *membership = membership_of(event, index);
		if (!membership || !membership_valid(membership))
			return false;
	}
	return true;
}

/* Takes over from..last, after cutting what stands there. Gives the last index that was taken. */
static uint64_t take(struct group *group, const struct group_event *event, uint64_t from, struct group_effects *out)
{
	const struct message_append *append = &event->received.message->append;
	uint64_t cut = 0;
	if (from <= group->last) {
		log_truncate(group, from, out);
		cut = from;
	}
	uint64_t index = from;
	for (; index <= append->last; index++) {
		const struct entry *entry = &append->entries[index - append->first];
		if (!log_has_room(group, entry->term))
			break;
		log_append(group, index, entry->term, entry->version);
		note_entry(group, entry->origin, index);
		if (entry->kind == ENTRY_MEMBERSHIP)
			log_push_membership(group, membership_of(event, index), index);
	}
	if (cut != 0 || index > from)
		write_emit(group, out, cut, from, index - 1);
	return index - 1;
}

void follower_append(struct group *group, const struct group_event *event, struct group_effects *out)
{
	const struct message *message = event->received.message;
	const struct message_append *append = &message->append;
	if (!append_possible(group, message) || !memberships_possible(event))
		return;
	if (!follow(group, message, out)) {
		reject(group, message, 0, out);
		return;
	}
	if (append->probe > group->probe_seen)
		group->probe_seen = append->probe;
	if (!meets(group, message, out))
		return;
	uint64_t matched = append->prev_index;
	if (append->first <= append->last) {
		uint64_t from = first_new(group, append);
		/* The oldest membership known is the last that may be rolled back to. */
		if (from == 0 || (from <= group->last && group->memberships[0].index >= from))
			return;
		matched = from <= append->last ? take(group, event, from, out) : append->last;
	}
	group->verified = max_u64(group->verified, min_u64(matched, group->last));
	commit_to(group, min_u64(append->commit, group->verified));
	/* Only what waits for a write is answered later. */
	if (append->last < append->first || group->durable >= group->verified)
		follower_acknowledge(group, out);
	else
		group->ack_due = true;
	assert(group->verified <= group->last);
}

/* --- snapshots ------------------------------------------------------------------------------------------ */

static bool covered(const struct group *group, uint64_t index, uint64_t term)
{
	return index <= group->commit || (index <= group->last && group_term_of(group, index) == term);
}

void follower_snapshot(struct group *group, const struct message *message, struct group_effects *out)
{
	const struct message_snapshot *snapshot = &message->snapshot;
	if (snapshot->index == 0 || snapshot->term == 0 || snapshot->term > message->term)
		return;
	if (message->term == group->term &&
		(group->role == GROUP_LEADER || (group->leader != 0 && group->leader != message->from)))
		return;
	if (!membership_valid(&snapshot->membership) || !follow(group, message, out))
		return;
	if (covered(group, snapshot->index, snapshot->term)) {
		group->verified = max_u64(group->verified, snapshot->index);
		commit_to(group, snapshot->index); /* a snapshot holds nothing else */
		follower_acknowledge(group, out);
		return;
	}
	if (group->installing)
		return;
	group->installing = true;
	struct group_effect *effect = effect_new(out, GROUP_INSTALL);
	effect->install.index = snapshot->index;
	effect->install.term = snapshot->term;
	effect->install.from = message->from;
}

/* The engine holds the snapshot now, so the log begins behind it. What stood above and is not in it, was not
 * committed or is not known to be: it comes again from the leader. */
void follower_installed(struct group *group, const struct group_event *event, struct group_effects *out)
{
	group->installing = false;
	uint64_t index = event->installed.index;
	if (event->installed.failed || index <= group->commit || group->role == GROUP_LEADER)
		return;
	assert(membership_valid(&event->installed.membership));
	if (group->last > group->commit)
		effect_new(out, GROUP_TRUNCATED)->truncated.first = group->commit + 1;
	log_reset(group, index, event->installed.term);
	group->incarnation++; /* what it had above is gone: a lease that counted on it ends */
	group->version_max = max_u64(group->version_max, event->installed.version_max);
	group->memberships[0] = event->installed.membership;
	group->membership_count = 1;
	group->membership_changed = true;
	if (group->corrupt_below <= index)
		group->corrupt_below = 0;
	/* No claim before the journal knows: the answer waits for this write as if it carried the term. */
	write_emit(group, out, 0, 1, 0);
	group->state_ticket = group->tickets;
	group->ack_due = group->leader != 0 && group->role == GROUP_FOLLOWER;
}
