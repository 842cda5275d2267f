/* tools/plan.h: what a file of policies would do, from two maps: the one in force, and the one that meta's own code
 * made of it (client_plan). Where copies go is meta's answer; bytes are what nodes report of their copies; times are
 * those of policy/paths.h, the same as `key explain` prints. */
#ifndef DOMICILE_TOOLS_PLAN_H
#define DOMICILE_TOOLS_PLAN_H

#include "tools/policies.h"

struct plan {
	uint64_t id;
	struct cluster_map *after; /* NULL: refused */
	void *memory;
	const char *code;   /* refused: of the error */
	char refusal[2048]; /* why, and what to do; the file's line in front where it is known */
};
/* Asks meta's leader, until the answer was made from the map that the session holds. EXIT_OK, also when the change is
 * refused; what prevents asking is printed. */
int plan_ask(struct session *session, struct change *change, struct plan *plan);
void plan_free(struct plan *plan);

/* The item of a PolicyPlan. */
json_t *plan_item(
	const struct session *session, const struct change *change, const struct plan *plan, const char *file);
void plan_print(const json_t *item);

#endif
