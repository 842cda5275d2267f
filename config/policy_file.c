/* config/policy_file.c: see config/policy_file.h. One table of fields drives reading, unknown keys and suggestions.
 * What a later version will bring has its key already and is refused unless it says what holds today. */
#include "config/policy_file.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/units.h"
#include "config/schema.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool unsupported(struct schema_reader *reader, const struct yaml_node *node, const char *what, const char *cure)
{
	yaml_fault(reader->errors, reader->source, node, cure, what, " is not supported yet", NULL);
	return false;
}

static bool read_selector(struct schema_reader *reader, const struct yaml_node *node, struct selector *selector)
{
	const char *why = NULL;
	if (!schema_is_text(reader, node, "a place, a tag or \"*\""))
		return false;
	if (selector_parse(node->text, selector, &why))
		return true;
	char quoted[YAML_QUOTE_MAX];
	yaml_fault(reader->errors, reader->source, node, "write a place (eu/ie), a region's tag (cloud=aws) or \"*\"",
		yaml_quote(quoted, bytes_of(node->text, node->size)), ": ", why, NULL);
	return false;
}

static bool read_selectors(struct schema_reader *reader, const struct yaml_node *node, struct selectors *selectors)
{
	if (!schema_is_list(reader, node, "a list of places"))
		return false;
	if (node->count > SELECTORS_MAX)
		return schema_fault(reader, node, "name a wider place, or a tag", "more than 16 places in one list");
	bool ok = true;
	selectors->count = 0;
	for (const struct yaml_node *item = node->first; item; item = item->next)
		ok = read_selector(reader, item, &selectors->at[selectors->count++]) && ok;
	return ok;
}

static bool read_store_in(struct schema_reader *reader, const struct yaml_node *node, struct policy *policy)
{
	return read_selectors(reader, node, &policy->store_in);
}

static bool read_never_in(struct schema_reader *reader, const struct yaml_node *node, struct policy *policy)
{
	return read_selectors(reader, node, &policy->never_in);
}

static bool read_lead_in(struct schema_reader *reader, const struct yaml_node *node, struct policy *policy)
{
	return read_selectors(reader, node, &policy->lead_in);
}

static bool read_read_from(struct schema_reader *reader, const struct yaml_node *node, struct policy *policy)
{
	return read_selectors(reader, node, &policy->read_from);
}

static bool read_write_from(struct schema_reader *reader, const struct yaml_node *node, struct policy *policy)
{
	return read_selectors(reader, node, &policy->write_from);
}

static bool read_copy_count(struct schema_reader *reader, const struct yaml_node *node, uint8_t *copies)
{
	uint64_t number;
	static_assert(COPIES_MAX == 7, "the text below says it");
	if (!schema_number(reader, node, "a number from 1 to 7", 1, COPIES_MAX, &number))
		return false;
	*copies = (uint8_t)number;
	return true;
}

static bool read_copies(struct schema_reader *reader, const struct yaml_node *node, struct policy *policy)
{
	return read_copy_count(reader, node, &policy->copies);
}

static bool read_copy_in(struct schema_reader *reader, const struct yaml_node *node, struct policy *policy)
{
	if (!schema_is_map(reader, node, "a map of places to numbers, like { eu/de: 1 }"))
		return false;
	if (node->count > COPY_RULES_MAX)
		return schema_fault(reader, node, "keep eight at most", "more than 8 places in copy_in");
	bool ok = schema_no_duplicates(reader, node);
	for (const struct yaml_node *entry = node->first; entry; entry = entry->next) {
		struct copy_rule *rule = &policy->copy_in[policy->copy_in_count++];
		ok = read_selector(reader, entry->key, &rule->in) && ok;
		ok = read_copy_count(reader, entry, &rule->copies) && ok;
	}
	return ok;
}

static bool read_spread(struct schema_reader *reader, const struct yaml_node *node, struct policy *policy)
{
	static const char *const words[] = { "node", "zone", "region" };
	static const uint8_t values[] = { SPREAD_NODE, SPREAD_ZONE, SPREAD_REGION };
	size_t at;
	if (!schema_word(reader, node, words, COUNT(words), &at))
		return false;
	policy->spread = values[at];
	return true;
}

static bool read_survive(struct schema_reader *reader, const struct yaml_node *node, struct policy *policy)
{
	static const char *const words[] = { "node", "zone", "region" };
	static const uint8_t values[] = { SURVIVE_NODE, SURVIVE_ZONE, SURVIVE_REGION };
	size_t at;
	if (!schema_word(reader, node, words, COUNT(words), &at))
		return false;
	policy->survive = values[at];
	return true;
}

