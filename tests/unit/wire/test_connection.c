/* Connections over real sockets on a real loop: messages there and back, batching, bounds, and each way to be closed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/prng.h"
#include "tests/unit/wire/authority.h"
#include "wire/connection.h"
#include "wire/frame.h"

static struct cast cast;
static struct event_base *base;
static struct tls_context *node_context, *app_context;

static struct tls_context *context_of(const char *name)
{
	struct tls_context *context;
	const char *why;
	if (tls_context_new(authority_path(name, ".crt"), authority_path(name, ".key"), authority_path("cas", ".pem"),
		    &context, &why) != STATUS_OK)
		fail_msg("%s: %s", name, why);
	return context;
}

static int set_up(void **state)
{
	(void)state;
	cast_begin(&cast);
	base = event_base_new();
	node_context = context_of("eu-n1");
	app_context = context_of("app");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	tls_context_free(node_context);
	tls_context_free(app_context);
	event_base_free(base);
	cast_end(&cast);
	return 0;
}

/* --- one side, and what it has seen ------------------------------------------------------------------- */

struct side {
	struct connection *connection;
	bool established, closed, echo, refuse, pause_each, close_on_message;
	unsigned received, answered;
	uint64_t last_request;
	uint64_t bytes, value_hash;
	enum status status, refuse_message;
	char why[256], place[256];
};

static uint64_t fold(uint64_t hash, struct bytes bytes)
{
	const uint8_t *data = bytes.data;
	for (size_t i = 0; i < bytes.size; i++)
		hash = (hash ^ data[i]) * 1099511628211u;
	return hash;
}

static enum status on_established(struct connection *connection, void *arg, const struct certificate_name *who,
	const uint8_t issuer[32], const char **why)
{
	struct side *side = arg;
	uint8_t expected[32];
	assert_int_equal(certificate_spki_sha256(cast.eu.certificate, expected), STATUS_OK);
	assert_memory_equal(issuer, expected, 32);
	assert_ptr_equal(connection_who(connection), who);
	side->established = true;
	strcpy(side->place, who->place);
	*why = "not in the mood";
	return side->refuse ? STATUS_DENIED : STATUS_OK;
}

static enum status on_received(struct connection *connection, void *arg, const struct message *message)
{
	struct side *side = arg;
	if (side->refuse_message != STATUS_OK)
		return side->refuse_message;
	assert_true(message->request > side->last_request); /* in order */
	side->last_request = message->request;
	side->received++;
	if (message->kind == MESSAGE_REQUEST) {
		side->bytes += message->ask.value.size;
		side->value_hash = fold(side->value_hash, message->ask.value);
	}
	if (side->echo && connection_send(connection, message) == STATUS_OK)
		side->answered++;
	if (side->pause_each)
		connection_pause_reading(connection, true);
	if (side->close_on_message)
		connection_close(connection, "enough");
	return STATUS_OK;
}

static void on_closed(struct connection *connection, void *arg, enum status status, const char *why)
{
	struct side *side = arg;
	assert_ptr_equal(connection, side->connection);
	assert_false(side->closed);
	side->closed = true;
	side->status = status;
	side->connection = NULL;
	snprintf(side->why, sizeof(side->why), "%s", why);
}

static const struct connection_events events = { on_established, on_received, on_closed };

static struct connection_options options_of(struct side *side, bool server)
{
	memset(side, 0, sizeof(*side));
	return (struct connection_options){
		.base = base,
		.tls = server ? node_context : app_context,
		.alpn = server ? TLS_ALPN_ANY : TLS_ALPN_CLIENT,
		.frame_size_max = FRAME_SIZE_MAX_CLIENT,
		.output_size_max = 8 << 20,
		.connect_timeout_ms = 5000,
		.events = &events,
		.arg = side,
	};
}

/* --- a listener on loopback ------------------------------------------------------------------------------ */

static int listen_fd = -1;
static char listen_address[64];

static void listen_begin(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	listen_fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(listen_fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(listen_fd, 8), 0);
	assert_int_equal(getsockname(listen_fd, (struct sockaddr *)&address, &size), 0);
	snprintf(listen_address, sizeof(listen_address), "127.0.0.1:%u", ntohs(address.sin_port));
}

