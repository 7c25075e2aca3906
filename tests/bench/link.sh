#!/bin/bash
# The link beside a bare relay of the same messages, and beside a relay of
# their lines as single records in transactions of 5,000.  Two real brokers;
# three rounds in turn, medians of CPU per record.
set -eu
export GX_LOCAL_DIR=${TMPDIR:-/var/tmp}/gxbus-bench-link.$$/d
mkdir -p "${GX_LOCAL_DIR%/d}"
trap 'conf/local/ctl clean; rm -rf "${GX_LOCAL_DIR%/d}"' EXIT
conf/local/ctl start kafka-city kafka-hub
port() {
	awk -v n="$1" '$1 == n { print $2 }' "$GX_LOCAL_DIR/ports"
}
from=127.0.0.1:$(port kafka-city)
to=127.0.0.1:$(port kafka-hub)
batches=${BATCHES:-200}
figures=$(mktemp)

for round in 1 2 3; do
	for way in plain check batch record; do
		topic=gx.bench.$way.$round
		"$OUT/bench/bench_link" fill "$from" "$topic" "$batches"
		case $way in
		plain | check)
			line=$("$OUT/bench/bench_link" copy "$from" "$to" \
				"$topic" "$way")
			;;
		*)
			# Make the receiving topics.
			"$OUT/bench/bench_link" fill "$to" "$topic" 0
			"$OUT/bench/bench_link" fill "$to" "$topic.records" 0
			line=$("$OUT/bench/bare_relay" "$way" "$from" "$to" \
				"$topic" "$batches")
			;;
		esac
		echo "$way $line" >>"$figures"
	done
done
python3 - "$figures" <<'PY'
import statistics, sys
cpu, rate = {}, {}
for line in open(sys.argv[1]):
    way, n, us, wall = line.split()
    cpu.setdefault(way, []).append(int(us) / int(n))
    rate.setdefault(way, []).append(int(n) / int(wall) * 1e6)
m = {w: statistics.median(v) for w, v in cpu.items()}
names = {"plain": "link", "check": "link with seals checked",
         "batch": "bare relay, batches", "record": "bare relay, records"}
for w, v in m.items():
    print(f"{names[w]:<26} {v:6.2f} us CPU per record"
          f" {statistics.median(rate[w]):10.0f} records/s")
print(f"ratio link/bare {m['plain'] / m['batch']:.2f} (aim <= 2)")
print(f"ratio link-checked/bare {m['check'] / m['batch']:.2f} (aim <= 3)")
print(f"ratio link-checked/records {m['check'] / m['record']:.2f}"
      " (aim <= 0.25)")
PY
rm -f "$figures"
