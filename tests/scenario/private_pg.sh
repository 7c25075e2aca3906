# A private PostgreSQL on a socket in the folder $D, ended with the scenario.
# For scenarios that want a server and nothing of conf/local.
#
#	D=$(mktemp -d ...); fail() { ...; }      # of the scenario
#	. tests/scenario/private_pg.sh
#	make_pg "wal_level = logical"            # and what else its settings are
#
# The servers refuse to run as root: as root it runs as the user postgres.
# pg_end ends it and removes $D; start_pg starts it again after a stop.

PGBIN=$(find /usr/lib/postgresql -name initdb 2>/dev/null | sort -V | tail -n 1)
PGBIN=${PGBIN%/initdb}
# Not Debian's psql, which is a script that looks for this one.
PATH=$PGBIN:$PATH
[ -n "$PGBIN" ] || { echo "PostgreSQL's server programs are missing"; exit 77; }

as_pg() {
	if [ "$(id -u)" = 0 ]; then
		setpriv --reuid=postgres --regid=postgres --init-groups "$@"
	else
		"$@"
	fi
}
pg_end() {
	as_pg "$PGBIN/pg_ctl" -D "$D/data" -m immediate -w stop >/dev/null 2>&1
	rm -rf "$D"
}
start_pg() {
	as_pg "$PGBIN/pg_ctl" -D "$D/data" -l "$D/data/log" -w start \
		>/dev/null || fail "PostgreSQL does not start"
}
# make_pg SETTINGS: a new cluster, started
make_pg() {
	chmod 755 "$D"
	mkdir "$D/data"
	[ "$(id -u)" != 0 ] || chown postgres "$D/data" "$D"
	as_pg "$PGBIN/initdb" -D "$D/data" -A trust -U postgres --no-sync \
		>/dev/null || fail "initdb"
	printf "listen_addresses = ''\nunix_socket_directories = '%s'\n%s\n" \
		"$D" "$1" >>"$D/data/postgresql.conf"
	start_pg
}
