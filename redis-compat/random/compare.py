"""When two replies count as the same.

Most must be equal to the byte. CHECKS names the commands whose replies have no fixed order, hold a
clock, or are drawn at random, and how these are compared; DIFFERS is the one place for what Gyre means
to answer otherwise, each with its reason (README, 'Differs from Redis').
"""
import re

TOLERANCE_MS = 300_000     # between two servers' looks at a time to live, on a machine that is busy
NOW_ID = re.compile(rb"^1[0-9]{12}-[0-9]+$")


def ordered(reply):
    """Whatever has an order in Python: by kind and text."""
    return repr(reply)


def bag(reply):
    """Members without their order; RESP2's flat pairs stay as they are."""
    kind, value = reply
    return (kind, sorted(value, key=ordered)) if isinstance(value, list) else reply


def deep_bag(reply):
    kind, value = reply
    if not isinstance(value, list):
        return reply
    return kind, sorted([tuple(map(deep_bag, v)) if isinstance(v[0], tuple) else deep_bag(v) for v in value], key=ordered)


def pairs(reply):
    """HGETALL: pairs without their order, in both protocols."""
    kind, value = reply
    if kind == b"*" and value and len(value) % 2 == 0:
        return kind, sorted(zip(value[::2], value[1::2]), key=ordered)
    return bag(reply)


def scan(reply):
    """A cursor and a bag; cursors are each server's own."""
    kind, value = reply
    if kind != b"*" or not value or len(value) != 2:
        return reply
    return kind, [(b"$", b"cursor" if value[0] != (b"$", b"0") else b"0"), bag(value[1])]


def scan_pairs(reply):
    kind, value = reply
    if kind != b"*" or not value or len(value) != 2:
        return reply
    return kind, [(b"$", b"cursor" if value[0] != (b"$", b"0") else b"0"), pairs(value[1])]


def shape(reply):
    """Type and size alone."""
    kind, value = reply
    return kind, len(value) if isinstance(value, list) else value is None


def drawn(reply):
    """As many members, whichever; errors as they are."""
    return reply if reply[0] == b"-" else shape(reply)


def whatever(_reply):
    return None


def timeless(reply):
    """Ids that a server made of its clock, and idle times, are all the same."""
    kind, value = reply
    if isinstance(value, list):
        if kind in (b"%", b"|"):
            return kind, [(k, clockless(k, v)) for k, v in value]
        if value and len(value) % 2 == 0 and all(v[0] == b"$" for v in value[::2]):
            flat = []
            for k, v in zip(value[::2], value[1::2]):
                flat += [timeless(k), clockless(k, v)]
            return kind, flat
        return kind, [timeless(v) for v in value]
    if kind == b"$" and value is not None and NOW_ID.match(value):
        return kind, b"(now)"
    return reply


def clockless(key, value):
    if key[1] in (b"idle", b"seen-time", b"active-time") and value[0] == b":":
        return value[0], "(time)"
    if key[1] == b"pending" and value[1] and isinstance(value[1], list):
        return value[0], [(k, ["(time)" if i == len(inner) - 2 else timeless(v) for i, v in enumerate(inner)]) if isinstance(inner, list)
                          else (k, inner) for k, inner in value[1]]
    return timeless(value)


def pending(reply):
    """XPENDING with a range: id, consumer, idle time, deliveries."""
    kind, value = reply
    if kind == b"*" and value and all(v[0] == b"*" and v[1] and len(v[1]) == 4 and v[1][2][0] == b":" for v in value):
        return kind, [(k, [timeless(v[0]), v[1], "(time)", v[3]]) for k, v in value]
    return timeless(reply)


def near(scale):
    def compare(one, other):
        if one == other:
            return True
        a, b = one[1], other[1]
        return one[0] == other[0] == b":" and a >= 0 and b >= 0 and abs(a - b) <= TOLERANCE_MS // scale
    return compare


def by(canonical):
    return lambda one, other: one == other or canonical(one) == canonical(other)


