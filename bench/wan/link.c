/* bench/wan/link.c: see bench/wan/link.h. */
#include "bench/wan/link.h"

#include <assert.h>
#include <string.h>

enum { BURST_BYTES = 32 << 10, QUEUE_BYTES = 1 << 20, REORDER_BY_US = 1000 };

void link_init(struct link *link, uint64_t delay_us, uint64_t seed, uint32_t label)
{
	struct link_settings settings = { .delay_us = delay_us,
		.reorder_by_us = REORDER_BY_US,
		.queue_bytes = QUEUE_BYTES,
		.burst_bytes = BURST_BYTES };
	struct prng root;

	memset(link, 0, sizeof(*link));
	prng_seed(&root, seed);
	link->prng = prng_fork(&root, label);
	histogram_init(&link->late);
	link_set(link, &settings);
}

void link_set(struct link *link, const struct link_settings *settings)
{
	assert(settings->jitter_us <= settings->delay_us);
	link->settings = *settings;
	link->bucket.rate_bits = settings->rate_bits;
	link->bucket.queue_bytes = settings->queue_bytes;
	link->bucket.burst_bytes = settings->burst_bytes;
}

/* Every packet draws the same numbers whatever is set, so that one setting does not move another's dice. */
struct draws {
	bool lost, duplicated, reordered;
	uint64_t jitter_us; /* 0 .. 2 * the setting */
};

static struct draws draw(struct link *link)
{
	const struct link_settings *settings = &link->settings;
	struct draws draws = { .lost = prng_chance(&link->prng, settings->loss_ppm),
		.duplicated = prng_chance(&link->prng, settings->duplicate_ppm),
		.reordered = prng_chance(&link->prng, settings->reorder_ppm) };

	draws.jitter_us = prng_below(&link->prng, 2 * settings->jitter_us + 1);
	return draws;
}

unsigned link_enter(struct link *link, uint64_t now_ns, size_t size, bool delayed, uint64_t due_ns[LINK_COPIES_MAX])
{
	const struct link_settings *settings = &link->settings;
	struct draws draws = draw(link);
	uint64_t due = now_ns;

	link->counts.came++;
	link->counts.came_bytes += size;
	if (link->cut) {
		link->counts.cut++;
		return 0;
	}
	if (draws.lost) {
		link->counts.lost++;
		return 0;
	}
	if (delayed) {
		if (!bucket_take(&link->bucket, now_ns, size, &due)) {
			link->counts.overflowed++;
			return 0;
		}
		due += (settings->delay_us - settings->jitter_us + draws.jitter_us) * 1000;
	}
	if (due < link->last_due_ns)
		due = link->last_due_ns;
	if (delayed && draws.reordered) {
		due += settings->reorder_by_us * 1000; /* and those behind it need not wait */
		link->counts.reordered++;
	} else {
		link->last_due_ns = due;
	}
	assert(due >= now_ns);
	for (unsigned copy = 0; copy < LINK_COPIES_MAX; copy++)
		due_ns[copy] = due;
	link->counts.duplicated += draws.duplicated;
	return draws.duplicated ? 2 : 1;
}
