/* replication/group.c: see replication/group.h; the parts are listed in replication/group_internal.h. */
#include "replication/group_internal.h"

#include <assert.h>
#include <string.h>

static_assert(sizeof(struct group) <= 10240, "ten thousand groups cost at most 100 MB");

struct group_effect *effect_new(struct group_effects *out, enum group_effect_kind kind)
{
	assert(out->count < GROUP_EFFECTS_MAX);
	struct group_effect *effect = &out->at[out->count++];
	memset(effect, 0, sizeof(*effect));
	effect->kind = kind;
	return effect;
}

struct message *message_new(struct group *group, struct group_effects *out, uint8_t kind, uint64_t to)
{
	assert(out->message_count < GROUP_MESSAGES_MAX);
	assert(to != group->config.replica);
	struct message *message = &out->messages[out->message_count++];
	memset(message, 0, sizeof(*message));
	message->kind = kind;
	message->group = group->config.group;
	message->from = group->config.replica;
	message->to = to;
	message->term = group->term;
	effect_new(out, GROUP_SEND)->send = message;
	return message;
}

void refuse(
	struct group_effects *out, enum group_event_kind what, uint64_t request, enum status status, uint64_t leader)
{
	assert(status != STATUS_OK);
	struct group_effect *effect = effect_new(out, GROUP_REFUSE);
	effect->refuse.what = what;
	effect->refuse.request = request;
	effect->refuse.status = status;
	effect->refuse.leader = leader;
}

size_t group_size(const struct group_config *config)
{
	(void)config;
	return sizeof(struct group);
}

struct group *group_init(void *memory, const struct group_config *config)
{
	assert(memory);
	assert(config->replica != 0);
	assert(config->node != 0);
	assert(config->liveness);
	assert(config->election_us > 0);
	assert(config->retransmit_us > 0);
	assert(config->append_entries_max > 0);
	assert(config->append_entries_max <= APPEND_ENTRIES_MAX);
	assert(config->inflight_max > 0);
	struct group *group = memory;
	memset(group, 0, sizeof(*group));
	group->config = *config;
	prng_seed(&group->prng, config->seed);
	group->nonce = prng_next(&group->prng) >> 1;
	group->role = GROUP_FOLLOWER;
	group->membership_count = 1; /* an empty one until GROUP_RESTORED */
	group->election_at_ns = group->resign_at_ns = group->transfer_until_ns = NEVER;
	group->incarnation = liveness_boot(config->liveness);
	return group;
}

/* --- start ------------------------------------------------------------------------------------------------ */

/* Our own journal's word: the driver has checked it. */
static void restored(struct group *group, const struct group_event *event)
{
	assert(event->restored.applied >= event->restored.snapshot_index);
	group->term = event->restored.term;
	group->vote = event->restored.vote;
	group->base_index = group->snapshot_index = group->last = event->restored.snapshot_index;
	group->base_term = event->restored.snapshot_term;
	group->commit = group->released = event->restored.snapshot_index;
	group->version_max = event->restored.version_max;
	group->memberships[0] = event->restored.membership;
	group->membership_changed = true;
	uint32_t nth = 0;
	for (uint32_t i = 0; i < event->restored.count; i++) {
		const struct entry *entry = &event->restored.entries[i];
		/* The oldest runs are forgotten as far as they are applied. */
		group->commit = group->released = min_u64(event->restored.applied, group->last);
		log_append(group, entry->index, entry->term, entry->version);
		if (entry->kind != ENTRY_MEMBERSHIP)
			continue;
		assert(nth < event->restored.membership_count);
		log_push_membership(group, &event->restored.memberships[nth++], entry->index);
	}
	assert(event->restored.applied <= group->last);
	group->commit = group->released = group->applied = event->restored.applied;
	group->durable = group->last;
	group->corrupt_below = event->restored.corrupt_below;
	group->corrupt_match = event->restored.applied;
	group->restored = true;
	/* A snapshot came in just before the end, the term that it came with did not: no vote was cast in it. */
	if (log_last_term(group) > group->term)
		state_set(group, log_last_term(group), 0);
	log_fold_memberships(group);
	election_arm(group, false);
}

void group_repaired(struct group *group)
{
	group->corrupt_below = 0;
	if (group->role == GROUP_FOLLOWER)
		election_arm(group, false);
}

/* --- events ------------------------------------------------------------------------------------------------ */

