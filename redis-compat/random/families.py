"""What each family draws: patterns (words.py), and what is read of every key when a sequence is over.

A line with a number in front is drawn that much more often. Commands with `;` between them are one step and on
one key; `draw` and `pop` are those for what is random (compare.py); `scripts.py` has the lines of Lua.
"""
from words import KEYS, compiled, source, spoilt, tame
from scripts import CALLS, LIBRARIES, LUA

STRINGS = """
4 SET $k $v [NX|XX|GET|KEEPTTL|EX $t|PX $t|EXAT $at|PXAT $pat]*
3 SET $k $v
2 GET $k
SETNX $k $v
SETEX $k $t $v
PSETEX $k $t $v
GETSET $k $v
GETDEL $k
2 GETEX $k [EX $t|PX $t|EXAT $at|PXAT $pat|PERSIST]
MGET ($k)+
MSET ($k $v)+
MSETNX ($k $v)+
2 APPEND $k $v
STRLEN $k
2 SETRANGE $k $off $v
2 GETRANGE $k $off $off
SUBSTR $k $i $i
2 INCR $k
DECR $k
3 INCRBY $k $inc
2 DECRBY $k $inc
4 INCRBYFLOAT $k $f
2 LCS $k $k [LEN|IDX|MINMATCHLEN $i|WITHMATCHLEN]*
DEL ($k)+
STRLEN $k
TTL $k
"""

BITS = """
4 SETBIT $k $off $bit
2 GETBIT $k $off
3 BITCOUNT $k [$off $off [BYTE|BIT]]
4 BITPOS $k $bit [$off [$off [BYTE|BIT]]]
3 BITOP (AND|OR|XOR|NOT) $k ($k)+
6 BITFIELD $k [GET $ft $fo|SET $ft $fo $inc|INCRBY $ft $fo $inc|OVERFLOW (WRAP|SAT|FAIL)]+
3 BITFIELD $k [OVERFLOW (WRAP|SAT|FAIL)|INCRBY $ft $fo $inc|SET $ft $fo $inc]+
BITFIELD_RO $k [GET $ft $fo|SET $ft $fo $inc]*
2 SET $k $v
APPEND $k $v
SETRANGE $k $off $v
GETRANGE $k $off $off
STRLEN $k
DEL $k
"""

HASHES = """
5 HSET $k ($m $v)+
HMSET $k ($m $v)+
2 HSETNX $k $m $v
2 HGET $k $m
HMGET $k ($m)+
2 HGETALL $k
2 HDEL $k ($m)+
HEXISTS $k $m
HLEN $k
HKEYS $k
HVALS $k
HSTRLEN $k $m
3 HINCRBY $k $m $inc
3 HINCRBYFLOAT $k $m $f
HSCAN $k 0 [MATCH $p|COUNT 1000|COUNT $n]*
draw HKEYS $k ; HRANDFIELD $k $n [WITHVALUES]
draw HKEYS $k ; HRANDFIELD $k
HRANDFIELD $k 0 $w
DEL $k
OBJECT ENCODING $k
"""

LISTS = """
3 (LPUSH|RPUSH) $k ($v)+
2 (LPUSHX|RPUSHX) $k ($v)+
3 (LPOP|RPOP) $k [$n]
2 LMPOP $nk ($k)+ (LEFT|RIGHT) [COUNT $n]
2 LMOVE $k $k (LEFT|RIGHT) (LEFT|RIGHT)
RPOPLPUSH $k $k
LLEN $k
2 LINDEX $k $i
3 LRANGE $k $i $i
3 LPOS $k $v [RANK $i|COUNT $n|MAXLEN $n]*
2 LSET $k $i $v
2 LINSERT $k (BEFORE|AFTER) $v $v
2 LREM $k $i $v
2 LTRIM $k $i $i
SORT $k [ALPHA|ASC|DESC|LIMIT $i $i]*
DEL $k
OBJECT ENCODING $k
"""

