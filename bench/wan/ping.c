/* bench/wan/ping.c: wanlab ping: is the lab as far apart as it says? For every ordered pair of regions a client of the
 * one and a node of the other play ping-pong over UDP, with a tiny echo process, and medians stand beside what is
 * configured. Two of them, because two things can be wrong:
 *
 *   wire      from send() to the kernel's stamp on what arrives, without the time that the echo took to wake and answer
 *             (as NTP reckons it): the lab's own work, off when the emulator is starved
 *   program   what a program sees, the waking of both processes included: off when the machine's cores are taken
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <signal.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/units.h"
#include "bench/wan/control.h"
#include "bench/wan/namespace.h"
#include "bench/wan/state.h"
#include "bench/wan/wanlab.h"

enum { PINGS = 21, ATTEMPTS = 3, SENDS_MAX = 5, PATIENCE_US = 1000000, EVENTS = 32, PROGRAM_PERCENT = 2 };
enum { PAIRS_MAX = TOPOLOGY_REGIONS_MAX * TOPOLOGY_REGIONS_MAX };

struct pair {
	const char *from, *to;
	uint32_t from_index, to_index;
	uint64_t configured_us, wire_us, program_us; /* medians */
	uint64_t wires_us[PINGS], programs_us[PINGS];
	uint32_t taken;	   /* samples; the first answer, which may wait for something to wake, is none */
	uint64_t sequence; /* of the last one sent */
	uint32_t sends;	   /* of the current sample */
	uint64_t sent_ns;  /* wall clock, as the kernel's stamps are */
	int fd;
	bool warm, failed, within;
};
/* There and back; the echo fills in its two times. */
struct message {
	uint64_t sequence, arrived_ns, answered_ns;
};
struct game {
	json_t *settings; /* the lab's answer to `show`; owns the names */
	struct pair pairs[PAIRS_MAX];
	uint32_t pair_count, region_count, attempts;
	int echo_fds[TOPOLOGY_REGIONS_MAX];
	uint64_t tolerance_us;
};

/* --- the lab ------------------------------------------------------------------------------------------ */

static bool ask_settings(struct game *game, const char *lab)
{
	char path[LAB_PATH_MAX], *answer;

	lab_path(lab, "control", path, sizeof(path));
	answer = control_ask(path, "show");
	if (answer != NULL && strncmp(answer, "ok ", 3) == 0)
		game->settings = json_loads(answer + 3, 0, NULL);
	if (game->settings == NULL)
		fprintf(stderr, "wanlab: %s: %s\n", path, answer == NULL ? strerror(errno) : answer);
	free(answer);
	return game->settings != NULL;
}

static uint64_t number(const json_t *object, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(object, name));
}

static uint64_t delay_us(const struct game *game, uint32_t from, uint32_t to)
{
	const json_t *link = json_array_get(json_object_get(game->settings, "links"), from * game->region_count + to);

	return json_is_true(json_object_get(game->settings, "delays")) ? number(link, "delay_us") : 0;
}

/* The first host of the region that is a client, or is none. */
static const json_t *find_host(const struct game *game, uint32_t region, bool client)
{
	const json_t *host;
	size_t index;

	json_array_foreach(json_object_get(game->settings, "hosts"), index, host)
	{
		if (number(host, "region") == region && json_is_true(json_object_get(host, "client")) == client)
			return host;
	}
	return NULL;
}

static int open_socket(const json_t *host, struct sockaddr_in *at)
{
	const char *netns = json_string_value(json_object_get(host, "netns")),
		   *address = json_string_value(json_object_get(host, "address"));
	socklen_t size = sizeof(*at);
	struct in_addr in;
	int fd;

	if (netns == NULL || address == NULL || inet_pton(AF_INET, address, &in) != 1)
		return -1;
	fd = namespace_udp(netns, ntohl(in.s_addr), 0);
	if (fd < 0 || getsockname(fd, (struct sockaddr *)at, &size) != 0) {
		fprintf(stderr, "wanlab: a socket in %s: %s\n", netns, strerror(errno));
		return -1;
	}
	return fd;
}

