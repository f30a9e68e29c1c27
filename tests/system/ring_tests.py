"""Rings of two, three and five: proxying, kill -9 under load, hints, levels, the cluster port."""
import os
import random
import re
import time

from load import Load
from node_tests import BENCHMARKS, benchmark, benchmark_all
from suite import *  # noqa: F401,F403



@test(quick=True, gyre=True)
def ring_any_node_any_key():
    """Plain commands and commands over many keys, from each node."""
    with Cluster(3) as ring:
        clients = [n.client() for n in ring]
        for i in range(300):
            eq(clients[i % 3]("SET", "k%d" % i, i), "OK")
        for r in clients:
            eq(r.pipeline([("GET", "k%d" % i) for i in range(300)]), [b"%d" % i for i in range(300)])
        a, b, c = clients
        names = ["m%d" % i for i in range(400)]
        eq(a("MSET", *[x for n in names for x in (n, n * 2)]), "OK")
        order = names[::-1] + ["nokey"] + names[:3]
        eq(b("MGET", *order), [None if n == "nokey" else (n * 2).encode() for n in order], "MGET in order")
        eq(c("EXISTS", *(names[:10] + names[:10] + ["nokey"])), 20)
        eq(a("TOUCH", *(names[:10] + ["nokey"])), 10)
        eq(a("UNLINK", *names[:100]), 100)
        eq(b("DEL", *(names[90:200] + ["nokey"])), 100)
        for r in clients:
            eq(r("DBSIZE"), 500)
            eq(len(r("KEYS", "*")), 500)
            eq(sorted(r("KEYS", "k29*")), sorted([b"k29"] + [b"k29%d" % i for i in range(10)]))
            seen, cursor, turns = [], b"0", 0
            while turns < 2000:
                cursor, part = r("SCAN", cursor, "COUNT", 50)
                seen += part
                turns += 1
                if cursor == b"0":
                    break
            eq(sorted(set(seen)), sorted(r("KEYS", "*")), "SCAN")
            ok(r("RANDOMKEY") is not None, "RANDOMKEY")
        a("LPUSH", "alist", "x")
        eq(b("SCAN", 0, "COUNT", 100000, "TYPE", "list")[1], [b"alist"])
        eq(error_of(c, "INCR", "alist").code, "WRONGTYPE")
        # every type through a node that may not act for it
        for k in range(20):
            x, y = clients[k % 3], clients[(k + 1) % 3]
            x("HSET", "h%d" % k, "f", k, "g", k)
            x("SADD", "s%d" % k, *range(k + 1))
            x("ZADD", "z%d" % k, k, "m")
            x("RPUSH", "l%d" % k, *range(k + 1))
            x("SET", "e%d" % k, 1, "EX", 100)
            eq(y("HGETALL", "h%d" % k), [b"f", b"%d" % k, b"g", b"%d" % k])
            eq(y("SCARD", "s%d" % k), k + 1)
            eq(float(y("ZSCORE", "z%d" % k, "m")), float(k))
            eq(y("LRANGE", "l%d" % k, 0, -1), [b"%d" % i for i in range(k + 1)])
            ok(98 <= y("TTL", "e%d" % k) <= 100, "TTL")
        eq(a("SELECT", 3), "OK")
        a("SET", "k1", "in db 3")
        b("SELECT", 3)
        eq(b("GET", "k1"), b"in db 3")
        eq(b("DBSIZE"), 1)
        eq(a("FLUSHDB"), "OK")
        eq(b("DBSIZE"), 0)
        eq(c("GET", "k1"), b"1", "db 0 is not touched by FLUSHDB of db 3")
        eq(c("FLUSHALL"), "OK")
        for n in ring:
            eq(n.call("DBSIZE"), 0, n.name)
            eq(n.call("KEYS", "*"), [])
        eq(c("SET", "k1", "again"), "OK")
        b("SELECT", 0)
        eq(b("GET", "k1"), b"again")
        x = a.pipeline([("SET", "p%d" % i, i) for i in range(5000)] + [("GET", "p%d" % i) for i in range(5000)])
        ok(set(x[:5000]) == {"OK"}, "pipelined SET: %s" % set(map(str, x[:5000])))
        eq(x[5000:], [b"%d" % i for i in range(5000)], "order within a pipeline")


