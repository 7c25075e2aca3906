#!/bin/sh
# e11: Ways in which a department's table, transactions or server could make
# the PostgreSQL source lose, double or filter a record in silence, or stop
# more than one table: each is read rightly, or stops by name.
#
# Each step begins with empty tables and no slot.  "sh e11... NAME..." runs the
# steps of these names only.
set -u
cd "$(dirname "$0")/../.." || exit 1

# All steps: two halves side by side, as they wait more than they work.
if [ $# = 0 ]; then
	me=tests/scenario/e11-src-pg-losses.sh
	rest=$(sed -n 's/^step_\([a-z_]*\)() {/\1/p' $me | grep -vx replaced)
	bash $me replaced &
	# shellcheck disable=SC2086
	bash $me $rest
	rc=$?
	wait $! && exit $rc
	exit 1
fi

. tests/scenario/src_pg.sh

# A session that stays in its transaction until it is told to go on.
hold() { # SQL
	rm -f "$D/hold"
	mkfifo "$D/hold"
	psql -qAtX -h "$D" -U postgres -d "${DB:-hrss}" <"$D/hold" \
		>>"$D/log" 2>&1 &
	held_by=$!
	exec 9>"$D/hold"
	echo "BEGIN; $1;" >&9
	wait_until 10 in_transaction
}
in_transaction() {
	[ "$(ask "SELECT count(*) FROM pg_stat_activity WHERE backend_xid IS NOT
NULL AND state = 'idle in transaction'")" = 1 ]
}
let_go() {
	echo "COMMIT;" >&9
	exec 9>&-
	wait "$held_by"
}
no_slot() {
	ask "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots
WHERE active_pid IS NOT NULL" >/dev/null
	wait_until 10 is_free
	ask "SELECT pg_drop_replication_slot(slot_name)
FROM pg_replication_slots" >/dev/null
}
is_free() {
	[ "$(ask 'SELECT count(active_pid) FROM pg_replication_slots')" = 0 ]
}
fresh() {
	STEP=$1
	DECL=
	no_slot
	rm -f "$D/state"
	sql "DROP PUBLICATION IF EXISTS gx_social; DROP TABLE IF EXISTS ac01 CASCADE;
DROP TABLE IF EXISTS ac08 CASCADE;
CREATE TABLE ac01 (aac001 text PRIMARY KEY, aac003 text, aac006 text,
	base numeric, n_months int, note text);
ALTER TABLE ac01 OWNER TO gx;
CREATE TABLE ac08 (aac001 text, aae003 int, amount numeric, extra text);
ALTER TABLE ac08 OWNER TO gx; ALTER TABLE ac08 REPLICA IDENTITY FULL;
INSERT INTO ac01(aac001, aac003) VALUES ('P1', 'n');
INSERT INTO ac08 VALUES ('P1', 202501, 1)"
	echo "- $STEP"
}
# only FILE TABLE...: the declaration with these tables alone
only() {
	python3 - "$D/social.json" "$@" <<'P'
import json, sys
d = json.load(open(sys.argv[1]))
d["tables"] = [t for t in d["tables"] if t["table"] in sys.argv[3:]]
json.dump(d, open(sys.argv[2], "w"))
P
}

# A database in an encoding of its own, with the same tables.
other_db() { # NAME ENCODING
	psql -qAtX -h "$D" -U postgres -d postgres -c "CREATE DATABASE $1
ENCODING '$2' LOCALE 'C' TEMPLATE template0" -c "GRANT CREATE ON DATABASE $1 TO gx" ||
		fail "database $1"
	sed "s/dbname=hrss/dbname=$1/; s/gx_social\"/gx_$1\"/" \
		"$D/social.json" >"$D/$1.json"
}
in_db() {
	psql -qAtX -v ON_ERROR_STOP=1 -h "$D" -U postgres -d "$1" \
		-c "SET client_encoding = '$2'" -c "$3" >/dev/null || fail "sql: $3"
}

step_encoding() {
	fresh "a database without an encoding is refused by name"
	other_db ascii SQL_ASCII
	DECL="$D/ascii.json"
	drive
	has '^error fatal source.encoding '
	no_slot
	STEP="so is one in an encoding that is not read"
	other_db jis EUC_JP
	DECL="$D/jis.json"
	drive
	has '^error fatal source.encoding .*EUC_JP'
	rm -f "$D/state"
	STEP="bytes that are no character: their row is set aside, in a reading"
	other_db euc EUC_CN
	in_db euc UTF8 "CREATE TABLE ac01 (aac001 text PRIMARY KEY, aac003 text,
aac006 text, base numeric, n_months int, note text); ALTER TABLE ac01 OWNER TO gx;
CREATE TABLE ac08 (aac001 text, aae003 int, amount numeric);
ALTER TABLE ac08 OWNER TO gx; ALTER TABLE ac08 REPLICA IDENTITY FULL;
INSERT INTO ac01(aac001, aac003) VALUES ('P1', '张三、一'), ('P3', 'n');
INSERT INTO ac08 SELECT 'P' || i, 202501, 1 FROM generate_series(1, 50) i"
	in_db euc EUC_CN "INSERT INTO ac01(aac001, aac003) VALUES
('P2', E'\\xaa\\xa1'), (E'K\\xaa\\xa1', 'n')"
	DECL="$D/euc.json"
	drive
	lines '^0 .*"op":"u"' 2
	has '"k":\["P1"\].*"aac003":"张三、一"'
	lines '^[123] .*"op":"u"' 50
	lines '"op":"e"' 4
	lines '"op":"q"' 1
	has '"op":"q","k":\["P2"\].* !/aac003 encoding original=.*"aac003":\{"hex":"aaa1"\}'
	has '^0 no key !/aac001 encoding original=\{"aac001":\{"hex":"4baaa1"\}'
	lines ' stop ' 0
	STEP="and in changes: neighbours flow, in the same transaction too"
	in_db euc EUC_CN "BEGIN; INSERT INTO ac01(aac001, aac003) VALUES ('C1', 'n');
UPDATE ac01 SET aac003 = E'\\xfe\\xfe', n_months = 1000 WHERE aac001 = 'P1';
INSERT INTO ac01(aac001, aac003) VALUES ('C2', 'n');
INSERT INTO ac08 VALUES ('P98', 202501, 1); COMMIT;
DELETE FROM ac01 WHERE aac001 = E'K\\xaa\\xa1'"
	in_db euc UTF8 "UPDATE ac01 SET aac003 = '好' WHERE aac001 = 'P2'"
	drive
	[ "$(sed -n 's/^0 .*"op":"\([a-z]\)","k":\["\(..\)"\].*/\1\2/p' "$D/out" |
		tr '\n' ' ')" = "uC1 qP1 uC2 uP2 " ] || fail "$STEP: order"
	has '"op":"q","k":\["P1"\].* !/aac003 encoding original=.*"hex":"fefe"'
	lines ' encoding .* encoding | maximum' 0
	has '"k":\["P2"\].*"aac003":"好"'
	lines '"k":\["P98","2025-01"\]' 1
	drive
	empty
	STEP="and in a value that is fetched later"
	in_db euc UTF8 "CREATE FUNCTION big() RETURNS text LANGUAGE sql AS
'SELECT string_agg(md5(i::text), chr(45)) FROM generate_series(1, 400) i'"
	# A rewrite is not decoded, so only the fetch meets the bytes.
	in_db euc EUC_CN "ALTER TABLE ac01 ALTER note TYPE text
USING big() || CASE aac001 WHEN 'P1' THEN E'\\xaa\\xa1' ELSE '' END"
	in_db euc UTF8 "UPDATE ac01 SET aac003 = 'n2' WHERE aac001 IN ('P1', 'P3');
INSERT INTO ac08 VALUES ('P99', 202501, 1)"
	drive
	has '"op":"q","k":\["P1"\].* !/note encoding'
	has '"op":"u","k":\["P3"\].*"aac003":"n2".*"note":"c4ca4238'
	lines '"k":\["P99","2025-01"\]' 1
	lines '^0 ' 2
	STEP="names that are not ASCII"
	drive --idle 2500 &
	wait_until 10 held
	in_db euc UTF8 "ALTER TABLE ac01 ADD COLUMN 新列 text;
UPDATE ac01 SET 新列 = 'x', aac003 = 'n4' WHERE aac001 = 'P3'"
	wait
	has '"k":\["P3"\].*"aac003":"n4"'
	grep -q 'source.column_added.*column=新列' "$D/log" || fail "$STEP: no name"
	no_slot
	rm -f "$D/state"
	STEP="a database that is UTF-8: no replacement character for a bad byte"
	DECL=
	sql "CREATE CAST (bytea AS text) WITHOUT FUNCTION"
	for bytes in ff c080 eda080 e4bd; do
		sql "INSERT INTO ac01(aac001, aac003) VALUES ('U$bytes',
decode('6e$bytes', 'hex')::text)"
	done
	sql "INSERT INTO ac01(aac001, aac003) VALUES ('N1', 'n')"
	drive
	lines '"op":"q","k":\["U[a-f0-9]*"\].* !/aac003 encoding original=.*"hex":"6e' 4
	lines '^0 .*"op":"u"' 2
	sql "UPDATE ac01 SET aac003 = decode('6eff6e', 'hex')::text WHERE aac001 = 'N1';
