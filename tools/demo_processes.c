/* tools/demo_processes.c: see tools/demo.h: nodes, proxy, command, and that none of them outlives domctl. */
#define _GNU_SOURCE
#include "tools/demo.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/random.h"
#include "tools/output.h"
#include "tools/proxy.h"

enum {
	PORT_FIRST = 10240,
	PORT_LAST = 32000, /* below what the kernel gives to outgoing connections */
	CONTROL_TIMEOUT_MS = 5000,
	LISTEN_TIMEOUT_MS = 15000,
	POLL_MS = 10,
	END_TIMEOUT_MS = 10000,
	END_STEP_MS = 300,
	LOG_LINES = 12,
};

/* --- children ---------------------------------------------------------------------------------------- */

/* In a child, before it becomes anything: only what is safe after fork in a program with threads. */
static void child_begin(pid_t parent, bool own_group)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (own_group)
		setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(125);
}

uint16_t demo_free_port(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET };

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (unsigned attempt = 0; attempt < 200; attempt++) {
		uint16_t random;
		int fd, bound;

		if (random_bytes(&random, sizeof(random)) != STATUS_OK)
			return 0;
		random = (uint16_t)(PORT_FIRST + random % (PORT_LAST - PORT_FIRST));
		address.sin_port = htons(random);
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		bound = fd < 0 ? -1 : bind(fd, (struct sockaddr *)&address, sizeof(address));
		if (fd >= 0)
			close(fd);
		if (bound == 0)
			return random;
	}
	return 0;
}

static void node_log_tail(const struct demo_node *node)
{
	char path[sizeof(node->dir) + 8], *line = NULL, *kept[LOG_LINES] = { NULL };
	size_t capacity = 0, count = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/log", node->dir);
	file = fopen(path, "r");
	while (file != NULL && getline(&line, &capacity, file) > 0) {
		free(kept[count % LOG_LINES]);
		kept[count++ % LOG_LINES] = strdup(line);
	}
	if (file != NULL)
		fclose(file);
	free(line);
	for (size_t i = count > LOG_LINES ? count - LOG_LINES : 0; i < count; i++)
		fprintf(stderr, "  | %s", kept[i % LOG_LINES] == NULL ? "\n" : kept[i % LOG_LINES]);
	for (size_t i = 0; i < LOG_LINES; i++)
		free(kept[i]);
}

static int node_ended(struct demo *demo, struct demo_node *node, int status)
{
	node->pid = 0;
	node->ended = true;
	fprintf(stderr, "last lines of the log of %s:\n", node->name);
	node_log_tail(node);
	if (WIFSIGNALED(status))
		return fail(demo->invocation, "DOM-D001", "a node ended", NULL, "%s was ended by signal %d", node->name,
			WTERMSIG(status));
	return fail(demo->invocation, "DOM-D001", "a node ended", NULL, "%s ended with exit code %d", node->name,
		WEXITSTATUS(status));
}

int demo_check_nodes(struct demo *demo)
{
	for (uint32_t i = 0; i < demo->node_count; i++) {
		int status;

		if (demo->nodes[i].pid != 0 && waitpid(demo->nodes[i].pid, &status, WNOHANG) == demo->nodes[i].pid)
			return node_ended(demo, &demo->nodes[i], status);
	}
	return EXIT_OK;
}

/* So that a command can end this very process, and nobody else's. */
static void write_pid(const struct demo_node *node)
{
	char path[sizeof(node->dir) + 8];
	FILE *file;

	snprintf(path, sizeof(path), "%s/pid", node->dir);
	file = fopen(path, "we");
	if (file == NULL)
		return;
	fprintf(file, "%d\n", (int)node->pid);
	fclose(file);
}

int demo_start_node(struct demo *demo, struct demo_node *node)
{
	char config[sizeof(node->dir) + 32], log[sizeof(node->dir) + 8], listening[sizeof(node->dir) + 16];
	uint64_t end_ns = clock_boot_ns() + (uint64_t)LISTEN_TIMEOUT_MS * 1000000;
	char *argv[] = { demo->domiciled, "--config", config, "--listening-file", listening, NULL };
	pid_t parent = getpid(), pid;
	int code;

	snprintf(config, sizeof(config), "%s/domiciled.yaml", node->dir);
	snprintf(log, sizeof(log), "%s/log", node->dir);
	snprintf(listening, sizeof(listening), "%s/listening", node->dir);
	pthread_mutex_lock(&demo->lock);
	unlink(listening);
	pid = fork();
	if (pid == 0) {
		int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600), null = open("/dev/null", O_RDONLY);

		child_begin(parent, true);
		dup2(null, 0);
		dup2(fd, 1);
		dup2(fd, 2);
		close_range(3, ~0U, 0);
		execv(argv[0], argv);
		_exit(126);
	}
	node->pid = pid > 0 ? pid : 0;
	node->ended = false;
	if (pid > 0)
		write_pid(node);
	pthread_mutex_unlock(&demo->lock);
	if (pid < 0)
		return fail(
			demo->invocation, "DOM-D001", "a node cannot be started", NULL, "fork: %s", strerror(errno));
	while (access(listening, R_OK) != 0) {
		if ((code = demo_check_nodes(demo)) != EXIT_OK)
			return code;
		if (clock_boot_ns() >= end_ns) {
			node_log_tail(node);
			return fail(demo->invocation, "DOM-D001", "a node does not listen", NULL, "%s", node->name);
		}
		usleep(POLL_MS * 1000);
	}
	return EXIT_OK;
}

