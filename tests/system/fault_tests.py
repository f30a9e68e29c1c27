"""Kills, pauses, absences and wiped nodes, on rings of three and five. What is promised under each: no acknowledged
write lost at QUORUM, no wrong read, no deleted key back, and every key equal on every replica at the end."""
import os

from faults import *  # noqa: F401,F403
from load import Load
from suite import *  # noqa: F401,F403

# A client that changes its node sees its own writes at these levels; at R=ONE only where it stays.
ROAM = dict(roam=0.02, levels=("quorum", "quorum"))


def kill_rounds(nodes, rounds, options=None):
    with Cluster(nodes, options=options) as ring:
        load = Load(ring.addresses, workers=4)
        roaming = Load(ring.addresses, workers=3, name=b"r", **ROAM)
        try:
            for _ in range(rounds):
                for n in ring:
                    load.run_for(0.5)
                    n.kill()
                    load.run_for(1.0)
                    n.start()
                    ring.wait_ready(60, settled=False)
            load.run_for(0.5)
        finally:
            load.finish()
            roaming.finish()
        note("%d kills" % (rounds * nodes))
        ends_well(ring, load, roaming)
        ok(load.gap < GAP_MAX, "a client had no success for %.1f s" % load.gap)


@test(gyre=True, limit=240)
def fault_kill_rounds():
    """Each node in turn, kill -9 and restart under load, three rounds."""
    kill_rounds(3, 3)


@test(gyre=True, limit=240)
def fault_kill_rounds_five():
    kill_rounds(5, 1, {"threads": 1})


@test(gyre=True, soak=True, limit=900)
def soak_kill_rounds():
    """Twenty rounds."""
    kill_rounds(3, 20)


@test(gyre=True, soak=True, limit=900)
def soak_kill_rounds_five():
    kill_rounds(5, 6, {"threads": 1})


@test(gyre=True, limit=240)
def fault_kill_two_of_five():
    """Two dead at once: where they are two of the three replicas nothing is acknowledged, and nothing is lost."""
    with Cluster(5, options={"threads": 1}) as ring:
        load = Load(ring.addresses, workers=5, **ROAM)
        try:
            for pair in ((0, 1), (2, 4)):
                load.run_for(0.5)
                for i in pair:
                    ring[i].kill()
                load.run_for(2)
                for i in pair:
                    ring[i].start()
                ring.wait_ready(60, settled=False)
        finally:
            load.finish()
        ends_well(ring, load)


def pauses(nodes, seconds):
    with Cluster(nodes, options={"threads": 1} if nodes > 3 else None) as ring:
        paused = ring[1]
        others = [n.address for n in ring if n is not paused]
        # Through the others nobody waits long. Who may also use the paused node sees whether it answers from its past.
        load = Load(others, workers=4, timeout=3.0, **ROAM)
        through = Load(ring.addresses, workers=3, timeout=1.0, name=b"t", **ROAM)
        try:
            for t in seconds:
                load.run_for(1)
                paused.stop()
                load.run_for(t)
                paused.cont()
                load.run_for(1.5)
        finally:
            if paused.alive():
                paused.cont()
            load.finish()
            through.finish()
        ends_well(ring, load, through)
        ok(load.gap < GAP_MAX, "a client of the others had no success for %.1f s" % load.gap)


@test(gyre=True, limit=240)
def fault_pauses():
    pauses(3, (1, 5, 1))


@test(gyre=True, limit=240)
def fault_pauses_five():
    pauses(5, (1, 5))


@test(gyre=True, limit=120)
def fault_thread_stands_still():
    """One thread of a node sleeps and the other takes messages for it: what came meanwhile is not answered from before."""
    with Cluster(3, options={"threads": 2, "enable-debug-command": "yes"}) as ring:
        through = Load(ring.addresses, workers=6, timeout=1.0, name=b"t", **ROAM)
        try:
            for _ in range(20):
                with ring[1].client(timeout=10) as c:
                    eq(c("DEBUG", "SLEEP", "0.5", "ONE"), "OK")
                through.run_for(0.6)
        finally:
            through.finish()
        ends_well(ring, through)


@test(gyre=True, soak=True, limit=300)
def soak_pause_30s():
    pauses(3, (30, 1, 5))


def give_up(ring, clients, names, seconds):
    """Each client has no answer in time and goes; another node hears what is to stand."""
    time.sleep(seconds)
    for c in clients:
        c.close()
    with ring[0].client() as w:
        for name in names:
            w("SET", name, "last")


@test(gyre=True)
def fault_paused_and_left():
    """What a client sent to a paused node, and then gave up, must not win over what it wrote elsewhere meanwhile."""
    with Cluster(3) as ring:
        names = ["left:%d" % i for i in range(20)]
        clients = [ring[1].client() for _ in names]
        for c, name in zip(clients, names):
            c("SET", name, "first")
        stays = ring[1].client()
        ring[1].stop()
        try:
            stays.send("SET", "stays", "1")
            for c, name in zip(clients, names):
                c.send("SET", name, "given up")
            give_up(ring, clients, names, 1)
        finally:
            ring[1].cont()
        eq(stays.read(), "OK", "who still waits is answered")
        time.sleep(1)
        with ring[2].client() as r:
            eq([r("GET", name) for name in names], [b"last"] * len(names))
        ok("clients_gone_while_stopped:20" in ring[1].call("INFO", "everything").decode(), "counted")


