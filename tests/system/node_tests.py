"""One node: protocol, limits, clients' tools, restart, config."""
import os
import select
import signal
import subprocess
import time

from load import Load
from suite import *  # noqa: F401,F403


@test(quick=True)
def node_basics_redis_cli():
    with Cluster(1) as c:
        n = c[0]
        eq(cli(n, "ping"), "PONG")
        eq(cli(n, "set", "k", "v"), "OK")
        eq(cli(n, "get", "k"), "v")
        eq(cli(n, "-3", "hset", "h", "a", "1", "b", "2"), "2")
        eq(cli(n, "-3", "hgetall", "h").split(), ["a", "1", "b", "2"])
        eq(cli(n, "incr", "n"), "1")
        eq(cli(n, "rpush", "l", "a", "b", "c"), "3")
        eq(cli(n, "lrange", "l", "0", "-1").split(), ["a", "b", "c"])
        eq(cli(n, "sadd", "s", "x", "y"), "2")
        eq(cli(n, "zadd", "z", "1", "one", "2.5", "two"), "2")
        eq(cli(n, "zrange", "z", "0", "-1", "withscores").split(), ["one", "1", "two", "2.5"])
        eq(cli(n, "dbsize"), "6")
        eq(sorted(cli(n, "--scan").split()), ["h", "k", "l", "n", "s", "z"])
        ok("redis_version:7.0.15" in cli(n, "info", "server"), "redis_version")
        if not is_standin():
            ok("gyre_version:" in cli(n, "info", "server"), "gyre_version in INFO")
        ok("ERR unknown command" in cli(n, "nosuchcommand", "a"), "unknown command")
        eq(cli(n, "del", "k", "h", "nokey"), "2")
        eq(cli(n, "flushall"), "OK")
        eq(cli(n, "dbsize"), "0")


@test(quick=True)
def node_basics_four_threads():
    with Cluster(1, options={"threads": 4}) as c:
        with c[0].client() as r:
            eq(r("MSET", *[x for i in range(500) for x in ("k%d" % i, i)]), "OK")
            eq(r("MGET", *["k%d" % i for i in range(499, -1, -1)]), [b"%d" % i for i in range(499, -1, -1)])
            eq(r("DBSIZE"), 500)
            eq(sorted(r("KEYS", "k49*")), sorted([b"k49"] + [b"k49%d" % i for i in range(10)]))
            r("MULTI")
            for i in range(50):
                r("INCR", "k%d" % i)
            eq(r("EXEC"), [i + 1 for i in range(50)])
            eq(r("RENAME", "k1", "elsewhere"), "OK")
            eq(r("GET", "elsewhere"), b"2")
            eq(r("DEL", *["k%d" % i for i in range(500)]), 499)
            eq(r("FLUSHALL"), "OK")
            eq(r("DBSIZE"), 0)


@test(quick=True)
def node_walks_inside_multi():
    for threads in (1, 4):
        with Cluster(1, options={"threads": threads}) as c:
            with c[0].client() as r:
                r("MSET", *[x for i in range(50) for x in ("k%d" % i, i)])
                r("MULTI")
                for words in (("DBSIZE",), ("SET", "a", 1), ("DBSIZE",), ("KEYS", "a*"), ("FLUSHALL",), ("RANDOMKEY",),
                              ("SET", "b", 2), ("DBSIZE",), ("GET", "a")):
                    eq(r(*words), "QUEUED")
                eq(r("EXEC"), [50, "OK", 51, [b"a"], "OK", None, "OK", 1, None])
                eq(r("KEYS", "*"), [b"b"])
            c[0].kill()  # what was answered was durable
            c[0].start()
            c.wait_ready()
            with c[0].client() as r:
                eq(r("KEYS", "*"), [b"b"])


