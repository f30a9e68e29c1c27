"""MIGRATE: keys go to Redis or to Gyre and leave here, one by one, without keeping anybody waiting."""
import socket
import tempfile
import threading
import time

from snapshot_tests import contents, fill, redis_server
from suite import *  # noqa: F401,F403


class Redis:
    """Debian's redis-server in a folder of its own."""

    def __enter__(self):
        self.port = free_ports(1)[0]
        self.folder = tempfile.TemporaryDirectory(prefix="gyre-migrate-")
        self.process = redis_server(self.folder.name, self.port)
        return self

    def client(self):
        return Client(self.port)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)
        self.folder.cleanup()


def timeless(c):
    """contents() but for when a key expires, which a relative expiry moves by milliseconds."""
    out = contents(c)
    ok(abs(out.pop("at") - 4102444800000) < 60000, "the expiry goes with it")
    return out


def all_of(c):
    return sorted(c("KEYS", "*"))


@test(quick=True)
def migrate_to_redis_and_back():
    """Every type goes from Gyre to Redis and back, values and expiries whole; nothing is left behind."""
    with Redis() as redis:
        for threads in (1, 4):
            with Cluster(1, {"threads": threads}) as ring:
                with ring[0].client(60) as c, redis.client() as r:
                    fill(c)
                    time.sleep(0.01)
                    before = timeless(c)
                    keys = all_of(c)
                    eq(c("MIGRATE", "127.0.0.1", redis.port, "", 0, 5000, "KEYS", *keys), "OK")
                    eq(all_of(c), [])
                    c("SELECT", 5)
                    eq(c("MIGRATE", "localhost", redis.port, "other", 5, 5000), "OK")
                    c("SELECT", 0)
                    eq(timeless(r), before)
                    # Redis sends them back.
                    eq(r("MIGRATE", "127.0.0.1", ring[0].port, "", 0, 20000, "KEYS", *keys), "OK")
                    r("SELECT", 5)
                    eq(r("MIGRATE", "127.0.0.1", ring[0].port, "other", 5, 20000), "OK")
                    r("SELECT", 0)
                    eq(timeless(c), before)
                    eq(all_of(r), [])
                    stats = dict(x.split(":", 1) for x in text(c("INFO", "stats")).splitlines() if ":" in x)
                    eq(stats["migrated_keys"], str(len(keys) + 1))


@test(quick=True)
def migrate_options():
    """NOKEY, COPY, REPLACE, AUTH, AUTH2, databases; Redis' error texts."""
    with Cluster(1, {"threads": 2}) as ring, Cluster(1, {"threads": 2, "requirepass": "secret", "databases": 4}) as other:
        with ring[0].client() as c, other[0].client() as o:
            here = ("MIGRATE", "127.0.0.1", other[0].port)
            eq(o("AUTH", "secret"), "OK")
            eq(c(*here, "absent", 0, 1000), "NOKEY")
            eq(c(*here, "", 0, 1000, "KEYS", "absent", "too"), "NOKEY")
            c("SET", "k", "1")
            eq(str(error_of(c, *here, "k", 0, 1000)), "ERR Target instance replied with error: NOAUTH Authentication required.")
            eq(c("GET", "k"), b"1")
            eq(error_of(c, *here, "k", 0, 1000, "AUTH", "wrong").code, "ERR")
            eq(c(*here, "k", 1, 1000, "COPY", "AUTH", "secret"), "OK")
            eq(c("GET", "k"), b"1")
            o("SELECT", 1)
            eq(o("GET", "k"), b"1")
            c("SET", "k", "2")
            eq(str(error_of(c, *here, "k", 1, 1000, "AUTH", "secret")),
               "ERR Target instance replied with error: BUSYKEY Target key name already exists.")
            eq(c("GET", "k"), b"2")
            eq(c(*here, "k", 1, 1000, "REPLACE", "AUTH2", "default", "secret"), "OK")
            eq((c("GET", "k"), o("GET", "k")), (None, b"2"))
            # One of several is refused: the others go.
            c("MSET", "a", "1", "b", "2", "k", "3")
            eq(error_of(c, *here, "", 1, 1000, "AUTH", "secret", "KEYS", "a", "k", "b", "absent").code, "ERR")
            eq(all_of(c), [b"k"])
            eq(all_of(o), [b"a", b"b", b"k"])
            # A database that is not there: nothing is sent.
            eq(str(error_of(c, *here, "k", 9, 1000, "AUTH", "secret")), "ERR Target instance replied with error: ERR DB index is out of range")
            eq(c("GET", "k"), b"3")
            c("SET", "soon", "x", "PX", 50000)
            eq(c(*here, "soon", 1, 1000, "AUTH", "secret"), "OK")
            ok(40000 < o("PTTL", "soon") <= 50000, "the expiry goes with it")
            eq(str(error_of(c, *here, "k", 0, 1000, "KEYS", "a")),
               "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string")
            eq(str(error_of(c, *here, "k", 0, 1000, "AUTH")), "ERR syntax error")
            eq(str(error_of(c, *here, "k", "x", 1000)), "ERR value is not an integer or out of range")
            eq(str(error_of(c, *here, "k", 0, "x")), "ERR value is not an integer or out of range")
            eq(error_of(c, "MIGRATE", "127.0.0.1", free_ports(1)[0], "k", 0, 1000).code, "IOERR")
            eq(error_of(c, "MIGRATE", "no.such.host.invalid", 1, "k", 0, 1000).code, "IOERR")
            eq(c("MULTI"), "OK")
            eq(c(*here, "k", 0, 1000), "QUEUED")
            ok(isinstance(c("EXEC")[0], ReplyError), "not in a transaction")
            eq(c("GET", "k"), b"3")
            # Who may not remove a key may not send it away.
            eq(c("ACL", "SETUSER", "u", "on", "nopass", "~mine:*", "+@all"), "OK")
        with ring[0].client() as c:
            eq(c("AUTH", "u", "x"), "OK")
            eq(error_of(c, *here, "k", 0, 1000, "AUTH", "secret").code, "NOPERM")
            eq(error_of(c, *here, "", 0, 1000, "AUTH", "secret", "KEYS", "mine:1", "k").code, "NOPERM")
            eq(c(*here, "", 0, 1000, "AUTH", "secret", "KEYS", "mine:1"), "NOKEY")


