"""Mixed faults for SOAK_SECONDS (600) from a plan that SOAK_SEED gives again: `make soak SEED=7`.

The plan is drawn before the first fault, printed to build/soak-SEED.log with what happened when, and depends on nothing but
the seed, the seconds and whether partitions can be made here. Faults that lose data on a node's disk (power cut, wiped)
begin only when the ring is equal, as two at once are two of three disks.
"""
import errno
import os
import random
import threading

import netns
from faults import *  # noqa: F401,F403
from load import Load
from replicas import all_keys
from suite import *  # noqa: F401,F403

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BULK = 100000


def plan(seed, seconds, nodes, partitions):
    """[(kind, node, other, seconds, amount)]"""
    rng, out, total = random.Random(seed), [], 0.0
    kinds = ["kill", "kill", "pause", "terminate", "full", "write-error", "sync-error", "slow-sync", "power-cut", "wipe", "kill-all", "clock", "clock-jumps"]
    kinds += ["isolate", "one-way", "between"] if partitions else []
    deck = []
    while total < seconds:
        if not deck:            # every kind comes once before any comes twice
            deck = kinds[:]
            rng.shuffle(deck)
        kind, node = deck.pop(), rng.randrange(nodes)
        other = rng.choice([i for i in range(nodes) if i != node])
        length = rng.choice((0.2, 1.0, 3.0, 6.0))
        out.append((kind, node, other, length, rng.choice((-1, 1)) * rng.choice((0.2, 0.7, 30, 300))))
        total += length + 3.0
    return out


class Churn(threading.Thread):
    """Overwrites, deletes and sets again a large set of small keys: what leaves tombstones and fragments behind."""

    def __init__(self, addresses, seed):
        super().__init__(daemon=True)
        self.addresses, self.rng, self.done, self.sent, self.held = addresses, random.Random(seed), False, 0, False
        self.start()

    def run(self):
        client = None
        while not self.done:
            if self.held:
                time.sleep(0.02)
                continue
            try:
                client = client or Client(self.rng.choice(self.addresses), timeout=5)
                commands = []
                for _ in range(50):
                    key = "bulk:%d" % self.rng.randrange(BULK)
                    commands.append(("DEL", key) if self.rng.random() < 0.3 else ("SET", key, "x" * self.rng.choice((20, 100, 300))))
                client.pipeline(commands)
                self.sent += len(commands)
            except OSError:
                client = None
            time.sleep(0.03)

    def finish(self):
        self.done = True
        self.join(15)


