"""Trees, proofs and codes, computed here, checked by gxbus's offline commands.

The definitions of RFC 9162 2.1 are written out in Python and share nothing
with the program.  Each proof is asked about as it is and then corrupted in the
ways of the test vectors of transparency logs; what must hold is asked in the
same run, so a program that always says no fails as well.

    offline_proofs.py GXBUS
"""

import base64
import hashlib
import hmac
import json
import random
import subprocess
import sys

GXBUS = sys.argv[1]
LEAVES = [b"", b"\0", b"\x10", b"\x20\x21", b"01", b"@ABC", b"PQRSTUVW"]
LEAVES += [bytes(range(0x60, 0x70))] + [bytes([i]) * i for i in range(60, 69)]
n_asked = {0: 0, 2: 0, 5: 0, 10: 0}
faults = []


def ask(words, data, code, out=None):
    """Run a command; remember what is not as it must be."""
    got = subprocess.run(
        [GXBUS, *words], input=data, capture_output=True, timeout=20
    )
    n_asked[code] += 1
    if got.returncode != code or (out is not None and got.stdout != out):
        faults.append((words, data[:300], code, got))
    if code in (2, 5) and got.stdout:
        faults.append((words, "output", code, got))


def split(n):
    k = 1
    while k * 2 < n:
        k *= 2
    return k


class Hash:
    def __init__(self, name):
        self.name = name

    def h(self, data):
        return hashlib.new(self.name, data).digest()

    def root(self, leaves):
        if not leaves:
            return self.h(b"")
        if len(leaves) == 1:
            return self.h(b"\0" + leaves[0])
        k = split(len(leaves))
        return self.h(b"\1" + self.root(leaves[:k]) + self.root(leaves[k:]))

    def path(self, m, leaves):
        if len(leaves) == 1:
            return []
        k = split(len(leaves))
        if m < k:
            return self.path(m, leaves[:k]) + [self.root(leaves[k:])]
        return self.path(m - k, leaves[k:]) + [self.root(leaves[:k])]

    def proof(self, m, leaves, whole=True):
        if m == len(leaves):
            return [] if whole else [self.root(leaves)]
        k = split(len(leaves))
        if m <= k:
            return self.proof(m, leaves[:k], whole) + [self.root(leaves[k:])]
        return self.proof(m - k, leaves[k:], False) + [self.root(leaves[:k])]


def b64(data):
    return base64.b64encode(data).decode()


def text(claim):
    doc = {}
    for name, v in claim.items():
        if isinstance(v, bytes):
            v = b64(v)
        elif isinstance(v, list):
            v = [b64(x) for x in v] if v else None
        doc[name] = v
    return json.dumps(dict(doc, desc="a test", wantErr=False)).encode()


def roots(hash):
    for n in range(len(LEAVES) + 1):
        want = hash.root(LEAVES[:n]).hex().encode() + b"\n"
        lines = "".join(x.hex() + "\n" for x in LEAVES[:n]).encode()
        words = ["evidence", "root", "--hash", hash.name]
        ask(words, lines, 0, want)
        ask(words, lines.upper(), 0, want)
        if n and LEAVES[n - 1]:
            ask(words, lines[:-1], 0, want)
            ask(words, lines[:-2], 5)
        for bad in (b"0", b"0g", b"00\r\n", b"00 \n", b" \n", b"\0", b"0x00"):
            ask(words, lines + bad, 5)
    big = b"\xab" * 3_000_000
    want = hash.h(b"\0" + big).hex().encode() + b"\n"
    ask(words, big.hex().encode(), 0, want)


