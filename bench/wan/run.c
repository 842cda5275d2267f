/* bench/wan/run.c: wanlab run: a lab around a command. This process makes the namespaces, carries the packets, answers
 * the control socket, and waits for the command; when that has ended, or a signal comes, it takes all of it down.
 *
 *   made -> checked -> running -> ending -> gone          a signal or a failure leads to `ending` from everywhere
 *
 * It adopts what the command leaves behind (a child subreaper), and finds what entered its namespaces in /proc. Killed
 * outright it takes the wires with it, the kernel ends the command (PR_SET_PDEATHSIG), and the next start clears away
 * the rest (bench/wan/state.h). One thread. */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/units.h"
#include "bench/wan/control.h"
#include "bench/wan/namespace.h"
#include "bench/wan/report.h"
#include "bench/wan/state.h"
#include "bench/wan/wanlab.h"

enum { STEP_NS = 20000000, GRACE_NS = 1000000000, GRACES = 5, MTU = 1500 };
enum check { CHECK_REFUSE, CHECK_MARK, CHECK_OFF };

struct run {
	const char *map, *report_file;
	char **command;
	uint64_t nodes_per_region, seed, mtu, tolerance_us;
	enum check check;
	bool quiet;

	struct lab lab;
	struct emulator emulator;
	struct control control;
	struct source signals;
	char program[LAB_PATH_MAX * 2]; /* our own path */
	const char *verdict;		/* of the check: ok, off, none */
	pid_t child;			/* 0: none */
	int child_status, signal;	/* signal: that asked us to end; 0: none */
};

static int failed(const char *what, int error)
{
	fprintf(stderr, "wanlab: %s: %s\n", what, strerror(error));
	return WANLAB_FAILED;
}

/* --- flags -------------------------------------------------------------------------------------------- */

static int bad_flag(const char *text)
{
	fprintf(stderr, "wanlab run: %s; `wanlab help` says how\n", text);
	return WANLAB_USAGE;
}

static bool number(const char *text, uint64_t first, uint64_t last, uint64_t *out)
{
	return parse_u64(text, out) && *out >= first && *out <= last;
}

static int take_flag(struct run *run, int flag, const char *value)
{
	static const char *const checks[] = { "refuse", "mark", "off" };

	switch (flag) {
	case 'n':
		return number(value, 1, LAB_NODES_PER_REGION_MAX, &run->nodes_per_region)
			       ? WANLAB_OK
			       : bad_flag("--nodes-per-region wants 1 to 9");
	case 's':
		return number(value, 0, UINT64_MAX, &run->seed) ? WANLAB_OK : bad_flag("--seed wants a number");
	case 'm':
		return number(value, NAMESPACE_MTU_MIN, NAMESPACE_MTU_MAX, &run->mtu)
			       ? WANLAB_OK
			       : bad_flag("--mtu wants 576 to 9000");
	case 't':
		return parse_duration_us(value, &run->tolerance_us)
			       ? WANLAB_OK
			       : bad_flag("--tolerance wants a duration, like 300us");
	case 'r':
		run->report_file = value;
		return WANLAB_OK;
	case 'q':
		run->quiet = true;
		return WANLAB_OK;
	case 'c':
		for (int i = 0; i < 3; i++) {
			if (strcmp(value, checks[i]) == 0) {
				run->check = (enum check)i;
				return WANLAB_OK;
			}
		}
		return bad_flag("--check wants refuse, mark or off");
	default:
		return bad_flag("what flag is this?");
	}
}

static int parse_flags(struct run *run, int argc, char **argv)
{
	static const struct option options[] = { { "nodes-per-region", required_argument, NULL, 'n' },
		{ "seed", required_argument, NULL, 's' }, { "mtu", required_argument, NULL, 'm' },
		{ "check", required_argument, NULL, 'c' }, { "tolerance", required_argument, NULL, 't' },
		{ "report", required_argument, NULL, 'r' }, { "quiet", no_argument, NULL, 'q' }, { 0 } };
	int flag, code;

	if (argc < 2 || argv[1][0] == '-')
		return bad_flag("a map is wanted first: eu3, wan3, wan5, lan3, or a file");
	run->map = argv[1];
	optind = 2;
	while ((flag = getopt_long(argc, argv, "+q", options, NULL)) != -1) {
		if ((code = take_flag(run, flag, optarg)) != WANLAB_OK)
			return code;
	}
	if (optind >= argc)
		return bad_flag("a command is wanted");
	run->command = argv + optind;
	return WANLAB_OK;
}