@test(quick=True)
def node_protocol():
    with Cluster(1) as c:
        n = c[0]
        with n.client() as r:
            r.send_raw(b"PING\r\n\r\n\r\nSET inline \"a b\\x00c\"\r\nGET inline\r\n")
            eq([r.read() for _ in range(3)], ["PONG", "OK", b"a b\0c"], "inline commands and empty lines")
            blob = bytes(range(256)) * 40
            eq(r("SET", blob, blob[::-1]), "OK")
            eq(r("GET", blob), blob[::-1], "binary key and value")
            big = os.urandom(1 << 22)
            eq(r("SET", "big", big), "OK")
            ok(r("GET", "big") == big, "4 MB value")
            eq(r.pipeline([("INCR", "deep")] * 20000)[-1], 20000, "deep pipeline")
            data = encode(("SET", "slow", "value")) + encode(("GET", "slow"))
            for i in range(len(data)):   # byte by byte
                r.send_raw(data[i:i + 1])
            eq([r.read(), r.read()], ["OK", b"value"], "split at every byte")
            ok("wrong number of arguments" in str(error_of(r, "GET")), "arity")
        with n.client() as r:
            hello = as_map(r("HELLO", "3"))
            eq(hello["proto"], 3)
            eq(text(hello["version"]), "7.0.15")
            r("HSET", "h", "f", "v")
            eq(r("HGETALL", "h"), {b"f": b"v"}, "RESP3 map")
            r("ZADD", "z", "1.5", "m")
            eq(r("ZSCORE", "z", "m"), 1.5, "RESP3 double")
            eq(r("GET", "nokey"), None)
            eq(sorted(r("CONFIG", "GET", "databases").items()), [(b"databases", b"16")])
            ok(isinstance(r("HELLO", "2"), list), "back to RESP2: a flat array")
        for bad in (b"*1\r\n$-5\r\n", b"*1\r\n:3\r\n", b"*99999999999\r\n", b"*1\r\n$99999999999\r\n", b"x" * 70000):
            with n.client() as r:
                r.send_raw(bad)
                got = r.read()
                ok(isinstance(got, ReplyError) and "Protocol error" in str(got), "%.20r: %r" % (bad, got))
                try:
                    more = r.read()
                except (Closed, ConnectionResetError):
                    more = None
                eq(more, None, "closed after a protocol error")
        eq(n.call("PING"), "PONG")


def on_terminal(*words, seconds=2.0):
    """What a program without an end of its own prints on a terminal in this time."""
    ours, its = os.openpty()
    proc = subprocess.Popen(list(map(str, words)), stdin=its, stdout=its, stderr=its)
    os.close(its)
    out, end = b"", time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            if select.select([ours], [], [], 0.1)[0]:
                out += os.read(ours, 65536)
    except OSError:         # it has ended
        pass
    finally:
        proc.kill()
        proc.wait(10)
        os.close(ours)
    return out.decode(errors="replace")


@test(quick=True)
def node_short_replies():
    """Output buffers are lent from client to client: of the shortest replies none gets lost on the way."""
    with Cluster(1, options={"threads": 1}) as c:
        socks = [c[0].client() for _ in range(20)]
        one, few = (b"PING\r\n", b"+PONG\r\n"), (b"SET a b\r\nGET a\r\nSTRLEN a\r\nPING\r\n", b"+OK\r\n$1\r\nb\r\n:1\r\n+PONG\r\n")
        for ask, want in (one, few, one, few):
            for s in socks:
                s.sock.settimeout(10)
                s.sock.sendall(ask)
            for s in socks:
                got = b""
                while len(got) < len(want):
                    got += s.sock.recv(100)
                eq(got, want)
        for s in socks:
            s.close()


@test(quick=True)
def node_reads_that_fill_the_room():
    """Pieces as large as the room that is given to a read make it read again at once, and nothing is there."""
    with Cluster(1) as c:
        with c[0].client() as r:
            r.sock.settimeout(10)
            for room in (16 * 1024, 100002 - 16 * 1024):
                for begun in (5, 20):
                    head = b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$100000\r\n"
                    bytes_ = head + b"v" * 100000 + b"\r\n" + b"PING\r\n"
                    at = 0
                    for n in (begun, room, room, len(bytes_)):
                        r.sock.sendall(bytes_[at:at + n])
                        at += n
                        time.sleep(0.05)
                    got = b""
                    while len(got) < 12:
                        got += r.sock.recv(100)
                    eq(got, b"+OK\r\n+PONG\r\n")
            eq(r("STRLEN", "key"), 100000)


