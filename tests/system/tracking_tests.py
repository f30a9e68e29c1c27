"""Caches that clients keep (CLIENT TRACKING): nobody goes on with what has changed, over threads."""
import random
import threading
import time

from suite import *  # noqa: F401,F403


def pushes_of(client):
    """What has been pushed so far; asks once, so that all that went before the reply is here."""
    eq(client("PING"), "PONG")
    got, client.pushes[:] = list(client.pushes), []
    return got


def keys_so_far(client):
    return [k for p in pushes_of(client) for k in (p[1] or [None])]


def invalidated(client, seconds=5):
    """The keys of the next invalidation."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        got = keys_so_far(client)
        if got:
            return got
        time.sleep(0.01)
    return []


def tracking_on(threads):
    with Cluster(1, options={"threads": threads}) as c:
        node = c[0]
        w = node.client()
        keys = [b"k%d" % i for i in range(20)]
        for k in keys:
            w("SET", k, "1")
        a, b, quiet = (node.client(proto=3) for _ in range(3))
        for x, how in ((a, ()), (b, ("BCAST", "PREFIX", "k1")), (quiet, ("NOLOOP",))):
            eq(x("CLIENT", "TRACKING", "ON", *how), "OK")
        for k in keys:
            eq((a("GET", k), quiet("GET", k)), (b"1", b"1"))
        for k in keys:
            w("SET", k, "2")
        got = []
        wait_until("all are told", lambda: got.extend(keys_so_far(a)) or len(got) >= 20, 5)
        eq(sorted(got), sorted(keys))
        seen = []
        wait_until("the prefix is told", lambda: seen.extend(keys_so_far(b)) or len(seen) >= 11, 5)
        eq(sorted(seen), sorted(k for k in keys if k.startswith(b"k1")))
        others = []
        wait_until("the third, too", lambda: others.extend(keys_so_far(quiet)) or len(others) >= 20, 5)
        # Its own changes: of several keys at once, in a transaction over all threads, of a script.
        quiet("MGET", *keys)
        quiet("MSET", *[x for k in keys for x in (k, "3")])
        quiet("MGET", *keys)
        quiet("MULTI")
        for k in keys:
            quiet("INCR", k)
        quiet("EXEC")
        quiet("EVAL", "for _, k in ipairs(KEYS) do redis.call('get', k) redis.call('incr', k) end", len(keys), *keys)
        time.sleep(0.2)
        eq(pushes_of(quiet), [], "NOLOOP")
        eq(w("GET", "k7"), b"5")
        # Every way to change a key.
        w("HSET", "h", "f", "1"), w("RPUSH", "l", "1", "2"), w("ZADD", "z", "1", "m"), w("SADD", "s", "m"), w("XADD", "x", "*", "f", "v")
        for key, read, write in ((b"h", ("HGET", "h", "f"), ("HINCRBY", "h", "f", "1")), (b"l", ("LRANGE", "l", "0", "-1"), ("LPOP", "l")),
                                 (b"z", ("ZRANGE", "z", "0", "-1"), ("ZADD", "z", "2", "m")), (b"s", ("SMEMBERS", "s"), ("SADD", "s", "n")),
                                 (b"x", ("XLEN", "x"), ("XADD", "x", "*", "f", "w")), (b"k1", ("GET", "k1"), ("EXPIRE", "k1", "100")),
                                 (b"k2", ("GET", "k2"), ("APPEND", "k2", "x")), (b"k3", ("STRLEN", "k3"), ("DEL", "k3")),
                                 (b"k4", ("GET", "k4"), ("RENAME", "k4", "k4b")), (b"k5", ("GET", "k5"), ("PEXPIRE", "k5", "20")),
                                 (b"none", ("EXISTS", "none"), ("SETNX", "none", "1"))):
            pushes_of(a)
            a(*read)
            w(*write)
            eq(invalidated(a), [key], "%r after %r" % (write, read))
        a("GET", "k6")
        w("FLUSHALL")
        ok(None in invalidated(a), "FLUSHALL")
        # Another client hears of it, on whichever thread it is; then it goes.
        r2 = node.client()
        r2("SUBSCRIBE", "__redis__:invalidate")
        other = node.client(proto=3)
        number = [int(dict(f.split(b"=", 1) for f in line.split())[b"id"]) for line in w("CLIENT", "LIST").splitlines() if b" sub=1 " in line][0]
        eq(other("CLIENT", "TRACKING", "ON", "REDIRECT", number), "OK")
        w("SET", "k", "1"), other("GET", "k"), w("SET", "k", "2")
        eq(r2.read(), [b"message", b"__redis__:invalidate", [b"k"]])
        eq(other("CLIENT", "GETREDIR"), number)
        raises = [str(x) for x in (failure(other, "CLIENT", "TRACKING", "ON", "REDIRECT", "99999999"), failure(other, "CLIENT", "TRACKING", "ON", "BCAST"))]
        ok("does not exist" in raises[0] and "BCAST" in raises[1], raises)
        other("GET", "k")
        r2.close()
        wait_until("it is gone", lambda: w("CLIENT", "LIST", "ID", number) == b"", 5)
        w("SET", "k", "3")
        end = time.monotonic() + 5
        while time.monotonic() < end and not any(p[0] == b"tracking-redir-broken" for p in pushes_of(other)):
            time.sleep(0.01)
        ok(b"broken_redirect" in as_map(other("CLIENT", "TRACKINGINFO"))["flags"], "told that it goes nowhere")
        info = w("INFO", "everything").decode()
        ok("tracking_clients:4" in info and "tracking_total_prefixes:1" in info, info)
        for x in (a, b, quiet, other):
            x.close()
        wait_until("nobody tracks", lambda: "tracking_clients:0" in w("INFO", "clients").decode(), 5)


def failure(client, *args):
    try:
        return "answered: %r" % (client(*args),)
    except ReplyError as e:
        return e


@test(quick=True)
def tracking_one_thread():
    tracking_on(1)


@test(quick=True)
def tracking_two_threads():
    tracking_on(2)


@test(quick=True)
def tracking_bound_over_threads():
    """tracking-table-max-keys is the node's: one thread may use all of it, and beyond it exactly what is too much is told."""
    with Cluster(1, options={"threads": 2, "tracking-table-max-keys": 10}) as c:
        w, a = c[0].client(), c[0].client(proto=3)
        eq(a("CLIENT", "TRACKING", "ON"), "OK")
        for i in range(10):
            a("GET", "{one}%d" % i)
        time.sleep(0.1)
        eq(keys_so_far(a), [])
        w("CONFIG", "SET", "tracking-table-max-keys", 1000)
        for i in range(250):
            a("GET", "any%d" % i)
        eq(keys_so_far(a), [])
        w("CONFIG", "SET", "tracking-table-max-keys", 1)
        got = []
        wait_until("what is too much is told", lambda: got.extend(keys_so_far(a)) or len(got) >= 259, 5)
        time.sleep(0.1)
        eq(len(got + keys_so_far(a)), 259)


