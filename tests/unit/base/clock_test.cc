#include "base/clock.h"

#include <doctest/doctest.h>

namespace gyre {
namespace {

TEST_SUITE("base/clock") {
  TEST_CASE("the machine's clocks") {
    const SystemClock clock;
    CHECK(clock.wall_ms() > 1'700'000'000'000);  // November 2023: milliseconds, not seconds
    const SteadyMs before = clock.steady_ms();
    CHECK(clock.steady_us() >= before * 1000);
    CHECK(clock.steady_ms() >= before);
  }

  TEST_CASE("one seed, one sequence") {
    Random a(42);
    Random b(42);
    Random c(43);
    bool differs = false;
    for (int i = 0; i < 100; ++i) {
      const auto value = a.next();
      CHECK(value == b.next());
      differs |= value != c.next();
    }
    CHECK(differs);
  }

  TEST_CASE("bounds") {
    Random random(1);
    int seen[10] = {};
    for (int i = 0; i < 10'000; ++i) {
      ++seen[random.below(10)];
      const double unit = random.unit();
      REQUIRE(unit >= 0.0);
      REQUIRE(unit < 1.0);
    }
    for (const int count : seen) CHECK(count > 800);
    CHECK(random.below(1) == 0);
    CHECK(random_seed() != random_seed());
  }
}

}  // namespace
}  // namespace gyre
