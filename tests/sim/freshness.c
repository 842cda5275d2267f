/* tests/sim/freshness.c: see tests/sim/freshness.h.
 *
 * A read that says "at most so old" has seen every write that was acknowledged that long before it began. A read of a
 * session has seen whatever an operation of the same client had been answered before it began: its own writes, and what
 * it had read. Seen means: the version it returns is at least that one's. An absent key has no version, so that it can
 * only be judged when nothing may have deleted the key since. */
#include "tests/sim/freshness.h"

#include <inttypes.h>

#include "base/status.h"
#include "tests/sim/history.h"
#include "tests/sim/load.h"

/* The answer told of this version of a key that is there. */
static bool tells_version(const struct load_record *record)
{
	return record->done && record->status == STATUS_OK && record->version != 0 &&
	       record->operation != OPERATION_DELETE && record->operation != OPERATION_SCAN;
}

static bool is_write(const struct load_record *record)
{
	return record->operation == OPERATION_PUT || record->operation == OPERATION_CAS;
}

/* May the key have been deleted after this version of it? One whose outcome is not known may take effect at any time.
 */
static bool deleted_since(
	const struct load_record *history, size_t count, uint64_t version, const struct load_record *read)
{
	for (size_t i = 0; i < count; i++) {
		const struct load_record *record = &history[i];
		bool told = record->done && record->status == STATUS_OK;

		if (record->operation != OPERATION_DELETE || record->key != read->key ||
			record->invoked_ns > read->returned_ns)
			continue;
		if (told ? record->version > version
			 : !record->done || status_maybe_applied((enum status)record->status))
			return true;
	}
	return false;
}

static bool must_have_seen(const struct load_record *read, const struct load_record *other)
{
	uint64_t age_ns = (uint64_t)read->staleness_ms * 1000000;

	if (!tells_version(other) || other->key != read->key)
		return false;
	if (read->level == READ_SESSION)
		return other->client == read->client && other->returned_ns < read->invoked_ns;
	return is_write(other) && other->returned_ns + age_ns < read->invoked_ns;
}

static void check_read(struct world *world, const struct load_record *history, size_t count, size_t at)
{
	const struct load_record *read = &history[at];
	bool found = read->status == STATUS_OK;

	if (read->level == READ_BOUNDED && read->staleness_ms > read->staleness_max_ms)
		world_fail(world, "a read bounded by %u ms was answered with a state of %u ms", read->staleness_max_ms,
			read->staleness_ms);
	world->stats.reads_checked++;
	for (size_t i = 0; i < count; i++) {
		const struct load_record *other = &history[i];

		if (!must_have_seen(read, other) || (found && read->version >= other->version))
			continue;
		if (!found && deleted_since(history, count, other->version, read))
			continue;
		history_print(world, read->key);
		world_fail(world,
			"key %u: a read of client %u at level %u, %.6f..%.6f, said to be %u ms old, saw version "
			"%" PRIu64 " and not %" PRIu64 " of client %u, operation %u at level %u, %.6f..%.6f",
			read->key, read->client, read->level, (double)read->invoked_ns / 1e9,
			(double)read->returned_ns / 1e9, read->staleness_ms, found ? read->version : 0, other->version,
			other->client, other->operation, other->level, (double)other->invoked_ns / 1e9,
			(double)other->returned_ns / 1e9);
		return;
	}
}

void freshness_check(struct world *world)
{
	size_t count;
	const struct load_record *history = load_history(world, &count);

	if (!world->knobs.levels)
		return;
	for (size_t i = 0; i < count && world->failure[0] == '\0'; i++) {
		const struct load_record *record = &history[i];

		if (record->operation == OPERATION_GET && record->level != READ_STRONG && record->done &&
			(record->status == STATUS_OK || record->status == STATUS_NOT_FOUND))
			check_read(world, history, count, i);
	}
}
