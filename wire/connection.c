/* wire/connection.c: see wire/connection.h.
 *
 *	RESOLVING -> CONNECTING -> HANDSHAKE -> OPEN -> CLOSED (then freed)
 *	accepted connections start in HANDSHAKE; every state may go to CLOSED
 *
 * Plain events and the pump of wire/tls.h. The hot path copies and allocates as little as it can: a message is encoded
 * straight into the output array; what one turn of the loop sent is encrypted and written once, by an event that is
 * activated at the first send and so runs behind everything that was ready in that turn: 64 answers are one record
 * and one system call. Frames are decoded where TLS put them.
 *
 * Invariants:
 *   - callbacks run from the loop, never from inside a connection_* call; `closed` is the last one, and the memory goes
 *     after it, so a callback may close its own connection;
 *   - bytes that TLS or the input array hold are invisible to epoll: whoever un-pauses schedules a turn;
 *   - what a connection is charged to its budget is what its arrays held when last they may have changed;
 *   - an accepted connection is not read while more than half of its output bound waits. A dialled one always is:
 *     if both ends stopped, neither would ever go on. */
#include "wire/connection.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "wire/frame.h"
#include "wire/resolve.h"

enum {
	ARRAY_SIZE_FIRST = 32 << 10,
	ARRAY_KEEP_MAX = 256 << 10, /* an empty array above this is given back */
	SOCKET_READ_SIZE = 64 << 10,
	READ_BUDGET = 256 << 10,  /* bytes of the socket per turn: then others have theirs */
	WRITE_BUDGET = 1 << 20,	  /* likewise */
	ENCODE_RESERVE = 1 << 10, /* room made before the size of a message is known */
	ADDRESS_SIZE = 300,
	WHY_SIZE = 256,
};

enum state { RESOLVING, CONNECTING, HANDSHAKE, OPEN, CLOSED };

struct array { /* begin..end waits; both 0 when empty */
	uint8_t *data;
	size_t begin, end, capacity;
};

struct connection {
	struct connection_options options;
	enum state state;
	int fd;
	bool dialled, paused;
	bool reading, writing; /* the event is in the loop */
	bool turn_wanted;      /* event_turn is active */
	bool input_left;       /* reading stopped with bytes in TLS or in `in` */
	bool active;	       /* something came since the timer last ran */
	struct tls *tls;
	struct array in, out; /* plain: frames */
	struct event *event_read, *event_write, *event_turn, *event_timer;
	struct resolve *resolve;
	const struct addrinfo *next_address; /* to try, of the resolve's */
	struct connection_budget *budget;    /* NULL: none */
	size_t charged;			     /* to it */
	int64_t expires_s;		     /* the other side's certificate; wall clock */
	struct certificate_name who;
	enum status close_status;
	char address[ADDRESS_SIZE];
	char why[WHY_SIZE];
};

/* A message lives until the next decode on its thread, and callbacks do not nest. */
static _Thread_local struct codec_scratch scratch;

static const char certificate_ended[] = "the other side's certificate has ended since";

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);
static void on_turn(evutil_socket_t fd, short what, void *arg);
static void on_timer(evutil_socket_t fd, short what, void *arg);

/* --- arrays ---------------------------------------------------------------------------------- */

static size_t array_size(const struct array *array)
{
	return array->end - array->begin;
}

/* The capacity at which it has so much room behind its bytes: what it has if that is enough. */
static size_t array_capacity_for(const struct array *array, size_t room)
{
	size_t capacity = array->capacity ? array->capacity : ARRAY_SIZE_FIRST;
	while (capacity - array_size(array) < room)
		capacity *= 2;
	return capacity;
}

