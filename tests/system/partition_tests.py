"""Partitions between real processes, in network namespaces of the test's own (root; skipped with the reason elsewhere)."""
import errno
import os
import subprocess

from fault_tests import expiry_meanwhile
from faults import *  # noqa: F401,F403
from load import Load
from netns import Net
from suite import *  # noqa: F401,F403

QUORUM = dict(roam=0.02, levels=("quorum", "quorum"))


def addresses(ring, indexes):
    return [ring[i].address for i in indexes]


def partitions(nodes, cuts, seconds=4, options=None, majority=()):
    """cuts: functions of the net. Clients on every side at QUORUM: what is acknowledged stays, whoever acknowledged it.
    majority: nodes that are always on the side with a quorum of each slot; through them nobody waits long."""
    net = Net(nodes)
    with Cluster(nodes, net=net, options=options) as ring:
        sides = [Load([n.address], workers=1, timeout=3, name=b"n%d" % i, levels=("quorum", "quorum"), order=False) for i, n in enumerate(ring)]
        roaming = Load(ring.addresses, workers=3, timeout=3, name=b"r", **QUORUM)
        try:
            for cut in cuts:
                sides[0].run_for(1)
                cut(net)
                sides[0].run_for(seconds)
                healed = net.heal()
            sides[0].run_for(1)
        finally:
            net.heal()
            for load in sides + [roaming]:
                load.finish()
        ends_well(ring, *sides, roaming, since=healed)
        for i in majority:
            ok(sides[i].gap < GAP_MAX, "a client of n%d had no success for %.1f s" % (i + 1, sides[i].gap))


@test(gyre=True, netns=True, limit=240)
def partition_isolate_one():
    """Each of three alone in turn, clients on both sides, QUORUM."""
    partitions(3, [lambda net, i=i: net.cut([i], [j for j in range(3) if j != i]) for i in range(3)])


@test(gyre=True, netns=True, limit=240)
def partition_isolate_primary_majority_serves():
    """The two that see each other go on."""
    partitions(3, [lambda net: net.cut([2], [0, 1])] * 2, majority=(0, 1))


@test(gyre=True, netns=True, limit=240)
def partition_halves_of_five():
    partitions(5, [lambda net: net.cut([0, 1], [2, 3, 4]), lambda net: net.cut([1, 3], [0, 2, 4])], options={"threads": 1})


@test(gyre=True, netns=True, limit=240)
def partition_one_way():
    """One direction alone is lost: from one node to all, from all to one, between two."""
    def deaf(net):
        for i in (0, 2):
            net.one_way(i, 1)

    def dumb(net):
        for i in (1, 2):
            net.one_way(0, i)
    partitions(3, [deaf, dumb, lambda net: net.one_way(2, 1)])


@test(gyre=True, netns=True, limit=240)
def partition_bridge():
    """Two of three do not see each other, both see the third; in five, two groups that share one node."""
    partitions(3, [lambda net: net.cut([0], [1])])
    partitions(5, [lambda net: net.cut([0, 1], [3, 4])], options={"threads": 1})


@test(gyre=True, netns=True, limit=240)
def partition_flapping():
    """Cut and healed every 0.4 s."""
    partitions(3, [lambda net: net.cut([1], [0, 2]), lambda net: net.cut([0], [1, 2])] * 5, seconds=0.4)


# ---- both sides write at level ONE: all of it merges

def try_until_ok(address, commands, seconds=20):
    """At level ONE each side takes every write, once it has found out that it is alone."""
    with Client(address, timeout=10) as c:
        c("GYRE", "CONSISTENCY", "READ", "one", "WRITE", "one")
        for command in commands:
            end = time.monotonic() + seconds
            while True:
                try:
                    c(*command)
                    break
                except ReplyError as e:
                    # An increment or a push of unknown outcome must not be sent again.
                    ok(e.code == "NOQUORUM" and ("nothing was written" in str(e) or command[0] in ("SET", "SADD", "DEL", "PING")) and time.monotonic() < end,
                       "%s at level one: %s" % (command, e))
                    time.sleep(0.05)


def both_sides(net, ring, cut, left, right, rounds=200):
    """left, right: one node of each side. Returns what must be true afterwards."""
    base = ring[left].address
    try_until_ok(base, [c for i in range(20) for c in (
        ("SET", "cnt:%d" % i, 1000), ("SADD", "set:%d" % i, "base", "gone"), ("RPUSH", "list:%d" % i, "base"), ("SET", "old:%d" % i, "old"),
        ("HSET", "hash:%d" % i, "base", 1), ("ZADD", "zset:%d" % i, 1, "base"), ("SET", "dead:%d" % i, "x"))])
    ring.wait_settled(60)
    cut(net)
    time.sleep(1.5)     # both sides have found out
    try_until_ok(ring[left].address, [c for i in range(rounds) for c in (
        ("INCR", "cnt:%d" % (i % 20)), ("SADD", "set:%d" % (i % 20), "l%d" % i), ("RPUSH", "list:%d" % (i % 20), "l%d" % i),
        ("HSET", "hash:%d" % (i % 20), "l%d" % i, i), ("ZINCRBY", "zset:%d" % (i % 20), 2, "base"), ("SET", "left:%d" % i, i))])
    try_until_ok(ring[left].address, [("DEL", "dead:%d" % i) for i in range(20)])
    try_until_ok(ring[right].address, [c for i in range(rounds) for c in (
        ("INCRBY", "cnt:%d" % (i % 20), 3), ("SADD", "set:%d" % (i % 20), "r%d" % i), ("RPUSH", "list:%d" % (i % 20), "r%d" % i),
        ("HSET", "hash:%d" % (i % 20), "r%d" % i, i), ("ZINCRBY", "zset:%d" % (i % 20), 5, "base"), ("SET", "right:%d" % i, i))])
    time.sleep(0.05)
    try_until_ok(ring[right].address, [("SREM", "set:%d" % i, "gone") for i in range(20)] + [("SET", "old:%d" % i, "new") for i in range(20)])
    return net.heal()


