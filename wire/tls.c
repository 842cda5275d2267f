/* wire/tls.c: see wire/tls.h. The pump is one BIO of our own over two growing arrays, so that the bytes for the socket
 * are one view and OpenSSL's memory BIO does not shift them about.
 *
 * Traps that the shape answers: the error queue is cleared before every SSL call (what another connection left there
 * would be taken for ours); bytes that OpenSSL holds are invisible to epoll, so tls_read is called until it gives 0;
 * SSL_shutdown is called once and never after a failure; a failure is kept and is final.
 * Any one thread at a time per connection; a context is only read after it was made, but for tls_context_trust and
 * tls_context_revoke. */
#include "wire/tls.h"

#include <assert.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "wire/certificate.h"
#include "wire/revocations.h"

enum { ARRAY_SIZE_FIRST = 4096, ARRAY_KEEP_MAX = 128 << 10, RECORD_SIZE_MAX = 16 << 10, VERIFY_DEPTH = 3 };

struct array { /* bytes begin..end wait; begin == end: empty, both 0 */
	uint8_t *data;
	size_t begin, end, capacity;
};

struct tls_context {
	_Atomic unsigned refs; /* its owner's and one of each connection: the method lives in here */
	SSL_CTX *ssl;
	BIO_METHOD *method;
	struct revocations *revocations; /* NULL: none */
};

struct tls {
	struct tls_context *context;
	SSL *ssl;
	struct array in, out; /* as the socket sees them: encrypted */
	enum status failure;  /* OK: alive */
	uint8_t accepted;     /* of a server: bits of enum tls_alpn */
	bool server, established, shutdown;
	enum tls_alpn alpn;
	char why[192];
};

static const unsigned char alpn_peer[] = "\x0f"
					 "domicile-peer/1";
static const unsigned char alpn_client[] = "\x0a"
					   "domicile/1";

/* --- arrays ---------------------------------------------------------------------------------- */

static bool array_append(struct array *array, const void *data, size_t size)
{
	assert(array->begin <= array->end);
	if (array->capacity - array->end < size && array->begin > 0) {
		memmove(array->data, array->data + array->begin, array->end - array->begin);
		array->end -= array->begin;
		array->begin = 0;
	}
	if (array->capacity - array->end < size) {
		size_t capacity = array->capacity ? array->capacity : ARRAY_SIZE_FIRST;
		while (capacity < array->end + size)
			capacity *= 2;
		uint8_t *grown = realloc(array->data, capacity);
		if (!grown)
			return false;
		array->data = grown;
		array->capacity = capacity;
	}
	memcpy(array->data + array->end, data, size);
	array->end += size;
	return true;
}

static void array_consume(struct array *array, size_t size)
{
	assert(size <= array->end - array->begin);
	array->begin += size;
	if (array->begin < array->end)
		return;
	array->begin = array->end = 0;
	if (array->capacity > ARRAY_KEEP_MAX) { /* one burst does not keep its memory for ever */
		free(array->data);
		*array = (struct array){ 0 };
	}
}

static size_t array_size(const struct array *array)
{
	return array->end - array->begin;
}

/* --- the BIO ----------------------------------------------------------------------------------- */

static int bio_write(BIO *bio, const char *data, int size)
{
	struct tls *tls = BIO_get_data(bio);
	BIO_clear_retry_flags(bio);
	return size > 0 && array_append(&tls->out, data, (size_t)size) ? size : -1;
}

static int bio_read(BIO *bio, char *data, int capacity)
{
	struct tls *tls = BIO_get_data(bio);
	BIO_clear_retry_flags(bio);
	size_t size = array_size(&tls->in);
	if (size == 0 || capacity <= 0) {
		BIO_set_retry_read(bio);
		return -1;
	}
	if (size > (size_t)capacity)
		size = (size_t)capacity;
	memcpy(data, tls->in.data + tls->in.begin, size);
	array_consume(&tls->in, size);
	return (int)size;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
	struct tls *tls = BIO_get_data(bio);
	(void)number;
	(void)pointer;
	switch (command) {
	case BIO_CTRL_FLUSH:
		return 1;
	case BIO_CTRL_PENDING:
		return (long)array_size(&tls->in);
	case BIO_CTRL_WPENDING:
		return (long)array_size(&tls->out);
	default:
		return 0;
	}
}

static BIO_METHOD *method_new(void)
{
	BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "domicile");
	if (!method)
		return NULL;
	BIO_meth_set_write(method, bio_write);
	BIO_meth_set_read(method, bio_read);
	BIO_meth_set_ctrl(method, bio_ctrl);
	return method;
}

