"""Faults of one process's clock and disk, through shim/shim.c (an LD_PRELOAD library of our own).

    shim = Shim(folder, data)            # before the process starts; shim.env goes into its environment
    shim.clock(-120); shim.drift(200)    # seconds, parts per million; at once, while it runs
    shim.slow_sync(0.5); shim.sync_error(errno.EIO); shim.write_error(errno.EIO); shim.space(0)
    shim.heal()
    shim.power_cut(random)               # after kill -9: files end where they were synced, or a bit later

A power cut keeps of each file what its last fsync covered, and of the rest a random part, the end of
which may be garbage. Names are kept: this does not undo renames or the removal of files.
"""
import ctypes
import mmap
import os
import struct
import time
import uuid

from cluster import ROOT

LIBRARY = os.path.join(ROOT, "build", "shim", "shim.so")
FIELDS = ("clock_offset_us", "clock_drift_ppm", "clock_drift_from_us", "sync_delay_us", "sync_error",
          "write_error", "space_left", "syncs_done", "syncs_failed", "writes_failed")     # enum field
SYNCED = struct.Struct("=QQQ")          # inode, time of birth in ns, length


class Shim:
    def __init__(self, folder, data):
        """folder: for the shim's own files. data: the directory whose writes may fail."""
        self.folder, self.data = folder, data
        self.synced = os.path.join(folder, "shim.synced")
        self.boot = os.path.join(folder, "shim.boot_id")
        control = os.path.join(folder, "shim.control")
        with open(control, "wb") as f:
            f.write(bytes(8 * len(FIELDS)))
        with open(control, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 8 * len(FIELDS))
        self.new_boot()
        self.heal()
        self.env = {"LD_PRELOAD": LIBRARY, "SHIM_CONTROL": control, "SHIM_DIRECTORY": os.path.realpath(data),
                    "SHIM_SYNCED": self.synced, "SHIM_BOOT_ID": self.boot,
                    # The sanitizers want to be the first library; for these functions they need not be.
                    "ASAN_OPTIONS": "verify_asan_link_order=0:" + os.environ.get("ASAN_OPTIONS", "")}

    def set(self, **fields):
        for name, value in fields.items():
            struct.pack_into("=q", self.map, 8 * FIELDS.index(name), value)

    def get(self, name):
        return struct.unpack_from("=q", self.map, 8 * FIELDS.index(name))[0]

    def clock(self, seconds):
        """From now on the wall clock is off by so much: a change is a jump."""
        self.set(clock_offset_us=int(seconds * 1e6))

    def drift(self, ppm):
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self.set(clock_drift_from_us=now_us, clock_drift_ppm=int(ppm))

    def slow_sync(self, seconds):
        self.set(sync_delay_us=int(seconds * 1e6))

    def sync_error(self, number):
        self.set(sync_error=number)

    def write_error(self, number):
        self.set(write_error=number)

    def space(self, bytes_left):
        """The disk is full after so many more bytes; -1: never."""
        self.set(space_left=bytes_left)

    def heal(self):
        self.set(clock_offset_us=0, clock_drift_ppm=0, clock_drift_from_us=0, sync_delay_us=0, sync_error=0, write_error=0, space_left=-1)

    def new_boot(self):
        with open(self.boot, "w") as f:
            f.write(str(uuid.uuid4()) + "\n")

    def power_cut(self, rng):
        """The process must have ended by SIGKILL. Returns how many bytes went."""
        lengths, lost = {}, 0
        if os.path.exists(self.synced):
            with open(self.synced, "rb") as f:
                for inode, birth, length in SYNCED.iter_unpack(f.read()):
                    lengths[inode, birth] = length
        for at, _, names in os.walk(self.data):
            for name in names:
                lost += cut(os.path.join(at, name), lengths, rng)
        # What is there now is on the disk.
        with open(self.synced, "wb") as f:
            for at, _, names in os.walk(self.data):
                for name in names:
                    path = os.path.join(at, name)
                    f.write(SYNCED.pack(*identity(path), os.path.getsize(path)))
        self.new_boot()
        return lost


def cut(path, lengths, rng):
    size = os.path.getsize(path)
    sure = min(size, lengths.get(identity(path), 0))
    if size == sure:
        return 0
    keep = sure if rng.random() < 0.4 else rng.randrange(sure, size + 1)
    os.truncate(path, keep)
    torn = min(keep - sure, rng.choice((0, 1, 100, 4096)))
    if torn:
        with open(path, "r+b") as f:
            f.seek(keep - torn)
            f.write(bytes(torn) if rng.random() < 0.5 else rng.randbytes(torn))
    return size - keep


_libc = ctypes.CDLL(None, use_errno=True)


def identity(path):
    """(inode, time of birth): an inode alone is used again by the next file. struct statx is 256 bytes."""
    buffer = ctypes.create_string_buffer(256)
    if _libc.statx(-100, os.fsencode(path), 0, 0xFFF, buffer) != 0:
        raise OSError(ctypes.get_errno(), path)
    inode = struct.unpack_from("=Q", buffer, 32)[0]
    seconds, nanoseconds = struct.unpack_from("=qI", buffer, 80)
    return inode, seconds * 1000000000 + nanoseconds