static bool read_ack(struct schema_reader *reader, const struct yaml_node *node, struct policy *policy)
{
	static const char *const known[] = { "copies", "regions", "all_of" };
	static const char cure[] = "write majority, { copies: 2 }, { regions: 2 } or { all_of: [eu/de, eu/fr] }";
	policy->ack = ACK_MAJORITY;
	if (schema_is(node, "majority"))
		return true;
	if (node->kind != YAML_MAP)
		return schema_mistake(reader, node, "a rule of acknowledgement", cure);
	if (node->count != 1)
		return schema_fault(reader, node, cure, "ack takes one rule");
	const struct yaml_node *rule = node->first;
	if (schema_is(rule->key, "copies")) {
		policy->ack = ACK_COPIES;
		return read_copy_count(reader, rule, &policy->ack_count);
	}
	if (schema_is(rule->key, "regions")) {
		policy->ack = ACK_REGIONS;
		return read_copy_count(reader, rule, &policy->ack_count);
	}
	if (!schema_is(rule->key, "all_of"))
		return schema_unknown(reader, rule->key, "in ack", known, COUNT(known));
	policy->ack = ACK_ALL_OF;
	if (!read_selectors(reader, rule, &policy->ack_areas))
		return false;
	if (policy->ack_areas.count == 0 || policy->ack_areas.count > AREAS_MAX)
		return schema_fault(reader, rule, "name one to eight places", "all_of names no place, or more than 8");
	return true;
}

static bool read_reads(struct schema_reader *reader, const struct yaml_node *node, struct policy *policy)
{
	static const char *const words[] = { "leader", "local" };
	size_t at;
	if (!schema_word(reader, node, words, COUNT(words), &at))
		return false;
	policy->reads = at == 0 ? READS_LEADER : READS_LOCAL;
	return true;
}

static bool read_transit(struct schema_reader *reader, const struct yaml_node *node, struct policy *policy)
{
	static const char *const words[] = { "stay", "any" };
	size_t at;
	if (!schema_word(reader, node, words, COUNT(words), &at))
		return false;
	policy->transit = at == 0 ? TRANSIT_STAY : TRANSIT_ANY;
	return true;
}

static bool read_witness_in(struct schema_reader *reader, const struct yaml_node *node, struct policy *policy)
{
	return read_selectors(reader, node, &policy->witness_in);
}

static bool read_isolated(struct schema_reader *reader, const struct yaml_node *node, struct policy *policy)
{
	policy->isolated_stale_ms = 0;
	if (schema_is(node, "refuse"))
		return true;
	if (node->kind != YAML_MAP || node->count != 1 || !schema_is(node->first->key, "stale"))
		return schema_mistake(reader, node, "refuse or { stale: 30s }", NULL);
	const struct yaml_node *stale = node->first;
	uint64_t us;
	if (stale->kind != YAML_SCALAR || !parse_duration_us(stale->text, &us))
		return schema_mistake(reader, stale, "a duration", "write a number with us, ms, s, m, h or d");
	if (us < 1000 || us > (uint64_t)ISOLATED_STALE_MS_MAX * 1000)
		return schema_mistake(reader, stale, "from 1ms to 24h", "write isolated: refuse to answer nothing");
	policy->isolated_stale_ms = (uint32_t)(us / 1000);
	return true;
}

static bool read_erase_within(struct schema_reader *reader, const struct yaml_node *node, struct policy *policy)
{
	uint64_t us;
	if (node->kind != YAML_SCALAR || !parse_duration_us(node->text, &us))
		return schema_mistake(reader, node, "a duration", "write a number with s, m, h or d");
	if (us % 1000000 != 0 || us / 1000000 < ERASE_WITHIN_S_MIN || us / 1000000 > ERASE_WITHIN_S_MAX)
		return schema_mistake(reader, node, "whole seconds from 10s to 366d",
			"write how long bytes that are no copy any more may stay on a disk, for example 24h");
	policy->erase_within_s = (uint32_t)(us / 1000000);
	return true;
}

static bool read_ttl(struct schema_reader *reader, const struct yaml_node *node, struct policy *policy)
{
	(void)policy;
	uint64_t us;
	if (node->kind != YAML_SCALAR || !parse_duration_us(node->text, &us))
		return schema_mistake(reader, node, "a duration", "write a number with us, ms, s, m, h or d");
	return us == 0 || unsupported(reader, node, "ttl", "write 0, or leave it out");
}

