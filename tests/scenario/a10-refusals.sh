#!/bin/bash
# a10: What is set up wrongly is refused with the cause and the next step under
# its documented exit code; a server that is away is waited for, by name, and
# work goes on by itself when it comes.
. "$(dirname "$0")/lib.sh"
lab a10

# try RC ARG...: gxbusd as the servers' user; what it said is in $D/said
try() {
	local want=$1 rc
	shift
	as_server timeout "$(stretched 30)" "$D/bin/gxbusd" "$@" >"$D/said" 2>&1
	rc=$?
	[ $rc = "$want" ] || fail "exit $rc instead of $want: $(tail -n 4 "$D/said")"
}
# says PATTERN...: all of them; and the three lines in their form, if refused
says() {
	local p
	for p; do
		grep -qE -- "$p" "$D/said" || fail "it does not say $p: $(cat "$D/said")"
	done
}
# refused RC GXnnnn PATTERN -- ARG...
refused() {
	local rc=$1 number=$2 pattern=$3
	shift 4
	try "$rc" "$@"
	says "^gxbusd: error $number: .*$pattern" '^why: [A-Z]' '^next: .'
	number=$(sed -n 's/^gxbusd: error \(GX[0-9]*\):.*/\1/p' "$D/said")
	"$GXBUS" explain "$number" >/dev/null || fail "explain $number"
}
# conf SED...: the city's configuration, changed, as $D/city/x.conf
conf() {
	sed "$@" "$D/city/gxbusd.conf" >"$D/city/x.conf" || fail "sed"
	give "$D/city/x.conf" 640
	cmp -s "$D/city/x.conf" "$D/city/gxbusd.conf" &&
		fail "the sed changed nothing: $*"
}
# both NUMBER PATTERN: --check-config and a start refuse x.conf alike
both() {
	refused 78 "$1" "$2" -- -c "$D/city/x.conf" --check-config
	refused 78 "$1" "$2" -- -c "$D/city/x.conf"
}


X=$D/city/x.conf
step "usage"
conf/local/ctl start postgres || fail "postgres"
try 2
says 'gxbusd -c FILE'
try 2 --bogus
try 2 -c "$D/city/gxbusd.conf" stray
says 'unexpected argument stray'
try 0 --help

step "the good one passes"
try 0 -c "$D/city/gxbusd.conf" --check-config
says 'good, 4 flows'

step "bad configurations"
refused 78 GX1001 "$D/city/none.conf" -- -c "$D/city/none.conf"
conf 's/^guard_percent/guard_precent/'
both GX1005 "x.conf:[0-9]+.*guard_precent.*guard_percent"
conf 's/^\[kafka\]/[kafak]/'
both GX1004 "x.conf:[0-9]+.*kafak.*kafka"
conf '/^guard_window/p'
both GX1006 "x.conf:[0-9]+.*guard_window"
conf '/^id = /d'
both GX1007 "id"
conf 's/^guard_window = .*/guard_window = 1 fortnight/'
both GX1008 "x.conf:[0-9]+.*guard_window"
conf 's/^guard_percent = .*/guard_percent = 101/'
both GX1008 "guard_percent.*100"
conf 's/^\[node\]/[node/'
both GX1002 "x.conf:[0-9]+"
conf 's/^flows = .*/flows = social, snik/'
both GX6001 "snik.*\[flow snik\]"
conf 's/^kind = sink/kind = sunk/'
both GX1008 "x.conf:[0-9]+.*source, sink.*did you mean sink"
conf '/^adapter = /d'
both GX6001 "flow social.*adapter"
conf "s|^dir = .*|dir = $D/nowhere|"
refused 78 GX6003 "$D/nowhere" -- -c "$X"

step "secrets that others can read"
conf 's/^region = .*/region = 450102/'
chmod 644 "$D/city/node.key"
both GX1009 "node.key"
chmod 600 "$D/city/node.key"
chmod 640 "$D/city/pgpass"
both GX1009 "pgpass"
chmod 600 "$D/city/pgpass"
try 0 -c "$X" --check-config

