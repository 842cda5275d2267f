/* tools/parse.c: see tools/parse.h. One pass sorts argv into words and flags, which works because a flag's name takes a
 * value in every command or in none; then the words choose the command, and the command says which flags may stand. */
#include "tools/parse.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/units.h"

enum { TIMEOUT_MS_DEFAULT = 10000, TIMEOUT_MS_MAX = 3600000, CANDIDATES_MAX = 256 };

const struct command *command_find(const char *noun, const char *verb)
{
	for (size_t i = 0; i < command_count; i++) {
		if (strcmp(commands[i].noun, noun) != 0)
			continue;
		if (commands[i].verb == NULL || (verb != NULL && strcmp(commands[i].verb, verb) == 0))
			return &commands[i];
	}
	return NULL;
}

bool command_noun_known(const char *noun)
{
	for (size_t i = 0; i < command_count; i++) {
		if (strcmp(commands[i].noun, noun) == 0)
			return true;
	}
	return false;
}

const char *flag_text(const struct invocation *invocation, const char *name)
{
	const char *value = NULL;

	for (uint32_t i = 0; i < invocation->given_count; i++) {
		if (strcmp(invocation->given[i].flag->name, name) == 0)
			value = invocation->given[i].value;
	}
	return value;
}

int flag_next(const struct invocation *invocation, const char *name, int from)
{
	for (uint32_t i = (uint32_t)(from + 1); i < invocation->given_count; i++) {
		if (strcmp(invocation->given[i].flag->name, name) == 0)
			return (int)i;
	}
	return -1;
}

bool flag_given(const struct invocation *invocation, const char *name)
{
	return flag_next(invocation, name, -1) >= 0;
}

uint64_t flag_number(const struct invocation *invocation, const char *name, uint64_t otherwise)
{
	const char *text = flag_text(invocation, name);
	uint64_t number = otherwise;

	if (text != NULL) {
		bool good = parse_u64(text, &number); /* as when the line was parsed */

		assert(good);
	}
	return number;
}

static bool named(const struct flag *flag, const char *name, size_t size)
{
	return strlen(flag->name) == size && memcmp(flag->name, name, size) == 0;
}

static const struct flag *flag_among(const struct flag *const *flags, const char *name, size_t size)
{
	for (size_t i = 0; flags != NULL && flags[i] != NULL; i++) {
		if (named(flags[i], name, size))
			return flags[i];
	}
	return NULL;
}

const struct flag *flag_anywhere(const char *name, size_t size)
{
	const struct flag *flag = flag_among(global_flags, name, size);

	for (size_t i = 0; i < command_count && flag == NULL; i++)
		flag = flag_among(commands[i].flags, name, size);
	return flag;
}

static const struct flag *flag_letter(char letter)
{
	for (size_t i = 0; global_flags[i] != NULL; i++) {
		if (global_flags[i]->letter == letter)
			return global_flags[i];
	}
	return NULL;
}

bool word_in(const char *list, const char *word)
{
	size_t size = strlen(word);

	for (const char *at = list; *at != '\0' && size > 0;) {
		size_t length = strcspn(at, "|"), name = strcspn(at, "=|");
		uint64_t number;

		if (length == size && name == length && memcmp(at, word, size) == 0)
			return true;
		/* "bounded=MS": a number in place of what stands behind the sign */
		if (name < length && size > name + 1 && memcmp(at, word, name + 1) == 0)
			return parse_u64(word + name + 1, &number);
		at += length + (at[length] == '|' ? 1 : 0);
	}
	return false;
}

static bool refuse(struct complaint *complaint, const char *code, const char *what, const char *why, const char *cure)
{
	complaint->code = code;
	snprintf(complaint->what, sizeof(complaint->what), "%s", what);
	snprintf(complaint->why, sizeof(complaint->why), "%s", why);
	snprintf(complaint->cure, sizeof(complaint->cure), "%s", cure);
	return false;
}

