/* tools/cmd_key.c: domctl key: what touches keys and values. Where and explain are in cmd_where.c and explain.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "tools/errors.h"
#include "tools/form.h"
#include "tools/freshness.h"
#include "tools/judge.h"
#include "tools/output.h"
#include "tools/session.h"

/* One verb on one key, from its arguments to its end. */
struct key_call {
	struct session session;
	struct freshness freshness;
	struct owned_bytes key, value;
	dom_options options;
	dom_call *call;
};

static dom_bytes view(const struct owned_bytes *bytes)
{
	return (dom_bytes){ bytes->data, bytes->size };
}

static int begin(struct key_call *call, const struct invocation *invocation, const char *value)
{
	int code;

	memset(call, 0, sizeof(*call));
	call->options = (dom_options)DOM_OPTIONS;
	call->options.timeout_ms = invocation->timeout_ms;
	call->options.policy = flag_text(invocation, "must-be");
	code = argument_bytes(invocation, invocation->arguments[0], "key-format", &call->key);
	if (code == EXIT_OK && value != NULL)
		code = argument_bytes(invocation, value, "value-format", &call->value);
	if (code == EXIT_OK)
		code = freshness_begin(&call->freshness, invocation, &call->options);
	if (code == EXIT_OK)
		code = session_open(&call->session, invocation, AS_CLIENT);
	return code;
}

/* The command's exit code. */
static int end(struct key_call *call, const struct invocation *invocation, int code)
{
	int kept;

	if (call->call != NULL)
		dom_call_free(call->call);
	session_close(&call->session);
	kept = freshness_end(&call->freshness, invocation);
	free(call->key.data);
	free(call->value.data);
	return code != EXIT_OK ? code : kept;
}

/* The client refused or a node did; the map says which rule it was, and so what to do. */
static int refused(struct key_call *call, const char *what, bool write)
{
	const struct invocation *invocation = call->session.invocation;
	struct judgement judgement;

	if (dom_call_status(call->call) == DOM_RESIDENCY_REFUSED && session_refresh(&call->session) == EXIT_OK) {
		judge(call->session.map, owned(&call->key), &call->session.place, write, &judgement);
		if (judgement.code != NULL)
			return fail(invocation, judgement.code, what, judgement.cure, "%s", judgement.reason);
	}
	if (dom_call_status(call->call) == DOM_NOT_FOUND)
		return fail(invocation, "DOM-K001", write ? "nothing to delete" : "no such key", NULL, NULL);
	return fail(invocation, error_code_of(dom_call_status(call->call), false), what, NULL, "%s",
		dom_call_message(call->call));
}

static json_t *key_item(const struct invocation *invocation, struct bytes key)
{
	json_t *item = json_object();

	set_bytes(item, "key", form_of(invocation, "key-format"), key);
	return item;
}

static void set_outcome(json_t *item, const dom_call *call)
{
	set(item, "version", json_id(dom_call_version(call, 0)));
	set(item, "written_at", json_time_us((uint64_t)dom_call_written_us(call, 0)));
	set(item, "served_by", json_string(dom_call_served_by(call)));
}

static int print_item(const struct invocation *invocation, json_t *item)
{
	json_t *items = json_array();

	json_array_append_new(items, item);
	if (!output_machine(invocation, "Key", NULL, items, "key"))
		printf("ok  version %s  served by %s\n", field_text(item, "version"), field_text(item, "served_by"));
	json_decref(items);
	return EXIT_OK;
}

static void print_value(const struct invocation *invocation, struct bytes value)
{
	enum form form = form_of(invocation, "value-format");
	char *text;

	if (form == FORM_RAW) {
		fwrite(value.size == 0 ? "" : value.data, 1, value.size, stdout);
		return;
	}
	text = form_encode(form, value);
	puts(text);
	free(text);
}

int run_key_get(const struct invocation *invocation)
{
	struct key_call call;
	int code = begin(&call, invocation, NULL);

	if (code == EXIT_OK) {
		call.call = dom_get(call.session.client, view(&call.key), &call.options);
		if (call.call == NULL)
			code = fail(invocation, "DOM-X001", "out of memory", NULL, NULL);
	}
	if (code == EXIT_OK && dom_call_wait(call.call) != DOM_OK) {
		code = refused(&call, "the key cannot be read", false);
	} else if (code == EXIT_OK) {
		dom_bytes value = dom_call_value(call.call, 0);
		json_t *items = json_array(), *item = key_item(invocation, owned(&call.key));

		set_bytes(item, "value", form_of(invocation, "value-format"), bytes_of(value.data, value.size));
		set_outcome(item, call.call);
		set(item, "staleness_ms", json_integer(dom_call_staleness_ms(call.call)));
		json_array_append_new(items, item);
		if (!output_machine(invocation, "Key", NULL, items, NULL)) {
			print_value(invocation, bytes_of(value.data, value.size));
			if (invocation->output == OUTPUT_WIDE)
				printf("version %s  written %s  served by %s  at most %u ms old\n",
					field_text(item, "version"), field_text(item, "written_at"),
					field_text(item, "served_by"), dom_call_staleness_ms(call.call));
		}
		json_decref(items);
	}
	return end(&call, invocation, code);
}

/* A dry run of a write is judged here, by the newest map, and sends nothing. */
static int dry(struct key_call *call, const char *what)
{
	struct judgement judgement;
	int code = session_refresh(&call->session);

	if (code != EXIT_OK)
		return code;
	judge(call->session.map, owned(&call->key), &call->session.place, true, &judgement);
	if (judgement.code != NULL)
		return fail(call->session.invocation, judgement.code, what, judgement.cure, "%s", judgement.reason);
	printf("would be sent to shard %llu of policy %s; nothing was sent\n", (unsigned long long)judgement.shard->id,
		judgement.policy->name);
	return EXIT_OK;
}

