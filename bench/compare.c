/* bench/compare.c: dombench compare: two directories of results, figure by figure.
 *
 * A figure is worse when the second is beyond the first by more than the tolerance, by more than a bound below which
 * nothing is measured on a shared machine, and outside of the noise of both: the band in which the medians of single
 * seconds lay. Medians and rates are held to the tolerance, the 99th percentile to twice of it. Where the runs recorded
 * no band, one run each says nothing of noise, and the line says so. */
#include "bench/bench.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "bench/flags.h"
#include "bench/result.h"

struct comparison {
	double tolerance, least_ms; /* 0.1 is ten percent */
	unsigned figures, worse, better;
};

static json_t *load(const char *directory)
{
	char path[RESULT_PATH_MAX];
	json_error_t error;
	json_t *json;

	snprintf(path, sizeof(path), "%s/summary.json", directory);
	json = json_load_file(path, 0, &error);
	if (json == NULL || !json_is_array(json_object_get(json, "rows"))) {
		fprintf(stderr, "dombench: %s is no summary of a run: %s\n", path,
			json == NULL ? error.text : "it has no rows");
		json_decref(json);
		return NULL;
	}
	return json;
}

static const char *text_of(const json_t *json, const char *name)
{
	const char *text = json_string_value(json_object_get(json, name));

	return text == NULL ? "" : text;
}

static double number_of(const json_t *json, const char *name)
{
	return json_number_value(json_object_get(json, name));
}

/* Settings and machine that differ: the ratios may speak of them instead of the change. */
static void note_differences(const json_t *a, const json_t *b, const char *part)
{
	json_t *left = json_object_get(a, part), *right = json_object_get(b, part), *value;
	const char *name;

	json_object_foreach(left, name, value)
	{
		json_t *other = json_object_get(right, name);

		if (!json_equal(value, other)) {
			char *x = json_dumps(value, JSON_ENCODE_ANY),
			     *y = other == NULL ? NULL : json_dumps(other, JSON_ENCODE_ANY);

			printf("note: %s.%s differs: %s, %s\n", part, name, x == NULL ? "?" : x,
				y == NULL ? "none" : y);
			free(x);
			free(y);
		}
	}
}

static void note_marks(const char *directory, const json_t *summary)
{
	json_t *workers = json_object_get(summary, "workers"), *worker;
	const char *region;

	if (json_is_true(json_object_get(summary, "saturated")) || json_is_true(json_object_get(summary, "suspect")))
		printf("note: %s is marked: its figures are no figures\n", directory);
	json_object_foreach(workers, region, worker)
	{
		if (json_is_true(json_object_get(worker, "saturated")) ||
			json_is_true(json_object_get(worker, "suspect")))
			printf("note: %s is marked in %s\n", directory, region);
	}
}

enum band { BAND_UNKNOWN, BAND_OVERLAPS, BAND_APART };
static enum band bands(const json_t *a, const json_t *b)
{
	double a_low = number_of(a, "p50_low_ms"), a_high = number_of(a, "p50_high_ms"),
	       b_low = number_of(b, "p50_low_ms"), b_high = number_of(b, "p50_high_ms");

	if (a_high <= 0 || b_high <= 0)
		return BAND_UNKNOWN;
	return a_low <= b_high && b_low <= a_high ? BAND_OVERLAPS : BAND_APART;
}

static void compare_latency(struct comparison *comparison, const char *label, const char *figure, const json_t *a,
	const json_t *b, double tolerance, enum band band)
{
	double before = number_of(a, figure), after = number_of(b, figure), ratio;
	bool beyond, worse, better;

	if (before <= 0 || after <= 0)
		return;
	ratio = after / before;
	beyond = after - before > comparison->least_ms && band != BAND_OVERLAPS;
	worse = beyond && ratio > 1 + tolerance;
	better = before - after > comparison->least_ms && band != BAND_OVERLAPS && ratio < 1 / (1 + tolerance);
	comparison->figures++;
	comparison->worse += worse;
	comparison->better += better;
	printf("%-32s %-8s %10.2f %10.2f %8.3f   %s%s\n", label, figure, before, after, ratio,
		worse	 ? "WORSE"
		: better ? "better"
			 : "same",
		band == BAND_OVERLAPS  ? ", within the noise of its seconds"
		: band == BAND_UNKNOWN ? ", noise not known"
				       : "");
}

