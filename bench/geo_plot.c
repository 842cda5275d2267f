/* bench/geo_plot.c: a run as pictures, see bench/geo_run.h: for each kind of operation the percentiles of every region
 * and the run over time, with a mark for each event; and for all of them bars of the median beside floor and
 * expectation. */
#include <stdlib.h>
#include <string.h>

#include "bench/geo_run.h"
#include "bench/plot.h"

enum { BIN_MS = 200 };

static const char *name_of(const struct geo_run *run, uint32_t region)
{
	return run->settings->topology.regions[region].name;
}

static bool any(const struct geo_run *run, uint8_t class)
{
	for (uint32_t i = 0; i < run->settings->topology.region_count; i++) {
		if (run->rows[i][class].response.count > 0)
			return true;
	}
	return false;
}

static bool plot_class_percentiles(const struct geo_run *run, uint8_t class)
{
	struct plot_curve curves[GEO_REGIONS_MAX];
	uint32_t count = run->settings->topology.region_count;
	char stem[64], title[256];

	for (uint32_t i = 0; i < count; i++)
		curves[i] = (struct plot_curve){ name_of(run, i), &run->rows[i][class].response };
	snprintf(stem, sizeof(stem), "percentiles-%s", geo_class_names[class]);
	snprintf(title, sizeof(title), "%s %s, policy %s: %s, by client region", run->system, run->settings->map,
		run->policy, geo_class_names[class]);
	return plot_percentiles(run->settings->out, stem, title, curves, count);
}

/* --- over time --------------------------------------------------------------------------------------- */

/* Of each bin of time, by when operations were planned: the median and the longest, and how many failed. */
static void add_timeline(const struct geo_run *run, struct plot *plot, uint32_t region, uint8_t class)
{
	uint64_t bins = run->settings->load.seconds * 1000 / BIN_MS;
	struct histogram *times = calloc(1, sizeof(*times));
	size_t *order = calloc(run->records.count + 1, sizeof(*order)), count = 0,
	       *first = calloc(bins + 2, sizeof(*first));

	if (times == NULL || order == NULL || first == NULL)
		abort();
	/* Counting sort of this row's records by bin. */
	for (unsigned pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < run->records.count; i++) {
			const struct record *record = &run->records.at[i];
			uint64_t bin;

			if (record->region != region || record->class != class || record->fill ||
				record->planned_ns < run->begin_ns || record->planned_ns >= run->end_ns)
				continue;
			bin = (record->planned_ns - run->begin_ns) / (BIN_MS * UINT64_C(1000000));
			if (pass == 0)
				first[bin + 1]++;
			else
				order[first[bin]++] = i;
		}
		for (uint64_t bin = 0; bin < bins && pass == 0; bin++)
			first[bin + 1] += first[bin];
	}
	/* first[bin] is now where the bin ends. */
	plot_series(plot);
	fprintf(plot->data, "# %s: seconds, median ms, longest ms, failed\n", name_of(run, region));
	for (uint64_t bin = 0; bin < bins; bin++) {
		unsigned failed = 0;

		histogram_init(times);
		for (; count < first[bin]; count++) {
			const struct record *record = &run->records.at[order[count]];

			histogram_add(times, (record->done_ns - record->planned_ns) / 1000);
			failed += record->status != DOM_OK && record->status != DOM_NOT_FOUND;
		}
		if (times->count > 0)
			fprintf(plot->data, "%.1f\t%.3f\t%.3f\t%u\n", (double)bin * BIN_MS / 1000,
				(double)histogram_quantile(times, 0.5) / 1000, (double)times->max_us / 1000, failed);
	}
	free(times);
	free(order);
	free(first);
}

static void add_marks(const struct geo_run *run, FILE *script)
{
	for (uint32_t i = 0; i < run->event_count; i++) {
		const struct geo_event *event = &run->events[i];
		double at_s = (double)(event->begin_ns - run->begin_ns) / 1e9;

		if (event->started)
			fprintf(script,
				"set arrow from %.3f,graph 0 to %.3f,graph 1 nohead lc rgb 'red' dt 2\n"
				"set label '%s' at %.3f,graph 0.97 left offset 0.4,0 tc rgb 'red' noenhanced\n",
				at_s, at_s, event->label, at_s);
	}
}

