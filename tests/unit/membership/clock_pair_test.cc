#include "membership/clock_pair.h"

#include <doctest/doctest.h>

namespace gyre {
namespace {

// A machine whose process is interrupted between readings, the first so many times.
struct Interrupted final : Clock {
  UnixMs wall_ms() const override {
    if (interruptions-- > 0) now += 200;
    return 1'000'000 + now;
  }
  SteadyMs steady_ms() const override { return now; }
  mutable std::int64_t now = 500;
  mutable int interruptions = 0;
};

TEST_CASE("a pause between two readings does not look like a wrong clock") {
  Interrupted clock;
  clock.interruptions = 2;
  const auto pair = read_together(clock);
  REQUIRE(pair);
  CHECK(pair->wall - pair->steady == 1'000'000);
  clock.interruptions = 3;
  CHECK_FALSE(read_together(clock));
}

}  // namespace
}  // namespace gyre
