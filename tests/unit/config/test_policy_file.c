/* Policy files: every field read, every default filled in, JSON as good as YAML, bindings of both kinds, and a table
 * of mistakes with the place and words of each error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "config/policy_file.h"

static struct policy_file file;
static struct config_errors errors;

static bool parse(const char *text)
{
	config_errors_init(&errors);
	return policy_file_parse("p.yaml", bytes_text(text), &file, &errors);
}

static void show_errors(void)
{
	char line[CONFIG_ERROR_TEXT_MAX];
	for (uint32_t i = 0; i < errors.count; i++)
		print_message("%s\n", config_error_format(&errors.at[i], line, sizeof(line)));
}

static const char everything[] = "policies:\n"
				 "  eu-health:\n"
				 "    store_in: [eu]\n"
				 "    never_in: [\"cloud=x-corp\"]\n"
				 "    copies: 5\n"
				 "    spread: zone\n"
				 "    copy_in: { eu/de: 1, eu/ie: 2 }\n"
				 "    survive: zone\n"
				 "    witness_in: []\n"
				 "    ack: { regions: 2 }\n"
				 "    reads: local\n"
				 "    lead_in: [eu/de, eu/ie]\n"
				 "    follow: true\n"
				 "    read_from: [eu, uk]\n"
				 "    write_from: [eu]\n"
				 "    transit: any\n"
				 "    isolated: { stale: 30s }\n"
				 "    erase_within: 2h\n"
				 "    ttl: 0\n"
				 "  default: { store_in: [\"*\"], copies: 3, spread: region, read_from: [\"*\"], "
				 "write_from: [\"*\"] }\n"
				 "bindings:\n"
				 "  \"pat/eu/\": eu-health\n"
				 "  \"pat/eu/7\": { exact: eu-health, prefix: default }\n"
				 "  \"\": default\n";

static void check_everything(void)
{
	assert_int_equal(file.policy_count, 2);
	const struct policy *policy = &file.policies[0];
	assert_string_equal(policy->name, "eu-health");
	assert_int_equal(policy->store_in.count, 1);
	assert_int_equal(policy->store_in.at[0].kind, SELECTOR_PLACE);
	assert_string_equal(policy->store_in.at[0].text, "eu");
	assert_int_equal(policy->never_in.at[0].kind, SELECTOR_TAG);
	assert_int_equal(policy->copies, 5);
	assert_int_equal(policy->spread, SPREAD_ZONE);
	assert_int_equal(policy->copy_in_count, 2);
	assert_string_equal(policy->copy_in[1].in.text, "eu/ie");
	assert_int_equal(policy->copy_in[1].copies, 2);
	assert_int_equal(policy->survive, SURVIVE_ZONE);
	assert_int_equal(policy->ack, ACK_REGIONS);
	assert_int_equal(policy->ack_count, 2);
	assert_int_equal(policy->reads, READS_LOCAL);
	assert_true(policy->follow);
	assert_int_equal(policy->isolated_stale_ms, 30000);
	assert_int_equal(policy->erase_within_s, 7200);
	assert_int_equal(file.policies[1].erase_within_s, ERASE_WITHIN_S_DEFAULT);
	assert_false(file.policies[1].follow);
	assert_int_equal(file.policies[1].isolated_stale_ms, 0);
	assert_int_equal(policy->lead_in.count, 2);
	assert_string_equal(policy->lead_in.at[1].text, "eu/ie");
	assert_int_equal(policy->read_from.count, 2);
	assert_int_equal(policy->write_from.count, 1);
	assert_int_equal(policy->transit, TRANSIT_ANY);
	assert_string_equal(file.policies[1].name, "default");
	assert_int_equal(file.policies[1].read_from.at[0].kind, SELECTOR_ANY);
	assert_int_equal(file.policies[1].survive, SURVIVE_REGION); /* as much as the spread gives */

	assert_int_equal(file.binding_count, 4);
	assert_true(bytes_equal(bytes_of(file.bindings[0].bytes, file.bindings[0].size), bytes_text("pat/eu/")));
	assert_false(file.bindings[0].exact);
	assert_string_equal(file.bindings[0].policy, "eu-health");
	assert_true(file.bindings[1].exact);
	assert_true(bytes_equal(bytes_of(file.bindings[1].bytes, file.bindings[1].size), bytes_text("pat/eu/7")));
	assert_false(file.bindings[2].exact);
	assert_string_equal(file.bindings[2].policy, "default");
	assert_int_equal(file.bindings[3].size, 0);
}

