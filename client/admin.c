/* client/admin.c: what tools ask beyond keys: the map, administration of the cluster or of one node, a fresh ping. One
 * question, one answer; only a change of the map goes on until meta's leader has taken or refused it. */
#include "client/admin.h"

#include <stdlib.h>

#include "base/pack.h"
#include "base/text.h"
#include "client/client_internal.h"

enum { ASK_MAP = 1, ASK_ADMIN, ASK_CHANGE, ASK_PING };
enum { ASK_PAUSE_MS = 100, ASK_SILENCE_MS = 2000 };
#define MS_NS ((uint64_t)1000000)

struct ask {
	uint8_t kind;
	bool plans;	     /* a change that is only asked about: a map is the answer */
	bool repeatable;     /* done twice is as good as done once */
	bool maybe_proposed; /* went out and was not answered */
	uint64_t node;	     /* to ask; ADMIN_ANY_NODE */
	uint64_t deadline_ns;
	uint64_t open_ns; /* when the question under way went out; 0: none is */
	uint32_t rotate;  /* over candidates for meta's leader */
	enum status refused;
	char verb[VERB_SIZE_MAX];
	char why[MESSAGE_SIZE];
};

static void ask_again(struct dom_call *call);

void ask_free(struct ask *ask)
{
	free(ask);
}

static void note(struct ask *ask, enum status status, struct bytes text)
{
	struct text why;
	ask->refused = status;
	text_init(&why, ask->why, sizeof(ask->why));
	text_add_bytes(&why, text);
}

static void end_unanswered(struct dom_call *call, enum status status)
{
	struct ask *ask = call->ask;
	if (ask->maybe_proposed && !ask->repeatable) {
		call_end(call, STATUS_UNKNOWN_OUTCOME,
			"it was sent and no answer came: look whether it was done before asking again");
		return;
	}
	call_end(call, status, ask->why);
}

/* Later: the timer brings it back to ask_expired. */
static void pause_ask(struct dom_call *call, uint64_t wait_ns)
{
	uint64_t at_ns = client_now() + wait_ns;
	run_timer(&call->run, at_ns < call->ask->deadline_ns ? at_ns : call->ask->deadline_ns);
}

/* Who may be meta's leader: the hint, then meta's voters in turn, then whoever is connected. */
static struct endpoint *meta_endpoint(struct dom_call *call)
{
	struct dom_client *client = call->client;
	const struct cluster_map *map = router_map(client->router);
	struct ask *ask = call->ask;
	struct endpoint *endpoint = ask->node != 0 ? endpoint_of_node(client, ask->node) : NULL;
	ask->node = 0;
	for (uint32_t i = 0; !endpoint && i < map->node_count; i++) {
		const struct map_node *node = &map->nodes[ask->rotate++ % map->node_count];
		if (node->meta_voter || node->meta_voting)
			endpoint = endpoint_of_node(client, node->id);
	}
	return endpoint ? endpoint : endpoint_any(client, NULL);
}

static struct endpoint *ask_endpoint(struct dom_call *call)
{
	struct dom_client *client = call->client;
	struct ask *ask = call->ask;
	if (ask->kind == ASK_CHANGE)
		return meta_endpoint(call);
	if (ask->node != ADMIN_ANY_NODE)
		return endpoint_of_node(client, ask->node);
	struct endpoint *endpoint = endpoint_any(client, NULL);
	for (uint32_t i = 0; !endpoint && i < client->bootstrap_count; i++)
		endpoint = endpoint_of_address(client, client->bootstraps[i]);
	return endpoint;
}

static void fill(const struct dom_call *call, struct message *message)
{
	const struct ask *ask = call->ask;
	uint64_t now_ns = client_now();
	memset(message, 0, sizeof(*message));
	if (ask->kind == ASK_MAP) {
		message->kind = MESSAGE_MAP_REQUEST;
	} else if (ask->kind == ASK_PING) {
		message->kind = MESSAGE_REQUEST;
		message->ask.operation = OPERATION_PING;
		message->ask.timeout_ms = 1000;
	} else {
		message->kind = MESSAGE_ADMIN;
		message->admin.verb = bytes_text(ask->verb);
		message->admin.body = call->value;
		message->admin.timeout_ms =
			ask->deadline_ns > now_ns ? (uint32_t)((ask->deadline_ns - now_ns) / MS_NS) : 1;
	}
}

