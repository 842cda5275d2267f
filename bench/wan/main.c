/* bench/wan/main.c: wanlab: a map of regions as network namespaces, with a wire of its own delay between each two. The
 * small subcommands are here. */
#define _GNU_SOURCE
#include "bench/wan/wanlab.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/wan/control.h"
#include "bench/wan/namespace.h"
#include "bench/wan/state.h"

static int usage(FILE *out)
{
	fputs("wanlab: unmodified programs as if in several regions (root, Linux)\n\n"
	      "  wanlab run MAP [flags] [--] COMMAND...     a lab around a command; MAP: eu3, wan3, wan5, lan3 or a "
	      "file\n"
	      "      --nodes-per-region N                   1 to 9; default as the map says\n"
	      "      --check refuse|mark|off                round trips off before the command: default refuse (14)\n"
	      "      --report FILE                          settings, counts, check as JSON when it is over\n"
	      "      --seed N  --mtu N  --quiet\n"
	      "  wanlab exec [--lab L] REGION|HOST CMD...   a command on a host: eu-west-1 (its client), eu-west-1-n1\n"
	      "  wanlab ctl [--lab L] WORD...               link, cut, heal, delays, show, stats, reset\n"
	      "  wanlab ping [--lab L] [--json]             round trips beside the configured ones; 14 when off\n"
	      "  wanlab list | clean | version\n",
		out);
	return out == stdout ? WANLAB_OK : WANLAB_USAGE;
}

static const char *lab_flag(int argc, char **argv)
{
	static const struct option options[] = { { "lab", required_argument, NULL, 'l' }, { 0 } };
	const char *lab = NULL;
	int flag;

	while ((flag = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		if (flag != 'l')
			exit(usage(stderr));
		lab = optarg;
	}
	return lab;
}

int wanlab_ctl(int argc, char **argv)
{
	char name[LAB_NAME_MAX], path[LAB_PATH_MAX], words[COMMAND_LINE_MAX], *answer;
	const char *given = lab_flag(argc, argv);
	struct text line;
	int code;

	text_init(&line, words, sizeof(words));
	for (int i = optind; i < argc; i++) {
		text_add(&line, i == optind ? "" : " ");
		text_add(&line, argv[i]);
	}
	if (line.size == 0 || text_full(&line))
		return usage(stderr);
	if (!state_find(given, name))
		return WANLAB_FAILED;
	lab_path(name, "control", path, sizeof(path));
	answer = control_ask(path, words);
	if (answer == NULL) {
		fprintf(stderr, "wanlab: %s: %s\n", path, strerror(errno));
		return WANLAB_FAILED;
	}
	code = strncmp(answer, "ok", 2) == 0 ? WANLAB_OK : WANLAB_FAILED;
	fprintf(code == WANLAB_OK ? stdout : stderr, "%s\n", answer);
	free(answer);
	return code;
}

/* The region of a host of the lab, by the region's names in the lab's environment: "eu-west-1-n2" is in eu-west-1. */
static void set_region(const char *host)
{
	char region[REGION_NAME_MAX + 8], *node;

	snprintf(region, sizeof(region), "%s", host);
	node = strrchr(region, '-');
	if (node != NULL && node[1] == 'n' && strspn(node + 2, "0123456789") == strlen(node + 2) && node[2] != '\0')
		*node = '\0';
	state_enter_region(region);
	if (setenv("WANLAB_HOST", host, 1) != 0)
		abort();
}

int wanlab_exec(int argc, char **argv)
{
	char name[LAB_NAME_MAX], path[LAB_PATH_MAX];
	const char *given = lab_flag(argc, argv), *host;
	int error;

	if (argc - optind < 2)
		return usage(stderr);
	if (!state_find(given, name))
		return WANLAB_FAILED;
	host = argv[optind];
	if (strlen(host) > REGION_NAME_MAX + 8 || strchr(host, '/') != NULL) {
		fprintf(stderr, "wanlab: '%s' is no host\n", host);
		return WANLAB_USAGE;
	}
	lab_netns_path(name, host, path, sizeof(path));
	error = namespace_enter(path);
	if (error != 0) {
		fprintf(stderr, "wanlab: %s has no host %s: %s\n", name, host, strerror(error));
		return WANLAB_FAILED;
	}
	error = state_read_environment(name);
	if (error != 0)
		fprintf(stderr, "wanlab: the environment of %s: %s\n", name, strerror(error));
	state_mark(name);
	set_region(host);
	execvp(argv[optind + 1], argv + optind + 1);
	fprintf(stderr, "wanlab: %s: %s\n", argv[optind + 1], strerror(errno));
	return WANLAB_CANNOT_RUN;
}

static void print_lab(const char *name, void *arg)
{
	(void)arg;
	puts(name);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(int argc, char **argv);
	} commands[] = { { "run", wanlab_run }, { "exec", wanlab_exec }, { "ctl", wanlab_ctl },
		{ "ping", wanlab_ping } };

	for (size_t i = 0; argc >= 2 && i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	}
	if (argc == 2 && strcmp(argv[1], "list") == 0) {
		state_running(print_lab, NULL);
		return WANLAB_OK;
	}
	if (argc == 2 && strcmp(argv[1], "clean") == 0) {
		state_clear_dead();
		return WANLAB_OK;
	}
	if (argc == 2 && (strcmp(argv[1], "version") == 0 || strcmp(argv[1], "--version") == 0)) {
		puts("wanlab " DOMICILE_VERSION);
		return WANLAB_OK;
	}
	if (argc == 2 && (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0))
		return usage(stdout);
	if (argc >= 2)
		fprintf(stderr, "wanlab: no subcommand '%s'\n", argv[1]);
	return usage(stderr);
}
