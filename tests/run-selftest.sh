#!/bin/sh
# Does the runner see what fails?  Runs tests/run.sh in a folder of its own
# over tests that fail in each way there is, beside some that pass, and
# compares what it says.
set -u
cd "$(dirname "$0")/.." || exit 1

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir -p "$dir/tests/scenario" "$dir/out/tests"
cp tests/run.sh "$dir/tests/"
n_wrong=0

# binary NAME: stdin becomes a unit test
binary() {
	{ echo '#!/bin/sh'; cat; } >"$dir/out/tests/$1"
	chmod +x "$dir/out/tests/$1"
}

# expect RC CLOSING-LINE PART...: run the parts, compare code and last line
expect() {
	want_rc=$1
	want=$2
	shift 2
	OUT=out TEST_TIMEOUT_S=${LIMIT:-1} sh "$dir/tests/run.sh" "$@" >"$dir/log" 2>&1
	rc=$?
	last=$(tail -n1 "$dir/log")
	if [ "$rc" -ne "$want_rc" ] || [ "$last" != "$want" ]; then
		echo "WRONG: $*: exit $rc, $last; wanted exit $want_rc, $want"
		cat "$dir/log"
		n_wrong=$((n_wrong + 1))
	fi
}

# has TEXT: the last run said so
has() {
	grep -qe "$1" "$dir/log" && return
	echo "WRONG: no line $1"
	n_wrong=$((n_wrong + 1))
}

# Nothing to run is no success.
expect 1 '0 passed, 1 failed, 0 skipped' unit

binary t_good <<'X'
echo '[  PASSED  ] 3 test(s).'
X
binary t_plain </dev/null
expect 0 '4 passed, 0 failed, 0 skipped' unit
binary t_some <<'X'
echo '[  PASSED  ] 2 test(s).'
echo '[  FAILED  ] 2 test(s), listed below:'
echo '[  FAILED  ] zz'
exit 2
X
binary t_crash <<'X'
kill -SEGV $$
X
binary t_hang <<'X'
exec tail -f /dev/null
X
binary t_skip <<'X'
echo '[  PASSED  ] 1 test(s).'
echo '[  SKIPPED ] 1 test(s), listed below:'
echo '[  SKIPPED ] no_tool'
X
expect 1 '7 passed, 5 failed, 0 skipped' unit
has '^FAIL t_crash '
has '^FAIL t_hang '
has '^FAIL t_skip.no_tool '
has '^ok   t_good '
rm "$dir"/out/tests/t_some "$dir"/out/tests/t_crash "$dir"/out/tests/t_hang
echo '# t_skip.no_tool in a comment counts for nothing' >"$dir/tests/may-skip"
echo 't_skip.no_tool' >>"$dir/tests/may-skip"
expect 1 '5 passed, 1 failed, 0 skipped' unit
echo 't_skip.no_tool  the tool is not everywhere' >>"$dir/tests/may-skip"
expect 0 '5 passed, 0 failed, 1 skipped' unit

scenario=$dir/tests/scenario
echo true >"$scenario/a0001_good.sh"
echo false >"$scenario/lib.sh" # a helper, not a test
expect 0 '1 passed, 0 failed, 0 skipped' scenario
echo 'echo why; exit 3' >"$scenario/b0001_bad.sh"
echo 'exit 77' >"$scenario/b0002_skip.sh"
echo 'tail -f /dev/null' >"$scenario/b0003_hang.sh"
expect 1 '1 passed, 3 failed, 0 skipped' scenario
has '^     | why$'
has '^FAIL b0003_hang .*timed out'
echo 'b0002_skip  for a reason' >>"$dir/tests/may-skip"
rm "$scenario/b0003_hang.sh" "$scenario/b0001_bad.sh"
expect 0 '1 passed, 0 failed, 1 skipped' scenario
expect 0 '6 passed, 0 failed, 2 skipped' unit scenario

# Two at a time: each waits until the other has begun.  The one that is alone
# finds that both have ended.
rm "$scenario"/*
meets() {
	echo "cd '$dir'; touch $1.begun; n=300
until [ -e $2.begun ]; do n=\$((n - 1)); [ \$n -gt 0 ] || exit 1
read -r -t 0.1 <> <(:) || :; done; touch $1.ended" >"$scenario/$1.sh"
}
meets b0001_one b0002_two
meets b0002_two b0001_one
echo "# alone: it looks
cd '$dir'; [ -e b0001_one.ended ] && [ -e b0002_two.ended ]" \
	>"$scenario/a0001_alone.sh"
LIMIT=30 expect 0 '3 passed, 0 failed, 0 skipped' scenario
rm "$dir"/b0*
AT_ONCE=1 expect 1 '1 passed, 2 failed, 0 skipped' scenario

# What is longest is begun first, the rest by name.
rm "$scenario"/*
for t in a1 b1 b2 c1; do
	echo "echo $t >>'$dir/order'" >"$scenario/$t.sh"
done
printf '# a comment\nc1\nb2\nz9\n' >"$scenario/longest"
AT_ONCE=1 expect 0 '4 passed, 0 failed, 0 skipped' scenario
[ "$(echo $(cat "$dir/order"))" = 'c1 b2 a1 b1' ] || {
	echo "WRONG: the order: $(cat "$dir/order")"
	n_wrong=$((n_wrong + 1))
}

[ "$n_wrong" -eq 0 ] && echo 'run-selftest: all as it should be'
