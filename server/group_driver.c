/* server/group_driver.c: see server/group_driver.h. Events go to the group, its effects are carried out in the order
 * given, and what an effect asks for that is itself an event (installed, applied) follows as the next step: group_step
 * is never entered from within an effect, because the effects' memory is shared by all drivers of the thread. */
#include "server/group_driver_internal.h"

#include <assert.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/log.h"
#include "policy/quorum.h"

void driver_fail(struct driver *driver, enum status status, const char *what)
{
	assert(status != STATUS_OK);
	if (driver->failed)
		return;
	driver->failed = true;
	driver->owner->fatal(driver->owner->arg, driver, status, what);
}

/* --- who is where ------------------------------------------------------------------------------- */

uint64_t driver_node_of(const struct driver *driver, uint64_t replica)
{
	const struct membership *membership = group_membership(driver->group);
	int at = membership_find(membership, replica);
	if (at >= 0)
		return membership->at[at].node;
	for (unsigned i = 0; i < NODES_KNOWN_MAX; i++)
		if (driver->known[i].replica == replica)
			return driver->known[i].node;
	return 0;
}

/* A sender outside the membership in force (a leader that this learner has not heard of, a replica that is being
 * removed) can be answered, as long as it is one of the last few. False: it is not who it says. */
static bool node_learned(struct driver *driver, uint64_t replica, uint64_t node)
{
	uint64_t known = driver_node_of(driver, replica);
	if (known != 0)
		return known == node;
	driver->known[driver->known_next % NODES_KNOWN_MAX] = (struct replica_at){ replica, node };
	driver->known_next++;
	return true;
}

/* Liveness pairs this node with the nodes of the membership in force. */
void driver_members_watch(struct driver *driver)
{
	const struct driver_owner *owner = driver->owner;
	uint64_t nodes[REPLICAS_MAX];
	unsigned count = 0;
	const struct membership *membership = group_membership(driver->group);
	for (unsigned i = 0; i < membership->count; i++)
		if (membership->at[i].node != driver->options.node)
			nodes[count++] = membership->at[i].node;
	for (unsigned i = 0; i < count; i++) {
		bool watched = false;
		for (unsigned j = 0; j < driver->watched_count; j++)
			watched = watched || driver->watched[j] == nodes[i];
		if (!watched)
			owner->watch(owner->arg, nodes[i], true);
	}
	for (unsigned j = 0; j < driver->watched_count; j++) {
		bool member = false;
		for (unsigned i = 0; i < count; i++)
			member = member || driver->watched[j] == nodes[i];
		if (!member)
			owner->watch(owner->arg, driver->watched[j], false);
	}
	memcpy(driver->watched, nodes, count * sizeof(nodes[0]));
	driver->watched_count = count;
}

static void unwatch_members(struct driver *driver)
{
	for (unsigned i = 0; i < driver->watched_count; i++)
		driver->owner->watch(driver->owner->arg, driver->watched[i], false);
	driver->watched_count = 0;
}

/* --- effects -------------------------------------------------------------------------------------- */

void driver_send(struct driver *driver, uint64_t replica, const struct message *message)
{
	uint64_t node = driver_node_of(driver, replica);
	if (node != 0 && node != driver->options.node)
		driver->owner->send(driver->owner->arg, driver, node, message);
}

static void refused(struct driver *driver, const struct group_effect *effect)
{
	switch (effect->refuse.what) {
	case GROUP_READ:
		driver_round_refused(driver, effect->refuse.request, effect->refuse.status, effect->refuse.leader);
		break;
	case GROUP_PROPOSED:
	case GROUP_CHANGE:
	case GROUP_TRANSFER:
		driver->refusal = (struct driver_refusal){ effect->refuse.status, effect->refuse.leader };
		break;
	default:
		break;
	}
}

static void committed(struct driver *driver, uint64_t first, uint64_t last, bool degraded)
{
	assert(first <= last);
	assert(first <= driver->commit + 1);
	if (degraded)
		driver->degraded = last;
	if (last > driver->commit)
		driver->commit = last;
}