SETS = """
5 SADD $k ($m)+
SADD $k ($i)+
2 SREM $k ($m)+
SISMEMBER $k $m
SMISMEMBER $k ($m)+
2 SMEMBERS $k
SCARD $k
2 SMOVE $k $k $m
(SINTER|SUNION|SDIFF) ($k)+
3 (SINTERSTORE|SUNIONSTORE|SDIFFSTORE) $k ($k)+
2 SINTERCARD $nk ($k)+ [LIMIT $n]
SSCAN $k 0 [MATCH $p|COUNT 1000|COUNT $n]*
draw SMEMBERS $k ; SRANDMEMBER $k $n
draw SMEMBERS $k ; SRANDMEMBER $k
pop SMEMBERS $k ; SPOP $k $n
pop SMEMBERS $k ; SPOP $k
SORT $k [ALPHA|ASC|DESC|LIMIT $i $i]*
DEL $k
OBJECT ENCODING $k
"""

ZSETS = """
5 ZADD $k ($f $m)+
5 ZADD $k [NX|XX|GT|LT|CH|INCR]* ($f $m)+
3 ZINCRBY $k $f $m
2 ZREM $k ($m)+
ZSCORE $k $m
ZMSCORE $k ($m)+
ZCARD $k
2 ZCOUNT $k $s $s
(ZRANK|ZREVRANK) $k $m
3 ZRANGE $k $i $i [REV|WITHSCORES]*
3 ZRANGE $k $s $s BYSCORE [REV|WITHSCORES|LIMIT $i $i]*
2 ZRANGESTORE $k $k $i $i [REV]
2 ZRANGESTORE $k $k $s $s BYSCORE [REV|LIMIT $i $i]*
ZREVRANGE $k $i $i [WITHSCORES]
2 (ZRANGEBYSCORE|ZREVRANGEBYSCORE) $k $s $s [WITHSCORES|LIMIT $i $i]*
ZREMRANGEBYRANK $k $i $i
ZREMRANGEBYSCORE $k $s $s
2 (ZPOPMIN|ZPOPMAX) $k [$n]
2 ZMPOP $nk ($k)+ (MIN|MAX) [COUNT $n]
draw ZRANGE $k 0 -1 ; ZRANDMEMBER $k $n [WITHSCORES]
draw ZRANGE $k 0 -1 ; ZRANDMEMBER $k
ZSCAN $k 0 [MATCH $p|COUNT 1000|COUNT $n]*
3 (ZUNION|ZINTER) 2 $k $k [WEIGHTS $f $f|AGGREGATE (SUM|MIN|MAX)|WITHSCORES]*
(ZUNION|ZINTER) $nk ($k)+ [WEIGHTS ($f)+|AGGREGATE (SUM|MIN|MAX)|WITHSCORES]*
ZDIFF $nk ($k)+ [WITHSCORES]
3 (ZUNIONSTORE|ZINTERSTORE) $k 2 $k $k [WEIGHTS $f $f|AGGREGATE (SUM|MIN|MAX)]*
ZDIFFSTORE $k $nk ($k)+
ZINTERCARD $nk ($k)+ [LIMIT $n]
SADD $k ($m)+
SORT $k [ALPHA|ASC|DESC|LIMIT $i $i]*
DEL $k
OBJECT ENCODING $k
"""

# Ranges by member mean something where all scores are equal.
LEXICAL = """
4 ZADD $k (0 $m)+
ZADD $k [NX|XX|CH|GT|LT]* (0 $m)+
ZREM $k ($m)+
2 ZLEXCOUNT $k $lex $lex
3 ZRANGE $k $lex $lex BYLEX [REV|LIMIT $i $i]*
ZRANGESTORE $k $k $lex $lex BYLEX [REV|LIMIT $i $i]*
2 (ZRANGEBYLEX|ZREVRANGEBYLEX) $k $lex $lex [LIMIT $i $i]
ZREMRANGEBYLEX $k $lex $lex
ZRANGE $k 0 -1
(ZPOPMIN|ZPOPMAX) $k [$n]
(ZRANK|ZREVRANK) $k $m
DEL $k
"""

