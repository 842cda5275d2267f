/* replication/group_replication.c: a leader's appends, their answers, and what they commit.
 *
 *     PROBE      one append at a time from `next`; a refusal moves `next` down to the hint, an acceptance ends it
 *     REPLICATE  appends leave ahead of the answers, at most append_window of them; a refusal or silence: PROBE
 *     SNAPSHOT   what `next` needs is compacted: the driver streams, group_snapshot_sent ends it
 *
 * An answer acknowledges any prefix: a driver may send fewer entries than it was told, and the one append behind the
 * gap is refused with the follower's end as hint. Silence is met by probing again, ever more rarely, as long as
 * liveness hears the node; after that only its UP wakes us. */
#include "replication/group_internal.h"

#include <assert.h>
#include <string.h>

#include "replication/hlc.h"

struct follower *leader_follower(struct group *group, uint64_t replica)
{
	int at = membership_find(membership_in_force(group), replica);
	return at < 0 ? NULL : &group->followers[at];
}

static bool is_own(const struct group *group, const struct follower *follower)
{
	return follower->replica == group->config.replica;
}

static void follower_probe(struct group *group, struct follower *follower)
{
	if (follower->state == FOLLOWER_REPLICATE) /* what is in flight may be lost */
		follower->next = max_u64(follower->match, follower->met) + 1;
	follower->state = FOLLOWER_PROBE;
	follower->inflight_count = 0;
	follower->probe_from = group->probe + 1;
	follower->poke = true;
}

static void follower_begin(struct group *group, struct follower *follower, const struct member *member)
{
	memset(follower, 0, sizeof(*follower));
	follower->replica = member->replica;
	follower->node = member->node;
	follower->next = group->last + 1;
	follower->retry_at_ns = NEVER;
	follower->active = true;
	follower_probe(group, follower);
}

/* Followers keep what is known of them over a change of positions. */
void leader_map_followers(struct group *group)
{
	assert(group->role == GROUP_LEADER);
	const struct membership *membership = membership_in_force(group);
	struct follower before[REPLICAS_MAX];
	memcpy(before, group->followers, sizeof(before));
	memset(group->followers, 0, sizeof(group->followers));
	group->bindings++;
	for (unsigned i = 0; i < membership->count; i++) {
		const struct member *member = &membership->at[i];
		struct follower *follower = &group->followers[i];
		follower_begin(group, follower, member);
		for (unsigned j = 0; j < REPLICAS_MAX; j++)
			if (before[j].replica == member->replica)
				*follower = before[j];
	}
}

void leader_start(struct group *group, struct group_effects *out)
{
	assert(group->role == GROUP_CANDIDATE);
	assert(group->vote == group->config.replica);
	assert(state_durable(group));
	group->role = GROUP_LEADER;
	group->led_term = group->term;
	group->abdicated = false;
	group->leader = group->config.replica;
	group->election_at_ns = NEVER;
	group->campaign = CAMPAIGN_NONE;
	group->transfer_until_ns = NEVER;
	group->resign_at_ns = group->now_ns + 2 * us_ns(group->config.election_us);
	memset(group->followers, 0, sizeof(group->followers));
	notes_forget(group);
	group->origin_last = 0;
	group->return_index = 0;
	leader_map_followers(group);
	group->noop_index = leader_append_own(group, ENTRY_NOOP, NULL, out);
}

/* --- the leader's own log ----------------------------------------------------------------------------- */

static void number_entry(struct group *group, struct entry *entry, uint64_t version_floor)
{
	entry->index = group->last + 1;
	entry->term = group->term;
	entry->version = hlc_next(max_u64(group->version_max, version_floor), group->wall_us);
	log_append(group, entry->index, entry->term, entry->version);
}

uint64_t leader_append_own(
	struct group *group, enum entry_kind kind, const struct membership *membership, struct group_effects *out)
{
	assert(group->role == GROUP_LEADER);
	assert((kind == ENTRY_MEMBERSHIP) == (membership != NULL));
	struct entry entry = { .kind = (uint8_t)kind };
	number_entry(group, &entry, 0);
	struct group_effect *effect = effect_new(out, GROUP_OWN_ENTRY);
	effect->own.entry = entry;
	effect->own.membership = membership ? log_push_membership(group, membership, entry.index) : NULL;
	if (membership)
		leader_map_followers(group);
	write_emit(group, out, 0, entry.index, entry.index);
	return entry.index;
}

