#!/bin/sh
# e10: Whatever a department does to its table and slot, the PostgreSQL source
# hands over exactly what happened, or stops with a name and the way on.
set -u
cd "$(dirname "$0")/../.." || exit 1

. tests/scenario/src_pg.sh

STEP="full reading"
sql "INSERT INTO ac01 SELECT 'P' || lpad(i::text, 4, '0'), ' name ' || i,
'19800101', i + 0.5, i % 700, E'tab\there \\\\ back' FROM generate_series(1, 20) i;
INSERT INTO ac08 SELECT 'P' || i / 12, 202500 + i % 12 + 1, i, repeat('x', 20)
FROM generate_series(1, 500) i"
drive
lines '^0 .*"op":"s"' 1
lines '^0 .*"op":"u"' 20
lines '^[123] .*"op":"u"' 500
lines '"op":"e"' 4
has '"k":\["P0001"\].*"d":\{"aac001":"P0001","aac003":"name 1","aac006":"1980-01-01","base":"1.50","n_months":1,"note":"tab\\there \\\\ back"\}'
STEP="second life changes nothing"
drive
empty

STEP="changes"
sql "UPDATE ac01 SET aac003 = 'n1' WHERE aac001 = 'P0001';
DELETE FROM ac01 WHERE aac001 = 'P0002';
INSERT INTO ac01 VALUES ('X1', 'a', '20250228', 1.5, 3)"
drive
has '"op":"u","k":\["P0001"\].*"aac003":"n1".* change$'
has '"op":"d","k":\["P0002"\].* change$'
has '"op":"u","k":\["X1"\].*\}$'
lines '^0 ' 3

STEP="update of the key: delete and upsert"
sql "UPDATE ac01 SET aac001 = 'Y1' WHERE aac001 = 'P0003'"
drive
has '"op":"d","k":\["P0003"\]'
has '"op":"u","k":\["Y1"\].*"aac003":"name 3"'
lines '^0 ' 2
sql "UPDATE ac08 SET aac001 = 'Q' WHERE aac001 = 'P1' AND aae003 = 202501"
drive
has '"op":"d","k":\["P1","2025-01"\]'
has '"op":"u","k":\["Q","2025-01"\]'

STEP="bad rows are set aside, with key and reasons, and mended"
sql "INSERT INTO ac01 VALUES ('B1', NULL, '20250230', 1.555, 721);
INSERT INTO ac01(aac001, aac003, note) VALUES ('B2', 'n', repeat('x', 1100000))"
drive
has '"op":"q","k":\["B1"\].*!/aac003 required|"op":"q","k":\["B1"\].*! required'
has '"op":"q","k":\["B1"\].*!/aac006 format'
has '"op":"q","k":\["B1"\].*!/base pattern'
has '"op":"q","k":\["B1"\].*!/n_months maximum'
has '"op":"q","k":\["B2"\].*! record.too_large'
lines '"op":"q"' 2
sql "UPDATE ac01 SET aac003 = 'n', aac006 = '20250228', base = 1, n_months = 720
WHERE aac001 = 'B1'; DELETE FROM ac01 WHERE aac001 = 'B2'"
drive
has '"op":"u","k":\["B1"\].*"base":"1.00"'
has '"op":"d","k":\["B2"\]'

STEP="an unchanged large value is there all the same"
sql "UPDATE ac01 SET note = (SELECT string_agg(md5(i::text), '') FROM
generate_series(1, 1000) i) WHERE aac001 = 'P0004'"
sql "UPDATE ac01 SET aac003 = 'toasty' WHERE aac001 = 'P0004'"
drive
lines '"aac003":"toasty".*"note":"c4ca4238a0b923820dcc509a6f75849b' 1
sql "UPDATE ac01 SET aac003 = 'gone' WHERE aac001 = 'P0004'"
sql "DELETE FROM ac01 WHERE aac001 = 'P0004'"
drive
lines '"k":\["P0004"\]' 1
has '"op":"d","k":\["P0004"\]'

