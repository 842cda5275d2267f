/* server/listener.c: see server/listener.h. */
#define _GNU_SOURCE /* accept4 */
#include "server/listener.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "server/peers.h"
#include "server/server_internal.h"
#include "wire/frame.h"
#include "wire/resolve.h"

enum {
	CONNECTIONS_MAX = 16384,
	GREETING_MAX = 512,  /* connections between accept and HELLO */
	IDENTITY_MAX = 1024, /* connections of one certificate's name */
	INFLIGHT_MAX = 256,  /* requests of one connection; above it is not read */
	INFLIGHT_RESUME = 192,
	MEMORY_KEPT = 128 << 10, /* bytes of a connection that is not closed for others' sake */
	RELIEF_MAX = 64,	 /* connections closed at once for it */
	REQUEST_OVERHEAD = 256,	 /* bytes that a request costs besides its own */
	ACCEPT_BUDGET = 64,	 /* connections a turn */
	ACCEPT_BACKOFF_MS = 100, /* without descriptors */
	LISTEN_BACKLOG = 1024,
	SWEEP_MS = 1000,
	RESOLVE_TIMEOUT_MS = 10000,
	REFUSALS_LOGGED_MAX = 10, /* lines per sweep */
};

enum incoming_state { INCOMING_TLS, INCOMING_GREETING, INCOMING_OPEN };
struct incoming {
	struct listener *listener;
	struct connection *connection;
	uint64_t number;
	enum incoming_state state;
	bool peer, paused, evicted, refused; /* refused: at the door, with an answer that says why */
	uint64_t accepted_ns;
	struct peer_identity who;
	uint64_t identity;	/* hash of role, name and place; 0: not known yet */
	uint64_t claimed, node; /* a peer: the id in its HELLO; the same once the map agrees, else 0 */
	uint32_t inflight;	/* requests */
	uint64_t inflight_size; /* their bytes */
};
struct slot {
	struct incoming *incoming;
	uint32_t generation, next_free; /* next_free: slot + 1; 0: none */
};

struct listener {
	struct server *server;
	int fd, reserve_fd;
	struct event *accept_event, *resume_event, *sweep_event;
	bool accepting;
	struct slot *slots;
	uint32_t slot_count, first_free; /* first_free: slot + 1 */
	uint32_t count, greeting_count, refusals_logged;
	uint64_t inflight_size;
	uint32_t inflight;
	struct connection_budget budget; /* of all clients */
};

static const struct connection_events incoming_events;

/* --- numbers ---------------------------------------------------------------------------------- */

static bool grow(struct listener *listener)
{
	uint32_t count = listener->slot_count ? listener->slot_count * 2 : 64;
	if (count > CONNECTIONS_MAX)
		return false;
	struct slot *slots = realloc(listener->slots, count * sizeof(*slots));
	if (!slots)
		return false;
	listener->slots = slots;
	for (uint32_t i = count; i-- > listener->slot_count;) {
		slots[i] = (struct slot){ .generation = 1, .next_free = listener->first_free };
		listener->first_free = i + 1;
	}
	listener->slot_count = count;
	return true;
}

static struct incoming *incoming_new(struct listener *listener)
{
	if (listener->first_free == 0 && !grow(listener))
		return NULL;
	struct incoming *incoming = calloc(1, sizeof(*incoming));
	if (!incoming)
		return NULL;
	uint32_t at = listener->first_free - 1;
	struct slot *slot = &listener->slots[at];
	listener->first_free = slot->next_free;
	slot->incoming = incoming;
	incoming->listener = listener;
	incoming->number = (uint64_t)slot->generation << 32 | (at + 1);
	incoming->accepted_ns = clock_boot_ns();
	listener->count++;
	listener->greeting_count++;
	return incoming;
}

