#include "ring/slot.h"

#include <emmintrin.h>

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>

#include "base/hash.h"

namespace gyre {
namespace {

static_assert(std::has_single_bit(slots_total), "slot = crc16(tag) & (slots_total - 1)");

bool has_brace(std::string_view key) {
  const char* const at = key.data();
  const std::size_t size = key.size();
  if (size < 8) {
    for (const char c : key) {
      if (c == '{') return true;
    }
    return false;
  }
  if (size < 16) {
    constexpr std::uint64_t each = 0x0101010101010101u, high = 0x80 * each;
    const auto zero_among = [at](std::size_t from) {
      std::uint64_t word;
      std::memcpy(&word, at + from, sizeof word);
      word ^= each * '{';
      return (word - each) & ~word & high;
    };
    return (zero_among(0) | zero_among(size - 8)) != 0;
  }
  const auto among = [at](std::size_t from) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at + from));
    return _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('{')));
  };
  int found = among(size - 16);
  for (std::size_t from = 0; from + 16 < size; from += 16) found |= among(from);
  return found != 0;
}

// Of a key with an opening brace.
std::string_view hashed_part(std::string_view key) {
  const std::size_t open = key.find('{');
  const std::size_t close = key.find('}', open + 1);
  if (close == std::string_view::npos || close == open + 1) return key;
  return key.substr(open + 1, close - open - 1);
}

}  // namespace

Slot key_slot(std::string_view key) {
  if (has_brace(key)) [[unlikely]]
    key = hashed_part(key);
  return Slot{static_cast<std::uint16_t>(crc16(key) & (slots_total - 1))};
}

std::string_view slot_tag(Slot slot) {
  static const auto tags = [] {
    std::array<std::string, slots_total> out;
    std::size_t found = 0;
    for (std::uint64_t i = 0; found < slots_total; ++i) {
      std::string word = std::to_string(i);
      std::string& tag = out[key_slot(word).value];
      if (tag.empty()) tag = std::move(word), ++found;
    }
    return out;
  }();
  return tags[slot.value];
}

}  // namespace gyre
