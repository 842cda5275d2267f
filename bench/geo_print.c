/* bench/geo_print.c: the table of a run, its summary.json, its histograms, and the exit code; see bench/geo_run.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bench/geo_run.h"
#include "bench/hlog.h"
#include "bench/result.h"

static const char *name_of(const struct geo_run *run, uint32_t region)
{
	return region < run->settings->topology.region_count ? run->settings->topology.regions[region].name : "?";
}

static bool used(const struct geo_run *run, uint32_t region, uint8_t class)
{
	return run->rows[region][class].planned > 0 ||
	       (run->sides[region].unsupported[class][0] != '\0' && run->settings->percent[class] > 0);
}

/* Who gave most answers. */
static uint32_t via(const struct geo_row *row)
{
	uint32_t most = GEO_REGIONS_MAX;

	for (uint32_t i = 0; i < GEO_REGIONS_MAX; i++) {
		if (row->served[i] > (most == GEO_REGIONS_MAX ? 0 : row->served[most]))
			most = i;
	}
	return most;
}

static double ms_at(const struct histogram *histogram, double fraction)
{
	return (double)histogram_quantile(histogram, fraction) / 1000;
}

/* --- for people -------------------------------------------------------------------------------------- */

static void print_us(FILE *out, uint64_t us)
{
	if (us == FLOOR_UNKNOWN)
		fprintf(out, " %8s", "-");
	else
		fprintf(out, " %8.2f", (double)us / 1000);
}

static void print_row(const struct geo_run *run, uint32_t region, uint8_t class, FILE *out)
{
	const struct geo_row *row = &run->rows[region][class];
	const struct geo_side *side = &run->sides[region];
	const struct histogram *times = &row->response;

	fprintf(out, "%-16s %-4s %-8s", name_of(run, region), class == GEO_PUT ? "put" : "get",
		class == GEO_PUT ? "-" : geo_class_labels[class]);
	if (side->unsupported[class][0] != '\0') {
		fprintf(out, "  not supported: %s\n", side->unsupported[class]);
		return;
	}
	fprintf(out, " %-16s", via(row) == GEO_REGIONS_MAX ? "-" : name_of(run, via(row)));
	print_us(out, row->floor_us);
	print_us(out, row->expected_us);
	fprintf(out, " %8.2f %8.2f %8.2f %8.2f %8.2f", ms_at(times, 0.5), ms_at(times, 0.9), ms_at(times, 0.99),
		ms_at(times, 0.999), (double)times->max_us / 1000);
	if (row->floor_us != FLOOR_UNKNOWN && row->floor_us > 0)
		fprintf(out, " %7.2f", (double)histogram_quantile(times, 0.5) / (double)row->floor_us);
	else
		fprintf(out, " %7s", "-");
	fprintf(out, " %8.1f %5" PRIu64 "%s%s%s%s\n", (double)row->good / (double)run->settings->load.seconds,
		row->failed, side->saturated ? "  SATURATED" : "", side->suspect ? "  SUSPECT: generator" : "",
		side->leader_moved ? "  SUSPECT: the leader moved" : "",
		row->below_floor ? "  SUSPECT: below the floor" : "");
}

static void print_means(const struct geo_run *run, FILE *out)
{
	uint32_t regions = run->settings->topology.region_count;

	for (uint8_t class = 0; class < GEO_CLASSES; class ++) {
		double p50 = 0, floor = 0, expected = 0;
		uint32_t count = 0;

		for (uint32_t region = 0; region < regions; region++) {
			const struct geo_row *row = &run->rows[region][class];

			if (row->good == 0)
				continue;
			count++;
			p50 += ms_at(&row->response, 0.5);
			floor += row->floor_us == FLOOR_UNKNOWN ? 0 : (double)row->floor_us / 1000;
			expected += row->expected_us == FLOOR_UNKNOWN ? 0 : (double)row->expected_us / 1000;
		}
		if (count == 0)
			continue;
		fprintf(out, "mean of regions  %-4s %-8s %-16s %8.2f %8.2f %8.2f", class == GEO_PUT ? "put" : "get",
			class == GEO_PUT ? "-" : geo_class_labels[class], "", floor / count, expected / count,
			p50 / count);
		if (floor > 0)
			fprintf(out, "   %.3f of the floor", p50 / floor);
		fputs("\n", out);
	}
}

static void print_leaders(const struct geo_run *run, FILE *out)
{
	fputs("shards led in", out);
	for (uint32_t i = 0; i < run->settings->topology.region_count; i++) {
		if (run->leaders[0][i] + run->leaders[1][i] > 0)
			fprintf(out, "   %s %u, after %u", name_of(run, i), run->leaders[0][i], run->leaders[1][i]);
	}
	fputs(run->leader < 0 ? "   not known\n" : "\n", out);
}

