"""Clocks, disks and power of single processes, by the shim; no root needed."""
import errno
import random

from faults import *  # noqa: F401,F403
from load import Load
from suite import *  # noqa: F401,F403

QUORUM = dict(roam=0.02, levels=("quorum", "quorum"))


# ---- clocks

def clock_faults(nodes, steps, options=None):
    """steps: (what, seconds to wait) while the second node's clock is wrong."""
    with Cluster(nodes, shim=True, options=options) as ring:
        odd = ring[1]
        load = Load([n.address for n in ring if n is not odd], workers=4, **QUORUM)
        through = Load([odd.address], workers=2, name=b"o", levels=("quorum", "quorum"))
        try:
            load.run_for(1)
            for step, seconds in steps:
                step(odd)
                load.run_for(seconds)
                ok(odd.alive(), "the node died of its clock:\n" + odd.log_end())
            odd.shim.heal()
            load.run_for(2)
        finally:
            load.finish()
            through.finish()
        healed = time.monotonic()
        ring.wait_ready(60, settled=False)
        ends_well(ring, load, through, since=healed)
        note(sums(ring, "skew_refused"))
        ok(load.gap < GAP_MAX, "a client of the others had no success for %.1f s" % load.gap)
        ok(load.ops > 1000, "hardly any operation: " + load.last_error())


def jump(seconds):
    return lambda n: n.shim.clock(seconds)


@test(gyre=True, limit=180)
def fault_clock_ahead():
    """Two minutes ahead for a while: nothing stamped by it wins over what comes after."""
    clock_faults(3, [(jump(120), 4)])


@test(gyre=True, limit=180)
def fault_clock_behind():
    clock_faults(3, [(jump(-120), 4)])


@test(gyre=True, limit=180)
def fault_clock_jumps():
    """To and fro, by a little and by a lot; drift."""
    rng = random.Random(3)
    steps = [(jump(rng.choice((-1, 1)) * rng.choice((0.1, 0.3, 0.6, 5, 262, 86400))), rng.choice((0.05, 0.3, 1))) for _ in range(12)]
    steps += [(lambda n: n.shim.heal(), 1), (lambda n: n.shim.drift(20000), 3), (lambda n: n.shim.drift(-20000), 3)]
    clock_faults(3, steps)


@test(gyre=True, limit=180)
def fault_clock_jumps_five():
    clock_faults(5, [(jump(300), 2), (jump(-300), 2), (jump(0.3), 2)], {"threads": 1})


def restart_with_clock(seconds):
    """A node that starts with a wrong clock, and is set right while it runs."""
    with Cluster(3, shim=True) as ring:
        odd = ring[2]
        load = Load([n.address for n in ring if n is not odd], workers=4, **QUORUM)
        try:
            load.run_for(1)
            odd.kill()
            odd.shim.clock(seconds)
            odd.start()
            load.run_for(8)         # it may wait for its peers' clocks for 5 s
            ok(odd.alive(), "the node died of its clock:\n" + odd.log_end())
            odd.shim.heal()
            load.run_for(1)
        finally:
            load.finish()
        healed = time.monotonic()
        ring.wait_ready(60, settled=False)
        ends_well(ring, load, since=healed)
        ok(load.gap < GAP_MAX, "a client of the others had no success for %.1f s" % load.gap)


@test(gyre=True, limit=180)
def fault_clock_wrong_at_start():
    restart_with_clock(600)
    restart_with_clock(-600)


# ---- disks

def disk_faults(faults, nodes=3, options=None):
    """faults: (what, seconds), one after the other on one node, each healed before the next."""
    with Cluster(nodes, shim=True, options=options) as ring:
        sick = ring[1]
        load = Load([n.address for n in ring if n is not sick], workers=4, timeout=8, **QUORUM)
        through = Load([sick.address], workers=2, timeout=8, name=b"s", levels=("quorum", "quorum"))
        try:
            for fault, seconds in faults:
                load.run_for(1)
                fault(sick.shim)
                load.run_for(seconds)
                sick.shim.heal()
                ok(sick.alive(), "the node died of its disk:\n" + sick.log_end())
            load.run_for(1)
        finally:
            load.finish()
            through.finish()
        healed = time.monotonic()
        ok(sick.shim.get("writes_failed") + sick.shim.get("syncs_failed") + sick.shim.get("syncs_done") > 0, "the shim saw no file")
        ends_well(ring, load, through, since=healed)
        note("%d writes and %d syncs failed" % (sick.shim.get("writes_failed"), sick.shim.get("syncs_failed")))
        ok(load.gap < GAP_MAX, "a client of the others had no success for %.1f s" % load.gap)
        # What it acknowledged in all this is on its disk.
        sick.kill()
        sick.start()
        ring.wait_ready(60, settled=False)
        ends_well(ring, load, through)


@test(gyre=True, limit=240)
def fault_disk_full():
    """No space left, at once and after a short write; it goes on by itself when there is space again."""
    disk_faults([(lambda s: s.space(0), 4), (lambda s: s.space(100001), 4)])