static void ask_again(struct dom_call *call)
{
	struct ask *ask = call->ask;
	struct message message;
	enum status status = STATUS_CANNOT_CONNECT;
	uint64_t now_ns = client_now();
	if (now_ns >= ask->deadline_ns) {
		end_unanswered(call, ask->refused != STATUS_OK ? ask->refused : STATUS_TIMED_OUT);
		return;
	}
	struct endpoint *endpoint = ask_endpoint(call);
	struct slot *slot = NULL;
	if (endpoint) {
		fill(call, &message);
		slot = endpoint_send(endpoint, SLOT_ASK, &message, &status);
	}
	if (!slot) {
		if (ask->refused == STATUS_OK)
			note(ask, STATUS_CANNOT_CONNECT, bytes_text("no connection to a node that could answer"));
		pause_ask(call, ASK_PAUSE_MS * MS_NS);
		return;
	}
	slot->run = &call->run;
	list_push_back(&call->run.slots, &slot->of_owner);
	ask->open_ns = now_ns;
	run_timer(&call->run,
		ask->kind == ASK_CHANGE && ask->repeatable && ask->deadline_ns - now_ns > ASK_SILENCE_MS * MS_NS
			? now_ns + ASK_SILENCE_MS * MS_NS
			: ask->deadline_ns);
}

void ask_expired(struct run *run)
{
	struct ask *ask = run->call->ask;
	if (ask->open_ns != 0)
		ask->maybe_proposed = true;
	ask->open_ns = 0;
	ask_again(run->call);
}

void ask_lost(struct run *run, bool delivered)
{
	struct dom_call *call = run->call;
	struct ask *ask = call->ask;
	ask->open_ns = 0;
	if (delivered)
		ask->maybe_proposed = true;
	note(ask, STATUS_CANNOT_CONNECT, bytes_text("the connection to the node broke"));
	if (ask->maybe_proposed && !ask->repeatable)
		end_unanswered(call, STATUS_CANNOT_CONNECT);
	else if (ask->kind == ASK_CHANGE || ask->node == ADMIN_ANY_NODE)
		pause_ask(call, ASK_PAUSE_MS * MS_NS);
	else
		end_unanswered(call, STATUS_CANNOT_CONNECT);
}

static void answered_change(struct dom_call *call, const struct message_reply *reply, uint64_t node)
{
	struct ask *ask = call->ask;
	uint8_t epoch[8];
	struct packer packer;
	switch (reply->status) {
	case STATUS_NOT_LEADER:
		if (reply->leader_node != 0 && reply->leader_node != node) {
			ask->node = reply->leader_node;
			ask->rotate++;
			note(ask, STATUS_QUORUM_UNAVAILABLE, bytes_text("meta's leader cannot be reached"));
			if (ask->rotate % 4 != 0) { /* leaders that name each other: not without end */
				ask_again(call);
				return;
			}
		}
		break;
	case STATUS_QUORUM_UNAVAILABLE:
	case STATUS_BUSY:
	case STATUS_NO_MEMORY:
		note(ask, reply->status == STATUS_NO_MEMORY ? STATUS_BUSY : (enum status)reply->status, reply->detail);
		break;
	case STATUS_UNKNOWN_OUTCOME:
		ask->maybe_proposed = true;
		note(ask, STATUS_UNKNOWN_OUTCOME, reply->detail);
		if (ask->repeatable)
			break;
		end_unanswered(call, STATUS_UNKNOWN_OUTCOME);
		return;
	default:
		note(ask, (enum status)reply->status, reply->detail);
		call->version = reply->version;
		pack_init(&packer, epoch, sizeof(epoch));
		pack_u64(&packer, reply->index);
		if (reply->status == STATUS_OK && !call_set_value(call, pack_result(&packer), reply->version))
			note(ask, STATUS_NO_MEMORY, bytes_text(""));
		fetch_heard(call->client, NULL, reply->map_epoch > reply->index ? reply->map_epoch : reply->index);
		call_end(call, ask->refused, ask->why);
		return;
	}
	pause_ask(call, ASK_PAUSE_MS * MS_NS);
}

static void answered_map(struct dom_call *call, const struct message_map_reply *reply)
{
	if (reply->map.size == 0) {
		call_end(call, STATUS_QUORUM_UNAVAILABLE, "the node belongs to no cluster yet");
		return;
	}
	call->version = reply->epoch;
	bool kept = call_set_value(call, reply->map, reply->epoch);
	call_end(call, kept ? STATUS_OK : STATUS_NO_MEMORY, "");
}

