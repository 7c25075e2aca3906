"""Files that departments deliver, and where each of their rows must land.

    python3 tests/scenario/file_corpus.py build/gxbus

A case is a layout, the bytes of a file, and what is expected: records and
refused lines, or that the file (or the layout) is refused as a whole.  Each
file is given as a file, through a pipe and packed, and must land the same.
Persons are invented.
"""

import gzip
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

GXBUS = sys.argv[1]
DIR = tempfile.mkdtemp(prefix="gxbus-files-")
FILE = 5  # exit code of a file or layout that is refused
MIB = 1 << 20
failed = []


def run(layout, data, how="file"):
    path = os.path.join(DIR, "layout.json")
    with open(path, "w", encoding="utf-8") as f:
        f.write(layout if isinstance(layout, str) else json.dumps(layout))
    words = [GXBUS, "adapter", "preview", "--type", "file", "--layout", path]
    stdin = None
    if how == "pipe":
        stdin = data
    else:
        name = os.path.join(DIR, "data")
        with open(name, "wb") as f:
            f.write(gzip.compress(data, 1) if how == "gzip" else data)
        words.append(name)
    return subprocess.run(words, input=stdin, capture_output=True, timeout=60)


def read_answer(done):
    """Exit code, records, [line or (line, last line)] of what is refused."""
    out = [json.loads(x) for x in done.stdout.decode().split("\n")[:-1]]
    refused = []
    if done.returncode in (0, 10):
        for text in done.stderr.decode().splitlines():
            row = json.loads(text)
            assert row["reason"]
            last = row.get("last_line")
            refused.append((row["line"], last) if last else row["line"])
    return done.returncode, out, refused


def check(name, layout, data, records=None, refused=(), code=None):
    if code is None:
        code = 10 if refused else 0
    want = (code, records or [], list(refused))
    hows = ["file", "pipe"]
    # A packed file may not grow beyond a hundred times its size.
    if len(data) < MIB:
        hows.append("gzip")
    for how in hows:
        got = read_answer(run(layout, data, how))
        if got != want:
            failed.append(name)
            print(f"{name} ({how}):\n  want {want!r:.400}\n  got  {got!r:.400}")
    check.n += 1


check.n = 0


def csv(*columns, **more):
    return dict({"format": "csv", "columns": list(columns)}, **more)


def fixed(*columns, **more):
    return dict({"format": "fixed", "columns": list(columns)}, **more)


def ab(a, b):
    return {"a": a, "b": b}


