#!/bin/bash
# f10: Persons' data go good and bad through everything, with faults on the
# way, and stand in no log, no error text, no metric and no report; only who
# may look into the quarantine sees them there.
. "$(dirname "$0")/lib.sh"
lab f10
mkdir -p "$D/city" "$D/link" "$D/hub"
for part in city link hub; do
	set_conf $part node log_level debug
done
set_conf city "flow social" guard_percent 0

walking 300
. "$OUT/env"

step "invented persons with a marker, good and bad"
# Text, number and key of each person carry the marker; bad ones in each way,
# the marker in the very value that is refused.
M=QZXMARK
sql hrss "CREATE FUNCTION marked(tag text, i int) RETURNS SETOF ac01
LANGUAGE sql AS \$\$ SELECT (jsonb_populate_record(NULL::ac01, to_jsonb(a) || jsonb_build_object(
	'aac001', '$M' || tag || i, 'aac003', '$M' || '名' || i,
	'aab001', '$M' || i, 'aab004', '$M' || '路' || i || '号'))).*
FROM (SELECT * FROM ac01 WHERE aac001 ~ '^4501' ORDER BY aac001
OFFSET i LIMIT 1) a \$\$;
INSERT INTO ac01 SELECT m.* FROM generate_series(1, 100) i, marked('G', i) m"
bad() {
	sql hrss "INSERT INTO ac01 SELECT (jsonb_populate_record(m, '$2')).*
FROM marked('B', $1) m"
}
bad 101 "{\"aac002\": \"$M\"}"
bad 102 "{\"region\": \"$M\"}"
bad 103 "{\"aac031\": \"QZXM\"}"
bad 104 "{\"aac006\": \"QZXMARK\"}"
bad 105 "{\"aac003\": \"$(printf "$M%.0s" 1 2 3 4 5 6 7 8 9 10)\"}"
bad 106 "{\"n_months\": 88776655}"
bad 107 "{\"org_uscc\": \"$M\"}"
bad 108 '{"aac049": 88776655}'
bad 109 '{"base": 8877665544332211.55}'
wait_until 30 heads_equal
wait_until 30 same_set
[ "$(held_keys gx_hub | grep -c "^${M}B")" = 9 ] || fail "not all are held"

step "good ones spoilt, bad ones mended, keys changed, rows deleted"
sql hrss "UPDATE ac01 SET aac031 = 'QZXM' WHERE aac001 IN ('${M}G1', '${M}G2')"
sql hrss "UPDATE ac01 SET n_months = 5 WHERE aac001 = '${M}B106'"
sql hrss "UPDATE ac01 SET aac001 = '${M}K' WHERE aac001 = '${M}G3'"
sql hrss "DELETE FROM ac01 WHERE aac001 = '${M}G4'"
wait_until 30 same_set

step "faults while they flow: daemons, brokers, database, a crash with its dump"
changes() {
	sql hrss "UPDATE ac01 SET n_months = $1 WHERE aac001 ~ '^${M}G';
UPDATE ac01 SET aab004 = '${M}路$1号' WHERE aac001 ~ '^${M}G.*[05]\$'"
}
changes 11
kill_hard city
kill_hard link
kill_hard kafka-city
changes 12
start_brokers city
start_gxbusd city link
kill_hard kafka-hub
changes 13
kill_hard postgres
start_pg
start_brokers hub
changes 14
wait_until 60 heads_equal
wait_until 30 same_set
for part in city hub; do
	signal $part ABRT
	gone() {
		! is_running "$1"
	}
	wait_until 10 gone $part
done
changes 15
start_gxbusd city hub
wait_until 60 heads_equal
wait_until 30 same_set

step "the databases refuse: servers' words quote the row, ours do not"
# PostgreSQL's DETAIL holds the whole row that breaks a constraint.
sql gx_hub "ALTER TABLE social.insured ADD CONSTRAINT no_more
CHECK (aab004 <> '${M}路77号') NOT VALID"
sql hrss "UPDATE ac01 SET aab004 = '${M}路77号' WHERE aac001 = '${M}G50'"
hub_says() {
	grep -q "no_more" "$D/log/postgres.log" && {
		[ "$(ask gx_hub "SELECT count(*) FROM gx_quarantine
WHERE side = 'sink'")" != 0 ] ||
			[ "$(ask gx_hub "SELECT count(*) FROM gx_flow
WHERE code <> ''")" != 0 ]
	}
}
wait_until 30 hub_says
grep -q "Failing row contains.*$M" "$D/log/postgres.log" ||
	fail "the server was to quote the row"
