/* Certificates for the tests of wire/: authorities and leaves, right ones and each kind of wrong one, as PEM files in a
 * directory of the test's own. Made here with plain OpenSSL, so that what the product makes and what it accepts are
 * not checked against each other. */
#ifndef DOMICILE_TESTS_UNIT_WIRE_AUTHORITY_H
#define DOMICILE_TESTS_UNIT_WIRE_AUTHORITY_H

#include <assert.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct authority {
	EVP_PKEY *key;
	X509 *certificate;
};
struct leaf_form { /* zero or NULL: as it should be */
	const char *names, *usage, *extended, *basic;
	long from_s, to_s; /* validity, seconds from now; both 0: now and for an hour */
};

static char authority_directory[64];

static inline void authority_begin(void)
{
	snprintf(authority_directory, sizeof(authority_directory), "/tmp/test-wire-XXXXXX");
	char *made = mkdtemp(authority_directory);
	assert(made);
}

static inline const char *authority_path(const char *name, const char *suffix)
{
	static char path[4][160];
	static unsigned turn;
	char *out = path[turn++ % 4];
	snprintf(out, sizeof(path[0]), "%s/%s%s", authority_directory, name, suffix);
	return out;
}

static inline void authority_end(void)
{
	char command[128];
	snprintf(command, sizeof(command), "rm -rf '%s'", authority_directory);
	int gone = system(command);
	assert(gone == 0);
}

static inline void add_extension(X509 *certificate, X509 *issuer, int nid, const char *text)
{
	X509V3_CTX context;
	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, text);
	assert(extension);
	X509_add_ext(certificate, extension, -1);
	X509_EXTENSION_free(extension);
}

static inline X509 *certificate_begin(EVP_PKEY *key, const char *common_name, X509 *issuer, long from_s, long to_s)
{
	static long serial = 1;
	X509 *certificate = X509_new();
	X509_set_version(certificate, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
	X509_gmtime_adj(X509_getm_notBefore(certificate), from_s);
	X509_gmtime_adj(X509_getm_notAfter(certificate), to_s);
	X509_set_pubkey(certificate, key);
	X509_NAME *name = X509_get_subject_name(certificate);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)common_name, -1, -1, 0);
	X509_set_issuer_name(certificate, issuer ? X509_get_subject_name(issuer) : name);
	return certificate;
}

static inline void write_certificate(const char *path, X509 *certificate, const char *mode)
{
	FILE *file = fopen(path, mode);
	assert(file);
	PEM_write_X509(file, certificate);
	fclose(file);
}

/* constraints: as in openssl.cnf, "critical,permitted;DNS:..."; NULL for none. Signed by itself. */
static inline struct authority authority_new(const char *name, const char *constraints)
{
	struct authority made = { .key = EVP_EC_gen("P-256") };
	made.certificate = certificate_begin(made.key, name, NULL, -3600, 36000);
	add_extension(made.certificate, made.certificate, NID_basic_constraints, "critical,CA:TRUE");
	add_extension(made.certificate, made.certificate, NID_key_usage, "critical,keyCertSign,cRLSign");
	add_extension(made.certificate, made.certificate, NID_subject_key_identifier, "hash");
	if (constraints)
		add_extension(made.certificate, made.certificate, NID_name_constraints, constraints);
	X509_sign(made.certificate, made.key, EVP_sha256());
	write_certificate(authority_path(name, ".crt"), made.certificate, "w");
	return made;
}

static inline void authority_free(struct authority *authority)
{
	EVP_PKEY_free(authority->key);
	X509_free(authority->certificate);
}

/* Writes NAME.crt and NAME.key. */
static inline void leaf_write(const struct authority *by, const char *name, const struct leaf_form *form)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	bool validity = form->from_s != 0 || form->to_s != 0;
	X509 *leaf = certificate_begin(
		key, name, by->certificate, validity ? form->from_s : -60, validity ? form->to_s : 3600);
	add_extension(leaf, by->certificate, NID_basic_constraints, form->basic ? form->basic : "critical,CA:FALSE");
	add_extension(leaf, by->certificate, NID_key_usage, form->usage ? form->usage : "critical,digitalSignature");
	add_extension(
		leaf, by->certificate, NID_ext_key_usage, form->extended ? form->extended : "serverAuth,clientAuth");
	if (form->names && form->names[0])
		add_extension(leaf, by->certificate, NID_subject_alt_name, form->names);
	X509_sign(leaf, by->key, EVP_sha256());
	write_certificate(authority_path(name, ".crt"), leaf, "w");
	FILE *file = fopen(authority_path(name, ".key"), "w");
	assert(file);
	PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
	fclose(file);
	X509_free(leaf);
	EVP_PKEY_free(key);
}

