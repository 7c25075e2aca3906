#!/bin/bash
# i20: A record that was set aside goes home when it is mended or its rule
# changes: it reaches the hub under its own key and time, its hold ends, and the
# item says replayed; in no order, and with no kill, does it overwrite a newer
# record or bring a deleted one back. LOTS=100000 for a long run.
. "$(dirname "$0")/lib.sh"
lab i20
mkdir -p "$D/city"
set_conf city "flow social" guard_percent 0
set_conf city "flow social" quarantine_max_rows 200000
LOTS=${LOTS:-2000}
walking 300
S=/$GXL_CITY/hrss/social/social.insured/0

# key N: the key of the N-th row; each step takes others
key() {
	ask hrss "SELECT aac001 FROM ac01 ORDER BY aac001 OFFSET $1 LIMIT 1"
}
# source KEY MONTHS: what the department says of it
source() {
	sql hrss "UPDATE ac01 SET n_months = $2 WHERE aac001 = '$1'"
}
# item KEY: the number of its newest item
item() {
	ask gx_city "SELECT max(id) FROM gx_quarantine WHERE side = 'source'
AND key = '[\"$1\"]'"
}
# is ITEM STATE
is() {
	[ "$(ask gx_city "SELECT state FROM gx_quarantine WHERE id = $1")" = "$2" ]
}
# months NODE KEY VALUE: of the base table, "" for no row
months() {
	[ "$(ask "$1" "SELECT n_months FROM social.insured
WHERE aac001 = '$2' AND gx_origin = '/$GXL_CITY/hrss/social'")" = "$3" ]
}
held() {
	[ "$(ask "$1" "SELECT count(*) FROM gx_held WHERE key = '[\"$2\"]'")" = "$3" ]
}
# spoil KEY: the department says nonsense of it; Q is its item
spoil() {
	source "$1" 5000
	wait_until 20 held gx_hub "$1" 1
	Q=$(item "$1")
	is "$Q" open || fail "$Q is not open"
}
# q EXIT ARG...: gxbus quarantine at the city
q() {
	local want=$1 rc
	shift
	cli city quarantine "$@" >"$D/o" 2>"$D/e"
	rc=$?
	[ $rc = "$want" ] || fail "quarantine $*: exit $rc, not $want: $(cat "$D/e")"
}
says() {
	grep -qE -- "$1" "$D/o" "$D/e" || fail "it does not say $1: $(cat "$D/o" "$D/e")"
}
# settled KEY MONTHS: both tables hold this, and heads are equal
settled() {
	wait_until 20 heads_equal
	wait_until 10 months gx_city "$1" "$2"
	wait_until 10 months gx_hub "$1" "$2"
}
paused() {
	[ "$(ask gx_city "SELECT state FROM gx_flow WHERE flow = '$1'")" = paused ]
}
gone() {
	! is_running "$1"
}
acts() {
	ask gx_city "SELECT count(*) FROM gx_audit WHERE act = '$1'"
}

step "fix, replay, and it is at the hub"
K=$(key 0)
spoil "$K"
q 0 show "$Q"
says '"?record"?'
says '\*\*\*'
! grep -q "$K" "$D/o" || fail "a key is shown without --reveal"
! grep -q 5000 "$D/o" || fail "a value is shown without --reveal"
[ "$(acts quarantine.show)" = 0 ] || fail "a masked look is in the audit log"
q 0 show "$Q" --reveal
says 5000
says "$K"
[ "$(acts quarantine.show)" = 1 ] || fail "a look at content is not noted"
[ "$(ask gx_city "SELECT count(*) FROM gx_quarantine WHERE id = $Q AND
is_sealed AND position('5000'::bytea IN original) = 0 AND
position('5000'::bytea IN record) = 0")" = 1 ] || fail "it is not sealed"
q 5 replay "$Q"
says 'GX4404.*|/n_months maximum'
q 5 fix "$Q" --set /n_months=71 --set /aac004=7
says '/aac004 enum'
q 5 fix "$Q" --set "/aac001=OTHER" --set /n_months=71
q 5 fix "$Q" --set /nowhere=1
months gx_hub "$K" 71 && fail "a fix with faults came through"
q 0 fix "$Q" --set /n_months=71 --set '/aac003=改 名=x'
q 0 replay "$Q"
wait_until 20 is "$Q" replayed
settled "$K" 71
[ "$(ask gx_hub "SELECT aac003 FROM social.insured WHERE aac001 = '$K'")" = '改 名=x' ] ||
	fail "the other item was not mended"
