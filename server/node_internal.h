/* server/node_internal.h: what the files of a node share: node.c (life, dispatch), gateway.c (clients), gateway_read.c
 * (their reads), admin.c (administrators), mover.c (what the map wants), rebind.c (keys whose binding changes),
 * leading.c (where leads belong), rtt.c (how far regions are), erasure.c (what must leave the disk), search.c (what is
 * on it), residency.c (the doors). */
#ifndef DOMICILE_SERVER_NODE_INTERNAL_H
#define DOMICILE_SERVER_NODE_INTERNAL_H

#include "base/heap.h"
#include "base/list.h"
#include "policy/leading.h"
#include "server/erasure.h"
#include "server/group_driver.h"
#include "server/node.h"
#include "server/node_ledger.h"
#include "server/rtt.h"
#include "storage/identity.h"

enum {
	PENDING_MAX = 65536,	 /* requests waiting for a group, all connections together */
	MOVER_PERIOD_MS = 250,	 /* while something is unsettled */
	TICK_MS = 5000,		 /* between looks at round trips and leads */
	LEADER_LAG_ENTRIES = 64, /* who lacks so many entries of the log may not vote or lead yet */
	FENCE_SCAN_ROWS = 4096,	 /* keys counted before a fence report says "at least so many" */
};

/* A step of moving keys from or to a shard that is led here (rebind.c); of no more use than to go on with it. */
struct rebind {
	uint64_t operation, term; /* 0: none */
	uint8_t phase;
	struct buffer *after; /* rows up to this key are dealt with; NULL: none */
	bool ended;	      /* all are */
	uint64_t counted;     /* FENCE: of them, what lies behind the fence */
	uint64_t sent_ns;     /* what is out: a batch, or a proposal; 0: nothing */
	uint64_t reported_ns;
	/* COPY: the batch that is out */
	uint64_t number;	/* 0: none */
	struct buffer *next;	/* `after` and `ended` when it has arrived */
	bool last, refused;	/* refused: it is never taken there */
	bool records;		/* the batch is of session records, */
	bool inherited;		/* all of which are there */
	uint64_t shard, leader; /* to which it goes, and the node that leads that, if known */
	uint64_t asked;		/* the node that has it */
	uint32_t tries;
};

/* A replica that this node hosts. */
struct hosted {
	struct driver *driver;
	uint64_t group, policy; /* policy 0: meta */
	struct heap_node timer;
	struct list turns;	 /* in node->turns or node->later while it needs one */
	uint32_t reading;	 /* jobs on threads that may block: it stays until they are done */
	bool queued, doomed;	 /* doomed: destroy at the end of the turn */
	bool gone;		 /* so is the shard */
	uint64_t named_epoch;	 /* of the last map that was seen to name the shard */
	uint64_t reported_index; /* membership index last reported to meta */
	uint64_t reported_ns;
	uint64_t transfer_ns; /* last hand-over asked */
	uint64_t fence_ns;
	struct leading leading;
	struct cleanliness clean;
	struct rebind rebind;
	bool follows;			/* it is led here, and its leader goes where the writers are */
	struct snapshot_told snapshots; /* in the ledger */
	struct keys_told keys;		/* likewise */
	/* residency_evacuates, as judged by this map and membership */
	uint64_t evacuates_epoch, evacuates_index, evacuates_term;
	bool evacuates;
};

enum pending_kind {
	PENDING_FREE = 0,
	PENDING_WRITE,
	PENDING_READ,
	PENDING_SCAN,
	PENDING_CHANGE,
	PENDING_JOIN,
	PENDING_ADOPT, /* `connection` is a node, `group` the shard that it leads, `request` its number */
	PENDING_INTERNAL
};
/* By what a read is known to be as fresh as it must be, when it is answered. */
enum read_by {
	READ_BY_ROUND = 0, /* ReadIndex was asked after it arrived */
	READ_BY_LEASE,	   /* our own, checked after the value was read */
	READ_BY_AGE,	   /* how old the state is at most is known, and told */
};
struct pending {
	enum pending_kind kind;
	uint32_t generation, next_free;
	uint64_t connection, request, group;
	uint64_t policy;
	struct place place; /* of the asker; judged again when the answer leaves */
	struct buffer *key; /* GET: the key; SCAN: the prefix */
	struct buffer *after;
	uint32_t limit;
	uint64_t session_index;
	uint64_t map_epoch;    /* the asker's */
	uint64_t judged_epoch; /* of the newest map by which the key was found to live here */
	uint64_t arrived_ns;   /* our clock */
	uint64_t fresh_ns;     /* READ_BY_AGE: what the state was known to be, before it was read */
	uint32_t staleness_max_ms;
	uint8_t level; /* enum read_level */
	uint8_t by;    /* enum read_by */
};

