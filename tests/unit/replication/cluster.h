/* tests/unit/replication/cluster.h: a few nodes, each with one replica of one group, in virtual time, so that a unit
 * test reads as a story. The network is perfect (1 ms one way, in order) and disks take 100 us, until a test cuts a
 * link, stops a disk or asks for disorder. A crash loses what was not durable.
 *
 * Checked all along: group_check and liveness_check after every step; one leader a term; whatever is committed anywhere
 * is the same everywhere; commits come in order; a read's index covers all that was committed anywhere before it was
 * asked; whoever may read by a lease has all that was committed anywhere in its log, and so holds on it; what a rule
 * with a witness commits without saying that it is degraded is on the disks of all copies. */
#ifndef DOMICILE_TESTS_REPLICATION_CLUSTER_H
#define DOMICILE_TESTS_REPLICATION_CLUSTER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"
#include "policy/quorum.h"
#include "replication/group.h"

enum {
	NODES_MAX = 8,
	LOG_MAX = 4096,
	PENDING_MAX = 10240,
	TERMS_MAX = 4096,
	READS_KEPT_MAX = 512,
	HELD_MAX = 1024,
	NODE_BASE = 100, /* node id of replica r is 100 + r */
	MS = 1000000,
};

struct body { /* an entry and, of a membership, its body */
	struct entry entry;
	struct membership membership;
};

struct packet { /* a message with all it refers to */
	struct message message;
	uint32_t count, membership_count;
	struct entry *entries;
	struct membership *memberships;
	struct relay relays[RELAYS_MAX];
};

struct write {
	uint64_t ticket, term, vote, cut_from, first, last;
	struct body *bodies;
	bool reset;
	uint64_t reset_index, reset_term;
	struct membership reset_membership;
};

enum pending_kind { PENDING_PACKET, PENDING_PING, PENDING_WRITE, PENDING_SNAPSHOT_SENT };
struct pending {
	uint64_t at, sequence;
	enum pending_kind kind;
	unsigned from, node; /* positions */
	uint32_t life;	     /* of the node, for its own events */
	struct packet packet;
	struct write write;
	uint64_t index;
};

struct disk {
	uint64_t term, vote, base, base_term, last;
	struct membership membership; /* at base */
	struct body log[LOG_MAX];
};

struct node {
	bool up, disk_stopped;
	uint32_t life;
	uint64_t boot, clock_offset;
	void *memory, *liveness_memory;
	struct group *group;
	struct liveness *liveness;
	struct disk disk;
	struct body log[LOG_MAX]; /* in memory, by index */
	uint64_t committed;
	uint64_t applied_durable;	       /* by the engine */
	struct membership snapshot_membership; /* at `committed` */
	struct membership installed_membership;
	struct write held[HELD_MAX]; /* while the disk is stopped */
	unsigned held_count;
	struct message snapshot; /* to be installed */
	bool install;
	uint64_t changed_request, refused_request, sent;
	enum status changed, refused;
	unsigned changed_count, refused_count, truncated, roles, snapshots, timeout_now;
};

struct read_record {
	uint64_t request, floor, index;
	unsigned node;
	bool done, refused;
	enum status status;
};

struct cluster {
	unsigned count;
	uint64_t now, sequence, version, proposed, sent, election_us;
	struct node nodes[NODES_MAX];
	bool cut[NODES_MAX][NODES_MAX]; /* from, to */
	bool deaf_to_groups[NODES_MAX]; /* hears pings only */
	struct pending *pending;
	unsigned pending_count;
	uint64_t committed;  /* anywhere */
	uint64_t lent_reads; /* times that a follower was seen to hold a read lease while something was committed */
	struct entry history[LOG_MAX];
	uint64_t leaders[TERMS_MAX]; /* replica by term */
	struct read_record reads[READS_KEPT_MAX];
	unsigned read_count;
	uint64_t latency_us, disk_us;
	uint64_t far_us[NODES_MAX]; /* so much longer is every way to and from this node */
	struct prng prng;
	uint32_t loss_ppm, duplicate_ppm, jitter_us, disk_jitter_us;
	bool trace;
	uint32_t append_entries_max, append_window, inflight_max, short_appends;
	uint64_t entries_upto; /* not 0: no append carries an entry above it */
	struct group_effects effects;
	struct liveness_effects liveness_effects;
	/* A test may look at, or take away (false), every message. */
	bool (*filter)(struct cluster *cluster, const struct message *message);
};

static inline void step(struct cluster *cluster, unsigned at, struct group_event *event);
static inline uint64_t clock_of(const struct cluster *cluster, unsigned at)
{
	return cluster->now + cluster->nodes[at].clock_offset;
}

