/* tools/cmd_where.c: which shard and replicas hold a key: key where, shard of, binding which. They speak of the map and
 * of what nodes report; the key itself goes nowhere. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/errors.h"
#include "tools/form.h"
#include "tools/output.h"
#include "tools/session.h"
#include "tools/shards.h"
#include "tools/where.h"

enum { STATUS_TIMEOUT_MS = 3000 };

static int no_binding(const struct invocation *invocation)
{
	return fail(invocation, "DOM-R001", "the key has no place",
		"bind its prefix: `domctl binding set PREFIX POLICY`", "no binding covers it");
}

/* The leader's log end less what the replica has applied; null while either is unknown. */
static json_t *lag_of(const struct statuses *statuses, const json_t *replica, uint64_t leader, uint64_t shard)
{
	const json_t *leading = statuses_replica(statuses, leader, shard);
	uint64_t commit, applied;

	if (replica == NULL || leading == NULL)
		return json_null();
	commit = field_u64(leading, "commit");
	applied = field_u64(replica, "applied");
	return json_integer(commit > applied ? (json_int_t)(commit - applied) : 0);
}

void where_items(const struct session *session, const struct statuses *statuses, struct bytes key,
	const struct map_shard *shard, enum form form, json_t *items)
{
	uint64_t leader = statuses_leader(statuses, shard->id);

	for (unsigned i = 0; i < shard->replica_count; i++) {
		const struct map_replica *replica = &shard->replicas[i];
		const struct map_node *node = map_node_find(session->map, replica->node);
		const json_t *said = statuses_replica(statuses, replica->node, shard->id);
		char label[PLACE_TEXT_MAX];
		json_t *item = json_object();

		node_label(session->map, replica->node, label);
		set_bytes(item, "key", form, key);
		set(item, "shard", json_id(shard->id));
		set(item, "policy", json_string(policy_name_of(session->map, shard->policy)));
		set(item, "replica", json_id(replica->replica));
		set(item, "node", json_id(replica->node));
		set(item, "label", json_string(label));
		set(item, "place", json_string(node == NULL ? "" : node->place.text));
		set(item, "region", json_string(region_of_node(session->map, replica->node)));
		set(item, "role", json_string(role_name(replica->role)));
		set(item, "leads", json_boolean(replica->node == leader));
		set(item, "duty", json_string(duty_name(replica->role, replica->node == leader)));
		set(item, "answers", json_boolean(said != NULL));
		set(item, "lag", lag_of(statuses, said, leader, shard->id));
		json_array_append_new(items, item);
	}
}

int run_key_where(const struct invocation *invocation)
{
	static const struct column columns[] = { { .title = "KEY", .field = "key" },
		{ .title = "SHARD", .field = "shard", .right = true }, { .title = "POLICY", .field = "policy" },
		{ .title = "REPLICA", .field = "replica", .right = true }, { .title = "REGION", .field = "region" },
		{ .title = "NODE", .field = "label" }, { .title = "ROLE", .field = "duty" },
		{ .title = "LAG", .field = "lag", .right = true }, { .title = "PLACE", .field = "place", .wide = true },
		{ 0 } };
	static struct statuses statuses;
	struct session session;
	json_t *items = json_array();
	int code = session_open_with_map(&session, invocation, AS_READER);

	if (code == EXIT_OK)
		session_statuses(&session, STATUS_TIMEOUT_MS, &statuses);
	for (uint32_t i = 0; i < invocation->argument_count && code == EXIT_OK; i++) {
		struct owned_bytes key;
		const struct map_binding *binding;
		const struct map_shard *shard;

		code = argument_key(invocation, invocation->arguments[i], &key);
		if (code != EXIT_OK)
			break;
		binding = map_binding_of(session.map, owned(&key));
		shard = binding == NULL ? NULL : map_shard_of(session.map, binding->policy, owned(&key));
		if (shard == NULL)
			code = no_binding(invocation);
		else
			where_items(&session, &statuses, owned(&key), shard, form_of(invocation, "key-format"), items);
		free(key.data);
	}
	if (code == EXIT_OK)
		code = output_items(
			invocation, "KeyPlaces", session_cluster(&session), json_incref(items), columns, "label");
	json_decref(items);
	statuses_free(&statuses);
	session_close(&session);
	return code;
}

int run_shard_of(const struct invocation *invocation)
{
	static struct statuses statuses;
	struct session session;
	struct owned_bytes key;
	int code = argument_key(invocation, invocation->arguments[0], &key);

	if (code != EXIT_OK)
		return code;
	code = session_open_with_map(&session, invocation, AS_READER);
	if (code == EXIT_OK) {
		const struct map_binding *binding = map_binding_of(session.map, owned(&key));
		const struct map_shard *shard =
			binding == NULL ? NULL : map_shard_of(session.map, binding->policy, owned(&key));

		if (shard == NULL) {
			code = no_binding(invocation);
		} else {
			json_t *items = json_array();

			session_statuses(&session, STATUS_TIMEOUT_MS, &statuses);
			json_array_append_new(items, shard_item(&session, &statuses, shard));
			code = output_items(
				invocation, "ShardList", session_cluster(&session), items, shard_columns, "id");
			statuses_free(&statuses);
		}
	}
	free(key.data);
	session_close(&session);
	return code;
}
