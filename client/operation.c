/* client/operation.c: see client/operation.h.
 *
 * Every event ends in go_on (what next?) or finish. A write is "unresolved" while a send of it is unanswered or was
 * lost after it may have left: then only an answer, or UNKNOWN_OUTCOME, can end it. */
#include "client/operation.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"
#include "client/attempt.h"
#include "client/patience.h"

enum state { STATE_IDLE, STATE_SENT, STATE_WAITING, STATE_FETCHING, STATE_DONE };
enum {
	BACK_OFF_MS_FIRST = 10,
	BACK_OFF_DOUBLINGS_MAX = 5, /* 320 ms: what a failover may cost on top of the election */
	BACK_OFF_POOR_MS = 1000,    /* when the retry budget is spent */
	MAP_WAIT_MS = 1000,
	HINTS_MAX = 3, /* redirections followed in one round */
	UNKNOWNS_MAX = 3,
};

bool operation_is_write(uint8_t operation)
{
	return operation == OPERATION_PUT || operation == OPERATION_DELETE || operation == OPERATION_CAS;
}

static bool is_write(const struct operation_machine *operation)
{
	return operation_is_write(operation->spec.operation);
}

bool operation_may_have_been_proposed(const struct operation_machine *operation)
{
	return is_write(operation) && (operation->maybe_proposed || operation->open_count > 0);
}

void operation_check(const struct operation_machine *operation)
{
	assert(operation->state <= STATE_DONE);
	assert(operation->open_count <= OPERATION_OPEN_MAX);
	assert(operation->tried_count <= REPLICAS_MAX);
	assert(operation->attempt_current <= operation->attempt_last);
	assert((operation->state == STATE_SENT) == (operation->attempt_current != 0));
	assert(operation->seconds <= OPERATION_SECONDS_MAX);
	assert(operation->unknowns <= UNKNOWNS_MAX);
	if (operation->state == STATE_SENT)
		assert(operation->open_count > 0);
	if (operation->state != STATE_DONE)
		assert(operation->until_ns <= operation->spec.deadline_ns);
	if (!is_write(operation))
		assert(!operation->maybe_proposed);
	if (is_write(operation))
		assert(operation->spec.ticket.sequence != 0);
}

/* --- ends ------------------------------------------------------------------------------------------------- */

static void set_text(struct operation_machine *operation, struct bytes text)
{
	struct text out;
	text_init(&out, operation->text, sizeof(operation->text));
	text_add_bytes(&out, text);
}

static struct operation_action finished(struct operation_machine *operation, enum status status, bool answered)
{
	operation->state = STATE_DONE;
	operation->attempt_current = 0;
	return (struct operation_action){ .kind = OPERATION_FINISHED, .status = status, .answered = answered };
}

/* Without an answer: what is certain of a write is only what no send of it can have brought about. */
static struct operation_action give_up(struct operation_machine *operation, enum status status)
{
	if (operation_may_have_been_proposed(operation)) {
		set_text(operation,
			bytes_text("the write was sent and no answer came: it may have been applied, or may yet "
				   "be; read the key before writing again"));
		return finished(operation, STATUS_UNKNOWN_OUTCOME, false);
	}
	return finished(operation, status, false);
}

static struct operation_action out_of_time(struct operation_machine *operation)
{
	if (operation->refused != STATUS_OK)
		return give_up(operation, (enum status)operation->refused);
	set_text(operation, bytes_text("no answer in time; nothing was changed"));
	return give_up(operation, STATUS_TIMED_OUT);
}

/* The refusal that says most about why nothing worked: no quorum, then busy, then no connection. */
static unsigned weight(uint8_t status)
{
	switch (status) {
	case STATUS_QUORUM_UNAVAILABLE:
		return 3;
	case STATUS_BUSY:
		return 2;
	case STATUS_CANNOT_CONNECT:
		return 1;
	default:
		return 0;
	}
}

static void remember(struct operation_machine *operation, enum status status, struct bytes text)
{
	assert(weight((uint8_t)status) > 0);
	if (weight((uint8_t)status) < weight(operation->refused))
		return;
	operation->refused = (uint8_t)status;
	set_text(operation, text);
}

/* --- what next? ------------------------------------------------------------------------------------------- */