static bool refuse_value(struct complaint *complaint, const struct flag *flag, const char *origin, const char *value)
{
	static const char *const kinds[] = {
		[FLAG_NUMBER] = "a number", [FLAG_DURATION] = "a duration such as 10s or 250ms, up to an hour"
	};
	char what[256], cure[256];

	snprintf(what, sizeof(what), "%s does not take '%s'", origin, value);
	if (flag->kind == FLAG_WORD)
		snprintf(cure, sizeof(cure), "give one of %s", flag->value);
	else
		snprintf(cure, sizeof(cure), "give %s", flag->kind == FLAG_TEXT ? "a value" : kinds[flag->kind]);
	return refuse(complaint, "DOM-U003", what, "", cure);
}

static bool value_fits(const struct flag *flag, const char *value)
{
	uint64_t number;

	switch (flag->kind) {
	case FLAG_NUMBER:
		return parse_u64(value, &number);
	case FLAG_DURATION:
		return parse_duration_us(value, &number) && number / 1000 > 0 && number / 1000 <= TIMEOUT_MS_MAX;
	case FLAG_WORD:
		return word_in(flag->value, value);
	default:
		return true;
	}
}

/* origin: "--timeout" or "DOMCTL_TIMEOUT", for complaints. */
static bool give(struct invocation *invocation, const struct flag *flag, const char *origin, const char *value,
	struct complaint *complaint)
{
	if (flag->kind != FLAG_SWITCH && !value_fits(flag, value))
		return refuse_value(complaint, flag, origin, value);
	if (invocation->given_count == GIVEN_MAX)
		return refuse(complaint, "DOM-U003", "too many flags", "", "");
	invocation->given[invocation->given_count].flag = flag;
	invocation->given[invocation->given_count++].value = value;
	return true;
}

static bool unknown_flag(struct complaint *complaint, const struct command *command, const char *name, size_t size)
{
	const char *candidates[CANDIDATES_MAX], *nearest;
	char word[TEXT_WORD_MAX + 1], what[256], cure[256];
	size_t count = 0;

	snprintf(word, sizeof(word), "%.*s", (int)(size > TEXT_WORD_MAX ? TEXT_WORD_MAX : size), name);
	for (size_t i = 0; global_flags[i] != NULL; i++)
		candidates[count++] = global_flags[i]->name;
	for (size_t c = 0; c < command_count; c++) {
		for (size_t i = 0; commands[c].flags != NULL && commands[c].flags[i] != NULL; i++) {
			if ((command == NULL || command == &commands[c]) && count < CANDIDATES_MAX)
				candidates[count++] = commands[c].flags[i]->name;
		}
	}
	nearest = text_nearest(word, candidates, count);
	if (command == NULL)
		snprintf(what, sizeof(what), "no command has a flag --%s", word);
	else
		snprintf(what, sizeof(what), "%s%s%s has no flag --%s", command->noun, command->verb == NULL ? "" : " ",
			command->verb == NULL ? "" : command->verb, word);
	if (nearest != NULL)
		snprintf(cure, sizeof(cure), "did you mean --%s?", nearest);
	else if (command == NULL)
		snprintf(
			cure, sizeof(cure), "see `domctl help`; what begins with a dash and is no flag goes behind --");
	else
		snprintf(cure, sizeof(cure), "see `domctl help %s%s%s`", command->noun,
			command->verb == NULL ? "" : " ", command->verb == NULL ? "" : command->verb);
	return refuse(complaint, "DOM-U002", what, "", cure);
}

/* One flag at argv[*at]; its value may be the next word. */
static bool take_flag(int argc, char *const argv[], int *at, struct invocation *invocation, struct complaint *complaint)
{
	const char *word = argv[*at], *equals = NULL;
	const struct flag *flag;
	char origin[TEXT_WORD_MAX + 3];

	if (word[1] == '-') {
		size_t size = strcspn(word + 2, "=");

		equals = word[2 + size] == '=' ? word + 3 + size : NULL;
		flag = flag_anywhere(word + 2, size);
		if (flag == NULL)
			return unknown_flag(complaint, NULL, word + 2, size);
	} else {
		flag = flag_letter(word[1]);
		if (flag == NULL)
			return unknown_flag(complaint, NULL, word + 1, strlen(word + 1));
		if (word[2] != '\0')
			equals = word + (word[2] == '=' ? 3 : 2);
	}
	snprintf(origin, sizeof(origin), "--%s", flag->name);
	if (flag->kind == FLAG_SWITCH) {
		char what[256];

		if (equals == NULL)
			return give(invocation, flag, origin, "", complaint);
		snprintf(what, sizeof(what), "%s takes no value", origin);
		return refuse(complaint, "DOM-U003", what, "", "leave out the value");
	}
	if (equals == NULL && *at + 1 >= argc) {
		char what[256];

		snprintf(what, sizeof(what), "%s needs a value", origin);
		return refuse(complaint, "DOM-U003", what, "", flag->help);
	}
	return give(invocation, flag, origin, equals != NULL ? equals : argv[++*at], complaint);
}

