/* wire/revocations.c: see wire/revocations.h. */
#include "wire/revocations.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

enum { LISTS_MAX = 256, FILE_SIZE_MAX = 16 * 1024 * 1024 };

struct revocations {
	_Atomic unsigned refs;
	unsigned count;
	X509_CRL *lists[LISTS_MAX];
};

static void say(const char **why, const X509_CRL *list, const char *what)
{
	static _Thread_local char text[240];
	char name[120] = "?";
	X509_NAME_get_text_by_NID(X509_CRL_get_issuer(list), NID_commonName, name, (int)sizeof(name));
	snprintf(text, sizeof(text), "the list of '%s' %s", name, what);
	*why = text;
}

struct revocations *revocations_ref(struct revocations *revocations)
{
	if (revocations)
		atomic_fetch_add(&revocations->refs, 1);
	return revocations;
}

void revocations_unref(struct revocations *revocations)
{
	if (!revocations || atomic_fetch_sub(&revocations->refs, 1) != 1)
		return;
	for (unsigned i = 0; i < revocations->count; i++)
		X509_CRL_free(revocations->lists[i]);
	free(revocations);
}

/* --- reading ---------------------------------------------------------------------------------- */

/* By name and, where both say it, by key: an authority's successor may have its name. */
static bool same_authority(const X509_CRL *a, const X509_CRL *b)
{
	if (X509_NAME_cmp(X509_CRL_get_issuer(a), X509_CRL_get_issuer(b)) != 0)
		return false;
	AUTHORITY_KEYID *left = X509_CRL_get_ext_d2i(a, NID_authority_key_identifier, NULL, NULL);
	AUTHORITY_KEYID *right = X509_CRL_get_ext_d2i(b, NID_authority_key_identifier, NULL, NULL);
	bool differ =
		left && right && left->keyid && right->keyid && ASN1_OCTET_STRING_cmp(left->keyid, right->keyid) != 0;
	AUTHORITY_KEYID_free(left);
	AUTHORITY_KEYID_free(right);
	return !differ;
}

static enum status add(struct revocations *made, X509_CRL *list, const char **why)
{
	if (X509_CRL_get_ext_by_critical(list, 1, -1) >= 0) { /* of some certificates only, or since another list */
		say(why, list, "has an extension that is not understood; write a full one (domctl cert revoke)");
		return STATUS_INVALID;
	}
	for (unsigned i = 0; i < made->count; i++)
		if (same_authority(made->lists[i], list)) {
			say(why, list, "is there twice; leave the newer one");
			return STATUS_INVALID;
		}
	if (made->count == LISTS_MAX) {
		*why = "more than 256 lists";
		return STATUS_TOO_LARGE;
	}
	X509_CRL_up_ref(list);
	made->lists[made->count++] = list;
	return STATUS_OK;
}

enum status revocations_read(const char *file, struct revocations **out, const char **why)
{
	enum status status = STATUS_OK;
	*out = NULL;
	*why = "";
	ERR_clear_error();
	FILE *from = fopen(file, "re");
	if (!from) {
		*why = "it cannot be read";
		return STATUS_NOT_FOUND;
	}
	struct stat stat;
	if (fstat(fileno(from), &stat) != 0 || stat.st_size > FILE_SIZE_MAX) {
		fclose(from);
		*why = "it is larger than 16 MiB";
		return STATUS_TOO_LARGE;
	}
	struct revocations *made = calloc(1, sizeof(*made));
	if (!made) {
		fclose(from);
		*why = "out of memory";
		return STATUS_NO_MEMORY;
	}
	made->refs = 1;
	while (status == STATUS_OK) {
		X509_CRL *list = PEM_read_X509_CRL(from, NULL, NULL, NULL);
		if (!list)
			break;
		status = add(made, list, why);
		X509_CRL_free(list);
	}
	bool whole = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE && !ferror(from);
	fclose(from);
	ERR_clear_error();
	if (status == STATUS_OK && (!whole || made->count == 0)) {
		*why = whole ? "it holds no list of revoked certificates" : "a list in it is damaged or not whole";
		status = STATUS_INVALID;
	}
	if (status == STATUS_OK)
		*out = made;
	else
		revocations_unref(made);
	return status;
}

/* --- judging ---------------------------------------------------------------------------------- */

enum signature { SIGNATURE_STRANGE, SIGNATURE_RIGHT, SIGNATURE_WRONG, SIGNATURE_FORBIDDEN };

static enum signature signature_by(X509_CRL *list, X509 *authority)
{
	if (X509_NAME_cmp(X509_CRL_get_issuer(list), X509_get_subject_name(authority)) != 0)
		return SIGNATURE_STRANGE;
	AUTHORITY_KEYID *key = X509_CRL_get_ext_d2i(list, NID_authority_key_identifier, NULL, NULL);
	bool other = key && X509_check_akid(authority, key) != X509_V_OK;
	AUTHORITY_KEYID_free(key);
	if (other)
		return SIGNATURE_STRANGE;
	if (X509_CRL_verify(list, X509_get0_pubkey(authority)) != 1)
		return SIGNATURE_WRONG;
	return X509_get_key_usage(authority) & KU_CRL_SIGN ? SIGNATURE_RIGHT : SIGNATURE_FORBIDDEN;
}

