"""Commands, transactions and scripts over several slots of a ring, through any node, while nodes die."""
import random
import threading
import time

from suite import *  # noqa: F401,F403

ACCOUNTS = ["account:%d" % i for i in range(12)]


def all_types(r, tag):
    """Every kind of command whose keys lie apart; what Redis would answer. `tag` keeps runs apart."""
    k = lambda name: "%s:%s" % (tag, name)  # noqa: E731
    eq(r("MSETNX", k("a"), 1, k("b"), 2, k("c"), 3), 1, "MSETNX of new keys")
    eq(r("MSETNX", k("c"), 4, k("d"), 5), 0, "MSETNX, one of them there")
    eq(r("EXISTS", k("d")), 0, "all or nothing")
    eq(r("RENAME", k("a"), k("a2")), "OK")
    eq(r("MGET", k("a"), k("a2")), [None, b"1"])
    eq(r("RENAMENX", k("a2"), k("b")), 0)
    eq(r("COPY", k("b"), k("b2")), 1)
    eq(r("GET", k("b2")), b"2")
    r("SADD", k("s1"), "x", "y", "z"), r("SADD", k("s2"), "y", "z", "w")
    eq(sorted(r("SUNION", k("s1"), k("s2"))), [b"w", b"x", b"y", b"z"])
    eq(r("SINTERSTORE", k("s3"), k("s1"), k("s2")), 2)
    eq(sorted(r("SMEMBERS", k("s3"))), [b"y", b"z"])
    eq(r("SMOVE", k("s1"), k("s2"), "x"), 1)
    eq([r("SISMEMBER", k("s1"), "x"), r("SISMEMBER", k("s2"), "x")], [0, 1])
    eq(r("SINTERCARD", 2, k("s1"), k("s2")), 2)
    r("RPUSH", k("l1"), "1", "2", "3")
    eq(r("LMOVE", k("l1"), k("l2"), "LEFT", "RIGHT"), b"1")
    eq(r("RPOPLPUSH", k("l1"), k("l2")), b"3")
    eq(r("LRANGE", k("l2"), 0, -1), [b"3", b"1"])
    eq(r("LMPOP", 2, k("none"), k("l1"), "LEFT"), [k("l1").encode(), [b"2"]])
    r("ZADD", k("z1"), 1, "m", 2, "n"), r("ZADD", k("z2"), 10, "n")
    eq(r("ZUNIONSTORE", k("z3"), 2, k("z1"), k("z2")), 2)
    eq(r("ZRANGE", k("z3"), 0, -1, "WITHSCORES"), [b"m", b"1", b"n", b"12"])
    eq(r("ZRANGESTORE", k("z4"), k("z3"), 0, 0), 1)
    eq(r("ZDIFF", 2, k("z1"), k("z2")), [b"m"])
    r("SETBIT", k("bit1"), 1, 1), r("SETBIT", k("bit2"), 3, 1)
    eq(r("BITOP", "OR", k("bit3"), k("bit1"), k("bit2")), 1)
    eq(r("BITCOUNT", k("bit3")), 2)
    r("PFADD", k("p1"), "a", "b"), r("PFADD", k("p2"), "b", "c")
    eq(r("PFCOUNT", k("p1"), k("p2")), 3)
    eq(r("PFMERGE", k("p3"), k("p1"), k("p2")), "OK")
    eq(r("PFCOUNT", k("p3")), 3)
    r("RPUSH", k("sort"), 3, 1, 2)
    eq(r("SORT", k("sort"), "STORE", k("sorted")), 3)
    eq(r("LRANGE", k("sorted"), 0, -1), [b"1", b"2", b"3"])
    r("GEOADD", k("g1"), 13.361389, 38.115556, "Palermo")
    eq(r("GEOSEARCHSTORE", k("g2"), k("g1"), "FROMMEMBER", "Palermo", "BYRADIUS", 1, "km"), 1)
    eq(r("LCS", k("b"), k("b2")), b"2")
    eq(error_of(r, "SINTERSTORE", k("e"), k("l2"), k("s1")).code, "WRONGTYPE")
    # Transactions.
    eq(r.pipeline([("MULTI",), ("SET", k("t1"), 1), ("INCR", k("t2")), ("LPUSH", k("l2"), "x"), ("GET", k("t1")), ("PING",), ("EXEC",)])[-1],
       ["OK", 1, 3, b"1", "PONG"], "EXEC over four slots")
    eq(r.pipeline([("MULTI",), ("INCR", k("l2")), ("SET", k("t3"), 1), ("EXEC",)])[-1][1], "OK", "an error undoes nothing")
    r("WATCH", k("w1"), k("w2"))
    r("SET", k("w2"), "changed")
    eq(r.pipeline([("MULTI",), ("SET", k("w3"), 1), ("INCR", k("w1")), ("EXEC",)])[-1], None, "a watched key has changed")
    r("WATCH", k("w1"), k("w2"))
    eq(r.pipeline([("MULTI",), ("SET", k("w3"), 1), ("INCR", k("w1")), ("EXEC",)])[-1], ["OK", 1])
    # Scripts: declared keys, others, none; and what one wrote before it came to them.
    eq(r("EVAL", "return {redis.call('GET', KEYS[1]), redis.call('INCR', KEYS[2])}", 2, k("w3"), k("w1")), [b"1", 2])
    script = "local id = redis.call('INCR', KEYS[1]); redis.call('HSET', KEYS[1] .. ':' .. id, 'data', ARGV[1]); return id"
    for i in range(1, 4):
        eq(r("EVAL", script, 1, k("jobs"), "d%d" % i), i, "a script that computes its keys")
        eq(r("HGET", k("jobs:%d" % i), "data"), b"d%d" % i)
    eq(r("EVAL", "redis.call('SET', ARGV[1], 'v'); return redis.call('GET', ARGV[1])", 0, k("free")), b"v", "keys in arguments only")
    eq(error_of(r, "EVAL", "redis.call('SET', KEYS[1], 1); redis.call('INCR', KEYS[2])", 2, k("kept"), k("l2")).code, "WRONGTYPE")
    eq(r("GET", k("kept")), b"1", "what a script did before its error stays")
    # What goes over all slots runs between what stands before it and behind it.
    many = [("MULTI",), ("SET", k("f1"), 1), ("DBSIZE",), ("FLUSHALL",), ("DBSIZE",), ("SET", k("f2"), 2), ("INCR", k("f3")), ("KEYS", "*"), ("EXEC",)]
    got = r.pipeline(many)[-1]
    ok(got[0] == "OK" and got[1] > 10 and got[2:6] == ["OK", 0, "OK", 1] and sorted(got[6]) == sorted([k("f2").encode(), k("f3").encode()]), got)
    r("WATCH", k("f2"))
    r("SET", k("f2"), "changed")
    eq(r.pipeline([("MULTI",), ("FLUSHALL",), ("SET", k("f3"), 1), ("EXEC",)])[-1], None, "a watched key has changed")
    eq(r("GET", k("f2")), b"changed")
    eq(r.pipeline([("MULTI",), ("CLIENT", "LIST"), ("INCR", k("f3")), ("EXEC",)])[-1][1], 2, "an answer of several threads")


