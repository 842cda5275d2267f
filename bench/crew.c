/* bench/crew.c: see bench/crew.h. */
#define _GNU_SOURCE
#include "bench/crew.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

bool crew_words(char *words[CREW_WORDS_MAX], uint32_t *count, const char *text, const char *region)
{
	const char *at = text;

	while (*(at += strspn(at, " \t")) != '\0') {
		size_t size = strcspn(at, " \t");
		char *word = strndup(at, size), *mark;

		if (word == NULL || *count + 1 >= CREW_WORDS_MAX) {
			free(word);
			return false;
		}
		if ((mark = strstr(word, "%s")) != NULL) {
			char *whole;

			*mark = '\0';
			if (asprintf(&whole, "%s%s%s", word, region, mark + 2) < 0)
				whole = NULL;
			free(word);
			if (whole == NULL)
				return false;
			word = whole;
		}
		words[(*count)++] = word;
		at += size;
	}
	words[*count] = NULL;
	return true;
}

void crew_words_free(char *words[CREW_WORDS_MAX], uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		free(words[i]);
}

static _Noreturn void become(char *const words[], const char *log, int in, int out, pid_t parent)
{
	int file = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0666);

	if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 || file < 0 || dup2(file, STDERR_FILENO) < 0)
		_exit(126);
	/* The worker dies with the coordinator, however that ends. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(126);
	execvp(words[0], words);
	fprintf(stderr, "dombench: %s: %s\n", words[0], strerror(errno));
	_exit(127);
}

bool crew_start(struct crew *crew, const char *name, char *const words[], const char *log)
{
	struct crew_member *member = &crew->members[crew->count];
	int to[2], from[2];
	pid_t parent = getpid();

	assert(crew->count < CREW_MAX);
	if (pipe2(to, O_CLOEXEC) != 0)
		goto failed;
	if (pipe2(from, O_CLOEXEC) != 0)
		goto failed_to;
	memset(member, 0, sizeof(*member));
	snprintf(member->name, sizeof(member->name), "%s", name);
	member->pid = fork();
	if (member->pid == 0)
		become(words, log, to[0], from[1], parent);
	if (member->pid < 0)
		goto failed_from;
	close(to[0]);
	close(from[1]);
	member->to = fdopen(to[1], "w");
	member->from = from[0];
	crew->count++;
	return member->to != NULL;
failed_from:
	close(from[0]);
	close(from[1]);
failed_to:
	close(to[0]);
	close(to[1]);
failed:
	fprintf(stderr, "dombench: a worker cannot be started: %s\n", strerror(errno));
	return false;
}

static bool heard_ready(struct crew_member *member)
{
	char line[64];
	ssize_t size = read(member->from, line, sizeof(line) - 1);

	if (size <= 0)
		return false;
	line[size] = '\0';
	member->ready = strstr(line, "ready") != NULL;
	return true;
}

bool crew_await_ready(struct crew *crew, uint64_t timeout_ns)
{
	uint64_t end_ns = clock_boot_ns() + timeout_ns;

	for (uint32_t i = 0; i < crew->count; i++) {
		struct crew_member *member = &crew->members[i];

		while (!member->ready) {
			uint64_t now_ns = clock_boot_ns();
			struct pollfd waiting = { member->from, POLLIN, 0 };
			int left_ms = now_ns >= end_ns ? 0 : (int)((end_ns - now_ns) / 1000000);

			if (left_ms == 0 || poll(&waiting, 1, left_ms) < 0 ||
				(waiting.revents != 0 && !heard_ready(member))) {
				fprintf(stderr, "dombench: the worker of %s is not ready\n", member->name);
				return false;
			}
		}
	}
	return true;
}

void crew_go(struct crew *crew, uint64_t start_ns)
{
	for (uint32_t i = 0; i < crew->count; i++) {
		fprintf(crew->members[i].to, "go %" PRIu64 "\n", start_ns);
		fflush(crew->members[i].to);
	}
}

static void reap(struct crew_member *member, int options)
{
	int status;

	if (member->pid == 0 || waitpid(member->pid, &status, options) != member->pid)
		return;
	member->pid = 0;
	member->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	fclose(member->to);
	close(member->from);
}

bool crew_ended(struct crew *crew)
{
	bool all = true;

	for (uint32_t i = 0; i < crew->count; i++) {
		reap(&crew->members[i], WNOHANG);
		all &= crew->members[i].pid == 0;
	}
	return all;
}

void crew_stop(struct crew *crew)
{
	for (uint32_t i = 0; i < crew->count; i++) {
		if (crew->members[i].pid == 0)
			continue;
		kill(crew->members[i].pid, SIGKILL);
		reap(&crew->members[i], 0);
	}
}