@test()
def node_tools():
    """redis-cli's modes."""
    with Cluster(1) as c:
        n = c[0]
        data = b"".join(encode(("SET", "key:%d" % i, "v" * (i % 50))) for i in range(2000))
        out = cli(n, "--pipe", data=data)
        ok("errors: 0, replies: 2000" in out, out)
        n.call("RPUSH", "list", *range(100))
        out = cli(n, "--bigkeys")
        ok("Sampled 2001 keys" in out, out[-600:])
        eq(len(cli(n, "--scan", "--pattern", "key:1*").split()), 1111)
        out = tool("redis-cli", "-p", n.port, "--latency", "-i", "1", "--raw", seconds=3, fail_ok=True)
        ok("rror" not in out, out)
        out = on_terminal("redis-cli", "-p", n.port, "--stat")
        ok("rror" not in out and "2001" in out, out)
        eq(cli(n, "-r", "3", "incr", "x").split(), ["1", "2", "3"])
        ok("dbsize" in cli(n, "command", "list").lower(), "COMMAND LIST")


@test(quick=True)
def node_limits():
    options = {"client-output-buffer-limit": "normal 8mb 0 0", "client-query-buffer-limit": "2mb", "maxclients": 60}
    with Cluster(1, options=options) as c:
        n = c[0]
        n.call("SET", "big", b"x" * 1000000)
        with n.client() as r:   # replies that nobody reads
            r.sock.settimeout(10)
            try:
                for _ in range(100):
                    r.send_raw(encode(("GET", "big")) * 10)
                    time.sleep(0.02)
                got = b""
                while True:
                    more = r.sock.recv(1 << 20)
                    if not more:
                        break
                    got = more
            except ConnectionError:
                pass
        eq(n.call("PING"), "PONG", "after a client over its output limit")
        with n.client() as r:   # a query over its limit
            closed = False
            try:
                r.send_raw(b"*2\r\n$3\r\nGET\r\n$50000000\r\n")
                for _ in range(60):
                    r.send_raw(b"y" * 100000)
                    time.sleep(0.005)
                r.sock.settimeout(5)
                closed = r.sock.recv(1000) == b""
            except ConnectionError:
                closed = True
            ok(closed, "a query buffer over client-query-buffer-limit closes the connection")
        many, refused = [], None
        try:
            for _ in range(80):
                many.append(n.client(timeout=5))
            for r in many:
                try:
                    r("PING")
                except (ReplyError, ConnectionError) as e:
                    refused = e
            ok(refused is not None, "over maxclients")
            ok(isinstance(refused, ConnectionError) or "max number of clients" in str(refused), refused)
        finally:
            for r in many:
                r.close()
        wait_until("clients are let in again", lambda: n.call("PING") == "PONG", 5)
    with Cluster(1, options={"requirepass": "secret"}) as c:
        with c[0].client() as r:
            eq(error_of(r, "GET", "k").code, "NOAUTH")
            eq(error_of(r, "AUTH", "wrong").code, "WRONGPASS")
            eq(r("AUTH", "secret"), "OK")
            eq(r("SET", "k", "v"), "OK")
        for bad in (b"*20\r\n", b"*1\r\n$20000\r\n"):
            with c[0].client() as r:
                r.send_raw(bad)
                ok("unauthenticated" in str(r.read()), "limits before authentication")


@test(quick=True)
def node_expiry():
    with Cluster(1) as c:
        with c[0].client() as r:
            r("SET", "a", 1, "PX", 100)
            r("SET", "b", 1, "EX", 100)
            eq(r("TTL", "b"), 100)
            eq(r("EXPIRE", "b", 50, "GT"), 0)
            eq(r("EXPIRE", "b", 50, "LT"), 1)
            eq(r("PERSIST", "b"), 1)
            eq(r("TTL", "b"), -1)
            time.sleep(0.15)
            eq(r("GET", "a"), None)
            eq(r("TTL", "a"), -2)
            r.pipeline([("SET", "e%d" % i, 1, "PX", 200) for i in range(500)])
            wait_until("active expiry", lambda: r("DBSIZE") == 1, 5)
            r("SET", "later", 1, "PXAT", int(time.time() * 1000) + 600)
        eq(c[0].terminate(), 0)
        c[0].start().wait_ready()
        time.sleep(0.7)
        eq(c[0].call("GET", "later"), None, "expiry survives a restart")
        eq(c[0].call("GET", "b"), b"1")


