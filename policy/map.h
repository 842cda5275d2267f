/* policy/map.h: the cluster map: what every node and client knows of the cluster. Regions, nodes, policies, bindings,
 * shards, operations; never a byte of a user's key or value (a prefix binding is an administrator's text). Meta's
 * state machine (replication/meta.h) changes it; everybody else reads a decoded copy by its epoch.
 *
 * Memory: one block given by the owner, sized by limits; arrays in it, no pointers out of it. Pure. One thread. */
#ifndef DOMICILE_POLICY_MAP_H
#define DOMICILE_POLICY_MAP_H

#include "base/hash.h"
#include "base/pack.h"
#include "policy/ledger_record.h"
#include "policy/rules.h"

enum {
	MAP_REGIONS_MAX = 64,
	MAP_NODES_MAX = 256,
	MAP_POLICIES_MAX = 1000,
	MAP_BINDINGS_MAX = 10000,
	MAP_SHARDS_MAX = 8192,
	MAP_OPERATIONS_MAX = 256,
	SHARDS_PER_POLICY = 8,	    /* that a policy begins with */
	SHARDS_PER_POLICY_MAX = 64, /* split, and not merged, from these */
	BINDING_PREFIX_MAX = 256,   /* bytes */
	REGION_NAME_MAX = 64,
	CERTIFICATE_SIZE_MAX = 2048,
	ADDRESS_TEXT_MAX = 128,
	ADDRESSES_MAX = 8,
	CLUSTER_NAME_MAX = 64,
	OPERATION_TEXT_MAX = 256,
	OPERATION_POLICIES_MAX = 8,
	MAP_VERSIONS_MAX = 512,	 /* former rules of all policies together */
	POLICY_VERSIONS_MAX = 8, /* of one policy */
	MAP_FORMERS_MAX = 256,	 /* nodes that were decommissioned */
};
#define SHARD_WIDTH_MIN ((uint64_t)1 << 52) /* hashes of a shard, at least */

/* What a node, or all nodes of a region, are there for; kept by meta. Who is drained gets no new replica and no lead,
 * and its replicas go elsewhere. */
enum node_state {
	NODE_ACTIVE = 0,
	NODE_LEADLESS = 1, /* holds replicas, leads nothing that another may lead: about to be restarted */
	NODE_DRAINING = 2, /* drained, once no replica is left */
	NODE_GONE = 3,	   /* decommissioned; out of the map as soon as meta's membership is without it */
};
enum region_state {
	REGION_ACTIVE = 0,
	REGION_DRAINING = 1,
	REGION_FENCED = 2, /* declared lost: nobody listens to its nodes; what can be replaced elsewhere is */
};
struct map_region {
	char name[REGION_NAME_MAX]; /* last component of the place; unique */
	struct site site;	    /* the region's place and tags */
	double latitude, longitude; /* degrees; NAN: not given */
	uint8_t spki_sha256[32];    /* pinned key of the region's CA */
	uint32_t ca_size;
	uint8_t ca_der[CERTIFICATE_SIZE_MAX];
	uint8_t state; /* enum region_state */
};
struct address_from {
	char from[SELECTOR_TEXT_MAX];	/* place prefix of who should dial this; "" = default */
	char address[ADDRESS_TEXT_MAX]; /* host:port */
};
struct address_list {
	uint8_t count;
	struct address_from at[ADDRESSES_MAX];
};
/* The address of the longest `from` that contains the dialler's place; the default; NULL when there is none. */
const char *address_for(const struct address_list *list, const struct place *dialler);
void address_list_encode(const struct address_list *list, struct packer *packer);
enum status address_list_decode(struct unpacker *unpacker, struct address_list *list) MUST;

