/* server/group_driver_forward.c: origin acks (docs/leases.md, O1, O4): a replica that does not lead takes its clients'
 * writes all the same, hands them to the leader, and answers when it has applied them itself.
 *
 *     gathered --> forwarded --> seen in the own log --> applied: answered
 *        | ^           |                |
 *        | |           |                +-- cut from it again: unknown outcome
 *        | |           +-- refused by the leader: that refusal; no word in time: unknown outcome
 *        | +-------------- the leader leads no more: on to the next one, as a retry
 *        +-- no leader known for too long: NOT_LEADER, or unknown outcome if an earlier leader may have proposed it
 *
 * The entry is found in the log by its client and sequence. A forward is numbered by its origin's process;
 * a replica takes or refuses each number once, whoever leads, so a copy of the message that comes later proposes
 * nothing, and says nothing. */
#include "server/group_driver_internal.h"

#include <assert.h>
#include <stdlib.h>

enum {
	FORWARD_PATIENCE = 6, /* elections' times until a forward that nobody speaks of is given up */
	FORWARDS_MAX = 4,     /* of one write, to leaders that came after another */
};

static uint64_t leader_due_ns(const struct driver *driver)
{
	return driver->leaderless_ns + FORWARD_PATIENCE * driver->options.election_us * 1000;
}

/* An election, or a hand-over: who has just lost sight of its leader, or hears from it that it leads no more, keeps
 * what clients ask for as long as that takes. */
bool driver_awaits_leader(const struct driver *driver)
{
	if (driver->leads)
		return group_hands_over(driver->group);
	if (driver->leader != 0 && driver->leader != driver->spurned)
		return false;
	return !driver_is_meta(driver) && driver->now_ns < leader_due_ns(driver);
}

/* The leader says that it leads no more: who does comes out soon. */
static void spurn(struct driver *driver)
{
	if (driver->spurned == driver->leader)
		return;
	driver->spurned = driver->leader;
	driver->leaderless_ns = driver->now_ns;
}

uint64_t driver_patience_ns(const struct driver *driver)
{
	bool waits = proposals_count(&driver->proposals) > 0 && !driver->leads && driver_awaits_leader(driver);
	return waits ? leader_due_ns(driver) : UINT64_MAX;
}

/* An entry names its origin by the low half of its id; 0 is the leader itself. */
static bool can_be_named(uint64_t origin, uint64_t leader)
{
	return (uint16_t)origin != 0 && (uint16_t)origin != (uint16_t)leader;
}

bool driver_takes_writes(const struct driver *driver)
{
	if (driver->leads)
		return true;
	if (driver_is_meta(driver) || !driver->started || driver->reseed.running || driver->options.witness)
		return false;
	if (driver->leader == 0 || driver->leader == driver->spurned) /* who gave up does not lead its term again */
		return driver_awaits_leader(driver);
	if (!can_be_named(driver->options.replica, driver->leader))
		return false;
	/* Its node has answered ours within the support's time: what is sent there now has a way, and so has the
	 * answer. */
	uint64_t node = driver_node_of(driver, driver->leader);
	if (node == 0 || liveness_supported_epoch(driver->options.liveness, node) == 0)
		return false;
	const struct membership *membership = group_membership(driver->group);
	int at = membership_find(membership, driver->options.replica);
	return at >= 0 && membership->at[at].role_new != ROLE_WITNESS && membership->at[at].role_new != ROLE_NONE;
}

/* --- the origin ------------------------------------------------------------------------------------- */

/* Their own bodies say whom they are of. */
static enum status forward_keep(struct driver *driver, const struct entry *entry, const struct proposal *proposal)
{
	struct command command;
	enum status status = command_decode(buffer_bytes(proposal->body), &command);
	assert(status == STATUS_OK);
	struct forward forward = { .number = ++driver->forward_number,
		.client = command.client,
		.sequence = command.sequence,
		.until_ns = driver->now_ns + FORWARD_PATIENCE * driver->options.election_us * 1000,
		.entry = *entry,
		.proposal = *proposal };
	forward.proposal.forwarded++;
	status = forwards_push(&driver->forwards, &forward);
	if (status == STATUS_OK)
		buffer_ref(proposal->body);
	return status;
}

/* The same body, marked as one that may be in the log already. NULL: no memory. Drops the reference to `body`. */
static struct buffer *as_retry(struct buffer *body)
{
	struct command command;
	enum status status = command_decode(buffer_bytes(body), &command);
	assert(status == STATUS_OK);
	if (command.retry)
		return body;
	struct buffer *retry = buffer_new(body->size);
	if (retry) {
		struct packer packer;
		command.retry = true;
		pack_init(&packer, retry->data, retry->size);
		command_encode(&command, &packer);
		assert(!packer.overflow);
		assert(packer.size == retry->size);
	}
	buffer_unref(body);
	return retry;
}

