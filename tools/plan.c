/* tools/plan.c: see tools/plan.h. */
#include "tools/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "policy/placement.h"
#include "policy/plan.h"
#include "tools/errors.h"
#include "tools/fields.h"
#include "tools/form.h"
#include "tools/output.h"

enum { ASK_ROUNDS = 8, STATUS_TIMEOUT_MS = 3000 };

/* --- asking ----------------------------------------------------------------------------------------- */

static int take_map(struct session *session, dom_call *call, struct plan *plan)
{
	dom_bytes bytes = dom_call_value(call, 0);

	if (plan->memory == NULL) {
		plan->memory = calloc(1, cluster_map_size(&map_limits_default));
		if (plan->memory == NULL)
			abort();
		plan->after = cluster_map_init(plan->memory, &map_limits_default);
	}
	if (cluster_map_decode(bytes_of(bytes.data, bytes.size), plan->after) != STATUS_OK)
		return fail(session->invocation, "DOM-X001", "the planned map does not decode",
			"is the cluster newer than this tool?", NULL);
	return EXIT_OK;
}

/* *again: the map has changed since the session read it. */
static int ask_once(struct session *session, const struct change *change, struct plan *plan, bool *again)
{
	dom_call *call = client_plan(session->client, change, session->invocation->timeout_ms);
	enum dom_status status;
	int code = EXIT_OK;

	*again = false;
	if (call == NULL)
		return fail(session->invocation, "DOM-X001", "out of memory", NULL, NULL);
	status = dom_call_wait(call);
	if (status == DOM_OK) {
		code = take_map(session, call, plan);
		/* Where nothing has to move, a rebalance changes nothing. */
		const bool same = change->kind == CHANGE_REBALANCE && plan->after->epoch == session->map->epoch;
		*again = code == EXIT_OK && !same && plan->after->epoch != session->map->epoch + 1;
	} else if (status == DOM_RESIDENCY_REFUSED || status == DOM_INVALID || status == DOM_CONFLICT ||
		   status == DOM_NOT_FOUND) {
		plan->code = error_code_of(status, true);
		snprintf(plan->refusal, sizeof(plan->refusal), "%s", dom_call_message(call));
	} else {
		code = fail(session->invocation, error_code_of(status, true), "nothing could be planned", NULL, "%s",
			dom_call_message(call));
	}
	dom_call_free(call);
	return code;
}

int plan_ask(struct session *session, struct change *change, struct plan *plan)
{
	bool again = true;
	int code = EXIT_OK;

	*plan = (struct plan){ 0 };
	for (unsigned i = 0; again && code == EXIT_OK && i < ASK_ROUNDS; i++) {
		if (i > 0)
			code = session_refresh(session);
		if (code == EXIT_OK)
			code = ask_once(session, change, plan, &again);
	}
	if (code == EXIT_OK && again)
		code = fail(session->invocation, "DOM-Q004", "nothing could be planned",
			"wait until it is settled: `domctl cluster wait --until settled`",
			"the map changes faster than it can be read");
	if (code == EXIT_OK && plan->code == NULL)
		plan->id = plan_id(session->map, change);
	if (code != EXIT_OK || plan->code != NULL) {
		free(plan->memory);
		plan->memory = NULL;
		plan->after = NULL;
	}
	return code;
}

void plan_free(struct plan *plan)
{
	free(plan->memory);
	plan->memory = NULL;
	plan->after = NULL;
}

/* --- copies and bytes ------------------------------------------------------------------------------- */

struct view { /* of one policy, before and after */
	const struct session *session;
	const struct plan *plan;
	const struct statuses *statuses;
	const struct rtt_matrix *matrix;
	const struct policy *before, *after; /* NULL: there is none */
};

/* Copies that come to a node, or leave it. */
struct moved {
	uint64_t node, bytes;
	unsigned shards;
	bool sizes_known;
};
struct moves {
	unsigned count, shards, shards_moving;
	struct moved at[MAP_NODES_MAX];
};

static bool size_at(const struct statuses *statuses, uint64_t node, uint64_t shard, uint64_t *size)
{
	const json_t *replica = statuses_replica(statuses, node, shard), *value = json_object_get(replica, "size");

	*size = json_is_integer(value) ? field_u64(replica, "size") : 0;
	return json_is_integer(value);
}

