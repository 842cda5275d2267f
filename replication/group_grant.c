/* replication/group_grant.c: the leader's read leases to responders (docs/leases.md, L1..L6; Bodega's roster leases in
 * star form).
 *
 * A grant is said once and stands until something in it changes; how long it stands is a matter between nodes
 * (replication/liveness.h), so an idle group says nothing. From the moment it is sent its replica is in the cover:
 *
 *     free ----> granted, not acknowledged ----> granted ----> revoked, not acknowledged ----> free
 *                        \________________________\____________________\___ what was lent is over ____/
 *
 * What a grant says is of one roster, one set of bindings and one incarnation of the responder's log; when any of them
 * changes it is said anew, under a higher number and with a new floor. */
#include "replication/group_internal.h"

#include <assert.h>
#include <string.h>

bool is_responder(const struct membership *membership, uint64_t replica)
{
	int at = membership->local_reads ? membership_find(membership, replica) : -1;
	return at >= 0 && membership->at[at].role_new == ROLE_VOTER;
}

/* L2: something was granted that its replica may still read by. */
static bool live(const struct group *group, const struct grant *grant)
{
	const struct liveness *liveness = group->config.liveness;
	if (grant->lent_epoch == 0)
		return false;
	return grant->lent_epoch == liveness_lent_epoch(liveness, grant->node) ||
	       group->now_ns < liveness_lent_ended_ns(liveness, grant->node);
}

/* A leader that the membership leaves without a vote: its followers leave it by themselves. */
static bool leaves(const struct group *group, const struct membership *membership)
{
	int at = membership_find(membership, group->config.replica);
	return at < 0 || membership->at[at].role_new != ROLE_VOTER;
}

static struct grant *grant_of(struct group *group, uint64_t replica)
{
	for (unsigned i = 0; i < REPLICAS_MAX; i++)
		if (group->grants[i].replica == replica)
			return &group->grants[i];
	return NULL;
}

static void grant_free(struct group *group, struct grant *grant)
{
	assert(grant->replica != 0);
	liveness_unlend(group->config.liveness, grant->node);
	memset(grant, 0, sizeof(*grant));
}

/* L1, L4, L5: who is to have a lease, whatever the state of its log. */
static bool wanted(const struct group *group, uint64_t replica)
{
	const struct membership *now = membership_in_force(group);
	if (replica == group->config.replica || group->commit < group->noop_index)
		return false;
	if (group->transfer_to != 0 || group->leaving || leaves(group, now) || !is_responder(now, replica))
		return false;
	const struct membership *next = &group->change_wanted;
	return !group->change_waiting || (is_responder(next, replica) && !leaves(group, next));
}

bool grants_any(const struct group *group)
{
	for (unsigned i = 0; i < REPLICAS_MAX; i++)
		if (group->grants[i].replica != 0 && live(group, &group->grants[i]))
			return true;
	return false;
}

uint64_t grants_end_ns(const struct group *group)
{
	uint64_t end = 0;
	for (unsigned i = 0; i < REPLICAS_MAX; i++)
		if (group->grants[i].replica != 0 && live(group, &group->grants[i]))
			end = max_u64(end, liveness_lent_until_ns(group->config.liveness, group->grants[i].node));
	return end;
}

static uint64_t match_of(const struct group *group, uint64_t replica)
{
	int at = membership_find(membership_in_force(group), replica);
	return at < 0 ? 0 : group->followers[at].match;
}

uint64_t grants_cover(const struct group *group)
{
	uint64_t cover = NEVER;
	for (unsigned i = 0; i < REPLICAS_MAX; i++) {
		const struct grant *grant = &group->grants[i];
		if (grant->replica != 0 && live(group, grant))
			cover = min_u64(cover, match_of(group, grant->replica));
	}
	return cover;
}

bool grants_allow(const struct group *group, const struct membership *next)
{
	uint64_t roster = membership_in_force(group)->index;
	for (unsigned i = 0; i < REPLICAS_MAX; i++) {
		const struct grant *grant = &group->grants[i];
		if (grant->replica == 0 || !live(group, grant))
			continue;
		if (grant->revoking || leaves(group, next) || !is_responder(next, grant->replica))
			return false;
		if (grant->acked < grant->since || grant->roster != roster)
			return false;
	}
	return true;
}

/* --- in time ---------------------------------------------------------------------------------------------- */

