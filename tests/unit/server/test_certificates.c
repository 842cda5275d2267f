/* The node's own certificate while it runs: what a reload takes, what it refuses by name, and that neither drops a
 * client. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "server/certificates.h"
#include "tests/unit/server/shell.h"

#define OWN "DNS:n1.a.eu-west-1.ie.eu.place.acme"

/* --- what the log says --------------------------------------------------------------------------------- */

static char heard[65536];
static int stderr_before;

static void hear(void)
{
	fflush(stderr);
	stderr_before = dup(STDERR_FILENO);
	int fd = open(authority_path("heard", ".log"), O_CREAT | O_TRUNC | O_RDWR | O_APPEND, 0600);
	assert_true(fd >= 0);
	dup2(fd, STDERR_FILENO);
	close(fd);
	log_init(LOG_LOGFMT, LOG_INFO);
}

static void hear_no_more(void)
{
	dup2(stderr_before, STDERR_FILENO);
	close(stderr_before);
	log_init(LOG_LOGFMT, LOG_ERROR);
	FILE *file = fopen(authority_path("heard", ".log"), "r");
	size_t size = fread(heard, 1, sizeof(heard) - 1, file);
	heard[size] = '\0';
	fclose(file);
}

static void was_said(const char *part)
{
	if (!strstr(heard, part))
		fail_msg("the log does not say '%s' but: %s", part, heard);
}

/* --- reload -------------------------------------------------------------------------------------------- */

static void renew(const char *leaf, const struct leaf_form *form)
{
	leaf_write(&cast.eu, leaf, form);
	place_files("certs", leaf);
}

static void pings(struct guest *guest)
{
	unsigned before = guest->replies;
	struct message message = ping_of(before + 1);
	assert_int_equal(connection_send(guest->connection, &message), STATUS_OK);
	UNTIL(guest->replies == before + 1);
	assert_int_equal(guest->status, STATUS_OK);
	assert_false(guest->closed);
}

static bool shows(const char *leaf)
{
	X509 *wanted = certificate_load(authority_path(leaf, ".crt"));
	bool same = X509_cmp(tls_context_certificate(server->tls), wanted) == 0;
	X509_free(wanted);
	return same;
}

static void a_new_certificate_is_for_new_connections(void **state)
{
	(void)state;
	struct guest before = { 0 }, after = { 0 };
	guest_begin(&before, "app", TLS_ALPN_CLIENT);
	UNTIL(before.hello);
	renew("eu-n1b", &(struct leaf_form){ .names = OWN, .from_s = -60, .to_s = 40 * 86400 });
	hear();
	raise(SIGHUP); /* libevent takes it; the loop acts */
	UNTIL(shows("eu-n1b"));
	hear_no_more();
	was_said("certificates reloaded");
	/* The authority lives ten hours here: what ends first counts. */
	was_said("days_left=0");
	pings(&before);
	guest_begin(&after, "app", TLS_ALPN_CLIENT);
	UNTIL(after.hello);
	pings(&after);
	pings(&before);
	guest_end(&before);
	guest_end(&after);
}

/* What is wrong, and the words of the log about it. The old certificate stays, and so do the clients. */
static void check_kept(const char *reason)
{
	struct tls_context *tls = server->tls;
	hear();
	certificates_reload(server);
	hear_no_more();
	was_said("certificates not reloaded: the old ones stay");
	was_said(reason);
	assert_ptr_equal(server->tls, tls);
}

static void in_certs(const char *format)
{
	char command[400];
	snprintf(command, sizeof(command), "cd %s/certs && %s", authority_directory, format);
	assert_int_equal(system(command), 0);
}

