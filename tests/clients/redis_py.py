"""redis-py against one port, or its RedisCluster: PROGRAM HOST PORT PREFIX [cluster]."""
import sys
import threading
import time

import redis
from redis.cluster import RedisCluster

import killed

HOST, PORT, NAME = sys.argv[1], int(sys.argv[2]), sys.argv[3]
PREFIX = "{" + NAME + "}:"
CLUSTER = sys.argv[4:] == ["cluster"]


def key(name):
    return PREFIX + name


def connection(r):
    assert r.ping()
    assert r.set(key("a"), b"\x00\xff binary") and r.get(key("a")) == b"\x00\xff binary"
    assert r.set(key("gone"), "1", px=20)
    time.sleep(0.1)
    assert r.get(key("gone")) is None
    assert CLUSTER or int(r.info()["tcp_port"]) > 0
    r.hset(key("h"), mapping={"f": "1", "g": "2"})
    assert r.hgetall(key("h")) == {b"f": b"1", b"g": b"2"}


def pipelining(r):
    p = r.pipeline(transaction=False)
    for i in range(1000):
        p.incr(key("n"))
    assert p.execute() == list(range(1, 1001))


def transactions(r):
    with r.pipeline() as p:
        p.watch(key("w"))
        p.multi()
        p.set(key("w"), "mine")
        p.incr(key("n"))
        assert p.execute()[0] is True
    with r.pipeline() as p:
        p.watch(key("w"))
        r.set(key("w"), "other")
        p.multi()
        p.set(key("w"), "lost")
        try:
            p.execute()
            raise AssertionError("WATCH did not see the change")
        except redis.WatchError:
            pass


def scripts(r):
    s = r.register_script("return {redis.call('INCRBY', KEYS[1], ARGV[1]), ARGV[1]}")
    assert s(keys=[key("s")], args=[5]) == [5, b"5"]
    assert s(keys=[key("s")], args=[5]) == [10, b"5"]


def pubsub(r):
    p = r.pubsub()
    p.subscribe(key("channel"))
    p.psubscribe(key("ch*"))
    for _ in range(2):
        assert p.get_message(timeout=5)["type"] in ("subscribe", "psubscribe")
    r.publish(key("channel"), "hello")
    got = {p.get_message(timeout=5)["type"] for _ in range(2)}
    assert got == {"message", "pmessage"}, got
    p.close()


def blocking(r):
    t = threading.Timer(0.2, lambda: r.rpush(key("queue"), "x"))
    t.start()
    assert r.blpop(key("queue"), timeout=10) == (key("queue").encode(), b"x")
    t.join()
    assert r.blpop(key("queue"), timeout=1) is None


def streams(r):
    for i in range(10):
        r.xadd(key("stream"), {"i": i})
    r.xgroup_create(key("stream"), "g", "0")
    got = r.xreadgroup("g", "c", {key("stream"): ">"}, count=4)[0][1]
    assert len(got) == 4
    assert r.xack(key("stream"), "g", *[i for i, _ in got]) == 4
    assert r.xpending(key("stream"), "g")["pending"] == 0
    assert r.xlen(key("stream")) == 10


def slots(r):
    for i in range(100):
        r.set("%s:%d" % (NAME, i), i)
    assert [int(r.get("%s:%d" % (NAME, i))) for i in range(100)] == list(range(100))
    p = r.pipeline()
    for i in range(100):
        p.incr("%s:%d" % (NAME, i))
    assert p.execute() == list(range(1, 101))
    assert r.mget_nonatomic(["%s:%d" % (NAME, i) for i in range(100)]) == [b"%d" % i for i in range(1, 101)]


def survived(r):
    """Writes of several kinds over all slots while the node dies, each acknowledged one read back."""
    unsure = {"n": [], "list": [], "other": []}
    began = []
    script = "return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])"

    def add(i):
        if killed.is_killed():
            began.append(i)
        killed.again(lambda: r.set("%s:k:%d" % (NAME, i), i), unsure["other"])
        killed.again(lambda: r.incr(NAME + ":n"), unsure["n"])
        killed.again(lambda: r.rpush("%s:list:%d" % (NAME, i % 16), i), unsure["list"])
        killed.again(lambda: r.eval(script, 1, NAME + ":h", i, i), unsure["other"])
    rounds = killed.until(300, 600, add)
    for i in range(rounds):
        assert int(killed.again(lambda: r.get("%s:k:%d" % (NAME, i)))) == i
    counted = int(killed.again(lambda: r.get(NAME + ":n")))
    pushed = [int(v) for i in range(16) for v in killed.again(lambda: r.lrange("%s:list:%d" % (NAME, i), 0, -1))]
    assert set(pushed) == set(range(rounds)), "pushes were lost"
    assert killed.again(lambda: r.hlen(NAME + ":h")) == rounds
    assert counted >= rounds, "%d were counted of %d" % (counted, rounds)
    if not CLUSTER:         # which sends again by itself
        assert counted <= rounds + len(unsure["n"]), "%d were counted of %d, %d unsure" % (counted, rounds, len(unsure["n"]))
        assert len(pushed) <= rounds + len(unsure["list"]), "%d were pushed of %d, %d unsure" % (len(pushed), rounds, len(unsure["list"]))
    return ": %d writes, %d after the kill, %d tried again" % (4 * rounds, 4 * (rounds - began[0]), sum(map(len, unsure.values())))


# The cluster client has no transactions.
CHECKS = [connection, pipelining, transactions, scripts, pubsub, blocking, streams]
if CLUSTER:
    CHECKS[2] = slots
if killed.KILLED:
    CHECKS.append(survived)
with (RedisCluster if CLUSTER else redis.Redis)(host=HOST, port=PORT, socket_timeout=20) as r:
    for check in CHECKS:
        print("ok %s%s" % (check.__name__, check(r) or ""), flush=True)