static void test_everything(void **state)
{
	(void)state;
	bool ok = parse(everything);
	show_errors();
	assert_true(ok);
	check_everything();
	assert_int_equal(file.policies[0].line, 2);
	assert_int_equal(file.bindings[0].line, 22);
	assert_int_equal(file.bindings[0].column, 14);
	assert_true(policy_file_check_bindings(&file, "p.yaml", NULL, NULL, &errors));
	policy_file_free(&file);
	assert_int_equal(file.policy_count, 0);
}

static void test_json(void **state)
{
	(void)state;
	bool ok = parse(
		"{\"policies\":{\"eu-health\":{\"store_in\":[\"eu\"],\"never_in\":[\"cloud=x-corp\"],\"copies\":5,"
		"\"spread\":\"zone\",\n\t\"copy_in\":{\"eu/de\":1,\"eu/ie\":2},\"survive\":\"zone\",\"witness_in\":[],"
		"\"ack\":{\"regions\":2},\"reads\":\"local\",\"lead_in\":[\"eu/de\",\"eu\\/ie\"],\"follow\":true,"
		"\"read_from\":[\"eu\",\"uk\"],\"write_from\":[\"eu\"],\"transit\":\"any\",\"isolated\":{\"stale\":"
		"\"30s\"},\"erase_within\":\"2h\"},"
		"\"default\":{\"store_in\":[\"*\"],\"copies\":3,\"spread\":\"region\",\"read_from\":[\"*\"],"
		"\"write_from\":[\"*\"]}},\r\n"
		"\"bindings\":{\"pat/eu/\":\"eu-health\",\"pat/eu/7\":{\"exact\":\"eu-health\",\"prefix\":\"default\"},"
		"\"\":\"default\"}}");
	show_errors();
	assert_true(ok);
	check_everything();
	policy_file_free(&file);
}

static void test_defaults(void **state)
{
	(void)state;
	assert_true(parse("policies: { p: { store_in: [eu, uk] } }"));
	const struct policy *policy = &file.policies[0];
	assert_int_equal(policy->copies, 3);
	assert_int_equal(policy->spread, SPREAD_NODE);
	assert_int_equal(policy->survive, SURVIVE_NODE);
	assert_int_equal(policy->ack, ACK_MAJORITY);
	assert_int_equal(policy->transit, TRANSIT_STAY);
	assert_int_equal(policy->read_from.count, 2);
	assert_int_equal(policy->write_from.count, 2);
	assert_int_equal(policy->lead_in.count, 0);
	policy_file_free(&file);
}

/* What can be applied and has no effect is said, and the file is read. */
static void test_warnings(void **state)
{
	(void)state;
	char line[CONFIG_ERROR_TEXT_MAX];
	assert_true(parse("policies:\n  a: { store_in: [eu], copies: 1, follow: true }\n"
			  "  b: { store_in: [eu], lead_in: [eu/de], follow: true }\n"
			  "  c: { store_in: [eu], lead_in: [eu/de, eu/ie], follow: true }\n"
			  "  d: { store_in: [eu], isolated: { stale: 24h } }\n"));
	assert_int_equal(file.policy_count, 4);
	assert_int_equal(errors.count, 2);
	assert_true(errors.at[0].warning);
	assert_string_equal(config_error_format(&errors.at[0], line, sizeof(line)),
		"p.yaml:2:3: warning: policy a: follow has no effect: there is one copy, and it leads; raise copies, "
		"or "
		"leave follow out");
	assert_string_equal(config_error_format(&errors.at[1], line, sizeof(line)),
		"p.yaml:3:3: warning: policy b: follow has no effect if eu/de is one region: it is the only place that "
		"lead_in names; name a second place in lead_in, or leave follow out");
	assert_int_equal(file.policies[3].isolated_stale_ms, 24 * 3600 * 1000);
	policy_file_free(&file);
}

