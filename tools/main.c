/* tools/main.c: domctl. */
#include <signal.h>
#include <stdio.h>

#include "tools/command.h"
#include "tools/errors.h"
#include "tools/help.h"
#include "tools/output.h"
#include "tools/parse.h"

int main(int argc, char **argv, char **environment)
{
	static struct invocation invocation;
	struct complaint complaint;
	int code;

	signal(SIGPIPE, SIG_IGN);
	if (!parse_invocation(argc, argv, environment, &invocation, &complaint)) {
		paint_init(invocation.color);
		return fail(&invocation, complaint.code, complaint.what, complaint.cure, "%s", complaint.why);
	}
	paint_init(invocation.color);
	if (invocation.help)
		code = help_print(stdout, invocation.command, invocation.help_noun);
	else
		code = invocation.command->run(&invocation);
	if (fflush(stdout) != 0 && code == EXIT_OK)
		code = EXIT_CLOSED; /* whoever read the answer went away before its end */
	return code;
}
