/* replication/group_election.c: who leads.
 *
 *                      timer                  an election set would vote        an election set voted
 *     FOLLOWER ----------------> PRECANDIDATE -----------------> CANDIDATE -----------------------> LEADER
 *        ^  \_______ TIMEOUT_NOW, no pre-vote _____________________^                                  |
 *        |____ an append of this term, any higher term, resignation (lease lost, transfer ended) _____|
 *
 * Nobody takes part while a promise of his runs (B2) or in the time after a start (B4). Everything that is said rests
 * on what is durable: a candidate waits until its whole log and its own vote are, a voter's grant waits for its vote;
 * a voter compares with its whole log, durable or not. A pre-vote changes nothing at who is asked, except that one
 * which comes from the leader itself says that it leads no more (B9). */
#include "replication/group_internal.h"

#include <assert.h>

static bool leads_in(const struct group *group, const struct membership *membership)
{
	int at = membership_find(membership, group->config.replica);
	if (at < 0)
		return false;
	const struct member *member = &membership->at[at];
	return member->role_new == ROLE_VOTER || (membership->joint && member->role_old == ROLE_VOTER);
}

/* Whoever is asked for a vote answers by the request, not by this. One whom a membership leaves out may still be needed
 * until that is committed: if only it has that entry, nobody else can be elected by those who must be asked. */
static bool may_lead(const struct group *group)
{
	if (group->corrupt_below != 0 || group->damaged)
		return false;
	for (uint32_t i = memberships_oldest(group); i < group->membership_count; i++)
		if (leads_in(group, &group->memberships[i]))
			return true;
	return false;
}

bool may_campaign(const struct group *group)
{
	return may_lead(group) && log_has_room(group, group->term + 1);
}

static member_set own_set(const struct group *group)
{
	int at = membership_find(membership_in_force(group), group->config.replica);
	return at < 0 ? 0 : (member_set)1 << at;
}

/* The longest round trip to another voter, as far as it is known. */
static uint64_t round_ns(const struct group *group)
{
	const struct membership *membership = membership_in_force(group);
	member_set voters = membership_voters(membership);
	uint64_t round_us = 0;
	for (unsigned i = 0; i < membership->count; i++)
		if (voters >> i & 1)
			round_us = max_u64(round_us, liveness_rtt_us(group->config.liveness, membership->at[i].node));
	return us_ns(round_us);
}

/* How many voters stand before this one. */
static unsigned turn_of(const struct group *group)
{
	const struct membership *membership = membership_in_force(group);
	member_set voters = membership_voters(membership);
	unsigned turn = 0;
	for (unsigned i = 0; i < membership->count && membership->at[i].replica != group->config.replica; i++)
		turn += voters >> i & 1;
	return turn;
}

/* Two that stand at once split the votes and stand again, a round later. Near each other, chance keeps them apart.
 * Where a request takes longer than chance spreads, everybody has a turn: by the next one's, the request of the first
 * is there. Either way who hears of another first yields to it. */
static bool takes_turns(const struct group *group)
{
	return 3 * round_ns(group) >= us_ns(group->config.election_us);
}

static uint64_t turn_ns(struct group *group, uint64_t election_ns)
{
	uint64_t slot_ns = 3 * round_ns(group) / 4;
	if (!takes_turns(group))
		return prng_below(&group->prng, election_ns);
	return turn_of(group) * slot_ns + prng_below(&group->prng, slot_ns / 4 + 1);
}

/* soon: the leader is known to be gone; else as long as it takes to be sure, or to have the votes. */
void election_arm(struct group *group, bool soon)
{
	uint64_t from = max_u64(group->now_ns, lease_promise_until(group));
	from = max_u64(from, liveness_elections_from_ns(group->config.liveness));
	uint64_t election_ns = us_ns(group->config.election_us);
	uint64_t wait = turn_ns(group, election_ns) + (soon ? 0 : max_u64(election_ns, 2 * round_ns(group)));
	if (group->role == GROUP_FOLLOWER && quorum_elects(membership_in_force(group), own_set(group)))
		wait = 0;
	group->election_at_ns = from + wait;
}

