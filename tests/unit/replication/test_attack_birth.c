/* tests/unit/replication/test_attack_birth.c: two first members of a shard, one of which comes to its replica after the
 * policy was changed. By their own maps, each right when it was taken, they must be born into the same membership. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/placement.h"
#include "policy/quorum.h"
#include "tests/unit/replication/meta_map.h"

static struct change change;

static void apply(struct cluster_map *map)
{
	struct meta_result result;
	meta_apply(map, &change, &result);
	if (result.status != STATUS_OK)
		fail_msg("%s", result.flaw.reason);
	meta_check(map);
}

static void apply_policy(struct cluster_map *map, uint8_t ack_copies)
{
	struct policy policy = policy_of("five", "eu", 5, SPREAD_NODE);
	policy.ack = ack_copies ? ACK_COPIES : ACK_MAJORITY;
	policy.ack_count = ack_copies;
	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_APPLY;
	change.policies = &policy;
	change.policy_count = 1;
	apply(map);
}

static struct cluster_map *five_nodes(void)
{
	struct cluster_map *map = map_new();
	change_init(&change, "eu/ie/eu-west-1", "eu/ie/eu-west-1/a/n1");
	apply(map);
	for (unsigned i = 2; i <= 5; i++) {
		char place[64] = "eu/ie/eu-west-1/a/n0";
		place[strlen(place) - 1] = (char)('0' + i);
		change_node(&change, place, i);
		apply(map);
	}
	return map;
}

/* Two of five acknowledge, two come late: by the changed policy three would elect, and none of them need be one of the
 * two. */
static void test_who_is_born_late_is_born_alike(void **state)
{
	(void)state;
	struct cluster_map *map = five_nodes();
	apply_policy(map, 2);
	struct membership early, late, by_policy;
	assert_true(placement_birth(map, &map->shards[0], &early));
	assert_int_equal(early.rule_new.copies, 2);
	apply_policy(map, 0);
	const struct map_shard *shard = &map->shards[0];
	assert_int_equal(shard->generation, 0);
	const struct policy *policy = map_policy_find(map, shard->policy);
	assert_true(placement_membership(map, policy, shard->replicas, shard->replica_count, &by_policy));
	assert_true(quorum_commits(&early, 0x3));
	assert_true(quorum_elects(&by_policy, 0x1c)); /* who is born by the policy of now loses what was acknowledged */
	assert_true(placement_birth(map, shard, &late));
	assert_false(quorum_elects(&late, 0x1c));
	assert_memory_equal(&early.rule_new, &late.rule_new, sizeof(early.rule_new));
	assert_int_equal(early.count, late.count);
	for (unsigned i = 0; i < early.count; i++)
		assert_memory_equal(&early.at[i], &late.at[i], sizeof(early.at[i]));
	free(map);
}

/* And it is so in the map that a node gets as bytes. */
static void test_the_birth_is_in_the_map(void **state)
{
	(void)state;
	struct cluster_map *map = five_nodes(), *copy = map_new();
	apply_policy(map, 2);
	apply_policy(map, 0);
	struct packer packer;
	pack_init(&packer, NULL, 0);
	cluster_map_encode(map, &packer);
	uint8_t *bytes = malloc(packer.size);
	pack_init(&packer, bytes, packer.size);
	cluster_map_encode(map, &packer);
	assert_int_equal(cluster_map_decode(pack_result(&packer), copy), STATUS_OK);
	assert_int_equal(meta_digest(copy), meta_digest(map));
	struct membership here, there;
	assert_true(placement_birth(map, &map->shards[3], &here));
	assert_true(placement_birth(copy, &copy->shards[3], &there));
	assert_memory_equal(&here.rule_new, &there.rule_new, sizeof(here.rule_new));
	assert_int_equal(there.rule_new.copies, 2);
	free(bytes);
	free(copy);
	free(map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_is_born_late_is_born_alike),
		cmocka_unit_test(test_the_birth_is_in_the_map),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
