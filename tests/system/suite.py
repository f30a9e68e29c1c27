"""What the test files share: the list of tests and small checks."""
import os
import shutil
import subprocess
import time

from cluster import SLOW, Cluster, Node, free_ports, is_standin, server_path, wait_until  # noqa: F401
from resp import Client, Closed, ReplyError, Status, as_map, encode, slot, text  # noqa: F401

GAP_MAX = 5.0 * SLOW    # seconds a client that may change the node may go without a success: five times what should do
TESTS = []
notes = []          # figures of the test that runs, printed on its line


class Skip(Exception):
    """This test cannot run here; the text says why."""


class Test:
    def __init__(self, run, quick=False, gyre=False, soak=False, netns=False, pending=False, limit=120):
        self.name, self.run, self.quick, self.gyre, self.soak, self.netns, self.limit = run.__name__, run, quick, gyre, soak, netns, limit
        self.pending = pending

    def words(self):
        return " ".join(w for w, yes in (("quick", self.quick), ("gyre-only", self.gyre), ("soak", self.soak), ("netns", self.netns), ("pending", self.pending)) if yes)


def test(**how):
    """quick: also in `make test`. gyre: makes no sense with a stand-in. soak: only in `make soak`.
    netns: runs in network namespaces of its own, skipped where they cannot be made ("maybe": runs without). pending: what it
    tests is not there yet, so it is not in the list. limit: seconds."""
    def add(function):
        TESTS.append(Test(function, **how))
        return function
    return add


def note(text_):
    notes.append(text_)


def eq(got, want, what=""):
    if got != want:
        raise AssertionError("%s\n  got  %.600r\n  want %.600r" % (what, got, want))


def ok(condition, what):
    if not condition:
        raise AssertionError(what)


def within(name, got, promised, unit="ms"):
    """Prints a time or an amount; on a busy machine only five times what is promised is a failure."""
    note("%s %.4g %s (promised %.4g)" % (name, got, unit, promised))
    if got > 5 * promised * SLOW:
        raise AssertionError("%s: %.4g %s is over five times %.4g" % (name, got, unit, promised))


def none(lines, what):
    """lines: what a checker found."""
    if lines:
        raise AssertionError("%s: %d\n  %s" % (what, len(lines), "\n  ".join(map(str, lines[:20]))))


def error_of(call, *args, **kw):
    """The error reply that this call must get."""
    try:
        got = call(*args, **kw)
    except ReplyError as e:
        return e
    raise AssertionError("%s answered %.200r, an error was expected" % (args, got))


def tool(*words, data=None, seconds=60, fail_ok=False):
    """Runs a program to its end; its output (stdout and stderr)."""
    if not shutil.which(words[0]):
        raise Skip("no %s: make deps installs it" % words[0])
    try:
        done = subprocess.run(list(map(str, words)), input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL if data is None else None, timeout=seconds * SLOW)
    except subprocess.TimeoutExpired as e:
        if fail_ok:
            return (e.output or b"").decode(errors="replace")
        raise AssertionError("%s did not end within %d s:\n%s" % (" ".join(map(str, words)), seconds,
                                                                 (e.output or b"").decode(errors="replace")[-2000:]))
    out = done.stdout.decode(errors="replace")
    if done.returncode and not fail_ok:
        raise AssertionError("%s ended with %d:\n%s" % (" ".join(map(str, words)), done.returncode, out[-2000:]))
    return out


def cli(node, *words, data=None, cluster=False, seconds=60):
    port = node.cluster_port if cluster else node.port
    return tool("redis-cli", "-h", "127.0.0.1", "-p", port, *words, data=data, seconds=seconds).strip()


def ends_by_itself(node, seconds=15):
    """Waits for a node that should refuse to start; returns (exit code, its log)."""
    try:
        code = node.proc.wait(seconds * SLOW)
    except subprocess.TimeoutExpired:
        node.kill()
        raise AssertionError("it runs on, it should have refused to start; log:\n" + node.log_end())
    return code, node.log_end(100)


def refuses(cluster, node, *must_say):
    """Starts node, which must refuse and say these words (case does not matter)."""
    node.start(write=False)
    code, log = ends_by_itself(node)
    ok(code != 0, "refused with exit code 0")
    ok(code > 0, "died by signal %d:\n%s" % (-code, log))
    for word in must_say:
        ok(str(word).lower() in log.lower(), "the log does not say %r:\n%s" % (word, log))
    return log


def key_in_slot_of(names_wanted, node, prefix="k"):
    """The first key prefix:i for which names_wanted(replica names) is true."""
    for i in range(2000):
        key = "%s:%d" % (prefix, i)
        names = [text(n) for n in node.call("GYRE", "REPLICAS", key)]
        if names_wanted(names):
            return key, names
    raise AssertionError("no such key")