cp "$D/log/hub.log" "$D/hub.then"
(. "$OUT/env" && "$GXBUS" quarantine list -o json) >"$D/sink.list" 2>&1
(. "$OUT/env" && "$GXBUS" flow show sink -o json) >"$D/sink.flow" 2>&1
# A column too narrow, then away, at the department's side and at ours.
sql gx_hub "ALTER TABLE social.insured DROP CONSTRAINT no_more"
sql hrss "ALTER TABLE ac01 RENAME aab001 TO other_name"
sql hrss "UPDATE ac01 SET n_months = 16 WHERE aac001 = '${M}G50'"
stands() {
	cli city flow show social 2>/dev/null | grep -q 'column_gone'
}
wait_until 30 stands
cli city flow show social -o json >"$D/source.flow" 2>&1
sql hrss "ALTER TABLE ac01 RENAME other_name TO aab001"
cli city flow restart social >/dev/null 2>&1 || fail "flow restart"
changes 17
wait_until 60 heads_equal

step "everything that people and machines are told"
mkdir "$D/told"
said() {
	local name=$1
	shift
	"$@" >"$D/told/$name" 2>&1 </dev/null
}
n=0
for node in city hub; do
	for words in status "flow list -o wide" "flow show sink -o json" \
		"stream list -o wide" "quarantine list --limit 1000" \
		"quarantine list --limit 1000 -o json" "node list" doctor \
		"doctor -o json" "quarantine show 999999" "flow show none" \
		"reconcile run none"; do
		n=$((n + 1))
		# shellcheck disable=SC2086
		said "$node.$n" cli $node $words
	done
	for path in metrics readyz livez openapi.json api/v1/none \
		'api/v1/quarantine?cursor=x'; do
		n=$((n + 1))
		said "$node.$n" curl -s --unix-socket "$R/$node.sock" \
			"http://node/$path"
	done
done
[ "$(ls "$D/told" | wc -l)" = 36 ] || fail "not all was asked"
grep -q '"check":"daemons"' "$D/told/"* || fail "the doctor said nothing"
grep -q '"log":".*info' "$D/told/"* || fail "the doctor's log is empty"
cp "$D/sink.list" "$D/sink.flow" "$D/source.flow" "$D/told/"

# All keys, numbers and names there are, one a line.
{
	echo $M
	echo QZXM
	echo 88776655
	db hrss -c "SELECT aac001 FROM ac01 UNION SELECT aac002 FROM ac01
UNION SELECT btrim(aac003, E' \t\u3000') FROM ac01
UNION SELECT btrim(aab004) FROM ac01"
	db gx_hub -c "SELECT aac001 FROM social.insured UNION SELECT aac002
FROM social.insured UNION SELECT aac003 FROM social.insured"
} | awk 'length($0) > 1' | LC_ALL=C sort -u >"$D/markers"
[ "$(wc -l <"$D/markers")" -gt 900 ] || fail "few markers"
# leaks FILE...: files and lines that hold one
leaks() {
	grep -aFn -f "$D/markers" "$@"
}
logs() {
	local f
	for f in "$D"/log/{city,link,hub,nginx}.log "$D"/nginx/*.log; do
		[ ! -s "$f" ] || echo "$f"
	done
}

step "0 hits"
# shellcheck disable=SC2046
if leaks $(logs) "$D/hub.then" "$D/told/"* | cut -c 1-300 | head -n 5 |
	grep .; then
	fail "a person's data are told"
fi
for part in city link hub nginx; do
	[ "$(wc -c <"$D/log/$part.log")" -gt 0 ] || [ $part = nginx ] ||
		fail "$part.log is empty"
done
grep -qx 'log_level = debug' "$D/city/gxbusd.conf" || fail "not all is logged"
grep -q 'end of the last lines' "$D/log/hub.log" || fail "no dump of a crash"

step "the same search finds what is there"
id=$(ask gx_city "SELECT max(id) FROM gx_quarantine")
cli city quarantine show "$id" >"$D/shown" || fail "quarantine show"
leaks "$D/shown" && fail "a record is shown without a mask"
cli city quarantine show "$id" --reveal >"$D/shown" || fail "--reveal"
leaks "$D/shown" >/dev/null || fail "the search is blind to what may be seen"
cp "$D/log/hub.log" "$D/planted.log"
printf 'row %s\n' "$(ask hrss "SELECT aac002 FROM ac01 WHERE aac002
IS NOT NULL AND aac001 ~ '^4501' LIMIT 1")" >>"$D/planted.log"
[ "$(leaks "$D/planted.log" | wc -l)" = 1 ] || fail "the search is blind"
"$GXBUS" token create seer --role auditor >"$D/seer" 2>/dev/null || fail token
leaks $(logs) >/dev/null && fail "a token's making told of persons"
grep -qaF "$(cat "$D/seer")" $(logs) && fail "a token in a log"
grep -qaF "$GX_TOKEN" $(logs) && fail "a token in a log"
grep -qaFf "$D/secret/gx_reader" $(logs) && fail "a password in a log"

quiet_logs ' source\.column_gone | pg\.constraint '
passed
