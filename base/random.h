/* base/random.h: bytes that nobody can guess, from the kernel: ids, secrets, seeds. Never in policy/ or replication/.
 */
#ifndef DOMICILE_BASE_RANDOM_H
#define DOMICILE_BASE_RANDOM_H

#include <stddef.h>

#include "base/status.h"

/* All of them or none: UNSUPPORTED on a kernel without getrandom(2), IO for anything else it refuses. May block once
 * after boot, until the kernel has gathered enough. */
enum status random_bytes(void *out, size_t size) MUST;

#endif
