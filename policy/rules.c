/* policy/rules.c: see policy/rules.h: defaults, contradictions, and what a policy says of one site. Its bytes and
 * words are in rules_codec.c, the order of policies in tighten.c. */
#include "policy/rules.h"
#include "policy/rules_internal.h"

#include <assert.h>
#include <limits.h>

static bool selects(const struct selectors *selectors, const struct site *site)
{
	assert(selectors->count <= SELECTORS_MAX);
	assert(site->tag_count <= TAGS_MAX);
	for (unsigned i = 0; i < selectors->count; i++)
		if (selector_matches(&selectors->at[i], &site->place, site->tags, site->tag_count))
			return true;
	return false;
}

bool policy_may_store(const struct policy *policy, const struct site *site)
{
	return selects(&policy->store_in, site) && !selects(&policy->never_in, site);
}

bool policy_may_witness(const struct policy *policy, const struct site *site)
{
	return selects(&policy->witness_in, site);
}

bool policy_may_read(const struct policy *policy, const struct site *site)
{
	return selects(&policy->read_from, site);
}

bool policy_may_write(const struct policy *policy, const struct site *site)
{
	return selects(&policy->write_from, site);
}

bool policy_may_relay(const struct policy *policy, const struct site *site)
{
	return policy->transit == TRANSIT_ANY || policy_may_store(policy, site);
}

unsigned policy_lead_rank(const struct policy *policy, const struct site *site)
{
	if (!policy_may_store(policy, site))
		return UINT_MAX;
	if (policy->lead_in.count == 0)
		return 0;
	for (unsigned i = 0; i < policy->lead_in.count; i++)
		if (selector_matches(&policy->lead_in.at[i], &site->place, site->tags, site->tag_count))
			return i;
	return UINT_MAX;
}

/* `copies` replaces the majority, so it may be less than one (elections then ask for more) or more. The others come
 * on top of the majority. */
struct quorum_rule policy_quorum_rule(const struct policy *policy)
{
	struct quorum_rule rule = { 0 };
	switch (policy->ack) {
	case ACK_COPIES:
		rule.voters = policy->ack_count;
		rule.copies = policy->ack_count;
		break;
	case ACK_REGIONS:
		rule.regions = policy->ack_count;
		break;
	case ACK_ALL_OF:
		assert(policy->ack_areas.count <= AREAS_MAX);
		rule.areas = (uint8_t)((1u << policy->ack_areas.count) - 1);
		break;
	default:
		assert(policy->ack == ACK_MAJORITY);
		if (policy->witness_in.count > 0) { /* both copies while both are there */
			rule.copies = WITNESSED_COPIES;
			rule.degrade = DEGRADE_MAY;
		}
	}
	return rule;
}

uint8_t policy_areas(const struct policy *policy, const struct site *site)
{
	uint8_t areas = 0;
	for (unsigned i = 0; policy->ack == ACK_ALL_OF && i < policy->ack_areas.count; i++)
		if (selector_matches(&policy->ack_areas.at[i], &site->place, site->tags, site->tag_count))
			areas |= (uint8_t)(1u << i);
	return areas;
}

/* --- texts for people ------------------------------------------------------------------------------ */

bool flaw_set(struct flaw *flaw, const struct policy *policy, const char *const reason[], const char *const cure[])
{
	*flaw = (struct flaw){ .line = policy->line };
	struct text text;
	text_init(&text, flaw->reason, sizeof(flaw->reason));
	for (; *reason; reason++)
		text_add(&text, *reason);
	text_init(&text, flaw->cure, sizeof(flaw->cure));
	for (; *cure; cure++)
		text_add(&text, *cure);
	return false;
}

const char *number_text(char out[NUMBER_TEXT_MAX], uint64_t number)
{
	struct text text;
	text_init(&text, out, NUMBER_TEXT_MAX);
	text_add_u64(&text, number);
	return out;
}

const char *survive_name(unsigned survive)
{
	static const char *const names[] = { "none", "node", "zone", "region" };
	return survive <= SURVIVE_REGION ? names[survive] : "?";
}

