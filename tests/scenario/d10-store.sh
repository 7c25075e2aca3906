#!/bin/bash
# d10: A store on PostgreSQL holds exactly what its streams said: once, in
# order, whole or not at all; what it cannot hold it sets aside, beside it.
#
# drive_store.c stands in for reader and writer, on a private PostgreSQL.  Each
# commit is done twice, and the second changes nothing: the digest of all rows
# is compared, not their count.
set -u
cd "$(dirname "$0")/../.." || exit 1

fail() {
	echo "FAILED: $STEP: $*"
	[ ! -f "$D/out" ] || tail -n 20 "$D/out"
	exit 1
}
STEP=setup
DRIVE=${DRIVE_STORE:-build/obj/scenario/drive_store}
D=$(mktemp -d /tmp/gx-d10.XXXXXX) || exit 1
if [ -z "${DRIVE_STORE:-}" ]; then
	make -s build/obj/scenario/drive_store >/dev/null || fail "drive_store"
fi
# shellcheck source=tests/scenario/private_pg.sh
. tests/scenario/private_pg.sh
PROXY=
end() {
	[ -z "$PROXY" ] || kill "$PROXY" 2>/dev/null
	pg_end
}
trap end EXIT
trap 'exit 1' INT TERM
make_pg "fsync = off"
psql -qAtX -h "$D" -U postgres -d postgres -c 'CREATE DATABASE node' ||
	fail "database"
for f in schemas/sql/0*.sql; do
	psql -qAtX -h "$D" -U postgres -d node -f "$f" >/dev/null ||
		fail "tables: $f"
done
ask() {
	psql -qAtX -h "$D" -U postgres -d node -c "$1"
}
is() { # SQL VALUE
	got=$(ask "$1" | tr '\n' ' ')
	[ "${got% }" = "$2" ] || fail "$1: ${got% }, wanted $2"
}
# shellcheck source=tests/scenario/wait.sh
. tests/scenario/wait.sh

cat >"$D/insured.json" <<'X'
{
	"$schema": "https://json-schema.org/draft/2020-12/schema",
	"title": "参保",
	"type": "object",
	"x-gx-resource": {"name": "test.insured", "version": 1,
		"key": ["aac001"], "streams": 1, "catalogue": {}},
	"properties": {
		"aac001": {"type": "string", "minLength": 1, "maxLength": 20,
			"x-gx-item": {"type": "C", "length": 20, "share": 2, "level": 2}},
		"aac003": {"type": "string", "minLength": 1, "maxLength": 20,
			"x-gx-item": {"type": "C", "length": 20, "share": 2, "level": 3}},
		"note": {"type": "string",
			"x-gx-item": {"type": "C", "length": 100000, "share": 2, "level": 2}}
	},
	"required": ["aac001", "aac003"],
	"additionalProperties": false
}
X
S=/t/org/soc/test.insured/0
T='"t":"2026-11-24T17:00:00.000+08:00"'
u() { # KEY NAME [MEMBERS]
	printf '{"op":"u","k":["%s"],%s,"d":{"aac001":"%s","aac003":"%s"%s}}\n' \
		"$1" "$T" "$1" "$2" "${3:-}"
}
d() { printf '{"op":"d","k":["%s"],%s}\n' "$1" "$T"; }
q() { printf '{"op":"q","k":["%s"],%s}\n' "$1" "$T"; }
s() { printf '{"op":"s",%s}\n' "$T"; }
e() { printf '{"op":"e",%s}\n' "$T"; }
many() { # FROM TO NAME
	seq -f 'M%04.0f' "$1" "$2" | while read -r k; do u "$k" "$3"; done
}
lines() { # FILE: stdin into it
	cat >"$D/$1"
}
# drive [OPTIONS] <COMMANDS: its answers are in $D/out
drive() {
	timeout "$(stretched 60)" "$DRIVE" --conninfo "host=${VIA:-$D} user=postgres dbname=node" \
		--resource "$D/insured.json" "$@" >"$D/out" 2>"$D/err" ||
		fail "drive_store: $(tail -n 3 "$D/err")"
}
has() {
	grep -qE -- "$1" "$D/out" || fail "wanted: $1"
}
# All that a store keeps, one digest.
digest() {
	ask "SELECT md5(coalesce(string_agg(r, E'\n' ORDER BY r), '')) FROM (
		SELECT 'b' || t::text FROM test.insured t UNION ALL
		SELECT 's' || (stream, epoch, writer, next_seq, head, src,
			reading_at, stopped_at, why)::text FROM gx_stream UNION ALL
		SELECT 'o' || t::text FROM gx_read t UNION ALL
		SELECT 'c' || t::text FROM gx_batch t UNION ALL
		SELECT 'h' || t::text FROM gx_held t UNION ALL
		SELECT 'q' || t::text FROM gx_quarantine t) a(r)"
}
# take FILE...: one transaction of a batch per file; then the same once more,
# as after a cut, which must be fenced and change nothing.
take() {
	drive <<<"load$(printf "\nbatch ${STREAM:-$S} $D/%s" "$@")
commit"
	has '^commit ok'
	grep '^commit' "$D/out" >"$D/taken"
	local before
	before=$(digest)
	drive <<<"load$(printf "\nbatch ${STREAM:-$S} $D/%s" "$@")
old
commit"
	has '^commit fenced store.fenced'
	[ "$before" = "$(digest)" ] || fail "repeating changed something"
	cp "$D/taken" "$D/out"
}
names() {
	is "SELECT string_agg(aac001 || '=' || aac003, ' ' ORDER BY aac001
		COLLATE \"C\") FROM test.insured" "$1"
}

