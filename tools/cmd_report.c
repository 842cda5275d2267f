/* tools/cmd_report.c: domctl report residency: for each policy, where its copies were and are, by the nodes' own
 * ledgers, judged on the way; for people who read no ledgers. As a table, JSON, or a page of HTML that needs nothing
 * else. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/units.h"
#include "tools/cmd_audit.h"
#include "tools/errors.h"
#include "tools/output.h"
#include "tools/stays.h"

enum { RULES_TEXT_MAX = 4096 };

/* --- rows: one policy on one node -------------------------------------------------------------------- */

struct collecting {
	struct stays stays;
	struct traffic { /* snapshots, by replica */
		uint64_t shard, replica;
		bool sent;
	} * traffic;
	size_t traffic_count, traffic_capacity;
};

static void collect(void *arg, const struct chain *chain, const struct ledger_record *record, struct bytes encoded,
	const struct ledger_position *behind)
{
	struct collecting *collecting = arg;

	(void)chain;
	(void)encoded;
	(void)behind;
	stays_take(&collecting->stays, record);
	if (record->kind != LEDGER_SNAPSHOT_SENT && record->kind != LEDGER_SNAPSHOT_TAKEN)
		return;
	if (collecting->traffic_count == collecting->traffic_capacity) {
		size_t capacity = collecting->traffic_capacity == 0 ? 256 : 2 * collecting->traffic_capacity;
		struct traffic *grown = realloc(collecting->traffic, capacity * sizeof(*grown));

		if (grown == NULL)
			abort();
		collecting->traffic = grown;
		collecting->traffic_capacity = capacity;
	}
	collecting->traffic[collecting->traffic_count++] =
		(struct traffic){ record->shard, record->replica, record->kind == LEDGER_SNAPSHOT_SENT };
}

static uint64_t snapshots_of(const struct collecting *collecting, uint64_t policy, bool sent)
{
	uint64_t count = 0;

	for (size_t i = 0; i < collecting->traffic_count; i++) {
		const struct traffic *traffic = &collecting->traffic[i];
		const struct stay *stay = stays_find(&collecting->stays, traffic->shard, traffic->replica);

		count += traffic->sent == sent && stay != NULL && stay->policy == policy;
	}
	return count;
}

static json_t *policy_row(
	const struct chain *chain, const struct audit_policy *policy, const struct collecting *collecting)
{
	uint64_t from = 0, until = 0, ever = 0, now = 0, to_purge = 0, purged = 0, longest_us = 0;
	const struct audit_replica *replicas;
	uint32_t count, to_leave = 0;
	json_t *row;

	for (size_t i = 0; i < collecting->stays.count; i++) {
		const struct stay *stay = &collecting->stays.at[i];

		if (stay->policy != policy->id || stay->witness)
			continue;
		ever++;
		now += stay->removed_us == 0;
		to_purge += stay->removed_us != 0 && stay->purged_us == 0;
		purged += stay->purged_us != 0;
		if (stay->purged_us > stay->removed_us && stay->purged_us - stay->removed_us > longest_us)
			longest_us = stay->purged_us - stay->removed_us;
		if (from == 0 || stay->created_us < from)
			from = stay->created_us;
		if (stay->removed_us > until)
			until = stay->removed_us;
	}
	if (ever == 0)
		return NULL;
	replicas = audit_replicas(chain->audit, &count);
	for (uint32_t i = 0; i < count; i++)
		to_leave += replicas[i].policy == policy->id && replicas[i].removed_us == 0 && !replicas[i].witness &&
			    replicas[i].forbidden_us != 0;
	row = json_object();
	set(row, "policy", json_string(policy->rules.name));
	set(row, "place", json_string(chain->place.text));
	set(row, "copies", json_integer((json_int_t)now));
	set(row, "copies_ever", json_integer((json_int_t)ever));
	set(row, "to_leave", json_integer(to_leave));
	set(row, "to_purge", json_integer((json_int_t)to_purge));
	set(row, "purged", json_integer((json_int_t)purged));
	set(row, "longest_purge_ms", json_integer((json_int_t)(longest_us / 1000)));
	set(row, "erase_within_s", json_integer((json_int_t)policy->rules.erase_within_s));
	set(row, "late", json_integer((json_int_t)policy->late));
	set(row, "from", json_time_us(from));
	set(row, "until", json_time_us(now > 0 ? 0 : until));
	set(row, "snapshots_in", json_integer((json_int_t)snapshots_of(collecting, policy->id, false)));
	set(row, "snapshots_out", json_integer((json_int_t)snapshots_of(collecting, policy->id, true)));
	return row;
}

