/* tools/pki.c: see tools/pki.h. Files are made with O_EXCL and their final mode, the key before its certificate, so
 * that no key is ever readable by others, not even for a moment, and a certificate always has its key. */
#include "tools/pki_internal.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "policy/place.h"

enum { SERIAL_SIZE = 16, CONSTRAINT_SIZE = 320, AUTHORITIES_MAX = 128 };
static const char admin_subtree_prefix[] = "admin.";

void pki_key_pair_free(struct pki_key_pair *pair)
{
	X509_free(pair->certificate);
	EVP_PKEY_free(pair->key);
}

void pki_explain(struct text *why, const char *a, const char *b, const char *c)
{
	text_add(why, a);
	text_add(why, b);
	text_add(why, c);
}

/* --- files ---------------------------------------------------------------------------------------- */

bool pki_path_of(char path[PKI_PATH_MAX], const char *dir, const char *name, const char *suffix, struct text *why)
{
	int size = snprintf(path, PKI_PATH_MAX, "%s/%s%s", dir, name, suffix);
	if (size > 0 && size < PKI_PATH_MAX)
		return true;
	pki_explain(why, "the directory's path is too long", "", "");
	return false;
}

/* With what is missing above it. */
enum status pki_make_directory(const char *dir, struct text *why)
{
	char path[PKI_PATH_MAX];
	size_t size = strlen(dir);

	if (size >= sizeof(path)) {
		pki_explain(why, "the directory's path is too long", "", "");
		return STATUS_INVALID;
	}
	memcpy(path, dir, size + 1);
	for (size_t i = 1; i <= size; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		path[i] = '\0';
		if (mkdir(path, 0700) != 0 && errno != EEXIST && errno != EISDIR) {
			pki_explain(why, path, " cannot be made: ", strerror(errno));
			return STATUS_IO;
		}
		path[i] = dir[i];
	}
	return STATUS_OK;
}

FILE *pki_create_file(const char *path, mode_t mode, enum status *status, struct text *why)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (file)
		return file;
	if (fd >= 0)
		close(fd);
	*status = errno == EEXIST ? STATUS_CONFLICT : STATUS_IO;
	if (errno == EEXIST)
		pki_explain(why, path, " is there already and is not overwritten; ",
			"move it away first, or give another directory");
	else
		pki_explain(why, path, " cannot be written: ", strerror(errno));
	return NULL;
}

/* Closes the file; what could not be written whole is removed again. */
enum status pki_finish(FILE *file, const char *path, bool written, struct text *why)
{
	bool whole = written && fflush(file) == 0 && fsync(fileno(file)) == 0;
	if (fclose(file) == 0 && whole)
		return STATUS_OK;
	unlink(path);
	pki_explain(why, path, " cannot be written", "");
	return STATUS_IO;
}

enum status pki_put(const char *fresh, const char *path, enum status status, struct text *why)
{
	if (status == STATUS_OK && rename(fresh, path) != 0) {
		pki_explain(why, path, " cannot be written: ", strerror(errno));
		status = STATUS_IO;
	}
	if (status != STATUS_OK)
		unlink(fresh);
	return status;
}

static enum status write_pair(const char *dir, const char *name, const struct pki_key_pair *pair, struct text *why)
{
	enum status status;
	char key_path[PKI_PATH_MAX], path[PKI_PATH_MAX];
	if (!pki_path_of(key_path, dir, name, ".key", why) || !pki_path_of(path, dir, name, ".crt", why))
		return STATUS_INVALID;
	if (access(path, F_OK) == 0) {
		pki_explain(why, path, " is there already and is not overwritten; ",
			"move it away first, or give another directory");
		return STATUS_CONFLICT;
	}
	FILE *file = pki_create_file(key_path, 0600, &status, why);
	if (!file)
		return status;
	status = pki_finish(
		file, key_path, PEM_write_PKCS8PrivateKey(file, pair->key, NULL, NULL, 0, NULL, NULL) == 1, why);
	if (status != STATUS_OK)
		return status;
	file = pki_create_file(path, 0644, &status, why);
	if (file)
		status = pki_finish(file, path, PEM_write_X509(file, pair->certificate) == 1, why);
	if (status != STATUS_OK)
		unlink(key_path);
	return status;
}

