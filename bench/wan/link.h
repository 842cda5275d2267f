/* bench/wan/link.h: one direction between two regions, or inside one: what becomes of each packet that enters it. The
 * order is that of a wire: cut, loss, rate and queue, delay and jitter, order, duplication.
 *
 * Invariants: a packet is due no earlier than it came, and no earlier than the one before it, unless `reorder` held one
 * of them back; what becomes of the n-th packet is a function of seed and settings, apart from its time. Pure, one
 * thread. */
#ifndef DOMICILE_BENCH_WAN_LINK_H
#define DOMICILE_BENCH_WAN_LINK_H

#include "base/prng.h"
#include "bench/histogram.h"
#include "bench/wan/bucket.h"

enum { LINK_COPIES_MAX = 2 };

struct link_settings {
	uint64_t delay_us;	/* one way */
	uint64_t jitter_us;	/* delay_us +- this, evenly; <= delay_us */
	uint64_t reorder_by_us; /* how long a packet that `reorder` chose is held back */
	uint64_t rate_bits;	/* a second; 0: no limit */
	uint64_t queue_bytes, burst_bytes;
	uint32_t loss_ppm, duplicate_ppm, reorder_ppm; /* of a million packets */
};

/* came + duplicated == delivered + lost + cut + overflowed + refused + in flight */
struct link_counts {
	uint64_t came, came_bytes, delivered, lost, cut, overflowed, duplicated, reordered;
	uint64_t refused; /* by the device that should have taken them */
};

struct link {
	struct link_settings settings;
	struct bucket bucket; /* its rate, queue and burst are the settings' */
	struct prng prng;
	struct link_counts counts;
	struct histogram late; /* how long after their time packets were delivered, in us */
	uint64_t last_due_ns;
	bool cut;
};

void link_init(struct link *link, uint64_t delay_us, uint64_t seed, uint32_t label);
void link_set(struct link *link, const struct link_settings *settings);

/* A packet comes: when its copies are due, and how many there are; 0: dropped, and counted. With `delayed` false the
 * link takes no time: cuts and losses hold, delay, jitter, rate and reordering do not. */
unsigned link_enter(struct link *link, uint64_t now_ns, size_t size, bool delayed, uint64_t due_ns[LINK_COPIES_MAX]);

#endif
