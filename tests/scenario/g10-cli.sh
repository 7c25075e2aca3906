#!/bin/bash
# g10: Every command of "gxbus help --all" does what its help says, in each
# form of output, and ends with the exit code that is documented.
. "$(dirname "$0")/lib.sh"
lab g10

walking 300
conf/local/gen --bad --first 901 | db hrss -c 'COPY public.ac01 FROM STDIN' ||
	fail "bad rows"
wait_until 30 same_set
. "$OUT/env"
S=/450100/hrss/social/social.insured/0
Q=$(GXBUS_URL=$GXBUS_CITY_URL "$GXBUS" quarantine list --limit 1 -o name) ||
	fail "quarantine list"

# run RC ARG...: what it prints is in $D/o, what it says in $D/e
run() {
	local want=$1 rc
	shift
	"$GXBUS" "$@" >"$D/o" 2>"$D/e" </dev/null
	rc=$?
	[ $rc = "$want" ] ||
		fail "gxbus $*: exit $rc instead of $want: $(head -n 4 "$D/e")"
}
shows() {
	grep -qE -- "$1" "$D/o" || fail "it does not show $1: $(head -n 8 "$D/o")"
}
says() {
	grep -qE -- "$1" "$D/e" || fail "it does not say $1: $(cat "$D/e")"
}

# Every command, with arguments and the exit code: those in the first list
# have all forms of output, those in the second what they are for.
cat >"$D/shown" <<X
0 status
0 flow list
0 flow show sink
0 stream list
0 stream show $S
0 quarantine list
0 quarantine show $Q
0 quarantine stats
0 node list
0 token list
10 doctor
0 version
0 config show
0 explain GX4001
0 topic tail gx.batch.450100
0 reconcile run social.insured
X
cat >"$D/others" <<X
flow pause
flow resume
flow restart
quarantine fix
quarantine replay
quarantine discard
token create
token revoke
init
config explain
resource check
schema check
adapter preview
record check-id
audit tail
audit export
audit verify
reconcile report
reconcile verify
explain record
evidence export
evidence verify
evidence root
evidence check-inclusion
evidence check-consistency
crypto sm3
crypto hmac-sm3
crypto sm2-verify
completion
help
X

step "the lists above are all commands there are"
run 0 help --all
cp "$D/o" "$D/all"
sed -n '/^Commands:/,/^$/s/^  \([a-z].*\)/\1/p' "$D/all" |
	sed 's/  .*//; s/ [A-Z[-].*//; s/^completion bash$/completion/' |
	LC_ALL=C sort -u >"$D/have"
{
	sed 's/^[0-9]* //; s/ \/450.*//; s/ sink$//; s/ [0-9]*$//
		s/ GX4001//; s/ gx\.batch.*//; s/ social\.insured//' "$D/shown"
	cat "$D/others"
} | LC_ALL=C sort -u >"$D/want"
diff "$D/want" "$D/have" || fail "commands (<: tested, >: there)"

step "help: examples first, then how it is written"
while read -r cmd; do
	# shellcheck disable=SC2086
	run 0 help $cmd
	sed -n 3p "$D/o" | grep -qE "gxbus $cmd|\| gxbus $cmd|^ +printf|^ +echo" ||
		fail "help $cmd does not begin with an example"
	shows "^gxbus $cmd"
	cp "$D/o" "$D/help"
	# shellcheck disable=SC2086
	run 0 $cmd --help
	cmp -s "$D/o" "$D/help" || fail "$cmd --help is another help"
done <"$D/have"
for noun in flow stream quarantine token config evidence crypto resource; do
	run 0 help $noun
	shows "^  $noun "
	run 0 $noun --help
done
run 2 help nothing
run 0 --help
run 2
shows '^Commands:'

step "every form of output"
URL_OF_CITY=$GXBUS_CITY_URL
while read -r rc cmd; do
	# The quarantine, and with it trouble, is at the city.
	export GXBUS_URL
	case $cmd in
	quarantine* | doctor)
		GXBUS_URL=$URL_OF_CITY
		;;
	*) GXBUS_URL=$(sed -n "s/^export GXBUS_URL='\(.*\)'/\1/p" "$OUT/env") ;;
	esac
	forms='table wide json jsonl csv csv-excel name'
	# This one sets out to a broker each time.
	[ "${cmd#topic}" = "$cmd" ] || forms='json csv'
	for form in $forms; do
		# shellcheck disable=SC2086
		run "$rc" $cmd -o $form
		[ ! -s "$D/e" ] || fail "$cmd -o $form says: $(cat "$D/e")"
		python3 - "$form" "$D/o" "$cmd" <<'PY' || fail "$cmd -o $form"
