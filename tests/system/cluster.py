"""Starts gyre-server nodes for the system tests, the demo and the benchmarks.

    with Cluster(3, options={"appendfsync": "always"}) as ring:
        c = ring[0].client()
        ring[1].kill()               # SIGKILL; also terminate, stop (SIGSTOP), cont
        ring[1].start(); ring.wait_ready()

Every node has its folder in one temporary directory, free loopback ports and a config of the
documented shape. Only processes that were started here are signalled, by their pid. The folder is
removed at the end, except after a failure (or with GYRE_KEEP=1): then its place is printed with the
ends of the logs. GYRE_SERVER names another program than bin/gyre-server; a name that ends in
redis-server is a stand-in for a single node (options that Redis has not are left out). GYRE_SLOW=4
says that the server takes four times as long (a sanitizer's): all waiting is that much longer, and
so are the nodes' bounds for silent peers and for commands on their way. What a sanitizer reports in any log is a failure.
"""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from resp import Client, Closed, ProtocolError, ReplyError, as_map, text  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SLOW = float(os.environ.get("GYRE_SLOW", "1"))
REPORT = re.compile(r"(WARNING|ERROR): \w+Sanitizer|: runtime error: ")
FAILURES = (OSError, ReplyError, ProtocolError)
REDIS_OPTIONS = {"port", "bind", "dir", "appendfsync", "enable-debug-command", "maxclients", "timeout",
                 "client-output-buffer-limit", "client-query-buffer-limit", "proto-max-bulk-len",
                 "requirepass", "maxmemory", "databases", "loglevel", "enable-protected-configs"}


def server_path():
    return os.path.abspath(os.environ.get("GYRE_SERVER", os.path.join(ROOT, "bin", "gyre-server")))


def is_standin():
    """True when redis-server stands in for Gyre (to develop these scripts)."""
    return os.path.basename(server_path()) == "redis-server"


def has_server():
    return os.access(server_path(), os.X_OK)


_given = set()


def free_ports(n):
    """n loopback ports that nobody listens on, below the range for outgoing connections: a port of
    that range could be taken by somebody's connection while its node is down."""
    out, tries = [], 0
    low = 20000 + (os.getpid() * 97) % 9000
    while len(out) < n:
        tries += 1
        if tries > 5000:
            raise RuntimeError("no free ports")
        port = 12000 + (low + tries) % 20000
        if port in _given:
            continue
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        out.append(port)
    return out


def wait_until(what, condition, seconds, step=0.05):
    """Polls condition() until it is true; its exceptions of a connection count as false."""
    end, last = time.monotonic() + seconds * SLOW, None
    while True:
        try:
            last = condition()
            if last is True or (last and not isinstance(last, tuple)):
                return last
        except FAILURES as e:
            last = repr(e)
        if time.monotonic() > end:
            raise TimeoutError("not within %.0f s: %s (last: %s)" % (seconds, what, last))
        time.sleep(step)


