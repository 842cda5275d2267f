/* tools/help.c: see tools/help.h. */
#include "tools/help.h"

#include <string.h>

#include "base/text.h"
#include "tools/errors.h"
#include "tools/output.h"

static void usage_line(FILE *out, const struct command *command)
{
	fprintf(out, "domctl %s%s%s%s%s%s", command->noun, command->verb == NULL ? "" : " ",
		command->verb == NULL ? "" : command->verb, command->arguments == NULL ? "" : " ",
		command->arguments == NULL ? "" : command->arguments, command->flags == NULL ? "" : " [flags]");
}

static void flag_lines(FILE *out, const struct flag *const *flags)
{
	for (size_t i = 0; flags != NULL && flags[i] != NULL; i++) {
		char left[96];

		snprintf(left, sizeof(left), "%s%c%s--%s%s%s", flags[i]->letter ? "-" : "  ",
			flags[i]->letter ? flags[i]->letter : ' ', flags[i]->letter ? ", " : " ", flags[i]->name,
			flags[i]->value == NULL ? "" : " ", flags[i]->value == NULL ? "" : flags[i]->value);
		if (strlen(left) <= 36)
			fprintf(out, "  %-36s  %s\n", left, flags[i]->help);
		else
			fprintf(out, "  %s\n  %-36s  %s\n", left, "", flags[i]->help);
	}
}

static int help_command(FILE *out, const struct command *command)
{
	fprintf(out, "%s\n\n  ", command->summary);
	usage_line(out, command);
	fputs("\n", out);
	if (command->detail != NULL)
		fprintf(out, "\n%s\n", command->detail);
	if (command->flags != NULL) {
		fprintf(out, "\n%sFlags%s\n", paint(out, PAINT_HEAD), paint(out, PAINT_OFF));
		flag_lines(out, command->flags);
	}
	fprintf(out, "\n%sGlobal flags%s\n", paint(out, PAINT_HEAD), paint(out, PAINT_OFF));
	flag_lines(out, global_flags);
	fprintf(out, "\n%sExample%s\n  %s\n", paint(out, PAINT_HEAD), paint(out, PAINT_OFF), command->example);
	return EXIT_OK;
}

static void summary_line(FILE *out, const struct command *command, bool with_noun)
{
	char left[64];

	snprintf(left, sizeof(left), "%s%s%s", with_noun ? command->noun : "",
		with_noun && command->verb != NULL ? " " : "", command->verb == NULL ? "" : command->verb);
	fprintf(out, "  %-20s  %s\n", left, command->summary);
}

int help_print(FILE *out, const struct command *command, const char *noun)
{
	if (command != NULL)
		return help_command(out, command);
	if (noun == NULL)
		fprintf(out, "domctl [global flags] NOUN VERB [ARGUMENT...] [flags]\n\n");
	for (size_t i = 0; i < command_count; i++) {
		if (!commands[i].hidden && (noun == NULL || strcmp(commands[i].noun, noun) == 0))
			summary_line(out, &commands[i], true);
	}
	if (noun == NULL) {
		fprintf(out, "\n%sGlobal flags%s   (each also as a variable: DOMCTL_ENDPOINT, DOMCTL_AS_REGION, ...)\n",
			paint(out, PAINT_HEAD), paint(out, PAINT_OFF));
		flag_lines(out, global_flags);
		fprintf(out,
			"\nTopics: exit-codes, errors, formats.   `domctl help key put`, `domctl help DOM-R003`.\n");
	}
	return EXIT_OK;
}

static const struct topic {
	const char *name, *text;
} topics[] = {
	{ "exit-codes", " 0  ok                             9  too large\n"
			" 1  not found                     10  invalid\n"
			" 2  usage                         11  cannot connect, TLS, denied\n"
			" 3  residency refused             12  needs confirmation\n"
			" 4  policy mismatch               13  closed\n"
			" 5  quorum unavailable            14  a check says no\n"
			" 6  unknown outcome               15  partial\n"
			" 7  timed out                     16  conflict\n"
			" 8  busy                         125  a bug\n" },
	{ "formats", "-o table    for people; the same in a pipe, without colour\n"
		     "-o wide     with more columns\n"
		     "-o json     {\"kind\":...,\"v\":1,\"cluster\":...,\"as_of\":...,\"items\":[...]}; fields are "
		     "only ever added\n"
		     "-o jsonl    one item a line\n"
		     "-o name     names or ids only, as with -q\n\n"
		     "Ids are text in JSON: they may exceed 2^53. Keys and values are bytes: \\xNN by default, "
		     "--key-format and\n"
		     "--value-format choose utf8, hex or base64; JSON always has key_b64 and value_b64 too. As an "
		     "argument, `-`\n"
		     "reads standard input and @FILE a file, byte for byte. docs/schema/ has a JSON schema for each "
		     "kind.\n" },
};

