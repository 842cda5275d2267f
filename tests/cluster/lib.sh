# tests/cluster/lib.sh: shared by the cluster tests; sourced, never run. A test is one script in two acts: started by
# tests/run-cluster it calls `in_demo MAP FLAGS...`, which runs it again inside `domctl demo`, where DEMO_DIR is set. The
# demo owns the nodes, adopts what the test restarts, ends all of it by pid and removes its directory, whatever happens.
#
# Given: OUT (build/release) and BUILD. Lines that begin with "| " are shown also when the test passes.

set -u
: "${OUT:=$PWD/build/release}" "${BUILD:=$PWD/build}"
export OUT BUILD PATH="$OUT/bin:$PATH"
SELF=$(realpath "$0")
HERE=$(dirname "$SELF")
CHURN=$OUT/tests/cluster/churn
POWERCUT=$BUILD/powercut.so

say() { printf '  %s\n' "$*"; }
shown() { printf '| %s\n' "$*"; }
skip() {
	echo "$*"
	exit 77
}

# The test's own directory, gone with it. Inside a demo: the demo's, which goes with that.
scratch() {
	if [ -n "${DEMO_DIR:-}" ]; then
		SCRATCH=$DEMO_DIR/scratch
		mkdir -p "$SCRATCH"
	else
		SCRATCH=$(mktemp -d)
		trap 'rm -rf "$SCRATCH"' EXIT
	fi
}

# --- demo -----------------------------------------------------------------------------------------------------

inside_demo() { [ -n "${DEMO_DIR:-}" ]; }
in_demo() { # MAP and flags of `domctl demo`; its exit code is the second act's
	domctl demo -q "$@" -- "$SELF"
}
# Every endpoint of lan3: some node of it always answers.
any_node() { export DOMCTL_ENDPOINT="$DOMCTL_ENDPOINT_LAN_A,$DOMCTL_ENDPOINT_LAN_B,$DOMCTL_ENDPOINT_LAN_C"; }

# The end of a test. When it has failed: what the nodes complained of, and at the very end what failed, again.
failed=0 failures=()
fail() {
	printf '  FAILED: %s\n' "$*"
	failures+=("$*")
	failed=1
}
finish() {
	if [ "$failed" -ne 0 ] && inside_demo; then
		for log in "$DEMO_DIR"/*-n[0-9]*/log; do
			echo "  -- ${log#"$DEMO_DIR"/}"
			{ grep -E 'level=(warn|error)|^domiciled:|DOM-|ssert' "$log" | tail -n 6; tail -n 2 "$log"; } | cut -c 1-240
		done
		printf '  FAILED: %s\n' "${failures[@]}"
	fi
	exit "$failed"
}

# wanted exit code, then a command. Its output stays in $output.
output=
expect() {
	local wanted=$1 code
	shift
	output=$("$@" 2>&1 </dev/null)
	code=$?
	[ "$code" -eq "$wanted" ] && return 0
	fail "exit $code, wanted $wanted: ${*:1:10}"
	printf '%s\n' "$output" | head -n 12 | sed 's/^/      /'
	return 1
}
contains() { # the last expect's output
	case $output in *"$1"*) return 0 ;; esac
	fail "the answer lacks '$1'"
	printf '%s\n' "$output" | head -n 12 | sed 's/^/      /'
}

refused() { # CODE, EXIT, command
	expect "$2" "${@:3}" && contains "code  $1"
}

# --- waiting: for something that comes true, polled, with an end ------------------------------------------------

# seconds, then a command that succeeds once it is true.
wait_until() {
	local end=$((SECONDS + $1))
	shift
	while ! "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -ge "$end" ] && return 1
		sleep 0.05
	done
}
ended() { ! kill -0 "$1" 2>/dev/null || [ "$(state_of "$1")" = Z ]; }
state_of() { awk '/^State:/ { print $2 }' "/proc/$1/status" 2>/dev/null; }
gone() { wait_until "${2:-15}" ended "$1"; }
ends_with() { # exit code, command; for wait_until
	"${@:2}"
	[ $? -eq "$1" ]
}
well() { domctl status -q; }

# --- nodes ----------------------------------------------------------------------------------------------------

nodes() { for dir in "$DEMO_DIR"/*-n[0-9]*/; do basename "$dir"; done; }
node_dir() { echo "$DEMO_DIR/$1"; }
node_pid() { cat "$DEMO_DIR/$1/pid"; }
node_port() { sed -n 's/^listen: .*://p' "$DEMO_DIR/$1/domiciled.yaml"; }
running() { local pid; pid=$(node_pid "$1") && [ -n "$pid" ] && ! ended "$pid"; }

kill_node() { # node, signal (KILL)
	local pid
	pid=$(node_pid "$1") || return 1
	kill "-${2:-KILL}" "$pid" && { [ "${2:-KILL}" = STOP ] || [ "${2:-KILL}" = CONT ] || gone "$pid"; }
}

# As the demo starts it; variables before the name are the node's: start_node [NAME=VALUE...] NODE [flag...].
# DOMICILED may name another build.
start_node() {
	local variables=() dir
	while [[ $1 == *=* ]]; do
		variables+=("$1")
		shift
	done
	dir=$(node_dir "$1")
	shift
	rm -f "$dir/listening"
	(
		[ -n "${DEMO_PROXY_FD:-}" ] && eval "exec $DEMO_PROXY_FD>&-"
		exec env "${variables[@]}" "${DOMICILED:-$OUT/bin/domiciled}" --config "$dir/domiciled.yaml" \
			--listening-file "$dir/listening" "$@" >>"$dir/log" 2>&1 </dev/null
	) &
	echo $! >"$dir/pid"
	disown $! # the shell need not say how it ended
}
listening() { [ -s "$DEMO_DIR/$1/listening" ]; }
await_node() { # until it listens; 1 when it ended instead
	local end=$((SECONDS + 20))
	until listening "$1"; do
		running "$1" && [ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.02
	done
}

# lead NODE: it gets to lead every shard.
lead() { # a hand-over that the load of the moment has spoiled is asked for again
	wait_until 40 takes_all "${1%-n[0-9]*}" || fail "$1 does not get to lead every shard: $(domctl shard list 2>&1)"
}
takes_all() {
	local shard
	leads_all "$1" && return
	for shard in $(domctl shard list -o name); do
		domctl shard lead "$shard" --in "$1" >/dev/null
	done
	wait_until 5 leads_all "$1"
}
leads_all() { [ "$(domctl shard list -o json | json 'all((i["leader"] or "").startswith("'"$1"'/") for i in d["items"])')" = True ]; }

# --- the wire, where the map has one ----------------------------------------------------------------------------

proxy() { # a line of tools/proxy.h
	local answer
	echo "$*" >&"$DEMO_PROXY_FD"
	read -r -t 5 -u "$DEMO_PROXY_FD" answer && [ "$answer" = ok ]
}

json() { python3 -c "import json,sys; d=json.load(sys.stdin); print($1)"; }
