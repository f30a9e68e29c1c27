// Runner: many seeds over several processes, and what they add up to.
//
// Each job is a forked process that takes the next seed from memory shared with the parent, so a
// slow seed holds up nobody. A job that dies (an assertion) fails its seed, and another takes its
// place. Counts, probes and results come back through the same memory; reports are printed whole.
#pragma once

#include <cstdint>
#include <vector>

#include "base/probe.h"
#include "tools/sim/cluster.h"

namespace gyre::sim {

struct SeedResult {
  std::uint64_t seed = 0, hash = 0;
  bool done = false, passed = false;
  std::uint64_t operations = 0, acked = 0;
  std::int64_t healed_ms = 0, slowest_ms = 0;
  double cpu_s = 0;
  MetricTotals totals{};
  FaultCounts faults{};
};

struct RunnerOptions {
  std::uint64_t first = 1, last = 1;
  int jobs = 1;
  bool brief = false;  // of a failing seed's report only the first line
  RunOptions run;
};

struct Totals {
  std::vector<SeedResult> seeds;
  std::array<std::uint64_t, probes_total> probes{};
};

Totals run_seeds(const RunnerOptions& options);

}  // namespace gyre::sim