@test(quick=True, gyre=True)
def fault_paused_within_a_turn():
    """The same of commands that the node has read already when it stands still: before it runs them, and when it has sent them on."""
    for behind in (False, True):
        with Cluster(3, options={"threads": 1, "enable-debug-command": "yes"}) as ring:
            names = ["within:%d" % i for i in range(20)]
            clients = [ring[1].client() for _ in names]
            for c, name in zip(clients, names):
                c("SET", name, "first")
            # While the first sleep lasts all the rest is sent, and comes to be one turn.
            holds, sleeps = ring[1].client(), ring[1].client(timeout=10)
            holds.send("DEBUG", "SLEEP", "0.3")
            time.sleep(0.1)
            if not behind:
                sleeps.send("DEBUG", "SLEEP", "1.5")
            for c, name in zip(clients, names):
                c.send("SET", name, "given up")
            if behind:
                sleeps.send("DEBUG", "SLEEP", "1.5")
            give_up(ring, clients, names, 0.5)
            eq(sleeps.read(), "OK")
            time.sleep(1)
            with ring[2].client() as r:
                eq([r("GET", name) for name in names], [b"last"] * len(names))


# ---- a node that was away

def many_types(prefix, count):
    for i in range(count):
        yield "SET", "%s:s:%d" % (prefix, i), "%s %d" % (prefix, i)
        if i % 10 == 0:
            yield "HSET", "%s:h:%d" % (prefix, i), "a", i, "b", i
            yield "SADD", "%s:m:%d" % (prefix, i), "a", "b", "c", i
            yield "ZADD", "%s:z:%d" % (prefix, i), i, "a", 2, "b"
            yield "DEL", "%s:l:%d" % (prefix, i)            # what is sent again must not push twice
            yield "RPUSH", "%s:l:%d" % (prefix, i), *range(20)


def changes(prefix, count):
    """Overwrites, deletes, removals of elements; all may be sent twice."""
    for i in range(count):
        if i % 3 == 0:
            yield "DEL", "%s:s:%d" % (prefix, i)
        else:
            yield "SET", "%s:s:%d" % (prefix, i), "changed %d" % i
        if i % 10 == 0:
            yield "HDEL", "%s:h:%d" % (prefix, i), "a"
            yield "SREM", "%s:m:%d" % (prefix, i), "a", "b"
            yield "ZADD", "%s:z:%d" % (prefix, i), 7, "a"
            yield "LTRIM", "%s:l:%d" % (prefix, i), 0, 4
            yield "SET", "%s:n:%d" % (prefix, i), i, "EX", 1000


def deleted(prefix, count):
    return ["%s:s:%d" % (prefix, i) for i in range(0, count, 3)]


