"""Blocking commands: order of service, time-outs, who goes away; over threads, over a ring, while its nodes die."""
import select
import threading
import time

from suite import *  # noqa: F401,F403


def blocked(nodes):
    """Clients that wait, on these nodes together."""
    total = 0
    for n in nodes:
        for line in text(n.call("INFO", "clients")).splitlines():
            if line.startswith("blocked_clients:"):
                total += int(line.split(":")[1])
    return total


def wait_blocked(nodes, n):
    wait_until("%d clients wait" % n, lambda: blocked(nodes) == n, 10)


class Waiting:
    """Clients that wait, one after the other, so that their order is known."""
    def __init__(self, nodes):
        self.nodes = list(nodes)
        self.n = blocked(self.nodes)

    def begin(self, client, *command):
        client.send(*command)
        self.n += 1
        wait_blocked(self.nodes, self.n)
        return client

    def ended(self, n=1):
        self.n -= n


def hears_nothing(client, seconds=0.15):
    client.sock.settimeout(seconds)
    try:
        got = client.read()
    except TimeoutError:
        return
    finally:
        client.sock.settimeout(10)
    raise AssertionError("answered %.200r, nothing was expected" % (got,))


def one_node(threads):
    return Cluster(1, options={} if is_standin() else {"threads": threads})


def serves_in_order(nodes, key):
    """Three clients of these nodes; three values of one push go to them in the order in which they came."""
    w = Waiting(nodes)
    with nodes[0].client() as r:
        clients = [w.begin(nodes[i % len(nodes)].client(), "BLPOP", key, 0) for i in range(3)]
        eq(r("RPUSH", key, "a", "b", "c"), 3, "the push counts all")
        eq([c.read() for c in clients], [[key.encode(), x] for x in (b"a", b"b", b"c")], "first come, first served")
        eq(r("EXISTS", key), 0)
        # One value wakes one client, the one that has waited longest.
        w.ended(3)
        first, second = [w.begin(c, "BRPOP", key, 0) for c in (clients[1], clients[0])]
        r("RPUSH", key, "x")
        eq(first.read(), [key.encode(), b"x"])
        hears_nothing(second)
        r("RPUSH", key, "y")
        eq(second.read(), [key.encode(), b"y"])
        for c in clients:
            c.close()