static bool array_reserve(struct array *array, size_t room)
{
	if (array->capacity - array->end >= room)
		return true;
	if (array->begin > 0 && array->capacity - array_size(array) >= room) {
		memmove(array->data, array->data + array->begin, array_size(array));
		array->end -= array->begin;
		array->begin = 0;
		return true;
	}
	size_t capacity = array_capacity_for(array, room);
	uint8_t *grown = malloc(capacity);
	if (!grown)
		return false;
	if (array->end > array->begin)
		memcpy(grown, array->data + array->begin, array_size(array));
	free(array->data);
	*array = (struct array){ .data = grown, .end = array_size(array), .capacity = capacity };
	return true;
}

static void array_consume(struct array *array, size_t size)
{
	assert(size <= array_size(array));
	array->begin += size;
	if (array->begin < array->end)
		return;
	array->begin = array->end = 0;
	if (array->capacity > ARRAY_KEEP_MAX) {
		free(array->data);
		*array = (struct array){ 0 };
	}
}

/* --- memory ------------------------------------------------------------------------------------ */

size_t connection_memory(const struct connection *connection)
{
	return connection->in.capacity + connection->out.capacity + (connection->tls ? tls_memory(connection->tls) : 0);
}

/* After anything that may have made arrays grow or shrink. */
static void account(struct connection *connection)
{
	struct connection_budget *budget = connection->budget;
	if (!budget)
		return;
	size_t now = connection_memory(connection);
	assert(budget->used >= connection->charged);
	budget->used = budget->used - connection->charged + now;
	connection->charged = now;
}

/* NO_MEMORY: the machine has none; BUSY: the budget has none. */
static enum status reserve(struct connection *connection, struct array *array, size_t room)
{
	const struct connection_budget *budget = connection->budget;
	size_t capacity = array_capacity_for(array, room);
	if (budget && capacity > array->capacity && capacity > ARRAY_SIZE_FIRST &&
		budget->used + (capacity - array->capacity) > budget->max)
		return STATUS_BUSY;
	if (!array_reserve(array, room))
		return STATUS_NO_MEMORY;
	account(connection);
	return STATUS_OK;
}

static bool expired(const struct connection *connection)
{
	return connection->state == OPEN && (int64_t)(clock_wall_us() / 1000000) > connection->expires_s;
}

/* --- closing ----------------------------------------------------------------------------------- */

static void want_turn(struct connection *connection)
{
	if (connection->turn_wanted)
		return;
	connection->turn_wanted = true;
	event_active(connection->event_turn, EV_TIMEOUT, 0);
}

static void drop_socket(struct connection *connection)
{
	if (connection->event_read)
		event_free(connection->event_read);
	if (connection->event_write)
		event_free(connection->event_write);
	connection->event_read = connection->event_write = NULL;
	connection->reading = connection->writing = false;
	if (connection->fd >= 0)
		close(connection->fd);
	connection->fd = -1;
}

/* No more I/O from here on; `closed` follows from the loop. The first reason stays. */
static void fail(struct connection *connection, enum status status, const char *why)
{
	assert(status != STATUS_OK);
	if (connection->state == CLOSED)
		return;
	connection->state = CLOSED;
	connection->close_status = status;
	snprintf(connection->why, sizeof(connection->why), "%s", why);
	drop_socket(connection);
	want_turn(connection);
}

static void connection_destroy(struct connection *connection)
{
	drop_socket(connection);
	if (connection->event_turn)
		event_free(connection->event_turn);
	if (connection->event_timer)
		event_free(connection->event_timer);
	resolve_release(connection->resolve);
	if (connection->budget) {
		assert(connection->budget->used >= connection->charged);
		connection->budget->used -= connection->charged;
	}
	tls_free(connection->tls);
	free(connection->in.data);
	free(connection->out.data);
	free(connection);
}

/* --- output ------------------------------------------------------------------------------------ */

size_t connection_output_size(const struct connection *connection)
{
	return array_size(&connection->out) + (connection->tls ? tls_pending(connection->tls).size : 0);
}

static bool blocked(const struct connection *connection)
{
	if (connection->paused)
		return true;
	const struct connection_budget *budget = connection->budget;
	size_t size = connection_output_size(connection);
	if (budget && budget->used > budget->max / 2 && size > ARRAY_SIZE_FIRST)
		return true;
	return !connection->dialled && size > connection->options.output_size_max / 2;
}

