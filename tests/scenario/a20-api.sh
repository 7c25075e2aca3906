#!/bin/bash
# a20: Each route lets in whom the table of routes names and nobody else; what
# it answers is of the promised form; a daemon that is asked to end has ended
# within ten seconds.
. "$(dirname "$0")/lib.sh"
lab a20

walking 300
conf/local/gen --bad --first 901 | db hrss -c 'COPY public.ac01 FROM STDIN' ||
	fail "bad rows"
wait_until 30 same_set
. "$OUT/env"

step "tokens and certificates of all kinds"
"$GXBUS" token create watcher --role auditor >"$D/auditor" 2>/dev/null ||
	fail "an auditor's token"
GXBUS_URL=$GXBUS_CITY_URL "$GXBUS" token create spare --role auditor \
	>/dev/null 2>&1 || fail "a token at the city"
# Signed by the same CA: a name without a key in the trust folder, the name of
# a person, and one that tries to leave the folder.
(
	. conf/local/parts.sh
	umask 077
	sign node-459999 /CN=node:459999 extendedKeyUsage=clientAuth
	sign person /CN=operator extendedKeyUsage=clientAuth
	sign climber '/CN=node:..:trust' extendedKeyUsage=clientAuth
) || fail "certificates"

# ask_as WHO METHOD PATH [BODY]: the status; the answer is in $D/body
ask_as() {
	local how=()
	case $1 in
	nobody) ;;
	operator) how=(-H "Authorization: Bearer $GX_TOKEN") ;;
	auditor) how=(-H "Authorization: Bearer $(cat "$D/auditor")") ;;
	node) how=(--cert "$D/pki/node-450100.pem" --key "$D/pki/node-450100.key") ;;
	stranger) how=(--cert "$D/pki/node-459999.pem" --key "$D/pki/node-459999.key") ;;
	person) how=(--cert "$D/pki/person.pem" --key "$D/pki/person.key") ;;
	climber) how=(--cert "$D/pki/climber.pem" --key "$D/pki/climber.key") ;;
	wrong-and-node) how=(--cert "$D/pki/node-450100.pem" --key "$D/pki/node-450100.key"
		-H "Authorization: Bearer ${GX_TOKEN%?????}00000") ;;
	auditor-and-node) how=(--cert "$D/pki/node-450100.pem" --key "$D/pki/node-450100.key"
		-H "Authorization: Bearer $(cat "$D/auditor")") ;;
	basic) how=(-H "Authorization: Basic b3BlcmF0b3I6b3BlcmF0b3I=") ;;
	esac
	[ -z "${4:-}" ] || how+=(-H 'Content-Type: application/json' -d "$4")
	curl -s -g -o "$D/body" -D "$D/headers" -w '%{http_code}' --max-time 20 \
		--cacert "$GX_CA" -X "$2" "${how[@]}" "${URL:-$GXBUS_URL}$3"
}
is_problem() {
	grep -qi '^content-type: application/problem+json' "$D/headers" &&
		python3 - "$D/body" "$1" <<'PY'
import json, re, sys
d = json.load(open(sys.argv[1], encoding="utf-8"))
assert d["status"] == int(sys.argv[2]), d
assert d["title"] and d["detail"] and d["remedy"] and d["instance"], d
assert re.fullmatch(r"GX[0-9]{4}", d["code"]) and d["code"] != "GX1000", d
assert d["type"] == "/errors/" + d["code"], d
PY
}
# expect WHO METHOD PATH BODY STATUS
expect() {
	local status
	status=$(ask_as "$1" "$2" "$3" "$4")
	[ "$status" = "$5" ] ||
		fail "$1 $2 $3: $status instead of $5: $(head -c 300 "$D/body")"
	case $5 in
	2*) ;;
	*) is_problem "$5" || fail "$1 $2 $3: no problem: $(cat "$D/body")" ;;
	esac
}

