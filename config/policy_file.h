/* config/policy_file.h: a file of policies and bindings (policies.yaml) as plain structs. Each policy read is complete
 * (defaults filled in) and free of contradictions; whether a cluster can satisfy it is for policy/ and meta to say.
 *
 *   bindings:
 *     "pat/eu/": eu-health                 # every key with this prefix
 *     "pat/eu/7": { exact: eu-strict }     # this one key; { exact: A, prefix: B } for both
 *
 * The file owns its heap; one thread. */
#ifndef DOMICILE_CONFIG_POLICY_FILE_H
#define DOMICILE_CONFIG_POLICY_FILE_H

#include "base/bytes.h"
#include "config/errors.h"
#include "policy/map.h"

enum { BINDING_KEY_MAX = 4096 }; /* bytes of an exact key; a prefix: BINDING_PREFIX_MAX */

struct binding_text {
	const uint8_t *bytes; /* the prefix or key; into the file's heap */
	uint32_t size;
	bool exact;
	char policy[POLICY_NAME_MAX];
	uint32_t line, column; /* of the policy's name */
};
struct policy_file {
	struct policy *policies; /* id and epoch 0; line set; names are unique */
	uint32_t policy_count;
	struct binding_text *bindings; /* in the file's order; no two with equal bytes and exact */
	uint32_t binding_count;
	uint8_t *texts;
};

/* False: errors say why, up to CONFIG_ERRORS_MAX of them, and the file is empty. True: errors may hold warnings, of
 * rules without effect. `path` is `-` for standard input. */
bool policy_file_load(const char *path, struct policy_file *file, struct config_errors *errors) MUST;
bool policy_file_parse(
	const char *source, struct bytes text, struct policy_file *file, struct config_errors *errors) MUST;
void policy_file_free(struct policy_file *file);

/* For lint, when asked: every binding names a policy of the file or one that `known` knows (NULL: none). */
bool policy_file_check_bindings(const struct policy_file *file, const char *source,
	bool (*known)(const void *context, const char *policy), const void *context, struct config_errors *errors) MUST;

/* For lint: warnings of what can be applied and is hardly meant: a policy that no binding of the file names, and a
 * prefix that looks as if it held something about a person, which every node and client would know. */
void policy_file_doubts(const struct policy_file *file, const char *source, struct config_errors *errors);

#endif
