"""Three nodes with three copies beside Redis Cluster, and what clients see when a node dies."""
import json
import subprocess
import time

from cases import PLAIN
from measure import ARGS, compare, interleave, load, load_words, say, table, with_servers
from peers import Gyre, Redis, has_server, is_standin

CLUSTER = "redis cluster 3x3"
ANY, SMART = "gyre, any node", "gyre, cluster-aware"


def rings(which, level):
    """Redis Cluster (three masters, two replicas each: answers before they have the write) and rings of Gyre
    that write and read at this level."""
    out = [Redis(CLUSTER, replicas=2)]
    if has_server() and not is_standin():
        out += [Gyre(label, 3, smart=label == SMART, write_consistency=level, read_consistency=level) for label in which]
    return out


def ring_keys():
    return min(ARGS.keys, 100_000)


def fill_ring(server):
    """Every key is there before the first count. With cluster-aware connections a fixed order is not to be had: random, long enough."""
    smart = server.smart and isinstance(server, Redis)
    if smart:
        load(server, PLAIN["SET"], depth=16, n=12 * ring_keys(), keys=ring_keys())
        return
    was, ports = server.smart, server.ports
    server.smart, server.ports = False, [n.port for n in server.cluster]
    load(server, PLAIN["SET"], depth=16, n=ring_keys(), seq=True)
    server.smart, server.ports = was, ports
    server.cluster.wait_settled()


def ring_cases(names, depths, level, which=(ANY, SMART)):
    """{case: {label: medians}}; CPU is summed over all processes."""
    def job(servers):
        out = {}
        for s in servers:
            fill_ring(s)
        for name in names:
            for depth in depths:
                case = "%s %s P=%d" % (name, level.upper(), depth)
                say("  ring: " + case)
                out[case] = interleave(servers, lambda s: load(s, PLAIN[name], depth=depth, keys=ring_keys()))
        return out
    return with_servers(rings(which, level), job)


def suite_ring():
    out = {}
    for level in ("quorum", "one"):
        out.update(ring_cases(("SET", "GET"), ARGS.depths or (1, 16), level))
    compare("Three nodes, three copies: %d keys; CPU summed over all processes. 'any node': two of three commands are forwarded. "
            "Redis Cluster has no levels" % ring_keys(), out, CLUSTER)
    return out


# ---- under failure

def with_a_death(server, secs, every=100.0):
    """Mixed load for 3 * secs; one node is killed after one third and back after two. The figures of each interval."""
    words = load_words(server, PLAIN["GET"] + " ++ " + PLAIN["SET"], depth=1, secs=3 * secs, keys=ring_keys(), share=70,
                       every=every, stay=True)
    p = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        time.sleep(secs)
        killed = time.monotonic()
        server.cluster[1].kill()
        time.sleep(secs)
        back = time.monotonic()
        server.cluster[1].start()
        out, err = p.communicate(timeout=3 * secs + 60)
    finally:
        if p.poll() is None:
            p.kill()
            p.wait(10)
    if p.returncode:
        raise RuntimeError("%s: %s" % (server.label, err.strip()))
    figures = json.loads(out)
    figures["killed_ms"] = 1e3 * killed - figures["from_ns"] / 1e6
    figures["back_ms"] = 1e3 * back - figures["from_ns"] / 1e6
    return figures


def phases(f):
    """Throughput, p99 and errors before, while and after the node was away; how long throughput was under half."""
    every = f["every_ms"]
    whole = f["series"][:-1]         # the last interval is not full
    at = [int(f[k] / every) + 1 for k in ("killed_ms", "back_ms")]
    parts = {"before": whole[:at[0] - 1], "one node of three dead": whole[at[0] - 1:at[1] - 1], "back": whole[at[1] - 1:]}
    normal = sorted(s[0] for s in parts["before"])[len(parts["before"]) // 2]
    out = {}
    for name, rows in parts.items():
        p99 = sorted(r[2] for r in rows)
        out[name] = {"rps": sum(r[0] for r in rows) / (len(rows) * every / 1e3), "p99_us": p99[len(p99) // 2], "worst_p99_us": p99[-1],
                     "errors": sum(r[3] for r in rows), "ms_under_half": every * sum(r[0] < normal / 2 for r in rows)}
    return out


def suite_failure():
    """70 % GET and 30 % SET at QUORUM through any node; one of three is killed with SIGKILL, and started again."""
    if not has_server() or is_standin():
        raise SystemExit("the suite 'failure' needs gyre-server")
    server = Gyre("gyre, any node", 3)

    def job(_):
        fill_ring(server)
        say("  failure: one node of three is killed, and comes back")
        return with_a_death(server, max(3.0, 5 * ARGS.secs))
    figures = with_servers([server], job)
    figures["phases"] = phases(figures)
    rows = [[name, "%.1f" % (m["rps"] / 1e3), "%.0f" % m["p99_us"], "%.0f" % m["worst_p99_us"], m["errors"], "%.0f" % m["ms_under_half"]]
            for name, m in figures["phases"].items()]
    table("Under failure: 70 %% GET, 30 %% SET at QUORUM, %d connections; by 100 ms" % ARGS.conns,
          ["phase", "k ops/s", "p99 us (median interval)", "worst interval", "errors and lost", "ms under half the throughput"], rows, left=1)
    return figures
