"""A small RESP2/RESP3 client: the standard library only, no magic.

    c = Client(6379)                     # 127.0.0.1
    c("SET", "k", "v")                   # b"OK" as Status
    c.pipeline([("GET", "k"), ...])      # replies in order; errors as ReplyError values
    c.send(...); c.read()                # by hand

A call raises ReplyError on an error reply and OSError (also Timeout, Closed) when the connection
fails: after that the outcome of what was sent is unknown and the client must not be used again.
Bulk strings are bytes, simple strings are Status (a str), maps are dicts, sets are lists, pushes
are Push (a list) and land in c.pushes.
"""
import socket


class ReplyError(Exception):
    """An error reply; code is its first word."""

    @property
    def code(self):
        return (str(self).split(" ", 1) or [""])[0]

    def __eq__(self, other):
        return isinstance(other, ReplyError) and str(self) == str(other)

    __hash__ = Exception.__hash__


class Closed(ConnectionError):
    """The server closed the connection."""


class ProtocolError(Exception):
    """What came is not RESP."""


class Status(str):
    """A simple string."""


class Push(list):
    """An out-of-band RESP3 push."""


def encode(args):
    out = [b"*%d\r\n" % len(args)]
    for a in args:
        if isinstance(a, str):
            a = a.encode("utf-8", "surrogateescape")
        elif not isinstance(a, (bytes, bytearray)):
            a = str(a).encode()
        out.append(b"$%d\r\n%s\r\n" % (len(a), a))
    return b"".join(out)


class Client:
    def __init__(self, port, host="127.0.0.1", timeout=10.0, proto=2):
        """port: a number, or (host, port)."""
        if isinstance(port, tuple):
            host, port = port
        self.port = port
        self.sock = socket.create_connection((host, port), timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = bytearray()
        self.at = 0
        self.pushes = []
        if proto == 3:
            self("HELLO", "3")

    # sending ------------------------------------------------------------------------------
    def send(self, *args):
        self.sock.sendall(encode(args))

    def send_raw(self, data):
        self.sock.sendall(data)

    # receiving ----------------------------------------------------------------------------
    def _more(self):
        if self.at > 1 << 16:
            del self.buf[:self.at]
            self.at = 0
        got = self.sock.recv(1 << 16)
        if not got:
            raise Closed("closed by the server")
        self.buf += got

    def _line(self):
        while True:
            end = self.buf.find(b"\r\n", self.at)
            if end >= 0:
                line = bytes(self.buf[self.at:end])
                self.at = end + 2
                return line
            self._more()

    def _exact(self, n):
        while len(self.buf) - self.at < n + 2:
            self._more()
        data = bytes(self.buf[self.at:self.at + n])
        if self.buf[self.at + n:self.at + n + 2] != b"\r\n":
            raise ProtocolError("no CRLF after a bulk")
        self.at += n + 2
        return data

    def _one(self):
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return Status(rest.decode(errors="replace"))
        if kind == b"-":
            return ReplyError(rest.decode(errors="replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            n = int(rest)
            return None if n < 0 else self._exact(n)
        if kind == b"*":
            n = int(rest)
            return None if n < 0 else [self._one() for _ in range(n)]
        if kind == b"_":
            return None
        if kind == b"#":
            return rest == b"t"
        if kind == b",":
            return float(rest)
        if kind == b"(":
            return int(rest)
        if kind == b"=":
            return self._exact(int(rest))[4:]
        if kind == b"!":
            return ReplyError(self._exact(int(rest)).decode(errors="replace"))
        if kind == b"~":
            return [self._one() for _ in range(int(rest))]
        if kind == b"%":
            out = {}
            for _ in range(int(rest)):
                key = self._one()
                out[tuple(key) if isinstance(key, list) else key] = self._one()
            return out
        if kind == b"|":
            for _ in range(2 * int(rest)):
                self._one()
            return self._one()
        if kind == b">":
            return Push(self._one() for _ in range(int(rest)))
        raise ProtocolError("unexpected %r" % line[:80])

    def read(self):
        """The next reply; an error reply is returned, not raised."""
        while True:
            got = self._one()
            if not isinstance(got, Push):
                return got
            self.pushes.append(got)

    def read_push(self):
        """The next push that has not been looked at; no reply may come before it."""
        if not self.pushes:
            got = self._one()
            if not isinstance(got, Push):
                raise ProtocolError("a reply before the push: %r" % (got,))
            self.pushes.append(got)
        return self.pushes.pop(0)

    # both ---------------------------------------------------------------------------------
    def __call__(self, *args):
        self.send(*args)
        got = self.read()
        if isinstance(got, ReplyError):
            raise got
        return got

    def pipeline(self, commands):
        commands = list(commands)
        self.sock.sendall(b"".join(encode(c) for c in commands))
        return [self.read() for _ in commands]

    def close(self):
        try:
            self.sock.close()
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def as_map(reply):
    """A map reply of either protocol (RESP2: a flat array) with text keys."""
    items = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2])
    return {(k.decode() if isinstance(k, bytes) else str(k)): v for k, v in items}


def text(value):
    return value.decode(errors="replace") if isinstance(value, (bytes, bytearray)) else value


def crc16(data):
    """XMODEM, as Redis Cluster hashes keys."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def slot(key):
    key = key.encode() if isinstance(key, str) else key
    open_ = key.find(b"{")
    if open_ >= 0:
        close = key.find(b"}", open_ + 1)
        if close > open_ + 1:
            key = key[open_ + 1:close]
    return crc16(key) & 16383