static void ask_vote(struct group *group, uint64_t voter, bool pre, uint64_t term, struct group_effects *out)
{
	struct message *message = message_new(group, out, MESSAGE_VOTE, voter);
	message->term = term;
	message->vote.last_index = group->durable;
	message->vote.last_term = group_term_of(group, group->durable);
	message->vote.pre = pre;
	message->vote.transfer = !pre && group->campaign_transfer;
}

static void ask_votes(struct group *group, bool pre, uint64_t term, struct group_effects *out)
{
	const struct membership *membership = membership_in_force(group);
	member_set voters = membership_voters(membership);
	for (unsigned i = 0; i < membership->count; i++)
		if ((voters >> i & 1) && membership->at[i].replica != group->config.replica)
			ask_vote(group, membership->at[i].replica, pre, term, out);
}

/* The others sit still as long as our node lives: they have to be told that we lead no more (B9), those too whom a
 * membership not yet committed leaves out. When no vote is asked for in earnest it names the term behind the one that
 * we led, which is durable, so that no later lease of ours can meet a late copy of it. From a follower this pre-vote is
 * no more than that: no answer counts. */
static void announce(struct group *group, uint64_t term, struct group_effects *out)
{
	uint64_t told[REPLICAS_MAX];
	unsigned count = 0;
	for (uint32_t m = group->membership_count; m-- > 0;) {
		const struct membership *membership = &group->memberships[m];
		for (unsigned i = 0; i < membership->count && count < REPLICAS_MAX; i++) {
			uint64_t replica = membership->at[i].replica;
			bool known = replica == group->config.replica;
			for (unsigned j = 0; j < count; j++)
				known = known || told[j] == replica;
			if (known)
				continue;
			told[count++] = replica;
			ask_vote(group, replica, true, term, out);
		}
	}
}

static void become_candidate(struct group *group, struct group_effects *out)
{
	assert(group->durable == group->last);
	assert(group->role != GROUP_LEADER);
	if (!group->campaign_transfer)
		lease_withdraw(group);
	lease_unbind(group);
	group->role = GROUP_CANDIDATE;
	group->leader = 0;
	group->vote_reply_to = 0;
	group->votes = 0;
	group->votes_asked = false;
	state_set(group, group->term + 1, group->config.replica);
	election_arm(group, false);
	(void)out; /* votes are asked for when our own is durable: election_continue */
}

static void become_precandidate(struct group *group, struct group_effects *out)
{
	assert(group->durable == group->last);
	assert(group->role != GROUP_LEADER);
	group->role = GROUP_PRECANDIDATE;
	group->yielded = false;
	group->leader = 0;
	group->campaign_transfer = false;
	group->votes = own_set(group);
	election_arm(group, false);
	if (quorum_elects(membership_in_force(group), group->votes))
		become_candidate(group, out);
	else if (group->abdicated)
		announce(group, group->term + 1, out);
	else
		ask_votes(group, true, group->term + 1, out);
}

/* Now, or when all that was written is durable: nothing that might be lost is advertised. */
void election_campaign(struct group *group, enum campaign campaign, struct group_effects *out)
{
	assert(campaign != CAMPAIGN_NONE);
	group->campaign = campaign;
	group->campaign_term = group->term;
	if (group->durable < group->last || !state_durable(group)) {
		if (group->abdicated) /* others need not wait for our disk */
			announce(group, group->led_term + 1, out);
		return;
	}
	group->campaign = CAMPAIGN_NONE;
	if (campaign == CAMPAIGN_TRANSFER) {
		group->campaign_transfer = true;
		become_candidate(group, out);
	} else {
		become_precandidate(group, out);
	}
}

void election_expired(struct group *group, struct group_effects *out)
{
	assert(group->role != GROUP_LEADER);
	group->election_at_ns = NEVER;
	if (!may_campaign(group)) {
		assert(group->abdicated);
		announce(group, group->led_term + 1, out);
		election_arm(group, false);
		return;
	}
	if (group->now_ns < lease_promise_until(group) ||
		group->now_ns < liveness_elections_from_ns(group->config.liveness)) {
		if (group->abdicated)
			announce(group, group->led_term + 1, out);
		election_arm(group, true);
		return;
	}
	election_arm(group, false);
	if (group->election_at_ns <= group->now_ns) /* alone: the next attempt, should this one wait for the disk */
		group->election_at_ns = group->now_ns + us_ns(group->config.election_us);
	election_campaign(group, CAMPAIGN_NORMAL, out);
}

