/* tools/demo.c: domctl demo, from the map to its end: see tools/demo.h. Delay is switched on only when the cluster is
 * well, so that coming up does not take minutes, and the round trips are measured before anything is shown. */
#include "tools/demo.h"

#include <libgen.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "tools/change_region.h"
#include "tools/health.h"
#include "tools/output.h"
#include "tools/policies.h"

enum { SETTLE_TIMEOUT_MS = 60000, STEP_MS = 50, STATUS_TIMEOUT_MS = 3000 };

static struct demo demo;

void demo_act(const struct demo *of, int region, struct invocation *invocation)
{
	static char endpoints[DEMO_REGIONS_MAX + 1][1024];

	*invocation = *of->invocation;
	invocation->output = OUTPUT_TABLE;
	invocation->dry_run = false;
	invocation->given_count = 0;
	invocation->timeout_ms = 10000;
	invocation->certs = of->certs;
	if (region < 0) {
		/* The first node, without delay: until it has begun the cluster no other one can answer. */
		snprintf(endpoints[DEMO_REGIONS_MAX], sizeof(endpoints[0]), "127.0.0.1:%u", of->nodes[0].port);
		invocation->endpoint = endpoints[DEMO_REGIONS_MAX];
		invocation->as_region = NULL;
		return;
	}
	demo_endpoints(of, (uint32_t)region, endpoints[region], sizeof(endpoints[0]));
	invocation->endpoint = endpoints[region];
	invocation->as_region = of->topology.regions[region].name;
}

void demo_endpoints(const struct demo *of, uint32_t region, char *out, size_t capacity)
{
	struct text text;

	text_init(&text, out, capacity);
	for (uint32_t i = 0; i < of->node_count; i++) {
		const struct demo_node *node = &of->nodes[i];

		if (node->region != region)
			continue;
		text_add(&text, text.size == 0 ? "127.0.0.1:" : ",127.0.0.1:");
		text_add_u64(&text, of->proxied ? node->from_port[region] : node->port);
	}
}

/* --- the plan ---------------------------------------------------------------------------------------- */

static int load_topology(const char *name)
{
	static struct config_errors errors;
	char text[CONFIG_ERROR_TEXT_MAX];

	if (!topology_builtin(name, &demo.topology)) {
		config_errors_init(&errors);
		if (strchr(name, '/') == NULL && strchr(name, '.') == NULL && access(name, R_OK) != 0) {
			uint32_t count;
			const char *const *names = topology_builtin_names(&count),
					  *nearest = text_nearest(name, names, count);
			char cure[128];

			snprintf(cure, sizeof(cure),
				nearest == NULL ? "lan3, eu3, wan3, wan5, or a map file" : "did you mean %s?", nearest);
			return fail(demo.invocation, "DOM-D002", "no such map", cure,
				"%s is neither built in nor a file", name);
		}
		if (!topology_load(name, &demo.topology, &errors)) {
			for (uint32_t i = 0; i < errors.count; i++)
				fprintf(stderr, "%s\n", config_error_format(&errors.at[i], text, sizeof(text)));
			return fail(demo.invocation, "DOM-D002", "the map file is wrong", "mend it at the places above",
				NULL);
		}
	}
	if (demo.topology.region_count > DEMO_REGIONS_MAX)
		return fail(demo.invocation, "DOM-D002", "the map has too many regions", "take at most 7", "it has %u",
			demo.topology.region_count);
	return EXIT_OK;
}

/* "eu-west-1-n2" at "eu/ie/eu-west-1/b/n2": each node of a region has a zone of its own. */
static void name_node(uint32_t region, uint32_t k, char *name, size_t name_size, char *place, size_t place_size)
{
	const char zone[] = { '/', (char)('a' + k), '/', '\0' };
	struct text text;

	text_init(&text, name, name_size);
	text_add(&text, demo.topology.regions[region].name);
	text_add(&text, "-n");
	text_add_u64(&text, k + 1);
	text_init(&text, place, place_size);
	text_add(&text, demo.topology.regions[region].site.place.text);
	text_add(&text, zone);
	text_add(&text, "n");
	text_add_u64(&text, k + 1);
}

