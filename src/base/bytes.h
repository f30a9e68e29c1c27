// Bytes on wire and disk are written by name, never by casting a struct. Fixed-width integers are
// big-endian, so that byte order is number order in keys; varints are LEB128.
//
// Writers append to a std::string. Reader takes them back and never reads past its end: after the
// first failure `ok()` stays false and every read answers zero or an empty view.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace gyre {

inline void store_be64(char* to, std::uint64_t v) {
  v = __builtin_bswap64(v);
  std::memcpy(to, &v, 8);
}
inline std::uint64_t load_be64(const char* from) {
  std::uint64_t v;
  std::memcpy(&v, from, 8);
  return __builtin_bswap64(v);
}

// Empties a buffer that is used again, and gives back what a burst has made of it.
inline void clear_buffer(std::string& s) {
  constexpr std::size_t kept = std::size_t{128} << 10;
  if (s.capacity() > kept) [[unlikely]]
    std::string().swap(s);  // assigning an empty one would keep the room
  else
    s.clear();
}

// Equality of short byte strings without a call: keys and names.
inline bool equal_bytes(std::string_view a, std::string_view b) {
  const std::size_t n = a.size();
  if (n != b.size()) return false;
  const char *p = a.data(), *q = b.data();
  const auto differ = [&]<class Word>(std::size_t at, Word) {
    Word x, y;
    std::memcpy(&x, p + at, sizeof x);
    std::memcpy(&y, q + at, sizeof y);
    return x != y;
  };
  if (n > 64) return std::memcmp(p, q, n) == 0;
  if (n >= 8) {
    for (std::size_t at = 0; at + 8 < n; at += 8) {
      if (differ(at, std::uint64_t{})) return false;
    }
    return !differ(n - 8, std::uint64_t{});
  }
  if (n >= 4) return !differ(0, std::uint32_t{}) && !differ(n - 4, std::uint32_t{});
  for (std::size_t at = 0; at < n; ++at) {
    if (p[at] != q[at]) return false;
  }
  return true;
}

inline void put_u8(std::string& to, std::uint8_t v) {
  to.push_back(static_cast<char>(v));
}
inline void put_be16(std::string& to, std::uint16_t v) {
  const char b[2] = {static_cast<char>(v >> 8), static_cast<char>(v)};
  to.append(b, 2);
}
inline void put_be32(std::string& to, std::uint32_t v) {
  v = __builtin_bswap32(v);
  char b[4];
  std::memcpy(b, &v, 4);
  to.append(b, 4);
}
inline void put_be64(std::string& to, std::uint64_t v) {
  char b[8];
  store_be64(b, v);
  to.append(b, 8);
}
inline void put_varint(std::string& to, std::uint64_t v) {
  char b[10];
  std::size_t n = 0;
  while (v >= 0x80) {
    b[n++] = static_cast<char>(v | 0x80);
    v >>= 7;
  }
  b[n++] = static_cast<char>(v);
  to.append(b, n);
}
// A length, then the bytes.
inline void put_bytes(std::string& to, std::string_view bytes) {
  put_varint(to, bytes.size());
  to.append(bytes);
}

class Reader {
 public:
  explicit Reader(std::string_view bytes) : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  bool ok() const { return ok_; }
  bool done() const { return at_ == end_; }
  // True when everything was read and nothing was missing.
  bool finished() const { return ok_ && done(); }
  std::size_t left() const { return static_cast<std::size_t>(end_ - at_); }

  std::uint8_t u8() { return take(1) ? static_cast<std::uint8_t>(at_[-1]) : std::uint8_t{0}; }
  std::uint16_t be16() {
    if (!take(2)) return 0;
    return static_cast<std::uint16_t>((static_cast<unsigned char>(at_[-2]) << 8) |
                                      static_cast<unsigned char>(at_[-1]));
  }
  std::uint32_t be32() {
    if (!take(4)) return 0;
    std::uint32_t v;
    std::memcpy(&v, at_ - 4, 4);
    return __builtin_bswap32(v);
  }
  std::uint64_t be64() { return take(8) ? load_be64(at_ - 8) : 0; }
  std::uint64_t varint() {
    std::uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (!take(1)) return 0;
      const auto b = static_cast<unsigned char>(at_[-1]);
      v |= std::uint64_t{b & 0x7fu} << shift;
      if (b < 0x80) return v;
    }
    ok_ = false;
    return 0;
  }
  // The next n bytes, as a view into the input.
  std::string_view raw(std::size_t n) {
    return take(n) ? std::string_view(at_ - n, n) : std::string_view();
  }
  std::string_view bytes() {
    const std::uint64_t n = varint();
    if (n > left()) {
      ok_ = false;
      return {};
    }
    return raw(static_cast<std::size_t>(n));
  }
  std::string_view rest() { return raw(left()); }

 private:
  bool take(std::size_t n) {
    if (!ok_ || n > left()) {
      ok_ = false;
      return false;
    }
    at_ += n;
    return true;
  }

  const char* at_;
  const char* end_;
  bool ok_ = true;
};

}  // namespace gyre
