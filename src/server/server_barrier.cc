// The barrier of a node that is alone: one thread runs while the others stand still.

#include <unistd.h>

#include <algorithm>

#include "server/server.h"

namespace gyre {

bool Server::barrier_try_own() {
  bool expected = false;
  if (!barrier_owned_.compare_exchange_strong(expected, true)) return false;
  const std::lock_guard lock(barrier_mutex_);
  barrier_parked_ = 0;
  return true;
}

void Server::barrier_park() {
  std::unique_lock lock(barrier_mutex_);
  const std::uint64_t generation = barrier_generation_;
  ++barrier_parked_;
  barrier_changed_.notify_all();
  barrier_changed_.wait(lock, [&] { return barrier_generation_ != generation; });
}

void Server::barrier_wait_parked(std::size_t others) {
  std::unique_lock lock(barrier_mutex_);
  barrier_changed_.wait(lock, [&] { return barrier_parked_ + barrier_left_ >= others; });
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
