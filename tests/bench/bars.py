"""The bars: what must hold against redis-server 7.0.15, measured in one run. `make bench-bars`

One shard, 50 connections, 3-byte values, 16-byte keys out of a million, persistence no, one node, unless
a row says otherwise; medians over the rounds (five), but bytes of keys and elements and instructions
once: they repeat to 1 %. Ratios are to what the peer did in the same interleaved rounds. A row that could
not be measured does not hold.
"""
import fnmatch
import statistics
import time
from dataclasses import dataclass

import instructions
import suite_disk
import suite_memory
import suite_node
import suite_ring
from cases import CASES
from measure import ARGS, ratio, say, table, with_servers
from peers import has_server, is_standin, lone_servers


@dataclass(frozen=True)
class Row:
    name: str               # for --rows
    case: str
    must: float
    aim: float
    against: str = "Redis"  # or "": the figure stands for itself
    unit: str = "x"
    most: bool = True       # the bar is the most that it may be; else the least
    key: object = None      # what its group needs to know

    def holds(self, value):
        return value is not None and (value <= self.must if self.most else value >= self.must)

    def show(self, value):
        if value is None:
            return "-"
        return ("%.2f x" if self.unit == "x" else "%.1f " + self.unit if value < 100 else "%.0f " + self.unit) % value


@dataclass
class Found:
    value: float
    note: str = ""          # the two figures behind it


# ---- groups: each gets its wanted rows, yields (row, Found)

def beside(m, r, key, form="%.3f", unit="us"):
    """Gyre's figure, the peer's, and how far Gyre's rounds are apart."""
    return Found(ratio(m, r, key), (form + " / " + form + " %s, spread %.0f / %.0f %%") % (m[key], r[key], unit, 100 * m["spread"], 100 * r["spread"]))


def commands(rows):
    for group in dict.fromkeys(CASES[r.key[0]].group for r in rows):
        mine = [r for r in rows if CASES[r.key[0]].group == group]
        wanted = [(name, depth, 3) for name, depth in (r.key for r in mine)]
        by_case = with_servers(lone_servers(), lambda servers: suite_node.run_cases(servers, wanted))
        for r in mine:
            by = by_case["%s 3 B P=%d" % r.key]
            yield r, beside(by["gyre"], by["redis"], "server_us_per_op")


def counted(rows):
    out = instructions.count([r.key for r in rows])
    for r in rows:
        yield r, Found(out["gyre"][r.key], "Redis %.0f" % out["redis"][r.key])


def string_bytes(rows):
    for size in dict.fromkeys(r.key[0] for r in rows):
        ring = any(r.key == (size, True) for r in rows)
        by = suite_memory.strings([size], ring)["%d B" % size]
        for r in rows:
            if r.key[0] == size:
                yield r, Found(by["gyre, node of a ring" if r.key[1] else "gyre"]["bytes"], "Redis %.1f" % by["redis"]["bytes"])


def collection_bytes(rows):
    yield from against_redis(rows, suite_memory.collections)


def element_bytes(rows):
    yield from against_redis(rows, suite_memory.large)


def against_redis(rows, figures):
    for r in rows:
        by = figures([r.key])[r.key]
        gyre, redis = by["gyre"]["bytes"], by["redis"]["bytes"]
        yield r, Found(gyre / redis if r.unit == "x" else gyre, "%.1f / %.1f B" % (gyre, redis))


def everysec(rows):
    by = suite_disk.everysec(16)
    for r in rows:
        yield r, beside(by["gyre"], by["redis"], r.key)


def always(rows):
    by_case = suite_disk.always([r.key for r in rows])
    for r in rows:
        by = by_case["always SET P=%d" % r.key]
        yield r, beside(by["gyre"], by["redis"], "rps", "%.0f", "ops/s")