static void received(struct group *group, const struct group_event *event, struct group_effects *out)
{
	const struct message *message = event->received.message;
	const uint64_t bound = UINT64_MAX / 2; /* beyond it, sums might wrap: nobody counts that far */
	if (message->group != group->config.group || message->to != group->config.replica)
		return;
	if (message->from == 0 || message->from == group->config.replica || message->term == 0 || message->term > bound)
		return;
	switch (message->kind) {
	case MESSAGE_APPEND:
		if (message->append.prev_index <= bound)
			follower_append(group, event, out);
		break;
	case MESSAGE_APPEND_REPLY:
		leader_reply(group, message, out);
		break;
	case MESSAGE_VOTE:
		election_vote(group, message, out);
		break;
	case MESSAGE_VOTE_REPLY:
		election_vote_reply(group, message, out);
		break;
	case MESSAGE_TIMEOUT_NOW:
		transfer_asked(group, message, out);
		break;
	case MESSAGE_READ_INDEX:
		read_asked(group, message, out);
		break;
	case MESSAGE_READ_INDEX_REPLY:
		read_answered(group, message, out);
		break;
	case MESSAGE_GRANT:
		borrow_granted(group, message, out);
		break;
	case MESSAGE_GRANT_REPLY:
		grants_reply(group, message);
		break;
	case MESSAGE_NOTE:
		if (message->note.match <= bound)
			note_received(group, message);
		break;
	case MESSAGE_SNAPSHOT:
		if (message->snapshot.index <= bound)
			follower_snapshot(group, message, out);
		break;
	default:
		break;
	}
}

static void leader_gone(struct group *group, struct group_effects *out)
{
	assert(group->role == GROUP_FOLLOWER);
	lease_unbind(group);
	group->leader = 0;
	reads_leader_lost(group, out);
	election_arm(group, true);
}

static void peer(struct group *group, uint64_t node, enum liveness_change change, struct group_effects *out)
{
	if (group->role == GROUP_LEADER) {
		if (change != LIVENESS_DOWN)
			leader_peer(group, node);
		return;
	}
	if (group->role != GROUP_FOLLOWER || group->leader == 0 || group->bound.node != node)
		return;
	/* A binding that stands is to the support of now: lease_lapse has ended what was given to a process before. */
	if (lease_bound(group))
		return;
	bool silent = change == LIVENESS_DOWN && !liveness_alive(group->config.liveness, node, group->now_ns);
	if (change == LIVENESS_RESTARTED || silent)
		leader_gone(group, out);
}

static void expired(struct group *group, struct group_effects *out)
{
	if (group->role == GROUP_LEADER)
		leader_retry(group);
	else if (group->election_at_ns <= group->now_ns)
		election_expired(group, out);
}

static void durable(struct group *group, uint64_t ticket, struct group_effects *out)
{
	write_durable(group, ticket);
	if (group->role == GROUP_FOLLOWER && group->leader != 0 && group->ack_due)
		follower_acknowledge(group, out);
	election_continue(group, out);
}

static void dispatch(struct group *group, const struct group_event *event, struct group_effects *out)
{
	switch (event->kind) {
	case GROUP_RESTORED:
		restored(group, event);
		break;
	case GROUP_RECEIVED:
		received(group, event, out);
		break;
	case GROUP_PROPOSED:
		leader_propose(group, event, out);
		break;
	case GROUP_CHANGE:
		change_membership(group, event, out);
		break;
	case GROUP_READ:
		read_local(group, event->read.request, out);
		break;
	case GROUP_EXPIRED:
		expired(group, out);
		break;
	case GROUP_PEER:
		peer(group, event->peer.node, event->peer.change, out);
		break;
	case GROUP_DURABLE:
		durable(group, event->durable.ticket, out);
		break;
	case GROUP_APPLIED:
		assert(event->applied.index <= group->released);
		group->applied = max_u64(group->applied, event->applied.index);
		break;
	case GROUP_COMPACTED:
		assert(event->compacted.index <= group->applied);
		log_compact(group, event->compacted.index);
		break;
	case GROUP_INSTALLED:
		follower_installed(group, event, out);
		break;
	case GROUP_TRANSFER:
		transfer_begin(group, event->transfer.to, out);
		break;
	}
}

/* --- what follows ------------------------------------------------------------------------------------------ */

/* Without its lease a leader cannot know that it still is one: after a while it says so. */
static void settle_lease(struct group *group, struct group_effects *out)
{
	assert(group->role == GROUP_LEADER);
	lease_promise_self(group);
	/* Nor is one of use whose disk stands still, though its node is heard. */
	if (write_stall_ns(group) <= group->now_ns) {
		resign(group, group->term, out);
		return;
	}
	if (lease_lead_until(group, group->now_ns) > group->now_ns)
		group->resign_at_ns = NEVER;
	else if (group->resign_at_ns == NEVER)
		group->resign_at_ns = group->now_ns + 2 * us_ns(group->config.election_us);
	else if (group->resign_at_ns <= group->now_ns)
		resign(group, group->term, out);
}