static inline X509 *certificate_load(const char *path)
{
	FILE *file = fopen(path, "r");
	assert(file);
	X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);
	fclose(file);
	return certificate;
}

/* A list of revoked certificates of an authority, appended to NAME.pem or, with mode "w", alone in it. */
struct list_form {
	long number, from_s, to_s; /* from_s, to_s: seconds from now; both 0: since a minute, for an hour */
	const char *revoked[4];	   /* names of leaves, NULL at the end */
	const char *extension;	   /* of the issuing distribution point; NULL: none */
	EVP_PKEY *key;		   /* signs instead of the authority's own */
};

static inline void list_write(
	const struct authority *by, const char *name, const char *mode, const struct list_form *form)
{
	bool validity = form->from_s != 0 || form->to_s != 0;
	X509_CRL *list = X509_CRL_new();
	ASN1_TIME *at = ASN1_TIME_new();
	ASN1_INTEGER *number = ASN1_INTEGER_new();
	X509_CRL_set_version(list, X509_CRL_VERSION_2);
	X509_CRL_set_issuer_name(list, X509_get_subject_name(by->certificate));
	X509_CRL_set1_lastUpdate(list, X509_gmtime_adj(at, validity ? form->from_s : -60));
	X509_CRL_set1_nextUpdate(list, X509_gmtime_adj(at, validity ? form->to_s : 3600));
	ASN1_INTEGER_set(number, form->number);
	X509_CRL_add1_ext_i2d(list, NID_crl_number, number, 0, 0);
	X509V3_CTX context;
	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, by->certificate, NULL, NULL, list, 0);
	X509_EXTENSION *key_id =
		X509V3_EXT_conf_nid(NULL, &context, NID_authority_key_identifier, (char *)"keyid:always");
	X509_CRL_add_ext(list, key_id, -1);
	X509_EXTENSION_free(key_id);
	if (form->extension) {
		X509_EXTENSION *extension =
			X509V3_EXT_conf_nid(NULL, &context, NID_issuing_distribution_point, (char *)form->extension);
		assert(extension);
		X509_CRL_add_ext(list, extension, -1);
		X509_EXTENSION_free(extension);
	}
	for (unsigned i = 0; i < 4 && form->revoked[i]; i++) {
		X509 *leaf = certificate_load(authority_path(form->revoked[i], ".crt"));
		X509_REVOKED *entry = X509_REVOKED_new();
		X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(leaf));
		X509_REVOKED_set_revocationDate(entry, X509_gmtime_adj(at, -60));
		X509_CRL_add0_revoked(list, entry);
		X509_free(leaf);
	}
	X509_CRL_sort(list);
	X509_CRL_sign(list, form->key ? form->key : by->key, EVP_sha256());
	FILE *file = fopen(authority_path(name, ".pem"), mode);
	assert(file);
	PEM_write_X509_CRL(file, list);
	fclose(file);
	ASN1_INTEGER_free(number);
	ASN1_TIME_free(at);
	X509_CRL_free(list);
}

/* The usual cast: authorities of eu-west-1, us-east-1 and the administrators in cas.pem; foreign in no file. */
struct cast {
	struct authority eu, us, admin, foreign;
};

static inline void cast_begin(struct cast *cast)
{
	authority_begin();
	cast->eu = authority_new("ca-eu", "critical,permitted;DNS:eu-west-1.ie.eu.place.acme");
	cast->us = authority_new("ca-us", "critical,permitted;DNS:us-east-1.us.place.acme");
	cast->admin = authority_new("ca-admin", "critical,permitted;DNS:admin.acme");
	cast->foreign = authority_new("ca-foreign", NULL);
	write_certificate(authority_path("cas", ".pem"), cast->eu.certificate, "w");
	write_certificate(authority_path("cas", ".pem"), cast->us.certificate, "a");
	write_certificate(authority_path("cas", ".pem"), cast->admin.certificate, "a");
	leaf_write(&cast->eu, "eu-n1", &(struct leaf_form){ .names = "DNS:n1.a.eu-west-1.ie.eu.place.acme" });
	leaf_write(&cast->us, "us-n1", &(struct leaf_form){ .names = "DNS:n1.a.us-east-1.us.place.acme" });
	leaf_write(&cast->eu, "app", &(struct leaf_form){ .names = "DNS:app1.client.eu-west-1.ie.eu.place.acme" });
	leaf_write(&cast->admin, "ops", &(struct leaf_form){ .names = "DNS:ops.admin.acme" });
}

static inline void cast_end(struct cast *cast)
{
	authority_free(&cast->eu);
	authority_free(&cast->us);
	authority_free(&cast->admin);
	authority_free(&cast->foreign);
	authority_end();
}

#endif
