#!/bin/bash
# c20: A partition whose log loses its end stops the streams it held, by name,
# and the copying of it; all other partitions go on; brought back, it goes on
# where it stood.
. "$(dirname "$0")/lib.sh"
lab c20
mkdir -p "$D/city"
# Their names put the streams of these two into different partitions.
set_conf city node flows "social, other, sink"
set_conf city "flow other" kind source
set_conf city "flow other" adapter "$D/city/other.json"
set_conf city "flow social" guard_percent 0
set_conf city "flow other" guard_percent 0

step "two departments' rows are at city and hub, in two partitions"
start_pg
start_brokers city hub
put 300
{
	sed 's/public\.ac01/public.ac02/g' <(conf/local/gen --table)
	echo "GRANT SELECT ON public.ac02 TO gx_reader;
CREATE PUBLICATION gx_other FOR TABLE public.ac02;"
	echo "COPY public.ac02 FROM STDIN;"
	conf/local/gen --count 200 --first 700001
} | db hrss || fail "the second table"
# Both tables are the department.
one=$(declare -f department_lines)
eval "one_table() ${one#department_lines ()}"
department_lines() {
	{
		one_table public
		one_table second
	} | LC_ALL=C sort
}
db hrss <<'SQL' || fail "the second table under the name of the first"
CREATE SCHEMA second;
CREATE VIEW second.ac01 AS TABLE public.ac02;
SQL
python3 - "$D/city/social.json" >"$D/city/other.json" <<'PY' ||
import json, sys
d = json.load(open(sys.argv[1], encoding="utf-8"))
d["name"] = "other"
d["slot"] = d["publication"] = "gx_other"
d["tables"][0]["table"] = "public.ac02"
json.dump(d, sys.stdout, ensure_ascii=False)
PY
	fail "the second declaration"
give "$D/city/other.json" 640
start_gxbusd hub city link nginx
rows() {
	ask "$1" "SELECT count(*) FROM social.insured
WHERE gx_origin = '/450100/hrss/$2'"
}
has_rows() {
	[ "$(rows "$1" "$2")" = "$3" ]
}
other_rows() {
	conf/local/gen --count "$1" --first "$2" |
		db hrss -c 'COPY public.ac02 FROM STDIN' || fail "rows of ac02"
}
partition() {
	ask gx_city "SELECT partition FROM gx_stream
WHERE stream = '/450100/hrss/$1/social.insured/0'"
}
wait_until 60 has_rows gx_hub social 300
wait_until 60 has_rows gx_hub other 200
lost=$(partition social)
[ "$lost" != "$(partition other)" ] || fail "one partition holds both"

step "the log of one partition is gone: its stream says so, by name"
dir=$D/kafka-city/data/gx.batch.450100-$lost
stop_part kafka-city
[ -d "$dir" ] || fail "no folder of partition $lost"
mv "$dir" "$D/aside"
start_brokers city
# stream_says CODE STREAM-OF: "" is running
stream_says() {
	[ "$(ask gx_city "SELECT coalesce(why, '') FROM gx_stream
WHERE stopped_at IS NOT NULL AND stream = '/450100/hrss/$2/social.insured/0'")" \
		= "$1" ]
}
wait_until 60 stream_says log.lost_tail social
cli city stream list -o json >"$D/o" || fail "stream list"
python3 - "$D/o" "$lost" <<'PY' || fail "stream list: $(cat "$D/o")"
import json, sys
rows = json.load(open(sys.argv[1], encoding="utf-8"))
rows = rows if isinstance(rows, list) else next(
    v for v in rows.values() if isinstance(v, list))
said = [(r["partition"], r["state"]) for r in rows
        if r.get("code") == "log.lost_tail"]
assert said == [(int(sys.argv[2]), "stopped")], said
PY

step "the other partition goes on, and the link names what it left alone"
other_rows 100 710001
wait_until 60 has_rows gx_hub other 300
stream_says "" other || fail "the neighbour stands still"
# link_left: partition and code of what the link does not copy
link_left() {
	ask gx_city "SELECT s ->> 'partition', s ->> 'code' FROM gx_flow,
jsonb_array_elements(status #> '{detail,links}') l,
jsonb_array_elements(l -> 'stopped') s WHERE flow = 'up'"
}
is_left() {
	[ "$(link_left)" = "$1" ]
}
wait_until 30 is_left "$lost|link.ahead"
put 50 2001
has_rows gx_hub social 300 || fail "rows passed a lost log"

step "the log is brought back: all of it goes on where it stood"
stop_part kafka-city
rm -rf "$dir"
mv "$D/aside" "$dir"
start_brokers city
wait_until 90 stream_says "" social
cli city flow restart up >"$D/o" 2>&1 || fail "restart: $(cat "$D/o")"
wait_until 60 has_rows gx_hub social 350
wait_until 60 heads_equal
wait_until 60 same_set
wait_until 30 is_left ""
[ "$(ask gx_hub "SELECT count(*) FROM gx_stream WHERE stopped_at IS NOT NULL")" \
	= 0 ] || fail "a stream stands still at the hub"
quiet_logs 'log\.lost_tail|link\.ahead|kafka\.|log\.away'
passed
