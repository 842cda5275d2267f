/* tests/lib/linearizability.c: see tests/lib/linearizability.h. Keys are independent (linearizability is local), so
 * both checkers sort the history by key and judge one key after the other. */
#include "tests/lib/linearizability.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define NEVER UINT64_MAX

static void *allocate(size_t count, size_t size)
{
	void *memory = calloc(count > 0 ? count : 1, size);
	if (!memory)
		abort();
	return memory;
}

static enum history_verdict violation(
	struct history_report *report, uint64_t key, size_t operation, size_t before, const char *why)
{
	report->verdict = HISTORY_VIOLATION;
	report->key = key;
	report->operation = operation;
	report->before = before;
	report->why = why;
	return HISTORY_VIOLATION;
}

/* Failed ones and reads without an answer say nothing about the order. */
static bool counts(const struct history_operation *operation)
{
	if (operation->outcome == HISTORY_FAILED)
		return false;
	return operation->outcome != HISTORY_UNKNOWN || operation->kind != HISTORY_READ;
}

static uint64_t returned(const struct history_operation *operation)
{
	return operation->outcome == HISTORY_UNKNOWN ? NEVER : operation->returned;
}

struct positioned {
	uint64_t key;
	size_t at; /* in the history */
};

static int compare_positioned(const void *a, const void *b)
{
	const struct positioned *x = a, *y = b;
	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return (x->at > y->at) - (x->at < y->at);
}

static struct positioned *by_key(const struct history_operation *operations, size_t count)
{
	struct positioned *order = allocate(count, sizeof(*order));
	for (size_t i = 0; i < count; i++)
		order[i] = (struct positioned){ operations[i].key, i };
	qsort(order, count, sizeof(*order), compare_positioned);
	return order;
}

/* --- the search ------------------------------------------------------------------------------------------ */

/* The state of a key is the value there. False: the operation cannot have had its outcome in this state. */
static bool step(const struct history_operation *operation, uint64_t state, uint64_t *next)
{
	bool unknown = operation->outcome == HISTORY_UNKNOWN, done = operation->outcome == HISTORY_DONE;
	*next = state;
	switch ((enum history_kind)operation->kind) {
	case HISTORY_READ:
		return state == operation->seen;
	case HISTORY_WRITE:
		*next = operation->value;
		return true;
	case HISTORY_DELETE:
		*next = HISTORY_ABSENT;
		return unknown || done == (state != HISTORY_ABSENT);
	case HISTORY_CAS:
		if (state == operation->expected)
			*next = operation->value;
		if (unknown || done)
			return unknown || state == operation->expected;
		if (operation->seen != HISTORY_NOT_TOLD && operation->seen != state)
			return false;
		return state != operation->expected;
	}
	return false;
}

/* Calls and returns of one key, in order of time, as a doubly linked list; a call that has been linearised is lifted
 * out with its return. Entry 0 is the head. */
struct event {
	uint64_t time;
	uint32_t operation; /* position among this key's */
	bool is_return;
	uint32_t next, prior, mate; /* mate: of a call its return; 0: it never returned */
};
struct seen_set { /* open addressing; a fingerprint of (set of linearised operations, state) */
	uint64_t (*slots)[2];
	size_t capacity, count;
};
struct search {
	const struct history_operation *const *operations;
	uint32_t count;
	struct event *events;
	uint32_t event_count;
	struct seen_set seen;
	uint64_t steps, steps_max;
};

