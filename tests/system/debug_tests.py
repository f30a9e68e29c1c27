"""DEBUG: what tests ask of a server; Redis' own suite among them."""
import time

from snapshot_tests import contents, fill
from suite import *  # noqa: F401,F403

DEBUG = {"enable-debug-command": "yes"}


@test(quick=True)
def debug_reload():
    """RELOAD and LOADAOF empty the memory and load it from the store; what is there stays the same, and expires and changes on."""
    for threads in (1, 4):
        with Cluster(1, {"threads": threads, "enable-debug-command": "yes"}) as ring:
            with ring[0].client(30) as c, ring[0].client(30) as d:
                fill(c)
                wait_until("one has expired", lambda: c("EXISTS", "soon") == 0, 10)
                before, digest = contents(c), c("DEBUG", "DIGEST")
                values = c("DEBUG", "DIGEST-VALUE", "list", "hash", "absent")
                d.send("BLPOP", "queue", 0)
                for how in (("RELOAD",), ("LOADAOF",), ("RELOAD", "NOSAVE", "NOFLUSH", "MERGE")):
                    eq(c("DEBUG", *how), "OK")
                    eq(contents(c), before)
                    eq(c("DEBUG", "DIGEST"), digest)
                    eq(c("DEBUG", "DIGEST-VALUE", "list", "hash", "absent"), values)
                eq(values[2], b"0" * 40)
                eq(error_of(c, "DEBUG", "RELOAD", "what").code, "ERR")
                c("RPUSH", "queue", "x")
                eq(d.read(), [b"queue", b"x"], "who waited waits on")
                c("SET", "short", "1", "PX", 300)
                c("WATCH", "text")
                eq(c("DEBUG", "RELOAD"), "OK")
                ok(c("PTTL", "short") <= 300, "the expiry is there")
                wait_until("it expires", lambda: c("EXISTS", "short") == 0, 10)
                eq(c("APPEND", "text", "y"), 301)
                ok(c("DEBUG", "DIGEST") != digest, "another digest")
                c("DEL", "text")
                eq(c("DEBUG", "RELOAD"), "OK")
                eq(c("EXISTS", "text"), 0, "what was deleted stays away")
            ring[0].kill()
            ring[0].start()
            ring.wait_ready()
            eq(ring[0].call("LLEN", "list"), 300)
    with Cluster(1, {"persistence": "no", "enable-debug-command": "yes"}) as ring:
        with ring[0].client() as c:
            c("SET", "a", "1")
            ok("persistence" in str(error_of(c, "DEBUG", "RELOAD")), "it says why not")
            eq(c("GET", "a"), b"1")
    with Cluster(3, {"enable-debug-command": "yes"}) as ring:
        with ring[0].client() as c:
            ok("alone" in str(error_of(c, "DEBUG", "RELOAD")), "not on a ring")
            c("SET", "a", "1")
            eq(len(c("DEBUG", "DIGEST")), 40)


@test(quick=True)
def debug_small_ones():
    """POPULATE, OBJECT, STRINGMATCH-LEN, PAUSE-CRON, SET-DISABLE-DENY-SCRIPTS, CHANGE-REPL-ID."""
    with Cluster(1, {"threads": 2, "enable-debug-command": "yes"}) as ring:
        with ring[0].client(30) as c:
            eq(c("DEBUG", "DIGEST"), "0" * 40)
            eq(c("SET", "k:1", "mine"), "OK")
            eq(c("DEBUG", "POPULATE", 1000, "k", 100), "OK")
            eq(c("DBSIZE"), 1000)
            eq((c("STRLEN", "k:0"), c("GET", "k:1"), c("GETRANGE", "k:7", 0, 6)), (100, b"mine", b"value:7"))
            eq(c("DEBUG", "POPULATE", 3), "OK")
            eq(c("GET", "key:2"), b"value:2")
            eq(error_of(c, "DEBUG", "POPULATE", -1).code, "ERR")
            c("SET", "n", "12345")
            ok("encoding:int serializedlength:" in c("DEBUG", "OBJECT", "n"), c("DEBUG", "OBJECT", "n"))
            eq(str(error_of(c, "DEBUG", "OBJECT", "absent")), "ERR no such key")
            eq(c("DEBUG", "STRINGMATCH-LEN", 5, "a*a"), 1)
            eq(c("DEBUG", "STRINGMATCH-LEN", 5, "b*"), 0)
            eq(c("DEBUG", "CHANGE-REPL-ID"), "OK")
            eq(c("DEBUG", "PAUSE-CRON", 1), "OK")
            c("SET", "gone", "1", "PX", 1)
            time.sleep(0.5)
            expired = text(c("INFO", "stats"))
            ok("expired_keys:0\r\n" in expired, "nothing expires by itself")
            eq(c("EXISTS", "gone"), 0)
            eq(c("DEBUG", "PAUSE-CRON", 0), "OK")
            ok("not allowed from script" in str(error_of(c, "EVAL", "return redis.call('debug', 'protocol', 'integer')", 0)), "denied")
            eq(c("DEBUG", "SET-DISABLE-DENY-SCRIPTS", 1), "OK")
            eq(c("EVAL", "return redis.call('debug', 'protocol', 'integer')", 0), 12345)
            eq(c("DEBUG", "SET-DISABLE-DENY-SCRIPTS", 0), "OK")
            ok("not allowed from script" in str(error_of(c, "EVAL", "return redis.call('debug', 'protocol', 'integer')", 0)), "denied again")