static struct operation_action until(
	struct operation_machine *operation, enum state state, enum operation_action_kind kind, uint64_t until_ns)
{
	operation->state = (uint8_t)state;
	operation->until_ns = until_ns < operation->spec.deadline_ns ? until_ns : operation->spec.deadline_ns;
	return (struct operation_action){ .kind = (uint8_t)kind, .until_ns = operation->until_ns };
}

/* xorshift64*: the operation's own, so that a simulated run is a function of its seed. */
static uint64_t jitter(struct operation_machine *operation, uint64_t below)
{
	uint64_t x = operation->jitter;
	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	operation->jitter = x;
	return (x * 0x2545f4914f6cdd1d >> 11) % below;
}

/* Nobody is left to try in this round. */
static struct operation_action back_off(struct operation_machine *operation, uint64_t now_ns)
{
	unsigned doublings = operation->round < BACK_OFF_DOUBLINGS_MAX ? operation->round : BACK_OFF_DOUBLINGS_MAX;
	uint64_t wait_ns = ((uint64_t)BACK_OFF_MS_FIRST << doublings) * 1000000;
	if (operation->overloaded && !router_spend_retry(operation->router))
		wait_ns = (uint64_t)BACK_OFF_POOR_MS * 1000000;
	wait_ns = wait_ns / 2 + jitter(operation, wait_ns / 2);
	if (operation->round < UINT8_MAX)
		operation->round++;
	operation->tried_count = 0;
	operation->hints_left = HINTS_MAX;
	operation->overloaded = false;
	operation->attempt_current = 0;
	return until(operation, STATE_WAITING, OPERATION_WAIT, now_ns + wait_ns);
}

/* The key under the newest map. OK: the target is of it. */
static enum status settle(struct operation_machine *operation)
{
	struct operation_spec *spec = &operation->spec;
	struct router_target target;
	if (operation->target.map_epoch == router_epoch(operation->router))
		return STATUS_OK;
	if (spec->operation == OPERATION_SCAN) {
		if (spec->map_epoch != router_epoch(operation->router))
			return STATUS_STALE_MAP;
		operation->target = (struct router_target){ spec->map_epoch, spec->policy, spec->shard };
		return router_may_access(operation->router, spec->policy, false, operation->text);
	}
	enum status status = router_resolve(
		operation->router, spec->key, is_write(operation), spec->guard, &target, operation->text);
	if (status != STATUS_OK)
		return status;
	/* A shard of another policy does not know what that one applied. One of the same was split off, or merged with
	 * it, and has its records. */
	if (operation_may_have_been_proposed(operation) && target.policy != operation->target.policy)
		return STATUS_UNKNOWN_OUTCOME;
	operation->target = target;
	return STATUS_OK;
}

/* SENT, until silence, or until another is asked too. */
static struct operation_action await(struct operation_machine *operation, enum operation_action_kind kind)
{
	const struct operation_attempt *current = attempt_find(operation, operation->attempt_current);
	assert(current);
	uint64_t until_ns = current->silent_ns;
	if (operation->second_ns != 0 && operation->second_ns < until_ns)
		until_ns = operation->second_ns;
	return until(operation, STATE_SENT, kind, until_ns);
}

static struct operation_action send(
	struct operation_machine *operation, uint64_t node, uint64_t next, bool second, uint64_t now_ns)
{
	attempt_push(operation, node, next, second, now_ns);
	struct operation_action action = await(operation, OPERATION_SEND);
	action.attempt = operation->attempt_current;
	action.node = node;
	return action;
}

static struct operation_action go_on(struct operation_machine *operation, uint64_t now_ns)
{
	assert(operation->state != STATE_DONE);
	operation->attempt_current = 0;
	if (now_ns >= operation->spec.deadline_ns)
		return out_of_time(operation);
	if (operation->map_wanted > router_epoch(operation->router))
		return until(operation, STATE_FETCHING, OPERATION_FETCH_MAP, now_ns + (uint64_t)MAP_WAIT_MS * 1000000);
	enum status status = settle(operation);
	if (status == STATUS_QUORUM_UNAVAILABLE) {
		remember(operation, status, bytes_text("the policy has no shards yet, or no map is known"));
		return back_off(operation, now_ns);
	}
	if (status != STATUS_OK)
		return give_up(operation, status);
	uint64_t next = 0,
		 node = operation->open_count < OPERATION_OPEN_MAX ? attempt_choose(operation, now_ns, &next) : 0;
	if (node != 0)
		return send(operation, node, next, false, now_ns);
	if (operation->has_nobody)
		remember(operation, STATUS_QUORUM_UNAVAILABLE,
			bytes_text("no replica of the shard is where its policy allows this key to be sent"));
	return back_off(operation, now_ns);
}