/* What a copy of the shard takes: the largest that there is. */
static bool shard_size(const struct statuses *statuses, const struct map_shard *shard, uint64_t *size)
{
	bool known = false;

	*size = 0;
	for (unsigned i = 0; i < shard->replica_count; i++) {
		uint64_t one;

		known |= size_at(statuses, shard->replicas[i].node, shard->id, &one);
		if (one > *size)
			*size = one;
	}
	return known;
}

static void moves_add(struct moves *moves, uint64_t node, uint64_t bytes, bool known)
{
	struct moved *at = NULL;

	for (unsigned i = 0; at == NULL && i < moves->count; i++) {
		if (moves->at[i].node == node)
			at = &moves->at[i];
	}
	if (at == NULL) {
		at = &moves->at[moves->count++];
		*at = (struct moved){ .node = node, .sizes_known = true };
	}
	at->shards++;
	at->bytes += bytes;
	at->sizes_known &= known;
}

static void moves_of_shard(
	const struct view *view, const struct map_shard *shard, struct moves *added, struct moves *removed)
{
	const struct map_shard *now = map_shard_find(view->session->map, shard->id);
	uint64_t size = 0;
	bool known = now == NULL || shard_size(view->statuses, now, &size), moves = false;

	for (unsigned i = 0; i < shard->wanted_count; i++) {
		if (shard->wanted[i].role == ROLE_WITNESS) /* no copy: nothing is moved to it */
			continue;
		if (now != NULL && map_replica_on(now->replicas, now->replica_count, shard->wanted[i].node) != NULL)
			continue;
		moves_add(added, shard->wanted[i].node, size, known);
		moves = now != NULL;
	}
	for (unsigned i = 0; now != NULL && i < now->replica_count; i++) {
		uint64_t own;

		if (now->replicas[i].role == ROLE_WITNESS ||
			map_replica_on(shard->wanted, shard->wanted_count, now->replicas[i].node) != NULL)
			continue;
		moves_add(removed, now->replicas[i].node,
			size_at(view->statuses, now->replicas[i].node, shard->id, &own) ? own : size, known);
		moves = true;
	}
	added->shards++;
	added->shards_moving += moves;
}

static void add_moves(json_t *list, const struct view *view, const struct moves *moves, const char *action,
	uint64_t *total, bool *known)
{
	for (unsigned i = 0; i < moves->count; i++) {
		const struct moved *at = &moves->at[i];
		char label[PLACE_TEXT_MAX];
		json_t *item = json_object();

		node_label(view->session->map, at->node, label);
		set(item, "action", json_string(action));
		set(item, "region", json_string(region_of_node(view->session->map, at->node)));
		set(item, "node", json_id(at->node));
		set(item, "label", json_string(label));
		set(item, "shards", json_integer(at->shards));
		set(item, "bytes", at->sizes_known ? json_integer((json_int_t)at->bytes) : json_null());
		json_array_append_new(list, item);
		*total += at->bytes;
		*known &= at->sizes_known;
	}
}

/* --- times and losses ------------------------------------------------------------------------------- */

struct means {
	uint64_t write_us, write_floor_us, read_us, read_floor_us;
	unsigned shards, writes, write_floors, reads, read_floors;
};

static void mean_add(uint32_t us, uint64_t *sum, unsigned *count)
{
	*sum += us == LATENCY_UNKNOWN ? 0 : us;
	*count += us != LATENCY_UNKNOWN;
}

/* Over the policy's shards, for keys are spread evenly over them. */
static void means_add(struct means *means, const struct latency_estimate *estimate)
{
	means->shards++;
	mean_add(estimate->write_us, &means->write_us, &means->writes);
	mean_add(estimate->write_floor_us, &means->write_floor_us, &means->write_floors);
	mean_add(estimate->read_us, &means->read_us, &means->reads);
	mean_add(estimate->read_floor_us, &means->read_floor_us, &means->read_floors);
}

static json_t *mean_ms(const struct means *means, bool allowed, uint64_t sum, unsigned count)
{
	if (!allowed || count == 0 || count < means->shards)
		return json_null();
	return json_real((double)sum / count / 1000.0);
}

/* As it is (after false), or as it would be. */
static struct means means_of(const struct view *view, uint32_t region, bool after)
{
	const struct cluster_map *map = after ? view->plan->after : view->session->map;
	const struct policy *policy = after ? view->after : view->before;
	struct means means = { 0 };

