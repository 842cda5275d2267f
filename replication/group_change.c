/* replication/group_change.c: other members, another leader.
 *
 * A change of voters or of the rule passes through a joint membership, in which both configurations must agree; the
 * leader, whichever it then is, appends the final one when the joint one is committed. Learners come and go in one
 * step. One change at a time, and none before the no-op of the term is committed.
 *
 * No membership is appended while a read lease stands that it would leave behind (docs/leases.md, L4): the change waits
 * until all are of the roster in force.
 *
 * A change of members keeps what the rule in force is for who stays (group_rule.c).
 *
 * A transfer: read leases are called back (L5); then no more proposals; when the target has all of the log,
 * TIMEOUT_NOW, and from then on no reads in this term. If no new leader shows up in an election time, the old one steps
 * down: it may not read, so it is of no use. A leader outside the committed membership hands over the same way. */
#include "replication/group_internal.h"

#include <assert.h>
#include <string.h>

/* Elections' times that calling back read leases may take: one that is not answered has lapsed by then. */
enum { TRANSFER_GRANTS_MAX = 12, TRANSFER_ROUNDS = 3 };

static bool votes(uint8_t role)
{
	return role == ROLE_VOTER || role == ROLE_WITNESS;
}

/* But for whether it is degraded at the moment, which is the leader's to say. */
static bool rule_same(const struct quorum_rule *a, const struct quorum_rule *b)
{
	return a->voters == b->voters && a->regions == b->regions && a->copies == b->copies && a->areas == b->areas &&
	       (a->degrade == DEGRADE_NEVER) == (b->degrade == DEGRADE_NEVER);
}

/* Only learners come or go, or who answers reads alone (nobody, before the membership changes: docs/leases.md, L4). */
static bool same_voters(const struct membership *a, const struct membership *b)
{
	if (!rule_same(&a->rule_new, &b->rule_new))
		return false;
	unsigned count = 0, others = 0;
	for (unsigned i = 0; i < a->count; i++) {
		if (!votes(a->at[i].role_new))
			continue;
		count++;
		int at = membership_find(b, a->at[i].replica);
		if (at < 0 || b->at[at].role_new != a->at[i].role_new || b->at[at].areas != a->at[i].areas)
			return false;
	}
	for (unsigned i = 0; i < b->count; i++)
		others += votes(b->at[i].role_new);
	return count == others;
}

static uint8_t unused_number(const struct membership *membership, bool zone)
{
	for (unsigned number = 0;; number++) {
		bool used = false;
		for (unsigned i = 0; i < membership->count; i++)
			used = used || (zone ? membership->at[i].zone : membership->at[i].region) == number;
		if (!used)
			return (uint8_t)number;
	}
}

/* The numbers of regions and zones mean something within one membership only: a leaver's are found by who stays and
 * shared them, else they are new. */
static void number_leaver(struct membership *joint, const struct membership *now, const struct member *leaver)
{
	uint8_t region = unused_number(joint, false), zone = unused_number(joint, true);
	for (unsigned i = 0; i < joint->count; i++) {
		int at = membership_find(now, joint->at[i].replica);
		if (at >= 0 && now->at[at].region == leaver->region)
			region = joint->at[i].region;
		if (at >= 0 && now->at[at].zone == leaver->zone)
			zone = joint->at[i].zone;
	}
	struct member *member = &joint->at[joint->count++];
	*member = *leaver;
	member->role_old = leaver->role_new;
	member->role_new = ROLE_NONE;
	member->region = region;
	member->zone = zone;
}

/* False: more members than fit. */
static bool make_joint(const struct membership *now, const struct membership *wanted, struct membership *joint)
{
	*joint = *wanted;
	joint->joint = true;
	joint->rule_old = now->rule_new;
	for (unsigned i = 0; i < joint->count; i++) {
		int at = membership_find(now, joint->at[i].replica);
		joint->at[i].role_old = at < 0 ? ROLE_NONE : now->at[at].role_new;
	}
	for (unsigned i = 0; i < now->count; i++) {
		if (membership_find(wanted, now->at[i].replica) >= 0)
			continue;
		if (joint->count == REPLICAS_MAX)
			return false;
		number_leaver(joint, now, &now->at[i]);
	}
	return membership_valid(joint);
}

