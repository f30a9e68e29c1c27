// Version: the hybrid logical clock stamp of a write, and the clock that makes them.
//
//   63                          23 22        12 11          0
//   | 41 bits: ms since 2020 UTC  | 11: counter | 12: node    |
//
// Compared as one unsigned number. The node's 12 bits are its index in the ring times 8 plus its
// incarnation (design, section 4). A version also names things: counter sums and list elements.
// Source: Kulkarni et al., "Logical Physical Clocks" (2014); the packing is ours.
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>

#include "base/assert.h"
#include "base/ids.h"

namespace gyre {

struct Version {
  static constexpr unsigned node_bits = 12;
  static constexpr unsigned counter_bits = 11;
  static constexpr unsigned tick_shift = node_bits;  // one counter step
  static constexpr unsigned ms_shift = node_bits + counter_bits;
  static constexpr UnixMs epoch_ms = 1577836800000;  // 2020-01-01 UTC

  std::uint64_t bits{};

  constexpr auto operator<=>(const Version&) const = default;
  constexpr explicit operator bool() const { return bits != 0; }

  constexpr UnixMs ms() const { return static_cast<UnixMs>(bits >> ms_shift) + epoch_ms; }
  constexpr std::uint16_t node() const { return static_cast<std::uint16_t>(bits & 0xfffu); }
  // The highest version below this one: the floor that an overwrite raises.
  constexpr Version before() const { return {bits ? bits - 1 : 0}; }

  // The lowest version of a millisecond.
  static constexpr Version at_ms(UnixMs ms) {
    constexpr UnixMs most = (UnixMs{1} << (64 - ms_shift)) - 1;
    return {ms <= epoch_ms ? 0
                           : static_cast<std::uint64_t>(std::min(ms - epoch_ms, most)) << ms_shift};
  }
  // A bound that covers the milliseconds before this one. The version behind it is never stamped
  // (it would be of the last node number), so no overwrite's floor lies at the bound.
  static constexpr Version below_ms(UnixMs ms) { return {at_ms(ms).bits | 0xffe}; }
};
static_assert(sizeof(Version) == 8);

// The bound that a node keeps on disk, above every stamp that it may have given out, lies at most
// so far ahead of its time: after a start stamps may go on from there.
inline constexpr std::int64_t clock_bound_ahead_ms = 1000;

// Stamps versions for one shard: never goes back, follows the wall clock it is told.
class HybridClock {
 public:
  explicit HybridClock(std::uint16_t node) { set_node(node); }

  void set_node(std::uint16_t node) {
    GYRE_ASSERT(node < (1u << Version::node_bits));
    node_ = node;
  }
  std::uint16_t node() const { return node_; }

  // From now on stamps only count up from what was seen: those that another node's clock reserved.
  void stand_still() { standing_ = true; }

  // A new version, above everything stamped or seen. A full counter runs into the next millisecond.
  Version stamp(UnixMs wall) {
    ticks_ = next(wall);
    return {ticks_ << Version::tick_shift | node_};
  }
  // What stamp() would answer, without taking it.
  Version peek(UnixMs wall) const { return {next(wall) << Version::tick_shift | node_}; }
  // Counter sums older than this were opened by an earlier run of this node and are left alone.
  Version started() const { return started_; }
  void set_started(Version v) { started_ = v; }
  // Later stamps lie above `version` and the wall clock alone, however high earlier ones were.
  void set_back(Version version) { ticks_ = ticks_of(version); }
  // Later stamps lie above `version`.
  void see(Version version) { ticks_ = std::max(ticks_, ticks_of(version)); }

 private:
  std::uint64_t next(UnixMs wall) const {
    return standing_ ? ticks_ + 1 : std::max(ticks_ + 1, ticks_of(Version::at_ms(wall)));
  }
  static constexpr std::uint64_t ticks_of(Version v) { return v.bits >> Version::tick_shift; }

  Version started_{};
  std::uint64_t ticks_ = 0;  // ms and counter of the last stamp
  std::uint16_t node_ = 0;
  bool standing_ = false;
};

}  // namespace gyre
