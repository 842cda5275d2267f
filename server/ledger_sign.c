/* server/ledger_sign.c: see server/ledger_sign.h. */
#include "server/ledger_sign.h"

#include <openssl/x509.h>

#include "wire/certificate.h"

enum { DER_MAX = 16 << 10 };

struct bytes ledger_certificate(const struct tls_context *context)
{
	static uint8_t der[DER_MAX];
	X509 *certificate = tls_context_certificate(context);
	unsigned char *at = der;
	int size = certificate == NULL ? 0 : i2d_X509(certificate, NULL);

	if (size <= 0 || size > DER_MAX || i2d_X509(certificate, &at) != size)
		return bytes_of(NULL, 0);
	return bytes_of(der, (size_t)size);
}

bool ledger_sign(
	const struct tls_context *context, struct bytes text, uint8_t *signature, size_t capacity, size_t *size)
{
	EVP_PKEY *key = tls_context_key(context);

	return key != NULL && certificate_sign(key, text, signature, capacity, size) == STATUS_OK;
}
