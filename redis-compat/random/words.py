"""Random commands from patterns.

A pattern is a line of words:

    SET $k $v [NX|XX|GET]* [EX $t|KEEPTTL]

    WORD        itself
    $k          an argument of this kind: the table KINDS
    a|b         one of them, inside brackets
    [ ... ]     or nothing
    [ ... ]*    up to three times, [ ... ]+ one to four times, ( ... ) once

So that most commands reach past the checks of their arguments, kinds give what fits nine times out of
ten. What does not fit comes from `odd`, and from `spoilt`, which drops, doubles, swaps and replaces
arguments of a whole command. Numbers are bounded so that no value grows beyond some kilobytes: `tame`.
"""
import random
import re

KEYS = [b"a", b"b", b"c", b"{a}d"]
MEMBERS = [b"a", b"b", b"c", b"d", b"1", b"2", b"10", b"-5", b"", b"x" * 70, b"hello", b"\x00\xff", b"foo bar", b"1.5"]
VALUES = [b"", b"a", b"hello world", b"0", b"1", b"-1", b"10", b"12345", b"9223372036854775807", b"-9223372036854775808",
          b"9223372036854775806", b"3.0", b"1.5", b"-0", b"01", b"1e3", b"x" * 44, b"y" * 45, b"z" * 64, b"w" * 65,
          b"\x00\xff\x80", b"ohmytext", b"mynewtext", b"ab" * 100, b"2147483648", b"255", b"\xff\xf0\x00", b"ratio:8.5"]
SMALL = [b"0", b"1", b"2", b"3", b"-1", b"-2", b"-3", b"4", b"5", b"7", b"10", b"100"]
EXTREME = [b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808", b"-9223372036854775809",
           b"9223372036854775806", b"4611686018427387904", b"-4611686018427387905", b"2147483647", b"2147483648",
           b"-2147483648", b"-2147483649", b"4294967295", b"4294967296", b"18446744073709551615",
           b"18446744073709551616", b"-9223372036854775807", b"99999999999999999999", b"1000000", b"65536"]
NOT_INTEGERS = [b"", b" 1", b"1 ", b"+1", b"01", b"-0", b"1.0", b"1e3", b"0x10", b"a", b"-", b"+", b"--1", b"1a", b"\x00", b"nan"]
FLOATS = [b"0", b"1", b"2", b"-1", b"1.5", b"-2.25", b"3", b"0.1", b"10", b"100", b"3.14", b"1e3", b"-1e-3"]
ODD_FLOATS = [b"inf", b"-inf", b"+inf", b"Infinity", b"-INF", b"nan", b"-nan", b"NaN", b".5", b"5.", b"-.5", b"1e400", b"-1e400", b"1e-400",
              b"0x1p3", b"0xA", b"1E5", b"1e+5", b"+1", b" 1", b"1 ", b"", b"1e", b"e1", b"-0", b"-0.0", b"1.7976931348623157e308",
              b"4.9e-324", b"9007199254740993", b"17179869184.000001", b"0.1000000000000000055511151231257827",
              b"3.14159265358979323846", b"123456789012345678901234567890", b"1_0", b"1,5", b"infx", b"1\x00", b"99999999999999999",
              b"0.30000000000000004", b"1e21", b"1e17", b"123456789.123456789", b"1e-7", b"0.000001", b"100000000000000000000"]
ODD_WORDS = [b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR", b"GET", b"KEEPTTL", b"EX", b"PX", b"EXAT", b"PERSIST", b"WITHSCORES", b"LIMIT",
             b"COUNT", b"MATCH", b"BYSCORE", b"BYLEX", b"REV", b"ASC", b"DESC", b"ALPHA", b"STORE", b"REPLACE", b"LEFT", b"RIGHT",
             b"BEFORE", b"WEIGHTS", b"AGGREGATE", b"MAXLEN", b"MINID", b"NOMKSTREAM", b"*", b"-", b"+", b"$", b">", b"~", b"=", b"(1", b"[a",
             b"WITHVALUES", b"RANK", b"FROMMEMBER", b"BYRADIUS", b"km", b"ANY", b"GROUPS", b"STREAMS", b"DB", b"u8", b"i64",
             b"OVERFLOW", b"BIT", b"BYTE", b"AND", b"NOT", b"", b"0", b"1", b"-1", b"2"]

