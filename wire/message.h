/* wire/message.h: every message that crosses a connection, as plain structs. The codec (wire/codec.h) and
 * the replication core share them, so neither includes the other.
 *
 * Ownership: all pointers and bytes are borrowed. A decoded message borrows from the frame it was decoded
 * from (and from the scratch array given to the decoder); an outgoing one borrows from its sender until the
 * call that takes it returns.
 *
 * Ids: a node id and a replica id are given by meta, start at 1, and are never reused. Group 1 is meta;
 * a shard's group has the shard's id. Indexes of a log start at 1; 0 is "before the first entry".
 * Times: *_ns are CLOCK_BOOTTIME of the node that wrote them and mean nothing to any other; *_us durations. */
#ifndef DOMICILE_WIRE_MESSAGE_H
#define DOMICILE_WIRE_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/membership.h"
#include "base/status.h"

enum {
	KEY_SIZE_MAX = 4096,		    /* bytes */
	VALUE_SIZE_MAX = 1 << 20,	    /* bytes */
	APPEND_ENTRIES_MAX = 1024,	    /* entries in one append */
	SCAN_ROWS_MAX = 1000,		    /* rows in one scan reply */
	SCAN_BYTES_MAX = 1 << 20,	    /* keys and values in one scan reply (one row may exceed it alone) */
	DETAIL_SIZE_MAX = 1 << 20,	    /* bytes of a reply's detail: text for people, or JSON */
	PLACE_SIZE_MAX = 256,		    /* a place's path with its NUL */
	ADDRESS_SIZE_MAX = 256,		    /* host:port with its NUL */
	ADDRESSES_SIZE_MAX = 4096,	    /* bytes of a JOIN's packed addresses */
	VERB_SIZE_MAX = 64,		    /* bytes of an ADMIN's verb */
	ADMIN_SIZE_MAX = 3 << 20,	    /* bytes of an ADMIN's body */
	SNAPSHOT_CHUNK_SIZE_MAX = 16 << 20, /* bytes of data in one chunk */
	RELAYS_MAX = 64,		    /* third nodes in one PONG */
};

#define META_GROUP ((uint64_t)1)
enum { PROTOCOL_VERSION = 7 }; /* in HELLO; an unknown newer one is refused by name */

enum entry_kind {
	ENTRY_NOOP = 1,	      /* a leader's first entry in its term */
	ENTRY_COMMAND = 2,    /* body: wire/command.h (a shard) or a meta command (meta) */
	ENTRY_MEMBERSHIP = 3, /* body: struct membership, packed */
};

/* An entry as the core knows it; the driver keeps the body. 48 bytes. */
struct entry {
	uint64_t index, term;
	uint64_t version;  /* HLC: 52 bits of microseconds since 1970, 12 bits of counter; increases along the log */
	uint64_t key_hash; /* hash64 of the key; 0 when the entry is about no single key */
	uint32_t size;	   /* of the body, bytes */
	uint16_t origin;   /* replica id (low 16 bits) of the replica whose client waits; 0: none */
	uint8_t kind;	   /* enum entry_kind */
};

enum message_kind {
	/* groups: replica to replica */
	MESSAGE_APPEND = 1,
	MESSAGE_APPEND_REPLY = 2,
	MESSAGE_VOTE = 3,
	MESSAGE_VOTE_REPLY = 4,
	MESSAGE_TIMEOUT_NOW = 5,
	MESSAGE_READ_INDEX = 6,
	MESSAGE_READ_INDEX_REPLY = 7,
	MESSAGE_SNAPSHOT = 8,	    /* all chunks are here: may I install? (made by the receiver's driver) */
	MESSAGE_SNAPSHOT_CHUNK = 9, /* driver to driver */
	MESSAGE_SNAPSHOT_ACK = 10,  /* driver to driver: flow control and outcome */
	MESSAGE_REPAIR = 11,	    /* driver to driver: send me again the bodies of first..last */
	MESSAGE_REPAIR_REPLY = 12,
	MESSAGE_GRANT = 13, /* leader to responder: a read lease, or its end */
	MESSAGE_GRANT_REPLY = 14,
	MESSAGE_NOTE = 15,	    /* acceptor to origin: what is durable here */
	MESSAGE_FORWARD = 16,	    /* driver to driver: origin to leader, writes of its clients */
	MESSAGE_FORWARD_REPLY = 17, /* driver to driver: none of these was proposed */
	/* nodes */
	MESSAGE_HELLO = 20, /* first on every connection, both ways */
	MESSAGE_PING = 21,
	MESSAGE_PONG = 22,
	MESSAGE_MAP_REQUEST = 23,
	MESSAGE_MAP_REPLY = 24,
	MESSAGE_JOIN = 25, /* a node without an id asks to be admitted */
	/* nodes: keys whose binding changes */
	MESSAGE_ADOPT = 26,	  /* leader of the shard that they leave, to the leader of the one that they come to */
	MESSAGE_ADOPT_REPLY = 27, /* they are there, committed and applied; or why not */
	/* clients */
	MESSAGE_REQUEST = 40, /* an operation on keys */
	MESSAGE_REPLY = 41,   /* answers REQUEST, ADMIN and JOIN */
	MESSAGE_ADMIN = 42,   /* an operation on the cluster or on one node */
};