void leader_propose(struct group *group, const struct group_event *event, struct group_effects *out)
{
	uint32_t count = event->proposed.count;
	assert(count > 0);
	if (group->role != GROUP_LEADER) {
		refuse(out, GROUP_PROPOSED, 0, STATUS_NOT_LEADER, group->leader);
		return;
	}
	uint64_t inflight = group->last - group->commit;
	if (group->transfer_closing || group->leaving || inflight + count > group->config.inflight_max) {
		refuse(out, GROUP_PROPOSED, 0, STATUS_BUSY, group->leader);
		return;
	}
	uint64_t first = group->last + 1;
	for (uint32_t i = 0; i < count; i++) {
		assert(event->proposed.entries[i].kind == ENTRY_COMMAND);
		struct entry *entry = &event->proposed.entries[i];
		number_entry(group, entry, event->proposed.version_floor);
		note_entry(group, entry->origin, entry->index);
		if (entry->origin != 0 && entry->origin != (uint16_t)group->config.replica)
			group->origin_last = entry->index;
	}
	write_emit(group, out, 0, first, group->last);
}

/* --- commit --------------------------------------------------------------------------------------------- */

/* Only entries of the own term are committed by counting (B7), and only what the cover has (L2); what is below goes
 * with them. */
void leader_advance(struct group *group)
{
	assert(group->role == GROUP_LEADER);
	const struct membership *membership = membership_in_force(group);
	struct follower *own = leader_follower(group, group->config.replica);
	uint64_t cover = grants_cover(group);
	if (own)
		own->match = group->durable;
	/* While a witness stands in for a copy, the leader's is the one that counts. */
	if (rule_degraded(membership))
		cover = min_u64(cover, group->durable);
	for (unsigned i = 0; i < membership->count; i++) {
		uint64_t index = group->followers[i].match;
		if (index <= group->commit || index > cover || group_term_of(group, index) != group->term)
			continue;
		member_set durable = 0;
		for (unsigned j = 0; j < membership->count; j++)
			if (group->followers[j].match >= index)
				durable |= (member_set)1 << j;
		if (quorum_commits(membership, durable))
			commit_to(group, index);
	}
}

/* --- sending ---------------------------------------------------------------------------------------------- */

static uint64_t retry_after(const struct group *group, const struct follower *follower)
{
	return group->now_ns + (us_ns(group->config.retransmit_us) << follower->backoff);
}

static uint32_t window(const struct group *group)
{
	uint32_t wanted = group->config.append_window;
	return wanted < 1 ? 1 : wanted > GROUP_WINDOW_MAX ? GROUP_WINDOW_MAX : wanted;
}

/* Supports us under an epoch that it is not bound to in this group: an append binds it. */
static bool lacks_binding(const struct group *group, const struct follower *follower)
{
	uint64_t epoch = liveness_supported_epoch(group->config.liveness, follower->node);
	return epoch != 0 && epoch != follower->epoch;
}

static bool lacks(const struct group *group, const struct follower *follower)
{
	if (is_own(group, follower) || follower->state == FOLLOWER_SNAPSHOT)
		return false;
	const uint64_t upto = rule_send_max(group, (unsigned)(follower - group->followers));
	if (follower->match < upto || follower->commit < group->commit)
		return true;
	return lacks_binding(group, follower) || reads_await(group, follower->probe_acked);
}

static void send_append(struct group *group, struct follower *follower, uint64_t count, struct group_effects *out)
{
	uint64_t prev = follower->next - 1;
	assert(prev >= group->base_index);
	assert(prev + count <= group->last);
	struct message *message = message_new(group, out, MESSAGE_APPEND, follower->replica);
	message->append.prev_index = prev;
	message->append.prev_term = group_term_of(group, prev);
	message->append.commit = group->commit;
	message->append.first = prev + 1;
	message->append.last = prev + count;
	message->append.probe = ++group->probe;
	follower->probe_sent = group->probe;
	follower->commit_sent = group->commit;
	follower->poke = false;
	if (follower->inflight_count < GROUP_WINDOW_MAX) {
		unsigned at = (follower->inflight_begin + follower->inflight_count) % GROUP_WINDOW_MAX;
		follower->inflight[at] = (uint32_t)group->probe;
		follower->inflight_count++;
	}
	if (follower->state == FOLLOWER_REPLICATE)
		follower->next += count;
	if (follower->retry_at_ns == NEVER)
		follower->retry_at_ns = retry_after(group, follower);
}

/* What is committed is told with the next entry; alone, when nothing is under way, or, where reads are held until it is
 * known, as long as more than half of the window is left to entries. */
