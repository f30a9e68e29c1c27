"""What is asked of a server: one row per command, with what must be there before it is measured.

Strings, counters: 16-byte keys `key:000000000000` out of a million. Collections: one large key each, as
redis-benchmark has them. A case that changes what it measures runs a fixed number of requests on a fresh
key, so that every server does the same work; the others run for a time.
"""
from dataclasses import dataclass

from measure import ARGS, load

DEPTHS = (1, 16, 100)
SIZES = (3, 64, 1024)


@dataclass(frozen=True)
class Case:
    command: str
    group: str              # cases of one group share what `fill` has made
    sized: bool = True      # whether the value's size matters
    fresh: str = ""         # this key is deleted before each round, and the number of requests is fixed
    refill: bool = False    # after the deletion the group is filled again: for what takes away


CASES = {
    "GET": Case("GET key:__key__", "strings"),
    "SET": Case("SET key:__key__ __data__", "strings"),
    "MGET(10)": Case("MGET" + " key:__key__" * 10, "strings"),
    "MSET(10)": Case("MSET" + " key:__key__ __data__" * 10, "strings"),
    "INCR": Case("INCR key:__key__", "counters", sized=False),
    "LPUSH": Case("LPUSH mylist __data__", "none", fresh="mylist"),
    "LPOP": Case("LPOP mylist", "list", fresh="mylist", refill=True),
    "LRANGE(100)": Case("LRANGE mylist 0 99", "list"),
    "HSET": Case("HSET myhash element:__key__ __data__", "none", fresh="myhash"),
    "HGET": Case("HGET myhash element:__key__", "hash"),
    "SADD": Case("SADD myset element:__key__", "none", sized=False, fresh="myset"),
    "ZADD": Case("ZADD myzset __key__ element:__key__", "none", sized=False, fresh="myzset"),
    "ZRANGE": Case("ZRANGE myzset __rank__ __plus9__", "zset", sized=False),
}
# GET and SET alone, for suites that are about something else.
PLAIN = {name: CASES[name].command for name in ("GET", "SET")}


def fixed(depth):
    """Requests of a round whose number is fixed: about --secs of redis-server's time."""
    return max(1000, int(ARGS.secs * {1: 80_000, 16: 400_000}.get(depth, 600_000)))


def fill(server, group, size=3, depth=100):
    """The server is empty; afterwards it holds what the group's cases read. depth: the largest that LPOP runs at."""
    n = ARGS.keys
    fills = {
        "strings": lambda: load(server, PLAIN["SET"], depth=50, size=size, n=n, seq=True),
        "counters": lambda: load(server, "INCR key:__key__", depth=50, n=n, seq=True),
        "list": lambda: load(server, "RPUSH mylist" + " __data__" * 20, depth=10, size=size, n=fixed(depth) // 20 + 10),
        "hash": lambda: load(server, "HSET myhash element:__key__ __data__", depth=50, size=size, n=n, seq=True),
        "zset": lambda: load(server, "ZADD myzset __key__ element:__key__", depth=50, n=n, seq=True),
        "none": lambda: None,
    }
    smart, server.smart = server.smart, False
    try:
        fills[group]()
    finally:
        server.smart = smart


def measure(server, name, depth, size):
    """One round of one case; what it needs is there."""
    case = CASES[name]
    if not case.fresh:
        return load(server, case.command, depth=depth, size=size)
    server.ask("DEL", case.fresh)
    if case.refill:
        fill(server, case.group, size, depth)
    return load(server, case.command, depth=depth, size=size, n=fixed(depth))
