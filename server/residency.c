/* server/residency.c: the doors. Every message that carries bytes of a key or value is judged here by the attested
 * place of the other side, on its way out and again on its way in; so is every reader and every replica to be held.
 * "Refused" counts a rule at work. "Violation" counts a message that should never have come about: placement put the
 * replica where its policy forbids, or a peer sent what it may not hold. It must stay 0. */
#include "server/node_internal.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"

const char *residency_layer_name(enum residency_layer layer)
{
	static const char *const names[RESIDENCY_LAYERS] = {
		[RESIDENCY_PLACEMENT] = "placement",
		[RESIDENCY_REPLICATION_SEND] = "replication_send",
		[RESIDENCY_REPLICATION_RECEIVE] = "replication_receive",
		[RESIDENCY_STORAGE] = "storage",
		[RESIDENCY_TRANSIT] = "transit",
		[RESIDENCY_READER] = "reader",
		[RESIDENCY_WRITER] = "writer",
		[RESIDENCY_POLICY] = "policy",
		[RESIDENCY_CERTIFICATE] = "certificate",
	};
	assert(layer < RESIDENCY_LAYERS);
	return names[layer];
}

const struct residency_counters *node_residency(const struct node *node)
{
	return &node->residency;
}

static bool carries_data(const struct message *message)
{
	switch (message->kind) {
	case MESSAGE_APPEND:
		return message->append.last >= message->append.first;
	case MESSAGE_REPAIR_REPLY:
	case MESSAGE_SNAPSHOT_CHUNK:
	case MESSAGE_FORWARD:
		return true;
	default:
		return false;
	}
}

/* An entry as a witness may have it: position, term, kind, and a membership's body. */
static bool entry_bare(const struct entry *entry, struct bytes body)
{
	return entry->key_hash == 0 && entry->version == 0 && entry->origin == 0 &&
	       (entry->kind == ENTRY_MEMBERSHIP || body.size == 0);
}

/* Of a message that carries data: it carries none of keys and values. */
static bool bare(const struct message *message)
{
	const struct message_append *append = &message->append;

	if (message->kind == MESSAGE_SNAPSHOT_CHUNK)
		return message->chunk.data.size == 0 && message->chunk.count == 0;
	if (message->kind != MESSAGE_APPEND && message->kind != MESSAGE_REPAIR_REPLY)
		return false;
	for (uint64_t i = 0; append->first <= append->last && i <= append->last - append->first; i++)
		if (!entry_bare(&append->entries[i], append->bodies[i]))
			return false;
	return true;
}

/* A write that has lost its body on the way: a copy would take it for no write at all. */
static bool hollow(const struct message *message)
{
	const struct message_append *append = &message->append;

	if (message->kind != MESSAGE_APPEND && message->kind != MESSAGE_REPAIR_REPLY)
		return false;
	for (uint64_t i = 0; append->first <= append->last && i <= append->last - append->first; i++)
		if (append->entries[i].kind == ENTRY_COMMAND && append->bodies[i].size == 0)
			return true;
	return false;
}

static bool may_hold(const struct policy *policy, const struct site *site, bool witness)
{
	return witness ? policy_may_witness(policy, site) : policy_may_store(policy, site);
}

/* A node's place as meta attested it at its admission (its certificate is checked against it on every connection). */
static bool node_may_hold(const struct node *node, uint64_t policy_id, uint64_t peer, bool witness)
{
	const struct cluster_map *map = node_map_in_force(node);
	const struct policy *policy = map_policy_find(map, policy_id);
	const struct map_node *place = map_node_find(map, peer);
	struct site site;

	if (policy == NULL || place == NULL || !map_site(map, &place->place, &site))
		return false;
	return may_hold(policy, &site, witness);
}

static bool is_witness(const struct membership *membership, uint64_t peer)
{
	for (unsigned i = 0; i < membership->count; i++) {
		if (membership->at[i].node == peer)
			return member_is_witness(&membership->at[i]);
	}
	return false;
}

/* The policy was tightened so far that the voters in allowed places commit nothing by themselves: without those outside
 * the group could never be led out of there. Then the leader takes no more writes (gateway.c), and members outside get
 * the log as it was accepted before, and the memberships that relieve them; never a snapshot. */
