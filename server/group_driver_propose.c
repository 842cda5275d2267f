/* server/group_driver_propose.c: the turn of a replica. What arrives in one turn of the node's loop is gathered: the
 * proposals become one GROUP_PROPOSED (up to a bound), the reads one GROUP_READ. What the group has no room for waits
 * for the next turn, so that load makes batches larger, not queues longer without end: above the bounds the answer is
 * BUSY. Every answer is given from driver_turn or from an event, never from within driver_propose and driver_read. */
#include "server/group_driver_internal.h"

#include <assert.h>

static void refuse_later(struct driver *driver, uint64_t token, enum status status)
{
	if (refusals_push(&driver->refusals, (struct refusal){ token, status }) != STATUS_OK)
		driver_fail(driver, STATUS_NO_MEMORY, "no memory to answer a proposal");
}

static void gather(struct driver *driver, struct buffer *body, uint64_t key_hash, uint64_t token)
{
	struct entry entry = {
		.kind = ENTRY_COMMAND,
		.key_hash = key_hash,
		.size = (uint32_t)body->size,
		.origin = 0, /* its own: the leader needs nobody to tell it */
	};
	struct proposal proposal = { .body = body, .token = token };
	if (proposals_push(&driver->proposals, &entry, &proposal) != STATUS_OK) {
		buffer_unref(body);
		refuse_later(driver, token, STATUS_NO_MEMORY);
	}
}

/* OK, or why nothing can be taken now: decided before anything is encoded. */
enum status driver_room_for_proposal(const struct driver *driver)
{
	if (driver->failed)
		return STATUS_CLOSED;
	if (!driver_takes_writes(driver))
		return STATUS_NOT_LEADER;
	if (driver_journal_busy(driver) || engine_full(driver->engine)) /* the leader may have room */
		return driver->leads ? STATUS_BUSY : STATUS_NOT_LEADER;
	if (proposals_count(&driver->proposals) + forwards_count(&driver->forwards) >= driver->options.inflight_max)
		return STATUS_BUSY;
	if (driver_memory(driver) >= driver->options.tail_size_max)
		return STATUS_BUSY;
	return STATUS_OK;
}

void driver_propose(
	struct driver *driver, const struct command *command, uint64_t key_hash, uint64_t token, struct node_time time)
{
	driver->now_ns = time.now_ns;
	assert(!driver_is_meta(driver));
	enum status status = driver_room_for_proposal(driver);
	bool forwardable = command->kind <= COMMAND_CAS && command->client != 0;
	if (status == STATUS_OK && !driver->leads && !forwardable)
		status = STATUS_NOT_LEADER;
	if (status == STATUS_OK && command->kind == COMMAND_FENCE && driver->fence_count >= FENCES_MAX &&
		!driver_fence_of(driver, command->operation))
		status = STATUS_BUSY;
	if (status != STATUS_OK) {
		refuse_later(driver, token, status);
		return;
	}
	struct packer count;
	pack_init(&count, NULL, 0);
	command_encode(command, &count);
	struct buffer *body = buffer_new(count.size);
	if (!body) {
		refuse_later(driver, token, STATUS_NO_MEMORY);
		return;
	}
	struct packer packer;
	pack_init(&packer, body->data, body->size);
	command_encode(command, &packer);
	assert(!packer.overflow);
	assert(packer.size == body->size);
	/* The entry's own version is above those that its keys had, so in any log all later ones are. */
	if ((command->kind == COMMAND_ADOPT || command->kind == COMMAND_CLOSE) &&
		command->version > driver->version_floor)
		driver->version_floor = command->version;
	gather(driver, body, key_hash, token);
}

void driver_propose_change(struct driver *driver, const struct change *change, uint64_t token, struct node_time time)
{
	(void)time;
	assert(driver_is_meta(driver));
	enum status status = driver_room_for_proposal(driver);
	if (status != STATUS_OK) {
		refuse_later(driver, token, status);
		return;
	}
	struct packer count;
	pack_init(&count, NULL, 0);
	change_encode(change, &count);
	struct buffer *body = buffer_new(count.size);
	if (!body) {
		refuse_later(driver, token, STATUS_NO_MEMORY);
		return;
	}
	struct packer packer;
	pack_init(&packer, body->data, body->size);
	change_encode(change, &packer);
	assert(!packer.overflow);
	assert(packer.size == body->size);
	gather(driver, body, 0, token);
}

