"""User instructions per operation, counted by valgrind's callgrind, which noise does not touch.

The servers run under callgrind with 12,500 keys; once they are filled and warm, their counters are
read around two loads of different lengths. The difference over the difference of the lengths is the
figure: start-up, connections and the reading itself cancel out. The kernel's part is not in it. 50
connections, pipeline 16, 3-byte values, one shard, no persistence.
"""
import glob
import os
import shutil
import subprocess
import tempfile

from cases import CASES, fill
from measure import ARGS, load, say, with_servers
from peers import Gyre, Redis, has_server, is_standin, wait_until

QUICK = ("GET", "SET")
ALL = ("GET", "SET", "INCR", "LPUSH", "LPOP", "LRANGE(100)", "HSET", "HGET", "SADD", "ZADD", "ZRANGE", "MGET(10)", "MSET(10)")
KEYS = 12_500


class Counted:
    """A server under callgrind, and how many instructions it has run since somebody asked."""

    def __init__(self, make, folder):
        self.out = os.path.join(folder, "callgrind")
        self.server = make(prefix=["valgrind", "--tool=callgrind", "--dump-line=no", "--callgrind-out-file=" + self.out, "-q"])

    def take(self):
        """Instructions of all threads since the last take: callgrind writes them out and begins at zero again."""
        for path in glob.glob(self.out + "*"):
            os.remove(path)
        # It is the server's process that hears this; it must pass through its loop for that.
        subprocess.run(["callgrind_control", "--dump", str(self.server.pids[0])], check=True, timeout=60,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def written():
            for path in glob.glob(self.out + "*"):
                with open(path, errors="replace") as f:
                    for line in f:
                        if line.startswith("totals:"):
                            return (int(line.split()[1]),)
            return False
        found = []
        wait_until("callgrind has written its counters", lambda: found.extend(written() or ()) or bool(found), 60)
        return found[0]


def per_operation(counted, name, n):
    """(instructions of 3n operations - of n) / 2n."""
    case, costs = CASES[name], []
    for many in (n, 3 * n):
        if case.fresh:
            counted.server.ask("DEL", case.fresh)
            if case.refill:
                fill(counted.server, case.group)
        counted.take()
        load(counted.server, case.command, depth=16, n=many)
        costs.append(counted.take())
    return (costs[1] - costs[0]) / (2 * n)


def count(names, n=16_000, redis=True):
    """{label: {command: instructions}}"""
    if not shutil.which("callgrind_control"):
        raise SystemExit("no valgrind: make deps-dev installs it")
    keys, secs, ARGS.keys, ARGS.secs = ARGS.keys, ARGS.secs, KEYS, 0.2    # fixed() is then enough for LPOP
    out = {}
    try:
        for kind in ([Redis] if redis else []) + ([Gyre] if has_server() and not is_standin() else []):
            with tempfile.TemporaryDirectory(prefix="gyre-bench-callgrind-") as folder:
                counted = Counted(kind, folder)
                label = counted.server.label
                out[label] = with_servers([counted.server], lambda _: count_one(counted, names, n))
    finally:
        ARGS.keys, ARGS.secs = keys, secs
    return out


def count_one(counted, names, n):
    out, group = {}, None
    for name in names:
        case = CASES[name]
        if case.group != group:
            counted.server.flush()
            fill(counted.server, case.group)
            group = case.group
        if not case.fresh:
            load(counted.server, case.command, depth=16, n=1000)
        say("  instructions %s %s" % (counted.server.label, name))
        out[name] = per_operation(counted, name, n // 10 if name == "LRANGE(100)" else n)
    return out