void election_continue(struct group *group, struct group_effects *out)
{
	if (!state_durable(group))
		return;
	if (group->vote_reply_to != 0) {
		assert(group->vote_reply_to == group->vote);
		struct message *message = message_new(group, out, MESSAGE_VOTE_REPLY, group->vote_reply_to);
		message->vote_reply.granted = true;
		group->vote_reply_to = 0;
	}
	if (group->role == GROUP_CANDIDATE && !group->votes_asked) {
		assert(group->vote == group->config.replica);
		group->votes_asked = true;
		group->votes |= own_set(group);
		if (quorum_elects(membership_in_force(group), group->votes)) {
			leader_start(group, out);
			return;
		}
		ask_votes(group, false, group->term, out);
	}
	if (group->campaign != CAMPAIGN_NONE && group->durable == group->last) {
		enum campaign campaign = group->campaign;
		group->campaign = CAMPAIGN_NONE;
		bool stands = group->campaign_term == group->term && group->role != GROUP_LEADER && may_campaign(group);
		bool free = campaign == CAMPAIGN_TRANSFER || group->now_ns >= lease_promise_until(group);
		if (stands && free)
			election_campaign(group, campaign, out);
	}
}

/* --- becoming ----------------------------------------------------------------------------------------- */

static void stop_leading(struct group *group, struct group_effects *out)
{
	lease_promise_self(group);
	grants_drop(group);
	group->transfer_to = 0;
	group->transfer_until_ns = NEVER;
	group->transfer_sent = group->transfer_closing = group->leaving = false;
	group->resign_at_ns = NEVER;
	group->abdicated = true;
	group->role = GROUP_FOLLOWER;
	group->leader = 0;
	change_lost(group, out);
	reads_leader_lost(group, out);
}

void become_follower(struct group *group, uint64_t term, uint64_t leader, struct group_effects *out)
{
	assert(term >= group->term);
	bool other = term > group->term || leader != group->leader;
	if (group->role == GROUP_LEADER)
		stop_leading(group, out);
	if (term > group->term) {
		lease_unbind(group);
		state_set(group, term, 0);
		group->vote_reply_to = 0;
		group->campaign = CAMPAIGN_NONE;
	}
	group->role = GROUP_FOLLOWER;
	group->leader = leader;
	group->votes = 0;
	group->campaign_transfer = false;
	if (!other)
		return;
	group->verified = group->commit;
	group->probe_seen = 0;
	group->ack_due = false;
	notes_forget(group);
	reads_leader_lost(group, out);
	election_arm(group, false);
}

void resign(struct group *group, uint64_t term, struct group_effects *out)
{
	assert(group->role == GROUP_LEADER);
	assert(term >= group->term);
	become_follower(group, term, 0, out);
	announce(group, group->led_term + 1, out);
}

/* --- votes ---------------------------------------------------------------------------------------------- */

static bool log_up_to_date(const struct group *group, const struct message_vote *vote)
{
	uint64_t term = log_last_term(group);
	return vote->last_term > term || (vote->last_term == term && vote->last_index >= group->last);
}

/* The leader asks for votes: it leads its term no more, and will not again. A late pre-vote of before it led asks for
 * its term at most. */
static bool leader_gave_up(const struct group *group, const struct message *message)
{
	return message->from == group->leader && message->term > group->term && group->role == GROUP_FOLLOWER;
}

static bool hears_leader(const struct group *group)
{
	if (group->role == GROUP_LEADER)
		return lease_lead_until(group, group->now_ns) > group->now_ns;
	if (group->leader == 0)
		return false;
	return lease_bound(group) || group->now_ns < group->heard_ns + us_ns(group->config.election_us);
}

/* The old leader of the term before asked for it, and reads no more: promises to it do not stand in the way. */
static bool transfer_stands(const struct group *group, const struct message *message)
{
	if (!message->vote.transfer || message->vote.pre)
		return false;
	if (group->role == GROUP_LEADER)
		return group->transfer_sent && message->term == group->term + 1;
	return !lease_bound(group) || message->term == group->bound.term + 1;
}

