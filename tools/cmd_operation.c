/* tools/cmd_operation.c: domctl operation. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "tools/errors.h"
#include "tools/output.h"
#include "tools/session.h"

static const struct column operation_columns[] = { { .title = "ID", .field = "id", .right = true },
	{ .title = "KIND", .field = "operation_kind" }, { .title = "STATE", .field = "state" },
	{ .title = "DONE", .field = "steps_done", .right = true }, { .title = "OF", .field = "steps", .right = true },
	{ .title = "STARTED", .field = "started_at" }, { .title = "ENDED", .field = "ended_at", .wide = true },
	{ .title = "WHAT", .field = "text" }, { 0 } };

static json_t *operation_item(const struct session *session, const struct map_operation *operation)
{
	static const char *const kinds[] = { "?", "policy", "binding", "place" }, *const states[] = { "?", "running",
		"done", "failed" };
	json_t *item = json_object();

	set(item, "id", json_id(operation->id));
	set(item, "operation_kind", json_string(operation->kind < 4 ? kinds[operation->kind] : "?"));
	set(item, "state", json_string(operation->state < 4 ? states[operation->state] : "?"));
	set(item, "policy",
		operation->policy == 0 ? json_null() : json_string(policy_name_of(session->map, operation->policy)));
	set(item, "steps", json_integer(operation->steps));
	set(item, "steps_done", json_integer(operation->steps_done));
	set(item, "started_at", json_time_us(operation->started_us));
	set(item, "ended_at", json_time_us(operation->ended_us));
	set(item, "text", json_string(operation->text));
	return item;
}

int run_operation_list(const struct invocation *invocation)
{
	struct session session;
	json_t *items;
	int code = session_open_with_map(&session, invocation, AS_READER);

	if (code == EXIT_OK) {
		items = json_array();
		for (uint32_t i = 0; i < session.map->operation_count; i++)
			json_array_append_new(items, operation_item(&session, &session.map->operations[i]));
		code = output_items(
			invocation, "OperationList", session_cluster(&session), items, operation_columns, "id");
	}
	session_close(&session);
	return code;
}

static int named_operations(const struct session *session, uint64_t ids[64])
{
	const struct invocation *invocation = session->invocation;

	for (uint32_t i = 0; i < invocation->argument_count; i++) {
		if (!parse_u64(invocation->arguments[i], &ids[i]) || map_operation_find(session->map, ids[i]) == NULL)
			return fail(invocation, "DOM-M001", "no such operation", "`domctl operation list` shows them",
				"%s", invocation->arguments[i]);
	}
	return EXIT_OK;
}

static int show(const struct session *session, const uint64_t *ids, uint32_t count)
{
	json_t *items = json_array();

	for (uint32_t i = 0; i < count; i++) {
		const struct map_operation *operation = map_operation_find(session->map, ids[i]);

		if (operation != NULL)
			json_array_append_new(items, operation_item(session, operation));
	}
	return output_items(
		session->invocation, "OperationList", session_cluster(session), items, operation_columns, "id");
}

int run_operation_show(const struct invocation *invocation)
{
	struct session session;
	uint64_t ids[64];
	int code = session_open_with_map(&session, invocation, AS_READER);

	if (code == EXIT_OK)
		code = named_operations(&session, ids);
	if (code == EXIT_OK)
		code = show(&session, ids, 1);
	session_close(&session);
	return code;
}

int run_operation_wait(const struct invocation *invocation)
{
	struct session session;
	uint64_t ids[64];
	int code = session_open_with_map(&session, invocation, AS_READER);

	if (code == EXIT_OK)
		code = named_operations(&session, ids);
	if (code == EXIT_OK)
		code = session_wait_operations(&session, ids, invocation->argument_count,
			flag_given(invocation, "timeout") ? invocation->timeout_ms : 60000);
	if (code == EXIT_OK)
		code = show(&session, ids, invocation->argument_count);
	session_close(&session);
	return code;
}
