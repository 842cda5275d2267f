/* config/yaml.c: see config/yaml.h.
 *
 * Events, not libfyaml's document: they come one by one, so that an alias, an anchor, a tag, too deep a nesting or
 * one value too many stops the parser at once, and nothing of its tree building, resolving or recursive freeing runs.
 * Before it sees a byte, the text is bounded and known to be UTF-8 without control characters.
 *
 * Nodes and texts lie in two blocks sized from the document, so a tree of pointers needs no allocation of its own. */
#include "config/yaml.h"

#include <assert.h>
#include <errno.h>
#include <libfyaml.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

const char *yaml_quote(char out[YAML_QUOTE_MAX], struct bytes text)
{
	char escaped[YAML_QUOTE_MAX - 5]; /* two quotes, "..", NUL */
	size_t size = text_escape(escaped, sizeof(escaped), text);
	bool cut = size < text.size || size + 4 >= sizeof(escaped);
	struct text quoted;
	text_init(&quoted, out, YAML_QUOTE_MAX);
	text_add(&quoted, "'");
	text_add(&quoted, escaped);
	text_add(&quoted, cut ? "..'" : "'");
	return out;
}

void yaml_fault(struct config_errors *errors, const char *source, const struct yaml_node *node, const char *cure, ...)
{
	struct config_error *error = config_error_add(errors, source, node ? node->line : 0, node ? node->column : 0);
	struct text reason, advice;
	text_init(&reason, error->reason, sizeof(error->reason));
	text_init(&advice, error->cure, sizeof(error->cure));
	if (cure)
		text_add(&advice, cure);
	va_list arguments;
	va_start(arguments, cure);
	for (const char *part = va_arg(arguments, const char *); part; part = va_arg(arguments, const char *))
		text_add(&reason, part);
	va_end(arguments);
}

struct builder {
	struct yaml *yaml;
	struct config_errors *errors;
	size_t node_count, node_max, text_size, text_max;
	/* open lists and maps, outermost first; where the next child goes, and the key that waits for its value */
	unsigned depth;
	struct yaml_node *open[YAML_DEPTH_MAX];
	struct yaml_node *last[YAML_DEPTH_MAX];
	const struct yaml_node *key[YAML_DEPTH_MAX];
	struct yaml_node here; /* only the position: of the event at hand */
	unsigned documents;
};

static bool refuse(struct builder *builder, const char *reason, const char *cure)
{
	yaml_fault(builder->errors, builder->yaml->source, &builder->here, cure, reason, NULL);
	return false;
}

static struct yaml_node *add_node(struct builder *builder, enum yaml_kind kind)
{
	if (builder->node_count == builder->node_max) {
		refuse(builder, "the file holds too many values", "split it");
		return NULL;
	}
	struct yaml_node *node = &builder->yaml->nodes[builder->node_count++];
	node->kind = (uint8_t)kind;
	node->line = builder->here.line;
	node->column = builder->here.column;
	node->text = "";
	return node;
}

/* Hangs a node where the document has it: as a key that waits, or as the next item, entry, or the root. */
static bool place_node(struct builder *builder, struct yaml_node *node)
{
	if (builder->depth == 0) {
		builder->yaml->root = node;
		return true;
	}
	unsigned at = builder->depth - 1;
	struct yaml_node *parent = builder->open[at];
	if (parent->kind == YAML_MAP && !builder->key[at]) {
		if (node->kind != YAML_SCALAR)
			return refuse(builder, "a list or a map stands as a key", "keys are plain or quoted text");
		builder->key[at] = node;
		return true;
	}
	node->key = builder->key[at];
	builder->key[at] = NULL;
	if (node->empty && node->key) {
		node->line = node->key->line;
		node->column = node->key->column;
	}
	if (builder->last[at])
		builder->last[at]->next = node;
	else
		parent->first = node;
	builder->last[at] = node;
	parent->count++;
	return true;
}

static bool on_scalar(struct builder *builder, struct fy_token *token)
{
	enum fy_scalar_style style = token ? fy_token_scalar_style(token) : FYSS_PLAIN;
	if ((style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED) && builder->here.column > 1)
		builder->here.column--; /* its mark stands behind the quote */
	struct yaml_node *node = add_node(builder, YAML_SCALAR);
	if (!node)
		return false;
	size_t size = 0;
	const char *text = token ? fy_token_get_text(token, &size) : NULL;
	if (!text)
		size = 0;
	node->empty = size == 0 && style == FYSS_PLAIN;
	if (size > 0 && memchr(text, 0, size))
		return refuse(builder, "a text holds a NUL character", "take it out");
	if (size + 1 > builder->text_max - builder->text_size)
		return refuse(builder, "the file's texts are too long", "split it");
	char *copy = builder->yaml->texts + builder->text_size;
	if (size > 0)
		memcpy(copy, text, size);
	copy[size] = 0;
	builder->text_size += size + 1;
	node->text = copy;
	node->size = size;
	return place_node(builder, node);
}

