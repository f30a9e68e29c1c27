// gyre-sim: whole rings in virtual time (tools/sim/). `gyre-sim 42`, `gyre-sim 1..100`.
//
//   -v            print the history as it happens
//   --seconds N   of load, instead of 30
//   --all         go on after a failing seed's report is printed with its first lines only
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/log.h"
#include "base/probe.h"
#include "tools/sim/cluster.h"

namespace {

constexpr gyre::Metric shown[] = {
    gyre::Metric::late_answers,      gyre::Metric::newer_answers, gyre::Metric::newer_restamped,
    gyre::Metric::base_refused,      gyre::Metric::unsure_reads,  gyre::Metric::hints_written,
    gyre::Metric::hints_replayed,    gyre::Metric::hints_dropped, gyre::Metric::forward_retries,
    gyre::Metric::no_quorum_replies, gyre::Metric::skew_refused,  gyre::Metric::compare_differences,
    gyre::Metric::links_broken,
};

// The probes whose code is not there yet: printed, and excused. Empty when all have landed.
constexpr gyre::Probe pending[] = {
    gyre::Probe::void_round,        gyre::Probe::too_old,      gyre::Probe::hollow_asked,
    gyre::Probe::incarnation_taken, gyre::Probe::large_record,
};
// A set of so many seeds must reach every probe.
constexpr std::uint64_t seeds_for_probes = 200;

// Prints the table; false when one that must be reached was not.
bool show_probes(bool must) {
  bool all = true;
  std::printf("probes:\n");
  for (std::size_t i = 0; i < gyre::probes_total; ++i) {
    const auto probe = static_cast<gyre::Probe>(i);
    const auto& [name, text] = gyre::probe_table[i];
    const bool excused =
        std::find(std::begin(pending), std::end(pending), probe) != std::end(pending);
    const bool reached = gyre::probe_count(probe) > 0;
    all &= reached || excused;
    std::printf("  %-18s %10llu  %.*s%s\n", std::string(name).c_str(),
                static_cast<unsigned long long>(gyre::probe_count(probe)),
                static_cast<int>(text.size()), text.data(),
                reached   ? ""
                : excused ? "  (pending: not built yet)"
                : must    ? "  (NEVER REACHED)"
                          : "  (not reached)");
  }
  return all || !must;
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t first = 1, last = 30;
  gyre::sim::RunOptions options;
  bool brief = false;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg == "-v") {
      options.loud = true;
    } else if (arg == "--all") {
      brief = true;
    } else if (arg == "--seconds" && i + 1 < argc) {
      options.seconds = std::atoi(argv[++i]);
    } else {
      char* end = nullptr;
      first = last = std::strtoull(arg.c_str(), &end, 10);
      if (std::strncmp(end, "..", 2) == 0) last = std::strtoull(end + 2, &end, 10);
      if (*end != '\0' || last < first) {
        std::fprintf(stderr, "usage: gyre-sim [SEED | FIRST..LAST] [-v] [--seconds N] [--all]\n");
        return 2;
      }
    }
  }
  gyre::set_table_seed(1);  // the order within tables is part of a run
  gyre::log_level(gyre::LogLevel::warning);
  std::size_t passed = 0;
  std::vector<std::uint64_t> failed;
  gyre::MetricTotals totals{};
  std::size_t operations = 0, acked = 0;
  std::int64_t healed = 0, slowest = 0;
  for (std::uint64_t seed = first; seed <= last; ++seed) {
    const auto r = gyre::sim::run_seed(seed, options);
    r.passed ? void(++passed) : failed.push_back(seed);
    for (std::size_t i = 0; i < totals.size(); ++i) totals[i] += r.totals[i];
    operations += r.operations;
    acked += r.acked;
    healed = std::max(healed, r.healed_ms);
    slowest = std::max(slowest, r.slowest_ms);
    if (!r.passed)
      std::fputs(brief ? r.report.substr(0, r.report.find('\n') + 1).c_str() : r.report.c_str(),
                 stdout);
    if (first == last || !r.passed) {
      std::printf(
          "seed %llu: %s, history %016llx, %zu operations, %zu acknowledged, equal after %lld ms, "
          "slowest answer %lld ms\n",
          static_cast<unsigned long long>(seed), r.passed ? "passed" : "FAILED",
          static_cast<unsigned long long>(r.hash), r.operations, r.acked,
          static_cast<long long>(r.healed_ms), static_cast<long long>(r.slowest_ms));
    }
    std::fflush(stdout);
  }
  std::printf(
      "sim: %zu operations, %zu acknowledged; slowest answer %lld ms; replicas equal within %lld "
      "ms of the last fault\n",
      operations, acked, static_cast<long long>(slowest), static_cast<long long>(healed));
  const auto table = gyre::metric_table();
  for (const gyre::Metric m : shown) {
    std::printf("  %-20s %llu\n", std::string(table[static_cast<std::size_t>(m)].field).c_str(),
                static_cast<unsigned long long>(totals[static_cast<std::size_t>(m)]));
  }
  if (!failed.empty()) {
    std::printf("failing seeds:");
    for (const std::uint64_t s : failed) std::printf(" %llu", static_cast<unsigned long long>(s));
    std::printf("\n");
  }
  const bool probes = show_probes(last - first + 1 >= seeds_for_probes);
  std::printf("%zu passed, %zu failed\n", passed, failed.size() + !probes);
  return failed.empty() && probes ? 0 : 1;
}