static bool open_pairs(struct game *game)
{
	struct sockaddr_in echoes[TOPOLOGY_REGIONS_MAX], own;

	game->region_count = (uint32_t)json_array_size(json_object_get(game->settings, "regions"));
	if (game->region_count == 0 || game->region_count > TOPOLOGY_REGIONS_MAX)
		return false;
	for (uint32_t i = 0; i < game->region_count; i++) {
		game->echo_fds[i] = open_socket(find_host(game, i, false), &echoes[i]);
		if (game->echo_fds[i] < 0)
			return false;
	}
	for (uint32_t i = 0; i < game->region_count * game->region_count; i++) {
		struct pair *pair = &game->pairs[game->pair_count++];

		pair->from_index = i / game->region_count;
		pair->to_index = i % game->region_count;
		pair->from =
			json_string_value(json_array_get(json_object_get(game->settings, "regions"), pair->from_index));
		pair->to =
			json_string_value(json_array_get(json_object_get(game->settings, "regions"), pair->to_index));
		pair->configured_us = delay_us(game, pair->from_index, pair->to_index) +
				      delay_us(game, pair->to_index, pair->from_index);
		pair->fd = open_socket(find_host(game, pair->from_index, true), &own);
		if (pair->fd < 0 || connect(pair->fd, (struct sockaddr *)&echoes[pair->to_index], sizeof(own)) != 0)
			return false;
	}
	return true;
}

/* --- stamps ------------------------------------------------------------------------------------------- */

static uint64_t wall_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* A message, who sent it (may be NULL), and when it arrived by the kernel. */
static bool take(int fd, struct message *message, struct sockaddr_in *from, uint64_t *arrived_ns)
{
	alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(struct timespec))];
	struct iovec into = { .iov_base = message, .iov_len = sizeof(*message) };
	struct msghdr header = { .msg_name = from,
		.msg_namelen = from == NULL ? 0 : sizeof(*from),
		.msg_iov = &into,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control) };
	struct cmsghdr *part;
	struct timespec stamp;

	if (recvmsg(fd, &header, 0) != sizeof(*message))
		return false;
	*arrived_ns = wall_ns();
	for (part = CMSG_FIRSTHDR(&header); part != NULL; part = CMSG_NXTHDR(&header, part)) {
		if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_TIMESTAMPNS)
			continue;
		memcpy(&stamp, CMSG_DATA(part), sizeof(stamp));
		*arrived_ns = (uint64_t)stamp.tv_sec * 1000000000 + (uint64_t)stamp.tv_nsec;
	}
	return true;
}

/* --- the echo ----------------------------------------------------------------------------------------- */

static void watch(int epoll_fd, int fd, void *arg)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = arg };

	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
		abort();
}

static _Noreturn void echo(const struct game *game)
{
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event events[EVENTS];

	for (uint32_t i = 0; i < game->region_count; i++)
		watch(epoll_fd, game->echo_fds[i], (void *)(uintptr_t)&game->echo_fds[i]);
	for (;;) {
		int count = epoll_wait(epoll_fd, events, EVENTS, -1);

		for (int i = 0; i < count; i++) {
			int fd = *(const int *)events[i].data.ptr;
			struct sockaddr_in from;
			struct message message;

			if (!take(fd, &message, &from, &message.arrived_ns))
				continue;
			message.answered_ns = wall_ns();
			if (sendto(fd, &message, sizeof(message), 0, (struct sockaddr *)&from, sizeof(from)) < 0)
				continue; /* it will be asked again */
		}
	}
}

static pid_t start_echo(const struct game *game)
{
	pid_t parent = getpid(), pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(0);
		echo(game);
	}
	return pid;
}

/* --- the game ----------------------------------------------------------------------------------------- */

static bool open_still(const struct pair *pair)
{
	return !pair->within && !pair->failed && pair->taken < PINGS;
}

static void serve(struct pair *pair)
{
	struct message message = { .sequence = pair->sequence + 1 };

	if (pair->sends++ == SENDS_MAX) {
		pair->failed = true;
		return;
	}
	pair->sequence = message.sequence;
	pair->sent_ns = wall_ns();
	if (send(pair->fd, &message, sizeof(message), 0) < 0)
		return; /* as if it were lost */
}