step "each route for each caller"
URL=$GXBUS_CITY_URL
"$GXBUS" --help >/dev/null
id=$(GXBUS_URL=$URL "$GXBUS" quarantine list --limit 1 -o name 2>/dev/null)
S=/450100/hrss/social/social.insured/0
# METHOD PATH|WHO MAY (p public, o operator, a auditor, n node)|BODY|STATUS
cat >"$D/routes" <<X
GET /livez|p||200
GET /readyz|p||200
GET /metrics|p||200
GET /openapi.json|p||200
GET /errors/GX4001|p||200
GET /api/v1/version|p||200
GET /api/v1/status|oan||200
GET /api/v1/flows|oa||200
GET /api/v1/flows/sink|oa||200
POST /api/v1/flows/sink/pause|o|{}|200
POST /api/v1/flows/sink/resume|o|{}|200
POST /api/v1/flows/sink/restart|o|{}|200
GET /api/v1/streams|oan||200
GET /api/v1/receipts|oan||200
GET /api/v1/streams$S|oan||200
GET /api/v1/quarantine|oa||200
GET /api/v1/quarantine/stats|oa||200
GET /api/v1/quarantine/$id|oa||200
GET /api/v1/quarantine/$id/content|oa||404
POST /api/v1/quarantine/replay|o|{}|200
POST /api/v1/quarantine/$id/fix|o|{}|404
POST /api/v1/quarantine/$id/replay|o|{}|404
POST /api/v1/quarantine/$id/discard|o|{"reason":"x"}|404
GET /api/v1/nodes|oa||200
GET /api/v1/resources|oan||200
GET /api/v1/reconcile/social.insured|oan||200
GET /api/v1/statements|oan||200
POST /api/v1/statements|o|{"scope":"450100"}|201
GET /api/v1/trace/social.insured?key=%5B%22x%22%5D|oan||200
POST /api/v1/repair/social.insured|o|{"stream":"$S","from":1,"keys":[["x"]]}|200
GET /api/v1/topics/gx.batch.450100/tail?n=1|oa||200
GET /api/v1/evidence?stream=$S&first=1|oa||200
GET /api/v1/doctor|oa||200
GET /api/v1/audit?after=1|oa||200
GET /api/v1/audit/head|oa||200
GET /api/v1/tokens|o||200
POST /api/v1/tokens|o|{"name":"made","role":"auditor"}|201
DELETE /api/v1/tokens/made|o||200
X
# The auditor's token is the hub's: the city does not know it.
URL=$GXBUS_URL
n=0
while IFS='|' read -r route who body status; do
	method=${route%% *} path=${route#* }
	for caller in nobody basic wrong-and-node stranger node \
		auditor auditor-and-node operator; do
		case $caller in
		nobody | basic | wrong-and-node) letter=- no=401 ;;
		stranger) letter=- no=403 ;;
		auditor*) letter=a no=403 ;;
		*) letter=${caller:0:1} no=403 ;;
		esac
		case $who in
		p | *"$letter"*) want=$status ;;
		*) want=$no ;;
		esac
		# The hub's quarantine has no row: 404 for those who may look.
		[ "$path$want" != "/api/v1/quarantine/${id}200" ] || want=404
		expect "$caller" "$method" "$path" "$body" "$want"
		n=$((n + 1))
	done
done <"$D/routes"
echo "  $n calls"
[ "$n" = 304 ] || fail "the table has other rows"
URL=$GXBUS_CITY_URL
expect operator GET "/api/v1/quarantine/$id" "" 200
expect auditor GET /api/v1/flows "" 401
URL=$GXBUS_URL

for caller in person climber; do
	expect $caller GET /api/v1/status "" 403
	expect $caller POST /api/v1/flows/sink/pause '{}' 403
done

