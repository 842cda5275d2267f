/* tools/cmd_status.c: domctl status and cluster show, wait, init. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "tools/change_region.h"
#include "tools/errors.h"
#include "tools/health.h"
#include "tools/output.h"

enum { STATUS_TIMEOUT_MS = 3000, WAIT_STEP_MS = 200, WAIT_DEFAULT_MS = 60000, DAYS_SOON = 30 };

static void print_verdict(const struct session *session, const struct health *health)
{
	enum paint color = health->verdict == VERDICT_WELL	 ? PAINT_GOOD
			   : health->verdict == VERDICT_DEGRADED ? PAINT_WARN
								 : PAINT_BAD;

	printf("%s%s %s%s   %u of %u nodes, %u of %u shards led%s%s\n", paint(stdout, color), session->map->name,
		verdict_word(health->verdict), paint(stdout, PAINT_OFF), health->alive, health->nodes, health->led,
		health->shards, health->problem[0] == '\0' ? "" : "   ! ", health->problem);
}

/* Of nodes that answer. Their verdict stays: nothing is wrong yet. */
static void warn_of_certificates(const json_t *item)
{
	const json_t *node;
	size_t at;

	json_array_foreach(json_object_get(item, "nodes"), at, node)
	{
		const json_t *left = json_object_get(node, "certificate_days_left");
		long long days = (long long)json_integer_value(left);

		if (!json_is_integer(left) || days >= DAYS_SOON)
			continue;
		printf("%scertificate%s %s's has %lld day%s left: make a new one and send its node SIGHUP\n",
			paint(stdout, PAINT_WARN), paint(stdout, PAINT_OFF), field_text(node, "label"), days,
			days == 1 ? "" : "s");
	}
}

static void print_status(const struct session *session, const struct health *health, const json_t *item, bool details)
{
	static const struct column regions[] = { { .title = "REGION", .field = "region" },
		{ .title = "NODES", .field = "nodes", .right = true },
		{ .title = "ALIVE", .field = "alive", .right = true },
		{ .title = "SHARDS", .field = "shards", .right = true },
		{ .title = "LEADERS", .field = "leaders", .right = true },
		{ .title = "UNDER-COPIED", .field = "under_copied", .right = true }, { 0 } };
	static const struct column nodes[] = { { .title = "NODE", .field = "node", .right = true },
		{ .title = "PLACE", .field = "place" }, { .title = "ANSWERS", .field = "answers" },
		{ .title = "REPLICAS", .field = "replicas", .right = true },
		{ .title = "EPOCH", .field = "map_epoch", .right = true },
		{ .title = "REFUSED", .field = "residency.refused_total", .right = true },
		{ .title = "VIOLATIONS", .field = "residency.violation_total", .right = true },
		{ .title = "CERT DAYS", .field = "certificate_days_left", .right = true },
		{ .title = "WHY", .field = "why" }, { 0 } };
	const json_t *worst = json_object_get(item, "worst_rtt");

	printf("\n");
	output_table(stdout, json_object_get(item, "regions"), regions, false);
	printf("\nmeta        leader %s, %u of %u voters alive, epoch %llu, %u operation%s running\n",
		field_text(item, "meta_leader")[0] == '\0' ? "none" : field_text(item, "meta_leader"),
		health->meta_voters_alive, health->meta_voters_wanted, (unsigned long long)session->map->epoch,
		health->operations, health->operations == 1 ? "" : "s");
	if (json_is_object(worst)) {
		printf("worst rtt   %s - %s %.1f ms", field_text(worst, "from"), field_text(worst, "to"),
			json_number_value(json_object_get(worst, "rtt_ms")));
		if (json_is_real(json_object_get(worst, "floor_ms"))) {
			double ratio = json_number_value(json_object_get(worst, "rtt_ms")) /
				       json_number_value(json_object_get(worst, "floor_ms"));

			if (ratio < 1)
				printf(", less than light in fibre takes: one of them is not where its coordinates "
				       "are");
			else
				printf(", %.2f x the floor of light in fibre", ratio);
		}
		printf("\n");
	}
	printf("residency   %llu violation%s, %llu request%s refused by rule\n",
		(unsigned long long)health->violation_total, health->violation_total == 1 ? "" : "s",
		(unsigned long long)health->refused_total, health->refused_total == 1 ? "" : "s");
	if (health->purges_pending > 0 || health->erasures_late > 0)
		printf("erasure     %llu replica%s to be purged, %llu late\n",
			(unsigned long long)health->purges_pending, health->purges_pending == 1 ? "" : "s",
			(unsigned long long)health->erasures_late);
	warn_of_certificates(item);
	if (details) {
		printf("\n");
		output_table(stdout, json_object_get(item, "nodes"), nodes, false);
	}
}