def restart(rows):
    by = suite_disk.restart()
    for r in rows:
        yield r, Found(by["gyre"]["clean_s"] / by["redis"]["clean_s"], "%.2f / %.2f s; after kill -9 %.2f / %.2f s" % (
            by["gyre"]["clean_s"], by["redis"]["clean_s"], by["gyre"]["killed_s"], by["redis"]["killed_s"]))


def quorum(rows):
    by_case = suite_ring.ring_cases(("SET",), [r.key for r in rows], "quorum")
    for r in rows:
        by = by_case["SET QUORUM P=%d" % r.key]
        found = beside(by[suite_ring.SMART], by[suite_ring.CLUSTER], "server_us_per_op")
        found.note += "; through any node %.2f x" % ratio(by[suite_ring.ANY], by[suite_ring.CLUSTER], "server_us_per_op")
        yield r, found


def proxied(rows):
    by_case = suite_ring.ring_cases(("GET",), [r.key for r in rows], "one", which=(suite_ring.ANY,))
    for r in rows:
        by = by_case["GET ONE P=%d" % r.key]
        yield r, beside(by[suite_ring.ANY], by[suite_ring.CLUSTER], "server_us_per_op")


def idle(rows):
    by = suite_node.idle_figures(ARGS.rounds)
    for r in rows:
        yield r, Found(statistics.median(by["gyre"]), "Redis %.0f" % statistics.median(by["redis"]))


def turns(rows):
    for r in rows:
        each = [say("  turns: " + r.name) or r.key() for _ in range(ARGS.rounds)]
        yield r, Found(statistics.median(each), "largest %.2f ms" % max(each))


def command_rows(names, depth, must, aim):
    return [Row("%s-%d" % (n.split("(")[0].lower(), depth), "%s CPU/op, pipeline %d" % (n, depth), must, aim, key=(n, depth)) for n in names]


def memory_rows():
    out = []
    for size, must, aim in ((8, 64, 56), (32, 92, 80), (1024, 1150, 1110)):
        for ring, more in ((False, 0), (True, 12)):
            out.append(Row("memory-%d%s" % (size, "-ring" if ring else ""), "bytes per key, %d B value%s" % (size, ", node of a ring" if ring else ""),
                           must + more, aim + more, "", "B", key=(size, ring)))
    return out


def named(kind, text, names, must, aim, **more):
    return [Row("%s-%s" % (kind, n.replace(" of ", "-").replace(" B", "B").replace(" ", "-")), text % n, must, aim, key=n, **more) for n in names]


GROUPS = [
    (commands, command_rows(("GET", "SET"), 1, .92, .80) + command_rows(("GET", "SET"), 16, .60, .45) + command_rows(("GET", "SET"), 100, .45, .30) +
     command_rows(("INCR", "HSET", "HGET", "SADD", "LPUSH", "LPOP"), 16, .75, .55) +
     command_rows(("ZADD", "ZRANGE", "LRANGE(100)"), 16, .75, .50) + command_rows(("MSET(10)", "MGET(10)"), 1, .70, .55)),
    (counted, [Row("instructions-get", "user instructions per GET, pipeline 16", 1200, 700, "", "", key="GET"),
               Row("instructions-set", "user instructions per SET, pipeline 16", 1500, 900, "", "", key="SET")]),
    (string_bytes, memory_rows()),
    (collection_bytes, named("ten", "ten elements, %s: bytes", ("hash", "list", "set of words"), 1.0, .8) +
     named("ten", "ten elements, %s: bytes", ("sorted set", "set of integers"), 1.4, 1.1)),
    (element_bytes, named("million", "a million elements, %s: bytes each", ("hash", "set of words", "sorted set"), .9, .7) +
     named("million", "a million elements, %s: bytes each", ("list of 3 B",), 14, 9, against="", unit="B") +
     named("million", "a million elements, %s: bytes each", ("list of 16 B",), 28, 22, against="", unit="B")),
    (everysec, [Row("everysec-all", "everysec SET CPU/op, pipeline 16, flushes and compactions counted", 1.2, 1.0, "Redis AOF", key="with_background_us_per_op"),
                Row("everysec", "everysec SET CPU/op, pipeline 16, without them", .8, .6, "Redis AOF", key="without_us_per_op")]),
    (always, [Row("always-%d" % p, "always SET throughput, pipeline %d" % p, 1.0, 1.5, "Redis AOF", most=False, key=p) for p in (1, 16)]),
    (restart, [Row("restart", "restart after a clean end, 1 M keys of 32 B", 1.0, .6, "Redis AOF")]),
    (quorum, [Row("quorum-1", "quorum SET, three copies, CPU/op of all processes, pipeline 1", 1.0, .8, "Redis Cluster + 2", key=1),
              Row("quorum-16", "quorum SET, three copies, CPU/op of all processes, pipeline 16", .8, .5, "Redis Cluster + 2", key=16)]),
    (proxied, [Row("proxied-16", "GET through nodes that proxy two of three keys, pipeline 16", 1.5, 1.2, "Redis Cluster", key=16)]),
    (idle, [Row("idle", "bytes per idle connection", 3700, 2000, "", "B")]),
    (turns, [Row("turn-grow", "longest turn, CPU time, table grows to 10 M keys", 5, 1, "", "ms", key=suite_memory.turn_growing),
             Row("turn-compact", "longest turn, CPU time, RocksDB compacts", 5, 1, "", "ms", key=suite_memory.turn_compacting)]),
]


