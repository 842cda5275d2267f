/* server/group_driver_internal.h: the driver's parts, by duty:
 *
 *   group_driver.c           life; events in, effects out
 *   group_driver_propose.c   the turn: proposals and reads gathered, given to the group, answered
 *   group_driver_forward.c   writes handed to the leader by their origin
 *   group_driver_read.c      reads by lease, held on what is pending; how old the state is
 *   group_driver_log.c       the log's entries: journal writes, the tail's bodies, appends filled in, trimming
 *   group_driver_erase.c     what was deleted leaves the disk
 *   group_driver_flush.c     what is applied goes to the disk, on another thread; what happens when the disk is full
 *   group_driver_recover.c   what the journal and the engine held at start becomes GROUP_RESTORED
 *   group_driver_apply.c     a shard's committed commands become engine batches and outcomes
 *   group_driver_meta.c      meta's committed changes become the cluster map, and its checkpoints
 *   group_driver_state.c     the rows of the engine that are not keys: membership, fences, sessions, marks
 *   group_driver_snapshot.c  snapshots out;  group_driver_install.c  snapshots in
 *   group_driver_repair.c    entries that the disk lost, fetched from peers
 *   group_driver_reseed.c    an engine that the disk damaged, replaced by a peer's state
 *   group_driver_label.c     what a replica knows of itself outside of its engine, for that
 *
 * A failure that this replica cannot live with (driver_fail) is told to the owner once; from then on every call does
 * nothing, so callers inside need not unwind: they check `failed` where it matters. */
#ifndef DOMICILE_SERVER_GROUP_DRIVER_INTERNAL_H
#define DOMICILE_SERVER_GROUP_DRIVER_INTERNAL_H

#include "server/group_driver.h"

#include "base/buffer.h"
#include "server/group_driver_queue.h"
#include "server/group_driver_tail.h"
#include "server/node.h"
#include "wire/codec.h"

enum {
	APPEND_BYTES_MAX = 4 << 20,  /* bodies in one append; at least one entry goes whatever its size */
	PROPOSE_BYTES_MAX = 1 << 20, /* bodies in one GROUP_PROPOSED, likewise */
	PROPOSE_ENTRIES_MAX = 1024,
	APPLY_BYTES_MAX = 1 << 20, /* bodies in one engine batch, likewise */
	APPLY_ENTRIES_MAX = 1024,
	KEEP_ENTRIES = 10000, /* journal entries kept below the flushed index for slow followers */
	KEEP_BYTES = 64 << 20,
	KEEP_ENTRIES_FOLLOWER = 1024, /* by a replica that does not lead, and cannot know who is slow */
	TRIM_ENTRIES = 1024,	      /* the journal is told to forget in steps of at least so many */
	FLUSH_BYTES = 64 << 20,	      /* applied and not flushed: asks the engine to flush */
	FLUSH_ENTRIES = 20000,	      /* so many are applied again after a crash */
	JOURNAL_PENDING_BYTES =
		24 << 20, /* waiting for the disk: nothing more is taken (the journal refuses at 64 MiB) */
	JOURNAL_INDEX_BYTES = 240 << 20,
	FENCES_MAX =
		16384, /* one for each prefix that was bound away, or range split off: above the bindings there are */
	NODES_KNOWN_MAX = 2 * REPLICAS_MAX,
	SNAPSHOT_CHUNK_BYTES = 256 << 10,
	SNAPSHOT_WINDOW = 8,
	SNAPSHOTS_OUT_MAX = 4,
	APPEND_WINDOW = 16,
	META_CHECKPOINT_ENTRIES = 64,
	MEMBERSHIP_ROW_MAX = 1024, /* bytes of a packed membership, with room */
};

struct fence {
	uint64_t operation, map_epoch;
	bool exact, range; /* else of a prefix */
	uint64_t exact_hash[2];
	uint64_t hash_first, hash_last;
	struct buffer *prefix; /* NULL: the empty prefix, every key */
};

