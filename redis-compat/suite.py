"""Redis' Tcl suite: fetching it, what it has, and running one file of it against a server.

A file that hangs or loses its server is run again from its start, against a fresh server, without the
test at which that happened: a hang or a crash costs one test, not those behind it.
"""
import collections
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
CACHE = os.path.join(ROOT, ".cache")
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
from cluster import free_ports  # noqa: E402

AGAIN_MAX = 6       # how often a file is begun anew


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def fetch():
    """The unpacked source package; returns its folder (which has runtest)."""
    base = os.path.join(CACHE, "redis-source")
    ready = os.path.join(base, "tree")
    if os.path.exists(os.path.join(ready, "runtest")):
        return ready
    for tool, package in (("tclsh", "tcl"), ("dpkg-source", "dpkg-dev"), ("redis-server", "redis-server")):
        if not shutil.which(tool):
            raise SystemExit("no %s: make deps-dev installs it (package %s)" % (tool, package))
    # A fresh machine has no deb-src lines, so a list of our own is derived from the mirrors that the
    # machine uses; apt gets folders of its own, so that nothing of the system changes and no root is needed.
    apt = os.path.join(base, "apt")
    for d in ("state/lists/partial", "cache/archives/partial", "log"):
        os.makedirs(os.path.join(apt, d), exist_ok=True)
    shown = subprocess.run(["apt-get", "indextargets", "--format",
                            "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(SIGNED_BY)", "Created-By: Packages"],
                           capture_output=True, text=True, timeout=60)
    lines = set()
    for row in shown.stdout.splitlines():
        uri, release, component, signed = row.split("|")
        if component == "main":
            opt = "" if not signed or "$(" in signed else " [signed-by=%s]" % signed
            lines.add("deb-src%s %s %s %s" % (opt, uri, release, component))
    if not lines:
        raise SystemExit("apt-get indextargets names no mirror; apt-get update first")
    sources = os.path.join(apt, "sources.list")
    with open(sources, "w") as f:
        f.write("\n".join(sorted(lines)) + "\n")
    opts = []
    for k, v in (("Dir::Etc::sourcelist", sources), ("Dir::Etc::sourceparts", "/dev/null"),
                 ("Dir::State", os.path.join(apt, "state")), ("Dir::Cache", os.path.join(apt, "cache")),
                 ("Dir::Log", os.path.join(apt, "log")), ("APT::Sandbox::User", ""), ("Acquire::Languages", "none"),
                 ("Acquire::http::Timeout", "30"), ("Acquire::Retries", "2")):
        opts += ["-o", "%s=%s" % (k, v)]
    say("fetching the source package of redis ...")
    for words, cwd in ((["update"], base), (["source", "--download-only", "redis"], base)):
        done = subprocess.run(["apt-get"] + opts + words, cwd=cwd, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise SystemExit("apt-get %s failed:\n%s%s" % (" ".join(words), done.stdout[-2000:], done.stderr[-2000:]))
    dsc = sorted(n for n in os.listdir(base) if n.endswith(".dsc") and n.startswith("redis_"))
    if not dsc:
        raise SystemExit("no redis_*.dsc in " + base)
    done = subprocess.run(["dpkg-source", "--no-check", "-x", dsc[-1], "tree.new"], cwd=base, capture_output=True,
                          text=True, timeout=120)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    os.rename(os.path.join(base, "tree.new"), ready)
    say("  " + dsc[-1])
    return ready


def files_of(tree):
    """The suite's own list of its files."""
    with open(os.path.join(tree, "tests", "test_helper.tcl")) as f:
        found = re.search(r"^set ::all_tests \{(.*?)^\}", f.read(), re.S | re.M)
    return found.group(1).split()


def read_skips():
    skips = collections.defaultdict(list)
    with open(os.path.join(HERE, "skip.txt")) as f:
        for line in f:
            line = line.strip()
            if line and not line.startswith("#"):
                file, name, why = (w.strip() for w in line.split("|", 2))
                if not why:
                    raise SystemExit("skip.txt: no reason: " + line)
                skips[file].append(name)
    return skips


ANSI = re.compile(r"\x1b\[[0-9;]*m")
ENDED = re.compile(r"^\[(ok|err|exception)\]: ?(.*)$")
LOST = re.compile(r"I/O error reading reply|connection refused|broken pipe|connection reset", re.I)


def parse(output):
    """({test name: ok | err: why}, what else went wrong, the test that ran when it hung or lost its server).
    A name that occurs again gets ' #2', in the file's order."""
    tests, trouble, stopped, times, last, full = {}, [], None, collections.Counter(), None, None
    for line in output.splitlines():
        line = ANSI.sub("", line).strip()
        running = re.match(r"sock\w+ => \(IN PROGRESS\) (.*)$", line)
        if line.startswith("The End"):
            break
        if running:
            stopped = running.group(1)
        if last and LOST.search(line) and not stopped:
            stopped = last
        m = ENDED.match(line)
        if not m:
            if last and not re.match(r"\[\w+\]:", line) and len(tests[full]) < 300:
                tests[full] += (": " if tests[full] == "err" else " ") + line[:200]
            continue
        what, name = m.groups()
        last = None
        if what == "ok":
            name = re.sub(r" \(\d+ ms\)$", "", name)
        else:
            cut = re.sub(r" in tests/\S+\.tcl$", "", name)
            if what == "exception" or cut == name:     # outside of a test: the rest of its block does not run
                trouble.append("outside of a test: " + name[:200])
                continue
            name = last = cut
        times[name] += 1
        full = name if times[name] == 1 else "%s #%d" % (name, times[name])
        tests[full] = what
    return tests, trouble, stopped


class Flags:
    """How the suite is run: its own options, and whether it starts its servers itself."""

    def __init__(self, words, quiet_limit=120, limit=900):
        self.words, self.quiet_limit, self.limit = words, quiet_limit, limit


def _once(tree, file, server, flags, skips, log):
    # A tree of its own: the suite writes into tests/tmp, and others may run it at the same time.
    work = tempfile.mkdtemp(prefix="gyre-compat-")
    try:
        shutil.copytree(os.path.join(tree, "tests"), os.path.join(work, "tests"))
        shutil.copy(os.path.join(tree, "runtest"), work)
        shutil.copy(os.path.join(tree, "redis.conf"), work)
        src = os.path.join(work, "src")  # some tests call ./src/redis-cli
        os.makedirs(src)
        for tool in ("redis-cli", "redis-benchmark", "redis-server"):
            found = server.starter if tool == "redis-server" and server.starter else shutil.which(tool)
            if found:
                os.symlink(found, os.path.join(src, tool))
        argv = ["./runtest", "--single", file, "--clients", "1", "--durable", "--timeout", str(flags.quiet_limit),
                "--baseport", str(free_ports(1)[0])] + flags.words
        if server.port:
            argv += ["--host", "127.0.0.1", "--port", str(server.port)]
        for name in skips:
            argv += ["--skiptest", name]
        with open(log, "w+b") as out:
            proc = subprocess.Popen(argv, cwd=work, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                    start_new_session=True, env=dict(os.environ, **server.env))
            late = False
            try:
                proc.wait(flags.limit)
            except subprocess.TimeoutExpired:
                late = True
            try:  # the session that was started just above: runtest, its clients and their servers
                os.killpg(proc.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            proc.wait(10)
            out.seek(0)
            tests, trouble, stopped = parse(out.read().decode(errors="replace"))
        if late:
            trouble.append("time limit of %d s" % flags.limit)
        return tests, trouble, stopped
    finally:
        shutil.rmtree(work, ignore_errors=True)


def run_file(tree, file, make_server, flags, skips, log):
    """({test: ok | err: why | hung | crashed}, trouble)."""
    skips, bad, lost = list(skips), {}, []
    while True:
        server = make_server()
        with server:
            tests, trouble, stopped = _once(tree, file, server, flags, skips, log)
        died = server.died
        if not (stopped and (died or stopped not in tests)) or len(bad) == AGAIN_MAX:
            break
        bad[stopped] = "crashed" if died else "hung"
        lost.append("%s: %s%s" % (bad[stopped], stopped, "\n" + server.end if died else ""))
        # A name that begins with a slash would be taken for a pattern.
        skips.append("/^" + re.escape(stopped) + "$" if stopped.startswith("/") else stopped)
        os.replace(log, "%s.%d" % (log, len(bad)))
    if died:
        trouble.append("the server ended: " + server.end)
    tests.update(bad)
    return tests, lost + trouble
