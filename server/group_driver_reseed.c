/* server/group_driver_reseed.c: an engine that gives back something else than was written, found by a read, a flush, a
 * compaction or at the start. Nothing of it is believed any more; another state comes from the shard's leader, as a
 * snapshot, and takes its place (group_driver_install.c). Meanwhile
 *
 *   - the journal is what it was: term, vote and log are whole, so the replica votes, takes entries and acknowledges
 *     them as ever, and is never shorter than what it said;
 *   - it applies nothing, so a snapshot must reach what it had applied (after a start: where its log begins, for the
 *     journal has all above). It reads nothing, and does not campaign; if it leads, it hands over: it can still
 *     replicate and commit, and so bring a successor up to date, however many tries that takes.
 *
 * Asking is a MESSAGE_REPAIR for entry 0, to every other member with data, again and again. It says by itself that the
 * asker is damaged: nobody offers it the lead, which it would not take, and its log is as long as anybody's. When all
 * of them say so for ROUNDS_MAX rounds there is no whole copy: the node stops with that reason, since nobody can know
 * what was in them. A witness has no data to be seeded with: it stops. */
#include "server/group_driver_internal.h"

#include <assert.h>

#include "base/log.h"
#include "policy/quorum.h"

enum { ROUNDS_MAX = 10, HEARD_ROUNDS = 4, TRANSFER_ROUNDS = 4 };

static uint64_t round_ns(const struct driver *driver)
{
	return 2 * driver->options.retransmit_us * 1000;
}

static const struct membership *members_of(const struct driver *driver)
{
	return group_membership(driver->group);
}

static void begin(struct driver *driver, const char *what)
{
	if (driver->options.witness) {
		driver_fail(driver, STATUS_CORRUPT, what);
		return;
	}
	log_warn("a replica's engine is damaged: its state is fetched from its leader",
		LOG_H("group", driver->options.group), LOG_S("found", what));
	driver->reseed = (struct reseeding){ .running = true, .ask_ns = driver->now_ns };
	driver->flush.restore_due = driver->flush_due = false;
	group_set_damaged(driver->group, true);
	driver_snapshots_drop(driver, true);
	driver_waiters_lost(driver, 0);
	driver_forwards_lost(driver);
	driver_rounds_refuse(driver);
	driver_held_look_again(driver);
}

void driver_engine_failed(struct driver *driver, enum status status, const char *what)
{
	assert(status != STATUS_OK);
	if (status != STATUS_CORRUPT || !engine_damaged(driver->engine))
		driver_fail(driver, status, what);
	else if (!driver->reseed.running && !driver->failed)
		begin(driver, what);
}

/* Found by somebody who only read. Not from within a step. */
void reseed_notice(struct driver *driver)
{
	assert(!driver->stepping);
	if (driver->started && engine_damaged(driver->engine))
		driver_engine_failed(driver, STATUS_CORRUPT, "a read");
}

/* The replica is opened without its engine: as the label says. behind: the engine can be read, but what the journal was
 * cut for is not in it. */
enum status reseed_open(struct driver *driver, bool behind)
{
	if (driver->engine && !behind && !engine_damaged(driver->engine))
		return STATUS_CORRUPT; /* whole, and yet not what it should be */
	if (driver->engine)
		engine_close(driver->engine);
	driver->engine = NULL;
	state_forget(driver);
	enum status status = label_load(driver);
	if (status != STATUS_OK)
		return status;
	int own = membership_find(&driver->membership, driver->options.replica); /* its own word is lost */
	if (driver->options.witness || (own >= 0 && member_is_witness(&driver->membership.at[own])))
		return STATUS_CORRUPT;
	log_warn("a replica's engine is damaged: its state is fetched from its leader",
		LOG_H("group", driver->options.group),
		LOG_S("found", behind ? "it is older than the journal's begin" : "at the start"));
	driver->reseed.running = true;
	return engine_open_damaged(driver->options.engines, driver->options.replica, &driver->engine);
}

/* Another state is in the damaged one's place. The group hears of it once no step is being made. */
void reseed_ended(struct driver *driver)
{
	if (!driver->reseed.running)
		return;
	driver->reseed = (struct reseeding){ .mended = true };
	log_info("a replica's damaged engine is replaced by its leader's state", LOG_H("group", driver->options.group),
		LOG_U("index", driver->applied));
}

