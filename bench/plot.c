/* bench/plot.c: see bench/plot.h. */
#include "bench/plot.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/result.h"

enum { NAME_MAX_SIZE = 128, NOT_FOUND = 127 };

bool plot_begin(struct plot *plot, const char *directory, const char *stem, const char *title)
{
	char name[NAME_MAX_SIZE];

	*plot = (struct plot){ .directory = directory, .stem = stem };
	snprintf(name, sizeof(name), "%s.gp", stem);
	plot->script = result_file(directory, name);
	snprintf(name, sizeof(name), "%s.tsv", stem);
	plot->data = plot->script == NULL ? NULL : result_file(directory, name);
	if (plot->data == NULL) {
		if (plot->script != NULL)
			fclose(plot->script);
		return false;
	}
	fprintf(plot->script,
		"# gnuplot %s.gp, in this directory\nset terminal svg size 960,540 dynamic background rgb 'white' font "
		"'sans,13'\nset output '%s.svg'\nset title \"%s\" noenhanced\nset key outside right top noenhanced\n"
		"set grid\nset ylabel 'ms'\nD = '%s.tsv'\n",
		stem, stem, title, stem);
	return true;
}

void plot_series(struct plot *plot)
{
	if (plot->series++ > 0)
		fputs("\n\n", plot->data);
}

/* Runs gnuplot in the plot's directory; its exit code. */
static int draw(const struct plot *plot)
{
	char script[NAME_MAX_SIZE];
	int status;
	pid_t pid;

	snprintf(script, sizeof(script), "%s.gp", plot->stem);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		if (chdir(plot->directory) == 0)
			execlp("gnuplot", "gnuplot", script, (char *)NULL);
		_exit(errno == ENOENT ? NOT_FOUND : 126);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 126;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

bool plot_end(struct plot *plot)
{
	static bool told;
	bool written = fclose(plot->script) == 0;
	int code;

	written = fclose(plot->data) == 0 && written;
	if (!written) {
		fprintf(stderr, "dombench: %s/%s cannot be written\n", plot->directory, plot->stem);
		return false;
	}
	code = draw(plot);
	if (code == NOT_FOUND) {
		if (!told)
			fputs("dombench: no pictures: gnuplot is not installed (apt-get install gnuplot-nox); the "
			      "scripts "
			      "are written\n",
				stderr);
		told = true;
		return true;
	}
	if (code != 0)
		fprintf(stderr, "dombench: gnuplot %s/%s.gp ended with %d\n", plot->directory, plot->stem, code);
	return code == 0;
}

/* From the median to as many nines as there are samples for. x is 1 / (1 - quantile). */
static void add_curve(struct plot *plot, const struct plot_curve *curve)
{
	double most = (double)curve->histogram->count;

	plot_series(plot);
	fprintf(plot->data, "# %s\n", curve->name);
	for (double x = 1; x < most; x *= 1.08)
		fprintf(plot->data, "%.6g\t%.3f\n", x, (double)histogram_quantile(curve->histogram, 1 - 1 / x) / 1000);
	fprintf(plot->data, "%.6g\t%.3f\n", most, (double)curve->histogram->max_us / 1000);
}

bool plot_percentiles(
	const char *directory, const char *stem, const char *title, const struct plot_curve *curves, unsigned count)
{
	struct plot plot;
	unsigned shown = 0;

	for (unsigned i = 0; i < count; i++)
		shown += curves[i].histogram->count > 0;
	if (shown == 0)
		return true;
	if (!plot_begin(&plot, directory, stem, title))
		return false;
	fputs("set logscale xy\nset xlabel 'percentile'\nset xtics ('0' 1, '50' 2, '90' 10, '99' 100, '99.9' 1000, "
	      "'99.99' 10000, '99.999' 100000)\nplot ",
		plot.script);
	for (unsigned i = 0; i < count; i++) {
		if (curves[i].histogram->count == 0)
			continue;
		fprintf(plot.script, "%sD index %u using 1:2 with lines lw 2 title '%s'", plot.series == 0 ? "" : ", ",
			plot.series, curves[i].name);
		add_curve(&plot, &curves[i]);
	}
	fputs("\n", plot.script);
	return plot_end(&plot);
}
