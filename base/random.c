/* base/random.c: see base/random.h. */
#include "base/random.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <sys/random.h>

enum status random_bytes(void *out, size_t size)
{
	uint8_t *at = out;
	assert(out || size == 0);
	while (size > 0) {
		ssize_t got = getrandom(at, size, 0);
		if (got < 0) {
			if (errno == EINTR)
				continue;
			return errno == ENOSYS ? STATUS_UNSUPPORTED : STATUS_IO;
		}
		assert((size_t)got <= size);
		at += got;
		size -= (size_t)got;
	}
	return STATUS_OK;
}
