/* server/certificates.c: see server/certificates.h. A reload makes a context of its own from the files and puts it in
 * the old one's place only when all of it is right; connections hold a reference to the one they were made with.
 * Lists of revoked certificates go their own way, since they change more often: into the context that is there. */
#include "server/certificates.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/units.h"
#include "server/ledger_sign.h"
#include "server/listener.h"
#include "server/peers.h"
#include "server/self_test.h"
#include "server/server_internal.h"
#include "wire/revocations.h"

enum { EXIT_CERTIFICATE = 11, WATCH_S = 10, REMINDER_S = 86400 };

struct loaded { /* files that passed, not yet in use */
	struct tls_context *tls;
	struct certificate_name name;
	uint8_t issuer_spki_sha256[32];
	int64_t ends_s;
};

static bool judge_own_name(
	const struct server_config *config, const struct certificate_name *name, struct server_failure *failure)
{
	char both[700];
	if (name->role != CERTIFICATE_NODE)
		return server_fail(failure, EXIT_CERTIFICATE, "DOM-N003", "certs: node.crt is no node's certificate",
			"; make one with domctl cert create-node", "");
	if (strcmp(name->place, config->place.text) != 0) {
		snprintf(both, sizeof(both), "the configuration says %s, the certificate says %s", config->place.text,
			name->place);
		return server_fail(failure, EXIT_CERTIFICATE, "DOM-N003", "place: ", both,
			"; correct `place`, or give this node its own certificate");
	}
	if (strcmp(name->cluster, config->cluster) != 0) {
		snprintf(both, sizeof(both), "the configuration says %s, the certificate says %s", config->cluster,
			name->cluster);
		return server_fail(failure, EXIT_CERTIFICATE, "DOM-N003", "cluster: ", both,
			"; correct `cluster`, or use this cluster's certificate");
	}
	return true;
}

/* Our own certificate, as a peer would see it. */
static bool judge(const struct server_config *config, char paths[3][CONFIG_PATH_MAX + 16], struct loaded *loaded,
	struct server_failure *failure)
{
	struct x509_st *issuer, *own = tls_context_certificate(loaded->tls);
	const char *why;
	if (certificate_name_of(own, &loaded->name, &why) != STATUS_OK)
		return server_fail(failure, EXIT_CERTIFICATE, "DOM-N002", paths[0], ": ", why);
	if (!judge_own_name(config, &loaded->name, failure))
		return false;
	if (tls_context_check(loaded->tls, &issuer, &why) != STATUS_OK || !issuer)
		return server_fail(failure, EXIT_CERTIFICATE, "DOM-N004", paths[0],
			": no other node would accept it: ", why[0] ? why : "it signed itself");
	if (self_test(loaded->tls, &why) != STATUS_OK)
		return server_fail(failure, EXIT_CERTIFICATE, "DOM-N009",
			"the check of certificates does not work: ", why,
			"; look at cas.pem and at this machine's OpenSSL configuration");
	if (certificate_spki_sha256(issuer, loaded->issuer_spki_sha256) != STATUS_OK)
		return server_fail(
			failure, EXIT_CERTIFICATE, "DOM-N002", paths[2], ": its authority has no usable key", "");
	loaded->ends_s = certificate_ends_s(own);
	if (certificate_ends_s(issuer) < loaded->ends_s)
		loaded->ends_s = certificate_ends_s(issuer);
	return true;
}