STEP="declare twice, elsewhere not"
drive <<X
declare $S
declare $S
look $S
declare $S gx.batch.other
look ${S%0}1
X
has "^row $S own=1 epoch=0 writer=0 next=1 head=00000000 src=\{\}"
has '^declare fatal stream.moved'
has '^look fatal stream.undeclared'

STEP="rows appear, the last of a key wins, and a repeat is fenced"
{ u A one; u B b1; u A two; u C c; d C; d X; u D ' tab\t \\ \" 中'; } | lines f1
drive <<X
load
marker $S 5
batch $S $D/f1
commit 2
again
taken $S 1
taken $S 2
X
has '^commit ok applied=7 aside=0'
has '^again fenced store.fenced'
has '^taken found=1 n=7 lowest=1'
has '^taken found=0 n=0 lowest=1'
names "A=two B=b1 D= tab	 \\ \" 中"
is "SELECT next_offset FROM gx_read" 2
is "SELECT epoch || ' ' || next_seq || ' ' || src FROM gx_stream" \
	'5 8 {"cdc":"8"}'

STEP="two stores with the same messages: one commits, one is fenced"
{ u A three; d B; } | lines f2
drive <<X
use 0
load
batch $S $D/f2
use 1
load
batch $S $D/f2
commit
use 0
commit
load
X
has '^commit ok applied=2'
has '^commit fenced store.fenced'
has "^load 3"
names "A=three D= tab	 \\ \" 中"

STEP="a stream that is not as given fences, though the offset is"
drive <<X
use 0
load
batch $S $D/f2
use 1
load
marker $S 6
commit 0
use 0
commit
look $S
X
has '^commit ok applied=0'
has '^commit fenced store.fenced'
has "^row $S .* epoch=6 .* next=10 "

STEP="many rows by COPY, with keys repeated and deleted among them"
{ many 1 500 old; many 1 200 new; for i in $(seq 401 500); do
	d "$(printf 'M%04d' "$i")"; done; d A; d D; } | lines f3
take f3
has '^commit ok applied=802 aside=0'
is "SELECT aac003 || count(*) FROM test.insured GROUP BY aac003 ORDER BY 1" \
	"new200 old200"

