/* bench/result.h: a run's figures as files of one directory: summary.txt for people, summary.json for programs
 * (`dombench compare`), each saying on what machine and by which build. */
#ifndef DOMICILE_BENCH_RESULT_H
#define DOMICILE_BENCH_RESULT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "bench/load.h"

enum { RESULT_PATH_MAX = 1024 };

/* Makes the directory (one level) if it is not there; false: said why. */
bool result_directory(const char *directory);
/* DIRECTORY/name opened for writing; NULL: said why. */
FILE *result_file(const char *directory, const char *name);
/* Kernel, processor, clock source, build: what a figure depends on. */
json_t *result_machine(void);
json_t *result_latency(const struct histogram *histogram);
/* The classes of a load, their errors by name. */
json_t *result_classes(const struct workload *workload, const struct load_result *result);
/* "saturated", "suspect", both or nothing, each with its reason. */
void result_marks(const struct load_settings *settings, const struct load_result *result, FILE *out);
void result_print(const struct load_settings *settings, const struct workload *workload,
	const struct load_result *result, FILE *out);
/* Writes summary.json from `summary`, which it takes; false: said why. */
bool result_write(const char *directory, json_t *summary);

#endif