def delimited():
    p = csv("a", "b")
    q = csv("a", "b", quote='"')
    check("plain", p, b"1,2\n3,4\n", [ab("1", "2"), ab("3", "4")])
    check("no line end at the end", p, b"1,2\n3,4", [ab("1", "2"), ab("3", "4")])
    check("CRLF", p, b"1,2\r\n3,4\r\n", [ab("1", "2"), ab("3", "4")])
    check("CR within a field", p, b"1\r2,3\n", [ab("1\r2", "3")])
    check("empty file", p, b"", [])
    check("blanks are text", p, b" 1 ,\t2\n", [ab(" 1 ", "\t2")])
    check("leading zeros are text", p, b"001,1e5\n", [ab("001", "1e5")])
    check("formulas are text", p, b"=1+1,@x\n", [ab("=1+1", "@x")])
    check("NUL is text", p, b"a\0b,\0\n", [ab("a\0b", "\0")])
    check("controls are text", p, b"\x01\x7f,\\\n", [ab("\x01\x7f", "\\")])
    check("empty fields", p, b",\n", [ab("", "")])
    check("too few", p, b"1,2\n3\n5,6\n", [ab("1", "2"), ab("5", "6")], [2])
    check("too many", p, b"1,2\n3,4,5\n5,6\n", [ab("1", "2"), ab("5", "6")], [2])
    check("an empty line", p, b"1,2\n\n5,6\n", [ab("1", "2"), ab("5", "6")], [2])
    check("one column, an empty line", csv("a"), b"x\n\n", [{"a": "x"}, {"a": ""}])
    check("no quoting: quotes are text", p, b'"1,2"\n', [ab('"1', '2"')])
    check("quoted", q, b'"1,2","3""4"\n', [ab("1,2", '3"4')])
    check("quoted line ends", q, b'"1\r\n2\n",3\n4,5\n',
          [ab("1\r\n2\n", "3"), ab("4", "5")])
    check("quoted and empty", q, b'"",""\n', [ab("", "")])
    check("only quotes", q, b'"""",""""""\n', [ab('"', '""')])
    check("a quote within a field", q, b'1"2,3\n4,5\n', [ab("4", "5")], [1])
    check("text behind a quote", q, b'"1"2,3\n4,5\n', [ab("4", "5")], [1])
    check("a blank before a quote", q, b'1, "2"\n4,5\n', [ab("4", "5")], [1])
    check("a quote never closed", q, b'1,2\n3,"4\n5,6\n', [ab("1", "2")], [(2, 3)])
    check("lines are counted through quotes", q, b'"1\n\n",2\n3\n4,5\n',
          [ab("1\n\n", "2"), ab("4", "5")], [4])
    check("a bad row of several lines", q, b'"1\n2",3,4\n5,6\n', [ab("5", "6")],
          [(1, 2)])
    check("another quote", csv("a", "b", quote="'"), b"'1,','\"'\n",
          [ab("1,", '"')])
    d = csv("a", "b", delimiter="||")
    check("two characters", d, b"1|2||3\n", [ab("1|2", "3")])
    check("three of two", d, b"1|||3\n", [ab("1", "|3")])
    t = csv("a", "b", delimiter="@|$", trailing_delimiter=True)
    check("trailing", t, b"1@|$2@|$\n", [ab("1", "2")])
    check("trailing missing", t, b"1@|$2\n3@|$4@|$\n", [ab("3", "4")], [1])
    check("trailing and one field more", t, b"1@|$2@|$3@|$\n", [], [1])
    check("trailing not declared", p, b"1,2,\n3,4\n", [ab("3", "4")], [1])
    check("a delimiter of UTF-8", csv("a", "b", delimiter="，"),
          "一，二\n".encode(), [ab("一", "二")])
    check("TAB", csv("a", "b", delimiter="\t"), b"1\t2\n", [ab("1", "2")])


def header():
    h = csv("姓名", "b", header=True, encoding="gb18030", quote='"')
    row = {"姓名": "张三", "b": "2"}
    check("names", h, "姓名,b\n张三,2\n".encode("gbk"), [row])
    check("quoted names", h, '"姓名","b"\n张三,2\n'.encode("gbk"), [row])
    check("BOM before a quote", h, '\ufeff"姓名",b\n张三,2\n'.encode("gb18030"),
          [row])
    check("names only", h, "姓名,b\n".encode("gbk"), [])
    for name, first in (("another name", "姓名,c"), ("another order", "b,姓名"),
                        ("a name more", "姓名,b,c"), ("a name less", "姓名"),
                        ("a blank in it", "姓名, b"), ("no names", "张三,2")):
        check(name, h, (first + "\n张三,2\n").encode("gbk"), code=FILE)
    check("names missing", h, b"", code=FILE)
    check("names of another encoding", h, "姓名,b\n".encode(), code=FILE)