/* What follows is asked of and answered by the group core. */
struct message_append {
	uint64_t prev_index, prev_term;
	uint64_t commit;
	uint64_t first, last;	     /* first..last follow; last < first: none. The core sets these; */
	const struct entry *entries; /* the driver fills in entries and bodies before it encodes */
	const struct bytes *bodies;
	uint64_t probe; /* echoed: tells the leader which of its sends was answered */
};
struct message_append_reply {
	uint64_t match;	 /* durable and equal to the leader's up to here; when rejected: a hint, try here */
	uint64_t commit; /* what the follower knows as committed */
	uint64_t probe;
	uint64_t support_epoch; /* the epoch of node-level support to which this voter bound itself; 0: not bound */
	uint64_t incarnation;	/* of this replica's log in memory */
	bool rejected;
};
struct message_vote {
	uint64_t last_index, last_term; /* the candidate's durable log */
	bool pre;
	bool transfer; /* the old leader asked for this election and has given up reading */
};
struct message_vote_reply {
	bool pre, granted;
};
struct message_read_index {
	uint64_t nonce; /* of the asker, never reused; answered in kind */
};
struct message_read_index_reply {
	uint64_t nonce, index;
	bool refused; /* not leader, or not yet: ask again */
};
/* docs/leases.md, G1. */
struct message_grant {
	uint64_t number;      /* rises with each grant and revocation of a term */
	uint64_t roster;      /* index of the membership in force at the leader */
	uint64_t floor;	      /* reads need the log verified up to here */
	uint64_t incarnation; /* of the responder's log, for which this is */
	uint64_t lent_epoch;  /* of the time that the leader's node lends the responder's; 0: a revocation */
	uint8_t count;
	uint64_t support_epochs[REPLICAS_MAX]; /* by position in that membership; 0: not bound to the leader */
};
struct message_grant_reply {
	uint64_t number; /* taken, or refused because of another incarnation: this one */
	uint64_t incarnation;
	bool refused;
};
struct message_note {
	uint64_t match; /* my log is that of this term's leader up to here, durably */
};
struct message_forward { /* entries: kind, size and key hash count */
	uint64_t boot;	 /* of the origin's process */
	uint64_t first;	 /* number of the first, by that process; the others follow */
	uint32_t count;
	const struct entry *entries;
	const struct bytes *bodies;
};
struct message_forward_reply {
	uint64_t first;
	uint32_t count;
	uint32_t status; /* why nothing was proposed */
	uint64_t leader; /* replica id, with NOT_LEADER; 0: unknown */
};
struct message_snapshot {
	uint64_t index, term;
	struct membership membership;
};
struct message_snapshot_chunk {
	uint64_t transfer; /* chosen by the sender, one per attempt */
	uint64_t index, term;
	uint64_t sequence;    /* 0-based chunk number */
	uint64_t count, hash; /* in the last chunk: totals */
	bool last;
	struct membership membership; /* only in chunk 0 */
	struct bytes data;
};
struct message_snapshot_ack {
	uint64_t transfer, sequence; /* chunk `sequence` was taken */
	uint32_t status;	     /* not OK: the transfer is off */
	bool installed;
};
struct message_repair {
	uint64_t first, last;
};

/* Node-level support (replication/liveness.h). A ping asks for support and names what it has heard. */
struct message_ping {
	uint64_t sent_ns;    /* sender's clock; echoed */
	uint64_t boot;	     /* sender's start: a new random number each */
	uint64_t heard_boot; /* the peer's boot as last heard, 0: none */
	uint64_t map_epoch;  /* newest map the sender has applied */
	uint32_t rtt_us;     /* sender's smoothed RTT to the receiver, 0: unknown */
};
/* How long a third node still supports the ponging one (docs/leases.md, N3). */
struct relay {
	uint64_t node, epoch;
	uint64_t remaining_us; /* on the clock of the ponging node, from the pong on */
};
struct message_pong {
	uint64_t echo_ns;
	uint64_t boot;		/* of the ponging node */
	uint64_t echo_boot;	/* of the ping */
	uint64_t support_epoch; /* epoch of the support granted to the pinging node */
	uint64_t support_us;	/* duration granted, from echo_ns on the holder's clock; 0: refused */
	uint64_t map_epoch;
	uint64_t lent_epoch;  /* of the time lent to the pinging node's responders; 0: none */
	uint64_t lent_us;     /* duration, as support_us */
	uint32_t relay_count; /* 0 unless time is lent */
	const struct relay *relays;
};
struct message_hello {
	uint32_t version;    /* protocol version the sender speaks */
	uint8_t cluster[16]; /* cluster id; zeros: not known yet */
	uint64_t node;	     /* node id; 0: a client, or a node not admitted */
	uint64_t boot;
	uint64_t map_epoch;
	struct bytes place; /* what the sender believes its place is; the certificate decides */
};
struct message_map_request {
	uint64_t epoch; /* I have this one; 0: none */
};
struct message_map_reply {
	uint64_t epoch;
	struct bytes map; /* cluster_map_encode; empty: yours is current */
};
struct message_join {
	struct bytes place;
	uint64_t incarnation;	/* random, made with the data directory */
	struct bytes addresses; /* packed: policy/map.h address list */
};

