"""Lua that the family `scripts` runs: lines of EVAL and libraries of functions."""

CALLS = [
    b"return redis.call(unpack(ARGV))",
    b"return redis.call(unpack(ARGV))",
    b"return redis.pcall(unpack(ARGV))",
    b"local r = redis.pcall(unpack(ARGV)) return {type(r), type(r) == 'table' and r.err or r}",
    b"redis.call('SET', 'a', 'before') return redis.call(unpack(ARGV))",
    b"redis.setresp(3) return redis.call(unpack(ARGV))",
    b"local r = redis.call(unpack(ARGV)) return type(r) == 'table' and #r or tostring(r)",
    b"redis.setresp(3) local r = redis.pcall(unpack(ARGV)) return {type(r), tostring(type(r) ~= 'table' and r)}",
]

# No number of math.random (Redis' generator is another one), and not error({ok = 'x'}): it ends redis-server 7.0.15.
LUA = [line.encode() for line in r"""
return ARGV
return KEYS
return {KEYS, ARGV}
return #ARGV + #KEYS
return ARGV[1]
return tonumber(ARGV[1])
return tonumber(ARGV[1] or 0) + 0.5
return {1, 2, nil, 4}
return {1, 'a', {2, {3.7}}, true, false}
return nil
return false
return true
return 3.99
return -3.99
return 1e20
return {}
return {ok = ARGV[1] or 'fine'}
return {err = ARGV[1] or 'bad'}
return {err = 'MY text'}
return redis.error_reply(ARGV[1] or 'x')
return redis.status_reply(ARGV[1] or 'x')
return redis.error_reply('-CODE some text')
return {double = 3.25}
return {double = tonumber(ARGV[1]) or 0}
return {map = {a = 1}}
return {set = {a = true}}
return {big_number = '123456789012345678901234567890'}
return {verbatim_string = {string = 'x', format = 'txt'}}
redis.setresp(3) return {double = 0.1}
redis.setresp(3) return true
redis.setresp(4)
error('mine')
error({err = 'a table'})
error()
return x
x = 1
return redis.call()
return redis.call('GET')
return redis.call('nosuch')
return redis.call('GET', {})
return redis.call('SET', 'a', 1.5)
return redis.call('SET', 'a', 100000000000000000000)
return redis.call('SET', 'a', true)
return redis.call('GET', KEYS[1])
return redis.pcall('SUBSCRIBE', 'a')
return redis.pcall('MULTI')
return redis.pcall('EVAL', 'return 1', 0)
return redis.pcall('BLPOP', 'nosuch', 0)
return redis.sha1hex(ARGV[1] or '')
return redis.sha1hex()
return cjson.encode(ARGV)
return cjson.encode({1, 2, {a = ARGV[1]}})
return cjson.encode({})
return cjson.encode(tonumber(ARGV[1]))
return cjson.encode({x = 0.1, })
return cjson.encode('a\0b"\\/\n\127\255')
return cjson.decode(ARGV[1] or '[1,2,{"a":null}]')
return cjson.decode('[1, 2.5, "x", true, false, null, [], {}]')
return tostring(cjson.decode('null') == cjson.null)
return cjson.decode('{"a"')
return cjson.decode('[1e400]')
return cjson.encode(cjson.decode('{"k":[1,2,3.25,1e30,-0]}'))
return cjson.encode(0/0)
return cjson.encode(1/0)
local t = {} t.t = t return cjson.encode(t)
return cmsgpack.pack(ARGV)
return cmsgpack.pack(1, -1, 255, 65536, 2^40, 1.5, 'x', true, nil)
return cmsgpack.unpack(cmsgpack.pack(ARGV))
return cmsgpack.unpack(ARGV[1] or '\147\1\2\3')
return {cmsgpack.unpack(cmsgpack.pack(1, 2, 3))}
return {cmsgpack.unpack_one(cmsgpack.pack(1, 2, 3))}
return {cmsgpack.unpack_limit(cmsgpack.pack(1, 2, 3), 2)}
return cmsgpack.unpack('\220')
return struct.pack('>I2I4', 1, 2)
return struct.pack('<hbs', -2, 7, ARGV[1] or 'z')
return {struct.unpack('>I2', '\1\2\3')}
return struct.size('>I2I4d')
return struct.pack('i17', 1)
return struct.unpack('I4', 'a')
return bit.tohex(tonumber(ARGV[1]) or 255)
return {bit.band(255, 15), bit.bor(1, 2), bit.bxor(3, 5), bit.bnot(0), bit.lshift(1, 31), bit.rshift(-1, 28), bit.arshift(-8, 1)}
return bit.tobit(2^40 + 5)
return tostring(math.pi)
return tostring(1e15) .. ' ' .. tostring(2^53) .. ' ' .. tostring(0.1) .. ' ' .. tostring(-0)
return string.format('%5.2f %d %s %q', 3.14159, 42, 'x', 'a\nb')
return string.format('%d', 1.5)
return string.rep('ab', 3, ',')
return {string.byte('abc', 1, -1)}
return {string.find('hello', 'l+')}
return string.gsub('hello', 'l', {l = 'L'})
return table.concat(ARGV, ',')
local t = {3, 1, 2} table.sort(t) return t
return {pcall(error, 'x')}
local ok, e = pcall(redis.call, 'LPUSH') return {ok, type(e) == 'table' and e.err or e}
local ok, e = pcall(redis.call, 'INCR', 'a', 'b') return {tostring(ok), type(e)}
return {type(os.clock), type(os.time), type(io), type(require), type(loadstring), type(dofile), type(print), type(newproxy)}
return _G.redis == redis
_G.x = 1
redis.call = 1
string.x = 1
setmetatable(_G, {})
return getmetatable('').__index == string
return redis.REDIS_VERSION
return redis.REDIS_VERSION_NUM
return redis.LOG_WARNING + redis.LOG_NOTICE * 10
return redis.log(redis.LOG_DEBUG, 'x')
return redis.log(9, 'x')
return redis.log()
return redis.breakpoint()
return redis.replicate_commands()
return redis.set_repl(redis.REPL_ALL)
return redis.set_repl(99)
return redis.acl_check_cmd('GET', 'a')
return redis.acl_check_cmd('nosuch')
local n = math.random(1, 10) return n >= 1 and n <= 10
math.randomseed(7) local a = math.random(1000000) math.randomseed(7) return a == math.random(1000000)
local n = math.random() return n >= 0 and n < 1
return {unpack({1, 2, 3}, 2)}
return select('#', unpack(ARGV))
return tostring(nil) .. tostring(true)
return #KEYS[1]
return KEYS[1] .. ARGV[1]
return loadstring('return 1 + 1')()
return load(function() return nil end)
return {1, redis.error_reply('inside'), 3}
return {redis.pcall('INCR', 'nosuch', 'x'), 1}
return redis.call('ECHO', 'x')
return redis.call('PING')
return redis.call('SELECT', 3)
return redis.pcall('SELECT', 'x')
return redis.call('TYPE', KEYS[1] or 'a')
return redis.call('TYPE', KEYS[1] or 'a').ok
return redis.call('CLIENT', 'ID', 1)
return redis.pcall('CONFIG', 'GET', 'x')
return redis.pcall('SCRIPT', 'LOAD', 'x')
goto x
return 'unfinished
return 1 +
if x then
--[[ nothing ]]
local a <const> = 1
return 0xff
return ... 
return arg
#!lua
""".strip("\n").split("\n")]
LUA += [b"#!lua\nreturn 1", b"#!lua flags=no-writes\nreturn redis.call('SET', 'a', 'b')", b"#!lua flags=no-writes\nreturn redis.call('GET', 'a')",
        b"#!lua flags=allow-oom,no-cluster\nreturn 2", b"#!lua flags=nosuch\nreturn 1", b"#!lua name=x\nreturn 1", b"#!python\nreturn 1", b"#!\nreturn 1",
        b"#!lua flags=allow-cross-slot-keys,allow-stale\nreturn 5", b"", b" ", b"\n\nreturn 1\n", b"return 1;;", b"error('line')\n\nreturn x",
        b"return redis.call('SET', KEYS[1], ARGV[1])", b"local function f(n) if n == 0 then return redis.call('nosuch') end return f(n - 1) + 1 end return f(3)"]