@test(quick=True)
def blocking_one_node():
    """Each command waits and is served, with one thread and with four."""
    for threads in (1, 4):
        with one_node(threads) as c:
            node = c[0]
            serves_in_order([node], "list")
            w = Waiting(c)
            r, a = node.client(), node.client()
            got = r.pipeline([("BLPOP", "none", 0.05), ("NOSUCH", "x"), ("MULTI",), ("UNWATCH",), ("EXEC",)])
            eq((got[0], got[1].code, *got[2:]), (None, "ERR", "OK", "QUEUED", ["OK"]), "what comes behind waits, known or not")

            def served(command, makes, want):
                w.begin(a, *command)
                for words in makes:
                    r(*words)
                eq(a.read(), want, command)
                w.ended()

            served(("BLPOP", "l", 0), [("LPUSH", "l", "v")], [b"l", b"v"])
            served(("BRPOP", "no", "l", 5), [("LPUSH", "l", "v", "w")], [b"l", b"v"])
            eq(r("LRANGE", "l", 0, -1), [b"w"])
            r("DEL", "l")
            served(("BLMPOP", 0, 2, "no", "l", "RIGHT", "COUNT", 2), [("RPUSH", "l", 1, 2, 3)], [b"l", [b"3", b"2"]])
            r("DEL", "l")
            served(("BLMOVE", "l", "to", "LEFT", "RIGHT", 0), [("RPUSH", "l", "v")], b"v")
            served(("BRPOPLPUSH", "l", "to", 0), [("RPUSH", "l", "w")], b"w")
            eq(r("LRANGE", "to", 0, -1), [b"w", b"v"])
            served(("BZPOPMIN", "z", 0), [("ZADD", "z", 2, "b", 1, "a")], [b"z", b"a", b"1"])
            r("DEL", "z")
            served(("BZPOPMAX", "no", "z", 0), [("ZADD", "z", 2, "b", 1, "a")], [b"z", b"b", b"2"])
            r("DEL", "z")
            served(("BZMPOP", 0, 1, "z", "MIN"), [("ZADD", "z", 1.5, "a")], [b"z", [[b"a", b"1.5"]]])
            r("XADD", "s", "1-1", "f", "old")
            served(("XREAD", "BLOCK", 0, "STREAMS", "s", "$"), [("XADD", "s", "2-1", "f", "v")],
                   [[b"s", [[b"2-1", [b"f", b"v"]]]]])
            r("XGROUP", "CREATE", "s", "g", "$")
            served(("XREADGROUP", "GROUP", "g", "me", "BLOCK", 0, "STREAMS", "s", ">"), [("XADD", "s", "3-1", "f", "v")],
                   [[b"s", [[b"3-1", [b"f", b"v"]]]]])
            # What makes a list without a push.
            r("RPUSH", "other", "v")
            payload = r("DUMP", "other")
            served(("BLPOP", "l", 0), [("RENAME", "other", "l")], [b"l", b"v"])
            r("RPUSH", "other", "v")
            served(("BLPOP", "l", 0), [("COPY", "other", "l")], [b"l", b"v"])
            served(("BLPOP", "l", 0), [("SORT", "other", "ALPHA", "STORE", "l")], [b"l", b"v"])
            served(("BLPOP", "l", 0), [("LMOVE", "other", "l", "LEFT", "LEFT")], [b"l", b"v"])
            served(("BLPOP", "l", 0), [("RESTORE", "l", 0, payload)], [b"l", b"v"])
            # A transaction is one command: what is there at its end, keys in the order in which they were given.
            served(("BLPOP", "{t}l", "{t}m", 0), [("MULTI",), ("RPUSH", "{t}m", 1), ("RPUSH", "{t}l", 2), ("DEL", "{t}m"),
                                                  ("RPUSH", "{t}m", 3), ("EXEC",)],
                   [b"{t}l", b"2"] if not is_standin() else [b"{t}m", b"3"])
            # Values that went again, and other types, wake nobody.
            w.begin(a, "BLPOP", "l", 0)
            for words in (("MULTI",), ("RPUSH", "l", 1), ("DEL", "l"), ("EXEC",), ("SET", "l", "x"), ("DEL", "l"),
                          ("ZADD", "l", 1, "m"), ("DEL", "l")):
                r(*words)
            hears_nothing(a)
            r("RPUSH", "l", 2)
            eq(a.read(), [b"l", b"2"])
            w.ended()
            # A destination of another type: an error, and the value stays.
            r("SET", "str", "x")
            w.begin(a, "BLMOVE", "l", "str", "LEFT", "LEFT", 0)
            r("RPUSH", "l", "kept")
            eq(a.read().code, "WRONGTYPE")
            eq(r("LRANGE", "l", 0, -1), [b"kept"])
            w.ended()
            r("DEL", "l")
            # One client's move is the next one's value.
            b, d = node.client(), node.client()
            w.begin(a, "BLMOVE", "one", "two", "LEFT", "LEFT", 0)
            w.begin(b, "BLMOVE", "two", "three", "LEFT", "LEFT", 0)
            w.begin(d, "BLPOP", "three", 0)
            r("RPUSH", "one", "v")
            eq([a.read(), b.read(), d.read()], [b"v", b"v", [b"three", b"v"]])
            w.ended(3)
            eq(r("EXISTS", "one", "two", "three"), 0)
            eq(blocked(c), 0)


