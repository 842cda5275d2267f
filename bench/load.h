/* bench/load.h: the one load engine. It holds the connections, plans when operations start, takes their times and
 * judges whether the figures are figures; what the operations are is the workload's.
 *
 * Open loop (rate > 0): operations are planned at fixed distances, and their latency counts from the planned time, so a
 * stall is not hidden by the load that it held back. Closed loop: `depth` operations per connection in flight, the next
 * starts when one ends.
 *
 * What is measured is what was planned between the end of the warm-up and the end of the run, even if its answer comes
 * later: the engine waits for it. Whoever ran into its timeout, or was never sent, counts with its full age.
 *
 * One thread: all clients live on the engine's loop. */
#ifndef DOMICILE_BENCH_LOAD_H
#define DOMICILE_BENCH_LOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/histogram.h"
#include "client/domicile.h"

enum { LOAD_CLASSES_MAX = 8, LOAD_STATUSES = 32, LOAD_CONNECTIONS_MAX = 1024, LOAD_DEPTH_MAX = 1024 };

struct load_settings {
	const char *endpoints, *certs, *region; /* client-REGION.crt in certs */
	uint64_t connections, depth, seconds, warmup, rate, timeout_ms;
	uint64_t start_ns; /* CLOCK_BOOTTIME, when the warm-up begins; 0: at once */
	bool quiet;
	FILE *hlog; /* interval histograms, a line per class and second; NULL: none */
};

enum load_kind { LOAD_GET, LOAD_PUT, LOAD_CAS, LOAD_SCAN };
struct load_operation {
	uint8_t kind;		/* enum load_kind */
	uint8_t class;		/* position in the workload's names: one row of the result */
	dom_bytes key;		/* a scan: its prefix; must stay until `done` */
	dom_bytes value, after; /* after: of a scan */
	uint64_t version;	/* of a compare-and-set */
	uint32_t limit;		/* of a scan */
	dom_options options;
	void *memory; /* the slot's own, `memory_size` bytes, kept from `next` to `done` */
};
struct load_outcome {
	enum dom_status status;
	const dom_call *call; /* NULL: it never got an answer */
	uint64_t planned_ns, sent_ns, done_ns;
	bool measured;
};
enum load_verdict {
	LOAD_GOOD,
	LOAD_FAILED,
	LOAD_AGAIN /* the operation was rewritten and goes on: one latency for all its steps */
};
struct workload {
	void *arg;
	const char *const *names; /* of classes; no comma, no white space */
	uint32_t class_count;
	size_t memory_size; /* per operation in flight */
	/* The next operation of this connection. False: in an open loop, this turn is left out and was not offered; in
	 * a closed one there is nothing left, and the run ends when what is in flight has its answers. */
	bool (*next)(void *arg, uint32_t connection, uint64_t planned_ns, struct load_operation *operation);
	enum load_verdict (*done)(void *arg, struct load_operation *operation, const struct load_outcome *outcome);
};

struct load_class {
	struct histogram response, service; /* from the planned time; from the first send */
	uint64_t good, failed, by_status[LOAD_STATUSES];
};
struct load_result {
	struct load_class classes[LOAD_CLASSES_MAX];
	uint64_t planned, unsent; /* in the measured time; unsent: no free slot until the very end */
	uint64_t good, failed;
	double seconds, rate, cpu; /* rate: good answers in time, a second; cpu: cores of the generator */
	bool saturated;		   /* open loop: less than 99 % of what was offered came back in time */
	bool suspect;		   /* the generator took more than 70 % of a core: the figure is its own */
};

/* Returns 0, or an exit code after saying why: no connection, no memory. */
int load_run(const struct load_settings *settings, const struct workload *workload, struct load_result *result);
/* Connects one client as the settings say, on the base given; 0 or the exit code, having said why. */
struct event_base;
int load_connect(const struct load_settings *settings, struct event_base *base, dom_client **client);

#endif
