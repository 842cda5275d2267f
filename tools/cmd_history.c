/* tools/cmd_history.c: domctl policy diff, history, rollback, explain: rules beside other rules, and rules of before.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "base/units.h"
#include "tools/errors.h"
#include "tools/fields.h"
#include "tools/output.h"
#include "tools/policies.h"

/* --- explain ---------------------------------------------------------------------------------------- */

static json_t *field_item(const struct policy_field_entry *field)
{
	json_t *item = json_object();

	set(item, "field", json_string(field->name));
	set(item, "values", json_string(field->values));
	set(item, "default", json_string(field->standard));
	set(item, "meaning", json_string(field->meaning));
	set(item, "example", json_string(field->example));
	return item;
}

int run_policy_explain(const struct invocation *invocation)
{
	const char *wanted = invocation->argument_count == 0 ? NULL : invocation->arguments[0];
	const char *names[32], *nearest = NULL;
	json_t *items = json_array();

	for (size_t i = 0; i < policy_field_count; i++) {
		names[i] = policy_fields[i].name;
		if (wanted == NULL || strcmp(wanted, names[i]) == 0)
			json_array_append_new(items, field_item(&policy_fields[i]));
	}
	if (json_array_size(items) == 0) {
		char cure[128];

		json_decref(items);
		nearest = text_nearest(wanted, names, policy_field_count);
		snprintf(cure, sizeof(cure), nearest == NULL ? "`domctl policy explain` lists them%s" : "is it %s?",
			nearest == NULL ? "" : nearest);
		return fail(invocation, "DOM-U003", "a policy has no such field", cure, "%s", wanted);
	}
	if (!output_machine(invocation, "FieldList", NULL, items, "field")) {
		for (size_t i = 0; i < json_array_size(items); i++) {
			const json_t *item = json_array_get(items, i);

			printf("%s%s%s\n    %s\n    values   %s\n    default  %s\n    example  %s\n",
				paint(stdout, PAINT_HEAD), field_text(item, "field"), paint(stdout, PAINT_OFF),
				field_text(item, "meaning"), field_text(item, "values"), field_text(item, "default"),
				field_text(item, "example"));
		}
	}
	json_decref(items);
	return EXIT_OK;
}

/* --- diff ------------------------------------------------------------------------------------------- */

/* One side: a file, or the policies of a cluster of which one is meant. */
struct side {
	struct policy_file file; /* policies NULL: not a file */
	const struct policy *policies;
	uint32_t count;
};

static bool is_file(const char *name)
{
	return strcmp(name, "-") == 0 || strchr(name, '/') != NULL || strchr(name, '.') != NULL ||
	       access(name, F_OK) == 0;
}

static int side_open(const struct invocation *invocation, struct session *session, const char *name, struct side *side)
{
	const struct policy *policy;
	int code = EXIT_OK;

	if (is_file(name)) {
		code = policies_load(invocation, name, &side->file);
		side->policies = side->file.policies;
		side->count = side->file.policy_count;
		return code;
	}
	if (session->client == NULL)
		code = session_open_with_map(session, invocation, AS_READER);
	if (code != EXIT_OK)
		return code;
	policy = session_policy(session, name);
	side->policies = policy;
	side->count = policy == NULL ? 0 : 1;
	return policy == NULL ? EXIT_NOT_FOUND : EXIT_OK;
}

static const struct policy *named(const struct side *side, const char *name)
{
	for (uint32_t i = 0; i < side->count; i++) {
		if (strcmp(side->policies[i].name, name) == 0)
			return &side->policies[i];
	}
	return NULL;
}

static json_t *diff_item(const struct policy *before, const struct policy *after)
{
	json_t *item = json_object(), *differences = policy_differences(before, after);
	const char *action = before == NULL			? "add"
			     : after == NULL			? "remove"
			     : json_array_size(differences) > 0 ? "change"
								: "keep";

	set(item, "policy", json_string(before != NULL ? before->name : after->name));
	set(item, "action", json_string(action));
	set(item, "rules_before", policy_summary(before));
	set(item, "rules_after", policy_summary(after));
	set(item, "differences", differences);
	return item;
}

/* Two policies of one name each are compared whatever they are called; else those of one name. */
static bool compare(const struct side *a, const struct side *b, json_t *items)
{
	bool differ = false;

	if (a->count == 1 && b->count == 1) {
		json_array_append_new(items, diff_item(&a->policies[0], &b->policies[0]));
		return strcmp(field_text(json_array_get(items, 0), "action"), "keep") != 0;
	}
	for (uint32_t i = 0; i < a->count; i++) {
		/* A policy of the cluster beside a file of many: only that one is meant. */
		const struct policy *other = named(b, a->policies[i].name);

		if (other == NULL && b->file.policies == NULL)
			continue;
		json_array_append_new(items, diff_item(&a->policies[i], other));
	}
	for (uint32_t i = 0; i < b->count; i++) {
		bool alone = named(a, b->policies[i].name) == NULL;

		if (alone && (a->file.policies != NULL || b->file.policies == NULL))
			json_array_append_new(items, diff_item(NULL, &b->policies[i]));
	}
	for (size_t i = 0; i < json_array_size(items); i++)
		differ |= strcmp(field_text(json_array_get(items, i), "action"), "keep") != 0;
	return differ;
}

static void print_diff(const json_t *item)
{
	const char *action = field_text(item, "action"), *name = field_text(item, "policy");

	if (strcmp(action, "keep") == 0)
		printf("= %s: the same\n", name);
	else if (strcmp(action, "change") == 0)
		printf("~ %s\n", name);
	else
		printf("%s %s\n    %s\n", strcmp(action, "add") == 0 ? "+" : "-", name,
			field_text(item, strcmp(action, "add") == 0 ? "rules_after" : "rules_before"));
	if (strcmp(action, "change") == 0)
		print_differences(json_object_get(item, "differences"));
}

