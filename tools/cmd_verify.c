/* tools/cmd_verify.c: domctl policy verify: every copy that any node reports to hold, and every shard of the map,
 * against the rules in force. What meta wants is one thing, what nodes hold another: this looks at both, and says where
 * they differ from what the policies say. */
#include <stdio.h>
#include <string.h>

#include "policy/placement.h"
#include "policy/plan.h"
#include "tools/errors.h"
#include "tools/output.h"
#include "tools/session.h"

enum { STATUS_TIMEOUT_MS = 3000, META_GROUP_ID = 1 };

struct verification {
	const struct session *session;
	const struct cluster_map *map;
	struct statuses *statuses;
	json_t *findings;
	uint64_t copies, shards;
};

/* shard, node 0: of none. */
static void found(struct verification *verification, const char *finding, uint64_t policy, uint64_t shard,
	uint64_t node, const char *cure, const char *what)
{
	json_t *item = json_object();
	char label[PLACE_TEXT_MAX];

	if (node != 0)
		node_label(verification->map, node, label);
	set(item, "finding", json_string(finding));
	set(item, "policy", policy == 0 ? json_null() : json_string(policy_name_of(verification->map, policy)));
	set(item, "shard", shard == 0 ? json_null() : json_id(shard));
	set(item, "node", node == 0 ? json_null() : json_id(node));
	set(item, "label", node == 0 ? json_null() : json_string(label));
	set(item, "text", json_string(what));
	set(item, "cure", json_string(cure));
	json_array_append_new(verification->findings, item);
}

/* --- what nodes hold -------------------------------------------------------------------------------- */

static void verify_copy(struct verification *verification, const struct map_node *node, uint64_t id, bool witness)
{
	const struct cluster_map *map = verification->map;
	const struct map_shard *shard = map_shard_find(map, id);
	const struct policy *policy = shard == NULL ? NULL : map_policy_find(map, shard->policy);
	struct site site;

	verification->copies += !witness;
	if (policy == NULL) {
		found(verification, "stray", 0, id, node->id, "it goes by itself when the node has the newest map",
			"the node holds a copy of a shard that the map does not have");
		return;
	}
	if (!map_site(map, &node->place, &site) ||
		!(witness ? policy_may_witness(policy, &site) : policy_may_store(policy, &site)))
		found(verification, "residency", shard->policy, id, node->id,
			shard->operation != 0 ? "an operation moves it: `domctl operation list`"
					      : "`domctl shard place` elsewhere, and look into the node's log",
			witness ? "the node holds a witness where the policy allows none"
				: "the node holds a copy where the policy allows no byte");
	else if (map_replica_on(shard->replicas, shard->replica_count, node->id) == NULL &&
		 map_replica_on(shard->wanted, shard->wanted_count, node->id) == NULL)
		found(verification, "left-over", shard->policy, id, node->id,
			"it goes by itself once its removal is settled; if it stays, look into the node's log",
			"the node holds a copy that the shard no longer has there");
}

static void verify_node(struct verification *verification, const struct map_node *node, const struct node_status *said)
{
	const json_t *replica;
	uint64_t violations = field_u64(json_object_get(said->json, "residency"), "violation_total");
	char what[160];
	size_t at;

	if (said->json == NULL) {
		found(verification, "unknown", 0, 0, node->id, "bring it back and verify again",
			"the node does not answer: nobody can say what it holds");
		return;
	}
	json_array_foreach(json_object_get(said->json, "replicas"), at, replica)
	{
		if (field_u64(replica, "shard") != META_GROUP_ID)
			verify_copy(verification, node, field_u64(replica, "shard"),
				strcmp(field_text(replica, "member"), "witness") == 0);
	}
	if (violations == 0)
		return;
	snprintf(what, sizeof(what), "the node has counted %llu residency violations, which must be 0",
		(unsigned long long)violations);
	found(verification, "violation", 0, 0, node->id, "look into its log; this is a bug in Domicile", what);
}

/* --- what shards are -------------------------------------------------------------------------------- */

static bool together(const struct policy *policy, const struct map_node *a, const struct map_node *b)
{
	const char *name = place_last(&b->place);
	struct place zone = b->place;

	if (policy->spread == SPREAD_REGION)
		return a->region == b->region;
	if (policy->spread != SPREAD_ZONE)
		return a->id == b->id;
	zone.text[strlen(zone.text) - strlen(name) - 1] = '\0';
	return place_within(&a->place, zone.text);
}

static bool spread(const struct cluster_map *map, const struct policy *policy, const struct map_shard *shard)
{
	for (unsigned i = 0; i < shard->replica_count; i++) {
		const struct map_node *a = map_node_find(map, shard->replicas[i].node);

		if (shard->replicas[i].role != ROLE_VOTER)
			continue;
		for (unsigned j = 0; j < i; j++) {
			const struct map_node *b = map_node_find(map, shard->replicas[j].node);

			if (shard->replicas[j].role == ROLE_VOTER && a != NULL && b != NULL && together(policy, a, b))
				return false;
		}
	}
	return true;
}