const char *spread_name(unsigned spread)
{
	static const char *const names[] = { "?", "node", "zone", "region" };
	return spread <= SPREAD_REGION ? names[spread] : "?";
}

/* --- the best that the numbers allow ------------------------------------------------------------------ */

/* The policy's copies as they lie where everything is as good as it can be: each in a region of its own, and in every
 * area that ack names (areas may contain one another, so nothing less is certain). The witness likewise. */
static void best_case(const struct policy *policy, struct membership *membership)
{
	assert(policy->copies <= COPIES_MAX);
	*membership = (struct membership){ .count = policy->copies, .rule_new = policy_quorum_rule(policy) };
	for (uint8_t i = 0; i < policy->copies; i++)
		membership->at[i] = (struct member){ .replica = i + 1u,
			.node = i + 1u,
			.role_new = ROLE_VOTER,
			.region = i,
			.zone = i,
			.areas = membership->rule_new.areas };
	if (policy->witness_in.count > 0)
		membership_add_witness(membership, policy->copies + 1u, policy->copies + 1u);
}

static bool best_case_survives(const struct policy *policy, enum survive survive, struct quorum_flaw *flaw)
{
	struct membership membership;
	best_case(policy, &membership);
	return quorum_check(&membership, survive, flaw);
}

/* --- defaults ---------------------------------------------------------------------------------------------- */

static bool selector_equal(const struct selector *a, const struct selector *b)
{
	return a->kind == b->kind && strcmp(a->text, b->text) == 0;
}

/* Copies that copy_in asks for in just this place. */
static unsigned copies_asked_in(const struct policy *policy, const struct selector *selector)
{
	for (unsigned i = 0; i < policy->copy_in_count; i++)
		if (selector_equal(&policy->copy_in[i].in, selector))
			return policy->copy_in[i].copies;
	return 0;
}

/* What the spread names, if the numbers can carry it. An area of ack with a single copy cannot lose it. */
static uint8_t survive_default(const struct policy *policy)
{
	if (policy->spread < SPREAD_NODE || policy->spread > SPREAD_REGION)
		return SURVIVE_NONE;
	if (policy->copies < 1 || policy->copies > COPIES_MAX)
		return SURVIVE_NONE;
	if (policy->ack > ACK_ALL_OF || policy->ack_areas.count > AREAS_MAX)
		return SURVIVE_NONE;
	for (unsigned i = 0; policy->ack == ACK_ALL_OF && i < policy->ack_areas.count; i++)
		if (copies_asked_in(policy, &policy->ack_areas.at[i]) < 2)
			return SURVIVE_NONE;
	static_assert((int)SPREAD_NODE == (int)SURVIVE_NODE, "a spread gives the survival of its own name");
	static_assert((int)SPREAD_REGION == (int)SURVIVE_REGION, "a spread gives the survival of its own name");
	struct quorum_flaw flaw;
	return best_case_survives(policy, (enum survive)policy->spread, &flaw) ? policy->spread : SURVIVE_NONE;
}

void policy_complete(struct policy *policy, uint32_t given)
{
	const bool witness = policy->witness_in.count > 0;
	if (!(given & FIELD_COPIES))
		policy->copies = witness ? WITNESSED_COPIES : 3;
	if (!(given & FIELD_SPREAD))
		policy->spread = witness ? SPREAD_REGION : SPREAD_NODE;
	if (!(given & FIELD_ACK))
		policy->ack = ACK_MAJORITY;
	if (!(given & FIELD_READS))
		policy->reads = READS_LEADER;
	if (!(given & FIELD_READ_FROM))
		policy->read_from = policy->store_in;
	if (!(given & FIELD_WRITE_FROM))
		policy->write_from = policy->store_in;
	if (!(given & FIELD_TRANSIT))
		policy->transit = TRANSIT_STAY;
	if (!(given & FIELD_ERASE_WITHIN))
		policy->erase_within_s = ERASE_WITHIN_S_DEFAULT;
	if (!(given & FIELD_SURVIVE))
		policy->survive = survive_default(policy);
}