static int written(struct key_call *call, const char *what)
{
	const struct invocation *invocation = call->session.invocation;
	json_t *item;

	if (call->call == NULL)
		return fail(invocation, "DOM-X001", "out of memory", NULL, NULL);
	if (dom_call_wait(call->call) != DOM_OK)
		return refused(call, what, true);
	item = key_item(invocation, owned(&call->key));
	set_outcome(item, call->call);
	if (dom_call_degraded(call->call)) {
		set(item, "degraded", json_true());
		fputs("degraded: a copy is lost at the moment; this write is on the other one, with the witness's "
		      "word\n",
			stderr);
	}
	return print_item(invocation, item);
}

int run_key_put(const struct invocation *invocation)
{
	struct key_call call;
	int code = begin(&call, invocation, invocation->arguments[1]);

	if (code == EXIT_OK && invocation->dry_run) {
		code = dry(&call, "the key cannot be written");
	} else if (code == EXIT_OK) {
		call.call = dom_put(call.session.client, view(&call.key), view(&call.value), &call.options);
		code = written(&call, "the key was not written");
	}
	return end(&call, invocation, code);
}

int run_key_delete(const struct invocation *invocation)
{
	struct key_call call;
	int code = begin(&call, invocation, NULL);

	if (code == EXIT_OK && invocation->dry_run) {
		code = dry(&call, "the key cannot be deleted");
	} else if (code == EXIT_OK) {
		call.call = dom_delete(call.session.client, view(&call.key), &call.options);
		code = written(&call, "the key was not deleted");
	}
	return end(&call, invocation, code);
}

int run_key_cas(const struct invocation *invocation)
{
	struct key_call call;
	uint64_t version;
	int code;

	if (!parse_u64(invocation->arguments[1], &version))
		return fail(invocation, "DOM-U003", "the version is not a number",
			"give the version that `key get -o json` shows", NULL);
	code = begin(&call, invocation, invocation->arguments[2]);
	if (code == EXIT_OK && invocation->dry_run) {
		code = dry(&call, "the key cannot be written");
	} else if (code == EXIT_OK) {
		call.call = dom_cas(call.session.client, view(&call.key), version, view(&call.value), &call.options);
		if (call.call != NULL && dom_call_wait(call.call) == DOM_CONFLICT)
			code = fail(invocation, "DOM-K003", "the key was not written",
				"read it, decide, and repeat with its version",
				"expected version %llu, the current one is %llu", (unsigned long long)version,
				(unsigned long long)dom_call_version(call.call, 0));
		else
			code = written(&call, "the key was not written");
	}
	return end(&call, invocation, code);
}

static int print_scan(const struct invocation *invocation, const dom_call *call)
{
	static const struct column columns[] = { { .title = "KEY", .field = "key" },
		{ .title = "VALUE", .field = "value" }, { .title = "VERSION", .field = "version", .right = true },
		{ .title = "AGE MAX MS", .field = "staleness_ms", .right = true, .wide = true },
		{ .title = "SERVED BY", .field = "served_by", .wide = true }, { 0 } };
	json_t *items = json_array();

	for (size_t row = 0; row < dom_call_rows(call); row++) {
		dom_bytes key = dom_call_key(call, row), value = dom_call_value(call, row);
		json_t *item = key_item(invocation, bytes_of(key.data, key.size));

		set_bytes(item, "value", form_of(invocation, "value-format"), bytes_of(value.data, value.size));
		set(item, "version", json_id(dom_call_version(call, row)));
		set(item, "written_at", json_time_us((uint64_t)dom_call_written_us(call, row)));
		set(item, "served_by", json_string(dom_call_served_by(call)));
		set(item, "staleness_ms", json_integer(dom_call_staleness_ms(call)));
		json_array_append_new(items, item);
	}
	if (dom_call_more(call))
		fprintf(stderr, "more keys are left: go on with --after the last one\n");
	return output_items(invocation, "KeyList", NULL, items, columns, "key");
}

int run_key_scan(const struct invocation *invocation)
{
	struct key_call call;
	struct owned_bytes after = { 0 };
	const char *text = flag_text(invocation, "after");
	uint64_t limit = flag_number(invocation, "limit", 0);
	int code;

	if (limit > UINT32_MAX)
		limit = UINT32_MAX;
	code = begin(&call, invocation, NULL);
	if (code == EXIT_OK && text != NULL)
		code = argument_bytes(invocation, text, "key-format", &after);
	if (code == EXIT_OK) {
		call.call =
			dom_scan(call.session.client, view(&call.key), view(&after), (uint32_t)limit, &call.options);
		if (call.call == NULL)
			code = fail(invocation, "DOM-X001", "out of memory", NULL, NULL);
		else if (dom_call_wait(call.call) == DOM_RESIDENCY_REFUSED)
			code = fail(invocation, "DOM-R002", "the prefix cannot be scanned",
				"act as a client there (--as-region), or scan a narrower prefix", "%s",
				dom_call_message(call.call));
		else if (dom_call_status(call.call) != DOM_OK)
			code = fail_call(invocation, dom_call_status(call.call), dom_call_message(call.call),
				"the prefix cannot be scanned");
		else
			code = print_scan(invocation, call.call);
	}
	free(after.data);
	return end(&call, invocation, code);
}