static void node_rows(const struct chain *chain, json_t *rows)
{
	struct collecting collecting = { .traffic = NULL };
	uint32_t count;
	const struct audit_policy *policies = audit_policies(chain->audit, &count);

	chain_records(chain, collect, &collecting);
	for (uint32_t i = 0; i < count; i++) {
		json_t *row = policy_row(chain, &policies[i], &collecting);

		if (row != NULL)
			json_array_append_new(rows, row);
	}
	stays_free(&collecting.stays);
	free(collecting.traffic);
}

/* The newest that any node has recorded of a policy of this name. */
static const struct audit_policy *newest(const struct auditing *auditing, const char *name)
{
	const struct audit_policy *found = NULL;

	for (uint32_t i = 0; i < auditing->count; i++) {
		uint32_t count = 0;
		const struct audit_policy *policies =
			auditing->at[i].read ? audit_policies(auditing->at[i].chain.audit, &count) : NULL;

		for (uint32_t p = 0; p < count; p++) {
			if (strcmp(policies[p].rules.name, name) == 0 &&
				(found == NULL || policies[p].epoch > found->epoch))
				found = &policies[p];
		}
	}
	return found;
}

/* --- a page ------------------------------------------------------------------------------------------ */

static void html(FILE *out, const char *text)
{
	for (; *text != '\0'; text++) {
		switch (*text) {
		case '<':
			fputs("&lt;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		case '&':
			fputs("&amp;", out);
			break;
		case '"':
			fputs("&quot;", out);
			break;
		default:
			fputc(*text, out);
		}
	}
}

static void cell(FILE *out, const json_t *row, const char *field)
{
	const json_t *value = json_object_get(row, field);

	fputs("<td>", out);
	if (json_is_integer(value))
		fprintf(out, "%lld", (long long)json_integer_value(value));
	else
		html(out, json_is_string(value) ? json_string_value(value) : "");
	fputs("</td>", out);
}

static void page_policy(FILE *out, const struct auditing *auditing, const json_t *rows, const char *name)
{
	static const char *const fields[] = { "place", "copies", "copies_ever", "to_leave", "to_purge", "purged",
		"longest_purge_ms", "late", "from", "until", "snapshots_in", "snapshots_out", NULL };
	const struct audit_policy *policy = newest(auditing, name);
	static char rules[RULES_TEXT_MAX];
	const json_t *row;
	struct text text;
	size_t at;

	text_init(&text, rules, sizeof(rules));
	if (policy != NULL)
		policy_describe(&policy->rules, &text);
	fputs("<h2>", out);
	html(out, name);
	fputs("</h2><p>", out);
	html(out, rules);
	if (policy != NULL) {
		char within[UNITS_TEXT_MAX];

		fprintf(out,
			"</p><p>Bytes that are no copy any more are to be gone within %s; late: how many times a "
			"node's ledger says that they were not.",
			format_duration(within, sizeof(within), (uint64_t)policy->rules.erase_within_s * 1000000));
	}
	fputs("</p><table><tr><th>node<th>copies now<th>ever<th>to leave<th>to purge<th>purged<th>longest, ms<th>late"
	      "<th>from<th>until<th>snapshots in<th>out</tr>\n",
		out);
	json_array_foreach(rows, at, row)
	{
		if (strcmp(field_text(row, "policy"), name) != 0)
			continue;
		fputs("<tr>", out);
		for (unsigned i = 0; fields[i] != NULL; i++)
			cell(out, row, fields[i]);
		fputs("</tr>\n", out);
	}
	fputs("</table>\n", out);
}

static void page_nodes(FILE *out, const struct auditing *auditing)
{
	fputs("<h2>Ledgers</h2><table><tr><th>node<th>records<th>signed up to<th>findings</tr>\n", out);
	for (uint32_t i = 0; i < auditing->count; i++) {
		const struct audited *audited = &auditing->at[i];
		const json_t *finding;
		size_t at;

		fputs("<tr><td>", out);
		html(out, audited->chain.place.text);
		fprintf(out, "</td><td>%llu</td><td>%llu</td><td>", (unsigned long long)audited->chain.at.sequence,
			(unsigned long long)(audited->head == NULL ? 0 : audited->head->head.at.sequence));
		if (!audited->read)
			fputs(audited->gone_us != 0 ? "not read: decommissioned" : "not read", out);
		json_array_foreach(audited->chain.findings, at, finding)
		{
			fputs(at == 0 ? "" : "<br>", out);
			html(out, field_text(finding, "what"));
		}
		fputs("</td></tr>\n", out);
	}
	fputs("</table>\n", out);
}

static bool write_page(const char *path, const struct auditing *auditing, const json_t *rows)
{
	FILE *out = fopen(path, "we");
	json_t *now = json_time_us(clock_wall_us());
	const json_t *row, *before;
	size_t at, earlier;

	if (out == NULL) {
		json_decref(now);
		return false;
	}
	fputs("<!doctype html><meta charset=\"utf-8\"><title>Residency</title><style>body{font:15px/1.5 sans-serif;"
	      "max-width:72em;margin:2em auto}table{border-collapse:collapse}th,td{text-align:left;padding:.2em .8em;"
	      "border-bottom:1px solid #ccc}</style>\n<h1>Residency</h1><p>Cluster ",
		out);
	html(out, auditing->online ? session_cluster(&auditing->session) : "(by files)");
	fputs(", ", out);
	html(out, json_string_value(now));
	fputs(". By the nodes' own ledgers; times are the nodes' clocks. A ledger proves that nobody changed it since, "
	      "and who signed it; not that a machine stands where its certificate says.</p>\n",
		out);
	json_array_foreach(rows, at, row)
	{
		bool first = true;

		json_array_foreach(rows, earlier, before)
		{
			if (earlier >= at)
				break;
			first = first && strcmp(field_text(before, "policy"), field_text(row, "policy")) != 0;
		}
		if (first)
			page_policy(out, auditing, rows, field_text(row, "policy"));
	}
	page_nodes(out, auditing);
	json_decref(now);
	bool written = !ferror(out);
	return fclose(out) == 0 && written;
}

int run_report_residency(const struct invocation *invocation)
{
	static const struct column columns[] = { { .title = "POLICY", .field = "policy" },
		{ .title = "PLACE", .field = "place" }, { .title = "COPIES", .field = "copies", .right = true },
		{ .title = "EVER", .field = "copies_ever", .right = true },
		{ .title = "TO LEAVE", .field = "to_leave", .right = true },
		{ .title = "TO PURGE", .field = "to_purge", .right = true },
		{ .title = "LATE", .field = "late", .right = true },
		{ .title = "PURGED", .field = "purged", .right = true, .wide = true },
		{ .title = "LONGEST MS", .field = "longest_purge_ms", .right = true, .wide = true },
		{ .title = "ERASE WITHIN S", .field = "erase_within_s", .right = true, .wide = true },
		{ .title = "FROM", .field = "from" }, { .title = "UNTIL", .field = "until" },
		{ .title = "SNAPSHOTS IN", .field = "snapshots_in", .right = true, .wide = true },
		{ .title = "OUT", .field = "snapshots_out", .right = true, .wide = true }, { 0 } };
	static struct auditing auditing;
	const char *path = flag_text(invocation, "file");
	json_t *rows = json_array();
	int code = auditing_begin(invocation, &auditing, AUDIT_FILES_OR_CLUSTER);

	for (uint32_t i = 0; i < auditing.count && code == EXIT_OK; i++) {
		if (auditing.at[i].read)
			node_rows(&auditing.at[i].chain, rows);
	}
	if (code == EXIT_OK && path != NULL && !write_page(path, &auditing, rows))
		code = fail(invocation, "DOM-D003", "the report cannot be written", NULL, "%s", path);
	else if (code == EXIT_OK && path == NULL)
		code = output_items(invocation, "ResidencyReport",
			auditing.online ? session_cluster(&auditing.session) : NULL, json_incref(rows), columns,
			"place");
	if (code == EXIT_OK)
		code = auditing_verdict(invocation, &auditing);
	json_decref(rows);
	auditing_end(&auditing);
	return code;
}
