#!/bin/bash
# e20: Whatever a department does to its table, the hub ends with what the
# table holds; nothing that stays is missing on the way, and what cannot go on
# stops with a name and the way on.
. "$(dirname "$0")/lib.sh"
lab e20
mkdir -p "$D/city" "$D/hub"
set_conf city "flow social" guard_percent 0
set_conf city "flow sink" guard_percent 0
set_conf hub "flow sink" guard_percent 0

walking 2000
equal() {
	wait_until "$1" heads_equal
	wait_until 30 same_set
}
admin() {
	as_server psql -qAtX -v ON_ERROR_STOP=1 -h "$R" -p "$(P postgres)" \
		-d hrss -c "$1" || fail "sql: $1"
}

step "UPDATE of the key: the old one goes, the new one comes"
keys=$(ask hrss "SELECT aac001 FROM ac01 ORDER BY 1 LIMIT 3")
read -r k1 k2 k3 <<<"$(echo $keys)"
sql hrss "UPDATE ac01 SET aac001 = '9' || aac001 WHERE aac001 = '$k1'"
sql hrss "BEGIN; UPDATE ac01 SET aac001 = 'X' WHERE aac001 = '$k2';
UPDATE ac01 SET aac001 = '$k2' WHERE aac001 = '$k3';
UPDATE ac01 SET aac001 = '$k3' WHERE aac001 = 'X'; COMMIT"
wait_until 30 same_set
[ "$(ask gx_hub "SELECT count(*) FROM social.insured
WHERE aac001 IN ('$k1', 'X')")" = 0 ] || fail "an old key is at the hub"
[ "$(ask gx_hub "SELECT count(*) FROM social.insured
WHERE aac001 IN ('9$k1', '$k2', '$k3')")" = 3 ] || fail "a new key is missing"

# One that stays as it is for the steps that follow.
k2=$(ask hrss "SELECT aac001 FROM ac01 ORDER BY aac001 DESC OFFSET 100 LIMIT 1")

step "good, bad, good, bad and good again: nothing stays open"
# quarantine STATE COUNT: so many rows of k2 in this state, and held if open
quarantine() {
	[ "$(ask gx_city "SELECT count(*) FROM gx_quarantine WHERE
key = '[\"$k2\"]' AND state = '$1'")" = "$2" ]
}
held() {
	[ "$(ask "$1" "SELECT count(*) FROM gx_held
WHERE key = '[\"$k2\"]'")" = "$2" ]
}
good="UPDATE ac01 SET n_months = 71 WHERE aac001 = '$k2'"
bad="UPDATE ac01 SET n_months = 5000 WHERE aac001 = '$k2'"
for n in 1 2; do
	sql hrss "$bad"
	wait_until 20 held gx_hub 1
	quarantine open 1 || fail "$n: it is not open"
	sql hrss "$good"
	wait_until 20 held gx_hub 0
	wait_until 10 quarantine superseded $n
	quarantine open 0 || fail "$n: it is still open"
	equal 20
done
sql hrss "BEGIN; $bad; $good; $bad; $good; COMMIT"
wait_until 20 quarantine superseded 4
sql hrss "BEGIN; $bad; $good; $bad; COMMIT"
wait_until 20 quarantine open 1
quarantine superseded 5 || fail "the one before it is still open"
wait_until 20 held gx_hub 1
kill_hard city
sql hrss "$good"
start_gxbusd city
wait_until 20 held gx_hub 0
wait_until 10 quarantine superseded 6
quarantine open 0 || fail "it is still open"
equal 20
cli city quarantine list -o json >"$D/o" || fail "quarantine list"
grep -q "$k2" "$D/o" && fail "a closed one is listed"

