/* replication/hlc.h: versions. A hybrid logical clock: 52 bits of microseconds since 1970, 12 bits of counter. The
 * wall clock only feeds it; order comes from the counter, so a clock that jumps back costs nothing but realism. */
#ifndef DOMICILE_REPLICATION_HLC_H
#define DOMICILE_REPLICATION_HLC_H

#include <stdint.h>

enum { HLC_COUNTER_BITS = 12 };

/* The next version: above `last`, not below the wall clock. */
static inline uint64_t hlc_next(uint64_t last, uint64_t wall_us)
{
	uint64_t now = wall_us << HLC_COUNTER_BITS;
	return now > last ? now : last + 1;
}
static inline uint64_t hlc_wall_us(uint64_t version)
{
	return version >> HLC_COUNTER_BITS;
}

#endif