/* Reads, or not, as pause and output want it. */
static void watch_reading(struct connection *connection)
{
	bool wanted = (connection->state == HANDSHAKE || connection->state == OPEN) && !blocked(connection);
	if (wanted && connection->input_left)
		want_turn(connection);
	if (wanted == connection->reading || !connection->event_read)
		return;
	connection->reading = wanted;
	if (wanted)
		event_add(connection->event_read, NULL);
	else
		event_del(connection->event_read);
}

static void watch_writing(struct connection *connection, bool wanted)
{
	if (wanted == connection->writing || !connection->event_write)
		return;
	connection->writing = wanted;
	if (wanted)
		event_add(connection->event_write, NULL);
	else
		event_del(connection->event_write);
}

/* To the socket what TLS has made. False: it takes no more now, or the connection failed. */
static bool write_pending(struct connection *connection, size_t *budget)
{
	struct bytes pending = tls_pending(connection->tls);
	while (pending.size > 0) {
		ssize_t sent = send(connection->fd, pending.data, pending.size, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0) {
			if (errno == EAGAIN || errno == EWOULDBLOCK)
				watch_writing(connection, true);
			else
				fail(connection, STATUS_CLOSED, strerror(errno));
			return false;
		}
		tls_consumed(connection->tls, (size_t)sent);
		*budget -= (size_t)sent < *budget ? (size_t)sent : *budget;
		connection->active = true;
		pending = tls_pending(connection->tls);
	}
	return true;
}

/* Encrypts a batch before it writes, so that the last flight of a handshake and the first messages go together. */
static void flush(struct connection *connection)
{
	struct array *out = &connection->out;
	size_t budget = WRITE_BUDGET;
	if (expired(connection))
		fail(connection, STATUS_DENIED, certificate_ended);
	while (connection->state == HANDSHAKE || connection->state == OPEN) {
		if (connection->state == OPEN && array_size(out) > 0) {
			struct bytes plain = bytes_of(out->data + out->begin, array_size(out));
			array_consume(out, tls_write(connection->tls, plain));
		}
		if (tls_pending(connection->tls).size == 0) {
			watch_writing(connection, false);
			break;
		}
		if (budget == 0) { /* others first; the socket is writable, so the loop comes back */
			watch_writing(connection, true);
			break;
		}
		if (!write_pending(connection, &budget))
			break;
	}
	account(connection);
	watch_reading(connection);
}

/* The payload is encoded behind the header's place; to be compressed it must stand elsewhere, so further behind. */
static enum status encode(struct connection *connection, const struct message *message, bool compress)
{
	struct array *out = &connection->out;
	size_t room = ENCODE_RESERVE, offset = FRAME_HEADER_SIZE;
	struct packer packer;
	for (unsigned attempt = 0;; attempt++) {
		assert(attempt < 2); /* the second knows the size */
		enum status status = reserve(connection, out, offset + room);
		if (status != STATUS_OK)
			return status;
		pack_init(&packer, out->data + out->end + offset, out->capacity - out->end - offset);
		message_encode(message, &packer);
		if (packer.size > FRAME_SIZE_MAX_PEER)
			return STATUS_TOO_LARGE;
		if (!packer.overflow)
			break;
		room = packer.size;
		if (compress && room > FRAME_COMPRESS_ABOVE)
			offset = frame_size_bound(room);
	}
	compress = compress && packer.size > FRAME_COMPRESS_ABOVE;
	size_t bound = frame_size_bound(packer.size);
	size_t queued = connection_output_size(connection);
	if (queued > 0 && queued + bound > connection->options.output_size_max)
		return STATUS_BUSY;
	struct bytes payload = bytes_of(out->data + out->end + offset, packer.size);
	if (compress && offset < bound) { /* it fitted at once: make the room that LZ4 needs and move it there */
		enum status status = reserve(connection, out, offset + bound + packer.size);
		if (status != STATUS_OK)
			return status;
		pack_init(&packer, out->data + out->end + bound, packer.size);
		message_encode(message, &packer);
		payload = bytes_of(out->data + out->end + bound, packer.size);
	}
	out->end += frame_encode(payload, compress, out->data + out->end, out->capacity - out->end);
	assert(out->end <= out->capacity);
	return STATUS_OK;
}

