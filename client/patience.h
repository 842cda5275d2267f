/* client/patience.h: how long an answer is awaited before another node is asked too.
 *
 *   silence   after which the node counts as lost: generous, and without a budget;
 *   second    after which a read is also asked at another replica, or a write sent again to the leader: soon, so within
 * a budget.
 *
 * A read is held back where it is asked while an entry for its key is pending there: at most about a round trip between
 * that replica and the leader. Longer than 1.2 of those and 10 ms more means that something else is wrong. A replica of
 * the same region as the first is asked earlier: once the first is slower than nineteen in twenty of its answers. That
 * costs no packet between regions. Reads may be asked twice for a twentieth of all reads, whatever happens.
 *
 * A write is sent again, to the leader and with the same name, after twice what it should take; within the retry
 * budget, since each copy is an entry of the log.
 *
 * Pure, as the router whose measurements it reads. */
#ifndef DOMICILE_CLIENT_PATIENCE_H
#define DOMICILE_CLIENT_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>

struct router;

/* The 95th percentile of what it was shown lately, without keeping the samples: above it moves up by a 16th, below
 * down by a 304th, which balance when one in twenty is above. */
struct quantile {
	uint32_t sixteenth_us; /* sixteenths of a microsecond */
	uint32_t samples;      /* up to SAMPLES_ENOUGH */
};
void quantile_learn(struct quantile *quantile, uint64_t sample_us);
uint32_t quantile_us(const struct quantile *quantile); /* 0: too few samples */

/* An answer of the node took so long; or it did not come within this time, which only counts when that is long. */
void patience_learn(struct router *router, uint64_t node, bool write, uint64_t elapsed_ns);
void patience_learn_unanswered(struct router *router, uint64_t node, bool write, uint64_t elapsed_ns);

uint64_t patience_silence_ns(const struct router *router, uint64_t node, bool write);
/* A read asked at `node`: after this `other` may be asked too. A scan's pages differ too much for percentiles. */
uint64_t patience_read_ns(const struct router *router, uint64_t shard, uint64_t node, uint64_t other, bool scan);
/* A write handed to `origin`: after this it may be sent to the leader. */
uint64_t patience_write_ns(const struct router *router, uint64_t shard, uint64_t origin, uint64_t leader);

/* Reads asked twice: each read earns a twentieth of one. */
void patience_earn_hedge(struct router *router);
bool patience_spend_hedge(struct router *router);

#endif
