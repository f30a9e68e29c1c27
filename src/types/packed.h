// The numbers in the packed small forms of the types: 7 bits a byte, lowest first.
//
// It is memory that we wrote ourselves, so nothing is checked; bytes from outside go through
// Reader (base/bytes.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "record/version.h"

namespace gyre {

inline std::size_t varint_size(std::uint64_t v) {
  std::size_t n = 1;
  for (; v >= 0x80; v >>= 7) ++n;
  return n;
}

inline char* write_varint(char* to, std::uint64_t v) {
  for (; v >= 0x80; v >>= 7) *to++ = static_cast<char>(v | 0x80);
  *to++ = static_cast<char>(v);
  return to;
}

inline const char* read_varint(const char* at, std::uint64_t& out) {
  std::uint64_t v = static_cast<unsigned char>(*at++);
  if (v >= 0x80) {
    v &= 0x7f;
    for (unsigned shift = 7;; shift += 7) {
      const auto b = static_cast<unsigned char>(*at++);
      v |= std::uint64_t{b & 0x7fu} << shift;
      if (b < 0x80) break;
    }
  }
  out = v;
  return at;
}

// Versions lie on both sides of a block's first; the difference wraps, so any two have one.
inline std::uint64_t zigzag_between(Version first, Version v) {
  const std::uint64_t delta = v.bits - first.bits;
  return (delta << 1) ^ (0 - (delta >> 63));
}
inline Version version_at(Version first, std::uint64_t zigzag) {
  return {first.bits + ((zigzag >> 1) ^ (0 - (zigzag & 1)))};
}

}  // namespace gyre
