// cmsgpack: MessagePack for scripts, with the functions and limits that Redis' scripts know.
//
// A table whose keys are 1 .. n goes as an array, any other as a map. Tables in each other deeper
// than depth_max become nil, as in Redis, so a table that holds itself ends. Numbers without a
// fraction go as integers of the smallest size. Reading checks each length before it is used.
#include <bit>
#include <cmath>
#include <cstdint>
#include <string>

#include "script/libraries.h"

namespace gyre {
namespace {

constexpr int depth_max = 16;
constexpr std::size_t packed_max = std::size_t{512} << 20;  // a table may be in another many times

// ---- writing

void put_be(std::string& to, std::uint64_t value, int bytes) {
  for (int i = bytes - 1; i >= 0; --i) to.push_back(static_cast<char>(value >> (8 * i)));
}

void put_head(std::string& to, unsigned tag, std::uint64_t value, int bytes) {
  to.push_back(static_cast<char>(tag));
  put_be(to, value, bytes);
}

void put_integer(std::string& to, std::int64_t v) {
  const auto u = static_cast<std::uint64_t>(v);
  if (v >= 0) {
    if (v < 0x80) return put_be(to, u, 1);
    if (v <= 0xff) return put_head(to, 0xcc, u, 1);
    if (v <= 0xffff) return put_head(to, 0xcd, u, 2);
    if (v <= 0xffffffff) return put_head(to, 0xce, u, 4);
    return put_head(to, 0xcf, u, 8);
  }
  if (v >= -32) return put_be(to, u, 1);
  if (v >= -0x80) return put_head(to, 0xd0, u, 1);
  if (v >= -0x8000) return put_head(to, 0xd1, u, 2);
  if (v >= -std::int64_t{0x80000000}) return put_head(to, 0xd2, u, 4);
  put_head(to, 0xd3, u, 8);
}

void put_number(std::string& to, double d) {
  if (std::floor(d) == d && std::abs(d) < 9.2e18)
    return put_integer(to, static_cast<std::int64_t>(d));
  if (static_cast<double>(static_cast<float>(d)) == d)
    return put_head(to, 0xca, std::bit_cast<std::uint32_t>(static_cast<float>(d)), 4);
  put_head(to, 0xcb, std::bit_cast<std::uint64_t>(d), 8);
}

void put_text(std::string& to, std::string_view text) {
  const std::size_t n = text.size();
  if (n < 32) {
    to.push_back(static_cast<char>(0xa0 | n));
  } else if (n <= 0xff) {
    put_head(to, 0xd9, n, 1);
  } else if (n <= 0xffff) {
    put_head(to, 0xda, n, 2);
  } else {
    put_head(to, 0xdb, n, 4);
  }
  to.append(text);
}

// The head of an array (0x90, 0xdc) or a map (0x80, 0xde).
void put_count(std::string& to, std::size_t n, unsigned small, unsigned large) {
  if (n <= 15) {
    to.push_back(static_cast<char>(small | n));
  } else if (n <= 0xffff) {
    put_head(to, large, n, 2);
  } else {
    put_head(to, large + 1, n, 4);
  }
}

// Whether the keys of the table at the top are 1 .. n in any order; counts them.
bool is_array(lua_State* l, std::size_t& n) {
  double highest = 0;
  bool array = true;
  n = 0;
  lua_pushnil(l);
  while (lua_next(l, -2)) {
    lua_pop(l, 1);
    ++n;
    const double key = lua_type(l, -1) == LUA_TNUMBER ? lua_tonumber(l, -1) : 0;
    if (key < 1 || std::floor(key) != key) array = false;
    highest = std::max(highest, key);
  }
  return array && highest == static_cast<double>(n);
}

void put_value(lua_State* l, std::string& to, int depth);

void put_table(lua_State* l, std::string& to, int depth) {
  std::size_t n = 0;
  if (is_array(l, n)) {
    put_count(to, n, 0x90, 0xdc);
    for (std::size_t i = 1; i <= n; ++i) {
      lua_rawgeti(l, -1, static_cast<int>(i));
      put_value(l, to, depth + 1);
    }
    return;
  }
  put_count(to, n, 0x80, 0xde);
  lua_pushnil(l);
  while (lua_next(l, -2)) {
    lua_pushvalue(l, -2);
    put_value(l, to, depth + 1);
    put_value(l, to, depth + 1);
  }
}

// Takes the value off the stack.
void put_value(lua_State* l, std::string& to, int depth) {
  luaL_checkstack(l, 5, "in function mp_check");
  if (to.size() > packed_max) luaL_error(l, "cmsgpack.pack: the value is too large");
  switch (lua_type(l, -1)) {
    case LUA_TSTRING:
      put_text(to, lua::text_at(l, -1));
      break;
    case LUA_TBOOLEAN:
      to.push_back(static_cast<char>(lua_toboolean(l, -1) ? 0xc3 : 0xc2));
      break;
    case LUA_TNUMBER:
      put_number(to, lua_tonumber(l, -1));
      break;
    case LUA_TTABLE:
      if (depth < depth_max) {
        put_table(l, to, depth);
        break;
      }
      [[fallthrough]];
    default:
      to.push_back(static_cast<char>(0xc0));
      break;
  }
  lua_pop(l, 1);
}

int pack(lua_State* l) {
  const int n = lua_gettop(l);
  if (n == 0) return luaL_argerror(l, 0, "MessagePack pack needs input.");
  std::string out;
  for (int i = 1; i <= n; ++i) {
    lua_pushvalue(l, i);
    put_value(l, out, 0);
  }
  lua::push(l, out);
  return 1;
}

// ---- reading

constexpr const char* missing = "Missing bytes in input.";
constexpr const char* bad = "Bad data format in input.";
constexpr int nesting_max = 1000;  // of what is read: each level stands on the C stack

class Source {
 public:
  Source(lua_State* l, std::string_view bytes) : l_(l), bytes_(bytes) {}

