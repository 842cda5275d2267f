/* replication/liveness.c: see replication/liveness.h.
 *
 * A table of peers. Towards each we are two things at once, and the two never mix:
 *   holder   (our pings, its pongs): `held_*`, on our clock from the instant of the ping that was answered;
 *   grantor  (its pings, our pongs): `granted_*` and `lent_*`, on our clock from the instant of our answer.
 * As holder we also keep what the peer lent us (`borrowed_*`) and what it relayed of third nodes.
 * Epochs that we give out come from one counter of this node, so that a peer forgotten and met again never gets an old
 * one. A peer is forgotten only when nobody watches it and what it was promised is over. */
#include "replication/liveness.h"

#include <assert.h>
#include <string.h>

#include "base/prng.h"

#define NEVER UINT64_MAX

enum {
	PING_BACKOFF_US = 1000000, /* an unreachable peer is pinged at least once a second */
	RTT_WINDOW = 8,		   /* round trips of which the shortest is believed */
};

struct peer {
	uint64_t node; /* 0: free */
	uint32_t watches;
	uint32_t rtts_us[RTT_WINDOW]; /* the last ones, in turn; 0: none yet */
	uint32_t rtt_at;	      /* where the next one goes */
	uint64_t boot, boot_before;   /* 0: never heard */
	uint64_t heard_ns;
	uint64_t ping_at_ns;
	uint64_t ping_interval_us;
	uint64_t held_epoch, held_until_ns;
	uint64_t held_boot;	    /* of the process that gave held_epoch: epochs of two do not compare */
	uint64_t granted_epoch;	    /* 0: none in force */
	uint64_t granted_until_ns;  /* the last instant ever promised */
	uint32_t lends;		    /* groups that want time lent */
	uint64_t lent_epoch;	    /* 0: none in force */
	uint64_t lent_until_ns;	    /* the last instant ever lent */
	uint64_t lent_ended_ns;	    /* likewise, under epochs that are in force no more */
	bool lent_ended_due;	    /* that instant is to be told */
	uint64_t withheld_until_ns; /* nothing is lent before */
	uint64_t borrowed_epoch, borrowed_until_ns;
	uint64_t borrowed_boot; /* of the process that lent */
	uint32_t relay_count;
	struct relayed {
		uint64_t node, epoch, until_ns;
	} relayed[RELAYS_MAX];
	bool heard, held, reachable; /* reachable, held: as last told */
	bool down_due;		     /* withdrawn; to be told */
};

struct liveness {
	struct liveness_config config;
	struct prng prng;
	uint64_t epoch;			 /* last one given out */
	struct relay relays[RELAYS_MAX]; /* of the last pong */
	uint32_t count;			 /* slots used, free ones among them */
	struct peer peers[LIVENESS_PEERS_MAX];
};

size_t liveness_size(void)
{
	return sizeof(struct liveness);
}

struct liveness *liveness_init(void *memory, const struct liveness_config *config)
{
	assert(memory);
	assert(config->node != 0);
	assert(config->heartbeat_us > 0);
	assert(config->support_us > config->heartbeat_us);
	assert(config->support_max_us >= config->support_us);
	assert(config->drift_ppm < 1000000);
	struct liveness *liveness = memory;
	memset(liveness, 0, sizeof(*liveness));
	liveness->config = *config;
	liveness->epoch = config->boot;
	prng_seed(&liveness->prng, config->seed);
	return liveness;
}

static uint64_t longer_ns(const struct liveness *liveness, uint64_t us)
{
	return us * 1000 + us * liveness->config.drift_ppm / 1000 + 1;
}

static uint64_t shorter_ns(const struct liveness *liveness, uint64_t us)
{
	uint64_t drift = us * liveness->config.drift_ppm / 1000 + 1;
	return us * 1000 > drift ? us * 1000 - drift : 0;
}

uint64_t liveness_elections_from_ns(const struct liveness *liveness)
{
	if (liveness->config.fresh)
		return liveness->config.started_ns;
	return liveness->config.started_ns + longer_ns(liveness, liveness->config.support_max_us);
}