def encodings():
    u = csv("a", "b")
    b = csv("a", "b", encoding="gbk", delimiter="|")
    g = csv("a", "b", encoding="gb18030", quote='"')
    good = ab("4", "5")
    check("UTF-8 BOM", u, "\ufeff一,二\n".encode(), [ab("一", "二")])
    check("a BOM later is text", u, "1,\ufeff2\n".encode(), [ab("1", "\ufeff2")])
    for name, bad in (("stray byte", b"\xff"), ("overlong", b"\xc0\xaf"),
                      ("surrogate", b"\xed\xa0\x80"), ("cut", b"\xe4\xb8"),
                      ("above U+10FFFF", b"\xf4\x90\x80\x80"),
                      ("GBK in UTF-8", "张".encode("gbk"))):
        check("UTF-8: " + name, u, b"1," + bad + b"\n4,5\n", [good], [1])
    # 7C, 5C, 22 as second bytes: 0x7C of a pair is no delimiter.
    check("| within a character", b, b"\x81|\x82||5\n",
          [ab(b"\x81|\x82|".decode("gbk"), "5")])
    check("\\ within a character", b, b"\x81\\|5\n",
          [ab(b"\x81\\".decode("gbk"), "5")])
    check("a lead byte before a delimiter", csv("a", "b", encoding="gbk"),
          b"\x81,2\n4,5\n", [good], [1])
    check("a lead byte before a line end", csv("a", "b", encoding="gbk"),
          b"1,\x81\n4,5\n", [good], [1])
    check("a pair that means nothing holds its byte", b, b"\xff|2\n4|5\n",
          [good], [1])
    check("GBK: no euro at 80", b, b"\x80|2\n4|5\n", [good], [1])
    check("GBK: no four bytes", b, "𠂇|2\n4|5\n".encode("gb18030"), [good], [1])
    check("GB18030: four bytes", g, "𠂇,㐀\n".encode("gb18030"), [ab("𠂇", "㐀")])
    check("GB18030: euro", g, b"\xa2\xe3,2\n", [ab("€", "2")])
    check("GB18030: U+10FFFD", g, "\U0010fffd,2\n".encode("gb18030"),
          [ab("\U0010fffd", "2")])
    check("GB18030: BOM", g, b"\x84\x31\x95\x334,5\n", [good])
    for name, bad in (("C1 control", b"\x81\x30\x81\x30"),
                      ("non-character", b"\x84\x31\xa4\x39"),
                      ("beyond Unicode", b"\xe3\x32\x9a\x36"),
                      ("cut after one", b"\x81"), ("cut after two", b"\x81\x30"),
                      ("cut after three", b"\x81\x30\x81"),
                      ("FF", b"\xff"), ("80", b"\x80"), ("pair 7F", b"\x81\x7f")):
        check("GB18030: " + name, g, b"1," + bad + b"\n4,5\n", [good], [1])
    check("bad bytes in quotes", g, b'1,"\xff\n"\n4,5\n', [good], [(1, 2)])


def limits():
    one = csv("a")
    big = b"x" * MIB
    check("1 MiB", one, big + b"\nz\n", [{"a": "x" * MIB}, {"a": "z"}])
    check("1 MiB and a byte", one, big + b"x\nz\n", [{"a": "z"}], [1])
    check("a line of 20 MiB", one, big * 20 + b"\nz\n", [{"a": "z"}], [1])
    check("a quoted field of 20 MiB", csv("a", quote='"'),
          b'"' + (big + b"\n") * 20 + b'"\nz\n', [{"a": "z"}], [(1, 21)])
    names = ["c%d" % i for i in range(1024)]
    line = ",".join(names).encode()
    check("1,024 fields", csv(*names), line + b"\n", [dict(zip(names, names))])
    check("1,025 fields", csv(*names), line + b",x\n", [], [1])
    check("100,000 fields", one, b"," * 100000 + b"\nz\n", [{"a": "z"}], [1])


