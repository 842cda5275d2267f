/* Disorder from a seed: loss, duplicates, reordering, slow disks, crashes, cuts in one and both directions, changes,
 * transfers, compaction, reads everywhere. cluster.h checks safety all along; in the end all is healed and the group
 * must lead, commit and agree. A failure prints its seed; TRACE=1 SEED=n ... tells the story. */
#include "tests/unit/replication/cluster.h"

static void compact(struct cluster *cluster, unsigned at)
{
	struct node *node = &cluster->nodes[at];
	node->applied_durable = node->committed;
	uint64_t index = node->committed;
	if (index <= node->disk.base || index > node->disk.last)
		return;
	/* A snapshot was put in place, the write that tells the journal so is still under way. */
	if (node->disk.log[index].entry.term != cluster->history[index].term)
		return;
	node->disk.base_term = node->disk.log[index].entry.term;
	node->disk.base = index;
	node->disk.membership = node->snapshot_membership;
	struct group_event event = { .kind = GROUP_COMPACTED };
	event.compacted.index = index;
	step(cluster, at, &event);
}

/* Another copy or another witness; a replica keeps its role for life. */
static void change_witnessed(struct cluster *cluster, unsigned leader)
{
	const struct membership *now = group_membership(cluster->nodes[leader].group);
	const bool local_reads = now->local_reads;
	char roles[NODES_MAX + 1] = { 0 };
	memset(roles, '-', cluster->count);
	unsigned copies = 0, witnesses = cluster->count - 1;
	roles[witnesses - (unsigned)prng_below(&cluster->prng, 2)] = 'w';
	while (copies < 2) {
		unsigned at = (unsigned)prng_below(&cluster->prng, cluster->count - 2);
		if (roles[at] == 'v')
			continue;
		roles[at] = 'v';
		copies++;
	}
	struct membership wanted = witnessed_of(roles);
	wanted.local_reads = local_reads != prng_chance(&cluster->prng, 200000);
	change(cluster, leader, &wanted, ++cluster->version);
}

static void change_something(struct cluster *cluster, unsigned leader)
{
	if (group_membership(cluster->nodes[leader].group)->rule_new.degrade != DEGRADE_NEVER) {
		change_witnessed(cluster, leader);
		return;
	}
	struct membership wanted = *group_membership(cluster->nodes[leader].group);
	char roles[NODES_MAX + 1] = { 0 };
	unsigned voters = 0;
	for (unsigned i = 0; i < cluster->count; i++) {
		int at = membership_find(&wanted, i + 1);
		uint8_t role = at < 0 ? ROLE_NONE : wanted.at[at].role_new;
		if (prng_chance(&cluster->prng, 300000))
			role = (uint8_t)prng_below(&cluster->prng, 3);
		roles[i] = role == ROLE_VOTER ? 'v' : role == ROLE_LEARNER ? 'l' : '-';
		voters += role == ROLE_VOTER;
	}
	if (voters == 0)
		return;
	bool local_reads = wanted.local_reads;
	wanted = membership_of(roles);
	wanted.local_reads = local_reads != prng_chance(&cluster->prng, 200000);
	change(cluster, leader, &wanted, ++cluster->version);
}

static unsigned some_node(struct cluster *cluster)
{
	return (unsigned)prng_below(&cluster->prng, cluster->count);
}

static void one_fault(struct cluster *cluster)
{
	unsigned a = some_node(cluster), b = some_node(cluster);
	switch (prng_below(&cluster->prng, 10)) {
	case 0:
	case 1:
		if (cluster->nodes[a].up)
			node_crash(cluster, a);
		break;
	case 2:
	case 3:
	case 4:
		for (unsigned i = 0; i < cluster->count; i++)
			if (!cluster->nodes[i].up && prng_chance(&cluster->prng, 500000))
				node_restart(cluster, i);
		break;
	case 5:
		cluster->cut[a][b] = true;
		break;
	case 6:
		cut_off(cluster, a, true);
		break;
	case 7:
		heal(cluster);
		break;
	case 8:
		disk_stop(cluster, a);
		break;
	case 9:
		for (unsigned i = 0; i < cluster->count; i++)
			disk_resume(cluster, i);
		break;
	}
}

/* Other groups of two nodes lend and borrow as well, and step down. */
static void others_act(struct cluster *cluster)
{
	unsigned a = some_node(cluster), b = some_node(cluster);
	if (a == b || !cluster->nodes[a].up)
		return;
	if (prng_chance(&cluster->prng, 300000))
		liveness_lent_end(cluster->nodes[a].liveness, NODE_BASE + b + 1);
	else
		assert_true(liveness_lend(cluster->nodes[a].liveness, NODE_BASE + b + 1, clock_of(cluster, a)));
}

