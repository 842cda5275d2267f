/* tools/commands.c: the table of verbs: all that parser, help, completion and docs/cli.md know. Data only. */
#include "tools/command.h"

#define FLAG(id, text, short_form, type, of, what)                                                                     \
	static const struct flag flag_##id = {                                                                         \
		.name = text, .letter = short_form, .kind = type, .value = of, .help = what                            \
	}

FLAG(endpoint, "endpoint", 0, FLAG_TEXT, "HOST:PORT[,...]", "nodes to begin with; the others are learned");
FLAG(certs, "certs", 0, FLAG_TEXT, "DIR", "admin.crt, client-REGION.crt with their keys, and cas.pem");
FLAG(as_region, "as-region", 0, FLAG_TEXT, "REGION", "act as a client there, with client-REGION.crt");
FLAG(timeout, "timeout", 0, FLAG_DURATION, "DURATION", "of each operation (default 10s)");
FLAG(output, "output", 'o', FLAG_WORD, "table|wide|json|jsonl|name", "form of the answer (default table)");
FLAG(quiet, "quiet", 'q', FLAG_SWITCH, NULL, "names or ids only, no progress");
FLAG(yes, "yes", 'y', FLAG_SWITCH, NULL, "do not ask");
FLAG(confirm, "confirm", 0, FLAG_TEXT, "NAME", "confirm what cannot be undone, by its name");
FLAG(dry_run, "dry-run", 0, FLAG_SWITCH, NULL, "let the cluster judge it, change nothing");
FLAG(color, "color", 0, FLAG_WORD, "auto|always|never", "colour (default auto: on a terminal)");
FLAG(help, "help", 'h', FLAG_SWITCH, NULL, "explain, with an example");
const struct flag *const global_flags[] = { &flag_endpoint, &flag_certs, &flag_as_region, &flag_timeout, &flag_output,
	&flag_quiet, &flag_yes, &flag_confirm, &flag_dry_run, &flag_color, &flag_help, NULL };

FLAG(policies, "policies", 0, FLAG_TEXT, "FILE", "policies to apply instead of the built-in ones");
FLAG(keep, "keep", 0, FLAG_TEXT, "DIR", "leave configuration, certificates, data and logs there");
FLAG(listening_file, "listening-file", 0, FLAG_TEXT, "FILE", "write the addresses there once the cluster is ready");
FLAG(nodes_per_region, "nodes-per-region", 0, FLAG_NUMBER, "N", "1 to 9 (default 3 for wan3, 1 for the others)");
FLAG(name, "name", 0, FLAG_TEXT, "NAME", "of the cluster, as in its certificates");
FLAG(region, "region", 0, FLAG_TEXT, "PLACE", "a region: its place, or its name where it is known");
FLAG(ca, "ca", 0, FLAG_TEXT, "FILE", "certificate of the region's CA");
FLAG(at, "at", 0, FLAG_TEXT, "LAT,LON", "where it is, in degrees: gives the floor of light in fibre");
FLAG(tag, "tag", 0, FLAG_TEXT, "KEY=VALUE", "a tag that policies may name; repeatable");
FLAG(floor, "floor", 0, FLAG_SWITCH, NULL, "beside it the floor of light in fibre, and the ratio");
FLAG(until, "until", 0, FLAG_WORD, "healthy|settled", "what to wait for (default healthy)");
FLAG(wait, "wait", 0, FLAG_SWITCH, NULL, "wait for the operations that this starts (default on a terminal)");
FLAG(detach, "detach", 0, FLAG_SWITCH, NULL, "do not wait, print the operations' ids");
FLAG(plan, "plan", 0, FLAG_TEXT, "ID", "only if it would do just what this plan said");
FLAG(as_of, "as-of", 0, FLAG_TEXT, "EPOCH", "the rules that were in force at that epoch of the map");
FLAG(to, "to", 0, FLAG_TEXT, "EPOCH", "the epoch whose rules come back");
FLAG(key, "key", 0, FLAG_TEXT, "KEY", "the key in question; `policy test` takes several");
FLAG(from, "from", 0, FLAG_TEXT, "REGION", "the region, or place, of the client in question");
FLAG(op, "op", 0, FLAG_WORD, "get|put", "the operation in question (default get)");
FLAG(exact, "exact", 0, FLAG_SWITCH, NULL, "bind this one key, not a prefix; the map keeps only its keyed hash");
FLAG(leads_only, "leads-only", 0, FLAG_SWITCH, NULL, "its replicas stay; it only stops leading: before a restart");
FLAG(policy, "policy", 0, FLAG_TEXT, "POLICY", "only of this policy");
FLAG(in, "in", 0, FLAG_TEXT, "NODE|REGION|auto", "who should lead; auto: as the policy says");
FLAG(nodes, "nodes", 0, FLAG_TEXT, "NODE,...", "the nodes that should hold it, by id or place");
FLAG(key_format, "key-format", 0, FLAG_WORD, "escape|utf8|hex|base64", "how keys are written (default escape: \\xNN)");
FLAG(value_format, "value-format", 0, FLAG_WORD, "escape|utf8|hex|base64|raw",
	"how values are written (default escape)");
FLAG(read, "read", 0, FLAG_WORD, "strong|session|bounded=MS|nearest",
	"how fresh the answer must be (default strong; with --session session)");
