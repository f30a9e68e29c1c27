"""Pub/sub, keyspace notifications and MONITOR: over threads, over a ring, under limits."""
import collections
import time

from suite import *  # noqa: F401,F403


def message(client):
    """The next push: in RESP2 an ordinary array, in RESP3 a push."""
    got = client._one()
    return [text(x) for x in got]


def clients_by_thread(node, n):
    """Connections are dealt out to the threads in turn, so one after the other lie on different ones."""
    return [node.client(proto=3 if i % 2 else 2) for i in range(n)]


@test(quick=True)
def pubsub_over_two_threads():
    """Publishers and subscribers on both threads: counts are exact, each publisher's messages come in order."""
    with Cluster(1, options={"threads": 2}) as c:
        node = c[0]
        subscribers = clients_by_thread(node, 4)
        for i, r in enumerate(subscribers):
            r.send("SUBSCRIBE", "news", "own%d" % i)
            eq([message(r), message(r)], [["subscribe", "news", 1], ["subscribe", "own%d" % i, 2]])
            r.send("PSUBSCRIBE", "ne*")
            eq(message(r), ["psubscribe", "ne*", 3])
        publishers = [node.client() for _ in range(3)]
        for i, p in enumerate(publishers):
            eq(p("PUBLISH", "news", "%d:0" % i), 8, "four channels and four patterns")
            eq(p("PUBLISH", "own1", "%d:x" % i), 1)
            eq(p("PUBLISH", "nobody", "m"), 0)
            eq(p("PUBSUB", "NUMSUB", "news", "own2", "nobody"), [b"news", 4, b"own2", 1, b"nobody", 0])
            eq(p("PUBSUB", "NUMPAT"), 1)
            eq(sorted(p("PUBSUB", "CHANNELS")), sorted([b"news"] + [b"own%d" % k for k in range(4)]))
        many = 2000
        for p_at, p in enumerate(publishers):
            p.send_raw(b"".join(encode(("PUBLISH", "news", "%d:%d" % (p_at, i))) for i in range(1, many)))
        for p in publishers:
            eq([p.read() for _ in range(1, many)], [8] * (many - 1), "counts")
        for i, r in enumerate(subscribers):
            by = collections.defaultdict(list)
            extra = 0
            while sum(map(len, by.values())) < 2 * 3 * many or extra < (3 if i == 1 else 0):
                m = message(r)
                if m[1] == "own1":
                    extra += 1
                    continue
                eq(m[:-1], ["message", "news"] if len(m) == 3 else ["pmessage", "ne*", "news"])
                who, number = m[-1].split(":")
                by[len(m), who].append(int(number))
            for seen in by.values():
                eq(seen, list(range(many)), "in order, nothing twice, nothing lost")
        subscribers[0].send("UNSUBSCRIBE", "news")
        eq(message(subscribers[0]), ["unsubscribe", "news", 2])
        eq(publishers[0]("PUBLISH", "news", "m"), 7)
        subscribers[2].close()
        wait_until("it is gone", lambda: publishers[0]("PUBSUB", "NUMSUB", "news")[1] == 2, 10)
        eq(publishers[1]("PUBLISH", "news", "m"), 5)
        publishers[2]("MULTI")
        publishers[2]("SET", "k", "v")
        publishers[2]("PUBLISH", "own3", "in a transaction")
        eq(publishers[2]("EXEC"), ["OK", 1])
        info = text(publishers[0]("INFO", "stats"))
        ok("pubsub_channels:4\r" in info and "pubsub_patterns:1\r" in info, info)