/* --- memberships -------------------------------------------------------------------------------------- */

static inline struct member member_of(uint64_t replica, uint8_t role)
{
	return (struct member){
		.replica = replica,
		.node = NODE_BASE + replica,
		.role_new = role,
		.region = (uint8_t)replica,
		.zone = (uint8_t)replica,
	};
}

/* roles: a letter a replica: v voter, l learner, w witness, - none. */
static inline struct membership membership_of(const char *roles)
{
	struct membership membership = { 0 };
	for (unsigned i = 0; roles[i]; i++) {
		uint8_t role = roles[i] == 'v' ? ROLE_VOTER : roles[i] == 'l' ? ROLE_LEARNER : ROLE_WITNESS;
		if (roles[i] != '-')
			membership.at[membership.count++] = member_of(i + 1, role);
	}
	return membership;
}

/* Two copies or more and a witness: all copies are asked for, and while one is lost the witness stands in. */
static inline struct membership witnessed_of(const char *roles)
{
	struct membership membership = membership_of(roles);
	for (unsigned i = 0; i < membership.count; i++)
		membership.rule_new.copies =
			(uint8_t)(membership.rule_new.copies + (membership.at[i].role_new == ROLE_VOTER));
	membership.rule_new.degrade = DEGRADE_MAY;
	return membership;
}

/* --- the wire ---------------------------------------------------------------------------------------------- */

static inline struct pending *pending_new(struct cluster *cluster, enum pending_kind kind, uint64_t at)
{
	assert_true(cluster->pending_count < PENDING_MAX);
	struct pending *pending = &cluster->pending[cluster->pending_count++];
	memset(pending, 0, sizeof(*pending));
	pending->kind = kind;
	pending->at = at;
	pending->sequence = ++cluster->sequence;
	return pending;
}

static inline void packet_free(struct packet *packet)
{
	free(packet->entries);
	free(packet->memberships);
}

static inline uint64_t delay(struct cluster *cluster, unsigned from, unsigned to)
{
	uint64_t us = cluster->latency_us + cluster->far_us[from] + cluster->far_us[to];
	if (cluster->jitter_us > 0)
		us += prng_below(&cluster->prng, cluster->jitter_us);
	return us * 1000;
}

static inline void packet_fill(struct cluster *cluster, struct node *node, struct packet *packet)
{
	struct message_append *append = &packet->message.append;
	if (packet->message.kind != MESSAGE_APPEND || append->last < append->first)
		return;
	if (cluster->short_appends > 0 && append->last - append->first + 1 > cluster->short_appends)
		append->last = append->first + cluster->short_appends - 1;
	if (cluster->entries_upto != 0 && append->last > cluster->entries_upto)
		append->last = append->first <= cluster->entries_upto ? cluster->entries_upto : append->first - 1;
	packet->count = (uint32_t)(append->last - append->first + 1);
	packet->entries = calloc(packet->count + 1, sizeof(*packet->entries));
	packet->memberships = calloc(packet->count + 1, sizeof(*packet->memberships));
	for (uint32_t i = 0; i < packet->count; i++) {
		const struct body *body = &node->log[append->first + i];
		assert_int_equal(body->entry.index, append->first + i);
		packet->entries[i] = body->entry;
		if (body->entry.kind == ENTRY_MEMBERSHIP)
			packet->memberships[packet->membership_count++] = body->membership;
	}
}

static inline void send_message(struct cluster *cluster, unsigned from, const struct message *message)
{
	unsigned to = (unsigned)message->to - 1;
	assert_true(to < NODES_MAX);
	cluster->sent++;
	cluster->nodes[from].sent++;
	if (message->kind == MESSAGE_TIMEOUT_NOW)
		cluster->nodes[from].timeout_now++;
	if (cluster->filter && !cluster->filter(cluster, message))
		return;
	if (to >= cluster->count || cluster->cut[from][to] || cluster->deaf_to_groups[to])
		return;
	unsigned copies = 1;
	if (prng_chance(&cluster->prng, cluster->loss_ppm))
		copies = 0;
	else if (prng_chance(&cluster->prng, cluster->duplicate_ppm))
		copies = 2;
	for (unsigned i = 0; i < copies; i++) {
		struct pending *pending = pending_new(cluster, PENDING_PACKET, cluster->now + delay(cluster, from, to));
		pending->from = from;
		pending->node = to;
		pending->packet.message = *message;
		packet_fill(cluster, &cluster->nodes[from], &pending->packet);
	}
}

/* --- disks ---------------------------------------------------------------------------------------------- */

static inline void write_free(struct write *write)
{
	free(write->bodies);
}

