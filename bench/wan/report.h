/* bench/wan/report.h: what a lab is and what it did, as JSON; and whether a run in it can be believed. */
#ifndef DOMICILE_BENCH_WAN_REPORT_H
#define DOMICILE_BENCH_WAN_REPORT_H

#include <jansson.h>

#include "bench/wan/emulator.h"

/* Later than this at the 99th percentile, and the emulator was starved. */
enum { REPORT_LATE_P99_US_MAX = 1000 };

json_t *report_settings(const struct lab *lab);
/* Per pair: packets and how late they were; in all: what the devices dropped, and `starved`. */
json_t *report_counts(const struct emulator *emulator);
void report_reset(struct emulator *emulator);

#endif