@test(gyre=True, quick=True, limit=120)
def spanning_any_node():
    """Multi-key commands, transactions and scripts over keys of many slots, through each node of a ring."""
    with Cluster(3) as ring:
        for i, node in enumerate(ring):
            with node.client() as r:
                all_types(r, "n%d" % i)
        with ring[0].client() as r:
            stats = text(r("INFO", "stats"))
            ok("spanning_transactions:0" not in stats, "they are counted")


@test(quick=True, gyre=True)
def spanning_pipelines_in_order():
    """What goes over all slots sees what the same client sent before it, also where that waits for a hold."""
    with Cluster(3) as ring:
        for node in ring:
            with node.client() as r:
                for i in range(40):
                    got = r.pipeline([("COPY", "a", "c", "DB", 1), ("SADD", "a", i), ("KEYS", "*"), ("MSET", "b", 1, "d", 2), ("SET", "d", 3), ("DBSIZE",),
                                      ("MSET", "b", 1, "d", 2), ("SET", "d", 3), ("FLUSHALL",), ("DBSIZE",), ("GET", "d")])
                    eq(got, [0, 1, [b"a"], "OK", "OK", 3, "OK", "OK", "OK", 0, None])


@test(quick=True, gyre=True, limit=120)
def spanning_four_threads():
    """The same where each node has four threads, and a single replica of each slot."""
    with Cluster(3, options={"threads": 4, "replication-factor": 1}) as ring:
        for i, node in enumerate(ring):
            with node.client() as r:
                all_types(r, "n%d" % i)


def transfers(nodes, seconds, seed, stop, told):
    """Moves amounts between accounts by EXEC or a script; counts outcomes in `told`."""
    rnd = random.Random(seed)
    script = "redis.call('DECRBY', KEYS[1], ARGV[1]); redis.call('INCRBY', KEYS[2], ARGV[1]); return 1"
    node = nodes[seed % len(nodes)]
    r = None
    while not stop.is_set():
        try:
            r = r or node.client(timeout=10)
            a, b = rnd.sample(ACCOUNTS, 2)
            if rnd.random() < 0.5:
                got = r.pipeline([("MULTI",), ("DECRBY", a, 1), ("INCRBY", b, 1), ("EXEC",)])[-1]
                if isinstance(got, Exception):
                    raise got
            else:
                r("EVAL", script, 2, a, b, 1)
            told["done"] += 1
        except ReplyError as e:
            told["errors"] += 1
            told.setdefault("seen", set()).add(str(e)[:60])
        except OSError:
            told["lost"] += 1
            r = None
            node = rnd.choice(nodes)
            time.sleep(0.05)