	for (uint32_t i = 0; policy != NULL && i < map->shard_count; i++) {
		struct map_shard shard = map->shards[i];
		uint64_t leader;
		struct path path;

		if (shard.policy != policy->id)
			continue;
		leader = statuses_leader(view->statuses, shard.id);
		if (after) {
			leader = plan_leader(map, policy, &shard, leader);
			memcpy(shard.replicas, shard.wanted, sizeof(shard.replicas));
			shard.replica_count = shard.wanted_count;
		}
		path_of(map, view->matrix, &shard, region, leader, &path);
		means_add(&means, &path.estimate);
	}
	return means;
}

static void set_means(json_t *item, const char *when, const struct means *means, bool writes, bool reads)
{
	json_t *object = means->shards == 0 ? json_null() : json_object();

	if (means->shards > 0) {
		set(object, "may_write", json_boolean(writes));
		set(object, "write_ms", mean_ms(means, writes, means->write_us, means->writes));
		set(object, "write_floor_ms", mean_ms(means, writes, means->write_floor_us, means->write_floors));
		set(object, "may_read", json_boolean(reads));
		set(object, "read_ms", mean_ms(means, reads, means->read_us, means->reads));
		set(object, "read_floor_ms", mean_ms(means, reads, means->read_floor_us, means->read_floors));
	}
	set(item, when, object);
}

static json_t *latencies(const struct view *view)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < view->session->map->region_count; i++) {
		const struct map_region *region = &view->session->map->regions[i];
		struct means before = means_of(view, i, false), after = means_of(view, i, true);
		json_t *item = json_object();

		set(item, "region", json_string(region->name));
		set_means(item, "before", &before, view->before && policy_may_write(view->before, &region->site),
			view->before && policy_may_read(view->before, &region->site));
		set_means(item, "after", &after, view->after && policy_may_write(view->after, &region->site),
			view->after && policy_may_read(view->after, &region->site));
		json_array_append_new(list, item);
	}
	return list;
}

/* The least of what its shards survive; null without any. */
static json_t *survives_of(const struct cluster_map *map, const struct policy *policy, bool wanted, bool *sound)
{
	unsigned least = SURVIVE_REGION + 1;

	*sound = true;
	for (uint32_t i = 0; policy != NULL && i < map->shard_count; i++) {
		const struct map_shard *shard = &map->shards[i];
		enum survive one;
		bool meet;

		if (shard->policy != policy->id)
			continue;
		one = wanted ? plan_survives(map, policy, shard->wanted, shard->wanted_count, &meet)
			     : plan_survives(map, policy, shard->replicas, shard->replica_count, &meet);
		*sound &= meet;
		if ((unsigned)one < least)
			least = one;
	}
	return least > SURVIVE_REGION ? json_null() : json_string(survive_name(least));
}

/* Shards by the region of their leader: as it is, or as it is to be. "?": nobody is known to lead. */
static json_t *leads_of(const struct view *view, bool after)
{
	const struct cluster_map *map = after ? view->plan->after : view->session->map;
	const struct policy *policy = after ? view->after : view->before;
	json_t *object = policy == NULL ? json_null() : json_object();

	for (uint32_t i = 0; policy != NULL && i < map->shard_count; i++) {
		const struct map_shard *shard = &map->shards[i];
		uint64_t leader = statuses_leader(view->statuses, shard->id);
		const char *region;

		if (shard->policy != policy->id)
			continue;
		if (after)
			leader = plan_leader(map, policy, shard, leader);
		region = leader == 0 ? "?" : region_of_node(map, leader);
		set(object, region, json_integer((json_int_t)field_u64(object, region) + 1));
	}
	return object;
}

/* --- items ------------------------------------------------------------------------------------------ */

