/* tools/errors.h: how domctl fails: what, why, what to do, and a stable code. One table holds every code with its exit
 * code and a text that `domctl help DOM-R003` prints without a cluster. Codes are never reused. */
#ifndef DOMICILE_TOOLS_ERRORS_H
#define DOMICILE_TOOLS_ERRORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/domicile.h"
#include "tools/command.h"

enum exit_code {
	EXIT_OK = 0,
	EXIT_NOT_FOUND = 1,
	EXIT_USAGE = 2,
	EXIT_RESIDENCY = 3,
	EXIT_MISMATCH = 4,
	EXIT_QUORUM = 5,
	EXIT_UNKNOWN = 6,
	EXIT_TIMED_OUT = 7,
	EXIT_BUSY = 8,
	EXIT_TOO_LARGE = 9,
	EXIT_INVALID = 10,
	EXIT_CONNECT = 11,
	EXIT_CONFIRM = 12,
	EXIT_CLOSED = 13,
	EXIT_CHECK = 14,
	EXIT_PARTIAL = 15,
	EXIT_CONFLICT = 16,
	EXIT_BUG = 125,
};

struct error_code {
	const char *code; /* "DOM-R003" */
	int exit;
	const char *title;
	const char *text; /* why it happens and what to do, in paragraphs */
};
extern const struct error_code error_codes[];
extern const size_t error_code_count;
const struct error_code *error_code_find(const char *code); /* with or without DOM-, in any case */

/* Prints the failure to stderr in the invocation's form (JSON when JSON was asked for) and returns the code's exit
 * code. why, cure: NULL or "" leaves the line out; `why` may be a format. */
int fail(const struct invocation *invocation, const char *code, const char *what, const char *cure, const char *why,
	...) __attribute__((format(printf, 5, 6)));
/* The code for how a call ended, whatever it was about. */
const char *error_code_of(enum dom_status status, bool change);
/* Whatever fails from now on is this process's end, not news: fail() prints nothing more. For a thread that ends the
 * process while others still run. */
void errors_silence(void);
int fail_call(const struct invocation *invocation, enum dom_status status, const char *message, const char *what);

#endif