/* It takes long: ask another one too, if the budget allows. A read: whoever is next, then the leader, who knows first.
 * A write: the leader, under the same name. */
static struct operation_action ask_second(struct operation_machine *operation, uint64_t now_ns)
{
	uint64_t nodes[REPLICAS_MAX], node, next = 0;
	bool affordable = false;
	operation->second_ns = 0;
	if (is_write(operation)) {
		node = attempt_leader(operation, now_ns);
		affordable = node != 0 && router_spend_retry(operation->router);
	} else {
		unsigned count = attempts_untried(operation, now_ns, nodes);
		node = operation->seconds > 0 ? attempt_leader(operation, now_ns) : 0;
		if (node == 0)
			node = count > 0 ? nodes[0] : 0;
		else
			count = 0;
		next = count > 1 ? nodes[1] : 0;
		affordable = node != 0 && !router_is_suspect(operation->router, node, now_ns) &&
			     patience_spend_hedge(operation->router);
	}
	if (!affordable)
		return await(operation, OPERATION_WAIT);
	operation->seconds++;
	return send(operation, node, next, true, now_ns);
}

/* Nothing changes: what was waited for is still waited for. */
static struct operation_action keep_on(const struct operation_machine *operation)
{
	return (struct operation_action){ .kind = OPERATION_WAIT, .until_ns = operation->until_ns };
}

/* --- events ------------------------------------------------------------------------------------------------- */

struct operation_action operation_start(struct operation_machine *operation, const struct operation_spec *spec,
	struct router *router, uint64_t seed, uint64_t now_ns)
{
	assert(spec->operation >= OPERATION_GET);
	assert(spec->operation <= OPERATION_SCAN);
	assert(operation_is_write(spec->operation) == (spec->lanes != NULL));
	memset(operation, 0, sizeof(*operation));
	operation->spec = *spec;
	operation->router = router;
	operation->map_wanted = spec->map_epoch_min;
	operation->jitter = seed | 1;
	operation->hints_left = HINTS_MAX;
	router_earn_retry(router);
	if (!is_write(operation))
		patience_earn_hedge(router);
	return go_on(operation, now_ns);
}

void operation_message(
	const struct operation_machine *operation, uint64_t node, uint64_t now_ns, struct message *message)
{
	const struct operation_spec *spec = &operation->spec;
	uint64_t left_ms = spec->deadline_ns > now_ns ? (spec->deadline_ns - now_ns) / 1000000 : 0;
	bool scan = spec->operation == OPERATION_SCAN;
	assert(operation->state == STATE_SENT);
	memset(message, 0, sizeof(*message));
	message->kind = MESSAGE_REQUEST;
	message->ask = (struct message_request){
		.operation = spec->operation,
		.level = spec->level,
		.retry = is_write(operation) && (operation->maybe_proposed || operation->open_count > 1),
		.map_epoch = operation->target.map_epoch,
		.policy = operation->target.policy,
		.policy_epoch = router_policy_epoch(operation->router, operation->target.policy),
		.shard = operation->target.shard,
		.version = spec->version,
		.staleness_max_ms = spec->staleness_max_ms,
		.limit = spec->limit,
		.timeout_ms = left_ms == 0	     ? 1
			      : left_ms > UINT32_MAX ? UINT32_MAX
						     : (uint32_t)left_ms,
		.key = scan ? router_sendable(operation->router, spec->key, node) : spec->key,
		.after = scan ? router_sendable(operation->router, spec->after, node) : spec->after,
		.value = spec->value,
	};
	if (is_write(operation)) {
		message->ask.client = spec->ticket.client;
		message->ask.sequence = spec->ticket.sequence;
		message->ask.low_water = lanes_low_water(spec->lanes, &spec->ticket);
	}
}