  bool empty() const { return at_ >= bytes_.size(); }
  std::size_t at() const { return at_; }

  void read(int depth = 0) {
    luaL_checkstack(l_, 5,
                    "too many return values at once; use unpack_one or unpack_limit instead.");
    if (depth > nesting_max) luaL_error(l_, bad);
    const auto tag = static_cast<unsigned>(take(1));
    if (tag < 0x80) return number(static_cast<double>(tag));
    if (tag >= 0xe0) return number(static_cast<double>(tag) - 256);
    if (tag < 0x90) return map(tag & 15, depth);
    if (tag < 0xa0) return array(tag & 15, depth);
    if (tag < 0xc0) return text(tag & 31);
    switch (tag) {
      case 0xc0:
        return lua_pushnil(l_);
      case 0xc2:
      case 0xc3:
        return lua_pushboolean(l_, tag == 0xc3);
      case 0xc4:
      case 0xd9:
        return text(take(1));
      case 0xc5:
      case 0xda:
        return text(take(2));
      case 0xc6:
      case 0xdb:
        return text(take(4));
      case 0xca:
        return number(std::bit_cast<float>(static_cast<std::uint32_t>(take(4))));
      case 0xcb:
        return number(std::bit_cast<double>(take(8)));
      case 0xcc:
        return number(static_cast<double>(take(1)));
      case 0xcd:
        return number(static_cast<double>(take(2)));
      case 0xce:
        return number(static_cast<double>(take(4)));
      case 0xcf:  // as an integer of Lua's, which has a sign
        return number(static_cast<double>(static_cast<std::int64_t>(take(8))));
      case 0xd0:
        return number(static_cast<std::int8_t>(take(1)));
      case 0xd1:
        return number(static_cast<std::int16_t>(take(2)));
      case 0xd2:
        return number(static_cast<std::int32_t>(take(4)));
      case 0xd3:
        return number(static_cast<double>(static_cast<std::int64_t>(take(8))));
      case 0xdc:
        return array(take(2), depth);
      case 0xdd:
        return array(take(4), depth);
      case 0xde:
        return map(take(2), depth);
      case 0xdf:
        return map(take(4), depth);
      default:
        luaL_error(l_, bad);
    }
  }

