/* server/group_driver_log.c: the entries of the log. The group names them by index; here their bodies meet the journal
 * (written once, in the group's order), the tail (kept for appends and for apply) and the messages that carry them. One
 * buffer serves all three.
 *
 * What may leave the tail: an entry that is applied here and that no follower still lacks; above tail_size_max also
 * any that is durable, for then the journal has it. What may leave the journal: what the engine has flushed, less what
 * slow followers may still ask for (KEEP_ENTRIES, KEEP_BYTES). */
#include "server/group_driver_internal.h"

#include <assert.h>
#include <stdlib.h>

#include "policy/quorum.h"

/* Nothing more is begun while the journal has no room: a write that the group has ordered cannot be refused any more.
 * What one event can append is far below the margin that is left. */
static bool journal_overloaded(const struct driver *driver)
{
	struct journal_stats stats;
	journal_stats(driver->options.journal, &stats);
	return stats.pending_size > JOURNAL_PENDING_BYTES || stats.index_size > JOURNAL_INDEX_BYTES;
}

bool driver_journal_busy(const struct driver *driver)
{
	return journal_full(driver->options.journal) || journal_overloaded(driver);
}

/* Of a leader's entries. With a full disk a new leader's no-op is taken into the journal's reserve, and what stands
 * before it, as long as half of the reserve is left for votes: without it nobody could read. */
bool driver_append_busy(const struct driver *driver, const struct message_append *append)
{
	enum { RECORD_BYTES = 256 };
	if (append->last < append->first)
		return false;
	uint64_t room = journal_room(driver->options.journal), size = 0, bodies = 0;
	for (uint64_t index = append->first; index <= append->last; index++)
		bodies += append->bodies[index - append->first].size;
	size = bodies + (append->last - append->first + 1) * RECORD_BYTES;
	if (journal_overloaded(driver) || (bodies > 0 && engine_full(driver->engine)))
		return true;
	return journal_full(driver->options.journal) && size > (bodies > 0 ? room / 2 : room);
}

/* --- in ------------------------------------------------------------------------------------------- */

/* The group made this entry: a leader's no-op, or a membership. */
void driver_log_own_entry(struct driver *driver, const struct entry *given, const struct membership *membership)
{
	struct entry entry = *given;
	struct buffer *body = NULL;
	if (entry.kind == ENTRY_MEMBERSHIP) {
		struct packer packer;
		uint8_t row[MEMBERSHIP_ROW_MAX];
		pack_init(&packer, row, sizeof(row));
		membership_encode(membership, &packer);
		assert(!packer.overflow);
		body = buffer_copy(pack_result(&packer));
		if (!body) {
			driver_fail(driver, STATUS_NO_MEMORY, "no memory for a membership entry");
			return;
		}
	}
	entry.size = (uint32_t)buffer_bytes(body).size;
	if (tail_append(&driver->tail, &entry, body) != STATUS_OK)
		driver_fail(driver, STATUS_NO_MEMORY, "no memory for the log's tail");
	buffer_unref(body);
}

/* Puts into the tail what a write names: from the proposals that the group is looking at, or from the append that it
 * was handed. Its own entries are there already. */
static enum status tail_take(struct driver *driver, uint64_t index)
{
	if (tail_find(&driver->tail, index))
		return STATUS_OK;
	const struct proposals *proposals = &driver->proposals;
	for (uint32_t i = driver->proposed_taken; i < driver->proposing; i++) {
		const struct entry *entry = &proposals->entries[proposals->begin + i];
		if (entry->index != index)
			continue;
		driver->proposed_taken = i + 1;
		driver_pending_note(driver, entry);
		return tail_append(&driver->tail, entry, proposals->about[proposals->begin + i].body);
	}
	const struct message_append *append = driver->incoming;
	assert(append);
	assert(append->entries);
	assert(index >= append->first);
	assert(index <= append->last);
	const struct entry *entry = &append->entries[index - append->first];
	struct bytes bytes = append->bodies[index - append->first];
	struct buffer *body = bytes.size > 0 ? buffer_copy(bytes) : NULL;
	if (bytes.size > 0 && !body)
		return STATUS_NO_MEMORY;
	enum status status = tail_append(&driver->tail, entry, body);
	buffer_unref(body);
	if (status == STATUS_OK) {
		driver_pending_note(driver, entry);
		driver_forward_seen(driver, entry, bytes);
	}
	return status;
}

