/* The command line: words and flags in any order, variables, suggestions; and that the table keeps its own rules. The
 * table's verbs are not run here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "tools/commands.c"
#include "tools/parse.c"

#define VERB(name)                                                                                                     \
	int run_##name(const struct invocation *invocation)                                                            \
	{                                                                                                              \
		(void)invocation;                                                                                      \
		return 0;                                                                                              \
	}
/* clang-format off */
VERB(status) VERB(demo) VERB(cluster_init) VERB(cluster_show) VERB(cluster_wait) VERB(region_add)
VERB(region_list) VERB(region_rtt) VERB(node_list) VERB(node_show) VERB(node_drain) VERB(node_undrain)
VERB(node_decommission) VERB(region_drain) VERB(region_undrain)
VERB(region_fence) VERB(region_readmit) VERB(policy_lint)
VERB(policy_list) VERB(policy_show) VERB(policy_apply) VERB(policy_plan) VERB(policy_diff) VERB(policy_history) VERB(policy_rollback) VERB(policy_verify) VERB(policy_explain) VERB(policy_test) VERB(binding_list)
VERB(binding_set) VERB(binding_unset) VERB(binding_which) VERB(shard_list) VERB(shard_show)
VERB(shard_of) VERB(shard_lead) VERB(shard_place) VERB(shard_split) VERB(shard_merge) VERB(shard_rebalance)
VERB(key_get) VERB(key_put) VERB(key_delete)
VERB(key_cas) VERB(key_rebind) VERB(key_scan) VERB(key_where) VERB(key_explain) VERB(operation_list)
VERB(operation_show) VERB(operation_wait) VERB(operation_cancel) VERB(cert_create_ca) VERB(cert_create_node)
VERB(cert_create_client) VERB(cert_create_admin) VERB(cert_revoke) VERB(cert_list) VERB(cert_show) VERB(cert_verify)
VERB(audit_heads) VERB(audit_show) VERB(audit_verify) VERB(audit_proof) VERB(audit_check) VERB(report_residency)
VERB(residency_scan) VERB(region_remove) VERB(version) VERB(help) VERB(completion) VERB(complete) VERB(docs)
	/* clang-format on */

	enum { WORDS_MAX = 32 };
static struct invocation invocation;
static struct complaint complaint;

static bool parse_with(char *const environment[], const char *line)
{
	static char copy[1024];
	char *argv[WORDS_MAX] = { "domctl" }, *rest = copy;
	int argc = 1;

	snprintf(copy, sizeof(copy), "%s", line);
	for (char *word = strtok_r(copy, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
		assert_true(argc < WORDS_MAX);
		argv[argc++] = word;
	}
	memset(&complaint, 0, sizeof(complaint));
	return parse_invocation(argc, argv, environment, &invocation, &complaint);
}

static bool parse(const char *line)
{
	return parse_with(NULL, line);
}

static void words_choose_the_command(void **state)
{
	(void)state;
	assert_true(parse("key get pat/eu/1"));
	assert_string_equal(invocation.command->noun, "key");
	assert_string_equal(invocation.command->verb, "get");
	assert_int_equal(invocation.argument_count, 1);
	assert_string_equal(invocation.arguments[0], "pat/eu/1");
	assert_true(parse("status"));
	assert_null(invocation.command->verb);
	assert_int_equal(invocation.argument_count, 0);
	assert_true(parse("status details"));
	assert_string_equal(invocation.arguments[0], "details");
}

static void flags_stand_anywhere(void **state)
{
	static const char *const lines[] = { "--limit 3 -o json key scan p/", "key --limit=3 scan -ojson p/",
		"key scan p/ --output json --limit 3", "-o=json key scan --limit 3 p/" };

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		assert_true(parse(lines[i]));
		assert_string_equal(invocation.command->verb, "scan");
		assert_int_equal(invocation.output, OUTPUT_JSON);
		assert_int_equal(flag_number(&invocation, "limit", 0), 3);
		assert_string_equal(invocation.arguments[0], "p/");
	}
}