static inline void write_land(struct disk *disk, const struct write *write)
{
	if (write->reset) {
		disk->base = disk->last = write->reset_index;
		disk->base_term = write->reset_term;
		disk->membership = write->reset_membership;
	}
	disk->term = write->term;
	disk->vote = write->vote;
	if (write->cut_from != 0 && disk->last >= write->cut_from)
		disk->last = write->cut_from - 1;
	for (uint64_t index = write->first; index <= write->last; index++) {
		assert_int_equal(index, disk->last + 1);
		disk->log[index] = write->bodies[index - write->first];
		disk->last = index;
	}
}

static inline void write_schedule(struct cluster *cluster, unsigned at, struct write write)
{
	struct node *node = &cluster->nodes[at];
	if (node->disk_stopped) {
		assert_true(node->held_count < HELD_MAX);
		node->held[node->held_count++] = write;
		return;
	}
	uint64_t us = cluster->disk_us;
	if (cluster->disk_jitter_us > 0)
		us += prng_below(&cluster->prng, cluster->disk_jitter_us);
	uint64_t when = cluster->now + us * 1000;
	for (unsigned i = 0; i < cluster->pending_count; i++) { /* writes keep their order */
		const struct pending *other = &cluster->pending[i];
		if (other->kind == PENDING_WRITE && other->node == at && other->life == node->life && other->at > when)
			when = other->at;
	}
	struct pending *pending = pending_new(cluster, PENDING_WRITE, when);
	pending->node = at;
	pending->life = node->life;
	pending->write = write;
}

static inline void disk_stop(struct cluster *cluster, unsigned at)
{
	struct node *node = &cluster->nodes[at];
	node->disk_stopped = true;
	for (;;) { /* what is under way stops too, in its order */
		int first = -1;
		for (unsigned i = 0; i < cluster->pending_count; i++) {
			const struct pending *pending = &cluster->pending[i];
			if (pending->kind != PENDING_WRITE || pending->node != at || pending->life != node->life)
				continue;
			if (first < 0 || pending->write.ticket < cluster->pending[first].write.ticket)
				first = (int)i;
		}
		if (first < 0)
			return;
		assert_true(node->held_count < HELD_MAX);
		node->held[node->held_count++] = cluster->pending[first].write;
		cluster->pending[first] = cluster->pending[--cluster->pending_count];
	}
}

static inline void disk_resume(struct cluster *cluster, unsigned at)
{
	struct node *node = &cluster->nodes[at];
	node->disk_stopped = false;
	for (unsigned i = 0; i < node->held_count; i++)
		write_schedule(cluster, at, node->held[i]);
	node->held_count = 0;
}

/* --- effects ---------------------------------------------------------------------------------------------- */

static inline void keep(struct node *node, const struct entry *entry, const struct membership *membership)
{
	assert_true(entry->index < LOG_MAX);
	struct body *body = &node->log[entry->index];
	body->entry = *entry;
	if (membership)
		body->membership = *membership;
}

static inline void effect_write(
	struct cluster *cluster, unsigned at, const struct group_effect *effect, const struct group_event *event)
{
	struct node *node = &cluster->nodes[at];
	struct write write = {
		.ticket = effect->write.ticket,
		.term = effect->write.term,
		.vote = effect->write.vote,
		.cut_from = effect->write.cut_from,
		.first = effect->write.first,
		.last = effect->write.last,
	};
	if (event->kind == GROUP_PROPOSED)
		for (uint32_t i = 0; i < event->proposed.count; i++)
			keep(node, &event->proposed.entries[i], NULL);
	if (event->kind == GROUP_RECEIVED && event->received.message->kind == MESSAGE_APPEND) {
		const struct message_append *append = &event->received.message->append;
		uint32_t nth = 0;
		for (uint64_t index = append->first; index <= append->last; index++) {
			const struct entry *entry = &append->entries[index - append->first];
			const struct membership *membership = NULL;
			if (entry->kind == ENTRY_MEMBERSHIP)
				membership = &event->received.memberships[nth++];
			if (index >= write.first && index <= write.last)
				keep(node, entry, membership);
		}
	}
	if (event->kind == GROUP_INSTALLED) {
		write.reset = true;
		write.reset_index = event->installed.index;
		write.reset_term = event->installed.term;
		write.reset_membership = event->installed.membership;
	}
	if (write.first <= write.last) {
		size_t count = (size_t)(write.last - write.first + 1);
		write.bodies = calloc(count, sizeof(*write.bodies));
		memcpy(write.bodies, &node->log[write.first], count * sizeof(*write.bodies));
	}
	write_schedule(cluster, at, write);
}

