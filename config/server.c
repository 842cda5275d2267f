/* config/server.c: see config/server.h. One table of keys drives file, environment, flags and help. Defaults pass
 * through the same setters as everything else. Where a key was last set is kept, so that an error about two keys that
 * do not go together still points at one of them. */
#include "config/server.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"
#include "base/units.h"
#include "config/schema.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
enum { LABEL_MAX = 96, FLAG_NAME_MAX = 64 };

struct setter {
	struct schema_reader reader;
	struct server_config *config;
	bool advertise_default;
};

static bool set_cluster(struct setter *setter, const struct yaml_node *node)
{
	char *out = setter->config->cluster;
	if (!schema_text(&setter->reader, node, "a cluster's name", out, CLUSTER_NAME_MAX))
		return false;
	size_t good = strspn(out, "abcdefghijklmnopqrstuvwxyz0123456789-");
	if (out[0] && out[0] != '-' && out[good] == 0)
		return true;
	return schema_mistake(&setter->reader, node, "a cluster's name", "use a-z, 0-9 and -, not starting with -");
}

static bool set_place(struct setter *setter, const struct yaml_node *node)
{
	static const char cure[] = "write the region's path, zone and node: eu/ie/eu-west-1/a/n1";
	const char *why = NULL;
	struct place place;
	if (!schema_is_text(&setter->reader, node, "a place"))
		return false;
	if (!place_parse(node->text, &place, &why)) {
		yaml_fault(setter->reader.errors, setter->reader.source, node, cure, "the place is malformed: ", why,
			NULL);
		return false;
	}
	if (place_depth(&place) < 3)
		return schema_fault(&setter->reader, node, cure, "a node's place has at least region, zone and node");
	setter->config->place = place;
	return true;
}

/* host:port, [v6]:port; any host text that could be a name or an address. */
static bool address_valid(const char *text, bool port_zero)
{
	const char *colon = strrchr(text, ':');
	if (!colon || colon == text)
		return false;
	size_t host_size = (size_t)(colon - text);
	bool bracketed = text[0] == '[' && text[host_size - 1] == ']';
	size_t begin = bracketed ? 1 : 0, end = bracketed ? host_size - 1 : host_size;
	const char *allowed = bracketed ? "0123456789abcdefABCDEF:."
					: "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-_";
	if (begin >= end || strspn(text + begin, allowed) != end - begin)
		return false;
	uint64_t port;
	return parse_u64(colon + 1, &port) && port <= 65535 && (port_zero || port > 0);
}

static bool set_address(struct setter *setter, const struct yaml_node *node, bool port_zero, char *out)
{
	if (!schema_text(&setter->reader, node, "an address", out, ADDRESS_TEXT_MAX))
		return false;
	if (address_valid(out, port_zero))
		return true;
	return schema_mistake(&setter->reader, node, "an address", "write host:port, like n1.example.net:7470");
}

static bool set_listen(struct setter *setter, const struct yaml_node *node)
{
	return set_address(setter, node, true, setter->config->listen);
}

static bool set_advertise_default(struct setter *setter, const struct yaml_node *node)
{
	setter->advertise_default = true;
	setter->config->advertise.at[0].from[0] = 0;
	return set_address(setter, node, false, setter->config->advertise.at[0].address);
}

static bool set_advertise_from(struct setter *setter, const struct yaml_node *node)
{
	struct address_list *list = &setter->config->advertise;
	if (!schema_is_map(&setter->reader, node, "a map of places to addresses"))
		return false;
	if (node->count > ADDRESSES_MAX - 1)
		return schema_fault(&setter->reader, node, "keep seven", "more than 7 places in advertise.from");
	bool ok = schema_no_duplicates(&setter->reader, node);
	list->count = 1;
	for (const struct yaml_node *entry = node->first; entry; entry = entry->next) {
		struct address_from *from = &list->at[list->count++];
		struct place place;
		const char *why = NULL;
		if (!place_parse(entry->key->text, &place, &why) || entry->key->size >= sizeof(from->from))
			ok = schema_mistake(&setter->reader, entry->key, "a place",
				"write a place's path, like eu or us/us-east-1");
		else
			memcpy(from->from, entry->key->text, entry->key->size + 1);
		ok = set_address(setter, entry, false, from->address) && ok;
	}
	return ok;
}

