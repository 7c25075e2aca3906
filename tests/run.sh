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
# their tests.  What a test printed is in build/test-logs/<name>.log, and the
# end of it is shown if it failed.
#
# Scenarios have servers of their own: AT_ONCE=2 runs two at a time.
#
# Environment: OUT (build/obj) where the unit binaries are, SEEDS for the
# simulation, TEST_TIMEOUT_S (600) for one scenario, JOBS (2) of make.
set -u
cd "$(dirname "$0")/.." || exit 1

OUT=${OUT:-build/obj}
SEEDS=${SEEDS:-20000}
TEST_TIMEOUT_S=${TEST_TIMEOUT_S:-600}
JOBS=${JOBS:-2}
ONLY=${ONLY:-*}
LOGS=build/test-logs
mkdir -p "$LOGS"
[ "${1:-}" = --one ] || rm -f "$LOGS"/*.log "$LOGS"/*.word

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

show_end() {
	tail -n "${SHOW_LINES:-40}" "$1" | sed 's/^/     | /'
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

# run NAME COMMAND...: one test, by its exit code
run() {
	name=$1
	shift
	log=$LOGS/$name.log
	from=$(date +%s)
	timeout -k 20 "$TEST_TIMEOUT_S" "$@" >"$log" 2>&1 </dev/null
	rc=$?
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
		show_end "$log"
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
	timeout -k 20 "$TEST_TIMEOUT_S" "$@" >"$log" 2>&1 </dev/null
	rc=$?
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
		grep -vE '^\[ (RUN|      OK)' "$log" >"$log.short"
		show_end "$log.short"
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

# Names are a letter and a number; other files there are helpers.
part_scripts() {
	for t in tests/"$1"/[a-z][0-9]*.sh; do
		[ -f "$t" ] && wanted "$(basename "$t" .sh)" && echo "$t"
	done | OUT=$OUT xargs -r -P "${AT_ONCE:-1}" -n 1 sh tests/run.sh --one
	for t in tests/"$1"/[a-z][0-9]*.sh; do
		name=$(basename "$t" .sh)
		[ -f "$t" ] && wanted "$name" || continue
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

[ -z "$failed" ] || echo "failed:$failed"
if [ $((n_passed + n_failed)) -eq 0 ]; then
	echo "tests/run.sh: nothing was run" >&2
	n_failed=1
fi
echo "$n_passed passed, $n_failed failed, $n_skipped skipped"
[ "$n_failed" -eq 0 ]