static enum status tickets_push(struct driver *driver, struct ticket_pair pair)
{
	if (driver->tickets_end - driver->tickets_begin == driver->tickets_capacity) {
		size_t capacity = driver->tickets_capacity ? 2 * driver->tickets_capacity : 8;
		struct ticket_pair *at = malloc(capacity * sizeof(*at));
		if (!at)
			return STATUS_NO_MEMORY;
		for (size_t i = driver->tickets_begin; i < driver->tickets_end; i++)
			at[i & (capacity - 1)] = driver->tickets[i & (driver->tickets_capacity - 1)];
		free(driver->tickets);
		driver->tickets = at;
		driver->tickets_capacity = capacity;
	}
	driver->tickets[driver->tickets_end++ & (driver->tickets_capacity - 1)] = pair;
	return STATUS_OK;
}

static struct journal_entry journal_entry_of(const struct driver *driver, const struct entry *entry)
{
	return (struct journal_entry){ .group = driver->options.group,
		.index = entry->index,
		.term = entry->term,
		.version = entry->version,
		.key_hash = entry->key_hash,
		.size = entry->size,
		.origin = entry->origin,
		.kind = entry->kind };
}

static enum status write_entries(struct driver *driver, uint64_t first, uint64_t last)
{
	for (uint64_t index = first; index <= last; index++) {
		enum status status = tail_take(driver, index);
		if (status != STATUS_OK)
			return status;
		const struct tail_entry *at = tail_find(&driver->tail, index);
		assert(at);
		struct journal_entry entry = journal_entry_of(driver, &at->entry);
		status = journal_append_entry(driver->options.journal, &entry, at->body);
		if (status != STATUS_OK)
			return status;
	}
	return STATUS_OK;
}

void driver_log_write(struct driver *driver, const struct group_effect *effect)
{
	struct journal *journal = driver->options.journal;
	uint64_t group = driver->options.group;
	enum status status = STATUS_OK;
	if (effect->write.state)
		status = journal_append_state(journal, group, effect->write.term, effect->write.vote);
	if (status == STATUS_OK && effect->write.cut_from != 0) {
		assert(effect->write.cut_from > driver->applied);
		tail_cut(&driver->tail, effect->write.cut_from);
		repair_cut(driver, effect->write.cut_from);
		status = journal_append_cut(journal, group, effect->write.cut_from);
	}
	if (status == STATUS_OK)
		status = write_entries(driver, effect->write.first, effect->write.last);
	if (status == STATUS_OK)
		status = tickets_push(driver, (struct ticket_pair){ effect->write.ticket, journal_ticket(journal) });
	if (status != STATUS_OK) {
		driver_fail(driver, status, "the journal took no more");
		return;
	}
	driver->owner->flush_wanted(driver->owner->arg);
}

/* The last of the group's tickets that this one of the journal covers; 0: none. */
uint64_t driver_log_durable(struct driver *driver, uint64_t journal_ticket)
{
	uint64_t ticket = 0;
	while (driver->tickets_begin < driver->tickets_end) {
		const struct ticket_pair *pair =
			&driver->tickets[driver->tickets_begin & (driver->tickets_capacity - 1)];
		if (pair->journal > journal_ticket)
			break;
		ticket = pair->group;
		driver->tickets_begin++;
	}
	if (driver->tickets_begin == driver->tickets_end)
		driver_log_tickets_free(driver);
	return ticket;
}

void driver_log_tickets_free(struct driver *driver)
{
	free(driver->tickets);
	driver->tickets = NULL;
	driver->tickets_begin = driver->tickets_end = driver->tickets_capacity = 0;
}

bool driver_awaits_durable(const struct driver *driver)
{
	return driver->tickets_begin < driver->tickets_end;
}

/* A snapshot took the log's place. */
void driver_log_reset(struct driver *driver, uint64_t index, uint64_t term)
{
	tail_reset(&driver->tail, index);
	repair_cut(driver, 1);
	enum status status = journal_append_reset(driver->options.journal, driver->options.group, index, term);
	if (status != STATUS_OK) {
		driver_fail(driver, status, "the journal took no more");
		return;
	}
	driver->trimmed = index;
	driver->owner->flush_wanted(driver->owner->arg);
}

/* --- out ------------------------------------------------------------------------------------------ */

