/* replication/group_lease.c: promises between a leader and its voters, hung on the support between their nodes.
 *
 * A voter that accepts an append binds itself to (leader, term, epoch of the support that its node gives the leader's).
 * From then on its promise is as long as that support; when the support's epoch is over, or the leader itself says that
 * it no longer leads, the binding is over and what was promised runs out on our clock.
 *
 * Why a withdrawal at the vote is enough. Let a leader count a set S of bound voters that meets every election set, and
 * let somebody be elected after its term. The first such election set meets S in a voter v. No leader came between, so
 * v was still bound to the old leader when it voted, and before that its epoch went up for ever: S does not count. */
#include "replication/group_internal.h"

#include <assert.h>

static uint64_t node_of(const struct group *group, uint64_t replica)
{
	for (uint32_t i = group->membership_count; i-- > 0;) {
		int at = membership_find(&group->memberships[i], replica);
		if (at >= 0)
			return group->memberships[i].at[at].node;
	}
	return 0;
}

bool lease_bound(const struct group *group)
{
	return group->bound.epoch != 0;
}

void lease_unbind(struct group *group)
{
	if (!lease_bound(group))
		return;
	uint64_t promised = liveness_promised_until_ns(group->config.liveness, group->bound.node);
	group->promise_end_ns = max_u64(group->promise_end_ns, promised);
	group->bound.epoch = 0;
}

void lease_bind(struct group *group, uint64_t leader)
{
	assert(leader != group->config.replica);
	uint64_t node = node_of(group, leader);
	uint64_t epoch = node ? liveness_granted_epoch(group->config.liveness, node) : 0;
	if (lease_bound(group) && group->bound.leader == leader && group->bound.term == group->term &&
		group->bound.epoch == epoch)
		return;
	lease_unbind(group);
	group->bound.leader = leader;
	group->bound.node = node;
	group->bound.term = group->term;
	group->bound.epoch = epoch;
}

bool lease_lapse(struct group *group)
{
	if (!lease_bound(group))
		return false;
	if (liveness_granted_epoch(group->config.liveness, group->bound.node) == group->bound.epoch)
		return false;
	lease_unbind(group);
	return true;
}

/* Before a vote against a leader whose support has run out: it never revives. */
void lease_withdraw(struct group *group)
{
	if (!lease_bound(group))
		return;
	assert(liveness_promised_until_ns(group->config.liveness, group->bound.node) <= group->now_ns);
	liveness_withdraw(group->config.liveness, group->bound.node, group->now_ns);
	lease_unbind(group);
}

uint64_t lease_promise_until(const struct group *group)
{
	uint64_t until = group->promise_end_ns;
	if (lease_bound(group))
		until = max_u64(until, liveness_promised_until_ns(group->config.liveness, group->bound.node));
	return until;
}

/* Until when the member supports us, as bound in this group. The leader's promise to itself is renewed at every step;
 * it is bounded so that a leader alone does not promise for ever. */
static uint64_t supported_until(const struct group *group, uint64_t replica, uint64_t now_ns)
{
	if (replica == group->config.replica)
		return now_ns + 2 * us_ns(group->config.election_us);
	int at = membership_find(membership_in_force(group), replica);
	if (at < 0 || group->followers[at].epoch == 0)
		return 0;
	const struct follower *follower = &group->followers[at];
	return liveness_supported_until_ns(group->config.liveness, follower->node, follower->epoch);
}

uint64_t lease_blocked_until(const struct membership *membership, const uint64_t until[REPLICAS_MAX])
{
	member_set promised = 0;
	for (unsigned n = 0; n < membership->count; n++) {
		int longest = -1;
		for (unsigned i = 0; i < membership->count; i++)
			if (!(promised >> i & 1) && (longest < 0 || until[i] > until[longest]))
				longest = (int)i;
		promised |= (member_set)1 << longest;
		if (quorum_blocks_elections(membership, promised))
			return until[longest];
	}
	return 0;
}

static uint64_t blocked_until(const struct group *group, const struct membership *membership, uint64_t now_ns)
{
	uint64_t until[REPLICAS_MAX];
	for (unsigned i = 0; i < membership->count; i++)
		until[i] = supported_until(group, membership->at[i].replica, now_ns);
	return lease_blocked_until(membership, until);
}

uint64_t lease_lead_until(const struct group *group, uint64_t now_ns)
{
	assert(group->role == GROUP_LEADER);
	uint64_t until = NEVER;
	for (uint32_t i = memberships_oldest(group); i < group->membership_count; i++)
		until = min_u64(until, blocked_until(group, &group->memberships[i], now_ns));
	return until;
}

bool lease_may_read(const struct group *group, uint64_t now_ns)
{
	if (group->role != GROUP_LEADER || group->transfer_sent || group->leaving)
		return false;
	return group->commit >= group->noop_index && lease_lead_until(group, now_ns) > now_ns;
}

void lease_promise_self(struct group *group)
{
	assert(group->role == GROUP_LEADER);
	uint64_t until = lease_lead_until(group, group->now_ns);
	if (until != NEVER)
		group->promise_end_ns = max_u64(group->promise_end_ns, until);
	group->promise_end_ns = max_u64(group->promise_end_ns, grants_end_ns(group));
}

bool lease_blocks(const struct group *group, uint64_t above_probe)
{
	for (uint32_t m = memberships_oldest(group); m < group->membership_count; m++) {
		const struct membership *membership = &group->memberships[m];
		member_set answered = 0;
		for (unsigned i = 0; i < membership->count; i++) {
			uint64_t replica = membership->at[i].replica;
			int at = membership_find(membership_in_force(group), replica);
			bool own = replica == group->config.replica;
			if (own || (at >= 0 && group->followers[at].probe_acked > above_probe))
				answered |= (member_set)1 << i;
		}
		if (!quorum_blocks_elections(membership, answered))
			return false;
	}
	return true;
}
