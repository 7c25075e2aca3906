"""Rules of the house that can be seen in the text of the tree.

Each rule is a function that yields (file, line, message).  A message that
begins with "warning: " is printed and fails nothing.  tests/lint.sh runs this
together with the compilers; tests/lint-selftest.sh breaks each rule once in a
copy of the tree and sees it caught.

    python3 tests/lint_text.py              check
    python3 tests/lint_text.py --write-docs make docs/metrics.md and README's lists again
"""

import os
import re
import subprocess
import sys

# A file may include what is on a lower layer, and its own folder.
LAYERS = {
    "bus/base": 0,
    "bus/record": 1,
    "bus/trust": 2,
    "bus/port": 3,
    "catalog": 4,
    "adapters": 4,
    "bus/flow": 5,
    "bus/consumers": 6,
    "bus/node": 7,
}
# What the layers alone would allow and the design does not.
FORBIDDEN = [("bus/flow", "catalog")]
# The command line: these and its own.
CLI_MAY = re.compile(r"(cli|bus/base|bus/record|bus/trust)/|bus/port/http\w*\.h$")

# Third-party headers and their one home.
HOMES = [
    (r"yajl/", r"bus/base/json\w*\.c"),
    (r"iconv\.h", r"bus/base/text\.c"),
    (r"openssl/", r"bus/trust/sm\w*\.c"),
    (r"(libpq|postgres|pg_config|pgtypes|catalog/pg_)", r"bus/port/pg\w*\.c"),
    (
        r"librdkafka/",
        r"(bus/port/kafka\w*\.[ch]|tests/unit/t_kafka\w*\.c"
        r"|tests/bench/bare_relay\.c)",
    ),
    (r"microhttpd\.h", r"bus/port/http_\w+\.c"),
    (r"curl/", r"bus/port/http_\w+\.c"),
    (r"pcre2\.h", r"bus/record/\w+\.c"),
    (r"libxml/", r"bus/record/xml_\w+\.c"),
    (r"zlib\.h", r"(adapters|bus/port|bus/flow|bus/record|cli)/\w+\.c"),
    (r"ut(hash|list|array|string)\.h", r"(bus|adapters|catalog|cli|tests)/.*"),
    (r"cmocka\.h", r"tests/.*"),
]
LIBC = re.compile(
    r"(aio|arpa/inet|assert|ctype|dirent|dlfcn|endian|err|errno|fcntl|fenv"
    r"|float|fnmatch|ftw|getopt|glob|grp|ifaddrs|inttypes|langinfo|libgen"
    r"|libintl|limits|linux/\w+|locale|malloc|math|net/\w+|netdb|netinet/\w+"
    r"|poll|pthread|pwd|regex|sched|semaphore|setjmp|signal|spawn|stdalign"
    r"|stdarg|stdatomic|stdbool|stddef|stdint|stdio|stdlib|stdnoreturn"
    r"|string|strings|sys/\w+|sysexits|syslog|termios|threads|time|unistd"
    r"|wchar|wctype)\.h$"
)

BANNED = {
    "malloc": "bus/base/mem.c",
    "calloc": "bus/base/mem.c",
    "realloc": "bus/base/mem.c",
    "reallocarray": "bus/base/mem.c",
    "free": "bus/base/mem.c",
    "strdup": "bus/base/mem.c",
    "strndup": "bus/base/mem.c",
    "asprintf": "bus/base/mem.c",
    "vasprintf": "bus/base/mem.c",
    "strcpy": None,
    "stpcpy": None,
    "strcat": None,
    "strncpy": None,
    "strncat": None,
    "sprintf": None,
    "vsprintf": None,
    "gets": None,
    "strtok": None,
    "atoi": None,
    "atol": None,
    "atoll": None,
    "atof": None,
    "rand": None,
    "srand": None,
    "random": None,
    "system": None,
    "sleep": None,
    "usleep": None,
    "alloca": None,
}

FILE_WARN, FILE_FAIL = 600, 900
FUNCTION_WARN, FUNCTION_FAIL = 80, 120
ESSAY_LINES = 8

