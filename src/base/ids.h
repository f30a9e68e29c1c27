// Numbers that mean something are types of their own: a slot does not convert to a node.
#pragma once

#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace gyre {

template <class Tag, std::unsigned_integral Int>
struct Id {
  Int value{};
  constexpr auto operator<=>(const Id&) const = default;
};

using Slot = Id<struct SlotTag, std::uint16_t>;         // 0 .. slots_total - 1
using NodeIndex = Id<struct NodeTag, std::uint16_t>;    // rank of a node in the ring's list
using DbIndex = Id<struct DbTag, std::uint8_t>;         // logical database (SELECT)
using ShardIndex = Id<struct ShardTag, std::uint16_t>;  // worker thread of this node

inline constexpr std::size_t slots_total = 16384;

// The node's own database, which no client selects: what transactions over several slots have
// prepared (commands/holds.cc).
inline constexpr DbIndex prepared_db{255};
inline constexpr std::size_t databases_max = 255;

// For multiply-shift; both compilers have it, the standard does not.
__extension__ using uint128 = unsigned __int128;

// Milliseconds since the Unix epoch, as Redis' expiry commands use them.
using UnixMs = std::int64_t;
// Milliseconds of a clock that never goes back; the origin is arbitrary.
using SteadyMs = std::int64_t;

}  // namespace gyre

template <class Tag, class Int>
struct std::hash<gyre::Id<Tag, Int>> {
  std::size_t operator()(const gyre::Id<Tag, Int>& id) const { return std::hash<Int>{}(id.value); }
};
