// Libraries of scripts that no package has as Redis has them: struct (lua-struct of Debian is
// another one) and cmsgpack. Both are written from their formats.
#pragma once

#include "script/lua.h"

namespace gyre {

// Lua's usual open functions: push the library's table.
int open_struct(lua_State* l);
int open_msgpack(lua_State* l);

}  // namespace gyre
