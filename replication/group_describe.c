/* replication/group_describe.c: a group looked at from outside: its invariants, its digest, its words. */
#include "replication/group_internal.h"

#include <assert.h>

#include "base/hash.h"
#include "base/text.h"

static void check_log(const struct group *group)
{
	assert(group->base_index <= max_u64(group->released, group->forgotten_below));
	assert(group->base_index <= group->last);
	assert(group->applied <= group->released);
	assert(group->released <= group->commit);
	assert(group->released <= group->durable);
	assert(group->commit <= group->last);
	assert(group->durable <= group->last);
	assert(group->verified <= group->last);
	assert(group->run_count <= GROUP_TERM_RUNS_MAX);
	assert((group->run_count == 0) == (group->base_index == group->last));
	uint64_t first = group->base_index + 1, term = group->base_term;
	for (uint32_t i = 0; i < group->run_count; i++) {
		const struct term_run *run = &group->runs[i];
		if (i == 0)
			assert(run->first == first);
		else
			assert(run->first > first);
		assert(i == 0 ? run->term >= term : run->term > term);
		first = run->first;
		term = run->term;
	}
	assert(first <= group->last + 1);
	assert(term <= group->term);
}

static void check_writes(const struct group *group)
{
	assert(group->ticket_durable <= group->tickets);
	assert(group->write_count <= GROUP_WRITES_MAX);
	assert(!group->state_dirty);
	assert(group->state_ticket <= group->tickets);
	uint64_t ticket = group->ticket_durable, last = group->durable;
	for (uint32_t i = 0; i < group->write_count; i++) {
		assert(group->writes[i].ticket > ticket);
		assert(group->writes[i].last >= last);
		ticket = group->writes[i].ticket;
		last = group->writes[i].last;
	}
	assert(ticket == group->tickets);
	assert(last == group->last);
}

static void check_memberships(const struct group *group)
{
	assert(group->membership_count >= 1);
	assert(group->membership_count <= GROUP_MEMBERSHIPS_MAX);
	for (uint32_t i = 0; i < group->membership_count; i++) {
		const struct membership *membership = &group->memberships[i];
		if (i > 0)
			assert(membership->index > group->memberships[i - 1].index);
		if (i > 0 || membership->count > 0)
			assert(membership_valid(membership));
		if (i > 0)
			assert(membership->index <= group->last);
	}
}

static void check_leader(const struct group *group)
{
	const struct membership *membership = membership_in_force(group);
	assert(group->vote == group->config.replica);
	assert(group->leader == group->config.replica);
	assert(group->noop_index > 0);
	assert(group->noop_index <= group->last);
	assert(group_term_of(group, group->last) == group->term);
	assert(group->election_at_ns == NEVER);
	assert(!lease_bound(group));
	for (unsigned i = 0; i < membership->count; i++) {
		const struct follower *follower = &group->followers[i];
		assert(follower->replica == membership->at[i].replica);
		assert(follower->node == membership->at[i].node);
		assert(follower->match <= group->last);
		assert(follower->next <= group->last + 1);
		assert(follower->next > follower->match || follower->replica == group->config.replica);
		assert(follower->inflight_count <= GROUP_WINDOW_MAX);
		assert(follower->probe_acked <= group->probe);
		assert(follower->probe_sent <= group->probe);
	}
	if (group->transfer_sent)
		assert(!lease_may_read(group, group->now_ns));
}

void group_check(const struct group *group)
{
	if (!group->restored)
		return;
	check_log(group);
	check_writes(group);
	check_memberships(group);
	if (group->role == GROUP_LEADER) {
		check_leader(group);
		return;
	}
	assert(group->leader != group->config.replica);
	assert(!group->change_pending);
	assert(!group->transfer_sent);
	for (unsigned i = 0; i < GROUP_READS_MAX; i++)
		assert(group->reads[i].asker == 0);
	if (group->role != GROUP_FOLLOWER)
		assert(group->leader == 0);
	if (group->role == GROUP_CANDIDATE)
		assert(group->vote == group->config.replica);
	if (group->bound.epoch != 0)
		assert(group->bound.term <= group->term);
}

