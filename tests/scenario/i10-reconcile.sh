#!/bin/bash
# i10: The five records that differ at two nodes are found by their keys (of
# GX_RECON_ROWS=200000 with less than 1 % of the bytes of a full compare); each is told from
# what is under way or in quarantine; repaired from the signed log they are
# equal, and the second time nothing is found and nothing is done.
. "$(dirname "$0")/lib.sh"
lab i10

ROWS=${GX_RECON_ROWS:-6000}
R=social.insured
O=/$GXL_CITY/hrss/social
S=$O/$R/0

# run CODE ARG...: reconcile run at the hub against the city, JSON to o
run() {
	local want=$1 got
	shift
	cli hub reconcile run $R -o json "$@" >"$D/o" 2>"$D/err"
	got=$?
	[ $got = "$want" ] || fail "exit $got, not $want: $(head -c 600 "$D/o" "$D/err")"
}
# value EXPRESSION: of the answer d
value() {
	python3 -c "import json, sys
d = json.load(open(sys.argv[1]))
print($1)" "$D/o"
}
# found: lines "KEY DIFFERENCE" in order
found() {
	value "'\n'.join(sorted(i['key'][0] + ' ' + i['difference'] for i in d['items']))"
}
# key N: the key of the department's row N in order
key() {
	ask gx_city "SELECT aac001 FROM $R ORDER BY aac001 OFFSET $1 LIMIT 1"
}

step "a department's $ROWS rows are at city and hub"
start_pg
start_brokers city hub
set_conf city "flow social" guard_percent 0
put "$ROWS"
start_gxbusd hub city link nginx
arrived() {
	[ "$(ask gx_hub "SELECT count(*) FROM $R")" = "$ROWS" ] && heads_equal
}
wait_until 240 arrived
echo "  arrived at $SECONDS s"
run 0
echo "  compared at $SECONDS s"
[ "$(value "d['equal'], d['same_history'], d['questions']")" = \
	"True True 2" ] || fail "equal tables: $(head -c 300 "$D/o")"

# plant: five differences, of each kind, at different places
plant() {
	k1=$(key 11) k2=$(key $((ROWS / 4))) k3=$(key $((ROWS / 2)))
	k4=$(key $((ROWS * 3 / 4))) k5=$(key $((ROWS - 10)))
	sql gx_hub "UPDATE $R SET base = base + 1 WHERE aac001 = '$k1';
DELETE FROM $R WHERE aac001 IN ('$k2', '$k3');
UPDATE $R SET n_months = n_months + 1 WHERE aac001 = '$k4'"
	sql gx_city "DELETE FROM $R WHERE aac001 = '$k5'"
	printf '%s\n' "$k1 different" "$k2 missing here" "$k3 missing here" \
		"$k4 different" "$k5 missing there" | sort >"$D/planted"
}

step "five planted differences are found, with few bytes"
plant
run 10
found | cmp - "$D/planted" || fail "found: $(found)"
full=$(ask gx_hub "SELECT sum(length(gx_origin) + length(gx_key) + 64 + 10) * 2
FROM $R")
bytes=$(value "d['bytes']")
echo "  $bytes of $full bytes, $(value "d['questions']") questions"
[ "$ROWS" -lt 200000 ] || [ $((bytes * 100)) -lt "$full" ] ||
	fail "more than 1 %"
cli city reconcile run $R -o json >"$D/o" 2>/dev/null
[ $? = 10 ] || fail "the city does not see it"
found | sed 's/ here$/ x/; s/ there$/ here/; s/ x$/ there/' | sort |
	cmp - "$D/planted" || fail "from the other end: $(found)"

step "repaired from the log they are equal; twice nothing is left to do"
before=$(table_digest gx_hub)
run 0 --repair
cat "$D/err"
[ "$(value "d['equal']")" = True ] || fail "not equal"
wait_until 10 same_set
[ "$(table_digest gx_hub)" = "$(table_digest gx_city)" ] ||
	fail "stream, epoch or seq differ"
[ "$(table_digest gx_hub)" != "$before" ] || fail "nothing was repaired"
unchanged_by gx_hub run 0 --repair
[ ! -s "$D/err" ] || fail "done twice: $(cat "$D/err")"
cli hub audit tail -n 50 -o json >"$D/o"
grep -q 'reconcile.repair' "$D/o" || fail "not in the audit log"

step "a row that was added by nobody, and one that was deleted in truth"
k1=$(key 100) k2=$(key 200)
row=$(ask gx_hub "SELECT to_jsonb(t) FROM $R t WHERE aac001 = '$k2'")
sql gx_hub "INSERT INTO $R SELECT (jsonb_populate_record(t, jsonb_build_object(
'aac001', '4501009999999999', 'gx_key', '[\"4501009999999999\"]'))).* FROM $R t
WHERE aac001 = '$k1'"
sql hrss "DELETE FROM public.ac01 WHERE aac001 = '$k2'"
wait_until 60 heads_equal
sql gx_hub "INSERT INTO $R SELECT * FROM jsonb_populate_record(NULL::$R,
'${row//\'/\'\'}')"
run 10
[ "$(found)" = "$(printf '%s\n' "4501009999999999 missing there" \
	"$k2 missing there" | sort)" ] || fail "found: $(found)"
run 10 --repair
cat "$D/err"
# What no line of the log speaks of is not deleted by a guess.
[ "$(found)" = "4501009999999999 missing there" ] || fail "left: $(found)"
sql gx_hub "DELETE FROM $R WHERE aac001 = '4501009999999999'"
run 0