enum status connection_send(struct connection *connection, const struct message *message)
{
	if (connection->state == CLOSED)
		return STATUS_CLOSED;
	if (connection_output_size(connection) >= connection->options.output_size_max)
		return STATUS_BUSY;
	enum status status = encode(connection, message, connection->options.compress);
	if (status != STATUS_OK)
		return status;
	if (connection->state == OPEN && !connection->writing)
		want_turn(connection);
	return STATUS_OK;
}

/* --- input ------------------------------------------------------------------------------------- */

static enum status deliver(struct connection *connection, const uint8_t *frame, const struct frame_header *header)
{
	uint8_t *expanded = NULL;
	struct bytes payload;
	struct message message;
	enum status status = STATUS_NO_MEMORY;
	if (header->compressed) {
		expanded = malloc(header->size);
		if (!expanded)
			goto done;
	}
	status = frame_payload_decode(frame, header, frame + FRAME_HEADER_SIZE, expanded, &payload);
	if (status == STATUS_OK)
		status = message_decode(payload, &scratch, &message);
	if (status == STATUS_OK) {
		status = connection->options.events->received(connection, connection->options.arg, &message);
		if (status != STATUS_OK)
			fail(connection, status, "refused by the receiver of the message");
	} else {
		fail(connection, status,
			status == STATUS_UNSUPPORTED ? "a message of an unknown kind" : "a malformed message");
	}
done:
	free(expanded);
	return status;
}

/* Whole frames of the input array. More than one turn's worth cannot be there: reading is bounded by turn. */
static void parse(struct connection *connection)
{
	struct array *in = &connection->in;
	while (connection->state == OPEN && array_size(in) >= FRAME_HEADER_SIZE) {
		struct frame_header header;
		const uint8_t *frame = in->data + in->begin;
		if (blocked(connection)) {
			connection->input_left = true;
			return;
		}
		enum status status = frame_header_decode(frame, connection->options.frame_size_max, &header);
		if (status != STATUS_OK) {
			fail(connection, status,
				status == STATUS_TOO_LARGE     ? "a frame above the size that is allowed"
				: status == STATUS_UNSUPPORTED ? "a frame of an unknown newer version"
							       : "bytes that are no frame");
			return;
		}
		if (array_size(in) - FRAME_HEADER_SIZE < header.wire_size)
			return;
		status = deliver(connection, frame, &header);
		if (status == STATUS_NO_MEMORY)
			fail(connection, status, "out of memory");
		if (status != STATUS_OK)
			return;
		array_consume(in, FRAME_HEADER_SIZE + header.wire_size);
	}
}

static void arm_idle_timer(struct connection *connection)
{
	uint32_t timeout_ms = connection->options.idle_timeout_ms;
	struct timeval idle = { timeout_ms / 1000, (timeout_ms % 1000) * 1000 };
	event_del(connection->event_timer);
	if (timeout_ms > 0)
		event_add(connection->event_timer, &idle);
}

static void establish(struct connection *connection)
{
	const char *why = "the certificate does not say who signed it";
	uint8_t issuer[32];
	struct x509_st *signer = tls_peer_issuer(connection->tls);
	enum status status = signer ? certificate_spki_sha256(signer, issuer) : STATUS_DENIED;
	if (status == STATUS_OK)
		status = certificate_name_of(tls_peer_certificate(connection->tls), &connection->who, &why);
	if (status == STATUS_OK) {
		connection->state = OPEN;
		connection->expires_s = tls_peer_expires_s(connection->tls);
		why = "refused";
		status = connection->options.events->established(
			connection, connection->options.arg, &connection->who, issuer, &why);
	}
	if (status != STATUS_OK) {
		fail(connection, status, why);
		return;
	}
	if (connection->state != OPEN)
		return;
	arm_idle_timer(connection);
	want_turn(connection); /* what was queued before goes out, after TLS's last flight */
}