struct map_node {
	uint64_t id, incarnation;
	struct place place;
	uint16_t region; /* position in regions[] */
	struct address_list addresses;
	uint64_t meta_replica;	   /* its replica of meta's group */
	bool meta_voter;	   /* wanted */
	bool meta_voting;	   /* in fact, as meta's leader last reported */
	uint8_t state;		   /* enum node_state; its region's counts too */
	bool away;		   /* only while a change is applied that says so; of no map that anybody sees */
	struct ledger_head ledger; /* the newest that it told; not a rule, so the epoch does not move with it */
};
struct map_binding {
	uint64_t policy;
	bool exact;
	struct hash128 hash;  /* exact: keyed hash of the key */
	uint16_t prefix_size; /* else: the prefix */
	uint8_t prefix[BINDING_PREFIX_MAX];
	uint64_t pending_operation; /* not 0: an operation decides on it; writes to its keys are refused meanwhile */
};
struct map_replica {
	uint64_t replica, node;
	uint8_t role; /* enum replica_role */
};
struct map_shard {
	uint64_t id, policy;
	uint64_t hash_first,
		hash_last;	   /* inclusive; UINT64_MAX, 0: none yet (map_shard_empty), it is being split off */
	uint64_t range_epoch;	   /* of the map since which it has this range */
	uint64_t generation;	   /* +1 with each reported change of membership, and when a move goes elsewhere */
	uint64_t membership_index; /* log index of the membership that `replicas` reports; 0: as born */
	uint64_t wanted_epoch;	   /* of the map since which `wanted` is what it is */
	uint8_t replica_count, wanted_count;
	/* The first member_count: in force as last reported. Behind them, as learners or witnesses, who were wanted
	 * since and are not any more: they may have become members, so they are named until a report is without them.
	 */
	uint8_t member_count;
	struct map_replica replicas[REPLICAS_MAX];
	struct map_replica wanted[REPLICAS_MAX]; /* where placement wants it; equal to replicas when settled */
	/* The rule that the group is born with and, by position in `replicas`, the areas of ack that each first member
	 * is in: as the policy was when meta made the shard. A node that comes to its replica later, under a changed
	 * policy, is born like the others or there are two groups in one. Of use while membership_index is 0. */
	struct quorum_rule birth_rule;
	uint8_t birth_areas[REPLICAS_MAX];
	uint64_t lead_wanted; /* node asked to lead by an administrator; 0: by policy */
	uint64_t operation;   /* that moves it; 0: none */
};
/* It is there for an OPERATION_SPLIT, and no key lives in it. */
static inline bool map_shard_empty(const struct map_shard *shard)
{
	return shard->hash_first > shard->hash_last;
}
static inline bool map_shard_has(const struct map_shard *shard, uint64_t hash)
{
	return hash_within(hash, shard->hash_first, shard->hash_last);
}
enum operation_kind {
	OPERATION_POLICY = 1,
	OPERATION_BINDING = 2,
	OPERATION_PLACE = 3,
	OPERATION_DRAIN = 4,	 /* of shards of any policies, without a list: those whose `operation` it is */
	OPERATION_SPLIT = 5,	 /* the upper hashes of a shard become one of their own */
	OPERATION_MERGE = 6,	 /* a shard's hashes go to its neighbour, and the shard goes */
	OPERATION_REBALANCE = 7, /* so that nodes carry alike; likewise without a list */
};
/* A range of hashes goes from one shard to another of the same policy. */
static inline bool operation_of_range(uint8_t kind)
{
	return kind == OPERATION_SPLIT || kind == OPERATION_MERGE;
}
/* By phases. */
static inline bool operation_moves_keys(uint8_t kind)
{
	return kind == OPERATION_BINDING || operation_of_range(kind);
}
/* The shards that it moves or fences are listed in shards_done; else it moves those whose `operation` it is. */
static inline bool operation_lists_shards(uint8_t kind)
{
	return kind != OPERATION_DRAIN && kind != OPERATION_REBALANCE;
}
enum operation_state { OPERATION_RUNNING = 1, OPERATION_DONE = 2, OPERATION_FAILED = 3 };
/* Of one that moves keys; replication/meta.h says what happens in each. Where they live changes at the switch, that is
 * at the end of CLOSE or SEAL. */
