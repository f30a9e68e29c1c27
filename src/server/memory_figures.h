// What the process takes of memory, as its allocator and the kernel see it: for INFO and MEMORY.
//
// jemalloc tells; in sanitizer builds, which have their own allocator, only the records' own count
// is known, and the rest is zero. Threading: any.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace gyre {

class Server;

struct MemoryFigures {
  std::uint64_t used = 0;      // given out by the allocator, less what threads keep for themselves;
                               // without jemalloc, what records take
  std::uint64_t records = 0;   // of it, what keys and values take
  std::uint64_t peak = 0;      // the most that `used` was
  std::uint64_t resident = 0;  // in the machine's memory, by the kernel
  // The allocator's own: given out, in pages that hold some of it, in pages that it keeps.
  std::uint64_t allocated = 0, active = 0, mapped = 0;
};
MemoryFigures memory_figures(Server& server);

// `used` alone.
std::uint64_t used_memory(Server& server);

// 0 where there is nothing to compare with.
inline double ratio(std::uint64_t a, std::uint64_t b) {
  return b == 0 ? 0 : static_cast<double>(a) / static_cast<double>(b);
}

std::string allocator_name();
// Gives back to the system what the allocator keeps without need. False: it cannot.
bool purge_allocator();
// The allocator's own thread gives unused pages back after a second, but may sleep on when who
// freed them has nothing more to do with the allocator (a compaction that is over): 46 MB were kept
// so. Gives back those of one arena, the next at each call, when nothing was since the last time
// around. Thread 0, once a second.
class ForgottenPages {
 public:
  void look();

 private:
  static constexpr std::uint64_t pages_min = 256;
  std::size_t next_ = 0;
  std::vector<std::uint64_t> given_back_;  // how often, by arena
};
// In the allocator's own words; empty when it has none.
std::string allocator_report();

}  // namespace gyre
