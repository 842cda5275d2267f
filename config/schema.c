/* config/schema.c: see config/schema.h. */
#include "config/schema.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/units.h"

enum { KNOWN_MAX = 32 };

bool schema_fault(struct schema_reader *reader, const struct yaml_node *node, const char *cure, const char *reason)
{
	yaml_fault(reader->errors, reader->source, node, cure, reason, NULL);
	return false;
}

bool schema_mistake(struct schema_reader *reader, const struct yaml_node *node, const char *what, const char *cure)
{
	char quoted[YAML_QUOTE_MAX];
	const char *found = node->kind == YAML_LIST ? "a list" : node->kind == YAML_MAP ? "a map" : NULL;
	if (!found)
		found = node->empty ? "nothing" : yaml_quote(quoted, bytes_of(node->text, node->size));
	yaml_fault(reader->errors, reader->source, node, cure, found, " is not ", what, NULL);
	return false;
}

bool schema_unknown(struct schema_reader *reader, const struct yaml_node *key, const char *where,
	const char *const known[], size_t count)
{
	char quoted[YAML_QUOTE_MAX], cure[240];
	const char *nearest = text_nearest(key->text, known, count);
	struct text text;
	text_init(&text, cure, sizeof(cure));
	text_add(&text, nearest ? "did you mean " : "known are ");
	for (size_t i = 0; i < count && !nearest; i++) {
		text_add(&text, i ? ", " : "");
		text_add(&text, known[i]);
	}
	text_add(&text, nearest ? nearest : "");
	text_add(&text, nearest ? "?" : "");
	yaml_fault(reader->errors, reader->source, key, cure, "unknown key ",
		yaml_quote(quoted, bytes_of(key->text, key->size)), " ", where, NULL);
	return false;
}

bool schema_is_map(struct schema_reader *reader, const struct yaml_node *node, const char *what)
{
	if (node->kind == YAML_MAP)
		return true;
	return schema_mistake(reader, node, what, NULL);
}

bool schema_is_list(struct schema_reader *reader, const struct yaml_node *node, const char *what)
{
	if (node->kind == YAML_LIST)
		return true;
	return schema_mistake(reader, node, what, "write it in brackets: [a, b]");
}

bool schema_is_text(struct schema_reader *reader, const struct yaml_node *node, const char *what)
{
	if (node->kind == YAML_SCALAR && !node->empty)
		return true;
	return schema_mistake(reader, node, what, NULL);
}

static int by_key(const void *left, const void *right)
{
	const struct yaml_node *a = *(const struct yaml_node *const *)left,
			       *b = *(const struct yaml_node *const *)right;
	int order = bytes_compare(bytes_of(a->key->text, a->key->size), bytes_of(b->key->text, b->key->size));
	if (order != 0)
		return order;
	return (a > b) - (a < b); /* nodes lie in the order of the document */
}

bool schema_no_duplicates(struct schema_reader *reader, const struct yaml_node *map)
{
	assert(map->kind == YAML_MAP);
	if (map->count < 2)
		return true;
	const struct yaml_node **sorted = calloc(map->count, sizeof(*sorted));
	if (!sorted)
		return schema_fault(reader, map, NULL, "out of memory");
	size_t count = 0;
	for (const struct yaml_node *entry = map->first; entry; entry = entry->next)
		sorted[count++] = entry;
	assert(count == map->count);
	qsort(sorted, count, sizeof(*sorted), by_key);
	bool ok = true;
	for (size_t i = 1; i < count; i++) {
		const struct yaml_node *key = sorted[i]->key, *before = sorted[i - 1]->key;
		if (!bytes_equal(bytes_of(key->text, key->size), bytes_of(before->text, before->size)))
			continue;
		char quoted[YAML_QUOTE_MAX], line[UNITS_TEXT_MAX];
		struct text text;
		text_init(&text, line, sizeof(line));
		text_add_u64(&text, before->line);
		yaml_fault(reader->errors, reader->source, key, "keep one of them", "the key ",
			yaml_quote(quoted, bytes_of(key->text, key->size)), " stands here again, first in line ", line,
			NULL);
		ok = false;
	}
	free(sorted);
	return ok;
}

bool schema_number(struct schema_reader *reader, const struct yaml_node *node, const char *what, uint64_t min,
	uint64_t max, uint64_t *out)
{
	if (node->kind == YAML_SCALAR && parse_u64(node->text, out) && *out >= min && *out <= max)
		return true;
	return schema_mistake(reader, node, what, NULL);
}

bool schema_word(struct schema_reader *reader, const struct yaml_node *node, const char *const words[], size_t count,
	size_t *out)
{
	assert(count <= KNOWN_MAX);
	for (size_t i = 0; i < count; i++) {
		if (!schema_is(node, words[i]))
			continue;
		*out = i;
		return true;
	}
	char what[160], cure[80];
	struct text text;
	text_init(&text, what, sizeof(what));
	for (size_t i = 0; i < count; i++) {
		text_add(&text, i == 0 ? "" : i + 1 < count ? ", " : " or ");
		text_add(&text, words[i]);
	}
	const char *nearest = node->kind == YAML_SCALAR ? text_nearest(node->text, words, count) : NULL;
	text_init(&text, cure, sizeof(cure));
	text_add(&text, "did you mean ");
	text_add(&text, nearest ? nearest : "");
	text_add(&text, "?");
	return schema_mistake(reader, node, what, nearest ? cure : NULL);
}

bool schema_text(
	struct schema_reader *reader, const struct yaml_node *node, const char *what, char *out, size_t capacity)
{
	if (!schema_is_text(reader, node, what))
		return false;
	if (node->size >= capacity)
		return schema_fault(reader, node, "shorten it", "the text is too long");
	memcpy(out, node->text, node->size + 1);
	return true;
}

bool schema_is(const struct yaml_node *node, const char *text)
{
	return node->kind == YAML_SCALAR && strcmp(node->text, text) == 0;
}
