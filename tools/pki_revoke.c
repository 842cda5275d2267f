/* tools/pki_revoke.c: an authority's list of revoked certificates. A list only grows: the new one begins with all that
 * the old one names, and one that cannot be read stops everything. */
#include <dirent.h>
#include <errno.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/pki_internal.h"

struct revoking {
	const char *dir;
	char file[80]; /* ca-REGION */
	struct pki_key_pair ca;
	ASN1_INTEGER *serial;  /* NULL: nobody */
	X509_CRL *old, *fresh; /* old NULL: the first */
	uint32_t days;
};

/* The place of whose authority it is; "": the administrators'. */
static enum status choose_authority(struct revoking *revoking, const char *place, struct text *why)
{
	char path[PKI_PATH_MAX];
	struct pki_info info;
	struct place region;
	const char *reason;
	bool admin = place[0] == '\0';
	if (!admin && !place_parse(place, &region, &reason)) {
		pki_explain(why, "the region's place is malformed: ", reason, "; write its path, like eu/ie/eu-west-1");
		return STATUS_INVALID;
	}
	snprintf(revoking->file, sizeof(revoking->file), "ca-%s", admin ? "admin" : place_last(&region));
	if (!pki_path_of(path, revoking->dir, revoking->file, ".crt", why))
		return STATUS_INVALID;
	enum status status = pki_read(path, &info, why);
	if (status != STATUS_OK)
		return status;
	return pki_load_authority(
		revoking->dir, revoking->file, admin ? NULL : region.text, info.name.cluster, &revoking->ca, why);
}

static enum status choose_by_file(struct revoking *revoking, const char *file, struct text *why)
{
	struct pki_info info;
	struct place region = { .text = "" };
	enum status status = pki_read(file, &info, why);
	if (status != STATUS_OK)
		return status;
	if (info.kind != PKI_LEAF || (info.name.role != CERTIFICATE_ADMIN && !pki_region_of(&info.name, &region))) {
		pki_explain(why, file, " is an authority's certificate: ", "only what one has signed is revoked");
		return STATUS_INVALID;
	}
	status = choose_authority(revoking, region.text, why);
	if (status != STATUS_OK)
		return status;
	X509 *certificate = pki_load_certificate(file);
	bool signed_by = certificate && X509_verify(certificate, X509_get0_pubkey(revoking->ca.certificate)) == 1;
	if (signed_by)
		revoking->serial = ASN1_INTEGER_dup(X509_get0_serialNumber(certificate));
	X509_free(certificate);
	ERR_clear_error();
	if (!signed_by)
		pki_explain(why, file, " is not signed by the key of ", revoking->file);
	return signed_by && revoking->serial ? STATUS_OK : STATUS_INVALID;
}

static enum status choose_by_serial(struct revoking *revoking, const char *serial, struct text *why)
{
	BIGNUM *number = NULL;
	size_t size = strlen(serial);
	if (size > 0 && size <= 40 && strspn(serial, "0123456789abcdefABCDEF") == size &&
		BN_hex2bn(&number, serial) == (int)size && !BN_is_zero(number))
		revoking->serial = BN_to_ASN1_INTEGER(number, NULL);
	BN_free(number);
	if (!revoking->serial)
		pki_explain(
			why, "a serial number is of 1 to 40 hexadecimal digits; ", "domctl cert show has it: ", serial);
	return revoking->serial ? STATUS_OK : STATUS_INVALID;
}

/* What was revoked stays so: a list that cannot be read, or is another authority's, is not replaced by a shorter one.
 */
static enum status load_old_list(struct revoking *revoking, struct text *why)
{
	char path[PKI_PATH_MAX];
	if (!pki_path_of(path, revoking->dir, revoking->file, ".crl", why))
		return STATUS_INVALID;
	FILE *file = fopen(path, "re");
	if (!file && errno == ENOENT)
		return STATUS_OK;
	revoking->old = file ? PEM_read_X509_CRL(file, NULL, NULL, NULL) : NULL;
	if (file)
		fclose(file);
	bool own = revoking->old && X509_CRL_verify(revoking->old, X509_get0_pubkey(revoking->ca.certificate)) == 1;
	ERR_clear_error();
	if (!own)
		pki_explain(why, path, revoking->old ? " is of another authority; " : " is damaged or cannot be read; ",
			"what it names would be let in again. Bring the right one back, or move it away");
	return own ? STATUS_OK : STATUS_INVALID;
}

