"""Users and what they may do: on one node over threads, on a ring, in files; beside redis-server where it is there."""
import os
import shutil
import subprocess
import tempfile
import time

from suite import *  # noqa: F401,F403

REDIS = shutil.which("redis-server")


def raises(client, words, *args):
    """The call is answered by an error that holds `words`."""
    try:
        got = client(*args)
    except ReplyError as e:
        ok(words in str(e), "%r: %s" % (args, e))
        return
    raise AssertionError("%r was answered: %r" % (args, got))


def as_user(node, name, password="x", **how):
    c = node.client(**how)
    eq(c("AUTH", name, password), "OK")
    return c


def closed(client):
    try:
        client("PING")
    except (Closed, OSError):
        return True
    except ReplyError:
        pass
    return False


def commands_of(client, name):
    return text(as_map(client("ACL", "GETUSER", name))["commands"])


@test(quick=True)
def acl_users_over_threads():
    """Rights given and taken on one thread count on all of them with the next command; counters and the log tell."""
    with Cluster(1, options={"threads": 2}) as c:
        node = c[0]
        admin = node.client()
        eq(admin("ACL", "WHOAMI"), b"default")
        eq(admin("ACL", "SETUSER", "alice", "on", ">x", "~cache:*", "+get", "+set", "&news"), "OK")
        clients = [as_user(node, "alice") for _ in range(4)]
        for i, a in enumerate(clients):
            raises(a, "NOPERM this user has no permissions to run the 'acl|whoami' command", "ACL", "WHOAMI")
            eq(a("SET", "cache:%d" % i, "v"), "OK")
            eq(a("GET", "cache:%d" % i), b"v")
            raises(a, "NOPERM this user has no permissions to access one of the keys used as arguments", "GET", "other")
            raises(a, "'incr'", "INCR", "cache:n")
        admin("ACL", "SETUSER", "alice", "+incr", "-set", "~more:*")
        for a in clients:
            a("INCR", "cache:n")
            a("GET", "more:1")
            raises(a, "'set'", "SET", "cache:n", "1")
        admin("ACL", "SETUSER", "alice", "+@all", "allkeys", "allchannels")
        for a in clients:
            eq(a("ACL", "WHOAMI"), b"alice")
            a("SET", "anything", "1")
        admin("ACL", "SETUSER", "alice", "nocommands", "+get")
        for a in clients:
            raises(a, "NOPERM", "SET", "anything", "1")
            eq(a("GET", "anything"), b"1")
        lines = [text(x) for x in admin("CLIENT", "LIST").splitlines()]
        eq(sum("user=alice" in x for x in lines), 4, "CLIENT LIST")
        info = text(admin("INFO", "stats"))
        ok("acl_access_denied_cmd:%d" % (4 * 4) in info, info)
        ok("acl_access_denied_key:4" in info, info)
        log = [as_map(e) for e in admin("ACL", "LOG")]
        eq([text(log[0]["object"]), log[0]["count"], text(log[0]["reason"])], ["set", 8, "command"], "both rounds in one entry")
        eq(admin("CLIENT", "KILL", "USER", "alice"), 4)
        for a in clients:
            ok(closed(a), "killed")
        raises(admin, "No such user 'nobody'", "CLIENT", "KILL", "USER", "nobody")