# Times to live: gone at once, or so far that no sequence sees the end; 0 and below are errors of SET.
# Two servers never agree on a relative time, so those that are shown differ by less than their steps.
SECONDS = [b"100000", b"1000000", b"-1", b"0", b"100000000", b"-100000", b"9223372036854775807", b"-9223372036854775808", b"9223372036854775",
           b"9223372036854776", b"-9223372036854776"]
STAMPS_S = [b"1", b"0", b"-1", b"99999999999", b"4102444800", b"9223372036854775807", b"9223372036854775", b"-9223372036854775808", b"9223372036854776"]
STAMPS_MS = [b"1", b"0", b"-1", b"99999999999999", b"4102444800000", b"9223372036854775807", b"-9223372036854775808"]
IDS = [b"0", b"0-0", b"0-1", b"1", b"1-1", b"1-2", b"2-0", b"2-1", b"3", b"3-3", b"5", b"5-5", b"7-0", b"18446744073709551615-18446744073709551615",
       b"18446744073709551615", b"0-18446744073709551615", b"1-18446744073709551615"]
ODD_IDS = [b"", b"a", b"-", b"+", b"1-", b"-1", b"1-a", b"1-1-1", b"18446744073709551616", b"1-18446744073709551616", b"(1-1", b"(", b"(0",
           b"(18446744073709551615-18446744073709551615", b"1-*", b"2-*", b"*", b"$", b">", b" 1", b"01-01", b"+1"]
SCORES = [b"-inf", b"+inf", b"inf", b"0", b"1", b"2", b"(1", b"(0", b"-1", b"1.5", b"(1.5", b"10", b"(inf", b"(-inf", b"3", b"100"]
ODD_SCORES = [b"(", b"((1", b"[1", b"nan", b"(nan", b"", b"a", b"1e400", b"0x1p1", b" 1", b"(+inf", b"1 "]
LEXES = [b"-", b"+", b"[a", b"(a", b"[b", b"(c", b"[", b"(", b"[d", b"[hello", b"(1", b"[\xff"]
ODD_LEXES = [b"a", b"", b"+a", b"-1", b"inf", b"++"]
LONGITUDES = [b"0", b"13.361389", b"15.087269", b"-180", b"180", b"-0.5", b"2.349014", b"179.99", b"-73.9", b"12.5"]
LATITUDES = [b"0", b"38.115556", b"37.502669", b"-85.05112878", b"85.05112878", b"51.5", b"48.864716", b"-33.8", b"40.7"]
RADII = [b"0", b"1", b"100", b"200", b"1000", b"5000", b"20000", b"0.5", b"166274.1516", b"40000000"]
PATTERNS = [b"*", b"a*", b"?", b"[a-c]", b"*[^a]", b"\\*", b"", b"a", b"h?llo", b"[", b"[a", b"*a*b*", b"\\", b"{a}*", b"*\xff*", b"[]a]", b"[^]", b"**"]
FIELD_TYPES = [b"u1", b"i1", b"u8", b"i8", b"u16", b"i16", b"u31", b"u32", b"i32", b"u63", b"i64", b"u5", b"i7", b"i63", b"u64", b"i65", b"u0", b"i0",
               b"x8", b"u", b"8", b"u8a", b"U8", b"I8", b"u-1", b"u08"]


def mostly(usual, odd, one_in=10):
    return lambda r: r.choice(odd) if r.randrange(one_in) == 0 else r.choice(usual)


def number(usual, odd_one_in=9):
    odd = EXTREME + NOT_INTEGERS
    return mostly(usual, odd, odd_one_in)


def member(r):
    return r.choice(MEMBERS) if r.randrange(8) else b"m%d" % r.randrange(200)


def value(r):
    n = r.randrange(30)
    if n == 0:
        return bytes(r.randrange(256) for _ in range(r.randrange(60)))
    return r.choice(FLOATS) if n < 3 else r.choice(VALUES)