step "held at its source: equal, and it says so"
k=$(key 300)
sql hrss "UPDATE public.ac01 SET n_months = 9999 WHERE aac001 = '$k'"
held_both() {
	held_keys gx_hub | grep -qx "$k" && held_keys gx_city | grep -qx "$k"
}
wait_until 60 held_both
run 0
[ "$(value "d['here']['held'], d['there']['held']")" = "1 1" ] ||
	fail "held: $(head -c 300 "$D/o")"
sql gx_hub "DELETE FROM $R WHERE aac001 = '$k'"
run 10
[ "$(value "d['items'][0]['difference'], d['items'][0]['held']")" = \
	"missing here True" ] || fail "$(cat "$D/o")"
run 0 --repair

step "under way is told from different, and waited for"
stop_part link
k1=$(key 400) k2=$(key 401) k3=$(key 402)
sql hrss "UPDATE public.ac01 SET base = base + 1 WHERE aac001 = '$k1';
DELETE FROM public.ac01 WHERE aac001 = '$k2'"
put 1 $((ROWS + 1))
gone() {
	[ -z "$(ask gx_city "SELECT 1 FROM $R WHERE aac001 = '$k2'")" ] &&
		[ "$(ask gx_city "SELECT count(*) FROM $R")" = "$(ask hrss \
			"SELECT count(*) FROM public.ac01")" ]
}
wait_until 60 gone
run 0
[ "$(value "d['equal'], d['differ'], d['under_way']")" = "False 0 3" ] ||
	fail "$(cat "$D/o")"
# The control: a real one among them is seen.
sql gx_hub "DELETE FROM $R WHERE aac001 = '$k3'"
run 10
[ "$(value "d['differ'], d['under_way']")" = "1 3" ] || fail "$(cat "$D/o")"
[ "$(found | grep -v 'not yet')" = "$k3 missing here" ] || fail "$(found)"
run 0 --repair
start_gxbusd link
run 0 --wait 60s
[ "$(value "d['equal'], d['under_way']")" = "True 0" ] || fail "$(cat "$D/o")"

step "both sides sign what they hold; a changed byte is refused"
cli hub reconcile report >"$D/st" || fail "report"
[ "$(wc -l <"$D/st")" = 2 ] || fail "two statements: $(cat "$D/st")"
verify() {
	"$GXBUS" reconcile verify --trust "$D/hub/trust" "$1" >"$D/o" 2>&1
}
verify "$D/st" || fail "verify: $(cat "$D/o")"
grep -q "^agree.$R" "$D/o" || fail "they do not agree: $(cat "$D/o")"
"$GXBUS" reconcile verify --trust "$D/city/trust" "$D/st" >/dev/null ||
	fail "the city's verifier refuses"
sed 's/"count":[0-9]*/"count":1/' "$D/st" >"$D/bad"
verify "$D/bad" && fail "a changed statement is taken"
grep -q 'signature does not hold' "$D/o" || fail "$(cat "$D/o")"
day=$(python3 -c 'import json,sys
print(json.loads(open(sys.argv[1]).readline())["day"])' "$D/st")
cli hub reconcile report "$day" >"$D/again" || fail "report of a day"
cmp "$D/st" "$D/again" || fail "another statement is kept"
k=$(key 500)
sql gx_hub "DELETE FROM $R WHERE aac001 = '$k'"
cli hub reconcile report >"$D/st2" || fail "report"
verify "$D/st2" && fail "a difference is agreed upon"
grep -q "^differ.$R" "$D/o" || fail "$(cat "$D/o")"

step "by schedule: the difference is an alert until it is repaired"
set_conf city node flows "social, own, sink, receipt, watch"
set_conf city "flow watch" kind reconcile
set_conf city "flow watch" reconcile_every 1s
set_conf city parent url "https://127.0.0.1:$(P nginx-hub)"
set_conf city parent ca "$D/pki/ca.pem"
set_conf city parent cert "$D/pki/node-$GXL_CITY.pem"
set_conf city parent cert_key "$D/pki/node-$GXL_CITY.key"
stop_part city
start_gxbusd city
flow_code() {
	[ "$(ask gx_city "SELECT code FROM gx_flow WHERE flow = 'watch'")" = "$1" ]
}
wait_until 40 flow_code reconcile.differs
wait_until 20 grep -q ' error reconcile.differs ' "$D/log/city.log"
cli city flow show watch | grep -q reconcile.differs || fail "flow show"
run 0 --repair
wait_until 20 flow_code ''

step "explain record: where it is, and whose turn"
cli hub explain record $R "$k" >"$D/o" || fail "explain record: $(cat "$D/o")"
[ "$(grep -c "stream $S" "$D/o")" = 2 ] || fail "$(cat "$D/o")"
grep -q '^turn: nobody: ' "$D/o" || fail "$(cat "$D/o")"
value=$(ask gx_hub "SELECT aac003 FROM $R WHERE aac001 = '$k'")
grep -qF "$value" "$D/o" && fail "a value is printed"
stop_part link
sql hrss "UPDATE public.ac01 SET base = base + 1 WHERE aac001 = '$k'"
late() {
	cli hub explain record $R "$k" 2>/dev/null |
		grep -q "^turn: $GXL_HUB: it has not taken"
}
wait_until 60 late
start_gxbusd link
wait_until 60 heads_equal

no_gap gx_hub
no_gap gx_city
quiet_logs ' reconcile\.differs '
passed
