#include "script/interpreter.h"

#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "../commands/fixture.h"
#include "base/numbers.h"

using namespace gyre;
using gyre::test::Node1;

namespace {

class Host final : public ScriptHost {
 public:
  std::shared_ptr<const Program> program(std::string_view sha) override {
    const auto at = programs.find(std::string(sha));
    return at == programs.end() ? nullptr : at->second;
  }
  void remember(const std::shared_ptr<const Program>& p) override { programs[p->sha] = p; }
  std::uint64_t generation() override { return flushed; }
  std::shared_ptr<const Libraries> libraries() override { return functions; }
  void session(CommandContext&, const CommandSpec&, Reply& reply) override { reply.ok(); }
  void called(const CommandSpec&, Args, DbIndex, bool) override { ++calls; }
  void refused(const CommandSpec&) override {}
  void failed(std::string_view error) override {
    errors.emplace_back(error.substr(0, error.find(' ')));
  }
  void denied(const ScriptRights&, const CommandSpec&, Args) override { ++denials; }
  bool has_room() override { return room; }
  bool has_replicas() override { return replicas; }
  std::size_t databases() override { return 16; }
  bool breathe() override { return ++breaths >= kill_at; }

  std::map<std::string, std::shared_ptr<const Program>> programs;
  std::uint64_t flushed = 0;
  std::shared_ptr<Libraries> functions = std::make_shared<Libraries>();
  bool room = true, replicas = true;
  std::vector<std::string> errors;
  int denials = 0;
  int calls = 0, breaths = 0, kill_at = 1 << 30;
};

struct Scripts {
  explicit Scripts(std::size_t memory = std::size_t{64} << 20) : lua(host, memory) {
    node.scripts = &lua;
  }
  std::string eval(const std::string& code, std::vector<std::string> rest = {"0"},
                   const char* command = "EVAL", int protocol = 2) {
    std::vector<std::string> words{command, code};
    words.insert(words.end(), rest.begin(), rest.end());
    return node.run(words, protocol);
  }
  std::string eval3(const std::string& code) { return eval(code, {"0"}, "EVAL", 3); }
  std::string load(const std::string& code, bool replace = false) {
    auto library = lua.load_library(code);
    if (!library) return std::string(library.error().text());
    auto now = std::make_shared<Libraries>(*host.functions);
    const auto added = now->add(std::make_shared<const Library>(*library), replace);
    if (!added) return std::string(added.error().text());
    host.functions = now;
    return "ok";
  }

  Host host;
  Node1 node;
  Interpreter lua;
};

bool has(const std::string& text, std::string_view part) {
  const bool found = text.find(part) != std::string::npos;
  if (!found) MESSAGE(text);
  return found;
}

}  // namespace

