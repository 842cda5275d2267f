/* tests/lib/linearizability.h: was a history of operations, as their clients saw it, linearizable per key? For the
 * simulator, the cluster tests and dombench; not part of the product. Two checkers that share nothing:
 *
 *  history_check_search    Wing and Gong's search with Lowe's memo: believes nothing but values and times. Exponential
 * in how many operations on one key overlap, so let at most HISTORY_CLIENTS_MAX clients at a key, and stop a client's
 * use of a key, or of its number, after an unknown outcome. history_check_versions  believes that versions order the
 * writes of a key, as the product says, and finds what contradicts that: O(n log n), for histories of millions.
 *
 * Keys and values are numbers. Each write brings a value of its own, never 0, so a value names the write that wrote it;
 * a compare-and-set names the value whose version it expects. Times are of any one clock; equal times count as overlap.
 */
#ifndef DOMICILE_TESTS_LINEARIZABILITY_H
#define DOMICILE_TESTS_LINEARIZABILITY_H

#include <stddef.h>
#include <stdint.h>

enum { HISTORY_CLIENTS_MAX = 8 };
#define HISTORY_ABSENT	 ((uint64_t)0) /* as a value: the key was not there */
#define HISTORY_NOT_TOLD UINT64_MAX    /* as `seen` of a conflict: the answer did not say */

enum history_kind { HISTORY_READ = 1, HISTORY_WRITE, HISTORY_DELETE, HISTORY_CAS };
enum history_outcome {
	HISTORY_DONE = 1, /* READ: `seen`; WRITE, CAS: written; DELETE: it was there and is gone */
	HISTORY_REFUSED,  /* CAS: conflict, `seen` is there instead of `expected`; DELETE: it was not there */
	HISTORY_FAILED,	 /* certainly without effect, whatever the kind: not judged, and its value must never be seen */
	HISTORY_UNKNOWN, /* may take effect at any time after it was invoked, or never; a READ is not judged */
};
struct history_operation {
	uint64_t key;
	uint32_t client; /* for reports only */
	uint8_t kind, outcome;
	uint64_t value;		    /* WRITE, CAS: what it writes */
	uint64_t expected;	    /* CAS: the value it wants to replace; HISTORY_ABSENT */
	uint64_t seen;		    /* READ done; CAS refused */
	uint64_t version;	    /* of what was written or seen; 0: none. Only for history_check_versions */
	uint64_t invoked, returned; /* returned: not looked at when UNKNOWN */
};

enum history_verdict { HISTORY_LINEARIZABLE = 1, HISTORY_VIOLATION, HISTORY_UNDECIDED };
struct history_report {
	enum history_verdict verdict;
	uint64_t key; /* of a violation, or where the search gave up */
	size_t operation,
		before; /* positions in the history: what cannot stand, and what it contradicts (or the same) */
	const char *why;
	uint64_t steps;
};

/* steps_max: for all keys together; beyond it UNDECIDED. About 10 million steps a second. */
enum history_verdict history_check_search(
	const struct history_operation *operations, size_t count, uint64_t steps_max, struct history_report *report);

/* UNKNOWN deletes leave no version behind: absent reads that one of them may explain are not judged. */
enum history_verdict history_check_versions(
	const struct history_operation *operations, size_t count, struct history_report *report);

#endif
