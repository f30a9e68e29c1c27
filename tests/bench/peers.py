"""The servers that are measured: Gyre, Redis, rings of either, and one that runs already.

Each has start(), stop(), pids (of all its processes), ports, smart (clients are cluster-aware), and
ask(). Only processes that were started here are signalled, by their pid; all listen on loopback.
"""
import os
import shutil
import signal
import subprocess
import sys
import tempfile

from measure import ARGS, ROOT
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
from cluster import FAILURES, Cluster, free_ports, has_server, is_standin, server_path, wait_until  # noqa: E402,F401
from resp import Client, ReplyError  # noqa: E402


def pinned(cpus=None):
    return ["taskset", "-c", cpus or ARGS.server_cpu]


class Server:
    label, smart, pids, ports = "", False, (), ()

    def ask(self, *command, port=None, timeout=60):
        with Client(port or self.ports[0], timeout=timeout) as c:
            return c(*command)

    def flush(self):
        if not self.smart:
            self.ask("FLUSHALL")
            return
        for port in self.ports:
            self.ask("FLUSHALL", port=port)

    def info(self, section, port=None):
        """An INFO section as a dict of texts."""
        lines = self.ask("INFO", section, port=port).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def rss(self):
        """Resident bytes of every process."""
        out = []
        for pid in self.pids:
            with open("/proc/%d/status" % pid) as f:
                out.append(1024 * sum(int(line.split()[1]) for line in f if line.startswith("VmRSS:")))
        return out

    def cpu(self):
        """CPU seconds by the thread's name, over every process; 'children': those that ended and were waited for."""
        out = {}
        for pid in self.pids:
            for task in os.listdir("/proc/%d/task" % pid):
                try:
                    with open("/proc/%d/task/%s/comm" % (pid, task)) as f:
                        name = f.read().strip()
                    with open("/proc/%d/task/%s/schedstat" % (pid, task)) as f:
                        out[name] = out.get(name, 0) + int(f.read().split()[0]) / 1e9
                except FileNotFoundError:
                    continue        # it has just ended
            with open("/proc/%d/stat" % pid) as f:
                fields = f.read().rsplit(")", 1)[1].split()
            out["children"] = out.get("children", 0) + (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
        return out


class Gyre(Server):
    """One node, or a ring; smart: clients use the ports for cluster-aware clients."""

    def __init__(self, label="gyre", nodes=1, smart=False, cpus=None, prefix=(), **options):
        self.label, self.smart = label, smart
        every = {"persistence": "no", "threads": ARGS.threads, "maxclients": 15000}
        if nodes > 1:
            every.update({"replication-factor": 3, "write-consistency": "quorum", "read-consistency": "one"})
        every.update({k.replace("_", "-"): v for k, v in options.items()})
        self.cluster = Cluster(nodes, start=False, options=every)
        for n in self.cluster:
            n.prefix = pinned(cpus) + list(prefix)

    def start(self, seconds=60):
        try:
            self.cluster.start(seconds)
        except BaseException:
            self.cluster.failed = True
            raise
        self.pids = [n.pid for n in self.cluster]
        self.ports = [n.cluster_port if self.smart else n.port for n in self.cluster]
        return self

    def launch(self):
        """Starts the processes without waiting for an answer; end() ends them and keeps the data."""
        for n in self.cluster:
            n.start()
        self.pids = [n.pid for n in self.cluster]

    def end(self, number=signal.SIGTERM):
        for n in self.cluster:
            n.signal(number)
            n.proc.wait(60)

    def wipe(self):
        for n in self.cluster:
            if os.path.isdir(n.data):
                n.wipe()

    def stop(self):
        self.cluster.close()


class Redis(Server):
    """Debian's redis-server without persistence unless args say so; replicas: Redis Cluster of three masters, each with so many."""

    def __init__(self, label="redis", replicas=None, args=(), cpus=None, prefix=()):
        self.label, self.smart, self.args = label, replicas is not None, list(args)
        self.count = 3 + 3 * replicas if self.smart else 1
        self.words = pinned(cpus) + list(prefix)
        self.dir, self.procs = tempfile.mkdtemp(prefix="gyre-bench-redis-"), []
        ports = free_ports(2 * self.count)
        self.pairs = list(zip(ports[:self.count], ports[self.count:]))
        self.ports = ports[:self.count]

    def launch(self):
        self.procs = []
        for port, bus in self.pairs:
            folder = os.path.join(self.dir, str(port))
            os.makedirs(folder, exist_ok=True)
            words = self.words + ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "",
                                  "--maxclients", "15000"] + (self.args or ["--appendonly", "no"])
            if self.smart:
                words += ["--cluster-enabled", "yes", "--cluster-port", str(bus), "--cluster-node-timeout", "15000"]
            with open(os.path.join(folder, "log"), "ab") as log:
                self.procs.append(subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        self.pids = [p.pid for p in self.procs]

    def start(self, seconds=60):
        self.launch()
        for port in self.ports:
            wait_until("redis-server answers", lambda: self.ask("PING", port=port) == "PONG", seconds)
        if self.smart:
            self.form()
        return self

    def form(self):
        done = subprocess.run(["redis-cli", "--cluster", "create"] + ["127.0.0.1:%d" % p for p in self.ports] +
                              ["--cluster-replicas", str(self.count // 3 - 1), "--cluster-yes"],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        for port in self.ports:
            wait_until("cluster_state:ok", lambda: b"cluster_state:ok" in self.ask("CLUSTER", "INFO", port=port), 60)

        def attached():   # replicas that follow their master
            roles = [self.ask("ROLE", port=p) for p in self.ports]
            return all(r[0] == b"master" and len(r[2]) == self.count // 3 - 1 or r[0] == b"slave" and r[3] == b"connected" for r in roles)
        wait_until("replicas are attached", attached, 60)
        self.ports = [p for p in self.ports if self.ask("ROLE", port=p)[0] == b"master"]

    def end(self, number=signal.SIGTERM):
        for p in self.procs:
            if p.poll() is None:
                p.send_signal(number)
        for p in self.procs:
            try:
                p.wait(30)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait(10)

    def wipe(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def stop(self):
        self.end()
        self.wipe()


class Given(Server):
    """A server that already listens on a loopback port: it is not started, not ended, and its data is replaced."""

    def __init__(self, spec):
        self.label, _, port = spec.rpartition("=")
        if not port.isdigit():
            raise SystemExit("--peer is NAME=PORT, not '%s'" % spec)
        self.label, self.ports = self.label or "port " + port, [int(port)]

    def start(self):
        """Its CPU is read when its INFO names a process of this machine."""
        try:
            pid = int(self.info("server").get("process_id", 0))
        except FAILURES as e:
            raise SystemExit("%s does not answer on port %d: %s" % (self.label, self.ports[0], e))
        self.pids = [pid] if pid and os.path.exists("/proc/%d" % pid) else []
        return self

    def stop(self):
        pass


def lone_servers(**options):
    """Redis first (ratios are to it), Gyre, and those of --peer."""
    return [Redis()] + ([Gyre(**options)] if has_server() else []) + [Given(p) for p in ARGS.peer]
