#!/usr/bin/env python3
"""Faults at random moments, on real servers, while a department commits.

    chaos.py [--seed S] --rounds 30 [--faults kill-link,crash-hub]   in turn
    chaos.py [--seed S] --faults kill-link:30,crash-hub:2            shuffled

A world of its own (conf/local/ctl in a temporary folder): the department's
database, city, link and hub.  Each round some hundred transactions insert,
update, delete, rename and spoil rows, a fault strikes in the middle, what was
hit is started again, and then both ends must become equal within a deadline:

- every good row of the department stands at city and hub with equal content,
  compared by a digest over all items that SQL computes from both tables;
- the keys of its bad rows are exactly the keys held at city and hub;
- head hash and next seq of every stream are equal at both ends, and the
  batches kept by each end are one chain without gap or overlap.

At the end verify_log.py, which shares no code with the bus, verifies both
logs, and the daemons' logs must hold no line of level error or fatal.

Faults: kill-PART (SIGKILL), kill-all (city, link and hub in turn), crash-PART (dies at a named crash point, each in
turn), broker-city, broker-hub, postgres (all SIGKILL), zombie-PART (stopped,
passed by a second daemon, awake again beside it), cut (backends of the hub's
database end in mid-transaction; d10 cuts exactly on both sides of a COMMIT),
control (no fault: the checks must see a
row that was changed behind the bus's back).
"""

import argparse
import collections
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CTL = ROOT / "conf/local/ctl"
# Not Debian's, which is a script that looks for this one.
PSQL = max(map(str, pathlib.Path("/usr/lib/postgresql").glob(
    "1[5-9]/bin/psql")), default="psql")
CITY = "450100"
STREAM = "/450100/hrss/social/social.insured/0"
POINTS = {
    "city": ["writer.after_marker", "writer.settled", "writer.after_aside", "writer.after_seal",
             "writer.after_send", "writer.before_release",
             "writer.after_release", "reader.before_commit",
             "reader.after_commit"],
    "link": ["link.after_send", "link.after_ack"],
    "hub": ["reader.before_commit", "reader.after_commit"],
}

SETUP = r"""
GRANT SELECT ON public.ac01 TO gx_reader;
CREATE FUNCTION is_bad(a ac01) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT a.aac031 NOT IN ('0', '1', '2', '3')
$$;
CREATE FUNCTION half(t text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT nullif(nullif(translate(btrim(t, E' \t\u3000'),
        '０１２３４５６７８９', '0123456789'), ''), '-')
$$;
CREATE FUNCTION txt(t text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT nullif(nullif(btrim(t, E' \t\u3000'), ''), '-')
$$;
CREATE VIEW as_items AS SELECT
    aac001, half(aac002) aac002, txt(aac003) aac003,
    CASE txt(aac004) WHEN '男' THEN '1' WHEN '女' THEN '2'
        ELSE txt(aac004) END aac004,
    half(aac005) aac005, to_date(aac006, 'YYYYMMDD') aac006,
    half(aac009) aac009, txt(aab001) aab001, txt(aab004) aab004,
    half(aae140) aae140, half(aac031) aac031,
    to_date(aac049::text, 'YYYYMMDD') aac049,
    to_date(aac030::text, 'YYYYMMDD') aac030,
    base::numeric(16,2) base, n_months, half(region) region,
    half(org_uscc) org_uscc,
    updated_at AT TIME ZONE 'Asia/Shanghai' updated_at
FROM ac01 WHERE NOT is_bad(ac01);
CREATE TABLE next_key (n bigint);
INSERT INTO next_key VALUES (500000000);
CREATE TABLE enough (who int PRIMARY KEY);
-- Until it has made so many and, with a number of its own, is told "enough".
CREATE PROCEDURE churn(rounds int, pause float, me int) LANGUAGE plpgsql AS $$
DECLARE k text; dice int; fresh text; i int := 0;
BEGIN
    LOOP
        i := i + 1;
        EXIT WHEN i > rounds AND (me = 0 OR i > 100 * rounds
            OR EXISTS (SELECT FROM enough WHERE who = me));
        dice := floor(random() * 100);
        SELECT aac001 INTO k FROM ac01
            OFFSET floor(random() * (SELECT count(*) FROM ac01)) LIMIT 1;
        UPDATE next_key SET n = n + 1 RETURNING n::text INTO fresh;
        IF dice < 40 THEN
            UPDATE ac01 SET n_months = floor(random() * 720), base =
                round((random() * 20000)::numeric, 2),
                updated_at = localtimestamp(3) WHERE aac001 = k;
        ELSIF dice < 55 THEN
            DELETE FROM ac01 WHERE aac001 = k;
        ELSIF dice < 75 THEN
            INSERT INTO ac01 SELECT fresh, aac002, aac003, aac004, aac005,
                aac006, aac009, aab001, aab004, aae140, aac031, aac049,
                aac030, base, n_months, region, org_uscc, updated_at
                FROM ac01 WHERE aac001 = k;
        ELSIF dice < 82 THEN
            UPDATE ac01 SET aac001 = fresh WHERE aac001 = k;
        ELSIF dice < 90 THEN
            UPDATE ac01 SET aac031 = '7' WHERE aac001 = k;
        ELSIF dice < 97 THEN
            UPDATE ac01 SET aac031 = '1' WHERE aac031 = '7' AND aac001 IN
                (SELECT aac001 FROM ac01 WHERE aac031 = '7' LIMIT 3);
        ELSE
            UPDATE ac01 SET n_months = 12 WHERE aac001 IN
                (SELECT aac001 FROM ac01 LIMIT 40);
        END IF;
        COMMIT;
        PERFORM pg_sleep(pause * random());
    END LOOP;
END $$;
"""
ITEMS = ("aac001, aac002, aac003, aac004, aac005, aac006, aac009, aab001,"
         " aab004, aae140, aac031, aac049, aac030, base, n_months, region,"
         " org_uscc, updated_at")