static int plan_nodes(void)
{
	uint64_t each = flag_number(demo.invocation, "nodes-per-region", demo.topology.nodes_per_region);

	if (each < 1 || each > DEMO_NODES_PER_REGION_MAX)
		return fail(demo.invocation, "DOM-U003", "--nodes-per-region is out of range", "give 1 to 9", NULL);
	demo.nodes_per_region = (uint32_t)each;
	for (uint32_t r = 0; r < demo.topology.region_count; r++) {
		for (uint32_t k = 0; k < each; k++) {
			struct demo_node *node = &demo.nodes[demo.node_count++];
			char place[PLACE_TEXT_MAX];
			const char *why = "";

			name_node(r, k, node->name, sizeof(node->name), place, sizeof(place));
			if (!place_parse(place, &node->place, &why))
				return fail(demo.invocation, "DOM-D002", "a node's place is not one", NULL, "%s: %s",
					place, why);
			node->region = r;
			do {
				node->port = demo_free_port();
				for (uint32_t i = 0; i + 1 < demo.node_count && node->port != 0; i++) {
					if (demo.nodes[i].port == node->port)
						node->port = 1;
				}
			} while (node->port == 1);
			if (node->port == 0)
				return fail(demo.invocation, "DOM-D001", "no free port on 127.0.0.1", NULL, NULL);
		}
	}
	for (uint32_t i = 0; i < demo.topology.region_count; i++) {
		for (uint32_t j = 0; j < demo.topology.region_count; j++)
			demo.proxied |= demo.topology.rtt_us[i][j] > 0;
	}
	return EXIT_OK;
}

/* domiciled stands beside domctl. */
static int find_programs(void)
{
	char path[DEMO_PATH_MAX - 16];
	ssize_t size = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (size <= 0)
		return fail(demo.invocation, "DOM-X001", "domctl cannot find itself", NULL, NULL);
	path[size] = '\0';
	snprintf(demo.domctl, sizeof(demo.domctl), "%s", path);
	snprintf(demo.domiciled, sizeof(demo.domiciled), "%s/domiciled", dirname(path));
	if (access(demo.domiciled, X_OK) != 0)
		return fail(demo.invocation, "DOM-D001", "domiciled is missing", "build or install it beside domctl",
			"%s", demo.domiciled);
	return EXIT_OK;
}

