/* server/attest.h: the one judgement of the node's core that needs OpenSSL: is this certificate the authority of that
 * region? A file of its own, so that the simulator can attest its regions without certificates. */
#ifndef DOMICILE_SERVER_ATTEST_H
#define DOMICILE_SERVER_ATTEST_H

#include "base/bytes.h"
#include "base/status.h"

/* The certificate (DER) is a self-signed CA whose critical name constraint is exactly this place; its key's SHA-256. */
enum status attest_region_ca(
	struct bytes der, const char *place, const char *cluster, uint8_t spki_sha256[32], const char **why) MUST;

#endif
