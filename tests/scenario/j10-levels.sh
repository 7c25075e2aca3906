#!/bin/bash
# j10: What a city must see of the records from elsewhere that concern it is
# what it sees, by content, through inserts, moves into and out of its region,
# deletes, a full reading and kills; nothing comes back to where it came from,
# and nothing of one city is at another without a right.
. "$(dirname "$0")/lib.sh"
lab j10

# ---- what must be: worked out from the departments' tables, not from the bus

# must_see SCHEMA PREFIX: rows of that department whose region begins so
must_see() {
	department_lines "$1" | of_region "$2"
}
# sees DATABASE NODE: rows of that node's records in its base table
sees() {
	base_lines "$1" "$2"
}
both_see() {
	must_see city2 4501 >"$D/must1" && sees gx_city "$GXL_CITY2" >"$D/has1" &&
		cmp -s "$D/must1" "$D/has1" &&
		must_see public 4502 >"$D/must2" &&
		sees gx_city2 "$GXL_CITY" >"$D/has2" && cmp -s "$D/must2" "$D/has2"
}
# All that was put into outboxes is read back as taken, here and below.
all_down() {
	local n
	for n in 450100:city 450200:city2; do
		[ "$(heads_of gx_hub "${n%:*}")" = \
			"$(heads_of "gx_${n#*:}" "${n%:*}")" ] || return 1
	done
	[ "$(ask gx_hub "SELECT coalesce(sum(last_id), 0) FROM gx_outbox_head
WHERE origin LIKE '%/down-%'")" = "$(ask gx_hub "SELECT coalesce(sum(
next_seq - 1), 0) FROM gx_stream WHERE stream LIKE '/$GXL_HUB/gx/down-%'")" ]
}
heads_of() {
	ask "$1" "SELECT stream, next_seq, head FROM gx_stream WHERE stream LIKE
'/$GXL_HUB/gx/down-$2/%' AND next_seq > 1 ORDER BY stream COLLATE \"C\""
}
in_order() {
	wait_until 90 both_see
	wait_until 60 all_down
}
# How many lines the hub has said to the cities about persons.
said() {
	ask gx_hub "SELECT count(*) FROM gx_outbox
WHERE stream LIKE '%/social.insured/0'"
}
# Records of both departments that the hub has taken.
taken() {
	ask gx_hub "SELECT sum(next_seq) FROM gx_stream
WHERE stream LIKE '/%/hrss/social/%'"
}
taken_since() {
	[ "$(taken)" -ge $(($1 + $2)) ]
}

step "two departments, 3,000 and 1,000 rows, at the hub; what concerns the other city is there"
start_pg
start_brokers city city2 hub
load_department 3000 1000 || fail "the departments"
# Large parts of the tables change here, again and again.
set_conf city "flow social" guard_percent 0
set_conf city2 "flow social" guard_percent 0
start_gxbusd hub city link city2 link2
in_order
[ -s "$D/must1" ] && [ -s "$D/must2" ] || fail "nothing concerns anybody"
echo "  $(wc -l <"$D/must1") rows to 450100, $(wc -l <"$D/must2") to 450200"

step "no echo, and nothing without a right"
# Records from elsewhere are those that concern it, and no others.
foreign() {
	ask "$1" "SELECT count(*) FROM social.insured WHERE NOT
starts_with(gx_origin, '/$2/') AND NOT starts_with(region, '$3')"
}
echoes() {
	ask gx_hub "SELECT count(*) FROM gx_outbox WHERE
split_part(o, '/', 2) = replace(split_part(origin, '/', 4), 'down-', '')"
}
[ "$(foreign gx_city "$GXL_CITY" 4501)" = 0 ] || fail "too much at 450100"
[ "$(foreign gx_city2 "$GXL_CITY2" 4502)" = 0 ] || fail "too much at 450200"
[ "$(echoes)" = 0 ] || fail "an echo"
# The controls: one planted of each is seen.
db gx_city2 >"$D/planted" <<SQL || fail "the plant"
BEGIN;
UPDATE social.insured SET region = '450901' WHERE gx_key = (SELECT min(gx_key)
	FROM social.insured WHERE starts_with(gx_origin, '/$GXL_CITY/'));
SELECT count(*) FROM social.insured WHERE NOT
	starts_with(gx_origin, '/$GXL_CITY2/') AND NOT starts_with(region, '4502');
ROLLBACK;
SQL
grep -qx 1 "$D/planted" || fail "the planted row is not seen"
db gx_hub >"$D/planted" <<SQL || fail "the plant"
BEGIN;
INSERT INTO gx_outbox SELECT origin, last_id + 1, origin || '/social.insured/0',
	'd', '["x"]', now(), '/$GXL_CITY/hrss/social', '' FROM gx_outbox_head
	WHERE origin LIKE '%/down-$GXL_CITY';
SELECT count(*) FROM gx_outbox WHERE
	split_part(o, '/', 2) = replace(split_part(origin, '/', 4), 'down-', '');
ROLLBACK;
SQL
grep -qx 1 "$D/planted" || fail "the planted echo is not seen"
[ "$(ask gx_hub "SELECT count(*) FROM social.insured
WHERE gx_stream LIKE '%/down-%'")" = 0 ] || fail "the hub applied its own"

step "a row moves into the region, out of it, and within; others come and go"
sql hrss "WITH m AS (SELECT aac001, row_number() OVER (ORDER BY aac001) AS i
FROM city2.ac01 WHERE region LIKE '4501%')
UPDATE city2.ac01 a SET region = CASE WHEN i <= 20 THEN '450803' WHEN i <= 40
THEN '450102' ELSE a.region END, base = base + 1, updated_at =
localtimestamp(3) FROM m WHERE m.aac001 = a.aac001 AND i <= 60"
sql hrss "UPDATE city2.ac01 SET region = '450105' WHERE aac001 IN
(SELECT aac001 FROM city2.ac01 WHERE region LIKE '4508%' ORDER BY 1 DESC LIMIT 15)"
sql hrss "UPDATE public.ac01 SET region = '450203' WHERE aac001 IN
(SELECT aac001 FROM public.ac01 WHERE region LIKE '4509%' ORDER BY 1 LIMIT 15)"
sql hrss "DELETE FROM public.ac01 WHERE aac001 IN (SELECT aac001
FROM public.ac01 WHERE region LIKE '4502%' ORDER BY 1 LIMIT 25)"
conf/local/gen --count 100 --first 3001 |
	db hrss -c 'COPY public.ac01 FROM STDIN' || fail "insert"