static bool load(const struct server *server, struct loaded *loaded, struct server_failure *failure)
{
	static const char *const files[3] = { "node.crt", "node.key", "cas.pem" };
	char paths[3][CONFIG_PATH_MAX + 16];
	const struct server_config *config = &server->config;
	const char *why;
	unsigned strangers;
	struct stat about;
	memset(loaded, 0, sizeof(*loaded));
	for (unsigned i = 0; i < 3; i++) {
		snprintf(paths[i], sizeof(paths[i]), "%s/%s", config->certs, files[i]);
		if (stat(paths[i], &about) != 0)
			return server_fail(
				failure, EXIT_CERTIFICATE, "DOM-N002", paths[i], " cannot be read: ", strerror(errno));
		if (i == 1 && (about.st_mode & 077))
			return server_fail(failure, EXIT_CERTIFICATE, "DOM-N002", paths[i],
				" may be read by others; chmod 600 it", "");
	}
	if (tls_context_new(paths[0], paths[1], paths[2], &loaded->tls, &why) != STATUS_OK)
		return server_fail(failure, EXIT_CERTIFICATE, "DOM-N002", config->certs, ": ", why);
	bool good = tls_context_revoke(loaded->tls, server->own.revocations, &strangers, &why) == STATUS_OK ||
		    server_fail(failure, EXIT_CERTIFICATE, "DOM-N011", config->crl, ": ", why);
	if (good && judge(config, paths, loaded, failure))
		return true;
	tls_context_free(loaded->tls);
	loaded->tls = NULL;
	return false;
}

/* --- revoked certificates -------------------------------------------------------------------------- */

const char server_revoked[] = "the certificate is revoked";

static struct file_mark mark_of(const char *path)
{
	struct stat about;
	if (stat(path, &about) != 0)
		return (struct file_mark){ 0 };
	return (struct file_mark){ about.st_mtim, about.st_ino, (uint64_t)about.st_size };
}

static bool mark_equal(const struct file_mark *a, const struct file_mark *b)
{
	return a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec &&
	       a->inode == b->inode && a->size == b->size;
}

/* A list that is configured and cannot be had must not mean that nobody is revoked. */
static bool load_revocations(struct server *server, struct server_failure *failure)
{
	const char *path = server->config.crl, *why;
	if (!path[0])
		return true;
	server->own.crl_mark = mark_of(path);
	if (revocations_read(path, &server->own.revocations, &why) == STATUS_OK)
		return true;
	return server_fail(failure, EXIT_CERTIFICATE, "DOM-N011", path, ": ", why);
}

/* Past its time a list holds on to what it names, but whoever is revoked since is let in. */
static void tell_due(struct server *server)
{
	int64_t due_s = revocations_due_s(server->own.revocations), now_s = (int64_t)(clock_wall_us() / 1000000);
	server->own.due_told = server->own.revocations && due_s < now_s;
	if (server->own.due_told)
		log_warn("a list of revoked certificates is past its time", LOG_S("file", server->config.crl),
			LOG_I("days", days_until(now_s, due_s)),
			LOG_S("cure", "make it anew with domctl cert revoke; whom it names stays out"));
}

static void tell_revocations(const struct server *server)
{
	if (server->own.revocations)
		log_info("revoked certificates", LOG_S("file", server->config.crl),
			LOG_U("count", revocations_count(server->own.revocations)));
}

static void reread_revocations(struct server *server, bool always)
{
	const char *path = server->config.crl, *why;
	struct revocations *fresh = NULL;
	unsigned strangers = 0;
	if (!path[0])
		return;
	struct file_mark mark = mark_of(path); /* before it is read: what is written meanwhile is seen next time */
	if (!always && mark_equal(&mark, &server->own.crl_mark))
		return;
	server->own.crl_mark = mark;
	enum status status = revocations_read(path, &fresh, &why);
	if (status == STATUS_OK)
		status = revocations_follow(server->own.revocations, fresh, &why);
	if (status == STATUS_OK)
		status = tls_context_revoke(server->tls, fresh, &strangers, &why);
	if (status != STATUS_OK) {
		log_error("revoked certificates not read anew: the old list stays", LOG_S("code", "DOM-N011"),
			LOG_S("file", path), LOG_S("why", why));
		revocations_unref(fresh);
		return;
	}
	revocations_unref(server->own.revocations);
	server->own.revocations = fresh;
	if (strangers > 0)
		log_warn("lists of revoked certificates of authorities that are not known here",
			LOG_U("count", strangers));
	tell_revocations(server);
	tell_due(server);
	listener_judge_anew(server->listener);
	peers_judge_anew(server->peers);
}

