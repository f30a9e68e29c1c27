// Time and randomness come through these interfaces, so that a simulated node has its own.
#pragma once

#include <cstdint>
#include <limits>

#include "base/ids.h"

namespace gyre {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual UnixMs wall_ms() const = 0;      // may jump in either direction
  virtual SteadyMs steady_ms() const = 0;  // never goes back
  virtual std::int64_t steady_us() const { return steady_ms() * 1000; }
};

// The machine's clocks.
class SystemClock final : public Clock {
 public:
  UnixMs wall_ms() const override;
  SteadyMs steady_ms() const override;
  std::int64_t steady_us() const override;
};

// xoshiro256** (Blackman, Vigna 2018): small, fast, reproducible from one seed. Not for secrets.
class Random {
 public:
  using result_type = std::uint64_t;
  explicit Random(std::uint64_t seed);
  std::uint64_t next();
  // Uniform in [0, bound); bound > 0.
  std::uint64_t below(std::uint64_t bound);
  // Uniform in [0, 1).
  double unit() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

  static constexpr std::uint64_t min() { return 0; }
  static constexpr std::uint64_t max() { return std::numeric_limits<std::uint64_t>::max(); }
  std::uint64_t operator()() { return next(); }

 private:
  std::uint64_t state_[4];
};

// Bytes from the operating system's generator, for nonces and seeds.
std::uint64_t random_seed();

}  // namespace gyre