step "a column more is reported, and the rest flows on"
sql hrss "ALTER TABLE ac01 ADD COLUMN novelty text"
sql hrss "ALTER TABLE ac01 ALTER novelty SET STORAGE PLAIN;
ALTER TABLE ac01 ALTER aab004 SET STORAGE EXTERNAL"
put_one="INSERT INTO ac01 SELECT 'N1', aac002, aac003, aac004, aac005, aac006,
aac009, aab001, aab004, aae140, aac031, aac049, aac030, base, n_months, region,
org_uscc, updated_at FROM ac01 WHERE aac001 = '$k2'"
sql hrss "$put_one"
equal 30
wait_until 10 grep -q ' source\.column_added .*novelty' "$D/log/city.log"

step "large values that did not change are not lost"
sql hrss "UPDATE ac01 SET novelty = repeat('n', 1900),
aab004 = left(repeat('单位' || aac001, 20), 200) WHERE aac001 IN
(SELECT aac001 FROM ac01 ORDER BY aac001 LIMIT 40)"
[ "$(admin "SELECT count(DISTINCT chunk_id) FROM pg_toast.pg_toast_$(
	admin "SELECT 'public.ac01'::regclass::oid")")" = 40 ] ||
	fail "the values do not lie outside of their rows"
sql hrss "UPDATE ac01 SET n_months = 77 WHERE length(aab004) > 100"
sql hrss "UPDATE ac01 SET n_months = 78 WHERE length(aab004) > 100"
sql hrss "DELETE FROM ac01 WHERE aac001 IN (SELECT aac001 FROM ac01
WHERE length(aab004) > 100 ORDER BY aac001 LIMIT 5)"
equal 30
[ "$(ask gx_hub "SELECT count(*) FROM social.insured
WHERE n_months = 78 AND length(aab004) > 100")" = 35 ] ||
	fail "not all large values are at the hub"

step "one transaction of 200,000 rows"
began=$(date +%s%N)
sql hrss "INSERT INTO ac01 SELECT 'L' || lpad((g * 1000 + i)::text, 8, '0'),
aac002, aac003, aac004, aac005, aac006, aac009, aab001, left(aab004, 50),
aae140, aac031, aac049, aac030, base + g, n_months, region, org_uscc,
updated_at FROM generate_series(1, 200) g, (SELECT *, row_number() OVER
(ORDER BY aac001) i FROM ac01 ORDER BY aac001 LIMIT 1000) a"
committed=$(date +%s%N)
n=$(ask hrss "SELECT count(*) FROM ac01")
hub_has() {
	[ "$(ask gx_hub 'SELECT count(*) FROM social.insured')" = "$1" ]
}
wait_until 100 hub_has "$n"
echo "  committed after $(((committed - began) / 1000000)) ms, at the hub" \
	"$((($(date +%s%N) - committed) / 1000000)) ms later"
equal 60
slim

step "TRUNCATE and a full reload: the difference; who stays is never missing"
# Watches the hub until what is not in the reload is gone; says how many of
# those that stay were ever missing, and how often it looked.
cat >"$D/watch.sql" <<'SQL'
CREATE TABLE watched (n_missing bigint, n_looks bigint);
DO $$
DECLARE want bigint; have bigint; low bigint; gone bigint; looks bigint := 0;
	until timestamptz := clock_timestamp() + interval '60 s';
BEGIN
	SELECT count(*) INTO want FROM social.insured WHERE aac001 !~ '^L';
	low := want;
	LOOP
		SELECT count(*) FILTER (WHERE aac001 !~ '^L'),
			count(*) FILTER (WHERE aac001 ~ '^L') INTO have, gone
		FROM social.insured;
		looks := looks + 1;
		low := least(low, have);
		EXIT WHEN gone = 0 OR clock_timestamp() > until;
		PERFORM pg_sleep(0.005);
	END LOOP;
	INSERT INTO watched VALUES (want - low, looks);