static void carry_out(struct driver *driver, const struct group_effect *effect)
{
	const struct driver_owner *owner = driver->owner;
	switch (effect->kind) {
	case GROUP_OWN_ENTRY:
		driver_log_own_entry(driver, &effect->own.entry, effect->own.membership);
		break;
	case GROUP_WRITE:
		driver_log_write(driver, effect);
		break;
	case GROUP_SEND:
		if (effect->send->kind == MESSAGE_APPEND)
			driver_log_send_append(driver, effect->send);
		else
			driver_send(driver, effect->send->to, effect->send);
		break;
	case GROUP_COMMIT:
		committed(driver, effect->commit.first, effect->commit.last, effect->commit.degraded);
		break;
	case GROUP_READABLE:
		driver_round_ready(driver, effect->readable.request, effect->readable.index);
		break;
	case GROUP_REFUSE:
		refused(driver, effect);
		break;
	case GROUP_SNAPSHOT:
		assert(driver->snapshot_wanted_count < REPLICAS_MAX);
		driver->snapshot_wanted[driver->snapshot_wanted_count++] = effect->snapshot.to;
		break;
	case GROUP_INSTALL:
		driver->install_index = effect->install.index;
		driver->install_term = effect->install.term;
		driver->install_from = effect->install.from;
		break;
	case GROUP_ROLE:
		if (effect->role.leader == 0 && (driver->leader != 0 || driver->leaderless_ns == 0))
			driver->leaderless_ns = driver->now_ns;
		driver->leads = effect->role.role == GROUP_LEADER;
		driver->leader = effect->role.leader;
		if (!driver->leads)
			driver_snapshots_drop(driver, false);
		driver->spurned = 0;
		driver_forwards_again(driver);
		driver_held_look_again(driver);
		driver_rounds_look_again(driver);
		owner->role_changed(owner->arg, driver);
		break;
	case GROUP_MEMBERSHIP:
		driver_members_watch(driver);
		owner->membership_changed(owner->arg, driver, false);
		break;
	case GROUP_CHANGED:
		if (effect->changed.status == STATUS_OK)
			owner->membership_changed(owner->arg, driver, true);
		break;
	case GROUP_TRUNCATED:
		driver_waiters_lost(driver, effect->truncated.first);
		driver_held_look_again(driver);
		break;
	}
}

static void step_once(struct driver *driver, struct group_event *event, struct node_time time)
{
	assert(!driver->stepping);
	event->now_ns = time.now_ns;
	event->wall_us = time.wall_us;
	driver->now_ns = time.now_ns;
	struct group_effects *effects = driver->options.effects;
	driver->stepping = true;
	group_step(driver->group, event, effects);
	for (uint32_t i = 0; i < effects->count && !driver->failed; i++)
		carry_out(driver, &effects->at[i]);
	driver->stepping = false;
}

void driver_step(struct driver *driver, struct group_event *event, struct node_time time)
{
	step_once(driver, event, time);
	while (!driver->failed && driver->install_index != 0) {
		struct group_event installed = { .kind = GROUP_INSTALLED };
		driver_install(driver, &installed);
		driver->install_index = 0;
		if (!driver->failed)
			step_once(driver, &installed, time);
	}
	while (!driver->failed && driver->snapshot_wanted_count > 0) {
		uint64_t to = driver->snapshot_wanted[--driver->snapshot_wanted_count];
		driver_snapshot_start(driver, to, time);
	}
	repair_settle(driver);
	reseed_settle(driver);
}

/* --- events --------------------------------------------------------------------------------------- */

/* Bodies of the membership entries of an append, decoded for the group. False: malformed, from a peer. */
static bool memberships_of(const struct message_append *append, struct membership *memberships, uint32_t *count)
{
	*count = 0;
	for (uint64_t index = append->first; index <= append->last; index++) {
		size_t at = (size_t)(index - append->first);
		if (append->entries[at].kind != ENTRY_MEMBERSHIP)
			continue;
		if (*count == GROUP_MEMBERSHIPS_MAX)
			return false;
		struct unpacker unpacker;
		unpack_init(&unpacker, append->bodies[at]);
		if (membership_decode(&unpacker, &memberships[*count]) != STATUS_OK || !unpack_end(&unpacker))
			return false;
		memberships[*count].index = index;
		++*count;
	}
	return true;
}

/* What a peer says of its entries, checked before anything is believed. */
static bool append_well_formed(const struct message_append *append)
{
	if (append->last < append->first)
		return true;
	if (append->first != append->prev_index + 1 || append->last - append->first >= APPEND_ENTRIES_MAX)
		return false;
	for (uint64_t index = append->first; index <= append->last; index++) {
		const struct entry *entry = &append->entries[index - append->first];
		if (entry->index != index || entry->size != append->bodies[index - append->first].size)
			return false;
	}
	return true;
}