static json_t *policy_plan(const struct view *view)
{
	static struct moves added, removed;
	const struct cluster_map *after = view->plan->after;
	bool same = view->before != NULL && policy_equal(view->before, view->after), sound, known = true,
	     ignored = true;
	uint64_t to_move = 0, erased = 0;
	json_t *item = json_object(), *copies = json_array();

	memset(&added, 0, sizeof(added));
	memset(&removed, 0, sizeof(removed));
	for (uint32_t i = 0; i < after->shard_count; i++) {
		if (after->shards[i].policy == view->after->id)
			moves_of_shard(view, &after->shards[i], &added, &removed);
	}
	set(item, "name", json_string(view->after->name));
	set(item, "action", json_string(same ? "keep" : view->before == NULL ? "add" : "change"));
	set(item, "epoch_before", view->before == NULL ? json_null() : json_integer((json_int_t)view->before->epoch));
	set(item, "rules_before", policy_summary(view->before));
	set(item, "rules_after", policy_summary(view->after));
	set(item, "differences", policy_differences(view->before, view->after));
	add_moves(copies, view, &added, "add", &to_move, &known);
	add_moves(copies, view, &removed, "remove", &erased, &ignored);
	set(item, "copies", copies);
	set(item, "shards", json_integer(added.shards));
	set(item, "shards_moving", json_integer(added.shards_moving));
	set(item, "bytes_to_move", known ? json_integer((json_int_t)to_move) : json_null());
	set(item, "bytes_to_erase", known && ignored ? json_integer((json_int_t)erased) : json_null());
	set(item, "survives_before", survives_of(view->session->map, view->before, false, &ignored));
	set(item, "survives_after", survives_of(after, view->after, true, &sound));
	set(item, "quorums_intersect", json_boolean(sound));
	set(item, "leads_before", leads_of(view, false));
	set(item, "leads_after", leads_of(view, true));
	set(item, "latencies", latencies(view));
	return item;
}

static const struct map_binding *binding_in(const struct cluster_map *map, const struct change_binding *binding)
{
	return binding->exact ? map_binding_by_hash(map, binding->hash)
			      : map_binding_by_prefix(map, bytes_of(binding->prefix, binding->prefix_size));
}

/* The policies whose shards may hold keys that the binding takes away. */
static json_t *moves_from(const struct cluster_map *map, const struct map_operation *operation)
{
	json_t *list = json_array();

	for (unsigned i = 0; operation != NULL && i < operation->source_count; i++)
		json_array_append_new(list, json_string(policy_name_of(map, operation->sources[i])));
	return list;
}

static json_t *binding_plan(const struct session *session, const struct plan *plan, const struct change_binding *from)
{
	const struct map_binding *before = binding_in(session->map, from), *after = binding_in(plan->after, from);
	const struct map_operation *operation =
		after == NULL ? NULL : map_operation_find(plan->after, after->pending_operation);
	const char *name = before == NULL ? NULL : policy_name_of(session->map, before->policy);
	bool known = operation != NULL && before != NULL && before->pending_operation == after->pending_operation;
	bool same = name != NULL && strcmp(name, from->policy) == 0 && operation == NULL;
	json_t *item = json_object();
	char hash[40], *text = form_encode(FORM_ESCAPE, bytes_of(from->prefix, from->prefix_size));

	snprintf(hash, sizeof(hash), "%016llx%016llx", (unsigned long long)from->hash.high,
		(unsigned long long)from->hash.low);
	set(item, "prefix", from->exact ? json_null() : json_string(text));
	set(item, "exact_hash", from->exact ? json_string(hash) : json_null());
	set(item, "action",
		json_string(same || known	? "keep"
			    : operation != NULL ? "move"
			    : before == NULL	? "add"
						: "change"));
	set(item, "policy_before", name == NULL ? json_null() : json_string(name));
	set(item, "policy_after", json_string(from->policy));
	set(item, "moves_from", moves_from(plan->after, known ? NULL : operation));
	set(item, "shards_to_ask", json_integer(operation == NULL || known ? 0 : operation->steps));
	free(text);
	return item;
}

/* What no node could be found for, for each policy of the file; the file's line with it. */
static json_t *flaws_of(const struct session *session, const struct change *change)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < change->policy_count; i++) {
		struct flaw flaw = { 0 };
		json_t *item;

		if (policy_satisfiable(session->map, &change->policies[i], &flaw))
			continue;
		item = json_object();
		set(item, "policy", json_string(change->policies[i].name));
		set(item, "line", json_integer(change->policies[i].line));
		set(item, "reason", json_string(flaw.reason));
		set(item, "cure", json_string(flaw.cure));
		json_array_append_new(list, item);
	}
	return list;
}