static bool takes_part(const struct group *group, const struct message *message)
{
	if (group->now_ns < liveness_elections_from_ns(group->config.liveness))
		return false;
	if (transfer_stands(group, message))
		return true;
	return group->now_ns >= lease_promise_until(group) && !hears_leader(group);
}

static void vote_reply(struct group *group, const struct message *message, bool granted, struct group_effects *out)
{
	struct message *reply = message_new(group, out, MESSAGE_VOTE_REPLY, message->from);
	reply->vote_reply.pre = message->vote.pre;
	reply->vote_reply.granted = granted;
	/* A grant of a pre-vote carries the term asked, so that an asker ahead of us does not drop it as old. */
	if (granted)
		reply->term = message->term;
}

/* A member of ours would stand for election while our lease runs: it does not count us its leader, whatever we believe
 * of it, and a quiescent leader sends it nothing. An append binds it anew, or is refused by its higher term. */
static void recall(struct group *group, const struct message *message)
{
	assert(group->role == GROUP_LEADER);
	struct follower *follower = leader_follower(group, message->from);
	if (!follower || message->term <= group->term)
		return;
	follower->active = true;
	follower->poke = true;
}

void election_vote(struct group *group, const struct message *message, struct group_effects *out)
{
	const struct message_vote *vote = &message->vote;
	if (vote->last_term > message->term)
		return; /* impossible */
	bool gave_up = leader_gave_up(group, message);
	if (gave_up) {
		lease_unbind(group);
		group->leader = 0;
		reads_leader_lost(group, out);
		election_arm(group, true);
	}
	if (!takes_part(group, message)) {
		if (group->role == GROUP_LEADER)
			recall(group, message);
		return;
	}
	if (message->term < group->term || (vote->pre && message->term == group->term)) {
		vote_reply(group, message, false, out);
		return;
	}
	bool current = log_up_to_date(group, vote);
	if (vote->pre) {
		vote_reply(group, message, current, out);
		/* To who stands, not to who says that it leads no more. Once, and not again before it has stood itself:
		 * who asks may never hear the answers. */
		bool awaits = group->role == GROUP_FOLLOWER && group->election_at_ns != NEVER;
		if (current && awaits && !gave_up && !group->yielded) {
			group->yielded = true;
			election_arm(group, false);
		}
		return;
	}
	if (message->term > group->term) {
		if (!vote->transfer)
			lease_withdraw(group);
		become_follower(group, message->term, 0, out);
	}
	assert(message->term == group->term);
	bool open = group->vote == 0 || group->vote == message->from;
	if (!current || !open || group->leader != 0 || group->role == GROUP_LEADER) {
		vote_reply(group, message, false, out);
		return;
	}
	lease_unbind(group);
	become_follower(group, group->term, 0, out);
	group->campaign = CAMPAIGN_NONE;
	state_set(group, group->term, message->from);
	group->vote_reply_to = message->from;
	election_arm(group, false);
	election_continue(group, out); /* at once if asked again */
}

void election_vote_reply(struct group *group, const struct message *message, struct group_effects *out)
{
	const struct message_vote_reply *reply = &message->vote_reply;
	if (!reply->granted) {
		if (message->term <= group->term)
			return;
		/* Behind: the next attempt asks for a term that can be granted. A follower asks nothing, so this is an
		 * answer of before it had a leader. No leader of that term is known to have been elected: whoever is
		 * bound stays so, or takes the support back first. */
		if (group->role == GROUP_LEADER) {
			resign(group, message->term, out);
		} else if (group->role != GROUP_FOLLOWER && group->now_ns >= lease_promise_until(group)) {
			lease_withdraw(group);
			become_follower(group, message->term, 0, out);
		}
		return;
	}
	bool asked = reply->pre ? group->role == GROUP_PRECANDIDATE && message->term == group->term + 1
				: group->role == GROUP_CANDIDATE && message->term == group->term && group->votes_asked;
	int at = membership_find(membership_in_force(group), message->from);
	if (!asked || at < 0)
		return;
	group->votes |= (member_set)1 << at;
	if (!quorum_elects(membership_in_force(group), group->votes))
		return;
	if (!reply->pre) {
		leader_start(group, out);
		return;
	}
	group->campaign_transfer = false;
	if (may_campaign(group) && group->now_ns >= lease_promise_until(group))
		become_candidate(group, out);
}