STEP="an older line never wins"
ask "UPDATE test.insured SET gx_seq = gx_seq + 100000, aac003 = 'later'
	WHERE aac001 = 'M0001'" >/dev/null
{ u M0001 early; u M0002 now; } | lines f4
{ u M0003 now; d M0001; } | lines f5
take f4 f5
is "SELECT aac003 FROM test.insured WHERE aac001 IN ('M0001', 'M0002',
	'M0003') ORDER BY aac001" "later now now"
ask "DELETE FROM test.insured" >/dev/null

STEP="bad lines are set aside, their neighbours pass: few"
ask "ALTER TABLE test.insured ADD CHECK (aac003 <> 'bad')" >/dev/null
{ u G1 g; u G2 ''; u G3 bad; u G4 g
	printf '{"op":"u","k":["G6"],%s,"d":{"aac001":"OTHER","aac003":"x"}}\n' "$T"
	echo 'no line at all'; u G7 g; } | lines f6
take f6
has '^commit ok applied=3 aside=4'
is "SELECT string_agg(aac001, ' ' ORDER BY aac001) FROM test.insured" \
	"G1 G4 G7"
is "SELECT string_agg(key || ' ' || (reasons->0->>'keyword'), ', ' ORDER BY seq)
	FROM gx_quarantine WHERE side = 'sink'" \
	'["G2"] minLength, ["G3"] store, ["G6"] key,  syntax'
is "SELECT convert_from(original, 'UTF8') FROM gx_quarantine WHERE key = ''" \
	'no line at all'

STEP="bad lines among many; the row keeps what came before them"
{ many 1 300 fine
	for i in 7 77 78 277; do u "$(printf 'M%04d' "$i")" bad; done
	u N0001 good; u N0001 bad; d M0300; u M0300 bad; } | lines f7
take f7
has '^commit ok applied=302 aside=6'
is "SELECT count(*) FROM test.insured WHERE aac003 = 'fine'" 299
is "SELECT string_agg(aac003, ' ' ORDER BY aac001) FROM test.insured WHERE
	aac001 IN ('M0007', 'M0300', 'N0001')" "fine good"

STEP="a good line ends what was set aside of its key before"
u M0007 mended | lines f8
take f8
is "SELECT string_agg(state, ' ' ORDER BY key) FROM gx_quarantine WHERE key
	IN ('[\"M0007\"]', '[\"M0077\"]')" "superseded open"

STEP="q keeps the last good row, u and d end the hold"
ask "DELETE FROM test.insured; DELETE FROM gx_quarantine" >/dev/null
{ u A a; u B b; u C c; q A; q B; q Z; } | lines f9
take f9
names "A=a B=b C=c"
is "SELECT string_agg(key, ' ' ORDER BY key) FROM gx_held" '["A"] ["B"] ["Z"]'
{ u A a2; d B; } | lines f10
take f10
names "A=a2 C=c"
is "SELECT string_agg(key, ' ') FROM gx_held" '["Z"]'

STEP="a full reading deletes what it did not name, but no key on hold"
ask "INSERT INTO test.insured (aac001, aac003, gx_origin, gx_key, gx_stream,
	gx_epoch, gx_seq) VALUES ('F', 'f', '/t/org/other', '[\"F\"]',
	'/t/org/other/test.insured/0', 1, 1)" >/dev/null
{ u B b; u H h; u I i; } | lines f11
{ s; u A a3; q H; } | lines f12
{ u C c3; e; u J j; } | lines f13
take f11
take f12
names "A=a3 B=b C=c F=f H=h I=i"
is "SELECT reading_at IS NOT NULL FROM gx_stream" t
take f13
names "A=a3 C=c3 F=f H=h J=j"
is "SELECT reading_at IS NULL FROM gx_stream" t
STEP="a hold that the next reading does not renew is over, with its row"
{ s; u A a3; u C c3; u J j; e; } | lines f14
take f14
names "A=a3 C=c3 F=f J=j"
is "SELECT count(*) FROM gx_held" 0
STEP="e in the middle of a transaction sees only what came before it"
{ s; u A a4; e; u K k; } | lines f15
q C | lines f16
take f15 f16
names "A=a4 F=f K=k"
STEP="e without s deletes nothing"
e | lines f17
take f17
names "A=a4 F=f K=k"

