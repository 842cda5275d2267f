/* client/run.c: carries out what an operation machine says: sends over endpoints, waits by the loop's timers, asks for
 * a newer map, ends its call. */
#include "client/client_internal.h"

#include <stdlib.h>

#include "base/text.h"

void run_init(struct run *run, struct dom_call *call)
{
	run->timer = (struct heap_node){ 0 };
	list_init(&run->slots);
	list_init(&run->awaiting_map);
	run->call = call;
	run->part = NULL;
	run->is_ask = false;
}

void run_timer(struct run *run, uint64_t until_ns)
{
	struct dom_client *client = run->call->client;
	if (heap_node_queued(&run->timer) && run->timer.key == until_ns)
		return;
	if (!client_timer_add(client, &run->timer, until_ns))
		return; /* no memory: the connection's end, or the tick's, moves it on */
}

void run_abandon(struct run *run)
{
	struct dom_client *client = run->call->client;
	if (heap_node_queued(&run->timer))
		heap_remove(&client->heap, &run->timer);
	list_remove(&run->awaiting_map);
	for (struct list *link; (link = list_pop_front(&run->slots));)
		LIST_ENTRY(link, struct slot, of_owner)->run = NULL;
}

/* Writes and conflicts have a version, a read has its row. */
static void end_call(
	struct run *run, const struct operation_action *action, const struct message_reply *reply, uint64_t node)
{
	struct dom_call *call = run->call;
	enum status status = action->status;
	call->version = 0;
	call->degraded = false;
	if (action->answered) {
		call->version = reply->version;
		call->degraded = reply->degraded;
		if (!operation_is_write(call->operation))
			call->staleness_ms = reply->staleness_ms;
		call_set_served_by(call, node);
		if (call->session && status != STATUS_UNKNOWN_OUTCOME) {
			session_advance(call->session, action->shard, reply->index);
			session_saw_map(call->session, run->operation.target.map_epoch);
		}
		if (status == STATUS_OK && call->operation == OPERATION_GET) {
			if (reply->row_count != 1) {
				call_end(call, STATUS_INVALID, "the node's answer holds no value");
				return;
			}
			if (!call_set_value(call, reply->rows[0].value, reply->rows[0].version)) {
				call_end(call, STATUS_NO_MEMORY, NULL);
				return;
			}
		}
	}
	call_end(call, status, run->operation.text);
}

/* False: it did not go out; *action is what to do now. */
static bool send_attempt(struct run *run, struct operation_action *action, uint64_t now_ns)
{
	struct dom_client *client = run->call->client;
	struct message message;
	struct endpoint *endpoint = endpoint_of_node(client, action->node);
	enum status status;
	if (!endpoint) {
		router_node_lost(client->router, action->node, now_ns);
		*action = operation_lost(&run->operation, action->attempt, false, now_ns);
		return false;
	}
	operation_message(&run->operation, action->node, now_ns, &message);
	if (run->call->session)
		message.ask.session_index = session_index(run->call->session, message.ask.shard);
	/* Nobody answered the dial before this one: ask who does, and come back when this one is up. */
	bool unheard = endpoint->state == ENDPOINT_DIALLING && endpoint->failures > 0;
	struct slot *slot = NULL;
	status = STATUS_CANNOT_CONNECT;
	if (!unheard)
		slot = endpoint_send(endpoint, SLOT_RUN, &message, &status);
	if (!slot) {
		*action = status == STATUS_BUSY ? operation_refused(&run->operation, action->attempt, now_ns)
						: operation_lost(&run->operation, action->attempt, false, now_ns);
		return false;
	}
	slot->run = run;
	slot->attempt = action->attempt;
	list_push_back(&run->slots, &slot->of_owner);
	return true;
}

static void act(struct run *run, struct operation_action action, const struct message_reply *reply, uint64_t node)
{
	uint64_t now_ns = client_now();
	while (action.kind == OPERATION_SEND && !send_attempt(run, &action, now_ns))
		;
	if (action.kind == OPERATION_FINISHED) {
		if (run->part)
			scan_part_done(run, &action, reply, node);
		else
			end_call(run, &action, reply, node);
		return;
	}
	run_timer(run, action.until_ns);
	if (action.kind == OPERATION_FETCH_MAP) {
		struct dom_client *client = run->call->client;
		list_remove(&run->awaiting_map);
		list_push_back(&client->awaiting_map, &run->awaiting_map);
		fetch_map(client, NULL);
	}
}

void run_start(struct run *run, const struct operation_spec *spec)
{
	struct dom_client *client = run->call->client;
	client->seed = client->seed * 6364136223846793005 + 1442695040888963407;
	act(run, operation_start(&run->operation, spec, client->router, client->seed, client_now()), NULL, 0);
}

void run_answered(struct run *run, struct slot *slot, const struct message *message)
{
	uint64_t node = slot->endpoint->node;
	if (message->kind != MESSAGE_REPLY)
		return;
	act(run, operation_replied(&run->operation, slot->attempt, &message->reply, client_now()), &message->reply,
		node);
}

void run_lost(struct run *run, uint32_t attempt, bool delivered)
{
	act(run, operation_lost(&run->operation, attempt, delivered, client_now()), NULL, 0);
}

void run_map_arrived(struct run *run)
{
	act(run, operation_map_arrived(&run->operation, client_now()), NULL, 0);
}

/* A write's deadline: what still waits for connections that nobody answers is taken back, so that it is certain not to
 * have been proposed. Returns how many connections then have to go, with all that is queued there. */
static unsigned withdraw(struct run *run, struct endpoint *stuck[OPERATION_OPEN_MAX])
{
	unsigned count = 0;
	LIST_EACH_SAFE(link, &run->slots)
	{
		struct slot *slot = LIST_ENTRY(link, struct slot, of_owner);
		if (!endpoint_is_stuck(slot->endpoint) || count == OPERATION_OPEN_MAX)
			continue;
		operation_withdrawn(&run->operation, slot->attempt);
		list_remove(&slot->of_owner);
		slot->run = NULL;
		stuck[count++] = slot->endpoint;
	}
	return count;
}

void run_expired(struct run *run)
{
	struct endpoint *stuck[OPERATION_OPEN_MAX];
	uint64_t now_ns = client_now();
	bool at_end = now_ns >= run->operation.spec.deadline_ns && operation_is_write(run->operation.spec.operation);
	unsigned count = at_end ? withdraw(run, stuck) : 0;
	act(run, operation_expired(&run->operation, now_ns), NULL, 0); /* run may be gone */
	for (unsigned i = 0; i < count; i++)
		if (endpoint_is_stuck(stuck[i])) /* not closed and dialled anew meanwhile */
			endpoint_close(stuck[i], "no answer for too long");
}