static uint64_t scramble(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

/* True: it was not there. 128 bits of fingerprint stand for the set: two sets that share one would hide a state with a
 * chance of 2^-90 in a search of a million steps. */
static bool seen_insert(struct seen_set *seen, const uint64_t set[2], uint64_t state)
{
	uint64_t one = scramble(set[0] ^ scramble(state)), two = scramble(set[1] + scramble(~state));
	if (one == 0 && two == 0)
		one = 1;
	if (seen->count * 2 >= seen->capacity) {
		struct seen_set old = *seen;
		seen->capacity = old.capacity ? old.capacity * 2 : 1024;
		seen->slots = allocate(seen->capacity, sizeof(*seen->slots));
		for (size_t i = 0; i < old.capacity; i++) {
			if (old.slots[i][0] == 0 && old.slots[i][1] == 0)
				continue;
			size_t to = old.slots[i][0] & (seen->capacity - 1);
			while (seen->slots[to][0] != 0 || seen->slots[to][1] != 0)
				to = (to + 1) & (seen->capacity - 1);
			memcpy(seen->slots[to], old.slots[i], sizeof(seen->slots[to]));
		}
		free(old.slots);
	}
	size_t at = one & (seen->capacity - 1);
	for (; seen->slots[at][0] != 0 || seen->slots[at][1] != 0; at = (at + 1) & (seen->capacity - 1))
		if (seen->slots[at][0] == one && seen->slots[at][1] == two)
			return false;
	seen->slots[at][0] = one;
	seen->slots[at][1] = two;
	seen->count++;
	return true;
}

static int compare_events(const void *a, const void *b)
{
	const struct event *x = a, *y = b;
	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	if (x->is_return != y->is_return)
		return x->is_return ? 1 : -1; /* equal times overlap */
	return (x->operation > y->operation) - (x->operation < y->operation);
}

static void make_events(struct search *search)
{
	search->events = allocate(2 * (size_t)search->count + 1, sizeof(*search->events));
	struct event *events = search->events + 1;
	uint32_t count = 0;
	for (uint32_t i = 0; i < search->count; i++) {
		const struct history_operation *operation = search->operations[i];
		events[count++] = (struct event){ .time = operation->invoked, .operation = i };
		if (returned(operation) == NEVER)
			continue;
		assert(operation->returned >= operation->invoked);
		events[count++] = (struct event){ .time = operation->returned, .operation = i, .is_return = true };
	}
	qsort(events, count, sizeof(*events), compare_events);
	uint32_t *calls = allocate(search->count, sizeof(*calls));
	for (uint32_t i = 1; i <= count; i++) {
		struct event *event = &search->events[i];
		event->prior = i - 1;
		event->next = i < count ? i + 1 : 0;
		if (event->is_return)
			search->events[calls[event->operation]].mate = i;
		else
			calls[event->operation] = i;
	}
	search->events[0] = (struct event){ .next = count > 0 ? 1 : 0 };
	search->event_count = count;
	free(calls);
}

static void take_out(struct event *events, uint32_t at)
{
	events[events[at].prior].next = events[at].next;
	if (events[at].next != 0)
		events[events[at].next].prior = events[at].prior;
}

static void put_back(struct event *events, uint32_t at)
{
	events[events[at].prior].next = at;
	if (events[at].next != 0)
		events[events[at].next].prior = at;
}

static void lift(struct event *events, uint32_t call)
{
	take_out(events, call);
	if (events[call].mate != 0)
		take_out(events, events[call].mate);
}

static void unlift(struct event *events, uint32_t call)
{
	if (events[call].mate != 0)
		put_back(events, events[call].mate);
	put_back(events, call);
}

static void toggle(uint64_t set[2], uint32_t operation)
{
	set[0] ^= scramble(2 * (uint64_t)operation + 1);
	set[1] ^= scramble(~(2 * (uint64_t)operation + 1));
}

struct choice {
	uint32_t call;
	uint64_t state; /* before it */
};

/* Takes calls in every order that the returns allow. A return whose call has not been taken ends a branch; once no
 * return is left, whatever is still open may be left out. *stuck: the return that most branches could not pass. */
static enum history_verdict search_key(struct search *search, uint32_t *stuck)
{
	struct choice *choices = allocate(search->count, sizeof(*choices));
	struct event *events = search->events;
	uint64_t set[2] = { 0, 0 }, state = HISTORY_ABSENT, farthest = 0;
	uint32_t depth = 0, returns = search->event_count - search->count, at = events[0].next;
	enum history_verdict verdict = HISTORY_LINEARIZABLE;
	while (returns > 0) {
		if (++search->steps > search->steps_max) {
			verdict = HISTORY_UNDECIDED;
			break;
		}
		uint64_t next;
		bool call = at != 0 && !events[at].is_return;
		if (call && step(search->operations[events[at].operation], state, &next)) {
			toggle(set, events[at].operation);
			if (seen_insert(&search->seen, set, next)) {
				choices[depth++] = (struct choice){ at, state };
				state = next;
				returns -= events[at].mate != 0;
				lift(events, at);
				at = events[0].next;
				continue;
			}
			toggle(set, events[at].operation);
		}
		if (call) {
			at = events[at].next;
			continue;
		}
		if (at != 0 && events[at].time >= farthest) {
			farthest = events[at].time;
			*stuck = events[at].operation;
		}
		if (depth == 0) {
			verdict = HISTORY_VIOLATION;
			break;
		}
		struct choice last = choices[--depth];
		state = last.state;
		toggle(set, events[last.call].operation);
		unlift(events, last.call);
		returns += events[last.call].mate != 0;
		at = events[last.call].next;
	}
	free(choices);
	return verdict;
}

enum history_verdict history_check_search(
	const struct history_operation *operations, size_t count, uint64_t steps_max, struct history_report *report)
{
	*report = (struct history_report){ .verdict = HISTORY_LINEARIZABLE, .why = "" };
	struct positioned *order = by_key(operations, count);
	const struct history_operation **one_key = allocate(count, sizeof(*one_key));
	for (size_t first = 0, end; first < count && report->verdict == HISTORY_LINEARIZABLE; first = end) {
		struct search search = { .operations = one_key, .steps = report->steps, .steps_max = steps_max };
		uint32_t stuck = 0;
		for (end = first; end < count && order[end].key == order[first].key; end++)
			if (counts(&operations[order[end].at]))
				one_key[search.count++] = &operations[order[end].at];
		make_events(&search);
		enum history_verdict verdict = search_key(&search, &stuck);
		report->steps = search.steps;
		if (verdict == HISTORY_VIOLATION) {
			size_t at = (size_t)(one_key[stuck] - operations);
			violation(report, order[first].key, at, at, "no order of the operations explains this one");
		} else if (verdict == HISTORY_UNDECIDED) {
			report->verdict = HISTORY_UNDECIDED;
			report->key = order[first].key;
			report->why = "too many steps: too many operations overlap on this key";
		}
		free(search.events);
		free(search.seen.slots);
	}
	free(one_key);
	free(order);
	return report->verdict;
}

/* --- by versions --------------------------------------------------------------------------------------------- */

/* What stands at a version: the write first, then who saw it, in order of invocation. */
struct placed {
	uint64_t version, invoked, returned;
	size_t at;
	bool writes;
};
struct slot { /* the key is absent here: after the first `end` placed, before the rest */
	size_t end;
};
struct written { /* a value and who wrote it; sorted by value */
	uint64_t value, version;
	size_t at;
};
struct versions {
	const struct history_operation *operations;
	uint64_t key;
	const size_t *at; /* this key's, positions in the history */
	size_t count;
	struct written *written;
	size_t written_count;
	struct placed *placed;
	size_t placed_count;
	uint64_t open_delete;	  /* earliest invocation of an unknown delete; NEVER: none */
	uint64_t *latest_invoked; /* [i]: of placed[0..i) */
	size_t *latest_at;
	uint64_t *earliest_returned; /* [i]: of placed[i..count) */
	size_t *earliest_at;
	struct history_report *report;
};

static bool complain(struct versions *versions, size_t operation, size_t before, const char *why)
{
	violation(versions->report, versions->key, operation, before, why);
	return false;
}

static int compare_written(const void *a, const void *b)
{
	const struct written *x = a, *y = b;
	return (x->value > y->value) - (x->value < y->value);
}

static int compare_placed(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;
	if (x->version != y->version)
		return x->version < y->version ? -1 : 1;
	if (x->writes != y->writes)
		return x->writes ? -1 : 1;
	if (x->invoked != y->invoked)
		return x->invoked < y->invoked ? -1 : 1;
	return (x->at > y->at) - (x->at < y->at);
}

static struct written *writer_of(const struct versions *versions, uint64_t value)
{
	struct written wanted = { .value = value };
	return bsearch(&wanted, versions->written, versions->written_count, sizeof(wanted), compare_written);
}

static bool brings_value(const struct history_operation *operation)
{
	bool refused = operation->outcome == HISTORY_REFUSED;
	return operation->kind == HISTORY_WRITE || (operation->kind == HISTORY_CAS && !refused);
}

static bool sees(const struct history_operation *operation)
{
	if (operation->kind == HISTORY_READ)
		return operation->outcome == HISTORY_DONE;
	return operation->kind == HISTORY_CAS && operation->outcome == HISTORY_REFUSED &&
	       operation->seen != HISTORY_NOT_TOLD;
}

static bool collect_writes(struct versions *versions)
{
	versions->open_delete = NEVER;
	for (size_t i = 0; i < versions->count; i++) {
		const struct history_operation *operation = &versions->operations[versions->at[i]];
		bool unknown = operation->outcome == HISTORY_UNKNOWN;
		if (operation->kind == HISTORY_DELETE && unknown && operation->invoked < versions->open_delete)
			versions->open_delete = operation->invoked;
		bool done = operation->outcome == HISTORY_DONE;
		if (done && operation->kind != HISTORY_READ && operation->version == 0)
			return complain(
				versions, versions->at[i], versions->at[i], "a write that was done has no version");
		if (!brings_value(operation))
			continue;
		versions->written[versions->written_count++] = (struct written){
			.value = operation->value, .version = done ? operation->version : 0, .at = versions->at[i]
		};
	}
	qsort(versions->written, versions->written_count, sizeof(*versions->written), compare_written);
	return true;
}

/* Who was seen was written, by one that did not fail, under one version. Seen, an unknown write is known to be one. */
static bool match_reads(struct versions *versions)
{
	for (size_t i = 0; i < versions->count; i++) {
		size_t at = versions->at[i];
		const struct history_operation *operation = &versions->operations[at];
		if (!sees(operation) || operation->seen == HISTORY_ABSENT)
			continue;
		struct written *writer = writer_of(versions, operation->seen);
		if (!writer)
			return complain(versions, at, at, "it saw a value that nobody wrote to this key");
		if (versions->operations[writer->at].outcome == HISTORY_FAILED)
			return complain(versions, at, writer->at, "it saw the value of a write that failed");
		if (operation->version == 0)
			return complain(versions, at, at, "it saw a value without a version");
		if (writer->version == 0)
			writer->version = operation->version;
		if (writer->version != operation->version)
			return complain(
				versions, at, writer->at, "it saw a value under another version than its write's");
	}
	return true;
}

static void place(struct versions *versions, size_t at, uint64_t version, bool writes)
{
	const struct history_operation *operation = &versions->operations[at];
	versions->placed[versions->placed_count++] = (struct placed){ .version = version,
		.invoked = operation->invoked,
		.returned = returned(operation),
		.at = at,
		.writes = writes };
}

static void place_versions(struct versions *versions)
{
	for (size_t i = 0; i < versions->written_count; i++)
		if (versions->written[i].version != 0 &&
			versions->operations[versions->written[i].at].outcome != HISTORY_FAILED)
			place(versions, versions->written[i].at, versions->written[i].version, true);
	for (size_t i = 0; i < versions->count; i++) {
		const struct history_operation *operation = &versions->operations[versions->at[i]];
		if (operation->kind == HISTORY_DELETE && operation->outcome == HISTORY_DONE)
			place(versions, versions->at[i], operation->version, true);
		if (sees(operation) && operation->seen != HISTORY_ABSENT)
			place(versions, versions->at[i], operation->version, false);
	}
	qsort(versions->placed, versions->placed_count, sizeof(*versions->placed), compare_placed);
}

/* In the order of versions nothing may have returned before something ahead of it was invoked. */
static bool sweep(struct versions *versions)
{
	const struct placed *placed = versions->placed;
	size_t count = versions->placed_count;
	for (size_t i = 0; i < count; i++) {
		bool later = i == 0 || placed[i].invoked > versions->latest_invoked[i];
		if (i > 0 && placed[i].writes && placed[i - 1].version == placed[i].version)
			return complain(versions, placed[i].at, placed[i - 1].at, "two writes have one version");
		if (i > 0 && placed[i].returned < versions->latest_invoked[i])
			return complain(versions, versions->latest_at[i], placed[i].at,
				placed[i].writes
					? "it saw or wrote a version older than one that was there before it began"
					: "it saw a version older than one that had been seen before it began");
		versions->latest_invoked[i + 1] = later ? placed[i].invoked : versions->latest_invoked[i];
		versions->latest_at[i + 1] = later ? placed[i].at : versions->latest_at[i];
	}
	versions->earliest_returned[count] = NEVER;
	for (size_t i = count; i > 0; i--) {
		bool earlier = placed[i - 1].returned < versions->earliest_returned[i];
		versions->earliest_returned[i - 1] = earlier ? placed[i - 1].returned : versions->earliest_returned[i];
		versions->earliest_at[i - 1] = earlier ? placed[i - 1].at : versions->earliest_at[i];
	}
	return true;
}

/* What the write at placed[at] found: the value of the write before it. */
static uint64_t value_before(const struct versions *versions, size_t at)
{
	while (at > 0 && !versions->placed[at - 1].writes)
		at--;
	if (at == 0)
		return HISTORY_ABSENT;
	const struct history_operation *before = &versions->operations[versions->placed[at - 1].at];
	return before->kind == HISTORY_DELETE ? HISTORY_ABSENT : before->value;
}

/* By a delete of unknown outcome. */
static bool may_be_deleted(const struct versions *versions, uint64_t until)
{
	return versions->open_delete != NEVER && versions->open_delete <= until;
}

/* A compare-and-set replaced what it expected; a delete that was done found something. A write of unknown outcome that
 * nobody saw, or a delete, may have come between only where that explains an absence or a presence. */
static bool check_conditions(struct versions *versions)
{
	for (size_t i = 0; i < versions->placed_count; i++) {
		const struct placed *placed = &versions->placed[i];
		const struct history_operation *operation = &versions->operations[placed->at];
		if (!placed->writes) {
			if (operation->kind == HISTORY_CAS && operation->seen == operation->expected)
				return complain(versions, placed->at, placed->at, "it was refused by what it expected");
			continue;
		}
		uint64_t before = value_before(versions, i);
		bool maybe_deleted = may_be_deleted(versions, placed->returned);
		const struct written *expected =
			operation->kind == HISTORY_CAS ? writer_of(versions, operation->expected) : NULL;
		bool unseen = expected && expected->version == 0; /* by a write that is placed nowhere */
		if (operation->kind == HISTORY_CAS && before != operation->expected && !unseen &&
			!(operation->expected == HISTORY_ABSENT && maybe_deleted))
			return complain(versions, placed->at, i > 0 ? versions->placed[i - 1].at : placed->at,
				"it replaced another value than it expected");
		if (operation->kind != HISTORY_DELETE || before != HISTORY_ABSENT)
			continue;
		bool maybe_written = false; /* by one whose version nobody saw */
		for (size_t j = 0; j < versions->written_count; j++)
			maybe_written |= versions->written[j].version == 0 &&
					 versions->operations[versions->written[j].at].outcome != HISTORY_FAILED &&
					 versions->operations[versions->written[j].at].invoked <= placed->returned;
		if (!maybe_written)
			return complain(versions, placed->at, placed->at, "it deleted what was not there");
	}
	return true;
}

static bool is_absence(const struct history_operation *operation)
{
	if (operation->kind == HISTORY_DELETE)
		return operation->outcome == HISTORY_REFUSED;
	return sees(operation) && operation->seen == HISTORY_ABSENT;
}

/* An absence belongs after a delete (or at the start) and before the next write. The earliest such place that does not
 * lie before something that had returned is the best: later ones only add what must not begin after it. Taken by all
 * alike, it keeps absences in order among themselves. */
static bool check_absences(struct versions *versions, struct slot *slots)
{
	size_t slot_count = 0;
	for (size_t i = 0; i <= versions->placed_count; i++) {
		bool next_writes = i == versions->placed_count || versions->placed[i].writes;
		if (next_writes && value_before(versions, i) == HISTORY_ABSENT)
			slots[slot_count++] = (struct slot){ i };
	}
	for (size_t i = 0; i < versions->count; i++) {
		size_t at = versions->at[i];
		const struct history_operation *operation = &versions->operations[at];
		if (!is_absence(operation))
			continue;
		if (operation->kind == HISTORY_CAS && operation->expected == HISTORY_ABSENT)
			return complain(versions, at, at, "it was refused by what it expected");
		if (may_be_deleted(versions, operation->returned))
			continue;
		size_t first = 0;
		for (size_t end = slot_count; first < end;) {
			size_t middle = first + (end - first) / 2;
			if (versions->earliest_returned[slots[middle].end] < operation->invoked)
				first = middle + 1;
			else
				end = middle;
		}
		if (first == slot_count)
			return complain(versions, at,
				versions->earliest_at[slot_count > 0 ? slots[slot_count - 1].end : 0],
				"the key was there since before it began, and it saw nothing");
		size_t end = slots[first].end;
		if (end > 0 && versions->latest_invoked[end] > operation->returned)
			return complain(versions, at, versions->latest_at[end], "it saw a delete that had not begun");
	}
	return true;
}

static bool check_key(struct versions *versions)
{
	struct slot *slots = allocate(versions->count + 1, sizeof(*slots));
	versions->written_count = versions->placed_count = 0;
	bool good = collect_writes(versions) && match_reads(versions);
	if (good) {
		place_versions(versions);
		good = sweep(versions) && check_conditions(versions) && check_absences(versions, slots);
	}
	free(slots);
	return good;
}

enum history_verdict history_check_versions(
	const struct history_operation *operations, size_t count, struct history_report *report)
{
	*report = (struct history_report){ .verdict = HISTORY_LINEARIZABLE, .why = "" };
	struct positioned *order = by_key(operations, count);
	size_t *at = allocate(count, sizeof(*at));
	struct versions versions = { .operations = operations,
		.at = at,
		.report = report,
		.written = allocate(count, sizeof(*versions.written)),
		.placed = allocate(count, sizeof(*versions.placed)),
		.latest_invoked = allocate(count + 1, sizeof(*versions.latest_invoked)),
		.latest_at = allocate(count + 1, sizeof(*versions.latest_at)),
		.earliest_returned = allocate(count + 1, sizeof(*versions.earliest_returned)),
		.earliest_at = allocate(count + 1, sizeof(*versions.earliest_at)) };
	bool good = true;
	for (size_t first = 0, end; first < count && good; first = end) {
		versions.key = order[first].key;
		versions.count = 0;
		for (end = first; end < count && order[end].key == order[first].key; end++)
			at[versions.count++] = order[end].at;
		good = check_key(&versions);
		report->steps += versions.count;
	}
	free(versions.written);
	free(versions.placed);
	free(versions.latest_invoked);
	free(versions.latest_at);
	free(versions.earliest_returned);
	free(versions.earliest_at);
	free(at);
	free(order);
	return report->verdict;
}
