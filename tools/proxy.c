#include "tools/proxy.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"

enum {
	LINKS_MAX = 4096,
	NAME_MAX_SIZE = 128,
	CHUNK_SIZE = 16384,
	QUEUE_SIZE_MAX = 8 << 20, /* bytes on the wire in one direction; above it the sender is not read */
	LATE_SAMPLES = 4096,
};

struct chunk {
	struct list link;
	uint64_t deliver_ns;
	size_t size, at;
	uint8_t data[];
};

struct proxy;
struct pipe_pair;

/* One direction: from one socket, through time, to the other. */
struct lane {
	struct pipe_pair *pair;
	int from_fd, to_fd;
	struct event *readable, *writable, *timer;
	struct list chunks;
	size_t queued;
	bool from_ended, ended;
};

struct pipe_pair {
	struct list link; /* of the proxy's pairs */
	struct proxy_link *owner;
	struct lane lanes[2]; /* 0: client to node, 1: back */
	int client_fd, node_fd;
	bool connecting;
	struct event *connected;
};

struct proxy_link {
	struct proxy *proxy;
	char name[NAME_MAX_SIZE];
	uint64_t delay_ns; /* one way */
	uint16_t target;   /* port; 0: none yet */
	bool cut, held[2]; /* held: by lane */
	int fd;
	struct event *acceptable;
};

struct proxy {
	struct event_base *base;
	struct proxy_link *links[LINKS_MAX];
	unsigned link_count;
	struct list pairs;
	bool delay;
	int control_fd;
	struct event *control;
	char line[256];
	size_t line_size;
	uint32_t late_us[LATE_SAMPLES];
	uint64_t late_count;
};

static void pair_close(struct pipe_pair *pair)
{
	list_remove(&pair->link);
	if (pair->connected != NULL)
		event_free(pair->connected);
	for (unsigned i = 0; i < 2; i++) {
		struct lane *lane = &pair->lanes[i];

		if (lane->readable != NULL)
			event_free(lane->readable);
		if (lane->writable != NULL)
			event_free(lane->writable);
		if (lane->timer != NULL)
			event_free(lane->timer);
		while (!list_empty(&lane->chunks)) {
			struct chunk *chunk = LIST_ENTRY(list_first(&lane->chunks), struct chunk, link);

			list_remove(&chunk->link);
			free(chunk);
		}
	}
	close(pair->client_fd);
	close(pair->node_fd);
	free(pair);
}

static void note_late(struct proxy *proxy, uint64_t late_ns)
{
	uint64_t late_us = late_ns / 1000;

	proxy->late_us[proxy->late_count++ % LATE_SAMPLES] = late_us > UINT32_MAX ? UINT32_MAX : (uint32_t)late_us;
}

static void arm(struct lane *lane, uint64_t now_ns)
{
	const struct chunk *chunk;
	uint64_t wait_ns;
	struct timeval wait;

	if (list_empty(&lane->chunks))
		return;
	chunk = LIST_ENTRY(list_first(&lane->chunks), struct chunk, link);
	wait_ns = chunk->deliver_ns > now_ns ? chunk->deliver_ns - now_ns : 0;
	wait.tv_sec = (time_t)(wait_ns / 1000000000);
	wait.tv_usec = (suseconds_t)((wait_ns % 1000000000 + 999) / 1000);
	evtimer_add(lane->timer, &wait);
}

static bool held(const struct lane *lane)
{
	return lane->pair->owner->held[lane == &lane->pair->lanes[1]];
}

/* Hands on what is due. False: the pair is gone. */
static bool deliver(struct lane *lane)
{
	struct proxy *proxy = lane->pair->owner->proxy;
	uint64_t now_ns = clock_boot_ns();

	if (held(lane)) {
		if (!lane->from_ended && lane->queued < QUEUE_SIZE_MAX)
			event_add(lane->readable, NULL);
		return true;
	}
	while (!list_empty(&lane->chunks)) {
		struct chunk *chunk = LIST_ENTRY(list_first(&lane->chunks), struct chunk, link);
		ssize_t wrote;

		if (chunk->deliver_ns > now_ns)
			break;
		if (chunk->at == 0)
			note_late(proxy, now_ns - chunk->deliver_ns);
		wrote = send(lane->to_fd, chunk->data + chunk->at, chunk->size - chunk->at, MSG_NOSIGNAL);
		if (wrote < 0 && (errno == EAGAIN || errno == EINTR)) {
			event_add(lane->writable, NULL);
			return true;
		}
		if (wrote < 0) {
			pair_close(lane->pair);
			return false;
		}
		chunk->at += (size_t)wrote;
		lane->queued -= (size_t)wrote;
		if (chunk->at < chunk->size)
			continue;
		list_remove(&chunk->link);
		free(chunk);
	}
	if (list_empty(&lane->chunks) && lane->from_ended && !lane->ended) {
		lane->ended = true;
		shutdown(lane->to_fd, SHUT_WR);
		if (lane->pair->lanes[0].ended && lane->pair->lanes[1].ended) {
			pair_close(lane->pair);
			return false;
		}
	}
	if (!lane->from_ended && lane->queued < QUEUE_SIZE_MAX)
		event_add(lane->readable, NULL);
	arm(lane, now_ns);
	return true;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)deliver(arg);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct lane *lane = arg;
	struct proxy *proxy = lane->pair->owner->proxy;
	uint8_t data[CHUNK_SIZE];
	ssize_t got = recv(fd, data, sizeof(data), 0);
	struct chunk *chunk;

	(void)what;
	if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
		event_add(lane->readable, NULL);
		return;
	}
	if (got < 0) {
		pair_close(lane->pair);
		return;
	}
	if (got == 0) {
		lane->from_ended = true;
		(void)deliver(lane);
		return;
	}
	chunk = malloc(sizeof(*chunk) + (size_t)got);
	if (chunk == NULL) {
		pair_close(lane->pair);
		return;
	}
	chunk->size = (size_t)got;
	chunk->at = 0;
	chunk->deliver_ns = clock_boot_ns() + (proxy->delay ? lane->pair->owner->delay_ns : 0);
	memcpy(chunk->data, data, (size_t)got);
	list_push_back(&lane->chunks, &chunk->link);
	lane->queued += (size_t)got;
	(void)deliver(lane);
}