static void test_doubts(void **state)
{
	(void)state;
	char line[CONFIG_ERROR_TEXT_MAX];
	assert_true(parse("policies:\n  used: { store_in: [eu] }\n  idle: { store_in: [eu] }\n"
			  "bindings:\n  \"a/\": used\n  \"mail/ann@example.net/\": used\n"
			  "  \"card/4111111111111111/\": used\n  \"ann@example.net\": { exact: used }\n"
			  "  \"2026-11-26/\": used\n  \"@home.x\": used\n"));
	assert_int_equal(errors.count, 0);
	policy_file_doubts(&file, "p.yaml", &errors);
	assert_int_equal(errors.count, 3);
	for (uint32_t i = 0; i < 3; i++)
		assert_true(errors.at[i].warning);
	assert_string_equal(config_error_format(&errors.at[0], line, sizeof(line)),
		"p.yaml:3:1: warning: policy idle: no binding of the file names it; bind a prefix to it, or take it "
		"out if "
		"nothing in the cluster is bound to it");
	assert_int_equal(errors.at[1].line, 6);
	assert_non_null(strstr(errors.at[1].reason, "named a person"));
	assert_int_equal(errors.at[2].line, 7);
	policy_file_free(&file);
	/* A file of policies alone changes rules of what is bound already. */
	assert_true(parse("policies:\n  idle: { store_in: [eu] }\n"));
	policy_file_doubts(&file, "p.yaml", &errors);
	assert_int_equal(errors.count, 0);
	policy_file_free(&file);
}

/* `no` is Norway to us, not a truth value; so are null and numbers where a place may stand. */
static void test_scalars_are_text(void **state)
{
	(void)state;
	assert_true(parse(
		"policies: { no: { store_in: [no, null, 1e3, 0x10, true] } }\nbindings: { yes: no, 1: no, ~: no }"));
	assert_string_equal(file.policies[0].name, "no");
	assert_string_equal(file.policies[0].store_in.at[0].text, "no");
	assert_string_equal(file.policies[0].store_in.at[1].text, "null");
	assert_string_equal(file.policies[0].store_in.at[2].text, "1e3");
	assert_true(bytes_equal(bytes_of(file.bindings[2].bytes, file.bindings[2].size), bytes_text("~")));
	policy_file_free(&file);
}

static void test_acks(void **state)
{
	(void)state;
	assert_true(
		parse("policies:\n  a: { store_in: [eu], ack: majority }\n  b: { store_in: [eu], ack: { copies: 2 } }\n"
		      "  c: { store_in: [eu], ack: { all_of: [eu/de, eu/fr] }, copy_in: { eu/de: 1, eu/fr: 1 }, "
		      "spread: zone, survive: node }\n") ||
		errors.count == 1);
	/* Whether c's rule can survive a node is for policy_check; the forms are what is read here. */
	policy_file_free(&file);
	assert_true(parse("policies: { b: { store_in: [eu], ack: { copies: 2 } } }"));
	assert_int_equal(file.policies[0].ack, ACK_COPIES);
	assert_int_equal(file.policies[0].ack_count, 2);
	policy_file_free(&file);
}

