#!/bin/bash
# b10: Every case of the published JSON Schema suite (draft 2020-12) that uses
# our keywords agrees with "gxbus schema check"; what is skipped stands in a
# list with its reason, and a line there that skips nothing fails.
set -u
cd "$(dirname "$0")/../.." || exit 1
GXBUS=${GXBUS:-build/gxbus}
SUITE=jsonschema==4.26.0 # its source archive carries the suite
D=build/schema-suite
mkdir -p "$D"

fail() {
	echo "FAIL: $*"
	exit 1
}

[ -x "$GXBUS" ] || fail "$GXBUS is not built"
if [ ! -d "$D/tests" ]; then
	python3 -m pip download "$SUITE" --no-deps --no-binary :all: \
		--no-build-isolation -q -d "$D" >"$D/log" 2>&1 ||
		python3 -m pip download "$SUITE" --no-deps --no-binary :all: \
			-q -d "$D" >>"$D/log" 2>&1
	tar xzf "$D"/jsonschema-4.26.0.tar.gz -C "$D" --strip-components=2 \
		--wildcards '*/json/tests/draft2020-12' 2>>"$D/log" || {
		echo "the suite cannot be fetched: no network"
		exit 77
	}
fi
timeout 300 python3 tests/schema_suite.py "$GXBUS" \
	"$D/tests/draft2020-12" tests/schema-suite-skip || fail "suite"

# The control: a wrong answer is seen.
mkdir -p "$D/control"
echo '[{"description":"c","schema":{"type":"null"},"tests":[
 {"description":"t","data":1,"valid":true}]}]' >"$D/control/c.json"
: >"$D/no-skips"
python3 tests/schema_suite.py "$GXBUS" "$D/control" "$D/no-skips" |
	grep -q '^c.json | c | t | False$' || fail "a wrong case passed unseen"
echo ok
