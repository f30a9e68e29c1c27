// struct: numbers and strings to and from bytes, as Redis' scripts know it (after R.
// Ierusalimschy's format strings).
//
//   > < =      big, little, native order        !n  aligns to at most n bytes (8)
//   b B h H i In I l L T   integers: 1, 2, 4 or n, 8, 8 bytes; capitals have no sign
//   f d        float, double                    x   a zero byte
//   s          text up to its zero byte         cn  n bytes; c0: as many as the number before says
#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>

#include "script/libraries.h"

namespace gyre {
namespace {

constexpr std::size_t integer_max = 32;  // bytes of i and I
constexpr std::size_t default_align = 8;

bool digit(char c) {
  return c >= '0' && c <= '9';
}

// Walks a format: one option after the other, with its size and the padding before it.
class Format {
 public:
  Format(lua_State* l, const char* text) : l_(l), at_(text) {}

  char next() {
    for (;;) {
      const char c = *at_ ? *at_++ : '\0';
      switch (c) {
        case ' ':
          continue;
        case '>':
          big_ = true;
          continue;
        case '<':
          big_ = false;
          continue;
        case '=':
          big_ = std::endian::native == std::endian::big;
          continue;
        case '!': {
          const std::size_t n = number(default_align);
          if (n == 0 || (n & (n - 1)) != 0)
            luaL_error(l_, "alignment %d is not a power of 2", static_cast<int>(n));
          align_ = n;
          continue;
        }
        default:
          size_ = size_of(c);
          return c;
      }
    }
  }
  bool big() const { return big_; }
  std::size_t size() const { return size_; }
  // Zero bytes in front of the option that would begin at `offset`.
  std::size_t padding(char c, std::size_t offset) const {
    if (size_ == 0 || c == 'c' || c == 's' || c == 'x') return 0;
    const std::size_t to = std::min(size_, align_);
    return to > 1 && (to & (to - 1)) == 0 ? (to - (offset & (to - 1))) & (to - 1) : 0;
  }

 private:
  std::size_t number(std::size_t otherwise) {
    if (!digit(*at_)) return otherwise;
    std::size_t n = 0;
    while (digit(*at_)) {
      const auto d = static_cast<std::size_t>(*at_ - '0');
      if (n > (std::size_t{0x7fffffff} - d) / 10) luaL_error(l_, "integral size overflow");
      n = n * 10 + d;
      ++at_;
    }
    return n;
  }
  std::size_t size_of(char c) {
    switch (c) {
      case '\0':
      case 's':
        return 0;
      case 'B':
      case 'b':
      case 'x':
        return 1;
      case 'H':
      case 'h':
        return 2;
      case 'f':
        return 4;
      case 'L':
      case 'l':
      case 'T':
      case 'd':
        return 8;
      case 'c':
        return number(1);
      case 'i':
      case 'I': {
        const std::size_t n = number(4);
        if (n > integer_max)
          luaL_error(l_, "integral size %d is larger than limit of %d", static_cast<int>(n),
                     static_cast<int>(integer_max));
        return n;
      }
      default:
        luaL_argerror(l_, 1, lua_pushfstring(l_, "invalid format option '%c'", c));
        return 0;
    }
  }