@test(quick=True)
def pubsub_subscribed_mode():
    """What a RESP2 connection may send while it listens, RESP3 and its own messages, RESET, CLIENT LIST, shard channels."""
    with Cluster(1, options={"threads": 2}) as c:
        node = c[0]
        r = node.client()
        r.send("SUBSCRIBE", "a")
        eq(message(r), ["subscribe", "a", 1])
        eq(str(error_of(r, "GET", "k")), "ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
                                         "RESET are allowed in this context")
        ok("Can't execute 'client|id'" in str(error_of(r, "CLIENT", "ID")), "a subcommand's name")
        eq(r("PING"), [b"pong", b""])
        eq(r("PING", "x"), [b"pong", b"x"])
        with node.client() as other:
            lines = text(other("CLIENT", "LIST", "TYPE", "pubsub")).splitlines()
            eq(len(lines), 1)
            ok(" flags=P " in lines[0] and " sub=1 psub=0 ssub=0 " in lines[0], lines[0])
            eq(len(text(other("CLIENT", "LIST", "TYPE", "normal")).splitlines()), 1)
            eq(other("PUBLISH", "a", "m"), 1)
        eq(message(r), ["message", "a", "m"])
        eq(r("RESET"), "RESET")
        eq(r("PING"), "PONG")
        eq(r("PUBLISH", "a", "m"), 0)
        r.send("UNSUBSCRIBE")
        eq(message(r), ["unsubscribe", None, 0])
        r.send("SSUBSCRIBE", "s", "t")
        eq([message(r), message(r)], [["ssubscribe", "s", 1], ["ssubscribe", "t", 2]])
        with node.client() as other:
            eq(other("SPUBLISH", "s", "m"), 1)
            eq(other("PUBLISH", "s", "m"), 0)
            eq(other("PUBSUB", "SHARDNUMSUB", "s"), [b"s", 1])
            eq(sorted(other("PUBSUB", "SHARDCHANNELS")), [b"s", b"t"])
        eq(message(r), ["smessage", "s", "m"])
        with node.client(proto=3) as own:
            own.send("SUBSCRIBE", "mine")
            eq(message(own), ["subscribe", "mine", 1])
            eq(own("SET", "k", "v"), "OK", "RESP3 may send anything")
            eq(own("PUBLISH", "mine", "to myself"), 1)
            eq(own.pushes, [[b"message", b"mine", b"to myself"]])
            own.send("CLIENT", "REPLY", "OFF")
            own.send("SUBSCRIBE", "quiet")
            eq(message(own), ["subscribe", "quiet", 2], "confirmations are not silenced")
        with node.client() as killer:
            ok(killer("CLIENT", "KILL", "TYPE", "pubsub") >= 1, "r at least; the other may be gone already")
            eq(killer("SPUBLISH", "s", "m"), 0)


@test(quick=True, gyre=True)
def pubsub_limits():
    """A subscriber that does not read is closed at its limit; one that may listen to so much gets an error."""
    with Cluster(1, options={"threads": 2, "subscriptions-max": 3}) as c:
        node = c[0]
        with node.client() as p:
            p("CONFIG", "SET", "client-output-buffer-limit", "pubsub 4mb 0 0")
            lazy = node.client()
            lazy.send("SUBSCRIBE", "big")
            message(lazy)
            data, sent = "x" * 100_000, 0
            while p("PUBLISH", "big", data) == 1:
                sent += 1
                ok(sent < 2000, "it was never closed")
            note("closed after %.0f MB" % (sent / 10))
            ok("client_output_buffer_limit_disconnections:1" in text(p("INFO", "stats")), "counted")
            greedy = node.client()
            greedy.send("SUBSCRIBE", "a", "b", "c")
            for _ in range(3):
                message(greedy)
            ok("subscriptions-max" in str(error_of(greedy, "PSUBSCRIBE", "d*")), "the bound")


@test(quick=True, gyre=True)
def pubsub_over_a_ring():
    """A message reaches the subscribers of every node; a key's events are told once, by who acts for it."""
    with Cluster(3, options={"threads": 2, "notify-keyspace-events": "KEA"}) as ring:
        subscribers = [n.client() for n in ring]
        for r in subscribers:
            r.send("SUBSCRIBE", "news", "__keyevent@0__:set", "__keyevent@0__:expired")
            for _ in range(3):
                message(r)
            r.send("SSUBSCRIBE", "shard")
            message(r)
        publishers = [n.client() for n in ring]
        for i, p in enumerate(publishers):
            for k in range(50):
                eq(p("PUBLISH", "news", "%d:%d" % (i, k)), 3, "counts are the whole ring's")
        for r in subscribers:
            got = collections.defaultdict(list)
            for _ in range(150):
                who, number = message(r)[2].split(":")
                got[who].append(int(number))
            eq(dict(got), {str(i): list(range(50)) for i in range(3)})
        publishers[0]("SPUBLISH", "shard", "m")
        for r in subscribers:
            eq(message(r), ["smessage", "shard", "m"])
        for i, p in enumerate(publishers):
            eq(p("SET", "key%d" % i, "v", "PX", 300), "OK")
        for r in subscribers:
            got = sorted(message(r)[1:] for _ in range(6))
            eq(got, sorted([["__keyevent@0__:%s" % e, "key%d" % i] for e in ("set", "expired") for i in range(3)]))
        time.sleep(0.5)
        for r in subscribers:
            r.send("PING")
            eq(message(r), ["pong", ""], "nothing twice")


