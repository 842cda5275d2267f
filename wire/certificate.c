/* wire/certificate.c: see wire/certificate.h. Names are compared byte by byte and lower case; the subject's common name
 * means nothing. Chain, dates and name constraints are OpenSSL's work (wire/tls.c); the form is checked here. */
#include "wire/certificate.h"

#include <assert.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <time.h>

enum { DNS_SIZE_MAX = 253, LABEL_SIZE_MAX = 63, LABELS_MAX = 12, PLACE_LABELS_MAX = 8, PLACE_LABELS_MIN_NODE = 3 };

struct labels { /* of a DNS name, left to right */
	struct bytes at[LABELS_MAX];
	unsigned count;
};

static bool label_valid(struct bytes label)
{
	const char *text = label.data;
	if (label.size == 0 || label.size > LABEL_SIZE_MAX)
		return false;
	for (size_t i = 0; i < label.size; i++) {
		char c = text[i];
		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'))
			return false;
	}
	return true;
}

static bool labels_split(const char *dns, struct labels *labels)
{
	labels->count = 0;
	for (const char *at = dns;; at++) {
		size_t size = strcspn(at, ".");
		if (labels->count == LABELS_MAX || !label_valid(bytes_of(at, size)))
			return false;
		labels->at[labels->count++] = bytes_of(at, size);
		at += size;
		if (*at == '\0')
			return true;
	}
}

static bool label_is(const struct labels *labels, unsigned i, const char *text)
{
	return i < labels->count && bytes_equal(labels->at[i], bytes_text(text));
}

static void label_copy(struct bytes label, char *out, size_t capacity)
{
	assert(label.size < capacity);
	memcpy(out, label.data, label.size);
	out[label.size] = '\0';
}

/* Labels begin..end-1, narrow to wide, as a path, wide to narrow. */
static void place_of(const struct labels *labels, unsigned begin, unsigned end, char *place, size_t capacity)
{
	size_t size = 0;
	for (unsigned i = end; i-- > begin;) {
		if (size > 0)
			place[size++] = '/';
		label_copy(labels->at[i], place + size, capacity - size);
		size += labels->at[i].size;
	}
	assert(size < capacity);
}

enum status certificate_name_parse(const char *dns, struct certificate_name *name, const char **why)
{
	struct labels labels;
	memset(name, 0, sizeof(*name));
	*why = "the name is not of lower-case letters, digits and dashes, parted by dots";
	if (strlen(dns) > DNS_SIZE_MAX || !labels_split(dns, &labels))
		return STATUS_INVALID;
	*why = "the name is none of NODE.ZONE.REGION.place.CLUSTER, NAME.client.REGION.place.CLUSTER, "
	       "NAME.admin.CLUSTER";
	if (labels.count < 3)
		return STATUS_INVALID;
	struct certificate_name read = { 0 };
	label_copy(labels.at[labels.count - 1], read.cluster, sizeof(read.cluster));
	label_copy(labels.at[0], read.name, sizeof(read.name));
	unsigned end = labels.count - 2; /* of the place's labels */
	if (label_is(&labels, end, "admin") && labels.count == 3) {
		read.role = CERTIFICATE_ADMIN;
	} else if (!label_is(&labels, end, "place")) {
		return STATUS_INVALID;
	} else if (label_is(&labels, 1, "client")) {
		if (end < 3 || end - 2 > PLACE_LABELS_MAX)
			return STATUS_INVALID;
		read.role = CERTIFICATE_CLIENT;
		place_of(&labels, 2, end, read.place, sizeof(read.place));
	} else {
		if (end < PLACE_LABELS_MIN_NODE || end > PLACE_LABELS_MAX)
			return STATUS_INVALID;
		read.role = CERTIFICATE_NODE;
		place_of(&labels, 0, end, read.place, sizeof(read.place));
	}
	*name = read;
	*why = "";
	return STATUS_OK;
}

/* eu/ie/eu-west-1 -> eu-west-1.ie.eu. False: does not fit. */
static bool reverse_place(const char *place, char *out, size_t capacity)
{
	size_t size = 0;
	for (size_t end = strlen(place); end > 0;) {
		size_t begin = end;
		while (begin > 0 && place[begin - 1] != '/')
			begin--;
		size_t length = end - begin;
		if (size + length + 2 > capacity)
			return false;
		if (size > 0)
			out[size++] = '.';
		memcpy(out + size, place + begin, length);
		size += length;
		end = begin > 0 ? begin - 1 : 0;
	}
	if (size >= capacity)
		return false;
	out[size] = '\0';
	return size > 0;
}

