/* replication/group.h: one consensus group as a pure state machine: events in, effects out.
 *
 * No clock, thread, socket, file, allocation or random source: time comes with the event, randomness from the seed,
 * memory from the caller. Bodies never enter: a group knows an entry's position, kind, size and key hash; the driver
 * (server/group_driver.c, and the simulator through it) keeps the bytes.
 *
 * What keeps drivers simple: every effect may be carried out at once, in the order given; only writes keep their order
 * among themselves, and commits theirs. A message whose truth depends on a write is emitted after that write was
 * reported durable.
 *
 * The protocol is Raft (Ongaro 2014) with PreVote, CheckQuorum, joint consensus, pipelined batched append, sending
 * before the local fsync (thesis 10.2.1: the leader counts itself only when durable), leader transfer, snapshots,
 * learners; commit and election rules are predicates (policy/quorum.h); the leader's lease and failure detection come
 * from node-level support (replication/liveness.h). The rules beyond the paper:
 *
 *  B1 A voter that accepts an append of (leader, term) binds itself in this group to (leader, term, epoch of the
 * support that its node gives the leader's node) and says so in its reply. Only in its current term. B2 While that
 * promise runs, the voter takes part in NO election of this group, neither as voter nor as candidate, whoever asks, the
 * leader included, and ignores the request's term. The one exception is a transfer. A promise ends by time only. Before
 * it votes against a lapsed leader it withdraws its node's support. B3 lead_until is the last instant at which voters
 * bound in this group, whose support runs under the epoch they bound to, meet EVERY election set of every configuration
 * in force. The leader's promise to itself lasts until lead_until, also after it steps down (it takes part in no
 * election before). B4 After a start the node takes part in no election before liveness_elections_from_ns. B5 Whoever
 * sent TimeoutNow never reads or answers ReadIndex again in that term. B6 A leader serves reads and commits only after
 * the no-op of its term is committed; a ReadIndex that finds it earlier waits for it. B7 Only entries of the leader's
 * own term are committed by counting. B8 A read by lease needs lead_until > now at the event that carries the read;
 * otherwise a round of append probes to a quorum, sent after the read arrived and answered by their own probe number,
 * confirms leadership. B9 An idle group has no deadline: the leader is quiescent when every reachable member has
 * acknowledged last and commit; a follower relies on its node's support for the leader's node and hears of its end by
 * GROUP_PEER. A leader that steps down says so (its pre-vote, or an append refused, wakes the others). B10 An append
 * refused by a higher term deposes the leader; a vote request does not while promises run (B2). B11 A leader that
 * resigned says so until it hears another, whether it may campaign or not. B12 Who is no voter of any membership from
 * the last committed one up never campaigns. (One that only an uncommitted membership leaves out still may: it can be
 * the only one that those who must be asked would elect.)
 *
 * Local strong reads and origin acks (docs/leases.md; the names N, G, L, O are its rules): a commit index, here and at
 * every replica, covers only what every replica that may hold a read lease has. group_may_read says whether this
 * replica may answer a strong read now, from its own lease or as the leader; the driver holds the read on what is above
 * `applied`, and asks again after it has the value.
 *
 * Order of effects in a step: OWN_ENTRY, the WRITE that holds it, then the SENDs that carry it. */
#ifndef DOMICILE_REPLICATION_GROUP_H
#define DOMICILE_REPLICATION_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "replication/liveness.h"
#include "wire/message.h"

enum {
	GROUP_TERM_RUNS_MAX = 64,  /* runs of equal term kept; older positions count as compacted */
	GROUP_READS_MAX = 8,	   /* read batches waiting at once */
	GROUP_MEMBERSHIPS_MAX = 4, /* memberships above commit that may have to be rolled back, and the one in force */
	GROUP_EFFECTS_MAX = 128,   /* bounded by 16 replicas, never by load */
	GROUP_MESSAGES_MAX = 96,
};

