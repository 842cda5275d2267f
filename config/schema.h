/* config/schema.h: what the readers of server, policy and map files share: a reader over one tree, maps walked with
 * duplicates refused, scalars of a type, unknown keys answered with the nearest known one. Folder-internal.
 *
 * Every function that fails adds one error and returns false, and the caller goes on with the next key. */
#ifndef DOMICILE_CONFIG_SCHEMA_H
#define DOMICILE_CONFIG_SCHEMA_H

#include "config/yaml.h"

struct schema_reader {
	const char *source;
	struct config_errors *errors;
};

bool schema_fault(struct schema_reader *reader, const struct yaml_node *node, const char *cure, const char *reason);
/* "'text' is not WHAT" */
bool schema_mistake(struct schema_reader *reader, const struct yaml_node *node, const char *what, const char *cure);
bool schema_unknown(struct schema_reader *reader, const struct yaml_node *key, const char *where,
	const char *const known[], size_t count);

bool schema_is_map(struct schema_reader *reader, const struct yaml_node *node, const char *what);
bool schema_is_list(struct schema_reader *reader, const struct yaml_node *node, const char *what);
bool schema_is_text(struct schema_reader *reader, const struct yaml_node *node, const char *what); /* not empty */
/* No key twice; each is refused where it stands the second time. O(n log n). */
bool schema_no_duplicates(struct schema_reader *reader, const struct yaml_node *map);

bool schema_number(struct schema_reader *reader, const struct yaml_node *node, const char *what, uint64_t min,
	uint64_t max, uint64_t *out);
/* The position of the text in words. */
bool schema_word(struct schema_reader *reader, const struct yaml_node *node, const char *const words[], size_t count,
	size_t *out);
/* Into out, refused when it does not fit. */
bool schema_text(
	struct schema_reader *reader, const struct yaml_node *node, const char *what, char *out, size_t capacity);
bool schema_is(const struct yaml_node *node, const char *text); /* a scalar of just this text */

#endif