struct read_round {
	uint64_t request; /* 0: free */
	uint64_t index;
	uint64_t asked_ns;
	bool ready; /* index is known */
	struct tokens tokens;
};

struct forwarded { /* by an origin: numbers that were taken or refused */
	uint64_t replica, boot, last;
	uint64_t taken; /* bit i: last - i was */
};

struct ticket_pair {
	uint64_t group, journal;
};

struct replica_at {
	uint64_t replica, node;
};
struct driver_refusal { /* of the step that has just been made */
	enum status status;
	uint64_t leader;
};
struct missing {
	uint64_t index, term;
};

struct snapshot_out {
	uint64_t to; /* replica; 0: free */
	uint64_t transfer, index, term;
	uint64_t sender_term; /* in which we lead */
	struct membership membership;
	struct engine_snapshot *stream;
	uint64_t read, acked; /* chunks: read from the engine and sent; taken by the follower. read - acked <= window */
	bool whole;	      /* chunk read - 1 is the last */
	bool pumping;	      /* the window has room for more at once */
	uint64_t rows, hash;  /* of the whole, once it is known */
	struct buffer *chunks[SNAPSHOT_WINDOW]; /* chunk i in slot i % SNAPSHOT_WINDOW */
	uint64_t deadline_ns;
	uint32_t retries; /* since the last progress */
};
struct snapshot_in {
	uint64_t transfer; /* 0: none */
	uint64_t from, sender_term, index, term;
	struct membership membership;
	struct engine_install *install;
	uint64_t next;	     /* chunk awaited */
	uint64_t rows, hash; /* of the whole, by its sender */
	bool whole;
};
struct snapshot_ended { /* the last transfer that came to its end, to answer what is sent again */
	uint64_t transfer, last;
	bool there;
};

struct flushing {
	bool running, ended;  /* a flush is out; its job is done */
	enum status ran;      /* the job's, until it ended; then what it said */
	bool no_space;	      /* said in the log */
	struct buffer *label; /* to be written with it; NULL: none */
	enum status label_ran;
	bool restore_due;  /* the engine takes no writes until it is reopened and what it lost is applied again */
	uint64_t retry_ns; /* not before; 0: at any time */
};

struct erasing {
	uint64_t index;	     /* what was deleted up to it must leave the files; 0: nothing is wanted */
	uint64_t transfer;   /* the snapshot that was coming in when it was wanted; 0: none */
	bool flush_awaited;  /* a flush was asked for */
	bool compacted;	     /* the engine has none of it any more */
	bool running, ended; /* a compaction is out; its job is done */
	enum status ran;
	uint64_t retry_ns;
};

struct damaged_peer {
	uint64_t replica, at_ns; /* when it last said that its engine is damaged; 0: never */
};
struct reseeding {
	bool running;	 /* the engine is damaged: nothing is applied, read or led */
	bool mended;	 /* it is replaced, and the group does not know yet */
	uint64_t ask_ns; /* next round */
	uint32_t rounds,
		all_damaged; /* made so far; the last ones in a row in which every other copy was damaged too */
};

struct recovered {
	uint64_t term, vote;
	uint64_t base_index, base_term; /* of the last reset; 0: none */
	struct entry *entries;		/* first.., consecutive */
	uint64_t first;
	size_t count, capacity;
	struct membership *memberships; /* of the membership entries among them, in order */
	uint32_t membership_count;
	enum status status;
};

struct meta_memory;

struct driver {
	struct driver_options options;
	const struct driver_owner *owner;
	struct group *group;
	struct engine *engine;
	bool started, failed;
	bool stepping;	 /* within the effects of a step */
	bool leads;	 /* as of the last GROUP_ROLE */
	uint64_t leader; /* replica, likewise; 0: unknown */
	uint64_t now_ns;

