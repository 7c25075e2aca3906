#!/bin/bash
# From a department's commit to the hub's row, at 1,000 commits a second, and
# the memory of each daemon under that load.
set -eu
export GX_LOCAL_DIR=${TMPDIR:-/var/tmp}/gxbus-bench-latency.$$/d
mkdir -p "${GX_LOCAL_DIR%/d}"
. conf/local/lib.sh
. conf/local/parts.sh
. conf/local/compare.sh
gxl_places
trap 'conf/local/ctl clean; rm -rf "${GX_LOCAL_DIR%/d}"' EXIT
conf/local/ctl start postgres kafka-city kafka-hub
load_department 20000
printf 'flow social\tguard_percent\t0\n' >"$D/city/conf.local"
conf/local/ctl start hub city link nginx
. "$OUT/env"
until [ "$(db gx_hub -c 'SELECT count(*) FROM social.insured' 2>/dev/null)" \
	= 20000 ]; do
	sleep 0.2
done
BENCH=${BENCH:-build/obj}/bench/bench_latency
for rate in 1 1000; do
	read -r n p50 p90 p99 max reached < <("$BENCH" \
		"$GX_PG_DEPARTMENT" "$GX_PG_HUB" $rate "${SECONDS_EACH:-15}")
	echo "at $reached commits/s: p50 $p50 ms, p90 $p90, p99 $p99," \
		"longest $max ($n probes)"
done
echo "ratio p50/aim $(awk -v p="$p50" 'BEGIN { printf "%.2f", p / 30 }')" \
	"(aim <= 1: 30 ms at 1,000 records/s)"
for part in city link hub; do
	is_running $part
	awk -v p=$part '/VmHWM|VmRSS/ { printf "%s %s %d MiB\n", p, $1,
		$2 / 1024 }' "/proc/$PID/status"
done