# Each line begins with what it is: one psql asks for all of a database.
ROWS = ("SELECT 'row', aac001, md5(row({items})::text) FROM {table}"
        " ORDER BY aac001 COLLATE \"C\"").format
HELD = "SELECT 'held', key::jsonb->>0 FROM gx_held ORDER BY 2"
BAD = "SELECT 'held', aac001 FROM ac01 WHERE is_bad(ac01) ORDER BY 2"
HEADS = ("SELECT stream, next_seq, head, coalesce(stopped_at, -1)"
         " FROM gx_stream WHERE stream LIKE '/450100/%'"
         " AND stream NOT LIKE '/%/gx/%' ORDER BY 1")
# Batches that do not begin where the one before ended.
BREAKS = ("SELECT 'breaks', count(*) FROM (SELECT first - lag(first + n, 1, 1::bigint)"
          " OVER (PARTITION BY stream ORDER BY first) gap FROM gx_batch) g"
          " WHERE gap <> 0")


class Trouble(Exception):
    pass


def wait_until(seconds, what, condition, tick=0.1):
    """A second counts as far as the machine had it for us (wait.sh)."""
    left, at = seconds, time.monotonic()
    while True:
        why = condition()
        if why is None:
            return
        now = time.monotonic()
        busy = os.getloadavg()[0] / os.cpu_count()
        left -= (now - at) / min(max(busy, 1), 6)
        at = now
        if left <= 0:
            raise Trouble(f"{what} not within {seconds} s: {why}")
        time.sleep(tick)  # between two looks at the condition


