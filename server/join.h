/* server/join.h: a node without an id asks the nodes of its configuration, one after the other, to be admitted; a hint
 * at the leader is followed through the map of whoever gave it. Ends when the node has an id
 * and a map: one that stopped before meta's log came has the first alone, and asks for the other. */
#ifndef DOMICILE_SERVER_JOIN_H
#define DOMICILE_SERVER_JOIN_H

struct join;
struct server;

struct join *join_begin(struct server *server); /* NULL: no memory */
void join_free(struct join *join);		/* NULL is fine */

#endif
