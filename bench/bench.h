/* bench/bench.h: dombench's subcommands; each returns an exit code of domctl's table. */
#ifndef DOMICILE_BENCH_BENCH_H
#define DOMICILE_BENCH_BENCH_H

int bench_throughput(int argc, char **argv);
int bench_ycsb(int argc, char **argv);
int bench_geo(int argc, char **argv);
int bench_compare(int argc, char **argv);
int bench_floors(int argc, char **argv);
int bench_peer(int argc, char **argv);

#endif