import csv, io, json, sys
form, path, cmd = sys.argv[1:]
text = open(path, encoding="utf-8", newline="").read()
assert text.isprintable() or all(c in "\n\r\ufeff\u3000" or c.isprintable()
                                 for c in text), "control characters"
if form == "json":
    d = json.loads(text)
    assert d["v"] == 1 and list(d)[0] == "v", d
    assert text.count("\n") == 1
    if "items" in d:
        assert "next" in d
elif form == "jsonl":
    for line in text.splitlines():
        assert isinstance(json.loads(line), dict)
elif form in ("csv", "csv-excel"):
    assert text.startswith("\ufeff") == (form == "csv-excel")
    rows = list(csv.reader(io.StringIO(text.lstrip("\ufeff"), newline="")))
    assert rows and all(len(r) == len(rows[0]) for r in rows), rows
    assert text.endswith("\r\n")
    if not cmd.startswith("reconcile"):
        assert len(rows) > 1, "no row"
elif form in ("table", "wide"):
    assert len(text.splitlines()) > 1, text
    assert "\x1b" not in text
PY
	done
done <"$D/shown"
export GXBUS_URL
run 0 flow list -o name
grep -qx sink "$D/o" || fail "flow list -o name"
for cmd in status "flow show none"; do
	# shellcheck disable=SC2086
	GXBUS_URL=https://127.0.0.1:1 "$GXBUS" $cmd -o json >"$D/o" 2>"$D/e" &&
		fail "$cmd without a node"
	python3 -c '
import json, sys
d = json.load(open(sys.argv[1]))
assert d["code"] == "GX3020" and d["title"] and d["remedy"], d' "$D/e" ||
		fail "an error with -o json is no problem object"
done

step "what a person asks about flows is obeyed, and can be tried dry"
flow_is() {
	[ "$(ask gx_hub "SELECT state FROM gx_flow WHERE flow = 'sink'")" = "$1" ]
}
run 0 flow pause sink --dry-run
says '^~ flow sink: pause'
[ "$(ask gx_hub "SELECT wish FROM gx_flow WHERE flow = 'sink'")" = run ] ||
	fail "--dry-run did it"
run 0 flow pause sink
wait_until 10 flow_is paused
put 20 2001
run 0 flow pause sink
stop_part hub
start_gxbusd hub
wait_until 10 flow_is paused
[ "$(heads gx_city)" != "$(heads gx_hub)" ] || fail "it was not paused"
run 0 stream show "$S"
shows '^ends +behind'
run 0 flow resume sink
wait_until 30 heads_equal
wait_until 30 same_set
run 0 flow restart sink
wait_until 10 flow_is running
run 0 stream show "$S"
shows '^ends +equal'
head=$(ask gx_hub "SELECT head FROM gx_stream WHERE stream = '$S'")
shows "^head +$head\$"
shows "^peer_head +$head\$"

step "tokens"
run 2 token create li
run 0 token create li --role auditor --dry-run
run 5 token create li --role king --dry-run
says '^error GX6015: role: write operator or auditor'
run 3 token revoke li --yes
run 0 token create li --role auditor
token=$(cat "$D/o")
run 6 token create li --role auditor
(umask 077 && echo "$token" >"$D/li")
run 0 flow list --token-file "$D/li"
run 4 flow pause sink --token-file "$D/li"
run 2 token revoke li
run 0 token revoke li --yes
run 4 flow list --token-file "$D/li"
run 0 token list -o name
grep -q "$token" "$D/o" && fail "a token's text is listed"

