/* policy/place.c: see policy/place.h. Texts come from files, flags, certificates and meta's log, so nothing about
 * them is asserted: a parser says no. */
#include "policy/place.h"

#include <assert.h>
#include <string.h>

static bool component_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

/* What is wrong with the path; NULL when it is one. */
static const char *path_flaw(const char *text)
{
	unsigned depth = 1;
	size_t component = 0;
	for (const char *c = text; *c; c++) {
		if (*c == '/') {
			if (component == 0)
				return "a component is empty: write eu/ie, without a slash at the begin or the end";
			component = 0;
			if (++depth > PLACE_DEPTH_MAX)
				return "a place has at most 8 components";
			continue;
		}
		if (!component_char(*c))
			return "a component holds only a-z, 0-9 and -";
		if (++component > 63)
			return "a component has at most 63 characters";
	}
	if (component == 0)
		return depth == 1 ? "a place is not empty"
				  : "a component is empty: write eu/ie, without a slash at the end";
	return NULL;
}

bool place_parse(const char *text, struct place *place, const char **why)
{
	assert(text);
	assert(place);
	const char *flaw = path_flaw(text);
	size_t size = strlen(text);
	if (!flaw && size >= sizeof(place->text))
		flaw = "a place has at most 255 characters";
	*place = (struct place){ 0 };
	if (!flaw)
		memcpy(place->text, text, size);
	if (flaw && why)
		*why = flaw;
	return !flaw;
}

bool place_within(const struct place *place, const char *prefix)
{
	assert(place);
	assert(prefix);
	if (prefix[0] == '*' && prefix[1] == 0)
		return true;
	size_t size = strlen(prefix);
	if (size == 0 || strncmp(place->text, prefix, size) != 0)
		return false;
	return place->text[size] == 0 || place->text[size] == '/';
}

bool place_equal(const struct place *a, const struct place *b)
{
	return strcmp(a->text, b->text) == 0;
}

unsigned place_depth(const struct place *place)
{
	if (place->text[0] == 0)
		return 0;
	unsigned depth = 1;
	for (const char *c = place->text; *c; c++)
		depth += *c == '/';
	return depth;
}

struct place place_prefix(const struct place *place, unsigned depth)
{
	struct place prefix = { 0 };
	size_t size = 0;
	for (; depth > 0 && place->text[size]; size++)
		if (place->text[size] == '/' && --depth == 0)
			break;
	assert(size < sizeof(prefix.text));
	memcpy(prefix.text, place->text, size);
	return prefix;
}

const char *place_last(const struct place *place)
{
	const char *last = place->text;
	for (const char *c = place->text; *c; c++)
		if (*c == '/')
			last = c + 1;
	return last;
}

static bool tag_value_char(char c)
{
	return component_char(c) || (c >= 'A' && c <= 'Z') || c == '.' || c == '_';
}

bool tag_parse(const char *text, char tag[TAG_TEXT_MAX], const char **why)
{
	assert(text);
	assert(tag);
	size_t key = 0;
	while (component_char(text[key]) || text[key] == '_')
		key++;
	const char *flaw = NULL;
	size_t size = key;
	if (key == 0 || text[key] != '=') {
		flaw = "a tag is key=value, the key of a-z, 0-9, - and _";
	} else {
		for (size = key + 1; tag_value_char(text[size]);)
			size++;
		if (text[size] != 0 || size == key + 1)
			flaw = "a tag is key=value, the value of letters, digits, - . and _";
		else if (size >= TAG_TEXT_MAX)
			flaw = "a tag has at most 63 characters";
	}
	memset(tag, 0, TAG_TEXT_MAX);
	if (!flaw)
		memcpy(tag, text, size);
	else if (why)
		*why = flaw;
	return !flaw;
}

bool selector_parse(const char *text, struct selector *selector, const char **why)
{
	assert(text);
	assert(selector);
	*selector = (struct selector){ 0 };
	struct place place;
	char tag[TAG_TEXT_MAX];
	const char *from = text;
	uint8_t kind = SELECTOR_PLACE;
	if (strcmp(text, "*") == 0) {
		kind = SELECTOR_ANY;
	} else if (strchr(text, '=')) {
		kind = SELECTOR_TAG;
		if (!tag_parse(text, tag, why))
			return false;
		from = tag;
	} else if (!place_parse(text, &place, why)) {
		return false;
	}
	size_t size = strlen(from);
	if (size >= sizeof(selector->text)) {
		if (why)
			*why = "a place in a rule has at most 127 characters";
		return false;
	}
	selector->kind = kind;
	memcpy(selector->text, from, size);
	return true;
}

bool selector_matches(const struct selector *selector, const struct place *place, const char (*tags)[TAG_TEXT_MAX],
	unsigned tag_count)
{
	assert(tag_count <= TAGS_MAX);
	switch (selector->kind) {
	case SELECTOR_ANY:
		return true;
	case SELECTOR_PLACE:
		return place_within(place, selector->text);
	case SELECTOR_TAG:
		for (unsigned i = 0; i < tag_count; i++)
			if (strcmp(tags[i], selector->text) == 0)
				return true;
		return false;
	default:
		return false; /* no selector names nothing */
	}
}
