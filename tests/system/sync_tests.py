"""SYNC: a snapshot for whoever asks as a replica of Redis does; and what of its replication is refused."""
import os
import shutil
import tempfile
import time

from snapshot_tests import contents, fill, imported, redis_server
from suite import *  # noqa: F401,F403

LIBRARY = "#!lua name=lib\nredis.register_function('answer', function() return 42 end)"


def payload_of(c):
    """Asks for a snapshot and reads it; (newlines before it, the file)."""
    c.send_raw(b"SYNC\r\n")
    return read_payload(c)


def read_payload(c):
    newlines, line = 0, b""
    while True:
        byte = raw(c, 1)
        if byte == b"\n" and not line:
            newlines += 1
            continue
        if byte == b"\n":
            break
        line += byte
    line = line.rstrip(b"\r")
    ok(line[:1] == b"$", line)
    if not line.startswith(b"$EOF:"):
        return newlines, raw(c, int(line[1:]))
    mark, got = line[5:], b""
    eq(len(mark), 40)
    while not got.endswith(mark):
        got += raw(c, 1) if len(got) > 1 << 16 else raw(c, 1)
    return newlines, got[:-40]


def raw(c, n):
    """n bytes as they came."""
    while len(c.buf) - c.at < n:
        c._more()
    out = bytes(c.buf[c.at:c.at + n])
    c.at += n
    return out


def info(node, section, field):
    return as_info(node.call("INFO", section))[field]


def as_info(reply):
    return dict(line.split(":", 1) for line in text(reply).split("\r\n") if ":" in line)


def loaded(folder, check):
    """redis-server over the file dump.rdb in the folder."""
    port = free_ports(1)[0]
    p = redis_server(folder, port)
    try:
        with Client(port) as c:
            return check(c)
    finally:
        p.terminate()
        p.wait(10)


@test(quick=True)
def sync_by_redis_cli():
    """redis-cli --rdb and --functions-rdb: redis-server and --import take the files, with one thread and with four."""
    folder = tempfile.mkdtemp(prefix="gyre-sync-")
    file = os.path.join(folder, "dump.rdb")
    try:
        for threads in (1, 4):
            with Cluster(1, {"threads": threads}) as ring:
                with ring[0].client() as c:
                    fill(c)
                    c("FUNCTION", "LOAD", LIBRARY)
                    time.sleep(0.01)
                    before = contents(c)
                cli(ring[0], "--rdb", file)
                eq(loaded(folder, contents), before)
                eq(loaded(folder, lambda c: c("FCALL", "answer", 0)), 42)
                with Cluster(1, {"threads": threads}) as other:
                    other[0].terminate()
                    other[0].start(["--import", file])
                    imported(other[0])
                    with other[0].client() as c:
                        eq(contents(c), before)
                        eq(c("FCALL", "answer", 0), 42)
                os.remove(file)
                cli(ring[0], "--functions-rdb", file)
                eq(loaded(folder, lambda c: (c("DBSIZE"), c("FCALL", "answer", 0))), (0, 42))
                os.remove(file)
                eq([f for f in os.listdir(ring[0].data) if f.endswith(".rdb")], [], "nothing is left over")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@test(quick=True)
def sync_protocol():
    """Both forms, sharing, PINGs afterwards, commands that wait meanwhile, what INFO and CLIENT LIST tell."""
    with Cluster(1, {"threads": 2, "repl-ping-replica-period": 1}) as ring:
        node = ring[0]
        node.call("SET", "k", "x" * 1000)
        with node.client() as a, node.client() as b:
            eq(b("REPLCONF", "listening-port", "7777", "capa", "eof", "capa", "psync2"), "OK")
            eq(error_of(b, "REPLCONF", "what", "1").code, "ERR")
            eq(error_of(b, "REPLCONF", "rdb-filter-only", "keys").code, "ERR")
            _, whole = payload_of(a)
            ok(whole.startswith(b"REDIS0010") and b"x" * 20 in whole or b"\xc3" in whole, whole[:60])
            # The commands behind it are answered when the file is out; an ACK never.
            b.send_raw(b"SYNC\r\nREPLCONF ACK 0\r\nGET nothing\r\n")
            _, other = read_payload(b)
            # The notes tell of the time, and so does the checksum.
            eq(len(other), len(whole))
            eq(b.read(), None)
            b.send_raw(b"SYNC\r\nECHO again\r\n")
            eq(b.read(), b"again", "a second SYNC is not answered")
            eq(a.read(), [b"PING"])
            eq(a.read(), [b"PING"])
            replication = as_info(node.call("INFO", "replication"))
            eq(replication["connected_slaves"], "2")
            ok(any("port=7777,state=online" in v for v in replication.values()), replication)
            eq(info(node, "stats", "sync_full"), "2")
            eq(info(node, "stats", "total_forks"), "2")
            ok(int(info(node, "stats", "total_net_repl_output_bytes")) > 2 * len(whole), "bytes are counted")
            eq(len(text(node.call("CLIENT", "LIST", "TYPE", "replica")).splitlines()), 2)
            ok(" flags=S " in text(node.call("CLIENT", "LIST", "TYPE", "replica")), "flags")
        wait_until("they are forgotten", lambda: info(node, "replication", "connected_slaves") == "0", 10)
        # Many at once share what one fork gives.
        clients = [node.client() for _ in range(12)]
        for c in clients:
            c.send_raw(b"SYNC\r\n")
        files = [read_payload(c)[1] for c in clients]
        eq({len(f) for f in files}, {len(whole)})
        ok(int(info(node, "stats", "total_forks")) <= 2 + 12, "forks")
        note("12 clients, %d forks" % (int(info(node, "stats", "total_forks")) - 2))
        eq(info(node, "stats", "sync_full"), "14")
        for c in clients:
            c.sock.close()
        with node.client() as c:
            eq(c("RESET"), "RESET")
            eq(c("MULTI"), "OK")
            eq(error_of(c, "SYNC").code, "ERR")


