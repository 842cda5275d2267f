/* tools/cmd_binding.c: domctl binding. An exact binding's key never leaves this process: the map holds its keyed hash.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/placement.h"
#include "tools/errors.h"
#include "tools/form.h"
#include "tools/output.h"
#include "tools/session.h"

static const struct column binding_columns[] = { { .title = "BINDING", .field = "text" },
	{ .title = "KIND", .field = "match" }, { .title = "POLICY", .field = "policy" },
	{ .title = "STATE", .field = "state" }, { .title = "OPERATION", .field = "operation", .wide = true }, { 0 } };

static json_t *binding_item(const struct session *session, const struct map_binding *binding, enum form form)
{
	json_t *item = json_object();
	char hash[48];

	if (binding->exact) {
		snprintf(hash, sizeof(hash), "%016llx%016llx", (unsigned long long)binding->hash.high,
			(unsigned long long)binding->hash.low);
		set(item, "hash", json_string(hash));
		set(item, "text", json_string(hash));
	} else {
		struct bytes prefix = bytes_of(binding->prefix, binding->prefix_size);
		char *text = form_encode(form, prefix);

		set_bytes(item, "prefix", form, prefix);
		set(item, "text", json_string(text));
		free(text);
	}
	set(item, "match", json_string(binding->exact ? "key" : "prefix"));
	set(item, "policy", json_string(policy_name_of(session->map, binding->policy)));
	set(item, "state",
		json_string(binding->pending_operation == 0		  ? "in force"
			    : map_binding_in_force(session->map, binding) ? "in force, to go"
									  : "to come"));
	set(item, "operation", binding->pending_operation == 0 ? json_null() : json_id(binding->pending_operation));
	return item;
}

int run_binding_list(const struct invocation *invocation)
{
	const char *name = flag_text(invocation, "policy");
	const struct policy *policy = NULL;
	struct session session;
	json_t *items;
	int code = session_open_with_map(&session, invocation, AS_READER);

	if (code == EXIT_OK && name != NULL && (policy = session_policy(&session, name)) == NULL)
		code = EXIT_NOT_FOUND;
	if (code == EXIT_OK) {
		items = json_array();
		for (uint32_t i = 0; i < session.map->binding_count; i++) {
			const struct map_binding *binding = &session.map->bindings[i];

			if (policy == NULL || binding->policy == policy->id)
				json_array_append_new(
					items, binding_item(&session, binding, form_of(invocation, "key-format")));
		}
		code = output_items(
			invocation, "BindingList", session_cluster(&session), items, binding_columns, "text");
	}
	session_close(&session);
	return code;
}

int run_binding_which(const struct invocation *invocation)
{
	const struct map_binding *binding;
	struct owned_bytes key;
	struct session session;
	json_t *items;
	int code = argument_key(invocation, invocation->arguments[0], &key);

	if (code != EXIT_OK)
		return code;
	code = session_open_with_map(&session, invocation, AS_READER);
	if (code == EXIT_OK && (binding = map_binding_of(session.map, owned(&key))) == NULL)
		code = fail(invocation, "DOM-R001", "the key has no place",
			"bind its prefix: `domctl binding set PREFIX POLICY`", "no binding covers it");
	if (code == EXIT_OK) {
		items = json_array();
		json_array_append_new(items, binding_item(&session, binding, form_of(invocation, "key-format")));
		code = output_items(
			invocation, "BindingList", session_cluster(&session), items, binding_columns, "text");
	}
	free(key.data);
	session_close(&session);
	return code;
}

static int name_binding(
	const struct session *session, const struct owned_bytes *bytes, bool exact, struct change_binding *binding)
{
	memset(binding, 0, sizeof(*binding));
	binding->exact = exact;
	if (exact) {
		binding->hash = hash_keyed(owned(bytes), session->map->hash_secret);
		return EXIT_OK;
	}
	if (bytes->size > BINDING_PREFIX_MAX)
		return fail(session->invocation, "DOM-K002", "the prefix is too long", NULL,
			"a prefix has at most %u bytes", (unsigned)BINDING_PREFIX_MAX);
	binding->prefix_size = (uint16_t)bytes->size;
	memcpy(binding->prefix, bytes->data, bytes->size);
	return EXIT_OK;
}

/* What is around an exact key meta does not know: the map has its hash. */
static int judge_around(const struct session *session, struct bytes key, const char *policy)
{
	const struct policy *inner = map_policy_by_name(session->map, policy);
	struct flaw flaw;

	for (size_t size = key.size + 1; size-- > 0;) {
		const struct map_binding *around = map_binding_by_prefix(session->map, bytes_of(key.data, size));
		const struct policy *outer;

		if (around == NULL || !map_binding_in_force(session->map, around))
			continue;
		outer = map_policy_find(session->map, around->policy);
		if (inner == outer || placement_tightens(session->map, inner, outer, &flaw))
			return EXIT_OK;
		return fail(session->invocation, "DOM-R006", "the binding would loosen what is around the key",
			flaw.cure, "%s", flaw.reason);
	}
	return EXIT_OK;
}

static int change_one(const struct invocation *invocation, uint8_t kind, bool exact, const char *policy,
	const char *what, const char *failure)
{
	static struct change change;
	struct change_binding binding;
	struct change_answer answer;
	struct owned_bytes bytes;
	struct session session;
	int code = argument_bytes(invocation, invocation->arguments[0], "key-format", &bytes);

	if (code != EXIT_OK)
		return code;
	code = session_open_with_map(&session, invocation, AS_ADMIN);
	if (code == EXIT_OK)
		code = name_binding(&session, &bytes, exact, &binding);
	if (code == EXIT_OK && policy != NULL) {
		/* Meta knows it by name; a name that this map lacks is answered here, with the nearest one. */
		if (session_policy(&session, policy) == NULL)
			code = EXIT_NOT_FOUND;
		else
			snprintf(binding.policy, sizeof(binding.policy), "%s", policy);
	}
	if (code == EXIT_OK && policy != NULL && exact)
		code = judge_around(&session, owned(&bytes), policy);
	if (code == EXIT_OK) {
		change.kind = kind;
		change.bindings = &binding;
		change.binding_count = 1;
		code = session_change(&session, &change, failure, &answer);
		if (code == EXIT_OK)
			code = session_report_change(&session, what, &answer);
	}
	free(bytes.data);
	session_close(&session);
	return code;
}

int run_binding_set(const struct invocation *invocation)
{
	return change_one(invocation, CHANGE_BINDING_SET, flag_given(invocation, "exact"), invocation->arguments[1],
		"binding set", "the binding is not set");
}

int run_binding_unset(const struct invocation *invocation)
{
	return change_one(invocation, CHANGE_BINDING_UNSET, flag_given(invocation, "exact"), NULL, "binding unset",
		"the binding is not removed");
}

int run_key_rebind(const struct invocation *invocation)
{
	return change_one(invocation, CHANGE_BINDING_SET, true, invocation->arguments[1], "key rebound",
		"the key stays where it is");
}