static void on_connected(evutil_socket_t fd, short what, void *arg)
{
	struct pipe_pair *pair = arg;
	int error = 0;
	socklen_t size = sizeof(error);

	(void)what;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) {
		pair_close(pair);
		return;
	}
	pair->connecting = false;
	event_add(pair->lanes[0].readable, NULL);
	event_add(pair->lanes[1].readable, NULL);
}

static void lane_init(struct lane *lane, struct pipe_pair *pair, int from_fd, int to_fd)
{
	struct event_base *base = pair->owner->proxy->base;

	lane->pair = pair;
	lane->from_fd = from_fd;
	lane->to_fd = to_fd;
	list_init(&lane->chunks);
	lane->readable = event_new(base, from_fd, EV_READ, on_readable, lane);
	lane->writable = event_new(base, to_fd, EV_WRITE, on_timer, lane);
	lane->timer = evtimer_new(base, on_timer, lane);
}

static void prepare_socket(int fd)
{
	int on = 1;

	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void on_acceptable(evutil_socket_t fd, short what, void *arg)
{
	struct proxy_link *link = arg;
	struct sockaddr_in address = { .sin_family = AF_INET };
	struct pipe_pair *pair;
	int client = accept(fd, NULL, NULL), node;

	(void)what;
	if (client < 0)
		return;
	node = link->target == 0 || link->cut ? -1 : socket(AF_INET, SOCK_STREAM, 0);
	pair = node < 0 ? NULL : calloc(1, sizeof(*pair));
	if (pair == NULL) {
		close(client);
		if (node >= 0)
			close(node);
		return;
	}
	prepare_socket(client);
	prepare_socket(node);
	pair->owner = link;
	pair->client_fd = client;
	pair->node_fd = node;
	pair->connecting = true;
	list_push_back(&link->proxy->pairs, &pair->link);
	lane_init(&pair->lanes[0], pair, client, node);
	lane_init(&pair->lanes[1], pair, node, client);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	address.sin_port = htons(link->target);
	if (connect(node, (struct sockaddr *)&address, sizeof(address)) != 0 && errno != EINPROGRESS) {
		pair_close(pair);
		return;
	}
	pair->connected = event_new(link->proxy->base, node, EV_WRITE, on_connected, pair);
	event_add(pair->connected, NULL);
}

/* --- control --------------------------------------------------------------------------------------------------------
 */

static void answer(struct proxy *proxy, const char *text)
{
	size_t size = strlen(text), at = 0;

	while (at < size) {
		ssize_t wrote = write(proxy->control_fd, text + at, size - at);

		if (wrote < 0 && errno != EINTR && errno != EAGAIN)
			return;
		if (wrote > 0)
			at += (size_t)wrote;
	}
}

static struct proxy_link *find_link(struct proxy *proxy, const char *name)
{
	for (unsigned i = 0; i < proxy->link_count; i++) {
		if (strcmp(proxy->links[i]->name, name) == 0)
			return proxy->links[i];
	}
	return NULL;
}

static void add_link(struct proxy *proxy, const char *name, uint64_t delay_us)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t size = sizeof(address);
	struct proxy_link *link = proxy->link_count == LINKS_MAX ? NULL : calloc(1, sizeof(*link));
	char text[NAME_MAX_SIZE + 32];

	if (link == NULL || strlen(name) >= sizeof(link->name)) {
		free(link);
		answer(proxy, "error\n");
		return;
	}
	strcpy(link->name, name);
	link->proxy = proxy;
	link->delay_ns = delay_us * 1000;
	link->fd = socket(AF_INET, SOCK_STREAM, 0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (link->fd < 0 || bind(link->fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
		listen(link->fd, 256) != 0 || getsockname(link->fd, (struct sockaddr *)&address, &size) != 0) {
		if (link->fd >= 0)
			close(link->fd);
		free(link);
		answer(proxy, "error\n");
		return;
	}
	prepare_socket(link->fd);
	link->acceptable = event_new(proxy->base, link->fd, EV_READ | EV_PERSIST, on_acceptable, link);
	event_add(link->acceptable, NULL);
	proxy->links[proxy->link_count++] = link;
	snprintf(text, sizeof(text), "link %s %u\n", name, ntohs(address.sin_port));
	answer(proxy, text);
}

static void cut_link(struct proxy *proxy, struct proxy_link *link)
{
	link->cut = true;
	for (struct list *at = proxy->pairs.next, *next; at != &proxy->pairs; at = next) {
		struct pipe_pair *pair = LIST_ENTRY(at, struct pipe_pair, link);

		next = at->next;
		if (pair->owner == link)
			pair_close(pair);
	}
}

static void heal_link(struct proxy *proxy, struct proxy_link *link)
{
	link->cut = link->held[0] = link->held[1] = false;
	for (struct list *at = proxy->pairs.next, *next; at != &proxy->pairs; at = next) {
		struct pipe_pair *pair = LIST_ENTRY(at, struct pipe_pair, link);

		next = at->next;
		if (pair->owner != link || pair->connecting)
			continue;
		if (deliver(&pair->lanes[0]))
			(void)deliver(&pair->lanes[1]);
	}
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

	return left < right ? -1 : left > right;
}

static void answer_late(struct proxy *proxy)
{
	size_t count = proxy->late_count < LATE_SAMPLES ? (size_t)proxy->late_count : LATE_SAMPLES;
	uint32_t sorted[LATE_SAMPLES] = { 0 };
	char text[96];

	memcpy(sorted, proxy->late_us, count * sizeof(sorted[0]));
	qsort(sorted, count, sizeof(sorted[0]), compare_u32);
	snprintf(text, sizeof(text), "late %u %u %u\n", count == 0 ? 0 : sorted[count / 2],
		count == 0 ? 0 : sorted[count * 99 / 100], count == 0 ? 0 : sorted[count - 1]);
	answer(proxy, text);
}

static void command(struct proxy *proxy, char *line)
{
	char name[NAME_MAX_SIZE], way[8];
	unsigned long long number;
	struct proxy_link *link;

	if (sscanf(line, "link %127s %llu", name, &number) == 2) {
		add_link(proxy, name, number);
	} else if (sscanf(line, "target %127s %llu", name, &number) == 2 && (link = find_link(proxy, name)) != NULL) {
		link->target = (uint16_t)number;
		answer(proxy, "ok\n");
	} else if (strcmp(line, "delay on") == 0 || strcmp(line, "delay off") == 0) {
		proxy->delay = strcmp(line, "delay on") == 0;
		proxy->late_count = 0;
		answer(proxy, "ok\n");
	} else if (sscanf(line, "cut %127s", name) == 1 && (link = find_link(proxy, name)) != NULL) {
		cut_link(proxy, link);
		answer(proxy, "ok\n");
	} else if (sscanf(line, "heal %127s", name) == 1 && (link = find_link(proxy, name)) != NULL) {
		heal_link(proxy, link);
		answer(proxy, "ok\n");
	} else if (sscanf(line, "hold %127s %7s", name, way) == 2 && (link = find_link(proxy, name)) != NULL &&
		   (strcmp(way, "forth") == 0 || strcmp(way, "back") == 0)) {
		link->held[strcmp(way, "back") == 0] = true;
		answer(proxy, "ok\n");
	} else if (strcmp(line, "late") == 0) {
		answer_late(proxy);
	} else {
		answer(proxy, "error\n");
	}
}

static void on_control(evutil_socket_t fd, short what, void *arg)
{
	struct proxy *proxy = arg;
	ssize_t got = read(fd, proxy->line + proxy->line_size, sizeof(proxy->line) - 1 - proxy->line_size);
	char *end;

	(void)what;
	if (got <= 0) {
		if (got == 0 || (errno != EAGAIN && errno != EINTR))
			event_base_loopbreak(proxy->base);
		return;
	}
	proxy->line_size += (size_t)got;
	proxy->line[proxy->line_size] = '\0';
	while ((end = strchr(proxy->line, '\n')) != NULL) {
		*end = '\0';
		command(proxy, proxy->line);
		proxy->line_size -= (size_t)(end + 1 - proxy->line);
		memmove(proxy->line, end + 1, proxy->line_size + 1);
	}
	if (proxy->line_size == sizeof(proxy->line) - 1)
		event_base_loopbreak(proxy->base); /* no command is that long */
}

int proxy_run(int control_fd)
{
	static struct proxy proxy;
	struct event_config *config = event_config_new();

	/* The default timer of epoll has whole milliseconds; a round trip inside a region is half of one. */
	event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
	proxy.base = event_base_new_with_config(config);
	event_config_free(config);
	if (proxy.base == NULL)
		return 1;
	list_init(&proxy.pairs);
	proxy.control_fd = control_fd;
	proxy.control = event_new(proxy.base, control_fd, EV_READ | EV_PERSIST, on_control, &proxy);
	event_add(proxy.control, NULL);
	event_base_dispatch(proxy.base);
	return 0;
}
