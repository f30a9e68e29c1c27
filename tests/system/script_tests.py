"""Scripts and functions: over threads, over a ring, too long, and with nodes dying under them."""
import hashlib
import os
import subprocess
import tempfile
import threading
import time

from suite import *  # noqa: F401,F403

FOREVER = "while true do end"
COUNT = "return redis.call('INCRBY', KEYS[1], ARGV[1])"


def one_node(threads):
    with Cluster(1, options={"threads": threads, "enable-debug-command": "yes"}) as c:
        node = c[0]
        a, b = node.client(), node.client()
        eq(a("EVAL", "return {KEYS[1], ARGV[1], 3.9, true, false}", 1, "k", "v"), [b"k", b"v", 3, 1, None])
        eq(a("EVAL", "return redis.call('SET', KEYS[1], ARGV[1])", 1, "k", "v"), "OK")
        eq(b("EVAL", "return redis.call('GET', KEYS[1])", 1, "k"), b"v")
        # Attributes of a reply are read and not shown.
        eq(a("DEBUG", "SET-DISABLE-DENY-SCRIPTS", 1), "OK")
        eq(a("EVAL", "redis.setresp(3) return redis.call('DEBUG', 'PROTOCOL', 'ATTRIB')", 0), b"Some real reply following the attribute")
        eq(a("DEBUG", "SET-DISABLE-DENY-SCRIPTS", 0), "OK")
        # Keys of all threads, declared and not, more than once: the node learns how far a script reaches.
        many = ["k%d" % i for i in range(50)]
        put = "for i, k in ipairs(KEYS) do redis.call('SET', k, i) end return #KEYS"
        tell = "local n = 0 for i = 0, 49 do n = n + redis.call('GET', 'k' .. i) end return n"
        for _ in range(3):
            eq(a("EVAL", put, 50, *many), 50)
            eq(b("EVAL", tell, 0), 1275)
            eq(b("EVAL", tell, 1, "k0"), 1275)
            eq(a("EVAL", "return redis.call('DBSIZE')", 0), 51)
            eq(len(a("EVAL", "return redis.call('KEYS', 'k*')", 0)), 51)
        branch = "if ARGV[1] == '1' then return redis.call('GET', 'k1') .. redis.call('GET', 'k2') end return 'no'"
        for key in many[:8]:
            eq(a("EVAL", branch, 1, key, "0"), b"no")
            eq(a("EVAL", branch, 1, key, "1"), b"23")
        sha = text(a("SCRIPT", "LOAD", COUNT))
        eq(b("SCRIPT", "EXISTS", sha, "x" * 40), [1, 0])
        for i in range(20):
            eq((a, b)[i % 2]("EVALSHA", sha.upper(), 1, "n", 2), 2 * i + 2)
        eq(error_of(a, "EVALSHA", "x" * 40, 0).code, "NOSCRIPT")
        # In their order with other commands, pipelined and in a transaction.
        eq(a.pipeline([("SET", "p", 1), ("EVAL", COUNT, 1, "p", 5), ("GET", "p"), ("EVALSHA", sha, 1, "p", 1),
                       ("GET", "p")]), ["OK", 6, b"6", 7, b"7"])
        a("MULTI")
        for i in range(8):
            a("EVAL", COUNT, 1, "m%d" % i, i)
            a("GET", "m%d" % i)
        eq(a("EXEC"), [x for i in range(8) for x in (i, b"%d" % i)])
        # Each script is one step to all others.
        move = "local n = redis.call('DECR', KEYS[1]) redis.call('INCR', KEYS[2]) return n"
        check = "return redis.call('GET', KEYS[1]) + redis.call('GET', KEYS[2])"
        a("MSET", "from", 5000, "to", 0)
        stop, wrong = threading.Event(), []

        def watch():
            r = node.client()
            while not stop.is_set():
                got = r("EVAL", check, 2, "from", "to")
                if got != 5000:
                    wrong.append(got)

        watchers = [threading.Thread(target=watch) for _ in range(2)]
        for w in watchers:
            w.start()
        for _ in range(20):
            eq(len(a.pipeline([("EVAL", move, 2, "from", "to")] * 20)), 20)
        stop.set()
        for w in watchers:
            w.join()
        none(wrong, "half of a script was seen")
        info = text(a("INFO"))
        ok("number_of_cached_scripts:" in info and "used_memory_lua:0\r" not in info, "INFO memory")
        eq(a("SCRIPT", "FLUSH"), "OK")
        eq(error_of(b, "EVALSHA", sha, 1, "n", 2).code, "NOSCRIPT")
        # An error comes after what was written before it.
        eq(error_of(a, "EVAL", "redis.call('SET', KEYS[1], 1) error('x')", 1, "half").code, "ERR")
        eq(a("GET", "half"), b"1")
        before = a("GET", "n"), a("GET", "to")
        node.kill()
        node.start()
        node.wait_ready()
        r = node.client()
        eq((r("GET", "n"), r("GET", "to")), before, "after kill -9")