@test(quick=True)
def acl_passwords_and_default():
    """AUTH and HELLO with names; requirepass is the default user's; a user that is off stays out."""
    with Cluster(1, options={"threads": 2}) as c:
        node = c[0]
        admin = node.client()
        admin("ACL", "SETUSER", "bob", ">one", ">two", "+ping")
        raises(node.client(), "WRONGPASS", "AUTH", "bob", "one")
        admin("ACL", "SETUSER", "bob", "on")
        for password in ("one", "two"):
            eq(as_user(node, "bob", password)("PING"), "PONG")
        raises(node.client(), "WRONGPASS", "AUTH", "bob", "three")
        raises(node.client(), "WRONGPASS", "AUTH", "nobody", "one")
        raises(node.client(), "WRONGPASS", "HELLO", "3", "AUTH", "bob", "no")
        b = node.client()
        b("HELLO", "2", "AUTH", "bob", "two")
        raises(b, "NOPERM", "GET", "k")
        # RESET is back at the default user.
        eq(b("RESET"), "RESET")
        eq(b("ACL", "WHOAMI"), b"default")
        admin("ACL", "SETUSER", "bob", "<one")
        raises(node.client(), "WRONGPASS", "AUTH", "bob", "one")
        raises(node.client(), "without any password configured", "AUTH", "x")
        admin("CONFIG", "SET", "requirepass", "pw")
        raises(node.client(), "NOAUTH", "PING")
        raises(node.client(), "WRONGPASS", "AUTH", "no")
        eq(node.client()("AUTH", "pw"), "OK")
        eq(as_user(node, "default", "pw")("PING"), "PONG")
        eq(admin("PING"), "PONG", "who was in stays in")
        waiting = node.client()
        raises(waiting, "NOAUTH", "PING")
        admin("CONFIG", "SET", "requirepass", "")
        eq(waiting("PING"), "PONG", "nobody is asked any more")
        admin("ACL", "SETUSER", "default", "off")
        raises(node.client(), "NOAUTH", "PING")
        admin("ACL", "SETUSER", "default", "on")
        eq(len(admin("ACL", "GENPASS")), 64)
        eq(len(admin("ACL", "GENPASS", "5")), 2)
        raises(admin, "positive number up to 4096", "ACL", "GENPASS", "5000")


@test(quick=True)
def acl_transactions():
    """Checked when queued, and again at EXEC, command by command; on one thread and over both."""
    with Cluster(1, options={"threads": 2}) as c:
        node = c[0]
        admin = node.client()
        admin("ACL", "SETUSER", "ann", "on", ">x", "~*", "+multi", "+exec", "+incr", "+mset", "+client|id", "+get")
        for keys in (("k", "k"), ("a", "b")):          # one slot; slots of both threads
            a = as_user(node, "ann")
            a("MULTI")
            raises(a, "NOPERM", "SET", keys[0], "1")
            raises(a, "EXECABORT", "EXEC")
            admin("ACL", "SETUSER", "ann", "+incr")
            a("MULTI")
            for command in (("INCR", keys[0]), ("CLIENT", "ID"), ("GET", keys[1]), ("INCR", keys[1])):
                eq(a(*command), "QUEUED")
            admin("ACL", "SETUSER", "ann", "-incr")
            got = a("EXEC")
            eq(len(got), 4)
            for i in (0, 3):
                ok("NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. "
                   "This command is no longer allowed for the following reason: no permission to execute the command"
                   in str(got[i]), got)
            ok(isinstance(got[1], int) and got[2] is None, got)
        log = as_map(admin("ACL", "LOG")[0])
        eq([text(log["context"]), text(log["object"])], ["multi", "incr"])
        # EXEC itself denied: the transaction is over.
        a("MULTI")
        a("GET", "k")
        admin("ACL", "SETUSER", "ann", "-exec")
        raises(a, "EXECABORT Transaction discarded because of: NOPERM", "EXEC")
        eq(a("CLIENT", "ID") > 0, True)
        # Who removes itself still reads the answer.
        admin("ACL", "SETUSER", "gone", "on", ">x", "+@all", "~*", "&*")
        g = as_user(node, "gone")
        g("MULTI")
        g("INCR", "n")
        g("ACL", "DELUSER", "gone")
        eq(g("EXEC"), [1, 1])
        ok(closed(g), "and is out then")
        g = as_user(node, "ann")
        admin("ACL", "SETUSER", "ann", "+acl|deluser")
        eq(g("ACL", "DELUSER", "ann"), 1)
        ok(closed(g), "the same without MULTI")


