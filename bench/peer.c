/* bench/peer.c: dombench peer: the table of `dombench geo` for another system in the same lab. What is particular to a
 * peer is in bench/peer/NAME of the source tree: its program and `geo`, which brings it up and runs `dombench geo` with
 * its workers. Nothing of it is installed. */
#include "bench/bench.h"

#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_SIZE = 1024 };

static int usage(FILE *out)
{
	fputs("dombench peer etcd MAP [flags of geo]: the same table for etcd, in the WAN lab, its leader where it "
	      "does best\n\n"
	      "Run from the source tree, as root: it needs wanlab (`make wanlab`), etcd-server, etcd-client, golang-go "
	      "and\n"
	      "golang-etcd-server-dev. DOMBENCH_PEERS names another directory than bench/peer.\n",
		out);
	return out == stdout ? 0 : 2;
}

/* build/VARIANT/bin/dombench: the tree is three up. */
static void peers_of_tree(char path[PATH_SIZE])
{
	char self[PATH_SIZE - 32];
	ssize_t size = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[size > 0 ? size : 0] = '\0';
	snprintf(path, PATH_SIZE, "%s/../../../bench/peer", dirname(self));
	if (access(path, X_OK) != 0)
		snprintf(path, PATH_SIZE, "bench/peer");
}

int bench_peer(int argc, char **argv)
{
	char peers[PATH_SIZE], script[PATH_SIZE + 64];
	const char *given = getenv("DOMBENCH_PEERS");

	if (argc >= 2 && strcmp(argv[1], "--help") == 0)
		return usage(stdout);
	if (argc < 3 || argv[2][0] == '-' || strchr(argv[1], '/') != NULL || strlen(argv[1]) > 32)
		return usage(stderr);
	if (given != NULL)
		snprintf(peers, sizeof(peers), "%s", given);
	else
		peers_of_tree(peers);
	snprintf(script, sizeof(script), "%s/%s/geo", peers, argv[1]);
	argv[1] = script;
	execv(script, argv + 1);
	fprintf(stderr, "dombench: %s: %s; peers: etcd, in the source tree\n", script, strerror(errno));
	return 2;
}
