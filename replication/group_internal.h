/* replication/group_internal.h: what the parts of a group share.
 *
 *   group.c              life; events to duties; what the outside may ask
 *   group_log.c          positions: term runs, memberships, truncation; writes and what is durable of them
 *   group_election.c     timers, pre-votes, votes, becoming one thing or another
 *   group_follower.c     a follower's side of an append and of a snapshot
 *   group_replication.c  a leader's side: progress, sending, replies, commit
 *   group_read.c         read index, on both sides
 *   group_change.c       joint consensus, leader transfer
 *   group_rule.c         the rule in force where a witness stands in for a lost copy
 *   group_lease.c        binding, promises, lead_until
 *   group_grant.c        a leader's read leases to responders, and the cover they make
 *   group_borrow.c       a responder's side of them
 *   group_note.c         origin acks: notes to origins, and what an origin commits by them
 *   group_describe.c     invariants, digest, words
 *
 * A step: the event goes to its duty, then group_settle does what follows from the new state, whatever the event was
 * (commit, reads, sends, timers). So a duty changes state and need not know what waits for that state. */
#ifndef DOMICILE_REPLICATION_GROUP_INTERNAL_H
#define DOMICILE_REPLICATION_GROUP_INTERNAL_H

#include "replication/group.h"

#include "base/prng.h"
#include "policy/quorum.h"

#define NEVER UINT64_MAX

enum {
	GROUP_WRITES_MAX = 32, /* writes not yet durable that are told apart; later ones join the last */
	GROUP_WINDOW_MAX = 16, /* appends in flight per follower */
	GROUP_SENDS_MAX = 2,   /* appends to one follower in one step: the window opens as answers come */
	GROUP_STALL_MAX = 4,   /* elections that a leader's disk may stand still before it resigns */
	GROUP_BACKOFF_MAX = 3, /* an unanswered append is probed again after retransmit_us << 0..3 */
};

struct term_run {
	uint64_t first, term; /* from index `first` up to the next run */
};

struct pending_write {
	uint64_t ticket;
	uint64_t last; /* when the ticket is durable, the log is, up to here; lowered by truncation */
};

enum follower_state {
	FOLLOWER_PROBE = 1, /* where its log meets ours is not known: one append at a time */
	FOLLOWER_REPLICATE, /* it is: appends leave ahead of the answers */
	FOLLOWER_SNAPSHOT,  /* what it needs is compacted; the driver streams */
};

/* The leader's view of the member at the same position of the membership in force (its own slot included: there only
 * `match` counts, and is what is durable). */
struct follower {
	uint64_t replica, node;
	uint64_t match;	      /* durable there and equal to ours */
	uint64_t next;	      /* first index not yet sent; > match */
	uint64_t commit;      /* what it said it knows as committed */
	uint64_t commit_sent; /* what it was told */
	uint64_t met;	      /* it holds ours up to here, perhaps not yet durably; 0: not known */
	uint64_t probe_sent, probe_acked;
	uint64_t probe_from;  /* answers to earlier appends say nothing about `next` any more */
	uint64_t epoch;	      /* of its node's support, to which it bound itself in this term; 0: unbound */
	uint64_t incarnation; /* of its log, as last told; 0: not yet */
	uint64_t retry_at_ns; /* NEVER: nothing is awaited */
	uint32_t inflight[GROUP_WINDOW_MAX]; /* probe numbers, low bits: a ring */
	uint8_t inflight_begin, inflight_count;
	uint8_t state, backoff;
	bool active; /* false: unreachable, left alone until liveness says UP */
	bool poke;   /* wants an append even if it lacks nothing */
};

/* The leader's word to one responder (docs/leases.md, L1..L6). */
struct grant {
	uint64_t replica, node;			/* 0: free */
	uint64_t number;			/* of the last grant or revocation sent; 0: none yet */
	uint64_t since, since_ns;		/* the first that said what the last one says, and when */
	uint64_t acked;				/* the highest acknowledged */
	uint64_t lent_epoch;			/* under which something was granted that may not be over; 0: nothing */
	uint64_t roster, incarnation, bindings; /* of the last grant */
	uint64_t retry_at_ns;
	uint64_t mark_index, mark_ns; /* our last index at that time: behind it for too long, no more time is lent */
	bool caught_up;		      /* it reached the mark before the last one in time */
	bool revoking;
};

