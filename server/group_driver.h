/* server/group_driver.h: one replica: where the group (replication/), the journal and the shard engine (storage/) meet.
 * It carries a group's effects out, keeps the bodies of the log's tail, applies what is committed, streams snapshots,
 * repairs lost records, and answers who waits. The one file that does so, in the server and in the simulator.
 *
 * Two kinds of replica: a shard's, whose entries are wire/command.h applied to an engine; and meta's, whose entries are
 * policy/change.h applied to the cluster map in memory (checkpointed into its engine as one row).
 *
 * One thread: the node's. Everything asynchronous comes back through the callbacks of struct driver_owner, which must
 * not call back into the driver (queue instead). */
#ifndef DOMICILE_SERVER_GROUP_DRIVER_H
#define DOMICILE_SERVER_GROUP_DRIVER_H

#include "policy/change.h"
#include "replication/group.h"
#include "replication/meta.h"
#include "replication/session.h"
#include "storage/engine.h"
#include "storage/journal.h"
#include "wire/command.h"

struct driver;

/* The outcome of a proposal, when it is known: after apply, or when it was refused or lost. */
struct driver_outcome {
	enum status status; /* OK, NOT_FOUND (delete), CONFLICT (cas), STALE_MAP (fenced), NOT_LEADER and BUSY and
			       QUORUM_UNAVAILABLE (never in the log), UNKNOWN_OUTCOME (was in a log that this replica
			       lost track of) */
	uint64_t version, index;
	bool duplicate;			/* a retry: this is the first one's answer */
	bool degraded;			/* perhaps on one copy and the witness only (docs/witness.md) */
	uint64_t leader;		/* replica id, with NOT_LEADER */
	const struct meta_result *meta; /* of a change; borrowed for the call */
};

struct driver_owner {
	void *arg;
	/* To the node of member `to` of this group; residency is the owner's to check (server/residency.h). */
	void (*send)(void *arg, struct driver *driver, uint64_t node, const struct message *message);
	void (*proposed)(void *arg, struct driver *driver, uint64_t token, const struct driver_outcome *outcome);
	/* The read may be done now: the state includes everything acknowledged before it was asked. Or it was refused.
	 */
	void (*readable)(void *arg, struct driver *driver, uint64_t token, enum status status, uint64_t leader);
	void (*role_changed)(void *arg, struct driver *driver);
	void (*membership_changed)(void *arg, struct driver *driver, bool committed);
	void (*map_changed)(void *arg, struct driver *driver); /* meta's only */
	/* A fence, or what moves keys, was applied here (every replica): the owner, if it leads, goes on with it. */
	void (*fenced)(void *arg, struct driver *driver, const struct command *fence);
	/* A proposal of this leader is another replica's: its client waits there. NULL: not told. */
	void (*forwarded)(void *arg, struct driver *driver, uint16_t origin);
	void (*flush_wanted)(void *arg);
	void (*fatal)(void *arg, struct driver *driver, enum status status, const char *what);
	void (*watch)(void *arg, uint64_t node, bool watch); /* liveness: a member came or went */
	/* Runs job(job_arg) where it may wait for the disk, later done(job_arg) on the driver's thread; afterwards the
	 * driver's deadline has changed. The driver lives until then (driver_blocked). NULL: it waits itself. */
	void (*block)(void *arg, struct driver *driver, void (*job)(void *), void (*done)(void *), void *job_arg);
};

struct driver_options {
	uint64_t group, replica, node, seed;
	struct liveness *liveness;
	struct journal *journal;
	struct engine_shared *engines;
	struct cluster_map *map; /* meta's replica: the map it changes; else NULL */
	const struct driver_owner *owner;
	uint64_t election_us, retransmit_us;
	uint32_t drift_ppm, inflight_max;
	uint64_t tail_size_max;	       /* bytes of bodies kept in memory above applied */
	struct group_effects *effects; /* scratch, shared by all drivers of the thread */
	struct codec_scratch *scratch; /* for what is sent; a message being received may not lie in it when it is an
					  append's answer */
	bool witness; /* a replica that holds no data (docs/witness.md): told at its birth, from then on its own word */
	uint8_t hash_secret[16]; /* the cluster's; kept with the replica at its birth, from then on its own counts */
};

