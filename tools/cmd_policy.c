/* tools/cmd_policy.c: domctl policy: files offline, and what is in force. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "config/policy_file.h"
#include "tools/errors.h"
#include "tools/form.h"
#include "tools/judge.h"
#include "tools/output.h"
#include "tools/plan.h"
#include "tools/policies.h"
#include "tools/session.h"

/* --- files ------------------------------------------------------------------------------------------ */

/* True: one of them at least keeps the file from being applied. */
static bool add_flaws(json_t *items, const struct config_errors *errors)
{
	bool wrong = false;

	for (uint32_t i = 0; i < errors->count; i++) {
		const struct config_error *error = &errors->at[i];
		char text[CONFIG_ERROR_TEXT_MAX];
		json_t *item = json_object();

		set(item, "file", json_string(error->source));
		set(item, "line", json_integer(error->line));
		set(item, "column", json_integer(error->column));
		set(item, "severity", json_string(error->warning ? "warning" : "error"));
		set(item, "reason", json_string(error->reason));
		set(item, "cure", json_string(error->cure));
		set(item, "text", json_string(config_error_format(error, text, sizeof(text))));
		json_array_append_new(items, item);
		wrong |= !error->warning;
	}
	return wrong;
}

int run_policy_lint(const struct invocation *invocation)
{
	static struct config_errors errors;
	json_t *items = json_array();
	bool wrong = false;

	for (uint32_t i = 0; i < invocation->argument_count; i++) {
		struct policy_file file;

		config_errors_init(&errors);
		if (policy_file_load(invocation->arguments[i], &file, &errors)) {
			(void)!policy_file_check_bindings(&file, invocation->arguments[i], NULL, NULL, &errors);
			policy_file_doubts(&file, invocation->arguments[i], &errors);
			policy_file_free(&file);
		}
		wrong |= add_flaws(items, &errors);
	}
	if (!output_machine(invocation, "FlawList", NULL, items, "text")) {
		for (size_t i = 0; i < json_array_size(items); i++)
			puts(field_text(json_array_get(items, i), "text"));
		if (!wrong)
			printf("%u file%s, nothing wrong\n", invocation->argument_count,
				invocation->argument_count == 1 ? "" : "s");
	}
	json_decref(items);
	if (wrong && invocation->output == OUTPUT_TABLE)
		return fail(invocation, "DOM-P001", "the policies cannot be applied like this", NULL, NULL);
	return wrong ? EXIT_INVALID : EXIT_OK;
}

int policies_load(const struct invocation *invocation, const char *path, struct policy_file *file)
{
	static struct config_errors errors;
	char text[CONFIG_ERROR_TEXT_MAX];

	config_errors_init(&errors);
	if (policy_file_load(path, file, &errors))
		return EXIT_OK;
	for (uint32_t i = 0; i < errors.count; i++)
		fprintf(stderr, "%s\n", config_error_format(&errors.at[i], text, sizeof(text)));
	return fail(invocation, "DOM-P001", "the policy file is wrong", "mend it at the places above", "%s", path);
}

/* Longest match in a file: the exact key, else the longest prefix. */
static const struct binding_text *file_binding_of(const struct policy_file *file, struct bytes key)
{
	const struct binding_text *best = NULL;

	for (uint32_t i = 0; i < file->binding_count; i++) {
		const struct binding_text *binding = &file->bindings[i];
		struct bytes bytes = bytes_of(binding->bytes, binding->size);

		if (binding->exact ? !bytes_equal(bytes, key) : !bytes_starts_with(key, bytes))
			continue;
		if (best == NULL || binding->exact || (!best->exact && binding->size > best->size))
			best = binding;
	}
	return best;
}

static void file_judge(const struct policy_file *file, struct bytes key, const struct site *site, bool write,
	struct judgement *judgement, const struct binding_text **binding)
{
	memset(judgement, 0, sizeof(*judgement));
	*binding = file_binding_of(file, key);
	for (uint32_t i = 0; *binding != NULL && i < file->policy_count; i++) {
		if (strcmp(file->policies[i].name, (*binding)->policy) == 0) {
			judge_policy(&file->policies[i], site, write, judgement);
			return;
		}
	}
	judgement->code = "DOM-R001";
	if (*binding == NULL)
		snprintf(judgement->reason, sizeof(judgement->reason), "no binding of the file covers this key");
	else
		snprintf(judgement->reason, sizeof(judgement->reason),
			"line %u binds it to policy %s, which the file does not have", (*binding)->line,
			(*binding)->policy);
	snprintf(judgement->cure, sizeof(judgement->cure), "add a binding; the prefix \"\" catches every key");
}