def caches_stay_true(nodes, options, seconds=3, kill=None):
    """Readers with caches of their own while others write, through any node (but the one that is killed in the middle):
    at rest every cache is what the store has."""
    names = [b"c%d" % i for i in range(50)]
    with Cluster(nodes, options=options) as c:
        ask = [n for i, n in enumerate(c) if i != kill]
        ask[0].call("MSET", *[x for n in names for x in (n, "0")])
        stop, caches, errors = time.monotonic() + seconds, [], []

        def apply(client, cache):
            for p in client.pushes:
                if p[1] is None:
                    cache.clear()
                for k in p[1] or ():
                    cache.pop(k, None)
            client.pushes.clear()

        def reader(number):
            try:
                rng, cache = random.Random(number), {}
                r = ask[number % len(ask)].client(proto=3)
                if nodes > 1:
                    r("GYRE", "CONSISTENCY", "READ", "quorum", "WRITE", "quorum")
                r("CLIENT", "TRACKING", "ON")
                while time.monotonic() < stop:
                    k = rng.choice(names)
                    if k not in cache:
                        try:
                            fresh = r("GET", k) if rng.random() < 0.7 else r("MGET", k, rng.choice(names))[0]
                        except ReplyError:
                            fresh = None
                        # What was pushed before the reply is of older values.
                        apply(r, cache)
                        if fresh is not None:
                            cache[k] = fresh
                    else:
                        r("PING")
                        apply(r, cache)
                caches.append((r, cache))
            except Exception as e:
                errors.append(repr(e))

        def writer(number):
            try:
                rng = random.Random(100 + number)
                w = ask[number % len(ask)].client()
                while time.monotonic() < stop - 0.5:
                    try:
                        if rng.random() < 0.8:
                            w("INCR", rng.choice(names))
                        else:
                            w.pipeline([("MULTI",), ("INCR", rng.choice(names)), ("INCR", rng.choice(names)), ("EXEC",)])
                    except ReplyError as e:
                        ok(kill is not None, e)
            except Exception as e:
                errors.append(repr(e))

        threads = [threading.Thread(target=f, args=(i,)) for i in range(4) for f in (reader, writer)]
        [t.start() for t in threads]
        if kill is not None:
            time.sleep(seconds / 3)
            c[kill].kill()
        [t.join(seconds + 30) for t in threads]
        eq(errors, [])
        eq(len(caches), 4)
        time.sleep(0 if nodes == 1 else 1)     # what changed last is told when the replicas have it
        teller = ask[0].client()
        if nodes > 1:
            teller("GYRE", "CONSISTENCY", "READ", "quorum")
        truth = dict(zip(names, teller("MGET", *names)))
        kept = 0
        for r, cache in caches:
            r("PING")
            apply(r, cache)
            kept += len(cache)
            for k, v in cache.items():
                eq(v, truth[k], "the cache of %s" % k.decode())
        ok(kept > 0, "caches that hold nothing prove nothing")
        return "%d values in 4 caches, all as the store has them" % kept


@test(quick=True)
def tracking_caches_stay_true():
    return caches_stay_true(1, {"threads": 2})


@test(gyre=True)
def tracking_caches_stay_true_ring():
    return caches_stay_true(3, {"threads": 2})