static void incoming_free(struct incoming *incoming)
{
	struct listener *listener = incoming->listener;
	uint32_t at = (uint32_t)incoming->number - 1;
	struct slot *slot = &listener->slots[at];
	assert(slot->incoming == incoming);
	if (incoming->state != INCOMING_OPEN)
		listener->greeting_count--;
	assert(listener->inflight_size >= incoming->inflight_size);
	listener->inflight_size -= incoming->inflight_size;
	listener->inflight -= incoming->inflight;
	listener->count--;
	slot->incoming = NULL;
	slot->generation++;
	slot->next_free = listener->first_free;
	listener->first_free = at + 1;
	free(incoming);
}

static struct incoming *incoming_find(struct listener *listener, uint64_t number)
{
	uint32_t at = (uint32_t)number - 1;
	if (at >= listener->slot_count || listener->slots[at].generation != (uint32_t)(number >> 32))
		return NULL;
	return listener->slots[at].incoming;
}

/* --- who may ---------------------------------------------------------------------------------- */

static uint64_t identity_of(const struct peer_identity *who)
{
	uint8_t role = (uint8_t)who->role;
	uint64_t hash = hash64_seeded(bytes_text(who->place.text), role);
	hash = hash64_seeded(bytes_text(who->name), hash);
	return hash ? hash : 1;
}

static bool identity_crowded(const struct listener *listener, uint64_t identity)
{
	uint32_t same = 0;
	for (uint32_t i = 0; i < listener->slot_count; i++) {
		const struct incoming *incoming = listener->slots[i].incoming;
		same += incoming && incoming->identity == identity;
	}
	return same >= IDENTITY_MAX;
}

static void send_status(struct incoming *incoming, uint64_t request, enum status status, const char *detail)
{
	struct message message = { .kind = MESSAGE_REPLY, .request = request };
	message.reply.status = (uint32_t)status;
	message.reply.map_epoch = node_map(incoming->listener->server->node)->epoch;
	message.reply.detail = bytes_text(detail);
	/* Once more than its bound waits for this connection, nobody reads the answers. */
	if (connection_send(incoming->connection, &message) != STATUS_OK)
		connection_close(incoming->connection, "answers are not read");
}

static enum status admit(
	struct incoming *incoming, const struct certificate_name *who, const uint8_t issuer[32], const char **why)
{
	struct listener *listener = incoming->listener;
	*why = "the certificate's place is malformed";
	if (!server_identity(who, issuer, &incoming->who))
		return STATUS_DENIED;
	enum status status =
		server_admits(listener->server, who, &incoming->who, connection_alpn(incoming->connection), why);
	if (status != STATUS_OK)
		return status;
	if (connection_revoked(incoming->connection, listener->server->own.revocations)) {
		*why = server_revoked; /* while its hands were being shaken */
		return STATUS_DENIED;
	}
	uint64_t identity = identity_of(&incoming->who);
	if (identity_crowded(listener, identity)) {
		*why = "too many connections with this certificate's name";
		return STATUS_BUSY;
	}
	incoming->identity = identity;
	return STATUS_OK;
}

static enum status on_established(struct connection *connection, void *arg, const struct certificate_name *who,
	const uint8_t issuer[32], const char **why)
{
	struct incoming *incoming = arg;
	struct server *server = incoming->listener->server;
	struct message hello;
	enum status status = admit(incoming, who, issuer, why);
	incoming->peer = connection_alpn(connection) == TLS_ALPN_PEER;
	if (status != STATUS_OK && incoming->peer)
		return status;
	if (status != STATUS_OK) { /* a person waits at the other end: say why, then close */
		incoming->refused = true;
		send_status(incoming, 0, status, *why);
		connection_close(connection, *why);
		return STATUS_OK;
	}
	incoming->state = INCOMING_GREETING;
	if (incoming->peer) /* two nodes may have nothing to say to each other; keep-alives find the dead */
		connection_set_idle_timeout(connection, 0);
	connection_set_compress(connection, !server_same_region(server, who->place));
	node_hello(server->node, &hello);
	return connection_send(connection, &hello);
}

/* Which node of the map a peer is: the one whose place its certificate names. Until it is one, nothing that it says is
 * looked at, and it has no room to say much. */