static json_t *policy_plans(const struct session *session, const struct change *change, const struct plan *plan)
{
	static struct statuses statuses;
	static struct rtt_matrix matrix;
	struct session asked = *session;
	json_t *list = json_array();

	session_statuses(&asked, STATUS_TIMEOUT_MS, &statuses);
	statuses_rtt(&statuses, session->map, &matrix);
	for (uint32_t i = 0; i < change->policy_count; i++) {
		struct view view = { .session = session, .plan = plan, .statuses = &statuses, .matrix = &matrix };

		view.before = map_policy_by_name(session->map, change->policies[i].name);
		view.after = map_policy_by_name(plan->after, change->policies[i].name);
		json_array_append_new(list, policy_plan(&view));
	}
	statuses_free(&statuses);
	return list;
}

/* Of all policies together; null when one is not known. */
static json_t *total(const json_t *policies, const char *field)
{
	json_int_t sum = 0;
	const json_t *policy;
	size_t at;

	json_array_foreach(policies, at, policy)
	{
		const json_t *value = json_object_get(policy, field);

		if (!json_is_integer(value))
			return json_null();
		sum += json_integer_value(value);
	}
	return json_integer(sum);
}

json_t *plan_item(const struct session *session, const struct change *change, const struct plan *plan, const char *file)
{
	json_t *item = json_object(), *policies = json_array(), *bindings = json_array();
	char id[24];

	if (plan->after != NULL) {
		json_decref(policies);
		policies = policy_plans(session, change, plan);
	}
	for (uint32_t i = 0; plan->after != NULL && i < change->binding_count; i++)
		json_array_append_new(bindings, binding_plan(session, plan, &change->bindings[i]));
	snprintf(id, sizeof(id), "%016llx", (unsigned long long)plan->id);
	set(item, "id", plan->after == NULL ? json_null() : json_string(id));
	set(item, "file", json_string(file));
	set(item, "epoch", json_integer((json_int_t)session->map->epoch));
	set(item, "accepted", json_boolean(plan->after != NULL));
	set(item, "code", plan->code == NULL ? json_null() : json_string(plan->code));
	set(item, "refusal", plan->code == NULL ? json_null() : json_string(plan->refusal));
	set(item, "flaws", plan->after != NULL ? json_array() : flaws_of(session, change));
	set(item, "bytes_to_move", total(policies, "bytes_to_move"));
	set(item, "bytes_to_erase", total(policies, "bytes_to_erase"));
	set(item, "policies", policies);
	set(item, "bindings", bindings);
	return item;
}

/* --- for people ------------------------------------------------------------------------------------- */

static const char *size_text(const json_t *bytes, char out[32])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double size = (double)json_integer_value(bytes);
	unsigned unit = 0;

	for (; size >= 1024 && unit < 4; unit++)
		size /= 1024;
	if (!json_is_integer(bytes))
		snprintf(out, 32, "? bytes");
	else
		snprintf(out, 32, unit == 0 ? "%.0f %s" : "%.1f %s", size, units[unit]);
	return out;
}

static void print_copies(const json_t *policy)
{
	const json_t *copy;
	char size[32];
	size_t at;

	json_array_foreach(json_object_get(policy, "copies"), at, copy)
	{
		bool added = strcmp(field_text(copy, "action"), "add") == 0;
		unsigned long long shards = (unsigned long long)field_u64(copy, "shards");

		printf("    %s%s %-28s %llu shard%s, %s%s%s\n", paint(stdout, added ? PAINT_GOOD : PAINT_BAD),
			added ? "+ copy" : "- copy", field_text(copy, "label"), shards, shards == 1 ? "" : "s",
			size_text(json_object_get(copy, "bytes"), size), added ? "" : " erased",
			paint(stdout, PAINT_OFF));
	}
}

static void print_time(const json_t *region, const char *when, const char *field, const char *allowed)
{
	const json_t *estimate = json_object_get(region, when), *value = json_object_get(estimate, field);

	if (json_is_real(value))
		printf("%9.1f", json_real_value(value));
	else
		printf("%9s", !json_is_object(estimate)				 ? ""
			      : json_is_true(json_object_get(estimate, allowed)) ? "-"
										 : "refused");
}

static void print_leads(const json_t *policy)
{
	json_t *leads = json_object_get(policy, "leads_after"), *count;
	const char *region;

	printf("    led in      ");
	json_object_foreach(leads, region, count)
	{
		printf(" %s %lld", region, (long long)json_integer_value(count));
	}
	printf("\n");
}