/* One key; false: refused. */
static bool test_key(const struct invocation *invocation, const struct policy_file *file, struct bytes key,
	const struct site *site, const char *op, json_t *items)
{
	const struct binding_text *binding;
	struct judgement judgement;
	json_t *item = json_object();

	file_judge(file, key, site, strcmp(op, "put") == 0, &judgement, &binding);
	set_bytes(item, "key", form_of(invocation, "key-format"), key);
	set(item, "op", json_string(op));
	set(item, "from", json_string(site->place.text));
	set(item, "allowed", json_boolean(judgement.code == NULL));
	set(item, "policy", judgement.policy == NULL ? json_null() : json_string(judgement.policy->name));
	set(item, "rule", json_string(judgement.rule));
	set(item, "code", judgement.code == NULL ? json_null() : json_string(judgement.code));
	set(item, "reason", json_string(judgement.reason));
	json_array_append_new(items, item);
	return judgement.code == NULL;
}

static void print_verdict(const json_t *item, bool alone)
{
	const char *op = field_text(item, "op"), *from = field_text(item, "from");
	const char *space = alone ? "" : " ", *key = alone ? "" : field_text(item, "key");

	if (json_is_true(json_object_get(item, "allowed")))
		printf("allowed  %s%s%s from %s: policy %s has %s\n", op, space, key, from, field_text(item, "policy"),
			field_text(item, "rule"));
	else
		printf("REFUSED  %s%s%s from %s: %s\n", op, space, key, from, field_text(item, "reason"));
}

int run_policy_test(const struct invocation *invocation)
{
	const char *from = flag_text(invocation, "from"), *op = flag_text(invocation, "op"), *why = NULL;
	struct policy_file file;
	struct site site = { 0 };
	json_t *items;
	bool allowed = true;
	int code;

	if (op == NULL)
		op = "get";
	if (!flag_given(invocation, "key") || from == NULL || !place_parse(from, &site.place, &why))
		return fail(invocation, "DOM-U003", "which key, from where?",
			"give --key KEY, as often as there are keys, and --from PLACE, such as eu/ie/eu-west-1", "%s",
			why == NULL ? "both are needed" : why);
	code = policies_load(invocation, invocation->arguments[0], &file);
	if (code != EXIT_OK)
		return code;
	items = json_array();
	for (int at = flag_next(invocation, "key", -1); at >= 0 && code == EXIT_OK;
		at = flag_next(invocation, "key", at)) {
		struct owned_bytes key;

		code = argument_key(invocation, invocation->given[at].value, &key);
		if (code != EXIT_OK)
			break;
		allowed &= test_key(invocation, &file, owned(&key), &site, op, items);
		free(key.data);
	}
	if (code == EXIT_OK && !output_machine(invocation, "Verdict", NULL, items, "allowed")) {
		for (size_t i = 0; i < json_array_size(items); i++)
			print_verdict(json_array_get(items, i), json_array_size(items) == 1);
	}
	json_decref(items);
	policy_file_free(&file);
	return code == EXIT_OK && !allowed ? EXIT_RESIDENCY : code;
}

/* --- in force --------------------------------------------------------------------------------------- */

static json_t *selectors_json(const struct selectors *selectors)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < selectors->count; i++)
		json_array_append_new(list, json_string(selectors->at[i].text));
	return list;
}

