/* server/peers.c: see server/peers.h.
 *
 *	WAITING (timer runs) -> DIALLING (TLS, then HELLO) -> UP
 *	   ^_______________________|_______________________|        closed: wait again, longer unless it was UP
 *	or until the other one has dialled us
 *
 * Dialled is the address that the map has. When nobody is there, the next attempt goes to one of `join`, in turn, then
 *to the map's again: all nodes may have been given other addresses at once, and the map hears of that only when enough
 *of them have found each other. Whoever answers says by its certificate and HELLO who it is. */
#include "server/peers.h"

#include <assert.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "server/server_internal.h"
#include "wire/frame.h"

enum { BACKOFF_FIRST_MS = 50, BACKOFF_MAX_MS = 2000 };

struct peer {
	struct peers *peers;
	uint64_t id;
	struct place place;		/* what its certificate must say */
	char address[ADDRESS_TEXT_MAX]; /* "": the map has none for us */
	struct connection *connection;	/* NULL: waiting */
	struct peer_identity who;
	bool up, kept, down_logged;
	uint32_t attempts; /* since it was last up */
	uint32_t backoff_ms;
	struct event *timer;
};

struct peers {
	struct server *server;
	struct peer **at; /* sorted by id */
	uint32_t count;
	uint64_t dropped;
};

static struct peer *peer_find(const struct peers *peers, uint64_t id)
{
	for (uint32_t begin = 0, end = peers->count; begin < end;) {
		uint32_t middle = begin + (end - begin) / 2;
		if (peers->at[middle]->id == id)
			return peers->at[middle];
		if (peers->at[middle]->id < id)
			begin = middle + 1;
		else
			end = middle;
	}
	return NULL;
}

/* Half of the delay for sure, the other half by chance: nodes that lost each other at once do not meet at once. */
static void wait_to_dial(struct peer *peer)
{
	uint64_t half_us = (uint64_t)peer->backoff_ms * 500;
	uint64_t delay_us = half_us + prng_below(&peer->peers->server->prng, half_us + 1);
	struct timeval delay = { (time_t)(delay_us / 1000000), (suseconds_t)(delay_us % 1000000) };
	assert(!peer->connection);
	event_add(peer->timer, &delay);
	peer->backoff_ms = peer->backoff_ms * 2 < BACKOFF_MAX_MS ? peer->backoff_ms * 2 : BACKOFF_MAX_MS;
}

static enum status on_established(struct connection *connection, void *arg, const struct certificate_name *who,
	const uint8_t issuer[32], const char **why)
{
	struct peer *peer = arg;
	struct server *server = peer->peers->server;
	struct message hello;
	*why = "the node at this address is not the one of this place";
	if (!server_identity(who, issuer, &peer->who) || !place_equal(&peer->who.place, &peer->place))
		return STATUS_DENIED;
	enum status status = server_admits(server, who, &peer->who, TLS_ALPN_PEER, why);
	if (status != STATUS_OK)
		return status;
	if (connection_revoked(connection, server->own.revocations)) {
		*why = server_revoked;
		return STATUS_DENIED;
	}
	node_hello(server->node, &hello);
	return connection_send(connection, &hello);
}

/* Only HELLO comes on a connection that we dialled; all else the other side sends on its own. */
static enum status on_received(struct connection *connection, void *arg, const struct message *message)
{
	struct peer *peer = arg;
	struct server *server = peer->peers->server;
	const char *why;
	if (peer->up || message->kind != MESSAGE_HELLO)
		return STATUS_INVALID;
	enum status status = server_check_hello(server, &message->hello, &why);
	if (status == STATUS_OK && message->hello.node != peer->id) {
		status = STATUS_CONFLICT;
		why = "it has another id, or none yet";
	}
	if (status != STATUS_OK) {
		connection_close(connection, why);
		return STATUS_OK;
	}
	peer->up = true;
	peer->attempts = 0;
	peer->down_logged = false;
	peer->backoff_ms = BACKOFF_FIRST_MS;
	log_info("peer connected", LOG_U("node", peer->id), LOG_S("place", peer->place.text));
	node_peer_connected(server->node, peer->id, server_time());
	server_after(server);
	return STATUS_OK;
}

static void on_closed(struct connection *connection, void *arg, enum status status, const char *why)
{
	struct peer *peer = arg;
	assert(connection == peer->connection);
	if (peer->up || !peer->down_logged)
		log_warn("peer not connected", LOG_U("node", peer->id), LOG_S("place", peer->place.text),
			LOG_S("address", connection_address(connection)), LOG_S("status", status_text(status)),
			LOG_S("why", why));
	peer->down_logged = true;
	peer->connection = NULL;
	peer->up = false;
	wait_to_dial(peer);
}

static const struct connection_events peer_events = { on_established, on_received, on_closed };