	/* the log */
	struct tail tail;
	struct ticket_pair *tickets; /* writes not yet durable; ring, begin and end only rise */
	size_t tickets_begin, tickets_end, tickets_capacity;
	const struct message_append *incoming; /* of the step being made */
	uint32_t proposing, proposed_taken;    /* likewise */
	uint64_t version_floor;		       /* of what is proposed: above what was adopted, applied or not */
	uint64_t trimmed;		       /* the journal was told to forget up to here */
	struct recovered *recovered;	       /* between open and started */

	/* the applied state */
	uint64_t commit;	 /* applied <= commit */
	uint64_t degraded;	 /* what was committed up to here is perhaps on one copy and the witness only */
	uint64_t applied;	 /* engine_applied <= applied; less only for meta */
	uint64_t engine_applied; /* in the engine, flushed or not */
	uint64_t applied_term, version_max;
	uint64_t move_epoch;		      /* what moves keys by an older map is refused */
	uint64_t write_epoch;		      /* so is what writes them: a fence that kept it out is gone */
	uint64_t applied_size, applied_count; /* bodies and entries applied since the start: for their mean size */
	bool apply_stalled;		      /* the next entry is missing */
	bool flush_due;			      /* a membership was applied */
	bool label_due;			      /* the label is not what it should be: with the next flush */
	struct flushing flush;
	struct erasing erase;
	struct reseeding reseed;
	struct damaged_peer damaged_peers[REPLICAS_MAX];
	struct membership membership; /* as of applied */
	struct fence *fences;	      /* sorted by operation */
	uint32_t fence_count;
	void *sessions_memory;
	struct session_table *sessions; /* NULL: meta */
	struct meta_memory *meta;

	/* who waits */
	struct proposals proposals;
	struct waiters waiters;
	struct refusals refusals;
	struct tokens reads_gathered;
	struct read_round rounds[GROUP_READS_MAX];
	uint64_t read_request, change_request;
	struct driver_refusal refusal;
	struct forwards forwards;
	uint64_t leaderless_ns;	 /* since when no leader is known, last */
	uint64_t spurned;	 /* leader that said it leads no more; 0: none */
	uint64_t forward_number; /* last one given out */
	struct forwarded forwarded[REPLICAS_MAX];
	uint32_t forwarded_next;

	/* reads by lease */
	struct held_reads held;
	uint64_t *hold_slots; /* made by the first such read */
	uint64_t hold_all;    /* entries up to here hold every read */
	uint64_t fresh_ns;    /* all that was acknowledged before this instant is applied; 0: never known */
	bool refresh_due;     /* a round is wanted for that alone */
	bool installed;	      /* a snapshot was put in place since it was opened */

	/* who is where */
	struct replica_at known[NODES_KNOWN_MAX];
	uint32_t known_next;
	uint64_t watched[REPLICAS_MAX];
	unsigned watched_count;

	/* snapshots */
	uint64_t snapshot_wanted[REPLICAS_MAX];
	uint32_t snapshot_wanted_count;
	uint64_t transfers;
	struct snapshot_out out[SNAPSHOTS_OUT_MAX];
	struct snapshot_in in;
	struct snapshot_ended in_ended;
	uint64_t install_index, install_term, install_from; /* GROUP_INSTALL to carry out; index 0: none */

	/* repair */
	struct missing *missing; /* sorted by index */
	uint32_t missing_count, repair_tries;
	bool repairing; /* the group waits for group_repaired */
	bool repaired_membership;
	uint64_t repair_deadline_ns;
};

static inline bool driver_is_meta(const struct driver *driver)
{
	return driver->options.map != NULL;
}

/* group_driver.c */
void driver_fail(struct driver *driver, enum status status, const char *what);
uint64_t driver_node_of(const struct driver *driver, uint64_t replica); /* 0: unknown */
void driver_members_watch(struct driver *driver);
void driver_send(struct driver *driver, uint64_t replica, const struct message *message);
void driver_step(struct driver *driver, struct group_event *event, struct node_time time);

