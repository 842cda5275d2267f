/* bench/geo_worker.h: what the files of a worker share: bench/geo_worker.c runs it, geo_facts.c asks the cluster,
 * geo_roam.c holds its users. */
#ifndef DOMICILE_BENCH_GEO_WORKER_H
#define DOMICILE_BENCH_GEO_WORKER_H

#include "base/prng.h"
#include "bench/geo.h"

enum { VALUE_DIGITS = 16, STEP_KEY_SIZE = 256, WHY_SIZE = 160 };

struct geo_user {
	dom_session *session;
	uint32_t id; /* from 1, unique in the run */
	bool here;   /* acts from this region now */
	bool guest;  /* came from another region */
	bool busy;   /* has an operation in flight; roaming users have one at a time */
};
struct geo_step { /* in the slot's memory */
	char key[STEP_KEY_SIZE];
	uint64_t key_number, value;
	struct geo_user *user; /* NULL: without a session */
};
struct geo_worker {
	const struct geo_settings *settings;
	uint32_t region; /* of the topology */
	char directory[GEO_PATH_MAX];
	struct prng prng;
	struct records records;
	uint8_t *value;
	uint64_t values, filled, measure_ns;
	struct geo_user *users;			 /* this region's, then those that come to it: as many again */
	char unsupported[GEO_CLASSES][WHY_SIZE]; /* "": it is supported */
	/* geo_facts.c */
	dom_client *client;		 /* on a thread of its own, for questions */
	json_t *facts;			 /* of the map: the policy of the keys, its voters' regions */
	uint64_t nodes[GEO_REGIONS_MAX]; /* one to ping in each region; 0: none */
};

/* Connects, reads the map, writes map.json (the policy of the keys, who answers strong reads, its voters' regions),
 * finds out which kinds of reads the cluster knows. 0, or the exit code, having said why. */
int geo_facts_read(struct geo_worker *worker);
void geo_facts_forget(struct geo_worker *worker);
/* Appends to rtt.tsv: when, region, and the least, median and greatest of the pings, in microseconds. */
int geo_rtt_measure(struct geo_worker *worker, const char *when);

/* Users have a session each. In the roaming workload they leave for the next region in the middle of the run and take
 * nothing along but their session's token, in a file. */
bool geo_roam_init(struct geo_worker *worker);
void geo_roam_deinit(struct geo_worker *worker);
/* An idle user who is here; NULL: nobody. Lets leave who must, and in who has come. */
struct geo_user *geo_roam_choose(struct geo_worker *worker, uint64_t planned_ns);

#endif
