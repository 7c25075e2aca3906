#!/bin/bash
# e30: A source that loses much of what it had waits for an operator, and what
# was not let through is nowhere behind the guard; what is accepted arrives.
. "$(dirname "$0")/lib.sh"
lab e30
mkdir -p "$D/city"
set_conf city "flow social" guard_percent 20
set_conf city "flow social" guard_window 1h
# Batches smaller than what is deleted, so that some would be sealed before.
set_conf city "flow social" batch_max_lines 50

walking 2000
. "$OUT/env"

# at NODE ARG...: the command line; its answer is in $D/o
at() {
	local node=$1
	shift
	cli "$node" "$@" >"$D/o" 2>"$D/e" || fail "gxbus $*: $(cat "$D/e")"
}
shows() {
	grep -qE -- "$1" "$D/o" || fail "it does not show $1: $(cat "$D/o")"
}
rows() {
	ask "$1" 'SELECT count(*) FROM social.insured'
}
metric() {
	curl -s --unix-socket "$R/$1.sock" http://node/metrics |
		sed -n "s/^$2 //p"
}
is_metric() {
	[ "$(metric "$1" "$2")" = "$3" ]
}

alarms() {
	[ "$(grep -c ' error guard\.mass_change ' "$D/log/city.log")" = "$1" ]
}

step "below the share changes pass"
sql hrss "DELETE FROM ac01 WHERE aac001 IN (SELECT aac001 FROM ac01
ORDER BY aac001 LIMIT 150);
UPDATE ac01 SET n_months = 7 WHERE aac001 IN (SELECT aac001 FROM ac01
ORDER BY aac001 DESC LIMIT 150)"
wait_until 30 heads_equal
wait_until 30 same_set
[ "$(rows gx_hub)" = 1850 ] || fail "$(rows gx_hub) rows at the hub"

# delete COUNT: so many more of the department's rows, in one transaction
delete() {
	sql hrss "DELETE FROM ac01 WHERE aac001 IN (SELECT aac001 FROM ac01
ORDER BY aac001 LIMIT $1)"
}
step "a restart forgets nothing of it, and below the share it passes still"
kill_hard city
start_gxbusd city
delete 58
wait_until 30 heads_equal
wait_until 30 same_set

step "a wipe by halves with a restart between: the flow stops, with an alarm"
kill_hard city
start_gxbusd city
delete 40
wait_until 30 stopped_with gx_city social guard.mass_change
delete 457
wait_until 30 stopped_with gx_city social guard.mass_change
at city flow list
shows '^social +source +stopped +run +GX4024 '
at city flow show social
shows 'gxbus flow resume social --accept'
wait_until 5 is_metric city 'gxbus_flow_state{flow="social"}' 4
is_metric hub 'gxbus_flow_state{flow="sink"}' 1 ||
	fail "the hub's sink does not run"
grep -q ' error guard\.mass_change ' "$D/log/city.log" || fail "no alarm"
cli city doctor >"$D/o"
[ $? = 10 ] || fail "the doctor is content"
shows '^trouble +flows +1 stopped by an error: social '

step "nothing beyond what was before the guard is at the hub"
wait_until 30 heads_equal
[ "$(rows gx_hub)" = "$(rows gx_city)" ] || fail "city and hub differ"
# 358 were counted before, of 1792 rows: not one more is 20 %.
[ "$(rows gx_hub)" = 1792 ] || fail "$(rows gx_hub) rows are left at the hub"
before=$(heads gx_hub) digest=$(table_digest gx_hub)
# A change that harms nobody waits behind it, and a mere resume does not help.
put 1 5001
# Nor does a restart, of the flow or of the daemon.
at city flow resume social
at city flow restart social
wait_until 30 alarms 2
wait_until 30 stopped_with gx_city social guard.mass_change
stop_part city
start_gxbusd city
wait_until 30 alarms 3
# It rests, but what the department keeps for it is still watched.
is_watched() {
	[ "$(ask gx_city "SELECT status -> 'detail' ->> 'source_lag_bytes'
FROM gx_flow WHERE flow = 'social' AND code = 'guard.mass_change'")" -ge 1 ]
}
wait_until 15 is_watched
at city flow show social
shows 'gxbus flow resume social --accept'
wait_until 30 heads_equal
[ "$(heads gx_hub)" = "$before" ] || fail "something came through"
[ "$(table_digest gx_hub)" = "$digest" ] || fail "the table changed"

step "accepted, it arrives; accepted again, nothing changes"
at city flow resume social --accept
wait_until 30 same_set
wait_until 10 heads_equal
[ "$(rows gx_hub)" = 1296 ] || fail "$(rows gx_hub) rows at the hub"
wait_until 10 is_metric city 'gxbus_flow_state{flow="social"}' 1
before=$(heads gx_hub)
at city flow resume social --accept
put 1 5002
wait_until 30 same_set
[ "$(ask gx_hub "SELECT next_seq FROM gx_stream
WHERE stream LIKE '%/hrss/%'")" = \
	$(($(echo "$before" | cut -d '|' -f 2) + 1)) ] ||
	fail "more than one record came"

step "the acceptance stands over a restart"
kill_hard city
start_gxbusd city
delete 300
wait_until 30 same_set
wait_until 10 heads_equal
[ "$(rows gx_hub)" = 997 ] || fail "$(rows gx_hub) rows at the hub"

step "a full reading that lost most rows: both sinks keep theirs"
# stands DATABASE: the stream stands still there, by the guard
stands() {
	[ "$(ask "$1" "SELECT why FROM gx_stream
WHERE stream LIKE '%/hrss/%'")" = guard.mass_delete ]
}
sql hrss "BEGIN; CREATE TEMP TABLE few AS SELECT * FROM ac01
ORDER BY aac001 DESC LIMIT 100; TRUNCATE ac01;
INSERT INTO ac01 SELECT * FROM few; COMMIT"
wait_until 30 stands gx_city
wait_until 30 stands gx_hub
for node in city hub; do
	[ "$(rows gx_$node)" = 997 ] || fail "$(rows gx_$node) rows at $node"
	at $node stream show "/450100/hrss/social/social.insured/0"
	shows '^state +stopped'
	shows '^code +guard\.mass_delete'
	wait_until 5 is_metric $node 'gxbus_streams_stopped{flow="sink"}' 1
done
at hub flow resume sink
stop_part hub
start_gxbusd hub
wait_until 10 is_metric hub 'gxbus_streams_stopped{flow="sink"}' 1
[ "$(rows gx_hub)" = 997 ] || fail "a restart let it through"

step "accepted at both, both end with what the department has"
at city flow resume sink --accept
at hub flow resume sink --accept
wait_until 60 same_set
wait_until 10 heads_equal
[ "$(rows gx_hub)" = 100 ] || fail "$(rows gx_hub) rows at the hub"
put 10 6001
wait_until 30 heads_equal
wait_until 30 same_set
no_gap gx_city
no_gap gx_hub

quiet_logs ' guard\.mass_(change|delete) '
grep -q ' guard\.mass_change ' "$D/log/city.log" || fail "no alarm in the log"
passed