static void group_received(struct driver *driver, const struct message *message, struct node_time time)
{
	struct membership memberships[GROUP_MEMBERSHIPS_MAX];
	struct group_event event = { .kind = GROUP_RECEIVED };
	event.received.message = message;
	event.received.memberships = memberships;
	if (message->kind == MESSAGE_APPEND) {
		if (!append_well_formed(&message->append))
			return;
		if (driver_append_busy(driver, &message->append))
			return; /* as if lost: the leader sends again */
		if (!memberships_of(&message->append, memberships, &event.received.membership_count))
			return;
		driver->incoming = &message->append;
	}
	driver_step(driver, &event, time);
	driver->incoming = NULL;
	if (message->kind == MESSAGE_APPEND_REPLY && !driver->failed)
		driver_log_tail_trim(
			driver); /* it may have been the last that somebody lacked; an idle replica has no turn */
}

void driver_received(struct driver *driver, uint64_t from_node, const struct message *message, struct node_time time)
{
	if (driver->failed || !driver->started)
		return;
	if (message->group != driver->options.group || message->to != driver->options.replica)
		return;
	if (message->from == 0 || message->from == message->to || !node_learned(driver, message->from, from_node))
		return;
	driver->now_ns = time.now_ns;
	switch (message->kind) {
	case MESSAGE_APPEND:
	case MESSAGE_APPEND_REPLY:
	case MESSAGE_VOTE:
	case MESSAGE_VOTE_REPLY:
	case MESSAGE_TIMEOUT_NOW:
	case MESSAGE_READ_INDEX:
	case MESSAGE_READ_INDEX_REPLY:
	case MESSAGE_GRANT:
	case MESSAGE_GRANT_REPLY:
	case MESSAGE_NOTE:
		group_received(driver, message, time);
		break;
	case MESSAGE_FORWARD_REPLY:
		driver_forward_refused(driver, message);
		break;
	case MESSAGE_SNAPSHOT_CHUNK:
		driver_install_received(driver, message, time);
		break;
	case MESSAGE_SNAPSHOT_ACK:
		driver_snapshot_acked(driver, message, time);
		break;
	case MESSAGE_REPAIR:
		driver_repair_asked(driver, message, time);
		break;
	case MESSAGE_REPAIR_REPLY:
		driver_repair_received(driver, message, time);
		break;
	default: /* MESSAGE_SNAPSHOT is made here, never received */
		break;
	}
}

void driver_received_forward(
	struct driver *driver, uint64_t from_node, const struct message *message, bool closed, struct node_time time)
{
	if (driver->failed || !driver->started || message->to != driver->options.replica)
		return;
	if (message->from == 0 || message->from == message->to || driver_node_of(driver, message->from) != from_node)
		return;
	driver->now_ns = time.now_ns;
	driver_forwarded(driver, message, closed);
}

void driver_expired(struct driver *driver, struct node_time time)
{
	if (driver->failed || !driver->started)
		return;
	driver->now_ns = time.now_ns;
	reseed_notice(driver);
	if (group_deadline(driver->group) <= time.now_ns) {
		struct group_event event = { .kind = GROUP_EXPIRED };
		driver_step(driver, &event, time);
	}
	driver_snapshot_expired(driver, time);
	driver_repair_expired(driver, time);
	driver_forward_expired(driver, time);
	driver_reseed_expired(driver, time);
	if (!driver->failed &&
		(driver_flush_deadline(driver) <= time.now_ns || driver_erase_deadline(driver) <= time.now_ns))
		driver_log_trim(driver, time);
}

uint64_t driver_deadline(const struct driver *driver)
{
	if (driver->failed || !driver->started)
		return UINT64_MAX;
	uint64_t deadline = group_deadline(driver->group);
	uint64_t snapshot = driver_snapshot_deadline(driver);
	uint64_t flush = driver_flush_deadline(driver);
	uint64_t erase = driver_erase_deadline(driver);
	uint64_t forward = driver_forward_deadline(driver);
	uint64_t reseed = driver_reseed_deadline(driver);
	if (snapshot < deadline)
		deadline = snapshot;
	if (flush < deadline)
		deadline = flush;
	if (erase < deadline)
		deadline = erase;
	if (forward < deadline)
		deadline = forward;
	if (driver_patience_ns(driver) < deadline)
		deadline = driver_patience_ns(driver);
	if (reseed < deadline)
		deadline = reseed;
	return driver->repair_deadline_ns < deadline ? driver->repair_deadline_ns : deadline;
}