/* --- context ----------------------------------------------------------------------------------- */

/* The peer protocol goes first: a node that offers both means it. */
static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_size, const unsigned char *in,
	unsigned in_size, void *arg)
{
	const struct tls *tls = SSL_get_app_data(ssl);
	static const struct {
		enum tls_alpn alpn;
		const unsigned char *name;
	} known[] = { { TLS_ALPN_PEER, alpn_peer }, { TLS_ALPN_CLIENT, alpn_client } };
	(void)arg;
	for (unsigned i = 0; i < 2; i++)
		for (unsigned at = 0; at < in_size; at += 1u + in[at]) {
			unsigned size = in[at];
			if (!(tls->accepted & known[i].alpn) || size != known[i].name[0] || at + 1 + size > in_size)
				continue;
			if (memcmp(in + at + 1, known[i].name + 1, size) != 0)
				continue;
			*out = in + at + 1;
			*out_size = (unsigned char)size;
			return SSL_TLSEXT_ERR_OK;
		}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* An authority without a list has revoked nothing, and a list past its time still names whom it names: neither lets
 * anybody in whom a list keeps out, nor keeps everybody out. All else stays an error. */
static int on_verified(int passed, X509_STORE_CTX *check)
{
	if (passed)
		return passed;
	switch (X509_STORE_CTX_get_error(check)) {
	case X509_V_ERR_UNABLE_TO_GET_CRL:
	case X509_V_ERR_CRL_HAS_EXPIRED:
	case X509_V_ERR_CRL_NOT_YET_VALID:
		X509_STORE_CTX_set_error(check, X509_V_OK);
		return 1;
	default:
		return 0;
	}
}

static bool set_profile(SSL_CTX *ssl)
{
	static const unsigned char session_context[] = "domicile";
	SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, on_verified);
	SSL_CTX_set_verify_depth(ssl, VERIFY_DEPTH);
	SSL_CTX_set_alpn_select_cb(ssl, select_alpn, NULL);
	if (SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION) != 1)
		return false;
	if (SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) != 1)
		return false;
	if (SSL_CTX_set_num_tickets(ssl, 0) != 1 || SSL_CTX_set_max_early_data(ssl, 0) != 1)
		return false;
	if (SSL_CTX_set_ciphersuites(
		    ssl, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256") != 1)
		return false;
	return SSL_CTX_set_session_id_context(ssl, session_context, sizeof(session_context) - 1) == 1;
}

static enum status load_files(
	SSL_CTX *ssl, const char *cert_file, const char *key_file, const char *ca_file, const char **why)
{
	if (SSL_CTX_use_certificate_chain_file(ssl, cert_file) != 1) {
		*why = "the certificate cannot be read";
		return STATUS_NOT_FOUND;
	}
	if (SSL_CTX_use_PrivateKey_file(ssl, key_file, SSL_FILETYPE_PEM) != 1) {
		bool mismatch = ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH;
		*why = mismatch ? "the private key is not the certificate's" : "the private key cannot be read";
		return mismatch ? STATUS_INVALID : STATUS_NOT_FOUND;
	}
	if (SSL_CTX_check_private_key(ssl) != 1) {
		*why = "the private key is not the certificate's";
		return STATUS_INVALID;
	}
	if (SSL_CTX_load_verify_file(ssl, ca_file) != 1) {
		*why = "the certificate authorities cannot be read";
		return STATUS_NOT_FOUND;
	}
	return STATUS_OK;
}

enum status tls_context_new(const char *cert_file, const char *key_file, const char *ca_file,
	struct tls_context **context, const char **why)
{
	enum status status = STATUS_NO_MEMORY;
	*context = NULL;
	*why = "out of memory";
	ERR_clear_error();
	struct tls_context *made = calloc(1, sizeof(*made));
	if (!made)
		return status;
	made->refs = 1;
	made->method = method_new();
	made->ssl = SSL_CTX_new(TLS_method());
	if (!made->method || !made->ssl)
		goto undo;
	if (!set_profile(made->ssl)) {
		*why = "this OpenSSL does not know TLS 1.3 as it is wanted here";
		status = STATUS_UNSUPPORTED;
		goto undo;
	}
	status = load_files(made->ssl, cert_file, key_file, ca_file, why);
	if (status != STATUS_OK)
		goto undo;
	ERR_clear_error();
	*context = made;
	*why = "";
	return STATUS_OK;
undo:
	ERR_clear_error();
	tls_context_free(made);
	return status;
}

void tls_context_free(struct tls_context *context)
{
	if (!context || atomic_fetch_sub(&context->refs, 1) != 1)
		return;
	SSL_CTX_free(context->ssl);
	revocations_unref(context->revocations);
	BIO_meth_free(context->method);
	free(context);
}

enum status tls_context_trust(struct tls_context *context, struct bytes ca_der)
{
	const unsigned char *at = ca_der.data;
	ERR_clear_error();
	if (ca_der.size == 0 || ca_der.size > INT32_MAX)
		return STATUS_INVALID;
	X509 *ca = d2i_X509(NULL, &at, (long)ca_der.size);
	bool whole = ca && at == (const unsigned char *)ca_der.data + ca_der.size;
	/* A certificate that is there already is no error. */
	bool added = whole && X509_STORE_add_cert(SSL_CTX_get_cert_store(context->ssl), ca) == 1;
	X509_free(ca);
	ERR_clear_error();
	return added ? STATUS_OK : whole ? STATUS_NO_MEMORY : STATUS_INVALID;
}

static int store_index; /* of a store's context among its ex_data; negative: none was to be had */
static pthread_once_t store_index_once = PTHREAD_ONCE_INIT;

static void make_store_index(void)
{
	store_index = X509_STORE_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

/* Looked up anew for each check, so that a context's lists can be others from one moment to the next. */
static STACK_OF(X509_CRL) * lists_of(const X509_STORE_CTX *check, const X509_NAME *name)
{
	const struct tls_context *context = X509_STORE_get_ex_data(X509_STORE_CTX_get0_store(check), store_index);
	return revocations_of(context->revocations, name);
}

enum status tls_context_revoke(
	struct tls_context *context, struct revocations *revocations, unsigned *strangers, const char **why)
{
	X509_STORE *store = SSL_CTX_get_cert_store(context->ssl);
	enum status status = revocations_judge(revocations, store, strangers, why);
	if (status != STATUS_OK)
		return status;
	*why = "out of memory";
	pthread_once(&store_index_once, make_store_index);
	if (store_index < 0 || X509_STORE_set_ex_data(store, store_index, context) != 1 ||
		(revocations && X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK) != 1))
		return STATUS_NO_MEMORY;
	X509_STORE_set_lookup_crls(store, lists_of);
	revocations_unref(context->revocations);
	context->revocations = revocations_ref(revocations);
	*why = "";
	return STATUS_OK;
}

X509 *tls_context_certificate(const struct tls_context *context)
{
	return SSL_CTX_get0_certificate(context->ssl);
}

EVP_PKEY *tls_context_key(const struct tls_context *context)
{
	return SSL_CTX_get0_privatekey(context->ssl);
}

enum status tls_context_check(const struct tls_context *context, X509 **issuer, const char **why)
{
	static _Thread_local char text[160];
	enum status status = STATUS_DENIED;
	STACK_OF(X509) *extra = NULL;
	ERR_clear_error();
	if (issuer)
		*issuer = NULL;
	*why = "out of memory";
	X509_STORE_CTX *check = X509_STORE_CTX_new();
	if (!check)
		return STATUS_NO_MEMORY;
	SSL_CTX_get0_chain_certs(context->ssl, &extra);
	if (X509_STORE_CTX_init(
		    check, SSL_CTX_get_cert_store(context->ssl), SSL_CTX_get0_certificate(context->ssl), extra) != 1) {
		status = STATUS_NO_MEMORY;
		goto done;
	}
	X509_STORE_CTX_set_depth(check, VERIFY_DEPTH);
	X509_STORE_CTX_set_verify_cb(check, on_verified);
	if (X509_verify_cert(check) != 1) {
		snprintf(text, sizeof(text), "%s", X509_verify_cert_error_string(X509_STORE_CTX_get_error(check)));
		*why = text;
		goto done;
	}
	/* The store or the context's own chain holds a reference for as long as the context lives. */
	STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(check);
	if (issuer && sk_X509_num(chain) > 1)
		*issuer = sk_X509_value(chain, 1);
	*why = "";
	status = STATUS_OK;
done:
	X509_STORE_CTX_free(check);
	ERR_clear_error();
	return status;
}

/* --- a connection -------------------------------------------------------------------------------- */

struct tls *tls_new(struct tls_context *context, bool server, enum tls_alpn offered)
{
	assert(offered >= TLS_ALPN_PEER);
	assert(offered <= (server ? TLS_ALPN_ANY : TLS_ALPN_CLIENT));
	ERR_clear_error();
	struct tls *tls = calloc(1, sizeof(*tls));
	if (!tls)
		return NULL;
	atomic_fetch_add(&context->refs, 1);
	tls->context = context;
	tls->server = server;
	tls->accepted = (uint8_t)offered;
	tls->ssl = SSL_new(context->ssl);
	BIO *bio = BIO_new(context->method);
	if (!tls->ssl || !bio) {
		BIO_free(bio);
		goto no_memory;
	}
	BIO_set_data(bio, tls);
	BIO_set_init(bio, 1);
	SSL_set_bio(tls->ssl, bio, bio); /* takes the one reference for both directions */
	SSL_set_app_data(tls->ssl, tls);
	if (server) {
		SSL_set_accept_state(tls->ssl);
		return tls;
	}
	const unsigned char *name = offered == TLS_ALPN_PEER ? alpn_peer : alpn_client;
	if (SSL_set_alpn_protos(tls->ssl, name, name[0] + 1u) != 0)
		goto no_memory;
	SSL_set_connect_state(tls->ssl);
	if (SSL_do_handshake(tls->ssl) == 1 || SSL_get_error(tls->ssl, -1) == SSL_ERROR_WANT_READ)
		return tls; /* the client's hello is pending */
no_memory:
	ERR_clear_error();
	tls_free(tls);
	return NULL;
}

void tls_free(struct tls *tls)
{
	if (!tls)
		return;
	SSL_free(tls->ssl);
	tls_context_free(tls->context);
	free(tls->in.data);
	free(tls->out.data);
	free(tls);
}

static enum status fail(struct tls *tls, enum status status, const char *prefix, const char *text)
{
	assert(status != STATUS_OK);
	if (tls->failure == STATUS_OK) {
		tls->failure = status;
		snprintf(tls->why, sizeof(tls->why), "%s%s", prefix, text ? text : "for no stated reason");
	}
	return tls->failure;
}

/* Reasons of an alert that the peer sent are numbered 1000 and up. */
static bool is_alert(unsigned long error)
{
	return ERR_GET_LIB(error) == ERR_LIB_SSL && ERR_GET_REASON(error) >= SSL_AD_REASON_OFFSET;
}

/* What the SSL call that gave `result` means. Waiting for more bytes is no failure. */
static enum status judge(struct tls *tls, int result)
{
	int kind = SSL_get_error(tls->ssl, result);
	if (kind == SSL_ERROR_WANT_READ)
		return STATUS_OK;
	if (kind == SSL_ERROR_ZERO_RETURN)
		return fail(tls, STATUS_CLOSED, "", "the other side closed the connection");
	unsigned long error = ERR_peek_error();
	long verified = SSL_get_verify_result(tls->ssl);
	const char *reason = ERR_reason_error_string(error);
	if (kind == SSL_ERROR_SSL && is_alert(error))
		fail(tls, STATUS_DENIED, "the other side refused: ", reason);
	else if (kind == SSL_ERROR_SSL && !tls->established && verified != X509_V_OK)
		fail(tls, STATUS_DENIED, "certificate refused: ", X509_verify_cert_error_string(verified));
	else if (ERR_GET_REASON(error) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
		fail(tls, STATUS_DENIED, "", "the other side has no certificate");
	else if (ERR_GET_REASON(error) == SSL_R_NO_APPLICATION_PROTOCOL)
		fail(tls, STATUS_DENIED, "", "the other side speaks no protocol that is spoken here");
	else if (ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE)
		fail(tls, STATUS_NO_MEMORY, "", "out of memory");
	else
		fail(tls, STATUS_INVALID, "TLS: ", reason);
	ERR_clear_error();
	return tls->failure;
}

/* No protocol in common, or none named at all, ends a handshake that OpenSSL itself would accept. */
static enum status finish_handshake(struct tls *tls)
{
	const unsigned char *name = NULL;
	unsigned size = 0;
	SSL_get0_alpn_selected(tls->ssl, &name, &size);
	if (size == alpn_peer[0] && memcmp(name, alpn_peer + 1, size) == 0)
		tls->alpn = TLS_ALPN_PEER;
	else if (size == alpn_client[0] && memcmp(name, alpn_client + 1, size) == 0)
		tls->alpn = TLS_ALPN_CLIENT;
	if (!(tls->alpn & tls->accepted))
		return fail(tls, STATUS_DENIED, "", "the other side speaks no protocol that is spoken here");
	X509 *peer = SSL_get0_peer_certificate(tls->ssl);
	if (!peer || SSL_get_verify_result(tls->ssl) != X509_V_OK)
		return fail(tls, STATUS_DENIED, "", "the other side has no certificate");
	assert(SSL_version(tls->ssl) == TLS1_3_VERSION);
	tls->established = true;
	return STATUS_OK;
}

enum status tls_feed(struct tls *tls, struct bytes wire, const char **why)
{
	if (tls->failure == STATUS_OK && wire.size > 0) {
		if (array_size(&tls->in) + wire.size > TLS_INPUT_MAX)
			fail(tls, STATUS_TOO_LARGE, "", "more bytes were fed than read");
		else if (!array_append(&tls->in, wire.data, wire.size))
			fail(tls, STATUS_NO_MEMORY, "", "out of memory");
	}
	if (tls->failure == STATUS_OK && !tls->established) {
		ERR_clear_error();
		int result = SSL_do_handshake(tls->ssl);
		if ((result == 1 ? finish_handshake(tls) : judge(tls, result)) == STATUS_OK)
			assert(result == 1 || !tls->established);
	}
	return tls_status(tls, why);
}

enum status tls_status(const struct tls *tls, const char **why)
{
	*why = tls->failure == STATUS_OK ? "" : tls->why;
	return tls->failure;
}

bool tls_established(const struct tls *tls)
{
	return tls->established;
}

enum tls_alpn tls_alpn(const struct tls *tls)
{
	assert(tls->established);
	return tls->alpn;
}

size_t tls_write(struct tls *tls, struct bytes plain)
{
	size_t taken = 0;
	if (!tls->established || tls->shutdown)
		return 0;
	while (tls->failure == STATUS_OK && taken < plain.size && array_size(&tls->out) < TLS_OUTPUT_MAX) {
		size_t size = plain.size - taken, written = 0;
		ERR_clear_error();
		int result = SSL_write_ex(tls->ssl, (const uint8_t *)plain.data + taken,
			size < RECORD_SIZE_MAX ? size : RECORD_SIZE_MAX, &written);
		if (result != 1) {
			if (judge(tls, result) == STATUS_OK)
				break; /* it first wants to read: a later call goes on */
			return taken;
		}
		taken += written;
	}
	assert(taken <= plain.size);
	return taken;
}

size_t tls_read(struct tls *tls, void *plain, size_t capacity)
{
	size_t size = 0;
	if (!tls->established || tls->failure != STATUS_OK)
		return 0;
	while (size < capacity) {
		size_t got = 0;
		ERR_clear_error();
		int result = SSL_read_ex(tls->ssl, (uint8_t *)plain + size, capacity - size, &got);
		if (result != 1) {
			enum status status = judge(tls, result);
			assert(status == tls->failure);
			break;
		}
		size += got;
	}
	return size;
}

struct bytes tls_pending(struct tls *tls)
{
	return bytes_of(tls->out.data ? tls->out.data + tls->out.begin : NULL, array_size(&tls->out));
}

void tls_consumed(struct tls *tls, size_t size)
{
	array_consume(&tls->out, size);
}

void tls_shutdown(struct tls *tls)
{
	if (tls->shutdown || !tls->established)
		return;
	if (tls->failure != STATUS_OK && tls->failure != STATUS_CLOSED)
		return;
	tls->shutdown = true;
	ERR_clear_error();
	SSL_shutdown(tls->ssl); /* queues close_notify; the peer's is not waited for */
	ERR_clear_error();
}

X509 *tls_peer_certificate(struct tls *tls)
{
	return SSL_get0_peer_certificate(tls->ssl);
}

int64_t tls_peer_expires_s(struct tls *tls)
{
	STACK_OF(X509) *chain = SSL_get0_verified_chain(tls->ssl);
	int64_t first = INT64_MAX;
	for (int i = 0; chain && i < sk_X509_num(chain); i++) {
		int64_t at = certificate_ends_s(sk_X509_value(chain, i));
		first = at < first ? at : first;
	}
	return chain ? first : 0;
}

size_t tls_memory(const struct tls *tls)
{
	return tls->in.capacity + tls->out.capacity;
}

X509 *tls_peer_issuer(struct tls *tls)
{
	STACK_OF(X509) *chain = SSL_get0_verified_chain(tls->ssl);
	return chain && sk_X509_num(chain) > 1 ? sk_X509_value(chain, 1) : NULL;
}

bool tls_peer_revoked(struct tls *tls, const struct revocations *revocations)
{
	X509 *issuer = tls->established ? tls_peer_issuer(tls) : NULL;
	return issuer && revocations_hold(revocations, tls_peer_certificate(tls), issuer);
}
