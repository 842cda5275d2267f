/* bench/wan/control.h: the lab's control socket: lines in (bench/wan/command.h), for each one line out, `ok ...` or
 * `error ...`. A line that is too long ends its connection. One thread: the emulator's. */
#ifndef DOMICILE_BENCH_WAN_CONTROL_H
#define DOMICILE_BENCH_WAN_CONTROL_H

#include "bench/wan/command.h"
#include "bench/wan/emulator.h"

enum { CONTROL_CLIENTS_MAX = 16 };

struct control_client {
	struct source source; /* fd -1: free */
	struct control *control;
	char line[COMMAND_LINE_MAX];
	size_t size;
};
struct control {
	struct emulator *emulator;
	struct source listener;
	struct control_client clients[CONTROL_CLIENTS_MAX];
};

/* 0, or an errno. */
int control_init(struct control *control, struct emulator *emulator, const char *path);
void control_deinit(struct control *control);
/* The answer to one line, without its end; to be freed. */
char *control_answer(struct emulator *emulator, char *line);

/* For other processes: one line to a lab's socket, and its answer without its end (to be freed); NULL and errno. */
char *control_ask(const char *path, const char *line);

#endif
