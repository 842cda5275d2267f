/* config/yaml.h: a YAML (or JSON) document as a small tree of our own, made from libfyaml's events. Everything of
 * libfyaml stays in yaml.c, behind limits of ours: README.md lists them. A scalar is text; what it means is for the
 * schema that reads it (`no` is two letters).
 *
 * A tree is read-only, owns its texts, and lives until yaml_free. Folder-internal. */
#ifndef DOMICILE_CONFIG_YAML_H
#define DOMICILE_CONFIG_YAML_H

#include "base/bytes.h"
#include "config/errors.h"

enum { YAML_SIZE_MAX = 64 << 10, YAML_DEPTH_MAX = 8, YAML_NODES_MAX = 40000, YAML_QUOTE_MAX = 48 };

enum yaml_kind { YAML_SCALAR = 1, YAML_LIST = 2, YAML_MAP = 3 };

struct yaml_node {
	uint8_t kind;
	bool empty;	       /* a scalar that was not written at all: `key:` */
	uint32_t line, column; /* from 1 */
	uint32_t count;	       /* of a list's items, a map's entries */
	const char *text;      /* of a scalar, with a NUL that is not counted; holds no NUL */
	size_t size;
	const struct yaml_node *key;   /* of a map's entry: its key, a scalar */
	const struct yaml_node *first; /* item or entry */
	const struct yaml_node *next;  /* item or entry of the same parent */
};

struct yaml {
	const char *source; /* borrowed: for errors */
	const struct yaml_node *root;
	struct yaml_node *nodes;
	char *texts;
};

/* False: errors say why; there is nothing to free. `source` must outlive the tree. */
bool yaml_parse(const char *source, struct bytes text, struct yaml *yaml, struct config_errors *errors) MUST;
bool yaml_load(const char *path, struct yaml *yaml, struct config_errors *errors) MUST;
void yaml_free(struct yaml *yaml);

/* The reason is the strings one after the other; NULLs are skipped. Ends with a NULL after `cure`'s place:
 * yaml_fault(errors, source, node, cure, "a", "b", NULL). */
void yaml_fault(struct config_errors *errors, const char *source, const struct yaml_node *node, const char *cure, ...)
	__attribute__((sentinel));
/* The text in quotes, escaped and cut, for an error. */
const char *yaml_quote(char out[YAML_QUOTE_MAX], struct bytes text);

#endif