static bool may_notice(const struct group *group, const struct follower *follower)
{
	if (follower->inflight_count == 0)
		return true;
	return membership_in_force(group)->local_reads && follower->state == FOLLOWER_REPLICATE &&
	       follower->inflight_count < window(group) / 2;
}

/* One append, if there is reason for one and room. */
static bool feed_once(struct group *group, struct follower *follower, struct group_effects *out)
{
	if (follower->next - 1 < group->base_index) {
		follower->state = FOLLOWER_SNAPSHOT;
		follower->met = 0;
		follower->retry_at_ns = NEVER;
		effect_new(out, GROUP_SNAPSHOT)->snapshot.to = follower->replica;
		return false;
	}
	const uint64_t upto = rule_send_max(group, (unsigned)(follower - group->followers));
	uint64_t count = upto < follower->next ? 0 : upto - (follower->next - 1);
	count = min_u64(count, group->config.append_entries_max);
	uint32_t room = follower->state == FOLLOWER_PROBE ? 1 : window(group);
	if (count > 0 && follower->inflight_count < room) {
		send_append(group, follower, count, out);
		return true;
	}
	bool untold = follower->commit_sent < group->commit && may_notice(group, follower);
	if (untold || follower->poke || reads_await(group, follower->probe_sent))
		send_append(group, follower, 0, out);
	return false;
}

void leader_feed(struct group *group, struct group_effects *out)
{
	assert(group->role == GROUP_LEADER);
	const struct membership *membership = membership_in_force(group);
	for (unsigned i = 0; i < membership->count; i++) {
		struct follower *follower = &group->followers[i];
		if (is_own(group, follower) || !follower->active || follower->state == FOLLOWER_SNAPSHOT)
			continue;
		for (unsigned n = 0; n < GROUP_SENDS_MAX; n++)
			if (!feed_once(group, follower, out))
				break;
		if (follower->state == FOLLOWER_SNAPSHOT)
			continue;
		if (!lacks(group, follower) && follower->inflight_count == 0)
			follower->retry_at_ns = NEVER;
		else if (follower->retry_at_ns == NEVER)
			follower->retry_at_ns = retry_after(group, follower);
	}
}

/* What was sent was not answered in time. */
void leader_retry(struct group *group)
{
	assert(group->role == GROUP_LEADER);
	const struct membership *membership = membership_in_force(group);
	for (unsigned i = 0; i < membership->count; i++) {
		struct follower *follower = &group->followers[i];
		if (is_own(group, follower) || !follower->active || follower->retry_at_ns > group->now_ns)
			continue;
		follower->retry_at_ns = NEVER;
		if (!liveness_alive(group->config.liveness, follower->node, group->now_ns)) {
			follower->active = false;
			continue;
		}
		if (follower->state == FOLLOWER_SNAPSHOT)
			continue;
		if (follower->inflight_count > 0 && follower->backoff < GROUP_BACKOFF_MAX)
			follower->backoff++;
		follower_probe(group, follower);
	}
}

/* Liveness says that a node is there (again), or is another process: what it has of us is not known any more. */
void leader_peer(struct group *group, uint64_t node)
{
	assert(group->role == GROUP_LEADER);
	const struct membership *membership = membership_in_force(group);
	for (unsigned i = 0; i < membership->count; i++) {
		struct follower *follower = &group->followers[i];
		if (follower->node != node || is_own(group, follower))
			continue;
		follower->active = true;
		follower->backoff = 0;
		if (follower->state == FOLLOWER_SNAPSHOT)
			continue;
		follower->retry_at_ns = NEVER;
		follower_probe(group, follower);
	}
}

/* --- answers -------------------------------------------------------------------------------------------- */

static void answered(struct follower *follower, uint64_t probe)
{
	follower->active = true;
	follower->probe_acked = max_u64(follower->probe_acked, probe);
	while (follower->inflight_count > 0 &&
		(int32_t)((uint32_t)probe - follower->inflight[follower->inflight_begin]) >= 0) {
		follower->inflight_begin = (uint8_t)((follower->inflight_begin + 1) % GROUP_WINDOW_MAX);
		follower->inflight_count--;
	}
}

/* Of two epochs told, the one in force is the newer: answers may overtake each other. */
static void bound_under(struct group *group, struct follower *follower, uint64_t epoch)
{
	if (epoch == follower->epoch)
		return;
	if (follower->epoch != 0 && epoch != liveness_supported_epoch(group->config.liveness, follower->node))
		return;
	follower->epoch = epoch;
	group->bindings++;
}