void driver_peer(struct driver *driver, uint64_t node, enum liveness_change change, struct node_time time)
{
	if (driver->failed || !driver->started)
		return;
	if (change == LIVENESS_RESTARTED)
		driver_snapshot_peer_restarted(driver, node);
	struct group_event event = { .kind = GROUP_PEER };
	event.peer.node = node;
	event.peer.change = change;
	driver_step(driver, &event, time);
}

void driver_durable(struct driver *driver, uint64_t journal_ticket, struct node_time time)
{
	if (driver->failed || !driver->started)
		return;
	uint64_t ticket = driver_log_durable(driver, journal_ticket);
	if (ticket == 0)
		return;
	struct group_event event = { .kind = GROUP_DURABLE };
	event.durable.ticket = ticket;
	driver_step(driver, &event, time);
}

enum status driver_change_membership(struct driver *driver, const struct membership *wanted, struct node_time time)
{
	if (driver->failed)
		return STATUS_CLOSED;
	driver->refusal = (struct driver_refusal){ .status = STATUS_OK };
	struct group_event event = { .kind = GROUP_CHANGE };
	event.change.membership = wanted;
	event.change.request = ++driver->change_request;
	driver_step(driver, &event, time);
	return driver->refusal.status;
}

void driver_transfer(struct driver *driver, uint64_t to_replica, struct node_time time)
{
	if (driver->failed)
		return;
	struct group_event event = { .kind = GROUP_TRANSFER };
	event.transfer.to = to_replica;
	driver_step(driver, &event, time);
}

/* --- life ----------------------------------------------------------------------------------------- */

static void driver_free(struct driver *driver)
{
	proposals_deinit(&driver->proposals);
	waiters_deinit(&driver->waiters);
	refusals_deinit(&driver->refusals);
	tokens_deinit(&driver->reads_gathered);
	for (unsigned i = 0; i < GROUP_READS_MAX; i++)
		tokens_deinit(&driver->rounds[i].tokens);
	driver_recovery_drop(driver);
	driver_log_tickets_free(driver);
	tail_deinit(&driver->tail);
	state_forget(driver);
	meta_forget(driver);
	free(driver->hold_slots);
	free(driver->missing);
	if (driver->group)
		group_end(driver->group);
	free(driver->group);
	free(driver);
}

static struct driver *driver_new(const struct driver_options *options)
{
	assert(options->replica != 0);
	assert(options->node != 0);
	struct driver *driver = calloc(1, sizeof(*driver));
	if (!driver)
		return NULL;
	driver->options = *options;
	driver->owner = options->owner;
	driver->repair_deadline_ns = UINT64_MAX;
	tail_init(&driver->tail);
	driver->recovered = calloc(1, sizeof(*driver->recovered));
	if (!driver->recovered) {
		free(driver);
		return NULL;
	}
	driver->recovered->first = 1;
	return driver;
}

static enum status group_new(struct driver *driver)
{
	struct group_config config = { .group = driver->options.group,
		.replica = driver->options.replica,
		.node = driver->options.node,
		.seed = driver->options.seed,
		.liveness = driver->options.liveness,
		.inflight_max = driver->options.inflight_max,
		.append_entries_max = APPEND_ENTRIES_MAX,
		.append_window = APPEND_WINDOW,
		.election_us = driver->options.election_us,
		.retransmit_us = driver->options.retransmit_us,
		.drift_ppm = driver->options.drift_ppm };
	void *memory = calloc(1, group_size(&config));
	if (!memory)
		return STATUS_NO_MEMORY;
	driver->group = group_init(memory, &config);
	assert((void *)driver->group == memory);
	return STATUS_OK;
}