step "the description lists exactly these routes, with who may call"
expect nobody GET /openapi.json "" 200
python3 - "$D/body" "$D/routes" <<'PY' || fail "openapi.json"
import json, re, sys
d = json.load(open(sys.argv[1], encoding="utf-8"))
assert d["openapi"].startswith("3.1") and d["info"]["title"], d["info"]
have = {}
ids = set()
for path, ops in d["paths"].items():
    for verb, op in ops.items():
        names = re.findall(r"{(\w+)}", path)
        assert [p["name"] for p in op["parameters"]] == names, path
        assert op["operationId"] not in ids
        ids.add(op["operationId"])
        sec = {k for s in op["security"] for k in s}
        have[(verb.upper(), path)] = sec
for line in open(sys.argv[2]):
    route, who = line.split("|")[:2]
    verb, path = route.split(" ", 1)
    path = path.split("?")[0]
    hits = [k for k in have if k[0] == verb and re.fullmatch(
        re.sub(r"{\w+}", "[^/]+" if "streams" not in k[1] else ".+", k[1]),
        path)]
    assert hits, (verb, path)
    for k in hits[:1]:
        want = set()
        if set(who) & set("oa"):
            want.add("token")
        if "n" in who:
            want.add("certificate")
        assert have.pop(k) == want, (k, want)
assert not have, have
PY

step "lists have items and next, and pages are the whole"
for path in flows streams quarantine nodes resources doctor tokens; do
	URL=$GXBUS_CITY_URL expect operator GET "/api/v1/$path" "" 200
	python3 -c '
import json, sys
d = json.load(open(sys.argv[1]))
assert d["v"] == 1 and isinstance(d["items"], list) and d["items"], d
assert d["next"] is None' "$D/body" || fail "/api/v1/$path is no list"
done
page= pages=
while :; do
	URL=$GXBUS_CITY_URL expect operator GET \
		"/api/v1/quarantine?limit=3${page:+&cursor=$page}" "" 200
	read -r page ids <<<"$(python3 -c '
import json, sys
d = json.load(open(sys.argv[1]))
print(d["next"] or "-", *[i["id"] for i in d["items"]])' "$D/body")"
	pages="$pages $ids"
	[ "$page" != - ] || break
done
all=$(ask gx_city 'SELECT id FROM gx_quarantine ORDER BY id DESC')
[ "$(echo $pages)" = "$(echo $all)" ] || fail "pages: $pages"

step "what is asked wrongly"
expect operator GET /api/v1/nothing "" 404
expect operator GET /api/v1/flows/nothing "" 404
expect operator POST /api/v1/flows/nothing/pause '{}' 404
expect operator PUT /api/v1/flows '{}' 405
expect operator POST /api/v1/tokens '{"name":' 400
expect operator POST /api/v1/tokens '[]' 400
expect operator POST /api/v1/tokens '{"name":"x","role":"king"}' 400
expect operator GET '/api/v1/quarantine?limit=0' "" 400
expect operator GET '/api/v1/quarantine?cursor=x' "" 400
expect operator GET '/api/v1/streams?since=yesterday' "" 400
expect operator GET '/api/v1/topics/none/tail' "" 404
expect operator GET /api/v1/reconcile/none "" 404
expect operator GET /api/v1/evidence "" 400
expect operator GET "/api/v1/evidence?stream=$S" "" 400
expect operator GET "/api/v1/evidence?stream=$S&first=0" "" 400
expect operator GET "/api/v1/evidence?stream=$S&first=1&n=1001" "" 400
expect operator GET "/api/v1/evidence?stream=$S&first=1&key=x&resource=y" "" 400
expect operator GET '/api/v1/evidence?stream=x&first=1' "" 400
expect operator GET "/api/v1/evidence?stream=${S%0}9&first=1" "" 404
expect operator GET "/api/v1/evidence?stream=$S&first=9007199254740991" "" 404
expect operator GET '/api/v1/evidence?resource=none&key=1' "" 404
expect operator GET '/api/v1/evidence?resource=social.insured&key=none' "" 404

