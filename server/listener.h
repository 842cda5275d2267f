/* server/listener.h: those who dial us: clients, administrators, joining nodes (ALPN domicile/1) and peers (ALPN
 * domicile-peer/1), on one socket.
 *
 * A connection's life: accepted (TLS) -> greeting (HELLO within 5 s, frames of at most 16 KiB) -> open. Its number is a
 * slot and a generation, so that an answer to a connection that is gone goes nowhere.
 * Bounds: 512 connections on their way to HELLO (then the oldest makes room), 1,024 of one identity, 256 requests in
 * flight on one connection (then it is not read), bytes in flight of all together (then BUSY), bytes queued per
 * connection. */
#ifndef DOMICILE_SERVER_LISTENER_H
#define DOMICILE_SERVER_LISTENER_H

#include "base/status.h"
#include "wire/message.h"

struct listener;
struct server;

/* Binds and listens, accepts nothing yet. *why: static or per-thread text. */
enum status listener_new(struct server *server, const char *address, struct listener **listener, const char **why) MUST;
uint16_t listener_port(const struct listener *listener);
enum status listener_begin(struct listener *listener) MUST;  /* accepts from now on */
void listener_stop(struct listener *listener);		     /* accepts no more; open connections stay */
uint32_t listener_inflight(const struct listener *listener); /* requests not answered yet */
void listener_free(struct listener *listener);		     /* closes all; NULL is fine */
void listener_reply(struct listener *listener, uint64_t connection, const struct message *message);
/* Every connection, by the map and the lists of revoked certificates that are in force now. */
void listener_judge_anew(struct listener *listener);

#endif