def chosen(patterns):
    """[(group, rows)] whose names match: a whole name, a pattern as of a shell, else a part of a name."""
    names = {r.name for _, rows in GROUPS for r in rows}

    def wanted(row):
        return not patterns or any(row.name == p or fnmatch.fnmatch(row.name, p) or p not in names and p in row.name for p in patterns)
    out = [(group, [r for r in rows if wanted(r)]) for group, rows in GROUPS]
    out = [(group, rows) for group, rows in out if rows]
    if not out:
        raise SystemExit("no row matches; there are: " + " ".join(r.name for _, rows in GROUPS for r in rows))
    return out


def line(row, found):
    value = found.value if found else None
    return [row.name, row.case, row.against, row.show(value), ("<= " if row.most else ">= ") + row.show(row.must).strip(), row.show(row.aim).strip(),
            "yes" if row.holds(value) else "NO", found.note if found else "not measured"]


def run(patterns):
    """Prints the table; returns {row: its bar, what was measured, whether it holds}."""
    if not has_server() or is_standin():
        raise SystemExit("the bars need bin/gyre-server")
    found, end = {}, time.monotonic() + 60 * ARGS.minutes
    for group, rows in chosen(patterns):
        began = time.monotonic()
        say("bars: " + " ".join(r.name for r in rows))
        if began > end:
            say("    not measured: %g minutes are over" % ARGS.minutes)
            continue
        try:
            for row, figures in group(rows):
                found[row.name] = figures
                say("    %s: %s (bar %s)" % (row.name, row.show(figures.value), row.show(row.must)))
        except (RuntimeError, TimeoutError, OSError, KeyError) as e:
            say("    failed: %r" % e)
        say("    %.0f s" % (time.monotonic() - began))
    wanted = [r for _, rows in chosen(patterns) for r in rows]
    table("The bars: medians of %d rounds (bytes and instructions once); x is Gyre / peer" % ARGS.rounds,
          ["row", "case", "against", "measured", "must hold", "aim", "holds", "behind it"],
          [line(r, found.get(r.name)) for r in wanted], left=3)
    held = sum(r.holds(found[r.name].value) for r in wanted if r.name in found)
    print("\n%d of %d rows hold" % (held, len(wanted)))
    return {r.name: dict(case=r.case, must=r.must, aim=r.aim, value=found[r.name].value if r.name in found else None,
                         holds=r.name in found and r.holds(found[r.name].value), note=found[r.name].note if r.name in found else "") for r in wanted}
