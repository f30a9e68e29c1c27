#include "base/ticks.h"

#include <ctime>

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

std::uint64_t thread_cpu_us() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000 +
         static_cast<std::uint64_t>(t.tv_nsec) / 1000;
}

}  // namespace gyre
