/* tools/session.h: one connection of domctl to a cluster, as an administrator or as a client of a region, with the
 * newest map, and what every node says of itself. Functions that return int have printed their failure and return its
 * exit code; EXIT_OK otherwise. */
#ifndef DOMICILE_TOOLS_SESSION_H
#define DOMICILE_TOOLS_SESSION_H

#include <jansson.h>

#include "client/admin.h"
#include "policy/paths.h"
#include "tools/command.h"

enum session_as {
	AS_ADMIN = 1, /* admin.crt */
	AS_CLIENT,    /* client-REGION.crt */
	AS_READER,    /* admin.crt where there is one, else a client's: for what both may see */
};
struct session {
	const struct invocation *invocation;
	dom_client *client;
	struct cluster_map *map; /* NULL: not fetched */
	void *map_memory;
	struct place place; /* of the client; "" for an administrator */
};
int session_open(struct session *session, const struct invocation *invocation, enum session_as as);
/* Connects and fetches the map. */
int session_open_with_map(struct session *session, const struct invocation *invocation, enum session_as as);
int session_refresh(struct session *session); /* the newest map into session->map */
void session_close(struct session *session);
const char *session_cluster(const struct session *session); /* its name; "" without a map */

/* What a change did. Prints nothing when it succeeded. */
struct change_answer {
	uint64_t id, epoch; /* of what was made (an operation, a node); of the map then */
};
int session_change(struct session *session, struct change *change, const char *what, struct change_answer *answer);
/* Says what a change did: its epoch, and the operation it started, for which it waits when that is wanted. */
int session_report_change(struct session *session, const char *what, const struct change_answer *answer);
/* Waits for operations to end, at most timeout_ms. EXIT_CONFLICT when one failed. */
int session_wait_operations(struct session *session, const uint64_t ids[], size_t count, uint32_t timeout_ms);

/* --- what the nodes say ----------------------------------------------------------------------------- */
struct node_status {
	uint64_t node;
	json_t *json; /* of node.status; NULL: no answer */
	char why[192];
};
struct statuses {
	uint32_t count; /* as the map's nodes, in their order */
	struct node_status at[MAP_NODES_MAX];
};
void session_statuses(struct session *session, uint32_t timeout_ms, struct statuses *statuses);
void statuses_free(struct statuses *statuses);
/* The replica's entry in its node's status; NULL: the node does not answer or does not host it. */
const json_t *statuses_replica(const struct statuses *statuses, uint64_t node, uint64_t shard);
/* The node that leads the shard, by the highest term; 0: none says so. */
uint64_t statuses_leader(const struct statuses *statuses, uint64_t shard);

/* Round trips between regions: the least that nodes of one measured to nodes of the other. */
void statuses_rtt(const struct statuses *statuses, const struct cluster_map *map, struct rtt_matrix *matrix);

/* --- names ------------------------------------------------------------------------------------------ */
/* By id or place; prints the failure and returns NULL. */
const struct map_node *session_node(const struct session *session, const char *text);
const struct map_region *session_region(const struct session *session, const char *text);
const struct map_shard *session_shard(const struct session *session, const char *text);
const struct policy *session_policy(const struct session *session, const char *name);
const char *policy_name_of(const struct cluster_map *map, uint64_t policy); /* "?" when unknown */
/* "eu-west-1/a/n1": a node as tables show it. */
void node_label(const struct cluster_map *map, uint64_t node, char out[PLACE_TEXT_MAX]);
const char *region_of_node(const struct cluster_map *map, uint64_t node);
const char *role_name(uint8_t role);
const char *duty_name(uint8_t role, bool leads); /* for people */

#endif
