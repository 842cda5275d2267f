/* replication/group_log.c: what a group knows of its log: runs of equal term above a base, the memberships that may
 * have to be rolled back to, and which writes are durable.
 *
 * Durability. Writes keep their order, so "ticket t is durable" says that the log is durable up to where it ended when
 * t was written. A truncation lowers that end for every write before it: an old write's completion can then never
 * acknowledge the entries that took the place of its own.
 *
 * Memberships. A leader appends one only when the one before is committed, unless it makes a rule degrade
 * (group_rule.c): once for each configuration in force. So in any honest log all but the last three are committed, and
 * four are more than can ever be rolled back over. */
#include "replication/group_internal.h"

#include <assert.h>
#include <string.h>

static uint32_t run_of(const struct group *group, uint64_t index)
{
	assert(index > group->base_index);
	assert(index <= group->last);
	uint32_t i = group->run_count;
	while (i > 0 && group->runs[i - 1].first > index)
		i--;
	assert(i > 0);
	return i - 1;
}

uint64_t group_term_of(const struct group *group, uint64_t index)
{
	if (index == group->base_index)
		return group->base_term;
	if (index < group->base_index || index > group->last)
		return 0;
	return group->runs[run_of(group, index)].term;
}

uint64_t log_last_term(const struct group *group)
{
	return group->run_count > 0 ? group->runs[group->run_count - 1].term : group->base_term;
}

uint64_t log_run_first(const struct group *group, uint64_t index)
{
	return group->runs[run_of(group, index)].first;
}

/* The oldest run may be forgotten only when it is committed: below that nobody asks for terms. */
bool log_has_room(const struct group *group, uint64_t term)
{
	if (log_last_term(group) == term || group->run_count < GROUP_TERM_RUNS_MAX)
		return true;
	return group->runs[1].first - 1 <= group->released || !group->restored;
}

static void runs_drop(struct group *group, uint32_t count)
{
	assert(count <= group->run_count);
	group->run_count -= count;
	memmove(group->runs, group->runs + count, group->run_count * sizeof(group->runs[0]));
}

void log_append(struct group *group, uint64_t index, uint64_t term, uint64_t version)
{
	assert(index == group->last + 1);
	assert(term >= log_last_term(group));
	assert(log_has_room(group, term));
	if (group->run_count == 0 || log_last_term(group) != term) {
		if (group->run_count == GROUP_TERM_RUNS_MAX && !group->restored)
			group->forgotten_below = max_u64(group->forgotten_below, group->runs[1].first - 1);
		if (group->run_count == GROUP_TERM_RUNS_MAX)
			log_compact(group, group->runs[1].first - 1);
		group->runs[group->run_count++] = (struct term_run){ .first = index, .term = term };
	}
	group->last = index;
	group->version_max = max_u64(group->version_max, version);
}

void log_truncate(struct group *group, uint64_t from, struct group_effects *out)
{
	assert(from > group->commit);
	assert(from > group->base_index);
	assert(from <= group->last);
	while (group->run_count > 0 && group->runs[group->run_count - 1].first >= from)
		group->run_count--;
	group->last = from - 1;
	group->durable = min_u64(group->durable, from - 1);
	group->verified = min_u64(group->verified, from - 1);
	group->own_last = 0;
	for (uint32_t i = 0; i < group->write_count; i++)
		group->writes[i].last = min_u64(group->writes[i].last, from - 1);
	while (group->membership_count > 1 && membership_in_force(group)->index >= from) {
		group->membership_count--;
		group->membership_changed = true;
	}
	effect_new(out, GROUP_TRUNCATED)->truncated.first = from;
}

void log_reset(struct group *group, uint64_t index, uint64_t term)
{
	assert(index > group->commit);
	group->base_index = index;
	group->base_term = term;
	group->snapshot_index = index;
	group->run_count = 0;
	group->last = group->durable = group->commit = group->released = group->applied = index;
	group->verified = index;
	for (uint32_t i = 0; i < group->write_count; i++)
		group->writes[i].last = index;
}

void log_compact(struct group *group, uint64_t index)
{
	assert(index <= max_u64(group->released, group->forgotten_below));
	if (index <= group->base_index)
		return;
	uint64_t term = group_term_of(group, index);
	uint32_t at = run_of(group, index);
	bool whole = index == group->last || (at + 1 < group->run_count && group->runs[at + 1].first == index + 1);
	runs_drop(group, whole ? at + 1 : at);
	if (!whole)
		group->runs[0].first = index + 1;
	group->base_index = index;
	group->base_term = term;
}

