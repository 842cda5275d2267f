/* policy/rules_codec.c: a policy as bytes for meta's log, and as a line for people. What does not come from here is
 * refused by form (policy_malformed), so a decoded policy has every number in its range. */
#include "policy/rules.h"
#include "policy/rules_internal.h"

#include <assert.h>

#include "base/units.h"

/* 2 added follow and isolated, 3 witness_in, 4 erase_within: each while the map that holds policies had a version of
 * its own that is refused now, so no other one is met. */
enum { POLICY_VERSION = 4 };

static void selectors_encode(const struct selectors *selectors, struct packer *packer)
{
	assert(selectors->count <= SELECTORS_MAX);
	pack_u8(packer, selectors->count);
	for (unsigned i = 0; i < selectors->count; i++)
		pack_text(packer, selectors->at[i].text);
}

/* The kind follows from the text. Unused room stays zero, so equal policies are equal bytes in memory too. */
static void selector_decode(struct unpacker *unpacker, struct selector *selector)
{
	char text[SELECTOR_TEXT_MAX];
	unpack_text(unpacker, text, sizeof(text));
	if (unpacker->bad || !selector_parse(text, selector, NULL))
		unpacker->bad = true;
}

static void selectors_decode(struct unpacker *unpacker, struct selectors *selectors)
{
	uint8_t count = unpack_u8(unpacker);
	if (count > SELECTORS_MAX)
		unpacker->bad = true;
	for (; !unpacker->bad && selectors->count < count; selectors->count++)
		selector_decode(unpacker, &selectors->at[selectors->count]);
}

/* The rules, without what meta gives. */
static void rules_encode(const struct policy *policy, struct packer *packer)
{
	assert(policy->copy_in_count <= COPY_RULES_MAX);
	pack_text(packer, policy->name);
	selectors_encode(&policy->store_in, packer);
	selectors_encode(&policy->never_in, packer);
	selectors_encode(&policy->lead_in, packer);
	selectors_encode(&policy->read_from, packer);
	selectors_encode(&policy->write_from, packer);
	pack_u8(packer, policy->copy_in_count);
	for (unsigned i = 0; i < policy->copy_in_count; i++) {
		pack_text(packer, policy->copy_in[i].in.text);
		pack_u8(packer, policy->copy_in[i].copies);
	}
	pack_u8(packer, policy->copies);
	pack_u8(packer, policy->spread);
	pack_u8(packer, policy->survive);
	pack_u8(packer, policy->ack);
	pack_u8(packer, policy->ack_count);
	selectors_encode(&policy->ack_areas, packer);
	pack_u8(packer, policy->reads);
	pack_u8(packer, policy->transit);
	pack_u8(packer, policy->follow);
	pack_u32(packer, policy->isolated_stale_ms);
	selectors_encode(&policy->witness_in, packer);
	pack_u32(packer, policy->erase_within_s);
}

void policy_encode(const struct policy *policy, struct packer *packer)
{
	pack_u8(packer, POLICY_VERSION);
	pack_u64(packer, policy->id);
	pack_u64(packer, policy->epoch);
	rules_encode(policy, packer);
}

static void rules_decode(struct unpacker *unpacker, struct policy *policy)
{
	unpack_text(unpacker, policy->name, sizeof(policy->name));
	selectors_decode(unpacker, &policy->store_in);
	selectors_decode(unpacker, &policy->never_in);
	selectors_decode(unpacker, &policy->lead_in);
	selectors_decode(unpacker, &policy->read_from);
	selectors_decode(unpacker, &policy->write_from);
	uint8_t count = unpack_u8(unpacker);
	if (count > COPY_RULES_MAX)
		unpacker->bad = true;
	for (; !unpacker->bad && policy->copy_in_count < count; policy->copy_in_count++) {
		struct copy_rule *rule = &policy->copy_in[policy->copy_in_count];
		selector_decode(unpacker, &rule->in);
		rule->copies = unpack_u8(unpacker);
	}
	policy->copies = unpack_u8(unpacker);
	policy->spread = unpack_u8(unpacker);
	policy->survive = unpack_u8(unpacker);
	policy->ack = unpack_u8(unpacker);
	policy->ack_count = unpack_u8(unpacker);
	selectors_decode(unpacker, &policy->ack_areas);
	policy->reads = unpack_u8(unpacker);
	policy->transit = unpack_u8(unpacker);
	uint8_t follow = unpack_u8(unpacker);
	if (follow > 1)
		unpacker->bad = true;
	policy->follow = follow == 1;
	policy->isolated_stale_ms = unpack_u32(unpacker);
	selectors_decode(unpacker, &policy->witness_in);
	policy->erase_within_s = unpack_u32(unpacker);
}

enum status policy_decode(struct unpacker *unpacker, struct policy *policy)
{
	*policy = (struct policy){ 0 };
	uint8_t version = unpack_u8(unpacker);
	if (!unpacker->bad && version != POLICY_VERSION) {
		unpacker->bad = true;
		return STATUS_UNSUPPORTED;
	}
	policy->id = unpack_u64(unpacker);
	policy->epoch = unpack_u64(unpacker);
	rules_decode(unpacker, policy);
	if (!unpacker->bad && !policy_malformed(policy))
		return STATUS_OK;
	unpacker->bad = true;
	*policy = (struct policy){ 0 };
	return STATUS_INVALID;
}