@test(quick=True)
def blocking_streams():
    """Readers hear of what they cannot wait for any more; all readers of a stream are woken, each entry goes to one of a group."""
    for threads in (1, 4):
        with one_node(threads) as c:
            node = c[0]
            r = node.client()
            w = Waiting(c)
            group = ("XREADGROUP", "GROUP", "g", "me", "BLOCK", 0, "STREAMS", "s", ">")
            a = node.client()
            for makes, want in ((("DEL", "s"), "UNBLOCKED the stream key no longer exists"),
                                (("SET", "s", "x"), "UNBLOCKED the stream key no longer exists"),
                                (("FLUSHALL",), "UNBLOCKED the stream key no longer exists"),
                                (("PEXPIRE", "s", 50), "UNBLOCKED the stream key no longer exists"),
                                (("XGROUP", "DESTROY", "s", "g"),
                                 "NOGROUP the consumer group this client was blocked on no longer exists")):
                r("DEL", "s")
                r("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
                w.begin(a, *group)
                r(*makes)
                eq(str(a.read()), want, makes)
                w.ended()
            r("DEL", "s")
            r("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
            readers = [w.begin(node.client(), "XREAD", "BLOCK", 0, "STREAMS", "s", "$") for _ in range(3)]
            members = [w.begin(node.client(), *group) for _ in range(3)]
            r("XADD", "s", "1-1", "f", 1)
            for x in readers + members[:1]:
                eq(x.read(), [[b"s", [[b"1-1", [b"f", b"1"]]]]])
            hears_nothing(members[1])
            r("XADD", "s", "2-1", "f", 2)
            eq(members[1].read()[0][1][0][0], b"2-1")
            r("XADD", "s", "3-1", "f", 3)
            eq(members[2].read()[0][1][0][0], b"3-1")
            eq(r("XPENDING", "s", "g")[0], 3)
            eq(blocked(c), 0)


@test(quick=True)
def blocking_ends():
    """Time-outs, CLIENT UNBLOCK, clients that go, later commands of the same client, MULTI, WAIT."""
    for threads in (1, 4):
        with one_node(threads) as c:
            node = c[0]
            r = node.client()
            w = Waiting(c)
            a = node.client()
            for command in (("BLPOP", "l", 0.2), ("BLMOVE", "l", "m", "LEFT", "LEFT", "0.2"), ("BZMPOP", ".2", 1, "z", "MIN"),
                            ("XREAD", "BLOCK", 200, "STREAMS", "s", "$"), ("BLPOP", "l", "m", "n", "o", 0.2)):
                begun = time.monotonic()
                eq(a(*command), None)
                took = time.monotonic() - begun
                ok(0.2 <= took < 2, "%s ended after %.3f s" % (command, took))
            # CLIENT UNBLOCK
            ident = a("CLIENT", "ID")
            eq(r("CLIENT", "UNBLOCK", ident), 0, "it does not wait")
            eq(r("CLIENT", "UNBLOCK", 123456789), 0)
            w.begin(a, "BLPOP", "l", "m", 0)
            ok(" flags=b " in [x for x in text(r("CLIENT", "LIST")).splitlines() if x.startswith("id=%d " % ident)][0], "flags=b")
            eq(r("CLIENT", "UNBLOCK", ident), 1)
            eq(a.read(), None)
            w.ended()
            w.begin(a, "XREAD", "BLOCK", 0, "STREAMS", "s", "$")
            eq(r("CLIENT", "UNBLOCK", ident, "ERROR"), 1)
            eq(str(a.read()), "UNBLOCKED client unblocked via CLIENT UNBLOCK")
            w.ended()
            # Who has gone is not served.
            gone, stays = node.client(), node.client()
            w.begin(gone, "BLPOP", "l", "m", 0)
            w.begin(stays, "BLPOP", "l", 0)
            gone.close()
            w.ended()
            wait_blocked(c, 1)
            r("RPUSH", "l", "v")
            eq(stays.read(), [b"l", b"v"])
            w.ended()
            r("RPUSH", "m", "v")
            eq(r("LLEN", "m"), 1)
            r("DEL", "m")
            # What was sent behind is answered behind.
            w.begin(a, "BLPOP", "l", 0)
            a.send("PING")
            a.send("RPUSH", "l", "own")
            a.send("BLPOP", "l", 0)
            hears_nothing(a)
            r("RPUSH", "l", "v")
            eq([a.read() for _ in range(4)], [[b"l", b"v"], "PONG", 1, [b"l", b"own"]])
            w.ended()
            # Behind a push, and before what comes next, whoever waited is served.
            w.begin(a, "BLPOP", "l", 0)
            got = r.pipeline([("RPUSH", "l", "v"), ("PING",)] + ([("LPOP", "l")] if threads == 1 else []))
            eq(got, [1, "PONG"] + ([None] if threads == 1 else []))
            eq(a.read(), [b"l", b"v"])
            w.ended()
            # Messages reach a client that waits.
            with node.client(proto=3) as own:
                own.send("SUBSCRIBE", "news")
                own._one()
                w.begin(own, "BLPOP", "l", 0)
                eq(r("PUBLISH", "news", "m"), 1)
                eq([text(x) for x in own._one()], ["message", "news", "m"])
                r("RPUSH", "l", "v")
                eq(own.read(), [b"l", b"v"])
                w.ended()
            for words in (("MULTI",), ("BLPOP", "l", 0), ("BLMOVE", "l", "m", "LEFT", "LEFT", 0), ("WAIT", 1, 0)):
                r(*words)
            eq(r("EXEC"), [None, None, 0])
            eq(r("WAIT", 0, 0), 0)
            begun = time.monotonic()
            eq(r("WAIT", 1, 200), 0)
            ok(0.2 <= time.monotonic() - begun < 2, "WAIT's time-out")
            if is_standin():
                continue
            eq(r("CONFIG", "SET", "timeout", 1), "OK")
            w.begin(a, "BLPOP", "l", 0)
            end = time.monotonic() + 3
            while time.monotonic() < end:
                r("PING")
                time.sleep(0.2)
            r("RPUSH", "l", "v")
            eq(a.read(), [b"l", b"v"], "`timeout` does not close who waits")


def exactly_once(nodes, keys, values, kill=None):
    """Producers and consumers through all nodes: every value is popped, none twice. Returns errors (allowed when a node dies)."""
    got, errors, lock = [], [], threading.Lock()
    done = threading.Event()

    def consume(i):
        c = nodes[i % len(nodes)].client(timeout=20)
        mine = keys[i % len(keys):] + keys[:i % len(keys)]
        while True:
            c.send("BLPOP" if i % 2 else "BRPOP", *mine, 0.3 if i % 3 else 0.05)
            answer = c.read()
            with lock:
                if isinstance(answer, list):
                    got.append(answer[1])
                elif answer is not None:
                    errors.append(str(answer))
            if answer is None and done.is_set():
                return c.close()

    consumers = [threading.Thread(target=consume, args=(i,)) for i in range(9)]
    for t in consumers:
        t.start()
    sent = []
    with nodes[0].client() as r:
        for i in range(values):
            if kill and i == values // 2:
                kill()
            if isinstance(r.pipeline([("RPUSH", keys[i % len(keys)], "v%d" % i)])[0], int):
                sent.append(b"v%d" % i)
            if i % 7 == 0:
                time.sleep(0.01)
    done.set()
    for t in consumers:
        t.join(60)
    return sent, got, errors


@test(quick=True, gyre=True)
def blocking_exactly_once():
    """Nine clients pop from five lists of four threads, many with time-outs that are always over: nothing lost, nothing twice."""
    with Cluster(1, options={"threads": 4}) as c:
        sent, got, errors = exactly_once([c[0]], ["q%d" % i for i in range(5)], 1000)
        eq(errors, [])
        eq(sorted(got), sorted(sent))
        eq(blocked(c), 0)
        wait_until("nobody waits any more", lambda: "waiting_for_keys:0\r" in text(c[0].call("INFO", "clients")), 5)


@test(quick=True, gyre=True)
def blocking_ring_any_node():
    """Through each node: order over nodes, keys of several slots, streams, UNBLOCK, clients that go, WAIT."""
    with Cluster(3, options={"threads": 2}) as ring:
        nodes = list(ring)
        for i in range(3):
            serves_in_order(nodes[i:] + nodes[:i], "order%d" % i)
        w = Waiting(ring)
        clients = [n.client() for n in nodes]
        for i in range(6):
            a, b = clients[i % 3], clients[(i + 1) % 3]
            w.begin(a, "BLPOP", "k%d" % i, "m%d" % i, "n%d" % i, 0)
            b("RPUSH", "n%d" % i, "v")
            eq(a.read(), [b"n%d" % i, b"v"], "keys of three slots")
            w.ended()
            w.begin(a, "BZMPOP", 0, 2, "y%d" % i, "z%d" % i, "MAX")
            b("ZADD", "z%d" % i, 1, "m")
            eq(a.read(), [b"z%d" % i, [[b"m", b"1"]]])
            w.ended()
            b("RPUSH", "p%d" % i, "there")
            eq(a("BRPOP", "o%d" % i, "p%d" % i, 0), [b"p%d" % i, b"there"], "what is there is popped at once")
            w.begin(a, "BLMOVE", "{t%d}a" % i, "{t%d}b" % i, "LEFT", "LEFT", 0)
            b("RPUSH", "{t%d}a" % i, "v")
            eq(a.read(), b"v")
            w.ended()
            b("XGROUP", "CREATE", "s%d" % i, "g", "$", "MKSTREAM")
            w.begin(a, "XREADGROUP", "GROUP", "g", "c", "BLOCK", 0, "STREAMS", "s%d" % i, ">")
            b("XADD", "s%d" % i, "*", "f", i)
            eq(a.read()[0][1][0][1], [b"f", b"%d" % i])
            w.ended()
            w.begin(a, "XREAD", "BLOCK", 0, "STREAMS", "s%d" % i, "s0", "$", "$")
            b("XADD", "s%d" % i, "*", "f", "again")
            eq(a.read()[0][1][0][1], [b"f", b"again"])
            w.ended()
            got = a("XREADGROUP", "GROUP", "g", "c", "BLOCK", 0, "STREAMS", "s%d" % i, ">")
            eq(got[0][1][0][1], [b"f", b"again"], "what is there is read at once")
            # Between slots: at once, after waiting, one after the other, and in a chain.
            src, dst, far = ("%s%d" % (x, i) for x in ("src", "dst", "far"))
            b("RPUSH", src, "v1")
            eq(a("BLMOVE", src, dst, "LEFT", "RIGHT", 0), b"v1", "what is there moves at once")
            w.begin(a, "BRPOPLPUSH", src, dst, 0)
            w.begin(clients[(i + 2) % 3], "BLMOVE", src, dst, "LEFT", "LEFT", 0)
            b("RPUSH", src, "v2")
            eq(a.read(), b"v2", "first come, first served")
            w.ended()
            b("RPUSH", src, "v3", "v4")
            eq(clients[(i + 2) % 3].read(), b"v3")
            w.ended()
            eq([b("LRANGE", k, 0, -1) for k in (src, dst)], [[b"v4"], [b"v3", b"v2", b"v1"]])
            b("DEL", src, dst)
            w.begin(a, "BLMOVE", dst, far, "LEFT", "LEFT", 0)
            w.begin(clients[(i + 2) % 3], "BLMOVE", src, dst, "LEFT", "LEFT", 0)
            b("RPUSH", src, "v5")
            eq([a.read(), clients[(i + 2) % 3].read()], [b"v5", b"v5"], "a chain")
            w.ended()
            w.ended()
            eq([b("LRANGE", k, 0, -1) for k in (src, dst, far)], [[], [], [b"v5"]])
            b("SET", dst, "text")
            w.begin(a, "BLMOVE", src, dst, "LEFT", "LEFT", 0)
            b("RPUSH", src, "v6")
            eq(a.read().code, "WRONGTYPE")
            w.ended()
            eq(b("LRANGE", src, 0, -1), [b"v6"], "nothing is lost")
            b("DEL", src, dst, far)
            eq(error_of(a, "BLMOVE", src, dst, "LEFT", "UP", 0).code, "ERR")
            eq(error_of(a, "BLMOVE", src, dst, "LEFT", "LEFT", "soon").code, "ERR")
            begun = time.monotonic()
            eq(a("BLMOVE", src, dst, "LEFT", "LEFT", 0.3), None)
            ok(0.3 <= time.monotonic() - begun < 3, "the time-out of one between slots")
        for i in range(3):
            a, b = clients[i], clients[(i + 1) % 3]
            ident = a("CLIENT", "ID")
            with nodes[i].client() as killer:
                w.begin(a, "BLPOP", "u%d" % i, 0)
                eq(killer("CLIENT", "UNBLOCK", ident, "ERROR"), 1)
                eq(a.read().code, "UNBLOCKED")
                w.ended()
            begun = time.monotonic()
            eq(a("BLPOP", "u%d" % i, "w%d" % i, 0.3), None)
            ok(0.3 <= time.monotonic() - begun < 3, "the time-out")
            gone = w.begin(nodes[i].client(), "BLPOP", "u%d" % i, 0)
            gone.close()
            w.ended()
            wait_blocked(ring, w.n)
            b("RPUSH", "u%d" % i, "v")
            time.sleep(0.2)
            eq(b("LLEN", "u%d" % i), 1, "nobody was there to take it")
        eq(clients[0]("SET", "k", "v"), "OK")
        eq(clients[0]("WAIT", 2, 5000), 2, "both others have it")
        for words in (("MULTI",), ("BLPOP", "nothing", 0), ("EXEC",)):
            last = clients[1](*words)
        eq(last, [None])
        sent, got, errors = exactly_once(nodes, ["q%d" % i for i in range(5)], 300)
        eq(errors, [])
        eq(sorted(got), sorted(sent))


def served_one(waiting):
    """The answer of one of these clients, which is taken out of the list."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        ready = select.select([c.sock for c in waiting], [], [], 1)[0]
        for c in waiting:
            if c.sock in ready:
                waiting.remove(c)
                return c.read()
    raise AssertionError("nobody was served")


@test(quick=True, gyre=True)
def blocking_ring_kill():
    """The node that acts dies while clients wait, and comes back: they go on waiting where it is acted then."""
    with Cluster(3) as ring:
        key, names = key_in_slot_of(lambda n: n[0] == "n3", ring[0])
        w = Waiting(ring)
        clients = [w.begin(ring[i % 2].client(timeout=30), "BLPOP", "other%d" % i, key, 0) for i in range(4)]
        with ring[0].client(timeout=30) as r:
            def serves(value):
                r("RPUSH", key, value)
                eq(served_one(clients), [key.encode(), value.encode()])

            def settle():
                """Who was woken in vain waits again: of a command that runs while its node dies nobody can say what it did."""
                time.sleep(0.5)

            r("RPUSH", key, "before")
            eq(clients.pop(0).read(), [key.encode(), b"before"], "the first is served")
            settle()
            ring[2].kill()
            wait_until("another node acts", lambda: r.pipeline([("SET", "{%s}probe" % key, 1)])[0] == "OK", 20)
            serves("while")
            eq(r("WAIT", 2, 300), 1, "one of two replicas is down")
            ring[2].start()
            ring.wait_ready()
            serves("after")
            # Without a push in between.
            settle()
            ring[2].kill()
            time.sleep(1)
            ring[2].start()
            ring.wait_ready()
            serves("again")
            eq(r("LLEN", key), 0)


@test(gyre=True, limit=180)
def blocking_ring_kill_under_load():
    """Pops and pushes while a node dies: nothing is popped twice, and what is missing was answered -NOQUORUM."""
    with Cluster(3) as ring:
        sent, got, errors = exactly_once([ring[0], ring[1]], ["q%d" % i for i in range(5)], 1500, kill=ring[2].kill)
        eq(len(got), len(set(got)), "popped twice")
        with ring[0].client() as r:
            left = [x for i in range(5) for x in r("LRANGE", "q%d" % i, 0, -1)]
        lost = set(sent) - set(got) - set(left)
        ok(len(lost) <= len(errors), "%d values lost, %d errors" % (len(lost), len(errors)))
        note("%d errors, %d values of pops that answered one" % (len(errors), len(lost)))