static void what_is_wrong_changes_nothing(void **state)
{
	(void)state;
	renew("eu-n1", &(struct leaf_form){ .names = OWN });
	certificates_reload(server);
	struct guest guest = { 0 };
	guest_begin(&guest, "app", TLS_ALPN_CLIENT);
	UNTIL(guest.hello);
	in_certs("head -c 300 node.crt >half && mv half node.crt");
	check_kept("the certificate cannot be read");
	place_files("certs", "eu-n1");
	in_certs("head -c 60 node.key >half && chmod 600 half && mv half node.key");
	check_kept("the private key cannot be read");
	place_files("certs", "eu-n1");
	in_certs("cp ../app.key node.key");
	check_kept("the private key is not the certificate's");
	place_files("certs", "eu-n1");
	in_certs("echo nothing >cas.pem");
	check_kept("the certificate authorities cannot be read");
	in_certs("rm cas.pem");
	check_kept("cas.pem cannot be read: No such file");
	place_files("certs", "eu-n1");
	in_certs("chmod 644 node.key");
	check_kept("node.key may be read by others");
	renew("eu-n2", &(struct leaf_form){ .names = "DNS:n2.a.eu-west-1.ie.eu.place.acme" });
	check_kept("the configuration says eu/ie/eu-west-1/a/n1, the certificate says eu/ie/eu-west-1/a/n2");
	renew("two", &(struct leaf_form){ .names = OWN "," OWN });
	check_kept("more than one subject alternative name");
	renew("past", &(struct leaf_form){ .names = OWN, .from_s = -7200, .to_s = -3600 });
	check_kept("expired");
	place_files("certs", "app");
	check_kept("no node's certificate");
	leaf_write(&cast.foreign, "foreign", &(struct leaf_form){ .names = OWN });
	place_files("certs", "foreign");
	check_kept("no other node would accept it");
	assert_true(shows("eu-n1"));
	pings(&guest);
	guest_end(&guest);
	/* And what is right afterwards is taken. */
	renew("eu-n1c", &(struct leaf_form){ .names = OWN });
	certificates_reload(server);
	assert_true(shows("eu-n1c"));
	place_files("certs", "eu-n1");
	certificates_reload(server);
}

static void a_status_says_the_days_left(void **state)
{
	(void)state;
	struct guest guest = { 0 };
	struct message message = { .kind = MESSAGE_ADMIN, .request = 1 };
	message.admin.verb = bytes_text("node.status");
	guest_begin(&guest, "app", TLS_ALPN_CLIENT);
	UNTIL(guest.hello);
	assert_int_equal(connection_send(guest.connection, &message), STATUS_OK);
	UNTIL(guest.replies == 1);
	assert_non_null(strstr(guest.detail, "\"certificate_days_left\":0}"));
	uint8_t issuer[32];
	memcpy(issuer, server->own.issuer_spki_sha256, 32);
	node_set_certificate(
		server->node, issuer, (int64_t)(clock_wall_us() / 1000000) + 12 * 86400 + 3600, bytes_of(NULL, 0));
	message.request = 2;
	assert_int_equal(connection_send(guest.connection, &message), STATUS_OK);
	UNTIL(guest.replies == 2);
	assert_non_null(strstr(guest.detail, "\"certificate_days_left\":12}"));
	node_set_certificate(server->node, issuer, server->own.ends_s, bytes_of(NULL, 0));
	guest_end(&guest);
}

/* cas.pem need not name every region: the map does. */
static void an_authority_in_the_map_is_trusted_besides(void **state)
{
	(void)state;
	struct cluster_map map = { .region_count = 1 };
	struct map_region *region = calloc(1, sizeof(*region));
	unsigned char *der = NULL;
	int size = i2d_X509(cast.foreign.certificate, &der);
	memcpy(region->ca_der, der, (size_t)size);
	region->ca_size = (uint16_t)size;
	map.regions = region;
	leaf_write(&cast.foreign, "guest", &(struct leaf_form){ .names = "DNS:x.client.eu-west-1.ie.eu.place.acme" });
	struct guest stranger = { 0 };
	guest_begin(&stranger, "guest", TLS_ALPN_CLIENT);
	UNTIL(stranger.closed);
	assert_false(stranger.hello);
	guest_end(&stranger);
	certificates_map_changed(server, &map);
	struct guest known = { 0 };
	guest_begin(&known, "guest", TLS_ALPN_CLIENT);
	UNTIL(known.hello);
	guest_end(&known);
	OPENSSL_free(der);
	free(region);
}