/* --- contradictions -------------------------------------------------------------------------------------------- */

bool selector_covers(const struct selector *outer, const struct selector *inner)
{
	if (outer->kind == SELECTOR_ANY)
		return true;
	if (outer->kind != inner->kind)
		return false;
	if (outer->kind == SELECTOR_TAG)
		return strcmp(outer->text, inner->text) == 0;
	size_t size = strlen(outer->text);
	return strncmp(inner->text, outer->text, size) == 0 && (inner->text[size] == 0 || inner->text[size] == '/');
}

bool selectors_cover(const struct selectors *outer, const struct selector *inner)
{
	for (unsigned i = 0; i < outer->count; i++)
		if (selector_covers(&outer->at[i], inner))
			return true;
	return false;
}

/* Whether one site could match both. Only places are known to be apart. */
static bool selectors_touch(const struct selector *a, const struct selector *b)
{
	if (a->kind != SELECTOR_PLACE || b->kind != SELECTOR_PLACE)
		return true;
	return selector_covers(a, b) || selector_covers(b, a);
}

static bool selector_valid(const struct selector *selector)
{
	struct selector parsed;
	if (!memchr(selector->text, 0, sizeof(selector->text)))
		return false;
	return selector_parse(selector->text, &parsed, NULL) && parsed.kind == selector->kind;
}

static bool selectors_valid(const struct selectors *selectors)
{
	if (selectors->count > SELECTORS_MAX)
		return false;
	for (unsigned i = 0; i < selectors->count; i++)
		if (!selector_valid(&selectors->at[i]))
			return false;
	return true;
}

