// gyre-sim: whole rings in virtual time (tools/sim/). `gyre-sim 42`, `gyre-sim 1..100 --jobs 2`.
//
//   -v            print the history as it happens
//   --seconds N   of load, instead of what the seed draws
//   --jobs N      processes that share the seeds; 2 unless one seed is asked for
//   --jumps, --no-jumps  of clocks, in every seed or in none
//   --brief       of a failing seed only the first line of its report
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/hash.h"
#include "base/log.h"
#include "base/probe.h"
#include "tools/sim/runner.h"

namespace {

using gyre::Metric;

constexpr Metric shown[] = {
    Metric::late_answers,      Metric::newer_answers, Metric::newer_restamped,
    Metric::base_refused,      Metric::unsure_reads,  Metric::hints_written,
    Metric::hints_replayed,    Metric::hints_dropped, Metric::forward_retries,
    Metric::no_quorum_replies, Metric::skew_refused,  Metric::compare_differences,
    Metric::links_broken,      Metric::clock_fenced,
};

// A set of so many seeds must reach every probe.
constexpr std::size_t seeds_for_probes = 200;

// Prints the table; false when one that must be reached was not.
bool show_probes(const gyre::sim::Totals& totals) {
  const bool must = totals.seeds.size() >= seeds_for_probes;
  bool all = true;
  std::printf("probes:\n");
  for (std::size_t i = 0; i < gyre::probes_total; ++i) {
    const auto& [name, text] = gyre::probe_table[i];
    const bool reached = totals.probes[i] > 0;
    all &= reached;
    std::printf("  %-18s %10llu  %.*s%s\n", std::string(name).c_str(),
                static_cast<unsigned long long>(totals.probes[i]), static_cast<int>(text.size()),
                text.data(),
                reached ? ""
                : must  ? "  (NEVER REACHED)"
                        : "  (not reached)");
  }
  return all || !must;
}

void show_totals(const gyre::sim::Totals& totals) {
  std::uint64_t operations = 0, acked = 0;
  std::int64_t healed = 0, slowest = 0;
  double cpu = 0, cpu_most = 0;
  gyre::MetricTotals metrics{};
  gyre::sim::FaultCounts faults{};
  for (const auto& r : totals.seeds) {
    operations += r.operations;
    acked += r.acked;
    healed = std::max(healed, r.healed_ms);
    slowest = std::max(slowest, r.slowest_ms);
    cpu += r.cpu_s;
    cpu_most = std::max(cpu_most, r.cpu_s);
    for (std::size_t i = 0; i < metrics.size(); ++i) metrics[i] += r.totals[i];
    for (std::size_t i = 0; i < faults.size(); ++i) faults[i] += r.faults[i];
  }
  std::printf(
      "sim: %llu operations, %llu acknowledged; slowest answer %lld ms; replicas equal within %lld "
      "ms of the last fault; %.2f s of a core for each seed, at most %.2f s\n",
      static_cast<unsigned long long>(operations), static_cast<unsigned long long>(acked),
      static_cast<long long>(slowest), static_cast<long long>(healed),
      cpu / static_cast<double>(totals.seeds.size()), cpu_most);
  const auto table = gyre::metric_table();
  for (const Metric m : shown) {
    std::printf("  %-20s %llu\n", std::string(table[static_cast<std::size_t>(m)].field).c_str(),
                static_cast<unsigned long long>(metrics[static_cast<std::size_t>(m)]));
  }
  std::printf("faults:");
  for (std::size_t i = 0; i < faults.size(); ++i) {
    std::printf("%s %s %llu", i ? "," : "", gyre::sim::fault_names[i],
                static_cast<unsigned long long>(faults[i]));
  }
  std::printf("\n");
}

bool parse(int argc, char** argv, gyre::sim::RunnerOptions& options) {
  bool jobs_given = false;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg == "-v") {
      options.run.loud = true;
    } else if (arg == "--brief") {
      options.brief = true;
    } else if (arg == "--jumps") {
      options.run.jumps = gyre::sim::RunOptions::Jumps::always;
    } else if (arg == "--no-jumps") {
      options.run.jumps = gyre::sim::RunOptions::Jumps::never;
    } else if (arg == "--seconds" && i + 1 < argc) {
      options.run.seconds = std::atoi(argv[++i]);
    } else if (arg == "--jobs" && i + 1 < argc) {
      options.jobs = std::atoi(argv[++i]);
      jobs_given = true;
    } else {
      char* end = nullptr;
      options.first = options.last = std::strtoull(arg.c_str(), &end, 10);
      if (std::strncmp(end, "..", 2) == 0) options.last = std::strtoull(end + 2, &end, 10);
      if (*end != '\0' || options.last < options.first) return false;
    }
  }
  if (!jobs_given) options.jobs = options.first == options.last ? 1 : 2;
  return options.jobs >= 1;
}

}  // namespace

int main(int argc, char** argv) {
  gyre::sim::RunnerOptions options;
  options.last = 30;
  if (!parse(argc, argv, options)) {
    std::fprintf(
        stderr,
        "usage: gyre-sim [SEED | FIRST..LAST] [-v] [--seconds N] [--jobs N] [--jumps | --no-jumps] "
        "[--brief]\n");
    return 2;
  }
  gyre::set_table_seed(1);  // the order within tables is part of a run
  gyre::log_level(gyre::LogLevel::warning);
  const gyre::sim::Totals totals = gyre::sim::run_seeds(options);
  show_totals(totals);
  const bool probes = show_probes(totals);
  std::size_t failed = 0;
  for (const auto& r : totals.seeds) {
    if (r.passed) continue;
    std::printf("%s %llu", failed == 0 ? "failing seeds:" : "",
                static_cast<unsigned long long>(r.seed));
    ++failed;
  }
  if (failed > 0) std::printf("\n");
  std::printf("%zu passed, %zu failed\n", totals.seeds.size() - failed, failed + !probes);
  return failed == 0 && probes ? 0 : 1;
}
