/* bench/wan/lab.c: see bench/wan/lab.h. */
#include "bench/wan/lab.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ADDRESS_NET = 10 << 24 | 77 << 16 };

static void join_path(const char *const parts[], char *out, size_t capacity)
{
	struct text text;

	text_init(&text, out, capacity);
	for (; *parts != NULL; parts++)
		text_add(&text, *parts);
	assert(!text_full(&text));
}

void lab_path(const char *lab_name, const char *file, char *out, size_t capacity)
{
	join_path(
		(const char *const[]){ LAB_ROOT "/", lab_name, file[0] == '\0' ? "" : "/", file, NULL }, out, capacity);
}

void lab_netns_path(const char *lab_name, const char *host, char *out, size_t capacity)
{
	join_path((const char *const[]){ LAB_ROOT "/", lab_name, "/net/", host, NULL }, out, capacity);
}

void lab_address_text(uint32_t address, char *out, size_t capacity)
{
	snprintf(out, capacity, "%u.%u.%u.%u", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255);
}

static void add_host(struct lab *lab, uint32_t region, uint32_t k)
{
	struct lab_host *host = &lab->hosts[lab->host_count++];
	struct text name;

	host->region = region;
	host->client = k == lab->nodes_per_region;
	host->address = (uint32_t)ADDRESS_NET | (region + 1) << 8 | (host->client ? (uint32_t)LAB_CLIENT : k + 1);
	host->wire_fd = host->device_fd = -1;
	text_init(&name, host->name, sizeof(host->name));
	text_add(&name, lab->topology.regions[region].name);
	if (!host->client) {
		text_add(&name, "-n");
		text_add_u64(&name, k + 1);
	}
	lab_netns_path(lab->name, host->name, host->netns, sizeof(host->netns));
}

void lab_init(
	struct lab *lab, const char *name, const struct topology *topology, uint32_t nodes_per_region, uint64_t seed)
{
	uint32_t regions = topology->region_count;

	assert(regions > 0);
	assert(nodes_per_region > 0 && nodes_per_region <= LAB_NODES_PER_REGION_MAX);
	memset(lab, 0, sizeof(*lab));
	snprintf(lab->name, sizeof(lab->name), "%s", name);
	lab->topology = *topology;
	lab->nodes_per_region = nodes_per_region;
	lab->delayed = true;
	lab->links = calloc((size_t)regions * regions, sizeof(*lab->links));
	if (lab->links == NULL)
		abort();
	for (uint32_t i = 0; i < regions; i++) {
		lab->region_names[i] = lab->topology.regions[i].name;
		for (uint32_t k = 0; k <= nodes_per_region; k++)
			add_host(lab, i, k);
		for (uint32_t j = 0; j < regions; j++)
			link_init(lab_link(lab, i, j), topology->rtt_us[i][j] / 2, seed, i * regions + j);
	}
}

void lab_deinit(struct lab *lab)
{
	free(lab->links);
	lab->links = NULL;
}

struct link *lab_link(const struct lab *lab, uint32_t from, uint32_t to)
{
	assert(from < lab->topology.region_count);
	assert(to < lab->topology.region_count);
	return &lab->links[from * lab->topology.region_count + to];
}

int lab_host_at(const struct lab *lab, uint32_t address)
{
	uint32_t region = (address >> 8 & 255) - 1, last = address & 255,
		 k = last == LAB_CLIENT ? lab->nodes_per_region : last - 1;

	if ((address & 0xffff0000) != ADDRESS_NET || region >= lab->topology.region_count ||
		k > lab->nodes_per_region || (k == lab->nodes_per_region && last != LAB_CLIENT))
		return -1;
	return (int)(region * (lab->nodes_per_region + 1) + k);
}