/* For the next leader, whoever that is: under the same client and sequence, so that it takes effect once. */
static void forward_again(struct driver *driver, struct forward *forward, bool doubtful)
{
	struct proposal *proposal = &forward->proposal;
	proposal->doubtful |= doubtful;
	if (proposal->doubtful)
		proposal->body = as_retry(proposal->body);
	if (proposal->body && proposal->forwarded < FORWARDS_MAX &&
		proposals_push(&driver->proposals, &forward->entry, proposal) == STATUS_OK)
		return;
	driver_proposal_refused(driver, proposal, STATUS_NOT_LEADER, driver->leader);
	buffer_unref(proposal->body);
}

void driver_forward_some(struct driver *driver, uint32_t count)
{
	struct codec_scratch *scratch = driver->options.scratch;
	struct proposals *proposals = &driver->proposals;
	assert(count > 0);
	assert(count <= APPEND_ENTRIES_MAX);
	struct message message = { .kind = MESSAGE_FORWARD,
		.group = driver->options.group,
		.from = driver->options.replica,
		.to = driver->leader,
		.term = group_status(driver->group, driver->now_ns).term };
	message.forward.boot = liveness_boot(driver->options.liveness);
	message.forward.first = driver->forward_number + 1;
	message.forward.count = count;
	message.forward.entries = scratch->entries;
	message.forward.bodies = scratch->bodies;
	for (uint32_t i = 0; i < count; i++) {
		size_t at = proposals->begin + i;
		scratch->entries[i] = proposals->entries[at];
		scratch->bodies[i] = buffer_bytes(proposals->about[at].body);
		if (forward_keep(driver, &proposals->entries[at], &proposals->about[at]) != STATUS_OK) {
			driver_fail(driver, STATUS_NO_MEMORY, "no memory to await a forwarded write");
			return;
		}
	}
	driver_send(driver, driver->leader, &message);
	proposals_pop(proposals, count);
}

/* An entry of this origin has come into the log. */
void driver_forward_seen(struct driver *driver, const struct entry *entry, struct bytes body)
{
	if (entry->kind != ENTRY_COMMAND || entry->origin != (uint16_t)driver->options.replica ||
		forwards_count(&driver->forwards) == 0)
		return;
	struct command command;
	if (command_decode(body, &command) != STATUS_OK)
		return;
	struct forward forward;
	if (!forwards_take(&driver->forwards, command.client, command.sequence, &forward))
		return;
	struct waiter waiter = { entry->index, entry->term, forward.proposal.token, forward.proposal.doubtful };
	buffer_unref(forward.proposal.body);
	if (waiters_push(&driver->waiters, waiter) != STATUS_OK)
		driver_fail(driver, STATUS_NO_MEMORY, "no memory to await a forwarded write");
}

void driver_forward_refused(struct driver *driver, const struct message *message)
{
	const struct message_forward_reply *reply = &message->forward_reply;
	if (message->from != driver->leader || reply->count > APPEND_ENTRIES_MAX)
		return;
	struct forward forward;
	for (uint64_t i = 0; i < reply->count; i++) {
		if (!forwards_take_number(&driver->forwards, reply->first + i, &forward))
			continue;
		if (reply->status == STATUS_NOT_LEADER) {
			spurn(driver);
			forward_again(driver, &forward, false);
			continue;
		}
		driver_proposal_refused(driver, &forward.proposal, (enum status)reply->status, reply->leader);
		buffer_unref(forward.proposal.body);
	}
}

/* Whoever leads now was not sent them, and the one before may have proposed them. */
void driver_forwards_again(struct driver *driver)
{
	struct forwards forwards = driver->forwards;
	driver->forwards = (struct forwards){ 0 };
	for (; forwards.begin < forwards.end; forwards.begin++)
		forward_again(driver, &forwards.at[forwards.begin], true);
	forwards_deinit(&forwards);
}

static void unknown_tell(struct driver *driver, struct forward *forward)
{
	forward->proposal.doubtful = true;
	driver_proposal_refused(driver, &forward->proposal, STATUS_UNKNOWN_OUTCOME, 0);
}

/* This replica will not learn any more what becomes of them. */
void driver_forwards_lost(struct driver *driver)
{
	struct forwards forwards = driver->forwards;
	driver->forwards = (struct forwards){ 0 };
	for (size_t i = forwards.begin; i < forwards.end; i++)
		unknown_tell(driver, &forwards.at[i]);
	forwards_deinit(&forwards);
}

uint64_t driver_forward_deadline(const struct driver *driver)
{
	const struct forwards *forwards = &driver->forwards;
	return forwards_count(forwards) > 0 ? forwards->at[forwards->begin].until_ns : UINT64_MAX;
}

void driver_forward_expired(struct driver *driver, struct node_time time)
{
	while (driver_forward_deadline(driver) <= time.now_ns) {
		struct forward forward = driver->forwards.at[driver->forwards.begin];
		bool taken = forwards_take_number(&driver->forwards, forward.number, &forward);
		assert(taken);
		unknown_tell(driver, &forward);
		buffer_unref(forward.proposal.body);
	}
}

/* --- the leader --------------------------------------------------------------------------------------- */