static void rejected(struct group *group, struct follower *follower, const struct message_append_reply *reply)
{
	if (reply->probe < follower->probe_from || follower->state == FOLLOWER_SNAPSHOT)
		return;
	uint64_t next = min_u64(reply->match + 1, follower->next - 1);
	next = max_u64(next, follower->match + 1);
	bool moved = next < follower->next;
	follower->met = 0;
	follower_probe(group, follower);
	follower->next = next;
	follower->retry_at_ns = NEVER;
	follower->poke = moved; /* it says no to what it has acknowledged: no haste */
	if (!moved)
		follower->inflight_count = 1;
}

void leader_reply(struct group *group, const struct message *message, struct group_effects *out)
{
	const struct message_append_reply *reply = &message->append_reply;
	if (message->term > group->term) {
		if (group->role == GROUP_LEADER)
			resign(group, message->term, out);
		return;
	}
	struct follower *follower = leader_follower(group, message->from);
	if (group->role != GROUP_LEADER || message->term < group->term || !follower)
		return;
	bool possible = reply->probe <= group->probe && reply->commit <= group->last && reply->match < NEVER &&
			(reply->rejected || reply->match <= group->last);
	if (!possible)
		return;
	if (reply->probe >= follower->probe_acked)
		follower->incarnation = reply->incarnation;
	const bool news = reply->probe > follower->probe_acked || reply->match > follower->match;
	answered(follower, reply->probe);
	follower->commit = max_u64(follower->commit, reply->commit);
	if (reply->rejected) {
		rejected(group, follower, reply);
		return;
	}
	bound_under(group, follower, reply->support_epoch);
	if (news) { /* what is still under way is given its time from now on: its answers come in turn */
		follower->backoff = 0;
		follower->retry_at_ns = NEVER;
	}
	follower->match = max_u64(follower->match, reply->match);
	follower->next = max_u64(follower->next, follower->match + 1);
	if (follower->state == FOLLOWER_SNAPSHOT)
		return;
	if (follower->state == FOLLOWER_PROBE && reply->probe >= follower->probe_from) {
		follower->state = FOLLOWER_REPLICATE;
		follower->met = follower->next - 1;
		follower->probe_from = group->probe + 1;
	}
	assert(follower->next > follower->match);
}

/* --- what is left to do ------------------------------------------------------------------------------------ */

bool leader_quiescent(const struct group *group)
{
	assert(group->role == GROUP_LEADER);
	const struct membership *membership = membership_in_force(group);
	for (unsigned i = 0; i < membership->count; i++)
		if (group->followers[i].active && lacks(group, &group->followers[i]))
			return false;
	return group->transfer_to == 0 && group->resign_at_ns == NEVER && group->commit == group->last &&
	       grants_settled(group);
}

uint64_t leader_deadline(const struct group *group)
{
	const struct membership *membership = membership_in_force(group);
	uint64_t deadline = min_u64(group->resign_at_ns, group->transfer_until_ns);
	deadline = min_u64(deadline, write_stall_ns(group));
	deadline = min_u64(deadline, grants_deadline(group));
	for (unsigned i = 0; i < membership->count; i++)
		if (group->followers[i].active)
			deadline = min_u64(deadline, group->followers[i].retry_at_ns);
	return deadline;
}

bool group_progress(const struct group *group, uint64_t replica, struct group_progress *progress)
{
	int at = membership_find(membership_in_force(group), replica);
	if (group->role != GROUP_LEADER || at < 0)
		return false;
	const struct follower *follower = &group->followers[at];
	bool own = is_own(group, follower);
	progress->match = own ? group->durable : follower->match;
	progress->next = own ? group->last + 1 : follower->next;
	progress->commit = own ? group->commit : follower->commit;
	progress->active = follower->active;
	progress->snapshotting = follower->state == FOLLOWER_SNAPSHOT;
	return true;
}

void group_snapshot_sent(struct group *group, uint64_t to, uint64_t index, bool ok)
{
	struct follower *follower = group->role == GROUP_LEADER ? leader_follower(group, to) : NULL;
	if (!follower || follower->state != FOLLOWER_SNAPSHOT)
		return;
	if (ok && index <= group->last)
		follower->met = index;
	follower->next = max_u64(follower->match, follower->met) + 1;
	follower_probe(group, follower);
	follower->poke = ok;
	follower->retry_at_ns = ok ? group->now_ns : retry_after(group, follower);
}