# Functions and macros that set an error, and which argument is its code.
SETS_ERROR = {
    "GX_ERR": 2,
    "gx_conf_fault": 2,
    "gx_reader_stop": 4,
    "push_stop": 2,
}
VERDICT = re.compile(
    r"\bGX_(?:AGAIN|ABORT|REJECT|FENCED|FATAL),\s*"
    r'"([a-z][a-z0-9_]*\.[a-z0-9_]+)"'
)
SECTIONS = [
    (1000, 1999, "10xx base"),
    (2000, 2099, "20xx record"),
    (2100, 2999, "21xx trust"),
    (3000, 3999, "30xx port"),
    (4000, 4999, "40xx flow"),
    (5000, 5999, "50xx adapters"),
    (6000, 6999, "60xx node"),
    (7000, 7999, "70xx cli"),
]

VENDORED = re.compile(r"(^|/)(vendor|node_modules|third_party)/|\.min\.")
MACHINE = re.compile(
    r"(?<![\w.])/" r"(work|root|tmp/wt|home/\w+)" r"(?=[/\s\"'`)]|$)"
)


def list_files():
    """Files of the tree: tracked and not yet tracked, not ignored."""
    out = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        capture_output=True,
        text=True,
    )
    if out.returncode == 0:
        names = out.stdout.splitlines()
    else:
        names = []
        for folder, folders, files in os.walk("."):
            folders[:] = [f for f in folders if f not in (".git", "build")]
            names += [os.path.join(folder, f)[2:] for f in files]
    return sorted(n for n in names if os.path.isfile(n))


def read(name):
    with open(name, encoding="utf-8", errors="replace") as f:
        return f.read()


def blank(text, keep_strings=False):
    """Comments (and strings) as spaces, lines kept."""

    def spaces(m):
        s = m.group(0)
        if keep_strings and s[0] in "\"'":
            return s
        if s[0] in "\"'":
            return s[0] + re.sub(r"[^\n]", " ", s[1:-1]) + s[-1]
        return re.sub(r"[^\n]", " ", s)

    return re.sub(
        r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'",
        spaces,
        text,
        flags=re.S,
    )


def line_of(text, at):
    return text.count("\n", 0, at) + 1


class Tree:
    """The files, read once."""

    def __init__(self):
        self.files = [f for f in list_files() if not VENDORED.search(f)]
        self.text = {}
        for f in self.files:
            with open(f, "rb") as h:
                raw = h.read()
            if b"\0" not in raw[:8000]:
                self.text[f] = raw.decode("utf-8", errors="replace")
        self.c = [f for f in self.text if f.endswith((".c", ".h"))]
        self.product = [f for f in self.c if not f.startswith("tests/")]
        self.code = {f: blank(self.text[f]) for f in self.c}


def module_of(path):
    for m in LAYERS:
        if path.startswith(m + "/"):
            return m
    return "cli" if path.startswith("cli/") else None


def resolve(tree, path, name):
    """The file that #include "name" means in path."""
    here = os.path.normpath(os.path.join(os.path.dirname(path), name))
    for candidate in (here, "bus/" + name, name):
        if candidate in tree.text:
            return candidate
    return None


INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.M)


def includes(tree, path):
    code = blank(tree.text[path], keep_strings=True)
    for m in INCLUDE.finditer(code):
        yield line_of(code, m.start()), m.group(1) == '"', m.group(2)


def check_own_include(path, target):
    """What is wrong with path including target, or None."""
    mine, its = module_of(path), module_of(target)
    if mine is None:
        return f"file outside the modules includes {target}"
    if mine == "cli":
        ok = CLI_MAY.match(target)
        return None if ok else f"the command line may not include {target}"
    if re.match(r"adapters/in_\w+\.c$", path):
        ok = target == "adapters/adapter.h"
        return None if ok else "an adapter includes adapter.h and nothing else"
    if its is None or its == "cli":
        return f"{mine} may not include {target}"
    if (mine, its) in FORBIDDEN:
        return f"{mine} may not include {its}: it is handed functions"
    if mine == its:
        same = os.path.dirname(path) == os.path.dirname(target)
        if mine == "bus/consumers" and not same:
            shared = os.path.dirname(target) == mine
            return None if shared else "consumers do not include each other"
        return None
    if LAYERS[its] >= LAYERS[mine]:
        return f"layer {LAYERS[mine]} ({mine}) includes {target}"
    return None


def rule_layers(tree):
    for f in tree.product:
        for line, own, name in includes(tree, f):
            if not own:
                continue
            target = resolve(tree, f, name)
            if not target:
                yield f, line, f"no such file: {name}"
                continue
            wrong = check_own_include(f, target)
            if wrong:
                yield f, line, "layers: " + wrong


