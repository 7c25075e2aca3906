#!/bin/sh
# Does lint see what it is there for?  In a copy of the tree, plant one
# violation of each kind, expect the fault by name, take it out again.  The
# untouched copy must pass the same parts, or the catches would prove nothing.
set -u
cd "$(dirname "$0")/.." || exit 1

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
if git rev-parse --git-dir >/dev/null 2>&1; then
	git ls-files -co --exclude-standard
else
	find . -path ./build -prune -o -type f -print
fi | while read -r f; do [ ! -f "$f" ] || echo "$f"; done |
	tar -cf - -T - | tar -xf - -C "$copy"
cd "$copy" || exit 1

# Counted in a file: plants come through pipes, which are other processes.
score=$copy.score
: >"$score"
missed() {
	echo missed >>"$score"
	echo "MISSED $*"
}

# lint PART: its output in out.log, outside the tree's own rules
lint() {
	sh tests/lint.sh "$1" >"$copy.log" 2>&1
}
trap 'rm -rf "$copy" "$copy".*' EXIT

# caught PART WHAT: the part fails now, and its output has WHAT
caught() {
	if lint "$1"; then
		missed "$2: lint $1 passed"
	elif ! grep -qe "$2" "$copy.log"; then
		missed "$2: lint $1 failed for another reason"
		head -n5 "$copy.log"
	else
		echo caught >>"$score"
	fi
}

# clean PART: the control
clean() {
	lint "$1" && return
	missed "control: lint $1 fails without a plant"
	tail -n20 "$copy.log"
}

essay() {
	echo '/*'
	for i in 1 2 3 4 5 6 7 8; do
		echo " * Line $i of the prose a file opens with."
	done
	echo ' */'
}

# plant FILE: stdin becomes the file, essay in front of a .c
plant() {
	mkdir -p "$(dirname "$1")"
	case $1 in
	*.c) { essay; cat; } >"$1" ;;
	*) cat >"$1" ;;
	esac
	planted=$1
}

# planted_text FILE WHAT: stdin planted, caught by the text rules, gone again
planted_text() {
	plant "$1"
	caught text "$planted:.*$2"
	rm -f "$planted"
}

# edited_text FILE SED WHAT: the file edited, caught, put back
edited_text() {
	cp "$1" "$copy.keep"
	sed -i "$2" "$1"
	caught text "$3"
	cp "$copy.keep" "$1"
	rm -f "$copy.keep"
}

clean text

planted_text bus/base/zz.c 'layers: layer 0' <<'X'
#include "flow/worker.h"
X
mkdir -p catalog
printf '#ifndef GX_CATALOG_ZZ_H\n#define GX_CATALOG_ZZ_H\n#endif\n' \
	>catalog/zz.h
planted_text bus/flow/zz.c 'layers:.*handed functions' <<'X'
#include "catalog/zz.h"
X
rm catalog/zz.h
planted_text adapters/in_zz.c 'layers: an adapter includes' <<'X'
#include "base/mem.h"
X
planted_text cli/zz.c 'layers: the command line' <<'X'
#include "port/pg.h"
X
planted_text bus/base/zz.c 'no such file' <<'X'
#include "base/no_such.h"
X
planted_text bus/flow/zz.c 'home: <openssl' <<'X'
#include <openssl/evp.h>
X
planted_text bus/flow/zz.c 'home: <yajl' <<'X'
#include <yajl/yajl_parse.h>
X
planted_text bus/base/zz.c 'home: <unknown_lib.h> has no home' <<'X'
#include <unknown_lib.h>
X
yes 'int zz;' | head -n 901 | planted_text bus/base/zz.c 'size: .* more than 900'
{
	printf 'static int\nzz(int a)\n{\n'
	yes '	a++;' | head -n 121
	printf '	return a;\n}\n'
} | planted_text bus/base/zz.c 'size: zz has'
for call in malloc calloc realloc free strcpy strcat sprintf gets strtok atoi \
	rand system sleep usleep; do
	echo "void *p = $call(0);" |
		planted_text bus/flow/zz.c "banned: $call()"
