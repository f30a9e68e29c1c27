// How often a property test draws: in full, or a tenth under a sanitizer, which takes ten times as
// long and looks for what shows in any draw.
#pragma once

#include <algorithm>
#include <cstdint>

namespace gyre::test {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr std::uint64_t effort_part = 10;
#else
inline constexpr std::uint64_t effort_part = 1;
#endif

// At least one.
constexpr std::uint64_t effort(std::uint64_t full) {
  return std::max<std::uint64_t>(full / effort_part, 1);
}

}  // namespace gyre::test