X509 *pki_load_certificate(const char *path)
{
	FILE *file = fopen(path, "re");
	X509 *certificate = file ? PEM_read_X509(file, NULL, NULL, NULL) : NULL;
	if (file)
		fclose(file);
	ERR_clear_error();
	return certificate;
}

static EVP_PKEY *load_key(const char *path)
{
	static char no_password[] = "";
	FILE *file = fopen(path, "re");
	EVP_PKEY *key = file ? PEM_read_PrivateKey(file, NULL, NULL, no_password) : NULL;
	if (file)
		fclose(file);
	ERR_clear_error();
	return key;
}

/* --- making certificates ---------------------------------------------------------------------------- */

static bool extend(X509 *certificate, X509 *issuer, int nid, const char *text)
{
	X509V3_CTX context;
	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, text);
	bool added = extension && X509_add_ext(certificate, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return added;
}

static bool set_serial(X509 *certificate)
{
	uint8_t random[SERIAL_SIZE];
	if (RAND_bytes(random, sizeof(random)) != 1)
		return false;
	random[0] &= 0x7f; /* positive */
	random[0] |= 0x40; /* and of one length */
	BIGNUM *number = BN_bin2bn(random, sizeof(random), NULL);
	bool set = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
	BN_free(number);
	return set;
}

static bool set_subject(X509 *certificate, const char *common_name)
{
	X509_NAME *name = X509_get_subject_name(certificate);
	return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)common_name, -1, -1, 0) == 1;
}

/* A new key and a certificate for it without extensions. issuer NULL: its own. Begins an hour ago: clocks differ. */
static bool begin(struct pki_key_pair *pair, const char *common_name, X509 *issuer, uint32_t days)
{
	assert(days > 0);
	assert(days <= PKI_DAYS_MAX);
	pair->key = EVP_EC_gen("P-256");
	pair->certificate = X509_new();
	X509 *certificate = pair->certificate;
	if (!pair->key || !certificate)
		return false;
	return X509_set_version(certificate, X509_VERSION_3) == 1 && set_serial(certificate) &&
	       X509_gmtime_adj(X509_getm_notBefore(certificate), -PKI_BACKDATE_S) &&
	       X509_gmtime_adj(X509_getm_notAfter(certificate), (long)days * 86400) &&
	       X509_set_pubkey(certificate, pair->key) == 1 && set_subject(certificate, common_name) &&
	       X509_set_issuer_name(certificate, X509_get_subject_name(issuer ? issuer : certificate)) == 1;
}

bool pki_days_valid(uint32_t *days, uint32_t fallback, struct text *why)
{
	if (*days == 0)
		*days = fallback;
	if (*days <= PKI_DAYS_MAX)
		return true;
	pki_explain(why, "a certificate lasts at most 7305 days (twenty years)", "", "");
	return false;
}

static bool cluster_valid(const char *cluster, struct text *why)
{
	struct certificate_name name = { .role = CERTIFICATE_ADMIN, .name = "x" };
	char dns[256];
	size_t size = strlen(cluster);
	bool valid = size > 0 && size < sizeof(name.cluster);
	if (valid) {
		memcpy(name.cluster, cluster, size + 1);
		valid = certificate_dns_of(&name, dns, sizeof(dns));
	}
	if (!valid)
		pki_explain(why, "the cluster's name is not of 1 to 63 lower-case letters, digits and dashes", "", "");
	return valid;
}