def look_at_replicas(ring, names):
    """INFO's sections about healing; GYRE VERIFY, SYNC and EXPLAIN."""
    for n in ring:
        shown = n.call("INFO").decode()
        for title in ("# Hints", "# AntiEntropy", "# Conflicts"):
            ok(title in shown, "INFO of %s has no %s" % (n.name, title))
        others = [x for x in names if x != n.name]
        for prefix, field in (("hints_peer", "oldest_ms="), ("sync_peer", "last_completed_ms_ago=")):
            lines = [x for x in shown.split("\r\n") if x.startswith(prefix)]
            eq(sorted(re.search("name=([^,]*)", x).group(1) for x in lines), others, "%s of %s" % (prefix, n.name))
            ok(all(field in x for x in lines), lines)
        for field in ("read_repairs", "takeovers", "tombstones", "slots_purgeable", "rounds_settled", "too_old_refused"):
            ok("\r\n%s:" % field in shown, "INFO of %s has no %s" % (n.name, field))
        with n.client(proto=3) as r:
            v = as_map(r("GYRE", "VERIFY"))
            eq([v["slots"], v["bad"], v["bad_slots"]], [16384, 0, []], "VERIFY on %s: %r" % (n.name, v))
            beside = [as_map(x) for x in v["replicas"]]
            eq([[text(x["node"]), text(x["state"]), x["compared"], x["differ"]] for x in beside], [[x, "answered", 16384, 0] for x in others])
            one = as_map(r("GYRE", "VERIFY", 7))
            eq([one["slots"], [as_map(x)["compared"] for x in one["replicas"]]], [1, [1, 1]])
            peers = [x for x in shown.split("\r\n") if x.startswith("peer_n")]
            traffic = [re.search(",bytes_sent=(\\d+),bytes_received=(\\d+),heartbeat_bytes_sent=(\\d+),heartbeat_bytes_received=(\\d+)", x) for x in peers]
            ok(len(peers) == 2 and all(t and min(map(int, t.groups())) > 0 for t in traffic), peers)
            error_of(r, "GYRE", "VERIFY", 16384)
            error_of(r, "GYRE", "SYNC", "nobody")
            eq([text(as_map(p)["peer"]) for p in r("GYRE", "SYNC")], others)
            for peer in others:     # also where the other side is the one that compares by itself
                before = as_map(r("GYRE", "SYNC", peer)[0])["rounds"]
                eq(r("GYRE", "SYNC", peer, "NOW"), "OK")
                wait_until("%s compares with %s" % (n.name, peer),
                           lambda: as_map(r("GYRE", "SYNC", peer)[0])["rounds"] > before, 10)
            eq(r("GYRE", "SYNC", "NOW"), "OK")
    with ring[0].client(proto=3) as r:
        r("HSET", "explained", "f", "v", "g", "w")
        r("PEXPIRE", "explained", 1000000)
    for n in ring:
        def explains(n=n):
            with n.client(proto=3) as r:
                e = as_map(r("GYRE", "EXPLAIN", "explained"))
            if text(e["type"]) != "hash" or e["expiry"] is None:
                return e,
            shown = [as_map(x) for x in e["shown"]]
            eq(sorted(text(x["id"]) for x in shown), ["f", "g"])
            stamps = [as_map(x["stamp"]) for x in shown] + [as_map(e["newest"])]
            ok(all(text(s["node"]) in names and abs(s["time_ms"] - time.time() * 1000) < 60000 for s in stamps), stamps)
            others = [as_map(x) for x in e["replicas"]]
            eq(sorted([text(x["node"]) for x in others] + [n.name]), names)
            return ([e["elements"], e["live"], [x["tombstone"] for x in shown]] == [2, 1, [0, 0]] and text(e["why"]).startswith("each element")
                    and all([text(x["state"]), x["lacks"], x["ahead"]] == ["same", 0, 0] for x in others)) or (e,)
        wait_until("%s explains a key" % n.name, explains, 10)
    nothing = as_map(ring[0].call("GYRE", "EXPLAIN", "nothing:here"))
    eq(text(nothing["type"]), "none")
    ok(text(nothing["why"]).startswith("there is nothing"), nothing)


