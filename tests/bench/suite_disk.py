"""What durable writes cost, and how long a node takes to be back."""
import os
import signal
import time

from cases import PLAIN, fill
from measure import ARGS, compare, interleave, load, say, table, with_servers
from peers import FAILURES, Gyre, Redis, ReplyError, has_server

AOF = {mode: ["--appendonly", "yes", "--appendfsync", mode] for mode in ("everysec", "always")}


def durable_servers(mode):
    return [Redis(args=AOF[mode])] + ([Gyre(persistence="yes", appendfsync=mode)] if has_server() else [])


def background(name):
    """Threads and children that tidy up: RocksDB's flushes and compactions, Redis' rewrites of its log."""
    return name.startswith("rocksdb") or name == "children"


def quiet(server, seconds=20):
    """Waits until what runs in the background has ended: under 3 % of a core over half a second."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        before = sum(server.cpu().values())
        time.sleep(0.5)
        if sum(server.cpu().values()) - before < 0.015:
            return
    say("    %s: still busy after %d s" % (server.label, seconds))


def whole_cost(server, depth, n):
    """n SETs over a million keys, with everything that they caused until the server is quiet again."""
    quiet(server)
    before = server.cpu()
    figures = load(server, PLAIN["SET"], depth=depth, n=n)
    quiet(server)
    spent = {k: v - before.get(k, 0) for k, v in server.cpu().items()}
    figures["with_background_us_per_op"] = 1e6 * sum(spent.values()) / n
    figures["without_us_per_op"] = 1e6 * sum(v for k, v in spent.items() if not background(k)) / n
    figures["threads"] = spent
    return figures


def everysec(depth=16):
    """{label: medians}; both kinds of CPU per SET. Tables are written out every few rounds only, so the
    figure with them is the mean of all rounds."""
    with_them = {}

    def cell(server):
        figures = whole_cost(server, depth, int((200_000 if depth == 1 else 2_000_000) * ARGS.secs))
        with_them.setdefault(server.label, []).append(figures["with_background_us_per_op"])
        return figures

    def job(servers):
        for s in servers:
            fill(s, "strings")
        return interleave(servers, cell, by="without_us_per_op")
    out = with_servers(durable_servers("everysec"), job)
    for label, each in with_them.items():
        out[label]["with_background_us_per_op"] = sum(each) / len(each)
    return out


def always(depths):
    """{case: {label: medians}}"""
    def job(servers):
        out = {}
        for s in servers:
            load(s, PLAIN["SET"], depth=100, n=ARGS.keys // 10, seq=True)
        for depth in depths:
            say("  durability: always P=%d" % depth)
            out["always SET P=%d" % depth] = interleave(servers, lambda s: load(s, PLAIN["SET"], depth=depth, secs=ARGS.secs), by="rps")
        return out
    return with_servers(durable_servers("always"), job)


def suite_durability():
    out = {"everysec": {}}
    for depth in ARGS.depths or (1, 16):
        say("  durability: everysec P=%d" % depth)
        out["everysec"]["everysec SET P=%d" % depth] = everysec(depth)
    rows = []
    for case, by in out["everysec"].items():
        for label, m in by.items():
            x = [m[k] / by["redis"][k] for k in ("with_background_us_per_op", "without_us_per_op")]
            rows.append([case, label, "%.3f" % m["with_background_us_per_op"], "%.2f" % x[0], "%.3f" % m["without_us_per_op"],
                         "%.2f" % x[1], "%.1f" % (m["rps"] / 1e3), "%.0f %%" % (100 * m["spread"])])
    table("CPU of all threads per SET; with: flushes, compactions and rewrites of the log counted",
          ["case", "server", "with us/op", "x Redis", "without us/op", "x Redis", "k ops/s", "spread"], rows)
    out["always"] = always(ARGS.depths or (1, 16))
    compare("Every SET synced before its answer", out["always"], "redis")
    return out


# ---- restart

def until_all(server, keys, seconds=120):
    """Starts it; returns the seconds until it holds all keys and answers for them."""
    began = time.monotonic()
    server.launch()
    while time.monotonic() < began + seconds:
        try:
            if server.ask("DBSIZE", timeout=5) == keys and server.ask("GET", "key:%012d" % (keys - 1), timeout=5):
                return time.monotonic() - began
        except (ReplyError,) + FAILURES:
            pass
        time.sleep(0.005)
    raise RuntimeError("%s: not all keys after %d s" % (server.label, seconds))


def disk_bytes(server):
    top = server.cluster.root if isinstance(server, Gyre) else server.dir
    return sum(os.path.getsize(os.path.join(d, f)) for d, _, files in os.walk(top) for f in files)


def restarts(server, keys, size=32):
    """One round: loaded afresh, killed and back, shut down and back."""
    server.wipe()
    until_all_started(server)
    load(server, PLAIN["SET"], depth=50, size=size, n=keys, seq=True)
    time.sleep(1.5)
    quiet(server)
    server.end(signal.SIGKILL)
    killed = until_all(server, keys)
    quiet(server)
    server.end()
    clean = until_all(server, keys)
    figures = {"killed_s": killed, "clean_s": clean, "cpu_s": sum(server.cpu().values()), "disk_bytes": disk_bytes(server)}
    server.end()
    return figures


def until_all_started(server):
    server.launch()
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            if server.ask("PING", timeout=5) == "PONG":
                return
        except (ReplyError,) + FAILURES:
            pass
        time.sleep(0.02)
    raise RuntimeError("%s does not answer" % server.label)


def restart():
    """{label: medians of killed_s, clean_s, cpu_s, disk_bytes}"""
    servers = durable_servers("everysec")
    for s in servers:
        if isinstance(s, Gyre):
            s.ports = [n.port for n in s.cluster]
    try:
        return interleave(servers, lambda s: say("  restart: " + s.label) or restarts(s, ARGS.keys), by="clean_s")
    finally:
        for s in servers:
            s.stop()


def suite_restart():
    out = restart()
    rows = [[label, "%.2f" % m["clean_s"], "%.2f" % (m["clean_s"] / out["redis"]["clean_s"]), "%.2f" % m["killed_s"],
             "%.2f" % (m["killed_s"] / out["redis"]["killed_s"]), "%.2f" % m["cpu_s"], "%.1f" % (m["disk_bytes"] / 2**20)]
            for label, m in out.items()]
    table("From the start of the process until all of %d keys of 32 B are read" % ARGS.keys,
          ["server", "after a clean end, s", "x Redis", "after kill -9, s", "x Redis", "CPU s", "disk MiB"], rows, left=1)
    return out
