"""The servers that the suite is run against: redis-server, which says what can be passed, and Gyre.

Each is a context with `port` (0: the suite starts its own, by `starter`), and `died` and `end` once it is over.
"""
import os
import shutil
import subprocess
import sys
import tempfile

from suite import HERE, ROOT

sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
from cluster import Cluster, free_ports, has_server, is_standin, server_path, wait_until  # noqa: E402,F401
from resp import Client  # noqa: E402


class Started:
    """Nothing runs yet: the suite starts its servers itself, through what stands at src/redis-server."""

    def __init__(self, starter, env=None):
        self.port, self.starter, self.env, self.died, self.end = 0, starter, env or {}, False, ""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass


def started_redis():
    return Started(None)


def started_gyre(threads, options):
    """start-as-redis turns the configuration that the suite writes into one of Gyre."""
    words = ["threads=%d" % threads] + list(options)
    return Started(os.path.join(HERE, "start-as-redis"),
                   {"COMPAT_SERVER": server_path(), "COMPAT_OPTIONS": "\n".join(words)})


class Reference:
    """redis-server as upstream's external-server job starts it."""

    def __init__(self, cluster):
        self.cluster, self.starter, self.env, self.died, self.end = cluster, None, {}, False, ""

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="gyre-compat-redis-")
        self.port = free_ports(1)[0]
        more = ["--cluster-enabled", "yes", "--cluster-port", str(free_ports(1)[0])] if self.cluster else []
        with open(os.path.join(self.dir, "log"), "wb") as log:
            self.proc = subprocess.Popen(
                ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.dir, "--save", "",
                 "--enable-protected-configs", "yes", "--enable-debug-command", "yes", "--enable-module-command", "yes"] + more,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_until("redis-server answers", lambda: Client(self.port)("PING") == "PONG", 20)
            if more:
                Client(self.port)("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
                wait_until("cluster ok", lambda: b"state:ok" in Client(self.port)("CLUSTER", "INFO"), 20)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc):
        self.died = self.proc.poll() is not None
        self.proc.kill()
        self.proc.wait(10)
        shutil.rmtree(self.dir, ignore_errors=True)


class Subject:
    """A Gyre node, or a ring of which the suite sees the first one's port."""

    def __init__(self, threads, options, cluster, nodes=1):
        self.nodes = nodes
        self.options = {"enable-debug-command": "yes", "enable-protected-configs": "yes", "threads": threads}
        for word in options:
            k, _, v = word.partition("=")
            self.options[k] = v
        self.by_cluster_port, self.starter, self.env, self.died, self.end = cluster, None, {}, False, ""

    def __enter__(self):
        self.cluster = Cluster(self.nodes, options=self.options)
        node = self.cluster[0]
        self.port = node.cluster_port if self.by_cluster_port and not is_standin() else node.port
        return self

    def __exit__(self, *exc):
        self.died = not self.cluster[0].alive()
        self.end = self.cluster[0].log_end()[-600:] if self.died else ""
        self.cluster.failed = bool(exc and exc[0])
        self.cluster.close()
