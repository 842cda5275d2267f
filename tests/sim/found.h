/* tests/sim/found.h: the cluster from nothing, through the same messages that an operator's tools send; and later
 * changes. */
#ifndef DOMICILE_TESTS_SIM_FOUND_H
#define DOMICILE_TESTS_SIM_FOUND_H

#include "policy/change.h"
#include "tests/sim/world.h"

enum { ADMIN_CLIENT = 1000, JOIN_CLIENT = 2000 };

/* init, regions, joins, the two policies and their bindings. False: it did not come up; the world has failed. */
bool found_cluster(struct world *world);
void found_region(struct map_region *region, unsigned number); /* to be registered */
/* Submits a change wherever meta leads, trying for up to `for_ns` of virtual time. The last answer's status. */
enum status found_change(struct world *world, struct change *change, uint64_t for_ns);
const char *found_detail(void); /* why the last one was refused */
/* Submits it and does not wait: the answer, if any, is dropped. For changes in the midst of faults. */
void found_change_async(struct world *world, const struct change *change);
void found_policy_world(struct policy *policy, bool eu_only, unsigned copies, unsigned ack, bool local_reads);
/* Made into one of two copies in the EU, and a witness that may stand outside. */
void found_policy_witnessed(struct policy *policy, const char *witness_in);
void found_policy_other(struct policy *policy, bool local_reads); /* where keys of `world` may be bound to instead */
void found_replied(struct world *world, unsigned client, const struct message *reply); /* for ADMIN_CLIENT and above */
/* Nodes that were never admitted ask again. */
void found_joins(struct world *world);
/* Who has an id and no map asks anybody for it. */
void found_maps(struct world *world);

#endif