int run_policy_diff(const struct invocation *invocation)
{
	struct session session = { 0 };
	struct side a = { 0 }, b = { 0 };
	json_t *items = json_array();
	bool differ = false;
	int code = side_open(invocation, &session, invocation->arguments[0], &a);

	if (code == EXIT_OK)
		code = side_open(invocation, &session, invocation->arguments[1], &b);
	if (code == EXIT_OK) {
		differ = compare(&a, &b, items);
		if (!output_machine(invocation, "PolicyDiff", session.map == NULL ? NULL : session_cluster(&session),
			    items, "policy")) {
			for (size_t i = 0; i < json_array_size(items); i++)
				print_diff(json_array_get(items, i));
		}
		code = differ ? EXIT_CHECK : EXIT_OK;
	}
	json_decref(items);
	policy_file_free(&a.file);
	policy_file_free(&b.file);
	session_close(&session);
	return code;
}

/* --- history ---------------------------------------------------------------------------------------- */

/* before: the version that this one took the place of; NULL: the first, or forgotten. */
static json_t *version_item(const struct policy *rules, const struct policy *before, uint64_t until, uint64_t since_us)
{
	json_t *item = json_object();

	set(item, "name", json_string(rules->name));
	set(item, "epoch", json_integer((json_int_t)rules->epoch));
	set(item, "until", until == 0 ? json_null() : json_integer((json_int_t)until));
	set(item, "at", json_time_us(since_us));
	set(item, "summary", policy_summary(rules));
	set(item, "differences", before == NULL ? json_array() : policy_differences(before, rules));
	return item;
}

static json_t *history_items(const struct cluster_map *map, const struct policy *policy)
{
	const struct policy *before = NULL;
	json_t *items = json_array();

	for (uint32_t i = 0; i < map->version_count; i++) {
		const struct policy_version *version = &map->versions[i];

		if (version->rules.id != policy->id)
			continue;
		json_array_append_new(
			items, version_item(&version->rules, before, version->until_epoch, version->since_us));
		before = &version->rules;
	}
	json_array_append_new(items, version_item(policy, before, 0, policy->changed_us));
	return items;
}

static void print_history(const json_t *items)
{
	for (size_t i = 0; i < json_array_size(items); i++) {
		const json_t *item = json_array_get(items, i);
		bool current = json_is_null(json_object_get(item, "until"));

		printf("epoch %-6llu %s%s\n", (unsigned long long)field_u64(item, "epoch"), field_text(item, "at"),
			current ? "   in force" : "");
		if (json_array_size(json_object_get(item, "differences")) == 0)
			printf("    %s\n", field_text(item, "summary"));
		print_differences(json_object_get(item, "differences"));
	}
}

int run_policy_history(const struct invocation *invocation)
{
	const struct policy *policy = NULL;
	struct session session;
	json_t *items;
	int code = session_open_with_map(&session, invocation, AS_READER);

	if (code == EXIT_OK && (policy = session_policy(&session, invocation->arguments[0])) == NULL)
		code = EXIT_NOT_FOUND;
	if (code == EXIT_OK) {
		items = history_items(session.map, policy);
		if (!output_machine(invocation, "PolicyHistory", session_cluster(&session), items, "epoch"))
			print_history(items);
		json_decref(items);
	}
	session_close(&session);
	return code;
}

int policies_as_of(const struct session *session, const char *name, const char *epoch_text, struct policy *rules)
{
	const struct invocation *invocation = session->invocation;
	const struct policy *policy = session_policy(session, name), *then;
	uint64_t epoch, since_us, until_us;
	char cure[160];

	if (policy == NULL)
		return EXIT_NOT_FOUND;
	if (!parse_u64(epoch_text, &epoch))
		return fail(invocation, "DOM-U003", "an epoch is a number", "`domctl policy history NAME` lists them",
			"it is '%s'", epoch_text);
	then = map_policy_as_of(session->map, policy->id, epoch, &since_us, &until_us);
	if (then == NULL) {
		snprintf(cure, sizeof(cure), "`domctl policy history %.64s` lists those that are kept", name);
		return fail(invocation, "DOM-M001", "no rules of that policy are known of that epoch", cure,
			"the last %u versions of a policy are kept, and %u of all together", POLICY_VERSIONS_MAX,
			MAP_VERSIONS_MAX);
	}
	*rules = *then;
	rules->changed_us = since_us;
	return EXIT_OK;
}

int run_policy_rollback(const struct invocation *invocation)
{
	const char *to = flag_text(invocation, "to");
	static struct policy rules;
	struct policy_file file = { .policies = &rules, .policy_count = 1 };
	struct change_answer answer;
	struct session session;
	int code;

	if (to == NULL)
		return fail(invocation, "DOM-U003", "back to which rules?",
			"give --to EPOCH; `domctl policy history NAME` lists them", NULL);
	code = session_open_with_map(&session, invocation, AS_ADMIN);
	if (code == EXIT_OK)
		code = policies_as_of(&session, invocation->arguments[0], to, &rules);
	if (code == EXIT_OK) {
		rules.id = rules.epoch = rules.changed_us = 0; /* as a file says them: meta gives the rest */
		code = policies_apply(&session, &file, &answer);
	}
	if (code == EXIT_OK)
		code = session_report_change(&session, "policy rollback", &answer);
	session_close(&session);
	return code;
}