void driver_forward_refuse(
	struct driver *driver, uint64_t to, uint64_t first, uint32_t count, enum status status, uint64_t leader)
{
	struct message message = { .kind = MESSAGE_FORWARD_REPLY,
		.group = driver->options.group,
		.from = driver->options.replica,
		.to = to,
		.term = group_status(driver->group, driver->now_ns).term };
	message.forward_reply.first = first;
	message.forward_reply.count = count;
	message.forward_reply.status = (uint32_t)status;
	message.forward_reply.leader = leader;
	driver_send(driver, to, &message);
}

/* The replica whose forward this gathered proposal is. 0: it is this one's own, or of a former member. */
uint64_t driver_forward_origin(const struct driver *driver, const struct entry *entry)
{
	const struct membership *membership = group_membership(driver->group);
	if (entry->origin == 0)
		return 0;
	for (unsigned i = 0; i < membership->count; i++)
		if ((uint16_t)membership->at[i].replica == entry->origin)
			return membership->at[i].replica;
	return 0;
}

static struct forwarded *forwarded_by(struct driver *driver, uint64_t from, uint64_t boot)
{
	struct forwarded *free = NULL;
	for (unsigned i = 0; i < REPLICAS_MAX; i++) {
		if (driver->forwarded[i].replica == from && driver->forwarded[i].boot == boot)
			return &driver->forwarded[i];
		if (driver->forwarded[i].replica == 0 && !free)
			free = &driver->forwarded[i];
	}
	if (!free) { /* more origins than members since this replica was opened: the oldest is forgotten */
		driver->forwarded_next = (driver->forwarded_next + 1) % REPLICAS_MAX;
		free = &driver->forwarded[driver->forwarded_next];
	}
	*free = (struct forwarded){ .replica = from, .boot = boot };
	return free;
}

/* False: taken before, or so long passed over that it cannot be told. */
static bool number_fresh(struct forwarded *by, uint64_t number)
{
	if (number > by->last) {
		uint64_t step = number - by->last;
		by->taken = step < 64 ? by->taken << step | 1 : 1;
		by->last = number;
		return true;
	}
	uint64_t back = by->last - number;
	if (back >= 64 || (by->taken >> back & 1))
		return false;
	by->taken |= (uint64_t)1 << back;
	return true;
}

static enum status forward_take(struct driver *driver, uint64_t from, struct bytes bytes, uint64_t number)
{
	struct command command;
	enum status status = command_decode(bytes, &command);
	if (status != STATUS_OK)
		return STATUS_INVALID;
	if (command.kind > COMMAND_CAS || command.client == 0 || command.key.size == 0 ||
		command.key.size > KEY_SIZE_MAX || command.value.size > VALUE_SIZE_MAX)
		return STATUS_INVALID;
	status = driver_room_for_proposal(driver);
	if (status != STATUS_OK)
		return status;
	struct buffer *body = buffer_copy(bytes);
	if (!body)
		return STATUS_BUSY;
	struct entry entry = { .kind = ENTRY_COMMAND,
		.key_hash = hash64(command.key),
		.size = (uint32_t)body->size,
		.origin = (uint16_t)from };
	struct proposal proposal = { .body = body, .token = number };
	status = proposals_push(&driver->proposals, &entry, &proposal);
	if (status != STATUS_OK)
		buffer_unref(body);
	return status == STATUS_OK ? STATUS_OK : STATUS_BUSY;
}

/* In one answer, unless some of them were decided before. */
static void forward_turn_away(struct driver *driver, struct forwarded *by, const struct message *message)
{
	const struct message_forward *forward = &message->forward;
	for (uint32_t i = 0, run = 0; i <= forward->count; i++) {
		if (i < forward->count && number_fresh(by, forward->first + i)) {
			run++;
			continue;
		}
		if (run > 0)
			driver_forward_refuse(driver, message->from, forward->first + i - run, run, STATUS_NOT_LEADER,
				driver->leader);
		run = 0;
	}
}

void driver_forwarded(struct driver *driver, const struct message *message, bool closed)
{
	const struct message_forward *forward = &message->forward;
	const struct membership *membership = group_membership(driver->group);
	int at = membership_find(membership, message->from);
	if (forward->count == 0 || forward->first > UINT64_MAX / 2 || driver_is_meta(driver))
		return;
	if (at < 0 || membership->at[at].role_new == ROLE_WITNESS)
		return;
	/* What was meant for an earlier term of this replica's may have a second copy in the log already, which has to
	 * come after it. */
	bool leads = driver->leads && message->term == group_status(driver->group, driver->now_ns).term &&
		     can_be_named(message->from, driver->options.replica);
	struct forwarded *by = forwarded_by(driver, message->from, forward->boot);
	if (!leads) {
		forward_turn_away(driver, by, message);
		return;
	}
	for (uint32_t i = 0; i < forward->count; i++) {
		uint64_t number = forward->first + i;
		if (!number_fresh(by, number))
			continue;
		enum status status =
			closed ? STATUS_BUSY : forward_take(driver, message->from, forward->bodies[i], number);
		if (status != STATUS_OK)
			driver_forward_refuse(driver, message->from, number, 1, status, driver->leader);
	}
}