enum operation_phase {
	PHASE_NONE = 0,	 /* other kinds */
	PHASE_BIRTH = 1, /* SPLIT: the new shard is awaited, before anybody has to wait for it */
	PHASE_FENCE = 2,
	PHASE_WAIT = 3, /* for those that decide on some of its keys more closely; no shard has a step to do */
	PHASE_COPY = 4,
	PHASE_CLOSE = 5,
	PHASE_SEAL = 6,	 /* CLOSE of one that has no keys to copy; also when it is done */
	PHASE_PURGE = 7, /* the new binding, or ranges, are in force; also of one that is done, and moved keys */
	PHASE_ABORT = 8, /* the old ones are; also of one that failed after it had begun to copy */
};
struct map_operation {
	uint64_t id;
	uint8_t kind, state;
	uint64_t policy, binding_policy; /* 0: none, or several */
	uint32_t steps, steps_done;	 /* shards to move or to fence */
	uint64_t started_us, ended_us;
	char text[OPERATION_TEXT_MAX]; /* what and, when failed, why */
	bool cancelled;		       /* by an administrator; failed, when it is over */
	/* OPERATION_DRAIN: what is left: a node, or (0) the region at this position */
	uint64_t node;
	uint16_t region;
	/* Where it lists its shards, their ids: all `steps` of them, those that are done (the first steps_done) before
	 * those that are not. */
	uint64_t shards_done[SHARDS_PER_POLICY_MAX * OPERATION_POLICIES_MAX];
	/* That moves keys: */
	uint8_t phase;	      /* enum operation_phase; steps are of this phase */
	uint64_t phase_epoch; /* of the map in which it began */
	uint64_t keys;	      /* counted behind the fences */
	uint64_t version;     /* no row that lay behind the fences, ever, has a higher one */
	/* SPLIT, MERGE: */
	uint64_t shard_from, shard_to;
	uint64_t hash_first, hash_last; /* that go */
	/* BINDING: */
	uint8_t source_count, target_count;
	uint64_t sources[OPERATION_POLICIES_MAX]; /* policies whose shards are fenced */
	uint64_t targets[OPERATION_POLICIES_MAX]; /* policies to which keys may go; from COPY or SEAL on */
	bool exact;				  /* what is bound, as in struct map_binding */
	struct hash128 hash;
	uint16_t prefix_size;
	uint8_t prefix[BINDING_PREFIX_MAX];
};

/* A node that was decommissioned: how far its ledger went, for audits of what was on it. */
struct map_former {
	uint64_t id, incarnation;
	struct place place;
	struct ledger_head ledger;
	uint64_t gone_us; /* the proposer's wall clock then, as all times in the map */
};

/* The rules of a policy that others have taken the place of. */
struct policy_version {
	struct policy rules; /* their epoch: in force from there */
	uint64_t since_us;   /* the proposer's wall clock then, as all times in the map; 0: not known */
	uint64_t until_epoch, until_us;
};

struct cluster_map {
	uint64_t epoch; /* +1 with each change; 0: no cluster yet */
	uint8_t cluster[16];
	char name[CLUSTER_NAME_MAX];
	uint8_t hash_secret[16];
	uint8_t admin_spki_sha256[32];
	uint64_t id_next; /* nodes, replicas, policies, shards, operations: one counter, never reused */
	uint32_t region_count, node_count, policy_count, binding_count, shard_count, operation_count, version_count,
		former_count;
	uint32_t region_max, node_max, policy_max, binding_max, shard_max, operation_max, version_max, former_max;
	struct map_region *regions;
	struct map_node *nodes;
	struct policy *policies;
	struct map_binding *bindings;	  /* sorted by map_binding_compare, no two equal */
	struct map_shard *shards;	  /* sorted by (policy, hash_first), empty ones by id */
	struct map_operation *operations; /* newest last; the oldest ended ones make room */
	struct policy_version *versions;  /* newest last; the oldest make room */
	struct map_former *formers;	  /* newest last; the oldest make room */
};

