/* tests/unit/policy/test_leading.c: where the lead goes, in virtual time: after writers who stay, not after writers who
 * come and go; back to the preferred place; and never in a storm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <limits.h>
#include <string.h>

#include <cmocka.h>

#include "policy/latency.h"
#include "policy/leading.h"

#define SECOND UINT64_C(1000000000)
enum { PLACES = 3, PERIOD_S = 5 };

/* us, eu, ap, one replica each: what a write from [region] takes through [leader]; and how far it is. */
static const uint32_t via_ms[PLACES][PLACES] = { { 68, 136, 283 }, { 136, 68, 243 }, { 390, 350, 175 } };
static const uint32_t rtt_ms[PLACES][PLACES] = { { 0, 68, 215 }, { 68, 0, 175 }, { 215, 175, 0 } };

/* One shard on three nodes; each keeps its own memory, as in a cluster. */
struct shard {
	struct leading leading[PLACES];
	unsigned leader, moves;
	uint64_t now_ns, moved_ns[1024];
	unsigned rank[PLACES];
	bool able[PLACES], follow;
	const uint32_t (*ms)[PLACES]; /* of a write: [leader][region] */
};

static void shard_init(struct shard *shard, unsigned leader, const uint32_t (*ms)[PLACES])
{
	memset(shard, 0, sizeof(*shard));
	shard->now_ns = 1000 * SECOND;
	shard->leader = leader;
	shard->ms = ms;
	shard->follow = true;
	for (unsigned i = 0; i < PLACES; i++)
		shard->able[i] = true;
	leading_role(&shard->leading[leader], true, shard->now_ns);
}

static void lead(struct shard *shard, unsigned to)
{
	leading_role(&shard->leading[shard->leader], false, shard->now_ns);
	shard->leader = to;
	leading_role(&shard->leading[to], true, shard->now_ns);
}

static struct leading_choice choose(struct shard *shard)
{
	struct leading *leading = &shard->leading[shard->leader];
	struct leading_candidate candidates[PLACES];
	for (unsigned i = 0; i < PLACES; i++) {
		candidates[i] = (struct leading_candidate){
			.replica = i + 1, .rank = shard->rank[i], .able = shard->able[i] || i == shard->leader
		};
		for (unsigned r = 0; r < leading->count; r++) {
			candidates[i].write_us[r] = shard->ms[i][leading->regions[r].region] * 1000;
			candidates[i].to_leader_us[r] = rtt_ms[i][leading->regions[r].region] * 1000;
		}
	}
	return leading_choose(leading, candidates, PLACES, shard->leader, shard->follow, shard->now_ns);
}

/* The next `seconds`, with so many writes a second from each region; looked at every PERIOD_S. */
static void run(struct shard *shard, unsigned seconds, const unsigned writes[PLACES])
{
	for (unsigned s = 0; s < seconds; s++) {
		for (unsigned r = 0; r < PLACES; r++)
			for (unsigned n = 0; n < writes[r]; n++)
				leading_wrote(&shard->leading[shard->leader], r);
		shard->now_ns += SECOND;
		if (shard->now_ns / SECOND % PERIOD_S != 0)
			continue;
		struct leading_choice choice = choose(shard);
		if (choice.to == 0)
			continue;
		leading_tried(&shard->leading[shard->leader], shard->follow, shard->now_ns);
		lead(shard, (unsigned)choice.to - 1);
		assert_true(shard->moves < 1024);
		shard->moved_ns[shard->moves++] = shard->now_ns;
	}
}

static const unsigned from_us[] = { 20, 0, 0 }, from_ap[] = { 0, 0, 20 }, nobody[] = { 0, 0, 0 };

static void test_follows_writers_who_stay(void **state)
{
	(void)state;
	struct shard shard;
	shard_init(&shard, 0, via_ms);
	run(&shard, 300, from_us);
	assert_int_equal(shard.moves, 0);
	uint64_t changed_ns = shard.now_ns;
	run(&shard, 300, from_ap);
	assert_int_equal(shard.leader, 2);
	assert_int_equal(shard.moves, 1);
	assert_true(shard.moved_ns[0] - changed_ns <= 100 * SECOND); /* four of five writes must be its */
	assert_true(shard.moved_ns[0] - changed_ns >= 10 * SECOND);  /* not at the first write */
	run(&shard, 600, nobody);
	assert_int_equal(shard.moves, 1);
}

/* With origin acks and eu leading, every region is at its bound: the lead stays where the two shortest edges meet,
 * whoever writes. From us it leaves for whoever writes in ap: 215 ms become 175. */