@test(quick=True, limit=90)
def node_clean_restart():
    for threads in (1, 4):
        with Cluster(1, options={"threads": threads}) as c:
            n = c[0]
            load = Load([n.port], workers=4)
            try:
                load.run_for(1.5)
            finally:
                load.finish()
            eq(n.terminate(), 0, "exit code after SIGTERM")
            n.start().wait_ready()
            none(load.check([n.port]), "wrong after SIGTERM and restart")
            eq(load.unknowns, 0, load.last_error())
            n.options["threads"] = 5 - threads      # 4 and 1: the other number
            with n.client() as r:
                try:
                    r("SHUTDOWN")
                except (OSError, ReplyError):
                    pass
            n.proc.wait(20)
            eq(n.proc.returncode, 0, "exit code after SHUTDOWN")
            n.start().wait_ready()
            none(load.check([n.port]), "wrong after SHUTDOWN and restart with another number of threads")
            note("threads %d: %s" % (threads, load.figures()))
            n.signal(signal.SIGINT)
            eq(n.proc.wait(20), 0, "exit code after SIGINT")


def kill_under_load(fsync, threads):
    with Cluster(1, options={"appendfsync": fsync, "threads": threads}) as c:
        n = c[0]
        load = Load([n.port], workers=4)
        try:
            for _ in range(2):
                load.run_for(1.5)
                n.kill()
                n.start().wait_ready()
            load.run_for(0.5)
        finally:
            load.finish()
        found = load.check([n.port])
        note("%s, %d threads: %s" % (fsync, threads, load.figures()))
        ok(load.ops > 200, "hardly any operation: " + load.last_error())
        if fsync == "no":       # promises nothing for the last moments, but starts and answers
            note("%d differences, none is promised away" % len(found))
        else:
            none(found, "lost or wrong after kill -9 with appendfsync " + fsync)


@test(quick=True, limit=90)
def node_kill_everysec():
    kill_under_load("everysec", 1)


@test(limit=90)
def node_kill_everysec_four_threads():
    kill_under_load("everysec", 4)


@test(quick=True, limit=90)
def node_kill_always():
    kill_under_load("always", 4)


@test(limit=90)
def node_kill_no():
    kill_under_load("no", 1)


@test()
def node_without_persistence():
    with Cluster(1, options={"persistence": "no"}) as c:
        n = c[0]
        n.call("SET", "k", "v")
        eq(n.terminate(), 0)
        n.start().wait_ready()
        eq(n.call("DBSIZE"), 0, "a pure cache starts empty")


@test(quick=True, gyre=True)
def node_second_process_refuses():
    with Cluster(1) as c:
        n = c[0]
        other = Node("second", os.path.join(c.root, "second"), free_ports(3), dict(n.options, dir=os.path.join(n.dir, "data")))
        c.nodes.append(other)
        other.write_config()
        refuses(c, other, "data")
        eq(n.call("PING"), "PONG", "the first goes on")


@test(gyre=True, limit=180)
def node_loading():
    with Cluster(1) as c:
        n = c[0]
        with n.client(timeout=60) as r:
            for at in range(0, 400000, 5000):
                r.pipeline([("SET", "key:%d" % i, "v" * 20) for i in range(at, at + 5000)])
        eq(n.terminate(60), 0)
        n.start()
        seen, began = set(), time.monotonic()
        while time.monotonic() - began < 60:
            try:
                with n.client(timeout=5) as r:
                    while True:
                        r("GET", "key:1")
                        break
                break
            except ReplyError as e:
                seen.add(e.code)
            except OSError:
                seen.add("no connection")
            time.sleep(0.002)
        seconds = time.monotonic() - began
        n.wait_ready()
        eq(n.call("DBSIZE"), 400000)
        note("400,000 keys loaded in %.2f s" % seconds)
        if seconds > 0.5:
            ok("LOADING" in seen, "never answered -LOADING in %.1f s: %s" % (seconds, seen))
        ok(seen <= {"LOADING", "no connection"}, seen)


BAD_LINES = [
    ("port 99999", ("port",)), ("port abc", ("port",)), ("nosuchoption 3", ("nosuchoption",)),
    ("appendfsync sometimes", ("appendfsync", "everysec")), ("threads -1", ("threads",)),
    ("write-consistency most", ("write-consistency", "quorum")), ("replication-factor x", ("replication-factor",)),
    ("maxmemory 10zb", ("maxmemory",)), ("persistence perhaps", ("persistence",)), ("port", ("port",)),
    ("dir \"unbalanced", ()), ("cluster-node n1", ("cluster-node",)), ("databases 0", ("databases",)),
]


