#!/bin/bash
# All measurements, each as a ratio against something measured in the same run.
#
#   tests/bench/run.sh              everything
#   tests/bench/run.sh link sink    only these
#
# Each part is tests/bench/<part>.sh and prints its figures and lines
# "ratio NAME VALUE (aim ...)".  They say what was reached; nothing fails for
# being slow, because the machine's other work would decide it.
set -u
cd "$(dirname "$0")/../.." || exit 1
export OUT=${OUT:-build/obj}

[ $# -gt 0 ] || set -- seal validator file xml link sink latency
rc=0
for part; do
	echo "== $part"
	bash "tests/bench/$part.sh" || {
		echo "bench: $part failed" >&2
		rc=1
	}
done
exit $rc