/* --- memberships ---------------------------------------------------------------------------------- */

static void memberships_drop_oldest(struct group *group)
{
	assert(group->membership_count > 1);
	group->membership_count--;
	memmove(group->memberships, group->memberships + 1, group->membership_count * sizeof(group->memberships[0]));
}

const struct membership *log_push_membership(struct group *group, const struct membership *membership, uint64_t index)
{
	assert(group->membership_count > 0);
	if (group->membership_count == GROUP_MEMBERSHIPS_MAX)
		memberships_drop_oldest(group);
	struct membership *to = &group->memberships[group->membership_count++];
	*to = *membership;
	to->index = index;
	group->membership_changed = true;
	return to;
}

/* The last that is committed: it and all above it are in force for somebody. */
uint32_t memberships_oldest(const struct group *group)
{
	uint32_t i = group->membership_count - 1;
	while (i > 0 && group->memberships[i].index > group->commit)
		i--;
	return i;
}

void log_fold_memberships(struct group *group)
{
	while (group->membership_count > 1 && group->memberships[1].index <= group->commit)
		memberships_drop_oldest(group);
}

/* --- writes ----------------------------------------------------------------------------------------- */

/* The next write carries it: whoever's word depends on term and vote waits for that ticket. */
void state_set(struct group *group, uint64_t term, uint64_t vote)
{
	assert(term >= group->term);
	if (term == group->term && vote == group->vote)
		return;
	if (term == group->term)
		assert(group->vote == 0); /* a vote once given in a term stays */
	group->term = term;
	group->vote = vote;
	group->state_dirty = true;
	group->state_ticket = group->tickets + 1;
}

bool state_durable(const struct group *group)
{
	return group->state_ticket <= group->ticket_durable;
}

void write_emit(struct group *group, struct group_effects *out, uint64_t cut_from, uint64_t first, uint64_t last)
{
	assert(last < first || last == group->last);
	uint64_t ticket = ++group->tickets;
	struct group_effect *effect = effect_new(out, GROUP_WRITE);
	effect->write.ticket = ticket;
	effect->write.term = group->term;
	effect->write.vote = group->vote;
	effect->write.state = group->state_dirty;
	effect->write.cut_from = cut_from;
	effect->write.first = first;
	effect->write.last = last;
	group->state_dirty = false;
	if (group->write_count == 0)
		group->disk_heard_ns = group->now_ns;
	/* A full table: the last one's completion is then known a little later, never too early. */
	if (group->write_count == GROUP_WRITES_MAX)
		group->write_count--;
	group->writes[group->write_count++] = (struct pending_write){ .ticket = ticket, .last = group->last };
}

void write_durable(struct group *group, uint64_t ticket)
{
	assert(ticket <= group->tickets);
	if (ticket <= group->ticket_durable)
		return;
	group->ticket_durable = ticket;
	group->disk_heard_ns = group->now_ns;
	uint32_t done = 0;
	while (done < group->write_count && group->writes[done].ticket <= ticket) {
		group->durable = max_u64(group->durable, group->writes[done].last);
		done++;
	}
	group->write_count -= done;
	memmove(group->writes, group->writes + done, group->write_count * sizeof(group->writes[0]));
	assert(group->durable <= group->last);
}

uint64_t write_stall_ns(const struct group *group)
{
	if (group->write_count == 0)
		return NEVER;
	return group->disk_heard_ns + GROUP_STALL_MAX * us_ns(group->config.election_us);
}

/* --- commit ------------------------------------------------------------------------------------------- */

void commit_to(struct group *group, uint64_t index)
{
	assert(index <= group->last);
	group->commit = max_u64(group->commit, index);
}

/* What is not durable here is not applied here: the engine never runs ahead of its journal. */
void commit_release(struct group *group, struct group_effects *out)
{
	uint64_t to = min_u64(group->commit, group->durable);
	if (to <= group->released)
		return;
	struct group_effect *effect = effect_new(out, GROUP_COMMIT);
	effect->commit.first = group->released + 1;
	effect->commit.last = to;
	effect->commit.degraded = rule_degraded(membership_in_force(group)) || !rule_told(group);
	group->released = to;
}