static bool unknown_word(struct complaint *complaint, const char *noun, const char *word)
{
	const char *candidates[CANDIDATES_MAX], *nearest;
	char what[256], cure[256];
	size_t count = 0;

	for (size_t i = 0; i < command_count; i++) {
		if (!commands[i].hidden && (noun == NULL || strcmp(commands[i].noun, noun) == 0))
			candidates[count++] = noun == NULL ? commands[i].noun : commands[i].verb;
	}
	assert(count <= CANDIDATES_MAX);
	nearest = strlen(word) > TEXT_WORD_MAX ? NULL : text_nearest(word, candidates, count);
	snprintf(what, sizeof(what), noun == NULL ? "no command '%.64s'" : "%2$s has no verb '%1$.64s'", word, noun);
	if (nearest != NULL)
		snprintf(cure, sizeof(cure), "did you mean `domctl %s%s%s`?", noun == NULL ? "" : noun,
			noun == NULL ? "" : " ", nearest);
	else
		snprintf(
			cure, sizeof(cure), "see `domctl help%s%s`", noun == NULL ? "" : " ", noun == NULL ? "" : noun);
	return refuse(complaint, "DOM-U001", what, "", cure);
}

/* The command of the words; they are moved up by as many as it took. */
static bool choose_command(struct invocation *invocation, struct complaint *complaint)
{
	const char *noun = invocation->argument_count > 0 ? invocation->arguments[0] : NULL, *verb = NULL;
	uint32_t words;

	if (noun == NULL || invocation->separator == 0) {
		if (invocation->help)
			return true;
		return refuse(complaint, "DOM-U001", "no command given", "", "see `domctl help`");
	}
	if (!command_noun_known(noun))
		return unknown_word(complaint, NULL, noun);
	if (invocation->argument_count > 1 && invocation->separator > 1)
		verb = invocation->arguments[1];
	invocation->command = command_find(noun, verb);
	if (invocation->command == NULL) {
		char cure[256];

		if (verb != NULL)
			return unknown_word(complaint, noun, verb);
		invocation->help_noun = noun;
		if (invocation->help)
			return true;
		snprintf(cure, sizeof(cure), "see `domctl help %s`", noun);
		return refuse(complaint, "DOM-U001", "the command needs a verb", "", cure);
	}
	words = invocation->command->verb == NULL ? 1 : 2;
	invocation->argument_count -= words;
	invocation->separator -= words;
	memmove(invocation->arguments, invocation->arguments + words,
		invocation->argument_count * sizeof(invocation->arguments[0]));
	return true;
}

static bool check_arguments(const struct invocation *invocation, struct complaint *complaint)
{
	const struct command *command = invocation->command;
	bool few = invocation->argument_count < command->argument_min;
	char what[256], why[256];

	if (!few && invocation->argument_count <= command->argument_max)
		return true;
	snprintf(what, sizeof(what), "%s%s%s: too %s arguments", command->noun, command->verb == NULL ? "" : " ",
		command->verb == NULL ? "" : command->verb, few ? "few" : "many");
	if (command->arguments == NULL)
		snprintf(why, sizeof(why), "it takes none");
	else
		snprintf(why, sizeof(why), "it takes %s", command->arguments);
	return refuse(complaint, "DOM-U004", what, why, command->example);
}

static bool check_flags(const struct invocation *invocation, struct complaint *complaint)
{
	for (uint32_t i = 0; i < invocation->given_count; i++) {
		const char *name = invocation->given[i].flag->name;

		if (flag_among(global_flags, name, strlen(name)) == NULL &&
			flag_among(invocation->command->flags, name, strlen(name)) == NULL)
			return unknown_flag(complaint, invocation->command, name, strlen(name));
	}
	if (invocation->dry_run && invocation->command->only_does)
		return refuse(complaint, "DOM-U002", "--dry-run is not known here",
			"this writes files, and no cluster judges them",
			"leave --dry-run out, or write elsewhere with --out");
	return true;
}