STEP="the guard: nothing changes; the end of its stop accepts one e"
many 1 200 g | lines g1
{ s; u A a5; e; } | lines g2
take g1
before=$(digest)
drive --guard 20 10 <<X
load
batch $S $D/g2
commit
X
has '^commit reject guard.mass_delete'
[ "$before" = "$(digest)" ] || fail "a guarded commit changed something"
drive --guard 20 10 <<X
load
stop $S 9 guard.mass_delete
commit
load
touch $S
batch $S $D/g2
commit
load
batch $S $D/g2
commit
load
unstop $S
batch $S $D/g2
commit
load
batch $S $D/g1
commit
load
batch $S $D/g2
commit
X
has "^row $S .* stopped=9 why=guard.mass_delete"
[ "$(grep -c '^commit ok' "$D/out")" = 3 ] || fail "accepted"
[ "$(grep -c '^commit fenced' "$D/out")" = 1 ] || fail "no operator said so"
[ "$(grep -c '^commit reject guard' "$D/out")" = 2 ] || fail "for one e only"
is "SELECT count(*) FROM test.insured WHERE gx_stream = '$S'" 201

STEP="a next generation: its rows win, at e the old ones go"
{ s; u M0001 gen1; u NEW n; } | lines r1
e | lines r2
drive <<X
load
marker $S.1 9
batch $S.1 $D/r1
commit
X
is "SELECT aac003 || gx_seq FROM test.insured WHERE aac001 = 'M0001'" gen12
STREAM=$S.1 take r2
is "SELECT string_agg(aac001, ' ' ORDER BY aac001) FROM test.insured
	WHERE gx_origin = '/t/org/soc'" "M0001 NEW"

STEP="quarantine at the source: twice is once"
ask "DELETE FROM gx_quarantine" >/dev/null
drive <<X
aside $S p1 10 ["A"]
aside $S p2 11 -
X
UPTO=$(sed -n '1s/.*upto=//p' "$D/out")
before=$(digest)
drive <<X
aside $S p1 10 ["A"]
aside $S p2 11 -
X
[ "$before" = "$(digest)" ] || fail "twice changed something"
is "SELECT encode(original, 'hex') || key FROM gx_quarantine WHERE pos = 'p1'" \
	'6100ff5c2262["A"]'
STEP="settle forgets exactly the unreleased at or above"
drive <<X
released f
aside $S p1 10 ["A"]
release f {"lsn":"0/1"} $UPTO
released f
aside ${S%0}1 p9 11 -
aside $S p3 12 -
settle $S 12
X
has '^released \[\]'
has '^released \[\{"lsn":"0/1"\}\]'
is "SELECT string_agg(pos || is_released, ' ' ORDER BY pos) FROM gx_quarantine" \
	"p1true p2false p9false"
before=$(digest)
drive <<<"settle $S 12"
[ "$before" = "$(digest)" ] || fail "settling twice changed something"
drive <<<"settle $S 1"
is "SELECT string_agg(pos, ' ' ORDER BY pos) FROM gx_quarantine" "p1 p9"
STEP="a zombie forgets nothing of the new owner, and takes no row from it"
drive <<X
aside $S z1 20 ["A"] 5
aside $S z2 21 ["B"] 6
aside $S z3 22 ["C"] 5
aside $S z3 23 ["C"] 6
X
before=$(digest)
drive <<X
aside $S z2 99 ["B"] 5
aside $S z3 99 ["C"] 5
X
[ "$before" = "$(digest)" ] || fail "a zombie took a row over"
drive <<X
settle $S 20 5
settle $S 20 5
X
is "SELECT string_agg(pos || seq || epoch, ' ' ORDER BY pos) FROM gx_quarantine
	WHERE pos LIKE 'z%'" "z2216 z3236"
