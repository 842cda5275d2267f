/* replication/group_borrow.c: a responder's read lease (docs/leases.md, G2 and G3).
 *
 * The lease is not a time but a claim, looked at when somebody reads: what the leader's node lent ours still stands,
 * and the leader with those whose support it relayed meets every election set. Any other term, leader or incarnation of
 * the log ends it. */
#include "replication/group_internal.h"

#include <assert.h>
#include <string.h>

static const struct membership *roster_of(const struct group *group)
{
	for (uint32_t i = 0; i < group->membership_count; i++)
		if (group->memberships[i].index == group->borrowed.roster)
			return &group->memberships[i];
	return NULL;
}

/* The leader is with us as long as it lends. */
static uint64_t excluded_until(const struct group *group, const struct membership *roster, uint64_t leader_node)
{
	uint64_t until[REPLICAS_MAX];
	for (unsigned i = 0; i < roster->count; i++) {
		uint64_t epoch = group->borrowed.support_epochs[i];
		until[i] = roster->at[i].replica == group->leader ? NEVER
								  : liveness_relayed_until_ns(group->config.liveness,
									    leader_node, roster->at[i].node, epoch);
	}
	return lease_blocked_until(roster, until);
}

uint64_t borrow_until(const struct group *group)
{
	const struct borrowed *borrowed = &group->borrowed;
	if (group->role != GROUP_FOLLOWER || group->leader == 0 || borrowed->lent_epoch == 0)
		return 0;
	if (borrowed->term != group->term || borrowed->incarnation != group->incarnation)
		return 0;
	if (group->verified < borrowed->floor || group->corrupt_below != 0 || group->installing)
		return 0;
	const struct membership *roster = roster_of(group);
	int leader = roster ? membership_find(roster, group->leader) : -1;
	if (leader < 0 || roster->count != borrowed->count)
		return 0;
	uint64_t node = roster->at[leader].node;
	uint64_t lent = liveness_borrowed_until_ns(group->config.liveness, node, borrowed->lent_epoch);
	return min_u64(lent, excluded_until(group, roster, node));
}

bool group_may_read(const struct group *group, uint64_t now_ns)
{
	if (group->role == GROUP_LEADER)
		return lease_may_read(group, now_ns);
	return borrow_until(group) > now_ns;
}

void borrow_granted(struct group *group, const struct message *message, struct group_effects *out)
{
	const struct message_grant *grant = &message->grant;
	struct borrowed *borrowed = &group->borrowed;
	if (group->role != GROUP_FOLLOWER || message->term != group->term || message->from != group->leader)
		return;
	if (borrowed->term != group->term)
		memset(borrowed, 0, sizeof(*borrowed));
	borrowed->term = group->term;
	bool refused = grant->lent_epoch != 0 && grant->incarnation != group->incarnation;
	if (grant->number > borrowed->number) {
		memset(borrowed, 0, sizeof(*borrowed));
		borrowed->term = group->term;
		borrowed->number = grant->number;
		if (!refused && grant->lent_epoch != 0) {
			borrowed->lent_epoch = grant->lent_epoch;
			borrowed->roster = grant->roster;
			borrowed->floor = grant->floor;
			borrowed->incarnation = grant->incarnation;
			borrowed->count = grant->count;
			memcpy(borrowed->support_epochs, grant->support_epochs, sizeof(borrowed->support_epochs));
		}
	} else if (grant->number < borrowed->number) {
		return; /* overtaken: the later one was answered */
	}
	struct message *reply = message_new(group, out, MESSAGE_GRANT_REPLY, message->from);
	reply->grant_reply.number = grant->number;
	reply->grant_reply.incarnation = group->incarnation;
	reply->grant_reply.refused = refused;
}
