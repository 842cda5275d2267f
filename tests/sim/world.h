/* tests/sim/world.h: a whole cluster in one thread over virtual time: real nodes (server/node.h) and real client
 * routing between a modelled network, modelled disks and modelled clocks. Everything is a function of the seed: events
 * run in order of (time, sequence), and every random draw comes from a stream of the seed that is named for its
 * purpose.
 *
 * True time is the world's; each node has a clock of its own (offset, rate within the drift bound) and may be paused.
 */
#ifndef DOMICILE_TESTS_SIM_WORLD_H
#define DOMICILE_TESTS_SIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/heap.h"
#include "base/list.h"
#include "base/prng.h"
#include "replication/group.h"
#include "server/node.h"
#include "wire/codec.h"

enum {
	WORLD_FORMER_MAX = 16,
	WORLD_DIR_MAX = 32,
	WORLD_NODES_MAX = 16,
	WORLD_REGIONS_MAX = 5,
	WORLD_CLIENTS_MAX = 16,
	WORLD_EVENTS_MAX = 1 << 16,
	WORLD_SECOND = 1000000000,
};

struct world;
struct buffer;

/* --- events ----------------------------------------------------------------------------------------------------------
 * The pool of events is fixed: a run that needs more has lost control of its own traffic, and says so. */
typedef void event_fn(struct world *world, void *arg, uint64_t value, struct buffer *bytes);
void world_at(struct world *world, uint64_t at_ns, event_fn *fn, void *arg, uint64_t value, struct buffer *bytes);

/* --- what is in it ---------------------------------------------------------------------------------------------------
 */
struct world_knobs {
	unsigned regions, nodes_per_region, clients_per_region, keys;
	unsigned fault_gap_ms;		 /* at most, between two faults */
	unsigned copies, value_size_max; /* of the world's policy; bytes of padding */
	uint64_t support_us, heartbeat_us, disk_us, disk_stall_us;
	uint64_t segment_size, memory_size;
	uint32_t erase_within_s;	     /* of its policies; 0: the default */
	bool erased_in_time;		     /* whatever happens: an audit must find nothing late */
	uint32_t drift_ppm, clock_error_ppm; /* the bound the nodes assume; how far clocks really stray */
	uint32_t loss_ppm, duplicate_ppm;
	uint32_t jitter_percent;
	bool local_reads;     /* of its policies */
	bool wide;	      /* WAN distances; else a few hundred microseconds */
	bool levels;	      /* clients read at all levels; else strongly */
	bool old_scans;	      /* what they scan may be old, and is of policies too to which keys go and come back */
	bool old_clock;	      /* what a paused node is asked it takes up with the clock of before the pause */
	uint64_t job_wait_us; /* so long at most one in four blocking jobs waits for its thread, beside the disk */
	uint64_t job_late_us; /* so late at most a node hears that a blocking job has run */
	unsigned cold;	      /* one read in so many misses an engine's cache and blocks; 0: none */
	/* fault classes in force in this run */
	bool crashes, power_cuts, all_power_cut, partitions, one_way, pauses, clock_jumps, disk_slow, disk_full, moves,
		transfers, bindings, bit_flips, splits, compactions, overlap, congestion, damages;
	bool witness; /* the EU's policy: two copies, and a witness outside */
	bool drains;  /* nodes and regions are drained, had back, decommissioned, and started anew */
	bool loses;   /* nodes are lost for ever; then no region is declared lost beside */
	bool ranges;  /* shards are split and merged */
	bool follow;  /* the world's policy: leaders follow the writers, who shift */
};

struct world_node {
	struct world *world;
	unsigned slot, region;
	char dir[WORLD_DIR_MAX];
	struct peer_identity who;
	struct node *node; /* NULL: down */
	uint64_t id;	   /* given by meta; 0: none yet */
	unsigned former_count;
	uint64_t former[WORLD_FORMER_MAX]; /* ids of those that were decommissioned here before */
	uint64_t incarnation;		   /* counts starts: deliveries to an earlier one are dropped */
	double rate;
	uint64_t offset_ns;
	int64_t wall_error_us;
	uint64_t paused_until_ns, last_local_ns;
	struct node_time before_pause;
	uint64_t timer_ns;	    /* true time for which a timer event is queued; UINT64_MAX: none */
	uint64_t timers_ms, timers; /* events of that millisecond of true time */
	struct journal_flush *flush;
	struct list jobs; /* given to threads that may block, not yet done */
	bool flush_queued, slow_disk, failed;
	bool dead;	      /* it is being freed: what it says is said to nobody */
	bool flipped, ruined; /* a bit of its disk was flipped; it found that it cannot be trusted any more */
	bool lost;	      /* for ever, with its disk: until another is started in its place */
	struct prng prng;
	uint64_t join_ns;
};

