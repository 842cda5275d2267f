/* tests/sim/idle.c: what idle groups cost: thousands of groups, each on the same three nodes, at the level of
 * replication alone (no journal, no engine, no sockets). Every group elects its leader; then nobody asks for anything.
 * From there on no group may have a deadline or send a message, whatever their number: only the three nodes go on
 * asking each other for support (replication/liveness.h).
 *
 * Twice: over 60 virtual seconds, in which messages take no time, and then in real time, sleeping between deadlines as
 * a server does, for the share of one processor that this costs.
 * usage: idle [GROUPS [SECONDS [PERCENT_MAX]]]      exit 1: more than PERCENT_MAX, or a group was not idle */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/heap.h"
#include "replication/group.h"

enum { NODES = 3, BODIES = 4, VIRTUAL_SECONDS = 60, SETTLE_SECONDS = 5, SECOND = 1000000000 };

struct replica {
	struct heap_node timer;
	struct group *group;
	struct entry log[BODIES]; /* 1..: nothing is written but no-ops */
	uint8_t node;
	uint64_t ticket; /* to be reported durable; 0: none */
	uint64_t commit; /* to be reported applied; 0: none */
};

struct letter {
	uint64_t to_node; /* 0: a message between nodes, of liveness */
	unsigned from, to;
	uint32_t group;
	struct entry entry; /* an append carries one at most here */
	struct message message;
};

static struct {
	uint32_t groups;
	uint64_t now_ns;
	struct liveness *liveness[NODES];
	struct liveness_effects *changes[NODES];
	struct replica *replicas; /* [NODES][groups] */
	struct heap timers;
	struct letter *letters; /* in flight: a ring that grows */
	size_t begin, count, capacity;
	uint64_t group_messages, node_messages, steps;
	struct group_effects effects;
} idle;

static void *allocate(size_t count, size_t size)
{
	void *memory = calloc(count, size);

	if (memory == NULL) {
		fprintf(stderr, "idle: out of memory\n");
		exit(2);
	}
	return memory;
}

static struct replica *replica_of(unsigned node, uint32_t group)
{
	return &idle.replicas[(size_t)node * idle.groups + group];
}

static struct letter *letter_new(void)
{
	if (idle.count == idle.capacity) {
		size_t capacity = idle.capacity == 0 ? 1024 : idle.capacity * 2;
		struct letter *letters = allocate(capacity, sizeof(*letters));

		for (size_t i = 0; i < idle.count; i++)
			letters[i] = idle.letters[(idle.begin + i) % idle.capacity];
		free(idle.letters);
		idle.letters = letters;
		idle.begin = 0;
		idle.capacity = capacity;
	}
	return &idle.letters[(idle.begin + idle.count++) % idle.capacity];
}

/* --- a driver of the smallest kind: disks take no time --------------------------------------------------------- */

static void send(struct replica *replica, uint32_t group, const struct message *message)
{
	struct letter *letter = letter_new();

	idle.group_messages++;
	letter->from = replica->node;
	letter->to = (unsigned)message->to - 1;
	letter->group = group;
	letter->to_node = 0;
	letter->message = *message;
	if (message->kind == MESSAGE_APPEND && message->append.first <= message->append.last) {
		assert(message->append.first < BODIES);
		letter->entry = replica->log[message->append.first];
		letter->message.append.last = message->append.first; /* one goes; the rest follows */
	}
}

static void carry_out(struct replica *replica, uint32_t group, const struct group_event *event)
{
	for (uint32_t i = 0; i < idle.effects.count; i++) {
		const struct group_effect *effect = &idle.effects.at[i];

		if (effect->kind == GROUP_OWN_ENTRY) {
			assert(effect->own.entry.index < BODIES);
			replica->log[effect->own.entry.index] = effect->own.entry;
		} else if (effect->kind == GROUP_WRITE) {
			if (event->kind == GROUP_RECEIVED && event->received.message->kind == MESSAGE_APPEND &&
				effect->write.first <= effect->write.last)
				replica->log[effect->write.first] = *event->received.message->append.entries;
			replica->ticket = effect->write.ticket;
		} else if (effect->kind == GROUP_COMMIT) {
			replica->commit = effect->commit.last;
		} else if (effect->kind == GROUP_SEND) {
			send(replica, group, effect->send);
		}
	}
}

static void step_once(struct replica *replica, uint32_t group, struct group_event *event)
{
	event->now_ns = idle.now_ns;
	event->wall_us = idle.now_ns / 1000;
	idle.steps++;
	group_step(replica->group, event, &idle.effects);
	carry_out(replica, group, event);
}

