#!/bin/bash
# e40: A second table of the department gets to the hub by the steps of
# docs/adapter.md 0: resource at the hub first, then at the city, then the
# flow.  What the first flow delivers is untouched, and both are compared.
. "$(dirname "$0")/lib.sh"
lab e40

walking 200

step "the department's second table, with one bad row"
sql hrss "CREATE TABLE public.ac02 (id text PRIMARY KEY, n integer);
INSERT INTO public.ac02 SELECT 'p' || i, i FROM generate_series(1, 50) i;
INSERT INTO public.ac02 VALUES ('p51', 1000);
GRANT SELECT ON public.ac02 TO gx_reader;
CREATE PUBLICATION gx_second FOR TABLE public.ac02 WITH (publish =
	'insert, update, delete, truncate', publish_via_partition_root = true)"

step "its resource"
mkdir -p "$D/more"
cp -r schemas/resources/social schemas/resources/gx "$D/more/"
cat >"$D/more/social/second.json" <<'JSON'
{"title": "second", "type": "object", "additionalProperties": false,
 "required": ["id", "n"],
 "properties": {
  "id": {"type": "string", "maxLength": 10, "x-gx-item": {"type": "C", "share": 1, "level": 1}},
  "n": {"type": "integer", "minimum": 0, "maximum": 100,
        "x-gx-item": {"type": "I", "share": 1, "level": 1}}},
 "x-gx-resource": {"name": "social.second", "version": 1, "key": ["id"]}}
JSON
chmod -R a+rX "$D/more"
"$GXBUS" resource check "$D/more/social/second.json" >"$D/o" ||
	fail "resource check"
grep -q '^resource  social.second$' "$D/o" || fail "$(cat "$D/o")"

# local_conf PART ROW...: its conf.local, "section key value" with commas
local_conf() {
	local part=$1
	shift
	printf '%s\n' "$@" | tr ',' '\t' >"$D/$part/conf.local"
}
cat >"$D/city/second.json" <<'JSON'
{"name": "second", "org": "hrss", "kind": "pg-cdc",
 "connection": {"conninfo": "CONN", "passfile": "social.pass"},
 "slot": "gx_second", "publication": "gx_second",
 "tables": [{"table": "public.ac02", "resource": "social.second", "map": [
  {"item": "id", "column": "id"},
  {"item": "n", "column": "n", "convert": "integer"}]}]}
JSON
sed -i "s|CONN|host=127.0.0.1 port=$(P postgres) dbname=hrss user=gx_reader|" \
	"$D/city/second.json"
give "$D/city/second.json" 640

second() {
	db "$1" -c 'SELECT id, n FROM social.second ORDER BY 1' | sha256sum
}
second_equal() {
	[ "$(second gx_city 2>/dev/null)" = "$(db hrss -c "SELECT id, n
FROM public.ac02 WHERE n <= 100 ORDER BY 1" | sha256sum)" ] &&
		[ "$(second gx_city)" = "$(second gx_hub 2>/dev/null)" ]
}

step "the flow at the city, where only the city knows the resource"
local_conf city "node,resources,$D/more"
printf 'node\tflows\tsocial, sink, second\nflow second\tkind\tsource\n' \
	>>"$D/city/conf.local"
printf 'flow second\tadapter\t%s\n' "$D/city/second.json" \
	>>"$D/city/conf.local"
stop_part city
start_gxbusd city
S=/450100/hrss/second/social.second/0
waits_at_hub() {
	[ "$(ask gx_hub "SELECT why FROM gx_stream WHERE stream = '$S'")" = \
		stream.wait_schema ]
}
wait_until 30 waits_at_hub
cli hub stream show $S >"$D/o" || fail "stream show"
grep -qE '^code +stream.wait_schema' "$D/o" || fail "$(cat "$D/o")"

step "the resource at the hub: the stream goes on"
local_conf hub "node,resources,$D/more"
stop_part hub
start_gxbusd hub
wait_until 40 second_equal
[ "$(db gx_hub -c 'SELECT count(*) FROM social.second')" = 50 ] ||
	fail "not 50 rows"

step "the checks that the page names"
cli city flow show second >"$D/o" || fail "flow show"
grep -qE '^state +running' "$D/o" || fail "$(cat "$D/o")"
ends_equal() {
	cli city stream list -o json >"$D/o" && python3 - "$D/o" "$S" <<'PY'
import json, sys
rows = {i["stream"]: i["ends"] for i in json.load(open(sys.argv[1]))["items"]}
sys.exit(rows.get(sys.argv[2]) != "equal")
PY
}
wait_until 20 ends_equal
cli hub reconcile run social.second >"$D/o" || fail "reconcile: $(cat "$D/o")"
cli city quarantine list --stream $S -o json >"$D/o" || fail "quarantine"
[ "$(grep -o '"maximum"' "$D/o" | wc -l)" = 1 ] || fail "$(cat "$D/o")"

step "the first resource is compared by itself"
put 20 5001
wait_until 30 heads_equal
wait_until 30 same_set

quiet_logs ' stream\.wait_schema '
passed