@test(quick=True)
def sync_slow_client():
    """A client that does not read holds a piece in memory, not the file, and is closed after repl-timeout."""
    with Cluster(1, {"threads": 2, "repl-timeout": 2}) as ring:
        node = ring[0]
        with node.client() as c:
            for i in range(64):
                c("SETRANGE", "k%d" % i, 1 << 20, os.urandom(1000))
                c("SET", "r%d" % i, os.urandom(300000))
        with node.client() as slow, node.client() as fast:
            slow.send_raw(b"SYNC\r\n")

            def omem():
                line = [x for x in text(node.call("CLIENT", "LIST")).splitlines() if " flags=S " in x][0]
                return int(line.split(" omem=")[1].split(" ")[0])
            wait_until("its snapshot is on the way", omem, 20)
            ok(omem() < 1 << 20, "a piece, not the file: %d" % omem())
            _, whole = payload_of(fast)
            ok(len(whole) > 64 * 300000, "the other has its file")
            wait_until("the slow one is closed", lambda: " flags=S " not in
                       "".join(x for x in text(node.call("CLIENT", "LIST")).splitlines(True) if " cmd=sync " in x and "omem=0" not in x), 20)
            ok("took nothing" in node.log_end(50), "the log tells")
        eq(node.call("PING"), "PONG")


@test(quick=True)
def sync_of_a_ring():
    """On a ring a node gives what it holds; with one copy of each key the nodes' files are the whole."""
    folder = tempfile.mkdtemp(prefix="gyre-sync-")
    file = os.path.join(folder, "dump.rdb")
    try:
        with Cluster(3, {"threads": 2, "replication-factor": 1}) as ring:
            with ring[0].client() as c:
                for i in range(300):
                    c("SET", "k%d" % i, i)
            keys = []
            for node in ring:
                cli(node, "--rdb", file)
                keys += loaded(folder, lambda c: c("KEYS", "*"))
                os.remove(file)
            eq(sorted(keys), sorted(b"k%d" % i for i in range(300)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@test(quick=True)
def sync_refusals():
    """No file can be made: an error; what of Redis' replication does not apply: the way that Gyre has instead."""
    with Cluster(1, {"enable-protected-configs": "yes"}) as ring:
        node = ring[0]
        with node.client() as c:
            for words in (("PSYNC", "?", "-1"), ("REPLICAOF", "127.0.0.1", "1"), ("SLAVEOF", "127.0.0.1", "1"), ("FAILOVER",),
                          ("MODULE", "LOAD", "x.so"), ("MODULE", "LOADEX", "x.so"), ("MODULE", "UNLOAD", "x")):
                eq(error_of(c, *words).code, "ERR")
            ok("ring" in str(error_of(c, "PSYNC", "?", "-1")), "PSYNC names the ring")
            ok("GYRE NODES" in str(error_of(c, "REPLICAOF", "127.0.0.1", "1")), "REPLICAOF names GYRE NODES")
            eq(str(error_of(c, "FAILOVER", "ABORT")), "ERR No failover in progress.")
            eq(c("REPLICAOF", "NO", "ONE"), "OK")
            eq(c("SLAVEOF", "no", "one"), "OK")
        moved = node.data + ".away"
        os.rename(node.data, moved)
        try:
            with node.client() as c:
                error = error_of(c, "SYNC")
                ok("No such file" in str(error), error)
        finally:
            os.rename(moved, node.data)
        eq(len(payload_of(node.client())[1]) > 50, True)
    with Cluster(3) as ring:
        for cluster in (False, True):
            with ring[0].client(cluster=cluster) as c:
                for words in ("ADDSLOTS 1", "SETSLOT 1 NODE x", "MEET 127.0.0.1 1", "FORGET x", "REPLICATE x", "FAILOVER", "RESET"):
                    error = str(error_of(c, "CLUSTER", *words.split()))
                    ok("GYRE NODES" in error, error)
