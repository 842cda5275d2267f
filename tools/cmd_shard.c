/* tools/cmd_shard.c: domctl shard list, show, lead, place, split, merge. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "tools/errors.h"
#include "tools/shards.h"

enum { STATUS_TIMEOUT_MS = 3000 };

const struct column shard_columns[] = { { .title = "ID", .field = "id", .right = true },
	{ .title = "POLICY", .field = "policy" }, { .title = "HASHES", .field = "hash_first", .wide = true },
	{ .title = "COPIES", .field = "copies", .right = true },
	{ .title = "OF", .field = "copies_wanted", .right = true }, { .title = "LEADER", .field = "leader" },
	{ .title = "REGIONS", .field = "regions" }, { .title = "NODES", .field = "labels", .wide = true },
	{ .title = "OPERATION", .field = "operation" }, { 0 } };

static bool listed(const json_t *array, const char *text)
{
	for (size_t i = 0; i < json_array_size(array); i++) {
		if (strcmp(json_string_value(json_array_get(array, i)), text) == 0)
			return true;
	}
	return false;
}

static json_t *hex_id(uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%016llx", (unsigned long long)value);
	return json_string(text);
}

/* That moves it, or splits or merges it; 0: none. */
static uint64_t operation_of(const struct cluster_map *map, const struct map_shard *shard)
{
	for (uint32_t i = 0; shard->operation == 0 && i < map->operation_count; i++) {
		const struct map_operation *operation = &map->operations[i];

		if (operation->state == OPERATION_RUNNING && operation_of_range(operation->kind) &&
			(operation->shard_from == shard->id || operation->shard_to == shard->id))
			return operation->id;
	}
	return shard->operation;
}

json_t *shard_item(const struct session *session, const struct statuses *statuses, const struct map_shard *shard)
{
	json_t *item = json_object(), *nodes = json_array(), *regions = json_array(), *labels = json_array();
	json_t *sizes = json_array();
	const struct policy *policy = map_policy_find(session->map, shard->policy);
	uint64_t leader = statuses_leader(statuses, shard->id);
	char label[PLACE_TEXT_MAX];
	unsigned voters = 0;
	uint64_t operation;

	for (unsigned i = 0; i < shard->replica_count; i++) {
		const char *region = region_of_node(session->map, shard->replicas[i].node);
		const json_t *said = statuses_replica(statuses, shard->replicas[i].node, shard->id);

		node_label(session->map, shard->replicas[i].node, label);
		json_array_append_new(nodes, json_id(shard->replicas[i].node));
		json_array_append_new(labels, json_string(label));
		json_array_append_new(
			sizes, said == NULL ? json_null() : json_integer((json_int_t)field_u64(said, "size")));
		if (!listed(regions, region))
			json_array_append_new(regions, json_string(region));
		voters += shard->replicas[i].role == ROLE_VOTER;
	}
	set(item, "id", json_id(shard->id));
	set(item, "policy", json_string(policy_name_of(session->map, shard->policy)));
	set(item, "hash_first", map_shard_empty(shard) ? json_null() : hex_id(shard->hash_first));
	set(item, "hash_last", map_shard_empty(shard) ? json_null() : hex_id(shard->hash_last));
	set(item, "copies", json_integer(voters));
	set(item, "copies_wanted", json_integer(policy == NULL ? 0 : policy->copies));
	set(item, "generation", json_integer((json_int_t)shard->generation));
	if (leader != 0)
		node_label(session->map, leader, label);
	set(item, "leader", leader == 0 ? json_null() : json_string(label));
	set(item, "leader_node", leader == 0 ? json_null() : json_id(leader));
	set(item, "lead_wanted", shard->lead_wanted == 0 ? json_null() : json_id(shard->lead_wanted));
	set(item, "regions", regions);
	set(item, "nodes", nodes);
	set(item, "labels", labels);
	set(item, "sizes", sizes);
	operation = operation_of(session->map, shard);
	set(item, "operation", operation == 0 ? json_null() : json_id(operation));
	return item;
}

static bool in_region(const struct session *session, const struct map_shard *shard, const struct map_region *region)
{
	for (unsigned i = 0; i < shard->replica_count; i++) {
		const struct map_node *node = map_node_find(session->map, shard->replicas[i].node);

		if (node != NULL && &session->map->regions[node->region] == region)
			return true;
	}
	return false;
}

