#!/bin/bash
# a30: A declaration that is refused stops its own flow, visibly and with its
# code, and no neighbour; corrected, a restart of that flow takes it in.  A
# stream whose resource nobody has declared is shown as undeclared, not running.
. "$(dirname "$0")/lib.sh"
lab a30

is_ready() {
	[ "$(curl -s -o "$D/readyz" -w '%{http_code}' \
		--unix-socket "$R/city.sock" http://node/readyz)" = 200 ]
}
# field COMMAND... NAME: what gxbus shows under this name, at the city
field() {
	cli city "${@:1:$#-1}" 2>/dev/null | sed -n "s/^${*: -1}  *//p"
}
is_state() {
	[ "$(field flow show "$1" state)" = "$2" ]
}
# state_metric FLOW: the number of its state in the page of metrics
state_metric() {
	curl -s --unix-socket "$R/city.sock" http://node/metrics |
		sed -n "s/^gxbus_flow_state{flow=\"$1\"} //p"
}
# declare FLOW SED: its declaration, changed, as $D/city/FLOW-x.json
declare_as() {
	sed "$2" conf/adapters/social.json | cat >"$D/city/$1-x.json"
	cmp -s conf/adapters/social.json "$D/city/$1-x.json" && fail "sed: $2"
	give "$D/city/$1-x.json" 640
}
# refuses FLOW TEXT: it stands still with GX5001 and this text, for all to see
refuses() {
	wait_until 20 stopped_with gx_city "$1" adapter.declaration
	wait_until 10 is_state "$1" stopped
	[ "$(field flow show "$1" number)" = GX5001 ] || fail "number of $1"
	field flow show "$1" detail | grep -qF "$2" ||
		fail "$1 does not say $2: $(field flow show "$1" detail)"
	[ "$(state_metric "$1")" = 4 ] || fail "metric: $(state_metric "$1")"
}

step "a second source with a declaration that is none"
start_pg
start_brokers city hub
put 200
conf/local/ctl start hub || fail "hub"
declare_as extra 's/"pg-cdc"/"pg-cdd"/'
set_conf city node flows "social, extra, sink"
set_conf city "flow extra" kind source
set_conf city "flow extra" adapter "$D/city/extra-x.json"
start_gxbusd city link nginx

step "the neighbours run"
wait_until 60 heads_equal
wait_until 30 same_set
wait_until 20 is_ready
refuses extra '/kind: no such kind of source; there is "pg-cdc"'
is_state social running || fail "social: $(field flow show social state)"
is_state sink running || fail "sink: $(field flow show sink state)"
[ "$(state_metric social)" = 1 ] || fail "metric of social"
cli city doctor >"$D/doctor" 2>&1 && fail "the doctor is content"
cli city flow list >"$D/list" 2>&1 || fail "flow list"
grep -qE '^extra .*stopped' "$D/list" || fail "list: $(cat "$D/list")"

step "--check-config refuses the same"
as_server timeout "$(stretched 30)" "$D/bin/gxbusd" -c "$D/city/gxbusd.conf" \
	--check-config >"$D/said" 2>&1
[ $? = 78 ] || fail "--check-config: $(cat "$D/said")"
grep -q '^gxbusd: error GX5001: /kind' "$D/said" || fail "$(cat "$D/said")"

step "the main source's own declaration is refused"
stop_part city
declare_as social 's/"slot":/"slit":/'
set_conf city "flow social" adapter "$D/city/social-x.json"
start_gxbusd city
refuses social '/slit: unknown member'
wait_until 20 is_state sink running
is_ready || fail "one flow's trouble is not the node's"
put 100 201

step "a restart without a correction changes nothing"
began=$(grep -c 'slit: unknown member' "$D/log/city.log")
cli city flow restart social >/dev/null 2>&1 || fail "flow restart"
read_again() {
	[ "$(grep -c 'slit: unknown member' "$D/log/city.log")" -gt "$began" ]
}
wait_until 20 read_again
refuses social '/slit: unknown member'

step "corrected while it is to be paused: it stays so until it may run"
cp "$D/city/social.json" "$D/city/social-x.json"
give "$D/city/social-x.json" 640
cli city flow pause social >/dev/null 2>&1 || fail "flow pause"
cli city flow restart social >/dev/null 2>&1 || fail "flow restart"
wait_until 20 is_state social paused
cli city flow resume social >/dev/null 2>&1 || fail "flow resume"
wait_until 30 is_state social running
wait_until 60 heads_equal
wait_until 30 same_set
is_state extra stopped || fail "extra: $(field flow show extra state)"

step "a flow that runs: a restart reads the file again, good or bad"
declare_as social 's/"social.insured"/"social.insurde"/'
is_state social running || fail "a file alone stopped it"
cli city flow restart social >/dev/null 2>&1 || fail "flow restart"
refuses social '/tables/0/resource'
put 50 351
cp "$D/city/social.json" "$D/city/social-x.json"
give "$D/city/social-x.json" 640
cli city flow restart social >/dev/null 2>&1 || fail "flow restart"
wait_until 30 is_state social running
cli city flow restart social >/dev/null 2>&1 || fail "flow restart, again"
put 50 401
wait_until 60 heads_equal
wait_until 30 same_set
no_gap gx_hub

step "another number of streams would move keys between them"
declare_as social 's/"resource": "social.insured",/&"streams": 2,/'
cli city flow restart social >/dev/null 2>&1 || fail "flow restart"
wait_until 20 stopped_with gx_city social stream.count
field flow show social detail | grep -q 'has 1 streams.* says 2' ||
	fail "it says: $(field flow show social detail)"
[ "$(ask gx_city "SELECT count(*) FROM gx_stream
WHERE stream LIKE '%/hrss/%'")" = 1 ] || fail "a row more"
cp "$D/city/social.json" "$D/city/social-x.json"
give "$D/city/social-x.json" 640
cli city flow restart social >/dev/null 2>&1 || fail "flow restart"
wait_until 30 is_state social running
put 10 451
wait_until 60 heads_equal
wait_until 30 same_set

step "a stream of an undeclared resource"
hub_state() {
	[ "$(cli hub stream list -o json 2>/dev/null |
		python3 -c 'import json, sys
for s in json.load(sys.stdin)["items"]:
    if "/hrss/" in s["stream"]:
        print(s["state"], s["code"] or "")')" = "$1" ]
}
wait_until 10 hub_state "running "
stop_part hub
mkdir "$D/nothing"
give "$D/nothing" 755
set_conf hub node resources "$D/nothing"
start_gxbusd hub
wait_until 20 hub_state "undeclared "
put 50 301
wait_until 60 hub_state "stopped stream.wait_schema"
stop_part hub
set_conf hub node resources "$D/resources"
start_gxbusd hub
wait_until 60 hub_state "running "
wait_until 60 heads_equal
wait_until 30 same_set

quiet_logs ' ((adapter.declaration|stream.wait_schema|outbox.resource|down.resource) |stream.count)'
passed
