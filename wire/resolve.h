/* wire/resolve.h: host:port to socket addresses. A numeric host is answered at once; a name is looked up by a thread of
 * its own that lives for one lookup, because getaddrinfo(3) blocks, honours the machine's configuration (nsswitch,
 * hosts, search domains), and nothing else does. The thread and the asker share the lookup by reference count, so that
 * an asker who has lost interest never waits for a slow name server. */
#ifndef DOMICILE_WIRE_RESOLVE_H
#define DOMICILE_WIRE_RESOLVE_H

#include "base/status.h"

struct addrinfo;
struct resolve;

/* INVALID: not host:port or [v6]:port. BUSY: too many lookups run. CANNOT_CONNECT: no thread or descriptor to be had.
 */
enum status resolve_start(const char *address, bool passive, struct resolve **resolve) MUST;
int resolve_fd(const struct resolve *resolve); /* readable once the answer is there; borrowed */
/* NULL with *why (static text) when the name has no address; borrowed from the lookup. Call once resolve_fd is
 * readable. */
const struct addrinfo *resolve_answer(struct resolve *resolve, const char **why);
bool resolve_done(const struct resolve *resolve); /* the answer is there already */
void resolve_release(struct resolve *resolve);	  /* at any time; NULL is fine */

#endif