class World:
    def __init__(self, rows):
        self.dir = tempfile.mkdtemp(prefix="gxbus-chaos-", dir="/var/tmp")
        os.chmod(self.dir, 0o755)
        self.env = dict(os.environ, GX_LOCAL_DIR=self.dir + "/d")
        self.d = pathlib.Path(self.dir) / "d"
        self.rows = rows
        self.zombies = []

    def ctl(self, *words):
        r = subprocess.run([CTL, *words], env=self.env, capture_output=True,
                           text=True)
        if r.returncode != 0 and words[0] != "status":
            raise Trouble(f"ctl {' '.join(words)}: {r.stderr.strip()}")
        return r

    def environment(self, part, text):
        (self.d / part / "env").write_text(text)

    def runs(self, part):
        return self.ctl("status", part).returncode == 0

    def pid(self, part):
        return int((self.d / "run" / f"{part}.pid").read_text().split()[0])

    def port(self, name):
        for line in (self.d / "ports").read_text().splitlines():
            if line.split()[0] == name:
                return int(line.split()[1])
        raise Trouble(f"no port {name}")

    def gxbus(self, at, *words):
        """The command line, asking the city or the hub."""
        url = "GXBUS_CITY_URL" if at == "CITY" else "GXBUS_URL"
        r = subprocess.run(
            ["bash", "-c", f'. "$0" && GXBUS_URL=${url} exec "$GXBUS" "$@"',
             self.d / "out/env", *words], capture_output=True, text=True)
        if r.returncode != 0:
            raise Trouble(f"gxbus {' '.join(words)}: {r.stderr.strip()}")
        return r.stdout

    def conninfo(self, user):
        db = user
        password = (self.d / "secret" / user).read_text()
        return (f"host=127.0.0.1 port={self.port('postgres')} dbname={db}"
                f" user={user} password={password}")

    def psql(self, user, sql, stdin=None):
        r = subprocess.run(
            [PSQL, "-qAtX", "-v", "ON_ERROR_STOP=1", "-d",
             self.conninfo(user), "-c" if stdin is None else "-f",
             sql if stdin is None else "-"],
            input=stdin, capture_output=True, text=True)
        if r.returncode != 0:
            raise Trouble(f"psql {user}: {r.stderr.strip()}")
        return [tuple(x.split("|")) for x in r.stdout.splitlines()]

    def begin(self):
        self.ctl("start", "postgres", "kafka-city", "kafka-hub")
        gen = [sys.executable, ROOT / "conf/local/gen"]
        table = subprocess.run([*gen, "--table"], capture_output=True,
                               text=True, check=True).stdout
        rows = subprocess.run([*gen, "--count", str(self.rows)],
                              capture_output=True, text=True,
                              check=True).stdout
        self.psql("hrss", None, table + SETUP +
                  "COPY public.ac01 FROM STDIN;\n" + rows + "\\.\n"
                  "CREATE PUBLICATION gx_social FOR TABLE public.ac01;\n")
        # Hundreds of changes within seconds are what this is about.
        (self.d / "city/conf.local").write_text(
            "flow social\tguard_percent\t0\n")
        self.ctl("start", "hub", "city", "link", "nginx")

    def end(self, keep):
        for p in self.zombies:
            if p.poll() is None:
                p.kill()
                p.wait()
        if keep:
            print(f"kept: GX_LOCAL_DIR={self.d}")
            self.ctl("stop")
            return
        self.ctl("clean")
        shutil.rmtree(self.dir, ignore_errors=True)

    # ---- are both ends equal? ----

    def difference(self):
        """None if equal, else what differs, counts only."""
        try:
            # What is cheap and differs as long as something is on its way.
            heads = self.psql("gx_city", HEADS)
            if self.psql("gx_hub", HEADS) != heads:
                return "the heads differ"
            if any(h[3] != "-1" for h in heads):
                return "a stream stands still"
            want, bad, _ = self.content("hrss", "as_items", BAD)
            for user in ("gx_city", "gx_hub"):
                why = self.end_differs(user, want, bad)
                if why:
                    return f"{user}: {why}"
            # Nothing has moved while we read.
            for user in ("gx_city", "gx_hub"):
                if self.psql(user, HEADS) != heads:
                    return "the heads differ"
        except Trouble as e:
            return str(e)
        return None

    def content(self, user, table, *more):
        """Digest by key, keys held, breaks of the chain."""
        sql = ";".join((ROWS(items=ITEMS, table=table), *more))
        lines = {"row": [], "held": [], "breaks": []}
        for what, *rest in self.psql(user, None, sql + ";\n"):
            lines[what].append(rest)
        if len(dict(lines["row"])) != len(lines["row"]):
            raise Trouble(f"{user}: {table} has a key twice")
        return dict(lines["row"]), lines["held"], lines["breaks"]

    def end_differs(self, user, want, bad):
        have, held, breaks = self.content(user, "social.insured", HELD,
                                          BREAKS)
        n_missing = sum(1 for k in want if have.get(k) != want[k])
        extra = set(have) - set(want) - {k for k, in bad}
        if n_missing or extra:
            return f"{n_missing} rows missing or old, {len(extra)} too many"
        if held != bad:
            return f"{len(held)} keys held, {len(bad)} bad"
        if breaks != [["0"]]:
            return "the batches that were taken are not one chain"
        return None

    def settle(self, seconds=90):
        wait_until(seconds, "both ends equal", self.difference)


