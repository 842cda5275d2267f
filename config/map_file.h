/* config/map_file.h: the map of a demonstration: regions and the round trips between them. Four are built in (lan3,
 * eu3, wan3, wan5); others come from a YAML file:
 *
 *   regions:
 *     eu-west-1: { place: eu/ie/eu-west-1, at: [53.35, -6.26], tags: [cloud=aws] }
 *     us-east-1: { place: us/us-east-1 }
 *   rtt_ms:
 *     - [eu-west-1, us-east-1, 68]      # every pair once
 *   inside_ms: 0.5                      # optional: round trip inside a region
 *
 * Plain struct of bounded size, no pointers. */
#ifndef DOMICILE_CONFIG_MAP_FILE_H
#define DOMICILE_CONFIG_MAP_FILE_H

#include "base/bytes.h"
#include "config/errors.h"
#include "policy/map.h"

enum { TOPOLOGY_REGIONS_MAX = 16, TOPOLOGY_NAME_MAX = 64 };

struct topology_region {
	char name[REGION_NAME_MAX]; /* the place's last component */
	struct site site;	    /* place and tags */
	double latitude, longitude; /* degrees; NAN: not given */
};
struct topology {
	char name[TOPOLOGY_NAME_MAX]; /* of the built-in map, or of the file without its folder */
	uint32_t region_count;
	uint32_t nodes_per_region; /* how many a demonstration starts when not told */
	struct topology_region regions[TOPOLOGY_REGIONS_MAX];
	uint32_t rtt_us[TOPOLOGY_REGIONS_MAX][TOPOLOGY_REGIONS_MAX]; /* symmetric; the diagonal: inside the region */
};

/* False: no built-in map has this name. */
bool topology_builtin(const char *name, struct topology *topology) MUST;
const char *const *topology_builtin_names(uint32_t *count);
bool topology_load(const char *path, struct topology *topology, struct config_errors *errors) MUST;
bool topology_parse(
	const char *source, struct bytes text, struct topology *topology, struct config_errors *errors) MUST;

#endif
