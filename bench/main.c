/* bench/main.c: dombench, the load generator. One subcommand a file. */
#include <stdio.h>
#include <string.h>

#include "bench/bench.h"

static int usage(FILE *out)
{
	fputs("dombench: load for Domicile\n\n"
	      "  dombench throughput [flags]   closed or open loop against one cluster\n"
	      "  dombench ycsb a|b|c|d|e|f     the core workloads of YCSB\n"
	      "  dombench geo MAP             clients in every region of a map, beside the floor\n"
	      "  dombench version\n\n"
	      "Each has --help.\n",
		out);
	return out == stdout ? 0 : 2;
}

int main(int argc, char **argv)
{
	if (argc >= 2 && strcmp(argv[1], "throughput") == 0)
		return bench_throughput(argc - 1, argv + 1);
	if (argc >= 2 && strcmp(argv[1], "ycsb") == 0)
		return bench_ycsb(argc - 1, argv + 1);
	if (argc >= 2 && strcmp(argv[1], "geo") == 0)
		return bench_geo(argc - 1, argv + 1);
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