/* Plain bytes out of TLS and messages out of those, until there are no more or reading is to stop. */
static void drain(struct connection *connection)
{
	struct array *in = &connection->in;
	connection->input_left = false;
	parse(connection);
	while (connection->state == OPEN && !connection->input_left) {
		/* Grown as bytes come, by at most what is there already: a claimed size alone allocates nothing. */
		enum status reserved = reserve(connection, in, array_size(in) < 4096 ? 4096 : array_size(in));
		if (reserved != STATUS_OK) {
			fail(connection, reserved,
				reserved == STATUS_BUSY ? "no room for so large a frame at the moment"
							: "out of memory");
			return;
		}
		size_t got = tls_read(connection->tls, in->data + in->end, in->capacity - in->end);
		if (got == 0)
			break;
		in->end += got;
		parse(connection);
	}
	const char *why;
	enum status status = tls_status(connection->tls, &why);
	if (status != STATUS_OK && connection->state != CLOSED && !connection->input_left)
		fail(connection, status, why);
}

static void fed(struct connection *connection, struct bytes wire)
{
	const char *why;
	enum status status = tls_feed(connection->tls, wire, &why);
	connection->active = true;
	if (tls_pending(connection->tls).size > 0)
		want_turn(connection);
	if (status != STATUS_OK) {
		size_t budget = WRITE_BUDGET;
		write_pending(connection, &budget); /* the alert that says why */
		fail(connection, status, why);
		return;
	}
	if (connection->state == HANDSHAKE && tls_established(connection->tls))
		establish(connection);
	if (connection->state == OPEN)
		drain(connection);
	account(connection);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct connection *connection = arg;
	uint8_t wire[SOCKET_READ_SIZE];
	(void)what;
	if (expired(connection)) {
		fail(connection, STATUS_DENIED, certificate_ended);
		return;
	}
	for (size_t budget = READ_BUDGET; connection->reading && budget >= sizeof(wire); budget -= sizeof(wire)) {
		ssize_t got = recv(fd, wire, sizeof(wire), 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		if (got <= 0) {
			fail(connection, STATUS_CLOSED,
				got == 0 ? "the other side closed the connection" : strerror(errno));
			return;
		}
		fed(connection, bytes_of(wire, (size_t)got));
		if (connection->state == CLOSED)
			return;
		watch_reading(connection);
		if ((size_t)got < sizeof(wire))
			break;
	}
}

/* --- set-up ------------------------------------------------------------------------------------ */

static enum status connection_new(const struct connection_options *options, struct connection **out)
{
	assert(options->events);
	assert(options->frame_size_max <= FRAME_SIZE_MAX_PEER);
	struct connection *connection = calloc(1, sizeof(*connection));
	*out = NULL;
	if (!connection)
		return STATUS_NO_MEMORY;
	connection->options = *options;
	connection->fd = -1;
	connection->event_turn = event_new(options->base, -1, 0, on_turn, connection);
	connection->event_timer = event_new(options->base, -1, EV_PERSIST, on_timer, connection);
	if (!connection->event_turn || !connection->event_timer) {
		connection_destroy(connection);
		return STATUS_NO_MEMORY;
	}
	if (options->connect_timeout_ms > 0) {
		struct timeval timeout = { options->connect_timeout_ms / 1000,
			(options->connect_timeout_ms % 1000) * 1000 };
		event_add(connection->event_timer, &timeout);
	}
	*out = connection;
	return STATUS_OK;
}

static enum status adopt(struct connection *connection, int fd)
{
	int on = 1;
	connection->fd = fd;
	evutil_make_socket_nonblocking(fd);
	evutil_make_socket_closeonexec(fd);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* a socketpair has no such thing */
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	int idle_s = 15, interval_s = 5, probes = 4;
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	unsigned unacked_ms = connection->options.unacked_timeout_ms;
	if (unacked_ms > 0)
		setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked_ms, sizeof(unacked_ms));
	struct event_base *base = connection->options.base;
	connection->event_read = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, connection);
	connection->event_write = event_new(base, fd, EV_WRITE | EV_PERSIST, on_writable, connection);
	return connection->event_read && connection->event_write ? STATUS_OK : STATUS_NO_MEMORY;
}

