/* tools/cmd_proof.c: domctl audit proof and check. A proof is what every node's ledger says about the shard of one key:
 * those records, and of all others the digest, up to the head that the node has signed; with the records by which they
 * are judged. Who checks it needs the regions' authorities and no cluster. The key itself is not in it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cmd_audit.h"
#include "tools/errors.h"
#include "tools/form.h"
#include "tools/output.h"
#include "tools/stays.h"

/* --- proof ------------------------------------------------------------------------------------------- */

enum { PROOF_VERSION = 2 }; /* 2: names the nodes that it leaves out */

struct proving {
	uint64_t shard, upto;		     /* upto: sequence of the head */
	uint64_t policies[MAP_POLICIES_MAX]; /* the shard's, and those whose keys it took, or that took some of its */
	uint32_t policy_count;
	json_t *records;
};

static bool proves_policy(const struct proving *proving, uint64_t policy)
{
	for (uint32_t i = 0; i < proving->policy_count; i++) {
		if (proving->policies[i] == policy)
			return true;
	}
	return false;
}

static void prove_policy(struct proving *proving, uint64_t policy)
{
	if (policy != 0 && !proves_policy(proving, policy) && proving->policy_count < MAP_POLICIES_MAX)
		proving->policies[proving->policy_count++] = policy;
}

static void find_policies(void *arg, const struct chain *chain, const struct ledger_record *record,
	struct bytes encoded, const struct ledger_position *behind)
{
	struct proving *proving = arg;

	(void)chain;
	(void)encoded;
	(void)behind;
	if (record->shard == proving->shard)
		prove_policy(proving, record->policy);
}

static void prove_record(void *arg, const struct chain *chain, const struct ledger_record *record, struct bytes encoded,
	const struct ledger_position *behind)
{
	struct proving *proving = arg;
	bool shown = record->kind == LEDGER_STARTED || record->kind == LEDGER_CERTIFICATE ||
		     record->kind == LEDGER_REGION ||
		     (record->kind == LEDGER_POLICY && proves_policy(proving, record->policy)) ||
		     record->shard == proving->shard;
	uint8_t digest[SHA256_SIZE];
	json_t *item;

	(void)chain;
	if (behind->sequence > proving->upto)
		return;
	item = json_object();
	sha256_of(encoded, digest);
	if (shown)
		set(item, "record", json_bytes_base64(encoded.data, encoded.size));
	else
		set(item, "digest", audit_hex(digest, sizeof(digest)));
	json_array_append_new(proving->records, item);
}

static json_t *node_proof(const struct audited *audited, struct proving *proving)
{
	json_t *item = json_object();

	proving->records = json_array();
	proving->upto = audited->head->head.at.sequence;
	set(item, "head", audit_head_item(audited->head));
	chain_records(&audited->chain, find_policies, proving);
	chain_records(&audited->chain, prove_record, proving);
	set(item, "place", json_string(audited->chain.place.text));
	set(item, "incarnation", json_id(audited->chain.incarnation));
	set(item, "records", proving->records);
	return item;
}

/* It was decommissioned, and its files are not at hand: whatever it recorded is not in the proof. */
static json_t *absent_node(const struct audited *audited)
{
	json_t *item = json_object();

	set(item, "place", json_string(audited->chain.place.text));
	set(item, "incarnation", json_id(audited->chain.incarnation));
	set(item, "gone_us", json_integer((json_int_t)audited->gone_us));
	return item;
}

static int write_proof(const struct invocation *invocation, json_t *proof)
{
	const char *path = flag_text(invocation, "file");
	FILE *file = path == NULL ? stdout : fopen(path, "we");
	bool written = file != NULL && json_dumpf(proof, file, JSON_COMPACT) == 0 && fputc('\n', file) != EOF;

	if (file != NULL && path != NULL && fclose(file) != 0)
		written = false;
	if (written)
		return EXIT_OK;
	return fail(invocation, "DOM-D003", "the proof cannot be written", NULL, "%s", path == NULL ? "stdout" : path);
}