@test(gyre=True)
def ring_explain_who_lacks():
    """A replica that is gone while a key is written lacks it; once back, and healed, it is the same."""
    with Cluster(3, options={"hints-max": 0}) as ring:
        ring[0].call("HSET", "h", "a", "1", "b", "2")
        ring.wait_settled(30)
        ring[2].stop()
        try:
            ring[0].call("HSET", "h", "b", "3", "c", "4")
            of = lambda: as_map([x for x in map(as_map, as_map(ring[0].call("GYRE", "EXPLAIN", "h"))["replicas"]) if text(x["node"]) == "n3"][0])
            wait_until("n3 does not answer", lambda: text(of()["state"]) in ("silent", "unreachable") or (of(),), 10)
            v = as_map(ring[0].call("GYRE", "VERIFY"))
            ok([text(as_map(x)["state"]) for x in v["replicas"] if text(as_map(x)["node"]) == "n3"][0] != "answered", v)
        finally:
            ring[2].cont()
        wait_until("n3 has it", lambda: text(of()["state"]) == "same" or (of(),), 30)
        eq(as_map(ring[0].call("GYRE", "VERIFY"))["slots_differing"], 0)


@test(quick=True, gyre=True)
def ring_look_inside():
    """GYRE NODES, REPLICAS, LOCAL, STATUS, HELP, CONSISTENCY."""
    with Cluster(3) as ring:
        names = ["n1", "n2", "n3"]
        for n in ring:
            def agrees(n=n):    # a thread that stood still for a moment is unsure of its slots again
                s = n.status()
                return [s.get(f) for f in ("nodes_alive", "hints_pending", "slots_differing")] == [3, 0, 0] or (s,)
            wait_until("three nodes, no hint, no difference on %s" % n.name, agrees, 10)
            s = n.status()
            ok("clock_offset_ms_max" in s and "epoch" in s, s)
            with n.client(proto=3) as r:
                s3 = r("GYRE", "STATUS")
                ok(isinstance(s3, dict) and all(isinstance(v, int) for v in s3.values()), "a map of integers in RESP3: %r" % s3)
            shown = repr(n.call("GYRE", "NODES"))
            for x in names:
                ok(x in shown, "%s is not in GYRE NODES: %s" % (x, shown))
            ok(n.call("GYRE", "HELP"), "GYRE HELP")
        eq(len({n.status()["epoch"] for n in ring}), 1, "epochs differ")
        primaries = []
        for i in range(60):
            said = [[text(x) for x in n.call("GYRE", "REPLICAS", "key:%d" % i)] for n in ring]
            eq(said[0], said[1])
            eq(said[0], said[2])
            eq(sorted(said[0]), names)
            primaries.append(said[0][0])
        ok(set(primaries) == set(names), "not every node is a primary of 60 keys: %s" % primaries)
        eq(ring[0].call("SET", "k", "v"), "OK")
        wait_until("the third replica has it", lambda: all(n.call("GYRE", "LOCAL", "GET", "k") == b"v" for n in ring), 5)
        error_of(ring[0].call, "GYRE", "LOCAL", "SET", "k", "w")
        look_at_replicas(ring, names)
        with ring[0].client() as r:
            eq(r("GYRE", "CONSISTENCY", "READ", "quorum", "WRITE", "all"), "OK")
            eq(r("SET", "k", "w"), "OK")
            eq([n.call("GYRE", "LOCAL", "GET", "k") for n in ring], [b"w"] * 3, "WRITE all: every replica has it")
            eq(r("GET", "k"), b"w")
            eq(r("GYRE", "CONSISTENCY", "READ", "1", "WRITE", "2"), "OK")
            error_of(r, "GYRE", "CONSISTENCY", "READ", "most", "WRITE", "one")
            error_of(r, "GYRE", "NOSUCH")
    with Cluster(3, options={"replication-factor": 1}) as ring:
        ring[0].call("SET", "k", "v")
        holder = text(ring[1].call("GYRE", "REPLICAS", "k")[0])
        for n in ring:
            if n.name == holder:
                eq(n.call("GYRE", "LOCAL", "GET", "k"), b"v")
            else:
                error_of(n.call, "GYRE", "LOCAL", "GET", "k")
                ok(holder in str(error_of(n.call, "GYRE", "EXPLAIN", "k")), "EXPLAIN names the replicas")
            error_of(n.call, "GYRE", "VERIFY")
            error_of(n.call, "GYRE", "SYNC", "NOW")


