/* server/peers.h: one outgoing connection to every other node of the map; what a node sends goes there. What it
 * receives comes on the connection that the other one dialled (server/listener.h), so a pair has two and needs no
 * tie-break.
 *
 * A dialled node is checked against the place that the map expects of it, never against its address. Reconnects after
 * 50 ms, doubled up to 2 s, each with jitter; at once when the other one has dialled us. */
#ifndef DOMICILE_SERVER_PEERS_H
#define DOMICILE_SERVER_PEERS_H

#include "policy/map.h"
#include "wire/message.h"

struct peers;
struct server;

struct peers *peers_new(struct server *server); /* NULL: no memory */
void peers_free(struct peers *peers);		/* NULL is fine */
void peers_map_changed(struct peers *peers, const struct cluster_map *map);
/* It has dialled us and said HELLO: it is there, so it is dialled back now, not when the wait is over. */
void peers_heard(struct peers *peers, uint64_t node);
/* Closes those whose certificate is revoked by now; they are dialled again and again, since it may be renewed. */
void peers_judge_anew(struct peers *peers);
/* Dropped when there is no connection or its queue is full. */
void peers_send(struct peers *peers, uint64_t node, const struct message *message);

#endif