json_t *policy_item(const struct session *session, const struct policy *policy)
{
	static const char *const acks[] = { "majority", "copies", "regions", "all_of" };
	json_t *item = json_object(), *copy_in = json_object();
	char line[1024], ack[64];
	struct text text;
	unsigned bindings = 0, shards = 0;

	text_init(&text, line, sizeof(line));
	policy_describe(policy, &text);
	for (uint32_t i = 0; i < session->map->binding_count; i++)
		bindings += session->map->bindings[i].policy == policy->id;
	for (uint32_t i = 0; i < session->map->shard_count; i++)
		shards += session->map->shards[i].policy == policy->id;
	for (unsigned i = 0; i < policy->copy_in_count; i++)
		set(copy_in, policy->copy_in[i].in.text, json_integer(policy->copy_in[i].copies));
	if (policy->ack == ACK_COPIES || policy->ack == ACK_REGIONS)
		snprintf(ack, sizeof(ack), "%s %u", acks[policy->ack], policy->ack_count);
	else
		snprintf(ack, sizeof(ack), "%s", acks[policy->ack]);
	set(item, "name", json_string(policy->name));
	set(item, "id", json_id(policy->id));
	set(item, "epoch", json_integer((json_int_t)policy->epoch));
	set(item, "copies", json_integer(policy->copies));
	set(item, "spread", json_string(spread_name(policy->spread)));
	set(item, "survive", json_string(survive_name(policy->survive)));
	set(item, "ack", json_string(ack));
	set(item, "ack_areas", selectors_json(&policy->ack_areas));
	set(item, "store_in", selectors_json(&policy->store_in));
	set(item, "never_in", selectors_json(&policy->never_in));
	set(item, "witness_in", selectors_json(&policy->witness_in));
	set(item, "copy_in", copy_in);
	set(item, "lead_in", selectors_json(&policy->lead_in));
	set(item, "read_from", selectors_json(&policy->read_from));
	set(item, "write_from", selectors_json(&policy->write_from));
	set(item, "reads", json_string(policy->reads == READS_LOCAL ? "local" : "leader"));
	set(item, "transit", json_string(policy->transit == TRANSIT_ANY ? "any" : "stay"));
	set(item, "follow", json_boolean(policy->follow));
	set(item, "isolated_stale_ms", json_integer((json_int_t)policy->isolated_stale_ms));
	set(item, "erase_within_s", json_integer((json_int_t)policy->erase_within_s));
	set(item, "bindings", json_integer(bindings));
	set(item, "shards", json_integer(shards));
	set(item, "summary", json_string(line));
	return item;
}

int run_policy_list(const struct invocation *invocation)
{
	static const struct column columns[] = { { .title = "POLICY", .field = "name" },
		{ .title = "STORE_IN", .field = "store_in" }, { .title = "COPIES", .field = "copies", .right = true },
		{ .title = "SPREAD", .field = "spread" }, { .title = "SURVIVE", .field = "survive" },
		{ .title = "ACK", .field = "ack" }, { .title = "READ_FROM", .field = "read_from" },
		{ .title = "WRITE_FROM", .field = "write_from" },
		{ .title = "NEVER_IN", .field = "never_in", .wide = true },
		{ .title = "WITNESS_IN", .field = "witness_in", .wide = true },
		{ .title = "LEAD_IN", .field = "lead_in", .wide = true },
		{ .title = "FOLLOW", .field = "follow", .wide = true },
		{ .title = "READS", .field = "reads", .wide = true },
		{ .title = "EPOCH", .field = "epoch", .right = true, .wide = true },
		{ .title = "BINDINGS", .field = "bindings", .right = true, .wide = true },
		{ .title = "SHARDS", .field = "shards", .right = true, .wide = true }, { 0 } };
	struct session session;
	json_t *items;
	int code = session_open_with_map(&session, invocation, AS_READER);

	if (code == EXIT_OK) {
		items = json_array();
		for (uint32_t i = 0; i < session.map->policy_count; i++)
			json_array_append_new(items, policy_item(&session, &session.map->policies[i]));
		code = output_items(invocation, "PolicyList", session_cluster(&session), items, columns, "name");
	}
	session_close(&session);
	return code;
}

