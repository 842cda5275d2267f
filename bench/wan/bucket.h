/* bench/wan/bucket.h: a token bucket in front of a bounded queue, as one number: the time at which everything that was
 * let in would have left at the rate. Pure, one thread. */
#ifndef DOMICILE_BENCH_WAN_BUCKET_H
#define DOMICILE_BENCH_WAN_BUCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bucket {
	uint64_t rate_bits;   /* a second; 0: no limit, and nothing below matters */
	uint64_t burst_bytes; /* what leaves at once after a rest */
	uint64_t queue_bytes; /* what may wait; above it packets are dropped */
	uint64_t drained_ns;  /* when all that was let in has left at the rate; never falls */
};

/* When a packet that comes now leaves the queue, >= now_ns. False: the queue is full, the packet is not let in. */
bool bucket_take(struct bucket *bucket, uint64_t now_ns, size_t size, uint64_t *leaves_ns);

#endif
