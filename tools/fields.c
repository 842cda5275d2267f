/* tools/fields.c: see tools/fields.h. */
#include "tools/fields.h"

#include <string.h>

#include "base/units.h"
#include "tools/output.h"

static void write_selectors(const struct selectors *selectors, struct text *text)
{
	text_add(text, "[");
	for (unsigned i = 0; i < selectors->count; i++) {
		bool quoted = strpbrk(selectors->at[i].text, "*=") != NULL;

		text_add(text, i == 0 ? "" : ", ");
		text_add(text, quoted ? "\"" : "");
		text_add(text, selectors->at[i].text);
		text_add(text, quoted ? "\"" : "");
	}
	text_add(text, "]");
}

static void write_store_in(const struct policy *policy, struct text *text)
{
	write_selectors(&policy->store_in, text);
}

static void write_never_in(const struct policy *policy, struct text *text)
{
	write_selectors(&policy->never_in, text);
}

static void write_copies(const struct policy *policy, struct text *text)
{
	text_add_u64(text, policy->copies);
}

static void write_spread(const struct policy *policy, struct text *text)
{
	text_add(text, spread_name(policy->spread));
}

static void write_copy_in(const struct policy *policy, struct text *text)
{
	text_add(text, "{");
	for (unsigned i = 0; i < policy->copy_in_count; i++) {
		text_add(text, i == 0 ? " " : ", ");
		text_add(text, policy->copy_in[i].in.text);
		text_add(text, ": ");
		text_add_u64(text, policy->copy_in[i].copies);
	}
	text_add(text, policy->copy_in_count == 0 ? "}" : " }");
}

static void write_survive(const struct policy *policy, struct text *text)
{
	text_add(text, survive_name(policy->survive));
}

static void write_witness_in(const struct policy *policy, struct text *text)
{
	write_selectors(&policy->witness_in, text);
}

static void write_ack(const struct policy *policy, struct text *text)
{
	if (policy->ack == ACK_MAJORITY) {
		text_add(text, "majority");
		return;
	}
	text_add(text, policy->ack == ACK_COPIES    ? "{ copies: "
		       : policy->ack == ACK_REGIONS ? "{ regions: "
						    : "{ all_of: ");
	if (policy->ack == ACK_ALL_OF)
		write_selectors(&policy->ack_areas, text);
	else
		text_add_u64(text, policy->ack_count);
	text_add(text, " }");
}

static void write_reads(const struct policy *policy, struct text *text)
{
	text_add(text, policy->reads == READS_LOCAL ? "local" : "leader");
}

static void write_lead_in(const struct policy *policy, struct text *text)
{
	write_selectors(&policy->lead_in, text);
}

static void write_follow(const struct policy *policy, struct text *text)
{
	text_add(text, policy->follow ? "true" : "false");
}

static void write_read_from(const struct policy *policy, struct text *text)
{
	write_selectors(&policy->read_from, text);
}

static void write_write_from(const struct policy *policy, struct text *text)
{
	write_selectors(&policy->write_from, text);
}

static void write_transit(const struct policy *policy, struct text *text)
{
	text_add(text, policy->transit == TRANSIT_ANY ? "any" : "stay");
}

static void write_isolated(const struct policy *policy, struct text *text)
{
	char stale[UNITS_TEXT_MAX];

	if (policy->isolated_stale_ms == 0) {
		text_add(text, "refuse");
		return;
	}
	text_add(text, "{ stale: ");
	text_add(text, format_duration(stale, sizeof(stale), (uint64_t)policy->isolated_stale_ms * 1000));
	text_add(text, " }");
}

static void write_erase_within(const struct policy *policy, struct text *text)
{
	char within[UNITS_TEXT_MAX];

	text_add(text, format_duration(within, sizeof(within), (uint64_t)policy->erase_within_s * 1000000));
}

