// GoneClients: who closed its connection while commands of it were out, on a ring.
//
// Such a client may have sent its command again elsewhere, and newer ones after it: what is still
// on its way to another thread, or is about to be sent to another node once more, must not run.
// Remembered for `kept_ms`, longer than anything is on its way. Threading: any.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <unordered_set>
#include <utility>

#include "base/clock.h"

namespace gyre {

class GoneClients {
 public:
  static constexpr std::int64_t kept_ms = 10'000;
  static constexpr std::size_t most = 100'000;  // beyond, the oldest are forgotten

  void add(std::uint64_t client, SteadyMs now) {
    const std::lock_guard lock(mutex_);
    while (!order_.empty() && (order_.front().second + kept_ms < now || order_.size() >= most)) {
      known_.erase(order_.front().first);
      order_.pop_front();
    }
    if (known_.insert(client).second) order_.emplace_back(client, now);
    any_.store(true, std::memory_order_release);
  }
  // One load while nobody has ever gone so.
  bool has(std::uint64_t client) const {
    if (!any_.load(std::memory_order_acquire)) return false;
    const std::lock_guard lock(mutex_);
    return known_.contains(client);
  }

 private:
  mutable std::mutex mutex_;
  std::unordered_set<std::uint64_t> known_;
  std::deque<std::pair<std::uint64_t, SteadyMs>> order_;
  std::atomic<bool> any_{false};
};

}  // namespace gyre