static bool read_follow(struct schema_reader *reader, const struct yaml_node *node, struct policy *policy)
{
	static const char *const words[] = { "false", "true" };
	size_t at;
	if (!schema_word(reader, node, words, COUNT(words), &at))
		return false;
	policy->follow = at == 1;
	return true;
}

struct field {
	const char *name;
	uint32_t given; /* enum policy_field; 0: nothing in the struct stands for it */
	bool (*read)(struct schema_reader *reader, const struct yaml_node *node, struct policy *policy);
};
static const struct field fields[] = {
	{ "store_in", FIELD_STORE_IN, read_store_in },
	{ "never_in", FIELD_NEVER_IN, read_never_in },
	{ "copies", FIELD_COPIES, read_copies },
	{ "spread", FIELD_SPREAD, read_spread },
	{ "copy_in", FIELD_COPY_IN, read_copy_in },
	{ "survive", FIELD_SURVIVE, read_survive },
	{ "witness_in", FIELD_WITNESS_IN, read_witness_in },
	{ "ack", FIELD_ACK, read_ack },
	{ "reads", FIELD_READS, read_reads },
	{ "lead_in", FIELD_LEAD_IN, read_lead_in },
	{ "follow", 0, read_follow },
	{ "read_from", FIELD_READ_FROM, read_read_from },
	{ "write_from", FIELD_WRITE_FROM, read_write_from },
	{ "transit", FIELD_TRANSIT, read_transit },
	{ "isolated", 0, read_isolated },
	{ "erase_within", FIELD_ERASE_WITHIN, read_erase_within },
	{ "ttl", 0, read_ttl },
};

static bool read_field(
	struct schema_reader *reader, const struct yaml_node *entry, struct policy *policy, uint32_t *given)
{
	const char *known[COUNT(fields)];
	for (size_t i = 0; i < COUNT(fields); i++) {
		known[i] = fields[i].name;
		if (!schema_is(entry->key, fields[i].name))
			continue;
		*given |= fields[i].given;
		return fields[i].read(reader, entry, policy);
	}
	return schema_unknown(reader, entry->key, "in a policy", known, COUNT(known));
}

static bool read_policy_name(struct schema_reader *reader, const struct yaml_node *node, const char *what, char *name)
{
	if (!schema_is_text(reader, node, what))
		return false;
	bool fits = node->size > 0 && node->size < POLICY_NAME_MAX && node->text[0] != '-';
	for (size_t i = 0; fits && i < node->size; i++) {
		char c = node->text[i];
		fits = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
	}
	if (!fits)
		return schema_mistake(reader, node, what, "use up to 63 of a-z, 0-9 and -, not starting with -");
	memcpy(name, node->text, node->size + 1);
	return true;
}

static bool read_policy(struct schema_reader *reader, const struct yaml_node *entry, struct policy *policy)
{
	uint32_t given = 0;
	if (!read_policy_name(reader, entry->key, "a policy's name", policy->name))
		return false;
	policy->line = entry->key->line;
	if (!schema_is_map(reader, entry, "a map of rules"))
		return false;
	bool ok = schema_no_duplicates(reader, entry);
	for (const struct yaml_node *field = entry->first; field; field = field->next)
		ok = read_field(reader, field, policy, &given) && ok;
	if (!ok)
		return false;
	policy_complete(policy, given);
	struct flaw flaw = { 0 };
	bool sound = policy_check(policy, &flaw);
	if (sound && !policy_doubt(policy, &flaw))
		return true;
	struct yaml_node at = { .line = entry->key->line, .column = entry->key->column };
	if (flaw.line > 0 && flaw.column > 0)
		at = (struct yaml_node){ .line = flaw.line, .column = flaw.column };
	const uint32_t count = reader->errors->count;
	yaml_fault(reader->errors, reader->source, &at, flaw.cure, "policy ", policy->name, ": ", flaw.reason, NULL);
	if (count < reader->errors->count)
		reader->errors->at[count].warning = sound;
	return sound;
}

