"""One node beside redis-server, without persistence: commands, mixed and skewed load, threads, connections."""
import socket
import statistics
import time

from cases import CASES, DEPTHS, PLAIN, SIZES, fill, measure
from measure import ARGS, compare, interleave, load, say, table, with_servers
from peers import Gyre, Redis, has_server, lone_servers


def run_cases(servers, wanted):
    """{case: {label: medians}} of [(name, depth, size)]; the servers run. Refills where the group or the size changes."""
    out, there = {}, None
    for name, depth, size in wanted:
        case = CASES[name]
        if there != (case.group, size):
            for s in servers:
                s.flush()
                fill(s, case.group, size)
            there = (case.group, size)
        title = "%s %d B P=%d" % (name, size, depth)
        say("  " + title)
        out[title] = interleave(servers, lambda s: measure(s, name, depth, size))
        if case.fresh:
            there = None
    return out


def suite_commands():
    names = ARGS.commands or list(CASES)
    wanted = [(name, depth, size) for group in dict.fromkeys(CASES[n].group for n in names) for size in ARGS.sizes or SIZES
              for name in names for depth in ARGS.depths or DEPTHS
              if CASES[name].group == group and (CASES[name].sized or size == (ARGS.sizes or SIZES)[0])]
    out = with_servers(lone_servers(), lambda servers: run_cases(servers, wanted))
    compare("One node, persistence no, %d thread(s): %d connections, random keys of %d" % (ARGS.threads, ARGS.conns, ARGS.keys), out, "redis")
    return out


def plain_suite(title, command, depths, **more):
    """One command line over a million strings, against every server."""
    def job(servers):
        out = {}
        for s in servers:
            fill(s, "strings")
        for depth in depths:
            for name, words in command.items():
                case = "%s P=%d" % (name, depth)
                say("  " + case)
                out[case] = interleave(servers, lambda s: load(s, words, depth=depth, **more))
        return out
    out = with_servers(lone_servers(), job)
    compare(title, out, "redis")
    return out


def suite_mixed():
    return plain_suite("70 % GET, 30 % SET", {"70/30": PLAIN["GET"] + " ++ " + PLAIN["SET"]}, ARGS.depths or DEPTHS, share=70)


def suite_skew():
    return plain_suite("Keys by Zipf's law, exponent 0.99", PLAIN, ARGS.depths or DEPTHS, zipf=0.99)


def suite_threads():
    """Gyre with one and two shards; where there are two CPUs the generator shares one with the second shard."""
    cpus = "%s,%s" % (ARGS.server_cpu, ARGS.client_cpu)
    servers = [Redis(cpus=cpus)] + ([Gyre("gyre, %d shard(s)" % t, threads=t, cpus=cpus) for t in (1, 2)] if has_server() else [])
    wanted = [(name, depth, 3) for name in PLAIN for depth in ARGS.depths or DEPTHS]
    out = with_servers(servers, lambda started: run_cases(started, wanted))
    compare("Shards: CPU per operation tells what the second one costs, throughput only where CPUs are free", out, "redis")
    return out


# ---- connections

IDLE = 10_000


def idle_bytes(server, many):
    """Bytes of RSS for each of so many connections that have sent one PING and are quiet. The kernel's part is not in it."""
    empty, open_ones = server.rss()[0], []
    try:
        for _ in range(many):
            s = socket.create_connection(("127.0.0.1", server.ports[0]), timeout=20)
            open_ones.append(s)
            s.sendall(b"*1\r\n$4\r\nPING\r\n")
            if not s.recv(16).startswith(b"+PONG"):
                raise RuntimeError("%s did not answer a PING" % server.label)
        time.sleep(6)        # servers give buffers back after a while
        return (server.rss()[0] - empty) / many
    finally:
        for s in open_ones:
            s.close()


def idle_figures(rounds, many=IDLE):
    """{label: [bytes per idle connection of each round]}; a new server for each."""
    out = {}
    for k in range(rounds):
        for make in [Redis] + ([Gyre] if has_server() else []):
            server = make()
            say("  connections: %d idle, %s" % (many, server.label))
            out.setdefault(server.label, []).append(with_servers([server], lambda _: idle_bytes(server, many)))
    return out


def suite_connections():
    idle = idle_figures(ARGS.rounds)
    table("RSS by idle connection, %d of them" % IDLE, ["server", "bytes"],
          [[label, "%.0f" % statistics.median(each)] for label, each in idle.items()], left=1)
    busy = {}
    for many in (0, IDLE):
        out = plain_suite("GET beside %d idle connections" % many, {"GET idle=%d" % many: PLAIN["GET"]}, ARGS.depths or (1, 16), idle=many)
        busy.update(out)
    return {"idle": idle, "busy": busy}