/* The first rows, on disk before anything is promised. */
static enum status birth_write(struct driver *driver, const struct membership *membership)
{
	struct engine_batch *batch = engine_batch_new();
	if (!batch)
		return STATUS_NO_MEMORY;
	state_put_birth(driver, batch);
	state_put_secret(driver, batch);
	state_put_mark(driver, batch);
	if (membership)
		state_put_membership(batch, membership);
	enum status status = engine_apply(driver->engine, batch, 0, 0);
	engine_batch_free(batch);
	uint64_t flushed = 0;
	return status == STATUS_OK ? engine_flush(driver->engine, &flushed) : status;
}

/* What was begun on the disk goes, so that the next attempt finds nothing there. */
static void birth_undo(const struct driver *driver)
{
	enum status status = engine_remove(driver->options.engines, driver->options.replica);
	if (status != STATUS_OK && status != STATUS_NOT_FOUND)
		log_warn("a replica could neither be made nor what was begun of it be removed",
			LOG_H("group", driver->options.group), LOG_U("replica", driver->options.replica),
			LOG_S("status", status_name(status)));
}

enum status driver_create(const struct driver_options *options, const struct membership *membership,
	struct node_time time, struct driver **out)
{
	assert(options->group != 0);
	assert(options->journal);
	if (membership)
		assert(membership->index == 0);
	*out = NULL;
	struct driver *driver = driver_new(options);
	if (!driver)
		return STATUS_NO_MEMORY;
	enum status status = driver_log_clear(driver);
	bool begun = status == STATUS_OK;
	if (status == STATUS_OK)
		status = engine_open(options->engines, options->replica, true, &driver->engine);
	if (status == STATUS_OK)
		status = birth_write(driver, membership);
	if (status == STATUS_OK)
		status = state_load(driver);
	if (status == STATUS_OK)
		status = group_new(driver);
	if (status == STATUS_OK)
		label_write(driver);
	if (status == STATUS_OK)
		status = driver_log_born(driver);
	if (status == STATUS_OK)
		status = driver_started(driver, time);
	if (status != STATUS_OK) {
		if (driver->engine)
			engine_close(driver->engine);
		if (begun && status != STATUS_CONFLICT)
			birth_undo(driver);
		driver_free(driver);
		return status;
	}
	*out = driver;
	return STATUS_OK;
}

enum status driver_open(const struct driver_options *options, struct driver **out)
{
	*out = NULL;
	struct driver *driver = driver_new(options);
	if (!driver)
		return STATUS_NO_MEMORY;
	enum status status = engine_open(options->engines, options->replica, false, &driver->engine);
	if (status == STATUS_OK)
		status = state_load_birth(driver);
	if (status == STATUS_OK && driver->options.group != META_GROUP)
		driver->options.map = NULL; /* offered before the group was known */
	if (status == STATUS_OK)
		status = state_load(driver);
	if (status == STATUS_OK)
		label_check(driver);
	else if (status == STATUS_CORRUPT)
		status = reseed_open(driver, false);
	if (status == STATUS_OK)
		status = group_new(driver);
	if (status != STATUS_OK) {
		if (driver->engine)
			engine_close(driver->engine);
		driver_free(driver);
		return status;
	}
	*out = driver;
	return STATUS_OK;
}

void driver_set_journal(struct driver *driver, struct journal *journal)
{
	assert(!driver->started);
	driver->options.journal = journal;
}

static void driver_end(struct driver *driver)
{
	driver_flush_drop(driver);
	driver_erase_drop(driver);
	driver_queues_end(driver);
	driver_snapshots_drop(driver, false);
	driver_install_drop(driver);
	unwatch_members(driver);
}

void driver_close(struct driver *driver)
{
	driver_end(driver);
	enum status status = STATUS_OK;
	if (!driver->failed && driver->started && driver_is_meta(driver))
		status = meta_checkpoint(driver);
	uint64_t flushed = 0;
	if (!driver->failed && driver->started && status == STATUS_OK)
		status = engine_flush(driver->engine, &flushed);
	if (status != STATUS_OK)
		log_warn("a replica was closed without its engine flushed: the journal has what is missing",
			LOG_H("group", driver->options.group), LOG_S("status", status_name(status)));
	engine_close(driver->engine);
	driver_free(driver);
}

void driver_abandon(struct driver *driver)
{
	driver_end(driver);
	engine_close(driver->engine);
	driver_free(driver);
}