step "no key, another's kind of key, no trust folder"
conf "s|^key = .*|key = $D/city/none.key|"
refused 78 'GX(1009|2102)' "none.key" -- -c "$X" --check-config
cp "$D/pki/node-450100.key" "$D/city/other.key"
give "$D/city/other.key" 600
conf "s|^key = .*|key = $D/city/other.key|"
refused 78 GX2103 "other.key" -- -c "$X" --check-config
conf "s|^trust = .*|trust = $D/nowhere|"
refused 78 GX2102 "nowhere" -- -c "$X" --check-config

step "a wrong schema is refused with the place"
mkdir "$D/bad"
give "$D/bad" 755
python3 - "$D/resources/social/insured.json" "$D/bad/insured.json" <<'PY'
import json, sys
d = json.load(open(sys.argv[1], encoding="utf-8"))
d["properties"]["aac003"]["maxLenght"] = 50
json.dump(d, open(sys.argv[2], "w", encoding="utf-8"), ensure_ascii=False)
PY
give "$D/bad/insured.json" 644
conf "s|^resources = .*|resources = $D/bad|"
refused 78 GX2001 "maxLenght at /properties/aac003" -- -c "$X" --check-config
cp "$D/resources/social/insured.json" "$D/bad/insured.json"
cp "$D/resources/social/insured.json" "$D/bad/insured2.json"
chmod a+r "$D/bad/"*
refused 78 GX6002 "social.insured.*twice" -- -c "$X" --check-config
conf "s|^resources = .*|resources = $D/nowhere|"
refused 78 GX6002 "nowhere" -- -c "$X" --check-config

step "PostgreSQL refuses: for a person; PostgreSQL away: temporary"
sed 's/:[^:]*$/:wrong/' "$D/city/pgpass" >"$D/city/wrongpass"
give "$D/city/wrongpass" 600
conf "s|^database_passfile = .*|database_passfile = $D/city/wrongpass|"
refused 78 GX3011 "" -- -c "$X"
grep -q wrong "$D/said" && fail "the password is shown"
conf 's/dbname=gx_city/dbname=gx_nowhere/'
refused 78 'GX30(30|11)' "" -- -c "$X"
conf "s/port=$(P postgres)/port=1/"
refused 75 GX3010 "" -- -c "$X" --create-token one --role operator
refused 78 GX6015 'operator or auditor' -- -c "$D/city/gxbusd.conf" \
	--create-token one --role king

