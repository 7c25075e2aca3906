#!/bin/bash
# From a department's commit to the hub's row, at 1,000 commits a second, and
# the memory of each daemon under that load.
. "$(dirname "$0")/../scenario/lib.sh"
has_all() {
	[ "$(ask gx_hub 'SELECT count(*) FROM social.insured')" = 20000 ]
}
lab bench-latency
start_pg
start_brokers city hub
put 20000
# set_conf wants the folder of the daemon; the guard would stop the load.
set_conf city "flow social" guard_percent 0
start_gxbusd hub city link nginx
wait_until 60 has_all
. "$OUT/env"
for rate in 1 1000; do
	read -r n p50 p90 p99 max reached < <(
		build/obj/bench/bench_latency "$GX_PG_DEPARTMENT" \
			"$GX_PG_HUB" $rate "${SECONDS_EACH:-15}")
	[ -n "${reached:-}" ] || fail "no figures at $rate commits/s"
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