static void print_latencies(const json_t *policy)
{
	const json_t *region;
	size_t at;

	json_array_foreach(json_object_get(policy, "latencies"), at, region)
	{
		if (at == 0)
			printf("    %-20s %9s%9s%9s   %9s%9s%9s\n", "ms from", "write", "then", "floor", "read", "then",
				"floor");
		printf("      %-18s ", field_text(region, "region"));
		print_time(region, "before", "write_ms", "may_write");
		print_time(region, "after", "write_ms", "may_write");
		print_time(region, "after", "write_floor_ms", "may_write");
		printf("   ");
		print_time(region, "before", "read_ms", "may_read");
		print_time(region, "after", "read_ms", "may_read");
		print_time(region, "after", "read_floor_ms", "may_read");
		printf("\n");
	}
}

static void print_policy(const json_t *policy)
{
	const char *action = field_text(policy, "action");
	const char *before = field_text(policy, "survives_before"), *after = field_text(policy, "survives_after");
	char size[32];

	if (strcmp(action, "keep") == 0) {
		printf("= policy %s: unchanged\n", field_text(policy, "name"));
		return;
	}
	printf("%s policy %s%s%s\n", strcmp(action, "add") == 0 ? "+" : "~", paint(stdout, PAINT_HEAD),
		field_text(policy, "name"), paint(stdout, PAINT_OFF));
	if (strcmp(action, "add") == 0)
		printf("    %s\n", field_text(policy, "rules_after"));
	else
		print_differences(json_object_get(policy, "differences"));
	print_copies(policy);
	printf("    to move      %s, %llu of %llu shards\n", size_text(json_object_get(policy, "bytes_to_move"), size),
		(unsigned long long)field_u64(policy, "shards_moving"),
		(unsigned long long)field_u64(policy, "shards"));
	printf("    survives     the loss of %s%s%s%s   quorums %s\n", strcmp(after, "none") == 0 ? "" : "a ", after,
		before[0] == '\0' ? "" : ", now of ", before,
		json_is_true(json_object_get(policy, "quorums_intersect")) ? "intersect" : "DO NOT INTERSECT");
	print_leads(policy);
	print_latencies(policy);
}

static void print_binding(const json_t *binding)
{
	const char *action = field_text(binding, "action"), *before = field_text(binding, "policy_before");
	bool exact = json_is_string(json_object_get(binding, "exact_hash"));

	printf("%s binding %s%s%s -> %s%s%s%s",
		strcmp(action, "keep") == 0 ? "="
		: before[0] == '\0'	    ? "+"
					    : "~",
		exact ? "of one key" : "\"", exact ? "" : field_text(binding, "prefix"), exact ? "" : "\"",
		field_text(binding, "policy_after"), before[0] == '\0' ? "" : ", now ", before,
		strcmp(action, "keep") == 0 ? ": unchanged" : "");
	if (strcmp(action, "move") == 0) {
		const json_t *from = json_object_get(binding, "moves_from");

		printf(": takes its keys along from");
		for (size_t i = 0; i < json_array_size(from); i++)
			printf("%s %s", i > 0 ? "," : "", json_string_value(json_array_get(from, i)));
		printf(" (%llu shards are asked)", (unsigned long long)field_u64(binding, "shards_to_ask"));
	}
	printf("\n");
}

void plan_print(const json_t *item)
{
	const json_t *one;
	char size[32];
	size_t at;

	if (!json_is_true(json_object_get(item, "accepted"))) {
		json_array_foreach(json_object_get(item, "flaws"), at, one) printf("%s:%llu: policy %s: %s; %s\n",
			field_text(item, "file"), (unsigned long long)field_u64(one, "line"), field_text(one, "policy"),
			field_text(one, "reason"), field_text(one, "cure"));
		return;
	}
	json_array_foreach(json_object_get(item, "policies"), at, one) print_policy(one);
	json_array_foreach(json_object_get(item, "bindings"), at, one) print_binding(one);
	printf("to move in all: %s", size_text(json_object_get(item, "bytes_to_move"), size));
	printf("; to erase: %s\n", size_text(json_object_get(item, "bytes_to_erase"), size));
	printf("plan %s at epoch %llu. To do just this:\n    domctl policy apply %s --plan %s\n",
		field_text(item, "id"), (unsigned long long)field_u64(item, "epoch"), field_text(item, "file"),
		field_text(item, "id"));
}
