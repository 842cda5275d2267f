/* tools/demo_files.c: see tools/demo.h: the directory, certificates, configuration and policies of a demo. */
#define _GNU_SOURCE
#include "tools/demo.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH_MAX = 16, SEARCH_CHUNK = 1 << 20 };

static int trouble(const struct demo *demo, const char *path)
{
	return fail(
		demo->invocation, "DOM-D003", "the demo cannot make its files", NULL, "%s: %s", path, strerror(errno));
}

static bool empty_directory(const char *path)
{
	DIR *dir = opendir(path);
	unsigned count = 0;

	while (dir != NULL && readdir(dir) != NULL)
		count++;
	if (dir != NULL)
		closedir(dir);
	return dir != NULL && count <= 2;
}

int demo_make_root(struct demo *demo)
{
	const char *keep = flag_text(demo->invocation, "keep"), *tmp = getenv("TMPDIR");
	char absolute[PATH_MAX];

	if (keep == NULL) {
		snprintf(demo->root, sizeof(demo->root), "%.400s/domicile-demo.XXXXXX",
			tmp != NULL && tmp[0] != '\0' ? tmp : "/tmp");
		if (mkdtemp(demo->root) == NULL)
			return trouble(demo, demo->root);
	} else {
		if (mkdir(keep, 0700) != 0 && errno != EEXIST)
			return trouble(demo, keep);
		if (!empty_directory(keep))
			return fail(demo->invocation, "DOM-D003", "the directory of --keep is not empty",
				"name another one", "%s", keep);
		if (realpath(keep, absolute) == NULL || strlen(absolute) >= sizeof(demo->root))
			return trouble(demo, keep);
		snprintf(demo->root, sizeof(demo->root), "%.*s", DEMO_PATH_MAX - 1, absolute);
		demo->keep = true;
	}
	demo->root_made = true;
	snprintf(demo->certs, sizeof(demo->certs), "%s/certs", demo->root);
	for (uint32_t i = 0; i < demo->node_count; i++) {
		struct demo_node *node = &demo->nodes[i];
		struct text dir;

		text_init(&dir, node->dir, sizeof(node->dir));
		text_add(&dir, demo->root);
		text_add(&dir, "/");
		text_add(&dir, node->name);
		if (mkdir(node->dir, 0700) != 0)
			return trouble(demo, node->dir);
	}
	return EXIT_OK;
}

static int issue(
	const struct demo *demo, const char *ca, const char *out, uint8_t role, const char *place, const char *name)
{
	struct certificate_name who = { .role = (enum certificate_role)role };
	char reason[512];
	struct text why;

	text_init(&why, reason, sizeof(reason));
	snprintf(who.place, sizeof(who.place), "%s", place);
	snprintf(who.name, sizeof(who.name), "%s", name);
	snprintf(who.cluster, sizeof(who.cluster), "%s", DEMO_CLUSTER);
	if (pki_issue(ca, out, &who, 0, &why) == STATUS_OK)
		return EXIT_OK;
	return fail(demo->invocation, "DOM-D003", "the demo cannot make its certificates", NULL, "%s", reason);
}

int demo_make_certificates(struct demo *demo)
{
	char ca[DEMO_PATH_MAX + 16], out[DEMO_PATH_MAX + 128], reason[512];
	struct text why;
	int code = EXIT_OK;

	text_init(&why, reason, sizeof(reason));
	snprintf(ca, sizeof(ca), "%s/ca", demo->root);
	for (uint32_t i = 0; i < demo->topology.region_count; i++) {
		if (pki_create_region_ca(ca, DEMO_CLUSTER, demo->topology.regions[i].site.place.text, 0, &why) !=
			STATUS_OK)
			return fail(demo->invocation, "DOM-D003", "the demo cannot make its authorities", NULL, "%s",
				reason);
	}
	if (pki_create_admin_ca(ca, DEMO_CLUSTER, 0, &why) != STATUS_OK)
		return fail(demo->invocation, "DOM-D003", "the demo cannot make its authorities", NULL, "%s", reason);
	for (uint32_t i = 0; i < demo->node_count && code == EXIT_OK; i++) {
		snprintf(out, sizeof(out), "%s/certs", demo->nodes[i].dir);
		code = issue(
			demo, ca, out, CERTIFICATE_NODE, demo->nodes[i].place.text, place_last(&demo->nodes[i].place));
	}
	for (uint32_t i = 0; i < demo->topology.region_count && code == EXIT_OK; i++)
		code = issue(
			demo, ca, demo->certs, CERTIFICATE_CLIENT, demo->topology.regions[i].site.place.text, "demo");
	return code != EXIT_OK ? code : issue(demo, ca, demo->certs, CERTIFICATE_ADMIN, "", "demo");
}

