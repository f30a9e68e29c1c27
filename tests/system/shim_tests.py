"""The shim that the fault tests rely on: a small program under it sees what it was told to see."""
import errno
import os
import random
import subprocess
import sys
import tempfile

import shim
from shim import Shim
from suite import *  # noqa: F401,F403

# Reads lines of Python, answers the value of each. `errno` of an OSError is a value too.
SUBJECT = """
import os, sys, time
for line in sys.stdin:
    try:
        out = eval(line)
    except OSError as e:
        out = -e.errno
    print(repr(out), flush=True)
"""


class Subject:
    def __init__(self, folder, data):
        self.shim = Shim(folder, data)
        self.proc = subprocess.Popen([sys.executable, "-u", "-c", SUBJECT], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     text=True, env=dict(os.environ, **self.shim.env))

    def __call__(self, line):
        self.proc.stdin.write(line + "\n")
        self.proc.stdin.flush()
        return eval(self.proc.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.proc.kill()
        self.proc.wait(10)
        self.proc.stdin.close()
        self.proc.stdout.close()


def need_shim():
    ok(os.path.exists(shim.LIBRARY), "%s is not built: make shim" % shim.LIBRARY)


@test(quick=True)
def shim_clock():
    need_shim()
    with tempfile.TemporaryDirectory() as folder, Subject(folder, folder) as ask:
        def reads(clock, low, high):
            """That its clock is this much off ours; asked between two looks at ours, so a slow answer makes no difference."""
            before = getattr(time, clock)()
            got = ask("time.%s()" % clock)
            after = getattr(time, clock)()
            ok(before + low - 0.01 <= got <= after + high + 0.01, "%s reads %s, not %s to %s" % (clock, got, before + low, after + high))
        reads("time", 0, 0)
        for seconds in (300, -300, 0.25, -86400.75, 0):
            ask.shim.clock(seconds)
            reads("time", seconds, seconds)
            reads("monotonic", 0, 0)
        began = time.monotonic()
        ask.shim.drift(200000)
        drifts = time.monotonic()
        time.sleep(0.5)
        least, before = 0.2 * (time.monotonic() - drifts), time.time()
        got = ask("time.time()")
        after, most = time.time(), 0.2 * (time.monotonic() - began)
        ok(before + least - 0.01 <= got <= after + most + 0.01, "a fifth faster: %s, not %s to %s" % (got, before + least, after + most))
        ask.shim.heal()
        reads("time", 0, 0)


@test(quick=True)
def shim_disk():
    need_shim()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as elsewhere, Subject(folder, folder) as ask:
        a = ask("os.open(%r, os.O_RDWR | os.O_CREAT)" % os.path.join(folder, "a"))
        b = ask("os.open(%r, os.O_RDWR | os.O_CREAT)" % os.path.join(elsewhere, "b"))
        eq(ask("os.write(%d, b'x' * 100)" % a), 100)
        ask.shim.write_error(errno.EIO)
        eq(ask("os.write(%d, b'x')" % a), -errno.EIO)
        eq(ask("os.pwrite(%d, b'x', 0)" % a), -errno.EIO)
        eq(ask("os.write(%d, b'x')" % b), 1, "another directory")
        ask.shim.heal()
        ask.shim.space(150)
        eq(ask("os.write(%d, b'x' * 100)" % a), 100)
        eq(ask("os.write(%d, b'x' * 100)" % a), 50, "a short write")
        eq(ask("os.write(%d, b'x')" % a), -errno.ENOSPC)
        eq(ask("os.writev(%d, [b'x', b'y'])" % a), -errno.ENOSPC)
        eq(ask.shim.get("writes_failed"), 4)
        ask.shim.heal()
        eq(ask("os.writev(%d, [b'x', b'y'])" % a), 2)
        ask.shim.sync_error(errno.EIO)
        eq(ask("os.fsync(%d)" % a), -errno.EIO)
        eq(ask("os.fdatasync(%d)" % a), -errno.EIO)
        ask.shim.heal()
        ask.shim.slow_sync(0.3)
        began = time.monotonic()
        eq(ask("os.fsync(%d)" % a), None)
        ok(time.monotonic() - began > 0.29, "a slow fsync")
        eq((ask.shim.get("syncs_done"), ask.shim.get("syncs_failed")), (1, 2))


@test(quick=True)
def shim_power_cut():
    need_shim()
    rng = random.Random(5)
    with tempfile.TemporaryDirectory() as folder:
        data = os.path.join(folder, "data")
        os.mkdir(data)
        at = lambda name: os.path.join(data, name)
        with Subject(folder, data) as ask:
            ask.shim.slow_sync(0)
            for name, synced, more in (("all", 1000, 0), ("part", 1000, 50000), ("none", 0, 50000)):
                fd = ask("os.open(%r, os.O_RDWR | os.O_CREAT)" % at(name))
                if synced:
                    ask("os.write(%d, b's' * %d)" % (fd, synced))
                    ask("os.fdatasync(%d)" % fd)
                ask("os.write(%d, b'u' * %d)" % (fd, more))
            ask("os.rename(%r, %r)" % (at("all"), at("moved")))
            # A file that was synced and removed: the next with its inode was not synced.
            ask("os.unlink(%r)" % at("part"))
            again = ask("os.open(%r, os.O_RDWR | os.O_CREAT)" % at("part"))
            ask("os.write(%d, b'u' * 100)" % again)
            one = ask("os.open(%r, os.O_RDWR | os.O_CREAT)" % at("one"))
            for _ in range(3):
                ask("os.write(%d, b's' * 1000)" % one)
                ask("os.fsync(%d)" % one)
            ask("os.write(%d, b'u' * 1000)" % one)
            boot = ask("open('/proc/sys/kernel/random/boot_id').read()")
            ask.proc.kill()
            ask.proc.wait(10)
            lost = sum(ask.shim.power_cut(rng) for _ in range(1))
            eq(ask.shim.power_cut(rng), 0, "what was left is on the disk")
            eq(os.path.getsize(at("moved")), 1000)
            kept = open(at("one"), "rb").read()
            ok(3000 <= len(kept) <= 4000 and kept[:3000] == b"s" * 3000, "a synced part is whole: %d" % len(kept))
            ok(os.path.getsize(at("none")) <= 50000 and lost >= 0, "lost %d" % lost)
        with Subject(folder, data) as ask:
            ok(len(boot) == 37 and ask("open('/proc/sys/kernel/random/boot_id').read()") != boot, "another boot")
