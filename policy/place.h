/* policy/place.h: the tree of places. A place is a path, wide to narrow: `eu/ie/eu-west-1/a/n1`.
 * Components are [a-z0-9-]{1,63}, at most 8. A region is a path of its own; a node's place is its region's path
 * plus exactly zone and node. `eu` contains `eu/ie` and not `europe`: whole components only. Pure. */
#ifndef DOMICILE_POLICY_PLACE_H
#define DOMICILE_POLICY_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PLACE_TEXT_MAX = 256, PLACE_DEPTH_MAX = 8, TAG_TEXT_MAX = 64, TAGS_MAX = 8, SELECTOR_TEXT_MAX = 128 };

struct place {
	char text[PLACE_TEXT_MAX]; /* NUL-terminated; "" is no place */
};

/* False: not a place; *why then is a text for people. */
bool place_parse(const char *text, struct place *place, const char **why);
bool place_within(const struct place *place, const char *prefix); /* prefix "" contains nothing; "*" everything */
bool place_equal(const struct place *a, const struct place *b);
unsigned place_depth(const struct place *place);
/* The first `depth` components. */
struct place place_prefix(const struct place *place, unsigned depth);
const char *place_last(const struct place *place); /* last component */

/* What a rule may name: "*", a place prefix, or a region's tag "key=value". */
enum selector_kind { SELECTOR_ANY = 1, SELECTOR_PLACE = 2, SELECTOR_TAG = 3 };
struct selector {
	uint8_t kind;
	char text[SELECTOR_TEXT_MAX];
};
/* A region's tag: key of [a-z0-9_-], value of [A-Za-z0-9._-], below TAG_TEXT_MAX together. Zeroes what is unused. */
bool tag_parse(const char *text, char tag[TAG_TEXT_MAX], const char **why);
bool selector_parse(const char *text, struct selector *selector, const char **why);
/* tags: of the region in which the place lies. */
bool selector_matches(const struct selector *selector, const struct place *place, const char (*tags)[TAG_TEXT_MAX],
	unsigned tag_count);

#endif
