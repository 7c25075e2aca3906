#!/bin/bash
# The sink beside psql that replays the same rows: COPY into a temporary table
# and one sorted upsert per 10,000 rows.  One private PostgreSQL, fsync on; the
# rows are written for the first time, then twice more over themselves.
set -eu
export GX_LOCAL_DIR=${TMPDIR:-/var/tmp}/gxbus-bench-sink.$$/d
mkdir -p "${GX_LOCAL_DIR%/d}"
trap 'conf/local/ctl clean; rm -rf "${GX_LOCAL_DIR%/d}"' EXIT
conf/local/ctl start postgres
port=$(awk '$1 == "postgres" { print $2 }' "$GX_LOCAL_DIR/ports")
pg="host=127.0.0.1 port=$port dbname=gx_hub user=gx_hub
	password=$(cat "$GX_LOCAL_DIR/secret/gx_hub")"
psql() {
	command psql -qAtX -v ON_ERROR_STOP=1 -d "$pg" "$@"
}
for f in schemas/sql/*.sql; do
	psql -f "$f"
done
batches=${BATCHES:-100}
chunk=10000
work=$(mktemp -d)

sink() { # ROUND
	"$OUT/bench/bench_sink" "$pg" schemas/resources/social/insured.json \
		"$batches" "$1"
}
sink 1 >"$work/sink.1"
psql -c 'CREATE TABLE replayed (LIKE social.insured INCLUDING ALL)'
columns=$(psql -c "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum)
	FROM pg_attribute WHERE attrelid = 'replayed'::regclass AND attnum > 0")
sets=$(psql -c "SELECT string_agg(format('%1\$I = excluded.%1\$I', attname), ', ')
	FROM pg_attribute WHERE attrelid = 'replayed'::regclass AND attnum > 0")
replay() { # ROUND: what the sink wrote in that round
	local f
	rm -f "$work"/part.*
	psql -c 'COPY (SELECT * FROM social.insured ORDER BY gx_seq) TO STDOUT' |
		split -l $chunk - "$work/part."
	{
		echo "CREATE TEMP TABLE t (LIKE replayed) ON COMMIT DELETE ROWS;"
		for f in "$work"/part.*; do
			echo "BEGIN; COPY t FROM STDIN;"
			cat "$f"
			echo '\.'
			echo "INSERT INTO replayed ($columns) SELECT $columns FROM t
				ORDER BY gx_origin, gx_key ON CONFLICT (gx_origin, gx_key)
				DO UPDATE SET $sets; COMMIT;"
		done
	} >"$work/script"
	local from
	from=$(date +%s%N)
	psql -f "$work/script"
	echo "$((batches * 1000)) 0 $((($(date +%s%N) - from) / 1000))" \
		>"$work/psql.$1"
}
replay 1
for round in 2 3; do
	sink $round >"$work/sink.$round"
	replay $round
done
[ "$(psql -c 'SELECT count(*) FROM replayed')" = \
	"$(psql -c 'SELECT count(*) FROM social.insured')" ] ||
	{ echo "the replay wrote other rows" >&2; exit 1; }
python3 - "$work" <<'PY'
import sys
rate = {}
for who in ("sink", "psql"):
    for k in "123":
        n, cpu, wall = open(f"{sys.argv[1]}/{who}.{k}").read().split()
        rate[who, k] = int(n) / int(wall) * 1e6
        more = f", {int(cpu) / int(n):.2f} us CPU per record of its own"
        print(f"{who} round {k}: {rate[who, k]:9.0f} records/s"
              + (more if who == "sink" else ""))
for k, what in (("1", "new rows"), ("2", "over themselves"), ("3", "again")):
    print(f"ratio sink/psql {rate['sink', k] / rate['psql', k]:.2f}"
          f" (aim >= 0.85) {what}")
PY
rm -rf "$work"
