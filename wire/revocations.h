/* wire/revocations.h: lists of revoked certificates: X.509 CRLs in PEM, one after the other in one file, at most one of
 * each authority. An authority without a list has revoked nothing. A list past its time counts like any other: what it
 * names stays out. Nothing changes once read; references are counted, so that contexts share one. */
#ifndef DOMICILE_WIRE_REVOCATIONS_H
#define DOMICILE_WIRE_REVOCATIONS_H

#include "base/status.h"

struct x509_st;
struct x509_store_st;
struct X509_name_st;
struct stack_st_X509_CRL;
struct revocations;

/* NOT_FOUND: the file cannot be read. INVALID: no list, a torn one, a partial one, two of one authority. TOO_LARGE:
 * more than 16 MiB (some 300,000 certificates) or 256 lists. For all here: *why is static or per-thread text for
 * people. */
enum status revocations_read(const char *file, struct revocations **out, const char **why) MUST;
struct revocations *revocations_ref(struct revocations *revocations); /* NULL is none, here and below */
void revocations_unref(struct revocations *revocations);

/* INVALID: a list that an authority in the store cannot have signed, or may not. *strangers: lists of authorities that
 * are not in the store; they are judged when one of their certificates comes. */
enum status revocations_judge(
	const struct revocations *revocations, struct x509_store_st *store, unsigned *strangers, const char **why) MUST;
/* May `fresh` take the place of `old`? CONFLICT: it lacks a list, or one is older: what was out would be in again. */
enum status revocations_follow(const struct revocations *old, const struct revocations *fresh, const char **why) MUST;

/* Is the certificate in a list that its issuer has signed? */
bool revocations_hold(const struct revocations *revocations, struct x509_st *certificate, struct x509_st *issuer);
/* The lists under an authority's name, each with a reference of its own, for OpenSSL. NULL: no memory. */
struct stack_st_X509_CRL *revocations_of(const struct revocations *revocations, const struct X509_name_st *name);
int64_t revocations_due_s(
	const struct revocations *revocations); /* the first time that a newer list was promised for */
unsigned revocations_count(const struct revocations *revocations); /* certificates in all of them */

#endif