void ask_answered(struct run *run, struct slot *slot, const struct message *message)
{
	struct dom_call *call = run->call;
	struct ask *ask = call->ask;
	struct endpoint *endpoint = slot->endpoint;
	uint64_t now_ns = client_now(), sent_ns = slot->sent_ns;
	ask->open_ns = 0;
	if (ask->plans && message->kind == MESSAGE_MAP_REPLY) { /* as it would be: not for the router */
		answered_map(call, &message->map_reply);
		return;
	}
	if ((ask->kind == ASK_MAP) != (message->kind == MESSAGE_MAP_REPLY)) {
		if (message->kind == MESSAGE_REPLY)
			note(ask, (enum status)message->reply.status, message->reply.detail);
		end_unanswered(call, ask->refused != STATUS_OK ? ask->refused : STATUS_INVALID);
		return;
	}
	if (endpoint->node != 0)
		call_set_served_by(call, endpoint->node);
	switch (ask->kind) {
	case ASK_MAP:
		/* It wakes others, whose callbacks may close the client and so end this call. */
		atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
		fetch_answered(call->client, endpoint, &message->map_reply);
		if (!call->done)
			answered_map(call, &message->map_reply);
		call_unref(call);
		break;
	case ASK_PING:
		if (sent_ns < endpoint->ready_ns) {
			ask_again(call); /* it waited for the handshake: that is no round trip */
			return;
		}
		router_learn_rtt(call->client->router, endpoint->node, (uint32_t)((now_ns - sent_ns) / 1000));
		call->version = (now_ns - sent_ns) / 1000;
		call_end(call, STATUS_OK, "");
		break;
	case ASK_CHANGE:
		answered_change(call, &message->reply, endpoint->node);
		break;
	default:
		note(ask, (enum status)message->reply.status, message->reply.detail);
		call->version = message->reply.version;
		if (!call_set_value(call, message->reply.detail, message->reply.version))
			note(ask, STATUS_NO_MEMORY, bytes_text(""));
		fetch_heard(call->client, endpoint, message->reply.map_epoch);
		call_end(call, ask->refused, ask->why);
	}
}

void ask_start(struct dom_call *call)
{
	call->ask->deadline_ns = client_now() + call->timeout_ns;
	call->run.is_ask = true;
	ask_again(call);
}

/* --- the face ------------------------------------------------------------------------------------------------- */

static dom_call *ask_new(dom_client *client, unsigned kind, uint64_t node, const char *verb, struct bytes body,
	bool repeatable, uint32_t timeout_ms)
{
	static const struct bytes none;
	struct ask *ask = calloc(1, sizeof(*ask));
	bool fits = body.size <= ADMIN_SIZE_MAX && strlen(verb) < sizeof(ask->verb);
	struct dom_call *call = ask ? call_new(client, CALL_ASK, none, fits ? body : none, none, timeout_ms) : NULL;
	if (!call) {
		free(ask);
		return NULL;
	}
	call->ask = ask;
	ask->kind = (uint8_t)kind;
	ask->node = node;
	ask->repeatable = repeatable;
	ask->plans = strcmp(verb, "plan") == 0;
	if (fits)
		memcpy(ask->verb, verb, strlen(verb) + 1);
	else
		call_refuse(call, DOM_TOO_LARGE, "the request is larger than a node takes; split the file");
	return call_submit(call);
}

dom_call *client_map(dom_client *client, uint32_t timeout_ms)
{
	static const struct bytes none;
	return ask_new(client, ASK_MAP, ADMIN_ANY_NODE, "", none, true, timeout_ms);
}

/* "node.status", "residency.search" */
static bool only_asks(const char *verb)
{
	size_t size = strlen(verb);
	return size >= 6 && (strcmp(verb + size - 6, "status") == 0 || strcmp(verb + size - 6, "search") == 0);
}

dom_call *client_admin(dom_client *client, uint64_t node, const char *verb, struct bytes body, uint32_t timeout_ms)
{
	return ask_new(client, ASK_ADMIN, node, verb, body, only_asks(verb), timeout_ms);
}

static dom_call *change_new(
	dom_client *client, const struct change *change, const char *verb, bool repeatable, uint32_t timeout_ms)
{
	struct packer count, packer;
	pack_init(&count, NULL, 0);
	change_encode(change, &count);
	uint8_t *body = malloc(count.size);
	if (!body)
		return NULL;
	pack_init(&packer, body, count.size);
	change_encode(change, &packer);
	assert(!packer.overflow);
	dom_call *call = ask_new(client, ASK_CHANGE, 0, verb, pack_result(&packer), repeatable, timeout_ms);
	free(body);
	return call;
}

dom_call *client_change(dom_client *client, const struct change *change, uint32_t timeout_ms)
{
	bool repeatable = change->dry_run || change->kind == CHANGE_APPLY || change->kind == CHANGE_BINDING_SET ||
			  change->kind == CHANGE_SHARD_LEAD || change->kind == CHANGE_NODE_STATE ||
			  change->kind == CHANGE_REGION_STATE || change->kind == CHANGE_REBALANCE;
	/* Done once, the plan holds no more: asked again, it would be refused for what it did itself. */
	if (change->plan != 0)
		repeatable = false;
	return change_new(client, change, "change", repeatable, timeout_ms);
}

dom_call *client_plan(dom_client *client, const struct change *change, uint32_t timeout_ms)
{
	return change_new(client, change, "plan", true, timeout_ms);
}

dom_call *client_ping(dom_client *client, uint64_t node, uint32_t timeout_ms)
{
	static const struct bytes none;
	return ask_new(client, ASK_PING, node, "", none, true, timeout_ms);
}
