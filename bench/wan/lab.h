/* bench/wan/lab.h: the regions of a map as hosts: each node of a region and one client of it is a host with a network
 * namespace, an address and a wire of its own, so that two hosts of one region are as far apart as the map says and a
 * program meets itself over its own loopback, as on real machines.
 *
 *   host          address          namespace
 *   REGION-nK     10.77.R.K        /run/wanlab/LAB/net/REGION-nK
 *   REGION        10.77.R.100      /run/wanlab/LAB/net/REGION          its clients
 *
 * R counts the map's regions from 1. Labs do not see each other: their addresses are the same. The namespaces' names
 * are not in /run/netns, where iproute2 has its own: that may be mounted over itself at any time, and a name that is
 * mounted twice cannot be taken away. */
#ifndef DOMICILE_BENCH_WAN_LAB_H
#define DOMICILE_BENCH_WAN_LAB_H

#include "bench/wan/link.h"
#include "config/map_file.h"

enum {
	LAB_NODES_PER_REGION_MAX = 9,
	LAB_HOSTS_MAX = TOPOLOGY_REGIONS_MAX * (LAB_NODES_PER_REGION_MAX + 1),
	LAB_NAME_MAX = 32,
	LAB_PATH_MAX = 160,
	LAB_CONGESTION_MAX = 16,
	LAB_CLIENT = 100, /* the last part of a client's address */
};
#define LAB_ROOT "/run/wanlab"

struct lab_host {
	char name[REGION_NAME_MAX + 8];
	char netns[LAB_PATH_MAX]; /* the namespace's path */
	uint32_t region, address; /* host byte order */
	bool client;
	int wire_fd;			     /* the TUN device; -1: none yet */
	int device_fd;			     /* /proc/net/dev inside */
	char congestion[LAB_CONGESTION_MAX]; /* control of its TCP */
	uint64_t dropped_before;	     /* by the device, before counting began */
};
struct lab {
	char name[LAB_NAME_MAX];
	struct topology topology;
	uint32_t nodes_per_region, host_count;
	struct lab_host hosts[LAB_HOSTS_MAX]; /* region by region: its nodes, then its client */
	struct link *links;		      /* [from * regions + to] */
	const char *region_names[TOPOLOGY_REGIONS_MAX];
	bool delayed; /* false: packets pass at once (`delays off`) */
};

void lab_init(
	struct lab *lab, const char *name, const struct topology *topology, uint32_t nodes_per_region, uint64_t seed);
void lab_deinit(struct lab *lab);
struct link *lab_link(const struct lab *lab, uint32_t from, uint32_t to);
/* -1: no host has the address. */
int lab_host_at(const struct lab *lab, uint32_t address);
void lab_path(const char *lab_name, const char *file, char *out, size_t capacity); /* in the lab's directory */
void lab_netns_path(const char *lab_name, const char *host, char *out, size_t capacity);
void lab_address_text(uint32_t address, char *out, size_t capacity);

#endif
