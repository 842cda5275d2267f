/* bench/wan/namespace.c: see bench/wan/namespace.h. Devices and addresses by ioctl: nothing but the kernel is needed.
 */
#define _GNU_SOURCE
#include "bench/wan/namespace.h"

#include <arpa/inet.h>
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/wan/lab.h"

#define DEVICE "wan0"
enum { QUEUE_PACKETS = 10000 };
static const char OWN[] = "/proc/self/ns/net";

const char *namespace_unavailable(void)
{
	static char reason[160];
	int own, fd;

	if (geteuid() != 0)
		return "not root: network namespaces and TUN devices need it";
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		snprintf(reason, sizeof(reason), "no TUN devices here: /dev/net/tun: %s", strerror(errno));
		return reason;
	}
	close(fd);
	own = open(OWN, O_RDONLY | O_CLOEXEC);
	if (own < 0 || unshare(CLONE_NEWNET) != 0) {
		snprintf(reason, sizeof(reason), "no network namespaces here: %s", strerror(errno));
		if (own >= 0)
			close(own);
		return reason;
	}
	if (setns(own, CLONE_NEWNET) != 0)
		abort();
	close(own);
	return NULL;
}

/* --- devices ------------------------------------------------------------------------------------------ */

static void set_address(struct sockaddr *out, uint32_t address)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(address) };

	memcpy(out, &in, sizeof(in));
}

static int set_up(int fd, const char *device)
{
	struct ifreq request = { 0 };

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", device);
	if (ioctl(fd, SIOCGIFFLAGS, &request) != 0)
		return errno;
	request.ifr_flags = (short)(request.ifr_flags | IFF_UP | IFF_RUNNING);
	return ioctl(fd, SIOCSIFFLAGS, &request) != 0 ? errno : 0;
}

/* The mask makes the route: all of 10.77.0.0/16 is behind the device. */
static int configure(int fd, uint32_t address, int mtu)
{
	struct ifreq request = { 0 };

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", DEVICE);
	set_address(&request.ifr_addr, address);
	if (ioctl(fd, SIOCSIFADDR, &request) != 0)
		return errno;
	set_address(&request.ifr_netmask, 0xffff0000);
	if (ioctl(fd, SIOCSIFNETMASK, &request) != 0)
		return errno;
	request.ifr_mtu = mtu;
	if (ioctl(fd, SIOCSIFMTU, &request) != 0)
		return errno;
	request.ifr_qlen = QUEUE_PACKETS;
	if (ioctl(fd, SIOCSIFTXQLEN, &request) != 0)
		return errno;
	return set_up(fd, DEVICE);
}

static int open_wire(uint32_t address, int mtu, int *wire_fd)
{
	struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC),
	    control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), error = 0;

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", DEVICE);
	if (fd < 0 || control < 0 || ioctl(fd, TUNSETIFF, &request) != 0)
		error = errno;
	if (error == 0)
		error = set_up(control, "lo");
	if (error == 0)
		error = configure(control, address, mtu);
	if (control >= 0)
		close(control);
	if (error != 0 && fd >= 0)
		close(fd);
	*wire_fd = error == 0 ? fd : -1;
	return error;
}

/* --- namespaces --------------------------------------------------------------------------------------- */

static int give_name(const char *path)
{
	int fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);

	if (fd < 0)
		return errno;
	close(fd);
	return mount(OWN, path, "none", MS_BIND, NULL) != 0 ? errno : 0;
}

/* Each namespace has its own, at first its parent's. What a machine happens to have decides the tail of latencies: bbr
 * keeps to four packets a round trip for a while in every ten seconds, and who sends more waits a round trip longer. A
 * kernel may refuse cubic here when the machine's own is another; reno is always allowed. */
static void choose_congestion(char *congestion, size_t capacity)
{
	static const char file[] = "/proc/sys/net/ipv4/tcp_congestion_control", *const choices[] = { "cubic", "reno" };
	bool chosen = false;
	ssize_t size;
	int fd;

	for (unsigned i = 0; i < 2 && !chosen; i++) {
		fd = open(file, O_WRONLY | O_CLOEXEC);
		chosen = fd >= 0 && write(fd, choices[i], strlen(choices[i])) > 0;
		if (fd >= 0)
			close(fd);
	}
	fd = open(file, O_RDONLY | O_CLOEXEC);
	size = fd < 0 ? 0 : read(fd, congestion, capacity - 1);
	congestion[size > 0 ? size : 0] = '\0';
	congestion[strcspn(congestion, "\n")] = '\0';
	if (fd >= 0)
		close(fd);
}

