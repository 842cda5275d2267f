/* tools/cert.h: what stands behind `domctl cert`: plain arguments in, a status and text for people out. No parsing of
 * arguments and no printing here; the command table and `domctl demo` call the same functions. */
#ifndef DOMICILE_TOOLS_CERT_H
#define DOMICILE_TOOLS_CERT_H

#include "tools/pki.h"

struct cert_args {
	const char *ca_dir; /* of the authorities */
	const char *out;    /* where leaves go; NULL: ca_dir */
	const char *cluster;
	const char *place;  /* a region's, a node's or a client's; NULL for administrators */
	const char *name;   /* of a client or administrator; NULL: "app", "admin" */
	const char *file;   /* show, verify */
	const char *key;    /* verify; NULL: not asked */
	const char *cas;    /* verify; NULL: cas.pem beside the file */
	uint32_t days;	    /* 0: the default */
	const char *serial; /* revoke; NULL: the file's */
	bool admin;	    /* create_ca, revoke: the administrators' */
};

/* On success `out` says what was made and what to do with it; else what is wrong, why, and what to do. */
enum status cert_create_ca(const struct cert_args *args, struct text *out) MUST;
enum status cert_create_node(const struct cert_args *args, struct text *out) MUST;
enum status cert_create_client(const struct cert_args *args, struct text *out) MUST;
enum status cert_create_admin(const struct cert_args *args, struct text *out) MUST;
/* The certificate `file`, or the serial number of the region `place` or of the administrators; or nobody: a list anew.
 */
enum status cert_revoke(const struct cert_args *args, struct text *out) MUST;
/* A line for each certificate of ca_dir: file, kind, who, days left. now_s: since 1970. */
enum status cert_list(const struct cert_args *args, int64_t now_s, struct text *out) MUST;
enum status cert_show(const struct cert_args *args, int64_t now_s, struct text *out) MUST;
enum status cert_verify(const struct cert_args *args, struct text *out) MUST;

const char *cert_kind_name(const struct pki_info *info); /* "region CA", "admin CA", "node", "client", "admin" */
int64_t cert_days_left(const struct pki_info *info, int64_t now_s); /* negative: over */

#endif
