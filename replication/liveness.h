/* replication/liveness.h: leases and failure detection between pairs of NODES, as a pure state machine; groups hang on
 * them, so that ten thousand idle groups cost what one costs.
 *
 * Support. A node pings its peers every heartbeat. The ping carries the sender's clock s0; the peer answers "I support
 * you, epoch e, for d" and echoes s0. The holder counts the support until s0 + d(1-drift) on its own clock, the grantor
 * is bound until its own time of answering + d(1+drift). As s0 lies before the answer in real time, the holder's end
 * comes first, whatever the network did; no synchronised clock is assumed, only the drift bound. (Echo lease; the
 * shape is that of CockroachDB's store liveness and of Gray & Cheriton's leases.)
 *
 * Support that has lapsed once is withdrawn: the epoch goes up for ever (epochs start at the node's boot number, so
 * they do not repeat over restarts). A group counts a node's support only for the epoch to which that voter bound
 * itself in that group (replication/group.h).
 *
 * A promise ends by time only: nothing that is heard from its holder shortens it.
 *
 * A restarted node takes part in no election of any group until support_max(1+drift) after its start: what it promised
 * before is forgotten. Only a node whose data directory is brand new is free at once.
 *
 * Lent time, the other direction of the same answer (docs/leases.md, N2 and N3): a leader's node tells a responder's
 * node for how long its grants stand, under epochs of their own, and how long each third node still supports it.
 * Whoever falls behind is lent no more time, though it is heard and supported.
 *
 * Time: CLOCK_BOOTTIME nanoseconds, given with each event. Memory: the caller's. One thread. */
#ifndef DOMICILE_REPLICATION_LIVENESS_H
#define DOMICILE_REPLICATION_LIVENESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/message.h"

enum { LIVENESS_PEERS_MAX = 256 };

struct liveness_config {
	uint64_t node, seed;
	uint64_t boot; /* a random number, another at each start; not 0 */
	uint64_t started_ns;
	uint64_t heartbeat_us;	 /* between pings to one peer */
	uint64_t support_us;	 /* d: how long each answer supports */
	uint64_t support_max_us; /* the largest d ever in force here: the wait after a restart */
	uint32_t drift_ppm;	 /* clocks of two nodes differ in rate by at most this; 10000 = 1 % */
	bool fresh;		 /* first start of a new data directory: nothing was ever promised */
};

struct liveness;
size_t liveness_size(void);
struct liveness *liveness_init(void *memory, const struct liveness_config *config);

/* Peers that share a group with this node. Watching twice counts twice. */
bool liveness_watch(struct liveness *liveness, uint64_t node, uint64_t now_ns); /* false: full */
void liveness_unwatch(struct liveness *liveness, uint64_t node);

enum liveness_change {
	LIVENESS_UP = 1,   /* the peer is heard or supports us (again), or in a new epoch: leaders probe it */
	LIVENESS_DOWN = 2, /* our support FOR the peer lapsed: groups it leads may elect; or its support for us lapsed,
			      or it is not heard any more */
	LIVENESS_RESTARTED = 3, /* the peer has another boot: whatever it led, it leads no more */
};
enum liveness_effect_kind { LIVENESS_SEND = 1, LIVENESS_CHANGED = 2 };
struct liveness_effect {
	enum liveness_effect_kind kind;
	uint64_t node;
	enum liveness_change change; /* CHANGED */
	struct message message;	     /* SEND: MESSAGE_PING or MESSAGE_PONG */
};
enum { LIVENESS_EFFECTS_MAX = 2 * LIVENESS_PEERS_MAX + 8 };
struct liveness_effects {
	uint32_t count;
	struct liveness_effect at[LIVENESS_EFFECTS_MAX]; /* a PONG's relays lie in the liveness machine: send at once */
};

void liveness_received(struct liveness *liveness, uint64_t from_node, const struct message *message, uint64_t now_ns,
	uint64_t map_epoch, struct liveness_effects *out); /* appends to out */
void liveness_expired(struct liveness *liveness, uint64_t now_ns, uint64_t map_epoch, struct liveness_effects *out);
uint64_t liveness_deadline(const struct liveness *liveness); /* UINT64_MAX: no peer */

/* As holder: until when (our clock) `node` supports us under `epoch`; 0: that epoch is not the one in force.
 * For our own node: UINT64_MAX never; a group adds its own promise itself. */
uint64_t liveness_supported_until_ns(const struct liveness *liveness, uint64_t node, uint64_t epoch);
uint64_t liveness_supported_epoch(const struct liveness *liveness, uint64_t node); /* 0: none in force */
/* As grantor: the epoch under which we support `node` now (0: not at all), and until when we are bound to what we
 * granted under `epoch`: also for an epoch that is over, the last instant promised. */
uint64_t liveness_granted_epoch(const struct liveness *liveness, uint64_t node);
uint64_t liveness_promised_until_ns(const struct liveness *liveness, uint64_t node);
/* Before a vote against `node`: its support must have lapsed; the epoch goes up so that it never revives. */
void liveness_withdraw(struct liveness *liveness, uint64_t node, uint64_t now_ns);
/* Lent time. As grantor: groups that want time lent to a node count (lend, then unlend); the epoch in force, 0: none
 * (yet: LIVENESS_UP tells). What was granted under an epoch that is not in force any more is over at lent_ended_ns, of
 * which LIVENESS_DOWN tells. Withheld: not renewed until what is lent has lapsed. lent_end: the epoch is in force no
 * more, from now on; its time stays what was lent. */
bool liveness_lend(struct liveness *liveness, uint64_t node, uint64_t now_ns); /* false: the table is full */
void liveness_unlend(struct liveness *liveness, uint64_t node);
uint64_t liveness_lent_epoch(const struct liveness *liveness, uint64_t node);
uint64_t liveness_lent_until_ns(
	const struct liveness *liveness, uint64_t node); /* of all epochs, the one in force too */
uint64_t liveness_lent_ended_ns(const struct liveness *liveness, uint64_t node); /* of all that are in force no more */
void liveness_lent_end(struct liveness *liveness, uint64_t node);
void liveness_withhold(struct liveness *liveness, uint64_t node, uint64_t now_ns);
/* As holder: until when (our clock) what `node` lent under `epoch` stands, and until when `third` supports `node` under
 * `epoch`, as `node` told together with the time that it last lent; 0: that epoch is not known. */
uint64_t liveness_borrowed_until_ns(const struct liveness *liveness, uint64_t node, uint64_t epoch);
uint64_t liveness_relayed_until_ns(const struct liveness *liveness, uint64_t node, uint64_t third, uint64_t epoch);
uint64_t liveness_boot(const struct liveness *liveness);
uint64_t liveness_elections_from_ns(const struct liveness *liveness); /* no election before */
bool liveness_alive(
	const struct liveness *liveness, uint64_t node, uint64_t now_ns); /* heard from within the support time */
bool liveness_watches(const struct liveness *liveness, uint64_t node);	  /* else it is never heard from */
/* The shortest of the last eight round trips, at most UINT32_MAX; 0: unknown. */
uint32_t liveness_rtt_us(const struct liveness *liveness, uint64_t node);
void liveness_check(const struct liveness *liveness);

#endif
