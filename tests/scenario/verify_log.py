#!/usr/bin/env python3
"""A verifier of batch topics, written from docs/format.md and nothing else.

    verify_log.py BOOTSTRAP TOPIC [--keys FOLDER] [--from P:OFFSET ...]

Reads the whole topic with kcat and follows every stream by the rules of
docs/protocol.md 4: root over the lines, head hashes, owner by marker, seq
without a gap.  With --keys every hundredth signature is checked by the openssl
command.  Prints one line per stream, "STREAM NEXT_SEQ HEAD TAKEN REPEAT VOID",
and exits 1 at the first thing that is wrong.  Shares no code with the bus.
"""

import argparse
import collections
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile

ORIGIN = re.compile(r"(/[a-z0-9-]{1,32}){3}")


def sm3(data):
    return hashlib.new("sm3", data).digest()


def merkle(leaves):
    """RFC 6962 root, by the usual stack of full subtrees."""
    stack = []
    for i, leaf in enumerate(leaves):
        node = sm3(b"\0" + leaf)
        while i & 1:
            node = sm3(b"\1" + stack.pop() + node)
            i >>= 1
        stack.append(node)
    root = stack.pop() if stack else sm3(b"")
    while stack:
        root = sm3(b"\1" + stack.pop() + root)
    return root


def messages(bootstrap, topic):
    """Partition, offset, key, value of each message, partition by partition."""
    p = subprocess.Popen(
        ["kcat", "-b", bootstrap, "-t", topic, "-C", "-e", "-q",
         "-o", "beginning", "-X", "isolation.level=read_uncommitted",
         "-X", "fetch.message.max.bytes=4194304",
         "-f", "%p %o %K %S\n%k%s\n"],
        stdout=subprocess.PIPE)
    out = p.stdout
    while True:
        line = out.readline()
        if not line:
            break
        part, offset, n_key, n = (int(w) for w in line.split())
        data = out.read(n_key + n)
        if out.read(1) != b"\n":
            sys.exit("kcat's output is not framed as asked")
        yield part, offset, data[:n_key], data[n_key:]
    if p.wait() != 0:
        sys.exit("kcat failed")


def check_signature(keys, node, signed, sig):
    with tempfile.NamedTemporaryFile() as f:
        f.write(sig)
        f.flush()
        r = subprocess.run(
            ["openssl", "dgst", "-sm3", "-verify",
             os.path.join(keys, node + ".pem"),
             "-sigopt", "distid:1234567812345678", "-signature", f.name],
            input=signed, capture_output=True)
    return r.returncode == 0


class Stream:
    def __init__(self):
        self.owner = (0, "0" * 16)
        self.next = 1
        self.head = "0" * 64
        self.partition = None
        self.taken = {}
        self.n = collections.Counter()


class Log:
    def __init__(self, keys):
        self.streams = collections.defaultdict(Stream)
        self.keys = keys
        self.n = 0

    def wrong(self, where, why):
        print(f"{where[0]}/{where[1]}: {why}", file=sys.stderr)
        sys.exit(1)

    def take(self, part, offset, key, value):
        where = (part, offset)
        line, _, body = value.partition(b"\n")
        h = json.loads(line)
        signed = line[:line.rindex(b',"sig"')]
        node = (h.get("stream") or h["origin"]).split("/")[1]
        self.n += 1
        if h["partition"] != part:
            self.wrong(where, "made for another partition")
        if self.keys and self.n % 100 == 1 and not check_signature(
                self.keys, node, signed, bytes.fromhex(h["sig"])):
            self.wrong(where, "the signature is wrong")
        if h["v"] == "gxbus.marker.1":
            for name in h["streams"]:
                s = self.streams[name]
                if h["epoch"] > s.owner[0]:
                    s.owner = (h["epoch"], h["writer"])
            return
        if h["v"] != "gxbus.batch.1" or key.decode() != h["stream"]:
            self.wrong(where, "neither batch nor marker, or a foreign key")
        self.batch(where, h, sm3(signed).hex(), body)

    def origins(self, where, h, leaves):
        """Lines of a stream made for a node below, and no others, name theirs."""
        org, adapter = h["stream"].split("/")[2:4]
        is_down = org == "gx" and adapter.startswith("down-")
        for leaf in leaves:
            line = json.loads(leaf)
            if ("o" in line) != (is_down and "k" in line):
                self.wrong(where, "an origin that is missing, or too many")
            if "o" in line and not ORIGIN.fullmatch(line["o"]):
                self.wrong(where, "an origin that is none")

    def batch(self, where, h, head, body):
        s = self.streams[h["stream"]]
        leaves = body.split(b"\n")[:-1]
        self.origins(where, h, leaves)
        if len(leaves) != h["n"] or merkle(leaves).hex() != h["root"]:
            self.wrong(where, "the root is not that of the lines")
        if s.partition not in (None, where[0]):
            self.wrong(where, "a stream in two partitions")
        s.partition = where[0]
        if (h["epoch"], h["writer"]) != s.owner:
            if h["epoch"] > s.owner[0]:
                self.wrong(where, "a batch before the marker of its owner")
            s.n["void"] += 1
        elif h["first"] < s.next:
            if s.taken.get(h["first"]) != head:
                self.wrong(where, "two histories under one stream")
            s.n["repeat"] += 1
        elif h["first"] > s.next or h["prev"] != s.head:
            self.wrong(where, f"gap: seq {h['first']} where {s.next} is due")
        else:
            s.taken[h["first"]] = head
            s.next = h["first"] + h["n"]
            s.head = head
            s.n["taken"] += 1


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("bootstrap")
    p.add_argument("topic")
    p.add_argument("--keys")
    a = p.parse_args()
    log = Log(a.keys)
    for m in messages(a.bootstrap, a.topic):
        log.take(*m)
    if not log.streams:
        sys.exit("the topic is empty: nothing was verified")
    for name in sorted(log.streams):
        s = log.streams[name]
        print(name, s.next, s.head, s.n["taken"], s.n["repeat"], s.n["void"])


if __name__ == "__main__":
    main()
