"""How the suites measure: the load generator, interleaved rounds, medians and tables."""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CACHE = os.path.join(ROOT, ".cache")

# What the command line says; `run` fills it.
ARGS = argparse.Namespace(rounds=3, secs=1.0, keys=1_000_000, conns=50, threads=1, server_cpu="0", client_cpu="1",
                          depths=None, sizes=None, commands=None, peer=[], loadgen=None)


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def build_loadgen():
    """Compiles loadgen.cpp into .cache when it is not there or older than its sources."""
    sources = [os.path.join(HERE, name) for name in ("loadgen.cpp", "loadgen.h")]
    program = os.path.join(CACHE, "loadgen")
    os.makedirs(CACHE, exist_ok=True)
    if not os.path.exists(program) or any(os.path.getmtime(program) < os.path.getmtime(s) for s in sources):
        new = "%s.%d" % (program, os.getpid())
        subprocess.run([os.environ.get("CXX", "g++"), "-O2", "-std=c++20", "-o", new, sources[0]], check=True, timeout=300)
        os.rename(new, program)
    return program


def slots_of(server):
    """A file with CLUSTER SLOTS as the generator's --slots: every slot by its primary."""
    if not getattr(server, "slots", None):
        server.slots = tempfile.NamedTemporaryFile("w", prefix="gyre-bench-slots-")
        for low, high, primary, *_ in server.ask("CLUSTER", "SLOTS"):
            server.slots.write("%d-%d=%d\n" % (low, high, server.ports.index(primary[1])))
        server.slots.flush()
    return server.slots.name


def load_words(server, command, depth=1, size=3, secs=None, n=0, seq=False, keys=None, conns=None, **more):
    """The generator's command line. more: further options by name (zipf=0.99, idle=100, stay=True)."""
    secs = ARGS.secs if secs is None else secs
    words = ["taskset", "-c", ARGS.client_cpu, ARGS.loadgen, "--ports", ",".join(map(str, server.ports)),
             "-c", conns or ARGS.conns, "-P", depth, "-d", size, "-r", keys or ARGS.keys,
             "--secs", secs, "--warm", min(0.2, secs / 5), "--seed", time.time_ns() % 100000]
    if server.pids:
        words += ["--pids", ",".join(map(str, server.pids))]
    if n:
        words += ["-n", int(n)]
    if seq:
        words += ["--seq"]
    elif server.smart:
        words += ["--slots", slots_of(server)]
    for name, value in more.items():
        words += ["--" + name] + ([] if value is True else [value])
    return list(map(str, words)) + ["--"] + command.split()


def load(server, command, **how):
    """Runs the generator to its end; returns its figures. An error reply is a RuntimeError."""
    done = subprocess.run(load_words(server, command, **how), capture_output=True, text=True, timeout=700)
    if done.returncode:
        raise RuntimeError("%s: %s" % (server.label, done.stderr.strip()))
    figures = json.loads(done.stdout)
    if not figures["ops"]:
        raise RuntimeError("%s: no reply in %.1f s" % (server.label, figures["secs"]))
    if figures["errors"]:
        raise RuntimeError("%s: %d errors, first: %s" % (server.label, figures["errors"], figures["first_error"]))
    return figures


def medians(rows, by="server_us_per_op"):
    """The median of each figure over the rounds; spread: the largest over the smallest of `by`, less one."""
    out = {k: statistics.median(r[k] for r in rows) for k in rows[0] if isinstance(rows[0][k], (int, float))}
    if by in rows[0]:
        all_of = [r[by] for r in rows]
        out["spread"] = max(all_of) / max(1e-9, min(all_of)) - 1
        out["each"] = all_of
    out["rounds"] = len(rows)
    return out


def interleave(servers, cell, before=None, by="server_us_per_op"):
    """A B, B A, ...: cell(server) for every server in every round. A round that failed is left out and named."""
    rows = {s.label: [] for s in servers}
    for k in range(ARGS.rounds):
        at = k % len(servers)
        for s in servers[at:] + servers[:at]:
            try:
                if before:
                    before(s)
                rows[s.label].append(cell(s))
            except RuntimeError as e:
                say("   ", e)
    return {label: medians(r, by) for label, r in rows.items() if r}


def with_servers(servers, job):
    """Starts all, runs job(servers), and ends what was started, whatever happens."""
    started = []
    try:
        for s in servers:
            started.append(s)
            s.start()
        return job(servers)
    finally:
        for s in started:
            s.stop()


def table(title, head, rows, left=2):
    every = [head] + rows
    wide = [max(len(str(r[i])) for r in every) for i in range(len(head))]
    print("\n%s\n" % title)
    for k, r in enumerate(every):
        print("| " + " | ".join(str(c).ljust(w) if i < left else str(c).rjust(w) for i, (c, w) in enumerate(zip(r, wide))) + " |")
        if k == 0:
            print("|" + "|".join("-" * (w + 2) for w in wide) + "|")
    sys.stdout.flush()


def ratio(m, reference, key):
    return m[key] / reference[key] if reference and reference.get(key) else None


def compare(title, results, ref):
    """The table of a suite that ran the generator; ref: the label that the ratios are to."""
    rows = []
    for case, by in results.items():
        r = by.get(ref)
        for label, m in by.items():
            x = lambda key: "%.2f" % ratio(m, r, key) if ratio(m, r, key) is not None else ""
            known = m["server_busy"] > 0     # a given server of another machine's, or user's, has no CPU here
            rows.append([case, label, "%.3f" % m["server_us_per_op"] if known else "-", x("server_us_per_op") if known else "-",
                         "%.1f" % (m["rps"] / 1e3), x("rps"), "%.0f" % m["p50_us"], "%.0f" % m["p99_us"], "%.0f" % m["p999_us"],
                         "%.2f" % m["server_busy"], "%.2f" % m["client_busy"], "%.0f %%" % (100 * m["spread"])])
    table(title, ["case", "server", "CPU us/op", "x Redis", "k ops/s", "x Redis", "p50 us", "p99 us", "p99.9 us", "server busy",
                  "client busy", "spread"], rows)
