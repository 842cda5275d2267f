/* server/join.h: a node without an id asks the nodes of its configuration, one after the other, to be admitted; a hint
 * at the leader is followed through the map of whoever gave it. A node that has an id asks for a map alone, of them and
 * of the nodes that it knows, when it needs one (node_unmapped). */
#ifndef DOMICILE_SERVER_JOIN_H
#define DOMICILE_SERVER_JOIN_H

struct join;
struct server;

struct join *join_begin(struct server *server); /* NULL: no memory */
void join_wake(struct join *join);		/* goes on if there is something to ask for; cheap, after each turn */
void join_free(struct join *join);		/* NULL is fine */

#endif
