#include "tools/sim/runner.h"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>

#include <sys/mman.h>
#include <sys/wait.h>

#include "base/assert.h"

namespace gyre::sim {
namespace {

// What a seed may take of a core; a slower one is named.
constexpr double slow_seed_s = 4;

struct Shared {
  std::atomic<std::uint64_t> next{0};
  std::array<std::atomic<std::uint64_t>, probes_total> probes{};
  std::atomic_flag printing = ATOMIC_FLAG_INIT;
};

double cpu_seconds() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

void print_whole(Shared& shared, const std::string& text) {
  while (shared.printing.test_and_set()) usleep(1000);
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
  shared.printing.clear();
}

std::string line_of(const SeedResult& r) {
  char line[200];
  std::snprintf(line, sizeof line,
                "seed %llu: %s, history %016llx, %llu operations, %llu acknowledged, equal after "
                "%lld ms, slowest answer %lld ms, %.2f s\n",
                static_cast<unsigned long long>(r.seed), r.passed ? "passed" : "FAILED",
                static_cast<unsigned long long>(r.hash),
                static_cast<unsigned long long>(r.operations),
                static_cast<unsigned long long>(r.acked), static_cast<long long>(r.healed_ms),
                static_cast<long long>(r.slowest_ms), r.cpu_s);
  return line;
}

void run_one(const RunnerOptions& options, Shared& shared, SeedResult& to) {
  std::array<std::uint64_t, probes_total> before{};
  for (std::size_t i = 0; i < probes_total; ++i) before[i] = probe_count(static_cast<Probe>(i));
  const double began = cpu_seconds();
  const RunResult r = run_seed(to.seed, options.run);
  to.cpu_s = cpu_seconds() - began;
  to.passed = r.passed;
  to.hash = r.hash;
  to.operations = r.operations;
  to.acked = r.acked;
  to.healed_ms = r.healed_ms;
  to.slowest_ms = r.slowest_ms;
  to.totals = r.totals;
  to.faults = r.faults;
  to.done = true;
  for (std::size_t i = 0; i < probes_total; ++i)
    shared.probes[i] += probe_count(static_cast<Probe>(i)) - before[i];
  if (r.passed && options.first != options.last && to.cpu_s < slow_seed_s) return;
  const std::string report = options.brief ? r.report.substr(0, r.report.find('\n') + 1) : r.report;
  print_whole(shared, report + line_of(to));
}

void job(const RunnerOptions& options, Shared& shared, SeedResult* results, std::size_t total) {
  while (true) {
    const std::uint64_t i = shared.next.fetch_add(1);
    if (i >= total) return;
    results[i].seed = options.first + i;
    run_one(options, shared, results[i]);
  }
}

}  // namespace

Totals run_seeds(const RunnerOptions& options) {
  const std::size_t total = options.last - options.first + 1;
  const std::size_t results_at = (sizeof(Shared) + 63) / 64 * 64;
  const std::size_t bytes = results_at + total * sizeof(SeedResult);
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  GYRE_ASSERT(memory != MAP_FAILED);
  auto& shared = *new (memory) Shared;
  auto* results = reinterpret_cast<SeedResult*>(static_cast<char*>(memory) + results_at);
  for (std::size_t i = 0; i < total; ++i) new (results + i) SeedResult;
  if (options.jobs <= 1) {
    job(options, shared, results, total);
  } else {
    int running = 0;
    const auto start = [&] {
      std::fflush(stdout);
      const pid_t child = fork();
      GYRE_ASSERT(child >= 0);
      if (child == 0) {
        job(options, shared, results, total);
        std::_Exit(0);
      }
      ++running;
    };
    for (int i = 0; i < options.jobs && static_cast<std::size_t>(i) < total; ++i) start();
    while (running > 0) {
      int status = 0;
      if (wait(&status) < 0) break;
      --running;
      if (status != 0 && shared.next < total) start();
    }
  }
  Totals out;
  for (std::size_t i = 0; i < total; ++i) {
    results[i].seed = options.first + i;
    if (!results[i].done)
      std::printf("seed %llu: its process died\n",
                  static_cast<unsigned long long>(results[i].seed));
    out.seeds.push_back(results[i]);
  }
  for (std::size_t i = 0; i < probes_total; ++i) out.probes[i] = shared.probes[i];
  munmap(memory, bytes);
  return out;
}

}  // namespace gyre::sim
