/* bench/wan/emulator.c: see bench/wan/emulator.h.
 *
 * Time: the thread asks for SCHED_FIFO and for timers without slack. A virtual processor that has slept still wakes
 * 0.1 ms late and more; so the loop learns how late, sleeps that much shorter and polls for the rest. What is due is
 * written at once when the loop comes by; how late that was goes into the link's histogram, so that a run in which the
 * machine had no time for us shows. */
#define _GNU_SOURCE
#include "bench/wan/emulator.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/wan/namespace.h"

enum {
	PACKETS_MAX = 1 << 18,
	BYTES_MAX = 256 << 20,
	BATCH = 32, /* packets read from one wire, or delivered, before the loop looks elsewhere */
	EVENTS = 64,
	IP_HEADER_SIZE = 20,
	IP_DESTINATION = 16,
	PRIORITY = 10,
	OVERSLEEP_MAX_NS = 250000, /* later than this is a starved machine, which no early waking mends */
};

int emulator_init(struct emulator *emulator, struct lab *lab)
{
	struct sched_param param = { .sched_priority = PRIORITY };

	memset(emulator, 0, sizeof(*emulator));
	emulator->lab = lab;
	emulator->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (emulator->epoll_fd < 0)
		return errno;
	flight_init(&emulator->flight, PACKETS_MAX, BYTES_MAX);
	for (uint32_t i = 0; i < lab->host_count; i++) {
		int error;

		emulator->wires[i].fd = lab->hosts[i].wire_fd;
		if ((error = emulator_watch(emulator, &emulator->wires[i])) != 0)
			return error;
	}
	emulator->real_time = sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param) == 0;
	prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
	return 0;
}

void emulator_deinit(struct emulator *emulator)
{
	if (emulator->lab == NULL)
		return;
	flight_deinit(&emulator->flight);
	close(emulator->epoll_fd);
	emulator->lab = NULL;
}

int emulator_watch(struct emulator *emulator, struct source *source)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = source };

	return epoll_ctl(emulator->epoll_fd, EPOLL_CTL_ADD, source->fd, &event) != 0 ? errno : 0;
}

void emulator_forget(struct emulator *emulator, struct source *source)
{
	epoll_ctl(emulator->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
}

/* --- packets ------------------------------------------------------------------------------------------ */

static int destination_of(const struct lab *lab, const uint8_t *data, size_t size)
{
	const uint8_t *at = data + IP_DESTINATION;

	if (size < IP_HEADER_SIZE || data[0] >> 4 != 4)
		return -1;
	return lab_host_at(lab, (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3]);
}

static void enter(struct emulator *emulator, uint32_t from_host, const uint8_t *data, size_t size)
{
	struct lab *lab = emulator->lab;
	int host = destination_of(lab, data, size);
	uint64_t due_ns[LINK_COPIES_MAX];
	uint32_t from = lab->hosts[from_host].region, to;
	struct link *link;
	unsigned copies;

	if (host < 0) {
		emulator->foreign++;
		return;
	}
	to = lab->hosts[host].region;
	link = lab_link(lab, from, to);
	copies = link_enter(link, clock_boot_ns(), size, lab->delayed, due_ns);
	for (unsigned i = 0; i < copies; i++) {
		struct packet *packet = flight_add(&emulator->flight, due_ns[i], data, size);

		if (packet == NULL) {
			link->counts.overflowed++;
			continue;
		}
		packet->from = from;
		packet->to = to;
		packet->host = (uint32_t)host;
	}
}

static void read_wire(struct emulator *emulator, uint32_t host)
{
	uint8_t data[NAMESPACE_MTU_MAX + 1];

	for (unsigned i = 0; i < BATCH; i++) {
		ssize_t size = read(emulator->wires[host].fd, data, sizeof(data));

		if (size <= 0)
			return;
		enter(emulator, host, data, (size_t)size);
	}
}

/* What a cut finds on the wire is lost with it. */
static void deliver(struct emulator *emulator, struct packet *packet)
{
	struct link *link = lab_link(emulator->lab, packet->from, packet->to);
	uint64_t now_ns = clock_boot_ns();

	assert(now_ns >= packet->node.key);
	if (link->cut) {
		link->counts.cut++;
	} else if (write(emulator->wires[packet->host].fd, packet->data, packet->size) != (ssize_t)packet->size) {
		link->counts.refused++;
	} else {
		link->counts.delivered++;
		histogram_add(&link->late, (now_ns - packet->node.key) / 1000);
	}
	free(packet);
}

static void deliver_due(struct emulator *emulator)
{
	struct packet *packet;

	for (unsigned i = 0; i < BATCH && (packet = flight_take(&emulator->flight, clock_boot_ns())) != NULL; i++)
		deliver(emulator, packet);
}

/* --- the loop ----------------------------------------------------------------------------------------- */

/* After a sleep that was to end at wake_ns: follows what is late quickly, what is early slowly. */
static void learn_oversleep(struct emulator *emulator, uint64_t wake_ns)
{
	uint64_t over_ns = clock_boot_ns() - wake_ns, *learnt_ns = &emulator->oversleep_ns;

	if (over_ns > OVERSLEEP_MAX_NS)
		return;
	if (over_ns > *learnt_ns)
		*learnt_ns += (over_ns - *learnt_ns) / 4;
	else
		*learnt_ns -= (*learnt_ns - over_ns) / 32;
}

static int wait_for(struct emulator *emulator, uint64_t wait_ns, struct epoll_event *events)
{
	uint64_t next_ns = flight_next_ns(&emulator->flight), now_ns = clock_boot_ns();
	uint64_t wake_ns = next_ns > emulator->oversleep_ns ? next_ns - emulator->oversleep_ns : 0;
	struct timespec timeout;
	int count;

	if (wake_ns <= now_ns)
		wait_ns = 0;
	else if (wake_ns - now_ns < wait_ns)
		wait_ns = wake_ns - now_ns;
	timeout.tv_sec = (time_t)(wait_ns / 1000000000);
	timeout.tv_nsec = (long)(wait_ns % 1000000000);
	count = epoll_pwait2(emulator->epoll_fd, events, EVENTS, &timeout, NULL);
	if (count == 0 && wait_ns > 0)
		learn_oversleep(emulator, now_ns + wait_ns);
	return count;
}

void emulator_step(struct emulator *emulator, uint64_t wait_ns)
{
	struct epoll_event events[EVENTS];
	int count;

	deliver_due(emulator);
	count = wait_for(emulator, wait_ns, events);
	for (int i = 0; i < count; i++) {
		struct source *source = events[i].data.ptr;

		if (source->ready != NULL) {
			source->ready(source, source->arg);
			continue;
		}
		read_wire(emulator, (uint32_t)(source - emulator->wires));
		deliver_due(emulator); /* many wires may be busy: what is due does not wait for all of them */
	}
}