STEP="truncate and reload in one transaction: the difference"
sql "BEGIN; TRUNCATE ac01; INSERT INTO ac01(aac001, aac003) VALUES
('T1', 't'), ('T2', 't'); COMMIT"
drive
[ "$(sed -n 's/^0 .*"op":"\([a-z]\)".*/\1/p' "$D/out" | tr -d '\n')" = suue ] ||
	fail "$STEP: order"
STEP="truncate and reload in two: e waits for quiet, also over a restart"
sql "TRUNCATE ac01"
# Not as long as the second of quiet that the declaration wants.
drive --idle 600
lines '"op":"s"' 1
lines '"op":"e"' 0
sql "INSERT INTO ac01(aac001, aac003) VALUES ('V1', 't'), ('V2', 't')"
drive --idle "$(stretched 3000)"
[ "$(sed -n 's/^0 .*"op":"\([a-z]\)".*/\1/p' "$D/out" | tr -d '\n')" = uue ] ||
	fail "$STEP: order"
drive
empty

STEP="a column more is reported and nothing else"
drive --idle "$(stretched 2500)" &
wait_until 10 held
sql "ALTER TABLE ac01 ADD COLUMN novelty text"
sql "INSERT INTO ac01(aac001, aac003) VALUES ('C1', 't')"
wait
lines '"k":\["C1"\]' 1
grep -q 'source.column_added.*novelty' "$D/log" || fail "$STEP: not reported"

STEP="a mapped column dropped: this stream stops, its neighbours go on"
drive --idle "$(stretched 2500)" &
wait_until 10 held
sql "ALTER TABLE ac01 DROP COLUMN n_months"
sql "INSERT INTO ac01(aac001, aac003) VALUES ('C2', 't');
INSERT INTO ac08 VALUES ('C2', 202501, 1)"
wait
has '^stop 0 source.column_gone public.ac01 column n_months'
lines '"k":\["C2"\]' 0
has '"k":\["C2","2025-01"\]'
STEP="put back: what was held up comes"
sql "ALTER TABLE ac01 ADD COLUMN n_months int DEFAULT 5"
drive
has '"k":\["C2"\].*"n_months":5'

STEP="a mapped column retyped"
drive --idle "$(stretched 2500)" &
wait_until 10 held
sql "ALTER TABLE ac01 ALTER COLUMN aac003 TYPE bytea USING aac003::bytea"
sql "INSERT INTO ac01(aac001, aac003) VALUES ('C3', 't')"
wait
has '^stop 0 source.column_retyped public.ac01 column aac003'
lines '"k":\["C3"\]' 0
sql "ALTER TABLE ac01 ALTER COLUMN aac003 TYPE text USING convert_from(aac003, 'UTF8')"
drive
has '"k":\["C3"\].*"aac003":"t"'

STEP="one transaction of 200,000 rows, bounded memory, taken in two lives"
sql "INSERT INTO ac01(aac001, aac003, base) SELECT 'L' || lpad(i::text, 6, '0'),
'name' || i, i FROM generate_series(1, 200000) i"
drive --count --max 70000 --idle "$(stretched 8000)"
has '^0 u=70000 '
drive --count --idle "$(stretched 8000)"
has '^0 u=130000 '
rss=$(sed -n 's/.*rss_kb=\([0-9]*\).*/\1/p' "$D/out")
[ "$rss" -lt "${RSS_MAX_KB:-65536}" ] || fail "$STEP: $rss KiB"
drive
empty

