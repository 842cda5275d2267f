/* client/client_internal.h: what the files of the client library share. Everything here belongs to the loop's thread,
 * but for what says otherwise.
 *
 *   call.c      dom_call: made on any thread, ended on the loop's; results
 *   queue.c     from any thread to the loop: calls to start, callbacks to give
 *   client.c    connect and close; the loop, its thread, its timers
 *   endpoint.c  one connection per node: dialled on demand, checked, probed; requests and their answers
 *   fetch.c     the cluster map: first contact, newer epochs
 *   run.c       drives one operation machine over endpoints
 *   scan.c      many of them, merged;  admin.c  what tools ask */
#ifndef DOMICILE_CLIENT_INTERNAL_H
#define DOMICILE_CLIENT_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/heap.h"
#include "base/list.h"
#include "client/admin.h"
#include "client/domicile.h"
#include "client/operation.h"
#include "wire/connection.h"

struct event;
struct event_base;

enum {
	CONNECT_TIMEOUT_MS = 3000, /* defaults */
	IN_FLIGHT_MAX = 4096,
	TIMEOUT_MS = 10000,
	LANES_MAX = 256,
	BOOTSTRAPS_MAX = 16,
	NODES_PROBED_MAX = 16,
	MESSAGE_SIZE = 320,
	OUTPUT_SIZE_MAX = 16 << 20, /* bytes queued per connection */
};

/* --- queue.c: shared with calls, which may outlive the client ------------------------------------------- */

struct queue {
	_Atomic uint32_t refs;
	pthread_mutex_t lock; /* of what follows */
	struct list calls;    /* to start, or whose callback is due */
	bool woken, closed, stop;
	struct event *wake; /* valid while not closed */
	int wake_fd;
	pthread_t loop_thread; /* set before any call exists */
};
struct queue *queue_new(void);
void queue_ref(struct queue *queue);
void queue_unref(struct queue *queue);
bool queue_on_loop(const struct queue *queue);
bool queue_push(struct queue *queue, struct dom_call *call); /* any thread; false: closed */
bool queue_take(struct queue *queue, struct list *calls);    /* all of them; true: stop the loop */
void queue_stop(struct queue *queue);			     /* any thread */
void queue_close(struct queue *queue);			     /* nothing enters from now on */

/* --- requests on connections ------------------------------------------------------------------------------ */

enum slot_kind { SLOT_FREE, SLOT_RUN, SLOT_PING, SLOT_MAP, SLOT_ASK };
struct slot { /* an unanswered request */
	struct list of_endpoint;
	struct list of_owner; /* in the run's list, while that lives */
	struct endpoint *endpoint;
	struct run *run; /* RUN: NULL once its operation has ended; ASK: likewise */
	uint64_t sent_ns;
	uint32_t index, generation, attempt;
	uint32_t free_next; /* index + 1 */
	uint8_t kind;
};
enum { SLOT_BLOCK = 256, SLOT_BLOCKS_MAX = 4096 };
struct slots {
	struct slot *blocks[SLOT_BLOCKS_MAX];
	uint32_t block_count, free_first; /* index + 1; 0: none */
};

enum endpoint_state { ENDPOINT_DOWN, ENDPOINT_DIALLING, ENDPOINT_READY };
struct endpoint {
	struct list link; /* of the client; the last used first */
	struct dom_client *client;
	uint64_t node;	/* as the map has it, checked against the certificate; 0: not known yet */
	uint64_t claim; /* what HELLO said */
	char address[ADDRESS_SIZE_MAX];
	uint8_t issuer_spki_sha256[32];
	struct connection *connection; /* NULL when DOWN */
	uint8_t state;
	bool ping_open, established;
	uint32_t failures; /* dials in a row */
	uint64_t heard_ns, dialled_ns, ready_ns, redial_ns;
	struct list slots;
};

