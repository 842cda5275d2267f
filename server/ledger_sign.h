/* server/ledger_sign.h: the node's certificate as its ledger has it, and the signature under a head. With attest.h the
 * one thing of the node's core that needs OpenSSL; the simulator has its own. */
#ifndef DOMICILE_SERVER_LEDGER_SIGN_H
#define DOMICILE_SERVER_LEDGER_SIGN_H

#include "base/bytes.h"
#include "wire/tls.h"

struct bytes ledger_certificate(const struct tls_context *context); /* DER; until the next call; empty: none */
bool ledger_sign(
	const struct tls_context *context, struct bytes text, uint8_t *signature, size_t capacity, size_t *size);

#endif
