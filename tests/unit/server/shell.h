/* tests/unit/server/shell.h: a server on a loopback port with the usual cast's certificates, and guests that dial it.
 * All of them share the server's own loop, so nothing here waits for a clock. After cmocka.h. */
#ifndef DOMICILE_TESTS_SHELL_H
#define DOMICILE_TESTS_SHELL_H

#include <event2/event.h>

#include "server/listener.h"
#include "server/server.h"
#include "server/server_internal.h"
#include "tests/unit/wire/authority.h"
#include "wire/frame.h"

static struct cast cast;
static struct server_config config;
static struct server *server;
static char address[64];

static inline void place_files(const char *directory, const char *leaf)
{
	char command[700];
	snprintf(command, sizeof(command),
		"cd %s && mkdir -p %s && cp %s.crt %s/node.crt && cp %s.key %s/node.key && chmod 600 %s/node.key"
		" && cp cas.pem %s/",
		authority_directory, directory, leaf, directory, leaf, directory, directory, directory);
	assert_int_equal(system(command), 0);
}

static inline struct server_config config_of(const char *certs)
{
	const char *why;
	struct server_config made = { .reactors = 1,
		.cache_size = 8 << 20,
		.memory_size = 64 << 20,
		.journal_segment_size = 1 << 20,
		.lease_us = 1000000,
		.heartbeat_us = 100000,
		.log_level = LOG_ERROR };
	snprintf(made.cluster, sizeof(made.cluster), "acme");
	snprintf(made.listen, sizeof(made.listen), "127.0.0.1:0");
	snprintf(made.data, sizeof(made.data), "%s/data", authority_directory);
	snprintf(made.certs, sizeof(made.certs), "%s/%s", authority_directory, certs);
	made.advertise.count = 1;
	snprintf(made.advertise.at[0].address, sizeof(made.advertise.at[0].address), "127.0.0.1:1");
	assert_true(place_parse("eu/ie/eu-west-1/a/n1", &made.place, &why));
	return made;
}

static inline int set_up(void **state)
{
	struct server_failure failure = { 0 };
	(void)state;
	log_init(LOG_LOGFMT, LOG_ERROR);
	cast_begin(&cast);
	place_files("certs", "eu-n1");
	config = config_of("certs");
	list_write(&cast.eu, "crl", "w", &(struct list_form){ .number = 1 });
	snprintf(config.crl, sizeof(config.crl), "%s", authority_path("crl", ".pem"));
	if (!server_start(&config, NULL, &server, &failure))
		fail_msg("%s %s", failure.code, failure.text);
	snprintf(address, sizeof(address), "127.0.0.1:%u", listener_port(server->listener));
	return 0;
}

static inline int tear_down(void **state)
{
	(void)state;
	server_free(server);
	cast_end(&cast);
	return 0;
}

struct guest {
	struct tls_context *tls;
	struct connection *connection;
	bool quiet, hello, closed; /* quiet: says no HELLO by itself */
	unsigned replies;
	uint32_t status;
	char detail[1000], why[200];
	uint8_t bytes[4096]; /* of the last detail, as they came */
	size_t size;
};

static enum status on_established(struct connection *connection, void *arg, const struct certificate_name *who,
	const uint8_t issuer[32], const char **why)
{
	struct guest *guest = arg;
	struct message hello = { .kind = MESSAGE_HELLO };
	(void)who;
	(void)issuer;
	(void)why;
	hello.hello.version = PROTOCOL_VERSION;
	return guest->quiet ? STATUS_OK : connection_send(connection, &hello);
}

static enum status on_received(struct connection *connection, void *arg, const struct message *message)
{
	struct guest *guest = arg;
	(void)connection;
	if (message->kind == MESSAGE_HELLO) {
		guest->hello = true;
	} else if (message->kind == MESSAGE_REPLY) {
		guest->replies++;
		guest->status = message->reply.status;
		snprintf(guest->detail, sizeof(guest->detail), "%.*s", (int)message->reply.detail.size,
			message->reply.detail.size ? (const char *)message->reply.detail.data : "");
		guest->size = message->reply.detail.size < sizeof(guest->bytes) ? message->reply.detail.size
										: sizeof(guest->bytes);
		if (guest->size > 0)
			memcpy(guest->bytes, message->reply.detail.data, guest->size);
	}
	return STATUS_OK;
}

static void on_closed(struct connection *connection, void *arg, enum status status, const char *why)
{
	struct guest *guest = arg;
	(void)connection;
	(void)status;
	guest->closed = true;
	guest->connection = NULL;
	snprintf(guest->why, sizeof(guest->why), "%s", why);
}

static const struct connection_events guest_events = { on_established, on_received, on_closed };

static inline void guest_begin(struct guest *guest, const char *leaf, enum tls_alpn alpn)
{
	const char *why;
	assert_int_equal(tls_context_new(authority_path(leaf, ".crt"), authority_path(leaf, ".key"),
				 authority_path("cas", ".pem"), &guest->tls, &why),
		STATUS_OK);
	struct connection_options options = { .base = server->base,
		.tls = guest->tls,
		.alpn = alpn,
		.frame_size_max = FRAME_SIZE_MAX_CLIENT,
		.output_size_max = 32 << 20,
		.connect_timeout_ms = 5000,
		.events = &guest_events,
		.arg = guest };
	assert_int_equal(connection_dial(&options, address, &guest->connection), STATUS_OK);
}

static inline void guest_end(struct guest *guest)
{
	connection_free(guest->connection);
	tls_context_free(guest->tls);
}

static inline void over(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	*(bool *)arg = true;
}

#define UNTIL(condition)                                                                                               \
	do {                                                                                                           \
		bool late = false;                                                                                     \
		struct event *limit = event_new(server->base, -1, 0, over, &late);                                     \
		struct timeval ten = { 10, 0 };                                                                        \
		event_add(limit, &ten);                                                                                \
		while (!(condition) && !late)                                                                          \
			event_base_loop(server->base, EVLOOP_ONCE);                                                    \
		event_free(limit);                                                                                     \
		if (late)                                                                                              \
			fail_msg("not within ten seconds: %s", #condition);                                            \
	} while (0)

static inline struct message ping_of(uint64_t request)
{
	struct message message = { .kind = MESSAGE_REQUEST, .request = request };
	message.ask.operation = OPERATION_PING;
	return message;
}

#endif