/* The endpoint of a node, dialled when it is down. NULL: not in the map, no address for us, or it failed just now. */
struct endpoint *endpoint_of_node(struct dom_client *client, uint64_t node);
struct endpoint *endpoint_of_address(struct dom_client *client, const char *address);
struct endpoint *endpoint_any(struct dom_client *client, const struct endpoint *but); /* READY; NULL: none */
/* Queues the message under a new request id. NULL: not queued; *status BUSY or CLOSED. */
struct slot *endpoint_send(
	struct endpoint *endpoint, enum slot_kind kind, struct message *message, enum status *status);
void endpoint_ping(struct endpoint *endpoint);
void endpoint_close(struct endpoint *endpoint, const char *why);
/* Dialled for so long without TLS that whoever is there does not answer. */
bool endpoint_is_stuck(const struct endpoint *endpoint);
void endpoints_map_changed(struct dom_client *client); /* who is not what the map says is closed */
void endpoints_tend(struct dom_client *client);	       /* once a second: probes, silence */
/* in_callback: on the stack of one of their callbacks, where a connection may be closed but not freed. */
void endpoints_free(struct dom_client *client, bool in_callback);
void slot_release(struct dom_client *client, struct slot *slot);
void slots_free(struct slots *slots);

/* --- run.c ------------------------------------------------------------------------------------------------- */

struct run { /* one operation machine, or one question of admin.c */
	struct operation_machine operation;
	struct heap_node timer;
	struct list slots;	  /* unanswered sends */
	struct list awaiting_map; /* of the client */
	struct dom_call *call;
	struct scan_part *part; /* NULL: the call's only one */
	bool is_ask;
};
void run_init(struct run *run, struct dom_call *call);
void run_start(struct run *run, const struct operation_spec *spec);
void run_answered(struct run *run, struct slot *slot, const struct message *message);
void run_lost(struct run *run, uint32_t attempt, bool delivered);
void run_map_arrived(struct run *run);
void run_expired(struct run *run);
void run_timer(struct run *run, uint64_t until_ns);
void run_abandon(struct run *run); /* its answers no longer matter */

/* --- call.c ------------------------------------------------------------------------------------------------ */

enum call_kind { CALL_OPERATION, CALL_SCAN, CALL_ASK };
struct call_row {
	struct bytes key, value;
	uint64_t version;
};
struct scan;
struct ask;
struct dom_call {
	_Atomic uint32_t refs;
	_Atomic bool done;
	bool waited; /* lock: the call's stripe, as of fn and arg */
	dom_done_fn *fn;
	void *arg;
	struct dom_client *client; /* valid on the loop's thread until done */
	struct queue *queue;
	struct list link; /* in the queue; then among the client's open calls */
	dom_session *session;
	struct run run;
	struct scan *scan;
	struct ask *ask;
	uint64_t timeout_ns;
	uint8_t kind, operation, level;
	bool counted, has_ticket, more, degraded;
	uint32_t limit, staleness_max_ms, staleness_ms;
	uint64_t version;
	struct lane_ticket ticket;
	struct bytes key, value, after; /* in `area` */
	char policy[POLICY_NAME_MAX];	/* guard; "": none */
	enum dom_status status;
	char message[MESSAGE_SIZE];
	char served_by[PLACE_TEXT_MAX];
	struct call_row *rows, row;
	size_t row_count;
	void *owned; /* bytes of rows, when area is too small */
	size_t area_size, area_used;
	uint8_t area[];
};
/* References: one for the caller, one until it is done. NULL: no memory. */
struct dom_call *call_new(struct dom_client *client, enum call_kind kind, struct bytes key, struct bytes value,
	struct bytes after, uint32_t timeout_ms);
