#!/bin/sh
# The whole gate: build, lint, unit, simulation, scenario; one line per test,
# and a closing line "N passed, N failed, N skipped".  Exit 1 if any failed.
#
#   tests/run.sh                     everything
#   tests/run.sh unit scenario       only these parts, in the order given
#   ONLY='k* c0001*' tests/run.sh scenario   only files whose name matches
#
# A test says what happened by its exit code: 0 passed, 77 cannot run here,
# anything else failed.  One that cannot run here fails all the same unless
# tests/may-skip names it with a reason.  Binaries of cmocka count each of
# their tests.  What a test printed is in build/test-logs/<name>.log; of those
# that failed it is shown at the end, in full.
#
# Scenarios have servers, ports and folders of their own and wait for what the
# machine has time for (scenario/wait.sh), so AT_ONCE (2) of them run at a
# time: those of the file "longest" first, in its order, that none is left over
# at the end.  One with a line "# alone: why" at its head runs when all others
# have ended.
#
# Environment: OUT (build/obj) where the unit binaries are, SEEDS for the
# simulation, TEST_TIMEOUT_S (1800) for one test, AT_ONCE, JOBS (2) of make.
set -u
cd "$(dirname "$0")/.." || exit 1

OUT=${OUT:-build/obj}
SEEDS=${SEEDS:-20000}
TEST_TIMEOUT_S=${TEST_TIMEOUT_S:-1800}
AT_ONCE=${AT_ONCE:-2}
JOBS=${JOBS:-2}
ONLY=${ONLY:-*}
LOGS=build/test-logs
mkdir -p "$LOGS"
[ "${1:-}" = --one ] || rm -f "$LOGS"/*.log "$LOGS"/*.word

# Where python3 is a script that looks for the real one, that took half of the
# time of some scenarios.
real=$(python3 -c 'import sys; print(sys.executable)' 2>/dev/null) &&
	PATH=$(dirname "$real"):$PATH

n_passed=0
n_failed=0
n_skipped=0
failed=

# say WORD NAME SECONDS [REMARK]
say() {
	printf '%-4s %-44s %4ss%s\n' "$1" "$2" "$3" "${4:+  $4}"
}

fail() {
	n_failed=$((n_failed + 1))
	failed="$failed $1"
}

# All that the tests which failed have printed.
show_failed() {
	for name in $failed; do
		[ -f "$LOGS/$name.log" ] || continue
		echo
		echo "---- $name"
		grep -vE '^\[ (RUN|      OK)' "$LOGS/$name.log" | sed 's/^/     | /'
	done
	echo
}

# The reason why NAME may be skipped; fails if there is none.
may_skip() {
	sed -n "s/^$1[[:space:]]\{1,\}\([^[:space:]].*\)\$/\1/p" \
		tests/may-skip 2>/dev/null | grep .
}

# skipped NAME SECONDS
skipped() {
	if reason=$(may_skip "$1"); then
		n_skipped=$((n_skipped + 1))
		say skip "$1" "$2" "$reason"
	else
		fail "$1"
		say FAIL "$1" "$2" "skipped, but tests/may-skip does not name it"
	fi
}

# limited COMMAND...: into $log; its exit code is in rc.  It is in a group of
# its own, so who ends us by a key has to be told to end it too.
child=
trap '[ -z "$child" ] || { kill "$child"; wait "$child"; }; exit 130' INT TERM
limited() {
	timeout -k 60 "$TEST_TIMEOUT_S" "$@" >"$log" 2>&1 </dev/null &
	child=$!
	wait "$child"
	rc=$?
	child=
}

# run NAME COMMAND...: one test, by its exit code
run() {
	name=$1
	shift
	log=$LOGS/$name.log
	from=$(date +%s)
	limited "$@"
	took=$(($(date +%s) - from))
	case $rc in
	0)
		n_passed=$((n_passed + 1))
		say ok "$name" "$took"
		;;
	77)
		skipped "$name" "$took"
		;;
	*)
		fail "$name"
		remark="exit $rc"
		[ "$rc" -eq 124 ] && remark="timed out after $TEST_TIMEOUT_S s"
		say FAIL "$name" "$took" "$remark"
		;;
	esac
}

# The number in cmocka's line "[  WORD  ] N test(s)"; 0 if there is none.
count() {
	sed -n "s/^\[  $2 *\] \([0-9]*\) test(s).*/\1/p" "$1" |
		awk '{ n += $1 } END { print n + 0 }'
}