static enum signature signature_of(X509_CRL *list, X509_STORE *store)
{
	enum signature found = SIGNATURE_STRANGE;
	STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(store);
	for (int i = 0; found != SIGNATURE_RIGHT && i < sk_X509_OBJECT_num(objects); i++) {
		X509 *authority = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));
		enum signature by = authority ? signature_by(list, authority) : SIGNATURE_STRANGE;
		found = by != SIGNATURE_STRANGE ? by : found;
	}
	return found;
}

enum status revocations_judge(
	const struct revocations *revocations, X509_STORE *store, unsigned *strangers, const char **why)
{
	enum status status = STATUS_OK;
	*strangers = 0;
	*why = "";
	for (unsigned i = 0; revocations && status == STATUS_OK && i < revocations->count; i++) {
		enum signature signature = signature_of(revocations->lists[i], store);
		*strangers += signature == SIGNATURE_STRANGE;
		if (signature != SIGNATURE_WRONG && signature != SIGNATURE_FORBIDDEN)
			continue;
		say(why, revocations->lists[i],
			signature == SIGNATURE_WRONG ? "is not signed by that authority"
						     : "is of an authority that may sign none (cRLSign)");
		status = STATUS_INVALID;
	}
	ERR_clear_error();
	return status;
}

/* By the number that grows with each list, else by its date. */
static bool is_older(const X509_CRL *list, const X509_CRL *than)
{
	ASN1_INTEGER *left = X509_CRL_get_ext_d2i(list, NID_crl_number, NULL, NULL);
	ASN1_INTEGER *right = X509_CRL_get_ext_d2i(than, NID_crl_number, NULL, NULL);
	bool older = left && right
			     ? ASN1_INTEGER_cmp(left, right) < 0
			     : ASN1_TIME_compare(X509_CRL_get0_lastUpdate(list), X509_CRL_get0_lastUpdate(than)) < 0;
	ASN1_INTEGER_free(left);
	ASN1_INTEGER_free(right);
	return older;
}

enum status revocations_follow(const struct revocations *old, const struct revocations *fresh, const char **why)
{
	enum status status = STATUS_OK;
	*why = "";
	for (unsigned i = 0; old && status == STATUS_OK && i < old->count; i++) {
		unsigned at = 0;
		while (fresh && at < fresh->count && !same_authority(old->lists[i], fresh->lists[at]))
			at++;
		if (!fresh || at == fresh->count) {
			say(why, old->lists[i], "is missing; what it names would be let in again");
			status = STATUS_CONFLICT;
		} else if (is_older(fresh->lists[at], old->lists[i])) {
			say(why, old->lists[i], "is older than the one in force");
			status = STATUS_CONFLICT;
		}
	}
	ERR_clear_error();
	return status;
}

/* --- asking ----------------------------------------------------------------------------------- */

bool revocations_hold(const struct revocations *revocations, X509 *certificate, X509 *issuer)
{
	bool held = false;
	for (unsigned i = 0; revocations && !held && i < revocations->count; i++) {
		X509_REVOKED *entry = NULL;
		X509_CRL *list = revocations->lists[i];
		held = X509_NAME_cmp(X509_CRL_get_issuer(list), X509_get_issuer_name(certificate)) == 0 &&
		       X509_CRL_get0_by_cert(list, &entry, certificate) == 1 &&
		       X509_CRL_verify(list, X509_get0_pubkey(issuer)) == 1;
	}
	ERR_clear_error();
	return held;
}

STACK_OF(X509_CRL) * revocations_of(const struct revocations *revocations, const X509_NAME *name)
{
	STACK_OF(X509_CRL) *lists = sk_X509_CRL_new_null();
	for (unsigned i = 0; lists && revocations && i < revocations->count; i++) {
		X509_CRL *list = revocations->lists[i];
		if (X509_NAME_cmp(X509_CRL_get_issuer(list), name) != 0)
			continue;
		X509_CRL_up_ref(list);
		if (sk_X509_CRL_push(lists, list) == 0) {
			X509_CRL_free(list);
			sk_X509_CRL_pop_free(lists, X509_CRL_free);
			return NULL;
		}
	}
	return lists;
}

int64_t revocations_due_s(const struct revocations *revocations)
{
	int64_t first = INT64_MAX;
	for (unsigned i = 0; revocations && i < revocations->count; i++) {
		struct tm parts;
		const ASN1_TIME *due = X509_CRL_get0_nextUpdate(revocations->lists[i]);
		if (!due || ASN1_TIME_to_tm(due, &parts) != 1)
			continue;
		int64_t at = (int64_t)timegm(&parts);
		first = at < first ? at : first;
	}
	return first;
}

unsigned revocations_count(const struct revocations *revocations)
{
	unsigned count = 0;
	for (unsigned i = 0; revocations && i < revocations->count; i++) {
		STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(revocations->lists[i]);
		count += entries ? (unsigned)sk_X509_REVOKED_num(entries) : 0;
	}
	return count;
}