struct group_config {
	uint64_t group, replica, node, seed;
	struct liveness *liveness;   /* of this node; outlives the group; also told of withdrawals */
	uint32_t inflight_max;	     /* entries proposed and not committed; above it: BUSY */
	uint32_t append_entries_max; /* per message, <= APPEND_ENTRIES_MAX */
	uint32_t append_window;	     /* appends in flight per follower */
	uint64_t election_us;	     /* randomised between 1x and 2x */
	uint64_t retransmit_us;	     /* an unanswered append is probed again after this */
	uint32_t drift_ppm;
};

enum group_event_kind {
	GROUP_RESTORED = 1, /* what the journal held at start; the first event, exactly once */
	GROUP_RECEIVED,	    /* a message of this group (MESSAGE_APPEND .. MESSAGE_SNAPSHOT) */
	GROUP_PROPOSED,	    /* entries of kind COMMAND; leader only, else REFUSE NOT_LEADER */
	GROUP_CHANGE,	    /* a wanted plain membership; leader only, one at a time */
	GROUP_READ,	    /* wants an index that covers everything acknowledged before now */
	GROUP_EXPIRED,	    /* group_deadline has come */
	GROUP_PEER,	    /* liveness changed its mind about a node */
	GROUP_DURABLE,	    /* all writes up to this ticket are on disk */
	GROUP_APPLIED,	    /* the driver has applied up to index */
	GROUP_COMPACTED,    /* entries up to index are no longer in the journal */
	GROUP_INSTALLED,    /* the snapshot of the INSTALL effect is in place (or, failed: not) */
	GROUP_TRANSFER,	    /* give the lead to replica `to` */
};
struct group_event {
	enum group_event_kind kind;
	uint64_t now_ns;  /* CLOCK_BOOTTIME; never less than in the event before */
	uint64_t wall_us; /* may jump; it only feeds versions */
	union {		  /* all pointers are borrowed for the call */
		struct {
			uint64_t term, vote;
			uint64_t snapshot_index, snapshot_term; /* the log begins behind it */
			uint64_t applied;			/* by the engine; >= snapshot_index */
			uint64_t version_max;			/* of the applied state */
			struct membership membership;		/* at snapshot_index (or at birth) */
			const struct entry *entries;		/* snapshot_index + 1 .. */
			uint32_t count;
			const struct membership
				*memberships; /* bodies of the MEMBERSHIP entries among them, in order */
			uint32_t membership_count;
			uint64_t corrupt_below; /* not 0: an entry at or below it was lost and is awaited from a peer:
						   the replica does not campaign until group_repaired */
		} restored;
		struct {
			const struct message *message;
			const struct membership *memberships; /* of the MEMBERSHIP entries of an append, in order */
			uint32_t membership_count;
		} received;
		struct {
			struct entry *entries; /* kind, size, key_hash, origin given; index, term, version filled in */
			uint32_t count;
			uint64_t version_floor; /* versions must be above this too; 0: none */
		} proposed;
		struct {
			const struct membership *membership;
			uint64_t request;
		} change; /* rule_new and role_new count */
		struct {
			uint64_t request;
		} read; /* a batch of reads, named by the driver */
		struct {
			uint64_t node;
			enum liveness_change change;
		} peer;
		struct {
			uint64_t ticket;
		} durable;
		struct {
			uint64_t index;
		} applied, compacted;
		struct {
			uint64_t index, term, version_max;
			struct membership membership;
			bool failed;
		} installed;
		struct {
			uint64_t to;
		} transfer;
	};
};