static void test_witness_in(void **state)
{
	(void)state;
	assert_true(parse("policies:\n  a: { store_in: [eu], witness_in: [uk, \"cloud=aws\"] }\n"
			  "  b: { store_in: [eu], witness_in: [uk], ack: { copies: 2 } }\n"));
	assert_int_equal(errors.count, 0);
	assert_int_equal(file.policies[0].witness_in.count, 2);
	assert_string_equal(file.policies[0].witness_in.at[0].text, "uk");
	assert_int_equal(file.policies[0].copies, 2);
	assert_int_equal(file.policies[0].spread, SPREAD_REGION);
	assert_int_equal(file.policies[0].survive, SURVIVE_REGION);
	assert_int_equal(file.policies[1].survive, SURVIVE_NONE);
	policy_file_free(&file);
	assert_false(parse("policies:\n  a: { store_in: [eu], witness_in: [uk], copies: 3 }\n"));
	assert_true(parse("policies:\n  a: { store_in: [eu], witness_in: [eu/ie] }\n"));
	assert_int_equal(errors.count, 1);
	assert_true(errors.at[0].warning);
	policy_file_free(&file);
}

static void test_mistakes(void **state)
{
	(void)state;
	static const struct {
		const char *text, *error;
	} table[] = {
		{ "{}", "p.yaml:1:1: the file says nothing; write policies:, bindings: or both" },
		{ "policys: {}\n", "p.yaml:1:1: unknown key 'policys' at the top; did you mean policies?" },
		{ "policies: []\n", "p.yaml:1:11: a list is not a map of policies" },
		{ "policies:\n", "p.yaml:1:1: nothing is not a map of policies" },
		{ "policies:\n  EU: { store_in: [eu] }\n", "p.yaml:2:3: 'EU' is not a policy's name; use up to 63 of "
							   "a-z, 0-9 and -, not starting with -" },
		{ "policies:\n  a: { stor_in: [eu] }\n",
			"p.yaml:2:8: unknown key 'stor_in' in a policy; did you mean store_in?" },
		{ "policies:\n  a: { store_in: eu }\n",
			"p.yaml:2:18: 'eu' is not a list of places; write it in brackets: [a, b]" },
		{ "policies:\n  a:\n    store_in: [eu]\n    copies: 9\n",
			"p.yaml:4:13: '9' is not a number from 1 to 7" },
		{ "policies:\n  a:\n    store_in: [eu]\n    copies: 0\n",
			"p.yaml:4:13: '0' is not a number from 1 to 7" },
		{ "policies:\n  a:\n    store_in: [eu]\n    copies: three\n",
			"p.yaml:4:13: 'three' is not a number from 1 to 7" },
		{ "policies:\n  a: { store_in: [eu], spread: continent }\n",
			"p.yaml:2:32: 'continent' is not node, zone or region" },
		{ "policies:\n  a: { store_in: [eu], ack: all }\n",
			"p.yaml:2:29: 'all' is not a rule of acknowledgement; write majority, { copies: 2 }, { "
			"regions: 2 } or { "
			"all_of: [eu/de, eu/fr] }" },
		{ "policies:\n  a: { store_in: [eu], ack: { copis: 2 } }\n",
			"p.yaml:2:31: unknown key 'copis' in ack; did you mean copies?" },
		{ "policies:\n  a: { store_in: [eu], ack: { all_of: [] } }\n",
			"p.yaml:2:39: all_of names no place, or more than 8; name one to eight places" },
		{ "policies:\n  a: { store_in: [eu], reads: everywhere }\n",
			"p.yaml:2:31: 'everywhere' is not leader or local" },
		{ "policies:\n  a: { store_in: [eu], witness_in: uk }\n",
			"p.yaml:2:36: 'uk' is not a list of places; write it in brackets: [a, b]" },
		{ "policies:\n  a: { store_in: [eu], isolated: { stale: 0 } }\n",
			"p.yaml:2:43: '0' is not from 1ms to 24h; write isolated: refuse to answer nothing" },
		{ "policies:\n  a: { store_in: [eu], isolated: { stale: 999us } }\n",
			"p.yaml:2:43: '999us' is not from 1ms to 24h; write isolated: refuse to answer nothing" },
		{ "policies:\n  a: { store_in: [eu], isolated: { stale: 25h } }\n",
			"p.yaml:2:43: '25h' is not from 1ms to 24h; write isolated: refuse to answer nothing" },
		{ "policies:\n  a: { store_in: [eu], isolated: { stale: long } }\n",
			"p.yaml:2:43: 'long' is not a duration; write a number with us, ms, s, m, h or d" },
		{ "policies:\n  a: { store_in: [eu], isolated: { fresh: 30s } }\n",
			"p.yaml:2:34: a map is not refuse or { stale: 30s }" },
		{ "policies:\n  a: { store_in: [eu], isolated: serve }\n",
			"p.yaml:2:34: 'serve' is not refuse or { stale: 30s }" },
		{ "policies:\n  a: { store_in: [eu], erase_within: 9s }\n",
			"p.yaml:2:38: '9s' is not whole seconds from 10s to 366d; write how long bytes that are no "
			"copy any "
			"more may stay on a disk, for example 24h" },
		{ "policies:\n  a: { store_in: [eu], erase_within: 10500ms }\n",
			"p.yaml:2:38: '10500ms' is not whole seconds from 10s to 366d; write how long bytes that are "
			"no copy "
			"any more may stay on a disk, for example 24h" },
		{ "policies:\n  a: { store_in: [eu], ttl: 30s }\n",
			"p.yaml:2:29: ttl is not supported yet; write 0, or leave it out" },
		{ "policies:\n  a: { store_in: [eu], follow: no }\n", "p.yaml:2:32: 'no' is not false or true" },
		{ "policies:\n  a: { store_in: [eu], store_in: [us] }\n",
			"p.yaml:2:24: the key 'store_in' stands here again, first in line 2; keep one of them" },
		{ "policies:\n  a: { store_in: [eu] }\n  b: { store_in: [eu] }\n  a: { store_in: [us] }\n",
			"p.yaml:4:3: the key 'a' stands here again, first in line 2; keep one of them" },
		{ "bindings:\n  x/: p\n  \"x/\": p\n",
			"p.yaml:3:3: the key 'x/' stands here again, first in line 2; keep one of them" },
		{ "bindings:\n  x/: [p]\n", "p.yaml:2:7: a list is not a policy's name; write \"prefix/\": POLICY, or "
					    "\"key\": { exact: POLICY }" },
		{ "bindings:\n  x/: { exactly: p }\n",
			"p.yaml:2:9: unknown key 'exactly' in a binding; did you mean exact?" },
		{ "bindings:\n  \"\": { exact: p }\n",
			"p.yaml:2:3: an exact binding of the empty key; a key has at least one byte" },
		{ "bindings:\n  x/:\n", "p.yaml:2:3: nothing is not a policy's name" },
		{ "policies: &x { a: { store_in: [eu] } }\nbindings: *x\n",
			"p.yaml:1:11: anchors (&name) are not supported; write the value out where it is meant" },
		{ "policies:\n  a:\n    <<: { store_in: [eu] }\n",
			"p.yaml:3:5: unknown key '<<' in a policy; known are store_in, never_in, copies, spread, "
			"copy_in, survive, "
			"witness_in, ack, reads, lead_in, follow, read_from, write_from, transit, isolated, "
			"erase_within, ttl" },
	};
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		char line[CONFIG_ERROR_TEXT_MAX];
		assert_false(parse(table[i].text));
		config_error_format(&errors.at[0], line, sizeof(line));
		if (errors.count != 1 || strcmp(line, table[i].error) != 0)
			print_message("case %zu\n", i);
		assert_string_equal(line, table[i].error);
		assert_int_equal(errors.count, 1);
		assert_null(file.policies);
		assert_null(file.bindings);
	}
}