FLAG(session, "session", 0, FLAG_TEXT, "FILE", "see what commands with this file wrote and read; kept up to date");
FLAG(limit, "limit", 0, FLAG_NUMBER, "N", "at most so many rows (default 1000)");
FLAG(after, "after", 0, FLAG_TEXT, "KEY", "begin behind this key");
FLAG(must_be, "must-be", 0, FLAG_TEXT, "POLICY", "refuse unless the key is bound to this policy");
FLAG(cluster, "cluster", 0, FLAG_TEXT, "NAME", "name of the cluster");
FLAG(place, "place", 0, FLAG_TEXT, "PLACE", "of a node: region's path, zone, node; of others: the region's path");
FLAG(ca_dir, "ca-dir", 0, FLAG_TEXT, "DIR", "directory of the authorities (default --certs)");
FLAG(out, "out", 0, FLAG_TEXT, "DIR", "where the certificate goes (default --certs)");
FLAG(cas, "cas", 0, FLAG_TEXT, "FILE", "the authorities to trust (default cas.pem beside the certificate)");
FLAG(key_file, "key-file", 0, FLAG_TEXT, "FILE", "also check that this is its key, and private");
FLAG(ca_admin, "admin", 0, FLAG_SWITCH, NULL, "the admin CA instead of a region's");
FLAG(serial, "serial", 0, FLAG_TEXT, "HEX", "instead of FILE, with --place or --admin: its serial number");
FLAG(days, "days", 0, FLAG_NUMBER, "N", "life in days (default 90; of an authority 1826, five years)");
FLAG(heads, "heads", 0, FLAG_TEXT, "FILE", "with files: what `domctl audit heads -o json` said");
FLAG(file, "file", 0, FLAG_TEXT, "FILE", "write it there instead of to standard output");
FLAG(keys, "keys", 0, FLAG_NUMBER, "N", "canaries of each policy, 1 to 64 (default 8)");
FLAG(keep_canaries, "keep", 0, FLAG_TEXT, "FILE", "leave the canaries, and write there what they are");
FLAG(canaries, "canaries", 0, FLAG_TEXT, "FILE", "look for those that --keep has written there, plant none");
FLAG(scanned_policy, "policy", 0, FLAG_TEXT, "POLICY", "of this policy; repeatable (default: all with a prefix)");
FLAG(holder, "name", 0, FLAG_TEXT, "NAME", "of the client or administrator");

#define FLAGS(...)                                                                                                     \
	(const struct flag *const[])                                                                                   \
	{                                                                                                              \
		__VA_ARGS__, NULL                                                                                      \
	}
#define KEY_FORMS &flag_key_format, &flag_value_format