@test(quick=True)
def acl_channels():
    """Who may no longer hear a channel is disconnected, whichever thread it is on; who may, stays."""
    with Cluster(1, options={"threads": 2}) as c:
        node = c[0]
        admin = node.client()

        def listener(*command):
            r = as_user(node, "ear")
            r("CLIENT", "SETNAME", "ear")
            r.send(*command)
            return r, [text(x) if isinstance(x, bytes) else x for x in r._one()]

        admin("ACL", "SETUSER", "ear", "on", ">x", "+@pubsub", "+client", "&foo:1", "&bar:*")
        r = as_user(node, "ear")
        raises(r, "NOPERM this user has no permissions to access one of the channels used as arguments", "PUBLISH", "no", "m")
        raises(r, "NOPERM", "SPUBLISH", "no", "m")
        raises(r, "NOPERM", "SUBSCRIBE", "foo:1", "no")
        raises(r, "NOPERM", "PSUBSCRIBE", "bar:baz")
        eq(r("PUBLISH", "foo:1", "m"), 0)
        for command in (("SUBSCRIBE", "foo:1"), ("SSUBSCRIBE", "foo:1"), ("PSUBSCRIBE", "bar:*")):
            pair = [listener(*command) for _ in range(2)]        # on both threads
            for r, told in pair:
                eq(told, [command[0].lower(), command[1], 1])
            admin("ACL", "SETUSER", "ear", "&more")
            eq(text(admin("CLIENT", "LIST")).count("name=ear"), 2, "nothing was taken")
            admin("ACL", "SETUSER", "ear", "resetchannels", "&else")
            ok("name=ear" not in text(admin("CLIENT", "LIST")), "gone at once")
            admin("ACL", "SETUSER", "ear", "resetchannels", "&foo:1", "&bar:*")
        r, _ = listener("PSUBSCRIBE", "bar:*")
        admin("ACL", "SETUSER", "ear", "allchannels")
        ok("name=ear" in text(admin("CLIENT", "LIST")), "more is no reason to go")
        admin("ACL", "DELUSER", "ear")
        ok("name=ear" not in text(admin("CLIENT", "LIST")), "the user is gone")


@test(quick=True, gyre=True)
def acl_files():
    """aclfile: at start, SAVE, LOAD, its errors; CONFIG REWRITE writes `user` lines without passwords."""
    with Cluster(1) as c:
        node = c[0]
        admin = node.client()
        raises(admin, "not configured to use an ACL file", "ACL", "SAVE")
        raises(admin, "not configured to use an ACL file", "ACL", "LOAD")
        admin("ACL", "SETUSER", "al", "on", ">secret", "~a*", "(+get ~b)", "+set", "-@all", "+@read")
        admin("ACL", "SETUSER", "default", "-flushall")
        admin("CONFIG", "REWRITE")
        config = open(os.path.join(node.dir, "gyre.conf")).read()
        ok("user al on \"#2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b" in config, config)
        ok("secret " not in config and ">secret" not in config, config)
        # A line of the default user begins with "reset", which says how values are checked, as in Redis.
        before = [u.replace(b"default on nopass", b"default on nopass sanitize-payload") for u in admin("ACL", "LIST")]
        node.terminate()
        node.start(write=False)
        node.wait_ready()
        admin = node.client()
        eq(admin("ACL", "LIST"), before)
        raises(admin, "NOPERM", "FLUSHALL")
        eq(as_user(node, "al", "secret")("GET", "b"), None)
        admin("ACL", "SETUSER", "default", "+@all")
        admin("ACL", "DELUSER", "al")
        admin("CONFIG", "REWRITE")
        ok("\nuser al " not in open(os.path.join(node.dir, "gyre.conf")).read(), "its line goes with it")

        path = os.path.join(node.dir, "users.acl")
        with open(path, "w") as f:
            f.write("user alice on >x ~* +@all &*\nuser bob on -@all +@set +acl ~set* >x\n")
        node.terminate()
        node.start(args=("--aclfile", path))
        node.wait_ready()
        admin, alice = node.client(), as_user(node, "alice")
        eq([text(u) for u in admin("ACL", "USERS")], ["alice", "bob", "default"])
        raises(as_user(node, "bob"), "NOPERM", "SET", "set1", "v")
        admin("ACL", "SETUSER", "eve", "on", ">e", "+get", "allkeys")
        eq(admin("ACL", "SAVE"), "OK")
        saved = open(path).read()
        ok("user eve on #" in saved and "user default on nopass ~* &* +@all" in saved and ">x" not in saved, saved)
        eq(admin("ACL", "LOAD"), "OK")
        ok(closed(alice), "LOAD makes users anew")
        eq(admin("PING"), "PONG", "but not the default one")
        eq(as_user(node, "eve", "e")("GET", "k"), None)
        with open(path, "a") as f:
            f.write("user alice on nopass ~* -@all\n")
        raises(admin, "Duplicate user 'alice' found", "ACL", "LOAD")
        eq(commands_of(admin, "alice"), "+@all")
        eq(os.listdir(node.dir).count("users.acl"), 1)
        ok(not [f for f in os.listdir(node.dir) if "rewrite" in f], "nothing is left beside")
        node.terminate()
        # Both at once, twice the same, and a file that is not there: no start, and no password is told.
        for args, words in ((("--aclfile", path, "--user", "x on"), "both"), (("--aclfile", path + "-no"), "No such file"),
                            (("--user", "foo", "--user", "foo"), "Duplicate user"), (("--user", "foo >topsecret nonsense"), "Syntax error")):
            node.start(args=args, write=False)
            wait_until("it ends", lambda: not node.alive(), 20)
            end = node.log_end()
            ok(words in end and "topsecret" not in end, end)


