/* server/node_pending.c: the requests that wait for a group, in a slot table. A token names a slot and its generation,
 * so that an answer to a request that is gone finds nobody. */
#include "server/node_internal.h"

#include <assert.h>
#include <string.h>

#include "base/buffer.h"

struct pending *pending_take(struct node *node, enum pending_kind kind, uint64_t *token)
{
	uint32_t at = node->pending_free;
	struct pending *pending;

	if (at == 0 && node->pending_used == PENDING_MAX)
		return NULL;
	if (at == 0) {
		at = ++node->pending_used;
		node->pending[at - 1].generation = 1;
	}
	pending = &node->pending[at - 1];
	assert(pending->kind == PENDING_FREE);
	node->pending_free = pending->next_free;
	pending->kind = kind;
	node->pending_count++;
	*token = (uint64_t)pending->generation << 32 | at;
	return pending;
}

struct pending *pending_find(struct node *node, uint64_t token)
{
	uint32_t at = (uint32_t)token;
	struct pending *pending;

	if (at == 0 || at > PENDING_MAX)
		return NULL;
	pending = &node->pending[at - 1];
	return pending->kind != PENDING_FREE && pending->generation == token >> 32 ? pending : NULL;
}

void pending_release(struct node *node, struct pending *pending)
{
	uint32_t generation = pending->generation + 1;

	assert(pending->kind != PENDING_FREE);
	if (pending->key != NULL)
		buffer_unref(pending->key);
	if (pending->after != NULL)
		buffer_unref(pending->after);
	memset(pending, 0, sizeof(*pending));
	pending->generation = generation;
	pending->next_free = node->pending_free;
	node->pending_free = (uint32_t)(pending - node->pending) + 1;
	node->pending_count--;
}