const struct policy_field_entry policy_fields[] = {
	{ "store_in", "selectors, at least one", "must be given",
		"The only places where bytes may rest: copies, logs, snapshots. A selector is a place (eu, eu/de), a "
		"tag of a region (cloud=aws), or \"*\".",
		"store_in: [eu]", write_store_in },
	{ "never_in", "selectors", "none", "Bytes never rest here; wins over store_in.", "never_in: [\"cloud=x-corp\"]",
		write_never_in },
	{ "copies", "1 to 7", "3", "How many copies, exactly.", "copies: 5", write_copies },
	{ "spread", "node, zone, region", "node", "No two copies in one of these.", "spread: region", write_spread },
	{ "copy_in", "map of up to 8 selectors to numbers", "none", "At least so many of the copies there.",
		"copy_in: { eu/de: 1 }", write_copy_in },
	{ "survive", "node, zone, region", "the spread, if copies and ack can carry it; else nothing",
		"Any one of these may be lost, and writes go on and nothing acknowledged is lost.", "survive: region",
		write_survive },
	{ "witness_in", "selectors", "none",
		"Two copies in two regions, and in a third one, here, a voter that holds no data.",
		"witness_in: [eu/se]", write_witness_in },
	{ "ack", "majority, { copies: N }, { regions: N }, { all_of: [..] }", "majority",
		"Who must hold a write durably before it is acknowledged. Fewer copies make writes faster and "
		"elections more demanding.",
		"ack: { regions: 2 }", write_ack },
	{ "reads", "leader, local", "leader",
		"Who answers strong reads alone: the leader, which other copies ask first; or every copy, for which "
		"every write then waits.",
		"reads: local", write_reads },
	{ "lead_in", "selectors, in this order", "any copy",
		"Where the leader is meant to be; one copy at least must be in such a place.",
		"lead_in: [eu/de, eu/ie]", write_lead_in },
	{ "follow", "false, true", "false", "The leader goes where the writers are, inside lead_in.", "follow: true",
		write_follow },
	{ "read_from", "selectors", "store_in", "Places of clients that may read, as their certificates attest them.",
		"read_from: [eu, uk]", write_read_from },
	{ "write_from", "selectors", "store_in", "Places of clients that may write, as their certificates attest them.",
		"write_from: [eu]", write_write_from },
	{ "transit", "stay, any", "stay", "stay: a node where bytes may not rest does not relay values either.",
		"transit: stay", write_transit },
	{ "isolated", "refuse, { stale: 30s }", "refuse",
		"How old an answer a copy that is cut off may give, 1ms to 24h; refuse: none.",
		"isolated: { stale: 30s }", write_isolated },
	{ "erase_within", "a duration, 10s to 366d", "24h",
		"So long may bytes that are no copy any more stay on a disk: of a replica that left, of a value that "
		"was deleted or overwritten.",
		"erase_within: 72h", write_erase_within },
};
const size_t policy_field_count = sizeof(policy_fields) / sizeof(policy_fields[0]);

const struct policy_field_entry *policy_field_find(const char *name)
{
	for (size_t i = 0; i < policy_field_count; i++) {
		if (strcmp(policy_fields[i].name, name) == 0)
			return &policy_fields[i];
	}
	return NULL;
}

json_t *policy_summary(const struct policy *policy)
{
	char line[4096];
	struct text text;

	if (policy == NULL)
		return json_null();
	text_init(&text, line, sizeof(line));
	policy_describe(policy, &text);
	return json_string(line);
}

static json_t *value_of(const struct policy_field_entry *field, const struct policy *policy, char out[FIELD_TEXT_MAX])
{
	struct text text;

	if (policy == NULL)
		return json_null();
	text_init(&text, out, FIELD_TEXT_MAX);
	field->write(policy, &text);
	return json_string(out);
}

json_t *policy_differences(const struct policy *before, const struct policy *after)
{
	json_t *list = json_array();

	for (size_t i = 0; i < policy_field_count; i++) {
		char a[FIELD_TEXT_MAX] = "", b[FIELD_TEXT_MAX] = "";
		json_t *old = value_of(&policy_fields[i], before, a), *new = value_of(&policy_fields[i], after, b);
		json_t *item;

		if (before != NULL && after != NULL && strcmp(a, b) == 0) {
			json_decref(old);
			json_decref(new);
			continue;
		}
		item = json_object();
		set(item, "field", json_string(policy_fields[i].name));
		set(item, "before", old);
		set(item, "after", new);
		json_array_append_new(list, item);
	}
	return list;
}

void print_differences(const json_t *differences)
{
	const json_t *one;
	size_t at;

	json_array_foreach(differences, at, one) printf(
		"    %-12s %s -> %s\n", field_text(one, "field"), field_text(one, "before"), field_text(one, "after"));
}