static void compare_rate(
	struct comparison *comparison, const char *label, const char *figure, const json_t *a, const json_t *b)
{
	double before = number_of(a, figure), after = number_of(b, figure), ratio;
	bool worse, better;

	if (before <= 0)
		return;
	ratio = after / before;
	worse = ratio < 1 / (1 + comparison->tolerance);
	better = ratio > 1 + comparison->tolerance;
	comparison->figures++;
	comparison->worse += worse;
	comparison->better += better;
	printf("%-32s %-8s %10.1f %10.1f %8.3f   %s, noise not known\n", label, "op/s", before, after, ratio,
		worse	 ? "WORSE"
		: better ? "better"
			 : "same");
}

static json_t *same_row(json_t *rows, const json_t *row)
{
	json_t *other;
	size_t at;

	json_array_foreach(rows, at, other)
	{
		if (strcmp(text_of(other, "region"), text_of(row, "region")) == 0 &&
			strcmp(text_of(other, "operation"), text_of(row, "operation")) == 0)
			return other;
	}
	return NULL;
}

static void compare_rows(struct comparison *comparison, json_t *a, json_t *b)
{
	json_t *rows = json_object_get(a, "rows"), *others = json_object_get(b, "rows"), *row;
	size_t at;

	json_array_foreach(rows, at, row)
	{
		json_t *other = same_row(others, row);
		char label[192];
		enum band band;

		if (number_of(row, "count") <= 0)
			continue;
		snprintf(label, sizeof(label), "%s%s%s", text_of(row, "region"),
			text_of(row, "region")[0] == '\0' ? "" : " ", text_of(row, "operation"));
		if (other == NULL || number_of(other, "count") <= 0) {
			printf("%-32s only in the first\n", label);
			comparison->worse++;
			continue;
		}
		band = bands(row, other);
		compare_latency(comparison, label, "p50_ms", row, other, comparison->tolerance, band);
		compare_latency(comparison, label, "p99_ms", row, other, 2 * comparison->tolerance,
			band == BAND_OVERLAPS ? BAND_UNKNOWN : band);
	}
}

int bench_compare(int argc, char **argv)
{
	uint64_t tolerance = 10, least_us = 300;
	const struct flag flags[] = {
		FLAG_NUMBER("tolerance", &tolerance, 1, 1000, "percent by which a figure may be worse (10)"),
		FLAG_NUMBER("least-us", &least_us, 0, 1000000, "differences up to so many microseconds are none (300)"),
	};
	int left = flags_parse(argc, argv,
		"dombench compare DIR DIR: the second directory of results against the first\n\n"
		"Ends with 14 when a figure is worse than the tolerance allows.",
		flags, sizeof(flags) / sizeof(flags[0]));
	struct comparison comparison = { (double)tolerance / 100, (double)least_us / 1000, 0, 0, 0 };
	json_t *a, *b;

	if (left < 0)
		return left == -1 ? 0 : 2;
	if (left != 2) {
		fputs("dombench: compare takes two directories\n", stderr);
		return 2;
	}
	a = load(argv[1]);
	b = load(argv[2]);
	if (a == NULL || b == NULL || strcmp(text_of(a, "kind"), text_of(b, "kind")) != 0) {
		if (a != NULL && b != NULL)
			fprintf(stderr, "dombench: one is a %s, the other a %s\n", text_of(a, "kind"),
				text_of(b, "kind"));
		json_decref(a);
		json_decref(b);
		return 10;
	}
	note_differences(a, b, "config");
	note_differences(a, b, "machine");
	note_marks(argv[1], a);
	note_marks(argv[2], b);
	printf("%-32s %-8s %10s %10s %8s\n", "", "figure", "first", "second", "ratio");
	compare_rate(&comparison, "all", "ops_per_second", a, b);
	compare_rows(&comparison, a, b);
	printf("%u figures: %u worse, %u better, beyond %lu %% (p99: %lu %%)\n", comparison.figures, comparison.worse,
		comparison.better, tolerance, 2 * tolerance);
	json_decref(a);
	json_decref(b);
	return comparison.worse > 0 || comparison.figures == 0 ? 14 : 0;
}
