/* domicile.h: the C client of Domicile, a geo-distributed replicated key-value store.
 *
 * A handle may be used from any thread. An operation starts a call and returns at once; wait for the call, or set a
 * callback on it. Keys and values are copied in; what a result hands out stays valid until its call is freed.
 *
 * The client resolves a key to its policy before any byte of the key leaves it, sends it only to nodes whose attested
 * place the policy allows, and routes strong reads to the nearest of them. A key that no binding covers is refused.
 *
 * Inputs are structs with `size` first (use the initialisers below): old callers and new libraries understand each
 * other both ways, and zero means the default. Outputs are opaque with accessors. */
#ifndef DOMICILE_H
#define DOMICILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DOM_VERSION 0x000100 /* 0.1.0; dom_version() tells the library's */
#define DOM_API	    __attribute__((visibility("default")))
#define DOM_MUST    __attribute__((warn_unused_result)) DOM_API

/* Append only: a released value keeps its number and meaning. Where domctl has an exit code for it, it is the same. */
enum dom_status {
	DOM_OK = 0,
	DOM_NOT_FOUND = 1, /* get: no such key; delete: it was absent */
	DOM_RESIDENCY_REFUSED =
		3, /* a rule forbids this key to be touched from this client's place, or no binding covers it */
	DOM_POLICY_MISMATCH = 4,    /* options.policy names another policy than the key's */
	DOM_QUORUM_UNAVAILABLE = 5, /* nothing was proposed: no quorum is known */
	DOM_UNKNOWN_OUTCOME = 6,    /* a write may have been applied, or may yet be */
	DOM_TIMED_OUT = 7,	    /* a read, or a write that was certainly not proposed */
	DOM_BUSY = 8,		    /* certainly nothing happened; the cluster or this client has too much in flight */
	DOM_TOO_LARGE = 9,	    /* key above 4 KiB or value above 1 MiB */
	DOM_INVALID = 10,
	DOM_CANNOT_CONNECT = 11, /* no endpoint answers, or TLS, or the certificate is refused */
	DOM_CLOSED = 13,	 /* the client was closed under the call */
	DOM_CONFLICT = 16,	 /* compare-and-set: the version differs; dom_call_version gives the current one */
	DOM_NO_MEMORY = 17,
	DOM_CANCELLED = 18
};

/* How fresh a read must be. All are answered by the nearest replica that the policy allows, if it can. */
enum dom_read {
	DOM_STRONG = 1,	 /* linearizable */
	DOM_SESSION = 2, /* includes what this session has written and read; needs options.session */
	DOM_BOUNDED = 3, /* no older than options.staleness_max_ms; a replica that is behind catches up first */
	DOM_NEAREST = 4	 /* what is there; dom_call_staleness_ms says how old it may be */
};

typedef struct {
	const void *data;
	size_t size;
} dom_bytes;
typedef struct dom_client dom_client;
typedef struct dom_session dom_session;
typedef struct dom_call dom_call;
struct event_base; /* libevent's, for callers that bring their own loop */

typedef struct {
	size_t size;
	const char *endpoints; /* "host:port,host:port"; any node of the cluster: the rest is learned */
	const char *region; /* unused when NULL: the certificate's place is this client's place, always; when given it
			       must agree */
	const char *ca_file, *cert_file, *key_file; /* PEM; the CAs of all regions this client may meet */
	struct event_base *base;		    /* NULL: the library runs a thread of its own */
	uint32_t connect_timeout_ms;		    /* 0: 3000 */
	uint32_t in_flight_max;			    /* calls; 0: 4096; above it: DOM_BUSY */
	uint32_t timeout_ms;			    /* default of an operation; 0: 10000 */
} dom_connect_options;
#define DOM_CONNECT_OPTIONS                                                                                            \
	{                                                                                                              \
		.size = sizeof(dom_connect_options)                                                                    \
	}

typedef struct {
	size_t size;
	uint32_t timeout_ms;	   /* 0: the client's default; there is no "for ever" */
	enum dom_read read;	   /* 0: DOM_STRONG */
	uint32_t staleness_max_ms; /* with DOM_BOUNDED only, at least 1 */
	dom_session *session;	   /* needed by DOM_SESSION; every call that names it advances it */
	const char *policy;	   /* if set: refuse unless the key is bound to this policy */
} dom_options;
#define DOM_OPTIONS                                                                                                    \
	{                                                                                                              \
		.size = sizeof(dom_options)                                                                            \
	}