static bool add_revoked(X509_CRL *list, X509_REVOKED *entry)
{
	if (entry && X509_CRL_add0_revoked(list, entry) == 1)
		return true;
	X509_REVOKED_free(entry);
	return false;
}

static bool list_add_serial(X509_CRL *list, ASN1_INTEGER *serial)
{
	ASN1_TIME *now = X509_gmtime_adj(NULL, 0);
	X509_REVOKED *entry = X509_REVOKED_new();
	bool made = now && entry && X509_REVOKED_set_serialNumber(entry, serial) == 1 &&
		    X509_REVOKED_set_revocationDate(entry, now) == 1;
	ASN1_TIME_free(now);
	if (made)
		return add_revoked(list, entry);
	X509_REVOKED_free(entry);
	return false;
}

static bool list_set_times(X509_CRL *list, uint32_t days)
{
	ASN1_TIME *from = X509_gmtime_adj(NULL, -PKI_BACKDATE_S), *due = X509_gmtime_adj(NULL, (long)days * 86400);
	bool set = from && due && X509_CRL_set1_lastUpdate(list, from) == 1 && X509_CRL_set1_nextUpdate(list, due) == 1;
	ASN1_TIME_free(from);
	ASN1_TIME_free(due);
	return set;
}

/* One more than the old list's: nodes take no list with a smaller number. */
static bool list_set_number(X509_CRL *list, const X509_CRL *old)
{
	int64_t number = 0;
	ASN1_INTEGER *before = old ? X509_CRL_get_ext_d2i(old, NID_crl_number, NULL, NULL) : NULL;
	ASN1_INTEGER *own = ASN1_INTEGER_new();
	bool set = (!before || ASN1_INTEGER_get_int64(&number, before) == 1) && own &&
		   ASN1_INTEGER_set_int64(own, number + 1) == 1 &&
		   X509_CRL_add1_ext_i2d(list, NID_crl_number, own, 0, 0) == 1;
	ASN1_INTEGER_free(before);
	ASN1_INTEGER_free(own);
	return set;
}

static bool list_set_signer(X509_CRL *list, X509 *ca)
{
	X509V3_CTX context;
	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, ca, NULL, NULL, list, 0);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, NID_authority_key_identifier, "keyid:always");
	bool added = extension && X509_CRL_add_ext(list, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return added;
}

static bool make_list(struct revoking *revoking)
{
	X509_REVOKED *found = NULL;
	X509_CRL *list = revoking->fresh = X509_CRL_new();
	X509 *ca = revoking->ca.certificate;
	bool made = list && X509_CRL_set_version(list, X509_CRL_VERSION_2) == 1 &&
		    X509_CRL_set_issuer_name(list, X509_get_subject_name(ca)) == 1 &&
		    list_set_times(list, revoking->days) && list_set_number(list, revoking->old) &&
		    list_set_signer(list, ca);
	STACK_OF(X509_REVOKED) *before = revoking->old ? X509_CRL_get_REVOKED(revoking->old) : NULL;
	for (int i = 0; made && before && i < sk_X509_REVOKED_num(before); i++)
		made = add_revoked(list, X509_REVOKED_dup(sk_X509_REVOKED_value(before, i)));
	bool there = revoking->old && revoking->serial &&
		     X509_CRL_get0_by_serial(revoking->old, &found, revoking->serial) == 1;
	if (made && revoking->serial && !there)
		made = list_add_serial(list, revoking->serial);
	return made && X509_CRL_sort(list) == 1 && X509_CRL_sign(list, revoking->ca.key, EVP_sha256()) > 0;
}

/* The new file is there before the old list is read: of two that revoke at once one is told so. */
static enum status replace_list(struct revoking *revoking, struct text *why)
{
	char path[PKI_PATH_MAX], fresh[PKI_PATH_MAX];
	enum status status = STATUS_OK;
	if (!pki_path_of(path, revoking->dir, revoking->file, ".crl", why) ||
		!pki_path_of(fresh, revoking->dir, revoking->file, ".crl.new", why))
		return STATUS_INVALID;
	FILE *file = pki_create_file(fresh, 0644, &status, why);
	if (!file)
		return status;
	status = load_old_list(revoking, why);
	if (status == STATUS_OK && !make_list(revoking)) {
		pki_explain(why, "OpenSSL could not make the list", "", "");
		status = STATUS_NO_MEMORY;
	}
	enum status written =
		pki_finish(file, fresh, status != STATUS_OK || PEM_write_X509_CRL(file, revoking->fresh) == 1, why);
	status = status == STATUS_OK ? written : status;
	return pki_put(fresh, path, status, why);
}