static void print_policy(const struct session *session, const struct policy *policy, const json_t *item)
{
	printf("policy %s   id %llu   epoch %llu\n%s\n", policy->name, (unsigned long long)policy->id,
		(unsigned long long)policy->epoch, field_text(item, "summary"));
	printf("shards %llu   bindings:", (unsigned long long)field_u64(item, "shards"));
	for (uint32_t i = 0; i < session->map->binding_count; i++) {
		const struct map_binding *binding = &session->map->bindings[i];
		char *text;

		if (binding->policy != policy->id)
			continue;
		text = form_encode(FORM_ESCAPE, bytes_of(binding->prefix, binding->prefix_size));
		if (binding->exact)
			printf(" one key,");
		else
			printf(" \"%s\"", text);
		free(text);
	}
	printf("\n");
}

int run_policy_show(const struct invocation *invocation)
{
	const char *as_of = flag_text(invocation, "as-of");
	const struct policy *policy = NULL;
	static struct policy then;
	struct session session;
	json_t *items = json_array(), *item;
	int code = session_open_with_map(&session, invocation, AS_READER);

	if (code == EXIT_OK && (policy = session_policy(&session, invocation->arguments[0])) == NULL)
		code = EXIT_NOT_FOUND;
	if (code == EXIT_OK && as_of != NULL) {
		code = policies_as_of(&session, invocation->arguments[0], as_of, &then);
		policy = &then;
	}
	if (code == EXIT_OK) {
		item = policy_item(&session, policy);
		json_array_append_new(items, item);
		if (!output_machine(invocation, "Policy", session_cluster(&session), items, "name"))
			print_policy(&session, policy, item);
	}
	json_decref(items);
	session_close(&session);
	return code;
}

/* --- apply ------------------------------------------------------------------------------------------ */

/* Exact keys are hashed here, with the map's secret: the key never travels. */
static struct change_binding *hashed_bindings(const struct policy_file *file, const struct cluster_map *map)
{
	struct change_binding *bindings = calloc(file->binding_count + 1, sizeof(*bindings));

	if (bindings == NULL)
		abort();
	for (uint32_t i = 0; i < file->binding_count; i++) {
		const struct binding_text *text = &file->bindings[i];

		bindings[i].exact = text->exact;
		bindings[i].line = text->line;
		memcpy(bindings[i].policy, text->policy, sizeof(bindings[i].policy));
		if (text->exact) {
			bindings[i].hash = hash_keyed(bytes_of(text->bytes, text->size), map->hash_secret);
		} else {
			bindings[i].prefix_size = (uint16_t)text->size;
			if (text->size > 0)
				memcpy(bindings[i].prefix, text->bytes, text->size);
		}
	}
	return bindings;
}

/* The bindings are the caller's to free. */
static void change_of(const struct policy_file *file, const struct cluster_map *map, struct change *change)
{
	memset(change, 0, sizeof(*change));
	change->kind = CHANGE_APPLY;
	change->policies = file->policies;
	change->policy_count = file->policy_count;
	change->bindings = hashed_bindings(file, map);
	change->binding_count = file->binding_count;
}

/* plan: its id, or 0. */
static int apply_planned(
	struct session *session, const struct policy_file *file, uint64_t plan, struct change_answer *answer)
{
	static struct change change;
	int code;

	change_of(file, session->map, &change);
	change.plan = plan;
	code = session_change(session, &change, "the policies are not applied", answer);
	free(change.bindings);
	return code;
}

int policies_apply(struct session *session, const struct policy_file *file, struct change_answer *answer)
{
	return apply_planned(session, file, 0, answer);
}

/* --- plan ------------------------------------------------------------------------------------------- */

static int show_plan(struct session *session, struct change *change)
{
	const struct invocation *invocation = session->invocation;
	struct plan plan;
	json_t *items;
	int code = plan_ask(session, change, &plan);

	if (code != EXIT_OK)
		return code;
	items = json_array();
	json_array_append_new(items, plan_item(session, change, &plan, invocation->arguments[0]));
	if (!output_machine(invocation, "PolicyPlan", session_cluster(session), items, "id"))
		plan_print(json_array_get(items, 0));
	json_decref(items);
	if (plan.code != NULL)
		code = fail(invocation, plan.code, "the policies would not be applied", NULL, "%s", plan.refusal);
	plan_free(&plan);
	return code;
}