static void two_dashes_end_the_flags(void **state)
{
	(void)state;
	assert_true(parse("key get -- --limit"));
	assert_string_equal(invocation.arguments[0], "--limit");
	assert_true(parse("demo wan3 --keep d -- sh -c --keep"));
	assert_int_equal(invocation.argument_count, 4);
	assert_int_equal(invocation.separator, 1);
	assert_string_equal(invocation.arguments[1], "sh");
	assert_string_equal(invocation.arguments[3], "--keep");
	assert_string_equal(flag_text(&invocation, "keep"), "d");
	assert_true(parse("demo -- sh"));
	assert_int_equal(invocation.separator, 0);
	assert_true(parse("demo wan3"));
	assert_int_equal(invocation.separator, 1);
	assert_int_equal(invocation.argument_count, 1);
	assert_true(parse("key get -")); /* a dash alone is an argument: standard input */
	assert_string_equal(invocation.arguments[0], "-");
}

static void a_flag_wins_over_its_variable(void **state)
{
	char *const environment[] = { "DOMCTL_ENDPOINT=a:1", "DOMCTL_AS_REGION=eu", "DOMCTL_TIMEOUT=2s",
		"DOMCTL_OUTPUT=json", "DOMCTL_QUIET=0", "DOMCTL_DRY_RUN=1", "DOMCTL_ENDPOINT_EU=b:2", NULL };

	(void)state;
	assert_true(parse_with(environment, "key get k"));
	assert_string_equal(invocation.endpoint, "a:1");
	assert_string_equal(invocation.as_region, "eu");
	assert_int_equal(invocation.timeout_ms, 2000);
	assert_int_equal(invocation.output, OUTPUT_JSON);
	assert_false(invocation.quiet);
	assert_true(invocation.dry_run);
	assert_true(parse_with(environment, "key get k --endpoint c:3 --timeout 250ms -o table"));
	assert_string_equal(invocation.endpoint, "c:3");
	assert_int_equal(invocation.timeout_ms, 250);
	assert_int_equal(invocation.output, OUTPUT_TABLE);
	assert_false(parse("cert revoke app.crt --ca-dir ca --dry-run"));
	assert_string_equal(complaint.code, "DOM-U002");
	assert_non_null(strstr(complaint.what, "--dry-run"));
}

static void a_bad_variable_is_an_error(void **state)
{
	char *const environment[] = { "DOMCTL_TIMEOUT=soon", NULL };

	(void)state;
	assert_false(parse_with(environment, "key get k"));
	assert_string_equal(complaint.code, "DOM-U003");
	assert_true(parse_with(environment, "key get k --timeout 1s"));
}

