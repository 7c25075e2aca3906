# What each part is: its files, its start, how it is known to be ready.
# Sourced after lib.sh by ctl; everything here may be done again at any time.

# ---- before anything starts ----

# The servers' files were made today, nothing that they are made from has
# changed since that began, and none of them since it ended.
is_prepared() {
	local part dirs=("$D/bin" "$D/pki" "$D/nginx/nginx.conf")
	for part in $GXL_PARTS; do
		case $part in
		postgres | kafka-* | nginx) ;;
		*) dirs+=("$D/$part") ;;
		esac
	done
	[ -s "$OUT/env" ] &&
		[ -n "$(find "$R/prepared" -mmin -1440 2>/dev/null)" ] &&
		[ -z "$(find "$GXL_HERE" "$GXL_ROOT/conf/adapters" \
			"$GXL_ROOT/conf/nginx" "$GXL_ROOT/schemas" \
			"$GXL_ROOT/build/gxbus" "$GXL_ROOT/build/gxbusd" \
			"$D/ports" -follow -newer "$R/preparing" \
			-print -quit 2>&1)" ] &&
		[ -z "$(find "$D" -maxdepth 2 -name conf.local \
			-newer "$R/preparing" -print -quit)" ] &&
		[ -z "$(find "${dirs[@]}" ! -name env \
			-newer "$R/prepared" -print -quit 2>&1)" ]
}

prepare() {
	make_user
	make_folders
	exec 8>"$R/prepare.lock"
	flock -w 120 8 || die "another ctl prepares"
	[ "$(stat -c %U "$D")" = "$GXL_USER" ] || die "$D is not $GXL_USER's"
	settle_ports
	find_jars
	if ! is_prepared; then
		rm -f "$R/prepared"
		touch "$R/preparing"
		install_files
		make_pki
		make_identities
		write_confs
		write_env
		touch "$R/prepared"
	fi
	exec 8>&-
}

# A node's key is made once: a new one would end all its streams.
make_identities() {
	local part id to
	[ -x "$D/bin/gxbus" ] || return 0
	for part in $GXL_NODES; do
		id=$(node_id "$part")
		if [ ! -s "$D/$part/node.key" ]; then
			rm -rf "$D/$part/gxbusd.conf" "$D/$part/trust"
			as_server "$D/bin/gxbus" init --role "${part%2}" --code "$id" \
				--dir "$D/$part" >>"$D/log/init.log" 2>&1 ||
				die "gxbus init failed; see $D/log/init.log"
		fi
	done
	# A node made by an older gxbus init has none.
	for part in $GXL_NODES; do
		[ -s "$D/$part/quarantine.key" ] ||
			as_server sh -c 'umask 077; openssl rand -hex 32 >"$0"' \
				"$D/$part/quarantine.key" || die "no quarantine.key"
	done
	for to in $GXL_NODES; do
		mkdir -p "$D/$to/trust"
		give "$D/$to/trust" 755
		for part in $GXL_NODES; do
			cp "$D/$part/node.key.pub" \
				"$D/$to/trust/$(node_id "$part").pem"
		done
		chmod a+r "$D/$to/trust/"*.pem
	done
}

# node_id NODE
node_id() {
	case $1 in
	city) echo "$GXL_CITY" ;;
	city2) echo "$GXL_CITY2" ;;
	hub) echo "$GXL_HUB" ;;
	national) echo "$GXL_NATIONAL" ;;
	esac
}

# write_conf PART TEMPLATE NODE NAME=VALUE...: of a daemon of that node
write_conf() {
	local part=$1 from=$2 node=$3
	shift 3
	render "$GXL_HERE/$from.conf.in" "$D/$part/gxbusd.conf" \
		D="$D" R="$R" PART="$node" "$@" HUB=$GXL_HUB \
		NATIONAL=$GXL_NATIONAL PG_PORT="$(P postgres)" \
		KAFKA_HUB="$(P kafka-hub)" NGINX_HUB="$(P nginx-hub)" \
		KAFKA_NATIONAL="$(P kafka-national)" \
		NGINX_NATIONAL="$(P nginx-national)"
	[ ! -e "$D/$part/conf.local" ] || apply_local "$part"
	pass_file "$D/$part/pgpass" "gx_$node"
}

