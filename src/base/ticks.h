// A cheap clock for measuring commands: the processor's time stamp counter, calibrated once.
#pragma once

#include <cstdint>

#include <x86intrin.h>

namespace gyre {

inline std::uint64_t ticks_now() {
  return __rdtsc();
}
// Ticks per microsecond, measured against the steady clock at the first call (about a millisecond).
double ticks_per_us();
inline std::uint64_t us_to_ticks(std::int64_t us) {
  return static_cast<std::uint64_t>(static_cast<double>(us) * ticks_per_us());
}
inline std::uint64_t ticks_to_us(std::uint64_t ticks) {
  return static_cast<std::uint64_t>(static_cast<double>(ticks) / ticks_per_us());
}

// CPU time of the calling thread. A system call of about 0.3 us: once a turn, never per command.
std::uint64_t thread_cpu_us();

}  // namespace gyre