/* The first place of copy_in with fewer copies than it must have; NULL: none. */
static const struct copy_rule *lacking(
	const struct cluster_map *map, const struct policy *policy, const struct map_shard *shard)
{
	for (unsigned i = 0; i < policy->copy_in_count; i++) {
		const struct copy_rule *rule = &policy->copy_in[i];
		unsigned count = 0;

		for (unsigned j = 0; j < shard->replica_count; j++) {
			const struct map_node *node = map_node_find(map, shard->replicas[j].node);
			struct site site;

			count += shard->replicas[j].role == ROLE_VOTER && node != NULL &&
				 map_site(map, &node->place, &site) &&
				 selector_matches(&rule->in, &site.place, site.tags, site.tag_count);
		}
		if (count < rule->copies)
			return rule;
	}
	return NULL;
}

/* Of the copies that the map names, those that an answering node does not hold. */
static void verify_presence(struct verification *verification, const struct map_shard *shard)
{
	for (unsigned i = 0; i < shard->replica_count; i++) {
		uint64_t node = shard->replicas[i].node;
		bool answers = false;

		for (uint32_t j = 0; j < verification->statuses->count; j++)
			answers |= verification->statuses->at[j].node == node &&
				   verification->statuses->at[j].json != NULL;
		if (answers && statuses_replica(verification->statuses, node, shard->id) == NULL)
			found(verification, "missing", shard->policy, shard->id, node,
				"wait until it is settled; if it stays, look into the node's log",
				"the node does not hold the copy that the shard has there");
	}
}

static void verify_shard(struct verification *verification, const struct map_shard *shard)
{
	const struct cluster_map *map = verification->map;
	const struct policy *policy = map_policy_find(map, shard->policy);
	const char *cure = shard->operation != 0 ? "an operation moves it: `domctl operation list`"
						 : "`domctl shard place`, or apply the policy again";
	const struct copy_rule *rule;
	enum survive survives;
	char what[400];
	unsigned voters = 0;
	bool sound;

	verification->shards++;
	verify_presence(verification, shard);
	if (policy == NULL)
		return;
	for (unsigned i = 0; i < shard->replica_count; i++)
		voters += shard->replicas[i].role == ROLE_VOTER;
	if (voters != policy->copies) {
		snprintf(what, sizeof(what), "the shard has %u copies, and the policy says %u", voters, policy->copies);
		found(verification, "copies", shard->policy, shard->id, 0, cure, what);
	}
	if (!spread(map, policy, shard))
		found(verification, "spread", shard->policy, shard->id, 0, cure,
			"two copies are nearer to one another than spread allows");
	rule = lacking(map, policy, shard);
	if (rule != NULL) {
		snprintf(what, sizeof(what), "fewer than %u copies are in %s", rule->copies, rule->in.text);
		found(verification, "copy_in", shard->policy, shard->id, 0, cure, what);
	}
	survives = plan_survives(map, policy, shard->replicas, shard->replica_count, &sound);
	if (!sound || (unsigned)survives < policy->survive)
		found(verification, "survive", shard->policy, shard->id, 0, cure,
			sound ? "its copies do not survive what the policy promises"
			      : "a set that elects need not meet each that commits");
}

/* --- the verb --------------------------------------------------------------------------------------- */

static int report(struct verification *verification)
{
	static const struct column columns[] = { { .title = "FINDING", .field = "finding" },
		{ .title = "POLICY", .field = "policy" }, { .title = "SHARD", .field = "shard", .right = true },
		{ .title = "NODE", .field = "label" }, { .title = "WHAT", .field = "text" },
		{ .title = "DO", .field = "cure", .wide = true }, { 0 } };
	const struct session *session = verification->session;
	size_t count = json_array_size(verification->findings);

	if (count == 0 && session->invocation->output == OUTPUT_TABLE && !session->invocation->quiet) {
		printf("%llu copies at %u nodes and %llu shards are as the %u policies say\n",
			(unsigned long long)verification->copies, verification->statuses->count,
			(unsigned long long)verification->shards, verification->map->policy_count);
		json_decref(verification->findings);
		return EXIT_OK;
	}
	output_items(session->invocation, "FindingList", session_cluster(session), verification->findings, columns,
		"finding");
	return count == 0 ? EXIT_OK : EXIT_CHECK;
}

int run_policy_verify(const struct invocation *invocation)
{
	static struct statuses statuses;
	struct session session;
	struct verification verification = { .session = &session, .statuses = &statuses };
	int code = session_open_with_map(&session, invocation, AS_READER);

	if (code == EXIT_OK) {
		session_statuses(&session, STATUS_TIMEOUT_MS, &statuses);
		/* The map that they speak of may be newer than ours. */
		code = session_refresh(&session);
		verification.map = session.map;
		verification.findings = json_array();
		for (uint32_t i = 0; code == EXIT_OK && i < statuses.count; i++) {
			const struct map_node *node = map_node_find(session.map, statuses.at[i].node);

			if (node != NULL)
				verify_node(&verification, node, &statuses.at[i]);
		}
		for (uint32_t i = 0; code == EXIT_OK && i < session.map->shard_count; i++)
			verify_shard(&verification, &session.map->shards[i]);
		if (code == EXIT_OK)
			code = report(&verification);
		else
			json_decref(verification.findings);
		statuses_free(&statuses);
	}
	session_close(&session);
	return code;
}