struct world_stats {
	uint64_t events, messages, dropped, faults, operations, acknowledged, refused, unknown, reads_checked;
	uint64_t crashes, power_cuts, partitions, pauses, moves, transfers, stalls, compactions, rebinds, damages,
		drains, decommissions, cancels, levellings, removals, ranges;
	uint64_t degraded;	 /* times that a witness stood in for a copy */
	uint64_t moved, aborted; /* changes of bindings and ranges that took keys along, or tried */
};

struct world {
	uint64_t seed, now_ns, end_ns;
	struct world_knobs knobs;
	struct prng network, disk, faults, load, clocks, drains, ranges;
	struct heap events;
	struct heap_node **event_nodes;
	struct world_event *event_pool;
	uint32_t event_free;
	unsigned node_count;
	struct world_node nodes[WORLD_NODES_MAX];
	uint64_t delay_ns[WORLD_REGIONS_MAX][WORLD_REGIONS_MAX]; /* one way */
	struct peer_identity admin;
	bool cut[WORLD_NODES_MAX][WORLD_NODES_MAX]; /* [from][to] */
	bool cut_clients[WORLD_NODES_MAX];	    /* clients of other regions do not reach it */
	bool mute;				    /* no answer reaches a client */
	struct codec_scratch scratch;
	struct world_stats stats;
	uint64_t digest;	       /* folded over every event */
	char failure[512];	       /* "": all is well */
	uint64_t trace_group;	       /* verbose: print every message of this group */
	unsigned writers;	       /* bits of the regions whose clients write; 0: all */
	unsigned silent;	       /* bits of those whose clients ask for nothing */
	unsigned removed;	       /* bits of those that are, or were, perhaps not in the map */
	unsigned congested;	       /* messages take so many times longer; 0: as ever */
	bool verbose, healing, ruined; /* ruined: a region is lost for good; no more faults */
	struct checkers *checkers;
	struct load *load_state;
};

/* --- life ------------------------------------------------------------------------------------------------------------
 */
typedef void knobs_fn(struct world_knobs *knobs);
struct world *world_new(uint64_t seed, knobs_fn *adjust, bool verbose); /* adjust: after the seed's choice; or NULL */
void world_free(struct world *world);
void world_knobs_from_seed(struct world *world);
bool world_run_until(struct world *world, uint64_t at_ns); /* false: failed */
bool world_step(struct world *world);			   /* one event; false: none left, or failed */
void world_fail(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
void world_log(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* --- nodes -----------------------------------------------------------------------------------------------------------
 */
extern const char *const world_places[WORLD_REGIONS_MAX]; /* of the regions */
extern const char *const world_region_names[WORLD_REGIONS_MAX];
void node_start(struct world *world, unsigned slot);
void node_crash(struct world *world, unsigned slot, bool power_cut);
void node_pause(struct world *world, unsigned slot, uint64_t for_ns);
struct node_time node_now(struct world_node *node);
void node_kick(struct world_node *node); /* after any call: timers and flushes */
bool world_node_up(const struct world *world, unsigned slot);
const struct cluster_map *world_newest_map(const struct world *world); /* of those that nodes have; NULL: none */
struct world_node *world_node_by_id(struct world *world, uint64_t id);
struct world_node *world_node_of(struct world *world, uint64_t id);	    /* also by an id that it had before */
void world_node_dir(unsigned slot, unsigned life, char dir[WORLD_DIR_MAX]); /* life 0: its first */
/* The machine gets an empty disk, and what is started on it then is another node, of the same place. */
void node_replace(struct world *world, unsigned slot);
/* Everything connected, nobody cut off, clocks and disks healthy, every node up. */
void world_heal(struct world *world);

/* --- the side of clients: requests go to a node over the network, replies come back to `client`
 * ------------------------ */
typedef void world_reply_fn(struct world *world, unsigned client, const struct message *reply);
void world_request(struct world *world, unsigned client, unsigned region, const struct peer_identity *who,
	unsigned slot, const struct message *message);
/* The connection of a client (UINT32_MAX: of all) to this node broke. All that was under way may have arrived, but for
 * the request of this number (0: none). */
typedef void world_lost_fn(struct world *world, unsigned client, unsigned slot, uint64_t undelivered);
void world_on_reply(struct world *world, world_reply_fn *fn, world_lost_fn *lost);

/* The cluster from nothing: init, joins, policies. False: it did not come up within the time. */
bool world_found(struct world *world);

#endif