/* --- the table -------------------------------------------------------------------------------------------- */

static struct peer *peer_find(const struct liveness *liveness, uint64_t node)
{
	for (uint32_t i = 0; i < liveness->count; i++)
		if (liveness->peers[i].node == node)
			return (struct peer *)&liveness->peers[i];
	return NULL;
}

static bool forgettable(const struct peer *peer, uint64_t now_ns)
{
	return peer->node == 0 || (peer->watches == 0 && peer->lends == 0 && peer->granted_until_ns <= now_ns &&
					  peer->lent_until_ns <= now_ns);
}

static struct peer *peer_add(struct liveness *liveness, uint64_t node, uint64_t now_ns)
{
	assert(node != 0);
	assert(!peer_find(liveness, node));
	struct peer *peer = NULL;
	for (uint32_t i = 0; i < liveness->count && !peer; i++)
		if (forgettable(&liveness->peers[i], now_ns))
			peer = &liveness->peers[i];
	if (!peer) {
		if (liveness->count == LIVENESS_PEERS_MAX)
			return NULL;
		peer = &liveness->peers[liveness->count++];
	}
	memset(peer, 0, sizeof(*peer));
	peer->node = node;
	peer->ping_at_ns = NEVER;
	peer->ping_interval_us = liveness->config.heartbeat_us;
	return peer;
}

bool liveness_watch(struct liveness *liveness, uint64_t node, uint64_t now_ns)
{
	assert(node != liveness->config.node);
	struct peer *peer = peer_find(liveness, node);
	if (!peer)
		peer = peer_add(liveness, node, now_ns);
	if (!peer)
		return false;
	if (peer->watches++ == 0) {
		peer->ping_at_ns = now_ns;
		peer->ping_interval_us = liveness->config.heartbeat_us;
	}
	return true;
}

void liveness_unwatch(struct liveness *liveness, uint64_t node)
{
	struct peer *peer = peer_find(liveness, node);
	assert(peer);
	assert(peer->watches > 0);
	if (--peer->watches == 0)
		peer->ping_at_ns = NEVER;
}

/* --- effects ------------------------------------------------------------------------------------------------ */

static struct liveness_effect *effect_new(struct liveness_effects *out, enum liveness_effect_kind kind, uint64_t node)
{
	assert(out->count < LIVENESS_EFFECTS_MAX);
	struct liveness_effect *effect = &out->at[out->count++];
	memset(effect, 0, sizeof(*effect));
	effect->kind = kind;
	effect->node = node;
	return effect;
}

static void changed(struct liveness_effects *out, const struct peer *peer, enum liveness_change change)
{
	effect_new(out, LIVENESS_CHANGED, peer->node)->change = change;
}

static bool reachable(const struct liveness *liveness, const struct peer *peer, uint64_t now_ns)
{
	return peer->heard && now_ns - peer->heard_ns < liveness->config.support_us * 1000;
}

/* What was lent is renewed no more; it is over at its own time. */
static void lent_end(struct peer *peer)
{
	if (peer->lent_epoch == 0)
		return;
	peer->lent_epoch = 0;
	peer->lent_ended_ns = peer->lent_until_ns;
	peer->lent_ended_due = true;
}

/* What has run out by now, on either side; told once, as one change. */
static void lapse(struct liveness *liveness, struct peer *peer, uint64_t now_ns, struct liveness_effects *out)
{
	bool down = peer->down_due;
	if (peer->granted_epoch != 0 && peer->granted_until_ns <= now_ns) {
		peer->granted_epoch = 0;
		down = true;
	}
	if (peer->lent_epoch != 0 && peer->lent_until_ns <= now_ns)
		lent_end(peer);
	if (peer->lent_ended_due && peer->lent_ended_ns <= now_ns) {
		peer->lent_ended_due = false;
		down = true;
	}
	if (peer->held && peer->held_until_ns <= now_ns) {
		peer->held = false;
		down = true;
	}
	if (peer->reachable && !reachable(liveness, peer, now_ns)) {
		peer->reachable = false;
		down = true;
	}
	peer->down_due = false;
	if (down)
		changed(out, peer, LIVENESS_DOWN);
}

