/* bench/wan/emulator.h: the loop that carries packets: reads them from the hosts' wires, lets their links decide when
 * they are due, and writes them to the wire of their destination then. It also waits for whatever else its process
 * waits for (signals, the control socket): one thread, one epoll, no locks. */
#ifndef DOMICILE_BENCH_WAN_EMULATOR_H
#define DOMICILE_BENCH_WAN_EMULATOR_H

#include "bench/wan/flight.h"
#include "bench/wan/lab.h"

/* Something to wait for; must live as long as it is watched. */
struct source {
	int fd;
	void (*ready)(struct source *source, void *arg); /* NULL: a host's wire */
	void *arg;
};
struct emulator {
	struct lab *lab;
	struct flight flight;
	struct source wires[LAB_HOSTS_MAX];
	int epoll_fd;
	uint64_t foreign;      /* packets to nowhere, or not IPv4: dropped */
	uint64_t oversleep_ns; /* how late a sleep of this machine ends, learnt */
	bool real_time;	       /* the kernel runs us before all ordinary processes */
};

/* 0, or an errno. */
int emulator_init(struct emulator *emulator, struct lab *lab);
void emulator_deinit(struct emulator *emulator);
int emulator_watch(struct emulator *emulator, struct source *source);
void emulator_forget(struct emulator *emulator, struct source *source);
/* Carries what is due, then waits until something more is, a source is ready, or wait_ns are over, and handles it. */
void emulator_step(struct emulator *emulator, uint64_t wait_ns);

#endif