def rule_homes(tree):
    for f in tree.c:
        for line, own, name in includes(tree, f):
            if own and resolve(tree, f, name):
                continue
            for pattern, home in HOMES:
                if re.match(pattern, name):
                    if not f.startswith("tests/") and not re.fullmatch(home, f):
                        yield f, line, f"home: <{name}> belongs in {home}"
                    break
            else:
                if not LIBC.fullmatch(name):
                    yield f, line, f"home: <{name}> has no home in the table"


def rule_file_size(tree):
    for f in tree.text:
        if not f.endswith((".c", ".h", ".py", ".sh", ".js", ".mjs", ".css")):
            continue
        n = tree.text[f].count("\n")
        if n > FILE_FAIL:
            yield f, n, f"size: {n} lines, more than {FILE_FAIL}"
        elif n > FILE_WARN:
            yield f, n, f"warning: {n} lines, more than {FILE_WARN}"


def functions(code):
    """(first line, last line, name) of each definition."""
    lines = code.split("\n")
    name, first = None, 0
    for i, line in enumerate(lines, 1):
        m = re.match(r"(?:[A-Za-z_][\w \t*]*[ \t*])?([A-Za-z_]\w*)\(", line)
        if m and not line.rstrip().endswith(";"):
            name, first = m.group(1), i
        elif line.startswith("}") and name:
            yield first, i, name
            name = None


def rule_function_size(tree):
    for f in tree.c:
        if not f.endswith(".c"):
            continue
        for first, last, name in functions(tree.code[f]):
            n = last - first + 1
            if n > FUNCTION_FAIL:
                yield f, first, f"size: {name} has {n} lines"
            elif n > FUNCTION_WARN:
                yield f, first, f"warning: {name} has {n} lines"


def rule_banned(tree):
    call = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")[ \t]*\(")
    for f in tree.c:
        for m in call.finditer(tree.code[f]):
            name = m.group(1)
            in_test = f.startswith("tests/")
            if BANNED[name] == f or (in_test and BANNED[name]):
                continue
            yield f, line_of(tree.code[f], m.start()), f"banned: {name}()"


def rule_sleep(tree):
    """Tests wait for a condition, by the one helper that may sleep."""
    for f in tree.text:
        if not f.startswith("tests/"):
            continue
        text = tree.text[f]
        if f.endswith((".sh", ".bash")):
            call, helper = r"^[^#\n]*\bsleep\b", r"^wait_until\s*\(\)"
        elif f.endswith(".py"):
            call, helper = r"^[^#\n]*\btime\.sleep\b", r"^def wait_until\("
        elif f.endswith((".js", ".mjs", ".ts")):
            call, helper = r"\bwaitForTimeout\b", r"^$^"
        else:
            continue
        if f in SELF or re.search(helper, text, re.M):
            continue
        for m in re.finditer(call, text, re.M):
            yield f, line_of(text, m.end()), "sleep: wait for a condition"


def rule_paths(tree):
    for f in tree.text:
        if f in SELF:
            continue
        for m in MACHINE.finditer(tree.text[f]):
            line = line_of(tree.text[f], m.start())
            yield f, line, f"path of one machine: {m.group(0)}"


def rule_unfinished(tree):
    for f in tree.text:
        if f in SELF or f.endswith((".json", ".md", ".css")):
            continue
        for m in re.finditer(r"\b(TODO|FIXME|XXX)\b(?!X)", tree.text[f]):
            line = line_of(tree.text[f], m.start())
            yield f, line, f"unfinished: {m.group(0)}"


def rule_headers(tree):
    for f in tree.c:
        if not f.endswith(".h"):
            continue
        text = blank(tree.text[f])
        short = re.sub(r"^bus/", "", f)
        guard = "GX_" + re.sub(r"\W", "_", short).upper()
        names = {guard, "GX_" + re.sub(r"\W", "_", f).upper()}
        m = re.search(r"^#ifndef (\w+)\n#define (\w+)$", text, re.M)
        if not m or m.group(1) != m.group(2) or m.group(1) not in names:
            yield f, 1, f"header: guard is not {guard}"
        raw = re.sub(r"\"(?:\\.|[^\"\\\n])*\"|/\*.*?\*/", "", tree.text[f],
                     flags=re.S)
        if "//" in raw:
            yield f, 1, "header: // comment"