/* --- revoked certificates -------------------------------------------------------------------------------- */

/* What the watch does every ten seconds, now. */
static void look(void)
{
	hear();
	event_active(server->own.watch, EV_TIMEOUT, 0);
	event_base_loop(server->base, EVLOOP_NONBLOCK);
	hear_no_more();
}

static unsigned long lists_made; /* also their numbers: each is newer than the one before */

/* Every authority of the cast has its list in the file; `eu`, `us`, `admin` name one each, or nobody. */
static void name_in_lists(const char *eu, const char *us, const char *admin)
{
	const char *const names[3] = { eu, us, admin };
	const struct authority *const by[3] = { &cast.eu, &cast.us, &cast.admin };
	long number = 10 + (long)lists_made++;
	for (unsigned i = 0; i < 3; i++)
		list_write(by[i], "next", i == 0 ? "w" : "a",
			&(struct list_form){ .number = number, .revoked = { names[i] } });
	assert_int_equal(rename(authority_path("next", ".pem"), authority_path("crl", ".pem")), 0);
}

static bool is_let_in(const char *leaf, enum tls_alpn alpn)
{
	struct guest guest = { 0 };
	guest_begin(&guest, leaf, alpn);
	UNTIL(guest.hello || guest.closed);
	bool in = guest.hello;
	if (!in && !strstr(guest.why, "revoked"))
		fail_msg("%s: %s", leaf, guest.why);
	guest_end(&guest);
	return in;
}

static void who_is_revoked_is_out_at_once_whatever_the_role(void **state)
{
	(void)state;
	static const struct {
		const char *leaf;
		enum tls_alpn alpn;
	} roles[] = { { "app", TLS_ALPN_CLIENT }, { "us-n1", TLS_ALPN_PEER }, { "ops", TLS_ALPN_CLIENT },
		{ "eu-n2", TLS_ALPN_PEER } };
	struct guest guests[4] = { 0 };
	leaf_write(&cast.eu, "eu-n2", &(struct leaf_form){ .names = "DNS:n2.a.eu-west-1.ie.eu.place.acme" });
	for (unsigned i = 0; i < 4; i++) {
		guest_begin(&guests[i], roles[i].leaf, roles[i].alpn);
		UNTIL(guests[i].hello);
	}
	struct guest silent = { .quiet = true }; /* let in by TLS, has not greeted yet */
	guest_begin(&silent, "app", TLS_ALPN_CLIENT);
	UNTIL(silent.hello);
	name_in_lists("app", "us-n1", "ops");
	look();
	was_said("revoked certificates");
	was_said("count=3");
	was_said("connection not admitted any more");
	was_said("why=\"the certificate is revoked\"");
	UNTIL(guests[0].closed && guests[1].closed && guests[2].closed && silent.closed);
	assert_false(guests[3].closed);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(is_let_in(roles[i].leaf, roles[i].alpn), i == 3);
	/* Nothing has changed: nothing is read. */
	look();
	assert_string_equal(heard, "");
	assert_false(guests[3].closed);
	guest_end(&silent);
	for (unsigned i = 0; i < 4; i++)
		guest_end(&guests[i]);
	/* A reload of the certificate keeps the list. */
	renew("eu-n1", &(struct leaf_form){ .names = OWN });
	certificates_reload(server);
	assert_true(shows("eu-n1"));
	assert_false(is_let_in("app", TLS_ALPN_CLIENT));
	/* A newer list that does not name them: its authority's word. */
	name_in_lists(NULL, NULL, NULL);
	raise(SIGHUP);
	event_base_loop(server->base, EVLOOP_ONCE);
	assert_true(is_let_in("app", TLS_ALPN_CLIENT));
}

static void check_list_kept(const char *reason)
{
	look();
	was_said("revoked certificates not read anew: the old list stays");
	was_said(reason);
	assert_false(is_let_in("app", TLS_ALPN_CLIENT));
	look(); /* said once, not every ten seconds */
	assert_string_equal(heard, "");
}

