#include "script/conversion.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <string>

#include "base/numbers.h"

namespace gyre {
namespace {

constexpr int depth_max = 1000;  // of tables in each other; each stands on the stacks of both

std::int64_t whole(double d) {
  if (!(std::abs(d) < 9223372036854775808.0)) return INT64_MIN;  // as the processor converts it
  return static_cast<std::int64_t>(d);
}

class Pusher {
 public:
  Pusher(lua_State* l, std::string_view reply) : l_(l), in_(reply) {}

  std::size_t used() const { return at_; }
  void push() {
    luaL_checkstack(l_, 6, "a reply with too many levels");
    const char type = in_[at_++];
    const std::string_view line = take_line();
    switch (type) {
      case '+':
        return field("ok", line);
      case '-':
        return field("err", line);
      case ':':
        return lua_pushnumber(l_, static_cast<double>(integer(line)));
      case '$':
        return bulk(integer(line));
      case '*':
      case '>':
        return array(integer(line));
      case '_':
        return lua_pushnil(l_);
      case '#':
        return lua_pushboolean(l_, line == "t");
      case ',':
        lua_createtable(l_, 0, 1);
        lua_pushnumber(l_, parse_double(line).value_or(0));
        return lua_setfield(l_, -2, "double");
      case '(':
        return field("big_number", line);
      case '=':
        return verbatim(integer(line));
      case '%':
        return wrapped("map", integer(line), true);
      case '~':
        return wrapped("set", integer(line), false);
      case '|':  // attributes of the reply behind them, which scripts do not see
        for (std::int64_t n = 2 * integer(line); n > 0; --n) {
          push();
          lua_pop(l_, 1);
        }
        return push();
      default:
        luaL_error(l_, "a reply that cannot be read");
    }
  }

 private:
  std::string_view take_line() {
    const std::size_t end = in_.find('\r', at_);
    const std::string_view line = in_.substr(at_, end - at_);
    at_ = end + 2;
    return line;
  }
  static std::int64_t integer(std::string_view line) {
    std::int64_t n = 0;
    std::from_chars(line.data(), line.data() + line.size(), n);
    return n;
  }
  void field(const char* name, std::string_view text) {
    lua_createtable(l_, 0, 1);
    lua::push(l_, text);
    lua_setfield(l_, -2, name);
  }
  std::string_view take_bulk(std::int64_t n) {
    const std::string_view bytes = in_.substr(at_, static_cast<std::size_t>(n));
    at_ += bytes.size() + 2;
    return bytes;
  }
  void bulk(std::int64_t n) { n < 0 ? lua_pushboolean(l_, 0) : lua::push(l_, take_bulk(n)); }
  void array(std::int64_t n) {
    if (n < 0) return lua_pushboolean(l_, 0);
    lua_createtable(l_, static_cast<int>(std::min<std::int64_t>(n, 1 << 20)), 0);
    for (std::int64_t i = 1; i <= n; ++i) {
      push();
      lua_rawseti(l_, -2, static_cast<int>(i));
    }
  }
  void verbatim(std::int64_t n) {
    const std::string_view bytes = take_bulk(n);
    lua_createtable(l_, 0, 1);
    lua_createtable(l_, 0, 2);
    lua::push(l_, bytes.substr(4));
    lua_setfield(l_, -2, "string");
    lua::push(l_, bytes.substr(0, 3));
    lua_setfield(l_, -2, "format");
    lua_setfield(l_, -2, "verbatim_string");
  }
  void wrapped(const char* name, std::int64_t n, bool pairs) {
    lua_createtable(l_, 0, 1);
    lua_newtable(l_);
    for (std::int64_t i = 0; i < n; ++i) {
      push();
      const bool fit = !lua_isnil(l_, -1);
      pairs ? push() : lua_pushboolean(l_, 1);
      fit ? lua_rawset(l_, -3) : lua_pop(l_, 2);
    }
    lua_setfield(l_, -2, name);
  }

  lua_State* l_;
  std::string_view in_;
  std::size_t at_ = 0;
};

class Writer {
 public:
  Writer(lua_State* l, Reply& reply, int resp) : l_(l), reply_(reply), resp_(resp) {}

