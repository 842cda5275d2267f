/* bench/geo_check.c: see bench/geo_check.h. */
#include "bench/geo_check.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/linearizability.h"

enum { SEARCH_STEPS_MAX = 30000000 };

static void *zeroed(size_t count, size_t size)
{
	void *memory = calloc(count > 0 ? count : 1, size);

	if (memory == NULL) {
		fputs("dombench: out of memory\n", stderr);
		exit(DOM_NO_MEMORY);
	}
	return memory;
}

static bool answered(const struct record *record)
{
	return record->status == DOM_OK || (record->class != GEO_PUT && record->status == DOM_NOT_FOUND);
}

/* --- strong operations ------------------------------------------------------------------------------- */

static struct history_operation operation_of(const struct record *record)
{
	bool put = record->class == GEO_PUT, unknown = dom_status_maybe_applied((enum dom_status)record->status);
	/* What was given up by the generator itself may have been sent. */
	bool given_up = record->status == DOM_TIMED_OUT && put;

	return (struct history_operation){
		.key = record->key,
		.client = record->region,
		.kind = put ? HISTORY_WRITE : HISTORY_READ,
		.outcome = answered(record)	 ? HISTORY_DONE
			   : unknown || given_up ? HISTORY_UNKNOWN
						 : HISTORY_FAILED,
		.value = put ? record->value : 0,
		.seen = put ? 0 : record->value,
		.version = record->version,
		.invoked = record->sent_ns,
		.returned = record->done_ns,
	};
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

static size_t count_keys(const struct history_operation *operations, size_t count)
{
	uint64_t *keys = zeroed(count, sizeof(*keys));
	size_t distinct = 0;

	for (size_t i = 0; i < count; i++)
		keys[i] = operations[i].key;
	qsort(keys, count, sizeof(*keys), compare_u64);
	for (size_t i = 0; i < count; i++)
		distinct += i == 0 || keys[i] != keys[i - 1];
	free(keys);
	return distinct;
}

static void describe(const struct history_operation *operations, const struct history_report *report, char why[256])
{
	const struct history_operation *later = &operations[report->operation], *before = &operations[report->before];

	snprintf(why, 256,
		"key %" PRIu64 ": %s: a %s of region %" PRIu32 " at %" PRIu64 "..%" PRIu64
		" against a %s of region %" PRIu32 " at %" PRIu64 "..%" PRIu64,
		report->key, report->why == NULL ? "no order explains it" : report->why,
		later->kind == HISTORY_READ ? "get" : "put", later->client, later->invoked, later->returned,
		before->kind == HISTORY_READ ? "get" : "put", before->client, before->invoked, before->returned);
}

static void check_strong(const struct records *records, struct geo_verdict *verdict)
{
	struct history_operation *operations = zeroed(records->count, sizeof(*operations));
	struct history_report versions = { 0 }, search = { 0 };
	size_t count = 0;

	for (size_t i = 0; i < records->count; i++) {
		if (records->at[i].class == GEO_PUT || records->at[i].class == GEO_STRONG)
			operations[count++] = operation_of(&records->at[i]);
	}
	verdict->operations = count;
	verdict->keys = count_keys(operations, count);
	history_check_versions(operations, count, &versions);
	history_check_search(operations, count, SEARCH_STEPS_MAX, &search);
	verdict->linearizable =
		versions.verdict == HISTORY_LINEARIZABLE && search.verdict != HISTORY_VIOLATION && count > 0;
	verdict->search_undecided = search.verdict == HISTORY_UNDECIDED;
	if (versions.verdict == HISTORY_VIOLATION)
		describe(operations, &versions, verdict->why);
	else if (search.verdict == HISTORY_VIOLATION)
		describe(operations, &search, verdict->why);
	free(operations);
}

/* --- sessions ---------------------------------------------------------------------------------------- */

struct moment { /* an answer, or the sending, of an operation of a session */
	uint64_t time_ns;
	const struct record *record;
	bool answer;
};
static int compare_moments(const void *a, const void *b)
{
	const struct moment *x = a, *y = b;

	if (x->record->session != y->record->session)
		return x->record->session < y->record->session ? -1 : 1;
	if (x->record->key != y->record->key)
		return x->record->key < y->record->key ? -1 : 1;
	if (x->time_ns != y->time_ns)
		return x->time_ns < y->time_ns ? -1 : 1;
	return (int)x->answer - (int)y->answer; /* equal times overlap: what is sent then owes nothing to the answer */
}

/* Of each session and key in order of time: a read answers with at least the highest version whose operation had its
 * answer before the read was sent. */
static void check_sessions(const struct records *records, struct geo_verdict *verdict)
{
	struct moment *moments = zeroed(2 * records->count, sizeof(*moments));
	uint64_t *owed = zeroed(records->count, sizeof(*owed)), highest = 0;
	size_t count = 0;

	for (size_t i = 0; i < records->count; i++) {
		const struct record *record = &records->at[i];

		if (record->session == 0 || !answered(record))
			continue;
		moments[count++] = (struct moment){ record->sent_ns, record, false };
		moments[count++] = (struct moment){ record->done_ns, record, true };
	}
	qsort(moments, count, sizeof(*moments), compare_moments);
	for (size_t i = 0; i < count; i++) {
		const struct record *record = moments[i].record;
		size_t at = (size_t)(record - records->at);

		if (i == 0 || moments[i - 1].record->session != record->session ||
			moments[i - 1].record->key != record->key)
			highest = 0;
		if (!moments[i].answer) {
			owed[at] = highest;
			continue;
		}
		if (record->class != GEO_PUT) {
			verdict->session_reads++;
			if (record->version < owed[at] && verdict->session_violations++ == 0 && verdict->why[0] == '\0')
				snprintf(verdict->why, sizeof(verdict->why),
					"session %" PRIu32 " read key %" PRIu64 " at version %" PRIu64
					" after it had seen %" PRIu64,
					record->session, record->key, record->version, owed[at]);
		}
		highest = record->version > highest ? record->version : highest;
	}
	free(owed);
	free(moments);
}

/* --- staleness --------------------------------------------------------------------------------------- */

static int compare_writes(const void *a, const void *b)
{
	const struct record *x = *(const struct record *const *)a, *y = *(const struct record *const *)b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return x->version < y->version ? -1 : x->version > y->version;
}

/* When something newer than the version was first acknowledged; UINT64_MAX: never. newest_ns[i]: the earliest answer
 * among writes[i..] of the same key. */
static uint64_t outdated_at(
	const struct record *const *writes, const uint64_t *newest_ns, size_t count, uint64_t key, uint64_t version)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		const struct record *write = writes[middle];

