/* server/join.c: see server/join.h. One attempt at a time: dial, HELLO both ways, JOIN; its answer ends the attempt, or
 * a hint at the leader makes it ask for the map (which has the leader's address) and the next attempt goes there. Who
 * has an id and no map asks for the map alone, whoever has it. */
#include "server/join.h"

#include <assert.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "server/server_internal.h"
#include "wire/frame.h"

enum { BACKOFF_FIRST_MS = 100, BACKOFF_MAX_MS = 2000, ATTEMPT_TIMEOUT_MS = 15000, REQUEST_JOIN = 1, REQUEST_MAP = 2 };

struct join {
	struct server *server;
	struct connection *connection; /* NULL: waiting for the timer */
	struct event *timer;	       /* waiting: the next attempt; else: the end of this one */
	uint32_t next, backoff_ms;
	bool greeted;
	uint64_t leader;	       /* node id of the hint */
	char hint[ADDRESS_TEXT_MAX];   /* address to try before the configured ones; "": none */
	char told[OPERATION_TEXT_MAX]; /* the last reason logged: each is logged once */
};

static bool wanted(const struct join *join)
{
	const struct node *node = join->server->node;
	return node_id(node) == 0 ? join->server->config.join_count > 0 : node_unmapped(node);
}

static void wait_to_dial(struct join *join, uint32_t delay_ms)
{
	uint64_t delay_us = (uint64_t)delay_ms * 500 + prng_below(&join->server->prng, (uint64_t)delay_ms * 500 + 1);
	struct timeval delay = { (time_t)(delay_us / 1000000), (suseconds_t)(delay_us % 1000000) };
	event_add(join->timer, &delay);
}

static void tell(struct join *join, const char *address, enum status status, struct bytes detail)
{
	char why[OPERATION_TEXT_MAX];
	snprintf(why, sizeof(why), "%.*s", (int)(detail.size < 200 ? detail.size : 200),
		detail.size ? (const char *)detail.data : "");
	if (strcmp(why, join->told) == 0)
		return;
	memcpy(join->told, why, sizeof(why));
	if (node_id(join->server->node) == 0)
		log_warn("not admitted yet", LOG_S("by", address), LOG_S("status", status_text(status)),
			LOG_S("why", why));
	else
		log_warn("no newer map yet", LOG_S("by", address), LOG_S("status", status_text(status)),
			LOG_S("why", why));
}

static enum status on_established(struct connection *connection, void *arg, const struct certificate_name *who,
	const uint8_t issuer[32], const char **why)
{
	struct join *join = arg;
	struct peer_identity identity;
	struct message hello;
	*why = "no node's certificate";
	if (!server_identity(who, issuer, &identity) || identity.role != PEER_NODE)
		return STATUS_DENIED;
	enum status status = server_admits(join->server, who, &identity, TLS_ALPN_CLIENT, why);
	if (status != STATUS_OK)
		return status;
	node_hello(join->server->node, &hello);
	return connection_send(connection, &hello);
}

static enum status answered(struct join *join, const struct message *message)
{
	struct server *server = join->server;
	const char *why = "", *address = connection_address(join->connection);
	enum status status = status_known(message->reply.status) ? (enum status)message->reply.status : STATUS_INVALID;
	if (status == STATUS_OK) {
		status = node_joined(server->node, message, server_time(), &why);
		server_after(server);
		if (status != STATUS_OK)
			tell(join, address, status, bytes_text(why));
		else
			log_info("admitted", LOG_U("node", node_id(server->node)), LOG_S("by", address));
	} else if (status == STATUS_NOT_LEADER && message->reply.leader_node != 0) {
		struct message request = { .kind = MESSAGE_MAP_REQUEST, .request = REQUEST_MAP };
		join->leader = message->reply.leader_node;
		return connection_send(join->connection, &request);
	} else {
		tell(join, address, status, message->reply.detail);
	}
	connection_close(join->connection, "the answer to JOIN is here");
	return STATUS_OK;
}

/* Of a node that was admitted already. */
static void mapped(struct join *join, const struct message *message)
{
	const char *why = "", *address = connection_address(join->connection);
	enum status status = node_mapped(join->server->node, message, server_time(), &why);
	server_after(join->server);
	if (status != STATUS_OK)
		tell(join, address, status, bytes_text(why));
	else
		log_info("the map is here", LOG_U("node", node_id(join->server->node)), LOG_S("by", address));
	connection_close(join->connection, "the map is here");
}

/* Where the hint leads. A map that does not decode, or lacks the leader, is no reason to stop: others are asked. */
static void follow_hint(struct join *join, const struct message *message)
{
	void *memory = calloc(1, cluster_map_size(&map_limits_default));
	struct cluster_map *map = memory ? cluster_map_init(memory, &map_limits_default) : NULL;
	if (map && cluster_map_decode(message->map_reply.map, map) == STATUS_OK) {
		const struct map_node *leader = map_node_find(map, join->leader);
		const char *address = leader ? address_for(&leader->addresses, &join->server->config.place) : NULL;
		snprintf(join->hint, sizeof(join->hint), "%s", address ? address : "");
	}
	free(memory);
	connection_close(join->connection, "another node leads");
}