STEP="a restart within the first reading goes on behind the last key"
drive --no-release
sql "SELECT pg_drop_replication_slot('gx_social')"
rm "$D/state"
sql "DELETE FROM ac01 WHERE aac001 LIKE 'L%'; TRUNCATE ac08;
INSERT INTO ac08 SELECT 'P' || i / 12, 202500 + i % 12 + 1, i, 'x'
FROM generate_series(1, 500) i;
INSERT INTO ac01(aac001, aac003) SELECT 'R' || lpad(i::text, 3, '0'), 'r'
FROM generate_series(1, 100) i"
drive --max 31
cp "$D/out" "$D/first"
sql "UPDATE ac01 SET aac001 = 'A1' WHERE aac001 = 'R099';
DELETE FROM ac01 WHERE aac001 = 'C1'"
drive --max 200
cat "$D/out" >>"$D/first"
drive
cat "$D/out" >>"$D/first"
# Replay: what a receiver holds now is what the table holds, in both tables.
sed -n 's/^0 .*"op":"\([ud]\)","k":\["\([^"]*\)"\].*/\1 \2/p' "$D/first" |
	awk '$1 == "u" { r[$2] = 1 } $1 == "d" { delete r[$2] }
	END { for (k in r) print k }' | LC_ALL=C sort >"$D/held"
ask 'SELECT aac001 FROM ac01' | LC_ALL=C sort | cmp - "$D/held" ||
	fail "$STEP: other rows"
# The rows were read under a younger snapshot than the changes: e waits.
awk '/"k":\["A1"\]/ { a = NR } /^0 .*"op":"e"/ { e = NR }
	END { exit !(a && e > a) }' "$D/first" || fail "$STEP: e before its changes"
n=$(grep -cE '^[123] .*"op":"u"' "$D/first")
[ "$n" = 500 ] || fail "$STEP: $n of 500 rows in three streams"
n=$(grep -c '"op":"e"' "$D/first")
[ "$n" = 4 ] || fail "$STEP: $n ends"

STEP="the slot is gone: named, and a full reading only by order"
drive
empty
sql "SELECT pg_drop_replication_slot('gx_social')"
drive
has '^error fatal slot.lost .*begin_again_after'
at=$(sed -n 's/.*begin_again_after": "\([^"]*\)".*/\1/p' "$D/out")
decl "$D/again.json" gx_social "\"begin_again_after\": \"$at\","
DECL="$D/again.json"
drive --count
has '^0 u=[1-9][0-9]* d=0 q=0 s=1 e=1'
drive
empty
DECL=
STEP="the slot was moved on: named; the same order, given again, does nothing"
sql "INSERT INTO ac01(aac001, aac003) VALUES ('Z1', 't')"
sql "SELECT pg_replication_slot_advance('gx_social', pg_current_wal_lsn())"
drive
has '^error fatal source.released_beyond '
cp "$D/out" "$D/beyond"
DECL="$D/again.json"
drive
has '^error fatal source.released_beyond '
at=$(sed -n 's/.*begin_again_after": "\([^"]*\)".*/\1/p' "$D/beyond")
decl "$D/again.json" gx_social "\"begin_again_after\": \"$at\","
drive --max 31
has '^0 .*"op":"s"'
# Died within it: the streams that were not begun are read anew all the same.
drive
has '"k":\["Z1"\]'
lines '^[123] .*"op":"s"' 3
lines '^[123] .*"op":"u"' "$(ask 'SELECT count(*) FROM ac08')"
lines '"op":"e"' 4
drive
empty
DECL=

STEP="another server"
cp "$D/state" "$D/kept"
sed 's/^pg:\([0-9]*\):/pg:7\1:/' "$D/kept" >"$D/state"
sed 's/^pg:7\([0-9]\{18\}\)[0-9]*:/pg:\1:/' "$D/state" >"$D/state.x"
mv "$D/state.x" "$D/state"
drive
has '^error fatal source.restored '
cp "$D/kept" "$D/state"

STEP="a second reader is refused while the first lives"
drive --idle "$(stretched 4000)" &
first=$!
wait_until 10 held
"$DRIVE" --decl "$D/social.json" --state "$D/state2" \
	--resource "$D/insured.json" --resource "$D/paid.json" \
	>"$D/out2" 2>>"$D/log" && fail "$STEP: it was not"
grep -q '^error fenced source.held' "$D/out2" || fail "$STEP: $(cat "$D/out2")"
wait $first
empty

