/* The pump without a socket: what goes in at one end comes out at the other whatever the pieces; and whom it refuses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/ssl.h>

#include "tests/unit/wire/authority.h"
#include "wire/certificate.h"
#include "wire/tls.h"

static struct cast cast;

static int set_up(void **state)
{
	(void)state;
	cast_begin(&cast);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	cast_end(&cast);
	return 0;
}

static struct tls_context *context_of(const char *name)
{
	struct tls_context *context;
	const char *why;
	enum status status = tls_context_new(authority_path(name, ".crt"), authority_path(name, ".key"),
		authority_path("cas", ".pem"), &context, &why);
	if (status != STATUS_OK)
		fail_msg("%s: %s", name, why);
	return context;
}

/* Moves up to `piece` bytes. False: nothing was pending. Failures stay in the receiving end. */
static bool move(struct tls *from, struct tls *to, size_t piece)
{
	const char *why;
	struct bytes pending = tls_pending(from);
	if (pending.size == 0)
		return false;
	size_t size = pending.size < piece ? pending.size : piece;
	enum status status = tls_feed(to, bytes_of(pending.data, size), &why);
	assert_int_equal(status, tls_status(to, &why));
	tls_consumed(from, size);
	return true;
}

static void pump(struct tls *a, struct tls *b, size_t piece)
{
	for (unsigned turn = 0; turn < 100000; turn++) {
		bool moved = move(a, b, piece);
		moved |= move(b, a, piece);
		if (!moved)
			return;
	}
	fail_msg("the pump does not come to rest");
}

struct pair {
	struct tls_context *client_context, *server_context;
	struct tls *client, *server;
};

static struct pair pair_of(const char *client, const char *server, enum tls_alpn offered, enum tls_alpn accepted)
{
	struct pair pair = { .client_context = context_of(client), .server_context = context_of(server) };
	pair.client = tls_new(pair.client_context, false, offered);
	pair.server = tls_new(pair.server_context, true, accepted);
	assert_non_null(pair.client);
	assert_non_null(pair.server);
	return pair;
}

static void pair_free(struct pair *pair)
{
	tls_free(pair->client);
	tls_free(pair->server);
	tls_context_free(pair->client_context);
	tls_context_free(pair->server_context);
}

/* What `from` writes is what `to` reads, in `piece`s on the wire, read back through an odd-sized window. */
static void check_stream(struct tls *from, struct tls *to, size_t size, size_t piece, size_t window)
{
	uint8_t *sent = malloc(size), *got = malloc(size + window);
	size_t written = 0, read = 0;
	for (size_t i = 0; i < size; i++)
		sent[i] = (uint8_t)(i * 131 + i / 251);
	while (read < size) {
		written += tls_write(from, bytes_of(sent + written, size - written));
		bool moved = move(from, to, piece);
		size_t more;
		while ((more = tls_read(to, got + read, window)) > 0) {
			read += more;
			assert_true(read <= size);
		}
		if (!moved && written == size)
			break;
	}
	assert_int_equal(written, size);
	assert_int_equal(read, size);
	assert_memory_equal(sent, got, size);
	free(sent);
	free(got);
}

static void bytes_pass_whatever_the_pieces(void **state)
{
	(void)state;
	static const size_t pieces[] = { 1, 2, 5, 6, 1000, 4096, 16384, 16385, 65535, 65536 };
	for (unsigned i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		const char *why;
		struct pair pair = pair_of("us-n1", "eu-n1", TLS_ALPN_PEER, TLS_ALPN_ANY);
		pump(pair.client, pair.server, pieces[i]);
		assert_true(tls_established(pair.client));
		assert_true(tls_established(pair.server));
		assert_int_equal(tls_alpn(pair.server), TLS_ALPN_PEER);
		size_t size = pieces[i] < 100 ? 40000 : 1000000;
		check_stream(pair.client, pair.server, size, pieces[i], 777);
		check_stream(pair.server, pair.client, size, pieces[i], 65536);
		assert_int_equal(tls_status(pair.client, &why), STATUS_OK);
		pair_free(&pair);
	}
}