class Soak:
    def __init__(self, ring, net, log):
        self.ring, self.net, self.log_file, self.began = ring, net, log, time.monotonic()
        self.loads, self.counts, self.healed = [], {}, self.began

    def say(self, what):
        print("%8.2f %s" % (time.monotonic() - self.began, what), file=self.log_file, flush=True)

    def whole(self):
        """Waits until every node runs and all replicas are equal."""
        self.ring.wait_ready(90, settled=False)
        for load in self.loads:
            load.hold()
        self.churn.held = True
        time.sleep(0.2)
        seconds, _ = wait_equal(self.ring, FIVE * EQUAL_SECONDS, since=self.healed)
        self.say("equal %.1f s after the last fault" % seconds)
        for load in self.loads:
            load.go_on()
        self.churn.held = False

    def fault(self, kind, i, j, seconds, amount):
        ring, net = self.ring, self.net
        n, shim = ring[i], ring[i].shim
        rng = random.Random("%s %d %s" % (kind, i, amount))
        if kind in ("power-cut", "wipe", "kill-all"):
            self.whole()
            time.sleep(1.0)         # under load again, so that there is something not yet synced
        self.say("%s n%d (n%d) %.1f s %s" % (kind, i + 1, j + 1, seconds, amount if "clock" in kind else ""))
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if kind in ("kill", "terminate", "power-cut", "wipe"):
            n.terminate() if kind == "terminate" else n.kill()
            if kind == "power-cut":
                self.say("%d bytes cut off" % shim.power_cut(rng))
            if kind == "wipe":
                n.wipe()
            time.sleep(seconds)
            n.start()
        elif kind == "kill-all":
            for m in ring:
                m.signal(9)
            for m in ring:
                m.proc.wait(30)
                m.start()
        elif kind == "pause":
            n.stop()
            time.sleep(seconds)
            n.cont()
        elif kind in ("isolate", "one-way", "between"):
            if kind == "isolate":
                net.cut([i], [k for k in range(len(ring)) if k != i])
            elif kind == "between":
                net.cut([i], [j])
            else:
                net.one_way(i, j)
            time.sleep(seconds)
            net.heal()
        else:
            {"full": lambda: shim.space(rng.choice((0, 10001, 200001))), "write-error": lambda: shim.write_error(errno.EIO),
             "sync-error": lambda: shim.sync_error(errno.EIO), "slow-sync": lambda: shim.slow_sync(0.3),
             "clock": lambda: shim.clock(amount), "clock-jumps": lambda: shim.clock(amount)}[kind]()
            if kind == "clock-jumps":
                for k in range(int(seconds / 0.2)):
                    time.sleep(0.2)
                    shim.clock(amount if k % 2 else 0)
            else:
                time.sleep(seconds)
            shim.heal()
        self.healed = time.monotonic()
        dead = [m.name for m in ring if not m.alive()]
        ok(not dead, "died after %s: %s\n%s" % (kind, dead, "".join(ring[int(d[1:]) - 1].log_end() for d in dead)))


def copy_into(ring, keys, address):
    """The final keys, as a client would set them; what has an expiry keeps it."""
    with ring[0].client(timeout=60) as c:
        keys = sorted(keys)
        for at in range(0, len(keys), 2000):
            part = keys[at:at + 2000]
            types = [text(t) for t in c.pipeline([("TYPE", k) for k in part])]
            read = {"string": lambda k: ("GET", k), "hash": lambda k: ("HGETALL", k), "set": lambda k: ("SMEMBERS", k),
                    "list": lambda k: ("LRANGE", k, 0, -1), "zset": lambda k: ("ZRANGE", k, 0, -1, "WITHSCORES")}
            have = [(k, t) for k, t in zip(part, types) if t in read]
            out = []
            for (k, t), v in zip(have, c.pipeline([read[t](k) for k, t in have])):
                if t == "zset":
                    v = [x for pair in zip(v[1::2], v[::2]) for x in pair]
                word = {"string": "SET", "hash": "HSET", "set": "SADD", "list": "RPUSH", "zset": "ZADD"}[t]
                out += [(word, k, v)] if t == "string" else [(word, k) + tuple(v[i:i + 1000]) for i in range(0, len(v), 1000)]
            fill(address, out)


def empty_buffers(ring):
    """RocksDB's write buffers hold up to 64 MB of whatever came last: into its files with it."""
    before = [metric(n, "aof_rewrites") for n in ring]
    for n in ring:
        n.call("BGREWRITEAOF")
    wait_until("the stores are compacted", lambda: all(metric(n, "aof_rewrites") > b for n, b in zip(ring, before)), 60)


def memory(ring):
    return [metric(n, "used_memory") for n in ring], [metric(n, "used_memory_rss") for n in ring]