step "servers away at the start are waited for, and named"
# waits DEPENDENCY [ok]: /readyz is 503 and says that this is away
waits() {
	local code
	code=$(curl -s -o "$D/readyz" -w '%{http_code}' \
		--unix-socket "$R/city.sock" http://node/readyz)
	[ "$code" = 503 ] && grep -q "\"$1\":\"away\"" "$D/readyz" &&
		grep -q "\"database\":\"${2:-away}\"" "$D/readyz"
}
is_ready() {
	[ "$(curl -s -o "$D/readyz" -w '%{http_code}' \
		--unix-socket "$R/city.sock" http://node/readyz)" = 200 ]
}
put 200
conf/local/ctl stop postgres
START_S=100 conf/local/ctl start city 2>"$D/start.city" &
starter=$!
wait_until 20 waits database
wait_until 10 grep -q ' pg.away ' "$D/log/city.log"
[ "$(curl -s --unix-socket "$R/city.sock" http://node/livez)" = ok ] ||
	fail "it does not live while it waits"
conf/local/ctl start postgres || fail "postgres"
wait_until 30 waits kafka ok
wait_until 20 grep -q ' kafka.away ' "$D/log/city.log"
start_brokers city hub
wait "$starter" || fail "it did not go on: $(cat "$D/start.city")"
wait_until 30 is_ready
ensure_city_token() {
	conf/local/ctl start hub link nginx
}
wait_until 60 ensure_city_token
wait_until 60 heads_equal
wait_until 30 same_set

step "a socket in use"
refused 78 GX3021 "city.sock" -- -c "$D/city/gxbusd.conf"
is_ready || fail "the one that has it was disturbed"
kill_hard city
[ -S "$R/city.sock" ] || fail "the dead one's socket was to be left"
start_gxbusd city
wait_until 10 is_ready

step "another number of partitions"
stop_part city
conf 's/^\[node\]/[node]\ntopic_partitions = 5/'
refused 78 GX3005 "gx.batch.450100.* 4.* 5|gx.batch.450100.* 5.* 4" -- -c "$X"

step "a declaration of an adapter, with the place"
# declared SED NUMBER PATTERN
declared() {
	sed "$1" "$D/city/social.json" >"$D/city/other.json"
	cmp -s "$D/city/social.json" "$D/city/other.json" && fail "sed: $1"
	give "$D/city/other.json" 640
	conf "s|^adapter = .*|adapter = $D/city/other.json|"
	refused 78 "$2" "$3" -- -c "$X" --check-config
}
declared 's/"pg-cdc"/"pg-cdd"/' GX5001 '/kind.*"pg-cdc"'
declared 's/"slot":/"slit":/' GX5001 '/slit: unknown member'
declared 's/"date8"/"date9"/' GX5001 '/tables/0/map/5/convert'
declared 's/"item": "aac002"/"item": "aac0022"/' GX5001 '/tables/0/map/1/item'
declared 's/"social.insured"/"social.insurde"/' GX5001 '/tables/0/resource'
declared '1s/{/{,/' 'GX(5001|1010)' 'other.json|byte'
conf "s|^adapter = .*|adapter = $D/city/none.json|"
refused 78 GX5002 none.json -- -c "$X" --check-config

step "the department refuses us: the flow says so, the node lives"
cp "$D/secret/gx_reader" "$D/kept"
admin() {
	as_server psql -qAtX -h "$R" -p "$(P postgres)" -d postgres -c "$1" ||
		fail "sql: $1"
}
admin "ALTER ROLE gx_reader PASSWORD 'another'"
start_gxbusd city
is_stopped() {
	[ "$(ask gx_city "SELECT code FROM gx_flow WHERE flow = 'social'
AND state = 'stopped'")" = "$1" ]
}
wait_until 20 is_stopped pg.auth
is_ready || fail "one flow's trouble is not the node's"
cli city flow show social >"$D/said" 2>&1 || fail "flow show"
says '^code +pg.auth' '^number +GX3011'
admin "ALTER ROLE gx_reader PASSWORD '$(cat "$D/kept")'"
cli city flow restart social >/dev/null 2>&1 || fail "flow restart"
put 50 201
wait_until 30 heads_equal
wait_until 30 same_set

step "the command line"
# gx RC GXnnnn ARG...
gx() {
	local want=$1 number=$2 rc
	shift 2
	(. "$OUT/env" && "$GXBUS" "$@") >"$D/out.cli" 2>"$D/said"
	rc=$?
	[ $rc = "$want" ] || fail "gxbus $*: exit $rc: $(cat "$D/said")"
	[ "$number" = - ] || says "^error $number: ." '^why: .' '^next: .'
	[ "$number" = - ] || [ ! -s "$D/out.cli" ] ||
		fail "gxbus $*: an error wrote to stdout"
}
echo gxbus_0000000000000000000000000000000000000000 >"$D/bad.token"
chmod 600 "$D/bad.token"
cp "$D/bad.token" "$D/open.token"
chmod 644 "$D/open.token"
gx 0 - status
gx 4 GX6011 status --token-file "$D/bad.token"
gx 4 GX7004 status --token-file "$D/open.token"
gx 4 GX7004 status --token-file "$D/none.token"
gx 7 GX3020 status --url https://127.0.0.1:1
gx 7 GX3020 reconcile run social.insured --peer https://127.0.0.1:1
gx 1 GX3022 status --ca "$D/pki/node-450100.pem"
gx 2 GX3051 status --url http://127.0.0.1:1
gx 3 GX6013 flow show nothing
gx 3 GX6013 stream show /450100/none/of/these/0
gx 3 GX6013 quarantine show 99999999
gx 3 GX6013 reconcile run social.nothing
gx 3 GX3003 topic tail gx.batch.nothing
gx 3 GX7008 explain GX9999
gx 2 GX7002 flow shwo
says 'nearest command is: gxbus flow show$'
gx 2 GX7001 flow show
gx 2 GX7001 flow list --bogus
gx 2 GX7001 flow list -o yaml
gx 5 GX6015 quarantine list --limit many
gx 5 GX6015 quarantine list --cursor many
gx 5 GX6015 token create one --role king
gx 6 GX6016 token create operator --role operator
gx 2 GX7001 token revoke operator
stop_part hub
gx 7 GX6017 status
start_gxbusd hub
gx 0 - status

quiet_logs ' pg.auth '
passed
