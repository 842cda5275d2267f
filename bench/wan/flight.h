/* bench/wan/flight.h: the packets that are on their way, in the order in which they are due; of equal times the first
 * to come is the first to leave. Bounded in packets and bytes. Owns the packets until they are taken; who takes one
 * frees it. One thread. */
#ifndef DOMICILE_BENCH_WAN_FLIGHT_H
#define DOMICILE_BENCH_WAN_FLIGHT_H

#include "base/heap.h"

struct packet {
	struct heap_node node; /* its key is the time at which it is due, in ns */
	uint32_t from, to;     /* regions */
	uint32_t host;	       /* of the lab, where it goes */
	uint32_t size;
	uint8_t data[];
};
struct flight {
	struct heap heap;
	size_t bytes, bytes_max;
};

void flight_init(struct flight *flight, size_t packets_max, size_t bytes_max);
void flight_deinit(struct flight *flight);
/* A copy of the packet of these bytes. NULL: there is no room for it. */
struct packet *flight_add(struct flight *flight, uint64_t due_ns, const void *data, size_t size);
/* The next packet that is due, NULL when none is yet. */
struct packet *flight_take(struct flight *flight, uint64_t now_ns);
uint64_t flight_next_ns(const struct flight *flight); /* UINT64_MAX: nothing is on its way */

#endif