struct message_adopt {
	uint64_t operation;	/* that moves them */
	uint64_t source, shard; /* from, to */
	uint64_t map_epoch;	/* of the sender's map */
	uint64_t version;	/* no row of the source has a higher one */
	uint64_t number;	/* echoed */
	bool records;		/* of sessions, as an INHERIT command carries them; else rows, as an ADOPT does */
	bool evicted;		/* records: there were others */
	struct bytes rows;
};
struct message_adopt_reply {
	uint64_t source, number;
	uint64_t leader_node; /* with NOT_LEADER; 0: unknown */
	uint32_t status;
};

enum operation {
	OPERATION_GET = 1,
	OPERATION_PUT = 2,
	OPERATION_DELETE = 3,
	OPERATION_CAS = 4,
	OPERATION_SCAN = 5,
	OPERATION_PING = 6, /* measures RTT, answered by any node at once */
};
enum read_level { READ_STRONG = 1, READ_SESSION = 2, READ_BOUNDED = 3, READ_NEAREST = 4 };
struct message_request {
	uint8_t operation;     /* enum operation */
	uint8_t level;	       /* enum read_level, for reads */
	bool retry;	       /* this (client, sequence) may have been sent before */
	uint64_t map_epoch;    /* of the map by which the client chose policy and shard */
	uint64_t policy;       /* policy id */
	uint64_t policy_epoch; /* of the map that last changed that policy, as the client knows it; 0: not said */
	uint64_t shard;
	uint64_t client;	/* random id of the client instance */
	uint64_t sequence;	/* of the write, from 1; 0 for reads */
	uint64_t low_water;	/* all sequences below are answered for; never asked again */
	uint64_t version;	/* CAS: expected; 0: absent */
	uint64_t session_index; /* reads: wait until applied >= this */
	uint32_t staleness_max_ms;
	uint32_t limit;	     /* SCAN: rows */
	uint32_t timeout_ms; /* what is left of the caller's patience */
	struct bytes key;    /* or SCAN's prefix */
	struct bytes after;  /* SCAN: resume behind this key */
	struct bytes value;
};
struct reply_row {
	struct bytes key, value;
	uint64_t version;
};
struct message_reply {
	uint32_t status;      /* enum status */
	uint64_t version;     /* of the written or read value; of the current one on CONFLICT */
	uint64_t index;	      /* log index the answer includes: for sessions */
	uint64_t leader_node; /* with NOT_LEADER and with success; 0: unknown */
	uint64_t map_epoch;   /* newest the server has: the client refetches when it is newer */
	uint32_t staleness_ms;
	bool more;	/* SCAN: rows are left */
	bool duplicate; /* the write had been applied before; this is the first answer */
	bool degraded;	/* the write is perhaps on one copy and the witness only (docs/witness.md) */
	uint32_t row_count;
	const struct reply_row *rows; /* GET: one row; SCAN: many */
	struct bytes detail;	      /* text for people; ADMIN: JSON */
};
struct message_admin {
	struct bytes verb; /* "change", "node.status", "shard.transfer", "cluster.init", ... */
	struct bytes body; /* "change": a packed change (policy/change.h); else as the verb says */
	uint32_t timeout_ms;
};

struct message {
	uint8_t kind;	   /* enum message_kind */
	uint64_t group;	   /* groups' messages only; else 0 */
	uint64_t from, to; /* replica ids, groups' messages only */
	uint64_t term;	   /* groups' messages only */
	uint64_t request;  /* request id chosen by the asking side of a connection; echoed in REPLY */
	union {
		struct message_append append;
		struct message_append_reply append_reply;
		struct message_vote vote;
		struct message_vote_reply vote_reply;
		struct message_read_index read_index;
		struct message_read_index_reply read_index_reply;
		struct message_grant grant;
		struct message_grant_reply grant_reply;
		struct message_note note;
		struct message_forward forward;
		struct message_forward_reply forward_reply;
		struct message_snapshot snapshot;
		struct message_snapshot_chunk chunk;
		struct message_snapshot_ack snapshot_ack;
		struct message_repair repair;
		struct message_append repair_reply; /* entries and bodies */
		struct message_ping ping;
		struct message_pong pong;
		struct message_hello hello;
		struct message_map_request map_request;
		struct message_map_reply map_reply;
		struct message_join join;
		struct message_adopt adopt;
		struct message_adopt_reply adopt_reply;
		struct message_request ask;
		struct message_reply reply;
		struct message_admin admin;
	};
};

#endif