KINDS = {
    # No zero byte: it ends the key in Redis' texts of errors, and not in ours.
    "k": lambda r: r.choice(KEYS) if r.randrange(40) else r.choice((b"", b"nosuch", b"k\r\n\xff")),
    "v": value,
    "m": member,
    "i": number(SMALL),
    "inc": lambda r: r.choice(SMALL) if r.randrange(3) else r.choice(EXTREME + NOT_INTEGERS),
    "n": mostly([b"0", b"1", b"2", b"3", b"5", b"10"], EXTREME + NOT_INTEGERS + [b"-1", b"-2"]),
    "off": mostly([b"0", b"1", b"2", b"3", b"5", b"7", b"8", b"9", b"15", b"20", b"100", b"-1", b"-2"], EXTREME + NOT_INTEGERS),
    "f": mostly(FLOATS, ODD_FLOATS, 6),
    "t": mostly(SECONDS[:2], SECONDS + NOT_INTEGERS, 4),
    "at": mostly(STAMPS_S[3:5], STAMPS_S + NOT_INTEGERS, 4),
    "pat": mostly(STAMPS_MS[3:5], STAMPS_MS + NOT_INTEGERS, 4),
    "id": mostly(IDS, ODD_IDS, 8),
    "newid": lambda r: b"%d-%d" % (r.randrange(1, 9), r.randrange(4)) if r.randrange(4) else r.choice(IDS + ODD_IDS),
    "s": mostly(SCORES, ODD_SCORES),
    "lex": mostly(LEXES, ODD_LEXES),
    "lon": mostly(LONGITUDES, ODD_FLOATS + [b"180.1", b"-181"]),
    "lat": mostly(LATITUDES, ODD_FLOATS + [b"85.06", b"-90"]),
    "r": mostly(RADII, ODD_FLOATS + [b"-1"]),
    "unit": mostly([b"m", b"km", b"mi", b"ft", b"KM"], [b"", b"x", b"cm"], 20),
    "p": lambda r: r.choice(PATTERNS),
    "ft": mostly(FIELD_TYPES[:11], FIELD_TYPES, 4),
    "fo": lambda r: (b"#" if r.randrange(3) == 0 else b"") + KINDS["off"](r),
    "g": mostly([b"g1", b"g2"], [b"", b"nosuch"], 12),
    "c": mostly([b"alice", b"bob"], [b"", b"carol"], 8),
    "idle": mostly([b"0", b"0", b"100000000"], [b"-1", b"9223372036854775807", b"a", b"", b"-9223372036854775808"], 8),
    "bit": mostly([b"0", b"1"], [b"2", b"-1", b"", b"a", b"01", b"9223372036854775807"], 8),
    "nk": mostly([b"1", b"2", b"2"], [b"0", b"-1", b"3", b"9223372036854775807", b"a", b"", b"-9223372036854775808", b"4294967297"], 8),
    "w": lambda r: r.choice(ODD_WORDS),
    "db": mostly([b"0", b"1"], [b"15", b"16", b"-1", b"a", b"", b"9223372036854775807", b"4294967296"], 6),
    "h": mostly([b"a", b"b", b"h1"], MEMBERS),
    "ch": mostly([b"c1", b"c2", b"news.a"], [b"", b"a", b"\xff"]),
    "pch": lambda r: r.choice([b"c*", b"news.*", b"*", b"c?", b"", b"[a-c]1", b"c1"]),
}


# Patterns ------------------------------------------------------------------------------------------

TOKEN = re.compile(r"[\[(]|[\])][*+]?|\||[^\s\[\]()|]+")


def compiled(pattern):
    """A function that appends a command's arguments to a list."""
    words, at = TOKEN.findall(pattern), 0

    def sequence(closing):
        nonlocal at
        branches, here = [], []
        while at < len(words) and not (closing and words[at].startswith(closing)):
            word = words[at]
            at += 1
            if word == "|":
                branches.append(here)
                here = []
            elif word in ("[", "("):
                inner = sequence("]" if word == "[" else ")")
                end = words[at]
                at += 1
                here.append(repeated(inner, word, end[1:]))
            else:
                here.append(single(word))
        branches.append(here)
        return branches

    branches = sequence(None)
    if len(branches) != 1:
        raise ValueError("a choice outside of brackets: " + pattern)
    steps = branches[0]

    def command(r):
        out = []
        for step in steps:
            step(r, out)
        return out
    return command