/* A responder's lease, as granted. */
struct borrowed {
	uint64_t term, number; /* the highest seen in that term */
	uint64_t lent_epoch;   /* 0: none */
	uint64_t roster, floor, incarnation;
	uint64_t support_epochs[REPLICAS_MAX]; /* by position in the membership of index `roster` */
	uint8_t count;
};

/* An origin that waits for a note: entries first..last of it are not yet told. */
struct note_owed {
	uint64_t first, last;
	uint16_t origin; /* 0: free */
};
/* What an acceptor said is durable there, in this term. */
struct noted {
	uint64_t replica, match; /* replica 0: free */
};

/* A read batch of this replica (request != 0), or of another that asked us, the leader (asker != 0). */
struct waiting_read {
	uint64_t request, asker;
	uint64_t nonce;	      /* asker's; or ours, as sent to the leader; 0: not asked yet */
	uint64_t probe;	      /* leader: appends numbered above this confirm it */
	uint64_t retry_at_ns; /* follower: ask again, with another nonce */
	uint64_t give_up_ns;
};

enum campaign { CAMPAIGN_NONE = 0, CAMPAIGN_NORMAL, CAMPAIGN_TRANSFER };

struct group {
	struct group_config config;
	struct prng prng;
	uint64_t now_ns, wall_us;
	bool restored;

	enum group_role role;
	uint64_t term, vote;
	uint64_t leader;       /* of this term, replica id; 0: unknown */
	bool state_dirty;      /* term or vote changed since the last write */
	uint64_t state_ticket; /* of the write that carries them */
	uint64_t tickets;      /* given out */
	uint64_t ticket_durable;

	/* The log: base_index is the last position that is not in it any more. base <= released <= commit <= last;
	 * released <= durable <= last; applied <= released. (After a start, when the runs above `applied` are more than
	 * fit, base is forgotten_below, until the commit index is known again.) */
	uint64_t base_index, base_term, forgotten_below;
	uint64_t last, durable, commit, released, applied;
	uint64_t snapshot_index; /* of the last snapshot that replaced the log, or the log's begin at start */
	uint64_t version_max;
	uint64_t corrupt_below, corrupt_match;
	bool damaged; /* the driver's state is lost: see group_set_damaged */
	struct term_run runs[GROUP_TERM_RUNS_MAX];
	uint32_t run_count;
	uint32_t membership_count;
	struct membership memberships[GROUP_MEMBERSHIPS_MAX]; /* rising index; the last is in force */
	struct pending_write writes[GROUP_WRITES_MAX];
	uint32_t write_count;
	uint64_t disk_heard_ns; /* last completion, or the first write after all were complete */

	/* Elections. */
	uint64_t election_at_ns;
	bool yielded;		/* to somebody's pre-vote, since it last stood itself */
	enum campaign campaign; /* wanted as soon as all that was written is durable */
	uint64_t campaign_term; /* in which it was wanted */
	bool votes_asked, campaign_transfer;
	uint64_t led_term; /* the last one that this replica led */
	bool abdicated;	   /* led, and nobody was heard to lead since: it goes on saying so, may it campaign or not */
	member_set votes;
	uint64_t vote_reply_to; /* a grant that awaits its write; 0: none */

	/* Follower. */
	uint64_t verified;   /* equal to the log of this term's leader up to here */
	uint64_t probe_seen; /* newest append of this term's leader */
	uint64_t heard_ns;   /* last append of the leader */
	bool ack_due, installing;

	/* Promises (B1..B3). */
	struct {
		uint64_t leader, node, term, epoch; /* epoch 0: not bound */
	} bound;
	uint64_t promise_end_ns; /* of bindings that are over, and of the leader to itself */

