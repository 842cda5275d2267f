/* bench/run.c: see bench/run.h. */
#include "bench/run.h"

#include "base/clock.h"
#include "bench/hlog.h"
#include "bench/plot.h"

bool run_flags_complete(const struct run_flags *run)
{
	if (run->load.endpoints != NULL && run->load.certs != NULL && run->load.region != NULL)
		return true;
	fputs("dombench: --endpoint, --certs and --as-region are needed (a demo sets them: domctl demo lan3 -- "
	      "dombench "
	      "...)\n",
		stderr);
	return false;
}

static json_t *summary_of(const struct run_flags *run, const char *kind, const struct workload *workload,
	const struct load_result *result, json_t *config)
{
	const struct load_settings *load = &run->load;

	json_object_set_new(config, "connections", json_integer((json_int_t)load->connections));
	json_object_set_new(config, "depth", json_integer((json_int_t)load->depth));
	json_object_set_new(config, "seconds", json_integer((json_int_t)load->seconds));
	json_object_set_new(config, "warmup", json_integer((json_int_t)load->warmup));
	json_object_set_new(config, "offered_per_second", json_integer((json_int_t)load->rate));
	json_object_set_new(config, "loop", json_string(load->rate > 0 ? "open" : "closed"));
	return json_pack("{s:s,s:i,s:o,s:o,s:f,s:I,s:I,s:f,s:b,s:b,s:o}", "kind", kind, "v", 1, "machine",
		result_machine(), "config", config, "ops_per_second", result->rate, "errors",
		(json_int_t)result->failed, "unsent", (json_int_t)result->unsent, "generator_cpu", result->cpu,
		"saturated", result->saturated, "suspect", result->suspect, "rows", result_classes(workload, result));
}

static int write_results(const struct run_flags *run, const char *kind, const char *title,
	const struct workload *workload, const struct load_result *result, json_t *config)
{
	struct plot_curve curves[LOAD_CLASSES_MAX];
	FILE *text = result_file(run->out, "summary.txt");
	json_t *summary = summary_of(run, kind, workload, result, config);

	if (text == NULL || summary == NULL)
		return DOM_INVALID;
	result_print(&run->load, workload, result, text);
	fclose(text);
	if (!result_write(run->out, summary))
		return DOM_INVALID;
	for (uint32_t i = 0; i < workload->class_count; i++)
		curves[i] = (struct plot_curve){ workload->names[i], &result->classes[i].response };
	return plot_percentiles(run->out, "percentiles", title, curves, workload->class_count) ? 0 : DOM_INVALID;
}

int run_workload(const struct run_flags *run, const char *kind, const char *title, const struct workload *workload,
	struct load_result *result, json_t *config)
{
	struct load_settings load = run->load;
	int code;

	if (run->out != NULL) {
		load.hlog = result_directory(run->out) ? result_file(run->out, "latencies.hlog") : NULL;
		if (load.hlog == NULL) {
			json_decref(config);
			return DOM_INVALID;
		}
		hlog_begin(load.hlog, clock_wall_us() + load.warmup * 1000000);
	}
	if (!load.quiet)
		fprintf(stderr, "%s: %s loop\n", title, load.rate > 0 ? "open" : "closed");
	code = load_run(&load, workload, result);
	if (load.hlog != NULL)
		fclose(load.hlog);
	if (code == 0) {
		result_print(&load, workload, result, stdout);
		code = result->good == 0 || result->saturated ? RUN_CHECK_FAILED : 0;
		if (run->out != NULL) {
			int written = write_results(run, kind, title, workload, result, config);

			return written != 0 ? written : code;
		}
	}
	json_decref(config);
	return code;
}