void reseed_settle(struct driver *driver)
{
	assert(!driver->stepping);
	if (!driver->reseed.mended || driver->failed)
		return;
	driver->reseed.mended = false;
	group_set_damaged(driver->group, false);
}

/* --- asking --------------------------------------------------------------------------------------- */

bool driver_peer_damaged(const struct driver *driver, uint64_t replica, uint64_t now_ns)
{
	for (unsigned at = 0; at < REPLICAS_MAX; at++) {
		const struct damaged_peer *peer = &driver->damaged_peers[at];
		if (peer->replica == replica)
			return now_ns - peer->at_ns <= HEARD_ROUNDS * round_ns(driver);
	}
	return false;
}

static bool all_damaged(const struct driver *driver, uint64_t now_ns)
{
	const struct membership *membership = members_of(driver);
	for (unsigned i = 0; i < membership->count; i++) {
		uint64_t replica = membership->at[i].replica;
		if (replica == driver->options.replica || member_is_witness(&membership->at[i]))
			continue;
		if (!driver_peer_damaged(driver, replica, now_ns))
			return false;
	}
	return membership->count > 0;
}

static void hand_over(struct driver *driver, struct node_time time)
{
	const struct membership *membership = members_of(driver);
	unsigned first = driver->reseed.rounds / TRANSFER_ROUNDS;
	for (unsigned i = 0; i < membership->count; i++) {
		uint64_t to = membership->at[(first + i) % membership->count].replica;
		struct group_progress progress;
		if (to == driver->options.replica || driver_peer_damaged(driver, to, time.now_ns) ||
			membership->at[(first + i) % membership->count].role_new != ROLE_VOTER)
			continue;
		if (!group_progress(driver->group, to, &progress) || !progress.active || progress.snapshotting)
			continue;
		driver_transfer(driver, to, time);
		return;
	}
}

static void ask(struct driver *driver, struct node_time time)
{
	const struct membership *membership = members_of(driver);
	struct message message = { .kind = MESSAGE_REPAIR,
		.group = driver->options.group,
		.from = driver->options.replica,
		.term = group_status(driver->group, time.now_ns).term };
	for (unsigned i = 0; i < membership->count; i++) {
		if (membership->at[i].replica == driver->options.replica || member_is_witness(&membership->at[i]))
			continue;
		message.to = membership->at[i].replica;
		driver_send(driver, message.to, &message);
	}
	if (driver->leader == 0 || driver->leader == driver->options.replica ||
		membership_find(membership, driver->leader) >= 0)
		return;
	message.to = driver->leader; /* of a membership that this replica has not heard of yet */
	driver_send(driver, message.to, &message);
}

void driver_reseed_expired(struct driver *driver, struct node_time time)
{
	struct reseeding *reseed = &driver->reseed;
	if (driver->failed || !reseed->running || reseed->ask_ns > time.now_ns)
		return;
	reseed->all_damaged = all_damaged(driver, time.now_ns) ? reseed->all_damaged + 1 : 0;
	if (reseed->all_damaged == ROUNDS_MAX) {
		driver_fail(driver, STATUS_CORRUPT, "every copy of a shard is damaged: there is none to mend it from");
		return;
	}
	reseed->ask_ns = time.now_ns + round_ns(driver);
	ask(driver, time);
	if (driver->leads && reseed->rounds % TRANSFER_ROUNDS == 0)
		hand_over(driver, time);
	reseed->rounds++;
}

uint64_t driver_reseed_deadline(const struct driver *driver)
{
	return driver->reseed.running ? driver->reseed.ask_ns : UINT64_MAX;
}

/* --- being asked ---------------------------------------------------------------------------------- */

static void heard(struct driver *driver, uint64_t replica, uint64_t now_ns)
{
	struct damaged_peer *peers = driver->damaged_peers;
	unsigned oldest = 0;
	for (unsigned at = 0; at < REPLICAS_MAX; at++) {
		if (peers[at].replica == replica) {
			oldest = at;
			break;
		}
		if (peers[at].at_ns < peers[oldest].at_ns)
			oldest = at;
	}
	peers[oldest] = (struct damaged_peer){ replica, now_ns };
}

void driver_reseed_asked(struct driver *driver, uint64_t replica, struct node_time time)
{
	heard(driver, replica, time.now_ns);
	if (!driver->reseed.running && driver->leads && !driver_snapshot_runs(driver, replica))
		driver_snapshot_start(driver, replica, time);
}