in_order

step "the same again is not said again"
before=$(said)
from=$(taken)
n=$(($(must_see city2 4501 | wc -l) + $(must_see public 4502 | wc -l)))
sql hrss "UPDATE city2.ac01 SET base = base WHERE
compare.narrow(region) LIKE '4501%'"
sql hrss "UPDATE public.ac01 SET base = base WHERE
compare.narrow(region) LIKE '4502%'"
wait_until 60 taken_since "$from" "$n"
in_order
[ "$(said)" = "$before" ] || fail "it was said again"
# The control: one other value is said.
sql hrss "UPDATE city2.ac01 SET base = base + 1 WHERE aac001 = (SELECT
min(aac001) FROM city2.ac01 WHERE region LIKE '4501%')"
in_order
[ "$(said)" -gt "$before" ] || fail "the control is not said"

step "a row that is set aside keeps its last good version below"
key=$(must_see city2 4501 | sed -n '7{s/\t.*//;p}')
had=$(must_see city2 4501 | grep "^$key")
sql hrss "UPDATE city2.ac01 SET n_months = 9999 WHERE aac001 = '$key'"
held() {
	held_keys gx_hub "$GXL_CITY2" | grep -qx "$key"
}
wait_until 60 held
[ "$(sees gx_city "$GXL_CITY2" | grep "^$key")" = "$had" ] ||
	fail "the last good version is not at 450100"
sql hrss "UPDATE city2.ac01 SET n_months = 77 WHERE aac001 = '$key'"
in_order

step "a full reading's end takes away what the source has no more"
sql hrss "BEGIN; CREATE TEMP TABLE stays AS SELECT * FROM city2.ac01 WHERE
aac001 NOT IN (SELECT aac001 FROM city2.ac01 WHERE region LIKE '4501%'
ORDER BY 1 LIMIT 30); TRUNCATE city2.ac01; INSERT INTO city2.ac01
SELECT * FROM stays; COMMIT"
in_order