/* Rules that contradict themselves, and selectors that are none: policy/ words it, the place is ours. */
static void test_rules(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint32_t line, column;
	} table[] = {
		{ "policies:\n  a: { copies: 3 }\n", 2, 3 },
		{ "policies:\n  a: { store_in: [eu], copies: 2, copy_in: { eu/de: 3 } }\n", 2, 3 },
		{ "policies:\n  a: { store_in: [EU!] }\n", 2, 19 },
		{ "policies:\n  a: { store_in: [eu], copy_in: { \"\": 1 } }\n", 2, 35 },
	};
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_false(parse(table[i].text));
		if (errors.count != 1 || errors.at[0].column != table[i].column)
			show_errors();
		assert_int_equal(errors.count, 1);
		assert_int_equal(errors.at[0].line, table[i].line);
		assert_int_equal(errors.at[0].column, table[i].column);
		assert_true(strlen(errors.at[0].reason) > 10);
		assert_true(strlen(errors.at[0].cure) > 5);
	}
}

static void test_several_errors_at_once(void **state)
{
	(void)state;
	assert_false(parse(
		"policies:\n  a: { store_in: [eu], copies: 9 }\n  b: { store: [eu] }\nbindings:\n  x: [1]\n  y: Z\n"));
	assert_int_equal(errors.count, 4);
	assert_int_equal(errors.at[0].line, 2);
	assert_int_equal(errors.at[1].line, 3);
	assert_int_equal(errors.at[2].line, 5);
	assert_int_equal(errors.at[3].line, 6);
}

