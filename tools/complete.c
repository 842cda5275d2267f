/* tools/complete.c: completion. The shell's part is a stub; candidates come from the table, and for names of regions,
 * policies, nodes and shards from the cluster, within 300 ms and without a word when that fails. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/errors.h"
#include "tools/parse.h"
#include "tools/session.h"

enum { CLUSTER_TIMEOUT_MS = 300 };

int run_completion(const struct invocation *invocation)
{
	if (strcmp(invocation->arguments[0], "bash") != 0)
		return fail(invocation, "DOM-U004", "no completion for that shell", "bash is supported", "%s",
			invocation->arguments[0]);
	fputs("# bash completion of domctl; put it into /usr/share/bash-completion/completions/domctl\n"
	      "_domctl() {\n"
	      "\tlocal IFS=$'\\n' word=${COMP_WORDS[COMP_CWORD]}\n"
	      "\tCOMPREPLY=($(\"${COMP_WORDS[0]}\" __complete -- \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null))\n"
	      "\tif [ \"${COMPREPLY[*]}\" = @file ]; then\n"
	      "\t\tCOMPREPLY=($(compgen -f -- \"$word\"))\n"
	      "\tfi\n"
	      "}\n"
	      "complete -o filenames -F _domctl domctl\n",
		stdout);
	return EXIT_OK;
}

static void offer(const char *candidate, const char *prefix)
{
	if (strncmp(candidate, prefix, strlen(prefix)) == 0)
		puts(candidate);
}

static void offer_words(const char *list, const char *prefix)
{
	char word[64];

	for (const char *at = list; *at != '\0';) {
		size_t size = strcspn(at, "|"), name = strcspn(at, "=|");

		/* "bounded=MS": the number is the user's */
		snprintf(word, sizeof(word), "%.*s", (int)(name < size ? name + 1 : size), at);
		offer(word, prefix);
		at += size + (at[size] == '|' ? 1 : 0);
	}
}

static void offer_from_map(const struct cluster_map *map, const char *what, const char *prefix)
{
	char text[24];

	if (strcmp(what, COMPLETE_REGION) == 0) {
		for (uint32_t i = 0; i < map->region_count; i++)
			offer(map->regions[i].name, prefix);
	} else if (strcmp(what, COMPLETE_POLICY) == 0) {
		for (uint32_t i = 0; i < map->policy_count; i++)
			offer(map->policies[i].name, prefix);
	} else if (strcmp(what, COMPLETE_NODE) == 0) {
		for (uint32_t i = 0; i < map->node_count; i++)
			offer(map->nodes[i].place.text, prefix);
	} else {
		for (uint32_t i = 0; i < map->shard_count; i++) {
			snprintf(text, sizeof(text), "%llu", (unsigned long long)map->shards[i].id);
			offer(text, prefix);
		}
	}
}

static void offer_from_cluster(const struct invocation *invocation, const char *what, const char *prefix)
{
	static struct invocation quick;
	struct session session;

	quick = *invocation;
	quick.timeout_ms = CLUSTER_TIMEOUT_MS;
	if (quick.endpoint == NULL || quick.certs == NULL || freopen("/dev/null", "w", stderr) == NULL)
		return;
	if (session_open_with_map(&session, &quick, AS_READER) == EXIT_OK)
		offer_from_map(session.map, what, prefix);
	session_close(&session);
}

static void offer_arguments(const struct invocation *invocation, const struct command *command, const char *prefix)
{
	if (command->complete == NULL)
		return;
	if (strcmp(command->complete, COMPLETE_FILE) == 0) {
		puts("@file");
	} else if (strcmp(command->complete, COMPLETE_TOPIC) == 0) {
		for (size_t i = 0; i < command_count; i++) {
			if (!commands[i].hidden && (i == 0 || strcmp(commands[i].noun, commands[i - 1].noun) != 0))
				offer(commands[i].noun, prefix);
		}
		for (size_t i = 0; i < error_code_count && prefix[0] == 'D'; i++)
			offer(error_codes[i].code, prefix);
		offer_words("exit-codes|errors|formats", prefix);
	} else if (command->complete[0] == '@') {
		offer_from_cluster(invocation, command->complete, prefix);
	} else {
		offer_words(command->complete, prefix);
	}
}

static void offer_flags(const struct flag *const *flags, const char *prefix)
{
	char text[64];

	for (size_t i = 0; flags != NULL && flags[i] != NULL; i++) {
		snprintf(text, sizeof(text), "--%s", flags[i]->name);
		offer(text, prefix);
	}
}

static void offer_value(const struct invocation *invocation, const struct flag *flag, const char *prefix)
{
	if (flag->kind == FLAG_WORD)
		offer_words(flag->value, prefix);
	else if (strcmp(flag->name, "as-region") == 0 || strcmp(flag->name, "from") == 0 ||
		 strcmp(flag->name, "region") == 0)
		offer_from_cluster(invocation, COMPLETE_REGION, prefix);
	else if (strcmp(flag->name, "policy") == 0 || strcmp(flag->name, "must-be") == 0)
		offer_from_cluster(invocation, COMPLETE_POLICY, prefix);
	else if (flag->kind == FLAG_TEXT)
		puts("@file");
}

static void offer_nouns(const char *prefix)
{
	for (size_t i = 0; i < command_count; i++) {
		if (!commands[i].hidden && (i == 0 || strcmp(commands[i].noun, commands[i - 1].noun) != 0))
			offer(commands[i].noun, prefix);
	}
}

/* The flag that waits for its value at the last word; NULL: none. */
static const struct flag *open_flag(const struct invocation *invocation)
{
	const char *word = invocation->argument_count < 2 ? "" : invocation->arguments[invocation->argument_count - 2];
	const struct flag *flag = NULL;

	if (strncmp(word, "--", 2) == 0)
		flag = flag_anywhere(word + 2, strlen(word + 2));
	else if (strcmp(word, "-o") == 0)
		flag = flag_anywhere("output", 6);
	return flag != NULL && flag->kind != FLAG_SWITCH ? flag : NULL;
}

int run_complete(const struct invocation *invocation)
{
	uint32_t count = invocation->argument_count;
	const char *last = count == 0 ? "" : invocation->arguments[count - 1], *words[2] = { NULL, NULL };
	const struct command *command = NULL;
	unsigned found = 0;

	if (open_flag(invocation) != NULL) {
		offer_value(invocation, open_flag(invocation), last);
		return EXIT_OK;
	}
	for (uint32_t i = 0; i + 1 < count && found < 2; i++) {
		const char *word = invocation->arguments[i];
		const struct flag *flag =
			strncmp(word, "--", 2) == 0 ? flag_anywhere(word + 2, strlen(word + 2)) : NULL;

		if (word[0] == '-')
			i += (flag != NULL && flag->kind != FLAG_SWITCH) || strcmp(word, "-o") == 0;
		else
			words[found++] = word;
	}
	if (found > 0)
		command = command_find(words[0], words[1]);
	if (last[0] == '-') {
		offer_flags(global_flags, last);
		offer_flags(command == NULL ? NULL : command->flags, last);
	} else if (found == 0) {
		offer_nouns(last);
	} else if (command != NULL) {
		offer_arguments(invocation, command, last);
	} else if (found == 1) {
		for (size_t i = 0; i < command_count; i++) {
			if (strcmp(commands[i].noun, words[0]) == 0)
				offer(commands[i].verb, last);
		}
	}
	return EXIT_OK;
}