int namespace_create(const char *path, uint32_t address, int mtu, int *wire_fd, int *device_fd, char *congestion,
	size_t congestion_capacity)
{
	int own = open(OWN, O_RDONLY | O_CLOEXEC), error = 0;

	*wire_fd = *device_fd = -1;
	if (own < 0)
		return errno;
	if (unshare(CLONE_NEWNET) != 0)
		error = errno;
	if (error == 0)
		error = give_name(path);
	if (error == 0)
		error = open_wire(address, mtu, wire_fd);
	if (error == 0)
		choose_congestion(congestion, congestion_capacity);
	if (error == 0 && (*device_fd = open("/proc/self/net/dev", O_RDONLY | O_CLOEXEC)) < 0)
		error = errno;
	if (setns(own, CLONE_NEWNET) != 0)
		abort(); /* in a namespace that is not ours nothing may go on */
	close(own);
	return error;
}

void namespace_remove(const char *path)
{
	umount2(path, MNT_DETACH);
	unlink(path);
}

int namespace_enter(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), error = 0;

	if (fd < 0)
		return errno;
	if (setns(fd, CLONE_NEWNET) != 0)
		error = errno;
	close(fd);
	return error;
}

int namespace_udp(const char *path, uint32_t address, uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(address), .sin_port = htons(port) };
	int own = open(OWN, O_RDONLY | O_CLOEXEC), fd = -1, error, stamps = 1;

	if (own < 0)
		return -1;
	error = namespace_enter(path);
	if (error == 0 && (fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) < 0)
		error = errno;
	if (error == 0 && setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &stamps, sizeof(stamps)) != 0)
		error = errno;
	if (error == 0 && bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0)
		error = errno;
	if (setns(own, CLONE_NEWNET) != 0)
		abort();
	close(own);
	if (error != 0 && fd >= 0)
		close(fd);
	errno = error;
	return error == 0 ? fd : -1;
}

/* The twelfth figure of the device's line: transmitted, dropped. */
uint64_t namespace_dropped(int device_fd)
{
	char text[4096], *line;
	ssize_t size = pread(device_fd, text, sizeof(text) - 1, 0);
	unsigned long long dropped = 0;

	if (size <= 0)
		return 0;
	text[size] = '\0';
	line = strstr(text, DEVICE ":");
	if (line != NULL)
		sscanf(line + strlen(DEVICE ":"), "%*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %llu", &dropped);
	return dropped;
}

/* --- processes ---------------------------------------------------------------------------------------- */

static pid_t parent_of(pid_t pid)
{
	char path[64], text[512], *after;
	ssize_t size;
	int fd, parent = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	size = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[size > 0 ? size : 0] = '\0';
	after = strrchr(text, ')'); /* the name may hold anything */
	if (after == NULL || sscanf(after + 1, " %*c %d", &parent) != 1)
		return 0;
	return parent;
}

static bool lives_in(pid_t pid, const struct stat *spaces, unsigned count)
{
	char path[64];
	struct stat about;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	if (stat(path, &about) != 0)
		return false;
	for (unsigned i = 0; i < count; i++) {
		if (spaces[i].st_ino == about.st_ino && spaces[i].st_dev == about.st_dev)
			return true;
	}
	return false;
}

static bool is_marked(pid_t pid, const char *mark)
{
	size_t capacity = 0;
	ssize_t size;
	char path[64], *entry = NULL;
	bool marked = false;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
	file = fopen(path, "re");
	while (file != NULL && !marked && (size = getdelim(&entry, &capacity, '\0', file)) > 0)
		marked = strcmp(entry, mark) == 0;
	free(entry);
	if (file != NULL)
		fclose(file);
	return marked;
}

unsigned namespace_processes(
	const char *const paths[], unsigned path_count, const char *mark, void (*each)(pid_t pid, void *arg), void *arg)
{
	struct stat spaces[LAB_HOSTS_MAX], own;
	unsigned count = 0, found = 0;
	struct dirent *entry;
	DIR *proc;

	assert(path_count <= LAB_HOSTS_MAX);
	if (stat(OWN, &own) != 0)
		return 0;
	for (unsigned i = 0; i < path_count; i++) {
		/* A name whose namespace never came to be leads to a plain file, or nowhere; never to our own. */
		if (stat(paths[i], &spaces[count]) == 0 && spaces[count].st_dev == own.st_dev &&
			spaces[count].st_ino != own.st_ino)
			count++;
	}
	proc = opendir("/proc");
	while (proc != NULL && (entry = readdir(proc)) != NULL) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (pid <= 0 || pid == getpid() ||
			(!lives_in(pid, spaces, count) && parent_of(pid) != getpid() && !is_marked(pid, mark)))
			continue;
		found++;
		each(pid, arg);
	}
	if (proc != NULL)
		closedir(proc);
	return found;
}
