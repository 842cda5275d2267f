/* server/group_driver_overlay.h: what a write batch has done to keys so far, so that a compare-and-set or a delete
 * later in the batch sees it. Keys are borrowed from the batch's bodies. One batch, one thread. */
#ifndef DOMICILE_SERVER_GROUP_DRIVER_OVERLAY_H
#define DOMICILE_SERVER_GROUP_DRIVER_OVERLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/status.h"

struct overlay_slot {
	struct bytes key;
	uint64_t hash, version; /* version 0: absent */
	bool used;
};
struct overlay {
	struct overlay_slot *at; /* open addressing; capacity is a power of two, at least twice the count */
	size_t count, capacity;
};

enum status overlay_init(struct overlay *overlay, size_t keys_max) MUST;
void overlay_deinit(struct overlay *overlay);
void overlay_set(struct overlay *overlay, struct bytes key, uint64_t version);
bool overlay_find(const struct overlay *overlay, struct bytes key, uint64_t *version);

#endif
