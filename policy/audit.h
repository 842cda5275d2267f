/* policy/audit.h: judges a node's ledger, record by record in order: does each event agree with the ones before it and
 * with the rules that were in force then, as the ledger itself has them? That the records are the ones that were
 * written (chain, signature) is asked elsewhere (policy/ledger_segment.h, domctl). Pure; caller's memory. */
#ifndef DOMICILE_POLICY_AUDIT_H
#define DOMICILE_POLICY_AUDIT_H

#include "policy/ledger_record.h"
#include "policy/map.h"

struct audit;

enum audit_kind {
	AUDIT_IDENTITY = 1,  /* the node is another one than before */
	AUDIT_NO_REGION,     /* no record says of which region the place is */
	AUDIT_RULES,	     /* a record of rules contradicts itself or goes back */
	AUDIT_NO_RULES,	     /* something happened by rules that are not recorded */
	AUDIT_AGAINST_RULES, /* the rules in force forbade it: a copy, a snapshot or keys where they may not be */
	AUDIT_UNRECORDED,    /* a replica was found on the disk that no record had announced */
	AUDIT_ORDER,	     /* created twice, removed without being there, and the like */
	AUDIT_TOO_MANY,	     /* more than a node can hold: not judged */
	AUDIT_LATE,	     /* bytes that were no copy any more stayed longer than erase_within */
};
struct audit_finding {
	enum audit_kind kind;
	const char *what; /* a sentence without names */
	const struct ledger_record *record;
};
typedef void audit_fn(void *arg, const struct audit_finding *finding);

struct audit_replica {
	uint64_t shard, replica, policy;
	uint64_t created_us, removed_us; /* removed 0: it is there */
	uint64_t forbidden_us;		 /* since when the rules want it elsewhere; 0: they do not */
	uint64_t removed_sequence;	 /* of the record that says so */
	uint64_t purge_by_us;		 /* erase_within of the rules in force when it was removed; 0: not judged */
	bool witness;			 /* without data: where witnesses may be */
	bool overdue;			 /* what was deleted in it is still there, for too long */
};
struct audit_policy {
	uint64_t id, epoch;
	uint8_t digest[SHA256_SIZE];
	struct policy rules; /* the newest recorded */
	uint32_t late;	     /* findings of AUDIT_LATE about its replicas */
};

size_t audit_size(void);
/* place: the ledger's own, from its first file. */
struct audit *audit_init(void *memory, const struct place *place, audit_fn *fn, void *arg);
void audit_record(struct audit *audit, const struct ledger_record *record);

/* After the last record: what should have been purged by then, and is not. read_us: when the ledger was read, and so
 * had no more records; 0: not known, the time of the last record counts. */
void audit_end(struct audit *audit, uint64_t read_us);
/* After the last record: what is there, or was and is not purged; what rules it knows; who it is. */
const struct audit_replica *audit_replicas(const struct audit *audit, uint32_t *count);
const struct audit_policy *audit_policies(const struct audit *audit, uint32_t *count);
uint64_t audit_node(const struct audit *audit, uint8_t cluster[16]); /* 0: it never said */
const char *audit_kind_name(enum audit_kind kind);

#endif