bool certificate_dns_of(const struct certificate_name *name, char *dns, size_t capacity)
{
	char reversed[DNS_SIZE_MAX + 1];
	int size = -1;
	if (name->role == CERTIFICATE_ADMIN)
		size = snprintf(dns, capacity, "%s.admin.%s", name->name, name->cluster);
	else if (!reverse_place(name->place, reversed, sizeof(reversed)))
		return false;
	else if (name->role == CERTIFICATE_CLIENT)
		size = snprintf(dns, capacity, "%s.client.%s.place.%s", name->name, reversed, name->cluster);
	else if (name->role == CERTIFICATE_NODE)
		size = snprintf(dns, capacity, "%s.place.%s", reversed, name->cluster);
	if (size < 0 || (size_t)size >= capacity)
		return false;
	struct certificate_name read;
	const char *why;
	return certificate_name_parse(dns, &read, &why) == STATUS_OK && read.role == name->role;
}

bool certificate_subtree_of(const char *place, const char *cluster, char *dns, size_t capacity)
{
	char reversed[DNS_SIZE_MAX + 1];
	if (!reverse_place(place, reversed, sizeof(reversed)))
		return false;
	int size = snprintf(dns, capacity, "%s.place.%s", reversed, cluster);
	return size > 0 && (size_t)size < capacity && size <= DNS_SIZE_MAX;
}

/* --- leaves -------------------------------------------------------------------------------------- */

/* The text of an IA5 string: no NUL inside, and it fits. */
static bool ia5_text(const ASN1_IA5STRING *string, char *out, size_t capacity)
{
	int size = ASN1_STRING_length(string);
	const unsigned char *data = ASN1_STRING_get0_data(string);
	if (size < 0 || (size_t)size >= capacity || memchr(data, '\0', (size_t)size))
		return false;
	memcpy(out, data, (size_t)size);
	out[size] = '\0';
	return true;
}

static enum status only_dns_name(X509 *certificate, char *dns, size_t capacity, const char **why)
{
	enum status status = STATUS_DENIED;
	int critical = 0;
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, &critical, NULL);
	if (!names) {
		*why = critical == -2 ? "the certificate has more than one list of names"
				      : "the certificate has no subject alternative name";
		return status;
	}
	const GENERAL_NAME *first = sk_GENERAL_NAME_num(names) > 0 ? sk_GENERAL_NAME_value(names, 0) : NULL;
	if (sk_GENERAL_NAME_num(names) != 1)
		*why = "the certificate has more than one subject alternative name, or none";
	else if (first->type != GEN_DNS)
		*why = "the certificate's subject alternative name is not a DNS name";
	else if (!ia5_text(first->d.dNSName, dns, capacity))
		*why = "the certificate's name is too long or holds a NUL";
	else
		status = STATUS_OK;
	GENERAL_NAMES_free(names);
	return status;
}

static bool extension_critical(X509 *certificate, int nid)
{
	int at = X509_get_ext_by_NID(certificate, nid, -1);
	return at >= 0 && X509_EXTENSION_get_critical(X509_get_ext(certificate, at));
}

static enum status leaf_form(X509 *certificate, const char **why)
{
	enum { SERVER_AND_CLIENT = XKU_SSL_SERVER | XKU_SSL_CLIENT };
	uint32_t usage = X509_get_key_usage(certificate); /* all bits when there is no such extension */
	uint32_t extended = X509_get_extended_key_usage(certificate);
	uint32_t flags = X509_get_extension_flags(certificate);
	/* The flag too: X509_check_ca passes over CA:TRUE when the key usage does not allow signing. */
	if (X509_check_ca(certificate) != 0 || (flags & EXFLAG_CA))
		*why = "the certificate is an authority's";
	else if (flags & EXFLAG_INVALID)
		*why = "the certificate's extensions are malformed";
	else if (!extension_critical(certificate, NID_key_usage))
		*why = "the certificate has no critical key usage";
	else if (!(usage & KU_DIGITAL_SIGNATURE))
		*why = "the certificate's key usage lacks digitalSignature";
	else if (usage & (KU_KEY_CERT_SIGN | KU_CRL_SIGN))
		*why = "the certificate's key usage allows signing certificates or revocation lists";
	else if (X509_get_ext_by_NID(certificate, NID_ext_key_usage, -1) < 0 ||
		 (extended & SERVER_AND_CLIENT) != SERVER_AND_CLIENT)
		*why = "the certificate's extended key usage lacks serverAuth or clientAuth";
	else
		return STATUS_OK;
	return STATUS_DENIED;
}

enum status certificate_name_of(X509 *certificate, struct certificate_name *name, const char **why)
{
	char dns[DNS_SIZE_MAX + 1];
	memset(name, 0, sizeof(*name));
	ERR_clear_error();
	enum status status = leaf_form(certificate, why);
	if (status == STATUS_OK)
		status = only_dns_name(certificate, dns, sizeof(dns), why);
	if (status == STATUS_OK && certificate_name_parse(dns, name, why) != STATUS_OK)
		status = STATUS_DENIED;
	ERR_clear_error();
	return status;
}