static const char *variable_of(const struct flag *flag, char *const environment[])
{
	char name[64] = "DOMCTL_";
	size_t at = strlen(name);

	for (const char *c = flag->name; *c != '\0' && at + 1 < sizeof(name); c++)
		name[at++] = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
	name[at] = '\0';
	for (size_t i = 0; environment != NULL && environment[i] != NULL; i++) {
		if (strncmp(environment[i], name, at) == 0 && environment[i][at] == '=')
			return environment[i] + at + 1;
	}
	return NULL;
}

/* A flag wins over its variable, so variables are only looked at where the flag was not given. */
static bool take_environment(struct invocation *invocation, char *const environment[], struct complaint *complaint)
{
	for (size_t i = 0; global_flags[i] != NULL; i++) {
		const struct flag *flag = global_flags[i];
		const char *value = variable_of(flag, environment);
		char origin[64];

		if (value == NULL || value[0] == '\0' || strcmp(flag->name, "help") == 0 ||
			flag_given(invocation, flag->name))
			continue;
		if (flag->kind == FLAG_SWITCH && (strcmp(value, "0") == 0 || strcmp(value, "false") == 0))
			continue;
		snprintf(origin, sizeof(origin), "the variable of --%s", flag->name);
		if (!give(invocation, flag, origin, value, complaint))
			return false;
	}
	return true;
}

static void settle_globals(struct invocation *invocation)
{
	static const char *const outputs[] = { "table", "wide", "json", "jsonl", "name" };
	static const char *const colors[] = { "auto", "always", "never" };
	const char *output = flag_text(invocation, "output"), *color = flag_text(invocation, "color");
	const char *timeout = flag_text(invocation, "timeout");
	uint64_t timeout_us = 0;

	for (unsigned i = 0; output != NULL && i < 5; i++) {
		if (strcmp(output, outputs[i]) == 0)
			invocation->output = (enum output)i;
	}
	for (unsigned i = 0; color != NULL && i < 3; i++) {
		if (strcmp(color, colors[i]) == 0)
			invocation->color = (enum color)i;
	}
	invocation->timeout_ms = TIMEOUT_MS_DEFAULT;
	if (timeout != NULL && parse_duration_us(timeout, &timeout_us))
		invocation->timeout_ms = (uint32_t)(timeout_us / 1000);
	invocation->quiet = flag_given(invocation, "quiet");
	invocation->yes = flag_given(invocation, "yes");
	invocation->dry_run = flag_given(invocation, "dry-run");
	invocation->endpoint = flag_text(invocation, "endpoint");
	invocation->certs = flag_text(invocation, "certs");
	invocation->as_region = flag_text(invocation, "as-region");
	invocation->confirm = flag_text(invocation, "confirm");
}

bool parse_invocation(int argc, char *const argv[], char *const environment[], struct invocation *invocation,
	struct complaint *complaint)
{
	bool separated = false;

	memset(invocation, 0, sizeof(*invocation));
	invocation->separator = UINT32_MAX;
	for (int i = 1; i < argc; i++) {
		if (!separated && strcmp(argv[i], "--") == 0) {
			separated = true;
			invocation->separator = invocation->argument_count;
			continue;
		}
		if (!separated && argv[i][0] == '-' && argv[i][1] != '\0') {
			if (!take_flag(argc, argv, &i, invocation, complaint))
				return false;
			continue;
		}
		if (invocation->argument_count == ARGUMENTS_MAX)
			return refuse(complaint, "DOM-U004", "too many arguments", "", "");
		invocation->arguments[invocation->argument_count++] = argv[i];
	}
	if (!separated)
		invocation->separator = invocation->argument_count;
	invocation->help = flag_given(invocation, "help");
	if (!take_environment(invocation, environment, complaint))
		return false;
	settle_globals(invocation);
	if (!choose_command(invocation, complaint))
		return false;
	if (invocation->help)
		return true;
	return check_flags(invocation, complaint) && check_arguments(invocation, complaint);
}
