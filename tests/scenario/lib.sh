# Helpers of scenarios: real servers of their own, in a folder by mktemp, on
# free ports, as the user of conf/local (never root).
#
#	# c0003: the promise in one sentence.
#	. "$(dirname "$0")/lib.sh"
#	lab c0003                       # a folder, and an end that cleans up
#	start_pg
#	start_brokers city hub
#	put 1000                        # the department's table, invented people
#	start_gxbusd city link hub      # parts of conf/local/ctl
#	wait_until 60 heads_equal
#	wait_until 30 same_set
#	kill_hard link                  # SIGKILL; stop_part ends in order
#	quiet_logs                      # no line of level error in daemons' logs
#	passed
#
# What fails prints why and ends the scenario with 1; a server that is missing
# ends it with 77.  At the end everything this scenario started is ended, by
# pid and start time, and the folder is removed (kept with KEEP=1).
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1

STEP=start

fail() {
	echo "FAILED: $STEP: $*"
	exit 1
}

passed() {
	echo "all of $LAB passed"
	exit 0
}

# step TEXT: what comes now; failures name it
step() {
	STEP=$*
	echo "- $STEP (at $SECONDS s)"
}

# lab NAME: a folder and servers' settings for this scenario alone
lab() {
	LAB=$1
	GX_LOCAL_DIR=$(mktemp -d "/tmp/gx-$LAB.XXXXXX") || exit 1
	export GX_LOCAL_DIR
	trap end_lab EXIT
	trap 'exit 1' INT TERM
	. conf/local/lib.sh
	. conf/local/compare.sh
	gxl_places
	[ -n "$PG_BIN" ] && command -v java >/dev/null ||
		{ echo "PostgreSQL or Java is missing: conf/local/deps"; exit 77; }
	GXBUS=$GXL_ROOT/build/gxbus
}

# die of conf/local ends a part; here it ends the scenario.
end_lab() {
	local rc=$? part
	if [ $rc != 0 ] && [ $rc != 77 ]; then
		for part in $GXL_DAEMONS; do
			[ -s "$D/log/$part.log" ] || continue
			echo "the end of $part.log:"
			tail -n 8 "$D/log/$part.log" | cut -c 1-300
		done
	fi
	if [ -n "${KEEP:-}" ]; then
		conf/local/ctl stop
		echo "kept: $GX_LOCAL_DIR"
	else
		conf/local/ctl clean
	fi
	exit $rc
}

# ---- servers ----

start_pg() {
	conf/local/ctl start postgres || fail "PostgreSQL does not start"
}

# start_brokers city hub
start_brokers() {
	# shellcheck disable=SC2046
	conf/local/ctl start $(printf 'kafka-%s ' "$@") ||
		fail "Kafka does not start"
}

# start_gxbusd city link hub: and nginx, if named
start_gxbusd() {
	conf/local/ctl start "$@" || fail "$* does not start"
}

# walking COUNT: the whole path, so many rows of the department at both ends
walking() {
	step "a department's $1 rows are at city and hub"
	start_pg
	start_brokers city hub
	put "$1"
	start_gxbusd hub city link nginx
	wait_until 60 heads_equal
	wait_until 30 same_set
}

kill_hard() {
	conf/local/ctl kill "$@" || fail "$* did not run"
}

stop_part() {
	conf/local/ctl stop "$@"
}

# signal PART NAME: STOP, CONT, ...
signal() {
	is_running "$1" || fail "$1 does not run"
	kill "-$2" "$PID"
}