static int help_topic(const struct invocation *invocation, const char *word)
{
	const char *candidates[2 + 64];
	size_t count = 0;
	const struct error_code *error = error_code_find(word);
	char cure[128] = "see `domctl help`";

	if (error != NULL) {
		printf("%s  %s   (exit %d)\n\n%s\n", error->code, error->title, error->exit, error->text);
		return EXIT_OK;
	}
	if (strcmp(word, "errors") == 0) {
		for (size_t i = 0; i < error_code_count; i++)
			printf("%s  exit %3d  %s\n", error_codes[i].code, error_codes[i].exit, error_codes[i].title);
		return EXIT_OK;
	}
	for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++) {
		if (strcmp(topics[i].name, word) == 0) {
			fputs(topics[i].text, stdout);
			return EXIT_OK;
		}
		candidates[count++] = topics[i].name;
	}
	for (size_t i = 0; i < error_code_count && count < sizeof(candidates) / sizeof(candidates[0]); i++)
		candidates[count++] = error_codes[i].code;
	if (strlen(word) <= TEXT_WORD_MAX && text_nearest(word, candidates, count) != NULL)
		snprintf(cure, sizeof(cure), "did you mean `domctl help %s`?", text_nearest(word, candidates, count));
	return fail(invocation, "DOM-U001", "no such topic, command or code", cure, NULL);
}

int run_help(const struct invocation *invocation)
{
	const char *noun = invocation->argument_count > 0 ? invocation->arguments[0] : NULL;
	const char *verb = invocation->argument_count > 1 ? invocation->arguments[1] : NULL;

	if (noun == NULL)
		return help_print(stdout, NULL, NULL);
	if (!command_noun_known(noun))
		return help_topic(invocation, noun);
	if (verb != NULL && command_find(noun, verb) == NULL)
		return fail(invocation, "DOM-U001", "the noun has no such verb", "see `domctl help NOUN`", NULL);
	return help_print(stdout, command_find(noun, verb), noun);
}

int run_version(const struct invocation *invocation)
{
	json_t *items = json_array(), *item = json_object();
	unsigned library = dom_version();
	char text[32];

	snprintf(text, sizeof(text), "%u.%u.%u", library >> 16, library >> 8 & 0xff, library & 0xff);
	set(item, "domctl", json_string(DOMICILE_VERSION));
	set(item, "library", json_string(text));
	json_array_append_new(items, item);
	if (!output_machine(invocation, "Version", NULL, items, "domctl"))
		printf("domctl %s   libdomicile %s\n", DOMICILE_VERSION, text);
	json_decref(items);
	return EXIT_OK;
}

/* --- docs/cli.md ----------------------------------------------------------------------------------- */

static void docs_flags(const struct flag *const *flags)
{
	printf("| flag | meaning |\n|---|---|\n");
	for (size_t i = 0; flags[i] != NULL; i++) {
		char value[128] = "";
		size_t size = 0;

		/* A bar would end the table's cell. */
		for (const char *c = flags[i]->value; c != NULL && *c != '\0' && size + 3 < sizeof(value); c++) {
			if (*c == '|')
				value[size++] = '\\';
			value[size++] = *c;
		}
		value[size] = '\0';
		if (flags[i]->letter)
			printf("| `-%c`, `--%s%s%s` | %s |\n", flags[i]->letter, flags[i]->name, size == 0 ? "" : " ",
				value, flags[i]->help);
		else
			printf("| `--%s%s%s` | %s |\n", flags[i]->name, size == 0 ? "" : " ", value, flags[i]->help);
	}
	printf("\n");
}

int run_docs(const struct invocation *invocation)
{
	(void)invocation;
	printf("# domctl\n\nMade by `domctl __docs` from the table that also drives parser, help and completion.\n\n"
	       "`domctl [global flags] NOUN VERB [ARGUMENT...] [flags]`; flags may stand anywhere, `--` ends them. The "
	       "answer goes to\n"
	       "standard output, everything else to standard error. Each global flag has a variable: `--as-region` is "
	       "`DOMCTL_AS_REGION`.\n\n"
	       "## Global flags\n\n");
	docs_flags(global_flags);
	printf("## Exit codes\n\n```\n%s```\n\n## Output\n\n```\n%s```\n\n", topics[0].text, topics[1].text);
	for (size_t i = 0; i < command_count; i++) {
		const struct command *command = &commands[i];

		if (command->hidden)
			continue;
		if (i == 0 || strcmp(commands[i - 1].noun, command->noun) != 0)
			printf("## %s\n\n", command->noun);
		if (command->verb != NULL)
			printf("### %s %s\n\n", command->noun, command->verb);
		printf("`");
		usage_line(stdout, command);
		printf("`\n\n%c%s%s", command->summary[0] >= 'a' ? command->summary[0] - 32 : command->summary[0],
			command->summary + 1, command->summary[strlen(command->summary) - 1] == '?' ? "" : ".");
		printf("%s%s\n\n", command->detail == NULL ? "" : "\n", command->detail == NULL ? "" : command->detail);
		if (command->flags != NULL)
			docs_flags(command->flags);
		if (command->kind != NULL)
			printf("JSON: [`%s`](schema/%s.json)\n\n", command->kind, command->kind);
		printf("```\n%s\n```\n\n", command->example);
	}
	printf("## Error codes\n\n");
	for (size_t i = 0; i < error_code_count; i++)
		printf("### %s\n\n%s (exit %d). %s\n\n", error_codes[i].code, error_codes[i].title, error_codes[i].exit,
			error_codes[i].text);
	return EXIT_OK;
}