@test(gyre=True, limit=180)
def spanning_transfers_kill():
    """Transfers between accounts in many slots while each node in turn is killed: no money is made or lost,
    and who looks at all accounts in a healthy ring sees none half way."""
    with Cluster(3) as ring:
        stop, told = threading.Event(), {"done": 0, "errors": 0, "lost": 0}
        threads = [threading.Thread(target=transfers, args=(list(ring), 0, i, stop, told)) for i in range(6)]
        for t in threads:
            t.start()
        with ring[0].client() as r:
            for _ in range(100):
                got = r.pipeline([("MULTI",), ("MGET",) + tuple(ACCOUNTS), ("EXEC",)])[-1]
                eq(sum(int(x or 0) for x in got[0]), 0, "a transaction sees all or nothing of another")
        for victim in ring:
            victim.kill()
            time.sleep(2)
            victim.start()
            ring.wait_ready()
            time.sleep(1)
        stop.set()
        for t in threads:
            t.join(30)
        ok(told["done"] > 500, "transfers were done: %r" % told)

        def look():
            with ring[0].client() as r:
                got = r.pipeline([("MULTI",), ("MGET",) + tuple(ACCOUNTS), ("EXEC",)])[-1]
                return got if isinstance(got, Exception) else sum(int(x or 0) for x in got[0])
        try:
            wait_until("what was begun is settled, and the sum is zero", lambda: look() == 0, 15)
        except TimeoutError:
            raise AssertionError("the sum is %r; %r" % (look(), told))
        for node in ring:
            with node.client() as r:
                eq(sum(int(x or 0) for x in r("MGET", *ACCOUNTS)), 0, "through every node")
        note("%(done)d transfers, %(errors)d errors, %(lost)d connections lost" % told)


def pay(node, who, stop, told, wrong):
    """Transfers by one client, each counted in an account of its own; what it knows to be done. It ends with its connection."""
    rnd = random.Random(who)
    script = "redis.call('DECRBY', KEYS[1], 1); redis.call('INCRBY', KEYS[2], 1); return redis.call('INCR', KEYS[3])"
    own = "paid:%d" % who
    try:
        with node.client(timeout=10) as r:
            while not stop.is_set():
                a, b = rnd.sample(ACCOUNTS, 2)
                if rnd.random() < 0.3:
                    told[who] = r("EVAL", script, 3, a, b, own)
                    continue
                batch = [("MULTI",), ("DECRBY", a, 1), ("INCRBY", b, 1), ("INCR", own), ("EXEC",)] * rnd.choice((1, 1, 5))
                for got in r.pipeline(batch)[4::5]:
                    told[who] = got[2]
    except OSError:
        pass
    except Exception as e:
        wrong.append(repr(e))


@test(gyre=True, quick=True, limit=120)
def spanning_threads_killed():
    """Transfers over the threads of a node that is alone: seen whole or not at all, by others and after kill -9;
    none that was acknowledged is lost, and none of a client is done twice."""
    kills = transfers_done = 0
    for fsync in ("everysec", "always"):
        with Cluster(1, options={"threads": 4, "appendfsync": fsync}) as c:
            node = c[0]
            for _ in range(4):
                stop, told, wrong = threading.Event(), {}, []
                with node.client() as r:
                    before = [int(x or 0) for x in r("MGET", *["paid:%d" % i for i in range(6)])]
                threads = [threading.Thread(target=pay, args=(node, i, stop, told, wrong)) for i in range(6)]
                for t in threads:
                    t.start()
                with node.client() as r:
                    for _ in range(50):
                        got = r.pipeline([("MULTI",), ("MGET",) + tuple(ACCOUNTS), ("EXEC",)])[-1]
                        eq(sum(int(x or 0) for x in got[0]), 0, "a transaction sees all or nothing of another")
                node.kill()
                stop.set()
                for t in threads:
                    t.join(30)
                node.start().wait_ready()
                none(wrong, "answers to transfers")
                kills += 1
                with node.client() as r:
                    eq(sum(int(x or 0) for x in r("MGET", *ACCOUNTS)), 0, "all or nothing over kill -9, appendfsync " + fsync)
                    for i in range(6):
                        paid, known = int(r("GET", "paid:%d" % i) or 0), told.get(i, before[i])
                        ok(known <= paid <= known + 5, "client %d was told of %d, %d are there" % (i, known, paid))
                        transfers_done += paid - before[i]
    ok(transfers_done > 100, transfers_done)
    note("%d transfers, %d times killed" % (transfers_done, kills))