static void every_message_size_passes(void **state)
{
	(void)state;
	struct pair pair = pair_of("app", "eu-n1", TLS_ALPN_CLIENT, TLS_ALPN_ANY);
	pump(pair.client, pair.server, 4096);
	assert_int_equal(tls_alpn(pair.server), TLS_ALPN_CLIENT);
	for (size_t size = 1; size <= 65536; size += size < 300 ? 1 : 4093)
		check_stream(pair.client, pair.server, size, 65536, 65536);
	pair_free(&pair);
}

static void nothing_is_taken_before_the_handshake(void **state)
{
	(void)state;
	uint8_t window[10];
	struct pair pair = pair_of("app", "eu-n1", TLS_ALPN_CLIENT, TLS_ALPN_ANY);
	assert_int_equal(tls_write(pair.client, bytes_text("early")), 0);
	assert_int_equal(tls_read(pair.client, window, sizeof(window)), 0);
	pair_free(&pair);
}

static void output_is_bounded(void **state)
{
	(void)state;
	static uint8_t big[4 << 20];
	struct pair pair = pair_of("app", "eu-n1", TLS_ALPN_CLIENT, TLS_ALPN_ANY);
	pump(pair.client, pair.server, 4096);
	size_t taken = tls_write(pair.client, bytes_of(big, sizeof(big)));
	assert_true(taken >= TLS_OUTPUT_MAX / 2);
	assert_true(taken <= TLS_OUTPUT_MAX + 16384);
	assert_true(tls_pending(pair.client).size <= TLS_OUTPUT_MAX + 17000);
	assert_int_equal(tls_write(pair.client, bytes_of(big, sizeof(big))), 0);
	pair_free(&pair);
}

static void the_certificate_and_its_signer_are_known(void **state)
{
	(void)state;
	struct certificate_name name;
	const char *why;
	uint8_t signer[32], expected[32];
	struct pair pair = pair_of("us-n1", "eu-n1", TLS_ALPN_PEER, TLS_ALPN_ANY);
	pump(pair.client, pair.server, 4096);
	assert_int_equal(certificate_name_of(tls_peer_certificate(pair.server), &name, &why), STATUS_OK);
	assert_string_equal(name.place, "us/us-east-1/a/n1");
	assert_int_equal(certificate_spki_sha256(tls_peer_issuer(pair.server), signer), STATUS_OK);
	assert_int_equal(certificate_spki_sha256(cast.us.certificate, expected), STATUS_OK);
	assert_memory_equal(signer, expected, 32);
	assert_int_equal(certificate_name_of(tls_peer_certificate(pair.client), &name, &why), STATUS_OK);
	assert_string_equal(name.place, "eu/ie/eu-west-1/a/n1");
	pair_free(&pair);
}

static void closing_is_told_once(void **state)
{
	(void)state;
	const char *why;
	uint8_t window[10];
	struct pair pair = pair_of("app", "eu-n1", TLS_ALPN_CLIENT, TLS_ALPN_ANY);
	pump(pair.client, pair.server, 4096);
	tls_shutdown(pair.client);
	size_t size = tls_pending(pair.client).size;
	assert_true(size > 0);
	tls_shutdown(pair.client);
	assert_int_equal(tls_pending(pair.client).size, size);
	pump(pair.client, pair.server, 4096);
	assert_int_equal(tls_read(pair.server, window, sizeof(window)), 0);
	assert_int_equal(tls_status(pair.server, &why), STATUS_CLOSED);
	assert_int_equal(tls_write(pair.client, bytes_text("late")), 0);
	pair_free(&pair);
}