struct map_limits {
	uint32_t regions, nodes, policies, bindings, shards, operations, versions, formers;
};
extern const struct map_limits map_limits_default;
size_t cluster_map_size(const struct map_limits *limits);
struct cluster_map *cluster_map_init(void *memory, const struct map_limits *limits); /* memory zeroed by the caller */
/* All of it; false: the other one's limits are too small, and it is empty. */
bool cluster_map_copy(const struct cluster_map *map, struct cluster_map *to) MUST;
void cluster_map_encode(const struct cluster_map *map, struct packer *packer);
/* Into an initialised map; on failure the map is empty (epoch 0). Of former rules as many as there is room for are
 * kept, the newest; whatever else does not fit is TOO_LARGE. */
enum status cluster_map_decode(struct bytes bytes, struct cluster_map *map) MUST;

const struct map_region *map_region_find(const struct cluster_map *map, const char *name_or_place);
const struct map_region *map_region_of(const struct cluster_map *map, const struct place *place); /* that contains it */
const struct map_node *map_node_find(const struct cluster_map *map, uint64_t id);
/* May a new replica come to it; may it lead. By its own state and its region's; what a policy says comes on top. */
bool map_node_takes_replicas(const struct cluster_map *map, const struct map_node *node);
bool map_node_takes_leads(const struct cluster_map *map, const struct map_node *node);
bool map_node_fenced(const struct cluster_map *map, uint64_t node); /* of a fenced region */
/* The first shard that has a replica there, or is to have one; NULL: none. */
const struct map_shard *map_shard_on(const struct cluster_map *map, uint64_t node);
const struct map_node *map_node_by_place(const struct cluster_map *map, const char *place_or_last_components);
const struct policy *map_policy_find(const struct cluster_map *map, uint64_t id);
const struct policy *map_policy_by_name(const struct cluster_map *map, const char *name);
/* The rules that the policy had at that epoch, and when they came; NULL: none then, or forgotten. *since_us, *until_us
 * 0: not known, still in force. */
const struct policy *map_policy_as_of(
	const struct cluster_map *map, uint64_t policy, uint64_t epoch, uint64_t *since_us, uint64_t *until_us);
const struct map_shard *map_shard_find(const struct cluster_map *map, uint64_t id);
/* The one of these replicas that is on this node; NULL: none. */
const struct map_replica *map_replica_on(const struct map_replica replicas[], unsigned count, uint64_t node);
/* The order of bindings[]: exact ones first, by hash; then prefixes, the longest first, equally long ones by bytes. */
int map_binding_compare(const struct map_binding *a, const struct map_binding *b);
/* Longest match among the bindings in force: an exact one, else the longest prefix. NULL: no binding covers the key,
 * which is refused. What is in force says map_binding_in_force. */
const struct map_binding *map_binding_of(const struct cluster_map *map, struct bytes key);
/* The closest binding of the key, if an operation decides on it: writes of the key are refused meanwhile. Or NULL. */
const struct map_binding *map_binding_pending_of(const struct cluster_map *map, struct bytes key);
/* Of just this prefix, or just this key's keyed hash; pending or not. */
const struct map_binding *map_binding_by_prefix(const struct cluster_map *map, struct bytes prefix);
const struct map_binding *map_binding_by_hash(const struct cluster_map *map, struct hash128 hash);
const struct map_shard *map_shard_of(const struct cluster_map *map, uint64_t policy, struct bytes key);
/* Site of a node, or of a certificate's place: tags come from its region. False: no such region. */
bool map_site(const struct cluster_map *map, const struct place *place, struct site *site);
const struct map_operation *map_operation_find(const struct cluster_map *map, uint64_t id);
/* Keys live by this binding now. A pending one is in force when it is the old one, to be bound anew or unbound when its
 * operation (of the same policy) ends; it is not when it is still to come. */
