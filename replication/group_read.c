/* replication/group_read.c: which index covers everything acknowledged before a read arrived.
 *
 * The leader knows: its commit index, or the last entry that another origin may have acknowledged (O5), once the no-op
 * of its term is committed (B6), if at that time it is still the leader. That it shows by its lease, or by a round of
 * appends sent after the read arrived (B8), answered by replicas that meet every election set. A follower asks it, each
 * time under a nonce never used before: a late answer to an earlier attempt then answers nothing. */
#include "replication/group_internal.h"

#include <assert.h>

static bool waits(const struct waiting_read *read)
{
	return read->request != 0 || read->asker != 0;
}

static struct waiting_read *read_new(struct group *group)
{
	for (unsigned i = 0; i < GROUP_READS_MAX; i++) {
		struct waiting_read *read = &group->reads[i];
		if (waits(read))
			continue;
		*read = (struct waiting_read){
			.probe = group->probe,
			.retry_at_ns = group->now_ns,
			.give_up_ns = group->now_ns + us_ns(group->config.election_us),
		};
		return read;
	}
	return NULL;
}

static uint64_t exposed(const struct group *group)
{
	return max_u64(group->commit, group->origin_last);
}

static void answer_asker(struct group *group, uint64_t asker, uint64_t nonce, bool refused, struct group_effects *out)
{
	struct message *reply = message_new(group, out, MESSAGE_READ_INDEX_REPLY, asker);
	reply->read_index_reply.nonce = nonce;
	reply->read_index_reply.refused = refused;
	reply->read_index_reply.index = refused ? 0 : exposed(group);
}

static void readable(struct group_effects *out, uint64_t request, uint64_t index)
{
	struct group_effect *effect = effect_new(out, GROUP_READABLE);
	effect->readable.request = request;
	effect->readable.index = index;
}

static void answer(struct group *group, struct waiting_read *read, struct group_effects *out)
{
	assert(group->role == GROUP_LEADER);
	assert(group->commit >= group->noop_index);
	if (read->request != 0)
		readable(out, read->request, exposed(group));
	else
		answer_asker(group, read->asker, read->nonce, false, out);
	*read = (struct waiting_read){ 0 };
}

static void give_up(struct group *group, struct waiting_read *read, enum status status, struct group_effects *out)
{
	if (read->request != 0)
		refuse(out, GROUP_READ, read->request, status, group->leader);
	else
		answer_asker(group, read->asker, read->nonce, true, out);
	*read = (struct waiting_read){ 0 };
}

void read_local(struct group *group, uint64_t request, struct group_effects *out)
{
	assert(request != 0);
	if (group->leader == 0) {
		refuse(out, GROUP_READ, request, STATUS_QUORUM_UNAVAILABLE, 0);
		return;
	}
	struct waiting_read *read = read_new(group);
	if (!read) {
		refuse(out, GROUP_READ, request, STATUS_BUSY, group->leader);
		return;
	}
	read->request = request; /* reads_settle answers at once if it can */
}

void read_asked(struct group *group, const struct message *message, struct group_effects *out)
{
	bool member = membership_find(membership_in_force(group), message->from) >= 0;
	struct waiting_read *read = group->role == GROUP_LEADER && member ? read_new(group) : NULL;
	if (!read) {
		answer_asker(group, message->from, message->read_index.nonce, true, out);
		return;
	}
	read->asker = message->from;
	read->nonce = message->read_index.nonce;
}

void read_answered(struct group *group, const struct message *message, struct group_effects *out)
{
	const struct message_read_index_reply *reply = &message->read_index_reply;
	for (unsigned i = 0; i < GROUP_READS_MAX; i++) {
		struct waiting_read *read = &group->reads[i];
		if (read->request == 0 || read->nonce == 0 || read->nonce != reply->nonce)
			continue;
		read->nonce = 0; /* refused: asked again when its time comes */
		if (!reply->refused) {
			readable(out, read->request, reply->index);
			*read = (struct waiting_read){ 0 };
		}
		return;
	}
}

static void ask_leader(struct group *group, struct waiting_read *read, struct group_effects *out)
{
	assert(group->leader != group->config.replica);
	read->nonce = ++group->nonce;
	read->retry_at_ns = group->now_ns + us_ns(group->config.retransmit_us);
	struct message *message = message_new(group, out, MESSAGE_READ_INDEX, group->leader);
	message->read_index.nonce = read->nonce;
}

static void settle_leader(struct group *group, struct waiting_read *read, struct group_effects *out)
{
	if (group->transfer_sent || group->leaving) {
		give_up(group, read, STATUS_BUSY, out);
		return;
	}
	bool active = group->commit >= group->noop_index;
	if (active && (lease_may_read(group, group->now_ns) || lease_blocks(group, read->probe)))
		answer(group, read, out);
	else if (read->give_up_ns <= group->now_ns)
		give_up(group, read, STATUS_QUORUM_UNAVAILABLE, out);
}

void reads_settle(struct group *group, struct group_effects *out)
{
	for (unsigned i = 0; i < GROUP_READS_MAX; i++) {
		struct waiting_read *read = &group->reads[i];
		if (!waits(read))
			continue;
		if (group->role == GROUP_LEADER)
			settle_leader(group, read, out);
		else if (read->give_up_ns <= group->now_ns)
			give_up(group, read, STATUS_QUORUM_UNAVAILABLE, out);
		else if (group->leader != 0 && read->retry_at_ns <= group->now_ns)
			ask_leader(group, read, out);
	}
}

/* Our own reads ask whoever leads next; others' are theirs to ask again. */
void reads_leader_lost(struct group *group, struct group_effects *out)
{
	for (unsigned i = 0; i < GROUP_READS_MAX; i++) {
		struct waiting_read *read = &group->reads[i];
		if (read->asker != 0)
			give_up(group, read, STATUS_NOT_LEADER, out);
		read->nonce = 0;
		read->retry_at_ns = group->now_ns;
	}
}

uint64_t reads_deadline(const struct group *group)
{
	uint64_t deadline = NEVER;
	for (unsigned i = 0; i < GROUP_READS_MAX; i++) {
		const struct waiting_read *read = &group->reads[i];
		if (!waits(read))
			continue;
		deadline = min_u64(deadline, read->give_up_ns);
		if (group->role != GROUP_LEADER && group->leader != 0)
			deadline = min_u64(deadline, read->retry_at_ns);
	}
	return deadline;
}

bool reads_await(const struct group *group, uint64_t probe)
{
	for (unsigned i = 0; i < GROUP_READS_MAX; i++)
		if (waits(&group->reads[i]) && probe <= group->reads[i].probe)
			return true;
	return false;
}