/* --- in use ---------------------------------------------------------------------------------------- */

static void adopt(struct server *server, struct loaded *loaded)
{
	tls_context_free(server->tls); /* connections keep it alive for as long as they last */
	server->tls = loaded->tls;
	memcpy(server->own.issuer_spki_sha256, loaded->issuer_spki_sha256, 32);
	server->own.ends_s = loaded->ends_s;
}

bool certificates_load(struct server *server, struct server_failure *failure)
{
	struct loaded loaded;
	if (!load_revocations(server, failure) || !load(server, &loaded, failure))
		return false;
	adopt(server, &loaded);
	return true;
}

/* A region's authority in the map is trusted from now on; which key may sign for which place, node_admits judges. */
static void trust_regions(struct tls_context *tls, const struct cluster_map *map)
{
	for (uint32_t i = 0; i < map->region_count; i++) {
		const struct map_region *region = &map->regions[i];
		if (region->ca_size > 0 &&
			tls_context_trust(tls, bytes_of(region->ca_der, region->ca_size)) != STATUS_OK)
			log_error("a region's authority cannot be trusted", LOG_S("region", region->name));
	}
}

void certificates_map_changed(struct server *server, const struct cluster_map *map)
{
	trust_regions(server->tls, map);
}

/* --- time ---------------------------------------------------------------------------------------- */

static int64_t days_left(const struct server *server)
{
	return days_until(server->own.ends_s, (int64_t)(clock_wall_us() / 1000000));
}

static void remind(struct server *server)
{
	int64_t days = days_left(server);
	server->own.reminder_ns = clock_boot_ns() + (uint64_t)REMINDER_S * 1000000000;
	if (days < CERTIFICATE_DAYS_SOON)
		log_warn("the node's certificate ends soon", LOG_I("days_left", days),
			LOG_S("cure", "put a new one into its place and send SIGHUP"));
	tell_due(server);
}

static void on_watch(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;
	(void)fd;
	(void)what;
	if (clock_boot_ns() >= server->own.reminder_ns)
		remind(server);
	reread_revocations(server, false);
	if (!server->own.due_told)
		tell_due(server);
}

bool certificates_begin(struct server *server)
{
	struct timeval period = { WATCH_S, 0 };
	log_info("certificate", LOG_I("days_left", days_left(server)));
	tell_revocations(server);
	remind(server);
	server->own.watch = event_new(server->base, -1, EV_PERSIST, on_watch, server);
	return server->own.watch && event_add(server->own.watch, &period) == 0;
}

/* --- reload -------------------------------------------------------------------------------------- */

/* What the other nodes would say by the map: a certificate of an authority that is not pinned keeps us out. */
static bool judge_by_map(struct server *server, const struct loaded *loaded, struct server_failure *failure)
{
	struct peer_identity identity;
	const char *why = "its place is malformed";
	if (server_identity(&loaded->name, loaded->issuer_spki_sha256, &identity) &&
		node_admits(server->node, &identity, &why) == STATUS_OK)
		return true;
	return server_fail(failure, EXIT_CERTIFICATE, "DOM-N004", server->config.certs,
		"/node.crt: no other node would accept it: ", why);
}

void certificates_reload(struct server *server)
{
	static struct server_failure failure;
	struct loaded loaded;
	reread_revocations(server, true);
	if (!load(server, &loaded, &failure) || !judge_by_map(server, &loaded, &failure)) {
		tls_context_free(loaded.tls);
		log_error("certificates not reloaded: the old ones stay", LOG_S("code", failure.code),
			LOG_S("why", failure.text));
		return;
	}
	trust_regions(loaded.tls, node_map(server->node));
	adopt(server, &loaded);
	node_set_certificate(server->node, loaded.issuer_spki_sha256, loaded.ends_s, ledger_certificate(server->tls));
	log_info("certificates reloaded", LOG_I("days_left", days_left(server)));
	remind(server);
}
