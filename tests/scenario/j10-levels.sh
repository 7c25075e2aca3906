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
said() {
	ask gx_hub "SELECT sum(last_id) FROM gx_outbox_head
WHERE origin LIKE '%/down-%'"
}

step "two departments, 3,000 and 1,000 rows, at the hub; what concerns the other city is there"
start_pg
start_brokers city city2 hub
load_department 3000 1000 || fail "the departments"
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