INSERT INTO ac01(aac001, aac003) VALUES ('N2', 'n')"
	drive
	has '"op":"q","k":\["N1"\].* !/aac003 encoding original=.*"hex":"6eff6e"'
	has '"op":"u","k":\["N2"\]'
	sql "DROP CAST (bytea AS text)"
	no_slot
}

step_join() {
	fresh "a transaction that was open when its table joined is not lost"
	only "$D/one.json" public.ac01
	DECL="$D/one.json"
	drive
	has '^0 .*"op":"u"'
	DECL=
	hold "INSERT INTO ac08 VALUES ('OPEN', 202501, 1)"
	drive --idle "$(stretched 2500)" &
	first=$!
	wait_until 10 published
	let_go
	wait $first
	lines '"k":\["OPEN","2025-01"\]' 1
	lines '^[123] .*"op":"u"' 2
	STEP="and one that stays open is named"
	fresh "$STEP"
	DECL="$D/one.json"
	drive
	DECL=
	hold "INSERT INTO ac08 VALUES ('OPEN', 202501, 1)"
	drive
	has '^error abort source.open_transaction '
	let_go
	drive
	lines '"k":\["OPEN","2025-01"\]' 1
}
published() {
	[ "$(ask "SELECT count(*) FROM pg_publication_tables
WHERE tablename = 'ac08'")" = 1 ]
}