/* A variable wins over a node's file; those for what differs from node to node would make all nodes one. */
static void clear_environment(void)
{
	static const char *const names[] = { "DOMICILED_CLUSTER", "DOMICILED_PLACE", "DOMICILED_LISTEN",
		"DOMICILED_ADVERTISE_DEFAULT", "DOMICILED_ADVERTISE_FROM", "DOMICILED_DATA", "DOMICILED_CERTS",
		"DOMICILED_JOIN" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unsetenv(names[i]);
}

/* --- coming up --------------------------------------------------------------------------------------- */

void demo_step(const struct demo *of, const char *what, const char *format, ...)
{
	char text[256];
	va_list list;

	if (of->invocation->quiet)
		return;
	va_start(list, format);
	vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	printf("  %s+%s %-14s %-56s %s%5.1f s%s\n", paint(stdout, PAINT_GOOD), paint(stdout, PAINT_OFF), what, text,
		paint(stdout, PAINT_DIM), (double)(clock_boot_ns() - of->began_ns) / 1e9, paint(stdout, PAINT_OFF));
	fflush(stdout);
}

static int fill_region(uint32_t region, struct map_region *out)
{
	const struct topology_region *of = &demo.topology.regions[region];
	char ca[DEMO_PATH_MAX + REGION_NAME_MAX + 32];

	snprintf(ca, sizeof(ca), "%s/ca/ca-%s.crt", demo.root, of->name);
	return change_region_make(demo.invocation, &of->site, ca, of->latitude, of->longitude, out);
}

static int begin_cluster(void)
{
	static struct change change;
	static struct invocation admin;
	struct change_answer answer;
	struct session session;
	int code;

	demo_act(&demo, -1, &admin);
	code = session_open(&session, &admin, AS_ADMIN);
	for (uint32_t i = 0; i < demo.topology.region_count && code == EXIT_OK; i++) {
		memset(&change, 0, sizeof(change));
		change.kind = i == 0 ? CHANGE_INIT : CHANGE_REGION_ADD;
		snprintf(change.name, sizeof(change.name), "%s", DEMO_CLUSTER);
		code = fill_region(i, &change.region);
		if (code == EXIT_OK && i == 0)
			code = cluster_init_send(&session, &change);
		else if (code == EXIT_OK)
			code = session_change(&session, &change, "a region is not added", &answer);
	}
	session_close(&session);
	return code;
}

static uint32_t voters_wanted(void)
{
	uint32_t most = demo.topology.region_count < 5 ? demo.topology.region_count : 5;

	return most % 2 == 1 ? most : most - 1;
}

/* Until every node is in and answers by the newest map, meta has its voters, and every shard its copies and a leader.
 */
static int wait_until_well(struct session *session, uint32_t shards_min)
{
	static struct statuses statuses;
	static struct health health;
	uint64_t end_ns = clock_boot_ns() + (uint64_t)SETTLE_TIMEOUT_MS * 1000000;
	int code;

	for (;;) {
		bool well;

		if ((code = demo_check_nodes(&demo)) != EXIT_OK || (code = session_refresh(session)) != EXIT_OK)
			return code;
		session_statuses(session, STATUS_TIMEOUT_MS, &statuses);
		health_of(session->map, &statuses, &health);
		well = health.verdict == VERDICT_WELL && health.nodes == demo.node_count &&
		       health.meta_voters >= voters_wanted() && health.shards >= shards_min && health.operations == 0;
		for (uint32_t i = 0; i < statuses.count; i++)
			well &= field_u64(statuses.at[i].json, "map_epoch") == session->map->epoch;
		statuses_free(&statuses);
		if (well)
			return EXIT_OK;
		if (clock_boot_ns() >= end_ns)
			return fail(demo.invocation, "DOM-D001", "the cluster does not become well",
				"--keep DIR keeps the logs", "%s",
				health.problem[0] != '\0' ? health.problem : "nodes or voters are missing");
		usleep(STEP_MS * 1000);
	}
}

static int apply_policies(struct session *session)
{
	static struct config_errors errors;
	const char *path = flag_text(demo.invocation, "policies");
	struct policy_file file;
	struct change_answer answer;
	char text[2048];
	int code;

	demo_builtin_policies(&demo, text, sizeof(text));
	if (path != NULL) {
		code = policies_load(demo.invocation, path, &file);
	} else {
		config_errors_init(&errors);
		if (!policy_file_parse("built-in", bytes_text(text), &file, &errors))
			return fail(demo.invocation, "DOM-X001", "the built-in policies do not parse", NULL, "%s",
				errors.at[0].reason);
		code = EXIT_OK;
	}
	if (code != EXIT_OK)
		return code;
	code = policies_apply(session, &file, &answer);
	if (code == EXIT_OK)
		code = wait_until_well(session, file.policy_count * SHARDS_PER_POLICY);
	policy_file_free(&file);
	if (code == EXIT_OK)
		demo_step(&demo, "policies", "%s",
			path != NULL ? path : "built in; every shard has its copies and a leader");
	return code;
}

static int start_nodes(void)
{
	int code = EXIT_OK;

	for (uint32_t i = 0; i < demo.node_count && code == EXIT_OK; i++) {
		code = demo_start_node(&demo, &demo.nodes[i]);
		if (code == EXIT_OK && i == 0)
			code = begin_cluster();
		if (code == EXIT_OK && i == 0)
			demo_step(&demo, "cluster", "begun at %s; %u regions registered", demo.nodes[0].name,
				demo.topology.region_count);
	}
	return code;
}

static int make_files(void)
{
	int code;

	pthread_mutex_lock(&demo.lock);
	code = demo_make_root(&demo);
	if (code == EXIT_OK)
		code = demo_make_certificates(&demo);
	for (uint32_t i = 0; i < demo.node_count && code == EXIT_OK; i++)
		code = demo_write_configuration(&demo, &demo.nodes[i], false);
	pthread_mutex_unlock(&demo.lock);
	if (code == EXIT_OK)
		demo_step(&demo, "certificates", "%u authorities, %u nodes, %u clients, 1 administrator",
			demo.topology.region_count + 1, demo.node_count, demo.topology.region_count);
	return code;
}

static int bring_up(void)
{
	static struct invocation admin;
	struct session session;
	int code;

	if (demo.proxied && (code = demo_link_all(&demo)) != EXIT_OK)
		return code;
	if ((code = make_files()) != EXIT_OK || (code = start_nodes()) != EXIT_OK)
		return code;
	demo_act(&demo, -1, &admin);
	code = session_open_with_map(&session, &admin, AS_ADMIN);
	if (code == EXIT_OK)
		code = wait_until_well(&session, 0);
	if (code == EXIT_OK) {
		demo_step(&demo, "nodes", "%u joined, TLS on every connection; meta has %u voters", demo.node_count,
			voters_wanted());
		code = apply_policies(&session);
	}
	session_close(&session);
	if (code == EXIT_OK)
		code = demo_delay(&demo, true);
	if (code == EXIT_OK)
		code = demo_measure(&demo);
	return code;
}

/* What --keep leaves must run without the proxy: every node is told to the others by its own address, and its
 * configuration says so too. Not when nodes have been ended meanwhile: then it is left as it is. */
static int go_direct(void)
{
	static struct change change;
	static struct invocation admin;
	struct change_answer answer;
	struct session session;
	int code;

	for (uint32_t i = 0; i < demo.node_count; i++) {
		if (demo.nodes[i].pid == 0)
			return EXIT_OK;
	}
	demo_act(&demo, -1, &admin);
	code = session_open_with_map(&session, &admin, AS_ADMIN);
	for (uint32_t i = 0; i < demo.node_count && code == EXIT_OK; i++) {
		const struct map_node *node = map_node_by_place(session.map, demo.nodes[i].place.text);
		struct text address;

		if (node == NULL)
			continue;
		memset(&change, 0, sizeof(change));
		change.kind = CHANGE_NODE_ADDRESSES;
		change.node.id = node->id;
		change.node.addresses.count = 1;
		text_init(&address, change.node.addresses.at[0].address, ADDRESS_TEXT_MAX);
		text_add(&address, "127.0.0.1:");
		text_add_u64(&address, demo.nodes[i].port);
		code = session_change(&session, &change, "a node's address is not changed", &answer);
	}
	if (code == EXIT_OK)
		code = wait_until_well(&session, 0);
	session_close(&session);
	for (uint32_t i = 0; i < demo.node_count && code == EXIT_OK; i++)
		code = demo_write_configuration(&demo, &demo.nodes[i], true);
	return code;
}

/* --- the whole --------------------------------------------------------------------------------------- */

static void announce(void)
{
	if (demo.invocation->quiet)
		return;
	printf("%sDomicile%s  %s: %u nodes in %u regions on this machine%s\n\n", paint(stdout, PAINT_HEAD),
		paint(stdout, PAINT_OFF), demo.topology.name, demo.node_count, demo.topology.region_count,
		demo.proxied ? ", with the delays of the distances between them" : "");
	fflush(stdout);
}

static _Noreturn void stay(void)
{
	char endpoints[1024];

	demo_endpoints(&demo, 0, endpoints, sizeof(endpoints));
	printf("\nThe cluster stays up until Ctrl-C. In another terminal:\n\n"
	       "  export DOMCTL_ENDPOINT=%s\n  export DOMCTL_CERTS=%s DOMCTL_AS_REGION=%s\n  domctl status\n",
		endpoints, demo.certs, demo.topology.regions[0].name);
	fflush(stdout);
	demo.staying = true;
	for (;;)
		pause(); /* the thread that waits for signals ends us */
}

static int show_or_run(void)
{
	const struct invocation *invocation = demo.invocation;
	const char *listening = flag_text(invocation, "listening-file");
	static char *argv[ARGUMENTS_MAX + 1];
	uint32_t count = 0;
	int code;

	if (listening != NULL && (code = demo_write_listening(&demo, listening)) != EXIT_OK)
		return code;
	for (uint32_t i = invocation->separator; i < invocation->argument_count; i++)
		argv[count++] = (char *)(uintptr_t)invocation->arguments[i];
	if (count > 0)
		return demo_run(&demo, argv, NULL);
	code = demo_tour(&demo);
	if (code == EXIT_OK && on_terminal(stdin) && on_terminal(stdout))
		stay();
	return code;
}

int run_demo(const struct invocation *invocation)
{
	const char *map = invocation->separator > 0 ? invocation->arguments[0] : "wan3", *listening;
	int code;

	if (invocation->separator > 1)
		return fail(invocation, "DOM-U004", "demo takes one map", "put the command behind --", NULL);
	demo.invocation = invocation;
	demo.began_ns = clock_boot_ns();
	demo.control_fd = -1;
	pthread_mutex_init(&demo.lock, NULL);
	if ((code = load_topology(map)) != EXIT_OK || (code = plan_nodes()) != EXIT_OK ||
		(code = find_programs()) != EXIT_OK)
		return code;
	clear_environment();
	announce();
	if (demo.proxied && (code = demo_start_proxy(&demo)) != EXIT_OK)
		return code;
	demo_watch_signals(&demo);
	code = bring_up();
	if (code == EXIT_OK)
		code = show_or_run();
	fflush(stdout);
	if (demo.keep && demo.proxied && code != EXIT_CHECK && demo_delay(&demo, false) == EXIT_OK)
		(void)go_direct();
	pthread_mutex_lock(&demo.lock);
	demo_clean_up(&demo);
	listening = flag_text(invocation, "listening-file");
	if (listening != NULL)
		unlink(listening);
	pthread_mutex_unlock(&demo.lock);
	return code;
}
