/* bench/wan/state.h: what a lab leaves on the machine while it runs: a directory with a lock, an environment file and
 * the control socket, the names of its namespaces, and the processes that were started in it. A lab whose lock is free
 * is dead: whoever starts next clears it away. Nothing that does not bear a lab's name is touched. One thread. */
#ifndef DOMICILE_BENCH_WAN_STATE_H
#define DOMICILE_BENCH_WAN_STATE_H

#include "bench/wan/lab.h"

/* Clears dead labs away, says so on stderr, and begins this one: directory and lock. Returns 0 or an errno. */
int state_begin(const char *lab_name);
/* Ends every process of the lab and every child of ours: asked first, killed after a while; calls `meanwhile` between.
 * Then the names and the directory go. */
void state_end(const char *lab_name, void (*meanwhile)(void *arg), void *arg);
/* Dead labs alone; how many there were. */
unsigned state_clear_dead(void);

/* The environment of the lab's commands, NAME=value a line. */
int state_write_environment(const struct lab *lab, const char *program, const char *check);
int state_read_environment(const char *lab_name); /* into ours; what is set already stays */
/* Marks what is started from here on as the lab's, to be found when it ends: $WANLAB_OWNER, which is in no file, so
 * that nobody bears it who only read the environment. */
void state_mark(const char *lab_name);
/* Of the variables NAME_<REGION> those of the region become NAME (DOMCTL_ENDPOINT_EU_WEST_1: DOMCTL_ENDPOINT), those of
 * others go: a program sees what a machine there would have. WANLAB_NAME_<REGION> stay besides. */
void state_enter_region(const char *region);

/* The lab that is meant: the given name, else $WANLAB, else the only one that runs. False: said why on stderr. */
bool state_find(const char *given, char out[LAB_NAME_MAX]);
/* Calls `each` for every lab that runs; how many. */
unsigned state_running(void (*each)(const char *lab_name, void *arg), void *arg);

#endif