static void make_plain(struct membership *membership)
{
	unsigned count = 0;
	for (unsigned i = 0; i < membership->count; i++) {
		if (membership->at[i].role_new == ROLE_NONE)
			continue;
		membership->at[count] = membership->at[i];
		membership->at[count++].role_old = ROLE_NONE;
	}
	membership->count = (uint8_t)count;
	membership->joint = false;
	membership->rule_old = (struct quorum_rule){ 0 };
}

/* With a witness that stands in for it at once, a change would be complete without a new copy that is not there: one
 * copy less, and nobody lost but it. */
static bool newcomer_lost(const struct group *group, const struct membership *wanted)
{
	const struct membership *now = membership_in_force(group);
	for (unsigned i = 0; wanted->rule_new.degrade != DEGRADE_NEVER && i < wanted->count; i++) {
		const struct member *member = &wanted->at[i];
		int at = membership_find(now, member->replica);
		if (member->role_new != ROLE_VOTER || (at >= 0 && now->at[at].role_new == ROLE_VOTER))
			continue;
		if (!liveness_alive(group->config.liveness, member->node, group->now_ns))
			return true;
	}
	return false;
}

static enum status change_possible(const struct group *group)
{
	const struct membership *now = membership_in_force(group);
	if (group->role != GROUP_LEADER)
		return STATUS_NOT_LEADER;
	if (group->transfer_to != 0 || group->leaving || group->change_pending)
		return STATUS_BUSY;
	if (group->commit < group->noop_index || group->commit < now->index || now->joint)
		return STATUS_BUSY;
	return STATUS_OK;
}

void change_membership(struct group *group, const struct group_event *event, struct group_effects *out)
{
	const struct membership *now = membership_in_force(group);
	struct membership wanted = *event->change.membership, joint;
	enum status status = change_possible(group);
	if (status == STATUS_OK && wanted.count > REPLICAS_MAX)
		status = STATUS_INVALID;
	if (status == STATUS_OK && newcomer_lost(group, &wanted))
		status = STATUS_BUSY;
	if (status == STATUS_OK) {
		make_plain(&wanted);
		const bool same = same_voters(now, &wanted);
		if (wanted.rule_new.degrade != DEGRADE_NEVER)
			wanted.rule_new.degrade = same ? now->rule_new.degrade : DEGRADE_MAY;
		if (!membership_valid(&wanted))
			status = STATUS_INVALID;
		else if (same)
			joint = wanted;
		else if (!make_joint(now, &wanted, &joint))
			status = STATUS_INVALID;
	}
	if (status != STATUS_OK) {
		refuse(out, GROUP_CHANGE, event->change.request, status, group->leader);
		return;
	}
	group->change_pending = true;
	group->change_request = event->change.request;
	group->change_waiting = true; /* change_settle appends it */
	group->change_wanted = joint;
}

static void changed(struct group *group, enum status status, struct group_effects *out)
{
	assert(group->change_pending);
	struct group_effect *effect = effect_new(out, GROUP_CHANGED);
	effect->changed.request = group->change_request;
	effect->changed.status = status;
	group->change_pending = false;
}

void change_settle(struct group *group, struct group_effects *out)
{
	assert(group->role == GROUP_LEADER);
	const struct membership *now = membership_in_force(group);
	if (group->commit < group->noop_index || group->commit < now->index)
		return;
	if (now->joint) {
		struct membership final = *now;
		make_plain(&final);
		if (grants_allow(group, &final))
			leader_append_own(group, ENTRY_MEMBERSHIP, &final, out);
	} else if (group->change_waiting) {
		if (!grants_allow(group, &group->change_wanted))
			return;
		group->change_waiting = false;
		leader_append_own(group, ENTRY_MEMBERSHIP, &group->change_wanted, out);
	} else if (group->change_pending) {
		changed(group, STATUS_OK, out);
	}
}