def corrupt(hash, words, claim, sizes, hashes):
    """One claim that holds, and all that must not."""
    ask(words, text(claim), 0)
    other = hash.h(b"another")
    proof = claim["proof"]
    wrong = [dict(claim, **{name: v}) for name in hashes
             for v in (b"", b"WrongRoot", other, hash.h(b""))]
    wrong += [dict(claim, **s) for s in sizes]
    for x in (b"", other, *(claim[name] for name in hashes)):
        wrong += [dict(claim, proof=proof + [x]), dict(claim, proof=[x] + proof)]
    for i, node in enumerate(proof):
        bit = bytes([node[0] ^ 16]) + node[1:]
        wrong += [dict(claim, proof=proof[:i] + [bit] + proof[i + 1:]),
                  dict(claim, proof=proof[:i] + proof[i + 1:])]
    for w in wrong:
        ask(words, text(w), 10)


def proofs(hash):
    words = ["evidence", "check-inclusion", "--hash", hash.name]
    for m, n in ((0, 1), (0, 8), (5, 8), (2, 3), (1, 5), (16, 17), (6, 7)):
        leaves = LEAVES[:n]
        claim = {"leafIdx": m, "treeSize": n, "root": hash.root(leaves),
                 "leafHash": hash.h(b"\0" + leaves[m]),
                 "proof": hash.path(m, leaves)}
        sizes = [{"leafIdx": x} for x in (n, n + 1, 2**63, 2**64 - 1)]
        sizes += [{"treeSize": x} for x in (0, 2 * n + 1, 2**64 - 1)]
        corrupt(hash, words, claim, sizes, ("root", "leafHash"))
    words = ["evidence", "check-consistency", "--hash", hash.name]
    for m, n in ((1, 2), (1, 8), (6, 8), (2, 5), (6, 7), (8, 17), (16, 17)):
        claim = {"size1": m, "size2": n, "root1": hash.root(LEAVES[:m]),
                 "root2": hash.root(LEAVES[:n]),
                 "proof": hash.proof(m, LEAVES[:n])}
        sizes = [{"size1": x} for x in (0, n, n + 1, 2**64 - 1)]
        sizes += [{"size2": x} for x in (0, m - 1, 2 * n, 2**64 - 1)]
        corrupt(hash, words, claim, sizes, ("root1", "root2"))
    a, b = hash.root(LEAVES[:1]), hash.root(LEAVES[:2])
    for m, n, x, y, p, code in (
        (1, 1, a, a, [], 0), (1, 1, a, b, [], 10), (1, 1, a, a, [a], 10),
        (0, 0, a, a, [], 10), (0, 1, a, a, [], 10), (0, 1, hash.h(b""), a, [], 10),
        (2, 1, a, a, [], 10), (1, 0, a, b, [], 10), (1, 2, a, b, [], 10),
        (2**64 - 1, 2**64 - 1, a, a, [], 0),
    ):
        ask(words, text({"size1": m, "size2": n, "root1": x, "root2": y,
                         "proof": p}), code)


def documents():
    """What is no claim at all: 5, and the twin that is one: 0."""
    h = b64(hashlib.sha256(b"\0").digest())
    good = ('{"leafIdx":0,"treeSize":1,"root":"%s","leafHash":"%s",'
            '"proof":[]}' % (h, h))
    words = ["evidence", "check-inclusion", "--hash", "sha256"]
    ask(words, good.encode(), 0, b"ok\n")
    ask(words, (" " + good + "\n").encode(), 0)
    bad = ["", " ", "[]", "null", "{}", good[:-1], good + good, good + "x",
           "\ufeff" + good]
    for old, new in (
        ('"leafIdx":0', '"leafIdx":-1'), ('"leafIdx":0', '"leafIdx":0.0'),
        ('"leafIdx":0', '"leafIdx":"0"'), ('"leafIdx":0', '"leafIdx":null'),
        ('"leafIdx":0', '"leafIdx":18446744073709551616'),
        ('"leafIdx":0', '"leafIdx":0,"leafIdx":0'), ('"leafIdx":0,', ""),
        ('"treeSize":1', '"treeSize":1e0'), ('"treeSize":1', '"treesize":1'),
        (h, h[:-1]), (h, h + "="), (h, "*" + h[1:]), (h, h.replace("=", "")),
        (h, h[:-2] + "B="), (h, " " + h), (f'"root":"{h}",', ""),
        ('"proof":[]', '"proof":{}'), ('"proof":[]', '"proof":""'),
        ('"proof":[]', '"proof":[0]'), ('"proof":[]', '"proof":["!"]'),
        (',"proof":[]', ""),
    ):
        assert old in good, old
        bad.append(good.replace(old, new, 1))
    for doc in bad:
        ask(words, doc.encode(), 5)
    ask(words, good.encode()[:-1] + b"\xff}", 5)
    ask(words, b'{"a":"' + b"x" * (5 << 20) + b'"}', 5)
    ask(words, good.replace("[]", "null").encode(), 0)
    ask(words, good.replace("[]", "[null]").encode(), 10)
    for bad in (words[:2], words + ["--hash", "sm3"], words[:3],
                words[:3] + ["SM3"], words + ["--no", "1"], words + ["a", "b"],
                words + ["-h"]):
        ask(bad, good.encode(), 2)


