/* tools/main.c: domctl. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

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
	if (fflush(stdout) != 0) {
		if (errno != EPIPE) /* else whoever read the answer has what he wanted */
			code = fail(&invocation, "DOM-D003", "the answer could not be written whole", NULL, "%s",
				strerror(errno));
		else if (code == EXIT_OK)
			code = EXIT_CLOSED;
	}
	return code;
}