step_replaced() {
	fresh "create a copy, drop, rename: the table is not published any more"
	drive
	drive --idle 65000 &
	first=$!
	wait_until 10 held
	sql "BEGIN; CREATE TABLE ac01n (LIKE ac01 INCLUDING ALL); ALTER TABLE ac01n OWNER TO gx;
INSERT INTO ac01n(aac001, aac003) VALUES ('N1', 'n');
DROP TABLE ac01; ALTER TABLE ac01n RENAME TO ac01; COMMIT"
	sql "INSERT INTO ac01(aac001, aac003) VALUES ('N2', 'n');
INSERT INTO ac08 VALUES ('N2', 202501, 1)"
	wait $first
	has '^stop 0 source.unpublished public.ac01'
	has '"k":\["N2","2025-01"\]'
	fresh "the same, and put into the publication again at once"
	drive
	drive --idle "$(stretched 4000)" &
	first=$!
	wait_until 10 held
	sql "BEGIN; ALTER TABLE ac01 RENAME TO ac01old; CREATE TABLE ac01 (LIKE ac01old INCLUDING ALL);
ALTER TABLE ac01 OWNER TO gx; INSERT INTO ac01(aac001, aac003) VALUES ('N1', 'n');
DROP TABLE ac01old; ALTER PUBLICATION gx_social ADD TABLE ac01; COMMIT"
	sql "INSERT INTO ac01(aac001, aac003) VALUES ('N2', 'n')"
	wait $first
	has '^stop 0 source.unpublished public.ac01'
	lines '"k":\["N2"\]' 0
}

