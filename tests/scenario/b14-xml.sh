#!/bin/sh
# b14: Every project of a department's XML document is printed or refused by
# number, and a document that cannot be trusted prints nothing at all.
#
# xml_corpus.py holds the cases, good ones beside bad ones.
set -u
cd "$(dirname "$0")/../.." || exit 1

GXBUS=${GXBUS:-build/gxbus}
fail() {
	echo "FAILED: $*"
	exit 1
}

[ -x "$GXBUS" ] || make -s build/gxbus >/dev/null || fail "gxbus"
python3 tests/scenario/xml_corpus.py "$GXBUS" || fail "xml_corpus.py"

# Other words belong to other kinds of input.
"$GXBUS" adapter preview --type none >/dev/null 2>&1 </dev/null
[ $? -eq 2 ] || fail "an unknown type"
"$GXBUS" help adapter preview | grep -q "^  .*--type xml" || fail "help"
echo "XML: good"