static bool knows_one(const void *context, const char *policy)
{
	return strcmp(policy, context) == 0;
}

static void test_bindings_to_unknown_policies(void **state)
{
	(void)state;
	char line[CONFIG_ERROR_TEXT_MAX];
	assert_true(parse("policies: { a: { store_in: [eu] } }\nbindings:\n  x/: a\n  y/: b\n  z/: c\n"));
	assert_false(policy_file_check_bindings(&file, "p.yaml", knows_one, "b", &errors));
	assert_int_equal(errors.count, 1);
	assert_string_equal(config_error_format(&errors.at[0], line, sizeof(line)),
		"p.yaml:5:7: no policy is named c; define it under policies:, or correct the name");
	config_errors_init(&errors);
	assert_false(policy_file_check_bindings(&file, "p.yaml", NULL, NULL, &errors));
	assert_int_equal(errors.count, 2);
	policy_file_free(&file);
}

static void test_limits(void **state)
{
	(void)state;
	static char text[64 << 10];
	size_t size = (size_t)snprintf(text, sizeof(text), "policies: {");
	for (unsigned i = 0; i < MAP_POLICIES_MAX + 1; i++)
		size += (size_t)snprintf(text + size, sizeof(text) - size, "p%u: {store_in: [eu]}, ", i);
	snprintf(text + size, sizeof(text) - size, "}");
	assert_false(parse(text));
	assert_int_equal(errors.count, 1);
	assert_string_equal(errors.at[0].reason, "more than 1,000 policies");

	size = (size_t)snprintf(text, sizeof(text), "bindings: {\"");
	memset(text + size, 'k', BINDING_PREFIX_MAX);
	snprintf(text + size + BINDING_PREFIX_MAX, 10, "\": p}");
	assert_true(parse(text));
	policy_file_free(&file);
	text[size + BINDING_PREFIX_MAX] = 'k';
	snprintf(text + size + BINDING_PREFIX_MAX + 1, 10, "\": p}");
	assert_false(parse(text));
	assert_string_equal(errors.at[0].reason, "the text is too long");
	snprintf(text + size + BINDING_PREFIX_MAX + 1, 24, "\": {exact: p}}");
	assert_true(parse(text));
	policy_file_free(&file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_everything),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_warnings),
		cmocka_unit_test(test_doubts),
		cmocka_unit_test(test_scalars_are_text),
		cmocka_unit_test(test_acks),
		cmocka_unit_test(test_witness_in),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_several_errors_at_once),
		cmocka_unit_test(test_bindings_to_unknown_policies),
		cmocka_unit_test(test_limits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
