"""redis-py against one port: PROGRAM HOST PORT PREFIX. Keys stand in one slot, so that a ring serves them too."""
import sys
import threading
import time

import redis

HOST, PORT, PREFIX = sys.argv[1], int(sys.argv[2]), "{" + sys.argv[3] + "}:"


def key(name):
    return PREFIX + name


def connection(r):
    assert r.ping()
    assert r.set(key("a"), b"\x00\xff binary") and r.get(key("a")) == b"\x00\xff binary"
    assert r.set(key("gone"), "1", px=20)
    time.sleep(0.1)
    assert r.get(key("gone")) is None
    assert int(r.info()["tcp_port"]) > 0
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
    t = threading.Timer(0.2, lambda: redis.Redis(HOST, PORT).rpush(key("queue"), "x"))
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


with redis.Redis(HOST, PORT, socket_timeout=20) as r:
    for check in (connection, pipelining, transactions, scripts, pubsub, blocking, streams):
        check(r)
        print("ok", check.__name__)