static bool plot_timeline(const struct geo_run *run, uint8_t class)
{
	char stem[64], title[256];
	struct plot plot;

	snprintf(stem, sizeof(stem), "timeline-%s", geo_class_names[class]);
	snprintf(title, sizeof(title), "%s %s, policy %s: %s, longest of every %d ms (line: median)", run->system,
		run->settings->map, run->policy, geo_class_names[class], BIN_MS);
	if (!plot_begin(&plot, run->settings->out, stem, title))
		return false;
	fprintf(plot.script, "set logscale y\nset xlabel 'seconds'\nset xrange [0:%lu]\n", run->settings->load.seconds);
	add_marks(run, plot.script);
	for (uint32_t i = 0; i < run->settings->topology.region_count; i++) {
		if (run->rows[i][class].planned == 0)
			continue;
		fprintf(plot.script,
			"%sD index %u using 1:3 with points pt 7 ps 0.3 lc %u title '%s', D index %u using 1:2 with "
			"lines lw 2 lc %u notitle",
			plot.series == 0 ? "plot " : ", ", plot.series, i + 1, name_of(run, i), plot.series, i + 1);
		add_timeline(run, &plot, i, class);
	}
	fputs("\n", plot.script);
	return plot_end(&plot);
}

/* --- beside the floor -------------------------------------------------------------------------------- */

static void put_ms(FILE *out, uint64_t us)
{
	if (us == FLOOR_UNKNOWN)
		fputs("\t?", out);
	else
		fprintf(out, "\t%.3f", (double)us / 1000);
}

static bool plot_bars(const struct geo_run *run)
{
	bool fibre = false, expected = false;
	char title[256];
	struct plot plot;

	snprintf(title, sizeof(title), "%s %s, policy %s: what clients met beside the floor", run->system,
		run->settings->map, run->policy);
	if (!plot_begin(&plot, run->settings->out, "floors", title))
		return false;
	plot_series(&plot);
	for (uint8_t class = 0; class < GEO_CLASSES; class ++) {
		for (uint32_t i = 0; i < run->settings->topology.region_count; i++) {
			const struct geo_row *row = &run->rows[i][class];

			if (row->response.count == 0)
				continue;
			fibre |= row->fibre_us != FLOOR_UNKNOWN;
			expected |= row->expected_us != FLOOR_UNKNOWN;
			fprintf(plot.data, "\"%s %s\"", geo_class_names[class], name_of(run, i));
			put_ms(plot.data, row->fibre_us);
			put_ms(plot.data, row->floor_us);
			put_ms(plot.data, row->expected_us);
			put_ms(plot.data, histogram_quantile(&row->response, 0.5));
			put_ms(plot.data, histogram_quantile(&row->response, 0.99));
			fputs("\n", plot.data);
		}
	}
	fprintf(plot.script,
		"set datafile missing '?'\nset logscale y\nset style data histograms\n"
		"set style histogram clustered gap 1\nset style fill solid 0.8\nset xtics rotate by -40 noenhanced\n"
		"plot %s%sD using 3:xtic(1) title 'floor', D using 5 title 'p50', D using 6 title 'p99'\n",
		fibre ? "D using 2:xtic(1) title 'light in fibre', " : "",
		expected ? "D using 4:xtic(1) title 'expected', " : "");
	return plot_end(&plot);
}

bool geo_plot(const struct geo_run *run)
{
	bool good = true, some = false;

	for (uint8_t class = 0; class < GEO_CLASSES; class ++) {
		if (!any(run, class))
			continue;
		some = true;
		good = plot_class_percentiles(run, class) && good;
		good = plot_timeline(run, class) && good;
	}
	return some ? plot_bars(run) && good : good;
}
