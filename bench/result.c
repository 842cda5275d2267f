/* bench/result.c: see bench/result.h. */
#include "bench/result.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

bool result_directory(const char *directory)
{
	if (mkdir(directory, 0777) == 0 || errno == EEXIST)
		return true;
	fprintf(stderr, "dombench: the directory %s cannot be made: %s\n", directory, strerror(errno));
	return false;
}

FILE *result_file(const char *directory, const char *name)
{
	char path[RESULT_PATH_MAX];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "w");
	if (file == NULL)
		fprintf(stderr, "dombench: %s cannot be written: %s\n", path, strerror(errno));
	return file;
}

/* The value behind "key" and a colon in a file like /proc/cpuinfo; the whole first line when key is NULL. */
static void line_of(const char *path, const char *key, char *out, size_t capacity)
{
	FILE *file = fopen(path, "r");
	char line[512];

	snprintf(out, capacity, "unknown");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		const char *value = key == NULL ? line : strchr(line, ':');

		line[strcspn(line, "\n")] = '\0';
		if (key != NULL && (strncmp(line, key, strlen(key)) != 0 || value == NULL))
			continue;
		snprintf(out, capacity, "%s", key == NULL ? value : value + 1 + strspn(value + 1, " "));
		break;
	}
	if (file != NULL)
		fclose(file);
}

json_t *result_machine(void)
{
	struct utsname system;
	char cpu[512], clock[512];

	line_of("/proc/cpuinfo", "model name", cpu, sizeof(cpu));
	line_of("/sys/devices/system/clocksource/clocksource0/current_clocksource", NULL, clock, sizeof(clock));
	if (uname(&system) != 0)
		memset(&system, 0, sizeof(system));
	return json_pack("{s:s,s:s,s:s,s:s}", "version", DOMICILE_VERSION, "kernel", system.release, "cpu", cpu,
		"clock_source", clock);
}

json_t *result_latency(const struct histogram *histogram)
{
	static const struct {
		const char *name;
		double fraction;
	} quantiles[] = { { "p50_ms", 0.5 }, { "p90_ms", 0.9 }, { "p99_ms", 0.99 }, { "p999_ms", 0.999 } };
	json_t *json = json_pack(
		"{s:I,s:f}", "count", (json_int_t)histogram->count, "mean_ms", histogram_mean(histogram) / 1000);

	for (unsigned i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++)
		json_object_set_new(json, quantiles[i].name,
			json_real((double)histogram_quantile(histogram, quantiles[i].fraction) / 1000));
	json_object_set_new(json, "max_ms", json_real((double)histogram->max_us / 1000));
	return json;
}

json_t *result_classes(const struct workload *workload, const struct load_result *result)
{
	json_t *rows = json_array();

	for (uint32_t i = 0; i < workload->class_count; i++) {
		const struct load_class *class = &result->classes[i];
		json_t *row = result_latency(&class->response), *errors = json_object();

		json_object_set_new(row, "operation", json_string(workload->names[i]));
		json_object_set_new(row, "ok_per_second", json_real((double)class->good / result->seconds));
		json_object_set_new(row, "service", result_latency(&class->service));
		for (unsigned status = 0; status < LOAD_STATUSES; status++) {
			if (class->by_status[status] > 0)
				json_object_set_new(errors, dom_status_name((enum dom_status)status),
					json_integer((json_int_t) class->by_status[status]));
		}
		json_object_set_new(row, "errors", errors);
		json_array_append_new(rows, row);
	}
	return rows;
}

void result_marks(const struct load_settings *settings, const struct load_result *result, FILE *out)
{
	if (result->saturated)
		fprintf(out, "   SATURATED: %.1f of %" PRIu64 " op/s came back in time", result->rate, settings->rate);
	if (result->unsent > 0)
		fprintf(out, "   %" PRIu64 " were never sent", result->unsent);
	if (result->suspect)
		fputs("   SUSPECT: the generator is the bottleneck", out);
}

void result_print(const struct load_settings *settings, const struct workload *workload,
	const struct load_result *result, FILE *out)
{
	fprintf(out, "%.0f op/s   errors %" PRIu64 "   generator CPU %.0f %% of a core", result->rate, result->failed,
		result->cpu * 100);
	result_marks(settings, result, out);
	fputs("\n", out);
	for (uint32_t i = 0; i < workload->class_count; i++) {
		const struct load_class *class = &result->classes[i];
		const struct histogram *times = &class->response;

		if (times->count > 0)
			fprintf(out, "%-8s p50 %.2f  p90 %.2f  p99 %.2f  p99.9 %.2f  max %.2f ms   (%" PRIu64 ")\n",
				workload->names[i], (double)histogram_quantile(times, 0.5) / 1000,
				(double)histogram_quantile(times, 0.9) / 1000,
				(double)histogram_quantile(times, 0.99) / 1000,
				(double)histogram_quantile(times, 0.999) / 1000, (double)times->max_us / 1000,
				times->count);
		for (unsigned status = 0; status < LOAD_STATUSES; status++) {
			if (class->by_status[status] > 0)
				fprintf(out, "%-8s error %s: %" PRIu64 "\n", workload->names[i],
					dom_status_name((enum dom_status)status), class->by_status[status]);
		}
	}
}

bool result_write(const char *directory, json_t *summary)
{
	char path[RESULT_PATH_MAX];
	bool good;

	snprintf(path, sizeof(path), "%s/summary.json", directory);
	good = json_dump_file(summary, path, JSON_INDENT(1)) == 0;
	if (!good)
		fprintf(stderr, "dombench: %s cannot be written\n", path);
	json_decref(summary);
	return good;
}
