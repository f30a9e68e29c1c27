"""Mixed load with a checker: what was acknowledged must be there, what is read must be allowed.

    load = Load(ring.addresses, workers=6)
    load.run_for(2); ring[0].kill(); load.run_for(2); ...
    load.finish()
    problems = load.check(ports)          # [] or lines that say what is lost or wrong

Every key has one writer, which sends one thing after the other. So by the levels' promise (read where the
slot is acted for, write to a quorum) a register (string, hash field, score) reads as its last acknowledged
write or as a later one of unknown outcome; a counter is between acked and acked + unknown; sets and lists
hold every acknowledged element exactly once and nothing that was never sent; what a queue handed out never
comes back, and no deleted string, field or member does. levels=("quorum", "quorum") asks for them on each
connection; a client that roams sees its own writes at these levels, but while two nodes act for a slot, as after a
restart, they count, pop and push at the same time: what INCR and LPOP answered and the order of a list are judged for
clients that stay where they are. judge=False leaves replies unjudged (level ONE across a partition), and only the end counts.
Unknown is: no reply (the connection failed), or -NOQUORUM, which says that the write may survive. Any
other error reply promises that nothing was stored. Workers move to the next node when theirs fails.
"""
import random
import threading
import time

from cluster import FAILURES
from resp import Client, ReplyError