static void attribute(struct incoming *incoming)
{
	struct server *server = incoming->listener->server;
	const struct map_node *node = map_node_find(node_directory(server->node), incoming->claimed);
	incoming->node = node && place_equal(&node->place, &incoming->who.place) ? node->id : 0;
	if (incoming->node == 0)
		node_stranger(server->node, server_time());
	connection_set_frame_size_max(
		incoming->connection, incoming->node != 0 ? FRAME_SIZE_MAX_PEER : FRAME_SIZE_MAX_GREETING);
}

/* A node has one connection to us: when it comes with another, it has given up the one before, and so do we. */
static void supersede(struct incoming *incoming)
{
	struct listener *listener = incoming->listener;
	for (uint32_t i = 0; incoming->node != 0 && i < listener->slot_count; i++) {
		struct incoming *other = listener->slots[i].incoming;
		if (other && other != incoming && other->peer && other->node == incoming->node)
			connection_close(other->connection, "a newer connection of the same node is here");
	}
}

/* Memory that unread answers and unfinished frames hold is wanted by others: who holds most gives it back, all of it.
 */
static void relieve(struct listener *listener)
{
	size_t used = listener->budget.used, max = listener->budget.max;
	for (unsigned n = 0; used > (n == 0 ? max - max / 4 : max / 2) && n < RELIEF_MAX; n++) {
		struct incoming *largest = NULL;
		size_t size = MEMORY_KEPT;
		for (uint32_t i = 0; i < listener->slot_count; i++) {
			struct incoming *incoming = listener->slots[i].incoming;
			if (!incoming || incoming->state != INCOMING_OPEN || incoming->peer || incoming->evicted ||
				connection_memory(incoming->connection) <= size)
				continue;
			largest = incoming;
			size = connection_memory(incoming->connection);
		}
		if (!largest)
			return;
		largest->evicted = true; /* gone at the end of the turn */
		used = used > size ? used - size : 0;
		connection_close(largest->connection, "answers are not read or a frame is not ended, and others wait");
	}
}

static enum status greet(struct incoming *incoming, const struct message *message)
{
	struct server *server = incoming->listener->server;
	const char *why = "the first message is no HELLO";
	enum status status = STATUS_INVALID;
	if (message->kind == MESSAGE_HELLO)
		status = server_check_hello(server, &message->hello, &why);
	if (status != STATUS_OK) {
		incoming->refused = true;
		if (!incoming->peer)
			send_status(incoming, 0, status, why);
		connection_close(incoming->connection, why);
		return STATUS_OK;
	}
	incoming->state = INCOMING_OPEN;
	incoming->listener->greeting_count--;
	incoming->claimed = message->hello.node;
	if (incoming->peer) {
		attribute(incoming);
		supersede(incoming);
		if (incoming->node != 0)
			peers_heard(server->peers, incoming->node);
	} else {
		connection_set_frame_size_max(incoming->connection, FRAME_SIZE_MAX_CLIENT);
		connection_set_budget(incoming->connection, &incoming->listener->budget);
	}
	return STATUS_OK;
}

/* --- requests ---------------------------------------------------------------------------------- */

static uint64_t request_size(const struct message *message)
{
	if (message->kind == MESSAGE_REQUEST)
		return REQUEST_OVERHEAD + message->ask.key.size + message->ask.after.size + message->ask.value.size;
	if (message->kind == MESSAGE_ADMIN)
		return REQUEST_OVERHEAD + message->admin.body.size;
	return REQUEST_OVERHEAD;
}