write_confs() {
	local part both="CITY=$GXL_CITY CITY2=$GXL_CITY2"
	for part in '' 2; do
		write_conf "city$part" city "city$part" \
			CITY="$(node_id "city$part")" KAFKA="$(P "kafka-city$part")"
		write_conf "link$part" link "city$part" LINK="link$part" \
			CITY="$(node_id "city$part")" KAFKA="$(P "kafka-city$part")"
	done
	# shellcheck disable=SC2086
	write_conf hub hub hub $both
	# shellcheck disable=SC2086
	write_conf link-hub link-hub hub $both
	# shellcheck disable=SC2086
	write_conf national national national $both
	write_adapters
	write_pgpass
	for part in $GXL_NODES; do
		render "$GXL_HERE/kafka.properties.in" \
			"$D/kafka-$part/server.properties" \
			PORT="$(P kafka-$part)" DATA="$D/kafka-$part/data" \
			CONTROLLER_PORT="$(P kafka-$part-controller)"
	done
	cp "$GXL_HERE/log4j2.properties" "$D/log4j2.properties"
	chmod a+r "$D/log4j2.properties"
	mkdir -p "$D/nginx/tmp"
	give "$D/nginx/tmp" 750
	{
		sed '/^	# node$/,$d' "$GXL_ROOT/conf/nginx/local.conf.in"
		for part in $GXL_NODES; do
			sed -n '/^	# node$/,/^	# end$/p' \
				"$GXL_ROOT/conf/nginx/local.conf.in" |
				sed "s/@NODE@/$part/g; s/@PORT@/$(P "nginx-$part")/g"
		done
		echo '}'
	} >"$D/nginx/nginx.conf.in"
	render "$D/nginx/nginx.conf.in" "$D/nginx/nginx.conf" D="$D" R="$R"
	cp "$GXL_ROOT/conf/nginx/gxbus-location.conf" "$D/nginx/"
	chmod a+r "$D/nginx/gxbus-location.conf"
}

# Keys of conf.local (section TAB key TAB value) over those of the template.
apply_local() {
	python3 - "$D/$1/gxbusd.conf" "$D/$1/conf.local" <<'PY' || die "conf.local"
import re, sys
lines = open(sys.argv[1], encoding="utf-8").read().split("\n")
for row in open(sys.argv[2], encoding="utf-8"):
    section, key, value = row.rstrip("\n").split("\t")
    if f"[{section}]" not in lines:
        lines += [f"[{section}]", ""]
    at = lines.index(f"[{section}]") + 1
    end = at
    while end < len(lines) and not lines[end].startswith("["):
        end += 1
    lines[at:end] = [f"{key} = {value}"] + [
        l for l in lines[at:end] if not re.match(rf"{re.escape(key)}\s*=", l)]
with open(sys.argv[1], "w", encoding="utf-8") as f:
    f.write("\n".join(lines))
PY
}