/* The node says for certain that this request proposed nothing, and did nothing. */
static bool certainly_nothing(uint32_t status)
{
	switch (status) {
	case STATUS_NOT_LEADER:
	case STATUS_STALE_MAP:
	case STATUS_BUSY:
	case STATUS_QUORUM_UNAVAILABLE:
	case STATUS_RESIDENCY_REFUSED:
	case STATUS_POLICY_MISMATCH:
	case STATUS_TOO_LARGE:
	case STATUS_INVALID:
	case STATUS_DENIED:
	case STATUS_UNSUPPORTED:
	case STATUS_NO_MEMORY:
		return true;
	default:
		return false;
	}
}

static bool is_answer(const struct operation_machine *operation, uint32_t status)
{
	uint8_t kind = operation->spec.operation;
	return status == STATUS_OK ||
	       (status == STATUS_NOT_FOUND && (kind == OPERATION_GET || kind == OPERATION_DELETE)) ||
	       (status == STATUS_CONFLICT && kind == OPERATION_CAS);
}

/* The node named the leader, or nobody, instead of doing what it was asked. */
static void follow_hint(struct operation_machine *operation, uint64_t node, uint64_t leader, uint64_t now_ns)
{
	uint64_t shard = operation->target.shard;
	if (leader == 0 || !router_may_send(operation->router, operation->target.policy, leader)) {
		router_forget_leader(operation->router, shard, node);
		return;
	}
	router_learn_leader(operation->router, shard, leader);
	if (!is_write(operation) || leader == node)
		return;
	router_refused_origin(operation->router, shard, now_ns);
	operation->hint = leader;
}

/* A refusal of the current attempt: which other way is there? */
static struct operation_action refusal(
	struct operation_machine *operation, uint64_t node, const struct message_reply *reply, uint64_t now_ns)
{
	if (reply->map_epoch > operation->map_wanted)
		operation->map_wanted = reply->map_epoch;
	switch (reply->status) {
	case STATUS_NOT_LEADER:
		follow_hint(operation, node, reply->leader_node, now_ns);
		remember(operation, STATUS_QUORUM_UNAVAILABLE,
			bytes_text("the shard's leader cannot be reached from here"));
		return go_on(operation, now_ns);
	case STATUS_STALE_MAP:
		/* Judged by the same map, yet different: nothing to fetch. Another node, or later. */
		return go_on(operation, now_ns);
	case STATUS_QUORUM_UNAVAILABLE:
		router_forget_leader(operation->router, operation->target.shard, node);
		remember(operation, STATUS_QUORUM_UNAVAILABLE, reply->detail);
		return go_on(operation, now_ns);
	case STATUS_RESIDENCY_REFUSED:
	case STATUS_POLICY_MISMATCH:
	case STATUS_TOO_LARGE:
	case STATUS_INVALID:
		set_text(operation, reply->detail);
		return give_up(operation, (enum status)reply->status);
	case STATUS_DENIED:
		set_text(operation, reply->detail);
		return give_up(operation, STATUS_CANNOT_CONNECT);
	case STATUS_UNSUPPORTED:
		set_text(operation, reply->detail);
		return give_up(operation, STATUS_INVALID);
	default:
		/* BUSY, NO_MEMORY, or a node in trouble. Another replica may serve a read; a write has one leader. */
		remember(operation, STATUS_BUSY, reply->detail);
		operation->overloaded = true;
		return is_write(operation) && reply->status == STATUS_BUSY ? back_off(operation, now_ns)
									   : go_on(operation, now_ns);
	}
}

/* By a rule, which holds at every replica: a read that one of them refuses so is refused. */
static bool refuses_reads(const struct operation_machine *operation, uint32_t status)
{
	return !is_write(operation) && (status == STATUS_RESIDENCY_REFUSED || status == STATUS_POLICY_MISMATCH);
}

/* The origin lost track, or the leader's table cannot tell. */
static struct operation_action unknown(
	struct operation_machine *operation, uint64_t node, const struct message_reply *reply, uint64_t now_ns)
{
	if (reply->leader_node == 0)
		router_forget_leader(operation->router, operation->target.shard, node);
	operation->unknowns++;
	if (operation->unknowns < UNKNOWNS_MAX)
		return go_on(operation, now_ns);
	set_text(operation, reply->detail.size > 0
				    ? reply->detail
				    : bytes_text("the leader changed while the write was under way: it may have been "
						 "applied; read the key before writing again"));
	return finished(operation, STATUS_UNKNOWN_OUTCOME, true);
}