/* The server refuses the client `name`; its reason says `reason`; and the client hears of it. */
static void check_refused(const char *name, const char *reason)
{
	const char *why;
	uint8_t window[10];
	struct pair pair = pair_of(name, "eu-n1", TLS_ALPN_CLIENT, TLS_ALPN_ANY);
	pump(pair.client, pair.server, 4096);
	assert_false(tls_established(pair.server));
	assert_int_equal(tls_status(pair.server, &why), STATUS_DENIED);
	if (!strstr(why, reason))
		fail_msg("%s: '%s' does not say '%s'", name, why, reason);
	assert_int_equal(tls_read(pair.client, window, sizeof(window)), 0);
	assert_int_equal(tls_status(pair.client, &why), STATUS_DENIED);
	assert_non_null(strstr(why, "the other side refused"));
	pair_free(&pair);
	/* And as a server it is refused by the client. */
	pair = pair_of("eu-n1", name, TLS_ALPN_PEER, TLS_ALPN_ANY);
	pump(pair.client, pair.server, 4096);
	assert_int_equal(tls_status(pair.client, &why), STATUS_DENIED);
	if (!strstr(why, reason))
		fail_msg("%s as a server: '%s' does not say '%s'", name, why, reason);
	assert_false(tls_established(pair.client));
	pair_free(&pair);
}

static void wrong_certificates_are_refused_by_name(void **state)
{
	(void)state;
	struct leaf_form form = { .names = "DNS:n9.a.eu-west-1.ie.eu.place.acme" };
	struct leaf_form past = form, future = form, server_only = form;
	past.from_s = -7200;
	past.to_s = -3600;
	future.from_s = 3600;
	future.to_s = 7200;
	server_only.extended = "codeSigning";
	leaf_write(&cast.eu, "past", &past);
	leaf_write(&cast.eu, "future", &future);
	leaf_write(&cast.eu, "no-purpose", &server_only);
	leaf_write(&cast.foreign, "foreign", &form);
	leaf_write(&cast.us, "wrong-region", &form);
	leaf_write(&cast.admin, "admin-as-node", &form);
	leaf_write(&cast.eu, "admin-by-region", &(struct leaf_form){ .names = "DNS:ops.admin.acme" });
	/* "eu-west-1.ie..." binds whole labels only. */
	leaf_write(&cast.eu, "longer-label", &(struct leaf_form){ .names = "DNS:n1.a.xeu-west-1.ie.eu.place.acme" });
	check_refused("past", "expired");
	check_refused("future", "not yet valid");
	check_refused("no-purpose", "purpose");
	check_refused("foreign", "certificate");
	check_refused("wrong-region", "permitted subtree");
	check_refused("admin-as-node", "permitted subtree");
	check_refused("admin-by-region", "permitted subtree");
	check_refused("longer-label", "permitted subtree");
}

static void an_alias_name_does_not_pass_the_constraint(void **state)
{
	(void)state;
	leaf_write(&cast.eu, "two-regions",
		&(struct leaf_form){ .names = "DNS:n1.a.eu-west-1.ie.eu.place.acme,DNS:n1.a.us-east-1.us.place.acme" });
	check_refused("two-regions", "permitted subtree");
}

static void no_common_protocol_is_refused(void **state)
{
	(void)state;
	const char *why;
	struct pair pair = pair_of("us-n1", "eu-n1", TLS_ALPN_PEER, TLS_ALPN_CLIENT);
	pump(pair.client, pair.server, 4096);
	assert_int_equal(tls_status(pair.server, &why), STATUS_DENIED);
	assert_non_null(strstr(why, "no protocol"));
	assert_int_equal(tls_status(pair.client, &why), STATUS_DENIED);
	pair_free(&pair);
}