/* --- the proxy --------------------------------------------------------------------------------------- */

int demo_start_proxy(struct demo *demo)
{
	int pair[2];
	pid_t parent = getpid(), pid;

	demo->control_fd = -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return fail(
			demo->invocation, "DOM-D001", "the delay proxy cannot be started", NULL, "%s", strerror(errno));
	fflush(stdout);
	fflush(stderr);
	pid = fork(); /* before any thread exists: the child goes on in C */
	if (pid == 0) {
		child_begin(parent, true);
		signal(SIGPIPE, SIG_IGN);
		close(pair[0]);
		_exit(proxy_run(pair[1]));
	}
	close(pair[1]);
	demo->control_fd = pair[0];
	demo->proxy_pid = pid > 0 ? pid : 0;
	if (pid < 0)
		return fail(
			demo->invocation, "DOM-D001", "the delay proxy cannot be started", NULL, "%s", strerror(errno));
	return EXIT_OK;
}

static int ask(struct demo *demo, const char *line, char answer[160])
{
	size_t size = strlen(line), got = 0;
	struct pollfd poll_fd = { .fd = demo->control_fd, .events = POLLIN };

	if (send(demo->control_fd, line, size, MSG_NOSIGNAL) != (ssize_t)size)
		return fail(demo->invocation, "DOM-D001", "the delay proxy is gone", NULL, "%s", strerror(errno));
	while (got == 0 || answer[got - 1] != '\n') {
		ssize_t count;

		if (poll(&poll_fd, 1, CONTROL_TIMEOUT_MS) == 0 || got + 1 >= 160)
			return fail(demo->invocation, "DOM-D001", "the delay proxy does not answer", NULL, NULL);
		count = recv(demo->control_fd, answer + got, 159 - got, 0);
		if (count == 0 || (count < 0 && errno != EINTR))
			return fail(demo->invocation, "DOM-D001", "the delay proxy is gone", NULL, NULL);
		got += count > 0 ? (size_t)count : 0;
	}
	answer[got] = '\0';
	if (strncmp(answer, "error", 5) == 0)
		return fail(demo->invocation, "DOM-D001", "the delay proxy refuses", NULL, "%s", line);
	return EXIT_OK;
}

int demo_link_all(struct demo *demo)
{
	char line[256], answer[160], name[160];
	int code = EXIT_OK;

	for (uint32_t i = 0; i < demo->node_count; i++) {
		struct demo_node *node = &demo->nodes[i];

		for (uint32_t from = 0; from < demo->topology.region_count && code == EXIT_OK; from++) {
			unsigned port = 0;

			snprintf(name, sizeof(name), "%s:%s", demo->topology.regions[from].name, node->name);
			snprintf(line, sizeof(line), "link %s %u\n", name,
				demo->topology.rtt_us[from][node->region] / 2);
			code = ask(demo, line, answer);
			if (code == EXIT_OK && sscanf(answer, "link %*s %u", &port) != 1)
				code = fail(demo->invocation, "DOM-X001", "the delay proxy answers something else",
					NULL, "%s", answer);
			node->from_port[from] = (uint16_t)port;
			snprintf(line, sizeof(line), "target %s %u\n", name, node->port);
			if (code == EXIT_OK)
				code = ask(demo, line, answer);
		}
	}
	return code;
}

int demo_delay(struct demo *demo, bool on)
{
	char answer[160];

	return demo->proxied ? ask(demo, on ? "delay on\n" : "delay off\n", answer) : EXIT_OK;
}

/* --- commands ---------------------------------------------------------------------------------------- */

static void set_variable(const char *name, const char *region, const char *value)
{
	char full[REGION_NAME_MAX + 40];

	snprintf(full, sizeof(full), "%s%s%s", name, region == NULL ? "" : "_", region == NULL ? "" : region);
	for (char *c = full; *c != '\0'; c++)
		*c = *c == '-' ? '_' : (char)(*c >= 'a' && *c <= 'z' ? *c - 32 : *c);
	setenv(full, value, 1);
}

