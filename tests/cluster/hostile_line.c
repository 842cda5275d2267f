/* tests/cluster/hostile_line.c: see tests/cluster/hostile.h. */
#define _GNU_SOURCE /* accept4 */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/cluster/hostile.h"

enum { PATIENCE_MS = 10000 };

static struct codec_scratch scratch;
static unsigned held_count, hole_count;

/* --- the tally ---------------------------------------------------------------------------------- */

void tally(bool held, const char *name, const char *format, ...)
{
	va_list list;
	printf("%s %s: ", held ? "ok" : "HOLE", name);
	va_start(list, format);
	vprintf(format, list);
	va_end(list);
	printf("\n");
	fflush(stdout);
	held_count += held;
	hole_count += !held;
}

int tally_end(void)
{
	printf("| %u attacks repelled, %u holes\n", held_count, hole_count);
	return hole_count > 0 || held_count == 0;
}

/* --- sockets -------------------------------------------------------------------------------------- */

static bool address_of(const char *text, struct sockaddr_in *address)
{
	char host[64];
	unsigned port;
	memset(address, 0, sizeof(*address));
	address->sin_family = AF_INET;
	if (sscanf(text, "%63[0-9.]:%u", host, &port) != 2 || port > 65535)
		return false;
	address->sin_port = htons((uint16_t)port);
	return inet_pton(AF_INET, host, &address->sin_addr) == 1;
}

int line_connect(const char *text)
{
	struct sockaddr_in address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
	if (fd < 0 || !address_of(text, &address) || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

static bool wait_for(int fd, short what, int timeout_ms)
{
	struct pollfd wait = { .fd = fd, .events = what };
	int ready;
	do
		ready = poll(&wait, 1, timeout_ms);
	while (ready < 0 && errno == EINTR);
	return ready > 0;
}

/* --- TLS ---------------------------------------------------------------------------------------------- */

static int select_any(
	SSL *ssl, const unsigned char **out, unsigned char *size, const unsigned char *in, unsigned in_size, void *arg)
{
	(void)ssl;
	(void)in_size;
	(void)arg;
	*out = in + 1;
	*size = in[0];
	return SSL_TLSEXT_ERR_OK;
}

static int trust_anybody(int ok, X509_STORE_CTX *context)
{
	(void)ok;
	(void)context;
	return 1;
}

static bool begin(struct line *line, int fd, const struct thief *thief, const char *alpn, bool server)
{
	unsigned char name[64];
	SSL_CTX *context = SSL_CTX_new(TLS_method());
	struct timeval patience = { PATIENCE_MS / 1000, 0 };
	assert(context);
	line->fd = fd;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (SSL_CTX_use_certificate_chain_file(context, thief->cert) != 1 ||
		SSL_CTX_use_PrivateKey_file(context, thief->key, SSL_FILETYPE_PEM) != 1) {
		fprintf(stderr, "hostile: %s or %s cannot be read\n", thief->cert, thief->key);
		exit(2);
	}
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, trust_anybody);
	name[0] = (unsigned char)strlen(alpn);
	memcpy(name + 1, alpn, name[0]);
	SSL_CTX_set_alpn_protos(context, name, name[0] + 1u);
	SSL_CTX_set_alpn_select_cb(context, select_any, NULL);
	line->ssl = SSL_new(context);
	SSL_CTX_free(context);
	assert(line->ssl);
	SSL_set_fd(line->ssl, fd);
	ERR_clear_error();
	int result = server ? SSL_accept(line->ssl) : SSL_connect(line->ssl);
	if (result == 1)
		return true;
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());
	snprintf(line->why, sizeof(line->why), "%s", reason ? reason : "closed during the handshake");
	return false;
}

bool line_open(struct line *line, const char *address, const struct thief *thief, const char *alpn)
{
	*line = (struct line){ .fd = -1 };
	int fd = line_connect(address);
	if (fd >= 0)
		return begin(line, fd, thief, alpn, false);
	snprintf(line->why, sizeof(line->why), "no connection: %s", strerror(errno));
	return false;
}

bool line_accept(struct line *line, int listen_fd, const struct thief *thief, const char *alpn, int timeout_ms)
{
	*line = (struct line){ .fd = -1 };
	if (!wait_for(listen_fd, POLLIN, timeout_ms)) {
		snprintf(line->why, sizeof(line->why), "nobody dialled");
		return false;
	}
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	assert(fd >= 0);
	return begin(line, fd, thief, alpn, true);
}

void line_close(struct line *line)
{
	if (line->ssl)
		SSL_free(line->ssl);
	if (line->fd >= 0)
		close(line->fd);
	free(line->in);
	free(line->payload);
	*line = (struct line){ .fd = -1 };
}

/* --- saying --------------------------------------------------------------------------------------------- */

bool line_raw(struct line *line, const void *data, size_t size)
{
	size_t sent = 0;
	while (sent < size) {
		size_t wrote = 0;
		ERR_clear_error();
		if (SSL_write_ex(line->ssl, (const uint8_t *)data + sent, size - sent, &wrote) != 1)
			return false;
		sent += wrote;
	}
	return true;
}

