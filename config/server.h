/* config/server.h: what domiciled is told: domiciled.yaml, the environment and flags as one plain struct.
 *
 * Every key has one name, dotted where it is nested (`log.level`); the flag is `--log.level`, the variable
 * DOMICILED_LOG_LEVEL. A flag wins over the environment, that over the file, that over the default. Lists and maps are
 * written in YAML there too: --join '[a:7470, b:7470]'. docs/configuration.md lists the keys. */
#ifndef DOMICILE_CONFIG_SERVER_H
#define DOMICILE_CONFIG_SERVER_H

#include "base/log.h"
#include "config/errors.h"
#include "policy/map.h"

enum { CONFIG_PATH_MAX = 1024, CONFIG_JOIN_MAX = 16 };

struct server_config {
	char cluster[CLUSTER_NAME_MAX];
	struct place place;	       /* five components at most in what is usual; zone and node are the last two */
	char listen[ADDRESS_TEXT_MAX]; /* host:port; port 0: any free one */
	struct address_list advertise; /* the first is the default, with from "" */
	char http_listen[ADDRESS_TEXT_MAX];  /* "": off, the only value so far */
	char redis_listen[ADDRESS_TEXT_MAX]; /* likewise */
	enum log_format log_format;
	enum log_level log_level;
	char data[CONFIG_PATH_MAX];
	char certs[CONFIG_PATH_MAX];
	char crl[CONFIG_PATH_MAX]; /* "": none */
	uint32_t join_count;
	char join[CONFIG_JOIN_MAX][ADDRESS_TEXT_MAX];
	uint32_t reactors;
	uint64_t cache_size, memory_size, journal_segment_size; /* bytes */
	uint64_t lease_us, heartbeat_us;
};

struct server_config_key {
	const char *name;
	const char *type;	   /* for people: "size", "host:port" */
	const char *default_value; /* as it would be written; NULL: it must be given */
	const char *what;	   /* one line */
};
/* Every key, in the order of the documentation: for --help. */
const struct server_config_key *server_config_keys(uint32_t *count);

/* path: NULL for no file. arguments: flags of keys only, `--key value` or `--key=value`, ended with a NULL; the caller
 * has taken its own flags out. environment: like environ, NULL for none; names that are no key of ours are other
 * people's. False: errors say why. */
bool config_server_load(const char *path, char *const arguments[], char *const environment[],
	struct server_config *config, struct config_errors *errors) MUST;

#endif