struct operation_action operation_replied(
	struct operation_machine *operation, uint32_t attempt, const struct message_reply *reply, uint64_t now_ns)
{
	struct operation_attempt closed;
	if (operation->state == STATE_DONE || !attempt_close(operation, attempt, &closed))
		return keep_on(operation);
	router_node_answered(operation->router, closed.node);
	/* What was sent before the key was bound to another policy says nothing of the shard that it is in now. */
	if (reply->leader_node != 0 && closed.shard == operation->target.shard &&
		router_may_send(operation->router, operation->target.policy, reply->leader_node))
		router_learn_leader(operation->router, operation->target.shard, reply->leader_node);
	if (is_answer(operation, reply->status)) {
		attempt_answered(operation, &closed, now_ns);
		operation->text[0] = '\0';
		struct operation_action action = finished(operation, (enum status)reply->status, true);
		action.shard = closed.shard;
		return action;
	}
	if (is_write(operation) && !certainly_nothing(reply->status))
		operation->maybe_proposed = true;
	if (attempt != operation->attempt_current)
		return keep_on(operation);
	if (!refuses_reads(operation, reply->status) && attempt_falls_back(operation, &closed, now_ns))
		return await(operation, OPERATION_WAIT);
	if (is_write(operation) && reply->status == STATUS_UNKNOWN_OUTCOME)
		return unknown(operation, closed.node, reply, now_ns);
	return refusal(operation, closed.node, reply, now_ns);
}

struct operation_action operation_lost(
	struct operation_machine *operation, uint32_t attempt, bool delivered, uint64_t now_ns)
{
	struct operation_attempt closed;
	if (operation->state == STATE_DONE || !attempt_close(operation, attempt, &closed))
		return keep_on(operation);
	if (is_write(operation) && delivered)
		operation->maybe_proposed = true;
	router_forget_leader(operation->router, operation->target.shard, closed.node);
	remember(operation, STATUS_CANNOT_CONNECT, bytes_text("no connection to a node that may serve this key"));
	if (attempt != operation->attempt_current)
		return keep_on(operation);
	return attempt_falls_back(operation, &closed, now_ns) ? await(operation, OPERATION_WAIT)
							      : go_on(operation, now_ns);
}

void operation_withdrawn(struct operation_machine *operation, uint32_t attempt)
{
	struct operation_attempt closed;
	if (operation->state != STATE_DONE && attempt_close(operation, attempt, &closed))
		remember(
			operation, STATUS_CANNOT_CONNECT, bytes_text("a node that may serve this key does not answer"));
}

struct operation_action operation_refused(struct operation_machine *operation, uint32_t attempt, uint64_t now_ns)
{
	struct message_reply reply = { .status = STATUS_BUSY,
		.detail = bytes_text("the connection to the node is full; send less at a time") };
	return operation_replied(operation, attempt, &reply, now_ns);
}

struct operation_action operation_map_arrived(struct operation_machine *operation, uint64_t now_ns)
{
	if (operation->state != STATE_FETCHING)
		return keep_on(operation);
	if (operation->map_wanted > router_epoch(operation->router))
		return back_off(operation, now_ns);
	return go_on(operation, now_ns);
}

struct operation_action operation_expired(struct operation_machine *operation, uint64_t now_ns)
{
	if (operation->state == STATE_DONE || now_ns < operation->until_ns)
		return keep_on(operation);
	if (operation->state == STATE_SENT) {
		const struct operation_attempt *current = attempt_find(operation, operation->attempt_current);
		if (current && now_ns < current->silent_ns && now_ns < operation->spec.deadline_ns)
			return ask_second(operation, now_ns);
		/* Silence: the attempt stays open, and its answer stays welcome; others need not wait there too. */
		operation->overloaded = true;
		for (unsigned i = 0; i < operation->open_count; i++)
			if (&operation->open[i] == current || operation->open[i].silent_ns <= now_ns)
				router_node_lost(operation->router, operation->open[i].node, now_ns);
		attempts_learn_unanswered(operation, now_ns);
	}
	return go_on(operation, now_ns);
}
