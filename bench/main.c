/* bench/main.c: dombench, the load generator. One subcommand a file. */
#include <stdio.h>
#include <string.h>

#include "bench/bench.h"

static const struct subcommand {
	const char *name, *arguments, *what;
	int (*run)(int argc, char **argv);
} subcommands[] = {
	{ "throughput", "[flags]", "closed or open loop against one cluster", bench_throughput },
	{ "ycsb", "a|b|c|d|e|f", "the core workloads of YCSB", bench_ycsb },
	{ "geo", "MAP", "clients in every region of a map, beside the floor", bench_geo },
	{ "floors", "MAP", "what physics allows on a map, before anything runs", bench_floors },
	{ "peer", "etcd MAP", "the table of geo for etcd in the same lab", bench_peer },
	{ "compare", "DIR DIR", "two directories of results, figure by figure", bench_compare },
};
enum { SUBCOMMANDS = sizeof(subcommands) / sizeof(subcommands[0]) };

static int usage(FILE *out)
{
	fputs("dombench: load for Domicile\n\n", out);
	for (size_t i = 0; i < SUBCOMMANDS; i++)
		fprintf(out, "  dombench %-11s %-12s %s\n", subcommands[i].name, subcommands[i].arguments,
			subcommands[i].what);
	fputs("  dombench version\n\nEach has --help.\n", out);
	return out == stdout ? 0 : 2;
}

int main(int argc, char **argv)
{
	for (size_t i = 0; argc >= 2 && i < SUBCOMMANDS; i++) {
		if (strcmp(argv[1], subcommands[i].name) == 0)
			return subcommands[i].run(argc - 1, argv + 1);
	}
	if (argc >= 2 && (strcmp(argv[1], "version") == 0 || strcmp(argv[1], "--version") == 0)) {
		puts("dombench " DOMICILE_VERSION);
		return 0;
	}
	if (argc >= 2 && (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0))
		return usage(stdout);
	if (argc >= 2)
		fprintf(stderr, "dombench: no subcommand '%s'\n", argv[1]);
	return usage(stderr);
}