def compare_memory(ring, options):
    """used_memory within 5 %, process memory within 25 % of a fresh ring that loads the same keys. Purging gets a minute."""
    with Cluster(len(ring), options=options) as fresh:
        copy_into(ring, all_keys(ring), fresh[0].address)
        fresh.wait_settled(60)
        time.sleep(3)
        empty_buffers(fresh)
        empty_buffers(ring)
        # Every node holds every key; what a store keeps for itself differs by some per cent among fresh ones, too.
        ok(len(ring) == 3, "a node's share of the keys is not the same on all")
        used0, rss0 = ([sum(figures) / len(figures)] * len(figures) for figures in memory(fresh))
        end = time.monotonic() + 90
        while True:
            used, rss = memory(ring)
            share = [a / b - 1 for a, b in zip(used, used0)]
            if max(share) <= 0.05 or time.monotonic() > end:
                break
            time.sleep(2)
        growth = [a / b - 1 for a, b in zip(rss, rss0)]
        note("used_memory %s, rss %s against a fresh start (%.0f MB, %.0f MB)" % (
            ["%+.1f %%" % (100 * s) for s in share], ["%+.1f %%" % (100 * g) for g in growth], max(used0) / 1e6, max(rss0) / 1e6))
        if max(share) > 0.05 or max(growth) > 0.25:
            for name, n in (("old", ring[share.index(max(share))]), ("fresh", fresh[0]), ("grown", ring[growth.index(max(growth))])):
                with n.client() as c, open(os.path.join(ROOT, "build", "soak-memory-%s.txt" % name), "w") as out:
                    out.write(text(c("INFO", "everything")) + text(c("MEMORY", "MALLOC-STATS")))
        ok(max(share) <= 0.05, "used_memory over 5 %: build/soak-memory-*.txt")
        ok(max(growth) <= 0.25, "process memory over 25 %")


def soak(seconds, seed, with_memory=True):
    inside = bool(os.environ.get(netns.INSIDE))
    options = {"threads": 1}
    os.makedirs(os.path.join(ROOT, "build"), exist_ok=True)
    path = os.path.join("build", "soak-%d.log" % seed)
    note("seed %d, %s, log %s" % (seed, "with partitions" if inside else "no partitions here", path))
    steps = plan(seed, seconds, 3, inside)
    with open(os.path.join(ROOT, path), "w") as log:
        net = netns.Net(3) if inside else None
        with Cluster(3, options=options, shim=True, net=net) as ring:
            fill(ring[0].address, (("SET", "bulk:%d" % i, "x" * 100) for i in range(BULK)))
            run = Soak(ring, net, log)
            print("seed %d, %d s, %s" % (seed, seconds, "partitions" if inside else "no partitions"), file=log)
            for step in steps:
                print("plan %s n%d n%d %.1f s %s" % (step[0], step[1] + 1, step[2] + 1, step[3], step[4]), file=log)
            run.churn = Churn(ring.addresses, seed)
            run.loads = [Load(ring.addresses, workers=4, timeout=4, pause=0.01, seed=seed, name=b"r", roam=0.02, levels=("quorum", "quorum"))]
            try:
                for step in steps:
                    time.sleep(2)
                    if time.monotonic() - run.began > 1.5 * seconds:
                        run.say("the time is over")
                        break
                    run.fault(*step)
                    ring.wait_ready(90, settled=False)
                    none([p for load in run.loads for p in load.problems()], "wrong replies")
            finally:
                for load in run.loads:
                    load.finish()
                run.churn.finish()
                for line in [p for load in run.loads for p in load.problems()]:
                    run.say(line)
            ends_well(ring, *run.loads, since=run.healed)
            note("faults: " + ", ".join("%s %d" % kv for kv in sorted(run.counts.items())))
            run.say("ended well")
            if with_memory:
                compare_memory(ring, options)


@test(gyre=True, soak=True, netns="maybe", limit=2400)
def soak_mixed_faults():
    """Ten minutes of everything; equal replicas, and as much memory as a fresh start needs."""
    seed = int(os.environ.get("SOAK_SEED") or random.SystemRandom().randrange(100000))
    soak(float(os.environ.get("SOAK_SECONDS") or 600), seed)


@test(gyre=True, netns="maybe", limit=400)
def fault_mixed_minute():
    """A minute of the soak, a new seed each time."""
    soak(60, random.SystemRandom().randrange(100000), with_memory=False)
