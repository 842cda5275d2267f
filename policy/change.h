/* policy/change.h: one change of the cluster map, as meta's log carries it (the body of meta's ENTRY_COMMAND) and as
 * an administrator or a node submits it. Plain structs and their codec; what a change does is replication/meta.h.
 * A decoded change borrows from the bytes and from the scratch given. Pure. */
#ifndef DOMICILE_POLICY_CHANGE_H
#define DOMICILE_POLICY_CHANGE_H

#include "policy/map.h"

enum change_kind {
	CHANGE_INIT = 1,	   /* names the cluster; its first region and node; the admin CA */
	CHANGE_REGION_ADD = 2,	   /* admin */
	CHANGE_NODE_ADMIT = 3,	   /* made by meta's leader for a node that asked; gives the node its id */
	CHANGE_NODE_ADDRESSES = 4, /* node: its addresses changed */
	CHANGE_APPLY = 5,	   /* admin: policies and bindings of a file, all or nothing */
	CHANGE_BINDING_SET = 6,	   /* admin */
	CHANGE_BINDING_UNSET = 7,  /* admin */
	CHANGE_SHARD_PLACE = 8,	   /* admin: the wanted replicas of one shard, by node */
	CHANGE_SHARD_LEAD = 9,	   /* admin: the node that should lead it; 0: by policy again */
	CHANGE_SHARD_REPORT = 10,  /* the shard's leader: a membership has been committed */
	CHANGE_FENCE_REPORT = 11,  /* the shard's leader: the fence of an operation is applied; keys found behind it */
	CHANGE_META_REPORT = 12,   /* meta's leader: meta's own membership, as committed */
	CHANGE_LEDGER_HEAD = 13,   /* node: how far its ledger goes, signed */
	CHANGE_NODE_STATE = 14,	   /* admin: drains a node, of leads only or of replicas too, or has it back */
	CHANGE_REGION_STATE = 15,  /* admin: the same for all nodes of a region */
	CHANGE_NODE_REMOVE = 16,   /* admin: a drained node, for ever */
	CHANGE_MOVE_REPORT = 17,   /* the shard's leader: its step of an operation's phase is done */
	CHANGE_CANCEL = 18,	   /* admin: an operation is to go back where it can */
	CHANGE_REGION_REMOVE = 19, /* admin: a region without nodes, of which no policy speaks */
	CHANGE_SHARD_SPLIT = 20,   /* admin */
	CHANGE_SHARD_MERGE = 21,   /* admin: `merged` goes into `shard` */
	CHANGE_REBALANCE = 22,	   /* admin: replicas move so that nodes carry alike */
};
enum { CHANGE_KIND_LAST = CHANGE_REBALANCE };

struct change_binding {
	bool exact;
	struct hash128 hash; /* exact; made by whoever has the secret, so that the key never travels */
	uint16_t prefix_size;
	uint8_t prefix[BINDING_PREFIX_MAX];
	char policy[POLICY_NAME_MAX]; /* by name: of the file or of the map */
	uint32_t line;		      /* in the file; for flaws */
};
struct change {
	uint8_t kind;	/* enum change_kind */
	bool dry_run;	/* check and answer, change nothing */
	uint64_t epoch; /* apply only if the map is at this epoch; 0: at any */
	uint64_t
		plan; /* apply only if that is the plan's id (policy/plan.h), so its outcome; 0: whatever comes of it */
	uint64_t now_us; /* proposer's wall clock: for operations' times only */
	/* INIT: of the cluster; REGION_STATE, REGION_REMOVE: of the region */
	char name[CLUSTER_NAME_MAX];
	uint8_t cluster[16], hash_secret[16], admin_spki_sha256[32];
	/* INIT, REGION_ADD */
	struct map_region region;
	/* INIT, NODE_ADMIT, NODE_ADDRESSES (id), LEDGER_HEAD (id, ledger) */
	struct map_node node;
	/* APPLY, BINDING_SET (one), BINDING_UNSET (one) */
	uint32_t policy_count, binding_count;
	struct policy *policies;
	struct change_binding *bindings;
	uint8_t phase; /* MOVE_REPORT; enum operation_phase */
	/* SHARD_*, FENCE_REPORT, META_REPORT, MOVE_REPORT (shard, operation; keys_found: that cannot go), CANCEL
	 * (operation) */
	uint64_t shard, operation, generation, membership_index, target_node, keys_found;
	uint64_t version; /* FENCE_REPORT: no row of the shard has, or had, a higher one */
	uint64_t merged;  /* SHARD_MERGE: the shard that goes */
	uint8_t replica_count;
	struct map_replica replicas[REPLICAS_MAX];
	/* NODE_STATE, NODE_REMOVE (target_node), REGION_STATE, REGION_REMOVE (name): enum node_state, enum region_state
	 */
	uint8_t state;
	/* NODE_STATE, REGION_STATE, REBALANCE: nodes that do not answer the proposer, meta's leader. Nothing comes to
	 * them that has another place. */
	uint16_t away_count;
	uint64_t away[MAP_NODES_MAX];
};

struct change_scratch { /* for decoding; sized by the caller */
	struct policy *policies;
	uint32_t policy_max;
	struct change_binding *bindings;
	uint32_t binding_max;
};

void change_encode(const struct change *change, struct packer *packer);
enum status change_decode(struct bytes bytes, const struct change_scratch *scratch, struct change *change) MUST;

#endif