const struct command commands[] = {
	{ .noun = "status",
		.arguments = "[minimal|details]",
		.argument_max = 1,
		.complete = "minimal|details",
		.summary = "is the cluster well? a verdict, the regions, residency",
		.detail = "Asks every node at once. Exit 0: well; 14: degraded; 5: unavailable, or out of reach from "
			  "here.",
		.example = "domctl status -o json",
		.kind = "Status",
		.run = run_status },
	{ .noun = "demo",
		.arguments = "[lan3|eu3|wan3|wan5|FILE] [-- COMMAND...]",
		.argument_max = ARGUMENTS_MAX,
		.complete = "lan3|eu3|wan3|wan5",
		.summary = "a whole cluster on this machine, with real delays between its regions",
		.detail =
			"Real nodes on loopback addresses, joined through a proxy that delays bytes as the distances\n"
			"between the regions would. Without COMMAND: a tour, and on a terminal the cluster stays up "
			"until\n"
			"Ctrl-C. With COMMAND: runs it with DOMCTL_ENDPOINT, DOMCTL_CERTS and DOMCTL_AS_REGION of the "
			"map's\n"
			"first region (and one variant of each per region, DOMCTL_ENDPOINT_EU_WEST_1), ends with its "
			"exit\n"
			"code, and leaves no process and, without --keep, no file.",
		.example = "domctl demo wan3 -- sh -c 'domctl key put hello world && domctl key where hello'",
		.flags = FLAGS(&flag_policies, &flag_keep, &flag_listening_file, &flag_nodes_per_region),
		.run = run_demo },

	{ .noun = "cluster",
		.verb = "init",
		.summary = "begin a cluster at one waiting node",
		.detail = "Sent with an admin certificate to a node that has no data and no `join`. It becomes the "
			  "first\n"
			  "voter of meta; the admin CA and the region's CA are pinned.",
		.example = "domctl cluster init --endpoint 10.0.0.1:7470 --name acme --region eu/ie/eu-west-1 --ca "
			   "ca-eu-west-1.crt",
		.flags = FLAGS(&flag_name, &flag_region, &flag_ca, &flag_at, &flag_tag),
		.kind = "Cluster",
		.mutates = true,
		.run = run_cluster_init },
	{ .noun = "cluster",
		.verb = "show",
		.summary = "name, id, epoch and size",
		.example = "domctl cluster show",
		.kind = "Cluster",
		.run = run_cluster_show },
	{ .noun = "cluster",
		.verb = "wait",
		.summary = "wait until the cluster is as wanted",
		.detail = "healthy: every node alive, every shard led and fully copied. settled: no operation runs "
			  "either.\n"
			  "Ends with exit 7 when --timeout (default 60s here) is over.",
		.example = "domctl cluster wait --until settled --timeout 2m",
		.flags = FLAGS(&flag_until),
		.kind = "Status",
		.run = run_cluster_wait },

	{ .noun = "region",
		.verb = "add",
		.arguments = "PLACE",
		.argument_min = 1,
		.argument_max = 1,
		.summary = "register a region and pin its certificate authority",
		.example = "domctl region add us/us-east-1 --ca ca-us-east-1.crt --at 38.95,-77.45 --tag cloud=aws",
		.flags = FLAGS(&flag_ca, &flag_at, &flag_tag),
		.kind = "ChangeResult",
		.mutates = true,
		.run = run_region_add },
	{ .noun = "region",
		.verb = "list",
		.summary = "the regions",
		.example = "domctl region list -o wide",
		.kind = "RegionList",
		.run = run_region_list },
	{ .noun = "region",
		.verb = "rtt",
		.summary = "round trips between the regions, as the nodes measure them",
		.example = "domctl region rtt --floor",
		.flags = FLAGS(&flag_floor),
		.kind = "RttMatrix",
		.run = run_region_rtt },
	{ .noun = "region",
		.verb = "drain",
		.arguments = "REGION",
		.argument_min = 1,
		.argument_max = 1,
		.complete = COMPLETE_REGION,
		.summary = "empty all nodes of a region",
		.detail = "As `node drain` of all of them at once, and of those that come there later.",
		.example = "domctl region drain eu-west-1 --wait",
		.flags = FLAGS(&flag_wait, &flag_detach),
		.kind = "ChangeResult",
		.mutates = true,
		.run = run_region_drain },
	{ .noun = "region",
		.verb = "undrain",
		.arguments = "REGION",
		.argument_min = 1,
		.argument_max = 1,
		.complete = COMPLETE_REGION,
		.summary = "have a drained region back",
		.example = "domctl region undrain eu-west-1",
		.kind = "ChangeResult",
		.mutates = true,
		.run = run_region_undrain },
	{ .noun = "region",
		.verb = "fence",
		.arguments = "REGION",
		.argument_min = 1,
		.argument_max = 1,
		.complete = COMPLETE_REGION,
		.summary = "declare a region lost",
		.detail = "Takes --confirm REGION. Nobody listens to its nodes any more, whatever becomes of\n"
			  "them; their replicas are replaced where a policy leaves another place, and count as\n"
			  "down where it does not. Said again, it moves what could not move before. Shards that\n"
			  "have no majority elsewhere stand still until `readmit`.",
		.example = "domctl region fence us-east-1 --confirm us-east-1",
		.flags = FLAGS(&flag_wait, &flag_detach),
		.kind = "ChangeResult",
		.mutates = true,
		.run = run_region_fence },
	{ .noun = "region",
		.verb = "readmit",
		.arguments = "REGION",
		.argument_min = 1,
		.argument_max = 1,
		.complete = COMPLETE_REGION,
		.summary = "listen to a fenced region again",
		.detail = "What its nodes still hold by the map catches up; what was replaced is removed there.",
		.example = "domctl region readmit us-east-1",
		.kind = "ChangeResult",
		.mutates = true,
		.run = run_region_readmit },
	{ .noun = "region",
		.verb = "remove",
		.arguments = "REGION",
		.argument_min = 1,
		.argument_max = 1,
		.complete = COMPLETE_REGION,
		.summary = "take a region without nodes out of the cluster",
		.detail = "Takes --confirm REGION. Refused while a node is there, or a policy names what nothing but "
			  "this\n"
			  "region is. Certificates of its authority count for nothing from then on.",
		.example = "domctl region remove us-east-1 --confirm us-east-1",
		.kind = "ChangeResult",
		.mutates = true,
		.run = run_region_remove },

	{ .noun = "node",
		.verb = "list",
		.summary = "the nodes and how they are",
		.example = "domctl node list",
		.kind = "NodeList",
		.run = run_node_list },
	{ .noun = "node",
		.verb = "show",
		.arguments = "NODE",
		.argument_min = 1,
		.argument_max = 1,
		.complete = COMPLETE_NODE,
		.summary = "one node: addresses, replicas, round trips, counters",
		.example = "domctl node show eu-west-1/a/n1",
		.kind = "Node",
		.run = run_node_show },
	{ .noun = "node",
		.verb = "drain",
		.arguments = "NODE",
		.argument_min = 1,
		.argument_max = 1,
		.complete = COMPLETE_NODE,
		.summary = "empty a node: leads at once, then its replicas",
		.detail = "It gets no new replica, gives its leads away, and its replicas go where their policies\n"
			  "allow, as one operation. Refused, as a whole, when a policy leaves a replica no other\n"
			  "place, or while another operation moves a shard of it. A node that is lost is drained in\n"
			  "the same way.",
		.example = "domctl node drain eu-west-1/a/n1 --wait",
		.flags = FLAGS(&flag_leads_only, &flag_wait, &flag_detach),
		.kind = "ChangeResult",
		.mutates = true,
		.run = run_node_drain },
	{ .noun = "node",
		.verb = "undrain",
		.arguments = "NODE",
		.argument_min = 1,
		.argument_max = 1,
		.complete = COMPLETE_NODE,
		.summary = "have a drained node back",
		.detail = "It takes replicas and leads again. What has left it stays where it is: `shard rebalance`\n"
			  "gives it its share again.",
		.example = "domctl node undrain eu-west-1/a/n1",
		.kind = "ChangeResult",
		.mutates = true,
		.run = run_node_undrain },
	{ .noun = "node",
		.verb = "decommission",
		.arguments = "NODE",
		.argument_min = 1,
		.argument_max = 1,
		.complete = COMPLETE_NODE,
		.summary = "remove a drained node from the cluster, for ever",
		.detail =
			"Takes --confirm NODE. Refused while it is not drained, holds a replica or votes in meta. Its\n"
			"place is free then for another node, with an empty data directory.",
		.example = "domctl node decommission eu-west-1/a/n1 --confirm eu-west-1/a/n1",
		.kind = "ChangeResult",
		.mutates = true,
		.run = run_node_decommission },

	{ .noun = "policy",
		.verb = "lint",
		.arguments = "FILE...",
		.argument_min = 1,
		.argument_max = ARGUMENTS_MAX,
		.complete = COMPLETE_FILE,
		.summary = "what is wrong in policy files; needs no cluster",
		.detail = "Exit 10 when something is. Warnings, of rules without effect, leave it at 0.",
		.example = "domctl policy lint policies.yaml",
		.kind = "FlawList",
		.run = run_policy_lint },
	{ .noun = "policy",
		.verb = "list",
		.summary = "the policies in force",
		.example = "domctl policy list",
		.kind = "PolicyList",
		.run = run_policy_list },
	{ .noun = "policy",
		.verb = "show",
		.arguments = "NAME",
		.argument_min = 1,
		.argument_max = 1,
		.complete = COMPLETE_POLICY,
		.summary = "one policy: rules, bindings, shards",
		.example = "domctl policy show eu-health",
		.flags = FLAGS(&flag_as_of),
		.kind = "Policy",
		.run = run_policy_show },
	{ .noun = "policy",
		.verb = "plan",
		.arguments = "FILE",
		.argument_min = 1,
		.argument_max = 1,
		.complete = COMPLETE_FILE,
		.summary = "what `policy apply` of this file would do; changes nothing",
		.detail =
			"Judged by meta's leader with the code that applies: rules before and after, copies that come "
			"and\n"
			"go, bytes to move and to erase, what is survived, expected latencies. Its id names just this\n"
			"outcome: `policy apply FILE --plan ID` is refused (exit 16) when another one would come of "
			"it.",
		.example = "domctl policy plan policies.yaml",
		.kind = "PolicyPlan",
		.run = run_policy_plan },
	{ .noun = "policy",
		.verb = "apply",
		.arguments = "FILE",
		.argument_min = 1,
		.argument_max = 1,
		.complete = COMPLETE_FILE,
		.summary = "bring policies and bindings of a file into force, all or nothing",
		.detail = "Policies and bindings that the file does not name stay as they are. Where replicas must "
			  "move, or a\n"
			  "binding must be fenced, an operation is started.",
		.example = "domctl policy apply policies.yaml --wait",
		.flags = FLAGS(&flag_plan, &flag_wait, &flag_detach),
		.kind = "ChangeResult",
		.mutates = true,
		.run = run_policy_apply },
	{ .noun = "policy",
		.verb = "diff",
		.arguments = "A B",
		.argument_min = 2,
		.argument_max = 2,
		.complete = COMPLETE_FILE,
		.summary = "what differs between two files, or a file and the cluster",
		.detail = "Each is a file, or the name of a policy in the cluster. One policy on each side: those two, "
			  "whatever they\n"
			  "are called. Exit 0: the same; 14: they differ.",
		.example = "domctl policy diff eu-health policies.yaml",
		.kind = "PolicyDiff",
		.run = run_policy_diff },
	{ .noun = "policy",
		.verb = "history",
		.arguments = "NAME",
		.argument_min = 1,
		.argument_max = 1,
		.complete = COMPLETE_POLICY,
		.summary = "a policy's rules of before, since when, and what changed",
		.detail = "The last 8 versions of each policy are kept before the one in force, at most 512 of all "
			  "together.",
		.example = "domctl policy history eu-health",
		.kind = "PolicyHistory",
		.run = run_policy_history },
	{ .noun = "policy",
		.verb = "rollback",
		.arguments = "NAME",
		.argument_min = 1,
		.argument_max = 1,
		.complete = COMPLETE_POLICY,
		.summary = "bring rules of before into force again",
		.detail = "A change like any other: judged by the nodes and bindings of now, and refused where they "
			  "forbid it.\n"
			  "Bindings stay as they are.",
		.example = "domctl policy rollback eu-health --to 12",
		.flags = FLAGS(&flag_to, &flag_wait, &flag_detach),
		.kind = "ChangeResult",
		.mutates = true,
		.run = run_policy_rollback },
	{ .noun = "policy",
		.verb = "verify",
		.summary = "are all copies that nodes hold as the rules in force say?",
		.detail = "Asks every node what it holds. Exit 0: yes; 14: there are findings, and one is that a node "
			  "does not answer.",
		.example = "domctl policy verify",
		.kind = "FindingList",
		.run = run_policy_verify },
	{ .noun = "policy",
		.verb = "explain",
		.arguments = "[FIELD]",
		.argument_max = 1,
		.complete =
			"store_in|never_in|copies|spread|copy_in|survive|witness_in|ack|reads|lead_in|follow|read_from|"
			"write_from|transit|isolated|erase_within",
		.summary = "what a field of a policy means; needs no cluster",
		.example = "domctl policy explain survive",
		.kind = "FieldList",
		.run = run_policy_explain },
	{ .noun = "policy",
		.verb = "test",
		.arguments = "FILE",
		.argument_min = 1,
		.argument_max = 1,
		.complete = COMPLETE_FILE,
		.summary = "would this file allow it? needs no cluster",
		.detail = "Exit 0: allowed; 3: refused, or one of several keys is.",
		.example = "domctl policy test policies.yaml --key pat/eu/4711 --from us/us-east-1 --op get",
		.flags = FLAGS(&flag_key, &flag_from, &flag_op, &flag_key_format),
		.kind = "Verdict",
		.run = run_policy_test },

	{ .noun = "binding",
		.verb = "list",
		.summary = "which prefixes and keys are bound to what",
		.example = "domctl binding list --policy eu-health",
		.flags = FLAGS(&flag_policy, &flag_key_format),
		.kind = "BindingList",
		.run = run_binding_list },
	{ .noun = "binding",
		.verb = "set",
		.arguments = "PREFIX POLICY",
		.argument_min = 2,
		.argument_max = 2,
		.complete = COMPLETE_POLICY,
		.summary = "bind a prefix, or with --exact one key, to a policy",
		.detail =
			"Keys that live there already are moved to the policy's shards: an operation. Writes of them "
			"wait "
			"meanwhile.\n"
			"It fails, and all is as before, where a binding around them forbids what the new one allows.",
		.example = "domctl binding set pat/eu/ eu-health",
		.flags = FLAGS(&flag_exact, &flag_key_format, &flag_wait, &flag_detach),
		.kind = "ChangeResult",
		.mutates = true,
		.run = run_binding_set },
	{ .noun = "binding",
		.verb = "unset",
		.arguments = "PREFIX",
		.argument_min = 1,
		.argument_max = 1,
		.summary = "remove a binding",
		.detail = "Its keys are moved to the policy of the next shorter one; if there is none it fails.",
		.example = "domctl binding unset pat/eu/tmp/",
		.flags = FLAGS(&flag_exact, &flag_key_format, &flag_wait, &flag_detach),
		.kind = "ChangeResult",
		.mutates = true,
		.run = run_binding_unset },
	{ .noun = "binding",
		.verb = "which",
		.arguments = "KEY",
		.argument_min = 1,
		.argument_max = 1,
		.summary = "the binding that holds a key",
		.example = "domctl binding which pat/eu/4711",
		.flags = FLAGS(&flag_key_format),
		.kind = "BindingList",
		.run = run_binding_which },

	{ .noun = "shard",
		.verb = "list",
		.summary = "the shards, their replicas and leaders",
		.example = "domctl shard list --policy eu-health",
		.flags = FLAGS(&flag_policy, &flag_region),
		.kind = "ShardList",
		.run = run_shard_list },
	{ .noun = "shard",
		.verb = "show",
		.arguments = "ID",
		.argument_min = 1,
		.argument_max = 1,
		.complete = COMPLETE_SHARD,
		.summary = "one shard and each of its replicas",
		.example = "domctl shard show 12",
		.kind = "Shard",
		.run = run_shard_show },
	{ .noun = "shard",
		.verb = "of",
		.arguments = "KEY",
		.argument_min = 1,
		.argument_max = 1,
		.summary = "the shard that holds a key",
		.example = "domctl shard of pat/eu/4711",
		.flags = FLAGS(&flag_key_format),
		.kind = "ShardList",
		.run = run_shard_of },
	{ .noun = "shard",
		.verb = "lead",
		.arguments = "ID",
		.argument_min = 1,
		.argument_max = 1,
		.complete = COMPLETE_SHARD,
		.summary = "say who should lead a shard",
		.example = "domctl shard lead 12 --in eu-west-1",
		.flags = FLAGS(&flag_in),
		.kind = "ChangeResult",
		.mutates = true,
		.run = run_shard_lead },
	{ .noun = "shard",
		.verb = "place",
		.arguments = "ID",
		.argument_min = 1,
		.argument_max = 1,
		.complete = COMPLETE_SHARD,
		.summary = "say which nodes should hold a shard",
		.example = "domctl shard place 12 --nodes 3,5,9",
		.flags = FLAGS(&flag_nodes, &flag_wait, &flag_detach),
		.kind = "ChangeResult",
		.mutates = true,
		.run = run_shard_place },
	{ .noun = "shard",
		.verb = "split",
		.arguments = "ID",
		.argument_min = 1,
		.argument_max = 1,
		.complete = COMPLETE_SHARD,
		.summary = "make two shards of one",
		.detail =
			"The upper half of its hashes goes to a new shard on the same nodes. Keys of that half wait "
			"while\n"
			"they are copied. A policy has at most 64 shards. Refused (exit 16) while an operation moves\n"
			"the shard, or keys of its policy.",
		.example = "domctl shard split 12",
		.flags = FLAGS(&flag_wait, &flag_detach),
		.kind = "ChangeResult",
		.mutates = true,
		.run = run_shard_split },
	{ .noun = "shard",
		.verb = "merge",
		.arguments = "ID ID",
		.argument_min = 2,
		.argument_max = 2,
		.complete = COMPLETE_SHARD,
		.summary = "make one shard of two neighbours",
		.detail = "The second one's keys go to the first, and the second goes. Its keys wait while they are "
			  "copied.\n"
			  "The two must be of one policy, next to each other, and on the same nodes.",
		.example = "domctl shard merge 12 40",
		.flags = FLAGS(&flag_wait, &flag_detach),
		.kind = "ChangeResult",
		.mutates = true,
		.run = run_shard_merge },
	{ .noun = "shard",
		.verb = "rebalance",
		.summary = "level what nodes carry",
		.detail =
			"Moves replicas, as few as it takes, from nodes that carry many to such as carry few, as far "
			"as\n"
			"their policies let them, as one operation; witnesses by themselves. What counts is how many\n"
			"replicas a node has, not their bytes. Shards that another operation moves, splits or merges\n"
			"stay, and so does what is on nodes that do not answer. With --dry-run: which would move.",
		.example = "domctl shard rebalance --dry-run",
		.flags = FLAGS(&flag_wait, &flag_detach),
		.kind = "ChangeResult",
		.mutates = true,
		.run = run_shard_rebalance },

	{ .noun = "key",
		.verb = "get",
		.arguments = "KEY",
		.argument_min = 1,
		.argument_max = 1,
		.summary = "read a key",
		.detail = "strong: the newest value. session: all that the session has seen. bounded=MS: no older than "
			  "that. nearest:\n"
			  "what the nearest replica has. -o wide and json say how old the answer may be, and who gave "
			  "it.",
		.example = "domctl key get pat/eu/4711",
		.flags = FLAGS(KEY_FORMS, &flag_read, &flag_session, &flag_must_be),
		.kind = "Key",
		.run = run_key_get },
	{ .noun = "key",
		.verb = "put",
		.arguments = "KEY VALUE",
		.argument_min = 2,
		.argument_max = 2,
		.complete = COMPLETE_FILE,
		.summary = "write a key; VALUE may be - or @FILE",
		.example = "domctl key put pat/eu/4711 @record.json",
		.flags = FLAGS(KEY_FORMS, &flag_session, &flag_must_be),
		.kind = "Key",
		.mutates = true,
		.run = run_key_put },
	{ .noun = "key",
		.verb = "delete",
		.arguments = "KEY",
		.argument_min = 1,
		.argument_max = 1,
		.summary = "delete a key; exit 1 when it was absent",
		.example = "domctl key delete pat/eu/4711",
		.flags = FLAGS(&flag_key_format, &flag_session, &flag_must_be),
		.kind = "Key",
		.mutates = true,
		.run = run_key_delete },
	{ .noun = "key",
		.verb = "cas",
		.arguments = "KEY VERSION VALUE",
		.argument_min = 3,
		.argument_max = 3,
		.summary = "write a key if its version is still this one; 0: if it is absent",
		.detail = "Exit 16 when it is another, which is printed.",
		.example = "domctl key cas pat/eu/4711 7214889871200256 @record.json",
		.flags = FLAGS(KEY_FORMS, &flag_session, &flag_must_be),
		.kind = "Key",
		.mutates = true,
		.run = run_key_cas },
	{ .noun = "key",
		.verb = "rebind",
		.arguments = "KEY POLICY",
		.argument_min = 2,
		.argument_max = 2,
		.complete = COMPLETE_POLICY,
		.summary = "move one key, which may be absent, to another policy",
		.detail = "As `binding set --exact`. Back to what is around it: `binding unset --exact`.",
		.example = "domctl key rebind pat/eu/4711 eu-strict",
		.flags = FLAGS(&flag_key_format, &flag_wait, &flag_detach),
		.kind = "ChangeResult",
		.mutates = true,
		.run = run_key_rebind },
	{ .noun = "key",
		.verb = "scan",
		.arguments = "PREFIX",
		.argument_min = 1,
		.argument_max = 1,
		.summary = "the keys with a prefix, in order",
		.detail = "Each shard's rows are as fresh as --read says. Exit 0 also when there are none.",
		.example = "domctl key scan pat/eu/ --limit 20",
		.flags = FLAGS(KEY_FORMS, &flag_limit, &flag_after, &flag_read, &flag_session, &flag_must_be),
		.kind = "KeyList",
		.run = run_key_scan },
	{ .noun = "key",
		.verb = "where",
		.arguments = "KEY...",
		.argument_min = 1,
		.argument_max = ARGUMENTS_MAX,
		.summary = "which replicas hold a key, and where",
		.detail = "Speaks of the key's shard: the key may be absent.",
		.example = "domctl key where pat/eu/4711",
		.flags = FLAGS(&flag_key_format),
		.kind = "KeyPlaces",
		.run = run_key_where },
	{ .noun = "key",
		.verb = "explain",
		.arguments = "KEY",
		.argument_min = 1,
		.argument_max = 1,
		.summary = "what would happen to an operation on a key, and why",
		.detail = "And what reads and writes of it take from each region, beside what physics asks for. Sends "
			  "nothing "
			  "about the key. Exit 3 when it would be refused.",
		.example = "domctl key explain pat/eu/4711 --op put --from us-east-1",
		.flags = FLAGS(&flag_op, &flag_from, &flag_key_format),
		.kind = "Explanation",
		.run = run_key_explain },

	{ .noun = "operation",
		.verb = "list",
		.summary = "long work: running and lately ended",
		.example = "domctl operation list",
		.kind = "OperationList",
		.run = run_operation_list },
	{ .noun = "operation",
		.verb = "show",
		.arguments = "ID",
		.argument_min = 1,
		.argument_max = 1,
		.summary = "one operation",
		.example = "domctl operation show 57",
		.kind = "OperationList",
		.run = run_operation_show },
	{ .noun = "operation",
		.verb = "wait",
		.arguments = "ID...",
		.argument_min = 1,
		.argument_max = 64,
		.summary = "wait until operations have ended",
		.detail = "Exit 16 when one failed, 7 when --timeout (default 60s here) is over first.",
		.example = "domctl operation wait 57 --timeout 5m",
		.kind = "OperationList",
		.run = run_operation_wait },
	{ .noun = "operation",
		.verb = "cancel",
		.arguments = "ID",
		.argument_min = 1,
		.argument_max = 1,
		.summary = "end an operation before it is done",
		.detail = "A placement, a drain or a rebalance: shards that have not come to where they were to be go\n"
			  "back, or go on where they may not; what was drained is had back. A binding, a split or a\n"
			  "merge, until its keys live where they are to go: all is as before. A changed policy is in\n"
			  "force at once: `policy rollback` takes it back. Exit 16 when it is too late, or has ended.",
		.example = "domctl operation cancel 57 --wait",
		.flags = FLAGS(&flag_wait, &flag_detach),
		.kind = "ChangeResult",
		.mutates = true,
		.run = run_operation_cancel },

	{ .noun = "audit",
		.verb = "heads",
		.summary = "how far each node's ledger goes, as meta keeps it, signed",
		.example = "domctl audit heads -o json >heads.json",
		.kind = "LedgerHeadList",
		.run = run_audit_heads },
	{ .noun = "audit",
		.verb = "show",
		.arguments = "[FILE...]",
		.argument_max = ARGUMENTS_MAX,
		.complete = COMPLETE_FILE,
		.summary = "what the nodes' ledgers say: replicas, snapshots, rules",
		.detail = "From every node, or from the files given (DATA/ledger/*.led), which needs no cluster.",
		.example = "domctl audit show --policy eu-health --region eu-west-1",
		.flags = FLAGS(&flag_policy, &flag_region, &flag_cas, &flag_heads),
		.kind = "LedgerRecordList",
		.run = run_audit_show },
	{ .noun = "audit",
		.verb = "verify",
		.arguments = "[FILE...]",
		.argument_max = ARGUMENTS_MAX,
		.complete = COMPLETE_FILE,
		.summary = "are the ledgers what was written, and did everything keep to the rules of its time?",
		.detail = "Of every node, or of the files given (DATA/ledger/*.led of one or more nodes), which needs "
			  "no\n"
			  "cluster, only the regions' authorities: the chain, the certificates, the heads that meta "
			  "keeps,\n"
			  "every event against the policy in force. Exit 0: all in order; 14: something is not; 15: a "
			  "node\n"
			  "did not answer. A node that was decommissioned is judged by its files.",
		.example = "domctl audit verify /var/lib/domicile/ledger/*.led --cas cas.pem --heads heads.json",
		.flags = FLAGS(&flag_cas, &flag_heads),
		.kind = "Audit",
		.run = run_audit_verify },

	{ .noun = "audit",
		.verb = "proof",
		.arguments = "KEY [FILE...]",
		.argument_min = 1,
		.argument_max = ARGUMENTS_MAX,
		.complete = COMPLETE_FILE,
		.summary = "what every node's ledger says about the shard of a key, for somebody without the cluster",
		.detail =
			"Those records, of all others the digests, up to the head that each node has signed. The key\n"
			"is not in it. It shows what was recorded about the shard, not that nothing else was: that\n"
			"takes the whole ledgers. FILE: ledgers (DATA/ledger/*.led) of nodes that were\n"
			"decommissioned; those of which there is none are named as left out.",
		.example = "domctl audit proof pat/eu/4711 --file proof.json",
		.flags = FLAGS(&flag_file, &flag_key_format),
		.run = run_audit_proof },
	{ .noun = "audit",
		.verb = "check",
		.arguments = "FILE",
		.argument_min = 1,
		.argument_max = 1,
		.complete = COMPLETE_FILE,
		.summary = "does a proof hold? needs the regions' authorities and no cluster",
		.detail = "Exit 0: it holds, and says where copies were, and when; 14: it does not; 15: it holds, but\n"
			  "leaves out nodes that were decommissioned.",
		.example = "domctl audit check proof.json --cas cas.pem",
		.flags = FLAGS(&flag_cas),
		.kind = "ProofCheck",
		.run = run_audit_check },

	{ .noun = "report",
		.verb = "residency",
		.arguments = "[FILE...]",
		.argument_max = ARGUMENTS_MAX,
		.complete = COMPLETE_FILE,
		.summary = "where each policy's copies were and are, by the nodes' ledgers",
		.detail = "From every node, or from the files given (DATA/ledger/*.led). With --file a page of HTML.",
		.example = "domctl report residency --file report.html",
		.flags = FLAGS(&flag_file, &flag_cas, &flag_heads),
		.kind = "ResidencyReport",
		.run = run_report_residency },

	{ .noun = "residency",
		.verb = "scan",
		.summary = "write canaries, and look for them on every node's disk",
		.detail = "Random keys and values are written under a prefix of each policy, as a client of a region "
			  "that may "
			  "write\n"
			  "them. Then every node looks for them in all its files, by a question that does not say what "
			  "they "
			  "are.\n"
			  "Exit 0: they are where their copies are, and nowhere else; 14: elsewhere, or not where they "
			  "must "
			  "be; 15:\n"
			  "some node could not be asked. They are deleted at the end, unless --keep.",
		.example = "domctl residency scan --policy eu-health",
		.flags = FLAGS(&flag_scanned_policy, &flag_keys, &flag_keep_canaries, &flag_canaries),
		.kind = "ResidencyScan",
		.mutates = true,
		.run = run_residency_scan },

	{ .noun = "cert",
		.verb = "create-ca",
		.summary = "make a region's certificate authority, or with --admin the admins'",
		.detail = "A region's authority is bound to its place: it can sign nothing elsewhere. Its key belongs "
			  "in that\n"
			  "region and nowhere else.",
		.example = "domctl cert create-ca --ca-dir ca --cluster acme --place eu/ie/eu-west-1",
		.flags = FLAGS(&flag_ca_dir, &flag_cluster, &flag_place, &flag_ca_admin, &flag_days),
		.only_does = true,
		.run = run_cert_create_ca },
	{ .noun = "cert",
		.verb = "create-node",
		.summary = "make a node's certificate: node.crt, node.key, cas.pem",
		.example = "domctl cert create-node --ca-dir ca --out n1 --cluster acme --place eu/ie/eu-west-1/a/n1",
		.flags = FLAGS(&flag_ca_dir, &flag_out, &flag_cluster, &flag_place, &flag_days),
		.only_does = true,
		.run = run_cert_create_node },
	{ .noun = "cert",
		.verb = "create-client",
		.summary = "make a client's certificate: client-REGION.crt",
		.example = "domctl cert create-client --ca-dir ca --out app --cluster acme --place eu/ie/eu-west-1 "
			   "--name app1",
		.flags = FLAGS(&flag_ca_dir, &flag_out, &flag_cluster, &flag_place, &flag_holder, &flag_days),
		.only_does = true,
		.run = run_cert_create_client },
	{ .noun = "cert",
		.verb = "create-admin",
		.summary = "make an administrator's certificate: admin.crt",
		.example = "domctl cert create-admin --ca-dir ca --out ops --cluster acme --name ops",
		.flags = FLAGS(&flag_ca_dir, &flag_out, &flag_cluster, &flag_holder, &flag_days),
		.only_does = true,
		.run = run_cert_create_admin },
	{ .noun = "cert",
		.verb = "revoke",
		.arguments = "[FILE]",
		.argument_max = 1,
		.complete = COMPLETE_FILE,
		.summary = "put a certificate on its authority's list: nodes let it in no more",
		.detail = "Writes the authority's list, ca-REGION.crl in --ca-dir, and crls.pem in --out, the sum of "
			  "all\n"
			  "lists there. Bring crls.pem to where each node's `crl` says: within ten seconds who is "
			  "named is\n"
			  "out. Without FILE and --serial the list is only made anew, for --days more.",
		.example = "domctl cert revoke app1/client-eu-west-1.crt --ca-dir ca --out ca",
		.flags = FLAGS(&flag_ca_dir, &flag_out, &flag_serial, &flag_place, &flag_ca_admin, &flag_days),
		.only_does = true,
		.run = run_cert_revoke },
	{ .noun = "cert",
		.verb = "list",
		.summary = "the certificates of a directory and their days left",
		.detail = "Exit 14 when one has less than 21 days.",
		.example = "domctl cert list --certs /etc/domicile/certs",
		.flags = FLAGS(&flag_ca_dir),
		.kind = "CertificateList",
		.run = run_cert_list },
	{ .noun = "cert",
		.verb = "show",
		.arguments = "FILE",
		.argument_min = 1,
		.argument_max = 1,
		.complete = COMPLETE_FILE,
		.summary = "what a certificate says: role, place, dates",
		.example = "domctl cert show node.crt",
		.kind = "CertificateList",
		.run = run_cert_show },
	{ .noun = "cert",
		.verb = "verify",
		.arguments = "FILE",
		.argument_min = 1,
		.argument_max = 1,
		.complete = COMPLETE_FILE,
		.summary = "would a node with these authorities accept this certificate?",
		.detail = "Exit 14 when it would not.",
		.example = "domctl cert verify node.crt --cas cas.pem --key-file node.key",
		.flags = FLAGS(&flag_cas, &flag_key_file),
		.run = run_cert_verify },

	{ .noun = "version",
		.summary = "versions of this tool and of its library",
		.example = "domctl version -o json",
		.kind = "Version",
		.run = run_version },
	{ .noun = "help",
		.arguments = "[CODE|TOPIC]",
		.argument_max = 2,
		.complete = COMPLETE_TOPIC,
		.summary = "explain a command, an error code or a topic",
		.example = "domctl help DOM-R003",
		.run = run_help },
	{ .noun = "completion",
		.arguments = "bash",
		.argument_min = 1,
		.argument_max = 1,
		.complete = "bash",
		.summary = "a script that completes domctl's words in a shell",
		.example = "source <(domctl completion bash)",
		.run = run_completion },
	{ .noun = "__complete",
		.arguments = "WORD...",
		.argument_max = ARGUMENTS_MAX,
		.summary = "candidates for the last word",
		.example = "domctl __complete -- key g",
		.hidden = true,
		.run = run_complete },
	{ .noun = "__docs",
		.summary = "docs/cli.md",
		.example = "domctl __docs >docs/cli.md",
		.hidden = true,
		.run = run_docs },
};
const size_t command_count = sizeof(commands) / sizeof(commands[0]);