/* --- pings and pongs --------------------------------------------------------------------------------------- */

/* False: a message of a process that is gone, or may be: one that is not the process heard last is believed when it
 * answers a ping that left after that was last heard. Whom nobody watches is not pinged, and believed as it comes. */
static bool heard(struct liveness *liveness, struct peer *peer, uint64_t boot, uint64_t echo_ns, uint64_t now_ns,
	struct liveness_effects *out)
{
	if (boot == 0 || boot == peer->boot_before)
		return false;
	bool other = peer->boot != 0 && peer->boot != boot;
	if (other && peer->watches > 0 && echo_ns <= peer->heard_ns) {
		peer->ping_at_ns = now_ns;
		return false;
	}
	if (peer->boot != 0 && peer->boot != boot) {
		peer->boot_before = peer->boot;
		/* What hung on the process before is over, but not before its time: the next answer is of a new epoch.
		 */
		peer->granted_epoch = 0;
		lent_end(peer);
		/* What it lent was a leader's that leads no more. */
		peer->borrowed_epoch = 0;
		peer->relay_count = 0;
		changed(out, peer, LIVENESS_RESTARTED);
	}
	peer->boot = boot;
	peer->heard = true;
	peer->heard_ns = now_ns;
	/* Back after a silence: it shall not wait for its turn. */
	if (peer->watches > 0 && peer->ping_interval_us > liveness->config.heartbeat_us)
		peer->ping_at_ns = now_ns;
	peer->ping_interval_us = liveness->config.heartbeat_us;
	return true;
}

/* Heard again, or supported again, or under another epoch. */
static void rise(
	struct liveness *liveness, struct peer *peer, bool supported, uint64_t now_ns, struct liveness_effects *out)
{
	bool up = supported;
	if (!peer->reachable && reachable(liveness, peer, now_ns)) {
		peer->reachable = true;
		up = true;
	}
	if (up)
		changed(out, peer, LIVENESS_UP);
}

static uint64_t epoch_next(struct liveness *liveness)
{
	if (++liveness->epoch == 0)
		liveness->epoch = 1;
	return liveness->epoch;
}

static void relay_add(struct liveness *liveness, const struct peer *peer, uint64_t now_ns, uint32_t *count)
{
	if (peer->node == 0 || !peer->held || peer->held_until_ns <= now_ns || *count == RELAYS_MAX)
		return;
	liveness->relays[(*count)++] = (struct relay){
		.node = peer->node, .epoch = peer->held_epoch, .remaining_us = (peer->held_until_ns - now_ns) / 1000
	};
}

/* How long who supports us still does: the asker's own word first, which is all that a group of three needs. */
static uint32_t relays_make(struct liveness *liveness, const struct peer *asker, uint64_t now_ns)
{
	uint32_t count = 0;
	relay_add(liveness, asker, now_ns, &count);
	for (uint32_t i = 0; i < liveness->count; i++)
		if (&liveness->peers[i] != asker)
			relay_add(liveness, &liveness->peers[i], now_ns, &count);
	return count;
}

/* N2. True: a new epoch, which groups can grant under. */
static bool lend(struct liveness *liveness, struct peer *peer, uint64_t now_ns, struct message_pong *pong)
{
	if (peer->lends == 0 || now_ns < peer->withheld_until_ns)
		return false;
	bool begins = peer->lent_epoch == 0;
	if (begins)
		peer->lent_epoch = epoch_next(liveness);
	uint64_t until = now_ns + longer_ns(liveness, liveness->config.support_us);
	if (until > peer->lent_until_ns)
		peer->lent_until_ns = until;
	pong->lent_epoch = peer->lent_epoch;
	pong->lent_us = liveness->config.support_us;
	pong->relay_count = relays_make(liveness, peer, now_ns);
	pong->relays = liveness->relays;
	return begins;
}

