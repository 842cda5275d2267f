/* wire/connection.h: a framed TLS connection on a libevent loop, for server and client alike: socket, TLS pump, frames,
 * bounded output. One thread: the loop's. The process ignores SIGPIPE or not: sends never raise it.
 *
 * Back-pressure: output is bounded; connection_send says BUSY when the message does not fit below the limit (one alone
 * always does), and an accepted connection is not read while more than half of the limit waits: a peer that does not
 * read is not listened to. A dialled one is always read, else two full ends would wait for each other for ever.
 *
 * A certificate is good until it ends: afterwards nothing more is taken from, or sent to, who showed it (DENIED).
 *
 * What one turn of the loop sends goes out once, at the end of that turn, in as few records as it fills.
 * Callbacks come from the loop, never from inside a connection_* call, so connection_close is safe within any of them;
 * after it nothing but `closed` is called. */
#ifndef DOMICILE_WIRE_CONNECTION_H
#define DOMICILE_WIRE_CONNECTION_H

#include "wire/certificate.h"
#include "wire/codec.h"
#include "wire/tls.h"

struct event_base;
struct connection;

/* Memory that connections have together, bytes: frames that are not whole yet, answers that are not read. Who was given
 * one (connection_set_budget) grows beyond its first 32 KiB each way only while there is room: else a send says BUSY,
 * and a frame that does not fit ends the connection with BUSY. From half of it on, who lets more than that wait is not
 * read. */
struct connection_budget {
	size_t used, max; /* used: by the connections; max: the owner's */
};

struct connection_events {
	/* TLS is up and the certificate well formed. Return not OK (with *why) to refuse. */
	enum status (*established)(struct connection *connection, void *arg, const struct certificate_name *who,
		const uint8_t issuer_spki_sha256[32], const char **why);
	/* A decoded message, borrowed. `wire_size`: its frame's bytes. Return not OK to close. */
	enum status (*received)(struct connection *connection, void *arg, const struct message *message);
	/* Closed, by either side or by an error; *why for people. The connection is freed after this returns. */
	void (*closed)(struct connection *connection, void *arg, enum status status, const char *why);
};
struct connection_options {
	struct event_base *base;
	struct tls_context *tls;
	enum tls_alpn alpn;
	uint32_t frame_size_max;     /* once established */
	uint32_t output_size_max;    /* bytes queued */
	uint32_t connect_timeout_ms; /* dial and handshake */
	uint32_t idle_timeout_ms;    /* 0: none; closes after one to two times of it without a byte */
	uint32_t
		unacked_timeout_ms; /* what the other side's kernel has not acknowledged for so long closes; 0: never */
	bool compress;
	const struct connection_events *events;
	void *arg;
};
/* Dials host:port or [v6]:port; every address of the name is tried in turn. A name is looked up by getaddrinfo in a
 * thread of its own (wire/resolve.h). INVALID: not such an address; all else is told by `closed`. */
enum status connection_dial(
	const struct connection_options *options, const char *address, struct connection **out) MUST;
/* Takes over the descriptor; on failure it stays the caller's. options.alpn: TLS_ALPN_ANY takes either. */
enum status connection_accept(const struct connection_options *options, int fd, struct connection **out) MUST;
/* Encodes, frames, queues, also before TLS is up. BUSY: above output_size_max or the budget (nothing queued). CLOSED.
 * TOO_LARGE. */
enum status connection_send(struct connection *connection, const struct message *message) MUST;
/* Sends what is queued as far as the socket takes it now, closes the socket; `closed` (CLOSED, why) comes from the
 * loop. */
void connection_close(struct connection *connection, const char *why);
void connection_free(struct connection *connection); /* at once, no callback; not from within one. NULL is fine */
void connection_set_arg(struct connection *connection, void *arg);
void connection_set_events(struct connection *connection, const struct connection_events *events, void *arg);
void connection_set_frame_size_max(struct connection *connection, uint32_t size_max);
void connection_set_compress(struct connection *connection, bool compress);
void connection_set_idle_timeout(struct connection *connection, uint32_t timeout_ms);
void connection_set_budget(struct connection *connection, struct connection_budget *budget); /* once; outlives it */
size_t connection_memory(const struct connection *connection);				     /* bytes of its arrays */
void connection_pause_reading(struct connection *connection, bool pause);
const struct certificate_name *connection_who(const struct connection *connection);
enum tls_alpn connection_alpn(const struct connection *connection);
size_t connection_output_size(const struct connection *connection);
struct revocations;
bool connection_revoked(const struct connection *connection, const struct revocations *revocations);
const char *connection_address(const struct connection *connection); /* of the other side, for logs */

#endif