static void arm(struct replica *replica)
{
	uint64_t deadline = group_deadline(replica->group);

	if (deadline == UINT64_MAX) {
		if (heap_node_queued(&replica->timer))
			heap_remove(&idle.timers, &replica->timer);
	} else if (heap_node_queued(&replica->timer)) {
		heap_update(&idle.timers, &replica->timer, deadline);
	} else if (!heap_insert(&idle.timers, &replica->timer, deadline)) {
		abort();
	}
}

static void step(struct replica *replica, uint32_t group, struct group_event *event)
{
	step_once(replica, group, event);
	while (replica->ticket != 0 || replica->commit != 0) {
		struct group_event follow = { .kind = replica->ticket != 0 ? GROUP_DURABLE : GROUP_APPLIED };

		if (replica->ticket != 0) {
			follow.durable.ticket = replica->ticket;
			replica->ticket = 0;
		} else {
			follow.applied.index = replica->commit;
			replica->commit = 0;
		}
		step_once(replica, group, &follow);
	}
	arm(replica);
}

/* --- nodes ------------------------------------------------------------------------------------------------------- */

static void liveness_carry_out(unsigned node)
{
	struct liveness_effects *changes = idle.changes[node];

	for (uint32_t i = 0; i < changes->count; i++) {
		const struct liveness_effect *effect = &changes->at[i];

		if (effect->kind == LIVENESS_SEND) {
			struct letter *letter = letter_new();

			idle.node_messages++;
			letter->from = node;
			letter->to = (unsigned)effect->node - 1;
			letter->to_node = effect->node;
			letter->message = effect->message;
			continue;
		}
		for (uint32_t g = 0; g < idle.groups; g++) {
			struct group_event event = { .kind = GROUP_PEER };

			event.peer.node = effect->node;
			event.peer.change = effect->change;
			step(replica_of(node, g), g, &event);
		}
	}
	changes->count = 0;
}

static void deliver(void)
{
	while (idle.count > 0) {
		struct letter letter = idle.letters[idle.begin];
		struct group_event event = { .kind = GROUP_RECEIVED };

		idle.begin = (idle.begin + 1) % idle.capacity;
		idle.count--;
		if (letter.to_node != 0) {
			liveness_received(idle.liveness[letter.to], letter.from + 1, &letter.message, idle.now_ns, 1,
				idle.changes[letter.to]);
			liveness_carry_out(letter.to);
			continue;
		}
		if (letter.message.kind == MESSAGE_APPEND)
			letter.message.append.entries = &letter.entry;
		event.received.message = &letter.message;
		step(replica_of(letter.to, letter.group), letter.group, &event);
	}
}

static uint64_t next_deadline(void)
{
	const struct heap_node *first = heap_min(&idle.timers);
	uint64_t deadline = first == NULL ? UINT64_MAX : first->key;

	for (unsigned n = 0; n < NODES; n++) {
		uint64_t of_node = liveness_deadline(idle.liveness[n]);

		deadline = of_node < deadline ? of_node : deadline;
	}
	return deadline;
}

/* All that is due now. */
static void expire(void)
{
	for (unsigned n = 0; n < NODES; n++) {
		if (liveness_deadline(idle.liveness[n]) > idle.now_ns)
			continue;
		liveness_expired(idle.liveness[n], idle.now_ns, 1, idle.changes[n]);
		liveness_carry_out(n);
		deliver();
	}
	for (struct heap_node *first; (first = heap_min(&idle.timers)) != NULL && first->key <= idle.now_ns;) {
		struct replica *replica = (struct replica *)(void *)((char *)first - offsetof(struct replica, timer));
		struct group_event event = { .kind = GROUP_EXPIRED };

		step(replica, (uint32_t)((size_t)(replica - idle.replicas) % idle.groups), &event);
		deliver();
	}
}

static void start(void)
{
	struct membership membership = { .count = NODES };
	struct heap_node **nodes = allocate((size_t)NODES * idle.groups, sizeof(*nodes));

	heap_init(&idle.timers, nodes, (size_t)NODES * idle.groups);
	idle.replicas = allocate((size_t)NODES * idle.groups, sizeof(*idle.replicas));
	for (uint8_t n = 0; n < NODES; n++)
		membership.at[n] = (struct member){
			.replica = n + 1U, .node = n + 1U, .role_new = ROLE_VOTER, .region = n, .zone = n
		};
	for (uint8_t n = 0; n < NODES; n++) {
		struct liveness_config config = { .node = n + 1U,
			.seed = n + 1U,
			.boot = n + 77U,
			.started_ns = idle.now_ns,
			.heartbeat_us = 300000,
			.support_us = 3000000,
			.support_max_us = 3000000,
			.drift_ppm = 10000,
			.fresh = true };

		idle.liveness[n] = liveness_init(allocate(1, liveness_size()), &config);
		idle.changes[n] = allocate(1, sizeof(struct liveness_effects));
		for (uint32_t g = 0; g < idle.groups; g++) {
			struct replica *replica = replica_of(n, g);
			struct group_config own = { .group = g + 1U,
				.replica = n + 1U,
				.node = n + 1U,
				.seed = (uint64_t)g * NODES + n,
				.liveness = idle.liveness[n],
				.inflight_max = 64,
				.append_entries_max = 64,
				.append_window = 4,
				.election_us = 1000000,
				.retransmit_us = 200000,
				.drift_ppm = 10000 };
			struct group_event event = { .kind = GROUP_RESTORED };

			for (unsigned peer = 1; peer <= NODES; peer++)
				if (peer != n + 1U && !liveness_watch(idle.liveness[n], peer, idle.now_ns))
					abort();
			replica->node = n;
			replica->group = group_init(allocate(1, group_size(&own)), &own);
			event.restored.membership = membership;
			step(replica, g, &event);
		}
	}
	deliver();
}