# with_env PART NAME=VALUE...: environment for the daemon's next starts, such
# as GX_CRASH_POINT=link.after_ack:7; without values it is forgotten.
with_env() {
	local part=$1
	shift
	: >"$D/$part/env"
	[ $# = 0 ] || printf '%s\n' "$@" >"$D/$part/env"
}

# set_conf PART SECTION KEY VALUE: a key of a daemon's configuration, kept over
# restarts ("flow social" guard_percent 20)
set_conf() {
	printf '%s\t%s\t%s\n' "$2" "$3" "$4" >>"$D/$1/conf.local"
}

# ---- waiting ----

. tests/scenario/wait.sh

# Before a wait that was in vain fails.
in_vain() {
	same_both "$D/both" 2>/dev/null || [ ! -d "$D/both" ] ||
		show_difference "$D/both"
}

# ---- the department ----

# put COUNT [FIRST]: so many rows, from number FIRST on (1)
put() {
	[ -e "$D/loaded" ] || load_department 0 || fail "the department's table"
	touch "$D/loaded"
	conf/local/gen --count "$1" --first "${2:-1}" |
		db hrss -c 'COPY public.ac01 FROM STDIN' || fail "put $*"
}

# sql DATABASE STATEMENT: hrss or gx_<node>; it must succeed
sql() {
	db "$1" -c "$2" || fail "sql at $1: $2"
}

# ask DATABASE QUERY: the answer, "" if the server is away
ask() {
	db "$1" -c "$2" 2>/dev/null
}

# ---- what must hold ----

heads() {
	ask "$1" "SELECT stream, next_seq, head FROM gx_stream
WHERE stream LIKE '/$GXL_CITY/%' AND stream NOT LIKE '/%/gx/%' ORDER BY stream COLLATE \"C\""
}

# The same streams of departments with the same seq and head at both ends, and
# nothing of the department's is still on its way.
heads_equal() {
	local a b
	a=$(heads gx_city) && b=$(heads gx_hub) && [ -n "$a" ] && [ "$a" = "$b" ]
}

# The department's rows are the base tables' rows and the keys in quarantine,
# by key and content.
same_set() {
	mkdir -p "$D/both"
	read_both "$D/both" && same_both "$D/both"
}

# seq runs from 1 without a hole over the batches a node has taken
no_gap() {
	local n
	n=$(ask "$1" "SELECT count(*) FROM (SELECT stream, first, lag(first + n)
OVER (PARTITION BY stream ORDER BY first) AS want FROM gx_batch) b
WHERE first <> coalesce(want, 1)")
	[ "$n" = 0 ] || fail "$1: $n holes in seq"
}

# One digest over the base table's content, with stream, epoch and seq.
table_digest() {
	ask "$1" "COPY (SELECT * FROM social.insured ORDER BY aac001 COLLATE \"C\")
TO STDOUT" | sha256sum | cut -c 1-16
}

# unchanged_by DATABASE COMMAND...: the table is the same before and after
unchanged_by() {
	local name=$1 before
	before=$(table_digest "$name")
	shift
	"$@" || fail "$*"
	[ "$before" = "$(table_digest "$name")" ] || fail "$name was changed by $*"
}

# stopped_with DATABASE FLOW CODE: the flow stands still with this error
stopped_with() {
	[ "$(ask "$1" "SELECT code FROM gx_flow WHERE flow = '$2'
AND state = 'stopped'")" = "$3" ]
}

# Most memory a daemon has had since its start, below 96 MiB each.
slim() {
	local part mib
	for part in city link hub; do
		is_running "$part" || fail "$part does not run"
		mib=$(($(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' \
			"/proc/$PID/status") / 1024))
		echo "  $part: $mib MiB at most"
		[ "$mib" -lt 96 ] || fail "$part: $mib MiB"
	done
}

# quiet_logs [PATTERN]: no error line but those that match PATTERN
quiet_logs() {
	local part
	for part in $GXL_DAEMONS; do
		[ -s "$D/log/$part.log" ] || continue
		if grep -E '^[^ ]+ (error|fatal) |Sanitizer|Assertion|GX_ASSERT' \
			"$D/log/$part.log" | grep -vE "${1:-^$}" | head -n 5 |
			grep .; then
			fail "$part.log has lines that nobody expected"
		fi
	done
}

# cli city|hub ARG...: the command line at that node, by its socket's nginx
cli() {
	local node=$1
	shift
	(
		. "$OUT/env"
		# Each is the other's peer.
		[ "$node" = hub ] || {
			GXBUS_PEER_URL=$GXBUS_URL
			GXBUS_URL=$GXBUS_CITY_URL
		}
		"$GXBUS" "$@"
	)
}