/* --- digest ------------------------------------------------------------------------------------------- */

static uint64_t fold(uint64_t digest, uint64_t value)
{
	return hash64_seeded(bytes_of(&value, sizeof(value)), digest);
}

static uint64_t fold_follower(uint64_t digest, const struct follower *follower)
{
	const uint64_t parts[] = { follower->replica, follower->match, follower->next, follower->commit,
		follower->probe_sent, follower->probe_acked, follower->epoch, follower->retry_at_ns, follower->state,
		follower->inflight_count, follower->active };
	return hash64_seeded(bytes_of(parts, sizeof(parts)), digest);
}

uint64_t group_digest(const struct group *group)
{
	const uint64_t parts[] = { group->config.group, group->config.replica, group->role, group->term, group->vote,
		group->leader, group->tickets, group->ticket_durable, group->base_index, group->base_term, group->last,
		group->durable, group->commit, group->released, group->applied, group->version_max,
		group->election_at_ns, group->verified, group->bound.leader, group->bound.term, group->bound.epoch,
		group->promise_end_ns, group->probe, group->resign_at_ns, group->transfer_to, group->nonce,
		group->prng.s[0], group_deadline(group) };
	uint64_t digest = hash64(bytes_of(parts, sizeof(parts)));
	for (uint32_t i = 0; i < group->run_count; i++)
		digest = fold(fold(digest, group->runs[i].first), group->runs[i].term);
	for (uint32_t i = 0; i < group->membership_count; i++)
		digest = fold(fold(digest, group->memberships[i].index), group->memberships[i].joint);
	for (unsigned i = 0; group->role == GROUP_LEADER && i < membership_in_force(group)->count; i++)
		digest = fold_follower(digest, &group->followers[i]);
	return digest;
}

/* --- words -------------------------------------------------------------------------------------------- */

static void add(struct text *text, const char *name, uint64_t value)
{
	text_add(text, " ");
	text_add(text, name);
	text_add(text, " ");
	text_add_u64(text, value);
}

static const char *role_name(enum group_role role)
{
	switch (role) {
	case GROUP_FOLLOWER:
		return "follower";
	case GROUP_PRECANDIDATE:
		return "precandidate";
	case GROUP_CANDIDATE:
		return "candidate";
	case GROUP_LEADER:
		return "leader";
	}
	return "?";
}

size_t group_describe(const struct group *group, char *out, size_t size)
{
	struct text text;
	text_init(&text, out, size);
	text_add(&text, role_name(group->role));
	add(&text, "replica", group->config.replica);
	add(&text, "term", group->term);
	add(&text, "vote", group->vote);
	add(&text, "leader", group->leader);
	add(&text, "base", group->base_index);
	add(&text, "last", group->last);
	add(&text, "durable", group->durable);
	add(&text, "commit", group->commit);
	add(&text, "applied", group->applied);
	if (lease_bound(group))
		add(&text, "bound-to", group->bound.leader);
	if (membership_in_force(group)->joint)
		text_add(&text, " joint");
	if (group->transfer_to != 0)
		add(&text, "transfer-to", group->transfer_to);
	for (unsigned i = 0; group->role == GROUP_LEADER && i < membership_in_force(group)->count; i++) {
		const struct follower *follower = &group->followers[i];
		if (follower->replica == group->config.replica)
			continue;
		static const char *const states[] = { "?", "probe", "replicate", "snapshot" };
		add(&text, "|", follower->replica);
		text_add(&text, " ");
		text_add(&text, states[follower->state & 3]);
		add(&text, "match", follower->match);
		add(&text, "next", follower->next);
		if (!follower->active)
			text_add(&text, " unreachable");
	}
	return text.size;
}

