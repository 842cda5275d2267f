/* tools/policies.h: policies as files and as items, for the policy verbs and the demo. */
#ifndef DOMICILE_TOOLS_POLICIES_H
#define DOMICILE_TOOLS_POLICIES_H

#include "config/policy_file.h"
#include "tools/session.h"

/* Prints what is wrong with the file; the exit code. */
int policies_load(const struct invocation *invocation, const char *path, struct policy_file *file);
int policies_apply(struct session *session, const struct policy_file *file, struct change_answer *answer);
/* The rules that it had at that epoch. Prints what is wrong; the exit code. */
int policies_as_of(const struct session *session, const char *name, const char *epoch_text, struct policy *rules);
/* Ids of the operations under way; the count. */
int policies_running(const struct session *session, uint64_t ids[MAP_OPERATIONS_MAX]);
json_t *policy_item(const struct session *session, const struct policy *policy);

#endif
