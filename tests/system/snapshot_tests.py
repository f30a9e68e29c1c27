"""SAVE, BGSAVE and --import: RDB files that redis-server loads, and that it wrote."""
import os
import shutil
import subprocess
import tempfile
import time

from suite import *  # noqa: F401,F403


def log_of(node):
    with open(node.log, errors="replace") as f:
        return f.read()


def imported(node):
    """The line that tells how the import went, once it has ended."""
    wait_until("the import has ended", lambda: "stored," in log_of(node), 30)
    return [line for line in log_of(node).splitlines() if "stored," in line][-1]


def persistence(node):
    return text(node.call("INFO", "persistence"))


def redis_server(folder, port):
    """Debian's redis-server over a folder; ends with its client."""
    if not shutil.which("redis-server"):
        raise Skip("no redis-server")
    p = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--databases", "16"],
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def up():
        try:
            with Client(port) as c:
                return c("PING") == "PONG"
        except OSError:
            return False
    wait_until("redis-server answers", up, 20)
    return p


def fill(c):
    """Some of every type, in two databases; what is there, by a question of its own."""
    c("SET", "text", "x" * 300)
    c("SET", "number", "12345")
    c("SET", "binary", bytes(range(256)))
    c("SET", "soon", "gone", "PX", 1)
    c("SET", "later", "there", "PXAT", 4102444800000)
    for i in range(300):
        c("RPUSH", "list", "element %d" % i)
        c("HSET", "hash", "field%d" % i, "value%d" % i)
        c("SADD", "set", "member%d" % i)
        c("ZADD", "zset", i / 7, "member%d" % i)
    c("SADD", "ints", 1, 2, 3)
    c("XADD", "stream", "1-1", "a", "1", "b", "2")
    c("XADD", "stream", "2-1", "a", "3")
    c("XGROUP", "CREATE", "stream", "g", "0")
    c("XREADGROUP", "GROUP", "g", "me", "COUNT", "1", "STREAMS", "stream", ">")
    c("PFADD", "hll", *range(1000))
    c("INCRBY", "count", 7)
    c("SELECT", 5)
    c("SET", "other", "database")
    c("SELECT", 0)


def contents(c):
    out = {}
    out["strings"] = [c("GET", k) for k in ("text", "number", "binary", "soon", "later", "count")]
    out["at"] = c("PEXPIRETIME", "later")
    out["list"] = c("LRANGE", "list", 0, -1)
    out["hash"] = sorted(zip(*[iter(c("HGETALL", "hash"))] * 2))
    out["set"] = sorted(c("SMEMBERS", "set"))
    out["zset"] = c("ZRANGE", "zset", 0, -1, "WITHSCORES")
    out["ints"] = sorted(c("SMEMBERS", "ints"))
    out["stream"] = c("XRANGE", "stream", "-", "+")
    out["pending"] = c("XPENDING", "stream", "g")
    out["hll"] = c("PFCOUNT", "hll")
    out["keys"] = sorted(c("KEYS", "*"))
    c("SELECT", 5)
    out["other"] = [c("GET", "other"), c("DBSIZE")]
    c("SELECT", 0)
    return out


@test(quick=True)
def snapshot_to_redis_and_back():
    """What SAVE writes redis-server loads; what redis-server wrote --import takes, on one node and on a ring."""
    folder = tempfile.mkdtemp(prefix="gyre-rdb-")
    try:
        with Cluster(1, {"threads": 2}) as ring:
            with ring[0].client() as c:
                fill(c)
                time.sleep(0.01)
                before = contents(c)
                ok("rdb_changes_since_last_save:0\r" not in persistence(ring[0]), "all are new")
                eq(c("SAVE"), "OK")
                ok("rdb_changes_since_last_save:0\r" in persistence(ring[0]), "all are saved")
                c("SET", "more", "1"), c("SETBIT", "more", 0, 0), c("DEL", "more")
                ok("rdb_changes_since_last_save:2\r" in persistence(ring[0]), persistence(ring[0]))
                file = os.path.join(ring[0].data, "dump.rdb")
                ok(os.path.exists(file), "the file is there")
                shutil.copy(file, folder)
                ok(abs(c("LASTSAVE") - time.time()) < 10, "LASTSAVE")
                eq(c("BGSAVE"), "Background saving started")
                wait_until("BGSAVE has ended", lambda: "rdb_bgsave_in_progress:0" in persistence(ring[0]), 20)
                ok("rdb_last_bgsave_status:ok" in persistence(ring[0]), "it ended well")
                ok("rdb_saves:2" in persistence(ring[0]), "two snapshots")
                ok(not [f for f in os.listdir(ring[0].data) if f.startswith("temp-")], "nothing is left over")
                eq(error_of(c, "BGSAVE", "now").code, "ERR")
        port = free_ports(1)[0]
        p = redis_server(folder, port)
        try:
            with Client(port) as c:
                eq(contents(c), before)
                os.remove(os.path.join(folder, "dump.rdb"))
                eq(c("SAVE"), "OK")
        finally:
            p.terminate()
            p.wait(10)
        file = os.path.join(folder, "dump.rdb")
        for nodes in (1, 3):
            with Cluster(nodes, {"threads": 2}) as ring:
                ring[0].terminate()
                ring[0].start(["--import", file])
                ok("%d keys stored, 0 had expired, 0 failed" % (len(before["keys"]) + 1) in imported(ring[0]), imported(ring[0]))
                with ring[-1].client() as c:
                    eq(contents(c), before)
                # A restart would import again, over what was written since.
                eq(ring[0].call("CONFIG", "REWRITE"), "OK")
                with open(ring[0].config) as f:
                    ok("import" not in f.read(), "CONFIG REWRITE leaves it out")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@test(quick=True)
def snapshot_damaged():
    """A file that is cut short or changed ends the start with the reason; a folder that cannot be written to fails SAVE."""
    folder = tempfile.mkdtemp(prefix="gyre-rdb-")
    try:
        with Cluster(1) as ring:
            with ring[0].client() as c:
                c("SET", "a", "1")
                eq(c("SAVE"), "OK")
                file = os.path.join(ring[0].data, "dump.rdb")
                with open(file, "rb") as f:
                    whole = f.read()
                os.remove(file)
                os.mkdir(file)
                eq(error_of(c, "SAVE").code, "ERR")
                eq(c("GET", "a"), b"1")
                ok("rdb_last_bgsave_status:err" in persistence(ring[0]), "INFO tells")
        for damaged, why in ((whole[:-4], "checksum"), (whole[:20] + b"?" + whole[21:], "checksum"), (b"REDIS0099" + whole[9:], "version 99"),
                             (b"no file of this kind", "no RDB file")):
            path = os.path.join(folder, "damaged.rdb")
            with open(path, "wb") as f:
                f.write(damaged)
            ended = subprocess.run([server_path(), "--port", "0", "--dir", folder, "--persistence", "no", "--import", path],
                                   capture_output=True, timeout=60, text=True,
                                   env={k: v for k, v in os.environ.items() if not k.startswith("GYRE_")})
            ok(ended.returncode == 1 and why in ended.stdout + ended.stderr, "%s: %s" % (why, ended.stdout + ended.stderr))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
