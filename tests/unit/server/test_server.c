/* The shell around the node: what it refuses to start with, whom it lets in by which protocol, and its bounds. Server
 * and clients share the server's own loop, so nothing here waits for a clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "server/self_test.h"
#include "tests/unit/server/shell.h"

/* --- starts that are refused -------------------------------------------------------------------------- */

static void check_start(const struct server_config *wrong, int exit_code, const char *code, const char *reason)
{
	struct server *other;
	struct server_failure failure = { 0 };
	assert_false(server_start(wrong, NULL, &other, &failure));
	assert_null(other);
	if (failure.exit_code != exit_code || strcmp(failure.code, code) != 0 || !strstr(failure.text, reason))
		fail_msg("%d %s '%s' instead of %d %s '%s'", failure.exit_code, failure.code, failure.text, exit_code,
			code, reason);
}

static void wrong_starts_are_refused_by_name(void **state)
{
	(void)state;
	const char *why;
	struct server_config wrong = config;
	assert_true(place_parse("eu/ie/eu-west-1/a/n2", &wrong.place, &why));
	check_start(&wrong, 11, "DOM-N003",
		"the configuration says eu/ie/eu-west-1/a/n2, the certificate says eu/ie/eu-west-1/a/n1");
	wrong = config;
	strcpy(wrong.cluster, "other");
	check_start(&wrong, 11, "DOM-N003", "the configuration says other, the certificate says acme");
	wrong = config_of("nowhere");
	check_start(&wrong, 11, "DOM-N002", "node.crt cannot be read: No such file");
	place_files("open", "eu-n1");
	char key[200];
	snprintf(key, sizeof(key), "%s/open/node.key", authority_directory);
	assert_int_equal(chmod(key, 0640), 0);
	wrong = config_of("open");
	check_start(&wrong, 11, "DOM-N002", "node.key may be read by others");
	place_files("client", "app");
	wrong = config_of("client");
	check_start(&wrong, 11, "DOM-N003", "no node's certificate");
	leaf_write(&cast.eu, "past",
		&(struct leaf_form){ .names = "DNS:n1.a.eu-west-1.ie.eu.place.acme", .from_s = -7200, .to_s = -3600 });
	place_files("past", "past");
	wrong = config_of("past");
	check_start(&wrong, 11, "DOM-N004", "expired");
	leaf_write(&cast.foreign, "foreign", &(struct leaf_form){ .names = "DNS:n1.a.eu-west-1.ie.eu.place.acme" });
	place_files("foreign", "foreign");
	wrong = config_of("foreign");
	check_start(&wrong, 11, "DOM-N004", "no other node would accept it");
	wrong = config;
	snprintf(wrong.crl, sizeof(wrong.crl), "%s", "/nowhere/crl.pem");
	check_start(&wrong, 11, "DOM-N011", "/nowhere/crl.pem: it cannot be read");
	snprintf(wrong.crl, sizeof(wrong.crl), "%s", authority_path("cas", ".pem"));
	check_start(&wrong, 11, "DOM-N011", "holds no list");
	list_write(&cast.eu, "forged", "w", &(struct list_form){ .number = 1, .key = cast.us.key });
	snprintf(wrong.crl, sizeof(wrong.crl), "%s", authority_path("forged", ".pem"));
	check_start(&wrong, 11, "DOM-N011", "the list of 'ca-eu' is not signed by that authority");
	list_write(&cast.eu, "self", "w", &(struct list_form){ .number = 1, .revoked = { "eu-n1" } });
	snprintf(wrong.crl, sizeof(wrong.crl), "%s", authority_path("self", ".pem"));
	check_start(&wrong, 11, "DOM-N004", "no other node would accept it: certificate revoked");
	check_start(&config, 16, "DOM-N005", "another process uses this data directory");
	wrong = config;
	strcpy(wrong.listen, address);
	check_start(&wrong, 1, "DOM-N007", "Address already in use");
}

/* A directory in which the node's own certificate stands among the authorities: whoever signs himself by that name with
 * another key is still refused. And a context that is in order passes. */
