#!/bin/bash
# c10: Whoever is away or full holds up nobody else; what was held up arrives
# by itself, in order, and no daemon grows beyond its memory meanwhile.
. "$(dirname "$0")/lib.sh"
lab c10
mkdir -p "$D/city"
set_conf city node flows "social, other, sink"
set_conf city "flow social" quarantine_max_rows 10
set_conf city "flow other" kind source
set_conf city "flow other" adapter "$D/city/other.json"
# Much is changed here on purpose.
set_conf city "flow social" guard_percent 0
set_conf city "flow other" guard_percent 0

# A second department, with a table, a slot and an address of its own.
step "two departments' rows are at city and hub"
start_pg
start_brokers city hub
put 1000
{
	sed 's/public\.ac01/public.ac02/g' <(conf/local/gen --table)
	echo "GRANT SELECT ON public.ac02 TO gx_reader;
CREATE PUBLICATION gx_other FOR TABLE public.ac02;"
	echo "COPY public.ac02 FROM STDIN;"
	conf/local/gen --count 500 --first 700001
} | db hrss || fail "the second table"
# What compares both sides counts both tables as the department's.
both='FROM (TABLE public.ac01 UNION ALL TABLE public.ac02) both_tables'
eval "$(declare -f department_lines | sed "s/FROM public.ac01/$both/")"

# road: a way to the second department that can be closed
cat >"$D/road.py" <<'PY'
import socket, sys, threading
def carry(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
    except OSError:
        pass
    for s in (a, b):
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("open", flush=True)
while True:
    a, _ = server.accept()
    b = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
    for x, y in ((a, b), (b, a)):
        threading.Thread(target=carry, args=(x, y), daemon=True).start()
PY
ROAD=
ROAD_PORT=$(conf/local/ports "$D" road | awk '{ print $2 }')
open_road() {
	python3 "$D/road.py" "$ROAD_PORT" "$(P postgres)" >"$D/road" 2>&1 &
	ROAD=$!
	wait_until 10 grep -q open "$D/road"
}
close_road() {
	kill "$ROAD" 2>/dev/null
	wait "$ROAD" 2>/dev/null
	ROAD=
}
trap 'close_road; end_lab' EXIT
open_road
python3 - "$D/city/social.json" "$ROAD_PORT" >"$D/city/other.json" <<'PY' ||
import json, re, sys
d = json.load(open(sys.argv[1], encoding="utf-8"))
d["name"] = "other"
d["slot"] = d["publication"] = "gx_other"
d["tables"][0]["table"] = "public.ac02"
d["connection"]["conninfo"] = re.sub(r"port=\d+", "port=" + sys.argv[2],
                                     d["connection"]["conninfo"])
json.dump(d, sys.stdout, ensure_ascii=False)
PY
	fail "the second declaration"
give "$D/city/other.json" 640
start_gxbusd hub city link nginx
equal() {
	wait_until "$1" heads_equal
	wait_until "$1" same_set
}
equal 60
# waits_for FLOW CODE
waits_for() {
	[ "$(ask gx_city "SELECT code FROM gx_flow WHERE flow = '$1'
AND state = 'waiting'")" = "$2" ]
}
# rows DATABASE NAME: rows of that source
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
[ "$(rows gx_hub social)|$(rows gx_hub other)" = "1000|500" ] ||
	fail "rows at the hub"

step "one department away: its flow waits, the other's flows"
close_road
wait_until 30 waits_for other pg.away
cli city flow list >"$D/o" || fail "flow list"
grep -qE '^other +source +waiting +run +GX3010 ' "$D/o" ||
	fail "flow list: $(cat "$D/o")"
other_rows 200 710001
put 200 2001
wait_until 30 has_rows gx_hub social 1200
has_rows gx_hub other 500 || fail "rows came through a closed road"
open_road
equal 60

step "one quarantine full: its flow waits, nothing is lost, the other's flows"
sql hrss "UPDATE ac01 SET aac031 = '7' WHERE aac001 IN
(SELECT aac001 FROM ac01 ORDER BY aac001 LIMIT 25)"
wait_until 30 waits_for social quarantine.full
cli city flow list -o wide >"$D/o" || fail "flow list"
grep -qE '^social +source +waiting +run +GX4002 .*10' "$D/o" ||
	fail "flow list: $(cat "$D/o")"
[ "$(ask gx_city "SELECT count(*) FROM gx_quarantine")" -le 10 ] ||
	fail "the quarantine holds more than its limit"
put 100 3001
other_rows 100 720001
wait_until 30 has_rows gx_hub other 800
has_rows gx_hub social 1200 || fail "rows passed a full quarantine"
# In full work nothing of it changes: a second look after more was moved.
kill_hard city
start_gxbusd city
wait_until 30 waits_for social quarantine.full
other_rows 10 730001
wait_until 30 has_rows gx_hub other 810
[ "$(ask gx_city "SELECT count(*) FROM gx_quarantine")" -le 10 ] ||
	fail "the quarantine holds more than its limit"
stop_part city
set_conf city "flow social" quarantine_max_rows 30
start_gxbusd city
equal 60
[ "$(held_keys gx_hub | wc -l)" = 25 ] || fail "not all 25 are held"

step "the hub away for a minute, broker and daemon"
kill_hard hub kafka-hub
began=$(date +%s)
before=$(heads gx_hub)
sql hrss "DO \$\$ BEGIN
FOR i IN 1..120 LOOP
	UPDATE ac01 SET n_months = i, updated_at = localtimestamp(3)
	WHERE aac001 IN (SELECT aac001 FROM ac01 WHERE aac031 <> '7'
		ORDER BY aac001 OFFSET i * 7 LIMIT 100);
	UPDATE ac02 SET n_months = i WHERE aac001 IN
		(SELECT aac001 FROM ac02 ORDER BY aac001 OFFSET i LIMIT 100);
	COMMIT;
	PERFORM pg_sleep(0.5);
END LOOP; END \$\$"
[ $(($(date +%s) - began)) -ge 60 ] || fail "that was no minute"
# The city has all of it already.
city_is_done() {
	mkdir -p "$D/both"
	read_both "$D/both" &&
		LC_ALL=C join -t '	' -v 1 "$D/both/city" "$D/both/held.city" |
		cmp -s - "$D/both/department.good"
}
wait_until 20 city_is_done
[ "$(heads gx_hub)" = "$before" ] || fail "the hub moved"
for part in city link; do
	is_running $part || fail "$part did not live through it"
done
[ "$(ask gx_city "SELECT state FROM gx_flow WHERE flow = 'up'")" != stopped ] ||
	fail "the link wants a person"
start_brokers hub
start_gxbusd hub
began=$(date +%s%N)
equal 60
echo "  caught up in $((($(date +%s%N) - began) / 1000000)) ms"
[ "$(heads gx_hub)" != "$before" ] || fail "nothing came"
no_gap gx_city
no_gap gx_hub
slim

step "the city's broker away, then PostgreSQL for all"
kill_hard kafka-city
put 50 4001
start_brokers city
equal 60
kill_hard postgres
start_pg
put 50 4101
equal 60
slim

quiet_logs
passed
