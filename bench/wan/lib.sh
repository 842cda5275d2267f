# bench/wan/lib.sh: shared by with-domicile and with-etcd, which bring a cluster up inside a lab; sourced, never run.
set -u
program=$(basename "$0")
HERE=$(dirname "$(realpath "$0")")

die() { # exit code, words
	echo "$program: ${*:2}" >&2
	exit "$1"
}
[ -n "${WANLAB:-}" ] || die 2 "not in a lab: wanlab run MAP -- $0 ..."
PATH=$(dirname "$WANLAB_PROGRAM"):$PATH
export PATH

on() { wanlab exec "$@"; } # host, command
ctl() { wanlab ctl "$@" >/dev/null || die 1 "the lab refuses: $*"; }
suffix_of() { tr 'a-z-' 'A-Z_' <<<"$1"; }
region_value() { # WANLAB_NAME, region: the value of WANLAB_NAME_<REGION>
	local name
	name=$1_$(suffix_of "$2")
	echo "${!name:-}"
}
nodes_of() { region_value WANLAB_NODES "$1"; } # addresses
quiet=
step() { [ -n "$quiet" ] || echo "$program: $* ($SECONDS s)" >&2; }

# Told to the command, and to every later `wanlab exec` of this lab.
publish() { # NAME VALUE
	export "$1=$2"
	echo "$1=$2" >>"$WANLAB_DIR/environment"
}
wait_until() { # seconds, command that succeeds once it is true
	local end=$((SECONDS + $1))
	shift
	while ! "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.1
	done
}

# Processes of ours, by their own ids; ended when we are, however that comes about.
pids=()
end_all() {
	local pid
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; done
	for pid in "${pids[@]}"; do
		wait_until 10 ended "$pid" || kill -KILL "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	pids=()
}
ended() { ! kill -0 "$1" 2>/dev/null || [ "$(awk '/^State:/ { print $2 }' "/proc/$1/status")" = Z ]; }
all_run() {
	local pid
	for pid in "${pids[@]}"; do ! ended "$pid" || return 1; done
}

dir='' keep=''
make_dir() { # the directory of --keep, or one that goes with us
	if [ -n "$keep" ]; then
		mkdir -p "$keep" && [ -z "$(ls -A "$keep")" ] || die 1 "$keep is not an empty directory"
		dir=$(realpath "$keep")
	else
		dir=$(mktemp -d "${TMPDIR:-/tmp}/$program.XXXXXX") || exit 1
	fi
}
leave() {
	end_all
	[ -n "$keep" ] || [ -z "$dir" ] || rm -rf "$dir"
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The command, in the background, so that a signal reaches us while it runs. Its exit code is ours.
run_command() {
	local code
	"$@" <&0 &
	command_pid=$!
	pids=("$command_pid" "${pids[@]}")
	wait "$command_pid"
	code=$?
	pids=("${pids[@]:1}")
	exit "$code"
}
