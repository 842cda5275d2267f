/* tools/parse.h: from argv and the environment to an invocation, by the table. */
#ifndef DOMICILE_TOOLS_PARSE_H
#define DOMICILE_TOOLS_PARSE_H

#include "tools/command.h"

struct complaint {
	const char *code;
	char what[256], why[256], cure[256];
};
/* False: complaint says why. environment: like environ, NULL for none. */
bool parse_invocation(int argc, char *const argv[], char *const environment[], struct invocation *invocation,
	struct complaint *complaint);
/* A flag by its name, of whichever command; NULL: no command has it. */
const struct flag *flag_anywhere(const char *name, size_t name_size);
/* The word is one of those between the '|' of list. */
bool word_in(const char *list, const char *word);

#endif
