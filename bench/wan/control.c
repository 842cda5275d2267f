/* bench/wan/control.c: see bench/wan/control.h. */
#define _GNU_SOURCE
#include "bench/wan/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench/wan/report.h"

enum { ASK_TIMEOUT_S = 10, ANSWER_MAX = 1 << 20, SEND_TIMEOUT_MS = 200 };

/* --- answers ------------------------------------------------------------------------------------------ */

static bool set_links(struct lab *lab, const struct command *command, struct text *why)
{
	uint32_t regions = lab->topology.region_count;
	struct link_settings *merged = calloc((size_t)regions * regions, sizeof(*merged));
	bool ok = merged != NULL;

	/* All or none. */
	for (uint32_t i = 0; i < regions * regions && ok; i++) {
		merged[i] = lab->links[i].settings;
		if (command_covers(command, i / regions, i % regions))
			ok = command_merge(command, &merged[i], why);
	}
	for (uint32_t i = 0; i < regions * regions && ok; i++)
		link_set(&lab->links[i], &merged[i]);
	free(merged);
	return ok;
}

static void set_cuts(struct lab *lab, const struct command *command)
{
	uint32_t regions = lab->topology.region_count;
	bool all = command->kind == COMMAND_HEAL && command->from == COMMAND_ANY && command->to == COMMAND_ANY;

	for (uint32_t i = 0; i < regions * regions; i++) {
		if (all || command_covers(command, i / regions, i % regions))
			lab->links[i].cut = command->kind == COMMAND_CUT;
	}
}

static char *say(const char *word, const char *rest)
{
	char *line = NULL;

	if (asprintf(&line, "%s%s%s", word, rest[0] == '\0' ? "" : " ", rest) < 0)
		abort();
	return line;
}

static char *say_json(json_t *json)
{
	char *dumped = json_dumps(json, JSON_COMPACT), *line;

	json_decref(json);
	if (dumped == NULL)
		abort();
	line = say("ok", dumped);
	free(dumped);
	return line;
}

char *control_answer(struct emulator *emulator, char *line)
{
	struct lab *lab = emulator->lab;
	struct command command;
	char reason[256];
	struct text why;

	text_init(&why, reason, sizeof(reason));
	if (!command_parse(line, lab->region_names, lab->topology.region_count, &command, &why))
		return say("error", reason);
	switch (command.kind) {
	case COMMAND_LINK:
		return set_links(lab, &command, &why) ? say("ok", "") : say("error", reason);
	case COMMAND_CUT:
	case COMMAND_HEAL:
		set_cuts(lab, &command);
		return say("ok", "");
	case COMMAND_DELAYS_ON:
	case COMMAND_DELAYS_OFF:
		lab->delayed = command.kind == COMMAND_DELAYS_ON;
		return say("ok", "");
	case COMMAND_SHOW:
		return say_json(report_settings(lab));
	case COMMAND_STATS:
		return say_json(report_counts(emulator));
	case COMMAND_RESET:
		report_reset(emulator);
		return say("ok", "");
	}
	return say("error", "not known");
}

/* --- connections -------------------------------------------------------------------------------------- */

static void hang_up(struct control_client *client)
{
	emulator_forget(client->control->emulator, &client->source);
	close(client->source.fd);
	client->source.fd = -1;
	client->size = 0;
}

/* The socket blocks, for a moment: who does not read the answer is not waited for. */
static bool reply(struct control_client *client, char *line)
{
	char *answer = control_answer(client->control->emulator, line);
	size_t size = strlen(answer), sent = 0;
	ssize_t now = 0;

	answer[size++] = '\n'; /* in place of its NUL */
	while (sent < size && (now = send(client->source.fd, answer + sent, size - sent, MSG_NOSIGNAL)) > 0)
		sent += (size_t)now;
	free(answer);
	return sent == size;
}

static void client_ready(struct source *source, void *arg)
{
	struct control_client *client = arg;
	ssize_t got = recv(source->fd, client->line + client->size, sizeof(client->line) - client->size, MSG_DONTWAIT);
	char *end;

	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0) {
		hang_up(client);
		return;
	}
	client->size += (size_t)got;
	while ((end = memchr(client->line, '\n', client->size)) != NULL) {
		size_t size = (size_t)(end - client->line) + 1;

		*end = '\0';
		if (!reply(client, client->line)) {
			hang_up(client);
			return;
		}
		memmove(client->line, client->line + size, client->size - size);
		client->size -= size;
	}
	if (client->size == sizeof(client->line))
		hang_up(client);
}

static void listener_ready(struct source *source, void *arg)
{
	struct control *control = arg;
	struct timeval patience = { .tv_usec = SEND_TIMEOUT_MS * 1000 };
	int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC);

	for (unsigned i = 0; fd >= 0 && i < CONTROL_CLIENTS_MAX; i++) {
		struct control_client *client = &control->clients[i];

		if (client->source.fd >= 0)
			continue;
		client->source = (struct source){ .fd = fd, .ready = client_ready, .arg = client };
		client->size = 0;
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
		if (emulator_watch(control->emulator, &client->source) == 0)
			return;
		client->source.fd = -1;
		break;
	}
	if (fd >= 0)
		close(fd);
}

static bool address_of(const char *path, struct sockaddr_un *out)
{
	*out = (struct sockaddr_un){ .sun_family = AF_UNIX };
	return snprintf(out->sun_path, sizeof(out->sun_path), "%s", path) < (int)sizeof(out->sun_path);
}

int control_init(struct control *control, struct emulator *emulator, const char *path)
{
	struct sockaddr_un address;
	int fd;

	memset(control, 0, sizeof(*control));
	control->emulator = emulator;
	control->listener = (struct source){ .fd = -1, .ready = listener_ready, .arg = control };
	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++)
		control->clients[i] = (struct control_client){ .source.fd = -1, .control = control };
	if (!address_of(path, &address))
		return ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return errno;
	control->listener.fd = fd;
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, CONTROL_CLIENTS_MAX) != 0)
		return errno;
	return emulator_watch(emulator, &control->listener);
}

void control_deinit(struct control *control)
{
	if (control->emulator == NULL)
		return;
	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		if (control->clients[i].source.fd >= 0)
			hang_up(&control->clients[i]);
	}
	if (control->listener.fd >= 0)
		close(control->listener.fd);
	control->emulator = NULL;
}

char *control_ask(const char *path, const char *line)
{
	struct sockaddr_un address;
	struct timeval patience = { .tv_sec = ASK_TIMEOUT_S };
	FILE *stream;
	char *answer = NULL;
	size_t capacity = 0;
	ssize_t size;
	int fd;

	if (!address_of(path, &address)) {
		errno = ENAMETOOLONG;
		return NULL;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return NULL;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || dprintf(fd, "%s\n", line) < 0 ||
		(stream = fdopen(fd, "r")) == NULL) {
		close(fd);
		return NULL;
	}
	size = getline(&answer, &capacity, stream);
	fclose(stream);
	if (size <= 0 || answer[size - 1] != '\n') {
		free(answer);
		errno = ECONNRESET;
		return NULL;
	}
	answer[size - 1] = '\0';
	return answer;
}