static const char *address_to_try(const struct peer *peer)
{
	const struct server_config *config = &peer->peers->server->config;
	bool joins = config->join_count > 0 && (peer->attempts % 2 == 1 || !peer->address[0]);
	return joins ? config->join[peer->attempts / 2 % config->join_count] : peer->address;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct peer *peer = arg;
	struct server *server = peer->peers->server;
	const char *address = address_to_try(peer);
	(void)fd;
	(void)what;
	assert(!peer->connection);
	if (!address[0]) {
		wait_to_dial(peer);
		return;
	}
	peer->attempts++;
	struct connection_options options = {
		.base = server->base,
		.tls = server->tls,
		.alpn = TLS_ALPN_PEER,
		.frame_size_max = FRAME_SIZE_MAX_GREETING,
		.output_size_max = server->limits.peer_output,
		.connect_timeout_ms = CONNECT_TIMEOUT_MS,
		.unacked_timeout_ms = PEER_UNACKED_MS,
		.compress = !server_same_region(server, peer->place.text),
		.events = &peer_events,
		.arg = peer,
	};
	enum status status = connection_dial(&options, address, &peer->connection);
	if (status == STATUS_OK)
		return;
	if (!peer->down_logged)
		log_warn("peer not dialled", LOG_U("node", peer->id), LOG_S("address", address),
			LOG_S("status", status_text(status)));
	peer->down_logged = true;
	peer->connection = NULL;
	wait_to_dial(peer);
}

static struct peer *peer_new(struct peers *peers, uint64_t id)
{
	struct peer *peer = calloc(1, sizeof(*peer));
	if (!peer)
		return NULL;
	peer->peers = peers;
	peer->id = id;
	peer->backoff_ms = BACKOFF_FIRST_MS;
	peer->timer = event_new(peers->server->base, -1, 0, on_timer, peer);
	if (peer->timer)
		return peer;
	free(peer);
	return NULL;
}

static void peer_free(struct peer *peer)
{
	connection_free(peer->connection);
	event_free(peer->timer);
	free(peer);
}

struct peers *peers_new(struct server *server)
{
	struct peers *peers = calloc(1, sizeof(*peers));
	if (peers)
		peers->server = server;
	return peers;
}

void peers_free(struct peers *peers)
{
	if (!peers)
		return;
	for (uint32_t i = 0; i < peers->count; i++)
		peer_free(peers->at[i]);
	free(peers->at);
	free(peers);
}

static int by_id(const void *a, const void *b)
{
	const struct peer *const *left = a, *const *right = b;
	return ((*left)->id > (*right)->id) - ((*left)->id < (*right)->id);
}

/* The map's word on a peer: its place, its address for us. */
static void peer_update(struct peer *peer, const struct map_node *node)
{
	struct server *server = peer->peers->server;
	const char *address = address_for(&node->addresses, &server->config.place), *why;
	peer->kept = true;
	peer->place = node->place;
	snprintf(peer->address, sizeof(peer->address), "%s", address ? address : "");
	if (!address)
		log_warn("the map has no address of a node for this place", LOG_U("node", peer->id),
			LOG_S("place", peer->place.text));
	if (peer->up && node_admits(server->node, &peer->who, &why) != STATUS_OK)
		connection_close(peer->connection, why);
}

void peers_map_changed(struct peers *peers, const struct cluster_map *map)
{
	struct peer **at = calloc(map->node_count + 1, sizeof(*at));
	uint64_t own = node_id(peers->server->node);
	uint32_t count = 0;
	if (!at) {
		log_error("out of memory", LOG_S("what", "the list of peers stays as it was"));
		return;
	}
	for (uint32_t i = 0; own != 0 && i < map->node_count; i++) {
		const struct map_node *node = &map->nodes[i];
		struct peer *peer = node->id == own ? NULL : peer_find(peers, node->id);
		bool fresh = node->id != own && !peer;
		if (fresh)
			peer = peer_new(peers, node->id);
		if (!peer)
			continue;
		peer_update(peer, node);
		if (fresh)
			wait_to_dial(peer);
		at[count++] = peer;
	}
	for (uint32_t i = 0; i < peers->count; i++)
		if (!peers->at[i]->kept)
			peer_free(peers->at[i]);
	free(peers->at);
	peers->at = at;
	peers->count = count;
	qsort(at, count, sizeof(*at), by_id);
	for (uint32_t i = 0; i < count; i++)
		at[i]->kept = false;
}

void peers_heard(struct peers *peers, uint64_t node)
{
	struct peer *peer = peer_find(peers, node);
	if (!peer || peer->up)
		return;
	peer->backoff_ms = BACKOFF_FIRST_MS;
	peer->attempts = 0; /* to the map's address */
	if (!peer->connection)
		event_active(peer->timer, EV_TIMEOUT, 0);
}

void peers_judge_anew(struct peers *peers)
{
	for (uint32_t i = 0; i < peers->count; i++) {
		struct peer *peer = peers->at[i];
		if (peer->connection && connection_revoked(peer->connection, peers->server->own.revocations))
			connection_close(peer->connection, server_revoked);
	}
}

void peers_send(struct peers *peers, uint64_t node, const struct message *message)
{
	struct peer *peer = peer_find(peers, node);
	if (!peer || !peer->up || connection_send(peer->connection, message) != STATUS_OK)
		peers->dropped++;
}
