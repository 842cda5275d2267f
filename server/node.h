/* server/node.h: a storage node without sockets, threads or clocks: everything domiciled does between its network and
 * its disk. server/server.c gives it libevent, TLS and threads; the simulator gives it virtual time, network and disk.
 * The same object code runs in both.
 *
 * A node owns: its identity (data directory), the journal, the engines of its replicas, the liveness machine, one group
 * driver per replica (server/group_driver.h), meta's replica with the cluster map, the gateway that answers clients,
 * and the mover that carries out what the map wants of the shards that this node leads.
 *
 * Residency is checked here at every door: what comes from a peer or client and what goes to one passes
 * server/residency.h with the ATTESTED place of the other side (its certificate's), never a claimed one. Each refusal
 * is counted by layer; `violation` counters must stay 0.
 *
 * One thread. Callbacks in node_io are called from within node_* functions and must not call back into the node. */
#ifndef DOMICILE_SERVER_NODE_H
#define DOMICILE_SERVER_NODE_H

#include "base/status.h"
#include "policy/map.h"
#include "wire/message.h"

struct node;
struct journal_flush;

/* Who is on the other side of a connection, from its certificate. */
enum peer_role { PEER_NODE = 1, PEER_CLIENT = 2, PEER_ADMIN = 3 };
struct peer_identity {
	enum peer_role role;
	struct place place;		/* a node's full place; a client's; none for an admin */
	char name[64];			/* of the client or admin */
	uint8_t issuer_spki_sha256[32]; /* the key that signed it; compared with meta's pins */
};

struct node_io {
	void *arg;
	/* To the node with this id, encoded and queued; dropped when there is no connection or its queue is full. */
	void (*send)(void *arg, uint64_t node, const struct message *message);
	/* Answer on a connection of a client, admin or joining node. */
	void (*reply)(void *arg, uint64_t connection, const struct message *message);
	/* Something waits in the journal: call node_flush_begin soon (after what else has arrived was handled). */
	void (*flush_wanted)(void *arg);
	/* The map has a new epoch: addresses, nodes, pins may have changed. */
	void (*map_changed)(void *arg, const struct cluster_map *map);
	/* The node can no longer keep its promises (disk failed, corrupt beyond repair): stop now, say why. */
	void (*fatal)(void *arg, enum status status, const char *what);
	/* Runs job(job_arg) where it may block, later calls done(done_arg) on this thread. NULL: the node runs it
	 * itself. */
	void (*block)(void *arg, void (*job)(void *), void (*done)(void *), void *job_arg);
	uint64_t (*random)(void *arg);
	/* Signs with the key of our certificate. False: it cannot. NULL: nobody signs here, no head is told. */
	bool (*sign)(void *arg, struct bytes text, uint8_t *signature, size_t capacity, size_t *size);
	/* CLOCK_BOOTTIME read at this very moment, ns: a read lease is checked with nothing older. */
	uint64_t (*now)(void *arg);
};

struct node_options {
	const char *data;    /* directory; created when missing */
	const char *log;     /* the file that the process's log goes to, to be searched with the rest; NULL: none */
	const char *cluster; /* name, from the configuration and the certificate */
	struct place place;  /* attested: the certificate's */
	uint8_t issuer_spki_sha256[32]; /* of our own certificate */
	int64_t certificate_ends_s;	/* since 1970; 0: not known */
	struct bytes certificate;	/* our own, DER; borrowed for the call; empty: none (the simulator) */
	struct address_list addresses;
	uint64_t cache_size, journal_segment_size, memory_size; /* bytes */
	uint64_t support_us, heartbeat_us;
	uint32_t drift_ppm;
	uint64_t now_ns, wall_us;
	bool join; /* configured with nodes to join: never waits for init */
};
/* CONFLICT: the directory is another node's, another cluster's, a copy, or in use. *why: a text, valid until the
 * next call on this thread. */
enum status node_open(
	const struct node_options *options, const struct node_io *io, struct node **node, const char **why) MUST;
void node_close(struct node *node); /* flushes engines; the journal's pending records are not waited for */