step "metrics are clean, and the checker sees a fault"
for URL in "$GXBUS_URL" "$GXBUS_CITY_URL"; do
	expect nobody GET /metrics "" 200
	promtool check metrics <"$D/body" >"$D/promtool" 2>&1 ||
		fail "promtool: $(cat "$D/promtool")"
	[ ! -s "$D/promtool" ] || fail "promtool: $(cat "$D/promtool")"
	grep -q '^gxbus_flow_state{flow="sink"} 1$' "$D/body" ||
		fail "the state of the sink"
done
{
	cat "$D/body"
	printf '# TYPE gxbus_planted counter\ngxbus_planted 1\n'
} | promtool check metrics >"$D/promtool" 2>&1 && fail "promtool is blind"

step "a revoked token ends at once"
URL=$GXBUS_URL
expect auditor GET /api/v1/flows "" 200
"$GXBUS" token revoke watcher --yes >/dev/null 2>&1 || fail "revoke"
expect auditor GET /api/v1/flows "" 401
grep -rq "$(cat "$D/auditor")" "$D/log" && fail "a token in a log"
[ "$(ask gx_hub "SELECT count(*) FROM gx_token WHERE hash LIKE 'gxbus%'
OR name LIKE 'gxbus\_%'")" = 0 ] || fail "a token in the database"

step "the audit log tells who did what, and who was refused"
# audit SQL-CONDITION: how many lines of the hub's log
audit() {
	ask gx_hub "SELECT count(*) FROM gx_audit WHERE $1"
}
"$GXBUS" flow pause sink --reason 'a look at the disk' >/dev/null 2>&1 &&
	"$GXBUS" flow resume sink >/dev/null 2>&1 || fail "pause and resume"
[ "$(audit "act = 'flow.pause' AND line LIKE '%a look at the disk%'")" = 1 ] ||
	fail "the reason of a pause is not in the log"
[ "$(audit "act = 'token.revoke' AND line LIKE '%\"on\":\"watcher\"%'
AND line LIKE '%\"done\"%'")" = 1 ] || fail "a revoked token is not in it"
[ "$(audit "line LIKE '%\"refused\"%\"GX6012\"%'")" -gt 10 ] ||
	fail "the refused are not in it"
[ "$(audit "line LIKE '%\"refused\"%\"GX6011\"%'")" -gt 1 ] ||
	fail "wrong tokens are not in it"
[ "$(audit "act = 'topic.tail' AND line LIKE '%\"shown\"%'")" -ge 3 ] ||
	fail "what was shown is not in it"
before=$(audit true)
"$GXBUS" status >/dev/null || fail "status"
[ "$(audit true)" = "$before" ] || fail "a look without content has a line"

"$GXBUS" audit export >"$D/audit" 2>"$D/head" || fail "export"
head=$(sed -n 's/.*--head //p' "$D/head")
[ "$(wc -l <"$D/audit")" = "$before" ] || fail "the export is not whole"
"$GXBUS" audit verify "$D/audit" --head "$head" || fail "verify"
"$GXBUS" audit verify | grep -q '^ok' || fail "verify at the node"
"$GXBUS" audit tail -n 3 | grep -q flow.resume || fail "tail"
grep -q "$(cat "$D/auditor")" "$D/audit" && fail "a token in the audit log"

step "edits by an insider: the first line that is wrong is named"
# verify FILE LINE [ARG..]: refused at this line of the file
verify() {
	local file=$1 line=$2 out
	shift 2
	out=$("$GXBUS" audit verify "$file" "$@")
	[ $? = 10 ] || fail "$file was taken"
	case $out in
	no*":$line	"*) ;;
	*) fail "$file: $out" ;;
	esac
}
sed '5s/"role":"[a-z]*"/"role":"system"/' "$D/audit" >"$D/edited"
verify "$D/edited" 5
sed 7d "$D/audit" >"$D/cut"
verify "$D/cut" 7
awk 'NR == 9 { held = $0; next } { print } NR == 10 { print held }' \
	"$D/audit" >"$D/swapped"