static enum status request(struct incoming *incoming, const struct message *message)
{
	struct listener *listener = incoming->listener;
	struct server *server = listener->server;
	uint64_t size = request_size(message);
	switch (message->kind) {
	case MESSAGE_REQUEST:
	case MESSAGE_ADMIN:
		if (incoming->who.role == PEER_NODE) {
			send_status(incoming, message->request, STATUS_DENIED,
				"a node's certificate only joins; use a client's or an administrator's");
			return STATUS_OK;
		}
		break;
	case MESSAGE_MAP_REQUEST:
	case MESSAGE_JOIN:
		break;
	default:
		return STATUS_INVALID;
	}
	if (listener->inflight_size + size > server->limits.inflight) {
		send_status(incoming, message->request, STATUS_BUSY, "too many bytes in flight on this node");
		return STATUS_OK;
	}
	incoming->inflight++;
	incoming->inflight_size += size;
	listener->inflight++;
	listener->inflight_size += size;
	if (incoming->inflight >= INFLIGHT_MAX && !incoming->paused) {
		incoming->paused = true;
		connection_pause_reading(incoming->connection, true);
	}
	node_requested(server->node, incoming->number, &incoming->who, message, server_time());
	server_after(server);
	return STATUS_OK;
}

static enum status on_received(struct connection *connection, void *arg, const struct message *message)
{
	struct incoming *incoming = arg;
	struct server *server = incoming->listener->server;
	(void)connection;
	if (incoming->state == INCOMING_GREETING)
		return greet(incoming, message);
	if (!incoming->peer)
		return request(incoming, message);
	if (incoming->node == 0) /* not in our map, or not any more: it may be yet */
		return STATUS_OK;
	node_received(server->node, incoming->node, &incoming->who, message, server_time());
	server_after(server);
	return STATUS_OK;
}

/* What one request holds is taken to be the connection's average; the sum is right again whenever none is left. */
static void answered(struct incoming *incoming)
{
	struct listener *listener = incoming->listener;
	if (incoming->inflight == 0)
		return;
	uint64_t size = incoming->inflight_size / incoming->inflight;
	incoming->inflight--;
	listener->inflight--;
	incoming->inflight_size -= size;
	listener->inflight_size -= size;
	if (incoming->paused && incoming->inflight <= INFLIGHT_RESUME) {
		incoming->paused = false;
		connection_pause_reading(incoming->connection, false);
	}
}

void listener_reply(struct listener *listener, uint64_t number, const struct message *message)
{
	struct incoming *incoming = incoming_find(listener, number);
	if (!incoming)
		return;
	answered(incoming);
	relieve(listener);
	enum status status = connection_send(incoming->connection, message);
	if (status == STATUS_OK || status == STATUS_CLOSED)
		return;
	/* An answer that carries data may be asked for again; what a write did must not be lost behind it. */
	if (message->kind == MESSAGE_REPLY && message->reply.row_count > 0)
		send_status(incoming, message->request, STATUS_BUSY, "answers are not read fast enough");
	else
		connection_close(incoming->connection, "answers are not read");
}

static void on_closed(struct connection *connection, void *arg, enum status status, const char *why)
{
	struct incoming *incoming = arg;
	struct listener *listener = incoming->listener;
	bool refused = status == STATUS_DENIED || incoming->refused;
	if (refused && listener->refusals_logged++ < REFUSALS_LOGGED_MAX)
		log_warn("connection refused", LOG_S("address", connection_address(connection)),
			LOG_S("place", incoming->who.place.text), LOG_S("why", why));
	else
		log_debug("connection closed", LOG_S("address", connection_address(connection)),
			LOG_S("place", incoming->who.place.text), LOG_S("why", why));
	if (incoming->state == INCOMING_OPEN && !incoming->peer)
		node_connection_closed(listener->server->node, incoming->number);
	incoming_free(incoming);
	if (status == STATUS_BUSY) /* its frame found no room */
		relieve(listener);
}

static const struct connection_events incoming_events = { on_established, on_received, on_closed };

/* --- accepting --------------------------------------------------------------------------------- */