static void print_rtt(const struct geo_run *run, FILE *out)
{
	uint32_t regions = run->settings->topology.region_count;

	fprintf(out, "\nround trips, ms: measured before, after; light in fibre\n");
	for (uint32_t i = 0; i < regions; i++) {
		for (uint32_t j = i; j < regions; j++) {
			fprintf(out, "  %-16s %-16s", name_of(run, i), name_of(run, j));
			print_us(out, run->rtt_us[0][i][j]);
			print_us(out, run->rtt_us[1][i][j]);
			print_us(out, i == j ? FLOOR_UNKNOWN : run->fibre_us[i][j]);
			fputs("\n", out);
		}
	}
}

static void print_verdict(const struct geo_run *run, FILE *out)
{
	const struct geo_verdict *verdict = &run->verdict;

	fprintf(out, "linearizable: %s (%zu operations, %zu keys%s)\n", verdict->linearizable ? "yes" : "NO",
		verdict->operations, verdict->keys,
		verdict->search_undecided ? "; by versions, the search for an order gave up" : "");
	if (verdict->session_reads > 0)
		fprintf(out, "sessions: %zu reads, %zu of them older than what the session knew\n",
			verdict->session_reads, verdict->session_violations);
	if (verdict->stale_reads > 0)
		fprintf(out,
			"staleness told: p99 %" PRIu32 " ms, max %" PRIu32
			" ms (%zu reads), %zu of them below the true one or above the bound\n",
			verdict->staleness_p99_ms, verdict->staleness_max_ms, verdict->stale_reads,
			verdict->stale_violations);
	if (verdict->why[0] != '\0')
		fprintf(out, "VIOLATION: %s\n", verdict->why);
}

static void print_events(const struct geo_run *run, FILE *out)
{
	for (uint32_t i = 0; i < run->event_count; i++) {
		const struct geo_event *event = &run->events[i];

		if (!event->started)
			continue;
		fprintf(out, "at %5.1f s %s%s\n", (double)(event->begin_ns - run->begin_ns) / 1e9, event->label,
			event->code == 0 ? "" : "   THE EVENT ITSELF FAILED");
		for (uint32_t region = 0; region < run->settings->topology.region_count; region++) {
			const struct geo_stall *stall = &event->stalls[region];

			fprintf(out,
				"  %-16s longest put %8.1f ms, %" PRIu64
				" failed   longest strong get %8.1f ms, %" PRIu64 " failed\n",
				name_of(run, region), (double)stall->put_longest_us / 1000, stall->put_failed,
				(double)stall->get_longest_us / 1000, stall->get_failed);
		}
	}
}

void geo_print(const struct geo_run *run, FILE *out)
{
	const struct geo_settings *settings = run->settings;

	fprintf(out,
		"%s  %s   policy %s   reads %s   %s   open loop %" PRIu64 "/s in each region   %" PRIu64 " s + %" PRIu64
		" s warm-up   seed %" PRIu64 "\n\n",
		run->system, settings->map, run->policy, run->reads_local ? "local" : "at the leader",
		settings->workload_text, settings->load.rate, settings->load.seconds, settings->load.warmup,
		settings->seed);
	fprintf(out, "%-16s %-4s %-8s %-16s %8s %8s %8s %8s %8s %8s %8s %7s %8s %5s\n", "client", "op", "read", "via",
		"floor", "expected", "p50", "p90", "p99", "p99.9", "max", "p50/fl", "ok/s", "err");
	for (uint32_t region = 0; region < settings->topology.region_count; region++) {
		for (uint8_t class = 0; class < GEO_CLASSES; class ++) {
			if (used(run, region, class))
				print_row(run, region, class, out);
		}
	}
	print_means(run, out);
	fputs("\n", out);
	print_leaders(run, out);
	print_events(run, out);
	print_verdict(run, out);
	print_rtt(run, out);
}

/* --- for programs ------------------------------------------------------------------------------------ */

static json_t *us_json(uint64_t us)
{
	return us == FLOOR_UNKNOWN ? json_null() : json_real((double)us / 1000);
}