TEST_SUITE("script/") {
  TEST_CASE("what a script returns") {
    Scripts s;
    CHECK(s.eval("return 1") == ":1");
    CHECK(s.eval("return 3.99") == ":3");
    CHECK(s.eval("return -3.99") == ":-3");
    CHECK(s.eval("return 1e300") == ":-9223372036854775808");
    CHECK(s.eval("return 'a b'") == "$3 a b");
    CHECK(s.eval("return nil") == "$-1");
    CHECK(s.eval("return false") == "$-1");
    CHECK(s.eval("return true") == ":1");
    CHECK(s.eval("return tostring") == "$-1");
    CHECK(s.eval("return {1,{2,'x'},3.9,true,false,'s'}") == "*6 :1 *2 :2 $1 x :3 :1 $-1 $1 s");
    CHECK(s.eval("return {1,2,nil,4}") == "*2 :1 :2");
    CHECK(s.eval("return {ok='FINE'}") == "+FINE");
    CHECK(s.eval("return {err='My Err'}") == "-My Err");
    CHECK(s.eval("return {double=3.5}") == "$3 3.5");
    CHECK(s.eval("return {map={a=1}}") == "*2 $1 a :1");
    CHECK(s.eval("return {set={a=true}}") == "*1 $1 a");
    CHECK(s.eval3("return {double=3.5}") == ",3.5");
    CHECK(s.eval3("return {map={a=1}}") == "%1 $1 a :1");
    CHECK(s.eval3("return {set={a=true}}") == "~1 $1 a");
    CHECK(s.eval3("return {big_number='123'}") == "(123");
    CHECK(s.eval3("return {verbatim_string={string='abc',format='txt'}}") == "=7 txt:abc");
    CHECK(s.eval3("return true") == ":1");
    CHECK(s.eval3("redis.setresp(3) return true") == "#t");
    CHECK(s.eval3("redis.setresp(3) return nil") == "_");
    CHECK(has(s.eval("local t={} t[1]=t return t"), "reached lua stack limit"));
  }

  TEST_CASE("calls, and what comes back") {
    Scripts s;
    CHECK(s.eval("return redis.call('set',KEYS[1],ARGV[1])", {"1", "k", "v"}) == "+OK");
    CHECK(s.node("GET k") == "$1 v");
    CHECK(s.eval("return redis.call('get','k')") == "$1 v");
    CHECK(s.eval("return redis.call('get','none') == false") == ":1");
    CHECK(s.eval("return redis.call('set','n',10/4)") == "+OK");
    CHECK(s.eval("return redis.call('incr','i') + redis.call('incr','i')") == ":3");
    CHECK(s.eval("redis.call('hset','h','a','1') return redis.call('hgetall','h')") ==
          "*2 $1 a $1 1");
    CHECK(s.eval("redis.setresp(3) return redis.call('hgetall','h').map.a") == "$1 1");
    CHECK(s.eval("redis.setresp(3) return redis.call('zscore','z','h') == nil") == ":1");
    CHECK(s.eval3("redis.call('zadd','z',1.5,'m') redis.setresp(3) "
                  "return redis.call('zscore','z','m').double * 2") == ":3");
    CHECK(s.eval("return redis.call('select',3)") == "+OK");
    CHECK(s.eval("redis.call('select',3) redis.call('set','in3',1) return redis.call('get','k')") ==
          "$-1");
    CHECK(s.node("GET in3") == "$-1");
    CHECK(s.eval("return #KEYS..','..#ARGV", {"1", "a", "b", "c"}) == "$3 1,2");
    CHECK(s.host.calls > 5);
  }

  TEST_CASE("errors have Redis' words and say where") {
    Scripts s;
    s.node("SET k v");
    CHECK(has(s.eval("return redis.call('nope')"),
              "-ERR Unknown Redis command called from script script: "
              "f01f0776df71cc5b400c2268135aa7f30dce2e53, on @user_script:1."));
    CHECK(has(s.eval("return redis.call('get')"),
              "-ERR Wrong number of args calling Redis command from script script: "));
    CHECK(has(s.eval("return redis.call()"),
              "-ERR Please specify at least one argument for this redis lib call script: "));
    CHECK(has(s.eval("return redis.call('get',{})"),
              "-ERR Lua redis lib command arguments must be strings or integers script: "));
    CHECK(has(s.eval("return redis.call('auth','x')"),
              "-ERR This Redis command is not allowed from script script: "));
    CHECK(has(s.eval("return redis.call('eval','return 1',0)"),
              "-ERR This Redis command is not allowed from script"));
    CHECK(s.eval("return redis.pcall('nope')") == "-ERR Unknown Redis command called from script");
    CHECK(s.eval("return redis.pcall('lpush','k','x').err") ==
          "$65 WRONGTYPE Operation against a key holding the wrong kind of value");
    CHECK(has(s.eval("return redis.call('incr','k')"),
              "-ERR value is not an integer or out of range script: "));
    CHECK(s.eval("local ok, e = pcall(redis.call, 'incr', 'k') return e") ==
          "$43 ERR value is not an integer or out of range");
    CHECK(has(s.eval("error('boo')"), "-ERR user_script:1: boo script: "));
    CHECK(has(s.eval("error({err='My Err'})"), "-My Err script: "));
    CHECK(has(s.eval("error({})"), "-ERR unknown error script: "));
    CHECK(has(s.eval("error()"), "-ERR "));
    CHECK(has(s.eval("\nlocal a = nil\nreturn a.b"), ", on @user_script:3."));
    CHECK(has(s.eval("syntax error here"),
              "-ERR Error compiling script (new function): user_script:1: '=' expected near"));
    CHECK(s.eval("return redis.error_reply('Err')") == "-ERR Err");
    CHECK(s.eval("return redis.error_reply('-My Err')") == "-My Err");
    CHECK(s.eval("return redis.error_reply(1)") == "-ERR wrong number or type of arguments");
    CHECK(s.eval("return redis.status_reply('FINE')") == "+FINE");
    CHECK(s.eval("return 1", {"-1"}) == "-ERR Number of keys can't be negative");
    CHECK(s.eval("return 1", {"2", "a"}) ==
          "-ERR Number of keys can't be greater than number of args");
    CHECK(s.eval("return 1", {"x"}) == "-ERR value is not an integer or out of range");
  }

  TEST_CASE("calls are asked about the rights of who runs the script") {
    class OnlyGet final : public ScriptRights {
     public:
      std::optional<Error> refuses(const CommandSpec& spec, Args args) const override {
        if (spec.name == "GET" && args[1] == "mine") return std::nullopt;
        return Error(Errc::err, "The user executing the script can't");
      }
      std::string text() const override { return {}; }
    };
    const OnlyGet rights;
    Scripts s;
    s.node("SET mine 1");
    s.node.rights = &rights;
    CHECK(s.eval("return redis.call('get','mine')") == "$1 1");
    CHECK(has(s.eval("return redis.call('get','other')"),
              "-ERR The user executing the script can't script: "));
    CHECK(s.eval("return redis.pcall('set','mine',2)") ==
          "-ERR The user executing the script can't");
    CHECK(s.host.denials == 2);
    CHECK(s.eval("return {redis.acl_check_cmd('get','mine'), redis.acl_check_cmd('get','x')}") ==
          "*2 :1 $-1");
    CHECK(s.host.denials == 2);
    CHECK(has(s.eval("return redis.acl_check_cmd('nope')"),
              "-ERR Invalid command passed to redis.acl_check_cmd() script: "));
    s.node.rights = nullptr;
    CHECK(s.eval("return redis.acl_check_cmd('flushall')") == ":1");
  }

  TEST_CASE("what getmetatable() gives cannot be written to") {
    Scripts s;
    CHECK(has(s.eval("local g = getmetatable(_G) g.__index = nil"),
              "Attempt to modify a readonly table"));
    CHECK(
        has(s.eval("getmetatable(redis).__newindex = nil"), "Attempt to modify a readonly table"));
    CHECK(has(s.eval("rawset(getmetatable(_G), 'x', 1)"), "Attempt to modify a readonly table"));
    CHECK(s.eval("return getmetatable(_G).x") == "$-1");
  }

  TEST_CASE("an error is counted once") {
    Scripts s;
    const auto counted = [&](const std::string& code) {
      s.host.errors.clear();
      s.eval(code);
      return s.host.errors;
    };
    using Errors = std::vector<std::string>;
    s.node("SET k v");
    CHECK(counted("return redis.call('lpush','k',1)") == Errors{"-WRONGTYPE"});
    CHECK(counted("return redis.pcall('lpush','k',1)") == Errors{"-WRONGTYPE"});
    CHECK(counted("redis.pcall('lpush','k',1) return 1") == Errors{"-WRONGTYPE"});
    CHECK(counted("return redis.call('nope')") == Errors{"ERR"});
    CHECK(counted("return redis.call({})") == Errors{"-ERR"});
    CHECK(counted("return redis.error_reply('MINE text')") == Errors{"-MINE"});
    CHECK(counted("return redis.status_reply('MINE text')") == Errors{});
    CHECK(counted("redis.pcall('nope') error('x')") == Errors{"ERR", "-ERR"});
  }

  TEST_CASE("a call of nearly as many arguments as Lua's stack has room for") {
    Scripts s;
    CHECK(s.eval("local a = {} for i = 1, 7999 do a[i] = 1 end "
                 "return redis.call('lpush', 'l', unpack(a))") == ":7999");
  }

  TEST_CASE("a script cannot change what others find") {
    Scripts s;
    const std::string readonly = "Attempt to modify a readonly table";
    for (const char* code :
         {"foo = 1", "redis.call = nil", "rawset(_G, 'a', 1)", "setmetatable(_G, {})",
          "table.insert(_G, 1)", "string.foo = 1", "getmetatable('').__index = 1",
          "rawset(redis, 'call', 1)", "KEYS = {}", "_G.math = nil", "table.sort(cjson)",
          "loadstring('x = 1')()", "setmetatable(string, {__index = 1})"})
      CHECK_MESSAGE(has(s.eval(code), readonly), code);
    for (const char* name : {"foo", "print", "os", "io", "debug", "package", "require", "dofile",
                             "loadfile", "getfenv", "setfenv", "newproxy", "module"})
      CHECK_MESSAGE(
          has(s.eval(std::string("return ") + name),
              "Script attempted to access nonexistent global variable '" + std::string(name) + "'"),
          name);
    CHECK(s.eval("for k, v in pairs(redis) do if k == 'call' then return 1 end end") == ":1");
    CHECK(s.eval("local f, t = pairs(redis) t.call = nil return type(redis.call)") ==
          "$8 function");
    CHECK(s.eval("return rawget(_G, 'print') == nil and next(_G) ~= nil") == ":1");
    CHECK(s.eval("return getmetatable('').__index == string") == ":1");
    CHECK(s.eval("return ('x'):rep(3)") == "$3 xxx");
    CHECK(s.eval("KEYS[1] = 'x' return KEYS[1]") == "$1 x");
    CHECK(has(s.eval("return loadstring(string.dump(function() end))()"), "-ERR"));
    CHECK(has(s.eval("return load(function() return '\\27Lua' end)()"), "-ERR"));
    CHECK(has(s.eval("\x1bLua"), "unexpected symbol near 'char(27)'"));  // as text, which it is not
    CHECK(s.eval("return load(function() return nil end) ~= nil") == ":1");
    CHECK(s.eval("local p = {'return ', '4', '2'} local i = 0 "
                 "return load(function() i = i + 1 return p[i] end)()") == ":42");
    CHECK(has(s.eval("local p = ('a'):rep(65536) return load(function() return p end)()"), "-ERR"));
    CHECK(s.eval("return {pcall(error, 'x')}") == "*2 $-1 $1 x");
    CHECK(s.eval("local c = coroutine.wrap(function() coroutine.yield(1) end) return c()") == ":1");
    CHECK(s.eval("math.randomseed(5) return {math.random(100), math.random(100)}") == "*2 :53 :28");
    CHECK(has(s.eval("return cjson.encode(1/0)"),
              "-ERR user_script:1: Cannot serialise number: must not be NaN or Inf script: "));
    CHECK(s.eval("cjson.encode_number_precision(3) return cjson.encode(3.14159)") == "$4 3.14");
    CHECK(s.eval("return cmsgpack.unpack('\\207' .. string.rep('\\255', 8))") == ":-1");
    CHECK(has(s.eval("return struct.pack('i4')"), "(number expected, got nil)"));
    CHECK(has(s.eval("return {struct.unpack('i4', 'abcd', -1)}"), "data string too short"));
    CHECK(s.eval("math.randomseed(7) local a = math.random(100) math.randomseed(7) "
                 "return a == math.random(100) and a >= 1 and a <= 100") == ":1");
  }

  TEST_CASE("scripts by their SHA1, and the cache") {
    Scripts s;
    const std::string sha = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
    CHECK(s.eval(sha, {"0"}, "EVALSHA") == "-NOSCRIPT No matching script. Please use EVAL.");
    CHECK(s.eval("return 1") == ":1");
    CHECK(s.eval(to_upper(sha), {"0"}, "EVALSHA") == ":1");
    s.host.programs.clear();
    ++s.host.flushed;
    CHECK(s.eval(sha, {"0"}, "EVALSHA") == "-NOSCRIPT No matching script. Please use EVAL.");
    CHECK(*s.lua.load("return 1") == sha);
    CHECK(s.eval(sha, {"0"}, "EVALSHA_RO") == ":1");
    CHECK(!s.lua.load("retrn 2"));
    CHECK(s.eval("return redis.sha1hex('')") == "$40 da39a3ee5e6b4b0d3255bfef95601890afd80709");
  }

  TEST_CASE("the first line of a script") {
    Scripts s;
    const std::string set = "return redis.call('set','a','b')";
    CHECK(s.eval("#!lua\n" + set) == "+OK");
    CHECK(has(s.eval("#!lua flags=no-writes\n" + set),
              "-ERR Write commands are not allowed from read-only scripts. script: "));
    CHECK(has(s.eval("#!lua flags=no-writes\n" + set), ", on @user_script:2."));
    CHECK(has(s.eval(set, {"0"}, "EVAL_RO"),
              "-ERR Write commands are not allowed from read-only scripts."));
    CHECK(s.eval("#!lua\nreturn 1", {"0"}, "EVAL_RO") ==
          "-ERR Can not execute a script with write flag using *_ro command.");
    CHECK(s.eval("#!lua name=x\nreturn 1") == "-ERR Unknown lua shebang option: name=x");
    CHECK(s.eval("#!lua flags=foo\nreturn 1") == "-ERR Unexpected flag in script shebang: foo");
    CHECK(s.eval("#!js\nreturn 1") == "-ERR Unexpected engine in script shebang: #!js");
    CHECK(s.eval("#!lua") == "-ERR Invalid script shebang");
    s.host.room = false;
    CHECK(has(s.eval("#!lua\nreturn 1"), "-OOM allow-oom flag is not set on the script"));
    CHECK(s.eval("#!lua flags=allow-oom\n" + set) == "+OK");
    CHECK(s.eval("#!lua flags=no-writes\nreturn 1") == ":1");
    CHECK(has(s.eval(set), "-OOM command not allowed when used memory > 'maxmemory'."));
    s.host.room = true;
    s.host.replicas = false;
    CHECK(has(s.eval("#!lua\nreturn 1"), "-NOREPLICAS Not enough good replicas to write."));
    CHECK(has(s.eval("#!lua flags=allow-oom\n" + set), "-NOREPLICAS"));
    CHECK(s.eval("#!lua flags=no-writes\nreturn 1") == ":1");
    CHECK(has(s.eval(set), "-NOREPLICAS Not enough good replicas to write."));
    CHECK(s.eval("return redis.call('get','a')") == "$1 b");
  }

  TEST_CASE("a script that is ended cannot go on") {
    Scripts s;
    s.host.kill_at = 3;
    CHECK(has(s.eval("while true do end"), "killed by user"));
    s.host.breaths = 0;
    CHECK(
        has(s.eval("while true do pcall(function() while true do end end) end"), "killed by user"));
    s.host.kill_at = 1 << 30;
    CHECK(s.eval("return 1") == ":1");
    CHECK(!s.lua.running());
  }

  TEST_CASE("memory is bounded, and comes back") {
    Scripts s(std::size_t{4} << 20);
    CHECK(has(s.eval("local t = {} while true do t[#t+1] = ('x'):rep(1000) .. #t end"),
              "not enough memory"));
    CHECK(s.eval("return 1") == ":1");
    CHECK(has(s.eval("return ('x'):rep(8000000)"), "not enough memory"));
    CHECK(s.eval("return #(('x'):rep(1000))") == ":1000");
    CHECK(s.lua.memory() < (std::size_t{4} << 20));
  }

  TEST_CASE("cjson, bit, struct and cmsgpack") {
    Scripts s;
    CHECK(s.eval("return cjson.encode({1,2,'x'})") == "$9 [1,2,\"x\"]");
    CHECK(s.eval("return cjson.decode('{\"a\":[1,{\"b\":7}]}').a[2].b") == ":7");
    CHECK(s.eval("return cjson.decode('null') == cjson.null") == ":1");
    CHECK(has(s.eval("return cjson.decode('{')"), "-ERR"));
    CHECK(has(s.eval("\nreturn cjson.encode(1/0)"),
              "-ERR user_script:2: Cannot serialise number: must not be NaN or Inf script: "));
    CHECK(s.eval("return bit.tohex(bit.bxor(0xff, bit.lshift(1, 8)), 4)") == "$4 01ff");
    CHECK(s.eval("return struct.pack('>HBs', 0x4142, 0x43, 'DE')") ==
          std::string("$6 ABCDE") + '\0');
    CHECK(s.eval("local a, b, c, at = struct.unpack('>I2i1s', 'AB\\255xy\\0z') "
                 "return {a, b, c, at}") == "*4 :16706 :-1 $2 xy :7");
    CHECK(s.eval("return struct.size('!8 b d')") == ":16");
    CHECK(s.eval("return {struct.unpack('Bc0', '\\3abcd')}") == "*2 $3 abc :5");
    CHECK(s.eval("return struct.unpack('<d', struct.pack('<d', 1.5)) * 2") == ":3");
    CHECK(has(s.eval("return struct.unpack('I4', 'abc')"), "data string too short"));
    CHECK(has(s.eval("return struct.unpack('c2147483647', 'abc')"), "data string too short"));
    CHECK(has(s.eval("return struct.pack('I99', 1)"), "integral size 99 is larger than limit"));
    CHECK(has(s.eval("return struct.unpack('B', 'abc', 99)"), "data string too short"));
    const char* round =
        "local t = {1, -1, 127, 128, -33, 70000, -70000, 5000000000, 1.5, 0.1, 'x', true, {a=1}} "
        "local u = cmsgpack.unpack(cmsgpack.pack(t)) "
        "for i = 1, 12 do if u[i] ~= t[i] then return i end end return u[13].a";
    CHECK(s.eval(round) == ":1");
    CHECK(s.eval("return {cmsgpack.unpack(cmsgpack.pack(1, 'a', false))}") == "*3 :1 $1 a $-1");
    CHECK(s.eval("return {cmsgpack.unpack_one(cmsgpack.pack(1, 2))}") == "*2 :1 :1");
    CHECK(s.eval("return {cmsgpack.unpack_limit(cmsgpack.pack(1, 2, 3), 2)}") == "*3 :2 :1 :2");
    CHECK(s.eval("local t = {} t.t = t return #cmsgpack.pack(t) > 0") == ":1");
    for (const char* bytes :
         {"'\\221'", "'\\218\\255'", "'\\223\\255\\255\\255\\255'", "'\\193'", "'\\129\\192\\1'"})
      CHECK_MESSAGE(has(s.eval(std::string("return cmsgpack.unpack(") + bytes + ")"), "-ERR"),
                    bytes);
  }

  TEST_CASE("library functions that plain Lua trusts too much") {
    Scripts s;
    CHECK(has(s.eval("return {unpack({1,2,3}, -2, 2147483647)}"), "too many results to unpack"));
    CHECK(has(s.eval("return {unpack({1,2,3}, 0, 2147483647)}"), "too many results to unpack"));
    CHECK(s.eval("return {unpack({1,2,3}, 2, 3)}") == "*2 :2 :3");
    CHECK(s.eval("return {unpack({1,2,3}, 3, 2)}") == "*0");
    CHECK(s.eval("return bit.tohex(65535, -2147483648)") == "$8 0000FFFF");
    CHECK(has(s.eval("local t = ('x'):rep(1000000) for i = 1, 12 do t = {t, t} end "
                     "return cjson.encode(t)"),
              "too large"));
    CHECK(has(s.eval("local t = ('x'):rep(1000000) for i = 1, 12 do t = {t, t} end "
                     "return cmsgpack.pack(t)"),
              "too large"));
  }

  TEST_CASE("libraries of functions") {
    Scripts s;
    CHECK(s.load("return 1") == "Missing library metadata");
    CHECK(s.load("#!lua\nreturn 1") == "Library name was not given");
    CHECK(s.load("#!LUA NAME=x\nreturn 1") == "No functions registered");
    CHECK(s.load("#!foo name=x\nreturn 1") == "Engine 'foo' not found");
    CHECK(s.load("#!lua name=x\nreturn 1") == "No functions registered");
    CHECK(has(s.load("#!lua name=x\nredis.call('get','a')"), "nonexistent global variable 'call'"));
    CHECK(has(s.load("#!lua name=x\na = 1"),
              "Error registering functions: ERR user_function:2: Attempt to modify a readonly"));
    CHECK(has(s.load("#!lua name=x\nredis.register_function('f','g')"),
              "ERR second argument to redis.register_function must be a function"));
    CHECK(has(s.load("#!lua name=x\nredis.register_function{function_name='f'}"),
              "must get a callback argument"));
    CHECK(has(s.load("#!lua name=x\nsyntax error"), "Error compiling function: "));
    CHECK(s.load("#!lua name=lib\n"
                 "local n = 0\n"
                 "redis.register_function('count', function() n = n + 1 return n end)\n"
                 "redis.register_function('put', function(k, a) return redis.call('set', k[1], "
                 "a[1]) end)\n"
                 "redis.register_function{function_name='see', callback=function(k) return "
                 "redis.call('get', k[1]) end, flags={'no-writes'}, description='d'}") == "ok");
    CHECK(s.node("FCALL put 1 k v") == "+OK");
    CHECK(s.node("FCALL see 1 k") == "$1 v");
    CHECK(s.node("FCALL_RO see 1 k") == "$1 v");
    CHECK(s.node("FCALL_RO put 1 k v") ==
          "-ERR Can not execute a script with write flag using *_ro command.");
    CHECK(s.node("FCALL none 0") == "-ERR Function not found");
    CHECK(s.node("FCALL count 0") == ":1");
    CHECK(s.node("FCALL COUNT 0") == ":2");
    CHECK(has(s.load("#!lua name=y\nreturn math.random()"), "nonexistent global variable 'math'"));
    CHECK(s.load("#!lua name=lib\nredis.register_function('f', function() end)") ==
          "Library 'lib' already exists");
    CHECK(s.load("#!lua name=two\nredis.register_function('put', function() end)") ==
          "Function put already exists");
    // What failed to load has not touched what is there.
    CHECK(s.node("FCALL see 1 k") == "$1 v");
    CHECK(s.load("#!lua name=two\nredis.register_function('bad', function() return foo end)") ==
          "ok");
    CHECK(has(s.node("FCALL bad 0"),
              "-ERR user_function:2: Script attempted to access nonexistent global variable 'foo' "
              "script: bad, on @user_function:2."));
    const std::string dump = dump_libraries(*s.host.functions);
    const auto codes = read_dump(dump);
    REQUIRE(bool(codes));
    CHECK(codes->size() == 2);
    CHECK((*codes)[0].starts_with("#!lua name=lib\n"));
    for (std::size_t i = 0; i < dump.size(); ++i) CHECK(!read_dump(dump.substr(0, i)));
  }
}