enum status certificate_spki_sha256(X509 *certificate, uint8_t digest[32])
{
	unsigned char *der = NULL;
	ERR_clear_error();
	int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
	if (size <= 0)
		return STATUS_INVALID;
	unsigned digest_size = 0;
	int made = EVP_Digest(der, (size_t)size, digest, &digest_size, EVP_sha256(), NULL);
	OPENSSL_free(der);
	assert(made != 1 || digest_size == 32);
	return made == 1 ? STATUS_OK : STATUS_NO_MEMORY;
}

int64_t certificate_ends_s(X509 *certificate)
{
	struct tm end;
	return ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) == 1 ? (int64_t)timegm(&end) : 0;
}

/* --- a region's authority --------------------------------------------------------------------------- */

/* Exactly one permitted subtree, a DNS name equal to `subtree`, which may be written with a leading dot. */
static bool constraint_is(const NAME_CONSTRAINTS *constraints, const char *subtree)
{
	char text[DNS_SIZE_MAX + 2];
	if (constraints->excludedSubtrees && sk_GENERAL_SUBTREE_num(constraints->excludedSubtrees) > 0)
		return false;
	if (!constraints->permittedSubtrees || sk_GENERAL_SUBTREE_num(constraints->permittedSubtrees) != 1)
		return false;
	const GENERAL_SUBTREE *tree = sk_GENERAL_SUBTREE_value(constraints->permittedSubtrees, 0);
	if (tree->base->type != GEN_DNS || !ia5_text(tree->base->d.dNSName, text, sizeof(text)))
		return false;
	return strcmp(text[0] == '.' ? text + 1 : text, subtree) == 0;
}

enum status certificate_check_region_ca(X509 *ca, const char *place, const char *cluster, const char **why)
{
	char subtree[DNS_SIZE_MAX + 1];
	int critical = 0;
	enum status status = STATUS_INVALID;
	ERR_clear_error();
	NAME_CONSTRAINTS *constraints = X509_get_ext_d2i(ca, NID_name_constraints, &critical, NULL);
	if (!certificate_subtree_of(place, cluster, subtree, sizeof(subtree)))
		*why = "the place does not fit into a certificate's name";
	else if (X509_check_ca(ca) != 1 || !(X509_get_key_usage(ca) & KU_KEY_CERT_SIGN))
		*why = "the certificate is no authority's: basicConstraints CA:TRUE and keyCertSign are needed";
	else if (X509_verify(ca, X509_get0_pubkey(ca)) != 1)
		*why = "the authority's certificate is not signed by itself";
	else if (!constraints || critical != 1)
		*why = "the authority has no critical name constraint";
	else if (!constraint_is(constraints, subtree))
		*why = "the authority's name constraint is not exactly its region's place";
	else
		status = STATUS_OK;
	NAME_CONSTRAINTS_free(constraints);
	ERR_clear_error();
	return status;
}

enum status certificate_pem_to_der(struct bytes pem, uint8_t *der, size_t capacity, size_t *size)
{
	enum status status = STATUS_INVALID;
	*size = 0;
	ERR_clear_error();
	if (pem.size == 0 || pem.size > INT32_MAX)
		return status;
	BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.size);
	X509 *certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
	int need = certificate ? i2d_X509(certificate, NULL) : 0;
	if (need > 0 && (size_t)need > capacity)
		status = STATUS_TOO_LARGE;
	if (need > 0 && (size_t)need <= capacity) {
		unsigned char *at = der;
		*size = (size_t)i2d_X509(certificate, &at);
		assert(at == der + *size);
		status = STATUS_OK;
	}
	X509_free(certificate);
	BIO_free(bio);
	ERR_clear_error();
	return status;
}

/* --- signatures -------------------------------------------------------------------------------------- */

static const EVP_MD *digest_for(EVP_PKEY *key)
{
	return EVP_PKEY_is_a(key, "ED25519") || EVP_PKEY_is_a(key, "ED448") ? NULL : EVP_sha256();
}

enum status certificate_sign(EVP_PKEY *key, struct bytes text, uint8_t *signature, size_t capacity, size_t *size)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	enum status status = STATUS_INVALID;
	size_t needed = 0;
	if (context && EVP_DigestSignInit(context, NULL, digest_for(key), NULL, key) == 1 &&
		EVP_DigestSign(context, NULL, &needed, text.data, text.size) == 1) {
		*size = capacity;
		if (needed > capacity)
			status = STATUS_TOO_LARGE;
		else if (EVP_DigestSign(context, signature, size, text.data, text.size) == 1)
			status = STATUS_OK;
	}
	EVP_MD_CTX_free(context);
	ERR_clear_error();
	return status;
}

enum status certificate_signed(X509 *certificate, struct bytes text, struct bytes signature)
{
	EVP_PKEY *key = X509_get0_pubkey(certificate);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	enum status status = STATUS_DENIED;
	if (key && context && EVP_DigestVerifyInit(context, NULL, digest_for(key), NULL, key) == 1 &&
		EVP_DigestVerify(context, signature.data, signature.size, text.data, text.size) == 1)
		status = STATUS_OK;
	EVP_MD_CTX_free(context);
	ERR_clear_error();
	return status;
}