/* L6: by when a healthy responder has answered what was said at `said_ns`. */
static uint64_t late_at_ns(const struct group *group, const struct grant *grant, uint64_t said_ns)
{
	uint64_t rtt_ns = us_ns(liveness_rtt_us(group->config.liveness, grant->node));
	return said_ns + 2 * us_ns(group->config.retransmit_us) + rtt_ns;
}

static bool unanswered(const struct group *group, const struct grant *grant)
{
	return grant->acked < grant->since && live(group, grant);
}

static void mark(struct group *group, struct grant *grant)
{
	grant->mark_index = group->last;
	grant->mark_ns = group->now_ns;
}

static void look_behind(struct group *group, struct grant *grant)
{
	bool late = late_at_ns(group, grant, grant->mark_ns) <= group->now_ns;
	if (match_of(group, grant->replica) >= grant->mark_index) {
		grant->caught_up = true;
		mark(group, grant);
	} else if (late) {
		grant->caught_up = false;
		if (live(group, grant))
			liveness_withhold(group->config.liveness, grant->node, group->now_ns);
		else
			mark(group, grant); /* it starts again from here */
	}
	/* Nothing may be missing in its log, and yet it does not hear us: whoever waits for its answer waits no longer.
	 */
	if (unanswered(group, grant) && late_at_ns(group, grant, grant->since_ns) <= group->now_ns)
		liveness_withhold(group->config.liveness, grant->node, group->now_ns);
}

void grants_settle(struct group *group)
{
	assert(group->role == GROUP_LEADER);
	for (unsigned i = 0; i < REPLICAS_MAX; i++) {
		struct grant *grant = &group->grants[i];
		if (grant->replica == 0)
			continue;
		if (!live(group, grant))
			grant->lent_epoch = 0;
		look_behind(group, grant);
		if (grant->lent_epoch == 0 && !wanted(group, grant->replica))
			grant_free(group, grant);
	}
}

/* L8. Before anybody hears that this replica leads no more: followers that then leave it remember what they promised
 * until now, not what their nodes go on promising ours. */
void grants_drop(struct group *group)
{
	for (unsigned i = 0; i < REPLICAS_MAX; i++) {
		struct grant *grant = &group->grants[i];
		if (grant->replica == 0)
			continue;
		if (live(group, grant))
			liveness_lent_end(group->config.liveness, grant->node);
		grant_free(group, grant);
	}
}

/* One that is far behind would hold every write up. */
static bool ready(const struct grant *grant, const struct follower *follower)
{
	return follower->active && follower->state == FOLLOWER_REPLICATE && follower->incarnation != 0 &&
	       grant->caught_up;
}

/* Whether grants_send says it when its time comes: a deadline is of that only. */
static bool sayable(const struct group *group, const struct grant *grant)
{
	int at = membership_find(membership_in_force(group), grant->replica);
	if (at < 0 || !wanted(group, grant->replica))
		return at >= 0;
	return ready(grant, &group->followers[at]) && liveness_lent_epoch(group->config.liveness, grant->node) != 0;
}

static uint64_t deadline_of(const struct group *group, const struct grant *grant)
{
	bool again = unanswered(group, grant) && sayable(group, grant);
	uint64_t deadline = again ? grant->retry_at_ns : NEVER;
	/* Once it is lent no more, liveness tells when what was lent is over. */
	bool behind = match_of(group, grant->replica) < grant->mark_index && live(group, grant);
	uint64_t match_late_ns = late_at_ns(group, grant, grant->mark_ns);
	uint64_t answer_late_ns = late_at_ns(group, grant, grant->since_ns);
	if (behind && match_late_ns > group->now_ns)
		deadline = min_u64(deadline, match_late_ns);
	if (unanswered(group, grant) && answer_late_ns > group->now_ns)
		deadline = min_u64(deadline, answer_late_ns);
	return deadline;
}

uint64_t grants_deadline(const struct group *group)
{
	uint64_t deadline = NEVER;
	for (unsigned i = 0; i < REPLICAS_MAX; i++)
		if (group->grants[i].replica != 0)
			deadline = min_u64(deadline, deadline_of(group, &group->grants[i]));
	return deadline;
}

bool grants_settled(const struct group *group)
{
	for (unsigned i = 0; i < REPLICAS_MAX; i++) {
		const struct grant *grant = &group->grants[i];
		if (grant->replica != 0 && unanswered(group, grant))
			return false;
	}
	return true;
}

/* --- saying it -------------------------------------------------------------------------------------------- */

