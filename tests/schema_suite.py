"""Run a published suite of JSON Schema cases against "gxbus schema check".

    python3 tests/schema_suite.py GXBUS FOLDER SKIP-LIST

FOLDER holds files of the shape [{description, schema, tests: [{description,
data, valid}]}].  SKIP-LIST has lines "file | group | test | reason"; * stands
for all.  A case must agree, or be named there; a line that skips nothing any
more, or only what would agree, is a fault too.
"""

import json
import os
import subprocess
import sys
import tempfile


def read_skips(path):
    rows = []
    with open(path, encoding="utf-8") as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                parts = [p.strip() for p in line.split(" | ")]
                if len(parts) != 4 or not parts[3]:
                    sys.exit(f"skip list: {line.strip()}")
                rows.append(parts)
    return rows


def matches(row, name, group, test):
    return all(a in ("*", b.strip()) for a, b in zip(row, (name, group, test)))


def run(gxbus, schema, tests):
    """What it says of each test: True, False, or the reason of a refusal."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump(schema, f)
        f.flush()
        lines = "".join(json.dumps(t["data"]) + "\n" for t in tests)
        out = subprocess.run(
            [gxbus, "schema", "check", "--schema", f.name],
            input=lines, capture_output=True, text=True, timeout=30)
    if out.returncode == 5 and out.stdout == "":
        return [out.stderr.strip()] * len(tests)
    got = [line.split("\t")[0] == "ok" for line in out.stdout.splitlines()]
    if len(got) != len(tests) or out.returncode != (0 if all(got) else 10):
        return [f"exit {out.returncode}, {len(got)} lines"] * len(tests)
    return got


def cases(folder):
    for base, folders, files in os.walk(folder):
        folders.sort()
        for file in sorted(files):
            if file.endswith(".json"):
                path = os.path.join(base, file)
                with open(path, encoding="utf-8") as f:
                    yield os.path.relpath(path, folder), json.load(f)


def main():
    gxbus, folder, skip_list = sys.argv[1:]
    skips = read_skips(skip_list)
    used = [0] * len(skips)
    n_good = n_skipped = n_bad = 0
    for name, groups in cases(folder):
        for group in groups:
            tests = group["tests"]
            got = run(gxbus, group["schema"], tests)
            for t, verdict in zip(tests, got):
                where = (name, group["description"], t["description"])
                row = next((i for i, r in enumerate(skips)
                            if matches(r, *where)), None)
                if verdict == t["valid"]:
                    n_good += 1
                elif row is not None:
                    used[row] += 1
                    n_skipped += 1
                else:
                    n_bad += 1
                    print(" | ".join(where), "|", verdict)
    for row, n in zip(skips, used):
        if n == 0:
            n_bad += 1
            print("skips nothing:", " | ".join(row))
    print(f"{n_good} agree, {n_skipped} skipped with a reason, {n_bad} wrong")
    return 1 if n_bad or n_good < 500 else 0


if __name__ == "__main__":
    sys.exit(main())