static bool set_off(struct setter *setter, const struct yaml_node *node, const char *what)
{
	if (schema_is(node, "off"))
		return true;
	yaml_fault(setter->reader.errors, setter->reader.source, node, "write off, or leave it out", what,
		" is not supported yet", NULL);
	return false;
}

static bool set_http_listen(struct setter *setter, const struct yaml_node *node)
{
	return set_off(setter, node, "http.listen other than off");
}

static bool set_redis_listen(struct setter *setter, const struct yaml_node *node)
{
	return set_off(setter, node, "redis.listen other than off");
}

static bool set_redis_databases(struct setter *setter, const struct yaml_node *node)
{
	if (!schema_is_map(&setter->reader, node, "a map of numbers to prefixes"))
		return false;
	return node->count == 0 ||
	       schema_fault(&setter->reader, node, "leave it out", "redis.databases is not supported yet");
}

static bool set_redis_mset(struct setter *setter, const struct yaml_node *node)
{
	static const char *const words[] = { "whole", "split" };
	size_t at;
	if (!schema_word(&setter->reader, node, words, COUNT(words), &at))
		return false;
	return at == 0 || schema_fault(&setter->reader, node, "write whole, or leave it out",
				  "redis.mset: split is not supported yet");
}

static bool set_log_format(struct setter *setter, const struct yaml_node *node)
{
	static const char *const words[] = { "logfmt", "json" };
	size_t at;
	if (!schema_word(&setter->reader, node, words, COUNT(words), &at))
		return false;
	setter->config->log_format = at == 0 ? LOG_LOGFMT : LOG_JSON;
	return true;
}