static bool read_policies(struct schema_reader *reader, const struct yaml_node *node, struct policy_file *file)
{
	if (!schema_is_map(reader, node, "a map of policies"))
		return false;
	if (node->count > MAP_POLICIES_MAX)
		return schema_fault(reader, node, "a cluster holds 1,000", "more than 1,000 policies");
	bool ok = schema_no_duplicates(reader, node);
	file->policies = calloc(node->count + 1, sizeof(*file->policies));
	if (!file->policies)
		return schema_fault(reader, node, NULL, "out of memory");
	for (const struct yaml_node *entry = node->first; entry; entry = entry->next)
		ok = read_policy(reader, entry, &file->policies[file->policy_count++]) && ok;
	return ok;
}

/* Where the texts of bindings go; sized before for all of them. */
struct text_store {
	uint8_t *at;
	size_t left;
};

static bool add_binding(struct schema_reader *reader, const struct yaml_node *key, const struct yaml_node *policy,
	bool exact, struct text_store *texts, struct policy_file *file)
{
	struct binding_text *binding = &file->bindings[file->binding_count];
	if (!read_policy_name(reader, policy, "a policy's name", binding->policy))
		return false;
	if (exact && key->size == 0)
		return schema_fault(reader, key, "a key has at least one byte", "an exact binding of the empty key");
	if (key->size > (exact ? (size_t)BINDING_KEY_MAX : (size_t)BINDING_PREFIX_MAX))
		return schema_fault(reader, key, "a prefix has at most 256 bytes, a key 4096", "the text is too long");
	assert(key->size <= texts->left);
	memcpy(texts->at, key->text, key->size);
	binding->bytes = texts->at;
	binding->size = (uint32_t)key->size;
	texts->at += key->size;
	texts->left -= key->size;
	binding->exact = exact;
	binding->line = policy->line;
	binding->column = policy->column;
	file->binding_count++;
	return true;
}

static bool read_binding(
	struct schema_reader *reader, const struct yaml_node *entry, struct text_store *texts, struct policy_file *file)
{
	static const char *const known[] = { "exact", "prefix" };
	if (entry->kind == YAML_SCALAR)
		return add_binding(reader, entry->key, entry, false, texts, file);
	if (entry->kind != YAML_MAP || entry->count == 0)
		return schema_mistake(
			reader, entry, "a policy's name", "write \"prefix/\": POLICY, or \"key\": { exact: POLICY }");
	bool ok = schema_no_duplicates(reader, entry);
	for (const struct yaml_node *part = entry->first; ok && part; part = part->next) {
		if (schema_is(part->key, "exact") || schema_is(part->key, "prefix"))
			ok = add_binding(reader, entry->key, part, schema_is(part->key, "exact"), texts, file);
		else
			ok = schema_unknown(reader, part->key, "in a binding", known, COUNT(known));
	}
	return ok;
}

static bool read_bindings(struct schema_reader *reader, const struct yaml_node *node, struct policy_file *file)
{
	if (!schema_is_map(reader, node, "a map of prefixes to policies"))
		return false;
	size_t count = 0, size = 0;
	for (const struct yaml_node *entry = node->first; entry; entry = entry->next) {
		size_t each = entry->kind == YAML_MAP ? 2 : 1; /* exact, prefix */
		count += each;
		size += entry->key->size * each;
	}
	if (node->count > MAP_BINDINGS_MAX || count > MAP_BINDINGS_MAX)
		return schema_fault(reader, node, "a cluster holds 10,000", "more than 10,000 bindings");
	bool ok = schema_no_duplicates(reader, node);
	file->bindings = calloc(count + 1, sizeof(*file->bindings));
	file->texts = malloc(size + 1);
	if (!file->bindings || !file->texts)
		return schema_fault(reader, node, NULL, "out of memory");
	struct text_store texts = { file->texts, size };
	for (const struct yaml_node *entry = node->first; entry; entry = entry->next)
		ok = read_binding(reader, entry, &texts, file) && ok;
	assert(file->binding_count <= count);
	return ok;
}

static bool read_file(struct schema_reader *reader, const struct yaml_node *root, struct policy_file *file)
{
	static const char *const known[] = { "policies", "bindings" };
	if (!schema_is_map(reader, root, "a map with policies and bindings"))
		return false;
	if (root->count == 0)
		return schema_fault(reader, root, "write policies:, bindings: or both", "the file says nothing");
	if (!schema_no_duplicates(reader, root))
		return false;
	bool ok = true;
	for (const struct yaml_node *entry = root->first; entry; entry = entry->next) {
		if (schema_is(entry->key, "policies"))
			ok = read_policies(reader, entry, file) && ok;
		else if (schema_is(entry->key, "bindings"))
			ok = read_bindings(reader, entry, file) && ok;
		else
			ok = schema_unknown(reader, entry->key, "at the top", known, COUNT(known));
	}
	return ok;
}

