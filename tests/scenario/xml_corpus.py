"""Documents that departments and their enemies write, and where each must land.

    python3 tests/scenario/xml_corpus.py GXBUS

Each case is a document with the numbers of the projects that must be printed;
the others must be refused by number, or the whole document with exit 5 and
nothing printed.  A project is good unless a case says what is put into it, so
every refusal has good neighbours in the same document.  Texts are compared as
Python's own XML parser reads them.  Every refused value bears a mark that must
appear in no error; that it would be seen, the printed records show.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET

GXBUS = sys.argv[1]
NS = "urn:gxbus:investment-project:1"
XSD = "schemas/xsd/investment-project.xsd"
MAP = "schemas/maps/investment-project.json"
MARK = "Mark7x"
XSI = ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
n_cases = 0
faults = []


def project(i, name=None, code=None, attrs="", unit=None, more="", order=None):
    code = code if code is not None else f"2607-450100-04-01-{i:06d}"
    code = f' code="{code}"' if code else ""
    name = name if name is not None else f"<name>{MARK} 某某路工程 {i}</name>"
    unit = unit if unit is not None else (
        '<unit uscc="91450100MA5KXY12X6"><name>某某有限公司</name></unit>')
    inner = unit + name + more if order else name + unit + more
    return f"  <project{code}{attrs}>{inner}</project>\n"


def frame(*projects, attrs="", head=HEAD, ns=NS):
    return f'{head}<projects xmlns="{ns}"{attrs}>\n' + "".join(projects) + \
        "</projects>\n"


def call(doc, *args, **kw):
    data = doc if isinstance(doc, bytes) else doc.encode("utf-8")
    return subprocess.run([GXBUS, "adapter", "preview", "--type", "xml", *args],
                          input=data, capture_output=True, timeout=60, **kw)


def fault(name, what):
    faults.append(f"{name}: {what}")


def names_by_python(doc):
    root = ET.fromstring(doc if isinstance(doc, bytes) else doc.encode())
    return ["".join(p.find(f"{{{NS}}}name").itertext()).strip(" \t\r\n\u3000")
            for p in root if p.find(f"{{{NS}}}name") is not None]


def case(name, doc, printed=None, refused=(), xsd=True, why=None):
    """printed None: the document must be refused whole."""
    global n_cases
    n_cases += 1
    r = call(doc, "--map", MAP, *(["--xsd", XSD] if xsd else []))
    if MARK.encode() in r.stderr:
        fault(name, "content in an error")
    if printed is None:
        if r.returncode != 5 or r.stdout:
            fault(name, f"not refused whole: {r.returncode}")
        elif why and why.encode() not in r.stderr:
            fault(name, f"{why} not in {r.stderr!r}")
        return
    if r.returncode != (10 if refused else 0):
        return fault(name, f"exit {r.returncode}: {r.stderr!r}")
    rows = [json.loads(x) for x in r.stdout.splitlines()]
    said = [json.loads(x) for x in r.stderr.splitlines()]
    if [x["record"] for x in said] != list(refused) or \
            any(not x["reason"] or x["line"] < 1 for x in said):
        fault(name, f"refused {r.stderr!r}")
    got = [x["project_name"] for x in rows]
    everything = names_by_python(doc)
    if got != [everything[i - 1] for i in printed]:
        fault(name, f"printed {got!r}")
    if why and why not in r.stderr.decode():
        fault(name, f"{why} not in {r.stderr!r}")


def bad_middle(name, wrong, **kw):
    """Two good projects around a wrong one."""
    attrs = kw.pop("attrs", "")
    case(name, frame(project(1), wrong, project(3), attrs=attrs), [1, 3], [2],
         **kw)


def good_middle(name, right, attrs="", xsd=True):
    case(name, frame(project(1), right, project(3), attrs=attrs), [1, 2, 3],
         xsd=xsd)


def one_project_refused():
    bad_middle("no code", project(2, code=""), why="type.4")
    bad_middle("no code, no xsd", project(2, code=""), xsd=False,
               why="project_code")
    for what, code in [("month 13", "2613-450100-04-01-000001"),
                       ("year 2021", "2021-450100-04-01-000001"),
                       ("region", "2607-990100-04-01-000001"),
                       ("other province's city", "2607-452900-04-01-000001"),
                       ("short", "2607-450100-04-01-00001"),
                       ("letters", "26O7-450100-04-01-000001"),
                       ("full width", "２607-450100-04-01-000001"),
                       ("blank", "2607 450100-04-01-000001")]:
        bad_middle("code: " + what, project(2, code=code), xsd=False,
                   why="project_code")
    for what, code in [("older form", "2018-450100-04-01-000001"),
                       ("2011 is November", "2011-450100-04-01-00000X"),
                       ("ministry", "2020-000052-04-01-000001")]:
        good_middle("code: " + what, project(2, code=code))
    bad_middle("uscc", project(2, unit='<unit uscc="91450100MA5KXY12X7">'
                               "<name>a</name></unit>"), why="unit_uscc")
    bad_middle("name twice", project(2, name="<name>a</name><name>b</name>"),
               xsd=False, why="project_name")
    bad_middle("name twice, xsd", project(2, name="<name>a</name>" * 2))
    bad_middle("name empty", project(2, name="<name/>"), why="minLength")
    bad_middle("name long", project(2, name=f"<name>{MARK}{'长' * 500}</name>"),
               why="maxLength")
    bad_middle("name above 1 MiB", project(2, name=f"<name>{'x' * 1048577}"
                                           "</name>"), xsd=False, why="1 MiB")
    bad_middle("order", project(2, order=True), why="2.4")
    bad_middle("unknown element", project(2, more=f"<{MARK}/>"))
    bad_middle("unknown attribute", project(2, attrs=f' {MARK}="1"'))
    bad_middle("status", project(2, attrs=f' status="{MARK}"'),
               why="enumeration")
    bad_middle("text between", project(2, more=MARK))
    bad_middle("other namespace", project(2, more='<x xmlns="urn:2"/>'))
    for total in ["", "1,250.50", "-1", "1e3", "12345678901234567890.1234567",
                  "NaN", "１２"]:
        bad_middle(f"total {total!r}", project(2, more="<investment><total>"
                   f"{total}</total></investment>"))
    for total in [" 1250.50 ", "0", "123456789012345678901234"]:
        good_middle(f"total {total!r}", project(2, more="<investment><total>"
                    f"{total}</total></investment>"))
    for date in ["2026-02-30", "2026-13-01", "20260701", "2026/07/01"]:
        bad_middle(f"date {date}", project(2, more="<investment><total>1"
                   f"</total><start>{date}</start></investment>"))
    bad_middle("nil with content", project(2, more="<investment><total>1"
               '</total><start xsi:nil="true">2026-07-01</start></investment>'),
               attrs=XSI)
    good_middle("nil", project(2, more="<investment><total>1</total>"
                '<start xsi:nil="true"/></investment>'), attrs=XSI)
    bad_middle("not nillable", project(2, more="<investment>"
               '<total xsi:nil="true"/></investment>'), attrs=XSI)
    bad_middle("step without date", project(2, more="<steps><step><name>a"
               "</name></step></steps>"))
    bad_middle("no document", project(2, more="<documents/>"))
    good_middle("200 documents", project(2, more="<documents>"
                + '<document number="1"/>' * 200 + "</documents>"))
    bad_middle("201 documents", project(2, more="<documents>"
               + '<document number="1"/>' * 201 + "</documents>"))
    case("all wrong", frame(*[project(i, code="") for i in (1, 2, 3)]), [],
         [1, 2, 3])
    case("first and last", frame(project(1, code=""), project(2),
                                 project(3, order=True)), [2], [1, 3])


def texts():
    for what, text in [
            ("entities", "&lt;&gt;&amp;&apos;&quot;&amp;amp;"),
            ("references", "&#20013;&#x4e2d;&#x20087;&#9;x&#13;"),
            ("cdata", "a<![CDATA[<b> & ]] > c]]>d"),
            ("comment", "a<!-- <b> & -->c"),
            ("instruction", "a<?p <b> & ?>c"),
            ("line ends", "a\r\nb\rc"),
            ("blanks within", "a  b\u3000c"),
            ("blanks around", " \u3000\n a \t\u3000"),
            ("outside the BMP", "𠂇𬱖"),
            ("quotes", "\"\\/\b".replace("\b", "")),
            ("C1", "a\u0085b\u2028c"),
    ]:
        good_middle("text: " + what, project(2, name=f"<name>{text}</name>"))
    good_middle("prefix", project(2, name=f'<q:name xmlns:q="{NS}">a</q:name>'))
    good_middle("namespace again", project(2, name=f'<name xmlns="{NS}">a'
                                           "</name>"))
    case("no projects", frame(), [])
    case("one line", frame(project(1)).replace("\n", ""), [1])


def whole_documents():
    good = frame(project(1), project(2))
    case("good", good, [1, 2])
    case("BOM", b"\xef\xbb\xbf" + good.encode(), [1, 2])
    case("no declaration", frame(project(1), head=""), [1])
    case("cut in a project", good[:-60])
    case("cut at the end", good[:-3])
    case("empty", "")
    case("not XML", MARK)
    case("two roots", good + good.split("\n", 1)[1])
    case("text behind", good + MARK)
    case("wrong end tag", good.replace("</name>", "</nam>", 1))
    case("bare ampersand", frame(project(1), project(2, name="<name>a & b"
                                                     "</name>")))
    case("unknown entity", frame(project(1), project(2, name="<name>&nbsp;"
                                                     "</name>")))
    case("attribute twice", frame(project(1, attrs=' code="x"')))
    case("control", frame(project(1), project(2, name="<name>\x01</name>")))
    case("NUL", frame(project(1)).encode().replace(b"Mark7x", b"\0ark7x"))
    case("bad UTF-8", frame(project(1)).encode().replace(b"\xe6", b"\xff", 1))
    case("prefix unbound", frame(project(1), project(2, more="<q:x/>")))
    case("XML 1.1", good.replace('"1.0"', '"1.1"'))
    case("frame's attribute", frame(project(1), attrs=' x="1"'), None,
         why="GX7154")
    case("frame's element", frame(project(1), "<other/>\n"), None,
         why="GX7154")
    case("frame's text", frame(project(1), "text\n"), None, why="GX7154")
    case("another root", frame(project(1)).replace("projects", "p"), None,
         why="GX7154")
    case("another namespace", frame(project(1), ns="urn:2"), None,
         why="GX7154")
    case("depth", frame(project(1)) .replace("</projects>", "<q>" * 300
         + "</q>" * 300 + "</projects>"), xsd=False)


def hostile():
    body = frame(project(1), head="")
    for what, dtd in [
            ("empty DTD", "<!DOCTYPE projects>"),
            ("declarations", "<!DOCTYPE projects [<!ELEMENT a ANY>]>"),
            ("laughs", "<!DOCTYPE p [<!ENTITY a 'x'>" + "".join(
                f"<!ENTITY a{i} '{f'&a{i - 1 or str()};' * 10}'>"
                for i in range(1, 10)) + "]>"),
            ("XXE", "<!DOCTYPE p [<!ENTITY e SYSTEM 'file:///etc/hostname'>]>"),
            ("network", "<!DOCTYPE p SYSTEM 'http://127.0.0.1:9/x.dtd'>"),
            ("parameter", "<!DOCTYPE p [<!ENTITY % e SYSTEM 'x'> %e;]>"),
    ]:
        case("DTD: " + what, HEAD + dtd + body, None, why="GX7153")
    case("DTD in UTF-16", ("<!DOCTYPE p>" + body).encode("utf-16"), None,
         why="GX7153")
    case("DTD in GB18030", ('<?xml version="1.0" encoding="GB18030"?>'
         "<!DOCTYPE p>" + body).encode("gb18030"), None, why="GX7153")
    case("DTD at the end", frame(project(1)) + "<!DOCTYPE p>")
    for what, wrong in [
            ("attributes", "<x " + " ".join(f"a{i}=''" for i in range(200000))
             + "/>"),
            ("attributes in a namespace", "<x " + " ".join(
                f"xmlns:a{i}='u{i}'" for i in range(50000)) + "/>"),
            ("long tag", "<x a='" + "x" * 70000 + "'/>"),
            ("long name", "<" + "x" * 2000 + "/>"),
            ("long comment", "<!--" + "x" * 11000000 + "-->"),
            ("levels", "<x>" * 100000)]:
        at = time.monotonic()
        case("hostile: " + what, frame(project(1), wrong), None, xsd=False)
        if time.monotonic() - at > 10:
            fault("hostile: " + what, "took longer than 10 s")


def encodings():
    for enc in ["gb18030", "gbk", "gb2312", "utf-16"]:
        head = f'<?xml version="1.0" encoding="{enc}"?>\n'
        text = frame(project(1), project(2), head=head)
        doc = text.encode(enc)
        r = call(doc, "--map", MAP, "--xsd", XSD)
        want = call(frame(project(1), project(2)), "--map", MAP)
        if r.returncode or r.stdout != want.stdout or not r.stdout:
            fault("encoding " + enc, f"{r.returncode} {r.stderr!r}")
        case(enc + " cut", doc[:-len("s>\n".encode(enc)) + 1])
        if enc != "gb2312":
            case(enc + " cut behind", doc + "\u4e2d".encode(enc)[-2:-1])
    head = '<?xml version="1.0" encoding="GB18030"?>\n'
    doc = frame(project(1), head=head).encode("gb18030")
    case("GB18030: lone 80", doc.replace(b"Mark7x", b"\x80ark7x"))
    case("GB18030: FF", doc.replace(b"Mark7x", b"\xffark7x"))
    case("GB18030 that says UTF-8", frame(project(1)).encode("gb18030"))
    case("UTF-8 that says UTF-16", frame(project(1), head=HEAD.replace(
        "UTF-8", "UTF-16")).encode())
    case("UTF-32", frame(project(1)).encode("utf-32"))
    case("unknown encoding", frame(project(1), head=HEAD.replace("UTF-8", "x")))
    case("ISO-2022-JP", frame(project(1), head=HEAD.replace(
        "UTF-8", "ISO-2022-JP")))


def command():
    good = frame(project(1))
    with tempfile.TemporaryDirectory() as d:
        def put(name, text):
            path = os.path.join(d, name)
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
            return path

        def want(name, code, *args, doc=good, empty=True):
            global n_cases
            n_cases += 1
            r = call(doc, *args)
            if r.returncode != code or (empty and r.stdout) or \
                    (code and not r.stderr):
                fault(name, f"exit {r.returncode} {r.stderr!r}")

        want("no map", 2)
        want("unknown option", 2, "--map", MAP, "--mapp", MAP)
        want("map twice", 2, "--map", MAP, "--map", MAP)
        want("no such map", 3, "--map", d + "/none")
        want("no such xsd", 3, "--map", MAP, "--xsd", d + "/none")
        want("no such file", 3, "--map", MAP, d + "/none")
        want("a folder", 1, "--map", MAP, d)
        want("map unknown key", 5, "--map", put(
            "m1", '{"record":"/a","field":[]}'))
        want("map no JSON", 5, "--map", put("m2", "{"))
        want("xsd no XML", 5, "--map", MAP, "--xsd", put("x1", "<"))
        want("xsd outside", 5, "--map", MAP, "--xsd", put(
            "x2", '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">'
            f'<xs:include schemaLocation="{os.path.abspath(XSD)}"/>'
            "</xs:schema>"))
        want("file", 0, "--map", MAP, put("a.xml", good), doc="", empty=False)
        want("minus", 0, "--map", MAP, "-", empty=False)
        left = set(os.listdir(d))
        call(good, "--map", MAP, env={**os.environ, "TMPDIR": d})
        if set(os.listdir(d)) != left:
            fault("temporary files", "one is left")


def memory():
    """Ten times the document, the same memory; and the same answer again."""
    peaks, out = [], []
    with tempfile.TemporaryDirectory() as d:
        for n in (5000, 50000, 50000):
            path = os.path.join(d, "big.xml")
            with open(path, "w", encoding="utf-8") as f:
                f.write(f'{HEAD}<projects xmlns="{NS}">\n')
                for i in range(n):
                    f.write(project(i, code="" if i % 1000 == 7 else None))
                f.write("</projects>\n")
            code = (
                "import resource, subprocess, sys\n"
                "r = subprocess.run(sys.argv[1:], capture_output=True)\n"
                "import hashlib\n"
                "print(r.returncode, len(r.stderr.splitlines()),\n"
                "      hashlib.sha256(r.stdout).hexdigest(),\n"
                "      resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
            r = subprocess.run(
                [sys.executable, "-c", code, GXBUS, "adapter", "preview",
                 "--type", "xml", "--map", MAP, "--xsd", XSD, path],
                capture_output=True, text=True, timeout=120)
            rc, refused, digest, peak = r.stdout.split()
            if rc != "10" or int(refused) != n // 1000:
                fault("memory", r.stdout)
            peaks.append(int(peak))
            out.append(digest)
    if peaks[1] > peaks[0] + 4096:
        fault("memory", f"grows with the document: {peaks} KiB")
    if out[1] != out[2]:
        fault("memory", "the second run is another")
    print(f"peak {peaks} KiB for 5000 and 50000 projects")


for part in (one_project_refused, texts, whole_documents, hostile, encodings,
             command, memory):
    part()
for f in faults:
    print("FAULT", f)
print(f"{n_cases} cases, {len(faults)} faults")
sys.exit(1 if faults or n_cases < 100 else 0)