@test(quick=True, gyre=True)
def script_one_thread():
    """Scripts on one thread: keys, transactions, order, durability."""
    one_node(1)


@test(quick=True, gyre=True)
def script_four_threads():
    """The same on four threads: whatever keys a script touches, it is one step to the others."""
    one_node(4)


def busy(threads):
    with Cluster(1, options={"threads": threads, "busy-reply-threshold": 300}) as c:
        node = c[0]
        others = [node.client() for _ in range(4)]
        for keys in ([0], [1, "k"], [2, "a", "b"]):
            slow = node.client()
            t0 = time.monotonic()
            slow.send("EVAL", FOREVER, *keys)
            time.sleep(0.05)
            # Before the threshold they wait, then they hear it.
            heard = [error_of(r, "SET", "{k}%d" % i, 1).code for i, r in enumerate(others)]
            eq(heard, ["BUSY"] * 4)
            ok(time.monotonic() - t0 > 0.25, "not before the threshold")
            others[0].send("MULTI")
            eq(others[0].read(), "OK")
            eq(others[0]("DISCARD"), "OK")
            wait_until("it can be killed", lambda: others[1]("SCRIPT", "KILL") == "OK", 5)
            ok("killed by user" in str(slow.read()), "the script went on")
            eq(others[2]("SET", "k", "v"), "OK")
            eq(error_of(others[3], "SCRIPT", "KILL").code, "NOTBUSY")
            slow.close()
        # pcall does not keep it alive.
        slow = node.client()
        slow.send("EVAL", "while true do pcall(function() while true do end end) end", 0)
        wait_until("busy", lambda: is_busy(others[0]), 5)
        eq(others[1]("SCRIPT", "KILL"), "OK")
        eq(code_of_read(slow), "ERR")
        # One that has written may not be ended; the node may.
        slow = node.client()
        slow.send("EVAL", "redis.call('SET', KEYS[1], 1) " + FOREVER, 1, "k")
        wait_until("busy", lambda: is_busy(others[0]) or threads > 1, 5)
        time.sleep(0.5)
        wait_until("it cannot be killed", lambda: error_of(others[1], "SCRIPT", "KILL").code == "UNKILLABLE", 5)
        others[2].send("SHUTDOWN", "NOSAVE")
        wait_until("it ends", lambda: not node.alive(), 10)


def is_busy(r):
    try:
        r("PING")
        return False
    except ReplyError as e:
        eq(e.code, "BUSY")
        return True


def code_of_read(r):
    got = r.read()
    return got.code if isinstance(got, ReplyError) else got


@test(quick=True, gyre=True)
def script_busy_one_thread():
    """A script that does not end: BUSY to others, SCRIPT KILL, UNKILLABLE after a write, SHUTDOWN."""
    busy(1)


@test(quick=True, gyre=True)
def script_busy_four_threads():
    busy(4)


@test(quick=True, gyre=True)
def script_functions():
    """Libraries: loaded, called from every thread, kept over a restart, dumped and restored, ended."""
    lib = ("#!lua name=lib\n"
           "redis.register_function('put', function(k, a) return redis.call('SET', k[1], a[1]) end)\n"
           "redis.register_function{function_name='see', callback=function(k) return redis.call('GET', k[1]) end, "
           "flags={'no-writes'}}\n"
           "redis.register_function('forever', function() while true do end end)")
    with Cluster(1, options={"threads": 2, "busy-reply-threshold": 200}) as c:
        node = c[0]
        a, b = node.client(), node.client()
        eq(a("FUNCTION", "LOAD", lib), b"lib")
        ok("already exists" in str(error_of(b, "FUNCTION", "LOAD", lib)), "twice")
        for i in range(8):
            eq((a, b)[i % 2]("FCALL", "put", 1, "k%d" % i, i), "OK")
            eq((b, a)[i % 2]("FCALL_RO", "see", 1, "k%d" % i), b"%d" % i)
        ok("*_ro command" in str(error_of(a, "FCALL_RO", "put", 1, "k", 1)), "it may write")
        dump = a("FUNCTION", "DUMP")
        node.kill()
        node.start()
        node.wait_ready()
        a, b = node.client(), node.client()
        eq(a("FCALL", "see", 1, "k3"), b"3", "after a restart")
        eq(a("FUNCTION", "FLUSH"), "OK")
        eq(str(error_of(b, "FCALL", "see", 1, "k3")), "ERR Function not found")
        eq(b("FUNCTION", "RESTORE", dump), "OK")
        eq(a("FCALL", "see", 1, "k3"), b"3", "restored")
        slow = node.client()
        slow.send("FCALL", "forever", 0)
        wait_until("busy", lambda: is_busy(a), 5)
        stats = b("FUNCTION", "STATS")
        eq(stats[1][1], b"forever")
        eq(error_of(b, "SCRIPT", "KILL").code, "BUSY")
        eq(b("FUNCTION", "KILL"), "OK")
        eq(code_of_read(slow), "ERR")
        eq(a("FUNCTION", "DELETE", "lib"), "OK")
        eq(a("FUNCTION", "LIST"), [])


