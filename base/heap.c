/* base/heap.c: see base/heap.h. */
#include "base/heap.h"

#include <assert.h>

void heap_init(struct heap *heap, struct heap_node **nodes, size_t capacity)
{
	assert(nodes || capacity == 0);
	*heap = (struct heap){ .nodes = nodes, .capacity = capacity };
}

static bool before(const struct heap_node *a, const struct heap_node *b)
{
	return a->key != b->key ? a->key < b->key : a->sequence < b->sequence;
}

static void put(struct heap *heap, size_t slot, struct heap_node *node)
{
	heap->nodes[slot] = node;
	node->position = slot + 1;
}

static void rise(struct heap *heap, size_t slot)
{
	struct heap_node *node = heap->nodes[slot];
	while (slot > 0) {
		size_t parent = (slot - 1) / 2;
		if (!before(node, heap->nodes[parent]))
			break;
		put(heap, slot, heap->nodes[parent]);
		slot = parent;
	}
	put(heap, slot, node);
}

static void sink(struct heap *heap, size_t slot)
{
	struct heap_node *node = heap->nodes[slot];
	for (;;) {
		size_t child = 2 * slot + 1;
		if (child >= heap->count)
			break;
		if (child + 1 < heap->count && before(heap->nodes[child + 1], heap->nodes[child]))
			child++;
		if (!before(heap->nodes[child], node))
			break;
		put(heap, slot, heap->nodes[child]);
		slot = child;
	}
	put(heap, slot, node);
}

static size_t slot_of(const struct heap *heap, const struct heap_node *node)
{
	assert(node->position > 0);
	assert(node->position <= heap->count);
	assert(heap->nodes[node->position - 1] == node);
	return node->position - 1;
}

bool heap_insert(struct heap *heap, struct heap_node *node, uint64_t key)
{
	assert(!heap_node_queued(node));
	if (heap->count == heap->capacity)
		return false;
	node->key = key;
	node->sequence = heap->sequence_next++;
	heap->nodes[heap->count++] = node;
	rise(heap, heap->count - 1);
	return true;
}

void heap_update(struct heap *heap, struct heap_node *node, uint64_t key)
{
	size_t slot = slot_of(heap, node);
	node->key = key;
	node->sequence = heap->sequence_next++;
	rise(heap, slot);
	sink(heap, slot_of(heap, node));
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
	size_t slot = slot_of(heap, node);
	struct heap_node *last = heap->nodes[--heap->count];
	node->position = 0;
	if (last == node)
		return;
	put(heap, slot, last);
	rise(heap, slot);
	sink(heap, slot_of(heap, last));
}

struct heap_node *heap_min(const struct heap *heap)
{
	return heap->count ? heap->nodes[0] : NULL;
}

void heap_check(const struct heap *heap)
{
	assert(heap->count <= heap->capacity);
	for (size_t slot = 0; slot < heap->count; slot++) {
		assert(heap->nodes[slot]->position == slot + 1);
		assert(heap->nodes[slot]->sequence < heap->sequence_next);
		if (slot > 0)
			assert(!before(heap->nodes[slot], heap->nodes[(slot - 1) / 2]));
	}
}