/* Who says that nothing is degraded has both copies' word, also to the clients of a learner. A witness answers nobody.
 */
static inline void check_copies(struct cluster *cluster, unsigned at, uint64_t index)
{
	const struct membership *membership = group_membership(cluster->nodes[at].group);
	int own = membership_find(membership, at + 1);
	if (membership->joint || membership->rule_new.degrade == DEGRADE_NEVER || own < 0 ||
		membership->at[own].role_new == ROLE_WITNESS)
		return;
	for (unsigned i = 0; i < membership->count; i++) {
		const struct disk *disk = &cluster->nodes[membership->at[i].replica - 1].disk;
		if (membership->at[i].role_new != ROLE_VOTER || disk->base >= index)
			continue;
		if (disk->last < index || disk->log[index].entry.term != cluster->nodes[at].log[index].entry.term)
			fail_msg("replica %u says that %llu is not degraded, and replica %llu lacks it", at + 1,
				(unsigned long long)index, (unsigned long long)membership->at[i].replica);
	}
}

static inline void effect_commit(struct cluster *cluster, unsigned at, uint64_t first, uint64_t last, bool degraded)
{
	struct node *node = &cluster->nodes[at];
	assert_int_equal(first, node->committed + 1);
	for (uint64_t index = first; index <= last && !degraded; index++)
		check_copies(cluster, at, index);
	for (uint64_t index = first; index <= last; index++) {
		const struct body *body = &node->log[index];
		assert_int_equal(body->entry.index, index);
		if (cluster->history[index].index == 0)
			cluster->history[index] = body->entry;
		assert_int_equal(cluster->history[index].term, body->entry.term);
		assert_int_equal(cluster->history[index].version, body->entry.version);
		assert_int_equal(cluster->history[index].kind, body->entry.kind);
		if (body->entry.kind == ENTRY_MEMBERSHIP) {
			node->snapshot_membership = body->membership;
			node->snapshot_membership.index = index;
		}
	}
	node->committed = last;
	if (last > cluster->committed)
		cluster->committed = last;
}

static inline struct read_record *read_record(struct cluster *cluster, uint64_t request)
{
	assert_true(request >= 1);
	return &cluster->reads[(request - 1) % READS_KEPT_MAX];
}

static inline void effect_role(struct cluster *cluster, unsigned at, const struct group_effect *effect)
{
	cluster->nodes[at].roles++;
	if (effect->role.role != GROUP_LEADER)
		return;
	assert_true(effect->role.term < TERMS_MAX);
	uint64_t *leader = &cluster->leaders[effect->role.term];
	if (*leader == 0)
		*leader = at + 1;
	assert_int_equal(*leader, at + 1);
}

static inline void effect_snapshot(struct cluster *cluster, unsigned at, uint64_t to)
{
	struct node *node = &cluster->nodes[at];
	node->snapshots++;
	struct message message = {
		.kind = MESSAGE_SNAPSHOT,
		.group = 7,
		.from = at + 1,
		.to = to,
		.term = group_status(node->group, clock_of(cluster, at)).term,
	};
	message.snapshot.index = node->committed;
	message.snapshot.term = cluster->history[node->committed].term;
	message.snapshot.membership = node->snapshot_membership;
	send_message(cluster, at, &message);
	struct pending *pending = pending_new(cluster, PENDING_SNAPSHOT_SENT, cluster->now + 5 * MS);
	pending->node = at;
	pending->life = node->life;
	pending->from = (unsigned)to - 1;
	pending->index = node->committed;
}

static inline void carry_out(
	struct cluster *cluster, unsigned at, const struct group_effect *effect, const struct group_event *event)
{
	struct node *node = &cluster->nodes[at];
	struct read_record *read;
	if (cluster->trace) {
		char text[256];
		group_effect_describe(effect, text, sizeof(text));
		printf("%8.3f  r%u  %s\n", (double)cluster->now / MS, at + 1, text);
	}
	switch (effect->kind) {
	case GROUP_OWN_ENTRY:
		keep(node, &effect->own.entry, effect->own.membership);
		break;
	case GROUP_WRITE:
		effect_write(cluster, at, effect, event);
		break;
	case GROUP_SEND:
		send_message(cluster, at, effect->send);
		break;
	case GROUP_COMMIT:
		effect_commit(cluster, at, effect->commit.first, effect->commit.last, effect->commit.degraded);
		break;
	case GROUP_READABLE:
		read = read_record(cluster, effect->readable.request);
		assert_false(read->done);
		assert_true(effect->readable.index >= read->floor); /* nothing stale */
		read->done = true;
		read->index = effect->readable.index;
		break;
	case GROUP_REFUSE:
		node->refused = effect->refuse.status;
		node->refused_request = effect->refuse.request;
		node->refused_count++;
		if (effect->refuse.what == GROUP_READ) {
			read = read_record(cluster, effect->refuse.request);
			assert_false(read->done);
			read->done = read->refused = true;
			read->status = effect->refuse.status;
		}
		break;
	case GROUP_SNAPSHOT:
		effect_snapshot(cluster, at, effect->snapshot.to);
		break;
	case GROUP_INSTALL:
		node->install = true;
		node->snapshot = *event->received.message;
		break;
	case GROUP_ROLE:
		effect_role(cluster, at, effect);
		break;
	case GROUP_MEMBERSHIP:
		break;
	case GROUP_CHANGED:
		node->changed_request = effect->changed.request;
		node->changed = effect->changed.status;
		node->changed_count++;
		break;
	case GROUP_TRUNCATED:
		node->truncated++;
		break;
	}
}

