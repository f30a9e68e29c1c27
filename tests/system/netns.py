"""Network namespaces for partitions: a bridge, and for each node a namespace of its own on it.

    net = Net(5)                          # only inside `unshare -n -m -p` (run does that for netns tests)
    ring = Cluster(5, net=net)
    net.cut([0], [1, 2, 3, 4]); net.one_way(2, 0); net.heal()

A packet is lost silently when its sender has a wrong hardware address for the receiver: a permanent
neighbour entry does that, takes effect at once, leaves connections open, needs no packet filter and
knows directions. All of it is gone when the process that unshared ends.
"""
import os
import subprocess
import time

NOBODY = "02:00:00:00:00:99"
INSIDE = "SYSTEM_TEST_INSIDE"           # set in the environment of a test that runs in its namespaces
UNSHARE = ["unshare", "-n", "-m", "-p", "-f", "--mount-proc", "--kill-child"]


def why_not():
    """Why namespaces cannot be made here; empty when they can."""
    try:
        done = subprocess.run(UNSHARE + ["sh", "-c", "mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns && ip netns add a"
                                         " && ip link add v0 type veth peer name eth0 netns a"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as e:
        return "network namespaces cannot be made: %s" % e
    return "" if done.returncode == 0 else "network namespaces cannot be made: " + done.stdout.decode(errors="replace").strip()[-200:]


def ip(*words):
    done = subprocess.run(["ip"] + list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
    if done.returncode:
        raise RuntimeError("ip %s: %s" % (" ".join(map(str, words)), done.stdout.decode(errors="replace").strip()))


class Net:
    def __init__(self, nodes):
        if not os.environ.get(INSIDE):
            raise RuntimeError("not inside its own namespaces: mark the test netns=True")
        self.nodes, self.blocked = nodes, set()
        os.makedirs("/run/netns", exist_ok=True)
        if not os.path.exists("/run/netns/n0"):
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run/netns"], check=True)
            ip("link", "set", "lo", "up")
            ip("link", "add", "br0", "type", "bridge")
            ip("addr", "add", "10.77.0.254/24", "dev", "br0")
            ip("link", "set", "br0", "up")
        for i in range(nodes):
            if os.path.exists("/run/netns/n%d" % i):
                continue
            ip("netns", "add", "n%d" % i)
            ip("link", "add", "v%d" % i, "type", "veth", "peer", "name", "eth0", "netns", "n%d" % i)
            ip("link", "set", "v%d" % i, "master", "br0", "up")
            ip("-n", "n%d" % i, "link", "set", "lo", "up")
            ip("-n", "n%d" % i, "addr", "add", "%s/24" % self.host(i), "dev", "eth0")
            ip("-n", "n%d" % i, "link", "set", "eth0", "up")

    @staticmethod
    def host(i):
        return "10.77.0.%d" % (i + 1)

    @staticmethod
    def prefix(i):
        return ["ip", "netns", "exec", "n%d" % i]

    def one_way(self, sender, receiver):
        """What sender sends to receiver is lost."""
        ip("-n", "n%d" % sender, "neigh", "replace", self.host(receiver), "lladdr", NOBODY, "dev", "eth0", "nud", "permanent")
        self.blocked.add((sender, receiver))

    def cut(self, some, others):
        for a in some:
            for b in others:
                self.one_way(a, b)
                self.one_way(b, a)

    def heal(self):
        for sender, receiver in sorted(self.blocked):
            ip("-n", "n%d" % sender, "neigh", "del", self.host(receiver), "dev", "eth0")
        self.blocked.clear()
        return time.monotonic()

    def bytes(self, i):
        """(received, sent) by node i's interface so far: everything, clients and headers included."""
        out = subprocess.run(self.prefix(i) + ["cat", "/proc/net/dev"], stdout=subprocess.PIPE, timeout=20, check=True).stdout.decode()
        words = next(line for line in out.splitlines() if "eth0:" in line).split(":")[1].split()
        return int(words[0]), int(words[8])