static void run_virtual(uint64_t seconds)
{
	uint64_t until_ns = idle.now_ns + seconds * SECOND;

	for (uint64_t at_ns; (at_ns = next_deadline()) <= until_ns;) {
		idle.now_ns = at_ns > idle.now_ns ? at_ns : idle.now_ns;
		expire();
	}
	idle.now_ns = until_ns;
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

static void run_real(uint64_t seconds)
{
	uint64_t begin_ns = clock_ns(CLOCK_MONOTONIC), base_ns = idle.now_ns, end_ns = base_ns + seconds * SECOND;

	while (idle.now_ns < end_ns) {
		uint64_t wake_ns = next_deadline();
		struct timespec until;

		wake_ns = (wake_ns < end_ns ? wake_ns : end_ns) - base_ns + begin_ns;
		until.tv_sec = (time_t)(wake_ns / SECOND);
		until.tv_nsec = (long)(wake_ns % SECOND);
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
		idle.now_ns = base_ns + (clock_ns(CLOCK_MONOTONIC) - begin_ns);
		expire();
	}
}

/* False, with a word, if any group led by nobody, had a deadline, or anything to say. */
static bool all_idle(uint64_t group_messages)
{
	uint32_t leaders = 0, awake = 0;

	for (unsigned n = 0; n < NODES; n++) {
		for (uint32_t g = 0; g < idle.groups; g++) {
			const struct group *group = replica_of(n, g)->group;
			struct group_status status = group_status(group, idle.now_ns);

			group_check(group);
			leaders += status.role == GROUP_LEADER && status.lead_until_ns > idle.now_ns;
			awake += group_deadline(group) != UINT64_MAX;
		}
	}
	if (leaders == idle.groups && awake == 0 && idle.group_messages == group_messages)
		return true;
	printf("not idle: %u of %u groups are led, %u replicas have a deadline, %" PRIu64 " messages of groups\n",
		leaders, idle.groups, awake, idle.group_messages - group_messages);
	return false;
}

int main(int argc, char **argv)
{
	uint64_t seconds = argc > 2 ? strtoull(argv[2], NULL, 10) : 10;
	double percent_max = argc > 3 ? strtod(argv[3], NULL) : 2;
	uint64_t before, cpu_ns, group_messages, node_messages;
	double percent;
	bool good;

	idle.groups = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 10000;
	if (idle.groups == 0 || idle.groups > 1000000 || seconds == 0 || seconds > 3600) {
		fputs("usage: idle [GROUPS [SECONDS [PERCENT_MAX]]]\n", stderr);
		return 2;
	}
	idle.now_ns = 1000 * (uint64_t)SECOND;
	start();
	run_virtual(SETTLE_SECONDS);
	group_messages = idle.group_messages;
	good = all_idle(group_messages);
	node_messages = idle.node_messages;
	before = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	run_virtual(VIRTUAL_SECONDS);
	cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - before;
	good = good && all_idle(group_messages);
	printf("%u groups on %d nodes, idle for %d virtual seconds: %.1f ms of processor, %" PRIu64
	       " messages between nodes, none of groups, no deadlines\n",
		idle.groups, NODES, VIRTUAL_SECONDS, (double)cpu_ns / 1e6, idle.node_messages - node_messages);
	before = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	run_real(seconds);
	cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - before;
	percent = 100.0 * (double)cpu_ns / ((double)seconds * SECOND);
	good = good && all_idle(group_messages) && percent <= percent_max;
	printf("%u idle groups on three nodes: %.3f%% CPU over %" PRIu64 " s (at most %.1f%%)\n", idle.groups, percent,
		seconds, percent_max);
	printf("%d passed, %d failed\n", good, !good);
	return good ? 0 : 1;
}
