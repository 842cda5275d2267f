/* server/block_pool.h: a few threads for what may block: reads that miss the block cache, checkpoints, deletions. A job
 * runs on any of them, its `done` later on the loop's thread, in the order in which jobs ended. All calls from the
 * loop. */
#ifndef DOMICILE_SERVER_BLOCK_POOL_H
#define DOMICILE_SERVER_BLOCK_POOL_H

#include <stdint.h>

#include "base/status.h"

enum { BLOCK_POOL_THREADS_MAX = 16 };

struct event_base;
struct block_pool;

enum status block_pool_new(struct event_base *base, uint32_t threads, struct block_pool **pool) MUST;
/* Without memory for a place in the queue the job runs at once, here. */
void block_pool_run(struct block_pool *pool, void (*job)(void *), void (*done)(void *), void *arg);
/* Runs what is queued, calls every `done`, ends the threads. NULL is fine. */
void block_pool_free(struct block_pool *pool);

#endif