enum group_effect_kind {
	GROUP_OWN_ENTRY = 1, /* the group made this entry (no-op, membership): make its body, keep it with the log */
	GROUP_WRITE,	     /* to the journal: term and vote, cut the tail, append first..last */
	GROUP_SEND,	     /* to replica message->to; an append's entries and bodies are the driver's to fill in */
	GROUP_COMMIT,	     /* apply first..last, answer who waits */
	GROUP_READABLE,	     /* the read batch may be served once index is applied */
	GROUP_REFUSE,	     /* this proposal, read or change, as a whole */
	GROUP_SNAPSHOT,	     /* this follower needs what the log no longer has: stream a snapshot to it */
	GROUP_INSTALL,	     /* follower: put the received snapshot in place, then GROUP_INSTALLED */
	GROUP_ROLE,	     /* term, leader or role changed */
	GROUP_MEMBERSHIP,    /* another membership is in force (appended, rolled back, or installed) */
	GROUP_CHANGED,	     /* the membership change `request` is complete and committed */
	GROUP_TRUNCATED,     /* entries from `first` on are gone: whoever waits for them learns "unknown outcome" later
				or retries; their bodies may be dropped */
};
enum group_role { GROUP_FOLLOWER = 1, GROUP_PRECANDIDATE, GROUP_CANDIDATE, GROUP_LEADER };
struct group_effect {
	enum group_effect_kind kind;
	union {
		struct {
			struct entry entry;
			const struct membership *membership;
		} own; /* membership: in the group's memory */
		struct {
			uint64_t ticket; /* rises by one with each write */
			uint64_t term, vote;
			bool state;	      /* term or vote differ from the write before */
			uint64_t cut_from;    /* 0: nothing to cut */
			uint64_t first, last; /* last < first: no entries */
		} write;
		const struct message *send; /* stored in `out` */
		struct {
			uint64_t first, last;
			bool degraded; /* perhaps with one copy and the witness only */
		} commit;
		struct {
			uint64_t request, index;
		} readable;
		struct {
			uint64_t request;
			enum status status;
			uint64_t leader;
			enum group_event_kind what;
		} refuse;
		struct {
			uint64_t to;
		} snapshot;
		struct {
			uint64_t index, term, from;
		} install;
		struct {
			uint64_t term, leader;
			enum group_role role;
		} role; /* leader: replica id, 0: unknown */
		const struct membership *membership;
		struct {
			uint64_t request;
			enum status status;
		} changed;
		struct {
			uint64_t first;
		} truncated;
	};
};
struct group_effects { /* one a thread; cleared by group_step */
	uint32_t count, message_count;
	struct group_effect at[GROUP_EFFECTS_MAX];
	struct message messages[GROUP_MESSAGES_MAX];
};

struct group_status {
	uint64_t term, first, last, durable, commit, applied, lead_until_ns, leader, snapshot_index;
	enum group_role role;
	bool transferring, changing, quiescent;
	bool degraded; /* a witness stands in for a lost copy (docs/witness.md) */
};
struct group_progress { /* leader's view of one member */
	uint64_t match, next, commit;
	bool active, snapshotting;
};

struct group;
size_t group_size(const struct group_config *config); /* all the bytes it will ever need; at most 10 KiB */
struct group *group_init(void *memory, const struct group_config *config);
void group_step(struct group *group, const struct group_event *event, struct group_effects *out);
void group_end(struct group *group); /* the replica goes: its liveness is told that nothing hangs on it any more */
uint64_t group_deadline(const struct group *group); /* UINT64_MAX: idle, costs nothing */
struct group_status group_status(const struct group *group, uint64_t now_ns);
const struct membership *group_membership(const struct group *group); /* in force */
bool group_may_read(const struct group *group, uint64_t now_ns);
bool group_hands_over(const struct group *group); /* leads, and takes nothing more: soon another does, or it goes on */
bool group_progress(const struct group *group, uint64_t replica, struct group_progress *progress);
uint64_t group_term_of(const struct group *group, uint64_t index); /* 0: not in the log, or compacted */
void group_snapshot_sent(
	struct group *group, uint64_t to, uint64_t index, bool ok); /* the stream of GROUP_SNAPSHOT ended */
/* The applied state is lost, the log is not: until it is replaced the replica does not campaign. Not from within a
 * step. */
void group_set_damaged(struct group *group, bool damaged);
void group_repaired(struct group *group);	  /* what restored.corrupt_below named is whole again */
void group_check(const struct group *group);	  /* asserts every invariant */
uint64_t group_digest(const struct group *group); /* same seed and events: same digest */
size_t group_describe(const struct group *group, char *text, size_t size);
size_t group_effect_describe(const struct group_effect *effect, char *text, size_t size);

#endif