static bool on_start(struct builder *builder, enum yaml_kind kind)
{
	if (builder->depth == YAML_DEPTH_MAX)
		return refuse(builder, "lists and maps are nested too deeply", "no setting needs more than 8 levels");
	struct yaml_node *node = add_node(builder, kind);
	if (!node || !place_node(builder, node))
		return false;
	builder->open[builder->depth] = node;
	builder->last[builder->depth] = NULL;
	builder->key[builder->depth] = NULL;
	builder->depth++;
	return true;
}

static void move_to(struct builder *builder, const struct fy_mark *mark)
{
	if (!mark)
		return;
	builder->here.line = (uint32_t)mark->line + 1;
	builder->here.column = (uint32_t)mark->column + 1;
}

static bool plain_of(struct builder *builder, struct fy_token *anchor, struct fy_token *tag)
{
	if (anchor || tag)
		move_to(builder, fy_token_start_mark(anchor ? anchor : tag));
	if (anchor && builder->here.column > 1)
		builder->here.column--; /* its mark stands behind the & */
	if (anchor)
		return refuse(builder, "anchors (&name) are not supported", "write the value out where it is meant");
	if (tag)
		return refuse(builder, "tags (!name) are not supported", "leave it out: every key knows its type");
	return true;
}

/* False: stop; an error has been added. */
static bool on_event(struct builder *builder, struct fy_event *event)
{
	move_to(builder, fy_event_start_mark(event));
	switch (event->type) {
	case FYET_DOCUMENT_START:
		if (++builder->documents > 1)
			return refuse(builder, "the file holds a second document", "keep one, without '---' lines");
		return true;
	case FYET_ALIAS:
		builder->here.column -= builder->here.column > 1 ? 1 : 0; /* its mark stands behind the star */
		return refuse(builder, "aliases (*name) are not supported", "write the value out where it is meant");
	case FYET_SCALAR:
		return plain_of(builder, event->scalar.anchor, event->scalar.tag) &&
		       on_scalar(builder, event->scalar.value);
	case FYET_SEQUENCE_START:
		return plain_of(builder, event->sequence_start.anchor, event->sequence_start.tag) &&
		       on_start(builder, YAML_LIST);
	case FYET_MAPPING_START:
		return plain_of(builder, event->mapping_start.anchor, event->mapping_start.tag) &&
		       on_start(builder, YAML_MAP);
	case FYET_SEQUENCE_END:
	case FYET_MAPPING_END:
		if (builder->depth == 0)
			return refuse(builder, "the YAML is malformed", NULL);
		builder->depth--;
		return true;
	default:
		return true;
	}
}

/* libfyaml's own words, from its first collected error. */
static void add_syntax_error(struct builder *builder, struct fy_diag *diag)
{
	void *previous = NULL;
	const struct fy_diag_error *error = fy_diag_errors_iterate(diag, &previous);
	if (!error || !error->msg) {
		refuse(builder, "the YAML is malformed", "check indentation, quotes and brackets near here");
		return;
	}
	char said[160];
	text_escape(said, sizeof(said), bytes_text(error->msg));
	if (error->line > 0)
		builder->here = (struct yaml_node){ .line = (uint32_t)error->line,
			.column = error->column > 0 ? (uint32_t)error->column : 1 };
	yaml_fault(builder->errors, builder->yaml->source, &builder->here,
		"check indentation, quotes and brackets near here", "the YAML is malformed: ", said, NULL);
}

