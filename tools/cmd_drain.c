/* tools/cmd_drain.c: domctl node drain, undrain, decommission; domctl region drain, undrain, fence, readmit, remove. */
#include <stdio.h>
#include <string.h>

#include "tools/errors.h"
#include "tools/session.h"

/* What is not to be done by mistake is confirmed by its name: as it was given, or its whole place. */
static int confirm(const struct invocation *invocation, const char *place)
{
	const char *given = invocation->confirm;

	if (invocation->dry_run ||
		(given != NULL && (strcmp(given, invocation->arguments[0]) == 0 || strcmp(given, place) == 0)))
		return EXIT_OK;
	return fail(invocation, "DOM-A001", "this may lose what was written, or cannot be undone",
		"give --confirm with its name", "%s", place);
}

/* What a region's state may become by this verb: a fenced one is not had back as if it had only been drained. */
static int check_region(const struct invocation *invocation, const struct map_region *region, uint8_t state)
{
	bool readmit = strcmp(invocation->command->verb, "readmit") == 0;

	if (state == REGION_FENCED)
		return confirm(invocation, region->site.place.text);
	if (readmit != (region->state == REGION_FENCED))
		return fail(invocation, "DOM-P005", readmit ? "the region is not fenced" : "the region is fenced",
			readmit ? "`domctl region list` shows those that are"
				: "have it back with `domctl region readmit`",
			"%s", region->site.place.text);
	return EXIT_OK;
}

static int change_state(const struct invocation *invocation, uint8_t kind, uint8_t state, const char *what)
{
	static struct change change;
	struct change_answer answer;
	const struct map_node *node;
	const struct map_region *region;
	struct session session;
	char refused[64];
	int code = session_open_with_map(&session, invocation, AS_ADMIN);

	memset(&change, 0, sizeof(change));
	change.kind = kind;
	change.state = state;
	if (code == EXIT_OK && kind == CHANGE_REGION_STATE) {
		region = session_region(&session, invocation->arguments[0]);
		if (region == NULL)
			code = EXIT_NOT_FOUND;
		else if ((code = check_region(invocation, region, state)) == EXIT_OK)
			snprintf(change.name, sizeof(change.name), "%s", region->name);
	} else if (code == EXIT_OK) {
		node = session_node(&session, invocation->arguments[0]);
		if (node == NULL)
			code = EXIT_NOT_FOUND;
		else
			change.target_node = node->id;
	}
	if (code == EXIT_OK) {
		snprintf(refused, sizeof(refused), "%s is refused", what);
		code = session_change(&session, &change, refused, &answer);
	}
	if (code == EXIT_OK)
		code = session_report_change(&session, what, &answer);
	session_close(&session);
	return code;
}

int run_node_drain(const struct invocation *invocation)
{
	return change_state(invocation, CHANGE_NODE_STATE,
		flag_given(invocation, "leads-only") ? NODE_LEADLESS : NODE_DRAINING, "node drain");
}

int run_node_undrain(const struct invocation *invocation)
{
	return change_state(invocation, CHANGE_NODE_STATE, NODE_ACTIVE, "node undrain");
}

int run_region_drain(const struct invocation *invocation)
{
	return change_state(invocation, CHANGE_REGION_STATE, REGION_DRAINING, "region drain");
}

int run_region_undrain(const struct invocation *invocation)
{
	return change_state(invocation, CHANGE_REGION_STATE, REGION_ACTIVE, "region undrain");
}

int run_region_fence(const struct invocation *invocation)
{
	return change_state(invocation, CHANGE_REGION_STATE, REGION_FENCED, "region fence");
}

int run_region_readmit(const struct invocation *invocation)
{
	return change_state(invocation, CHANGE_REGION_STATE, REGION_ACTIVE, "region readmit");
}

int run_region_remove(const struct invocation *invocation)
{
	static struct change change;
	struct change_answer answer;
	const struct map_region *region;
	struct session session;
	int code = session_open_with_map(&session, invocation, AS_ADMIN);

	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_REGION_REMOVE;
	if (code == EXIT_OK && (region = session_region(&session, invocation->arguments[0])) == NULL)
		code = EXIT_NOT_FOUND;
	if (code == EXIT_OK)
		code = confirm(invocation, region->site.place.text);
	if (code == EXIT_OK) {
		snprintf(change.name, sizeof(change.name), "%s", region->name);
		code = session_change(&session, &change, "region remove is refused", &answer);
	}
	if (code == EXIT_OK)
		code = session_report_change(&session, "region remove", &answer);
	session_close(&session);
	return code;
}

int run_node_decommission(const struct invocation *invocation)
{
	static struct change change;
	struct change_answer answer;
	const struct map_node *node;
	struct session session;
	int code = session_open_with_map(&session, invocation, AS_ADMIN);

	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_NODE_REMOVE;
	if (code == EXIT_OK && (node = session_node(&session, invocation->arguments[0])) == NULL)
		code = EXIT_NOT_FOUND;
	if (code == EXIT_OK)
		code = confirm(invocation, node->place.text);
	if (code == EXIT_OK) {
		change.target_node = node->id;
		code = session_change(&session, &change, "node decommission is refused", &answer);
	}
	if (code == EXIT_OK)
		code = session_report_change(&session, "node decommission", &answer);
	session_close(&session);
	return code;
}
