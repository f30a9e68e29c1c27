"""Commands, transactions and scripts whose keys are of two threads: under the barrier of a node that is alone, and
by holds, as between nodes, on a ring of one copy where all keys are of the node that is asked.

The load comes from this script, a connection waiting for each answer before it asks again: look at CPU per
operation; throughput is the script's as much as the server's."""
import os
import random
import select
import socket
import statistics
import time

from measure import ARGS, compare, interleave, say, with_servers
from peers import Gyre, Redis, has_server
from resp import encode, slot

SCRIPT = "redis.call('SET', KEYS[1], 'xxx') return redis.call('SET', KEYS[2], 'yyy')"
KEYS = ["key:%d" % i for i in range(6000)]
HOLDS = "gyre, holds"


def exec_of_two(keys):
    a, b = random.sample(keys, 2)
    return [("MULTI",), ("SET", a, "xxx"), ("SET", b, "yyy"), ("EXEC",)]


CASES = {       # name: (commands of one operation, lines of their answers)
    "EXEC of two SETs": (exec_of_two, 6),
    "SUNIONSTORE": (lambda keys: [("SUNIONSTORE", *[k + ":set" for k in random.sample(keys, 3)])], 1),
    "EVAL of two SETs": (lambda keys: [("EVAL", SCRIPT, 2, *random.sample(keys, 2))], 1),
}


def ask_one_by_one(server, operations, lines, conns, secs):
    """Each connection sends an operation when the last one is answered. Microseconds of every answer."""
    took, at = [], 0
    socks, waits, epoll = {}, {}, select.epoll()
    try:
        for _ in range(conns):
            s = socket.create_connection(("127.0.0.1", server.ports[0]), timeout=20)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            socks[s.fileno()] = s
            epoll.register(s, select.EPOLLIN)
        end = time.monotonic() + secs

        def send(fd):
            nonlocal at
            waits[fd] = (time.monotonic(), b"")
            socks[fd].sendall(operations[at % len(operations)])
            at += 1
        for fd in socks:
            send(fd)
        while time.monotonic() < end:
            for fd, _ in epoll.poll(1):
                since, got = waits[fd]
                got += socks[fd].recv(65536)
                if b"-" in got or not got:
                    raise RuntimeError("%s answered %r" % (server.label, got[:200]))
                if got.count(b"\r\n") < lines:
                    waits[fd] = (since, got)
                    continue
                took.append(1e6 * (time.monotonic() - since))
                send(fd)
    finally:
        epoll.close()
        for s in socks.values():
            s.close()
    return took


def cell(server, name, conns):
    make, lines = CASES[name]
    operations = [b"".join(encode(c) for c in make(server.keys)) for _ in range(2000)]
    secs = max(0.5, 2 * ARGS.secs)
    before, own, began = sum(server.cpu().values()), time.process_time(), time.monotonic()
    took = sorted(ask_one_by_one(server, operations, lines, conns, secs))
    wall = time.monotonic() - began
    cpu = sum(server.cpu().values()) - before
    at = lambda share: took[min(len(took) - 1, int(share * len(took)))]
    return {"server_us_per_op": 1e6 * cpu / len(took), "rps": len(took) / wall, "p50_us": statistics.median(took), "p99_us": at(0.99),
            "p999_us": at(0.999), "server_busy": cpu / wall, "client_busy": (time.process_time() - own) / wall}


def prepare(server):
    """Keys that the first node holds, and small sets."""
    server.keys = KEYS
    if server.label == HOLDS:
        own = set()
        for low, high, primary, *_ in server.ask("CLUSTER", "SLOTS", port=server.cluster[0].cluster_port):
            if primary[1] == server.cluster[0].cluster_port:
                own.update(range(low, high + 1))
        server.keys = [k for k in KEYS if slot(k) in own]
    for k in server.keys:
        server.ask("SADD", k + ":set", "a", "b", "c", "d", "e")


def suite_spanning():
    cpus = "0-%d" % (os.cpu_count() - 1)
    servers = [Redis(cpus=cpus)]
    if has_server():
        servers += [Gyre("gyre, one thread", cpus=cpus, persistence="yes"), Gyre("gyre, barrier", cpus=cpus, threads=2, persistence="yes"),
                    Gyre(HOLDS, 3, cpus=cpus, threads=2, replication_factor=1, persistence="yes")]

    def job(started):
        out = {}
        for s in started:
            prepare(s)
        for name in CASES:
            for conns in (1, 16):
                case = "%s, %d connections" % (name, conns)
                say("  spanning: " + case)
                out[case] = interleave(started, lambda s: cell(s, name, conns))
        return out
    out = with_servers(servers, job)
    compare("Keys of two threads: the barrier of a node that is alone, and holds as between nodes; Gyre writes to its store (everysec), "
            "Redis keeps nothing", out, "redis")
    return out
