/* tools/pki_internal.h: what tools/pki.c and pki_revoke.c share: files that are never overwritten, authorities. */
#ifndef DOMICILE_TOOLS_PKI_INTERNAL_H
#define DOMICILE_TOOLS_PKI_INTERNAL_H

#include <dirent.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <sys/types.h>

#include "policy/place.h"
#include "tools/pki.h"

enum { PKI_BACKDATE_S = 3600 }; /* clocks differ */

struct pki_key_pair {
	X509 *certificate;
	EVP_PKEY *key;
};
void pki_key_pair_free(struct pki_key_pair *pair);
void pki_explain(struct text *why, const char *a, const char *b, const char *c);

/* DIR/NAMESUFFIX. False: too long. */
bool pki_path_of(char path[PKI_PATH_MAX], const char *dir, const char *name, const char *suffix, struct text *why) MUST;
enum status pki_make_directory(const char *dir, struct text *why) MUST; /* with what is missing above it */
/* NULL with *status set: it is there already, or cannot be made. */
FILE *pki_create_file(const char *path, mode_t mode, enum status *status, struct text *why);
/* Closes the file; what could not be written whole is removed again. */
enum status pki_finish(FILE *file, const char *path, bool written, struct text *why) MUST;
/* The file `fresh` takes the place of `path` when status is OK, else it is removed. */
enum status pki_put(const char *fresh, const char *path, enum status status, struct text *why) MUST;
X509 *pki_load_certificate(const char *path);
void pki_free_names(struct dirent **names, int count);

bool pki_days_valid(uint32_t *days, uint32_t fallback, struct text *why) MUST;
/* The region of a leaf: a node's place without zone and node; a client's place is its region's. */
bool pki_region_of(const struct certificate_name *name, struct place *region) MUST;
/* DIR/FILE.crt and .key; subtree_place NULL: the administrators', else it must be bound to that place. */
enum status pki_load_authority(const char *dir, const char *file, const char *subtree_place, const char *cluster,
	struct pki_key_pair *ca, struct text *why) MUST;

#endif
