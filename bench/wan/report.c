/* bench/wan/report.c: see bench/wan/report.h. */
#include "bench/wan/report.h"

#include <stdlib.h>
#include <string.h>

#include "bench/wan/namespace.h"

static void set_count(json_t *object, const char *name, uint64_t value)
{
	json_object_set_new(object, name, json_integer((json_int_t)value));
}

static json_t *host_of(const struct lab_host *host)
{
	char address[16];

	lab_address_text(host->address, address, sizeof(address));
	return json_pack("{s:s, s:i, s:s, s:s, s:b, s:s}", "name", host->name, "region", (int)host->region, "address",
		address, "netns", host->netns, "client", host->client, "congestion_control", host->congestion);
}

static json_t *pair_of(const struct lab *lab, uint32_t from, uint32_t to)
{
	return json_pack("{s:s, s:s}", "from", lab->region_names[from], "to", lab->region_names[to]);
}

static json_t *link_of(const struct lab *lab, uint32_t from, uint32_t to)
{
	const struct link *link = lab_link(lab, from, to);
	const struct link_settings *settings = &link->settings;
	json_t *object = pair_of(lab, from, to);

	set_count(object, "delay_us", settings->delay_us);
	set_count(object, "jitter_us", settings->jitter_us);
	set_count(object, "loss_ppm", settings->loss_ppm);
	set_count(object, "duplicate_ppm", settings->duplicate_ppm);
	set_count(object, "reorder_ppm", settings->reorder_ppm);
	set_count(object, "reorder_by_us", settings->reorder_by_us);
	set_count(object, "rate_bits", settings->rate_bits);
	set_count(object, "queue_bytes", settings->queue_bytes);
	set_count(object, "burst_bytes", settings->burst_bytes);
	json_object_set_new(object, "cut", json_boolean(link->cut));
	return object;
}

json_t *report_settings(const struct lab *lab)
{
	json_t *regions = json_array(), *hosts = json_array(), *links = json_array();
	uint32_t count = lab->topology.region_count;

	for (uint32_t i = 0; i < count; i++) {
		json_array_append_new(regions, json_string(lab->region_names[i]));
		for (uint32_t j = 0; j < count; j++)
			json_array_append_new(links, link_of(lab, i, j));
	}
	for (uint32_t i = 0; i < lab->host_count; i++)
		json_array_append_new(hosts, host_of(&lab->hosts[i]));
	return json_pack("{s:s, s:s, s:b, s:o, s:o, s:o}", "lab", lab->name, "map", lab->topology.name, "delays",
		lab->delayed, "regions", regions, "hosts", hosts, "links", links);
}

static json_t *late_of(const struct histogram *late)
{
	json_t *object = json_object();

	set_count(object, "p50", histogram_quantile(late, 0.5));
	set_count(object, "p99", histogram_quantile(late, 0.99));
	set_count(object, "max", late->count == 0 ? 0 : late->max_us);
	return object;
}

static json_t *counts_of(const struct lab *lab, uint32_t from, uint32_t to)
{
	const struct link *link = lab_link(lab, from, to);
	const struct link_counts *counts = &link->counts;
	json_t *object = pair_of(lab, from, to);

	set_count(object, "came", counts->came);
	set_count(object, "came_bytes", counts->came_bytes);
	set_count(object, "delivered", counts->delivered);
	set_count(object, "lost", counts->lost);
	set_count(object, "cut", counts->cut);
	set_count(object, "overflowed", counts->overflowed);
	set_count(object, "duplicated", counts->duplicated);
	set_count(object, "reordered", counts->reordered);
	set_count(object, "refused", counts->refused);
	json_object_set_new(object, "late_us", late_of(&link->late));
	return object;
}

json_t *report_counts(const struct emulator *emulator)
{
	const struct lab *lab = emulator->lab;
	uint32_t count = lab->topology.region_count;
	struct histogram *all = malloc(sizeof(*all));
	json_t *object = json_object(), *links = json_array();
	uint64_t dropped = 0, refused = 0;

	if (all == NULL)
		abort();
	histogram_init(all);
	for (uint32_t i = 0; i < count * count; i++) {
		histogram_merge(all, &lab->links[i].late);
		refused += lab->links[i].counts.refused;
		json_array_append_new(links, counts_of(lab, i / count, i % count));
	}
	for (uint32_t i = 0; i < lab->host_count; i++)
		dropped += namespace_dropped(lab->hosts[i].device_fd) - lab->hosts[i].dropped_before;
	json_object_set_new(object, "links", links);
	set_count(object, "in_flight", emulator->flight.heap.count);
	set_count(object, "foreign", emulator->foreign);
	set_count(object, "dropped_unread", dropped);
	json_object_set_new(object, "late_us", late_of(all));
	json_object_set_new(object, "real_time", json_boolean(emulator->real_time));
	json_object_set_new(object, "starved",
		json_boolean(dropped > 0 || refused > 0 || histogram_quantile(all, 0.99) > REPORT_LATE_P99_US_MAX));
	free(all);
	return object;
}

void report_reset(struct emulator *emulator)
{
	struct lab *lab = emulator->lab;
	uint32_t count = lab->topology.region_count;

	for (uint32_t i = 0; i < count * count; i++) {
		memset(&lab->links[i].counts, 0, sizeof(lab->links[i].counts));
		histogram_init(&lab->links[i].late);
	}
	for (uint32_t i = 0; i < lab->host_count; i++)
		lab->hosts[i].dropped_before = namespace_dropped(lab->hosts[i].device_fd);
	emulator->foreign = 0;
}