static bool read_tree(struct yaml *yaml, struct policy_file *file, struct config_errors *errors)
{
	struct schema_reader reader = { .source = yaml->source, .errors = errors };
	bool ok = read_file(&reader, yaml->root, file);
	yaml_free(yaml);
	if (!ok)
		policy_file_free(file);
	return ok;
}

bool policy_file_load(const char *path, struct policy_file *file, struct config_errors *errors)
{
	struct yaml yaml;
	memset(file, 0, sizeof(*file));
	return yaml_load(path, &yaml, errors) && read_tree(&yaml, file, errors);
}

bool policy_file_parse(const char *source, struct bytes text, struct policy_file *file, struct config_errors *errors)
{
	struct yaml yaml;
	memset(file, 0, sizeof(*file));
	return yaml_parse(source, text, &yaml, errors) && read_tree(&yaml, file, errors);
}

void policy_file_free(struct policy_file *file)
{
	free(file->policies);
	free(file->bindings);
	free(file->texts);
	memset(file, 0, sizeof(*file));
}

static bool in_file(const struct policy_file *file, const char *name)
{
	for (uint32_t i = 0; i < file->policy_count; i++) {
		if (strcmp(file->policies[i].name, name) == 0)
			return true;
	}
	return false;
}

bool policy_file_check_bindings(const struct policy_file *file, const char *source,
	bool (*known)(const void *context, const char *policy), const void *context, struct config_errors *errors)
{
	bool ok = true;
	for (uint32_t i = 0; i < file->binding_count; i++) {
		const struct binding_text *binding = &file->bindings[i];
		if (in_file(file, binding->policy) || (known && known(context, binding->policy)))
			continue;
		const struct yaml_node at = { .line = binding->line, .column = binding->column };
		yaml_fault(errors, source, &at, "define it under policies:, or correct the name", "no policy is named ",
			binding->policy, NULL);
		ok = false;
	}
	return ok;
}

static void doubt(struct config_errors *errors, const char *source, uint32_t line, uint32_t column,
	const char *const reason[], const char *cure)
{
	struct config_error *error = config_error_add(errors, source, line, column);
	struct text text;
	error->warning = true;
	text_init(&text, error->reason, sizeof(error->reason));
	for (; *reason; reason++)
		text_add(&text, *reason);
	text_init(&text, error->cure, sizeof(error->cure));
	text_add(&text, cure);
}

/* An address of mail, or as many digits in a row as a number of a card or an account has. */
static bool looks_personal(struct bytes prefix)
{
	enum { DIGITS_MIN = 12 };
	const uint8_t *bytes = prefix.data;
	size_t digits = 0;
	for (size_t i = 0; i < prefix.size; i++) {
		digits = bytes[i] >= '0' && bytes[i] <= '9' ? digits + 1 : 0;
		if (digits == DIGITS_MIN)
			return true;
		if (bytes[i] == '@' && i > 0 && memchr(bytes + i, '.', prefix.size - i))
			return true;
	}
	return false;
}

static bool is_bound(const struct policy_file *file, const char *policy)
{
	for (uint32_t i = 0; i < file->binding_count; i++) {
		if (strcmp(file->bindings[i].policy, policy) == 0)
			return true;
	}
	return false;
}

void policy_file_doubts(const struct policy_file *file, const char *source, struct config_errors *errors)
{
	for (uint32_t i = 0; file->binding_count > 0 && i < file->policy_count; i++) {
		const struct policy *policy = &file->policies[i];
		const char *const reason[] = { "policy ", policy->name, ": no binding of the file names it", NULL };
		if (!is_bound(file, policy->name))
			doubt(errors, source, policy->line, 1, reason,
				"bind a prefix to it, or take it out if nothing in the cluster is bound to it");
	}
	for (uint32_t i = 0; i < file->binding_count; i++) {
		const struct binding_text *binding = &file->bindings[i];
		static const char *const reason[] = {
			"the prefix looks as if it named a person, and every node and client knows all prefixes", NULL
		};
		if (!binding->exact && looks_personal(bytes_of(binding->bytes, binding->size)))
			doubt(errors, source, binding->line, binding->column, reason,
				"bind the key as exact, of which only a keyed hash is known, or a shorter prefix");
	}
}
