/* tools/cmd_rebalance.c: domctl shard rebalance. */
#include <stdio.h>
#include <string.h>

#include "tools/errors.h"
#include "tools/plan.h"
#include "tools/shards.h"

static json_t *move_item(const struct session *session, const struct map_shard *shard, const struct map_replica *from,
	const struct map_replica *to)
{
	json_t *item = json_object();
	char label[PLACE_TEXT_MAX];

	set(item, "shard", json_id(shard->id));
	set(item, "policy", json_string(policy_name_of(session->map, shard->policy)));
	set(item, "duty", json_string(duty_name(from->role, false)));
	node_label(session->map, from->node, label);
	set(item, "from", json_string(label));
	node_label(session->map, to->node, label);
	set(item, "to", json_string(label));
	return item;
}

/* The next replica of this role from `at` on that the other one does not have; NULL. */
static const struct map_replica *next_gone(
	const struct map_shard *shard, const struct map_shard *other, bool witness, unsigned *at)
{
	while (*at < shard->wanted_count) {
		const struct map_replica *replica = &shard->wanted[(*at)++];

		if ((replica->role == ROLE_WITNESS) == witness &&
			map_replica_on(other->wanted, other->wanted_count, replica->node) == NULL)
			return replica;
	}
	return NULL;
}

/* Where a shard is wanted now, and where it would be. */
static json_t *moves_between(const struct session *session, const struct cluster_map *after)
{
	json_t *items = json_array();

	for (uint32_t i = 0; i < session->map->shard_count; i++) {
		const struct map_shard *before = &session->map->shards[i];
		const struct map_shard *then = map_shard_find(after, before->id);

		for (unsigned witness = 0; then != NULL && witness < 2; witness++) {
			unsigned at = 0, at_then = 0;
			const struct map_replica *from, *to;

			while ((from = next_gone(before, then, witness == 1, &at)) != NULL &&
				(to = next_gone(then, before, witness == 1, &at_then)) != NULL)
				json_array_append_new(items, move_item(session, before, from, to));
		}
	}
	return items;
}

static void print_moves(const struct invocation *invocation, const json_t *moves)
{
	static const struct column columns[] = { { .title = "SHARD", .field = "shard", .right = true },
		{ .title = "POLICY", .field = "policy" }, { .title = "ROLE", .field = "duty" },
		{ .title = "FROM", .field = "from" }, { .title = "TO", .field = "to" }, { 0 } };

	if (json_array_size(moves) == 0) {
		printf("shard rebalance: no replica would move; nothing was changed\n");
		return;
	}
	output_table(stdout, moves, columns, invocation->output == OUTPUT_WIDE);
	printf("shard rebalance: %zu would move; nothing was changed\n", json_array_size(moves));
}

static int show_moves(struct session *session, struct change *change)
{
	const struct invocation *invocation = session->invocation;
	json_t *items = json_array(), *item = json_object(), *moves = NULL;
	struct plan plan;
	int code = plan_ask(session, change, &plan);

	if (code == EXIT_OK && plan.code != NULL)
		code = fail(invocation, plan.code, "nothing is moved", NULL, "%s", plan.refusal);
	if (code == EXIT_OK) {
		moves = moves_between(session, plan.after);
		set(item, "what", json_string("shard rebalance"));
		set(item, "dry_run", json_true());
		set(item, "epoch", json_integer((json_int_t)session->map->epoch));
		set(item, "operation", json_null());
		set(item, "moves", json_incref(moves));
		json_array_append(items, item);
		if (!output_machine(invocation, "ChangeResult", session_cluster(session), items, "shard"))
			print_moves(invocation, moves);
	}
	plan_free(&plan);
	json_decref(moves);
	json_decref(item);
	json_decref(items);
	return code;
}

int run_shard_rebalance(const struct invocation *invocation)
{
	static struct change change;
	struct change_answer answer;
	struct session session;
	int code = session_open_with_map(&session, invocation, AS_ADMIN);

	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_REBALANCE;
	if (code == EXIT_OK && invocation->dry_run) {
		code = show_moves(&session, &change);
	} else if (code == EXIT_OK) {
		code = session_change(&session, &change, "nothing is moved", &answer);
		if (code == EXIT_OK)
			code = session_report_change(&session,
				answer.id == 0 ? "shard rebalance: no replica has to move" : "shard rebalance",
				&answer);
	}
	session_close(&session);
	return code;
}
