"""Mixed load with a checker: what was acknowledged must be there, what is read must be allowed.

    load = Load([n.port for n in ring], workers=6)
    load.run_for(2); ring[0].kill(); load.run_for(2); ...
    load.finish()
    problems = load.check(ports)          # [] or lines that say what is lost or wrong

Every key has one writer, which sends one thing after the other. So by the levels' promise (read where the
slot is acted for, write to a quorum) a register (string, hash field, score) reads as its last acknowledged
write or as a later one of unknown outcome; a counter is between acked and acked + unknown; sets and lists
hold every acknowledged element exactly once and nothing that was never sent.
Unknown is: no reply (the connection failed), or -NOQUORUM, which says that the write may survive. Any
other error reply promises that nothing was stored. Workers move to the next node when theirs fails.
"""
import random
import threading
import time

from cluster import FAILURES
from resp import Client, ReplyError

REFUSED = ("LOADING", "OOM", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN", "MISCONF", "NOREPLICAS", "MAXCLIENTS")
PROBLEMS_MAX = 50


class Register:
    __slots__ = ("acked", "later")

    def __init__(self):
        self.acked, self.later = None, set()

    def ack(self, value):
        self.acked = value
        self.later.clear()

    def unknown(self, value):
        self.later.add(value)

    def allows(self, value):
        return value == self.acked or value in self.later

    def __repr__(self):
        return "acknowledged %r%s" % (self.acked, ", or of unknown outcome %r" % sorted(map(repr, self.later))[:5] if self.later else "")


class Worker(threading.Thread):
    KEYS = 40

    def __init__(self, load, number, ports, seed):
        super().__init__(daemon=True)
        self.load, self.id, self.ports, self.rng = load, number, ports, random.Random(seed * 1000 + number)
        self.registers = {}                     # (kind, key, field) -> Register
        self.counts = {}                        # key -> [acked, unknown]
        self.sets = {}                          # key -> (acked list, unknown set); also lists, in order
        self.problems, self.ops, self.unknowns, self.refused = [], 0, 0, 0
        self.gap, self.last_ok, self.serial = 0.0, time.monotonic(), 0
        self.last_error = ""

    def wrong(self, text):
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append("worker %d: %s" % (self.id, text))

    # what to send: (command, on_ack(reply), on_unknown()) ----------------------------------------
    def register(self, kind, key, field, command, value):
        r = self.registers.setdefault((kind, key, field), Register())
        return command, lambda _: r.ack(value), lambda: r.unknown(value)

    def read(self, kind, key, field, command, convert=lambda v: v):
        r = self.registers.setdefault((kind, key, field), Register())

        def judge(reply):
            if not r.allows(convert(reply)):
                self.wrong("%s read %r; %r" % (command, reply, r))
        return command, judge, lambda: None

    def element(self, key, command, element):
        acked, maybe = self.sets.setdefault(key, ([], set()))
        return command, lambda _: acked.append(element), lambda: maybe.add(element)

    def one(self):
        self.serial += 1
        k, v = self.rng.randrange(self.KEYS), b"%d.%d." % (self.id, self.serial) + b"x" * self.rng.choice((1, 10, 100, 1000))
        key = b"%%s:%d:%d" % (self.id, k)
        what = self.rng.random()
        if what < 0.22:
            return self.register("string", key % b"str", None, (b"SET", key % b"str", v), v)
        if what < 0.25:
            return self.register("string", key % b"str", None, (b"DEL", key % b"str"), None)
        if what < 0.45:
            return self.read("string", key % b"str", None, (b"GET", key % b"str"))
        if what < 0.58:
            name = key % b"cnt" if what < 0.54 else b"cnt:shared:%d" % (k % 5)
            c = self.counts.setdefault(name, [0, 0])

            def counted(reply):
                c[0] += 1
                if not name.startswith(b"cnt:shared") and not c[0] <= reply <= c[0] + c[1]:
                    self.wrong("INCR %s answered %d; acknowledged %d, unknown %d" % (name, reply, c[0], c[1]))

            def lost():
                c[1] += 1
            return (b"INCR", name), counted, lost
        if what < 0.68:
            return self.element(b"set:%d:%d" % (self.id, k % 5), (b"SADD", b"set:%d:%d" % (self.id, k % 5), v), v)
        if what < 0.78:
            return self.element(b"list:%d:%d" % (self.id, k % 5), (b"RPUSH", b"list:%d:%d" % (self.id, k % 5), v), v)
        field = b"f%d" % self.rng.randrange(20)
        if what < 0.86:
            return self.register("hash", key % b"hash", field, (b"HSET", key % b"hash", field, v), v)
        if what < 0.90:
            return self.read("hash", key % b"hash", field, (b"HGET", key % b"hash", field))
        if what < 0.97:
            return self.register("zset", key % b"zset", field, (b"ZADD", key % b"zset", self.serial, field), float(self.serial))
        return self.read("zset", key % b"zset", field, (b"ZSCORE", key % b"zset", field),
                         lambda s: None if s is None else float(s))

    def settle(self, op, reply):
        command, ack, unknown = op
        if isinstance(reply, ReplyError):
            self.last_error = str(reply)
            if reply.code == "NOQUORUM":
                self.unknowns += 1
                unknown()
            elif reply.code in REFUSED:
                self.refused += 1
            else:
                self.wrong("%s answered -%s" % (command, reply))
            return
        ack(reply)
        self.ops += 1
        now = time.monotonic()
        self.gap, self.last_ok = max(self.gap, now - self.last_ok), now

    def run(self):
        client, at, fails = None, self.id, 0
        while not self.load.done.is_set():
            if self.load.paused.is_set():
                self.load.idle.add(self.id)
                self.last_ok = time.monotonic()
                time.sleep(0.01)
                continue
            self.load.idle.discard(self.id)
            ops, answered = [], 0
            try:
                if client is None:
                    client = Client(self.ports[at % len(self.ports)], timeout=self.load.timeout)
                ops = [self.one() for _ in range(self.rng.choice((1, 1, 1, 2, 8)))]
                client.sock.sendall(b"".join(self.load.encode(o[0]) for o in ops))
                for op in ops:
                    reply = client.read()
                    answered += 1
                    self.settle(op, reply)
                fails = 0
                if isinstance(reply, ReplyError):
                    time.sleep(0.01)
            except FAILURES as e:
                self.last_error = repr(e)
                for op in ops[answered:]:
                    self.unknowns += 1
                    op[2]()
                if client:
                    client.close()
                client, at, fails = None, at + 1, fails + 1
                time.sleep(min(0.2, 0.01 * fails))
            time.sleep(self.load.pause)
        if client:
            client.close()


class Load:
    def __init__(self, ports, workers=6, seed=1, timeout=5.0, pause=0.001):
        from resp import encode
        self.encode, self.timeout, self.pause = encode, timeout, pause
        self.done, self.paused, self.idle = threading.Event(), threading.Event(), set()
        self.workers = [Worker(self, i, list(ports), seed) for i in range(workers)]
        for w in self.workers:
            w.start()

    def run_for(self, seconds):
        time.sleep(seconds)

    def hold(self, seconds=15):
        """Everybody waits (their connections stay)."""
        self.idle.clear()
        self.paused.set()
        end = time.monotonic() + seconds
        while len(self.idle) < len(self.workers) and time.monotonic() < end:
            time.sleep(0.01)

    def go_on(self):
        self.paused.clear()

    def finish(self):
        self.done.set()
        for w in self.workers:
            w.join(self.timeout + 10)
            if w.is_alive():
                w.wrong("did not end")

    close = finish

    ops = property(lambda self: sum(w.ops for w in self.workers))
    unknowns = property(lambda self: sum(w.unknowns for w in self.workers))
    refused = property(lambda self: sum(w.refused for w in self.workers))
    gap = property(lambda self: max(w.gap for w in self.workers))

    def figures(self):
        return "%d acknowledged, %d unknown, %d refused, longest gap of a client %.0f ms" % (
            self.ops, self.unknowns, self.refused, 1000 * self.gap)

    def last_error(self):
        return next((w.last_error for w in self.workers if w.last_error), "")

    def problems(self):
        return [p for w in self.workers for p in w.problems]

    def check(self, ports, local=False):
        """Reads everything through each port; with local=True the node's own replica alone."""
        out = self.problems()
        for port in ports:
            for line in self._check_one(port, (b"GYRE", b"LOCAL") if local else ()):
                out.append("%s of port %d: %s" % ("replica" if local else "view", port, line))
        return out

    def _check_one(self, port, prefix):
        out = []
        with Client(port, timeout=30) as c:
            def ask(commands):
                """Replies; errors are asked again for a while (a node that has just come back may be unsure)."""
                got, left, end = {}, list(range(len(commands))), time.monotonic() + 20
                while left:
                    for i, r in zip(left, c.pipeline([prefix + tuple(commands[i]) for i in left])):
                        got[i] = r
                    left = [i for i in left if isinstance(got[i], ReplyError)]
                    if left and time.monotonic() > end:
                        out.append("%s: %s" % (commands[left[0]], got[left[0]]))
                        break
                    if left:
                        time.sleep(0.1)
                return [got[i] for i in range(len(commands))]

            shared = {}
            for w in self.workers:
                items = sorted(w.registers.items(), key=repr)
                how = {"string": lambda k, f: (b"GET", k), "hash": lambda k, f: (b"HGET", k, f), "zset": lambda k, f: (b"ZSCORE", k, f)}
                for (k, r), reply in zip(items, ask([how[k[0]](k[1], k[2]) for k, _ in items])):
                    if isinstance(reply, ReplyError):
                        continue
                    value = float(reply) if k[0] == "zset" and reply is not None else reply
                    if not r.allows(value):
                        out.append("%s %s %s is %r; %r" % (k[0], k[1], k[2] or "", value, r))
                for name, (acked, unknown) in w.counts.items():
                    mine = shared.setdefault(name, [0, 0])
                    mine[0] += acked
                    mine[1] += unknown
                for name, (acked, maybe) in w.sets.items():
                    reply = ask([(b"SMEMBERS", name) if name.startswith(b"set") else (b"LRANGE", name, 0, -1)])[0]
                    if isinstance(reply, ReplyError):
                        continue
                    have = set(reply)
                    lost, alien = [e for e in acked if e not in have], have - set(acked) - maybe
                    if lost:
                        out.append("%s lost %d of %d acknowledged, first %r" % (name, len(lost), len(acked), lost[0][:40]))
                    if alien:
                        out.append("%s has %d elements that were never sent" % (name, len(alien)))
                    if len(reply) != len(have):
                        out.append("%s holds %d elements twice" % (name, len(reply) - len(have)))
                    if name.startswith(b"list") and not lost:
                        sure = set(acked)
                        if [e for e in reply if e in sure] != acked:
                            out.append("%s: acknowledged elements are out of order" % name)
            names = sorted(shared)
            for name, reply in zip(names, ask([(b"GET", n) for n in names])):
                if isinstance(reply, ReplyError):
                    continue
                acked, unknown = shared[name]
                if not acked <= int(reply or 0) <= acked + unknown:
                    out.append("%s is %s; acknowledged %d, unknown %d" % (name, reply, acked, unknown))
        return out