verify "$D/swapped" 9
sed '$d' "$D/audit" >"$D/short"
"$GXBUS" audit verify "$D/short" || fail "a part is a log of its own"
"$GXBUS" audit verify "$D/short" --head "$head" | grep -q 'cut off' ||
	fail "a log cut off at its end was taken"
ask gx_hub "DELETE FROM gx_audit WHERE n = 6" 2>/dev/null &&
	fail "a line was taken out without a trace"
ask gx_hub "ALTER TABLE gx_audit DISABLE TRIGGER USER;
	UPDATE gx_audit SET line = replace(line, '\"n\":6,', '\"n\": 6,') WHERE n = 6"
out=$("$GXBUS" audit verify)
case $? in 10) ;; *) fail "an edited table: $out" ;; esac
case $out in *"node:6	"*) ;; *) fail "an edited table: $out" ;; esac
ask gx_hub "UPDATE gx_audit SET line = replace(line, '\"n\": 6,', '\"n\":6,') WHERE n = 6;
	ALTER TABLE gx_audit ENABLE TRIGGER USER"
"$GXBUS" audit verify >/dev/null || fail "the table as it was"

step "what cannot be noted is not done"
wish() {
	ask gx_hub "SELECT wish FROM gx_flow WHERE flow = 'sink'"
}
# undone ERROR COMMAND..: it fails with this error
undone() {
	local id=$1
	shift
	"$GXBUS" "$@" >"$D/said" 2>&1 && fail "$*: done without a line"
	grep -q "$id" "$D/said" || fail "$*: $(cat "$D/said")"
}
ask gx_hub "ALTER TABLE gx_audit RENAME TO gx_away"
undone GX6018 flow pause sink
undone GX6018 token create ghost --role auditor
undone GX6018 topic tail gx.batch.450100
ask gx_hub "ALTER TABLE gx_away RENAME TO gx_audit"
n=$(ask gx_hub "SELECT n FROM gx_audit_head")
ask gx_hub "UPDATE gx_audit_head SET n = 10000000"
undone GX6019 flow pause sink
ask gx_hub "UPDATE gx_audit_head SET n = $n"
[ "$(wish)" = run ] || fail "the sink was paused all the same"
[ "$(ask gx_hub "SELECT count(*) FROM gx_token WHERE name = 'ghost'")" = 0 ] ||
	fail "a token was made all the same"
"$GXBUS" flow pause sink >/dev/null 2>&1 && [ "$(wish)" = pause ] ||
	fail "a command that can be noted"
"$GXBUS" flow resume sink >/dev/null 2>&1 || fail "resume"

step "SIGTERM drains within ten seconds, in full work and with a broker away"
# ends PART: by SIGTERM, with exit 0 and no late flow
ends() {
	local at pid
	is_running "$1" || fail "$1 does not run"
	pid=$PID at=$(date +%s%N)
	kill -TERM "$pid"
	wait_until 12 has_ended "$1"
	at=$((($(date +%s%N) - at) / 1000000))
	echo "  $1 ended after $at ms"
	[ $at -lt 10000 ] || fail "$1: $at ms"
	grep -q 'node\.stop ' "$D/log/$1.log" || fail "$1 did not say so"
}
has_ended() {
	! is_running "$1"
}
conf/local/gen --count 30000 --first 1001 |
	db hrss -c 'COPY public.ac01 FROM STDIN' || fail "rows"
for part in city link hub; do
	ends $part
	grep 'node\.stop_late' "$D/log/$part.log" && fail "$part left a flow"
done
start_gxbusd hub city link
wait_until 60 heads_equal
wait_until 30 same_set
kill_hard kafka-hub
put 100 50001
ends hub
ends link
start_brokers hub
start_gxbusd hub link
wait_until 60 heads_equal
wait_until 30 same_set

quiet_logs ' writer.fenced '
passed