/* group_driver_propose.c */
void driver_round_ready(struct driver *driver, uint64_t request, uint64_t index);
void driver_round_refused(struct driver *driver, uint64_t request, enum status status, uint64_t leader);
void driver_rounds_applied(struct driver *driver);
void driver_rounds_look_again(struct driver *driver);
void driver_rounds_refuse(struct driver *driver); /* all reads, waiting and gathered: elsewhere */
void driver_waiters_lost(struct driver *driver, uint64_t first);
void driver_queues_end(struct driver *driver);

void driver_proposal_refused(
	struct driver *driver, const struct proposal *proposal, enum status status, uint64_t leader);
enum status driver_room_for_proposal(const struct driver *driver) MUST;

/* group_driver_forward.c */
void driver_forward_some(struct driver *driver, uint32_t count); /* of the gathered proposals, to the leader */
void driver_forward_seen(struct driver *driver, const struct entry *entry, struct bytes body);
void driver_forward_refused(struct driver *driver, const struct message *message);
void driver_forwards_again(struct driver *driver);
void driver_forwards_lost(struct driver *driver);
bool driver_awaits_leader(const struct driver *driver);	  /* proposals wait for one to be known */
uint64_t driver_patience_ns(const struct driver *driver); /* when that ends; UINT64_MAX: nothing waits */
uint64_t driver_forward_deadline(const struct driver *driver);
void driver_forward_expired(struct driver *driver, struct node_time time);
void driver_forward_refuse(
	struct driver *driver, uint64_t to, uint64_t first, uint32_t count, enum status status, uint64_t leader);
uint64_t driver_forward_origin(const struct driver *driver, const struct entry *entry);
void driver_forwarded(struct driver *driver, const struct message *message, bool closed);

/* group_driver_read.c */
void driver_pending_note(struct driver *driver, const struct entry *entry); /* it has come into the log */
void driver_pending_unknown(struct driver *driver, uint64_t upto);
void driver_held_applied(struct driver *driver);
void driver_held_look_again(struct driver *driver);
void driver_read_end(struct driver *driver);
void driver_fresh(struct driver *driver, uint64_t asked_ns);

/* group_driver_log.c */
bool driver_journal_busy(const struct driver *driver);
bool driver_append_busy(const struct driver *driver, const struct message_append *append);
enum status driver_log_clear(struct driver *driver) MUST;
enum status driver_log_born(struct driver *driver) MUST;
void driver_log_own_entry(struct driver *driver, const struct entry *entry, const struct membership *membership);
void driver_log_write(struct driver *driver, const struct group_effect *effect);
uint64_t driver_log_durable(struct driver *driver, uint64_t journal_ticket);
void driver_log_tickets_free(struct driver *driver);
void driver_log_reset(struct driver *driver, uint64_t index, uint64_t term);
enum status driver_log_entry(struct driver *driver, uint64_t index, struct entry *entry, struct buffer **body) MUST;
enum status driver_log_repair(struct driver *driver, const struct entry *entry, struct bytes body) MUST;
void driver_log_send_append(struct driver *driver, const struct message *message);
void driver_log_send_entries(struct driver *driver, struct message *message, struct message_append *append);
void driver_log_tail_trim(struct driver *driver);
void driver_log_trim(struct driver *driver, struct node_time time);
void driver_log_trim_to(struct driver *driver, uint64_t flushed, uint64_t keep, struct node_time time);

/* group_driver_flush.c */
void driver_flush_settle(struct driver *driver, struct node_time time); /* what has ended takes effect */
void driver_flush_when_due(struct driver *driver, struct node_time time);
uint64_t driver_flush_deadline(const struct driver *driver);
void driver_flush_drop(struct driver *driver); /* the driver ends */

/* group_driver_recover.c */
void driver_recovery_drop(struct driver *driver);