static void test_origin_acks(void **state)
{
	(void)state;
	static const uint32_t origin_ms[PLACES][PLACES] = { { 68, 68, 215 }, { 68, 68, 175 }, { 215, 175, 175 } };
	struct shard shard;
	shard_init(&shard, 1, origin_ms);
	run(&shard, 300, from_us);
	run(&shard, 300, from_ap);
	assert_int_equal(shard.moves, 0);
	shard_init(&shard, 0, origin_ms);
	run(&shard, 300, from_ap);
	assert_int_equal(shard.moves, 1);
	assert_int_equal(shard.leader, 2); /* eu is as good for writes; here strong reads cost nothing too */
	run(&shard, 300, from_us);
	assert_int_equal(shard.moves, 2);
	assert_int_equal(shard.leader, 1); /* for what was written in ap till now, better than us */
	run(&shard, 3600, from_us);
	assert_int_equal(shard.moves, 2);
}

/* Two kinds of writers: the mean decides, and a gain of less than a tenth, or of 2 ms, is not worth a move. */
static void test_small_gains(void **state)
{
	(void)state;
	static const uint32_t near_ms[PLACES][PLACES] = { { 20, 20, 20 }, { 19, 19, 19 }, { 18, 18, 18 } };
	static const uint32_t far_ms[PLACES][PLACES] = { { 200, 200, 200 }, { 195, 195, 195 }, { 181, 181, 181 } };
	static const uint32_t best_ms[PLACES][PLACES] = { { 200, 200, 200 }, { 195, 195, 195 }, { 179, 179, 179 } };
	const unsigned both[] = { 11, 0, 10 };
	struct shard shard;
	shard_init(&shard, 0, near_ms);
	run(&shard, 300, from_us);
	assert_int_equal(shard.moves, 0);
	shard_init(&shard, 0, far_ms);
	run(&shard, 300, from_us);
	assert_int_equal(shard.moves, 0);
	shard_init(&shard, 0, best_ms);
	run(&shard, 300, from_us);
	assert_int_equal(shard.moves, 1);
	shard_init(&shard, 0, via_ms); /* (11 * 68 + 10 * 283) / 21 = 170; eu 187, ap 232 */
	run(&shard, 300, both);
	assert_int_equal(shard.moves, 0);
}

static void test_who_cannot_lead(void **state)
{
	(void)state;
	struct shard shard;
	shard_init(&shard, 0, via_ms);
	shard.able[2] = false; /* behind, or not reachable: the next best */
	run(&shard, 120, from_ap);
	assert_int_equal(shard.moves, 1);
	assert_int_equal(shard.leader, 1);
	shard.able[2] = true;
	run(&shard, 300, from_ap);
	assert_int_equal(shard.leader, 2);
	shard_init(&shard, 0, via_ms);
	shard.rank[2] = UINT_MAX; /* lead_in does not name it */
	run(&shard, 300, from_ap);
	assert_int_equal(shard.leader, 1);
	shard.rank[1] = UINT_MAX; /* the policy changed: at once, whatever writes cost */
	run(&shard, PERIOD_S, from_ap);
	assert_int_equal(shard.leader, 0);
}

/* What is not measured is no reason to move; a region that the leader itself does not know has no say. */
static void test_unknown(void **state)
{
	(void)state;
	static const uint32_t ms[PLACES][PLACES] = { { 100, 100, 100 }, { 10, 10, 10 }, { 50, 50, 50 } };
	struct shard shard;
	shard_init(&shard, 0, ms);
	struct leading *leading = &shard.leading[0];
	for (unsigned n = 0; n < 100; n++) {
		leading_wrote(leading, 0);
		leading_wrote(leading, 1);
	}
	struct leading_candidate candidates[PLACES] = { { .replica = 1 }, { .replica = 2, .able = true },
		{ .replica = 3, .able = true } };
	for (unsigned i = 0; i < PLACES; i++)
		for (unsigned r = 0; r < 2; r++)
			candidates[i].write_us[r] = ms[i][r] * 1000;
	candidates[1].write_us[1] = LATENCY_UNKNOWN;
	shard.now_ns += 100 * SECOND;
	assert_true(leading_choose(leading, candidates, PLACES, 0, true, shard.now_ns).waits); /* hold */
	shard.now_ns += 10 * SECOND;
	assert_int_equal(leading_choose(leading, candidates, PLACES, 0, true, shard.now_ns).to, 3);
	candidates[0].write_us[1] = LATENCY_UNKNOWN;
	assert_int_equal(leading_choose(leading, candidates, PLACES, 0, true, shard.now_ns).to, 2);
	candidates[0].write_us[0] = LATENCY_UNKNOWN;
	assert_int_equal(leading_choose(leading, candidates, PLACES, 0, true, shard.now_ns).to, 0);
}

/* Writers who change sides for two hours, where the leader's place matters most: beside them or an ocean away. A lead
 * that went with every change of 20 s would move 360 times. */