static enum status begin_tls(struct connection *connection)
{
	connection->tls = tls_new(connection->options.tls, !connection->dialled, connection->options.alpn);
	if (!connection->tls)
		return STATUS_NO_MEMORY;
	connection->state = HANDSHAKE;
	watch_reading(connection);
	flush(connection);
	return STATUS_OK;
}

/* The next address, or the reason why there is none. */
static void connect_next(struct connection *connection, const char *why)
{
	while (connection->next_address) {
		const struct addrinfo *to = connection->next_address;
		connection->next_address = to->ai_next;
		drop_socket(connection);
		int fd = socket(to->ai_family, to->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, to->ai_protocol);
		if (fd < 0) {
			why = strerror(errno);
			continue;
		}
		if (adopt(connection, fd) != STATUS_OK) {
			fail(connection, STATUS_NO_MEMORY, "out of memory");
			return;
		}
		if (connect(fd, to->ai_addr, to->ai_addrlen) == 0 || errno == EINPROGRESS) {
			connection->state = CONNECTING;
			watch_writing(connection, true);
			return;
		}
		why = strerror(errno);
	}
	fail(connection, STATUS_CANNOT_CONNECT, why);
}

static void on_resolved(struct connection *connection)
{
	const char *why;
	connection->next_address = resolve_answer(connection->resolve, &why);
	drop_socket(connection);
	connect_next(connection, why);
}

static void on_resolve_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	on_resolved(arg);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct connection *connection = arg;
	(void)what;
	if (connection->state != CONNECTING) {
		flush(connection);
		return;
	}
	int error = 0;
	socklen_t size = sizeof(error);
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
	if (error) {
		connect_next(connection, strerror(error));
		return;
	}
	watch_writing(connection, false);
	if (begin_tls(connection) != STATUS_OK)
		fail(connection, STATUS_NO_MEMORY, "out of memory");
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct connection *connection = arg;
	(void)fd;
	(void)what;
	if (connection->state != OPEN)
		fail(connection, STATUS_TIMED_OUT,
			connection->state == HANDSHAKE ? "no handshake in time" : "no connection in time");
	else if (!connection->active)
		fail(connection, STATUS_TIMED_OUT, "nothing came for too long");
	connection->active = false;
}

/* Everything that was put off to the end of this turn of the loop. */
static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct connection *connection = arg;
	(void)fd;
	(void)what;
	connection->turn_wanted = false;
	if (connection->state == RESOLVING && resolve_done(connection->resolve) && resolve_fd(connection->resolve) < 0)
		on_resolved(connection);
	if (connection->state == OPEN && connection->input_left && !blocked(connection))
		drain(connection);
	flush(connection);
	if (connection->state != CLOSED)
		return;
	connection->options.events->closed(
		connection, connection->options.arg, connection->close_status, connection->why);
	connection_destroy(connection);
}

enum status connection_dial(const struct connection_options *options, const char *address, struct connection **out)
{
	enum status status = connection_new(options, out);
	if (status != STATUS_OK)
		return status;
	struct connection *connection = *out;
	connection->dialled = true;
	connection->state = RESOLVING;
	snprintf(connection->address, sizeof(connection->address), "%s", address);
	status = resolve_start(address, false, &connection->resolve);
	if (status != STATUS_OK)
		goto undo;
	if (resolve_done(connection->resolve) && resolve_fd(connection->resolve) < 0) {
		want_turn(connection); /* connects from the loop, so that no callback comes from in here */
		return STATUS_OK;
	}
	connection->event_read =
		event_new(options->base, resolve_fd(connection->resolve), EV_READ, on_resolve_readable, connection);
	status = STATUS_NO_MEMORY;
	if (!connection->event_read || event_add(connection->event_read, NULL) != 0)
		goto undo;
	return STATUS_OK;
undo:
	connection_destroy(connection);
	*out = NULL;
	return status;
}