/* The entry and a reference to its body (NULL: an empty one). NOT_FOUND: awaited from a peer. */
enum status driver_log_entry(struct driver *driver, uint64_t index, struct entry *entry, struct buffer **body)
{
	const struct tail_entry *at = tail_find(&driver->tail, index);
	*body = NULL;
	if (at) {
		*entry = at->entry;
		*body = at->body ? buffer_ref(at->body) : NULL;
		return STATUS_OK;
	}
	if (repair_awaits(driver, index))
		return STATUS_NOT_FOUND;
	struct journal_entry read;
	enum status status = journal_read_entry(driver->options.journal, driver->options.group, index, &read, body);
	if (status == STATUS_CORRUPT) { /* lost since the start */
		status = repair_add(driver, index, group_term_of(driver->group, index));
		driver->repair_deadline_ns = driver->now_ns;
		return status == STATUS_OK ? STATUS_NOT_FOUND : status;
	}
	if (status != STATUS_OK)
		return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status;
	assert(read.index == index);
	*entry = (struct entry){ .index = read.index,
		.term = read.term,
		.version = read.version,
		.key_hash = read.key_hash,
		.size = read.size,
		.origin = read.origin,
		.kind = read.kind };
	return STATUS_OK;
}

static bool is_witness(const struct driver *driver, uint64_t replica)
{
	const struct membership *membership = group_membership(driver->group);
	int at = membership_find(membership, replica);
	return at >= 0 && member_is_witness(&membership->at[at]);
}

/* Position and term, and who the members are: all that a witness may know. */
static void make_bare(struct entry *entry, struct bytes *body)
{
	entry->version = entry->key_hash = 0;
	entry->origin = 0;
	if (entry->kind == ENTRY_MEMBERSHIP)
		return;
	entry->size = 0;
	*body = bytes_of(NULL, 0);
}

/* Fills in the entries and bodies of first..last, as many as fit, `last` lowered to what does. Returns how many buffers
 * the caller must drop. */
static uint32_t fill(struct driver *driver, struct message_append *append, bool witness, struct buffer **held)
{
	struct codec_scratch *scratch = driver->options.scratch;
	uint64_t size = 0;
	uint32_t count = 0, memberships = 0;
	for (uint64_t index = append->first; index <= append->last && count < APPEND_ENTRIES_MAX; index++) {
		struct entry *entry = &scratch->entries[count];
		if (driver_log_entry(driver, index, entry, &held[count]) != STATUS_OK)
			break;
		/* A receiver keeps so many memberships above what it knows as committed, and no more. */
		memberships += entry->kind == ENTRY_MEMBERSHIP;
		if (count > 0 && (size + entry->size > APPEND_BYTES_MAX || memberships >= GROUP_MEMBERSHIPS_MAX)) {
			buffer_unref(held[count]);
			break;
		}
		scratch->bodies[count] = buffer_bytes(held[count]);
		if (witness)
			make_bare(entry, &scratch->bodies[count]);
		size += entry->size;
		count++;
	}
	append->entries = scratch->entries;
	append->bodies = scratch->bodies;
	append->last = append->first + count - 1;
	return count;
}

void driver_log_send_entries(struct driver *driver, struct message *message, struct message_append *append)
{
	uint32_t count = 0;
	struct buffer *held[APPEND_ENTRIES_MAX];
	if (append->last >= append->first)
		count = fill(driver, append, is_witness(driver, message->to), held);
	driver_send(driver, message->to, message);
	for (uint32_t i = 0; i < count; i++)
		buffer_unref(held[i]);
}

void driver_log_send_append(struct driver *driver, const struct message *given)
{
	struct message message = *given;
	driver_log_send_entries(driver, &message, &message.append);
}

/* --- what may go ------------------------------------------------------------------------------------ */

/* The last index that every follower is known to have; a leader's alone. `active`: of those that are being sent to. */
static uint64_t followers_have(const struct driver *driver, bool active)
{
	uint64_t have = UINT64_MAX;
	if (!driver->leads)
		return have;
	const struct membership *membership = group_membership(driver->group);
	for (unsigned i = 0; i < membership->count; i++) {
		struct group_progress progress;
		if (membership->at[i].replica == driver->options.replica)
			continue;
		if (!group_progress(driver->group, membership->at[i].replica, &progress))
			continue;
		if (active && (!progress.active || progress.snapshotting))
			continue;
		have = progress.match < have ? progress.match : have;
	}
	return have;
}

