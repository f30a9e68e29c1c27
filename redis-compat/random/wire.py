"""Bytes to and from two servers: encoded commands, whole pipelines, replies with their types kept.

A reply is (kind, value): (b":", 1), (b"$", b"x"), (b"-", b"ERR ..."), (b"*", [...]); a null is (b"_", None)
in RESP3 and (b"$", None) or (b"*", None) in RESP2, and a map's value is the list of its pairs.
"""
import select
import socket
import time


class Hung(Exception):
    """No end of the replies within the time that was given."""


def encoded(args):
    return b"*%d\r\n%s" % (len(args), b"".join([b"$%d\r\n%s\r\n" % (len(a), a) for a in args]))


def parse(data, at=0):
    """The reply at a place and where it ends."""
    end = data.index(b"\r\n", at)
    kind, line, at = data[at:at + 1], data[at + 1:end], end + 2
    if kind in (b"$", b"=", b"!"):
        n = int(line)
        return ((kind, None), at) if n < 0 else ((kind, data[at:at + n]), at + n + 2)
    if kind in (b"*", b"~", b">"):
        n = int(line)
        if n < 0:
            return (kind, None), at
        items = []
        for _ in range(n):
            item, at = parse(data, at)
            items.append(item)
        return (kind, items), at
    if kind in (b"%", b"|"):
        items = []
        for _ in range(int(line)):
            key, at = parse(data, at)
            item, at = parse(data, at)
            items.append((key, item))
        return (kind, items), at
    if kind == b"_":
        return (kind, None), at
    if kind not in (b"+", b"-", b":", b",", b"#", b"("):
        raise ValueError("not RESP: %r" % data[end - 20:end + 20])
    return (kind, int(line) if kind == b":" else line), at


def replies(data):
    out, at = [], 0
    while at < len(data):
        one, at = parse(data, at)
        out.append(one)
    return out


def shown(reply, depth=0):
    """A reply as a person reads it, on one line."""
    kind, value = reply
    if value is None:
        return "null" + kind.decode()
    if kind == b"%":
        text = ", ".join("%s => %s" % (shown(k, depth + 1), shown(v, depth + 1)) for k, v in value)
        return "%{" + text + "}"
    if isinstance(value, list):
        return {b"*": "[", b"~": "~[", b">": ">["}[kind] + ", ".join(shown(v, depth + 1) for v in value) + "]"
    if kind == b"$":
        return "\"" + "".join(chr(c) if 32 <= c < 127 and c not in b"\"\\" else "\\x%02x" % c for c in value) + "\""
    return kind.decode() + (str(value) if isinstance(value, int) else value.decode(errors="backslashreplace"))


class Wire:
    """One connection to one server."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.out, self.got = b"", bytearray()

    def close(self):
        self.sock.close()


MARK = b"\xfe\xfdmark\xfd\xfe"


def complete(data, at, want):
    """How far whole replies go from a place, and how many are missing of those that are wanted."""
    while want and at < len(data):
        try:
            end = parse(data, at)[1]
        except (ValueError, IndexError):
            break
        if end > len(data):
            break
        at, want = end, want - 1
    return at, want


def exchange(wires, requests, seconds, count=None):
    """Sends each wire its bytes and reads: so many replies of each, or else up to the MARK that the request asks for at its end."""
    for w, request, want in zip(wires, requests, count or [0] * len(wires)):
        w.out, w.got, w.at, w.want = memoryview(request), bytearray(), 0, want
    waiting, until = {w.sock: w for w in wires}, time.monotonic() + seconds
    while waiting:
        readable, writable, _ = select.select(list(waiting), [s for s, w in waiting.items() if w.out], [], 1.0)
        for s in writable:
            w = waiting[s]
            w.out = w.out[s.send(w.out[:1 << 17]):]
        for s in readable:
            w = waiting[s]
            data = s.recv(1 << 18)
            if not data:
                raise ConnectionError("closed by the server")
            w.got += data
            if count is None:
                done = not w.out and w.got.endswith(MARK + b"\r\n")
            else:
                w.at, w.want = complete(bytes(w.got), w.at, w.want)
                done = w.want == 0
            if done:
                del waiting[s]
        if waiting and time.monotonic() > until:
            raise Hung(b" ... ".join(bytes(w.got[-100:]) for w in waiting.values()))
    return [bytes(w.got) for w in wires]
