#!/bin/bash
# i30: A batch leaves the city's log once the hub has receipted it with the same
# head and it is old enough, and not before; the last message of a partition
# stays; after it all parts restart and go on, and the ends are equal.
. "$(dirname "$0")/lib.sh"
lab i30

S=/$GXL_CITY/hrss/social/social.insured/0

# low PARTITION: first offset of the city's own topic
low() {
	kcat -q -Q -b "127.0.0.1:$(P kafka-city)" -t "gx.batch.$GXL_CITY:$1:-2" 2>/dev/null |
		sed 's/.*offset //'
}
high() {
	kcat -q -Q -b "127.0.0.1:$(P kafka-city)" -t "gx.batch.$GXL_CITY:$1:-1" 2>/dev/null |
		sed 's/.*offset //'
}
# home: the partition of S
home() {
	ask gx_city "SELECT partition FROM gx_stream WHERE stream = '$S'"
}
# Batches of S that the hub has receipted, by what the city was told.
receipted() {
	ask gx_city "SELECT coalesce(max(seq), 0) FROM gx.receipt
WHERE sink = '$GXL_HUB' AND stream = '$S' AND verdict = 'applied'"
}
taken() {
	ask gx_city "SELECT next_seq - 1 FROM gx_stream WHERE stream = '$S'"
}
all_receipted() {
	[ "$(receipted)" = "$(taken)" ]
}
# trim AGE: the link's daemon trims from now on
trim() {
	set_conf link "flow trim" trim_age "$1"
	set_conf link "flow trim" trim_every 200ms
	stop_part link
	start_gxbusd link
}
# The trimmer's looks since its start; five more of them
looks() {
	ask gx_city "SELECT status -> 'detail' ->> 'looks' FROM gx_flow
WHERE flow = 'trim' AND state = 'running'"
}
looks_are() {
	local n
	n=$(looks)
	[ "${n:-0}" -ge "$1" ]
}
five_looks() {
	wait_until 60 looks_are $(($(looks) + 5))
}
first_kept() {
	ask gx_city "SELECT min(at_offset) FROM gx_batch WHERE stream = '$S'"
}
# Every batch of S that the hub has not receipted is still in the log.
keeps_unreceipted() {
	local at
	at=$(ask gx_city "SELECT min(at_offset) FROM gx_batch
WHERE stream = '$S' AND first + n - 1 > $(receipted)")
	[ -z "$at" ] || [ "$(low "$(home)")" -le "$at" ]
}
# trimmed_to OFFSET: the log begins there or above
trimmed_to() {
	[ "$(low "$(home)")" -ge "$1" ]
}

walking 300
wait_until 60 all_receipted
p=$(home)

step "nothing leaves before it has the age"
trim 720h
put 20 1001
wait_until 60 heads_equal
wait_until 60 all_receipted
wait_until 60 looks_are 1
five_looks
[ "$(low "$p")" = 0 ] || fail "trimmed before its age"

step "what is receipted and old enough leaves; the last message stays"
before=$(first_kept)
trim 0ms
wait_until 60 trimmed_to $((before + 1))
[ "$(low "$p")" -lt "$(high "$p")" ] || fail "a partition without a message"
[ "$(first_kept)" -ge "$(low "$p")" ] || fail "rows of trimmed batches stayed"

step "while the hub is away nothing leaves that it has not receipted"
stop_part hub
at=$(high "$p")
put 50 2001
wait_until 60 test "$(high "$p")" -gt "$at"
put 30 2101
five_looks
keeps_unreceipted || fail "a batch left that nobody receipted"
[ "$(high "$p")" -gt $(($(low "$p") + 1)) ] || fail "all of it left"
start_gxbusd hub
wait_until 60 heads_equal
wait_until 60 all_receipted

step "a receipt of another head counts for nothing"
trim 720h
at=$(low "$p")
put 40 3001
wait_until 60 heads_equal
wait_until 60 all_receipted
last=$(high "$p")
sql gx_city "UPDATE gx.receipt SET head = repeat('0', 64)
WHERE sink = '$GXL_HUB' AND stream = '$S' AND verdict = 'applied'"
trim 0ms
wait_until 60 looks_are 5
put_aside=$(ask gx_city "SELECT min(at_offset) FROM gx_batch WHERE stream = '$S'")
five_looks
[ "$(low "$p")" -le "$put_aside" ] || fail "trimmed on a receipt of another head"
put 10 3101 # a new receipt, a true one
wait_until 60 heads_equal
wait_until 60 all_receipted
wait_until 60 trimmed_to "$((last - 1))"

step "killed between the log and its rows: the rows follow"
with_env link GX_CRASH_POINT=trim.after_log
stop_part link
conf/local/ctl start link >/dev/null 2>&1
put 10 4001
is_down() {
	! is_running "$1"
}
wait_until 90 is_down link
with_env link
start_gxbusd link
wait_until 60 heads_equal
rows_follow() {
	[ "$(ask gx_city "SELECT count(*) FROM gx_batch WHERE stream = '$S'
AND at_offset < $(low "$p")")" = 0 ]
}
wait_until 30 rows_follow

step "everything restarts on what is left and goes on"
stop_part hub city link
start_gxbusd hub city link
put 25 5001
sql hrss "UPDATE ac01 SET aac003 = '韦' || left(aac003, 10) WHERE aac001 IN (
	SELECT aac001 FROM ac01 ORDER BY aac001 LIMIT 40)"
wait_until 60 heads_equal
wait_until 60 same_set
quiet_logs
passed