/* To a process that is not known yet to be the peer's: that we are here, and nothing is promised. It may doubt us in
 * the same way, after late words of who we were before; if neither answered, both would ask for ever. */
static void acknowledge(const struct liveness *liveness, const struct peer *peer, const struct message_ping *ping,
	uint64_t map_epoch, struct liveness_effects *out)
{
	struct message *pong = &effect_new(out, LIVENESS_SEND, peer->node)->message;
	pong->kind = MESSAGE_PONG;
	pong->pong.echo_ns = ping->sent_ns;
	pong->pong.boot = liveness->config.boot;
	pong->pong.echo_boot = ping->boot;
	pong->pong.map_epoch = map_epoch;
}

static void pinged(struct liveness *liveness, struct peer *peer, const struct message_ping *ping, uint64_t now_ns,
	uint64_t map_epoch, struct liveness_effects *out)
{
	if (!heard(liveness, peer, ping->boot, 0, now_ns, out)) {
		if (ping->boot != 0 && ping->boot != peer->boot_before)
			acknowledge(liveness, peer, ping, map_epoch, out);
		return;
	}
	if (peer->granted_epoch == 0)
		peer->granted_epoch = epoch_next(liveness);
	uint64_t until = now_ns + longer_ns(liveness, liveness->config.support_us);
	if (until > peer->granted_until_ns)
		peer->granted_until_ns = until;
	struct message *pong = &effect_new(out, LIVENESS_SEND, peer->node)->message;
	pong->kind = MESSAGE_PONG;
	pong->pong.echo_ns = ping->sent_ns;
	pong->pong.boot = liveness->config.boot;
	pong->pong.echo_boot = ping->boot;
	pong->pong.support_epoch = peer->granted_epoch;
	pong->pong.support_us = liveness->config.support_us;
	pong->pong.map_epoch = map_epoch;
	bool lent = lend(liveness, peer, now_ns, &pong->pong);
	rise(liveness, peer, lent, now_ns, out);
}

/* Support under an epoch older than the one known, of the same process: it was overtaken. */
static bool overtaken(const struct peer *peer, const struct message_pong *pong)
{
	return pong->boot == peer->held_boot && peer->held_epoch != 0 &&
	       (int64_t)(pong->support_epoch - peer->held_epoch) < 0;
}

static void relay_keep(struct peer *peer, const struct relayed *relayed)
{
	struct relayed *to = NULL;
	for (uint32_t i = 0; i < peer->relay_count && !to; i++)
		if (peer->relayed[i].node == relayed->node)
			to = &peer->relayed[i];
	if (to && to->epoch == relayed->epoch && to->until_ns >= relayed->until_ns)
		return;
	if (!to && peer->relay_count < RELAYS_MAX)
		to = &peer->relayed[peer->relay_count++];
	for (uint32_t i = 0; i < peer->relay_count && !to; i++)
		if (peer->relayed[i].until_ns < relayed->until_ns)
			to = &peer->relayed[i];
	if (to)
		*to = *relayed;
}

/* As holder: what the pong lends, from the instant of our ping on. An older epoch never comes back, and with a new one
 * all that was relayed under the old is forgotten: what is relayed may outlive a group's leader, what it lent does not,
 * so the two count only together. */
static void borrow(struct liveness *liveness, struct peer *peer, const struct message_pong *pong)
{
	const uint64_t most_us = liveness->config.support_max_us;
	bool known = peer->borrowed_epoch != 0 && peer->borrowed_boot == pong->boot;
	if (pong->lent_epoch == 0 || (known && (int64_t)(pong->lent_epoch - peer->borrowed_epoch) < 0))
		return;
	uint64_t until = pong->echo_ns + shorter_ns(liveness, pong->lent_us < most_us ? pong->lent_us : most_us);
	if (!known || peer->borrowed_epoch != pong->lent_epoch) {
		peer->borrowed_until_ns = 0;
		peer->relay_count = 0;
	}
	peer->borrowed_until_ns = until > peer->borrowed_until_ns ? until : peer->borrowed_until_ns;
	peer->borrowed_epoch = pong->lent_epoch;
	peer->borrowed_boot = pong->boot;
	for (uint32_t i = 0; i < pong->relay_count; i++) {
		const struct relay *relay = &pong->relays[i];
		uint64_t remaining_us = relay->remaining_us < most_us ? relay->remaining_us : most_us;
		struct relayed relayed = { relay->node, relay->epoch,
			pong->echo_ns + shorter_ns(liveness, remaining_us) };
		relay_keep(peer, &relayed);
	}
}

