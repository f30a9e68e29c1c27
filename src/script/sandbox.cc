#include "script/sandbox.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>

#include "base/assert.h"
#include "script/libraries.h"

extern "C" {
#include <lua5.1/lua-bitop.h>
#include <lua5.1/lua-cjson.h>
}

namespace gyre {
namespace {

// Places in the registry, by the address of these.
char views_key;    // view -> the table behind it
char globals_key;  // the table behind the globals
char random_key;   // the state of math.random()

constexpr const char* readonly_text = "Attempt to modify a readonly table";

// Pushes the table behind the value at `index`, or nil when that is no protected view.
bool push_behind(lua_State* l, int index) {
  if (!lua_istable(l, index)) return lua_pushnil(l), false;
  lua_pushvalue(l, index);
  lua_pushlightuserdata(l, &views_key);
  lua_rawget(l, LUA_REGISTRYINDEX);
  lua_insert(l, -2);
  lua_rawget(l, -2);
  lua_remove(l, -2);
  return !lua_isnil(l, -1);
}

bool is_view(lua_State* l, int index) {
  const bool view = push_behind(l, index);
  lua_pop(l, 1);
  return view;
}

int refuse_write(lua_State* l) {
  return luaL_error(l, readonly_text);
}

// From a library's function, which has no line.
int refuse_change(lua_State* l) {
  lua_pushstring(l, readonly_text);
  return lua_error(l);
}

int missing_global(lua_State* l) {
  const std::string_view name = lua_isstring(l, 2) ? lua::text_at(l, 2) : "?";
  return luaL_error(l, "Script attempted to access nonexistent global variable '%s'",
                    std::string(name).c_str());
}

// A library function that changes its first argument, with the original as upvalue.
int guarded(lua_State* l) {
  if (is_view(l, 1)) return refuse_change(l);
  const int n = lua_gettop(l);
  lua_pushvalue(l, lua_upvalueindex(1));
  lua_insert(l, 1);
  lua_call(l, n, LUA_MULTRET);
  return lua_gettop(l);
}

// One that reads it: of a view it reads the table behind.
int seeing_through(lua_State* l) {
  if (push_behind(l, 1)) {
    lua_replace(l, 1);
  } else {
    lua_pop(l, 1);
  }
  const int n = lua_gettop(l);
  lua_pushvalue(l, lua_upvalueindex(1));
  lua_insert(l, 1);
  lua_call(l, n, LUA_MULTRET);
  return lua_gettop(l);
}

// pairs() hands out the table that it walks: of a view a copy of what is behind.
int pairs_of(lua_State* l) {
  if (push_behind(l, 1)) {
    lua_newtable(l);
    lua_pushnil(l);
    while (lua_next(l, -3)) {
      lua_pushvalue(l, -2);
      lua_insert(l, -2);
      lua_rawset(l, -4);
    }
    lua_replace(l, 1);
  }
  lua_settop(l, 1);
  lua_pushvalue(l, lua_upvalueindex(1));
  lua_insert(l, 1);
  lua_call(l, 1, LUA_MULTRET);
  return lua_gettop(l);
}

// Wraps t[name], t being at the top.
void wrap(lua_State* l, const char* name, lua_CFunction by) {
  lua_getfield(l, -1, name);
  lua_pushcclosure(l, by, 1);
  lua_setfield(l, -2, name);
}

// Calls what was wrapped with all that is on the stack. It cannot see whose line its errors are
// about.
int original(lua_State* l) {
  lua_pushvalue(l, lua_upvalueindex(1));
  lua_insert(l, 1);
  const int status = lua_pcall(l, lua_gettop(l) - 1, LUA_MULTRET, 0);
  if (status == 0) return lua_gettop(l);
  if (status == LUA_ERRRUN && lua_isstring(l, -1)) {
    luaL_where(l, 1);
    lua_insert(l, -2);
    lua_concat(l, 2);
  }
  return lua_error(l);
}

// As the original, but what a failing redis.call() raises (a table) is told as its text.
int protected_call(lua_State* l) {
  luaL_checkany(l, 1);
  const int status = lua_pcall(l, lua_gettop(l) - 1, LUA_MULTRET, 0);
  lua_pushboolean(l, status == 0);
  lua_insert(l, 1);
  if (status != 0 && lua_istable(l, -1)) {
    lua_pushliteral(l, "err");
    lua_rawget(l, -2);
    if (lua_isstring(l, -1)) {
      lua_replace(l, -2);
    } else {
      lua_pop(l, 1);
    }
  }
  return lua_gettop(l);
}

// Returns as loadstring does.
int loaded(lua_State* l, bool well) {
  if (well) return 1;
  lua_pushnil(l);
  lua_insert(l, -2);
  return 2;
}

int load_string(lua_State* l) {
  luaL_checkstring(l, 1);
  const std::string_view code = lua::text_at(l, 1);
  const char* const name = luaL_optstring(l, 2, code.data());
  return loaded(l, lua::load_text(l, code, name));
}

// The next piece of a text that the function at 1 gives out; it is kept at 3 while it is read. An
// endless one ends by the script's bounds of time and memory.
const char* next_piece(lua_State* l, void* begun, std::size_t* size) {
  luaL_checkstack(l, 2, "too many nested functions");
  lua_pushvalue(l, 1);
  lua_call(l, 0, 1);
  *size = 0;
  if (lua_isnil(l, -1)) return nullptr;
  if (!lua_isstring(l, -1)) luaL_error(l, "reader function must return a string");
  lua_replace(l, 3);
  const std::string_view piece = lua::text_at(l, 3);
  if (!std::exchange(*static_cast<bool*>(begun), true) && piece.starts_with(LUA_SIGNATURE[0]))
    luaL_error(l, "precompiled code is not accepted");
  *size = piece.size();
  return piece.data();
}

int load_pieces(lua_State* l) {
  luaL_checktype(l, 1, LUA_TFUNCTION);
  const char* const name = luaL_optstring(l, 2, "=(load)");
  lua_settop(l, 3);
  bool begun = false;
  return loaded(l, lua_load(l, next_piece, &begun, name) == 0);
}

// ---- in place of library functions that trust their arguments too much

// Lua 5.1's counts in int, and overflows.
int unpack_list(lua_State* l) {
  luaL_checktype(l, 1, LUA_TTABLE);
  const std::int64_t from = luaL_optint(l, 2, 1);
  const std::int64_t to =
      lua_isnoneornil(l, 3) ? static_cast<std::int64_t>(lua_objlen(l, 1)) : luaL_checkint(l, 3);
  if (from > to) return 0;
  const std::int64_t n = to - from + 1;
  if (n > 1'000'000 || !lua_checkstack(l, static_cast<int>(n)))
    return luaL_error(l, "too many results to unpack");
  for (std::int64_t i = from; i <= to; ++i) lua_rawgeti(l, 1, static_cast<int>(i));
  return static_cast<int>(n);
}

// bit's takes the smallest int for a length.
int bit_tohex(lua_State* l) {
  lua_settop(l, 2);
  if (!lua_isnil(l, 2)) {
    const int digits = luaL_checkint(l, 2);
    lua_pushnumber(l, std::max(-8, std::min(digits, 8)));
    lua_replace(l, 2);
  } else {
    lua_settop(l, 1);
  }
  return original(l);
}

// What cjson.encode() makes of the value is no longer than room, which becomes less.
bool fits(lua_State* l, int index, std::size_t& room, int depth) {
  std::size_t bytes = 32;
  if (lua_type(l, index) == LUA_TSTRING) bytes = 6 * lua_objlen(l, index) + 2;
  if (bytes > room) return false;
  room -= bytes;
  if (!lua_istable(l, index) || depth > 1000 || !lua_checkstack(l, 4)) return true;
  lua_pushnil(l);
  while (lua_next(l, index)) {
    const int top = lua_gettop(l);
    if (!fits(l, top - 1, room, depth + 1) || !fits(l, top, room, depth + 1)) return false;
    lua_pop(l, 1);
  }
  return true;
}

// cjson counts its buffer, which is none of Lua's memory, in int.
int cjson_encode(lua_State* l) {
  std::size_t room = std::size_t{1} << 30;
  const int n = lua_gettop(l);
  if (n > 0 && !fits(l, 1, room, 0)) return luaL_error(l, "cjson.encode: the value is too large");
  lua_settop(l, n);
  return lua_tocfunction(l, lua_upvalueindex(2))(l);
}

// Its configuration, which it expects in its first upvalue, and the function itself in the second:
// called so, and not by Lua, it tells errors where the script called.
void wrap_encode(lua_State* l) {
  lua_getfield(l, -1, "encode");
  const char* const configuration = lua_getupvalue(l, -1, 1);
  GYRE_ASSERT(configuration != nullptr);
  lua_insert(l, -2);
  lua_pushcclosure(l, cjson_encode, 2);
  lua_setfield(l, -2, "encode");
}

// ---- random numbers
// POSIX' 48 bits, as in Redis, so that scripts which set a seed draw the same numbers; the C
// library's own state is one for all threads.

constexpr std::uint64_t random_mask = (std::uint64_t{1} << 48) - 1;

std::uint64_t& random_state(lua_State* l) {
  lua_pushlightuserdata(l, &random_key);
  lua_rawget(l, LUA_REGISTRYINDEX);
  auto* const state = static_cast<std::uint64_t*>(lua_touserdata(l, -1));
  lua_pop(l, 1);
  return *state;
}

double next_random(lua_State* l) {
  std::uint64_t& s = random_state(l);
  s = (s * 0x5deece66d + 0xb) & random_mask;
  return static_cast<double>((s >> 17) % INT32_MAX) / INT32_MAX;
}

int math_random(lua_State* l) {
  const double r = next_random(l);
  const int n = lua_gettop(l);
  if (n == 0) return lua_pushnumber(l, r), 1;
  if (n > 2) return luaL_error(l, "wrong number of arguments");
  const double low = n == 2 ? std::floor(luaL_checknumber(l, 1)) : 1;
  const double high = std::floor(luaL_checknumber(l, n));
  luaL_argcheck(l, low <= high, n, "interval is empty");
  lua_pushnumber(l, std::floor(r * (high - low + 1)) + low);
  return 1;
}

int math_randomseed(lua_State* l) {
  const double d = luaL_checknumber(l, 1);
  const std::int64_t seed = std::abs(d) < 9e18 ? static_cast<std::int64_t>(d) : 1;
  random_state(l) = std::uint64_t{static_cast<std::uint32_t>(seed)} << 16 | 0x330e;
  return 0;
}

void open_library(lua_State* l, const char* name, lua_CFunction open) {
  lua_pushcfunction(l, open);
  lua_pushstring(l, name);
  lua_call(l, 1, 1);
  // Some give their table back, some only set the global.
  if (lua_istable(l, -1)) {
    lua_setglobal(l, name);
  } else {
    lua_pop(l, 1);
  }
}

constexpr const char* allowed[] = {
    "_VERSION",     "assert", "collectgarbage", "coroutine", "error",        "gcinfo",
    "getmetatable", "ipairs", "math",           "next",      "pairs",        "rawequal",
    "rawget",       "rawset", "select",         "string",    "table",        "tonumber",
    "tostring",     "type",   "unpack",         "xpcall",    "setmetatable", "cjson",
    "bit",          "struct", "cmsgpack"};
constexpr const char* libraries[] = {"coroutine", "math", "string", "table",
                                     "cjson",     "bit",  "struct", "cmsgpack"};

// A view of the table behind the globals, which is at the top of the stack: replaces it.
void protect_globals(lua_State* l) {
  lua_newtable(l);  // of the table behind: a name that is not there
  lua::set_function(l, "__index", missing_global);
  lua_setmetatable(l, -2);
  Sandbox::protect(l);
}

// A view of the table at the top, which it replaces. push_shown: pushes what getmetatable() gives
// of it.
template <class F>
void make_view(lua_State* l, F&& push_shown) {
  lua_newtable(l);  // the view
  lua_newtable(l);  // its metatable
  lua_pushvalue(l, -3);
  lua_setfield(l, -2, "__index");
  lua::set_function(l, "__newindex", refuse_write);
  push_shown();
  lua_setfield(l, -2, "__metatable");
  lua_setmetatable(l, -2);
  lua_pushlightuserdata(l, &views_key);
  lua_rawget(l, LUA_REGISTRYINDEX);
  lua_pushvalue(l, -2);
  lua_pushvalue(l, -4);
  lua_rawset(l, -3);
  lua_pop(l, 1);
  lua_remove(l, -2);
}

}  // namespace

void Sandbox::protect(lua_State* l) {
  // What getmetatable() shows of it: an empty table that cannot be written to either.
  make_view(l, [l] {
    lua_newtable(l);
    make_view(l, [l] { lua_pushboolean(l, 0); });
  });
}

void Sandbox::push_globals(lua_State* l) {
  lua_pushlightuserdata(l, &globals_key);
  lua_rawget(l, LUA_REGISTRYINDEX);
}

void Sandbox::seed(lua_State* l, std::uint64_t seed) {
  random_state(l) = seed & random_mask;
}

void Sandbox::open(lua_State* l) {
  lua_pushlightuserdata(l, &views_key);
  lua_newtable(l);
  lua_rawset(l, LUA_REGISTRYINDEX);
  lua_pushlightuserdata(l, &random_key);
  *static_cast<std::uint64_t*>(lua_newuserdata(l, sizeof(std::uint64_t))) = 1;
  lua_rawset(l, LUA_REGISTRYINDEX);

  open_library(l, "", luaopen_base);
  open_library(l, "table", luaopen_table);
  open_library(l, "string", luaopen_string);
  open_library(l, "math", luaopen_math);
  open_library(l, "cjson", luaopen_cjson);
  open_library(l, "bit", luaopen_bit);
  open_library(l, "struct", open_struct);
  open_library(l, "cmsgpack", open_msgpack);

  lua_getglobal(l, "math");
  lua::set_function(l, "random", math_random);
  lua::set_function(l, "randomseed", math_randomseed);
  lua_pop(l, 1);
  lua_getglobal(l, "bit");
  wrap(l, "tohex", bit_tohex);
  lua_pop(l, 1);
  lua_getglobal(l, "cjson");
  wrap_encode(l);
  lua_pushnil(l);  // what new() gives has an encode() of its own
  lua_setfield(l, -2, "new");
  lua_pop(l, 1);
  lua_getglobal(l, "table");
  for (const char* name : {"insert", "remove", "sort", "setn"}) wrap(l, name, guarded);
  for (const char* name : {"foreach", "foreachi", "getn", "maxn"}) wrap(l, name, seeing_through);
  lua_pop(l, 1);
  lua_pushvalue(l, LUA_GLOBALSINDEX);
  for (const char* name : {"rawset", "setmetatable"}) wrap(l, name, guarded);
  for (const char* name : {"rawget", "next"}) wrap(l, name, seeing_through);
  wrap(l, "pairs", pairs_of);
  lua_pop(l, 1);

  // What scripts get, and nothing else.
  lua_newtable(l);
  for (const char* name : allowed) {
    lua_getglobal(l, name);
    lua_setfield(l, -2, name);
  }
  lua::set_function(l, "pcall", protected_call);
  lua::set_function(l, "unpack", unpack_list);
  lua::set_function(l, "loadstring", load_string);
  lua::set_function(l, "load", load_pieces);
  for (const char* name : libraries) {
    lua_getfield(l, -1, name);
    protect(l);
    lua_setfield(l, -2, name);
  }
  // s:sub(): strings find their functions in the real table; who asks for the metatable sees a
  // view of one that leads to the protected one.
  lua_pushliteral(l, "");
  lua_getmetatable(l, -1);
  lua_newtable(l);
  lua_getfield(l, -4, "string");
  lua_setfield(l, -2, "__index");
  protect(l);
  lua_setfield(l, -2, "__metatable");
  lua_pop(l, 2);

  lua_pushlightuserdata(l, &globals_key);
  lua_pushvalue(l, -2);
  lua_rawset(l, LUA_REGISTRYINDEX);
  lua_pushvalue(l, -1);
  protect_globals(l);
  lua_pushvalue(l, -1);
  lua_setfield(l, -3, "_G");
  lua_replace(l, LUA_GLOBALSINDEX);
  lua_pop(l, 1);
}

void Sandbox::push_other_globals(lua_State* l) {
  lua_newtable(l);
  push_globals(l);
  lua_pushnil(l);
  while (lua_next(l, -2)) {
    const std::string_view name = lua::text_at(l, -2);
    if (name == "KEYS" || name == "ARGV" || name == "redis" || name == "_G") {
      lua_pop(l, 1);
      continue;
    }
    lua_pushvalue(l, -2);
    lua_insert(l, -2);
    lua_rawset(l, -5);
  }
  lua_pop(l, 1);
  lua_insert(l, -2);
  lua_setfield(l, -2, "redis");
  lua_pushvalue(l, -1);
  protect_globals(l);
  lua_pushvalue(l, -1);
  lua_setfield(l, -3, "_G");
  lua_insert(l, -2);
}

}  // namespace gyre