int run_shard_list(const struct invocation *invocation)
{
	static struct statuses statuses;
	const char *policy_name = flag_text(invocation, "policy"), *region_name = flag_text(invocation, "region");
	const struct policy *policy = NULL;
	const struct map_region *region = NULL;
	struct session session;
	json_t *items;
	int code = session_open_with_map(&session, invocation, AS_READER);

	if (code == EXIT_OK && policy_name != NULL && (policy = session_policy(&session, policy_name)) == NULL)
		code = EXIT_NOT_FOUND;
	if (code == EXIT_OK && region_name != NULL && (region = map_region_find(session.map, region_name)) == NULL)
		code = fail(
			invocation, "DOM-M001", "no such region", "`domctl region list` shows them", "%s", region_name);
	if (code == EXIT_OK) {
		items = json_array();
		session_statuses(&session, STATUS_TIMEOUT_MS, &statuses);
		for (uint32_t i = 0; i < session.map->shard_count; i++) {
			const struct map_shard *shard = &session.map->shards[i];

			if ((policy == NULL || shard->policy == policy->id) &&
				(region == NULL || in_region(&session, shard, region)))
				json_array_append_new(items, shard_item(&session, &statuses, shard));
		}
		code = output_items(invocation, "ShardList", session_cluster(&session), items, shard_columns, "id");
		statuses_free(&statuses);
	}
	session_close(&session);
	return code;
}

static json_t *replica_details(
	const struct session *session, const struct statuses *statuses, const struct map_shard *shard)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < shard->replica_count; i++) {
		const struct map_replica *replica = &shard->replicas[i];
		const json_t *said = statuses_replica(statuses, replica->node, shard->id);
		json_t *item = json_object();
		char label[PLACE_TEXT_MAX];

		node_label(session->map, replica->node, label);
		set(item, "replica", json_id(replica->replica));
		set(item, "node", json_id(replica->node));
		set(item, "label", json_string(label));
		set(item, "region", json_string(region_of_node(session->map, replica->node)));
		set(item, "role", json_string(role_name(replica->role)));
		set(item, "duty", json_string(duty_name(replica->role, false)));
		set(item, "state", said == NULL ? json_string("no answer") : json_string(field_text(said, "role")));
		set(item, "term", json_integer((json_int_t)field_u64(said, "term")));
		set(item, "last", json_integer((json_int_t)field_u64(said, "last")));
		set(item, "commit", json_integer((json_int_t)field_u64(said, "commit")));
		set(item, "applied", json_integer((json_int_t)field_u64(said, "applied")));
		json_array_append_new(list, item);
	}
	return list;
}

int run_shard_show(const struct invocation *invocation)
{
	static const struct column columns[] = { { .title = "REPLICA", .field = "replica", .right = true },
		{ .title = "NODE", .field = "label" }, { .title = "ROLE", .field = "duty" },
		{ .title = "STATE", .field = "state" }, { .title = "TERM", .field = "term", .right = true },
		{ .title = "LAST", .field = "last", .right = true },
		{ .title = "COMMIT", .field = "commit", .right = true },
		{ .title = "APPLIED", .field = "applied", .right = true }, { 0 } };
	static struct statuses statuses;
	const struct map_shard *shard;
	struct session session;
	json_t *items = json_array(), *item;
	int code = session_open_with_map(&session, invocation, AS_READER);

	if (code == EXIT_OK && (shard = session_shard(&session, invocation->arguments[0])) == NULL)
		code = EXIT_NOT_FOUND;
	if (code == EXIT_OK) {
		session_statuses(&session, STATUS_TIMEOUT_MS, &statuses);
		item = shard_item(&session, &statuses, shard);
		set(item, "replicas", replica_details(&session, &statuses, shard));
		json_array_append_new(items, item);
		if (!output_machine(invocation, "Shard", session_cluster(&session), items, "id")) {
			char hashes[64] = "no hashes yet";

			if (!map_shard_empty(shard))
				snprintf(hashes, sizeof(hashes), "hashes %016llx to %016llx",
					(unsigned long long)shard->hash_first, (unsigned long long)shard->hash_last);
			printf("shard %s of policy %s, %s, %llu of %llu copies, leader %s\n", field_text(item, "id"),
				field_text(item, "policy"), hashes, (unsigned long long)field_u64(item, "copies"),
				(unsigned long long)field_u64(item, "copies_wanted"), field_text(item, "leader"));
			output_table(
				stdout, json_object_get(item, "replicas"), columns, invocation->output == OUTPUT_WIDE);
		}
		statuses_free(&statuses);
	}
	json_decref(items);
	session_close(&session);
	return code;
}

/* --- changes ---------------------------------------------------------------------------------------- */