struct node {
	struct node_options options;
	struct node_io io;
	struct driver_owner owner;
	char data[512], cluster_name[CLUSTER_NAME_MAX];
	struct identity identity;
	struct identity_lock *lock;
	struct change init_change; /* waits for meta's first leader, which is this node */
	uint64_t init_connection, init_request;
	bool init_pending;
	bool running; /* admitted: journal, engines, meta's replica exist */
	uint64_t boot;
	struct journal *journal;
	struct engine_shared *engines;
	struct node_ledger *ledger; /* NULL: not running */
	struct buffer *certificate; /* our own, DER; NULL: none */
	struct liveness *liveness;
	struct liveness_effects *liveness_out;
	struct cluster_map *map; /* changed by meta's replica */
	struct cluster_map
		*bootstrap_map; /* from the answer to JOIN; used until meta's replica has caught up with it */
	bool bootstrap;
	struct cluster_map *directory_map; /* newer than the map in force: whom we listen to, no more */
	bool directory;
	uint64_t stranger_ns; /* since when somebody knocks whom the directory does not name; 0: nobody does */
	struct map_region own_region;
	struct site site; /* our own place with its region's tags */

	struct hosted **table; /* open addressing by group */
	size_t table_size, hosted_count;
	struct heap timers;
	struct heap_node **timer_nodes;
	struct list turns, later; /* of hosted: want a turn; want another one, when the loop has come round */
	struct group_effects *effects;
	struct codec_scratch *scratch;
	struct hosted *meta;

	struct pending *pending;
	uint32_t pending_free, pending_used, pending_count; /* used: slots that were ever taken */

	struct node_time time; /* of the event being handled */
	bool mover_wanted, resigning, failed;
	uint64_t addresses_ns; /* last told to meta */
	bool addresses_agreed; /* the map has said what is configured here, since this start */
	uint64_t mover_ns;     /* next run; UINT64_MAX: nothing unsettled */
	uint64_t tick_ns;
	bool leads_move; /* a lead here may have to go elsewhere without anything else changing: the tick looks */
	struct rtt_rows *rtt;
	uint64_t map_epoch_seen;
	uint64_t switches, switched_ns; /* when the map last said that keys live elsewhere; map_switches */
	uint64_t adopt_number;		/* of the last batch of keys sent */
	struct buffer *map_bytes;	/* encoded map of map_bytes_epoch */
	uint64_t map_bytes_epoch;
	uint64_t probe_ns; /* whether the journal's disk is still full is asked then; UINT64_MAX: it was not */
	bool disk_full;	   /* said in the log */
	struct residency_counters residency;
	struct node_erasure erasure;
	bool searching;	    /* a slice of a search of the disk is out */
	uint64_t search_ns; /* no other one before */
	uint64_t requests, replies, dropped;
};

/* node.c */
void node_enter(struct node *node, struct node_time time); /* the begin of every entry point */
void node_turn(struct node *node);			   /* and its end */
void node_map_noticed(struct node *node);
void node_journal_judged(struct node *node);
const struct cluster_map *node_map_in_force(const struct node *node);
struct bytes node_map_bytes(struct node *node); /* encoded, cached by epoch */

/* node_open.c */
enum status node_begin(struct node *node, const char **why) MUST; /* opens journal, engines, replicas */

/* node_hosted.c */
extern const struct driver_owner hosted_callbacks; /* their arg is the node */
bool hosted_grow(struct node *node) MUST;	   /* room for more replicas; false: no memory */
struct hosted *hosted_add(
	struct node *node, uint64_t group, uint64_t policy, struct driver *driver); /* NULL: no memory */
void hosted_options(struct node *node, uint64_t group, uint64_t replica, struct driver_options *options);
struct hosted *node_hosted(const struct node *node, uint64_t group);
enum status node_host(struct node *node, uint64_t group, uint64_t replica, bool witness, uint64_t policy,
	const struct membership *birth) MUST;
void node_unhost(struct node *node, struct hosted *hosted);
void node_touch(struct node *node, struct hosted *hosted); /* after any call of its driver */

/* node_pending.c */
struct pending *pending_take(struct node *node, enum pending_kind kind, uint64_t *token); /* NULL: full */
struct pending *pending_find(struct node *node, uint64_t token);
void pending_release(struct node *node, struct pending *pending);

/* gateway.c */
void gateway_request(
	struct node *node, uint64_t connection, const struct peer_identity *who, const struct message *message);