class Churn:
    """Transactions of a department, in the background: n of them, or, with
    is_open, at least n and on until finish() is called."""

    n_made = 0

    def __init__(self, world, n, pause, is_open=False):
        Churn.n_made += 1
        self.world = world
        self.me = Churn.n_made if is_open else 0
        self.p = subprocess.Popen(
            [PSQL, "-qAtX", "-v", "ON_ERROR_STOP=1", "-d",
             world.conninfo("hrss"), "-c",
             f"CALL churn({n}, {pause}, {self.me})"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def finish(self, may_fail):
        """It was at work until now, or the fault struck nothing."""
        if not may_fail and self.p.poll() is not None:
            self.wait(False)
            raise Trouble("the department was idle when the fault struck")
        self.world.psql("hrss", f"INSERT INTO enough VALUES ({self.me})")
        self.wait(may_fail)

    def wait(self, may_fail):
        text = self.p.communicate(timeout=600)[1]
        if self.p.returncode != 0 and not may_fail:
            raise Trouble(f"churn: {text.strip()}")


# ---- faults: each returns once everything runs again ----

def restart(w, part):
    if not w.runs(part):
        w.ctl("start", part)


def kill(part):
    def strike(w, rng):
        w.ctl("kill", part)
        time.sleep(rng.random() * 0.3)
        restart(w, part)
    return strike


def kill_all(w, rng):
    """City, link and hub, one after the other, in any order."""
    for part in rng.sample(["city", "link", "hub"], 3):
        kill(part)(w, rng)


def crash(part):
    turn = [0]

    def strike(w, rng):
        point = POINTS[part][turn[0] % len(POINTS[part])]
        turn[0] += 1
        # Some points are passed once in a take-over, some by each batch.
        once = point in ("writer.after_marker", "writer.settled")
        count = 1 if once else rng.randrange(1, 4)
        w.ctl("stop", part)
        try:
            w.environment(part, f"GX_CRASH_POINT={point}:{count}")
            w.ctl("start", part)
        except Trouble:
            pass  # it died before it was ready: that is the point
        w.environment(part, "")
        churn = Churn(w, 60, 0.01)
        churn.wait(False)
        wait_until(20, f"{part} dies at {point}",
                   lambda: f"{part} still runs" if w.runs(part) else None)
        w.ctl("start", part)
    return strike


def second_daemon(w, part):
    """The same flows once more, in a daemon that answers no requests."""
    conf = (w.d / part / "gxbusd.conf").read_text()
    other = w.d / part / "other.conf"
    other.write_text(re.sub(r"(?m)^socket = .*\n", "", conf))
    st = os.stat(w.d / part / "gxbusd.conf")
    os.chmod(other, st.st_mode & 0o777)
    os.chown(other, st.st_uid, st.st_gid)
    log = open(w.d / f"log/other-{part}.log", "a")
    p = subprocess.Popen(
        [w.d / "bin/gxbusd", "-c", other], stderr=log, stdout=log,
        cwd=w.d, user=st.st_uid, group=st.st_gid, extra_groups=[])
    w.zombies.append(p)
    return p


def zombie(part):
    def strike(w, rng):
        first = w.pid(part)
        os.kill(first, signal.SIGSTOP)
        second = second_daemon(w, part)
        Churn(w, 80, 0.01).wait(False)
        # Read while the first is still stopped: everything by the second.
        w.settle(60)
        os.kill(first, signal.SIGCONT)
        Churn(w, 80, 0.01).wait(False)
        w.settle(60)
        second.kill()
        second.wait()
        if part == "city":
            # A deposed writer ends; the remedy its error names helps.
            if "writer.deposed" not in (w.d / "log/city.log").read_text():
                raise Trouble("the first writer was not told of the second")
            w.gxbus("CITY", "flow", "restart", "social")
    return strike


def cut(w, rng):
    """Backends of the hub end while they write, again and again."""
    for _ in range(10):
        w.psql("gx_hub", "SELECT pg_terminate_backend(pid) FROM"
               " pg_stat_activity WHERE usename = 'gx_hub' AND pid <>"
               " pg_backend_pid() AND query ~* '^(commit|update|insert)'")
        time.sleep(rng.random() * 0.1)


def control(w, rng):
    """The checks themselves: a row changed behind the bus is seen."""
    w.settle()
    w.psql("gx_hub", "UPDATE social.insured SET n_months = n_months + 1"
           " WHERE aac001 = (SELECT min(aac001) FROM social.insured)")
    if w.difference() is None:
        raise Trouble("a changed row was not seen: the check is blind")
    w.psql("gx_hub", "UPDATE social.insured SET n_months = n_months - 1"
           " WHERE aac001 = (SELECT min(aac001) FROM social.insured)")


FAULTS = {
    "kill-city": kill("city"), "kill-link": kill("link"),
    "kill-hub": kill("hub"), "kill-all": kill_all, "crash-city": crash("city"),
    "crash-link": crash("link"), "crash-hub": crash("hub"),
    "broker-city": kill("kafka-city"), "broker-hub": kill("kafka-hub"),
    "postgres": kill("postgres"), "zombie-city": zombie("city"),
    "zombie-link": zombie("link"), "zombie-hub": zombie("hub"), "cut": cut,
}


def plan(faults, rounds, rng):
    """The rounds: each fault in turn, or so many of each in any order."""
    names = []
    for word in faults.split(","):
        name, _, count = word.partition(":")
        if name not in FAULTS:
            sys.exit(f"chaos.py: no fault {name}; there are "
                     + ", ".join(FAULTS))
        names += [name] * int(count or 0)
    if not names:
        names = faults.split(",")
        return [names[i % len(names)] for i in range(rounds)]
    rng.shuffle(names)
    return names


def play(w, name, rng, churn_n):
    # Zombies bring transactions of their own, and look for equal ends between.
    is_open = not name.startswith("zombie")
    churn = Churn(w, churn_n, 0.008, is_open)
    time.sleep(rng.random() * 0.8)  # the random moment
    FAULTS[name](w, rng)
    if is_open:
        churn.finish(may_fail=name == "postgres")
    else:
        churn.wait(False)
    w.settle()


def verify_logs(w):
    heads = []
    for part, user in (("kafka-city", "gx_city"), ("kafka-hub", "gx_hub")):
        r = subprocess.run(
            [sys.executable, pathlib.Path(__file__).with_name(
                "verify_log.py"), f"127.0.0.1:{w.port(part)}",
             f"gx.batch.{CITY}", "--keys", str(w.d / "hub/trust")],
            capture_output=True, text=True)
        if r.returncode != 0:
            raise Trouble(f"{part}: {r.stderr.strip()}")
        # What the node says itself (receipts) goes on while we look.
        lines = [x.split() for x in r.stdout.splitlines()
                 if x.split()[0].split("/")[2] != "gx"]
        print(part, r.stdout.strip())
        heads.append([tuple(x[:3]) for x in lines])
        stored = [h[:3] for h in w.psql(user, HEADS)]
        if heads[-1] != stored:
            raise Trouble(f"{part}: the log says another head than {user}")
    if heads[0] != heads[1]:
        raise Trouble("both logs hold different histories")


# What the faults must bring about: (fault, code of the error).
EXPECTED = [("zombie-city", "writer.deposed")]


def read_daemon_logs(w, names):
    bad = []
    fine = [code for fault, code in EXPECTED if fault in names]
    for part in ("city", "link", "hub", "other-city", "other-link",
                 "other-hub"):
        path = w.d / f"log/{part}.log"
        if path.exists():
            bad += [f"{part}: {x}" for x in
                    path.read_text(errors="replace").splitlines()
                    if (re.search(r"^\S+ (error|fatal) ", x)
                        and x.split()[2] not in fine)
                    or "assert" in x or "Sanitizer" in x]
    if bad:
        raise Trouble("unexpected lines in the daemons' logs:\n" +
                      "\n".join(bad[:10]))


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--rounds", type=int, default=22)
    p.add_argument("--seed", type=int, default=int(time.time()))
    p.add_argument("--faults", default=",".join(FAULTS))
    p.add_argument("--rows", type=int, default=3000)
    p.add_argument("--churn", type=int, default=250)
    p.add_argument("--keep", action="store_true")
    a = p.parse_args()
    rng = random.Random(a.seed)
    names = plan(a.faults, a.rounds, rng)
    done = collections.Counter()
    # Who ends us wants our servers ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("chaos: ended"))
    w = World(a.rows)
    ok = False
    print(f"seed {a.seed}, {len(names)} rounds: "
          + ", ".join(f"{n} {k}" for k, n in
                      collections.Counter(names).items()))
    try:
        w.begin()
        w.settle(120)
        control(w, rng)
        for i, name in enumerate(names):
            at = time.monotonic()
            play(w, name, rng, a.churn)
            done[name] += 1
            print(f"round {i + 1}: {name}: equal after"
                  f" {time.monotonic() - at:.1f} s", flush=True)
        verify_logs(w)
        read_daemon_logs(w, names)
        ok = True
    except Trouble as e:
        print(f"chaos: FAILED: {e}\nseed {a.seed}", file=sys.stderr)
    finally:
        w.end(a.keep or not ok)
    print(json.dumps(done))
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