/* auto, a node that holds the shard, or a region in which one does. */
static int lead_target(const struct session *session, const struct map_shard *shard, const char *in, uint64_t *node)
{
	const struct map_region *region = map_region_find(session->map, in);
	const struct map_node *named;

	*node = 0;
	if (strcmp(in, "auto") == 0)
		return EXIT_OK;
	for (unsigned i = 0; i < shard->replica_count && region != NULL; i++) {
		const struct map_node *holder = map_node_find(session->map, shard->replicas[i].node);

		if (holder != NULL && &session->map->regions[holder->region] == region &&
			shard->replicas[i].role == ROLE_VOTER) {
			*node = holder->id;
			return EXIT_OK;
		}
	}
	if (region != NULL)
		return fail(session->invocation, "DOM-P002", "no voter of the shard is there",
			"`domctl shard show` lists them", "%s", in);
	named = session_node(session, in);
	if (named == NULL)
		return EXIT_NOT_FOUND;
	*node = named->id;
	return EXIT_OK;
}

int run_shard_lead(const struct invocation *invocation)
{
	const char *in = flag_text(invocation, "in");
	struct change change = { .kind = CHANGE_SHARD_LEAD };
	struct change_answer answer;
	const struct map_shard *shard;
	struct session session;
	int code;

	if (in == NULL)
		return fail(invocation, "DOM-U003", "who should lead?", "give --in NODE, REGION or auto", NULL);
	code = session_open_with_map(&session, invocation, AS_ADMIN);
	if (code == EXIT_OK && (shard = session_shard(&session, invocation->arguments[0])) == NULL)
		code = EXIT_NOT_FOUND;
	if (code == EXIT_OK && (code = lead_target(&session, shard, in, &change.target_node)) == EXIT_OK) {
		change.shard = shard->id;
		code = session_change(&session, &change, "the shard's leader is not changed", &answer);
		if (code == EXIT_OK)
			code = session_report_change(&session, "shard lead", &answer);
	}
	session_close(&session);
	return code;
}

static int wanted_nodes(const struct session *session, const char *list, struct change *change)
{
	char text[1024], *rest = text;

	snprintf(text, sizeof(text), "%s", list);
	for (char *word = strtok_r(text, ",", &rest); word != NULL; word = strtok_r(NULL, ",", &rest)) {
		const struct map_node *node = session_node(session, word);

		if (node == NULL)
			return EXIT_NOT_FOUND;
		if (change->replica_count == REPLICAS_MAX)
			return fail(session->invocation, "DOM-U003", "too many nodes",
				"a shard has at most 16 replicas", NULL);
		change->replicas[change->replica_count++] =
			(struct map_replica){ .node = node->id, .role = ROLE_VOTER };
	}
	return EXIT_OK;
}

int run_shard_place(const struct invocation *invocation)
{
	static struct change change;
	const char *nodes = flag_text(invocation, "nodes");
	struct change_answer answer;
	const struct map_shard *shard;
	struct session session;
	int code;

	if (nodes == NULL)
		return fail(invocation, "DOM-U003", "on which nodes?", "give --nodes NODE,NODE,...", NULL);
	change.kind = CHANGE_SHARD_PLACE;
	code = session_open_with_map(&session, invocation, AS_ADMIN);
	if (code == EXIT_OK && (shard = session_shard(&session, invocation->arguments[0])) == NULL)
		code = EXIT_NOT_FOUND;
	if (code == EXIT_OK && (code = wanted_nodes(&session, nodes, &change)) == EXIT_OK) {
		change.shard = shard->id;
		change.generation = shard->generation;
		code = session_change(&session, &change, "the shard is not placed", &answer);
		if (code == EXIT_OK)
			code = session_report_change(&session, "shard place", &answer);
	}
	session_close(&session);
	return code;
}

/* Of the shards that are named. */
static int change_shards(const struct invocation *invocation, uint8_t kind, const char *what, const char *verb)
{
	static struct change change;
	struct change_answer answer;
	const struct map_shard *shards[2] = { NULL, NULL };
	struct session session;
	int code = session_open_with_map(&session, invocation, AS_ADMIN);

	for (uint32_t i = 0; code == EXIT_OK && i < invocation->argument_count; i++) {
		shards[i] = session_shard(&session, invocation->arguments[i]);
		if (shards[i] == NULL)
			code = EXIT_NOT_FOUND;
	}
	if (code == EXIT_OK) {
		memset(&change, 0, sizeof(change));
		change.kind = kind;
		change.shard = shards[0]->id;
		change.merged = shards[1] == NULL ? 0 : shards[1]->id;
		code = session_change(&session, &change, what, &answer);
		if (code == EXIT_OK)
			code = session_report_change(&session, verb, &answer);
	}
	session_close(&session);
	return code;
}

int run_shard_split(const struct invocation *invocation)
{
	return change_shards(invocation, CHANGE_SHARD_SPLIT, "the shard is not split", "shard split");
}

int run_shard_merge(const struct invocation *invocation)
{
	return change_shards(invocation, CHANGE_SHARD_MERGE, "the shards are not merged", "shard merge");
}