void change_lost(struct group *group, struct group_effects *out)
{
	group->change_waiting = false;
	if (group->change_pending)
		changed(group, STATUS_UNKNOWN_OUTCOME, out);
}

/* --- transfer ------------------------------------------------------------------------------------------- */

static bool can_take_over(const struct group *group, unsigned at)
{
	const struct member *member = &membership_in_force(group)->at[at];
	return member->role_new == ROLE_VOTER && member->replica != group->config.replica &&
	       group->followers[at].active;
}

/* An election's time, and what is far takes longer: the last entries there, the request, the votes, the first append.
 */
static uint64_t transfer_window_ns(struct group *group)
{
	const struct follower *target = leader_follower(group, group->transfer_to);
	uint64_t rtt_us = target ? liveness_rtt_us(group->config.liveness, target->node) : 0;
	return us_ns(group->config.election_us) + TRANSFER_ROUNDS * us_ns(rtt_us);
}

void transfer_begin(struct group *group, uint64_t to, struct group_effects *out)
{
	enum status status = STATUS_OK;
	int at = membership_find(membership_in_force(group), to);
	if (group->role != GROUP_LEADER)
		status = STATUS_NOT_LEADER;
	else if (group->transfer_to != 0 || group->leaving)
		status = STATUS_BUSY;
	else if (at < 0 || !can_take_over(group, (unsigned)at))
		status = STATUS_INVALID;
	if (status != STATUS_OK) {
		refuse(out, GROUP_TRANSFER, 0, status, group->leader);
		return;
	}
	group->transfer_to = to;
	group->transfer_until_ns = group->now_ns + TRANSFER_GRANTS_MAX * us_ns(group->config.election_us);
}

bool group_hands_over(const struct group *group)
{
	return group->role == GROUP_LEADER && (group->transfer_closing || group->leaving);
}

/* The one that needs least. */
static uint64_t successor(const struct group *group)
{
	int best = -1;
	for (unsigned i = 0; i < membership_in_force(group)->count; i++) {
		if (!can_take_over(group, i))
			continue;
		if (best < 0 || group->followers[i].match > group->followers[best].match)
			best = (int)i;
	}
	return best < 0 ? 0 : group->followers[best].replica;
}

static bool has_left(const struct group *group)
{
	const struct membership *now = membership_in_force(group);
	int at = membership_find(now, group->config.replica);
	if (now->joint || group->commit < now->index)
		return false;
	return at < 0 || now->at[at].role_new != ROLE_VOTER;
}

void transfer_settle(struct group *group, struct group_effects *out)
{
	assert(group->role == GROUP_LEADER);
	if (!group->leaving && has_left(group)) {
		group->leaving = true;
		group->transfer_until_ns = group->now_ns + us_ns(group->config.election_us);
		group->transfer_to = 0;
	}
	if (group->leaving && group->transfer_to == 0)
		group->transfer_to = successor(group);
	if (group->transfer_to != 0 && !group->transfer_closing && !grants_any(group)) {
		group->transfer_closing = true;
		group->transfer_until_ns = group->now_ns + transfer_window_ns(group);
	}
	if (group->now_ns >= group->transfer_until_ns) {
		if (group->transfer_sent || group->leaving) {
			resign(group, group->term, out);
			return;
		}
		group->transfer_to = 0;
		group->transfer_closing = false;
		group->transfer_until_ns = NEVER;
	}
	const struct follower *target = group->transfer_to ? leader_follower(group, group->transfer_to) : NULL;
	if (!target || !group->transfer_closing || group->transfer_sent || target->match < group->last ||
		group->commit < group->noop_index)
		return;
	group->transfer_sent = true;
	group->transfer_until_ns = group->now_ns + transfer_window_ns(group);
	message_new(group, out, MESSAGE_TIMEOUT_NOW, group->transfer_to);
}

void transfer_asked(struct group *group, const struct message *message, struct group_effects *out)
{
	if (message->term != group->term || message->from != group->leader || group->role != GROUP_FOLLOWER)
		return;
	if (!may_campaign(group) || group->now_ns < liveness_elections_from_ns(group->config.liveness))
		return;
	election_campaign(group, CAMPAIGN_TRANSFER, out);
}
