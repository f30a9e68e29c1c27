"""What the fault tests share: how each ends, and writes whose every acknowledgement is remembered."""
import threading
import time

from cluster import FAILURES
from replicas import compare, wait_equal
from resp import Client, ReplyError
from suite import eq, none, note, ok

EQUAL_SECONDS = 10          # promised after the last fault; a busy machine may take five times as long
FIVE = 5


def ends_well(ring, *loads, since=None, extra=()):
    """Every node runs and no fault is left: all replicas become equal, nothing is lost, wrong or revived."""
    for load in loads:
        load.finish()
    for load in loads:
        none(load.problems(), "wrong replies")
    keys = set(extra)
    for load in loads:
        keys |= load.keys()
    seconds, count = wait_equal(ring, FIVE * EQUAL_SECONDS, keys, since=since)
    for load in loads:
        note(load.figures())
        none(load.check(ring.addresses), "lost, wrong or revived")
    # Reading may have repaired; it must not have made a difference.
    wait_equal(ring, FIVE * EQUAL_SECONDS, keys)
    note("%d keys equal after %.1f s" % (count, seconds))
    dead = [n.name for n in ring if not n.alive()]
    ok(not dead, "died: %s" % dead)


def metric(node, field):
    for line in node.call("INFO", "everything").decode().split("\r\n"):
        if line.startswith(field + ":"):
            value = line.split(":", 1)[1]
            return float(value) if "." in value else int(value)
    raise AssertionError("INFO of %s has no %s" % (node.name, field))


def sums(ring, *fields):
    return ", ".join("%s %d" % (f, sum(metric(n, f) for n in ring if n.alive())) for f in fields)


def fill(address, commands, chunk=2000):
    """Sends many commands; every reply must be good."""
    commands = list(commands)
    with Client(address, timeout=60) as c:
        for at in range(0, len(commands), chunk):
            todo, end = commands[at:at + chunk], time.monotonic() + 30
            while todo:         # a takeover that is not over yet answers -NOQUORUM: these commands may run twice
                again = [(c_, r) for c_, r in zip(todo, c.pipeline(todo)) if isinstance(r, ReplyError)]
                bad = [r for _, r in again if r.code != "NOQUORUM"]
                ok(not bad, "refused: %s" % bad[:3])
                ok(time.monotonic() < end, "still refused: %s" % [r for _, r in again][:3])
                todo = [c_ for c_, _ in again]
                if todo:
                    time.sleep(0.05)


class Recorder(threading.Thread):
    """Writes unique keys one after the other and remembers when each was acknowledged."""

    def __init__(self, address, name, pause=0.0005):
        super().__init__(daemon=True)
        self.address, self.name, self.pause, self.acked, self.done = address, name, pause, [], False
        self.start()

    def run(self):
        number = 0
        try:
            with Client(self.address, timeout=10) as c:
                while not self.done:
                    number += 1
                    key = "rec:%s:%d" % (self.name, number)
                    try:
                        c("SET", key, key)
                    except ReplyError:
                        continue
                    self.acked.append((key, time.monotonic()))
                    time.sleep(self.pause)
        except FAILURES:
            pass

    def finish(self):
        self.done = True
        self.join(20)
        return self

    def lost(self, address):
        """[(key, when it was acknowledged)] of what is not there."""
        with Client(address, timeout=60) as c:
            for _ in range(100):        # a node that has just come back may be unsure
                got = c.pipeline([("GET", k) for k, _ in self.acked])
                if not any(isinstance(r, ReplyError) for r in got):
                    break
                time.sleep(0.1)
            out = []
            for (key, when), value in zip(self.acked, got):
                if value is None:
                    out.append((key, when))
                else:
                    eq(value, key.encode(), key)
            return out


def same_everywhere(ring, keys=()):
    found = compare(ring, keys)
    none(found.lines, "replicas differ: %d of %d" % (found.differ, found.keys))
    return found.keys