DOM_API unsigned dom_version(void);
DOM_API const char *dom_status_name(enum dom_status status);
DOM_API bool dom_status_retryable(enum dom_status status);     /* nothing happened: try again */
DOM_API bool dom_status_maybe_applied(enum dom_status status); /* it may have happened */

/* Reads the files, connects to one endpoint and fetches the cluster map, within connect_timeout_ms. With a base of the
 * caller's it runs that loop until done: call it from the loop's thread, before the loop runs. On failure *client is
 * NULL; dom_connect_message says why, for this thread, until the next dom_connect. */
DOM_MUST enum dom_status dom_connect(const dom_connect_options *options, dom_client **client);
DOM_API const char *dom_connect_message(void);
DOM_API void dom_close(dom_client *client); /* open calls end as DOM_CLOSED */

/* A session may move to another process by its token. */
DOM_MUST dom_session *dom_session_new(dom_bytes token); /* empty: a fresh session; NULL: bad token or no memory */
DOM_API const char *dom_session_message(void); /* why not, for this thread, until its next dom_session_new or _merge */
/* Also what that token has seen: of each shard the newer. DOM_INVALID (a bad token, or one of another cluster): nothing
 * changed. */
DOM_MUST enum dom_status dom_session_merge(dom_session *session, dom_bytes token);
DOM_API dom_bytes dom_session_token(const dom_session *session); /* valid until the session is next used */
DOM_API void dom_session_free(dom_session *session);		 /* not while a call that names it is open */

/* Operations. Options may be NULL. A NULL call means no memory; every other failure is in the call. */
DOM_MUST dom_call *dom_get(dom_client *client, dom_bytes key, const dom_options *options);
DOM_MUST dom_call *dom_put(dom_client *client, dom_bytes key, dom_bytes value, const dom_options *options);
DOM_MUST dom_call *dom_delete(dom_client *client, dom_bytes key, const dom_options *options);
/* version 0: only if absent. */
DOM_MUST dom_call *dom_cas(
	dom_client *client, dom_bytes key, uint64_t version, dom_bytes value, const dom_options *options);
/* Keys with this prefix, in order of their bytes, behind `after` (empty: from the first), at most `limit` (0: 1000).
 * Linearizable per shard. All of them or a refusal that names the policy; see dom_call_more. */
DOM_MUST dom_call *dom_scan(
	dom_client *client, dom_bytes prefix, dom_bytes after, uint32_t limit, const dom_options *options);

/* Calls: wait or set a callback, read, free. Freeing early forgets the answer, not the effect. */
typedef void dom_done_fn(dom_call *call, void *arg);
DOM_API void dom_call_on_done(dom_call *call, dom_done_fn *fn, void *arg); /* once, on the loop's thread */
DOM_MUST enum dom_status dom_call_wait(dom_call *call); /* not on the client's own loop: DOM_INVALID */
DOM_API enum dom_status dom_call_status(const dom_call *call);
DOM_API const char *dom_call_message(const dom_call *call); /* for people; "" when DOM_OK */
DOM_API size_t dom_call_rows(const dom_call *call);
DOM_API dom_bytes dom_call_key(const dom_call *call, size_t row);
DOM_API dom_bytes dom_call_value(const dom_call *call, size_t row);
DOM_API uint64_t dom_call_version(const dom_call *call, size_t row);   /* writes, conflicts: row 0 */
DOM_API int64_t dom_call_written_us(const dom_call *call, size_t row); /* the version's wall time, us since 1970 */
DOM_API bool dom_call_more(const dom_call *call);		       /* scan: rows are left behind the last one */
/* A write: acknowledged by one copy and the witness, while the other copy is lost. It is lost if that copy is destroyed
 * before the other has caught up. */
DOM_API bool dom_call_degraded(const dom_call *call);
DOM_API uint32_t dom_call_staleness_ms(const dom_call *call); /* at most so old; 0 for a strong read */
DOM_API const char *dom_call_served_by(const dom_call *call); /* "eu/ie/eu-west-1/a/n1"; "" unknown */
DOM_API void dom_call_free(dom_call *call);

#ifdef __cplusplus
}
#endif
#endif
