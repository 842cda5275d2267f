/* tools/help.h: help, completion and the reference page, all from the table. */
#ifndef DOMICILE_TOOLS_HELP_H
#define DOMICILE_TOOLS_HELP_H

#include <stdio.h>

#include "tools/command.h"

/* Of one command; of a noun when command is NULL; of all when both are. Returns EXIT_OK. */
int help_print(FILE *out, const struct command *command, const char *noun);

#endif