def types():
    def typed(kind, good, bad, **more):
        layout = csv(dict({"name": "v", "type": kind}, **more), "k")
        lines = [g for g, _ in good] + list(bad)
        data = "".join(f"{x},k\n" for x in lines).encode()
        records = [dict({} if v is None else {"v": v}, k="k") for _, v in good]
        first = len(good) + 1
        check(f"{kind} {more}", layout, data, records,
              range(first, first + len(bad)))

    typed("integer", [("0", 0), ("-7", -7), ("+007", 7), ("", None),
                      ("123456789012345678901234567890",
                       123456789012345678901234567890)],
          ["1.0", "1e3", "0x1", " 1", "一", "1 2", "-", "１"])
    typed("decimal", [("1.50", "1.50"), ("-0.00", "0.00"), ("007", "7"),
                      ("0.1000000000000000000001", "0.1000000000000000000001")],
          ["1,5", "1.", ".5", "1e3", "NaN", "1.2.3"][1:])
    typed("decimal", [("1.5", "1.50"), ("2", "2.00"), ("1.2300", "1.23")],
          ["1.234"], scale=2)
    typed("decimal", [("150", "1.50"), ("-005", "-0.05")], ["5", "1.5"],
          implied=2)
    typed("date", [("20240229", "2024-02-29"), ("2024-2-9", "2024-02-09"),
                   ("2024/02/09", "2024-02-09"), ("2024年2月9日", "2024-02-09"),
                   ("", None)],
          ["20230229", "2024-13-01", "2024-02/09", "240229", "00000101",
           "20240200", "2024-02-09x", "202402"])
    typed("month", [("202406", "2024-06"), ("2024-6", "2024-06"),
                    ("2024年6月", "2024-06")], ["202413", "2024", "20240601"])
    stamp = "2024-06-30T08:15:00.000+08:00"
    typed("timestamp", [("20240630081500", stamp), ("2024-06-30 08:15:00", stamp),
                        ("2024/6/30T08:15:00", stamp)],
          ["20240630", "2024-06-30 24:00:00", "2024063008150"])
    typed("boolean", [("1", True), ("否", False), ("true", True), ("N", False)],
          ["2", "yes", "TRUE", " 1"])
    typed("string", [("x", "x")], [""], required=True)
    check("items", csv({"name": "a", "item": 'q"\u540d'}, {"name": "b", "item": None}),
          b"1,2\n", [{'q"\u540d': "1"}])
    check("a column that is in no record is checked",
          csv("a", {"name": "b", "item": None, "type": "integer"}),
          b"1,x\n4,5\n", [{"a": "4"}], [1])
    check("trim", csv("a", {"name": "b", "trim": "none"}, trim="both"),
          " 1\u3000, 2\n".encode(), [ab("1", " 2")])


def widths():
    f = fixed({"name": "a", "width": 4}, {"name": "n", "width": 5, "type": "integer"},
              encoding="gb18030")
    check("bytes", f, "张三   12\n李四00003\r\n".encode("gbk"),
          [{"a": "张三", "n": 12}, {"a": "李四", "n": 3}])
    check("strings keep their blanks", f, b"ab      12\n"[:4] + b"   12\n",
          [{"a": "ab  ", "n": 12}])
    check("too short, too long", f, b"abcd   1\nabcd    1 \nabcd    2\n",
          [{"a": "abcd", "n": 2}], [1, 2])
    check("half a character", f, "a张三  12\n李四00003\n".encode("gbk"),
          [{"a": "李四", "n": 3}], [1])
    c = fixed({"name": "a", "width": 2, "trim": "right"}, {"name": "b", "width": 2},
              encoding="gb18030", width_unit="characters")
    check("characters", c, "张三ab\n𠂇 四a\n".encode("gb18030"),
          [ab("张三", "ab"), ab("𠂇", "四a")])
    check("characters: width", c, "张三a\n张三abc\n张三ab\n".encode("gbk"),
          [ab("张三", "ab")], [1, 2])
    check("fixed: bad bytes", f, b"\xff\xffab    1\nabcd    2\n",
          [{"a": "abcd", "n": 2}], [1])
    check("fixed: names", dict(f, header=True), b"a   n    \nabcd    2\n",
          [{"a": "abcd", "n": 2}])
    check("fixed: frame", dict(f, trailer={"columns": [
        {"width": 1, "equals": "T"}, {"width": 3, "count": True},
        {"width": 6, "sum": "n"}]}), b"abcd    2\nabcd   40\nT  2    42\n",
        [{"a": "abcd", "n": 2}, {"a": "abcd", "n": 40}])


