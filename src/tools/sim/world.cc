#include "tools/sim/world.h"

#include <cstdio>

#include "base/hash.h"

namespace gyre::sim {
namespace {

constexpr std::size_t violations_kept = 50;

}  // namespace

void World::log(std::string line) {
  char time[32];
  std::snprintf(time, sizeof time, "%10.6f ", static_cast<double>(now_) / 1e6);
  line.insert(0, time);
  hash_ = hash64(line, hash_);
  if (loud) std::printf("%s\n", line.c_str());
  history_.push_back(std::move(line));
}

void World::violation(const std::string& key, const std::string& what) {
  if (violations_.empty()) violated_at_ = history_.size();
  log("VIOLATION " + key + " " + what);
  if (violations_.size() < violations_kept) violations_.push_back({key, what});
}

}  // namespace gyre::sim