done
echo 'int x = system("true");' | planted_text tests/unit/t_zz.c 'banned: system()'
planted_text tests/scenario/zz.sh 'sleep: wait' <<'X'
#!/bin/sh
sleep 1
X
planted_text tests/web/zz.py 'sleep: wait' <<'X'
import time
time.sleep(1)
X
printf 'path = /%s/x\n' root | planted_text conf/zz.conf 'path of one machine'
printf '/* %s */\n' TODO | planted_text bus/base/zz.c 'unfinished'
planted_text bus/base/zz.h 'header: guard' <<'X'
#ifndef WRONG_H
#define WRONG_H
#endif
X
planted_text bus/base/zz.h 'header: // comment' <<'X'
#ifndef GX_BASE_ZZ_H
#define GX_BASE_ZZ_H
int zz; // here
#endif
X
echo 'int zz;' >bus/base/zz.c
caught text 'bus/base/zz.c:1: essay'
rm bus/base/zz.c
planted_text bus/flow/zz.c 'errors: no.such_code has no row' <<'X'
int zz = GX_ERR(e, GX_REJECT, x ? "link.gap" : "no.such_code", "a, (b");
X
planted_text bus/flow/zz.c 'errors: no.such_code has no row' <<'X'
int zz = gx_reader_stop(r, pl, en, m->offset, "no.such_code", "text");
X
planted_text bus/port/zz.c 'errors: no.such_code has no row' <<'X'
static const struct zz zz[] = {{"08006", GX_AGAIN, "no.such_code"}};
X
row='GX_ERROR(1010, "zz.zz", "t", "c", "r")'
edited_text bus/base/errors.def "\$a $row" 'errors: number 1010 twice'
row='GX_ERROR(7998, "json.syntax", "t", "c", "r")'
edited_text bus/base/errors.def "\$a $row" 'errors: code json.syntax twice'
row='GX_ERROR(1999, "zz.zz", "t", "c", "r")'
edited_text bus/base/errors.def "\$a $row" 'errors: 1999 stands in the wrong'
row='GX_ERROR(7999, "zz.unused", "t", "c", "r")'
edited_text bus/base/errors.def "\$a $row" 'errors: zz.unused is used nowhere'
edited_text bus/base/errors.def 's/gxbus quarantine list shows/gxbus quarantine tell/' \
	'errors: gxbus quarantine tell is no command'
edited_text bus/base/errors.def 's/; gxbus doctor gathers/; gxbus nurse gathers/' \
	'errors: gxbus nurse is no command'
row='GX_METRIC(ZZ, "gxbus_zz_total", "counter", "", "Help.")'
edited_text bus/base/metrics.def "\$a $row" 'metrics: not as metrics.def'
edited_text docs/metrics.md 's/counter/gauge/' 'metrics: not as metrics.def'
edited_text conf/local/packages 's/^gcc .*/& too/' 'packages: not as conf'
edited_text conf/local/packages 's/^make .*/make/' 'packages: a line without'
clean text

# The compilers, on the planted file alone; a good twin passes.
plant bus/base/zz.h <<'X'
#ifndef GX_BASE_ZZ_H
#define GX_BASE_ZZ_H
size_t gx_zz(void);
#endif
X
FILES=bus/base/zz.h
export FILES
caught headers 'unknown type name'
sed -i '2a #include <stddef.h>' bus/base/zz.h
clean headers
plant bus/base/zz.c <<'X'
#include "base/zz.h"

size_t
gx_zz(void)
{
	return 1;
}
X
FILES=bus/base/zz.c
clean syntax
clean format
cp bus/base/zz.c zz.keep
sed -i 's/return 1/int unused = 1; return 1/' bus/base/zz.c
caught syntax 'unused'
caught format 'zz.c'
cp zz.keep bus/base/zz.c

# Names, on objects of their own.
OUT=$copy/objects
export OUT
caught names 'no objects'
mkdir -p "$OUT/bus/base"
try_names() {
	gcc -Ibus -c -o "$OUT/bus/base/zz.o" bus/base/zz.c
}
try_names
clean names
printf 'int zz_stray;\n' >>bus/base/zz.c
try_names
caught names 'zz_stray does not begin'
cp zz.keep bus/base/zz.c
printf 'int gx_zz_stray;\n' >>bus/base/zz.c
try_names
caught names 'gx_zz_stray is in no header'

printf '#!/bin/sh\nif\n' >conf/zz.sh
FILES=conf/zz.sh
caught scripts 'zz.sh: does not parse'
printf '#!/bin/sh\ntrue\n' >conf/zz.sh
clean scripts
printf 'def\n' >conf/zz.py
FILES=conf/zz.py
caught scripts 'zz.py: does not parse'
sed -i 's/^YAJL_FIXED=.*/YAJL_FIXED=99/' tests/lint.sh
caught packages 'lacks fixes'

echo "lint-selftest: $(grep -c caught "$score") caught, \
$(grep -c missed "$score") missed"
! grep -q missed "$score"