static inline void install(struct cluster *cluster, unsigned at)
{
	struct node *node = &cluster->nodes[at];
	node->install = false;
	struct group_event event = { .kind = GROUP_INSTALLED };
	event.installed.index = node->snapshot.snapshot.index;
	event.installed.term = node->snapshot.snapshot.term;
	event.installed.membership = node->snapshot.snapshot.membership;
	node->committed = event.installed.index;
	node->snapshot_membership = event.installed.membership;
	node->applied_durable = event.installed.index;
	node->installed_membership = event.installed.membership;
	step(cluster, at, &event);
}

/* The exposure rule, docs/leases.md. */
static inline void check_exposure(struct cluster *cluster)
{
	for (unsigned i = 0; i < cluster->count; i++) {
		struct node *node = &cluster->nodes[i];
		uint64_t now = clock_of(cluster, i);
		if (!node->up || node->install || !group_may_read(node->group, now))
			continue;
		struct group_status status = group_status(node->group, now);
		if (status.last < cluster->committed) {
			print_message("replica %u may read and lacks %llu, which was committed\n", i + 1,
				(unsigned long long)cluster->committed);
			fail();
		}
		if (cluster->committed >= status.first)
			assert_int_equal(group_term_of(node->group, cluster->committed),
				cluster->history[cluster->committed].term);
		cluster->lent_reads += status.role != GROUP_LEADER;
	}
}

static inline void step(struct cluster *cluster, unsigned at, struct group_event *event)
{
	struct node *node = &cluster->nodes[at];
	if (!node->up)
		return;
	event->now_ns = clock_of(cluster, at);
	event->wall_us = cluster->now / 1000;
	struct group_effects *effects = &cluster->effects;
	uint64_t before = node->committed;
	group_step(node->group, event, effects);
	group_check(node->group);
	for (uint32_t i = 0; i < effects->count; i++)
		carry_out(cluster, at, &effects->at[i], event);
	if (node->committed > before && event->kind != GROUP_INSTALLED) {
		struct group_event applied = { .kind = GROUP_APPLIED };
		applied.applied.index = node->committed;
		step(cluster, at, &applied);
	}
	if (node->install)
		install(cluster, at);
	check_exposure(cluster);
}

static inline void liveness_carry_out(struct cluster *cluster, unsigned at)
{
	struct node *node = &cluster->nodes[at];
	liveness_check(node->liveness);
	uint32_t count = cluster->liveness_effects.count;
	if (count == 0)
		return;
	struct liveness_effect *effects = malloc(count * sizeof(*effects));
	memcpy(effects, cluster->liveness_effects.at, count * sizeof(*effects));
	cluster->liveness_effects.count = 0;
	for (uint32_t i = 0; i < count; i++) {
		const struct liveness_effect *effect = &effects[i];
		if (effect->kind == LIVENESS_CHANGED) {
			struct group_event event = { .kind = GROUP_PEER };
			event.peer.node = effect->node;
			event.peer.change = effect->change;
			step(cluster, at, &event);
			continue;
		}
		unsigned to = (unsigned)(effect->node - NODE_BASE) - 1;
		if (to >= cluster->count || cluster->cut[at][to] || prng_chance(&cluster->prng, cluster->loss_ppm))
			continue;
		struct pending *pending = pending_new(cluster, PENDING_PING, cluster->now + delay(cluster, at, to));
		pending->from = at;
		pending->node = to;
		pending->packet.message = effect->message;
		if (effect->message.kind == MESSAGE_PONG && effect->message.pong.relay_count > 0)
			memcpy(pending->packet.relays, effect->message.pong.relays,
				effect->message.pong.relay_count * sizeof(struct relay));
	}
	free(effects);
}