/* Before it is submitted: it will end with that. Returns the call. */
dom_call *call_refuse(struct dom_call *call, enum dom_status status, const char *message);
/* To the loop, or at once when on it; or ended, when the client is closed or has too many. */
dom_call *call_submit(struct dom_call *call);
void call_start(struct dom_call *call);	 /* on the loop */
void call_notify(struct dom_call *call); /* on the loop: the callback of a call that was done before it had one */
void call_end(struct dom_call *call, enum status status, const char *message);
uint64_t call_map_epoch_min(const struct dom_call *call); /* a session read: of what its session has seen */
/* Puts a single row with this value into the result; false: no memory. */
bool call_set_value(struct dom_call *call, struct bytes value, uint64_t version);
void call_set_served_by(struct dom_call *call, uint64_t node);
void call_unref(struct dom_call *call);

/* session.c, any thread. False: the session is of another cluster than the client. */
bool session_join(dom_session *session, const uint8_t cluster[16]);
uint64_t session_index(dom_session *session, uint64_t shard);
void session_advance(dom_session *session, uint64_t shard, uint64_t index);
uint64_t session_map_epoch(dom_session *session); /* no session read is sent by an older map */
void session_saw_map(dom_session *session, uint64_t epoch);

void scan_start(struct dom_call *call);
void scan_part_done(
	struct run *run, const struct operation_action *action, const struct message_reply *reply, uint64_t node);
void scan_free(struct scan *scan);
void scan_stop(struct scan *scan); /* abandons what runs */

void ask_start(struct dom_call *call);
void ask_answered(struct run *run, struct slot *slot, const struct message *message);
void ask_lost(struct run *run, bool delivered);
void ask_expired(struct run *run);
void ask_free(struct ask *ask);

/* --- client.c, fetch.c -------------------------------------------------------------------------------------- */

struct dom_client {
	struct queue *queue;
	struct event_base *base;
	bool own_thread, closing, free_when_left;
	pthread_t thread;
	unsigned depth; /* of loop callbacks under way: what they stand on is not freed */
	struct event *tick, *timer;
	uint64_t timer_armed_ns, tick_ns;
	uint64_t seed;
	struct heap heap;  /* of run.timer */
	struct list calls; /* open */
	_Atomic uint32_t in_flight;
	uint32_t in_flight_max, timeout_ms, connect_timeout_ms;

	struct tls_context *tls;
	struct certificate_name who; /* ours */
	struct router *router;
	struct lanes lanes;
	struct lane lane_memory[LANES_MAX];
	struct list endpoints;
	struct slots slots;

	char bootstraps[BOOTSTRAPS_MAX][ADDRESS_SIZE_MAX];
	uint32_t bootstrap_count, bootstrap_next;
	struct list awaiting_map; /* runs */
	struct slot *fetch;	  /* the map request under way */
	uint64_t fetch_ns;	  /* when the last one went out */
	uint64_t epoch_heard;	  /* newest that any answer told of */
	uint32_t fetch_node;	  /* rotates over nodes */
	uint64_t trusted_epoch;	  /* of the map whose regions' authorities are trusted */

	pthread_mutex_t lock; /* of connected and why: dom_connect waits for them */
	pthread_cond_t resolved_cond;
	bool resolved, connected;
	uint64_t connect_deadline_ns;
	char why[MESSAGE_SIZE];
};

void client_enter(struct dom_client *client);
void client_leave(struct dom_client *client); /* may free the client */
uint64_t client_now(void);
bool client_timer_add(struct dom_client *client, struct heap_node *node, uint64_t at_ns);
void client_resolved(struct dom_client *client, bool connected, const char *why);

void fetch_map(struct dom_client *client, struct endpoint *prefer);
void fetch_answered(struct dom_client *client, struct endpoint *from, const struct message_map_reply *reply);
void fetch_lost(struct dom_client *client);
void fetch_heard(struct dom_client *client, struct endpoint *from, uint64_t epoch);
void fetch_doubted(struct dom_client *client); /* our map forbids something: is there a newer one? */
void fetch_next_bootstrap(struct dom_client *client);

#endif