held gx_hub "$K" 0 && held gx_city "$K" 0 || fail "it is still held"
[ "$(acts quarantine.fix) $(acts quarantine.replay)" = "4 2" ] ||
	fail "the audit log has other acts"
[ "$(ask gx_city "SELECT count(*) FROM gx_redrive")" = 0 ] || fail "an order is left"
ask gx_city "SELECT src FROM gx_stream WHERE stream = '$S'" |
	grep -qE '^\{"source":"[^"]+","redrive":[1-9][0-9]*[,}]' ||
	fail "src does not say how far replays go"

step "twice is once"
before=$(table_digest gx_hub)
q 6 replay "$Q"
says GX4402
q 6 fix "$Q" --set /n_months=72
q 6 discard "$Q" --reason again
[ "$before" = "$(table_digest gx_hub)" ] || fail "twice changed something"

step "the source mends it before the fix"
K=$(key 1)
spoil "$K"
source "$K" 11
wait_until 20 is "$Q" superseded
q 6 fix "$Q" --set /n_months=71
q 6 replay "$Q"
settled "$K" 11

step "between fix and replay"
K=$(key 2)
spoil "$K"
q 0 fix "$Q" --set /n_months=71
source "$K" 12
wait_until 20 is "$Q" superseded
q 6 replay "$Q"
settled "$K" 12

step "the control: without that guard the old one overwrites the newer"
sql gx_city "UPDATE gx_quarantine SET state = 'open' WHERE id = $Q"
q 0 replay "$Q"
wait_until 20 is "$Q" replayed
settled "$K" 71
source "$K" 13
settled "$K" 13

step "between queued and sent: the newer is under way and not read back"
K=$(key 3)
spoil "$K"
q 0 fix "$Q" --set /n_months=71
cli city flow pause sink >/dev/null 2>&1 || fail "flow pause"
wait_until 20 paused sink
source "$K" 14
wait_until 20 months gx_hub "$K" 14
q 0 replay "$Q"
is "$Q" queued || fail "it is not queued"
q 6 discard "$Q" --reason late
says GX4406
cli city flow resume sink >/dev/null 2>&1 || fail "flow resume"
wait_until 20 is "$Q" superseded
settled "$K" 14
q 6 replay "$Q"

step "queued while the source's flow rests, and the source is quicker or slower"
K=$(key 4)
spoil "$K"
q 0 fix "$Q" --set /n_months=71
cli city flow pause social >/dev/null 2>&1 || fail "flow pause"
wait_until 20 paused social
q 0 replay "$Q"
source "$K" 15
cli city flow resume social >/dev/null 2>&1 || fail "flow resume"
settled "$K" 15
is "$Q" superseded || is "$Q" replayed || fail "$Q is neither"

step "after it went home"
K=$(key 5)
spoil "$K"
q 0 fix "$Q" --set /n_months=71
q 0 replay "$Q"
wait_until 20 is "$Q" replayed
source "$K" 16
settled "$K" 16
q 6 replay "$Q"
settled "$K" 16

step "a delete at the source closes it, and it stays gone"
K=$(key 6)
spoil "$K"
q 0 fix "$Q" --set /n_months=71
sql hrss "DELETE FROM ac01 WHERE aac001 = '$K'"
wait_until 20 is "$Q" superseded
q 6 replay "$Q"
settled "$K" ""

step "given up: only with a reason, and for good"
K=$(key 7)
spoil "$K"
q 2 discard "$Q"
q 0 discard "$Q" --reason "an invented person"
is "$Q" discarded || fail "it is not discarded"
q 6 replay "$Q"
[ "$(ask gx_city "SELECT count(*) FROM gx_audit WHERE line LIKE
'%quarantine.discard%an invented person%'")" = 1 ] || fail "the reason is not noted"

step "a row that was changed in the database is never replayed"
K=$(key 8)
spoil "$K"
q 0 fix "$Q" --set /n_months=71
sql gx_city "UPDATE gx_quarantine SET record = set_byte(record, 30,
get_byte(record, 30) # 1) WHERE id = $Q"
q 6 replay "$Q"
says GX4401
q 0 show "$Q"
says 'damaged.*true'
K2=$(key 9)
spoil "$K2"
Q2=$Q
Q=$(item "$K")
sql gx_city "UPDATE gx_quarantine a SET record = b.record FROM gx_quarantine b
WHERE a.id = $Q AND b.id = $Q2"
q 6 replay "$Q"
says GX4401
source "$K" 17
source "$K2" 18
settled "$K" 17
settled "$K2" 18

