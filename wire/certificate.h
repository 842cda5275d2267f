/* wire/certificate.h: what a certificate says: role and place, by the form of its one DNS name.
 *
 *   node    n1.a.eu-west-1.ie.eu.place.<cluster>       place eu/ie/eu-west-1/a/n1
 *   client  app1.client.eu-west-1.ie.eu.place.<cluster> place eu/ie/eu-west-1, name app1 (`client` cannot be a zone)
 *   admin   ops.admin.<cluster>                         signed by the admin CA
 *
 * Exactly one SAN, a DNS name, lower case; any URI, IP, e-mail or second name is refused (OpenSSL's name constraint on
 * DNS names does not bind the others). Leaf: CA:FALSE, keyUsage critical with digitalSignature and without
 * keyCertSign/cRLSign, extended usage both serverAuth and clientAuth. A region's CA is self-signed with a critical
 * name constraint for exactly its region's subtree. */
#ifndef DOMICILE_WIRE_CERTIFICATE_H
#define DOMICILE_WIRE_CERTIFICATE_H

#include "base/bytes.h"
#include "base/status.h"

struct x509_st;
enum certificate_role { CERTIFICATE_NODE = 1, CERTIFICATE_CLIENT = 2, CERTIFICATE_ADMIN = 3 };
struct certificate_name {
	enum certificate_role role;
	char place[256]; /* path; "" for an admin */
	char name[64];	 /* client or admin; for a node its last component */
	char cluster[64];
};
enum status certificate_name_of(struct x509_st *certificate, struct certificate_name *name, const char **why) MUST;
enum status certificate_name_parse(const char *dns, struct certificate_name *name, const char **why) MUST;
/* "n1.a.eu-west-1.ie.eu.place.acme" from a place etc. False: does not fit. */
bool certificate_dns_of(const struct certificate_name *name, char *dns, size_t capacity);
/* "eu-west-1.ie.eu.place.acme": the one subtree that a region's CA is constrained to. False: does not fit. */
bool certificate_subtree_of(const char *place, const char *cluster, char *dns, size_t capacity);
enum status certificate_spki_sha256(struct x509_st *certificate, uint8_t digest[32]) MUST;
int64_t certificate_ends_s(struct x509_st *certificate); /* since 1970; 0: not to be read */
/* A region's CA: is a CA, self-signed, and its critical name constraint permits exactly this place's subtree. */
enum status certificate_check_region_ca(
	struct x509_st *ca, const char *place, const char *cluster, const char **why) MUST;
/* What is signed here is a text of its own, never a certificate: ECDSA and RSA over SHA-256, or Ed25519. DENIED. */
enum status certificate_signed(struct x509_st *certificate, struct bytes text, struct bytes signature) MUST;
struct evp_pkey_st;
/* *size: of the signature. TOO_LARGE: it does not fit. */
enum status certificate_sign(
	struct evp_pkey_st *key, struct bytes text, uint8_t *signature, size_t capacity, size_t *size) MUST;
/* PEM file or text -> DER into out. */
enum status certificate_pem_to_der(struct bytes pem, uint8_t *der, size_t capacity, size_t *size) MUST;

#endif
