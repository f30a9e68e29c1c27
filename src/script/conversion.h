// Conversion: replies of commands become values of Lua, and what a script returns becomes a reply.
//
//   reply                         Lua                          back
//   + text                        {ok = text}                  the same
//   - text                        {err = text}                 the same
//   : integer                     number                       its whole part
//   $ bytes, $-1                  string, false                the same
//   * elements, *-1               table 1 .. n, false          up to its first nil
//   RESP3 only, after redis.setresp(3):
//   _                             nil                          null
//   % map, ~ set                  {map = ..}, {set = ..}       the same
//   , real  ( big  # boolean      {double =}, {big_number =}, boolean
//   = verbatim                    {verbatim_string = {string =, format =}}
#pragma once

#include <string_view>

#include "resp/reply.h"
#include "script/lua.h"

namespace gyre {

// Pushes one reply, which is whole and was written by Reply. Returns its size in bytes.
std::size_t push_reply(lua_State* l, std::string_view reply);

// Takes the value at the top of the stack. `resp`: the protocol that the script has chosen.
void write_value(lua_State* l, Reply& reply, int resp);

}  // namespace gyre