CHECKS = {
    "SMEMBERS": by(bag), "SINTER": by(bag), "SUNION": by(bag), "SDIFF": by(bag), "HKEYS": by(bag), "HVALS": by(bag),
    "HGETALL": by(pairs), "KEYS": by(bag), "SCAN": by(scan), "SSCAN": by(scan), "HSCAN": by(scan_pairs), "ZSCAN": by(scan_pairs),
    **dict.fromkeys(("EVAL", "EVAL_RO", "FCALL", "FCALL_RO"), by(timeless)),
    "PUBSUB": by(bag), "FUNCTION": by(deep_bag),
    "TTL": near(1000), "PTTL": near(1), "EXPIRETIME": near(1000), "PEXPIRETIME": near(1), "OBJECT IDLETIME": near(1000),
    **dict.fromkeys(("HRANDFIELD", "SRANDMEMBER", "ZRANDMEMBER"), by(drawn)),      # drawn_ok() looks at the members
    "RANDOMKEY": by(shape), "TIME": by(shape), "DUMP": by(shape), "MEMORY": by(shape), "LASTSAVE": by(shape),
    "XADD": by(timeless), "XRANGE": by(timeless), "XREVRANGE": by(timeless), "XREAD": by(timeless), "XREADGROUP": by(timeless),
    "XINFO": by(timeless), "XPENDING": by(pending), "XCLAIM": by(timeless), "XAUTOCLAIM": by(timeless),
}


def name_of(args):
    name = args[0].decode(errors="replace").upper()
    return name + " " + args[1].decode(errors="replace").upper() if name == "OBJECT" and len(args) > 1 else name


def has(args, *words):
    return any(a.upper() in words for a in args[1:])


def text(reply):
    return reply[1] if isinstance(reply[1], bytes) else b""


def after(args, word):
    return [b for a, b in zip(args[1:], args[2:]) if a.upper() == word]


def unsigned(reply):
    kind, value = reply
    if isinstance(value, list):
        return kind, [tuple(map(unsigned, v)) if isinstance(v[0], tuple) else unsigned(v) for v in value]
    return kind, b"0" if kind in (b"$", b",") and value == b"-0" else value


def cut(reply):
    """Texts as Redis' sorting sees them: up to a zero byte."""
    kind, value = reply
    if isinstance(value, list):
        return kind, list(map(cut, value))
    return kind, value.split(b"\0")[0] if isinstance(value, bytes) else value


def neighbours_swapped(one, other):
    """Whether two replies of the same members differ by two neighbours alone."""
    if not isinstance(one[1], list) or not isinstance(other[1], list) or len(one[1]) != len(other[1]):
        return False
    at = [i for i, (a, b) in enumerate(zip(one[1], other[1])) if a != b]
    return len(at) == 2 and at[1] == at[0] + 1 and bag(one) == bag(other)


LARGER = {b"embstr": (b"raw",), b"int": (b"raw", b"embstr"), b"listpack": (b"hashtable", b"skiplist"), b"intset": (b"hashtable", b"listpack")}

