/* tools/chain.h: one node's ledger in the hands of an auditor: its files, read from the node or from a disk, and what
 * is wrong with them: the chain, the certificate, the heads that meta keeps, the events against the rules. */
#ifndef DOMICILE_TOOLS_CHAIN_H
#define DOMICILE_TOOLS_CHAIN_H

#include <jansson.h>

#include "policy/audit.h"
#include "policy/ledger_segment.h"
#include "tools/session.h"

struct x509_st;

enum { TRUSTED_MAX = MAP_REGIONS_MAX + 1, CERTIFICATES_MAX = 64 };
struct trusted { /* authorities: their certificates, with the trust of whoever gave them */
	unsigned count;
	struct x509_st *at[TRUSTED_MAX];
};
int trusted_load(const struct invocation *invocation, const char *file, struct trusted *trusted); /* PEM */
void trusted_of_map(const struct cluster_map *map, struct trusted *trusted);
void trusted_free(struct trusted *trusted);
/* The certificate is a node's of this place and cluster, signed by a trusted authority that is bound to the place. */
bool trusted_certificate(const struct trusted *trusted, struct x509_st *certificate, const struct place *place,
	const char *cluster, const char **why);

struct kept_head { /* by meta */
	uint64_t node, incarnation;
	uint64_t gone_us; /* when the node was decommissioned; 0: it is in the cluster */
	struct place place;
	struct ledger_head head;
};

struct chain_file {
	uint8_t *bytes;
	size_t size;
	uint64_t first;	  /* sequence of its first record; 0: its header does not decode */
	const char *name; /* of the file, or of the node */
};
struct chain {
	uint64_t incarnation;
	struct place place;
	uint64_t read_us; /* when its node was asked for it; 0: by files */
	uint32_t file_count, file_capacity;
	struct chain_file *files;  /* rising, after chain_judge */
	struct ledger_position at; /* behind the last whole record */
	struct audit *audit;
	json_t *findings; /* array */
	uint32_t certificate_count;
	struct x509_st *certificates[CERTIFICATES_MAX]; /* recorded, oldest first */
	struct ledger_position *positions;		/* behind record i + 1 */
	size_t position_capacity;
};
void chain_init(struct chain *chain);
void chain_free(struct chain *chain);
/* Takes the bytes over (malloc). False: no memory. */
bool chain_add(struct chain *chain, uint8_t *bytes, size_t size, const char *name);
int chain_load(const struct invocation *invocation, const char *file, struct chain *chain);
/* All of a node's ledger. False: it does not answer; why says so. */
bool chain_fetch(struct session *session, uint64_t node, const char *name, struct chain *chain, char why[192]);
/* A chain told record by record instead of read from files: begin, then each record, or NULL for one of which only the
 * digest is known, then end. */
void chain_begin(struct chain *chain, uint64_t incarnation, const struct place *place);
void chain_take(struct chain *chain, const struct trusted *trusted, const struct ledger_record *record,
	const struct ledger_position *behind);
void chain_end(struct chain *chain); /* after the last */
/* Reads all records: the chain, the rules, the certificates. */
void chain_judge(struct chain *chain, const struct trusted *trusted);
/* This head is of this chain, and signed by its node. */
void chain_judge_head(struct chain *chain, const struct kept_head *kept);
void chain_find(struct chain *chain, uint64_t sequence, const char *kind, const char *what);
/* Every record, in order. */
typedef void chain_record_fn(void *arg, const struct chain *chain, const struct ledger_record *record,
	struct bytes encoded, const struct ledger_position *behind);
void chain_records(const struct chain *chain, chain_record_fn *fn, void *arg);

#endif