struct node_time;

/* A replica that is born here: `membership` when it is one of the group's first members (generation 0), NULL when it
 * joins later and learns everything from the leader. Writes its birth to the journal. BUSY, ask again later: an earlier
 * replica of this group here is removed, and the journal's word of that is not durable yet. */
enum status driver_create(const struct driver_options *options, const struct membership *membership,
	struct node_time time, struct driver **driver) MUST;
/* A replica found at start. Between driver_open and driver_started the journal's recovery feeds it. */
/* With group 0 the group is read from the engine (NOT_FOUND: its birth was never durable). options->journal may be NULL
 * until driver_set_journal, before driver_started. */
void driver_set_journal(struct driver *driver, struct journal *journal);
enum status driver_open(const struct driver_options *options, struct driver **driver) MUST;
void driver_recovered_state(struct driver *driver, uint64_t term, uint64_t vote);
void driver_recovered_entry(struct driver *driver, const struct journal_entry *entry);
void driver_recovered_cut(struct driver *driver, uint64_t from);
void driver_recovered_reset(struct driver *driver, uint64_t index, uint64_t term);
void driver_recovered_corrupt(
	struct driver *driver, uint64_t index, uint64_t term); /* index 0: who knows what (of group 0) */
enum status driver_started(
	struct driver *driver, struct node_time time) MUST; /* replays what the engine lacks as it commits */
/* A job is out: none of the four below may be called before its `done`. */
bool driver_blocked(const struct driver *driver);
/* Gone for good: engine files unlinked, journal told. Frees the driver. Proposals in it end as UNKNOWN_OUTCOME. */
enum status driver_destroy(struct driver *driver) MUST;
void driver_close(struct driver *driver);   /* flushes the engine; frees */
void driver_abandon(struct driver *driver); /* frees, writes nothing: what a crash leaves is what is there */
/* Everything applied to disk now; the journal forgets it, but for at most `keep` entries that a follower still lacks.
 * NO_SPACE: later; nothing else has changed. */
enum status driver_flush(struct driver *driver, uint64_t keep, struct node_time time) MUST;

/* What was deleted or overwritten up to index, which is applied, is to leave the engine's files and the replica's log;
 * driver_erased says when it has. The journal's segments are the caller's. In the place of what was wanted before,
 * which must be done. */
void driver_erase(struct driver *driver, uint64_t index);
bool driver_erased(const struct driver *driver);
/* What it holds came as a snapshot, not entry by entry: nothing that was deleted before was in it. */
bool driver_installed(const struct driver *driver);
void driver_erase_cancel(struct driver *driver); /* no more of it: the node stops */

void driver_received(struct driver *driver, uint64_t from_node, const struct message *message, struct node_time time);
/* A FORWARD of an origin; closed: this node takes no writes for the shard now. */
void driver_received_forward(
	struct driver *driver, uint64_t from_node, const struct message *message, bool closed, struct node_time time);
void driver_expired(struct driver *driver, struct node_time time);
uint64_t driver_deadline(const struct driver *driver);
void driver_peer(struct driver *driver, uint64_t node, enum liveness_change change, struct node_time time);
void driver_durable(struct driver *driver, uint64_t journal_ticket, struct node_time time);
/* Several proposals of one turn are gathered and given to the group together by driver_turn. */
void driver_propose(
	struct driver *driver, const struct command *command, uint64_t key_hash, uint64_t token, struct node_time time);
void driver_propose_change(struct driver *driver, const struct change *change, uint64_t token, struct node_time time);
/* Readable when all that was acknowledged before now is applied here. Reads of one turn share one round. */
void driver_read(struct driver *driver, uint64_t token, struct node_time time);
/* Whether a write may be handed to this replica: it leads, or knows who does and is its clients' origin. */
bool driver_takes_writes(const struct driver *driver);
/* Strong reads by this replica's own lease (docs/leases.md). SERVE: read what is applied now, then ask driver_may_read
 * once more with a clock read after that; if it says no, the value is not to be shown. HELD: `readable` follows
 * (CANCELLED: what it was held on may be gone, ask again), and then the same. ASK: no lease, driver_read. */