static void name_other_side(struct connection *connection)
{
	struct sockaddr_storage peer;
	socklen_t size = sizeof(peer);
	char host[NI_MAXHOST], port[NI_MAXSERV];
	snprintf(connection->address, sizeof(connection->address), "unknown");
	if (getpeername(connection->fd, (struct sockaddr *)&peer, &size) != 0 || peer.ss_family == AF_UNIX)
		return;
	if (getnameinfo((struct sockaddr *)&peer, size, host, sizeof(host), port, sizeof(port),
		    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		return;
	if (strchr(host, ':'))
		snprintf(connection->address, sizeof(connection->address), "[%.200s]:%.32s", host, port);
	else
		snprintf(connection->address, sizeof(connection->address), "%.200s:%.32s", host, port);
}

enum status connection_accept(const struct connection_options *options, int fd, struct connection **out)
{
	enum status status = connection_new(options, out);
	if (status != STATUS_OK)
		return status;
	struct connection *connection = *out;
	status = adopt(connection, fd);
	name_other_side(connection);
	if (status == STATUS_OK)
		status = begin_tls(connection);
	if (status == STATUS_OK)
		return status;
	connection->fd = -1; /* stays the caller's */
	connection_destroy(connection);
	*out = NULL;
	return status;
}

/* --- the rest of the face ------------------------------------------------------------------------- */

void connection_close(struct connection *connection, const char *why)
{
	if (connection->state == CLOSED)
		return;
	flush(connection);
	if (connection->state == OPEN && array_size(&connection->out) == 0) {
		size_t budget = WRITE_BUDGET;
		tls_shutdown(connection->tls);
		write_pending(connection, &budget);
	}
	fail(connection, STATUS_CLOSED, why);
}

void connection_free(struct connection *connection)
{
	if (connection)
		connection_destroy(connection);
}

void connection_set_arg(struct connection *connection, void *arg)
{
	connection->options.arg = arg;
}

void connection_set_events(struct connection *connection, const struct connection_events *events, void *arg)
{
	assert(events);
	connection->options.events = events;
	connection->options.arg = arg;
}

void connection_set_frame_size_max(struct connection *connection, uint32_t size_max)
{
	assert(size_max <= FRAME_SIZE_MAX_PEER);
	connection->options.frame_size_max = size_max;
}

void connection_set_compress(struct connection *connection, bool compress)
{
	connection->options.compress = compress;
}

void connection_set_budget(struct connection *connection, struct connection_budget *budget)
{
	assert(budget);
	assert(!connection->budget);
	connection->budget = budget;
	account(connection);
}

void connection_set_idle_timeout(struct connection *connection, uint32_t timeout_ms)
{
	connection->options.idle_timeout_ms = timeout_ms;
	if (connection->state == OPEN)
		arm_idle_timer(connection);
}

void connection_pause_reading(struct connection *connection, bool pause)
{
	if (pause == connection->paused)
		return;
	connection->paused = pause;
	if (!pause)
		connection->input_left = true; /* perhaps: a turn finds out */
	watch_reading(connection);
}

const struct certificate_name *connection_who(const struct connection *connection)
{
	return &connection->who;
}

enum tls_alpn connection_alpn(const struct connection *connection)
{
	return tls_alpn(connection->tls);
}

const char *connection_address(const struct connection *connection)
{
	return connection->address;
}

bool connection_revoked(const struct connection *connection, const struct revocations *revocations)
{
	return connection->tls && tls_peer_revoked(connection->tls, revocations);
}