/* direct: without the proxy, as the cluster is left by --keep. */
int demo_write_configuration(const struct demo *demo, const struct demo_node *node, bool direct)
{
	const struct demo_node *first = &demo->nodes[0];
	char path[sizeof(node->dir) + 32];
	FILE *file;
	bool proxied = demo->proxied && !direct;

	snprintf(path, sizeof(path), "%s/domiciled.yaml", node->dir);
	file = fopen(path, "w");
	if (file == NULL)
		return trouble(demo, path);
	fprintf(file,
		"# A node of `domctl demo`. Start it with: domiciled --config %s\ncluster: %s\nplace: %s\nlisten: "
		"127.0.0.1:%u\n",
		path, DEMO_CLUSTER, node->place.text, node->port);
	fprintf(file, "advertise:\n  default: 127.0.0.1:%u\n", node->port);
	if (proxied) {
		fprintf(file, "  from:\n");
		for (uint32_t i = 0; i < demo->topology.region_count; i++)
			fprintf(file, "    %s: 127.0.0.1:%u\n", demo->topology.regions[i].site.place.text,
				node->from_port[i]);
	}
	fprintf(file, "data: %s/data\ncerts: %s/certs\n", node->dir, node->dir);
	if (node != first)
		fprintf(file, "join: [\"127.0.0.1:%u\"]\n", proxied ? first->from_port[node->region] : first->port);
	if (demo->node_count > 3)
		fprintf(file, "cache: 32MiB\njournal: { segment: 16MiB }\n");
	if (fclose(file) != 0)
		return trouble(demo, path);
	return EXIT_OK;
}

int demo_write_listening(const struct demo *demo, const char *path)
{
	char endpoints[1024], temporary[PATH_MAX];
	FILE *file;

	snprintf(temporary, sizeof(temporary), "%s.new", path);
	file = fopen(temporary, "w");
	if (file == NULL)
		return trouble(demo, temporary);
	demo_endpoints(demo, 0, endpoints, sizeof(endpoints));
	fprintf(file, "DOMCTL_ENDPOINT=%s\nDOMCTL_CERTS=%s\nDOMCTL_AS_REGION=%s\nDEMO_DIR=%s\n", endpoints, demo->certs,
		demo->topology.regions[0].name, demo->root);
	for (uint32_t i = 0; i < demo->topology.region_count; i++) {
		char name[REGION_NAME_MAX];

		snprintf(name, sizeof(name), "%s", demo->topology.regions[i].name);
		for (char *c = name; *c != '\0'; c++)
			*c = *c == '-' ? '_' : (char)(*c >= 'a' && *c <= 'z' ? *c - 32 : *c);
		demo_endpoints(demo, i, endpoints, sizeof(endpoints));
		fprintf(file, "DOMCTL_ENDPOINT_%s=%s\n", name, endpoints);
	}
	fprintf(file, "DEMO_NODES=\"");
	for (uint32_t i = 0; i < demo->node_count; i++)
		fprintf(file, "%s%s=%d@127.0.0.1:%u", i == 0 ? "" : " ", demo->nodes[i].name, (int)demo->nodes[i].pid,
			demo->nodes[i].port);
	fprintf(file, "\"\n");
	if (fclose(file) != 0 || rename(temporary, path) != 0) /* whole or not at all: somebody waits for it */
		return trouble(demo, path);
	return EXIT_OK;
}

/* --- policies ---------------------------------------------------------------------------------------- */

static unsigned nodes_within(const struct demo *demo, const char *selector)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < demo->node_count; i++)
		count += place_within(&demo->nodes[i].place, selector);
	return count;
}

/* Where a leader serves all regions best: the least sum of the way to it and of its own way to the nearest other. */
static const struct topology_region *central_region(const struct topology *topology)
{
	uint64_t best_us = UINT64_MAX;
	uint32_t best = 0;

	for (uint32_t i = 0; i < topology->region_count; i++) {
		uint64_t sum_us = 0, nearest_us = UINT64_MAX;

		for (uint32_t j = 0; j < topology->region_count; j++) {
			sum_us += topology->rtt_us[i][j];
			if (j != i && topology->rtt_us[i][j] < nearest_us)
				nearest_us = topology->rtt_us[i][j];
		}
		sum_us += topology->region_count > 1 ? nearest_us * topology->region_count : 0;
		if (sum_us < best_us) {
			best_us = sum_us;
			best = i;
		}
	}
	return &topology->regions[best];
}