/* What holds a round trip up (a queue, a busy node, the connection's own handshake, a partition whose pings are
 * answered when it heals, many at once) only ever makes it longer: the shortest of the last few is the way itself. A
 * mean would remember a partition of seconds for many rounds, and elections wait by it. */
static void rtt_keep(struct peer *peer, uint64_t rtt_us)
{
	peer->rtts_us[peer->rtt_at] = (uint32_t)(rtt_us < 1 ? 1 : rtt_us > UINT32_MAX ? UINT32_MAX : rtt_us);
	peer->rtt_at = (peer->rtt_at + 1) % RTT_WINDOW;
}

static uint32_t rtt_of(const struct peer *peer)
{
	uint32_t least = 0;
	for (unsigned i = 0; i < RTT_WINDOW; i++)
		if (peer->rtts_us[i] != 0 && (least == 0 || peer->rtts_us[i] < least))
			least = peer->rtts_us[i];
	return least;
}

static void ponged(struct liveness *liveness, struct peer *peer, const struct message_pong *pong, uint64_t now_ns,
	struct liveness_effects *out)
{
	if (pong->echo_boot != liveness->config.boot || pong->echo_ns > now_ns)
		return;
	if (!heard(liveness, peer, pong->boot, pong->echo_ns, now_ns, out))
		return;
	rtt_keep(peer, (now_ns - pong->echo_ns) / 1000);

	bool supported = false;
	uint64_t support_us = pong->support_us;
	if (support_us > liveness->config.support_max_us)
		support_us = liveness->config.support_max_us;
	uint64_t until = pong->echo_ns + shorter_ns(liveness, support_us);
	if (support_us > 0 && pong->support_epoch != 0 && until > now_ns && !overtaken(peer, pong)) {
		supported = !peer->held || peer->held_epoch != pong->support_epoch;
		if (supported || until > peer->held_until_ns)
			peer->held_until_ns = until;
		peer->held_epoch = pong->support_epoch;
		peer->held_boot = pong->boot;
		peer->held = true;
	}
	borrow(liveness, peer, pong);
	rise(liveness, peer, supported, now_ns, out);
}

void liveness_received(struct liveness *liveness, uint64_t from_node, const struct message *message, uint64_t now_ns,
	uint64_t map_epoch, struct liveness_effects *out)
{
	assert(out->count + 8 <= LIVENESS_EFFECTS_MAX);
	if (from_node == 0 || from_node == liveness->config.node)
		return;
	struct peer *peer = peer_find(liveness, from_node);
	if (message->kind == MESSAGE_PING) {
		/* Whoever asks is answered: it may know of a common group before we do. */
		if (!peer)
			peer = peer_add(liveness, from_node, now_ns);
		if (!peer)
			return;
		lapse(liveness, peer, now_ns, out);
		pinged(liveness, peer, &message->ping, now_ns, map_epoch, out);
	} else if (message->kind == MESSAGE_PONG && peer) {
		lapse(liveness, peer, now_ns, out);
		ponged(liveness, peer, &message->pong, now_ns, out);
	}
}

