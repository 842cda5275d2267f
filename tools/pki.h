/* tools/pki.h: the certificates of a cluster, made with OpenSSL: one authority a region, bound by a critical name
 * constraint to its region's place; one authority for administrators, bound to theirs; leaves for nodes, clients and
 * administrators in the one form that wire/certificate.h accepts.
 *
 * Files, all PEM, keys 0600, nothing is ever overwritten but cas.pem, which is the sum of the authorities'
 * certificates: DIR/ca-REGION.crt .key     a region's authority (REGION: the last component of its place)
 *   DIR/ca-admin.crt .key      the administrators'
 *   DIR/ca-REGION.crl ca-admin.crl         whom the authority has revoked
 *   OUT/node.crt node.key cas.pem          what a node's `certs` directory holds
 *   OUT/client-REGION.crt .key cas.pem     a client that acts in that region
 *   OUT/admin.crt .key cas.pem             an administrator
 *   OUT/crls.pem               the sum of the authorities' lists
 * The key of a region's authority belongs in that region and nowhere else. */
#ifndef DOMICILE_TOOLS_PKI_H
#define DOMICILE_TOOLS_PKI_H

#include "base/status.h"
#include "base/text.h"
#include "wire/certificate.h"

enum {
	PKI_DAYS_CA = 1826, /* five years */
	PKI_DAYS_LEAF = 90,
	PKI_DAYS_MAX = 7305, /* twenty years */
	PKI_PATH_MAX = 1024,
};

/* For all: days 0 is the default above. `why`, for people, says what, why and what to do; it may name files, never
 * holds a key. CONFLICT: a file is there already. INVALID: a name or place. NOT_FOUND: the authority's files. IO. */
enum status pki_create_region_ca(
	const char *dir, const char *cluster, const char *place, uint32_t days, struct text *why) MUST;
enum status pki_create_admin_ca(const char *dir, const char *cluster, uint32_t days, struct text *why) MUST;

/* dir: of the authorities. The role decides the authority and the files' names. out is made when it is not there, 0700.
 */
enum status pki_issue(
	const char *dir, const char *out, const struct certificate_name *name, uint32_t days, struct text *why) MUST;
/* OUT/cas.pem anew from every DIR/ca-*.crt. NOT_FOUND: there is none. */
enum status pki_write_cas(const char *dir, const char *out, struct text *why) MUST;

/* Whom an authority revokes from now on, besides all that its list names already: the certificate in `file`, or the
 * serial number (hexadecimal), or nobody: then the list is only made anew. Without a file `place` is the region's whose
 * authority it is, "" the administrators'. `days` until a newer list is due. Writes the list and OUT/crls.pem; `said`
 * is what was done, or else why not. INVALID: not this authority's certificate; a list that is damaged or another's. */
struct pki_revocation {
	const char *file, *serial, *place;
	uint32_t days;
};
enum status pki_revoke(
	const char *dir, const char *out, const struct pki_revocation *revocation, struct text *said) MUST;

/* Reading what is there. */
enum pki_kind { PKI_REGION_CA = 1, PKI_ADMIN_CA = 2, PKI_LEAF = 3 };
struct pki_info {
	char file[PKI_PATH_MAX];
	enum pki_kind kind;
	struct certificate_name name; /* of a leaf; of an authority: cluster and place ("" for the administrators') */
	char issuer[128];	      /* common name */
	int64_t not_before_s, not_after_s; /* since 1970 */
	uint8_t spki_sha256[32];
	uint8_t serial[20];
	size_t serial_size;
};
/* The first certificate in a file. INVALID: none of ours; `why` says what is wrong with it. */
enum status pki_read(const char *file, struct pki_info *info, struct text *why) MUST;
/* Every *.crt of ours in a directory, by name; files that are none of ours are passed over. */
enum status pki_list(const char *dir, struct pki_info *infos, size_t max, size_t *count, struct text *why) MUST;
/* Would a node with these authorities accept the certificate? Chain, dates, constraint, form; `key` (NULL: not asked)
 * is the certificate's and no one else may read it. DENIED with the reason. */
enum status pki_verify(const char *file, const char *key, const char *cas, struct text *why) MUST;

#endif