STEP="control: the owner's own word forgets them"
drive <<<"settle $S 20 6"
is "SELECT count(*) FROM gx_quarantine WHERE pos LIKE 'z%'" 0
STEP="a released row is nobody's to change"
before=$(digest)
drive <<<"aside $S p1 99 [\"A\"] 9"
[ "$before" = "$(digest)" ] || fail "a released row was taken over"
STEP="a zombie takes no release back and covers no row"
drive <<X
release f {"lsn":"0/9"} 0 6
aside $S y1 30 ["A"] 6
X
before=$(digest)
drive <<X
aside $S y1 30 ["A"] 5
release f {"lsn":"0/8"} 999999999 5
released f
X
has '^release fenced writer.fenced'
has '^released \[\{"lsn":"0/9"\}\]'
[ "$before" = "$(digest)" ] || fail "a zombie's release changed something"
drive <<X
aside $S y1 30 ["A"] 6
release f {"lsn":"0/A"} 999999999 6
X
is "SELECT is_released FROM gx_quarantine WHERE pos = 'y1'" t
ask "DELETE FROM gx_quarantine WHERE pos = 'y1'" >/dev/null
STEP="the ceiling of the quarantine: repeats pass, more does not"
before=$(digest)
drive --max-rows 1 <<X
aside $S p1 10 ["A"]
aside $S p4 13 -
X
has '^aside ok'
has '^aside again quarantine.full'
[ "$before" = "$(digest)" ] || fail "past the ceiling"

STEP="cut before COMMIT is carried out: AGAIN, nothing happened"
ask "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN
	PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END \$\$;
CREATE CONSTRAINT TRIGGER cut AFTER INSERT ON gx_batch
	DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION cut()" \
	>/dev/null
before=$(digest)
drive <<X
load
batch $S.1 $D/f3
commit
load
X
has '^commit again pg.away'
has '^load'
[ "$before" = "$(digest)" ] || fail "half a commit"
ask "DROP TRIGGER cut ON gx_batch" >/dev/null

STEP="cut between COMMIT and its answer: AGAIN, and all of it happened"
mkdir "$D/proxy"
python3 - "$D/proxy/.s.PGSQL.5432" "$D/.s.PGSQL.5432" <<'X' &
"""Passes one session on; what answers a COMMIT is cut off."""
import os
import select
import socket
import sys

listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o777)
listener.listen(1)
client, _ = listener.accept()
server = socket.socket(socket.AF_UNIX)
server.connect(sys.argv[2])
is_cut = is_first = False
while True:
    for s in select.select([client, server], [], [])[0]:
        data = s.recv(65536)
        if s is client and b"gx_read" in data:
            is_first = True
        if not data or (s is server and is_cut):
            sys.exit(0)
        is_cut = is_first and s is client and b"COMMIT\0" in data
        (server if s is client else client).sendall(data)
X
PROXY=$!
wait_until 10 test -S "$D/proxy/.s.PGSQL.5432"
u CUT c | lines c1
VIA=$D/proxy drive <<X
load
batch $S.1 $D/c1
commit
X
has '^commit again pg.away'
is "SELECT aac003 FROM test.insured WHERE aac001 = 'CUT'" c
before=$(digest)

STEP="an outage is AGAIN; nothing is lost"
as_pg "$PGBIN/pg_ctl" -D "$D/data" -m immediate -w stop >/dev/null
drive <<<"look $S.1"
has '^look again pg.away'
start_pg
[ "$before" = "$(digest)" ] || fail "something was lost"
STREAM=$S.1 take f8

STEP="a column more is added, another type is a stop"
sed -i 's/"note": {/"extra": {"type": "string", "x-gx-item": {"type": "C", \
	"length": 9, "share": 2, "level": 2}}, "note": {/' "$D/insured.json"
u WIDE w ',"extra":"x"' | lines w1
STREAM=$S.1 take w1
is "SELECT extra FROM test.insured WHERE aac001 = 'WIDE'" x
ask "ALTER TABLE test.insured ALTER extra TYPE integer USING NULL" >/dev/null
drive <<X
load
batch $S.1 $D/w1
commit
X
has '^commit fatal store.table column extra'
echo "all of d10 passed"