void gateway_proposed(struct node *node, struct hosted *hosted, uint64_t token, const struct driver_outcome *outcome);
void gateway_reply_begin(const struct node *node, struct message *reply, uint64_t request, enum status status);
void gateway_not_leader(struct node *node, uint64_t connection, uint64_t request, uint64_t leader_node);

/* gateway_read.c */
void gateway_read(struct node *node, struct hosted *hosted, uint64_t connection, const struct peer_identity *who,
	const struct message *message);
void gateway_readable(struct node *node, struct hosted *hosted, uint64_t token, enum status status, uint64_t leader);
void gateway_reply(struct node *node, uint64_t connection, uint64_t request, enum status status, const char *detail);
uint64_t gateway_leader_node(const struct node *node, const struct hosted *hosted, uint64_t leader_replica);

/* admin.c */
void admin_request(
	struct node *node, uint64_t connection, const struct peer_identity *who, const struct message *message);
void admin_join(struct node *node, uint64_t connection, const struct peer_identity *who, const struct message *message);
void admin_init_continue(struct node *node);
/* Answers NOT_LEADER, with who leads meta. */
void admin_not_leader(struct node *node, uint64_t connection, uint64_t request);
/* A change of an administrator or a node; *memory is the caller's to free when it is OK, NULL otherwise. */
enum status admin_change_decode(struct bytes body, struct change *change, void **memory) MUST;
/* Names those who do not answer, in a change that asks for it. */
void admin_name_away(const struct node *node, struct change *change);
/* Answers as if the change had been applied. */
void admin_answer_judged(struct node *node, uint64_t connection, uint64_t request, enum pending_kind kind,
	const struct meta_result *result);
void admin_from_peer(struct node *node, uint64_t from, const struct message *message);

/* plan.c */
void plan_request(
	struct node *node, uint64_t connection, const struct peer_identity *who, const struct message *message);

/* search.c */
void search_requested(
	struct node *node, uint64_t connection, const struct peer_identity *who, const struct message *message);

/* mover.c */
void mover_run(struct node *node);
/* Nothing behind this fence of ours lives here any more, by our map; the fence stays for who has an older one. */
bool mover_fence_moved(const struct node *node, const struct hosted *hosted, const struct command *fence);
void mover_hand_over(struct node *node, struct hosted *hosted); /* gives the lead to a live, caught-up voter */
void mover_send_change(struct node *node, struct change *change);

/* rebind.c */
bool rebind_run(struct node *node, struct hosted *hosted, const struct map_shard *shard); /* true: nothing to do */
void rebind_forget(struct hosted *hosted);
void rebind_applied(struct hosted *hosted, const struct command *command);
void rebind_adopt(struct node *node, uint64_t from, const struct message *message);
void rebind_adopted(struct node *node, uint64_t from, const struct message *message);
void rebind_proposed(struct node *node, const struct hosted *hosted, const struct pending *pending,
	const struct driver_outcome *outcome);

/* leading.c */
void leading_wrote_at(struct node *node, struct hosted *hosted, const struct place *place); /* of the client */
void leading_forwarded(struct node *node, struct hosted *hosted, uint16_t origin); /* low bits of a replica's id */
bool leading_noticed(struct node *node, struct hosted *hosted, const struct map_shard *shard);
struct leading_choice leading_wanted(struct node *node, struct hosted *hosted, const struct map_shard *shard);
void leading_offer(struct node *node, struct hosted *hosted, const struct map_shard *shard, uint64_t to);
/* Another member of a shard that is led here could take over at once: it votes, answers, is sound, and has nearly all
 * of the log. */
bool leading_able(const struct node *node, const struct hosted *hosted, const struct member *member);

/* residency.c */
/* May this message of group `hosted` go to / have come from the node `peer`? Counts what it refuses. */
bool residency_send(struct node *node, struct hosted *hosted, uint64_t peer, const struct message *message);
bool residency_receive(struct node *node, struct hosted *hosted, uint64_t peer, const struct message *message);
/* Keys whose binding changes, to a node of their new policy; received: as rebind.c judged them. */
bool residency_adopt_send(struct node *node, uint64_t policy, uint64_t peer);
bool residency_adopt_receive(struct node *node, uint64_t policy, enum status judged);
bool residency_hold(struct node *node, uint64_t policy, bool witness); /* a copy, or a witness, may be here */
bool residency_evacuates(const struct node *node, struct hosted *hosted);
/* The asker's place may read or write keys of this policy. *why: for people. */
bool residency_reader(struct node *node, const struct policy *policy, const struct place *place, bool write, char *why,
	size_t why_size);

#endif
