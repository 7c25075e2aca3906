# Private servers for one checkout: where they live, as whom they run, how they
# start and end.  Sourced by ctl and demo, and by tests/scenario/lib.sh, which
# gives each scenario servers of its own by setting GX_LOCAL_DIR.
#
# Names: D data folder, R run folder (sockets, pids), P(part) its port.  A part
# is one of GXL_PARTS: four nodes, of which the cities and the hub are two
# daemons each (city and link), their brokers, one PostgreSQL and one nginx.
#
# Servers never run as root.  Started by root, they run as the system user
# gxbus (made here) and everything lies in /var/lib/gxbus-local/<checkout>;
# else as the caller, in build/demo.  Programs, declarations and jars are put
# where that user may read them.
#
# A process is known by its pid and its start time, so that a number which was
# given to another process since is never signalled.  What is made is made
# whole (a temporary name, then rename), so a start that was interrupted is
# done again by the next one.

GXL_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
GXL_HERE=$GXL_ROOT/conf/local
GXL_NODES="national hub city city2"
GXL_PARTS="postgres kafka-city kafka-hub kafka-city2 kafka-national"
GXL_PARTS="$GXL_PARTS national hub city link city2 link2 link-hub nginx"
GXL_DAEMONS="city link city2 link2 hub link-hub national"
GXL_PORTS="postgres kafka-city kafka-city-controller kafka-hub
	kafka-hub-controller nginx-city nginx-hub kafka-city2
	kafka-city2-controller kafka-national kafka-national-controller
	nginx-city2 nginx-national"
GXL_CITY=450100
GXL_CITY2=450200
GXL_HUB=450000
GXL_NATIONAL=national

die() {
	echo "${0##*/}: $*" >&2
	exit 1
}

# ---- places and users ----