enum status driver_destroy(struct driver *driver)
{
	driver_end(driver);
	struct engine_shared *engines = driver->options.engines;
	uint64_t replica = driver->options.replica;
	engine_close(driver->engine);
	enum status status = engine_remove(engines, replica);
	if (status == STATUS_OK)
		status = journal_append_remove(driver->options.journal, driver->options.group);
	if (status == STATUS_OK)
		driver->owner->flush_wanted(driver->owner->arg);
	driver_free(driver);
	return status;
}

/* --- what others ask ------------------------------------------------------------------------------ */

const struct group *driver_group(const struct driver *driver)
{
	return driver->group;
}

struct engine *driver_engine(const struct driver *driver)
{
	return driver->engine;
}

uint64_t driver_group_id(const struct driver *driver)
{
	return driver->options.group;
}

uint64_t driver_replica_id(const struct driver *driver)
{
	return driver->options.replica;
}

uint64_t driver_applied(const struct driver *driver)
{
	return driver->applied;
}

bool driver_is_witness(const struct driver *driver)
{
	return driver->options.witness;
}

bool driver_leads(const struct driver *driver)
{
	return driver->leads;
}

uint64_t driver_leader_node(const struct driver *driver)
{
	if (driver->leader == driver->options.replica)
		return driver->options.node;
	return driver->leader ? driver_node_of(driver, driver->leader) : 0;
}

uint64_t driver_memory(const struct driver *driver)
{
	return driver->tail.size + driver->proposals.size + driver->forwards.size;
}

void driver_check(const struct driver *driver)
{
	if (driver->failed || !driver->started)
		return;
	group_check(driver->group);
	tail_check(&driver->tail);
	struct group_status status = group_status(driver->group, driver->now_ns);
	assert(driver->engine_applied <= driver->applied);
	assert(driver->applied <= driver->commit);
	assert(driver->commit <= status.commit || driver->commit == driver->engine_applied);
	assert(driver->tail.last == status.last);
	assert(driver->leads == (status.role == GROUP_LEADER));
	assert(driver->leader == status.leader);
	for (size_t i = driver->waiters.begin; i < driver->waiters.end; i++)
		assert(driver->waiters.at[i].index > driver->applied);
	for (uint32_t i = 0; i + 1 < driver->missing_count; i++)
		assert(driver->missing[i].index < driver->missing[i + 1].index);
	for (uint32_t i = 0; i + 1 < driver->fence_count; i++)
		assert(driver->fences[i].operation < driver->fences[i + 1].operation);
}

uint64_t driver_move_epoch(const struct driver *driver)
{
	return driver->move_epoch;
}

uint64_t driver_write_epoch(const struct driver *driver)
{
	return driver->write_epoch;
}

bool driver_closed_at(const struct driver *driver, uint64_t map_epoch, uint64_t version, bool retry)
{
	return driver->move_epoch >= map_epoch && driver->version_max >= version &&
	       (!retry || session_evicted_ever(driver->sessions));
}

uint64_t driver_version_max(const struct driver *driver)
{
	return driver->version_max;
}

/* Of what replicas at the same index must have alike: keys, fences, sessions; meta's is its map. */
uint64_t driver_digest(const struct driver *driver)
{
	uint64_t digest = hash64(bytes_of(&driver->applied, sizeof(driver->applied)));
	digest = hash64_seeded(bytes_of(&driver->version_max, sizeof(driver->version_max)), digest);
	if (driver_is_meta(driver))
		return digest ^ meta_digest(driver->options.map);
	uint64_t rows = 0;
	if (engine_digest(driver->engine, &rows) != STATUS_OK)
		return 0; /* the engine has failed, and says so at the next apply */
	digest ^= rows;
	digest = hash64_seeded(bytes_of(&driver->move_epoch, sizeof(driver->move_epoch)), digest);
	digest = hash64_seeded(bytes_of(&driver->write_epoch, sizeof(driver->write_epoch)), digest);
	for (uint32_t i = 0; i < driver->fence_count; i++) {
		const struct fence *fence = &driver->fences[i];
		digest = hash64_seeded(bytes_of(&fence->operation, sizeof(fence->operation)), digest);
		digest = hash64_seeded(buffer_bytes(fence->prefix), digest);
		digest = hash64_seeded(bytes_of(&fence->hash_first, sizeof(fence->hash_first)), digest);
		digest = hash64_seeded(bytes_of(&fence->hash_last, sizeof(fence->hash_last)), digest);
	}
	return driver->sessions ? digest ^ session_digest(driver->sessions) : digest;
}
