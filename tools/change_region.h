/* tools/change_region.h: what tells a cluster of a region: its place, tags, coordinates and CA. */
#ifndef DOMICILE_TOOLS_CHANGE_REGION_H
#define DOMICILE_TOOLS_CHANGE_REGION_H

#include "tools/session.h"

/* From --ca, --at and --tag. Prints what is wrong; the exit code. */
int change_region_fill(const struct invocation *invocation, const char *place, struct map_region *region);
/* The same from what is known: for the demo. coordinates NAN: not given. */
int change_region_make(const struct invocation *invocation, const struct site *site, const char *ca_file,
	double latitude, double longitude, struct map_region *region);
/* Sends a CHANGE_INIT to the one node that the session is connected to. */
int cluster_init_send(struct session *session, struct change *change);

#endif
