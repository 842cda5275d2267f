/* tests/cluster/hostile.h: what an attacker with a stolen certificate has: a blocking TLS line of its own on which it
 * may say anything, and a tally of what came of it. Nothing of wire/connection.c or wire/tls.c is used, so that the
 * product is not checked against itself; the codec is, because what is sent must be well formed wherever the attack is
 * not about form. */
#ifndef DOMICILE_TESTS_CLUSTER_HOSTILE_H
#define DOMICILE_TESTS_CLUSTER_HOSTILE_H

#include <openssl/ssl.h>

#include "policy/map.h"
#include "wire/codec_internal.h"
#include "wire/frame.h"

struct thief { /* files of the certificate that is used; the other side is not checked */
	const char *cert, *key;
};
struct line {
	int fd;
	SSL *ssl;
	uint8_t *in; /* size bytes of it wait */
	size_t size, capacity, taken;
	uint8_t *payload; /* of the last message heard */
	char why[256];	  /* it ended */
};
enum heard { HEARD_MESSAGE, HEARD_END, HEARD_NOTHING };

int line_connect(const char *address); /* TCP alone; -1: no */
bool line_open(struct line *line, const char *address, const struct thief *thief, const char *alpn);
bool line_accept(struct line *line, int listen_fd, const struct thief *thief, const char *alpn, int timeout_ms);
void line_close(struct line *line);
bool line_raw(struct line *line, const void *data, size_t size);
/* A frame around any payload; `change` may spoil the header after its checksum was made. */
bool line_payload(struct line *line, const void *payload, size_t size);
bool line_send(struct line *line, const struct message *message);
enum heard line_hear(struct line *line, int timeout_ms, struct message *message);
uint64_t line_boot(void); /* what this process says is its start: another one each time */
/* Its HELLO is awaited, ours is sent. False: refused, `why` says how. */
bool line_greet(struct line *line, const char *place, uint64_t node, struct message *hello);
/* Sends a request and awaits its REPLY or MAP_REPLY. */
bool line_ask(struct line *line, struct message *message, struct message *reply);
struct cluster_map *line_map(struct line *line); /* NULL: none came */

/* "ok NAME" or "HOLE NAME: detail"; the process ends with 1 when there was a hole. */
void tally(bool held, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));
int tally_end(void);

int attack_frames(const char *address, const struct thief *thief, const char *place);
int attack_requests(const char *address, const struct thief *thief, const char *claim, const char *home,
	const char *key, const char *value);
int attack_as_admin(const char *address, const struct thief *thief, const char *key, const char *value);
int attack_region(const char *address, const struct thief *thief, const char *place, const char *ca_file);
int attack_as_node(const char *address, const struct thief *thief);
int attack_as_peer(
	const char *address, const struct thief *thief, const char *listen, const char *home, const char *canary);
int attack_as_member(
	const char *address, const struct thief *thief, const char *own_place, const char *home, uint64_t seed);
int attack_floods(const char *address, const struct thief *thief, int pid, uint64_t growth_max_mib);

#endif