step_filtered() {
	fresh "a table with children that inherit from it"
	sql "CREATE TABLE ac01_2024 () INHERITS (ac01)"
	drive
	has '^stop 0 source.filtered public.ac01'
	has '^[123] .*"op":"u"'
	fresh "a publication with a row filter"
	sql "CREATE PUBLICATION gx_social FOR TABLE ac01 WHERE (aac001 > 'Q'), ac08
WITH (publish_via_partition_root = true)"
	drive
	has '^stop 0 source.filtered public.ac01'
	fresh "a publication with a list of columns"
	sql "CREATE PUBLICATION gx_social FOR TABLE ac01 (aac001, aac003), ac08"
	drive
	has '^stop 0 source.filtered public.ac01 column aac006'
	fresh "a list that holds every mapped column passes"
	sql "ALTER TABLE ac01 ADD extra text; CREATE PUBLICATION gx_social FOR
TABLE ac01 (aac001, aac003, aac006, base, n_months, note), ac08"
	drive
	has '^0 .*"op":"u"'
	fresh "row-level security"
	sql "ALTER TABLE ac01 ENABLE ROW LEVEL SECURITY; ALTER TABLE ac01 FORCE ROW LEVEL SECURITY"
	drive
	has '^stop 0 source.filtered public.ac01'
	lines '^0 ' 0
}

step_nothing() {
	fresh "no slot before there is a publication"
	sql "DROP TABLE ac01; DROP TABLE ac08"
	drive
	has '^stop 0 source.table_gone'
	[ "$(ask 'SELECT count(*) FROM pg_replication_slots')" = 0 ] ||
		fail "$STEP: a slot"
	STEP="the tables are made later: all of it is read"
	sql "CREATE TABLE ac01 (aac001 text PRIMARY KEY, aac003 text, aac006 text,
base numeric, n_months int, note text); ALTER TABLE ac01 OWNER TO gx;
INSERT INTO ac01(aac001, aac003) VALUES ('P1', 'n')"
	drive
	lines '^0 .*"op":"u"' 1
	has '^stop 1 source.table_gone'
}