TEXTS = {
    b"one": b"#!lua name=one\nredis.register_function('f1', function(keys, args) return {keys, args} end)\n"
            b"redis.register_function{function_name='f2', callback=function(keys, args) return redis.call(unpack(args)) end}\n"
            b"redis.register_function{function_name='f3', description='reads', callback=function(k, a) return redis.call('GET', k[1] or 'a') end, flags={'no-writes'}}",
    b"two": b"#!lua name=two\nlocal n = 0\nredis.register_function('f4', function() n = n + 1 return n end)",
    b"clash": b"#!lua name=clash\nredis.register_function('f1', function() return 1 end)",
    b"none": b"#!lua name=none\nreturn 1",
    b"broken": b"#!lua name=broken\nredis.register_function(",
    b"raises": b"#!lua name=raises\nerror('at load')",
    b"calls": b"#!lua name=calls\nredis.call('SET', 'a', 'b')",
    b"global": b"#!lua name=global\nx = 1",
    b"unnamed": b"#!lua\nredis.register_function('f9', function() return 1 end)",
    b"badname": b"#!lua name=bad-name\nredis.register_function('f9', function() return 1 end)",
    b"badfunc": b"#!lua name=badfunc\nredis.register_function('bad-name', function() return 1 end)",
    b"badflag": b"#!lua name=badflag\nredis.register_function{function_name='f9', callback=function() end, flags={'nosuch'}}",
    b"badarg": b"#!lua name=badarg\nredis.register_function{function_name='f9', nosuch=1, callback=function() end}",
    b"nocall": b"#!lua name=nocall\nredis.register_function('f9')",
    b"notfunc": b"#!lua name=notfunc\nredis.register_function('f9', 'x')",
    b"twice": b"#!lua name=twice\nredis.register_function('f9', function() end)\nredis.register_function('f9', function() end)",
    b"engine": b"#!python name=x\nreturn 1",
    b"nobang": b"redis.register_function('f9', function() return 1 end)",
    b"dupname": b"#!lua name=a name=b\nredis.register_function('f9', function() return 1 end)",
    b"unknown": b"#!lua name=u nosuch=1\nredis.register_function('f9', function() return 1 end)",
    b"errors": b"#!lua name=errors\nredis.register_function('f5', function(k, a) return redis.error_reply(a[1] or 'e') end)\n"
               b"redis.register_function('f6', function(k, a) error(a[1] or 'raised') end)\n"
               b"redis.register_function('f7', function(k, a) return redis.setresp(3) end)\n"
               b"redis.register_function('f8', function(k, a) y = 1 end)",
}
LIBRARIES = """
4 FUNCTION LOAD [REPLACE] ({texts})
FUNCTION DELETE (one|two|errors|nosuch)
FUNCTION LIST
FUNCTION LIST [LIBRARYNAME (one|t*|nosuch)|WITHCODE]*
FUNCTION FLUSH [ASYNC|SYNC]
FUNCTION STATS
2 (FCALL|FCALL_RO) (f1|f3|f4|f5|f6|f7|f8|F1|nosuch) $nk ($k)* ($v)*
2 (FCALL|FCALL_RO) f2 0 (GET $k|SET $k $v|LPUSH $k $v|LRANGE $k 0 -1|INCR $k|HGET $k $m)
SCRIPT EXISTS ($v)*
SCRIPT LOAD ($v)
SCRIPT FLUSH [ASYNC|SYNC]
SCRIPT KILL
FUNCTION KILL
EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db $nk ($k)*
EVALSHA $v 0
EVALSHA 098e0f0d1448c0a81dafe820f66d460eb09263da 0 (GET $k|SET $k $v)
SET $k $v
GET $k
""".replace("{texts}", "|".join(["one|one|two|errors"] + [t.decode() for t in TEXTS]))
