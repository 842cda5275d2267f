/* server/certificates.h: the node's own certificate, its key and the authorities it trusts (`certs` of the
 * configuration): read and judged at start, and again on SIGHUP. What does not pass changes nothing: the old ones stay,
 * and the log says why. New connections use the new ones; those that stand keep what they were made with. Once a day
 * the log is told of a certificate that soon ends.
 *
 * The lists of revoked certificates (`crl`) are read at start, on SIGHUP and, looked at every ten seconds, when the
 * file is another. Whom they name is refused from then on, and closed where a connection stands. */
#ifndef DOMICILE_SERVER_CERTIFICATES_H
#define DOMICILE_SERVER_CERTIFICATES_H

#include "policy/map.h"
#include "server/server.h"

enum { CERTIFICATE_DAYS_SOON = 30 }; /* days left below which the log warns */

bool certificates_load(struct server *server, struct server_failure *failure) MUST; /* at start; sets server->tls */
bool certificates_begin(struct server *server) MUST; /* once the node is open: from now on time is watched */
void certificates_reload(struct server *server);
void certificates_map_changed(struct server *server, const struct cluster_map *map);

#endif