/* --- nodes ---------------------------------------------------------------------------------------------------- */

static inline void node_start(struct cluster *cluster, unsigned at, bool fresh)
{
	struct node *node = &cluster->nodes[at];
	node->life++;
	node->up = true;
	node->boot = prng_next(&cluster->prng) | 1;
	memset(node->liveness_memory, 0xa5, liveness_size());
	struct liveness_config liveness = {
		.node = NODE_BASE + at + 1,
		.boot = node->boot,
		.seed = prng_next(&cluster->prng),
		.started_ns = clock_of(cluster, at),
		.heartbeat_us = 100000,
		.support_us = 500000,
		.support_max_us = 500000,
		.drift_ppm = 10000,
		.fresh = fresh,
	};
	node->liveness = liveness_init(node->liveness_memory, &liveness);
	for (unsigned i = 0; i < cluster->count; i++)
		if (i != at)
			assert_true(liveness_watch(node->liveness, NODE_BASE + i + 1, clock_of(cluster, at)));
	struct group_config config = {
		.group = 7,
		.replica = at + 1,
		.node = NODE_BASE + at + 1,
		.seed = prng_next(&cluster->prng),
		.liveness = node->liveness,
		.inflight_max = cluster->inflight_max,
		.append_entries_max = cluster->append_entries_max,
		.append_window = cluster->append_window,
		.election_us = cluster->election_us,
		.retransmit_us = 50000,
		.drift_ppm = 10000,
	};
	assert_true(group_size(&config) <= 10240);
	memset(node->memory, 0xa5, group_size(&config));
	node->group = group_init(node->memory, &config);
	struct disk *disk = &node->disk;
	/* A snapshot was put in place, and the crash came before the journal knew: the engine's word counts. */
	uint64_t applied = node->applied_durable;
	if (applied > disk->base &&
		(applied > disk->last || disk->log[applied].entry.term != cluster->history[applied].term)) {
		disk->base = disk->last = applied;
		disk->base_term = cluster->history[applied].term;
		disk->membership = node->installed_membership;
	}
	memcpy(node->log, disk->log, sizeof(node->log));
	struct group_event event = { .kind = GROUP_RESTORED };
	event.restored.term = disk->term;
	event.restored.vote = disk->vote;
	event.restored.snapshot_index = disk->base;
	event.restored.snapshot_term = disk->base_term;
	event.restored.membership = disk->membership;
	event.restored.applied = node->applied_durable;
	uint64_t count = disk->last - disk->base;
	struct entry *entries = calloc(count + 1, sizeof(*entries));
	struct membership *memberships = calloc(count + 1, sizeof(*memberships));
	node->committed = node->applied_durable;
	node->snapshot_membership = disk->membership;
	for (uint64_t i = 0; i < count; i++) {
		const struct body *body = &disk->log[disk->base + 1 + i];
		entries[i] = body->entry;
		if (body->entry.kind == ENTRY_MEMBERSHIP)
			memberships[event.restored.membership_count++] = body->membership;
		if (body->entry.kind == ENTRY_MEMBERSHIP && body->entry.index <= node->committed)
			node->snapshot_membership = body->membership;
	}
	event.restored.entries = entries;
	event.restored.count = (uint32_t)count;
	event.restored.memberships = memberships;
	step(cluster, at, &event);
	free(entries);
	free(memberships);
}

static inline void node_crash(struct cluster *cluster, unsigned at)
{
	struct node *node = &cluster->nodes[at];
	node->up = false;
	node->life++;
	node->install = false;
	for (unsigned i = 0; i < node->held_count; i++)
		write_free(&node->held[i]);
	node->held_count = 0;
	node->disk_stopped = false;
}

static inline void node_restart(struct cluster *cluster, unsigned at)
{
	node_start(cluster, at, false);
}

/* --- time ------------------------------------------------------------------------------------------------------ */

