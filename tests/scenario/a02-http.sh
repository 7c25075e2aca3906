#!/bin/bash
# a02: Behind nginx nobody can claim an identity that a certificate does not
# give, and the client talks to whom it means or says by name why not.
set -u
cd "$(dirname "$0")/../.." || exit 1
STEP=start
D=$(mktemp -d /tmp/gx-a02.XXXXXX) || exit 1
fail() {
	echo "FAILED: $STEP: $*"
	tail -n 5 "$D/nginx.log" 2>/dev/null
	exit 1
}
# shellcheck source=tests/scenario/wait.sh
. tests/scenario/wait.sh
nginx_pid=
end() {
	exec 9>&-
	[ -z "$nginx_pid" ] || { kill "$nginx_pid"; wait "$nginx_pid"; } 2>/dev/null
	rm -rf "$D"
}
trap end EXIT
trap 'exit 1' INT TERM
NGINX=$(command -v nginx || command -v /usr/sbin/nginx) &&
	command -v openssl >/dev/null || { echo "nginx or openssl is missing"; exit 77; }
DRIVE=${DRIVE_HTTP:-build/obj/scenario/drive_http}
[ -n "${DRIVE_HTTP:-}" ] || make -s "$DRIVE" >/dev/null || fail "drive_http"
read -r port silent < <(conf/local/ports "$D" nginx silent |
	awk '{ printf "%s ", $2 } END { print "" }')

# ca NAME; leaf CA NAME CN
ca() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
		-keyout "$D/$1.key" -out "$D/$1.pem" -subj "/CN=$1" -days 2 \
		2>/dev/null
}
leaf() {
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
		-keyout "$D/$2.key" -out "$D/$2.csr" -subj "/CN=$3" 2>/dev/null
	openssl x509 -req -in "$D/$2.csr" -CA "$D/$1.pem" -CAkey "$D/$1.key" \
		-CAcreateserial -days 2 -out "$D/$2.pem" -extfile <(
			echo "subjectAltName=DNS:localhost,IP:127.0.0.1"
		) 2>/dev/null
}
ca good && ca bad && leaf good server localhost && leaf good node node:450100 &&
	leaf bad stranger node:450100 || fail "certificates"

cat >"$D/nginx.conf" <<N
daemon off; worker_processes 1; pid $D/nginx.pid; error_log $D/nginx.log;
events { worker_connections 64; }
http {
	access_log off;
	client_body_temp_path $D/t1; proxy_temp_path $D/t2;
	fastcgi_temp_path $D/t3; uwsgi_temp_path $D/t4; scgi_temp_path $D/t5;
	map \$ssl_client_s_dn \$cn { ~CN=(?<x>[^,]+) \$x; default ""; }
	server {
		listen 127.0.0.1:$port ssl;
		ssl_certificate $D/server.pem; ssl_certificate_key $D/server.key;
		ssl_client_certificate $D/good.pem; ssl_verify_client optional;
		location / {
			proxy_pass http://unix:$D/s;
			proxy_http_version 1.1; proxy_set_header Connection "";
			proxy_set_header X-Gx-Client-Verify \$ssl_client_verify;
			proxy_set_header X-Gx-Client-Cn \$cn;
			proxy_set_header X-Gx-Remote \$remote_addr;
		}
	}
}
N
# nginx's workers are another user when we are root.
chmod 755 "$D"
mkfifo "$D/in"
exec 9<>"$D/in"
"$DRIVE" serve "$D/s" <"$D/in" >"$D/served" 2>"$D/log" 9>&- &
# Kept: below, $! would be the <(:) of the loop, which has ended.
server=$!
until grep -q serving "$D/served" 2>/dev/null; do
	kill -0 "$server" || fail "the server does not start"
	read -r -t 0.05 <> <(:) || :
done
if [ "$(id -u)" = 0 ]; then
	sed -i '1i user root;' "$D/nginx.conf"
fi
"$NGINX" -p "$D" -c "$D/nginx.conf" 9>&- >"$D/nginx.out" 2>&1 &
nginx_pid=$!
call() {
	timeout "$(stretched 20)" "$DRIVE" call "$@" >"$D/out" 2>>"$D/log"
}
has() {
	grep -qE -- "$1" "$D/out" || fail "wanted: $1; got: $(cat "$D/out")"
}
until call GET "https://localhost:$port/" -ca "$D/good.pem"; do
	[ "$SECONDS" -lt "$(stretched 20)" ] || fail "nginx does not answer: $(cat "$D/out")"
done
has '^200 GET / cn=- remote=yes auth=- n=0$'

STEP="who is who"
call GET "https://localhost:$port/a%2Fb?x=1" -ca "$D/good.pem" \
	-cert "$D/node.pem" -key "$D/node.key"
has '^200 GET /a/b cn=node:450100 remote=yes'
call POST "https://127.0.0.1:$port/p" -ca "$D/good.pem" -token geheim42 \
	-body hello
has '^200 POST /p cn=- remote=yes auth=Bearer geheim42 n=5$'
# Claimed in a header: nginx overwrites it.
printf 'GET / HTTP/1.1\r\nHost: localhost\r\nX-Gx-Client-Verify: SUCCESS\r\nX-Gx-Client-Cn: node:450100\r\nConnection: close\r\n\r\n' |
	timeout "$(stretched 10)" openssl s_client -quiet -connect "127.0.0.1:$port" \
		-CAfile "$D/good.pem" >"$D/out" 2>/dev/null
has 'cn=- remote=yes'
# A certificate of another authority: nginx refuses.
call GET "https://localhost:$port/" -ca "$D/good.pem" -cert "$D/stranger.pem" \
	-key "$D/stranger.key"
has '^400 '

STEP="whom the client talks to"
call GET "https://localhost:$port/" -ca "$D/bad.pem"
has '^error fatal http.tls localhost:'
call GET "https://localhost:$port/" -ca "$D/nothing.pem"
has '^error fatal http.tls '
call GET "https://localhost:$port/" -ca "$D/good.pem" -cert "$D/node.pem" \
	-key "$D/server.key"
has '^error fatal http.tls '
call GET "http://localhost:$port/" -token geheim42
has '^error fatal http.url'
call GET "https://localhost:$silent/" -ca "$D/good.pem"
has "^error again http.away localhost:$silent: "
# Right authority, wrong name.
leaf good other other.test && cp "$D/other.pem" "$D/server.pem" &&
	cp "$D/other.key" "$D/server.key"
openssl x509 -req -in "$D/other.csr" -CA "$D/good.pem" -CAkey "$D/good.key" \
	-CAcreateserial -days 2 -out "$D/server.pem" \
	-extfile <(echo "subjectAltName=DNS:other.test") 2>/dev/null
kill -HUP "$nginx_pid"
named() {
	call GET "https://localhost:$port/" -ca "$D/good.pem"
	grep -q '^error fatal http.tls' "$D/out"
}
until named; do
	[ "$SECONDS" -lt "$(stretched 40)" ] || fail "another name is taken: $(cat "$D/out")"
done

STEP="nothing secret was said"
grep -rl geheim42 "$D/log" "$D/nginx.log" && fail "a token"
grep -E ' (error|fatal) ' "$D/log" && fail "an error line"
echo "all of a02 passed"
