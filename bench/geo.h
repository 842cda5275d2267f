/* bench/geo.h: what the files of `dombench geo` share: its settings and the records that workers write and the
 * coordinator reads.
 *
 * A worker is one process per client region, started in that region's environment (a network namespace, or the region's
 * endpoints). It runs the load and writes down every operation; it judges nothing. The coordinator starts the workers
 * at one instant of CLOCK_BOOTTIME, which all processes of a machine share, runs the events, and makes from the records
 * whatever is printed: one merger, whoever produced them.
 *
 *   OUT/REGION/records.tsv   a line per operation        worker.json   the generator's CPU, what it was refused, the
 * map OUT/REGION/log           what the worker said        rtt.tsv       round trips to every region, before and after
 */
#ifndef DOMICILE_BENCH_GEO_H
#define DOMICILE_BENCH_GEO_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/load.h"
#include "config/map_file.h"

enum { GEO_REGIONS_MAX = TOPOLOGY_REGIONS_MAX, GEO_PATH_MAX = 1024, GEO_CHECK_FAILED = 14 };

enum geo_class { GEO_PUT, GEO_STRONG, GEO_SESSION, GEO_BOUNDED, GEO_NEAREST, GEO_ROAMED, GEO_CLASSES };
extern const char *const geo_class_names[GEO_CLASSES];	/* "get.session" */
extern const char *const geo_class_labels[GEO_CLASSES]; /* "session": the mix's and the table's word */

enum geo_workload { GEO_MIX, GEO_HOME, GEO_ROAM, GEO_SUN };

struct geo_settings {
	struct load_settings load; /* rate: of each region */
	struct topology topology;
	const char *map, *out, *prefix, *mix_text, *workload_text, *worker;
	uint64_t percent[GEO_CLASSES]; /* of the mix; sums to 100 */
	uint64_t keys, value_size, users, staleness_ms, seed;
	uint8_t workload; /* enum geo_workload */
	bool fill;
};
/* Fills topology, workload and percent from the texts; false: said why. */
bool geo_settings_complete(struct geo_settings *settings);

/* One operation as its client saw it. */
struct record {
	uint8_t class;	  /* enum geo_class */
	uint8_t status;	  /* enum dom_status */
	uint8_t region;	  /* of the client, in the topology */
	uint8_t served;	  /* region that answered; GEO_REGIONS_MAX: not told */
	bool fill;	  /* before the load: part of the history, of no figure */
	uint32_t session; /* 0: none; unique in the whole run */
	uint32_t staleness_ms;
	uint64_t key;
	uint64_t value;	  /* put: what it wrote, unique in the run; get: what it saw, 0: nothing there */
	uint64_t version; /* of what was written or seen; 0: not told */
	uint64_t planned_ns, sent_ns, done_ns;
};
struct records {
	struct record *at;
	size_t count, capacity;
};
struct record *records_add(struct records *records); /* zeroed; ends the process when memory does */
void records_free(struct records *records);
bool records_write(const struct records *records, const char *path);
/* Appends the file's, all as of this region. False: said why. */
bool records_read(struct records *records, const char *path, uint8_t region);

int geo_work(const struct geo_settings *settings); /* the worker's whole life */

#endif
