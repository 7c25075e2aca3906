#!/bin/bash
# d12: A database that lost the outbox's last rows to a failover, and in which
# a service has spoken since, is found out: nothing that is said under an id
# given twice is passed over in silence.
set -u
cd "$(dirname "$0")/../.." || exit 1

fail() {
	echo "FAILED: $*"
	[ ! -f "$D/out" ] || cat "$D/out"
	exit 1
}
D=$(mktemp -d /tmp/gx-d12.XXXXXX) || exit 1
make -s build/obj/scenario/drive_outbox >/dev/null || fail "drive_outbox"
# shellcheck source=tests/scenario/private_pg.sh
. tests/scenario/private_pg.sh
trap pg_end EXIT
trap 'exit 1' INT TERM
make_pg "fsync = off"
for f in schemas/sql/0*.sql; do
	psql -qAtX -h "$D" -U postgres -d postgres -f "$f" >/dev/null ||
		fail "tables: $f"
done
timeout 60 build/obj/scenario/drive_outbox \
	"host=$D user=postgres dbname=postgres" >"$D/out" 2>&1
# The control: without a failover all are read.
[ "$(grep -c '^read .*before' "$D/out")" = 5 ] || fail "not all were read"
if grep -q '^start ok' "$D/out"; then
	[ "$(grep -c '^read .*after' "$D/out")" = 3 ] ||
		fail "records said after the failover are lost without a word"
else
	grep -q '^start source.restored' "$D/out" || fail "another trouble"
fi