@test(quick=True, gyre=True)
def config_bad_lines():
    wrong = []
    with Cluster(1, start=False) as c:
        n = c[0]
        for line, words in BAD_LINES:
            n.write_config()
            with open(n.config, "a") as f:
                f.write("# a comment\n\n" + line + "\n")
            number = sum(1 for _ in open(n.config))
            open(n.log, "w").close()
            try:
                refuses(c, n, os.path.basename(n.config), number, *words)
            except AssertionError as e:
                wrong.append("%r: %s" % (line, e))
        n.write_config()
        for args in (["--nosuchoption", "1"], ["--port", "x"]):
            open(n.log, "w").close()
            n.start(args=args)
            code, log = ends_by_itself(n)
            if code <= 0 or args[0].lstrip("-") not in log:
                wrong.append("%s: %d %s" % (args, code, log))
        n.env = {"GYRE_APPENDFSYNC": "sometimes"}
        open(n.log, "w").close()
        n.start()
        code, log = ends_by_itself(n)
        if code <= 0 or "sometimes" not in log:
            wrong.append("environment: %d %s" % (code, log))
    none(wrong, "bad config not refused as it should")


@test(quick=True, gyre=True)
def config_sources():
    """File, environment, options; CONFIG GET, SET, REWRITE."""
    with Cluster(1, start=False) as c:
        n = c[0]
        n.options["timeout"] = 11
        n.env = {"GYRE_TCP_KEEPALIVE": "77"}
        n.start(args=["--maxclients", "123"]).wait_ready()
        with n.client() as r:
            get = lambda p: as_map(r("CONFIG", "GET", p)).get(p)
            eq(get("timeout"), b"11", "file")
            eq(get("tcp-keepalive"), b"77", "environment")
            eq(get("maxclients"), b"123", "option")
            eq(get("appendfsync"), b"everysec", "default")
            eq(r("CONFIG", "SET", "timeout", "12"), "OK")
            eq(get("timeout"), b"12")
            error_of(r, "CONFIG", "SET", "timeout", "x")
            error_of(r, "CONFIG", "SET", "port", "x")
            eq(r("CONFIG", "REWRITE"), "OK")
        eq(n.terminate(), 0)
        n.start(write=False).wait_ready()
        eq(as_map(n.call("CONFIG", "GET", "timeout"))["timeout"], b"12", "after CONFIG REWRITE and restart")


def benchmark(port, *words, seconds=120):
    out = tool("redis-benchmark", "-h", "127.0.0.1", "-p", port, "-q", *words, seconds=seconds)
    lines = [l for l in out.replace("\r", "\n").split("\n") if l.strip()]
    bad = [l for l in lines if "rror" in l or "WARN" in l or "Could not" in l or "ERR" in l]
    none(bad, "redis-benchmark %s" % " ".join(words))
    done = [l for l in lines if "requests per second" in l]
    ok(len(done) >= 19 or "-t" in words, "only %d tests ended:\n%s" % (len(done), out[-1500:]))


BENCHMARKS = [("-n", "2000"), ("-n", "4000", "-P", "16"), ("-n", "2000", "-c", "200"), ("-n", "2000", "--threads", "2")]


def benchmark_all(ports):
    for port in ports:
        for words in BENCHMARKS:
            benchmark(port, *words)


@test(limit=240)
def benchmark_one_thread():
    with Cluster(1, options={"threads": 1}) as c:
        benchmark_all([c[0].port])


@test(limit=240)
def benchmark_four_threads():
    with Cluster(1, options={"threads": 4}) as c:
        benchmark_all([c[0].port])


@test(quick=True)
def benchmark_short():
    with Cluster(1, options={"threads": 4}) as c:
        benchmark(c[0].port, "-n", "300", "-P", "4", "-r", "1000")


@test(quick=True)
def node_random_keys_of_all_threads():
    """RANDOMKEY draws from all keys alike, whichever thread has them and asks first."""
    with Cluster(1, options={"threads": 4}) as c:
        clients = [c[0].client() for _ in range(4)]
        for i in range(8):
            clients[0]("SET", "key%d" % i, i)
        for r in clients:
            drawn = r.pipeline([("RANDOMKEY",)] * 400)
            counts = {k: drawn.count(k) for k in drawn}
            # One in eight: 50, by 6.6; a right one is out of these bounds once in a billion.
            ok(len(counts) == 8 and all(10 <= n <= 100 for n in counts.values()), counts)