def kill_each(ring, load, how):
    for n in ring:
        load.run_for(1.5)
        how(n)
        load.run_for(2)
        n.start()
        ring.wait_settled(60)
    load.run_for(1)


@test(gyre=True, limit=240)
def ring_kill_each_in_turn():
    """Zero acknowledged writes lost, zero wrong reads: any node, kill -9 and restart, one after the other."""
    for options in ({"threads": 1}, {"threads": 4}):
        with Cluster(3, options=options) as ring:
            load = Load([n.port for n in ring], workers=6)
            try:
                kill_each(ring, load, lambda n: n.kill())
            finally:
                load.finish()
            note("threads %d: %s" % (options["threads"], load.figures()))
            ring.wait_settled(60)
            ports = [n.port for n in ring]
            none(load.check(ports), "lost or wrong")
            none(load.check(ports, local=True), "lost or wrong on a replica alone")
            ok(load.gap < GAP_MAX, "a client had no success for %.1f s" % load.gap)


@test(quick=True, gyre=True, limit=90)
def ring_kill_one():
    with Cluster(3) as ring:
        load = Load([n.port for n in ring], workers=4)
        try:
            load.run_for(1)
            ring[0].kill()
            load.run_for(2)
            ring[0].start()
            load.run_for(1)
            ring.wait_settled(60)
        finally:
            load.finish()
        note(load.figures())
        ring.wait_settled(30)
        none(load.check([n.port for n in ring]), "lost or wrong")
        none(load.check([n.port for n in ring], local=True), "lost or wrong on a replica alone")
        ok(load.gap < GAP_MAX, "a client had no success for %.1f s" % load.gap)


@test(gyre=True, limit=180)
def ring_rolling_restart():
    """SIGTERM and restart of each node under load."""
    with Cluster(3) as ring:
        load = Load([n.port for n in ring], workers=6)
        try:
            kill_each(ring, load, lambda n: eq(n.terminate(), 0, "exit code"))
        finally:
            load.finish()
        note(load.figures())
        ring.wait_settled(60)
        none(load.check([n.port for n in ring]), "lost or wrong")
        none(load.check([n.port for n in ring], local=True), "lost or wrong on a replica alone")
        ok(load.gap < GAP_MAX, "a client had no success for %.1f s" % load.gap)


@test(gyre=True, limit=180)
def ring_paused_node():
    """SIGSTOP: silent, but its connections stay. The others serve within a second; afterwards it agrees."""
    with Cluster(3) as ring:
        # Only through the two others: a client of a paused node can but time out.
        load = Load([ring[0].port, ring[2].port], workers=4, timeout=3.0)
        try:
            load.run_for(1)
            ring[1].stop()
            load.run_for(4)
            ring[1].cont()
            load.run_for(2)
        finally:
            load.finish()
        note(load.figures())
        ring.wait_settled(60)
        none(load.check([n.port for n in ring]), "lost or wrong")
        none(load.check([n.port for n in ring], local=True), "lost or wrong on a replica alone")
        ok(load.gap < GAP_MAX, "a client had no success for %.1f s" % load.gap)


def kill_all(fsync, threads):
    with Cluster(3, options={"appendfsync": fsync, "threads": threads}) as ring:
        load = Load([n.port for n in ring], workers=6)
        try:
            for _ in range(2):
                load.run_for(2)
                for n in ring:
                    n.signal(9)
                for n in ring:
                    n.proc.wait(30)
                ring.start(60)
            load.run_for(0.5)
        finally:
            load.finish()
        note("%s, %d threads: %s" % (fsync, threads, load.figures()))
        ok(load.ops > 200, "hardly any operation: " + load.last_error())
        ring.wait_settled(60)
        none(load.check([n.port for n in ring]), "lost or wrong after all were killed")


@test(gyre=True, limit=180)
def ring_kill_all_always():
    kill_all("always", 2)


@test(gyre=True, limit=180)
def ring_kill_all_everysec():
    kill_all("everysec", 2)


