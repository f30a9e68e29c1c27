// A few short runs of the simulator; `make sim` has the long ones.
#include <doctest/doctest.h>

#include "base/log.h"
#include "tools/sim/cluster.h"

TEST_CASE("sim: whole rings under faults keep their promises, and a seed is a run") {
  gyre::log_level(gyre::LogLevel::warning);
  const gyre::sim::RunOptions options{.loud = false, .seconds = 5};
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    const auto run = gyre::sim::run_seed(seed, options);
    INFO(run.report);
    CHECK(run.passed);
    CHECK(run.acked > 0);
    if (seed <= 2) CHECK(gyre::sim::run_seed(seed, options).hash == run.hash);
  }
}
