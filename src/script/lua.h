// Lua 5.1 as the room sees it: its headers, and the few helpers that every file here wants.
//
// The library is the one compiled as C++ (liblua5.1-c++): its errors are exceptions, so objects on
// the way are destroyed wherever an error begins, also when memory runs out inside of a push.
// Nothing of ours throws; what passes through our functions is Lua's own.
#pragma once

#include <string>
#include <string_view>

#include <lua5.1/lua.hpp>

namespace gyre::lua {

inline void push(lua_State* l, std::string_view text) {
  lua_pushlstring(l, text.data(), text.size());
}

// The string at an index. It must be a string, or a number that may become one in its place.
inline std::string_view text_at(lua_State* l, int index) {
  std::size_t size = 0;
  const char* const at = lua_tolstring(l, index, &size);
  return {at ? at : "", size};
}

inline bool is_string(lua_State* l, int index) {
  return lua_type(l, index) == LUA_TSTRING;
}

// Sets t[name] = function, t being at the top of the stack.
inline void set_function(lua_State* l, const char* name, lua_CFunction f) {
  lua_pushcfunction(l, f);
  lua_setfield(l, -2, name);
}

// Compiles, and leaves the function or the error on the stack. Never code that is compiled already,
// which could do anything: behind a space that is the wrong text that it is.
inline bool load_text(lua_State* l, std::string_view code, const char* name) {
  if (!code.starts_with(LUA_SIGNATURE[0]))
    return luaL_loadbuffer(l, code.data(), code.size(), name) == 0;
  const std::string text = ' ' + std::string(code);
  return luaL_loadbuffer(l, text.data(), text.size(), name) == 0;
}

// ---- places in the registry, by the address of a key

inline void push_place(lua_State* l, char& key) {
  lua_pushlightuserdata(l, &key);
  lua_rawget(l, LUA_REGISTRYINDEX);
}

// Takes the value off the top.
inline void set_place(lua_State* l, char& key) {
  lua_pushlightuserdata(l, &key);
  lua_insert(l, -2);
  lua_rawset(l, LUA_REGISTRYINDEX);
}

}  // namespace gyre::lua
