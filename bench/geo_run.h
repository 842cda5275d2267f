/* bench/geo_run.h: what the coordinator makes of a run: shared by geo.c, geo_gather.c, geo_print.c, geo_events.c and
 * geo_plot.c. */
#ifndef DOMICILE_BENCH_GEO_RUN_H
#define DOMICILE_BENCH_GEO_RUN_H

#include <assert.h>

#include "bench/floor.h"
#include "bench/geo.h"
#include "bench/geo_check.h"

enum { GEO_EVENTS_MAX = 32, GEO_LABEL_MAX = 64, GEO_WHY_MAX = 160 };
static_assert((int)FLOOR_REGIONS_MAX == (int)GEO_REGIONS_MAX, "a floor for every region");

struct geo_row { /* one kind of operation of one region's clients, in the measured time */
	struct histogram response, service;
	uint64_t planned, good, failed, by_status[LOAD_STATUSES];
	uint64_t served[GEO_REGIONS_MAX + 1];	  /* answers by the region that gave them */
	uint64_t low_us, high_us;		  /* 10th and 90th percentile of the medians of single seconds */
	struct histogram held;			  /* reads that took 3 ms more than their floor */
	uint64_t floor_us, expected_us, fibre_us; /* FLOOR_UNKNOWN: none */
	bool below_floor;			  /* faster than the floor: the figure or the floor is wrong */
};
struct geo_side { /* what one worker said of itself */
	bool saturated, suspect;
	bool leader_moved; /* of another system: it was not where the run wanted it, before or after */
	uint64_t planned, unsent;
	double cpu;
	char unsupported[GEO_CLASSES][GEO_WHY_MAX]; /* "": it is supported */
};
struct geo_stall { /* of one region's clients, after an event and until the next */
	uint64_t put_longest_us, put_failed, get_longest_us, get_failed; /* gets: strong ones */
};
struct geo_event {
	char label[GEO_LABEL_MAX], command[512];
	double at_s; /* after the measured time has begun */
	pid_t pid;   /* 0: not running */
	int code;
	bool started, ended;
	uint64_t begin_ns, end_ns;
	struct geo_stall stalls[GEO_REGIONS_MAX];
};
struct geo_run {
	struct geo_settings *settings;
	const char *enter, *program, *system; /* flags */
	const char *leader_name;	      /* not "": of another system, which answers through its leader */
	struct records records;
	struct geo_row rows[GEO_REGIONS_MAX][GEO_CLASSES];
	struct geo_side sides[GEO_REGIONS_MAX];
	struct floors floors;
	uint64_t rtt_us[2][GEO_REGIONS_MAX][GEO_REGIONS_MAX]; /* medians before and after; FLOOR_UNKNOWN */
	uint64_t fibre_us[GEO_REGIONS_MAX][GEO_REGIONS_MAX];
	char policy[GEO_LABEL_MAX];
	bool reads_local;
	uint32_t leaders[2][GEO_REGIONS_MAX]; /* shards led there, before and after; all 0: not known */
	int leader;			      /* the region that leads most at the start; -1: not known */
	uint64_t begin_ns, end_ns, begin_wall_us;
	struct geo_verdict verdict;
	struct geo_event events[GEO_EVENTS_MAX];
	uint32_t event_count;
};

/* geo_gather.c: what the first region's worker found in the cluster's map; as soon as all are ready. */
bool geo_read_facts(struct geo_run *run);
/* Everything the workers left, and rows, floors and marks from it. False: said why. */
bool geo_gather(struct geo_run *run);
/* Asks domctl who leads the shards of the policy; fine if nobody can tell. after: the second reading. */
void geo_read_leaders(struct geo_run *run, bool after);

/* geo_print.c */
void geo_print(const struct geo_run *run, FILE *out);
json_t *geo_summary(const struct geo_run *run);
/* Histograms of every second, tag REGION.OPERATION.rt. */
bool geo_write_hlog(const struct geo_run *run);
/* 0; GEO_CHECK_FAILED when what was seen contradicts what is promised, or a figure is none. */
int geo_judge(const struct geo_run *run);

/* geo_events.c */
bool geo_events_read(struct geo_run *run, const char *path);
void geo_events_tend(struct geo_run *run, uint64_t now_ns); /* starts what is due, reaps what has ended */
void geo_events_stop(struct geo_run *run);
bool geo_events_write(const struct geo_run *run);
void geo_events_stalls(struct geo_run *run);

/* geo_plot.c: data, gnuplot scripts and, where gnuplot is installed, SVGs. */
bool geo_plot(const struct geo_run *run);

#endif
