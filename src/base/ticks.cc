#include "base/ticks.h"

#include "base/clock.h"

namespace gyre {

double ticks_per_us() {
  static const double measured = [] {
    const SystemClock clock;
    const std::int64_t from = clock.steady_us();
    const std::uint64_t first = ticks_now();
    while (clock.steady_us() - from < 1000) {
    }
    return static_cast<double>(ticks_now() - first) / static_cast<double>(clock.steady_us() - from);
  }();
  return measured;
}

}  // namespace gyre
