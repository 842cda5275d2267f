/* wire/tls.h: TLS 1.3 with certificates on both sides, as a pump over memory BIOs: bytes from the socket in, bytes to
 * the socket out, plain bytes on the other side. No sockets here, so that it is tested byte by byte.
 *
 * Profile: TLS 1.3 only, peer certificate required both ways, no tickets, no resumption, no early data, no
 * renegotiation, verify depth 3. ALPN: domicile-peer/1 between nodes, domicile/1 for clients and admins. */
#ifndef DOMICILE_WIRE_TLS_H
#define DOMICILE_WIRE_TLS_H

#include "base/bytes.h"
#include "base/status.h"

struct tls_context; /* certificate, key, CAs: shared by connections, each of which keeps it alive */
struct tls;	    /* one connection */

/* Bits: an accepting side may take either and asks tls_alpn() afterwards which it was; a dialling side offers one. */
enum tls_alpn { TLS_ALPN_PEER = 1, TLS_ALPN_CLIENT = 2, TLS_ALPN_ANY = 3 };

enum {
	TLS_INPUT_MAX = 1 << 20,    /* bytes fed and not yet read; above it the connection fails */
	TLS_OUTPUT_MAX = 256 << 10, /* bytes pending above which tls_write takes nothing */
};

/* PEM files. *why: static or per-thread text for people. CANNOT_CONNECT never; INVALID, NOT_FOUND, DENIED. */
enum status tls_context_new(const char *cert_file, const char *key_file, const char *ca_file,
	struct tls_context **context, const char **why) MUST;
void tls_context_free(struct tls_context *context);
/* Trust one more CA (DER), e.g. of a region that was added to meta after cas.pem was written. */
enum status tls_context_trust(struct tls_context *context, struct bytes ca_der) MUST;
/* From now on whom these lists name is refused, by new connections of either side; what stands asks tls_peer_revoked.
 * Takes a reference of its own. INVALID: a list is not signed by its authority; nothing has changed then. *strangers:
 * lists of authorities that are not trusted here. */
struct revocations;
enum status tls_context_revoke(
	struct tls_context *context, struct revocations *revocations, unsigned *strangers, const char **why) MUST;
struct x509_st;
struct x509_st *tls_context_certificate(const struct tls_context *context); /* our own; borrowed */
struct evp_pkey_st;
struct evp_pkey_st *tls_context_key(const struct tls_context *context); /* its key; borrowed */
/* Would a peer with our CAs accept our own certificate? Expired, not yet valid or signed by none of ca_file: DENIED
 * with the reason. *issuer, when wanted, is the CA that signed it; borrowed from the context. */
enum status tls_context_check(const struct tls_context *context, struct x509_st **issuer, const char **why) MUST;

struct tls *tls_new(struct tls_context *context, bool server, enum tls_alpn offered); /* NULL: no memory */
void tls_free(struct tls *tls);
/* Bytes from the socket. Any failure is final; *why names it (certificate expired, wrong CA, no common ALPN...). */
enum status tls_feed(struct tls *tls, struct bytes wire, const char **why) MUST;
/* OK while the connection lives; CLOSED after the peer's close_notify; else what tls_feed or tls_read ran into. */
enum status tls_status(const struct tls *tls, const char **why) MUST;
bool tls_established(const struct tls *tls);
enum tls_alpn tls_alpn(const struct tls *tls); /* once established */
/* Plain bytes to the peer; returns how many were taken. Nothing before the handshake is done. */
size_t tls_write(struct tls *tls, struct bytes plain);
/* Plain bytes from the peer: 0 when there are none now. */
size_t tls_read(struct tls *tls, void *plain, size_t capacity);
/* Bytes for the socket: view and consume. */
struct bytes tls_pending(struct tls *tls);
void tls_consumed(struct tls *tls, size_t size);
void tls_shutdown(struct tls *tls);		       /* close_notify, once */
struct x509_st *tls_peer_certificate(struct tls *tls); /* borrowed */
int64_t tls_peer_expires_s(struct tls *tls);	       /* the first end in its verified chain, seconds since 1970 */
bool tls_peer_revoked(struct tls *tls, const struct revocations *revocations); /* false before it is established */
size_t tls_memory(const struct tls *tls);				       /* bytes of the two arrays */
struct x509_st *tls_peer_issuer(struct tls *tls); /* the verified chain's next; borrowed; NULL for none */

#endif