static bool name_valid(const char *name)
{
	const char *end = memchr(name, 0, POLICY_NAME_MAX);
	if (!end || end == name || name[0] == '-')
		return false;
	for (const char *c = name; c < end; c++)
		if (!((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '-'))
			return false;
	return true;
}

/* Every number within its range and every text of its form: what the rest of policy/ asserts, and what a decoder must
 * ask. NULL, or the field that is not. */
const char *policy_malformed(const struct policy *policy)
{
	if (!name_valid(policy->name))
		return "name";
	if (!selectors_valid(&policy->store_in) || policy->store_in.count == 0)
		return "store_in";
	if (!selectors_valid(&policy->never_in))
		return "never_in";
	if (!selectors_valid(&policy->witness_in))
		return "witness_in";
	if (!selectors_valid(&policy->lead_in))
		return "lead_in";
	if (!selectors_valid(&policy->read_from))
		return "read_from";
	if (!selectors_valid(&policy->write_from))
		return "write_from";
	if (policy->copies < 1 || policy->copies > COPIES_MAX)
		return "copies";
	if (policy->spread < SPREAD_NODE || policy->spread > SPREAD_REGION)
		return "spread";
	if (policy->copy_in_count > COPY_RULES_MAX)
		return "copy_in";
	for (unsigned i = 0; i < policy->copy_in_count; i++)
		if (!selector_valid(&policy->copy_in[i].in) || policy->copy_in[i].copies == 0)
			return "copy_in";
	if (policy->survive > SURVIVE_REGION)
		return "survive";
	if (policy->ack > ACK_ALL_OF || policy->ack_areas.count > AREAS_MAX || !selectors_valid(&policy->ack_areas))
		return "ack";
	bool counted = policy->ack == ACK_COPIES || policy->ack == ACK_REGIONS;
	if ((counted && policy->ack_count == 0) || (policy->ack == ACK_ALL_OF && policy->ack_areas.count == 0))
		return "ack";
	if (policy->reads > READS_LOCAL)
		return "reads";
	if (policy->isolated_stale_ms > ISOLATED_STALE_MS_MAX)
		return "isolated";
	if (policy->erase_within_s < ERASE_WITHIN_S_MIN || policy->erase_within_s > ERASE_WITHIN_S_MAX)
		return "erase_within";
	return policy->transit > TRANSIT_ANY ? "transit" : NULL;
}

static bool check_form(const struct policy *policy, struct flaw *flaw)
{
	const char *field = policy_malformed(policy);
	if (!field)
		return true;
	if (strcmp(field, "name") == 0)
		return flaw_set(flaw, policy,
			REASON("the name of a policy is a-z, 0-9 and -, begins with no -, and has 1 to 63 characters"),
			CURE("rename it"));
	if (strcmp(field, "store_in") == 0 && policy->store_in.count == 0)
		return flaw_set(flaw, policy, REASON("store_in is empty, so no byte of the keys could be anywhere"),
			CURE("name the places, for example store_in: [eu], or [\"*\"] for all"));
	if (strcmp(field, "copies") == 0) {
		char number[NUMBER_TEXT_MAX];
		return flaw_set(flaw, policy,
			REASON("copies is ", number_text(number, policy->copies), ", and a policy has 1 to 7"),
			CURE("set copies: 3, or 5 to lose two at once"));
	}
	if (strcmp(field, "copy_in") == 0)
		return flaw_set(flaw, policy,
			REASON("copy_in asks for no copy in a place, or names no place or tag, or has more than 8 "
			       "entries"),
			CURE("write copy_in: { eu/de: 1 }; leave out what asks for nothing"));
	if (strcmp(field, "ack") == 0)
		return flaw_set(flaw, policy, REASON("ack asks for nothing, or for more than 8 areas"),
			CURE("write ack: majority, { copies: 2 }, { regions: 2 } or { all_of: [eu/de, eu/fr] }"));
	return flaw_set(flaw, policy, REASON(field, " has a value that it cannot have, or more than 16 entries"),
		CURE("see docs/policy.md for what ", field, " may hold"));
}

/* Each selector must leave something of store_in minus never_in, as far as texts can tell. */
static bool check_reachable(
	const struct policy *policy, const char *field, const struct selector *selector, struct flaw *flaw)
{
	bool touches = false;
	for (unsigned i = 0; i < policy->store_in.count; i++)
		touches |= selectors_touch(selector, &policy->store_in.at[i]);
	if (!touches)
		return flaw_set(flaw, policy,
			REASON(field, " names ", selector->text, ", where store_in allows no byte"),
			CURE("add ", selector->text, " to store_in, or take it out of ", field));
	if (selectors_cover(&policy->never_in, selector))
		return flaw_set(flaw, policy, REASON(field, " names ", selector->text, ", which never_in forbids"),
			CURE("take ", selector->text, " out of ", field, ", or out of never_in"));
	return true;
}

static bool check_places(const struct policy *policy, struct flaw *flaw)
{
	unsigned left = 0;
	for (unsigned i = 0; i < policy->store_in.count; i++)
		left += !selectors_cover(&policy->never_in, &policy->store_in.at[i]);
	if (left == 0)
		return flaw_set(flaw, policy, REASON("never_in forbids every place that store_in allows"),
			CURE("name a place in store_in that never_in does not contain"));
	for (unsigned i = 0; i < policy->copy_in_count; i++)
		if (!check_reachable(policy, "copy_in", &policy->copy_in[i].in, flaw))
			return false;
	for (unsigned i = 0; i < policy->lead_in.count; i++)
		if (!check_reachable(policy, "lead_in", &policy->lead_in.at[i], flaw))
			return false;
	for (unsigned i = 0; policy->ack == ACK_ALL_OF && i < policy->ack_areas.count; i++)
		if (!check_reachable(policy, "ack", &policy->ack_areas.at[i], flaw))
			return false;
	return true;
}

/* Copies that rule i needs: its own number, or what the rules inside its place need together. Of equal places only
 * the first counts, with the largest number. */
static unsigned copies_needed_by(const struct policy *policy, unsigned i)
{
	const struct copy_rule *rules = policy->copy_in;
	unsigned own = rules[i].copies;
	unsigned inside = 0;
	for (unsigned j = 0; j < policy->copy_in_count; j++) {
		if (j == i || rules[j].in.kind != SELECTOR_PLACE || !selector_covers(&rules[i].in, &rules[j].in))
			continue;
		if (selector_equal(&rules[i].in, &rules[j].in)) {
			own = rules[j].copies > own ? rules[j].copies : own;
			continue;
		}
		bool outermost = true; /* of those inside i */
		for (unsigned k = 0; k < policy->copy_in_count; k++) {
			if (k == j || k == i || selector_equal(&rules[k].in, &rules[i].in))
				continue;
			bool between = selector_covers(&rules[i].in, &rules[k].in) &&
				       selector_covers(&rules[k].in, &rules[j].in);
			if (between && (!selector_equal(&rules[k].in, &rules[j].in) || k < j))
				outermost = false;
		}
		if (outermost)
			inside += copies_needed_by(policy, j);
	}
	return own > inside ? own : inside;
}

/* Places apart from one another need copies of their own; a tag may lie anywhere, so it stands alone. */
static unsigned copies_needed(const struct policy *policy)
{
	unsigned places = 0;
	unsigned most = 0;
	for (unsigned i = 0; i < policy->copy_in_count; i++) {
		const struct selector *in = &policy->copy_in[i].in;
		unsigned needed = copies_needed_by(policy, i);
		bool outermost = in->kind == SELECTOR_PLACE;
		for (unsigned j = 0; j < policy->copy_in_count; j++) {
			const struct selector *other = &policy->copy_in[j].in;
			if (j == i || other->kind != SELECTOR_PLACE || !selector_covers(other, in))
				continue;
			if (!selector_equal(other, in) || j < i)
				outermost = false;
		}
		if (outermost)
			places += needed;
		most = needed > most ? needed : most;
	}
	return places > most ? places : most;
}

static bool check_numbers(const struct policy *policy, struct flaw *flaw)
{
	char copies[NUMBER_TEXT_MAX];
	char asked[NUMBER_TEXT_MAX];
	number_text(copies, policy->copies);
	unsigned needed = copies_needed(policy);
	number_text(asked, needed);
	if (needed > policy->copies)
		return flaw_set(flaw, policy, REASON("copy_in asks for ", asked, " copies, but copies is ", copies),
			CURE("set copies: ", asked, ", or ask for fewer in copy_in"));
	number_text(asked, policy->ack_count);
	if (policy->ack == ACK_COPIES && policy->ack_count > policy->copies)
		return flaw_set(flaw, policy, REASON("ack asks for ", asked, " copies, but copies is ", copies),
			CURE("set copies: ", asked, ", or ack: { copies: ", copies, " } or fewer"));
	if (policy->ack == ACK_REGIONS && policy->ack_count > policy->copies)
		return flaw_set(flaw, policy,
			REASON("ack asks for ", asked, " regions, but ", copies, " copies lie in at most so many"),
			CURE("set copies: ", asked, " with spread: region, or ask for fewer regions"));
	return true;
}

static bool check_survive(const struct policy *policy, struct flaw *flaw)
{
	char copies[NUMBER_TEXT_MAX];
	number_text(copies, policy->copies);
	const char *fault = survive_name(policy->survive);
	struct quorum_flaw quorum;
	if (!best_case_survives(policy, (enum survive)policy->survive, &quorum)) {
		switch (quorum.kind) {
		case QUORUM_LOSS_STOPS_WRITES:
			if (policy->witness_in.count > 0)
				return flaw_set(flaw, policy,
					REASON("survive is ", fault,
						", but ack asks for both copies always: writes would stop when one is "
						"lost"),
					CURE("leave ack out, so that one copy and the witness will do meanwhile, or "
					     "leave survive out"));
			return flaw_set(flaw, policy,
				REASON("survive is ", fault, ", but of ", copies,
					" copies, ack needs more than are left when one is lost: writes would stop"),
				CURE("set copies: 3 or more with ack: majority, or leave survive out"));
		case QUORUM_LOSS_STOPS_ELECTIONS:
			return flaw_set(flaw, policy,
				REASON("survive is ", fault,
					", but ack asks for so few copies that no leader can be elected when one is "
					"lost"),
				CURE("raise ack, for example ack: majority, or leave survive out"));
		case QUORUM_LOSS_LOSES_DATA:
			return flaw_set(flaw, policy,
				REASON("survive is ", fault,
					", but a write acknowledged by one copy is lost with that copy"),
				CURE("set ack: majority, or leave survive out"));
		default:
			return flaw_set(flaw, policy, REASON("ack cannot be met by all ", copies, " copies together"),
				CURE("set ack: majority, or raise copies"));
		}
	}
	/* Where two copies may share what is lost, a rule that can lose only one cannot survive it. */
	unsigned votes = policy->ack == ACK_COPIES ? policy->ack_count : policy->copies / 2u + 1;
	bool shares = policy->survive > policy->spread;
	if (shares && policy->copies < votes + 2u)
		return flaw_set(flaw, policy,
			REASON("survive is ", fault, ", but spread is ", spread_name(policy->spread), ": two of the ",
				copies, " copies could be lost with one ", fault, ", and ack can spare only one"),
			CURE("set spread: ", fault, ", or copies: 5"));
	return true;
}

/* With more copies each region needs no witness, with fewer there is nobody to elect. */
static bool check_witness(const struct policy *policy, struct flaw *flaw)
{
	if (policy->witness_in.count == 0)
		return true;
	if (policy->copies != WITNESSED_COPIES || policy->spread != SPREAD_REGION)
		return flaw_set(flaw, policy,
			REASON("witness_in is for two copies in two regions: copies: 2 with spread: region"),
			CURE("leave copies and spread out, or leave witness_in out and keep three copies or more"));
	bool both = (policy->ack == ACK_COPIES || policy->ack == ACK_REGIONS) && policy->ack_count == WITNESSED_COPIES;
	if (policy->ack != ACK_MAJORITY && !both)
		return flaw_set(flaw, policy,
			REASON("with witness_in, ack is majority (both copies, or one and the witness while the "
			       "other is lost), { copies: 2 } or { regions: 2 } (both copies, always)"),
			CURE("leave ack out, or write { copies: 2 }"));
	return true;
}

bool policy_check(const struct policy *policy, struct flaw *flaw)
{
	*flaw = (struct flaw){ 0 };
	return check_form(policy, flaw) && check_places(policy, flaw) && check_numbers(policy, flaw) &&
	       check_witness(policy, flaw) && check_survive(policy, flaw);
}

/* --- rules without effect -------------------------------------------------------------------------------------- */

/* How many leader places there are is known only with the nodes; what the texts alone tell. A place of one component
 * may hold several regions; a longer one is likely one of them, or within one. */
bool policy_doubt(const struct policy *policy, struct flaw *flaw)
{
	*flaw = (struct flaw){ 0 };
	for (unsigned i = 0; i < policy->witness_in.count; i++) {
		const struct selector *selector = &policy->witness_in.at[i];
		if (!selectors_cover(&policy->store_in, selector) || selectors_cover(&policy->never_in, selector))
			continue;
		flaw_set(flaw, policy,
			REASON("witness_in names ", selector->text,
				", where copies may be: in a region with a copy the witness would be lost with "
				"it, so it is never put there"),
			CURE("name a place outside store_in"));
		return true;
	}
	if (!policy->follow)
		return false;
	if (policy->copies == 1) {
		flaw_set(flaw, policy, REASON("follow has no effect: there is one copy, and it leads"),
			CURE("raise copies, or leave follow out"));
		return true;
	}
	const struct selector *only = &policy->lead_in.at[0];
	if (policy->lead_in.count != 1 || only->kind != SELECTOR_PLACE || strchr(only->text, '/') == NULL)
		return false;
	flaw_set(flaw, policy,
		REASON("follow has no effect if ", only->text,
			" is one region: it is the only place that lead_in names"),
		CURE("name a second place in lead_in, or leave follow out"));
	return true;
}