/* Home is eu where the map has eu and something else; elsewhere the first region alone, so that a rule has an outside.
 */
int demo_builtin_policies(struct demo *demo, char *text, size_t capacity)
{
	const struct topology_region *first = &demo->topology.regions[0];
	unsigned in_eu = nodes_within(demo, "eu"), home_copies, regions = demo->topology.region_count;
	int size;

	if (in_eu > 0 && in_eu < demo->node_count) {
		snprintf(demo->home, sizeof(demo->home), "eu");
		snprintf(demo->home_label, sizeof(demo->home_label), "eu");
	} else {
		snprintf(demo->home, sizeof(demo->home), "%.*s", SELECTOR_TEXT_MAX - 1, first->site.place.text);
		snprintf(demo->home_label, sizeof(demo->home_label), "%s", first->name);
	}
	home_copies = nodes_within(demo, demo->home) < 3 ? nodes_within(demo, demo->home) : 3;
	size = snprintf(text, capacity,
		"policies:\n"
		"  %s-only: { store_in: [%s], copies: %u, spread: zone, read_from: [%s], write_from: [%s] }\n"
		"  default: { store_in: [\"*\"], copies: %u, spread: region, read_from: [\"*\"], write_from: [\"*\"],\n"
		"             lead_in: [%s, \"*\"] }\n"
		"  local-reads: { store_in: [\"*\"], copies: %u, spread: region, read_from: [\"*\"],\n"
		"                 write_from: [\"*\"], lead_in: [%s, \"*\"], reads: local }\n"
		"bindings:\n  \"pat/%s/\": %s-only\n  \"%s/\": %s-only\n  \"local/\": local-reads\n"
		"  \"\": default\n",
		demo->home_label, demo->home, home_copies, demo->home, demo->home, regions < 3 ? regions : 3,
		central_region(&demo->topology)->site.place.text, regions < 3 ? regions : 3,
		central_region(&demo->topology)->site.place.text, demo->home_label, demo->home_label, demo->home_label,
		demo->home_label);
	assert(size > 0);
	assert((size_t)size < capacity);
	return EXIT_OK;
}

/* --- trees ------------------------------------------------------------------------------------------- */

static void remove_below(int parent, const char *name, unsigned depth)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	while (dir != NULL && depth < DEPTH_MAX && (entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (unlinkat(fd, entry->d_name, 0) != 0)
			remove_below(fd, entry->d_name, depth + 1);
	}
	if (dir != NULL)
		closedir(dir);
	else if (fd >= 0)
		close(fd);
	unlinkat(parent, name, AT_REMOVEDIR);
}

void demo_remove_tree(const char *path)
{
	assert(path[0] == '/');
	remove_below(AT_FDCWD, path, 0);
}

/* In pieces that overlap by one byte less than the needle, so that none is missed at a seam. */
static bool file_holds(int fd, struct bytes needle, uint8_t *buffer)
{
	size_t kept = 0;
	ssize_t got;

	while ((got = read(fd, buffer + kept, SEARCH_CHUNK - kept)) > 0) {
		size_t size = kept + (size_t)got;

		if (memmem(buffer, size, needle.data, needle.size) != NULL)
			return true;
		kept = size < needle.size - 1 ? size : needle.size - 1;
		memmove(buffer, buffer + size - kept, kept);
	}
	return false;
}

static unsigned search_below(int parent, const char *name, struct bytes needle, uint8_t *buffer, unsigned depth)
{
	int fd = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	struct dirent *entry;
	struct stat about;
	unsigned found = 0;
	DIR *dir;

	if (fd < 0 || fstat(fd, &about) != 0 || depth > DEPTH_MAX) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	if (!S_ISDIR(about.st_mode)) {
		found = S_ISREG(about.st_mode) && file_holds(fd, needle, buffer);
		close(fd);
		return found;
	}
	dir = fdopendir(fd);
	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			found += search_below(fd, entry->d_name, needle, buffer, depth + 1);
	}
	if (dir != NULL)
		closedir(dir);
	return found;
}

unsigned demo_search(const struct demo_node *node, struct bytes needle)
{
	uint8_t *buffer = malloc(SEARCH_CHUNK);
	unsigned found;

	if (buffer == NULL)
		abort();
	assert(needle.size > 0);
	assert(needle.size < SEARCH_CHUNK / 2);
	found = search_below(AT_FDCWD, node->dir, needle, buffer, 0);
	free(buffer);
	return found;
}
