/* tests/sim/history.c: the history judged twice by tests/lib/linearizability.h: by versions, which says which two
 * operations contradict each other, and by a search for a linearization that believes nothing but values and times.
 * Outcomes that clients do not know stay open: they may have taken effect at any time after, or never. */
#include "tests/sim/history.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/status.h"
#include "tests/lib/linearizability.h"
#include "tests/sim/load.h"

enum { SEARCH_STEPS_MAX = 30000000 };

/* The value that was written, or seen, with this version of the record's key. Not told when there are two: versions
 * belong to a shard, and a key that was bound to another policy may meet one again. */
static uint64_t value_of(const struct load_record *history, size_t count, uint16_t key, uint64_t version)
{
	uint64_t value = HISTORY_NOT_TOLD;

	if (version == 0)
		return HISTORY_ABSENT;
	for (size_t i = 0; i < count; i++) {
		const struct load_record *record = &history[i];

		if (record->key != key || record->version != version || record->status != STATUS_OK || !record->done ||
			record->operation == OPERATION_DELETE)
			continue;
		if (value != HISTORY_NOT_TOLD && value != record->value)
			return HISTORY_NOT_TOLD;
		value = record->value;
	}
	return value;
}

static uint8_t kind_of(uint8_t operation)
{
	switch (operation) {
	case OPERATION_PUT:
		return HISTORY_WRITE;
	case OPERATION_DELETE:
		return HISTORY_DELETE;
	case OPERATION_CAS:
		return HISTORY_CAS;
	default:
		return HISTORY_READ;
	}
}

static uint8_t outcome_of(const struct load_record *record)
{
	if (!record->done || status_maybe_applied((enum status)record->status))
		return HISTORY_UNKNOWN;
	if (record->status == STATUS_OK)
		return HISTORY_DONE;
	if (record->status == STATUS_NOT_FOUND)
		return record->operation == OPERATION_GET ? HISTORY_DONE : HISTORY_REFUSED;
	return record->status == STATUS_CONFLICT ? HISTORY_REFUSED : HISTORY_FAILED;
}

static struct history_operation converted(const struct load_record *history, size_t count, size_t at)
{
	const struct load_record *record = &history[at];
	struct history_operation operation = {
		.key = record->key,
		.client = record->client,
		.kind = kind_of(record->operation),
		.outcome = outcome_of(record),
		.value = record->value,
		.version = record->status == STATUS_OK && record->done ? record->version : 0,
		.invoked = record->invoked_ns,
		.returned = record->returned_ns,
	};

	/* A scan stands there key by key, as reads; what need not be the newest is judged in freshness.c. */
	if (record->operation == OPERATION_SCAN || (record->operation == OPERATION_GET && record->level != READ_STRONG))
		operation.outcome = HISTORY_FAILED;
	if (operation.kind == HISTORY_READ && operation.outcome == HISTORY_DONE)
		operation.seen = record->status == STATUS_OK ? record->value : HISTORY_ABSENT;
	if (operation.kind == HISTORY_CAS) {
		operation.expected = record->expected_value;
		if (operation.outcome == HISTORY_REFUSED) {
			operation.seen = value_of(history, count, record->key, record->version);
			operation.version = record->version;
		}
	}
	return operation;
}

void history_print(struct world *world, uint64_t key)
{
	size_t count;
	const struct load_record *history = load_history(world, &count);
	static const char *const names[] = { [OPERATION_GET] = "get",
		[OPERATION_PUT] = "put",
		[OPERATION_DELETE] = "delete",
		[OPERATION_CAS] = "cas",
		[OPERATION_SCAN] = "scan" };

	for (size_t i = 0; i < count; i++) {
		const struct load_record *record = &history[i];

		if (record->key == key)
			world_log(world,
				"client %u: %s of key %" PRIu64 ", level %u, %.6f..%.6f %s, value %" PRIu64
				", version %" PRIu64 ", expected %" PRIu64 ", %u ms old",
				record->client, names[record->operation], key, record->level,
				(double)record->invoked_ns / 1e9, (double)record->returned_ns / 1e9,
				record->done ? status_name((enum status)record->status) : "open", record->value,
				record->version, record->expected, record->staleness_ms);
	}
}

static void describe(struct world *world, const struct load_record *history, const struct history_report *report)
{
	const struct load_record *one = &history[report->operation], *other = &history[report->before];

	history_print(world, report->key);
	world_fail(world,
		"key %" PRIu64 ": %s: client %u, operation %u, %.6f..%.6f, %s, value %" PRIu64 ", version %" PRIu64
		" against client %u, operation %u, %.6f..%.6f, %s, value %" PRIu64 ", version %" PRIu64,
		report->key, report->why, one->client, one->operation, (double)one->invoked_ns / 1e9,
		(double)one->returned_ns / 1e9, status_name((enum status)one->status), one->value, one->version,
		other->client, other->operation, (double)other->invoked_ns / 1e9, (double)other->returned_ns / 1e9,
		status_name((enum status)other->status), other->value, other->version);
}

void history_check(struct world *world)
{
	size_t count;
	const struct load_record *history = load_history(world, &count);
	struct history_operation *operations = calloc(count + 1, sizeof(*operations));
	struct history_report report = { 0 };

	if (operations == NULL)
		abort();
	for (size_t i = 0; i < count; i++)
		operations[i] = converted(history, count, i);
	/* Of a key, also where it was bound to another policy meanwhile. */
	if (history_check_versions(operations, count, &report) == HISTORY_VIOLATION) {
		describe(world, history, &report);
	} else {
		enum history_verdict verdict = history_check_search(operations, count, SEARCH_STEPS_MAX, &report);

		if (verdict == HISTORY_VIOLATION)
			describe(world, history, &report);
		else if (verdict != HISTORY_LINEARIZABLE)
			world_fail(world,
				"key %" PRIu64 ": too many operations overlap: the history could not be judged",
				report.key);
	}
	free(operations);
}