def info(r, section):
    lines = text(r("INFO", section)).splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


@test(quick=True, gyre=True)
def debug_rewrite_and_memory():
    """BGREWRITEAOF compacts the store and loses nothing; MEMORY tells, and gives back."""
    with Cluster(1, options=DEBUG) as c:
        r = c[0].client()
        for i in range(20):
            r.pipeline([("SET", "k%d" % k, "%d " % i * 200) for k in range(500)])
        eq(r("BGREWRITEAOF"), "Background append only file rewriting started")
        wait_until("it is over", lambda: info(r, "persistence")["aof_rewrite_in_progress"] == "0", 30)
        told = info(r, "persistence")
        eq([told["aof_rewrites"], told["aof_last_bgrewrite_status"]], ["1", "ok"])
        c[0].kill()
        c[0].start()
        c.wait_ready()
        r = c[0].client()
        eq(r("DBSIZE"), 500)
        eq(r("GET", "k499"), b"19 " * 200)
        stats = as_map(r("MEMORY", "STATS"))
        eq(stats["keys.count"], 500)
        jemalloc = info(r, "memory")["mem_allocator"].startswith("jemalloc")    # not in sanitizer builds
        ok(stats["dataset.bytes"] > 500 * 600, stats)
        ok(stats["total.allocated"] > stats["dataset.bytes"] or not jemalloc, stats)
        ok("MB" in text(r("MEMORY", "DOCTOR")) or "memory" in text(r("MEMORY", "DOCTOR")), "words")
        if jemalloc:
            eq(r("MEMORY", "PURGE"), "OK")
            ok("jemalloc" in text(r("MEMORY", "MALLOC-STATS")), "the allocator's report")
    with Cluster(1, options={"persistence": "no"}) as c:
        eq(error_of(c[0].client(), "BGREWRITEAOF").code, "ERR")


@test(quick=True, gyre=True)
def debug_expiry_when_met():
    """Without the cycle what has expired goes when somebody comes upon it, but not while clients are paused."""
    with Cluster(1, options=dict(DEBUG, threads=1)) as c:
        r = c[0].client()
        eq(r("DEBUG", "SET-ACTIVE-EXPIRE", 0), "OK")
        time.sleep(0.3)
        for k in ("a", "b", "c"):
            eq(r("SET", k, "v", "PX", 1), "OK")
        time.sleep(0.3)
        eq(r("DBSIZE"), 3)
        eq(r("CLIENT", "PAUSE", 100000, "WRITE"), "OK")
        eq(r("MGET", "a", "b", "c"), [None] * 3)
        eq(r("DBSIZE"), 3, "paused")
        eq(r("CLIENT", "UNPAUSE"), "OK")
        eq(r("MGET", "a", "b", "c"), [None] * 3)
        eq(r("DBSIZE"), 0)
        eq(info(r, "stats")["expired_keys"], "3")
        eq(r("DEBUG", "SET-ACTIVE-EXPIRE", 1), "OK")
