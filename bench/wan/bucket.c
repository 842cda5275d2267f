/* bench/wan/bucket.c: see bench/wan/bucket.h. */
#include "bench/wan/bucket.h"

#include <assert.h>

/* 16 MiB at 1 kbit/s is the most: far below 2^64 ns. */
static uint64_t time_of(const struct bucket *bucket, uint64_t bytes)
{
	return (uint64_t)((unsigned __int128)bytes * 8 * 1000000000 / bucket->rate_bits);
}

bool bucket_take(struct bucket *bucket, uint64_t now_ns, size_t size, uint64_t *leaves_ns)
{
	uint64_t begin_ns = bucket->drained_ns > now_ns ? bucket->drained_ns : now_ns, end_ns, burst_ns;

	*leaves_ns = now_ns;
	if (bucket->rate_bits == 0)
		return true;
	end_ns = begin_ns + time_of(bucket, size);
	burst_ns = time_of(bucket, bucket->burst_bytes);
	if (end_ns > now_ns + burst_ns)
		*leaves_ns = end_ns - burst_ns;
	if (*leaves_ns - now_ns > time_of(bucket, bucket->queue_bytes))
		return false;
	assert(end_ns >= bucket->drained_ns);
	bucket->drained_ns = end_ns;
	return true;
}