# run_unit BINARY ARG...: count each test of cmocka
run_unit() {
	name=$(basename "$1")
	log=$LOGS/$name.log
	from=$(date +%s)
	limited "$@"
	took=$(($(date +%s) - from))
	passed=$(count "$log" PASSED)
	wrong=$(count "$log" FAILED)
	n_passed=$((n_passed + passed))
	# It died, or ended badly without naming a test.
	if [ "$rc" -ne 0 ] && [ "$wrong" -eq 0 ]; then
		wrong=1
	elif [ "$rc" -eq 0 ] && [ "$wrong" -eq 0 ] && [ "$passed" -eq 0 ] &&
		! grep -q '^\[  SKIPPED' "$log"; then
		# Not cmocka: the exit code is one test.
		n_passed=$((n_passed + 1))
		passed=1
	fi
	if [ "$wrong" -gt 0 ]; then
		n_failed=$((n_failed + wrong))
		failed="$failed $name"
		say FAIL "$name" "$took" "$wrong failed, $passed passed, exit $rc"
	else
		say ok "$name" "$took" "$passed tests"
	fi
	for test in $(sed -n 's/^\[  SKIPPED \] \([a-z_][a-z_0-9]*\)$/\1/p' \
		"$log" | sort -u); do
		skipped "$name.$test" "$took"
	done
}

# Is NAME one of those asked for?
wanted() {
	set -f
	for pattern in $ONLY; do
		# shellcheck disable=SC2254
		case $1 in
		$pattern)
			set +f
			return 0
			;;
		esac
	done
	set +f
	return 1
}

part_build() {
	run build make -j"$JOBS" OUT="$OUT" all tests
}

part_lint() {
	run lint sh tests/lint.sh
	run lint-selftest sh tests/lint-selftest.sh
	run run-selftest sh tests/run-selftest.sh
}

part_unit() {
	for t in "$OUT"/tests/t_*; do
		[ -f "$t" ] && [ -x "$t" ] && wanted "${t##*/}" && run_unit "$t"
	done
}

part_sim() {
	for t in "$OUT"/tests/sim_*; do
		[ -f "$t" ] && [ -x "$t" ] && wanted "${t##*/}" &&
			SEEDS=$SEEDS run_unit "$t" "$SEEDS"
	done
}

# run.sh --one SCRIPT: run it and leave in a file what became of it
one_script() {
	run "$(basename "$1" .sh)" bash "$1"
	word=failed
	[ "$n_passed" -eq 0 ] || word=passed
	[ "$n_skipped" -eq 0 ] || word=skipped
	echo "$word" >"$LOGS/$(basename "$1" .sh).word"
}

# The tests of a folder, the longest first.  Names are a letter and a number;
# other files there are helpers.
scripts() {
	{
		grep -v '^#' "tests/$1/longest" 2>/dev/null |
			sed "s|.*|tests/$1/&.sh|"
		ls tests/"$1"/[a-z][0-9]*.sh 2>/dev/null
	} | awk '!seen[$0]++' | while read -r t; do
		[ -f "$t" ] && wanted "$(basename "$t" .sh)" && echo "$t"
	done
}

# at_a_time COUNT: the tests of standard input
at_a_time() {
	OUT=$OUT xargs -r -P "$1" -n 1 sh tests/run.sh --one
}

is_alone() {
	sed '/^[^#]/q' "$1" | grep -q '^# alone: .'
}

part_scripts() {
	scripts "$1" | while read -r t; do
		is_alone "$t" || echo "$t"
	done | at_a_time "$AT_ONCE"
	scripts "$1" | while read -r t; do
		! is_alone "$t" || echo "$t"
	done | at_a_time 1
	for t in $(scripts "$1"); do
		name=$(basename "$t" .sh)
		case $(cat "$LOGS/$name.word" 2>/dev/null) in
		passed) n_passed=$((n_passed + 1)) ;;
		skipped) n_skipped=$((n_skipped + 1)) ;;
		*) fail "$name" ;;
		esac
	done
}

if [ "${1:-}" = --one ]; then
	one_script "$2"
	exit 0
fi

[ $# -gt 0 ] || set -- build lint unit sim scenario web
began=$(date +%s)
for part; do
	case $part in
	build | lint | unit | sim) "part_$part" ;;
	scenario | web) part_scripts "$part" ;;
	*)
		echo "tests/run.sh: no part $part" >&2
		exit 2
		;;
	esac
done

if [ -n "$failed" ]; then
	show_failed
	echo "failed:$failed"
fi
if [ $((n_passed + n_failed)) -eq 0 ]; then
	echo "tests/run.sh: nothing was run" >&2
	n_failed=1
fi
echo "took $(($(date +%s) - began)) s"
echo "$n_passed passed, $n_failed failed, $n_skipped skipped"
[ "$n_failed" -eq 0 ]
