"""What a plan said against what came of it, for test_plan. Prints one line, or what differs and ends with 1.

copies PLAN BEFORE AFTER yes|no   shards as listed before and after: each policy's copies by node, and bytes of the new ones;
                                  yes: something must have moved
expected PLAN NOW                 leads expected by the plan and those that a plan made now reports; times are expected for the same
                                  regions (how long: round trips on a busy machine differ from minute to minute)
"""

import collections
import json
import sys


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)["items"]


def copies_of(shards, policy):
    """node -> {shard: size}"""
    copies = collections.defaultdict(dict)
    for shard in shards:
        if shard["policy"] == policy:
            for node, size in zip(shard["nodes"], shard["sizes"]):
                copies[node][shard["id"]] = size
    return copies


def compare_policy(plan, before, after):
    had, has = copies_of(before, plan["name"]), copies_of(after, plan["name"])
    wrong = []
    moved = new_bytes = 0
    said = {("add", c["node"]): c for c in plan["copies"] if c["action"] == "add"}
    said.update({("remove", c["node"]): c for c in plan["copies"] if c["action"] == "remove"})
    for node in set(had) | set(has):
        for action, these in (("add", set(has[node]) - set(had[node])), ("remove", set(had[node]) - set(has[node]))):
            copy = said.pop((action, node), None)
            if len(these) != (copy["shards"] if copy else 0):
                wrong.append(f"{plan['name']}: {action} at node {node}: {len(these)} shards, planned {copy}")
            moved += len(these)
            if action == "add":
                new_bytes += sum(has[node][shard] or 0 for shard in these)
    if said:
        wrong.append(f"{plan['name']}: planned and not done: {list(said)}")
    if plan["action"] == "add":
        new_bytes = 0  # made, not moved
    planned = plan["bytes_to_move"]
    if planned is None or abs(planned - new_bytes) > 0.1 * max(planned, new_bytes):
        wrong.append(f"{plan['name']}: {new_bytes} bytes moved, planned {planned}")
    return wrong, moved, new_bytes


def compare_copies(plan, before, after, wanted):
    wrong, moved, size = [], 0, 0
    for policy in load(plan)[0]["policies"]:
        flaws, copies, new_bytes = compare_policy(policy, load(before), load(after))
        wrong += flaws
        size += new_bytes
        moved += copies if policy["action"] != "add" else 0
    if (moved > 0) != (wanted == "yes"):
        wrong.append(f"{moved} copies moved, and that was wanted: {wanted}")
    return wrong, f"{moved} copies came or went, {size // 1024} KiB moved"


def compare_expected(plan, now):
    wrong, count = [], 0
    for planned, settled in zip(load(plan)[0]["policies"], load(now)[0]["policies"]):
        if planned["leads_after"] != settled["leads_before"]:
            wrong.append(f"{planned['name']}: led in {settled['leads_before']}, planned {planned['leads_after']}")
        for a, b in zip(planned["latencies"], settled["latencies"]):
            for field in ("write_ms", "write_floor_ms", "read_ms", "read_floor_ms"):
                expected, is_now = a["after"][field], b["before"][field]
                count += expected is not None
                if (expected is None) != (is_now is None):
                    wrong.append(f"{planned['name']} from {a['region']}: {field} {is_now}, planned {expected}")
    if count == 0:
        wrong.append("no time was expected at all")
    return wrong, f"{count} times as expected"


def main():
    compare = {"copies": compare_copies, "expected": compare_expected}[sys.argv[1]]
    wrong, line = compare(*sys.argv[2:])
    print("\n".join(wrong) if wrong else line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
