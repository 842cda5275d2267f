/* The plan of a lab from each built-in map, and the packets on their way. */
#include "bench/histogram.c"
#include "bench/wan/bucket.c"
#include "bench/wan/flight.c"
#include "bench/wan/lab.c"
#include "bench/wan/link.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void check_hosts(const struct lab *lab)
{
	for (uint32_t i = 0; i < lab->host_count; i++) {
		const struct lab_host *host = &lab->hosts[i];

		assert_int_equal(lab_host_at(lab, host->address), i);
		assert_int_equal(host->region, i / (lab->nodes_per_region + 1));
		for (uint32_t j = 0; j < i; j++) {
			assert_int_not_equal(host->address, lab->hosts[j].address);
			assert_string_not_equal(host->netns, lab->hosts[j].netns);
		}
	}
}

static void test_every_map(void **state)
{
	uint32_t count;
	const char *const *names = topology_builtin_names(&count);

	(void)state;
	for (uint32_t i = 0; i < count; i++) {
		struct topology topology;
		struct lab lab;

		assert_true(topology_builtin(names[i], &topology));
		for (uint32_t nodes = 1; nodes <= LAB_NODES_PER_REGION_MAX; nodes++) {
			lab_init(&lab, "wanlab-1", &topology, nodes, 1);
			assert_int_equal(lab.host_count, topology.region_count * (nodes + 1));
			check_hosts(&lab);
			for (uint32_t from = 0; from < topology.region_count; from++) {
				for (uint32_t to = 0; to < topology.region_count; to++) {
					uint64_t there = lab_link(&lab, from, to)->settings.delay_us,
						 back = lab_link(&lab, to, from)->settings.delay_us;

					assert_int_equal(there + back, topology.rtt_us[from][to]);
				}
			}
			lab_deinit(&lab);
		}
	}
}

static void test_names_and_strangers(void **state)
{
	static const uint32_t strangers[] = { 0, 0x0a4d0001, 0x0a4d0100, 0x0a4d0103, 0x0a4d0163, 0x0a4d0165, 0x0a4d0401,
		0x0a4e0101, 0x0b4d0101, 0xffffffff };
	struct topology topology;
	struct lab lab;
	char text[16];

	(void)state;
	assert_true(topology_builtin("wan3", &topology));
	lab_init(&lab, "wanlab-1", &topology, 2, 1);
	assert_string_equal(lab.hosts[0].name, "us-east-1-n1");
	assert_string_equal(lab.hosts[2].name, "us-east-1");
	assert_string_equal(lab.hosts[4].netns, "/run/wanlab/wanlab-1/net/eu-west-1-n2");
	lab_address_text(lab.hosts[4].address, text, sizeof(text));
	assert_string_equal(text, "10.77.2.2");
	lab_address_text(lab.hosts[8].address, text, sizeof(text));
	assert_string_equal(text, "10.77.3.100");
	for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++)
		assert_int_equal(lab_host_at(&lab, strangers[i]), -1);
	lab_deinit(&lab);
}

/* Against a model that sorts: every packet once, by time, of equal times the first first. */
static void test_packets_leave_when_due(void **state)
{
	enum { COUNT = 5000, TIMES = 100 };
	struct flight flight;
	struct prng prng;
	uint64_t last_due = 0;
	uint32_t last_number = 0, taken = 0;
	struct packet *packet;

	(void)state;
	prng_seed(&prng, 11);
	flight_init(&flight, COUNT, COUNT * sizeof(uint32_t));
	assert_true(flight_next_ns(&flight) == UINT64_MAX);
	for (uint32_t i = 0; i < COUNT; i++)
		assert_non_null(flight_add(&flight, prng_below(&prng, TIMES), &i, sizeof(i)));
	assert_null(flight_add(&flight, 0, &taken, sizeof(taken))); /* full */
	for (uint64_t now = 0; now < TIMES; now++) {
		while ((packet = flight_take(&flight, now)) != NULL) {
			uint32_t number;

			memcpy(&number, packet->data, sizeof(number));
			assert_int_equal(packet->node.key, now);
			assert_true(packet->node.key > last_due || number >= last_number);
			last_due = packet->node.key;
			last_number = number;
			taken++;
			free(packet);
		}
	}
	assert_int_equal(taken, COUNT);
	assert_int_equal(flight.bytes, 0);
	flight_deinit(&flight);
}

static void test_bytes_are_bounded(void **state)
{
	struct flight flight;
	uint8_t data[1000] = { 0 };

	(void)state;
	flight_init(&flight, 100, 2500);
	assert_non_null(flight_add(&flight, 1, data, 1000));
	assert_non_null(flight_add(&flight, 2, data, 1000));
	assert_null(flight_add(&flight, 3, data, 501));
	assert_non_null(flight_add(&flight, 3, data, 500));
	flight_deinit(&flight); /* frees what is on its way; the leak checker looks */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_map),
		cmocka_unit_test(test_names_and_strangers),
		cmocka_unit_test(test_packets_leave_when_due),
		cmocka_unit_test(test_bytes_are_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
