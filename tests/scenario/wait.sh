# Waiting, for all scenarios: here is the one place that sleeps.
#
#	wait_until 30 heads_equal       # asks until it holds; else fail
#
# The scenario has a function fail, and may have in_vain, which shows more
# before it.  A second of a deadline counts only as far as the machine had it
# for us: where three times as many processes want to run as there are cores,
# it takes three.  So a deadline says how long something may take on a machine
# that has time, and other work beside the tests makes no test fail.

# What a second is worth now: 100, and the more the busier all cores are.
busy_percent() {
	awk -v cores="$(nproc)" '{
		p = int(100 * $1 / cores)
		print (p < 100 ? 100 : (p > 600 ? 600 : p))
	}' /proc/loadavg
}

# stretched NUMBER: a limit for a time that was measured here and now
stretched() {
	echo $(($1 * $(busy_percent) / 100))
}

wait_until() { # SECONDS COMMAND...
	local left=$(($1 * 1000)) at now
	shift
	at=$(date +%s%3N)
	until "$@" >/dev/null 2>&1; do
		now=$(date +%s%3N)
		left=$((left - (now - at) * 100 / $(busy_percent)))
		at=$now
		if [ "$left" -le 0 ]; then
			! command -v in_vain >/dev/null || in_vain
			fail "waited in vain for: $*"
		fi
		sleep 0.1
	done
}
