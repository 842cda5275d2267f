/* server/self_test.h: before a node listens it tries its own door: without a certificate, and with one that says all
 * the right words and that nobody signed. If either is let in, verification is off, whatever the reason, and the node
 * must not run. No sockets, a few milliseconds. */
#ifndef DOMICILE_SERVER_SELF_TEST_H
#define DOMICILE_SERVER_SELF_TEST_H

#include "base/status.h"

struct tls_context;

/* DENIED with *why (static text): an impostor was let in. NO_MEMORY: it could not be tried. */
enum status self_test(struct tls_context *context, const char **why) MUST;

#endif
