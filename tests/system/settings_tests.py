"""What holds for the whole ring: users, libraries, scripts and options that were changed through one node."""
from suite import *  # noqa: F401,F403

LIBRARY = "#!lua name=%s\nredis.register_function('%s', function(keys, args) return '%s' end)"


def info_field(r, section, field):
    for line in text(r("INFO", section)).splitlines():
        if line.startswith(field + ":"):
            return line.partition(":")[2]
    raise AssertionError("no %s in INFO %s" % (field, section))


def raises(client, code, *args):
    eq(error_of(client, *args).code, code, args)


@test(quick=True)
def settings_through_any_node():
    """A user, a library, a script and an option count on all nodes when the one that was told answers; so do their ends."""
    with Cluster(3, options={"threads": 2}) as c:
        first, others = c[0].client(), [c[1].client(), c[2].client()]
        for i in range(20):
            eq(first("ACL", "SETUSER", "u", "on", ">p%d" % i, "~*", "+@all"), "OK")
            for n in (c[1], c[2]):
                r = n.client()
                eq(r("AUTH", "u", "p%d" % i), "OK")
                eq(r("ACL", "WHOAMI"), b"u")
                r.close()
            eq(first("FUNCTION", "LOAD", "REPLACE", LIBRARY % ("lib", "f", i)), b"lib")
            sha = first("SCRIPT", "LOAD", "return 'script %d'" % i)
            eq(first("CONFIG", "SET", "read-consistency", "quorum" if i % 2 else "one"), "OK")
            for r in others:
                eq(r("FCALL", "f", 0), b"%d" % i)
                eq(r("EVALSHA", sha, 0), b"script %d" % i)
                eq(r("CONFIG", "GET", "read-consistency")[1], b"quorum" if i % 2 else b"one")
        # Inside MULTI as well, and its ends.
        eq(first.pipeline([("MULTI",), ("ACL", "SETUSER", "v", "on", "nopass", "+ping"), ("SET", "k", 1), ("EXEC",)])[-1], ["OK", "OK"])
        gone = c[1].client()
        eq(gone("AUTH", "v", "any"), "OK")
        eq(others[1]("ACL", "DELUSER", "v"), 1)
        raises(c[1].client(), "WRONGPASS", "AUTH", "v", "any")
        raises(c[0].client(), "WRONGPASS", "AUTH", "v", "any")
        eq(others[0]("FUNCTION", "DELETE", "lib"), "OK")
        raises(first, "ERR", "FCALL", "f", 0)
        eq(others[0]("SCRIPT", "FLUSH"), "OK")
        raises(first, "NOSCRIPT", "EVALSHA", sha, 0)
        raises(others[1], "NOSCRIPT", "EVALSHA", sha, 0)
        # Its own limits are each node's.
        eq(first("CONFIG", "SET", "maxclients", 500), "OK")
        ok(others[0]("CONFIG", "GET", "maxclients")[1] != b"500", "of one node")
        counts = [int(info_field(r, "ring", "settings")) for r in [first] + others]
        ok(len(set(counts)) == 1 and counts[0] >= 4, counts)