void driver_read(struct driver *driver, uint64_t token, struct node_time time)
{
	(void)time;
	if (tokens_push(&driver->reads_gathered, token) != STATUS_OK)
		driver_fail(driver, STATUS_NO_MEMORY, "no memory to keep a read");
}

/* How many of the gathered proposals go together now. */
static uint32_t proposals_fit(const struct driver *driver, uint64_t room)
{
	const struct proposals *proposals = &driver->proposals;
	uint64_t size = 0;
	uint32_t count = 0;
	for (size_t i = proposals->begin; i < proposals->end; i++) {
		size += proposals->entries[i].size;
		if (count > 0 && size > PROPOSE_BYTES_MAX)
			break;
		if (count == room || count == PROPOSE_ENTRIES_MAX)
			break;
		count++;
	}
	return count;
}

/* By this replica, and it goes no further: it will never be in a log, unless an earlier leader put it there. */
void driver_proposal_refused(
	struct driver *driver, const struct proposal *proposal, enum status status, uint64_t leader)
{
	struct driver_outcome outcome = { .status = status, .leader = leader };
	if (proposal->doubtful)
		outcome.status = STATUS_UNKNOWN_OUTCOME;
	driver->owner->proposed(driver->owner->arg, driver, proposal->token, &outcome);
}

/* The first `count` gathered proposals. */
static void proposals_refused(struct driver *driver, uint32_t count, enum status status, uint64_t leader)
{
	for (uint32_t i = 0; i < count; i++) {
		size_t at = driver->proposals.begin + i;
		const struct proposal *proposal = &driver->proposals.about[at];
		uint64_t origin = driver_forward_origin(driver, &driver->proposals.entries[at]);
		if (origin != 0)
			driver_forward_refuse(driver, origin, proposal->token, 1, status, leader);
		else if (driver->proposals.entries[at].origin == 0)
			driver_proposal_refused(driver, proposal, status, leader);
	}
	proposals_pop(&driver->proposals, count);
}

/* The entries have their index and term, and their bodies are in the tail: from here the waiters hold the tokens. */
static void proposals_accepted(struct driver *driver, uint32_t count)
{
	struct proposals *proposals = &driver->proposals;
	for (uint32_t i = 0; i < count; i++) {
		const struct entry *entry = &proposals->entries[proposals->begin + i];
		assert(entry->index > 0);
		assert(tail_find(&driver->tail, entry->index));
		if (entry->origin != 0) {
			if (driver->owner->forwarded)
				driver->owner->forwarded(driver->owner->arg, driver, entry->origin);
			continue; /* its origin answers */
		}
		const struct proposal *proposal = &proposals->about[proposals->begin + i];
		struct waiter waiter = { entry->index, entry->term, proposal->token, proposal->doubtful };
		if (waiters_push(&driver->waiters, waiter) != STATUS_OK)
			driver_fail(driver, STATUS_NO_MEMORY, "no memory to await a proposal");
	}
	proposals_pop(proposals, count);
}

/* Entries that the group may still be given. What is committed and not yet durable here counts as in flight, so this is
 * never more than the group's own view. */
static uint64_t proposals_room(const struct driver *driver)
{
	assert(driver->tail.last >= driver->commit);
	uint64_t inflight = driver->tail.last - driver->commit;
	return inflight < driver->options.inflight_max ? driver->options.inflight_max - inflight : 0;
}

/* The first gathered ones that are of the same origin as the very first, own or not. */
static uint32_t proposals_alike(const struct driver *driver, uint32_t most)
{
	const struct entry *entries = driver->proposals.entries + driver->proposals.begin;
	uint32_t count = 0;
	while (count < most && entries[count].origin == entries[0].origin)
		count++;
	return count;
}

/* This replica does not lead (any more): its own clients' writes go to who does. False: nothing is left. */
static bool forward_or_refuse(struct driver *driver)
{
	if (driver_awaits_leader(driver))
		return false;
	uint32_t count = proposals_alike(driver, proposals_fit(driver, APPEND_ENTRIES_MAX));
	bool own = driver->proposals.entries[driver->proposals.begin].origin == 0;
	if (own && driver_takes_writes(driver))
		driver_forward_some(driver, count);
	else
		proposals_refused(driver, count, STATUS_NOT_LEADER, driver->leader);
	return !driver->failed;
}

