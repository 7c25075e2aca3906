# A private PostgreSQL on a socket in a folder of its own, for scenarios of the
# PostgreSQL source; drive_src.c stands in for the writer: it settles and
# releases what it was handed over.
#
#	. tests/scenario/src_pg.sh      # from the root of the tree, under set -u
#
# drive runs one life of the source; has, lines and empty look at what it
# handed over.  What fails prints why and ends the scenario with 1.

fail() {
	echo "FAILED: $*"
	exit 1
}

DRIVE=${DRIVE_SRC:-build/obj/scenario/drive_src}
if [ -z "${DRIVE_SRC:-}" ]; then
	make -s build/obj/scenario/drive_src >/dev/null || fail "drive_src"
fi

D=$(mktemp -d /tmp/gx-src.XXXXXX) || exit 1
# shellcheck source=tests/scenario/private_pg.sh
. tests/scenario/private_pg.sh
trap pg_end EXIT
trap 'exit 1' INT TERM
make_pg "wal_level = logical
max_slot_wal_keep_size = '1GB'
fsync = off"

sql() {
	psql -qAtX -v ON_ERROR_STOP=1 -h "$D" -U postgres -d hrss -c "$1" \
		>/dev/null || fail "sql: $1"
}
ask() {
	psql -qAtX -h "$D" -U postgres -d hrss -c "$1"
}
psql -qAtX -h "$D" -U postgres -d postgres -c 'CREATE DATABASE hrss' ||
	fail "database"
sql "CREATE ROLE gx LOGIN REPLICATION; GRANT pg_read_all_stats TO gx;
GRANT CREATE ON DATABASE hrss TO gx;
CREATE TABLE ac01 (aac001 text PRIMARY KEY, aac003 text, aac006 text,
	base numeric, n_months int, note text);
ALTER TABLE ac01 OWNER TO gx;
CREATE TABLE ac08 (aac001 text, aae003 int, amount numeric, extra text);
ALTER TABLE ac08 OWNER TO gx; ALTER TABLE ac08 REPLICA IDENTITY FULL;"

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
		"aac006": {"type": "string", "format": "date",
			"x-gx-item": {"type": "D", "length": 10, "share": 2, "level": 2}},
		"base": {"type": "string", "pattern": "^[0-9]{1,14}\\.[0-9]{2}$",
			"x-gx-item": {"type": "N", "precision": 16, "scale": 2, "share": 2, "level": 2}},
		"n_months": {"type": "integer", "minimum": 0, "maximum": 720,
			"x-gx-item": {"type": "I", "length": 4, "share": 2, "level": 2}},
		"note": {"type": "string",
			"x-gx-item": {"type": "C", "length": 100000, "share": 2, "level": 2}}
	},
	"required": ["aac001", "aac003"],
	"additionalProperties": false
}
X
cat >"$D/paid.json" <<'X'
{
	"$schema": "https://json-schema.org/draft/2020-12/schema",
	"title": "缴费",
	"type": "object",
	"x-gx-resource": {"name": "test.paid", "version": 1,
		"key": ["aac001", "aae003"], "streams": 3, "catalogue": {}},
	"properties": {
		"aac001": {"type": "string", "minLength": 1, "maxLength": 20,
			"x-gx-item": {"type": "C", "length": 20, "share": 2, "level": 2}},
		"aae003": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}$",
			"x-gx-item": {"type": "C", "length": 7, "share": 2, "level": 2}},
		"amount": {"type": "string",
			"x-gx-item": {"type": "N", "precision": 16, "scale": 2, "share": 2, "level": 2}}
	},
	"required": ["aac001", "aae003"],
	"additionalProperties": false
}
X
# decl FILE SLOT [MEMBERS]: a declaration over both tables
decl() {
	cat >"$1" <<X
{"name": "social", "org": "hrss", "kind": "pg-cdc", ${3:-}
 "connection": {"conninfo": "host=$D dbname=hrss user=gx"},
 "slot": "$2", "publication": "gx_social",
 "steal_after": "2s", "reload_quiet": "1s",
 "tables": [
  {"table": "public.ac01", "resource": "test.insured", "map": [
   {"item": "aac001", "column": "aac001"},
   {"item": "aac003", "column": "aac003"},
   {"item": "aac006", "column": "aac006", "convert": "date8"},
   {"item": "base", "column": "base", "convert": "decimal", "scale": 2},
   {"item": "n_months", "column": "n_months", "convert": "integer"},
   {"item": "note", "column": "note"}]},
  {"table": "public.ac08", "resource": "test.paid", "map": [
   {"item": "aac001", "column": "aac001"},
   {"item": "aae003", "column": "aae003", "convert": "month6"},
   {"item": "amount", "column": "amount", "convert": "decimal", "scale": 2}]}
 ]}
X
}
decl "$D/social.json" gx_social

# drive [OPTIONS]: one life of the source, until nothing comes for a while;
# its output is in $D/out
drive() {
	"$DRIVE" --decl "${DECL:-$D/social.json}" --state "$D/state" \
		--resource "$D/insured.json" --resource "$D/paid.json" \
		--idle "$(stretched 600)" "$@" >"$D/out" 2>>"$D/log"
}
has() {
	grep -qE -- "$1" "$D/out" || {
		cut -c1-300 "$D/out"
		tail -n 5 "$D/log"
		fail "$STEP: wanted: $1"
	}
}
lines() { # PATTERN COUNT
	n=$(grep -cE -- "$1" "$D/out")
	[ "$n" = "$2" ] || {
		cut -c1-300 "$D/out" | head -n 20
		fail "$STEP: $n lines of: $1, wanted $2"
	}
}
empty() {
	lines '^[0-9]+ ' 0
	has '^end 0 '
}
# shellcheck source=tests/scenario/wait.sh
. tests/scenario/wait.sh
held() {
	[ "$(ask "SELECT count(active_pid) FROM pg_replication_slots")" = 1 ]
}
