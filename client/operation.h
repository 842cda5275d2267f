/* client/operation.h: one operation on a key, or on one shard of a scan, from its start to its outcome, as a state
 * machine without sockets, clock or allocation: events in, one action out. The client library and the simulator drive
 * it.
 *
 *            start
 *              |
 *              v      SEND             refusal, loss, no answer          none left to try
 *          (resolve) -----> SENT ------------------------------> (choose) --------------> WAIT
 *              ^              |  answer                              ^  |  newer map         |  until
 *              |              v                                      |  v                    |
 *              |            DONE <---- deadline, from anywhere       | FETCH_MAP             |
 *              +---------------------- map arrived, expired ---------+---------------------- +
 *
 * What it keeps:
 *   - a write has one (client, sequence) for its life, so whatever is sent again is applied at most once; `retry` is
 * set from the moment that an earlier send may have been proposed, and never before;
 *   - a write that may have been proposed is never sent to another shard than that one: its outcome is then unknown;
 *   - only an answer ends a write that may have been proposed with anything but UNKNOWN_OUTCOME;
 *   - an origin that lost track of a write says UNKNOWN_OUTCOME: the same write then goes to the leader, whose table
 * knows. Only the third such answer is the outcome;
 *   - a slow answer is awaited beside a second question (client/patience.h), and the first answer wins. A refusal or
 * loss of the second leaves the first as it was;
 *   - the key is resolved again under each newer map before it is sent again;
 *   - at most OPERATION_OPEN_MAX sends are unanswered at a time, and waits between rounds grow up to a bound, with
 * jitter.
 *
 * Key, value and after are borrowed until DONE. One thread, the router's. */
#ifndef DOMICILE_CLIENT_OPERATION_H
#define DOMICILE_CLIENT_OPERATION_H

#include "client/lanes.h"
#include "client/router.h"

enum { OPERATION_OPEN_MAX = 8 };

struct operation_spec {
	uint8_t operation;	   /* enum operation; not PING */
	uint8_t level;		   /* enum read_level, for reads */
	uint32_t staleness_max_ms; /* READ_BOUNDED */
	struct bytes key;	   /* or SCAN's prefix */
	struct bytes value, after;
	uint64_t version;  /* CAS: expected; 0: absent */
	uint32_t limit;	   /* SCAN: rows */
	const char *guard; /* policy that the caller expects, or NULL; borrowed until DONE */
	uint64_t deadline_ns;
	uint64_t policy, shard, map_epoch; /* SCAN: one shard of a plan made with the map of that epoch */
	uint64_t map_epoch_min;		   /* not by an older map: its session has seen this one */
	const struct lanes *lanes;	   /* writes; NULL for reads */
	struct lane_ticket ticket;
};

enum operation_action_kind {
	OPERATION_SEND = 1,  /* operation_message to `node`; tell what becomes of `attempt` */
	OPERATION_WAIT,	     /* nothing to do now */
	OPERATION_FETCH_MAP, /* get a newer map into the router, then operation_map_arrived */
	OPERATION_FINISHED,  /* `status` is the outcome */
};
struct operation_action {
	uint8_t kind;	    /* enum operation_action_kind */
	bool answered;	    /* FINISHED by the reply just given: its rows, version and index are the result */
	uint32_t attempt;   /* SEND */
	uint64_t node;	    /* SEND */
	uint64_t shard;	    /* FINISHED and answered: whose answer it is; the key may be bound to another by now */
	uint64_t until_ns;  /* unless FINISHED: call operation_expired then, if nothing else came before */
	enum status status; /* FINISHED; never NOT_LEADER; STALE_MAP only for SCAN: make a new plan */
};

struct operation_attempt {
	uint32_t number; /* from 1 */
	bool second;	 /* asked beside another one that is not given up */
	uint64_t node, shard, sent_ns;
	uint64_t silent_ns; /* from then on the node counts as lost */
};
struct operation_machine {
	struct operation_spec spec;
	struct router *router;
	struct router_target target;
	uint64_t jitter; /* state of the back-off's randomness */
	uint64_t until_ns;
	uint64_t second_ns;				   /* SENT: then another is asked too; 0: none is */
	uint64_t map_wanted;				   /* do not send before the router has this epoch */
	uint64_t hint;					   /* leader that a reply named; 0: none */
	uint64_t tried[REPLICAS_MAX];			   /* in this round */
	struct operation_attempt open[OPERATION_OPEN_MAX]; /* unanswered sends, open_count of them */
	uint32_t attempt_last;				   /* numbers given */
	uint32_t attempt_current;			   /* that we wait for; 0: none */
	uint8_t state, tried_count, open_count, round, hints_left;
	uint8_t seconds;	   /* asked so far */
	uint8_t unknowns;	   /* answers "unknown outcome" so far */
	bool maybe_proposed;	   /* a send that will never be answered may have been proposed */
	bool has_nobody;	   /* the policy allows no replica of the shard */
	bool overloaded;	   /* this round met BUSY or silence: the next one costs from the retry budget */
	uint8_t refused;	   /* enum status: the most telling refusal so far; 0: none */
	char text[ROUTER_WHY_MAX]; /* for people; "" when there is nothing to say */
};

struct operation_action operation_start(struct operation_machine *operation, const struct operation_spec *spec,
	struct router *router, uint64_t seed, uint64_t now_ns);
/* The request for the attempt just handed out. The caller sets message->request, and ask.session_index for
 * message->ask.shard when it has a session. */
void operation_message(
	const struct operation_machine *operation, uint64_t node, uint64_t now_ns, struct message *message);
/* The node answered this attempt. */
struct operation_action operation_replied(
	struct operation_machine *operation, uint32_t attempt, const struct message_reply *reply, uint64_t now_ns);
/* The attempt will not be answered: its connection broke or never came about. `delivered`: the request may have left.
 */
struct operation_action operation_lost(
	struct operation_machine *operation, uint32_t attempt, bool delivered, uint64_t now_ns);
/* This side took the attempt back before any of it left; nothing is to be done about it now. */
void operation_withdrawn(struct operation_machine *operation, uint32_t attempt);
/* This side could not take it (its output is full): as a BUSY answer. */
struct operation_action operation_refused(struct operation_machine *operation, uint32_t attempt, uint64_t now_ns);
/* A map came, newer or not. Anything but FETCHING ignores it. */
struct operation_action operation_map_arrived(struct operation_machine *operation, uint64_t now_ns);
struct operation_action operation_expired(struct operation_machine *operation, uint64_t now_ns);

bool operation_is_write(uint8_t operation);
bool operation_may_have_been_proposed(const struct operation_machine *operation);
void operation_check(const struct operation_machine *operation); /* asserts every invariant */

#endif