static void unknown_words_name_the_nearest(void **state)
{
	static const struct {
		const char *line, *code, *part;
	} cases[] = {
		{ "kye get x", "DOM-U001", "`domctl key`" },
		{ "key gte x", "DOM-U001", "`domctl key get`" },
		{ "key", "DOM-U001", "domctl help key" },
		{ "", "DOM-U001", "domctl help" },
		{ "key scan p --limt 3", "DOM-U002", "--limit" },
		{ "key get k --limit 3", "DOM-U002", "domctl help key get" },
		{ "key get k -z", "DOM-U002", "" },
		{ "key get", "DOM-U004", "domctl key get" },
		{ "key get a b", "DOM-U004", "domctl key get" },
		{ "key scan p --limit", "DOM-U003", "at most so many rows" },
		{ "key scan p --limit=three", "DOM-U003", "a number" },
		{ "key get k -o yaml", "DOM-U003", "table|wide|json|jsonl|name" },
		{ "key get k --timeout 0s", "DOM-U003", "a duration" },
		{ "key get k --timeout 2h", "DOM-U003", "a duration" },
		{ "key get k --timeout 10", "DOM-U003", "a duration" },
		{ "key get k --quiet=1", "DOM-U003", "leave out" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_false(parse(cases[i].line));
		assert_string_equal(complaint.code, cases[i].code);
		if (strstr(complaint.cure, cases[i].part) == NULL)
			fail_msg("'%s': the cure is '%s'", cases[i].line, complaint.cure);
	}
}

static void help_needs_no_arguments(void **state)
{
	(void)state;
	assert_true(parse("--help"));
	assert_true(invocation.help);
	assert_null(invocation.command);
	assert_true(parse("key --help"));
	assert_string_equal(invocation.help_noun, "key");
	assert_true(parse("key get -h"));
	assert_string_equal(invocation.command->verb, "get");
}

static void repeated_flags_are_all_there(void **state)
{
	int at;

	(void)state;
	assert_true(parse("region add eu/ie/x --tag a=1 --ca f --tag b=2"));
	at = flag_next(&invocation, "tag", -1);
	assert_string_equal(invocation.given[at].value, "a=1");
	at = flag_next(&invocation, "tag", at);
	assert_string_equal(invocation.given[at].value, "b=2");
	assert_int_equal(flag_next(&invocation, "tag", at), -1);
	assert_string_equal(flag_text(&invocation, "tag"), "b=2");
}

/* --- the table --------------------------------------------------------------------------------------- */

static void check_same_arity(const struct flag *flag)
{
	const struct flag *first = flag_anywhere(flag->name, strlen(flag->name));

	assert_non_null(first);
	if ((first->kind == FLAG_SWITCH) != (flag->kind == FLAG_SWITCH))
		fail_msg("--%s takes a value in one command and none in another", flag->name);
	assert_int_equal(flag->kind == FLAG_SWITCH, flag->value == NULL);
	assert_non_null(flag->help);
}

static void the_table_keeps_its_rules(void **state)
{
	(void)state;
	for (size_t i = 0; i < command_count; i++) {
		const struct command *command = &commands[i];

		assert_non_null(command->run);
		assert_non_null(command->summary);
		assert_non_null(command->example);
		assert_true(strncmp(command->example, "domctl ", 7) == 0 || strstr(command->example, "domctl") != NULL);
		assert_true(command->argument_min <= command->argument_max);
		assert_int_equal(command->argument_max > 0, command->arguments != NULL);
		assert_ptr_equal(command_find(command->noun, command->verb), command);
		for (size_t f = 0; command->flags != NULL && command->flags[f] != NULL; f++) {
			check_same_arity(command->flags[f]);
			for (size_t g = 0; global_flags[g] != NULL; g++)
				assert_string_not_equal(global_flags[g]->name, command->flags[f]->name);
		}
	}
}

static void every_example_parses(void **state)
{
	(void)state;
	for (size_t i = 0; i < command_count; i++) {
		const char *example = commands[i].example;

		if (strpbrk(example, "<>'") != NULL)
			continue; /* a shell's work */
		if (!parse(example + strlen("domctl ")))
			fail_msg("'%s': %s: %s", example, complaint.what, complaint.why);
		assert_ptr_equal(invocation.command, &commands[i]);
	}
}

static void a_word_may_carry_a_number(void **state)
{
	(void)state;
	static const char *const list = "strong|session|bounded=MS|nearest";
	static const char *const fine[] = { "strong", "nearest", "bounded=1", "bounded=4294967295" };
	static const char *const bad[] = { "", "bounded", "bounded=", "bounded=MS", "bounded=1ms", "bounded=-1",
		"bounded=1|nearest", "strong=1", "bound=1", "nearestt", "near" };

	for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++)
		assert_true(word_in(list, fine[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(word_in(list, bad[i]));
	assert_true(parse("key scan p/ --read bounded=250 --session s"));
	assert_string_equal(flag_text(&invocation, "read"), "bounded=250");
	assert_false(parse("key get k --read bounded=soon"));
	assert_string_equal(complaint.code, "DOM-U003");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_word_may_carry_a_number),
		cmocka_unit_test(words_choose_the_command),
		cmocka_unit_test(flags_stand_anywhere),
		cmocka_unit_test(two_dashes_end_the_flags),
		cmocka_unit_test(a_flag_wins_over_its_variable),
		cmocka_unit_test(a_bad_variable_is_an_error),
		cmocka_unit_test(unknown_words_name_the_nearest),
		cmocka_unit_test(help_needs_no_arguments),
		cmocka_unit_test(repeated_flags_are_all_there),
		cmocka_unit_test(the_table_keeps_its_rules),
		cmocka_unit_test(every_example_parses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