enum driver_read_now { DRIVER_READ_SERVE = 1, DRIVER_READ_HELD, DRIVER_READ_ASK };
struct driver_read_of {
	bool scan;
	uint64_t key_hash;   /* hash64 of the key */
	struct bytes prefix; /* SCAN; borrowed for the call */
};
enum driver_read_now driver_read_by_lease(
	struct driver *driver, uint64_t token, const struct driver_read_of *of, uint64_t now_ns);
bool driver_may_read(const struct driver *driver, uint64_t now_ns);
/* Our clock's instant before which all that was acknowledged anywhere is applied here, as the last round of ReadIndex
 * told; 0: none did yet. driver_refresh wants another such round. */
uint64_t driver_fresh_ns(const struct driver *driver);
void driver_refresh(struct driver *driver);
/* The end of the node's turn: proposes and asks what was gathered, applies what was committed. */
void driver_turn(struct driver *driver, struct node_time time);
enum status driver_change_membership(
	struct driver *driver, const struct membership *wanted, struct node_time time) MUST;
void driver_transfer(struct driver *driver, uint64_t to_replica, struct node_time time);

const struct group *driver_group(const struct driver *driver);
struct engine *driver_engine(const struct driver *driver);
uint64_t driver_group_id(const struct driver *driver);
uint64_t driver_replica_id(const struct driver *driver);
uint64_t driver_applied(const struct driver *driver);
bool driver_leads(const struct driver *driver);
bool driver_is_witness(const struct driver *driver);
/* It said so of late: it cannot lead until it is mended, whatever of the log it has. */
bool driver_peer_damaged(const struct driver *driver, uint64_t replica, uint64_t now_ns);
uint64_t driver_leader_node(const struct driver *driver); /* 0: unknown */
bool driver_awaits_durable(const struct driver *driver);
bool driver_needs_turn(const struct driver *driver);
/* The map as meta's engine and messages carry it; NULL: no memory. */
struct buffer *map_packed(const struct cluster_map *map);
/* The engine has all that is applied. False: its disk was full, and of what is told below some may be ahead of the
 * rows: entries that it took none of are applied once more. Or it is being made anew. */
bool driver_rows_whole(const struct driver *driver);
/* A key under a fence: writes to it are refused (deterministically, at apply). */
bool driver_fence_at(
	const struct driver *driver, uint32_t at, struct command *fence); /* the fences applied here, 0.. */
bool driver_fence_of(const struct driver *driver, uint64_t operation);
/* The newest map by which keys were moved here, as applied: nothing judged by an older one will be. 0: never. */
uint64_t driver_move_epoch(const struct driver *driver);
/* The newest map by which a fence was lifted here: who was sent here by an older one may look for what went. 0: never.
 */
uint64_t driver_write_epoch(const struct driver *driver);
/* What CLOSE is for holds: nothing judged by an older map moves keys here, what is proposed has a higher version, and,
 * with `retry`, retries without a record are answered as unknown. */
bool driver_closed_at(const struct driver *driver, uint64_t map_epoch, uint64_t version, bool retry);
uint64_t driver_version_max(const struct driver *driver); /* no row has a higher one */
bool driver_evicted_ever(const struct driver *driver);	  /* a client's records are no longer here */
/* A row of ENGINE_SPACE_SESSIONS. */
enum status driver_session_decode(struct bytes row, struct session_result *result) MUST;
bool driver_fenced(const struct driver *driver, struct bytes key, const uint64_t exact_hash[2]);
/* Values in the engine: version (u64 LE) before the bytes. */
struct stored_value {
	uint64_t version;
	struct bytes value;
};
enum status stored_value_decode(struct bytes row, struct stored_value *value) MUST;
uint64_t driver_memory(const struct driver *driver); /* bytes of bodies held */
void driver_check(const struct driver *driver);
uint64_t driver_digest(const struct driver *driver); /* of the applied state: equal on replicas at the same index */

#endif
