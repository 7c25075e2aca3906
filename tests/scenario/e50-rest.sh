#!/bin/bash
# e50: A flow that waits for the department's transactions can be paused and
# ended at once and says whom it waits for; a flow that rests still looks after
# the department's disk, and says how much of it is kept.
. "$(dirname "$0")/lib.sh"
lab e50

flow_is() {
	[ "$(ask gx_city "SELECT state || ' ' || code FROM gx_flow
WHERE flow = 'social'")" = "$1" ]
}
slots() {
	[ "$(ask hrss 'SELECT count(*) FROM pg_replication_slots')" = "$1" ]
}
kept() { # at least so many bytes, as the flow's status says
	[ "$(ask gx_city "SELECT status -> 'detail' ->> 'source_lag_bytes'
FROM gx_flow WHERE flow = 'social'")" -ge "$1" ]
}
flow() {
	cli city flow "$1" social >"$D/o" 2>&1 || fail "flow $1: $(cat "$D/o")"
}
hold() {
	mkfifo "$D/hold"
	db hrss <"$D/hold" >/dev/null &
	holder=$!
	exec 9>"$D/hold"
	echo "BEGIN; CREATE TEMP TABLE held (i int); INSERT INTO held VALUES (1);" >&9
	wait_until 10 in_transaction
}
in_transaction() {
	pid=$(ask hrss "SELECT pid FROM pg_stat_activity WHERE backend_xid IS NOT
NULL AND state = 'idle in transaction'") && [ -n "$pid" ]
}
# fill: 40 MB of log
fill() {
	sql hrss "CREATE TABLE bulk AS SELECT repeat(md5(i::text), 30) t
FROM generate_series(1, 38000) i; DROP TABLE bulk"
}

step "a slot waits behind a transaction: whom, since when, what to do"
start_pg
start_brokers city hub
put 200
hold
start_gxbusd hub city link nginx
wait_until 30 flow_is 'waiting slot.waits'
flow show
grep -q "its process $pid, open since 20" "$D/o" || fail "$(cat "$D/o")"
grep -q "pg_terminate_backend($pid)" "$D/o" || fail "no remedy: $(cat "$D/o")"

step "it can be paused meanwhile, and leaves nothing behind"
flow pause
wait_until 8 flow_is 'paused '
wait_until 5 slots 0
flow resume
wait_until 20 flow_is 'waiting slot.waits'
slots 1 || fail "no slot in the making"

step "and so can the daemon be ended"
began=$(date +%s)
stop_part city
[ $(($(date +%s) - began)) -lt 8 ] || fail "it took $(($(date +%s) - began)) s"
wait_until 5 slots 0
start_gxbusd city
wait_until 20 flow_is 'waiting slot.waits'

step "the transaction ends: everything comes, its rows too"
echo "INSERT INTO ac01 SELECT 'HELD', aac002, aac003, aac004, aac005, aac006,
aac009, aab001, aab004, aae140, aac031, aac049, aac030, base, n_months, region,
org_uscc, updated_at FROM ac01 LIMIT 1; COMMIT;" >&9
exec 9>&-
wait $holder
wait_until 60 heads_equal
wait_until 30 same_set
[ "$(ask gx_hub 'SELECT count(*) FROM social.insured')" -ge 200 ] ||
	fail "rows are missing"
flow_is 'running ' || fail "it does not run"

step "paused within the ceiling: the slot stays, and says what it keeps"
python3 - "$D/city/social.json" "$D/city/tight.json" <<'P'
import json, sys
d = json.load(open(sys.argv[1]))
d.update(slot_lag_max="16M", slot_lag_hard="1G", slot_lag_wait="8s")
json.dump(d, open(sys.argv[2], "w"))
P
give "$D/city/tight.json" 640
set_conf city "flow social" adapter "$D/city/tight.json"
stop_part city
start_gxbusd city
put 1 3001
wait_until 30 heads_equal
wait_until 20 same_set
flow pause
wait_until 8 flow_is 'paused '
put 20 3101
wait_until 15 kept 1
flow resume
wait_until 30 same_set
wait_until 10 heads_equal

step "paused above it: the department's disk is given back, by name"
flow pause
wait_until 8 flow_is 'paused '
fill
wait_until 15 kept 30000000
slots 1 || fail "it was given up at once"
wait_until 30 flow_is 'paused slot.lag_max'
slots 0 || fail "the slot is still there"
flow show
grep -q 'slot_lag_max' "$D/o" || fail "$(cat "$D/o")"
flow resume
wait_until 30 flow_is 'stopped slot.lost'
wait_until 10 heads_equal

quiet_logs ' slot\.(lag_max|lost) '
passed
