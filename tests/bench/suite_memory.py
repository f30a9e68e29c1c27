"""What is kept in memory: RSS grown over the empty server, by keys, collections or elements. And the
longest turn of the loop while a table grows and while the store compacts."""
import os
import time

from cases import PLAIN
from measure import ARGS, ROOT, load, say, table, with_servers
from peers import Given, Gyre, Redis, has_server, is_standin, wait_until

TEN = range(10)
# name: (command, size of the value, how many requests, units in each)
COLLECTIONS = {
    "hash": ("HSET key:__key__ " + " ".join("field%03d __data__" % i for i in TEN), 3, 100_000),
    "list": ("RPUSH key:__key__ " + " ".join("word%02d" % i for i in TEN), 0, 100_000),
    "set of words": ("SADD key:__key__ " + " ".join("word%02d" % i for i in TEN), 0, 100_000),
    "sorted set": ("ZADD key:__key__ " + " ".join("%d word%02d" % (i, i) for i in TEN), 0, 100_000),
    "set of integers": ("SADD key:__key__ " + " ".join(str(100_000 + 7 * i) for i in TEN), 0, 100_000),
}
LARGE = {
    "hash": ("HSET big field:__key__ __data__", 3),
    "set of words": ("SADD big member:__key__", 0),
    "sorted set": ("ZADD big __key__ member:__key__", 0),
    "list of 3 B": ("RPUSH big __data__", 3),
    "list of 16 B": ("RPUSH big __data__", 16),
}


def grown(server, command, size, n, depth=16):
    """Bytes by which the server's mean process has grown over n requests with the numbers 0 to n-1."""
    time.sleep(0.3)
    empty = server.rss()
    load(server, command, depth=depth, size=size, n=n, seq=True)
    time.sleep(1.5)      # let the growing of a table end
    if len(server.pids) > 1:
        server.cluster.wait_settled()
        time.sleep(1)
    return (sum(server.rss()) - sum(empty)) / len(server.pids)


def bytes_each(make, command, size, n, depth=16):
    """A server of its own for each figure: what an earlier case has freed would be used again."""
    server = make()
    figures = with_servers([server], lambda _: grown(server, command, size, n, depth))
    return figures / n


def kinds(ring=False):
    """What is compared: (label, how one is made)."""
    out = [("redis", Redis)]
    if has_server():
        out += [("gyre", Gyre)]
    if ring and has_server() and not is_standin():
        out += [("gyre, node of a ring", lambda: Gyre("gyre ring", 3))]
    return out


def strings(sizes, ring=True):
    out = {}
    for size in sizes:
        for label, make in kinds(ring):
            say("  memory: %d B, %s" % (size, label))
            out.setdefault("%d B" % size, {})[label] = {"bytes": bytes_each(make, PLAIN["SET"], size, ARGS.keys)}
    return out


def collections(names=None):
    out = {}
    for name in names or COLLECTIONS:
        command, size, n = COLLECTIONS[name]
        for label, make in kinds():
            say("  memory: ten elements, %s, %s" % (name, label))
            out.setdefault(name, {})[label] = {"bytes": bytes_each(make, command, size, min(n, ARGS.keys))}
    return out


def large(names=None):
    out = {}
    for name in names or LARGE:
        command, size = LARGE[name]
        for label, make in kinds():
            say("  memory: %d elements, %s, %s" % (ARGS.keys, name, label))
            out.setdefault(name, {})[label] = {"bytes": bytes_each(make, command, size, ARGS.keys)}
    return out


def show(title, unit, results):
    rows = []
    for case, by in results.items():
        for label, m in by.items():
            rows.append([case, label, "%.1f" % m["bytes"], "%.2f" % (m["bytes"] / by["redis"]["bytes"])])
    table(title, ["case", "server", "bytes/" + unit, "x Redis"], rows)


def suite_memory():
    out = {"strings": strings(ARGS.sizes or [8, 32, 64, 1024])}
    show("RSS by key, %d keys of 16 B with values of ..." % ARGS.keys, "key", out["strings"])
    out["collections"] = collections()
    show("RSS by collection of ten elements", "collection", out["collections"])
    out["large"] = large()
    show("RSS by element of one collection of %d" % ARGS.keys, "element", out["large"])
    return out


# ---- turns

def longest_turn(server, work):
    """The longest turn in CPU time of its thread, in milliseconds, over what work() does."""
    server.ask("CONFIG", "RESETSTAT")
    work()
    return int(server.info("shards")["loop_turn_cpu_us_max"]) / 1e3


def turn_growing(keys=10_000_000):
    """While a table grows to so many keys."""
    server = Gyre("gyre")
    return with_servers([server], lambda _: longest_turn(
        server, lambda: load(server, PLAIN["SET"], depth=16, n=keys, seq=True)))


def turn_compacting(secs=15.0):
    """While RocksDB flushes and compacts: SETs of 100 B over a million keys, until it has written out
    several times. Returns the milliseconds; a run in which nothing was compacted proves nothing and fails."""
    server = Gyre("gyre", persistence="yes", appendfsync="everysec")

    def job(_):
        load(server, PLAIN["SET"], depth=50, size=100, n=ARGS.keys, seq=True)
        turn = longest_turn(server, lambda: load(server, PLAIN["SET"], depth=16, size=100, secs=secs))
        background = sum(v for k, v in server.cpu().items() if k.startswith("rocksdb"))
        if background < 0.2:
            raise RuntimeError("RocksDB's threads have used %.2f s: nothing was compacted" % background)
        return turn
    return with_servers([server], job)


def suite_turns():
    import statistics
    keys = 10 * ARGS.keys
    out = {"grow": [], "compact": []}
    for _ in range(ARGS.rounds):
        say("  turns: growing to %d keys" % keys)
        out["grow"].append(turn_growing(keys))
        say("  turns: compacting")
        out["compact"].append(turn_compacting(15 * ARGS.secs))
    table("Longest turn of the loop, CPU time of its thread", ["while", "median ms", "largest ms"],
          [["the table grows to %d keys" % keys, "%.2f" % statistics.median(out["grow"]), "%.2f" % max(out["grow"])],
           ["RocksDB flushes and compacts", "%.2f" % statistics.median(out["compact"]), "%.2f" % max(out["compact"])]], left=1)
    return out