static int load_map(const char *name, struct topology *topology)
{
	static struct config_errors errors;
	char text[CONFIG_ERROR_TEXT_MAX];

	if (topology_builtin(name, topology))
		return WANLAB_OK;
	config_errors_init(&errors);
	if (topology_load(name, topology, &errors))
		return WANLAB_OK;
	for (uint32_t i = 0; i < errors.count; i++)
		fprintf(stderr, "%s\n", config_error_format(&errors.at[i], text, sizeof(text)));
	fprintf(stderr, "wanlab: %s is no map: give eu3, wan3, wan5, lan3, or a file as config/map_file.h has it\n",
		name);
	return WANLAB_USAGE;
}

/* --- children ----------------------------------------------------------------------------------------- */

static void signals_ready(struct source *source, void *arg)
{
	struct run *run = arg;
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	while (read(source->fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo != SIGCHLD) {
			run->signal = (int)info.ssi_signo;
			continue;
		}
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
			if (pid != run->child)
				continue;
			run->child = 0;
			run->child_status = status;
		}
	}
}

/* Before anything is made that would have to be taken down. */
static int take_signals(struct run *run)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
		return errno;
	signal(SIGPIPE, SIG_IGN); /* nobody reads our words: no reason to leave a lab behind */
	run->signals = (struct source){
		.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC), .ready = signals_ready, .arg = run
	};
	return run->signals.fd < 0 ? errno : 0;
}

static _Noreturn void become(char *const argv[], pid_t parent)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	prctl(PR_SET_TIMERSLACK, 0, 0, 0, 0); /* the default again */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() == parent)
		execvp(argv[0], argv);
	fprintf(stderr, "wanlab: %s: %s\n", argv[0], strerror(errno));
	_exit(WANLAB_CANNOT_RUN);
}

/* Runs it to its end while packets are carried. A signal to us asks it to end, and after a while kills it. Returns its
 * exit code, 128 + the number of the signal that ended it or us. */
static int run_child(struct run *run, char *const argv[])
{
	pid_t parent = getpid();
	uint64_t asked_ns = 0;

	run->child = fork();
	if (run->child == 0)
		become(argv, parent);
	if (run->child < 0) {
		run->child = 0;
		return failed("fork", errno);
	}
	while (run->child != 0) {
		emulator_step(&run->emulator, GRACE_NS);
		if (run->signal == 0 || run->child == 0)
			continue;
		if (asked_ns == 0) {
			asked_ns = clock_boot_ns();
			kill(run->child, SIGTERM);
		} else if (clock_boot_ns() - asked_ns > (uint64_t)GRACES * GRACE_NS) {
			kill(run->child, SIGKILL);
		}
	}
	if (run->signal != 0)
		return 128 + run->signal;
	return WIFSIGNALED(run->child_status) ? 128 + WTERMSIG(run->child_status) : WEXITSTATUS(run->child_status);
}

/* --- the lab ------------------------------------------------------------------------------------------ */

static int make_lab(struct run *run)
{
	char path[LAB_PATH_MAX];
	int error;

	for (uint32_t i = 0; i < run->lab.host_count; i++) {
		struct lab_host *host = &run->lab.hosts[i];

		error = namespace_create(host->netns, host->address, (int)run->mtu, &host->wire_fd, &host->device_fd,
			host->congestion, sizeof(host->congestion));
		if (error != 0)
			return failed(host->netns, error);
	}
	if ((error = emulator_init(&run->emulator, &run->lab)) != 0)
		return failed("the emulator", error);
	if ((error = emulator_watch(&run->emulator, &run->signals)) != 0)
		return failed("signals", error);
	lab_path(run->lab.name, "control", path, sizeof(path));
	if ((error = control_init(&run->control, &run->emulator, path)) != 0)
		return failed(path, error);
	return WANLAB_OK;
}

static int check_lab(struct run *run)
{
	char path[LAB_PATH_MAX], tolerance[UNITS_TEXT_MAX];
	char *argv[] = { run->program, "ping", "--lab", run->lab.name, "--json-file", path, "--tolerance", tolerance,
		"--quiet", NULL };
	int code;

	if (run->check == CHECK_OFF)
		return WANLAB_OK;
	lab_path(run->lab.name, "check.json", path, sizeof(path));
	format_duration(tolerance, sizeof(tolerance), run->tolerance_us);
	code = run_child(run, argv);
	report_reset(&run->emulator);
	if (code == WANLAB_OFF && run->check == CHECK_MARK) {
		run->verdict = "off";
		fprintf(stderr, "wanlab: MARKED: the round trips are not as configured\n");
		return WANLAB_OK;
	}
	if (code == WANLAB_OFF)
		fprintf(stderr, "wanlab: the round trips are not as configured: the command is not run; "
				"less running on this machine, --tolerance 1ms or --check mark\n");
	run->verdict = code == WANLAB_OK ? "ok" : "off";
	return code;
}