def rule_essay(tree):
    for f in tree.c:
        if not f.endswith(".c"):
            continue
        m = re.match(r"/\*.*?\*/", tree.text[f], re.S)
        n = m.group(0).count("\n") if m else 0
        want = 3 if f.startswith("tests/") else ESSAY_LINES
        if n < want:
            yield f, 1, f"essay: opens with {n} lines of prose, not {want}"


def arguments(code, at):
    """The arguments of a call whose '(' is at, as (start, end)."""
    depth, start, out = 0, at + 1, []
    i = at
    while i < len(code):
        c = code[i]
        if c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
            if depth == 0:
                out.append((start, i))
                return out
        elif c == "," and depth == 1:
            out.append((start, i))
            start = i + 1
        i += 1
    return out


def error_rows(tree):
    name = "bus/base/errors.def"
    text = blank(tree.text.get(name, ""), keep_strings=True)
    for m in re.finditer(r'^GX_ERROR\((\d+),\s*"([^"]*)"', text, re.M):
        yield line_of(text, m.start()), int(m.group(1)), m.group(2)


def codes_used(tree):
    """(file, line, code) of each literal given as an error's code."""
    calls = re.compile(r"\b(" + "|".join(SETS_ERROR) + r")\(")
    for f in tree.product:
        code, text = tree.code[f], tree.text[f]
        for m in calls.finditer(code):
            line_start = code.rfind("\n", 0, m.start()) + 1
            if code[line_start : m.start()].lstrip().startswith("#"):
                continue
            args = arguments(code, m.end() - 1)
            index = SETS_ERROR[m.group(1)]
            if index >= len(args):
                continue
            start, end = args[index]
            for s in re.findall(r'"([^"]*)"', text[start:end]):
                yield f, line_of(code, m.start()), s
        # Tables and wrappers: a verdict with its code behind it.
        for m in VERDICT.finditer(blank(text, keep_strings=True)):
            yield f, line_of(text, m.start()), m.group(1)


def rule_errors(tree):
    name = "bus/base/errors.def"
    numbers, codes = {}, {}
    sections = tree.text.get(name, "")
    for line, number, code in error_rows(tree):
        if number in numbers:
            yield name, line, f"errors: number {number} twice"
        if code in codes:
            yield name, line, f"errors: code {code} twice"
        numbers[number] = codes[code] = line
        if not re.fullmatch(r"internal|[a-z][a-z0-9_]*\.[a-z0-9_]+", code):
            yield name, line, f"errors: {code} is not of the form area.what"
        above = re.findall(
            r"/\* (\d\dxx \w+) \*/", "\n".join(sections.split("\n")[:line])
        )
        where = [s for low, high, s in SECTIONS if low <= number <= high]
        if not where or not above or above[-1] != where[0]:
            yield name, line, f"errors: {number} stands in the wrong section"
    for f, line, code in sorted(set(codes_used(tree))):
        if code not in codes:
            yield f, line, f"errors: {code} has no row in errors.def"


def command_rows(tree):
    """The words of each command, from the table in cli/main.c."""
    text = blank(tree.text.get("cli/main.c", ""), keep_strings=True)
    return set(re.findall(r'^\t\{"([a-z][a-z0-9 -]*)",', text, re.M))


def rule_remedies(tree):
    """An error may send people only to commands that exist, and a row of the
    table that nobody sets explains nothing."""
    name = "bus/base/errors.def"
    commands = command_rows(tree)
    nouns = {c.split()[0] for c in commands if " " in c}
    if len(commands) < 10:
        yield "cli/main.c", 1, "errors: the table of commands is read wrongly"
    for at, line in enumerate(tree.text.get(name, "").split("\n"), 1):
        if not line.startswith("GX_ERROR("):
            continue
        for m in re.finditer(r"gxbus ([a-z][\w-]*)(?: ([a-z][\w-]*))?", line):
            words = m.group(1)
            if words in nouns:
                words += " " + (m.group(2) or "")
            if words not in commands:
                yield name, at, f"errors: gxbus {words} is no command"
    used = "\n".join(tree.text[f] for f in tree.product)
    for line, number, code in error_rows(tree):
        if f'"{code}"' not in used:
            yield name, line, f"errors: {code} is used nowhere"