static json_t *row_json(const struct geo_run *run, uint32_t region, uint8_t class)
{
	const struct geo_row *row = &run->rows[region][class];
	json_t *json = result_latency(&row->response), *errors = json_object(), *served = json_object();

	json_object_set_new(json, "region", json_string(name_of(run, region)));
	json_object_set_new(json, "operation", json_string(geo_class_names[class]));
	if (run->sides[region].unsupported[class][0] != '\0')
		json_object_set_new(json, "unsupported", json_string(run->sides[region].unsupported[class]));
	json_object_set_new(json, "floor_ms", us_json(row->floor_us));
	json_object_set_new(json, "expected_ms", us_json(row->expected_us));
	json_object_set_new(json, "fibre_ms", us_json(row->fibre_us));
	json_object_set_new(json, "p50_low_ms", json_real((double)row->low_us / 1000));
	json_object_set_new(json, "p50_high_ms", json_real((double)row->high_us / 1000));
	json_object_set_new(json, "ok_per_second", json_real((double)row->good / (double)run->settings->load.seconds));
	json_object_set_new(json, "below_floor", json_boolean(row->below_floor));
	json_object_set_new(json, "service", result_latency(&row->service));
	json_object_set_new(json, "held", result_latency(&row->held));
	for (unsigned status = 0; status < LOAD_STATUSES; status++) {
		if (row->by_status[status] > 0)
			json_object_set_new(errors, dom_status_name((enum dom_status)status),
				json_integer((json_int_t)row->by_status[status]));
	}
	json_object_set_new(json, "errors", errors);
	for (uint32_t i = 0; i < run->settings->topology.region_count; i++) {
		if (row->served[i] > 0)
			json_object_set_new(served, name_of(run, i), json_integer((json_int_t)row->served[i]));
	}
	json_object_set_new(json, "served_by", served);
	return json;
}

static json_t *matrix_json(const struct geo_run *run, uint64_t us[GEO_REGIONS_MAX][GEO_REGIONS_MAX])
{
	json_t *matrix = json_object();

	for (uint32_t i = 0; i < run->settings->topology.region_count; i++) {
		json_t *row = json_object();

		for (uint32_t j = 0; j < run->settings->topology.region_count; j++)
			json_object_set_new(row, name_of(run, j), us_json(us[i][j]));
		json_object_set_new(matrix, name_of(run, i), row);
	}
	return matrix;
}

static json_t *stalls_json(const struct geo_run *run, const struct geo_event *event)
{
	json_t *stalls = json_object();

	for (uint32_t region = 0; region < run->settings->topology.region_count; region++) {
		const struct geo_stall *stall = &event->stalls[region];

		json_object_set_new(stalls, name_of(run, region),
			json_pack("{s:f,s:I,s:f,s:I}", "put_longest_ms", (double)stall->put_longest_us / 1000,
				"put_failed", (json_int_t)stall->put_failed, "get_longest_ms",
				(double)stall->get_longest_us / 1000, "get_failed", (json_int_t)stall->get_failed));
	}
	return stalls;
}

static json_t *events_json(const struct geo_run *run)
{
	json_t *events = json_array();

	for (uint32_t i = 0; i < run->event_count; i++) {
		const struct geo_event *event = &run->events[i];

		if (event->started)
			json_array_append_new(events, json_pack("{s:s,s:f,s:i,s:o}", "label", event->label, "at_s",
							      (double)(event->begin_ns - run->begin_ns) / 1e9, "code",
							      event->code, "stalls", stalls_json(run, event)));
	}
	return events;
}

static json_t *verdict_json(const struct geo_verdict *verdict)
{
	return json_pack("{s:b,s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:s}", "linearizable", verdict->linearizable,
		"search_undecided", verdict->search_undecided, "operations", (json_int_t)verdict->operations, "keys",
		(json_int_t)verdict->keys, "session_reads", (json_int_t)verdict->session_reads, "session_violations",
		(json_int_t)verdict->session_violations, "stale_reads", (json_int_t)verdict->stale_reads,
		"stale_violations", (json_int_t)verdict->stale_violations, "staleness_p99_ms",
		(json_int_t)verdict->staleness_p99_ms, "staleness_max_ms", (json_int_t)verdict->staleness_max_ms, "why",
		verdict->why);
}

static json_t *config_json(const struct geo_settings *settings)
{
	return json_pack("{s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "map", settings->map, "workload",
		settings->workload_text, "mix", settings->mix_text, "prefix", settings->prefix, "offered_per_region",
		(json_int_t)settings->load.rate, "seconds", (json_int_t)settings->load.seconds, "warmup",
		(json_int_t)settings->load.warmup, "keys", (json_int_t)settings->keys, "value_bytes",
		(json_int_t)settings->value_size, "staleness_ms", (json_int_t)settings->staleness_ms, "seed",
		(json_int_t)settings->seed);
}

