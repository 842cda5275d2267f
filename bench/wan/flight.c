/* bench/wan/flight.c: see bench/wan/flight.h. */
#include "bench/wan/flight.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define PACKET_OF(queued) ((struct packet *)(void *)((char *)(queued)-offsetof(struct packet, node)))

void flight_init(struct flight *flight, size_t packets_max, size_t bytes_max)
{
	struct heap_node **nodes = calloc(packets_max, sizeof(*nodes));

	if (nodes == NULL)
		abort();
	heap_init(&flight->heap, nodes, packets_max);
	flight->bytes = 0;
	flight->bytes_max = bytes_max;
}

static struct packet *take_first(struct flight *flight)
{
	struct packet *packet = PACKET_OF(heap_min(&flight->heap));

	heap_remove(&flight->heap, &packet->node);
	assert(flight->bytes >= packet->size);
	flight->bytes -= packet->size;
	return packet;
}

void flight_deinit(struct flight *flight)
{
	while (heap_min(&flight->heap) != NULL)
		free(take_first(flight));
	assert(flight->bytes == 0);
	free(flight->heap.nodes);
}

struct packet *flight_add(struct flight *flight, uint64_t due_ns, const void *data, size_t size)
{
	struct packet *packet;

	if (flight->bytes + size > flight->bytes_max || flight->heap.count == flight->heap.capacity)
		return NULL;
	packet = malloc(sizeof(*packet) + size);
	if (packet == NULL)
		abort();
	memset(packet, 0, sizeof(*packet));
	memcpy(packet->data, data, size);
	packet->size = (uint32_t)size;
	if (!heap_insert(&flight->heap, &packet->node, due_ns))
		abort(); /* there was room */
	flight->bytes += size;
	return packet;
}

struct packet *flight_take(struct flight *flight, uint64_t now_ns)
{
	return flight_next_ns(flight) <= now_ns ? take_first(flight) : NULL;
}

uint64_t flight_next_ns(const struct flight *flight)
{
	const struct heap_node *first = heap_min(&flight->heap);

	return first == NULL ? UINT64_MAX : first->key;
}
