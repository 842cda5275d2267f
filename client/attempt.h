/* client/attempt.h: the sends of one operation, from the choice of a node until they are answered, lost, or forgotten;
 * between operation.c, which decides what an answer means, and router.h, which knows the nodes. */
#ifndef DOMICILE_CLIENT_ATTEMPT_H
#define DOMICILE_CLIENT_ATTEMPT_H

#include "client/operation.h"

enum { OPERATION_SECONDS_MAX = 2 };

/* Where to send now, and where a read would go next; 0: none is left in this round. */
uint64_t attempt_choose(struct operation_machine *operation, uint64_t now_ns, uint64_t *next);
/* The replicas that were not tried in this round, best first; has_nobody is set if the policy allows none at all. */
unsigned attempts_untried(struct operation_machine *operation, uint64_t now_ns, uint64_t nodes[REPLICAS_MAX]);
/* The leader, if this client knows it, may send there, and did not in this round; 0. */
uint64_t attempt_leader(const struct operation_machine *operation, uint64_t now_ns);

/* Sends to the node from now on count from here; second_ns is when `next` (a read) or the leader (a write) may be asked
 * too.
 */
struct operation_attempt *attempt_push(
	struct operation_machine *operation, uint64_t node, uint64_t next, bool second, uint64_t now_ns);
struct operation_attempt *attempt_find(struct operation_machine *operation, uint32_t number); /* unanswered; or NULL */
/* Takes it off the unanswered ones. False: it is not among them (it was answered before). */
bool attempt_close(struct operation_machine *operation, uint32_t number, struct operation_attempt *closed);
/* A second question came to nothing: the first one, still on its way, is awaited again. False: there is none. */
bool attempt_falls_back(struct operation_machine *operation, const struct operation_attempt *ended, uint64_t now_ns);

/* What this answer, and the silence of all others until now, tell of their nodes. */
void attempt_answered(
	const struct operation_machine *operation, const struct operation_attempt *attempt, uint64_t now_ns);
void attempts_learn_unanswered(const struct operation_machine *operation, uint64_t now_ns);

#endif
