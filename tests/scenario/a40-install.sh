#!/bin/bash
# a40: What "make install" puts in place is enough to begin with: "gxbus init"
# writes a configuration that the installed daemon takes as it is, also with
# the department's flow that it holds as a comment.
set -u
cd "$(dirname "$0")/../.." || exit 1

fail() {
	echo "FAILED: $*"
	exit 1
}

D=$(mktemp -d /tmp/gx-a40.XXXXXX) || exit 1
trap 'rm -rf "$D"' EXIT
trap 'exit 1' INT TERM

for prefix in /usr /opt/gx; do
	root=$D/root$prefix
	timeout 300 make -s install DESTDIR="$D/root" PREFIX=$prefix \
		>"$D/make" 2>&1 || fail "make install: $(tail -n 5 "$D/make")"
	for f in share/gxbus/gxbusd.conf share/gxbus/nginx/gxbusd.conf \
		share/gxbus/adapters/social.json share/doc/gxbus/adapter.md \
		share/bash-completion/completions/gxbus; do
		[ -s "$root/$f" ] || fail "$prefix/$f is not installed"
	done
	unit=$root/lib/systemd/system/gxbusd@.service
	grep -q "^ExecStart=$prefix/bin/gxbusd -c /etc/gxbus/%i.conf$" "$unit" ||
		fail "the unit starts another program"
	file=$(sed -n 's|^Documentation=file://||p' "$unit")
	[ -s "$D/root$file" ] || fail "the unit cites $file, which is not there"
	grep -q 'man:' "$unit" && fail "the unit cites a man page"

	"$root/bin/gxbus" init --role city --code 450200 --parent 450000 \
		--dir "$D/node$prefix" 2>/dev/null && fail "made in no folder"
	mkdir -p "$D/node${prefix%/*}"
	"$root/bin/gxbus" init --role city --code 450200 --parent 450000 \
		--dir "$D/node$prefix" 2>"$D/said" || fail "init: $(cat "$D/said")"
	conf=$D/node$prefix/gxbusd.conf
	"$root/bin/gxbusd" -c "$conf" --check-config >"$D/said" 2>&1 ||
		fail "what init wrote is refused: $(cat "$D/said")"
	grep -q 'good, 2 flows, [1-9]' "$D/said" || fail "$(cat "$D/said")"

	# The department's flow, without the marks.
	sed -i '/^#\[flow/,$s/^#//; s/^flows = .*/&, social/' "$conf"
	cp "$root/share/gxbus/adapters/social.json" "${conf%/*}"
	(umask 077 && echo '*:*:*:*:x' >"${conf%/*}/social.pass")
	"$root/bin/gxbusd" -c "$conf" --check-config >"$D/said" 2>&1 ||
		fail "with the department's flow: $(cat "$D/said")"
	grep -q 'good, 3 flows' "$D/said" || fail "$(cat "$D/said")"
done
echo "what is installed is enough to begin with"