static inline void pending_run(struct cluster *cluster, struct pending *pending)
{
	struct node *node = &cluster->nodes[pending->node];
	struct group_event event = { 0 };
	switch (pending->kind) {
	case PENDING_PACKET:
		if (!node->up)
			break;
		event.kind = GROUP_RECEIVED;
		if (pending->packet.message.kind == MESSAGE_APPEND)
			pending->packet.message.append.entries = pending->packet.entries;
		event.received.message = &pending->packet.message;
		event.received.memberships = pending->packet.memberships;
		event.received.membership_count = pending->packet.membership_count;
		step(cluster, pending->node, &event);
		break;
	case PENDING_PING:
		if (!node->up)
			break;
		if (pending->packet.message.kind == MESSAGE_PONG)
			pending->packet.message.pong.relays = pending->packet.relays;
		liveness_received(node->liveness, NODE_BASE + pending->from + 1, &pending->packet.message,
			clock_of(cluster, pending->node), 1, &cluster->liveness_effects);
		liveness_carry_out(cluster, pending->node);
		break;
	case PENDING_WRITE:
		if (!node->up || node->life != pending->life)
			break;
		write_land(&node->disk, &pending->write);
		event.kind = GROUP_DURABLE;
		event.durable.ticket = pending->write.ticket;
		step(cluster, pending->node, &event);
		break;
	case PENDING_SNAPSHOT_SENT:
		if (node->up && node->life == pending->life)
			group_snapshot_sent(node->group, pending->from + 1, pending->index, true);
		break;
	}
	packet_free(&pending->packet);
	write_free(&pending->write);
}

static inline uint64_t node_deadline(const struct cluster *cluster, unsigned at)
{
	const struct node *node = &cluster->nodes[at];
	if (!node->up)
		return UINT64_MAX;
	uint64_t group = group_deadline(node->group), liveness = liveness_deadline(node->liveness);
	uint64_t deadline = group < liveness ? group : liveness;
	if (deadline == UINT64_MAX)
		return deadline;
	return deadline <= node->clock_offset ? 0 : deadline - node->clock_offset;
}

static inline void node_expire(struct cluster *cluster, unsigned at)
{
	struct node *node = &cluster->nodes[at];
	uint64_t now = clock_of(cluster, at);
	if (liveness_deadline(node->liveness) <= now) {
		liveness_expired(node->liveness, now, 1, &cluster->liveness_effects);
		liveness_carry_out(cluster, at);
	}
	if (group_deadline(node->group) <= now) {
		struct group_event event = { .kind = GROUP_EXPIRED };
		step(cluster, at, &event);
	}
}

/* The next thing that happens, not later than `until`. False: nothing does. */
static inline bool run_one(struct cluster *cluster, uint64_t until)
{
	int next = -1, expires = -1;
	uint64_t at = until;
	for (unsigned i = 0; i < cluster->pending_count; i++) {
		const struct pending *pending = &cluster->pending[i];
		bool sooner = pending->at < at || (next < 0 && pending->at <= at);
		if (sooner || (next >= 0 && pending->at == at && pending->sequence < cluster->pending[next].sequence)) {
			next = (int)i;
			at = pending->at;
		}
	}
	for (unsigned i = 0; i < cluster->count; i++) {
		uint64_t deadline = node_deadline(cluster, i);
		if (deadline < at || (next < 0 && expires < 0 && deadline <= at)) {
			at = deadline;
			expires = (int)i;
		}
	}
	if (next < 0 && expires < 0)
		return false;
	if (at > cluster->now)
		cluster->now = at;
	if (expires >= 0) {
		node_expire(cluster, (unsigned)expires);
		return true;
	}
	struct pending pending = cluster->pending[next];
	cluster->pending[next] = cluster->pending[--cluster->pending_count];
	pending_run(cluster, &pending);
	return true;
}

static inline void run_ms(struct cluster *cluster, uint64_t ms)
{
	uint64_t until = cluster->now + ms * MS;
	for (unsigned n = 0; run_one(cluster, until); n++)
		assert_true(n < 400000); /* nobody spins */
	cluster->now = until;
}

/* --- stories ------------------------------------------------------------------------------------------------ */

static inline struct group_status status_of(struct cluster *cluster, unsigned at)
{
	return group_status(cluster->nodes[at].group, clock_of(cluster, at));
}

static inline bool leads(struct cluster *cluster, unsigned at)
{
	return cluster->nodes[at].up && status_of(cluster, at).role == GROUP_LEADER;
}

/* Position of the leader of the highest term; -1: nobody leads. */
static inline int leader_of(struct cluster *cluster)
{
	int leader = -1;
	uint64_t term = 0;
	for (unsigned i = 0; i < cluster->count; i++) {
		if (!leads(cluster, i) || status_of(cluster, i).term <= term)
			continue;
		leader = (int)i;
		term = status_of(cluster, i).term;
	}
	return leader;
}

static inline unsigned await_leader(struct cluster *cluster, uint64_t ms)
{
	for (uint64_t i = 0; i < ms; i += 5) {
		int leader = leader_of(cluster);
		if (leader >= 0 && status_of(cluster, (unsigned)leader).lead_until_ns > 0)
			return (unsigned)leader;
		run_ms(cluster, 5);
	}
	fail_msg("no leader in %u ms", (unsigned)ms);
	return 0;
}