@test(quick=True)
def settings_reach_who_was_away():
    """A node that was down has what was changed and removed meanwhile; libraries outlive a stop of all nodes."""
    with Cluster(3) as c:
        r = c[0].client()
        eq(r("FUNCTION", "LOAD", LIBRARY % ("removed", "g", "g")), b"removed")
        eq(r("ACL", "SETUSER", "old", "on", "nopass", "+@all", "~*"), "OK")
        c[2].kill()
        eq(r("FUNCTION", "DELETE", "removed"), "OK")
        eq(r("FUNCTION", "LOAD", LIBRARY % ("lib", "f", "one")), b"lib")
        eq(r("ACL", "DELUSER", "old"), 1)
        eq(r("ACL", "SETUSER", "new", "on", ">secret", "+@all", "~*"), "OK")
        sha = r("SCRIPT", "LOAD", "return 7")
        eq(r("CONFIG", "SET", "notify-keyspace-events", "KEA"), "OK")
        c[2].start()
        c.wait_ready()
        back = c[2].client()
        wait_until("the settings have come", lambda: back("CONFIG", "GET", "notify-keyspace-events")[1] == b"AKE", 10)
        eq(back("FCALL", "f", 0), b"one")
        raises(back, "ERR", "FCALL", "g", 0)
        eq(back("EVALSHA", sha, 0), 7)
        eq(c[2].client()("AUTH", "new", "secret"), "OK")
        raises(c[2].client(), "WRONGPASS", "AUTH", "old", "any")
        # Both had libraries of one name: the later one stands everywhere.
        c[1].kill()
        eq(back("FUNCTION", "LOAD", "REPLACE", LIBRARY % ("lib", "f", "two")), b"lib")
        for n in c:
            if n.alive():
                n.terminate()
        for n in c:
            n.start()
        c.wait_ready()
        for n in c:
            client = n.client()
            wait_until("all have the later library", lambda: client("FCALL", "f", 0) == b"two", 10)
            raises(client, "ERR", "FCALL", "g", 0)
            # Users are those of the configuration again.
            raises(n.client(), "WRONGPASS", "AUTH", "new", "secret")


@test(quick=True)
def settings_swapdb():
    """SWAPDB through any node: clients everywhere stay at their number, whoever waits or watches is served, and it is kept."""
    with Cluster(3, options={"threads": 2, "notify-keyspace-events": "KEA"}) as c:
        clients = [n.client() for n in c]
        a, b, d = clients
        for i in range(20):
            a("SET", "k%d" % i, "zero")
        for r in clients:
            r("SELECT", 1)
        b("SET", "k0", "one")
        waiter, watcher, listener = c[2].client(), c[1].client(), c[1].client()
        waiter("SELECT", 1)
        waiter.send("BLPOP", "queue", 20)
        a("SELECT", 0)
        eq(a("RPUSH", "queue", "x"), 1)
        watcher("SELECT", 1)
        eq(watcher("WATCH", "k5"), "OK")
        eq(watcher("MULTI"), "OK")
        eq(watcher("SET", "k5", "lost"), "QUEUED")
        time.sleep(0.1)
        raises(c[0].client(), "ERR", "SWAPDB", 0, 16)
        raises(c[0].client(), "ERR", "SWAPDB", "x", 1)
        eq(b("SWAPDB", 0, 1), "OK")
        eq(waiter.read(), [b"queue", b"x"])
        eq(watcher("EXEC"), None)
        eq([r("GET", "k0") for r in clients], [b"one", b"zero", b"zero"])
        eq([n.client()("GET", "k0") for n in c], [b"one"] * 3)
        eq([n.client()("DBSIZE") for n in c], [1] * 3)
        eq(a("COPY", "k0", "copy", "DB", 1), 1)
        eq(d("GET", "copy"), b"one")
        eq(a("EVAL", "redis.call('select', 1) return redis.call('get', KEYS[1])", 1, "k3"), b"zero")
        ok(" db=1 " in text(d("CLIENT", "LIST", "ID", d("CLIENT", "ID"))), "its number")
        eq(listener("SUBSCRIBE", "__keyspace@1__:k9"), [b"subscribe", b"__keyspace@1__:k9", 1])
        eq(b("SET", "k9", "told"), "OK")
        eq(listener.read(), [b"message", b"__keyspace@1__:k9", b"set"])
        # A node that was away, and all after a stop.
        c[2].kill()
        eq(a("SWAPDB", 1, 7), "OK")
        c[2].start()
        c.wait_ready()
        back = c[2].client()
        back("SELECT", 7)
        wait_until("the numbers have come", lambda: back("GET", "k9") == b"told", 10)
        for n in c:
            n.terminate()
        for n in c:
            n.start()
        c.wait_ready()
        for n in c:
            r = n.client()
            eq(r("GET", "k0"), b"one")
            r("SELECT", 7)
            eq(r("GET", "k9"), b"told")
            ok("db7:keys=" in text(r("INFO", "keyspace")), text(r("INFO", "keyspace")))
