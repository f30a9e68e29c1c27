// Cluster: one seed: nodes, network, clients and a plan of faults; then healing, and the verdict.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "metrics/metrics.h"
#include "tools/sim/faults.h"

namespace gyre::sim {

struct RunOptions {
  bool loud = false;
  int seconds = 0;  // of load; 0: drawn from the seed
  enum class Jumps : std::uint8_t { drawn, never, always } jumps = Jumps::drawn;
};

struct RunResult {
  bool passed = false;
  std::uint64_t hash = 0;
  std::size_t operations = 0, acked = 0;
  std::int64_t healed_ms = 0;  // how long after the last fault the replicas were equal
  std::int64_t slowest_ms = 0;
  MetricTotals totals{};
  FaultCounts faults{};
  std::string report;  // of a failure
};

RunResult run_seed(std::uint64_t seed, const RunOptions& options);

}  // namespace gyre::sim
