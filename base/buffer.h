/* base/buffer.h: shared bytes on the heap, counted by reference: an entry's body is one buffer from the socket to the
 * journal and to every follower. The maker fills it before the first share; after that it is read-only. References
 * may be taken and dropped on any thread. Not for policy/ and replication/, which own no memory. */
#ifndef DOMICILE_BASE_BUFFER_H
#define DOMICILE_BASE_BUFFER_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/status.h"

struct buffer {
	size_t size;
	_Atomic uint32_t refs;
	uint8_t data[];
};

struct buffer *buffer_new(size_t size) MUST;		/* one reference, bytes not set; NULL: no memory */
struct buffer *buffer_copy(struct bytes bytes) MUST;	/* NULL: no memory */
struct buffer *buffer_ref(struct buffer *buffer);	/* returns its argument */
void buffer_unref(struct buffer *buffer);		/* NULL is fine */
struct bytes buffer_bytes(const struct buffer *buffer); /* NULL is empty; borrowed from a reference */

#endif