static enum status on_received(struct connection *connection, void *arg, const struct message *message)
{
	struct join *join = arg;
	const char *why;
	struct message request;
	switch (message->kind) {
	case MESSAGE_HELLO: {
		enum status status = server_check_hello(join->server, &message->hello, &why);
		if (status != STATUS_OK || join->greeted)
			return STATUS_INVALID;
		join->greeted = true;
		connection_set_frame_size_max(connection, FRAME_SIZE_MAX_CLIENT);
		if (node_id(join->server->node) == 0) {
			node_join_message(join->server->node, &request);
			request.request = REQUEST_JOIN;
		} else {
			request = (struct message){ .kind = MESSAGE_MAP_REQUEST, .request = REQUEST_MAP };
		}
		return connection_send(connection, &request);
	}
	case MESSAGE_REPLY: /* request 0: refused at the door */
		if (message->request != REQUEST_JOIN && message->request != 0)
			return STATUS_INVALID;
		return answered(join, message);
	case MESSAGE_MAP_REPLY:
		if (message->request != REQUEST_MAP)
			return STATUS_INVALID;
		if (node_id(join->server->node) == 0)
			follow_hint(join, message);
		else
			mapped(join, message);
		return STATUS_OK;
	default:
		return STATUS_INVALID;
	}
}

static void on_closed(struct connection *connection, void *arg, enum status status, const char *why)
{
	struct join *join = arg;
	event_del(join->timer);
	if (status != STATUS_CLOSED)
		tell(join, connection_address(connection), status, bytes_text(why));
	join->connection = NULL;
	if (!wanted(join))
		return; /* admitted: nothing more to do */
	if (join->hint[0]) {
		wait_to_dial(join, 1);
		return;
	}
	wait_to_dial(join, join->backoff_ms);
	join->backoff_ms = join->backoff_ms * 2 < BACKOFF_MAX_MS ? join->backoff_ms * 2 : BACKOFF_MAX_MS;
}

static const struct connection_events join_events = { on_established, on_received, on_closed };

/* The configured addresses, and for who has been a member those of the nodes that it knows, one after the other. */
static bool next_address(struct join *join, char address[ADDRESS_TEXT_MAX])
{
	const struct server *server = join->server;
	const struct cluster_map *map = node_map(server->node);
	uint32_t count = server->config.join_count + map->node_count;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = join->next % count;
		const struct map_node *node;
		const char *known;

		join->next = at + 1;
		if (at < server->config.join_count) {
			memcpy(address, server->config.join[at], ADDRESS_TEXT_MAX);
			return true;
		}
		node = &map->nodes[at - server->config.join_count];
		known = node->id == node_id(server->node) ? NULL : address_for(&node->addresses, &server->config.place);
		if (known) {
			snprintf(address, ADDRESS_TEXT_MAX, "%s", known);
			return true;
		}
	}
	return false;
}

static void dial(struct join *join)
{
	struct server *server = join->server;
	char address[ADDRESS_TEXT_MAX];
	struct connection_options options = {
		.base = server->base,
		.tls = server->tls,
		.alpn = TLS_ALPN_CLIENT,
		.frame_size_max = FRAME_SIZE_MAX_GREETING,
		.output_size_max = server->limits.client_output,
		.connect_timeout_ms = CONNECT_TIMEOUT_MS,
		.unacked_timeout_ms = PEER_UNACKED_MS,
		.events = &join_events,
		.arg = join,
	};
	if (join->hint[0]) {
		memcpy(address, join->hint, sizeof(address));
	} else if (!next_address(join, address)) {
		wait_to_dial(join, BACKOFF_MAX_MS);
		return;
	}
	join->hint[0] = '\0';
	join->greeted = false;
	enum status status = connection_dial(&options, address, &join->connection);
	if (status != STATUS_OK) {
		join->connection = NULL;
		tell(join, address, status, bytes_text("the address cannot be dialled"));
		wait_to_dial(join, BACKOFF_MAX_MS);
		return;
	}
	struct timeval limit = { ATTEMPT_TIMEOUT_MS / 1000, 0 };
	event_add(join->timer, &limit);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct join *join = arg;
	(void)fd;
	(void)what;
	if (join->connection)
		connection_close(join->connection, "no answer to JOIN in time");
	else if (wanted(join))
		dial(join);
}

struct join *join_begin(struct server *server)
{
	struct join *join = calloc(1, sizeof(*join));
	if (!join)
		return NULL;
	join->server = server;
	join->backoff_ms = BACKOFF_FIRST_MS;
	join->timer = event_new(server->base, -1, 0, on_timer, join);
	if (!join->timer) {
		free(join);
		return NULL;
	}
	if (wanted(join))
		wait_to_dial(join, 1);
	return join;
}

void join_wake(struct join *join)
{
	if (!join->connection && !event_pending(join->timer, EV_TIMEOUT, NULL) && wanted(join)) {
		join->backoff_ms = BACKOFF_MAX_MS; /* nobody waits at a terminal */
		wait_to_dial(join, 1);
	}
}

void join_free(struct join *join)
{
	if (!join)
		return;
	connection_free(join->connection);
	event_free(join->timer);
	free(join);
}
