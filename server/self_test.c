/* server/self_test.c: see server/self_test.h. The impostor is plain OpenSSL and accepts any server: only the server's
 * judgement is on trial. Its certificate is our own with another key, signed by that key. */
#include "server/self_test.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "wire/tls.h"

enum { TURNS_MAX = 10 };

/* Ours to the letter, but for key and signature. */
static X509 *forge(const struct tls_context *context, EVP_PKEY *key)
{
	X509 *forged = X509_dup(tls_context_certificate(context));
	if (forged && X509_set_pubkey(forged, key) == 1 && X509_sign(forged, key, EVP_sha256()) > 0)
		return forged;
	X509_free(forged);
	return NULL;
}

static bool prepare(SSL_CTX *client, const struct tls_context *context)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *forged = key ? forge(context, key) : NULL;
	bool ready = forged && SSL_CTX_use_certificate(client, forged) == 1 && SSL_CTX_use_PrivateKey(client, key) == 1;
	X509_free(forged);
	EVP_PKEY_free(key);
	return ready;
}

static bool shake_hands(SSL *client, struct tls *server)
{
	uint8_t buffer[8192];
	const char *why;
	enum status status = STATUS_OK;
	for (unsigned turn = 0; turn < TURNS_MAX && status == STATUS_OK; turn++) {
		SSL_do_handshake(client);
		int size = BIO_read(SSL_get_wbio(client), buffer, sizeof(buffer));
		if (size > 0)
			status = tls_feed(server, bytes_of(buffer, (size_t)size), &why);
		struct bytes pending = tls_pending(server);
		if (pending.size > 0)
			BIO_write(SSL_get_rbio(client), pending.data, (int)pending.size);
		tls_consumed(server, pending.size);
	}
	return status == STATUS_DENIED && !tls_established(server);
}

/* OK: refused, as it must be. */
static enum status try_impostor(struct tls_context *context, bool with_certificate)
{
	static const unsigned char protocol[] = "\x0f"
						"domicile-peer/1";
	enum status status = STATUS_NO_MEMORY;
	SSL_CTX *client_context = SSL_CTX_new(TLS_client_method());
	SSL *client = NULL;
	struct tls *server = tls_new(context, true, TLS_ALPN_ANY);
	if (!client_context || !server || (with_certificate && !prepare(client_context, context)))
		goto done;
	client = SSL_new(client_context);
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
	if (!client || !in || !out) {
		BIO_free(in);
		BIO_free(out);
		goto done;
	}
	SSL_set_bio(client, in, out);
	SSL_set_connect_state(client);
	if (SSL_set_alpn_protos(client, protocol, sizeof(protocol) - 1) == 0)
		status = shake_hands(client, server) ? STATUS_OK : STATUS_DENIED;
done:
	SSL_free(client);
	SSL_CTX_free(client_context);
	tls_free(server);
	ERR_clear_error();
	return status;
}

enum status self_test(struct tls_context *context, const char **why)
{
	enum status status = try_impostor(context, false);
	*why = status == STATUS_DENIED ? "a connection without a certificate was let in"
				       : "the self-test could not be made";
	if (status != STATUS_OK)
		return status;
	status = try_impostor(context, true);
	*why = status == STATUS_DENIED ? "a certificate that no authority signed was let in"
				       : "the self-test could not be made";
	return status;
}
