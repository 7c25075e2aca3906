#!/bin/sh
# Lint: the rules of the house and what two compilers say.
#
#   tests/lint.sh              everything
#   tests/lint.sh text format  only these parts
#
# text      layers, homes of headers, sizes, banned calls, sleeps, paths of one
#           machine, errors.def, metrics.def (tests/lint_text.py)
# headers   each header compiles alone, with gcc and clang
# syntax    the whole tree with gcc and clang, all warnings are errors
# names     what objects export begins with gx_ and stands in a header of the
#           same folder
# format    clang-format 14 would change nothing ("make format" writes)
# scripts   shell and Python parse
# packages  yajl is the distribution's, with its fixes
#
# FILES narrows headers, syntax and format to these files; OUT (build/obj) is
# where the objects of "names" are.
set -u
cd "$(dirname "$0")/.." || exit 1

OUT=${OUT:-build/obj}
n_faults=0

fault() {
	n_faults=$((n_faults + 1))
	echo "$*"
}

# list SUFFIX-PATTERN: files of the tree, tracked or new
list() {
	if [ -n "${FILES:-}" ]; then
		printf '%s\n' $FILES
	elif git rev-parse --git-dir >/dev/null 2>&1; then
		git ls-files -co --exclude-standard
	else
		find . -path ./build -prune -o -type f -print | sed 's|^\./||'
	fi | grep -E "$1" | grep -vE '(^|/)(vendor|node_modules)/' |
		while read -r f; do [ ! -f "$f" ] || echo "$f"; done
}

# compile COMPILER SUFFIX-PATTERN: each file for itself, in two processes
compile() {
	flags=$(make -s print-flags)
	# A header alone defines what only others use.
	more=-Wno-unused-macros
	[ "$1" = clang ] && more="$more -Wno-unknown-warning-option"
	# shellcheck disable=SC2086
	list "$2" | xargs -P2 -n8 sh -c '
		cc=$1; more=$2; flags=$3; shift 3; rc=0
		for f; do
			case $f in
			*.h) x="-x c -Wno-unused-function" ;;
			*) x= ;;
			esac
			$cc $flags $more $x -fsyntax-only "$f" || rc=1
		done
		exit $rc' sh "$1" "$more" "$flags"
}

part_text() {
	python3 tests/lint_text.py || fault "lint: text"
}

part_headers() {
	for cc in gcc clang; do
		compile $cc '\.h$' || fault "lint: a header does not stand alone ($cc)"
	done
}

part_syntax() {
	for cc in gcc clang; do
		compile $cc '\.c$' || fault "lint: warnings of $cc"
	done
}

# Each exported symbol of each object that has a source today.
part_names() {
	seen=0
	for o in $(find "$OUT" -name '*.o' 2>/dev/null | sort); do
		src=${o#"$OUT"/}
		src=${src%.o}.c
		case $src in tests/*) continue ;; esac
		[ -f "$src" ] || continue
		seen=$((seen + 1))
		for s in $(nm -g --defined-only "$o" | awk '{ print $3 }'); do
			case $s in
			main | __*) continue ;;
			gx_*) ;;
			*)
				fault "$src: names: $s does not begin with gx_"
				continue
				;;
			esac
			grep -qsw -e "$s" "$(dirname "$src")"/*.h ||
				fault "$src: names: $s is in no header there"
		done
	done
	[ "$seen" -gt 0 ] || fault "lint: no objects in $OUT; make first"
}

part_format() {
	if ! command -v clang-format-14 >/dev/null; then
		fault "lint: clang-format-14 is not installed"
		return
	fi
	list '\.[ch]$' | xargs -P2 -n16 clang-format-14 --dry-run -Werror \
		--ferror-limit=1 || fault "lint: format; make format"
}

part_scripts() {
	for f in $(list '\.sh$|^conf/local/[a-z_-]*$|^\.ci/run$'); do
		case $(head -n1 "$f") in
		*bash*) bash -n "$f" || fault "$f: does not parse" ;;
		*/sh*) sh -n "$f" || fault "$f: does not parse" ;;
		esac
	done
	for f in $(list '\.py$'); do
		python3 - "$f" <<'PY' || fault "$f: does not parse"
import ast, sys
ast.parse(open(sys.argv[1], encoding="utf-8").read(), sys.argv[1])
PY
	done
}

# Debian 12's yajl carries the fixes of CVE-2017-16516, CVE-2022-24795 and
# CVE-2023-33460 from this revision on; upstream has none of them.
YAJL_FIXED=2.1.0-3+deb12u2
part_packages() {
	pkg-config --exists 'yajl >= 2.1.0' || fault "lint: yajl is too old"
	if command -v dpkg-query >/dev/null; then
		v=$(dpkg-query -W -f '${Version}' libyajl2 2>/dev/null)
		dpkg --compare-versions "${v:-0}" ge "$YAJL_FIXED" ||
			fault "lint: libyajl2 ${v:-none} lacks fixes of $YAJL_FIXED"
	fi
}

[ $# -gt 0 ] || set -- text headers syntax names format scripts packages
for part; do
	case $part in
	text | headers | syntax | names | format | scripts | packages)
		"part_$part"
		;;
	*)
		echo "tests/lint.sh: no part $part" >&2
		exit 2
		;;
	esac
done
[ "$n_faults" -eq 0 ] || exit 1
echo "lint: clean ($*)"
