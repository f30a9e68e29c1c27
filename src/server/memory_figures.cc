#include "server/memory_figures.h"

#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <string_view>
#include <utility>

#include "server/server.h"
#include "server/worker.h"

// Weak: sanitizer builds have their own allocator.
extern "C" {
int mallctl(const char* name, void* old_value, std::size_t* old_size, void* new_value,
            std::size_t new_size) __attribute__((weak));
void malloc_stats_print(void (*write)(void*, const char*), void* to, const char* options)
    __attribute__((weak));
}

namespace gyre {
namespace {

std::uint64_t allocator_bytes(const char* name) {
  std::size_t value = 0, size = sizeof value;
  return mallctl && mallctl(name, &value, &size, nullptr, 0) == 0 ? value : 0;
}

// jemalloc's figures stand still until the epoch is raised.
void refresh_allocator() {
  std::uint64_t epoch = 1;
  std::size_t size = sizeof epoch;
  if (mallctl) mallctl("epoch", &epoch, &size, &epoch, size);
}

std::uint64_t resident_bytes() {
  std::FILE* file = std::fopen("/proc/self/statm", "re");
  if (!file) return 0;
  std::uint64_t all = 0, resident = 0;
  const int read = std::fscanf(file, "%" SCNu64 " %" SCNu64, &all, &resident);
  std::fclose(file);
  return read == 2 ? resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)) : 0;
}

std::uint64_t record_bytes(Server& server) {
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < server.shards(); ++i) {
    bytes += server.worker(ShardIndex{static_cast<std::uint16_t>(i)})
                 .published()
                 .memory.load(std::memory_order_relaxed);
  }
  return bytes;
}

}  // namespace

MemoryFigures memory_figures(Server& server) {
  MemoryFigures f;
  f.used = used_memory(server);
  f.peak = server.sampler.memory_peak(f.used);
  f.records = std::min(record_bytes(server), f.used);
  f.resident = resident_bytes();
  f.allocated = allocator_bytes("stats.allocated");
  f.active = allocator_bytes("stats.active");
  f.mapped = allocator_bytes("stats.resident");
  return f;
}

std::uint64_t used_memory(Server& server) {
  refresh_allocator();
  const std::uint64_t allocated = allocator_bytes("stats.allocated");
  if (allocated == 0) return record_bytes(server);
  // What threads keep of what was freed is nobody's; 4096 stands for all arenas.
  return allocated - std::min(allocated, allocator_bytes("stats.arenas.4096.tcache_bytes"));
}

std::string allocator_name() {
  const char* version = nullptr;
  std::size_t size = sizeof version;
  if (!mallctl || mallctl("version", &version, &size, nullptr, 0) != 0) return "libc";
  const std::string_view whole(version);
  return "jemalloc-" + std::string(whole.substr(0, whole.find('-')));
}

bool purge_allocator() {
  // 4096 stands for all arenas.
  return mallctl && mallctl("arena.4096.purge", nullptr, nullptr, nullptr, 0) == 0;
}

void ForgottenPages::look() {
  unsigned arenas = 0;
  std::size_t size = sizeof arenas;
  if (!mallctl || mallctl("arenas.narenas", &arenas, &size, nullptr, 0) != 0 || arenas == 0) return;
  given_back_.resize(arenas);
  next_ = (next_ + 1) % arenas;
  refresh_allocator();
  const std::string number = std::to_string(next_), stats = "stats.arenas." + number;
  const std::uint64_t times = allocator_bytes((stats + ".dirty_npurge").c_str());
  if (std::exchange(given_back_[next_], times) == times &&
      allocator_bytes((stats + ".pdirty").c_str()) >= pages_min)
    mallctl(("arena." + number + ".purge").c_str(), nullptr, nullptr, nullptr, 0);
}

std::string allocator_report() {
  std::string text;
  if (malloc_stats_print) {
    malloc_stats_print([](void* to, const char* part) { *static_cast<std::string*>(to) += part; },
                       &text, nullptr);
  }
  return text;
}

}  // namespace gyre