/* group_driver_apply.c */
bool driver_applicable(const struct driver *driver);
void driver_apply(struct driver *driver, struct node_time time);
/* What was applied up to there is applied to an engine that has lost it; nobody is told again. */
enum status driver_apply_again(struct driver *driver, uint64_t upto) MUST;
enum status driver_apply_membership(struct driver *driver, const struct entry *entry, struct bytes body) MUST;
void driver_answer(struct driver *driver, uint64_t index, uint64_t term, const struct driver_outcome *outcome);

/* group_driver_meta.c */
enum status meta_load(struct driver *driver) MUST;
enum status meta_checkpoint(struct driver *driver) MUST;
void meta_apply_batch(struct driver *driver);
void meta_forget(struct driver *driver);

/* group_driver_state.c */
void state_put_birth(struct driver *driver, struct engine_batch *batch);
void state_put_secret(struct driver *driver, struct engine_batch *batch);
void state_put_mark(struct driver *driver, struct engine_batch *batch);
void state_put_membership(struct engine_batch *batch, const struct membership *membership);
enum status state_fence(
	struct driver *driver, struct engine_batch *batch, const struct command *command, struct bytes body) MUST;
void state_put_move(struct driver *driver, struct engine_batch *batch);
void state_unfence(struct driver *driver, struct engine_batch *batch, uint64_t operation);
bool state_key_fenced(const struct driver *driver, struct bytes key);
void state_record(struct driver *driver, struct engine_batch *batch, const struct session_result *result);
enum status state_load_birth(struct driver *driver) MUST;
enum status state_load(struct driver *driver) MUST;
void state_forget(struct driver *driver);

/* group_driver_snapshot.c */
void driver_snapshot_start(struct driver *driver, uint64_t to, struct node_time time);
void driver_snapshot_acked(struct driver *driver, const struct message *message, struct node_time time);
void driver_snapshot_expired(struct driver *driver, struct node_time time);
uint64_t driver_snapshot_deadline(const struct driver *driver);
void driver_snapshot_peer_restarted(struct driver *driver, uint64_t node);
void driver_snapshots_drop(struct driver *driver, bool tell);
bool driver_snapshot_runs(const struct driver *driver, uint64_t to);

/* group_driver_install.c */
void driver_install_received(struct driver *driver, const struct message *message, struct node_time time);
void driver_install(struct driver *driver, struct group_event *installed);
void driver_install_drop(struct driver *driver);

/* group_driver_erase.c */
void driver_erase_settle(struct driver *driver, struct node_time time);
uint64_t driver_erase_deadline(const struct driver *driver);
void driver_erase_drop(struct driver *driver); /* the driver ends */

/* group_driver_repair.c */
enum status repair_add(struct driver *driver, uint64_t index, uint64_t term) MUST;
bool repair_awaits(const struct driver *driver, uint64_t index);
bool repair_awaits_upto(const struct driver *driver, uint64_t index);
void repair_cut(struct driver *driver, uint64_t from);
void repair_release(struct driver *driver, uint64_t upto);
void repair_settle(struct driver *driver);
void driver_repair_expired(struct driver *driver, struct node_time time);
void driver_repair_asked(struct driver *driver, const struct message *message, struct node_time time);
void driver_repair_received(struct driver *driver, const struct message *message, struct node_time time);

/* group_driver_reseed.c */
/* What the engine said: damaged, it is replaced; else the replica cannot go on. */
void driver_engine_failed(struct driver *driver, enum status status, const char *what);
void reseed_notice(struct driver *driver);
enum status reseed_open(struct driver *driver, bool behind) MUST;
void reseed_ended(struct driver *driver);
void reseed_settle(struct driver *driver);
void driver_reseed_expired(struct driver *driver, struct node_time time);
uint64_t driver_reseed_deadline(const struct driver *driver);
void driver_reseed_asked(struct driver *driver, uint64_t replica, struct node_time time);

/* group_driver_label.c */
struct buffer *label_of(const struct driver *driver) MUST;
void label_write(struct driver *driver);
void label_check(struct driver *driver);
enum status label_load(struct driver *driver) MUST;

#endif