static bool set_log_level(struct setter *setter, const struct yaml_node *node)
{
	static const char *const words[] = { "error", "warn", "info", "debug" };
	static const enum log_level levels[] = { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
	size_t at;
	if (!schema_word(&setter->reader, node, words, COUNT(words), &at))
		return false;
	setter->config->log_level = levels[at];
	return true;
}

static bool set_data(struct setter *setter, const struct yaml_node *node)
{
	return schema_text(&setter->reader, node, "a directory", setter->config->data, CONFIG_PATH_MAX) &&
	       (node->size > 0 || schema_mistake(&setter->reader, node, "a directory", NULL));
}

static bool set_certs(struct setter *setter, const struct yaml_node *node)
{
	return schema_text(&setter->reader, node, "a directory", setter->config->certs, CONFIG_PATH_MAX) &&
	       (node->size > 0 || schema_mistake(&setter->reader, node, "a directory", NULL));
}

static bool set_crl(struct setter *setter, const struct yaml_node *node)
{
	return schema_text(&setter->reader, node, "a file", setter->config->crl, CONFIG_PATH_MAX) &&
	       (node->size > 0 || schema_mistake(&setter->reader, node, "a file", "leave it out"));
}

static bool set_join(struct setter *setter, const struct yaml_node *node)
{
	struct server_config *config = setter->config;
	if (!schema_is_list(&setter->reader, node, "a list of addresses"))
		return false;
	if (node->count > CONFIG_JOIN_MAX)
		return schema_fault(&setter->reader, node, "a few are enough", "more than 16 addresses in join");
	bool ok = true;
	config->join_count = 0;
	for (const struct yaml_node *item = node->first; item; item = item->next)
		ok = set_address(setter, item, false, config->join[config->join_count++]) && ok;
	return ok;
}

static bool set_reactors(struct setter *setter, const struct yaml_node *node)
{
	uint64_t number;
	if (!schema_number(&setter->reader, node, "a number from 1 to 64", 1, 64, &number))
		return false;
	setter->config->reactors = (uint32_t)number;
	return number == 1 || schema_fault(&setter->reader, node, "write 1, or leave it out",
				      "reactors other than 1 is not supported yet");
}

static bool set_size(struct setter *setter, const struct yaml_node *node, uint64_t min, uint64_t max, const char *what,
	uint64_t *out)
{
	if (node->kind == YAML_SCALAR && parse_size(node->text, out) && *out >= min && *out <= max)
		return true;
	return schema_mistake(&setter->reader, node, what, "write bytes, or a number with KiB, MiB, GiB or TiB");
}

static bool set_cache(struct setter *setter, const struct yaml_node *node)
{
	return set_size(
		setter, node, 1 << 20, UINT64_C(1) << 44, "a size from 1MiB to 16TiB", &setter->config->cache_size);
}

static bool set_memory(struct setter *setter, const struct yaml_node *node)
{
	return set_size(
		setter, node, 64 << 20, UINT64_C(1) << 44, "a size from 64MiB to 16TiB", &setter->config->memory_size);
}

static bool set_journal_segment(struct setter *setter, const struct yaml_node *node)
{
	return set_size(
		setter, node, 4 << 20, 1 << 30, "a size from 4MiB to 1GiB", &setter->config->journal_segment_size);
}

static bool set_duration(struct setter *setter, const struct yaml_node *node, uint64_t min_us, uint64_t max_us,
	const char *what, uint64_t *out)
{
	if (node->kind == YAML_SCALAR && parse_duration_us(node->text, out) && *out >= min_us && *out <= max_us)
		return true;
	return schema_mistake(&setter->reader, node, what, "write a number with us, ms, s or m");
}

static bool set_lease(struct setter *setter, const struct yaml_node *node)
{
	return set_duration(setter, node, 200000, 10000000, "a duration from 200ms to 10s", &setter->config->lease_us);
}

static bool set_heartbeat(struct setter *setter, const struct yaml_node *node)
{
	return set_duration(setter, node, 10000, 5000000, "a duration from 10ms to 5s", &setter->config->heartbeat_us);
}

static const struct server_config_key keys[] = {
	{ "cluster", "name", NULL, "name of the cluster; must equal the certificate's" },
	{ "place", "place", NULL, "where this node is: region's path, zone, node; must equal the certificate's" },
	{ "listen", "host:port", "0.0.0.0:7470", "where clients and peers connect" },
	{ "advertise.default", "host:port", "",
		"what others dial; the default is listen, if that names a host and port" },
	{ "advertise.from", "map", "{}", "what those of a place dial instead: { us: 203.0.113.7:7470 }" },
	{ "http.listen", "off", "off", "metrics, health, console, JSON API" },
	{ "redis.listen", "off", "off", "Redis protocol" },
	{ "redis.databases", "map", "{}", "number of a database to its prefix" },
	{ "redis.mset", "word", "whole", "whole or split" },
	{ "log.format", "word", "logfmt", "logfmt or json" },
	{ "log.level", "word", "info", "error, warn, info or debug" },
	{ "data", "directory", "/var/lib/domicile", "journal and shards" },
	{ "certs", "directory", "/etc/domicile/certs", "node.crt, node.key, cas.pem" },
	{ "crl", "file", "", "revoked certificates: lists signed by the authorities (PEM)" },
	{ "join", "list", "[]", "addresses of nodes to ask for admission" },
	{ "reactors", "number", "1", "event loops" },
	{ "cache", "size", "256MiB", "block cache of all shards together" },
	{ "memory", "size", "512MiB", "bytes in flight: requests, replies, entries on their way" },
	{ "journal.segment", "size", "64MiB", "size of one file of the journal" },
	{ "lease", "duration", "1s", "of leases and of the support between nodes; 200ms to 10s" },
	{ "heartbeat", "duration", "100ms", "how often nodes ask each other for support" },
};
static bool (*const setters[])(struct setter *setter, const struct yaml_node *node) = {
	set_cluster,
	set_place,
	set_listen,
	set_advertise_default,
	set_advertise_from,
	set_http_listen,
	set_redis_listen,
	set_redis_databases,
	set_redis_mset,
	set_log_format,
	set_log_level,
	set_data,
	set_certs,
	set_crl,
	set_join,
	set_reactors,
	set_cache,
	set_memory,
	set_journal_segment,
	set_lease,
	set_heartbeat,
};
static_assert(COUNT(keys) == COUNT(setters), "one setter a key");
enum { KEY_COUNT = COUNT(keys), KEY_PLACE = 1, KEY_ADVERTISE_DEFAULT = 3, KEY_HEARTBEAT = KEY_COUNT - 1 };

struct loader {
	struct setter setter;
	struct config_errors *errors;
	const char *path;
	struct {
		char label[LABEL_MAX]; /* "": the file, or nowhere */
		struct yaml_node at;   /* only line and column */
		bool given;
	} origins[KEY_COUNT];
};

const struct server_config_key *server_config_keys(uint32_t *count)
{
	*count = KEY_COUNT;
	return keys;
}

static size_t key_find(const char *name)
{
	size_t at = 0;
	while (at < KEY_COUNT && strcmp(keys[at].name, name) != 0)
		at++;
	return at;
}

static bool set_key(struct loader *loader, size_t key, const char *source, const struct yaml_node *node)
{
	loader->setter.reader = (struct schema_reader){ .source = source, .errors = loader->errors };
	loader->origins[key].given = true;
	loader->origins[key].at = (struct yaml_node){ .line = node->line, .column = node->column };
	return setters[key](&loader->setter, node);
}

/* A value from a flag, a variable or a default: YAML where the key takes a list or map, else text as it is. */
static bool set_key_text(struct loader *loader, size_t key, const char *label, const char *value)
{
	struct text copy;
	text_init(&copy, loader->origins[key].label, LABEL_MAX);
	text_add(&copy, label);
	label = loader->origins[key].label;
	bool structured = strcmp(keys[key].type, "list") == 0 || strcmp(keys[key].type, "map") == 0;
	if (!structured) {
		const struct yaml_node node = { .kind = YAML_SCALAR, .text = value, .size = strlen(value) };
		return set_key(loader, key, label, &node);
	}
	struct yaml yaml;
	if (!yaml_parse(label, bytes_text(value), &yaml, loader->errors))
		return false;
	bool ok = set_key(loader, key, label, yaml.root);
	yaml_free(&yaml);
	return ok;
}

static bool load_defaults(struct loader *loader)
{
	bool ok = true;
	for (size_t i = 0; i < KEY_COUNT; i++) {
		if (keys[i].default_value && keys[i].default_value[0])
			ok = set_key_text(loader, i, "default", keys[i].default_value) && ok;
		loader->origins[i].given = false;
	}
	loader->setter.advertise_default = false;
	assert(ok);
	return ok;
}

/* Is `name` a map in which keys are nested? */
static bool key_is_group(const char *name)
{
	size_t size = strlen(name);
	for (size_t i = 0; i < KEY_COUNT; i++) {
		if (strncmp(keys[i].name, name, size) == 0 && keys[i].name[size] == '.')
			return true;
	}
	return false;
}

/* The names that may stand inside a group ("" is the top), each once. */
static size_t names_in(const char *group, char names[KEY_COUNT][FLAG_NAME_MAX], const char *known[KEY_COUNT])
{
	size_t count = 0, group_size = strlen(group);
	for (size_t i = 0; i < KEY_COUNT; i++) {
		const char *rest = keys[i].name;
		if (group_size > 0 && (strncmp(rest, group, group_size) != 0 || rest[group_size] != '.'))
			continue;
		rest += group_size > 0 ? group_size + 1 : 0;
		struct text text;
		text_init(&text, names[count], FLAG_NAME_MAX);
		text_add_bytes(&text, bytes_of(rest, strcspn(rest, ".")));
		if (count > 0 && strcmp(names[count], names[count - 1]) == 0)
			continue; /* keys of a group stand together */
		known[count] = names[count];
		count++;
	}
	return count;
}

static bool load_unknown(struct loader *loader, const struct yaml_node *key, const char *group)
{
	char names[KEY_COUNT][FLAG_NAME_MAX], where[FLAG_NAME_MAX + 8];
	const char *known[KEY_COUNT];
	size_t count = names_in(group, names, known);
	struct text text;
	text_init(&text, where, sizeof(where));
	text_add(&text, group[0] ? "in " : "at the top");
	text_add(&text, group);
	struct schema_reader reader = { .source = loader->path, .errors = loader->errors };
	return schema_unknown(&reader, key, where, known, count);
}

static bool load_map(struct loader *loader, const struct yaml_node *map, const char *group)
{
	struct schema_reader reader = { .source = loader->path, .errors = loader->errors };
	if (!schema_is_map(&reader, map, group[0] ? "a map of settings" : "a map of settings, like place: eu/ie/..."))
		return false;
	bool ok = schema_no_duplicates(&reader, map);
	for (const struct yaml_node *entry = map->first; entry; entry = entry->next) {
		char name[2 * FLAG_NAME_MAX];
		struct text text;
		text_init(&text, name, sizeof(name));
		text_add(&text, group);
		text_add(&text, group[0] ? "." : "");
		text_add(&text, entry->key->text);
		size_t key = key_find(name);
		if (key < KEY_COUNT && !strchr(entry->key->text, '.')) {
			loader->origins[key].label[0] = 0;
			ok = set_key(loader, key, loader->path, entry) && ok;
		} else if (!group[0] && key_is_group(name)) {
			ok = load_map(loader, entry, name) && ok;
		} else {
			ok = load_unknown(loader, entry->key, group);
		}
	}
	return ok;
}

static bool load_file(struct loader *loader)
{
	struct yaml yaml;
	if (!yaml_load(loader->path, &yaml, loader->errors))
		return false;
	bool ok = load_map(loader, yaml.root, "");
	yaml_free(&yaml);
	return ok;
}

/* log.level as DOMICILED_LOG_LEVEL */
static void variable_name(const char *key, char *out, size_t capacity)
{
	struct text text;
	text_init(&text, out, capacity);
	text_add(&text, "DOMICILED_");
	for (; *key; key++) {
		char c = *key == '.' ? '_' : *key >= 'a' && *key <= 'z' ? (char)(*key - 'a' + 'A') : *key;
		text_add_bytes(&text, bytes_of(&c, 1));
	}
}

static bool load_environment(struct loader *loader, char *const environment[])
{
	bool ok = true;
	for (size_t key = 0; key < KEY_COUNT; key++) {
		char name[FLAG_NAME_MAX], label[LABEL_MAX];
		variable_name(keys[key].name, name, sizeof(name));
		size_t size = strlen(name);
		struct text text;
		text_init(&text, label, sizeof(label));
		text_add(&text, "environment ");
		text_add(&text, name);
		for (char *const *at = environment; *at; at++) {
			if (strncmp(*at, name, size) != 0 || (*at)[size] != '=')
				continue;
			ok = set_key_text(loader, key, label, *at + size + 1) && ok;
			break;
		}
	}
	return ok;
}

static bool flag_fault(struct loader *loader, const char *flag, const char *reason, const char *cure)
{
	char quoted[YAML_QUOTE_MAX];
	yaml_fault(loader->errors, "flags", NULL, cure, reason, yaml_quote(quoted, bytes_text(flag)), NULL);
	return false;
}

static bool unknown_flag(struct loader *loader, const char *flag, const char *name)
{
	const char *known[KEY_COUNT];
	char cure[160];
	for (size_t i = 0; i < KEY_COUNT; i++)
		known[i] = keys[i].name;
	const char *nearest = text_nearest(name, known, KEY_COUNT);
	struct text text;
	text_init(&text, cure, sizeof(cure));
	text_add(&text, nearest ? "did you mean --" : "--help lists them");
	text_add(&text, nearest ? nearest : "");
	text_add(&text, nearest ? "?" : "");
	return flag_fault(loader, flag, "unknown flag ", cure);
}

static bool load_flags(struct loader *loader, char *const arguments[])
{
	bool ok = true, seen[KEY_COUNT] = { false };
	for (size_t i = 0; arguments[i]; i++) {
		const char *flag = arguments[i];
		char name[FLAG_NAME_MAX], label[LABEL_MAX];
		struct text text;
		if (strncmp(flag, "--", 2) != 0) {
			ok = flag_fault(loader, flag, "not a flag: ", "flags are --key value or --key=value");
			continue;
		}
		size_t name_size = strcspn(flag + 2, "=");
		text_init(&text, name, sizeof(name));
		text_add_bytes(&text, bytes_of(flag + 2, name_size));
		size_t key = key_find(name);
		const char *value = flag[2 + name_size] == '=' ? flag + 2 + name_size + 1 : arguments[i + 1];
		bool separate = flag[2 + name_size] != '=';
		if (key == KEY_COUNT) {
			ok = unknown_flag(loader, flag, name);
			if (separate && value && strncmp(value, "--", 2) != 0)
				i++;
			continue;
		}
		if (!value)
			return flag_fault(loader, flag, "no value after ", NULL);
		i += separate ? 1 : 0;
		if (seen[key]) {
			ok = flag_fault(loader, flag, "given twice: ", "keep one");
			continue;
		}
		seen[key] = true;
		text_init(&text, label, sizeof(label));
		text_add(&text, "flag --");
		text_add(&text, name);
		ok = set_key_text(loader, key, label, value) && ok;
	}
	return ok;
}

static void key_fault(struct loader *loader, size_t key, const char *reason, const char *cure)
{
	const char *source = loader->origins[key].label;
	if (!loader->origins[key].given || !source[0])
		source = loader->path ? loader->path : "configuration";
	const struct yaml_node *at = loader->origins[key].given ? &loader->origins[key].at : NULL;
	yaml_fault(loader->errors, source, at, cure, keys[key].name, reason, NULL);
}

static bool listens_everywhere(const char *listen)
{
	const char *colon = strrchr(listen, ':');
	assert(colon);
	return strncmp(listen, "0.0.0.0:", 8) == 0 || strncmp(listen, "[::]:", 5) == 0 || strcmp(colon, ":0") == 0;
}

/* What no key can tell alone. */
static bool check_together(struct loader *loader)
{
	struct server_config *config = loader->setter.config;
	bool ok = true;
	for (size_t i = 0; i < KEY_COUNT; i++) {
		if (keys[i].default_value || loader->origins[i].given)
			continue;
		key_fault(loader, i, " is missing",
			i == KEY_PLACE ? "write place: eu/ie/eu-west-1/a/n1" : "write cluster: NAME");
		ok = false;
	}
	if (!loader->setter.advertise_default && listens_everywhere(config->listen)) {
		key_fault(loader, KEY_ADVERTISE_DEFAULT,
			" is missing, and listen names no address that others could dial",
			"write advertise: { default: HOST:PORT }");
		ok = false;
	}
	if (config->heartbeat_us * 2 > config->lease_us) {
		key_fault(loader, KEY_HEARTBEAT, " is more than half of lease: one lost message would end every lease",
			"lower heartbeat or raise lease");
		ok = false;
	}
	if (!loader->setter.advertise_default)
		memcpy(config->advertise.at[0].address, config->listen, sizeof(config->listen));
	return ok;
}

bool config_server_load(const char *path, char *const arguments[], char *const environment[],
	struct server_config *config, struct config_errors *errors)
{
	memset(config, 0, sizeof(*config));
	config->advertise.count = 1;
	struct loader loader = { .setter = { .config = config }, .errors = errors, .path = path };
	bool ok = load_defaults(&loader);
	if (path)
		ok = load_file(&loader) && ok;
	if (environment)
		ok = load_environment(&loader, environment) && ok;
	if (arguments)
		ok = load_flags(&loader, arguments) && ok;
	return ok && check_together(&loader);
}
