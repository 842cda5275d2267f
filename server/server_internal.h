/* server/server_internal.h: what the shell's files share: server.c (life, the node's callbacks, time), listener.c (who
 * dials us), peers.c (whom we dial), join.c (asking for admission), certificates.c (our own). One thread: the loop's.
 */
#ifndef DOMICILE_SERVER_SERVER_INTERNAL_H
#define DOMICILE_SERVER_SERVER_INTERNAL_H

#include <time.h>

#include "base/prng.h"
#include "config/server.h"
#include "server/node.h"
#include "server/server.h"
#include "wire/connection.h"

enum {
	CONNECT_TIMEOUT_MS = 3000,
	GREETING_TIMEOUT_MS = 5000, /* from accept to HELLO */
	IDLE_TIMEOUT_MS = 60000,    /* of clients */
	PEER_UNACKED_MS = 4000,	    /* then a peer's connection is dialled anew */
	CLIENT_UNACKED_MS = 30000,
	SERVER_SIGNALS = 3,
};

struct server_limits {		/* bytes; from the memory budget of the configuration */
	uint64_t inflight;	/* requests not yet answered, all connections together */
	uint64_t clients;	/* frames not yet whole and answers not yet read, all clients together */
	uint32_t client_output; /* queued for one client */
	uint32_t peer_output;	/* queued for one peer */
};

struct file_mark { /* tells a file from what stood there before; all 0: nothing there */
	struct timespec changed;
	uint64_t inode, size;
};

struct own_certificate { /* what server->tls shows; certificates.c */
	uint8_t issuer_spki_sha256[32];
	int64_t ends_s;			 /* its own end or its authority's, whichever is first; since 1970 */
	struct revocations *revocations; /* NULL: none are configured */
	struct file_mark crl_mark;	 /* of the file that was last looked at, taken or not */
	bool due_told;			 /* that a newer list of revoked certificates was promised */
	struct event *watch;
	uint64_t reminder_ns; /* when the log is told again what will end */
};

struct server {
	struct server_config config;
	struct server_limits limits;
	struct event_base *base;
	struct tls_context *tls;
	struct own_certificate own;
	struct node *node;
	struct listener *listener;
	struct peers *peers;
	struct join *join;
	struct journal_thread *journal_thread;
	struct block_pool *block_pool;
	struct event *after, *timer, *retry, *signals[SERVER_SIGNALS], *resign;
	struct place region; /* our own */
	struct prng prng;    /* jitter only */
	int timer_fd;
	uint64_t timer_ns;  /* armed for; UINT64_MAX: not armed */
	uint64_t resign_ns; /* when the grace ends; 0: not stopping */
	bool after_wanted, flush_wanted, map_changed;
	int exit_code;
};

struct node_time server_time(void);	  /* a fresh read of both clocks */
void server_after(struct server *server); /* after any node_* call: once, at the end of this turn of the loop */
/* From a certificate. False: not a place. */
bool server_identity(
	const struct certificate_name *who, const uint8_t issuer_spki_sha256[32], struct peer_identity *identity) MUST;
/* For both directions, as soon as TLS is up: cluster, role for the protocol, meta's pins. */
enum status server_admits(struct server *server, const struct certificate_name *who,
	const struct peer_identity *identity, enum tls_alpn alpn, const char **why) MUST;
/* The other side's HELLO: version and cluster id. */
enum status server_check_hello(struct server *server, const struct message_hello *hello, const char **why) MUST;
/* Always false: three texts, one after the other, say what, why and what to do. */
bool server_fail(struct server_failure *failure, int exit_code, const char *code, const char *a, const char *b,
	const char *c) MUST;
extern const char server_revoked[]; /* why a certificate that was good is not any more */
bool server_same_region(const struct server *server, const char *place);

#endif
