"""Is what a node said in receipts what its store holds?  For scenarios.

    receipts.py NODE SAID TAKEN ASIDE

SAID: receipts in the order of the log, one a line.  TAKEN: stream|last
seq|head of every batch the store has taken.  ASIDE: stream|seq of each line in
the sink's quarantine.  Exit 1 with what is wrong first.
"""

import json
import sys


def rows(path):
    with open(path, encoding="utf-8") as f:
        return [line.rstrip("\n").split("|") for line in f if line.strip()]


def main():
    node, said, taken, aside = sys.argv[1:]
    heads = {(s, int(seq)): head for s, seq, head in rows(taken)}
    asides = {}
    for stream, seq in rows(aside):
        asides.setdefault(stream, []).append(int(seq))
    newest, seen = {}, {}
    with open(said, encoding="utf-8") as f:
        texts = f.read().splitlines()
    for text in texts:
        r = json.loads(text)
        stream, seq = r["stream"], r["seq"]
        what = f"receipt of {stream} at {seq}"
        if r["sink"] != node or r["verdict"] != "applied":
            return f"{what}: sink or verdict"
        if stream.split("/")[4].startswith("gx."):
            return f"{what}: of the bus's own"
        if seen.get((stream, seq)) == text:
            continue  # a dead writer's void batch, sealed again by the next
        if (stream, seq) in seen:
            return f"{what}: said twice, differently"
        if seq <= newest.get(stream, 0):
            return f"{what}: not after the one before"
        if heads.get((stream, seq)) != r["head"]:
            return f"{what}: no batch taken here ends so"
        held = [q for q in asides.get(stream, []) if q <= seq]
        if r["aside"] != len(held) or r["applied"] + r["aside"] != seq:
            return f"{what}: counts"
        if r["aside_seq"] != [q for q in held if q > newest.get(stream, 0)]:
            return f"{what}: seqs set aside"
        seen[stream, seq] = text
        newest[stream] = seq
    print(f"  {node}: {len(seen)} receipts of {len(newest)} streams")
    return None if seen else "no receipt at all"


if __name__ == "__main__":
    wrong = main()
    if wrong:
        print(wrong)
        sys.exit(1)