/* The next ping: at the heartbeat, a quarter of it at random earlier; to who stays silent ever more rarely. */
static void ping(
	struct liveness *liveness, struct peer *peer, uint64_t now_ns, uint64_t map_epoch, struct liveness_effects *out)
{
	const uint64_t heartbeat_us = liveness->config.heartbeat_us;
	struct message *message = &effect_new(out, LIVENESS_SEND, peer->node)->message;
	message->kind = MESSAGE_PING;
	message->ping.sent_ns = now_ns;
	message->ping.boot = liveness->config.boot;
	message->ping.heard_boot = peer->boot;
	message->ping.map_epoch = map_epoch;
	message->ping.rtt_us = rtt_of(peer);
	uint64_t longest_us = heartbeat_us > PING_BACKOFF_US ? heartbeat_us : PING_BACKOFF_US;
	if (reachable(liveness, peer, now_ns))
		peer->ping_interval_us = heartbeat_us;
	else if (peer->heard)
		peer->ping_interval_us =
			2 * peer->ping_interval_us < longest_us ? 2 * peer->ping_interval_us : longest_us;
	uint64_t interval_ns = peer->ping_interval_us * 1000;
	peer->ping_at_ns = now_ns + interval_ns - prng_below(&liveness->prng, interval_ns / 4 + 1);
}

void liveness_expired(struct liveness *liveness, uint64_t now_ns, uint64_t map_epoch, struct liveness_effects *out)
{
	for (uint32_t i = 0; i < liveness->count; i++) {
		struct peer *peer = &liveness->peers[i];
		if (peer->node == 0 || out->count + 2 > LIVENESS_EFFECTS_MAX)
			continue;
		lapse(liveness, peer, now_ns, out);
		if (peer->ping_at_ns <= now_ns)
			ping(liveness, peer, now_ns, map_epoch, out);
	}
}

static void sooner(uint64_t *deadline, bool counts, uint64_t at_ns)
{
	if (counts && at_ns < *deadline)
		*deadline = at_ns;
}

uint64_t liveness_deadline(const struct liveness *liveness)
{
	uint64_t deadline = NEVER;
	for (uint32_t i = 0; i < liveness->count; i++) {
		const struct peer *peer = &liveness->peers[i];
		if (peer->node == 0)
			continue;
		sooner(&deadline, true, peer->ping_at_ns);
		sooner(&deadline, peer->granted_epoch != 0, peer->granted_until_ns);
		sooner(&deadline, peer->lent_epoch != 0, peer->lent_until_ns);
		sooner(&deadline, peer->lent_ended_due, peer->lent_ended_ns);
		sooner(&deadline, peer->held, peer->held_until_ns);
		sooner(&deadline, peer->reachable, peer->heard_ns + liveness->config.support_us * 1000);
		sooner(&deadline, peer->down_due, 0);
	}
	return deadline;
}

/* --- what groups ask -------------------------------------------------------------------------------------- */

uint64_t liveness_supported_until_ns(const struct liveness *liveness, uint64_t node, uint64_t epoch)
{
	const struct peer *peer = peer_find(liveness, node);
	return peer && peer->held && epoch != 0 && peer->held_epoch == epoch ? peer->held_until_ns : 0;
}

uint64_t liveness_supported_epoch(const struct liveness *liveness, uint64_t node)
{
	const struct peer *peer = peer_find(liveness, node);
	return peer && peer->held ? peer->held_epoch : 0;
}

uint64_t liveness_granted_epoch(const struct liveness *liveness, uint64_t node)
{
	const struct peer *peer = peer_find(liveness, node);
	return peer ? peer->granted_epoch : 0;
}

uint64_t liveness_promised_until_ns(const struct liveness *liveness, uint64_t node)
{
	const struct peer *peer = peer_find(liveness, node);
	return peer ? peer->granted_until_ns : 0;
}

void liveness_withdraw(struct liveness *liveness, uint64_t node, uint64_t now_ns)
{
	struct peer *peer = peer_find(liveness, node);
	if (!peer || peer->granted_epoch == 0)
		return;
	assert(peer->granted_until_ns <= now_ns);
	peer->granted_epoch = 0;
	peer->down_due = true; /* other groups hang on it too */
}