@test(quick=True, gyre=True)
def script_redis_cli_eval():
    """redis-cli --eval."""
    with Cluster(1) as c, tempfile.NamedTemporaryFile("w", suffix=".lua") as f:
        f.write("return redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2])\n")
        f.flush()
        out = subprocess.run(["redis-cli", "-p", str(c[0].port), "--eval", f.name, "key", ",", "a", "b"],
                             capture_output=True, text=True, timeout=20)
        eq(out.stdout.strip(), "OK", out.stderr)
        eq(c[0].call("GET", "key"), b"ab")


@test(quick=True, gyre=True)
def script_ring_any_node():
    """Scripts through any node, with keys of any slots; on the cluster port of one. Texts travel."""
    with Cluster(3) as ring:
        clients = [n.client() for n in ring]
        a, b, c = clients
        sha = hashlib.sha1(COUNT.encode()).hexdigest()
        eq(a("EVAL", COUNT, 1, "first", 1), 1)
        eq(error_of(b, "EVALSHA", sha, 1, "n", 1).code, "NOSCRIPT", "what EVAL brought is the node's")
        for i in range(60):
            key = "n%d" % (i % 20)
            eq(a("EVALSHA", sha, 1, key, 1), 3 * (i // 20) + 1)
            eq(b("EVAL", COUNT, 1, key, 1), 3 * (i // 20) + 2)
            eq(c("EVAL", COUNT, 1, key, 1), 3 * (i // 20) + 3)
        eq(b("EVALSHA", sha, 1, "sum", 1), 1, "an EVAL makes it known where it was sent, wherever it ran")
        eq(c("EVALSHA", sha, 1, "sum", -1), 0)
        # One text that wants other keys each time, of this slot and that, declared or not.
        any_of = "return redis.call(unpack(ARGV))"
        two = "local n = redis.call('INCR', KEYS[1]); return n + redis.call('INCR', ARGV[1])"
        for i in range(40):
            eq(a("EVAL", any_of, 0, "SET", "any%d" % i, i), "OK")
            eq(b("EVAL_RO", any_of, 0, "GET", "any%d" % i), b"%d" % i)
            eq(c("EVAL", any_of, 1, "any%d" % i, "GET", "any%d" % i), b"%d" % i)
            eq(c("EVAL", two, 1, "two", "{two}far" if i < 3 else "far%d" % i), 2 * (i + 1) if i < 3 else i + 2)
            # Nothing but the slot of its keys for a while, and then more.
            key = "own%d" % (i % 4)
            eq(b("EVAL", "if ARGV[1] ~= '' then return redis.call('GET', ARGV[1]) end return redis.call('INCR', KEYS[1])", 1, key, "any1" if i % 7 == 6 else ""),
               b"1" if i % 7 == 6 else sum(1 for k in range(i + 1) if k % 4 == i % 4 and k % 7 != 6))
        eq(a("EVAL", "#!lua flags=no-cluster\nreturn 1", 0), 1, "this port is one Redis")
        eq(error_of(ring[0].client(cluster=True), "EVAL", "#!lua flags=no-cluster\nreturn 1", 0).code, "ERR")
        eq(error_of(a, "BLMPOP", "0.01", 2, "a", "LEFT").code, "ERR")
        for r in clients:
            eq(r.pipeline([("GET", "n%d" % i) for i in range(20)]), [b"9"] * 20)
            eq(r.pipeline([("SET", "order:%d" % i, 1) for i in range(8)] + [("KEYS", "order:*")])[-1].__len__(), 8, "KEYS comes behind what was sent before it")
            r("DEL", *["order:%d" % i for i in range(8)])
            eq(r("EVAL", "return 1 + ARGV[1]", 0, 2), 3)
            eq(r("EVAL", "return 1", 2, "a", "b"), 1)
            eq(r("EVAL", "return redis.call('SET', KEYS[1], redis.call('INCR', KEYS[2]))", 2, "{t}a", "{t}b"), "OK")
            eq(r("EVAL", "return redis.call('GET', KEYS[1] .. 'a')", 1, "{t}"), r("GET", "{t}a"), "undeclared")
            eq(r("EVAL", "return redis.call('GET', 'n1')", 1, "{t}a"), b"9", "other slot")
            eq(r("EVAL", "return redis.call('GET', 'n1')", 0), b"9", "no keys")
            eq(r.pipeline([("MULTI",), ("EVAL", "return redis.call('GET', ARGV[1])", 1, "{t}a", "n1"), ("EXEC",)])[-1], [b"9"], "inside EXEC")
            r("MULTI")
            r("EVAL", COUNT, 1, "{t}b", 10)
            r("GET", "{t}b")
            got = r("EXEC")
            eq(got[1], b"%d" % got[0])
        # A script may run for longer than a node may be silent.
        t0 = time.monotonic()
        spin = "local n = 0 while n < tonumber(ARGV[1]) do n = n + 1 end return redis.call('INCR', KEYS[1])"
        eq(a("EVAL", spin, 1, "slow", 3000000), 1)
        took = time.monotonic() - t0
        for r in clients:
            eq(r("GET", "slow"), b"1")
        print("    a script of %.1f s" % took, flush=True)
        cluster = ring[0].client(cluster=True)
        eq(cluster("EVAL", COUNT, 1, "n1", 1), 10, "a cluster client")
        eq(error_of(cluster, "EVAL", "return 1", 2, "a", "b").code, "CROSSSLOT")
        ok("non local" in str(error_of(cluster, "EVAL", "return redis.call('GET', 'elsewhere')", 0)), "no keys")


@test(gyre=True)
def script_ring_kill():
    """A node is killed while scripts count: none acknowledged is lost, none counts twice."""
    with Cluster(3) as ring:
        names = ["c%d" % i for i in range(12)]
        acked, unknown = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
        lock, stop = threading.Lock(), threading.Event()

        def count(which, seed):
            node, r, i = ring[which], None, seed
            while not stop.is_set():
                key = names[i % len(names)]
                i += 1
                try:
                    r = r or node.client(timeout=5)
                    r("EVAL", COUNT, 1, key, 1)
                    with lock:
                        acked[key] += 1
                except ReplyError as e:
                    if "nothing was written" in str(e) or e.code not in ("NOQUORUM",):
                        time.sleep(0.02)
                        continue
                    with lock:
                        unknown[key] += 1
                except OSError:
                    with lock:
                        unknown[key] += 1
                    r = None
                    time.sleep(0.1)

        threads = [threading.Thread(target=count, args=(i % 3, 5 * i)) for i in range(6)]
        for t in threads:
            t.start()
        for victim in (1, 2):
            time.sleep(2)
            ring[victim].kill()
            time.sleep(2)
            ring[victim].start()
            ring[victim].wait_ready()
        time.sleep(1)
        stop.set()
        for t in threads:
            t.join()
        ring.wait_settled()
        wrong = []
        for key in names:
            values = {int(n.call("GET", key) or 0) for n in ring}
            if len(values) != 1 or not acked[key] <= min(values) <= acked[key] + unknown[key]:
                wrong.append((key, values, acked[key], unknown[key]))
        none(wrong, "counted twice, or lost")
        print("    %d acknowledged, %d unknown" % (sum(acked.values()), sum(unknown.values())), flush=True)


@test(quick=True, gyre=True)
def script_ring_undeclared_keys():
    """A script may find out only as it runs that it wants hundreds of keys; many such at once do not drive the clocks ahead."""
    with Cluster(3) as c:
        r = c[0].client(timeout=30)
        eq(r("EVAL", "for i=1,200 do redis.call('SET', '{k'..i..'}:x', i) end return redis.call('GET', '{k150}:x')", 0), b"150")
        eq(r("EVAL", "for i=1,300 do redis.call('SET', '{one}:'..i, i) end return redis.call('GET', '{one}:299')", 0), b"299")
        eq(c[1].client()("GET", "{k200}:x"), b"200")
        done, errors = [], []

        def push(node, end):
            with node.client(timeout=30) as of:
                while time.monotonic() < end:
                    try:
                        done.append(of("EVAL", "for i=1,20 do redis.call('RPUSH', '{u'..i..'}', 1) end", 0))
                    except ReplyError as e:
                        errors.append(e)
        end = time.monotonic() + 4
        threads = [threading.Thread(target=push, args=(c[i % 3], end)) for i in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
        ok(not errors, "%d errors, the first: %s" % (len(errors), errors[:1]))
        ok(len(done) >= 20, "%d scripts" % len(done))
        eq([r("LLEN", "{u%d}" % i) for i in (1, 20)], [len(done)] * 2)
        note("%d scripts of 20 undeclared keys in 4 s" % len(done))