step_old_transaction() {
	fresh "a slot is made behind a transaction older than 5 s"
	hold "INSERT INTO ac01(aac001, aac003) VALUES ('OPEN', 'n')"
	drive --idle 1000 &
	first=$!
	ask 'SELECT pg_sleep(6.5)' >/dev/null
	pid=$(ask "SELECT pid FROM pg_stat_activity WHERE backend_xid IS NOT NULL
AND state = 'idle in transaction'")
	has "^wait slot.waits .* process $pid, open since [0-9-]{10} [0-9:]{8} \\("
	let_go
	wait $first
	lines '^0 .*"op":"u"' 2
	fresh "who gives it up is gone at once, and leaves no slot"
	hold "INSERT INTO ac01(aac001, aac003) VALUES ('OPEN', 'n')"
	began=$(date +%s)
	drive --wait 3000
	[ $(($(date +%s) - began)) -lt 8 ] || fail "$STEP: it did not end"
	has '^wait slot.waits '
	wait_until 5 slots 0
	let_go
	ask 'SELECT pg_sleep(0.3)' >/dev/null
	slots 0
	drive
	lines '^0 .*"op":"u"' 2
	fresh "and its ceiling is watched"
	ceilings
	hold "INSERT INTO ac01(aac001, aac003) VALUES ('OPEN', 'n')"
	drive --idle 30000 &
	first=$!
	wait_until 10 held
	fill 30000
	wait $first
	has '^error fatal slot.lag_max '
	let_go
	slots 0
}

fill() {
	sql "CREATE TABLE bulk AS SELECT repeat(md5(i::text), 30) t
FROM generate_series(1, ${1:-60000}) i; DROP TABLE bulk; SELECT pg_switch_wal()"
}
ceilings() {
	decl "$D/ceil.json" gx_social '"slot_lag_max": "16M", "slot_lag_hard": "96M", "slot_lag_wait": "2s",'
	DECL="$D/ceil.json"
}
slots() {
	[ "$(ask 'SELECT count(*) FROM pg_replication_slots')" = "$1" ] ||
		fail "$STEP: not $1 slots"
}

step_ceiling() {
	fresh "the slot is watched while nothing is read"
	ceilings
	drive
	drive --stand 30000 &
	first=$!
	wait_until 10 held
	fill 30000
	wait $first
	has '^error fatal slot.lag_max '
	slots 0
	fresh "and while the source is not even taken"
	ceilings
	drive
	slots 1
	fill 30000
	drive --no-take --stand 30000
	has '^error fatal slot.lag_max '
	slots 0
	fresh "one that keeps up is left alone, whatever pins its log"
	ceilings
	drive
	hold "INSERT INTO ac01(aac001, aac003) VALUES ('OPEN', 'n')"
	drive --keep-up --idle 9000 &
	first=$!
	wait_until 10 held
	fill 20000
	for i in 1 2 3 4 5 6; do
		sql "INSERT INTO ac08 VALUES ('K$i', 202501, 1)"
		ask 'SELECT pg_sleep(1)' >/dev/null
	done
	wait $first
	lines '"k":\["K[1-6]","2025-01"\]' 6
	has '^end 6 '
	slots 1
	STEP="but not above the hard ceiling, and the transaction is named"
	drive --keep-up --idle 30000 &
	first=$!
	wait_until 10 held
	fill
	fill
	wait $first
	has '^error fatal slot.lag_max .*open for [0-9]+ s'
	let_go
	slots 0
}

step_values() {
	fresh "what is no date, number or time is set aside, with its reason"
	sql "INSERT INTO ac01 VALUES ('V1', 'n', 'infinity', 'NaN', 1)"
	drive
	has '"op":"q","k":\["V1"\].*!/aac006 format'
	has '"op":"q","k":\["V1"\].*!/base pattern'
	STEP="a row above 32 MiB is set aside, and the others come"
	fresh "$STEP"
	sql "INSERT INTO ac01(aac001, aac003, note) VALUES
('H1', 'n', repeat(E'a\\\\b\\t', 9000000)), ('H2', 'n', 'x')"
	drive --idle "$(stretched 2000)"
	has '"op":"q","k":\["H1"\].*record.too_large'
	has '"op":"u","k":\["H2"\]'
	has '^end '
}

step_conninfo() {
	fresh "no password in the open, in either form of a connection string"
	for s in "host=$D dbname=hrss user=gx password=secret" \
		"postgresql://gx:secret@localhost/hrss"; do
		sed "s|\"conninfo\": \"[^\"]*\"|\"conninfo\": \"$s\"|" \
			"$D/social.json" >"$D/open.json"
		DECL="$D/open.json"
		drive
		has '^error reject adapter.declaration /connection/conninfo: '
		grep -q secret "$D/out" && fail "$STEP: it is quoted"
	done
	STEP="the form of a URI, with a passfile, connects"
	touch "$D/my pass"
	chmod 600 "$D/my pass"
	sed "s|\"conninfo\": \"[^\"]*\"|\"conninfo\": \"postgresql://gx@/hrss?host=$D\", \"passfile\": \"my pass\"|" \
		"$D/social.json" >"$D/uri.json"
	DECL="$D/uri.json"
	drive
	has '^0 .*"op":"u"'
}

step_waiting() {
	fresh "a server that does not get to a table holds nobody up"
	only "$D/one.json" public.ac01
	DECL="$D/one.json"
	drive --max 1
	hold "LOCK TABLE ac01 IN ACCESS EXCLUSIVE MODE"
	drive --idle 1500
	lines '^0 ' 0
	lines '^error' 0
	let_go
	drive
	lines '^0 .*"op":"u"' 1
	STEP="a snapshot outlives a pause of the reader"
	fresh "$STEP"
	drive --stand 11500
	lines '"op":"u"' 2
}

for s; do
	"step_$s"
done
echo "e11 passed: $*"