bool map_binding_in_force(const struct cluster_map *map, const struct map_binding *binding);
/* What a running OPERATION_BINDING wants fenced in the shards of `policy`: the prefix (borrowed from the map) or the
 * exact hash. False: nothing of that policy, or it has all its fences. */
bool map_operation_fence(const struct map_operation *operation, uint64_t policy, bool *exact, uint64_t exact_hash[2],
	struct bytes *prefix);
/* What a fence of that operation, in the shards of `policy`, covers is bound to another policy by now, or to none: who
 * still comes there has an old map, or meets a node that has one. So the fence stays. Not so where it may keep out keys
 * that live there: those that a closer binding has left there; and an exact key that has no binding of its own any
 * more, in a policy that some prefix is bound to, which may be the key's. */
bool map_fence_moved(const struct cluster_map *map, uint64_t operation, uint64_t policy, bool exact,
	const uint64_t exact_hash[2], struct bytes prefix);
/* Fences of this operation are wanted: it is not over, and not given up. */
bool map_operation_fences(const struct map_operation *operation);
/* The key is one that an operation which moves keys is about: it lies behind its fences. */
bool map_operation_has(const struct cluster_map *map, const struct map_operation *operation, struct bytes key);
/* The shard has its step of the operation's phase yet to do. */
bool map_operation_awaits(const struct map_operation *operation, uint64_t shard);
/* A running OPERATION_SPLIT or MERGE wants its hashes fenced in this shard. */
bool map_operation_fences_range(const struct map_operation *operation, uint64_t shard);
/* Of a fenced range no hash is the shard's (NULL: it is gone) any more: the fence stays, for who has an old map. */
bool map_range_moved(const struct map_shard *shard, uint64_t hash_first, uint64_t hash_last);
/* Whether a running OPERATION_BINDING moves this key of `policy`, while the binding is not yet switched, and where to.
 */
enum map_move {
	MOVE_STAYS = 1, /* another binding covers it more closely, or the new one is of the same policy */
	MOVE_GOES,	/* to *target */
	MOVE_NOWHERE,	/* nothing would cover it */
};
enum map_move map_operation_moves(const struct cluster_map *map, const struct map_operation *operation, uint64_t policy,
	struct bytes key, uint64_t *target);
/* Of any that moves keys, asked in a shard that they may leave: MOVE_GOES to *to; NULL: no shard there has the hash. */
enum map_move map_operation_moves_from(const struct cluster_map *map, const struct map_operation *operation,
	const struct map_shard *from, struct bytes key, const struct map_shard **to);
/* By the map, the key lives in this shard. */
bool map_lives_in(const struct cluster_map *map, const struct map_shard *shard, struct bytes key);
/* The key could be bound by both: one prefix begins with the other. An exact key may have any prefix. */
bool map_operation_overlaps(
	const struct map_operation *operation, bool exact, struct hash128 hash, struct bytes prefix);
/* ... and of the two `inner` is the closer one. */
bool map_operation_inside(const struct map_operation *inner, const struct map_operation *outer);
/* In this shard a key with the prefix (any, if empty) may be on its way, or have a row though it lives in another; also
 * when that is over, for states that may be old. */
bool map_moves_under(const struct cluster_map *map, const struct map_shard *shard, struct bytes prefix);
/* Equal as long as no operation has moved keys meanwhile. */
uint64_t map_switches(const struct cluster_map *map);
/* Policies whose bindings in force can hold a key with this prefix: the binding of the prefix itself, all below it, and
 * every exact one (whose key is not known). In order of id; the count, or max + 1 when there are more than max. */
unsigned map_policies_under(const struct cluster_map *map, struct bytes prefix, uint64_t *policies, unsigned max);

#endif
