/* server/server.h: domiciled: the node of server/node.h on libevent, TLS and threads. One loop owns the node and every
 * connection; one thread waits for the journal's disk, a few for reads. */
#ifndef DOMICILE_SERVER_SERVER_H
#define DOMICILE_SERVER_SERVER_H

#include "base/text.h"
#include "config/server.h"

struct server;

/* Why a start failed: for people, on one line, with a stable code and the exit code that goes with it. */
struct server_failure {
	int exit_code;
	const char *code; /* "DOM-N002" */
	char text[2048];  /* what, why, what to do */
};

/* listening_file: NULL, or where the bound port is written once the node listens. */
bool server_start(const struct server_config *config, const char *listening_file, struct server **server,
	struct server_failure *failure) MUST;
int server_run(struct server *server); /* until a signal or a fatal error; the process's exit code */
void server_free(struct server *server);

#endif
