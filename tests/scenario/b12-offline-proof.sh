#!/bin/sh
# b12: A stranger with a tree, a proof, a signature or a code gets the right
# answer without a node: yes with 0, no with 10, not a claim at all with 5.
#
# offline_proofs.py computes trees and proofs from the definitions, corrupts
# them and asks; what holds is asked in the same run.
set -u
cd "$(dirname "$0")/../.." || exit 1

GXBUS=${GXBUS:-build/gxbus}
fail() {
	echo "FAILED: $*"
	exit 1
}

[ -x "$GXBUS" ] || make -s build/gxbus >/dev/null || fail "gxbus"
D=$(mktemp -d /tmp/gx-b12.XXXXXX) || exit 1
trap 'rm -rf "$D"' EXIT
trap 'exit 1' INT TERM

python3 tests/scenario/offline_proofs.py "$GXBUS" || fail "offline_proofs.py"

# A file instead of standard input, and a file that is not there.
printf abc >"$D/abc"
want=66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0
[ "$("$GXBUS" crypto sm3 "$D/abc" </dev/null)" = "$want" ] || fail "file"
[ "$("$GXBUS" crypto sm3 <"$D/abc")" = "$want" ] || fail "standard input"
"$GXBUS" crypto sm3 "$D/none" >"$D/out" 2>"$D/err"
[ $? -eq 3 ] && [ ! -s "$D/out" ] && grep -q GX7007 "$D/err" || fail "no file"
"$GXBUS" crypto sm3 "$D" >"$D/out" 2>"$D/err"
[ $? -eq 1 ] && [ ! -s "$D/out" ] || fail "a folder"

# What stands in the input stands in no error.
printf 'personal-data\n' >"$D/in"
"$GXBUS" evidence root --hash sm3 "$D/in" >"$D/out" 2>"$D/err"
[ $? -eq 5 ] && [ ! -s "$D/out" ] && [ -s "$D/err" ] || fail "no hex"
! grep -q personal "$D/err" || fail "input in an error"
grep -q personal "$D/in" || fail "the control"

# Each command has help with an example of itself.
for c in 'evidence root' 'evidence check-inclusion' \
	'evidence check-consistency' 'crypto sm3' 'crypto hmac-sm3' \
	'crypto sm2-verify'; do
	# shellcheck disable=SC2086
	"$GXBUS" help $c | grep -q "^  .*gxbus $c" || fail "help $c"
	# shellcheck disable=SC2086
	"$GXBUS" $c --help | grep -q "^  .*gxbus $c" || fail "$c --help"
done
echo "offline proofs: good"