static void set_environment(const struct demo *demo)
{
	char endpoints[1024];

	for (uint32_t i = 0; i < demo->topology.region_count; i++) {
		const char *region = demo->topology.regions[i].name;

		demo_endpoints(demo, i, endpoints, sizeof(endpoints));
		set_variable("DOMCTL_ENDPOINT", region, endpoints);
		set_variable("DOMCTL_CERTS", region, demo->certs);
		set_variable("DOMCTL_AS_REGION", region, region);
		if (i > 0)
			continue;
		set_variable("DOMCTL_ENDPOINT", NULL, endpoints);
		set_variable("DOMCTL_CERTS", NULL, demo->certs);
		set_variable("DOMCTL_AS_REGION", NULL, region);
	}
	setenv("DEMO_DIR", demo->root, 1);
	if (demo->control_fd < 0)
		return;
	/* What tools/proxy.h understands; its links are named "REGION:NODE", who dials and whom. */
	snprintf(endpoints, sizeof(endpoints), "%d", demo->control_fd);
	setenv("DEMO_PROXY_FD", endpoints, 1);
}

/* Lines of the child, each behind the indent. */
static void copy_lines(int fd, const char *indent)
{
	FILE *from = fdopen(fd, "r");
	char *line = NULL;
	size_t capacity = 0;

	while (from != NULL && getline(&line, &capacity, from) > 0)
		printf("%s%s", indent, line);
	free(line);
	if (from != NULL)
		fclose(from);
	fflush(stdout);
}

static void node_reaped(struct demo *demo, pid_t pid)
{
	for (uint32_t i = 0; i < demo->node_count; i++) {
		if (demo->nodes[i].pid == pid) {
			demo->nodes[i].pid = 0;
			demo->nodes[i].ended = true;
		}
	}
}

/* Until the command has ended. Nodes that end meanwhile are reaped: who runs the command may have ended them. Under the
 * lock, so that whoever cleans up after a signal knows every pid that it signals to be a child still. */
static int wait_for_command(struct demo *demo, pid_t pid)
{
	siginfo_t child;
	int status = 0;

	for (;;) {
		child.si_pid = 0;
		if (waitid(P_ALL, 0, &child, WEXITED | WNOWAIT) != 0 && errno != EINTR)
			return EXIT_BUG;
		if (child.si_pid == 0)
			continue;
		pthread_mutex_lock(&demo->lock);
		if (waitpid(child.si_pid, &status, 0) != child.si_pid)
			child.si_pid = 0;
		if (child.si_pid == pid)
			demo->command_pid = 0;
		else if (child.si_pid > 0)
			node_reaped(demo, child.si_pid);
		pthread_mutex_unlock(&demo->lock);
		if (child.si_pid == pid)
			return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	}
}

int demo_run(struct demo *demo, char *const argv[], const char *indent)
{
	int pipe_fds[2] = { -1, -1 };
	pid_t parent = getpid(), pid;

	if (indent != NULL && pipe(pipe_fds) != 0)
		return fail(demo->invocation, "DOM-X001", "no pipe", NULL, "%s", strerror(errno));
	fflush(stdout);
	fflush(stderr);
	pthread_mutex_lock(&demo->lock);
	set_environment(demo);
	if (indent != NULL && paint(stdout, PAINT_OFF)[0] != '\0')
		setenv("DOMCTL_COLOR", "always", 1); /* its output passes through us to a terminal */
	pid = fork();
	if (pid == 0) {
		child_begin(parent, false);
		if (indent != NULL) {
			dup2(pipe_fds[1], 1);
			dup2(pipe_fds[1], 2);
			close_range(3, ~0U, 0);
		} else if (demo->control_fd >= 0) {
			fcntl(demo->control_fd, F_SETFD, 0);
		}
		execvp(argv[0], argv);
		fprintf(stderr, "domctl: cannot run %s: %s\n", argv[0], strerror(errno));
		_exit(errno == ENOENT ? 127 : 126);
	}
	demo->command_pid = pid > 0 ? pid : 0;
	unsetenv("DOMCTL_COLOR");
	pthread_mutex_unlock(&demo->lock);
	if (indent != NULL) {
		close(pipe_fds[1]);
		copy_lines(pipe_fds[0], indent);
	}
	return pid < 0 ? EXIT_BUG : wait_for_command(demo, pid);
}

/* --- the end ----------------------------------------------------------------------------------------- */