def away(options, down, count=3000, nodes=3):
    """One node is away while `count` keys of all types change and a third of them goes."""
    with Cluster(nodes, options=options) as ring:
        gone, others = ring[nodes - 1], [n for n in ring.nodes[:nodes - 1]]
        fill(others[0].address, many_types("a", count))
        ring.wait_settled(60)
        gone.kill()
        began = time.monotonic()
        fill(others[0].address, changes("a", count))
        fill(others[1].address, many_types("b", count // 2))
        time.sleep(max(0.0, down - (time.monotonic() - began)))
        dropped = sum(metric(n, "hints_dropped") for n in others)
        gone.start()
        gone.wait_ready(60)
        since = time.monotonic()
        ends_well(ring, since=since, extra=deleted("a", count))
        note(sums(ring, "hints_written", "hints_replayed", "hints_dropped", "compare_differences"))
        for n in ring:
            eq(set(n.client(timeout=30).pipeline([("EXISTS", k) for k in deleted("a", count)])), {0}, "deleted keys through " + n.name)
        return dropped


@test(gyre=True, limit=180)
def fault_away_hinted():
    eq(away({}, 0), 0, "hints dropped within their bounds")


@test(gyre=True, limit=180)
def fault_away_longer_than_hints():
    """hints-max-age 2 s; hints are swept every ten seconds."""
    ok(away({"hints-max-age": 2}, 14) > 0, "no hint was dropped by age")


@test(gyre=True, limit=180)
def fault_away_more_than_hints():
    """hints-max 100, some thousands of keys."""
    ok(away({"hints-max": 100}, 0) > 0, "no hint was dropped by number")


@test(gyre=True, limit=180)
def fault_away_no_hints():
    """hints-max 0: only by comparison."""
    away({"hints-max": 0}, 0)


@test(gyre=True, limit=180)
def fault_away_no_hints_five():
    away({"hints-max": 0, "threads": 1}, 0, nodes=5)


def wiped(nodes, options=None):
    with Cluster(nodes, options=options) as ring:
        fill(ring[0].address, many_types("a", 3000))
        fill(ring[1].address, changes("a", 1500))
        load = Load(ring.addresses, workers=4, **ROAM)
        try:
            for n in ring.nodes[:2]:
                load.run_for(0.5)
                ring.wait_settled(60)
                n.kill()
                n.wipe()
                load.run_for(1)
                n.start()
                ring.wait_ready(60, settled=False)
                load.run_for(0.5)
                began = time.monotonic()
                # The next is wiped only when this one is a full replica again: two losses at once are two of three disks.
                load.hold()
                wait_equal(ring, FIVE * EQUAL_SECONDS, load.keys())
                load.go_on()
                note("%s refilled after %.1f s" % (n.name, time.monotonic() - began))
        finally:
            load.finish()
        ends_well(ring, load, extra=deleted("a", 1500))
        eq(ring[2].call("EXISTS", *deleted("a", 1500)), 0, "deleted keys came back")


@test(gyre=True, limit=240)
def fault_wiped_node():
    """Its directory is removed: it comes back empty, under load, and refills."""
    wiped(3)


@test(gyre=True, limit=240)
def fault_wiped_node_five():
    wiped(5, {"threads": 1})


@test(gyre=True, limit=180)
def fault_flushall_while_away():
    """FLUSHALL while a node is away: nothing of before comes back with it."""
    with Cluster(3) as ring:
        fill(ring[0].address, many_types("a", 1000))
        ring.wait_settled(60)
        ring[2].kill()
        # A first command finds out that the node is gone.
        wait_until("FLUSHALL", lambda: ring[0].call("FLUSHALL") == "OK", 15)
        fill(ring[1].address, many_types("b", 200))
        ring[2].start()
        ring.wait_ready(60, settled=False)
        before = {c[1] for c in many_types("a", 1000)}
        ends_well(ring, extra=before)
        for n in ring:
            eq(sum(n.client(timeout=30).pipeline([("EXISTS", k) for k in before])), 0, "keys of before FLUSHALL through " + n.name)
            eq(n.call("DBSIZE"), 200 + 4 * 20, n.name)


# ---- expiry while a node is away

EXPIRES_MS = 4000


def expiring(count):
    for i in range(count):
        yield "SET", "e:s:%d" % i, "value %d" % i
        yield "HSET", "e:h:%d" % i, "a", i, "b", i
        yield "DEL", "e:l:%d" % i           # what is sent again must not push twice
        yield "RPUSH", "e:l:%d" % i, *range(10)


def expiry_meanwhile(ring, leave, come_back, count=300):
    """All keys would expire while a node is away; a third is kept for good, a third for longer. It has seen them expire, and
    must come to have the others whole again, and the rest must stay gone."""
    names = ["e:%s:%d" % (t, i) for i in range(count) for t in "shl"]
    keep, longer, gone = names[::3], names[1::3], names[2::3]
    lives = 0.001 * EXPIRES_MS
    while True:
        fill(ring[0].address, expiring(count))
        fill(ring[0].address, (("PEXPIRE", k, int(1000 * lives)) for k in names))
        since = time.monotonic()
        ring.wait_settled(60)
        leave()
        fill(ring[0].address, [("PERSIST", k) for k in keep] + [("EXPIRE", k, 1000) for k in longer])
        took = time.monotonic() - since
        if took < lives:
            break
        # Some had expired before they could be kept: once more, with the time that this machine takes.
        ok(lives < 20, "too slow a machine for this test: %.1f s" % took)
        come_back()
        ring.wait_settled(60)
        lives = min(20, 2 * took)
    time.sleep(max(0.0, lives + 2.5 - (time.monotonic() - since)))
    healed = come_back()
    ends_well(ring, since=healed, extra=names)
    for n in ring:
        with n.client(timeout=30) as c:
            eq(sum(c.pipeline([("EXISTS", k) for k in gone])), 0, "expired keys through " + n.name)
            eq(set(c.pipeline([("TTL", k) for k in keep])), {-1}, "kept keys through " + n.name)
            ok(all(900 < t <= 1000 for t in c.pipeline([("TTL", k) for k in longer])), "keys that were given longer, through " + n.name)
            for k in keep + longer:
                want = {"s": lambda: c("GET", k), "h": lambda: len(c("HKEYS", k)), "l": lambda: c("LLEN", k)}[k[2]]()
                eq(want, {"s": b"value " + k[4:].encode(), "h": 2, "l": 10}[k[2]], "%s is whole through %s" % (k, n.name))
    return names


@test(gyre=True, limit=180)
def fault_expiry_while_away():
    with Cluster(3, options={"hints-max": 0}) as ring:
        def come_back():
            ring[2].start()
            ring.wait_ready(60, settled=False)
            return time.monotonic()
        expiry_meanwhile(ring, ring[2].kill, come_back)
