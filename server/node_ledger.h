/* server/node_ledger.h: what a node writes into its ledger (storage/ledger.h), and when. Part of the node; its thread.
 *
 * A replica's record is durable before its first byte can be on the disk; that it is gone is recorded after its files
 * are. What a crash left in between is reconciled at the start. Nothing of a read or a write waits for the ledger. */
#ifndef DOMICILE_SERVER_NODE_LEDGER_H
#define DOMICILE_SERVER_NODE_LEDGER_H

#include "base/status.h"
#include "wire/message.h"

struct node;
struct hosted;
struct node_ledger;

/* The last transfers of a replica that are in the ledger: what is sent again is not recorded again. */
enum { SNAPSHOTS_TOLD_MAX = 8 };
struct snapshot_told {
	uint32_t next;
	struct {
		uint64_t peer, index;
		bool sent;
	} at[SNAPSHOTS_TOLD_MAX];
};

/* Keys that go to, or come from, a shard of another policy; the last that are in the ledger. */
struct keys_moved {
	uint64_t operation, shard, policy, peer; /* shard, policy: the other ones */
	bool sent;
};
enum { KEYS_TOLD_MAX = 8 };
struct keys_told {
	uint32_t next;
	struct {
		struct keys_moved moved;
		uint64_t sequence; /* of the record; 0: free */
	} at[KEYS_TOLD_MAX];
};

/* With an identity, before engines and journal: opens it and records the start, durably. */
enum status node_ledger_begin(struct node *node, const char **why) MUST;
/* When the replicas that are on the disk are known: says so where the ledger says otherwise. */
enum status node_ledger_reconcile(struct node *node, const char **why) MUST;
void node_ledger_end(struct node *node);	       /* what is pending is written first */
uint64_t node_ledger_durable(const struct node *node); /* sequence of the last record that is; 0: none */

/* BUSY: its record is on its way to the disk, ask again. Meta's is waited for: that is once, when the node begins. */
enum status node_ledger_host(struct node *node, uint64_t group, uint64_t replica, bool witness, uint64_t policy) MUST;
void node_ledger_removed(struct node *node, uint64_t group, uint64_t replica);
/* Its bytes were searched for and not found. Nothing is recorded of what the ledger does not know as removed. */
void node_ledger_purged(struct node *node, uint64_t group, uint64_t replica);
/* What was deleted in a replica that stays is here for longer than was promised; it is gone. Each is recorded once. */
void node_ledger_overdue(struct node *node, uint64_t group, uint64_t replica);
void node_ledger_erased(struct node *node, uint64_t group, uint64_t replica);
/* Recorded as removed and not as purged, *at being the next to look at: from 0 until false. */
struct ledger_gone {
	uint64_t group, replica, policy, removed_us;
};
bool node_ledger_gone(const struct node *node, uint32_t *at, struct ledger_gone *gone);
/* erase_within of the newest rules that are recorded of a policy, which may be none's any more, and their epoch; 0:
 * none are. */
uint32_t node_ledger_erase_within_s(const struct node *node, uint64_t policy, uint64_t *epoch);
/* Nothing of this shard is here, and only `wanted` (0: none) may come: what was recorded for another is taken back.
 * True: something was. */
bool node_ledger_unborn(struct node *node, uint64_t group, uint64_t wanted);
/* The groups of replicas that are recorded as here, *at being the next to look at: from 0 until false. */
bool node_ledger_here(const struct node *node, uint32_t *at, uint64_t *group);
/* Of every message of a group that passed the doors: the first chunk of a snapshot is recorded, except of a witness's,
 * in which there is nothing. */
void node_ledger_snapshot(
	struct node *node, struct hosted *hosted, uint64_t peer, const struct message *message, bool sent);
/* Before the first of them leave, or are taken. BUSY: not durable yet, ask again. */
enum status node_ledger_keys(struct node *node, struct hosted *hosted, const struct keys_moved *moved) MUST;
void node_ledger_map(struct node *node); /* policies and regions that are new with the map in force */
void node_ledger_certificate(struct node *node, struct bytes certificate);
void node_ledger_tick(struct node *node);

/* An administrator's: a part of a file of the ledger; the heads that meta keeps. */
void node_ledger_requested(struct node *node, uint64_t connection, const struct message *message);

#endif