def merged(ring, rounds=200):
    """Lines for what is not as it must be."""
    wrong = []

    def same(got, want, what):
        if got != want:
            wrong.append("%s: got %.200r, want %.200r" % (what, got, want))

    with ring[0].client(timeout=30) as c:
        each = rounds // 20
        for i in range(20):
            left, right = [b"l%d" % k for k in range(i, rounds, 20)], [b"r%d" % k for k in range(i, rounds, 20)]
            same(int(c("GET", "cnt:%d" % i)), 1000 + each + 3 * each, "increments of both sides of cnt:%d" % i)
            same(sorted(c("SMEMBERS", "set:%d" % i)), sorted([b"base"] + left + right), "members of both sides of set:%d; what one removed is gone" % i)
            same(sorted(c("HKEYS", "hash:%d" % i)), sorted([b"base"] + left + right), "fields of hash:%d" % i)
            same(float(c("ZSCORE", "zset:%d" % i, "base")), 1.0 + 2 * each + 5 * each, "ZINCRBY of both sides of zset:%d" % i)
            have = c("LRANGE", "list:%d" % i, 0, -1)
            same(sorted(have), sorted([b"base"] + left + right), "pushes of both sides to list:%d, each once" % i)
            same([x for x in have if x in left], left, "order of one side's pushes to list:%d" % i)
            same([x for x in have if x in right], right, "order of the other side's pushes to list:%d" % i)
            same(c("GET", "old:%d" % i), b"new", "the later write of old:%d" % i)
            same(c("EXISTS", "dead:%d" % i), 0, "deleted on one side: dead:%d" % i)
        for side in ("left", "right"):
            got = c.pipeline([("GET", "%s:%d" % (side, i)) for i in range(rounds)])
            same(sum(g == b"%d" % i for i, g in enumerate(got)), rounds, "keys that one side alone wrote, " + side)
    return wrong


def merge(nodes, cut, left, right, options=None):
    net = Net(nodes)
    with Cluster(nodes, net=net, options=options) as ring:
        healed = both_sides(net, ring, cut, left, right)
        ends_well(ring, since=healed)
        none(merged(ring), "not merged")


@test(gyre=True, netns=True, limit=180)
def partition_merge_one_alone():
    """Writes of every type on both sides at level ONE; afterwards all of them are there on all replicas."""
    merge(3, lambda net: net.cut([0], [1, 2]), 0, 2)


@test(gyre=True, netns=True, limit=180)
def partition_merge_halves_of_five():
    # Factor 5: each side holds every slot. With less, a side has no replica of some slots and refuses them.
    merge(5, lambda net: net.cut([0, 1], [2, 3, 4]), 1, 3, {"threads": 1, "replication-factor": 5})


@test(gyre=True, netns=True, limit=180)
def partition_level_one_load():
    """Level ONE under load on both sides: nothing acknowledged is lost once they see each other again."""
    net = Net(3)
    with Cluster(3, net=net) as ring:
        loads = [Load([n.address], workers=2, timeout=3, name=b"n%d" % i, levels=("one", "one"), judge=False) for i, n in enumerate(ring)]
        try:
            for lone in (0, 1):
                loads[0].run_for(1)
                net.cut([lone], [i for i in range(3) if i != lone])
                loads[0].run_for(4)
                healed = net.heal()
            loads[0].run_for(1)
        finally:
            net.heal()
            for load in loads:
                load.finish()
        ends_well(ring, *loads, since=healed)


@test(gyre=True, netns=True, limit=180)
def partition_expiry():
    """A node that runs alone while keys expire on it, which the others were told to keep."""
    net = Net(3)
    with Cluster(3, net=net) as ring:
        expiry_meanwhile(ring, lambda: net.cut([2], [0, 1]), net.heal)


@test(gyre=True, netns=True, limit=180)
def partition_small_disk():
    """A real full file system: one node's data on a tmpfs with a ballast file."""
    Net(0)
    with Cluster(3, start=False) as ring:
        sick = ring[1]
        os.makedirs(sick.data, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", sick.data], check=True)
        try:
            ring.start(60)
            load = Load([ring[0].address, ring[2].address], workers=4, timeout=8, **QUORUM)
            ballast = os.path.join(sick.data, "ballast")
            try:
                load.run_for(1)
                with open(ballast, "wb", buffering=0) as f:
                    try:
                        while f.write(bytes(1 << 20)) > 0:
                            pass
                    except OSError as e:
                        eq(e.errno, errno.ENOSPC)
                load.run_for(5)
                ok(sick.alive(), "the node died of its full disk:\n" + sick.log_end())
                os.unlink(ballast)
                load.run_for(2)
            finally:
                load.finish()
            ends_well(ring, load, since=time.monotonic())
            ok(load.gap < GAP_MAX, "a client of the others had no success for %.1f s" % load.gap)
        finally:
            for n in ring:
                if n.alive():
                    n.kill()
            subprocess.run(["umount", "-l", sick.data])
