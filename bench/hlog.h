/* bench/hlog.h: histograms written as other tools read them: the interval log of HdrHistogram, format 1.3, each line
 *
 *   Tag=TAG,START_S,LENGTH_S,MAX_MS,BASE64
 *
 * where BASE64 is the V2 compressed encoding: a header, then deflated counts as zig-zag varints, runs of empty buckets
 * as one negative number. Values are microseconds, so a reader's unit ratio is 1000 for milliseconds. */
#ifndef DOMICILE_BENCH_HLOG_H
#define DOMICILE_BENCH_HLOG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/histogram.h"

/* The log's head; start_us: wall time to which START_S of the lines counts. */
void hlog_begin(FILE *out, uint64_t start_us);
/* tag: no comma, no white space. False: no memory, or the file refused. */
bool hlog_write(FILE *out, const char *tag, double start_s, double length_s, const struct histogram *histogram);
/* The base64 text, to be freed by the caller; NULL: no memory. */
char *hlog_encode(const struct histogram *histogram);

#endif
