/* server/group_driver_overlay.c: see server/group_driver_overlay.h. */
#include "server/group_driver_overlay.h"

#include <assert.h>
#include <stdlib.h>

#include "base/hash.h"

enum status overlay_init(struct overlay *overlay, size_t keys_max)
{
	size_t capacity = 8;
	while (capacity < 2 * keys_max)
		capacity *= 2;
	*overlay = (struct overlay){ .at = calloc(capacity, sizeof(struct overlay_slot)), .capacity = capacity };
	return overlay->at ? STATUS_OK : STATUS_NO_MEMORY;
}

void overlay_deinit(struct overlay *overlay)
{
	free(overlay->at);
	*overlay = (struct overlay){ 0 };
}

/* The key's slot, or the free one where it would go. There is always a free one. */
static struct overlay_slot *probe(const struct overlay *overlay, struct bytes key, uint64_t hash)
{
	size_t mask = overlay->capacity - 1;
	for (size_t i = hash & mask;; i = (i + 1) & mask) {
		struct overlay_slot *slot = &overlay->at[i];
		if (!slot->used)
			return slot;
		if (slot->hash == hash && bytes_equal(slot->key, key))
			return slot;
	}
}

void overlay_set(struct overlay *overlay, struct bytes key, uint64_t version)
{
	uint64_t hash = hash64(key);
	struct overlay_slot *slot = probe(overlay, key, hash);
	if (!slot->used) {
		overlay->count++;
		assert(2 * overlay->count <= overlay->capacity);
	}
	*slot = (struct overlay_slot){ .key = key, .hash = hash, .version = version, .used = true };
}

bool overlay_find(const struct overlay *overlay, struct bytes key, uint64_t *version)
{
	if (overlay->count == 0)
		return false;
	const struct overlay_slot *slot = probe(overlay, key, hash64(key));
	if (slot->used)
		*version = slot->version;
	return slot->used;
}
