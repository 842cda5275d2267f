/* base/heap.h: a binary min-heap of nodes that live in their owners; timers, event queues. Ordered by (key, sequence):
 * equal keys leave in the order in which they were inserted or last updated, so a run is a function of its events.
 * Invariant: a queued node's position is its slot plus one, and no node is smaller than its parent. A node of zeroes
 * is not queued. Caller's memory, one thread, pure. */
#ifndef DOMICILE_BASE_HEAP_H
#define DOMICILE_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
	uint64_t key, sequence;
	size_t position; /* slot + 1; 0: not queued */
};

struct heap {
	struct heap_node **nodes;
	size_t count, capacity;
	uint64_t sequence_next;
};

void heap_init(struct heap *heap, struct heap_node **nodes, size_t capacity);
bool heap_insert(
	struct heap *heap, struct heap_node *node, uint64_t key); /* false: full; the node must not be queued */
void heap_update(struct heap *heap, struct heap_node *node, uint64_t key); /* as if removed and inserted again */
void heap_remove(struct heap *heap, struct heap_node *node);		   /* the node must be queued */
struct heap_node *heap_min(const struct heap *heap);			   /* NULL: empty */
void heap_check(const struct heap *heap);				   /* asserts every invariant */

static inline bool heap_node_queued(const struct heap_node *node)
{
	return node->position != 0;
}

#endif
