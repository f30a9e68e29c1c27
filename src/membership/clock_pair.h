// Reads wall and monotonic clock as one: a pause of the process between the two readings would look
// like a wrong wall clock. Pure. Threading: none of its own.
#pragma once

#include <optional>

#include "base/clock.h"

namespace gyre {

struct ClockPair {
  UnixMs wall = 0;
  SteadyMs steady = 0;
};

// Nothing when the process was interrupted each time: ask again with the next tick.
inline std::optional<ClockPair> read_together(const Clock& machine) {
  constexpr int tries = 3;
  constexpr std::int64_t apart_ms_max = 2;
  for (int i = 0; i < tries; ++i) {
    const SteadyMs before = machine.steady_ms();
    const UnixMs wall = machine.wall_ms();
    if (machine.steady_ms() - before <= apart_ms_max) return ClockPair{wall, before};
  }
  return {};
}

}  // namespace gyre