static int show_health(const struct session *session, const struct statuses *statuses, const char *depth)
{
	static struct health health;
	json_t *items = json_array(), *item;

	health_of(session->map, statuses, &health);
	item = health_item(session, statuses, &health);
	json_array_append_new(items, item);
	if (!output_machine(session->invocation, "Status", session_cluster(session), items, "verdict")) {
		print_verdict(session, &health);
		if (depth == NULL || strcmp(depth, "minimal") != 0)
			print_status(session, &health, item,
				session->invocation->output == OUTPUT_WIDE ||
					(depth != NULL && strcmp(depth, "details") == 0));
	}
	json_decref(items);
	return verdict_exit(health.verdict);
}

int run_status(const struct invocation *invocation)
{
	static struct statuses statuses;
	const char *depth = invocation->argument_count > 0 ? invocation->arguments[0] : NULL;
	struct session session;
	int code;

	if (depth != NULL && strcmp(depth, "minimal") != 0 && strcmp(depth, "details") != 0)
		return fail(
			invocation, "DOM-U004", "status takes minimal or details", NULL, "it was given '%s'", depth);
	code = session_open_with_map(&session, invocation, AS_READER);
	if (code == EXIT_OK) {
		session_statuses(&session,
			invocation->timeout_ms < STATUS_TIMEOUT_MS ? invocation->timeout_ms : STATUS_TIMEOUT_MS,
			&statuses);
		code = show_health(&session, &statuses, depth);
		statuses_free(&statuses);
	} else if (code == EXIT_CONNECT) {
		code = EXIT_QUORUM; /* nobody answers: unavailable, as far as one can see from here */
	}
	session_close(&session);
	return code;
}

int run_cluster_wait(const struct invocation *invocation)
{
	static struct statuses statuses;
	static struct health health;
	const char *until = flag_text(invocation, "until");
	bool settled = until != NULL && strcmp(until, "settled") == 0, reached = false;
	uint32_t timeout_ms = flag_given(invocation, "timeout") ? invocation->timeout_ms : WAIT_DEFAULT_MS;
	uint64_t end_ns = clock_boot_ns() + (uint64_t)timeout_ms * 1000000;
	struct session session;
	int code = session_open_with_map(&session, invocation, AS_READER);

	while (code == EXIT_OK && !reached) {
		session_statuses(&session, STATUS_TIMEOUT_MS, &statuses);
		health_of(session.map, &statuses, &health);
		reached = health.verdict == VERDICT_WELL && (!settled || health.operations == 0);
		if (!reached && clock_boot_ns() >= end_ns) {
			code = fail(invocation, "DOM-Q003", "the cluster is not as wanted yet",
				"`domctl status details`", "%s",
				health.problem[0] == '\0' ? "operations are running" : health.problem);
		} else if (!reached) {
			statuses_free(&statuses);
			usleep(WAIT_STEP_MS * 1000);
			code = session_refresh(&session);
		}
	}
	if (reached)
		code = show_health(&session, &statuses, "minimal");
	statuses_free(&statuses);
	session_close(&session);
	return code;
}