# What Gyre means to answer otherwise: (name, when(args, redis reply, gyre reply), why).
DIFFERS = [
    ("OBJECT ENCODING", lambda args, r, g: text(r) in LARGER.get(text(g), ()),
     "Redis' layout never shrinks, and some commands enlarge it; Gyre names what Redis would make of the value as it is"),
    *((name, lambda args, r, g: unfinished(r) and g[0] == b"*",
       "Gyre gives out a small collection at once, whatever COUNT says") for name in ("SCAN", "SSCAN", "HSCAN", "ZSCAN")),
    ("SORT", lambda args, r, g: text(r).startswith(b"ERR One or more scores") and g[0] in b"*:",
     "Redis looks at an errno that an earlier command left"),
]
STALE = DIFFERS[-1]
DIFFERS += [
    ("OBJECT REFCOUNT", lambda args, r, g: {r, g} == {(b":", 2147483647), (b":", 1)},
     "Redis shares small integers, as it came by them; to Gyre it is a rule over the value"),
    *((name, lambda args, r, g: any(b"*" not in a for a in after(args, b"BY")) and shape(r) == shape(g),
       "BY a name without a star asks for no order; a set has none") for name in ("SORT", "SORT_RO")),
    *((name, lambda args, r, g, at=at: len(args) > at and args[at] != b"0" and scanned(r) and scanned(g),
       "a cursor that nobody gave out") for name, at in (("SCAN", 1), ("SSCAN", 2), ("HSCAN", 2), ("ZSCAN", 2))),
    ("ZSCAN", lambda args, r, g: scan_pairs(unsigned(r)) == scan_pairs(unsigned(g)), "minus zero, as below"),
    ("GEO*", lambda args, r, g: has(args, b"COUNT") and neighbours_swapped(r, g),
     "those equally far are in any order when Redis sorts a part of them"),
    *((name, lambda args, r, g: has(args, b"ALPHA") and (bag(r) == bag(g) or cut(r) == cut(g)) and "\\x00" in repr((r, g)),
       "Redis compares by the letters of the locale, and not behind a zero byte; Gyre compares bytes") for name in ("SORT", "SORT_RO")),
    *((name, lambda args, r, g: b"\0" in b"".join(args) and r[0] == g[0] == b"-" and r[1].split(b" ")[0] == g[1].split(b" ")[0],
       "Redis' texts of errors end where an argument has a zero byte") for name in ("*",)),
    *((name, lambda args, r, g: unsigned(r) == unsigned(g),
       "minus zero: Redis forgets the sign of a score in small sets and keeps it in large ones; Gyre forgets it")
      for name in ("Z*", "EVAL", "EVAL_RO", "FCALL", "FCALL_RO")),
]
DIFFERS += [("SORT_RO", STALE[1], STALE[2])]
ON_A_RING = [
    ("WAIT", lambda args, r, g: r[0] == g[0] == b":", "replicas have what was written"),
    ("GET", lambda args, r, g: text(r).startswith(b"HYLL") and text(g).startswith(b"HYLL"),
     "reading does not write, so a HyperLogLog does not keep its count"),
    ("PFCOUNT", lambda args, r, g: r[0] == b":" and text(g).startswith(b"INVALIDOBJ"), "the same: Redis answers what it has kept"),
]
ring = False        # set by run


def scanned(reply):
    """A cursor and a list."""
    return reply[0] == b"*" and bool(reply[1]) and len(reply[1]) == 2


def unfinished(reply):
    return scanned(reply) and reply[1][0] != (b"$", b"0")


def same(args, one, other):
    if one == other:
        return True
    name = name_of(args)
    check = CHECKS.get(name)
    if check and check(one, other):
        return True
    names = (name, name[0] + "*", name[:3] + "*", "*")
    return any(n in names and when(args, one, other) for n, when, _why in (DIFFERS + ON_A_RING if ring else DIFFERS))


def same_exec(queued, one, other):
    """EXEC: each part as its command is compared."""
    if one == other:
        return True
    if one[0] != b"*" or other[0] != b"*" or not one[1] or not other[1] or not len(one[1]) == len(other[1]) == len(queued):
        return False
    return all(same(args, a, b) for args, a, b in zip(queued, one[1], other[1]))


REMOVERS = (b"DEL", b"UNLINK", b"GETDEL", b"RENAME", b"RENAMENX", b"FLUSHALL", b"FLUSHDB", b"SREM", b"HDEL", b"ZREM", b"LREM", b"LPOP", b"RPOP", b"SPOP",
            b"ZPOPMIN", b"ZPOPMAX", b"LTRIM", b"SMOVE", b"LMOVE", b"RPOPLPUSH", b"GETEX", b"EXPIRE", b"PEXPIRE")