def codes():
    data = random.Random(1)
    for n in (0, 1, 55, 56, 64, 1000, 200_000):
        m = data.randbytes(n)
        want = hashlib.new("sm3", m).hexdigest().encode() + b"\n"
        ask(["crypto", "sm3"], m, 0, want)
        ask(["crypto", "sm3", "-"], m, 0, want)
        for k in (0, 1, 32, 64, 65, 131):
            key = data.randbytes(k)
            want = hmac.new(key, m, lambda *a: hashlib.new("sm3", *a))
            want = want.hexdigest().encode() + b"\n"
            ask(["crypto", "hmac-sm3", "--key", key.hex()], m, 0, want)
            ask(["crypto", "hmac-sm3", f"--key={key.hex().upper()}"], m, 0, want)
    for key in (["--key", "0"], ["--key", "0g"], ["--key", "0x00"], ["--key"],
                [], ["--key", "00", "--key", "00"]):
        ask(["crypto", "hmac-sm3", *key], b"", 2)
    ask(["crypto", "sm3", "a", "b"], b"", 2)


def signatures():
    """GB/T 32918.5 A.2 and what must not pass for it."""
    pub = ("0409f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020"
           "ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13")
    sig = ("3046"
           "022100f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee7"
           "20b3022100b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c4"
           "85bbc1aa")
    good = {"--pub": pub, "--id": "1234567812345678", "--sig": sig}
    m = b"message digest"

    def one(data, code, **change):
        words = dict(good, **{"--" + k: v for k, v in change.items()})
        flat = [x for k, v in words.items() if v is not None for x in (k, v)]
        ask(["crypto", "sm2-verify", *flat], data, code)

    one(m, 0)
    one(m, 0, pub=pub.upper(), sig=sig.upper())
    one(m + b"\n", 10)
    one(m[:-1], 10)
    one(m, 10, id="")
    one(m, 10, id="1234567812345679")
    one(m, 10, sig="")
    one(m, 10, sig=sig + "00")
    one(m, 10, sig=sig[:-2])
    one(m, 10, sig="308146" + sig[4:])
    one(m, 10, pub=pub[:-1] + "2")
    one(m, 10, pub="02" + pub[2:66])
    one(m, 10, pub="04" + "00" * 64)
    one(m, 10, pub="")
    for name in ("pub", "id", "sig"):
        one(m, 2, **{name: None})
    one(m, 2, sig=sig[:-1])
    one(m, 2, pub="zz")
    one(m, 2, id="i" * 8191)
    one(m, 0)


def main():
    for name in ("sha256", "sm3"):
        roots(Hash(name))
        proofs(Hash(name))
    documents()
    codes()
    signatures()
    for f in faults[:10]:
        print("FAILED:", *f)
    print("asked, by the exit code that is right:", n_asked,
          "wrong:", len(faults))
    return 1 if faults or min(n_asked.values()) == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