def single(word):
    if len(word) > 1 and word.startswith("$"):
        kind = KINDS[word[1:]]

        def argument(r, out):
            out.append(kind(r))
        return argument
    literal = word.encode()

    def same(r, out):
        out.append(literal)
    return same


def repeated(branches, bracket, suffix):
    low, high = {"*": (0, 3), "+": (1, 4)}.get(suffix, (0, 1) if bracket == "[" else (1, 1))
    rare = (low, high) == (0, 1)

    def group(r, out):
        times = low if low == high else (r.randrange(5) < 2 if rare else r.randint(low, high))
        for _ in range(times):
            for step in (branches[0] if len(branches) == 1 else r.choice(branches)):
                step(r, out)
    return group


# Spoiling ------------------------------------------------------------------------------------------

def odd(r):
    n = r.randrange(5)
    return r.choice(ODD_WORDS if n < 2 else EXTREME if n == 2 else NOT_INTEGERS if n == 3 else ODD_FLOATS).rstrip(b"\0")


def spoilt(r, args):
    """One thing about the arguments is wrong; the name stays."""
    args = list(args)
    n = r.randrange(6)
    if len(args) < 2 or n == 0:
        args.insert(r.randint(1, len(args)), odd(r))
        return args
    at = r.randrange(1, len(args))
    if n == 1:
        del args[at]
    elif n == 2:
        args.insert(at, args[at])
    elif n == 3:
        other = r.randrange(1, len(args))
        args[at], args[other] = args[other], args[at]
    elif n == 4:
        args[at] = args[at].swapcase()
    else:
        args[at] = odd(r)
    return args


# Commands that would make a value, or a reply, as large as the number that they are given.
SIZED = {b"SETBIT", b"SETRANGE", b"BITFIELD", b"BITFIELD_RO", b"SRANDMEMBER", b"HRANDFIELD", b"ZRANDMEMBER"}
SIZE_MAX, HARMLESS = 3000, 1 << 32


def tame(args, r):
    return lasting(sized(args), r)


def lasting(args, r):
    """No time to live that ends while two servers look at the key one after the other; none that is compared
    with one of a moment ago, which is the same or not with the millisecond that it was set in."""
    out = list(args)
    for i, a in enumerate(args):
        word = a.upper()
        at = i + 2 if word in (b"EXPIRE", b"PEXPIRE", b"SETEX", b"PSETEX", b"RESTORE") else i + 1 if word in (b"EX", b"PX") else len(out)
        if at < len(out) and out[at].isdigit() and 0 < int(out[at]) < 100_000:
            out[at] = b"100000"
        compared = word in (b"EXPIRE", b"PEXPIRE") and {b"GT", b"LT"}.intersection(o.upper() for o in out[at + 1:])
        if compared and out[at].isdigit() and int(out[at]) < 10 ** 9:
            out[at] = b"%d" % 10 ** r.uniform(5.3, 9)
    return out


def sized(args):
    """Bounds what a command could allocate; what is too large even for an error stays."""
    names = SIZED.intersection(a.upper() for a in args)
    if not names:
        return args
    random_member = not names & {b"SETBIT", b"SETRANGE", b"BITFIELD", b"BITFIELD_RO"}
    out = []
    for a in args:
        digits = a.lstrip(b"#")
        try:
            n = int(digits) if len(digits) < 40 else 0
        except ValueError:
            n = 0
        if random_member:
            too_much = -(1 << 63) < n < -SIZE_MAX
        else:
            # An offset in fields that overflows 64 bits lands anywhere in Redis; Gyre answers an error.
            too_much = SIZE_MAX < n < HARMLESS or a[:1] == b"#" and abs(n) >= 1 << 50
            # Near the least integer Redis' OVERFLOW SAT gives the largest number of a field instead of the least.
            too_much = too_much or b"BITFIELD" in names and n < -(1 << 62) - 1
        out.append(b"7" if too_much else a)
    return out


def source(family, seed):
    return random.Random("%s %d" % (family, seed))
