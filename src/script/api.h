// What `redis` offers to a script and that needs nothing of the script that runs; and errors as
// scripts see them.
//
// Threading: as the Lua state.
#pragma once

#include <string>
#include <string_view>

#include "script/lua.h"

namespace gyre {

// Adds redis.log(), its levels and the version to the table at the top of the stack; and the rest.
// functions: for code of libraries, which has less.
void add_basics(lua_State* l);
void add_api(lua_State* l, bool functions);

// Pushes {err = text}, as redis.pcall() returns and redis.call() raises it.
void push_error_table(lua_State* l, std::string_view text);
// Raises it, with the code ERR.
int raise_error(lua_State* l, std::string_view text);
// The text of the error value at the top of the stack, which stays.
std::string error_text_at_top(lua_State* l);

}  // namespace gyre