static void connect_sides(struct side *client, struct connection_options client_options, struct side *server,
	struct connection_options server_options)
{
	listen_begin();
	assert_int_equal(connection_dial(&client_options, listen_address, &client->connection), STATUS_OK);
	/* The dial connects from the loop; accept waits in the kernel until then. */
	event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	int fd = accept(listen_fd, NULL, NULL);
	assert_true(fd >= 0);
	close(listen_fd);
	assert_int_equal(connection_accept(&server_options, fd, &server->connection), STATUS_OK);
	assert_true(strncmp(connection_address(server->connection), "127.0.0.1:", 10) == 0);
}

static void stop(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	*(bool *)arg = true;
}

/* Turns the loop until the condition holds, at most for ten seconds. */
#define UNTIL(condition)                                                                                               \
	do {                                                                                                           \
		bool over = false;                                                                                     \
		struct event *limit = event_new(base, -1, 0, stop, &over);                                             \
		struct timeval ten = { 10, 0 };                                                                        \
		event_add(limit, &ten);                                                                                \
		while (!(condition) && !over)                                                                          \
			event_base_loop(base, EVLOOP_ONCE);                                                            \
		event_free(limit);                                                                                     \
		if (over)                                                                                              \
			fail_msg("not within ten seconds: %s", #condition);                                            \
	} while (0)

static void finish(struct side *a, struct side *b)
{
	connection_free(a->connection);
	connection_free(b->connection);
}

static struct message request_of(uint64_t request, struct bytes value)
{
	struct message message = { .kind = MESSAGE_REQUEST, .request = request };
	message.ask.operation = OPERATION_PUT;
	message.ask.key = bytes_text("key");
	message.ask.value = value;
	return message;
}

/* --- tests ------------------------------------------------------------------------------------------------ */

static void messages_go_there_and_back(void **state)
{
	(void)state;
	static uint8_t value[1 << 20];
	struct side client, server;
	struct prng prng;
	uint64_t hash = 0;
	prng_seed(&prng, 7);
	for (size_t i = 0; i < sizeof(value); i++)
		value[i] = (uint8_t)prng_next(&prng);
	connect_sides(&client, options_of(&client, false), &server, options_of(&server, true));
	server.echo = true;
	for (unsigned i = 1; i <= 500; i++) {
		size_t size = i % 100 == 0 ? sizeof(value) - i : prng_below(&prng, 3000);
		struct message message = request_of(i, bytes_of(value, size));
		assert_int_equal(connection_send(client.connection, &message), STATUS_OK);
		hash = fold(hash, message.ask.value);
	}
	UNTIL(client.received == 500);
	assert_int_equal(server.received, 500);
	assert_true(server.value_hash == hash);
	assert_true(client.value_hash == hash);
	assert_string_equal(client.place, "eu/ie/eu-west-1/a/n1");
	assert_string_equal(server.place, "eu/ie/eu-west-1");
	assert_int_equal(connection_alpn(server.connection), TLS_ALPN_CLIENT);
	assert_int_equal(connection_output_size(client.connection), 0);
	finish(&client, &server);
}

static void compressed_frames_go_through(void **state)
{
	(void)state;
	static uint8_t value[300000]; /* zeros */
	struct side client, server;
	connect_sides(&client, options_of(&client, false), &server, options_of(&server, true));
	connection_set_compress(client.connection, true);
	for (unsigned i = 1; i <= 20; i++) {
		struct message message = request_of(i, bytes_of(value, i * 15000));
		size_t before = connection_output_size(client.connection);
		assert_int_equal(connection_send(client.connection, &message), STATUS_OK);
		assert_true(connection_output_size(client.connection) - before < 3000);
	}
	struct message small = request_of(21, bytes_of(value, 10));
	assert_int_equal(connection_send(client.connection, &small), STATUS_OK);
	UNTIL(server.received == 21);
	assert_int_equal(server.bytes, 15000 * 210 + 10);
	finish(&client, &server);
}

/* What an accepted connection sends in one turn is one record: 5 bytes of header, 1 of type, 16 of tag more. */
static void one_turn_is_one_record(void **state)
{
	(void)state;
	int pair[2];
	struct side server;
	struct connection_options server_options = options_of(&server, true);
	uint8_t buffer[65536];
	const char *why;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(connection_accept(&server_options, pair[0], &server.connection), STATUS_OK);
	struct tls *client = tls_new(app_context, false, TLS_ALPN_CLIENT);
	for (unsigned turn = 0; turn < 100 && !server.established; turn++) {
		struct bytes pending = tls_pending(client);
		assert_int_equal(write(pair[1], pending.data, pending.size), pending.size);
		tls_consumed(client, pending.size);
		event_base_loop(base, EVLOOP_NONBLOCK);
		ssize_t got = read(pair[1], buffer, sizeof(buffer));
		if (got > 0)
			assert_int_equal(tls_feed(client, bytes_of(buffer, (size_t)got), &why), STATUS_OK);
	}
	assert_true(server.established);
	event_base_loop(base, EVLOOP_NONBLOCK);
	for (unsigned i = 1; i <= 64; i++) {
		struct message message = request_of(i, bytes_text("v"));
		assert_int_equal(connection_send(server.connection, &message), STATUS_OK);
	}
	size_t plain = connection_output_size(server.connection);
	assert_true(plain < 16384);
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(connection_output_size(server.connection), 0);
	assert_int_equal(read(pair[1], buffer, sizeof(buffer)), plain + 5 + 1 + 16);
	tls_free(client);
	close(pair[1]);
	connection_free(server.connection);
}

static void output_is_bounded_and_a_deaf_peer_is_not_read(void **state)
{
	(void)state;
	static uint8_t value[50000];
	struct side client, server;
	struct connection_options server_options = options_of(&server, true);
	server_options.output_size_max = 400000;
	connect_sides(&client, options_of(&client, false), &server, server_options);
	server.echo = true;
	UNTIL(client.established && server.established);
	connection_pause_reading(client.connection, true);
	for (unsigned i = 1; i <= 150; i++) {
		struct message message = request_of(i, bytes_of(value, sizeof(value)));
		assert_int_equal(connection_send(client.connection, &message), STATUS_OK);
	}
	for (unsigned turn = 0; turn < 2000; turn++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	assert_true(connection_output_size(server.connection) <= 400000);
	assert_int_equal(server.received, server.answered); /* reading stopped before anything had to be refused */
	assert_true(server.received < 150);
	connection_pause_reading(client.connection, false);
	UNTIL(client.received == 150);
	finish(&client, &server);
}

static void a_full_queue_says_busy_and_takes_nothing(void **state)
{
	(void)state;
	static uint8_t value[60000];
	struct side client, server;
	struct connection_options client_options = options_of(&client, false);
	client_options.output_size_max = 100000;
	connect_sides(&client, client_options, &server, options_of(&server, true));
	struct message message = request_of(1, bytes_of(value, sizeof(value)));
	assert_int_equal(connection_send(client.connection, &message), STATUS_OK);
	size_t size = connection_output_size(client.connection);
	message.request = 2;
	assert_int_equal(connection_send(client.connection, &message), STATUS_BUSY);
	assert_int_equal(connection_output_size(client.connection), size);
	message = request_of(3, bytes_of(value, 10000));
	assert_int_equal(connection_send(client.connection, &message), STATUS_OK);
	UNTIL(server.received == 2);
	assert_int_equal(server.bytes, 70000);
	finish(&client, &server);
}

static void a_paused_side_gets_what_waits_when_it_goes_on(void **state)
{
	(void)state;
	struct side client, server;
	connect_sides(&client, options_of(&client, false), &server, options_of(&server, true));
	server.pause_each = true;
	for (unsigned i = 1; i <= 30; i++) {
		struct message message = request_of(i, bytes_text("v"));
		assert_int_equal(connection_send(client.connection, &message), STATUS_OK);
	}
	for (unsigned i = 1; i <= 30; i++) {
		UNTIL(server.received == i);
		for (unsigned turn = 0; turn < 5; turn++)
			event_base_loop(base, EVLOOP_NONBLOCK);
		assert_int_equal(server.received, i); /* one at a time, though all had come at once */
		connection_pause_reading(server.connection, false);
	}
	finish(&client, &server);
}

static void closing_tells_both_sides(void **state)
{
	(void)state;
	struct side client, server;
	connect_sides(&client, options_of(&client, false), &server, options_of(&server, true));
	server.close_on_message = true;
	server.echo = true;
	struct message message = request_of(1, bytes_text("v"));
	assert_int_equal(connection_send(client.connection, &message), STATUS_OK);
	UNTIL(client.closed && server.closed);
	assert_int_equal(client.received, 1); /* what was queued before the close still came */
	assert_int_equal(server.status, STATUS_CLOSED);
	assert_string_equal(server.why, "enough");
	assert_int_equal(client.status, STATUS_CLOSED);
	assert_string_equal(client.why, "the other side closed the connection");
}

static void a_refusal_at_the_door_closes(void **state)
{
	(void)state;
	struct side client, server;
	connect_sides(&client, options_of(&client, false), &server, options_of(&server, true));
	server.refuse = true;
	UNTIL(client.closed && server.closed);
	assert_int_equal(server.status, STATUS_DENIED);
	assert_string_equal(server.why, "not in the mood");
	assert_int_equal(server.received, 0);
}

static void a_receiver_may_refuse_a_message(void **state)
{
	(void)state;
	struct side client, server;
	connect_sides(&client, options_of(&client, false), &server, options_of(&server, true));
	server.refuse_message = STATUS_DENIED;
	struct message message = request_of(1, bytes_text("v"));
	assert_int_equal(connection_send(client.connection, &message), STATUS_OK);
	UNTIL(client.closed && server.closed);
	assert_int_equal(server.status, STATUS_DENIED);
	assert_int_equal(server.received, 0);
}

static void a_wrong_certificate_closes_with_its_reason(void **state)
{
	(void)state;
	struct side client, server;
	leaf_write(&cast.eu, "past",
		&(struct leaf_form){
			.names = "DNS:p.client.eu-west-1.ie.eu.place.acme", .from_s = -7200, .to_s = -3600 });
	struct tls_context *past = context_of("past");
	struct connection_options client_options = options_of(&client, false);
	client_options.tls = past;
	connect_sides(&client, client_options, &server, options_of(&server, true));
	struct message message = request_of(1, bytes_text("v"));
	assert_int_equal(connection_send(client.connection, &message), STATUS_OK);
	UNTIL(client.closed && server.closed);
	assert_int_equal(server.status, STATUS_DENIED);
	assert_non_null(strstr(server.why, "expired"));
	assert_false(server.established);
	assert_int_equal(client.status, STATUS_DENIED);
	assert_non_null(strstr(client.why, "the other side refused"));
	assert_non_null(strstr(client.why, "expired"));
	tls_context_free(past);
}

/* A certificate that OpenSSL accepts and whose form we do not. */
static void a_wrong_form_closes_with_its_reason(void **state)
{
	(void)state;
	struct side client, server;
	leaf_write(&cast.eu, "uri", &(struct leaf_form){ .names = "URI:spiffe://acme/n1" });
	struct tls_context *uri = context_of("uri");
	struct connection_options client_options = options_of(&client, false);
	client_options.tls = uri;
	connect_sides(&client, client_options, &server, options_of(&server, true));
	UNTIL(client.closed && server.closed);
	assert_int_equal(server.status, STATUS_DENIED);
	assert_non_null(strstr(server.why, "not a DNS name"));
	assert_false(server.established);
	tls_context_free(uri);
}

/* A client of our own TLS that then sends bytes of its choice. */
static void check_frame(const void *frame, size_t size, enum status status, const char *reason)
{
	int pair[2];
	struct side server;
	struct connection_options server_options = options_of(&server, true);
	server_options.frame_size_max = FRAME_SIZE_MAX_GREETING;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(connection_accept(&server_options, pair[0], &server.connection), STATUS_OK);
	struct tls *client = tls_new(app_context, false, TLS_ALPN_CLIENT);
	bool written = false;
	for (unsigned turn = 0; turn < 1000 && !server.closed; turn++) {
		uint8_t buffer[16384];
		const char *why;
		struct bytes pending = tls_pending(client);
		if (pending.size > 0) {
			assert_int_equal(write(pair[1], pending.data, pending.size), pending.size);
			tls_consumed(client, pending.size);
		}
		event_base_loop(base, EVLOOP_NONBLOCK);
		ssize_t got = read(pair[1], buffer, sizeof(buffer));
		if (got > 0)
			assert_int_not_equal(tls_feed(client, bytes_of(buffer, (size_t)got), &why), STATUS_INVALID);
		if (tls_established(client) && !written) {
			assert_int_equal(tls_write(client, bytes_of(frame, size)), size);
			written = true;
		}
	}
	assert_true(server.established);
	assert_true(server.closed);
	assert_int_equal(server.status, status);
	if (!strstr(server.why, reason))
		fail_msg("'%s' does not say '%s'", server.why, reason);
	tls_free(client);
	close(pair[1]);
}

static void wrong_frames_close(void **state)
{
	(void)state;
	uint8_t frame[1000], payload[600];
	check_frame("GET / HTTP/1.1\r\n\r\n", 18, STATUS_INVALID, "no frame");
	memset(payload, 0xee, sizeof(payload));
	size_t size = frame_encode(bytes_of(payload, sizeof(payload)), false, frame, sizeof(frame));
	check_frame(frame, size, STATUS_UNSUPPORTED, "unknown kind");
	payload[0] = MESSAGE_PING;
	size = frame_encode(bytes_of(payload, 3), false, frame, sizeof(frame));
	check_frame(frame, size, STATUS_INVALID, "malformed message");
	size = frame_encode(bytes_of(payload, sizeof(payload)), false, frame, sizeof(frame));
	frame[size - 1] ^= 1;
	check_frame(frame, size, STATUS_INVALID, "malformed message");
	frame[2] = 9;
	check_frame(frame, size, STATUS_UNSUPPORTED, "newer version");
	frame[2] = 1;
	frame[6] = frame[10] = 1; /* 64 KiB claimed where 16 are allowed: refused at the header */
	check_frame(frame, FRAME_HEADER_SIZE, STATUS_TOO_LARGE, "above the size");
}

static void a_dial_that_fails_says_why(void **state)
{
	(void)state;
	struct side client;
	struct connection_options options = options_of(&client, false);
	listen_begin();
	close(listen_fd); /* nobody listens there any more */
	assert_int_equal(connection_dial(&options, listen_address, &client.connection), STATUS_OK);
	assert_false(client.closed);
	UNTIL(client.closed);
	assert_int_equal(client.status, STATUS_CANNOT_CONNECT);
	assert_string_equal(client.why, strerror(ECONNREFUSED));
	static const char *const wrong[] = { "", "host", "host:", ":7470", "host:x", "host:70000", "::1:7470",
		"[::1:7470", "[]:7470" };
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(connection_dial(&options, wrong[i], &client.connection), STATUS_INVALID);
}

static void names_are_looked_up(void **state)
{
	(void)state;
	struct side client, nobody;
	char address[80];
	struct connection_options options = options_of(&client, false);
	listen_begin();
	snprintf(address, sizeof(address), "localhost%s", strchr(listen_address, ':'));
	assert_int_equal(connection_dial(&options, address, &client.connection), STATUS_OK);
	/* localhost may be ::1 first, where nobody listens: the next address is tried. */
	int fd = -1;
	evutil_make_socket_nonblocking(listen_fd);
	UNTIL((fd = accept(listen_fd, NULL, NULL)) >= 0);
	assert_false(client.closed);
	connection_free(client.connection);
	close(fd);
	close(listen_fd);
	options = options_of(&nobody, false);
	assert_int_equal(connection_dial(&options, "no-such-host.invalid:1", &nobody.connection), STATUS_OK);
	UNTIL(nobody.closed);
	assert_int_equal(nobody.status, STATUS_CANNOT_CONNECT);
}

static void a_silent_peer_is_timed_out(void **state)
{
	(void)state;
	struct side client, server;
	struct connection_options options = options_of(&client, false), server_options = options_of(&server, true);
	options.connect_timeout_ms = 50;
	listen_begin(); /* and never accepts: no handshake comes */
	assert_int_equal(connection_dial(&options, listen_address, &client.connection), STATUS_OK);
	UNTIL(client.closed);
	assert_int_equal(client.status, STATUS_TIMED_OUT);
	assert_string_equal(client.why, "no handshake in time");
	close(listen_fd);
	options = options_of(&client, false);
	server_options.idle_timeout_ms = 50;
	connect_sides(&client, options, &server, server_options);
	UNTIL(server.closed && client.closed);
	assert_int_equal(server.status, STATUS_TIMED_OUT);
	assert_true(server.established);
}

static void freeing_says_nothing(void **state)
{
	(void)state;
	struct side client, server;
	connect_sides(&client, options_of(&client, false), &server, options_of(&server, true));
	connection_free(client.connection);
	UNTIL(server.closed);
	assert_false(client.closed);
	assert_int_equal(server.status, STATUS_CLOSED);
}

/* X20: a certificate that ends while its connection is open ends the connection, at the next byte either way. */
static void an_ended_certificate_closes(void **state)
{
	(void)state;
	leaf_write(&cast.eu, "brief",
		&(struct leaf_form){ .names = "DNS:app2.client.eu-west-1.ie.eu.place.acme", .from_s = -60, .to_s = 2 });
	struct side client, server;
	struct connection_options options = options_of(&client, false);
	struct tls_context *brief = context_of("brief");
	options.tls = brief;
	connect_sides(&client, options, &server, options_of(&server, true));
	server.echo = true;
	UNTIL(server.established && client.established);
	uint64_t request = 0;
	while (!server.closed) { /* one after the other until it ends: the loop's limit is UNTIL's */
		struct message message = request_of(++request, bytes_text("value"));
		unsigned before = client.received;
		if (client.connection && connection_send(client.connection, &message) != STATUS_OK)
			break;
		UNTIL(client.received > before || client.closed);
		if (client.closed)
			break;
	}
	UNTIL(server.closed);
	assert_true(request > 1); /* it was good at first */
	assert_int_equal(server.status, STATUS_DENIED);
	assert_non_null(strstr(server.why, "has ended"));
	finish(&client, &server);
	tls_context_free(brief);
}

/* Answers that three clients do not read share what there is; who asks for little beside them is answered. */
static void connections_share_a_budget(void **state)
{
	(void)state;
	enum { COUNT = 3, MAX = 7 << 20, OTHERS = (COUNT + 1) * 2 * (32 << 10) };
	static uint8_t value[VALUE_SIZE_MAX];
	struct connection_budget budget = { .max = MAX };
	struct side client[COUNT + 1], server[COUNT + 1];
	for (unsigned i = 0; i <= COUNT; i++) {
		connect_sides(&client[i], options_of(&client[i], false), &server[i], options_of(&server[i], true));
		UNTIL(server[i].established && client[i].established);
		connection_set_budget(server[i].connection, &budget);
	}
	unsigned queued = 0, refused = 0;
	for (unsigned round = 0; round < 8; round++) {
		for (unsigned i = 0; i < COUNT; i++) { /* no turn of the loop: nothing leaves */
			struct message message = request_of(round + 1, bytes_of(value, sizeof(value)));
			enum status status = connection_send(server[i].connection, &message);
			assert_true(status == STATUS_OK || status == STATUS_BUSY);
			queued += status == STATUS_OK;
			refused += status == STATUS_BUSY;
			assert_true(budget.used <= MAX + OTHERS);
		}
	}
	assert_true(queued >= COUNT);
	assert_true(refused > 0); /* each has room for seven by its own bound */
	struct message message = request_of(1, bytes_text("small"));
	assert_int_equal(connection_send(server[COUNT].connection, &message), STATUS_OK);
	UNTIL(client[COUNT].received == 1);
	UNTIL(client[0].received + client[1].received + client[2].received == queued);
	for (unsigned i = 0; i <= COUNT; i++)
		finish(&client[i], &server[i]);
	assert_int_equal(budget.used, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_go_there_and_back),
		cmocka_unit_test(compressed_frames_go_through),
		cmocka_unit_test(one_turn_is_one_record),
		cmocka_unit_test(output_is_bounded_and_a_deaf_peer_is_not_read),
		cmocka_unit_test(a_full_queue_says_busy_and_takes_nothing),
		cmocka_unit_test(a_paused_side_gets_what_waits_when_it_goes_on),
		cmocka_unit_test(closing_tells_both_sides),
		cmocka_unit_test(a_refusal_at_the_door_closes),
		cmocka_unit_test(a_receiver_may_refuse_a_message),
		cmocka_unit_test(a_wrong_certificate_closes_with_its_reason),
		cmocka_unit_test(a_wrong_form_closes_with_its_reason),
		cmocka_unit_test(wrong_frames_close),
		cmocka_unit_test(a_dial_that_fails_says_why),
		cmocka_unit_test(names_are_looked_up),
		cmocka_unit_test(a_silent_peer_is_timed_out),
		cmocka_unit_test(freeing_says_nothing),
		cmocka_unit_test(an_ended_certificate_closes),
		cmocka_unit_test(connections_share_a_budget),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
