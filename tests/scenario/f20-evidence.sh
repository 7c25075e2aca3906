#!/bin/bash
# f20: What a node gives as evidence is checked by a stranger without a node,
# record for record the department's; any byte of it changed is refused; who
# may not see records is given none.
. "$(dirname "$0")/lib.sh"
lab f20
walking 2500
. "$OUT/env"
stream=$(ask gx_city "SELECT stream FROM gx_stream WHERE next_seq > 1
AND stream LIKE '%/social.insured/0'")
key=$(ask gx_hub "SELECT aac001 FROM social.insured ORDER BY aac001 LIMIT 1")
seq=$(ask gx_hub "SELECT gx_seq FROM social.insured WHERE aac001 = '$key'")
E=$D/evidence

# verify FILE...: by a program that knows no node
verify() {
	(
		unset GXBUS_URL GX_TOKEN GX_CA GXBUS_PEER_URL
		"$GXBUS" evidence verify "$@"
	)
}
# refused WHAT FILE [OPTION...]: 10, and the fault is named
refused() {
	local what=$1
	shift
	verify "$@" >"$D/said" 2>/dev/null
	[ $? = 10 ] || fail "$what is not refused with 10"
	grep -q '^no	.*line [0-9]*: ' "$D/said" || fail "$what: no fault named"
}

step "one record, by its key, at both nodes"
for node in city hub; do
	cli $node evidence export social.insured --key "$key" >"$D/$node.jsonl" ||
		fail "export at the $node"
	verify "$D/$node.jsonl" >"$D/said" 2>"$D/note" || fail "$node's evidence"
	grep -q "^ok	.*	$stream	$seq-$seq	" "$D/said" ||
		fail "$node proves another record"
	grep -q "^key	450100	" "$D/said" || fail "the key is not named"
	grep -q 'compare them' "$D/note" || fail "nothing is said of the keys"
	grep -q "\"k\":\[\"$key\"\]" "$D/$node.jsonl" || fail "no record in it"
	verify --trust "$D/hub/trust" "$D/$node.jsonl" >/dev/null ||
		fail "$node's evidence under the trusted keys"
done
# The record itself is the same at both.
[ "$(grep '^{"op":' "$D/city.jsonl")" = "$(grep '^{"op":' "$D/hub.jsonl")" ] ||
	fail "city and hub prove different records"

step "all records of the stream, in files that verify takes as they are"
last=$(($(ask gx_hub "SELECT next_seq FROM gx_stream
WHERE stream = '$stream'") - 1))
cli hub evidence export --stream "$stream" --seq "1-$last" --dir "$E" \
	>"$D/files" || fail "export of a range"
[ "$(wc -l <"$D/files")" = $(((last + 999) / 1000)) ] || fail "files"
[ "$(stat -c %a "$E")" = 700 ] || fail "the folder is open to others"
[ "$(ls "$E" | wc -l)" = "$(wc -l <"$D/files")" ] || fail "other files too"
verify "$E"/* >"$D/said" 2>/dev/null || fail "the range"
cat $(cat "$D/files") | grep -c '^{"op":' | grep -qx "$last" ||
	fail "not $last records"
# By content: the keys proved are the keys there are.
cat "$E"/* | grep '^{"op":"u"' | sed 's/.*"k":\["\([^"]*\)"\].*/\1/' |
	LC_ALL=C sort -u >"$D/proved"
ask gx_hub "SELECT aac001 FROM social.insured ORDER BY aac001 COLLATE \"C\"" \
	>"$D/there"
[ -s "$D/there" ] && cmp -s "$D/proved" "$D/there" || fail "other keys"
cli hub evidence export --stream "$stream" --seq "1-$last" --dir "$E" \
	>"$D/again" && cmp -s "$D/files" "$D/again" || fail "the second time"
verify "$E"/* >/dev/null 2>&1 || fail "the second export"

step "whatever is changed is refused"
f=$D/hub.jsonl
size=$(stat -c %s "$f")
for at in 0 10 $((size / 4)) $((size / 2)) $((size * 3 / 4)) $((size - 2)); do
	python3 - "$f" "$at" "$D/bad" <<'PY'
import sys
b = bytearray(open(sys.argv[1], "rb").read())
b[int(sys.argv[2])] ^= 1
open(sys.argv[3], "wb").write(b)
PY
	refused "byte $at" "$D/bad"
done
head -c $((size - 1)) "$f" >"$D/bad" && refused "a cut" "$D/bad"
head -n -1 "$f" >"$D/bad" && refused "without its end" "$D/bad"
{ cat "$f" && echo; } >"$D/bad" && refused "an empty line more" "$D/bad"
cat "$f" "$f" >"$D/bad" && refused "twice" "$D/bad"
: >"$D/bad" && refused "nothing" "$D/bad"
# one of many
refused "one bad of many" "$D/city.jsonl" "$D/bad" "$f"
grep -q '^ok	' "$D/said" || fail "the good ones are not said"
# Keys of others: nobody's word but those in the folder.
mkdir "$D/nobody"
refused "under no trusted key" --trust "$D/nobody" "$f"
grep -q 'not trusted' "$D/said" || fail "it is not said why"
refused "the hub's key alone" --trust "$D/hub/trust/450000.pem" "$f"

step "who asks wrongly, and who may not ask"
cli hub evidence export social.insured --key none-of-these >/dev/null 2>&1
[ $? = 3 ] || fail "a key that is not there"
cli hub evidence export --stream "$stream" --seq "$((last + 1))" \
	>/dev/null 2>"$D/err"
[ $? = 3 ] && grep -q GX4303 "$D/err" || fail "a record that is not there"
cli hub evidence export social.insured >/dev/null 2>&1
[ $? = 2 ] || fail "no record named"
code=$(curl -s -o "$D/none" -w '%{http_code}' --cacert "$GX_CA" \
	"$GXBUS_URL/api/v1/evidence?resource=social.insured&key=$key")
[ "$code" = 401 ] || fail "without a token: $code"
code=$(curl -s -o "$D/none" -w '%{http_code}' --cacert "$GX_CA" \
	--cert "$D/pki/node-450100.pem" --key "$D/pki/node-450100.key" \
	"$GXBUS_URL/api/v1/evidence?resource=social.insured&key=$key")
[ "$code" = 403 ] || fail "a node: $code"
! grep -q "$key" "$D/none" || fail "content in a refusal"
cli hub audit export >"$D/audit" 2>/dev/null || fail "audit export"
grep -q "evidence.export.*$stream $seq-$seq.*shown" "$D/audit" ||
	fail "the giving is not in the audit log"
! grep -q "$key" "$D/audit" || fail "a key in the audit log"
! grep -q "$key" "$D/log/hub.log" || fail "a key in the log"

sql gx_hub "ALTER TABLE gx_audit RENAME TO gx_audit_away"
cli hub evidence export --stream "$stream" --seq 1 >"$D/none" 2>"$D/err"
[ $? != 0 ] && [ ! -s "$D/none" ] || fail "given without an audit log"
sql gx_hub "ALTER TABLE gx_audit_away RENAME TO gx_audit"

step "receipts: who says that he took it, and what he set aside"
for node in city hub; do
	[ $node = city ] && flows="social, sink, own, receipt" ||
		flows="sink, own, receipt"
	stop_part $node
	set_conf $node node flows "$flows"
	set_conf $node "flow own" kind own
	set_conf $node "flow receipt" kind receipt
done
start_gxbusd hub city
# proves NODE PATTERN: its evidence of the record is good and says that
proves() {
	cli "$1" evidence export social.insured --key "$key" >"$D/r.jsonl" &&
		verify --trust "$D/$1/trust" "$D/r.jsonl" >"$D/said" &&
		grep -qE "$2" "$D/said"
}
wait_until 40 proves hub '^receipt	450000	up to .*	aside 0	all applied'
wait_until 40 proves city '^receipt	450100	up to .*	aside 0	all applied'
sed 's/"aside":0,/"aside":1,/' "$D/r.jsonl" >"$D/bad"
refused "a receipt that counts otherwise" "$D/bad"
grep -v 'gxbus.receipt' "$D/r.jsonl" >"$D/bad"
refused "without its receipt" "$D/bad"
sql gx_hub "ALTER TABLE social.insured ADD CONSTRAINT no_more
CHECK (n_months <> 77) NOT VALID"
sql hrss "UPDATE ac01 SET n_months = 77 WHERE aac001 = '$key'"
wait_until 30 heads_equal
aside=$(ask gx_hub "SELECT seq FROM gx_quarantine WHERE side = 'sink'")
[ -n "$aside" ] || fail "nothing is set aside"
aside_is_told() {
	cli hub evidence export --stream "$stream" --seq "$aside" \
		>"$D/r.jsonl" && verify "$D/r.jsonl" >"$D/said" 2>/dev/null &&
		grep -q '^receipt	450000	.*	aside 1	set aside' "$D/said"
}
wait_until 40 aside_is_told
# The record before it was applied; its newest row has another seq at the city.
wait_until 40 proves city '^receipt	450100	.*	all applied'

step "a batch that an older program took is not invented"
sql gx_hub "UPDATE gx_batch SET at_offset = NULL WHERE first = 1"
cli hub evidence export --stream "$stream" --seq 1 >"$D/none" 2>"$D/err"
[ $? = 3 ] && grep -q GX4303 "$D/err" && [ ! -s "$D/none" ] ||
	fail "a batch without offset"
# Nor is another message of the log taken for it.
sql gx_hub "UPDATE gx_batch SET at_offset = (SELECT max(at_offset) FROM
gx_batch) WHERE first = 1"
cli hub evidence export --stream "$stream" --seq 1 >"$D/none" 2>"$D/err"
[ $? = 1 ] && grep -q GX4306 "$D/err" && [ ! -s "$D/none" ] ||
	fail "another message"

quiet_logs 'audit\.|evidence\.log'
passed