HYPERLOGLOGS = """
6 PFADD $k ($m)*
3 PFADD $k ($v)+
4 PFCOUNT ($k)+
3 PFMERGE $k ($k)*
GET $k
STRLEN $k
SET $k $v
SET $k HYLL
SETRANGE $k (0|1|2|3|4) $v
2 SETRANGE $k $off $v ; PFCOUNT $k ; PFADD $k $m ; DEL $k
APPEND $k $v ; PFCOUNT $k ; PFADD $k $m ; DEL $k
PFDEBUG (ENCODING|DECODE) $k
PFDEBUG TODENSE $k
DEL $k
TYPE $k
"""

GEO = """
5 GEOADD $k ($lon $lat $m)+
3 GEOADD $k [NX|XX|CH]* ($lon $lat $m)+
2 GEODIST $k $m $m [$unit]
GEOHASH $k ($m)*
2 GEOPOS $k ($m)*
6 GEOSEARCH $k (FROMMEMBER $m|FROMLONLAT $lon $lat) (BYRADIUS $r $unit|BYBOX $r $r $unit) [ASC|DESC|COUNT $n|WITHCOORD|WITHDIST|WITHHASH]*
2 GEOSEARCH $k [FROMMEMBER $m|FROMLONLAT $lon $lat|BYRADIUS $r $unit|BYBOX $r $r $unit|ASC|DESC|COUNT $n|COUNT $n ANY|ANY]*
3 GEOSEARCHSTORE $k $k (FROMMEMBER $m|FROMLONLAT $lon $lat) (BYRADIUS $r $unit|BYBOX $r $r $unit) [ASC|DESC|COUNT $n|STOREDIST]*
2 GEORADIUS $k $lon $lat $r $unit [ASC|DESC|COUNT $n|WITHCOORD|WITHDIST|WITHHASH|STORE $k|STOREDIST $k]*
2 GEORADIUSBYMEMBER $k $m $r $unit [ASC|DESC|COUNT $n|WITHCOORD|WITHDIST|WITHHASH|STORE $k|STOREDIST $k]*
GEORADIUS_RO $k $lon $lat $r $unit [ASC|DESC|COUNT $n|WITHCOORD|WITHDIST|WITHHASH|STORE $k]*
GEORADIUSBYMEMBER_RO $k $m $r $unit [ASC|DESC|COUNT $n|WITHDIST]*
ZADD $k ($f $m)+
ZREM $k $m
ZRANGE $k 0 -1 WITHSCORES
DEL $k
"""

STREAMS = """
6 XADD $k [NOMKSTREAM|MAXLEN $n|MAXLEN = $n|MINID $id|MINID = $id]* ($newid|*) ($m $v)+
4 XADD $k $newid ($m $v)+
XADD $k [NOMKSTREAM|MAXLEN ~ $n|MINID ~ $id|LIMIT $n]* ($id|*) ($m $v)*
XLEN $k
3 (XRANGE|XREVRANGE) $k ($id|-|+) ($id|-|+) [COUNT $n]
2 XDEL $k ($id)+
2 XTRIM $k (MAXLEN|MINID) [=|~] ($n|$id) [LIMIT $n]
2 XSETID $k $id [ENTRIESADDED $n] [MAXDELETEDID $id]
2 XREAD [COUNT $n] STREAMS ($k $id)
XREAD [COUNT $n] STREAMS $k $k ($id|$) ($id|$)
4 XGROUP CREATE $k $g ($id|$) [MKSTREAM|ENTRIESREAD $i]*
XGROUP SETID $k $g ($id|$) [ENTRIESREAD $i]
XGROUP DESTROY $k $g
XGROUP CREATECONSUMER $k $g $c
XGROUP DELCONSUMER $k $g $c
6 XREADGROUP GROUP $g $c [COUNT $n|NOACK]* STREAMS $k ($id|>|>)
XREADGROUP GROUP $g $c [COUNT $n|NOACK]* STREAMS $k $k ($id|>) ($id|>)
3 XACK $k $g ($id)+
2 XPENDING $k $g
3 XPENDING $k $g [IDLE $idle] ($id|-) ($id|+) $n [$c]
4 XCLAIM $k $g $c $idle ($id)+ [IDLE $idle|TIME $pat|RETRYCOUNT $i|FORCE|JUSTID|LASTID $id]*
4 XAUTOCLAIM $k $g $c $idle ($id|-) [COUNT $n|JUSTID]*
XINFO STREAM $k
2 XINFO STREAM $k FULL [COUNT $n]
XINFO GROUPS $k
XINFO CONSUMERS $k $g
DEL $k
"""

