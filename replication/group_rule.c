/* replication/group_rule.c: the rule in force where a witness stands in for a lost copy (docs/witness.md).
 *
 *     DEGRADE_MAY ------- a copy's node is not heard any more -----> DEGRADED
 *       both copies   <--- every copy has caught up --------------   a majority, with the leader's copy
 *
 * A change of the rule is a membership entry with the same members and another rule, in force from its own index on, as
 * every membership is. The leader appends it by itself, and behind its no-op at once: while a copy is lost nothing
 * that stands under both copies can be committed, the no-op included. Either rule asks for a majority at least, and the
 * election rule is the same under both: at whatever moment it changes, and whoever judges by which, what is committed
 * is in the log of everybody who can be elected.
 *
 * What keeps a witness from locking a copy out: while both copies are asked for it is sent nothing above the commit
 * index, so its log is never ahead of either. While the rule is degraded it is sent everything at once. */
#include "replication/group_internal.h"

#include <assert.h>

static bool holds_data(const struct member *member, bool old)
{
	return (old ? member->role_old : member->role_new) == ROLE_VOTER;
}

bool rule_degraded(const struct membership *membership)
{
	return membership->rule_new.degrade == DEGRADED ||
	       (membership->joint && membership->rule_old.degrade == DEGRADED);
}

static bool is_copy(const struct membership *membership, uint64_t replica)
{
	int at = membership_find(membership, replica);
	return at >= 0 && holds_data(&membership->at[at], false);
}

/* A commit may be heard of before the rule that it was made by. Two copies have it all the same, one's own and the
 * leader's, if both are copies: not one that learns yet, nor one that is about to leave. */
bool rule_told(const struct group *group)
{
	const struct membership *membership = membership_in_force(group);
	if (membership->rule_new.degrade == DEGRADE_NEVER || group->role == GROUP_LEADER)
		return true;
	return is_copy(membership, group->config.replica) && is_copy(membership, group->leader);
}

uint64_t rule_send_max(const struct group *group, unsigned at)
{
	const struct membership *membership = membership_in_force(group);
	if (!member_is_witness(&membership->at[at]) || rule_degraded(membership))
		return group->last;
	return max_u64(group->commit, group->followers[at].match);
}

/* A copy of one of the configurations whose node is not heard. */
static bool copy_lost(const struct group *group, const struct membership *membership, bool old)
{
	for (unsigned i = 0; i < membership->count; i++) {
		const struct member *member = &membership->at[i];
		if (!holds_data(member, old) || member->replica == group->config.replica)
			continue;
		if (!liveness_alive(group->config.liveness, member->node, group->now_ns))
			return true;
	}
	return false;
}

/* The last index that every copy has. */
static uint64_t copies_have(const struct group *group, const struct membership *membership)
{
	uint64_t have = group->durable;
	for (unsigned i = 0; i < membership->count; i++) {
		const struct member *member = &membership->at[i];
		bool data = holds_data(member, false) || (membership->joint && holds_data(member, true));
		if (data && member->replica != group->config.replica)
			have = min_u64(have, group->followers[i].match);
	}
	return have;
}

/* Under load the copies never have the last entry. Those that have, a round trip later, what was the last then, are as
 * near as they get. */
static bool caught_up(struct group *group, const struct membership *membership)
{
	uint64_t round_us = group->config.retransmit_us;
	for (unsigned i = 0; i < membership->count; i++)
		round_us = max_u64(round_us, 2 * liveness_rtt_us(group->config.liveness, membership->at[i].node));
	bool reached = group->return_index != 0 && copies_have(group, membership) >= group->return_index;
	bool in_time = group->now_ns <= group->return_ns + us_ns(round_us);
	if (reached && in_time)
		return true;
	if (reached || group->return_index == 0) {
		group->return_index = group->last;
		group->return_ns = group->now_ns;
	}
	return copies_have(group, membership) >= group->last;
}

/* What the rule of one configuration should be now. */
static uint8_t wanted(struct group *group, const struct membership *membership, bool old)
{
	const struct quorum_rule *rule = old ? &membership->rule_old : &membership->rule_new;
	if (rule->degrade == DEGRADE_NEVER)
		return DEGRADE_NEVER;
	if (copy_lost(group, membership, old)) {
		group->return_index = 0;
		return DEGRADED;
	}
	/* What brings two copies back stands on nothing that is not committed. So of what is not, all but the first
	 * degrade: three at most, with both configurations of a joint one, and there is room for the next. */
	bool settled = group->commit >= membership->index;
	return rule->degrade == DEGRADED && !(settled && caught_up(group, membership)) ? DEGRADED : DEGRADE_MAY;
}

void rule_settle(struct group *group, struct group_effects *out)
{
	assert(group->role == GROUP_LEADER);
	const struct membership *now = membership_in_force(group);
	struct membership next = *now;
	if (group->transfer_sent || group->leaving)
		return;
	if (now->joint)
		next.rule_old.degrade = wanted(group, now, true);
	next.rule_new.degrade = wanted(group, now, false);
	if (next.rule_old.degrade == now->rule_old.degrade && next.rule_new.degrade == now->rule_new.degrade)
		return;
	if (!grants_allow(group, &next))
		return;
	/* A change that waits was made from the rule of before. */
	if (group->change_waiting)
		change_lost(group, out);
	leader_append_own(group, ENTRY_MEMBERSHIP, &next, out);
	group->return_index = 0;
}