/* Who is away or far behind is served from the journal: no body waits in memory for a node that may never come. */
void driver_log_tail_trim(struct driver *driver)
{
	struct tail *tail = &driver->tail;
	if (tail_empty(tail))
		return;
	uint64_t upto = followers_have(driver, true);
	tail_release(tail, upto < driver->applied ? upto : driver->applied);
	if (tail->size <= driver->options.tail_size_max / 2)
		return;
	uint64_t durable = group_status(driver->group, driver->now_ns).durable;
	while (!tail_empty(tail) && tail->size > driver->options.tail_size_max / 2 && tail->first <= durable)
		tail_release(tail, tail->first);
}

/* Entries below the engine's flushed index that are kept for followers: none when all have them. */
static uint64_t keep_from(const struct driver *driver, uint64_t flushed)
{
	uint64_t keep = KEEP_ENTRIES;
	if (driver->applied_count > 0) {
		uint64_t mean = driver->applied_size / driver->applied_count + 1;
		if (keep > KEEP_BYTES / mean)
			keep = KEEP_BYTES / mean;
	}
	uint64_t have = followers_have(driver, false);
	if (!driver->leads) { /* who may lead tomorrow keeps something for who is behind today */
		keep = keep < KEEP_ENTRIES_FOLLOWER ? keep : KEEP_ENTRIES_FOLLOWER;
		have = 0;
	}
	uint64_t least = flushed > keep ? flushed - keep : 0;
	return have > least ? (have < flushed ? have : flushed) : least;
}

static void journal_cut_below(struct driver *driver, uint64_t index, struct node_time time)
{
	assert(index <= driver->applied);
	assert(index <= engine_flushed(driver->engine));
	enum status status = journal_trim(driver->options.journal, driver->options.group, index);
	if (status == STATUS_BUSY)
		return; /* another turn */
	if (status != STATUS_OK) {
		driver_fail(driver, status, "the journal could not be trimmed");
		return;
	}
	driver->trimmed = index;
	repair_release(driver, index);
	struct group_event event = { .kind = GROUP_COMPACTED };
	event.compacted.index = index;
	driver_step(driver, &event, time);
}

void driver_log_trim(struct driver *driver, struct node_time time)
{
	driver_log_tail_trim(driver);
	driver_flush_when_due(driver, time);
	driver_erase_settle(driver, time);
	if (driver->failed || engine_flushed(driver->engine) < driver->trimmed + TRIM_ENTRIES)
		return;
	uint64_t upto = keep_from(driver, engine_flushed(driver->engine));
	if (upto >= driver->trimmed + TRIM_ENTRIES)
		journal_cut_below(driver, upto, time);
}

void driver_log_trim_to(struct driver *driver, uint64_t flushed, uint64_t keep, struct node_time time)
{
	uint64_t have = followers_have(driver, false), upto = flushed > keep ? flushed - keep : 0;
	if (have > upto)
		upto = have < flushed ? have : flushed;
	if (upto > driver->trimmed)
		journal_cut_below(driver, upto, time);
}

enum status driver_log_repair(struct driver *driver, const struct entry *entry, struct bytes body)
{
	struct journal_entry repaired = journal_entry_of(driver, entry);
	repaired.body = body;
	enum status status = journal_repair_entry(driver->options.journal, &repaired, NULL);
	if (status == STATUS_OK)
		driver->owner->flush_wanted(driver->owner->arg);
	return status;
}

/* The journal may still hold a replica of this group that was removed from this node before: its log is not ours, and a
 * restart must not take it for ours. BUSY until its end is durable. */
enum status driver_log_clear(struct driver *driver)
{
	struct journal *journal = driver->options.journal;
	struct journal_state state;
	enum status status = journal_read_state(journal, driver->options.group, &state);
	if (status == STATUS_OK)
		status = journal_append_remove(journal, driver->options.group);
	else if (status == STATUS_NOT_FOUND)
		status = STATUS_OK;
	if (status != STATUS_OK || !journal_removing(journal, driver->options.group))
		return status;
	driver->owner->flush_wanted(driver->owner->arg);
	return STATUS_BUSY;
}

enum status driver_log_born(struct driver *driver)
{
	enum status status = journal_append_state(driver->options.journal, driver->options.group, 0, 0);
	if (status == STATUS_OK)
		driver->owner->flush_wanted(driver->owner->arg);
	return status;
}