static void garbage_and_floods_are_refused(void **state)
{
	(void)state;
	const char *why;
	static uint8_t flood[TLS_INPUT_MAX + 1];
	struct pair pair = pair_of("app", "eu-n1", TLS_ALPN_CLIENT, TLS_ALPN_ANY);
	assert_int_equal(tls_feed(pair.server, bytes_text("GET / HTTP/1.1\r\n\r\n"), &why), STATUS_INVALID);
	assert_int_equal(tls_feed(pair.server, bytes_text("more"), &why), STATUS_INVALID);
	pair_free(&pair);
	pair = pair_of("app", "eu-n1", TLS_ALPN_CLIENT, TLS_ALPN_ANY);
	pump(pair.client, pair.server, 4096);
	assert_int_equal(tls_feed(pair.server, bytes_of(flood, sizeof(flood)), &why), STATUS_TOO_LARGE);
	pair_free(&pair);
}

/* A flipped bit within a record is found; nothing of the record comes out. */
static void a_changed_record_is_refused(void **state)
{
	(void)state;
	const char *why;
	uint8_t wire[200], window[100];
	struct pair pair = pair_of("app", "eu-n1", TLS_ALPN_CLIENT, TLS_ALPN_ANY);
	pump(pair.client, pair.server, 4096);
	assert_int_equal(tls_write(pair.client, bytes_text("secret")), 6);
	struct bytes pending = tls_pending(pair.client);
	assert_true(pending.size < sizeof(wire));
	memcpy(wire, pending.data, pending.size);
	wire[pending.size - 3] ^= 1;
	assert_int_equal(tls_feed(pair.server, bytes_of(wire, pending.size), &why), STATUS_OK);
	assert_int_equal(tls_read(pair.server, window, sizeof(window)), 0);
	assert_int_equal(tls_status(pair.server, &why), STATUS_INVALID);
	pair_free(&pair);
}

/* --- a client of plain OpenSSL, for what ours would never do ----------------------------------------- */

struct raw {
	SSL_CTX *context;
	SSL *ssl;
	struct tls *server;
};