step "kills in between lose nothing, double nothing"
change() {
	sql hrss "UPDATE public.ac01 SET region = CASE WHEN region LIKE '4502%'
THEN '450102' ELSE '450204' END, base = base + 1 WHERE aac001 IN
(SELECT aac001 FROM public.ac01 ORDER BY md5(aac001 || '$1') LIMIT 150)"
	sql hrss "UPDATE city2.ac01 SET region = CASE WHEN region LIKE '4501%'
THEN '450203' ELSE '450103' END WHERE aac001 IN
(SELECT aac001 FROM city2.ac01 ORDER BY md5(aac001 || '$1') LIMIT 100)"
}
dead() {
	! is_running "$1"
}
# crash PART POINT: change much, see it die there, start it again
crash() {
	stop_part "$1"
	with_env "$1" "GX_CRASH_POINT=$2"
	change "$2"
	conf/local/ctl start "$1" >/dev/null 2>&1 # it may die as it starts
	wait_until 60 dead "$1"
	with_env "$1"
	start_gxbusd "$1"
}
crash hub reader.before_commit:2
crash hub reader.after_commit:2
crash link2 link.after_send:3
change kills
for part in hub city link city2; do
	kill_hard $part
	start_gxbusd $part
done
in_order

step "done twice: all start again, and nothing is said or changed"
before=$(said)
at=$(table_digest gx_city)$(table_digest gx_city2)
stop_part city city2 link link2 hub
start_gxbusd hub city link city2 link2
in_order
[ "$(said)" = "$before" ] || fail "it was said again"
[ "$(table_digest gx_city)$(table_digest gx_city2)" = "$at" ] ||
	fail "a table has changed"

step "a narrower subscription takes back, an ended one all; both come again"
again_with() {
	set_conf hub "child $GXL_CITY" "$1" "$2"
	stop_part hub
	start_gxbusd hub
}
sees_only() {
	must_see city2 "$1" >"$D/must1" && sees gx_city "$GXL_CITY2" >"$D/has1" &&
		cmp -s "$D/must1" "$D/has1" && all_down
}
again_with region 450103
wait_until 60 sees_only 450103
[ -s "$D/must1" ] || fail "nothing is left to be seen"
again_with return gx.receipt
wait_until 60 sees_only none
again_with return "gx.receipt, social.insured"
wait_until 60 sees_only 450103
again_with region "$GXL_CITY"
in_order

step "what comes from the child itself is set aside there; its twin is taken"
# emit CHILD ORIGIN KEY: a line in the hub's outbox by hand, as a bad hub would
emit() {
	sql gx_hub "WITH h AS (UPDATE gx_outbox_head SET last_id = last_id + 1
WHERE origin = '/$GXL_HUB/gx/down-$1' RETURNING origin, last_id) INSERT INTO
gx_outbox (origin, id, stream, op, key, at, o, d) SELECT h.origin, h.last_id,
h.origin || '/social.insured/0', 'u', b.gx_key, now(), '$2', replace((SELECT d
FROM gx_outbox WHERE origin = h.origin AND op = 'u' AND stream = h.origin ||
'/social.insured/0' ORDER BY id DESC LIMIT 1), (SELECT key::jsonb->>0 FROM
gx_outbox WHERE origin = h.origin AND op = 'u' AND stream = h.origin ||
'/social.insured/0' ORDER BY id DESC LIMIT 1), '$3') FROM h,
(SELECT '[\"$3\"]' AS gx_key) b"
}
emit "$GXL_CITY" "/$GXL_CITY/hrss/social" 4501999999999991
emit "$GXL_CITY" "/$GXL_CITY2/hrss/other" 4502999999999992
twin() {
	[ "$(ask gx_city "SELECT gx_key FROM social.insured WHERE
gx_origin = '/$GXL_CITY2/hrss/other'")" = '["4502999999999992"]' ]
}
wait_until 30 twin
[ "$(ask gx_city "SELECT reasons->0->>'keyword' FROM gx_quarantine WHERE
side = 'sink' AND key = '[\"4501999999999991\"]'")" = origin ] ||
	fail "the echo is not set aside"
[ -z "$(ask gx_city "SELECT 1 FROM social.insured WHERE
aac001 = '4501999999999991'")" ] || fail "the echo is in the table"

no_gap gx_hub
no_gap gx_city
no_gap gx_city2
quiet_logs
passed