static void the_self_test_tells_a_working_door(void **state)
{
	(void)state;
	const char *why = NULL;
	assert_int_equal(self_test(server->tls, &why), STATUS_OK);
	struct tls_context *open;
	char cas[160];
	snprintf(cas, sizeof(cas), "%s", authority_path("with-leaf", ".pem"));
	write_certificate(cas, cast.eu.certificate, "w");
	X509 *leaf = certificate_load(authority_path("eu-n1", ".crt"));
	write_certificate(cas, leaf, "a");
	X509_free(leaf);
	assert_int_equal(
		tls_context_new(authority_path("eu-n1", ".crt"), authority_path("eu-n1", ".key"), cas, &open, &why),
		STATUS_OK);
	assert_int_equal(self_test(open, &why), STATUS_OK);
	tls_context_free(open);
}

/* --- who may come in --------------------------------------------------------------------------------------- */

static void a_client_is_greeted_and_answered(void **state)
{
	(void)state;
	struct guest guest = { 0 };
	guest_begin(&guest, "app", TLS_ALPN_CLIENT);
	/* More than may be in flight at once: the rest waits its turn. */
	UNTIL(guest.hello);
	for (uint64_t i = 1; i <= 1000; i++) {
		struct message message = ping_of(i);
		assert_int_equal(connection_send(guest.connection, &message), STATUS_OK);
	}
	UNTIL(guest.replies == 1000);
	assert_int_equal(guest.status, STATUS_OK);
	assert_int_equal(listener_inflight(server->listener), 0);
	guest_end(&guest);
}

static void only_nodes_speak_the_peer_protocol(void **state)
{
	(void)state;
	static const char *const leaves[] = { "app", "ops" };
	for (unsigned i = 0; i < 2; i++) {
		struct guest guest = { 0 };
		guest_begin(&guest, leaves[i], TLS_ALPN_PEER);
		UNTIL(guest.closed);
		assert_false(guest.hello);
		guest_end(&guest);
	}
	struct guest node = { 0 };
	guest_begin(&node, "us-n1", TLS_ALPN_PEER);
	UNTIL(node.hello);
	/* A peer that is in no map is heard by nobody, and stays. */
	struct message message = { .kind = MESSAGE_PING };
	assert_int_equal(connection_send(node.connection, &message), STATUS_OK);
	for (unsigned turn = 0; turn < 20; turn++)
		event_base_loop(server->base, EVLOOP_NONBLOCK);
	assert_false(node.closed);
	guest_end(&node);
}

static void a_node_is_no_client(void **state)
{
	(void)state;
	struct guest guest = { 0 };
	struct message message = ping_of(1);
	guest_begin(&guest, "us-n1", TLS_ALPN_CLIENT);
	UNTIL(guest.hello);
	assert_int_equal(connection_send(guest.connection, &message), STATUS_OK);
	UNTIL(guest.replies == 1);
	assert_int_equal(guest.status, STATUS_DENIED);
	assert_non_null(strstr(guest.detail, "only joins"));
	assert_false(guest.closed);
	guest_end(&guest);
}

static void another_clusters_certificate_is_told_why(void **state)
{
	(void)state;
	struct authority other = authority_new("ca-other", "critical,permitted;DNS:eu-west-1.ie.eu.place.other");
	leaf_write(&other, "other", &(struct leaf_form){ .names = "DNS:app.client.eu-west-1.ie.eu.place.other" });
	unsigned char *der = NULL;
	int size = i2d_X509(other.certificate, &der);
	assert_int_equal(tls_context_trust(server->tls, bytes_of(der, (size_t)size)), STATUS_OK);
	struct guest guest = { 0 };
	guest_begin(&guest, "other", TLS_ALPN_CLIENT);
	UNTIL(guest.closed);
	assert_int_equal(guest.replies, 1);
	assert_int_equal(guest.status, STATUS_DENIED);
	assert_non_null(strstr(guest.detail, "another cluster"));
	guest_end(&guest);
	OPENSSL_free(der);
	authority_free(&other);
}

static void the_first_message_is_a_hello_of_a_known_version(void **state)
{
	(void)state;
	struct message wrong[3] = { ping_of(1), { .kind = MESSAGE_HELLO }, { .kind = MESSAGE_HELLO } };
	static const char *const reasons[3] = { "no HELLO", "newer version", "newer version" };
	wrong[2].hello.version = PROTOCOL_VERSION + 1;
	for (unsigned i = 0; i < 3; i++) {
		struct guest guest = { .quiet = true };
		guest_begin(&guest, "app", TLS_ALPN_CLIENT);
		UNTIL(guest.hello);
		assert_int_equal(connection_send(guest.connection, &wrong[i]), STATUS_OK);
		UNTIL(guest.closed);
		assert_non_null(strstr(guest.detail, reasons[i]));
		guest_end(&guest);
	}
}

