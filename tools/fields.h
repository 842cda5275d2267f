/* tools/fields.h: the fields of a policy by name: what each means, and its value as a policy file writes it. For
 * `policy explain`, and for what differs between two policies. */
#ifndef DOMICILE_TOOLS_FIELDS_H
#define DOMICILE_TOOLS_FIELDS_H

#include <jansson.h>

#include "policy/rules.h"

enum { FIELD_TEXT_MAX = 2048 };
struct policy_field_entry {
	const char *name, *values, *standard, *meaning, *example;
	void (*write)(const struct policy *policy, struct text *text);
};
extern const struct policy_field_entry policy_fields[];
extern const size_t policy_field_count;

const struct policy_field_entry *policy_field_find(const char *name); /* NULL: none */
/* The whole policy in one line for people; null without one. */
json_t *policy_summary(const struct policy *policy);
/* An array of {field, before, after}: the fields in which they differ. NULL: there is no such policy, and all of the
 * other one's fields are told, with null beside them. */
json_t *policy_differences(const struct policy *before, const struct policy *after);
void print_differences(const json_t *differences); /* on stdout, a line each */

#endif