@test(gyre=True, limit=240)
def fault_disk_full_always():
    disk_faults([(lambda s: s.space(0), 4), (lambda s: s.space(10001), 4)], options={"appendfsync": "always"})


@test(gyre=True, limit=240)
def fault_disk_write_error():
    disk_faults([(lambda s: s.write_error(errno.EIO), 4), (lambda s: s.write_error(errno.EIO), 0.1)])


@test(gyre=True, limit=240)
def fault_disk_sync_error():
    disk_faults([(lambda s: s.sync_error(errno.EIO), 4), (lambda s: s.sync_error(errno.EIO), 0.1)])


@test(gyre=True, limit=240)
def fault_disk_sync_error_always():
    disk_faults([(lambda s: s.sync_error(errno.EIO), 4), (lambda s: s.write_error(errno.EIO), 2)], options={"appendfsync": "always"})


@test(gyre=True, limit=240)
def fault_disk_slow_sync():
    """Every fsync takes 0.7 s, under everysec and always."""
    disk_faults([(lambda s: s.slow_sync(0.7), 5)])
    disk_faults([(lambda s: s.slow_sync(0.7), 5)], options={"appendfsync": "always"})


@test(gyre=True, limit=240)
def fault_disk_five():
    disk_faults([(lambda s: s.space(0), 3), (lambda s: s.write_error(errno.EIO), 3), (lambda s: s.slow_sync(0.5), 3)], nodes=5, options={"threads": 1})


# ---- power

def cut_power(nodes, rng):
    """All at the same moment: nobody goes on while the others are dark."""
    for n in nodes:
        n.signal(9)
    at = time.monotonic()
    for n in nodes:
        n.proc.wait(30)
    return at, sum(n.shim.power_cut(rng) for n in nodes)


def power_of_one(fsync, rounds=3, nodes=3):
    rng = random.Random(11)
    with Cluster(nodes, shim=True, options={"appendfsync": fsync, "threads": 2 if nodes == 3 else 1}) as ring:
        load = Load(ring.addresses, workers=4, **QUORUM)
        lost = 0
        try:
            for i in range(rounds):
                load.run_for(1.5)
                n = ring[i % nodes]
                lost += cut_power([n], rng)[1]
                load.run_for(0.7)
                n.start()
                ring.wait_settled(60)
                # The next cut comes when this node has again what it lost: two cuts at once are the other test.
                load.hold()
                wait_equal(ring, FIVE * EQUAL_SECONDS, load.keys())
                load.go_on()
        finally:
            load.finish()
        note("%s: %d bytes cut off" % (fsync, lost))
        ends_well(ring, load)


@test(gyre=True, limit=240)
def fault_power_cut_of_one():
    """kill -9, and its files go back to what was synced, with torn ends. The others have what it lost."""
    power_of_one("everysec")
    power_of_one("always")


@test(gyre=True, limit=240)
def fault_power_cut_of_one_of_five():
    power_of_one("everysec", nodes=5)


def power_of_all(fsync, rounds=2, nodes=3):
    rng = random.Random(12)
    with Cluster(nodes, shim=True, options={"appendfsync": fsync, "threads": 2 if nodes == 3 else 1}) as ring:
        load = Load(ring.addresses, workers=4, **QUORUM)
        recorders, oldest, total, gone = [], 0.0, 0, 0
        try:
            for i in range(rounds):
                load.run_for(1.5)
                if fsync != "always":
                    load.hold()             # what is checked by value was acknowledged well before the last second
                    time.sleep(FIVE * 1.1)
                recorders = [Recorder(n.address, "%s%d%s" % (fsync, i, n.name)) for n in ring]
                time.sleep(2.5)
                at, lost = cut_power(list(ring), rng)
                for r in recorders:
                    r.finish()
                ring.start(60)
                note("%d bytes cut off" % lost)
                for r in recorders:
                    missing = r.lost(ring[i % nodes].address)
                    total += len(r.acked)
                    gone += len(missing)
                    oldest = max([oldest] + [at - when for _, when in missing])
                load.go_on()
            load.run_for(0.5)
        finally:
            load.finish()
        note("%s: %d of %d lost" % (fsync, gone, total))
        ok(total > 300, "hardly any write: %d" % total)
        if fsync == "always":
            eq(gone, 0, "acknowledged writes lost")
        else:
            within("oldest lost write", oldest, 1.1, "s")
        ring.wait_settled(60)
        ends_well(ring, load)


@test(gyre=True, limit=240)
def fault_power_cut_of_all_always():
    """Nothing acknowledged is lost."""
    power_of_all("always")


@test(gyre=True, limit=240)
def fault_power_cut_of_all_everysec():
    """At most the last second."""
    power_of_all("everysec")


@test(gyre=True, limit=240)
def fault_power_cut_of_all_five():
    power_of_all("always", nodes=5, rounds=1)
