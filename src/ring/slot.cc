#include "ring/slot.h"

#include <bit>

#include "base/hash.h"

namespace gyre {
namespace {

static_assert(std::has_single_bit(slots_total), "slot = crc16(tag) & (slots_total - 1)");

// Of a key with an opening brace.
std::string_view hashed_part(std::string_view key) {
  const std::size_t open = key.find('{');
  const std::size_t close = key.find('}', open + 1);
  if (close == std::string_view::npos || close == open + 1) return key;
  return key.substr(open + 1, close - open - 1);
}

}  // namespace

Slot key_slot(std::string_view key) {
  const std::int32_t plain = crc16_without(key, '{');
  const auto crc = plain >= 0 ? static_cast<std::uint16_t>(plain) : crc16(hashed_part(key));
  return Slot{static_cast<std::uint16_t>(crc & (slots_total - 1))};
}

}  // namespace gyre