/* False: nothing more can be given to the group now. */
static bool propose_some(struct driver *driver, struct node_time time)
{
	if (!driver->leads)
		return forward_or_refuse(driver);
	if (driver->reseed.running) { /* until somebody else leads */
		proposals_refused(driver, (uint32_t)proposals_count(&driver->proposals), STATUS_BUSY, 0);
		return false;
	}
	uint64_t room = proposals_room(driver);
	uint32_t count = driver_awaits_leader(driver) ? 0 : proposals_fit(driver, room);
	if (count == 0)
		return false;
	struct group_event event = { .kind = GROUP_PROPOSED };
	event.proposed.entries = driver->proposals.entries + driver->proposals.begin;
	event.proposed.count = count;
	event.proposed.version_floor =
		driver->version_floor > driver->version_max ? driver->version_floor : driver->version_max;
	driver->proposing = count;
	driver->proposed_taken = 0;
	driver->refusal = (struct driver_refusal){ .status = STATUS_OK };
	driver_step(driver, &event, time);
	driver->proposing = 0;
	if (driver->failed)
		return false;
	if (driver->refusal.status == STATUS_OK)
		proposals_accepted(driver, count);
	else
		proposals_refused(driver, count, driver->refusal.status, driver->refusal.leader);
	return true;
}

/* Position of a free round; GROUP_READS_MAX: all are out. */
static unsigned round_free(const struct driver *driver)
{
	unsigned i = 0;
	while (i < GROUP_READS_MAX && driver->rounds[i].request != 0)
		i++;
	return i;
}

/* The reads of a turn share a round; while all rounds are out, the next one gathers. */
static void read_some(struct driver *driver, struct node_time time)
{
	unsigned at = round_free(driver);
	if (driver->reseed.running)
		driver_rounds_refuse(driver);
	if ((driver->reads_gathered.count == 0 && !driver->refresh_due) || at == GROUP_READS_MAX)
		return;
	driver->refresh_due = false;
	struct read_round *round = &driver->rounds[at];
	assert(round->tokens.count == 0);
	round->request = ++driver->read_request;
	round->ready = false;
	round->asked_ns = time.now_ns;
	round->tokens = driver->reads_gathered;
	driver->reads_gathered = (struct tokens){ 0 };
	struct group_event event = { .kind = GROUP_READ };
	event.read.request = round->request;
	driver_step(driver, &event, time);
}

static void round_end(struct driver *driver, struct read_round *round, enum status status, uint64_t leader)
{
	struct tokens tokens = round->tokens;
	if (status == STATUS_OK)
		driver_fresh(driver, round->asked_ns);
	*round = (struct read_round){ 0 };
	for (size_t i = 0; i < tokens.count; i++)
		driver->owner->readable(driver->owner->arg, driver, tokens.at[i], status, leader);
	tokens_deinit(&tokens);
}

void driver_round_ready(struct driver *driver, uint64_t request, uint64_t index)
{
	for (unsigned i = 0; i < GROUP_READS_MAX; i++) {
		struct read_round *round = &driver->rounds[i];
		if (round->request != request)
			continue;
		round->ready = true;
		round->index = index;
		if (index <= driver->applied)
			round_end(driver, round, STATUS_OK, 0);
		return;
	}
}

void driver_round_refused(struct driver *driver, uint64_t request, enum status status, uint64_t leader)
{
	for (unsigned i = 0; i < GROUP_READS_MAX; i++)
		if (driver->rounds[i].request == request)
			round_end(driver, &driver->rounds[i], status, leader);
}

/* Another leader or term: an index that the old one named may never come. */
void driver_rounds_look_again(struct driver *driver)
{
	for (unsigned i = 0; i < GROUP_READS_MAX; i++) {
		struct read_round *round = &driver->rounds[i];
		if (round->request == 0 || !round->ready)
			continue;
		for (size_t n = 0; n < round->tokens.count; n++)
			if (tokens_push(&driver->reads_gathered, round->tokens.at[n]) != STATUS_OK)
				driver_fail(driver, STATUS_NO_MEMORY, "no memory to keep a read");
		tokens_deinit(&round->tokens);
		*round = (struct read_round){ 0 };
	}
}