static void one_act(struct cluster *cluster, bool changes)
{
	unsigned a = some_node(cluster);
	int leader = leader_of(cluster);
	switch (prng_below(&cluster->prng, 8)) {
	case 0:
	case 1:
	case 2: /* every leader that thinks so may propose */
		for (unsigned i = 0; i < cluster->count; i++)
			if (leads(cluster, i) && status_of(cluster, i).last < LOG_MAX - 200)
				propose_of(cluster, i, 1 + (unsigned)prng_below(&cluster->prng, 5),
					(int)prng_below(&cluster->prng, cluster->count + 1) - 1);
		break;
	case 3:
	case 4:
		if (cluster->nodes[a].up)
			ask_read(cluster, a);
		break;
	case 5:
		for (unsigned i = 0; i < cluster->count; i++)
			if (leads(cluster, i))
				ask_read(cluster, i);
		break;
	case 6:
		if (cluster->nodes[a].up)
			compact(cluster, a);
		break;
	case 7:
		if (leader >= 0 && changes && prng_chance(&cluster->prng, 400000))
			change_something(cluster, (unsigned)leader);
		else if (leader >= 0 && prng_chance(&cluster->prng, 200000))
			transfer(cluster, (unsigned)leader, a);
		break;
	}
}

static void heal_all(struct cluster *cluster)
{
	heal(cluster);
	cluster->loss_ppm = cluster->duplicate_ppm = cluster->jitter_us = cluster->disk_jitter_us = 0;
	for (unsigned i = 0; i < cluster->count; i++) {
		if (!cluster->nodes[i].up)
			node_restart(cluster, i);
		disk_resume(cluster, i);
	}
}

static uint64_t members_sent(const struct cluster *cluster, const struct membership *membership)
{
	uint64_t sent = 0;
	for (unsigned i = 0; i < membership->count; i++)
		sent += cluster->nodes[membership->at[i].replica - 1].sent;
	return sent;
}

static void all_agree(struct cluster *cluster)
{
	heal_all(cluster);
	run_ms(cluster, 15000);
	unsigned leader = await_leader(cluster, 5000);
	propose(cluster, leader, 1);
	run_ms(cluster, 3000);
	assert_true(leads(cluster, leader));
	struct group_status status = status_of(cluster, leader);
	assert_int_equal(status.commit, status.last);
	assert_true(status.quiescent);
	assert_false(status.changing);
	assert_false(status.degraded);
	const struct membership *membership = group_membership(cluster->nodes[leader].group);
	for (unsigned i = 0; i < membership->count; i++) {
		unsigned at = (unsigned)membership->at[i].replica - 1;
		assert_int_equal(status_of(cluster, at).commit, status.commit);
		struct read_record *read = ask_read(cluster, at);
		run_ms(cluster, 10);
		assert_true(read->done);
		assert_false(read->refused);
		bool responder = membership->local_reads && membership->at[i].role_new == ROLE_VOTER;
		assert_true(may_read(cluster, at) == (responder || at == leader));
	}
	/* Silent again, every counter back to nothing (C19). One that was removed and does not know may still ask. */
	uint64_t sent = members_sent(cluster, membership);
	run_ms(cluster, 2000);
	assert_int_equal(members_sent(cluster, membership), sent);
}

/* Of two copies and a witness, whichever is lost, the others go on: at once, or when all was down. */
static void one_is_lost(struct cluster *cluster)
{
	const struct membership *in_force = group_membership(cluster->nodes[await_leader(cluster, 5000)].group);
	struct membership membership = *in_force;
	unsigned lost = (unsigned)prng_below(&cluster->prng, membership.count);
	bool all_down = prng_chance(&cluster->prng, 500000);
	uint64_t committed = cluster->committed;
	for (unsigned i = 0; i < membership.count; i++)
		if (all_down || i == lost)
			node_crash(cluster, (unsigned)membership.at[i].replica - 1);
	for (unsigned i = 0; i < membership.count; i++)
		if (all_down && i != lost)
			node_restart(cluster, (unsigned)membership.at[i].replica - 1);
	run_ms(cluster, 8000);
	unsigned leader = await_leader(cluster, 5000);
	assert_true(status_of(cluster, leader).commit >= committed);
	propose(cluster, leader, 1);
	run_ms(cluster, 1000);
	assert_int_equal(status_of(cluster, leader).commit, status_of(cluster, leader).last);
	assert_int_equal(status_of(cluster, leader).degraded, membership.at[lost].role_new == ROLE_VOTER);
}

enum world { WORLD_PLAIN, WORLD_CHANGES, WORLD_WITNESS, WORLD_WITNESS_CHANGES };