static void signal_children(const struct demo *demo, int number, bool proxy_too)
{
	char path[64], *line = NULL, *rest;
	size_t capacity = 0;
	FILE *file;

	/* Those that commands left behind too: domctl adopts the orphans of its children. Only what is ours is listed.
	 */
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	file = fopen(path, "r");
	if (file != NULL && getline(&line, &capacity, file) > 0) {
		for (char *word = strtok_r(line, " \n", &rest); word != NULL; word = strtok_r(NULL, " \n", &rest)) {
			if (atoi(word) > 1 && (proxy_too || atoi(word) != demo->proxy_pid))
				kill(atoi(word), number);
		}
	}
	free(line);
	if (file != NULL) {
		fclose(file);
		return;
	}
	/* A kernel without that list: at least what we started ourselves. */
	for (uint32_t i = 0; i < demo->node_count; i++) {
		if (demo->nodes[i].pid > 0)
			kill(demo->nodes[i].pid, number);
	}
	if (demo->command_pid > 0)
		kill(demo->command_pid, number);
	if (proxy_too && demo->proxy_pid > 0)
		kill(demo->proxy_pid, number);
}

/* False: some are left when the time is over. */
static bool wait_for_children(uint32_t timeout_ms)
{
	uint64_t end_ns = clock_boot_ns() + (uint64_t)timeout_ms * 1000000;

	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);

		if (pid < 0 && errno == ECHILD)
			return true;
		if (pid != 0)
			continue;
		if (clock_boot_ns() >= end_ns)
			return false;
		usleep(POLL_MS * 1000);
	}
}

static bool wait_for_nodes(struct demo *demo, uint32_t timeout_ms)
{
	uint64_t end_ns = clock_boot_ns() + (uint64_t)timeout_ms * 1000000;
	bool left = true;

	while (left && clock_boot_ns() < end_ns) {
		left = false;
		for (uint32_t i = 0; i < demo->node_count; i++) {
			if (demo->nodes[i].pid > 0 && waitpid(demo->nodes[i].pid, NULL, WNOHANG) != 0)
				demo->nodes[i].pid = 0;
			left |= demo->nodes[i].pid > 0;
		}
		if (left)
			usleep(POLL_MS * 1000);
	}
	return !left;
}

static void remove_pids(const struct demo *demo)
{
	char path[sizeof(demo->nodes[0].dir) + 8];

	for (uint32_t i = 0; i < demo->node_count; i++) {
		snprintf(path, sizeof(path), "%s/pid", demo->nodes[i].dir);
		unlink(path);
	}
}

/* With the lock held. */
void demo_clean_up(struct demo *demo)
{
	if (demo->cleaned)
		return;
	demo->cleaned = true;
	if (demo->keep) {
		/* While the proxy still stands, so that they can hand over what they lead. */
		signal_children(demo, SIGTERM, false);
		(void)wait_for_nodes(demo, END_TIMEOUT_MS);
		remove_pids(demo);
	}
	if (demo->control_fd >= 0)
		close(demo->control_fd); /* the proxy ends by itself */
	demo->control_fd = -1;
	do
		signal_children(demo, SIGKILL, true);
	while (!wait_for_children(END_STEP_MS));
	if (!demo->keep && demo->root_made)
		demo_remove_tree(demo->root);
}

static void *signal_thread(void *arg)
{
	struct demo *demo = arg;
	sigset_t wanted;
	int number = 0;

	sigemptyset(&wanted);
	sigaddset(&wanted, SIGINT);
	sigaddset(&wanted, SIGTERM);
	sigaddset(&wanted, SIGHUP);
	sigaddset(&wanted, SIGQUIT);
	sigwait(&wanted, &number);
	pthread_mutex_lock(&demo->lock);
	if (!demo->cleaned) {
		static const char line[] = "\nstopping the cluster\n";

		errors_silence(); /* what the cluster's end makes fail */
		if (on_terminal(stderr) && write(2, line, sizeof(line) - 1) < 0)
			_exit(EXIT_BUG);
		if (demo->command_pid > 0)
			kill(demo->command_pid, SIGTERM);
		demo_clean_up(demo);
		_exit(demo->staying ? EXIT_OK : 128 + number);
	}
	pthread_mutex_unlock(&demo->lock);
	return NULL;
}

void demo_watch_signals(struct demo *demo)
{
	sigset_t wanted;
	pthread_t thread;
	int error;

	sigemptyset(&wanted);
	sigaddset(&wanted, SIGINT);
	sigaddset(&wanted, SIGTERM);
	sigaddset(&wanted, SIGHUP);
	sigaddset(&wanted, SIGQUIT);
	pthread_sigmask(SIG_BLOCK, &wanted, NULL); /* every later thread inherits it */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	error = pthread_create(&thread, NULL, signal_thread, demo);
	assert(error == 0);
	pthread_detach(thread);
}
