#include "script/api.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/log.h"
#include "script/program.h"

namespace gyre {

void push_error_table(lua_State* l, std::string_view text) {
  lua_createtable(l, 0, 1);
  lua::push(l, text);
  lua_setfield(l, -2, "err");
}

int raise_error(lua_State* l, std::string_view text) {
  push_error_table(l, "ERR " + std::string(text));
  return lua_error(l);
}

std::string error_text_at_top(lua_State* l) {
  if (lua_istable(l, -1)) {
    lua_pushliteral(l, "err");
    lua_rawget(l, -2);
    std::string text = lua_isstring(l, -1) ? std::string(lua::text_at(l, -1)) : "ERR unknown error";
    lua_pop(l, 1);
    return text;
  }
  return lua_isstring(l, -1) ? std::string(lua::text_at(l, -1)) : "ERR unknown error";
}

namespace {

int one_field(lua_State* l, const char* field) {
  if (lua_gettop(l) != 1 || !lua::is_string(l, 1)) {
    push_error_table(l, "ERR wrong number or type of arguments");
    return 1;
  }
  lua_createtable(l, 0, 1);
  lua_pushvalue(l, 1);
  lua_setfield(l, -2, field);
  return 1;
}

int status_reply(lua_State* l) {
  return one_field(l, "ok");
}

int error_reply(lua_State* l) {
  if (lua_gettop(l) != 1 || !lua::is_string(l, 1)) return one_field(l, "err");
  std::string text(lua::text_at(l, 1));
  if (text.starts_with('-')) text.erase(0, 1);
  if (text.find(' ') == std::string::npos) text.insert(0, "ERR ");
  lua::push(l, text);
  lua_replace(l, 1);
  return one_field(l, "err");
}

int sha1(lua_State* l) {
  if (lua_gettop(l) != 1) return raise_error(l, "wrong number of arguments");
  lua::push(l, sha1_hex(lua::text_at(l, 1)));
  return 1;
}

int redis_log(lua_State* l) {
  const int n = lua_gettop(l);
  if (n < 2) return raise_error(l, "redis.log() requires two arguments or more.");
  if (!lua_isnumber(l, -n)) return raise_error(l, "First argument must be a number (log level).");
  const double level = lua_tonumber(l, -n);
  if (level < 0 || level > 3) return raise_error(l, "Invalid debug level.");
  std::string text;
  for (int i = 2; i <= n; ++i) {
    if (i > 2) text += ' ';
    text += lua::text_at(l, i);
  }
  text.resize(std::min<std::size_t>(text.size(), 1024));
  switch (static_cast<int>(level)) {
    case 0:
      LOG_DEBUG("script: %s", text.c_str());
      break;
    case 1:
      LOG_VERBOSE("script: %s", text.c_str());
      break;
    case 2:
      LOG_NOTICE("script: %s", text.c_str());
      break;
    default:
      LOG_WARNING("script: %s", text.c_str());
      break;
  }
  return 0;
}

// Scripts have always been replicated by their effects here.
int replicate_commands(lua_State* l) {
  lua_pushboolean(l, 1);
  return 1;
}

int set_repl(lua_State* l) {
  if (lua_gettop(l) != 1) return raise_error(l, "redis.set_repl() requires two arguments.");
  const auto flags = static_cast<int>(lua_tonumber(l, 1));
  if ((flags & ~3) != 0)
    return raise_error(l,
                       "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or "
                       "REPL_NONE.");
  return 0;
}

// There is no debugger.
int nothing(lua_State*) {
  return 0;
}
int no_breakpoint(lua_State* l) {
  lua_pushboolean(l, 0);
  return 1;
}

void set_number(lua_State* l, const char* name, double value) {
  lua_pushnumber(l, value);
  lua_setfield(l, -2, name);
}

}  // namespace

void add_basics(lua_State* l) {
  lua::set_function(l, "log", redis_log);
  for (const auto& [name, level] :
       {std::pair{"LOG_DEBUG", 0}, {"LOG_VERBOSE", 1}, {"LOG_NOTICE", 2}, {"LOG_WARNING", 3}})
    set_number(l, name, level);
  set_number(l, "REDIS_VERSION_NUM", 0x07000f);
  lua_pushliteral(l, "7.0.15");
  lua_setfield(l, -2, "REDIS_VERSION");
}

void add_api(lua_State* l, bool functions) {
  lua::set_function(l, "error_reply", error_reply);
  lua::set_function(l, "status_reply", status_reply);
  lua::set_function(l, "sha1hex", sha1);
  add_basics(l);
  lua::set_function(l, "set_repl", set_repl);
  if (!functions) {
    lua::set_function(l, "replicate_commands", replicate_commands);
    lua::set_function(l, "breakpoint", no_breakpoint);
    lua::set_function(l, "debug", nothing);
  }
  for (const auto& [name, value] : {std::pair{"REPL_NONE", 0},
                                    {"REPL_AOF", 1},
                                    {"REPL_SLAVE", 2},
                                    {"REPL_REPLICA", 2},
                                    {"REPL_ALL", 3}})
    set_number(l, name, value);
}

}  // namespace gyre