void driver_rounds_applied(struct driver *driver)
{
	for (unsigned i = 0; i < GROUP_READS_MAX; i++) {
		struct read_round *round = &driver->rounds[i];
		if (round->request != 0 && round->ready && round->index <= driver->applied)
			round_end(driver, round, STATUS_OK, 0);
	}
}

/* The state here is not to be read: whoever leads has one; while that is this replica, somebody else soon. */
void driver_rounds_refuse(struct driver *driver)
{
	enum status status = driver->leads ? STATUS_BUSY : STATUS_NOT_LEADER;
	struct tokens tokens = driver->reads_gathered;
	driver->reads_gathered = (struct tokens){ 0 };
	for (unsigned i = 0; i < GROUP_READS_MAX; i++)
		round_end(driver, &driver->rounds[i], status, driver->leader);
	for (size_t i = 0; i < tokens.count; i++)
		driver->owner->readable(driver->owner->arg, driver, tokens.at[i], status, driver->leader);
	tokens_deinit(&tokens);
}

static void refusals_answer(struct driver *driver, uint64_t leader)
{
	struct refusals refusals = driver->refusals;
	driver->refusals = (struct refusals){ 0 };
	for (size_t i = 0; i < refusals.count; i++) {
		struct driver_outcome outcome = { .status = refusals.at[i].status, .leader = leader };
		driver->owner->proposed(driver->owner->arg, driver, refusals.at[i].token, &outcome);
	}
	refusals_deinit(&refusals);
}

/* Whether driver_turn would get anything done: a full window or a full set of rounds waits for events, not turns. */
bool driver_needs_turn(const struct driver *driver)
{
	if (driver->failed)
		return false;
	if (driver->refusals.count > 0 || driver_applicable(driver))
		return true;
	if (driver->started && !driver->reseed.running && engine_damaged(driver->engine))
		return true;
	if (driver->started && !driver->flush.running && !driver->reseed.running && driver->flush.retry_ns == 0 &&
		(driver->flush.restore_due || engine_flush_wanted(driver->engine)))
		return true;
	if ((driver->reads_gathered.count > 0 || driver->refresh_due) && round_free(driver) < GROUP_READS_MAX)
		return true;
	if (proposals_count(&driver->proposals) == 0)
		return false;
	return !driver_awaits_leader(driver) && (!driver->leads || proposals_room(driver) > 0);
}

void driver_turn(struct driver *driver, struct node_time time)
{
	if (driver->failed)
		return;
	driver->now_ns = time.now_ns;
	driver_flush_settle(driver, time);
	reseed_notice(driver);
	refusals_answer(driver, driver->leader);
	read_some(driver, time);
	while (!driver->failed && proposals_count(&driver->proposals) > 0)
		if (!propose_some(driver, time))
			break;
	if (!driver->failed)
		driver_apply(driver, time);
	if (!driver->failed)
		driver_log_trim(driver, time);
}

/* The replica goes away: whoever still waits is told what is known. */
void driver_queues_end(struct driver *driver)
{
	refusals_answer(driver, 0);
	proposals_refused(driver, (uint32_t)proposals_count(&driver->proposals), STATUS_NOT_LEADER, 0);
	driver_forwards_lost(driver);
	driver_waiters_lost(driver, 0);
	driver_read_end(driver);
	for (unsigned i = 0; i < GROUP_READS_MAX; i++)
		round_end(driver, &driver->rounds[i], STATUS_NOT_LEADER, 0);
	struct tokens tokens = driver->reads_gathered;
	driver->reads_gathered = (struct tokens){ 0 };
	for (size_t i = 0; i < tokens.count; i++)
		driver->owner->readable(driver->owner->arg, driver, tokens.at[i], STATUS_NOT_LEADER, 0);
	tokens_deinit(&tokens);
}

/* Entries from `first` on are no longer this replica's to tell: they may have been replaced, or applied unseen. */
void driver_waiters_lost(struct driver *driver, uint64_t first)
{
	struct driver_outcome outcome = { .status = STATUS_UNKNOWN_OUTCOME };
	for (struct waiter *last; (last = waiters_last(&driver->waiters)) && last->index >= first;) {
		uint64_t token = last->token;
		outcome.index = last->index;
		waiters_pop_last(&driver->waiters);
		driver->owner->proposed(driver->owner->arg, driver, token, &outcome);
	}
}
