/* bench/plot.h: pictures by gnuplot. A plot is DIRECTORY/STEM.gp, a script that stands alone, beside its data STEM.tsv;
 * where gnuplot is installed STEM.svg is drawn, elsewhere a message says once how to get it. */
#ifndef DOMICILE_BENCH_PLOT_H
#define DOMICILE_BENCH_PLOT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/histogram.h"

struct plot {
	const char *directory, *stem;
	FILE *script, *data;
	unsigned series; /* of data, begun so far; gnuplot calls them `index` */
};
/* Opens both files and writes what all scripts begin with. False: said why. */
bool plot_begin(struct plot *plot, const char *directory, const char *stem, const char *title);
/* Two empty lines part the series in the data. */
void plot_series(struct plot *plot);
/* Closes the files and draws. False: it cannot be written, or gnuplot failed; said why. */
bool plot_end(struct plot *plot);

struct plot_curve {
	const char *name;
	const struct histogram *histogram;
};
/* Latency over the percentile, on an axis of nines. Empty histograms are left out; nothing is drawn without any. */
bool plot_percentiles(
	const char *directory, const char *stem, const char *title, const struct plot_curve *curves, unsigned count);

#endif
