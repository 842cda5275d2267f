#include "server/attest.h"

#include <openssl/x509.h>

#include "wire/certificate.h"

enum status attest_region_ca(
	struct bytes der, const char *place, const char *cluster, uint8_t spki_sha256[32], const char **why)
{
	const unsigned char *at = der.data;
	X509 *ca = d2i_X509(NULL, &at, (long)der.size);
	enum status status;

	if (ca == NULL) {
		*why = "the CA is not a certificate; give the region's own CA file";
		return STATUS_INVALID;
	}
	status = certificate_check_region_ca(ca, place, cluster, why);
	if (status == STATUS_OK)
		status = certificate_spki_sha256(ca, spki_sha256);
	X509_free(ca);
	return status;
}