static void accept_one(struct listener *listener, int fd)
{
	struct server *server = listener->server;
	struct incoming *incoming = incoming_new(listener);
	if (!incoming) {
		close(fd);
		return;
	}
	struct connection_options options = {
		.base = server->base,
		.tls = server->tls,
		.alpn = TLS_ALPN_ANY,
		.frame_size_max = FRAME_SIZE_MAX_GREETING,
		.output_size_max = server->limits.client_output,
		.connect_timeout_ms = GREETING_TIMEOUT_MS,
		.idle_timeout_ms = IDLE_TIMEOUT_MS,
		.unacked_timeout_ms = CLIENT_UNACKED_MS,
		.events = &incoming_events,
		.arg = incoming,
	};
	if (connection_accept(&options, fd, &incoming->connection) != STATUS_OK) {
		close(fd);
		incoming_free(incoming);
	}
}

static void back_off(struct listener *listener)
{
	struct timeval delay = { 0, ACCEPT_BACKOFF_MS * 1000 };
	event_del(listener->accept_event);
	event_add(listener->resume_event, &delay);
}

/* Out of descriptors: the reserve takes one connection off the queue and closes it, so that its owner knows. */
static void on_exhausted(struct listener *listener)
{
	log_warn("out of file descriptors", LOG_U("connections", listener->count),
		LOG_S("cure", "raise the limit (LimitNOFILE=, ulimit -n)"));
	if (listener->reserve_fd >= 0) {
		close(listener->reserve_fd);
		int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			close(fd);
		listener->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	}
	back_off(listener);
}

/* Who opens connections and says nothing must not keep others out: the one that has been silent longest makes room. It
 * is gone at the end of the turn, so at most one turn's worth stands above the bound. */
static bool evict_oldest(struct listener *listener)
{
	struct incoming *oldest = NULL;
	for (uint32_t i = 0; i < listener->slot_count; i++) {
		struct incoming *incoming = listener->slots[i].incoming;
		if (incoming && incoming->state != INCOMING_OPEN && !incoming->evicted &&
			(!oldest || incoming->accepted_ns < oldest->accepted_ns))
			oldest = incoming;
	}
	if (!oldest || listener->greeting_count >= GREETING_MAX + ACCEPT_BUDGET)
		return false;
	oldest->evicted = true;
	connection_close(oldest->connection, "others wait; no HELLO came");
	return true;
}

static void on_acceptable(evutil_socket_t listen_fd, short what, void *arg)
{
	struct listener *listener = arg;
	(void)what;
	for (unsigned i = 0; i < ACCEPT_BUDGET; i++) {
		if (listener->greeting_count >= GREETING_MAX && !evict_oldest(listener)) {
			back_off(listener); /* the kernel's queue holds the rest */
			return;
		}
		int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			accept_one(listener, fd);
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			on_exhausted(listener);
			return;
		} else if (errno == EAGAIN || errno == EWOULDBLOCK) {
			return;
		} /* else: that one is gone already; the next */
	}
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct listener *listener = arg;
	(void)fd;
	(void)what;
	if (listener->accepting)
		event_add(listener->accept_event, NULL);
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct listener *listener = arg;
	uint64_t now_ns = clock_boot_ns();
	(void)fd;
	(void)what;
	if (listener->refusals_logged > REFUSALS_LOGGED_MAX)
		log_warn("more connections refused", LOG_U("count", listener->refusals_logged - REFUSALS_LOGGED_MAX));
	listener->refusals_logged = 0;
	relieve(listener);
	for (uint32_t i = 0; i < listener->slot_count && listener->greeting_count > 0; i++) {
		struct incoming *incoming = listener->slots[i].incoming;
		if (incoming && incoming->state == INCOMING_GREETING &&
			now_ns - incoming->accepted_ns > (uint64_t)GREETING_TIMEOUT_MS * 1000000)
			connection_close(incoming->connection, "no HELLO in time");
	}
}

/* --- life -------------------------------------------------------------------------------------- */

static int bind_to(const struct addrinfo *address, const char **why)
{
	int on = 1, fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		*why = strerror(errno);
		return -1;
	}
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, LISTEN_BACKLOG) == 0)
		return fd;
	*why = strerror(errno);
	close(fd);
	return -1;
}