step "reconcile: equal, then a difference with its keys, then equal again"
run 0 reconcile run social.insured
shows 'both sides are equal'
keys=$(ask gx_hub "SELECT aac001 FROM social.insured ORDER BY 1 LIMIT 3")
read -r k1 k2 k3 <<<"$(echo $keys)"
sql gx_hub "CREATE TABLE kept AS SELECT * FROM social.insured
WHERE aac001 IN ('$k1', '$k2');
UPDATE social.insured SET n_months = n_months + 1 WHERE aac001 = '$k1';
DELETE FROM social.insured WHERE aac001 = '$k2'"
sql gx_city "CREATE TABLE kept AS SELECT * FROM social.insured
WHERE aac001 = '$k3'; DELETE FROM social.insured WHERE aac001 = '$k3'"
origin=/450100/hrss/social
run 10 reconcile run social.insured
shows '3 records differ'
run 10 reconcile run social.insured -o jsonl
[ "$(python3 -c '
import json, sys
for line in sys.stdin:
    d = json.loads(line)
    print(d["key"][0], d["difference"], d["origin"])' <"$D/o" | sort)" = \
	"$k1 different $origin
$k2 missing here $origin
$k3 missing there $origin" ] || fail "the keys: $(cat "$D/o")"
sql gx_hub "DELETE FROM social.insured WHERE aac001 = '$k1';
INSERT INTO social.insured SELECT * FROM kept; DROP TABLE kept"
sql gx_city "INSERT INTO social.insured SELECT * FROM kept; DROP TABLE kept"
run 0 reconcile run social.insured

step "a node is never compared with itself"
for words in "reconcile run social.insured" "stream list" "stream show $S"; do
	# shellcheck disable=SC2086
	run 2 $words --peer "$GXBUS_URL"
	says '^error GX7010: node 450000 would be compared with itself'
	# Under another name it is the same node.
	# shellcheck disable=SC2086
	run 2 $words --peer "${GXBUS_URL/127.0.0.1/localhost}"
	says '^error GX7010: '
done
run 0 stream show "$S" --peer ''
grep -q '^ends' "$D/o" && fail "an empty --peer is a peer"

step "settings of the environment: GXBUS_ for all, GX_CA as well"
run 0 config show --origin
shows "^ca +$GX_CA  \\(environment\\)"
shows "^peer_url +$GXBUS_PEER_URL  \\(environment\\)"
(
	GXBUS_CA=$GX_CA GX_CA=/nowhere run 0 status
	unset GXBUS_PEER_URL
	run 2 reconcile run social.insured
	says '^error GX7006: ' && says 'GXBUS_PEER_URL'
) || exit 1

step "the doctor: trouble at the source, a note above it"
run 0 doctor
shows '^note +held keys +[0-9]+ keys held; source node 450100 '
shows '^ok +quarantine +no record waits in it'
GXBUS_URL=$URL_OF_CITY run 10 doctor
shows '^trouble +quarantine +[0-9]+ records wait in it, of /450100/hrss/'
shows '^trouble +held keys '

step "batches, decoded"
run 0 topic tail gx.batch.450100 -n 1
shows "^batch .* $S epoch=[0-9]+ first=[0-9]+ n=[0-9]+ at="
shows '^  \{"op":"u","k":'

step "what is typed wrongly"
run 2 flwo list
says 'nearest command is: gxbus flow list$'
grep -q '?' "$D/e" && fail "an error ends in a question"
run 2 flow paus sink
says 'nearest command is: gxbus flow pause$'
run 2 qqqqqqqq
run 3 flow show nothing
run 2 quarantine show abc
says 'gxbus quarantine show 17'
run 2 stream show social.insured
says '/NODE/ORG/ADAPTER/RESOURCE/N' && says 'gxbus stream show /450100/'
run 2 stream show "$S/1"

step "common options may stand before the command, others not"
run 0 -o json flow list
shows '^\{"v":1,'
run 0 --output=json --color never flow list --url "$GXBUS_URL"
shows '^\{"v":1,'
run 2 --dry-run flow pause sink
says '^error GX7001: .*in front of its options' && says 'come after the command'
run 2 -o json
run 2 -o json flwo list

step "a CA that is not there, and none"
GX_CA=/nowhere run 2 status
says '^error GX7011: the file of the CA cannot be read: /nowhere'
GX_CA='' run 1 status
says '^error GX7012: ' && says '^next: Give --ca FILE or set GX_CA'

step "completion, in a real bash"
run 0 completion bash
cp "$D/o" "$D/complete.sh"
# completes WORDS... -- WANTED
completes() {
	PATH=$(dirname "$GXBUS"):$PATH bash --norc -c '
		. "$1"; shift
		want=${!#}; set -- "${@:1:$#-2}"
		COMP_WORDS=(gxbus "$@"); COMP_CWORD=$#
		complete -p gxbus >/dev/null || exit 1
		_gxbus
		printf "%s\n" "${COMPREPLY[@]}" | grep -qxF -- "$want"' \
		bash "$D/complete.sh" "$@" || fail "completion: $*"
}
completes qua -- quarantine
completes flow re -- resume
completes flow show si -- sink
completes stream show / -- "$S"
completes flow resume --acc -- --accept
(completes flow show zz -- sink) >/dev/null && fail "completion offers all"

step "every error is explained, by number and by code"
sed -n 's/^GX_ERROR(\([0-9]*\), "\([a-z_.0-9]*\)".*/\1 \2/p' \
	bus/base/errors.def >"$D/errors"
[ "$(wc -l <"$D/errors")" -gt 100 ] || fail "errors.def is read wrongly"
while read -r number code; do
	run 0 explain "GX$number"
	cp "$D/o" "$D/by-number"
	run 0 explain "$code"
	cmp -s "$D/o" "$D/by-number" || fail "explain $code"
	[ "$(wc -l <"$D/o")" = 4 ] || fail "explain $code: $(cat "$D/o")"
done <"$D/errors"
run 3 explain GX0001

step "status -w ends by SIGINT with 130, head by SIGPIPE in silence"
python3 - "$GXBUS" <<'PY' || fail "status -w"
import signal, subprocess, sys
p = subprocess.Popen([sys.argv[1], "status", "-w"], stdout=subprocess.PIPE,
                     stderr=subprocess.PIPE, restore_signals=True,
                     preexec_fn=lambda: signal.signal(signal.SIGINT,
                                                      signal.SIG_DFL))
assert p.stdout.readline().startswith(b"v ")
p.send_signal(signal.SIGINT)
out, err = p.communicate(timeout=5)
# A shell says 130 of either.
assert p.returncode in (130, -signal.SIGINT), p.returncode
assert err == b"", err
PY
"$GXBUS" help --all 2>"$D/e" | head -n 1 >"$D/o"
[ ! -s "$D/e" ] || fail "a closed pipe is told of: $(cat "$D/e")"

step "offline, nothing is asked of a node"
(
	unset GXBUS_URL GX_TOKEN GX_CA
	mkdir "$D/new" && run 0 init --role city --code 450200 --dir "$D/new"
	[ "$(stat -c %a "$D/new/node.key")" = 600 ] || fail "mode of node.key"
	run 6 init --role city --code 450200 --dir "$D/new" ||
		exit 1
	run 0 config explain guard_percent
	shows 'Mass-change guard'
	run 3 config explain nothing_of_that
	run 0 schema check --help
	shows '--schema FILE' && shows '--all ' && shows '--syntax '
	run 0 token create --help
	shows '--role ROLE +operator or auditor$'
	run 0 init --help
	shows '--role ROLE +hub, city or national$'
	echo '{"minLenght": 1}' >"$D/bad.json"
	run 5 schema check --schema "$D/bad.json"
	says '^error GX2001: minLenght at the root' && says '^next: '
	[ ! -s "$D/o" ] || fail "a refused schema wrote to stdout"
	run 2 schema check --schema "$D/bad.json" --syntax
	says '^error GX7001: '
	run 2 record check-id nothing 1
	says '^error GX7001: ' && says 'org-code'
	I=schemas/resources/social/insured.json
	run 0 resource check $I
	shows '^resource +social\.insured$'
	shows "^sm3 +$("$GXBUS" crypto sm3 $I)$"
	sed '/"key": \[/,/\]/s/aac001/aac999/' $I >"$D/bad.json"
	cmp -s $I "$D/bad.json" && fail "the sed changed nothing"
	run 5 resource check "$D/bad.json"
	says '^error GX2002: /x-gx-resource/key' && says '^next: '
	[ ! -s "$D/o" ] || fail "a refused resource wrote to stdout"
	[ "$(grep -c '^error ' "$D/e")" = 1 ] || fail "more than one fault"
	sed 's/"version": 1/"version": 0, "colour": 1/; s/"share": 2/"share": 9/' \
		"$D/bad.json" >"$D/worse.json"
	run 5 resource check "$D/worse.json"
	says '^error GX2002: /x-gx-resource: has an unknown member' &&
		says '^error GX2002: /x-gx-resource/version' &&
		says '^error GX2002: /x-gx-resource/key' &&
		says '^error GX2002: /properties/aac001/x-gx-item: share'
	[ "$(grep -c 'x-gx-item: share' "$D/e")" = \
		"$(grep -c '"share": 9' "$D/worse.json")" ] ||
		fail "not every property is named: $(cat "$D/e")"
	run 3 resource check "$D/none.json"
	printf abc | "$GXBUS" crypto sm3 | grep -qi 66c7f0f462eeedd9d1f2d46bdc10e4e2 ||
		fail "SM3 of abc"
	"$GXBUS" record check-id region 450100 >/dev/null || fail "check-id"
	run 3 crypto sm3 "$D/none.json"
	says "none.json cannot be read"
	run 2 status
	run 3 status --profile nosuch
	says 'there is no profile nosuch'
) || exit 1

quiet_logs
passed
