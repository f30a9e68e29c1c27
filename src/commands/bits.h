// Bits of a string: bit 0 is the first byte's highest.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace gyre {

inline constexpr const char* bit_offset_error = "bit offset is not an integer or out of range";

inline unsigned mask_of(std::uint64_t bit) {
  return 0x80u >> (bit & 7);
}

// Bits behind the value are zero.
inline bool bit_of(std::string_view value, std::uint64_t bit) {
  const std::uint64_t at = bit >> 3;
  return at < value.size() && (static_cast<unsigned char>(value[at]) & mask_of(bit)) != 0;
}

// The value reaches so far.
inline void set_bit(std::string& value, std::uint64_t bit, bool on) {
  const unsigned rest = static_cast<unsigned char>(value[bit >> 3]) & ~mask_of(bit);
  value[bit >> 3] = static_cast<char>(on ? rest | mask_of(bit) : rest);
}

}  // namespace gyre