static void large_frames_wait_until_after_the_hello(void **state)
{
	(void)state;
	static uint8_t value[20000];
	struct guest guest = { .quiet = true };
	struct message message = ping_of(1);
	message.ask.value = bytes_of(value, sizeof(value));
	guest_begin(&guest, "app", TLS_ALPN_CLIENT);
	assert_int_equal(connection_send(guest.connection, &message), STATUS_OK);
	UNTIL(guest.closed);
	assert_int_equal(guest.replies, 0);
	guest_end(&guest);
	guest = (struct guest){ 0 };
	guest_begin(&guest, "app", TLS_ALPN_CLIENT);
	UNTIL(guest.hello);
	assert_int_equal(connection_send(guest.connection, &message), STATUS_OK);
	UNTIL(guest.replies == 1);
	guest_end(&guest);
}

static void what_only_nodes_send_closes_a_clients_connection(void **state)
{
	(void)state;
	struct guest guest = { 0 };
	struct message message = { .kind = MESSAGE_VOTE, .group = 1, .from = 1, .to = 1, .term = 99 };
	guest_begin(&guest, "app", TLS_ALPN_CLIENT);
	UNTIL(guest.hello);
	assert_int_equal(connection_send(guest.connection, &message), STATUS_OK);
	UNTIL(guest.closed);
	guest_end(&guest);
}

static void too_many_bytes_in_flight_are_refused_as_busy(void **state)
{
	(void)state;
	struct guest guest = { 0 };
	uint64_t configured = server->limits.inflight;
	struct message message = ping_of(1);
	server->limits.inflight = 100;
	guest_begin(&guest, "app", TLS_ALPN_CLIENT);
	UNTIL(guest.hello);
	assert_int_equal(connection_send(guest.connection, &message), STATUS_OK);
	UNTIL(guest.replies == 1);
	assert_int_equal(guest.status, STATUS_BUSY);
	server->limits.inflight = configured;
	message.request = 2;
	assert_int_equal(connection_send(guest.connection, &message), STATUS_OK);
	UNTIL(guest.replies == 2);
	assert_int_equal(guest.status, STATUS_OK);
	guest_end(&guest);
}

/* 700 sockets that say nothing: the oldest of them make room, and a client gets in at once. */
static void silent_connections_keep_nobody_out(void **state)
{
	(void)state;
	enum { SILENT = 700 };
	static int silent[SILENT];
	struct guest guest = { 0 };
	struct sockaddr_in to = { .sin_family = AF_INET,
		.sin_port = htons(listener_port(server->listener)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	for (unsigned i = 0; i < SILENT; i++) {
		silent[i] = socket(AF_INET, SOCK_STREAM, 0);
		assert_true(silent[i] >= 0);
		assert_int_equal(connect(silent[i], (struct sockaddr *)&to, sizeof(to)), 0);
		event_base_loop(server->base, EVLOOP_NONBLOCK);
	}
	guest_begin(&guest, "app", TLS_ALPN_CLIENT);
	UNTIL(guest.hello);
	struct message message = ping_of(1);
	assert_int_equal(connection_send(guest.connection, &message), STATUS_OK);
	UNTIL(guest.replies == 1);
	char byte;
	assert_int_equal(recv(silent[0], &byte, 1, MSG_DONTWAIT), 0);		/* closed */
	assert_int_equal(recv(silent[SILENT - 1], &byte, 1, MSG_DONTWAIT), -1); /* still open */
	for (unsigned i = 0; i < SILENT; i++)
		close(silent[i]);
	guest_end(&guest);
}

int main(void)
{
	struct rlimit files;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wrong_starts_are_refused_by_name),
		cmocka_unit_test(the_self_test_tells_a_working_door),
		cmocka_unit_test(a_client_is_greeted_and_answered),
		cmocka_unit_test(only_nodes_speak_the_peer_protocol),
		cmocka_unit_test(a_node_is_no_client),
		cmocka_unit_test(another_clusters_certificate_is_told_why),
		cmocka_unit_test(the_first_message_is_a_hello_of_a_known_version),
		cmocka_unit_test(large_frames_wait_until_after_the_hello),
		cmocka_unit_test(what_only_nodes_send_closes_a_clients_connection),
		cmocka_unit_test(too_many_bytes_in_flight_are_refused_as_busy),
		cmocka_unit_test(silent_connections_keep_nobody_out),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