static int prove(const struct invocation *invocation, struct auditing *auditing, struct bytes key)
{
	const struct cluster_map *map = auditing->session.map;
	const struct map_binding *binding = map_binding_of(map, key);
	const struct map_shard *shard = binding == NULL ? NULL : map_shard_of(map, binding->policy, key);
	static struct proving proving;
	json_t *proof, *nodes, *absent;
	int code;

	if (shard == NULL)
		return fail(invocation, "DOM-R001", "no binding covers the key", "`domctl binding list`", NULL);
	proving.shard = shard->id;
	proving.policy_count = 0;
	prove_policy(&proving, shard->policy);
	for (uint32_t i = 0; i < auditing->count; i++) {
		const struct audited *audited = &auditing->at[i];

		if (audited->read && json_array_size(audited->chain.findings) > 0)
			return fail(invocation, "DOM-L001", "a ledger is not in order: it proves nothing",
				"`domctl audit verify`", "%s", audited->chain.place.text);
		if (audited->gone_us == 0 && (!audited->read || audited->head == NULL))
			return fail(invocation, "DOM-L002", "a node's part of the proof is missing",
				"every node must answer, and have told meta a head (within 15 s of its first start)",
				"%s: %s", audited->chain.place.text,
				audited->read ? "meta keeps no head of it" : audited->why);
	}
	proof = json_object();
	nodes = json_array();
	absent = json_array();
	for (uint32_t i = 0; i < auditing->count; i++) {
		if (auditing->at[i].read && auditing->at[i].head != NULL)
			json_array_append_new(nodes, node_proof(&auditing->at[i], &proving));
		else
			json_array_append_new(absent, absent_node(&auditing->at[i]));
	}
	set(proof, "kind", json_string("ResidencyProof"));
	set(proof, "v", json_integer(PROOF_VERSION));
	set(proof, "cluster", json_string(map->name));
	set(proof, "cluster_id", audit_hex(map->cluster, sizeof(map->cluster)));
	set(proof, "shard", json_id(shard->id));
	set(proof, "policy", json_id(shard->policy));
	set(proof, "nodes", nodes);
	set(proof, "absent", absent);
	code = write_proof(invocation, proof);
	json_decref(proof);
	return code;
}

int run_audit_proof(const struct invocation *invocation)
{
	static struct auditing auditing;
	struct owned_bytes key;
	int code = argument_key(invocation, invocation->arguments[0], &key);

	if (code != EXIT_OK)
		return code;
	code = auditing_begin(invocation, &auditing, AUDIT_CLUSTER_AND_FILES);
	if (code == EXIT_OK)
		code = prove(invocation, &auditing, owned(&key));
	auditing_end(&auditing);
	free(key.data);
	return code;
}

/* --- check ------------------------------------------------------------------------------------------- */

struct checking {
	const struct trusted *trusted;
	uint8_t cluster[16];
	uint64_t shard;
	json_t *items;
	size_t findings;
};

/* One record, shown or by its digest. False: the proof is not one. */
static bool check_record(const struct checking *checking, const json_t *item, struct chain *chain, struct stays *stays)
{
	struct ledger_position behind = chain->at;
	struct ledger_record record;
	struct owned_bytes encoded = { 0 };
	uint8_t digest[SHA256_SIZE];
	const char *why;
	bool shown = json_object_get(item, "record") != NULL, good;

	if (!shown) {
		if (!audit_unhex(field_text(item, "digest"), digest, sizeof(digest)))
			return false;
		ledger_advance(&behind, digest);
		chain_take(chain, checking->trusted, NULL, &behind);
		return true;
	}
	good = form_decode(FORM_BASE64, field_text(item, "record"), &encoded, &why) &&
	       ledger_record_decode(owned(&encoded), &record) == STATUS_OK && record.sequence == behind.sequence + 1;
	if (good) {
		sha256_of(owned(&encoded), digest);
		ledger_advance(&behind, digest);
		chain_take(chain, checking->trusted, &record, &behind);
		if (record.shard == checking->shard)
			stays_take(stays, &record);
	}
	free(encoded.data);
	return good;
}

/* A copy that was at the node; NULL: there was none. */
static void add_stay(struct checking *checking, const struct chain *chain, const struct stay *stay)
{
	json_t *item = json_object();

	set(item, "place", json_string(chain->place.text));
	set(item, "replica", stay == NULL ? json_null() : json_id(stay->replica));
	set(item, "from", json_time_us(stay == NULL ? 0 : stay->created_us));
	set(item, "until", json_time_us(stay == NULL ? 0 : stay->removed_us));
	set(item, "purged", json_time_us(stay == NULL ? 0 : stay->purged_us));
	set(item, "left_out", json_null());
	set(item, "findings", json_incref(chain->findings));
	set(item, "finding_count", json_integer((json_int_t)json_array_size(chain->findings)));
	json_array_append_new(checking->items, item);
}

static void add_stays(struct checking *checking, const struct chain *chain, const struct stays *stays)
{
	bool any = false;

	for (size_t i = 0; i < stays->count; i++) {
		if (stays->at[i].witness)
			continue;
		add_stay(checking, chain, &stays->at[i]);
		any = true;
	}
	if (!any)
		add_stay(checking, chain, NULL);
	checking->findings += json_array_size(chain->findings);
}