def script_rights(ring, clients):
    """What scripts of a user with limits may call, whichever thread or node runs them."""
    admin = clients[0].client()
    words = "The user executing the script can't "
    for node in clients:
        node.call("ACL", "SETUSER", "sc", "on", ">x", "~{s}*", "+get", "+set", "+eval", "+evalsha", "+fcall", "+multi", "+exec", "+sort",
                  "%R~{t}read")
        node.call("FUNCTION", "LOAD", "REPLACE", "#!lua name=l\nredis.register_function('f', function(k, a) return redis.call(unpack(a)) end)")
    admin("SET", "{t}1", "secret")
    call = "return redis.call(unpack(ARGV))"
    for node in clients:
        c = as_user(node, "sc")
        for i in range(20):
            key = "{s}%d" % i
            eq(c("EVAL", call, 1, key, "SET", key, i), "OK")
            eq(c("EVAL", call, 1, key, "GET", key), b"%d" % i)
            raises(c, words + "run this command or subcommand", "EVAL", call, 1, key, "DEL", key)
            raises(c, "access one of the keys used as arguments", "EVAL", call, 1, "{t}1", "GET", "{t}1")
        eq(c("FCALL", "f", 1, "{s}1", "GET", "{s}1"), b"1")
        raises(c, words + "run this", "FCALL", "f", 1, "{s}1", "INCR", "{s}1")
        eq(c("EVAL", "return {redis.acl_check_cmd('get','{s}1'), redis.acl_check_cmd('get','{t}1'), redis.acl_check_cmd('del','{s}1')}", 1, "{s}1"),
           [1, None, None])
        eq(c("EVAL", "return redis.pcall('get','{t}1').err", 0 if not ring else 1, *(["{s}1"] if ring else [])),
           (b"ERR " + words.encode() + b"access at least one of the keys mentioned in the command arguments"))
        c("MULTI")
        c("EVAL", call, 1, "{s}1", "GET", "{s}1")
        c("EVAL", "return redis.pcall('del', KEYS[1])", 1, "{s}1")
        try:
            got = c("EXEC")
        except ReplyError as e:
            got = [b"1", e]
        eq(got[0], b"1")
        ok(words in str(got[1]), got)


@test(quick=True)
def acl_scripts():
    """A script does what its user may do, on one thread and on two; ACL LOG tells what it was denied."""
    for threads in (1, 2):
        with Cluster(1, options={"threads": threads}) as c:
            script_rights(False, [c[0]])
            if not is_standin():
                log = [as_map(e) for e in c[0].call("ACL", "LOG")]
                ok(any(text(e["context"]) == "lua" and text(e["reason"]) == "command" and text(e["object"]) == "del" and
                       text(e["username"]) == "sc" and b"user=sc" in e["client-info"] for e in log), log)


@test(gyre=True)
def acl_scripts_on_a_ring():
    """The rights go along with a script that another node runs."""
    with Cluster(3) as ring:
        script_rights(True, list(ring))