STEP="a stopped reader is ended, and is fenced when it wakes"
cp "$D/state" "$D/state2"
"$DRIVE" --decl "$D/social.json" --state "$D/state2" \
	--resource "$D/insured.json" --resource "$D/paid.json" \
	--idle 60000 >"$D/zombie" 2>>"$D/log" &
zombie=$!
wait_until 10 held
kill -STOP $zombie
taken() {
	drive --idle 300
	grep -q '^end' "$D/out" && ! grep -q '^error' "$D/out"
}
wait_until 20 taken
sql "INSERT INTO ac01(aac001, aac003) VALUES ('W1', 't')"
"$DRIVE" --decl "$D/social.json" --state "$D/state" \
	--resource "$D/insured.json" --resource "$D/paid.json" \
	--idle "$(stretched 3000)" >"$D/out" 2>>"$D/log" &
second=$!
wait_until 10 held
kill -CONT $zombie
wait $zombie
grep -qE '^error (fenced|abort) ' "$D/zombie" || fail "$STEP: $(cat "$D/zombie")"
grep -q '"op"' "$D/zombie" && fail "$STEP: it handed something over"
wait $second
has '"k":\["W1"\]'

STEP="what is wrong is said plainly"
DECL="$D/bad.json"
sed 's/user=gx/user=nobody_here/' "$D/social.json" >"$DECL"
drive
has '^error '
sed 's/"slot"/"slit"/' "$D/social.json" >"$DECL"
drive
has '^error reject adapter.declaration /slit: unknown member'
sed 's/"date8"/"date9"/' "$D/social.json" >"$DECL"
drive
has 'adapter.declaration /tables/0/map/2/convert'
sql "ALTER TABLE ac08 REPLICA IDENTITY NOTHING"
DECL=
drive
has '^stop 1 source.no_identity public.ac08 column aac001'
sql "ALTER TABLE ac08 REPLICA IDENTITY FULL"

sed 's/"drop"/5/; s/"publication"/"on_slot_lag_max": 5, "publication"/' \
	"$D/social.json" >"$D/bad.json"
DECL="$D/bad.json"
drive
has '/on_slot_lag_max: must be a string'
DECL=

STEP="the server gave the slot's log up: named"
drive
sql "ALTER SYSTEM SET max_slot_wal_keep_size = '16MB'"
ask 'SELECT pg_reload_conf()' >/dev/null
fill() {
	sql "CREATE TABLE bulk AS SELECT repeat(md5(i::text), 30) t
	FROM generate_series(1, 60000) i; DROP TABLE bulk; SELECT pg_switch_wal()"
	sql "CHECKPOINT"
}
fill
fill
[ "$(ask 'SELECT wal_status FROM pg_replication_slots')" = lost ] ||
	fail "$STEP: it still has it"
drive
has '^error fatal slot.lost .*has lost its WAL'
at=$(sed -n 's/.*begin_again_after": "\([^"]*\)".*/\1/p' "$D/out")
sql "ALTER SYSTEM RESET max_slot_wal_keep_size"
ask 'SELECT pg_reload_conf()' >/dev/null

STEP="above the ceiling and nothing moves: the slot is given up, by name"
decl "$D/again.json" gx_social "\"begin_again_after\": \"$at\",
\"slot_lag_max\": \"32M\", \"slot_lag_wait\": \"1s\","
DECL="$D/again.json"
drive --count
has '^0 u=[1-9]'
drive --no-release --idle 20000 &
stuck=$!
wait_until 10 held
fill
wait $stuck && fail "$STEP: it went on"
has '^error fatal slot.lag_max '
[ "$(ask 'SELECT count(*) FROM pg_replication_slots')" = 0 ] ||
	fail "$STEP: the slot is there"
grep -q 'slot.lag .*percent=' "$D/log" || fail "$STEP: no warning before"
drive
has '^error fatal slot.lost '
DECL=

STEP="no person's data in the log"
grep -E 'name 1|toasty|P000[0-9]|"k"' "$D/log" && fail "$STEP"
grep -q 'slot.made' "$D/log" || fail "$STEP: the log is empty"

echo "all of e10 passed"