# The declarations of the repository with this machine's address in them; the
# names of database and user stay, the password is that of gx_reader.
write_adapters() {
	local from name
	for from in "$GXL_ROOT/conf/adapters/"*.json; do
		name=${from##*/}
		name=${name%.json}
		python3 - "$from" "$(P postgres)" "$name" \
			>"$D/city/$name.json.new" <<'PY' || die "conf/adapters/$name.json"
import json, re, sys
d = json.load(open(sys.argv[1], encoding="utf-8"))
names = re.findall(r"\b(?:dbname|user)=\S+", d["connection"]["conninfo"])
d["connection"] = {
    "conninfo": " ".join(["host=127.0.0.1", f"port={sys.argv[2]}"] + names),
    "passfile": f"{sys.argv[3]}.pass",
}
json.dump(d, sys.stdout, ensure_ascii=False, indent=1)
PY
		give "$D/city/$name.json.new" 640
		mv "$D/city/$name.json.new" "$D/city/$name.json"
		pass_file "$D/city/$name.pass" gx_reader
	done
	# The second city's department: the same kind of table, elsewhere.
	sed 's/"public\.ac01"/"city2.ac01"/; s/"gx_social"/"gx_social_2"/' \
		"$D/city/social.json" >"$D/city2/social.json.new"
	give "$D/city2/social.json.new" 640
	mv "$D/city2/social.json.new" "$D/city2/social.json"
	pass_file "$D/city2/social.pass" gx_reader
}

# ---- a CA of our own ----

# sign NAME SUBJECT EXTENSIONS: a key and a certificate of the local CA
sign() {
	openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
		-keyout "$D/pki/$1.key" -out "$D/pki/$1.csr" -subj "$2" \
		2>>"$D/log/pki.log" &&
		openssl x509 -req -in "$D/pki/$1.csr" -CA "$D/pki/ca.pem" \
			-CAkey "$D/pki/ca.key" -CAcreateserial -days 365 -sha256 \
			-extfile <(printf '%s\n' "$3") -out "$D/pki/$1.pem" \
			2>>"$D/log/pki.log" || die "pki; see $D/log/pki.log"
	rm -f "$D/pki/$1.csr"
}

# Made once, and again a month before it ends.
make_pki() {
	local f
	[ -e "$D/pki/complete" ] &&
		openssl x509 -in "$D/pki/server.pem" -noout -checkend 2592000 \
			>/dev/null && return 0
	rm -f "$D/pki/"*
	(
		umask 077
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 \
			-nodes -keyout "$D/pki/ca.key" -out "$D/pki/ca.pem" -days 3650 \
			-sha256 -subj "/O=gxbus/CN=gxbus local CA" \
			-addext "basicConstraints=critical,CA:TRUE,pathlen:0" \
			-addext "keyUsage=critical,keyCertSign,cRLSign" \
			2>>"$D/log/pki.log" || die "pki; see $D/log/pki.log"
		sign server /CN=localhost \
			"subjectAltName=DNS:localhost,IP:127.0.0.1
extendedKeyUsage=serverAuth"
		for f in $GXL_NODES; do
			f=$(node_id "$f")
			sign "node-$f" "/CN=node:$f" "extendedKeyUsage=clientAuth"
		done
	) || exit 1
	for f in "$D/pki/"*; do
		give "$f" 600
	done
	# The server has no business with the CA's key.
	[ "$(id -u)" != 0 ] || chown root "$D/pki/ca.key"
	touch "$D/pki/complete"
}

# ---- PostgreSQL ----

admin_sql() {
	as_server psql -qAtX -v ON_ERROR_STOP=1 -h "$R" -p "$(P postgres)" \
		-U "$GXL_USER" "$@"
}

make_cluster() {
	rm -rf "$D/pg/data" "$D/pg/new"
	as_server "$PG_BIN/initdb" -D "$D/pg/new" -U "$GXL_USER" -E UTF8 \
		--locale=C.UTF-8 --auth-local=peer --auth-host=scram-sha-256 \
		--data-checksums --no-sync >>"$D/log/init.log" 2>&1 ||
		die "initdb failed; see $D/log/init.log"
	cat >>"$D/pg/new/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
unix_socket_directories = '$R'
unix_socket_permissions = 0700
wal_level = logical
# What a department's disk may cost while we are down (docs/adapter.md).
max_slot_wal_keep_size = '2GB'
max_connections = 200
shared_buffers = 64MB
timezone = 'Asia/Shanghai'
log_line_prefix = '%m [%p] '
CONF
	mv "$D/pg/new" "$D/pg/data"
}

# The databases, each with an owner of its own, and the adapter's role.
make_databases() {
	local db user sql=
	for user in hrss $(printf 'gx_%s ' $GXL_NODES); do
		db=$user
		sql="$sql
SELECT 'CREATE ROLE $user LOGIN' WHERE NOT EXISTS
	(SELECT 1 FROM pg_roles WHERE rolname = '$user') \gexec
ALTER ROLE $user PASSWORD '$(secret "$user")';
SELECT 'CREATE DATABASE $db OWNER $user' WHERE NOT EXISTS
	(SELECT 1 FROM pg_database WHERE datname = '$db') \gexec
REVOKE CONNECT ON DATABASE $db FROM PUBLIC;"
	done
	sql="$sql
SELECT 'CREATE ROLE gx_reader LOGIN REPLICATION' WHERE NOT EXISTS
	(SELECT 1 FROM pg_roles WHERE rolname = 'gx_reader') \gexec
ALTER ROLE gx_reader PASSWORD '$(secret gx_reader)';
GRANT pg_read_all_stats TO gx_reader;
GRANT CONNECT ON DATABASE hrss TO gx_reader;"
	printf '%s\n' "$sql" | admin_sql -d postgres >>"$D/log/init.log" 2>&1 ||
		die "the databases cannot be made; see $D/log/init.log"
	touch "$D/pg/complete"
}

postgres_answers() {
	"$PG_BIN/pg_isready" -q -h 127.0.0.1 -p "$(P postgres)"
}

start_postgres() {
	[ -n "$PG_BIN" ] || die "PostgreSQL 15 is missing: conf/local/deps"
	[ -d "$D/pg/data" ] || make_cluster
	# After a SIGKILL its children need a moment to let the memory go.
	local tries=20
	while :; do
		spawn postgres "$PG_BIN/postgres" -D "$D/pg/data" \
			-p "$(P postgres)"
		while is_running postgres && ! postgres_answers; do
			sleep 0.05
		done
		is_running postgres && break
		tries=$((tries - 1))
		[ $tries -gt 0 ] && log_has postgres \
			'shared memory block\|lock file' || {
			show_trouble postgres "ended while it started"
			return 1
		}
		sleep 0.2
	done
	[ -e "$D/pg/complete" ] || make_databases
}

# ---- Kafka ----

# java CLASSPATH ARG...: for a small broker that is ready soon
KAFKA_JVM="-Xms64m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1
	-Xshare:auto -Djava.awt.headless=true"

start_kafka() {
	local part=$1 dir=$D/$1 cp=$JARS/* id cds
	command -v java >/dev/null || die "java is missing: conf/local/deps"
	[ -e "$JARS/complete" ] || die "Kafka's jars are missing: conf/local/deps"
	if [ ! -e "$dir/complete" ]; then
		rm -rf "$dir/data"
		id=gx$(head -c 15 /dev/urandom | base64 | tr '+/' '-_')
		# shellcheck disable=SC2086
		as_server java $KAFKA_JVM \
			-Dlog4j2.configurationFile="$D/log4j2.properties" -cp "$cp" \
			kafka.tools.StorageTool format -t "$id" \
			-c "$dir/server.properties" >>"$D/log/init.log" 2>&1 ||
			die "$part cannot be made; see $D/log/init.log"
		touch "$dir/complete"
	fi
	# The classes of the first broker that ends in order are kept as an
	# archive: later starts take a second less.
	if [ -s "$JARS.jsa" ]; then
		cds=-XX:SharedArchiveFile=$JARS.jsa
	else
		cds=-XX:ArchiveClassesAtExit=$dir/new.jsa
	fi
	# shellcheck disable=SC2086
	spawn "$part" java $KAFKA_JVM "$cds" \
		-Dlog4j2.configurationFile="$D/log4j2.properties" -cp "$cp" \
		kafka.Kafka "$dir/server.properties"
	wait_ready "$part" 90 log_has "$part" 'Kafka Server started'
}

keep_classes() {
	# Whole under its name: another broker may start from it meanwhile.
	if [ -s "$D/$1/new.jsa" ] && [ ! -s "$JARS.jsa" ]; then
		mv -f "$D/$1/new.jsa" "$JARS.jsa.new.$$" 2>/dev/null &&
			mv -f "$JARS.jsa.new.$$" "$JARS.jsa"
	fi
	rm -f "$D/$1/new.jsa"
}

start_kafka_city() {
	start_kafka kafka-city
}

start_kafka_hub() {
	start_kafka kafka-hub
}

start_kafka_city2() {
	start_kafka kafka-city2
}

start_kafka_national() {
	start_kafka kafka-national
}

# ---- gxbusd ----

# The operator's token: made at the first node that asks, kept at the other.
ensure_token() {
	local part=$1 name=gx_$1 file=$D/secret/operator
	postgres_answers || return 0
	[ "$(db "$name" -c "SELECT 1 FROM gx_token WHERE name = 'operator'" \
		2>/dev/null)" != 1 ] || return 0
	(
		flock -w 60 7 || exit 1
		if [ -s "$file" ]; then
			as_server "$D/bin/gxbusd" -c "$D/$part/gxbusd.conf" \
				--create-token operator --role operator \
				--token-file "$file" >/dev/null
		else
			umask 077
			as_server "$D/bin/gxbusd" -c "$D/$part/gxbusd.conf" \
				--create-token operator --role operator \
				>"$file.new" && [ -s "$file.new" ] &&
				give "$file.new" 600 && mv "$file.new" "$file"
		fi
	) 7>"$R/token.lock" 2>>"$D/log/init.log" ||
		die "no operator's token; see $D/log/init.log"
	write_env
}

# What a person's shell and other programs need to use the servers.
write_env() {
	local pg="host=127.0.0.1 port=$(P postgres) passfile=$OUT/pgpass"
	[ -s "$D/secret/operator" ] || return 0
	cp "$D/pki/ca.pem" "$OUT/ca.pem"
	chmod 644 "$OUT/ca.pem"
	(
		umask 077
		cat >"$OUT/env.new" <<ENV
export GXBUS_URL='https://127.0.0.1:$(P nginx-hub)'
export GXBUS_CITY_URL='https://127.0.0.1:$(P nginx-city)'
export GXBUS_PEER_URL='https://127.0.0.1:$(P nginx-city)'
export GXBUS_CITY2_URL='https://127.0.0.1:$(P nginx-city2)'
export GXBUS_NATIONAL_URL='https://127.0.0.1:$(P nginx-national)'
export GX_CA='$OUT/ca.pem'
export GX_TOKEN='$(cat "$D/secret/operator")'
export GX_KAFKA_CITY='127.0.0.1:$(P kafka-city)'
export GX_KAFKA_HUB='127.0.0.1:$(P kafka-hub)'
export GX_KAFKA_CITY2='127.0.0.1:$(P kafka-city2)'
export GX_KAFKA_NATIONAL='127.0.0.1:$(P kafka-national)'
export GX_PG_DEPARTMENT='$pg dbname=hrss user=hrss'
export GX_PG_CITY='$pg dbname=gx_city user=gx_city'
export GX_PG_HUB='$pg dbname=gx_hub user=gx_hub'
export GX_PG_CITY2='$pg dbname=gx_city2 user=gx_city2'
export GX_PG_NATIONAL='$pg dbname=gx_national user=gx_national'
export GXBUS='$GXL_ROOT/build/gxbus'
ENV
	)
	mv "$OUT/env.new" "$OUT/env"
}

start_daemon() {
	local more=()
	[ -x "$D/bin/gxbusd" ] || die "build/gxbusd is missing: make"
	case $1 in
	link*) ;;
	*) ensure_token "$1" ;;
	esac
	# One NAME=VALUE a line, for tests.
	[ ! -s "$D/$1/env" ] || mapfile -t more <"$D/$1/env"
	spawn "$1" env "${more[@]}" "$D/bin/gxbusd" -c "$D/$1/gxbusd.conf"
	wait_ready "$1" "${START_S:-60}" log_has "$1" 'node\.ready'
}

start_city() {
	start_daemon city
}

start_link() {
	start_daemon link
}

start_hub() {
	start_daemon hub
}

start_city2() {
	start_daemon city2
}

start_link2() {
	start_daemon link2
}

start_link_hub() {
	start_daemon link-hub
}

start_national() {
	start_daemon national
}

# ---- nginx ----

nginx_answers() {
	! port_is_free "$(P nginx-hub)" && ! port_is_free "$(P nginx-national)"
}

start_nginx() {
	local nginx
	nginx=$(PATH=$PATH:/usr/sbin command -v nginx) ||
		die "nginx is missing: conf/local/deps"
	spawn nginx "$nginx" -e stderr -p "$D/nginx" -c "$D/nginx/nginx.conf"
	wait_ready nginx 60 nginx_answers
}

# ---- what to show ----

address_of() {
	local node
	case $1 in
	postgres | kafka-*) echo "127.0.0.1:$(P "$1")" ;;
	nginx)
		for node in $GXL_NODES; do
			echo "https://127.0.0.1:$(P "nginx-$node") ($node)"
		done | paste -sd ' '
		;;
	link*) echo "$D/log/$1.log" ;;
	*) echo "$R/$1.sock" ;;
	esac
}