class Node:
    """One server process and its folder."""

    def __init__(self, name, folder, ports, options, env=None, host="127.0.0.1"):
        self.name, self.dir, self.host = name, folder, host
        self.port, self.cluster_port, self.bus_port = ports
        self.options, self.env = dict(options), dict(env or {})
        self.lines = []                    # cluster-node lines
        self.prefix = []                   # words before the program, such as taskset -c 0
        self.proc = None
        self.shim = None                   # see use_shim
        self.config = os.path.join(folder, "gyre.conf")
        self.log = os.path.join(folder, "log")
        os.makedirs(folder, exist_ok=True)

    @property
    def data(self):
        return os.path.join(self.dir, "data")

    @property
    def address(self):
        """For Client and Load."""
        return self.host, self.port

    def use_shim(self):
        """Before start: faults of clock and disk can then be switched through self.shim."""
        from shim import Shim
        os.makedirs(self.data, exist_ok=True)
        self.shim = Shim(self.dir, self.data)
        self.env.update(self.shim.env)
        return self

    def wipe(self):
        """The node has ended; its disk is replaced by an empty one."""
        shutil.rmtree(self.data)

    def write_config(self):
        # The data is in a folder of its own: what this module writes must not look like the store.
        opts = {"port": self.port, "bind": self.host, "dir": self.data}
        os.makedirs(opts["dir"], exist_ok=True)
        if self.cluster_port and not is_standin():
            opts["cluster-client-port"] = self.cluster_port
        if self.lines:
            opts.update({"bus-port": self.bus_port, "node-name": self.name})
        if self.host != "127.0.0.1":
            opts["protected-mode"] = "no"       # the network is the test's own
        opts.update(self.options)
        if is_standin():
            persistence = str(opts.pop("persistence", "yes"))
            threads = str(opts.pop("threads", "1"))
            opts = {k: v for k, v in opts.items() if k in REDIS_OPTIONS}
            opts.update({"save": '""', "appendonly": persistence, "io-threads": threads})
        with open(self.config, "w") as f:
            for k, v in opts.items():
                for one in (v if isinstance(v, (list, tuple)) else [v]):
                    f.write("%s %s\n" % (k, one))
            for line in self.lines:
                f.write("cluster-node %s\n" % line)

    def start(self, args=(), write=True):
        if self.alive():
            raise RuntimeError("%s runs already" % self.name)
        if write:
            self.write_config()
        with open(self.log, "ab") as log:
            self.proc = subprocess.Popen(self.prefix + [server_path(), self.config] + list(args),
                                         stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.dir,
                                         env=dict({k: v for k, v in os.environ.items() if k not in ("GYRE_KEEP", "GYRE_SERVER", "GYRE_SLOW")}, **self.env))
        return self

    @property
    def pid(self):
        return self.proc.pid if self.proc else None

    def alive(self):
        return self.proc is not None and self.proc.poll() is None

    def signal(self, number):
        if not self.alive():
            raise RuntimeError("%s does not run" % self.name)
        os.kill(self.proc.pid, number)

    def kill(self):
        """SIGKILL, and waits for the end."""
        self.signal(signal.SIGKILL)
        self.proc.wait(30)

    def terminate(self, seconds=30):
        """SIGTERM, and waits for the end; returns the exit code."""
        self.signal(signal.SIGTERM)
        return self.proc.wait(seconds)

    def stop(self):
        """Returns when no thread runs any more: one that is on another core goes on for a moment."""
        self.signal(signal.SIGSTOP)
        wait_until("%s stands still" % self.name, lambda: os.waitid(os.P_PID, self.proc.pid, os.WSTOPPED | os.WNOHANG) is not None, 5, step=0.001)

    def cont(self):
        self.signal(signal.SIGCONT)

    def client(self, timeout=10.0, proto=2, cluster=False):
        return Client(self.cluster_port if cluster else self.port, self.host, timeout=timeout * SLOW, proto=proto)

    def call(self, *args, timeout=10.0):
        """One command on a connection of its own."""
        with self.client(timeout) as c:
            return c(*args)

    def status(self):
        """GYRE STATUS as a dict of integers."""
        return {k: int(v) if isinstance(v, (int, bytes)) and text(v) not in ("",) and str(text(v)).lstrip("-").isdigit() else v
                for k, v in as_map(self.call("GYRE", "STATUS", timeout=3)).items()}

    def ready(self):
        """PING answered with PONG (an error such as -LOADING or -NOAUTH... raises)."""
        try:
            return self.call("PING", timeout=2) == "PONG"
        except ReplyError as e:
            return e.code == "NOAUTH"

    def wait_ready(self, seconds=30):
        def ready():
            if not self.alive():
                raise RuntimeError("%s ended with %s:\n%s" % (self.name, self.proc.returncode, self.log_end()))
            return self.ready()
        wait_until("%s answers PING" % self.name, ready, seconds)
        return self

    def log_end(self, lines=25):
        try:
            with open(self.log, errors="replace") as f:
                return "".join(f.readlines()[-lines:])
        except OSError:
            return ""


