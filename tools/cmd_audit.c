/* tools/cmd_audit.c: domctl audit heads, show, verify. */
#include "tools/cmd_audit.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/errors.h"
#include "tools/form.h"
#include "tools/output.h"
#include "tools/stays.h"

/* --- heads ------------------------------------------------------------------------------------------- */

json_t *audit_hex(const uint8_t *bytes, size_t size)
{
	char text[2 * SHA256_SIZE + 1];

	assert(size <= SHA256_SIZE);
	for (size_t i = 0; i < size; i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	return json_string(text);
}

bool audit_unhex(const char *text, uint8_t *bytes, size_t size)
{
	if (strlen(text) != 2 * size)
		return false;
	for (size_t i = 0; i < size; i++) {
		unsigned byte;

		if (strspn(text + 2 * i, "0123456789abcdef") < 2 || sscanf(text + 2 * i, "%2x", &byte) != 1)
			return false;
		bytes[i] = (uint8_t)byte;
	}
	return true;
}

int heads_fetch(struct session *session, struct heads *heads)
{
	dom_call *call = client_admin(
		session->client, ADMIN_ANY_NODE, "ledger.heads", bytes_of(NULL, 0), session->invocation->timeout_ms);
	struct unpacker unpacker;
	dom_bytes answer;
	int code = EXIT_OK;

	if (call == NULL)
		abort();
	heads->count = 0;
	if (dom_call_wait(call) != DOM_OK) {
		code = fail(session->invocation, error_code_of(dom_call_status(call), false),
			"the heads that meta keeps cannot be had", NULL, "%s", dom_call_message(call));
		dom_call_free(call);
		return code;
	}
	answer = dom_call_value(call, 0);
	unpack_init(&unpacker, bytes_of(answer.data, answer.size));
	for (uint32_t left = unpack_u32(&unpacker); left > 0 && !unpacker.bad; left--) {
		struct kept_head kept = { .node = unpack_u64(&unpacker) };
		char place[PLACE_TEXT_MAX];

		kept.incarnation = unpack_u64(&unpacker);
		unpack_text(&unpacker, place, sizeof(place));
		kept.gone_us = unpack_u64(&unpacker);
		ledger_head_decode(&unpacker, &kept.head);
		if (unpacker.bad || !place_parse(place, &kept.place, NULL) || heads->count == AUDITED_MAX)
			unpacker.bad = true;
		else
			heads->at[heads->count++] = kept;
	}
	if (!unpack_end(&unpacker))
		code = fail(session->invocation, "DOM-X001", "the heads do not decode",
			"is this domctl of another version than the cluster?", NULL);
	dom_call_free(call);
	return code;
}

json_t *audit_head_item(const struct kept_head *kept)
{
	json_t *item = json_object();
	bool known = kept->head.at.sequence != 0;

	set(item, "node", json_id(kept->node));
	set(item, "place", json_string(kept->place.text));
	set(item, "incarnation", json_id(kept->incarnation));
	set(item, "gone_at", json_time_us(kept->gone_us));
	set(item, "gone_us", json_integer((json_int_t)kept->gone_us));
	set(item, "sequence", json_integer((json_int_t)kept->head.at.sequence));
	set(item, "hash", known ? audit_hex(kept->head.at.hash, SHA256_SIZE) : json_null());
	set(item, "signed_at", json_time_us(kept->head.time_us));
	set(item, "time_us", json_integer((json_int_t)kept->head.time_us));
	set(item, "signature",
		known ? json_bytes_base64(kept->head.signature, kept->head.signature_size) : json_null());
	return item;
}

bool audit_head_read(const json_t *item, struct kept_head *kept)
{
	struct owned_bytes signature = { 0 };
	const char *why;
	bool good;

	memset(kept, 0, sizeof(*kept));
	kept->node = field_u64(item, "node");
	kept->incarnation = field_u64(item, "incarnation");
	kept->gone_us = field_u64(item, "gone_us");
	kept->head.at.sequence = field_u64(item, "sequence");
	kept->head.time_us = field_u64(item, "time_us");
	if (!place_parse(field_text(item, "place"), &kept->place, NULL))
		return false;
	if (kept->head.at.sequence == 0)
		return true;
	good = audit_unhex(field_text(item, "hash"), kept->head.at.hash, SHA256_SIZE) &&
	       form_decode(FORM_BASE64, field_text(item, "signature"), &signature, &why) &&
	       signature.size <= LEDGER_SIGNATURE_MAX;
	if (good && signature.size > 0)
		memcpy(kept->head.signature, signature.data, signature.size);
	kept->head.signature_size = (uint8_t)signature.size;
	free(signature.data);
	return good;
}

static int heads_load(const struct invocation *invocation, const char *path, struct heads *heads)
{
	json_error_t error;
	json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
	const json_t *items = json_object_get(root, "items"), *item;
	bool good = json_is_array(items);
	size_t at;

	heads->count = 0;
	json_array_foreach(items, at, item)
	{
		good = good && heads->count < AUDITED_MAX && audit_head_read(item, &heads->at[heads->count]);
		heads->count += good;
	}
	json_decref(root);
	if (good)
		return EXIT_OK;
	return fail(invocation, "DOM-D003", "the heads cannot be read",
		"make the file with `domctl audit heads -o json`", "%s", path);
}

int run_audit_heads(const struct invocation *invocation)
{
	static const struct column columns[] = { { .title = "NODE", .field = "node", .right = true },
		{ .title = "PLACE", .field = "place" }, { .title = "RECORDS", .field = "sequence", .right = true },
		{ .title = "SIGNED", .field = "signed_at" }, { .title = "LEFT", .field = "gone_at" },
		{ .title = "HASH", .field = "hash", .wide = true }, { 0 } };
	static struct heads heads;
	struct session session;
	json_t *items;
	int code = session_open_with_map(&session, invocation, AS_ADMIN);

	if (code == EXIT_OK)
		code = heads_fetch(&session, &heads);
	if (code == EXIT_OK) {
		items = json_array();
		for (uint32_t i = 0; i < heads.count; i++)
			json_array_append_new(items, audit_head_item(&heads.at[i]));
		code = output_items(invocation, "LedgerHeadList", session_cluster(&session), items, columns, "node");
	}
	session_close(&session);
	return code;
}

/* --- ledgers ----------------------------------------------------------------------------------------- */

static struct audited *audited_add(struct auditing *auditing)
{
	struct audited *audited = &auditing->at[auditing->count];

	if (auditing->count == AUDITED_MAX)
		return NULL;
	auditing->count++;
	memset(audited, 0, sizeof(*audited));
	chain_init(&audited->chain);
	return audited;
}

static int load_files(const struct invocation *invocation, struct auditing *auditing, uint32_t first)
{
	for (uint32_t i = first; i < invocation->argument_count; i++) {
		struct chain one;
		struct audited *audited = NULL;
		int code;

		chain_init(&one);
		code = chain_load(invocation, invocation->arguments[i], &one);
		for (uint32_t j = 0; j < auditing->count && code == EXIT_OK && audited == NULL; j++) {
			if (one.incarnation != 0 && auditing->at[j].chain.incarnation == one.incarnation &&
				place_equal(&auditing->at[j].chain.place, &one.place))
				audited = &auditing->at[j];
		}
		if (code == EXIT_OK && audited != NULL && auditing->online && audited->read && audited->gone_us == 0)
			code = fail(invocation, "DOM-D003", "the ledger of this file was read from its node",
				"give files of nodes that have left the cluster: `domctl audit heads` names them", "%s",
				invocation->arguments[i]);
		if (code == EXIT_OK && audited == NULL && (audited = audited_add(auditing)) == NULL)
			code = fail(invocation, "DOM-U004", "the ledgers of too many nodes", NULL, "at most %d",
				AUDITED_MAX);
		if (code == EXIT_OK) {
			if (!chain_add(&audited->chain, one.files[0].bytes, one.files[0].size, one.files[0].name))
				abort();
			one.files[0].bytes = NULL;
			audited->read = true;
		}
		chain_free(&one);
		if (code != EXIT_OK)
			return code;
	}
	return EXIT_OK;
}

int audit_trust(const struct invocation *invocation, struct trusted *trusted)
{
	const char *cas = flag_text(invocation, "cas");
	char path[1024];

	if (cas == NULL && invocation->certs != NULL) {
		snprintf(path, sizeof(path), "%s/cas.pem", invocation->certs);
		cas = path;
	}
	if (cas == NULL)
		return fail(invocation, "DOM-U006", "whom to trust?",
			"give --cas FILE, the regions' authorities, or --certs DIR with cas.pem", NULL);
	return trusted_load(invocation, cas, trusted);
}

/* By files: nothing is asked of a cluster. Its trust: what is given. */
static int begin_with_files(const struct invocation *invocation, struct auditing *auditing)
{
	const char *heads = flag_text(invocation, "heads");
	int code = audit_trust(invocation, &auditing->trusted);

	if (code == EXIT_OK && heads != NULL)
		code = heads_load(invocation, heads, &auditing->heads);
	return code == EXIT_OK ? load_files(invocation, auditing, 0) : code;
}

/* The heads come first: a ledger that is read later goes at least as far. */
static int begin_with_cluster(const struct invocation *invocation, struct auditing *auditing)
{
	int code = session_open_with_map(&auditing->session, invocation, AS_ADMIN);

	auditing->online = true;
	if (code == EXIT_OK)
		code = heads_fetch(&auditing->session, &auditing->heads);
	if (code != EXIT_OK)
		return code;
	trusted_of_map(auditing->session.map, &auditing->trusted);
	for (uint32_t i = 0; i < auditing->session.map->node_count; i++) {
		const struct map_node *node = &auditing->session.map->nodes[i];
		struct audited *audited = audited_add(auditing);

		if (audited == NULL)
			break;
		audited->read =
			chain_fetch(&auditing->session, node->id, node->place.text, &audited->chain, audited->why);
		if (audited->chain.incarnation == 0) {
			audited->chain.incarnation = node->incarnation;
			audited->chain.place = node->place;
		}
	}
	for (uint32_t i = 0; i < auditing->heads.count; i++) {
		const struct kept_head *kept = &auditing->heads.at[i];
		struct audited *audited = kept->gone_us == 0 ? NULL : audited_add(auditing);

		if (audited == NULL)
			continue;
		audited->gone_us = kept->gone_us;
		audited->chain.incarnation = kept->incarnation;
		audited->chain.place = kept->place;
		snprintf(audited->why, sizeof(audited->why), "decommissioned: judged by the files of its ledger");
	}
	return EXIT_OK;
}

int auditing_begin(const struct invocation *invocation, struct auditing *auditing, enum audit_source source)
{
	int code;

	memset(auditing, 0, sizeof(*auditing));
	if (source == AUDIT_FILES_OR_CLUSTER && invocation->argument_count > 0)
		code = begin_with_files(invocation, auditing);
	else
		code = begin_with_cluster(invocation, auditing);
	if (code == EXIT_OK && source == AUDIT_CLUSTER_AND_FILES)
		code = load_files(invocation, auditing, 1);
	if (code == EXIT_OK && source == AUDIT_CLUSTER_AND_FILES && invocation->argument_count > 1)
		code = audit_trust(invocation, &auditing->given);
	for (uint32_t i = 0; i < auditing->count && code == EXIT_OK; i++) {
		struct audited *audited = &auditing->at[i];

		if (audited->read)
			chain_judge(&audited->chain, audited->gone_us != 0 && auditing->given.count > 0
							     ? &auditing->given
							     : &auditing->trusted);
		for (uint32_t j = 0; j < auditing->heads.count; j++) {
			const struct kept_head *kept = &auditing->heads.at[j];

			if (kept->incarnation != audited->chain.incarnation ||
				!place_equal(&kept->place, &audited->chain.place))
				continue;
			audited->head = kept->head.at.sequence == 0 ? NULL : kept;
			if (audited->read)
				chain_judge_head(&audited->chain, kept);
		}
	}
	return code;
}

void auditing_end(struct auditing *auditing)
{
	for (uint32_t i = 0; i < auditing->count; i++)
		chain_free(&auditing->at[i].chain);
	trusted_free(&auditing->trusted);
	trusted_free(&auditing->given);
	if (auditing->online)
		session_close(&auditing->session);
}

int auditing_verdict(const struct invocation *invocation, const struct auditing *auditing)
{
	size_t findings = 0, unread = 0;

	for (uint32_t i = 0; i < auditing->count; i++) {
		findings += json_array_size(auditing->at[i].chain.findings);
		unread += !auditing->at[i].read && auditing->at[i].gone_us == 0;
	}
	if (findings > 0)
		return fail(invocation, "DOM-L001", "the audit found something",
			"`domctl audit verify` lists all, `domctl help DOM-L001` says what each means", "%zu finding%s",
			findings, findings == 1 ? "" : "s");
	if (unread > 0)
		return fail(invocation, "DOM-L002", "not every node's ledger was read",
			"bring its files here: `domctl audit verify DATA/ledger/*.led --heads FILE`", "%zu of %u nodes",
			unread, auditing->count);
	return EXIT_OK;
}

static void compare_with(struct chain *chain, const struct audit_policy *policy, const struct chain *other)
{
	uint32_t count;
	const struct audit_policy *others = audit_policies(other->audit, &count);
	char what[400];

	for (uint32_t i = 0; i < count; i++) {
		if (others[i].id != policy->id || others[i].epoch != policy->epoch ||
			memcmp(others[i].digest, policy->digest, SHA256_SIZE) == 0)
			continue;
		snprintf(what, sizeof(what), "policy %s of epoch %llu is another than in the ledger of %s",
			policy->rules.name, (unsigned long long)policy->epoch, other->place.text);
		chain_find(chain, 0, "rules-differ", what);
	}
}

/* The same rules at the same epoch are the same bytes on every node. */
static void compare_rules(struct auditing *auditing)
{
	for (uint32_t i = 0; i < auditing->count; i++) {
		struct chain *chain = &auditing->at[i].chain;
		uint32_t count = 0;
		const struct audit_policy *policies =
			auditing->at[i].read ? audit_policies(chain->audit, &count) : NULL;

		for (uint32_t p = 0; p < count; p++) {
			for (uint32_t j = 0; j < i; j++) {
				if (auditing->at[j].read)
					compare_with(chain, &policies[p], &auditing->at[j].chain);
			}
		}
	}
}

static json_t *verify_item(const struct audited *audited)
{
	const struct chain *chain = &audited->chain;
	json_t *item = json_object();
	uint8_t cluster[16];
	uint64_t signed_upto = audited->head == NULL ? 0 : audited->head->head.at.sequence;
	uint32_t count = 0, held = 0, elsewhere = 0;
	const struct audit_replica *replicas = audited->read ? audit_replicas(chain->audit, &count) : NULL;

	for (uint32_t i = 0; i < count; i++) {
		held += replicas[i].removed_us == 0;
		elsewhere += replicas[i].removed_us == 0 && replicas[i].forbidden_us != 0;
	}
	set(item, "node", audited->read ? json_id(audit_node(chain->audit, cluster)) : json_null());
	set(item, "place", json_string(chain->place.text));
	set(item, "incarnation", json_id(chain->incarnation));
	set(item, "read", json_boolean(audited->read));
	set(item, "gone", json_boolean(audited->gone_us != 0));
	set(item, "why", audited->why[0] == '\0' ? json_null() : json_string(audited->why));
	set(item, "records", json_integer((json_int_t)chain->at.sequence));
	set(item, "head", signed_upto == 0 ? json_null() : json_integer((json_int_t)signed_upto));
	set(item, "unsigned_records",
		json_integer(chain->at.sequence > signed_upto ? (json_int_t)(chain->at.sequence - signed_upto) : 0));
	set(item, "replicas", json_integer(held));
	set(item, "to_leave", json_integer(elsewhere));
	set(item, "finding_count", json_integer((json_int_t)json_array_size(chain->findings)));
	set(item, "findings", json_incref(chain->findings));
	return item;
}

int run_audit_verify(const struct invocation *invocation)
{
	static const struct column columns[] = { { .title = "NODE", .field = "node", .right = true },
		{ .title = "PLACE", .field = "place" }, { .title = "RECORDS", .field = "records", .right = true },
		{ .title = "UNSIGNED", .field = "unsigned_records", .right = true },
		{ .title = "REPLICAS", .field = "replicas", .right = true },
		{ .title = "TO LEAVE", .field = "to_leave", .right = true },
		{ .title = "FINDINGS", .field = "finding_count", .right = true }, { .title = "WHY", .field = "why" },
		{ 0 } };
	static const struct column finding_columns[] = { { .title = "RECORD", .field = "sequence", .right = true },
		{ .title = "FINDING", .field = "finding" }, { .title = "WHAT", .field = "what" }, { 0 } };
	static struct auditing auditing;
	json_t *items = json_array();
	int code = auditing_begin(invocation, &auditing, AUDIT_FILES_OR_CLUSTER);

	if (code == EXIT_OK)
		compare_rules(&auditing);
	for (uint32_t i = 0; i < auditing.count && code == EXIT_OK; i++)
		json_array_append_new(items, verify_item(&auditing.at[i]));
	if (code == EXIT_OK && !output_machine(invocation, "Audit",
				       auditing.online ? session_cluster(&auditing.session) : NULL, items, "place")) {
		output_table(stdout, items, columns, invocation->output == OUTPUT_WIDE);
		for (uint32_t i = 0; i < auditing.count; i++) {
			if (json_array_size(auditing.at[i].chain.findings) == 0)
				continue;
			printf("\n%s\n", auditing.at[i].chain.place.text);
			output_table(stdout, auditing.at[i].chain.findings, finding_columns, false);
		}
	}
	if (code == EXIT_OK)
		code = auditing_verdict(invocation, &auditing);
	json_decref(items);
	auditing_end(&auditing);
	return code;
}

/* --- show -------------------------------------------------------------------------------------------- */

struct showing {
	json_t *items;
	const char *policy, *region; /* NULL: all */
	struct stays stays;	     /* of the node at hand: which policy a replica is of */
};

static uint64_t policy_of(struct showing *showing, const struct ledger_record *record)
{
	const struct stay *stay;

	stays_take(&showing->stays, record);
	if (record->shard == 0 || record->policy != 0)
		return record->policy;
	stay = stays_find(&showing->stays, record->shard, record->replica);
	return stay == NULL ? 0 : stay->policy;
}

const char *audit_policy_name(const struct chain *chain, uint64_t id)
{
	uint32_t count;
	const struct audit_policy *policies = audit_policies(chain->audit, &count);

	for (uint32_t i = 0; i < count; i++) {
		if (policies[i].id == id)
			return policies[i].rules.name;
	}
	return "";
}

/* A region by its place or by its last component. */
static bool in_region(const struct place *place, const char *region)
{
	if (place->text[0] == '\0' || place_within(place, region))
		return place->text[0] != '\0';
	if (place_depth(place) < 3)
		return strcmp(place_last(place), region) == 0;
	struct place own = place_prefix(place, place_depth(place) - 2);

	return strcmp(place_last(&own), region) == 0;
}

static void show_record(void *arg, const struct chain *chain, const struct ledger_record *record, struct bytes encoded,
	const struct ledger_position *behind)
{
	struct showing *showing = arg;
	uint64_t policy = policy_of(showing, record);
	const char *name = audit_policy_name(chain, policy);
	bool keys = record->kind == LEDGER_KEYS_SENT || record->kind == LEDGER_KEYS_TAKEN;
	json_t *item;

	(void)encoded;
	if (showing->policy != NULL && (policy == 0 || strcmp(name, showing->policy) != 0))
		return;
	if (showing->region != NULL && !in_region(&chain->place, showing->region) &&
		!in_region(&record->place, showing->region))
		return;
	item = json_object();
	set(item, "at", json_time_us(record->time_us));
	set(item, "place", json_string(chain->place.text));
	set(item, "sequence", json_integer((json_int_t)record->sequence));
	set(item, "event", json_string(ledger_kind_name(record->kind)));
	set(item, "reconciled", json_boolean(record->flags & LEDGER_RECONCILED));
	set(item, "witness", json_boolean(record->flags & LEDGER_WITNESS));
	set(item, "map_epoch", json_integer((json_int_t)record->map_epoch));
	set(item, "shard", record->shard == 0 ? json_null() : json_id(record->shard));
	set(item, "replica", record->replica == 0 ? json_null() : json_id(record->replica));
	set(item, "policy", policy == 0 ? json_null() : json_string(name));
	set(item, "policy_epoch",
		record->policy_epoch == 0 ? json_null() : json_integer((json_int_t)record->policy_epoch));
	set(item, "other", record->place.text[0] == '\0' ? json_null() : json_string(record->place.text));
	set(item, "other_shard", keys ? json_id(record->first) : json_null());
	set(item, "operation", keys ? json_id(record->last) : json_null());
	set(item, "last_index", record->last == 0 || keys ? json_null() : json_integer((json_int_t)record->last));
	set(item, "hash", audit_hex(behind->hash, SHA256_SIZE));
	json_array_append_new(showing->items, item);
}

int run_audit_show(const struct invocation *invocation)
{
	static const struct column columns[] = { { .title = "AT", .field = "at" },
		{ .title = "NODE", .field = "place" }, { .title = "RECORD", .field = "sequence", .right = true },
		{ .title = "EVENT", .field = "event" }, { .title = "SHARD", .field = "shard", .right = true },
		{ .title = "POLICY", .field = "policy" }, { .title = "OTHER", .field = "other" },
		{ .title = "REPLICA", .field = "replica", .right = true, .wide = true },
		{ .title = "POLICY EPOCH", .field = "policy_epoch", .right = true, .wide = true },
		{ .title = "OTHER SHARD", .field = "other_shard", .right = true, .wide = true },
		{ .title = "OPERATION", .field = "operation", .right = true, .wide = true },
		{ .title = "UP TO", .field = "last_index", .right = true, .wide = true },
		{ .title = "HASH", .field = "hash", .wide = true }, { 0 } };
	static struct auditing auditing;
	static struct showing showing;
	int code = auditing_begin(invocation, &auditing, AUDIT_FILES_OR_CLUSTER);

	showing.items = json_array();
	showing.policy = flag_text(invocation, "policy");
	showing.region = flag_text(invocation, "region");
	for (uint32_t i = 0; i < auditing.count && code == EXIT_OK; i++) {
		if (auditing.at[i].read)
			chain_records(&auditing.at[i].chain, show_record, &showing);
		stays_free(&showing.stays);
	}
	if (code != EXIT_OK) {
		json_decref(showing.items);
	} else {
		code = output_items(invocation, "LedgerRecordList",
			auditing.online ? session_cluster(&auditing.session) : NULL, showing.items, columns,
			"sequence");
		if (code == EXIT_OK)
			code = auditing_verdict(invocation, &auditing);
	}
	auditing_end(&auditing);
	return code;
}
