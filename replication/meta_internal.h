/* replication/meta_internal.h: what the files of meta share: meta.c (dispatch, regions, nodes), meta_shards.c
 * (operations, shards, reports), meta_drain.c (nodes and regions that are drained, meta's voters), meta_region.c
 * (regions that go), meta_rules.c (policies and bindings), meta_rebind.c (keys that move), meta_split.c (shards that
 * split and merge), meta_rebalance.c, meta_cancel.c, meta_check.c (invariants and digest). Folder-internal. */
#ifndef DOMICILE_REPLICATION_META_INTERNAL_H
#define DOMICILE_REPLICATION_META_INTERNAL_H

#include "policy/placement.h"
#include "replication/meta.h"

enum { OPERATION_SHARDS_MAX = sizeof(((struct map_operation *)0)->shards_done) / sizeof(uint64_t) };

struct number {
	char text[24];
};
struct number meta_number(uint64_t number);

void meta_join(char *out, size_t capacity, const char *const parts[]); /* cut where it does not fit */

/* Refuse: fill the result and return false, for `return`. */
#define TEXTS(...) ((const char *const[]){ __VA_ARGS__, NULL })
bool meta_refuse(struct meta_result *result, enum status status, uint32_t line, const char *const reason[],
	const char *const cure[]);
bool meta_refuse_flaw(struct meta_result *result, enum status status, uint32_t line); /* result->flaw is set */
bool meta_refuse_node(struct meta_result *result, uint64_t node);
/* A conflict with an operation that runs: to be waited for, or cancelled. */
bool meta_refuse_running(struct meta_result *result, uint64_t operation, uint32_t line, const char *const reason[]);

struct map_node *meta_node(struct cluster_map *map, uint64_t id);	    /* NULL: none */
struct map_operation *meta_operation(struct cluster_map *map, uint64_t id); /* NULL: none */

/* Operations. There must be room (meta_operations_free), made by forgetting the oldest ended one; the pointer is good
 * until the next one begins. */
uint32_t meta_operations_free(const struct cluster_map *map);
struct map_operation *meta_operation_begin(
	struct cluster_map *map, enum operation_kind kind, uint64_t policy, uint64_t binding_policy, uint64_t now_us);
void meta_operation_add_shard(struct map_operation *operation, uint64_t shard); /* counts it; lists it where it must */
enum operation_step { STEP_UNKNOWN, STEP_REPEATED, STEP_TAKEN };
/* Marks the shard as done; ends the operation when it was the last. */
enum operation_step meta_operation_step(struct map_operation *operation, uint64_t shard, uint64_t now_us);
/* The same of one that moves replicas, which this shard needs no more; cancelled, it has failed when it ends. */
void meta_operation_moved(struct map_operation *operation, uint64_t shard, uint64_t now_us);

/* Shards. The wanted replicas become these nodes; those that are there keep their replica ids. True: they differ. One
 * that moves already goes on to there, if there is room to remember who was wanted meanwhile (meta_shard_turns). */
bool meta_shard_want(struct cluster_map *map, struct map_shard *shard, const struct placement *placement);
bool meta_shard_turns(const struct map_shard *shard);
/* The first of the policy's shards, *count of them; they stand together. */
struct map_shard *meta_shards_of(const struct cluster_map *map, uint64_t policy, uint32_t *count);

/* Bindings. Where one equal to `wanted` is, or belongs. */
uint32_t meta_binding_position(const struct cluster_map *map, const struct map_binding *wanted, bool *found);
void meta_binding_remove(struct cluster_map *map, uint32_t at);
/* The next shorter prefix around `prefix`; NULL: none. */
struct map_binding *meta_binding_around(const struct cluster_map *map, struct bytes prefix);
void meta_binding_describe(struct text *text, const struct map_binding *binding);

