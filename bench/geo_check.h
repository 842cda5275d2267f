/* bench/geo_check.h: is what the clients of all regions saw, together, what the store promises? Judged from the records
 * alone, with the checkers of tests/lib/linearizability.h for the strong operations. Pure but for memory. */
#ifndef DOMICILE_BENCH_GEO_CHECK_H
#define DOMICILE_BENCH_GEO_CHECK_H

#include "bench/geo.h"

struct geo_verdict {
	/* strong reads and writes, per key */
	bool linearizable;
	bool search_undecided; /* the slow checker gave up; the one by versions did not */
	size_t operations, keys;
	char why[256]; /* "": nothing is wrong */
	/* sessions: a read sees what its session wrote or saw before */
	size_t session_reads, session_violations;
	/* bounded and nearest reads: the staleness told is never below the true one, nor above what was asked for */
	size_t stale_reads, stale_violations;
	uint32_t staleness_max_ms, staleness_p99_ms; /* as told */
};
/* bound_ms: what bounded reads asked for. */
void geo_check(const struct records *records, uint32_t bound_ms, struct geo_verdict *verdict);

#endif