static unsigned alternate(unsigned every_s)
{
	static const uint32_t sharp_ms[PLACES][PLACES] = { { 10, 100, 200 }, { 100, 10, 100 }, { 200, 100, 10 } };
	struct shard shard;
	shard_init(&shard, 0, sharp_ms);
	for (unsigned s = 0; s < 7200; s += every_s)
		run(&shard, every_s, s / every_s % 2 == 0 ? from_us : from_ap);
	for (unsigned i = 1; i < shard.moves; i++)
		assert_true(shard.moved_ns[i] - shard.moved_ns[i - 1] >= 30 * SECOND);
	print_message("every %u s: %u moves\n", every_s, shard.moves);
	return shard.moves;
}

static void test_no_storm(void **state)
{
	(void)state;
	assert_in_range(alternate(5), 0, 2);
	assert_in_range(alternate(20), 0, 24);
	assert_in_range(alternate(60), 0, 30);
	assert_in_range(alternate(120), 0, 30);
	assert_in_range(alternate(300), 0, 24);
}

/* The pause is over once things are calm. */
static void test_the_pause_ends(void **state)
{
	(void)state;
	struct shard shard;
	shard_init(&shard, 0, via_ms);
	for (unsigned i = 0; i < 30; i++)
		run(&shard, 150, i % 2 == 0 ? from_us : from_ap);
	run(&shard, 4 * 3600, from_us);
	assert_int_equal(shard.leader, 0);
	assert_true(shard.moves > 4);
	unsigned moves = shard.moves;
	uint64_t changed_ns = shard.now_ns;
	run(&shard, 150, from_ap);
	assert_int_equal(shard.moves, moves + 1);
	assert_true(shard.moved_ns[moves] - changed_ns <= 100 * SECOND);
}

/* Without follow: the best rank that is able, at once; back to it after a failover; ever more rarely when it fails
 * again and again. Equal ranks stay. */
static void test_by_rank(void **state)
{
	(void)state;
	struct shard shard;
	shard_init(&shard, 2, via_ms);
	shard.follow = false;
	shard.rank[0] = 1;
	shard.rank[1] = 0;
	shard.rank[2] = 2;
	shard.able[1] = false;
	run(&shard, PERIOD_S, from_ap);
	assert_int_equal(shard.leader, 0);
	run(&shard, 60, from_ap);
	shard.able[1] = true;
	run(&shard, PERIOD_S, from_ap);
	assert_int_equal(shard.leader, 1);
	shard.able[1] = false; /* dies: another is elected */
	lead(&shard, 2);
	run(&shard, PERIOD_S, from_ap);
	assert_int_equal(shard.leader, 0);
	unsigned moves = shard.moves;
	for (unsigned i = 0; i < 360; i++) { /* up for 10 s, down for 10 s: two hours */
		shard.able[1] = true;
		run(&shard, 10, nobody);
		shard.able[1] = false;
		if (shard.leader == 1)
			lead(&shard, 0);
		run(&shard, 10, nobody);
	}
	assert_in_range(shard.moves - moves, 5, 40);
	shard.able[1] = true;
	run(&shard, 600, nobody);
	assert_int_equal(shard.leader, 1);
	memset(shard.rank, 0, sizeof(shard.rank));
	moves = shard.moves;
	run(&shard, 600, from_us);
	assert_int_equal(shard.moves, moves);
}

static void test_writing_regions(void **state)
{
	(void)state;
	struct leading leading = { 0 };
	leading_decay(&leading, 5 * SECOND);
	for (unsigned n = 0; n < 1000; n++)
		leading_wrote(&leading, 3);
	leading_decay(&leading, 35 * SECOND);
	assert_in_range(leading.regions[0].weight, 499 * 1024, 501 * 1024);
	leading_decay(&leading, 65 * SECOND + 1);
	assert_in_range(leading.regions[0].weight, 248 * 1024, 251 * 1024);
	for (unsigned r = 10; r < 10 + 2 * LEADING_REGIONS_MAX; r++)
		leading_wrote(&leading, r);
	assert_int_equal(leading.count, LEADING_REGIONS_MAX);
	assert_int_equal(leading.regions[0].region, 3); /* the one that writes most is not pushed out */
	leading_decay(&leading, 5000 * SECOND);
	assert_int_equal(leading.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_follows_writers_who_stay),
		cmocka_unit_test(test_origin_acks),
		cmocka_unit_test(test_small_gains),
		cmocka_unit_test(test_who_cannot_lead),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_no_storm),
		cmocka_unit_test(test_the_pause_ends),
		cmocka_unit_test(test_by_rank),
		cmocka_unit_test(test_writing_regions),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
