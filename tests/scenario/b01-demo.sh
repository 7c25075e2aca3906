#!/bin/bash
# b01: The walking path, told by conf/local/demo, ends with equal sides, also
# the second time; nothing is loaded twice, nothing runs as root, no log holds
# a person's data.
. "$(dirname "$0")/lib.sh"
lab b01

demo() {
	timeout "$(stretched 300)" conf/local/demo >"$D/$1.out" 2>&1 || {
		cat "$D/$1.out"
		fail "the $1 run"
	}
	grep -q '^  EQUAL' "$D/$1.out" || fail "the $1 run does not say EQUAL"
}
records() {
	ask gx_hub "SELECT sum(next_seq - 1) FROM gx_stream
WHERE stream LIKE '/$GXL_CITY/hrss/%'"
}

step "first run"
demo first
for n in 'updates and 60 deletes have arrived' '33 good rows, commit to hub' \
	'killed city' 'killed link' 'killed hub' 'set aside at the city' \
	'  of 450000 ' '  of national ' '450200, from 450100'; do
	grep -q "$n" "$D/first.out" || fail "it does not say: $n"
done
# Seven ways, seven places.
for n in /aac002 /region /aac003 /aac031 /aac006 /n_months; do
	grep -qE "^ +#[0-9]+ .* $n " "$D/first.out" || fail "no fault at $n"
done

step "what it leaves for a shell"
[ "$(stat -c %a "$OUT/env")" = 600 ] || fail "$OUT/env is open to others"
want="GXBUS GXBUS_CITY2_URL GXBUS_CITY_URL GXBUS_NATIONAL_URL GXBUS_PEER_URL"
want="$want GXBUS_URL GX_CA GX_KAFKA_CITY GX_KAFKA_CITY2 GX_KAFKA_HUB"
want="$want GX_KAFKA_NATIONAL GX_PG_CITY GX_PG_CITY2 GX_PG_DEPARTMENT"
want="$want GX_PG_HUB GX_PG_NATIONAL GX_TOKEN"
have=$(sed -n 's/^export \([A-Z0-9_]*\)=.*/\1/p' "$OUT/env" | LC_ALL=C sort)
[ "$(echo $have)" = "$want" ] || fail "$OUT/env exports $have"
. "$OUT/env"
"$GXBUS" flow list >/dev/null || fail "the token is not good at the hub"
GXBUS_URL=$GXBUS_CITY_URL "$GXBUS" flow list >/dev/null ||
	fail "the token is not good at the city"
GX_TOKEN=${GX_TOKEN%?}x "$GXBUS" flow list 2>/dev/null &&
	fail "another token is as good"
psql -qAtX "$GX_PG_DEPARTMENT" -c 'SELECT 1' >/dev/null || fail "department"
# A forged identity does not pass nginx, which sets these headers itself.
code=$(curl -s -o "$D/forged" -w '%{http_code}' --cacert "$GX_CA" \
	-H 'X-Gx-Client-Verify: SUCCESS' -H 'X-Gx-Client-Cn: node:450100' \
	"$GXBUS_URL/api/v1/streams")
[ "$code" = 401 ] || fail "a forged certificate header: $code"
code=$(curl -s -o "$D/real" -w '%{http_code}' --cacert "$GX_CA" \
	--cert "$D/pki/node-450100.pem" --key "$D/pki/node-450100.key" \
	"$GXBUS_URL/api/v1/streams")
[ "$code" = 200 ] || fail "a real certificate: $code"

step "nothing runs as root"
for part in $GXL_PARTS; do
	is_running "$part" || fail "$part does not run"
	[ "$(stat -c %u "/proc/$PID")" != 0 ] || fail "$part runs as root"
done

step "second run on the live system"
before=$(records)
pid_before=$(cut -d ' ' -f 1 "$R/postgres.pid")
demo second
[ "$pid_before" = "$(cut -d ' ' -f 1 "$R/postgres.pid")" ] ||
	fail "PostgreSQL was started again"
more=$(($(records) - before))
# 300 + 60 + 40 + 1 + 5,000; a second loading would be 20,000 more.
[ "$more" -ge 5390 ] && [ "$more" -le 5420 ] || fail "$more records more"
no_gap gx_city
no_gap gx_hub
no_gap gx_national

step "control: a row changed behind the bus's back is seen"
same_set || fail "not equal before"
key=$(head -n 1 "$D/both/hub.good" | cut -f 1)
sql gx_hub "UPDATE social.insured SET n_months = n_months + 1 WHERE aac001 = '$key'"
same_set && fail "the change is not seen"
show_difference "$D/both" | grep -q "content: $key" || fail "it is not named"
"$GXBUS" reconcile run social.insured >/dev/null 2>&1
[ $? = 10 ] || fail "gxbus reconcile run does not see it"
GX_DEMO_WAIT_S=2 conf/local/demo >"$D/third.out" 2>&1
[ $? = 1 ] || fail "conf/local/demo does not end with 1"
grep -q "content: $key" "$D/third.out" || fail "conf/local/demo does not name it"
sql gx_hub "UPDATE social.insured SET n_months = n_months - 1 WHERE aac001 = '$key'"
same_set || fail "not equal afterwards"

step "no person's data in any log"
for item in 2 3 4; do
	sed -n '1~997p' "$D/both/department" | cut -f $item | sort -u
done | grep -vE '^.{0,2}$' >"$D/personal"
for part in $GXL_DAEMONS; do
	grep -Ff "$D/personal" "$D/log/$part.log" && fail "$part.log"
done
grep -qFf "$D/personal" "$D/both/department" || fail "the control finds none"
quiet_logs

step "README.md has the help of today"
"$GXBUS" help --all >"$D/help" || fail "gxbus help --all"
sed -n '/^## Commands/,/^## /p' README.md | sed -n '/^```$/,/^```$/p' |
	sed '/^```$/d' | cmp - "$D/help" || fail "gxbus help --all differs"
passed