END $$;
SQL
db gx_hub -f "$D/watch.sql" &
watcher=$!
sql hrss "BEGIN; CREATE TEMP TABLE stays AS SELECT * FROM ac01
WHERE aac001 !~ '^L'; TRUNCATE ac01; INSERT INTO ac01 SELECT * FROM stays;
COMMIT"
wait $watcher || fail "the watcher"
equal 60
hub_has "$(ask hrss 'SELECT count(*) FROM ac01')" || fail "the hub has others"
IFS='|' read -r missing looks <<<"$(ask gx_hub 'SELECT * FROM watched')"
echo "  looked $looks times"
[ "$missing" = 0 ] || fail "$missing rows were missing for a while"
[ "$looks" -gt 2 ] || fail "it was not watched"
# The watcher sees one that is missing.
sql gx_hub "DROP TABLE watched; CREATE TABLE kept AS SELECT *
FROM social.insured WHERE aac001 = '$k2'"
sql gx_hub "INSERT INTO social.insured SELECT (jsonb_populate_record(k,
'{\"aac001\": \"L1\", \"gx_key\": \"L1\"}')).* FROM kept k"
plant="DELETE FROM social.insured WHERE aac001 = '$k2' OR (aac001 = 'L1' AND looks > 3);"
sed "s/PERFORM .*/$plant/" "$D/watch.sql" | db gx_hub ||
	fail "the watcher's control"
[ "$(ask gx_hub 'SELECT n_missing FROM watched')" = 1 ] ||
	fail "the watcher is blind"
sql gx_hub "INSERT INTO social.insured SELECT * FROM kept; DROP TABLE kept"
wait_until 10 same_set

step "a mapped column dropped: a named stop, and the way on"
sql hrss "CREATE TABLE saved AS SELECT aac001, aac009 FROM ac01;
ALTER TABLE ac01 DROP COLUMN aac009"
rest="aac002, aac003, aac004, aac005, aac006, aab001, aab004, aae140, aac031,
aac049, aac030, base, n_months, region, org_uscc, updated_at"
sql hrss "INSERT INTO ac01 (aac001, $rest) SELECT 'C1', $rest FROM ac01
WHERE aac001 = '$k2'"
stream_stands() {
	cli city flow show social >"$D/o" 2>&1 && grep -q "$1" "$D/o"
}
wait_until 30 stream_stands 'source\.column_gone'
"$GXBUS" explain source.column_gone | grep -q 'restart the flow' ||
	fail "the remedy is not named"
[ "$(ask gx_hub "SELECT count(*) FROM social.insured
WHERE aac001 = 'C1'")" = 0 ] || fail "the row went on"
sql hrss "ALTER TABLE ac01 ADD COLUMN aac009 varchar(4)"
sql hrss "UPDATE ac01 a SET aac009 = s.aac009 FROM saved s
WHERE s.aac001 = a.aac001 AND s.aac009 IS NOT NULL; DROP TABLE saved"
cli city flow restart social >"$D/o" 2>&1 || fail "flow restart"
equal 60
[ "$(ask gx_hub "SELECT count(*) FROM social.insured
WHERE aac001 = 'C1'")" = 1 ] || fail "the row did not come"

step "a mapped column of another type: the same"
sql hrss "ALTER TABLE ac01 ALTER COLUMN aac006 TYPE date
USING to_date(aac006, 'YYYYMMDD')"
sql hrss "UPDATE ac01 SET n_months = 79 WHERE aac001 = '$k2'"
wait_until 30 stream_stands 'source\.column_retyped'
sql hrss "ALTER TABLE ac01 ALTER COLUMN aac006 TYPE varchar(8)
USING to_char(aac006, 'YYYYMMDD')"
cli city flow restart social >"$D/o" 2>&1 || fail "flow restart"
wait_until 60 same_set
equal 30
[ "$(ask gx_hub "SELECT n_months FROM social.insured
WHERE aac001 = '$k2'")" = 79 ] || fail "the change did not come"
cli city flow restart social >"$D/o" 2>&1 || fail "flow restart, again"
sql hrss "UPDATE ac01 SET n_months = 80 WHERE aac001 = '$k2'"
equal 30
no_gap gx_city
no_gap gx_hub
slim

quiet_logs ' source\.column_(gone|retyped) '
passed
