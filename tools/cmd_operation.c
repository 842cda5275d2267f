/* tools/cmd_operation.c: domctl operation. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/units.h"
#include "tools/errors.h"
#include "tools/output.h"
#include "tools/session.h"

enum { STATUS_TIMEOUT_MS = 3000 };

static const struct column operation_columns[] = { { .title = "ID", .field = "id", .right = true },
	{ .title = "KIND", .field = "operation_kind" }, { .title = "STATE", .field = "state" },
	{ .title = "DONE", .field = "steps_done", .right = true }, { .title = "OF", .field = "steps", .right = true },
	{ .title = "STARTED", .field = "started_at" }, { .title = "ENDED", .field = "ended_at", .wide = true },
	{ .title = "WHAT", .field = "text" }, { 0 } };

static const struct column left_columns[] = { { .title = "ID", .field = "id", .right = true },
	{ .title = "KIND", .field = "operation_kind" }, { .title = "STATE", .field = "state" },
	{ .title = "DONE", .field = "steps_done", .right = true }, { .title = "OF", .field = "steps", .right = true },
	{ .title = "BYTES LEFT", .field = "bytes_left", .right = true },
	{ .title = "SECONDS LEFT", .field = "seconds_left", .right = true },
	{ .title = "STARTED", .field = "started_at" }, { .title = "ENDED", .field = "ended_at", .wide = true },
	{ .title = "WHAT", .field = "text" }, { 0 } };

static json_t *operation_item(const struct session *session, const struct map_operation *operation)
{
	static const char *const kinds[] = { "?", "policy", "binding", "place", "drain", "split", "merge",
		"rebalance" },
				 *const states[] = { "?", "running", "done", "failed" },
				 *const cancelled[] = { "?", "cancelling", "done", "cancelled" };
	json_t *item = json_object();

	set(item, "id", json_id(operation->id));
	set(item, "operation_kind", json_string(operation->kind < 8 ? kinds[operation->kind] : "?"));
	set(item, "state",
		json_string(operation->state >= 4  ? "?"
			    : operation->cancelled ? cancelled[operation->state]
						   : states[operation->state]));
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

/* --- what is left of one ---------------------------------------------------------------------------- */

/* What the new copies of the shard lack, by what the nodes hold: the largest copy less what is at each of them. A
 * witness is no copy. False: nobody has said how large it is. */
static bool shard_left(const struct statuses *statuses, const struct map_shard *shard, uint64_t *left, uint64_t *whole)
{
	uint64_t largest = 0;
	bool known = false;

	for (unsigned i = 0; i < shard->replica_count; i++) {
		const json_t *said = statuses_replica(statuses, shard->replicas[i].node, shard->id);

		known |= said != NULL;
		if (field_u64(said, "size") > largest)
			largest = field_u64(said, "size");
	}
	for (unsigned i = 0; i < shard->wanted_count; i++) {
		const struct map_replica *wanted = &shard->wanted[i];
		const json_t *said = statuses_replica(statuses, wanted->node, shard->id);
		uint64_t there = said == NULL ? 0 : field_u64(said, "size");

		if (wanted->role == ROLE_WITNESS ||
			map_replica_on(shard->replicas, shard->replica_count, wanted->node) != NULL)
			continue;
		*whole += largest;
		*left += largest > there ? largest - there : 0;
	}
	return known;
}

/* Of a move under way: bytes that its new copies still lack, and when they are there if it goes on as it went. */
static void add_left(struct session *session, const struct map_operation *operation, json_t *item)
{
	static struct statuses statuses;
	const struct cluster_map *map = session->map;
	uint64_t left = 0, whole = 0, now_us = clock_wall_us();
	bool known = true, moves = operation->state == OPERATION_RUNNING && !operation_moves_keys(operation->kind);

	if (moves) {
		session_statuses(session, STATUS_TIMEOUT_MS, &statuses);
		for (uint32_t i = 0; i < map->shard_count; i++) {
			if (map->shards[i].operation == operation->id)
				known &= shard_left(&statuses, &map->shards[i], &left, &whole);
		}
		statuses_free(&statuses);
	}
	set(item, "bytes_left", moves && known ? json_integer((json_int_t)left) : json_null());
	/* By shards: those that are done were as large as any, for keys are spread evenly over them. */
	double part = operation->steps == 0 ? 0 : (double)operation->steps_done / operation->steps;
	if (whole > left)
		part += (1 - part) * (double)(whole - left) / (double)whole;
	bool guess = moves && known && part > 0.01 && now_us > operation->started_us;
	set(item, "seconds_left",
		guess ? json_integer((json_int_t)((double)(now_us - operation->started_us) / 1e6 * (1 - part) / part))
		      : json_null());
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

/* left: nodes are asked what a move under way still lacks. */
static int show(struct session *session, const uint64_t *ids, uint32_t count, bool left)
{
	json_t *items = json_array();

	for (uint32_t i = 0; i < count; i++) {
		const struct map_operation *operation = map_operation_find(session->map, ids[i]);

		json_t *item;

		if (operation == NULL)
			continue;
		item = operation_item(session, operation);
		if (left)
			add_left(session, operation, item);
		json_array_append_new(items, item);
	}
	return output_items(session->invocation, "OperationList", session_cluster(session), items,
		left ? left_columns : operation_columns, "id");
}

int run_operation_show(const struct invocation *invocation)
{
	struct session session;
	uint64_t ids[64];
	int code = session_open_with_map(&session, invocation, AS_READER);

	if (code == EXIT_OK)
		code = named_operations(&session, ids);
	if (code == EXIT_OK)
		code = show(&session, ids, 1, true);
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
		code = show(&session, ids, invocation->argument_count, false);
	session_close(&session);
	return code;
}

/* With --wait: until what goes back is back. */
int run_operation_cancel(const struct invocation *invocation)
{
	static struct change change;
	struct change_answer answer;
	struct session session;
	uint64_t ids[64];
	int code = session_open_with_map(&session, invocation, AS_ADMIN);

	if (code == EXIT_OK)
		code = named_operations(&session, ids);
	if (code == EXIT_OK) {
		memset(&change, 0, sizeof(change));
		change.kind = CHANGE_CANCEL;
		change.operation = ids[0];
		code = session_change(&session, &change, "operation cancel is refused", &answer);
	}
	if (code == EXIT_OK)
		code = session_report_change(&session, "operation cancel", &answer);
	session_close(&session);
	return code;
}
