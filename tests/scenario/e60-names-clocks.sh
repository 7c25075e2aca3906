#!/bin/bash
# e60: A flow may be given another name, and the clocks of a department and a
# node may differ by more than an hour: nothing is lost, doubled or held up.
. "$(dirname "$0")/lib.sh"
lab e60

equal() {
	wait_until 40 heads_equal
	wait_until 30 same_set
}
seq() {
	ask gx_hub "SELECT next_seq FROM gx_stream"
}
# n_sent COUNT COMMAND...: it makes so many records more at the hub
n_sent() {
	local want=$1 before
	before=$(seq)
	shift
	"$@"
	equal
	[ $(($(seq) - before)) = "$want" ] ||
		fail "$* made $(($(seq) - before)) records, not $want"
}
is_running_flow() {
	[ "$(ask gx_city "SELECT state FROM gx_flow WHERE flow = '$1'")" = running ]
}

walking 200
cli city flow show social >/dev/null || fail "flow show"

step "a flow of another name goes on where the old one stood"
released() {
	ask gx_city "SELECT flow, pos FROM gx_release
WHERE flow NOT LIKE '/%/gx/%'"
}
rename() {
	stop_part city
	printf 'node\tflows\t%s, sink\nflow %s\tkind\tsource\n' "$1" "$1" \
		>"$D/city/conf.local"
	printf 'flow %s\tadapter\t%s\n' "$1" "$D/city/social.json" \
		>>"$D/city/conf.local"
	put 7 "$2"
	start_gxbusd city
	wait_until 20 is_running_flow "$1"
	put 3 $(($2 + 7))
}
before=$(released)
[ "${before%%|*}" = /450100/hrss/social ] || fail "released is $before"
n_sent 10 rename hrss 1001
has_moved() {
	[ "$(released)" != "$before" ]
}
wait_until 10 has_moved
[ "$(released | wc -l)" = 1 ] ||
	fail "two notes of what is released"

step "a slot that was moved on is met by the other name too"
stop_part city
put 5 1101
as_server psql -qAtX -h "$R" -p "$(P postgres)" -d hrss -c "SELECT
pg_replication_slot_advance('gx_social', pg_current_wal_lsn())" >/dev/null ||
	fail "the slot was not moved"
start_gxbusd city
wait_until 20 stopped_with gx_city hrss source.released_beyond
at=$(ask gx_city "SELECT substring(detail from
'begin_again_after\": \"([^\"]+)') FROM gx_flow WHERE flow = 'hrss'")
sed "s|\"slot\"|\"begin_again_after\": \"$at\", \"slot\"|" \
	"$D/city/social.json" >"$D/city/again.json"
give "$D/city/again.json" 640
set_conf city "flow hrss" adapter "$D/city/again.json"
stop_part city
start_gxbusd city
equal

step "the node's clock is behind, then ahead of all others"
${CC:-cc} -shared -fPIC -o "$D/shift.so" tests/scenario/shift_clock.c ||
	fail "the clock"
chmod 755 "$D/shift.so"
first=2001
for shift in -4000 4000; do
	stop_part city
	with_env city "LD_PRELOAD=$D/shift.so" "SHIFT_CLOCK=$shift"
	# What happened before, what happens while it runs, and a bad row.
	put 5 $first
	start_gxbusd city
	wait_until 20 is_running_flow hrss
	put 5 $((first + 5))
	sql hrss "UPDATE ac01 SET n_months = 5000 WHERE aac001 =
(SELECT max(aac001) FROM ac01); DELETE FROM ac01 WHERE aac001 =
(SELECT min(aac001) FROM ac01)"
	equal
	# The control: it does run by another clock.
	sealed=$(ask gx_city "SELECT floor(extract(epoch FROM now() -
(status ->> 'since')::timestamptz)) FROM gx_flow WHERE flow = 'hrss'")
	[ "$sealed" -lt -3000 ] || [ "$sealed" -gt 3000 ] ||
		fail "its clock is not shifted: $sealed s"
	first=$((first + 10))
done
kill_hard city
put 5 $first
start_gxbusd city
equal
no_gap gx_city
no_gap gx_hub

quiet_logs ' source\.released_beyond '
passed
