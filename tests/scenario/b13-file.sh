#!/bin/sh
# b13: Every row of a department's file is printed or refused by its line, and
# a file whose frame cannot be trusted prints nothing at all.
#
# file_corpus.py holds the cases, good ones beside bad ones.
set -u
cd "$(dirname "$0")/../.." || exit 1

GXBUS=${GXBUS:-build/gxbus}
fail() {
	echo "FAILED: $*"
	exit 1
}

[ -x "$GXBUS" ] || make -s build/gxbus >/dev/null || fail "gxbus"
python3 tests/scenario/file_corpus.py "$GXBUS" || fail "file_corpus.py"
"$GXBUS" help adapter preview | grep -q "^  .*--type file" || fail "help"
echo "files: good"
