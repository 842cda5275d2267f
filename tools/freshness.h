/* tools/freshness.h: --read and --session of the verbs on keys: how fresh an answer must be, and what earlier commands
 * have seen. The session's token lives in a file; each command takes it up and writes it back whole (renamed into
 * place, under a lock, merged with what another command wrote meanwhile), so that many may share it. An empty or absent
 * file is a fresh session. Functions that return int have printed their failure and return its exit code. */
#ifndef DOMICILE_TOOLS_FRESHNESS_H
#define DOMICILE_TOOLS_FRESHNESS_H

#include "client/domicile.h"
#include "tools/command.h"

struct freshness {
	dom_session *session; /* NULL: none is wanted */
	const char *path;     /* NULL: it is of this command alone */
};
/* Into the options; the file is there and may be written afterwards. */
int freshness_begin(struct freshness *freshness, const struct invocation *invocation, dom_options *options);
/* Once no call is open any more: what was seen goes into the file. */
int freshness_end(struct freshness *freshness, const struct invocation *invocation);

#endif