	/* Leader. */
	uint64_t noop_index;
	uint64_t probe; /* number of the last append sent; never reused, over terms too */
	uint64_t resign_at_ns;
	uint64_t transfer_to, transfer_until_ns;
	bool transfer_closing; /* no grant is left: nothing more is taken */
	bool transfer_sent;    /* TIMEOUT_NOW has left: no reads in this term any more (B5) */
	bool leaving;	       /* not a voter of the committed membership */
	uint64_t change_request;
	bool change_pending;
	bool change_waiting;		 /* not appended yet: L4 */
	struct membership change_wanted; /* while it waits */
	struct follower followers[REPLICAS_MAX];
	uint64_t return_index, return_ns;  /* our last index at that time, for a copy that returns; 0: none */
	uint64_t bindings;		   /* counts changes of the epochs that followers are bound under */
	uint64_t grant_number;		   /* last one given out */
	struct grant grants[REPLICAS_MAX]; /* those in use first */
	uint64_t origin_last;		   /* last entry whose origin is another replica (O5) */

	/* Origins and responders. */
	uint64_t incarnation;
	struct borrowed borrowed;
	struct note_owed owed[REPLICAS_MAX];
	struct noted noted[REPLICAS_MAX];
	uint64_t own_last; /* last entry, of this term's leader, whose origin is this replica; 0: none */

	struct waiting_read reads[GROUP_READS_MAX]; /* request == 0 and asker == 0: free */
	uint64_t nonce;
	bool membership_changed;
};

static inline uint64_t us_ns(uint64_t us)
{
	return us * 1000;
}
static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}
static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}
static inline const struct membership *membership_in_force(const struct group *group)
{
	return &group->memberships[group->membership_count - 1];
}

/* group.c */
struct group_effect *effect_new(struct group_effects *out, enum group_effect_kind kind);
struct message *message_new(struct group *group, struct group_effects *out, uint8_t kind, uint64_t to);
void refuse(
	struct group_effects *out, enum group_event_kind what, uint64_t request, enum status status, uint64_t leader);

/* group_log.c */
uint64_t log_last_term(const struct group *group);
uint64_t log_run_first(const struct group *group, uint64_t index); /* of the run that holds index */
bool log_has_room(const struct group *group, uint64_t term);	   /* for an entry of that term */
void log_append(struct group *group, uint64_t index, uint64_t term, uint64_t version);
void log_truncate(struct group *group, uint64_t from, struct group_effects *out);
void log_reset(struct group *group, uint64_t index, uint64_t term);
void log_compact(struct group *group, uint64_t index);
const struct membership *log_push_membership(struct group *group, const struct membership *membership, uint64_t index);
uint32_t memberships_oldest(const struct group *group);
void log_fold_memberships(struct group *group); /* forgets those that can no longer be rolled back to */
void state_set(struct group *group, uint64_t term, uint64_t vote);
bool state_durable(const struct group *group);
void write_emit(struct group *group, struct group_effects *out, uint64_t cut_from, uint64_t first, uint64_t last);
void write_durable(struct group *group, uint64_t ticket);
uint64_t write_stall_ns(const struct group *group); /* when the disk has stood still for too long to lead; NEVER: no */
void commit_to(struct group *group, uint64_t index);
void commit_release(struct group *group, struct group_effects *out);

/* group_lease.c */
void lease_bind(struct group *group, uint64_t leader);
void lease_unbind(struct group *group);
bool lease_lapse(struct group *group); /* true: unbound, because the support that was bound to is over */
void lease_withdraw(struct group *group);
bool lease_bound(const struct group *group);
uint64_t lease_promise_until(const struct group *group);
uint64_t lease_lead_until(const struct group *group, uint64_t now_ns); /* as supported; whoever reads checks more */
/* The last instant at which those whose promises run until `until` meet every election set of the membership. */
uint64_t lease_blocked_until(const struct membership *membership, const uint64_t until[REPLICAS_MAX]);
bool lease_may_read(const struct group *group, uint64_t now_ns);
void lease_promise_self(struct group *group);
bool lease_blocks(const struct group *group, uint64_t above_probe); /* who answered later appends blocks elections */

