// The barrier of a node that is alone: one thread runs while the others stand still.

#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "server/server.h"

namespace gyre {

bool Server::barrier_try_own() {
  bool expected = false;
  if (!barrier_owned_.compare_exchange_strong(expected, true)) return false;
  const std::lock_guard lock(barrier_mutex_);
  barrier_parked_ = 0;
  return true;
}

std::uint64_t Server::barrier_generation() {
  const std::lock_guard lock(barrier_mutex_);
  return barrier_generation_;
}

void Server::barrier_park(std::uint64_t generation) {
  std::unique_lock lock(barrier_mutex_);
  if (barrier_generation_ != generation) return;  // given up meanwhile
  ++barrier_parked_;
  barrier_changed_.notify_all();
  barrier_changed_.wait(lock, [&] { return barrier_generation_ != generation; });
}

bool Server::barrier_wait_parked(std::size_t others, const std::function<bool()>& give_up) {
  std::unique_lock lock(barrier_mutex_);
  const auto all = [&] { return barrier_parked_ + barrier_left_ >= others; };
  while (!barrier_changed_.wait_for(lock, std::chrono::milliseconds(2), all)) {
    if (give_up()) return false;
  }
  return true;
}

void Server::barrier_leave() {
  const std::lock_guard lock(barrier_mutex_);
  ++barrier_left_;
  barrier_changed_.notify_all();
}

void Server::barrier_release() {
  {
    const std::lock_guard lock(barrier_mutex_);
    ++barrier_generation_;
  }
  barrier_owned_ = false;
  barrier_changed_.notify_all();
}

void Server::wait_all_persisted() {
  for (int i = 0; i < 100'000; ++i) {
    const bool all = std::all_of(workers_.begin(), workers_.end(), [](const auto& w) {
      return w->store_persisted_.load(std::memory_order_acquire) + 1 >=
                 w->engine_->current_turn() ||
             w->store_state_.load(std::memory_order_acquire) != 0;
    });
    if (all) return;
    usleep(20);
  }
}

}  // namespace gyre