static struct message *grant_message(struct group *group, struct grant *grant, struct group_effects *out)
{
	struct message *message = message_new(group, out, MESSAGE_GRANT, grant->replica);
	grant->number = ++group->grant_number;
	grant->retry_at_ns = group->now_ns + us_ns(group->config.retransmit_us);
	message->grant.number = grant->number;
	return message;
}

/* From this number on it says something else than before. */
static void since(const struct group *group, struct grant *grant)
{
	grant->since = grant->number;
	grant->since_ns = group->now_ns;
}

static void revoke(struct group *group, struct grant *grant, struct group_effects *out)
{
	bool again = grant->revoking;
	grant_message(group, grant, out); /* lent_epoch 0 */
	if (!again)
		since(group, grant);
	grant->revoking = true;
}

/* G1. Whatever was granted before stands until this one is acknowledged: the cover does not change by it. */
static void grant_again(
	struct group *group, struct grant *grant, const struct follower *follower, struct group_effects *out)
{
	const struct membership *roster = membership_in_force(group);
	uint64_t epoch = liveness_lent_epoch(group->config.liveness, grant->node);
	assert(epoch != 0);
	bool same = !grant->revoking && grant->lent_epoch == epoch && grant->roster == roster->index &&
		    grant->bindings == group->bindings && grant->incarnation == follower->incarnation;
	struct message *message = grant_message(group, grant, out);
	if (!same)
		since(group, grant);
	grant->revoking = false;
	grant->lent_epoch = epoch;
	grant->roster = roster->index;
	grant->bindings = group->bindings;
	grant->incarnation = follower->incarnation;
	message->grant.roster = roster->index;
	message->grant.floor = group->last;
	message->grant.incarnation = follower->incarnation;
	message->grant.lent_epoch = epoch;
	message->grant.count = roster->count;
	for (unsigned i = 0; i < roster->count; i++)
		message->grant.support_epochs[i] = group->followers[i].epoch;
}

static bool says_so_already(const struct group *group, const struct grant *grant, const struct follower *follower)
{
	return !grant->revoking && live(group, grant) &&
	       grant->lent_epoch == liveness_lent_epoch(group->config.liveness, grant->node) &&
	       grant->roster == membership_in_force(group)->index && grant->bindings == group->bindings &&
	       grant->incarnation == follower->incarnation &&
	       (grant->acked >= grant->since || group->now_ns < grant->retry_at_ns);
}

static struct grant *grant_new(struct group *group, const struct follower *follower)
{
	struct grant *grant = grant_of(group, 0);
	assert(grant); /* one for each member, and those of former members are over: L4 */
	if (!liveness_lend(group->config.liveness, follower->node, group->now_ns))
		return NULL;
	grant->replica = follower->replica;
	grant->node = follower->node;
	mark(group, grant);
	look_behind(group, grant);
	return grant;
}

void grants_send(struct group *group, struct group_effects *out)
{
	assert(group->role == GROUP_LEADER);
	const struct membership *now = membership_in_force(group);
	for (unsigned i = 0; i < now->count; i++) {
		const struct follower *follower = &group->followers[i];
		struct grant *grant = grant_of(group, follower->replica);
		if (!wanted(group, follower->replica)) {
			bool due = grant && live(group, grant) &&
				   (!grant->revoking || grant->retry_at_ns <= group->now_ns);
			if (due)
				revoke(group, grant, out);
			continue;
		}
		if (!grant)
			grant = grant_new(group, follower);
		if (!grant || !ready(grant, follower) || says_so_already(group, grant, follower))
			continue;
		if (liveness_lent_epoch(group->config.liveness, grant->node) != 0)
			grant_again(group, grant, follower, out);
	}
}

/* G2's answer. Numbers below `since` speak of what was said before. */
void grants_reply(struct group *group, const struct message *message)
{
	const struct message_grant_reply *reply = &message->grant_reply;
	struct grant *grant = message->from != 0 ? grant_of(group, message->from) : NULL;
	if (group->role != GROUP_LEADER || message->term != group->term || !grant || reply->number > grant->number)
		return;
	if (reply->number < grant->since)
		return;
	grant->acked = max_u64(grant->acked, reply->number);
	/* It has forgotten all that came before this number, and could not take what this one gave. */
	if (grant->revoking || reply->refused)
		grant->lent_epoch = 0;
	struct follower *follower = leader_follower(group, message->from);
	if (reply->refused && follower)
		follower->incarnation = reply->incarnation;
}
