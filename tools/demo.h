/* tools/demo.h: a whole cluster on this machine: real nodes, and between its regions a proxy that delays bytes. Shared
 * by the demo_*.c files only.
 *
 * Processes: domctl starts the proxy and one domiciled a node, each in a group of its own so that a Ctrl-C reaches
 * domctl alone, each told by the kernel to die with domctl. Threads: the main one, and one that waits for signals;
 * `lock` is held by the main one while it makes files or processes, so that a signal's clean-up finds all of them. */
#ifndef DOMICILE_TOOLS_DEMO_H
#define DOMICILE_TOOLS_DEMO_H

#include <pthread.h>
#include <stdio.h>
#include <sys/types.h>

#include "config/map_file.h"
#include "tools/errors.h"
#include "tools/pki.h"
#include "tools/session.h"

enum {
	DEMO_REGIONS_MAX = ADDRESSES_MAX - 1, /* a node has an address for each, and a default */
	DEMO_NODES_PER_REGION_MAX = 9,
	DEMO_NODES_MAX = DEMO_REGIONS_MAX * DEMO_NODES_PER_REGION_MAX,
	DEMO_PATH_MAX = 512,
};
#define DEMO_CLUSTER "demo"

struct demo_node {
	char name[REGION_NAME_MAX + 8]; /* "eu-west-1-n2": its directory too */
	char dir[DEMO_PATH_MAX + 96];
	struct place place;
	uint32_t region; /* of the topology */
	uint16_t port;
	uint16_t from_port[DEMO_REGIONS_MAX]; /* where that region dials it */
	pid_t pid;			      /* 0: not running */
	bool ended;			      /* reaped, not by our wish */
};
struct demo {
	const struct invocation *invocation;
	struct topology topology;
	uint32_t nodes_per_region, node_count;
	struct demo_node nodes[DEMO_NODES_MAX];
	char root[DEMO_PATH_MAX], certs[DEMO_PATH_MAX + 16];
	bool keep, proxied;
	char domiciled[DEMO_PATH_MAX], domctl[DEMO_PATH_MAX];
	int control_fd; /* of the proxy; -1: none */
	pid_t proxy_pid, command_pid;
	uint64_t began_ns;
	struct rtt_matrix measured;				   /* by region of the topology */
	char home[SELECTOR_TEXT_MAX], home_label[REGION_NAME_MAX]; /* of the built-in policy: "eu" */
	pthread_mutex_t lock;
	bool root_made, cleaned, staying;
};

/* demo_files.c: all return EXIT_OK or have printed why not. */
int demo_make_root(struct demo *demo);
int demo_make_certificates(struct demo *demo);
int demo_write_configuration(const struct demo *demo, const struct demo_node *node, bool direct);
int demo_write_listening(const struct demo *demo, const char *path);
int demo_builtin_policies(struct demo *demo, char *text, size_t capacity);
void demo_remove_tree(const char *path);
/* Where the bytes stand in files below the node's directory: how many files hold them. */
unsigned demo_search(const struct demo_node *node, struct bytes needle);

/* demo_processes.c */
int demo_start_proxy(struct demo *demo);
int demo_link_all(struct demo *demo); /* the proxy's listeners for every node */
int demo_delay(struct demo *demo, bool on);
int demo_start_node(struct demo *demo, struct demo_node *node); /* until it listens */
int demo_check_nodes(struct demo *demo);			/* has one ended? its log's last lines */
void demo_watch_signals(struct demo *demo);			/* from here on a signal cleans up and ends domctl */
void demo_clean_up(struct demo *demo);
/* Runs a program with the demo's environment. domctl's own words are shown through `indent` when it is not NULL. */
int demo_run(struct demo *demo, char *const argv[], const char *indent);
uint16_t demo_free_port(void);

/* demo_measure.c */
int demo_measure(struct demo *demo); /* the matrix, checked against the map's */
int demo_measure_latencies(struct demo *demo, const char *key_prefix);

/* demo_tour.c */
int demo_tour(struct demo *demo);
void demo_step(const struct demo *demo, const char *what, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void demo_heading(const char *text, const char *aside);

/* An invocation that acts as a client of the region, or as the administrator with -1. */
void demo_act(const struct demo *demo, int region, struct invocation *invocation);
/* "127.0.0.1:P,..." of the region's nodes as that region dials them. */
void demo_endpoints(const struct demo *demo, uint32_t region, char *out, size_t capacity);

#endif