ANY_VALUE = """
3 SET $k $v
SET $k $v PX 100000000
2 (LPUSH|RPUSH) $k ($v)+
RPUSH $k ($f)+
2 SADD $k ($m)+
SADD $k ($i)+
2 HSET $k ($m $v)+
2 ZADD $k ($f $m)+
XADD $k $newid ($m $v)+
PFADD $k ($m)+
"""

KEYSPACE = ANY_VALUE + """
DEL ($k)+
UNLINK ($k)+
EXISTS ($k)+
TOUCH ($k)+
2 TYPE $k
2 RENAME $k $k
2 RENAMENX $k $k
4 COPY $k $k [DB $db|REPLACE]*
MOVE $k $db
SELECT ($db|0|0)
KEYS $p
SCAN 0 [MATCH $p|COUNT 1000|TYPE (string|list|hash|zset|set|stream|x)]*
DBSIZE
RANDOMKEY
5 OBJECT (ENCODING|REFCOUNT|IDLETIME|FREQ) $k
4 (EXPIRE|PEXPIRE) $k $t [NX|XX|GT|LT]*
2 EXPIREAT $k $at [NX|XX|GT|LT]*
2 PEXPIREAT $k $pat [NX|XX|GT|LT]*
2 TTL $k
2 PTTL $k
EXPIRETIME $k
PEXPIRETIME $k
2 PERSIST $k
4 SORT $k [BY ($p|nosort|w*|*->a|$k)|GET ($p|#|w*|*->a)|ASC|DESC|LIMIT $i $i]*
3 SORT $k ALPHA [GET ($p|#|w*|*->a)|ASC|DESC|LIMIT $i $i|STORE $k]*
SORT_RO $k [ALPHA|ASC|DESC|LIMIT $i $i|STORE $k]*
DUMP $k
2 RESTORE $k $t $v [REPLACE|ABSTTL|IDLETIME $n|FREQ $n]*
MEMORY USAGE $k [SAMPLES $n]
COMMAND GETKEYS (SET $k $v|MSET ($k $v)+|ZUNIONSTORE $k (0|1|2|3|-1|a) ($k)+|SORT $k STORE $k|EVAL x (0|1|2|3|-1|a) ($k)*|XREAD STREAMS $k $k 0 0|GET|PING|LMPOP (0|1|2|3|-1|a) ($k)+ LEFT)
"""

# What runs in transactions, and in scripts: replies that are equal to the byte.
PLAIN = ANY_VALUE + """
3 GET $k
2 INCR $k
INCRBY $k $inc
INCRBYFLOAT $k $f
APPEND $k $v
SETRANGE $k $off $v
2 (LPOP|RPOP) $k [$n]
LRANGE $k 0 -1
LMOVE $k $k (LEFT|RIGHT) (LEFT|RIGHT)
HGET $k $m
HINCRBY $k $m $inc
HDEL $k ($m)+
SCARD $k
SISMEMBER $k $m
SREM $k ($m)+
2 ZRANGE $k 0 -1 [WITHSCORES]
ZINCRBY $k $f $m
ZSCORE $k $m
(ZPOPMIN|ZPOPMAX) $k [$n]
XLEN $k
XRANGE $k - +
XADD $k $newid $m $v
PFCOUNT ($k)+
BITFIELD $k [GET $ft $fo|SET $ft $fo $inc|OVERFLOW (WRAP|SAT|FAIL)]+
DEL ($k)+
TYPE $k
EXPIRE $k $t
PERSIST $k
RENAME $k $k
COPY $k $k
MSET ($k $v)+
MGET ($k)+
EXISTS ($k)+
GEOADD $k $lon $lat $m
GEOPOS $k $m
NOSUCH $k
"""