def frames():
    t = csv("k", {"name": "v", "type": "decimal"}, header=True, trailer={
        "columns": [{"equals": "T"}, {"count": True}, {"sum": "v"}]})
    rows = b"k,v\na,0.10\nb,0.20\nc,1000000000000000.01\n"
    want = [{"k": "a", "v": "0.10"}, {"k": "b", "v": "0.20"},
            {"k": "c", "v": "1000000000000000.01"}]
    check("trailer", t, rows + b"T,3,1000000000000000.31\n", want)
    check("trailer, other digits", t, rows + b"T,03,1000000000000000.310", want)
    for name, last in (("a cent less", b"T,3,1000000000000000.30\n"),
                       ("a row less", b"T,2,1000000000000000.31\n"),
                       ("another mark", b"X,3,1000000000000000.31\n"),
                       ("no number", b"T,3,x\n"), ("no trailer", b""),
                       ("cut", b"T,3,100000000000000"), ("a field less", b"T,3\n"),
                       ("a line behind", b"T,3,1000000000000000.31\n\n")):
        check("trailer: " + name, t, rows + last, code=FILE)
    check("a doubled row", t, rows + b"a,0.10\nT,3,1000000000000000.31\n", code=FILE)
    check("a refused row counts", dict(t, columns=["k", {"name": "v",
          "type": "decimal", "scale": 1}]), b"k,v\na,0.15\nb,0.2\nT,2,0.35\n",
          [{"k": "b", "v": "0.2"}], [2])
    check("an amount that cannot be read", t, b"k,v\na,x\nb,0.2\nT,2,0.2\n",
          code=FILE)
    check("a frame that is right and a bad character", t,
          b"k,v\n\xff,1\nb,0.2\nT,2,1.2\n", [{"k": "b", "v": "0.2"}], [2])
    leader = csv("k", {"name": "v", "type": "decimal"}, leader={
        "columns": [{"equals": "H"}, {"count": True},
                    {"sum": "v", "implied": 2}]})
    check("leader", leader, b"H,1,150\na,1.5\n", [{"k": "a", "v": "1.5"}])
    check("leader: sum", leader, b"H,1,151\na,1.5\n", code=FILE)
    check("leader: count", leader, b"H,2,150\na,1.5\n", code=FILE)
    check("leader: missing", leader, b"", code=FILE)
    with open("schemas/layouts/housing-fund-deposits.json", encoding="utf-8") as f:
        fund = json.load(f)
    row = "%d@|$45010000%02d@|$张三@|$x@|$D1@|$某公司@|$8000@|$960@|$960.5@|$@|$01" \
          "@|$20200101@|$202606@|$\n"
    text = row % (1, 1) + row % (2, 2)
    record = {"xing_ming": "张三", "zjhm": "x", "dwzh": "D1", "dwmc": "某公司",
              "grjcjs": "8000.00", "gryjce": "960.00", "dwyjce": "960.50",
              "grzhzt": "01", "khrq": "2020-01-01", "jcny": "2026-06"}
    check("housing fund", fund, (text + "TOTAL@|$2@|$1920@|$1921@|$\n").encode("gbk"),
          [dict(record, grzh="450100000%d" % i) for i in (1, 2)])
    check("housing fund: total", fund,
          (text + "TOTAL@|$2@|$1920@|$1921.01@|$\n").encode("gbk"), code=FILE)


def packed():
    one = csv("a")
    good = gzip.compress(b"x\ny\n")
    want = (0, [{"a": "x"}, {"a": "y"}], [])
    bad = bytearray(good)
    bad[-5] ^= 1
    for name, data, answer in (
            ("good", good, want), ("cut", good[:-1], None),
            ("head only", good[:10], None), ("damaged", bytes(bad), None),
            ("a second member", good + good, None), ("bytes behind", good + b"x", None),
            ("packed twice", gzip.compress(good), None),
            ("bomb", gzip.compress(b"x\n" * (200 << 20 >> 1), 9), None),
            ("BOM", gzip.compress("\ufeffx\ny\n".encode()), want),
            ("nothing", gzip.compress(b""), (0, [], []))):
        for how in ("file", "pipe"):
            got = read_answer(run(one, data, how))
            if got != (answer or (FILE, [], [])):
                failed.append("gzip: " + name)
                print(f"gzip: {name} ({how}): {got!r:.300}")
        check.n += 1