static void describe_message(struct text *text, const struct message *message)
{
	static const char *const names[] = { "?", "append", "append-reply", "vote", "vote-reply", "timeout-now",
		"read-index", "read-index-reply", "snapshot" };
	text_add(text, "send ");
	text_add(text, message->kind <= MESSAGE_SNAPSHOT ? names[message->kind] : "?");
	add(text, "to", message->to);
	add(text, "term", message->term);
	switch (message->kind) {
	case MESSAGE_APPEND:
		add(text, "prev", message->append.prev_index);
		if (message->append.first <= message->append.last) {
			add(text, "first", message->append.first);
			add(text, "last", message->append.last);
		}
		add(text, "commit", message->append.commit);
		break;
	case MESSAGE_APPEND_REPLY:
		add(text, message->append_reply.rejected ? "rejected, try" : "match", message->append_reply.match);
		break;
	case MESSAGE_VOTE:
		if (message->vote.pre)
			text_add(text, " pre");
		if (message->vote.transfer)
			text_add(text, " transfer");
		add(text, "last", message->vote.last_index);
		add(text, "of term", message->vote.last_term);
		break;
	case MESSAGE_VOTE_REPLY:
		if (message->vote_reply.pre)
			text_add(text, " pre");
		text_add(text, message->vote_reply.granted ? " granted" : " refused");
		break;
	case MESSAGE_READ_INDEX_REPLY:
		if (message->read_index_reply.refused)
			text_add(text, " refused");
		else
			add(text, "index", message->read_index_reply.index);
		break;
	default:
		break;
	}
}

static void describe_write(struct text *text, const struct group_effect *effect)
{
	text_add(text, "write");
	add(text, "ticket", effect->write.ticket);
	if (effect->write.state) {
		add(text, "term", effect->write.term);
		add(text, "vote", effect->write.vote);
	}
	if (effect->write.cut_from != 0)
		add(text, "cut", effect->write.cut_from);
	if (effect->write.first <= effect->write.last) {
		add(text, "first", effect->write.first);
		add(text, "last", effect->write.last);
	}
}

size_t group_effect_describe(const struct group_effect *effect, char *out, size_t size)
{
	struct text text;
	text_init(&text, out, size);
	switch (effect->kind) {
	case GROUP_OWN_ENTRY:
		text_add(&text, effect->own.membership ? "own membership" : "own no-op");
		add(&text, "index", effect->own.entry.index);
		break;
	case GROUP_WRITE:
		describe_write(&text, effect);
		break;
	case GROUP_SEND:
		describe_message(&text, effect->send);
		break;
	case GROUP_COMMIT:
		text_add(&text, "commit");
		add(&text, "first", effect->commit.first);
		add(&text, "last", effect->commit.last);
		break;
	case GROUP_READABLE:
		text_add(&text, "readable");
		add(&text, "request", effect->readable.request);
		add(&text, "index", effect->readable.index);
		break;
	case GROUP_REFUSE:
		text_add(&text, "refuse ");
		text_add(&text, status_name(effect->refuse.status));
		add(&text, "request", effect->refuse.request);
		break;
	case GROUP_SNAPSHOT:
		text_add(&text, "snapshot");
		add(&text, "to", effect->snapshot.to);
		break;
	case GROUP_INSTALL:
		text_add(&text, "install");
		add(&text, "index", effect->install.index);
		break;
	case GROUP_ROLE:
		text_add(&text, role_name(effect->role.role));
		add(&text, "term", effect->role.term);
		add(&text, "leader", effect->role.leader);
		break;
	case GROUP_MEMBERSHIP:
		text_add(&text, effect->membership->joint ? "joint membership" : "membership");
		add(&text, "of", effect->membership->index);
		add(&text, "members", effect->membership->count);
		break;
	case GROUP_CHANGED:
		text_add(&text, "changed ");
		text_add(&text, status_name(effect->changed.status));
		break;
	case GROUP_TRUNCATED:
		text_add(&text, "truncated");
		add(&text, "from", effect->truncated.first);
		break;
	}
	return text.size;
}