step "killed at each point of the way"
n=20
for point in writer.redrive_sent:1 writer.after_seal:1 writer.after_send:1 \
	reader.before_commit:1 reader.after_commit:1; do
	K=$(key $n)
	spoil "$K"
	q 0 fix "$Q" --set /n_months=71
	cli city flow pause social >/dev/null 2>&1 || fail "flow pause"
	q 0 replay "$Q"
	cli city flow resume social >/dev/null 2>&1 || fail "flow resume"
	stop_part city
	with_env city GX_CRASH_POINT=$point
	start_gxbusd city
	wait_until 30 gone city
	with_env city
	start_gxbusd city
	wait_until 30 is "$Q" replayed
	settled "$K" 71
	no_gap gx_city
	[ "$(ask gx_hub "SELECT count(*) FROM gx_batch b WHERE b.stream = '$S'
AND b.first <= (SELECT gx_seq FROM social.insured WHERE aac001 = '$K')
AND b.first + b.n > (SELECT gx_seq FROM social.insured WHERE aac001 = '$K')")" = 1 ] ||
		fail "$point: it lies in no batch, or in two"
	echo "  $point"
	n=$((n + 1))
done

step "the rule changes: $LOTS records pass as they stand, in steps, resumed"
conf/local/gen --count "$LOTS" --first 100001 >"$D/lots"
awk -F'\t' -v OFS='\t' '{ $15 = 5000; print }' "$D/lots" |
	db hrss -c 'COPY public.ac01 FROM STDIN' || fail "put"
lots() {
	[ "$(ask gx_city "SELECT count(*) FROM gx_quarantine WHERE side = 'source'
AND state = '$1' AND first_seen > now() - interval '1 h'
AND key >= '[\"4501000000100001' ")" -ge "$2" ]
}
lots_begun() {
	lots queued 1 || lots replayed 1
}
wait_until $((60 + LOTS / 500)) lots open "$LOTS"
wait_until 60 heads_equal
q 0 replay --all --rule maximum --dry-run
says 'would queue 0'
stop_part city hub link
python3 - "$D/resources/social/insured.json" <<'PY'
import json, subprocess, sys
path = sys.argv[1]
old = subprocess.run(["openssl", "dgst", "-sm3", "-r", path], check=True,
	capture_output=True, text=True).stdout.split()[0]
doc = json.load(open(path, encoding="utf-8"))
doc["properties"]["n_months"]["maximum"] = 9999
doc["x-gx-resource"]["former"] = [old] + doc["x-gx-resource"].get("former", [])
json.dump(doc, open(path, "w", encoding="utf-8"), ensure_ascii=False, indent="\t")
PY
start_gxbusd hub city link
q 0 replay --all --rule maximum --dry-run
says "would queue $LOTS"
lots open "$LOTS" || fail "a dry run did something"
# Killed in the middle: the same command goes on.
(cli city quarantine replay --all --rule maximum >/dev/null 2>&1) &
P=$!
wait_until 30 lots_begun
kill_hard city
wait "$P"
start_gxbusd city
t0=$(date +%s%N)
q 0 replay --all --rule maximum
says 'replayed'
q 0 replay --all --rule maximum
says 'queued 0'
wait_until $((60 + LOTS / 200)) lots replayed "$LOTS"
echo "  $LOTS replayed in $((($(date +%s%N) - t0) / 1000000)) ms"
# What was mended on the way differs from its source until that says it anew.
sql hrss "UPDATE ac01 SET n_months = 19 WHERE n_months = 5000
AND aac001 < '4501000000100001'"
wait_until 60 heads_equal
wait_until 60 same_set
q 0 stats
says REPLAYED
q 0 list --side refused
q 0 list --state replayed --limit 2
[ "$(ask gx_city "SELECT count(*) FROM gx_redrive")" = 0 ] || fail "orders are left"
no_gap gx_city
slim

step "without its key a flow that sets aside does not start"
set_conf city node quarantine_key "$D/city/nowhere"
stop_part city
start_gxbusd city
wait_until 20 stopped_with gx_city social quarantine.key
wait_until 20 stopped_with gx_city sink quarantine.key
set_conf city node quarantine_key "$D/city/quarantine.key"
stop_part city
start_gxbusd city
wait_until 30 heads_equal
source "$(key 10)" 99
wait_until 30 same_set

quiet_logs ' (quarantine\.key|quarantine\.damaged|writer\.stream_stopped) '
passed
