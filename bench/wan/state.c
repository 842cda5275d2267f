/* bench/wan/state.c: see bench/wan/state.h. */
#define _GNU_SOURCE
#include "bench/wan/state.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/wan/namespace.h"

enum { GRACE_MS = 5000, LIMIT_MS = 15000, PAUSE_US = 20000, ASKED_MAX = 1024 };
#define PREFIX "wanlab-"
#define MARK   "WANLAB_OWNER"

/* --- locks -------------------------------------------------------------------------------------------- */

static int lock_file(const char *path, int how)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd >= 0 && flock(fd, how) != 0) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

/* Held while a lab is begun or cleared away, so that none is taken for dead before it has its lock. */
static int lock_all(void)
{
	if (mkdir(LAB_ROOT, 0755) != 0 && errno != EEXIST)
		return -1;
	return lock_file(LAB_ROOT "/lock", LOCK_EX);
}

static bool is_dead(const char *lab_name)
{
	char path[LAB_PATH_MAX];
	int fd;

	lab_path(lab_name, "lock", path, sizeof(path));
	fd = lock_file(path, LOCK_EX | LOCK_NB);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* --- the end ------------------------------------------------------------------------------------------ */

void state_mark(const char *lab_name)
{
	if (setenv(MARK, lab_name, 1) != 0)
		abort();
}

struct ending {
	pid_t asked[ASKED_MAX];
	unsigned asked_count;
	bool kill;
};

static void end_process(pid_t pid, void *arg)
{
	struct ending *ending = arg;

	for (unsigned i = 0; i < ending->asked_count && !ending->kill; i++) {
		if (ending->asked[i] == pid)
			return;
	}
	if (ending->asked_count < ASKED_MAX)
		ending->asked[ending->asked_count++] = pid;
	kill(pid, ending->kill ? SIGKILL : SIGTERM);
	kill(pid, SIGCONT);
}

/* The lab's namespaces by their names. */
struct names {
	char paths[LAB_HOSTS_MAX][LAB_PATH_MAX];
	const char *at[LAB_HOSTS_MAX];
	unsigned count;
};

static void find_names(const char *lab_name, struct names *names)
{
	char path[LAB_PATH_MAX];
	struct dirent *entry;
	DIR *dir;

	lab_path(lab_name, "net", path, sizeof(path));
	dir = opendir(path);
	names->count = 0;
	while (dir != NULL && (entry = readdir(dir)) != NULL && names->count < LAB_HOSTS_MAX) {
		if (entry->d_name[0] == '.' || strlen(entry->d_name) > REGION_NAME_MAX + 8)
			continue;
		lab_netns_path(lab_name, entry->d_name, names->paths[names->count], LAB_PATH_MAX);
		names->at[names->count] = names->paths[names->count];
		names->count++;
	}
	if (dir != NULL)
		closedir(dir);
}

static void end_processes(const char *lab_name, const struct names *names, void (*meanwhile)(void *arg), void *arg)
{
	char mark[LAB_NAME_MAX + sizeof(MARK)];
	uint64_t begin_ns = clock_boot_ns(), took_ms;
	struct ending ending = { .asked_count = 0 };

	snprintf(mark, sizeof(mark), MARK "=%s", lab_name);
	do {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (namespace_processes(names->at, names->count, mark, end_process, &ending) == 0)
			return;
		if (meanwhile != NULL)
			meanwhile(arg);
		else
			usleep(PAUSE_US);
		took_ms = (clock_boot_ns() - begin_ns) / 1000000;
		ending.kill = took_ms > GRACE_MS;
	} while (took_ms < LIMIT_MS);
	fprintf(stderr, "wanlab: processes of the lab are left that cannot be killed\n");
}

void state_end(const char *lab_name, void (*meanwhile)(void *arg), void *arg)
{
	static const char *const files[] = { "control", "environment", "check.json", "net", "lock", "" };
	static struct names names;
	char path[LAB_PATH_MAX];

	assert(strncmp(lab_name, PREFIX, strlen(PREFIX)) == 0);
	find_names(lab_name, &names);
	end_processes(lab_name, &names, meanwhile, arg);
	for (unsigned i = 0; i < names.count; i++)
		namespace_remove(names.at[i]);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		lab_path(lab_name, files[i], path, sizeof(path));
		remove(path);
	}
}

/* --- the beginning ------------------------------------------------------------------------------------ */

static unsigned each_lab(bool dead, void (*each)(const char *lab_name, void *arg), void *arg)
{
	DIR *dir = opendir(LAB_ROOT);
	struct dirent *entry;
	unsigned count = 0;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) != 0 || strlen(entry->d_name) >= LAB_NAME_MAX ||
			is_dead(entry->d_name) != dead)
			continue;
		count++;
		if (each != NULL)
			each(entry->d_name, arg);
	}
	if (dir != NULL)
		closedir(dir);
	return count;
}

static void clear_away(const char *lab_name, void *arg)
{
	(void)arg;
	fprintf(stderr, "wanlab: clears away %s, whose process is gone\n", lab_name);
	state_end(lab_name, NULL, NULL);
}

unsigned state_clear_dead(void)
{
	int all = lock_all();
	unsigned count = all < 0 ? 0 : each_lab(true, clear_away, NULL);

	if (all >= 0)
		close(all);
	return count;
}

int state_begin(const char *lab_name)
{
	char path[LAB_PATH_MAX];
	int all = lock_all(), error = 0;

	if (all < 0)
		return errno;
	each_lab(true, clear_away, NULL);
	lab_path(lab_name, "", path, sizeof(path));
	if (mkdir(path, 0755) != 0)
		error = errno;
	lab_path(lab_name, "net", path, sizeof(path));
	if (error == 0 && mkdir(path, 0755) != 0)
		error = errno;
	lab_path(lab_name, "lock", path, sizeof(path));
	if (error == 0 && lock_file(path, LOCK_EX | LOCK_NB) < 0) /* held until we end */
		error = errno;
	close(all);
	return error;
}

unsigned state_running(void (*each)(const char *lab_name, void *arg), void *arg)
{
	int all = lock_all();
	unsigned count = all < 0 ? 0 : each_lab(false, each, arg);

	if (all >= 0)
		close(all);
	return count;
}

static void keep_name(const char *lab_name, void *arg)
{
	snprintf(arg, LAB_NAME_MAX, "%s", lab_name);
}

bool state_find(const char *given, char out[LAB_NAME_MAX])
{
	char path[LAB_PATH_MAX];
	unsigned running;

	if (given == NULL || given[0] == '\0')
		given = getenv("WANLAB");
	if (given != NULL && given[0] != '\0') {
		if (strncmp(given, PREFIX, strlen(PREFIX)) != 0 || strlen(given) >= LAB_NAME_MAX ||
			strchr(given, '/') != NULL) {
			fprintf(stderr, "wanlab: '%s' is no lab's name; `wanlab list` shows them\n", given);
			return false;
		}
		snprintf(out, LAB_NAME_MAX, "%s", given);
		lab_path(out, "control", path, sizeof(path));
		if (access(path, F_OK) == 0)
			return true;
		fprintf(stderr, "wanlab: no lab %s runs here\n", given);
		return false;
	}
	running = state_running(keep_name, out);
	if (running != 1)
		fprintf(stderr, running == 0 ? "wanlab: no lab runs here; `wanlab run` starts one\n"
					     : "wanlab: several labs run here; say --lab NAME (`wanlab list`)\n");
	return running == 1;
}
