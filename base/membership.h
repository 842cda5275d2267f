/* base/membership.h: a group's configuration as its log carries it. Plain structs, here because rules (policy/),
 * messages (wire/) and the core (replication/) all speak of it and none of them may include another for it.
 * Predicates: policy/quorum.h. Codec: wire/codec.h. */
#ifndef DOMICILE_BASE_MEMBERSHIP_H
#define DOMICILE_BASE_MEMBERSHIP_H

#include <stdbool.h>
#include <stdint.h>

enum { REPLICAS_MAX = 16 }; /* members of one group, both configurations of a joint one together */

enum replica_role { ROLE_NONE = 0, ROLE_VOTER = 1, ROLE_LEARNER = 2, ROLE_WITNESS = 3 };

struct member {
	uint64_t replica; /* replica id: given by meta, from 1, never reused */
	uint64_t node;	  /* node id: likewise */
	uint8_t role_old; /* enum replica_role in the old configuration; counts only while joint */
	uint8_t role_new; /* in the new, or only, configuration; NONE: leaves when the joint one ends */
	uint8_t region;	  /* number of its region within this membership: equal means the same region */
	uint8_t zone;	  /* likewise; distinct across regions */
	uint8_t areas;	  /* bit i: its place lies in the rule's i-th area (ack all_of) */
};

/* Where a witness stands in for a lost copy (docs/witness.md): whether the rule may fall back to a majority with one
 * copy, and whether it has. */
enum degrade { DEGRADE_NEVER = 0, DEGRADE_MAY = 1, DEGRADED = 2 };

/* Who must hold an entry durably before it is committed. */
struct quorum_rule {
	uint8_t voters;	 /* at least so many voters; 0: a majority of them */
	uint8_t regions; /* in at least so many regions; 0: no demand */
	uint8_t copies;	 /* at least so many voters with data; 0: no demand */
	uint8_t areas;	 /* bit i: at least one voter with data in area i */
	uint8_t degrade; /* enum degrade */
};

struct membership {
	uint64_t index; /* of the entry that carries it; 0: given at the group's birth */
	uint8_t count;
	bool joint;	  /* both configurations are in force */
	bool local_reads; /* its voters with data are responders: docs/leases.md */
	/* Of the map by which it was made; 0: none. Whoever leads by an older one knows less, and leaves it alone. */
	uint64_t map_epoch;
	struct quorum_rule rule_old, rule_new;
	struct member at[REPLICAS_MAX];
};

#endif