@test(gyre=True)
def tracking_caches_stay_true_five():
    """Most keys have no replica where they are read."""
    return caches_stay_true(5, {"threads": 2})


@test(gyre=True)
def tracking_caches_stay_true_killed():
    return caches_stay_true(5, {"threads": 1}, seconds=6, kill=4)


def tracking_between(nodes):
    """A client hears of what others change through other nodes, wherever the key lives."""
    with Cluster(nodes, options={"threads": 2}) as ring:
        a, quiet = ring[0].client(proto=3), ring[0].client(proto=3)
        w = ring[1].client()
        eq((a("CLIENT", "TRACKING", "ON"), quiet("CLIENT", "TRACKING", "ON", "NOLOOP")), ("OK", "OK"))
        keys = [b"k%d" % i for i in range(40)]
        for n in range(2):
            for k in keys:
                w("SET", k, "%d" % n)
            time.sleep(0.3)
            pushes_of(a)
            eq(a("MGET", *keys), [b"%d" % n] * len(keys))
            for k in keys[:20]:
                eq(a("GET", k), b"%d" % n)
        for k in keys:
            w("INCR", k)
        got = []
        wait_until("all are told, once", lambda: got.extend(keys_so_far(a)) or len(got) >= len(keys), 5)
        time.sleep(0.2)
        eq(sorted(got + keys_so_far(a)), sorted(keys))
        # A transaction over many slots has read what it has read; so has a script.
        a("MULTI"), [a("GET", k) for k in keys[:5]]
        eq(a("EXEC"), [b"2"] * 5)
        eq(a("EVAL", "return redis.call('GET', KEYS[1])", "1", keys[5]), b"2")
        pushes_of(a)
        for k in keys[:6]:
            w("DEL", k)
        got = []
        wait_until("these are told", lambda: got.extend(keys_so_far(a)) or len(got) >= 6, 5)
        eq(sorted(got), sorted(keys[:6]))
        # Plain commands over several slots.
        w("SADD", "set1", "a"), w("SADD", "set2", "a", "b")
        time.sleep(0.3)
        pushes_of(a)
        eq(a("SINTER", "set1", "set2"), [b"a"])
        w("SADD", "set1", "b")
        eq(invalidated(a), [b"set1"])
        # What changes nothing leaves what was read as it is, with NOLOOP as well.
        eq(quiet("GET", keys[6]), b"2")
        eq(quiet("SETNX", keys[6], "own"), 0)
        pushes_of(quiet)
        w("SET", keys[6], "3")
        wait_until("it is told", lambda: keys[6] in keys_so_far(quiet), 5)
        # Nor is it told of what it changes itself, wherever that runs, where a replica here shows it.
        if nodes == 3:
            eq(quiet("MGET", *keys[8:20]), [b"2"] * 12)
            pushes_of(quiet)
            for k in keys[8:18]:
                eq(quiet("SET", k, "own"), "OK")
            w("SET", keys[18], "3"), w("SET", keys[19], "3")
            got = []
            wait_until("of others' it is", lambda: got.extend(keys_so_far(quiet)) or len(got) >= 2, 5)
            time.sleep(0.3)
            eq(sorted(got + keys_so_far(quiet)), sorted(keys[18:20]))
        # Expiry is told by whoever holds the key.
        w("SET", keys[20], "x", "PX", 200)
        time.sleep(0.05)
        pushes_of(a)
        eq(a("GET", keys[20]), b"x")
        wait_until("it expires", lambda: keys[20] in keys_so_far(a), 5)
        for k in keys[21:25]:
            a("GET", k)
        pushes_of(a)
        w("FLUSHALL")
        ok(None in invalidated(a), "FLUSHALL")
        b = ring[2].client(proto=3)
        eq(b("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "k1"), "OK")
        for k in keys:
            w("SET", k, "new")
        seen = []
        wait_until("the prefix is told", lambda: seen.extend(keys_so_far(b)) or len(seen) >= 11, 5)
        time.sleep(0.2)
        eq(sorted(seen + keys_so_far(b)), sorted(k for k in keys if k.startswith(b"k1")))
        # Whoever may have missed some is told of all; prefixes reach a node that was away.
        if nodes > 3:
            ring[1].kill()
            wait_until("it is noticed", lambda: None in keys_so_far(b), 10)
            ring[1].start()
            ring.wait_settled(60)
            pushes_of(b)
        w = ring[1].client()
        for k in keys:
            w("SET", k, "again")
        seen = []
        wait_until("they are told", lambda: seen.extend(keys_so_far(b)) or set(seen) >= {k for k in keys if k.startswith(b"k1")}, 5)
        ok(all(k is None or k.startswith(b"k1") for k in seen), seen)
        # Nobody is told any more when the last one has gone.
        b("CLIENT", "TRACKING", "OFF")
        b("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "k2")
        w("SET", "k1", "x"), w("SET", "k2", "x")
        wait_until("k2 is told", lambda: keys_so_far(b) == [b"k2"], 5)


@test(gyre=True, quick=True)
def tracking_ring():
    tracking_between(3)


@test(gyre=True)
def tracking_ring_five():
    tracking_between(5)