static void raw_new(struct raw *raw, struct tls_context *server, const char *certificate, int version)
{
	raw->context = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_max_proto_version(raw->context, version);
	SSL_CTX_set_session_cache_mode(raw->context, SSL_SESS_CACHE_CLIENT);
	SSL_CTX_load_verify_file(raw->context, authority_path("cas", ".pem"));
	if (certificate) {
		SSL_CTX_use_certificate_chain_file(raw->context, authority_path(certificate, ".crt"));
		SSL_CTX_use_PrivateKey_file(raw->context, authority_path(certificate, ".key"), SSL_FILETYPE_PEM);
	}
	raw->ssl = SSL_new(raw->context);
	SSL_set_bio(raw->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	SSL_set_connect_state(raw->ssl);
	SSL_set_alpn_protos(raw->ssl,
		(const unsigned char *)"\x0a"
				       "domicile/1",
		11);
	raw->server = tls_new(server, true, TLS_ALPN_ANY);
}

static void raw_free(struct raw *raw)
{
	SSL_free(raw->ssl);
	SSL_CTX_free(raw->context);
	tls_free(raw->server);
}

static enum status raw_handshake(struct raw *raw, const char **why)
{
	enum status status = STATUS_OK;
	char buffer[4096];
	for (unsigned turn = 0; turn < 10 && status == STATUS_OK; turn++) {
		SSL_do_handshake(raw->ssl);
		int size = BIO_read(SSL_get_wbio(raw->ssl), buffer, sizeof(buffer));
		if (size > 0)
			status = tls_feed(raw->server, bytes_of(buffer, (size_t)size), why);
		struct bytes pending = tls_pending(raw->server);
		if (pending.size > 0)
			BIO_write(SSL_get_rbio(raw->ssl), pending.data, (int)pending.size);
		tls_consumed(raw->server, pending.size);
	}
	SSL_read(raw->ssl, buffer, 1); /* takes in tickets, if there were any */
	return status;
}

static void a_client_without_a_certificate_is_refused(void **state)
{
	(void)state;
	const char *why = "";
	struct raw raw;
	struct tls_context *server = context_of("eu-n1");
	raw_new(&raw, server, NULL, TLS1_3_VERSION);
	assert_int_equal(raw_handshake(&raw, &why), STATUS_DENIED);
	assert_non_null(strstr(why, "no certificate"));
	raw_free(&raw);
	tls_context_free(server);
}

static void an_older_tls_is_refused(void **state)
{
	(void)state;
	const char *why = "";
	struct raw raw;
	struct tls_context *server = context_of("eu-n1");
	raw_new(&raw, server, "app", TLS1_2_VERSION);
	assert_int_not_equal(raw_handshake(&raw, &why), STATUS_OK);
	assert_non_null(strstr(why, "unsupported protocol"));
	raw_free(&raw);
	tls_context_free(server);
}

static void a_session_is_never_resumed(void **state)
{
	(void)state;
	const char *why = "";
	struct raw first, second;
	struct tls_context *server = context_of("eu-n1");
	raw_new(&first, server, "app", TLS1_3_VERSION);
	assert_int_equal(raw_handshake(&first, &why), STATUS_OK);
	assert_true(tls_established(first.server));
	SSL_SESSION *session = SSL_get1_session(first.ssl);
	assert_non_null(session);
	assert_int_equal(SSL_SESSION_is_resumable(session), 0); /* no ticket came */
	raw_new(&second, server, "app", TLS1_3_VERSION);
	SSL_set_session(second.ssl, session);
	assert_int_equal(raw_handshake(&second, &why), STATUS_OK);
	assert_true(tls_established(second.server));
	assert_int_equal(SSL_session_reused(second.ssl), 0);
	assert_non_null(tls_peer_certificate(second.server));
	SSL_SESSION_free(session);
	raw_free(&first);
	raw_free(&second);
	tls_context_free(server);
}

/* --- contexts ----------------------------------------------------------------------------------------- */

static void contexts_say_what_is_missing(void **state)
{
	(void)state;
	struct tls_context *context;
	const char *why;
	char cert[160], key[160], cas[160];
	snprintf(cert, sizeof(cert), "%s", authority_path("eu-n1", ".crt"));
	snprintf(key, sizeof(key), "%s", authority_path("eu-n1", ".key"));
	snprintf(cas, sizeof(cas), "%s", authority_path("cas", ".pem"));
	assert_int_equal(tls_context_new("/nowhere", key, cas, &context, &why), STATUS_NOT_FOUND);
	assert_non_null(strstr(why, "certificate"));
	assert_int_equal(tls_context_new(cert, "/nowhere", cas, &context, &why), STATUS_NOT_FOUND);
	assert_non_null(strstr(why, "private key"));
	assert_int_equal(tls_context_new(cert, key, "/nowhere", &context, &why), STATUS_NOT_FOUND);
	assert_non_null(strstr(why, "authorities"));
	assert_int_equal(tls_context_new(cert, authority_path("us-n1", ".key"), cas, &context, &why), STATUS_INVALID);
	assert_non_null(strstr(why, "not the certificate's"));
	assert_null(context);
}

static void a_context_judges_its_own_certificate(void **state)
{
	(void)state;
	const char *why;
	X509 *issuer;
	struct tls_context *context = context_of("eu-n1");
	assert_int_equal(tls_context_check(context, &issuer, &why), STATUS_OK);
	assert_int_equal(X509_cmp(issuer, cast.eu.certificate), 0);
	assert_non_null(tls_context_certificate(context));
	tls_context_free(context);
	leaf_write(&cast.foreign, "foreign", &(struct leaf_form){ .names = "DNS:n9.a.eu-west-1.ie.eu.place.acme" });
	context = context_of("foreign");
	assert_int_equal(tls_context_check(context, &issuer, &why), STATUS_DENIED);
	assert_true(why[0]);
	assert_null(issuer);
	tls_context_free(context);
}

static void an_authority_may_be_added_later(void **state)
{
	(void)state;
	unsigned char *der = NULL;
	const char *why;
	int size = i2d_X509(cast.foreign.certificate, &der);
	leaf_write(&cast.foreign, "foreign", &(struct leaf_form){ .names = "DNS:n9.a.eu-west-1.ie.eu.place.acme" });
	struct pair pair = pair_of("foreign", "eu-n1", TLS_ALPN_CLIENT, TLS_ALPN_ANY);
	assert_int_equal(tls_context_trust(pair.server_context, bytes_of(der, (size_t)size)), STATUS_OK);
	assert_int_equal(tls_context_trust(pair.server_context, bytes_of(der, (size_t)size)), STATUS_OK);
	assert_int_equal(tls_context_trust(pair.server_context, bytes_of(der, (size_t)size - 1)), STATUS_INVALID);
	assert_int_equal(tls_context_trust(pair.server_context, bytes_of(NULL, 0)), STATUS_INVALID);
	pump(pair.client, pair.server, 4096);
	assert_int_equal(tls_status(pair.server, &why), STATUS_OK);
	assert_true(tls_established(pair.server));
	OPENSSL_free(der);
	pair_free(&pair);
}

/* An authority's certificate that was made anew with its key stands for the old one, also once that has ended. */
static void an_authority_may_be_renewed_with_its_key(void **state)
{
	(void)state;
	const char *why;
	char cas[160];
	struct authority old = { .key = EVP_PKEY_dup(cast.eu.key) };
	leaf_write(&cast.eu, "by-renewed", &(struct leaf_form){ .names = "DNS:n9.a.eu-west-1.ie.eu.place.acme" });
	old.certificate = certificate_begin(old.key, "ca-eu", NULL, -7200, -3600);
	add_extension(old.certificate, old.certificate, NID_basic_constraints, "critical,CA:TRUE");
	add_extension(old.certificate, old.certificate, NID_key_usage, "critical,keyCertSign,cRLSign");
	add_extension(old.certificate, old.certificate, NID_subject_key_identifier, "hash");
	X509_sign(old.certificate, old.key, EVP_sha256());
	snprintf(cas, sizeof(cas), "%s", authority_path("renewed", ".pem"));
	for (unsigned i = 0; i < 3; i++) { /* the old one first, last, alone */
		struct tls_context *context;
		write_certificate(cas, i == 1 ? cast.eu.certificate : old.certificate, "w");
		if (i < 2)
			write_certificate(cas, i == 1 ? old.certificate : cast.eu.certificate, "a");
		assert_int_equal(tls_context_new(authority_path("by-renewed", ".crt"),
					 authority_path("by-renewed", ".key"), cas, &context, &why),
			STATUS_OK);
		assert_int_equal(tls_context_check(context, NULL, &why), i < 2 ? STATUS_OK : STATUS_DENIED);
		tls_context_free(context);
	}
	authority_free(&old);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_pass_whatever_the_pieces),
		cmocka_unit_test(every_message_size_passes),
		cmocka_unit_test(nothing_is_taken_before_the_handshake),
		cmocka_unit_test(output_is_bounded),
		cmocka_unit_test(the_certificate_and_its_signer_are_known),
		cmocka_unit_test(closing_is_told_once),
		cmocka_unit_test(wrong_certificates_are_refused_by_name),
		cmocka_unit_test(an_alias_name_does_not_pass_the_constraint),
		cmocka_unit_test(no_common_protocol_is_refused),
		cmocka_unit_test(garbage_and_floods_are_refused),
		cmocka_unit_test(a_changed_record_is_refused),
		cmocka_unit_test(a_client_without_a_certificate_is_refused),
		cmocka_unit_test(an_older_tls_is_refused),
		cmocka_unit_test(a_session_is_never_resumed),
		cmocka_unit_test(contexts_say_what_is_missing),
		cmocka_unit_test(a_context_judges_its_own_certificate),
		cmocka_unit_test(an_authority_may_be_added_later),
		cmocka_unit_test(an_authority_may_be_renewed_with_its_key),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
