/* replication/group_note.c: origin acks (docs/leases.md, O2, O3): who has an entry durably tells its origin too, and
 * the origin commits by the same rule as the leader, one message earlier.
 *
 * A note says what an append's answer says, so it leaves under the same conditions. Whoever learns of a commit set, and
 * when, changes nothing about it: what could not be undone for the leader cannot be undone for the origin. */
#include "replication/group_internal.h"

#include <assert.h>
#include <string.h>

/* --- acceptors ---------------------------------------------------------------------------------------- */

void note_entry(struct group *group, uint16_t origin, uint64_t index)
{
	if (origin == (uint16_t)group->config.replica)
		group->own_last = index;
	if (origin == 0 || origin == (uint16_t)group->config.replica)
		return;
	struct note_owed *free = NULL;
	for (unsigned i = 0; i < REPLICAS_MAX; i++) {
		struct note_owed *owed = &group->owed[i];
		if (owed->origin == origin) {
			owed->last = max_u64(owed->last, index);
			owed->first = min_u64(owed->first, index);
			return;
		}
		if (owed->origin == 0 && !free)
			free = owed;
	}
	if (free) /* else it learns from the leader */
		*free = (struct note_owed){ .first = index, .last = index, .origin = origin };
}

static uint64_t replica_of(const struct group *group, uint16_t origin)
{
	const struct membership *membership = membership_in_force(group);
	for (unsigned i = 0; i < membership->count; i++)
		if ((uint16_t)membership->at[i].replica == origin)
			return membership->at[i].replica;
	return 0;
}

/* What is durable here and the leader's up to `match`. The leader itself answers who hears it anyway. */
void notes_send(struct group *group, uint64_t match, struct group_effects *out)
{
	for (unsigned i = 0; i < REPLICAS_MAX; i++) {
		struct note_owed *owed = &group->owed[i];
		if (owed->origin == 0 || match < owed->first)
			continue;
		uint64_t to = replica_of(group, owed->origin);
		if (to != 0 && to != group->leader && to != group->config.replica)
			message_new(group, out, MESSAGE_NOTE, to)->note.match = match;
		if (match >= owed->last)
			owed->origin = 0;
		else
			owed->first = match + 1;
	}
}

/* --- the origin ----------------------------------------------------------------------------------------- */

void notes_forget(struct group *group)
{
	memset(group->noted, 0, sizeof(group->noted));
	memset(group->owed, 0, sizeof(group->owed));
	group->own_last = 0;
}

void note_received(struct group *group, const struct message *message)
{
	if (group->role != GROUP_FOLLOWER || group->leader == 0 || message->term != group->term)
		return;
	if (membership_find(membership_in_force(group), message->from) < 0)
		return;
	struct noted *to = NULL;
	for (unsigned i = 0; i < REPLICAS_MAX && !to; i++)
		if (group->noted[i].replica == message->from)
			to = &group->noted[i];
	for (unsigned i = 0; i < REPLICAS_MAX && !to; i++)
		if (group->noted[i].replica == 0)
			to = &group->noted[i];
	if (!to)
		return; /* former members fill it: the leader's notice comes all the same */
	to->replica = message->from;
	to->match = max_u64(to->match, message->note.match);
}

/* The log of this member is known to be the leader's up to here, durably. */
static uint64_t durable_of(const struct group *group, uint64_t replica)
{
	if (replica == group->config.replica) {
		uint64_t own = state_durable(group) ? min_u64(group->durable, group->verified) : 0;
		return group->corrupt_below != 0 ? min_u64(own, group->corrupt_match) : own;
	}
	for (unsigned i = 0; i < REPLICAS_MAX; i++)
		if (group->noted[i].replica == replica)
			return group->noted[i].match;
	return 0;
}

static bool covered(const struct group *group, const struct membership *membership, uint64_t index)
{
	member_set durable = 0;
	for (unsigned i = 0; i < membership->count; i++) {
		uint64_t replica = membership->at[i].replica;
		bool has = durable_of(group, replica) >= index;
		if (has)
			durable |= (member_set)1 << i;
		else if (is_responder(membership, replica) && replica != group->leader)
			return false;
	}
	return quorum_commits(membership, durable);
}

/* O3. Not beyond the last entry of its own: the leader answers ReadIndex by where other origins' entries lie (O5). */
void notes_advance(struct group *group)
{
	const struct membership *membership = membership_in_force(group);
	if (group->role != GROUP_FOLLOWER || group->leader == 0 || group->noted[0].replica == 0)
		return;
	if (membership->joint || membership->index > group->verified)
		return;
	if (group_term_of(group, group->commit) != group->term) /* P18: its no-op is not known to be committed */
		return;
	uint64_t best = group->commit;
	for (unsigned i = 0; i < membership->count; i++) {
		uint64_t index = min_u64(durable_of(group, membership->at[i].replica), group->verified);
		index = min_u64(index, group->own_last);
		if (index > best && group_term_of(group, index) == group->term && covered(group, membership, index))
			best = index;
	}
	commit_to(group, best);
}
