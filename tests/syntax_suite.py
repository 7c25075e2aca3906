"""Run a published suite of JSON texts against "gxbus schema check --syntax".

    python3 tests/syntax_suite.py GXBUS PARSING.JS

A case named y_ must be taken, one named n_ refused, i_ may be either but must
be answered.  By our policy a name that comes twice is refused: those two y_
cases must be refused, too.
"""

import json
import subprocess
import sys

TWICE = {"y_object_duplicated_key.json",
         "y_object_duplicated_key_and_value.json"}


def main():
    gxbus, path = sys.argv[1:]
    with open(path, encoding="utf-8") as f:
        text = f.read()
    rows = json.loads(text[text.index("["):].rstrip().rstrip(";"))
    n_bad = 0
    for row in rows:
        data = row["input"].encode("utf-8", "surrogatepass")
        rc = subprocess.run([gxbus, "schema", "check", "--syntax"], input=data,
                            capture_output=True, timeout=30).returncode
        kind = "n" if row["name"] in TWICE else row["name"][0]
        want = {"y": (0,), "n": (10,), "i": (0, 10)}[kind]
        if rc not in want:
            n_bad += 1
            print(row["name"], "exit", rc)
    print(f"{len(rows)} texts, {n_bad} wrong")
    return 1 if n_bad or len(rows) < 250 else 0


if __name__ == "__main__":
    sys.exit(main())