@test(gyre=True)
def acl_ring():
    """Users are those of the ring; what is forwarded or fanned out is checked where the client is, once."""
    with Cluster(3) as ring:
        admin = ring[0].client()
        admin("ACL", "SETUSER", "al", "on", ">x", "~a:*", "+@all")
        a, b = as_user(ring[0], "al"), as_user(ring[1], "al")
        for i in range(50):
            eq(a("SET", "a:%d" % i, i), "OK")
            raises(a, "NOPERM", "SET", "b:%d" % i, i)
        eq(a("MSET", *sum((["a:%d" % i, "v"] for i in range(10)), [])), "OK")
        eq(a("MGET", "a:1", "a:2", "a:3"), [b"v"] * 3)
        raises(a, "NOPERM", "MGET", "a:1", "b:2")
        eq(a("DBSIZE"), 50)
        raises(a, "NOPERM", "GYRE", "LOCAL", "GET", "b:1")
        raises(a, "NOPERM", "GYRE", "EXPLAIN", "b:1")
        ok(a("GYRE", "LOCAL", "GET", "a:1") in (b"v", None), "its own")
        raises(as_user(ring[0], "al", cluster=True), "NOPERM", "GET", "b:1")
        eq(admin("ACL", "DELUSER", "al"), 1)
        ok(closed(a), "gone")
        wait_until("the other node has closed its client too", lambda: closed(b), 5)


SAME = [
    "ACL SETUSER a", "ACL LIST", "ACL SETUSER a reset", "ACL GETUSER a", "ACL GETUSER nobody", "ACL SETUSER a on >p ~k* %R~r &c +get",
    "ACL GETUSER a", "ACL SETUSER a foo", "ACL SETUSER a +@foo", "ACL SETUSER a (", "ACL SETUSER a )", "ACL SETUSER a %~x",
    "ACL SETUSER a <no", "ACL SETUSER a #12", "ACL SETUSER a +config|nosuch", "ACL SETUSER a +config|get|x", "ACL SETUSER a ~* ~x",
    "ACL SETUSER a allchannels &x", "ACL SETUSER a (+get ~x) (+set ~y)", "ACL LIST", "ACL SETUSER a clearselectors", "ACL LIST",
    "ACL DELUSER default", "ACL DELUSER nobody a", "ACL USERS", "ACL WHOAMI", "ACL CAT", "ACL CAT nosuch", "ACL CAT a b", "ACL NOSUCH", "ACL",
    "ACL SETUSER", "ACL GENPASS -1", "ACL GENPASS 5000", "ACL GENPASS x", "ACL LOG RESET", "ACL LOG x", "ACL LOG", "ACL SAVE", "ACL LOAD",
    "ACL SETUSER b +@all %R~read* %W~write* %RW~rw*", "ACL DRYRUN b GET read", "ACL DRYRUN b GET write", "ACL DRYRUN b SET write v",
    "ACL DRYRUN b SET write v GET", "ACL DRYRUN b COPY write read", "ACL DRYRUN nobody GET x", "ACL DRYRUN b NOSUCH x", "ACL DRYRUN b GET",
    "ACL DRYRUN b CONFIG GET x", "ACL DRYRUN b PUBLISH x y", "ACL DRYRUN b SORT read STORE write", "ACL SETUSER b -@all", "ACL DRYRUN b CONFIG GET x",
    "AUTH b x", "AUTH x", "AUTH a b c", "HELLO 3 AUTH b x", "CLIENT KILL USER nobody", "COMMAND INFO acl|setuser", "COMMAND GETKEYSANDFLAGS SET k v GET",
]


@test()
def acl_as_redis():
    """The same lines to redis-server and to Gyre: the same answers."""
    if not REDIS or is_standin():
        raise Skip("no redis-server beside Gyre")
    folder, port = tempfile.mkdtemp(), free_ports(1)[0]
    other = subprocess.Popen([REDIS, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until("redis-server is up", lambda: Client(port)("PING") == "PONG", 10)
        with Cluster(1) as c:
            ours, theirs = c[0].client(), Client(port)

            def ask(client, line):
                try:
                    return client(*line.split())
                except ReplyError as e:
                    return "-" + str(e)

            for line in SAME:
                eq(ask(ours, line), ask(theirs, line), line)
            # Commands that both have are in the same categories.
            names = {text(x) for x in ours("COMMAND", "LIST")} & {text(x) for x in theirs("COMMAND", "LIST")}
            for category in ours("ACL", "CAT"):
                both = [{text(x) for x in client("ACL", "CAT", category)} & names for client in (ours, theirs)]
                eq(sorted(both[0] ^ both[1]), [], text(category))
    finally:
        other.terminate()
        other.wait(10)
        shutil.rmtree(folder)
