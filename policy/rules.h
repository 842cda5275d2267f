/* policy/rules.h: one policy: where a key's bytes may exist, how many copies and where, who acknowledges, who reads.
 * Plain struct of bounded size, filled by config/ from YAML or by policy_decode from meta's log. Pure.
 *
 * "Tighten" speaks of where bytes may be and who may touch them: store_in minus never_in, witness_in, read_from,
 * write_from, transit, erase_within. Copies, spread, survive, ack, reads, lead_in, follow, isolated are free. */
#ifndef DOMICILE_POLICY_RULES_H
#define DOMICILE_POLICY_RULES_H

#include "base/bytes.h"
#include "base/pack.h"
#include "base/status.h"
#include "base/text.h"
#include "policy/place.h"
#include "policy/quorum.h"

enum { SELECTORS_MAX = 16, COPY_RULES_MAX = 8, AREAS_MAX = 8, POLICY_NAME_MAX = 64, COPIES_MAX = 7 };
enum { WITNESSED_COPIES = 2 }; /* with a witness: exactly so many, in as many regions */
enum { ISOLATED_STALE_MS_MAX = 24 * 3600 * 1000 };
enum { ERASE_WITHIN_S_MIN = 10, ERASE_WITHIN_S_DEFAULT = 24 * 3600, ERASE_WITHIN_S_MAX = 366 * 24 * 3600 };

struct selectors {
	uint8_t count;
	struct selector at[SELECTORS_MAX];
};
struct copy_rule {
	struct selector in;
	uint8_t copies; /* at least */
};
enum spread { SPREAD_NODE = 1, SPREAD_ZONE = 2, SPREAD_REGION = 3 }; /* no two copies in one ... */
enum ack_kind { ACK_MAJORITY = 0, ACK_COPIES = 1, ACK_REGIONS = 2, ACK_ALL_OF = 3 };
enum reads { READS_LEADER = 0, READS_LOCAL = 1 };
enum transit { TRANSIT_STAY = 0, TRANSIT_ANY = 1 };

struct policy {
	char name[POLICY_NAME_MAX]; /* [a-z0-9][a-z0-9-]* */
	uint64_t id;		    /* given by meta; 0 in a file */
	uint64_t epoch;		    /* of the map that last changed it */
	uint64_t changed_us; /* the proposer's wall clock then; 0 in a file. Stored in the map, not with the rules */
	uint32_t line;	     /* in the file it came from; 0: none. Not stored */
	struct selectors store_in, never_in, lead_in, read_from, write_from;
	struct selectors witness_in; /* empty: no witness */
	struct copy_rule copy_in[COPY_RULES_MAX];
	uint8_t copy_in_count;
	uint8_t copies;
	uint8_t spread;		    /* enum spread */
	uint8_t survive;	    /* enum survive */
	uint8_t ack;		    /* enum ack_kind */
	uint8_t ack_count;	    /* of copies or regions */
	struct selectors ack_areas; /* ACK_ALL_OF, at most AREAS_MAX */
	uint8_t reads;		    /* enum reads */
	uint8_t transit;	    /* enum transit */
	bool follow;		    /* the leader goes where the writers are, inside lead_in */
	uint32_t isolated_stale_ms; /* a cut-off copy may answer so old; 0: it refuses; up to ISOLATED_STALE_MS_MAX */
	uint32_t erase_within_s;    /* bytes that are no copy any more are gone from disk; ERASE_WITHIN_S_MIN..MAX */
};

/* What a rule is wrong about, for people: reason and cure; line and column when it came from a file. */
struct flaw {
	uint32_t line, column;
	char reason[320];
	char cure[240];
};

/* Defaults: copies 3, spread node (with a witness: copies 2, spread region), survive = what the spread names if copies
 * and ack can carry it, else nothing, ack majority, reads leader, read_from = write_from = store_in, transit stay,
 * lead_in any allowed place, no follow, isolated refuse, erase_within 24h. Called after the fields that were given are
 * set; `given` has a bit per field of enum policy_field.
 */
enum policy_field {
	FIELD_STORE_IN = 1 << 0,
	FIELD_NEVER_IN = 1 << 1,
	FIELD_COPIES = 1 << 2,
	FIELD_SPREAD = 1 << 3,
	FIELD_COPY_IN = 1 << 4,
	FIELD_SURVIVE = 1 << 5,
	FIELD_ACK = 1 << 6,
	FIELD_READS = 1 << 7,
	FIELD_LEAD_IN = 1 << 8,
	FIELD_READ_FROM = 1 << 9,
	FIELD_WRITE_FROM = 1 << 10,
	FIELD_TRANSIT = 1 << 11,
	FIELD_WITNESS_IN = 1 << 12,
	FIELD_ERASE_WITHIN = 1 << 13,
};
void policy_complete(struct policy *policy, uint32_t given);
/* Rules that contradict themselves whatever the cluster is: copies 0, store_in empty, copy_in beyond copies... */
bool policy_check(const struct policy *policy, struct flaw *flaw);
/* True: the policy holds no contradiction and can be applied, but a rule of it has no effect; the flaw says which. */
bool policy_doubt(const struct policy *policy, struct flaw *flaw);
/* "none", "node", "zone", "region"; "?" for what is none of the enum. */
const char *survive_name(unsigned survive);
const char *spread_name(unsigned spread);
bool policy_equal(const struct policy *a, const struct policy *b); /* rules; not id, epoch, line */

/* What a policy says of one place. `tags`: of the place's region. */
struct site { /* a place with the tags of its region, as attested by a certificate and meta */
	struct place place;
	uint8_t tag_count;
	char tags[TAGS_MAX][TAG_TEXT_MAX];
};
bool policy_may_store(const struct policy *policy, const struct site *site);
/* A witness may be there: never_in speaks of bytes, and a witness has none. */
bool policy_may_witness(const struct policy *policy, const struct site *site);
bool policy_may_read(const struct policy *policy, const struct site *site);
bool policy_may_write(const struct policy *policy, const struct site *site);
/* A gateway there may relay a value: where bytes may rest, or anywhere with transit any. */
bool policy_may_relay(const struct policy *policy, const struct site *site);
/* Rank of lead_in that the site meets: 0 is the best, UINT_MAX when it may not lead. */
unsigned policy_lead_rank(const struct policy *policy, const struct site *site);

/* Inner may stand inside outer: over the registered sites and the selectors as text, inner allows nothing that outer
 * forbids. The flaw names the field. */
bool policy_tightens(const struct policy *inner, const struct policy *outer, const struct site *sites,
	unsigned site_count, struct flaw *flaw);

/* The quorum rule of this policy and the area bits of a member there. */
struct quorum_rule policy_quorum_rule(const struct policy *policy);
uint8_t policy_areas(const struct policy *policy, const struct site *site);

void policy_encode(const struct policy *policy, struct packer *packer);
enum status policy_decode(struct unpacker *unpacker, struct policy *policy) MUST;
/* One line for people: "store_in eu; 3 copies, no two in one zone; ack majority; ..." */
void policy_describe(const struct policy *policy, struct text *text);

#endif