static bool selectors_equal(const struct selectors *a, const struct selectors *b)
{
	if (a->count != b->count)
		return false;
	for (unsigned i = 0; i < a->count; i++)
		if (a->at[i].kind != b->at[i].kind || strcmp(a->at[i].text, b->at[i].text) != 0)
			return false;
	return true;
}

/* What `ack` means; the count of a majority, say, does not. */
static bool ack_equal(const struct policy *a, const struct policy *b)
{
	if (a->ack != b->ack)
		return false;
	if (a->ack == ACK_ALL_OF)
		return selectors_equal(&a->ack_areas, &b->ack_areas);
	return a->ack == ACK_MAJORITY || a->ack_count == b->ack_count;
}

bool policy_equal(const struct policy *a, const struct policy *b)
{
	if (strcmp(a->name, b->name) != 0)
		return false;
	if (!selectors_equal(&a->store_in, &b->store_in) || !selectors_equal(&a->never_in, &b->never_in))
		return false;
	if (!selectors_equal(&a->witness_in, &b->witness_in))
		return false;
	if (!selectors_equal(&a->read_from, &b->read_from) || !selectors_equal(&a->write_from, &b->write_from))
		return false;
	if (!selectors_equal(&a->lead_in, &b->lead_in) || a->copy_in_count != b->copy_in_count)
		return false;
	for (unsigned i = 0; i < a->copy_in_count; i++)
		if (a->copy_in[i].copies != b->copy_in[i].copies ||
			strcmp(a->copy_in[i].in.text, b->copy_in[i].in.text) != 0)
			return false;
	if (a->copies != b->copies || a->spread != b->spread || a->survive != b->survive)
		return false;
	if (a->follow != b->follow || a->isolated_stale_ms != b->isolated_stale_ms)
		return false;
	if (a->erase_within_s != b->erase_within_s)
		return false;
	return ack_equal(a, b) && a->reads == b->reads && a->transit == b->transit;
}

/* --- for people ------------------------------------------------------------------------------------ */

static void describe_selectors(const char *before, const struct selectors *selectors, struct text *text)
{
	if (selectors->count == 0)
		return;
	text_add(text, before);
	for (unsigned i = 0; i < selectors->count; i++) {
		text_add(text, i > 0 ? ", " : "");
		text_add(text, selectors->at[i].text);
	}
}

static void describe_ack(const struct policy *policy, struct text *text)
{
	text_add(text, "; ack ");
	switch (policy->ack) {
	case ACK_COPIES:
	case ACK_REGIONS:
		text_add_u64(text, policy->ack_count);
		text_add(text, policy->ack == ACK_COPIES ? " copies" : " regions");
		break;
	case ACK_ALL_OF:
		describe_selectors("all of ", &policy->ack_areas, text);
		break;
	default:
		text_add(text, policy->witness_in.count == 0 ? "majority" : "both copies, one while the other is lost");
	}
}

void policy_describe(const struct policy *policy, struct text *text)
{
	describe_selectors("store_in ", &policy->store_in, text);
	describe_selectors("; never_in ", &policy->never_in, text);
	text_add(text, "; ");
	text_add_u64(text, policy->copies);
	if (policy->copies == 1) {
		text_add(text, " copy");
	} else {
		text_add(text, " copies, no two on one ");
		text_add(text, spread_name(policy->spread));
	}
	for (unsigned i = 0; i < policy->copy_in_count; i++) {
		text_add(text, i == 0 ? "; at least " : ", ");
		text_add_u64(text, policy->copy_in[i].copies);
		text_add(text, " in ");
		text_add(text, policy->copy_in[i].in.text);
	}
	describe_selectors("; a witness without data in ", &policy->witness_in, text);
	text_add(text, policy->survive == SURVIVE_NONE ? "; survives no loss" : "; survives the loss of a ");
	text_add(text, policy->survive == SURVIVE_NONE ? "" : survive_name(policy->survive));
	describe_ack(policy, text);
	text_add(text, policy->reads == READS_LOCAL ? "; reads local" : "; reads leader");
	describe_selectors("; lead_in ", &policy->lead_in, text);
	text_add(text, policy->follow ? "; follow" : "");
	describe_selectors("; read_from ", &policy->read_from, text);
	describe_selectors("; write_from ", &policy->write_from, text);
	text_add(text, policy->transit == TRANSIT_ANY ? "; transit any" : "; transit stay");
	if (policy->isolated_stale_ms > 0) {
		char stale[UNITS_TEXT_MAX];
		text_add(text, "; isolated stale ");
		text_add(text, format_duration(stale, sizeof(stale), (uint64_t)policy->isolated_stale_ms * 1000));
	}
	if (policy->erase_within_s != ERASE_WITHIN_S_DEFAULT) {
		char within[UNITS_TEXT_MAX];
		text_add(text, "; erase within ");
		text_add(text, format_duration(within, sizeof(within), (uint64_t)policy->erase_within_s * 1000000));
	}
}