def part_here(before, args, one, other):
    """Whether the two servers mean to hold different things from here on: what follows cannot be compared."""
    name = args[0].upper()
    # A string with the head of a HyperLogLog and anything behind it: Redis notices where it walks over it.
    if name == b"PFADD" and one[0] == b":" and other[0] == b"-" and other[1].startswith(b"INVALIDOBJ"):
        return any(a[0].upper() in (b"SETRANGE", b"APPEND", b"SETBIT", b"BITFIELD") and a[1:2] == args[1:2] for a in before)
    if name != b"EXEC" or one[1] is not None or other[0] != b"*" or other[1] is None:
        return False
    # Watched when absent, created and removed again: to Gyre it is as it was.
    watched = [i for i, a in enumerate(before) if a[0].upper() == b"WATCH"]
    keys = {k for i in watched for k in before[i][1:]}
    return any(a[0].upper() in REMOVERS and (a[0].upper().startswith(b"FLUSH") or keys & set(a[1:]))
               for a in before[watched[0]:]) if watched else False


def first_difference(commands, ones, others):
    """Index of the first command whose replies differ, or None. Replies of one connection, pushes apart."""
    queued = []
    if len(ones) != len(others):
        return min(len(ones), len(others), len(commands) - 1)
    for i, (args, a, b) in enumerate(zip(commands, ones, others)):
        name = args[0].upper()
        if a == (b"+", b"QUEUED"):
            queued.append(args)
        ok = same_exec(queued, a, b) if name == b"EXEC" else same(args, a, b)
        if part_here(commands[:i], args, a, b):
            return None
        if name in (b"EXEC", b"DISCARD", b"RESET") and a[0] != b"-" or a[1] and a[0] == b"-" and a[1].startswith(b"EXECABORT"):
            queued = []
        if not ok:
            return i
    return None


# Steps whose answer is drawn at random: the members before (and after) are asked for in the same step ---------

def members(reply):
    return sorted(reply[1], key=ordered) if isinstance(reply[1], list) else None


def drawn_ok(args, before, drawn):
    """SRANDMEMBER, HRANDFIELD, ZRANDMEMBER: members that are there; each once unless the count is negative."""
    there = members(before)
    if drawn[0] == b"-" or there is None:
        return True
    if not isinstance(drawn[1], list):
        return drawn in there or drawn[1] is None and not there
    picked = list(drawn[1])
    if args[-1].upper() in (b"WITHSCORES", b"WITHVALUES"):
        picked = picked[::2] if all(p[0] != b"*" for p in picked) else [p[1][0] for p in picked]
    try:
        count = int(args[2])
    except (ValueError, IndexError):
        return True
    distinct = len({repr(p) for p in picked})
    if any(p not in there for p in picked):
        return False
    return distinct == len(picked) == min(count, len(there)) if count >= 0 else len(picked) == (-count if there else 0)


def popped_ok(before, popped, after):
    """SPOP: what it gave is what is missing afterwards."""
    there, left = members(before), members(after)
    if popped[0] == b"-" or there is None or left is None:
        return True
    took = list(popped[1]) if isinstance(popped[1], list) else [popped] if popped[1] is not None else []
    return sorted(took + left, key=ordered) == there


# What a connection that subscribes reads ------------------------------------------------------------

def describe_stream(items):
    """Replies and messages in order. Channels left all at once, and patterns that one message matches, have no order."""
    out = []
    for kind, value in map(timeless, items):
        word = value[0][1] if isinstance(value, list) and value and value[0][0] == b"$" else None
        if word in (b"unsubscribe", b"punsubscribe", b"sunsubscribe", b"pmessage"):
            rest = repr(value[1]) if word != b"pmessage" else repr(value[1:])
            if out and out[-1][:2] == [kind, word]:
                out[-1][2].append(rest)
                out[-1][2].sort()
            else:
                out.append([kind, word, [rest]])
            if word != b"pmessage":
                out[-1].append(value[2])
        elif kind == b"*" and value and all(v[0] == b"$" for v in value) and word not in (b"message", b"smessage", b"pong"):
            out.append([kind, sorted(value, key=ordered)])
        else:
            out.append([kind, value])
    return out
