/* server/server.c: see server/server.h.
 *
 * Time: every event that enters the node reads both clocks anew (never libevent's cached time: a lease judged by an old
 * clock is not a lease). The node's deadline is on CLOCK_BOOTTIME, so its timer is a timerfd of that clock.
 * What the node asks for while it runs (flush, new map) is only noted and carried out at the end of the turn of the
 * loop: the node is never called from within its own callbacks, and one flush takes all that came in that turn. */
#include "server/server.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/text.h"
#include "base/units.h"
#include "server/block_pool.h"
#include "server/certificates.h"
#include "server/join.h"
#include "server/journal_thread.h"
#include "server/ledger_sign.h"
#include "server/listener.h"
#include "server/peers.h"
#include "server/server_internal.h"
#include "wire/frame.h"
#include "wire/revocations.h"

enum {
	BLOCK_THREADS = 5, /* two may be compacting for long (server/erasure.c), one be searching (server/search.c) */
	RESIGN_PERIOD_MS = 50,
	RESIGN_GRACE_MS = 5000,
	NO_SPACE_RETRY_MS = 500,
	DRIFT_PPM = 10000,
	PROGRAM_SIZE = 64 << 20, /* code, libraries, threads, certificates, what the allocator keeps */
};
enum { EXIT_OTHER = 1, EXIT_CONFLICT = 16 };

struct node_time server_time(void)
{
	return (struct node_time){ clock_boot_ns(), clock_wall_us() };
}

/* --- the end of a turn --------------------------------------------------------------------------- */

void server_after(struct server *server)
{
	if (server->after_wanted || !server->after)
		return;
	server->after_wanted = true;
	event_active(server->after, EV_TIMEOUT, 0);
}