json_t *geo_summary(const struct geo_run *run)
{
	json_t *rows = json_array(), *sides = json_object(), *leaders = json_object();

	for (uint32_t region = 0; region < run->settings->topology.region_count; region++) {
		const struct geo_side *side = &run->sides[region];

		for (uint8_t class = 0; class < GEO_CLASSES; class ++) {
			if (used(run, region, class))
				json_array_append_new(rows, row_json(run, region, class));
		}
		json_object_set_new(sides, name_of(run, region),
			json_pack("{s:f,s:b,s:b,s:b,s:I}", "generator_cpu", side->cpu, "saturated", side->saturated,
				"suspect", side->suspect, "leader_moved", side->leader_moved, "unsent",
				(json_int_t)side->unsent));
		json_object_set_new(leaders, name_of(run, region),
			json_pack("{s:i,s:i}", "before", (int)run->leaders[0][region], "after",
				(int)run->leaders[1][region]));
	}
	return json_pack("{s:s,s:i,s:s,s:s,s:s,s:s?,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "kind", "Geo", "v", 1,
		"system", run->system, "policy", run->policy, "reads", run->reads_local ? "local" : "leader", "leader",
		run->leader < 0 ? NULL : name_of(run, (uint32_t)run->leader), "machine", result_machine(), "config",
		config_json(run->settings), "rtt_before_ms",
		matrix_json(run, ((struct geo_run *)(uintptr_t)run)->rtt_us[0]), "rtt_after_ms",
		matrix_json(run, ((struct geo_run *)(uintptr_t)run)->rtt_us[1]), "fibre_ms",
		matrix_json(run, ((struct geo_run *)(uintptr_t)run)->fibre_us), "workers", sides, "leaders", leaders,
		"rows", rows, "events", events_json(run), "checks", verdict_json(&run->verdict));
}

/* --- histograms, exit code --------------------------------------------------------------------------- */

static bool write_row_hlog(const struct geo_run *run, FILE *file, uint32_t region, uint8_t class)
{
	struct histogram *second = malloc(sizeof(*second));
	char tag[128];
	bool good = second != NULL;

	snprintf(tag, sizeof(tag), "%s.%s.rt", name_of(run, region), geo_class_names[class]);
	for (uint64_t s = 0, at = 0; good && s < run->settings->load.seconds; s++) {
		uint64_t until_ns = run->begin_ns + (s + 1) * 1000000000;

		histogram_init(second);
		for (; at < run->records.count; at++) {
			const struct record *record = &run->records.at[at];

			if (record->region != region || record->class != class || record->fill ||
				record->planned_ns < run->begin_ns || record->planned_ns >= run->end_ns ||
				(record->status != DOM_OK && record->status != DOM_NOT_FOUND &&
					record->status != DOM_TIMED_OUT && record->status != DOM_UNKNOWN_OUTCOME))
				continue;
			/* The last second takes what was planned in time and answered later. */
			if (record->done_ns >= until_ns && s + 1 < run->settings->load.seconds)
				break;
			histogram_add(second, (record->done_ns - record->planned_ns) / 1000);
		}
		if (second->count > 0)
			good = hlog_write(file, tag, (double)s, 1, second);
	}
	free(second);
	return good;
}

bool geo_write_hlog(const struct geo_run *run)
{
	FILE *file = result_file(run->settings->out, "latencies.hlog");
	bool good = file != NULL;

	if (file == NULL)
		return false;
	hlog_begin(file, run->begin_wall_us);
	for (uint32_t region = 0; region < run->settings->topology.region_count; region++) {
		for (uint8_t class = 0; class < GEO_CLASSES && good; class ++)
			good = write_row_hlog(run, file, region, class);
	}
	return fclose(file) == 0 && good;
}

/* A run with events may come back short: that is what its timeline shows. */
int geo_judge(const struct geo_run *run)
{
	const struct geo_verdict *verdict = &run->verdict;
	bool good = verdict->session_violations == 0 && verdict->stale_violations == 0 && verdict->why[0] == '\0' &&
		    (verdict->linearizable || verdict->operations == 0);

	for (uint32_t region = 0; region < run->settings->topology.region_count; region++) {
		const struct geo_side *side = &run->sides[region];

		good &= !side->suspect && !side->leader_moved && (!side->saturated || run->event_count > 0);
		for (uint8_t class = 0; class < GEO_CLASSES; class ++)
			good &= !run->rows[region][class].below_floor;
	}
	for (uint32_t i = 0; i < run->event_count; i++)
		good &= run->events[i].started && run->events[i].code == 0;
	return good ? 0 : GEO_CHECK_FAILED;
}