  // The value at the top, which it takes off.
  void write(int depth) {
    if (depth > depth_max || !lua_checkstack(l_, 6)) {
      reply_.error("reached lua stack limit");
      return lua_pop(l_, 1);
    }
    switch (lua_type(l_, -1)) {
      case LUA_TSTRING:
        reply_.bulk(lua::text_at(l_, -1));
        break;
      case LUA_TNUMBER:
        reply_.integer(whole(lua_tonumber(l_, -1)));
        break;
      case LUA_TBOOLEAN: {
        const bool yes = lua_toboolean(l_, -1) != 0;
        if (resp_ >= 3) {
          reply_.boolean(yes);
        } else {
          yes ? reply_.integer(1) : reply_.null();
        }
        break;
      }
      case LUA_TTABLE:
        if (!special(depth)) array(depth);
        break;
      default:
        reply_.null();
        break;
    }
    lua_pop(l_, 1);
  }

 private:
  // Pushes t[name] of the table at the top; true when it has that type. Otherwise nothing is
  // pushed.
  bool field(const char* name, int type) {
    lua_pushstring(l_, name);
    lua_rawget(l_, -2);
    if (lua_type(l_, -1) == type) return true;
    lua_pop(l_, 1);
    return false;
  }

  // A table that stands for something else than an array.
  bool special(int depth) {
    if (field("err", LUA_TSTRING)) {
      std::string line = "-" + std::string(lua::text_at(l_, -1));
      for (char& c : line) {
        if (c == '\r' || c == '\n') c = ' ';
      }
      reply_.raw(line + "\r\n");
    } else if (field("ok", LUA_TSTRING)) {
      reply_.simple(lua::text_at(l_, -1));
    } else if (field("double", LUA_TNUMBER)) {
      reply_.real(lua_tonumber(l_, -1));
    } else if (field("map", LUA_TTABLE)) {
      std::size_t n = 0;
      const std::size_t mark = reply_.deferred();
      lua_pushnil(l_);
      while (lua_next(l_, -2)) {
        lua_pushvalue(l_, -2);
        write(depth + 1);
        write(depth + 1);
        ++n;
      }
      reply_.finish_map(mark, n);
    } else if (field("set", LUA_TTABLE)) {
      std::size_t n = 0;
      const std::size_t mark = reply_.deferred();
      lua_pushnil(l_);
      while (lua_next(l_, -2)) {
        lua_pop(l_, 1);
        lua_pushvalue(l_, -1);
        write(depth + 1);
        ++n;
      }
      reply_.finish_set(mark, n);
    } else if (field("big_number", LUA_TSTRING)) {
      std::string digits(lua::text_at(l_, -1));
      // One line, whatever the script says.
      std::replace_if(
          digits.begin(), digits.end(), [](char c) { return c == '\r' || c == '\n'; }, ' ');
      reply_.big_number(digits);
    } else if (field("verbatim_string", LUA_TTABLE)) {
      if (!verbatim()) return lua_pop(l_, 1), false;
    } else {
      return false;
    }
    lua_pop(l_, 1);
    return true;
  }

  bool verbatim() {
    std::string format;
    if (!field("format", LUA_TSTRING)) return false;
    format = lua::text_at(l_, -1);
    lua_pop(l_, 1);
    if (!field("string", LUA_TSTRING)) return false;
    format.resize(3, ' ');
    reply_.verbatim(format, lua::text_at(l_, -1));
    lua_pop(l_, 1);
    return true;
  }

  void array(int depth) {
    const std::size_t mark = reply_.deferred();
    std::size_t n = 0;
    for (;;) {
      lua_rawgeti(l_, -1, static_cast<int>(n + 1));
      if (lua_isnil(l_, -1)) break;
      write(depth + 1);
      ++n;
    }
    lua_pop(l_, 1);
    reply_.finish_array(mark, n);
  }

  lua_State* l_;
  Reply& reply_;
  int resp_;
};

}  // namespace

std::size_t push_reply(lua_State* l, std::string_view reply) {
  Pusher p(l, reply);
  p.push();
  return p.used();
}

void write_value(lua_State* l, Reply& reply, int resp) {
  Writer(l, reply, resp).write(0);
}

}  // namespace gyre