/* origin: position of the replica whose client waits; -1: nobody's. */
static inline void propose_of(struct cluster *cluster, unsigned at, unsigned count, int origin)
{
	struct entry entries[64] = { 0 };
	assert_true(count <= 64);
	for (unsigned i = 0; i < count; i++) {
		entries[i].kind = ENTRY_COMMAND;
		entries[i].key_hash = ++cluster->proposed;
		entries[i].origin = (uint16_t)(origin + 1);
	}
	struct group_event event = { .kind = GROUP_PROPOSED };
	event.proposed.entries = entries;
	event.proposed.count = count;
	step(cluster, at, &event);
}

static inline void propose(struct cluster *cluster, unsigned at, unsigned count)
{
	propose_of(cluster, at, count, -1);
}

static inline bool may_read(struct cluster *cluster, unsigned at)
{
	return cluster->nodes[at].up && group_may_read(cluster->nodes[at].group, clock_of(cluster, at));
}

static inline struct read_record *ask_read(struct cluster *cluster, unsigned at)
{
	struct read_record *read = read_record(cluster, ++cluster->read_count);
	*read = (struct read_record){ .request = cluster->read_count, .floor = cluster->committed, .node = at };
	struct group_event event = { .kind = GROUP_READ };
	event.read.request = read->request;
	step(cluster, at, &event);
	return read;
}

static inline void change(struct cluster *cluster, unsigned at, const struct membership *membership, uint64_t request)
{
	struct group_event event = { .kind = GROUP_CHANGE };
	event.change.membership = membership;
	event.change.request = request;
	step(cluster, at, &event);
}

static inline void transfer(struct cluster *cluster, unsigned at, unsigned to)
{
	struct group_event event = { .kind = GROUP_TRANSFER };
	event.transfer.to = to + 1;
	step(cluster, at, &event);
}

static inline void cut_off(struct cluster *cluster, unsigned at, bool cut)
{
	for (unsigned i = 0; i < cluster->count; i++)
		if (i != at)
			cluster->cut[at][i] = cluster->cut[i][at] = cut;
}

static inline void heal(struct cluster *cluster)
{
	memset(cluster->cut, 0, sizeof(cluster->cut));
}

static inline struct cluster *cluster_new(unsigned count, const struct membership *membership, uint64_t seed)
{
	assert_true(count <= NODES_MAX);
	struct cluster *cluster = calloc(1, sizeof(*cluster));
	assert_non_null(cluster);
	cluster->pending = calloc(PENDING_MAX, sizeof(*cluster->pending));
	assert_non_null(cluster->pending);
	cluster->count = count;
	cluster->now = 1000 * MS;
	cluster->latency_us = 1000;
	cluster->disk_us = 100;
	cluster->election_us = 500000;
	cluster->append_entries_max = 64;
	cluster->append_window = 4;
	cluster->inflight_max = 256;
	prng_seed(&cluster->prng, seed);
	for (unsigned i = 0; i < count; i++) {
		struct node *node = &cluster->nodes[i];
		node->clock_offset = prng_below(&cluster->prng, 1000) * MS;
		node->memory = malloc(10240);
		node->liveness_memory = malloc(liveness_size());
		bool born_in = false;
		for (unsigned m = 0; m < membership->count; m++)
			born_in = born_in || membership->at[m].replica == i + 1;
		if (born_in)
			node->disk.membership = *membership;
	}
	return cluster;
}

static inline void cluster_start(struct cluster *cluster)
{
	for (unsigned i = 0; i < cluster->count; i++)
		node_start(cluster, i, true);
}

static inline struct cluster *cluster_begin(const char *roles, uint64_t seed)
{
	struct membership membership = membership_of(roles);
	struct cluster *cluster = cluster_new((unsigned)strlen(roles), &membership, seed);
	cluster_start(cluster);
	return cluster;
}

/* Of two copies and a witness, "vvw", and who is to come: nodes with '-'. */
static inline struct cluster *witnessed_begin(const char *roles, uint64_t seed)
{
	struct membership membership = witnessed_of(roles);
	struct cluster *cluster = cluster_new((unsigned)strlen(roles), &membership, seed);
	cluster_start(cluster);
	return cluster;
}

static inline void cluster_free(struct cluster *cluster)
{
	for (unsigned i = 0; i < cluster->pending_count; i++) {
		packet_free(&cluster->pending[i].packet);
		write_free(&cluster->pending[i].write);
	}
	for (unsigned i = 0; i < cluster->count; i++) {
		node_crash(cluster, i);
		free(cluster->nodes[i].memory);
		free(cluster->nodes[i].liveness_memory);
	}
	free(cluster->pending);
	free(cluster);
}

#endif