static bool run_parser(struct builder *builder, struct bytes text)
{
	const struct fy_diag_cfg diag_config = { .level = FYET_ERROR, .module_mask = ~0u };
	struct fy_diag *diag = fy_diag_create(&diag_config);
	if (!diag)
		return refuse(builder, "out of memory", NULL);
	fy_diag_set_collect_errors(diag, true);
	const struct fy_parse_cfg config = { .flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG | FYPCF_JSON_NONE,
		.diag = diag };
	struct fy_parser *parser = fy_parser_create(&config);
	bool ok = parser && fy_parser_set_string(parser, text.data, text.size) == 0;
	if (!ok)
		refuse(builder, "out of memory", NULL);
	struct fy_event *event;
	while (ok && (event = fy_parser_parse(parser)) != NULL) {
		ok = on_event(builder, event);
		fy_parser_event_free(parser, event);
	}
	if (ok && (fy_parser_get_stream_error(parser) || builder->depth > 0)) {
		add_syntax_error(builder, diag);
		ok = false;
	}
	if (parser)
		fy_parser_destroy(parser);
	fy_diag_destroy(diag);
	return ok;
}

/* Bytes of the well-formed UTF-8 character at the start, 0: none. */
static size_t utf8_size(const uint8_t *at, size_t left)
{
	if (at[0] < 0x80)
		return 1;
	size_t size = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
	if (at[0] < 0xc2 || at[0] > 0xf4 || size > left)
		return 0;
	for (size_t i = 1; i < size; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	}
	bool overlong = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xf0 && at[1] < 0x90);
	bool outside = (at[0] == 0xed && at[1] > 0x9f) || (at[0] == 0xf4 && at[1] > 0x8f);
	return overlong || outside ? 0 : size;
}

static bool check_characters(struct builder *builder, struct bytes text)
{
	const uint8_t *data = text.data;
	builder->here = (struct yaml_node){ .line = 1, .column = 1 };
	for (size_t at = 0; at < text.size;) {
		size_t size = utf8_size(data + at, text.size - at);
		if (size == 0)
			return refuse(builder, "the file is not UTF-8 here", "save it as UTF-8");
		bool space = data[at] == '\t' || data[at] == '\n' || data[at] == '\r';
		if ((data[at] < 0x20 && !space) || data[at] == 0x7f)
			return refuse(builder, "a control character stands here", "take it out");
		builder->here.column++;
		if (data[at] == '\n')
			builder->here = (struct yaml_node){ .line = builder->here.line + 1, .column = 1 };
		at += size;
	}
	builder->here = (struct yaml_node){ .line = 1, .column = 1 };
	return true;
}

bool yaml_parse(const char *source, struct bytes text, struct yaml *yaml, struct config_errors *errors)
{
	*yaml = (struct yaml){ .source = source };
	struct builder builder = { .yaml = yaml, .errors = errors, .here = { .line = 1, .column = 1 } };
	if (text.size > YAML_SIZE_MAX)
		return refuse(&builder, "the file is larger than 64 KiB", "split it");
	if (!check_characters(&builder, text))
		return false;
	builder.node_max = text.size + 2 < YAML_NODES_MAX ? text.size + 2 : YAML_NODES_MAX;
	builder.text_max = 2 * text.size + builder.node_max; /* an escape of two bytes makes three at most */
	yaml->nodes = calloc(builder.node_max, sizeof(*yaml->nodes));
	yaml->texts = malloc(builder.text_max);
	bool ok = yaml->nodes && yaml->texts;
	if (!ok)
		refuse(&builder, "out of memory", NULL);
	ok = ok && run_parser(&builder, text);
	if (ok && !yaml->root) {
		builder.here = (struct yaml_node){ .line = 1, .column = 1 };
		ok = refuse(&builder, "the file is empty", NULL);
	}
	if (!ok)
		yaml_free(yaml);
	return ok;
}

bool yaml_load(const char *path, struct yaml *yaml, struct config_errors *errors)
{
	*yaml = (struct yaml){ .source = path };
	bool standard_input = strcmp(path, "-") == 0;
	FILE *file = standard_input ? stdin : fopen(path, "rbe");
	char *data = file ? malloc(YAML_SIZE_MAX + 1) : NULL;
	size_t size = data ? fread(data, 1, YAML_SIZE_MAX + 1, file) : 0;
	bool ok = data && !ferror(file);
	int error = errno;
	if (file && !standard_input)
		fclose(file);
	if (ok)
		ok = yaml_parse(path, bytes_of(data, size), yaml, errors);
	else
		yaml_fault(errors, path, NULL, "check the path and its permissions",
			"cannot read the file: ", strerror(error), NULL);
	free(data);
	return ok;
}

void yaml_free(struct yaml *yaml)
{
	free(yaml->nodes);
	free(yaml->texts);
	yaml->nodes = NULL;
	yaml->texts = NULL;
	yaml->root = NULL;
}
