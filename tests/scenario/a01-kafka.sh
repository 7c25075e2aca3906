#!/bin/bash
# a01: On a real broker a log gives back what was put into it, byte for byte
# and in order, says by name what it cannot do, and a broker that is killed in
# mid-flow costs neither a message nor a second copy.
set -u
cd "$(dirname "$0")/../.." || exit 1
D=$(mktemp -d /tmp/gx-a01.XXXXXX) || exit 1
# shellcheck source=tests/scenario/broker.sh
. tests/scenario/broker.sh
broker_needs
fail() {
	echo "FAILED: $STEP: $*"
	tail -n 5 "$D/err" 2>/dev/null | cut -c1-300
	exit 1
}
end() {
	broker_end
	rm -rf "$D"
}
trap end EXIT
trap 'exit 1' INT TERM
STEP=build
DRIVE=${DRIVE_LOG:-build/obj/scenario/drive_log}
[ -n "${DRIVE_LOG:-}" ] || make -s "$DRIVE" >/dev/null || fail "drive_log"

# drive BROKER COMMAND...: its output is in $D/out
drive() {
	local at
	at=$(cat "$D/$1/address")
	shift
	timeout "$(stretched 90)" "$DRIVE" "$at" "$@" >"$D/out" 2>>"$D/err"
}
has() {
	grep -qE -- "$1" "$D/out" || fail "wanted: $1; got: $(head -c 300 "$D/out")"
}
# shellcheck source=tests/scenario/wait.sh
. tests/scenario/wait.sh
# The broker would make topics by itself, if asked wrongly.
AUTO_CREATE=true
STEP="start"
broker_start city || fail "the broker does not start"

STEP="no answer: away, with the address"
timeout "$(stretched 20)" "$DRIVE" 127.0.0.1:1 ping 500 >"$D/out" 2>>"$D/err"
has '^error again kafka.away .*127\.0\.0\.1:1.*refused'
drive city ping 5000 || fail "ping"

STEP="a topic is made once, and with one number of partitions"
drive city count t && fail "it is there"
has '^error fatal log.no_topic'
drive city range t 0 && fail "it has a range"
has '^error fatal log.no_topic'
drive city put t 0 1 10 && fail "asking made it"
has '^error fatal log.no_topic'
drive city count t && fail "asking has made it"
drive city create t 2 || fail "create"
drive city create t 2 || fail "create again"
drive city create t 3 && fail "another number"
has '^error fatal log.partitions t has 2 partitions .* 3 are wanted'
drive city count t
has '^count 2$'
drive city create 'bad name' 1 && fail "a bad name"
has '^error fatal kafka.refused'

STEP="a topic that the broker made by itself is not taken for one of ours"
echo x | kcat -P -b "$(cat "$D/city/address")" -t auto 2>>"$D/err" ||
	fail "kcat"
drive city create auto 1 && fail "it was taken"
has '^error fatal log.topic_config auto .* has retention.ms = .*--add-config'

STEP="what is put in comes out"
drive city range t 0
has '^range 0 0$'
drive city put t 0 500 3000 || fail put
drive city range t 0
has '^range 0 500$'
drive city get t 0 0 500 || fail get
cp "$D/out" "$D/first"
drive city get t 0 0 500 || fail "get again"
cmp -s "$D/out" "$D/first" || fail "another digest"
drive city get t 0 1 499
cmp -s "$D/out" "$D/first" && fail "the digest sees no difference"
drive city follow t 0 498 2
has '^499 k499 from=-1 n=3000$'

STEP="a place outside of the log is an error, its end is not"
drive city get t 0 501 1 && fail "beyond the end"
has '^place 0$'
has '^error abort log.out_of_range .* t/0 '
drive city get t 0 500 0 || fail "at the end"
drive city get t 7 0 1 && fail "no such partition"
has '^error abort log.no_topic'

STEP="a message of 4 MiB passes, one above does not"
drive city put t 1 3 4000000 || fail "4,000,000 bytes"
drive city get t 1 0 3 || fail "4,000,000 bytes back"
drive city put t 1 1 4300000 && fail "4,300,000 bytes"
has '^error fatal kafka.too_large'

STEP="seek moves one place and leaves the other alone"
drive city create s 2 && drive city put s 0 30 100 && drive city put s 1 30 100
drive city seek s 0 || fail "seek"
printf '%s\n' 0 1 2 3 4 5 6 7 8 9 3 4 5 6 7 8 9 10 11 12 | cmp -s - "$D/out" ||
	fail "$(tr '\n' ' ' <"$D/out")"