class Cluster:
    def __init__(self, nodes=3, options=None, per_node=None, env=None, name="test", weights=None, racks=None,
                 ring=None, start=True, keep_dir=None, shim=False, net=None):
        """nodes: how many. options: for every node; per_node: {index: options}. ring: False for a single
        node without a bus (the default for nodes=1). start=False: only writes the files. shim: every node
        runs under it. net: a netns.Net; each node then lives in a network namespace of its own."""
        self.root = keep_dir or tempfile.mkdtemp(prefix="gyre-")
        self.ring = (nodes > 1) if ring is None else ring
        self.failed = False
        self.nodes = []
        secret = os.path.join(self.root, "secret")
        with open(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
            f.write("a secret of this test only, 40 bytes...\n")
        ports = free_ports(3 * nodes)
        for i in range(nodes):
            opts = {"cluster-name": name, "cluster-secret-file": secret} if self.ring else {}
            if self.ring and SLOW > 1:
                opts.update({"peer-timeout-min": int(50 * SLOW), "peer-timeout-max": int(300 * SLOW),
                             "max-clock-skew": int(500 * SLOW)})    # half of it bounds a command's way
            opts.update(options or {})
            opts.update((per_node or {}).get(i, {}))
            node = Node("n%d" % (i + 1), os.path.join(self.root, "n%d" % (i + 1)), ports[3 * i:3 * i + 3], opts, env,
                        net.host(i) if net else "127.0.0.1")
            if net:
                node.prefix = net.prefix(i)
            if shim:
                node.use_shim()
            if not self.ring:
                node.bus_port = 0
            self.nodes.append(node)
        if self.ring:
            lines = ["%s %s %d port=%d cluster-client-port=%d rack=%s weight=%s" % (
                n.name, n.host, n.bus_port, n.port, n.cluster_port,
                (racks or {}).get(i, chr(ord("a") + i)), (weights or {}).get(i, 1)) for i, n in enumerate(self.nodes)]
            for n in self.nodes:
                n.lines = list(lines)
        if start:
            try:
                self.start()
            except BaseException:
                self.failed = True
                self.close()
                raise

    def __getitem__(self, i):
        return self.nodes[i]

    def __len__(self):
        return len(self.nodes)

    def __iter__(self):
        return iter(self.nodes)

    def start(self, seconds=40):
        for n in self.nodes:
            if not n.alive():
                n.start()
        self.wait_ready(seconds)
        return self

    def wait_ready(self, seconds=40, settled=True):
        """Every running node answers; on a ring each sees all that run, and no slot differs."""
        end = time.monotonic() + seconds
        up = [n for n in self.nodes if n.alive()]
        for n in up:
            n.wait_ready(max(1, end - time.monotonic()))
        if self.ring:
            for n in up:
                def good(n=n):
                    if not n.alive():
                        raise RuntimeError("%s ended:\n%s" % (n.name, n.log_end()))
                    s = n.status()
                    bad = s.get("nodes_alive") != len(up)
                    if settled and len(up) == len(self.nodes):
                        bad = bad or s.get("slots_differing") != 0 or s.get("hints_pending") != 0
                    return (s,) if bad else True
                wait_until("%s sees %d nodes and no difference" % (n.name, len(up)), good,
                           max(1, end - time.monotonic()))
        return self

    @property
    def addresses(self):
        return [n.address for n in self.nodes]

    def wait_settled(self, seconds=60):
        return self.wait_ready(seconds, settled=True)

    def close(self):
        for n in self.nodes:
            if n.alive():
                try:
                    os.kill(n.pid, signal.SIGCONT)
                    os.kill(n.pid, signal.SIGTERM)
                except ProcessLookupError:
                    pass
        end = time.monotonic() + 10 * SLOW
        for n in self.nodes:
            if n.proc is None:
                continue
            try:
                n.proc.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                n.proc.kill()
                n.proc.wait(10)
        reports = self.reports()
        failed_before = self.failed
        self.failed |= bool(reports)
        if self.failed:
            for n in self.nodes:
                print("---- the end of %s\n%s" % (n.log, n.log_end()), file=sys.stderr)
        if self.failed or os.environ.get("GYRE_KEEP"):
            print("kept: %s" % self.root, file=sys.stderr)
        else:
            shutil.rmtree(self.root, ignore_errors=True)
        if reports and not failed_before:
            raise AssertionError("\n".join(reports))

    def reports(self):
        """What the sanitizers found, from the nodes' whole logs; a test's own checks do not see it."""
        out = []
        for n in self.nodes:
            try:
                with open(n.log, errors="replace") as f:
                    lines = f.readlines()
            except OSError:
                continue
            at = next((i for i, line in enumerate(lines) if REPORT.search(line)), None)
            if at is not None:
                out.append("a sanitizer's report in %s:\n%s" % (n.log, "".join(lines[at:at + 60])))
        return out

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None and not issubclass(kind, KeyboardInterrupt) and kind.__name__ != "Skip":
            self.failed = True
        self.close()