		if (write->key < key || (write->key == key && write->version <= version))
			low = middle + 1;
		else
			high = middle;
	}
	return low < count && writes[low]->key == key ? newest_ns[low] : UINT64_MAX;
}

static void judge_stale(
	const struct record *record, uint64_t outdated_ns, uint32_t bound_ms, struct geo_verdict *verdict)
{
	/* Told in whole milliseconds, and served no earlier than it was sent. */
	uint64_t told_ns = ((uint64_t)record->staleness_ms + 1) * 1000000;
	bool older = outdated_ns != UINT64_MAX && outdated_ns + told_ns < record->sent_ns;
	bool beyond = record->class == GEO_BOUNDED && record->staleness_ms > bound_ms;

	if ((older || beyond) && verdict->stale_violations++ == 0 && verdict->why[0] == '\0')
		snprintf(verdict->why, sizeof(verdict->why),
			"a read of key %" PRIu64 " in region %u said %" PRIu32 " ms, %s", record->key, record->region,
			record->staleness_ms,
			beyond ? "more than it may be"
			       : "but what it returned had been overwritten for longer when it was asked");
}

static void check_staleness(const struct records *records, uint32_t bound_ms, struct geo_verdict *verdict)
{
	const struct record **writes = zeroed(records->count, sizeof(*writes));
	uint64_t *newest_ns = zeroed(records->count, sizeof(*newest_ns)), *told = zeroed(records->count, sizeof(*told));
	size_t count = 0;

	for (size_t i = 0; i < records->count; i++) {
		if (records->at[i].class == GEO_PUT && records->at[i].status == DOM_OK)
			writes[count++] = &records->at[i];
	}
	qsort(writes, count, sizeof(*writes), compare_writes);
	for (size_t i = count; i-- > 0;) {
		newest_ns[i] = writes[i]->done_ns;
		if (i + 1 < count && writes[i + 1]->key == writes[i]->key && newest_ns[i + 1] < newest_ns[i])
			newest_ns[i] = newest_ns[i + 1];
	}
	for (size_t i = 0; i < records->count; i++) {
		const struct record *record = &records->at[i];

		if ((record->class != GEO_BOUNDED && record->class != GEO_NEAREST) || !answered(record))
			continue;
		told[verdict->stale_reads++] = record->staleness_ms;
		judge_stale(
			record, outdated_at(writes, newest_ns, count, record->key, record->version), bound_ms, verdict);
	}
	qsort(told, verdict->stale_reads, sizeof(*told), compare_u64);
	if (verdict->stale_reads > 0) {
		verdict->staleness_max_ms = (uint32_t)told[verdict->stale_reads - 1];
		verdict->staleness_p99_ms = (uint32_t)told[(verdict->stale_reads - 1) * 99 / 100];
	}
	free(told);
	free(newest_ns);
	free(writes);
}

void geo_check(const struct records *records, uint32_t bound_ms, struct geo_verdict *verdict)
{
	memset(verdict, 0, sizeof(*verdict));
	check_strong(records, verdict);
	check_sessions(records, verdict);
	check_staleness(records, bound_ms, verdict);
}
