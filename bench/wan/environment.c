/* bench/wan/environment.c: see bench/wan/state.h: what a lab's commands are told, in variables. */
#define _GNU_SOURCE
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/wan/state.h"

extern char **environ;
enum { VARIABLE_MAX = 256 };

/* "eu-west-1" is EU_WEST_1. */
static void suffix_of(const char *region, char out[REGION_NAME_MAX])
{
	size_t size = 0;

	for (; region[size] != '\0' && size + 1 < REGION_NAME_MAX; size++)
		out[size] = region[size] == '-' ? '_' : (char)toupper((unsigned char)region[size]);
	out[size] = '\0';
}

static void write_region(FILE *file, const struct lab *lab, uint32_t region)
{
	const struct topology_region *of = &lab->topology.regions[region];
	const char *separator = "";
	char suffix[REGION_NAME_MAX], address[16];

	suffix_of(of->name, suffix);
	fprintf(file, "WANLAB_REGION_%s=%s\nWANLAB_PLACE_%s=%s\n", suffix, of->name, suffix, of->site.place.text);
	if (!isnan(of->latitude))
		fprintf(file, "WANLAB_AT_%s=%.4f,%.4f\n", suffix, of->latitude, of->longitude);
	fprintf(file, "WANLAB_NODES_%s=", suffix);
	for (uint32_t i = 0; i < lab->host_count; i++) {
		if (lab->hosts[i].region != region || lab->hosts[i].client)
			continue;
		lab_address_text(lab->hosts[i].address, address, sizeof(address));
		fprintf(file, "%s%s", separator, address);
		separator = " ";
	}
	fprintf(file, "\n");
	for (uint32_t i = 0; i < lab->host_count; i++) {
		if (lab->hosts[i].region != region || !lab->hosts[i].client)
			continue;
		lab_address_text(lab->hosts[i].address, address, sizeof(address));
		fprintf(file, "WANLAB_ADDRESS_%s=%s\nWANLAB_NETNS_%s=%s\n", suffix, address, suffix,
			lab->hosts[i].netns);
	}
}

static uint32_t greatest_rtt_us(const struct topology *topology)
{
	uint32_t greatest = 0;

	for (uint32_t i = 0; i < topology->region_count; i++) {
		for (uint32_t j = 0; j < topology->region_count; j++) {
			if (topology->rtt_us[i][j] > greatest)
				greatest = topology->rtt_us[i][j];
		}
	}
	return greatest;
}

int state_write_environment(const struct lab *lab, const char *program, const char *check)
{
	char path[LAB_PATH_MAX], dir[LAB_PATH_MAX];
	FILE *file;

	lab_path(lab->name, "environment", path, sizeof(path));
	lab_path(lab->name, "", dir, sizeof(dir));
	file = fopen(path, "we");
	if (file == NULL)
		return errno;
	fprintf(file,
		"WANLAB=%s\nWANLAB_DIR=%s\nWANLAB_CONTROL=%s/"
		"control\nWANLAB_PROGRAM=%s\nWANLAB_MAP=%s\nWANLAB_CHECK=%s\n"
		"WANLAB_NODES_PER_REGION=%u\nWANLAB_RTT_MAX_US=%u\nWANLAB_REGIONS=",
		lab->name, dir, dir, program, lab->topology.name, check, lab->nodes_per_region,
		greatest_rtt_us(&lab->topology));
	for (uint32_t i = 0; i < lab->topology.region_count; i++)
		fprintf(file, "%s%s", i == 0 ? "" : " ", lab->region_names[i]);
	fprintf(file, "\n");
	for (uint32_t i = 0; i < lab->topology.region_count; i++)
		write_region(file, lab, i);
	return fclose(file) != 0 ? errno : 0;
}

int state_read_environment(const char *lab_name)
{
	char path[LAB_PATH_MAX], *line = NULL;
	size_t capacity = 0;
	ssize_t size;
	FILE *file;

	lab_path(lab_name, "environment", path, sizeof(path));
	file = fopen(path, "re");
	if (file == NULL)
		return errno;
	while ((size = getline(&line, &capacity, file)) > 0) {
		char *value = memchr(line, '=', (size_t)size);

		if (value == NULL)
			continue;
		if (line[size - 1] == '\n')
			line[size - 1] = '\0';
		*value++ = '\0';
		if (setenv(line, value, 0) != 0)
			abort();
	}
	free(line);
	fclose(file);
	return 0;
}

/* "DOMCTL_ENDPOINT_EU_WEST_1=..." for EU_WEST_1: the size of "DOMCTL_ENDPOINT"; 0: it does not end so. */
static size_t name_without(const char *variable, const char *suffix)
{
	const char *end = strchr(variable, '=');
	size_t size = end == NULL ? 0 : (size_t)(end - variable), suffix_size = strlen(suffix);

	if (size <= suffix_size + 1 || memcmp(end - suffix_size, suffix, suffix_size) != 0 ||
		*(end - suffix_size - 1) != '_')
		return 0;
	return size - suffix_size - 1;
}

static void enter_variable(const char *variable, const char *suffix, bool own)
{
	size_t size = name_without(variable, suffix);
	char name[VARIABLE_MAX], whole[VARIABLE_MAX];

	if (size == 0 || size + strlen(suffix) + 1 >= VARIABLE_MAX)
		return;
	memcpy(name, variable, size);
	name[size] = '\0';
	memcpy(whole, variable, size + strlen(suffix) + 1);
	whole[size + strlen(suffix) + 1] = '\0';
	if (own && setenv(name, strchr(variable, '=') + 1, 1) != 0)
		abort();
	if (strncmp(name, "WANLAB_", 7) != 0 && unsetenv(whole) != 0)
		abort();
}

void state_enter_region(const char *region)
{
	char *regions = strdup(getenv("WANLAB_REGIONS") != NULL ? getenv("WANLAB_REGIONS") : ""), *state = NULL;
	char suffix[REGION_NAME_MAX];
	unsigned count = 0;
	char **variables;

	while (environ[count] != NULL)
		count++;
	variables = calloc(count + 1, sizeof(*variables));
	if (variables == NULL || regions == NULL)
		abort();
	for (unsigned i = 0; i < count; i++) { /* setenv moves what it walks on, and frees it */
		variables[i] = strdup(environ[i]);
		if (variables[i] == NULL)
			abort();
	}
	for (char *at = strtok_r(regions, " ", &state); at != NULL; at = strtok_r(NULL, " ", &state)) {
		suffix_of(at, suffix);
		for (unsigned i = 0; i < count; i++)
			enter_variable(variables[i], suffix, strcmp(at, region) == 0);
	}
	for (unsigned i = 0; i < count; i++)
		free(variables[i]);
	free(variables);
	free(regions);
}