TRANSACTIONS = PLAIN + """
14 MULTI
12 EXEC
3 DISCARD
6 WATCH ($k)+
2 UNWATCH
BLPOP ($k)+ 0.001
BLMOVE $k $k LEFT RIGHT 0.001
BZPOPMIN ($k)+ 0.001
BLMPOP 0.001 $nk ($k)+ LEFT
BZMPOP 0.001 $nk ($k)+ MIN COUNT $n
XREAD BLOCK 1 STREAMS $k $
WAIT 0 0
PING
ECHO $v
SELECT ($db|0|0)
SMEMBERS $k
HGETALL $k
SUBSCRIBE
"""

PUBSUB = """
4 SUBSCRIBE ($ch)+
3 PSUBSCRIBE ($pch)+
2 UNSUBSCRIBE ($ch)*
2 PUNSUBSCRIBE ($pch)*
SSUBSCRIBE $ch
SUNSUBSCRIBE ($ch)*
8 PUBLISH $ch $v
2 SPUBLISH $ch $v
PUBSUB CHANNELS [c*|news.?|?|$ch]
PUBSUB NUMSUB ($ch)*
PUBSUB NUMPAT
PUBSUB SHARDCHANNELS [c?|$ch]
PUBSUB SHARDNUMSUB ($ch)*
PING [$v]
GET $k
SET $k $v
"""


def lines(text):
    """[(weight, kind, [compiled commands])] of a family's text."""
    out = []
    for line in filter(None, text.splitlines()):
        weight, kind = 1, "plain"
        first, rest = line.split(" ", 1) if " " in line else (line, "")
        if first.isdigit():
            weight, line = int(first), rest
            first, rest = line.split(" ", 1) if " " in line else (line, "")
        if first in ("draw", "pop"):
            kind, line = first, rest
        out.append((weight, kind, [compiled(part) for part in line.split(" ; ")]))
    return out


def weighted(rows):
    return [row for row in rows for _ in range(row[0])]


def read_all(*commands):
    """Read of every key when a sequence is over."""
    return [[word if word != b"k" else key for word in command.encode().split()]
            for key in KEYS for command in commands]


class Family:
    """One kind of sequences. connections: how many take part in one."""

    def __init__(self, text, finals, connections=1, length=24, begin=(), protocols=(2, 3), others=16, kept=()):
        self.rows = weighted(lines(text))
        self.other = weighted(lines(ANY_VALUE))
        self.finals = finals
        self.connections, self.length, self.begin, self.protocols = connections, length, list(begin), protocols
        self.kept = kept                    # commands that are not spoilt
        self.others = others                # one command in so many is of any type

    def step(self, r):
        _, kind, patterns = r.choice(self.other if self.others and not r.randrange(self.others) else self.rows)
        if len(patterns) == 1:
            args = patterns[0](r)
            if r.randrange(12) == 0 and args[0] not in self.kept:
                args = spoilt(r, args)
            return kind, [tame(args, r)]
        commands = [p(r) for p in patterns]
        key = commands[0][1]
        commands = [tame([c[0], key] + c[2:], r) for c in commands]
        if kind == "pop":
            commands += [[b"SMEMBERS", key], [b"DEL", key]]
        return kind, commands

    def draw(self, name, seed):
        """(protocol, [(connection, kind, commands)]): the same for the same seed."""
        r = source(name, seed)
        protocol = r.choice(self.protocols)
        steps = [(0, "plain", [c]) for c in self.begin]
        connection = 0
        for _ in range(r.randint(4, self.length)):
            if self.connections > 1 and r.randrange(3) == 0:
                connection = r.randrange(self.connections)
            kind, commands = self.step(r)
            steps.append((connection, kind, commands))
        return protocol, steps + [(0, "final", self.finals)]


