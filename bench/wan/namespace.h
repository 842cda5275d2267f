/* bench/wan/namespace.h: network namespaces with names in the file system (`nsenter --net=PATH` enters one); the TUN
 * device inside each; and the processes that live in one. Linux, root. One thread: a process changes its own namespace
 * for a moment. Functions that can fail return 0 or an errno. */
#ifndef DOMICILE_BENCH_WAN_NAMESPACE_H
#define DOMICILE_BENCH_WAN_NAMESPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { NAMESPACE_MTU_MIN = 576, NAMESPACE_MTU_MAX = 9000 };

/* NULL: a lab can be made here; else the reason why not. */
const char *namespace_unavailable(void);

/* Makes the namespace and in it a device `wan0` with the address and a route to all of 10.77.0.0/16. What is read from
 * *wire_fd left the namespace, what is written arrives in it. TCP there has Debian's congestion control, cubic,
 * whatever the machine's own is, or where the kernel refuses that, reno; `congestion` is the one in force, "" when it
 * is not known. */
int namespace_create(const char *path, uint32_t address, int mtu, int *wire_fd, int *device_fd, char *congestion,
	size_t congestion_capacity);
void namespace_remove(const char *path); /* fine when it is not there */

int namespace_enter(const char *path);
/* A UDP socket of that namespace, bound to the address and port (0: any), non-blocking, what arrives stamped by the
 * kernel; -1 and errno. */
int namespace_udp(const char *path, uint32_t address, uint16_t port);

/* Packets that the device dropped because they were not read in time. */
uint64_t namespace_dropped(int device_fd);

/* Calls `each` for every process whose network namespace is that of one of the paths, which was started with the mark
 * (NAME=value) in its environment, or which is a child of ours; returns how many. Not for ourselves. */
unsigned namespace_processes(const char *const paths[], unsigned path_count, const char *mark,
	void (*each)(pid_t pid, void *arg), void *arg);

#endif