static enum status create_ca(const char *dir, const char *file, const char *common_name, const char *subtree,
	uint32_t days, struct text *why)
{
	struct pki_key_pair pair = { 0 };
	char constraint[CONSTRAINT_SIZE];
	enum status status = pki_make_directory(dir, why);
	if (status != STATUS_OK)
		return status;
	snprintf(constraint, sizeof(constraint), "critical,permitted;DNS:%s", subtree);
	ERR_clear_error();
	bool made = begin(&pair, common_name, NULL, days) &&
		    extend(pair.certificate, pair.certificate, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
		    extend(pair.certificate, pair.certificate, NID_key_usage, "critical,keyCertSign,cRLSign") &&
		    extend(pair.certificate, pair.certificate, NID_subject_key_identifier, "hash") &&
		    extend(pair.certificate, pair.certificate, NID_name_constraints, constraint) &&
		    X509_sign(pair.certificate, pair.key, EVP_sha256()) > 0;
	status = STATUS_NO_MEMORY;
	if (made)
		status = write_pair(dir, file, &pair, why);
	else
		pki_explain(why, "OpenSSL could not make the certificate", "", "");
	pki_key_pair_free(&pair);
	ERR_clear_error();
	return status;
}

enum status pki_create_region_ca(
	const char *dir, const char *cluster, const char *place, uint32_t days, struct text *why)
{
	struct place region;
	const char *reason;
	char subtree[256], file[80], common_name[80];
	if (!cluster_valid(cluster, why) || !pki_days_valid(&days, PKI_DAYS_CA, why))
		return STATUS_INVALID;
	if (!place_parse(place, &region, &reason)) {
		pki_explain(why, "the region's place is malformed: ", reason, "; write its path, like eu/ie/eu-west-1");
		return STATUS_INVALID;
	}
	if (place_depth(&region) > PLACE_DEPTH_MAX - 2 ||
		!certificate_subtree_of(region.text, cluster, subtree, sizeof(subtree))) {
		pki_explain(why, "the region's place is too deep: zone and node come below it, eight components in all",
			"", "");
		return STATUS_INVALID;
	}
	if (strcmp(place_last(&region), "admin") == 0) {
		pki_explain(why, "a region cannot be called admin: ca-admin is the administrators' authority", "", "");
		return STATUS_INVALID;
	}
	snprintf(file, sizeof(file), "ca-%s", place_last(&region));
	/* A common name has at most 64 characters. */
	snprintf(common_name, sizeof(common_name), "%.40s", place_last(&region));
	strcat(common_name, " region CA");
	return create_ca(dir, file, common_name, subtree, days, why);
}

enum status pki_create_admin_ca(const char *dir, const char *cluster, uint32_t days, struct text *why)
{
	char subtree[80];
	if (!cluster_valid(cluster, why) || !pki_days_valid(&days, PKI_DAYS_CA, why))
		return STATUS_INVALID;
	snprintf(subtree, sizeof(subtree), "%s%s", admin_subtree_prefix, cluster);
	return create_ca(dir, "ca-admin", "admin CA", subtree, days, why);
}

/* The region of a leaf: a node's place without zone and node; a client's place is its region's. */
bool pki_region_of(const struct certificate_name *name, struct place *region)
{
	struct place place;
	const char *reason;
	if (!place_parse(name->place, &place, &reason))
		return false;
	unsigned depth = place_depth(&place), below = name->role == CERTIFICATE_NODE ? 2 : 0;
	if (depth <= below)
		return false;
	*region = place_prefix(&place, depth - below);
	return true;
}

/* The authority for this leaf; it has to be bound to the leaf's region in this cluster, or OpenSSL would refuse the
 * leaf. */
enum status pki_load_authority(const char *dir, const char *file, const char *subtree_place, const char *cluster,
	struct pki_key_pair *ca, struct text *why)
{
	char path[PKI_PATH_MAX], key_path[PKI_PATH_MAX];
	const char *reason;
	if (!pki_path_of(path, dir, file, ".crt", why) || !pki_path_of(key_path, dir, file, ".key", why))
		return STATUS_INVALID;
	ca->certificate = pki_load_certificate(path);
	ca->key = load_key(key_path);
	if (!ca->certificate || !ca->key) {
		struct text at;
		char cure[PKI_PATH_MAX];

		text_init(&at, cure, sizeof(cure));
		text_add(&at, subtree_place ? "make the authority of region " : "make the administrators' authority");
		text_add(&at, subtree_place ? subtree_place : "");
		text_add(&at, " first (domctl cert create-ca), or give its directory");
		pki_explain(why, ca->certificate ? key_path : path, " cannot be read; ", cure);
		return STATUS_NOT_FOUND;
	}
	if (X509_check_private_key(ca->certificate, ca->key) != 1) {
		pki_explain(why, key_path, " is not the key of ", path);
		return STATUS_INVALID;
	}
	if (subtree_place &&
		certificate_check_region_ca(ca->certificate, subtree_place, cluster, &reason) != STATUS_OK) {
		pki_explain(why, path, ": ", reason);
		return STATUS_INVALID;
	}
	return STATUS_OK;
}

static enum status make_leaf(const struct pki_key_pair *ca, const struct certificate_name *name, const char *dns,
	uint32_t days, struct pki_key_pair *leaf)
{
	char names[CONSTRAINT_SIZE];
	snprintf(names, sizeof(names), "DNS:%s", dns);
	X509 *certificate;
	ERR_clear_error();
	bool made = begin(leaf, name->name, ca->certificate, days);
	certificate = leaf->certificate;
	made = made && extend(certificate, ca->certificate, NID_basic_constraints, "critical,CA:FALSE") &&
	       extend(certificate, ca->certificate, NID_key_usage, "critical,digitalSignature") &&
	       extend(certificate, ca->certificate, NID_ext_key_usage, "serverAuth,clientAuth") &&
	       extend(certificate, ca->certificate, NID_subject_key_identifier, "hash") &&
	       extend(certificate, ca->certificate, NID_authority_key_identifier, "keyid:always") &&
	       extend(certificate, ca->certificate, NID_subject_alt_name, names) &&
	       X509_sign(certificate, ca->key, EVP_sha256()) > 0;
	ERR_clear_error();
	return made ? STATUS_OK : STATUS_NO_MEMORY;
}

enum status pki_issue(
	const char *dir, const char *out, const struct certificate_name *name, uint32_t days, struct text *why)
{
	struct pki_key_pair ca = { 0 }, leaf = { 0 };
	struct place region = { .text = "" };
	char dns[256], ca_file[80] = "ca-admin", file[80] = "admin";
	bool admin = name->role == CERTIFICATE_ADMIN;
	struct certificate_name full = *name;
	if (!cluster_valid(name->cluster, why) || !pki_days_valid(&days, PKI_DAYS_LEAF, why))
		return STATUS_INVALID;
	if (!admin && !pki_region_of(name, &region)) {
		pki_explain(why, "the place is malformed; a node's is its region's path, zone and node: ",
			"eu/ie/eu-west-1/a/n1; a client's its region's: ", "eu/ie/eu-west-1");
		return STATUS_INVALID;
	}
	if (name->role == CERTIFICATE_NODE)
		snprintf(full.name, sizeof(full.name), "%s", strrchr(name->place, '/') + 1);
	if (!certificate_dns_of(&full, dns, sizeof(dns))) {
		pki_explain(why,
			"no certificate's name can be made of this: components are of a-z, 0-9 and -, at most 63 each ",
			"and 253 together; a zone is not called client", "");
		return STATUS_INVALID;
	}
	if (!admin) {
		snprintf(ca_file, sizeof(ca_file), "ca-%s", place_last(&region));
		if (name->role == CERTIFICATE_NODE)
			snprintf(file, sizeof(file), "node");
		else
			snprintf(file, sizeof(file), "client-%s", place_last(&region));
	}
	enum status status = pki_load_authority(dir, ca_file, admin ? NULL : region.text, name->cluster, &ca, why);
	if (status == STATUS_OK)
		status = pki_make_directory(out, why);
	if (status == STATUS_OK) {
		status = make_leaf(&ca, &full, dns, days, &leaf);
		if (status != STATUS_OK)
			pki_explain(why, "OpenSSL could not make the certificate", "", "");
	}
	if (status == STATUS_OK)
		status = write_pair(out, file, &leaf, why);
	if (status == STATUS_OK)
		status = pki_write_cas(dir, out, why);
	pki_key_pair_free(&ca);
	pki_key_pair_free(&leaf);
	return status;
}

/* --- cas.pem --------------------------------------------------------------------------------------- */

static int is_authority(const struct dirent *entry)
{
	size_t size = strlen(entry->d_name);
	return size > 7 && strncmp(entry->d_name, "ca-", 3) == 0 && strcmp(entry->d_name + size - 4, ".crt") == 0;
}

static int is_certificate(const struct dirent *entry)
{
	size_t size = strlen(entry->d_name);
	return size > 4 && strcmp(entry->d_name + size - 4, ".crt") == 0;
}

void pki_free_names(struct dirent **names, int count)
{
	for (int i = 0; i < count; i++)
		free(names[i]);
	free(names);
}

static unsigned copy_authorities(const char *dir, FILE *to, struct text *why)
{
	struct dirent **names = NULL;
	unsigned copied = 0;
	int count = scandir(dir, &names, is_authority, alphasort);
	for (int i = 0; i < count && i < AUTHORITIES_MAX; i++) {
		char path[PKI_PATH_MAX];
		if (!pki_path_of(path, dir, names[i]->d_name, "", why))
			break;
		X509 *certificate = pki_load_certificate(path);
		if (certificate && PEM_write_X509(to, certificate) == 1)
			copied++;
		X509_free(certificate);
	}
	pki_free_names(names, count);
	return copied;
}

enum status pki_write_cas(const char *dir, const char *out, struct text *why)
{
	char path[PKI_PATH_MAX], fresh[PKI_PATH_MAX];
	enum status status = STATUS_OK;
	char suffix[40];
	snprintf(suffix, sizeof(suffix), ".%ld.new", (long)getpid());
	if (!pki_path_of(path, out, "cas", ".pem", why) || !pki_path_of(fresh, out, "cas.pem", suffix, why))
		return STATUS_INVALID;
	FILE *file = pki_create_file(fresh, 0644, &status, why);
	if (!file)
		return status;
	unsigned copied = copy_authorities(dir, file, why);
	status = pki_finish(file, fresh, true, why);
	if (status == STATUS_OK && copied == 0) {
		pki_explain(why, dir, " holds no authority (ca-*.crt); make one first: ", "domctl cert create-ca");
		status = STATUS_NOT_FOUND;
	}
	return pki_put(fresh, path, status, why);
}

/* --- reading ----------------------------------------------------------------------------------------- */

static int64_t seconds_of(const ASN1_TIME *time)
{
	struct tm parts;
	memset(&parts, 0, sizeof(parts));
	return ASN1_TIME_to_tm(time, &parts) == 1 ? (int64_t)timegm(&parts) : 0;
}

/* The subtree that an authority may name, as cluster and place. */
static bool authority_name(X509 *ca, struct pki_info *info)
{
	char dns[256], node_dns[300];
	const char *why;
	bool known = false;
	NAME_CONSTRAINTS *constraints = X509_get_ext_d2i(ca, NID_name_constraints, NULL, NULL);
	if (!constraints || sk_GENERAL_SUBTREE_num(constraints->permittedSubtrees) != 1)
		goto done;
	const GENERAL_NAME *base = sk_GENERAL_SUBTREE_value(constraints->permittedSubtrees, 0)->base;
	int size = base->type == GEN_DNS ? ASN1_STRING_length(base->d.dNSName) : 0;
	if (size <= 0 || (size_t)size >= sizeof(dns))
		goto done;
	memcpy(dns, ASN1_STRING_get0_data(base->d.dNSName), (size_t)size);
	dns[size] = '\0';
	/* What could stand below it says which it is. */
	bool admin =
		strncmp(dns, admin_subtree_prefix, sizeof(admin_subtree_prefix) - 1) == 0 && !strstr(dns, ".place.");
	snprintf(node_dns, sizeof(node_dns), admin ? "x.%s" : "x.client.%s", dns[0] == '.' ? dns + 1 : dns);
	known = certificate_name_parse(node_dns, &info->name, &why) == STATUS_OK;
	info->kind = admin ? PKI_ADMIN_CA : PKI_REGION_CA;
	info->name.name[0] = '\0';
	if (known && info->kind == PKI_REGION_CA)
		known = certificate_check_region_ca(ca, info->name.place, info->name.cluster, &why) == STATUS_OK;
done:
	NAME_CONSTRAINTS_free(constraints);
	ERR_clear_error();
	return known;
}

enum status pki_read(const char *file, struct pki_info *info, struct text *why)
{
	memset(info, 0, sizeof(*info));
	snprintf(info->file, sizeof(info->file), "%s", file);
	X509 *certificate = pki_load_certificate(file);
	if (!certificate) {
		pki_explain(why, file, access(file, R_OK) == 0 ? " holds no certificate" : " cannot be read", "");
		return access(file, R_OK) == 0 ? STATUS_INVALID : STATUS_NOT_FOUND;
	}
	const char *reason = "an authority without the one name constraint that a region's or the administrators' has";
	bool known;
	if (X509_check_ca(certificate) == 1) {
		known = authority_name(certificate, info);
	} else {
		known = certificate_name_of(certificate, &info->name, &reason) == STATUS_OK;
		info->kind = PKI_LEAF;
	}
	X509_NAME_get_text_by_NID(
		X509_get_issuer_name(certificate), NID_commonName, info->issuer, (int)sizeof(info->issuer));
	info->not_before_s = seconds_of(X509_get0_notBefore(certificate));
	info->not_after_s = seconds_of(X509_get0_notAfter(certificate));
	const ASN1_INTEGER *serial = X509_get0_serialNumber(certificate);
	int size = ASN1_STRING_length(serial);
	if (size > 0 && (size_t)size <= sizeof(info->serial)) {
		memcpy(info->serial, ASN1_STRING_get0_data(serial), (size_t)size);
		info->serial_size = (size_t)size;
	}
	enum status status = certificate_spki_sha256(certificate, info->spki_sha256);
	X509_free(certificate);
	if (status == STATUS_OK && !known) {
		pki_explain(why, file, ": ", reason);
		status = STATUS_INVALID;
	}
	return status;
}

enum status pki_list(const char *dir, struct pki_info *infos, size_t max, size_t *count, struct text *why)
{
	struct dirent **names = NULL;
	*count = 0;
	int found = scandir(dir, &names, is_certificate, alphasort);
	if (found < 0) {
		pki_explain(why, dir, " cannot be read: ", strerror(errno));
		return STATUS_NOT_FOUND;
	}
	for (int i = 0; i < found && *count < max; i++) {
		char path[PKI_PATH_MAX], ignored[256];
		struct text reason;
		text_init(&reason, ignored, sizeof(ignored));
		if (!pki_path_of(path, dir, names[i]->d_name, "", &reason))
			continue;
		if (pki_read(path, &infos[*count], &reason) == STATUS_OK)
			++*count;
	}
	pki_free_names(names, found);
	return STATUS_OK;
}

static enum status verify_chain(X509 *certificate, const char *cas, struct text *why)
{
	enum status status = STATUS_DENIED;
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *check = X509_STORE_CTX_new();
	if (!store || !check || X509_STORE_load_file(store, cas) != 1) {
		pki_explain(why, cas, " cannot be read", "");
		status = STATUS_NOT_FOUND;
	} else if (X509_STORE_CTX_init(check, store, certificate, NULL) != 1) {
		status = STATUS_NO_MEMORY;
	} else if (X509_verify_cert(check) == 1) {
		status = STATUS_OK;
	} else {
		pki_explain(
			why, X509_verify_cert_error_string(X509_STORE_CTX_get_error(check)), " (authorities: ", cas);
		text_add(why, ")");
	}
	X509_STORE_CTX_free(check);
	X509_STORE_free(store);
	ERR_clear_error();
	return status;
}

static enum status verify_key(X509 *certificate, const char *path, struct text *why)
{
	struct stat about;
	EVP_PKEY *key = load_key(path);
	enum status status = STATUS_DENIED;
	if (!key || stat(path, &about) != 0) {
		pki_explain(why, path, " cannot be read", "");
		status = STATUS_NOT_FOUND;
	} else if (X509_check_private_key(certificate, key) != 1) {
		pki_explain(why, path, " is not the certificate's key", "");
	} else if (about.st_mode & 077) {
		pki_explain(why, path, " may be read by others; ", "chmod 600 it");
	} else {
		status = STATUS_OK;
	}
	EVP_PKEY_free(key);
	ERR_clear_error();
	return status;
}

enum status pki_verify(const char *file, const char *key, const char *cas, struct text *why)
{
	struct pki_info info;
	enum status status = pki_read(file, &info, why);
	if (status != STATUS_OK)
		return status == STATUS_INVALID ? STATUS_DENIED : status;
	X509 *certificate = pki_load_certificate(file);
	if (!certificate)
		return STATUS_NOT_FOUND;
	status = verify_chain(certificate, cas, why);
	if (status == STATUS_OK && key)
		status = verify_key(certificate, key, why);
	X509_free(certificate);
	return status;
}