static void receive(struct pair *pair)
{
	struct message message;
	uint64_t arrived_ns;

	if (!take(pair->fd, &message, NULL, &arrived_ns) || message.sequence != pair->sequence || !open_still(pair))
		return;
	if (pair->warm) {
		pair->programs_us[pair->taken] = (wall_ns() - pair->sent_ns) / 1000;
		pair->wires_us[pair->taken++] =
			(arrived_ns - pair->sent_ns - (message.answered_ns - message.arrived_ns)) / 1000;
	}
	pair->warm = true;
	pair->sends = 0;
	if (open_still(pair))
		serve(pair);
}

static void play(struct game *game, int epoll_fd)
{
	struct epoll_event events[EVENTS];
	uint32_t open = 1;

	for (uint32_t i = 0; i < game->pair_count; i++) {
		if (open_still(&game->pairs[i]))
			serve(&game->pairs[i]);
	}
	while (open > 0) { /* SENDS_MAX bounds it */
		int count = epoll_wait(epoll_fd, events, EVENTS, 50);

		for (int i = 0; i < count; i++)
			receive(events[i].data.ptr);
		open = 0;
		for (uint32_t i = 0; i < game->pair_count; i++) {
			struct pair *pair = &game->pairs[i];

			if (!open_still(pair))
				continue;
			open++;
			if (wall_ns() - pair->sent_ns > (3 * pair->configured_us + PATIENCE_US) * 1000)
				serve(pair);
		}
	}
}