/* The committed membership has no vote for the leader. It knew so before we did, and reads and takes nothing any more:
 * it hands over and is removed. If that went unheard, its node may go on supporting others and being supported. */
static bool leader_left(const struct group *group)
{
	const struct membership *now = membership_in_force(group);
	int at = membership_find(now, group->leader);
	if (now->joint || group->commit < now->index)
		return false;
	return at < 0 || now->at[at].role_new != ROLE_VOTER;
}

static void settle_follower(struct group *group)
{
	assert(group->role != GROUP_LEADER);
	if (group->role == GROUP_FOLLOWER && group->leader != 0 && leader_left(group))
		lease_unbind(group);
	if (!may_campaign(group)) {
		if (group->role != GROUP_FOLLOWER)
			group->leader = 0;
		group->role = GROUP_FOLLOWER;
		if (!group->abdicated || group->leader != 0)
			group->election_at_ns = NEVER;
		else if (group->election_at_ns == NEVER)
			election_arm(group, false);
	} else if (group->role == GROUP_FOLLOWER && group->leader != 0 && lease_bound(group)) {
		group->election_at_ns = NEVER; /* liveness tells when this ends (B9) */
	} else if (group->election_at_ns == NEVER) {
		election_arm(group, false);
	}
}

void group_set_damaged(struct group *group, bool damaged)
{
	group->damaged = damaged;
	if (!group->restored || group->role == GROUP_LEADER)
		return;
	if (!damaged)
		election_arm(group, false);
	settle_follower(group);
}

static void settle(struct group *group, struct group_effects *out)
{
	if (group->role == GROUP_LEADER) {
		grants_settle(group);
		rule_settle(group, out);
		leader_advance(group);
		notes_send(group, group->durable, out);
		change_settle(group, out);
		settle_lease(group, out);
	}
	if (group->role == GROUP_LEADER)
		transfer_settle(group, out);
	notes_advance(group);
	commit_release(group, out);
	reads_settle(group, out);
	if (group->role == GROUP_LEADER) {
		leader_feed(group, out);
		grants_send(group, out);
	} else {
		settle_follower(group);
	}
	if (group->state_dirty)
		write_emit(group, out, 0, 1, 0);
	if (group->membership_changed)
		effect_new(out, GROUP_MEMBERSHIP)->membership = membership_in_force(group);
	group->membership_changed = false;
}

void group_step(struct group *group, const struct group_event *event, struct group_effects *out)
{
	assert(event->now_ns >= group->now_ns);
	assert(group->restored == (event->kind != GROUP_RESTORED));
	out->count = out->message_count = 0;
	group->now_ns = event->now_ns;
	group->wall_us = event->wall_us;
	enum group_role role = group->role;
	uint64_t term = group->term, leader = group->leader;
	log_fold_memberships(group);
	if (group->role == GROUP_LEADER) /* what it promised itself while it had nothing to do */
		lease_promise_self(group);
	if (lease_lapse(group) && group->role == GROUP_FOLLOWER && group->leader != 0)
		leader_gone(group, out);
	dispatch(group, event, out);
	settle(group, out);
	if (role != group->role || term != group->term || leader != group->leader || event->kind == GROUP_RESTORED) {
		struct group_effect *effect = effect_new(out, GROUP_ROLE);
		effect->role.term = group->term;
		effect->role.leader = group->leader;
		effect->role.role = group->role;
	}
}

void group_end(struct group *group)
{
	grants_drop(group);
}

uint64_t group_deadline(const struct group *group)
{
	uint64_t deadline = group->role == GROUP_LEADER ? leader_deadline(group) : group->election_at_ns;
	return min_u64(deadline, reads_deadline(group));
}

struct group_status group_status(const struct group *group, uint64_t now_ns)
{
	bool leads = group->role == GROUP_LEADER;
	const struct membership *membership = membership_in_force(group);
	return (struct group_status){
		.term = group->term,
		.first = group->base_index + 1,
		.last = group->last,
		.durable = group->durable,
		.commit = group->commit,
		.applied = group->applied,
		.lead_until_ns = lease_may_read(group, now_ns) ? lease_lead_until(group, now_ns) : 0,
		.leader = group->leader,
		.snapshot_index = group->snapshot_index,
		.role = group->role,
		.transferring = leads && (group->transfer_to != 0 || group->leaving),
		.degraded = rule_degraded(membership),
		.changing = membership->joint || membership->index > group->commit,
		.quiescent = leads && leader_quiescent(group),
	};
}

const struct membership *group_membership(const struct group *group)
{
	return membership_in_force(group);
}
