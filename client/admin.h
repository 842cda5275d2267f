/* client/admin.h: what tools need beyond domicile.h: the map itself, administration, RTTs. Not exported from the shared
 * library. Calls are dom_calls like any other; dom_call_value(call, 0) holds the answer's bytes. */
#ifndef DOMICILE_CLIENT_ADMIN_H
#define DOMICILE_CLIENT_ADMIN_H

#include "client/domicile.h"
#include "policy/change.h"

enum { ADMIN_ANY_NODE = 0 };

/* The newest map this client can get, encoded (cluster_map_decode). */
DOM_MUST dom_call *client_map(dom_client *client, uint32_t timeout_ms);
/* A verb at one node (by id; ADMIN_ANY_NODE: any). Its answer's detail is the value of row 0. */
DOM_MUST dom_call *client_admin(
	dom_client *client, uint64_t node, const char *verb, struct bytes body, uint32_t timeout_ms);
/* A change of the map, sent to meta's leader wherever it is; retried until done or refused. On success version(0) is
 * the id made (operation, node), and row 0's value is the packed new epoch (u64). Refused: message has reason and cure.
 */
DOM_MUST dom_call *client_change(dom_client *client, const struct change *change, uint32_t timeout_ms);
/* What the change would do, asked of meta's leader like a change: on success row 0's value is the encoded map as it
 * would be, its epoch one above the map's that the answer was made from. Refused: as client_change. */
DOM_MUST dom_call *client_plan(dom_client *client, const struct change *change, uint32_t timeout_ms);
/* Measured round trip to a node: a fresh ping. version(0): microseconds. */
DOM_MUST dom_call *client_ping(dom_client *client, uint64_t node, uint32_t timeout_ms);
/* Where an operation on this key would go from here and why, without sending anything: see client/router.h. */

#endif
