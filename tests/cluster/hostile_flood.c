/* tests/cluster/hostile_flood.c: who wants a node's memory or time: answers that are asked for and not read, frames
 * that are begun and not ended, connections that say nothing. The node's resident memory is watched, and a well-behaved
 * connection beside it goes on. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/cluster/hostile.h"

enum { LINES = 256, SILENT = 900, HEALTHY_MS_MAX = 5000 };

static uint64_t resident_mib(int pid)
{
	char path[64], line[256];
	uint64_t kib = 0;
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	FILE *file = fopen(path, "re");
	if (!file)
		return UINT64_MAX / 2;
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "VmRSS: %lu", (unsigned long *)&kib) == 1)
			break;
	fclose(file);
	return kib / 1024;
}

static bool open_line(struct line *line, const char *address, const struct thief *thief)
{
	struct message hello;
	return line_open(line, address, thief, "domicile/1") && line_greet(line, "", 0, &hello);
}

static void set_blocking(struct line *line, bool blocking)
{
	int flags = fcntl(line->fd, F_GETFL);
	fcntl(line->fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
}

/* Milliseconds that a well-behaved operation takes; UINT64_MAX: it got no answer. */
static uint64_t healthy_ms(struct line *line)
{
	struct message ping = { .kind = MESSAGE_REQUEST }, reply;
	ping.ask.operation = OPERATION_PING;
	uint64_t begin_ns = clock_boot_ns();
	if (!line_ask(line, &ping, &reply) || reply.reply.status != STATUS_OK)
		return UINT64_MAX;
	return (clock_boot_ns() - begin_ns) / 1000000;
}

struct watch {
	struct line healthy;
	int pid;
	uint64_t before_mib, peak_mib, growth_max_mib, slowest_ms;
};

static void look(struct watch *watch)
{
	uint64_t now_mib = resident_mib(watch->pid), ms = healthy_ms(&watch->healthy);
	if (now_mib > watch->peak_mib)
		watch->peak_mib = now_mib;
	if (ms > watch->slowest_ms)
		watch->slowest_ms = ms;
}

static void verdict(struct watch *watch, const char *name, unsigned lines)
{
	look(watch);
	uint64_t growth = watch->peak_mib > watch->before_mib ? watch->peak_mib - watch->before_mib : 0;
	tally(growth <= watch->growth_max_mib && watch->slowest_ms <= HEALTHY_MS_MAX && lines > 0, name,
		"%u lines, %llu MiB more at the peak, the slowest of the others' %llu ms", lines,
		(unsigned long long)growth, (unsigned long long)watch->slowest_ms);
}

/* Says `payload` on all lines as long as anybody takes it, and never reads. */
static void flood(struct watch *watch, const char *address, const struct thief *thief, const char *name,
	const struct message *message, unsigned rounds)
{
	static struct line lines[LINES];
	uint8_t frame[4096], payload[2048];
	struct packer packer;
	unsigned open = 0;
	watch->peak_mib = watch->slowest_ms = 0;
	watch->before_mib = resident_mib(watch->pid);
	pack_init(&packer, payload, sizeof(payload));
	message_encode(message, &packer);
	assert(!packer.overflow);
	size_t size = frame_encode(pack_result(&packer), false, frame, sizeof(frame));
	while (open < LINES && open_line(&lines[open], address, thief))
		set_blocking(&lines[open++], false);
	for (unsigned round = 0; round < rounds; round++) {
		for (unsigned i = 0; i < open; i++) {
			size_t wrote = 0;
			for (unsigned n = 0; n < 32 && SSL_write_ex(lines[i].ssl, frame, size, &wrote) == 1; n++)
				;
		}
		if (round % 8 == 0)
			look(watch);
	}
	verdict(watch, name, open);
	for (unsigned i = 0; i < open; i++)
		line_close(&lines[i]);
}

/* 4 MiB are announced on every line and all but the last byte of them sent. */
static void half_frames(struct watch *watch, const char *address, const struct thief *thief)
{
	enum { SIZE = FRAME_SIZE_MAX_CLIENT };
	static struct line lines[LINES];
	static size_t sent[LINES];
	uint8_t *frame = calloc(1, FRAME_HEADER_SIZE + SIZE);
	unsigned open = 0;
	assert(frame);
	memcpy(frame, "dm\1", 4);
	frame[6] = frame[10] = SIZE >> 16;
	watch->peak_mib = watch->slowest_ms = 0;
	watch->before_mib = resident_mib(watch->pid);
	while (open < LINES && open_line(&lines[open], address, thief)) {
		set_blocking(&lines[open], false);
		sent[open++] = 0;
	}
	for (unsigned round = 0; round < 128; round++) {
		for (unsigned i = 0; i < open; i++) {
			size_t wrote = 0, left = FRAME_HEADER_SIZE + SIZE - 1 - sent[i];
			if (left > 0 &&
				SSL_write_ex(lines[i].ssl, frame + sent[i], left < 65536 ? left : 65536, &wrote) == 1)
				sent[i] += wrote;
		}
		if (round % 16 == 0)
			look(watch);
	}
	verdict(watch, "frames begun and not ended", open);
	for (unsigned i = 0; i < open; i++)
		line_close(&lines[i]);
	free(frame);
}

/* More silent connections than may wait for a greeting; whoever speaks gets in all the same. */
static void silence(struct watch *watch, const char *address, const struct thief *thief)
{
	static int fds[SILENT];
	unsigned open = 0, greeted = 0;
	watch->peak_mib = watch->slowest_ms = 0;
	watch->before_mib = resident_mib(watch->pid);
	while (open < SILENT && (fds[open] = line_connect(address)) >= 0) {
		if (open % 2 == 0 && send(fds[open], "\x16\x03\x01\x02", 4, MSG_NOSIGNAL) != 4)
			break; /* half of them begin a handshake, and no more */
		open++;
	}
	for (unsigned i = 0; i < 8; i++) {
		struct line line;
		greeted += open_line(&line, address, thief);
		line_close(&line);
	}
	verdict(watch, "connections that say nothing", open);
	tally(greeted == 8, "beside them whoever speaks is let in", "%u of 8", greeted);
	for (unsigned i = 0; i < open; i++)
		close(fds[i]);
}

int attack_floods(const char *address, const struct thief *thief, int pid, uint64_t growth_max_mib)
{
	struct watch watch = { .pid = pid, .growth_max_mib = growth_max_mib };
	struct message ask = { .kind = MESSAGE_MAP_REQUEST, .request = 1 };
	if (!open_line(&watch.healthy, address, thief)) {
		tally(false, "the scene", "%s", watch.healthy.why);
		return tally_end();
	}
	flood(&watch, address, thief, "maps asked for and not read", &ask, 48);
	struct cluster_map *map = line_map(&watch.healthy);
	assert(map);
	const struct policy *policy = map_policy_by_name(map, "default");
	assert(policy);
	ask = (struct message){ .kind = MESSAGE_REQUEST, .request = 1 };
	ask.ask = (struct message_request){
		.operation = OPERATION_SCAN, .level = READ_STRONG, .policy = policy->id, .limit = SCAN_ROWS_MAX
	};
	for (uint32_t i = 0; i < map->shard_count; i++)
		if (map->shards[i].policy == policy->id &&
			map_shard_of(map, policy->id, bytes_text("big")) == &map->shards[i])
			ask.ask.shard = map->shards[i].id;
	flood(&watch, address, thief, "scans asked for and not read", &ask, 48);
	half_frames(&watch, address, thief);
	silence(&watch, address, thief);
	line_close(&watch.healthy);
	free(map);
	return tally_end();
}
