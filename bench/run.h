/* bench/run.h: what throughput and ycsb have in common: the flags of a load against one cluster, running it, printing
 * it, and the directory of results. */
#ifndef DOMICILE_BENCH_RUN_H
#define DOMICILE_BENCH_RUN_H

#include <stdlib.h>

#include "bench/flags.h"
#include "bench/load.h"
#include "bench/result.h"

enum { RUN_CHECK_FAILED = 14 };

struct run_flags {
	struct load_settings load;
	const char *out; /* directory; NULL: none */
};
#define RUN_FLAGS                                                                                                      \
	{                                                                                                              \
		.load = {                                                                                              \
			.endpoints = getenv("DOMCTL_ENDPOINT"),                                                        \
			.certs = getenv("DOMCTL_CERTS"),                                                               \
			.region = getenv("DOMCTL_AS_REGION"),                                                          \
			.connections = 64,                                                                             \
			.depth = 1,                                                                                    \
			.seconds = 30,                                                                                 \
			.warmup = 5,                                                                                   \
			.timeout_ms = 10000                                                                            \
		}                                                                                                      \
	}
#define RUN_FLAGS_TABLE(run)                                                                                           \
	FLAG_TEXT("endpoint", &(run).load.endpoints, "HOST:PORT[,...], nodes to begin with (DOMCTL_ENDPOINT)"),        \
		FLAG_TEXT("certs", &(run).load.certs, "directory, as domctl uses it (DOMCTL_CERTS)"),                  \
		FLAG_TEXT("as-region", &(run).load.region, "client-REGION.crt (DOMCTL_AS_REGION)"),                    \
		FLAG_NUMBER("connections", &(run).load.connections, 1, LOAD_CONNECTIONS_MAX,                           \
			"clients, each with its own connections (64)"),                                                \
		FLAG_NUMBER("depth", &(run).load.depth, 1, LOAD_DEPTH_MAX, "operations in flight per client (1)"),     \
		FLAG_NUMBER("rate", &(run).load.rate, 0, 10000000,                                                     \
			"open loop: operations a second, all clients together (0: closed loop)"),                      \
		FLAG_NUMBER("seconds", &(run).load.seconds, 1, 86400, "measured time (30)"),                           \
		FLAG_NUMBER("warmup", &(run).load.warmup, 0, 3600, "seconds before it (5)"),                           \
		FLAG_MS("timeout", &(run).load.timeout_ms, "of an operation (10s)"),                                   \
		FLAG_TEXT("out", &(run).out, "directory for summary.txt, summary.json, latencies.hlog and plots"),     \
		FLAG_ON("quiet", &(run).load.quiet, "no line per second")

/* False: says what is missing. */
bool run_flags_complete(const struct run_flags *run);
/* Takes `config`, the workload's own settings for the summary. 0, RUN_CHECK_FAILED when saturated or nothing came back,
 * or why it could not run. */
int run_workload(const struct run_flags *run, const char *kind, const char *title, const struct workload *workload,
	struct load_result *result, json_t *config);

#endif