bool line_payload(struct line *line, const void *payload, size_t size)
{
	size_t capacity = frame_size_bound(size);
	uint8_t *frame = malloc(capacity);
	assert(frame);
	bool sent = line_raw(line, frame, frame_encode(bytes_of(payload, size), false, frame, capacity));
	free(frame);
	return sent;
}

bool line_send(struct line *line, const struct message *message)
{
	struct packer packer = { 0 };
	message_encode(message, &packer);
	uint8_t *payload = malloc(packer.size);
	assert(payload);
	pack_init(&packer, payload, packer.size);
	message_encode(message, &packer);
	assert(!packer.overflow);
	bool sent = line_payload(line, payload, packer.size);
	free(payload);
	return sent;
}

/* --- hearing ---------------------------------------------------------------------------------------------- */

static void ended(struct line *line, int result)
{
	int kind = SSL_get_error(line->ssl, result);
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());
	snprintf(line->why, sizeof(line->why), "%s",
		kind == SSL_ERROR_ZERO_RETURN ? "closed"
		: reason		      ? reason
					      : "closed without a word");
}

/* A whole frame at the front of what is here? */
static bool whole(struct line *line, struct frame_header *header)
{
	if (line->size < FRAME_HEADER_SIZE)
		return false;
	enum status status = frame_header_decode(line->in, FRAME_SIZE_MAX_PEER, header);
	assert(status == STATUS_OK); /* the product says nothing malformed */
	return line->size - FRAME_HEADER_SIZE >= header->wire_size;
}

enum heard line_hear(struct line *line, int timeout_ms, struct message *message)
{
	struct frame_header header;
	line->size -= line->taken;
	if (line->taken > 0)
		memmove(line->in, line->in + line->taken, line->size);
	line->taken = 0;
	while (!whole(line, &header)) {
		if (line->capacity - line->size < 65536) {
			line->capacity = line->capacity * 2 + 131072;
			line->in = realloc(line->in, line->capacity);
			assert(line->in);
		}
		if (SSL_pending(line->ssl) == 0 && !wait_for(line->fd, POLLIN, timeout_ms))
			return HEARD_NOTHING;
		size_t got = 0;
		ERR_clear_error();
		int result = SSL_read_ex(line->ssl, line->in + line->size, line->capacity - line->size, &got);
		if (result != 1) {
			ended(line, result);
			return HEARD_END;
		}
		line->size += got;
	}
	struct bytes payload;
	free(line->payload);
	line->payload = malloc(header.size);
	assert(line->payload);
	enum status status =
		frame_payload_decode(line->in, &header, line->in + FRAME_HEADER_SIZE, line->payload, &payload);
	assert(status == STATUS_OK);
	status = message_decode(payload, &scratch, message);
	assert(status == STATUS_OK);
	line->taken = FRAME_HEADER_SIZE + header.wire_size;
	return HEARD_MESSAGE;
}

uint64_t line_boot(void)
{
	static uint64_t boot;
	if (boot == 0)
		boot = clock_boot_ns() | 1;
	return boot;
}

bool line_greet(struct line *line, const char *place, uint64_t node, struct message *theirs)
{
	struct message hello = { .kind = MESSAGE_HELLO };
	enum heard heard = line_hear(line, PATIENCE_MS, theirs);
	if (heard == HEARD_MESSAGE && theirs->kind == MESSAGE_REPLY)
		snprintf(line->why, sizeof(line->why), "%.*s", (int)theirs->reply.detail.size,
			(const char *)theirs->reply.detail.data);
	if (heard == HEARD_NOTHING)
		snprintf(line->why, sizeof(line->why), "no word");
	if (heard != HEARD_MESSAGE || theirs->kind != MESSAGE_HELLO)
		return false;
	hello.hello = theirs->hello;
	hello.hello.node = node;
	hello.hello.boot = line_boot();
	hello.hello.place = bytes_text(place);
	return line_send(line, &hello);
}

bool line_ask(struct line *line, struct message *message, struct message *reply)
{
	static uint64_t request;
	message->request = ++request;
	if (!line_send(line, message))
		return false;
	while (line_hear(line, PATIENCE_MS, reply) == HEARD_MESSAGE)
		if (reply->request == message->request)
			return true;
	return false;
}

struct cluster_map *line_map(struct line *line)
{
	struct message ask = { .kind = MESSAGE_MAP_REQUEST }, reply;
	void *memory = calloc(1, cluster_map_size(&map_limits_default));
	assert(memory);
	struct cluster_map *map = cluster_map_init(memory, &map_limits_default);
	if (line_ask(line, &ask, &reply) && reply.kind == MESSAGE_MAP_REPLY &&
		cluster_map_decode(reply.map_reply.map, map) == STATUS_OK)
		return map;
	free(memory);
	return NULL;
}