/* Left out, for it was decommissioned. */
static bool add_absent(struct checking *checking, const json_t *node)
{
	struct place place;
	json_t *item;

	if (!place_parse(field_text(node, "place"), &place, NULL) || field_u64(node, "gone_us") == 0)
		return false;
	item = json_object();
	set(item, "place", json_string(place.text));
	set(item, "replica", json_null());
	set(item, "from", json_null());
	set(item, "until", json_null());
	set(item, "purged", json_null());
	set(item, "left_out", json_time_us(field_u64(node, "gone_us")));
	set(item, "findings", json_array());
	set(item, "finding_count", json_integer(0));
	json_array_append_new(checking->items, item);
	return true;
}

static bool check_node(struct checking *checking, const json_t *node)
{
	const json_t *records = json_object_get(node, "records"), *item;
	struct stays stays = { 0 };
	struct kept_head kept;
	struct place place;
	struct chain chain;
	uint8_t cluster[16];
	bool good = place_parse(field_text(node, "place"), &place, NULL) && place_depth(&place) > 2 &&
		    json_is_array(records) && audit_head_read(json_object_get(node, "head"), &kept) &&
		    kept.head.at.sequence == json_array_size(records) && kept.head.at.sequence > 0;
	size_t at;

	if (!good)
		return false;
	chain_init(&chain);
	chain_begin(&chain, field_u64(node, "incarnation"), &place);
	json_array_foreach(records, at, item) good = good && check_record(checking, item, &chain, &stays);
	if (good) {
		chain_end(&chain);
		chain_judge_head(&chain, &kept);
		if (audit_node(chain.audit, cluster) == 0 || memcmp(cluster, checking->cluster, sizeof(cluster)) != 0)
			chain_find(&chain, 0, "identity", "this ledger is of another cluster");
		add_stays(checking, &chain, &stays);
	}
	stays_free(&stays);
	chain_free(&chain);
	return good;
}

static int judge_proof(const struct invocation *invocation, const json_t *proof, struct checking *checking)
{
	static const struct column columns[] = { { .title = "PLACE", .field = "place" },
		{ .title = "REPLICA", .field = "replica", .right = true }, { .title = "FROM", .field = "from" },
		{ .title = "UNTIL", .field = "until" }, { .title = "PURGED", .field = "purged", .wide = true },
		{ .title = "FINDINGS", .field = "finding_count", .right = true },
		{ .title = "LEFT OUT", .field = "left_out" }, { 0 } };
	const json_t *nodes = json_object_get(proof, "nodes"), *absent = json_object_get(proof, "absent"), *node;
	const char *first = "";
	size_t at;
	bool good = strcmp(field_text(proof, "kind"), "ResidencyProof") == 0 && json_array_size(nodes) > 0 &&
		    audit_unhex(field_text(proof, "cluster_id"), checking->cluster, sizeof(checking->cluster));

	if (good && field_u64(proof, "v") != PROOF_VERSION)
		return fail(invocation, "DOM-D003", "the proof is of another version",
			"check it with the domctl that made it, or a newer one", "v %llu",
			(unsigned long long)field_u64(proof, "v"));
	checking->shard = field_u64(proof, "shard");
	json_array_foreach(nodes, at, node) good = good && check_node(checking, node);
	good = good && json_is_array(absent);
	json_array_foreach(absent, at, node) good = good && add_absent(checking, node);
	if (!good)
		return fail(invocation, "DOM-L001", "this is no proof: it does not read as one",
			"make it with `domctl audit proof KEY --file FILE`", "%s", invocation->arguments[0]);
	json_array_foreach(checking->items, at, node)
	{
		const json_t *findings = json_object_get(node, "findings");

		if (json_array_size(findings) > 0 && first[0] == '\0')
			first = field_text(json_array_get(findings, 0), "what");
	}
	output_items(
		invocation, "ProofCheck", field_text(proof, "cluster"), json_incref(checking->items), columns, "place");
	if (checking->findings > 0)
		return fail(invocation, "DOM-L001", "the proof does not hold", NULL, "%s", first);
	if (json_array_size(absent) > 0)
		return fail(invocation, "DOM-L002", "the proof holds and leaves out nodes that were decommissioned",
			"make it anew with the files of their ledgers: `domctl audit proof KEY LEDGER...`",
			"%zu of %zu", json_array_size(absent), json_array_size(absent) + json_array_size(nodes));
	return EXIT_OK;
}

int run_audit_check(const struct invocation *invocation)
{
	struct trusted trusted;
	struct checking checking = { .trusted = &trusted };
	json_error_t error;
	json_t *proof = json_load_file(invocation->arguments[0], JSON_REJECT_DUPLICATES, &error);
	int code;

	if (proof == NULL)
		return fail(invocation, "DOM-D003", "the proof cannot be read", NULL, "%s: %s",
			invocation->arguments[0], error.text);
	code = audit_trust(invocation, &trusted);
	if (code == EXIT_OK) {
		checking.items = json_array();
		code = judge_proof(invocation, proof, &checking);
		json_decref(checking.items);
		trusted_free(&trusted);
	}
	json_decref(proof);
	return code;
}