/* group_grant.c */
bool is_responder(const struct membership *membership, uint64_t replica);
void grants_settle(struct group *group); /* what is over; who is behind */
void grants_send(struct group *group, struct group_effects *out);
void grants_reply(struct group *group, const struct message *message);
void grants_drop(struct group *group);		   /* leads no more */
bool grants_any(const struct group *group);	   /* not over */
uint64_t grants_end_ns(const struct group *group); /* when all are over at the latest, were none renewed; 0: none */
uint64_t grants_cover(const struct group *group);  /* the last index that all of the cover have; NEVER: none in it */
bool grants_allow(const struct group *group, const struct membership *next); /* L4 */
bool grants_settled(const struct group *group);				     /* nothing is to be sent or awaited */
uint64_t grants_deadline(const struct group *group);

/* group_borrow.c */
void borrow_granted(struct group *group, const struct message *message, struct group_effects *out);
uint64_t borrow_until(const struct group *group); /* 0: no lease */

/* group_note.c */
void note_entry(struct group *group, uint16_t origin, uint64_t index);
void notes_send(struct group *group, uint64_t match, struct group_effects *out);
void note_received(struct group *group, const struct message *message);
void notes_advance(struct group *group);
void notes_forget(struct group *group); /* of another term */

/* group_election.c */
bool may_campaign(const struct group *group);
void election_arm(struct group *group, bool soon);
void election_expired(struct group *group, struct group_effects *out);
void election_campaign(struct group *group, enum campaign campaign, struct group_effects *out);
void election_continue(struct group *group, struct group_effects *out); /* something became durable */
void election_vote(struct group *group, const struct message *message, struct group_effects *out);
void election_vote_reply(struct group *group, const struct message *message, struct group_effects *out);
void become_follower(struct group *group, uint64_t term, uint64_t leader, struct group_effects *out);
void resign(struct group *group, uint64_t term, struct group_effects *out); /* says so to the others */

/* group_follower.c */
void follower_append(struct group *group, const struct group_event *event, struct group_effects *out);
void follower_acknowledge(struct group *group, struct group_effects *out);
void follower_snapshot(struct group *group, const struct message *message, struct group_effects *out);
void follower_installed(struct group *group, const struct group_event *event, struct group_effects *out);

/* group_replication.c */
void leader_start(struct group *group, struct group_effects *out);
void leader_propose(struct group *group, const struct group_event *event, struct group_effects *out);
uint64_t leader_append_own(
	struct group *group, enum entry_kind kind, const struct membership *membership, struct group_effects *out);
void leader_reply(struct group *group, const struct message *message, struct group_effects *out);
void leader_peer(struct group *group, uint64_t node);
void leader_retry(struct group *group);
void leader_feed(struct group *group, struct group_effects *out);
void leader_advance(struct group *group);
void leader_map_followers(struct group *group); /* the membership in force is another */
struct follower *leader_follower(struct group *group, uint64_t replica);
bool leader_quiescent(const struct group *group);
uint64_t leader_deadline(const struct group *group);

/* group_rule.c */
bool rule_degraded(const struct membership *membership);
bool rule_told(const struct group *group); /* what is committed here is on two copies, unless the log says otherwise */
void rule_settle(struct group *group, struct group_effects *out);
uint64_t rule_send_max(const struct group *group, unsigned at); /* the last index that this follower may be sent */

/* group_read.c */
void read_local(struct group *group, uint64_t request, struct group_effects *out);
void read_asked(struct group *group, const struct message *message, struct group_effects *out);
void read_answered(struct group *group, const struct message *message, struct group_effects *out);
void reads_settle(struct group *group, struct group_effects *out);
void reads_leader_lost(struct group *group, struct group_effects *out);
uint64_t reads_deadline(const struct group *group);
bool reads_await(const struct group *group, uint64_t probe); /* leader: a read needs appends numbered above `probe` */

/* group_change.c */
void change_membership(struct group *group, const struct group_event *event, struct group_effects *out);
void change_settle(struct group *group, struct group_effects *out);
void change_lost(struct group *group, struct group_effects *out);
void transfer_begin(struct group *group, uint64_t to, struct group_effects *out);
void transfer_settle(struct group *group, struct group_effects *out);
void transfer_asked(struct group *group, const struct message *message, struct group_effects *out);

#endif