static int compare(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

static uint64_t median(uint64_t samples[PINGS])
{
	qsort(samples, PINGS, sizeof(samples[0]), compare);
	return samples[PINGS / 2];
}

static bool near(uint64_t us, uint64_t configured_us, uint64_t tolerance_us)
{
	return us <= configured_us + tolerance_us && us + tolerance_us >= configured_us;
}

static bool judge(const struct game *game, struct pair *pair)
{
	if (pair->failed)
		return false;
	pair->wire_us = median(pair->wires_us);
	pair->program_us = median(pair->programs_us);
	return near(pair->wire_us, pair->configured_us, game->tolerance_us) &&
	       near(pair->program_us, pair->configured_us,
		       game->tolerance_us + pair->configured_us * PROGRAM_PERCENT / 100);
}

/* Up to three times, the second and third only for what was off: a busy moment is not a lab that is wrong. */
static bool measure(struct game *game)
{
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	bool all = false;

	if (epoll_fd < 0)
		abort();
	for (uint32_t i = 0; i < game->pair_count; i++)
		watch(epoll_fd, game->pairs[i].fd, &game->pairs[i]);
	while (!all && game->attempts < ATTEMPTS) {
		game->attempts++;
		for (uint32_t i = 0; i < game->pair_count; i++) {
			struct pair *pair = &game->pairs[i];

			if (!pair->within) {
				pair->taken = pair->sends = 0;
				pair->failed = pair->warm = false;
			}
		}
		play(game, epoll_fd);
		all = true;
		for (uint32_t i = 0; i < game->pair_count; i++) {
			struct pair *pair = &game->pairs[i];

			if (!pair->within)
				pair->within = judge(game, pair);
			all &= pair->within;
		}
	}
	close(epoll_fd);
	return all;
}

/* --- the answer --------------------------------------------------------------------------------------- */

static void show_pair(const struct pair *pair)
{
	char name[2 * REGION_NAME_MAX + 4];
	double configured = (double)pair->configured_us / 1000, wire = (double)pair->wire_us / 1000,
	       program = (double)pair->program_us / 1000;

	if (pair->from_index == pair->to_index)
		snprintf(name, sizeof(name), "inside %s", pair->from);
	else
		snprintf(name, sizeof(name), "%s - %s", pair->from, pair->to);
	if (pair->failed)
		printf("%-34s %10.2f   no answer  OFF\n", name, configured);
	else
		printf("%-34s %10.2f %10.2f %+8.2f %10.2f %+8.2f  %s\n", name, configured, wire, wire - configured,
			program, program - configured, pair->within ? "ok" : "OFF");
}

static void show_table(const struct game *game)
{
	printf("%-34s %10s %10s %8s %10s %8s\n", "round trip, ms", "configured", "wire", "", "program", "");
	for (uint32_t i = 0; i < game->pair_count; i++)
		show_pair(&game->pairs[i]);
	printf("medians of %d; tolerance %.2f ms, for programs %d %% more; attempts %u\n", PINGS,
		(double)game->tolerance_us / 1000, PROGRAM_PERCENT, game->attempts);
}

static json_t *answer(const struct game *game, bool ok)
{
	json_t *pairs = json_array();

	for (uint32_t i = 0; i < game->pair_count; i++) {
		const struct pair *pair = &game->pairs[i];
		json_t *object = json_pack("{s:s, s:s, s:I, s:b}", "from", pair->from, "to", pair->to, "configured_us",
			(json_int_t)pair->configured_us, "ok", pair->within);

		json_array_append_new(pairs, object);
		if (pair->failed)
			continue;
		json_object_set_new(object, "wire_us", json_integer((json_int_t)pair->wire_us));
		json_object_set_new(object, "wire_min_us", json_integer((json_int_t)pair->wires_us[0]));
		json_object_set_new(object, "wire_max_us", json_integer((json_int_t)pair->wires_us[PINGS - 1]));
		json_object_set_new(object, "program_us", json_integer((json_int_t)pair->program_us));
		json_object_set_new(object, "program_max_us", json_integer((json_int_t)pair->programs_us[PINGS - 1]));
	}
	return json_pack("{s:b, s:I, s:i, s:i, s:o}", "ok", ok, "tolerance_us", (json_int_t)game->tolerance_us, "pings",
		PINGS, "attempts", (int)game->attempts, "pairs", pairs);
}

struct ping_flags {
	const char *lab, *json_file;
	uint64_t tolerance_us;
	bool json, quiet;
};

static bool parse_flags(int argc, char **argv, struct ping_flags *flags)
{
	static const struct option options[] = { { "lab", required_argument, NULL, 'l' },
		{ "json", no_argument, NULL, 'j' }, { "json-file", required_argument, NULL, 'f' },
		{ "tolerance", required_argument, NULL, 't' }, { "quiet", no_argument, NULL, 'q' }, { 0 } };
	int flag;

	while ((flag = getopt_long(argc, argv, "q", options, NULL)) != -1) {
		if (flag == 'l')
			flags->lab = optarg;
		else if (flag == 'j')
			flags->json = true;
		else if (flag == 'f')
			flags->json_file = optarg;
		else if (flag == 'q')
			flags->quiet = true;
		else if (flag != 't' || !parse_duration_us(optarg, &flags->tolerance_us))
			return false;
	}
	return optind == argc;
}

static int show(const struct game *game, const struct ping_flags *flags, bool ok)
{
	json_t *json = answer(game, ok);
	int code = ok ? WANLAB_OK : WANLAB_OFF;

	if (flags->json_file != NULL && json_dump_file(json, flags->json_file, JSON_INDENT(1)) != 0) {
		fprintf(stderr, "wanlab: %s cannot be written\n", flags->json_file);
		code = WANLAB_FAILED;
	}
	if (flags->json) {
		json_dumpf(json, stdout, JSON_INDENT(1));
		printf("\n");
	} else if (!flags->quiet || !ok) {
		show_table(game);
	}
	json_decref(json);
	return code;
}

int wanlab_ping(int argc, char **argv)
{
	static struct game game;
	struct ping_flags flags = { .tolerance_us = WANLAB_TOLERANCE_US };
	char lab[LAB_NAME_MAX];
	int code = WANLAB_FAILED;
	pid_t echo_pid;

	if (!parse_flags(argc, argv, &flags)) {
		fprintf(stderr, "wanlab ping [--lab L] [--tolerance 300us] [--json] [--json-file FILE] [--quiet]\n");
		return WANLAB_USAGE;
	}
	game.tolerance_us = flags.tolerance_us;
	if (!state_find(flags.lab, lab) || !ask_settings(&game, lab))
		return code;
	if (open_pairs(&game) && (echo_pid = start_echo(&game)) > 0) {
		code = show(&game, &flags, measure(&game));
		kill(echo_pid, SIGKILL);
		waitpid(echo_pid, NULL, 0);
	}
	json_decref(game.settings);
	return code;
}