class Scripts(Family):
    """Calls of redis.call with the commands of PLAIN, lines of Lua, and libraries of functions."""

    def __init__(self):
        super().__init__(PLAIN, read_all("TYPE k", "GET k", "LRANGE k 0 -1", "ZRANGE k 0 -1 WITHSCORES"), length=14,
                         begin=[[b"SCRIPT", b"FLUSH"], [b"FUNCTION", b"FLUSH"]])
        self.libraries = weighted(lines(LIBRARIES))

    def step(self, r):
        n = r.randrange(10)
        if n < 4:
            kind, commands = super().step(r)
            args = commands[0]
            script = r.choice(CALLS)
            args = [b"EVAL" if r.randrange(6) else b"EVAL_RO", script, b"0"] + args
        elif n < 7:
            args = [b"EVAL", r.choice(LUA), r.choice([b"0", b"1", b"2"])]
            args += [c for _ in range(r.randrange(4)) for c in (r.choice(self.rows)[2][0](r)[1:2] or [b"x"])]
        else:
            kind, commands = "plain", [r.choice(self.libraries)[2][0](r)]
            args = [LIBRARY_TEXTS.get(a, a) for a in commands[0]]
        if r.randrange(16) == 0:
            args = spoilt(r, args)
        return "plain", [tame(args, r)]


from scripts import TEXTS as LIBRARY_TEXTS  # noqa: E402  (the texts that LIBRARIES' words stand for)

FAMILIES = {
    "strings": Family(STRINGS, read_all("TYPE k", "GET k", "PTTL k")),
    "bits": Family(BITS, read_all("TYPE k", "GET k")),
    "hashes": Family(HASHES, read_all("TYPE k", "HGETALL k")),
    "lists": Family(LISTS, read_all("TYPE k", "LRANGE k 0 -1")),
    "sets": Family(SETS, read_all("TYPE k", "SMEMBERS k")),
    "zsets": Family(ZSETS, read_all("TYPE k", "ZRANGE k 0 -1 WITHSCORES")),
    "lexical": Family(LEXICAL, read_all("ZRANGE k 0 -1 WITHSCORES"), others=0, kept=(b"ZADD",)),
    "hyperloglog": Family(HYPERLOGLOGS, read_all("TYPE k", "GET k")),
    "geo": Family(GEO, read_all("TYPE k", "ZRANGE k 0 -1 WITHSCORES")),
    "streams": Family(STREAMS, read_all("TYPE k", "XINFO STREAM k FULL COUNT 0")),
    "keys": Family(KEYSPACE, [[b"SELECT", b"0"], [b"KEYS", b"*"]] + read_all(
        "TYPE k", "PTTL k", "GET k", "LRANGE k 0 -1", "SMEMBERS k", "HGETALL k", "ZRANGE k 0 -1 WITHSCORES", "XRANGE k - +"),
        # Of equal weights Redis' sorting by letters makes any order, so ALPHA and BY do not meet; GETKEYS guesses at wrong commands.
        kept=(b"SORT", b"SORT_RO", b"COMMAND")),
    "transactions": Family(TRANSACTIONS, [[b"DISCARD"]] + read_all("TYPE k", "GET k", "LRANGE k 0 -1", "ZRANGE k 0 -1 WITHSCORES"),
                           connections=3, length=30,
                           kept=(b"BLPOP", b"BLMOVE", b"BZPOPMIN", b"BLMPOP", b"BZMPOP", b"XREAD", b"WAIT")),     # another time-out may be none
    "scripts": Scripts(),
    "pubsub": Family(PUBSUB, [], connections=3, length=20),
}