int run_policy_plan(const struct invocation *invocation)
{
	static struct change change;
	struct policy_file file;
	struct session session;
	int code = policies_load(invocation, invocation->arguments[0], &file);

	if (code != EXIT_OK)
		return code;
	code = session_open_with_map(&session, invocation, AS_ADMIN);
	if (code == EXIT_OK) {
		change_of(&file, session.map, &change);
		code = show_plan(&session, &change);
		free(change.bindings);
	}
	session_close(&session);
	policy_file_free(&file);
	return code;
}

/* 16 hexadecimal digits. */
static bool plan_given(const char *text, uint64_t *plan)
{
	*plan = 0;
	if (text == NULL)
		return true;
	if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)
		return false;
	*plan = strtoull(text, NULL, 16);
	return *plan != 0;
}

int policies_running(const struct session *session, uint64_t ids[MAP_OPERATIONS_MAX])
{
	int count = 0;

	for (uint32_t i = 0; i < session->map->operation_count; i++) {
		if (session->map->operations[i].state == OPERATION_RUNNING)
			ids[count++] = session->map->operations[i].id;
	}
	return count;
}

/* Operations that this change started: those not there before it. */
static int started(
	struct session *session, uint64_t id_before, json_t *list, uint64_t ids[MAP_OPERATIONS_MAX], size_t *count)
{
	int code = session_refresh(session);

	*count = 0;
	for (uint32_t i = 0; i < session->map->operation_count && code == EXIT_OK; i++) {
		const struct map_operation *operation = &session->map->operations[i];

		if (operation->id < id_before)
			continue;
		ids[(*count)++] = operation->id;
		json_array_append_new(list, json_id(operation->id));
	}
	return code;
}

static int report_apply(
	struct session *session, const struct policy_file *file, uint64_t id_before, const struct change_answer *answer)
{
	const struct invocation *invocation = session->invocation;
	json_t *items = json_array(), *item = json_object(), *operations = json_array();
	uint64_t ids[MAP_OPERATIONS_MAX];
	size_t count;
	int code = started(session, id_before, operations, ids, &count);

	set(item, "what", json_string("policy apply"));
	set(item, "dry_run", json_boolean(invocation->dry_run));
	set(item, "epoch", json_integer((json_int_t)answer->epoch));
	set(item, "operation", count == 0 ? json_null() : json_id(ids[0]));
	set(item, "operations", operations);
	json_array_append_new(items, item);
	if (!output_machine(invocation, "ChangeResult", session_cluster(session), items, "operations")) {
		printf("%u polic%s and %u binding%s %s", file->policy_count, file->policy_count == 1 ? "y" : "ies",
			file->binding_count, file->binding_count == 1 ? "" : "s",
			invocation->dry_run ? "would be accepted; nothing was changed\n" : "applied");
		if (!invocation->dry_run)
			printf("   epoch %llu\n", (unsigned long long)answer->epoch);
		for (size_t i = 0; i < count; i++)
			printf("operation %llu: %s\n", (unsigned long long)ids[i],
				map_operation_find(session->map, ids[i])->text);
	}
	json_decref(items);
	if (code != EXIT_OK || count == 0 || flag_given(invocation, "detach") ||
		!(flag_given(invocation, "wait") || on_terminal(stdout)))
		return code;
	return session_wait_operations(
		session, ids, count, flag_given(invocation, "timeout") ? invocation->timeout_ms : 60000);
}

int run_policy_apply(const struct invocation *invocation)
{
	struct change_answer answer;
	struct policy_file file;
	struct session session;
	uint64_t id_before, plan;
	int code;

	if (!plan_given(flag_text(invocation, "plan"), &plan))
		return fail(invocation, "DOM-U003", "--plan is not the id of a plan",
			"`domctl policy plan FILE` prints it: 16 hexadecimal digits", "it is '%s'",
			flag_text(invocation, "plan"));
	code = policies_load(invocation, invocation->arguments[0], &file);
	if (code != EXIT_OK)
		return code;
	code = session_open_with_map(&session, invocation, AS_ADMIN);
	if (code == EXIT_OK) {
		id_before = session.map->id_next;
		code = apply_planned(&session, &file, plan, &answer);
		if (code == EXIT_OK)
			code = report_apply(&session, &file, id_before, &answer);
	}
	session_close(&session);
	policy_file_free(&file);
	return code;
}