/* Everything below passes the time: CLOCK_BOOTTIME ns (never backwards) and the wall clock in us. */
struct node_time {
	uint64_t now_ns, wall_us;
};
/* A frame from the node with this id (0: not admitted yet), whose certificate says `who`. */
void node_received(struct node *node, uint64_t from, const struct peer_identity *who, const struct message *message,
	struct node_time time);
/* A request on a connection of a client, admin, or node without an id. Answered by io.reply, now or later. */
void node_requested(struct node *node, uint64_t connection, const struct peer_identity *who,
	const struct message *message, struct node_time time);
void node_connection_closed(struct node *node, uint64_t connection);
void node_peer_connected(struct node *node, uint64_t peer, struct node_time time); /* retransmits what was lost */
void node_expired(struct node *node, struct node_time time);
uint64_t node_deadline(const struct node *node);

/* The journal: one flush at a time; run on any thread between begin and end. */
bool node_flush_begin(struct node *node, struct journal_flush **flush);
void node_flush_end(struct node *node, struct journal_flush *flush, enum status status, struct node_time time);

/* What the owner of connections asks. */
const struct cluster_map *node_map(const struct node *node); /* epoch 0: no cluster yet */
uint64_t node_id(const struct node *node);		     /* 0: not admitted */
void node_hello(const struct node *node, struct message *message);
/* May this certificate's holder speak to us as that role under the map's pins? DENIED with a reason otherwise.
 * Before there is a map: only what the local cas.pem says (checked by TLS). */
enum status node_admits(const struct node *node, const struct peer_identity *who, const char **why) MUST;
/* The same, and counted. */
enum status node_admits_counted(struct node *node, const struct peer_identity *who, const char **why) MUST;
/* Our own certificate was renewed: who signed it, when it ends, itself. */
void node_set_certificate(
	struct node *node, const uint8_t issuer_spki_sha256[32], int64_t ends_s, struct bytes certificate);
/* The JOIN message this node should send to a node it was told to join; after the answer it has an id. */
void node_join_message(const struct node *node, struct message *message);
/* OK: admitted, the identity is stored. */
enum status node_joined(struct node *node, const struct message *reply, struct node_time time, const char **why) MUST;
/* Whom we listen to, and may dial: the nodes of the map in force, or of a newer one that was asked for. */
const struct cluster_map *node_directory(const struct node *node);
/* Somebody with a node's certificate is here whom the directory does not name. */
void node_stranger(struct node *node, struct node_time time);
/* Peers are known by the map, so meta's log does not come from whom ours does not name: it has none, since it stopped
 * when it was admitted, or strangers have knocked for a while, since it was away while all that it knows were replaced.
 * Then it asks others for theirs. */
bool node_unmapped(const struct node *node);
/* The map of whoever answered MAP_REQUEST: without one of its own to begin with, else as the directory alone, for rules
 * come through meta's log. NOT_FOUND: it does not name us, or not yet, or is no newer. */
enum status node_mapped(struct node *node, const struct message *reply, struct node_time time, const char **why) MUST;
/* Graceful stop: hand over leads; true when nothing is led here any more. */
bool node_resign(struct node *node, struct node_time time);

/* Residency counters, by layer; refused: a rule did its work. violation: a rule was found broken: stays 0. */
enum residency_layer {
	RESIDENCY_PLACEMENT,
	RESIDENCY_REPLICATION_SEND,
	RESIDENCY_REPLICATION_RECEIVE,
	RESIDENCY_STORAGE,
	RESIDENCY_TRANSIT,
	RESIDENCY_READER,
	RESIDENCY_WRITER,
	RESIDENCY_POLICY,      /* changes of rules */
	RESIDENCY_CERTIFICATE, /* who is not who the map says signs for its place */
	RESIDENCY_LAYERS,
};
struct residency_counters {
	uint64_t refused[RESIDENCY_LAYERS];
	uint64_t violation[RESIDENCY_LAYERS];
};
const char *residency_layer_name(enum residency_layer layer);
const struct residency_counters *node_residency(const struct node *node);

/* For the simulator and tests: invariants, digest, per-group view. */
void node_check(const struct node *node);
uint64_t node_digest(const struct node *node);
struct group;
const struct group *node_group(const struct node *node, uint64_t group);

#endif