REFUSED = ("LOADING", "OOM", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN", "MISCONF", "NOREPLICAS", "MAXCLIENTS", "RINGDOWN")
PROBLEMS_MAX = 50
TTL_MS = 800
FLEETING_SECONDS = 0.001 * TTL_MS + 3.0     # an expiry is an absolute time: clocks may be off by the skew that is accepted
READS = {"string": lambda k, f: (b"GET", k), "fleeting": lambda k, f: (b"GET", k), "hash": lambda k, f: (b"HGET", k, f),
         "zset": lambda k, f: (b"ZSCORE", k, f), "member": lambda k, f: (b"SISMEMBER", k, f)}


def as_read(kind, reply):
    if kind == "zset":
        return None if reply is None else float(reply)
    return (True if reply else None) if kind == "member" else reply


class Register:
    __slots__ = ("acked", "later", "at", "through")

    def __init__(self):
        self.acked, self.later, self.at, self.through = None, set(), time.monotonic(), None

    def ack(self, value):
        self.acked, self.at = value, time.monotonic()
        self.later.clear()

    def unknown(self, value):
        self.later.add(value)

    def allows(self, value):
        return value == self.acked or value in self.later

    def __repr__(self):
        return "acknowledged %.60r %.0f ms ago through %s%s" % (self.acked, 1000 * (time.monotonic() - self.at), self.through, ", or of unknown outcome %r" % sorted(map(repr, self.later))[:5] if self.later else "")


class Fleeting(Register):
    """Set with a time to live: may be gone at any time, and must be gone a while after the last was set."""

    gone_at = 0.0

    def ack(self, value):
        super().ack(value)
        self.gone_at = time.monotonic() + FLEETING_SECONDS

    def unknown(self, value):
        super().unknown(value)
        self.gone_at = time.monotonic() + FLEETING_SECONDS

    def allows(self, value):
        return value is None or (super().allows(value) and time.monotonic() < self.gone_at)


class Queue:
    """Pushed at one end, popped at the other, by one worker."""

    def __init__(self):
        self.acked, self.maybe, self.popped, self.unknown_pops = set(), set(), set(), 0

    def problems(self, name, have):
        lost = self.acked - self.popped - set(have)
        if len(lost) > self.unknown_pops:
            yield "%s lost %d acknowledged elements, %d pops are of unknown outcome, first lost %r" % (name, len(lost), self.unknown_pops, min(lost)[:40])
        for what, found in (("came back after they were popped", set(have) & self.popped), ("were never sent", set(have) - self.acked - self.maybe)):
            if found:
                yield "%s: %d elements %s, first %r" % (name, len(found), what, min(found)[:40])
        if len(have) != len(set(have)):
            yield "%s holds %d elements twice" % (name, len(have) - len(set(have)))


class Worker(threading.Thread):
    KEYS = 40

    def __init__(self, load, number, ports, seed):
        super().__init__(daemon=True)
        self.load, self.id, self.ports, self.rng = load, number, ports, random.Random(seed * 1000 + number)
        self.registers = {}                     # (kind, key, field) -> Register
        self.counts = {}                        # key -> [acked, unknown]
        self.sets = {}                          # key -> (acked list, unknown set); also lists, in order
        self.queues = {}
        self.problems, self.ops, self.unknowns, self.refused = [], 0, 0, 0
        self.gap, self.last_ok, self.serial = 0.0, time.monotonic(), 0
        self.last_error = self.through = ""

    def wrong(self, text):
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append("worker %d: %s" % (self.id, text))

    # what to send: (command, on_ack(reply), on_unknown()) ----------------------------------------
    def register(self, kind, key, field, command, value):
        r = self.registers.setdefault((kind, key, field), Fleeting() if kind == "fleeting" else Register())

        def acked(_):
            r.ack(value)
            r.through = self.through
        return command, acked, lambda: r.unknown(value)

    def read(self, kind, key, field):
        r = self.registers.setdefault((kind, key, field), Fleeting() if kind == "fleeting" else Register())
        command = READS[kind](key, field)

        def judge(reply):
            if self.load.judge and not r.allows(as_read(kind, reply)):
                self.wrong("%.1f s: %s read %.60r through %s; %r" % (time.time() % 1000, command, reply, self.through, r))
        return command, judge, lambda: None

    def queue(self, key, value):
        q = self.queues.setdefault(key, Queue())
        if self.rng.random() < 0.55:
            return (b"RPUSH", key, value), lambda _: q.acked.add(value), lambda: q.maybe.add(value)

        def popped(reply):
            if reply is None:
                missed = len(q.acked - q.popped)
                if self.load.judge_order and missed > q.unknown_pops:
                    self.wrong("LPOP %s found nothing; %d elements are there, %d pops of unknown outcome" % (key, missed, q.unknown_pops))
                return
            if self.load.judge_order and (reply in q.popped or reply not in q.acked | q.maybe):
                self.wrong("LPOP %s gave %r, which was %s" % (key, reply[:40], "popped before" if reply in q.popped else "never sent"))
            q.popped.add(reply)

        def lost():
            q.unknown_pops += 1
        return (b"LPOP", key), popped, lost

    def element(self, key, command, element):
        acked, maybe = self.sets.setdefault(key, ([], set()))
        return command, lambda _: acked.append(element), lambda: maybe.add(element)

    def one(self):
        self.serial += 1
        k, v = self.rng.randrange(self.KEYS), b"%d.%d." % (self.id, self.serial) + b"x" * self.rng.choice((1, 10, 100, 1000))
        key = b"%%s:%s%d:%d" % (self.load.name, self.id, k)
        few = b"%%s:%s%d:%d" % (self.load.name, self.id, k % 5)
        field = b"f%d" % self.rng.randrange(20)
        what, gone = self.rng.random(), self.rng.random() < 0.15
        if what < 0.20:
            return self.register("string", key % b"str", None, (b"SET", key % b"str", v), v)
        if what < 0.23:
            return self.register("string", key % b"str", None, (b"DEL", key % b"str"), None)
        if what < 0.40:
            return self.read("string", key % b"str", None)
        if what < 0.43:
            return self.register("fleeting", key % b"ttl", None, (b"SET", key % b"ttl", v, b"PX", TTL_MS), v)
        if what < 0.45:
            return self.read("fleeting", key % b"ttl", None)
        if what < 0.56:
            name = key % b"cnt" if what < 0.52 else b"cnt:shared:%s%d" % (self.load.name, k % 5)
            c = self.counts.setdefault(name, [0, 0])

            def counted(reply):
                c[0] += 1
                if self.load.judge_order and not name.startswith(b"cnt:shared") and not c[0] <= reply <= c[0] + c[1]:
                    self.wrong("INCR %s answered %d; acknowledged %d, unknown %d" % (name, reply, c[0], c[1]))

            def lost():
                c[1] += 1
            return (b"INCR", name), counted, lost
        if what < 0.63:
            return self.element(few % b"set", (b"SADD", few % b"set", v), v)
        if what < 0.70:
            return self.element(few % b"list", (b"RPUSH", few % b"list", v), v)
        if what < 0.76:
            return self.queue(few % b"queue", v)
        if what < 0.82:
            command = (b"HDEL", key % b"hash", field) if gone else (b"HSET", key % b"hash", field, v)
            return self.register("hash", key % b"hash", field, command, None if gone else v)
        if what < 0.86:
            return self.read("hash", key % b"hash", field)
        if what < 0.92:
            command = (b"ZREM", key % b"zset", field) if gone else (b"ZADD", key % b"zset", self.serial, field)
            return self.register("zset", key % b"zset", field, command, None if gone else float(self.serial))
        if what < 0.94:
            return self.read("zset", key % b"zset", field)
        if what < 0.98:
            return self.register("member", key % b"mem", field, (b"SREM" if gone else b"SADD", key % b"mem", field), None if gone else True)
        return self.read("member", key % b"mem", field)

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
                if client and self.rng.random() < self.load.roam:
                    client.close()
                    client, at = None, self.rng.randrange(len(self.ports))
                if client is None:
                    client = Client(self.ports[at % len(self.ports)], timeout=self.load.timeout)
                    self.through = client.port
                    if self.load.levels:
                        client("GYRE", "CONSISTENCY", "READ", self.load.levels[0], "WRITE", self.load.levels[1])
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
    def __init__(self, ports, workers=6, seed=1, timeout=5.0, pause=0.001, levels=None, judge=True, name=b"", roam=0.0, order=True):
        """ports: or addresses. levels: (read, write), None: the server's. name: keeps the keys of two loads apart.
        roam: how likely a worker goes on through another node, each time. order=False: two nodes may act for a slot,
        so what INCR and LPOP answer and the order of lists is not judged."""
        from resp import encode
        self.encode, self.timeout, self.pause, self.levels, self.judge, self.name, self.roam = encode, timeout, pause, levels, judge, name, roam
        self.judge_order = judge and order and not roam
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

    def keys(self):
        """All that was ever written, deleted keys included."""
        out = set()
        for w in self.workers:
            out.update(k[1] for k in w.registers)
            for names in (w.counts, w.sets, w.queues):
                out.update(names)
        return out

    def problems(self):
        return [p for w in self.workers for p in w.problems]

    def check(self, ports, local=False):
        """Reads everything through each port; with local=True the node's own replica alone."""
        out = self.problems()
        fleeting = [r.gone_at for w in self.workers for r in w.registers.values() if isinstance(r, Fleeting)]
        time.sleep(max(0.0, max(fleeting, default=0.0) - time.monotonic()))
        for port in ports:
            for line in self._check_one(port, (b"GYRE", b"LOCAL") if local else ()):
                out.append("%s of port %s: %s" % ("replica" if local else "view", port, line))
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
                for (k, r), reply in zip(items, ask([READS[k[0]](k[1], k[2]) for k, _ in items])):
                    if not isinstance(reply, ReplyError) and not r.allows(as_read(k[0], reply)):
                        out.append("%s %s %s is %r; %r" % (k[0], k[1], k[2] or "", reply, r))
                names = sorted(w.queues)
                for name, reply in zip(names, ask([(b"LRANGE", n, 0, -1) for n in names])):
                    if not isinstance(reply, ReplyError):
                        out.extend(w.queues[name].problems(name, reply))
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
                    if name.startswith(b"list") and not lost and self.judge_order:
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
