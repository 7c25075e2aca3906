#!/bin/bash
# h10: What a sink has taken and flushed it says, signed, as a record of the
# bus: equal heads, the lines set aside by their seq, within two seconds; never
# twice with different content for one stream and seq, never ahead of the
# store, wherever the maker or the outbox's writer is killed; no receipts of
# receipts; and an outbox that was restored stops its own flow alone.
. "$(dirname "$0")/lib.sh"
lab h10

S=/$GXL_CITY/hrss/social/social.insured/0

# speak PART FLOWS: the daemon's flows from now on
speak() {
	set_conf "$1" node flows "$2"
	set_conf "$1" "flow own" kind own
	set_conf "$1" "flow receipt" kind receipt
}

# said NODE: every receipt of what was applied in that node's own topic, in the order of the log
said() {
	kcat -q -C -e -t "gx.batch.$1" -o beginning -f '%s' \
		-b "127.0.0.1:$(P "kafka-$([ "$1" = "$GXL_HUB" ] && echo hub ||
			echo city)")" 2>/dev/null |
		sed -n 's/^{"op":"u","k":\["'"$1"'",".*"d":\({"v":"gxbus.receipt.1".*"verdict":"applied".*}\)}$/\1/p'
}

# receipted NODE DATABASE: the newest receipt of S in the node's topic is of the
# seq and head of the node's own row
receipted() {
	local row
	row=$(ask "$2" "SELECT next_seq - 1, head, next_seq - 1 - n_aside, n_aside
FROM gx_stream WHERE stream = '$S'")
	said "$1" | grep -F "\"stream\":\"$S\"" | tail -n 1 >"$D/last"
	[ -n "$row" ] && [ "$row" = "$(python3 -c '
import json, sys
r = json.load(open(sys.argv[1]))
print(r["seq"], r["head"], r["applied"], r["aside"], sep="|")' "$D/last")" ]
}

# honest NODE DATABASE: each receipt ever said is of a batch that the store has
# taken, with that head; none is there twice; seq rises; the sum is right; the
# seqs set aside are exactly the store's
honest() {
	said "$1" >"$D/said"
	ask "$2" "SELECT stream, first + n - 1, head FROM gx_batch" >"$D/taken"
	ask "$2" "SELECT stream, seq FROM gx_quarantine WHERE side = 'sink'
ORDER BY 1, 2" >"$D/aside"
	judge "$1" || fail "$1: receipts"
	[ "$(ask "$2" "SELECT count(*) - count(DISTINCT d::json ->> 'stream' ||
' ' || (d::json ->> 'seq')) FROM gx_outbox WHERE op = 'u'
AND stream = '/$1/gx/own/gx.receipt/0' AND d LIKE '{\"v\":%\"sink\":\"$1\"%\"verdict\":\"applied\"%'")" = 0 ] ||
		fail "$1: two rows of the outbox for one stream and seq"
}
judge() {
	python3 tests/scenario/receipts.py "$1" "$D/said" "$D/taken" "$D/aside"
}

# in_time DATABASE NODE: from the sink's commit to the message in the log, in ms
in_time() {
	local part at moved
	part=$([ "$2" = "$GXL_HUB" ] && echo hub || echo city)
	moved=$(ask "$1" "SELECT (extract(epoch FROM moved_at) * 1000)::bigint
FROM gx_stream WHERE stream = '$S'")
	at=$(kcat -q -C -e -t "gx.batch.$2" -o beginning -f '%T %k\n%s' -b \
		"127.0.0.1:$(P "kafka-$part")" 2>/dev/null | awk -v k="/$2/gx/own" '
		/^[0-9]+ / { at = index($2, k) == 1 ? $1 : 0 }
		at && /"op":"u"/ { last = at }
		END { print last }')
	echo $((at - moved))
}

# kept POINT PUT FIRST: the hub dies at that point and comes back; what its sink
# takes meanwhile is receipted once
crash_hub() {
	step "the hub is killed at $1"
	with_env hub "GX_CRASH_POINT=$1"
	stop_part hub
	conf/local/ctl start hub >/dev/null 2>&1
	put 3 "$2"
	wait_until 60 is_down hub
	with_env hub
	start_gxbusd hub
	wait_until 60 receipted "$GXL_HUB" gx_hub
	honest "$GXL_HUB" gx_hub
}
is_down() {
	! is_running "$1"
}

# emit DATABASE NODE KEY RECORD: a row of the node's outbox, by hand
emit() {
	db "$1" -v o="/$2/gx/own" -v k="$3" -v d="$4" <<'SQL' || fail "emit"
WITH head AS (UPDATE gx_outbox_head SET last_id = last_id + 1
	WHERE origin = :'o' RETURNING last_id)
INSERT INTO gx_outbox (origin, id, stream, op, key, at, d)
SELECT :'o', last_id, :'o' || '/gx.receipt/0', 'u', :'k', now(), :'d' FROM head
SQL
}
is() {
	local got
	got=$(ask "$1" "$2")
	[ "$got" = "$3" ] || fail "$2: $got, not $3"
}
shows() {
	[ "$(ask "$1" "$2")" = "$3" ]
}

step "a department's 200 rows are at city and hub; both begin to speak"
start_pg
start_brokers city hub
put 200
set_conf city node flows "social, sink"
set_conf hub node flows sink
conf/local/ctl start hub city link nginx || fail "start"
wait_until 60 heads_equal
stop_part city
stop_part hub
speak city "social, sink, own, receipt"
speak hub "sink, own, receipt"
start_gxbusd hub city
wait_until 40 receipted "$GXL_HUB" gx_hub
wait_until 40 receipted "$GXL_CITY" gx_city
honest "$GXL_HUB" gx_hub
honest "$GXL_CITY" gx_city

step "in time"
for first in 201 301 401; do
	put 100 $first
	wait_until 40 heads_equal
	wait_until 40 receipted "$GXL_HUB" gx_hub
	in_time gx_hub "$GXL_HUB"
done >"$D/times"
tr '\n' ' ' <"$D/times" | sed 's/^/  ms: /'
echo
[ "$(sort -n "$D/times" | head -n 1)" -lt 2000 ] || fail "none within 2 s"

step "what the hub sets aside is told, by seq; the city applies it"
sql hrss "UPDATE public.ac01 SET aac003 = 'set aside' WHERE aac001 LIKE '%7'"
wait_until 40 heads_equal
sql gx_hub "ALTER TABLE social.insured ADD CONSTRAINT no_more
CHECK (aac003 <> 'not here') NOT VALID"
sql hrss "UPDATE public.ac01 SET aac003 = 'not here' WHERE aac001 LIKE '%7'"
n=$(db hrss -c "SELECT count(*) FROM public.ac01 WHERE aac001 LIKE '%7'")
wait_until 40 heads_equal
wait_until 40 receipted "$GXL_HUB" gx_hub
wait_until 40 receipted "$GXL_CITY" gx_city
honest "$GXL_HUB" gx_hub
honest "$GXL_CITY" gx_city
is gx_hub "SELECT n_aside FROM gx_stream WHERE stream = '$S'" "$n"
is gx_city "SELECT n_aside FROM gx_stream WHERE stream = '$S'" 0
sql gx_hub "ALTER TABLE social.insured DROP CONSTRAINT no_more"
grep -q '"aside_seq":\[[0-9]' "$D/last" || said "$GXL_HUB" |
	grep -q '"aside_seq":\[[0-9]' || fail "no seq was told"

step "the judge sees what it must not let pass"
said "$GXL_HUB" >"$D/good"
honest "$GXL_HUB" gx_hub
while read -r what; do
	sed "$what" "$D/good" >"$D/said"
	cmp -s "$D/good" "$D/said" && fail "$what changes nothing"
	judge "$GXL_HUB" >"$D/o" && fail "let pass: $what"
done <<'EDITS'
$s/"head":"./"head":"x/
$s/"applied":[0-9]*/"applied":1/
$s/social.insured/gx.receipt/
$s/"aside_seq":\[[0-9,]*\]/"aside_seq":[1]/
$s/"seq":[0-9]*/"seq":99999999/
${p;s/"sig":"./"sig":"x/}
1{h;d};${p;g}
EDITS

step "a receipt that nobody signed goes to the quarantine, the true one passes"
r=$(ask gx_hub "SELECT d FROM gx_outbox WHERE d LIKE '%$S%'
ORDER BY id DESC LIMIT 1")
forged=$(echo "$r" | sed 's/"epoch":[0-9]*/"epoch":1/')
emit gx_city "$GXL_CITY" "[\"$GXL_HUB\",\"$S\",\"applied\"]" "$forged"
F="SELECT count(*) FROM gx_quarantine WHERE side = 'sink' AND
reasons::text LIKE '%receipt.forged%' AND stream = '/$GXL_CITY/gx/own/gx.receipt/0'"
wait_until 40 shows gx_city "$F" 1
wait_until 40 shows gx_hub "$F" 1
emit gx_city "$GXL_CITY" "[\"$GXL_HUB\",\"$S\",\"applied\"]" "$r"
T="SELECT count(*) FROM gx.receipt WHERE gx_origin = '/$GXL_CITY/gx/own' AND
sink = '$GXL_HUB'"
wait_until 40 shows gx_city "$T" 1
wait_until 40 shows gx_hub "$T" 1
is gx_hub "$F" 1

step "a message in a stream's name, where it has no business, is told to its owner"
kcat -q -C -e -o beginning -t "gx.batch.$GXL_CITY" -f '%s\x1e' \
	-b "127.0.0.1:$(P kafka-hub)" 2>/dev/null >"$D/all"
python3 - "$D/all" "$S" "$D/batch" >"$D/digest" <<'PY' || fail "no batch of it"
import hashlib, sys
for m in open(sys.argv[1], "rb").read().split(b"\x1e"):
    if m.startswith(b'{"v":"gxbus.batch.1","stream":"' + sys.argv[2].encode()):
        open(sys.argv[3], "wb").write(m)
        print(hashlib.new("sm3", m[:m.index(b',"sig"')]).hexdigest())
        sys.exit(0)
sys.exit(1)
PY
printf 'no message' >"$D/junk"
n_part=$(ask gx_hub "SELECT partition FROM gx_stream WHERE stream = '$S'")
for f in batch junk batch; do
	kcat -P -b "127.0.0.1:$(P kafka-hub)" -t "gx.batch.$GXL_HUB" \
		-p "$n_part" -k "$S" "$D/$f" || fail "kcat"
done
wait_until 40 shows gx_hub "SELECT count(*), count(*) FILTER (WHERE
is_receipted), count(DISTINCT digest) FROM gx_refusal" '3|2|2'
wait_until 40 shows gx_hub "SELECT stream, head, reason FROM gx.receipt
WHERE verdict = 'refused'" \
	"$S|$(cat "$D/digest")|batch.refused.stream_is_not_declared_for_this_topic"

step "people see them"
cli city stream show "$S" >"$D/o" || fail "stream show"
grep -qE "^$GXL_CITY +applied +[0-9]+" "$D/o" || fail "$(cat "$D/o")"
grep -qE "^$GXL_HUB +applied +[0-9]+ +[0-9]+ +$n " "$D/o" ||
	fail "$(cat "$D/o")"
cli city stream list -o json >"$D/o" || fail "stream list"
python3 - "$D/o" "$S" <<'PY' || fail "$(cat "$D/o")"
import json, sys
row = [i for i in json.load(open(sys.argv[1]))["items"]
       if i["stream"] == sys.argv[2]][0]
sys.exit(not (0 < row["receipted_seq"] < row["next_seq"] and row["receipted_by"]))
PY

step "a row of the outbox that is no record is set aside at the source"
emit gx_city "$GXL_CITY" '["x","y","z"]' '{"v":1}'
emit gx_city "$GXL_CITY" 'no key' "$r"
emit gx_city "$GXL_CITY" "[\"$GXL_HUB\",\"other\",\"applied\"]" "$r"
wait_until 40 shows gx_city "SELECT count(*) FILTER (WHERE key = ''), count(*)
FROM gx_quarantine WHERE side = 'source' AND stream LIKE '%/gx/own/%'" '1|3'
put 5 501
wait_until 40 receipted "$GXL_CITY" gx_city

first=601
for point in receipt.signed receipt.before_commit receipt.after_commit \
	writer.after_marker writer.after_seal writer.after_send \
	writer.after_release; do
	crash_hub $point $first
	first=$((first + 10))
done
wait_until 40 heads_equal

step "killed at random while rows come"
for i in 1 2; do
	put 20 $((first + i * 30))
	kill_hard hub city
	start_gxbusd hub city
done
wait_until 60 heads_equal
wait_until 60 receipted "$GXL_HUB" gx_hub
wait_until 60 receipted "$GXL_CITY" gx_city
honest "$GXL_HUB" gx_hub
honest "$GXL_CITY" gx_city

step "two processes make the hub's receipts at the same time"
set_conf hub "flow receipt" every 50ms
stop_part hub
start_gxbusd hub
sed 's/^flows = .*/flows = second/; s/^socket = .*/socket =/' \
	"$D/hub/gxbusd.conf" >"$D/hub/second.conf"
printf '[flow second]\nkind = receipt\nevery = 50ms\n' >>"$D/hub/second.conf"
give "$D/hub/second.conf" 640
as_server "$D/bin/gxbusd" -c "$D/hub/second.conf" >"$D/log/second.log" 2>&1 &
SECOND=$!
wait_until 40 grep -q 'flow=second state=running' "$D/log/second.log"
first=$((first + 160))
for i in $(seq 1 15); do
	put 1 $((first + i))
	wait_until 10 heads_equal
done
wait_until 40 receipted "$GXL_HUB" gx_hub
honest "$GXL_HUB" gx_hub
kill "$(pgrep -f "gxbusd -c $D/hub/second.conf")"
wait "$SECOND"
grep -h ' receipt\.fenced ' "$D/log/hub.log" "$D/log/second.log" |
	sed 's/.*\(flow=[a-z]*\).*/  met the other: \1/' | sort | uniq -c | grep . ||
	fail "the two never met"

step "released rows are trimmed to the newest, once they are old"
set_conf hub "flow own" outbox_keep 1s
stop_part hub
start_gxbusd hub
put 1 1901
wait_until 40 shows gx_hub "SELECT count(*) FROM gx_outbox" 1
[ "$(ask gx_city "SELECT count(*) FROM gx_outbox")" -gt 3 ] ||
	fail "the city keeps its rows for a week"
put 1 1902
wait_until 40 receipted "$GXL_HUB" gx_hub

step "an outbox that is not the one that was read stops its own flow alone"
inc=$(ask gx_hub "SELECT incarnation FROM gx_outbox_head")
sql gx_hub "UPDATE gx_outbox_head SET incarnation = 'another'"
wait_until 40 stopped_with gx_hub own source.restored
put 5 1911
wait_until 40 heads_equal
cli hub flow restart own >/dev/null || fail "restart"
wait_until 40 stopped_with gx_hub own source.restored
cli hub explain source.restored | grep -q rebase || fail "no remedy"
sql gx_hub "UPDATE gx_outbox_head SET incarnation = '$inc',
last_id = last_id - 1000"
cli hub flow restart own >/dev/null || fail "restart"
wait_until 40 stopped_with gx_hub own source.restored
sql gx_hub "UPDATE gx_outbox_head SET last_id = last_id + 1000"
cli hub flow restart own >/dev/null || fail "restart"
wait_until 40 receipted "$GXL_HUB" gx_hub

step "a row that is taken away is missed"
cli hub flow pause own >/dev/null || fail "pause"
put 5 1921
wait_until 40 heads_equal
L="SELECT last_id > (SELECT max(id) FROM gx_outbox WHERE id <= (SELECT
split_part(pos, ':', 3)::bigint FROM gx_release WHERE flow LIKE '%/gx/own'))
FROM gx_outbox_head"
wait_until 40 shows gx_hub "$L" t
sql gx_hub "CREATE TABLE kept AS SELECT * FROM gx_outbox ORDER BY id DESC LIMIT 1;
DELETE FROM gx_outbox WHERE id = (SELECT id FROM kept)"
cli hub flow resume own >/dev/null || fail "resume"
wait_until 40 stopped_with gx_hub own outbox.hole
sql gx_hub "INSERT INTO gx_outbox SELECT * FROM kept; DROP TABLE kept"

step "what was released is not in the log"
pos=$(ask gx_hub "SELECT pos FROM gx_release WHERE flow LIKE '%/gx/own'")
sql gx_hub "UPDATE gx_release r SET pos = 'ob:' || h.incarnation || ':' ||
h.last_id FROM gx_outbox_head h WHERE h.origin = r.flow"
cli hub flow restart own >/dev/null || fail "restart"
wait_until 40 stopped_with gx_hub own source.released_beyond
sql gx_hub "UPDATE gx_release SET pos = '$pos' WHERE flow LIKE '%/gx/own'"
cli hub flow restart own >/dev/null || fail "restart"
wait_until 40 receipted "$GXL_HUB" gx_hub
honest "$GXL_HUB" gx_hub
honest "$GXL_CITY" gx_city

quiet_logs ' (source\.(restored|released_beyond)|outbox\.hole) '
passed