static void run_seed(uint64_t seed, enum world world, unsigned rounds)
{
	const bool changes = world == WORLD_CHANGES || world == WORLD_WITNESS_CHANGES;
	struct prng prng;
	prng_seed(&prng, seed);
	unsigned count = 1 + (unsigned)prng_below(&prng, 5);
	if (count < 3 || changes)
		count = 3 + count % 3;
	char roles[NODES_MAX + 1] = { 0 };
	for (unsigned i = 0; i < count; i++)
		roles[i] = changes && i >= 3 ? '-' : 'v';
	if (world == WORLD_WITNESS)
		count = 3;
	if (world == WORLD_WITNESS_CHANGES)
		count = 5;
	struct membership membership = membership_of(roles);
	if (world == WORLD_WITNESS)
		membership = witnessed_of("vvw");
	else if (world == WORLD_WITNESS_CHANGES)
		membership = witnessed_of("vv--w");
	membership.local_reads = prng_chance(&prng, 700000);
	struct cluster *cluster = cluster_new(count, &membership, seed);
	cluster->trace = getenv("TRACE") != NULL;
	cluster_start(cluster);
	cluster->append_window = 1 + (uint32_t)prng_below(&prng, 6);
	cluster->append_entries_max = 1 + (uint32_t)prng_below(&prng, 20);
	if (prng_chance(&prng, 300000))
		cluster->short_appends = 1 + (uint32_t)prng_below(&prng, 4);
	bool rough = prng_chance(&prng, 700000);
	if (rough) {
		cluster->loss_ppm = (uint32_t)prng_below(&prng, 100000);
		cluster->duplicate_ppm = (uint32_t)prng_below(&prng, 100000);
		cluster->jitter_us = 1 + (uint32_t)prng_below(&prng, 60000);
		cluster->disk_jitter_us = 1 + (uint32_t)prng_below(&prng, 40000);
		if (prng_chance(&prng, 150000)) /* near the time of a lease */
			cluster->jitter_us += (uint32_t)prng_below(&prng, 400000);
	}
	uint32_t fault_ppm = (uint32_t)prng_below(&prng, 120000);
	for (unsigned i = 0; i < rounds; i++) {
		if (prng_chance(&cluster->prng, fault_ppm))
			one_fault(cluster);
		one_act(cluster, changes);
		if (prng_chance(&cluster->prng, 50000))
			others_act(cluster);
		run_ms(cluster, prng_below(&cluster->prng, 40));
	}
	all_agree(cluster);
	if (world == WORLD_WITNESS || world == WORLD_WITNESS_CHANGES)
		one_is_lost(cluster);
	cluster_free(cluster);
}

static uint64_t number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);
	return text ? strtoull(text, NULL, 10) : otherwise;
}

static uint64_t running;

static void print_seed(void)
{
	if (running != 0)
		printf("seed %llu\n", (unsigned long long)running);
}

static void run_seeds(enum world world)
{
	uint64_t first = number("SEED", 1), count = number("SEED", 0) ? 1 : number("RUNS", 30);
	for (running = first; running < first + count; running++)
		run_seed(running, world, 600);
	running = 0;
}

static void test_disorder(void **state)
{
	(void)state;
	run_seeds(WORLD_PLAIN);
}

static void test_disorder_with_changes(void **state)
{
	(void)state;
	run_seeds(WORLD_CHANGES);
}

static void test_disorder_with_a_witness(void **state)
{
	(void)state;
	run_seeds(WORLD_WITNESS);
}

static void test_disorder_with_changes_and_a_witness(void **state)
{
	(void)state;
	run_seeds(WORLD_WITNESS_CHANGES);
}

/* The same seed, the same run, to the last bit. */
static void test_a_run_follows_from_its_seed(void **state)
{
	(void)state;
	uint64_t digests[2];
	for (unsigned n = 0; n < 2; n++) {
		struct cluster *cluster = cluster_begin("vvv", 77);
		cluster->loss_ppm = 50000;
		cluster->jitter_us = 5000;
		for (unsigned i = 0; i < 200; i++) {
			one_act(cluster, false);
			run_ms(cluster, 10);
		}
		digests[n] = 0;
		for (unsigned i = 0; i < 3; i++)
			digests[n] = digests[n] * 31 + group_digest(cluster->nodes[i].group);
		cluster_free(cluster);
	}
	assert_true(digests[0] == digests[1]);
}

int main(void)
{
	atexit(print_seed);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_disorder),
		cmocka_unit_test(test_disorder_with_changes),
		cmocka_unit_test(test_disorder_with_a_witness),
		cmocka_unit_test(test_disorder_with_changes_and_a_witness),
		cmocka_unit_test(test_a_run_follows_from_its_seed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
