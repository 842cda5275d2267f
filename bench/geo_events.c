/* bench/geo_events.c: what happens to the cluster during a run. A line of the events file is
 *
 *   SECONDS LABEL COMMAND...
 *
 * SECONDS after the measured time has begun the command runs by /bin/sh; its begin and end are marks of the plots, and
 * the longest stall of every kind of operation from its begin on is measured. A label begins with a letter. */
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/geo_run.h"

static bool parse_line(const char *line, struct geo_event *event)
{
	int used = 0;

	return sscanf(line, "%lf %63[A-Za-z0-9_.-] %n", &event->at_s, event->label, &used) == 2 &&
	       isalpha((unsigned char)event->label[0]) && event->at_s >= 0 && line[used] != '\0' &&
	       (size_t)snprintf(event->command, sizeof(event->command), "%s", line + used) < sizeof(event->command);
}

bool geo_events_read(struct geo_run *run, const char *path)
{
	FILE *file = fopen(path, "r");
	char line[640];
	unsigned number = 0;

	if (file == NULL) {
		fprintf(stderr, "dombench: %s: %s\n", path, strerror(errno));
		return false;
	}
	while (fgets(line, sizeof(line), file) != NULL) {
		struct geo_event *event = &run->events[run->event_count];

		number++;
		line[strcspn(line, "\n")] = '\0';
		if (line[0] == '#' || line[strspn(line, " \t")] == '\0')
			continue;
		if (run->event_count == GEO_EVENTS_MAX || !parse_line(line, event) ||
			(run->event_count > 0 && event->at_s < event[-1].at_s)) {
			fprintf(stderr,
				"dombench: %s:%u: write SECONDS LABEL COMMAND, in order of time, at most %d lines\n",
				path, number, GEO_EVENTS_MAX);
			fclose(file);
			return false;
		}
		run->event_count++;
	}
	fclose(file);
	return true;
}

static void begin(struct geo_event *event, uint64_t now_ns)
{
	pid_t parent = getpid();

	event->started = true;
	event->begin_ns = now_ns;
	fflush(NULL);
	event->pid = fork();
	if (event->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent && dup2(STDERR_FILENO, STDOUT_FILENO) >= 0)
			execl("/bin/sh", "sh", "-c", event->command, (char *)NULL);
		_exit(127);
	}
	if (event->pid < 0) {
		event->pid = 0;
		event->code = 126;
		event->ended = true;
	}
}

void geo_events_tend(struct geo_run *run, uint64_t now_ns)
{
	for (uint32_t i = 0; i < run->event_count; i++) {
		struct geo_event *event = &run->events[i];
		int status;

		if (!event->started && now_ns >= run->begin_ns + (uint64_t)(event->at_s * 1e9))
			begin(event, now_ns);
		if (event->pid == 0 || waitpid(event->pid, &status, WNOHANG) != event->pid)
			continue;
		event->pid = 0;
		event->ended = true;
		event->end_ns = now_ns;
		event->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		if (event->code != 0)
			fprintf(stderr, "dombench: event %s ended with %d: %s\n", event->label, event->code,
				event->command);
	}
}

void geo_events_stop(struct geo_run *run)
{
	for (uint32_t i = 0; i < run->event_count; i++) {
		struct geo_event *event = &run->events[i];

		if (event->pid == 0)
			continue;
		kill(event->pid, SIGKILL);
		waitpid(event->pid, NULL, 0);
		event->pid = 0;
		event->code = 137;
	}
}

bool geo_events_write(const struct geo_run *run)
{
	char path[GEO_PATH_MAX + 32];
	FILE *file;

	snprintf(path, sizeof(path), "%s/events.tsv", run->settings->out);
	file = fopen(path, "w");
	if (file == NULL)
		return false;
	fputs("#begin_s\tend_s\tcode\tlabel\n", file);
	for (uint32_t i = 0; i < run->event_count; i++) {
		const struct geo_event *event = &run->events[i];

		if (event->started)
			fprintf(file, "%.3f\t%.3f\t%d\t%s\n", (double)(event->begin_ns - run->begin_ns) / 1e9,
				event->ended && event->end_ns > 0 ? (double)(event->end_ns - run->begin_ns) / 1e9
								  : -1.0,
				event->code, event->label);
	}
	return fclose(file) == 0;
}

/* --- stalls ------------------------------------------------------------------------------------------ */

static int by_done(const void *a, const void *b)
{
	const struct record *x = *(const struct record *const *)a, *y = *(const struct record *const *)b;

	return x->done_ns < y->done_ns ? -1 : x->done_ns > y->done_ns;
}

static bool good(const struct record *record)
{
	return record->status == DOM_OK || (record->class != GEO_PUT && record->status == DOM_NOT_FOUND);
}

static bool same_kind(const struct record *a, const struct record *b)
{
	return a->region == b->region && a->class == b->class && a->key == b->key;
}

/* How long a patient caller of this key had to wait: until its answer, or, when the operation failed, until the next
 * good answer of the kind on the same key, or else of anything of the kind in that region. */
static uint64_t wait_us(const struct record *const *order, size_t count, size_t at)
{
	const struct record *record = order[at], *any = NULL;

	if (good(record))
		return (record->done_ns - record->planned_ns) / 1000;
	for (size_t i = at + 1; i < count; i++) {
		const struct record *later = order[i];

		if (!good(later) || later->region != record->region || later->class != record->class ||
			later->planned_ns < record->planned_ns)
			continue;
		if (same_kind(later, record))
			return (later->done_ns - record->planned_ns) / 1000;
		any = any == NULL ? later : any;
	}
	return ((any != NULL ? any->done_ns : record->done_ns) - record->planned_ns) / 1000;
}

/* What was planned before the event and had no answer yet when it came counts too. */
static void stalls_of(const struct record *const *order, size_t count, struct geo_event *event, uint64_t until_ns)
{
	for (size_t i = 0; i < count; i++) {
		const struct record *record = order[i];
		struct geo_stall *stall = &event->stalls[record->region];
		uint64_t us, *longest_us;

		if (record->done_ns < event->begin_ns || record->planned_ns >= until_ns || record->fill)
			continue;
		if (record->class != GEO_PUT && record->class != GEO_STRONG)
			continue;
		longest_us = record->class == GEO_PUT ? &stall->put_longest_us : &stall->get_longest_us;
		*(record->class == GEO_PUT ? &stall->put_failed : &stall->get_failed) += !good(record);
		us = wait_us(order, count, i);
		*longest_us = us > *longest_us ? us : *longest_us;
	}
}

void geo_events_stalls(struct geo_run *run)
{
	const struct record **order = calloc(run->records.count + 1, sizeof(*order));

	if (order == NULL)
		abort();
	for (size_t i = 0; i < run->records.count; i++)
		order[i] = &run->records.at[i];
	qsort(order, run->records.count, sizeof(*order), by_done);
	for (uint32_t i = 0; i < run->event_count; i++) {
		if (run->events[i].started)
			stalls_of(order, run->records.count, &run->events[i],
				i + 1 < run->event_count ? run->events[i + 1].begin_ns : run->end_ns);
	}
	free(order);
}