bool residency_evacuates(const struct node *node, struct hosted *hosted)
{
	const struct membership *membership = group_membership(driver_group(hosted->driver));
	uint64_t epoch = node_map_in_force(node)->epoch;
	uint64_t term = group_term_of(driver_group(hosted->driver), membership->index); /* another may take its index */
	member_set allowed = 0;

	if (hosted->group == META_GROUP)
		return false;
	if (hosted->evacuates_epoch == epoch && hosted->evacuates_index == membership->index + 1 &&
		hosted->evacuates_term == term)
		return hosted->evacuates;
	for (unsigned i = 0; i < membership->count; i++) {
		const struct member *member = &membership->at[i];

		if (node_may_hold(node, hosted->policy, member->node, member_is_witness(member)))
			allowed |= (member_set)1 << i;
	}
	hosted->evacuates = membership->count > 0 && !quorum_commits(membership, allowed);
	hosted->evacuates_epoch = epoch;
	hosted->evacuates_index = membership->index + 1; /* 0: never judged */
	hosted->evacuates_term = term;
	return hosted->evacuates;
}

bool residency_send(struct node *node, struct hosted *hosted, uint64_t peer, const struct message *message)
{
	bool witness;

	if (hosted->group == META_GROUP || !carries_data(message))
		return true;
	witness = is_witness(group_membership(driver_group(hosted->driver)), peer);
	if (witness && !bare(message)) {
		node->residency.violation[RESIDENCY_REPLICATION_SEND]++;
		return false;
	}
	if (node_may_hold(node, hosted->policy, peer, witness))
		return true;
	if (message->kind == MESSAGE_APPEND && residency_evacuates(node, hosted))
		return true;
	/* A tightened policy evacuates its places through this very group: until the move is done the old member is
	 * still in the membership, and gets nothing more. */
	node->residency.refused[RESIDENCY_REPLICATION_SEND]++;
	return false;
}

bool residency_receive(struct node *node, struct hosted *hosted, uint64_t peer, const struct message *message)
{
	bool witness = driver_is_witness(hosted->driver);

	if (hosted->group == META_GROUP || !carries_data(message))
		return true;
	if (witness ? !bare(message) : hollow(message)) {
		node->residency.violation[RESIDENCY_REPLICATION_RECEIVE]++;
		return false;
	}
	if (!residency_hold(node, hosted->policy, witness)) {
		if (message->kind == MESSAGE_APPEND && residency_evacuates(node, hosted))
			return true;
		node->residency.refused[RESIDENCY_REPLICATION_RECEIVE]++;
		return false;
	}
	(void)peer;
	return true;
}

bool residency_adopt_send(struct node *node, uint64_t policy, uint64_t peer)
{
	if (node_may_hold(node, policy, peer, false))
		return true;
	node->residency.refused[RESIDENCY_REPLICATION_SEND]++;
	return false;
}

bool residency_adopt_receive(struct node *node, uint64_t policy, enum status judged)
{
	if (judged != STATUS_RESIDENCY_REFUSED && residency_hold(node, policy, false))
		return true;
	node->residency.refused[RESIDENCY_REPLICATION_RECEIVE]++;
	return false;
}

bool residency_hold(struct node *node, uint64_t policy_id, bool witness)
{
	const struct policy *policy = map_policy_find(node_map_in_force(node), policy_id);

	return policy != NULL && may_hold(policy, &node->site, witness);
}

bool residency_reader(struct node *node, const struct policy *policy, const struct place *place, bool write, char *why,
	size_t why_size)
{
	struct site site;
	struct text text;
	bool known = place->text[0] != '\0' && map_site(node_map_in_force(node), place, &site);

	if (known && (write ? policy_may_write(policy, &site) : policy_may_read(policy, &site)))
		return true;
	node->residency.refused[write ? RESIDENCY_WRITER : RESIDENCY_READER]++;
	text_init(&text, why, why_size);
	text_add(&text, "policy ");
	text_add(&text, policy->name);
	text_add(&text, write ? " is not written from " : " is not read from ");
	text_add(&text, place->text[0] != '\0' ? place->text : "an identity without a place");
	text_add(&text, write ? "; use a client of a place in write_from" : "; use a client of a place in read_from");
	return false;
}