static int run_command(struct run *run)
{
	int error = state_write_environment(&run->lab, run->program, run->verdict);

	if (error == 0)
		error = state_read_environment(run->lab.name);
	state_mark(run->lab.name);
	return error != 0 ? failed("the environment", error) : run_child(run, run->command);
}

static void carry_on(void *arg)
{
	struct run *run = arg;
	uint64_t end_ns = clock_boot_ns() + STEP_NS, now_ns;

	while ((now_ns = clock_boot_ns()) < end_ns)
		emulator_step(&run->emulator, end_ns - now_ns);
}

/* --- the report --------------------------------------------------------------------------------------- */

static double cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void write_report(const struct run *run, json_t *counts, int code)
{
	char path[LAB_PATH_MAX];
	json_t *report = json_object(), *check;

	lab_path(run->lab.name, "check.json", path, sizeof(path));
	check = json_load_file(path, 0, NULL);
	json_object_set_new(report, "check", check == NULL ? json_null() : check);
	json_object_set_new(report, "settings", report_settings(&run->lab));
	json_object_set(report, "counts", counts);
	json_object_set_new(report, "cpu_seconds", json_real(cpu_seconds()));
	json_object_set_new(report, "exit_code", json_integer(code));
	if (json_dump_file(report, run->report_file, JSON_INDENT(1)) != 0)
		fprintf(stderr, "wanlab: %s cannot be written\n", run->report_file);
	json_decref(report);
}

static void report(const struct run *run, int code)
{
	json_t *counts = report_counts(&run->emulator), *late = json_object_get(counts, "late_us");
	bool starved = json_is_true(json_object_get(counts, "starved"));

	if (!run->quiet || starved)
		fprintf(stderr, "wanlab: packets were late by %.2f ms (p50) %.2f (p99) %.2f (max)%s\n",
			(double)json_integer_value(json_object_get(late, "p50")) / 1000,
			(double)json_integer_value(json_object_get(late, "p99")) / 1000,
			(double)json_integer_value(json_object_get(late, "max")) / 1000,
			starved ? "; MARKED: the emulator was starved" : "");
	if (run->report_file != NULL)
		write_report(run, counts, code);
	json_decref(counts);
}

static int run_lab(struct run *run)
{
	int code = make_lab(run);

	if (code == WANLAB_OK)
		code = check_lab(run);
	if (code == WANLAB_OK) {
		code = run_command(run);
		report(run, code);
	}
	return code;
}

int wanlab_run(int argc, char **argv)
{
	static struct run run;
	struct topology topology;
	char name[LAB_NAME_MAX];
	const char *unavailable;
	ssize_t size;
	int code, error;

	run = (struct run){ .mtu = MTU, .seed = 1, .tolerance_us = WANLAB_TOLERANCE_US, .verdict = "none" };
	if ((code = parse_flags(&run, argc, argv)) != WANLAB_OK || (code = load_map(run.map, &topology)) != WANLAB_OK)
		return code;
	if ((unavailable = namespace_unavailable()) != NULL) {
		fprintf(stderr, "wanlab: skipped: %s\n", unavailable);
		return WANLAB_SKIPPED;
	}
	size = readlink("/proc/self/exe", run.program, sizeof(run.program) - 1);
	if (size <= 0)
		return failed("/proc/self/exe", errno);
	snprintf(name, sizeof(name), "wanlab-%d", (int)getpid());
	if ((error = take_signals(&run)) != 0)
		return failed("signals", error);
	if ((error = state_begin(name)) != 0)
		return failed(LAB_ROOT, error);
	lab_init(&run.lab, name, &topology,
		run.nodes_per_region != 0 ? (uint32_t)run.nodes_per_region : topology.nodes_per_region, run.seed);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	code = run_lab(&run);
	state_end(name, run.emulator.lab != NULL ? carry_on : NULL, &run);
	control_deinit(&run.control);
	emulator_deinit(&run.emulator);
	lab_deinit(&run.lab);
	return code;
}