  lua_State* l_;
  const char* at_;
  bool big_ = std::endian::native == std::endian::big;
  std::size_t align_ = 1;
  std::size_t size_ = 0;
};

void put_integer(std::string& to, std::int64_t value, std::size_t size, bool big) {
  const std::size_t from = to.size();
  for (std::size_t i = 0; i < size; ++i) {
    const std::int64_t part = i < 8 ? value >> (8 * i) : value < 0 ? -1 : 0;
    to.push_back(static_cast<char>(part));
  }
  if (big) std::reverse(to.begin() + static_cast<std::ptrdiff_t>(from), to.end());
}

double get_integer(std::string_view bytes, bool big, bool sign) {
  std::uint64_t value = 0;
  const std::size_t n = bytes.size();
  for (std::size_t i = 0; i < n && i < 8; ++i) {
    const auto byte = static_cast<unsigned char>(bytes[big ? n - 1 - i : i]);
    value |= std::uint64_t{byte} << (8 * i);
  }
  if (!sign) return static_cast<double>(value);
  if (n < 8 && n > 0 && (value >> (8 * n - 1) & 1)) value |= ~std::uint64_t{0} << (8 * n);
  return static_cast<double>(static_cast<std::int64_t>(value));
}

template <class Float, class Bits>
void put_real(std::string& to, double value, bool big) {
  put_integer(to, static_cast<std::int64_t>(std::bit_cast<Bits>(static_cast<Float>(value))),
              sizeof(Bits), big);
}

template <class Float, class Bits>
double get_real(std::string_view bytes, bool big) {
  Bits bits = 0;
  for (std::size_t i = 0; i < sizeof(Bits); ++i) {
    const auto byte = static_cast<unsigned char>(bytes[big ? sizeof(Bits) - 1 - i : i]);
    bits |= static_cast<Bits>(Bits{byte} << (8 * i));
  }
  return static_cast<double>(std::bit_cast<Float>(bits));
}

std::int64_t integer_of(double d) {
  if (d >= 9223372036854775808.0)
    return static_cast<std::int64_t>(
        static_cast<std::uint64_t>(d < 18446744073709551616.0 ? d : 18446744073709549568.0));
  return d <= -9223372036854775808.0 || d != d ? INT64_MIN : static_cast<std::int64_t>(d);
}

int pack(lua_State* l) {
  Format format(l, luaL_checkstring(l, 1));
  std::string out;
  int arg = 1;
  lua_pushnil(l);  // what an argument too few is said to be
  while (const char c = format.next()) {
    out.append(format.padding(c, out.size()), '\0');
    switch (c) {
      case 'x':
        out.push_back('\0');
        break;
      case 'f':
        put_real<float, std::uint32_t>(out, luaL_checknumber(l, ++arg), format.big());
        break;
      case 'd':
        put_real<double, std::uint64_t>(out, luaL_checknumber(l, ++arg), format.big());
        break;
      case 's':
      case 'c': {
        luaL_checkstring(l, ++arg);
        const std::string_view text = lua::text_at(l, arg);
        const std::size_t n = c == 's' || format.size() == 0 ? text.size() : format.size();
        luaL_argcheck(l, text.size() >= n, arg + 1, "string too short");
        out.append(text.substr(0, n));
        if (c == 's') out.push_back('\0');
        break;
      }
      default:
        put_integer(out, integer_of(luaL_checknumber(l, ++arg)), format.size(), format.big());
        break;
    }
  }
  lua::push(l, out);
  return 1;
}

int unpack(lua_State* l) {
  Format format(l, luaL_checkstring(l, 1));
  luaL_checkstring(l, 2);
  const std::string_view data = lua::text_at(l, 2);
  const lua_Number from = luaL_optnumber(l, 3, 1);
  luaL_argcheck(l, from != 0, 3, "offset must be 1 or greater");
  const bool possible = from >= 1 && from < 9e15;
  luaL_argcheck(l, possible, 2, "data string too short");
  std::size_t at = static_cast<std::size_t>(from) - 1;
  int pushed = 0;
  const auto need = [&](std::size_t n) {
    if (at > data.size() || n > data.size() - at) luaL_argerror(l, 2, "data string too short");
  };
  while (const char c = format.next()) {
    at += format.padding(c, at);
    need(format.size());
    luaL_checkstack(l, 2, "too many results");
    std::size_t size = format.size();
    switch (c) {
      case 'x':
        break;
      case 'f':
        lua_pushnumber(l, (get_real<float, std::uint32_t>(data.substr(at, 4), format.big())));
        ++pushed;
        break;
      case 'd':
        lua_pushnumber(l, (get_real<double, std::uint64_t>(data.substr(at, 8), format.big())));
        ++pushed;
        break;
      case 'c':
        if (size == 0) {
          if (pushed == 0 || !lua_isnumber(l, -1))
            return luaL_error(l, "format 'c0' needs a previous size");
          const double told = lua_tonumber(l, -1);
          lua_pop(l, 1);
          --pushed;
          luaL_argcheck(l, told >= 0 && told < 9e15, 2, "data string too short");
          size = static_cast<std::size_t>(told);
          need(size);
        }
        lua::push(l, data.substr(at, size));
        ++pushed;
        break;
      case 's': {
        need(0);
        const std::size_t end = data.find('\0', at);
        if (end == std::string_view::npos) return luaL_error(l, "unfinished string in data");
        lua::push(l, data.substr(at, end - at));
        size = end - at + 1;
        ++pushed;
        break;
      }
      default:
        lua_pushnumber(l, get_integer(data.substr(at, size), format.big(), c >= 'a'));
        ++pushed;
        break;
    }
    at += size;
  }
  lua_pushnumber(l, static_cast<lua_Number>(at + 1));
  return pushed + 1;
}

int size(lua_State* l) {
  Format format(l, luaL_checkstring(l, 1));
  std::size_t at = 0;
  while (const char c = format.next()) {
    if (c == 's') return luaL_argerror(l, 1, "option 's' has no fixed size");
    if (c == 'c' && format.size() == 0) return luaL_argerror(l, 1, "option 'c0' has no fixed size");
    at += format.padding(c, at) + format.size();
  }
  lua_pushnumber(l, static_cast<lua_Number>(at));
  return 1;
}

}  // namespace

int open_struct(lua_State* l) {
  lua_newtable(l);
  lua::set_function(l, "pack", pack);
  lua::set_function(l, "unpack", unpack);
  lua::set_function(l, "size", size);
  return 1;
}

}  // namespace gyre