@test(gyre=True, limit=180)
def ring_hints_survive_their_holder():
    with Cluster(3) as ring:
        n1, n2, n3 = ring
        n3.kill()
        time.sleep(0.3)

        def put(key, value):   # during the first moments after the kill an answer may be -NOQUORUM
            end = time.monotonic() + 10
            while True:
                try:
                    return eq((n1, n2)[len(key) % 2].call("SET", key, value), "OK")
                except ReplyError as e:
                    if e.code != "NOQUORUM" or time.monotonic() > end:
                        raise
                    time.sleep(0.05)
        for i in range(600):
            put("hint:%d" % i, i)
        pending = [n.status().get("hints_pending") for n in (n1, n2)]
        note("hints pending: %s" % pending)
        ok(sum(pending) >= 600 * 0.9, "hints_pending after 600 writes: %s" % pending)
        time.sleep(1.2)                 # everysec
        n1.kill()
        n1.start().wait_ready()
        wait_until("n1 and n2 see each other", lambda: n1.status()["nodes_alive"] == 2 and n2.status()["nodes_alive"] == 2, 30)
        eq(n2.terminate(), 0)
        n2.start().wait_ready()
        wait_until("n1 and n2 see each other", lambda: n1.status()["nodes_alive"] == 2 and n2.status()["nodes_alive"] == 2, 30)
        again = [n.status().get("hints_pending") for n in (n1, n2)]
        ok(sum(again) >= 600 * 0.9, "hints_pending after their holders' restart: %s, before %s" % (again, pending))
        n3.start()
        ring.wait_settled(60)
        with n3.client() as r:
            eq(r.pipeline([("GYRE", "LOCAL", "GET", "hint:%d" % i) for i in range(600)]), [b"%d" % i for i in range(600)])


@test(quick=True, gyre=True, limit=90)
def ring_noquorum():
    """Two of three dead: -NOQUORUM at QUORUM; level ONE goes on."""
    with Cluster(3) as ring:
        n1 = ring[0]
        for i in range(50):
            eq(n1.call("SET", "k%d" % i, "v"), "OK")
        ring[1].kill()
        ring[2].kill()
        with n1.client() as r:
            began = time.monotonic()
            eq(error_of(r, "SET", "k1", "w").code, "NOQUORUM")
            note("first -NOQUORUM after %.0f ms" % (1000 * (time.monotonic() - began)))
            eq(r("PING"), "PONG")
            eq(r("GYRE", "CONSISTENCY", "READ", "one", "WRITE", "one"), "OK")

            def try_(command, want):
                def once():
                    got = r(*command)
                    eq(got, want)
                    return True
                wait_until("%s at level one" % (command,), once, 15)
            for i in range(50):
                try_(("SET", "one:%d" % i, i), "OK")
                try_(("GET", "one:%d" % i), b"%d" % i)
            for i in range(2, 50):
                try_(("GET", "k%d" % i), b"v")
            eq(r("GYRE", "CONSISTENCY", "READ", "quorum", "WRITE", "quorum"), "OK")
            eq(error_of(r, "GET", "k2").code, "NOQUORUM")
            for i in range(5):
                eq(error_of(r, "SET", "q%d" % i, i).code, "NOQUORUM")
        ring[1].start()
        ring[2].start()
        ring.wait_settled(60)
        for n in ring:
            with n.client() as r:
                eq(r.pipeline([("GET", "one:%d" % i) for i in range(50)]), [b"%d" % i for i in range(50)])
        eq(ring[2].call("SET", "k1", "x"), "OK")
        eq(ring[1].call("GET", "k1"), b"x")


@test(gyre=True, limit=180)
def ring_sizes():
    """1, 2, 3 and 5 nodes, every replication factor up to their number."""
    for nodes, factors in ((1, (1,)), (2, (1, 2)), (3, (2,)), (5, (1, 2, 3, 5))):
        for factor in factors:
            with Cluster(nodes, ring=True, options={"replication-factor": factor, "threads": 1}) as ring:
                with ring[0].client() as r:
                    eq(set(map(str, r.pipeline([("SET", "k%d" % i, i) for i in range(300)]))), {"OK"}, "%d nodes, factor %d" % (nodes, factor))
                for n in ring:
                    with n.client() as r:
                        eq(r.pipeline([("GET", "k%d" % i) for i in range(300)]), [b"%d" % i for i in range(300)])
                        eq(r("DBSIZE"), 300, "%d nodes, factor %d" % (nodes, factor))
                eq(len(ring[nodes - 1].call("GYRE", "REPLICAS", "k")), factor)
    with Cluster(2, ring=True, options={"replication-factor": 3}) as ring:     # capped, and said
        eq(len(ring[0].call("GYRE", "REPLICAS", "k")), 2)
        ok("replication-factor" in open(ring[0].log).read(), "the cap is said at start")


