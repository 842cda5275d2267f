/* tools/proxy.h: a TCP proxy that adds wire delay, for the demo: one listener per (source region, node). Bytes pass
 * untouched, TLS included; each chunk is stamped with its time of delivery when it is read and handed on then, so that
 * the wire is slow and the sender is not. Both directions have half of the pair's round trip.
 *
 * Runs in a process of its own, told what to do over a control descriptor, one line a command:
 *   link NAME DELAY_US        a listener on an ephemeral loopback port; answers "link NAME PORT"
 *   target NAME PORT          where NAME leads; until then its connections are closed at once
 *   delay on | delay off      at first off, so that a cluster comes up quickly; answers "ok"
 *   cut NAME | heal NAME      new connections are refused and open ones dropped; answers "ok"
 *   hold NAME forth | back    what goes to the node, or what comes from it, stays on the wire until heal: a cut of one
 *                             way only, which ends nobody's connection; answers "ok"
 *   late                      answers "late P50_US P99_US MAX_US": how late chunks left against their stamps
 * End of file on the control descriptor ends the proxy. One thread. */
#ifndef DOMICILE_TOOLS_PROXY_H
#define DOMICILE_TOOLS_PROXY_H

/* Returns the process's exit code. */
int proxy_run(int control_fd);

#endif