static int bind_any(const char *address, const char **why)
{
	struct resolve *resolve;
	int fd = -1;
	*why = "not host:port";
	if (resolve_start(address, true, &resolve) != STATUS_OK)
		return -1;
	struct pollfd wait = { .fd = resolve_fd(resolve), .events = POLLIN };
	while (!resolve_done(resolve) && poll(&wait, 1, RESOLVE_TIMEOUT_MS) < 0 && errno == EINTR)
		;
	*why = "its name is not resolved in time";
	const struct addrinfo *at = resolve_done(resolve) ? resolve_answer(resolve, why) : NULL;
	for (; at && fd < 0; at = at->ai_next)
		fd = bind_to(at, why);
	resolve_release(resolve);
	return fd;
}

enum status listener_new(struct server *server, const char *address, struct listener **out, const char **why)
{
	struct timeval sweep = { SWEEP_MS / 1000, 0 };
	*out = NULL;
	*why = "out of memory";
	struct listener *listener = calloc(1, sizeof(*listener));
	if (!listener)
		return STATUS_NO_MEMORY;
	listener->server = server;
	listener->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	listener->fd = bind_any(address, why);
	if (listener->fd < 0) {
		listener_free(listener);
		return STATUS_CANNOT_CONNECT;
	}
	listener->accept_event = event_new(server->base, listener->fd, EV_READ | EV_PERSIST, on_acceptable, listener);
	listener->resume_event = event_new(server->base, -1, 0, on_resume, listener);
	listener->sweep_event = event_new(server->base, -1, EV_PERSIST, on_sweep, listener);
	if (!listener->accept_event || !listener->resume_event || !listener->sweep_event ||
		event_add(listener->sweep_event, &sweep) != 0) {
		*why = "out of memory";
		listener_free(listener);
		return STATUS_NO_MEMORY;
	}
	*out = listener;
	return STATUS_OK;
}

uint16_t listener_port(const struct listener *listener)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof(address);
	if (getsockname(listener->fd, (struct sockaddr *)&address, &size) != 0)
		return 0;
	if (address.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
	return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

enum status listener_begin(struct listener *listener)
{
	listener->budget.max = listener->server->limits.clients;
	listener->accepting = true;
	return event_add(listener->accept_event, NULL) == 0 ? STATUS_OK : STATUS_NO_MEMORY;
}

void listener_stop(struct listener *listener)
{
	listener->accepting = false;
	event_del(listener->accept_event);
}

uint32_t listener_inflight(const struct listener *listener)
{
	return listener->inflight;
}

void listener_judge_anew(struct listener *listener)
{
	struct server *server = listener->server;
	for (uint32_t i = 0; i < listener->slot_count; i++) {
		struct incoming *incoming = listener->slots[i].incoming;
		const char *why = server_revoked;
		if (!incoming || incoming->identity == 0)
			continue;
		if (connection_revoked(incoming->connection, server->own.revocations) ||
			node_admits(server->node, &incoming->who, &why) != STATUS_OK) {
			log_warn("connection not admitted any more",
				LOG_S("address", connection_address(incoming->connection)),
				LOG_S("place", incoming->who.place.text), LOG_S("name", incoming->who.name),
				LOG_S("why", why));
			connection_close(incoming->connection, why);
		} else if (incoming->peer && incoming->state == INCOMING_OPEN) {
			attribute(incoming);
		}
	}
}

void listener_free(struct listener *listener)
{
	if (!listener)
		return;
	for (uint32_t i = 0; i < listener->slot_count; i++) {
		struct incoming *incoming = listener->slots[i].incoming;
		if (!incoming)
			continue;
		connection_free(incoming->connection);
		incoming_free(incoming);
	}
	struct event *const events[] = { listener->accept_event, listener->resume_event, listener->sweep_event };
	for (unsigned i = 0; i < 3; i++)
		if (events[i])
			event_free(events[i]);
	if (listener->fd >= 0)
		close(listener->fd);
	if (listener->reserve_fd >= 0)
		close(listener->reserve_fd);
	free(listener->slots);
	free(listener);
}