/* Disarmed only by running out: a deadline that moved back makes one early, empty wake-up instead of a system call. */
static void arm(struct server *server)
{
	uint64_t deadline_ns = node_deadline(server->node);
	if (deadline_ns >= server->timer_ns)
		return;
	uint64_t at_ns = deadline_ns > 0 ? deadline_ns : 1;
	struct itimerspec at = { .it_value = { (time_t)(at_ns / 1000000000), (long)(at_ns % 1000000000) } };
	int set = timerfd_settime(server->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
	assert(set == 0);
	server->timer_ns = deadline_ns;
}

static void apply_map(struct server *server)
{
	const struct cluster_map *map = node_map(server->node);
	server->map_changed = false;
	certificates_map_changed(server, map);
	peers_map_changed(server->peers, node_directory(server->node));
	listener_judge_anew(server->listener);
	log_debug("map", LOG_U("epoch", map->epoch), LOG_U("nodes", map->node_count));
}

static void on_after(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;
	struct journal_flush *flush;
	(void)fd;
	(void)what;
	server->after_wanted = false;
	if (server->map_changed)
		apply_map(server);
	if (server->join)
		join_wake(server->join);
	if (server->flush_wanted && server->journal_thread && !journal_thread_busy(server->journal_thread)) {
		server->flush_wanted = false;
		if (node_flush_begin(server->node, &flush))
			journal_thread_begin(server->journal_thread, flush);
	}
	arm(server);
}

static void on_flushed(void *arg, struct journal_flush *flush, enum status status)
{
	struct server *server = arg;
	node_flush_end(server->node, flush, status, server_time());
	if (status == STATUS_NO_SPACE) {
		struct timeval delay = { 0, NO_SPACE_RETRY_MS * 1000 };
		server->flush_wanted = false; /* the retry asks again; each turn would be a busy loop */
		event_add(server->retry, &delay);
	} else {
		server->flush_wanted = true;
	}
	server_after(server);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;
	(void)fd;
	(void)what;
	server->flush_wanted = true;
	server_after(server);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;
	uint64_t count;
	(void)what;
	if (read(fd, &count, sizeof(count)) != sizeof(count))
		return;
	server->timer_ns = UINT64_MAX;
	struct node_time time = server_time();
	if (node_deadline(server->node) <= time.now_ns)
		node_expired(server->node, time);
	server_after(server);
}

/* --- what the node asks for ------------------------------------------------------------------------ */

static void io_send(void *arg, uint64_t node, const struct message *message)
{
	struct server *server = arg;
	if (server->peers)
		peers_send(server->peers, node, message);
}

static void io_reply(void *arg, uint64_t connection, const struct message *message)
{
	struct server *server = arg;
	if (server->listener)
		listener_reply(server->listener, connection, message);
}

static void io_flush_wanted(void *arg)
{
	struct server *server = arg;
	server->flush_wanted = true;
	server_after(server);
}

static void io_map_changed(void *arg, const struct cluster_map *map)
{
	struct server *server = arg;
	(void)map;
	server->map_changed = true;
	server_after(server);
}

static void io_fatal(void *arg, enum status status, const char *what)
{
	struct server *server = arg;
	log_error("the node stops: it can no longer keep its promises", LOG_S("code", "DOM-N010"), LOG_S("what", what),
		LOG_S("status", status_text(status)));
	server->exit_code = EXIT_OTHER;
	event_base_loopbreak(server->base);
}

static void io_block(void *arg, void (*job)(void *), void (*done)(void *), void *job_arg)
{
	struct server *server = arg;
	if (server->block_pool) {
		block_pool_run(server->block_pool, job, done, job_arg);
	} else {
		job(job_arg);
		done(job_arg);
	}
}

static uint64_t io_random(void *arg)
{
	uint64_t number;
	(void)arg;
	if (random_bytes(&number, sizeof(number)) != STATUS_OK) {
		log_error("the kernel gives no random numbers", LOG_S("code", "DOM-N010"));
		abort(); /* ids that may repeat are worse than no node */
	}
	return number;
}

/* --- who may --------------------------------------------------------------------------------------- */

bool server_identity(
	const struct certificate_name *who, const uint8_t issuer_spki_sha256[32], struct peer_identity *identity)
{
	const char *why;
	memset(identity, 0, sizeof(*identity));
	identity->role = who->role == CERTIFICATE_NODE	   ? PEER_NODE
			 : who->role == CERTIFICATE_CLIENT ? PEER_CLIENT
							   : PEER_ADMIN;
	memcpy(identity->name, who->name, sizeof(identity->name));
	memcpy(identity->issuer_spki_sha256, issuer_spki_sha256, 32);
	return who->role == CERTIFICATE_ADMIN || place_parse(who->place, &identity->place, &why);
}

enum status server_admits(struct server *server, const struct certificate_name *who,
	const struct peer_identity *identity, enum tls_alpn alpn, const char **why)
{
	if (strcmp(who->cluster, server->config.cluster) != 0) {
		*why = "the certificate is of another cluster";
		return STATUS_DENIED;
	}
	if (alpn == TLS_ALPN_PEER && identity->role != PEER_NODE) {
		*why = "only nodes speak the peer protocol";
		return STATUS_DENIED;
	}
	return node_admits_counted(server->node, identity, why);
}

enum status server_check_hello(struct server *server, const struct message_hello *hello, const char **why)
{
	static const uint8_t unknown[16];
	struct message own;
	if (hello->version == 0 || hello->version > PROTOCOL_VERSION) {
		*why = "a newer version of the protocol than this node speaks: upgrade it first";
		return STATUS_UNSUPPORTED;
	}
	node_hello(server->node, &own);
	if (memcmp(hello->cluster, unknown, 16) == 0 || memcmp(own.hello.cluster, unknown, 16) == 0)
		return STATUS_OK;
	*why = "another cluster of the same name";
	return memcmp(hello->cluster, own.hello.cluster, 16) == 0 ? STATUS_OK : STATUS_CONFLICT;
}

bool server_same_region(const struct server *server, const char *place)
{
	size_t size = strlen(server->region.text);
	return strncmp(place, server->region.text, size) == 0 && (place[size] == '\0' || place[size] == '/');
}

/* --- stopping ---------------------------------------------------------------------------------------- */

static void on_resign(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;
	(void)fd;
	(void)what;
	struct node_time time = server_time();
	bool resigned = node_resign(server->node, time);
	server_after(server);
	if (time.now_ns < server->resign_ns && (!resigned || listener_inflight(server->listener) > 0))
		return;
	if (!resigned)
		log_warn("not every lead could be handed over in time");
	event_base_loopexit(server->base, NULL);
}

static void on_reload(evutil_socket_t number, short what, void *arg)
{
	(void)number;
	(void)what;
	certificates_reload(arg);
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
	struct server *server = arg;
	(void)what;
	if (server->resign_ns != 0) {
		log_warn("stopped at once", LOG_I("signal", number));
		event_base_loopbreak(server->base);
		return;
	}
	struct timeval period = { 0, RESIGN_PERIOD_MS * 1000 };
	log_info("stopping", LOG_I("signal", number));
	server->resign_ns = clock_boot_ns() + (uint64_t)RESIGN_GRACE_MS * 1000000;
	listener_stop(server->listener);
	event_add(server->resign, &period);
	on_resign(-1, 0, server);
}

/* --- starting ---------------------------------------------------------------------------------------- */

bool server_fail(
	struct server_failure *failure, int exit_code, const char *code, const char *a, const char *b, const char *c)
{
	failure->exit_code = exit_code;
	failure->code = code;
	struct text text;
	text_init(&text, failure->text, sizeof(failure->text));
	text_add(&text, a);
	text_add(&text, b);
	text_add(&text, c);
	return false;
}

static uint64_t clamp(uint64_t value, uint64_t low, uint64_t high)
{
	return value < low ? low : value > high ? high : value;
}

static void set_limits(struct server *server)
{
	uint64_t memory = server->config.memory_size;
	server->limits.inflight = memory / 4;
	server->limits.clients = memory / 4;
	server->limits.client_output = (uint32_t)clamp(memory / 32, 4 << 20, 32 << 20);
	server->limits.peer_output = (uint32_t)clamp(memory / 16, FRAME_SIZE_MAX_PEER + (1 << 20), 64 << 20);
	log_info("memory bounds", LOG_U("total", server->config.cache_size + memory + PROGRAM_SIZE),
		LOG_U("cache", server->config.cache_size), LOG_U("memory", memory),
		LOG_U("requests_in_flight", server->limits.inflight), LOG_U("clients", server->limits.clients),
		LOG_U("queued_per_client", server->limits.client_output),
		LOG_U("queued_per_peer", server->limits.peer_output));
}

static bool make_events(struct server *server)
{
	server->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	server->timer_ns = UINT64_MAX;
	if (server->timer_fd < 0)
		return false;
	server->after = event_new(server->base, -1, 0, on_after, server);
	server->timer = event_new(server->base, server->timer_fd, EV_READ | EV_PERSIST, on_timer, server);
	server->retry = event_new(server->base, -1, 0, on_retry, server);
	server->resign = event_new(server->base, -1, EV_PERSIST, on_resign, server);
	server->signals[0] = evsignal_new(server->base, SIGTERM, on_signal, server);
	server->signals[1] = evsignal_new(server->base, SIGINT, on_signal, server);
	server->signals[2] = evsignal_new(server->base, SIGHUP, on_reload, server);
	if (!server->after || !server->timer || !server->retry || !server->resign ||
		event_add(server->timer, NULL) != 0)
		return false;
	for (unsigned i = 0; i < SERVER_SIGNALS; i++)
		if (!server->signals[i] || event_add(server->signals[i], NULL) != 0)
			return false;
	return true;
}

static uint64_t io_now(void *arg)
{
	(void)arg;
	return clock_boot_ns();
}

static bool io_sign(void *arg, struct bytes text, uint8_t *signature, size_t capacity, size_t *size)
{
	const struct server *server = arg;
	return ledger_sign(server->tls, text, signature, capacity, size);
}

/* What the log goes to, when that is a file of this machine: the journal of systemd, a pipe or a terminal is not. */
static const char *log_file(void)
{
	struct stat st;
	return fstat(STDERR_FILENO, &st) == 0 && S_ISREG(st.st_mode) ? "/proc/self/fd/2" : NULL;
}

static bool open_node(struct server *server, struct server_failure *failure)
{
	const struct node_io io = {
		.arg = server,
		.send = io_send,
		.reply = io_reply,
		.flush_wanted = io_flush_wanted,
		.map_changed = io_map_changed,
		.fatal = io_fatal,
		.block = io_block,
		.random = io_random,
		.sign = io_sign,
		.now = io_now,
	};
	const struct server_config *config = &server->config;
	struct node_time now = server_time();
	struct node_options options = {
		.data = config->data,
		.log = log_file(),
		.cluster = config->cluster,
		.place = config->place,
		.addresses = config->advertise,
		.cache_size = config->cache_size,
		.journal_segment_size = config->journal_segment_size,
		.memory_size = config->memory_size,
		.support_us = config->lease_us,
		.heartbeat_us = config->heartbeat_us,
		.drift_ppm = DRIFT_PPM,
		.now_ns = now.now_ns,
		.wall_us = now.wall_us,
		.join = config->join_count > 0,
	};
	const char *why = "";
	memcpy(options.issuer_spki_sha256, server->own.issuer_spki_sha256, 32);
	options.certificate_ends_s = server->own.ends_s;
	options.certificate = ledger_certificate(server->tls);
	enum status status = node_open(&options, &io, &server->node, &why);
	if (status == STATUS_OK)
		return true;
	server->node = NULL;
	if (status == STATUS_CONFLICT)
		return server_fail(failure, EXIT_CONFLICT, "DOM-N005", config->data, ": ", why);
	snprintf(failure->text, sizeof(failure->text), "%s: %s (%s)", config->data, why, status_text(status));
	failure->exit_code = EXIT_OTHER;
	failure->code = "DOM-N006";
	return false;
}

static bool write_port(const char *path, uint16_t port, struct server_failure *failure)
{
	char fresh[CONFIG_PATH_MAX + 8];
	snprintf(fresh, sizeof(fresh), "%s.new", path);
	FILE *file = fopen(fresh, "we");
	bool written = file && fprintf(file, "%u\n", port) > 0;
	if (file && fclose(file) != 0)
		written = false;
	if (written && rename(fresh, path) == 0)
		return true;
	return server_fail(failure, EXIT_OTHER, "DOM-N007", "the listening file cannot be written: ", path, "");
}

/* In the order of what fails most often; nothing is accepted, joined or announced before all of it stands. */
static bool start(struct server *server, const char *listening_file, struct server_failure *failure)
{
	const char *why;
	server->region = place_prefix(&server->config.place, place_depth(&server->config.place) - 2);
	if (!certificates_load(server, failure))
		return false;
	server->base = event_base_new();
	if (!server->base || !make_events(server))
		return server_fail(failure, EXIT_OTHER, "DOM-N008", "the event loop cannot be made", "", "");
	if (listener_new(server, server->config.listen, &server->listener, &why) != STATUS_OK) {
		snprintf(failure->text, sizeof(failure->text),
			"listen: %s: %s; give an address of this machine and a free port", server->config.listen, why);
		failure->exit_code = EXIT_OTHER;
		failure->code = "DOM-N007";
		return false;
	}
	server->peers = peers_new(server);
	if (!server->peers ||
		journal_thread_new(server->base, on_flushed, server, &server->journal_thread) != STATUS_OK ||
		block_pool_new(server->base, BLOCK_THREADS, &server->block_pool) != STATUS_OK)
		return server_fail(failure, EXIT_OTHER, "DOM-N008", "threads or memory are not to be had", "", "");
	set_limits(server);
	if (!open_node(server, failure))
		return false;
	server->map_changed = true;
	server_after(server);
	server->join = join_begin(server);
	if (!server->join)
		return server_fail(failure, EXIT_OTHER, "DOM-N008", "memory is not to be had", "", "");
	if (!certificates_begin(server) || listener_begin(server->listener) != STATUS_OK)
		return server_fail(failure, EXIT_OTHER, "DOM-N008", "the event loop takes no more events", "", "");
	uint16_t port = listener_port(server->listener);
	if (listening_file && !write_port(listening_file, port, failure))
		return false;
	log_info("listening", LOG_S("address", server->config.listen), LOG_U("port", port),
		LOG_U("node", node_id(server->node)), LOG_S("cluster", server->config.cluster),
		LOG_S("place", server->config.place.text));
	return true;
}

static void on_libevent_log(int severity, const char *text)
{
	if (severity >= EVENT_LOG_ERR)
		log_error("libevent", LOG_S("what", text));
	else
		log_warn("libevent", LOG_S("what", text));
}

bool server_start(const struct server_config *config, const char *listening_file, struct server **out,
	struct server_failure *failure)
{
	*out = NULL;
	struct server *server = calloc(1, sizeof(*server));
	if (!server)
		return server_fail(failure, EXIT_OTHER, "DOM-N008", "out of memory", "", "");
	event_set_log_callback(on_libevent_log);
	server->config = *config;
	server->timer_fd = -1;
	prng_seed(&server->prng, io_random(server));
	if (!start(server, listening_file, failure)) {
		server_free(server);
		return false;
	}
	*out = server;
	return true;
}

int server_run(struct server *server)
{
	if (event_base_dispatch(server->base) < 0)
		server->exit_code = EXIT_OTHER;
	/* From here on a further signal would only cut short what is short anyway. */
	for (unsigned i = 0; i < SERVER_SIGNALS; i++) {
		event_free(server->signals[i]);
		server->signals[i] = NULL;
	}
	signal(SIGHUP, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	log_info("stopped", LOG_I("exit_code", server->exit_code));
	return server->exit_code;
}

/* Threads first: what they were about comes back into a node that still stands; one more turn sends the answers. */
void server_free(struct server *server)
{
	if (server->node && server->journal_thread) {
		struct journal_thread *thread = server->journal_thread;
		server->journal_thread = NULL;
		journal_thread_free(thread);
		struct block_pool *pool = server->block_pool;
		server->block_pool = NULL;
		block_pool_free(pool);
		if (server->exit_code == 0)
			event_base_loop(server->base, EVLOOP_NONBLOCK);
	}
	journal_thread_free(server->journal_thread);
	block_pool_free(server->block_pool);
	join_free(server->join);
	listener_free(server->listener);
	peers_free(server->peers);
	server->listener = NULL;
	server->peers = NULL;
	if (server->node)
		node_close(server->node);
	struct event *const events[] = { server->after, server->timer, server->retry, server->resign,
		server->signals[0], server->signals[1], server->signals[2], server->own.watch };
	for (unsigned i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		if (events[i])
			event_free(events[i]);
	if (server->timer_fd >= 0)
		close(server->timer_fd);
	tls_context_free(server->tls);
	revocations_unref(server->own.revocations);
	if (server->base)
		event_base_free(server->base);
	free(server);
}