def layouts():
    base = csv("a", {"name": "v", "type": "decimal"})
    check("layout: the good twin", base, b"1,2\n", [{"a": "1", "v": "2"}])
    col = {"name": "a"}
    for name, layout in (
            ("no JSON", "{"), ("a list", "[]"), ("no format", {"columns": ["a"]}),
            ("another format", dict(base, format="xls")),
            ("unknown key", dict(base, quotes='"')),
            ("another encoding", dict(base, encoding="latin1")),
            ("no columns", {"format": "csv"}), ("none of them", csv()),
            ("1,025 columns", csv(*["c%d" % i for i in range(1025)])),
            ("a name twice", csv("a", "a")), ("an item twice",
             csv("a", {"name": "b", "item": "a"})),
            ("empty delimiter", dict(base, delimiter="")),
            ("LF in the delimiter", dict(base, delimiter="\n")),
            ("a long quote", dict(base, quote="''")),
            ("the quote is the delimiter", dict(base, quote=",")),
            ("header no flag", dict(base, header="yes")),
            ("a width in csv", csv(dict(col, width=1))),
            ("no width in fixed", fixed(col)), ("width 0", fixed(dict(col, width=0))),
            ("delimiter in fixed", fixed(dict(col, width=1), delimiter=",")),
            ("unknown type", csv(dict(col, type="money"))),
            ("scale of a string", csv(dict(col, scale=2))),
            ("unknown key of a column", csv(dict(col, with_=1))),
            ("a sum of nothing", dict(base, trailer={"columns": [{"sum": "x"}]})),
            ("a sum of text", dict(base, trailer={"columns": [{"sum": "a"}]})),
            ("two checks", dict(base, trailer={"columns": [
                {"sum": "v", "count": True}]})),
            ("unknown check", dict(base, trailer={"columns": [{"max": "v"}]}))):
        check("layout: " + name, layout, b"1,2\n", code=FILE)


def against_python():
    """Random files beside Python's codec and a splitter of ten lines."""
    rng = random.Random(13)
    alphabet = list('ab,"\n\r\\|@$ ') + list("张三𠂇é丂乗")
    layout = csv("a", "b", encoding="gb18030", quote='"', delimiter="@|")
    good = 0
    for _ in range(150):
        lines = []
        for _ in range(20):
            fields = []
            for _ in range(2):
                text = "".join(rng.choice(alphabet) for _ in range(rng.randrange(8)))
                fields.append(text)
            lines.append(fields)
        data = b"".join(
            b"@|".join(b'"' + f.replace('"', '""').encode("gb18030") + b'"' for f in x)
            + b"\n" for x in lines)
        code, out, refused = read_answer(run(layout, data))
        if (code, out, refused) != (0, [ab(*x) for x in lines], []):
            failed.append("random")
            print("random:", data[:200], out[:3])
        good += len(out)
    assert good == 3000, good
    check.n += 1


def memory_and_twice():
    """Memory is flat in the size of a file; the second time says the same."""
    layout = csv("a", {"name": "v", "type": "decimal"}, encoding="gb18030",
                 trailer={"columns": [{"equals": "T"}, {"count": True}]})
    line = "张三李四王五,12.50\n".encode("gbk")
    digests = []
    for n in (20000, 20000, 1500000):
        run(layout, line * n + b"T,%d\n" % n, "file")
        digests.append(run_within(16384, n))
    # The digests differ where the file does: the control of their equality.
    if digests[0] != digests[1] or digests[0] == digests[2]:
        failed.append("twice")
    if run_within(256, None):
        failed.append("memory: the limit is none")
    check.n += 1


def run_within(kib, n):
    """Digest of the records of the last file, made with so much memory."""
    words = ["sh", "-c", 'ulimit -d "$1"; shift; exec "$@"', "sh", str(kib), GXBUS,
             "adapter", "preview", "--type", "file", "--layout",
             os.path.join(DIR, "layout.json"), os.path.join(DIR, "data")]
    done = subprocess.run(words, capture_output=True, timeout=120)
    if n is None:
        return done.returncode == 0
    if done.returncode != 0 or done.stdout.count(b"\n") != n:
        failed.append("memory")
        print("memory:", n, done.returncode, done.stderr[:200])
    return hashlib.sha256(done.stdout).hexdigest()


memory_and_twice()
delimited()
header()
encodings()
limits()
types()
widths()
frames()
packed()
layouts()
against_python()
# The control: a wrong expectation is seen.
n = len(failed)
sys.stdout.flush()
out = sys.stdout
with open(os.devnull, "w", encoding="utf-8") as sys.stdout:
    check("control", csv("a"), b"1\n", [{"a": "2"}])
sys.stdout = out
if len(failed) == n:
    failed.append("control")
else:
    del failed[n:]
shutil.rmtree(DIR)
print(f"{check.n} cases, {len(failed)} wrong {sorted(set(failed))}")
sys.exit(1 if failed else 0)