bool liveness_lend(struct liveness *liveness, uint64_t node, uint64_t now_ns)
{
	struct peer *peer = peer_find(liveness, node);
	if (!peer)
		peer = peer_add(liveness, node, now_ns);
	if (peer)
		peer->lends++;
	return peer != NULL;
}

void liveness_unlend(struct liveness *liveness, uint64_t node)
{
	struct peer *peer = peer_find(liveness, node);
	assert(peer);
	assert(peer->lends > 0);
	peer->lends--;
}

uint64_t liveness_lent_epoch(const struct liveness *liveness, uint64_t node)
{
	const struct peer *peer = peer_find(liveness, node);
	return peer ? peer->lent_epoch : 0;
}

uint64_t liveness_lent_until_ns(const struct liveness *liveness, uint64_t node)
{
	const struct peer *peer = peer_find(liveness, node);
	return peer ? peer->lent_until_ns : 0;
}

uint64_t liveness_lent_ended_ns(const struct liveness *liveness, uint64_t node)
{
	const struct peer *peer = peer_find(liveness, node);
	return peer ? peer->lent_ended_ns : 0;
}

void liveness_lent_end(struct liveness *liveness, uint64_t node)
{
	struct peer *peer = peer_find(liveness, node);
	if (peer)
		lent_end(peer);
}

void liveness_withhold(struct liveness *liveness, uint64_t node, uint64_t now_ns)
{
	struct peer *peer = peer_find(liveness, node);
	if (!peer || now_ns < peer->withheld_until_ns)
		return;
	/* As long as it takes for what is lent to lapse, and no longer. */
	uint64_t lapse_ns = peer->lent_epoch != 0 ? peer->lent_until_ns : now_ns;
	peer->withheld_until_ns = lapse_ns > now_ns ? lapse_ns + 1 : now_ns;
}

uint64_t liveness_borrowed_until_ns(const struct liveness *liveness, uint64_t node, uint64_t epoch)
{
	const struct peer *peer = peer_find(liveness, node);
	return peer && epoch != 0 && peer->borrowed_epoch == epoch ? peer->borrowed_until_ns : 0;
}

uint64_t liveness_relayed_until_ns(const struct liveness *liveness, uint64_t node, uint64_t third, uint64_t epoch)
{
	const struct peer *peer = peer_find(liveness, node);
	for (uint32_t i = 0; peer && epoch != 0 && i < peer->relay_count; i++)
		if (peer->relayed[i].node == third && peer->relayed[i].epoch == epoch)
			return peer->relayed[i].until_ns;
	return 0;
}

uint64_t liveness_boot(const struct liveness *liveness)
{
	return liveness->config.boot;
}

bool liveness_alive(const struct liveness *liveness, uint64_t node, uint64_t now_ns)
{
	const struct peer *peer = peer_find(liveness, node);
	return peer && reachable(liveness, peer, now_ns);
}

bool liveness_watches(const struct liveness *liveness, uint64_t node)
{
	return peer_find(liveness, node) != NULL;
}

uint32_t liveness_rtt_us(const struct liveness *liveness, uint64_t node)
{
	const struct peer *peer = peer_find(liveness, node);
	return peer ? rtt_of(peer) : 0;
}

void liveness_check(const struct liveness *liveness)
{
	assert(liveness->count <= LIVENESS_PEERS_MAX);
	for (uint32_t i = 0; i < liveness->count; i++) {
		const struct peer *peer = &liveness->peers[i];
		if (peer->node == 0)
			continue;
		assert(peer->node != liveness->config.node);
		for (uint32_t j = 0; j < i; j++)
			assert(liveness->peers[j].node != peer->node);
		if (peer->granted_epoch != 0)
			assert(peer->granted_until_ns > 0);
		if (peer->held)
			assert(peer->held_epoch != 0);
		if (peer->lent_epoch != 0)
			assert(peer->lent_until_ns > 0);
		assert(peer->relay_count <= RELAYS_MAX);
		assert((peer->watches > 0) == (peer->ping_at_ns != NEVER));
		assert(peer->ping_interval_us >= liveness->config.heartbeat_us);
	}
}
