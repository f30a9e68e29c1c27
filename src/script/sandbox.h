// Sandbox: the globals that scripts see, and what keeps them as they are.
//
// A script reads its globals, libraries included, and cannot change them: what one script leaves
// behind no other would find. Plain Lua has no read-only tables, so each protected table is handed
// out as an empty one in its place whose metatable reads from the real one and refuses to write;
// the functions that would look past a metatable (rawset, rawget, next, pairs, setmetatable,
// table.insert, ...) know of them. A name that is not there is an error, as in Redis.
//
// Left out: what reaches the system, other chunks' environments or precompiled code (os, io,
// debug, package, dofile, loadfile, print, getfenv, setfenv, newproxy).
//
// Threading: as the Lua state.
#pragma once

#include "script/lua.h"

namespace gyre {

class Sandbox {
 public:
  // Opens the libraries in a fresh state and makes its globals safe. On its stack afterwards: what
  // was there before.
  static void open(lua_State* l);

  // Puts a protected view of the table at the top of the stack in its place.
  static void protect(lua_State* l);
  // Pushes the table behind the globals, where fields can be set.
  static void push_globals(lua_State* l);
  // A second set of globals for code that is not a script: shares all libraries with the first, and
  // has `redis` of its own, which is taken from the stack's top. Pushes (the view, the table
  // behind).
  static void push_other_globals(lua_State* l);
  // math.random() goes on from here.
  static void seed(lua_State* l, std::uint64_t seed);
};

}  // namespace gyre