def metric_rows(tree):
    text = blank(tree.text.get("bus/base/metrics.def", ""), keep_strings=True)
    row = r'^GX_METRIC\(\w+,' + r'\s*"([^"]*)",' * 3 + r'\s*"([^"]*)"\)'
    return re.findall(row, text, re.M)


def metrics_page(tree):
    out = [
        "# Metrics",
        "",
        "What `/metrics` shows. Made from `bus/base/metrics.def` by "
        "`make docs`; lint compares.",
        "",
        "| name | type | labels | what it says |",
        "|---|---|---|---|",
    ]
    for name, kind, labels, text in metric_rows(tree):
        labels = ", ".join(f"`{x}`" for x in labels.split(",") if x)
        out.append(f"| `{name}` | {kind} | {labels} | {text} |")
    return "\n".join(out) + "\n"


def rule_metrics(tree):
    text = tree.text.get("bus/base/metrics.def", "")
    rows = metric_rows(tree)
    n = len(re.findall(r"^GX_METRIC\(", text, re.M))
    if n != len(rows):
        yield "bus/base/metrics.def", 1, "metrics: a row cannot be read"
    names = [r[0] for r in rows]
    for name in {x for x in names if names.count(x) > 1}:
        yield "bus/base/metrics.def", 1, f"metrics: {name} twice"
    if tree.text.get("docs/metrics.md") != metrics_page(tree):
        yield "docs/metrics.md", 1, "metrics: not as metrics.def; make docs"


def package_rows(tree):
    text = tree.text.get("conf/local/packages", "")
    return re.findall(r"^([a-z0-9][a-z0-9.+-]*)[ \t]+(\S.*)$", text, re.M)


def packages_table(tree):
    out = ["| Debian package | what for |", "|---|---|"]
    out += [f"| `{name}` | {why} |" for name, why in package_rows(tree)]
    return "\n".join(out) + "\n"


def rule_packages(tree):
    """The packages that are installed are those README.md gives reasons for."""
    name = "conf/local/packages"
    lines = re.sub(r"#.*", "", tree.text.get(name, "")).split("\n")
    n = sum(1 for line in lines if line.strip())
    if n == 0 or n != len(package_rows(tree)):
        yield name, 1, "packages: a line without a reason"
    if packages_table(tree) not in tree.text.get("README.md", ""):
        yield "README.md", 1, "packages: not as conf/local/packages; make docs"


RULES = [
    rule_layers,
    rule_homes,
    rule_file_size,
    rule_function_size,
    rule_banned,
    rule_sleep,
    rule_paths,
    rule_unfinished,
    rule_headers,
    rule_essay,
    rule_errors,
    rule_remedies,
    rule_metrics,
    rule_packages,
]
# These name what they look for.
SELF = {"tests/lint_text.py", "tests/lint.sh", "tests/lint-selftest.sh"}


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    tree = Tree()
    if sys.argv[1:] == ["--write-docs"]:
        os.makedirs("docs", exist_ok=True)
        with open("docs/metrics.md", "w", encoding="utf-8") as f:
            f.write(metrics_page(tree))
        page = re.sub(
            r"\| Debian package \|.*\n(\|.*\n)+",
            lambda m: packages_table(tree),
            tree.text["README.md"],
        )
        # Its copy of the commands' help, compared by b01-demo.sh.
        if os.access("build/gxbus", os.X_OK):
            text = subprocess.run(["build/gxbus", "help", "--all"],
                                  capture_output=True, text=True).stdout
            page = re.sub(r"(## Commands\n(?:(?!```).*\n)*```\n)[^`]*```",
                          lambda m: m.group(1) + text + "```", page)
        with open("README.md", "w", encoding="utf-8") as f:
            f.write(page)
        return 0
    if len(tree.product) < 10:
        print("lint: no sources found", file=sys.stderr)
        return 1
    n_faults = n_warnings = 0
    for rule in RULES:
        for file, line, message in rule(tree):
            print(f"{file}:{line}: {message}")
            if message.startswith("warning: "):
                n_warnings += 1
            else:
                n_faults += 1
    print(f"text: {n_faults} faults, {n_warnings} warnings, "
          f"{len(tree.text)} files")
    return 1 if n_faults else 0


if __name__ == "__main__":
    sys.exit(main())
