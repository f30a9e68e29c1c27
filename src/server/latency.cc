#include "server/latency.h"

#include <algorithm>

#include "base/ticks.h"

namespace gyre {

void LatencyLog::note(std::string_view event, std::int64_t ms, std::int64_t now_s) {
  const std::lock_guard lock(mutex_);
  auto at = events_.find(event);
  if (at == events_.end()) at = events_.emplace(std::string(event), Event{}).first;
  Event& e = at->second;
  e.max_ms = std::max(e.max_ms, ms);
  if (!e.samples.empty() && e.samples.back().at_s == now_s) {
    e.samples.back().ms = std::max(e.samples.back().ms, ms);
    return;
  }
  e.samples.push_back({now_s, ms});
  if (e.samples.size() > samples_max) e.samples.pop_front();
}

std::map<std::string, LatencyLog::Event, std::less<>> LatencyLog::events() const {
  const std::lock_guard lock(mutex_);
  return events_;
}

bool LatencyLog::forget(std::string_view event) {
  const std::lock_guard lock(mutex_);
  const auto at = events_.find(event);
  if (at == events_.end()) return false;
  events_.erase(at);
  return true;
}

std::size_t LatencyLog::forget_all() {
  const std::lock_guard lock(mutex_);
  const std::size_t n = events_.size();
  events_.clear();
  return n;
}

void Durations::add_to(std::map<std::uint64_t, std::uint64_t>& by_us) const {
  for (std::size_t i = 0; i < buckets; ++i) {
    const std::uint64_t count = counts_[i].get();
    if (count == 0) continue;
    const std::uint64_t longest = ticks_to_us((std::uint64_t{1} << i) - 1);
    by_us[std::bit_ceil(std::max<std::uint64_t>(longest, 1))] += count;
  }
}

}  // namespace gyre
