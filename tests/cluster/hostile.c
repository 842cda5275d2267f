/* tests/cluster/hostile.c: an attacker with a certificate, as a program.
 *
 *   hostile ADDRESS CERT KEY greet peer|client             does it let us in? prints who it is, or why not
 *   hostile ADDRESS CERT KEY frames PLACE                  lies about form
 *   hostile ADDRESS CERT KEY requests CLAIM HOME KEY VALUE another region's client; KEY of policy HOME has VALUE
 *   hostile ADDRESS CERT KEY node                          a node's certificate on the clients' protocol
 *   hostile ADDRESS CERT KEY admin KEY VALUE               an administrator who reads and writes
 *   hostile ADDRESS CERT KEY region PLACE CA               would the region be added? (3: no)
 *   hostile ADDRESS CERT KEY peer PLACE HOME CANARY        a stolen node; its address must be free to listen on
 *   hostile ADDRESS CERT KEY member PLACE HOME SEED        a stolen node that lies in meta, of which it is a member
 *   hostile ADDRESS CERT KEY floods PID MIB                memory and time; PID may grow by MIB
 *   hostile ADDRESS CERT KEY serve peer|client             be the server there once; prints what was said to us
 *
 * Exit: 0 nothing was got; 1 a hole; 2 usage; 3 (greet) refused. */
#include <arpa/inet.h>
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/cluster/hostile.h"

static int greet(const char *address, const struct thief *thief, const char *alpn)
{
	struct line line;
	struct message hello;
	bool greeted = line_open(&line, address, thief, alpn) && line_greet(&line, "", 0, &hello);
	if (greeted)
		printf("greeted by %.*s\n", (int)hello.hello.place.size, (const char *)hello.hello.place.data);
	else
		printf("refused: %s\n", line.why);
	line_close(&line);
	return greeted ? 0 : 3;
}

/* Says where it listens (its own file's name is not needed: the port is the caller's), then tells each message. */
static int serve(const char *address, const struct thief *thief, const char *alpn)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	struct line line;
	struct message message;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
	const char *port = strrchr(address, ':');
	at.sin_port = htons((uint16_t)strtoul(port ? port + 1 : "0", NULL, 10));
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 16) != 0) {
		perror(address);
		return 2;
	}
	printf("listening\n");
	fflush(stdout);
	if (!line_accept(&line, fd, thief, alpn, 20000)) {
		printf("nothing: %s\n", line.why);
		return 0;
	}
	struct message own = { .kind = MESSAGE_HELLO };
	own.hello.version = PROTOCOL_VERSION;
	own.hello.node = 2;
	line_send(&line, &own);
	while (line_hear(&line, 10000, &message) == HEARD_MESSAGE) {
		printf("said: kind %u", message.kind);
		if (message.kind == MESSAGE_REQUEST)
			printf(" operation %u key %.*s", message.ask.operation, (int)message.ask.key.size,
				(const char *)message.ask.key.data);
		printf("\n");
		fflush(stdout);
	}
	printf("ended: %s\n", line.why);
	line_close(&line);
	close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 5)
		return fprintf(stderr, "usage: see the head of tests/cluster/hostile.c\n"), 2;
	const char *address = argv[1], *what = argv[4];
	struct thief thief = { .cert = argv[2], .key = argv[3] };
	const char *alpn = argc > 5 && strcmp(argv[5], "peer") == 0 ? "domicile-peer/1" : "domicile/1";
	signal(SIGPIPE, SIG_IGN);
	if (strcmp(what, "greet") == 0 && argc == 6)
		return greet(address, &thief, alpn);
	if (strcmp(what, "serve") == 0 && argc == 6)
		return serve(address, &thief, alpn);
	if (strcmp(what, "frames") == 0 && argc == 6)
		return attack_frames(address, &thief, argv[5]);
	if (strcmp(what, "requests") == 0 && argc == 9)
		return attack_requests(address, &thief, argv[5], argv[6], argv[7], argv[8]);
	if (strcmp(what, "node") == 0 && argc == 5)
		return attack_as_node(address, &thief);
	if (strcmp(what, "admin") == 0 && argc == 7)
		return attack_as_admin(address, &thief, argv[5], argv[6]);
	if (strcmp(what, "region") == 0 && argc == 7)
		return attack_region(address, &thief, argv[5], argv[6]);
	if (strcmp(what, "peer") == 0 && argc == 8)
		return attack_as_peer(address, &thief, argv[5], argv[6], argv[7]);
	if (strcmp(what, "member") == 0 && argc == 8)
		return attack_as_member(address, &thief, argv[5], argv[6], strtoull(argv[7], NULL, 10));
	if (strcmp(what, "floods") == 0 && argc == 7)
		return attack_floods(address, &thief, atoi(argv[5]), strtoull(argv[6], NULL, 10));
	return fprintf(stderr, "hostile: no such attack: %s\n", what), 2;
}