/* meta_shards.c. *changed: false for what is known already. */
bool meta_apply_shard_place(struct cluster_map *map, const struct change *change, struct meta_result *result);
bool meta_apply_shard_lead(struct cluster_map *map, const struct change *change, struct meta_result *result);
bool meta_apply_shard_report(
	struct cluster_map *map, const struct change *change, struct meta_result *result, bool *changed);

/* meta_rebind.c */
bool meta_apply_fence_report(
	struct cluster_map *map, const struct change *change, struct meta_result *result, bool *changed);
bool meta_apply_move_report(
	struct cluster_map *map, const struct change *change, struct meta_result *result, bool *changed);
/* An operation that has begun: it asks the shards of these policies for fences. */
void meta_rebind_begin(struct cluster_map *map, struct map_operation *operation, const struct map_binding *binding,
	const uint64_t sources[], unsigned count);
void meta_range_begin(struct cluster_map *map, struct map_operation *operation); /* a split or a merge */
/* The operation that moves keys which the binding could cover, or removes what it left; NULL. */
const struct map_operation *meta_rebind_under_way(const struct cluster_map *map, const struct map_binding *binding);
/* Before the switch: all is as before, and what was copied is removed. False: it can only go forward. */
bool meta_rebind_cancel(struct cluster_map *map, struct map_operation *operation, uint64_t now_us);

/* meta_cancel.c */
bool meta_apply_cancel(struct cluster_map *map, const struct change *change, struct meta_result *result, bool *changed);

/* meta_split.c */
bool meta_apply_shard_split(struct cluster_map *map, const struct change *change, struct meta_result *result);
bool meta_apply_shard_merge(struct cluster_map *map, const struct change *change, struct meta_result *result);
/* A shard of this policy (0: of any) is being split or merged; NULL. */
const struct map_operation *meta_range_under_way(const struct cluster_map *map, uint64_t policy);
void meta_range_say(struct map_operation *operation);			 /* what its phase is about, into its text */
void meta_range_stays(struct map_operation *operation, const char *why); /* ... that it came to nothing */
/* From the next epoch on its hashes are where they were to go. */
void meta_range_switch(struct cluster_map *map, const struct map_operation *operation, uint64_t now_us);
/* Of a split that has ended in vain. */
void meta_range_drop_child(struct cluster_map *map, const struct map_operation *operation);

/* meta_rebalance.c */
bool meta_apply_rebalance(
	struct cluster_map *map, const struct change *change, struct meta_result *result, bool *changed);

/* meta_drain.c */
bool meta_apply_node_state(
	struct cluster_map *map, const struct change *change, struct meta_result *result, bool *changed);
bool meta_apply_region_state(
	struct cluster_map *map, const struct change *change, struct meta_result *result, bool *changed);
bool meta_apply_node_remove(
	struct cluster_map *map, const struct change *change, struct meta_result *result, bool *changed);
/* Takes decommissioned nodes that are no members of meta any more, as reported, out of the map. True: there were some.
 */
bool meta_forget_gone(struct cluster_map *map, const struct change *report);
/* Meta's voters after nodes came, went, or changed their state. */
void meta_voters_choose(struct cluster_map *map);

/* meta_region.c */
bool meta_apply_region_remove(struct cluster_map *map, const struct change *change, struct meta_result *result);

/* meta_rules.c. Whether the nodes that take replicas can carry the policy; where they carry a shard of one that they
 * can. */
bool meta_policy_placeable(const struct cluster_map *map, const struct policy *policy, struct meta_result *result);
struct placement meta_shard_placement(
	const struct cluster_map *map, const struct policy *policy, const struct map_shard *current);
/* What its first members are born with, whom `replicas` names. */
void meta_shard_birth(const struct cluster_map *map, const struct policy *policy, struct map_shard *shard);
bool meta_apply_rules(struct cluster_map *map, const struct change *change, struct meta_result *result);
/* The operation's binding is no longer pending: it is what was to come, or (failed) what it was. */
void meta_binding_settle(struct cluster_map *map, const struct map_operation *operation, bool failed);

#endif