static void a_list_that_is_wrong_opens_nothing(void **state)
{
	(void)state;
	char path[160];
	snprintf(path, sizeof(path), "%s", authority_path("crl", ".pem"));
	name_in_lists("app", NULL, NULL);
	look();
	assert_false(is_let_in("app", TLS_ALPN_CLIENT));
	unlink(path);
	check_list_kept("it cannot be read");
	list_write(&cast.eu, "crl", "w", &(struct list_form){ .number = 900 });
	check_list_kept("the list of 'ca-us' is missing");
	list_write(&cast.us, "crl", "a", &(struct list_form){ .number = 900 });
	list_write(&cast.admin, "crl", "a", &(struct list_form){ .number = 2 });
	check_list_kept("the list of 'ca-admin' is older");
	list_write(&cast.eu, "crl", "w", &(struct list_form){ .number = 900, .key = cast.foreign.key });
	list_write(&cast.us, "crl", "a", &(struct list_form){ .number = 900 });
	list_write(&cast.admin, "crl", "a", &(struct list_form){ .number = 900 });
	check_list_kept("the list of 'ca-eu' is not signed by that authority");
	assert_int_equal(truncate(path, 500), 0);
	check_list_kept("not whole");
	assert_int_equal(truncate(path, 0), 0);
	check_list_kept("holds no list");
	/* Right again, and past its time: a warning, no more. */
	list_write(&cast.eu, "crl", "w",
		&(struct list_form){ .number = 901, .from_s = -200000, .to_s = -180000, .revoked = { "app" } });
	list_write(&cast.us, "crl", "a", &(struct list_form){ .number = 901 });
	list_write(&cast.admin, "crl", "a", &(struct list_form){ .number = 901 });
	look();
	was_said("a list of revoked certificates is past its time");
	was_said("days=2");
	assert_false(is_let_in("app", TLS_ALPN_CLIENT));
	assert_true(is_let_in("ops", TLS_ALPN_CLIENT));
	look();
	assert_string_equal(heard, "");
	server->own.reminder_ns = clock_boot_ns(); /* a day later */
	look();
	was_said("a list of revoked certificates is past its time");
	/* Our own certificate named: the others are told so, and a reload with it is refused. */
	list_write(&cast.eu, "crl", "w", &(struct list_form){ .number = 902, .revoked = { "eu-n1" } });
	list_write(&cast.us, "crl", "a", &(struct list_form){ .number = 902 });
	list_write(&cast.admin, "crl", "a", &(struct list_form){ .number = 902 });
	look();
	check_kept("no other node would accept it: certificate revoked");
	lists_made = 1000;
	name_in_lists(NULL, NULL, NULL);
	look();
}

static void the_log_is_told_once_a_day_of_an_end(void **state)
{
	(void)state;
	hear();
	server->own.reminder_ns = clock_boot_ns();
	event_active(server->own.watch, EV_TIMEOUT, 0);
	event_active(server->own.watch, EV_TIMEOUT, 0);
	event_base_loop(server->base, EVLOOP_NONBLOCK);
	event_active(server->own.watch, EV_TIMEOUT, 0);
	event_base_loop(server->base, EVLOOP_NONBLOCK);
	hear_no_more();
	const char *first = strstr(heard, "the node's certificate ends soon");
	assert_non_null(first);
	assert_null(strstr(first + 1, "the node's certificate ends soon"));
	was_said("days_left=0");
	assert_true(server->own.reminder_ns > clock_boot_ns() + UINT64_C(86000) * 1000000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_certificate_is_for_new_connections),
		cmocka_unit_test(what_is_wrong_changes_nothing),
		cmocka_unit_test(an_authority_in_the_map_is_trusted_besides),
		cmocka_unit_test(a_status_says_the_days_left),
		cmocka_unit_test(who_is_revoked_is_out_at_once_whatever_the_role),
		cmocka_unit_test(a_list_that_is_wrong_opens_nothing),
		cmocka_unit_test(the_log_is_told_once_a_day_of_an_end),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