static int is_list(const struct dirent *entry)
{
	size_t size = strlen(entry->d_name);
	return size > 7 && strncmp(entry->d_name, "ca-", 3) == 0 && strcmp(entry->d_name + size - 4, ".crl") == 0;
}

/* OUT/crls.pem anew from every DIR/ca-*.crl; one that cannot be read is an error: it would be missing for the nodes. */
static enum status write_lists(const char *dir, const char *out, struct text *why)
{
	char path[PKI_PATH_MAX], fresh[PKI_PATH_MAX], from[PKI_PATH_MAX], suffix[40];
	struct dirent **names = NULL;
	enum status status = pki_make_directory(out, why);
	snprintf(suffix, sizeof(suffix), ".%ld.new", (long)getpid());
	if (status != STATUS_OK || !pki_path_of(path, out, "crls", ".pem", why) ||
		!pki_path_of(fresh, out, "crls.pem", suffix, why))
		return status != STATUS_OK ? status : STATUS_INVALID;
	FILE *file = pki_create_file(fresh, 0644, &status, why);
	if (!file)
		return status;
	int count = scandir(dir, &names, is_list, alphasort);
	bool whole = count > 0;
	for (int i = 0; whole && i < count; i++) {
		whole = pki_path_of(from, dir, names[i]->d_name, "", why);
		FILE *list_file = whole ? fopen(from, "re") : NULL;
		X509_CRL *list = list_file ? PEM_read_X509_CRL(list_file, NULL, NULL, NULL) : NULL;
		if (list_file)
			fclose(list_file);
		whole = list && PEM_write_X509_CRL(file, list) == 1;
		if (!whole)
			pki_explain(why, from, " cannot be read or copied ", "");
		X509_CRL_free(list);
	}
	pki_free_names(names, count > 0 ? count : 0);
	ERR_clear_error();
	status = pki_finish(file, fresh, whole, why);
	return pki_put(fresh, path, status, why);
}

static void say_revoked(const struct revoking *revoking, const char *out, struct text *said)
{
	STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(revoking->fresh);
	BIGNUM *number = revoking->serial ? ASN1_INTEGER_to_BN(revoking->serial, NULL) : NULL;
	char *hex = number ? BN_bn2hex(number) : NULL;
	for (char *at = hex; at && *at; at++)
		*at = (char)(*at >= 'A' && *at <= 'F' ? *at - 'A' + 'a' : *at);
	pki_explain(said, hex ? "revoked " : "nobody more is revoked", hex ? hex : "", "; ");
	pki_explain(said, revoking->dir, "/", revoking->file);
	text_add(said, ".crl names ");
	text_add_u64(said, entries ? (uint64_t)sk_X509_REVOKED_num(entries) : 0);
	text_add(said, " and is to be made anew within ");
	text_add_u64(said, revoking->days);
	pki_explain(said, " days; bring ", out, "/crls.pem to where each node's `crl` says");
	OPENSSL_free(hex);
	BN_free(number);
}

enum status pki_revoke(const char *dir, const char *out, const struct pki_revocation *revocation, struct text *said)
{
	struct revoking revoking = { .dir = dir, .days = revocation->days };
	enum status status;
	ERR_clear_error();
	if (!pki_days_valid(&revoking.days, PKI_DAYS_LEAF, said))
		return STATUS_INVALID;
	if (revocation->file) {
		status = choose_by_file(&revoking, revocation->file, said);
	} else {
		status = choose_authority(&revoking, revocation->place, said);
		if (status == STATUS_OK && revocation->serial)
			status = choose_by_serial(&revoking, revocation->serial, said);
	}
	if (status == STATUS_OK)
		status = replace_list(&revoking, said);
	if (status == STATUS_OK) {
		status = write_lists(dir, out, said);
		if (status != STATUS_OK)
			pki_explain(said, "; the authority's own list is written, ",
				"only crls.pem is not: ", "mend this and repeat");
	}
	if (status == STATUS_OK)
		say_revoked(&revoking, out, said);
	ASN1_INTEGER_free(revoking.serial);
	X509_CRL_free(revoking.old);
	X509_CRL_free(revoking.fresh);
	pki_key_pair_free(&revoking.ca);
	ERR_clear_error();
	return status;
}
