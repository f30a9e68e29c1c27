"""Compares what every replica of every key says by itself (GYRE LOCAL): type, value, expiry.

    none(differences(ring), "replicas differ")
    seconds = wait_equal(ring, 60)        # polls until nothing differs; raises with what still does

Replies of equal replicas are equal byte for byte where the order is part of the type, so whole
pipelines are compared as they came and only what differs, and hashes and sets, is looked at.
"""
import time

from cluster import FAILURES
from resp import Client, ReplyError, Status, as_map, encode, slot, text

CHUNK = 4000
SHOWN = 20
VALUE = {"string": ("GET",), "hash": ("HGETALL",), "set": ("SMEMBERS",), "list": ("LRANGE", 0, -1), "zset": ("ZRANGE", 0, -1, "WITHSCORES")}
UNORDERED = ("hash", "set")


class NotAll(OSError):
    """A node does not see all others yet: what it shows is not the whole ring."""


def slot_map(ring):
    """slot -> all nodes that hold it. CLUSTER SLOTS leaves out nodes that are taken for dead, so none may be."""
    by_port = {n.cluster_port: n for n in ring}
    factor = min(len(ring), int(as_map(ring[0].call("CONFIG", "GET", "replication-factor"))["replication-factor"]))
    out = {}
    with ring[0].client(cluster=True) as c:
        for low, high, *replicas in c("CLUSTER", "SLOTS"):
            nodes = [by_port[r[1]] for r in replicas]
            if len(nodes) != factor:
                raise NotAll("%s shows %d replicas of slot %d" % (ring[0].name, len(nodes), low))
            for s in range(low, high + 1):
                out[s] = nodes
    if len(out) != 16384:
        raise NotAll("%s shows %d slots" % (ring[0].name, len(out)))
    return out


def all_keys(ring):
    """Every key that any view of the ring shows: SCAN through each node, so that a key counts even when only some have it."""
    keys = set()
    for node in ring:
        with node.client(timeout=60) as c:
            cursor = b"0"
            while True:
                cursor, part = c("SCAN", cursor, "COUNT", 5000)
                keys.update(part)
                if cursor == b"0":
                    break
    return keys


def raw(client, request, count):
    """The bytes of count replies, unread. The end is known by a reply that nothing else gives."""
    end = b"=the end of %d=" % count
    client.sock.sendall(request + encode(("ECHO", end)))
    tail = b"$%d\r\n%s\r\n" % (len(end), end)
    out = bytearray(client.buf[client.at:])
    client.buf, client.at = bytearray(), 0
    while not out.endswith(tail):
        got = client.sock.recv(1 << 20)
        if not got:
            raise ConnectionError("closed by the server")
        out += got
    return bytes(out[:-len(tail)])


def parsed(client, data, count):
    """The same bytes as replies."""
    client.buf, client.at = bytearray(data), 0
    out = [client.read() for _ in range(count)]
    client.buf, client.at = bytearray(), 0
    return out


def ask(clients, commands):
    """The replies of each client to the same commands; [replies] once when all bytes are equal."""
    request = b"".join(encode(("GYRE", "LOCAL") + c) for c in commands)
    answers = [raw(c, request, len(commands)) for c in clients]
    if all(a == answers[0] for a in answers):
        return [parsed(clients[0], answers[0], len(commands))]
    return [parsed(c, a, len(commands)) for c, a in zip(clients, answers)]


def plain(type_, reply):
    if type_ not in UNORDERED or not isinstance(reply, list):
        return reply
    return sorted(zip(reply[::2], reply[1::2])) if type_ == "hash" else sorted(reply)


def brief(reply):
    return "%s" % (repr(reply) if len(repr(reply)) < 120 else repr(reply)[:90] + "... (%d)" % len(repr(reply)))


def _compare(nodes, clients, keys, out):
    """keys: held by these nodes. Adds lines to out; returns how many keys differ."""
    types = ask(clients, [("TYPE", k) for k in keys])
    bad = set()

    def look(answers, which, what):
        for i, replies in enumerate(zip(*answers)):
            seen = [plain(what(i), r) for r in replies]
            wrong = next((r for r in seen if isinstance(r, ReplyError)), None)
            if all(s == seen[0] for s in seen) and wrong is None:
                continue
            bad.add(which[i])
            if len(out) < SHOWN:
                out.append("%r: %s" % (which[i], "; ".join("%s %s" % (n.name, brief(r)) for n, r in zip(nodes, seen if len(seen) > 1 else seen * len(nodes)))))

    look(types, keys, lambda _: "TYPE")
    rest = [(k, text(t)) for k, t in zip(keys, types[0]) if k not in bad and isinstance(t, Status) and t in VALUE]
    for type_ in VALUE:
        mine = [k for k, t in rest if t == type_]
        if mine:
            word, *more = VALUE[type_]
            look(ask(clients, [(word, k) + tuple(more) for k in mine]), mine, lambda _, t=type_: t)
    look(ask(clients, [("PEXPIRETIME", k) for k in keys if k not in bad]), [k for k in keys if k not in bad], lambda _: "expiry")
    return len(bad)


class Comparison:
    def __init__(self):
        self.keys = self.differ = 0
        self.lines = []


def compare(ring, keys=None):
    """keys: what to look at besides everything that SCAN shows (deleted ones); None: only that."""
    result = Comparison()
    everything = sorted(all_keys(ring) | {k.encode() if isinstance(k, str) else k for k in keys or ()})
    result.keys = len(everything)
    holders = slot_map(ring)
    groups = {}
    for k in everything:
        nodes = holders[slot(k)]
        groups.setdefault(tuple(sorted(n.name for n in nodes)), (nodes, []))[1].append(k)
    for nodes, mine in groups.values():
        clients = [Client(n.address, timeout=60) for n in nodes]
        try:
            for at in range(0, len(mine), CHUNK):
                result.differ += _compare(nodes, clients, mine[at:at + CHUNK], result.lines)
        finally:
            for c in clients:
                c.close()
    return result


def differences(ring, keys=None):
    return compare(ring, keys).lines


def wait_equal(ring, seconds, keys=None, step=0.3, since=None):
    """Returns (seconds it took since `since`, by default since now; how many keys were compared)."""
    began = time.monotonic()
    since, end, last = since or began, began + seconds, "nothing was compared"
    while True:
        at = time.monotonic()
        try:
            found = compare(ring, keys)
            if not found.differ:
                return at - since, found.keys
            last = "%d of %d keys differ\n  %s" % (found.differ, found.keys, "\n  ".join(found.lines))
        except FAILURES as e:
            last = repr(e)
        if time.monotonic() > end:
            raise AssertionError("replicas are not equal within %.0f s: %s" % (seconds, last))
        time.sleep(step)