@test(quick=True)
def monitor_over_two_threads():
    with Cluster(1, options={"threads": 2}) as c:
        node = c[0]
        watchers = [node.client(), node.client()]
        for w in watchers:
            eq(w("MONITOR"), "OK")
        clients = [node.client(), node.client()]
        for r in clients:
            r("SET", "k\n\x01\"", "v")
            error_of(r, "AUTH", "somebody", "secret")
            r("SELECT", 3)
            r("CONFIG", "GET", "port")   # of administrators: not shown
            r("MULTI")
            r("GET", "k")
            r("EXEC")
        for w in watchers:
            seen = collections.defaultdict(list)
            for _ in range(12):
                line = w.read()
                _, db, rest = line.split(" ", 2)
                who, words = rest.split("] ", 1)
                seen[who].append((db, words))
            eq(len(seen), 2)
            for lines in seen.values():
                eq(lines, [("[0", '"SET" "k\\n\\x01\\"" "v"'), ("[0", '"AUTH" "(redacted)" "(redacted)"'), ("[3", '"SELECT" "3"'),
                           ("[3", '"MULTI"'), ("[3", '"GET" "k"'), ("[3", '"EXEC"')])
        with node.client() as r:
            eq(text(r("CLIENT", "LIST")).count(" flags=O "), 2)


@test(quick=True, gyre=True)
def pubsub_tells_of_the_ring():
    """PUBSUB through any node tells of clients of all; one that is down is left out, one that stands still after a second."""
    with Cluster(3, options={"threads": 2}) as ring:
        listeners = [n.client() for n in ring for _ in range(3)]
        for i, c in enumerate(listeners):
            c("SUBSCRIBE", "all")
            c("SUBSCRIBE", "of%d" % (i // 3))
            c("PSUBSCRIBE", "p%d*" % (i % 2))
            c("SSUBSCRIBE", "shard%d" % (i // 6))
        for n in ring:
            with n.client() as c:
                eq(c("PUBSUB", "NUMSUB", "all", "of0", "of1", "none"), [b"all", 9, b"of0", 3, b"of1", 3, b"none", 0])
                eq(sorted(c("PUBSUB", "CHANNELS")), [b"all", b"of0", b"of1", b"of2"])
                eq(sorted(c("PUBSUB", "CHANNELS", "of*")), [b"of0", b"of1", b"of2"])
                eq(c("PUBSUB", "NUMPAT"), 2)
                eq(sorted(c("PUBSUB", "SHARDCHANNELS")), [b"shard0", b"shard1"])
                eq(c("PUBSUB", "SHARDNUMSUB", "shard0", "shard1"), [b"shard0", 6, b"shard1", 3])
                eq(c.pipeline([("MULTI",), ("PUBSUB", "NUMSUB", "all"), ("SET", "k", 1), ("EXEC",)])[-1], [[b"all", 9], "OK"])
                eq(c.pipeline([("PUBSUB", "NUMSUB", "all"), ("GET", "k"), ("PUBSUB", "NUMPAT")]), [[b"all", 9], b"1", 2])
                eq(c.pipeline([("PUBLISH", "all", 1), ("GET", "k"), ("PUBLISH", "of1", 2), ("PUBLISH", "p1", 3), ("PUBLISH", "none", 4)]),
                   [9, b"1", 3, 4, 0])
        with ring[0].client(timeout=10) as c:
            ring[2].stop()
            try:
                eq(c("PUBSUB", "NUMSUB", "all", "of2"), [b"all", 6, b"of2", 0])
                eq(c("PUBLISH", "all", 5), 6)
            finally:
                ring[2].cont()
            ring.wait_settled()
            ring[1].kill()
            wait_until("the dead one's are gone", lambda: c("PUBSUB", "NUMSUB", "all") == [b"all", 6], 10)