/* --- cluster init, show ------------------------------------------------------------------------------ */

static json_t *cluster_item(const struct cluster_map *map)
{
	json_t *item = json_object();
	char id[40];

	for (unsigned i = 0; i < 16; i++)
		snprintf(id + 2 * i, 3, "%02x", map->cluster[i]);
	set(item, "name", json_string(map->name));
	set(item, "id", json_string(id));
	set(item, "epoch", json_integer((json_int_t)map->epoch));
	set(item, "regions", json_integer(map->region_count));
	set(item, "nodes", json_integer(map->node_count));
	set(item, "policies", json_integer(map->policy_count));
	set(item, "bindings", json_integer(map->binding_count));
	set(item, "shards", json_integer(map->shard_count));
	return item;
}

static const struct column cluster_columns[] = { { .title = "NAME", .field = "name" }, { .title = "ID", .field = "id" },
	{ .title = "EPOCH", .field = "epoch", .right = true },
	{ .title = "REGIONS", .field = "regions", .right = true },
	{ .title = "NODES", .field = "nodes", .right = true },
	{ .title = "POLICIES", .field = "policies", .right = true },
	{ .title = "BINDINGS", .field = "bindings", .right = true },
	{ .title = "SHARDS", .field = "shards", .right = true }, { 0 } };

static int show_cluster(struct session *session)
{
	json_t *items = json_array();

	json_array_append_new(items, cluster_item(session->map));
	return output_items(session->invocation, "Cluster", session_cluster(session), items, cluster_columns, "name");
}

int run_cluster_show(const struct invocation *invocation)
{
	struct session session;
	int code = session_open_with_map(&session, invocation, AS_READER);

	if (code == EXIT_OK)
		code = show_cluster(&session);
	session_close(&session);
	return code;
}

int cluster_init_send(struct session *session, struct change *change)
{
	static uint8_t body[CERTIFICATE_SIZE_MAX + 8192];
	struct packer packer;
	dom_call *call;
	int code = EXIT_OK;

	pack_init(&packer, body, sizeof(body));
	change_encode(change, &packer);
	if (packer.overflow)
		return fail(session->invocation, "DOM-X001", "the change does not fit", NULL, NULL);
	call = client_admin(
		session->client, ADMIN_ANY_NODE, "cluster.init", pack_result(&packer), session->invocation->timeout_ms);
	if (call == NULL)
		return fail(session->invocation, "DOM-X001", "out of memory", NULL, NULL);
	if (dom_call_wait(call) != DOM_OK)
		code = fail(session->invocation, error_code_of(dom_call_status(call), true), "the cluster is not begun",
			NULL, "%s", dom_call_message(call));
	dom_call_free(call);
	return code;
}

int run_cluster_init(const struct invocation *invocation)
{
	static struct change change;
	const char *name = flag_text(invocation, "name");
	struct session session;
	int code;

	if (name == NULL || strlen(name) >= sizeof(change.name) || flag_text(invocation, "region") == NULL)
		return fail(invocation, "DOM-U003", "name and region are needed",
			"give --name NAME --region PLACE --ca FILE", NULL);
	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_INIT;
	snprintf(change.name, sizeof(change.name), "%s", name);
	code = change_region_fill(invocation, flag_text(invocation, "region"), &change.region);
	if (code != EXIT_OK)
		return code;
	if (invocation->dry_run) {
		printf("would begin cluster %s at region %s; nothing was sent\n", name, change.region.name);
		return EXIT_OK;
	}
	code = session_open(&session, invocation, AS_ADMIN);
	if (code == EXIT_OK)
		code = cluster_init_send(&session, &change);
	if (code == EXIT_OK)
		code = session_refresh(&session);
	if (code == EXIT_OK)
		code = show_cluster(&session);
	session_close(&session);
	return code;
}
