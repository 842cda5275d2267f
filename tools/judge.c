/* tools/judge.c: see tools/judge.h. */
#include "tools/judge.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

void selectors_text(const struct selectors *selectors, char *out, size_t capacity)
{
	struct text text;

	text_init(&text, out, capacity);
	text_add(&text, "[");
	for (unsigned i = 0; i < selectors->count; i++) {
		text_add(&text, i == 0 ? "" : ", ");
		text_add(&text, selectors->at[i].text);
	}
	text_add(&text, "]");
}

void judge_policy(const struct policy *policy, const struct site *site, bool write, struct judgement *judgement)
{
	const struct selectors *allowed = write ? &policy->write_from : &policy->read_from;
	const char *field = write ? "write_from" : "read_from";
	char list[512];

	selectors_text(allowed, list, sizeof(list));
	judgement->policy = policy;
	snprintf(judgement->rule, sizeof(judgement->rule), "%s = %s", field, list);
	if (write ? policy_may_write(policy, site) : policy_may_read(policy, site))
		return;
	judgement->code = write ? "DOM-R003" : "DOM-R002";
	snprintf(judgement->reason, sizeof(judgement->reason), "policy %s has %s, and this client's place is %s",
		policy->name, judgement->rule,
		site->place.text[0] == '\0' ? "none (an administrator touches no key)" : site->place.text);
	snprintf(judgement->cure, sizeof(judgement->cure),
		"act as a client there (--as-region), or widen %s of policy %s", field, policy->name);
}

void judge(const struct cluster_map *map, struct bytes key, const struct place *place, bool write,
	struct judgement *judgement)
{
	struct site site;

	memset(judgement, 0, sizeof(*judgement));
	judgement->binding = map_binding_of(map, key);
	if (judgement->binding == NULL) {
		judgement->code = "DOM-R001";
		snprintf(judgement->rule, sizeof(judgement->rule), "no binding, no place");
		snprintf(judgement->reason, sizeof(judgement->reason),
			"no binding covers this key, so nothing says where it may be");
		snprintf(judgement->cure, sizeof(judgement->cure),
			"bind its prefix: `domctl binding set PREFIX POLICY`");
		return;
	}
	judgement->policy = map_policy_find(map, judgement->binding->policy);
	judgement->shard = map_shard_of(map, judgement->binding->policy, key);
	assert(judgement->policy != NULL);
	if (!map_site(map, place, &site)) {
		memset(&site, 0, sizeof(site));
		site.place = *place;
	}
	judge_policy(judgement->policy, &site, write, judgement);
	if (judgement->code == NULL && write && map_binding_pending_of(map, key) != NULL) {
		judgement->code = "DOM-R004";
		snprintf(judgement->reason, sizeof(judgement->reason),
			"operation %llu decides on a new binding of this key",
			(unsigned long long)map_binding_pending_of(map, key)->pending_operation);
		snprintf(judgement->cure, sizeof(judgement->cure), "wait for it: `domctl operation wait %llu`",
			(unsigned long long)map_binding_pending_of(map, key)->pending_operation);
	}
}