class Mute:
    """A server that takes connections and says what it is told, once asked."""

    def __init__(self, replies=b""):
        self.port, self.replies, self.got = free_ports(1)[0], replies, b""
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.go = threading.Event()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        s, _ = self.listener.accept()
        self.got = s.recv(65536)
        s.sendall(b"+OK\r\n")           # of SELECT
        s.settimeout(0.05)
        while not self.go.is_set():      # what it is sent may come in pieces
            try:
                more = s.recv(1 << 20)
            except TimeoutError:
                continue
            self.got += more
            if not more:
                self.go.wait(30)
        s.settimeout(10)
        s.sendall(self.replies)
        time.sleep(1)
        s.close()


@test(quick=True)
def migrate_waits_alone():
    """While a target hangs others are served; after the time-out the key is still here. A key that changes meanwhile stays."""
    with Cluster(1, {"threads": 2}) as ring:
        with ring[0].client(30) as c, ring[0].client() as d:
            mute = Mute()
            c("SET", "k", "1")
            began = time.monotonic()
            c.send("MIGRATE", "127.0.0.1", mute.port, "k", 0, 1500)
            c.send("ECHO", "behind it")
            for i in range(100):
                eq(d("SET", "other", i), "OK")
            ok(time.monotonic() - began < 1.4 or SLOW > 1, "others are not kept waiting")
            eq(str(c.read()), "IOERR error or timeout reading to target instance")
            ok(1.3 < time.monotonic() - began, "not before its time")
            eq(c.read(), b"behind it")
            eq(d("GET", "k"), b"1")

            mute = Mute(b"+OK\r\n")
            c.send("MIGRATE", "127.0.0.1", mute.port, "k", 0, 20000)
            wait_until("the key has been sent", lambda: b"RESTORE" in mute.got, 10)
            eq(d("APPEND", "k", "2"), 2)
            mute.go.set()
            error = str(c.read())
            ok("was changed while it was copied" in error, error)
            eq(d("GET", "k"), b"12")

            mute = Mute(b"+OK\r\n+OK\r\n")
            c.send("MIGRATE", "127.0.0.1", mute.port, "", 0, 20000, "KEYS", "k", "other")
            wait_until("the keys have been sent", lambda: mute.got.count(b"RESTORE") == 2, 10)
            eq(d("EXISTS", "k", "other"), 2, "until the other side has them they stay")
            mute.go.set()
            eq(c.read(), "OK")
            eq(d("EXISTS", "k", "other"), 0)
            # A client that goes leaves what was begun to its end.
            c("SET", "left", "x")
            mute = Mute(b"+OK\r\n")
            c.send("MIGRATE", "127.0.0.1", mute.port, "left", 0, 20000)
            wait_until("the key has been sent", lambda: b"RESTORE" in mute.got, 10)
            c.sock.close()
            mute.go.set()
            wait_until("it is gone", lambda: d("EXISTS", "left") == 0, 10)


@test(quick=True)
def migrate_from_a_ring():
    """A ring sends keys of many slots, through any node, to a node that is alone, and takes them back; large values too."""
    with Cluster(3, {"threads": 2}) as ring, Cluster(1, {"threads": 2}) as other:
        with ring[1].client(60) as c, other[0].client(60) as o:
            keys = ["k%d" % i for i in range(500)]
            c.pipeline([("SET", k, k * 10) for k in keys])
            c("SET", "large", b"x" * (4 << 20))
            eq(c("MIGRATE", "127.0.0.1", other[0].port, "", 0, 10000, "KEYS", "large", *keys), "OK")
            eq(c("DBSIZE"), 0)
            eq(o("DBSIZE"), 501)
            eq(o("STRLEN", "large"), 4 << 20)
            eq(o("MIGRATE", "127.0.0.1", ring[2].port, "", 0, 10000, "KEYS", "large", *keys), "OK")
            eq(o("DBSIZE"), 0)
            eq(c("DBSIZE"), 501)
            eq([text(v) for v in c("MGET", *keys)], [k * 10 for k in keys])
