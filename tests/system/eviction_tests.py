"""maxmemory: eviction on one node and on a ring."""
import time

from suite import *  # noqa: F401,F403

MB = 1 << 20


def info(r, section, field):
    for line in text(r("INFO", section)).splitlines():
        if line.startswith(field + ":"):
            return int(line.split(":")[1])
    raise AssertionError("no %s in INFO %s" % (field, section))


def held(r):
    return info(r, "memory", "used_memory_dataset")


def settled(r):
    """The same, when no thread has anything to add or to give back any more: each tells it at the end of a turn."""
    seen = [held(r)]
    wait_until("memory is settled", lambda: seen.append(held(r)) or len(seen) > 6 and len(set(seen[-6:])) == 1, 10)
    return seen[-1]


def fill(r, names, size, step=500, *more):
    """SETs; how many were refused for want of memory."""
    refused = 0
    for i in range(0, len(names), step):
        answers = r.pipeline([("SET", n, "v" * size, *more) for n in names[i:i + step]])
        bad = [a for a in answers if a != "OK"]
        ok(all(isinstance(a, ReplyError) and str(a).startswith("OOM") for a in bad), bad[:3])
        refused += len(bad)
    return refused


@test(quick=True, gyre=True, limit=120)
def eviction_lru_keeps_what_is_used():
    """Memory stays within the limit, keys that are read again and again stay, and a restart brings nothing back."""
    for threads in (1, 4):
        with Cluster(1, options={"threads": threads, "maxmemory": "20mb", "maxmemory-policy": "allkeys-lru"}) as c:
            with c[0].client() as r:
                hot = ["hot%d" % i for i in range(1000)]
                eq(fill(r, hot, 100), 0)
                most = 0
                for part in range(40):
                    eq(fill(r, ["cold%d:%d" % (part, i) for i in range(10_000)], 100), 0)
                    r.pipeline([("GET", n) for n in hot])
                    most = max(most, held(r))
                    time.sleep(0.25)   # the clock of uses counts seconds: what fits comes in some of them
                ok(most < 20 * MB * 1.03, most)
                ok(most > 20 * MB * 0.9, most)
                there = len([a for a in r.pipeline([("EXISTS", n) for n in hot]) if a == 1])
                old = len([a for a in r.pipeline([("EXISTS", "cold0:%d" % i) for i in range(10_000)]) if a == 1])
                note("%d threads: %d of 1000 used keys stay, %d of 10000 that were not, %d MB at most" % (threads, there, old, most // MB))
                ok(there >= 990, there)
                ok(old < 1000, old)
                keys, evicted = r("DBSIZE"), info(r, "stats", "evicted_keys")
                eq(keys + evicted, 401_000)
            c[0].kill()
            c[0].start()
            c.wait_ready()
            with c[0].client() as r:
                eq(r("DBSIZE"), keys)


@test(quick=True, gyre=True)
def eviction_policies():
    with Cluster(1) as c:
        with c[0].client() as r, c[0].client() as listener:
            def begin(policy):
                r("CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", policy)
                r("FLUSHALL")
                return fill(r, ["old%d" % i for i in range(2000)], 100) + fill(r, ["ex%d" % i for i in range(2000)], 100, 500, "EX", 1000)

            def alive(prefix):
                return len([a for a in r.pipeline([("EXISTS", "%s%d" % (prefix, i)) for i in range(2000)]) if a == 1])

            for policy in ("noeviction", "allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"):
                eq(begin(policy), 0)
                r("CONFIG", "SET", "maxmemory", settled(r))
                refused = fill(r, ["new%d" % i for i in range(1000)], 100)
                old, ex = alive("old"), alive("ex")
                if policy == "noeviction":
                    ok(refused > 990, refused)
                    eq((old, ex), (2000, 2000))
                    continue
                eq(refused, 0)
                ok(held(r) <= int(r("CONFIG", "GET", "maxmemory")[1]) + 20_000, policy)
                # About one goes for each that comes. The queue of expiries counts, too, and gives back its room (of up to 64 kB
                # here, some 400 keys) in one piece, after others have gone for it.
                ok(100 < 4000 - old - ex + 1000 - alive("new") < 1500, (policy, old, ex))
                if policy.startswith("volatile"):
                    eq(old, 2000)
                # Nothing but keys with an expiry may go: when they are gone, writes are refused.
                if policy == "volatile-lru":
                    ok(fill(r, ["more%d" % i for i in range(10_000)], 100) > 500, policy)
                    eq((alive("old"), alive("ex")), (2000, 0))
            # A lower limit is reached in turns, not in one.
            eq(begin("allkeys-lru"), 0)
            r("CONFIG", "SET", "maxmemory", 200_000)
            wait_until("the limit is reached", lambda: held(r) <= 200_000 or (held(r),), 10)
            r("CONFIG", "SET", "notify-keyspace-events", "Ee")
            listener("SUBSCRIBE", "__keyevent@0__:evicted")
            fill(r, ["told%d" % i for i in range(2000)], 100)     # more than the limit holds
            eq(listener.read()[:2], [b"message", b"__keyevent@0__:evicted"])


@test(quick=True, gyre=True)
def eviction_threads_at_once():
    """What one thread cannot evict another does at once, in rest too, and tells clients that track it."""
    with Cluster(1, options={"threads": 2, "maxmemory-policy": "volatile-random"}) as c:
        with c[0].client() as r, c[0].client() as writer:
            r("HELLO", "3")
            r("CLIENT", "TRACKING", "ON")
            waited = []
            for _ in range(15):
                r("CONFIG", "SET", "maxmemory", "0")
                r("DEL", "big-key")
                r("SETEX", "volatile-key", "10000", "x")      # of the second thread, big-key of the first
                r("GET", "volatile-key")
                r("CONFIG", "SET", "maxmemory", settled(r) + 100 * 1024)
                r.pushes.clear()
                time.sleep(0.05)
                writer("SETBIT", "big-key", "1600000", "0")
                since = time.monotonic()
                eq(r.read_push(), [b"invalidate", [b"volatile-key"]])
                waited.append(1000 * (time.monotonic() - since))
            note("evicted by the other thread after %.2f ms (median; 0.5)" % sorted(waited)[7])
            ok(sorted(waited)[7] < 2.5, waited)


@test(gyre=True, limit=240)
def eviction_ring():
    """Each node stays within its limit, a smaller one too, and the replicas are equal afterwards."""
    with Cluster(3, options={"maxmemory": "24mb", "maxmemory-policy": "allkeys-lru", "threads": 2},
                 per_node={2: {"maxmemory": "16mb"}}) as ring:
        limits = [24 * MB, 24 * MB, 16 * MB]
        clients = [n.client(timeout=30) for n in ring]
        refused, most = 0, [0, 0, 0]
        for part in range(60):
            refused += fill(clients[part % 3], ["k%d:%d" % (part, i) for i in range(4000)], 200, 200)
            most = [max(m, held(r)) for m, r in zip(most, clients)]
        evicted = [info(r, "stats", "evicted_keys") for r in clients]
        note("at most %s MB, evicted %s, refused %d" % ([m // MB for m in most], evicted, refused))
        for m, limit in zip(most, limits):
            ok(m < limit * 1.25, (m, limit))
        ok(sum(evicted) > 100_000, evicted)
        ring.wait_settled(60)
        wait_until("all are within their limits", lambda: all(held(r) <= l * 1.1 for r, l in zip(clients, limits)) or ([held(r) for r in clients],), 60)
        eq(fill(clients[0], ["last%d" % i for i in range(100)], 200), 0)
        ring.wait_settled(60)
        v = as_map(clients[0]("GYRE", "VERIFY"))
        eq((v["bad"], v["slots_differing"]), (0, 0))
        # A node that is a little over its limit goes on evicting between one answer and the next.
        wait_until("all nodes count the same keys", lambda: len({r("DBSIZE") for r in clients}) == 1, 60)
