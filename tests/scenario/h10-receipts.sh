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
	set_conf "$1" "flow receipt" every 200ms
}

# said NODE: every receipt in that node's own topic, in the order of the log
said() {
	kcat -q -C -e -t "gx.batch.$1" -o beginning -f '%s' \
		-b "127.0.0.1:$(P "kafka-$([ "$1" = "$GXL_HUB" ] && echo hub ||
			echo city)")" 2>/dev/null |
		sed -n 's/^{"op":"u","k":\["'"$1"'",".*"d":\({"v":"gxbus.receipt.1".*}\)}$/\1/p'
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
	python3 tests/scenario/receipts.py "$1" "$D/said" "$D/taken" \
		"$D/aside" || fail "$1: receipts"
}

start_pg
start_brokers city hub
put 200
conf/local/ctl start hub city link nginx || fail "start"
wait_until 60 heads_equal
for part in city hub; do
	stop_part $part
done
speak city "social, sink, own, receipt"
speak hub "sink, own, receipt"
start_gxbusd hub city
wait_until 20 receipted "$GXL_HUB" gx_hub
wait_until 20 receipted "$GXL_CITY" gx_city
said "$GXL_HUB"
honest "$GXL_HUB" gx_hub
honest "$GXL_CITY" gx_city
passed