 private:
  std::uint64_t take(std::size_t n) {
    if (bytes_.size() - at_ < n) luaL_error(l_, missing);
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < n; ++i)
      value = value << 8 | static_cast<unsigned char>(bytes_[at_++]);
    return value;
  }
  void number(double d) { lua_pushnumber(l_, d); }
  void text(std::uint64_t n) {
    if (bytes_.size() - at_ < n) luaL_error(l_, missing);
    lua::push(l_, bytes_.substr(at_, n));
    at_ += n;
  }
  void array(std::uint64_t n, int depth) {
    lua_newtable(l_);
    for (std::uint64_t i = 1; i <= n; ++i) {
      lua_pushnumber(l_, static_cast<double>(i));
      read(depth + 1);
      lua_rawset(l_, -3);
    }
  }
  void map(std::uint64_t n, int depth) {
    lua_newtable(l_);
    for (std::uint64_t i = 0; i < n; ++i) {
      read(depth + 1);
      // What cannot be a key of a Lua table.
      if (lua_isnil(l_, -1) ||
          (lua_type(l_, -1) == LUA_TNUMBER && std::isnan(lua_tonumber(l_, -1))))
        luaL_error(l_, bad);
      read(depth + 1);
      lua_rawset(l_, -3);
    }
  }

  lua_State* l_;
  std::string_view bytes_;
  std::size_t at_ = 0;
};

// Up to `limit` values (0: all) from `offset` on; with a limit the next offset stands before them,
// -1 at the end.
int unpack_from(lua_State* l, double limit, double offset) {
  luaL_checkstring(l, 1);
  const std::string_view bytes = lua::text_at(l, 1);
  if (offset < 0 || limit < 0)
    return luaL_error(l, "Invalid request to unpack with offset of %d and limit of %d.",
                      static_cast<int>(offset), static_cast<int>(bytes.size()));
  if (offset > static_cast<double>(bytes.size()))
    return luaL_error(l, "Start offset %d greater than input length %d.", static_cast<int>(offset),
                      static_cast<int>(bytes.size()));
  const auto from = static_cast<std::size_t>(offset);
  Source in(l, bytes.substr(from));
  lua_settop(l, 1);
  if (limit > 0) lua_pushnil(l);  // the place of the offset
  int count = 0;
  while (!in.empty() && (limit == 0 || count < limit)) {
    in.read();
    ++count;
  }
  if (limit == 0) return count;
  lua_pushnumber(l, in.empty() ? -1 : static_cast<double>(from + in.at()));
  lua_replace(l, 2);
  return count + 1;
}

int unpack(lua_State* l) {
  return unpack_from(l, 0, 0);
}
int unpack_one(lua_State* l) {
  return unpack_from(l, 1, luaL_optnumber(l, 2, 0));
}
int unpack_limit(lua_State* l) {
  const double limit = luaL_checknumber(l, 2);
  return unpack_from(l, limit, luaL_optnumber(l, 3, 0));
}

}  // namespace

int open_msgpack(lua_State* l) {
  lua_newtable(l);
  lua::set_function(l, "pack", pack);
  lua::set_function(l, "unpack", unpack);
  lua::set_function(l, "unpack_one", unpack_one);
  lua::set_function(l, "unpack_limit", unpack_limit);
  lua_pushliteral(l, "cmsgpack");
  lua_setfield(l, -2, "_NAME");
  lua_pushliteral(l, "lua-cmsgpack 0.4.0");  // whose functions these are
  lua_setfield(l, -2, "_VERSION");
  return 1;
}

}  // namespace gyre