gxl_places() {
	local id
	id=$(printf %s "$GXL_ROOT" | sha256sum | cut -c 1-12)
	if [ "$(id -u)" = 0 ]; then
		GXL_USER=${GX_LOCAL_USER:-gxbus}
	else
		GXL_USER=$(id -un)
	fi
	if [ -n "${GX_LOCAL_DIR:-}" ]; then
		D=$GX_LOCAL_DIR
		OUT=$D/out
	else
		OUT=$GXL_ROOT/build/demo
		D=$OUT
		[ "$(id -u)" != 0 ] || D=/var/lib/gxbus-local/$id
	fi
	# The path of a socket has at most 107 bytes.
	R=$D/run
	[ ${#R} -le 80 ] || R=/tmp/gxbus-$(id -u)-$(printf %s "$D" |
		sha256sum | cut -c 1-12)
	PG_BIN=$(find /usr/lib/postgresql -path '*/1[5-9]/bin/initdb' 2>/dev/null |
		sort -V | tail -n 1)
	PG_BIN=${PG_BIN%/initdb}
	# The psql on Debian's PATH is a script that looks for this one, eight
	# times as slow.
	[ -z "$PG_BIN" ] || PATH=$PG_BIN:$PATH
	GXL_ENV=(HOME="$D" PATH="$PATH" LANG=C.UTF-8 TZ=Asia/Shanghai
		TMPDIR=/tmp)
}

# as_server COMMAND...: as the servers' user, in the data folder
as_server() {
	(
		cd "$D" || exit 1
		if [ "$(id -u)" = 0 ]; then
			exec setpriv --reuid="$GXL_USER" --regid="$GXL_USER" \
				--clear-groups --inh-caps=-all \
				env -i "${GXL_ENV[@]}" "$@"
		fi
		exec env -i "${GXL_ENV[@]}" "$@"
	)
}

make_user() {
	[ "$(id -u)" = 0 ] || return 0
	mkdir -p -m 755 /var/lib/gxbus-local
	id "$GXL_USER" >/dev/null 2>&1 && return 0
	(
		flock -w 60 9 || exit 1
		id "$GXL_USER" >/dev/null 2>&1 ||
			useradd --system --user-group --no-create-home \
				--home-dir /nonexistent \
				--shell /usr/sbin/nologin "$GXL_USER"
	) 9>/var/lib/gxbus-local/lock || die "cannot make the user $GXL_USER"
}

# make_folder MODE PATH: ours (the servers'), not through another's link
make_folder() {
	[ -d "$2" ] || mkdir -p "$2" || die "cannot make $2"
	[ ! -L "$2" ] || die "$2 is a symbolic link"
	chmod "$1" "$2"
	[ "$(id -u)" != 0 ] || chown "$GXL_USER:$GXL_USER" "$2"
}

make_folders() {
	local f
	[ "$(id -u)" != 0 ] || mkdir -p -m 755 "$(dirname "$D")"
	make_folder 750 "$D"
	make_folder 750 "$R"
	for f in bin log nginx pg link link2 link-hub $GXL_NODES \
		$(printf 'kafka-%s ' $GXL_NODES); do
		make_folder 750 "$D/$f"
	done
	make_folder 700 "$D/secret"
	make_folder 700 "$D/pki"
	mkdir -p "$OUT"
}

# ---- ports ----

P() {
	local name port
	while read -r name port; do
		[ "$name" != "$1" ] || echo "$port"
	done <"$D/ports"
}

port_is_free() {
	! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# Ports are written down once.  They change only when nothing of ours runs and
# somebody else took one of them meanwhile.
settle_ports() {
	local name port
	if [ -s "$D/ports" ]; then
		for part in $GXL_PARTS; do
			! is_running "$part" || return 0
		done
		while read -r name port; do
			port_is_free "$port" || name=taken
			[ "$name" != taken ] || break
		done <"$D/ports"
		[ "${name:-}" = taken ] || return 0
	fi
	# shellcheck disable=SC2086
	"$GXL_HERE/ports" "$D" $GXL_PORTS >"$D/ports.new" ||
		die "no free ports"
	mv "$D/ports.new" "$D/ports"
}

# ---- processes ----

# read_stat PID: its state in STAT[0], its start time in STAT[19]; no other
# process is started for it, as it is asked often.
read_stat() {
	local line
	read -r line 2>/dev/null <"/proc/$1/stat" || return 1
	read -ra STAT <<<"${line##*) }"
}

start_time() {
	! read_stat "$1" || echo "${STAT[19]}"
}

# is_running PART: and its pid in PID
is_running() {
	local at
	PID=
	[ -r "$R/$1.pid" ] || return 1
	read -r PID at <"$R/$1.pid" 2>/dev/null || return 1
	[ -n "$at" ] && read_stat "$PID" && [ "${STAT[19]}" = "$at" ] &&
		[ "${STAT[0]}" != Z ]
}

# spawn PART COMMAND...: in the background, as the servers' user; what it
# prints is added to log/PART.log, and LOG_FROM is where that begins.
spawn() {
	local part=$1 log=$D/log/$1.log pid
	shift
	touch "$log"
	LOG_FROM=$(($(stat -c %s "$log") + 1))
	(
		exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
		cd "$D" || exit 1
		if [ "$(id -u)" = 0 ]; then
			exec setsid setpriv --reuid="$GXL_USER" \
				--regid="$GXL_USER" --clear-groups \
				--inh-caps=-all env -i "${GXL_ENV[@]}" "$@"
		fi
		exec setsid env -i "${GXL_ENV[@]}" "$@"
	) </dev/null >>"$log" 2>&1 &
	pid=$!
	disown "$pid" 2>/dev/null
	echo "$pid $(start_time "$pid")" >"$R/$part.pid.new"
	mv "$R/$part.pid.new" "$R/$part.pid"
}

# What PART printed since its last spawn.
log_since() {
	tail -c "+$LOG_FROM" "$D/log/$1.log"
}

log_has() {
	log_since "$1" | grep -q -- "$2"
}

# wait_ready PART SECONDS COMMAND...: until COMMAND is true
wait_ready() {
	local part=$1 until=$(($(date +%s) + $2))
	shift 2
	while ! "$@" >/dev/null 2>&1; do
		if ! is_running "$part"; then
			show_trouble "$part" "ended while it started"
			return 1
		elif [ "$(date +%s)" -ge "$until" ]; then
			show_trouble "$part" "is not ready in time"
			return 1
		fi
		sleep 0.05
	done
}

show_trouble() {
	echo "$1 $2; the end of $D/log/$1.log:" >&2
	log_since "$1" | tail -n 15 | sed 's/^/    /' >&2
}

# end_part PART SIGNAL SECONDS: ask, wait, and make sure
end_part() {
	local until=$(($(date +%s) + $3))
	is_running "$1" || {
		rm -f "$R/$1.pid"
		return 0
	}
	kill "-$2" "$PID" 2>/dev/null
	while is_running "$1"; do
		if [ "$(date +%s)" -ge "$until" ]; then
			echo "$1 does not end after $3 s: SIGKILL" >&2
			kill -KILL "$PID" 2>/dev/null
			until=$((until + 10))
		fi
		sleep 0.05
	done
	rm -f "$R/$1.pid"
}

# ---- files the servers need ----

# render TEMPLATE TARGET NAME=VALUE...: @NAME@ becomes VALUE
render() {
	local from=$1 to=$2 script= pair
	shift 2
	for pair; do
		script="$script;s|@${pair%%=*}@|${pair#*=}|g"
	done
	sed "${script#;}" "$from" >"$to.new" || die "cannot write $to"
	! grep -q '@[A-Z_]*@' "$to.new" || die "$from: a name without a value"
	give "$to.new" 640
	mv "$to.new" "$to"
}

# give FILE MODE: to the servers' user
give() {
	chmod "$2" "$1"
	[ "$(id -u)" != 0 ] || chown "$GXL_USER:$GXL_USER" "$1"
}

# A password or token of our own, made once.
secret() {
	local file=$D/secret/$1
	if [ ! -s "$file" ]; then
		(umask 077 && head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' \
			>"$file.new")
		give "$file.new" 600
		mv "$file.new" "$file"
	fi
	cat "$file"
}

# pass_file TARGET USER...: libpq's password file
pass_file() {
	local to=$1 user
	shift
	(umask 077 && for user; do
		echo "127.0.0.1:*:*:$user:$(secret "$user")"
	done >"$to.new")
	give "$to.new" 600
	mv "$to.new" "$to"
}

# The jars, where the servers' user may read them: JARS.
find_jars() {
	local from=${XDG_CACHE_HOME:-$HOME/.cache}/gxbus/kafka-4.1.2
	JARS=$from
	[ "$(id -u)" = 0 ] || return 0
	JARS=/var/lib/gxbus-local/kafka-4.1.2
	[ -e "$from/complete" ] && [ ! -e "$JARS/complete" ] || return 0
	(
		flock -w 120 9 || exit 1
		[ ! -e "$JARS/complete" ] || exit 0
		rm -rf "$JARS" "$JARS.new"
		cp -rl "$from" "$JARS.new" 2>/dev/null || {
			rm -rf "$JARS.new"
			cp -r "$from" "$JARS.new" || exit 1
		}
		chmod -R a+rX "$JARS.new"
		mv "$JARS.new" "$JARS"
	) 9>/var/lib/gxbus-local/lock || die "cannot copy Kafka's jars"
}

# Programs and declarations of this checkout, where the servers may read them.
install_files() {
	local f from
	for f in gxbus gxbusd; do
		from=$GXL_ROOT/build/$f
		[ -x "$from" ] || continue
		cmp -s "$from" "$D/bin/$f" || {
			install -m 755 "$from" "$D/bin/$f.new" &&
				mv "$D/bin/$f.new" "$D/bin/$f"
		}
	done
	for f in resources sql; do
		! diff -rq "$GXL_ROOT/schemas/$f" "$D/$f" >/dev/null 2>&1 || continue
		rm -rf "$D/$f.new"
		cp -r "$GXL_ROOT/schemas/$f" "$D/$f.new" || die "no schemas/$f"
		chmod -R a+rX "$D/$f.new"
		rm -rf "${D:?}/$f"
		mv "$D/$f.new" "$D/$f"
	done
}

# Is what runs older than what was built?
is_outdated() {
	! cmp -s "$GXL_ROOT/build/gxbusd" "$D/bin/gxbusd"
}
