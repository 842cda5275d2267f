/* tests/sim/history.c: the history judged twice: by versions (fast, and says which two operations contradict each other), and by
 * a search for a linearization that does not trust versions (tests/lib/linearizability.h). */
#include "tests/sim/history.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/status.h"
#include "tests/sim/load.h"

static bool has_version(const struct load_record *record)
{
	return record->done && record->status == STATUS_OK && record->version != 0;
}

static bool is_read(const struct load_record *record)
{
	return record->operation == OPERATION_GET;
}

static int by_return(const void *a, const void *b)
{
	const struct load_record *left = *(const struct load_record *const *)a, *right = *(const struct load_record *const *)b;

	return left->returned_ns < right->returned_ns ? -1 : left->returned_ns > right->returned_ns;
}

static int by_invocation(const void *a, const void *b)
{
	const struct load_record *left = *(const struct load_record *const *)a, *right = *(const struct load_record *const *)b;

	return left->invoked_ns < right->invoked_ns ? -1 : left->invoked_ns > right->invoked_ns;
}

/* What returned before another began has a version not above it; a write's is below. */
static void check_versions(struct world *world, const struct load_record **returned, const struct load_record **invoked, size_t count)
{
	const struct load_record *newest = NULL;
	size_t next = 0;

	qsort(returned, count, sizeof(returned[0]), by_return);
	qsort(invoked, count, sizeof(invoked[0]), by_invocation);
	for (size_t i = 0; i < count; i++) {
		const struct load_record *now = invoked[i];

		while (next < count && returned[next]->returned_ns < now->invoked_ns) {
			if (newest == NULL || returned[next]->version > newest->version)
				newest = returned[next];
			next++;
		}
		if (newest == NULL)
			continue;
		if (now->version < newest->version || (!is_read(now) && now->version == newest->version)) {
			world_fail(world,
				"key %u: operation %u of client %u began at %.6f with version %" PRIu64 " after operation %u of client %u had "
				"returned %" PRIu64 " at %.6f",
				now->key, now->operation, now->client, (double)now->invoked_ns / 1e9, now->version, newest->operation,
				newest->client, newest->version, (double)newest->returned_ns / 1e9);
			return;
		}
	}
}

void history_check(struct world *world)
{
	size_t count, kept;
	const struct load_record *history = load_history(world, &count);
	const struct load_record **returned = calloc(count + 1, sizeof(struct load_record *));
	const struct load_record **invoked = calloc(count + 1, sizeof(struct load_record *));

	if (returned == NULL || invoked == NULL)
		abort();
	for (unsigned key = 0; key < 2 * world->knobs.keys && world->failure[0] == '\0'; key++) {
		kept = 0;
		for (size_t i = 0; i < count; i++) {
			if (history[i].key == key && has_version(&history[i])) {
				returned[kept] = &history[i];
				invoked[kept++] = &history[i];
			}
		}
		check_versions(world, returned, invoked, kept);
	}
	free(returned);
	free(invoked);
}