@test(gyre=True)
def ring_five_nodes_kill_two():
    """Factor 3 of 5: one dead node hurts nobody, under load."""
    with Cluster(5, options={"threads": 1}) as ring:
        load = Load([n.port for n in ring], workers=5, pause=0.003)
        try:
            load.run_for(1)
            for k in (4, 1):
                ring[k].kill()
                load.run_for(2)
                ring[k].start()
                ring.wait_settled(60)
        finally:
            load.finish()
        note(load.figures())
        none(load.check([n.port for n in ring]), "lost or wrong")


@test(quick=True, gyre=True)
def ring_secret_refused():
    with Cluster(3, start=False) as ring:
        n = ring[0]
        n.write_config()
        secret = n.options["cluster-secret-file"]
        os.chmod(secret, 0o644)
        refuses(ring, n, "secret")
        os.chmod(secret, 0o600)
        with open(secret, "w") as f:
            f.write("short\n")
        open(n.log, "w").close()
        refuses(ring, n, "secret", "16")
        os.unlink(secret)
        open(n.log, "w").close()
        refuses(ring, n, "secret")
        with open(os.open(secret, os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
            f.write("a secret of this test only, 40 bytes...\n")
        # without a bus-port
        n.bus_port, kept = "", n.bus_port
        n.write_config()
        lines = [l for l in open(n.config) if not l.startswith("bus-port")]
        with open(n.config, "w") as f:
            f.writelines(lines)
        open(n.log, "w").close()
        refuses(ring, n, "bus-port")
        n.bus_port = kept


@test(quick=True, gyre=True)
def ring_wrong_secret_does_not_mix():
    with Cluster(3, start=False) as ring:
        n3 = ring[2]
        other = os.path.join(n3.dir, "secret")
        with open(os.open(other, os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
            f.write("another secret of 30 bytes ...\n")
        n3.options["cluster-secret-file"] = other
        for n in ring:
            n.start()
        for n in ring.nodes[:2]:
            n.wait_ready()
            wait_until("two of three", lambda: n.status().get("nodes_alive") == 2, 30)
        time.sleep(2)
        for n in ring.nodes[:2]:
            eq(n.status().get("nodes_alive"), 2, n.name)
        ok("secret" in n3.log_end(200) + ring[0].log_end(200), "the log says why")


@test(quick=True, gyre=True)
def ring_that_differs_refuses():
    """Another rack on one line of one file: the nodes refuse each other and say how the rings differ."""
    with Cluster(3, start=False) as ring:
        n3 = ring[2]
        n3.lines = [l.replace("rack=b", "rack=elsewhere") for l in n3.lines]
        n3.lines.reverse()          # the order of the lines makes no difference
        for n in ring:
            n.start()
        for n in ring.nodes[:2]:
            n.wait_ready()
            wait_until("two of three", lambda: n.status().get("nodes_alive") == 2, 30)
        time.sleep(2)
        for n in ring.nodes[:2]:
            eq(n.status().get("nodes_alive"), 2, n.name)
        logs = n3.log_end(300) + ring[0].log_end(300)
        ok("differ" in logs and "elsewhere" in logs, "the logs do not say how the rings differ:\n" + logs[-2000:])
    with Cluster(3, start=False) as ring:      # the same ring in another order is the same
        for k, n in enumerate(ring):
            n.lines = n.lines[k:] + n.lines[:k]
        ring.start()


def map_of(node):
    """CLUSTER SLOTS as {slot: [ports]}."""
    out = {}
    with node.client(cluster=True) as r:
        for low, high, *replicas in r("CLUSTER", "SLOTS"):
            for s in range(low, high + 1):
                ok(s not in out, "slot %d twice" % s)
                out[s] = [x[1] for x in replicas]
    eq(len(out), 16384, "slots covered")
    return out


@test(quick=True, gyre=True, limit=90)
def ring_cluster_port():
    for nodes, factor in ((3, 3), (5, 2)):
        with Cluster(nodes, options={"replication-factor": factor, "threads": 1}) as ring:
            by_name = {n.name: n for n in ring}
            maps = [map_of(n) for n in ring]
            ok(all(m == maps[0] for m in maps), "the nodes' slot maps differ")
            eq({p for ports in maps[0].values() for p in ports}, {n.cluster_port for n in ring})
            ok(all(len(set(p)) == factor for p in maps[0].values()), "replicas per slot")
            with ring[0].client(cluster=True) as r:
                for key in ("a", "foo{bar}baz", "{}x", "a{}{b}", ""):
                    eq(r("CLUSTER", "KEYSLOT", key), slot(key), key)
                lines = text(r("CLUSTER", "NODES")).strip().split("\n")
                eq(len(lines), nodes)
                eq(sum("myself" in l.split()[2] for l in lines), 1)
                ok(text(r("CLUSTER", "MYID")) in [l.split()[0] for l in lines], "MYID")
                info = text(r("CLUSTER", "INFO"))
                ok("cluster_state:ok" in info and "cluster_slots_assigned:16384" in info, info)
                shards = r("CLUSTER", "SHARDS")
                count = 0
                for sh in shards:
                    ranges = as_map(sh)["slots"]
                    count += sum(b - a + 1 for a, b in zip(ranges[::2], ranges[1::2]))
                eq(count, 16384, "CLUSTER SHARDS")
                ok("cluster_enabled:1" in text(r("INFO", "cluster")), "cluster_enabled on the cluster port")
            moved = 0
            for i in range(100):
                key = "key:%d" % i
                names = [text(x) for x in ring[0].call("GYRE", "REPLICAS", key)]
                eq([by_name[x].cluster_port for x in names], maps[0][slot(key)], "GYRE REPLICAS and CLUSTER SLOTS")
                eq(ring[0].call("SET", key, i), "OK")
                for n in ring:
                    if n.name in names:
                        eq(n.call("SET", key, i), "OK")
                        with n.client(cluster=True) as r:
                            eq(r("GET", key), b"%d" % i)
                            eq(r("SET", key, i), "OK")
                    else:
                        moved += 1
                        with n.client(cluster=True) as r:
                            e = error_of(r, "SET", key, i)
                            eq(str(e), "MOVED %d 127.0.0.1:%d" % (slot(key), by_name[names[0]].cluster_port))
                        eq(n.call("GET", key), b"%d" % i, "no MOVED on the plain port")
            ok((moved > 0) == (factor < nodes), "MOVED answers: %d" % moved)
            with ring[0].client() as p:
                p.pipeline([("SET", "{tag}%d" % i, i) for i in range(7)])
            holder = by_name[text(ring[0].call("GYRE", "REPLICAS", "{tag}")[0])]
            with holder.client(cluster=True) as r:
                eq(r("CLUSTER", "COUNTKEYSINSLOT", slot("{tag}")), 7)
                eq(len(r("CLUSTER", "GETKEYSINSLOT", slot("{tag}"), 5)), 5)
                eq(r("READONLY"), "OK")
                eq(r("READWRITE"), "OK")
            eq(tool("redis-cli", "-c", "-p", ring[0].cluster_port, "set", "key:5", "new").strip().split("\n")[-1], "OK")
            got = {tool("redis-cli", "-c", "-p", n.cluster_port, "get", "key:5").strip().split("\n")[-1] for n in ring}
            eq(got, {"new"})


@test(gyre=True)
def ring_cli_cluster_check():
    with Cluster(3, options={"threads": 1}) as ring:
        out = tool("redis-cli", "--cluster", "check", "127.0.0.1:%d" % ring[0].cluster_port)
        ok("All 16384 slots covered" in out and "ERR" not in out, out)


@test(gyre=True, quick=True, limit=60)
def ring_min_replicas():
    """min-replicas-to-write refuses writes on all nodes while fewer others are up."""
    def refused(r):
        for words in (("SET", "k", "2"), ("DEL", "k"), ("EVAL", "return redis.call('SET', KEYS[1], 'x')", 1, "k"), ("EVAL", "#!lua\nreturn 1", 0)):
            eq(error_of(r, *words).code, "NOREPLICAS", words)
        r("MULTI")
        eq(error_of(r, "SET", "k", "2").code, "NOREPLICAS")
        eq(error_of(r, "EXEC").code, "EXECABORT")
        eq(r("GET", "k"), b"1")
        eq(r("EVAL", "return redis.call('GET', KEYS[1])", 1, "k"), b"1")
        eq(r("EVAL", "#!lua flags=no-writes\nreturn 1", 0), 1)

    def writes(c, value):
        try:
            return c("SET", "k", value) == "OK"
        except ReplyError as e:
            eq(e.code, "NOREPLICAS")
            return False

    with Cluster(1) as alone:
        with alone[0].client() as r:
            r("SET", "k", "1")
            r("CONFIG", "SET", "min-replicas-to-write", 1)
            refused(r)
            r("CONFIG", "SET", "min-replicas-max-lag", 0)
            eq(r("SET", "k", "2"), "OK")
    with Cluster(3) as ring:
        with ring[0].client() as r, ring[1].client() as other:
            r("SET", "k", "1")
            r("CONFIG", "SET", "min-slaves-to-write", 2)
            eq(other("CONFIG", "GET", "min-replicas-to-write")[1], b"2")
            eq(other("SET", "k", "1"), "OK")
            ring[2].kill()
            for c in (r, other):
                wait_until("it is noticed", lambda c=c: not writes(c, "1"), 10)
                refused(c)
            ring[2].start()
            ring.wait_settled(60)
            for c in (r, other):
                wait_until("it is back", lambda c=c: writes(c, "3"), 10)


@test(gyre=True, limit=60)
def ring_atomic_commands():
    """What must be atomic over several nodes answers CROSSSLOT for now; on one slot it works from any node."""
    with Cluster(3) as ring:
        for n in ring:
            with n.client() as r:
                r("SET", "{t}a", "1")
                eq(r("RENAME", "{t}a", "{t}b"), "OK")
                eq(r("MSETNX", "{t}c" + n.name, 1, "{t}d" + n.name, 2), 1)
                r("MULTI")
                r("INCR", "{t}n")
                r("GET", "{t}b")
                eq(r("EXEC")[1], b"1")
                r("WATCH", "{t}n")
                ring[0].call("INCR", "{t}n")
                r("MULTI")
                r("SET", "{t}n", 100)
                eq(r("EXEC"), None, "WATCH sees a write through another node")
                r.pipeline([("SET", "x%d" % i, i) for i in range(8)])
                got = {str(x).split()[0] for x in r.pipeline([("RENAME", "x%d" % i, "y%d" % i) for i in range(8)])}
                ok(got <= {"OK", "CROSSSLOT"}, got)


@test(gyre=True, limit=400)
def benchmark_ring():
    """redis-benchmark against each node of a ring of three, and --cluster against the cluster ports."""
    with Cluster(3) as ring:
        benchmark_all([n.port for n in ring])
        for words in BENCHMARKS:
            benchmark(ring[0].cluster_port, "--cluster", *words)


@test(quick=True, gyre=True)
def benchmark_ring_short():
    with Cluster(3) as ring:
        benchmark(ring[1].port, "-n", "200", "-P", "4", "-r", "1000")
        benchmark(ring[1].cluster_port, "-n", "200", "--cluster", "-r", "1000")


@test(gyre=True, limit=60)
def ring_bus_abuse():
    """Strangers on the bus port: nothing is served, nothing breaks."""
    with Cluster(3) as ring:
        rng = random.Random(7)
        for junk in (b"PING\r\n", encode(("SET", "k", "v")), b"*1000000000\r\n", b"$99999999999\r\n", b"GET / HTTP/1.0\r\n\r\n",
                     bytes(rng.randrange(256) for _ in range(100000))):
            for n in ring:
                try:
                    with Client(n.bus_port, timeout=3) as r:
                        r.send_raw(junk)
                        r.sock.settimeout(1)
                        got = r.sock.recv(1000)
                        ok(b"PONG" not in got and b"+OK" not in got, "the bus served a stranger: %r" % got[:80])
                except OSError:
                    pass
        for n in ring:
            ok(n.alive(), n.name + " died:\n" + n.log_end())
            eq(n.status()["nodes_alive"], 3)
        eq(ring[0].call("SET", "k", "v"), "OK")
        eq(ring[1].call("GET", "k"), b"v")