STEP="a copy is the same, with the offset it came from"
broker_start hub || fail "the second broker"
hub=$(cat "$D/hub/address")
drive hub create t 2 || fail "create"
drive city copy t 0 "$hub" 500 || fail "copy"
drive hub get t 0 0 500 || fail "get"
cmp -s "$D/out" "$D/first" || fail "another digest"
drive hub follow t 0 0 500
awk '$3 != "from=" $1 { exit 1 }' "$D/out" || fail "gx-from"
# A copy of a copy: the header is replaced, not kept or added to.
drive hub create u 2 && drive hub put u 0 7 10
drive city create u 2
drive hub copy t 1 "$hub" 0
drive city put u 0 3 10
drive hub copy u 0 "$(cat "$D/city/address")" 7
drive city create v 1 && drive hub create v 1
drive city copy u 0 "$hub" 10
drive hub follow u 0 7 10
awk '$3 != "from=" NR - 1 { exit 1 }' "$D/out" || fail "gx-from of a copy"

STEP="closing with messages under way does not hang, in either order"
export DRIVE_CLOSE_EARLY=1
drive city copy t 0 "$hub" 300 || fail "writer first"
export DRIVE_IN_FIRST=1
drive city copy t 0 "$hub" 300 || fail "reader first"
unset DRIVE_CLOSE_EARLY DRIVE_IN_FIRST

STEP="reading 100 MB takes little memory and no second per queue"
drive city create big 1 && drive city put big 0 220 467000 || fail put
: >"$D/err"
drive city get big 0 0 220 || fail get
took=$(sed -n 's/.*took_ms=\([0-9]*\).*/\1/p' "$D/err")
rss=$(sed -n 's/.*rss_kb=\([0-9]*\).*/\1/p' "$D/err")
[ "$rss" -lt "${RSS_MAX_KB:-49152}" ] || fail "$rss KiB"
[ "$took" -lt "$(stretched 5000)" ] || fail "$took ms"

STEP="from append to next: well below 30 ms"
drive city lag s 200 || fail "lag"
p50=$(sed -n 's/.*p50_us=\([0-9]*\).*/\1/p' "$D/out")
[ "$p50" -lt "$(stretched 10000)" ] || fail "$(cat "$D/out")"

touch "$D/gone" "$D/followed"
STEP="a topic that is deleted is an error to who reads it, never silence"
drive city create gone 1 && drive city put gone 0 5 10
timeout "$(stretched 80)" "$DRIVE" "$(cat "$D/city/address")" follow gone 0 0 6 \
	>"$D/gone" 2>>"$D/err" &
reader=$!
wait_until 20 grep -q '^4 ' "$D/gone"
java -XX:TieredStopAtLevel=1 -cp "$GX_KAFKA_JARS/*" \
	org.apache.kafka.tools.TopicCommand --bootstrap-server \
	"$(cat "$D/city/address")" --delete --topic gone >"$D/admin" 2>&1 ||
	fail "$(tail -n 3 "$D/admin")"
wait $reader
cp "$D/gone" "$D/out"
has '^error (abort|fatal) log.no_topic'

STEP="kill -9 of the broker in mid-flow"
drive city create k 1
timeout "$(stretched 90)" "$DRIVE" "$(cat "$D/city/address")" stream k 0 3000 100000 \
	>"$D/streamed" 2>"$D/doubts" &
writer=$!
timeout "$(stretched 90)" "$DRIVE" "$(cat "$D/city/address")" follow k 0 0 3000 \
	>"$D/followed" 2>>"$D/err" &
reader=$!
some() {
	[ "$(wc -l <"$D/followed")" -gt 200 ]
}
wait_until 30 some
broker_kill city
drive city range k 0 && fail "it answers"
has '^error again kafka.away'
broker_start city || fail "it does not start again"
wait $writer || fail "writer: $(cat "$D/streamed"; tail -n 3 "$D/doubts")"
wait $reader || fail "reader: $(tail -n 2 "$D/followed")"
grep -q 'doubts yes' "$D/streamed" || fail "the kill came too late"
grep -q 'doubt abort kafka\.' "$D/doubts" || fail "$(cat "$D/doubts")"
# Each once, in order, both as read across the kill and as read again.
awk '$1 != NR - 1 || $2 != "k" NR - 1 { exit 1 } END { exit NR != 3000 }' \
	"$D/followed" || fail "the reader has other messages"
drive city follow k 0 0 3000
cmp -s "$D/out" "$D/followed" || fail "read again it is different"

STEP="the log of all that: no error line, no content"
grep -E ' (error|fatal) ' "$D/err" "$D/doubts" && fail "an error line"
grep -q 'kafka.client' "$D/doubts" || fail "no line at all"
grep -E '"i":|k[0-9]{2}' "$D/err" && fail "content of a message"

echo "all of a01 passed"
