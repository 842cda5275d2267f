/* bench/wan/wanlab.h: the subcommands of wanlab; each gets its own name as argv[0] and returns an exit code. */
#ifndef DOMICILE_BENCH_WAN_WANLAB_H
#define DOMICILE_BENCH_WAN_WANLAB_H

#include <stdint.h>

enum {
	WANLAB_OK = 0,
	WANLAB_FAILED = 1,
	WANLAB_USAGE = 2,
	WANLAB_OFF = 14,     /* the check says no */
	WANLAB_SKIPPED = 77, /* no lab can be made here */
	WANLAB_CANNOT_RUN = 127,
};
enum { WANLAB_TOLERANCE_US = 300 }; /* of a median round trip, against the configured one */

int wanlab_run(int argc, char **argv);
int wanlab_exec(int argc, char **argv);
int wanlab_ctl(int argc, char **argv);
int wanlab_ping(int argc, char **argv);

#endif
